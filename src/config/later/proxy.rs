//! `proxy.*` keys of later releases: admission, reverse listeners.

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] =
    &[&TRUSTED_PROXIES, &PROXY_PROTOCOL, &ALLOW_SUBJECTS, &DISABLE_COMPRESSION];

const fn refused(key: &'static str, doc: &'static str, why: &'static str) -> Setting<String> {
    Setting::new(key, "", value::text, doc).standing(Standing::Refused(why))
}

/// Whom `X-Forwarded-For` is believed from.
pub static TRUSTED_PROXIES: Setting<String> = refused(
    "proxy.ip.trusted-proxies",
    "Peers, as a CIDR list, whose `X-Forwarded-For` tells the client's address.",
    "this build judges clients by the socket's address only; remove it and let proxy.ip.allow name those addresses",
);
/// Whether peers speak the PROXY protocol.
pub static PROXY_PROTOCOL: Setting<bool> = Setting::new(
    "proxy.protocol",
    "off",
    value::boolean,
    "Whether peers begin connections with a PROXY protocol header that tells the client's address.",
)
.standing(Standing::Refused(
    "this build does not read the PROXY protocol; switch it off here and in the load balancer",
));
/// Which client certificates may enter.
pub static ALLOW_SUBJECTS: Setting<String> = refused(
    "proxy.client.allow-subjects",
    "Subjects of client certificates that may enter.",
    "this build cannot see client certificates; remove it, or keep the old build in front",
);
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
