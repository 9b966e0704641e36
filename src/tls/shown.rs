//! What logs show of a session: its version, suite and kind, and the SERIALNUMBER of its peer.

use crate::tls::certificate::Certificate;
use crate::tls::session::Session;
use crate::tls::suites;
use rustls::ProtocolVersion;

impl Session {
    /// The TLS version agreed on, as OpenSSL and httpd write it.
    pub fn version_name(&self) -> &'static str {
        match self.version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "-",
        }
    }

    /// OpenSSL's name of the cipher suite agreed on.
    pub fn suite_name(&self) -> &'static str {
        self.suite().and_then(suites::openssl_name).unwrap_or("-")
    }

    /// SERIALNUMBER in the subject of the peer's certificate (2.5.4.5, an institution's number). Reads the certificate:
    /// to be asked once for a connection.
    pub fn peer_serial_number(&self) -> Option<String> {
        Certificate::read(self.peer_certificates().first()?)?.serial_number()
    }
}
