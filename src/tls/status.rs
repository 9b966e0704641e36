//! What rustls's unbuffered API asks for, one status at a time: bytes to put out, bytes to take in, nothing more.

use crate::buf::{BufPool, Lease};
use crate::tls::records::HEADER;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

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
    pub(super) bufs: &'a mut BufPool,
    pub(super) declined: &'a mut bool,
}

impl Target<'_> {
    /// Serves one status; returns what is to be discarded and what comes next.
    pub(super) fn serve<D>(&mut self, status: UnbufferedStatus<'_, '_, D>) -> (usize, Result<Step, Trouble>) {
        let UnbufferedStatus { discard, state } = status;
        let step = match state {
            Err(error) => Err(Trouble::Tls(error)),
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
            // The handshake ends with the last record fed; early data is never offered and never accepted.
            Ok(_) => {
                let error = "application data where none can be".to_owned();
                Err(Trouble::Tls(rustls::Error::General(error)))
            }
        };
        (discard, step)
    }
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
