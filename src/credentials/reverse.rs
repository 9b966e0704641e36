//! TLS of the reverse listener: `proxy.reverse.ssl.*`, with the meaning of `server.ssl.*`.

use crate::credentials::settings::{Keys, password, text, tls_versions};
use crate::setting::{AnySetting, Setting};
use crate::tls::suites::{self, TlsVersion};
use crate::value::{self, ClientAuth};
use rustls::SupportedCipherSuite;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &KEY_STORE,
    &KEY_STORE_PASSWORD,
    &KEY_PASSWORD,
    &KEY_ALIAS,
    &CERTIFICATE,
    &CERTIFICATE_PRIVATE_KEY,
    &CLIENT_AUTH,
    &TRUST_STORE,
    &TRUST_STORE_PASSWORD,
    &TRUST_CERTIFICATE,
    &ENABLED_PROTOCOLS,
    &CIPHERS,
];

/// Its keys together.
pub static KEYS: Keys = Keys {
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

/// The store of its key.
pub static KEY_STORE: Setting<String> = text(
    "proxy.reverse.ssl.key-store",
    "",
    "Certificate and key of the reverse TLS listener: a JKS, PKCS12 or PEM file; locations as for server.ssl.key-store.",
);
/// Its password.
pub static KEY_STORE_PASSWORD: Setting<String> =
    password("proxy.reverse.ssl.key-store-password", "Password of that key store.");
/// The key's own password.
pub static KEY_PASSWORD: Setting<String> = password(
    "proxy.reverse.ssl.key-password",
    "Password of the key within that store; the store's own when unset.",
);
/// Which key of the store.
pub static KEY_ALIAS: Setting<String> =
    text("proxy.reverse.ssl.key-alias", "", "Which key of that store; the first when unset.");
/// The certificate as PEM.
pub static CERTIFICATE: Setting<String> = text(
    "proxy.reverse.ssl.certificate",
    "",
    "Certificate chain of the reverse TLS listener as a PEM file, instead of a key store (httpd's SSLCertificateFile).",
);
/// Its key as PEM.
pub static CERTIFICATE_PRIVATE_KEY: Setting<String> = text(
    "proxy.reverse.ssl.certificate-private-key",
    "",
    "The PEM file of that certificate's key (httpd's SSLCertificateKeyFile).",
);
/// What it asks of clients.
pub static CLIENT_AUTH: Setting<ClientAuth> = Setting::new(
    "proxy.reverse.ssl.client-auth",
    "none",
    value::client_auth,
    "Whether clients of the reverse TLS listener must (`need`) or may (`want`) show a certificate, or are not asked (`none`).",
);
/// Whose clients may enter.
pub static TRUST_STORE: Setting<String> = text(
    "proxy.reverse.ssl.trust-store",
    "",
    "Certificates those clients are verified with; the system's roots when unset.",
);
/// Its password.
pub static TRUST_STORE_PASSWORD: Setting<String> =
    password("proxy.reverse.ssl.trust-store-password", "Password of that trust store.");
/// The same as PEM.
pub static TRUST_CERTIFICATE: Setting<String> = text(
    "proxy.reverse.ssl.trust-certificate",
    "",
    "Certificates those clients are verified with as a PEM file, instead of a trust store.",
);
/// Its versions.
pub static ENABLED_PROTOCOLS: Setting<Vec<TlsVersion>> = Setting::new(
    "proxy.reverse.ssl.enabled-protocols",
    "TLSv1.2,TLSv1.3",
    tls_versions,
    "TLS versions of the reverse TLS listener, as a comma list.",
);
/// Its cipher suites.
pub static CIPHERS: Setting<Vec<SupportedCipherSuite>> = Setting::new(
    "proxy.reverse.ssl.ciphers",
    "",
    suites::parse,
    "Cipher suites of the reverse TLS listener, as for server.ssl.ciphers.",
);
