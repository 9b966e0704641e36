//! The verdict on a target's certificate.
//!
//! ```text
//! key too weak? -> pinned for this host? -> chain (strict, then Java's) -> name -> SERIALNUMBER
//!                  yes: trusted as it is ------------------------------------^
//! ```
//! Revocation is not looked at, as in the legacy. A handshake's signature is always verified, whatever else is off.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::certificate::Certificate;
use super::chain::{self, RSA_BITS_MIN, Role, Rules};
use super::host::Host;
use super::notes::{Note, Notes};
use super::refusal::Refusal;
use super::trust::{Pin, Standing, Trust};
use super::{java, signatures};

/// What a wrong subject SERIALNUMBER leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SerialCheck {
    /// It is not looked at.
    #[default]
    Off,
    /// It is counted and logged.
    Report,
    /// It ends the handshake.
    Enforce,
}

/// How one kind of target is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whether trust, dates, purpose and name are checked at all. Off, any certificate passes whose key signs the
    /// handshake; SERIALNUMBER and the weakness of the key are still looked at.
    pub validate: bool,
    /// Whether the certificate must name the host.
    pub verify_hostname: bool,
    /// Whether Java's rules may overrule webpki's.
    pub compat_java: bool,
    /// The subject SERIALNUMBER the target must show, if one is known.
    pub serial_number: Option<String>,
    /// What another one leads to.
    pub serial_check: SerialCheck,
}

impl Default for Verification {
    /// The strict rules, no SERIALNUMBER.
    fn default() -> Self {
        Self {
            validate: true,
            verify_hostname: true,
            compat_java: false,
            serial_number: None,
            serial_check: SerialCheck::Off,
        }
    }
}

/// Verifies targets of one kind against one trust store.
#[derive(Debug)]
pub struct ServerVerifier {
    trust: Arc<Trust>,
    verification: Verification,
    algorithms: WebPkiSupportedAlgorithms,
    notes: Arc<Notes>,
}

/// Whether the trust store holds exactly this certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinned {
    /// For this host.
    Here,
    /// For other hosts.
    Elsewhere,
    /// Not at all.
    No,
}

