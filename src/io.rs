//! The seam between the worker and the world. Below it are real sockets (`net`) or the simulator's byte queues;
//! above it there is no clock, entropy, thread or file.

use crate::access::Stream;
use crate::access::stamp::Wall;
use crate::fault::What;
use crate::key::{Key, Side};
use crate::policy::groups::GroupNumber;
use crate::policy::proxy_auth::Login;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What one receive or send moved. End of stream, "not now" and failure are three different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// This many bytes, at least one.
    Bytes(usize),
    /// The peer will send no more (receive only).
    End,
    /// Nothing now; an event will tell.
    Blocked,
    /// The connection is gone: reset, broken pipe, timed out in the kernel.
    Failed,
}

/// What an event says of a socket; merged into the leg's readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Bytes, an end or an error can be received.
    pub readable: bool,
    /// Bytes can be sent, or a connect has ended.
    pub writable: bool,
    /// The peer has shut down its sending side: a short receive does not prove the queue empty.
    pub read_closed: bool,
    /// The connection is dead both ways (reset or fully closed).
    pub dead: bool,
}

/// The addresses a name stands for, in the order to try.
pub type Addresses = Arc<[IpAddr]>;

/// What is known of a name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Known (or a literal address).
    Found(Addresses),
    /// Known not to exist.
    Failed,
    /// Being asked; the answer arrives as an event for the key and the host that were asked for.
    Pending,
}

/// Whose certificate is to be trusted from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadAsk {
    /// The target's host: a name, or a literal without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// Who asks, for the log.
    pub client: IpAddr,
    /// Its group, for the egress policy.
    pub group: GroupNumber,
}

/// The world as the worker sees it.
pub trait Io {
    /// A connected or connecting stream socket; closed when dropped. `Send`, so that a leg can change workers.
    type Socket: Send;
    /// A pipe between two sockets; closed when dropped.
    type Pipe: Send;

    /// Receives into `into`, which is not empty.
    fn recv(&mut self, socket: &mut Self::Socket, into: &mut [u8]) -> Moved;

    /// Sends from `slices` in order; at least one is not empty.
    fn send(&mut self, socket: &mut Self::Socket, slices: &[IoSlice<'_>]) -> Moved;

    /// Opens a pipe; `None` when there are no more or they do not help here: bytes are copied then.
    fn pipe(&mut self) -> Option<Self::Pipe>;

    /// Moves up to `max` received bytes from a socket into a pipe. `Blocked` may also mean that the pipe is full: it
    /// is for the caller to know whether it holds anything.
    fn splice_in(&mut self, socket: &mut Self::Socket, pipe: &mut Self::Pipe, max: usize) -> Moved;

    /// Sends up to `max` bytes of a pipe, which holds as many.
    fn splice_out(&mut self, pipe: &mut Self::Pipe, socket: &mut Self::Socket, max: usize) -> Moved;

    /// Registers a socket for both directions, edge-triggered, under the token of `key`.
    ///
    /// # Errors
    /// When the kernel has no room; the socket is then to be dropped.
    fn register(&mut self, socket: &mut Self::Socket, key: Key, side: Side) -> Result<(), What>;

    /// Starts a connection to `address` and registers it under the upstream token of `key`.
    ///
    /// # Errors
    /// When it fails at once: the fault the exchange reports if no other address works.
    fn connect(&mut self, address: SocketAddr, key: Key) -> Result<Self::Socket, What>;

    /// Asks how a connect stands once an event arrived: open, or (`false`) still opening.
    ///
    /// # Errors
    /// The reason it failed.
    fn connected(&mut self, socket: &mut Self::Socket) -> Result<bool, What>;

    /// Half-closes: sends the end of our stream.
    fn finish(&mut self, socket: &mut Self::Socket);

    /// Closes with a reset instead of an end of stream.
    fn reset(&mut self, socket: Self::Socket);

    /// Looks `host` up; when pending, the answer arrives for the client `key` that asked.
    fn resolve(&mut self, host: &str, key: Key) -> Lookup;

    /// Has the certificate of a target added to those we trust; the outcome arrives for the client `key` that asked.
    ///
    /// # Errors
    /// When nobody will do it.
    fn reload(&mut self, ask: ReloadAsk, key: Key) -> Result<(), What>;

    /// Has a credential verified, which takes longer than a turn may; the outcome arrives for the client `key`.
    ///
    /// # Errors
    /// When too many wait already.
    fn verify(&mut self, login: Arc<Login>, key: Key) -> Result<(), What>;

    /// Whether dialling `address` would reach one of our own listeners.
    fn is_own_listener(&mut self, address: SocketAddr) -> bool;

    /// How the worker's clock relates to the wall's; asked once a second at most.
    fn wall(&mut self) -> Wall;

    /// Takes whole lines of a log, and does not wait for a disk.
    fn log(&mut self, stream: Stream, lines: &[u8]);

    /// Our end of a connection; asked where a log shows it.
    fn local_address(&mut self, socket: &Self::Socket) -> Option<SocketAddr>;
}
