//! What operators say of logs: levels, formats, files and how long they are kept.

use super::archive::History;
use super::date::DateFormat;
use super::file::Plan;
use super::lines::Full;
use super::pattern::Pattern;
use super::rolled::RolledName;
use crate::setting::{AnySetting, Setting, Source};
use crate::value;
use log::LevelFilter;
use std::path::{Path, PathBuf};

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &LEVEL,
    &GROUP,
    &FILE_NAME,
    &FILE_PATH,
    &PATTERN_FILE,
    &PATTERN_CONSOLE,
    &PATTERN_DATEFORMAT,
    &PATTERN_LEVEL,
    &MAX_SIZE,
    &MAX_HISTORY,
    &TOTAL_SIZE_CAP,
    &CLEAN_HISTORY,
    &PATTERN_ROLLING,
    &LOG_MAX_SIZE,
    &LOG_MAX_HISTORY,
    &LOG_TOTAL_SIZE_CAP,
    &LOG_ON_FULL,
];

/// The level of one part: `logging.level.root`, one of our targets, or a logger of the legacy (see [`super::Levels`]).
pub static LEVEL: Setting<LevelFilter> = Setting::new(
    "logging.level.*",
    "info",
    value::level,
    "The level of one part of the log: `trace debug info warn error fatal off`. `logging.level.root` is the level of \
     all; the legacy's logger names are understood (`org.springframework.web.client.RestTemplate`).",
);

/// Loggers under one name.
pub static GROUP: Setting<Vec<String>> = Setting::new(
    "logging.group.*",
    "",
    value::list,
    "Loggers that share one name, as a comma list: `logging.level.<name>` is the level of them all.",
);

/// Where the log goes.
pub static FILE_NAME: Setting<Option<PathBuf>> = Setting::new(
    "logging.file.name",
    "",
    value::path,
    "The file the log is appended to; empty: standard output, which start.sh sends to log/output.log. `${hostname}` \
     stands for the machine's name.",
);

/// Its folder.
pub static FILE_PATH: Setting<Option<PathBuf>> = Setting::new(
    "logging.file.path",
    "",
    value::path,
    "Folder of the log file `spring.log`, when `logging.file.name` is unset.",
);

/// The format of a file's lines.
pub static PATTERN_FILE: Setting<Option<Pattern>> = Setting::new(
    "logging.pattern.file",
    "",
    pattern,
    "Format of the file's lines, as Logback writes it (`%d %-5level [%t] %logger{39} : %m%n`).",
);

/// The format of lines on standard output.
pub static PATTERN_CONSOLE: Setting<Option<Pattern>> = Setting::new(
    "logging.pattern.console",
    "",
    pattern,
    "Format of the lines on standard output, when there is no file; colours (`%clr`) are left out.",
);

/// The format of times, where no pattern says it.
pub static PATTERN_DATEFORMAT: Setting<Option<String>> = Setting::new(
    "logging.pattern.dateformat",
    "",
    |text| {
        DateFormat::parse(text)?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    },
    "Format of times in lines (`yyyy-MM-dd HH:mm:ss.SSS`), when no pattern is set; in a pattern, \
     `${LOG_DATEFORMAT_PATTERN}`.",
);

/// The format of levels, where no pattern says it.
pub static PATTERN_LEVEL: Setting<Option<String>> = Setting::new(
    "logging.pattern.level",
    "",
    |text| {
        Pattern::parse(text)?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    },
    "Format of levels in lines (`%5p`), when no pattern is set; in a pattern, `${LOG_LEVEL_PATTERN}`.",
);

/// When a file is rolled.
pub static MAX_SIZE: Setting<u64> = Setting::new(
    "logging.file.max-size",
    "10MB",
    value::size,
    "Size at which a log file is rolled (it also is each day); 0 is no limit.",
)
.aliases(&["logging.logback.rollingpolicy.max-file-size"]);

/// How long rolled files are kept.
pub static MAX_HISTORY: Setting<u64> =
    Setting::new("logging.file.max-history", "7", days, "Days that rolled files are kept; 0 is for ever.")
        .aliases(&["logging.logback.rollingpolicy.max-history"]);

