//! Message heads: where they end, what they hold, and every malformed one refused (RFC 9112 §2-§5).
//!
//! [`HeadScan`] finds the end and judges each line end and the request line as soon as they are there;
//! [`parse_request`] and [`parse_response`] read the head it found. The scan is not optional: httparse alone
//! takes a bare LF for a line end. Nothing here allocates, and a parsed head borrows the buffer.
//!
//! Refused: bare CR and LF, obs-fold, blanks before a colon, control bytes, more than [`HEADERS_MAX`] lines,
//! versions other than 1.0 and 1.1, and requests whose Host is missing, repeated or malformed.

use std::mem::MaybeUninit;

use memchr::{memchr, memchr_iter};

use super::header::{self, Kind};
use super::target;
use crate::fault::What;

/// The most header lines of a message, and the most options in its `Connection` lines.
pub const HEADERS_MAX: usize = 100;

/// One header line: its name, and its value without the blanks around it.
pub type Header<'b> = httparse::Header<'b>;

/// Room for the parsed header lines; on the stack, never initialised as a whole.
pub type HeaderSpace<'b> = [MaybeUninit<Header<'b>>; HEADERS_MAX];

/// A fresh [`HeaderSpace`], which costs nothing.
pub const fn header_space<'b>() -> HeaderSpace<'b> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// A resumable scan for the end of a head: linear in the bytes even when they come one at a time.
///
/// Each call is given the whole head so far. After the head was found, or to begin another one,
/// [`HeadScan::reset`].
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Where the line under way begins.
    line: usize,
    /// How many bytes were searched for line ends.
    seen: usize,
    /// Whether the start line is complete.
    started: bool,
}

