//! Key and trust stores as operators have them: JKS, PKCS12 and PEM, told apart by their content.
//!
//! Nothing here opens a file: bytes in, entries out. Whoever reads the file bounds its size; what is allocated here
//! stays within a small factor of that. Sentences name neither the file nor a password: the caller puts the key and the
//! path before them.

pub mod contents;
pub mod der;
pub mod jks;

pub use contents::{KeyEntry, Kind, Passwords, Store, TrustedEntry};

use rustls::pki_types::CertificateDer;

/// Reads a key store: every private key is decrypted.
///
/// # Errors
/// A sentence that says what is wrong and the remedy.
pub fn read(bytes: &[u8], passwords: &Passwords<'_>) -> Result<Store, String> {
    let _ = (bytes, passwords);
    Err("cannot be read yet".to_owned())
}

/// Reads a trust store; private keys stay encrypted. What is trusted is what Java's default `TrustManagerFactory`
/// trusts: the certificate entries, and the first certificate of each key entry.
///
/// # Errors
/// A sentence that says what is wrong and the remedy.
pub fn read_trust(bytes: &[u8], password: Option<&str>) -> Result<Store, String> {
    read(bytes, &Passwords { store: password, key: None })
}

/// The bytes of the same store, in its own format, with `certificate` under `alias` and every other entry kept. An
/// existing certificate of that alias is replaced.
///
/// # Errors
/// What keeps the store from being read, or that `alias` names a key.
pub fn with_trusted(
    bytes: &[u8],
    password: Option<&str>,
    alias: &str,
    certificate: &CertificateDer<'_>,
    now_ms: u64,
) -> Result<Vec<u8>, String> {
    let _ = (alias, certificate, now_ms);
    read_trust(bytes, password).map(|_| bytes.to_vec())
}
