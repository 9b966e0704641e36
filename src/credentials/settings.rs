//! TLS both ways: `server.ssl.*` and `proxy.ssl.client.*`.

use crate::setting::{AnySetting, Setting, Standing};
use crate::time::Millis;
use crate::tls::suites::{self, TlsVersion};
use crate::tls::verify::SerialCheck;
use crate::value::{self, ClientAuth};
use rustls::SupportedCipherSuite;

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
    &POST_QUANTUM,
    &RELOAD_INTERVAL,
];

/// A text; empty is unset.
pub(super) const fn text(key: &'static str, default: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, default, value::text, doc)
}

/// A password, blanks included.
pub(super) const fn password(key: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, "", value::verbatim, doc).secret()
}

/// The keys of one listener's TLS.
pub struct Keys {
    /// The store of the key.
    pub key_store: &'static Setting<String>,
    /// Its password.
    pub key_store_password: &'static Setting<String>,
    /// The key's own password.
    pub key_password: &'static Setting<String>,
    /// Which key of the store.
    pub key_alias: &'static Setting<String>,
    /// The certificate as PEM.
    pub certificate: &'static Setting<String>,
    /// Its key as PEM.
    pub certificate_private_key: &'static Setting<String>,
    /// The store of those whose clients may enter.
    pub trust_store: &'static Setting<String>,
    /// Its password.
    pub trust_store_password: &'static Setting<String>,
    /// The same as PEM.
    pub trust_certificate: &'static Setting<String>,
    /// What is asked of clients.
    pub client_auth: &'static Setting<ClientAuth>,
    /// TLS versions.
    pub enabled_protocols: &'static Setting<Vec<TlsVersion>>,
    /// Cipher suites.
    pub ciphers: &'static Setting<Vec<SupportedCipherSuite>>,
}

/// The forward listener's keys, whose identity and trust count towards targets as well.
pub static FORWARD: Keys = Keys {
    key_store: &KEY_STORE,
    key_store_password: &KEY_STORE_PASSWORD,
    key_password: &KEY_PASSWORD,
    key_alias: &KEY_ALIAS,
    certificate: &CERTIFICATE,
    certificate_private_key: &CERTIFICATE_PRIVATE_KEY,
    trust_store: &TRUST_STORE,
    trust_store_password: &TRUST_STORE_PASSWORD,
    trust_certificate: &TRUST_CERTIFICATE,
    client_auth: &CLIENT_AUTH,
    enabled_protocols: &ENABLED_PROTOCOLS,
    ciphers: &CIPHERS,
};

/// Whether the forward listener speaks TLS.
pub static ENABLED: Setting<bool> = Setting::new(
    "server.ssl.enabled",
    "false",
    value::boolean,
    "Whether `server.port` speaks TLS. Absent while any other `server.ssl.*` key is set, it is on (Spring Boot's rule).",
);

/// What the TLS listener asks of clients.
pub static CLIENT_AUTH: Setting<ClientAuth> = Setting::new(
    "server.ssl.client-auth",
    "none",
    value::client_auth,
    "Whether clients must (`need`) or may (`want`) show a certificate, or are not asked (`none`).",
);

/// The store of our own key.
pub static KEY_STORE: Setting<String> = text(
    "server.ssl.key-store",
    "",
    "Our certificate and key, inbound and outbound: a JKS, PKCS12 or PEM file (`file:/abs`, `file:rel`, a path, `classpath:x`).",
);
/// Its password.
pub static KEY_STORE_PASSWORD: Setting<String> =
    password("server.ssl.key-store-password", "Password of the key store.");
/// Its type, which its content decides.
pub static KEY_STORE_TYPE: Setting<String> =
    text("server.ssl.key-store-type", "", "JKS or PKCS12; the file's content decides, whatever this says.")
        .standing(Standing::NoEffect);
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
    text("server.ssl.key-alias", "", "Which key of the store is ours; the first when unset.");
/// The store of those we trust.
pub static TRUST_STORE: Setting<String> = text(
    "server.ssl.trust-store",
    "",
    "Certificates we trust, inbound and outbound; the system's roots when unset. Locations as for the key store.",
);
/// Its password.
pub static TRUST_STORE_PASSWORD: Setting<String> =
    password("server.ssl.trust-store-password", "Password of the trust store.");
