//! Key and trust stores as operators have them: JKS, PKCS12 and PEM, told apart by their content.
//!
//! Nothing here opens a file: bytes in, entries out. Whoever reads the file bounds its size; what is allocated here
//! stays within a small factor of that. Sentences name neither the file nor a password: the caller puts the key and the
//! path before them.
//!
//! ```text
//! bytes -> jks | pkcs12 | pem -> Contents, keys sealed -> Store, keys decrypted
//!                                         `-> what is trusted, what is listed
//! ```

pub mod contents;
pub mod der;
pub mod jks;
pub mod list;
pub mod pem;
pub mod pkcs12;
pub mod pkcs8;

pub use contents::{KeyEntry, Kind, Passwords, Store, TrustedEntry};

use aws_lc_rs::digest::{SHA256, digest};
use contents::{Body, Contents, Sealed};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// The SHA-256 of a file's content.
pub type Fingerprint = [u8; 32];

/// Reads a key store: every private key is decrypted.
///
/// A certificate that belongs to a key is in its chain; `trusted` has the others. A PEM file that holds only a chain
/// is all `trusted`, one that holds only a key has a key without a chain: whoever reads the two files joins them.
///
/// # Errors
/// A sentence that says what is wrong and the remedy.
pub fn read(bytes: &[u8], passwords: &Passwords<'_>) -> Result<Store, String> {
    let contents = open(bytes, passwords.store)?;
    let mut store =
        Store { kind: contents.kind, keys: Vec::new(), trusted: Vec::new(), notes: contents.notes };
    for entry in contents.entries {
        match entry.body {
            Body::Trusted(certificate) => {
                store.trusted.push(TrustedEntry { alias: entry.alias, certificate });
            }
            Body::Key { sealed, chain } => {
                let key = unseal(sealed, passwords)
                    .map_err(|what| format!("the key {} cannot be decrypted: {what}", entry.alias))?;
                store.keys.push(KeyEntry { alias: entry.alias, key, chain });
            }
        }
    }
    if store.kind == Kind::Pem {
        pem::join(&mut store);
    }
    Ok(store)
}

/// Reads a trust store; private keys stay encrypted, and a JKS store without a password is read unverified, as in Java.
///
/// What is trusted is what Java's default `TrustManagerFactory` trusts: the certificate entries and the first
/// certificate of each key entry; of a PEM file every certificate.
///
/// # Errors
/// A sentence that says what is wrong and the remedy.
pub fn read_trust(bytes: &[u8], password: Option<&str>) -> Result<Store, String> {
    let contents = open(bytes, password)?;
    let trusted = |entry: contents::Entry| {
        let certificate = match entry.body {
            Body::Trusted(certificate) => certificate,
            Body::Key { chain, .. } => chain.into_iter().next()?,
        };
        Some(TrustedEntry { alias: entry.alias, certificate })
    };
    let trusted = contents.entries.into_iter().filter_map(trusted).collect();
    Ok(Store { kind: contents.kind, keys: Vec::new(), trusted, notes: contents.notes })
}

/// The bytes of the same store, in its own format, with `certificate` under `alias` and every other entry kept. The
/// alias is lower-cased, as keytool does; a certificate it names already is replaced. `now_ms`, milliseconds since
/// 1970, becomes the date of a JKS entry.
///
/// # Errors
/// What keeps the store from being read, that a password is missing, or that `alias` names a key.
pub fn with_trusted(
    bytes: &[u8],
    password: Option<&str>,
    alias: &str,
    certificate: &CertificateDer<'_>,
    now_ms: u64,
) -> Result<Vec<u8>, String> {
    let alias = alias.to_lowercase();
    match kind(bytes)? {
        Kind::Jks => jks::with_trusted(bytes, password, &alias, certificate, now_ms),
        Kind::Pkcs12 => pkcs12::with_trusted(bytes, password, &alias, certificate),
        Kind::Pem => pem::with_trusted(bytes, &alias, certificate),
    }
}

/// What tells one content from another: SHA-256.
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Reads a store of any format; its keys stay sealed.
///
/// # Errors
/// A sentence that says what is wrong and the remedy.
pub fn open(bytes: &[u8], password: Option<&str>) -> Result<Contents, String> {
    match kind(bytes)? {
        Kind::Jks => jks::open(bytes, password),
        Kind::Pkcs12 => pkcs12::open(bytes, password),
        Kind::Pem => pem::open(bytes),
    }
}

/// The format, by content.
fn kind(bytes: &[u8]) -> Result<Kind, String> {
    let sentence = if bytes.starts_with(&jks::MAGIC) {
        return Ok(Kind::Jks);
    } else if pkcs12::is_pkcs12(bytes) {
        return Ok(Kind::Pkcs12);
    } else if pem::is_pem(bytes) {
        return Ok(Kind::Pem);
    } else if bytes.is_empty() {
        "the file is empty"
    } else if bytes.starts_with(&jks::JCEKS_MAGIC) {
        "it is a JCEKS store, which is not supported; keytool -importkeystore -srckeystore OLD -srcstoretype JCEKS \
         -destkeystore NEW -deststoretype PKCS12 converts it"
    } else if der::is_sequence(bytes) {
        "it is a single certificate or key in DER; openssl x509 -inform der -in OLD -out NEW makes a certificate PEM, \
         openssl pkey -inform der -in OLD -out NEW a key"
    } else {
        "it is neither JKS nor PKCS12 nor PEM"
    };
    Err(sentence.to_owned())
}

fn unseal(sealed: Sealed, passwords: &Passwords<'_>) -> Result<Zeroizing<PrivateKeyDer<'static>>, String> {
    let password = passwords.key.or(passwords.store).ok_or("its password is needed");
    let mut key = match sealed {
        Sealed::Plain(key) => return Ok(key),
        Sealed::Jks(info) => jks::unseal(&info, password?)?,
        Sealed::Pkcs8(info) => {
            let key = pkcs8::decrypt(&info, password?);
            // A PKCS12 store has one password by design; a second one in the configuration is then of no account.
            match passwords.store.filter(|_| key.is_err() && passwords.key.is_some()) {
                Some(store) => pkcs8::decrypt(&info, store).or(key)?,
                None => key?,
            }
        }
    };
    // Taken, not copied: what is wiped later is this allocation.
    let key = PrivatePkcs8KeyDer::from(std::mem::take(&mut *key));
    Ok(Zeroizing::new(PrivateKeyDer::Pkcs8(key)))
}
