//! The real world behind the [`Io`] seam: mio sockets on one poll, and the resolver.

use crate::access::Stream;
use crate::access::stamp::Wall;
use crate::fault::What;
use crate::io::{Io, Lookup, Moved, Ready, ReloadAsk};
use crate::key::{Key, Side};
use crate::logging;
use crate::logging::streams::Streams;
use crate::policy::proxy_auth::Login;
use crate::renewal::desk::{Answer, Declined, Desk, Order, Plant};
use crate::resolve::{Notify, Resolver};
use crate::server::mailbox::{Mailbox, Message};
use crate::server::verifier::Verifier;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use socket2::SockRef;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of pages a pipe has room for, if the kernel lets us.
const PIPE_BYTES: usize = 256 * 1024;
/// Beyond a user's soft limit (`/proc/sys/fs/pipe-user-pages-soft`) the kernel gives pipes of a page or two, which
/// cost more than they save.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// One worker's sockets.
pub struct Net {
    /// Where they are registered.
    pub registry: Registry,
    /// Who knows names.
    pub resolver: Arc<Resolver>,
    /// Where answers of the others go.
    pub mailbox: Arc<Mailbox>,
    /// Where orders are left for whoever reloads.
    pub desk: Arc<Desk>,
    /// Who knows passwords.
    pub verifier: Arc<Verifier>,
    /// The addresses of our own listeners.
    pub own: Arc<[SocketAddr]>,
    /// Where lines go.
    pub streams: Arc<Streams>,
    /// Zero on the worker's clock.
    pub start: Instant,
}

/// What an event of the poll says, in the worker's words.
pub fn ready(event: &Event) -> Ready {
    Ready {
        readable: event.is_readable() || event.is_read_closed(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        dead: event.is_error() || event.is_write_closed(),
    }
}

fn moved(result: std::io::Result<usize>) -> Moved {
    match result {
        Ok(0) => Moved::End,
        Ok(n) => Moved::Bytes(n),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Moved::Blocked
        }
        Err(_) => Moved::Failed,
    }
}

/// A pipe of the kernel.
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Moves up to `max` bytes; one of the two is a pipe.
fn spliced(from: impl AsFd, to: impl AsFd, max: usize) -> Moved {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(from.as_fd(), None, to.as_fd(), None, max, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => return moved(result.map_err(Into::into)),
        }
    }
}

fn dial_fault(error: &std::io::Error) -> What {
    match error.kind() {
        ErrorKind::ConnectionRefused => What::ConnectRefused,
        ErrorKind::TimedOut => What::ConnectTimeout,
        _ => What::ConnectFailed,
    }
}

impl Io for Net {
    type Socket = TcpStream;
    type Pipe = Pipe;

    fn recv(&mut self, socket: &mut TcpStream, into: &mut [u8]) -> Moved {
        loop {
            match socket.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return moved(result),
            }
        }
    }

    fn send(&mut self, socket: &mut TcpStream, slices: &[IoSlice<'_>]) -> Moved {
        loop {
            let result = match slices {
                [one] => socket.write(one),
                several => socket.write_vectored(several),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return moved(result),
            }
        }
    }

    fn pipe(&mut self) -> Option<Pipe> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // What was refused shows in what it is.
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES);
        let bytes = fcntl_getpipe_size(&write).ok()?;
        (bytes >= PIPE_BYTES_MIN).then_some(Pipe { read, write })
    }

    fn splice_in(&mut self, socket: &mut TcpStream, pipe: &mut Pipe, max: usize) -> Moved {
        spliced(socket, &pipe.write, max)
    }

    fn splice_out(&mut self, pipe: &mut Pipe, socket: &mut TcpStream, max: usize) -> Moved {
        spliced(&pipe.read, socket, max)
    }

    fn register(&mut self, socket: &mut TcpStream, key: Key, side: Side) -> Result<(), What> {
        self.registry
            .register(socket, Token(key.token(side)), Interest::READABLE | Interest::WRITABLE)
            .map_err(|_| What::Overloaded)
    }

    fn connect(&mut self, address: SocketAddr, key: Key) -> Result<TcpStream, What> {
        let mut socket = TcpStream::connect(address).map_err(|error| dial_fault(&error))?;
        socket.set_nodelay(true).map_err(|error| dial_fault(&error))?;
        self.register(&mut socket, key, Side::Upstream)?;
        Ok(socket)
    }

    fn connected(&mut self, socket: &mut TcpStream) -> Result<bool, What> {
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            return Err(dial_fault(&error));
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(dial_fault(&error)),
        }
    }

    fn finish(&mut self, socket: &mut TcpStream) {
        // A peer that is gone already makes this fail; the next receive says so.
        let _ = socket.shutdown(Shutdown::Write);
    }

    fn reset(&mut self, socket: TcpStream) {
        // Without the option the close is a plain one, which is all that is left to do.
        let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }

    fn resolve(&mut self, host: &str, key: Key) -> Lookup {
        let (mailbox, asked) = (Arc::clone(&self.mailbox), Box::<str>::from(host));
        let notify: Notify = Arc::new(move |key, addresses| {
            mailbox.send(Message::Resolved { key, host: asked.clone(), addresses });
        });
        self.resolver.lookup(host, Instant::now(), key, &notify)
    }

    fn reload(&mut self, ask: ReloadAsk, key: Key) -> Result<(), What> {
        let answer = Answer::to(Arc::clone(&self.mailbox), key);
        let order = Order::Plant(Plant { ask, since: Instant::now(), answer });
        self.desk.put(order).map_err(|declined| match declined {
            Declined::Closed => What::ReloadNoStore,
            Declined::Full => What::Overloaded,
        })
    }

    fn verify(&mut self, login: Arc<Login>, key: Key) -> Result<(), What> {
        self.verifier.put(&login, &self.mailbox, key)
    }

    fn is_own_listener(&mut self, address: SocketAddr) -> bool {
        is_own_listener(&self.own, address)
    }

    fn wall(&mut self) -> Wall {
        let since_start = self.start.elapsed().as_micros() as i64;
        // A clock before 1970 is no clock.
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as i64);
        Wall { origin: epoch - since_start, zone: logging::zone_seconds() }
    }

    fn log(&mut self, stream: Stream, lines: &[u8]) {
        self.streams.hand_over(stream, lines);
    }

    fn local_address(&mut self, socket: &TcpStream) -> Option<SocketAddr> {
        socket.local_addr().ok()
    }
}

/// Whether dialling `address` would reach one of the listeners at `own`.
pub fn is_own_listener(own: &[SocketAddr], address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    own.iter().any(|own| {
        own.port() == address.port()
            // The kernel takes the unspecified address for this very machine.
            && (own.ip().to_canonical() == ip
                || ip.is_unspecified()
                || own.ip().is_unspecified() && is_local(ip))
    })
}

/// Whether `ip` is an address of this machine: only those can be bound.
fn is_local(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() || TcpListener::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_wildcard_are_local_and_a_documentation_address_is_not() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"] {
            assert!(is_local(local.parse().expect("literal")), "{local}");
        }
        assert!(!is_local("192.0.2.1".parse().expect("literal")));
    }
}
