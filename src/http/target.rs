//! Where a request goes: the four forms of a request target, and `x-target-host` (RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! A host is an IPv4 or bracketed IPv6 literal, or a name of letters, digits, hyphens and underscores in labels. Refused: everything
//! a resolver and a reader could take differently, such as `127.1`, `0x7f.0.0.1`, zones, percent signs and empty labels.

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
}

impl Scheme {
    /// The scheme in lower case, without a colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is not written.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
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
    /// The value of `Host`: the host as written, with brackets if it is IPv6, and the port unless it is the default.
    pub authority: Box<str>,
    /// The prefix of every path, without its last slash; empty for none.
    pub base: Box<[u8]>,
}

impl Target {
    /// Reads the trimmed value of `x-target-host`: `[scheme://][userinfo@]host[:port][/path]`.
    ///
    /// Userinfo is read over and never sent. An empty port (`http://h:`) is the default one, as in RFC 3986 §3.2.3.
    ///
    /// # Errors
    /// `BadTarget` for another scheme, a malformed host or port, a query, a fragment, and any byte that is not visible ASCII.
    pub fn parse(value: &[u8], default_scheme: Scheme) -> Result<Self, What> {
        Self::read(value, default_scheme).ok_or(What::BadTarget)
    }

    /// The target of an absolute-form or authority-form request: no base.
    ///
    /// # Errors
    /// `BadTarget` when `authority` is not `host[:port]`.
    pub fn of_authority(scheme: Scheme, authority: &[u8]) -> Result<Self, What> {
        Self::new(scheme, authority, b"").ok_or(What::BadTarget)
    }

    fn read(value: &[u8], default_scheme: Scheme) -> Option<Self> {
        if !value.iter().all(|b| matches!(b, 0x21..=0x7e) && !matches!(b, b'?' | b'#')) {
            return None;
        }
        let (scheme, rest) = match scheme_end(value) {
            Some(at) => (Scheme::of(&value[..at])?, &value[at + b"://".len()..]),
            None => (default_scheme, value),
        };
        let slash = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let host_port = match authority.iter().position(|&b| b == b'@') {
            Some(at) if authority[..at].iter().all(|&b| is_userinfo_byte(b)) => &authority[at + 1..],
            Some(_) => return None,
            None => authority,
        };
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
    /// The path follows the base byte for byte; a slash comes between them only where the path begins with none (an absolute form
    /// without a path). `*` and the authority of CONNECT stay as they are.
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

    /// The URL that a request goes to, without its query: for messages.
    pub fn url(&self, method: &[u8], form: &Form<'_>) -> String {
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

/// Splits `host[:port]`: the host without brackets, and the port if one is written. `None` when it is not well formed.
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

/// Whether `host` is a name, or a dotted quad: a last label that looks like a number makes it an address to resolvers (`127.1`).
fn is_name_or_ipv4(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let label_ok = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > HOST_BYTES_MAX || !name.split('.').all(label_ok) {
        return false;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let is_number = last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    !is_number || host.parse::<Ipv4Addr>().is_ok()
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
