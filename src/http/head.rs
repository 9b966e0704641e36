//! Message heads: where they end, what they hold, and every malformed one refused (RFC 9112 §2-§5).
//!
//! [`HeadScan`] finds the end and judges each line end and the request line as soon as they are there;
//! [`parse_request`] and [`parse_response`] read the head it found. The scan is not optional: httparse alone takes a bare LF
//! for a line end. Nothing here allocates, and a parsed head borrows the buffer.
//!
//! Refused: bare CR and LF, obs-fold, blanks before a colon, control bytes, more than [`HEADERS_MAX`] lines, versions
//! other than 1.0 and 1.1, and requests whose Host is missing, repeated or malformed.

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
/// Each call is given the whole head so far. After the head was found, or to begin another one, [`HeadScan::reset`].
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
    /// The length of the request head at the start of `bytes`, its blank line included; `None`: more bytes are needed.
    ///
    /// One empty line before the request line is part of the head (RFC 9112 §2.2).
    ///
    /// # Errors
    /// `BadRequestLine` and `BadVersion` as soon as the request line is complete, or its first byte wrong; `BadLineEnd` for a bare LF;
    /// `TargetTooLong` or `HeadTooLarge` when the head does not end within `max` bytes.
    pub fn request(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, What> {
        let window = &bytes[..bytes.len().min(max)];
        if let Some(&first) = window.get(self.line)
            && !self.started
            && first != b'\r'
            && first != b'\n'
            && !header::is_tchar(first)
        {
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

    /// The length of the response head at the start of `bytes`, its blank line included; `None`: more bytes are needed.
    ///
    /// # Errors
    /// `BadResponse` as soon as the bytes cannot become an HTTP/1 head; `ResponseHeadTooLarge` when it does not end
    /// within `max` bytes.
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

    /// Walks the lines of `window` not seen yet. `start_line` judges a line and its offset while none was the start line, and says
    /// whether this one is.
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
    /// `Content-Length`, unjudged.
    pub content_length: Seen<'b>,
    /// `Transfer-Encoding`, unjudged.
    pub transfer_encoding: Seen<'b>,
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
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
    /// `None`: the `Connection` lines hold more than [`HEADERS_MAX`] options, more than there can be lines to name.
    fn collect(headers: &[Header<'b>]) -> Option<Self> {
        let mut fields = Self {
            host: Seen::Never,
            target_host: None,
            content_length: Seen::Never,
            transfer_encoding: Seen::Never,
            close: false,
            keep_alive: false,
            nominates: false,
            expect_continue: false,
            reload: false,
            json: false,
            keep_alive_timeout: None,
            kinds: [Kind::Other; HEADERS_MAX],
        };
        let mut options = 0;
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
                        }
                    }
                }
                Kind::KeepAlive => fields.keep_alive_timeout = header::keep_alive_timeout(header.value),
                Kind::Expect => fields.expect_continue |= header.value.eq_ignore_ascii_case(b"100-continue"),
                Kind::Accept => fields.json |= header::accepts_json(header.value),
            }
        }
        fields.target_host = fields.target_host.filter(|value| !value.is_empty());
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
