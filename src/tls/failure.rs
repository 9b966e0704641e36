//! What a failed TLS connection means to an exchange: one clear code for each cause.

use crate::fault::What;
use crate::tls::refusal::certificate_fault;
use rustls::{AlertDescription as Alert, Error};

/// How far a handshake with a target came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Version and suite were agreed on.
    pub agreed: bool,
    /// The target asked for a certificate and was told that there is none.
    pub declined: bool,
}

/// The fault of a connection to a target. Certificates are judged elsewhere; this is for what rustls itself says.
///
/// What a target answers to no certificate differs: certificate_required (RFC 8446), handshake_failure (RFC 5246 §7.4.6,
/// OpenSSL), bad_certificate (Java).
pub fn of_target(error: &Error, reached: Reached) -> What {
    if let Some(what) = certificate_fault(error) {
        return what;
    }
    match error {
        Error::AlertReceived(Alert::CertificateRequired) => What::TlsClientCertRequired,
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => {
            if reached.declined {
                What::TlsClientCertRequired
            } else {
                What::TlsClientCertRejected
            }
        }
        Error::AlertReceived(Alert::HandshakeFailure) if reached.declined => What::TlsClientCertRequired,
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) if reached.agreed => {
            What::TlsFailed
        }
        Error::PeerIncompatible(_)
        | Error::AlertReceived(
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity,
        ) => What::TlsProtocol,
        _ => What::TlsFailed,
    }
}

/// The fault of a client's connection.
pub fn of_client(error: &Error) -> What {
    match error {
        Error::NoCertificatesPresented => What::ClientCertRejected,
        error if certificate_fault(error).is_some() => What::ClientCertRejected,
        _ => What::ClientTlsFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_means_what_came_before_it() {
        let nothing = Reached::default();
        let agreed = Reached { agreed: true, declined: false };
        let declined = Reached { agreed: true, declined: true };
        for (alert, expected) in [
            (Alert::HandshakeFailure, [What::TlsProtocol, What::TlsFailed, What::TlsClientCertRequired]),
            (Alert::ProtocolVersion, [What::TlsProtocol; 3]),
            (
                Alert::BadCertificate,
                [What::TlsClientCertRejected, What::TlsClientCertRejected, What::TlsClientCertRequired],
            ),
            (Alert::CertificateRequired, [What::TlsClientCertRequired; 3]),
            (Alert::InternalError, [What::TlsFailed; 3]),
        ] {
            let found =
                [nothing, agreed, declined].map(|reached| of_target(&Error::AlertReceived(alert), reached));
            assert_eq!(found, expected, "{alert:?}");
        }
    }
}
