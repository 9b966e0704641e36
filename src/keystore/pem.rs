//! PEM files: certificates and keys in any order and number, with whatever text people put around them.
//!
//! ```text
//! # alias: a.bank.example
//! -----BEGIN CERTIFICATE-----
//! ```
//! A block is named by such a line, by the `friendlyName` that openssl writes before it, or by its number. In a file
//! with a key, the chain is what leads from the key's certificate upwards, whatever the order.

use super::contents::{Body, Contents, Entry, Kind, Sealed, Store, TrustedEntry};
use super::der::{self, Elements};
use base64ct::{Base64, Encoding as _};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// How the line begins that names the block after it.
const ALIAS: &[u8] = b"# alias:";
/// How openssl names it.
const FRIENDLY_NAME: &[u8] = b"friendlyName:";
/// The longest chain that is followed.
const CHAIN_MAX: usize = 16;

/// Whether `bytes` are a PEM file.
pub fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// Reads a file; its keys stay sealed, their chains are still among the certificates.
///
/// # Errors
/// A block that has no end or is no base64, or a key in a form that is not supported.
pub fn open(bytes: &[u8]) -> Result<Contents, String> {
    let mut entries = Vec::new();
    let mut notes = Vec::new();
    for block in blocks(bytes)? {
        let number = entries.len() + 1;
        let alias = block.alias.clone().unwrap_or_else(|| number.to_string());
        match block.body()? {
            Some(body) => entries.push(Entry { alias, body }),
            None => notes.push(format!("the block {} is passed over", block.label)),
        }
    }
    Ok(Contents { kind: Kind::Pem, entries, notes, verified: false })
}

/// Gives the keys of `store` their chains: certificates that belong to a key stop being trusted ones.
pub fn join(store: &mut Store) {
    let mut used = vec![false; store.trusted.len()];
    let alone = store.keys.len() == 1;
    for key in &mut store.keys {
        let mut next = match any_supported_type(&key.key)
            .ok()
            .and_then(|key| key.public_key().map(|key| key.to_vec()))
        {
            Some(own) => store.trusted.iter().position(|entry| holds(&entry.certificate, &own)),
            // A key that cannot be used cannot say which is its own; whoever tries to use it will say why.
            None => (alone && !store.trusted.is_empty()).then_some(0),
        };
        while let Some(at) = next.filter(|_| key.chain.len() < CHAIN_MAX) {
            let Some(entry) = store.trusted.get(at).filter(|entry| !key.chain.contains(&entry.certificate))
            else {
                break;
            };
            used[at] = true;
            key.chain.push(entry.certificate.clone());
            next = issuer(&store.trusted, &entry.certificate);
        }
    }
    let mut used = used.iter();
    store.trusted.retain(|_| used.next() == Some(&false));
}

/// Whether `certificate` is of the public key `own`.
fn holds(certificate: &[u8], own: &[u8]) -> bool {
    parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.tbs_certificate.subject_pki.raw == own)
}

/// The first certificate with the name of the issuer of `certificate`; none for a root.
fn issuer(entries: &[TrustedEntry], certificate: &[u8]) -> Option<usize> {
    let (_, own) = parse_x509_certificate(certificate).ok()?;
    if own.issuer.as_raw() == own.subject.as_raw() {
        return None;
    }
    entries.iter().position(|entry| {
        parse_x509_certificate(&entry.certificate)
            .is_ok_and(|(_, other)| other.subject.as_raw() == own.issuer.as_raw())
    })
}

/// The file with `certificate` under `alias`; everything else stays as it is, texts included.
///
/// # Errors
/// As [`open`], or `alias` names a key.
pub fn with_trusted(bytes: &[u8], alias: &str, certificate: &CertificateDer<'_>) -> Result<Vec<u8>, String> {
    if alias.chars().any(char::is_control) {
        return Err("an alias in a PEM file is one line".to_owned());
    }
    let text = format!("# alias: {alias}\n{}", encode(certificate));
    let mut written = Vec::with_capacity(bytes.len() + text.len() + 1);
    let (mut kept, mut placed) = (0, false);
    for block in blocks(bytes)? {
        if block.alias.as_deref() != Some(alias) {
            continue;
        }
        if !block.is_certificate() {
            return Err(format!("the alias {alias} names a private key"));
        }
        written.extend_from_slice(bytes.get(kept..block.start).unwrap_or_default());
        if !placed {
            written.extend_from_slice(text.as_bytes());
            placed = true;
        }
        kept = block.end;
    }
    written.extend_from_slice(bytes.get(kept..).unwrap_or_default());
    if !placed {
        if written.last().is_some_and(|last| *last != b'\n') {
            written.push(b'\n');
        }
        written.extend_from_slice(text.as_bytes());
    }
    Ok(written)
}

