//! Header names and list values that mean something to a proxy (RFC 9110 §5.6, §7.6.1).
//!
//! Names are classified once, by length and first letter, so that a line nobody cares about costs one
//! comparison. This file refuses nothing: it says what is there, and framing, rewriting and the exchange
//! decide.

/// What a header line is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing special: passed on.
    #[default]
    Other,
    /// `Host`.
    Host,
    /// `x-target-host`.
    TargetHost,
    /// `x-reload-httpclient`.
    Reload,
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Connection`.
    Connection,
    /// `Keep-Alive`.
    KeepAlive,
    /// `Upgrade`.
    Upgrade,
    /// `Proxy-Authorization`.
    ProxyAuthorization,
    /// Any other field that ends at the next hop.
    HopByHop,
    /// `Trailer`.
    Trailer,
    /// `Expect`.
    Expect,
    /// `Accept`.
    Accept,
}

impl Kind {
    /// The kind of the header called `name`, a token, in any case.
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        let (known, kind): (&[u8], Self) = match (name.len(), first | 0x20) {
            (2, b't') => (b"te", Self::HopByHop),
            (4, b'h') => (b"host", Self::Host),
            (6, b'a') => (b"accept", Self::Accept),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b't') => (b"trailer", Self::Trailer),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (13, b'x') => (b"x-target-host", Self::TargetHost),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::HopByHop),
            (16, b'p') => (b"proxy-connection", Self::HopByHop),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (18, b'p') => (b"proxy-authenticate", Self::HopByHop),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            (19, b'x') => (b"x-reload-httpclient", Self::Reload),
            _ => return Self::Other,
        };
        // Exact for tokens, in which this bit turns nothing else into a letter, a hyphen or a digit.
        let difference = name.iter().zip(known).fold(0, |sum, (byte, low)| sum | ((byte | 0x20) ^ low));
        if difference == 0 { kind } else { Self::Other }
    }

    /// Whether the field ends at the next hop whatever `Connection` says. `Transfer-Encoding` is not among
    /// them: it stays as long as the body stays chunked.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::KeepAlive | Self::Upgrade | Self::ProxyAuthorization | Self::HopByHop
        )
    }

    /// Whether the field frames or addresses the message, so that no list of names may remove it.
    pub const fn is_protected(self) -> bool {
        matches!(self, Self::ContentLength | Self::TransferEncoding | Self::Host)
    }
}

const TCHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        table[b] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        b += 1;
    }
    table
};

/// Whether `byte` may stand in a token (RFC 9110 §5.6.2).
pub const fn is_tchar(byte: u8) -> bool {
    TCHARS[byte as usize]
}

/// Whether `bytes` is a token: not empty, nothing but tchars (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// Whether `byte` may stand in a field value: blank, tab, visible ASCII or obs-text (RFC 9110 §5.5).
pub const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// `bytes` without blanks and tabs at both ends (OWS, RFC 9110 §5.6.3).
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma list without its blanks and empty elements (RFC 9110 §5.6.1).
///
/// Quoted strings are not known here: the lists we read hold tokens only, and a piece of a quoted string
/// matches no name.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether a value of `Accept` asks for JSON by name: `application/json` or `application/*+json`, not with
/// `q=0`.
///
/// `*/*` does not count: every HTTP library sends it, and text is the legacy's answer.
pub fn accepts_json(accept: &[u8]) -> bool {
    list(accept).any(|range| {
        let mut parts = range.split(|&b| b == b';').map(trim);
        let media = parts.next().unwrap_or_default();
        is_json(media) && !parts.any(is_zero_weight)
    })
}

fn is_json(media: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/";
    let Some((kind, subtype)) = media.split_at_checked(TYPE.len()) else { return false };
    let suffix = subtype.len().checked_sub(b"+json".len()).and_then(|at| subtype.get(at..));
    kind.eq_ignore_ascii_case(TYPE)
        && (subtype.eq_ignore_ascii_case(b"json") || suffix.is_some_and(|s| s.eq_ignore_ascii_case(b"+json")))
}

/// `q=0`, `q=0.0` … (RFC 9110 §12.4.2).
fn is_zero_weight(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', b'0'] => true,
        [b'q' | b'Q', b'=', b'0', b'.', rest @ ..] => rest.iter().all(|&b| b == b'0'),
        _ => false,
    }
}

/// Whether a value of `Upgrade` names protocols that may be switched to. Not HTTP in any guise, nor TLS, which may carry
/// it: requests inside a tunnel are judged by nobody.
pub fn may_upgrade(value: &[u8]) -> bool {
    const HTTP: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];
    let mut protocols = list(value).map(|protocol| protocol.split(|&b| b == b'/').next().unwrap_or_default());
    let passes = |name: &[u8]| is_token(name) && !HTTP.iter().any(|http| http.eq_ignore_ascii_case(name));
    protocols.next().is_some_and(passes) && protocols.all(passes)
}

/// The seconds of `timeout=` in a value of `Keep-Alive`; `None` when it does not name one.
pub fn keep_alive_timeout(value: &[u8]) -> Option<u32> {
    list(value).find_map(|parameter| {
        let (name, digits) = parameter.split_at_checked(b"timeout=".len())?;
        if !name.eq_ignore_ascii_case(b"timeout=") {
            return None;
        }
        decimal(digits).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
    })
}

/// The value of 1 to 19 decimal digits and nothing else; 19 digits always fit a `u64`.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, &digit| value * 10 + u64::from(digit - b'0')))
}

/// Whether a trailer field of this name is dropped: it frames, routes, authenticates, or controls the
/// connection or a cache, and must not come after the body was acted on (RFC 9110 §6.5.1).
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 41] = [
        b"accept",
        b"accept-encoding",
        b"age",
        b"authentication-info",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-real-ip",
        b"x-reload-httpclient",
        b"x-target-host",
    ];
    const PREFIXES: [&[u8]; 2] = [b"proxy-", b"x-forwarded-"];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || PREFIXES.iter().any(|p| name.get(..p.len()).is_some_and(|start| start.eq_ignore_ascii_case(p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_switches_to_http() {
        for value in ["websocket", "WebSocket", "foo/2", "a, b/1 ,", "h2cx"] {
            assert!(may_upgrade(value.as_bytes()), "{value}");
        }
        for value in [
            "",
            ",",
            "h2c",
            "websocket, H2C",
            "h2",
            "HTTP/2.0",
            "http/3",
            "TLS/1.0",
            "TLS/1.0, a",
            "a b",
            "/1",
        ] {
            assert!(!may_upgrade(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn names_are_known_in_any_case() {
        for (name, kind) in [
            ("Host", Kind::Host),
            ("X-TARGET-host", Kind::TargetHost),
            ("x-reload-httpclient", Kind::Reload),
            ("content-LENGTH", Kind::ContentLength),
            ("Transfer-Encoding", Kind::TransferEncoding),
            ("Connection", Kind::Connection),
            ("Keep-Alive", Kind::KeepAlive),
            ("TE", Kind::HopByHop),
            ("Upgrade", Kind::Upgrade),
            ("HTTP2-Settings", Kind::HopByHop),
            ("Proxy-Connection", Kind::HopByHop),
            ("Proxy-Authenticate", Kind::HopByHop),
            ("Proxy-Authorization", Kind::ProxyAuthorization),
            ("Trailer", Kind::Trailer),
            ("Expect", Kind::Expect),
            ("Accept", Kind::Accept),
            ("Hos", Kind::Other),
            ("Hose", Kind::Other),
            ("Transfer_Encoding", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(name.as_bytes()), kind, "{name}");
        }
    }

    #[test]
    fn no_other_token_is_taken_for_a_known_name() {
        for known in ["host", "x-target-host", "http2-settings", "transfer-encoding"] {
            for at in 0..known.len() {
                for byte in (0..=255).filter(|&b| is_tchar(b)) {
                    let mut name = known.as_bytes().to_vec();
                    name[at] = byte;
                    let same = name.eq_ignore_ascii_case(known.as_bytes());
                    assert_eq!(Kind::of(&name) != Kind::Other, same, "{}", name.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn lists_lose_blanks_and_empty_elements() {
        let elements: Vec<&[u8]> = list(b" a ,,\tb, \"c\" ,").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"\"c\""]);
        assert_eq!(trim(b" \t "), b"");
    }

    #[test]
    fn json_is_asked_for_by_name() {
        for (accept, wanted) in [
            ("application/json", true),
            ("text/html, Application/JSON;q=0.5", true),
            ("application/problem+json; q=0.001", true),
            ("application/json;q=0", false),
            ("application/json ; q=0.000", false),
            ("*/*", false),
            ("application/*", false),
            ("application/jsonp", false),
            ("text/json", false),
            ("", false),
        ] {
            assert_eq!(accepts_json(accept.as_bytes()), wanted, "{accept}");
        }
    }

    #[test]
    fn keep_alive_names_its_seconds() {
        for (value, seconds) in [
            ("timeout=5, max=100", Some(5)),
            ("max=1,Timeout=70", Some(70)),
            ("timeout=99999999999", Some(u32::MAX)),
            ("timeout=", None),
            ("timeout=-1", None),
            ("max=3", None),
        ] {
            assert_eq!(keep_alive_timeout(value.as_bytes()), seconds, "{value}");
        }
    }

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal(b"9999999999999999999"), Some(9_999_999_999_999_999_999));
        for bad in ["", "+1", "-1", "0x1", "1 ", "1,1", "00000000000000000001"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn trailers_that_steer_are_forbidden() {
        for name in
            ["Content-Length", "PROXY-anything", "x-forwarded-for", "Set-Cookie", "x-target-host", "vary"]
        {
            assert!(is_forbidden_trailer(name.as_bytes()), "{name}");
        }
        for name in ["x-checksum", "etag", "proxy", "digest"] {
            assert!(!is_forbidden_trailer(name.as_bytes()), "{name}");
        }
    }
}
