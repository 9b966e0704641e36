//! What a certificate says (RFC 5280 §4), read once and without judging it.
//!
//! Versions 1 to 3 are read, and critical extensions are reported, not refused: who may sign what is decided in
//! [`verify`](super::verify), [`trust`](super::trust) and [`java`](super::java).

use std::net::IpAddr;

use rustls::pki_types::UnixTime;
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Tag, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, NameConstraints, ParsedExtension, X509Extension};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{RelativeDistinguishedName, X509Name, X509Version};

use super::refusal::Refusal;

const COMMON_NAME: Oid = oid!(2.5.4.3);
const SERIAL_NUMBER: Oid = oid!(2.5.4.5);
const EMAIL_ADDRESS: Oid = oid!(1.2.840.113549.1.9.1);
const KEY_USAGE: Oid = oid!(2.5.29.15);
const SUBJECT_ALT_NAME: Oid = oid!(2.5.29.17);
const BASIC_CONSTRAINTS: Oid = oid!(2.5.29.19);
const NAME_CONSTRAINTS: Oid = oid!(2.5.29.30);
const EXTENDED_KEY_USAGE: Oid = oid!(2.5.29.37);
const CERTIFICATE_POLICIES: Oid = oid!(2.5.29.32);

/// Extensions whose content this file reads; a certificate that repeats one or garbles it is unreadable.
const READ: [Oid; 5] = [KEY_USAGE, SUBJECT_ALT_NAME, BASIC_CONSTRAINTS, NAME_CONSTRAINTS, EXTENDED_KEY_USAGE];

/// Longest subject in a log line, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// Longest certificate that is read; TLS carries no longer chain than 64 KB.
pub const CERTIFICATE_BYTES_MAX: usize = 65_535;

/// One certificate. It borrows the bytes it was read from.
#[derive(Debug)]
pub struct Certificate<'a> {
    der: &'a [u8],
    x509: X509Certificate<'a>,
}

/// The right to issue certificates: basicConstraints with cA (RFC 5280 §4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// How many authorities may follow below it, if limited.
    pub path_len: Option<u32>,
}

/// What extendedKeyUsage allows (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purposes {
    /// id-kp-serverAuth.
    pub server: bool,
    /// id-kp-clientAuth.
    pub client: bool,
    /// anyExtendedKeyUsage.
    pub any: bool,
}

/// The signed parts of a certificate, as an algorithm wants them.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// What is signed: the whole TBSCertificate.
    pub message: &'a [u8],
    /// The content of the signature's AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The signature's bits.
    pub signature: &'a [u8],
}

/// A public key, as an algorithm wants it.
#[derive(Clone, Copy, Debug)]
pub struct PublicKeyParts<'a> {
    /// The content of the key's AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The key's bits.
    pub bits: &'a [u8],
}

impl<'a> PublicKeyParts<'a> {
    /// Takes apart the content of a SubjectPublicKeyInfo.
    pub fn read(spki: &'a [u8]) -> Option<Self> {
        let (algorithm, rest) = cut(spki, SEQUENCE)?;
        let (key, rest) = cut(rest, BIT_STRING)?;
        let bits = whole_bits(key).filter(|_| rest.is_empty())?;
        Some(Self { algorithm, bits })
    }
}

