//! What a trust store says, read once: whom its entries vouch for.
//!
//! ```text
//! Authority  may issue certificates: an anchor, and itself trusted as it is
//! Peer       trusted as it is, for whatever host it names, and as a client
//! Planted    trusted as it is, for the host of its alias and the hosts it names; never as a client
//! ```
//! Java asks only whether an entry may issue. That would let whoever once got a certificate planted by
//! `x-reload-httpclient` speak for every host, or come in as a client, so what has the looks of such an entry is
//! held to them; see [`standing`].

use std::collections::BTreeMap;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};

use super::certificate::Certificate;
use super::host::Host;

/// Whom an entry of a trust store vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Itself and what it issues.
    Authority,
    /// Itself.
    Peer,
    /// Itself as a server, at the host of its alias or at a host it names.
    Planted,
}

impl Standing {
    /// Whether a client that shows exactly this certificate, or one it issued, is let in on its word.
    pub const fn vouches_for_clients(self) -> bool {
        !matches!(self, Self::Planted)
    }
}

/// Whom the entry `alias` vouches for. The store holds nothing else to go by, so this survives a restart:
///
/// - an entry is planted when subjectAltName names its alias: neither authorities nor clients name hosts;
/// - and when its alias is a host that is no ordinary word (dotted and not a file name, an address, `localhost`),
///   unless the certificate may issue others and its commonName is not that host either: roots go by names such as
///   `globalsign.root.r3`.
///
/// A commonName alone that is its alias, `partner` for `CN=partner`, says nothing: it is how aliases are chosen.
///
/// What `x-reload-httpclient` is about to write must come out as [`Standing::Planted`] here, or it must not be
/// written: an authority's certificate that does not name its host is for operators to import by hand.
pub fn standing(alias: &str, certificate: &Certificate<'_>) -> Standing {
    let issues = may_issue(certificate);
    let otherwise = if issues { Standing::Authority } else { Standing::Peer };
    let Some(host) = Host::of_alias(alias) else { return otherwise };
    let unmistakable = host.is_unmistakable() && (!issues || host.is_common_name_of(certificate));
    let planted = unmistakable || host.is_alternative_name_of(certificate);
    if planted { Standing::Planted } else { otherwise }
}

/// Whether the entry `alias` vouches for clients that show exactly this certificate: every entry but planted ones.
pub fn vouches_for_clients(alias: &str, certificate: &Certificate<'_>) -> bool {
    standing(alias, certificate).vouches_for_clients()
}

/// Whether a certificate of the store may be the anchor of others, as Java 17 has it: version 3 with the cA flag and,
/// if it has a keyUsage, keyCertSign; older versions only when self-issued, for they cannot say.
fn may_issue(certificate: &Certificate<'_>) -> bool {
    if certificate.is_v3() {
        certificate.authority().is_some() && certificate.signs_certificates()
    } else {
        certificate.subject() == certificate.issuer()
    }
}

/// Longest list of subjects in a CertificateRequest: its extension has a 16-bit length. None listed means any.
const SUBJECT_BYTES_MAX: usize = 60_000;

/// One entry under one alias.
#[derive(Clone, Debug)]
pub struct Pin {
    /// As in the store, lower case.
    pub alias: String,
    /// The host the alias spells, if it has the form of one.
    pub host: Option<Host>,
    /// Whom it vouches for.
    pub standing: Standing,
}

/// Anchors and pins of one trust store.
#[derive(Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    authorities: Vec<CertificateDer<'static>>,
    pins: BTreeMap<Vec<u8>, Vec<Pin>>,
    subjects: Vec<DistinguishedName>,
    notes: Vec<String>,
}

impl Trust {
    /// Reads a store's entries: alias and certificate. What cannot be read vouches for nobody and is in
    /// [`notes`](Self::notes).
    pub fn new(entries: impl IntoIterator<Item = (String, CertificateDer<'static>)>) -> Self {
        let mut trust = Self::default();
        for (alias, der) in entries {
            trust.add(alias.to_lowercase(), &der);
        }
        let listed: usize = trust.subjects.iter().map(|subject| 2 + subject.as_ref().len()).sum();
        if listed > SUBJECT_BYTES_MAX {
            trust.notes.push(format!(
                "its {} subjects are too long to be listed to clients, which then have to know which certificate to show",
                trust.subjects.len()
            ));
            trust.subjects.clear();
        }
        trust
    }

    fn add(&mut self, alias: String, der: &CertificateDer<'static>) {
        let Some(certificate) = Certificate::read(der) else {
            self.notes
                .push(format!("the entry \"{alias}\" is no certificate that can be read; it is not trusted"));
            return;
        };
        let standing = standing(&alias, &certificate);
        let pin = Pin { host: Host::of_alias(&alias), alias, standing };
        if standing.vouches_for_clients() {
            let subject = certificate.subject();
            if !self.subjects.iter().any(|known| known.as_ref() == subject) {
                self.subjects.push(DistinguishedName::from(subject.to_vec()));
            }
        } else if may_issue(&certificate) {
            self.notes.push(format!(
                "the entry \"{}\" names its alias as a host: it is trusted for that host, not as an authority; \
                 give it another alias to change that",
                pin.alias
            ));
        }
        let known = self.authorities.contains(der);
        if standing == Standing::Authority && !known {
            match webpki::anchor_from_trusted_cert(der) {
                Ok(anchor) => {
                    self.anchors.push(anchor.to_owned());
                    self.authorities.push(der.clone());
                }
                Err(error) => self.notes.push(format!(
                    "the entry \"{}\" ({}) cannot be an authority: {error}",
                    pin.alias,
                    certificate.subject_text()
                )),
            }
        }
        self.pins.entry(der.to_vec()).or_default().push(pin);
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }

    /// How many different certificates it holds.
    pub fn len(&self) -> usize {
        self.pins.len()
    }

    /// The subjects for a CertificateRequest (RFC 8446 §4.2.4), each once: of every entry that vouches for clients.
    pub fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Whether exactly this certificate is in the store, under whatever alias.
    pub fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pins.contains_key(certificate.as_ref())
    }

    /// What operators should know about entries, one sentence each, without a key.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The entries with exactly this certificate.
    pub fn pins(&self, der: &[u8]) -> &[Pin] {
        self.pins.get(der).map_or(&[], Vec::as_slice)
    }

    /// The anchors, for webpki.
    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The certificates of the anchors, in the same order.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust")
            .field("anchors", &self.anchors.len())
            .field("pins", &self.pins.len())
            .finish_non_exhaustive()
    }
}
