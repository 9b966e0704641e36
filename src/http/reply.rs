//! Our own answers: what failed, as a status, a code and one sentence (the legacy contract's §4).
//!
//! Nothing internal ever stands in them: no address, no name of ours, no trace. Those go to the log.

use std::fmt::Write;

use super::header;
use super::rewrite::{ConnectionField, Pen};
use crate::fault::What;

/// Seconds after which a client that met a limit of ours may try again.
const RETRY_AFTER_S: u32 = 1;

/// How an answer is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// It answers a HEAD: no body, but its length.
    pub head: bool,
    /// The client accepts JSON by name.
    pub json: bool,
    /// The `Connection` line.
    pub connection: ConnectionField,
    /// The answer the legacy gave when the upstream failed, if that is asked for.
    pub compat: Option<Compat<'a>>,
}

impl<'a> Ask<'a> {
    /// Whether the answer to `what` tells the client that its connection closes.
    pub fn closes(&self, what: What) -> bool {
        self.connection == ConnectionField::Close || self.compat_for(what).is_some()
    }

    fn compat_for(&self, what: What) -> Option<Compat<'a>> {
        self.compat.filter(|_| matches!(what.status(), 502..=504))
    }
}

/// What the legacy's text names.
#[derive(Clone, Copy, Debug)]
pub struct Compat<'a> {
    /// The client's method.
    pub method: &'a [u8],
    /// The URL the request went to, without its query.
    pub url: &'a [u8],
}

/// The pieces of a body.
type Pieces<'a> = [&'a [u8]; 6];

