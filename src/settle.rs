//! How an exchange ends: its connection goes back to the pool, to who waits for it, or closes; the client goes on or
//! leaves.

use crate::access::record::Reuse;
use crate::exchange::{ClientEvent, ClientState, UpstreamEvent, UpstreamState};
use crate::fault::What;
use crate::io::Io;
use crate::key::Key;
use crate::leg::Leg;
use crate::pair::Upstream;
use crate::permits::{NextUse, Permit};
use crate::pump::{self, Ending};
use crate::stats::{Counter, Latency};
use crate::worker::Worker;
use std::net::SocketAddr;

impl<I: Io> Worker<I> {
    /// The exchange is complete: its connection goes back to the pool or closes, the client's goes on or ends.
    pub(crate) fn settle(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let upstream = client.exchange.link.and_then(|link| self.upstreams.at(link));
        let unsent = client.has_request_to_send(upstream);
        let exchange = &mut client.exchange;
        let sound = exchange.fault.is_none()
            && exchange.reusable
            && exchange.client() == ClientState::Done
            && !unsent;
        let exchange = &mut client.exchange;
        let link = exchange.link.take();
        if exchange.client() != ClientState::Done {
            exchange.client_on(ClientEvent::Abandon);
            exchange.unread = true;
            exchange.close = true;
        }
        // What its origin did not take of this request must not go out in front of the next one.
        if let Some(inbound) = &mut client.leg.inbound {
            inbound.discard_passed();
        }
        client.leg.tidy(&mut self.bufs);
        self.pipes.reclaim(&mut client.leg.pipe);
        // A fault behind the answer (the rest of the request was malformed, say) does not undo it.
        if exchange.discarded.is_none() {
            self.stats.count(Counter::Answers);
        }
        self.stats.time(Latency::Exchange, self.now.micros_since(exchange.began));
        if let Some(link) = link {
            self.let_go(link, sound);
        }
        self.conclude(key);
        let Some(client) = self.clients.at_mut(key) else { return };
        client.since = self.now;
        if !client.exchange.close {
            client.exchange.renew();
            if !client.leg.is_holding() {
                client.admitted = false;
                self.bufs.end_exchange();
                if self.draining || client.leg.ended {
                    self.close(key, Ending::Plain);
                }
            }
            return;
        }
        client.exchange.client_on(ClientEvent::Linger);
        // Who meant to go on may have sent more by now, though no event has told of it: closing on top of that is a reset,
        // which eats the answer (RFC 9112 §9.6).
        let goes_on = client.exchange.ask.keep_alive && !self.draining;
        let unread =
            client.exchange.unread || goes_on || client.leg.ready.readable || client.leg.is_holding();
        client.leg.farewell(&mut self.io, &mut self.bufs);
        client.leg.empty(&mut self.bufs);
        // What still arrives is dropped as it is received: nothing is held, so nothing has to be promised.
        client.admitted = false;
        self.bufs.end_exchange();
        if !unread || client.leg.ended {
            self.close(key, Ending::Plain);
        } else {
            client.leg.finish(&mut self.io, &mut self.bufs);
        }
    }

    /// Gives back what the exchange of `key` holds besides its connection, and says what went wrong with it.
    pub(crate) fn conclude(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let exchange = &mut client.exchange;
        for buf in [exchange.forward.take(), exchange.answer.take()].into_iter().flatten() {
            self.bufs.give_back(buf);
        }
        if std::mem::take(&mut exchange.queued)
            && let Some(destination) = &exchange.destination
        {
            self.permits.give_up(&destination.route, self.id, key);
        }
        if std::mem::take(&mut exchange.awaits_handshake)
            && let Some(destination) = &exchange.destination
        {
            self.pool.stop_waiting(destination.origin, key);
        }
        exchange.permit = None;
        exchange.dial = None;
        let (lead, fault) = (exchange.lead.take(), exchange.fault);
        if let (Some(log), Some(heard)) = (&self.config.request_log, exchange.heard.take()) {
            log.tell(&heard);
        }
        let quiet = matches!(exchange.client(), ClientState::Preface | ClientState::Handshake)
            && fault.is_some()
            && !self.told.may_tell(self.now);
        if let Some(what) = fault.filter(|_| !quiet) {
            self.tell_fault(key, what);
        }
        self.write_record(key, fault);
        let Some(client) = self.clients.at_mut(key) else { return };
        if let Some(destination) = client.exchange.destination.take() {
            self.pool.leave(destination.origin);
        }
        if let Some(lead) = lead {
            self.part_with(lead, fault);
        }
    }

