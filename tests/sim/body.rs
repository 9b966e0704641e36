//! Bodies: bait, chunks and their faults.

use super::plan::Context;
use super::rng::Rng;
use super::script::Mood;

/// Text that looks like a request and like an answer, cut to `size`.
pub fn bait(rng: &mut Rng, id: usize, size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(size + 200);
    while body.len() < size {
        let piece = match rng.below(5) {
            0 => format!(
                "GET /r{}/bait HTTP/1.1\r\nHost: evil\r\nx-target-host: http://a.test\r\n\r\n",
                id + 1
            ),
            1 => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTOLE".to_owned(),
            2 => "0\r\n\r\n".to_owned(),
            3 => "\r\n5\r\nchunk\r\n".to_owned(),
            _ => format!("<{id}:{}>", rng.next()),
        };
        body.extend_from_slice(piece.as_bytes());
    }
    body.truncate(size);
    body
}

pub fn size(rng: &mut Rng, context: &Context) -> usize {
    let max = context.size_max;
    let max = match rng.below(10) {
        0 => max,
        1..6 if context.long => return max,
        1..4 => max.min(5000),
        _ => max.min(300),
    };
    rng.range(1, max)
}

/// A chunked body: what is sent, what may arrive (what comes before its fault, if it has one), and the data alone.
pub struct Chunks {
    pub wire: Vec<u8>,
    pub image: Vec<u8>,
    pub data: Vec<u8>,
}

/// Cuts `data` into chunks, with extensions and trailers now and then; `fault` breaks one of its lines.
pub fn chunks(rng: &mut Rng, data: &[u8], fault: bool) -> Chunks {
    let mut out = Chunks { wire: Vec::new(), image: Vec::new(), data: data.to_vec() };
    let mut parts = Vec::new();
    let mut rest = data;
    let largest = rng.pick(&[3, 50, 2000, 100_000]).max(data.len() / 40 + 1);
    while !rest.is_empty() {
        let (part, next) = rest.split_at(rng.range(1, largest).min(rest.len()));
        parts.push(part);
        rest = next;
    }
    let broken = if fault { rng.below(parts.len() + 1) } else { usize::MAX };
    for (at, part) in parts.iter().enumerate() {
        let digits = match rng.below(4) {
            0 => format!("{:X}", part.len()),
            1 => format!("{:04x}", part.len()),
            _ => format!("{:x}", part.len()),
        };
        let extension = rng.pick(&["", "", "", ";a", ";a=b", " ; q=\"x;\\\"y\""]);
        if at == broken {
            match rng.below(4) {
                0 => out.wire.extend_from_slice(b"zz\r\n"),
                1 => out.wire.extend_from_slice(format!("{digits}\n").as_bytes()),
                2 => out.wire.extend_from_slice(b"FFFFFFFFFFFFFFFFF\r\n"),
                _ => {
                    out.wire.extend_from_slice(format!("{digits}\r\n").as_bytes());
                    out.wire.extend_from_slice(part);
                    out.image.clone_from(&out.wire);
                    out.wire.extend_from_slice(b"xx");
                    return out;
                }
            }
            out.wire.extend_from_slice(b"0\r\n\r\n");
            return out;
        }
        out.wire.extend_from_slice(format!("{digits}{extension}\r\n").as_bytes());
        out.image.extend_from_slice(format!("{digits}\r\n").as_bytes());
        for side in [&mut out.wire, &mut out.image] {
            side.extend_from_slice(part);
            side.extend_from_slice(b"\r\n");
        }
        if fault {
            // The image of a faulty body is what its wire says up to the fault; extensions would part them.
            out.wire.clone_from(&out.image);
        }
    }
    if fault {
        out.wire.extend_from_slice(rng.pick(&[
            &b"0\r\nbad trailer\r\n\r\n"[..],
            b"0x\r\n\r\n",
            b"0\r\nA: b\n\r\n",
        ]));
        return out;
    }
    let zeros = rng.pick(&["0", "0", "000"]);
    let extension = rng.pick(&["", "", ";last=1"]);
    out.wire.extend_from_slice(format!("{zeros}{extension}\r\n").as_bytes());
    out.image.extend_from_slice(format!("{zeros}\r\n").as_bytes());
    for (line, passes) in
        [("X-Sum: 1\r\n", true), ("Content-Length: 9\r\n", false), ("Host: evil\r\n", false)]
    {
        if rng.one_in(5) {
            out.wire.extend_from_slice(line.as_bytes());
            if passes {
                out.image.extend_from_slice(line.as_bytes());
            }
        }
    }
    out.wire.extend_from_slice(b"\r\n");
    out.image.extend_from_slice(b"\r\n");
    out
}

/// The body of a request, and the line that frames it.
pub struct Body {
    pub wire: Vec<u8>,
    pub image: Vec<u8>,
    pub line: Option<String>,
    pub faulty: bool,
}

/// Makes up a request's body.
pub fn body(
    rng: &mut Rng,
    id: usize,
    method: &str,
    version10: bool,
    refused: bool,
    context: &Context,
) -> Body {
    let bodyless = matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE") && !rng.one_in(6);
    if bodyless || rng.one_in(8) {
        let zero = !bodyless;
        return Body {
            wire: vec![],
            image: vec![],
            line: zero.then(|| "Content-Length: 0".into()),
            faulty: false,
        };
    }
    // What is read only to be dropped must not fill a buffer.
    let long = refused && rng.one_in(2);
    let len = if long { context.size_max } else { size(rng, context) };
    let data = bait(rng, id, len);
    if version10 || rng.one_in(2) {
        let line = Some(format!("Content-Length: {}", data.len()));
        return Body { wire: data.clone(), image: data, line, faulty: false };
    }
    let fault = matches!(context.mood, Mood::Clients | Mood::Wild) && rng.one_in(8);
    let chunks = chunks(rng, &data, fault);
    Body {
        wire: chunks.wire,
        image: chunks.image,
        line: Some("Transfer-Encoding: chunked".into()),
        faulty: fault,
    }
}
