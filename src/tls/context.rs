//! What sessions are made from: the TLS of a listener, and the TLS towards one kind of target.

use crate::fault::What;
use crate::tls::client_verify::ClientVerifier;
use crate::tls::identity::Identity;
use crate::tls::session::Session;
use crate::tls::suites::{self, TlsVersion};
use crate::tls::verify::ServerVerifier;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore as _, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache};
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// Sessions of clients without tickets that are remembered, for each listener.
const SERVER_SESSIONS: usize = 2048;
/// Session tickets that rustls keeps of one origin; its bound counts tickets.
const TICKETS_PER_ORIGIN: usize = 8;
/// Origins whose sessions are remembered, for each kind of target.
pub const ORIGINS_REMEMBERED: usize = 2000;

/// The TLS of a listener.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Certificates, versions, suites, what is asked of clients, tickets.
    pub config: Arc<ServerConfig>,
    /// Judges resumed clients again; `None` where no certificate is asked for.
    pub clients: Option<Arc<ClientVerifier>>,
}

impl Inbound {
    /// A listener that shows `identity`. Its ticket keys are its own, so that no session is resumed where other clients
    /// are let in; a listener made anew has new ones.
    ///
    /// # Errors
    /// What does not go together.
    pub fn new(
        identity: Arc<Identity>,
        clients: Option<Arc<ClientVerifier>>,
        versions: &[TlsVersion],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&suites::versions(versions))
            .map_err(|_| "the cipher suites and the TLS versions have nothing in common".to_owned())?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as _),
            None => builder.with_client_cert_verifier(Arc::new(NoClientAuth)),
        };
        let mut config = builder.with_cert_resolver(identity);
        // The order of server.ssl.ciphers is the operator's word; unset, ours puts the strongest first.
        config.ignore_client_order = true;
        config.ticketer = Ticketer::new().map_err(|error| format!("no ticket keys can be made: {error}"))?;
        config.session_storage = ServerSessionMemoryCache::new(SERVER_SESSIONS);
        // Sessions take their keys out of rustls when the handshake is over.
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config), clients })
    }

    /// The session of a client that has just connected.
    ///
    /// # Errors
    /// [`What::ClientTlsFailed`] when rustls cannot use the configuration.
    pub fn session(&self) -> Result<Session, What> {
        Session::accept(&self.config)
    }

    /// Checks what the handshake of a resumed client did not: whether its certificate is still within its dates.
    ///
    /// # Errors
    /// [`What::ClientCertRejected`].
    pub fn recheck(&self, session: &Session) -> Result<(), What> {
        let (Some(clients), Some(shown)) = (&self.clients, session.peer_certificates().first()) else {
            return Ok(());
        };
        let now = self.config.time_provider.current_time().ok_or(What::ClientTlsFailed)?;
        clients.recheck(shown, now).map_err(|_| What::ClientCertRejected)
    }
}

/// The TLS towards one kind of target: our identity, whom we trust and how much is verified. Sessions are resumed within
/// it and never across.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Identity, verifier, versions, suites, session cache.
    pub config: Arc<ClientConfig>,
    /// Judges resumed sessions again.
    verifier: Arc<ServerVerifier>,
    sessions: Arc<ClientSessionMemoryCache>,
}

impl Outbound {
    /// TLS that shows `identity`, if there is one, and judges with `verifier`; sessions of so many `origins` are
    /// remembered.
    ///
    /// # Errors
    /// What does not go together.
    pub fn new(
        identity: Option<Arc<Identity>>,
        verifier: Arc<ServerVerifier>,
        versions: &[TlsVersion],
        provider: &Arc<CryptoProvider>,
        origins: usize,
    ) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&suites::versions(versions))
            .map_err(|_| "the cipher suites and the TLS versions have nothing in common".to_owned())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity),
            None => builder.with_no_client_auth(),
        };
        let sessions = Arc::new(ClientSessionMemoryCache::new(TICKETS_PER_ORIGIN * origins));
        config.resumption = Resumption::store(Arc::clone(&sessions) as _);
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config), verifier, sessions })
    }

    /// The session of a connection to `host`, a name or an IP literal without brackets.
    ///
    /// # Errors
    /// [`What::TlsHostname`] when no certificate could name such a host.
    pub fn session(&self, host: &str) -> Result<Session, What> {
        Session::connect(&self.config, server_name(host)?)
    }

    /// How targets are judged.
    pub(super) fn verifier(&self) -> &Arc<ServerVerifier> {
        &self.verifier
    }

    /// Checks what the handshake of a resumed session did not: name, pin, dates and SERIALNUMBER of the certificate
    /// that the first handshake was about.
    ///
    /// # Errors
    /// Why the certificate of the target is refused now.
    pub fn recheck(&self, session: &Session, host: &str) -> Result<(), What> {
        let now = self.config.time_provider.current_time().ok_or(What::TlsFailed)?;
        let name = server_name(host)?;
        self.verifier.recheck(session.peer_certificates(), &name, now).map_err(|refusal| refusal.what())
    }

    /// Forgets every session with `host`: the next handshake is a full one.
    pub fn forget(&self, host: &str) {
        let Ok(name) = server_name(host) else { return };
        self.sessions.remove_tls12_session(&name);
        while self.sessions.take_tls13_ticket(&name).is_some() {}
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
