//! `logging.config` and `proxy.logging.*`: the request logs that come later.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&CONFIG, &REQUEST_MASK, &REQUEST_OTHER, &LOG_MASK_PATHS];

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

/// Whether secrets are masked in request logs.
pub static REQUEST_MASK: Setting<bool> = Setting::new(
    "proxy.logging.mask",
    "true",
    value::boolean,
    "Whether request logs mask credentials, cookies and query values.",
)
.standing(Standing::NotYet);
/// The legacy's request log.
pub static REQUEST_OTHER: Setting<String> =
    later("proxy.logging.*", "", "Shape of the request log (`CommonsRequestLoggingFilter`).");
/// Which path segments are masked.
pub static LOG_MASK_PATHS: Setting<String> =
    later("proxy.log.mask-paths", "", "Path segments that access lines mask.");
