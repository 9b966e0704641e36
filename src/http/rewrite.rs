//! The outgoing head from the incoming head: a few lines less, nothing invented (RFC 9110 §7.6).
//!
//! Lines that stay are copied byte for byte, neighbours in one go: their places in the head are known from
//! the parsed slices, which borrow it. The head must be the one that was parsed. Nothing is added but `Host`
//! and, in responses, one `Connection` line.

use std::fmt;

use super::head::{HEADERS_MAX, Header, Request, Response};
use super::header::{self, Kind};
use super::target::{Form, Target};

/// Bytes written one after the other into room that may not suffice.
#[derive(Debug)]
pub(super) struct Pen<'o> {
    room: &'o mut [u8],
    len: usize,
}

impl<'o> Pen<'o> {
    pub(super) fn new(room: &'o mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    /// How many bytes were written.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends `bytes`; `None` when they do not fit.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.room.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

impl fmt::Write for Pen<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes()).ok_or(fmt::Error)
    }
}

/// The `Connection` line we add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionField {
    /// None.
    None,
    /// `Connection: close`.
    Close,
    /// `Connection: keep-alive`, which HTTP/1.0 clients need to hear.
    KeepAlive,
    /// `Connection: Upgrade`; the `Upgrade` line stays then.
    Upgrade,
}

impl ConnectionField {
    /// The whole line, or nothing.
    pub(super) const fn line(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Close => b"Connection: close\r\n",
            Self::KeepAlive => b"Connection: keep-alive\r\n",
            Self::Upgrade => b"Connection: Upgrade\r\n",
        }
    }
}

/// What is changed in a response head, besides what always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edits {
    /// The `Connection` line to add.
    pub connection: ConnectionField,
    /// The body leaves unchunked: no `Transfer-Encoding`, no `Trailer`.
    pub unchunk: bool,
}

/// Writes the outgoing head of `request`, which was parsed from `head`; the length, or `None` if `out` is too
/// small.
///
/// `Host` comes first and is the target's. Dropped: the client's `Host`, `x-target-host`, hop-by-hop fields,
/// those `Connection` nominates and those `drop` names; framing fields never are. An `upgrade` stays asked for.
pub fn request(
    request: &Request<'_, '_>,
    head: &[u8],
    form: &Form<'_>,
    target: &Target,
    upgrade: bool,
    drop: impl Fn(&[u8]) -> bool,
    out: &mut [u8],
) -> Option<usize> {
    let mut pen = Pen::new(out);
    pen.put(request.method)?;
    pen.put(b" ")?;
    for piece in target.join(request.method, form) {
        pen.put(piece)?;
    }
    pen.put(b" HTTP/1.1\r\nHost: ")?;
    pen.put(target.authority.as_bytes())?;
    pen.put(b"\r\n")?;
    if upgrade {
        pen.put(ConnectionField::Upgrade.line())?;
    }
    let nominated = request.fields.nominates.then(|| Nominated::of(request.headers, request.kinds()));
    let nominated = |name: &[u8]| nominated.as_ref().is_some_and(|nominated| nominated.name(name));
    copy_lines(&mut pen, head, request.headers, |at, name| {
        let kind = request.kinds()[at];
        Line::kept(match kind {
            Kind::ContentLength | Kind::TransferEncoding => true,
            Kind::Host | Kind::TargetHost => false,
            Kind::Upgrade => upgrade,
            _ if kind.is_hop_by_hop() || drop(name) => false,
            _ => !nominated(name),
        })
    })?;
    pen.put(b"\r\n")?;
    Some(pen.len())
}

/// Writes the outgoing head of `response`, which was parsed from `head`; the length, or `None` if `out` is
/// too small.
///
/// Dropped: hop-by-hop fields and those `Connection` nominates; framing fields of 1xx and 204, which have no
/// body to frame (RFC 9112 §6.1, RFC 9110 §8.6), and what `edits` say.
pub fn response(response: &Response<'_, '_>, head: &[u8], edits: &Edits, out: &mut [u8]) -> Option<usize> {
    let mut pen = Pen::new(out);
    status_line(&mut pen, response)?;
    let keeps = kept_of_response(response, edits);
    copy_lines(&mut pen, head, response.headers, |at, name| Line::kept(keeps(at, name)))?;
    pen.put(edits.connection.line())?;
    pen.put(b"\r\n")?;
    Some(pen.len())
}

/// The outgoing status line.
pub(super) fn status_line(pen: &mut Pen<'_>, response: &Response<'_, '_>) -> Option<()> {
    let digit = |place: u16| b'0' + (response.status / place % 10) as u8;
    pen.put(b"HTTP/1.1 ")?;
    pen.put(&[digit(100), digit(10), digit(1), b' '])?;
    pen.put(response.reason)?;
    pen.put(b"\r\n")
}

