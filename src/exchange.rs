//! One exchange: a request and its answer, and every state change of both sides.
//!
//! ```text
//! client    Preface --Greet--> Handshake --Secure--> Idle   (only where the listener speaks the PROXY protocol, TLS)
//!           Preface --Announce--> Idle
//!
//!           Idle --Begin--> Head --Request--> Body --End--> Done --Renew--> Idle
//!                            |                 |             |
//!                            +-----Abandon-----+----> Done   +--Linger--> Lingering
//!                                                             +--Switch--> Tunnel
//!
//! upstream  Absent --Ask--> Wanted --Resolve--> Resolving
//!                             |                   |
//!                             +------Queue--------+--> Queued
//!                             |                   |       |
//!                             +-------Dial--------+-------+--> Connecting --Dial--> Connecting
//!                             |                   |       |       |    ^
//!                             |                   |       |     Shake  |Dial
//!                             |                   |       |       v    |
//!                             |                   |       |      Handshake
//!                             |                   |       |       |
//!                             +-------Open--------+-------+-------+--> Head --Answer--> Body --End--> Done
//!                                                                       |                              |
//!                             Wanted <------------Retry-----------------+          Absent <---Renew----+
//!           Wanted --Verify--> Verifying --Pass--> Wanted   (a password, off the loop)
//!           Wanted --Reload--> Reloading   (the shell goes to the target, and we answer)
//!           Wanted to Handshake --Reroute--> Wanted   (another target of the same route)
//!           Connecting (CONNECT), Head (an upgrade) --Switch--> Tunnel   (both sides at once)
//!           any but Body, Done and Tunnel --Refuse--> Done
//! ```
//! A request head and its body are followed by `End` at once when there is no body; the same holds for an answer.
//! The connection closes from any state; that is no transition, the pair is gone.

use crate::access::record::Record;
use crate::attempt::{CompatLine, Dial};
use crate::balance::Lead;
use crate::buf::Lease;
use crate::fault::What;
use crate::http::framer::Framer;
use crate::http::framing::Framing;
use crate::key::Key;
use crate::permits::Permit;
use crate::policy::proxy_auth::Login;
use crate::pool::Destination;
use crate::request_log::Heard;
use crate::time::Now;
use std::rc::Rc;
use std::sync::Arc;

/// Where the client's side of an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Its PROXY protocol header is arriving.
    Preface,
    /// Its TLS handshake is under way.
    Handshake,
    /// Between requests.
    Idle,
    /// A request head is arriving.
    Head,
    /// The request's body is arriving.
    Body,
    /// The request is complete, or what is left of it will not be read as a request.
    Done,
    /// The answer is out; what still arrives is dropped until the client closes.
    Lingering,
    /// No requests any more: bytes go through as they are, until both ends have ended.
    Tunnel,
}

/// What happens to the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The PROXY protocol header is complete, and TLS follows.
    Greet,
    /// It is complete, and requests follow.
    Announce,
    /// The TLS handshake is complete.
    Secure,
    /// The first byte of a request arrived.
    Begin,
    /// The head is complete.
    Request,
    /// The body is complete.
    End,
    /// The rest of the request will not be read as a request.
    Abandon,
    /// The exchange is over and another may follow.
    Renew,
    /// The exchange is over and the connection is to close.
    Linger,
    /// The connection becomes a tunnel.
    Switch,
}

impl ClientState {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Preface,
        Self::Handshake,
        Self::Idle,
        Self::Head,
        Self::Body,
        Self::Done,
        Self::Lingering,
        Self::Tunnel,
    ];

    /// The state after `event`; `None` when it cannot happen here.
    pub const fn on(self, event: ClientEvent) -> Option<Self> {
        use ClientEvent as E;
        match (self, event) {
            (Self::Idle, E::Begin) => Some(Self::Head),
            (Self::Head, E::Request) => Some(Self::Body),
            (Self::Body, E::End) | (Self::Head | Self::Body, E::Abandon) => Some(Self::Done),
            (Self::Preface, E::Greet) => Some(Self::Handshake),
            (Self::Preface, E::Announce) | (Self::Handshake, E::Secure) | (Self::Done, E::Renew) => {
                Some(Self::Idle)
            }
            (Self::Done, E::Linger) => Some(Self::Lingering),
            (Self::Done, E::Switch) => Some(Self::Tunnel),
            _ => None,
        }
    }
}

impl ClientEvent {
    /// Every event.
    pub const ALL: &[Self] = &[
        Self::Greet,
        Self::Announce,
        Self::Secure,
        Self::Begin,
        Self::Request,
        Self::End,
        Self::Abandon,
        Self::Renew,
        Self::Linger,
        Self::Switch,
    ];
}

