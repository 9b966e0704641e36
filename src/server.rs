//! The server: opens the listeners, seats one worker on each core, and ends them in order.

pub mod current;
pub mod mailbox;
pub mod maxima;
mod seat;
pub mod verifier;

use crate::access::Recording;
use crate::credentials::Credentials;
use crate::credentials::settings::VALIDATE_CERTIFICATE;
use crate::engine::{Config, Kind, Listener, PROXY_PROTOCOL, REVERSE_PROTOCOL};
use crate::listener::{self, Place};
use crate::logging::streams::Streams;
use crate::logging::{self, Lines};
use crate::permits::Permits;
use crate::policy::routes::Routes;
use crate::policy::routes::reading::Complaint;
use crate::renewal::board::Board;
use crate::renewal::desk::{Declined, Order};
use crate::resolve::{self, CACHE_NEGATIVE_TTL, CACHE_TTL, Lifetimes, Resolver};
use crate::server::verifier::Verifier;
use crate::setting::{Setting, Source};
use crate::stats::{Counter, Report, Stats};
use crate::time::Millis;
use crate::value;
use current::{Current, Readers};
use mailbox::{Mailbox, Message, Post};
use maxima::Maxima;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use seat::{MAIL, Seat, Shared};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How long a graceful stop may take.
pub const SHUTDOWN_PHASE: Setting<Millis> = Setting::new(
    "spring.lifecycle.timeout-per-shutdown-phase",
    "30s",
    phase,
    "How long a graceful stop waits for exchanges in progress before it cuts them off (Spring duration).",
);

fn phase(text: &str) -> Result<Millis, String> {
    const DAY: Millis = Millis::from_secs(24 * 3600);
    match value::duration(text)? {
        span if span <= DAY => Ok(span),
        _ => Err("is longer than a day".to_owned()),
    }
}

/// Whether a stop is graceful.
pub const SHUTDOWN: Setting<bool> = Setting::new(
    "server.shutdown",
    "graceful",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        "graceful" => Ok(true),
        "immediate" => Ok(false),
        _ => Err("is neither graceful nor immediate".to_owned()),
    },
    "What SIGTERM does: graceful finishes exchanges in progress, immediate cuts them off.",
);

/// Where the running process is noted.
pub const PID_FILE: Setting<Option<PathBuf>> = Setting::new(
    "server.pid-file",
    "",
    value::path,
    "File that holds the process id and is locked while the process runs; start.sh sets it.",
);

/// How the starter learns that the listeners are open.
pub const READY_FILE: Setting<Option<PathBuf>> = Setting::new(
    "server.ready-file",
    "",
    value::path,
    "File written once the listeners are open: `pid N`, then one `listen ADDRESS` for each; start.sh sets it.",
);

/// The machine's name, as its kernel has it.
fn machine_name() -> String {
    let name = logging::host_name();
    // What could not stand in a header names nobody.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.is_empty() && name.bytes().all(plain) { name } else { "localhost".to_owned() }
}

fn sentences(complaints: &[Complaint]) -> String {
    complaints.iter().map(|(key, what)| format!("{key} {what}")).collect::<Vec<_>>().join("\n")
}

/// Opens the listeners of every worker: their addresses, and for each worker a socket of each.
fn open_listeners(
    places: &[Place],
    source: &impl Source,
    workers: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), String> {
    let mut own = Vec::new();
    let mut doors: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    let backlog = source.value(&listener::BACKLOG)?;
    for place in places {
        let sockets = listener::open(place, backlog, workers)?;
        let address =
            sockets[0].local_addr().map_err(|error| format!("a listener has no address: {error}"))?;
        own.push(address);
        for (door, socket) in doors.iter_mut().zip(sockets) {
            door.push(socket);
        }
    }
    Ok((own, doors))
}

/// What is to be known of the listener at `place`.
fn listener_at(place: &Place, source: &impl Source, credentials: &Credentials) -> Result<Listener, String> {
    let proxy_protocol = match place.kind {
        Kind::Forward => source.value(&PROXY_PROTOCOL)?,
        Kind::Reverse => source.value(&REVERSE_PROTOCOL)?,
    };
    Ok(Listener { proxy_protocol, ..credentials.listener(place) })
}

