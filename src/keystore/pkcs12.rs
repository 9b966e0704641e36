//! PKCS12 stores, read as Java reads them.
//!
//! A key's chain begins with the certificate of the same `localKeyID` and follows the issuers' names. A certificate is
//! trusted only with Java's own mark on it; what openssl writes has none, and a note says so. What has no name gets a
//! number. Encrypted safes are decrypted with the password of the store even to list them: that is where the
//! certificates are. Keys stay sealed.

pub mod pfx;

use super::contents::{Body, Contents, DAMAGED, Entry, Kind, Sealed};
use p12_keystore::{CertificateBag, Pkcs12Archive};
use pfx::{BagKind, Pfx};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

/// The longest chain that is followed.
const CHAIN_MAX: usize = 16;
const NO_PASSWORD: &str = "the store is encrypted: its password is needed";

/// Whether `bytes` are a PKCS12 store: a sequence that begins with version 3.
pub fn is_pkcs12(bytes: &[u8]) -> bool {
    // A certificate begins with a sequence, a key with version 0 or 1.
    let mut header = bytes.iter().skip(1);
    let long = header.next().map_or(0, |length| length.saturating_sub(0x80));
    bytes.first() == Some(&super::der::SEQUENCE) && header.skip(usize::from(long)).take(3).eq(&[2, 1, 3])
}

/// Reads a store; its keys stay sealed.
///
/// # Errors
/// No or a wrong password, damage, or a cipher that is not supported.
pub fn open(bytes: &[u8], password: Option<&str>) -> Result<Contents, String> {
    if bytes.get(1) == Some(&0x80) {
        return Err("it is written in BER without lengths; keytool -importkeystore -srckeystore OLD -destkeystore NEW \
                    -deststoretype PKCS12 writes it anew"
            .to_owned());
    }
    let store = Pfx::parse(bytes).ok_or(DAMAGED)?;
    if let Some(password) = password {
        store.verify(password)?;
    }
    let mut found = Found::default();
    for safe in &store.safes {
        let Some(bags) = &safe.bags else {
            found.archive(safe.unpack(password.ok_or(NO_PASSWORD)?)?);
            continue;
        };
        for bag in bags {
            match bag.kind {
                BagKind::Sealed(info) => {
                    found.key(bag.name.as_deref(), bag.key_id.clone(), Sealed::Pkcs8(info.to_vec()));
                }
                BagKind::Key(info) => found.key(bag.name.as_deref(), bag.key_id.clone(), plain(info)),
                BagKind::Certificate => found.archive(bag.unpack("")?),
                BagKind::Secret => found.secret(bag.name.as_deref()),
                BagKind::Other => {}
            }
        }
    }
    Ok(found.contents(password.is_some() && store.has_mac()))
}

/// The store with `certificate` under `alias`; every other bag is copied as it is, unless it shares an encrypted safe
/// with the certificate that is replaced: such a safe is written anew, without encryption.
///
/// # Errors
/// As [`open`], or `alias` names a key.
pub fn with_trusted(
    bytes: &[u8],
    password: Option<&str>,
    alias: &str,
    certificate: &CertificateDer<'_>,
) -> Result<Vec<u8>, String> {
    let contents = open(bytes, password)?;
    if contents.entries.iter().any(|entry| matches!(entry.body, Body::Key { .. }) && entry.alias == alias) {
        return Err(format!("the alias {alias} names a private key"));
    }
    let store = Pfx::parse(bytes).ok_or(DAMAGED)?;
    if store.has_mac() && password.is_none() {
        return Err("the password of the store is needed to write a PKCS12 store".to_owned());
    }
    let password = password.unwrap_or_default();
    let mut new = Some(pfx::certificate_bag(Some(alias), None, true, certificate));
    let is_old = |bag: &CertificateBag| {
        bag.trusted && bag.friendly_name.as_ref().is_some_and(|name| name.to_lowercase() == alias)
    };
    let mut safes = Vec::with_capacity(store.safes.len() + 1);
    for safe in &store.safes {
        let bags: Vec<(bool, Vec<u8>)> = if let Some(bags) = &safe.bags {
            let mut raw = Vec::with_capacity(bags.len());
            for bag in bags {
                let old = bag.kind == BagKind::Certificate && bag.unpack("")?.certs.iter().any(is_old);
                raw.push((old, bag.whole.to_vec()));
            }
            raw
        } else {
            let archive = safe.unpack(password)?;
            if !archive.certs.iter().any(is_old) {
                safes.push(safe.whole.to_vec());
                continue;
            }
            if !archive.keys.is_empty() || !archive.secrets.is_empty() {
                return Err(
                    "the certificate shares an encrypted safe with a key; change it with keytool".to_owned()
                );
            }
            archive.certs.iter().map(|bag| (is_old(bag), bag_again(bag))).collect()
        };
        let mut kept = Vec::with_capacity(bags.len());
        for (old, bag) in bags {
            if !old {
                kept.push(bag);
            } else if let Some(new) = new.take() {
                kept.push(new);
            }
        }
        safes.push(pfx::plain_safe(&kept.iter().map(Vec::as_slice).collect::<Vec<_>>()));
    }
    if let Some(new) = new {
        safes.push(pfx::plain_safe(&[&new]));
    }
    store.with_safes(&safes, password)
}

