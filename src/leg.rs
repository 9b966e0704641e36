//! A leg: one socket with what it is ready for and what was received from it, in plain text or through TLS.

use crate::buf::{BufPool, Lease, SMALL};
use crate::fault::What;
use crate::io::{Io, Moved, Ready};
use crate::pipe::Pipe;
use crate::secure::{Secure, Shaken};
use std::io::IoSlice;

/// A receive of fewer bytes costs less through a buffer than through a pipe.
const FLOW_MIN: u64 = 16 * 1024;

/// One socket of a pair. It holds nothing bound to a thread, so it can change workers.
#[derive(Debug)]
pub struct Leg<S> {
    /// The socket.
    pub socket: S,
    /// Set by events; cleared only when the kernel said "not now".
    pub ready: Ready,
    /// What was received, opened if it came through TLS; leased while it holds something.
    pub inbound: Option<Lease>,
    /// What was received and not looked at, on its way to the other leg; then `inbound` is not leased.
    pub pipe: Option<Pipe>,
    /// TLS, if the connection speaks it.
    pub secure: Option<Box<Secure>>,
    /// Why TLS failed.
    pub fault: Option<What>,
    /// The peer has ended its stream.
    pub ended: bool,
    /// It ended it without a word of TLS: something may have been cut off.
    pub truncated: bool,
    /// The connection is gone: nothing can be received any more.
    pub failed: bool,
    /// Nothing can be sent any more; what the peer sent before may still be there.
    pub broken: bool,
    /// A TLS record waits for more room than there is.
    pub cramped: bool,
    /// The last receive filled its buffer: the next lease is a large one.
    bulk: bool,
    /// What the last receive brought.
    flow: u32,
    /// It went through a pipe.
    spliced: bool,
}

/// What a send did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// So many of the given bytes were taken: sent, or sealed on their way.
    pub taken: usize,
    /// Something went out.
    pub moved: bool,
}

/// What a receive did to the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes arrived.
    Bytes(usize),
    /// Only bytes of the transport arrived, none for us; there may be more.
    Silent,
    /// Nothing arrived, nothing changed.
    Nothing,
    /// The stream ended or failed: see the leg.
    Over,
}

impl<S> Leg<S> {
    /// A leg of a socket that has just been opened; with `secure`, a TLS handshake comes first.
    pub fn new(socket: S, secure: Option<Box<Secure>>) -> Self {
        Self {
            socket,
            ready: Ready::default(),
            inbound: None,
            pipe: None,
            secure,
            fault: None,
            ended: false,
            truncated: false,
            failed: false,
            broken: false,
            cramped: false,
            bulk: false,
            flow: 0,
            spliced: false,
        }
    }

    /// Merges what an event says.
    pub fn wake(&mut self, ready: Ready) {
        // A dead connection may still hold what the peer sent last; only a receive tells.
        self.ready.readable |= ready.readable || ready.dead;
        self.ready.writable |= ready.writable;
        self.ready.read_closed |= ready.read_closed;
        self.ready.dead |= ready.dead;
    }

    /// Whether a receive makes sense: something may be there and there is room for it.
    pub fn can_receive(&self) -> bool {
        if self.ended || self.failed || self.pipe.is_some() {
            return false;
        }
        match &self.secure {
            Some(secure) => secure.can_receive(self.ready.readable, self.inbound.as_ref()),
            None => self.ready.readable && self.inbound.as_ref().is_none_or(|buf| buf.has_room()),
        }
    }

    /// Whether the socket has anything to say: bytes, an end or an error.
    pub fn has_news(&self) -> bool {
        self.ready.readable && !self.ended && !self.failed
    }

    /// Whether a pipe is worth its while for the `left` bytes of a body, when bodies of `min` bytes have one: so much
    /// has to arrive at once.
    pub fn suits_pipe(&self, left: u64, min: u64) -> bool {
        u64::from(self.flow) >= min.min(FLOW_MIN) && (left >= min || (left > 0 && self.spliced))
    }

    /// `n` bytes went into the pipe: what follows this body begins with a head, for which a small buffer will do.
    pub fn note_spliced(&mut self, n: usize) {
        (self.flow, self.spliced, self.bulk) = (n as u32, true, false);
    }

    /// Receives once into the leased buffer (leasing it first). An emptied lease goes back.
    pub fn receive(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        if self.secure.is_some() {
            return self.receive_secure(io, bufs);
        }
        let mut buf = self.inbound.take().unwrap_or_else(|| bufs.lease_sized(self.bulk));
        let moved = self.receive_into(io, &mut buf);
        self.inbound = Some(buf);
        self.tidy(bufs);
        self.judge_moved(moved)
    }

    /// Receives once and drops what arrives, opened or not.
    pub fn discard(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        let mut buf = bufs.lease();
        let moved = self.receive_into(io, &mut buf);
        bufs.give_back(buf);
        self.judge_moved(moved)
    }

