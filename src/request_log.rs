//! What the legacy's loggers said of single requests, for operators who set their levels: through the `log` facade, as
//! lines of the operators' log, which never wait for a disk.
//!
//! | logger of the legacy | target here | lines |
//! | --- | --- | --- |
//! | `org.springframework.web.client.RestTemplate` | `call` | `HTTP GET http://h:p/path`, `Response 200 OK` |
//! | `org.apache.http` (`.impl`) | `http.connection` | a connection is dialled, opened, leased, kept, closed |
//! | `org.apache.http.headers` | `http.headers` | every line of heads, both ways |
//! | `org.apache.http.wire`, `httpclient.wire` | `http.wire` | bytes, both ways, [`WIRE_BYTES_MAX`] of a piece |
//! | `…filter.CommonsRequestLoggingFilter` | `request` | `REQUEST DATA : POST /log, headers=[…], payload=…` |
//!
//! Nothing of this is looked at unless one of them is at DEBUG: then the configuration holds a [`RequestLog`].
//! Credentials, cookies, query values and the path segments that are masked in logs do not show. Bodies show on the
//! wire only, and as a payload only where `proxy.logging.include-payload` says so.

use crate::access::mask::{MASK, MASK_PATHS, Mask};
use crate::http::framer::Framer;
use crate::http::framing::Framing;
use crate::http::head::{Request, Response};
use crate::http::target::{Form, Target};
use crate::key::Key;
use crate::setting::{AnySetting, Setting, Source};
use crate::value;
use log::Level;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The settings of this file.
pub static ALL: &[&dyn AnySetting] =
    &[&PREFIX, &SUFFIX, &INCLUDE_QUERY, &INCLUDE_CLIENT, &INCLUDE_HEADERS, &INCLUDE_PAYLOAD, &PAYLOAD_MAX];

/// What a line about a request begins with.
pub static PREFIX: Setting<String> = Setting::new(
    "proxy.logging.after-message-prefix",
    "REQUEST DATA : ",
    value::verbatim,
    "What a line about a request (`CommonsRequestLoggingFilter` at DEBUG) begins with.",
);

/// What it ends with.
pub static SUFFIX: Setting<String> =
    Setting::new("proxy.logging.after-message-suffix", "", value::verbatim, "What such a line ends with.");

/// Whether it shows the query.
pub static INCLUDE_QUERY: Setting<bool> = Setting::new(
    "proxy.logging.include-query-string",
    "true",
    value::boolean,
    "Whether such a line shows the query, its values masked.",
);

/// Whether it shows the client.
pub static INCLUDE_CLIENT: Setting<bool> = Setting::new(
    "proxy.logging.include-client-info",
    "false",
    value::boolean,
    "Whether such a line shows the client's address.",
);

/// Whether it shows the headers.
pub static INCLUDE_HEADERS: Setting<bool> = Setting::new(
    "proxy.logging.include-headers",
    "true",
    value::boolean,
    "Whether such a line shows the request's headers, credentials masked.",
);

/// Whether it shows the body.
pub static INCLUDE_PAYLOAD: Setting<bool> = Setting::new(
    "proxy.logging.include-payload",
    "false",
    value::boolean,
    "Whether such a line shows the beginning of the body; the values of a form are masked, other bodies show as they are.",
);

/// How much of the body it shows.
pub static PAYLOAD_MAX: Setting<usize> = Setting::new(
    "proxy.logging.max-payload-length",
    "1000",
    |text| value::whole(text, 0..=16_384).map(|length| length as usize),
    "Bytes of the body that such a line shows at most.",
);

/// The most bytes of a piece, as it was sent or received at once, that are shown of the wire.
pub const WIRE_BYTES_MAX: usize = 2048;

const CALL: &str = "call";
const REQUEST: &str = "request";
const CONNECTION: &str = "http.connection";
const HEADERS: &str = "http.headers";
const WIRE: &str = "http.wire";

/// Who listens, and what they are shown.
#[derive(Clone, Debug)]
pub struct RequestLog {
    calls: bool,
    requests: bool,
    connections: bool,
    headers: bool,
    wire: bool,
    mask: Mask,
    shape: Shape,
}

/// What a line about a request shows.
#[derive(Clone, Debug)]
struct Shape {
    prefix: String,
    suffix: String,
    query: bool,
    client: bool,
    headers: bool,
    /// Bytes of the payload; 0 is none.
    payload_max: usize,
}

/// A line about a request that goes on until the request has ended.
#[derive(Debug)]
pub struct Heard {
    line: Vec<u8>,
    payload: Option<Payload>,
}

/// The beginning of a body.
#[derive(Debug)]
struct Payload {
    /// Follows the body by itself, and takes chunks apart.
    framer: Framer,
    bytes: Vec<u8>,
    /// `name=value&…`.
    form: bool,
}

