//! What a failed TLS connection means to an exchange: one clear code for each cause.

use crate::fault::What;
use crate::tls::refusal::certificate_fault;
use rustls::{AlertDescription as Alert, Error};

/// The fault of a connection to a target. Certificates are judged elsewhere; this is for what rustls itself says.
pub fn of_target(error: &Error) -> What {
    if let Some(what) = certificate_fault(error) {
        return what;
    }
    match error {
        Error::PeerIncompatible(_) => What::TlsProtocol,
        Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => What::TlsClientCertRequired,
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => What::TlsClientCertRejected,
            Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                What::TlsProtocol
            }
            _ => What::TlsFailed,
        },
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
