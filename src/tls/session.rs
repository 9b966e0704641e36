//! One TLS connection: sealed bytes in, plain bytes out, and the other way, through rustls's unbuffered API. No socket
//! and no clock; the sealed bytes lie in leased buffers of the leg.
//!
//! ```text
//! socket --> sealed --open--> inbound        out: sealed application data and the protocol's own records
//! socket <-- out <---seal---- plain bytes         (handshake, key update, alert) in the order they were made
//! ```
//! Records are fed one by one, because a decrypted record cannot be put back: the next one is fed only when its plain
//! text is certain to have room. Early data and renegotiation do not exist here.

use crate::buf::{BufPool, Lease};
use crate::fault::What;
use crate::tls::failure::{self, Reached};
use crate::tls::status::{HEADER, PROTOCOL_ROOM, Step, Target, Trouble, Words, put};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Most plain bytes in a record (RFC 8446 §5.1).
pub const PLAIN_MAX: usize = 16 * 1024;
/// The longest record: header, plain bytes and what sealing may add (RFC 8446 §5.2).
pub const RECORD_MAX: usize = HEADER + PLAIN_MAX + 256;
/// What sealing adds with the suites we speak, and a little: header, explicit nonce or content type, tag.
const SEAL_MAX: usize = HEADER + 8 + 1 + 16 + 2;
/// Records of the protocol's own taken out after a failure: an alert, and what was made before it.
const LAST_WORDS_MAX: usize = 8;

const _: () = assert!(RECORD_MAX <= crate::buf::SMALL, "a record fits into an ordinary buffer");

/// The two roles; boxed by the leg.
enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// One TLS connection.
pub struct Session {
    connection: Connection,
    /// How much of the sealed bytes in front rustls has seen and still refers to: parts of a handshake message.
    fed: usize,
    /// The peer has sent close_notify.
    ended: bool,
    /// The target asked for a certificate and was told that there is none.
    declined: bool,
    /// Why it failed; rustls is not asked again then, for what it says of the same bytes a second time is worth nothing.
    failure: Option<(What, Box<rustls::Error>)>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("fed", &self.fed).field("ended", &self.ended).finish_non_exhaustive()
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

/// The sealed bytes of a leg on their way in and out; leased while they hold something.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Received, not opened yet.
    pub inbound: Option<Lease>,
    /// Sealed, not sent yet.
    pub out: Option<Lease>,
}

