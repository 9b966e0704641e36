//! A TLS connection behind its handshake: what its records say and how the protocol's own are answered, over the record
//! layer of [`super::records`]. rustls stays for what needs the secrets: the next keys, and tickets.
//!
//! ```text
//! data          plain bytes
//! handshake     TLS 1.3: key update, a target's tickets     TLS 1.2: a wish to negotiate anew, declined once
//! alert         close_notify ends the peer's stream, a warning is counted, all else ends the connection
//! the rest      ends the connection
//! ```
//! A peer that breaks the rules hears an alert and nothing behind it. What brings no data is bounded, so that a connection
//! cannot be kept busy with nothing.

use crate::buf::{BufPool, Lease};
use crate::tls::records::{ALERT, Breach, DATA, HANDSHAKE, Lane, PLAIN_MAX, RECORD_MAX, SEAL_MAX, Sealed};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, Error, ExtractedSecrets, HandshakeType, InvalidMessage, PeerMisbehaved,
    ProtocolVersion, SupportedCipherSuite,
};

/// Room that data leaves for the protocol's own records: a new key in front of it, and a last word and a refusal behind it.
const PROTOCOL_ROOM: usize = 128;
const _: () = assert!(PROTOCOL_ROOM >= OWN_KEY_UPDATE.len() + 2 * ALERT_LEN + 3 * SEAL_MAX);
/// Records in a row that bring no data: empty ones and key updates, as rustls and BoringSSL bound them.
const FRUITLESS_MAX: u8 = 32;
/// Warnings of a connection, likewise.
const WARNINGS_MAX: u8 = 4;
/// The longest ticket of a target, as rustls has it.
const TICKET_MAX: usize = 0xffff;
/// The longest hello that is declined in TLS 1.2; real ones have some hundred bytes.
const HELLO_MAX: usize = 4096;

/// Handshake messages (RFC 8446 §4, RFC 5246 §7.4) that may come behind the handshake.
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Our own key update: none is asked for in return.
const OWN_KEY_UPDATE: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// An alert: its level and its description (RFC 8446 §6).
const ALERT_LEN: usize = 2;
const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What rustls keeps of a connection of TLS 1.3.
pub(super) enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Kernel {
    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
        }
    }

    /// The next key to seal with.
    fn next_tx(&mut self) -> Result<Lane, Error> {
        let secrets = match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        };
        Lane::new(self.suite(), secrets?)
    }

    /// The next key to open with.
    fn next_rx(&mut self) -> Result<Lane, Error> {
        let secrets = match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        };
        Lane::new(self.suite(), secrets?)
    }
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// So many plain bytes.
    Data(usize),
    /// Something for the protocol alone.
    Protocol,
    /// Nothing follows.
    End,
}

/// A connection behind its handshake.
pub(super) struct Traffic {
    tx: Lane,
    rx: Lane,
    /// Only TLS 1.3 has keys that change, and tickets behind the handshake.
    kernel: Option<Box<Kernel>>,
    with_client: bool,
    /// New keys of ours are due in front of the next data: the peer has asked for them, or these are worn.
    update_due: bool,
    /// We have said that nothing follows.
    closed: bool,
    /// The beginning of a handshake message.
    partial: Vec<u8>,
    fruitless: u8,
    warnings: u8,
    /// The peer wished to negotiate anew.
    declined_renegotiation: bool,
}

impl Traffic {
    /// A connection with these keys, and what rustls keeps of it.
    ///
    /// # Errors
    /// When there is no record layer for its suite.
    pub(super) fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, Error> {
        let suite = kernel.suite();
        let is_13 = suite.version().version == ProtocolVersion::TLSv1_3;
        Ok(Self {
            tx: Lane::new(suite, secrets.tx)?,
            rx: Lane::new(suite, secrets.rx)?,
            with_client: matches!(kernel, Kernel::Server(_)),
            kernel: is_13.then(|| Box::new(kernel)),
            update_due: false,
            closed: false,
            partial: Vec::new(),
            fruitless: 0,
            warnings: 0,
            declined_renegotiation: false,
        })
    }

    /// Whether no further exchange should begin here: TLS 1.2 has no other key than the one it began with.
    pub(super) fn is_aging(&self) -> bool {
        self.kernel.is_none() && self.tx.is_aging()
    }

