//! One TLS connection: sealed bytes in, plain bytes out, and the other way. No socket and no clock; the sealed bytes lie
//! in leased buffers of the leg.
//!
//! ```text
//!        Handshake (rustls) ----over----> Traffic (our own record layer)      either ----> failed: nothing any more
//!
//! socket --> sealed --open--> inbound        out: sealed application data and the protocol's own records
//! socket <-- out <---seal---- plain bytes         (handshake, key update, alert) in the order they were made
//! ```
//! An opened record cannot be put back: the next one is opened only when its plain text is certain to have room. Early data
//! and renegotiation do not exist here.

use crate::buf::{BufPool, Lease};
use crate::fault::What;
use crate::tls::failure::{self, Reached};
use crate::tls::handshake::Handshake;
use crate::tls::records::{self, Breach};
use crate::tls::status::Trouble;
use crate::tls::traffic::{Said, Traffic};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CipherSuite, ClientConfig, Error, HandshakeKind, ProtocolVersion, ServerConfig};
use std::fmt;
use std::sync::Arc;

pub use crate::tls::records::{PLAIN_MAX, RECORD_MAX, Sealed};

const _: () = assert!(RECORD_MAX <= crate::buf::SMALL, "a record fits into an ordinary buffer");

/// Which protocol has the connection.
enum Phase {
    /// The handshake; what it needs is large.
    Handshake(Box<Handshake>),
    /// Records.
    Traffic(Traffic),
    /// Neither: rustls has not given its keys away.
    Void,
}

/// One TLS connection.
pub struct Session {
    phase: Phase,
    with_client: bool,
    /// The peer has sent close_notify.
    ended: bool,
    declined: bool,
    resumed: bool,
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
    /// What the peer showed, until policy has seen it; a client's own certificate stays.
    certificates: Vec<CertificateDer<'static>>,
    /// Why it failed; nobody is asked again then, for what is said of the same bytes a second time is worth nothing.
    failure: Option<Box<(What, Error)>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What opening the next record gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// So many plain bytes; none: it was one of the protocol's own.
    Bytes(usize),
    /// The next record has not arrived whole.
    Short,
    /// Its plain bytes may need so much room, which is not there.
    Cramped(usize),
    /// The peer has said that nothing follows.
    Ended,
}

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The peer has to say more.
    Waiting,
    /// Application data can flow.
    Secure,
}

