//! Certificates of the simulated world, made once a process, and what each side's TLS is configured from, made anew for
//! each run: tickets and sessions of one run must not show in another.
//!
//! Every length is the same in every run: RSA and Ed25519 signatures, X25519, certificates with fixed numbers, a clock
//! that stands. What aws-lc draws are bytes inside those lengths.

use super::script::Script;
use super::tls::{ClientTls, Demand, Listener, PlaceTls, Shown, Versions};
use crate::pki::{Issued, KeyKind, Order, Pki};
use apim_proxy::policy::targets::{Match, Profile, Targets};
use apim_proxy::tls::context::{Inbound, Outbound};
use apim_proxy::tls::notes::Notes;
use apim_proxy::tls::suites::TlsVersion;
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::{ServerVerifier, Verification};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The name of the proxy's listener.
pub const LISTENER: &str = "proxy.test";

/// A certificate and its key.
struct Identity(CertificateDer<'static>, PrivateKeyDer<'static>);

impl Identity {
    fn of(issued: &Issued) -> Self {
        Self(issued.der(), issued.private_key())
    }

    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (vec![self.0.clone()], self.1.clone_key())
    }
}

/// Who there is.
struct Keys {
    provider: Arc<CryptoProvider>,
    clock: Arc<Standing>,
    roots: Arc<RootCertStore>,
    root: CertificateDer<'static>,
    listener: Identity,
    customer: Identity,
    /// The proxy as a client of places, before and after a reload.
    proxy: [Identity; 2],
    ed25519: Identity,
    rsa: Identity,
    stranger: Identity,
    elsewhere: Identity,
}

/// A clock that stands: handshakes take no time here.
#[derive(Debug)]
struct Standing(UnixTime);

impl TimeProvider for Standing {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::new);

impl Keys {
    fn new() -> Self {
        let pki = Pki::new();
        // An hour into the life of the certificates made here.
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs() + 3600));
        let root = pki.self_signed(&Order::authority("Root").key(KeyKind::Rsa(2048)).number("1"));
        let foreign = pki.self_signed(&Order::authority("Foreign").number("1"));
        let all_places = "subjectAltName=DNS:a.test,DNS:b.test,DNS:c.test,DNS:d.test";
        let issue = |order: Order| Identity::of(&pki.issue(&root, &order.number("2")));
        let server = |host: &str| Order::server(host).key(KeyKind::Ed25519);
        let client = |name: &str| Order::client(name).key(KeyKind::Ed25519);
        let mut roots = RootCertStore::empty();
        roots.add(root.der()).expect("a root");
        let provider =
            CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
        Self {
            provider: Arc::new(provider),
            clock: Arc::new(Standing(soon)),
            roots: Arc::new(roots),
            root: root.der(),
            listener: issue(server(LISTENER)),
            customer: issue(client("customer")),
            proxy: [issue(client("proxy 1")), issue(client("proxy 2"))],
            ed25519: issue(server("a.test").with(all_places)),
            rsa: issue(Order::server("a.test").with(all_places).key(KeyKind::Rsa(2048))),
            stranger: Identity::of(&pki.issue(&foreign, &Order::server("a.test").with(all_places))),
            elsewhere: issue(server("elsewhere.test")),
        }
    }

    fn shown(&self, shown: Shown) -> &Identity {
        match shown {
            Shown::Ed25519 => &self.ed25519,
            Shown::Rsa => &self.rsa,
            Shown::Stranger => &self.stranger,
            Shown::Elsewhere => &self.elsewhere,
        }
    }

    fn server(&self, versions: Versions, demand: Demand, shown: &Identity, tickets: bool) -> ServerConfig {
        let builder = ServerConfig::builder_with_details(self.provider.clone(), self.clock.clone())
            .with_protocol_versions(list(versions))
            .expect("versions");
        let verifier =
            || WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone());
        let builder = match demand {
            Demand::None => builder.with_no_client_auth(),
            Demand::Want => builder
                .with_client_cert_verifier(verifier().allow_unauthenticated().build().expect("a verifier")),
            Demand::Need => builder.with_client_cert_verifier(verifier().build().expect("a verifier")),
        };
        let (chain, key) = shown.chain();
        let mut config = builder.with_single_cert(chain, key).expect("a certificate and its key");
        config.enable_secret_extraction = true;
        if tickets {
            config.ticketer = aws_lc_rs::Ticketer::new().expect("a ticketer");
        }
        config
    }

    /// The proxy's TLS towards places: the product's own verifier, under the clock that stands.
    fn outbound(&self, versions: Versions, identity: Option<&Identity>) -> Outbound {
        let trust = Arc::new(Trust::new([("root".to_owned(), self.root.clone())]));
        let notes = Arc::new(Notes::default());
        let verifier = ServerVerifier::new(trust, Verification::default(), &self.provider, &notes);
        let spoken = [TlsVersion::V12, TlsVersion::V13];
        let mut outbound = Outbound::new(None, verifier.clone(), &spoken, &self.provider, 1).expect("terms");
        let mut config = self.client(versions, identity);
        config.dangerous().set_certificate_verifier(verifier);
        outbound.config = Arc::new(config);
        outbound
    }

    fn client(&self, versions: Versions, identity: Option<&Identity>) -> ClientConfig {
        let builder = ClientConfig::builder_with_details(self.provider.clone(), self.clock.clone())
            .with_protocol_versions(list(versions))
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let mut config = match identity.map(Identity::chain) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a certificate"),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(64);
        config.enable_secret_extraction = true;
        config
    }
}

static OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
static NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn list(versions: Versions) -> &'static [&'static SupportedProtocolVersion] {
    match versions {
        Versions::Old => OLD,
        Versions::New => NEW,
        Versions::Both => rustls::ALL_VERSIONS,
    }
}

/// The configurations of one run.
pub struct Contexts {
    pub inbound: Option<Inbound>,
    /// The proxy's targets, before and after a reload.
    pub targets: [Arc<Targets>; 2],
    /// Of each place.
    origins: Vec<Option<Arc<ServerConfig>>>,
    /// Of each client; those with the same terms share their sessions.
    clients: Vec<Option<Arc<ClientConfig>>>,
}

impl Contexts {
    pub fn new(script: &Script) -> Self {
        let inbound = script
            .listener
            .map(|listener| Inbound { config: Arc::new(listener_config(listener)), clients: None });
        let targets = [0, 1].map(|generation| Arc::new(targets(script, generation)));
        let origins = script.places.iter().map(|place| Some(Arc::new(origin_config(&place.tls?)))).collect();
        let mut clients: Vec<Option<Arc<ClientConfig>>> = Vec::new();
        for (at, client) in script.clients.iter().enumerate() {
            let terms = |tls: &ClientTls| (tls.versions, tls.certificate, tls.habits.fragment);
            let config = client.tls.map(|tls| {
                let same = script.clients[..at]
                    .iter()
                    .position(|other| other.tls.is_some_and(|other| terms(&other) == terms(&tls)));
                same.and_then(|same| clients[same].clone()).unwrap_or_else(|| Arc::new(client_config(&tls)))
            });
            clients.push(config);
        }
        Self { inbound, targets, origins, clients }
    }

    /// The TLS of a place's end of a connection.
    pub fn origin(&self, place: usize) -> Option<rustls::Connection> {
        let config = self.origins[place].clone()?;
        Some(rustls::ServerConnection::new(config).expect("a server").into())
    }

    /// The TLS of a client's end of a connection.
    pub fn client(&self, client: usize) -> Option<rustls::Connection> {
        let config = self.clients[client].clone()?;
        let name = LISTENER.try_into().expect("a name");
        Some(rustls::ClientConnection::new(config, name).expect("a client").into())
    }
}

/// The certificate the proxy shows to places, before and after a reload.
pub fn proxy_certificate(generation: usize) -> CertificateDer<'static> {
    KEYS.proxy[generation].0.clone()
}

fn listener_config(listener: Listener) -> ServerConfig {
    KEYS.server(listener.versions, listener.demand, &KEYS.listener, listener.tickets)
}

fn origin_config(tls: &PlaceTls) -> ServerConfig {
    let mut config = KEYS.server(tls.versions, tls.demand, KEYS.shown(tls.shown), tls.tickets);
    config.max_fragment_size = tls.habits.fragment;
    config
}

fn client_config(tls: &ClientTls) -> ClientConfig {
    let mut config = KEYS.client(tls.versions, tls.certificate.then_some(&KEYS.customer));
    config.max_fragment_size = tls.habits.fragment;
    config
}

fn targets(script: &Script, generation: usize) -> Targets {
    let secure = script.places.iter().enumerate().filter_map(|(at, place)| Some((at, place, place.tls?)));
    let entries = secure.map(|(at, place, tls)| {
        let identity = tls.identity.then_some(&KEYS.proxy[generation]);
        let outbound = KEYS.outbound(tls.ours, identity);
        let profile = Profile { number: at + 1, tls: Some(outbound), ..Profile::default() };
        (Match::parse(&place.host).expect("a host"), Arc::new(profile))
    });
    Targets { entries: entries.collect(), ..Targets::default() }
}
