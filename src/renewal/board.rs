//! What the statistics say of certificates, beside the workers' own numbers.

use crate::tls::notes::{Note, Notes};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The numbers of the process, written by the thread that renews certificates and by whoever verifies them.
#[derive(Debug, Default)]
pub struct Board {
    /// Times new certificates came into use.
    pub reloaded: AtomicU64,
    /// Contents of files that were refused.
    pub refused: AtomicU64,
    /// What verification noticed.
    pub notes: Arc<Notes>,
}

impl Board {
    /// The numbers, a line each.
    pub fn report(&self) -> String {
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
        text
    }
}