impl HeadScan {
    /// The length of the request head at the start of `bytes`, its blank line included; `None`: more bytes
    /// are needed.
    ///
    /// One empty line before the request line is part of the head (RFC 9112 §2.2).
    ///
    /// # Errors
    /// `BadRequestLine` and `BadVersion` as soon as the request line is complete, or its first byte wrong;
    /// `BadLineEnd` for a bare LF; `TargetTooLong` or `HeadTooLarge` when the head does not end within `max`
    /// bytes.
    pub fn request(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, What> {
        let window = &bytes[..bytes.len().min(max)];
        let first = window.strip_prefix(b"\r\n").unwrap_or(window).first();
        if first.is_some_and(|&b| b != b'\r' && b != b'\n' && !header::is_tchar(b)) {
            return Err(What::BadRequestLine);
        }
        let found = self.scan(window, What::BadLineEnd, |line, at| {
            if line.is_empty() && at == 0 { Ok(false) } else { request_line(line).map(|()| true) }
        })?;
        if found.is_none() && window.len() == max {
            return Err(if self.started { What::HeadTooLarge } else { What::TargetTooLong });
        }
        Ok(found)
    }

    /// The length of the response head at the start of `bytes`, its blank line included; `None`: more bytes
    /// are needed.
    ///
    /// # Errors
    /// `BadResponse` as soon as the bytes cannot become an HTTP/1 head; `ResponseHeadTooLarge` when it does
    /// not end within `max` bytes.
    pub fn response(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, What> {
        const PREFIX: &[u8] = b"HTTP/1.";
        let window = &bytes[..bytes.len().min(max)];
        let known = window.len().min(PREFIX.len());
        if window[..known] != PREFIX[..known] {
            return Err(What::BadResponse);
        }
        let found = self.scan(window, What::BadResponse, |_, _| Ok(true))?;
        if found.is_none() && window.len() == max {
            return Err(What::ResponseHeadTooLarge);
        }
        Ok(found)
    }

    /// Begins anew, for the next head.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Walks the lines of `window` not seen yet. `start_line` judges a line and its offset while none was the
    /// start line, and says whether this one is.
    fn scan(
        &mut self,
        window: &[u8],
        bad_line_end: What,
        start_line: impl Fn(&[u8], usize) -> Result<bool, What>,
    ) -> Result<Option<usize>, What> {
        let seen = self.seen;
        for lf in memchr_iter(b'\n', window.get(seen..).unwrap_or_default()) {
            let lf = seen + lf;
            let line = window[self.line..lf].strip_suffix(b"\r").ok_or(bad_line_end)?;
            if !self.started {
                self.started = start_line(line, self.line)?;
            } else if line.is_empty() {
                self.seen = lf;
                return Ok(Some(lf + 1));
            }
            self.line = lf + 1;
        }
        self.seen = window.len().max(seen);
        Ok(None)
    }
}

/// Judges a complete request line: method SP target SP version, nothing else (RFC 9112 §3).
fn request_line(line: &[u8]) -> Result<(), What> {
    let bad = What::BadRequestLine;
    let method = memchr(b' ', line).ok_or(bad)?;
    let rest = &line[method + 1..];
    let target = memchr(b' ', rest).ok_or(bad)?;
    // Folding instead of `all` lets the compiler test many bytes at once.
    let visible = rest[..target].iter().fold(true, |ok, b| ok & (0x21..=0x7e).contains(b));
    if !header::is_token(&line[..method]) || target == 0 || !visible {
        return Err(bad);
    }
    match &rest[target + 1..] {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(What::BadVersion),
        _ => Err(bad),
    }
}

/// The versions we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How often a field occurred, and its value if it did once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen<'b> {
    /// Not at all.
    #[default]
    Never,
    /// Once, with this value.
    Once(&'b [u8]),
    /// More than once.
    Repeated,
}

impl<'b> Seen<'b> {
    fn note(&mut self, value: &'b [u8]) {
        *self = if *self == Self::Never { Self::Once(value) } else { Self::Repeated };
    }

    /// Whether it did not occur.
    pub fn is_never(self) -> bool {
        self == Self::Never
    }
}

/// What the header lines say, collected in one pass.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    /// `Host`.
    pub host: Seen<'b>,
    /// The first `x-target-host`; `None` when it is missing or blank.
    pub target_host: Option<&'b [u8]>,
    /// `Proxy-Authorization`.
    pub proxy_authorization: Seen<'b>,
    /// `Content-Length`, unjudged.
    pub content_length: Seen<'b>,
    /// `Transfer-Encoding`, unjudged.
    pub transfer_encoding: Seen<'b>,
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
    /// `Connection` says upgrade, and the one `Upgrade` names protocols that may be switched to.
    pub upgrade: bool,
    /// `Connection` names something else: header lines that end at the next hop.
    pub nominates: bool,
    /// `Expect: 100-continue`.
    pub expect_continue: bool,
    /// `x-reload-httpclient: true`.
    pub reload: bool,
    /// `Accept` asks for JSON by name.
    pub json: bool,
    /// Seconds of `Keep-Alive: timeout=`.
    pub keep_alive_timeout: Option<u32>,
    /// What each header line is, index for index.
    kinds: [Kind; HEADERS_MAX],
}

impl<'b> Fields<'b> {
    /// `None`: the `Connection` lines hold more than [`HEADERS_MAX`] options, more than there can be lines to
    /// name.
    fn collect(headers: &[Header<'b>]) -> Option<Self> {
        let mut fields = Self {
            host: Seen::Never,
            target_host: None,
            proxy_authorization: Seen::Never,
            content_length: Seen::Never,
            transfer_encoding: Seen::Never,
            close: false,
            keep_alive: false,
            upgrade: false,
            nominates: false,
            expect_continue: false,
            reload: false,
            json: false,
            keep_alive_timeout: None,
            kinds: [Kind::Other; HEADERS_MAX],
        };
        let mut options = 0;
        let (mut asks_upgrade, mut protocols) = (false, Seen::Never);
        for (header, slot) in headers.iter().zip(&mut fields.kinds) {
            let kind = Kind::of(header.name.as_bytes());
            *slot = kind;
            match kind {
                Kind::Other | Kind::HopByHop | Kind::Trailer => {}
                Kind::Host => fields.host.note(header.value),
                Kind::TargetHost => {
                    fields.target_host.get_or_insert(header.value);
                }
                Kind::Reload => fields.reload |= header.value.eq_ignore_ascii_case(b"true"),
                Kind::ProxyAuthorization => fields.proxy_authorization.note(header.value),
                Kind::Upgrade => protocols.note(header.value),
                Kind::ContentLength => fields.content_length.note(header.value),
                Kind::TransferEncoding => fields.transfer_encoding.note(header.value),
                Kind::Connection => {
                    for option in header::list(header.value) {
                        options += 1;
                        if option.eq_ignore_ascii_case(b"close") {
                            fields.close = true;
                        } else if option.eq_ignore_ascii_case(b"keep-alive") {
                            fields.keep_alive = true;
                        } else {
                            fields.nominates = true;
                            asks_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                        }
                    }
                }
                Kind::KeepAlive => fields.keep_alive_timeout = header::keep_alive_timeout(header.value),
                Kind::Expect => fields.expect_continue |= header.value.eq_ignore_ascii_case(b"100-continue"),
                Kind::Accept => fields.json |= header::accepts_json(header.value),
            }
        }
        fields.target_host = fields.target_host.filter(|value| !value.is_empty());
        fields.upgrade = asks_upgrade && matches!(protocols, Seen::Once(value) if header::may_upgrade(value));
        (options <= HEADERS_MAX).then_some(fields)
    }
}

/// A request head, borrowed from the buffer it arrived in.
#[derive(Debug)]
pub struct Request<'h, 'b> {
    /// The method, a token.
    pub method: &'b [u8],
    /// The request target, visible ASCII only.
    pub target: &'b [u8],
    /// The client's version.
    pub version: Version,
    /// The header lines in order.
    pub headers: &'h [Header<'b>],
    /// What they say.
    pub fields: Fields<'b>,
}

/// A response head, borrowed from the buffer it arrived in.
#[derive(Debug)]
pub struct Response<'h, 'b> {
    /// The origin's version.
    pub version: Version,
    /// The status, 100 to 999.
    pub status: u16,
    /// The exact bytes of the reason phrase, obs-text included.
    pub reason: &'b [u8],
    /// The header lines in order.
    pub headers: &'h [Header<'b>],
    /// What they say.
    pub fields: Fields<'b>,
}

