//! TLS both ways: `server.ssl.*` and `proxy.ssl.client.*`.

use serde::Deserialize;

use crate::setting::{AnySetting, Setting, Standing};
use crate::value::{self, ClientAuth};

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &ENABLED,
    &CLIENT_AUTH,
    &KEY_STORE,
    &KEY_STORE_PASSWORD,
    &KEY_STORE_TYPE,
    &KEY_STORE_PROVIDER,
    &KEY_PASSWORD,
    &KEY_ALIAS,
    &TRUST_STORE,
    &TRUST_STORE_PASSWORD,
    &TRUST_STORE_TYPE,
    &TRUST_STORE_PROVIDER,
    &CERTIFICATE,
    &CERTIFICATE_PRIVATE_KEY,
    &TRUST_CERTIFICATE,
    &TRUST_CERTIFICATE_PRIVATE_KEY,
    &PROTOCOL,
    &ENABLED_PROTOCOLS,
    &CIPHERS,
    &RELOAD_SHELL,
    &VALIDATE_CERTIFICATE,
    &VERIFY_HOSTNAME,
    &TLS_VERSION,
    &COMPAT,
    &SERIAL_NUMBER,
];

/// Keys whose value is a file that must exist when it is named.
pub static STORES: &[&Setting<String>] =
    &[&KEY_STORE, &TRUST_STORE, &CERTIFICATE, &CERTIFICATE_PRIVATE_KEY, &TRUST_CERTIFICATE];

const NO_LISTENER: &str = "this build has no TLS listener, and serving plain text instead would be worse; write server.ssl.enabled=false";

/// A text that this build only stores.
pub(super) const fn later(key: &'static str, default: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, default, value::text, doc).standing(Standing::NotYet)
}

/// A password that this build only stores.
pub(super) const fn password(key: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, "", value::verbatim, doc).standing(Standing::NotYet).secret()
}

/// Whether the forward listener speaks TLS.
pub static ENABLED: Setting<bool> = Setting::new(
    "server.ssl.enabled",
    "false",
    value::boolean,
    "Whether `server.port` speaks TLS. Absent while any other `server.ssl.*` key is set, it is on (Spring Boot's rule).",
)
.standing(Standing::Refused(NO_LISTENER));

/// What the TLS listener asks of clients.
pub static CLIENT_AUTH: Setting<ClientAuth> = Setting::new(
    "server.ssl.client-auth",
    "none",
    value::client_auth,
    "Whether clients must (`need`) or may (`want`) show a certificate, or are not asked (`none`).",
)
.standing(Standing::NotYet);

/// The store of our own key.
pub static KEY_STORE: Setting<String> = later(
    "server.ssl.key-store",
    "",
    "Our certificate and key, inbound and outbound: a JKS, PKCS12 or PEM file (`file:/abs`, `file:rel`, a path, `classpath:x`).",
);
/// Its password.
pub static KEY_STORE_PASSWORD: Setting<String> =
    password("server.ssl.key-store-password", "Password of the key store.");
/// Its type, which its content decides.
pub static KEY_STORE_TYPE: Setting<String> =
    later("server.ssl.key-store-type", "", "JKS or PKCS12; the file's content decides, whatever this says.");
/// A Java word without meaning here.
pub static KEY_STORE_PROVIDER: Setting<String> = Setting::new(
    "server.ssl.key-store-provider",
    "",
    value::text,
    "Java's security provider; there is none here.",
)
.standing(Standing::NoEffect);
/// The key's own password.
pub static KEY_PASSWORD: Setting<String> =
    password("server.ssl.key-password", "Password of the key within the store; the store's own when unset.");
/// Which key of the store.
pub static KEY_ALIAS: Setting<String> =
    later("server.ssl.key-alias", "", "Which key of the store is ours; the first when unset.");
/// The store of those we trust.
pub static TRUST_STORE: Setting<String> = later(
    "server.ssl.trust-store",
    "",
    "Certificates we trust, inbound and outbound; the system's roots when unset. Locations as for the key store.",
);
/// Its password.
pub static TRUST_STORE_PASSWORD: Setting<String> =
    password("server.ssl.trust-store-password", "Password of the trust store.");
/// Its type, which its content decides.
pub static TRUST_STORE_TYPE: Setting<String> = later(
    "server.ssl.trust-store-type",
    "",
    "JKS or PKCS12; the file's content decides, whatever this says.",
);
/// A Java word without meaning here.
pub static TRUST_STORE_PROVIDER: Setting<String> = Setting::new(
    "server.ssl.trust-store-provider",
    "",
    value::text,
    "Java's security provider; there is none here.",
)
.standing(Standing::NoEffect);
/// Our certificate as PEM.
pub static CERTIFICATE: Setting<String> =
    later("server.ssl.certificate", "", "Our certificate chain as a PEM file, instead of a key store.");
/// Our key as PEM.
pub static CERTIFICATE_PRIVATE_KEY: Setting<String> =
    later("server.ssl.certificate-private-key", "", "The PEM file of the certificate's key.");
