//! What verification wants operators to know without refusing anything: counted always, logged once a host.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::host::Host;
use super::peers::Peers;

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
    /// Until when the certificates of targets are valid.
    pub peers: Peers,
}

impl Notes {
    /// How often a note was taken.
    pub fn count(&self, note: Note) -> u64 {
        self.counts[note as usize].load(Relaxed)
    }

    /// Takes a note about `host`, a target's or for clients the certificate's subject; warns if it is the first of
    /// its kind there.
    pub fn take(&self, note: Note, host: &str, sentence: impl FnOnce() -> String) {
        if self.is_first(note, host) {
            log::warn!("{host}: {}", sentence());
        }
    }

    fn is_first(&self, note: Note, host: &str) -> bool {
        self.counts[note as usize].fetch_add(1, Relaxed);
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < LOGGED_MAX && logged.insert((note, host.to_owned()))
    }

    /// The same for a target.
    pub fn take_of(&self, note: Note, host: &Host, sentence: impl FnOnce() -> String) {
        self.take(note, &host.to_string(), sentence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_counts_and_only_the_first_is_told() {
        let notes = Notes::default();
        let told = ["a.test", "b.test", "a.test"].map(|host| notes.is_first(Note::JavaOnly, host));
        assert_eq!(told, [true, true, false]);
        assert_eq!((notes.count(Note::JavaOnly), notes.count(Note::SerialNumber)), (3, 0));
    }

    #[test]
    fn the_memory_of_what_was_told_is_bounded() {
        let notes = Notes::default();
        let hosts = 0..LOGGED_MAX + 10;
        let told = hosts.filter(|host| notes.is_first(Note::PinOutOfDate, &host.to_string()));
        assert_eq!(told.count(), LOGGED_MAX);
        assert_eq!(notes.count(Note::PinOutOfDate), LOGGED_MAX as u64 + 10);
    }
}
