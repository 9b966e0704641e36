//! The handshake, by rustls's unbuffered API. When it is over, the keys leave rustls with the connection.
//!
//! Records are fed one by one, so that nothing behind the last one of the handshake is opened here. Early data does not
//! exist here.

use crate::buf::{BufPool, Lease};
use crate::tls::records::{self, Sealed};
use crate::tls::status::{Step, Target, Trouble};
use crate::tls::traffic::{Kernel, Traffic};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{CipherSuite, ClientConfig, CommonState, Error, InvalidMessage, PeerMisbehaved, ServerConfig};
use std::sync::Arc;

/// Records of the protocol's own taken out after a failure: an alert, and what was made before it.
const LAST_WORDS_MAX: usize = 8;

/// The two roles.
enum Connection {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// A connection in its handshake.
pub(super) struct Handshake {
    connection: Connection,
    /// How much of the sealed bytes in front rustls has seen and still refers to: parts of a handshake message.
    fed: usize,
    /// The peer has sent close_notify: it will not complete it any more.
    pub(super) ended: bool,
    /// The target asked for a certificate and was told that there is none.
    pub(super) declined: bool,
}

impl Handshake {
    /// With the host `name`.
    ///
    /// # Errors
    /// When rustls cannot use the configuration.
    pub(super) fn connect(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        UnbufferedClientConnection::new(Arc::clone(config), name).map(Connection::Client).map(Self::new)
    }

    /// With a client.
    ///
    /// # Errors
    /// When rustls cannot use the configuration.
    pub(super) fn accept(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(Arc::clone(config)).map(Connection::Server).map(Self::new)
    }

    fn new(connection: Connection) -> Self {
        Self { connection, fed: 0, ended: false, declined: false }
    }

    /// What is known of the connection.
    pub(super) fn common(&self) -> &CommonState {
        match &self.connection {
            Connection::Client(connection) => connection,
            Connection::Server(connection) => connection,
        }
    }

    /// The cipher suite agreed on.
    pub(super) fn suite(&self) -> Option<CipherSuite> {
        self.common().negotiated_cipher_suite().map(|suite| suite.suite())
    }

    /// Whether the peer is a client of ours.
    pub(super) fn is_with_client(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
    }

    /// Sealed bytes that rustls has not seen.
    pub(super) fn unseen<'a>(&self, sealed: &'a Sealed) -> &'a [u8] {
        sealed.inbound.as_ref().and_then(|buf| buf.pending().get(self.fed..)).unwrap_or_default()
    }

    /// Feeds the record of `len` bytes. What is no record of ours ends the connection, whatever rustls makes of it: where
    /// the next one begins would be a guess.
    pub(super) fn feed_record(
        &mut self,
        len: usize,
        sealed: &mut Sealed,
        bufs: &mut BufPool,
    ) -> Result<(), Trouble> {
        let unseen = self.unseen(sealed);
        let sound = records::is_record(unseen) && records::length(unseen) == Some(len);
        self.feed(len, sealed, bufs)?;
        if sound { Ok(()) } else { Err(Trouble::Tls(InvalidMessage::MessageTooLarge.into())) }
    }

    /// Feeds `len` more bytes and does what rustls asks for, until it asks for bytes.
    pub(super) fn feed(
        &mut self,
        len: usize,
        sealed: &mut Sealed,
        bufs: &mut BufPool,
    ) -> Result<(), Trouble> {
        self.fed += len;
        loop {
            let (discard, step) = self.serve(sealed, bufs);
            let step = step?;
            if let Some(buf) = &mut sealed.inbound {
                buf.judged(discard, 0);
                self.fed -= discard;
            }
            match step {
                Step::More => {}
                Step::PeerClosed => self.ended = true,
                Step::Rest => return Ok(()),
            }
        }
    }

    /// Does one thing that rustls asks for; how much of what it has seen is to be discarded then.
    fn serve(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) -> (usize, Result<Step, Trouble>) {
        let Sealed { inbound, out } = sealed;
        let Some(input) = input(inbound, self.fed) else { return (0, Err(Trouble::Room)) };
        let mut target = Target { out, bufs, declined: &mut self.declined };
        match &mut self.connection {
            Connection::Client(connection) => target.serve(connection.process_tls_records(input)),
            Connection::Server(connection) => target.serve(connection.process_tls_records(input)),
        }
    }

    /// Takes the alert out that says why it failed.
    pub(super) fn take_last_words(&mut self, sealed: &mut Sealed, bufs: &mut BufPool) {
        for _ in 0..LAST_WORDS_MAX {
            if !self.common().wants_write() || self.serve(sealed, bufs).1.is_err() {
                break;
            }
        }
    }

    /// Leaves rustls: the handshake is over and all of it has been fed and taken out.
    ///
    /// # Errors
    /// When rustls keeps its keys.
    pub(super) fn into_traffic(self) -> Result<Traffic, Error> {
        // The last message of a handshake ends its record (RFC 8446 §5.1), so that rustls refers to nothing any more.
        // Otherwise a record would be opened twice.
        if self.fed != 0 {
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        let (secrets, kernel) = match self.connection {
            Connection::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Client(kernel))
            }
            Connection::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Kernel::Server(kernel))
            }
        };
        Traffic::new(secrets, kernel)
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
