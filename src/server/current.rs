//! The configuration that counts now, for every worker: replaced whole, taken up by each at the beginning of its next
//! turn.
//!
//! A message could be lost with the worker that fails before it reads it; this cannot. And whoever has been told that a
//! reload is complete finds it complete, on whichever worker: no turn that begins later uses the old configuration.

use crate::engine::Config;
use crate::renewal::board::Board;
use crate::renewal::desk::Desk;
use crate::resolve::Resolver;
use crate::server::mailbox::Mailbox;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a reload reaches of a server.
#[derive(Clone)]
pub struct Readers {
    /// The configuration of all workers.
    pub current: Arc<Current>,
    /// Their mailboxes.
    pub mailboxes: Arc<[Arc<Mailbox>]>,
    /// Where orders are left for whoever reloads.
    pub desk: Arc<Desk>,
    /// Where it notes what it did.
    pub board: Arc<Board>,
    /// How names are resolved.
    pub resolver: Arc<Resolver>,
    /// The addresses of our listeners.
    pub own: Arc<[SocketAddr]>,
}

impl Readers {
    /// From their next turns on all workers use this.
    pub fn replace(&self, config: Config) {
        self.current.replace(Arc::new(config));
        for mailbox in self.mailboxes.iter() {
            mailbox.wake();
        }
    }
}

/// The configuration and how often it was replaced.
#[derive(Debug)]
pub struct Current {
    generation: AtomicU64,
    config: Mutex<Arc<Config>>,
}

impl Current {
    /// The first one.
    pub fn new(config: Arc<Config>) -> Self {
        Self { generation: AtomicU64::new(0), config: Mutex::new(config) }
    }

    /// What counts.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another one counts from now on.
    pub fn replace(&self, config: Arc<Config>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often it was replaced: all that a worker has to look at in a turn.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