/// Where the upstream side of an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamState {
    /// No request yet.
    Absent,
    /// A request needs a connection.
    Wanted,
    /// The client's password is being verified.
    Verifying,
    /// The certificate of the target is being added to those we trust.
    Reloading,
    /// It waits for a permit.
    Queued,
    /// The target's name is being resolved.
    Resolving,
    /// A connection is opening.
    Connecting,
    /// Its TLS handshake is under way.
    Handshake,
    /// The head of the answer is awaited; interim answers do not end this.
    Head,
    /// The body of the answer is arriving.
    Body,
    /// The answer is complete: the origin's or our own.
    Done,
    /// No answers any more: bytes go through as they are.
    Tunnel,
}

/// What happens to the upstream side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamEvent {
    /// A request has a destination.
    Ask,
    /// The client's password has to be verified first.
    Verify,
    /// It is right.
    Pass,
    /// It asks for a reload instead of a connection.
    Reload,
    /// A pool limit is reached.
    Queue,
    /// The name has to be asked for.
    Resolve,
    /// A connection is begun.
    Dial,
    /// A connection is there and begins its TLS handshake.
    Shake,
    /// A connection is there and can carry the request.
    Open,
    /// The final head of the answer is complete.
    Answer,
    /// The answer is complete.
    End,
    /// The connection becomes a tunnel.
    Switch,
    /// A reused connection failed and the request may be sent again.
    Retry,
    /// The target could not be reached, and another one is asked.
    Reroute,
    /// We answer ourselves.
    Refuse,
    /// The exchange is over and another may follow.
    Renew,
}

impl UpstreamState {
    /// Every state.
    pub const ALL: &[Self] = &[
        Self::Absent,
        Self::Wanted,
        Self::Verifying,
        Self::Reloading,
        Self::Queued,
        Self::Resolving,
        Self::Connecting,
        Self::Handshake,
        Self::Head,
        Self::Body,
        Self::Done,
        Self::Tunnel,
    ];

    /// Whether the head of a final answer has been decided.
    pub const fn has_answer(self) -> bool {
        matches!(self, Self::Body | Self::Done | Self::Tunnel)
    }

    /// Whether a connection is there that takes the request.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Head | Self::Body | Self::Done)
    }

    /// The state after `event`; `None` when it cannot happen here.
    pub const fn on(self, event: UpstreamEvent) -> Option<Self> {
        use UpstreamEvent as E;
        match (self, event) {
            (Self::Absent, E::Ask)
            | (Self::Head, E::Retry)
            | (Self::Verifying, E::Pass)
            | (
                Self::Wanted | Self::Queued | Self::Resolving | Self::Connecting | Self::Handshake,
                E::Reroute,
            ) => Some(Self::Wanted),
            (Self::Wanted, E::Verify) => Some(Self::Verifying),
            (Self::Wanted, E::Reload) => Some(Self::Reloading),
            (Self::Wanted, E::Resolve) => Some(Self::Resolving),
            (Self::Wanted | Self::Resolving, E::Queue) => Some(Self::Queued),
            (Self::Wanted | Self::Queued | Self::Resolving | Self::Connecting | Self::Handshake, E::Dial) => {
                Some(Self::Connecting)
            }
            (Self::Connecting, E::Shake) => Some(Self::Handshake),
            (Self::Wanted | Self::Resolving | Self::Queued | Self::Connecting | Self::Handshake, E::Open) => {
                Some(Self::Head)
            }
            (Self::Head, E::Answer) => Some(Self::Body),
            (Self::Body, E::End) => Some(Self::Done),
            (Self::Connecting | Self::Head, E::Switch) => Some(Self::Tunnel),
            // Once an answer has begun there is no other.
            (state, E::Refuse) if !state.has_answer() => Some(Self::Done),
            (Self::Done, E::Renew) => Some(Self::Absent),
            _ => None,
        }
    }
}

impl UpstreamEvent {
    /// Every event.
    pub const ALL: &[Self] = &[
        Self::Ask,
        Self::Verify,
        Self::Pass,
        Self::Reload,
        Self::Queue,
        Self::Resolve,
        Self::Dial,
        Self::Shake,
        Self::Open,
        Self::Answer,
        Self::End,
        Self::Switch,
        Self::Retry,
        Self::Reroute,
        Self::Refuse,
        Self::Renew,
    ];
}

