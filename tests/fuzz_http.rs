//! Seeded mutation of heads, chunked bodies and targets, and what must hold for every input. Deterministic:
//! `FUZZ_SEED` and `FUZZ_ROUNDS` choose other inputs and more of them. The targets are plain functions from
//! bytes; cargo-fuzz can call them too.

use std::env;

use apim_proxy::fault::What;
use apim_proxy::http::framer::{Framer, HELD_BYTES_MAX};
use apim_proxy::http::framing::{self, Framing};
use apim_proxy::http::head::{HeadScan, header_space, parse_request, parse_response};
use apim_proxy::http::header::Kind;
use apim_proxy::http::rewrite::{self, ConnectionField, Edits};
use apim_proxy::http::target::{self, Form, Scheme, Target};

const HEAD_BYTES_MAX: usize = 600;

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }

    /// `seed` with a few bytes changed, cut, doubled, or words of `dictionary` put in.
    fn mutate(&mut self, seed: &[u8], dictionary: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..self.roll(5) {
            let at = self.roll(bytes.len() + 1);
            let end = (at + 1 + self.roll(9)).min(bytes.len());
            match self.roll(5) {
                0 if at < bytes.len() => bytes[at] = self.roll(256) as u8,
                1 => drop(bytes.drain(at..end.max(at))),
                2 if at < end => {
                    let copy = bytes[at..end].to_vec();
                    let to = self.roll(bytes.len());
                    bytes.splice(to..to, copy);
                }
                3 => bytes.truncate(at),
                _ => drop(bytes.splice(at..at, self.pick(dictionary).iter().copied())),
            }
        }
        bytes
    }
}

/// Runs `target` on mutations of `seeds`; a failure names its input.
fn hammer(
    seeds: &[&[u8]],
    dictionary: &[&[u8]],
    target: impl Fn(&[u8], &mut Dice) + std::panic::RefUnwindSafe,
) {
    let number = |name, default| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let mut dice = Dice(number("FUZZ_SEED", 0x5eed_u64) | 1);
    for _ in 0..number("FUZZ_ROUNDS", 50_000) {
        let seed = dice.pick(seeds);
        let input = dice.mutate(seed, dictionary);
        let state = dice.0;
        let outcome = std::panic::catch_unwind(|| target(&input, &mut Dice(state)));
        assert!(outcome.is_ok(), "input: \"{}\"", input.escape_ascii());
    }
}

/// What `scan` says of `bytes` given in growing pieces, the last one whole.
fn scan(bytes: &[u8], step: usize, response: bool) -> Result<Option<usize>, What> {
    let mut scan = HeadScan::default();
    let mut end = 0;
    loop {
        end = (end + step).min(bytes.len());
        let verdict = if response {
            scan.response(&bytes[..end], HEAD_BYTES_MAX)
        } else {
            scan.request(&bytes[..end], HEAD_BYTES_MAX)
        };
        if verdict != Ok(None) || end == bytes.len() {
            return verdict;
        }
    }
}

/// The length of the head, if it has one and every segmentation finds the same.
fn head_length(bytes: &[u8], dice: &mut Dice, response: bool) -> Option<usize> {
    let whole = scan(bytes, bytes.len(), response);
    assert_eq!(scan(bytes, 1, response), whole, "byte by byte");
    assert_eq!(scan(bytes, 1 + dice.roll(40), response), whole, "in pieces");
    let len = whole.ok()??;
    let head = &bytes[..len];
    assert!(len <= HEAD_BYTES_MAX && head.ends_with(b"\r\n\r\n"));
    let bare_lf = (0..len).any(|at| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    assert!(!bare_lf, "a bare LF passed the scan");
    Some(len)
}

/// The lines of a head that passed, as the naivest reader sees them.
fn naive_lines(head: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines = text.split(|&b| b == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let colon = line.iter().position(|&b| b == b':').expect("a colon");
            (line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec())
        })
        .collect()
}

/// What no outgoing head may hold: fields of the last hop, and what its `Connection` named.
fn assert_hop_free(incoming: &[u8], outgoing: &[u8], protected: &[&[u8]]) {
    let nominated: Vec<Vec<u8>> = naive_lines(incoming)
        .into_iter()
        .filter(|(name, _)| name == b"connection")
        .flat_map(|(_, value)| {
            value.split(|&b| b == b',').map(|o| o.trim_ascii().to_ascii_lowercase()).collect::<Vec<_>>()
        })
        .collect();
    let incoming = naive_lines(incoming);
    for (name, value) in naive_lines(outgoing) {
        assert!(!Kind::of(&name).is_hop_by_hop(), "{}", name.escape_ascii());
        let kept_anyway = protected.contains(&&*name);
        assert!(kept_anyway || !nominated.contains(&name), "nominated: {}", name.escape_ascii());
        assert!(name == b"host" || incoming.contains(&(name, value)), "an invented line");
    }
}

