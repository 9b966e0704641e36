//! What becomes of a record with its exchange: its waits are timed, and at the end the worker adds what it knows and the
//! line is written.

use crate::access::complaint::Complaint;
use crate::access::pen::Closing;
use crate::access::record::{Phase, Tls};
use crate::exchange::{Exchange, UpstreamState};
use crate::fault::What;
use crate::http::reply;
use crate::io::Io;
use crate::key::Key;
use crate::time::Now;
use crate::worker::Worker;
use std::net::SocketAddr;

impl Exchange {
    /// Notes what it waits for since this turn.
    pub(crate) fn note_wait(&mut self, now: Now) {
        use UpstreamState as S;
        let phase = match self.upstream() {
            S::Queued => Phase::Queue,
            S::Resolving => Phase::Dns,
            S::Connecting => Phase::Connect,
            S::Handshake => Phase::Tls,
            S::Absent | S::Verifying | S::Wanted | S::Reloading | S::Head | S::Body | S::Done | S::Tunnel => {
                Phase::Other
            }
        };
        if let Some(record) = &mut self.record {
            record.enter(phase, now);
        }
    }
}

impl<I: Io> Drop for Worker<I> {
    /// What was written of exchanges is not lost with the worker.
    fn drop(&mut self) {
        self.journal.hand_over(&mut self.io);
    }
}

impl<I: Io> Worker<I> {
    /// The client `key`, who had not asked, was told `answer`, of which `sent` bytes went out.
    pub(crate) fn write_answer_at_once(&mut self, key: Key, what: What, answer: &[u8], sent: usize) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let door = self.config.listener(client.listener).door();
        let Some(mut record) = self.journal.begin(door, self.now) else { return };
        let (status, body) = reply::told(answer);
        record.answer_ourselves(status, body, self.now);
        record.sent = sent as u64;
        record.aborted = sent < answer.len();
        client.exchange.record = Some(record);
        self.write_record(key, Some(what));
    }

    /// Says what went wrong with the exchange of `key`: to the operators, and in the error log of its listener.
    pub(crate) fn tell_fault(&mut self, key: Key, what: What) {
        let Some(client) = self.clients.at(key) else { return };
        let route = client.exchange.destination.as_ref().map_or("-", |destination| &destination.route);
        let reason = client.leg.secure.as_ref().and_then(|secure| secure.session.reason());
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let subject = client.subject().map(|subject| format!(" ({subject})")).unwrap_or_default();
        let (code, sentence, by) = (what.code(), what.sentence().trim_end(), what.fault().by.name());
        log::log!(
            target: "apim_proxy::exchange", what.level(),
            "{code}: {sentence}{reason}; fault of the {by}; client {}{subject}; target {route}",
            client.address
        );
        let complaint = Complaint {
            level: what.level(),
            worker: self.id,
            client: SocketAddr::new(client.address, client.port),
            text: format_args!("{code}: {sentence}{reason}; fault of the {by}{subject}; target {route}"),
        };
        let door = self.config.listener(client.listener).door();
        self.journal.complain(door, &complaint, self.now, &mut self.io);
    }

    /// The exchange of `key` is over: writes its lines, if there are to be any.
    pub(crate) fn write_record(&mut self, key: Key, fault: Option<What>) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(mut record) = client.exchange.record.take() else { return };
        if let Some(tunnel) = &client.exchange.tunnel {
            record.received += tunnel.up.bytes;
            record.sent += tunnel.down.bytes;
            record.body = tunnel.down.bytes;
        }
        let Some(sheet) = self.journal.sheet(record.door) else { return };
        let local = if sheet.shows_local { self.io.local_address(&client.leg.socket) } else { None };
        let client_tls =
            client.leg.secure.as_ref().filter(|_| sheet.shows_client_tls).map(|tls| Tls::of(&tls.session));
        let closing = Closing {
            client: SocketAddr::new(client.address, client.port),
            local,
            client_tls,
            worker: self.id,
            route: client.exchange.destination.as_ref().map(|destination| &*destination.route),
            // Who leaves in the middle of a head has no exchange that could fail.
            fault: fault.or(record.aborted.then_some(What::ClientGone)),
            requests: client.requests,
            keeps: !client.exchange.close,
            ended: self.now,
        };
        self.journal.write(record, &closing, &mut self.io);
    }
}
