//! The operators' log: what the `log` facade carries, formatted by simplelog, written by a thread of its own.
//!
//! ```text
//! 2026-01-31T09:00:00.123+09:00 [INFO ] (worker-0) apim_proxy::server: message
//! ```
//! A log call formats its line and hands it over; it never waits for a disk. With `logging.pattern.*` the line is
//! made by `pattern`, and simplelog, its own columns switched off, only writes it. Peer bytes cannot forge a line:
//! control bytes are replaced and continuation lines indented. Lines of transactions do not come this way, but their
//! files are kept by the same code ([`open`]).
//!
//! ```text
//! lines   a bounded buffer and its thread        settings  what operators say of it
//! file    one file: append, roll, find again     rolled    names of rolled files
//! archive compress and remove them               hold      who may roll a shared file
//! streams the files of transactions
//! levels  who is how loud                        pattern, date  Logback's formats
//! ```

mod archive;
mod date;
mod file;
mod hold;
mod levels;
mod lines;
mod pattern;
mod rolled;
pub mod settings;
pub mod streams;

pub use file::reopen;
pub use hold::host_name;
pub use levels::Levels;
pub use lines::Lines;

use crate::setting::Source;
use file::{Clock, LogFile};
use lines::{Assembler, Full};
use log::{LevelFilter, Log, Metadata, Record};
use pattern::{Pattern, Saying};
use settings::{LOG_ON_FULL, operators_pattern, operators_plan, transactions_plan};
use simplelog::{ConfigBuilder, LevelPadding, ThreadLogMode, WriteLogger};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use std::{panic, thread};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

/// A message longer than this is cut.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Memory a thread keeps for its next message.
const SCRATCH_BYTES: usize = 4096;
/// How long a flush waits for a disk that does not answer.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The local time zone as it was at the start; it cannot be asked for once there are other threads.
static OFFSET: OnceLock<UtcOffset> = OnceLock::new();

thread_local! {
    /// Memory for a message and a line, used again for the next.
    static SCRATCH: Cell<(String, String)> = const { Cell::new((String::new(), String::new())) };
}

/// The logger behind the facade: levels per part, then a pattern if there is one, then simplelog.
struct OperatorsLog {
    levels: Levels,
    pattern: Option<Pattern>,
    offset: UtcOffset,
    format: Box<WriteLogger<Assembler>>,
    lines: Lines,
}

/// Starts the log, appending to the file that `source` names or else writing to standard output. To be called once,
/// before any other thread exists: only then can the local time zone be read (otherwise times are UTC).
///
/// # Errors
/// A sentence when the file cannot be opened, the thread cannot be started or a log was started before.
pub fn start(source: &impl Source, levels: Levels) -> Result<(), String> {
    let max = levels.max();
    let offset = *OFFSET.get_or_init(|| UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC));
    let mut warnings = Vec::new();
    let plan = operators_plan(source)?;
    let pattern = operators_pattern(source, plan.is_some())?;
    let logger = match plan {
        Some(plan) => {
            let path = plan.path.clone();
            let file = LogFile::open(plan, clock(), &mut |warning| warnings.push(warning));
            let file = file.map_err(|error| cannot_open("logging.file.name", &path, &error))?;
            OperatorsLog::new(levels, pattern, offset, file)
        }
        None => io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .and_then(|out| OperatorsLog::new(levels, pattern, offset, File::from(out))),
    };
    let logger =
        logger.map_err(|error| format!("the thread that writes the log cannot be started: {error}"))?;
    log::set_boxed_logger(Box::new(logger)).map_err(|_| "the log was started before".to_owned())?;
    log::set_max_level(max);
    for warning in warnings {
        log::warn!("{warning}");
    }
    Ok(())
}

/// Opens a log of transactions, which is rolled like the operators' (`proxy.log.*`) and which `key` places. `lost` words
/// the line that stands in it where so many lines were lost; it ends with a line break.
///
/// # Errors
/// A sentence that names the key, the file and what stands in the way.
pub fn open(source: &impl Source, key: &str, path: &Path, lost: fn(u64) -> String) -> Result<Lines, String> {
    let plan = transactions_plan(source, path)?;
    let file = LogFile::open(plan, clock(), &mut |warning| log::warn!("{warning}"))
        .map_err(|error| cannot_open(key, path, &error))?;
    let shown = path.display().to_string();
    let note = move |lines| {
        log::warn!("{shown}: {lines} lines dropped: they came faster than they could be written");
        lost(lines).into_bytes()
    };
    Lines::start(file, source.value(&LOG_ON_FULL)?, Box::new(note))
        .map_err(|error| format!("the thread that writes {} cannot be started: {error}", path.display()))
}

/// Seconds that local time was ahead of UTC when the log was started; 0 before that.
pub fn zone_seconds() -> i32 {
    OFFSET.get().map_or(0, |offset| offset.whole_seconds())
}

/// What time it is in the zone the process was started in.
fn clock() -> Clock {
    let offset = OFFSET.get().copied().unwrap_or(UtcOffset::UTC);
    Box::new(move || OffsetDateTime::now_utc().to_offset(offset))
}

fn cannot_open(what: &str, path: &Path, error: &io::Error) -> String {
    format!("{what}: {} cannot be opened: {error}", path.display())
}

