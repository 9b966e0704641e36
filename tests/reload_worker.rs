//! A worker and a client that asks for a reload, in memory: when the shell answers late, not at all, or to nobody, and what
//! the client does meanwhile.

use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::engine::{Config, Limits};
use apim_proxy::fault::What;
use apim_proxy::io::{Io, Lookup, Moved, Ready, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::permits::{Grant, Herald, Permits, WorkerId};
use apim_proxy::policy::proxy_auth::Login;
use apim_proxy::setting::Defaults;
use apim_proxy::stats::{Counter, Stats};
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

const NOTHING: Ready = Ready { readable: false, writable: false, read_closed: false, dead: false };
const DONE: &str = "HTTP/1.1 201 Created\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 17\r\n";

/// The client's end, and what the shell was asked for.
#[derive(Default)]
struct World {
    token: usize,
    said: VecDeque<u8>,
    heard: Vec<u8>,
    asked: Vec<(ReloadAsk, Key)>,
    full: bool,
}

struct Socket;

impl Io for World {
    type Socket = Socket;
    type Pipe = ();

    fn recv(&mut self, _: &mut Socket, into: &mut [u8]) -> Moved {
        let n = self.said.len().min(into.len());
        if n == 0 {
            return Moved::Blocked;
        }
        for (to, from) in into.iter_mut().zip(self.said.drain(..n)) {
            *to = from;
        }
        Moved::Bytes(n)
    }

    fn send(&mut self, _: &mut Socket, slices: &[IoSlice<'_>]) -> Moved {
        let before = self.heard.len();
        for slice in slices {
            self.heard.extend_from_slice(slice);
        }
        Moved::Bytes(self.heard.len() - before)
    }

    fn pipe(&mut self) -> Option<()> {
        None
    }

    fn splice_in(&mut self, _socket: &mut Socket, _pipe: &mut (), _max: usize) -> Moved {
        unreachable!("there are no pipes")
    }

    fn splice_out(&mut self, _pipe: &mut (), _socket: &mut Socket, _max: usize) -> Moved {
        unreachable!("there are no pipes")
    }

    fn register(&mut self, _: &mut Socket, key: Key, side: Side) -> Result<(), What> {
        self.token = key.token(side);
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr, _: Key) -> Result<Socket, What> {
        panic!("{address} is not the worker's to dial")
    }

    fn connected(&mut self, _: &mut Socket) -> Result<bool, What> {
        Ok(true)
    }

    fn finish(&mut self, _: &mut Socket) {}

    fn reset(&mut self, _: Socket) {}

    fn resolve(&mut self, host: &str, _: Key) -> Lookup {
        panic!("{host} is not the worker's to resolve")
    }

    fn verify(&mut self, _login: Arc<Login>, _key: Key) -> Result<(), What> {
        Err(What::AuthBusy)
    }

    fn reload(&mut self, ask: ReloadAsk, key: Key) -> Result<(), What> {
        if self.full {
            return Err(What::Overloaded);
        }
        self.asked.push((ask, key));
        Ok(())
    }

    fn is_own_listener(&mut self, _: SocketAddr) -> bool {
        false
    }

    fn wall(&mut self) -> Wall {
        Wall::default()
    }

    fn log(&mut self, _stream: Stream, _lines: &[u8]) {}

    fn local_address(&mut self, _socket: &Socket) -> Option<SocketAddr> {
        None
    }
}

struct Silent;

impl Herald for Silent {
    fn granted(&self, _: WorkerId, _: Grant) {}
    fn wanted(&self, _: WorkerId) {}
}

struct Stage {
    worker: Worker<World>,
    stats: Arc<Stats>,
    now: Now,
}

impl Stage {
    /// A worker with one client.
    fn new() -> Self {
        let limits = Limits { clients_max: 4, exchanges_max: 4, large_max: 4, pipes_max: 0 };
        let config = Config::from(&Defaults, limits).expect("the defaults parse");
        let (stats, permits) = (Arc::new(Stats::default()), Permits::new(8, 8, Box::new(Silent)));
        let (config, theirs) = (Arc::new(config), Arc::clone(&stats));
        let worker = Worker::new(World::default(), 0, config, theirs, permits, Now(0));
        let mut stage = Self { worker, stats, now: Now(0) };
        stage.turn(|worker| {
            let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
            assert!(worker.accept(0, Socket, peer).is_ok(), "there is room");
        });
        stage
    }

    fn turn(&mut self, happens: impl FnOnce(&mut Worker<World>)) {
        self.worker.begin_turn(self.now);
        happens(&mut self.worker);
        while self.worker.end_turn().is_some_and(|wait| wait.0 == 0) {
            self.worker.begin_turn(self.now);
        }
        self.worker.check();
    }

    fn say(&mut self, text: &str) {
        self.worker.io.said.extend(text.as_bytes());
        self.turn(|worker| worker.event(worker.io.token, Ready { readable: true, ..NOTHING }));
    }

    /// Says that a reload is wanted; who asks.
    fn ask(&mut self, rest: &str) -> Key {
        let before = self.worker.io.asked.len();
        self.say(&format!(
            "POST / HTTP/1.1\r\nHost: p\r\nx-target-host: http://A.test\r\nx-reload-httpclient: TRUE\r\n{rest}"
        ));
        let (ask, key) = self.worker.io.asked[before..].first().expect("the shell was asked");
        let client = Ipv4Addr::LOCALHOST.into();
        assert_eq!(*ask, ReloadAsk { host: "A.test".into(), port: 443, client, group: 0 });
        *key
    }

    fn answer(&mut self, key: Key, outcome: Result<(), What>) {
        self.turn(|worker| worker.reloaded(key, outcome));
    }

    fn wait(&mut self, secs: u64) {
        self.now = Now(self.now.0 + secs * 1_000_000);
        self.turn(|_| {});
    }

    /// What the client heard since it was last looked at.
    fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.worker.io.heard)).expect("text")
    }
}

