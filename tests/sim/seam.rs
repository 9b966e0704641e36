//! The library's seam to the world, on the simulated kernel: what one worker can do with sockets and names.

use super::script::{Dns, Door};
use super::world::{Opening, Question, World};
use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::fault::What;
use apim_proxy::io::{Addresses, Io, Lookup, Moved, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::policy::proxy_auth::Login;
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
            s.note_heard();
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
        assert!(!s.blocked, "s{id}: a system call for nothing: there was no room and no event since");
        assert!(!s.tx_end, "nothing is sent after the end");
        let moved = if s.reset {
            // Telling an error clears it.
            s.error = false;
            Moved::Failed
        } else {
            let n = total.min(s.room.saturating_sub(s.tx.len()));
            if s.channel.is_some() {
                s.sealed = s.sent + total;
            }
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(n).collect();
            s.log_sent(&bytes);
            if s.peer_closed {
                s.wire_reset |= n > 0;
            } else {
                s.tx.extend(bytes);
            }
            s.starved_of_room = n < total;
            s.blocked = n == 0;
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
