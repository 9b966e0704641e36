//! The simulated kernel: byte queues both ways, edge-triggered events, resets that may or may not eat what is queued,
//! names and addresses. Time is a number that the loop moves.
//!
//! ```text
//! peer --write--> wire --deliver--> rx --recv--> worker
//! peer <--read--- tx <--------------send-------- worker
//! ```

use super::channel::Channel;
use super::keys::Contexts;
use super::rng::Rng;
use super::script::{Pipes, Place, Script};
use apim_proxy::io::{Addresses, Ready};
use apim_proxy::key::Key;
use std::collections::VecDeque;
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
    pub wire: VecDeque<u8>,
    pub wire_end: bool,
    pub wire_reset: bool,
    pub rx: VecDeque<u8>,
    pub end: bool,
    pub reset: bool,
    /// The error of a reset is told once, like `SO_ERROR`; afterwards the stream just looks ended.
    pub error: bool,
    pub tx: VecDeque<u8>,
    pub room: usize,
    pub tx_end: bool,
    pub tx_reset: bool,
    /// An event waits to be told.
    pub pending: bool,
    pub starved_of_room: bool,
    /// The proxy was told that there is no room, and no event has said otherwise.
    pub blocked: bool,
    /// The proxy has let go of it.
    pub dropped: bool,
    pub peer_closed: bool,
    /// The peer's TLS.
    pub channel: Option<Box<Channel>>,
    /// Everything the proxy sent; of TLS, the plain bytes the peer found in it.
    pub log: Vec<u8>,
    /// How many bytes the proxy has sent.
    pub sent: usize,
    /// How many it had sealed at least: what it tried to send of TLS it cannot take back.
    pub sealed: usize,
    /// The proxy's configuration had been reloaded when it opened it.
    pub reloaded: bool,
    /// How much the proxy had sent whenever it received something.
    pub heard: Vec<usize>,
    /// How many bytes the proxy has received.
    pub taken: usize,
    /// The peer was reset because its bytes crossed the proxy's close on the way: neither could know.
    pub lossy: bool,
    /// The proxy knows of bytes it has not received.
    pub told: bool,
    /// The peer speaks unasked, or resets what it has said.
    pub rude: bool,
    /// The peer may not read what comes next.
    pub deaf: bool,
    /// How many bytes the proxy had sent when it was told, while bytes nobody asked for (or an end) were there.
    pub warned_at: Option<usize>,
    /// Bytes the peer has written.
    pub written: usize,
    /// From this byte on what the peer does is not part of an answer.
    pub tainted: Option<usize>,
}

/// What a peer's read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    Bytes(usize),
    /// Bytes of TLS, none for the peer.
    Silent,
    Nothing,
    /// The proxy ended its stream; in TLS, with a word.
    End,
    /// The proxy ended its stream without the word that TLS has for it.
    Cut,
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

/// What pipes went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Piping {
    pub made: usize,
    pub denied: usize,
    /// Times one had no room.
    pub full: usize,
    /// Closed with bytes in them.
    pub lost: usize,
}

pub struct Net {
    pub pipes: Option<Pipes>,
    pub piping: Piping,
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
    /// What everybody's TLS is made from.
    pub contexts: Contexts,
    /// The lines about exchanges.
    pub lines: Vec<u8>,
    /// The workers have been told of another configuration.
    pub reloaded: bool,
}

/// The net as every worker and peer holds it.
#[derive(Clone)]
pub struct World(Arc<Mutex<Net>>);

