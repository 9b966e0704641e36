//! The files that the lines of exchanges go to, a writer for each: a stalled disk of one does not hold up the others.

use crate::access::{self, Stream};
use crate::logging::lines::Lines;
use crate::logging::settings::operators_plan;
use crate::setting::Source;
use std::path::PathBuf;

/// The writers.
#[derive(Clone, Default)]
pub struct Streams {
    lines: [Option<Lines>; Stream::ALL.len()],
}

/// The file of the transaction log; `None` is no log.
///
/// # Errors
/// What is wrong with a text.
pub fn transaction_file(source: &impl Source) -> Result<Option<PathBuf>, String> {
    if source.value(&access::FORMAT)?.is_none() {
        return Ok(None);
    }
    let beside = operators_plan(source)?.map(|plan| plan.path.with_file_name("access.log"));
    Ok(source.value(&access::FILE)?.or(beside))
}

/// What the banner says of the transaction log.
///
/// # Errors
/// What is wrong with a text.
pub fn remark(source: &impl Source) -> Result<String, String> {
    Ok(match (transaction_file(source)?, source.value(&access::FORMAT)?) {
        (Some(file), Some(format)) => format!("transaction log {}: {format}", file.display()),
        (_, None) => "transaction log: off (proxy.log.format)".to_owned(),
        (None, Some(_)) => {
            "transaction log: off, neither proxy.log.file nor logging.file.name is set".to_owned()
        }
    })
}

/// The line that stands where so many lines were lost.
fn lost(lines: u64) -> String {
    format!("# {lines} lines dropped\n")
}

fn lost_json(lines: u64) -> String {
    format!("{{\"lines_dropped\":{lines}}}\n")
}

impl Streams {
    /// Opens the files that `source` names and starts their writers.
    ///
    /// # Errors
    /// A sentence when a file cannot be opened or a thread cannot be started.
    pub fn open(source: &impl Source) -> Result<Self, String> {
        let mut streams = Self::default();
        if let Some(path) = transaction_file(source)? {
            let json =
                source.value(&access::FORMAT)?.is_some_and(|format| format.eq_ignore_ascii_case("json"));
            let lines = super::open(source, &path, if json { lost_json } else { lost })?;
            streams.lines[Stream::Transactions as usize] = Some(lines);
        }
        Ok(streams)
    }

    /// Whether anything is written to `stream`.
    pub fn has(&self, stream: Stream) -> bool {
        self.lines[stream as usize].is_some()
    }

    /// Takes whole lines.
    pub fn hand_over(&self, stream: Stream, lines: &[u8]) {
        if let Some(writer) = &self.lines[stream as usize] {
            writer.hand_over(lines);
        }
    }
}
