//! Where a request goes: the four forms of a request target, and `x-target-host` (RFC 9112 §3.2, RFC 3986
//! §3.2).
//!
//! A host is an IPv4 or bracketed IPv6 literal, or a name of letters, digits, hyphens and underscores in
//! labels. Refused: everything a resolver and a reader could take differently, such as `127.1`, `0x7f.0.0.1`,
//! zones, percent signs and empty labels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fault::What;

/// The longest host name in bytes (RFC 1035 §2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// The schemes we forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
    /// Whatever the client and the target agree on: the target of a CONNECT.
    Tcp,
}

impl Scheme {
    /// The scheme in lower case, without a colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }

    /// The port that is not written; 0 where it always is.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Tcp => 0,
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| name.eq_ignore_ascii_case(scheme.name().as_bytes()))
    }
}

/// A parsed `x-target-host`. Parsing allocates: the caller keeps it for the next request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How to speak to it.
    pub scheme: Scheme,
    /// The host as written, without brackets.
    pub host: Box<str>,
    /// The port, never 0.
    pub port: u16,
    /// The value of `Host`: the host as written, with brackets if it is IPv6, and the port unless it is the
    /// default.
    pub authority: Box<str>,
    /// The prefix of every path, without its last slash; empty for none.
    pub base: Box<[u8]>,
}

impl Target {
    /// Reads the trimmed value of `x-target-host`: `[scheme://][userinfo@]host[:port][/path]`.
    ///
    /// Userinfo is read over and never sent. An empty port (`http://h:`) is the default one, as in RFC 3986
    /// §3.2.3.
    ///
    /// # Errors
    /// `BadTarget` for another scheme, a malformed host or port, a query, a fragment, and any byte that is
    /// not visible ASCII.
    pub fn parse(value: &[u8], default_scheme: Scheme) -> Result<Self, What> {
        Self::read(value, default_scheme).ok_or(What::BadTarget)
    }

    /// The target of a CONNECT to `authority`.
    ///
    /// # Errors
    /// `BadRequestLine` when it is not `host:port`.
    pub fn of_tunnel(authority: &[u8]) -> Result<Self, What> {
        Self::new(Scheme::Tcp, authority, b"").filter(|target| target.port != 0).ok_or(What::BadRequestLine)
    }

    /// The same value for whoever wants TLS whatever the scheme: a port that is not written is then 443.
    ///
    /// # Errors
    /// As [`Target::parse`].
    pub fn secured(value: &[u8]) -> Result<Vec<u8>, What> {
        Self::parse(value, Scheme::Https)?;
        let rest = scheme_end(value).map_or(value, |at| &value[at + b"://".len()..]);
        Ok([b"https://", rest].concat())
    }

    fn read(value: &[u8], default_scheme: Scheme) -> Option<Self> {
        if !value.iter().all(|b| matches!(b, 0x21..=0x7e) && !matches!(b, b'?' | b'#')) {
            return None;
        }
        let (has_scheme, scheme, rest) = match scheme_end(value) {
            Some(at) => (true, Scheme::of(&value[..at])?, &value[at + b"://".len()..]),
            None => (false, default_scheme, value),
        };
        let slash = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let host_port = match authority.iter().position(|&b| b == b'@') {
            Some(at) if authority[..at].iter().all(|&b| is_userinfo_byte(b)) => &authority[at + 1..],
            Some(_) => return None,
            None => authority,
        };
        // `http:/h` is a slip of the pen, not a host called http.
        if !has_scheme && host_port.ends_with(b":") {
            return None;
        }
        Self::new(scheme, host_port, path.strip_suffix(b"/").unwrap_or(path))
    }

    fn new(scheme: Scheme, authority: &[u8], base: &[u8]) -> Option<Self> {
        let (host, port) = host_port(authority)?;
        let port = port.unwrap_or(scheme.default_port());
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = if port == scheme.default_port() { bracketed } else { format!("{bracketed}:{port}") };
        Some(Self { scheme, host: host.into(), port, authority: authority.into(), base: base.into() })
    }

    /// The address, when the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `scheme://host:port` in lower case, the port always written: the key of the upstream pool.
    pub fn origin(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{}://{open}{host}{close}:{}", self.scheme.name(), self.port)
    }