impl Request<'_, '_> {
    /// What each of [`Request::headers`] is.
    pub fn kinds(&self) -> &[Kind] {
        &self.fields.kinds[..self.headers.len()]
    }

    /// Whether the client wants its connection kept after the answer (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(self.version, &self.fields)
    }
}

impl Response<'_, '_> {
    /// What each of [`Response::headers`] is.
    pub fn kinds(&self) -> &[Kind] {
        &self.fields.kinds[..self.headers.len()]
    }

    /// Whether the origin keeps its connection after this answer (RFC 9112 §9.3).
    pub fn keeps_alive(&self) -> bool {
        keeps_alive(self.version, &self.fields)
    }
}

fn keeps_alive(version: Version, fields: &Fields<'_>) -> bool {
    !fields.close && (version == Version::Http11 || fields.keep_alive)
}

/// Reads the head that [`HeadScan::request`] found: exactly its bytes.
///
/// # Errors
/// `BadRequestLine`, `BadVersion`, `BadHeader`, `BadLineEnd`, `TooManyHeaders`, `BadHost`.
pub fn parse_request<'h, 'b>(
    head: &'b [u8],
    space: &'h mut HeaderSpace<'b>,
) -> Result<Request<'h, 'b>, What> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    if matches!(head.first(), None | Some(b'\r' | b'\n')) {
        return Err(What::BadRequestLine);
    }
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(head, space).map_err(|error| request_fault(error, head))?;
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(What::BadRequestLine);
    };
    if status != httparse::Status::Complete(head.len()) {
        return Err(What::BadHeader);
    }
    let headers: &'h [Header<'b>] = parsed.headers;
    let fields = Fields::collect(headers).ok_or(What::BadHeader)?;
    let version = version(minor);
    match fields.host {
        Seen::Never if version == Version::Http10 => {}
        Seen::Once(host) if target::host_port(host).is_some() => {}
        _ => return Err(What::BadHost),
    }
    Ok(Request { method: method.as_bytes(), target: target.as_bytes(), version, headers, fields })
}

