//! What a failed TLS connection means to an exchange: one clear code for each cause.

use crate::fault::What;
use rustls::{AlertDescription as Alert, CertificateError, Error};

/// The fault of a connection to a target. Certificates are judged elsewhere; this is for what rustls itself says.
pub fn of_target(error: &Error) -> What {
    match error {
        Error::InvalidCertificate(certificate) => of_certificate(certificate),
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

fn of_certificate(error: &CertificateError) -> What {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => What::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            What::TlsHostname
        }
        CertificateError::UnknownIssuer => What::TlsUntrusted,
        CertificateError::BadSignature => What::TlsFailed,
        _ => What::TlsCertificate,
    }
}

/// The fault of a client's connection.
pub fn of_client(error: &Error) -> What {
    match error {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => What::ClientCertRejected,
        _ => What::ClientTlsFailed,
    }
}
