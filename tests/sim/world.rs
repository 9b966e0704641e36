//! The simulated kernel: byte queues both ways, edge-triggered events, resets that may or may not eat what is queued,
//! names and addresses. Time is a number that the loop moves.
//!
//! ```text
//! peer --write--> wire --deliver--> rx --recv--> worker
//! peer <--read--- tx <--------------send-------- worker
//! ```

use super::rng::Rng;
use super::script::{Dns, Door, Place};
use apim_proxy::fault::What;
use apim_proxy::io::{Addresses, Io, Lookup, Moved, Ready};
use apim_proxy::key::{Key, Side};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

/// How a connection the proxy opens stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Open,
    At(u64),
    FailsAt(u64),
    Never,
    Failed,
}

/// One connection, seen from the proxy's kernel.
#[derive(Debug)]
pub struct Socket {
    /// Worker and token it is registered under.
    pub owner: Option<(usize, usize)>,
    pub opening: Opening,
    /// Which place it leads to; `None` for a client's.
    pub place: Option<usize>,
    wire: VecDeque<u8>,
    wire_end: bool,
    wire_reset: bool,
    rx: VecDeque<u8>,
    end: bool,
    reset: bool,
    /// The error of a reset is told once, like `SO_ERROR`; afterwards the stream just looks ended.
    error: bool,
    tx: VecDeque<u8>,
    room: usize,
    tx_end: bool,
    tx_reset: bool,
    /// An event waits to be told.
    pub pending: bool,
    starved_of_room: bool,
    /// The proxy has let go of it.
    pub dropped: bool,
    peer_closed: bool,
    /// Everything the proxy sent.
    pub log: Vec<u8>,
    /// How many bytes the proxy has received.
    pub taken: usize,
    /// The peer was reset because its bytes crossed the proxy's close on the way: neither could know.
    pub lossy: bool,
    /// The proxy knows of bytes it has not received.
    told: bool,
    /// The peer speaks unasked, or resets what it has said.
    pub rude: bool,
    /// How many bytes the proxy had sent when it was told, while bytes nobody asked for (or an end) were there.
    pub warned_at: Option<usize>,
    /// Bytes the peer has written.
    written: usize,
    /// From this byte on what the peer does is not part of an answer.
    pub tainted: Option<usize>,
}

/// What a peer's read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    Bytes(usize),
    Nothing,
    End,
    Reset,
}

/// A resolver's answer under way.
#[derive(Debug)]
pub struct Question {
    pub worker: usize,
    pub key: Key,
    pub host: String,
    pub due: u64,
    pub answer: Option<Addresses>,
}

pub struct Net {
    pub sockets: Vec<Socket>,
    pub places: Vec<Place>,
    pub questions: Vec<Question>,
    pub now: u64,
    pub rng: Rng,
    pub noise: bool,
    tx_room: usize,
    /// Sockets something can still happen to.
    pub live: Vec<usize>,
    /// Sockets the proxy opened that no origin has picked up yet.
    pub fresh: Vec<usize>,
    pub trace: Option<Vec<String>>,
}

/// The net as every worker and peer holds it.
#[derive(Clone)]
pub struct World(Arc<Mutex<Net>>);

impl World {
    pub fn new(places: Vec<Place>, tx_room: usize, rng: Rng, noise: bool, verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(Net {
            sockets: Vec::new(),
            places,
            questions: Vec::new(),
            now: 0,
            rng,
            noise,
            tx_room,
            live: Vec::new(),
            fresh: Vec::new(),
            trace: verbose.then(Vec::new),
        })))
    }

    pub fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A client's connection, ready to be accepted.
    pub fn connect(&self, room: usize) -> Sock {
        let mut net = self.net();
        let id = net.open(None, Opening::Open);
        net.sockets[id].room = room;
        Sock { world: self.clone(), id }
    }
}

