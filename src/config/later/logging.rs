//! `logging.config` and `proxy.logging.*`: the request logs that come later.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&CONFIG, &REQUEST_OTHER];

const fn later(key: &'static str, default: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, default, value::verbatim, doc).standing(Standing::NotYet)
}

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
