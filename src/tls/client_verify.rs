//! The verdict on the certificate of who connects to us (`server.ssl.client-auth`).
//!
//! Strict webpki rules against the trust store, or exactly a certificate of it, planted ones excepted
//! ([`trust`](super::trust)). Java's rules are for targets only: whoever wants in follows ours.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::chain::{self, Role, Rules};
use super::notes::{Note, Notes};
use super::refusal::Refusal;
use super::signatures;
use super::trust::Trust;
use super::verify::sound;

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// None: none is a failed handshake.
    Need,
    /// It may; a bad one is a failed handshake all the same.
    Want,
}

/// Verifies clients against one trust store. For a listener that asks for no certificate rustls has `NoClientAuth`.
#[derive(Debug)]
pub struct ClientVerifier {
    trust: Arc<Trust>,
    demand: Demand,
    algorithms: WebPkiSupportedAlgorithms,
    notes: Arc<Notes>,
}

impl ClientVerifier {
    /// A verifier for rustls.
    pub fn new(
        trust: Arc<Trust>,
        demand: Demand,
        provider: &Arc<CryptoProvider>,
        notes: &Arc<Notes>,
    ) -> Arc<Self> {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Self { trust, demand, algorithms, notes: Arc::clone(notes) })
    }

    /// The verdict on what a client shows. Nothing is known of its host, so no name is checked; the policy above
    /// decides what a subject may do.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let leaf = sound(end_entity)?;
        let intermediates = chain::bounded(&leaf, intermediates)?;
        if self.trust.pins(leaf.der()).iter().any(|pin| pin.standing.vouches_for_clients()) {
            if let Err(refusal) = leaf.check_dates(now) {
                let subject = leaf.subject_text();
                self.notes.take(Note::PinOutOfDate, &subject, || {
                    format!("{refusal}; as a client it is accepted because it is in the trust store")
                });
            }
            return Ok(());
        }
        let rules = Rules { trust: &self.trust, role: Role::Client, now, algorithms: &self.algorithms };
        chain::strict(&rules, &leaf, &intermediates)
    }
}

impl ClientVerifier {
    /// Looks again at the certificate of a session that is resumed: its chain was judged under this trust store, but it
    /// may have expired since.
    ///
    /// # Errors
    /// That it has, unless it stands in the trust store itself.
    pub fn recheck(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(), Refusal> {
        let leaf = sound(end_entity)?;
        if self.trust.pins(leaf.der()).iter().any(|pin| pin.standing.vouches_for_clients()) {
            return Ok(());
        }
        leaf.check_dates(now)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Need
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signatures::verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signatures::verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