/// Its type, which its content decides.
pub static TRUST_STORE_TYPE: Setting<String> =
    text("server.ssl.trust-store-type", "", "JKS or PKCS12; the file's content decides, whatever this says.")
        .standing(Standing::NoEffect);
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
    text("server.ssl.certificate", "", "Our certificate chain as a PEM file, instead of a key store.");
/// Our key as PEM.
pub static CERTIFICATE_PRIVATE_KEY: Setting<String> =
    text("server.ssl.certificate-private-key", "", "The PEM file of the certificate's key.");
/// Trusted certificates as PEM.
pub static TRUST_CERTIFICATE: Setting<String> = text(
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
pub static PROTOCOL: Setting<String> = text(
    "server.ssl.protocol",
    "TLS",
    "Java's protocol family; `server.ssl.enabled-protocols` names the versions.",
)
.standing(Standing::NoEffect);
/// Versions of the TLS listener.
pub static ENABLED_PROTOCOLS: Setting<Vec<TlsVersion>> = Setting::new(
    "server.ssl.enabled-protocols",
    "TLSv1.2,TLSv1.3",
    tls_versions,
    "TLS versions of the listener, as a comma list.",
);
/// Cipher suites of the TLS listener.
pub static CIPHERS: Setting<Vec<SupportedCipherSuite>> = Setting::new(
    "server.ssl.ciphers",
    "",
    suites::parse,
    "Cipher suites of the listener, as a comma list of Java's or OpenSSL's names; those that nobody speaks any more are \
     left out. Empty: all.",
);
/// What to run after the trust store was changed.
pub static RELOAD_SHELL: Setting<String> = text(
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
);
/// Whether targets' names are checked.
pub static VERIFY_HOSTNAME: Setting<bool> = Setting::new(
    "proxy.ssl.client.verifyHostname",
    "true",
    value::boolean,
    "Whether a target's certificate must name its host (the legacy never checked).",
);
/// Versions towards targets.
pub static TLS_VERSION: Setting<Vec<TlsVersion>> = Setting::new(
    "proxy.ssl.client.tls-version",
    "TLSv1.2,TLSv1.3",
    tls_versions,
    "TLS versions towards targets: `TLSv1.2`, `TLSv1.3` or both, as a comma list.",
);
/// Whether certificates only Java accepts pass.
pub static COMPAT: Setting<bool> = Setting::new(
    "proxy.ssl.client.compat",
    "",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        "" => Ok(false),
        "java" => Ok(true),
        _ => Err("is not java; leave it empty for the strict rules".to_owned()),
    },
    "`java` also accepts certificates that Java accepts and strict verifiers refuse.",
);

/// Whether targets must show the SERIALNUMBER configured for them.
pub static SERIAL_NUMBER: Setting<SerialCheck> = Setting::new(
    "proxy.ssl.client.serialNumber",
    "off",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        "off" => Ok(SerialCheck::Off),
        "report" => Ok(SerialCheck::Report),
        "enforce" => Ok(SerialCheck::Enforce),
        _ => Err("is not one of off, report, enforce".to_owned()),
    },
    "What a target's wrong subject SERIALNUMBER leads to: `off`, `report` or `enforce`.",
);

/// Whether key exchanges are offered that a quantum computer does not break.
pub static POST_QUANTUM: Setting<bool> = Setting::new(
    "proxy.ssl.post-quantum",
    "false",
    value::boolean,
    "Whether the hybrid key exchange X25519MLKEM768 is offered first, both ways; it makes handshakes larger than old \
     middleboxes bear.",
);

/// How often the files of keys and certificates are looked at.
pub static RELOAD_INTERVAL: Setting<Millis> = Setting::new(
    "proxy.ssl.reload-interval",
    "10s",
    value::timeout,
    "How often stores and PEM files are looked at for changes (Spring duration: a plain number is milliseconds; 0 or -1 = \
     only on SIGHUP).",
);

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
