//! The two kinds of occupants of a worker: clients, and the upstreams that serve them or wait in the pool.

use crate::exchange::{ClientState, Exchange, UpstreamState};
use crate::http::head::HeadScan;
use crate::key::Key;
use crate::leg::Leg;
use crate::permits::Permit;
use crate::time::Now;
use crate::wait::Wait;
use std::net::IpAddr;

/// A client connection and the exchange it is in.
#[derive(Debug)]
pub struct Client<S> {
    /// Its socket.
    pub leg: Leg<S>,
    /// What it is doing.
    pub exchange: Exchange,
    /// How far its inbound bytes were searched for the end of a head.
    pub scan: HeadScan,
    /// Its address.
    pub address: IpAddr,
    /// `proxy.ip.allow` does not name it: judged once, answered to each request.
    pub denied: bool,
    /// Requests it has made.
    pub requests: u32,
    /// Its buffers are promised.
    pub admitted: bool,
    /// It stands in the worker's `again` queue.
    pub again: bool,
    /// It stands in the worker's `starved` queue.
    pub starved: bool,
    /// When the present wait began: the last progress.
    pub since: Now,
    /// When the wheel looks at it next.
    pub look: Now,
}

impl<S> Client<S> {
    /// A client that has just been accepted.
    pub fn new(socket: S, address: IpAddr, denied: bool, now: Now) -> Self {
        let mut leg = Leg::new(socket);
        leg.ready.writable = true;
        Self {
            leg,
            exchange: Exchange::default(),
            scan: HeadScan::default(),
            address,
            denied,
            requests: 0,
            admitted: false,
            again: false,
            starved: false,
            since: now,
            look: Now::NEVER,
        }
    }

    /// What the pair waits for now.
    pub fn wait(&self, upstream: Option<&Upstream<S>>) -> Wait {
        match self.exchange.client() {
            ClientState::Idle => return Wait::Idle,
            ClientState::Head => return Wait::Head,
            ClientState::Lingering => return Wait::Linger,
            ClientState::Body | ClientState::Done => {}
        }
        match self.exchange.upstream() {
            UpstreamState::Queued => return Wait::Queue,
            UpstreamState::Resolving | UpstreamState::Connecting => return Wait::Connect,
            UpstreamState::Absent
            | UpstreamState::Wanted
            | UpstreamState::Head
            | UpstreamState::Body
            | UpstreamState::Done => {}
        }
        if self.has_answer_to_send(upstream) {
            Wait::ClientSend
        } else if self.has_request_to_send() || self.exchange.client() == ClientState::Done {
            Wait::Response
        } else {
            Wait::Body
        }
    }

    /// Whether something waits to go to the client.
    pub fn has_answer_to_send(&self, upstream: Option<&Upstream<S>>) -> bool {
        self.exchange.answer.is_some() || upstream.is_some_and(|upstream| !upstream.leg.passed().is_empty())
    }

    /// Whether something waits to go to the upstream.
    pub fn has_request_to_send(&self) -> bool {
        self.exchange.forward.as_ref().is_some_and(|buf| !buf.passed().is_empty())
            || !self.leg.passed().is_empty()
    }
}

/// An upstream connection: dialling, serving a client, or idle in the pool.
#[derive(Debug)]
pub struct Upstream<S> {
    /// Its socket.
    pub leg: Leg<S>,
    /// The client it serves; `None` while it is pooled.
    pub client: Option<Key>,
    /// The origin it belongs to.
    pub origin: Key,
    /// The right to exist.
    pub permit: Permit,
    /// How far its inbound bytes were searched for the end of a head.
    pub scan: HeadScan,
    /// When it was dialled, or became idle.
    pub since: Now,
    /// When it leaves the pool unless it is used.
    pub expires: Now,
    /// When the wheel looks at it next.
    pub look: Now,
}
/// An idle client costs this, its socket and nothing else.
const _: () = assert!(size_of::<Client<u32>>() <= 320);
