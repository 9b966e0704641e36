//! One client and one origin in memory, around a real worker: what an exchange costs without a kernel, counted in
//! nanoseconds, instructions or allocations. Shared by `tests/allocation.rs` and `bench/exchange.rs`.
//!
//! The peers are polite and their buffers never grow once warm, so that whatever is counted is the worker's own. For
//! rude peers and random segmentation there is the simulator.

use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::engine::{Config, Limits};
use apim_proxy::fault::What;
use apim_proxy::io::{Io, Lookup, Moved, Ready, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::permits::{Grant, Herald, Permits, WorkerId};
use apim_proxy::policy::proxy_auth::Login;
use apim_proxy::setting::Defaults;
use apim_proxy::stats::Stats;
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub const ORIGIN: &str = "10.0.0.2";
const BODY: [u8; 1024] = [b'x'; 1024];
/// Length of a body that goes through a pipe.
const LONG: usize = 200_000;
/// Microseconds that pass from one turn to the next.
const TURN: u64 = 20;
pub const READABLE: Ready = Ready { readable: true, writable: false, read_closed: false, dead: false };
pub const WRITABLE: Ready = Ready { readable: false, writable: true, read_closed: false, dead: false };

/// Room of a peer.
const ROOM: usize = LONG + 4096;

/// The peer behind a socket: what it has sent and the worker not yet received, and what it has received.
pub struct Peer {
    pub token: usize,
    pub sent: Vec<u8>,
    pub taken: usize,
    pub received: Vec<u8>,
}

impl Peer {
    fn new() -> Self {
        Self { token: 0, sent: Vec::with_capacity(ROOM), taken: 0, received: Vec::with_capacity(ROOM) }
    }

    /// Says something; the worker has taken what was said before.
    ///
    /// # Panics
    /// When it has not.
    pub fn say(&mut self, bytes: &[u8]) {
        assert_eq!(self.taken, self.sent.len(), "the worker took what was said before");
        self.sent.clear();
        self.taken = 0;
        self.sent.extend_from_slice(bytes);
    }
}

/// Which of the two peers a socket leads to.
pub struct Socket(Side);

/// The world of the two peers.
pub struct World {
    pub client: Peer,
    pub origin: Peer,
    pub dialled: usize,
}

impl World {
    fn peer(&mut self, socket: &Socket) -> &mut Peer {
        match socket.0 {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.origin,
        }
    }
}

impl Io for World {
    type Socket = Socket;
    type Pipe = Vec<u8>;

    fn recv(&mut self, socket: &mut Socket, into: &mut [u8]) -> Moved {
        let peer = self.peer(socket);
        let left = &peer.sent[peer.taken..];
        let n = left.len().min(into.len());
        if n == 0 {
            return Moved::Blocked;
        }
        into[..n].copy_from_slice(&left[..n]);
        peer.taken += n;
        Moved::Bytes(n)
    }

    fn send(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> Moved {
        let peer = self.peer(socket);
        for slice in slices {
            peer.received.extend_from_slice(slice);
        }
        Moved::Bytes(slices.iter().map(|slice| slice.len()).sum())
    }

    fn pipe(&mut self) -> Option<Vec<u8>> {
        Some(Vec::with_capacity(LONG))
    }

    fn splice_in(&mut self, socket: &mut Socket, pipe: &mut Vec<u8>, max: usize) -> Moved {
        let peer = self.peer(socket);
        let left = &peer.sent[peer.taken..];
        let n = left.len().min(max);
        if n == 0 {
            return Moved::Blocked;
        }
        pipe.extend_from_slice(&left[..n]);
        peer.taken += n;
        Moved::Bytes(n)
    }

    fn splice_out(&mut self, pipe: &mut Vec<u8>, socket: &mut Socket, max: usize) -> Moved {
        assert_eq!(pipe.len(), max, "all of it is asked for");
        self.peer(socket).received.append(pipe);
        Moved::Bytes(max)
    }

    fn register(&mut self, socket: &mut Socket, key: Key, side: Side) -> Result<(), What> {
        self.peer(socket).token = key.token(side);
        Ok(())
    }

    fn connect(&mut self, _address: SocketAddr, key: Key) -> Result<Socket, What> {
        self.dialled += 1;
        self.origin.token = key.token(Side::Upstream);
        Ok(Socket(Side::Upstream))
    }

    fn connected(&mut self, _socket: &mut Socket) -> Result<bool, What> {
        Ok(true)
    }

    fn finish(&mut self, _socket: &mut Socket) {}

    fn reset(&mut self, _socket: Socket) {}

    fn resolve(&mut self, _host: &str, _key: Key) -> Lookup {
        Lookup::Found(Arc::new([IpAddr::from([10, 0, 0, 2])]))
    }

    fn reload(&mut self, _ask: ReloadAsk, _key: Key) -> Result<(), What> {
        Err(What::ReloadNoStore)
    }

    fn verify(&mut self, _login: Arc<Login>, _key: Key) -> Result<(), What> {
        Err(What::AuthBusy)
    }

    fn is_own_listener(&mut self, _address: SocketAddr) -> bool {
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

/// Nobody ever waits for a permit here.
struct Silent;

impl Herald for Silent {
    fn granted(&self, _worker: WorkerId, _grant: Grant) {}
    fn wanted(&self, _asking: WorkerId) {}
}

/// A worker with its two peers, and the exchange they repeat.
pub struct Pair {
    pub worker: Worker<World>,
    now: Now,
    pub script: Script,
}

/// What the peers say, and what each then has to hear.
pub struct Script {
    pub request: Vec<u8>,
    pub forwarded: Vec<u8>,
    pub answer: Vec<u8>,
}

impl Script {
    /// The answer passes unchanged.
    fn new(method: &str, framing: &str, body: &[u8], answer_framing: &str, answer_body: &[u8]) -> Self {
        let head = |target: &str, host: &str| {
            format!(
                "{method} /v1/bank/accounts?limit=500 HTTP/1.1\r\nHost: {host}\r\n{target}Accept: */*\r\n\
                 x-api-tran-id: 0000000000M00000000000001\r\n{framing}\r\n"
            )
        };
        let route = format!("{ORIGIN}:8080");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{answer_framing}\r\n");
        Self {
            request: [head(&format!("x-target-host: http://{route}\r\n"), "proxy").as_bytes(), body].concat(),
            forwarded: [head("", &route).as_bytes(), body].concat(),
            answer: [answer.as_bytes(), answer_body].concat(),
        }
    }

    /// A GET.
    pub fn get() -> Self {
        Self::new("GET", "", b"", "Content-Length: 1024\r\n", &BODY)
    }

    /// A POST whose body is as long as it says.
    pub fn post() -> Self {
        Self::new("POST", "Content-Length: 1024\r\n", &BODY, "Content-Length: 1024\r\n", &BODY)
    }

    /// A POST whose body and answer are long enough for a pipe.
    pub fn long() -> Self {
        let (body, line) = (vec![b'x'; LONG], format!("Content-Length: {LONG}\r\n"));
        Self::new("POST", &line, &body, &line, &body)
    }

    /// A POST in chunks, answered in chunks.
    pub fn chunked() -> Self {
        let chunks = [b"200\r\n", &BODY[..512], b"\r\n200\r\n", &BODY[512..], b"\r\n0\r\n\r\n"].concat();
        Self::new(
            "POST",
            "Transfer-Encoding: chunked\r\n",
            &chunks,
            "Transfer-Encoding: chunked\r\n",
            &chunks,
        )
    }
}

impl Pair {
    /// A worker, a connected client, and one exchange behind them: pool, buffers and routes are warm.
    ///
    /// # Panics
    /// When a peer does not hear, byte for byte, what it should.
    pub fn warm(script: Script, change: impl FnOnce(&mut Config)) -> Self {
        let mut pair = Self::new(script, change);
        pair.exchange();
        assert_eq!(pair.worker.io.origin.received, pair.script.forwarded, "what the origin got");
        assert_eq!(pair.worker.io.client.received, pair.script.answer, "what the client got");
        pair
    }

    /// A worker with the default configuration and what `change` makes of it, and a connected client.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn new(script: Script, change: impl FnOnce(&mut Config)) -> Self {
        let limits = Limits { clients_max: 16, exchanges_max: 16, large_max: 16, pipes_max: 16 };
        let mut config = Config::from(&Defaults, limits).expect("the defaults parse");
        change(&mut config);
        let world = World { client: Peer::new(), origin: Peer::new(), dialled: 0 };
        let permits = Permits::new(200, 1000, Box::new(Silent));
        let worker = Worker::new(world, 0, Arc::new(config), Arc::new(Stats::default()), permits, Now(0));
        let mut pair = Self { worker, now: Now(0), script };
        pair.turn(|worker| {
            let peer = SocketAddr::from(([10, 0, 0, 1], 40_000));
            assert!(worker.accept(0, Socket(Side::Client), peer).is_ok(), "there is room");
            worker.event(worker.io.client.token, WRITABLE);
        });
        pair
    }

    /// A turn in which something happens.
    pub fn turn(&mut self, happens: impl FnOnce(&mut Worker<World>)) {
        self.now.0 += TURN;
        self.worker.begin_turn(self.now);
        happens(&mut self.worker);
        self.worker.end_turn();
    }

    /// One request and its answer: a turn each.
    ///
    /// # Panics
    /// When a peer heard more or less than it should.
    pub fn exchange(&mut self) {
        let World { client, origin, dialled } = &mut self.worker.io;
        client.received.clear();
        origin.received.clear();
        client.say(&self.script.request);
        let opened = *dialled;
        self.turn(|worker| worker.event(worker.io.client.token, READABLE));
        if self.worker.io.dialled != opened {
            self.turn(|worker| worker.event(worker.io.origin.token, WRITABLE));
        }
        assert_eq!(self.worker.io.origin.received.len(), self.script.forwarded.len());
        self.worker.io.origin.say(&self.script.answer);
        self.turn(|worker| worker.event(worker.io.origin.token, READABLE));
        assert_eq!(self.worker.io.client.received.len(), self.script.answer.len());
    }

    /// Connections opened to the origin so far.
    pub fn dialled(&self) -> usize {
        self.worker.io.dialled
    }
}
