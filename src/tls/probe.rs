//! A handshake with a target that is made only to see its certificate, and the verdict on what was seen.
//!
//! Nothing is trusted on the way, but the target has to prove that it holds the certificate's key. Whether it then goes on
//! with a client that shows no certificate does not matter.

use super::context::{Outbound, server_name};
use super::refusal::Refusal;
use super::verify::ServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What a target showed.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its own certificate.
    pub leaf: CertificateDer<'static>,
    /// Those it sent with it.
    pub intermediates: Vec<CertificateDer<'static>>,
    /// It has proved that it holds the key of the leaf.
    proved: bool,
}

/// Lets every certificate pass and remembers it.
#[derive(Debug)]
struct Witness {
    verifier: Arc<ServerVerifier>,
    shown: Mutex<Option<Shown>>,
}

impl Witness {
    fn seen(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn proved(
        &self,
        verdict: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if verdict.is_ok()
            && let Some(shown) = self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            shown.proved = true;
        }
        verdict
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let intermediates = intermediates.iter().map(|certificate| certificate.clone().into_owned());
        let shown = Shown {
            leaf: end_entity.clone().into_owned(),
            intermediates: intermediates.collect(),
            proved: false,
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proved(self.verifier.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proved(self.verifier.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Nobody.
#[derive(Debug)]
struct Anonymous;

impl ResolvesClientCert for Anonymous {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Shakes hands with the target `host` over `stream`, in the versions and suites of `outbound` but without a certificate of
/// ours.
///
/// # Errors
/// Why nothing was shown, or nothing proved.
pub fn probe(outbound: &Outbound, host: &str, stream: &mut (impl Read + Write)) -> Result<Shown, String> {
    let name = server_name(host).map_err(|_| "no certificate could name such a host".to_owned())?;
    let verifier = Arc::clone(outbound.verifier());
    let witness = Arc::new(Witness { verifier, shown: Mutex::default() });
    let mut config = ClientConfig::clone(&outbound.config);
    config.dangerous().set_certificate_verifier(Arc::clone(&witness) as _);
    config.client_auth_cert_resolver = Arc::new(Anonymous);
    config.resumption = Resumption::disabled();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut ended = Ok(());
    while ended.is_ok() && connection.is_handshaking() {
        ended = connection.complete_io(stream).map(drop);
    }
    if let Some(shown) = witness.seen().filter(|shown| shown.proved) {
        if ended.is_ok() {
            connection.send_close_notify();
            // What was wanted is there; whether the target hears that this was all is for politeness.
            let _ = connection.complete_io(stream);
        }
        return Ok(shown);
    }
    match ended {
        Ok(()) => Err("it showed no certificate".to_owned()),
        Err(error) => Err(format!("the TLS handshake failed: {error}")),
    }
}

/// The verdict on what was seen of the target `host`, as its next connection will have it.
///
/// # Errors
/// Why it would be refused.
pub fn judge(outbound: &Outbound, host: &str, shown: &Shown) -> Result<(), Refusal> {
    let name = server_name(host).map_err(|_| Refusal::Hostname)?;
    let now = outbound.config.time_provider.current_time().ok_or(Refusal::Expired)?;
    outbound.verifier().judge(&shown.leaf, &shown.intermediates, &name, now)
}
