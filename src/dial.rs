//! How an exchange gets its connection: from the pool, or by a permit, a name and one address after another.

use crate::access::record::Reuse;
use crate::attempt::Dial;
use crate::decisions::Decision;
use crate::exchange::{Exchange, UpstreamEvent, UpstreamState};
use crate::fault::{Blame, What};
use crate::http::head::HeadScan;
use crate::http::target::{Scheme, Target};
use crate::io::{Addresses, Io, Lookup};
use crate::key::Key;
use crate::leg::Leg;
use crate::pair::Upstream;
use crate::permits::{Asked, Permit};
use crate::policy::egress::{Egress, Ground};
use crate::policy::standing::Standing;
use crate::pool::{Asker, Destination};
use crate::pump;
use crate::secure::Secure;
use crate::stats::{Counter, Latency};
use crate::time::Now;
use crate::worker::Worker;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

/// Whether the way there is TLS.
fn is_secure(destination: &Destination) -> bool {
    destination.target.scheme == Scheme::Https
}

/// The TLS of a connection about to be dialled; `None` where the target is plain.
fn secure(destination: &Destination) -> Result<Option<Box<Secure>>, What> {
    if !is_secure(destination) {
        return Ok(None);
    }
    let tls = destination.profile.tls.as_ref().ok_or(What::TlsFailed)?;
    tls.session(&destination.target.host).map(|session| Some(Box::new(Secure::new(session))))
}

/// A request that must not be repeated first asks a connection that was idle this long (microseconds) whether it is
/// still there; below that, the events have told.
const DOUBT_AFTER: u64 = 1_000_000;

impl<I: Io> Worker<I> {
    fn destination(&self, key: Key) -> Option<Rc<Destination>> {
        self.clients.at(key)?.exchange.destination.clone()
    }

    /// Finds a connection for the exchange of `key`, or begins to: a name first, so that what cannot be resolved holds no
    /// permit; then a permit; then one address after another.
    pub(crate) fn dial(&mut self, key: Key) {
        if self.clients.at(key).is_some_and(|client| client.exchange.login.is_some()) {
            self.ask_verify(key);
            return;
        }
        if self.clients.at(key).is_some_and(|client| client.exchange.reload) {
            self.ask_reload(key);
            return;
        }
        let Some(destination) = self.destination(key) else { return };
        if self.attach_idle(key, destination.origin) {
            return;
        }
        match self.io.resolve(&destination.target.host, key) {
            Lookup::Found(addresses) => self.ask_permit(key, addresses),
            Lookup::Failed => self.refuse(key, What::DnsFailed),
            Lookup::Pending => {
                let Some(client) = self.clients.at_mut(key) else { return };
                client.exchange.upstream_on(UpstreamEvent::Resolve);
                client.since = self.now;
            }
        }
    }

    /// The name `host` was resolved for `key`; `None` means it has no address.
    pub fn resolved(&mut self, key: Key, host: &str, addresses: Option<Addresses>) {
        let Some(destination) = self.destination(key) else { return };
        let awaited = self.state_of(key) == Some(UpstreamState::Resolving)
            && destination.target.host.eq_ignore_ascii_case(host);
        if !awaited {
            return;
        }
        match addresses {
            // A connection may have become idle meanwhile.
            Some(addresses) if !self.attach_idle(key, destination.origin) => self.ask_permit(key, addresses),
            Some(_) => {}
            None => self.refuse(key, What::DnsFailed),
        }
        self.drive(key);
    }

    /// Asks for the right to open a connection to one of `addresses`.
    fn ask_permit(&mut self, key: Key, addresses: Addresses) {
        let Some(destination) = self.destination(key) else { return };
        let start = self.pool.next_dial(destination.origin);
        let Some(client) = self.clients.at_mut(key) else { return };
        client.exchange.dial =
            Some(Box::new(Dial { addresses, start, tried: 0, fault: What::DnsFailed, anew: false }));
        client.since = self.now;
        if is_secure(&destination) && self.pool.is_shaking(destination.origin, self.config.handshakes_max) {
            // An origin that has restarted is not met by a handshake for every request at once.
            self.pool.await_handshake(destination.origin, key);
            client.exchange.awaits_handshake = true;
            client.exchange.upstream_on(UpstreamEvent::Queue);
            self.stats.count(Counter::HandshakesQueued);
            return;
        }
        self.take_permit(key, &destination);
    }

    /// Asks for a permit, and dials under it.
    fn take_permit(&mut self, key: Key, destination: &Destination) {
        let asked = self.permits.ask(&destination.route, destination.profile.connections_max, self.id, key);
        let Some(client) = self.clients.at_mut(key) else { return };
        match asked {
            Asked::Granted(permit) => {
                client.exchange.permit = Some(permit);
                self.dial_next(key);
            }
            Asked::Queued => {
                client.exchange.queued = true;
                if client.exchange.upstream() != UpstreamState::Queued {
                    client.exchange.upstream_on(UpstreamEvent::Queue);
                }
                self.stats.count(Counter::Queued);
                self.yield_idle();
            }
        }
    }

