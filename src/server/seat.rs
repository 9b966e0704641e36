//! A worker's seat: the thread, poll, listeners and numbers that outlive the worker when it fails.

use crate::listener::{Accepted, Reserve};
use crate::logging::streams::Streams;
use crate::net::{self, Net};
use crate::permits::{Permits, WorkerId};
use crate::renewal::desk::Desk;
use crate::resolve::Resolver;
use crate::server::current::Current;
use crate::server::mailbox::{Arrival, Mailbox, Message};
use crate::server::verifier::Verifier;
use crate::stats::{Counter, Stats};
use crate::time::Now;
use crate::worker::Worker;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// The token of the first listener, the others' are the next: no slot has their indexes.
const LISTENERS: usize = 0x7fff_ffff_ffff_ff00;
/// How many listeners there can be.
pub const LISTENERS_MAX: usize = 4;
/// The mailbox's token.
pub const MAIL: Token = Token(0x7fff_fffe_ffff_ffff);

/// Events taken from the poll at once.
const EVENTS_MAX: usize = 1024;
/// Clients of one listener accepted in one turn before the others get theirs.
const ACCEPTS_MAX: usize = 64;

/// What all workers share.
#[derive(Clone)]
pub struct Shared {
    /// When the process started: zero on the workers' clock.
    pub start: Instant,
    /// The engine's configuration.
    pub current: Arc<Current>,
    /// The pool limits.
    pub permits: Arc<Permits>,
    /// The resolver.
    pub resolver: Arc<Resolver>,
    /// Every worker's mailbox.
    pub mailboxes: Arc<[Arc<Mailbox>]>,
    /// Every worker's numbers.
    pub stats: Arc<[Arc<Stats>]>,
    /// Where requests for a reload go.
    pub desk: Arc<Desk>,
    /// Where passwords are verified.
    pub verifier: Arc<Verifier>,
    /// The addresses of our listeners.
    pub own: Arc<[SocketAddr]>,
    /// Where the lines of exchanges go.
    pub streams: Arc<Streams>,
}

/// A listener's socket of one worker.
struct Door {
    socket: TcpListener,
    /// Clients may be waiting.
    waiting: bool,
}

/// One worker's place.
pub struct Seat {
    id: WorkerId,
    poll: Poll,
    /// Empty once we drain.
    listeners: Vec<Door>,
    shared: Shared,
    draining: bool,
}

impl Seat {
    /// A seat at `poll`, which the worker's mailbox wakes already.
    ///
    /// # Errors
    /// When a listener cannot be registered.
    pub fn new(id: WorkerId, poll: Poll, listeners: Vec<TcpListener>, shared: Shared) -> io::Result<Self> {
        assert!(listeners.len() <= LISTENERS_MAX, "every listener has a token");
        let mut doors = Vec::new();
        for (index, mut socket) in listeners.into_iter().enumerate() {
            poll.registry().register(&mut socket, Token(LISTENERS + index), Interest::READABLE)?;
            doors.push(Door { socket, waiting: false });
        }
        Ok(Self { id, poll, listeners: doors, shared, draining: false })
    }

