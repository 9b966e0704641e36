//! A leg: one socket with what it is ready for and what was received from it.

use crate::buf::{BufPool, Lease, SMALL};
use crate::io::{Io, Moved, Ready};
use std::io::IoSlice;

/// One socket of a pair. It holds nothing bound to a thread, so it can change workers.
#[derive(Debug)]
pub struct Leg<S> {
    /// The socket.
    pub socket: S,
    /// Set by events; cleared only when the kernel said "not now".
    pub ready: Ready,
    /// What was received; leased while it holds something.
    pub inbound: Option<Lease>,
    /// The peer has ended its stream.
    pub ended: bool,
    /// The connection is gone: nothing can be received any more.
    pub failed: bool,
    /// Nothing can be sent any more; what the peer sent before may still be there.
    pub broken: bool,
    /// The last receive filled its buffer: the next lease is a large one.
    bulk: bool,
}

/// What a receive did to the leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes arrived.
    Bytes(usize),
    /// Nothing arrived, nothing changed.
    Nothing,
    /// The stream ended or failed: see the leg.
    Over,
}

impl<S> Leg<S> {
    /// A leg of a socket that has just been opened.
    pub fn new(socket: S) -> Self {
        Self {
            socket,
            ready: Ready::default(),
            inbound: None,
            ended: false,
            failed: false,
            broken: false,
            bulk: false,
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
        self.ready.readable
            && !self.ended
            && !self.failed
            && self.inbound.as_ref().is_none_or(|buf| buf.has_room())
    }

    /// Receives once into the leased buffer (leasing it first). An emptied lease goes back.
    pub fn receive(&mut self, io: &mut impl Io<Socket = S>, bufs: &mut BufPool) -> Received {
        let mut buf = self.inbound.take().unwrap_or_else(|| {
            let large = if self.bulk { bufs.lease_large() } else { None };
            large.unwrap_or_else(|| bufs.lease())
        });
        let room = buf.free_mut();
        let wanted = room.len();
        let moved = io.recv(&mut self.socket, room);
        if let Moved::Bytes(n) = moved {
            buf.received(n);
            self.bulk = n == wanted && n >= SMALL / 2;
            // A short receive proves the queue empty, unless the end of the stream is queued behind it (epoll(7)).
            if n < wanted && !self.ready.read_closed && !self.broken {
                self.ready.readable = false;
            }
        }
        self.inbound = Some(buf);
        self.tidy(bufs);
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

    /// Sends from two places in order; returns how many bytes went out and notes readiness and failure.
    pub fn send(&mut self, io: &mut impl Io<Socket = S>, first: &[u8], second: &[u8]) -> usize {
        let wanted = first.len() + second.len();
        let moved = match (first.is_empty(), second.is_empty()) {
            (false, false) => io.send(&mut self.socket, &[IoSlice::new(first), IoSlice::new(second)]),
            (false, true) => io.send(&mut self.socket, &[IoSlice::new(first)]),
            (true, false) => io.send(&mut self.socket, &[IoSlice::new(second)]),
            (true, true) => return 0,
        };
        match moved {
            Moved::Bytes(n) => {
                self.ready.writable = n == wanted;
                n
            }
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

    /// Returns the lease whatever it holds.
    pub fn empty(&mut self, bufs: &mut BufPool) {
        if let Some(buf) = self.inbound.take() {
            bufs.give_back(buf);
        }
    }

    /// Received bytes that no judge has seen.
    pub fn pending(&self) -> &[u8] {
        self.inbound.as_ref().map_or(&[], |buf| buf.pending())
    }

    /// Judged bytes that wait to be sent to the other leg.
    pub fn passed(&self) -> &[u8] {
        self.inbound.as_ref().map_or(&[], |buf| buf.passed())
    }
}
