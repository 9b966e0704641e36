//! The commands of the binary: serve, check, and what they print. Exit codes: 0 well, 1 the configuration or the
//! machine stands in the way, 2 the command line makes no sense.

use crate::cli::{self, Arguments, Command, StoreFile};
use crate::config::banner::{self, banner};
use crate::config::files;
use crate::config::reading::Inputs;
use crate::config::registry;
use crate::config::sources::{Effective, Level};
use crate::credentials::load::{self, Credentials};
use crate::demo;
use crate::engine::Listener;
use crate::import::{self, Import};
use crate::keystore::list::list;
use crate::learn::Lesson;
use crate::logging::settings::{GROUP, LEVEL};
use crate::logging::{self, Levels};
use crate::renewal;
use crate::server::maxima::{Machine, Maxima};
use crate::server::{PID_FILE, READY_FILE, SHUTDOWN, SHUTDOWN_PHASE, Server};
use crate::setting::Source;
use crate::systemd;
use mio::{Events, Interest, Poll, Token};
use rustix::fs::{FlockOperation, flock};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Where `keystore list` finds the password of a store.
const STORE_PASSWORD: &str = "APIM_PROXY_STORE_PASSWORD";

/// Runs the command that `words` spell.
pub fn main(words: impl IntoIterator<Item = String>) -> ExitCode {
    match cli::parse(words) {
        Ok(Command::Run(arguments)) => report(serve(arguments)),
        Ok(Command::Check(arguments)) => check(arguments),
        Ok(Command::Demo(arguments)) => report(show(arguments)),
        Ok(Command::Settings) => print(&registry::markdown()),
        Ok(Command::Learn(logs)) => learn(&logs),
        Ok(Command::KeystoreList(store)) => list_store(store),
        Ok(Command::ImportHttpd(import)) => import_httpd(&import),
        Ok(Command::Help) => print(cli::USAGE),
        Ok(Command::Version) => print(concat!("apim-proxy ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(misuse) => {
            complain(&format!("{misuse}\n\n{}", cli::USAGE));
            ExitCode::from(2)
        }
    }
}

/// Prints to standard output; a reader who has left is no reason to panic.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(text: &str) {
    // Standard error may be closed; there is nobody else to tell.
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}

fn report(result: Result<(), String>) -> ExitCode {
    logging::flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentences) => {
            complain(&sentences);
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: Arguments) -> ExitCode {
    let mut effective = Effective::load(&Inputs::of_process(arguments));
    let credentials = load::judge(&mut effective, &Arc::default());
    let mut text = banner::report(&effective, credentials.as_ref());
    let computed = Maxima::compute(&effective, &Machine::look());
    let mut sound = !effective.has_errors();
    match &computed {
        Ok(maxima) => {
            let _ = writeln!(text, "\n# computed\n{}", maxima_line(maxima));
        }
        Err(_) if effective.has_errors() => {}
        Err(sentence) => {
            let _ = writeln!(text, "error: {sentence}");
            sound = false;
        }
    }
    let printed = print(&text);
    if sound { printed } else { ExitCode::FAILURE }
}

/// Prints what the logs teach.
fn learn(logs: &[String]) -> ExitCode {
    let mut lesson = Lesson::default();
    for log in logs {
        let read = match log.as_str() {
            "-" => lesson.read(io::stdin().lock()),
            path => File::open(path).and_then(|file| lesson.read(BufReader::new(file))),
        };
        if let Err(error) = read {
            complain(&format!("{log} cannot be read: {error}"));
            return ExitCode::FAILURE;
        }
    }
    print(&lesson.proposal())
}

/// Prints what a store holds.
fn list_store(store: StoreFile) -> ExitCode {
    let password = store.password.or_else(|| std::env::var(STORE_PASSWORD).ok()).map(Zeroizing::new);
    let password = password.as_ref().map(|password| password.as_str());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    match files::read(Path::new(&store.file)).and_then(|bytes| list(&bytes, password, now.cast_signed())) {
        Ok(text) => print(&text),
        Err(sentence) => {
            complain(&format!("{}: {sentence}", store.file));
            ExitCode::FAILURE
        }
    }
}

/// Prints an httpd configuration as properties.
fn import_httpd(import: &Import) -> ExitCode {
    match import::import(import) {
        Ok(imported) => {
            let printed = print(&imported.text);
            if imported.lost == 0 {
                return printed;
            }
            complain(&format!("not carried over: {}; the end of the output lists them", imported.lost));
        }
        Err(sentence) => complain(&sentence),
    }
    ExitCode::FAILURE
}

/// Every maximum in a line.
fn maxima_line(maxima: &Maxima) -> String {
    let limits = &maxima.limits;
    format!(
        "maxima: {} workers, {} clients, {} exchanges at once, at most {} MB of buffers, {} pipes, {} connections to a target, \
         {} to all targets, {} open files",
        maxima.workers,
        maxima.clients,
        limits.exchanges_max * maxima.workers,
        limits.buffer_bytes_max() * maxima.workers / (1 << 20),
        limits.pipes_max * maxima.workers,
        maxima.per_route,
        maxima.upstreams,
        maxima.files
    )
}