    /// Opens what has arrived; when that gives nothing, receives once and opens again.
    fn receive_secure(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        let opened = self.open(io, bufs);
        if opened != Received::Nothing || !self.ready.readable {
            return opened;
        }
        let received = self.receive_sealed(io, bufs);
        if matches!(received, Received::Bytes(_)) {
            // What does not make a whole record is progress all the same.
            return match self.open(io, bufs) {
                Received::Nothing => Received::Silent,
                opened => opened,
            };
        }
        if received == Received::Over {
            self.truncated = true;
        }
        received
    }

    /// Receives once into the buffer of sealed bytes.
    fn receive_sealed(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        let Some(secure) = &mut self.secure else { return Received::Nothing };
        let mut buf = secure.sealed.inbound.take().unwrap_or_else(|| bufs.lease_sized(self.bulk));
        // Only parts of a handshake message can fill it: a single record has room in the smallest.
        if !buf.has_room() && !bufs.enlarge(&mut buf) {
            self.fail(What::Overloaded);
        }
        let moved = if self.failed { Moved::Failed } else { self.receive_into(io, &mut buf) };
        if let Some(secure) = &mut self.secure {
            secure.sealed.inbound = Some(buf);
            secure.tidy(bufs);
        }
        self.judge_moved(moved)
    }

    /// Opens as many records as have arrived and have room. What the protocol has to say to that goes out.
    fn open(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        let Some(secure) = &mut self.secure else { return Received::Nothing };
        let opened = secure.open(&mut self.inbound, self.bulk, bufs);
        self.cramped = opened.cramped;
        if let Some(what) = opened.fault {
            self.fail(what);
        }
        self.ended |= opened.ended;
        self.tidy(bufs);
        if opened.silent || opened.fault.is_some() {
            self.flush(io, bufs);
        }
        match opened.bytes {
            0 if self.failed || self.ended => Received::Over,
            0 if opened.silent => Received::Silent,
            0 => Received::Nothing,
            n => Received::Bytes(n),
        }
    }

    /// TLS has failed for this reason; the first one counts.
    fn fail(&mut self, what: What) {
        self.failed = true;
        self.fault.get_or_insert(what);
    }

    /// One receive, and what it says of the socket.
    fn receive_into(&mut self, io: &mut impl Io<Socket = S>, buf: &mut Lease) -> Moved {
        let room = buf.free_mut();
        let wanted = room.len();
        let moved = io.recv(&mut self.socket, room);
        if let Moved::Bytes(n) = moved {
            buf.received(n);
            (self.flow, self.spliced) = (n as u32, false);
            self.bulk = n == wanted && n >= SMALL / 2;
            // A short receive proves the queue empty, unless the end of the stream is queued behind it (epoll(7)).
            if n < wanted && !self.ready.read_closed && !self.broken {
                self.ready.readable = false;
            }
        }
        moved
    }

    /// What a receive of `moved` says of the socket.
    pub fn judge_moved(&mut self, moved: Moved) -> Received {
        match moved {
            Moved::Bytes(n) => Received::Bytes(n),
            Moved::Blocked if !self.broken => {
                self.ready.readable = false;
                Received::Nothing
            }
            Moved::End if !self.broken => {
                self.ended = true;
                Received::Over
            }
            // A failed send has used up the error: what looks like an end or like nothing now is the reset.
            Moved::Blocked | Moved::End | Moved::Failed => {
                self.failed = true;
                Received::Over
            }
        }
    }

    /// Sends from two places in order and notes readiness and failure; through TLS, what was sealed before goes first.
    pub fn send(
        &mut self,
        io: &mut impl Io<Socket = S>,
        bufs: &mut BufPool,
        first: &[u8],
        second: &[u8],
    ) -> Sent {
        if self.secure.is_some() {
            return self.send_secure(io, bufs, first, second);
        }
        let taken = match (first.is_empty(), second.is_empty()) {
            (false, false) => self.send_slices(io, &[IoSlice::new(first), IoSlice::new(second)]),
            (false, true) => self.send_slices(io, &[IoSlice::new(first)]),
            (true, false) => self.send_slices(io, &[IoSlice::new(second)]),
            (true, true) => 0,
        };
        Sent { taken, moved: taken > 0 }
    }

