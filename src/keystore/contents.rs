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

/// A password as JKS and PKCS12 digest it: UTF-16, big end first; wiped when dropped.
pub fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    // The capacity is enough, also for a final zero, so that no copy stays behind where the vector grew.
    let mut octets = Zeroizing::new(Vec::with_capacity(2 * password.len() + 2));
    octets.extend(password.encode_utf16().flat_map(u16::to_be_bytes));
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    #[test]
    fn nothing_secret_is_printed() {
        let key = || Zeroizing::new(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(vec![1, 2, 3])));
        let entry = KeyEntry { alias: "a".to_owned(), key: key(), chain: Vec::new() };
        assert_eq!(format!("{entry:?}"), "KeyEntry { alias: \"a\", chain: 0, .. }");
        let passwords = Passwords { store: Some("secret"), key: None };
        assert_eq!(format!("{passwords:?}"), "Passwords { .. }");
        assert_eq!(format!("{:?}", [Sealed::Plain(key()), Sealed::Jks(vec![1])]), "[Plain, Jks]");
    }
}
