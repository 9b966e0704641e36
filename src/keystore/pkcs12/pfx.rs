//! The envelope of a PKCS12 store (RFC 7292): safes in a row, bags in a safe, a MAC over all of it.
//!
//! ```text
//! PFX { 3, data [0] { OCTETS { safe* } }, MAC? }
//!   safe: data [0] { OCTETS { bag* } }  or  encryptedData [0] { … }
//!   bag:  OID, [0] value, attributes?
//! ```
//! It is taken apart here so that bags can be kept as they are when a store is changed, and so that the MAC is checked
//! once, before anything is decrypted. What is inside encrypted safes, and certificates, is for `p12_keystore`.

use crate::keystore::contents::{DAMAGED, ITERATIONS_MAX, UNSUPPORTED, WRONG_PASSWORD, utf16};
use crate::keystore::der::{self, Elements, element};
use aws_lc_rs::digest::{self, Digest, digest};
use aws_lc_rs::hmac;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;
use zeroize::Zeroizing;

/// 1.2.840.113549.1.7.1.
const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// 1.2.840.113549.1.7.6.
const ENCRYPTED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 6];
/// 1.2.840.113549.1.12.10.1, before the number of the bag.
const BAG: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 10, 1];
/// 1.2.840.113549.1.9.22.1: an X.509 certificate.
const X509: [u8; 10] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 22, 1];
/// 1.2.840.113549.1.9.20.
const FRIENDLY_NAME: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 20];
/// 1.2.840.113549.1.9.21.
const LOCAL_KEY_ID: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 21];
/// 2.16.840.1.113894.746875.1.1: Java's mark on a certificate that is trusted.
const TRUSTED: [u8; 12] = [0x60, 0x86, 0x48, 1, 0x86, 0xf9, 0x66, 0xad, 0xca, 0x7b, 1, 1];
/// 2.5.29.37.0: for every use.
const ANY_USE: [u8; 4] = [0x55, 0x1d, 0x25, 0];
/// 1.3.6.1.4.1.11591.4.11: no store has it, and `p12_keystore` would spend a gigabyte on it.
const SCRYPT: [u8; 9] = [0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];

/// A store, taken apart.
pub struct Pfx<'a> {
    /// Its safes, in order.
    pub safes: Vec<Safe<'a>>,
    mac: Option<Mac<'a>>,
    /// What the MAC is over.
    authenticated: &'a [u8],
}

/// A safe.
pub struct Safe<'a> {
    /// All its bytes.
    pub whole: &'a [u8],
    /// Its bags, when it is not encrypted.
    pub bags: Option<Vec<Bag<'a>>>,
}

/// A bag.
pub struct Bag<'a> {
    /// All its bytes.
    pub whole: &'a [u8],
    /// What it holds.
    pub kind: BagKind<'a>,
    /// Its `friendlyName`.
    pub name: Option<String>,
    /// Its `localKeyID`.
    pub key_id: Option<Vec<u8>>,
}

/// What a bag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BagKind<'a> {
    /// A `PrivateKeyInfo`.
    Key(&'a [u8]),
    /// An `EncryptedPrivateKeyInfo`.
    Sealed(&'a [u8]),
    /// A certificate.
    Certificate,
    /// A secret key.
    Secret,
    /// A revocation list, more bags, or something unknown.
    Other,
}

impl<'a> Pfx<'a> {
    /// Takes a store apart. `None` is damage.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut pfx = Elements(bytes).inside(der::SEQUENCE)?;
        if pfx.number()? != 3 {
            return None;
        }
        let authenticated = data(pfx.inside(der::SEQUENCE)?)?;
        let mac = if pfx.is_empty() { None } else { Some(Mac::parse(pfx.inside(der::SEQUENCE)?)?) };
        let mut list = Elements(authenticated).inside(der::SEQUENCE)?;
        let mut safes = Vec::new();
        while !list.is_empty() {
            safes.push(Safe::parse(list.element()?)?);
        }
        Some(Self { safes, mac, authenticated })
    }

    /// Whether a MAC protects it.
    pub fn has_mac(&self) -> bool {
        self.mac.is_some()
    }

    /// Checks the MAC, where there is one.
    ///
    /// # Errors
    /// It does not fit, or is of a kind that is not supported.
    pub fn verify(&self, password: &str) -> Result<(), String> {
        let Some(mac) = &self.mac else { return Ok(()) };
        let key = mac.key(password)?;
        hmac::verify(&key, self.authenticated, mac.digest).map_err(|_| WRONG_PASSWORD.to_owned())
    }

    /// The store with other safes, and the MAC of the same kind as before.
    ///
    /// # Errors
    /// As [`Pfx::verify`].
    pub fn with_safes(&self, safes: &[Vec<u8>], password: &str) -> Result<Vec<u8>, String> {
        let authenticated = element(der::SEQUENCE, &[&safes.concat()]);
        let mac = match &self.mac {
            None => Vec::new(),
            Some(mac) => {
                let tag = hmac::sign(&mac.key(password)?, &authenticated);
                let digest = element(der::OCTETS, &[tag.as_ref()]);
                let info = element(der::SEQUENCE, &[mac.algorithm, &digest]);
                element(der::SEQUENCE, &[&info, mac.salt_and_iterations])
            }
        };
        Ok(element(der::SEQUENCE, &[&element(der::INTEGER, &[&[3]]), &around(&authenticated), &mac]))
    }
}

