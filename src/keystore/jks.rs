//! JKS: Java's own store, read and written. There is no published crate to trust with it: the one there is aborts on a
//! flipped bit of a length.
//!
//! ```text
//! u32 FEEDFEED | u32 version (1, 2) | u32 count | count x { u32 tag | UTF alias | u64 ms | body } | SHA-1
//!   tag 1, a key:          u32 length, EncryptedPrivateKeyInfo | u32 count of certificates
//!   tag 2, a certificate
//!   each certificate:      (version 2: UTF "X.509") | u32 length, DER
//!   SHA-1 of UTF-16 password | "Mighty Aphrodite" | all before it
//! ```
//! The digest is checked before anything is parsed; without a password it cannot be. Every length is held against what
//! is left of the file, and nothing is allocated for an entry that is not there.

use super::contents::{Body, Contents, DAMAGED, Entry, Kind, Sealed, WRONG_PASSWORD, utf16};
use super::der::{self, Elements};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

/// How a JKS store begins.
pub const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// How a JCEKS store begins.
pub const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

const DIGEST_BYTES: usize = 20;
const HEADER_BYTES: usize = 12;
const KEY: u32 = 1;
const CERTIFICATE: u32 = 2;
/// 1.3.6.1.4.1.42.2.17.1.1, the cipher of JKS.
const PROTECTOR: [u8; 10] = [0x2b, 6, 1, 4, 1, 0x2a, 2, 0x11, 1, 1];

/// Reads a store; its keys stay sealed.
///
/// # Errors
/// A wrong password, or damage.
pub fn open(bytes: &[u8], password: Option<&str>) -> Result<Contents, String> {
    let (_, records) = records(bytes, password)?;
    let entries =
        records.into_iter().map(|record| Entry { alias: record.alias, body: record.body }).collect();
    Ok(Contents { kind: Kind::Jks, entries, notes: Vec::new(), verified: password.is_some() })
}

/// The store with `certificate` under `alias`; every other entry is copied as it is.
///
/// # Errors
/// No or a wrong password, damage, or `alias` names a key.
pub fn with_trusted(
    bytes: &[u8],
    password: Option<&str>,
    alias: &str,
    certificate: &CertificateDer<'_>,
    now_ms: u64,
) -> Result<Vec<u8>, String> {
    let Some(password) = password else {
        return Err("the password of the store is needed to write a JKS store".to_owned());
    };
    let (version, records) = records(bytes, Some(password))?;
    let record = record(version, alias, certificate, now_ms)?;
    let mut place = None;
    let mut others = Vec::with_capacity(records.len() + 1);
    for other in &records {
        match other.body {
            _ if other.alias != alias => others.push(other.raw),
            Body::Key { .. } => return Err(format!("the alias {alias} names a private key")),
            Body::Trusted(_) => place = place.or(Some(others.len())),
        }
    }
    others.insert(place.unwrap_or(others.len()), &record);
    let count = u32::try_from(others.len()).map_err(|_| DAMAGED.to_owned())?;
    let mut bytes = [&MAGIC, &version.to_be_bytes()[..], &count.to_be_bytes(), &others.concat()].concat();
    let digest = digest(password, &bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

/// Decrypts a key.
///
/// # Errors
/// A wrong password of the key, or damage.
pub fn unseal(info: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let damaged = || DAMAGED.to_owned();
    let mut info = Elements(info).inside(der::SEQUENCE).ok_or_else(damaged)?;
    let cipher =
        info.inside(der::SEQUENCE).and_then(|mut cipher| cipher.take(der::OID)).ok_or_else(damaged)?;
    if cipher != PROTECTOR {
        return Err("its cipher is not that of a JKS store".to_owned());
    }
    let sealed = info.take(der::OCTETS).ok_or_else(damaged)?;
    let (salt, sealed) = sealed.split_at_checked(DIGEST_BYTES).ok_or_else(damaged)?;
    let (sealed, check) = sealed.split_last_chunk::<DIGEST_BYTES>().ok_or_else(damaged)?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    let mut mask = sha1(&[&utf16(password), salt]);
    for block in plain.chunks_mut(DIGEST_BYTES) {
        for (octet, mask) in block.iter_mut().zip(mask.iter()) {
            *octet ^= mask;
        }
        mask = sha1(&[&utf16(password), &*mask]);
    }
    verify_slices_are_equal(&*sha1(&[&utf16(password), &plain]), check)
        .map_err(|_| "its password is wrong".to_owned())?;
    Ok(plain)
}

/// An entry and its bytes.
struct Record<'a> {
    raw: &'a [u8],
    alias: String,
    body: Body,
}

/// The version and the entries.
fn records<'a>(bytes: &'a [u8], password: Option<&str>) -> Result<(u32, Vec<Record<'a>>), String> {
    let damaged = || DAMAGED.to_owned();
    let (body, check) = bytes.split_last_chunk::<DIGEST_BYTES>().ok_or_else(damaged)?;
    if body.len() < HEADER_BYTES {
        return Err(damaged());
    }
    if let Some(password) = password {
        verify_slices_are_equal(&digest(password, body), check).map_err(|_| WRONG_PASSWORD.to_owned())?;
    }
    let mut input = Input(body);
    let version = match (input.array(), input.u32()) {
        (Some(MAGIC), Some(version @ 1..=2)) => version,
        (_, version) => return Err(format!("version {} of JKS is not known", version.unwrap_or_default())),
    };
    let count = input.u32().ok_or_else(damaged)?;
    // The count is what the file says; the vector grows only with entries that are there.
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(input.record(version).ok_or_else(damaged)?);
    }
    if input.0.is_empty() { Ok((version, records)) } else { Err(damaged()) }
}