/// Reads the head that [`HeadScan::response`] found: exactly its bytes.
///
/// # Errors
/// `ResponseHeadTooLarge` for more than [`HEADERS_MAX`] lines, `BadResponse` for everything else.
pub fn parse_response<'h, 'b>(
    head: &'b [u8],
    space: &'h mut HeaderSpace<'b>,
) -> Result<Response<'h, 'b>, What> {
    let bad = What::BadResponse;
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, space)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => What::ResponseHeadTooLarge,
            _ => bad,
        })?;
    let (Some(minor), Some(code)) = (parsed.version, parsed.code) else { return Err(bad) };
    if status != httparse::Status::Complete(head.len()) || code < 100 || !head.starts_with(b"HTTP/") {
        return Err(bad);
    }
    // httparse gives no reason that holds obs-text, so the line is cut here: `HTTP/1.x nnn reason`.
    let line = &head[..memchr(b'\r', head).ok_or(bad)?];
    let reason = line.get(b"HTTP/1.1 200 ".len()..).unwrap_or_default();
    let headers: &'h [Header<'b>] = parsed.headers;
    let fields = Fields::collect(headers).ok_or(bad)?;
    Ok(Response { version: version(minor), status: code, reason, headers, fields })
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Our word for httparse's; a bare CR, which it calls a bad name or value, has a word of its own.
fn request_fault(error: httparse::Error, head: &[u8]) -> What {
    use httparse::Error;
    let bare_cr = || memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'));
    match error {
        Error::TooManyHeaders => What::TooManyHeaders,
        Error::Version => What::BadVersion,
        Error::NewLine => What::BadLineEnd,
        Error::HeaderName | Error::HeaderValue if bare_cr() => What::BadLineEnd,
        Error::HeaderName | Error::HeaderValue => What::BadHeader,
        Error::Status | Error::Token => What::BadRequestLine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 8192;

    /// The fault of a request head given at once, and the same given byte by byte: both must agree.
    fn fault(head: &str) -> What {
        let whole = scan_and_parse(head.as_bytes()).unwrap_err();
        let mut scan = HeadScan::default();
        for end in 1..=head.len() {
            match scan.request(&head.as_bytes()[..end], MAX) {
                Ok(None) => {}
                Ok(Some(len)) => {
                    let slow = parse_request(&head.as_bytes()[..len], &mut header_space()).map(|_| ());
                    assert_eq!(slow, Err(whole), "{head:?}");
                    return whole;
                }
                Err(slow) => {
                    assert_eq!(slow, whole, "{head:?}");
                    return whole;
                }
            }
        }
        panic!("no fault byte by byte: {head:?}")
    }

    fn scan_and_parse(bytes: &[u8]) -> Result<usize, What> {
        let len = HeadScan::default().request(bytes, MAX)?.expect("a complete head");
        parse_request(&bytes[..len], &mut header_space()).map(|_| len)
    }

    #[test]
    fn malformed_requests_are_refused() {
        use What::*;
        for (head, what) in [
            // Whitespace tricks in the request line.
            ("GET  / HTTP/1.1\r\n", BadRequestLine),
            ("GET /  HTTP/1.1\r\n", BadRequestLine),
            ("GET\t/\tHTTP/1.1\r\n", BadRequestLine),
            (" GET / HTTP/1.1\r\n", BadRequestLine),
            ("GET / HTTP/1.1 \r\n", BadRequestLine),
            ("GET / x HTTP/1.1\r\n", BadRequestLine),
            ("GET /\x0b HTTP/1.1\r\n", BadRequestLine),
            ("GET /\u{e9} HTTP/1.1\r\n", BadRequestLine),
            ("GET /\0 HTTP/1.1\r\n", BadRequestLine),
            ("GET /a\rb HTTP/1.1\r\n", BadRequestLine),
            ("G@T / HTTP/1.1\r\n", BadRequestLine),
            ("(GET / HTTP/1.1\r\n", BadRequestLine),
            ("\x16\x03\x01", BadRequestLine),
            // Versions.
            ("GET /\r\n", BadRequestLine),
            ("GET\r\n", BadRequestLine),
            ("GET / \r\n", BadRequestLine),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadVersion),
            ("GET / HTTP/2.0\r\n", BadVersion),
            ("GET / HTTP/1.2\r\n", BadVersion),
            ("GET / HTTP/0.9\r\n", BadVersion),
            ("GET / HTTP/1.1x\r\n", BadRequestLine),
            ("GET / HTTP/11\r\n", BadRequestLine),
            ("GET / HTTP/1.10\r\n", BadRequestLine),
            ("GET / http/1.1\r\n", BadRequestLine),
            ("GET / HTTP/2\r\n", BadRequestLine),
            // Line ends.
            ("GET / HTTP/1.1\n", BadLineEnd),
            ("\nGET / HTTP/1.1\r\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\n\r\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\n\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\nA\r: b\r\n\r\n", BadLineEnd),
            ("GET / HTTP/1.1\r\nHost: h\r\n\rA: b\r\n\r\n", BadLineEnd),
            ("\r\n\r\nGET / HTTP/1.1\r\n", BadRequestLine),
            // Header lines.
            ("GET / HTTP/1.1\r\nHost: h\r\n A: b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nnocolon\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA(: b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA\u{e9}: b\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n", BadHeader),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n", BadHeader),
            // Host.
            ("GET / HTTP/1.1\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", BadHost),
            ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", BadHost),
            ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", BadHost),
        ] {
            assert_eq!(fault(head), what, "{head:?}");
        }
    }

    #[test]
    fn limits_are_exact() {
        let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let scan = |bytes: &str, max| HeadScan::default().request(bytes.as_bytes(), max);
        assert_eq!(scan(head, head.len()), Ok(Some(head.len())));
        assert_eq!(scan(head, head.len() - 1), Err(What::HeadTooLarge));
        assert_eq!(scan(&head[..20], 20), Err(What::HeadTooLarge));
        assert_eq!(scan(&head[..20], 21), Ok(None));
        assert_eq!(scan(&head[..10], 10), Err(What::TargetTooLong));
        assert_eq!(scan(head, 10), Err(What::TargetTooLong));

        let head = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        let scan = |max| HeadScan::default().response(head.as_bytes(), max);
        assert_eq!(scan(head.len()), Ok(Some(head.len())));
        assert_eq!(scan(head.len() - 1), Err(What::ResponseHeadTooLarge));
    }

    #[test]
    fn a_hundred_lines_are_enough() {
        let lines = |n: usize| "A: b\r\n".repeat(n);
        let request = |n| scan_and_parse(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", lines(n)).as_bytes());
        assert!(request(99).is_ok());
        assert_eq!(request(100), Err(What::TooManyHeaders));
        let response = |n| {
            parse_response(format!("HTTP/1.1 200 OK\r\n{}\r\n", lines(n)).as_bytes(), &mut header_space())
                .map(|response| response.headers.len())
        };
        assert_eq!(response(100), Ok(100));
        assert_eq!(response(101), Err(What::ResponseHeadTooLarge));
    }

    #[test]
    fn options_of_connection_are_bounded() {
        let head = |n: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: {}\r\n\r\n", "a,".repeat(n));
        assert!(scan_and_parse(head(100).as_bytes()).is_ok());
        assert_eq!(scan_and_parse(head(101).as_bytes()), Err(What::BadHeader));
    }

    #[test]
    fn an_empty_line_may_come_first() {
        let bytes = b"\r\nGET /p HTTP/1.0\r\n\r\nrest";
        let len = HeadScan::default().request(bytes, MAX).unwrap().unwrap();
        assert_eq!(len, bytes.len() - 4);
        let mut space = header_space();
        let request = parse_request(&bytes[..len], &mut space).unwrap();
        assert_eq!(
            (request.method, request.target, request.version),
            (&b"GET"[..], &b"/p"[..], Version::Http10)
        );
    }

    #[test]
    fn the_fields_are_collected() {
        let head = b"POST /a?b HTTP/1.1\r\nHost: [::1]:80\r\nX-Target-Host:  first \r\n\
            x-target-host: second\r\n\
            Content-Length: 1\r\nTransfer-Encoding: a\r\ntransfer-encoding: b\r\n\
            Connection: close, x, Keep-Alive\r\n\
            Expect: 100-Continue\r\nX-Reload-HttpClient: TRUE\r\nAccept: application/json\r\n\
            Keep-Alive: timeout=9\r\n\
            A: caf\xe9\r\n\r\n";
        let mut space = header_space();
        let request = parse_request(head, &mut space).unwrap();
        let Fields { host, target_host, content_length, transfer_encoding, .. } = request.fields;
        assert_eq!(host, Seen::Once(b"[::1]:80"));
        assert_eq!(target_host, Some(&b"first"[..]));
        assert_eq!(content_length, Seen::Once(b"1"));
        assert_eq!(transfer_encoding, Seen::Repeated);
        let f = &request.fields;
        assert_eq!([f.close, f.keep_alive, f.nominates, f.expect_continue, f.reload, f.json], [true; 6]);
        assert_eq!(f.keep_alive_timeout, Some(9));
        assert_eq!(request.headers.last().map(|h| h.value), Some(&b"caf\xe9"[..]));
        assert_eq!(request.kinds().last(), Some(&Kind::Other));
        assert!(!request.keeps_alive());
    }

    #[test]
    fn a_blank_first_target_is_none() {
        let head = b"GET / HTTP/1.0\r\nx-target-host: \r\nx-target-host: b\r\n\r\n";
        assert_eq!(parse_request(head, &mut header_space()).unwrap().fields.target_host, None);
    }

    #[test]
    fn connections_persist_by_version_and_option() {
        for (version, option, keeps) in [
            ("1.1", "x", true),
            ("1.1", "close", false),
            ("1.1", "keep-alive, close", false),
            ("1.0", "x", false),
            ("1.0", "Keep-Alive", true),
        ] {
            let head = format!("HTTP/{version} 200 OK\r\nConnection: {option}\r\n\r\n");
            let response = parse_response(head.as_bytes(), &mut header_space()).map(|r| r.keeps_alive());
            assert_eq!(response, Ok(keeps), "{head:?}");
        }
    }

    #[test]
    fn status_lines_keep_their_reason() {
        for (line, status, reason) in [
            (&b"HTTP/1.1 200 OK"[..], 200, &b"OK"[..]),
            (b"HTTP/1.0 404 ", 404, b""),
            (b"HTTP/1.1 599", 599, b""),
            (b"HTTP/1.1 999  two \tblanks ", 999, b" two \tblanks "),
            (b"HTTP/1.1 200 caf\xe9", 200, b"caf\xe9"),
        ] {
            let head = [line, b"\r\n\r\n"].concat();
            let mut space = header_space();
            let response = parse_response(&head, &mut space).unwrap();
            assert_eq!((response.status, response.reason), (status, reason));
        }
    }

    #[test]
    fn malformed_responses_are_refused() {
        for head in [
            "HTTP/1.1 99 x\r\n\r\n",
            "HTTP/1.1 099 x\r\n\r\n",
            "HTTP/1.1 2000 x\r\n\r\n",
            "HTTP/1.1 -20 x\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200\tOK\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        ] {
            let verdict = HeadScan::default().response(head.as_bytes(), MAX).and_then(|len| {
                parse_response(&head.as_bytes()[..len.expect("complete")], &mut header_space()).map(|_| ())
            });
            assert_eq!(verdict, Err(What::BadResponse), "{head:?}");
        }
    }

    #[test]
    fn what_is_not_http_answers_at_its_first_wrong_byte() {
        assert_eq!(HeadScan::default().response(b"HTTP/1", MAX), Ok(None));
        assert_eq!(HeadScan::default().response(b"HTTP/2", MAX), Err(What::BadResponse));
        assert_eq!(HeadScan::default().response(b"SSH-", MAX), Err(What::BadResponse));
        assert_eq!(HeadScan::default().request(b"\r\n\x16", MAX), Err(What::BadRequestLine));
    }
}