/// How much all rolled files may take.
pub static TOTAL_SIZE_CAP: Setting<u64> = Setting::new(
    "logging.file.total-size-cap",
    "0",
    value::size,
    "Size of all rolled files together, beyond which the oldest go; 0 is no limit.",
)
.aliases(&["logging.logback.rollingpolicy.total-size-cap"]);

/// Whether old files go at start.
pub static CLEAN_HISTORY: Setting<bool> = Setting::new(
    "logging.file.clean-history-on-start",
    "false",
    value::boolean,
    "Whether rolled files that are too old or too many are removed at start, and not only after the next roll.",
)
.aliases(&["logging.logback.rollingpolicy.clean-history-on-start"]);

/// The names of rolled files.
pub static PATTERN_ROLLING: Setting<Option<RolledName>> = Setting::new(
    "logging.pattern.rolling-file-name",
    "",
    |text| Some(text).filter(|text| !text.trim().is_empty()).map(RolledName::parse).transpose(),
    "Names of rolled files, with one `%d` and one `%i`, on the log's own file system; `<file>.%d{yyyy-MM-dd}.%i.gz` when \
     unset. With `HH` in `%d` a file is rolled each hour.",
)
.aliases(&["logging.logback.rollingpolicy.file-name-pattern"]);

/// As [`MAX_SIZE`], for the logs of transactions.
pub static LOG_MAX_SIZE: Setting<Option<u64>> = Setting::new(
    "proxy.log.max-size",
    "",
    |text| unless_empty(text, value::size),
    "As `logging.file.max-size`, for the logs of transactions; unset: the same.",
);

/// As [`MAX_HISTORY`], for the logs of transactions.
pub static LOG_MAX_HISTORY: Setting<Option<u64>> = Setting::new(
    "proxy.log.max-history",
    "",
    |text| unless_empty(text, days),
    "As `logging.file.max-history`, for the logs of transactions; unset: the same.",
);

/// As [`TOTAL_SIZE_CAP`], for the logs of transactions.
pub static LOG_TOTAL_SIZE_CAP: Setting<Option<u64>> = Setting::new(
    "proxy.log.total-size-cap",
    "",
    |text| unless_empty(text, value::size),
    "As `logging.file.total-size-cap`, for each of the logs of transactions; unset: the same.",
);

/// What becomes of lines of transactions for which there is no room.
pub static LOG_ON_FULL: Setting<Full> = Setting::new(
    "proxy.log.on-full",
    "drop",
    |text| value::choice(text).map_err(|_| "is neither drop nor stall".to_owned()),
    "What happens when 4 MB of transactions wait for a disk that does not take them: `drop` drops lines and counts them, \
     `stall` lets workers wait, once for up to 5 s, before lines are dropped all the same.",
);

fn pattern(text: &str) -> Result<Option<Pattern>, String> {
    Some(text).filter(|text| !text.is_empty()).map(Pattern::parse).transpose()
}

fn days(text: &str) -> Result<u64, String> {
    value::whole(text, 0..=36_500)
}

fn unless_empty<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    Some(text).filter(|text| !text.trim().is_empty()).map(parse).transpose()
}

/// The file of the operators' log, if it has one.
///
/// # Errors
/// What is wrong with a text.
pub fn operators_plan(source: &impl Source) -> Result<Option<Plan>, String> {
    let named = source.value(&FILE_NAME)?;
    let path = match named {
        Some(path) => path,
        None => match source.value(&FILE_PATH)? {
            Some(folder) => folder.join("spring.log"),
            None => return Ok(None),
        },
    };
    Ok(Some(Plan {
        name: source.value(&PATTERN_ROLLING)?.unwrap_or_else(|| RolledName::beside(&path)),
        bytes_max: source.value(&MAX_SIZE)?,
        history: History {
            periods_max: source.value(&MAX_HISTORY)?,
            bytes_max: source.value(&TOTAL_SIZE_CAP)?,
        },
        clean_at_start: source.value(&CLEAN_HISTORY)?,
        path,
    }))
}

