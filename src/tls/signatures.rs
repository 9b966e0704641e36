//! Signatures: of a handshake by the peer's key, and of certificates by algorithms only Java still accepts.
//!
//! rustls verifies a handshake through webpki's certificate parser, which refuses version 1 and unknown critical
//! extensions. A pinned certificate may have either, so the key is cut out here and used as a raw key.

use std::fmt;

use aws_lc_rs::signature::{self as aws, UnparsedPublicKey, VerificationAlgorithm};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, alg_id,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::certificate::Certificate;
use super::refusal::Refusal;

/// Verifies a TLS 1.3 handshake signature (RFC 8446 §4.4.3) against the certificate's key.
///
/// # Errors
/// The certificate cannot be read, the scheme was not offered, or the signature is wrong.
pub fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = Certificate::read(certificate).ok_or(Refusal::Unreadable)?;
    let key = SubjectPublicKeyInfoDer::from(certificate.spki());
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}

/// Verifies a TLS 1.2 handshake signature (RFC 5246 §4.7), where a scheme does not fix the curve.
///
/// # Errors
/// As for [`verify_tls13`].
pub fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let certificate = Certificate::read(certificate).ok_or(Refusal::Unreadable)?;
    let key = SubjectPublicKeyInfoDer::from(certificate.spki());
    let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| Refusal::Unreadable)?;
    let offered = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let Some((_, candidates)) = offered.filter(|_| in_tls12(signed.scheme)) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let fits = |error: &webpki::Error| {
        !matches!(error, webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_))
    };
    let verdict = candidates
        .iter()
        .map(|algorithm| key.verify_signature(*algorithm, message, signed.signature()))
        .find(|verdict| verdict.as_ref().map_or_else(fits, |()| true));
    match verdict {
        Some(Ok(())) => Ok(HandshakeSignatureValid::assertion()),
        Some(Err(_)) | None => Err(CertificateError::BadSignature.into()),
    }
}

const fn in_tls12(scheme: SignatureScheme) -> bool {
    matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
            | SignatureScheme::RSA_PSS_SHA256
            | SignatureScheme::RSA_PSS_SHA384
            | SignatureScheme::RSA_PSS_SHA512
            | SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512
            | SignatureScheme::ED25519
    )
}

/// What Java accepts of private authorities beyond webpki: SHA-1, and RSA keys from 1024 bits. For certificates only,
/// never for handshakes.
pub static JAVA_ONLY: &[&dyn SignatureVerificationAlgorithm] = &[
    &Legacy {
        key: alg_id::RSA_ENCRYPTION,
        signature: RSA_SHA1,
        by: &aws::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
    &Legacy {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA256,
        by: &aws::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    },
    &Legacy {
        key: alg_id::RSA_ENCRYPTION,
        signature: alg_id::RSA_PKCS1_SHA512,
        by: &aws::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    },
    &Legacy { key: alg_id::ECDSA_P256, signature: ECDSA_SHA1, by: &aws::ECDSA_P256_SHA1_ASN1 },
    &Legacy { key: alg_id::ECDSA_P521, signature: ECDSA_SHA1, by: &aws::ECDSA_P521_SHA1_ASN1 },
];

/// sha1WithRSAEncryption with NULL parameters (RFC 4055 §5).
const RSA_SHA1: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
]);

/// ecdsa-with-SHA1 (RFC 3279 §2.2.3).
const ECDSA_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01]);

struct Legacy {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    by: &'static dyn VerificationAlgorithm,
}

impl SignatureVerificationAlgorithm for Legacy {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.by, key).verify(message, signature).map_err(|_| InvalidSignature)
    }
}

impl fmt::Debug for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Legacy").field("signature", &self.signature).finish_non_exhaustive()
    }
}
