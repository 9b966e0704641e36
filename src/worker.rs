//! A worker: everything one core does, from an event to the next sleep, on whatever world [`Io`] shows it.
//!
//! The shell calls [`Worker::begin_turn`], hands in what happened ([`Worker::accept`], [`Worker::event`],
//! [`Worker::granted`], [`Worker::resolved`] …) and ends with [`Worker::end_turn`], which says how long to sleep.

use crate::access::journal::Journal;
use crate::balance::Balance;
use crate::buf::BufPool;
use crate::decisions::Decisions;
use crate::engine::Config;
use crate::exchange::{ClientEvent, ClientState, UpstreamState};
use crate::fault::What;
use crate::http::reply;
use crate::http::rewrite::ConnectionField;
use crate::intake;
use crate::io::{Io, Ready};
use crate::key::{Key, Side, Slots};
use crate::pair::{Client, Upstream};
use crate::passes::Passes;
use crate::permits::{Permits, WorkerId};
use crate::pipe::PipePool;
use crate::pool::Pool;
use crate::pump::{self, Step};
use crate::stats::{Counter, Stats};
use crate::time::{Millis, Now};
use crate::timer::Wheel;
use crate::told::Told;
use crate::turn::Turn;
use std::collections::VecDeque;
use std::sync::Arc;

/// Steps one pair may take in a row before others get their turn.
const STEPS_MAX: u32 = 16;
/// Clients above the limit that are told so instead of just being closed.
pub const REJECTS_MAX: usize = 64;
/// Clients that may not enter whom a worker comes to terms with at once in TLS, to tell them so.
pub const STRANGERS_MAX: usize = 64;

/// What a pair is pumped with, beside the pair itself: a macro, because the clients stay borrowed meanwhile.
macro_rules! turn_of {
    ($worker:ident) => {
        Turn {
            io: &mut $worker.io,
            bufs: &mut $worker.bufs,
            pipes: &mut $worker.pipes,
            pool: &mut $worker.pool,
            journal: &mut $worker.journal,
            balance: &mut $worker.balance,
            decisions: &mut $worker.decisions,
            passes: &$worker.passes,
            config: &$worker.config,
            stats: &$worker.stats,
            now: $worker.now,
            draining: $worker.draining,
        }
    };
}

/// The state of one worker.
pub struct Worker<I: Io> {
    /// The world.
    pub io: I,
    pub(crate) id: WorkerId,
    pub(crate) config: Arc<Config>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) permits: Arc<Permits>,
    pub(crate) clients: Slots<Client<I::Socket>>,
    pub(crate) upstreams: Slots<Upstream<I::Socket>>,
    pub(crate) bufs: BufPool,
    pub(crate) pipes: PipePool<I::Pipe>,
    pub(crate) pool: Pool,
    pub(crate) balance: Balance,
    pub(crate) passes: Passes,
    pub(crate) wheel: Wheel,
    pub(crate) journal: Journal,
    /// Pairs that ran out of budget.
    again: VecDeque<Key>,
    /// Clients whose buffers could not be promised.
    starved: VecDeque<Key>,
    /// Clients whose TLS handshake can go on.
    pub(crate) shaking: VecDeque<Key>,
    /// Clients the TLS handshake of whose upstream can go on.
    pub(crate) greeting: VecDeque<Key>,
    /// Origins with which a handshake has ended, or to which a connection is idle that somebody waits for.
    pub(crate) vacancies: Vec<Key>,
    /// Looks that are due; kept for its memory.
    due: Vec<u64>,
    /// What the log was told of failed handshakes.
    pub(crate) told: Told,
    /// What it was told of the egress policy.
    pub(crate) decisions: Decisions,
    /// Clients that may not enter and speak TLS.
    pub(crate) strangers: usize,
    pub(crate) now: Now,
    pub(crate) draining: bool,
}

impl<I: Io> Worker<I> {
    /// The same worker, as the successor of `incarnation` failed ones: no event or grant of theirs finds anybody.
    pub fn of_incarnation(mut self, incarnation: u8) -> Self {
        self.clients = Slots::of_incarnation(incarnation);
        self.upstreams = Slots::of_incarnation(incarnation);
        self
    }