/// Reads the configuration and the stores it names; the errors, all at once, end the start.
fn read(arguments: Arguments) -> Result<(Effective, Credentials), String> {
    let mut effective = Effective::load(&Inputs::of_process(arguments));
    let credentials = load::judge(&mut effective, &Arc::default());
    if !effective.has_errors()
        && let Some(credentials) = credentials
    {
        return Ok((effective, credentials));
    }
    let errors = effective.problems.iter().filter(|problem| problem.level == Level::Error);
    Err(errors.map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn start_log(effective: &Effective) -> Result<(), String> {
    let levels = effective.members(&LEVEL).filter_map(|(key, level)| Some((key, level.ok()?)));
    let levels: Vec<_> = levels.collect();
    let groups = effective.members(&GROUP).filter_map(|(key, members)| Some((key, members.ok()?)));
    let groups: Vec<_> = groups.collect();
    logging::start(effective, Levels::grouped(&levels, &groups))
}

fn show(mut arguments: Arguments) -> Result<(), String> {
    demo::prepare(&mut arguments);
    let (effective, credentials) = read(arguments)?;
    demo::run(&effective, &credentials)
}

fn serve(arguments: Arguments) -> Result<(), String> {
    logging::catch_panics();
    let (effective, credentials) = read(arguments)?;
    let maxima = Maxima::compute(&effective, &Machine::look())?;
    // Signals are caught before any thread could be hit by one. A log file at the limit of its size is for whoever writes
    // it to deal with.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXFSZ])
        .map_err(|error| format!("signals cannot be caught: {error}"))?;
    let _lock = effective.value(&PID_FILE)?.map(|path| PidFile::take(&path)).transpose()?;
    start_log(&effective)?;
    let server = Server::start(&effective, &credentials, &maxima)?;
    renewal::start(effective.clone(), credentials.clone(), server.readers())?;
    announce(&effective, &credentials, &maxima, &server);
    let phase = effective.value(&SHUTDOWN_PHASE)?.duration();
    if let Some(path) = effective.value(&READY_FILE)? {
        write_ready(&path, &server, phase)?;
    }
    systemd::tell("READY=1");
    let phase = if effective.value(&SHUTDOWN)? { phase } else { Duration::ZERO };
    watch(&mut signals, &server, phase).map_err(|error| format!("the proxy has ended: {error}"))
}

fn announce(effective: &Effective, credentials: &Credentials, maxima: &Maxima, server: &Server) {
    for problem in &effective.problems {
        let level = if problem.level == Level::Warning { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{problem}");
    }
    let shown = |(listener, address): &(Listener, SocketAddr)| {
        let tls = if listener.inbound.is_some() { ", TLS" } else { "" };
        format!("{} {address}{tls}", listener.kind.name())
    };
    let listeners = server.listeners();
    for line in banner(listeners.iter().map(shown).collect(), &maxima_line(maxima), effective, credentials) {
        log::info!("{line}");
    }
}

/// Waits for signals until the shutdown is over.
fn watch(signals: &mut Signals, server: &Server, phase: Duration) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(signals, Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(8);
    let mut deadline: Option<Instant> = None;
    loop {
        // Workers end often while draining; before, only when their poll fails.
        let look = if deadline.is_some() { Duration::from_millis(10) } else { Duration::from_secs(1) };
        match poll.poll(&mut events, Some(look)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) | Ok(()) => {}
        }
        for signal in signals.pending() {
            match signal {
                SIGUSR1 => log::info!("statistics\n{}", server.report().trim_end()),
                SIGUSR2 => {
                    log::info!("log files are opened anew");
                    logging::reopen();
                }
                SIGXFSZ => {}
                SIGHUP => server.look_at_credentials(),
                _ if deadline.is_some() => {
                    log::warn!("second signal: exchanges in progress are cut off");
                    return Ok(());
                }
                _ => {
                    log::info!("shutting down: exchanges in progress have {} s to end", phase.as_secs());
                    systemd::tell("STOPPING=1");
                    server.drain();
                    deadline = Some(Instant::now() + phase);
                }
            }
        }
        if server.is_over() {
            log::info!("stopped");
            let failed = || io::Error::other("every worker has ended");
            return if deadline.is_some() { Ok(()) } else { Err(failed()) };
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            log::warn!("stopped; exchanges that were still in progress were cut off");
            return Ok(());
        }
    }
}

/// The pid file, locked as long as this lives; the lock and not the number says that we run.
struct PidFile(File);

impl PidFile {
    fn take(path: &Path) -> Result<Self, String> {
        let cannot =
            |error: io::Error| format!("server.pid-file: {} cannot be written: {error}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(cannot)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let pid = fs::read_to_string(path).unwrap_or_default();
            format!("apim-proxy runs already, pid {}: it holds the lock on {}", pid.trim(), path.display())
        })?;
        file.set_len(0).map_err(cannot)?;
        file.rewind().map_err(cannot)?;
        writeln!(file, "{}", std::process::id()).map_err(cannot)?;
        Ok(Self(file))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The lock goes with the descriptor; an empty file names nobody.
        let _ = self.0.set_len(0);
    }
}

/// Tells the starter, whole at once, that we serve.
fn write_ready(path: &Path, server: &Server, phase: Duration) -> Result<(), String> {
    let mut text = format!("pid {}\n", std::process::id());
    for address in server.addresses() {
        let _ = writeln!(text, "listen {address}");
    }
    let _ = writeln!(text, "stop-seconds {}", phase.as_secs());
    let draft = path.with_extension("draft");
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, path))
        .map_err(|error| format!("server.ready-file: {} cannot be written: {error}", path.display()))
}
