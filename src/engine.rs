//! What the worker needs to know of the configuration: typed, immutable, swapped whole at a turn boundary.

use crate::access::Recording;
use crate::access::record::Door;
use crate::buf::{LARGE, PER_EXCHANGE, SMALL};
use crate::crowd::{CONNECTIONS_MAX, Crowd};
use crate::http::target::Scheme;
use crate::policy::client_address::{ALLOW, ClientAddress, REVERSE_ALLOW};
use crate::policy::egress::Egress;
use crate::policy::forms::{CONNECT_PORTS, FORMS, Forms, Ports};
use crate::policy::header_filter::{HEADER_FILTER, HeaderFilter};
use crate::policy::proxy_auth::Users;
use crate::policy::reload_clients::{RELOAD_ALLOW, ReloadClients};
use crate::policy::routes::Routes;
use crate::policy::subject_rule::{ALLOW_SUBJECTS, SubjectRules};
use crate::policy::targets::Targets;
use crate::policy::trusted_proxies::{TRUSTED_PROXIES, TrustedProxies};
use crate::request_log::RequestLog;
use crate::setting::{Setting, Source};
use crate::tls::context::Inbound;
use crate::value;
use crate::wait::Waits;
use std::net::IpAddr;
use std::sync::Arc;

/// The longest request head.
pub const HEAD_BYTES_MAX: Setting<usize> = Setting::new(
    "server.max-http-header-size",
    "8KB",
    head_bytes,
    "Largest request head, request line included (Spring data size, 1KB to 48KB); larger is answered 431, a longer \
     request line 414.",
)
.aliases(&["server.tomcat.max-http-header-size"]);

/// How many requests a connection may carry.
pub const REQUESTS_MAX: Setting<Option<u32>> = Setting::new(
    "server.tomcat.max-keep-alive-requests",
    "-1",
    requests_max,
    "Requests a client connection may carry before it is closed; -1 is no limit, 0 and 1 switch keep-alive off.",
);

/// Whether failures look like the legacy's.
pub const ERROR_COMPAT: Setting<bool> = Setting::new(
    "proxy.error.compat",
    "false",
    value::boolean,
    "Whether our own 502, 503 and 504 answers are 500 with the legacy's text instead.",
);

/// Whether targets are spoken to in TLS only.
pub const HTTPS_ONLY: Setting<bool> = Setting::new(
    "proxy.ssl.client.enabled",
    "false",
    value::boolean,
    "Whether only `https` targets are allowed, and a target without a scheme is `https`.",
);

/// How many handshakes with one target go on at once.
pub const HANDSHAKES_MAX: Setting<usize> = Setting::new(
    "proxy.ssl.client.handshakes-per-target",
    "8",
    |text| value::whole(text, 1..=10_000).map(|n| n as usize),
    "TLS handshakes with one target that each worker has under way at once; further requests wait for a connection, so \
     that a target that restarts does not take all the CPU.",
);

/// Whether the forward listener's peers speak the PROXY protocol.
pub const PROXY_PROTOCOL: Setting<bool> = Setting::new(
    "proxy.protocol",
    "off",
    value::boolean,
    "Whether connections to the forward listener begin with a PROXY protocol header (version 1 or 2) that tells the client's \
     address; one without it is closed. With proxy.ip.trusted-proxies set, only those may connect.",
);

/// Whether the reverse listeners' peers speak the PROXY protocol.
pub const REVERSE_PROTOCOL: Setting<bool> = Setting::new(
    "proxy.reverse.protocol",
    "off",
    value::boolean,
    "As proxy.protocol, for the reverse listeners.",
);

/// Which bodies are not copied.
pub const SPLICE_MIN: Setting<Option<u64>> = Setting::new(
    "proxy.splice.min",
    "32KB",
    |text| value::size(text).map(|bytes| (bytes > 0).then_some(bytes)),
    "Bodies of known length with at least this much to come (Spring data size), and bodies that end with their \
     connection, move from one plain connection to the other inside the kernel (`splice(2)`); 0: never.",
);

fn head_bytes(text: &str) -> Result<usize, String> {
    let bytes = value::size(text)?;
    match usize::try_from(bytes) {
        Ok(bytes) if (1024..=HEAD_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("is not between 1KB and {}KB", HEAD_MAX / 1024)),
    }
}

fn requests_max(text: &str) -> Result<Option<u32>, String> {
    if text.trim() == "-1" {
        return Ok(None);
    }
    value::whole(text, 0..=u64::from(u32::MAX)).map(|n| Some(n.max(1) as u32))
}

/// Longest head of an answer, in bytes.
pub const RESPONSE_HEAD_MAX: usize = 64 * 1024;
/// Most interim (1xx) answers to one request.
pub const INTERIMS_MAX: u8 = 32;
/// Most bytes of a refused request's body that are read so that its connection can stay open.
pub const DISCARD_MAX: u64 = 64 * 1024;

const _: () =
    assert!(RESPONSE_HEAD_MAX + 4096 < LARGE, "an answer's head and its edits fit into a large buffer");

/// Longest request head an operator may allow, in bytes.
pub const HEAD_MAX: usize = 48 * 1024;

const _: () =
    assert!(HEAD_MAX + 8192 < LARGE && HEAD_MAX > SMALL, "a request's head and its edits fit as well");

