//! `proxy.*` keys of later releases: admission, forms, reverse listeners.

use serde::Deserialize;

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &FORMS,
    &CONNECT_PORTS,
    &TRUSTED_PROXIES,
    &PROXY_PROTOCOL,
    &ALLOW_SUBJECTS,
    &REVERSE_PORT,
    &REVERSE_SSL_PORT,
    &REVERSE,
    &DISABLE_COMPRESSION,
];

const fn refused(key: &'static str, doc: &'static str, why: &'static str) -> Setting<String> {
    Setting::new(key, "", value::text, doc).standing(Standing::Refused(why))
}

/// How a request may name its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Origin-form with `x-target-host`.
    Header,
    /// Absolute-form (RFC 9112 §3.2.2).
    Absolute,
    /// CONNECT (RFC 9110 §9.3.6).
    Connect,
}

/// Which forms are on.
pub static FORMS: Setting<Vec<Form>> = Setting::new(
    "proxy.forward.forms",
    "header",
    |text| {
        let wrong = |_| "is not a list of header, absolute, connect".to_owned();
        value::list(text)?.iter().map(|form| value::choice(form).map_err(wrong)).collect()
    },
    "How requests may name their target: `header` (`x-target-host`), `absolute`, `connect`, as a comma list.",
)
.standing(Standing::NotYet);
/// Where CONNECT may go.
pub static CONNECT_PORTS: Setting<String> = Setting::new(
    "proxy.connect.ports",
    "443,8443",
    value::text,
    "Ports CONNECT may reach, as a comma list with ranges.",
)
.standing(Standing::NotYet);
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
