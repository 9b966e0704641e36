//! Why a certificate is refused, and how that travels through rustls.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::{CertificateError, Error, OtherError};

use crate::fault::What;

/// Why a certificate is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It, or one above it, is not DER as X.509 wants it.
    Unreadable,
    /// Its RSA key has fewer than 2048 bits.
    WeakKey {
        /// How many it has.
        bits: usize,
    },
    /// No trusted authority issued it.
    UnknownIssuer,
    /// A signature in its chain is wrong.
    BadSignature,
    /// Its chain leads over a certificate that may not issue it.
    NoAuthority,
    /// It, or one above it, has expired, or its dates are the wrong way round.
    Expired,
    /// It, or one above it, is not valid yet.
    NotYetValid,
    /// It, or one above it, is not meant for this end of TLS, or its key is not meant to sign.
    Purpose,
    /// It is an authority's, used as a server's or client's.
    AuthorityAsPeer,
    /// It is older than X.509 version 3.
    Version,
    /// It, or one above it, has a critical extension that is not understood.
    CriticalExtension,
    /// An authority above it may not issue for its names.
    NameConstraint,
    /// A signature in its chain is of a kind that is not accepted.
    Algorithm,
    /// A key of an authority above it is too short.
    WeakAuthority,
    /// The peer sent more certificates than are looked at, or a maze of them.
    TooMany,
    /// It does not name the host.
    Hostname,
    /// Its subject carries another SERIALNUMBER.
    SerialNumber {
        /// What it carries.
        seen: Option<String>,
        /// What was configured.
        expected: String,
    },
}

impl Refusal {
    /// The fault of a target that shows such a certificate.
    pub const fn what(&self) -> What {
        match self {
            Self::WeakKey { .. } => What::TlsWeakKey,
            Self::UnknownIssuer | Self::BadSignature | Self::NoAuthority => What::TlsUntrusted,
            Self::Expired | Self::NotYetValid => What::TlsExpired,
            Self::Hostname => What::TlsHostname,
            Self::SerialNumber { .. } => What::TlsSerialNumber,
            Self::Unreadable
            | Self::Purpose
            | Self::AuthorityAsPeer
            | Self::Version
            | Self::CriticalExtension
            | Self::NameConstraint
            | Self::Algorithm
            | Self::WeakAuthority
            | Self::TooMany => What::TlsCertificate,
        }
    }

    /// Whether Java may accept what webpki refuses like this, so that a second look is worth its time.
    pub const fn java_may_accept(&self) -> bool {
        matches!(
            self,
            Self::Purpose
                | Self::AuthorityAsPeer
                | Self::Version
                | Self::CriticalExtension
                | Self::NameConstraint
                | Self::Algorithm
                | Self::WeakAuthority
        )
    }
}

impl From<webpki::Error> for Refusal {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::UnknownIssuer => Self::UnknownIssuer,
            E::InvalidSignatureForPublicKey => Self::BadSignature,
            E::EndEntityUsedAsCa | E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => {
                Self::NoAuthority
            }
            E::CertExpired { .. } | E::InvalidCertValidity => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::Purpose,
            E::CaUsedAsEndEntity => Self::AuthorityAsPeer,
            E::UnsupportedCertVersion => Self::Version,
            E::UnsupportedCriticalExtension => Self::CriticalExtension,
            E::NameConstraintViolation => Self::NameConstraint,
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::Algorithm,
            E::MaximumSignatureChecksExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumNameConstraintComparisonsExceeded => Self::TooMany,
            _ => Self::Unreadable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Unreadable => "the certificate cannot be read",
            Self::WeakKey { bits } => return write!(f, "the certificate's RSA key has only {bits} bits"),
            Self::UnknownIssuer => "no trusted authority issued the certificate",
            Self::BadSignature => "a signature in the certificate's chain is wrong",
            Self::NoAuthority => "the chain leads over a certificate that may not issue it",
            Self::Expired => "the certificate or one above it has expired",
            Self::NotYetValid => "the certificate or one above it is not valid yet",
            Self::Purpose => "the certificate or one above it is meant for another purpose",
            Self::AuthorityAsPeer => "the certificate is an authority's",
            Self::Version => "the certificate is not of version 3",
            Self::CriticalExtension => "a critical extension is not understood",
            Self::NameConstraint => "an authority in the chain may not issue for its names",
            Self::Algorithm => "a signature in the chain is of a kind that is not accepted",
            Self::WeakAuthority => "the key of an authority in the chain is too short",
            Self::TooMany => "too many certificates were sent",
            Self::Hostname => "the certificate does not name the host",
            Self::SerialNumber { seen: Some(seen), expected } => {
                return write!(f, "the SERIALNUMBER is {seen:?}, not {expected:?}");
            }
            Self::SerialNumber { seen: None, expected } => {
                return write!(f, "the SERIALNUMBER {expected:?} is missing");
            }
        };
        f.write_str(sentence)
    }
}