/// A certificate of an encrypted safe, as a bag.
fn bag_again(bag: &CertificateBag) -> Vec<u8> {
    let name = bag.friendly_name.as_deref();
    pfx::certificate_bag(name, bag.local_key_id.as_deref(), bag.trusted, bag.cert.as_der())
}

fn plain(info: &[u8]) -> Sealed {
    Sealed::Plain(Zeroizing::new(PrivateKeyDer::from(PrivatePkcs8KeyDer::from(info.to_vec()))))
}

/// What the safes hold, before keys and certificates are brought together.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    /// For each key among the entries: where it is, and its `localKeyID`.
    keys: Vec<(usize, Option<Vec<u8>>)>,
    /// Every certificate; those of the entries as well, because a chain may end in one.
    certificates: Vec<CertificateBag>,
    notes: Vec<String>,
    nameless: usize,
}

impl Found {
    /// The name of an entry; Java numbers those that have none.
    fn alias(&mut self, name: Option<&str>) -> String {
        name.map_or_else(
            || {
                self.nameless += 1;
                self.nameless.to_string()
            },
            str::to_lowercase,
        )
    }

    fn key(&mut self, name: Option<&str>, id: Option<Vec<u8>>, sealed: Sealed) {
        let alias = self.alias(name);
        self.keys.push((self.entries.len(), id));
        self.entries.push(Entry { alias, body: Body::Key { sealed, chain: Vec::new() } });
    }

    fn secret(&mut self, name: Option<&str>) {
        self.notes.push(format!("the secret key {} is passed over", name.unwrap_or("without a name")));
    }

    fn archive(&mut self, archive: Pkcs12Archive) {
        for bag in archive.keys {
            let id = bag.local_key_id.map(|id| id.as_ref().to_vec());
            self.key(bag.friendly_name.as_deref(), id, plain(bag.key.as_der()));
        }
        for bag in archive.secrets {
            self.secret(bag.friendly_name.as_deref());
        }
        for bag in archive.certs {
            if bag.trusted {
                let alias = self.alias(bag.friendly_name.as_deref());
                self.entries.push(Entry { alias, body: Body::Trusted(owned(&bag)) });
            }
            self.certificates.push(bag);
        }
    }

    fn contents(mut self, verified: bool) -> Contents {
        let mut used = vec![false; self.certificates.len()];
        for (index, id) in &self.keys {
            let mut found = Vec::new();
            // A store of one key may leave the matching to the reader: the certificate is then the first.
            let alone = self.keys.len() == 1;
            let leaf = self
                .certificates
                .iter()
                .position(|bag| !bag.trusted && id.is_some() && bag.local_key_id == *id);
            let leaf = leaf.or_else(|| self.certificates.iter().position(|bag| alone && !bag.trusted));
            let mut next = leaf;
            while let Some(at) = next.filter(|at| !found.contains(at) && found.len() < CHAIN_MAX) {
                found.push(at);
                next = issuer(&self.certificates, at);
            }
            for at in &found {
                used[*at] = true;
            }
            if let Some(Entry { body: Body::Key { chain, .. }, .. }) = self.entries.get_mut(*index) {
                chain.extend(found.iter().filter_map(|at| self.certificates.get(*at)).map(owned));
            }
        }
        // Java repeats the certificates of chains; what counts once is not missed elsewhere.
        let counts: Vec<&[u8]> = self
            .certificates
            .iter()
            .zip(used)
            .filter(|(bag, used)| bag.trusted || *used)
            .map(|(bag, _)| bag.cert.as_der())
            .collect();
        for bag in self.certificates.iter().filter(|bag| !counts.contains(&bag.cert.as_der())) {
            self.notes.push(format!(
                "the certificate {} is not trusted: it lacks Java's mark; keytool -importcert sets it",
                bag.friendly_name.as_deref().unwrap_or(bag.cert.subject())
            ));
        }
        Contents { kind: Kind::Pkcs12, entries: self.entries, notes: self.notes, verified }
    }
}

fn owned(bag: &CertificateBag) -> CertificateDer<'static> {
    CertificateDer::from(bag.cert.as_der().to_vec())
}

/// The first certificate with the name of the issuer of the one `at`; none for a root.
fn issuer(certificates: &[CertificateBag], at: usize) -> Option<usize> {
    let (_, own) = parse_x509_certificate(certificates.get(at)?.cert.as_der()).ok()?;
    if own.issuer.as_raw() == own.subject.as_raw() {
        return None;
    }
    certificates.iter().position(|other| {
        parse_x509_certificate(other.cert.as_der())
            .is_ok_and(|(_, other)| other.subject.as_raw() == own.issuer.as_raw())
    })
}