/// What the request asked of us, kept after its head has gone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// HEAD: the answer has no body.
    pub head: bool,
    /// HTTP/1.0: no chunked and no interim answers.
    pub version10: bool,
    /// The client wants its connection to stay open.
    pub keep_alive: bool,
    /// The client prefers JSON for our own answers.
    pub json: bool,
    /// The client may be waiting for 100 (Continue) before it sends its body.
    pub expects: bool,
    /// The request may be repeated without another effect (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// CONNECT: a tunnel is asked for.
    pub connect: bool,
    /// The origin was asked to switch protocols, which makes a tunnel of the connections.
    pub upgrade: bool,
}

/// One way through a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Bytes sent on.
    pub bytes: u64,
    /// The end was passed on as well.
    pub ended: bool,
}

/// A tunnel: what went through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// From the client to the target.
    pub up: Way,
    /// From the target to the client.
    pub down: Way,
}

/// One request and its answer.
#[derive(Debug)]
pub struct Exchange {
    client: ClientState,
    upstream: UpstreamState,
    /// How the request's body ends.
    pub request: Framer,
    /// How the answer's body ends.
    pub response: Framer,
    /// What the request asked of us.
    pub ask: Ask,
    /// Where it goes.
    pub destination: Option<Rc<Destination>>,
    /// The target of a route that it is with (reverse listeners).
    pub lead: Option<Lead>,
    /// The outgoing request head.
    pub forward: Option<Lease>,
    /// The outgoing answer head, or our own answer.
    pub answer: Option<Lease>,
    /// The connection that serves it.
    pub link: Option<Key>,
    /// The credential that is to be verified first.
    pub login: Option<Arc<Login>>,
    /// It asks for a reload (`x-reload-httpclient`), not for an answer of the target.
    pub reload: bool,
    /// The client's connection closes after the answer.
    pub close: bool,
    /// Part of the request was never read: the connection lingers.
    pub unread: bool,
    /// The request's body is dropped instead of passed on; so many bytes of it so far.
    pub discarded: Option<u64>,
    /// The connection came from the pool.
    pub reused: bool,
    /// The origin's connection can carry another exchange.
    pub reusable: bool,
    /// The answer says so itself: close-delimited, its end is the end of the connection.
    pub until_close: bool,
    /// Where the body begins in the client's inbound buffer, while request and body are kept to be sent again.
    pub replay: Option<u32>,
    /// It stood in the queue for a permit.
    pub queued: bool,
    /// It waits for a handshake with its origin to end, before it asks for a permit.
    pub awaits_handshake: bool,
    /// The request was sent again once already.
    pub retried: bool,
    /// A byte of the request went out on this connection.
    pub sent: bool,
    /// A byte of an answer came in on this connection.
    pub received: bool,
    /// Interim answers so far.
    pub interims: u8,
    /// When its first byte arrived.
    pub began: Now,
    /// When its head was complete.
    pub asked: Now,
    /// Why we answer ourselves or cut it off.
    pub fault: Option<What>,
    /// The right to open a connection, while there is none.
    pub permit: Option<Permit>,
    /// The attempts to connect.
    pub dial: Option<Box<Dial>>,
    /// For the legacy's error text.
    pub compat: Option<Box<CompatLine>>,
    /// For its line in the log, if it gets one.
    pub record: Option<Box<Record>>,
    /// For the legacy's line about the request.
    pub heard: Option<Box<Heard>>,
    /// What went through, once it is a tunnel.
    pub tunnel: Option<Box<Tunnel>>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            client: ClientState::Idle,
            upstream: UpstreamState::Absent,
            request: Framer::new(Framing::None, false),
            response: Framer::new(Framing::None, false),
            ask: Ask::default(),
            destination: None,
            lead: None,
            forward: None,
            answer: None,
            link: None,
            login: None,
            reload: false,
            close: false,
            unread: false,
            discarded: None,
            reused: false,
            reusable: false,
            until_close: false,
            replay: None,
            queued: false,
            awaits_handshake: false,
            retried: false,
            sent: false,
            received: false,
            interims: 0,
            began: Now(0),
            asked: Now(0),
            fault: None,
            permit: None,
            dial: None,
            compat: None,
            record: None,
            heard: None,
            tunnel: None,
        }
    }
}

impl Exchange {
    /// Where the client's side stands.
    pub const fn client(&self) -> ClientState {
        self.client
    }

    /// Where the upstream side stands.
    pub const fn upstream(&self) -> UpstreamState {
        self.upstream
    }

    /// Moves the client's side.
    pub fn client_on(&mut self, event: ClientEvent) {
        self.client = self
            .client
            .on(event)
            .unwrap_or_else(|| unreachable!("{event:?} cannot happen to a client in {:?}", self.client));
    }

