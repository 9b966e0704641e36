//! What rustls's unbuffered API asks for, one status at a time: bytes to put out, bytes to take in, nothing more.

use crate::buf::{BufPool, Lease};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;
/// Room kept for the protocol's own records in front of application data: an answer to a key update.
pub(super) const PROTOCOL_ROOM: usize = 128;

/// What is to be sealed.
#[derive(Clone, Copy)]
pub(super) enum Words<'a> {
    Plain(&'a [u8]),
    CloseNotify,
}

/// What keeps rustls from going on.
pub(super) enum Trouble {
    /// No buffer is large enough.
    Room,
    Tls(rustls::Error),
}

pub(super) enum Step {
    More,
    PeerClosed,
    Rest,
}

/// Where the outcome of a step goes.
pub(super) struct Target<'a> {
    pub(super) out: &'a mut Option<Lease>,
    pub(super) plain: Option<&'a mut Lease>,
    pub(super) bufs: &'a mut BufPool,
    pub(super) gained: &'a mut usize,
    pub(super) declined: &'a mut bool,
}

impl Target<'_> {
    /// Serves one status; returns what is to be discarded and what comes next.
    pub(super) fn serve<D>(&mut self, status: UnbufferedStatus<'_, '_, D>) -> (usize, Result<Step, Trouble>) {
        let UnbufferedStatus { mut discard, state } = status;
        let step = match state {
            Err(error) => Err(Trouble::Tls(error)),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut step = Ok(Step::More);
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            if !self.take(record.payload) {
                                step = Err(Trouble::Tls(unexpected()));
                            }
                        }
                        Err(error) => {
                            step = Err(Trouble::Tls(error));
                            break;
                        }
                    }
                }
                step
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, self.out, self.bufs).map(|record| {
                    *self.declined |= shows_no_certificate(record);
                    Step::More
                })
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Step::More)
            }
            Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
            Ok(
                ConnectionState::Closed
                | ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_),
            ) => Ok(Step::Rest),
            // Early data is never offered and never accepted.
            Ok(_) => Err(Trouble::Tls(unexpected())),
        };
        (discard, step)
    }

    /// Keeps opened bytes; `false` when nobody expects any.
    fn take(&mut self, payload: &[u8]) -> bool {
        let Some(plain) = &mut self.plain else { return payload.is_empty() };
        let Some(room) = plain.free_mut().get_mut(..payload.len()) else { return false };
        room.copy_from_slice(payload);
        plain.received(payload.len());
        *self.gained += payload.len();
        true
    }
}

fn unexpected() -> rustls::Error {
    rustls::Error::General("application data where none can be".to_owned())
}

/// Puts one of the protocol's own records into `out`; returns it.
fn encode<'a, D>(
    data: &mut EncodeTlsData<'_, D>,
    out: &'a mut Option<Lease>,
    bufs: &mut BufPool,
) -> Result<&'a [u8], Trouble> {
    let buf = out.get_or_insert_with(|| bufs.lease());
    let encoded = data.encode(buf.free_mut()).or_else(|error| match error {
        EncodeError::InsufficientSize(size) => {
            if buf.room_for(size.required_size).len() < size.required_size {
                bufs.enlarge(buf);
            }
            data.encode(buf.free_mut())
        }
        error @ EncodeError::AlreadyEncoded => Err(error),
    });
    let n = encoded.map_err(|_| Trouble::Room)?;
    buf.written(n);
    let passed = buf.passed();
    Ok(&passed[passed.len() - n..])
}

/// Whether this record of a client's handshake says that there is no certificate. rustls tells nobody, and a target that
/// goes on to refuse us says as little. In TLS 1.2 the message is there to be read (RFC 5246 §7.4.6); in TLS 1.3 it is
/// sealed in one record with Finished, whose length gives it away: 8 bytes more than Finished alone, far fewer than a
/// certificate.
fn shows_no_certificate(record: &[u8]) -> bool {
    const CERTIFICATE: [u8; 7] = [11, 0, 0, 3, 0, 0, 0];
    const EMPTY: usize = 8;
    const SEALING: usize = 1 + 16;
    let with_finished = |hash: usize| HEADER + EMPTY + 4 + hash + SEALING;
    match record {
        [22, _, _, _, _, message @ ..] => message.starts_with(&CERTIFICATE),
        [23, ..] => record.len() == with_finished(32) || record.len() == with_finished(48),
        _ => false,
    }
}

/// Serves one status on the way to sealing `words`; `true` once they are sealed.
pub(super) fn put<D>(
    status: UnbufferedStatus<'_, '_, D>,
    words: Words<'_>,
    out: &mut Option<Lease>,
    bufs: &mut BufPool,
) -> (usize, Result<bool, Trouble>) {
    let UnbufferedStatus { discard, state } = status;
    let written = match state {
        Err(error) => Err(Trouble::Tls(error)),
        Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out, bufs).map(|_| false),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(false)
        }
        Ok(ConnectionState::PeerClosed) => Ok(false),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let buf = out.get_or_insert_with(|| bufs.lease());
            let written = match words {
                Words::Plain(plain) => traffic.encrypt(plain, buf.free_mut()),
                Words::CloseNotify => traffic.queue_close_notify(buf.room_for(PROTOCOL_ROOM)),
            };
            match written {
                Ok(n) => {
                    buf.written(n);
                    Ok(true)
                }
                Err(EncryptError::InsufficientSize(_)) => Err(Trouble::Room),
                Err(EncryptError::EncryptExhausted) => Err(Trouble::Tls(rustls::Error::EncryptError)),
            }
        }
        // Both sides have closed, or there never was a session.
        Ok(_) => Err(Trouble::Tls(rustls::Error::HandshakeNotComplete)),
    };
    (discard, written)
}
