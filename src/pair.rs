//! The two kinds of occupants of a worker: clients, and the upstreams that serve them or wait in the pool.

use crate::access::record::TargetTls;
use crate::buf::BufPool;
use crate::crowd::Place;
use crate::engine::{Config, Kind};
use crate::exchange::{ClientState, Exchange, UpstreamState};
use crate::http::head::HeadScan;
use crate::io::Io;
use crate::key::Key;
use crate::leg::Leg;
use crate::permits::Permit;
use crate::policy::egress::Ground;
use crate::policy::groups::GroupNumber;
use crate::policy::subject_rule::{Subject, SubjectRules};
use crate::preface::Preface;
use crate::secure::Secure;
use crate::time::{Millis, Now};
use crate::tls::certificate::Certificate;
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
    /// The listener it came through, an index into the configuration's.
    pub listener: u8,
    /// The host it asked a reverse listener for, in lower case; kept from request to request, for it rarely changes.
    pub host: Box<[u8]>,
    /// Its address: the socket's, or what a proxy that is believed tells of it.
    pub address: IpAddr,
    /// The address of that proxy, where it relays requests of clients that it names in `X-Forwarded-For`.
    pub relayed: Option<Box<IpAddr>>,
    /// The PROXY protocol header that is arriving.
    pub preface: Option<Box<Preface>>,
    /// It counts among the connections of its client.
    pub place: Option<Box<Place>>,
    /// Its port.
    pub port: u16,
    /// Its group (`proxy.groups`).
    pub group: GroupNumber,
    /// It may not enter: answered to each request.
    pub denied: bool,
    /// It counts among the worker's strangers.
    pub strange: bool,
    /// Requests it has made.
    pub requests: u32,
    /// Its buffers are promised.
    pub admitted: bool,
    /// It stands in the worker's `again` queue.
    pub again: bool,
    /// It stands in the worker's `starved` queue.
    pub starved: bool,
    /// It stands in the worker's `shaking` queue.
    pub shaking: bool,
    /// When the present wait began: the last progress.
    pub since: Now,
    /// When the wheel looks at it next.
    pub look: Now,
}

impl<S> Client<S> {
    /// A client that has just been accepted; with `secure`, its TLS handshake comes first.
    pub fn new(socket: S, secure: Option<Box<Secure>>, listener: u8, address: IpAddr, now: Now) -> Self {
        let exchange =
            if secure.is_some() { Exchange::behind(ClientState::Handshake) } else { Exchange::default() };
        let mut leg = Leg::new(socket, secure);
        leg.ready.writable = true;
        Self {
            leg,
            exchange,
            scan: HeadScan::default(),
            listener,
            host: Box::default(),
            address,
            relayed: None,
            preface: None,
            place: None,
            port: 0,
            group: 0,
            denied: false,
            strange: false,
            requests: 0,
            admitted: false,
            again: false,
            starved: false,
            shaking: false,
            since: now,
            look: Now::NEVER,
        }
    }

    /// Notes the host it asks for.
    pub fn note_host(&mut self, host: &[u8]) {
        if !self.host.eq_ignore_ascii_case(host) {
            self.host = host.to_ascii_lowercase().into();
        }
    }

    /// The subject of the certificate it showed, for logs and policy; read anew each time, because it is rarely wanted.
    pub fn subject(&self) -> Option<String> {
        let certificates = self.leg.secure.as_ref()?.session.peer_certificates();
        Certificate::read(certificates.first()?).map(|certificate| certificate.subject_text())
    }

    /// It has this address, by its socket or by the PROXY protocol.
    pub fn arrive(&mut self, address: IpAddr, config: &Config) {
        self.relayed = config.trusted_proxies.trust(address).then(|| Box::new(address));
        self.admit(address, config);
    }

    /// Judges whether the client at `address` may enter, and finds its group: when it arrives, when its handshake has shown
    /// a certificate, and with each request that was relayed for somebody else.
    pub fn admit(&mut self, address: IpAddr, config: &Config) {
        self.address = address;
        let forward = config.listener(self.listener).kind == Kind::Forward;
        let (groups, subjects) = (&config.egress.groups, config.client_subjects.as_ref().filter(|_| forward));
        let shown = self.leg.secure.as_ref().filter(|_| groups.look_at_subjects() || subjects.is_some());
        let shown = shown.and_then(|secure| secure.session.peer_certificates().first());
        let subject = shown.and_then(|leaf| Subject::read(leaf));
        self.group = groups.of(address, subject.as_ref());
        let state = self.exchange.client();
        // A certificate is still to come, or the header that tells for whom a request was relayed.
        let unshown = matches!(state, ClientState::Preface | ClientState::Handshake);
        let untold = self.relayed.is_some() && state != ClientState::Head;
        let named = |rules: &SubjectRules| subject.as_ref().is_some_and(|subject| rules.name(subject));
        let entitled = subjects.is_none_or(|rules| unshown || named(rules));
        self.denied = !entitled || !(untold || config.admits(self.listener, address));
    }