#[test]
fn the_answer_follows_the_outcome_and_the_connection_goes_on() {
    let mut stage = Stage::new();
    let key = stage.ask("\r\n");
    assert_eq!(stage.heard(), "");
    stage.wait(59);
    assert_eq!(stage.heard(), "", "it takes what it takes");
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), format!("{DONE}\r\nreload httpclient"));
    stage.answer(key, Err(What::ReloadFailed));
    assert_eq!(stage.heard(), "", "an exchange has one answer");
    let key = stage.ask("\r\n");
    stage.answer(key, Err(What::ReloadUnreached));
    assert!(stage.heard().starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    stage.say("GET / HTTP/1.1\r\nHost: p\r\n\r\n");
    assert!(stage.heard().starts_with("HTTP/1.1 403 Forbidden\r\n"), "it is still served");
}

#[test]
fn the_body_is_dropped_meanwhile_and_what_follows_it_waits() {
    let mut stage = Stage::new();
    let key = stage.ask("Content-Length: 10\r\n\r\n01234");
    stage.say("56789GET / HTTP/1.1\r\nHost: p\r\n\r\n");
    assert_eq!(stage.heard(), "");
    stage.answer(key, Ok(()));
    let heard = stage.heard();
    let rest = heard.strip_prefix(&format!("{DONE}\r\nreload httpclient")).expect("the answer comes first");
    assert!(rest.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{rest}");
    // A body that has not ended is dropped behind the answer.
    let key = stage.ask("Content-Length: 10\r\n\r\n01234");
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), format!("{DONE}\r\nreload httpclient"));
    stage.say("56789GET / HTTP/1.1\r\nHost: p\r\n\r\n");
    assert!(stage.heard().starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

#[test]
fn a_body_too_long_to_drop_ends_the_connection() {
    let mut stage = Stage::new();
    let key = stage.ask("Content-Length: 1000000\r\n\r\n");
    stage.say(&"x".repeat(200_000));
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), format!("{DONE}Connection: close\r\n\r\nreload httpclient"));
}

#[test]
fn a_body_that_breaks_ends_the_request_and_the_outcome_comes_too_late() {
    let mut stage = Stage::new();
    let key = stage.ask("Transfer-Encoding: chunked\r\n\r\n");
    stage.say("nonsense\r\n");
    assert!(stage.heard().starts_with("HTTP/1.1 400 Bad Request\r\n"));
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), "");
}

#[test]
fn who_is_never_answered_is_told_so() {
    let mut stage = Stage::new();
    let key = stage.ask("\r\n");
    stage.wait(69);
    assert_eq!(stage.heard(), "", "the shell keeps the time itself, and may be a little late");
    stage.wait(2);
    let heard = stage.heard();
    assert!(heard.contains("X-Proxy-Error: reload_failed\r\nConnection: close\r\n"), "{heard}");
    assert_eq!(stage.stats.value(Counter::ReloadTimeouts), 1);
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), "");
    stage.wait(10);
    assert!(stage.worker.is_empty());
}

#[test]
fn a_client_that_is_gone_leaves_nothing_behind() {
    let mut stage = Stage::new();
    let key = stage.ask("\r\n");
    stage.turn(|worker| worker.event(worker.io.token, Ready { dead: true, readable: true, ..NOTHING }));
    assert!(stage.worker.is_empty());
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), "");
    assert_eq!(stage.stats.value(Counter::ClientGone), 1);
}

#[test]
fn a_full_queue_is_an_answer_at_once() {
    let mut stage = Stage::new();
    stage.worker.io.full = true;
    stage.say("GET / HTTP/1.1\r\nHost: p\r\nx-target-host: a.test\r\nx-reload-httpclient: true\r\n\r\n");
    assert!(stage.heard().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
}

#[test]
fn a_shutdown_waits_for_the_outcome() {
    let mut stage = Stage::new();
    let key = stage.ask("\r\n");
    stage.turn(Worker::drain);
    stage.wait(5);
    assert_eq!(stage.heard(), "");
    stage.answer(key, Ok(()));
    assert_eq!(stage.heard(), format!("{DONE}Connection: close\r\n\r\nreload httpclient"));
    stage.wait(10);
    assert!(stage.worker.is_empty());
}