impl RequestLog {
    /// `None` when no part of it is as loud as DEBUG in the log as it was started.
    ///
    /// # Errors
    /// What is wrong with a text.
    pub fn from(source: &impl Source) -> Result<Option<Arc<Self>>, String> {
        let loud = |target: &str| log::log_enabled!(target: target, Level::Debug);
        let this = Self {
            calls: loud(CALL),
            requests: loud(REQUEST),
            connections: loud(CONNECTION),
            headers: loud(HEADERS),
            wire: loud(WIRE),
            mask: Mask { on: source.value(&MASK)?, patterns: source.value(&MASK_PATHS)? },
            shape: Shape {
                prefix: source.value(&PREFIX)?,
                suffix: source.value(&SUFFIX)?,
                query: source.value(&INCLUDE_QUERY)?,
                client: source.value(&INCLUDE_CLIENT)?,
                headers: source.value(&INCLUDE_HEADERS)?,
                payload_max: if source.value(&INCLUDE_PAYLOAD)? { source.value(&PAYLOAD_MAX)? } else { 0 },
            },
        };
        let heard = this.calls || this.requests || this.connections || this.headers || this.wire;
        Ok(heard.then(|| Arc::new(this)))
    }

    /// Whether it tells of bodies, so that they have to be read.
    pub fn reads_bodies(&self) -> bool {
        self.wire || (self.requests && self.shape.payload_max > 0)
    }

    /// A request goes to its target.
    pub fn call(&self, request: &Request<'_, '_>, target: &Target, form: &Form<'_>) {
        if self.calls {
            let [base, slash, path] = target.join(request.method, form);
            let mut url = Vec::with_capacity(base.len() + path.len() + 64);
            if base.is_empty() && slash.is_empty() {
                self.mask.url(path, &mut url);
            } else {
                self.mask.url(&[base, slash, path].concat(), &mut url);
            }
            let (scheme, authority) = (target.scheme.name(), &target.authority);
            log::debug!(target: CALL, "HTTP {} {scheme}://{authority}{}", Text(request.method), Text(&url));
        }
    }

    /// The head of an answer has come over the connection `link`.
    pub fn answer(&self, link: Option<Key>, response: &Response<'_, '_>, head: &[u8]) {
        if self.calls && response.status >= 200 {
            log::debug!(target: CALL, "Response {} {}", response.status, Text(response.reason));
        }
        self.head(link, "<<", head);
    }

    /// The `head` of a request, if it is what went out now, and a part of its body, over the connection `link`.
    pub fn sent(&self, link: Option<Key>, head: Option<&[u8]>, body: &[u8]) {
        if let Some(head) = head {
            self.head(link, ">>", head);
        }
        self.body(link, ">>", body);
    }

    /// A part of an answer's body was passed on from the connection `link`.
    pub fn received(&self, link: Option<Key>, body: &[u8]) {
        self.body(link, "<<", body);
    }

    /// Something happened to a connection.
    pub fn connection(&self, link: Key, what: fmt::Arguments<'_>) {
        if self.connections {
            log::debug!(target: CONNECTION, "[id: {}] {what}", link.index());
        }
    }