    fn send_slices(&mut self, io: &mut impl Io<Socket = S>, slices: &[IoSlice<'_>]) -> usize {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        let moved = io.send(&mut self.socket, slices);
        let n = self.judge_sent(moved);
        self.ready.writable &= n == wanted;
        n
    }

    /// What a send says of the socket; how many bytes went out.
    pub fn judge_sent(&mut self, moved: Moved) -> usize {
        match moved {
            Moved::Bytes(n) => n,
            Moved::Blocked => {
                self.ready.writable = false;
                0
            }
            Moved::End | Moved::Failed => {
                self.broken = true;
                self.ready.readable = true;
                0
            }
        }
    }

    /// Seals and sends in turn until everything is sealed and sent, or the kernel has had enough.
    fn send_secure(
        &mut self,
        io: &mut impl Io<Socket = S>,
        bufs: &mut BufPool,
        first: &[u8],
        second: &[u8],
    ) -> Sent {
        let mut sent = Sent::default();
        // Behind the alert of a session that has failed nothing can be said.
        if self.failed {
            return sent;
        }
        loop {
            let Some(secure) = &mut self.secure else { return sent };
            match secure.seal(first, second, sent.taken, bufs) {
                Ok(n) => sent.taken += n,
                Err(what) => {
                    self.fail(what);
                    self.broken = true;
                }
            }
            let moved = self.flush(io, bufs);
            sent.moved |= moved;
            if self.broken && !sent.moved {
                // What was sealed just now never left: it may be sent elsewhere.
                sent.taken = 0;
                return sent;
            }
            if !moved || self.has_unsent() || sent.taken == first.len() + second.len() {
                return sent;
            }
        }
    }

    /// Sends what is sealed, as far as the kernel takes it; says whether anything went out.
    fn flush(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> bool {
        let Some(mut buf) = self.secure.as_mut().and_then(|secure| secure.sealed.out.take()) else {
            return false;
        };
        let mut moved = false;
        if !buf.is_empty() && self.ready.writable && !self.broken {
            let n = self.send_slices(io, &[IoSlice::new(buf.passed())]);
            buf.sent(n);
            moved = n > 0;
        }
        if let Some(secure) = &mut self.secure {
            secure.sealed.out = Some(buf);
            if self.broken {
                secure.drop_out(bufs);
            }
            secure.tidy(bufs);
        }
        moved
    }

    /// Whether sealed bytes wait to be sent.
    pub fn has_unsent(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.sealed.out.is_some())
    }

    /// Whether received bytes wait that are not opened.
    pub fn has_sealed(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.sealed.inbound.is_some())
    }

    /// Whether it holds any buffer or pipe.
    pub fn is_holding(&self) -> bool {
        self.inbound.is_some() || self.pipe.is_some() || self.has_unsent() || self.has_sealed()
    }

    /// Buffers it holds.
    pub fn leases(&self) -> usize {
        usize::from(self.inbound.is_some()) + usize::from(self.has_unsent()) + usize::from(self.has_sealed())
    }

    /// Takes the TLS handshake as far as it goes.
    pub fn shake(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Shaken {
        loop {
            let Some(secure) = &mut self.secure else { return Shaken::Secure };
            let shaken = secure.shake(bufs);
            if let Shaken::Failed(what) = shaken {
                self.fail(what);
            }
            self.flush(io, bufs);
            if shaken != Shaken::Waiting {
                return shaken;
            }
            if self.broken && !self.ready.readable || self.failed || self.ended {
                return Shaken::Lost;
            }
            if !self.ready.readable {
                return Shaken::Waiting;
            }
            match self.receive_sealed(io, bufs) {
                Received::Bytes(_) | Received::Silent => {}
                Received::Nothing => return Shaken::Waiting,
                Received::Over => return Shaken::Lost,
            }
        }
    }

    /// Says in TLS that nothing follows, once, as far as the kernel takes it; says whether it had still to be said.
    pub fn farewell(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> bool {
        let usable = !self.failed && !self.broken;
        let said = self.secure.as_mut().is_some_and(|secure| usable && secure.close(bufs));
        if said {
            self.flush(io, bufs);
        }
        said
    }

    /// Whether TLS has said that nothing follows: what still arrives is not opened then.
    pub fn has_said_farewell(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.has_closed())
    }

    /// Ends our stream: nothing follows.
    pub fn finish(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) {
        self.farewell(io, bufs);
        io.finish(&mut self.socket);
    }

    /// Whether the connection can carry nothing more in either direction.
    pub fn is_over(&self) -> bool {
        self.failed || self.broken || self.ended
    }

    /// Returns the lease if it holds nothing.
    pub fn tidy(&mut self, bufs: &mut BufPool) {
        if let Some(buf) = self.inbound.take_if(|buf| buf.is_empty()) {
            bufs.give_back(buf);
        }
    }

    /// Returns every lease whatever it holds.
    pub fn empty(&mut self, bufs: &mut BufPool) {
        if let Some(buf) = self.inbound.take() {
            bufs.give_back(buf);
        }
        if let Some(secure) = &mut self.secure {
            secure.empty(bufs);
        }
    }

    /// Received bytes that no judge has seen.
    pub fn pending(&self) -> &[u8] {
        self.inbound.as_ref().map_or(&[], |buf| buf.pending())
    }

    /// Whether anything of it waits to be sent to the other leg.
    pub fn has_passed(&self) -> bool {
        self.pipe.is_some() || !self.passed().is_empty()
    }

    /// Judged bytes in the buffer that wait to be sent to the other leg.
    pub fn passed(&self) -> &[u8] {
        self.inbound.as_ref().map_or(&[], |buf| buf.passed())
    }
    /// What must always hold. For tests; how many pipes it has.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check(&self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        assert!(pipe.held() > 0, "an empty pipe is returned");
        assert!(self.inbound.is_none() && self.secure.is_none(), "bytes are in a buffer or in a pipe");
        1
    }
}
