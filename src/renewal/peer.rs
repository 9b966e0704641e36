//! The certificate of a target, fetched on the spot: its name resolved, an address dialled where the egress policy allows
//! it, and a handshake made only to see what it shows.

use crate::engine::Config;
use crate::fault::What;
use crate::io::{Addresses, Lookup, ReloadAsk};
use crate::key::{Key, Slots};
use crate::net;
use crate::policy::egress::{Egress, Ground, Mode};
use crate::renewal::limit::Limit;
use crate::resolve::{Notify, Resolver};
use crate::time::Millis;
use crate::tls::probe::{Shown, probe};
use crate::wait::Wait;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The longest connection and the longest handshake where the settings have no limit: others wait for this thread.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a reload failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the client is told.
    pub what: What,
    /// What the log says.
    pub why: String,
}

impl Failure {
    /// A failure.
    pub fn new(what: What, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

/// The world that a target is reached through.
pub struct Way<'a> {
    /// Its policy and limits.
    pub config: &'a Config,
    /// How names are resolved.
    pub resolver: &'a Resolver,
    /// The addresses of our listeners.
    pub own: &'a [SocketAddr],
    /// How long all of it may take.
    pub limit: Limit,
}

impl Way<'_> {
    /// What the target shows.
    ///
    /// # Errors
    /// Why it shows nothing.
    pub fn fetch(&self, ask: &ReloadAsk) -> Result<Shown, Failure> {
        let unreached = |why: String| Failure::new(What::ReloadUnreached, why);
        let profile = self.config.targets.of(&ask.host, ask.port);
        let outbound = profile.tls.as_ref().ok_or_else(|| unreached("there is no TLS to it".to_owned()))?;
        let addresses = self.resolve(&ask.host).map_err(unreached)?;
        let connect = profile.connect.unwrap_or_else(|| self.config.waits.of(Wait::Connect));
        let stream = self.dial(ask, &addresses, connect)?;
        let span = bounded(self.config.waits.of(Wait::UpstreamHandshake));
        let mut timed = Timed { stream, limit: self.limit.or_sooner(span) };
        probe(outbound, &ask.host, &mut timed).map_err(unreached)
    }

    fn resolve(&self, host: &str) -> Result<Addresses, String> {
        let (sender, answers) = channel();
        let notify: Notify = Arc::new(move |_, addresses| {
            // Nobody listens any more when the time was over.
            let _ = sender.send(addresses);
        });
        let found = match self.resolver.lookup(host, std::time::Instant::now(), nobody(), &notify) {
            Lookup::Found(addresses) => Some(addresses),
            Lookup::Failed => None,
            Lookup::Pending => {
                let span = self.limit.or_sooner(LONGEST).left().unwrap_or_default();
                answers.recv_timeout(span).map_err(|_| "its name was not resolved in time".to_owned())?
            }
        };
        found.ok_or_else(|| "its name has no address".to_owned())
    }

    /// A connection to the first address that may be dialled and answers.
    fn dial(&self, ask: &ReloadAsk, addresses: &Addresses, connect: Millis) -> Result<TcpStream, Failure> {
        let (mut denied, mut failed) = (None, None);
        for address in addresses.iter() {
            let address = SocketAddr::new(*address, ask.port);
            if let Err(failure) = self.judge(ask, address) {
                denied = Some(failure);
                continue;
            }
            let Some(span) = self.limit.or_sooner(bounded(connect)).left() else {
                failed =
                    Some(Failure::new(What::ReloadUnreached, "the time was over before it was connected"));
                break;
            };
            match TcpStream::connect_timeout(&address, span) {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    failed = Some(Failure::new(What::ReloadUnreached, format!("{address}: {error}")));
                }
            }
        }
        // A refusal by policy is reported only when no address failed otherwise.
        let none = || Failure::new(What::ReloadUnreached, "its name has no address");
        Err(failed.or(denied).unwrap_or_else(none))
    }

    /// The egress policy's word on `address`; on its name it had one when the client asked.
    fn judge(&self, ask: &ReloadAsk, address: SocketAddr) -> Result<(), Failure> {
        let egress = &self.config.egress;
        let judged = egress.judge_address(ask.group, &ask.host, ask.port, address.ip());
        let ground = match judged {
            _ if net::is_own_listener(self.own, address) => Ground::Own,
            Err(ground) => ground,
            Ok(()) => return Ok(()),
        };
        let why = format!("the egress policy denies {address} ({})", egress.rule(ask.group, ground));
        match egress.mode_of(ground) {
            Mode::Enforce => Err(Failure::new(Egress::what(ground), why)),
            Mode::Report => {
                log::warn!(
                    "x-reload-httpclient of {} for {}:{}: {why}, and only reports",
                    ask.client,
                    ask.host,
                    ask.port
                );
                Ok(())
            }
        }
    }
}

fn bounded(span: Millis) -> Duration {
    if span == Millis::NEVER { LONGEST } else { span.duration() }
}

/// A key that names nobody: the answer comes through the channel.
fn nobody() -> Key {
    Slots::<()>::default().next_key()
}

/// A stream whose reads and writes together have a limit: a peer that sends a byte now and then does not get more time.
struct Timed {
    stream: TcpStream,
    limit: Limit,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        let over = || io::Error::new(ErrorKind::TimedOut, "it took too long");
        if self.limit.is_none() { Ok(None) } else { self.limit.left().map(Some).ok_or_else(over) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
