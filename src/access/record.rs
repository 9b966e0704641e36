//! What is known of one exchange, for its line: noted while it is at hand, written when the exchange is over.
//!
//! Texts of peers are copied into one arena, each cut at its limit; a record that has been used keeps its memory for the
//! next exchange, so that a steady state allocates none.

use crate::access::wanted::{HEADERS_MAX, Wanted, Whose};
use crate::http::head::{Header, Request, Response, Seen, Version};
use crate::http::header;
use crate::time::Now;
use crate::tls::session::Session;
use std::net::SocketAddr;

/// Longest request target, in bytes; what is cut off is replaced by [`CUT`].
const TARGET_BYTES_MAX: usize = 2048;
/// Longest value of a header.
const VALUE_BYTES_MAX: usize = 1024;
/// Longest method and longest name of a user.
const NAME_BYTES_MAX: usize = 64;
/// Most bytes of all texts together.
pub const TEXT_BYTES_MAX: usize = 8192;
/// What stands where something was cut off.
pub const CUT: &[u8] = b"...";

const _: () = assert!(TEXT_BYTES_MAX <= u16::MAX as usize, "spans are u16");

/// A text in the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u16,
    len: u16,
}

/// Where the client came in: what is written of its exchanges depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// The forward listener.
    #[default]
    Forward,
    /// The plain reverse listener.
    Reverse,
    /// The reverse listener with TLS.
    ReverseTls,
}

impl Door {
    /// Every door.
    pub const ALL: &[Self] = &[Self::Forward, Self::Reverse, Self::ReverseTls];

    /// The kind of its listener.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse | Self::ReverseTls => "reverse",
        }
    }
}

/// What an exchange waits for; each wait is timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing that has a time of its own.
    #[default]
    Other,
    /// The addresses of its target.
    Dns,
    /// A permit, or a handshake of others.
    Queue,
    /// A connection.
    Connect,
    /// Its TLS handshake.
    Tls,
}

/// How many phases there are.
const PHASES: usize = Phase::Tls as usize + 1;

/// The TLS of a connection, as lines show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// OpenSSL's name of the suite.
    pub suite: &'static str,
    /// The session was resumed.
    pub resumed: bool,
}

/// What lines show of a target that speaks TLS: read once for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTls {
    /// The session.
    pub tls: Tls,
    /// The SERIALNUMBER in the subject of its certificate.
    pub serial: Option<String>,
}

impl Tls {
    /// That of `session`.
    pub fn of(session: &Session) -> Self {
        Self { version: session.version_name(), suite: session.suite_name(), resumed: session.is_resumed() }
    }
}

impl TargetTls {
    /// That of `session`.
    pub fn of(session: &Session) -> Self {
        Self { tls: Tls::of(session), serial: session.peer_serial_number() }
    }
}

/// How the exchange got its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// It has none.
    #[default]
    None,
    /// One was opened for it.
    New,
    /// From the pool.
    Reused,
}

/// What is known of an exchange.
#[derive(Debug, Default)]
pub struct Record {
    text: Vec<u8>,
    method: Span,
    target: Span,
    /// The first line of a head that could not be read.
    garbage: Span,
    host: Span,
    user: Span,
    serial: Span,
    headers: [Span; HEADERS_MAX],
    version: Option<Version>,
    /// Where the client came in.
    pub door: Door,
    /// When its first byte arrived.
    pub began: Now,
    /// When its head was complete.
    pub asked: Option<Now>,
    /// When the final head of an answer was there.
    pub answered: Option<Now>,
    phase: Phase,
    /// When that began.
    since: Now,
    spans: [u64; PHASES],
    /// The status the client was told; 0 before that.
    pub status: u16,
    /// Bytes of the request, head included.
    pub received: u64,
    /// Bytes sent to the client, heads included.
    pub sent: u64,
    /// Bytes of the answer's body, chunk framing aside.
    pub body: u64,
    /// The address that was dialled last, or that the pooled connection leads to.
    pub address: Option<SocketAddr>,
    /// Where the connection came from.
    pub reuse: Reuse,
    /// The TLS of the connection to the target.
    pub tls: Option<Tls>,
    /// How often the request was sent again.
    pub retries: u8,
    /// The exchange was cut off.
    pub aborted: bool,
}