    /// A worker that serves nobody yet.
    pub fn new(
        io: I,
        id: WorkerId,
        config: Arc<Config>,
        stats: Arc<Stats>,
        permits: Arc<Permits>,
        now: Now,
    ) -> Self {
        let bufs = BufPool::new(config.limits.exchanges_max, config.limits.large_max);
        let journal = Journal::new(Arc::clone(&config.recording));
        let balance = Balance::new(&config.routes);
        let pipes = PipePool::new(config.limits.pipes_max);
        Self {
            io,
            id,
            config,
            stats,
            permits,
            clients: Slots::default(),
            upstreams: Slots::default(),
            bufs,
            pipes,
            pool: Pool::default(),
            balance,
            passes: Passes::default(),
            wheel: Wheel::new(now),
            journal,
            again: VecDeque::new(),
            starved: VecDeque::new(),
            shaking: VecDeque::new(),
            greeting: VecDeque::new(),
            vacancies: Vec::new(),
            due: Vec::new(),
            told: Told::of("failed handshakes of clients"),
            decisions: Decisions::default(),
            strangers: 0,
            now,
            draining: false,
        }
    }

    /// A turn begins: this is its time.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.stats.count(Counter::Turns);
    }

    /// Everything that happened was handed in: looks at deadlines and at those who wait for their turn. Returns how
    /// long to sleep at most; `None` is until something happens.
    pub fn end_turn(&mut self) -> Option<Millis> {
        for _ in 0..self.again.len() {
            let Some(key) = self.again.pop_front() else { break };
            if let Some(client) = self.clients.at_mut(key) {
                client.again = false;
                self.drive(key);
            }
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now, &mut due);
        for token in due.drain(..) {
            match Key::from_token(token as usize) {
                (Side::Client, key) => self.look_at_client(key),
                (Side::Upstream, key) => self.look_at_upstream(key),
            }
        }
        self.due = due;
        self.take_shakes();
        while let Some(origin) = self.vacancies.pop() {
            self.wake_waiting(origin);
        }
        self.feed_starved();
        self.stats.set(Counter::ClientsNow, self.clients.len());
        self.stats.set(Counter::UpstreamsNow, self.upstreams.len());
        self.stats.set(Counter::IdleNow, self.pool.idle_len());
        self.stats.set(Counter::ExchangesNow, self.bufs.exchanges());
        let busy = !self.again.is_empty()
            || !self.shaking.is_empty()
            || !self.greeting.is_empty()
            || !self.vacancies.is_empty();
        let lines_due = self.journal.hand_over_due(&mut self.io, self.now);
        let waits = [self.wheel.wait(self.now), lines_due];
        if busy { Some(Millis(0)) } else { waits.into_iter().flatten().min() }
    }

    /// Tells an idle client that we are at our limit, without any buffer of an exchange, and lets it linger.
    pub(crate) fn turn_away(&mut self, key: Key) {
        self.answer_at_once(key, What::Overloaded);
    }

    /// Answers a client that has not asked yet, and lets it linger.
    pub(crate) fn answer_at_once(&mut self, key: Key, what: What) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let mut text = [0; 512];
        let ask = reply::Ask { head: false, json: false, connection: ConnectionField::Close, compat: None };
        let len = reply::reply(what, &ask, &mut text).expect("a canned answer fits");
        self.stats.count(Counter::Refusals);
        let sent = client.leg.send(&mut self.io, &mut self.bufs, &text[..len], &[]);
        self.stats.add(Counter::BytesToClients, sent.taken);
        client.leg.finish(&mut self.io, &mut self.bufs);
        client.leg.empty(&mut self.bufs);
        for event in [ClientEvent::Begin, ClientEvent::Abandon, ClientEvent::Linger] {
            client.exchange.client_on(event);
        }
        client.since = self.now;
        self.write_answer_at_once(key, what, &text[..len], sent.taken);
        self.drive(key);
    }

    /// Something happened to the socket `token` names. Late events name nobody.
    pub fn event(&mut self, token: usize, ready: Ready) {
        match Key::from_token(token) {
            (Side::Client, key) => {
                if let Some(client) = self.clients.at_mut(key) {
                    client.leg.wake(ready);
                    self.drive(key);
                }
            }
            (Side::Upstream, key) => {
                let Some(upstream) = self.upstreams.at_mut(key) else { return };
                upstream.leg.wake(ready);
                let Some(client) = upstream.client else {
                    self.look_at_idle(key);
                    return;
                };
                if self.state_of(client) == Some(UpstreamState::Connecting) {
                    self.dialled(client, key);
                }
                self.drive(client);
            }
        }
    }

    pub(crate) fn state_of(&self, key: Key) -> Option<UpstreamState> {
        self.clients.at(key).map(|client| client.exchange.upstream())
    }

    /// Pumps the pair of the client `key` and does what the pump asks for, until it rests.
    pub(crate) fn drive(&mut self, key: Key) {
        for _ in 0..STEPS_MAX {
            match self.pump(key) {
                None => return,
                Some(Step::Rest) => {
                    self.arm(key);
                    return;
                }
                Some(Step::Again) => break,
                Some(Step::Starved) => {
                    self.starve(key);
                    return;
                }
                Some(Step::Greet) => self.greet(key),
                Some(Step::Shake) => {
                    self.await_shake(key);
                    return;
                }
                Some(Step::Dial) => self.dial(key),
                Some(Step::Retry) => self.retry(key),
                Some(Step::Drop) => self.drop_link(key),
                Some(Step::Settle) => self.settle(key),
                Some(Step::Close(ending)) => {
                    self.close(key, ending);
                    return;
                }
            }
        }
        self.drive_again(key);
        self.arm(key);
    }

    /// Drives the pair in the next turn.
    pub(crate) fn drive_again(&mut self, key: Key) {
        if let Some(client) = self.clients.at_mut(key)
            && !client.again
        {
            client.again = true;
            self.again.push_back(key);
        }
    }

    fn pump(&mut self, key: Key) -> Option<Step> {
        let client = self.clients.at_mut(key)?;
        let upstream = client.exchange.link.and_then(|link| self.upstreams.at_mut(link));
        let mut turn = turn_of!(self);
        let step = pump::pump(&mut turn, client, upstream);
        client.exchange.note_wait(self.now);
        Some(step)
    }

    /// Answers the exchange of `key` ourselves, unless another target may; the caller drives it.
    pub(crate) fn refuse(&mut self, key: Key, what: What) {
        if self.fail_over(key, what) {
            return;
        }
        let Some(client) = self.clients.at_mut(key) else { return };
        intake::refuse(&mut turn_of!(self), client, what);
    }

    /// Tells the client `key` that its CONNECT has succeeded; the caller drives it.
    pub(crate) fn establish(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        intake::establish(&mut turn_of!(self), client);
    }

    /// Tells the client `key` that its reload has succeeded; the caller drives it.
    pub(crate) fn confirm(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        intake::confirm(&mut turn_of!(self), client);
    }

    pub(crate) fn starve(&mut self, key: Key) {
        if let Some(client) = self.clients.at_mut(key)
            && !client.starved
        {
            client.starved = true;
            self.starved.push_back(key);
            self.stats.count(Counter::Starved);
        }
        self.arm(key);
    }

    fn feed_starved(&mut self) {
        for _ in 0..self.starved.len() {
            if !self.bufs.has_exchange() {
                break;
            }
            let Some(key) = self.starved.pop_front() else { break };
            if let Some(client) = self.clients.at_mut(key) {
                if client.exchange.client() == ClientState::Handshake && !self.bufs.has_handshake() {
                    self.starved.push_back(key);
                    continue;
                }
                client.starved = false;
                self.drive(key);
            }
        }
    }

    /// Somebody waits for a permit: idle connections that stand in the way close.
    pub fn yield_idle(&mut self) {
        for (route, waiters) in self.permits.blocked() {
            for _ in 0..waiters {
                let Some(upstream) = self.pool.oldest_idle_of(&route) else { break };
                self.yield_one(upstream);
            }
        }
        while self.permits.starves() {
            let Some(upstream) = self.pool.idle().next() else { break };
            self.yield_one(upstream);
        }
    }

    fn yield_one(&mut self, upstream: Key) {
        self.stats.count(Counter::IdleYielded);
        self.drop_idle(upstream);
    }

    /// From the next turn on this configuration counts. With other certificates, profiles or another egress policy, no
    /// connection to a target that was made with the old ones is used again.
    pub fn reload(&mut self, config: Arc<Config>) {
        let readmits = self.config.egress != config.egress;
        let retires = readmits || !Arc::ptr_eq(&self.config.targets, &config.targets);
        self.config = config;
        if readmits {
            self.readmit();
        }
        if retires {
            let idle: Vec<Key> = self.pool.idle().collect();
            for upstream in idle {
                self.drop_idle(upstream);
            }
            self.pool.retire();
        }
    }

    /// Begins the shutdown: answers say `Connection: close`, idle connections end after a moment.
    pub fn drain(&mut self) {
        self.draining = true;
        let idle: Vec<Key> = self.pool.idle().collect();
        for upstream in idle {
            self.drop_idle(upstream);
        }
        let clients: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in clients {
            if let Some(client) = self.clients.at_mut(key)
                && client.exchange.client() == ClientState::Idle
            {
                client.since = self.now;
                self.arm(key);
            }
        }
    }

    /// Client connections open now.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Whether nothing at all is left: no client, no upstream, no promise, no lease, no pipe.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
            && self.upstreams.is_empty()
            && self.bufs.leased() == (0, 0)
            && self.bufs.exchanges() == 0
            && self.pipes.leased() == 0
            && self.pool.idle_len() == 0
            && self.pool.users() == 0
            && self.balance.active() == 0
    }

    /// Sweeps over everything for what must always hold. For tests: its cost grows with the number of connections.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn check(&self) {
        let mut leases = 0;
        let mut pipes = 0;
        let mut admitted = 0;
        for (key, client) in self.clients.iter() {
            let exchange = &client.exchange;
            let heads = [&exchange.forward, &exchange.answer];
            let held = heads.into_iter().flatten().count() + client.leg.leases();
            assert!(client.admitted || held == 0, "{key:?} holds buffers without a promise");
            let idle = exchange.client() == ClientState::Idle;
            assert!(!idle || !client.admitted || held > 0, "{key:?} is idle and keeps a promise");
            leases += held;
            pipes += client.leg.check();
            admitted += usize::from(client.admitted);
            if let Some(link) = exchange.link {
                let upstream = self.upstreams.at(link).expect("a link leads somewhere");
                assert_eq!(upstream.client, Some(key), "a pair agrees on who serves whom");
                let holds = held > 0 || client.leg.is_holding() || upstream.leg.is_holding();
                let is_tunnel = exchange.client() == ClientState::Tunnel;
                assert!(!is_tunnel || client.admitted == holds, "{key:?} holds what it holds a promise for");
            }
            assert!(
                exchange.client() != ClientState::Idle || exchange.upstream() == UpstreamState::Absent,
                "{key:?} is idle and {:?}",
                exchange.upstream()
            );
        }
        let mut idle = 0;
        for (key, upstream) in self.upstreams.iter() {
            leases += upstream.leg.leases();
            pipes += upstream.leg.check();
            match upstream.client {
                None => {
                    assert!(!upstream.leg.is_holding(), "{key:?} is idle and holds bytes");
                    idle += 1;
                }
                Some(client) => {
                    let client = self.clients.at(client).expect("who is served is there");
                    assert_eq!(client.exchange.link, Some(key), "a pair agrees on who serves whom");
                }
            }
        }
        let (small, large) = self.bufs.leased();
        assert_eq!(leases, small + large, "every lease is held by somebody");
        assert_eq!(pipes, self.pipes.leased(), "every pipe is held by somebody");
        assert_eq!(admitted, self.bufs.exchanges(), "every promise is held by somebody");
        assert_eq!(idle, self.pool.idle_len(), "every idle connection is pooled");
    }
}