/// Which lines of `response` (index, name) do not end here.
pub(super) fn kept_of_response<'r>(
    response: &'r Response<'_, '_>,
    edits: &'r Edits,
) -> impl Fn(usize, &[u8]) -> bool + use<'r> {
    let unframed = matches!(response.status, 100..=199 | 204);
    let nominated = response.fields.nominates.then(|| Nominated::of(response.headers, response.kinds()));
    move |at, name| {
        let nominated = |name: &[u8]| nominated.as_ref().is_some_and(|nominated| nominated.name(name));
        let kind = response.kinds()[at];
        match kind {
            Kind::ContentLength => !unframed,
            Kind::TransferEncoding => !unframed && !edits.unchunk,
            Kind::Trailer if edits.unchunk => false,
            Kind::Upgrade => edits.connection == ConnectionField::Upgrade,
            _ if kind.is_hop_by_hop() => false,
            _ => kind.is_protected() || !nominated(name),
        }
    }
}

/// What becomes of a line.
pub(super) enum Line<'v> {
    /// It is copied.
    Keep,
    /// It goes.
    Drop,
    /// It has this value instead.
    Instead([&'v [u8]; 5]),
}

impl Line<'_> {
    fn kept(keep: bool) -> Self {
        if keep { Self::Keep } else { Self::Drop }
    }
}

/// Copies the lines that `judge` (index, name) wants, runs of neighbours at once.
pub(super) fn copy_lines<'v>(
    pen: &mut Pen<'_>,
    head: &[u8],
    headers: &[Header<'_>],
    judge: impl Fn(usize, &[u8]) -> Line<'v>,
) -> Option<()> {
    // A line begins with its name, since blanks before names are refused; the last one ends before the blank
    // line.
    let start = |header: &Header<'_>| header.name.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    let end = head.len().checked_sub(b"\r\n".len())?;
    let mut run: Option<usize> = None;
    for (at, header) in headers.iter().enumerate() {
        let line = judge(at, header.name.as_bytes());
        if matches!(line, Line::Keep) {
            run.get_or_insert_with(|| start(header));
            continue;
        }
        if let Some(from) = run.take() {
            pen.put(head.get(from..start(header))?)?;
        }
        if let Line::Instead(value) = line {
            pen.put(header.name.as_bytes())?;
            pen.put(b": ")?;
            for piece in value {
                pen.put(piece)?;
            }
            pen.put(b"\r\n")?;
        }
    }
    run.map_or(Some(()), |from| pen.put(head.get(from..end)?))
}

/// What the `Connection` lines name, split once: the lines can be long, and each other line is compared with them.
pub(super) struct Nominated<'b> {
    options: [&'b [u8]; HEADERS_MAX],
    len: usize,
}

impl<'b> Nominated<'b> {
    /// [`Fields`](super::head::Fields) counts the options, and refuses more than fit here.
    pub(super) fn of(headers: &[Header<'b>], kinds: &[Kind]) -> Self {
        let mut nominated = Self { options: [&[]; HEADERS_MAX], len: 0 };
        let connections = headers.iter().zip(kinds).filter(|(_, kind)| **kind == Kind::Connection);
        let options = connections.flat_map(|(header, _)| header::list(header.value));
        for (slot, option) in nominated.options.iter_mut().zip(options) {
            *slot = option;
            nominated.len += 1;
        }
        nominated
    }

    pub(super) fn name(&self, name: &[u8]) -> bool {
        self.options[..self.len].iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{header_space, parse_request, parse_response};
    use crate::http::target::{Scheme, form};

    /// The outgoing form of a request for `http://Origin:81/base`, with `x-secret` filtered.
    fn outgoing(head: &[u8]) -> Vec<u8> {
        let mut space = header_space();
        let parsed = parse_request(head, &mut space).unwrap();
        let form = form(parsed.method, parsed.target).unwrap();
        let target = Target::parse(b"http://Origin:81/base", Scheme::Http).unwrap();
        let drop = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"x-secret") || name.eq_ignore_ascii_case(b"content-length")
        };
        let mut out = vec![0; 4096];
        let upgrade = parsed.fields.upgrade;
        let len = request(&parsed, head, &form, &target, upgrade, drop, &mut out).unwrap();
        assert_eq!(request(&parsed, head, &form, &target, upgrade, drop, &mut vec![0; len]), Some(len));
        for short in 0..len {
            assert_eq!(request(&parsed, head, &form, &target, upgrade, drop, &mut vec![0; short]), None);
        }
        out.truncate(len);
        out
    }

    fn incoming(head: &[u8], edits: Edits) -> Vec<u8> {
        let mut space = header_space();
        let parsed = parse_response(head, &mut space).unwrap();
        let mut out = vec![0; 4096];
        let len = response(&parsed, head, &edits, &mut out).unwrap();
        out.truncate(len);
        out
    }

