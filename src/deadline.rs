//! Deadlines: what each connection waits for, when that is over, and what happens then.

use crate::exchange::{ClientState, UpstreamState};
use crate::fault::What;
use crate::io::Io;
use crate::key::{Key, Side};
use crate::pair::Client;
use crate::pump::Ending;
use crate::time::{Millis, Now};
use crate::tunnel;
use crate::wait::Wait;
use crate::worker::Worker;

/// While shutting down: how long an idle client may still begin a request, so that one already on its way is answered
/// (with `Connection: close`) instead of reset.
const DRAIN_GRACE: Millis = Millis(1000);

/// Whoever reloads keeps the time itself and may be a little late; this is for when it is stuck.
const RELOAD_GRACE: Millis = Millis(10_000);

impl<I: Io> Worker<I> {
    pub(crate) fn deadline(&self, client: &Client<I::Socket>) -> (Wait, Now) {
        let upstream = client.exchange.link.and_then(|link| self.upstreams.at(link));
        let wait = client.wait(upstream);
        let span = match wait {
            Wait::Idle if self.draining => DRAIN_GRACE,
            Wait::Idle if client.requests == 0 => {
                self.config.waits.of(Wait::Head).min(self.config.waits.of(Wait::Idle))
            }
            Wait::Reload => Millis(self.config.waits.of(Wait::Reload).0.saturating_add(RELOAD_GRACE.0)),
            other => {
                let own = self.route_span(client, other).or_else(|| client.own_span(other));
                own.unwrap_or_else(|| self.config.waits.of(other))
            }
        };
        (wait, client.since + span)
    }

    /// How long this wait may last, where the exchange's route has a time of its own for it.
    fn route_span(&self, client: &Client<I::Socket>, wait: Wait) -> Option<Millis> {
        let route = self.config.routes.at(client.exchange.lead?.route);
        match wait {
            Wait::Connect => route.connect,
            Wait::Response => route.response,
            _ => None,
        }
    }

    /// Makes sure the wheel looks at the client when its present wait is over.
    pub(crate) fn arm(&mut self, key: Key) {
        let Some(client) = self.clients.at(key) else { return };
        let (_, deadline) = self.deadline(client);
        if deadline < client.look {
            let look = self.wheel.insert(deadline, key.token(Side::Client) as u64, client.look);
            if let Some(client) = self.clients.at_mut(key) {
                client.look = look;
            }
        }
    }

    pub(crate) fn arm_upstream(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.at_mut(key) else { return };
        if upstream.expires < upstream.look {
            let token = key.token(Side::Upstream) as u64;
            upstream.look = self.wheel.insert(upstream.expires, token, upstream.look);
        }
    }

    pub(crate) fn look_at_upstream(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.at_mut(key) else { return };
        // A later look stands for this one.
        if upstream.look > self.now && upstream.look != Now::NEVER {
            return;
        }
        upstream.look = Now::NEVER;
        if upstream.client.is_some() {
            return;
        }
        if upstream.expires <= self.now {
            self.stats.count(Wait::UpstreamIdle.counter());
            self.drop_idle(key);
        } else {
            self.arm_upstream(key);
        }
    }

    pub(crate) fn look_at_client(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        // A later look stands for this one.
        if client.look > self.now && client.look != Now::NEVER {
            return;
        }
        client.look = Now::NEVER;
        let Some(client) = self.clients.at(key) else { return };
        let (wait, deadline) = self.deadline(client);
        if deadline <= self.now {
            self.expire(key, wait);
        } else {
            self.arm(key);
        }
    }

    /// A wait has run out.
    pub(crate) fn expire(&mut self, key: Key, wait: Wait) {
        if wait == Wait::Idle && self.clients.at(key).is_some_and(|client| client.starved) {
            // It has asked, and no buffer came free in time.
            self.turn_away(key);
            return;
        }
        self.stats.count(wait.counter());
        let state = self.state_of(key);
        let what = match (wait, state) {
            (Wait::ClientSend, _) => {
                if let Some(client) = self.clients.at_mut(key) {
                    client.exchange.fault.get_or_insert(What::ClientStalled);
                }
                self.close(key, Ending::Reset);
                return;
            }
            (Wait::Connect, Some(UpstreamState::Connecting)) => {
                self.give_up_address(key, What::ConnectTimeout);
                self.drive(key);
                return;
            }
            (Wait::Connect, _) => What::DnsTimeout,
            (Wait::UpstreamHandshake, _) => {
                self.give_up_address(key, What::TlsTimeout);
                self.drive(key);
                return;
            }
            (Wait::Preface | Wait::Handshake, _) => {
                if let (Some(client), Some(what)) = (self.clients.at_mut(key), wait.fault()) {
                    client.exchange.fault.get_or_insert(what);
                }
                self.close(key, Ending::Plain);
                return;
            }
            // What began a request in the middle of a TLS record never became one.
            (Wait::Head, _) if self.is_idle(key) => {
                self.close(key, Ending::Plain);
                return;
            }
            (Wait::Response, Some(UpstreamState::Head)) if self.is_sending(key) => What::SendTimeout,
            (Wait::Response, Some(UpstreamState::Done)) => {
                // The answer is out, the origin does not take the rest of the request.
                self.drop_link(key);
                self.drive(key);
                return;
            }
            (Wait::Tunnel, _) => {
                // What is stuck in it will never arrive, and its ends are not to take that for an end.
                let stuck = self.clients.at(key).is_some_and(|client| {
                    let upstream = client.exchange.link.and_then(|link| self.upstreams.at(link));
                    tunnel::is_carrying(client, upstream)
                });
                self.close(key, if stuck { Ending::Reset } else { Ending::Plain });
                return;
            }
            (other, _) => {
                let Some(what) = other.fault() else {
                    self.close(key, Ending::Plain);
                    return;
                };
                what
            }
        };
        self.refuse(key, what);
        self.drive(key);
    }

    fn is_idle(&self, key: Key) -> bool {
        self.clients.at(key).is_some_and(|client| client.exchange.client() == ClientState::Idle)
    }

    pub(crate) fn is_sending(&self, key: Key) -> bool {
        self.clients.at(key).is_some_and(|client| {
            let upstream = client.exchange.link.and_then(|link| self.upstreams.at(link));
            client.has_request_to_send(upstream)
        })
    }
}
