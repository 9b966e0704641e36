//! What a store holds, whatever its format.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use zeroize::Zeroizing;

/// The format of a store, told by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Java's own, `keytool`'s default up to Java 8.
    Jks,
    /// PFX: `keytool`'s default since Java 9, and what `openssl pkcs12` writes.
    Pkcs12,
    /// Certificates and keys in text.
    Pem,
}

/// A private key and its chain, leaf first.
pub struct KeyEntry {
    /// Its name, in lower case as Java compares it.
    pub alias: String,
    /// The key; wiped when dropped.
    pub key: Zeroizing<PrivateKeyDer<'static>>,
    /// The chain, leaf first; empty for a PEM file that holds a key only.
    pub chain: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry")
            .field("alias", &self.alias)
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// A certificate that is trusted as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedEntry {
    /// Its name, in lower case as Java compares it.
    pub alias: String,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
}

/// A store with its keys decrypted.
#[derive(Debug)]
pub struct Store {
    /// Its format.
    pub kind: Kind,
    /// Private keys, in the order of the file.
    pub keys: Vec<KeyEntry>,
    /// Trusted certificates, in the order of the file.
    pub trusted: Vec<TrustedEntry>,
    /// A sentence for each thing that was passed over: secret keys, certificates without Java's trust mark.
    pub notes: Vec<String>,
}

/// The passwords of a store.
#[derive(Clone, Copy, Default)]
pub struct Passwords<'a> {
    /// Of the store; without it a JKS store is read unverified.
    pub store: Option<&'a str>,
    /// Of the keys; `None` when it is that of the store.
    pub key: Option<&'a str>,
}

impl fmt::Debug for Passwords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}
