//! Heads that pass a reverse listener, with the lines httpd's mod_proxy adds and rewrites.
//!
//! What stays is copied byte for byte, as on a forward listener ([`rewrite`]). A request gets lines that
//! say where it came from, merged with those it brought; an answer gets the lines rewritten that name the target where
//! the client must see us. Then come the operator's edits.

use super::edits::{HeaderEdits, Own};
use super::head::{Header, Request, Response};
use super::header::Kind;
use super::rewrite::{self, ConnectionField, Line, Nominated, Pen};

/// The pieces a line's value is put together from.
pub type Pieces<'v> = [&'v [u8]; 5];

/// A line we add to a request.
#[derive(Clone, Copy, Debug)]
pub struct Added<'v> {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub value: [&'v [u8]; 3],
    /// Whether it stands behind what the request's own lines of that name say, or instead of them.
    pub merge: bool,
}

/// The most lines we add.
pub const ADDED_MAX: usize = 5;

/// What is done to a request head besides what always is.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The outgoing path and query, in pieces.
    pub path: [&'a [u8]; 4],
    /// The outgoing `Host`.
    pub host: &'a [u8],
    /// The lines we add.
    pub added: &'a [Added<'a>],
    /// Whether `Via` lines go.
    pub drops_via: bool,
    /// Whether a switch of protocols stays asked for.
    pub upgrade: bool,
    /// The operator's edits.
    pub edits: &'a HeaderEdits,
}

/// Writes the outgoing head of `request`, which was parsed from `head`; the length, or `None` if `out` is too small.
pub fn request(
    request: &Request<'_, '_>,
    head: &[u8],
    passing: &Passing<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let Passing { edits, added, .. } = *passing;
    let mut pen = Pen::new(out);
    pen.put(request.method)?;
    pen.put(b" ")?;
    for piece in passing.path {
        pen.put(piece)?;
    }
    pen.put(b" HTTP/1.1\r\nHost: ")?;
    pen.put(passing.host)?;
    pen.put(b"\r\n")?;
    if passing.upgrade {
        pen.put(ConnectionField::Upgrade.line())?;
    }
    let nominated = request.fields.nominates.then(|| Nominated::of(request.headers, request.kinds()));
    let name =
        |at: usize| request.headers.get(at).map_or(&[][..], |header: &Header<'_>| header.name.as_bytes());
    let stays = |at: usize| match request.kinds()[at] {
        Kind::ContentLength | Kind::TransferEncoding => true,
        Kind::Host => false,
        Kind::Upgrade => passing.upgrade,
        kind if kind.is_hop_by_hop() => false,
        _ => !nominated.as_ref().is_some_and(|nominated| nominated.name(name(at))),
    };
    let ours = |name: &[u8]| added.iter().any(|line| name.eq_ignore_ascii_case(line.name.as_bytes()));
    let dropped = |name: &[u8]| passing.drops_via && name.eq_ignore_ascii_case(b"via");
    rewrite::copy_lines(&mut pen, head, request.headers, |at, name| {
        let kept = stays(at) && !(ours(name) || edits.touch(name) || dropped(name));
        if kept { Line::Keep } else { Line::Drop }
    })?;
    let own = Own { headers: request.headers, stays: &stays };
    for line in added {
        let name = line.name.as_bytes();
        if line.merge {
            edits.write_appended(&mut pen, &own, name, &line.value)?;
        } else {
            write_line(&mut pen, name, &line.value)?;
        }
    }
    edits.write(&mut pen, &own, ours)?;
    pen.put(b"\r\n")?;
    Some(pen.len())
}

/// What is done to the head of an answer besides what always is.
pub struct Returning<'a> {
    /// As on a forward listener.
    pub edits: rewrite::Edits,
    /// Our entry in `Via`.
    pub via: Option<[&'a [u8]; 3]>,
    /// The operator's edits.
    pub header_edits: &'a HeaderEdits,
}

/// Writes the outgoing head of `response`, which was parsed from `head`; the length, or `None` if `out` is too small.
/// `revise` gives the new value of a line, given its name and value; `None` leaves it.
pub fn response<'v>(
    response: &Response<'_, 'v>,
    head: &[u8],
    returning: &Returning<'_>,
    revise: impl Fn(&'v [u8], &'v [u8]) -> Option<Pieces<'v>>,
    out: &mut [u8],
) -> Option<usize> {
    let Returning { edits, header_edits, .. } = returning;
    let mut pen = Pen::new(out);
    rewrite::status_line(&mut pen, response)?;
    let keeps = rewrite::kept_of_response(response, edits);
    let is_via = |name: &[u8]| returning.via.is_some() && name.eq_ignore_ascii_case(b"via");
    rewrite::copy_lines(&mut pen, head, response.headers, |at, name| {
        if !keeps(at, name) {
            return Line::Drop;
        }
        match response.headers.get(at) {
            Some(_) if is_via(name) || header_edits.touch(name) => Line::Drop,
            Some(header) => match revise(header.name.as_bytes(), header.value) {
                Some(pieces) => Line::Instead(pieces),
                None => Line::Keep,
            },
            None => Line::Drop,
        }
    })?;
    let stays = |at: usize| response.headers.get(at).is_some_and(|header| keeps(at, header.name.as_bytes()));
    let own = Own { headers: response.headers, stays: &stays };
    if let Some(via) = returning.via {
        header_edits.write_appended(&mut pen, &own, b"Via", &via)?;
    }
    header_edits.write(&mut pen, &own, is_via)?;
    pen.put(edits.connection.line())?;
    pen.put(b"\r\n")?;
    Some(pen.len())
}

fn write_line(pen: &mut Pen<'_>, name: &[u8], value: &[&[u8]]) -> Option<()> {
    pen.put(name)?;
    pen.put(b": ")?;
    for piece in value {
        pen.put(piece)?;
    }
    pen.put(b"\r\n")
}

/// Writes `head`, which [`request`] wrote, with another `Host` that begins the lines; the length, or `None` if `out` is
/// too small.
pub fn readdressed(head: &[u8], host: &[u8], out: &mut [u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\nHost: ";
    let line = memchr::memmem::find(head, NAME)? + NAME.len();
    let rest = line + memchr::memchr(b'\r', head.get(line..)?)?;
    let mut pen = Pen::new(out);
    for piece in [&head[..line], host, &head[rest..]] {
        pen.put(piece)?;
    }
    Some(pen.len())
}
