//! The operators' log: what the `log` facade carries, formatted by simplelog, written by a thread of its own.
//!
//! ```text
//! 2026-01-31T09:00:00.123+09:00 [INFO ] (worker-0) apim_proxy::server: message
//! ```
//! A log call formats its line and hands it over; it never waits for a disk. Peer bytes cannot forge a line: control
//! bytes are replaced and continuation lines indented. Access and wire lines do not come this way.

mod levels;
mod lines;
pub mod streams;

pub use levels::Levels;

use crate::setting::{AnySetting, Setting};
use crate::value;
use lines::{Assembler, Lines};
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, LevelPadding, ThreadLogMode, WriteLogger};
use std::backtrace::Backtrace;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use std::{fmt, panic};
use time::UtcOffset;
use time::macros::format_description;

/// The settings of this file.
pub static ALL: &[&dyn AnySetting] = &[&LEVEL, &FILE_NAME];

/// Where the log goes.
pub static FILE_NAME: Setting<Option<PathBuf>> = Setting::new(
    "logging.file.name",
    "",
    value::path,
    "The file the log is appended to; empty: standard output, which start.sh sends to log/output.log.",
);

/// The level of one part: `logging.level.root`, one of our targets, or a logger of the legacy (see [`Levels`]).
pub static LEVEL: Setting<LevelFilter> = Setting::new(
    "logging.level.*",
    "info",
    value::level,
    "The level of one part of the log: `trace debug info warn error fatal off`. `logging.level.root` is the level of \
     all; the legacy's logger names are understood (`org.springframework.web.client.RestTemplate`).",
);

/// A message longer than this is cut.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long a flush waits for a disk that does not answer.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The local time zone, read while there was one thread.
static ZONE: OnceLock<UtcOffset> = OnceLock::new();

/// The logger behind the facade: levels per part, then simplelog.
struct OperatorsLog {
    levels: Levels,
    format: Box<WriteLogger<Assembler>>,
    lines: Lines,
}

/// Starts the log, appending to `file` or else writing to standard output. To be called once, before any other
/// thread exists: only then can the local time zone be read (otherwise times are UTC).
///
/// # Errors
/// A sentence when the file cannot be opened, the thread cannot be started or a log was started before.
pub fn start(levels: Levels, file: Option<&Path>) -> Result<(), String> {
    // Unknown when other threads run already: then UTC, and the lines say +0000.
    ZONE.get_or_init(|| UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC));
    let max = levels.max();
    let logger = match file {
        Some(path) => OperatorsLog::new(levels, open(FILE_NAME.key, path)?),
        None => OperatorsLog::new(levels, io::stdout()),
    };
    let logger =
        logger.map_err(|error| format!("the thread that writes the log cannot be started: {error}"))?;
    log::set_boxed_logger(Box::new(logger)).map_err(|_| "the log was started before".to_owned())?;
    log::set_max_level(max);
    Ok(())
}

/// Seconds that local time was ahead of UTC when the log was started; 0 before that.
pub fn zone_seconds() -> i32 {
    ZONE.get().map_or(0, |zone| zone.whole_seconds())
}

/// Waits until what was logged is written, but not for a disk that does not answer. To be called before the process
/// ends.
pub fn flush() {
    log::logger().flush();
}

/// From now on a panic is one record with its thread, place and backtrace: in the log once that has started, else on
/// standard error.
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::force_capture();
        if log::log_enabled!(target: "panic", log::Level::Error) {
            log::error!(target: "panic", "{info}\n{backtrace}");
            flush();
        } else {
            // Standard error may be closed; a panic hook has nobody left to tell.
            let _ = writeln!(io::stderr(), "{info}\n{backtrace}");
        }
    }));
}

/// Opens the log file that `key` names for appending, making the folders above it as Spring does.
fn open(key: &str, path: &Path) -> Result<File, String> {
    let sentence = |error: io::Error| format!("{key}: {} cannot be opened: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(sentence)?;
    }
    File::options().create(true).append(true).open(path).map_err(sentence)
}

impl OperatorsLog {
    fn new(levels: Levels, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Lines::start(sink)?;
        let mut shape = ConfigBuilder::new();
        shape
            .set_time_format_custom(format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour \
                 sign:mandatory]:[offset_minute]"
            ))
            .set_level_padding(LevelPadding::Right)
            .set_thread_level(LevelFilter::Error)
            .set_thread_mode(ThreadLogMode::Names)
            .set_target_level(LevelFilter::Error)
            .set_location_level(LevelFilter::Off);
        // Unknown when other threads run already: then UTC, and the line says +00:00.
        let _ = shape.set_time_offset_to_local();
        let format = WriteLogger::new(LevelFilter::Trace, shape.build(), Assembler::new(lines.clone()));
        Ok(Self { levels, format, lines })
    }

    /// Formats one record and hands it over.
    fn write(&self, record: &Record<'_>, message: fmt::Arguments<'_>) {
        // Formatted here, not under simplelog's lock: a `Display` that panics or logs must not block the log.
        let text = clean(fmt::format(message));
        self.format
            .log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{text}")).build());
        self.format.flush();
    }
}

