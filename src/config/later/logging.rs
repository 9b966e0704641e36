//! `logging.config`: known, and of no use here.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&CONFIG];

/// Logback's own file.
pub static CONFIG: Setting<String> = Setting::new(
    "logging.config",
    "",
    value::text,
    "Logback's configuration file; there is no Logback here.",
)
.standing(Standing::NoEffect);
