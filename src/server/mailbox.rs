//! How threads reach a worker: messages in a queue, and a waker for its poll.

use crate::fault::What;
use crate::io::Addresses;
use crate::key::Key;
use crate::permits::{Grant, Herald, WorkerId};
use mio::Waker;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A client that has just connected.
#[derive(Debug)]
pub struct Arrival {
    /// The listener it connected to.
    pub listener: u8,
    /// Its connection.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
}

/// What a worker is told by others.
#[derive(Debug)]
pub enum Message {
    /// Serve this client: its worker is full.
    Adopt(Arrival),
    /// A wait for a permit is over.
    Granted(Grant),
    /// Somebody waits for a permit.
    YieldIdle,
    /// A name was resolved.
    Resolved {
        /// Who asked.
        key: Key,
        /// For which name.
        host: Box<str>,
        /// `None`: it has no address.
        addresses: Option<Addresses>,
    },
    /// A reload that a client asked for has ended.
    Reloaded {
        /// Who asked.
        key: Key,
        /// Why it did not succeed.
        outcome: Result<(), What>,
    },
    /// A credential was verified.
    Verified {
        /// Whose.
        key: Key,
        /// Why it does not pass.
        outcome: Result<(), What>,
    },
    /// Begin the shutdown.
    Drain,
    /// Panic, so that a test can see the worker start again.
    Panic,
}

/// One worker's queue.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Vec<Message>>,
    waker: Waker,
    /// A [`Message::YieldIdle`] is on its way already.
    yielding: AtomicBool,
}

impl Mailbox {
    /// An empty queue whose worker is woken by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self { queue: Mutex::default(), waker, yielding: AtomicBool::new(false) }
    }

    /// Puts a message in and wakes the worker.
    pub fn send(&self, message: Message) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.wake();
    }

    /// Wakes the worker without a message.
    pub fn wake(&self) {
        // An eventfd that cannot be written is full of wake-ups already.
        let _ = self.waker.wake();
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<Message> {
        self.yielding.store(false, Ordering::Release);
        std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask_to_yield(&self) {
        if !self.yielding.swap(true, Ordering::AcqRel) {
            self.send(Message::YieldIdle);
        }
    }
}

/// The post of all workers: how the pool limits reach them.
#[derive(Debug)]
pub struct Post(pub Arc<[Arc<Mailbox>]>);

impl Herald for Post {
    fn granted(&self, worker: WorkerId, grant: Grant) {
        self.0[worker].send(Message::Granted(grant));
    }

    fn wanted(&self, asking: WorkerId) {
        for (_, mailbox) in self.0.iter().enumerate().filter(|(worker, _)| *worker != asking) {
            mailbox.ask_to_yield();
        }
    }
}
