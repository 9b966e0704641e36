//! What an origin answers to one request, when, what is wrong with it, and what the client may see of it.

use super::body::{bait, chunks, size};
use super::plan::{Context, Own, Passes};
use super::rng::Rng;
use super::script::Mood;

/// When the origin begins its final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// When it has the whole request.
    Complete,
    /// When it has the head; it reads the rest of the request or does not.
    Early { reads_on: bool },
}

/// What goes wrong with an answer; the number is how many bytes of it go out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Nothing is ever answered.
    Silent,
    End(usize),
    Reset(usize),
    Stall(usize),
    /// Something that is no TLS record.
    Garble(usize),
    /// The end of the body is not said in TLS.
    Cut,
    /// The head is not an answer.
    Head,
    /// A chunk is malformed.
    Chunk,
    /// The head is above every limit.
    TooLarge,
}

/// What the origin does with its connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Keep,
    /// Closes, as the answer said.
    Close,
    /// Closes unannounced after so many microseconds; with a reset or an end.
    Leave {
        delay: u64,
        reset: bool,
    },
    /// Says something nobody asked for after so many microseconds: an answer or noise.
    Rude {
        delay: u64,
        answer: bool,
    },
}

/// How the client sees the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    Framed,
    /// By the end of its connection.
    Close,
}

#[derive(Clone, Debug)]
pub struct Answer {
    /// Interim answers; the client sees them as they are.
    pub interims: Vec<Vec<u8>>,
    /// What the origin sends.
    pub wire: Vec<u8>,
    /// The head the client sees, without the `Connection` line and the empty line.
    pub head: Vec<u8>,
    /// The body the client sees; of a faulty one, what comes before the fault.
    pub body: Vec<u8>,
    pub finish: Finish,
    /// The body ends with the origin's connection.
    pub until_close: bool,
    pub timing: Timing,
    pub flaw: Flaw,
    /// Its head needs a large buffer, which may not be there.
    pub large: bool,
    pub after: After,
    /// Another request may follow on its connection.
    pub reusable: bool,
}

impl Answer {
    /// None: the request never gets that far.
    pub fn none() -> Self {
        Self {
            interims: vec![],
            wire: vec![],
            head: vec![],
            body: vec![],
            finish: Finish::Framed,
            until_close: false,
            timing: Timing::Complete,
            flaw: Flaw::None,
            large: false,
            after: After::Keep,
            reusable: false,
        }
    }

    pub fn stalls(&self) -> bool {
        matches!(self.flaw, Flaw::Silent | Flaw::Stall(_))
            || (matches!(self.timing, Timing::Early { reads_on: false }) && !hangs_up(self.flaw, self.after))
    }

    /// Whether it may end in the middle.
    pub fn is_cut(&self) -> bool {
        matches!(
            self.flaw,
            Flaw::End(_) | Flaw::Reset(_) | Flaw::Stall(_) | Flaw::Garble(_) | Flaw::Cut | Flaw::Chunk
        )
    }

    /// Whether it never comes whole.
    pub fn is_flawed(&self) -> bool {
        self.flaw != Flaw::None
    }

    /// What the proxy may say instead.
    pub fn own(&self) -> Vec<Own> {
        let mut own = self.flaw.own();
        if self.large {
            own.push((503, "overloaded"));
        }
        own
    }
}

impl Flaw {
    fn own(self) -> Vec<Own> {
        match self {
            Self::None | Self::Cut => vec![],
            Self::Garble(_) => vec![(502, "tls_failed")],
            Self::Silent => vec![(504, "read_timeout"), (504, "send_timeout")],
            Self::End(_) => vec![(502, "no_response"), (502, "response_truncated"), (502, "upstream_reset")],
            Self::Reset(_) => {
                vec![(502, "upstream_reset"), (502, "response_truncated"), (502, "no_response")]
            }
            Self::Stall(_) => vec![(504, "read_timeout")],
            Self::Head | Flaw::Chunk => vec![(502, "bad_response")],
            Self::TooLarge => vec![(502, "bad_response"), (503, "overloaded")],
        }
    }
}

/// Whether the origin closes in the end, whatever it has not read.
fn hangs_up(flaw: Flaw, after: After) -> bool {
    matches!(flaw, Flaw::End(_) | Flaw::Reset(_)) || (flaw == Flaw::None && after == After::Close)
}

/// What the answer has to fit to.
pub struct Kind {
    pub id: usize,
    pub is_head: bool,
    pub version10: bool,
    pub expects: bool,
    pub body_faulty: bool,
}

fn flaw(rng: &mut Rng, wire_len: usize, head_len: usize, until_close: bool, context: &Context) -> Flaw {
    let byte = if rng.one_in(2) { rng.below(wire_len) } else { rng.below(head_len + 2).min(wire_len - 1) };
    match rng.below(if context.stalls { 7 } else { 5 }) {
        0 | 1 => Flaw::Reset(byte),
        // The end of the connection is the end of such a body: ending it early is an answer like any other.
        2 => Flaw::End(if until_close { byte.min(head_len - 1) } else { byte }),
        3 => Flaw::Head,
        4 => Flaw::TooLarge,
        5 => Flaw::Silent,
        _ => Flaw::Stall(byte),
    }
}

fn after(rng: &mut Rng, mood: Mood) -> After {
    if !matches!(mood, Mood::Origins | Mood::Wild) || rng.one_in(2) {
        return After::Keep;
    }
    let delay = if rng.one_in(2) { 0 } else { rng.range(1, 30_000) as u64 };
    if rng.one_in(2) {
        After::Leave { delay, reset: rng.one_in(2) }
    } else {
        After::Rude { delay, answer: rng.one_in(2) }
    }
}