/// A running proxy.
pub struct Server {
    shared: Shared,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the listeners and starts the workers.
    ///
    /// # Errors
    /// A sentence that says what stands in the way.
    pub fn start(source: &impl Source, credentials: &Credentials, maxima: &Maxima) -> Result<Self, String> {
        let places = listener::places(source)?;
        let mut recording = Recording { process: std::process::id(), ..Recording::from(source)? };
        let streams = Streams::open(source, &recording)?;
        for sheet in &mut recording.sheets {
            sheet.take_if(|sheet| !sheet.streams().all(|stream| streams.has(stream)));
        }
        let config = Arc::new(Config {
            recording: Arc::new(recording),
            listeners: places
                .iter()
                .map(|place| listener_at(place, source, credentials))
                .collect::<Result<_, _>>()?,
            routes: Arc::new(Routes::read(source, &machine_name()).map_err(|wrong| sentences(&wrong))?),
            targets: Arc::clone(&credentials.targets),
            users: credentials.users.clone(),
            validates: source.value(&VALIDATE_CERTIFICATE)?,
            ..Config::from(source, maxima.limits)?
        });
        let (own, doors) = open_listeners(&places, source, maxima.workers)?;
        let cannot = |what: &str, error: std::io::Error| format!("{what} cannot be started: {error}");
        let polls: Vec<Poll> = (0..maxima.workers)
            .map(|_| Poll::new())
            .collect::<Result<_, _>>()
            .map_err(|error| cannot("a poll loop", error))?;
        let mailboxes: Arc<[Arc<Mailbox>]> = polls
            .iter()
            .map(|poll| Ok(Arc::new(Mailbox::new(Waker::new(poll.registry(), MAIL)?))))
            .collect::<Result<_, _>>()
            .map_err(|error| cannot("a mailbox", error))?;
        let lifetimes =
            Lifetimes { positive: source.value(&CACHE_TTL)?, negative: source.value(&CACHE_NEGATIVE_TTL)? };
        let resolver =
            Resolver::start(lifetimes, resolve::system).map_err(|error| cannot("the resolver", error))?;
        let shared = Shared {
            start: Instant::now(),
            current: Arc::new(Current::new(config)),
            permits: Permits::new(maxima.per_route, maxima.upstreams, Box::new(Post(Arc::clone(&mailboxes)))),
            resolver: Arc::new(resolver),
            mailboxes,
            stats: (0..maxima.workers).map(|_| Arc::new(Stats::default())).collect(),
            desk: Arc::default(),
            verifier: Arc::new(Verifier::start().map_err(|error| cannot("the verifier", error))?),
            own: own.into(),
            streams: Arc::new(streams),
        };
        let board = Arc::new(Board {
            notes: Arc::clone(&credentials.notes),
            expiries: Mutex::new(credentials.expiries()),
            ..Board::default()
        });
        let mut server = Self { shared, board, threads: Vec::new() };
        for (id, (poll, listeners)) in polls.into_iter().zip(doors).enumerate() {
            let seat = Seat::new(id, poll, listeners, server.shared.clone())
                .map_err(|error| cannot("a listener", error))?;
            let thread = thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(|| seat.occupy())
                .map_err(|error| cannot("a worker", error))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Each listener and its address.
    pub fn listeners(&self) -> Vec<(Listener, SocketAddr)> {
        self.shared.current.config().listeners.iter().cloned().zip(self.shared.own.iter().copied()).collect()
    }

    /// What a reload reaches of this server.
    pub fn readers(&self) -> Readers {
        Readers {
            current: Arc::clone(&self.shared.current),
            mailboxes: Arc::clone(&self.shared.mailboxes),
            desk: Arc::clone(&self.shared.desk),
            board: Arc::clone(&self.board),
            resolver: Arc::clone(&self.shared.resolver),
            own: Arc::clone(&self.shared.own),
        }
    }

    /// Has the files of keys and certificates looked at now; the log says what came of it.
    pub fn look_at_credentials(&self) {
        match self.shared.desk.put(Order::Look) {
            Ok(()) => {}
            Err(Declined::Full) => log::warn!("SIGHUP: too many reloads are waiting; send it again"),
            Err(Declined::Closed) => log::warn!("SIGHUP: certificates are not watched here"),
        }
    }

    /// The addresses clients can connect to, the forward listener's first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.shared.own
    }

    /// Every number of all workers, as text.
    pub fn report(&self) -> String {
        let stats: Vec<&Stats> = self.shared.stats.iter().map(Arc::as_ref).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
        let dropped = format!("log_lines_dropped {}\n", Lines::dropped_in_all());
        Report(&stats).to_string() + &dropped + &self.board.report(now)
    }

    /// A number, summed over all workers.
    pub fn count(&self, counter: Counter) -> u64 {
        self.shared.stats.iter().map(|stats| stats.value(counter)).sum()
    }

    /// Begins the shutdown: no new clients, exchanges in progress end.
    pub fn drain(&self) {
        for mailbox in self.shared.mailboxes.iter() {
            mailbox.send(Message::Drain);
        }
    }

    /// Whether every worker has ended.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Makes a worker panic, so that a test can see it start again.
    #[doc(hidden)]
    pub fn panic_worker(&self, worker: usize) {
        self.shared.mailboxes[worker].send(Message::Panic);
    }
}
