//! A worker's journal: the records of exchanges in progress, and the lines that wait to leave the worker.

use crate::access::complaint::Complaint;
use crate::access::line;
use crate::access::pen::{Closing, Pen, View};
use crate::access::record::{Door, Record};
use crate::access::stamp::Stamp;
use crate::access::{Recording, Sheet, Stream};
use crate::http::head::{Request, Response};
use crate::io::Io;
use crate::policy::proxy_auth;
use crate::time::{Millis, Now};
use std::sync::Arc;

/// Bytes of lines after which they are handed over.
const BATCH_BYTES: usize = 32 * 1024;
/// How long a line waits for others.
const BATCH_MILLIS: u64 = 200;
/// Records kept for the next exchanges.
const SPARE_MAX: usize = 256;
/// A record with more memory than this gives it back.
const KEPT_BYTES_MAX: usize = 2048;

/// The lines of a stream that wait.
#[derive(Debug, Default)]
struct Batch {
    lines: Vec<u8>,
    /// When the first of them was written.
    since: Now,
}

/// The lines of every stream that wait.
#[derive(Debug, Default)]
struct Batches {
    of: [Batch; Stream::ALL.len()],
    /// Streams with lines that wait.
    waiting: usize,
}

impl Batches {
    /// Adds the line that `write` writes, and hands over what has become enough.
    fn add(&mut self, stream: Stream, now: Now, io: &mut impl Io, write: impl FnOnce(&mut Vec<u8>)) {
        let batch = &mut self.of[stream as usize];
        if batch.lines.is_empty() {
            batch.lines.reserve(BATCH_BYTES + BATCH_BYTES / 8);
            batch.since = now;
            self.waiting += 1;
        }
        write(&mut batch.lines);
        if batch.lines.len() >= BATCH_BYTES {
            io.log(stream, &batch.lines);
            batch.lines.clear();
            self.waiting -= 1;
        }
    }
}

/// A worker's journal.
#[derive(Debug, Default)]
pub struct Journal {
    recording: Arc<Recording>,
    // Boxed where they are used: an exchange holds one, and the box goes to and fro.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Record>>,
    batches: Batches,
    stamp: Stamp,
    scratch: Vec<u8>,
}

impl Journal {
    /// A journal that writes what `recording` says.
    pub fn new(recording: Arc<Recording>) -> Self {
        Self { recording, ..Self::default() }
    }

    /// Whether anything is written at all.
    pub fn is_on(&self) -> bool {
        self.recording.sheets.iter().any(Option::is_some)
    }

    /// What is written of the exchanges of clients who come in at `door`.
    pub fn sheet(&self, door: Door) -> Option<&Sheet> {
        self.recording.sheets[door as usize].as_ref()
    }

    /// The record of an exchange that begins; `None` when nothing is written of it.
    pub fn begin(&mut self, door: Door, now: Now) -> Option<Box<Record>> {
        self.sheet(door)?;
        let mut record = self.spare.pop().unwrap_or_default();
        record.renew(door, now);
        Some(record)
    }

    /// Notes a request whose head could be read, `len` bytes long.
    pub fn take_request(&self, record: &mut Record, request: &Request<'_, '_>, len: usize, now: Now) {
        if let Some(sheet) = self.sheet(record.door) {
            record.take_request(request, len, &sheet.wanted, now);
        }
    }

    /// Notes the user of a credential that was verified before, if a line shows it.
    pub fn take_user(&self, record: &mut Record, value: &[u8]) {
        if self.sheet(record.door).is_some_and(|sheet| sheet.shows_user) {
            proxy_auth::with_credential(value, |name, _| record.take_user(name.as_bytes()));
        }
    }

    /// Notes the final head of a target's answer.
    pub fn take_answer(&self, record: &mut Record, response: &Response<'_, '_>, now: Now) {
        if let Some(sheet) = self.sheet(record.door) {
            record.take_answer(response, &sheet.wanted, now);
        }
    }

    /// The exchange of `record` is over: writes its lines.
    pub fn write(&mut self, record: Box<Record>, closing: &Closing<'_>, io: &mut impl Io) {
        let Self { recording, batches, stamp, scratch, .. } = self;
        let Some(sheet) = &recording.sheets[record.door as usize] else { return };
        stamp.sync(closing.ended, || io.wall());
        let (mask, wanted, process) = (&recording.mask, &sheet.wanted, recording.process);
        let view = View { record: &record, closing, mask, wanted, process };
        for (stream, format) in &sheet.lines {
            batches.add(*stream, closing.ended, io, |out| line::write(format, &view, stamp, scratch, out));
        }
        self.give_back(record);
    }

    /// An exchange of a client who came in at `door` failed: writes the line of that, if there is to be one.
    pub fn complain(&mut self, door: Door, complaint: &Complaint<'_>, now: Now, io: &mut impl Io) {
        let Self { recording, batches, stamp, scratch, .. } = self;
        let Some(stream) = recording.sheets[door as usize].as_ref().and_then(|sheet| sheet.errors) else {
            return;
        };
        if !complaint.counts() {
            return;
        }
        stamp.sync(now, || io.wall());
        batches.add(stream, now, io, |out| {
            complaint.write(recording.process, now, &mut Pen { out, json: false, stamp, scratch });
        });
    }

    /// Hands over the lines that have waited long enough; how long the others may wait.
    pub fn hand_over_due(&mut self, io: &mut impl Io, now: Now) -> Option<Millis> {
        if self.batches.waiting == 0 {
            return None;
        }
        let waiting = self.batches.of.iter().filter(|batch| !batch.lines.is_empty());
        let first = waiting.map(|batch| batch.since).min()?;
        let due = first + Millis(BATCH_MILLIS);
        if due > now {
            return Some(due - now);
        }
        self.hand_over(io);
        None
    }

    /// Hands over every line.
    pub fn hand_over(&mut self, io: &mut impl Io) {
        for (stream, batch) in Stream::ALL.iter().zip(&mut self.batches.of) {
            if !batch.lines.is_empty() {
                io.log(*stream, &batch.lines);
                batch.lines.clear();
            }
        }
        self.batches.waiting = 0;
    }

    /// Takes back the memory of a record.
    fn give_back(&mut self, record: Box<Record>) {
        if self.spare.len() < SPARE_MAX && record.capacity() <= KEPT_BYTES_MAX {
            self.spare.push(record);
        }
    }
}