    /// Works until drained. A worker that fails loses its connections and starts anew on the same listeners; the panic
    /// hook has logged why.
    pub fn occupy(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.work())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    log::error!("worker {} cannot poll its sockets and ends: {error}", self.id);
                    return;
                }
                Err(_) => {
                    self.stats().count(Counter::Panics);
                    log::error!("worker {} failed and starts again; its connections were closed", self.id);
                }
            }
        }
    }

    fn stats(&self) -> &Stats {
        &self.shared.stats[self.id]
    }

    fn now(&self) -> Now {
        Now(self.shared.start.elapsed().as_micros() as u64)
    }

    fn worker(&self) -> io::Result<Worker<Net>> {
        let shared = &self.shared;
        let net = Net {
            registry: self.poll.registry().try_clone()?,
            resolver: Arc::clone(&shared.resolver),
            mailbox: Arc::clone(&shared.mailboxes[self.id]),
            desk: Arc::clone(&shared.desk),
            verifier: Arc::clone(&shared.verifier),
            own: Arc::clone(&shared.own),
            streams: Arc::clone(&shared.streams),
            start: shared.start,
        };
        Ok(Worker::new(
            net,
            self.id,
            shared.current.config(),
            Arc::clone(&shared.stats[self.id]),
            Arc::clone(&shared.permits),
            self.now(),
        )
        .of_incarnation(self.stats().value(Counter::Panics) as u8))
    }

    fn work(&mut self) -> io::Result<()> {
        let mut generation = self.shared.current.generation();
        let mut worker = self.worker()?;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut reserve = Reserve::new();
        // A worker before this one may have been told of clients and mail it never got to.
        self.listeners.iter_mut().for_each(|door| door.waiting = true);
        let mut sleep = Some(crate::time::Millis(0));
        if self.draining {
            worker.drain();
        }
        loop {
            match self.poll.poll(&mut events, sleep.map(crate::time::Millis::duration)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            worker.begin_turn(self.now());
            let newest = self.shared.current.generation();
            if std::mem::replace(&mut generation, newest) != newest {
                worker.reload(self.shared.current.config());
            }
            let mut mail = sleep == Some(crate::time::Millis(0));
            for event in &events {
                match event.token() {
                    MAIL => mail = true,
                    Token(token) => match self.listeners.get_mut(token.wrapping_sub(LISTENERS)) {
                        Some(door) => door.waiting = true,
                        None => worker.event(token, net::ready(event)),
                    },
                }
            }
            self.accept(&mut worker, &mut reserve);
            if mail {
                self.read_mail(&mut worker, &mut reserve);
            }
            sleep = worker.end_turn();
            if self.draining && worker.clients() == 0 {
                return Ok(());
            }
            if self.has_waiting() {
                sleep = Some(crate::time::Millis(0));
            }
        }
    }

    /// Whether clients may be waiting at any listener.
    fn has_waiting(&self) -> bool {
        self.listeners.iter().any(|door| door.waiting)
    }

    /// Accepts clients: of each listener at most so many that the others, and those who are here, get their turn.
    fn accept(&mut self, worker: &mut Worker<Net>, reserve: &mut Reserve) {
        for listener in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_MAX {
                let door = &mut self.listeners[listener];
                if !door.waiting {
                    break;
                }
                match reserve.accept(&door.socket) {
                    Accepted::Client(stream, peer) => {
                        self.place(worker, Arrival { listener: listener as u8, stream, peer });
                    }
                    Accepted::Lost => self.stats().count(Counter::Rejected),
                    Accepted::Nobody => door.waiting = false,
                }
            }
        }
    }

    /// Serves a client here, or where there is room, or tells it that there is none.
    fn place(&self, worker: &mut Worker<Net>, arrival: Arrival) {
        let Arrival { listener, stream, peer } = arrival;
        let Err(stream) = worker.accept(listener, stream, peer) else { return };
        let clients_max = self.shared.current.config().limits.clients_max as u64;
        let others = (0..self.shared.stats.len()).filter(|other| *other != self.id);
        let clients = |worker: &WorkerId| self.shared.stats[*worker].value(Counter::ClientsNow);
        match others.min_by_key(clients).filter(|other| clients(other) < clients_max) {
            Some(other) => {
                self.stats().count(Counter::HandedOff);
                self.shared.mailboxes[other].send(Message::Adopt(Arrival { listener, stream, peer }));
            }
            None => worker.reject(listener, stream, peer),
        }
    }

    fn read_mail(&mut self, worker: &mut Worker<Net>, reserve: &mut Reserve) {
        for message in self.shared.mailboxes[self.id].take() {
            match message {
                Message::Adopt(Arrival { listener, stream, peer }) => {
                    if let Err(stream) = worker.accept(listener, stream, peer) {
                        worker.reject(listener, stream, peer);
                    }
                }
                Message::Granted((key, permit)) => worker.granted(key, permit),
                Message::YieldIdle => worker.yield_idle(),
                Message::Resolved { key, host, addresses } => worker.resolved(key, &host, addresses),
                Message::Reloaded { key, outcome } => worker.reloaded(key, outcome),
                Message::Verified { key, outcome } => worker.verified(key, outcome),
                Message::Drain => {
                    // Who is in a queue already is served; closing the listener would reset them.
                    self.listeners.iter_mut().for_each(|door| door.waiting = true);
                    while self.has_waiting() {
                        self.accept(worker, reserve);
                    }
                    self.listeners.clear();
                    self.draining = true;
                    worker.drain();
                }
                Message::Panic => panic!("a test asked worker {} to panic", self.id),
            }
        }
    }
}