    /// Moves the upstream side.
    pub fn upstream_on(&mut self, event: UpstreamEvent) {
        self.upstream = self
            .upstream
            .on(event)
            .unwrap_or_else(|| unreachable!("{event:?} cannot happen to an upstream in {:?}", self.upstream));
    }

    /// An exchange before which something else has to come: the PROXY protocol header, the client's TLS handshake.
    pub fn behind(client: ClientState) -> Self {
        Self { client, ..Self::default() }
    }

    /// Starts anew on the same connection; only a finished exchange can.
    pub fn renew(&mut self) {
        self.client_on(ClientEvent::Renew);
        self.upstream_on(UpstreamEvent::Renew);
        *self = Self::default();
    }

    /// Whether the head of a final answer has been decided, so that no other answer can be given.
    pub const fn answered(&self) -> bool {
        self.upstream.has_answer()
    }

    /// Whether the request can be sent again on a fresh connection after its reused one failed (contract §3).
    pub const fn may_retry(&self) -> bool {
        let intact = !self.sent || (self.replay.is_some() && self.ask.idempotent);
        matches!(self.upstream, UpstreamState::Head)
            && self.reused
            && !self.retried
            && !self.received
            && self.interims == 0
            && intact
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn table<S: Copy + std::fmt::Debug, E: Copy + std::fmt::Debug>(
        states: &[S],
        events: &[E],
        on: impl Fn(S, E) -> Option<S>,
    ) -> String {
        let mut text = String::new();
        for state in states {
            for event in events {
                if let Some(next) = on(*state, *event) {
                    writeln!(text, "{state:?} {event:?} {next:?}").expect("a string grows");
                }
            }
        }
        text
    }

    /// Every (state, event) pair that is not listed is impossible.
    #[test]
    fn the_client_table_is_the_drawing() {
        let golden = "\
Preface Greet Handshake
Preface Announce Idle
Handshake Secure Idle
Idle Begin Head
Head Request Body
Head Abandon Done
Body End Done
Body Abandon Done
Done Renew Idle
Done Linger Lingering
Done Switch Tunnel
";
        assert_eq!(table(ClientState::ALL, ClientEvent::ALL, ClientState::on), golden);
    }

    #[test]
    fn the_upstream_table_is_the_drawing() {
        let golden = "\
Absent Ask Wanted
Absent Refuse Done
Wanted Verify Verifying
Wanted Reload Reloading
Wanted Queue Queued
Wanted Resolve Resolving
Wanted Dial Connecting
Wanted Open Head
Wanted Reroute Wanted
Wanted Refuse Done
Verifying Pass Wanted
Verifying Refuse Done
Reloading Refuse Done
Queued Dial Connecting
Queued Open Head
Queued Reroute Wanted
Queued Refuse Done
Resolving Queue Queued
Resolving Dial Connecting
Resolving Open Head
Resolving Reroute Wanted
Resolving Refuse Done
Connecting Dial Connecting
Connecting Shake Handshake
Connecting Open Head
Connecting Switch Tunnel
Connecting Reroute Wanted
Connecting Refuse Done
Handshake Dial Connecting
Handshake Open Head
Handshake Reroute Wanted
Handshake Refuse Done
Head Answer Body
Head Switch Tunnel
Head Retry Wanted
Head Refuse Done
Body End Done
Done Renew Absent
";
        assert_eq!(table(UpstreamState::ALL, UpstreamEvent::ALL, UpstreamState::on), golden);
    }

    #[test]
    fn a_request_is_repeated_only_when_that_is_safe() {
        let base = || {
            let mut exchange = Exchange { reused: true, ..Exchange::default() };
            exchange.upstream_on(UpstreamEvent::Ask);
            exchange.upstream_on(UpstreamEvent::Open);
            exchange
        };
        assert!(base().may_retry());
        assert!(!Exchange { reused: false, ..base() }.may_retry());
        assert!(!Exchange { retried: true, ..base() }.may_retry());
        assert!(!Exchange { received: true, ..base() }.may_retry());
        assert!(!Exchange { sent: true, ..base() }.may_retry());
        assert!(!Exchange { sent: true, replay: Some(0), ..base() }.may_retry());
        let idempotent = Ask { idempotent: true, ..Ask::default() };
        assert!(Exchange { sent: true, replay: Some(0), ask: idempotent, ..base() }.may_retry());
        assert!(!Exchange { sent: true, ask: idempotent, ..base() }.may_retry());
    }
}
