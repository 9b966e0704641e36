//! The second look at a chain, by Java's rules (`proxy.ssl.client.compat=java`), after webpki refused it.
//!
//! Java 17 lets pass what webpki does not know or does not want: an authority's or a version 1 certificate as a
//! server's, anyExtendedKeyUsage, critical certificatePolicies, directory name constraints, SHA-1 and RSA keys from
//! 1024 bits in the chain, and it does not read constraints of anchors. Everything else is as strict as webpki, and in
//! doubt stricter: names are compared byte by byte, a path length counts self-issued authorities, an
//! extendedKeyUsage of an authority has to allow servers, and every name constraint holds for every certificate
//! below it.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};

use super::certificate::{Certificate, PublicKeyParts, Signed, sequence};
use super::chain::{CERTIFICATES_MAX, Rules};
use super::constraints;
use super::refusal::Refusal;
use super::signatures::JAVA_ONLY;

/// Most signatures looked at for one certificate. A straight chain of full length needs nine.
const SIGNATURES_MAX: usize = 40;

/// Whether Java's rules find a chain for a server's certificate.
///
/// # Errors
/// Why not; of several reasons the first that says more than that there is no issuer.
pub fn accept(
    rules: &Rules<'_>,
    leaf: &Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Refusal> {
    leaf.check_dates(rules.now)?;
    if leaf.has_unknown_critical() {
        return Err(Refusal::CriticalExtension);
    }
    if !serves(leaf) || !leaf.signs_handshakes() {
        return Err(Refusal::Purpose);
    }
    let candidates: Vec<_> = intermediates.iter().filter_map(|der| Certificate::read(der)).collect();
    let mut walk = Walk {
        anchors: rules.trust.anchors(),
        candidates: &candidates,
        now: rules.now,
        algorithms: rules.algorithms,
        signatures: SIGNATURES_MAX,
    };
    walk.climb(&mut vec![leaf])
}

/// A search from the leaf upwards.
struct Walk<'w, 'a> {
    anchors: &'w [TrustAnchor<'static>],
    candidates: &'w [Certificate<'a>],
    now: UnixTime,
    algorithms: &'w WebPkiSupportedAlgorithms,
    signatures: usize,
}

impl<'w, 'a> Walk<'w, 'a> {
    /// Looks for an anchor above the last of `path`, which begins with the leaf.
    fn climb(&mut self, path: &mut Vec<&'w Certificate<'a>>) -> Result<(), Refusal> {
        let Some(head) = path.last().copied() else { return Err(Refusal::UnknownIssuer) };
        let mut reason = Refusal::UnknownIssuer;
        for anchor in self.anchors {
            if sequence(head.issuer()) != Some(anchor.subject.as_ref()) {
                continue;
            }
            let verdict = PublicKeyParts::read(&anchor.subject_public_key_info)
                .ok_or(Refusal::Unreadable)
                .and_then(|key| self.verify(head, key));
            match verdict {
                Ok(()) => return Ok(()),
                Err(refusal) => keep(&mut reason, refusal),
            }
        }
        for candidate in self.candidates {
            if candidate.subject() != head.issuer() || repeats(path, candidate) {
                continue;
            }
            let verdict = self.issuer(path, candidate).and_then(|()| {
                path.push(candidate);
                let verdict = self.climb(path);
                path.pop();
                verdict
            });
            match verdict {
                Ok(()) => return Ok(()),
                Err(refusal) => keep(&mut reason, refusal),
            }
        }
        Err(reason)
    }

    /// Whether `candidate` may have issued the last of `path`, and has.
    fn issuer(&mut self, path: &[&Certificate<'_>], candidate: &Certificate<'_>) -> Result<(), Refusal> {
        // The leaf is no authority, everything else in the path is.
        let below = path.len().saturating_sub(1);
        let authority = candidate.authority().filter(|_| candidate.signs_certificates());
        let authority = authority.ok_or(Refusal::NoAuthority)?;
        let fits =
            authority.path_len.is_none_or(|most| usize::try_from(most).is_ok_and(|most| below <= most));
        if !fits || path.len() >= CERTIFICATES_MAX {
            return Err(Refusal::NoAuthority);
        }
        candidate.check_dates(self.now)?;
        if candidate.has_unknown_critical() {
            return Err(Refusal::CriticalExtension);
        }
        if !serves(candidate) {
            return Err(Refusal::Purpose);
        }
        if let Some(constraints) = candidate.name_constraints()
            && !path.iter().all(|below| constraints::permit(constraints, below))
        {
            return Err(Refusal::NameConstraint);
        }
        let key = candidate.public_key().ok_or(Refusal::Unreadable)?;
        let head = path.last().ok_or(Refusal::UnknownIssuer)?;
        self.verify(head, key)
    }

    /// Whether `key` signed the certificate, by any algorithm of the provider or of Java.
    fn verify(&mut self, certificate: &Certificate<'_>, key: PublicKeyParts<'_>) -> Result<(), Refusal> {
        self.signatures = self.signatures.checked_sub(1).ok_or(Refusal::TooMany)?;
        let Signed { message, algorithm, signature } = certificate.signed().ok_or(Refusal::Unreadable)?;
        let mut refusal = Refusal::Algorithm;
        for candidate in self.algorithms.all.iter().chain(JAVA_ONLY) {
            let fits = *candidate.signature_alg_id() == *algorithm
                && *candidate.public_key_alg_id() == *key.algorithm;
            if fits && candidate.verify_signature(key.bits, message, signature).is_ok() {
                return Ok(());
            }
            if fits {
                refusal = Refusal::BadSignature;
            }
        }
        Err(refusal)
    }
}

/// Remembers the first reason that says something.
fn keep(reason: &mut Refusal, refusal: Refusal) {
    if *reason == Refusal::UnknownIssuer || refusal == Refusal::TooMany {
        *reason = refusal;
    }
}

/// Whether the path already has this name and key (RFC 4158 §5.2).
fn repeats(path: &[&Certificate<'_>], candidate: &Certificate<'_>) -> bool {
    path.iter().any(|below| below.subject() == candidate.subject() && below.spki() == candidate.spki())
}

fn serves(certificate: &Certificate<'_>) -> bool {
    certificate.purposes().is_none_or(|purposes| purposes.server || purposes.any)
}