/// How the body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    None,
    Length,
    Chunked,
    Close,
}

const BAD_HEADS: [&[u8]; 5] = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
];

/// Makes up an answer.
pub fn answer(rng: &mut Rng, kind: &Kind, context: &Context) -> Answer {
    let faulty = matches!(context.mood, Mood::Origins | Mood::Wild);
    let status = rng.pick(&[200, 200, 200, 201, 404, 500, 204, 304]);
    let origin10 = rng.one_in(6);
    let bodyless = matches!(status, 204 | 304);
    let shape = match rng.below(5) {
        _ if bodyless => Shape::None,
        0 | 1 => Shape::Length,
        2 | 3 if !origin10 => Shape::Chunked,
        _ if kind.is_head => Shape::None,
        4 if rng.one_in(2) => Shape::None,
        _ => Shape::Close,
    };
    let bad_chunk = faulty && shape == Shape::Chunked && !kind.is_head && rng.one_in(6);
    let len = size(rng, context);
    let data = if shape == Shape::None { vec![] } else { bait(rng, kind.id, len) };
    let coded = (shape == Shape::Chunked).then(|| chunks(rng, &data, bad_chunk));
    let unchunk = kind.version10 && shape == Shape::Chunked;
    let mut lines: Vec<(String, Passes)> = vec![(format!("X-Answer: {}", kind.id), Passes::Always)];
    match shape {
        Shape::Length => lines.push((format!("Content-Length: {}", data.len()), Passes::Always)),
        Shape::Chunked => {
            let passes = if kind.version10 { Passes::Never } else { Passes::Always };
            lines.push(("Transfer-Encoding: chunked".into(), passes));
        }
        Shape::None if !bodyless && !kind.is_head => lines.push(("Content-Length: 0".into(), Passes::Always)),
        Shape::None if status == 204 && rng.one_in(4) => {
            lines.push(("Content-Length: 0".into(), Passes::Never));
        }
        Shape::None | Shape::Close => {}
    }
    let mut after = after(rng, context.mood);
    let mut stays = !origin10;
    let closes = rng.one_in(8);
    if closes {
        lines.push(("Connection: close".into(), Passes::Never));
        after = After::Close;
    } else if origin10 && rng.one_in(2) {
        lines.push(("Connection: keep-alive".into(), Passes::Never));
        stays = true;
    } else if rng.one_in(8) {
        lines.push(("Connection: X-Hop".into(), Passes::Never));
        lines.push(("X-Hop: 1".into(), Passes::Never));
    }
    for (line, passes) in [
        ("Set-Cookie: a=1", Passes::Always),
        ("Set-Cookie: b=2; \u{e9}", Passes::Always),
        ("Keep-Alive: timeout=5", Passes::Never),
        ("Location: http://elsewhere/", Passes::Always),
        ("Upgrade: h2c", Passes::Never),
    ] {
        if rng.one_in(4) {
            lines.push((line.to_owned(), passes));
        }
    }
    rng.shuffle(&mut lines);
    let large = faulty && rng.one_in(20);
    if large {
        lines.push((format!("X-Large: {}", "l".repeat(rng.range(14_000, 60_000))), Passes::Always));
    }
    let reason = rng.pick(&["OK", "Not so \u{e9} good", ""]);
    let version = if origin10 { "1.0" } else { "1.1" };
    let mut wire = format!("HTTP/{version} {status} {reason}\r\n").into_bytes();
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    for (line, passes) in &lines {
        wire.extend_from_slice(format!("{line}\r\n").as_bytes());
        if *passes == Passes::Always {
            head.extend_from_slice(format!("{line}\r\n").as_bytes());
        }
    }
    wire.extend_from_slice(b"\r\n");
    let head_len = wire.len();
    let mut body = Vec::new();
    if !kind.is_head {
        wire.extend_from_slice(coded.as_ref().map_or(&data, |coded| &coded.wire));
        body = match &coded {
            Some(coded) if unchunk => coded.data.clone(),
            Some(coded) => coded.image.clone(),
            None => data,
        };
    }
    let until_close = shape == Shape::Close && !kind.is_head;
    let mut flaw = match bad_chunk {
        true => Flaw::Chunk,
        false if faulty && rng.one_in(6) => flaw(rng, wire.len(), head_len, until_close, context),
        false => Flaw::None,
    };
    match flaw {
        Flaw::Head => wire = rng.pick(&BAD_HEADS).to_vec(),
        Flaw::TooLarge => {
            wire = format!("HTTP/1.1 200 OK\r\nX-L: {}\r\n\r\n", "l".repeat(70_000)).into_bytes();
        }
        _ => {}
    }
    if until_close || (!stays && rng.one_in(2)) {
        after = After::Close;
    }
    let mut timing = Timing::Complete;
    if rng.one_in(5) && faulty || kind.body_faulty && rng.one_in(3) {
        let reads_on = !(context.stalls || hangs_up(flaw, after)) || rng.one_in(2);
        timing = Timing::Early { reads_on };
    }
    if kind.body_faulty && timing == Timing::Complete {
        flaw = Flaw::None;
    }
    let mut interims = Vec::new();
    if kind.expects && rng.one_in(2) {
        interims.push(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
    }
    if rng.one_in(8) {
        interims.push(b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n".to_vec());
    }
    let reusable = stays && !until_close && after == After::Keep;
    let finish = if until_close || (unchunk && !kind.is_head) { Finish::Close } else { Finish::Framed };
    Answer { interims, wire, head, body, finish, until_close, timing, flaw, large, after, reusable }
}
