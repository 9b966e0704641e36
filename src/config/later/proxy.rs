//! `proxy.*` keys of the legacy without effect.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&DISABLE_COMPRESSION];

/// What the legacy needed to leave bodies alone.
pub static DISABLE_COMPRESSION: Setting<bool> = Setting::new(
    "proxy.httpclient.disableContentCompression",
    "false",
    value::boolean,
    "Answers pass as they are in any case.",
)
.standing(Standing::NoEffect);