    fn head(&self, link: Option<Key>, arrow: &str, head: &[u8]) {
        if !self.headers && !self.wire {
            return;
        }
        let id = link.map_or(0, Key::index);
        let mut shown = Vec::with_capacity(head.len());
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            let at = shown.len();
            self.head_line(line.trim_ascii_end(), at == 0, &mut shown);
            if self.headers && shown.len() > at {
                log::debug!(target: HEADERS, "http-outgoing-{id} {arrow} {}", Text(&shown[at..]));
            }
            shown.extend_from_slice(b"\r\n");
        }
        if self.wire {
            tell_wire(id, arrow, &shown);
        }
    }

    /// A line of a head as it may be shown.
    fn head_line(&self, line: &[u8], first: bool, out: &mut Vec<u8>) {
        let separator = if first { b' ' } else { b':' };
        let Some(at) = memchr::memchr(separator, line) else {
            out.extend_from_slice(line);
            return;
        };
        let (name, rest) = line.split_at(at + 1);
        out.extend_from_slice(name);
        if !first {
            out.push(b' ');
            self.mask.header(&name[..at], rest.trim_ascii_start(), out);
        } else if let Some(end) = memchr::memrchr(b' ', rest).filter(|_| !name.starts_with(b"HTTP/")) {
            self.mask.url(&rest[..end], out);
            out.extend_from_slice(&rest[end..]);
        } else {
            out.extend_from_slice(rest);
        }
    }

    fn body(&self, link: Option<Key>, arrow: &str, body: &[u8]) {
        if self.wire && !body.is_empty() {
            tell_wire(link.map_or(0, Key::index), arrow, body);
        }
    }

    /// Begins the line about a request.
    pub fn hear(&self, request: &Request<'_, '_>, body: &Framing, client: IpAddr) -> Option<Box<Heard>> {
        if !self.requests {
            return None;
        }
        let shape = &self.shape;
        let query = request.target.iter().position(|byte| *byte == b'?').filter(|_| !shape.query);
        let mut line = Vec::with_capacity(256);
        line.extend_from_slice(shape.prefix.as_bytes());
        line.extend_from_slice(request.method);
        line.push(b' ');
        self.mask.url(&request.target[..query.unwrap_or(request.target.len())], &mut line);
        if shape.client {
            line.extend_from_slice(format!(", client={client}").as_bytes());
        }
        if shape.headers {
            for (index, header) in request.headers.iter().enumerate() {
                line.extend_from_slice(if index == 0 { b", headers=[" } else { b", " });
                line.extend(header.name.bytes().map(|byte| byte.to_ascii_lowercase()));
                line.extend_from_slice(b":\"");
                self.mask.header(header.name.as_bytes(), header.value, &mut line);
                line.push(b'"');
            }
            line.extend_from_slice(if request.headers.is_empty() { b", headers=[]" } else { b"]" });
        }
        let form = request.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("content-type")
                && header.value.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
        });
        let payload = (shape.payload_max > 0 && *body != Framing::None).then(|| Payload {
            framer: Framer::new(*body, true),
            bytes: Vec::new(),
            form,
        });
        Some(Box::new(Heard { line, payload }))
    }

    /// More of its body has been taken.
    pub fn hear_body(&self, heard: &mut Heard, body: &[u8]) {
        let Some(payload) = &mut heard.payload else { return };
        let room = self.shape.payload_max.saturating_sub(payload.bytes.len());
        if room == 0 {
            return;
        }
        let mut copy = body.to_vec();
        // What it says is what the exchange's own framer says of the same bytes.
        if let Ok(judged) = payload.framer.judge(&mut copy) {
            payload.bytes.extend_from_slice(&copy[..judged.kept.min(room)]);
        }
    }

    /// The request has ended, and the line with it.
    pub fn tell(&self, heard: &Heard) {
        let (line, suffix) = (Text(&heard.line), &self.shape.suffix);
        let Some(payload) = &heard.payload else {
            log::debug!(target: REQUEST, "{line}{suffix}");
            return;
        };
        let mut shown = Vec::new();
        if payload.form {
            self.mask.query(&[b"?", &payload.bytes[..]].concat(), &mut shown);
            shown.remove(0);
        }
        let shown = String::from_utf8_lossy(if payload.form { &shown } else { &payload.bytes });
        log::debug!(target: REQUEST, "{line}, payload={shown}{suffix}");
    }
}

/// A piece of the wire, a record for each line, as Apache's client writes them.
fn tell_wire(id: usize, arrow: &str, bytes: &[u8]) {
    let shown = &bytes[..bytes.len().min(WIRE_BYTES_MAX)];
    for line in shown.split_inclusive(|byte| *byte == b'\n') {
        log::debug!(target: WIRE, "http-outgoing-{id} {arrow} \"{}\"", Wire(line));
    }
    if bytes.len() > shown.len() {
        log::debug!(target: WIRE, "http-outgoing-{id} {arrow} [{} more bytes]", bytes.len() - shown.len());
    }
}

/// Bytes of peers in a line: what is not visible ASCII is `\xhh`.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_pieces(self.0, f, |byte, f| write!(f, "\\x{byte:02x}"))
    }
}

/// The same as Apache's client writes them.
struct Wire<'a>(&'a [u8]);

impl fmt::Display for Wire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_pieces(self.0, f, |byte, f| match byte {
            b'\r' => f.write_str("[\\r]"),
            b'\n' => f.write_str("[\\n]"),
            other => write!(f, "[0x{other:x}]"),
        })
    }
}

/// Writes runs of visible bytes whole, and each other byte by `special`.
fn in_pieces(
    mut bytes: &[u8],
    f: &mut fmt::Formatter<'_>,
    special: impl Fn(u8, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    loop {
        let plain = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at(plain);
        f.write_str(std::str::from_utf8(run).unwrap_or_default())?;
        let Some((byte, rest)) = rest.split_first() else { return Ok(()) };
        special(*byte, f)?;
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_peers_stay_within_their_line() {
        let bytes = b"a b\r\n\t\x1b[1m\xff\"~";
        assert_eq!(Text(bytes).to_string(), "a b\\x0d\\x0a\\x09\\x1b[1m\\xff\"~");
        assert_eq!(Wire(bytes).to_string(), "a b[\\r][\\n][0x9][0x1b][1m[0xff]\"~");
        assert_eq!(Text(b"").to_string(), "");
    }

    #[test]
    fn nobody_listens_unless_the_log_says_so() {
        assert!(RequestLog::from(&crate::setting::Defaults).unwrap().is_none());
    }
}
