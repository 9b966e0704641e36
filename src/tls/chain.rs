//! A chain from a certificate to an anchor, by webpki's strict rules, with our own bounds on what peers may send.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::certificate::Certificate;
use super::constraints;
use super::refusal::Refusal;
use super::trust::Trust;

/// Most certificates a peer may send, its own included; Java's limit too (`jdk.tls.maxCertificateChainLength`).
pub const CERTIFICATES_MAX: usize = 10;

/// Most certificates of one subject that are tried as issuers. Cross-signed authorities come in twos; more of them
/// make a maze whose paths grow as their product.
const SAME_SUBJECT_MAX: usize = 3;

/// Which end of TLS the certificate is shown by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A target.
    Server,
    /// Who connects to us.
    Client,
}

/// What a chain is judged by.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// Whom we trust.
    pub trust: &'a Trust,
    /// Which end shows it.
    pub role: Role,
    /// When.
    pub now: UnixTime,
    /// What signatures may be made with.
    pub algorithms: &'a WebPkiSupportedAlgorithms,
}

/// Whether webpki finds a chain, keyUsage lets the key sign handshakes, and a commonName that may count as the
/// server's name obeys the authorities' name constraints, which webpki does not look at.
///
/// # Errors
/// Why not.
pub fn strict(
    rules: &Rules<'_>,
    leaf: &Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<(), Refusal> {
    let usage = match rules.role {
        Role::Server => KeyUsage::server_auth(),
        Role::Client => KeyUsage::client_auth(),
    };
    let name_counts = rules.role == Role::Server && !leaf.has_dns_names();
    let common_name = |path: &VerifiedPath<'_>| {
        let permitted = !name_counts || common_name_permitted(rules.trust, path, leaf);
        if permitted { Ok(()) } else { Err(webpki::Error::NameConstraintViolation) }
    };
    let der = CertificateDer::from(leaf.der());
    let parsed = EndEntityCert::try_from(&der)?;
    let verdict = parsed.verify_for_usage(
        rules.algorithms.all,
        rules.trust.anchors(),
        intermediates,
        rules.now,
        usage,
        None,
        Some(&common_name),
    );
    match verdict {
        Ok(_) if leaf.signs_handshakes() => Ok(()),
        Ok(_) => Err(Refusal::Purpose),
        Err(webpki::Error::InvalidSignatureForPublicKey)
            if has_short_key(rules.trust, leaf, intermediates) =>
        {
            Err(Refusal::WeakAuthority)
        }
        // Of the leaf it is its own, of an authority it is that it cannot be one.
        Err(webpki::Error::UnsupportedCertVersion) if leaf.is_v3() => Err(Refusal::NoAuthority),
        Err(error) => Err(error.into()),
    }
}

fn common_name_permitted(trust: &Trust, path: &VerifiedPath<'_>, leaf: &Certificate<'_>) -> bool {
    let permits = |der: &[u8]| match Certificate::read(der) {
        Some(above) => above
            .name_constraints()
            .is_none_or(|constraints| constraints::permit_common_name(constraints, leaf)),
        None => false,
    };
    let anchors = trust.anchors().iter().zip(trust.authorities());
    let mut anchors = anchors.filter(|(anchor, _)| *anchor == path.anchor());
    path.intermediate_certificates().all(|above| permits(&above.der()))
        && anchors.all(|(_, der)| permits(der))
}

/// Whether an RSA key of fewer bits than webpki verifies with stands above the certificate, which webpki calls a bad
/// signature.
fn has_short_key(trust: &Trust, leaf: &Certificate<'_>, intermediates: &[CertificateDer<'_>]) -> bool {
    let read: Vec<_> = intermediates.iter().filter_map(|der| Certificate::read(der)).collect();
    let short =
        |certificate: &Certificate<'_>| certificate.rsa_bits().is_some_and(|bits| bits < RSA_BITS_MIN);
    let issuers: Vec<&[u8]> = read.iter().map(Certificate::issuer).chain([leaf.issuer()]).collect();
    let anchors = trust.authorities().iter().filter_map(|der| Certificate::read(der));
    read.iter().any(short)
        || anchors.into_iter().any(|anchor| issuers.contains(&anchor.subject()) && short(&anchor))
}

/// The shortest RSA key that signs handshakes or, strictly, certificates.
pub const RSA_BITS_MIN: usize = 2048;

/// The certificates above the peer's own that are looked at: those that could be in a chain by their names, in the
/// peer's order, each once.
///
/// # Errors
/// [`Refusal::TooMany`] when more were sent than [`CERTIFICATES_MAX`].
pub fn bounded<'a>(
    leaf: &Certificate<'_>,
    intermediates: &'a [CertificateDer<'_>],
) -> Result<Vec<CertificateDer<'a>>, Refusal> {
    if intermediates.len() >= CERTIFICATES_MAX {
        return Err(Refusal::TooMany);
    }
    // What cannot be read is nobody's issuer, and webpki would name it as the reason instead of the real one.
    let read: Vec<_> = intermediates.iter().filter_map(|der| Certificate::read(der)).collect();
    let mut wanted = vec![leaf.issuer()];
    let mut next = 0;
    while let Some(issuer) = wanted.get(next).copied() {
        let above = read.iter().filter(|certificate| certificate.subject() == issuer);
        for certificate in above.filter(|above| above.subject() != above.issuer()) {
            if !wanted.contains(&certificate.issuer()) {
                wanted.push(certificate.issuer());
            }
        }
        next += 1;
    }
    let mut kept: Vec<&Certificate<'a>> = Vec::with_capacity(read.len());
    for certificate in read.iter().filter(|certificate| wanted.contains(&certificate.subject())) {
        let same = kept.iter().filter(|kept| kept.subject() == certificate.subject());
        let known = kept.iter().any(|kept| kept.der() == certificate.der());
        if same.count() < SAME_SUBJECT_MAX && !known {
            kept.push(certificate);
        }
    }
    Ok(kept.into_iter().map(|certificate| CertificateDer::from(certificate.der())).collect())
}