impl<'a> Certificate<'a> {
    /// Reads a certificate; `None` when it is not one, has bytes after its end, or repeats or garbles an extension
    /// that matters here.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return None;
        }
        let (rest, x509) = X509Certificate::from_der(der).ok()?;
        let certificate = Self { der, x509 };
        let whole = rest.is_empty() && READ.iter().all(|oid| certificate.reads(oid));
        (whole && certificate.signed().is_some()).then_some(certificate)
    }

    fn reads(&self, oid: &Oid<'_>) -> bool {
        let mut found = self.x509.extensions().iter().filter(|extension| extension.oid == *oid);
        let sound = found.next().is_none_or(|first| first.parsed_extension().error().is_none());
        sound && found.next().is_none()
    }

    /// The bytes it was read from.
    pub fn der(&self) -> &'a [u8] {
        self.der
    }

    /// Whether it is of version 3, the only one with extensions.
    pub fn is_v3(&self) -> bool {
        self.x509.version() == X509Version::V3
    }

    /// The subject's DER.
    pub fn subject(&self) -> &'a [u8] {
        self.x509.tbs_certificate.subject.as_raw()
    }

    /// The issuer's DER.
    pub fn issuer(&self) -> &'a [u8] {
        self.x509.tbs_certificate.issuer.as_raw()
    }

    /// The subject's parts, for name constraints.
    pub fn subject_name(&self) -> &X509Name<'a> {
        &self.x509.tbs_certificate.subject
    }

    /// The subject for people and logs: without control characters, cut at 200 characters.
    pub fn subject_text(&self) -> String {
        let text = self.x509.subject().to_string();
        text.chars().take(SUBJECT_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
    }

    /// The parts of the subject in the certificate's order, the most general first: each its attributes, by number and
    /// value. `None` when a value is no text.
    pub fn subject_parts(&self) -> Option<Vec<Vec<(String, String)>>> {
        let part = |part: &RelativeDistinguishedName<'_>| {
            part.iter().map(|one| Some((one.attr_type().to_id_string(), text(one.attr_value())?))).collect()
        };
        self.subject_name().iter_rdn().map(part).collect()
    }

    /// The most specific commonName of the subject.
    pub fn common_name(&self) -> Option<String> {
        self.attribute(&COMMON_NAME)
    }

    /// The most specific SERIALNUMBER of the subject (2.5.4.5, an institution's number), not the certificate's own.
    pub fn serial_number(&self) -> Option<String> {
        self.attribute(&SERIAL_NUMBER)
    }

    fn attribute(&self, oid: &Oid<'_>) -> Option<String> {
        let named =
            self.x509.tbs_certificate.subject.iter_attributes().filter(|part| part.attr_type() == oid);
        named.last().and_then(|part| text(part.attr_value()))
    }

    /// Whether the subject carries an e-mail address, which name constraints count as a name.
    pub fn has_email_in_subject(&self) -> bool {
        self.x509.subject().iter_attributes().any(|part| *part.attr_type() == EMAIL_ADDRESS)
    }

    /// Every name of subjectAltName (RFC 5280 §4.2.1.6).
    pub fn alternative_names(&self) -> &[GeneralName<'a>] {
        match self.extension(&SUBJECT_ALT_NAME) {
            Some(ParsedExtension::SubjectAlternativeName(names)) => &names.general_names,
            _ => &[],
        }
    }

    /// The DNS names among them, wildcards as written.
    pub fn dns_names(&self) -> impl Iterator<Item = &'a str> {
        self.alternative_names().iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
    }

    /// Whether subjectAltName has an entry of the DNS kind, readable or not.
    pub fn has_dns_names(&self) -> bool {
        self.alternative_names()
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::Invalid(Tag(2), _)))
    }

    /// The addresses among them.
    pub fn ip_names(&self) -> impl Iterator<Item = IpAddr> {
        self.alternative_names().iter().filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
    }

    /// The first second of its validity, since the epoch.
    pub fn not_before(&self) -> i64 {
        self.x509.validity().not_before.timestamp()
    }

    /// The last second of its validity, since the epoch.
    pub fn not_after(&self) -> i64 {
        self.x509.validity().not_after.timestamp()
    }

    /// Whether `now` is within its validity.
    ///
    /// # Errors
    /// [`Refusal::NotYetValid`] or [`Refusal::Expired`].
    pub fn check_dates(&self, now: UnixTime) -> Result<(), Refusal> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now > self.not_after() {
            Err(Refusal::Expired)
        } else if now < self.not_before() {
            Err(Refusal::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &'a [u8] {
        self.x509.tbs_certificate.subject_pki.raw
    }

    /// The public key taken apart.
    pub fn public_key(&self) -> Option<PublicKeyParts<'a>> {
        PublicKeyParts::read(cut(self.spki(), SEQUENCE)?.0)
    }

    /// The length of an RSA key; `None` for other keys.
    pub fn rsa_bits(&self) -> Option<usize> {
        match self.x509.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => {
                let first = key.modulus.iter().position(|byte| *byte != 0)?;
                let modulus = key.modulus.get(first..)?;
                Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
            }
            _ => None,
        }
    }

    /// What is signed, how, and the signature.
    pub fn signed(&self) -> Option<Signed<'a>> {
        let (outer, _) = cut(self.der, SEQUENCE)?;
        let (message, rest) = outer.split_at_checked(self.x509.tbs_certificate.as_ref().len())?;
        let (algorithm, rest) = cut(rest, SEQUENCE)?;
        let (signature, rest) = cut(rest, BIT_STRING)?;
        // RFC 5280 §4.1.1.2: the algorithm stands inside and outside of what is signed, and is the same.
        let same = self.x509.tbs_certificate.signature == self.x509.signature_algorithm && rest.is_empty();
        let signature = whole_bits(signature).filter(|_| same)?;
        Some(Signed { message, algorithm, signature })
    }

    /// Whether its basicConstraints make it an authority.
    pub fn authority(&self) -> Option<Authority> {
        match self.extension(&BASIC_CONSTRAINTS) {
            Some(ParsedExtension::BasicConstraints(constraints)) if constraints.ca => {
                Some(Authority { path_len: constraints.path_len_constraint })
            }
            _ => None,
        }
    }

    /// What keyUsage allows; `None` when it says nothing (RFC 5280 §4.2.1.3).
    pub fn key_usage(&self) -> Option<KeyUsage> {
        match self.extension(&KEY_USAGE) {
            Some(ParsedExtension::KeyUsage(usage)) => Some(*usage),
            _ => None,
        }
    }

    /// Whether its key may sign a handshake, the only use TLS 1.3 and ECDHE have for it.
    pub fn signs_handshakes(&self) -> bool {
        self.key_usage().is_none_or(|usage| usage.digital_signature())
    }

    /// Whether its keyUsage lets it sign certificates.
    pub fn signs_certificates(&self) -> bool {
        self.key_usage().is_none_or(|usage| usage.key_cert_sign())
    }

    /// What extendedKeyUsage allows; `None` when it says nothing.
    pub fn purposes(&self) -> Option<Purposes> {
        match self.extension(&EXTENDED_KEY_USAGE) {
            Some(ParsedExtension::ExtendedKeyUsage(usage)) => {
                Some(Purposes { server: usage.server_auth, client: usage.client_auth, any: usage.any })
            }
            _ => None,
        }
    }

    /// The names it lets certificates below it have (RFC 5280 §4.2.1.10).
    pub fn name_constraints(&self) -> Option<&NameConstraints<'a>> {
        match self.extension(&NAME_CONSTRAINTS) {
            Some(ParsedExtension::NameConstraints(constraints)) => Some(constraints),
            _ => None,
        }
    }

    /// Whether a critical extension stands in it that nobody here understands. Policies are understood: no policy is
    /// asked for, so any will do.
    pub fn has_unknown_critical(&self) -> bool {
        let known = |oid: &Oid<'_>| READ.contains(oid) || *oid == CERTIFICATE_POLICIES;
        self.x509.extensions().iter().any(|extension| extension.critical && !known(&extension.oid))
    }

    fn extension(&self, oid: &Oid<'_>) -> Option<&ParsedExtension<'a>> {
        let found = self.x509.extensions().iter().find(|extension| extension.oid == *oid);
        found.filter(|_| self.is_v3()).map(X509Extension::parsed_extension)
    }
}