/// A log of transactions at `path`.
///
/// # Errors
/// What is wrong with a text.
pub fn transactions_plan(source: &impl Source, path: &Path) -> Result<Plan, String> {
    let periods_max = source.value(&LOG_MAX_HISTORY)?.map_or_else(|| source.value(&MAX_HISTORY), Ok)?;
    let bytes_max = source.value(&LOG_TOTAL_SIZE_CAP)?.map_or_else(|| source.value(&TOTAL_SIZE_CAP), Ok)?;
    Ok(Plan {
        path: path.to_path_buf(),
        name: RolledName::beside(path),
        bytes_max: source.value(&LOG_MAX_SIZE)?.map_or_else(|| source.value(&MAX_SIZE), Ok)?,
        history: History { periods_max, bytes_max },
        clean_at_start: source.value(&CLEAN_HISTORY)?,
    })
}

/// The pattern of the operators' lines; `None` is simplelog's own format.
///
/// # Errors
/// What is wrong with a text.
pub fn operators_pattern(source: &impl Source, in_file: bool) -> Result<Option<Pattern>, String> {
    if let Some(pattern) = source.value(if in_file { &PATTERN_FILE } else { &PATTERN_CONSOLE })? {
        return Ok(Some(pattern));
    }
    let (date, level) = (source.value(&PATTERN_DATEFORMAT)?, source.value(&PATTERN_LEVEL)?);
    if date.is_none() && level.is_none() {
        return Ok(None);
    }
    let date = date.unwrap_or_else(|| "yyyy-MM-dd'T'HH:mm:ss.SSSXXX".to_owned());
    let level = level.unwrap_or_else(|| "%-5p".to_owned());
    Pattern::parse(&format!("%d{{{date}}} [{level}] \\(%t\\) %c: %m%n")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Defaults;

    struct Texts(&'static [(&'static str, &'static str)]);

    impl Source for Texts {
        fn text(&self, key: &'static str) -> Option<&str> {
            self.0.iter().find(|(name, _)| *name == key).map(|(_, text)| *text)
        }
    }

    #[test]
    fn transactions_are_kept_like_the_log_unless_said_otherwise() {
        let own = Texts(&[
            ("logging.file.max-size", "1KB"),
            ("logging.file.max-history", "3"),
            ("proxy.log.max-size", "2KB"),
            ("proxy.log.total-size-cap", "1MB"),
        ]);
        let plan = transactions_plan(&own, Path::new("/log/access.log")).unwrap();
        assert_eq!((plan.bytes_max, plan.history), (2048, History { periods_max: 3, bytes_max: 1 << 20 }));
        let plan = transactions_plan(&Defaults, Path::new("/log/access.log")).unwrap();
        assert_eq!((plan.bytes_max, plan.history), (10 << 20, History { periods_max: 7, bytes_max: 0 }));
    }

    #[test]
    fn the_log_is_where_spring_puts_it() {
        let path = |texts| operators_plan(&Texts(texts)).unwrap().map(|plan| plan.path);
        assert_eq!(path(&[]), None);
        assert_eq!(path(&[("logging.file.path", "/log")]), Some(PathBuf::from("/log/spring.log")));
        let both = path(&[("logging.file.path", "/log"), ("logging.file.name", "a.log")]);
        assert_eq!(both, Some(PathBuf::from("a.log")));
    }

    #[test]
    fn parts_of_the_format_can_be_set_alone() {
        let pattern = |texts, in_file| operators_pattern(&Texts(texts), in_file).unwrap();
        assert_eq!(pattern(&[("logging.pattern.console", "%m")], true), None);
        assert_eq!(pattern(&[("logging.pattern.console", "%m")], false), Pattern::parse("%m").ok());
        let expected = Pattern::parse(r"%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} [%p] \(%t\) %c: %m").ok();
        assert_eq!(pattern(&[("logging.pattern.level", "%p")], true), expected);
    }
}
