//! The files that the lines of exchanges go to, a writer for each: a stalled disk of one does not hold up the others.

use crate::access::record::Door;
use crate::access::{FILE, FORMAT, REVERSE_FOLDER, REVERSE_FORMAT, Recording, Sheet, Stream};
use crate::engine::Kind;
use crate::listener::{self, Place};
use crate::logging::lines::Lines;
use crate::logging::settings::operators_plan;
use crate::setting::Source;
use std::fs;
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
    if source.value(&FORMAT)?.is_none() {
        return Ok(None);
    }
    let beside =
        operators_plan(source)?.map(|plan| plan.path.with_file_name(Stream::Transactions.file_name()));
    Ok(source.value(&FILE)?.or(beside))
}

/// What the banner says of the transaction log.
///
/// # Errors
/// What is wrong with a text.
pub fn remark(source: &impl Source) -> Result<String, String> {
    Ok(match (transaction_file(source)?, source.value(&FORMAT)?) {
        (Some(file), Some(format)) => format!("transaction log {}: {format}", file.display()),
        (_, None) => "transaction log: off (proxy.log.format)".to_owned(),
        (None, Some(_)) => {
            "transaction log: off, neither proxy.log.file nor logging.file.name is set".to_owned()
        }
    })
}

/// What the banner says of the logs of reverse listeners; `None` where there is no such listener.
///
/// # Errors
/// What is wrong with a text.
pub fn reverse_remark(source: &impl Source) -> Result<Option<String>, String> {
    if listener::places(source)?.iter().all(|place| place.kind == Kind::Forward) {
        return Ok(None);
    }
    let folder = source.value(&REVERSE_FOLDER)?;
    Ok(Some(match source.value(&REVERSE_FORMAT)? {
        Some(format) => format!("reverse listeners' logs in {}: {format}", folder.display()),
        None => format!("reverse listeners' logs: off ({})", REVERSE_FORMAT.key),
    }))
}

/// The line that stands where so many lines were lost.
fn lost(lines: u64) -> String {
    format!("# {lines} lines dropped\n")
}

fn lost_json(lines: u64) -> String {
    format!("{{\"lines_dropped\":{lines}}}\n")
}

impl Streams {
    /// Opens the files of the listeners that this process opens and starts their writers.
    ///
    /// # Errors
    /// A sentence when a file cannot be opened or a thread cannot be started.
    pub fn open(source: &impl Source, recording: &Recording) -> Result<Self, String> {
        let mut streams = Self::default();
        if let Some(path) = transaction_file(source)? {
            let json = source.value(&FORMAT)?.is_some_and(|format| format.eq_ignore_ascii_case("json"));
            let lines = super::open(source, FILE.key, &path, if json { lost_json } else { lost })?;
            streams.lines[Stream::Transactions as usize] = Some(lines);
        }
        let mut doors: Vec<Door> = listener::places(source)?.iter().map(Place::door).collect();
        doors.retain(|door| *door != Door::Forward);
        let sheets = doors.iter().filter_map(|door| recording.sheets[*door as usize].as_ref());
        let named: Vec<Stream> = sheets.flat_map(Sheet::streams).collect();
        if !named.is_empty() {
            streams.open_in_folder(source, &named)?;
        }
        Ok(streams)
    }

    /// Opens the files of reverse listeners.
    fn open_in_folder(&mut self, source: &impl Source, named: &[Stream]) -> Result<(), String> {
        let folder = source.value(&REVERSE_FOLDER)?;
        let remedy = |what: String| {
            format!(
                "{what}; let the user that runs apim-proxy write there, name another folder, or set {}=off",
                REVERSE_FORMAT.key
            )
        };
        fs::create_dir_all(&folder).map_err(|error| {
            remedy(format!("{}: {} cannot be made: {error}", REVERSE_FOLDER.key, folder.display()))
        })?;
        let json = source.value(&REVERSE_FORMAT)?.is_some_and(|format| format.eq_ignore_ascii_case("json"));
        for stream in named {
            let json = json && matches!(stream, Stream::Access | Stream::SslAccess);
            let path = folder.join(stream.file_name());
            let lines = super::open(source, REVERSE_FOLDER.key, &path, if json { lost_json } else { lost });
            self.lines[*stream as usize] = Some(lines.map_err(remedy)?);
        }
        Ok(())
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