fn request_target(bytes: &[u8], dice: &mut Dice) {
    let _ = parse_request(bytes, &mut header_space());
    let Some(len) = head_length(bytes, dice, false) else { return };
    let head = &bytes[..len];
    let mut space = header_space();
    let Ok(request) = parse_request(head, &mut space) else { return };
    assert!(head.iter().enumerate().all(|(at, &b)| b != b'\r' || head[at + 1] == b'\n'), "a bare CR passed");
    assert!(!head.iter().any(|&b| b < 0x20 && !b"\r\n\t".contains(&b)), "a control byte passed");
    assert_eq!(request.headers.len(), naive_lines(head).len());
    let Ok(framing) = framing::request(&request) else { return };
    let counts = |name: &[u8]| naive_lines(head).iter().filter(|line| line.0 == name).count();
    let (lengths, codings) = (counts(b"content-length"), counts(b"transfer-encoding"));
    assert!(lengths + codings <= 1, "ambiguous framing passed");
    assert_eq!(framing == Framing::Chunked, codings == 1);
    let Ok(form) = target::form(request.method, request.target) else { return };

    let target = Target::parse(b"http://origin:81/base/", Scheme::Http).expect("a good target");
    let mut out = [0; 1024];
    let len = rewrite::request(&request, head, &form, &target, false, |name| name == b"age", &mut out)
        .expect("room");
    assert_eq!(
        scan(&out[..len], 1, false),
        if len <= HEAD_BYTES_MAX { Ok(Some(len)) } else { Err(What::HeadTooLarge) }
    );
    let mut space = header_space();
    let again = parse_request(&out[..len], &mut space).expect("an outgoing head parses");
    assert_eq!(framing::request(&again), Ok(framing));
    assert_eq!((again.method, again.fields.target_host), (request.method, None));
    assert_hop_free(head, &out[..len], &[b"content-length", b"transfer-encoding", b"host"]);
}

fn response_target(bytes: &[u8], dice: &mut Dice) {
    let _ = parse_response(bytes, &mut header_space());
    let Some(len) = head_length(bytes, dice, true) else { return };
    let head = &bytes[..len];
    let mut space = header_space();
    let Ok(response) = parse_response(head, &mut space) else { return };
    assert_eq!(response.headers.len(), naive_lines(head).len());
    let Ok(framing) = framing::response(&response, false) else { return };
    let edits = Edits { connection: ConnectionField::None, unchunk: false };
    let mut out = [0; 1024];
    let len = rewrite::response(&response, head, &edits, &mut out).expect("room");
    let mut space = header_space();
    let again = parse_response(&out[..len], &mut space).expect("an outgoing head parses");
    assert_eq!(framing::response(&again, false), Ok(framing));
    assert_eq!((again.status, again.reason), (response.status, response.reason));
    assert_hop_free(head, &out[..len], &[b"content-length", b"transfer-encoding", b"host"]);
}

/// Kept bytes, bytes left over, whether the body ended.
type Fed = Result<(Vec<u8>, Vec<u8>, bool), What>;

fn feed(body: &[u8], unchunk: bool, mut piece: impl FnMut() -> usize) -> Fed {
    let mut framer = Framer::new(Framing::Chunked, unchunk);
    let (mut buffer, mut kept, mut at) = (Vec::new(), Vec::new(), 0);
    while at < body.len() {
        let end = (at + piece()).min(body.len());
        buffer.extend_from_slice(&body[at..end]);
        at = end;
        let judged = framer.judge(&mut buffer)?;
        assert!(judged.kept <= judged.taken && judged.taken <= buffer.len());
        assert_eq!(judged.done, framer.is_done());
        kept.extend_from_slice(&buffer[..judged.kept]);
        buffer.drain(..judged.taken);
        assert!(judged.done || buffer.len() < HELD_BYTES_MAX);
    }
    Ok((kept, buffer, framer.is_done()))
}

/// A chunk decoder as one would write it in five minutes: size up to the first semicolon or blank, data,
/// trailers skipped.
fn naive_decode(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let text = naive_line(&mut body)?;
        let digits = text.split(|b| b" \t;".contains(b)).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            while !naive_line(&mut body)?.is_empty() {}
            return body.is_empty().then_some(data);
        }
        data.extend_from_slice(body.get(..size)?);
        body = body.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// Cuts the first line off.
fn naive_line<'b>(body: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = body.windows(2).position(|two| two == b"\r\n")?;
    let line = &body[..end];
    *body = &body[end + 2..];
    Some(line)
}

