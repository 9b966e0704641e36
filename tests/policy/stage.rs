//! The stage: one worker, its clients, the targets it dials, and the resolver's answers.

use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::engine::{Config, Limits};
use apim_proxy::fault::What;
use apim_proxy::io::{Addresses, Io, Lookup, Moved, Ready, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::permits::{Grant, Herald, Permits, WorkerId};
use apim_proxy::policy::proxy_auth::Login;
use apim_proxy::setting::Source;
use apim_proxy::stats::{Counter, Stats};
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const NOTHING: Ready = Ready { readable: false, writable: false, read_closed: false, dead: false };

/// One socket of the worker's.
#[derive(Default)]
pub struct Wire {
    token: usize,
    said: VecDeque<u8>,
    heard: Vec<u8>,
    /// What a target is at; `None` for a client.
    pub address: Option<SocketAddr>,
    opened: bool,
    closed: bool,
}

/// The worker's world.
#[derive(Default)]
pub struct World {
    pub wires: Vec<Wire>,
    /// What each name resolves to.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// Every name that was asked for.
    pub asked: Vec<String>,
    /// Addresses that refuse connections.
    pub refusing: Vec<IpAddr>,
    dropped: Arc<std::sync::Mutex<Vec<usize>>>,
}

pub struct Socket(usize, Arc<std::sync::Mutex<Vec<usize>>>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.1.lock().expect("no panic under the lock").push(self.0);
    }
}

impl World {
    fn open(&mut self, wire: Wire) -> Socket {
        self.wires.push(wire);
        Socket(self.wires.len() - 1, Arc::clone(&self.dropped))
    }

    /// The addresses that were dialled, in order.
    pub fn dialled(&self) -> Vec<String> {
        self.wires.iter().filter_map(|wire| wire.address).map(|address| address.to_string()).collect()
    }
}

impl Io for World {
    type Socket = Socket;
    type Pipe = ();

    fn recv(&mut self, socket: &mut Socket, into: &mut [u8]) -> Moved {
        let wire = &mut self.wires[socket.0];
        let n = wire.said.len().min(into.len());
        if n == 0 {
            return if wire.closed { Moved::End } else { Moved::Blocked };
        }
        for (to, from) in into.iter_mut().zip(wire.said.drain(..n)) {
            *to = from;
        }
        Moved::Bytes(n)
    }

    fn send(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> Moved {
        let heard = &mut self.wires[socket.0].heard;
        let before = heard.len();
        for slice in slices {
            heard.extend_from_slice(slice);
        }
        Moved::Bytes(heard.len() - before)
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

    fn register(&mut self, socket: &mut Socket, key: Key, side: Side) -> Result<(), What> {
        self.wires[socket.0].token = key.token(side);
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr, key: Key) -> Result<Socket, What> {
        if self.refusing.contains(&address.ip()) {
            return Err(What::ConnectRefused);
        }
        let token = key.token(Side::Upstream);
        Ok(self.open(Wire { token, address: Some(address), ..Wire::default() }))
    }

    fn connected(&mut self, _: &mut Socket) -> Result<bool, What> {
        Ok(true)
    }

    fn finish(&mut self, _: &mut Socket) {}

    fn reset(&mut self, _: Socket) {}

    fn resolve(&mut self, host: &str, _: Key) -> Lookup {
        // As the resolver does.
        if let Ok(address) = host.parse() {
            return Lookup::Found(Addresses::from([address]));
        }
        self.asked.push(host.to_owned());
        self.names.get(host).map_or(Lookup::Failed, |found| Lookup::Found(found.clone().into()))
    }

    fn reload(&mut self, _: ReloadAsk, _: Key) -> Result<(), What> {
        Err(What::ReloadNoStore)
    }

    fn verify(&mut self, _: Arc<Login>, _: Key) -> Result<(), What> {
        Err(What::Overloaded)
    }

    fn is_own_listener(&mut self, address: SocketAddr) -> bool {
        address.port() == 9000
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

/// Settings, `key=value` each, indexes included.
struct Texts<'a>(&'a [&'a str]);

impl<'a> Texts<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().map(|line| line.split_once('=').expect("key=value"))
    }
}

impl Source for Texts<'_> {
    fn text(&self, key: &'static str) -> Option<&str> {
        self.pairs().find(|(name, _)| *name == key).map(|(_, text)| text)
    }

    fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
        let index = |name: &str| -> Option<usize> {
            let (before, after) = key.split_once("[N]")?;
            name.strip_prefix(before)?.strip_prefix('[')?.strip_suffix(after)?.strip_suffix(']')?.parse().ok()
        };
        self.pairs().filter_map(|(name, text)| Some((index(name)?, text))).collect()
    }
}

pub struct Stage {
    pub worker: Worker<World>,
    pub stats: Arc<Stats>,
    pub now: Now,
}

impl Stage {
    pub fn new(settings: &[&str]) -> Self {
        Self::narrow(settings, 8)
    }

