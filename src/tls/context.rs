//! What sessions are made from: the TLS of a listener, and the TLS towards one kind of target.

use crate::fault::What;
use crate::tls::session::Session;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// The TLS of a listener.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Certificates, versions, suites, what is asked of clients, tickets.
    pub config: Arc<ServerConfig>,
}

impl Inbound {
    /// The session of a client that has just connected.
    ///
    /// # Errors
    /// [`What::ClientTlsFailed`] when rustls cannot use the configuration.
    pub fn session(&self) -> Result<Session, What> {
        Session::accept(&self.config)
    }
}

/// The TLS towards one kind of target: our identity, whom we trust and how much is verified. Sessions are resumed within
/// it and never across.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Identity, verifier, versions, suites, session cache.
    pub config: Arc<ClientConfig>,
}

impl Outbound {
    /// The session of a connection to `host`, a name or an IP literal without brackets.
    ///
    /// # Errors
    /// [`What::TlsHostname`] when no certificate could name such a host.
    pub fn session(&self, host: &str) -> Result<Session, What> {
        Session::connect(&self.config, server_name(host)?)
    }

    /// Checks what the handshake of a resumed session did not.
    ///
    /// # Errors
    /// Why the certificate of the target is refused now.
    pub fn recheck(&self, _session: &Session, host: &str) -> Result<(), What> {
        server_name(host).map(|_| ())
    }
}

/// `host` as TLS names it: without the dot that ends an absolute name (RFC 6066 §3).
///
/// # Errors
/// [`What::TlsHostname`].
pub fn server_name(host: &str) -> Result<ServerName<'static>, What> {
    let host = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(host).map(|name| name.to_owned()).map_err(|_| What::TlsHostname)
}