    /// A handshake with `origin` has ended, or a connection to it has become idle: those who waited for that go on, with
    /// the idle connection or a handshake of their own.
    pub(crate) fn wake_waiting(&mut self, origin: Key) {
        while let Some(key) = self.pool.next_waiting(origin) {
            let Some(destination) = self.destination(key) else { continue };
            // Who has been refused meanwhile may not have read its answer yet.
            let waits = |exchange: &Exchange| {
                exchange.awaits_handshake && exchange.upstream() == UpstreamState::Queued
            };
            if !self.clients.at(key).is_some_and(|client| waits(&client.exchange)) {
                continue;
            }
            if self.pool.is_shaking(origin, self.config.handshakes_max) && !self.pool.has_idle(origin) {
                self.pool.await_handshake_first(origin, key);
                return;
            }
            if let Some(client) = self.clients.at_mut(key) {
                client.exchange.awaits_handshake = false;
            }
            if !self.attach_idle(key, origin) {
                self.take_permit(key, &destination);
            }
            self.drive(key);
        }
    }

    /// A wait for a permit is over. Who no longer waits lets the permit go by dropping it.
    pub fn granted(&mut self, key: Key, permit: Permit) {
        if self.state_of(key) != Some(UpstreamState::Queued) {
            return;
        }
        let Some(client) = self.clients.at_mut(key) else { return };
        if client.exchange.awaits_handshake {
            return;
        }
        self.dial_under(key, permit);
        self.drive(key);
    }

    /// The exchange of `key` has waited for this permit.
    pub(crate) fn dial_under(&mut self, key: Key, permit: Permit) {
        let Some(client) = self.clients.at_mut(key) else { return };
        client.exchange.queued = false;
        client.exchange.permit = Some(permit);
        self.dial_next(key);
    }

    /// Takes a connection from the pool; never to repeat a request that a pooled one has just failed.
    fn attach_idle(&mut self, key: Key, origin: Key) -> bool {
        let Some(exchange) = self.clients.at(key).map(|client| &client.exchange) else { return false };
        if exchange.retried {
            return false;
        }
        let idempotent = exchange.ask.idempotent;
        while let Some(link) = self.pool.take(origin) {
            let Some(upstream) = self.upstreams.at_mut(link) else { continue };
            if !idempotent && self.now.micros_since(upstream.since) > DOUBT_AFTER {
                upstream.leg.ready.readable = true;
            }
            if pump::is_silent(&mut self.io, &mut self.bufs, &mut upstream.leg) {
                if let Some(ground) = upstream.reported {
                    let (address, destination) = (upstream.address, self.destination(key));
                    if let Some(destination) = destination {
                        // It only reports, as it did when it was dialled.
                        self.denies(key, &destination.target, address, ground);
                    }
                }
                self.attach(key, link);
                return true;
            }
            self.stats.count(Counter::IdleLost);
            self.drop_upstream(link);
        }
        false
    }

    /// Dials the next address that may be dialled; when none is left the exchange fails.
    fn dial_next(&mut self, key: Key) {
        let Some(destination) = self.destination(key) else { return };
        loop {
            let Some(client) = self.clients.at_mut(key) else { return };
            let Some(dial) = client.exchange.dial.as_mut() else { return };
            let count = dial.addresses.len();
            if dial.tried == count {
                let what = dial.fault;
                self.refuse_undialled(key, what);
                return;
            }
            let address = dial.addresses[(dial.start % count + dial.tried) % count];
            dial.tried += 1;
            let target = SocketAddr::new(address, destination.target.port);
            let reported = match self.judge_address(key, &destination, target) {
                Ok(reported) => reported,
                Err(what) => {
                    self.note_dial_fault(key, what);
                    continue;
                }
            };
            let link = self.upstreams.next_key();
            self.stats.count(Counter::Dialled);
            let secure = match secure(&destination) {
                Ok(secure) => secure,
                Err(what) => {
                    self.refuse_undialled(key, what);
                    return;
                }
            };
            match self.io.connect(target, link) {
                Ok(socket) => {
                    if let Some(log) = &self.config.request_log {
                        log.connection(link, format_args!("Connecting to {} at {target}", destination.route));
                    }
                    let leg = Leg::new(socket, secure);
                    self.dialling(key, &destination, leg, address, reported);
                    return;
                }
                Err(what) => {
                    self.stats.count(Counter::DialFailed);
                    self.note_dial_fault(key, what);
                }
            }
        }
    }

    /// Judges an address of `destination` for the client `key`. `Ok(Some)`: it passes only because the policy just reports.
    fn judge_address(
        &mut self,
        key: Key,
        destination: &Destination,
        address: SocketAddr,
    ) -> Result<Option<Ground>, What> {
        let Asker::Client(group) = destination.asker else { return Ok(None) };
        let target = &destination.target;
        let judged = self.config.egress.judge_address(group, &target.host, address.port(), address.ip());
        let ground = match judged {
            _ if self.io.is_own_listener(address) => Ground::Own,
            Err(ground) if destination.barred != Some(ground) => ground,
            // By its name it was told already.
            Err(_) => return Ok(None),
            Ok(()) => {
                if Standing::of(address.ip()) == Standing::Private {
                    self.stats.count(Counter::DialledPrivate);
                }
                return Ok(None);
            }
        };
        if self.denies(key, target, address.ip(), ground) {
            Err(Egress::what(ground))
        } else {
            Ok(Some(ground))
        }
    }

