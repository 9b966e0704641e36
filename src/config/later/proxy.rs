//! `proxy.*` keys of later releases: reverse listeners.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&DISABLE_COMPRESSION];

/// The reverse listeners' logs.
pub static REVERSE: Setting<String> =
    Setting::new("proxy.reverse.log.*", "", value::verbatim, "Logs of the reverse listeners.")
        .standing(Standing::NotYet);
/// What the legacy needed to leave bodies alone.
pub static DISABLE_COMPRESSION: Setting<bool> = Setting::new(
    "proxy.httpclient.disableContentCompression",
    "false",
    value::boolean,
    "Answers pass as they are in any case.",
)
.standing(Standing::NoEffect);
