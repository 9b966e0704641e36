//! One exchange as it should be: the request's bytes at the client, the only bytes an origin may see of it, the
//! answer's bytes at the origin, the only bytes the client may see of it, and the faults dealt to both.

use super::answer::{self, Answer};
use super::body::body;
use super::rng::Rng;
use super::script::{Mood, Place};

/// An answer of the proxy's own: status and code.
pub type Own = (u16, &'static str);

/// What a plan is made under.
pub struct Context {
    pub mood: Mood,
    pub stalls: bool,
    pub size_max: usize,
    /// Most bodies are as long as they may be.
    pub long: bool,
    pub reloads: bool,
    /// How many of the places may be reached.
    pub own_places: usize,
}

/// One request and its answer.
#[derive(Clone, Debug)]
pub struct Plan {
    pub id: usize,
    pub client: usize,
    pub method: &'static str,
    /// What the client sends.
    pub wire: Vec<u8>,
    pub head_len: usize,
    /// What an origin may see, before and after a reload; of a faulty body, what comes before the fault.
    pub images: Vec<Vec<u8>>,
    /// Whether the request can be seen whole.
    pub completes: bool,
    /// Whether an origin may see anything of it.
    pub reaches: bool,
    pub is_head: bool,
    pub version10: bool,
    /// The client asks for its connection to stay open.
    pub keep_alive: bool,
    pub expects: bool,
    pub idempotent: bool,
    pub has_body: bool,
    /// What the proxy may answer itself.
    pub own: Vec<Own>,
    /// Nothing that follows this request can be told from it: it is the last of its connection.
    pub last: bool,
    /// The place it goes to.
    pub place: Option<usize>,
    pub answer: Answer,
}

impl Plan {
    pub fn stalls(&self) -> bool {
        self.answer.stalls()
    }

    /// Whether the answer may be cut off.
    pub fn may_be_cut(&self) -> bool {
        self.answer.is_cut() || !self.completes
    }
}

/// Whether a header line passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    Always,
    Never,
    /// Until the reload that filters it.
    Unfiltered,
}