    /// With so many connections to a target at most.
    pub fn narrow(settings: &[&str], per_route: usize) -> Self {
        let limits = Limits { clients_max: 16, exchanges_max: 16, large_max: 4, pipes_max: 0 };
        let config = Config::from(&Texts(settings), limits).expect("the settings are in order");
        let (stats, permits) = (Arc::new(Stats::default()), Permits::new(per_route, 8, Box::new(Silent)));
        let theirs = Arc::clone(&stats);
        let worker = Worker::new(World::default(), 0, Arc::new(config), theirs, permits, Now(0));
        Self { worker, stats, now: Now(0) }
    }

    pub fn name(&mut self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        self.worker.io.names.insert(host.to_owned(), addresses);
    }

    pub fn turn(&mut self, happens: impl FnOnce(&mut Worker<World>)) {
        self.worker.begin_turn(self.now);
        happens(&mut self.worker);
        while self.worker.end_turn().is_some_and(|wait| wait.0 == 0) {
            self.worker.begin_turn(self.now);
        }
        self.worker.check();
    }

    /// A client connects; its number.
    pub fn connect(&mut self, from: &str) -> usize {
        let peer = SocketAddr::new(from.parse().expect("an address"), 4000);
        let socket = self.worker.io.open(Wire::default());
        let number = socket.0;
        self.turn(|worker| assert!(worker.accept(0, socket, peer).is_ok(), "there is room"));
        number
    }

    /// Somebody says something, and every connection that is opening opens.
    pub fn say(&mut self, number: usize, text: &str) {
        let wire = &mut self.worker.io.wires[number];
        wire.said.extend(text.as_bytes());
        let token = wire.token;
        self.turn(|worker| worker.event(token, Ready { readable: true, ..NOTHING }));
        self.open_doors();
    }

    fn open_doors(&mut self) {
        while let Some(wire) =
            self.worker.io.wires.iter_mut().find(|wire| wire.address.is_some() && !wire.opened)
        {
            wire.opened = true;
            let token = wire.token;
            self.turn(|worker| worker.event(token, Ready { writable: true, ..NOTHING }));
        }
    }

    /// A client asks for `target`; what it is told at once.
    pub fn ask(&mut self, client: usize, target: &str) -> String {
        self.say(client, &format!("GET /p HTTP/1.1\r\nHost: p\r\nx-target-host: {target}\r\n\r\n"));
        self.heard(client)
    }

    /// A client asks for `target` and is answered by whoever was dialled last; says by whom.
    pub fn served(&mut self, client: usize, target: &str) -> String {
        let told = self.ask(client, target);
        assert_eq!(told, "", "{target} is not refused");
        let asked = |wire: &Wire| wire.address.is_some() && !wire.heard.is_empty();
        let target = self.worker.io.wires.iter().position(asked).expect("somebody was asked");
        let heard = self.heard(target);
        assert!(heard.starts_with("GET /p HTTP/1.1\r\n"), "{heard}");
        self.say(target, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(self.heard(client), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        self.worker.io.wires[target].address.expect("a target").to_string()
    }

    /// What a client or a target heard since it was last looked at.
    pub fn heard(&mut self, number: usize) -> String {
        String::from_utf8(std::mem::take(&mut self.worker.io.wires[number].heard)).expect("text")
    }

    /// A target or a client closes.
    pub fn close(&mut self, number: usize) {
        let wire = &mut self.worker.io.wires[number];
        wire.closed = true;
        let token = wire.token;
        self.turn(|worker| worker.event(token, Ready { readable: true, read_closed: true, ..NOTHING }));
    }

    /// Time passes.
    pub fn wait(&mut self, secs: u64) {
        self.now = Now(self.now.0 + secs * 1_000_000);
        self.turn(|_| {});
    }

    /// Whether the worker has let go of a socket.
    pub fn is_dropped(&self, number: usize) -> bool {
        self.worker.io.dropped.lock().expect("no panic under the lock").contains(&number)
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.stats.value(counter)
    }
}

/// The code of an answer of ours.
pub fn code(answer: &str) -> &str {
    answer.split_once("X-Proxy-Error: ").and_then(|(_, rest)| rest.lines().next()).unwrap_or(answer)
}
