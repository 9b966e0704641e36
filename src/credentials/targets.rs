//! Identity, trust and limits of single targets: `proxy.targets[N].*`.

use crate::credentials::settings::{password, text, tls_versions};
use crate::policy::targets::Match;
use crate::setting::{AnySetting, Setting};
use crate::time::Millis;
use crate::tls::suites::TlsVersion;
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &MATCH,
    &KEY_STORE,
    &KEY_STORE_PASSWORD,
    &KEY_PASSWORD,
    &KEY_ALIAS,
    &TRUST_STORE,
    &TRUST_STORE_PASSWORD,
    &TLS_VERSION,
    &VERIFY_HOSTNAME,
    &CONNECT_TIMEOUT,
    &SOCKET_TIMEOUT,
    &MAX_CONNECTIONS,
    &SERIAL_NUMBER,
];

/// Which targets an identity is for.
pub static MATCH: Setting<Option<Match>> = Setting::new(
    "proxy.targets[N].match",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { Match::parse(text).map(Some) },
    "Targets this entry is for: `host`, `*.suffix` or `host:port`; the first match wins. What an entry does not set holds \
     as it does for all targets.",
);
/// The key store of that identity.
pub static KEY_STORE: Setting<String> =
    text("proxy.targets[N].key-store", "", "Key store shown to these targets.");
/// Its password.
pub static KEY_STORE_PASSWORD: Setting<String> =
    password("proxy.targets[N].key-store-password", "Password of that key store.");
/// The key's own password.
pub static KEY_PASSWORD: Setting<String> =
    password("proxy.targets[N].key-password", "Password of the key within that store.");
/// Which key of that store.
pub static KEY_ALIAS: Setting<String> = text("proxy.targets[N].key-alias", "", "Key of that store.");
/// Whom these targets are verified with.
pub static TRUST_STORE: Setting<String> =
    text("proxy.targets[N].trust-store", "", "Trust store these targets are verified with.");
/// Its password.
pub static TRUST_STORE_PASSWORD: Setting<String> =
    password("proxy.targets[N].trust-store-password", "Password of that trust store.");
/// Versions towards these targets.
pub static TLS_VERSION: Setting<Vec<TlsVersion>> = Setting::new(
    "proxy.targets[N].tls-version",
    "TLSv1.2,TLSv1.3",
    tls_versions,
    "TLS versions towards these targets.",
);
/// Whether these targets' names are checked.
pub static VERIFY_HOSTNAME: Setting<bool> = Setting::new(
    "proxy.targets[N].verify-hostname",
    "true",
    value::boolean,
    "Whether their certificates must name them.",
);
/// How long a connection to them may take.
pub static CONNECT_TIMEOUT: Setting<Millis> =
    Setting::new("proxy.targets[N].connect-timeout", "60", value::seconds, "Connect timeout in seconds.");
/// How long they may be silent.
pub static SOCKET_TIMEOUT: Setting<Millis> =
    Setting::new("proxy.targets[N].socket-timeout", "60", value::seconds, "Read timeout in seconds.");
/// How many connections they get.
pub static MAX_CONNECTIONS: Setting<usize> = Setting::new(
    "proxy.targets[N].max-connections",
    "200",
    value::count,
    "Largest number of connections to each of them.",
);
/// Which SERIALNUMBER they must show.
pub static SERIAL_NUMBER: Setting<String> =
    text("proxy.targets[N].serial-number", "", "Subject SERIALNUMBER their certificates must carry.");