impl Net {
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>10} {}", text()));
        }
    }

    fn open(&mut self, place: Option<usize>, opening: Opening) -> usize {
        self.sockets.push(Socket {
            owner: None,
            opening,
            place,
            wire: VecDeque::new(),
            wire_end: false,
            wire_reset: false,
            rx: VecDeque::new(),
            end: false,
            reset: false,
            error: false,
            tx: VecDeque::new(),
            room: self.tx_room,
            tx_end: false,
            tx_reset: false,
            pending: false,
            starved_of_room: false,
            dropped: false,
            peer_closed: false,
            log: Vec::new(),
            taken: 0,
            lossy: false,
            told: false,
            rude: false,
            warned_at: None,
            written: 0,
            tainted: None,
        });
        self.live.push(self.sockets.len() - 1);
        self.sockets.len() - 1
    }

    /// Forgets sockets that nothing can happen to any more.
    pub fn tidy(&mut self) {
        let sockets = &self.sockets;
        self.live.retain(|id| !sockets[*id].dropped || sockets[*id].has_wire() || !sockets[*id].peer_closed);
    }

    /// Moves up to `n` bytes, and then the end or the reset, from the wire to where the proxy can receive them.
    pub fn deliver(&mut self, id: usize, n: usize) -> bool {
        let purge = self.rng.one_in(2);
        let socket = &mut self.sockets[id];
        if socket.dropped {
            let news = !socket.wire.is_empty();
            socket.wire.clear();
            if news && !socket.tx_reset {
                socket.lossy = true;
                socket.lose(purge);
                return true;
            }
            return false;
        }
        let n = n.min(socket.wire.len());
        socket.rx.extend(socket.wire.drain(..n));
        let mut news = n > 0;
        if socket.wire.is_empty() {
            if socket.wire_reset && !socket.reset {
                (socket.reset, socket.error, news) = (true, true, true);
                if purge {
                    socket.rx.clear();
                }
            } else if socket.wire_end && !socket.end {
                (socket.end, news) = (true, true);
            }
        }
        socket.pending |= news;
        news
    }

    /// What an event says of a socket now.
    pub fn ready(&self, id: usize) -> Ready {
        let socket = &self.sockets[id];
        let failed = socket.opening == Opening::Failed;
        let open = socket.opening == Opening::Open;
        Ready {
            readable: failed || !socket.rx.is_empty() || socket.end || socket.reset,
            writable: failed || socket.reset || (open && socket.tx.len() < socket.room),
            read_closed: failed || socket.end || socket.reset,
            dead: failed || socket.reset || (socket.end && socket.tx_end),
        }
    }

    /// The proxy is told that there is something to receive: from now on it knows of bytes nobody asked for.
    pub fn warn(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.told |= !socket.rx.is_empty();
        let seen = socket.taken + socket.rx.len();
        let news = socket.tainted.is_some_and(|from| seen > from || socket.end || socket.reset);
        if news && !socket.dropped {
            socket.warned_at.get_or_insert(socket.log.len());
        }
    }

    /// Opens or fails connects whose time has come; says whether there were any.
    pub fn open_doors(&mut self) -> bool {
        let now = self.now;
        let mut opened = false;
        for id in &self.live {
            let socket = &mut self.sockets[*id];
            let (due, then) = match socket.opening {
                Opening::At(due) => (due, Opening::Open),
                Opening::FailsAt(due) => (due, Opening::Failed),
                Opening::Open | Opening::Never | Opening::Failed => continue,
            };
            if due <= now {
                socket.opening = then;
                (socket.pending, opened) = (true, true);
            }
        }
        opened
    }

    /// When the next connect opens or fails, or the next name is known.
    pub fn alarm(&self) -> Option<u64> {
        let sockets = self.live.iter().map(|id| &self.sockets[*id]);
        let doors = sockets.filter_map(|socket| match socket.opening {
            Opening::At(due) | Opening::FailsAt(due) => Some(due).filter(|_| !socket.dropped),
            Opening::Open | Opening::Never | Opening::Failed => None,
        });
        doors.chain(self.questions.iter().map(|question| question.due)).min()
    }

    // What peers do.

    /// Bytes a peer sends; how many fitted.
    pub fn peer_write(&mut self, id: usize, bytes: &[u8]) -> usize {
        let socket = &mut self.sockets[id];
        let n = bytes.len().min(200_000usize.saturating_sub(socket.wire.len() + socket.rx.len()));
        socket.wire.extend(&bytes[..n]);
        socket.written += n;
        n
    }

    /// What the peer does after `n` more bytes is nobody's answer.
    pub fn taint(&mut self, id: usize, n: usize, rude: bool) {
        let socket = &mut self.sockets[id];
        socket.tainted.get_or_insert(socket.written + n);
        socket.rude |= rude;
    }

    /// Whether the proxy has closed the connection for good.
    pub fn is_over(&self, id: usize) -> bool {
        self.sockets[id].dropped
    }

    pub fn peer_read(&mut self, id: usize, max: usize, into: &mut Vec<u8>) -> Got {
        let socket = &mut self.sockets[id];
        let n = max.min(socket.tx.len());
        if n > 0 {
            into.extend(socket.tx.drain(..n));
            if socket.starved_of_room && socket.tx.len() < socket.room && !socket.dropped {
                socket.starved_of_room = false;
                socket.pending = true;
            }
            return Got::Bytes(n);
        }
        match (socket.tx_reset, socket.tx_end) {
            (true, _) => Got::Reset,
            (false, true) => Got::End,
            (false, false) => Got::Nothing,
        }
    }

    /// Half-closes.
    pub fn peer_end(&mut self, id: usize) {
        self.sockets[id].wire_end = true;
    }

    /// Closes both ways: with a reset when the proxy's bytes were not read (as Linux does).
    pub fn peer_close(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.wire_end = true;
        socket.peer_closed = true;
        socket.wire_reset |= !socket.tx.is_empty();
        socket.tx.clear();
    }

    pub fn peer_reset(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.wire_reset = true;
        socket.peer_closed = true;
        socket.tx.clear();
    }

    fn drop_socket(&mut self, id: usize) {
        let purge = self.rng.one_in(2);
        self.note(|| format!("s{id} closed by the proxy"));
        let socket = &mut self.sockets[id];
        socket.dropped = true;
        socket.tx_end = true;
        // Closing with bytes unread is a reset, and a reset may overtake what is under way.
        if !socket.rx.is_empty() {
            socket.lossy |= !socket.told;
            socket.lose(purge);
        }
        if !matches!(socket.opening, Opening::Open) {
            socket.opening = Opening::Failed;
        }
    }
}