/// The first bytes of DER elements.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The content of the DER element that `input` begins with, and what follows it.
fn cut(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let element = input.first() == Some(&tag);
    let (rest, any) = Any::from_der(input).ok().filter(|_| element)?;
    Some((any.data, rest))
}

/// The content of a SEQUENCE that is all of `der`.
pub(super) fn sequence(der: &[u8]) -> Option<&[u8]> {
    cut(der, SEQUENCE).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The bytes of a BIT STRING's content, if no bit is unused.
fn whole_bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bits)| bits)
}

/// An address as certificates carry it.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(bytes));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A directory string of any of its types (RFC 5280 §4.1.2.4), as text.
pub(super) fn text(any: &Any<'_>) -> Option<String> {
    match any.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(any.data).ok().map(str::to_owned)
        }
        // In practice Latin-1, whatever T.61 was.
        Tag::T61String => Some(any.data.iter().copied().map(char::from).collect()),
        Tag::BmpString if any.data.len().is_multiple_of(2) => {
            let units =
                any.data.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString if any.data.len().is_multiple_of(4) => {
            let codes =
                any.data.chunks_exact(4).filter_map(|code| code.try_into().ok().map(u32::from_be_bytes));
            codes.map(char::from_u32).collect()
        }
        _ => None,
    }
}