impl Log for OperatorsLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.levels.of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(dropped) = self.lines.dropped() {
            let about = Record::builder().level(log::Level::Warn).target(module_path!()).build();
            self.write(
                &about,
                format_args!("{dropped} lines dropped: they came faster than they could be written"),
            );
        }
        self.write(record, *record.args());
    }

    fn flush(&self) {
        self.lines.flush(FLUSH_WAIT);
    }
}

/// Cuts a message to its limit, indents continuation lines and replaces other control bytes.
fn clean(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str(" (cut)");
    }
    if !text.contains(char::is_control) {
        return text;
    }
    let mut cleaned = String::with_capacity(text.len() + 64);
    for character in text.trim_end_matches('\n').chars() {
        match character {
            '\n' => cleaned.push_str("\n    "),
            '\t' => cleaned.push(' '),
            other if other.is_control() => cleaned.push('?'),
            other => cleaned.push(other),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use lines::tests::Sink;
    use log::Level;

    fn say(logger: &OperatorsLog, level: Level, target: &str, message: &str) {
        logger.log(&Record::builder().level(level).target(target).args(format_args!("{message}")).build());
    }

    /// The lines without their times, whose shape is checked instead.
    fn without_times(text: &str) -> String {
        let mut rest = String::new();
        for line in text.split_inclusive('\n') {
            if line.starts_with("    ") {
                rest.push_str(line);
                continue;
            }
            let shape: String =
                line[..29].chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
            assert_eq!(shape.replace('-', "+"), "9999+99+99T99:99:99.999+99:99", "{line}");
            rest.push_str(&line[29..]);
        }
        rest
    }

    /// What `act` makes a logger with these levels write from a thread called "t".
    fn written(levels: &[(&str, LevelFilter)], act: impl FnOnce(&OperatorsLog) + Send + 'static) -> String {
        let sink = Sink::default();
        let logger = OperatorsLog::new(Levels::new(levels.iter().copied()), sink.clone()).unwrap();
        let thread = std::thread::Builder::new().name("t".to_owned()).spawn(move || {
            act(&logger);
            logger.flush();
        });
        thread.unwrap().join().unwrap();
        without_times(&sink.text())
    }

    #[test]
    fn a_line_says_when_how_grave_who_and_what() {
        let text = written(&[], |log| {
            say(log, Level::Info, "apim_proxy::server", "started");
            say(log, Level::Debug, "apim_proxy::server", "unheard");
            say(log, Level::Error, "panic", "at\nx\r\n\tby \u{1b}[1m\n");
        });
        assert_eq!(
            text,
            " [INFO ] (t) apim_proxy::server: started\n [ERROR] (t) panic: at\n    x?\n     by ?[1m\n"
        );
    }

    #[test]
    fn a_part_has_its_own_level() {
        let text = written(
            &[
                ("root", LevelFilter::Warn),
                ("org.apache.http", LevelFilter::Debug),
                ("apim_proxy::pool", LevelFilter::Off),
            ],
            |log| {
                say(log, Level::Debug, "http.connection", "open");
                say(log, Level::Info, "apim_proxy::server", "unheard");
                say(log, Level::Error, "apim_proxy::pool", "unheard");
            },
        );
        assert_eq!(text, " [DEBUG] (t) http.connection: open\n");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let text = clean("가".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(text, format!("{} (cut)", "가".repeat(MESSAGE_BYTES_MAX / 3)));
    }

    #[test]
    fn a_message_that_panics_does_not_break_the_log() {
        struct Bad;
        impl fmt::Display for Bad {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                std::panic::resume_unwind(Box::new("bad"))
            }
        }
        let text = written(&[], |log| {
            let bad = panic::catch_unwind(panic::AssertUnwindSafe(|| {
                log.log(
                    &Record::builder().level(Level::Info).target("x").args(format_args!("{Bad}")).build(),
                );
            }));
            assert!(bad.is_err());
            say(log, Level::Info, "x", "after");
        });
        assert_eq!(text, " [INFO ] (t) x: after\n");
    }

    #[test]
    fn a_file_is_appended_to_and_its_folder_made() {
        let folder = std::env::temp_dir().join(format!("apim-log-{}", std::process::id()));
        let path = folder.join("a/b.log");
        for text in ["one\n", "two\n"] {
            open(FILE_NAME.key, &path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        let error = open(FILE_NAME.key, &folder).unwrap_err();
        assert!(error.starts_with("logging.file.name: ") && error.contains("cannot be opened"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