impl Socket {
    fn lose(&mut self, purge: bool) {
        self.tx_reset = true;
        if purge {
            self.tx.clear();
        }
    }

    /// Whether bytes or an end are under way to the proxy.
    pub fn has_wire(&self) -> bool {
        !self.wire.is_empty()
            || (!self.dropped
                && ((self.wire_end && !self.end && !self.reset) || (self.wire_reset && !self.reset)))
    }
}

/// A socket in the hands of a worker.
pub struct Sock {
    world: World,
    pub id: usize,
}

impl Drop for Sock {
    fn drop(&mut self) {
        self.world.net().drop_socket(self.id);
    }
}

/// The seam as one worker sees it.
pub struct SimIo {
    pub world: World,
    pub worker: usize,
}

impl SimIo {
    /// The world does not stand still between two calls.
    fn meanwhile(&self, id: usize) {
        let mut net = self.world.net();
        if net.noise && net.rng.one_in(4) {
            let n = net.rng.range(1, 300);
            net.deliver(id, n);
        }
    }
}

impl Io for SimIo {
    type Socket = Sock;

    fn recv(&mut self, socket: &mut Sock, into: &mut [u8]) -> Moved {
        assert!(!into.is_empty(), "a receive needs room");
        self.meanwhile(socket.id);
        let id = socket.id;
        let mut net = self.world.net();
        let s = &mut net.sockets[id];
        let n = into.len().min(s.rx.len());
        let moved = if n > 0 {
            for (slot, byte) in into.iter_mut().zip(s.rx.drain(..n)) {
                *slot = byte;
            }
            s.taken += n;
            s.told &= !s.rx.is_empty();
            Moved::Bytes(n)
        } else if std::mem::take(&mut s.error) {
            Moved::Failed
        } else if s.end || s.reset {
            Moved::End
        } else {
            Moved::Blocked
        };
        net.note(|| format!("s{id} recv {moved:?} of {}", into.len()));
        drop(net);
        self.meanwhile(id);
        moved
    }