/// Heads that no origin may see a byte of; what the proxy answers; whether the connection can go on.
fn bad_head(rng: &mut Rng, target: &str) -> (String, Own) {
    let host = "Host: p\r\n";
    let lines = |extra: &str| format!("POST /bad HTTP/1.1\r\n{host}x-target-host: {target}\r\n{extra}\r\n");
    match rng.below(12) {
        0 => (lines("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), (400, "bad_framing")),
        1 => (lines("Content-Length: 5\r\nContent-Length: 5\r\n"), (400, "bad_framing")),
        2 => (lines("Content-Length: +5\r\n"), (400, "bad_framing")),
        3 => (lines("Transfer-Encoding: xchunked\r\n"), (501, "unknown_coding")),
        4 => (lines("X-A : b\r\n"), (400, "bad_request")),
        5 => (lines("X-A: b\r\n folded\r\n"), (400, "bad_request")),
        6 => (lines("X-A: b\nX-B: c\r\n"), (400, "bad_request")),
        7 => (format!("GET /bad HTTP/1.1\r\nx-target-host: {target}\r\n\r\n"), (400, "bad_request")),
        8 => (format!("GET /bad HTTP/2.0\r\n{host}\r\n"), (505, "bad_version")),
        9 => (format!("GET /bad\r\n{host}\r\n"), (400, "bad_request")),
        10 => (lines(&format!("X-Long: {}\r\n", "x".repeat(9000))), (431, "head_too_large")),
        _ => (lines("Host: again\r\n"), (400, "bad_request")),
    }
}

fn blank(id: usize, client: usize, answer: Answer) -> Plan {
    Plan {
        id,
        client,
        method: "GET",
        wire: vec![],
        head_len: 0,
        images: vec![],
        completes: false,
        reaches: false,
        is_head: false,
        version10: false,
        keep_alive: true,
        expects: false,
        idempotent: true,
        has_body: false,
        own: vec![],
        last: false,
        place: None,
        answer,
    }
}

/// Makes up a request and its answer.
pub fn plan(rng: &mut Rng, id: usize, client: usize, places: &[Place], context: &Context) -> Plan {
    let faulty = matches!(context.mood, Mood::Clients | Mood::Wild);
    let at = rng.below(context.own_places);
    let place = &places[at];
    let target = |place: &Place| {
        let scheme = if place.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", place.host, place.port, place.base)
    };
    if faulty && rng.one_in(12) {
        let (head, own) = bad_head(rng, &target(place));
        let wire = head.into_bytes();
        let own = vec![own];
        return Plan { head_len: wire.len(), wire, own, last: true, ..blank(id, client, Answer::none()) };
    }
    if faulty && rng.one_in(8) {
        let target = Target::refused(rng, places, context);
        return request(rng, id, client, &target, context);
    }
    let own = place.own.clone();
    let target = Target { line: Some(target(place)), place: Some(place), own, method: None };
    Plan { place: Some(at), ..request(rng, id, client, &target, context) }
}

/// Where a request asks to go.
struct Target<'a> {
    line: Option<String>,
    place: Option<&'a Place>,
    own: Vec<Own>,
    method: Option<&'static str>,
}

impl<'a> Target<'a> {
    /// One that policy or grammar refuses, while the connection goes on.
    fn refused(rng: &mut Rng, places: &'a [Place], context: &Context) -> Self {
        let (line, own, method) = match rng.below(7) {
            0 => (None, (403, "target_missing"), None),
            1 => (Some("ftp://x".to_owned()), (400, "bad_target"), None),
            2 => (Some("https://z.test".to_owned()), (502, "tls_failed"), None),
            3 => (Some("http://a.test".to_owned()), (405, "method_not_allowed"), Some("TRACE")),
            n => {
                let place = &places[context.own_places + n - 4];
                (Some(format!("http://{}:{}", place.host, place.port)), place.own[0], None)
            }
        };
        Self { line, place: None, own: vec![own], method }
    }
}

fn request(rng: &mut Rng, id: usize, client: usize, target: &Target<'_>, context: &Context) -> Plan {
    let any = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PURGE"];
    let method = target.method.unwrap_or_else(|| rng.pick(&any));
    let version10 = rng.one_in(6);
    let body = body(rng, id, method, version10, target.place.is_none(), context);
    let has_body = !body.wire.is_empty();
    let expects = has_body && !version10 && rng.one_in(4);
    let path = format!("/r{id}/{}", rng.pick(&["", "x?q=1&r=%20", "a//b/../c;d"]));
    let host = target.place.map_or(String::new(), |place| {
        let default = if place.tls.is_some() { 443 } else { 80 };
        if place.port == default { place.host.clone() } else { format!("{}:{}", place.host, place.port) }
    });
    let base = target.place.map_or("", |place| place.base.trim_end_matches('/'));
    let mut lines = vec![("Host: proxy.test".to_owned(), Passes::Never)];
    if let Some(target) = &target.line {
        lines.push((format!("X-Target-Host:  {target} "), Passes::Never));
    }
    lines.extend(body.line.iter().map(|line| (line.clone(), Passes::Always)));
    if expects {
        lines.push(("Expect: 100-continue".into(), Passes::Always));
    }
    let mut keep_alive = !version10;
    match rng.below(8) {
        0 => {
            lines.push(("Connection: close".into(), Passes::Never));
            keep_alive = false;
        }
        1..4 if version10 => {
            lines.push(("Connection: Keep-Alive".into(), Passes::Never));
            keep_alive = true;
        }
        4 => {
            lines.push(("Connection: keep-alive, X-Hop".into(), Passes::Never));
            lines.push(("X-Hop: 1".into(), Passes::Never));
            keep_alive = true;
        }
        _ => {}
    }
    for (line, passes) in [
        ("X-A: 1", Passes::Always),
        ("x-a:  two\t", Passes::Always),
        ("X-Empty:", Passes::Always),
        ("Cookie: a=b; \u{e9}=\u{fc}", Passes::Always),
        ("Keep-Alive: 300", Passes::Never),
        ("TE: trailers", Passes::Never),
        ("Upgrade: h2c", Passes::Never),
        ("Proxy-Authorization: x", Passes::Never),
        ("X-Secret: s", Passes::Unfiltered),
        ("Accept: application/json", Passes::Always),
    ] {
        if rng.one_in(4) {
            lines.push((line.to_owned(), passes));
        }
    }
    rng.shuffle(&mut lines);
    let version = if version10 { "1.0" } else { "1.1" };
    let mut wire = format!("{method} {path} HTTP/{version}\r\n").into_bytes();
    for (line, _) in &lines {
        wire.extend_from_slice(format!("{line}\r\n").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    let head_len = wire.len();
    wire.extend_from_slice(&body.wire);
    let image = |filtered: bool| {
        let mut image = format!("{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        for (line, passes) in &lines {
            if *passes == Passes::Always || (*passes == Passes::Unfiltered && !filtered) {
                image.extend_from_slice(format!("{line}\r\n").as_bytes());
            }
        }
        image.extend_from_slice(b"\r\n");
        image.extend_from_slice(&body.image);
        image
    };
    let reaches = target.place.is_some_and(|place| place.reachable);
    let images = if context.reloads { vec![image(false), image(true)] } else { vec![image(false)] };
    let is_head = method == "HEAD";
    let kind = answer::Kind { id, is_head, version10, expects, body_faulty: body.faulty };
    let answer = answer::answer(rng, &kind, context);
    let mut own = if reaches { Vec::new() } else { target.own.clone() };
    own.extend(answer.own());
    if let Some(place) = target.place.filter(|place| place.tls.is_some_and(|tls| tls.flaky)) {
        own.extend(&place.own);
    }
    if body.faulty {
        own.push((400, "bad_framing"));
    }
    Plan {
        id,
        client,
        method,
        head_len,
        images,
        completes: !body.faulty,
        reaches,
        is_head,
        version10,
        keep_alive,
        expects,
        idempotent: matches!(method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS"),
        has_body,
        own,
        last: body.faulty,
        place: None,
        answer,
        wire,
    }
}