impl ServerVerifier {
    /// A verifier for rustls.
    pub fn new(
        trust: Arc<Trust>,
        verification: Verification,
        provider: &Arc<CryptoProvider>,
        notes: &Arc<Notes>,
    ) -> Arc<Self> {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Self { trust, verification, algorithms, notes: Arc::clone(notes) })
    }

    /// The whole verdict on what a target shows.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the drawing above.
    pub fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let host = Host::of(name).ok_or(Refusal::Hostname)?;
        let leaf = sound(end_entity)?;
        if self.verification.validate {
            let intermediates = chain::bounded(&leaf, intermediates)?;
            match self.pinned(&leaf, &host) {
                Pinned::Here => self.note_dates(&leaf, &host, now),
                Pinned::Elsewhere if self.verification.verify_hostname => {
                    // The certificate is trusted, but not here: that, not its chain, is what is wrong with it.
                    self.chain(&leaf, &intermediates, &host, now).map_err(|_| Refusal::Hostname)?;
                }
                Pinned::Elsewhere | Pinned::No => self.chain(&leaf, &intermediates, &host, now)?,
            }
        }
        self.check_serial(&leaf, &host)?;
        self.notes.peers.note(&host, leaf.not_after(), now);
        Ok(())
    }

    /// The verdict on a resumed session, whose handshake skipped the certificates: key, pin, dates, name and
    /// SERIALNUMBER of the target's own certificate. No chain is built: the session was made under this trust store.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn recheck(
        &self,
        certificates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let host = Host::of(name).ok_or(Refusal::Hostname)?;
        let leaf = sound(certificates.first().ok_or(Refusal::Unreadable)?)?;
        if self.verification.validate {
            if self.pinned(&leaf, &host) == Pinned::Here {
                self.note_dates(&leaf, &host, now);
            } else {
                leaf.check_dates(now)?;
                self.check_name(&leaf, &host)?;
            }
        }
        self.check_serial(&leaf, &host)
    }

    /// Whether the store holds exactly this certificate for this host: the host of the alias, a host it names, or
    /// where names are not checked any host, unless the entry has the looks of a planted one.
    fn pinned(&self, leaf: &Certificate<'_>, host: &Host) -> Pinned {
        let pins = self.trust.pins(leaf.der());
        if pins.is_empty() {
            return Pinned::No;
        }
        let named = host.is_named_by(leaf);
        let here = |pin: &Pin| {
            let anywhere = pin.standing != Standing::Planted && !self.verification.verify_hostname;
            named || anywhere || pin.host.as_ref() == Some(host)
        };
        if pins.iter().any(here) { Pinned::Here } else { Pinned::Elsewhere }
    }

    /// A chain to an anchor, then the name.
    fn chain(
        &self,
        leaf: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &Host,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let rules = Rules { trust: &self.trust, role: Role::Server, now, algorithms: &self.algorithms };
        let verdict = chain::strict(&rules, leaf, intermediates);
        let Err(refusal) = verdict else { return self.check_name(leaf, host) };
        if !(self.verification.compat_java && refusal.java_may_accept()) {
            return Err(refusal);
        }
        java::accept(&rules, leaf, intermediates)?;
        self.check_name(leaf, host)?;
        self.notes.take_of(Note::JavaOnly, host, || {
            format!("its certificate passes only because of proxy.ssl.client.compat=java: {refusal}")
        });
        Ok(())
    }

    fn check_name(&self, leaf: &Certificate<'_>, host: &Host) -> Result<(), Refusal> {
        if !self.verification.verify_hostname || host.is_named_by(leaf) {
            Ok(())
        } else {
            Err(Refusal::Hostname)
        }
    }

    fn note_dates(&self, leaf: &Certificate<'_>, host: &Host, now: UnixTime) {
        if let Err(refusal) = leaf.check_dates(now) {
            self.notes.take_of(Note::PinOutOfDate, host, || {
                format!(
                    "{refusal}; it is accepted because it is in the trust store ({})",
                    leaf.subject_text()
                )
            });
        }
    }

    fn check_serial(&self, leaf: &Certificate<'_>, host: &Host) -> Result<(), Refusal> {
        let check = self.verification.serial_check;
        let Some(expected) = self.verification.serial_number.as_deref() else { return Ok(()) };
        if check == SerialCheck::Off {
            return Ok(());
        }
        let seen = leaf.serial_number();
        if seen.as_deref().is_some_and(|seen| digits(seen) == digits(expected)) {
            return Ok(());
        }
        let seen = seen.map(|seen| seen.chars().take(SEEN_CHARS_MAX).collect());
        let refusal = Refusal::SerialNumber { seen, expected: expected.to_owned() };
        self.notes.take_of(Note::SerialNumber, host, || refusal.to_string());
        if check == SerialCheck::Enforce { Err(refusal) } else { Ok(()) }
    }
}

/// Longest foreign SERIALNUMBER that is repeated, in characters; X.520 allows 64.
const SEEN_CHARS_MAX: usize = 64;

/// A SERIALNUMBER as it is compared: a business registration number is written 123-45-67890 or 1234567890.
fn digits(number: &str) -> String {
    number.trim().chars().filter(|c| *c != '-').collect()
}

/// Reads a peer's own certificate and looks at its key, whose weakness nothing else could make good.
pub(super) fn sound<'a>(der: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Refusal> {
    let leaf = Certificate::read(der).ok_or(Refusal::Unreadable)?;
    match leaf.rsa_bits() {
        Some(bits) if bits < RSA_BITS_MIN => Err(Refusal::WeakKey { bits }),
        _ => Ok(leaf),
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
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
