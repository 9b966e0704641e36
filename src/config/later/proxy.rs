//! `proxy.*` keys of later releases: reverse listeners.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[&REVERSE_PORT, &REVERSE_SSL_PORT, &REVERSE, &DISABLE_COMPRESSION];

const fn refused(key: &'static str, doc: &'static str, why: &'static str) -> Setting<String> {
    Setting::new(key, "", value::text, doc).standing(Standing::Refused(why))
}

/// The reverse listener.
pub static REVERSE_PORT: Setting<String> = refused(
    "proxy.reverse.port",
    "Port of the reverse listener; unset is none.",
    "this build has no reverse listener, so nothing would answer there; remove it",
);
/// The reverse listener with TLS.
pub static REVERSE_SSL_PORT: Setting<String> = refused(
    "proxy.reverse.ssl.port",
    "Port of the reverse TLS listener; unset is none.",
    "this build has no reverse listener, so nothing would answer there; remove it",
);
/// The rest of the reverse listener.
pub static REVERSE: Setting<String> = Setting::new(
    "proxy.reverse.*",
    "",
    value::verbatim,
    "Routes, certificates and logs of the reverse listeners.",
)
.standing(Standing::NotYet);
/// What the legacy needed to leave bodies alone.
pub static DISABLE_COMPRESSION: Setting<bool> = Setting::new(
    "proxy.httpclient.disableContentCompression",
    "false",
    value::boolean,
    "Answers pass as they are in any case.",
)
.standing(Standing::NoEffect);
