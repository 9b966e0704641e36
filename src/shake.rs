//! TLS handshakes, of clients and with origins: a few steps at the end of each turn, when every exchange has had its
//! own, so that a flood of handshakes slows handshakes only.

use crate::access::record::TargetTls;
use crate::exchange::{ClientEvent, ClientState, UpstreamEvent, UpstreamState};
use crate::fault::What;
use crate::io::Io;
use crate::key::Key;
use crate::pump::Ending;
use crate::secure::Shaken;
use crate::stats::{Counter, Latency};
use crate::worker::Worker;

/// Handshakes that go a step further in one turn; a step may cost a millisecond.
const SHAKES_MAX: usize = 4;

impl<I: Io> Worker<I> {
    /// The handshake of `key`, or with its upstream, goes on at the end of the turn.
    pub(crate) fn await_shake(&mut self, key: Key) {
        if let Some(client) = self.clients.at_mut(key)
            && !client.shaking
        {
            client.shaking = true;
            let with_client = client.exchange.client() == ClientState::Handshake;
            let queue = if with_client { &mut self.shaking } else { &mut self.greeting };
            queue.push_back(key);
        }
        self.arm(key);
    }

    /// Takes the handshakes further that can go on, within the budget of a turn. Anybody can begin one with us; one with
    /// a target serves a request that we have taken, so those go first, but for the last of each turn.
    pub(crate) fn take_shakes(&mut self) {
        for step in 1..=SHAKES_MAX {
            let (first, second) = if step < SHAKES_MAX {
                (&mut self.greeting, &mut self.shaking)
            } else {
                (&mut self.shaking, &mut self.greeting)
            };
            let Some(key) = first.pop_front().or_else(|| second.pop_front()) else { return };
            let Some(client) = self.clients.at_mut(key) else { continue };
            client.shaking = false;
            if client.exchange.client() == ClientState::Handshake {
                self.shake_client(key);
            } else if client.exchange.upstream() == UpstreamState::Handshake {
                self.shake_upstream(key);
            }
        }
    }

    fn shake_client(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        if !client.admitted {
            if !self.bufs.begin_handshake() {
                self.starve(key);
                return;
            }
            client.admitted = true;
        }
        let shaken = client.leg.shake(&mut self.io, &mut self.bufs);
        match shaken {
            Shaken::Waiting => self.arm(key),
            Shaken::Secure => self.open_client(key),
            Shaken::Plain => self.refuse_plain(key),
            Shaken::Failed(what) => {
                client.exchange.fault.get_or_insert(what);
                self.stats.count(Counter::ClientTlsFailed);
                self.linger(key);
            }
            Shaken::Lost => {
                // Who connects and leaves without a word is a health check.
                if client.leg.secure.as_ref().is_some_and(|secure| secure.has_begun()) {
                    client.exchange.fault.get_or_insert(What::ClientTlsFailed);
                    self.stats.count(Counter::ClientTlsFailed);
                }
                self.close(key, Ending::Plain);
            }
        }
    }

    /// The handshake of a client is complete.
    fn open_client(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(secure) = &client.leg.secure else { return };
        let resumed = secure.session.is_resumed();
        if let Some(inbound) = self.config.listener(client.listener).inbound.as_ref().filter(|_| resumed)
            && let Err(what) = inbound.recheck(&secure.session)
        {
            client.exchange.fault.get_or_insert(what);
            self.stats.count(Counter::ClientTlsFailed);
            self.linger(key);
            return;
        }
        self.stats.count(if resumed { Counter::ClientTlsResumed } else { Counter::ClientTlsFull });
        client.exchange.client_on(ClientEvent::Secure);
        client.admit(client.address, &self.config);
        client.since = self.now;
        self.bufs.end_handshake();
        if !client.leg.is_holding() {
            client.admitted = false;
            self.bufs.end_exchange();
        }
        self.drive(key);
    }

    /// Plain HTTP on the TLS port is told so in plain text, as the legacy does.
    fn refuse_plain(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        client.leg.empty(&mut self.bufs);
        client.leg.secure = None;
        client.exchange.client_on(ClientEvent::Secure);
        client.admitted = false;
        self.bufs.end_handshake();
        self.bufs.end_exchange();
        // Checked before anything else (contract §5).
        let what = if client.denied { What::ClientDenied } else { What::TlsRequired };
        if client.denied {
            self.stats.count(Counter::Denied);
        }
        self.answer_at_once(key, what);
    }

