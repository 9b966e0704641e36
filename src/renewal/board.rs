//! What the statistics say of certificates, beside the workers' own numbers.

use crate::credentials::days::{Expiries, Whose, days_left};
use crate::tls::notes::{Note, Notes};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers of the process, written by the thread that renews certificates and by whoever verifies them.
#[derive(Debug, Default)]
pub struct Board {
    /// Times new certificates came into use.
    pub reloaded: AtomicU64,
    /// Contents of files that were refused.
    pub refused: AtomicU64,
    /// What verification noticed.
    pub notes: Arc<Notes>,
    /// Until when the certificates of the configuration are valid.
    pub expiries: Mutex<Expiries>,
}

impl Board {
    /// Until when each certificate is valid, of the configuration and of targets.
    pub fn expiries(&self) -> Expiries {
        let mut expiries = self.expiries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let peers = self.notes.peers.all().into_iter();
        expiries.extend(peers.map(|(host, not_after)| (Whose::Peer { host }, not_after)));
        expiries
    }

    /// The numbers at `now`, in seconds since 1970, a line each.
    pub fn report(&self, now: i64) -> String {
        let mut text = String::new();
        for (name, value) in [
            ("credentials_reloaded", self.reloaded.load(Relaxed)),
            ("credentials_refused", self.refused.load(Relaxed)),
            ("pins_out_of_date", self.notes.count(Note::PinOutOfDate)),
            ("certificates_java_only", self.notes.count(Note::JavaOnly)),
            ("serial_numbers_wrong", self.notes.count(Note::SerialNumber)),
        ] {
            let _ = writeln!(text, "{name} {value}");
        }
        for (whose, not_after) in self.expiries() {
            let _ = writeln!(text, "certificate_days_left{whose} {}", days_left(not_after, now));
        }
        text
    }
}
