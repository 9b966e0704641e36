//! TLS on a leg: the session and its sealed bytes, and how they meet the leg's plain ones.

use crate::buf::{BufPool, Lease, SMALL};
use crate::fault::What;
use crate::tls::session::{Opened, PLAIN_MAX, Progress, RECORD_MAX, Sealed, Session};

/// First byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// TLS on one leg.
#[derive(Debug)]
pub struct Secure {
    /// The protocol.
    pub session: Session,
    /// Its bytes on their way in and out.
    pub sealed: Sealed,
    /// What was received first has been looked at.
    begun: bool,
    /// We have said that nothing follows.
    closed: bool,
}

/// Where a handshake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shaken {
    /// The peer has to say more, or to read more.
    Waiting,
    /// Requests can flow.
    Secure,
    /// The client speaks plain HTTP.
    Plain,
    /// It failed; the alert is sent as far as the kernel takes it.
    Failed(What),
    /// The connection ended or was reset.
    Lost,
}

/// What opening gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gained {
    /// Plain bytes.
    pub bytes: usize,
    /// Only bytes of the protocol were opened.
    pub silent: bool,
    /// The peer has said that nothing follows.
    pub ended: bool,
    /// There is no room for the next record.
    pub cramped: bool,
    /// The connection failed.
    pub fault: Option<What>,
}

impl Secure {
    /// TLS as `session` has it, with nothing said yet.
    pub fn new(session: Session) -> Self {
        Self { session, sealed: Sealed::default(), begun: false, closed: false }
    }

    /// Whether the peer has said anything.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether a receive makes sense: a whole record waits and has room, or none does and the socket is readable.
    pub fn can_receive(&self, readable: bool, inbound: Option<&Lease>) -> bool {
        let free = inbound.map_or(SMALL, |buf| buf.capacity() - buf.len());
        match self.session.next_record(&self.sealed) {
            Some(len) => len <= free || inbound.is_some_and(|buf| buf.passed().is_empty()),
            None => readable && free > 0,
        }
    }

    /// Opens as many records into `inbound` as have arrived and have room.
    pub fn open(&mut self, inbound: &mut Option<Lease>, bulk: bool, bufs: &mut BufPool) -> Gained {
        let mut gained = Gained::default();
        while self.sealed.inbound.is_some() {
            let mut plain = inbound.take().unwrap_or_else(|| bufs.lease_sized(bulk));
            let opened = self.session.open(&mut self.sealed, &mut plain, bufs);
            // What was gained just now has to be judged first: it may make the room.
            let cramped =
                matches!(opened, Ok(Opened::Cramped(_))) && gained.bytes == 0 && plain.passed().is_empty();
            let enlarged = cramped && bufs.enlarge(&mut plain);
            gained.cramped = cramped && !enlarged;
            *inbound = Some(plain);
            self.tidy(bufs);
            match opened {
                Ok(Opened::Bytes(0)) => gained.silent = true,
                Ok(Opened::Bytes(n)) => gained.bytes += n,
                Ok(Opened::Cramped(_)) if enlarged => {}
                Ok(Opened::Cramped(_) | Opened::Short) => break,
                Ok(Opened::Ended) => {
                    gained.ended = true;
                    // Nothing counts that follows the end.
                    self.drop_inbound(bufs);
                }
                Err(what) => {
                    gained.fault = Some(what);
                    break;
                }
            }
        }
        gained
    }

    /// Seals what `first` and `second` hold behind their first `skip` bytes, as much as has room; how much that was.
    ///
    /// # Errors
    /// When the connection can carry nothing more.
    pub fn seal(
        &mut self,
        first: &[u8],
        second: &[u8],
        skip: usize,
        bufs: &mut BufPool,
    ) -> Result<usize, What> {
        let (first, second) = match skip.checked_sub(first.len()) {
            Some(skip) => (&[][..], second.get(skip..).unwrap_or_default()),
            None => (first.get(skip..).unwrap_or_default(), second),
        };
        let wanted = first.len() + second.len();
        if wanted == 0 {
            return Ok(0);
        }
        if wanted > PLAIN_MAX && self.sealed.out.is_none() {
            self.sealed.out = bufs.lease_large();
        }
        let sealed = self.session.seal([first, second], &mut self.sealed, bufs);
        self.tidy(bufs);
        sealed
    }

    /// Goes on with the handshake.
    pub fn shake(&mut self, bufs: &mut BufPool) -> Shaken {
        if let Some(first) = self.sealed.inbound.as_ref().and_then(|buf| buf.pending().first().copied())
            && !std::mem::replace(&mut self.begun, true)
            && self.session.is_with_client()
            && first != HANDSHAKE_RECORD
            && first.is_ascii_uppercase()
        {
            return Shaken::Plain;
        }
        let shaken = match self.session.shake(&mut self.sealed, bufs) {
            Ok(Progress::Waiting) => Shaken::Waiting,
            Ok(Progress::Secure) => Shaken::Secure,
            Err(what) => Shaken::Failed(what),
        };
        self.tidy(bufs);
        shaken
    }

    /// Seals the word that nothing follows, once; says whether there is something to send.
    pub fn close(&mut self, bufs: &mut BufPool) -> bool {
        if std::mem::replace(&mut self.closed, true) {
            return false;
        }
        let closed = self.session.close(&mut self.sealed, bufs);
        self.tidy(bufs);
        closed.is_ok() && self.sealed.out.is_some()
    }

    /// Whether we have said that nothing follows.
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Returns leases that hold nothing.
    pub fn tidy(&mut self, bufs: &mut BufPool) {
        for lease in [&mut self.sealed.inbound, &mut self.sealed.out] {
            if let Some(buf) = lease.take_if(|buf| buf.is_empty()) {
                bufs.give_back(buf);
            }
        }
    }

    /// Drops what is sealed and not sent.
    pub fn drop_out(&mut self, bufs: &mut BufPool) {
        if let Some(buf) = self.sealed.out.take() {
            bufs.give_back(buf);
        }
    }

    fn drop_inbound(&mut self, bufs: &mut BufPool) {
        if let Some(buf) = self.sealed.inbound.take() {
            bufs.give_back(buf);
        }
    }

    /// Returns every lease, whatever it holds.
    pub fn empty(&mut self, bufs: &mut BufPool) {
        self.drop_inbound(bufs);
        self.drop_out(bufs);
    }
}

const _: () = assert!(RECORD_MAX <= SMALL);