    /// A connection has served its exchange: pools it, hands it to who waits for it, or closes it.
    pub(crate) fn let_go(&mut self, link: Key, sound: bool) {
        let Some(upstream) = self.upstreams.at_mut(link) else { return };
        let keep = sound
            && !self.draining
            && !self.pool.is_retired(upstream.origin)
            && upstream.expires > self.now
            && !upstream.leg.is_aging()
            && pump::is_silent(&mut self.io, &mut self.bufs, &mut upstream.leg);
        if !keep {
            self.drop_upstream(link);
            return;
        }
        if let Some(log) = &self.config.request_log {
            log.connection(link, format_args!("Connection can be kept alive"));
        }
        upstream.client = None;
        upstream.since = self.now;
        let origin = upstream.origin;
        if upstream.permit.is_wanted() {
            match upstream.permit.next_use(self.id) {
                NextUse::Keep => {}
                NextUse::Close => {
                    self.drop_upstream(link);
                    return;
                }
                NextUse::Serve(key) => {
                    if self.state_of(key) == Some(UpstreamState::Queued) {
                        if self.is_for(key, origin) {
                            self.attach(key, link);
                        } else if let Some(permit) = self.close_upstream(link, Ending::Plain) {
                            self.dial_under(key, permit);
                        }
                        self.drive_again(key);
                        return;
                    }
                }
            }
        }
        self.pool.put(origin, link);
        self.arm_upstream(link);
        if self.pool.has_waiting(origin) {
            self.vacancies.push(origin);
        }
    }

    /// Whether the exchange of `key` may use connections of `origin`: one of the same route may be another group's, or
    /// older than its retirement.
    fn is_for(&self, key: Key, origin: Key) -> bool {
        let destination = self.clients.at(key).and_then(|client| client.exchange.destination.as_ref());
        destination.is_some_and(|destination| destination.origin == origin)
    }

    /// Takes the connection away from an exchange that we answer ourselves.
    pub(crate) fn drop_link(&mut self, key: Key) {
        if let Some(link) = self.clients.at_mut(key).and_then(|client| client.exchange.link.take()) {
            self.drop_upstream(link);
        }
    }

    /// Closes a connection that is not in the pool and returns its permit.
    pub(crate) fn drop_upstream(&mut self, link: Key) {
        drop(self.close_upstream(link, Ending::Plain));
    }

    /// Closes a connection that is not in the pool; its permit is the caller's.
    fn close_upstream(&mut self, link: Key, ending: Ending) -> Option<Permit> {
        let mut upstream = self.upstreams.remove(link)?;
        if ending == Ending::Plain {
            upstream.leg.farewell(&mut self.io, &mut self.bufs);
        }
        let (leg, permit) = self.take_apart(upstream);
        if ending == Ending::Reset {
            self.io.reset(leg.socket);
        }
        Some(permit)
    }

    /// Gives back what a connection held that is no more; its leg and its permit are the caller's.
    pub(crate) fn take_apart(&mut self, upstream: Upstream<I::Socket>) -> (Leg<I::Socket>, Permit) {
        let Upstream { mut leg, permit, origin, shaking, .. } = upstream;
        leg.empty(&mut self.bufs);
        self.pipes.reclaim(&mut leg.pipe);
        if shaking {
            self.pool.end_handshake(origin);
            self.vacancies.push(origin);
        }
        self.pool.leave(origin);
        (leg, permit)
    }