/// Trusted certificates as PEM.
pub static TRUST_CERTIFICATE: Setting<String> = later(
    "server.ssl.trust-certificate",
    "",
    "Certificates we trust as a PEM file, instead of a trust store.",
);
/// A Spring key nobody needs.
pub static TRUST_CERTIFICATE_PRIVATE_KEY: Setting<String> = Setting::new(
    "server.ssl.trust-certificate-private-key",
    "",
    value::text,
    "Known from Spring; trusted certificates need no key.",
)
.standing(Standing::NoEffect);
/// Java's protocol family.
pub static PROTOCOL: Setting<String> = later(
    "server.ssl.protocol",
    "TLS",
    "Java's protocol family; `server.ssl.enabled-protocols` names the versions.",
);
/// Versions of the TLS listener.
pub static ENABLED_PROTOCOLS: Setting<Vec<String>> = Setting::new(
    "server.ssl.enabled-protocols",
    "TLSv1.2,TLSv1.3",
    value::list,
    "TLS versions of the listener, as a comma list.",
)
.standing(Standing::NotYet);
/// Cipher suites of the TLS listener.
pub static CIPHERS: Setting<Vec<String>> =
    Setting::new("server.ssl.ciphers", "", value::list, "Cipher suites of the listener, as a comma list.")
        .standing(Standing::NotYet);
/// What to run after the trust store was changed.
pub static RELOAD_SHELL: Setting<String> = later(
    "server.ssl.reloadShell",
    "",
    "Command that `x-reload-httpclient` runs in the trust store's folder after writing `newCert.crt`.",
);

/// Whether targets' certificates are checked.
pub static VALIDATE_CERTIFICATE: Setting<bool> = Setting::new(
    "proxy.ssl.client.validateCertificate",
    "true",
    value::boolean,
    "Whether the certificates of `https` targets are checked against the trust store.",
)
.standing(Standing::NotYet);
/// Whether targets' names are checked.
pub static VERIFY_HOSTNAME: Setting<bool> = Setting::new(
    "proxy.ssl.client.verifyHostname",
    "true",
    value::boolean,
    "Whether a target's certificate must name its host (the legacy never checked).",
)
.standing(Standing::NotYet);
/// Versions towards targets.
pub static TLS_VERSION: Setting<Vec<TlsVersion>> = Setting::new(
    "proxy.ssl.client.tls-version",
    "TLSv1.2,TLSv1.3",
    tls_versions,
    "TLS versions towards targets: `TLSv1.2`, `TLSv1.3` or both, as a comma list.",
)
.standing(Standing::NotYet);
/// Whether certificates only Java accepts pass.
pub static COMPAT: Setting<String> = Setting::new(
    "proxy.ssl.client.compat",
    "",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        word @ ("" | "java") => Ok(word.to_owned()),
        _ => Err("is not java; leave it empty for the strict rules".to_owned()),
    },
    "`java` also accepts certificates that Java accepts and strict verifiers refuse.",
)
.standing(Standing::NotYet);

/// What a wrong subject SERIALNUMBER of a target leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SerialNumberCheck {
    /// It is not looked at.
    Off,
    /// It is logged.
    Report,
    /// It ends the handshake.
    Enforce,
}

/// Whether targets must show the SERIALNUMBER configured for them.
pub static SERIAL_NUMBER: Setting<SerialNumberCheck> = Setting::new(
    "proxy.ssl.client.serialNumber",
    "off",
    |text| value::choice(text).map_err(|_| "is not one of off, report, enforce".to_owned()),
    "What a target's wrong subject SERIALNUMBER leads to: `off`, `report` or `enforce`.",
)
.standing(Standing::Refused("this build does not look at the SERIALNUMBER of targets; write off"));

/// A TLS version we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// A comma list of Java's names; the legacy found a wrong one at the first request, we find it at start.
pub(super) fn tls_versions(text: &str) -> Result<Vec<TlsVersion>, String> {
    let names = value::list(text)?;
    if names.is_empty() {
        return Err("names no TLS version; write TLSv1.2, TLSv1.3 or both".to_owned());
    }
    let mut versions = names.iter().map(|name| tls_version(name)).collect::<Result<Vec<_>, _>>()?;
    versions.sort();
    versions.dedup();
    Ok(versions)
}

fn tls_version(name: &str) -> Result<TlsVersion, String> {
    match name.to_ascii_lowercase().as_str() {
        "tlsv1.2" => Ok(TlsVersion::V12),
        "tlsv1.3" => Ok(TlsVersion::V13),
        "sslv2hello" | "sslv2" | "sslv3" | "tlsv1" | "tlsv1.0" | "tlsv1.1" => Err(format!(
            "names {name}, which is broken (RFC 7568, RFC 8996) and not spoken; write TLSv1.2, TLSv1.3 or both"
        )),
        _ => Err(format!("names {name}, which is no TLS version; write TLSv1.2, TLSv1.3 or both")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_checked_at_start() {
        assert_eq!(tls_versions("TLSv1.3, tlsv1.2 ,TLSv1.2"), Ok(vec![TlsVersion::V12, TlsVersion::V13]));
        assert_eq!(tls_versions("TLSv1.2"), Ok(vec![TlsVersion::V12]));
        for (text, what) in [
            ("TLSv1.1,TLSv1.2", "names TLSv1.1, which is broken"),
            ("SSLv3", "names SSLv3, which is broken"),
            ("TLSv1", "names TLSv1, which is broken"),
            ("TLS1.2", "names TLS1.2, which is no TLS version"),
            ("", "names no TLS version"),
        ] {
            let error = tls_versions(text).unwrap_err();
            assert!(error.starts_with(what), "{text}: {error}");
        }
    }
}