    /// Tells that the policy denies `address` to the client `key`; says whether it does so in earnest.
    fn denies(&mut self, key: Key, target: &Target, address: IpAddr, ground: Ground) -> bool {
        let Some(client) = self.clients.at(key) else { return true };
        let (client, group) = (client.address, client.group);
        let decision = Decision { client, group, target, address: Some(address), ground };
        self.decisions.denies(&self.config.egress, &decision, self.now, &self.stats)
    }

    /// A refusal by policy is reported only when no address failed otherwise.
    fn note_dial_fault(&mut self, key: Key, what: What) {
        if let Some(dial) = self.clients.at_mut(key).and_then(|client| client.exchange.dial.as_mut())
            && (what.fault().by != Blame::Policy || dial.fault == What::DnsFailed)
        {
            dial.fault = what;
        }
    }

    fn dialling(
        &mut self,
        key: Key,
        destination: &Destination,
        leg: Leg<I::Socket>,
        address: IpAddr,
        reported: Option<Ground>,
    ) {
        let shaking = leg.secure.is_some();
        let Some(client) = self.clients.at_mut(key) else { return };
        let permit = client.exchange.permit.take().expect("who dials holds a permit");
        client.exchange.upstream_on(UpstreamEvent::Dial);
        client.since = self.now;
        if let Some(record) = &mut client.exchange.record {
            record.take_link(Reuse::New, SocketAddr::new(address, destination.target.port), None);
        }
        let link = self.upstreams.insert(Upstream {
            leg,
            client: Some(key),
            origin: destination.origin,
            address,
            tls: None,
            reported,
            permit,
            shaking,
            scan: HeadScan::default(),
            since: self.now,
            expires: Now::NEVER,
            look: Now::NEVER,
        });
        self.pool.enter(destination.origin);
        if shaking {
            self.pool.begin_handshake(destination.origin);
        }
        client.exchange.link = Some(link);
    }

    /// An event arrived for a connection that is opening.
    pub(crate) fn dialled(&mut self, key: Key, link: Key) {
        let Some(upstream) = self.upstreams.at_mut(link) else { return };
        match self.io.connected(&mut upstream.leg.socket) {
            Ok(false) => {}
            Ok(true) => {
                upstream.leg.ready.writable = true;
                if let Some(log) = &self.config.request_log {
                    log.connection(link, format_args!("Connection established"));
                }
                self.stats.time(Latency::Connect, self.now.micros_since(upstream.since));
                let Some(client) = self.clients.at_mut(key) else { return };
                client.since = self.now;
                upstream.since = self.now;
                if upstream.leg.secure.is_some() {
                    client.exchange.upstream_on(UpstreamEvent::Shake);
                } else if client.exchange.ask.connect {
                    client.exchange.dial = None;
                    self.establish(key);
                } else {
                    client.exchange.dial = None;
                    client.exchange.upstream_on(UpstreamEvent::Open);
                }
            }
            Err(what) => self.give_up_address(key, what),
        }
    }

    /// The connection that is opening has failed: on to the next address, under the same permit.
    pub(crate) fn give_up_address(&mut self, key: Key, what: What) {
        self.stats.count(Counter::DialFailed);
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(link) = client.exchange.link.take() else { return };
        let Some(upstream) = self.upstreams.remove(link) else { return };
        if let Some(log) = &self.config.request_log {
            log.connection(link, format_args!("Connection failed: {}", what.code()));
        }
        let (_, permit) = self.take_apart(upstream);
        let Some(client) = self.clients.at_mut(key) else { return };
        client.exchange.permit = Some(permit);
        self.note_dial_fault(key, what);
        self.dial_next(key);
    }

    /// No connection will come.
    fn refuse_undialled(&mut self, key: Key, what: What) {
        if let Some(client) = self.clients.at_mut(key) {
            client.exchange.permit = None;
        }
        self.refuse(key, what);
    }

    /// The reused connection failed before a byte of an answer: everything is made unsent for a fresh one.
    pub(crate) fn retry(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let exchange = &mut client.exchange;
        exchange.retried = true;
        exchange.reused = false;
        if let Some(record) = &mut exchange.record {
            record.retries += 1;
        }
        if let Some(mark) = exchange.replay.take()
            && exchange.sent
        {
            if let Some(forward) = &mut exchange.forward {
                forward.rewind(0);
            }
            if let Some(inbound) = &mut client.leg.inbound {
                inbound.rewind(mark as usize);
            }
        }
        exchange.sent = false;
        exchange.upstream_on(UpstreamEvent::Retry);
        let link = exchange.link.take();
        self.stats.count(Counter::Retries);
        if let Some(link) = link {
            self.drop_upstream(link);
        }
    }
}
