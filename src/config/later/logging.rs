//! `logging.*` and `proxy.logging.*`: levels by name, and the files that come later.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &GROUP,
    &FILE_PATH,
    &PATTERN_FILE,
    &PATTERN_CONSOLE,
    &PATTERN_DATEFORMAT,
    &PATTERN_LEVEL,
    &PATTERN_ROLLING,
    &MAX_SIZE,
    &MAX_HISTORY,
    &TOTAL_SIZE_CAP,
    &CLEAN_HISTORY,
    &CONFIG,
    &REQUEST_OTHER,
    &LOG_ON_FULL,
];

const fn later(key: &'static str, default: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, default, value::verbatim, doc).standing(Standing::NotYet)
}

/// Loggers under one name.
pub static GROUP: Setting<Vec<String>> =
    Setting::new("logging.group.*", "", value::list, "Loggers that share one level name, as a comma list.")
        .standing(Standing::NotYet);
/// Its folder.
pub static FILE_PATH: Setting<String> =
    later("logging.file.path", "", "Folder of `spring.log` when `logging.file.name` is unset.");
/// Its line format.
pub static PATTERN_FILE: Setting<String> = later("logging.pattern.file", "", "Format of the file's lines.");
/// The console's line format.
pub static PATTERN_CONSOLE: Setting<String> =
    later("logging.pattern.console", "", "Format of the console's lines.");
/// The time format in lines.
pub static PATTERN_DATEFORMAT: Setting<String> =
    later("logging.pattern.dateformat", "", "Format of times in lines.");
/// The level format in lines.
pub static PATTERN_LEVEL: Setting<String> = later("logging.pattern.level", "", "Format of levels in lines.");
/// The names of rolled files.
pub static PATTERN_ROLLING: Setting<String> = later(
    "logging.pattern.rolling-file-name",
    "",
    "Names of rolled files; `<file>.yyyy-MM-dd.N.gz` when unset.",
)
.aliases(&["logging.logback.rollingpolicy.file-name-pattern"]);
/// When a file is rolled.
pub static MAX_SIZE: Setting<u64> =
    Setting::new("logging.file.max-size", "10MB", value::size, "Size at which a log file is rolled.")
        .aliases(&["logging.logback.rollingpolicy.max-file-size"])
        .standing(Standing::NotYet);
/// How long rolled files are kept.
pub static MAX_HISTORY: Setting<u64> = Setting::new(
    "logging.file.max-history",
    "7",
    |text| value::whole(text, 0..=36_500),
    "Days that rolled files are kept.",
)
.aliases(&["logging.logback.rollingpolicy.max-history"])
.standing(Standing::NotYet);
/// How much all rolled files may take.
pub static TOTAL_SIZE_CAP: Setting<u64> = Setting::new(
    "logging.file.total-size-cap",
    "0",
    value::size,
    "Size of all rolled files together; 0 is no limit.",
)
.aliases(&["logging.logback.rollingpolicy.total-size-cap"])
.standing(Standing::NotYet);
/// Whether old files go at start.
pub static CLEAN_HISTORY: Setting<bool> = Setting::new(
    "logging.file.clean-history-on-start",
    "false",
    value::boolean,
    "Whether old rolled files are removed at start.",
)
.aliases(&["logging.logback.rollingpolicy.clean-history-on-start"])
.standing(Standing::NotYet);
/// Logback's own file.
pub static CONFIG: Setting<String> = Setting::new(
    "logging.config",
    "",
    value::text,
    "Logback's configuration file; there is no Logback here.",
)
.standing(Standing::NoEffect);

/// The legacy's request log.
pub static REQUEST_OTHER: Setting<String> =
    later("proxy.logging.*", "", "Shape of the request log (`CommonsRequestLoggingFilter`).");
/// What a full log queue does.
pub static LOG_ON_FULL: Setting<String> = later(
    "proxy.log.on-full",
    "drop",
    "What a full log queue does: `drop` lines and count them, or `stall` the worker.",
);