/// A trusted certificate as an entry.
fn record(version: u32, alias: &str, certificate: &[u8], now_ms: u64) -> Result<Vec<u8>, String> {
    let alias = modified_utf8(alias);
    let too_long = |what: &str| format!("the {what} is too long for a JKS store");
    let alias_length = u16::try_from(alias.len()).map_err(|_| too_long("alias"))?.to_be_bytes();
    let length = u32::try_from(certificate.len()).map_err(|_| too_long("certificate"))?.to_be_bytes();
    let kind: &[u8] = if version == 2 { b"\x00\x05X.509" } else { b"" };
    let (tag, now) = (CERTIFICATE.to_be_bytes(), now_ms.to_be_bytes());
    Ok([&tag, &alias_length[..], &alias, &now, kind, &length, certificate].concat())
}

/// What is left of the file. `None` is a length that leads beyond its end, or a tag that is not known.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Bytes behind their length.
    fn octets(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Java's `DataOutput.writeUTF`.
    fn utf(&mut self) -> Option<&'a [u8]> {
        let length = self.array().map(u16::from_be_bytes)?;
        self.take(usize::from(length))
    }

    fn certificate(&mut self, version: u32) -> Option<CertificateDer<'static>> {
        if version == 2 && self.utf()? != b"X.509" {
            return None;
        }
        let certificate = self.octets().filter(|octets| der::is_sequence(octets))?;
        Some(CertificateDer::from(certificate.to_vec()))
    }

    fn record(&mut self, version: u32) -> Option<Record<'a>> {
        let all = self.0;
        let tag = self.u32()?;
        let alias = from_modified_utf8(self.utf()?).to_lowercase();
        let _created = self.take(8)?;
        let body = match tag {
            KEY => {
                let sealed = Sealed::Jks(self.octets()?.to_vec());
                let count = self.u32()?;
                let mut chain = Vec::new();
                for _ in 0..count {
                    chain.push(self.certificate(version)?);
                }
                Body::Key { sealed, chain }
            }
            CERTIFICATE => Body::Trusted(self.certificate(version)?),
            _ => return None,
        };
        let raw = all.get(..all.len() - self.0.len())?;
        Some(Record { raw, alias, body })
    }
}

/// The digest at the end of a store.
fn digest(password: &str, body: &[u8]) -> [u8; DIGEST_BYTES] {
    *sha1(&[&utf16(password), b"Mighty Aphrodite", body])
}

