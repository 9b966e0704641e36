//! The bare relay: what the same traffic costs when nobody looks at it.
//!
//! One thread, one epoll instance. Every client gets an upstream connection of its own, dialled when it is accepted.
//! Both sockets are registered once, edge-triggered, both directions; an event costs one `recv` and one `send` as long
//! as a message fits [`CHUNK_BYTES`]. That is the least any user-space proxy pays for a small exchange:
//! `recv`, `send`, `recv`, `send` and its share of `epoll_wait`.
//!
//! It refuses to parse, pool, time out or log, and it takes its one target from the command line. A measuring stick,
//! never a product.
//!
//! Usage: `relay LISTEN_PORT ORIGIN_PORT`

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Most bytes one `recv` takes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Most events one `epoll_wait` returns.
const EVENTS_MAX: usize = 256;
/// The listener's token; pairs use `2 * slot + side`.
const LISTENER: u64 = u64::MAX;

/// A client socket (side 0) and the upstream socket that serves it (side 1).
struct Pair {
    sockets: [TcpStream; 2],
    /// An event said there is something to read, and no short read or `WouldBlock` has said otherwise since.
    readable: [bool; 2],
    /// The peer has closed its sending half: a short read does not mean that the end of stream was seen.
    ended: [bool; 2],
    /// Bytes `send` would not take, waiting for the socket of that side to become writable.
    unsent: [Vec<u8>; 2],
}

impl Pair {
    /// Moves bytes from side `from` to the other until one of the sockets has had enough.
    /// `Ok(false)` when the stream has ended.
    fn relay(&mut self, from: usize, chunk: &mut [u8]) -> io::Result<bool> {
        let to = 1 - from;
        loop {
            if !self.unsent[to].is_empty() {
                let unsent = std::mem::take(&mut self.unsent[to]);
                self.send(to, &unsent)?;
            }
            if !self.unsent[to].is_empty() || !self.readable[from] {
                return Ok(true);
            }
            match self.sockets[from].read(chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.readable[from] = self.ended[from] || count == chunk.len();
                    self.send(to, &chunk[..count])?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable[from] = false,
                Err(error) => return Err(error),
            }
        }
    }

    /// One `send`; what the socket does not take is kept in `unsent`.
    fn send(&mut self, to: usize, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.sockets[to].write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.unsent[to].extend_from_slice(&bytes[sent..]);
        Ok(())
    }
}

/// Slots of pairs. A slot freed in a turn is reused in the next one at the earliest, so that an event of this turn
/// never reaches a pair it was not meant for.
#[derive(Default)]
struct Pairs {
    slots: Vec<Option<Pair>>,
    free: Vec<usize>,
    freed_this_turn: Vec<usize>,
}

impl Pairs {
    fn insert(&mut self, pair: Pair) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(pair);
        slot
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.freed_this_turn.push(slot);
    }
}

fn main() -> io::Result<()> {
    let ports: Vec<u16> = env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let [listen_port, origin_port] = ports[..] else {
        eprintln!("usage: relay LISTEN_PORT ORIGIN_PORT");
        std::process::exit(2);
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, listen_port))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    serve(&epoll, &listener, origin_port)
}

/// The event loop; ends only with an error of the listener or of epoll.
fn serve(epoll: &OwnedFd, listener: &TcpListener, origin_port: u16) -> io::Result<()> {
    let mut pairs = Pairs::default();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        events.clear();
        match epoll::wait(epoll, spare_capacity(&mut events), None) {
            // A tracer that attaches interrupts the wait.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => accept(epoll, listener, origin_port, &mut pairs)?,
                token => turn(token, event.flags, &mut pairs, &mut chunk),
            }
        }
        let freed = std::mem::take(&mut pairs.freed_this_turn);
        pairs.free.extend(freed);
    }
}

/// Takes every waiting client, dials its upstream (blocking: loopback) and registers both sockets for good.
fn accept(epoll: &OwnedFd, listener: &TcpListener, origin_port: u16, pairs: &mut Pairs) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, origin_port))?;
        for socket in [&client, &upstream] {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
        }
        let slot = pairs.insert(Pair {
            sockets: [client, upstream],
            readable: [false; 2],
            ended: [false; 2],
            unsent: [Vec::new(), Vec::new()],
        });
        let pair = pairs.slots[slot].as_ref().expect("the slot was filled above");
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (side, socket) in (0..).zip(&pair.sockets) {
            epoll::add(epoll, socket, EventData::new_u64(2 * slot as u64 + side), interest)?;
        }
    }
}

/// Acts on one event of a pair; a stream that ended or failed takes the pair with it.
fn turn(token: u64, flags: EventFlags, pairs: &mut Pairs, chunk: &mut [u8]) {
    let slot = usize::try_from(token / 2).expect("tokens are made from slots");
    let side = usize::from(token % 2 == 1);
    let Some(pair) = pairs.slots[slot].as_mut() else { return };
    if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        pair.ended[side] = true;
        pair.readable[side] = true;
    }
    pair.readable[side] |= flags.contains(EventFlags::IN);
    let mut open = pair.relay(side, chunk);
    if matches!(open, Ok(true)) && !pair.unsent[side].is_empty() && flags.contains(EventFlags::OUT) {
        open = pair.relay(1 - side, chunk);
    }
    if !matches!(open, Ok(true)) {
        pairs.remove(slot);
    }
}