/// The engine's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long each wait may last.
    pub waits: Waits,
    /// Longest request head in bytes, request line included.
    pub head_max: usize,
    /// Names of request headers that are not passed on.
    pub header_filter: HeaderFilter,
    /// Who may enter.
    pub client_address: ClientAddress,
    /// Whose word on a client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// Whose certificate may enter; `None`: any that the handshake accepts.
    pub client_subjects: Option<SubjectRules>,
    /// The connections of each client, where they are limited.
    pub crowd: Option<Arc<Crowd>>,
    /// Who may enter by the reverse listeners.
    pub reverse_address: ClientAddress,
    /// How a request may name its target.
    pub forms: Forms,
    /// Ports that CONNECT may reach.
    pub connect_ports: Ports,
    /// Who may use the forward listener, by name and password; `None` asks nobody.
    pub users: Option<Arc<Users>>,
    /// Where they may go.
    pub egress: Arc<Egress>,
    /// Who may have certificates trusted.
    pub reload_clients: ReloadClients,
    /// Scheme of a target that names none.
    pub default_scheme: Scheme,
    /// Whether failures look like the legacy's (`proxy.error.compat`).
    pub compat: bool,
    /// Requests a connection may carry; `None` is unlimited.
    pub requests_max: Option<u32>,
    /// Whether only https targets are allowed.
    pub https_only: bool,
    /// Whether the certificates of targets are checked.
    pub validates: bool,
    /// The listeners, in the order in which they were opened; which there are never changes.
    pub listeners: Vec<Listener>,
    /// What differs between targets, their TLS included.
    pub targets: Arc<Targets>,
    /// Where the reverse listeners lead; never replaced by others, for exchanges and workers know them by number.
    pub routes: Arc<Routes>,
    /// Handshakes with one origin that a worker has under way at once.
    pub handshakes_max: usize,
    /// What is written of exchanges; for each worker, what it was when the worker began.
    pub recording: Arc<Recording>,
    /// Bodies with at least so many bytes to come go through pipes; `None` is none.
    pub splice_min: Option<u64>,
    /// Who listens to what is said of single requests; `None` is nobody.
    pub request_log: Option<Arc<RequestLog>>,
    /// The limits of one worker.
    pub limits: Limits,
}

impl Config {
    /// Reads everything from `source` but the TLS, which is read from files, for a plain forward listener; `limits` were
    /// computed from the machine.
    ///
    /// # Errors
    /// What is wrong with a text.
    pub fn from(source: &impl Source, limits: Limits) -> Result<Self, String> {
        let request_log = RequestLog::from(source)?;
        let told = request_log.as_ref().is_some_and(|log| log.reads_bodies());
        Ok(Self {
            waits: Waits::from(source)?,
            head_max: source.value(&HEAD_BYTES_MAX)?,
            header_filter: source.value(&HEADER_FILTER)?,
            client_address: source.value(&ALLOW)?,
            trusted_proxies: source.value(&TRUSTED_PROXIES)?,
            client_subjects: source.value(&ALLOW_SUBJECTS)?,
            crowd: source.value(&CONNECTIONS_MAX)?.map(Crowd::new),
            reverse_address: source.value(&REVERSE_ALLOW)?,
            forms: source.value(&FORMS)?,
            connect_ports: source.value(&CONNECT_PORTS)?,
            users: None,
            egress: Egress::from(source).map(Arc::new).map_err(|(key, what)| format!("{key} {what}"))?,
            reload_clients: source.value(&RELOAD_ALLOW)?,
            default_scheme: if source.value(&HTTPS_ONLY)? { Scheme::Https } else { Scheme::Http },
            compat: source.value(&ERROR_COMPAT)?,
            requests_max: source.value(&REQUESTS_MAX)?,
            https_only: source.value(&HTTPS_ONLY)?,
            validates: true,
            listeners: vec![Listener {
                proxy_protocol: source.value(&PROXY_PROTOCOL)?,
                ..Listener::plain(Kind::Forward)
            }],
            targets: Arc::default(),
            routes: Arc::default(),
            handshakes_max: source.value(&HANDSHAKES_MAX)?,
            recording: Arc::new(Recording::from(source)?),
            splice_min: source.value(&SPLICE_MIN)?.filter(|_| !told),
            request_log,
            limits,
        })
    }

    /// Who may enter by the listener of this index.
    pub fn admits(&self, listener: u8, address: IpAddr) -> bool {
        match self.listener(listener).kind {
            Kind::Forward => self.client_address.allows(address),
            Kind::Reverse => self.reverse_address.allows(address),
        }
    }

    /// The listener of this index.
    pub fn listener(&self, index: u8) -> &Listener {
        &self.listeners[usize::from(index)]
    }
}

/// What clients reach behind a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whatever target the request names.
    Forward,
    /// Our routes.
    Reverse,
}

impl Kind {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
        }
    }
}

/// What is to be known of the clients of a listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What they reach.
    pub kind: Kind,
    /// Their TLS; `None` is plain.
    pub inbound: Option<Inbound>,
    /// Whether the PROXY protocol comes before everything else.
    pub proxy_protocol: bool,
}

impl Listener {
    /// What is written of the exchanges of its clients depends on this.
    pub const fn door(&self) -> Door {
        match (self.kind, &self.inbound) {
            (Kind::Forward, _) => Door::Forward,
            (Kind::Reverse, None) => Door::Reverse,
            (Kind::Reverse, Some(_)) => Door::ReverseTls,
        }
    }

    /// A listener without TLS.
    pub const fn plain(kind: Kind) -> Self {
        Self { kind, inbound: None, proxy_protocol: false }
    }
}

/// What one worker may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections.
    pub clients_max: usize,
    /// Exchanges in progress.
    pub exchanges_max: usize,
    /// Large buffers on lease.
    pub large_max: usize,
    /// Pipes.
    pub pipes_max: usize,
}

impl Limits {
    /// The most bytes of buffers a worker with these limits leases.
    pub const fn buffer_bytes_max(&self) -> usize {
        self.exchanges_max * PER_EXCHANGE * SMALL + self.large_max * LARGE
    }
}