/// Waits until what was logged anywhere is written, but not for a disk that does not answer. To be called before the
/// process ends.
pub fn flush() {
    Lines::flush_all(FLUSH_WAIT);
}

/// From now on a panic is one record with its thread, place and backtrace: in the log once that has started, else on
/// standard error.
pub fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        let backtrace = Backtrace::force_capture();
        if log::log_enabled!(target: "panic", log::Level::Error) {
            log::error!(target: "panic", "{info}\n{backtrace}");
            log::logger().flush();
        } else {
            // Standard error may be closed; a panic hook has nobody left to tell.
            let _ = writeln!(io::stderr(), "{info}\n{backtrace}");
        }
    }));
}

impl OperatorsLog {
    fn new(
        levels: Levels,
        pattern: Option<Pattern>,
        offset: UtcOffset,
        sink: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        // Through the facade, and so as a line like the others.
        let note = |lines| {
            log::warn!("{lines} lines dropped: they came faster than they could be written");
            Vec::new()
        };
        let lines = Lines::start(sink, Full::Drop, Box::new(note))?;
        let mut shape = ConfigBuilder::new();
        if pattern.is_some() {
            shape
                .set_time_level(LevelFilter::Off)
                .set_max_level(LevelFilter::Off)
                .set_thread_level(LevelFilter::Off)
                .set_target_level(LevelFilter::Off);
        } else {
            shape
                .set_time_format_custom(format_description!(
                    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour \
                     sign:mandatory]:[offset_minute]"
                ))
                .set_time_offset(offset)
                .set_level_padding(LevelPadding::Right)
                .set_thread_level(LevelFilter::Error)
                .set_thread_mode(ThreadLogMode::Names)
                .set_target_level(LevelFilter::Error);
        }
        shape.set_location_level(LevelFilter::Off);
        let format = WriteLogger::new(LevelFilter::Trace, shape.build(), Assembler::new(lines.clone()));
        Ok(Self { levels, pattern, offset, format, lines })
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
        // Formatted here, not under simplelog's lock: a `Display` that panics or logs must not block the log. One that
        // logs finds no memory to use again, and takes its own.
        let (mut text, mut line) = SCRATCH.try_with(Cell::take).unwrap_or_default();
        text.clear();
        // Only a `Display` of ours could fail, and what it wrote stands.
        let _ = text.write_fmt(*record.args());
        clean(&mut text);
        let said = match &self.pattern {
            None => &text,
            Some(pattern) => {
                line.clear();
                let thread = thread::current();
                let saying = Saying {
                    when: OffsetDateTime::now_utc().to_offset(self.offset),
                    level: record.level(),
                    target: record.target(),
                    thread: thread.name().unwrap_or("?"),
                    message: &text,
                };
                pattern.write(&saying, &mut line);
                &line
            }
        };
        self.format
            .log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{said}")).build());
        self.format.flush();
        text.shrink_to(SCRATCH_BYTES);
        line.shrink_to(SCRATCH_BYTES);
        // At the very end of a thread there is no next line.
        let _ = SCRATCH.try_with(|scratch| scratch.set((text, line)));
    }

    fn flush(&self) {
        self.lines.flush(FLUSH_WAIT);
    }
}

/// Cuts a message to its limit, indents continuation lines and replaces other control bytes.
fn clean(text: &mut String) {
    if text.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str(" (cut)");
    }
    // Control characters are ASCII or follow 0xc2.
    if !text.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == 0xc2) {
        return;
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
    *text = cleaned;
}

#[cfg(test)]
mod tests {
    use super::*;
    use lines::tests::Sink;
    use log::Level;
    use std::fmt;

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

    /// What `act` makes a logger with these levels write from a thread called "t", without the times.
    fn written(levels: &[(&str, LevelFilter)], act: impl FnOnce(&OperatorsLog) + Send + 'static) -> String {
        without_times(&written_as(None, levels, act))
    }

    fn written_as(
        pattern: Option<&str>,
        levels: &[(&str, LevelFilter)],
        act: impl FnOnce(&OperatorsLog) + Send + 'static,
    ) -> String {
        let sink = Sink::default();
        let pattern = pattern.map(|pattern| Pattern::parse(pattern).unwrap());
        let levels = Levels::new(levels.iter().copied());
        let logger = OperatorsLog::new(levels, pattern, UtcOffset::UTC, sink.clone()).unwrap();
        let thread = std::thread::Builder::new().name("t".to_owned()).spawn(move || {
            act(&logger);
            logger.flush();
        });
        thread.unwrap().join().unwrap();
        sink.text()
    }

    #[test]
    fn a_pattern_makes_the_whole_line() {
        let text = written_as(Some("%5p [%t] %logger{39} - %m%n"), &[("call", LevelFilter::Debug)], |log| {
            say(log, Level::Debug, "call", "HTTP GET http://h:1/");
            say(log, Level::Error, "apim_proxy::server", "a\nforged");
        });
        let expected = "DEBUG [t] o.s.web.client.RestTemplate - HTTP GET http://h:1/\n\
                        ERROR [t] apim_proxy.server - a\n    forged\n";
        assert_eq!(text, expected);
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
        let mut text = "가".repeat(MESSAGE_BYTES_MAX);
        clean(&mut text);
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
}
