//! The library's seam to the world, on the simulated kernel: what one worker can do with sockets and names.

use super::script::{Dns, Door, Pipes};
use super::world::{Opening, Question, Socket, World};
use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::fault::What;
use apim_proxy::io::{Addresses, Io, Lookup, Moved, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::policy::proxy_auth::Login;
use std::collections::VecDeque;
use std::collections::vec_deque::Drain;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;

/// A socket in the hands of a worker.
pub struct Sock {
    world: World,
    pub id: usize,
}

impl Sock {
    /// A client's connection, ready to be accepted.
    pub fn connect(world: &World, room: usize) -> Self {
        let mut net = world.net();
        let id = net.open(None, Opening::Open);
        net.sockets[id].room = room;
        Self { world: world.clone(), id }
    }
}

impl Drop for Sock {
    fn drop(&mut self) {
        self.world.net().drop_socket(self.id);
    }
}

/// A pipe in the hands of a worker: bytes in fragments, of which it has room for so many, whatever their size.
pub struct SimPipe {
    world: World,
    slots: usize,
    parts: VecDeque<VecDeque<u8>>,
    /// It was told to be full, and nothing has gone out since.
    full: bool,
}

impl SimPipe {
    fn held(&self) -> usize {
        self.parts.iter().map(VecDeque::len).sum()
    }
}

impl Drop for SimPipe {
    fn drop(&mut self) {
        self.world.net().piping.lost += usize::from(!self.parts.is_empty());
    }
}

/// The byte that comes out next.
fn next_byte(parts: &mut VecDeque<VecDeque<u8>>) -> u8 {
    let part = parts.front_mut().expect("a pipe holds what it was asked for");
    let byte = part.pop_front().expect("no part is empty");
    if part.is_empty() {
        parts.pop_front();
    }
    byte
}

impl Socket {
    /// The proxy receives up to `max` bytes, which `keep` gets.
    fn take(&mut self, max: usize, keep: impl FnOnce(Drain<'_, u8>)) -> Moved {
        let n = max.min(self.rx.len());
        if n > 0 {
            keep(self.rx.drain(..n));
            self.taken += n;
            self.note_heard();
            self.told &= !self.rx.is_empty();
            Moved::Bytes(n)
        } else if std::mem::take(&mut self.error) {
            Moved::Failed
        } else if self.end || self.reset {
            Moved::End
        } else {
            Moved::Blocked
        }
    }

    /// The proxy sends up to `total` bytes, of which `bytes` gives the first.
    fn give(&mut self, id: usize, total: usize, bytes: impl FnOnce(usize) -> Vec<u8>) -> Moved {
        assert!(!self.blocked, "s{id}: a system call for nothing: there was no room and no event since");
        assert!(!self.tx_end, "nothing is sent after the end");
        if self.reset {
            // Telling an error clears it.
            self.error = false;
            return Moved::Failed;
        }
        let n = total.min(self.room.saturating_sub(self.tx.len()));
        if self.channel.is_some() {
            self.sealed = self.sent + total;
        }
        let bytes = bytes(n);
        self.log_sent(&bytes);
        if self.peer_closed {
            self.wire_reset |= n > 0;
        } else {
            self.tx.extend(bytes);
        }
        self.starved_of_room = n < total;
        self.blocked = n == 0;
        if n > 0 { Moved::Bytes(n) } else { Moved::Blocked }
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
    type Pipe = SimPipe;

    fn recv(&mut self, socket: &mut Sock, into: &mut [u8]) -> Moved {
        assert!(!into.is_empty(), "a receive needs room");
        self.meanwhile(socket.id);
        let id = socket.id;
        let mut net = self.world.net();
        let s = &mut net.sockets[id];
        let moved =
            s.take(into.len(), |bytes| into.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte));
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
        let moved =
            s.give(id, total, |n| slices.iter().flat_map(|slice| slice.iter().copied()).take(n).collect());
        net.note(|| format!("s{id} send {moved:?} of {total}"));
        moved
    }

    fn pipe(&mut self) -> Option<SimPipe> {
        let mut net = self.world.net();
        let Pipes { slots, denied, .. } = net.pipes.expect("without pipes none is asked for");
        if denied > 0 && net.rng.one_in(denied) {
            net.piping.denied += 1;
            return None;
        }
        net.piping.made += 1;
        Some(SimPipe { world: self.world.clone(), slots, parts: VecDeque::new(), full: false })
    }

    fn splice_in(&mut self, socket: &mut Sock, pipe: &mut SimPipe, max: usize) -> Moved {
        assert!(max > 0, "nothing is asked for");
        self.meanwhile(socket.id);
        let id = socket.id;
        let mut net = self.world.net();
        assert!(net.sockets[id].channel.is_none(), "s{id}: TLS is opened before it goes on");
        assert!(
            !pipe.full,
            "s{id}: a system call for nothing: the pipe was full and nothing has gone out since"
        );
        let free = pipe.slots - pipe.parts.len();
        let grain = net.rng.pick(&[1, 7, 300, 1448, 40_000]);
        let mut sizes: Vec<usize> = (0..free).map(|_| net.rng.range(1, grain)).collect();
        if net.rng.one_in(4) {
            sizes.truncate(1);
        }
        // Whether the source has ended is not looked at before there is room.
        let moved = if free == 0 {
            (pipe.full, net.piping.full) = (true, net.piping.full + 1);
            Moved::Blocked
        } else {
            let parts = &mut pipe.parts;
            net.sockets[id].take(max.min(sizes.iter().sum()), |bytes| {
                let mut bytes = bytes.peekable();
                for size in sizes {
                    parts.extend(
                        bytes.peek().is_some().then(|| bytes.by_ref().take(size).collect::<VecDeque<u8>>()),
                    );
                }
            })
        };
        net.note(|| format!("s{id} splice in {moved:?} of {max}"));
        moved
    }

    fn splice_out(&mut self, pipe: &mut SimPipe, socket: &mut Sock, max: usize) -> Moved {
        assert_eq!(max, pipe.held(), "the worker knows what is in the pipe");
        self.meanwhile(socket.id);
        let id = socket.id;
        let mut net = self.world.net();
        assert!(net.sockets[id].channel.is_none(), "s{id}: TLS is sealed before it goes out");
        // Less than there is room for may go at once.
        let most = if net.rng.one_in(4) { net.rng.range(1, max) } else { max };
        let parts = &mut pipe.parts;
        let moved = net.sockets[id].give(id, most, |n| (0..n).map(|_| next_byte(parts)).collect());
        if matches!(moved, Moved::Bytes(_)) {
            pipe.full = false;
        }
        net.note(|| format!("s{id} splice out {moved:?} of {max}"));
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
        let is_dialled = net.places[place].reachable || net.places[place].tls.is_some();
        assert!(is_dialled || door != Door::Open(0), "{address} must not be dialled");
        let opening = match door {
            Door::Open(delay) => Opening::At(now + delay),
            Door::Shut => return Err(What::ConnectRefused),
            Door::ShutLater(delay) => Opening::FailsAt(now + delay),
            Door::Silent => Opening::Never,
        };
        let id = net.open(Some(place), opening);
        net.sockets[id].owner = Some((self.worker, key.token(Side::Upstream)));
        net.secure_origin(id);
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

    fn reload(&mut self, _ask: ReloadAsk, _key: Key) -> Result<(), What> {
        Err(What::ReloadNoStore)
    }

    fn verify(&mut self, _login: Arc<Login>, _key: Key) -> Result<(), What> {
        Err(What::AuthBusy)
    }

    fn is_own_listener(&mut self, address: SocketAddr) -> bool {
        address.ip().to_string() == "10.99.0.1"
    }

    fn wall(&mut self) -> Wall {
        Wall::default()
    }

    fn log(&mut self, stream: Stream, lines: &[u8]) {
        assert_eq!(stream, Stream::Transactions);
        assert!(lines.ends_with(b"\n"), "whole lines only");
        self.world.net().lines.extend_from_slice(lines);
    }

    fn local_address(&mut self, _socket: &Sock) -> Option<SocketAddr> {
        None
    }
}