impl StdError for Refusal {}

impl From<Refusal> for Error {
    /// Under the name rustls has for it, so that the peer gets the proper alert; the rest travels as itself.
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(match refusal {
            Refusal::Unreadable => CertificateError::BadEncoding,
            Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
            Refusal::Expired => CertificateError::Expired,
            Refusal::NotYetValid => CertificateError::NotValidYet,
            Refusal::Hostname => CertificateError::NotValidForName,
            Refusal::Purpose => CertificateError::InvalidPurpose,
            refusal => CertificateError::Other(OtherError(Arc::new(refusal))),
        })
    }
}

/// The refusal a rustls error carries; `None` when it is not about a certificate. A bad signature of the handshake
/// is not: its certificate may be in order.
pub fn refusal(error: &Error) -> Option<Refusal> {
    let Error::InvalidCertificate(error) = error else { return None };
    match error {
        CertificateError::BadEncoding => Some(Refusal::Unreadable),
        CertificateError::UnknownIssuer => Some(Refusal::UnknownIssuer),
        CertificateError::Expired => Some(Refusal::Expired),
        CertificateError::NotValidYet => Some(Refusal::NotYetValid),
        CertificateError::NotValidForName => Some(Refusal::Hostname),
        CertificateError::InvalidPurpose => Some(Refusal::Purpose),
        CertificateError::Other(OtherError(other)) => other.downcast_ref().cloned(),
        _ => None,
    }
}

/// The fault a rustls error about a target's certificate means; `None` when the error is about something else.
pub fn certificate_fault(error: &Error) -> Option<What> {
    refusal(error).map(|refusal| refusal.what())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::AlertDescription;

    const ALL: [Refusal; 17] = [
        Refusal::Unreadable,
        Refusal::WeakKey { bits: 1024 },
        Refusal::UnknownIssuer,
        Refusal::BadSignature,
        Refusal::NoAuthority,
        Refusal::Expired,
        Refusal::NotYetValid,
        Refusal::Purpose,
        Refusal::AuthorityAsPeer,
        Refusal::Version,
        Refusal::CriticalExtension,
        Refusal::NameConstraint,
        Refusal::Algorithm,
        Refusal::WeakAuthority,
        Refusal::TooMany,
        Refusal::Hostname,
        Refusal::SerialNumber { seen: None, expected: String::new() },
    ];

    #[test]
    fn a_refusal_comes_out_of_rustls_as_it_went_in() {
        for kind in ALL {
            let error = Error::from(kind.clone());
            assert_eq!(refusal(&error), Some(kind.clone()));
            assert_eq!(certificate_fault(&error), Some(kind.what()));
            assert!(kind.what().code().starts_with("tls_"));
            assert!(!kind.to_string().ends_with('.'));
        }
    }

    #[test]
    fn what_is_not_about_a_certificate_is_none() {
        for error in [
            Error::DecryptError,
            Error::NoCertificatesPresented,
            Error::InvalidCertificate(CertificateError::BadSignature),
            Error::AlertReceived(AlertDescription::UnknownCA),
        ] {
            assert_eq!(certificate_fault(&error), None, "{error}");
        }
    }

    #[test]
    fn the_peer_gets_the_alert_of_its_fault() {
        let alert = |kind| match Error::from(kind) {
            Error::InvalidCertificate(error) => AlertDescription::from(error),
            error => panic!("{error}"),
        };
        assert_eq!(alert(Refusal::UnknownIssuer), AlertDescription::UnknownCA);
        assert_eq!(alert(Refusal::Expired), AlertDescription::CertificateExpired);
        assert_eq!(alert(Refusal::Purpose), AlertDescription::UnsupportedCertificate);
        assert_eq!(alert(Refusal::Version), AlertDescription::CertificateUnknown);
    }
}