fn chunked_target(body: &[u8], dice: &mut Dice) {
    let whole = feed(body, false, || body.len());
    assert_eq!(feed(body, false, || 1), whole, "byte by byte");
    assert_eq!(feed(body, false, || 1 + dice.roll(30)), whole, "in pieces");
    let data = feed(body, true, || 1 + dice.roll(30));
    assert_eq!(data.as_ref().err(), whole.as_ref().err());
    let (Ok((kept, rest, true)), Ok((data, _, _))) = (whole, data) else { return };
    assert_eq!(naive_decode(&kept), Some(data.clone()), "what is passed on reads the same");
    assert_eq!(naive_decode(&body[..body.len() - rest.len()]), Some(data), "and as it came");
    assert_eq!(
        feed(&kept, false, || kept.len()),
        Ok((kept.clone(), vec![], true)),
        "what was cut once is canonical"
    );
}

fn target_target(value: &[u8], _: &mut Dice) {
    for method in [&b"GET"[..], b"OPTIONS", b"CONNECT"] {
        match target::form(method, value) {
            // Scheme and authority are a target by themselves.
            Ok(Form::Absolute { path, .. }) => {
                assert!(Target::parse(&value[..value.len() - path.len()], Scheme::Http).is_ok());
            }
            Ok(Form::Authority(authority)) => assert!(Target::of_tunnel(authority).is_ok()),
            _ => {}
        }
    }
    let Ok(target) = Target::parse(value, Scheme::Http) else { return };
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b);
    assert!(target.authority.bytes().all(safe) && !target.host.is_empty() && target.port != 0);
    assert!(target::host_port(target.authority.as_bytes()).is_some());
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.authority);
    assert!(parse_request(head.as_bytes(), &mut header_space()).is_ok());
    let url = format!("{}://{}", target.scheme.name(), target.authority);
    let again = Target::parse(url.as_bytes(), Scheme::Https).expect("its own authority");
    assert_eq!(again.origin(), target.origin());
    assert!(
        target.base.iter().all(u8::is_ascii_graphic) && (target.base.is_empty() || target.base[0] == b'/')
    );
}

const WORDS: [&[u8]; 30] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b",",
    b"\0",
    b"\x0b",
    b"\x80",
    b"Host: h\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close, x-own\r\n",
    b"Connection: content-length\r\n",
    b"X-Own: 1\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"TE: trailers\r\n",
    b"x-target-host: http://h\r\n",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b" HTTP/2.0",
    b"http://h:1/p",
    b"*",
    b"A: b\r\n",
    b" folded\r\n",
    b"Age: 1\r\n",
];

#[test]
fn request_heads() {
    let seeds: [&[u8]; 5] = [
        b"GET /p?q HTTP/1.1\r\nHost: h\r\nA: 1\r\nB:  2 \r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h:80\r\nContent-Length: 5\r\nConnection: x-own\r\nX-Own: 1\r\n\r\nhello",
        b"\r\nPUT http://h/p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: [::1]\r\nTE: x\r\n\r\n0\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\nKeep-Alive: 1\r\nx-target-host: http://h\r\nEmpty:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n",
    ];
    hammer(&seeds, &WORDS, request_target);
}

#[test]
fn response_heads() {
    let seeds: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=5\r\n\
            Connection: keep-alive, x-own\r\nX-Own: 1\r\n\r\nhello",
        b"HTTP/1.0 404 Not\xe9 Found\r\nA:\r\n\r\n",
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
    ];
    hammer(&seeds, &WORDS, response_target);
}

#[test]
fn chunked_bodies() {
    let seeds: [&[u8]; 4] = [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1;a\r\na\r\n1 ;b=\"c\\\"\"\r\nb\r\n02;x=y;z\r\n\r\n\r\n0;q\r\nA: b\r\nContent-Length: 5\r\n\r\nGET /",
        b"a\r\n0\r\n\r\n0\r\n\r\n\r\n00\r\nX: y\r\nHost: x\r\nZ:\r\n\r\n",
        b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n000\r\n\r\n",
    ];
    let words: [&[u8]; 16] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"0",
        b"1",
        b"f",
        b"ffffffffffffffff",
        b";",
        b";a=b",
        b"=",
        b"\"",
        b"\\",
        b" ",
        b"0\r\n\r\n",
        b"1\r\nx\r\n",
        b"A: b\r\n",
    ];
    hammer(&seeds, &words, chunked_target);
}

#[test]
fn targets() {
    let seeds: [&[u8]; 6] = [
        b"http://h",
        b"https://user:pw@Host.example:8443/base/",
        b"[::1]:80",
        b"h/base",
        b"127.0.0.1:1",
        b"http://[2001:db8::1]/x",
    ];
    let words: [&[u8]; 14] = [
        b"http://",
        b"https://",
        b"//",
        b"/",
        b":",
        b"@",
        b"[",
        b"]",
        b"::",
        b".",
        b"0x7f",
        b"127.1",
        b"?",
        b"%41",
    ];
    hammer(&seeds, &words, target_target);
}