impl<'a> Safe<'a> {
    fn parse(safe: der::Element<'a>) -> Option<Self> {
        let mut info = Elements(safe.content);
        let is_encrypted = info.take(der::OID)? == ENCRYPTED_DATA;
        if is_encrypted {
            return Some(Self { whole: safe.whole, bags: None });
        }
        let mut list = Elements(data(Elements(safe.content))?).inside(der::SEQUENCE)?;
        let mut bags = Vec::new();
        while !list.is_empty() {
            bags.push(Bag::parse(list.element()?)?);
        }
        Some(Self { whole: safe.whole, bags: Some(bags) })
    }

    /// What is inside, decrypted.
    ///
    /// # Errors
    /// A wrong password, a cipher that is not supported, or damage.
    pub fn unpack(&self, password: &str) -> Result<Pkcs12Archive, String> {
        unpack(self.whole, password)
    }
}

impl<'a> Bag<'a> {
    fn parse(bag: der::Element<'a>) -> Option<Self> {
        let mut fields = Elements(bag.content);
        let number = fields.take(der::OID)?.strip_prefix(&BAG);
        let value = fields.take(der::TAG_0)?;
        let kind = match number {
            Some([1]) => BagKind::Key(value),
            Some([2]) => BagKind::Sealed(value),
            Some([3]) => BagKind::Certificate,
            Some([5]) => BagKind::Secret,
            _ => BagKind::Other,
        };
        let (mut name, mut key_id) = (None, None);
        let mut attributes = if fields.is_empty() { Elements(&[]) } else { fields.inside(der::SET)? };
        while !attributes.is_empty() {
            let mut attribute = attributes.inside(der::SEQUENCE)?;
            let id = attribute.take(der::OID)?;
            let value = attribute.inside(der::SET)?.element();
            match value {
                Some(value) if id == FRIENDLY_NAME && value.tag == der::BMP => {
                    name = Some(text(value.content));
                }
                Some(value) if id == LOCAL_KEY_ID => key_id = Some(value.content.to_vec()),
                _ => {}
            }
        }
        Some(Self { whole: bag.whole, kind, name, key_id })
    }

    /// What is inside.
    ///
    /// # Errors
    /// As [`Safe::unpack`].
    pub fn unpack(&self, password: &str) -> Result<Pkcs12Archive, String> {
        unpack(&plain_safe(&[self.whole]), password)
    }
}

/// A MAC and what it is made with.
struct Mac<'a> {
    /// The digest's algorithm, whole.
    algorithm: &'a [u8],
    kind: &'a [u8],
    digest: &'a [u8],
    /// Both, whole.
    salt_and_iterations: &'a [u8],
    salt: &'a [u8],
    iterations: u32,
}

impl<'a> Mac<'a> {
    fn parse(mut mac: Elements<'a>) -> Option<Self> {
        let mut info = mac.inside(der::SEQUENCE)?;
        let algorithm = info.element()?;
        let kind = Elements(algorithm.content).take(der::OID)?;
        let digest = info.take(der::OCTETS)?;
        let salt_and_iterations = mac.0;
        let salt = mac.take(der::OCTETS)?;
        let iterations = if mac.is_empty() { 1 } else { mac.number()? };
        Some(Self { algorithm: algorithm.whole, kind, digest, salt_and_iterations, salt, iterations })
    }