    fn send(&mut self, socket: &mut Sock, slices: &[IoSlice<'_>]) -> Moved {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(total > 0, "a send needs bytes");
        self.meanwhile(socket.id);
        let id = socket.id;
        let mut net = self.world.net();
        let s = &mut net.sockets[id];
        assert!(!s.tx_end, "nothing is sent after the end");
        let moved = if s.reset {
            // Telling an error clears it.
            s.error = false;
            Moved::Failed
        } else {
            let n = total.min(s.room.saturating_sub(s.tx.len()));
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(n).collect();
            s.log.extend_from_slice(&bytes);
            if s.peer_closed {
                s.wire_reset |= n > 0;
            } else {
                s.tx.extend(bytes);
            }
            s.starved_of_room = n < total;
            if n > 0 { Moved::Bytes(n) } else { Moved::Blocked }
        };
        net.note(|| format!("s{id} send {moved:?} of {total}"));
        moved
    }

    fn register(&mut self, socket: &mut Sock, key: Key, side: Side) -> Result<(), What> {
        let mut net = self.world.net();
        let s = &mut net.sockets[socket.id];
        s.owner = Some((self.worker, key.token(side)));
        s.pending = true;
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr, key: Key) -> Result<Sock, What> {
        let mut net = self.world.net();
        let now = net.now;
        let known = net.places.iter().enumerate().find_map(|(at, place)| {
            let (_, door) = place.doors.iter().find(|(ip, _)| *ip == address.ip())?;
            (place.port == address.port()).then_some((at, *door))
        });
        let (place, door) = known.expect("only known addresses are dialled");
        assert!(net.places[place].reachable || door != Door::Open(0), "{address} must not be dialled");
        let opening = match door {
            Door::Open(delay) => Opening::At(now + delay),
            Door::Shut => return Err(What::ConnectRefused),
            Door::ShutLater(delay) => Opening::FailsAt(now + delay),
            Door::Silent => Opening::Never,
        };
        let id = net.open(Some(place), opening);
        net.sockets[id].owner = Some((self.worker, key.token(Side::Upstream)));
        net.fresh.push(id);
        net.note(|| format!("s{id} dialled {address} by worker {}", self.worker));
        drop(net);
        Ok(Sock { world: self.world.clone(), id })
    }

    fn connected(&mut self, socket: &mut Sock) -> Result<bool, What> {
        match self.world.net().sockets[socket.id].opening {
            Opening::Open => Ok(true),
            Opening::Failed => Err(What::ConnectRefused),
            Opening::At(_) | Opening::FailsAt(_) | Opening::Never => Ok(false),
        }
    }

    fn finish(&mut self, socket: &mut Sock) {
        let mut net = self.world.net();
        net.note(|| format!("s{} finished by the proxy", socket.id));
        net.sockets[socket.id].tx_end = true;
    }

    fn reset(&mut self, socket: Sock) {
        let mut net = self.world.net();
        let purge = net.rng.one_in(2);
        net.note(|| format!("s{} reset by the proxy", socket.id));
        let s = &mut net.sockets[socket.id];
        s.tx_reset = true;
        if purge {
            s.tx.clear();
        }
    }

    fn resolve(&mut self, host: &str, key: Key) -> Lookup {
        let mut net = self.world.net();
        let place =
            net.places.iter().find(|place| place.host == host).expect("only known names are asked for");
        let addresses: Addresses = place.doors.iter().map(|(ip, _)| *ip).collect();
        let (delay, found) = match place.dns {
            Dns::Known => return Lookup::Found(addresses),
            Dns::Unknown => return Lookup::Failed,
            Dns::Never => return Lookup::Pending,
            Dns::Later(delay, found) => (delay, found),
        };
        let due = net.now + delay;
        let answer = found.then_some(addresses);
        net.questions.push(Question { worker: self.worker, key, host: host.to_owned(), due, answer });
        Lookup::Pending
    }

    fn is_own_listener(&mut self, address: SocketAddr) -> bool {
        address.ip().to_string() == "10.99.0.1"
    }
}