    /// What the pair waits for now.
    pub fn wait(&self, upstream: Option<&Upstream<S>>) -> Wait {
        match self.exchange.client() {
            ClientState::Preface => return Wait::Preface,
            ClientState::Handshake => return Wait::Handshake,
            // A part of a TLS record is the beginning of a request that takes its time.
            ClientState::Idle if self.leg.has_sealed() => return Wait::Head,
            ClientState::Idle => return Wait::Idle,
            ClientState::Head => return Wait::Head,
            ClientState::Lingering => return Wait::Linger,
            ClientState::Tunnel => return Wait::Tunnel,
            ClientState::Body | ClientState::Done => {}
        }
        match self.exchange.upstream() {
            UpstreamState::Queued => return Wait::Queue,
            UpstreamState::Verifying => return Wait::Verify,
            UpstreamState::Reloading => return Wait::Reload,
            UpstreamState::Resolving | UpstreamState::Connecting => return Wait::Connect,
            UpstreamState::Handshake => return Wait::UpstreamHandshake,
            UpstreamState::Absent
            | UpstreamState::Wanted
            | UpstreamState::Head
            | UpstreamState::Body
            | UpstreamState::Done
            | UpstreamState::Tunnel => {}
        }
        if self.has_answer_to_send(upstream) {
            Wait::ClientSend
        } else if self.has_request_to_send(upstream) || self.exchange.client() == ClientState::Done {
            Wait::Response
        } else {
            Wait::Body
        }
    }

    /// How long this wait may last, where the target has a time of its own for it.
    pub fn own_span(&self, wait: Wait) -> Option<Millis> {
        let profile = &self.exchange.destination.as_ref()?.profile;
        match wait {
            Wait::Connect => profile.connect,
            Wait::Response => profile.response,
            _ => None,
        }
    }

    /// Whether something waits to go to the client.
    pub fn has_answer_to_send(&self, upstream: Option<&Upstream<S>>) -> bool {
        self.exchange.answer.is_some()
            || self.leg.has_unsent()
            || upstream.is_some_and(|upstream| upstream.leg.has_passed())
    }

    /// Behind the last answer of a connection TLS says that nothing follows: it belongs to an answer that ends there, so
    /// it waits for room like the rest. A request that still goes on has its end first: nothing that a client sends is
    /// opened once we have said ours. Says whether it had still to be said.
    pub fn end_answers(
        &mut self,
        io: &mut impl Io<Socket = S>,
        bufs: &mut BufPool,
        upstream: Option<&Upstream<S>>,
    ) -> bool {
        let last = self.exchange.upstream() == UpstreamState::Done && self.exchange.close;
        let heard = self.exchange.client() == ClientState::Done
            || upstream.is_none_or(|upstream| upstream.leg.is_over());
        last && heard && !self.has_answer_to_send(upstream) && self.leg.farewell(io, bufs)
    }

    /// Between requests no promise is kept without a byte of the next: what was held may have been TLS's own, a ticket
    /// or its half.
    pub fn release_idle(&mut self, bufs: &mut BufPool) {
        if self.exchange.client() == ClientState::Idle && self.admitted && !self.leg.is_holding() {
            self.admitted = false;
            bufs.end_exchange();
        }
    }

    /// Whether something waits to go to the upstream.
    pub fn has_request_to_send(&self, upstream: Option<&Upstream<S>>) -> bool {
        self.exchange.forward.as_ref().is_some_and(|buf| !buf.passed().is_empty())
            || self.leg.has_passed()
            || upstream.is_some_and(|upstream| upstream.leg.has_unsent())
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
    /// The address it leads to.
    pub address: IpAddr,
    /// Why the egress policy would deny that address, were it not only to report.
    pub reported: Option<Ground>,
    /// What logs show of its TLS, if it has one.
    pub tls: Option<Box<TargetTls>>,
    /// The right to exist.
    pub permit: Permit,
    /// It counts among the handshakes of its origin.
    pub shaking: bool,
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
const _: () = assert!(size_of::<Client<u32>>() <= 408);