    /// The key for `password` (RFC 7292 appendix B, purpose 3). It is as long as one digest, so that the first block
    /// is all of it.
    fn key(&self, password: &str) -> Result<hmac::Key, String> {
        let (algorithm, hash) = match self.kind {
            [0x2b, 0x0e, 3, 2, 0x1a] => {
                (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)
            }
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4] => (&digest::SHA224, hmac::HMAC_SHA224),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => (&digest::SHA256, hmac::HMAC_SHA256),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => (&digest::SHA384, hmac::HMAC_SHA384),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => (&digest::SHA512, hmac::HMAC_SHA512),
            _ => {
                return Err(
                    "its MAC is of a kind that is not supported; HMAC with SHA-256 is usual".to_owned()
                );
            }
        };
        if !(1..=ITERATIONS_MAX).contains(&self.iterations) {
            return Err(UNSUPPORTED.to_owned());
        }
        let block = algorithm.block_len();
        let mut password = utf16(password);
        password.extend([0, 0]);
        let filled = |part: &[u8]| -> Zeroizing<Vec<u8>> {
            Zeroizing::new(part.iter().copied().cycle().take(part.len().next_multiple_of(block)).collect())
        };
        let seed = Zeroizing::new(
            [&vec![3; block], &*filled(self.salt), &*filled(&password)].map(|part| &part[..]).concat(),
        );
        let mut key: Digest = digest(algorithm, &seed);
        for _ in 1..self.iterations {
            key = digest(algorithm, key.as_ref());
        }
        Ok(hmac::Key::new(hash, key.as_ref()))
    }
}

/// A trusted certificate as Java writes it, not encrypted: a certificate is no secret.
pub fn certificate_bag(
    name: Option<&str>,
    key_id: Option<&[u8]>,
    trusted: bool,
    certificate: &[u8],
) -> Vec<u8> {
    let certificate = element(der::TAG_0, &[&element(der::OCTETS, &[certificate])]);
    let certificate = element(der::SEQUENCE, &[&element(der::OID, &[&X509]), &certificate]);
    let attribute = |id: &[u8], value: &[u8]| {
        element(der::SEQUENCE, &[&element(der::OID, &[id]), &element(der::SET, &[value])])
    };
    let mut attributes = Vec::new();
    if let Some(name) = name {
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
        attributes.extend(attribute(&FRIENDLY_NAME, &element(der::BMP, &[&name])));
    }
    if let Some(key_id) = key_id {
        attributes.extend(attribute(&LOCAL_KEY_ID, &element(der::OCTETS, &[key_id])));
    }
    if trusted {
        attributes.extend(attribute(&TRUSTED, &element(der::OID, &[&ANY_USE])));
    }
    let attributes = if attributes.is_empty() { attributes } else { element(der::SET, &[&attributes]) };
    let id = element(der::OID, &[&BAG, &[3]]);
    element(der::SEQUENCE, &[&id, &element(der::TAG_0, &[&certificate]), &attributes])
}

/// A safe that is not encrypted, of whole bags.
pub fn plain_safe(bags: &[&[u8]]) -> Vec<u8> {
    around(&element(der::SEQUENCE, bags))
}

/// The key in an `EncryptedPrivateKeyInfo` with a cipher of PKCS12.
///
/// # Errors
/// As [`Safe::unpack`].
pub fn legacy_key(info: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let id = element(der::OID, &[&BAG, &[2]]);
    let bag = element(der::SEQUENCE, &[&id, &element(der::TAG_0, &[info])]);
    let archive = unpack(&plain_safe(&[&bag]), password)?;
    let key = archive.keys.first().ok_or(WRONG_PASSWORD)?;
    Ok(Zeroizing::new(key.key.as_der().to_vec()))
}

/// Opens one safe: the crate takes whole stores, so it gets one of this safe alone, without a MAC.
fn unpack(safe: &[u8], password: &str) -> Result<Pkcs12Archive, String> {
    if safe.windows(SCRYPT.len()).any(|window| window == SCRYPT) {
        return Err(UNSUPPORTED.to_owned());
    }
    let safes = element(der::SEQUENCE, &[safe]);
    let store = element(der::SEQUENCE, &[&element(der::INTEGER, &[&[3]]), &around(&safes)]);
    Pkcs12Archive::from_pkcs12(&store, password).map_err(|error| {
        let sentence = match error {
            Error::UnsupportedEncryptionScheme | Error::InvalidParameters => UNSUPPORTED,
            Error::X509Error(_) | Error::UnsupportedCertificateType => {
                "it holds a certificate that cannot be read"
            }
            Error::InvalidVersion | Error::UnsupportedContentType => DAMAGED,
            _ => WRONG_PASSWORD,
        };
        sentence.to_owned()
    })
}

/// `data`, and around it what says so.
fn around(content: &[u8]) -> Vec<u8> {
    let octets = element(der::OCTETS, &[content]);
    element(der::SEQUENCE, &[&element(der::OID, &[&DATA]), &element(der::TAG_0, &[&octets])])
}

/// What is inside of `data`.
fn data(mut info: Elements<'_>) -> Option<&[u8]> {
    if info.take(der::OID)? != DATA {
        return None;
    }
    info.inside(der::TAG_0)?.take(der::OCTETS)
}

/// Text in UTF-16.
fn text(octets: &[u8]) -> String {
    let units: Vec<u16> =
        octets.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1])).collect();
    String::from_utf16_lossy(&units)
}