impl Session {
    /// The session of a connection to the host `name`.
    ///
    /// # Errors
    /// [`What::TlsFailed`] when rustls cannot use the configuration.
    pub fn connect(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, What> {
        Handshake::connect(config, name).map(Self::new).map_err(|_| What::TlsFailed)
    }

    /// The session of a client's connection.
    ///
    /// # Errors
    /// [`What::ClientTlsFailed`] when rustls cannot use the configuration.
    pub fn accept(config: &Arc<ServerConfig>) -> Result<Self, What> {
        Handshake::accept(config).map(Self::new).map_err(|_| What::ClientTlsFailed)
    }

    fn new(handshake: Handshake) -> Self {
        Self {
            with_client: handshake.is_with_client(),
            phase: Phase::Handshake(Box::new(handshake)),
            ended: false,
            declined: false,
            resumed: false,
            version: None,
            suite: None,
            certificates: Vec::new(),
            failure: None,
        }
    }

    /// Whether the peer is a client of ours.
    pub fn is_with_client(&self) -> bool {
        self.with_client
    }

    /// Whether the handshake is over.
    pub fn is_secure(&self) -> bool {
        matches!(self.phase, Phase::Traffic(_))
    }

    /// Whether the peer has sent close_notify: its stream is whole.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the target asked for a certificate and was told that there is none.
    pub fn has_declined(&self) -> bool {
        self.declined
    }

    /// Whether the session was resumed: certificates were not checked in this handshake.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Whether no further exchange should begin on it: its key has sealed half of what it may, and there is no other.
    pub fn is_aging(&self) -> bool {
        matches!(&self.phase, Phase::Traffic(traffic) if traffic.is_aging())
    }

    /// The certificates the peer showed, its own first; when resumed, those of the first handshake. None before the
    /// handshake is over, and fewer behind [`Session::forget_certificates`].
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Policy has seen the certificates: an idle connection carries none but a client's own, whose subject logs and groups
    /// want.
    pub fn forget_certificates(&mut self) {
        self.certificates.truncate(usize::from(self.with_client));
        self.certificates.shrink_to_fit();
    }

    /// The TLS version agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.common().protocol_version(),
            Phase::Traffic(_) | Phase::Void => self.version,
        }
    }

    /// The cipher suite agreed on.
    pub fn suite(&self) -> Option<CipherSuite> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.suite(),
            Phase::Traffic(_) | Phase::Void => self.suite,
        }
    }

    /// Why it failed, for the log.
    pub fn reason(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| failure.1.to_string())
    }

    /// Goes on with the handshake as far as what has arrived allows; the first call of a client begins it.
    ///
    /// # Errors
    /// Why the handshake failed; an alert for the peer lies in `sealed.out`.
    pub fn shake(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> Result<Progress, What> {
        if let Some(failure) = &self.failure {
            return Err(failure.0);
        }
        let Phase::Handshake(handshake) = &mut self.phase else { return Ok(Progress::Secure) };
        let mut fed = handshake.feed(0, sealed, bufs);
        while fed.is_ok() && handshake.common().is_handshaking() {
            if handshake.ended {
                // Its handshake will not be completed any more.
                return Err(if self.with_client { What::ClientTlsFailed } else { What::TlsFailed });
            }
            let Some(len) = records::next(handshake.unseen(sealed)) else {
                self.declined = handshake.declined;
                return Ok(Progress::Waiting);
            };
            fed = handshake.feed_record(len, sealed, bufs);
        }
        self.declined = handshake.declined;
        match fed {
            Ok(()) => self.establish(),
            Err(Trouble::Room) => Err(What::Overloaded),
            Err(Trouble::Tls(error)) => {
                handshake.take_last_words(sealed, bufs);
                // The suite is set as soon as a session is offered again; the version when the target has spoken.
                let agreed = handshake.common().protocol_version().is_some();
                Err(self.fail(error, agreed))
            }
        }
    }

    /// The handshake is over: rustls gives the keys away and goes.
    fn establish(&mut self) -> Result<Progress, What> {
        let Phase::Handshake(handshake) = std::mem::replace(&mut self.phase, Phase::Void) else {
            return Err(self.fail(Error::HandshakeNotComplete, true));
        };
        let common = handshake.common();
        self.ended = handshake.ended;
        self.resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        self.version = common.protocol_version();
        self.suite = handshake.suite();
        self.certificates = common.peer_certificates().unwrap_or_default().to_vec();
        match handshake.into_traffic() {
            Ok(traffic) => self.phase = Phase::Traffic(traffic),
            Err(error) => return Err(self.fail(error, true)),
        }
        Ok(Progress::Secure)
    }

    /// Notes why it failed.
    fn fail(&mut self, error: Error, agreed: bool) -> What {
        let what = if self.with_client {
            failure::of_client(&error)
        } else {
            failure::of_target(&error, Reached { agreed, declined: self.declined })
        };
        self.failure = Some(Box::new((what, error)));
        what
    }

    /// The length of the next record if it has arrived whole. What is too long or no record at all is judged as it is:
    /// nobody waits for the rest of an SSH greeting.
    pub fn next_record(&self, sealed: &Sealed) -> Option<usize> {
        match &self.phase {
            Phase::Handshake(handshake) => records::next(handshake.unseen(sealed)),
            Phase::Traffic(_) | Phase::Void => records::next(sealed.inbound.as_ref()?.pending()),
        }
    }

    /// Opens the next record and puts its plain bytes behind those of `plain`; the handshake is over.
    ///
    /// # Errors
    /// Why the connection failed; an alert for the peer lies in `sealed.out`.
    pub fn open(
        &mut self,
        sealed: &mut Sealed,
        plain: &mut Lease,
        bufs: &mut BufPool,
    ) -> Result<Opened, What> {
        if let Some(failure) = &self.failure {
            return Err(failure.0);
        }
        if self.ended {
            return Ok(Opened::Ended);
        }
        let Some(len) = self.next_record(sealed) else { return Ok(Opened::Short) };
        let Phase::Traffic(traffic) = &mut self.phase else { return Ok(Opened::Short) };
        // One that is too long will not be opened.
        if len <= RECORD_MAX && plain.room_for(len).len() < len {
            return Ok(Opened::Cramped(len));
        }
        match traffic.open(len, sealed, plain, bufs) {
            Ok(Said::Data(bytes)) => Ok(Opened::Bytes(bytes)),
            Ok(Said::Protocol) => Ok(Opened::Bytes(0)),
            Ok(Said::End) => {
                self.ended = true;
                Ok(Opened::Ended)
            }
            Err(Breach { alert, error }) => {
                if let Some(alert) = alert {
                    traffic.complain(alert, sealed, bufs);
                }
                Err(self.fail(error, true))
            }
        }
    }

    /// Seals as much of two parts, one behind the other, as has room in `out`; returns how much that was.
    ///
    /// # Errors
    /// When the connection can carry nothing more.
    pub fn seal(
        &mut self,
        parts: [&[u8]; 2],
        sealed: &mut Sealed,
        bufs: &mut BufPool,
    ) -> Result<usize, What> {
        if let Some(failure) = &self.failure {
            return Err(failure.0);
        }
        let Phase::Traffic(traffic) = &mut self.phase else { return Ok(0) };
        let taken = traffic.seal(parts, sealed.out.get_or_insert_with(|| bufs.lease()));
        taken.ok_or_else(|| self.fail(Error::EncryptError, true))
    }

    /// Puts close_notify into `out`.
    ///
    /// # Errors
    /// When there is no room for it or the connection can carry nothing more.
    pub fn close(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> Result<(), What> {
        if let Some(failure) = &self.failure {
            return Err(failure.0);
        }
        let Phase::Traffic(traffic) = &mut self.phase else { return Ok(()) };
        if traffic.close(sealed, bufs) { Ok(()) } else { Err(What::Overloaded) }
    }
}