    /// Opens the record of `len` bytes at the front of `sealed`, which are there; its plain bytes go behind those of
    /// `plain`, which has room for them.
    ///
    /// # Errors
    /// What the peer has done, and the alert for it.
    pub(super) fn open(
        &mut self,
        len: usize,
        sealed: &mut Sealed,
        plain: &mut Lease,
        bufs: &mut BufPool,
    ) -> Result<Said, Breach> {
        let Some(inbound) = &mut sealed.inbound else { return Ok(Said::Protocol) };
        let record = inbound.pending().get(..len).unwrap_or_default();
        let room = plain.room_for(len);
        let (kind, content) = self.rx.open(record, room)?;
        // "There MUST NOT be any other records between them" (RFC 8446 §5.1).
        if kind != HANDSHAKE && !self.partial.is_empty() {
            let error = PeerMisbehaved::MessageInterleavedWithHandshakeMessage;
            return Err(Breach::new(AlertDescription::UnexpectedMessage, error));
        }
        inbound.judged(len, 0);
        match kind {
            DATA => {
                plain.received(content);
                if content == 0 {
                    self.count_fruitless(PeerMisbehaved::TooManyEmptyFragments)?;
                } else {
                    self.fruitless = 0;
                }
                Ok(Said::Data(content))
            }
            HANDSHAKE if content > 0 => {
                if self.hear_messages(&room[..content])? {
                    self.tell([WARNING, u8::from(AlertDescription::NoRenegotiation)], sealed, bufs);
                }
                Ok(Said::Protocol)
            }
            ALERT if content > 0 => self.hear_alert(&room[..content]),
            // Neither may be empty (RFC 8446 §5.4), and nothing else may come, sealed or not.
            kind => Err(Breach::unexpected(kind)),
        }
    }

    fn count_fruitless(&mut self, error: PeerMisbehaved) -> Result<(), Breach> {
        if self.fruitless == FRUITLESS_MAX {
            return Err(Breach::new(AlertDescription::UnexpectedMessage, error));
        }
        self.fruitless += 1;
        Ok(())
    }

    /// An alert (RFC 8446 §6, RFC 5246 §7.2).
    fn hear_alert(&mut self, content: &[u8]) -> Result<Said, Breach> {
        let &[level, description] = content else {
            return Err(undecodable(InvalidMessage::TrailingData("AlertMessagePayload")));
        };
        let description = AlertDescription::from(description);
        let error = Error::AlertReceived(description);
        match level {
            WARNING | FATAL if description == AlertDescription::CloseNotify => Ok(Said::End),
            FATAL => Err(Breach { alert: None, error }),
            WARNING => {
                self.warnings += 1;
                if self.warnings > WARNINGS_MAX {
                    let error = PeerMisbehaved::TooManyWarningAlertsReceived;
                    return Err(Breach::new(AlertDescription::UnexpectedMessage, error));
                }
                // TLS 1.3 has no other warnings left.
                if self.kernel.is_some() && description != AlertDescription::UserCanceled {
                    return Err(Breach::new(AlertDescription::DecodeError, error));
                }
                Ok(Said::Protocol)
            }
            _ => Err(Breach::new(AlertDescription::IllegalParameter, error)),
        }
    }

    /// Hears the handshake messages that are whole and keeps the beginning of the last; whether one of them wished to
    /// negotiate anew.
    fn hear_messages(&mut self, content: &[u8]) -> Result<bool, Breach> {
        let mut joined = std::mem::take(&mut self.partial);
        let mut rest = content;
        if !joined.is_empty() {
            joined.extend_from_slice(content);
            rest = &joined;
        }
        let mut declines = false;
        while let &[kind, a, b, c, ref behind @ ..] = rest {
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            self.admit_message(kind, len)?;
            let Some((message, behind)) = behind.split_at_checked(len) else { break };
            match kind {
                KEY_UPDATE if !behind.is_empty() => {
                    // A record of two keys (RFC 8446 §5.1).
                    let error = PeerMisbehaved::KeyEpochWithPendingFragment;
                    return Err(Breach::new(AlertDescription::UnexpectedMessage, error));
                }
                KEY_UPDATE => self.hear_key_update(message)?,
                NEW_SESSION_TICKET => self.hear_ticket(message)?,
                _ => {
                    self.decline_renegotiation()?;
                    declines = true;
                }
            }
            rest = behind;
        }
        // What grows byte by byte is not copied each time.
        self.partial = if rest.len() == joined.len() { joined } else { rest.to_vec() };
        Ok(declines)
    }

    /// Which messages may come, and how long; judged before one has come whole.
    fn admit_message(&self, kind: u8, len: usize) -> Result<(), Breach> {
        let is_13 = self.kernel.is_some();
        let fits = match (kind, is_13, self.with_client) {
            (KEY_UPDATE, true, _) => len == 1,
            (NEW_SESSION_TICKET, true, false) => len <= TICKET_MAX,
            (CLIENT_HELLO, false, true) => len <= HELLO_MAX,
            (HELLO_REQUEST, false, false) => len == 0,
            // A CertificateRequest, too: we never say that we would answer it (RFC 8446 §4.6.2).
            _ => {
                return Err(Breach::new(
                    AlertDescription::UnexpectedMessage,
                    Error::InappropriateHandshakeMessage {
                        expect_types: vec![HandshakeType::NewSessionTicket, HandshakeType::KeyUpdate],
                        got_type: HandshakeType::from(kind),
                    },
                ));
            }
        };
        if fits { Ok(()) } else { Err(undecodable(InvalidMessage::HandshakePayloadTooLarge)) }
    }