    /// The client's connection is over, whatever its exchange was doing.
    pub(crate) fn close(&mut self, key: Key, ending: Ending) {
        if let Some(client) = self.clients.at_mut(key) {
            let exchange = &mut client.exchange;
            let is_tunnel = exchange.client() == ClientState::Tunnel;
            if let Some(record) = &mut exchange.record {
                record.aborted = !is_tunnel || exchange.fault.is_some();
            }
            if let Some(link) = exchange.link.take() {
                // Only a tunnel breaks off both ways: elsewhere the target has nothing to learn from it.
                drop(self.close_upstream(link, if is_tunnel { ending } else { Ending::Plain }));
            }
        }
        if let Some(client) = self.clients.at_mut(key) {
            let exchange = &mut client.exchange;
            if exchange.client() == ClientState::Tunnel && exchange.fault.is_none() {
                // It has served its time.
            } else if exchange.upstream() != UpstreamState::Absent
                && exchange.client() != ClientState::Lingering
            {
                if exchange.fault.is_none() {
                    exchange.fault = Some(What::ClientGone);
                    self.stats.count(Counter::ClientGone);
                } else if exchange.discarded.is_none() {
                    self.stats.count(Counter::Aborted);
                }
            } else if exchange.client() == ClientState::Lingering {
                exchange.fault = None;
            }
        }
        self.conclude(key);
        let Some(mut client) = self.clients.remove(key) else { return };
        self.strangers -= usize::from(client.strange);
        if ending == Ending::Plain {
            client.leg.farewell(&mut self.io, &mut self.bufs);
        }
        client.leg.empty(&mut self.bufs);
        self.pipes.reclaim(&mut client.leg.pipe);
        if client.admitted {
            if client.exchange.client() == ClientState::Handshake {
                self.bufs.end_handshake();
            }
            self.bufs.end_exchange();
        }
        if ending == Ending::Reset {
            self.io.reset(client.leg.socket);
        }
    }

    /// An idle connection had an event: the origin has closed it, or spoke unasked, or it was nothing.
    pub(crate) fn look_at_idle(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.at_mut(key) else { return };
        if !pump::is_silent(&mut self.io, &mut self.bufs, &mut upstream.leg) {
            self.stats.count(Counter::IdleLost);
            self.drop_idle(key);
        }
    }

    /// Takes an idle connection out of the pool and closes it.
    pub(crate) fn drop_idle(&mut self, key: Key) {
        if let Some(origin) = self.upstreams.at(key).map(|upstream| upstream.origin) {
            self.pool.remove(origin, key);
            self.drop_upstream(key);
        }
    }

    /// Notes that `key`'s exchange got its connection `link`.
    pub(crate) fn attach(&mut self, key: Key, link: Key) {
        let (Some(client), Some(upstream)) = (self.clients.at_mut(key), self.upstreams.at_mut(link)) else {
            return;
        };
        let exchange = &mut client.exchange;
        if let Some(record) = &mut exchange.record {
            let port = exchange.destination.as_ref().map_or(0, |destination| destination.target.port);
            let address = SocketAddr::new(upstream.address, port);
            record.take_link(Reuse::Reused, address, upstream.tls.as_deref());
        }
        upstream.client = Some(key);
        exchange.link = Some(link);
        exchange.queued = false;
        exchange.dial = None;
        exchange.reused = true;
        if exchange.ask.idempotent && exchange.client() == ClientState::Done {
            exchange.replay = Some(client.leg.inbound.as_ref().map_or(0, |buf| buf.mark() as u32));
        }
        exchange.upstream_on(UpstreamEvent::Open);
        client.since = self.now;
        self.stats.count(Counter::Reused);
        if let Some(log) = &self.config.request_log {
            log.connection(link, format_args!("Connection leased"));
        }
    }
}