    const PLAIN: Edits = Edits { connection: ConnectionField::None, unchunk: false };

    #[test]
    fn lines_that_stay_keep_their_bytes() {
        let head = b"\r\nPUT /p?q HTTP/1.0\r\nA:  two  blanks \t\r\na: again\r\nHost: h\r\nEmpty:\r\n\
            Expect: 100-continue\r\n\
            X-Latin: caf\xe9\r\nContent-Length: 3\r\n\r\n";
        let expected = b"PUT /base/p?q HTTP/1.1\r\nHost: Origin:81\r\nA:  two  blanks \t\r\na: again\r\n\
            Empty:\r\nExpect: 100-continue\r\n\
            X-Latin: caf\xe9\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(outgoing(head), expected);
    }

    #[test]
    fn lines_for_this_hop_go() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Mine, TE\r\nA: 1\r\n\
            Keep-Alive: 1\r\nProxy-Connection: x\r\n\
            TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Authorization: x\r\n\
            Proxy-Authenticate: x\r\nB: 2\r\n\
            x-mine: x\r\nX-Secret: x\r\nx-target-host: x\r\nX-Target-Host: y\r\nC: 3\r\n\r\n";
        let expected = b"GET /base/ HTTP/1.1\r\nHost: Origin:81\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n";
        assert_eq!(outgoing(head), expected);
    }

    #[test]
    fn an_upgrade_that_may_be_stays_with_its_own_option_alone() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Mine, upgrade\r\nX-Mine: 1\r\nUpgrade: WebSocket\r\n\r\n";
        let expected =
            b"GET /base/ HTTP/1.1\r\nHost: Origin:81\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
        assert_eq!(outgoing(head), expected);
        let plain = b"GET /base/ HTTP/1.1\r\nHost: Origin:81\r\n\r\n";
        for lines in [
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
            "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
            assert_eq!(outgoing(head.as_bytes()), plain, "{lines}");
        }
        let switches = b"HTTP/1.1 101 S\r\nUpgrade: x/1\r\nConnection: upgrade, X-Mine\r\nX-Mine: 1\r\n\r\n";
        let edits = Edits { connection: ConnectionField::Upgrade, unchunk: false };
        assert_eq!(
            incoming(switches, edits),
            b"HTTP/1.1 101 S\r\nUpgrade: x/1\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn framing_is_never_nominated_away() {
        let nominate =
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length, transfer-encoding, host\r\n";
        for framing in ["Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
            let head = [nominate, framing.as_bytes(), b"\r\n"].concat();
            let expected = format!("POST /base/ HTTP/1.1\r\nHost: Origin:81\r\n{framing}\r\n");
            assert_eq!(outgoing(&head), expected.as_bytes());
        }
    }

    #[test]
    fn without_lines_only_host_is_left() {
        assert_eq!(outgoing(b"GET / HTTP/1.0\r\n\r\n"), b"GET /base/ HTTP/1.1\r\nHost: Origin:81\r\n\r\n");
    }

    #[test]
    fn responses_keep_reason_order_and_cookies() {
        let head = b"HTTP/1.0 299 Caf\xe9 \r\nSet-Cookie: a\r\nConnection: x-own\r\nSet-Cookie: b\r\n\
            X-Own: 1\r\nKeep-Alive: timeout=5\r\n\
            Content-Length: 0\r\nETag: \"x\"\r\n\r\n";
        let expected = b"HTTP/1.1 299 Caf\xe9 \r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
            Content-Length: 0\r\nETag: \"x\"\r\n\r\n";
        assert_eq!(incoming(head, PLAIN), expected);
    }

    #[test]
    fn edits_apply() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\nTrailer: x\r\n\r\n";
        let unchunk = Edits { connection: ConnectionField::KeepAlive, unchunk: true };
        assert_eq!(incoming(head, unchunk), b"HTTP/1.1 200 OK\r\nA: b\r\nConnection: keep-alive\r\n\r\n");
        let close = Edits { connection: ConnectionField::Close, unchunk: false };
        assert_eq!(
            incoming(head, close),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\nTrailer: x\r\n\
                Connection: close\r\n\r\n"
        );
    }

    #[test]
    fn bodyless_statuses_lose_their_framing_and_304_does_not() {
        for (status, stays) in [(100, false), (103, false), (204, false), (304, true), (200, true)] {
            let head = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
            let line = if stays { "Content-Length: 5\r\n" } else { "" };
            assert_eq!(
                incoming(head.as_bytes(), PLAIN),
                format!("HTTP/1.1 {status} x\r\n{line}\r\n").as_bytes()
            );
        }
    }
}