/// Writes the answer to `what`; the length, or `None` if `out` is too small.
///
/// With `compat`, 502, 503 and 504 are 500 with the legacy's text, always plain, and the connection closes.
pub fn reply(what: What, ask: &Ask<'_>, out: &mut [u8]) -> Option<usize> {
    let compat = ask.compat_for(what);
    let json = ask.json && !what.literal() && compat.is_none();
    let (status, connection) =
        if compat.is_some() { (500, ConnectionField::Close) } else { (what.status(), ask.connection) };
    let body = body(what, compat, json);
    let length: usize = body.iter().map(|piece| piece.len()).sum();
    let media = if json { "application/json" } else { "text/plain" };
    let mut pen = Pen::new(out);
    write!(
        pen,
        "HTTP/1.1 {status} {}\r\nContent-Type: {media};charset=UTF-8\r\nContent-Length: {length}\r\n\
            X-Proxy-Error: {}\r\n",
        reason(status),
        what.code()
    )
    .ok()?;
    match status {
        405 => pen.put(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")?,
        407 => pen.put(b"Proxy-Authenticate: Basic realm=\"apim-proxy\"\r\n")?,
        503 => write!(pen, "Retry-After: {RETRY_AFTER_S}\r\n").ok()?,
        _ => {}
    }
    pen.put(connection.line())?;
    pen.put(b"\r\n")?;
    if !ask.head {
        for piece in body {
            pen.put(piece)?;
        }
    }
    Some(pen.len())
}

/// Writes the legacy's answer to a reload that has succeeded; the length, or `None` if `out` is too small.
pub fn reloaded(ask: &Ask<'_>, out: &mut [u8]) -> Option<usize> {
    plain("201 Created", "reload httpclient", ask, out)
}

/// Writes what the legacy's server image answers to `GET /` before anything is configured; the length, or `None` if
/// `out` is too small.
pub fn greeting(ask: &Ask<'_>, out: &mut [u8]) -> Option<usize> {
    plain("200 OK", "setting ok", ask, out)
}

fn plain(status: &str, text: &str, ask: &Ask<'_>, out: &mut [u8]) -> Option<usize> {
    let mut pen = Pen::new(out);
    let length = text.len();
    write!(
        pen,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n"
    )
    .ok()?;
    pen.put(ask.connection.line())?;
    pen.put(b"\r\n")?;
    if !ask.head {
        pen.put(text.as_bytes())?;
    }
    Some(pen.len())
}

/// Writes the answer to a CONNECT whose tunnel is open (RFC 9110 §9.3.6: without framing fields); the length, or `None` if
/// `out` is too small.
pub fn established(out: &mut [u8]) -> Option<usize> {
    let mut pen = Pen::new(out);
    pen.put(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    Some(pen.len())
}

/// The status and the length of the body of an answer that was written here.
pub fn told(answer: &[u8]) -> (u16, usize) {
    let digits = answer.get(b"HTTP/1.1 ".len()..b"HTTP/1.1 200".len()).unwrap_or_default();
    let status = header::decimal(digits).map_or(0, |status| status as u16);
    let head = memchr::memmem::find(answer, b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    (status, answer.len() - head)
}

fn body(what: What, compat: Option<Compat<'_>>, json: bool) -> Pieces<'_> {
    let (code, sentence) = (what.code().as_bytes(), what.sentence().as_bytes());
    match compat {
        Some(Compat { method, url }) => {
            [b"I/O error on ", method, b" request for \"", url, b"\": ", sentence]
        }
        None if json => [b"{\"code\":\"", code, b"\",\"message\":\"", sentence, b"\"}", b""],
        None => [sentence, b"", b"", b"", b"", b""],
    }
}

/// The reason phrases of the statuses in `fault`.
const fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Ask<'static> =
        Ask { head: false, json: false, connection: ConnectionField::None, compat: None };

    fn text(what: What, ask: &Ask<'_>) -> String {
        let mut out = [0; 1024];
        let len = reply(what, ask, &mut out).unwrap();
        assert_eq!(reply(what, ask, &mut out[..len - 1]), None);
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn what_was_told_can_be_read_back() {
        let told = |ask| told(text(What::TargetMissing, ask).as_bytes());
        assert_eq!(told(&PLAIN), (403, 40));
        assert_eq!(told(&Ask { head: true, ..PLAIN }), (403, 0));
    }

    #[test]
    fn the_legacy_text_stays_text() {
        let expected = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain;charset=UTF-8\r\n\
            Content-Length: 40\r\n\
            X-Proxy-Error: target_missing\r\n\r\nyou have to include x-target-host header";
        assert_eq!(text(What::TargetMissing, &PLAIN), expected);
        assert_eq!(text(What::TargetMissing, &Ask { json: true, ..PLAIN }), expected);
    }

    #[test]
    fn json_comes_when_asked_for() {
        assert_eq!(
            text(What::Overloaded, &Ask { json: true, connection: ConnectionField::Close, ..PLAIN }),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json;charset=UTF-8\r\n\
                Content-Length: 59\r\n\
            X-Proxy-Error: overloaded\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
            {\"code\":\"overloaded\",\"message\":\"the proxy is at its limit\"}"
        );
    }

    #[test]
    fn a_head_has_the_length_but_not_the_body() {
        assert_eq!(
            text(What::TraceDenied, &Ask { head: true, connection: ConnectionField::KeepAlive, ..PLAIN }),
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain;charset=UTF-8\r\n\
                Content-Length: 20\r\n\
            X-Proxy-Error: method_not_allowed\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n\
            Connection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn compat_is_the_legacy_500() {
        let compat = Some(Compat { method: b"POST", url: b"http://h:81/p" });
        assert_eq!(
            text(
                What::ConnectRefused,
                &Ask { json: true, connection: ConnectionField::KeepAlive, compat, ..PLAIN }
            ),
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain;charset=UTF-8\r\n\
                Content-Length: 80\r\n\
            X-Proxy-Error: connect_refused\r\nConnection: close\r\n\r\n\
            I/O error on POST request for \"http://h:81/p\": the target refused the connection"
        );
        let ask = Ask { compat, ..PLAIN };
        assert_eq!(text(What::BadTarget, &ask), text(What::BadTarget, &PLAIN));
        assert_eq!([What::BadTarget, What::PoolTimeout].map(|what| ask.closes(what)), [false, true]);
    }

    #[test]
    fn a_reload_is_confirmed_in_the_legacys_words() {
        let expected = "HTTP/1.1 201 Created\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 17\r\n\
            Connection: close\r\n\r\nreload httpclient";
        let mut out = [0; 256];
        let ask = Ask { json: true, connection: ConnectionField::Close, ..PLAIN };
        let len = reloaded(&ask, &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out[..len]), Ok(expected));
        assert_eq!(reloaded(&ask, &mut out[..len - 1]), None);
        let len = reloaded(&Ask { head: true, ..ask }, &mut out).unwrap();
        assert_eq!(std::str::from_utf8(&out[..len]), Ok(expected.trim_end_matches("reload httpclient")));
    }

    #[test]
    fn every_fault_has_a_reason_and_needs_no_escape_in_json() {
        for &what in What::ALL {
            assert!(!reason(what.status()).is_empty(), "{what:?}");
            assert!(!what.sentence().contains(['"', '\\']) && what.sentence().is_ascii(), "{what:?}");
        }
    }
}