    /// The peer seals with new keys from here on (RFC 8446 §4.6.3).
    fn hear_key_update(&mut self, message: &[u8]) -> Result<(), Breach> {
        self.count_fruitless(PeerMisbehaved::TooManyKeyUpdateRequests)?;
        match message {
            [0] => {}
            // Answered once, however often it is asked, in front of the next data: who does not listen cannot make us
            // talk.
            [1] => self.update_due = true,
            _ => {
                let error = InvalidMessage::InvalidKeyUpdate;
                return Err(Breach::new(AlertDescription::IllegalParameter, error));
            }
        }
        if let Some(kernel) = self.kernel.as_deref_mut() {
            self.rx = kernel.next_rx().map_err(internal)?;
        }
        Ok(())
    }

    /// A target's ticket (RFC 8446 §4.6.1).
    fn hear_ticket(&mut self, message: &[u8]) -> Result<(), Breach> {
        let Some(Kernel::Client(kernel)) = self.kernel.as_deref_mut() else { return Ok(()) };
        kernel.handle_new_session_ticket(message).map_err(|error| match error {
            Error::InvalidMessage(invalid) => Breach::new(AlertDescription::from(invalid), invalid),
            Error::PeerMisbehaved(misbehaved) => Breach::new(AlertDescription::IllegalParameter, misbehaved),
            error => internal(error),
        })
    }

    /// Nothing is negotiated anew (RFC 5246 §7.4.1); a second wish is one too many, as rustls has it.
    fn decline_renegotiation(&mut self) -> Result<(), Breach> {
        if std::mem::replace(&mut self.declined_renegotiation, true) {
            let error = PeerMisbehaved::TooManyRenegotiationRequests;
            return Err(Breach::new(AlertDescription::UnexpectedMessage, error));
        }
        Ok(())
    }

    /// Seals as much of `parts`, one behind the other, as has room in `out`; returns how much that was. `None`: we have
    /// said that nothing follows, or there is no key that may seal more.
    pub(super) fn seal(&mut self, parts: [&[u8]; 2], out: &mut Lease) -> Option<usize> {
        let total = parts[0].len() + parts[1].len();
        out.room_for(RECORD_MAX + PROTOCOL_ROOM);
        let mut sealed = 0;
        while sealed < total {
            if self.closed {
                return None;
            }
            let left = total - sealed;
            let room = out.free_mut().len().saturating_sub(SEAL_MAX + PROTOCOL_ROOM);
            let len = left.min(PLAIN_MAX).min(room);
            // A record of a few bytes at the end of a full buffer is not worth its header.
            if len == 0 || (len < left && len < PLAIN_MAX / 4) {
                break;
            }
            if self.update_due || self.tx.is_worn() {
                self.renew_key(out)?;
            }
            let n = self.tx.seal(DATA, slice(parts, sealed, len), out.free_mut())?;
            out.written(n);
            sealed += len;
        }
        Some(sealed)
    }

    /// Says that we seal with a new key, and does; `None` when there is no other key.
    fn renew_key(&mut self, out: &mut Lease) -> Option<()> {
        let kernel = self.kernel.as_deref_mut()?;
        let n = self.tx.seal(HANDSHAKE, [&OWN_KEY_UPDATE, &[]], out.free_mut())?;
        out.written(n);
        self.update_due = false;
        let renewed = kernel.next_tx();
        // Behind the word that keys change nothing is understood that is sealed with the old one.
        self.closed = renewed.is_err();
        self.tx = renewed.ok()?;
        Some(())
    }

    /// Says that nothing follows; `false` when it was said before, or there is no room.
    pub(super) fn close(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> bool {
        let said =
            !self.closed && self.tell([WARNING, u8::from(AlertDescription::CloseNotify)], sealed, bufs);
        self.closed |= said;
        said
    }

    /// Says what the peer has done, as the last word.
    pub(super) fn complain(&mut self, alert: AlertDescription, sealed: &mut Sealed, bufs: &mut BufPool) {
        if !std::mem::replace(&mut self.closed, true) {
            self.tell([FATAL, u8::from(alert)], sealed, bufs);
        }
    }

    /// Seals an alert; `false` when there is no room.
    fn tell(&mut self, alert: [u8; ALERT_LEN], sealed: &mut Sealed, bufs: &mut BufPool) -> bool {
        let out = sealed.out.get_or_insert_with(|| bufs.lease());
        let Some(n) = self.tx.seal(ALERT, [&alert, &[]], out.room_for(PROTOCOL_ROOM)) else { return false };
        out.written(n);
        true
    }
}

/// `len` bytes of two parts, one behind the other, behind their first `skip`.
fn slice([first, second]: [&[u8]; 2], skip: usize, len: usize) -> [&[u8]; 2] {
    let (from, to) = (skip.min(first.len()), (skip + len).min(first.len()));
    let (start, end) = (skip.saturating_sub(first.len()), (skip + len).saturating_sub(first.len()));
    [&first[from..to], &second[start..end]]
}

fn undecodable(error: InvalidMessage) -> Breach {
    Breach::new(AlertDescription::DecodeError, error)
}

/// What is not the peer's fault.
fn internal(error: Error) -> Breach {
    Breach::new(AlertDescription::InternalError, error)
}