fn sha1(parts: &[&[u8]]) -> Zeroizing<[u8; DIGEST_BYTES]> {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut digest = Zeroizing::new([0; DIGEST_BYTES]);
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Java's UTF-8: of UTF-16 units, each by itself, and zero in two octets.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let tail = |shift: u16| 0x80 | (unit >> shift & 0x3f) as u8;
        match unit {
            1..0x80 => octets.push(unit as u8),
            0 | 0x80..0x800 => octets.extend([0xc0 | (unit >> 6) as u8, tail(0)]),
            0x800.. => octets.extend([0xe0 | (unit >> 12) as u8, tail(6), tail(0)]),
        }
    }
    octets
}

/// The reverse; what it cannot read becomes U+FFFD.
fn from_modified_utf8(octets: &[u8]) -> String {
    let mut units = Vec::with_capacity(octets.len());
    let mut rest = octets.iter().map(|octet| u16::from(*octet));
    while let Some(first) = rest.next() {
        let mut tail = || rest.next().map_or(0, |octet| octet & 0x3f);
        units.push(match first {
            0..0x80 => first,
            0xc0..0xe0 => (first & 0x1f) << 6 | tail(),
            0xe0..0xf0 => (first & 0x0f) << 12 | tail() << 6 | tail(),
            _ => 0xfffd,
        });
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store of one certificate, which is the shortest there can be.
    fn store(password: &str) -> Vec<u8> {
        let empty = [&MAGIC[..], &[0, 0, 0, 2, 0, 0, 0, 0]].concat();
        let empty = [&empty[..], &digest(password, &empty)].concat();
        let certificate = CertificateDer::from(vec![0x30, 0]);
        with_trusted(&empty, Some(password), "a", &certificate, 1).expect("an empty store is a store")
    }

    #[test]
    fn whole_bytes_of_a_store() {
        let body = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01a\0\0\0\0\0\0\0\x01\0\x05X.509\0\0\0\x02\x30\0";
        let (written, check) = (store("pw"), digest("pw", body));
        assert_eq!(written, [&body[..], &check].concat());
        assert_eq!(sha1(&[b"\0p\0wMighty Aphrodite", body])[..], check);
    }

    #[test]
    fn entries_are_replaced_in_place_and_appended() {
        let certificate = |octets: &[u8]| CertificateDer::from(octets.to_vec());
        let two = with_trusted(&store("p"), Some("p"), "b", &certificate(&[0x30, 0]), 2).expect("written");
        let other = with_trusted(&two, Some("p"), "a", &certificate(&[0x30, 1, 7]), 3).expect("written");
        let contents = open(&other, Some("p")).expect("read");
        let entries: Vec<_> = contents
            .entries
            .iter()
            .map(|entry| match &entry.body {
                Body::Trusted(certificate) => (entry.alias.as_str(), certificate.as_ref()),
                Body::Key { .. } => panic!("no key was written"),
            })
            .collect();
        assert_eq!(entries, [("a", &[0x30, 1, 7][..]), ("b", &[0x30, 0])]);
        assert!(contents.verified);
        assert!(with_trusted(&two, None, "a", &certificate(&[0x30, 0]), 3).is_err());
    }

    #[test]
    fn the_digest_comes_first() {
        let mut bytes = store("비밀번호");
        assert_eq!(open(&bytes, Some("x")).map(|_| ()), Err(WRONG_PASSWORD.to_owned()));
        assert!(open(&bytes, Some("비밀번호")).is_ok());
        assert!(open(&bytes, None).is_ok_and(|contents| !contents.verified));
        bytes[8..12].fill(0xff);
        assert_eq!(open(&bytes, Some("비밀번호")).map(|_| ()), Err(WRONG_PASSWORD.to_owned()));
        assert_eq!(open(&bytes, None).map(|_| ()), Err(DAMAGED.to_owned()));
    }

    #[test]
    fn aliases_in_javas_utf8() {
        for (text, octets) in [("a한", "a\u{d55c}".as_bytes()), ("\0", &[0xc0, 0x80])] {
            assert_eq!((modified_utf8(text).as_slice(), from_modified_utf8(octets).as_str()), (octets, text));
        }
        assert_eq!(modified_utf8("😀"), [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
        assert_eq!(from_modified_utf8(&modified_utf8("😀é")), "😀é");
        assert_eq!(from_modified_utf8(&[0xff, 0xe0]), "\u{fffd}\0");
    }
}