impl Record {
    /// A record of nothing yet, in the memory of an old one.
    pub fn renew(&mut self, door: Door, now: Now) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, door, began: now, since: now, ..Self::default() };
    }

    /// The memory it keeps.
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Copies `bytes`, cut at `max` and at what is left of the arena.
    fn keep(&mut self, bytes: &[u8], max: usize) -> Span {
        let start = self.text.len();
        let room = TEXT_BYTES_MAX - start;
        if bytes.len() <= max.min(room) {
            self.text.extend_from_slice(bytes);
        } else if let Some(len) = max.min(room).checked_sub(CUT.len()) {
            self.text.extend_from_slice(&bytes[..len]);
            self.text.extend_from_slice(CUT);
        }
        Span { start: start as u16, len: (self.text.len() - start) as u16 }
    }

    fn of(&self, span: Span) -> Option<&[u8]> {
        let start = usize::from(span.start);
        self.text.get(start..start + usize::from(span.len)).filter(|text| !text.is_empty())
    }

    /// Notes a request whose head could be read, `len` bytes long.
    pub fn take_request(&mut self, request: &Request<'_, '_>, len: usize, wanted: &Wanted, now: Now) {
        self.method = self.keep(request.method, NAME_BYTES_MAX);
        self.target = self.keep(request.target, TARGET_BYTES_MAX);
        self.version = Some(request.version);
        self.received = len as u64;
        self.asked = Some(now);
        if let Seen::Once(host) = request.fields.host {
            self.host = self.keep(host, VALUE_BYTES_MAX);
        }
        // httpd joins the lines of a request's header.
        self.take_headers(request.headers, wanted, Whose::Request, |_| true);
    }

    /// Notes what arrived of a head that could not be read.
    pub fn take_garbage(&mut self, bytes: &[u8]) {
        self.received = bytes.len() as u64;
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        self.garbage = self.keep(line, TARGET_BYTES_MAX);
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        if header::is_token(method) {
            self.method = self.keep(method, NAME_BYTES_MAX);
            self.target = self.keep(target, TARGET_BYTES_MAX);
        }
    }

    /// Notes the final head of a target's answer.
    pub fn take_answer(&mut self, response: &Response<'_, '_>, wanted: &Wanted, now: Now) {
        self.status = response.status;
        self.answered = Some(now);
        if wanted.has_answers() {
            // httpd shows the first line of an answer's header, but for cookies.
            self.take_headers(response.headers, wanted, Whose::Answer, |name| {
                name.eq_ignore_ascii_case(b"set-cookie")
            });
        }
    }

    /// Notes an answer of our own with `body` bytes of body.
    pub fn answer_ourselves(&mut self, status: u16, body: usize, now: Now) {
        self.status = status;
        self.body = body as u64;
        self.answered.get_or_insert(now);
    }

    fn take_headers(
        &mut self,
        headers: &[Header<'_>],
        wanted: &Wanted,
        whose: Whose,
        joins: impl Fn(&[u8]) -> bool,
    ) {
        for header in headers {
            let name = header.name.as_bytes();
            let Some(slot) = wanted.find(whose, name) else { continue };
            let known = self.headers[usize::from(slot)];
            if known == Span::default() {
                self.headers[usize::from(slot)] = self.keep(header.value, VALUE_BYTES_MAX);
            } else if joins(name) {
                // The lines of a header that was repeated lie side by side at the end of the arena.
                let start = self.text.len();
                let end = usize::from(known.start) + usize::from(known.len);
                if end < start {
                    let range = usize::from(known.start)..end;
                    if start + range.len() > TEXT_BYTES_MAX {
                        continue;
                    }
                    self.text.extend_from_within(range);
                }
                let whole = if end < start { start } else { usize::from(known.start) };
                self.keep(b", ", 2);
                self.keep(header.value, VALUE_BYTES_MAX);
                let len = (self.text.len() - whole) as u16;
                self.headers[usize::from(slot)] = Span { start: whole as u16, len };
            }
        }
    }

    /// Notes the connection that serves it.
    pub fn take_link(&mut self, reuse: Reuse, address: SocketAddr, tls: Option<&TargetTls>) {
        self.reuse = reuse;
        self.address = Some(address);
        (self.tls, self.serial) = (None, Span::default());
        if let Some(tls) = tls {
            self.take_tls(tls);
        }
    }

    /// Notes the TLS of that connection.
    pub fn take_tls(&mut self, known: &TargetTls) {
        self.tls = Some(known.tls);
        if let Some(serial) = &known.serial {
            self.serial = self.keep(serial.as_bytes(), VALUE_BYTES_MAX);
        }
    }

    /// Notes the user that a password was asked of.
    pub fn take_user(&mut self, user: &[u8]) {
        self.user = self.keep(user, NAME_BYTES_MAX);
    }

    /// It waits for `phase` from now on.
    pub fn enter(&mut self, phase: Phase, now: Now) {
        if phase != self.phase {
            self.spans[self.phase as usize] += now.micros_since(self.since);
            (self.phase, self.since) = (phase, now);
        }
    }

    /// Microseconds it has waited for `phase` up to `now`.
    pub fn span(&self, phase: Phase, now: Now) -> u64 {
        let under_way = if phase == self.phase { now.micros_since(self.since) } else { 0 };
        self.spans[phase as usize] + under_way
    }

    /// The method.
    pub fn method(&self) -> Option<&[u8]> {
        self.of(self.method)
    }

    /// The request target as it was sent.
    pub fn target(&self) -> Option<&[u8]> {
        self.of(self.target)
    }

    /// The version of the request.
    pub fn protocol(&self) -> Option<&'static str> {
        self.version.map(|version| match version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        })
    }

    /// The first line of a head that could not be read.
    pub fn garbage(&self) -> Option<&[u8]> {
        self.of(self.garbage)
    }

    /// The value of `Host`.
    pub fn host(&self) -> Option<&[u8]> {
        self.of(self.host)
    }

    /// The user a password was asked of.
    pub fn user(&self) -> Option<&[u8]> {
        self.of(self.user)
    }

    /// The SERIALNUMBER in the subject of the target's certificate.
    pub fn serial(&self) -> Option<&[u8]> {
        self.of(self.serial)
    }

    /// The value of a wanted header.
    pub fn header(&self, slot: u8) -> Option<&[u8]> {
        self.headers.get(usize::from(slot)).and_then(|span| self.of(*span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{header_space, parse_request, parse_response};

    fn wanted() -> Wanted {
        let mut wanted = Wanted::default();
        for (whose, name) in [
            (Whose::Request, "X-A"),
            (Whose::Request, "User-Agent"),
            (Whose::Answer, "Set-Cookie"),
            (Whose::Answer, "Server"),
        ] {
            wanted.slot(whose, name).expect("a slot");
        }
        wanted
    }

    fn record(head: &str) -> Record {
        let mut record = Record::default();
        let mut space = header_space();
        let request = parse_request(head.as_bytes(), &mut space).expect("a request");
        record.take_request(&request, head.len(), &wanted(), Now(7));
        record
    }

    fn text(bytes: Option<&[u8]>) -> String {
        bytes.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn what_is_wanted_of_a_request_is_kept() {
        let record = record(
            "GET /a?b HTTP/1.1\r\nHost: h:1\r\nx-a: 1\r\nUser-Agent: u\r\nX-A: 2\r\nx-a: 3\r\nServer: s\r\n\r\n",
        );
        assert_eq!((text(record.method()), text(record.target())), ("GET".into(), "/a?b".into()));
        assert_eq!((record.protocol(), text(record.host())), (Some("HTTP/1.1"), "h:1".into()));
        assert_eq!([0, 1, 2, 3].map(|slot| text(record.header(slot))), ["1, 2, 3", "u", "-", "-"]);
    }

    #[test]
    fn what_is_wanted_of_an_answer_is_kept() {
        let mut record = Record::default();
        let mut space = header_space();
        let head =
            b"HTTP/1.1 201 C\r\nServer: a\r\nSet-Cookie: b\r\nX-A: c\r\nServer: d\r\nset-cookie: e\r\n\r\n";
        let response = parse_response(head, &mut space).expect("an answer");
        record.take_answer(&response, &wanted(), Now(9));
        assert_eq!((record.status, record.answered), (201, Some(Now(9))));
        assert_eq!([0, 1, 2, 3].map(|slot| text(record.header(slot))), ["-", "-", "b, e", "a"]);
    }

    #[test]
    fn texts_are_bounded_and_say_that_they_were_cut() {
        let long = "x".repeat(5000);
        let record = record(&format!("GET /{long} HTTP/1.1\r\nHost: h\r\nX-A: {long}\r\n\r\n"));
        let target = text(record.target());
        assert_eq!((target.len(), target.ends_with("x...")), (TARGET_BYTES_MAX, true));
        assert_eq!(text(record.header(0)).len(), VALUE_BYTES_MAX);
        let lines = format!("X-A: {long}\r\n").repeat(20) + "User-Agent: u\r\n";
        let record = self::record(&format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"));
        assert!(record.text.len() <= TEXT_BYTES_MAX);
        assert_eq!(text(record.header(1)), "-");
    }

    #[test]
    fn a_head_that_cannot_be_read_keeps_its_first_line() {
        for (bytes, line, method, target) in [
            (&b"\r\nGET /a b c\r\nx: y"[..], "GET /a b c", "GET", "/a"),
            (b"GET", "GET", "-", "-"),
            (b"G@T /a HTTP/1.1\n", "G@T /a HTTP/1.1", "-", "-"),
            (b"", "-", "-", "-"),
        ] {
            let mut record = Record::default();
            record.take_garbage(bytes);
            let kept = [record.garbage(), record.method(), record.target()].map(text);
            assert_eq!(kept, [line, method, target]);
            assert_eq!(record.received, bytes.len() as u64);
        }
    }

    #[test]
    fn waits_are_timed_and_added() {
        let mut record = Record::default();
        record.renew(Door::Forward, Now(100));
        for (phase, now) in [
            (Phase::Dns, 110),
            (Phase::Dns, 115),
            (Phase::Queue, 130),
            (Phase::Connect, 131),
            (Phase::Queue, 140),
            (Phase::Other, 150),
        ] {
            record.enter(phase, Now(now));
        }
        let spans = [Phase::Dns, Phase::Queue, Phase::Connect, Phase::Tls].map(|p| record.span(p, Now(500)));
        assert_eq!(spans, [20, 11, 9, 0]);
        record.enter(Phase::Tls, Now(600));
        assert_eq!(record.span(Phase::Tls, Now(650)), 50);
    }

    #[test]
    fn a_used_record_tells_nothing_of_before() {
        let mut record = record("GET /a HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n");
        let capacity = record.capacity();
        record.renew(Door::Forward, Now(5));
        assert_eq!((record.target(), record.header(0), record.began), (None, None, Now(5)));
        assert_eq!(record.capacity(), capacity);
    }
}