    /// The pieces of the outgoing request target, to be written one after the other.
    ///
    /// The path follows the base byte for byte; a slash comes between them only where the path begins with
    /// none (an absolute form without a path). `*` and the authority of CONNECT stay as they are.
    pub fn join<'a>(&'a self, method: &[u8], form: &Form<'a>) -> [&'a [u8]; 3] {
        match *form {
            Form::Origin(path) => [&self.base, b"", path],
            // RFC 9112 §3.2.4: the last proxy turns an OPTIONS of a whole server back into an asterisk.
            Form::Absolute { path: b"", .. } if method == b"OPTIONS" && self.base.is_empty() => {
                [b"", b"", b"*"]
            }
            Form::Absolute { path, .. } => {
                let slash: &[u8] = if path.starts_with(b"/") { b"" } else { b"/" };
                [&self.base, slash, path]
            }
            Form::Authority(authority) => [b"", b"", authority],
            Form::Asterisk => [b"", b"", b"*"],
        }
    }

    /// The URL that a request goes to, without its query: for messages. For CONNECT it is the authority.
    pub fn url(&self, method: &[u8], form: &Form<'_>) -> String {
        if self.scheme == Scheme::Tcp {
            return self.authority.to_string();
        }
        let joined = self.join(method, form).concat();
        let path = joined.split(|&b| b == b'?').next().unwrap_or_default();
        format!("{}://{}{}", self.scheme.name(), self.authority, String::from_utf8_lossy(path))
    }
}

/// Where the scheme ends, if there is one: a `://` before any other slash.
fn scheme_end(value: &[u8]) -> Option<usize> {
    let slash = value.iter().position(|&b| b == b'/')?;
    let colon = slash.checked_sub(1)?;
    (value.get(colon..colon + 3) == Some(b"://")).then_some(colon)
}

const fn is_userinfo_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
        )
}

/// Splits `host[:port]`: the host without brackets, and the port if one is written. `None` when it is not
/// well formed.
pub fn host_port(authority: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (host, rest)
    } else {
        let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        is_name_or_ipv4(host).then_some(())?;
        (host, rest)
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) => Some(port(digits)?),
    };
    Some((host, port))
}

fn port(digits: &str) -> Option<u16> {
    let plain = digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|&port| plain && port != 0)
}

/// Whether `host` is a name, or a dotted quad: a last label that looks like a number makes it an address to
/// resolvers (`127.1`).
fn is_name_or_ipv4(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let mut label = 0;
    for (at, &byte) in name.iter().enumerate() {
        match byte {
            b'.' if at > label => label = at + 1,
            b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {}
            _ => return false,
        }
    }
    let last = &name[label..];
    !last.is_empty() && host.len() <= HOST_BYTES_MAX && (!is_number(last) || host.parse::<Ipv4Addr>().is_ok())
}

/// Whether a resolver takes `label` for a number, decimal, octal or hexadecimal.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        [b'0'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A request target in one of its four forms (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'b> {
    /// Path and query; begins with a slash.
    Origin(&'b [u8]),
    /// A whole URL.
    Absolute {
        /// Its scheme.
        scheme: Scheme,
        /// Its `host[:port]`, well formed.
        authority: &'b [u8],
        /// Path and query; may be empty, or begin with the question mark.
        path: &'b [u8],
    },
    /// `host:port` of a CONNECT, well formed.
    Authority(&'b [u8]),
    /// `*` of an OPTIONS.
    Asterisk,
}

/// The form of the request target `target`, which is visible ASCII.
///
/// # Errors
/// `BadRequestLine` when it has none of the forms, or one that is not for `method`.
pub fn form<'b>(method: &[u8], target: &'b [u8]) -> Result<Form<'b>, What> {
    let form = if method == b"CONNECT" {
        matches!(host_port(target), Some((_, Some(_)))).then_some(Form::Authority(target))
    } else if target.starts_with(b"/") {
        Some(Form::Origin(target))
    } else if target == b"*" {
        (method == b"OPTIONS").then_some(Form::Asterisk)
    } else {
        absolute(target)
    };
    form.ok_or(What::BadRequestLine)
}