impl World {
    pub fn new(script: &Script, rng: Rng, verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(Net {
            pipes: script.pipes,
            piping: Piping::default(),
            sockets: Vec::new(),
            places: script.places.clone(),
            questions: Vec::new(),
            now: 0,
            rng,
            noise: script.noise,
            tx_room: script.tx_room,
            live: Vec::new(),
            fresh: Vec::new(),
            trace: verbose.then(Vec::new),
            contexts: Contexts::new(script),
            lines: Vec::new(),
            reloaded: false,
        })))
    }

    pub fn net(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Net {
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>10} {}", text()));
        }
    }

    pub fn open(&mut self, place: Option<usize>, opening: Opening) -> usize {
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
            blocked: false,
            dropped: false,
            peer_closed: false,
            channel: None,
            log: Vec::new(),
            sent: 0,
            sealed: 0,
            reloaded: self.reloaded,
            heard: Vec::new(),
            taken: 0,
            lossy: false,
            told: false,
            rude: false,
            deaf: false,
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
        let n = socket.pace(n.min(socket.wire.len()));
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

    /// The proxy is told what an event says: from now on it knows of bytes nobody asked for, and of room.
    pub fn tell(&mut self, id: usize, ready: Ready) {
        let socket = &mut self.sockets[id];
        socket.blocked &= !ready.writable;
        if !ready.readable {
            return;
        }
        socket.told |= !socket.rx.is_empty();
        let seen = socket.taken + socket.rx.len();
        let news = socket.tainted.is_some_and(|from| seen > from || ready.read_closed);
        if news && !socket.dropped {
            socket.warned_at.get_or_insert(socket.sent.max(socket.sealed));
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
        if self.sockets[id].channel.is_some() {
            return self.write_secure(id, bytes);
        }
        let socket = &mut self.sockets[id];
        let n = bytes.len().min(200_000usize.saturating_sub(socket.wire.len() + socket.rx.len()));
        socket.wire.extend(&bytes[..n]);
        socket.written += n;
        n
    }

    /// What the peer does after `n` more bytes is nobody's answer.
    pub fn taint(&mut self, id: usize, n: usize, rude: bool) {
        let socket = &mut self.sockets[id];
        socket.rude |= rude;
        if socket.channel.is_some() {
            self.taint_secure(id, n);
        } else {
            socket.tainted.get_or_insert(socket.written + n);
        }
    }

    /// Whether the proxy has closed the connection for good.
    pub fn is_over(&self, id: usize) -> bool {
        self.sockets[id].dropped
    }

    pub fn peer_read(&mut self, id: usize, max: usize, into: &mut Vec<u8>) -> Got {
        if self.sockets[id].channel.is_some() {
            return self.read_secure(id, max, into);
        }
        let socket = &mut self.sockets[id];
        let n = max.min(socket.tx.len());
        if n > 0 {
            into.extend(socket.tx.drain(..n));
            socket.tell_of_room();
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
        let rudely = self.ends_rudely(id);
        self.close_secure(id, rudely);
        self.sockets[id].wire_end = true;
    }

    /// Closes both ways: with a reset when the proxy's bytes were not read (as Linux does).
    pub fn peer_close(&mut self, id: usize) {
        let rudely = self.ends_rudely(id);
        self.close_secure(id, rudely);
        self.peer_cut(id);
    }

    /// The same, where the end of the stream means something.
    pub fn peer_close_in_order(&mut self, id: usize) {
        self.close_secure(id, false);
        self.peer_cut(id);
    }

    /// The same without a word of TLS.
    pub fn peer_cut(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.wire_end = true;
        socket.wire_reset |= !socket.tx.is_empty();
        socket.log_unread();
        socket.peer_closed = true;
    }

    pub fn peer_reset(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        socket.wire_reset = true;
        socket.log_unread();
        socket.peer_closed = true;
    }

    pub fn drop_socket(&mut self, id: usize) {
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

    /// The peer has read: the proxy is told of room if it waits for that.
    pub fn tell_of_room(&mut self) {
        if self.starved_of_room && self.tx.len() < self.room && !self.dropped {
            self.starved_of_room = false;
            self.pending = true;
        }
    }

    /// The proxy was told of bytes nobody asked for, or of an end, and leaves them where they are.
    pub fn is_spoilt(&self) -> bool {
        self.warned_at.is_some() && !self.dropped && (!self.rx.is_empty() || self.end || self.reset)
    }

    /// Whether bytes or an end are under way to the proxy.
    pub fn has_wire(&self) -> bool {
        !self.wire.is_empty()
            || (!self.dropped
                && ((self.wire_end && !self.end && !self.reset) || (self.wire_reset && !self.reset)))
    }
}