    /// The handshake of a client has failed, and the alert says why. What the client has sent meanwhile (in TLS 1.3 its
    /// certificate and its first request come together) is read and dropped: closing with bytes unread is a reset, and
    /// that eats the alert.
    fn linger(&mut self, key: Key) {
        self.conclude(key);
        let Some(client) = self.clients.at_mut(key) else { return };
        client.leg.empty(&mut self.bufs);
        client.leg.secure = None;
        client.leg.failed = false;
        client.leg.fault = None;
        client.leg.finish(&mut self.io, &mut self.bufs);
        client.admitted = false;
        self.bufs.end_handshake();
        self.bufs.end_exchange();
        for event in [ClientEvent::Secure, ClientEvent::Begin, ClientEvent::Abandon, ClientEvent::Linger] {
            client.exchange.client_on(event);
        }
        client.since = self.now;
        self.drive(key);
    }

    fn shake_upstream(&mut self, key: Key) {
        let Some(link) = self.clients.at(key).and_then(|client| client.exchange.link) else { return };
        let Some(upstream) = self.upstreams.at_mut(link) else { return };
        let shaken = upstream.leg.shake(&mut self.io, &mut self.bufs);
        match shaken {
            Shaken::Waiting => {
                self.arm(key);
                return;
            }
            Shaken::Secure => self.open_upstream(key, link),
            // Another address of the target may do better.
            Shaken::Lost => {
                // Who hangs up when told that there is no certificate says why as clearly as an alert does.
                let declined =
                    upstream.leg.secure.as_ref().is_some_and(|secure| secure.session.has_declined());
                let what = if declined { What::TlsClientCertRequired } else { What::TlsFailed };
                self.stats.count(Counter::TlsFailed);
                self.give_up_address(key, what);
            }
            Shaken::Failed(what) => self.fail_upstream(key, what),
            Shaken::Plain => unreachable!("only clients are looked at for plain text"),
        }
        self.drive(key);
    }

    /// The handshake with an origin is complete; a resumed one has checked no certificate, so that is done now.
    fn open_upstream(&mut self, key: Key, link: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(upstream) = self.upstreams.at_mut(link) else { return };
        let Some(secure) = &upstream.leg.secure else { return };
        let resumed = secure.session.is_resumed();
        let destination = client.exchange.destination.as_ref();
        let tls = destination.and_then(|destination| Some((destination, destination.profile.tls.as_ref()?)));
        if let Some((destination, tls)) = tls.filter(|_| resumed)
            && let Err(what) = tls.recheck(&secure.session, &destination.target.host)
        {
            // The target may have another certificate by now, which only a full handshake shows.
            tls.forget(&destination.target.host);
            match client.exchange.dial.as_mut().filter(|dial| !dial.anew) {
                Some(dial) => {
                    dial.anew = true;
                    dial.tried -= 1;
                    self.give_up_address(key, what);
                }
                None => self.fail_upstream(key, what),
            }
            return;
        }
        self.stats.count(if resumed { Counter::TlsResumed } else { Counter::TlsFull });
        self.stats.time(Latency::Handshake, self.now.micros_since(upstream.since));
        if self.journal.is_on() {
            let tls = TargetTls::of(&secure.session);
            if let Some(record) = &mut client.exchange.record {
                record.take_tls(&tls);
            }
            upstream.tls = Some(Box::new(tls));
        }
        upstream.shaking = false;
        let origin = upstream.origin;
        client.exchange.dial = None;
        client.exchange.upstream_on(UpstreamEvent::Open);
        client.since = self.now;
        self.pool.end_handshake(origin);
        self.vacancies.push(origin);
    }

    /// The target and we do not come to terms, whichever of its addresses we ask.
    fn fail_upstream(&mut self, key: Key, what: What) {
        self.stats.count(Counter::TlsFailed);
        self.log_reason(key);
        self.drop_link(key);
        self.refuse(key, what);
    }

    /// Says what rustls says of the target: the sentence of a fault is for those who may not know more.
    fn log_reason(&self, key: Key) {
        let Some(client) = self.clients.at(key) else { return };
        let upstream = client.exchange.link.and_then(|link| self.upstreams.at(link));
        let reason = upstream.and_then(|upstream| upstream.leg.secure.as_ref()?.session.reason());
        let target = client.exchange.destination.as_ref().map_or("-", |destination| &destination.route);
        if let Some(reason) = reason {
            log::warn!("TLS with the target failed: {reason}; client {}; target {target}", client.address);
        }
    }
}
