//! What verification wants operators to know without refusing anything: counted always, logged once a host.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::host::Host;

/// Hosts remembered as logged. Beyond it hosts are counted only: a log line each handshake would be worse.
const LOGGED_MAX: usize = 4096;

/// One kind of note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// A certificate of the trust store was accepted outside of its dates.
    PinOutOfDate,
    /// A chain passed by Java's rules only.
    JavaOnly,
    /// A SERIALNUMBER differs and is only reported.
    SerialNumber,
}

/// Counters and the hosts already logged, shared by every verifier of the process.
#[derive(Debug, Default)]
pub struct Notes {
    counts: [AtomicU64; 3],
    logged: Mutex<BTreeSet<(Note, String)>>,
}

impl Notes {
    /// How often a note was taken.
    pub fn count(&self, note: Note) -> u64 {
        self.counts[note as usize].load(Relaxed)
    }

    /// Takes a note about `host`, a target's or for clients the certificate's subject; warns if it is the first of
    /// its kind there.
    pub fn take(&self, note: Note, host: &str, sentence: impl FnOnce() -> String) {
        self.counts[note as usize].fetch_add(1, Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LOGGED_MAX && logged.insert((note, host.to_owned())) {
            drop(logged);
            log::warn!("{host}: {}", sentence());
        }
    }

    /// The same for a target.
    pub fn take_of(&self, note: Note, host: &Host, sentence: impl FnOnce() -> String) {
        self.take(note, &host.to_string(), sentence);
    }
}
