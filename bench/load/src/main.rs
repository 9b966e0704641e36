//! The clients of the TLS measurements: wrk has no client certificates, and shakes hands within its window.
//!
//! One thread, one event loop; TLS 1.3, one cipher suite. First every connection is opened, at most [`OPENING_MAX`]
//! at once, and makes one request; then `open` is printed. After that every line read from standard input is a
//! number of seconds: so long the connections are kept busy, and when the last answer has come the figures are
//! printed. In between, and until standard input ends, they are idle. Because windows begin and end on command,
//! whoever reads the counters of the proxy at both ends counts neither the handshakes before nor the ends after.
//!
//! | mode | a window is |
//! | --- | --- |
//! | `plain` | requests, one after the other on every connection, without TLS |
//! | `keep` | the same with mTLS |
//! | `full` | connections with full handshakes, each: dial, handshake, one request, `close_notify`, close |
//! | `resumed` | the same, with tickets |
//!
//! Any answer but a whole 200, and any connection the peer closes, ends the run with status 1.
//!
//! Every request carries one of the header lines, in turn. The folder holds `ca.pem`, which vouches for the proxy, and
//! `client.pem`, certificate and key.
//!
//! Usage: `load MODE CONNECTIONS PORT PATH FOLDER HEADER_LINE...`

mod session;

use std::env;
use std::error::Error;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use session::{Session, Target};

/// Most connections that are being opened at once.
const OPENING_MAX: usize = 64;
/// Most events one poll returns.
const EVENTS_MAX: usize = 256;
/// Longest time in which nothing at all happens while something is awaited.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What a window is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Keep,
    Full,
    Resumed,
}

/// What a window counts. An exchange is a request, or a whole connection.
#[derive(Default)]
struct Figures {
    /// Duration of every exchange.
    micros: Vec<u32>,
    /// How many of them were on a connection that resumed a session.
    resumed: usize,
}

impl Figures {
    /// One line, `name=value` words.
    fn print(mut self, elapsed: Duration) {
        self.micros.sort_unstable();
        let quantile = |percent: usize| self.micros.get(self.micros.len() * percent / 100).unwrap_or(&0);
        println!(
            "exchanges={} seconds={:.6} p50_us={} p99_us={} resumed={}",
            self.micros.len(),
            elapsed.as_secs_f64(),
            quantile(50),
            quantile(99),
            self.resumed,
        );
    }
}

/// All connections; a connection's token is its index.
struct Crowd {
    poll: Poll,
    events: Events,
    mode: Mode,
    target: Target,
    requests: Vec<Vec<u8>>,
    /// How many were made: says whose turn is next.
    asked: usize,
    sessions: Vec<Session>,
    chunk: Vec<u8>,
}

impl Crowd {
    /// Opens `count` connections, each of which makes one request.
    fn open(mode: Mode, target: Target, requests: Vec<Vec<u8>>, count: usize) -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(EVENTS_MAX));
        let (sessions, chunk) = (Vec::new(), session::chunk());
        let mut crowd = Self { poll, events, mode, target, requests, asked: 0, sessions, chunk };
        let mut awaited = 0;
        while awaited > 0 || crowd.sessions.len() < count {
            while awaited < OPENING_MAX && crowd.sessions.len() < count {
                let session = crowd.dial(crowd.sessions.len())?;
                crowd.sessions.push(session);
                awaited += 1;
            }
            awaited -= crowd.answered()?.len();
        }
        Ok(crowd)
    }

    /// Waits for events and acts on them; the connections whose answer is now complete.
    fn answered(&mut self) -> io::Result<Vec<usize>> {
        match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Vec::new()),
            result => result?,
        }
        if self.events.is_empty() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "answers are overdue"));
        }
        let mut answered = Vec::new();
        for event in &self.events {
            let Token(index) = event.token();
            if self.sessions[index].turn(&mut self.chunk)? {
                answered.push(index);
            }
        }
        Ok(answered)
    }

    /// Keeps every connection busy for `length`, then waits for the last answers.
    fn window(&mut self, length: Duration) -> io::Result<()> {
        let (began, mut figures) = (Instant::now(), Figures::default());
        for index in 0..self.sessions.len() {
            self.again(index)?;
        }
        let mut awaited = self.sessions.len();
        while awaited > 0 {
            let answered = self.answered()?;
            let now = Instant::now();
            for index in answered {
                let session = &self.sessions[index];
                let micros = now.duration_since(session.began).as_micros();
                figures.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                figures.resumed += usize::from(session.resumed());
                if now.duration_since(began) < length {
                    self.again(index)?;
                } else {
                    awaited -= 1;
                }
            }
        }
        figures.print(began.elapsed());
        Ok(())
    }

    /// The next exchange of a connection that has none.
    fn again(&mut self, index: usize) -> io::Result<()> {
        if matches!(self.mode, Mode::Plain | Mode::Keep) {
            self.asked += 1;
            return self.sessions[index].ask(&self.requests[self.asked % self.requests.len()]);
        }
        let fresh = self.dial(index)?;
        std::mem::replace(&mut self.sessions[index], fresh).close()
    }

    fn dial(&mut self, index: usize) -> io::Result<Session> {
        self.asked += 1;
        let request = &self.requests[self.asked % self.requests.len()];
        Session::dial(&self.target, request, self.poll.registry(), Token(index))
    }

    /// Fails if an idle connection is no longer open.
    fn check(&mut self) -> io::Result<()> {
        self.sessions.iter_mut().try_for_each(|session| session.turn(&mut self.chunk).map(drop))
    }
}

/// TLS 1.3 with one suite and one group, so that every proxy is measured with the same.
fn tls(mode: Mode, folder: &Path) -> Result<Option<Arc<ClientConfig>>, Box<dyn Error>> {
    if mode == Mode::Plain {
        return Ok(None);
    }
    let identity = folder.join("client.pem");
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
    let chain = CertificateDer::pem_file_iter(&identity)?.collect::<Result<Vec<_>, _>>()?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(identity)?)?;
    if mode != Mode::Resumed {
        config.resumption = Resumption::disabled();
    }
    Ok(Some(Arc::new(config)))
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [mode, count, port, path, folder, headers @ ..] = arguments else {
        return Err("usage: load MODE CONNECTIONS PORT PATH FOLDER HEADER_LINE...".into());
    };
    let mode = match mode.as_str() {
        "plain" => Mode::Plain,
        "keep" => Mode::Keep,
        "full" => Mode::Full,
        "resumed" => Mode::Resumed,
        _ => return Err(format!("{mode} is no mode: plain, keep, full, resumed").into()),
    };
    let request = |line| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n\r\n").into_bytes();
    let requests: Vec<_> = headers.iter().map(request).collect();
    if requests.is_empty() {
        return Err("no header line".into());
    }
    let target = Target { port: port.parse()?, tls: tls(mode, Path::new(folder))? };
    let mut crowd = Crowd::open(mode, target, requests, count.parse()?)?;
    println!("open");
    for line in io::stdin().lock().lines() {
        crowd.window(Duration::from_secs_f64(line?.trim().parse()?))?;
    }
    Ok(crowd.check()?)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("load: {error}");
        std::process::exit(1);
    }
}
