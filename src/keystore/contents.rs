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

/// What is said of a store whose integrity cannot be confirmed: from outside the two are the same.
pub const WRONG_PASSWORD: &str = "the password is wrong or the store is damaged";
/// What is said of a store that ends too early or says what cannot be.
pub const DAMAGED: &str = "the store is damaged: it does not hold what its lengths say";
/// What is said of ciphers that are too rare, too weak or too costly.
pub const UNSUPPORTED: &str = "its encryption is not supported; openssl pkcs8 -topk8 -v2 aes-256-cbc encrypts a key \
                               anew, keytool -importkeystore -deststoretype PKCS12 a store";
/// Iterations of a password's digest beyond this are refused; real stores have 1,024 to 600,000.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// A store whose keys are still sealed.
#[derive(Debug)]
pub struct Contents {
    /// Its format.
    pub kind: Kind,
    /// Its entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// A sentence for each thing that was passed over.
    pub notes: Vec<String>,
    /// Whether its integrity was confirmed with the password.
    pub verified: bool,
}

/// One entry of a store.
#[derive(Debug)]
pub struct Entry {
    /// Its name, in lower case.
    pub alias: String,
    /// What it is.
    pub body: Body,
}

/// What an entry is.
#[derive(Debug)]
pub enum Body {
    /// A private key with its chain, leaf first.
    Key {
        /// The key.
        sealed: Sealed,
        /// The chain.
        chain: Vec<CertificateDer<'static>>,
    },
    /// A trusted certificate.
    Trusted(CertificateDer<'static>),
}

/// A private key as the store holds it.
pub enum Sealed {
    /// An `EncryptedPrivateKeyInfo` with the cipher of JKS.
    Jks(Vec<u8>),
    /// An `EncryptedPrivateKeyInfo` of PKCS#8.
    Pkcs8(Vec<u8>),
    /// Not encrypted, or decrypted with the store.
    Plain(Zeroizing<PrivateKeyDer<'static>>),
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jks(_) => "Jks",
            Self::Pkcs8(_) => "Pkcs8",
            Self::Plain(_) => "Plain",
        })
    }
}