/// `certificate` as a block, 64 columns wide.
pub fn encode(certificate: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in certificate.chunks(48) {
        text.push_str(&Base64::encode_string(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// One block.
struct Block<'a> {
    label: String,
    alias: Option<String>,
    /// Its lines between BEGIN and END.
    lines: &'a [u8],
    /// Where it begins, its alias line included, and where the rest goes on.
    start: usize,
    end: usize,
}

impl Block<'_> {
    fn is_certificate(&self) -> bool {
        matches!(self.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
    }

    /// What the block is; `None` for what is no part of a store.
    fn body(&self) -> Result<Option<Body>, String> {
        let key = |sealed| Ok(Some(Body::Key { sealed, chain: Vec::new() }));
        let plain = |key| Sealed::Plain(Zeroizing::new(key));
        match self.label.as_str() {
            _ if self.is_certificate() => {
                let bytes = self.decode()?;
                // openssl's TRUSTED CERTIFICATE goes on with what it is trusted for.
                let certificate = Elements(&bytes).element().filter(|element| element.tag == der::SEQUENCE);
                let certificate = certificate.ok_or_else(|| self.wrong("is no certificate"))?;
                Ok(Some(Body::Trusted(CertificateDer::from(certificate.whole.to_vec()))))
            }
            "PRIVATE KEY" => key(plain(PrivatePkcs8KeyDer::from(self.key()?).into())),
            "RSA PRIVATE KEY" => key(plain(PrivatePkcs1KeyDer::from(self.key()?).into())),
            "EC PRIVATE KEY" => key(plain(PrivateSec1KeyDer::from(self.key()?).into())),
            "ENCRYPTED PRIVATE KEY" => key(Sealed::Pkcs8(self.key()?)),
            "DSA PRIVATE KEY" => Err("a DSA key cannot be used in TLS".to_owned()),
            _ => Ok(None),
        }
    }

    /// The key; the caller wraps it so that it is wiped.
    fn key(&self) -> Result<Vec<u8>, String> {
        if self.lines.windows(9).any(|window| window == b"ENCRYPTED") {
            return Err("its key is encrypted as openssl did long ago (Proc-Type: 4,ENCRYPTED); \
                        openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW converts it"
                .to_owned());
        }
        let bytes = self.decode()?;
        if der::is_sequence(&bytes) { Ok(bytes.to_vec()) } else { Err(self.wrong("is no key")) }
    }

    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut text = Zeroizing::new(Vec::with_capacity(self.lines.len()));
        text.extend(self.lines.iter().copied().filter(|octet| !octet.is_ascii_whitespace()));
        let mut bytes = Zeroizing::new(vec![0; text.len() / 4 * 3]);
        let length = Base64::decode(&*text, &mut bytes).map_err(|_| self.wrong("is no base64"))?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn wrong(&self, what: &str) -> String {
        format!(
            "the block {} {}{what}",
            self.label,
            self.alias.as_ref().map_or(String::new(), |a| format!("({a}) "))
        )
    }
}

/// The blocks of a file.
fn blocks(bytes: &[u8]) -> Result<Vec<Block<'_>>, String> {
    let mut blocks = Vec::new();
    let mut alias = None;
    let mut alias_start = None;
    let mut begun: Option<(String, usize, usize)> = None;
    let mut at = 0;
    for line in bytes.split_inclusive(|octet| *octet == b'\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        let line = line.trim_ascii();
        let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        match &begun {
            None => {
                if let Some(label) = between(line, BEGIN) {
                    begun = Some((label, alias_start.unwrap_or(start), end));
                } else if let Some(name) =
                    line.strip_prefix(ALIAS).or_else(|| line.strip_prefix(FRIENDLY_NAME))
                {
                    alias = Some(String::from_utf8_lossy(name.trim_ascii()).to_lowercase());
                    alias_start = line.starts_with(ALIAS).then_some(start);
                } else {
                    alias_start = None;
                }
            }
            Some((label, first, inside)) => {
                if between(line, END).is_some_and(|end| end == *label) {
                    let lines = bytes.get(*inside..start).unwrap_or_default();
                    let label = label.clone();
                    blocks.push(Block { label, alias: alias.take(), lines, start: *first, end });
                    (begun, alias_start) = (None, None);
                } else if line.starts_with(DASHES) {
                    break;
                }
            }
        }
    }
    match begun {
        Some((label, ..)) => Err(format!("a block BEGIN {label} has no END line")),
        None => Ok(blocks),
    }
}

/// The label of a BEGIN or END line.
fn between(line: &[u8], mark: &[u8]) -> Option<String> {
    let label = line.strip_prefix(mark)?.strip_suffix(DASHES)?;
    Some(String::from_utf8_lossy(label).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\u{feff}a text\r\n# alias: A.example\r\n-----BEGIN CERTIFICATE-----\r\nMAA=\r\n\
                        -----END CERTIFICATE-----\r\nBag Attributes\n    friendlyName: 둘\n-----BEGIN CERTIFICATE-----\n\
                        MAEH\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE REQUEST-----\n\
                        -----END CERTIFICATE REQUEST-----\n-----BEGIN X509 CERTIFICATE-----\nMAA=\n\
                        -----END X509 CERTIFICATE-----";

    fn listed(bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        let contents = open(bytes).expect("a PEM file");
        let entry = |entry: Entry| match entry.body {
            Body::Trusted(certificate) => (entry.alias, certificate.to_vec()),
            Body::Key { sealed, .. } => (entry.alias, format!("{sealed:?}").into_bytes()),
        };
        (contents.entries.into_iter().map(entry).collect(), contents.notes)
    }

    #[test]
    fn blocks_and_their_names() {
        let (entries, notes) = listed(FILE.as_bytes());
        let expected = [("a.example", vec![0x30, 0]), ("둘", vec![0x30, 1, 7]), ("3", vec![0x30, 0])]
            .map(|(a, b)| (a.to_owned(), b));
        assert_eq!(
            (entries, notes),
            (expected.to_vec(), vec!["the block CERTIFICATE REQUEST is passed over".to_owned()])
        );
    }

    #[test]
    fn a_certificate_is_replaced_or_appended() {
        let new = CertificateDer::from(vec![0x30, 1, 9]);
        let block = "-----BEGIN CERTIFICATE-----\nMAEJ\n-----END CERTIFICATE-----\n";
        let replaced = with_trusted(FILE.as_bytes(), "a.example", &new).expect("written");
        let (_, after) = FILE.split_once("Bag").expect("two blocks");
        let expected = format!("\u{feff}a text\r\n# alias: a.example\n{block}Bag{after}");
        assert_eq!(String::from_utf8(replaced), Ok(expected));
        let appended = with_trusted(FILE.as_bytes(), "c", &new).expect("written");
        assert_eq!(String::from_utf8(appended), Ok(format!("{FILE}\n# alias: c\n{block}")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, sentence) in [
            ("-----BEGIN CERTIFICATE-----\nMAA=\n", "a block BEGIN CERTIFICATE has no END line"),
            ("-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----\n", "a block BEGIN A has no END line"),
            (
                "-----BEGIN CERTIFICATE-----\nM=\n-----END CERTIFICATE-----\n",
                "the block CERTIFICATE is no base64",
            ),
            (
                "# alias: x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "the block CERTIFICATE (x) is no certificate",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "the block PRIVATE KEY is no key",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,AA\n\nMAA=\n\
                 -----END RSA PRIVATE KEY-----\n",
                "its key is encrypted as openssl did long ago (Proc-Type: 4,ENCRYPTED); \
                 openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW converts it",
            ),
        ] {
            assert_eq!(open(text.as_bytes()).map(|_| ()), Err(sentence.to_owned()));
        }
    }
}