impl Session {
    /// The session of a connection to the host `name`.
    ///
    /// # Errors
    /// [`What::TlsFailed`] when rustls cannot use the configuration.
    pub fn connect(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, What> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name);
        connection.map(|connection| Self::new(Connection::Client(connection))).map_err(|_| What::TlsFailed)
    }

    /// The session of a client's connection.
    ///
    /// # Errors
    /// [`What::ClientTlsFailed`] when rustls cannot use the configuration.
    pub fn accept(config: &Arc<ServerConfig>) -> Result<Self, What> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config));
        connection
            .map(|connection| Self::new(Connection::Server(connection)))
            .map_err(|_| What::ClientTlsFailed)
    }

    fn new(connection: Connection) -> Self {
        Self { connection, fed: 0, ended: false, declined: false, failure: None }
    }

    fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(connection) => connection,
            Connection::Server(connection) => connection,
        }
    }

    /// Whether the peer is a client of ours.
    pub fn is_with_client(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
    }

    /// Whether the handshake is over.
    pub fn is_secure(&self) -> bool {
        !self.common().is_handshaking()
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
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificates the peer showed, its own first; when resumed, those of the first handshake.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.common().peer_certificates().unwrap_or_default()
    }

    /// The TLS version agreed on.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.common().protocol_version()
    }

    /// The cipher suite agreed on.
    pub fn suite(&self) -> Option<CipherSuite> {
        self.common().negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// Why it failed, for the log.
    pub fn reason(&self) -> Option<String> {
        self.failure.as_ref().map(|(_, error)| error.to_string())
    }

    /// Goes on with the handshake as far as what has arrived allows; the first call of a client begins it.
    ///
    /// # Errors
    /// Why the handshake failed; an alert for the peer lies in `sealed.out`.
    pub fn shake(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> Result<Progress, What> {
        self.feed(0, sealed, None, bufs)?;
        while !self.is_secure() {
            if self.ended {
                // Its handshake will not be completed any more.
                return Err(if self.is_with_client() { What::ClientTlsFailed } else { What::TlsFailed });
            }
            let Some(len) = self.next_record(sealed) else { return Ok(Progress::Waiting) };
            self.feed_record(len, sealed, None, bufs)?;
        }
        Ok(Progress::Secure)
    }

    /// Opens the next record and puts its plain bytes behind those of `plain`.
    ///
    /// # Errors
    /// Why the connection failed; an alert for the peer lies in `sealed.out`.
    pub fn open(
        &mut self,
        sealed: &mut Sealed,
        plain: &mut Lease,
        bufs: &mut BufPool,
    ) -> Result<Opened, What> {
        if self.ended {
            return Ok(Opened::Ended);
        }
        let Some(len) = self.next_record(sealed) else { return Ok(Opened::Short) };
        // One that is too long will not be opened.
        if len <= RECORD_MAX && plain.room_for(len).len() < len {
            return Ok(Opened::Cramped(len));
        }
        let bytes = self.feed_record(len, sealed, Some(plain), bufs)?;
        Ok(if bytes == 0 && self.ended { Opened::Ended } else { Opened::Bytes(bytes) })
    }

    /// The length of the next record if it has arrived whole. What is too long or no record at all is fed as it is, for
    /// rustls to refuse in its words: nobody waits for the rest of an SSH greeting.
    pub fn next_record(&self, sealed: &Sealed) -> Option<usize> {
        let rest = sealed.inbound.as_ref()?.pending().get(self.fed..)?;
        match record_len(rest) {
            Some(len) if len > RECORD_MAX || !is_record(rest) => Some(rest.len()),
            Some(len) if len <= rest.len() => Some(len),
            _ => None,
        }
    }

    /// Feeds what [`Session::next_record`] found. What is no record of ours ends the connection, whatever rustls makes of
    /// it: where the next one begins would be a guess.
    fn feed_record(
        &mut self,
        len: usize,
        sealed: &mut Sealed,
        plain: Option<&mut Lease>,
        bufs: &mut BufPool,
    ) -> Result<usize, What> {
        let rest = sealed.inbound.as_ref().and_then(|buf| buf.pending().get(self.fed..)).unwrap_or_default();
        let sound = is_record(rest) && record_len(rest) == Some(len);
        let gained = self.feed(len, sealed, plain, bufs)?;
        if sound {
            return Ok(gained);
        }
        let error = rustls::Error::InvalidMessage(rustls::InvalidMessage::MessageTooLarge);
        let Sealed { inbound, out } = sealed;
        Err(self.fail(error, inbound, out, bufs))
    }

    /// Feeds `len` more bytes and does what rustls asks for, until it asks for bytes. Returns the plain bytes gained.
    fn feed(
        &mut self,
        len: usize,
        sealed: &mut Sealed,
        mut plain: Option<&mut Lease>,
        bufs: &mut BufPool,
    ) -> Result<usize, What> {
        if let Some((what, _)) = self.failure {
            return Err(what);
        }
        self.fed += len;
        let Sealed { inbound, out } = sealed;
        let mut gained = 0;
        loop {
            let Some(input) = input(inbound, self.fed) else { return Err(What::TlsFailed) };
            let declined = &mut self.declined;
            let mut target = Target { out, plain: plain.as_deref_mut(), bufs, gained: &mut gained, declined };
            let (discard, step) = match &mut self.connection {
                Connection::Client(connection) => target.serve(connection.process_tls_records(input)),
                Connection::Server(connection) => target.serve(connection.process_tls_records(input)),
            };
            let step = match step {
                Ok(step) => step,
                Err(Trouble::Room) => return Err(What::Overloaded),
                Err(Trouble::Tls(error)) => return Err(self.fail(error, inbound, out, bufs)),
            };
            if let Some(buf) = inbound {
                buf.judged(discard, 0);
                self.fed -= discard;
            }
            match step {
                Step::More => {}
                Step::PeerClosed => self.ended = true,
                Step::Rest => return Ok(gained),
            }
        }
    }

    /// Notes why it failed and takes the alert out.
    fn fail(
        &mut self,
        error: rustls::Error,
        inbound: &mut Option<Lease>,
        out: &mut Option<Lease>,
        bufs: &mut BufPool,
    ) -> What {
        for _ in 0..LAST_WORDS_MAX {
            if !self.common().wants_write() {
                break;
            }
            let Some(input) = input(inbound, self.fed) else { break };
            let mut gained = 0;
            let declined = &mut self.declined;
            let mut target = Target { out, plain: None, bufs, gained: &mut gained, declined };
            let (_, step) = match &mut self.connection {
                Connection::Client(connection) => target.serve(connection.process_tls_records(input)),
                Connection::Server(connection) => target.serve(connection.process_tls_records(input)),
            };
            if step.is_err() {
                break;
            }
        }
        let what = match &self.connection {
            Connection::Client(_) => {
                // The suite is set as soon as a session is offered again; the version when the target has spoken.
                let reached = Reached { agreed: self.version().is_some(), declined: self.declined };
                failure::of_target(&error, reached)
            }
            Connection::Server(_) => failure::of_client(&error),
        };
        self.failure = Some((what, Box::new(error)));
        what
    }

    /// Seals as much of `plain` as has room in `out`; returns how much that was.
    ///
    /// # Errors
    /// When the connection can carry nothing more.
    pub fn seal(&mut self, plain: &[u8], sealed: &mut Sealed, bufs: &mut BufPool) -> Result<usize, What> {
        let room = sealed.out.get_or_insert_with(|| bufs.lease()).room_for(RECORD_MAX + PROTOCOL_ROOM).len();
        let room = room.saturating_sub(PROTOCOL_ROOM);
        let records = room / (PLAIN_MAX + SEAL_MAX);
        let rest = (room % (PLAIN_MAX + SEAL_MAX)).saturating_sub(SEAL_MAX);
        let fits = plain.len().min(records * PLAIN_MAX + rest);
        // A record of a few bytes at the end of a full buffer is not worth its header.
        if fits == 0 || (fits < plain.len() && fits < PLAIN_MAX / 4) {
            return Ok(0);
        }
        self.write(Words::Plain(&plain[..fits]), sealed, bufs)?;
        Ok(fits)
    }

    /// Puts close_notify into `out`.
    ///
    /// # Errors
    /// When there is no room for it or the connection can carry nothing more.
    pub fn close(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> Result<(), What> {
        if self.is_secure() { self.write(Words::CloseNotify, sealed, bufs) } else { Ok(()) }
    }

    fn write(&mut self, words: Words<'_>, sealed: &mut Sealed, bufs: &mut BufPool) -> Result<(), What> {
        if let Some((what, _)) = self.failure {
            return Err(what);
        }
        let Sealed { inbound, out } = sealed;
        loop {
            let Some(input) = input(inbound, self.fed) else { return Err(What::TlsFailed) };
            let (discard, written) = match &mut self.connection {
                Connection::Client(connection) => {
                    put(connection.process_tls_records(input), words, out, bufs)
                }
                Connection::Server(connection) => {
                    put(connection.process_tls_records(input), words, out, bufs)
                }
            };
            if let Some(buf) = inbound {
                buf.judged(discard, 0);
                self.fed -= discard;
            }
            match written {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Trouble::Room) => return Err(What::Overloaded),
                Err(Trouble::Tls(error)) => return Err(self.fail(error, inbound, out, bufs)),
            }
        }
    }
}

/// The sealed bytes that rustls has seen, or is to see now; `None` when some of them were dropped.
fn input(inbound: &mut Option<Lease>, fed: usize) -> Option<&mut [u8]> {
    match inbound {
        Some(buf) => buf.pending_mut().get_mut(..fed),
        None if fed == 0 => Some(&mut []),
        None => None,
    }
}

/// Length of the record that begins `bytes`, header included; `None` while the header is not there.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 2] = bytes.get(3..HEADER)?.try_into().ok()?;
    Some(HEADER + usize::from(u16::from_be_bytes(length)))
}

/// Whether `bytes` may begin a record: a content type from change_cipher_spec to heartbeat, and version 3.x.
fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=24, 3, ..])
}