fn absolute(target: &[u8]) -> Option<Form<'_>> {
    let colon = scheme_end(target)?;
    let scheme = Scheme::of(&target[..colon])?;
    let rest = &target[colon + b"://".len()..];
    let (authority, path) =
        rest.split_at(rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len()));
    host_port(authority)?;
    Some(Form::Absolute { scheme, authority, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Target, What> {
        Target::parse(value.as_bytes(), Scheme::Http)
    }

    #[test]
    fn what_wants_tls_goes_to_443_unless_a_port_is_written() {
        for (value, origin) in [
            ("http://h", "https://h:443"),
            ("HTTPS://H/base", "https://h:443"),
            ("h", "https://h:443"),
            ("http://u@h:80/", "https://h:80"),
            ("[::1]:8443", "https://[::1]:8443"),
        ] {
            let secured =
                Target::secured(value.as_bytes()).and_then(|value| Target::parse(&value, Scheme::Http));
            assert_eq!(secured.map(|target| target.origin()), Ok(origin.to_owned()), "{value}");
        }
        for value in ["ftp://h", "http:/h", "h?q", ""] {
            assert_eq!(Target::secured(value.as_bytes()), Err(What::BadTarget), "{value}");
        }
    }

    #[test]
    fn targets_are_read() {
        for (value, origin, authority, base) in [
            ("http://h", "http://h:80", "h", ""),
            ("HTTP://Api.Example:8080", "http://api.example:8080", "Api.Example:8080", ""),
            ("https://h", "https://h:443", "h", ""),
            ("https://h:443/", "https://h:443", "h", ""),
            ("https://h:80", "https://h:80", "h:80", ""),
            ("http://h:", "http://h:80", "h", ""),
            ("http://h:00080", "http://h:80", "h", ""),
            ("http://h/base", "http://h:80", "h", "/base"),
            ("http://h/base/", "http://h:80", "h", "/base"),
            ("http://h/base//", "http://h:80", "h", "/base/"),
            ("http://h/a%20b;c=d/..", "http://h:80", "h", "/a%20b;c=d/.."),
            ("http://user:p%40ss@h:81/b", "http://h:81", "h:81", "/b"),
            ("http://@h", "http://h:80", "h", ""),
            ("http://[::1]:8080/b", "http://[::1]:8080", "[::1]:8080", "/b"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]:443", "[2001:DB8::1]", ""),
            ("http://[::ffff:1.2.3.4]", "http://[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]", ""),
            ("http://127.0.0.1:1", "http://127.0.0.1:1", "127.0.0.1:1", ""),
            ("http://my_host.a-b.", "http://my_host.a-b.:80", "my_host.a-b.", ""),
            ("h", "http://h:80", "h", ""),
            ("h:81", "http://h:81", "h:81", ""),
            ("[::1]:81", "http://[::1]:81", "[::1]:81", ""),
            ("h/base", "http://h:80", "h", "/base"),
            ("h/base://x", "http://h:80", "h", "/base://x"),
            ("user@h:81/b", "http://h:81", "h:81", "/b"),
        ] {
            let target = parse(value).unwrap_or_else(|what| panic!("{value}: {what:?}"));
            assert_eq!(
                (target.origin().as_str(), &*target.authority, &*target.base),
                (origin, authority, base.as_bytes())
            );
        }
    }

    #[test]
    fn a_missing_scheme_is_the_default_one() {
        let target = Target::parse(b"h", Scheme::Https).unwrap();
        assert_eq!(target.origin(), "https://h:443");
    }

    #[test]
    fn unusable_targets_are_refused() {
        for value in [
            "",
            "/",
            "//h",
            "://h",
            "http://",
            "http:///p",
            "http:/h",
            "http:h",
            "ftp://h",
            "httpx://h",
            "h:",
            "h:0",
            "http://h:0",
            "http://h:65536",
            "http://h:+80",
            "http://h:8o",
            "http://h:000080",
            "http://h:80:80",
            "http://h?q",
            "http://h/p?q",
            "http://h/p#f",
            "http://h#f",
            "http://h p",
            "http://h/p q",
            "http://h\t",
            "http://h\u{e9}",
            "http://h/\u{e9}",
            "http://h\0",
            "http://h\r\n",
            "http://a,b",
            "http://a@b@c",
            "http://good\\@evil",
            "http://h\\p",
            "http://[::1",
            "http://[::1]x",
            "http://[::1]x:80",
            "http://::1",
            "http://[fe80::1%25eth0]",
            "http://[v1.x]",
            "http://[1.2.3.4]",
            "http://[]",
            "http://h%41",
            "http://.h",
            "http://a..b",
            "http://.",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.0.0.1",
            "http://0x7f000001",
            "http://127.0.0.0x1",
            "http://0177.0.0.1",
            "http://256.1.1.1",
            "http://1.2.3.4.5",
            "http://127.0.0.1.",
        ] {
            assert_eq!(parse(value), Err(What::BadTarget), "{value:?}");
        }
        assert!(parse(&format!("http://{}", "a".repeat(255))).is_ok());
        assert_eq!(parse(&format!("http://{}", "a".repeat(256))), Err(What::BadTarget));
    }

    #[test]
    fn forms_are_told_apart() {
        let whole = |scheme, authority, path| Ok(Form::Absolute { scheme, authority, path });
        let bad = Err(What::BadRequestLine);
        for (method, target, expected) in [
            ("GET", "/", Ok(Form::Origin(&b"/"[..]))),
            ("GET", "//h/p?q#f", Ok(Form::Origin(b"//h/p?q#f"))),
            ("OPTIONS", "*", Ok(Form::Asterisk)),
            ("GET", "*", bad),
            ("GET", "p", bad),
            ("GET", "?q", bad),
            ("GET", "HTTP://h:81/p?q", whole(Scheme::Http, b"h:81", b"/p?q")),
            ("GET", "https://h?q", whole(Scheme::Https, b"h", b"?q")),
            ("GET", "http://h", whole(Scheme::Http, b"h", b"")),
            ("GET", "http://", bad),
            ("GET", "http://u@h/", bad),
            ("GET", "http://h:x/", bad),
            ("GET", "ftp://h/", bad),
            ("GET", "h:80", bad),
            ("CONNECT", "h:443", Ok(Form::Authority(b"h:443"))),
            ("CONNECT", "[::1]:443", Ok(Form::Authority(b"[::1]:443"))),
            ("CONNECT", "h", bad),
            ("CONNECT", "h:", bad),
            ("CONNECT", "h:0", bad),
            ("CONNECT", "u@h:1", bad),
            ("CONNECT", "/", bad),
            ("CONNECT", "http://h:1/", bad),
        ] {
            assert_eq!(form(method.as_bytes(), target.as_bytes()), expected, "{method} {target}");
        }
    }

    #[test]
    fn base_and_path_join_byte_for_byte() {
        for (target, method, asked, joined) in [
            ("h", "GET", "/p?q=%20", "/p?q=%20"),
            ("h/", "GET", "/p", "/p"),
            ("h/", "GET", "/", "/"),
            ("h/base", "GET", "/p", "/base/p"),
            ("h/base/", "GET", "/p", "/base/p"),
            ("h/base/", "GET", "//p/../x", "/base//p/../x"),
            ("h/base", "GET", "/", "/base/"),
            ("h/base", "GET", "http://x", "/base/"),
            ("h", "GET", "http://x?q", "/?q"),
            ("h", "GET", "http://x/p?q", "/p?q"),
            ("h", "OPTIONS", "http://x", "*"),
            ("h", "OPTIONS", "http://x/", "/"),
            ("h/base", "OPTIONS", "*", "*"),
        ] {
            let target = parse(target).unwrap();
            let form = form(method.as_bytes(), asked.as_bytes()).unwrap();
            assert_eq!(target.join(method.as_bytes(), &form).concat(), joined.as_bytes(), "{asked}");
        }
    }

    #[test]
    fn urls_in_messages_have_no_query_and_no_userinfo() {
        let target = parse("http://u:p@h:81/base/").unwrap();
        let form = form(b"GET", b"/p?secret").unwrap();
        assert_eq!(target.url(b"GET", &form), "http://h:81/base/p");
    }

    #[test]
    fn targets_of_forms_have_no_base() {
        let tunnel = Target::of_tunnel(b"[::1]:443").expect("well formed");
        assert_eq!((tunnel.origin().as_str(), &*tunnel.authority), ("tcp://[::1]:443", "[::1]:443"));
        for bad in [&b"h"[..], b"h:", b"h:0", b"h:443/p", b":443", b"u@h:443", b"http://h:443"] {
            assert_eq!(Target::of_tunnel(bad), Err(What::BadRequestLine), "{bad:?}");
        }
        assert_eq!(parse("[::1]").unwrap().ip(), Some(IpAddr::from(Ipv6Addr::LOCALHOST)));
        assert_eq!(parse("localhost").unwrap().ip(), None);
    }
}
