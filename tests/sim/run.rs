//! The loop: moves workers, peers, bytes and time in an order the seed decides, until everybody has left.

use super::oracle;
use super::peer_client::{ClientPeer, Ended};
use super::peer_origin::OriginPeer;
use super::rng::Rng;
use super::script::Script;
use super::seam::{SimIo, Sock};
use super::shell::{Mail, Mailboxes, config};
use super::story::{describe, told};
use super::world::World;
use apim_proxy::io::Ready;
use apim_proxy::permits::Permits;
use apim_proxy::stats::Stats;
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// More rounds than any script needs: who is not done by then waits for ever.
const ROUNDS_MAX: usize = 400_000;

/// Something the kernel says of a socket.
#[derive(Clone, Copy)]
struct Event {
    sock: usize,
    token: usize,
    ready: Ready,
}

/// Everything a run leaves for the oracle.
pub struct Sim {
    pub script: Script,
    pub world: World,
    pub clients: Vec<ClientPeer>,
    pub stats: Vec<Arc<Stats>>,
    pub drained: bool,
    workers: Vec<Worker<SimIo>>,
    origins: Vec<OriginPeer>,
    permits: Arc<Permits>,
    mail: Mailboxes,
    /// Connections not accepted yet, a queue for each worker.
    backlog: Vec<VecDeque<(usize, Sock)>>,
    wake: Vec<Option<u64>>,
    rng: Rng,
    now: u64,
}

impl Sim {
    pub fn new(seed: u64, script: Script, verbose: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let world = World::new(&script, rng.fork(), verbose);
        let config = config(&script, &world.net().contexts, false);
        let count = script.workers;
        let mail = Mailboxes::new(count);
        let permits = Permits::new(script.per_route, script.total, Box::new(mail.clone()));
        let stats: Vec<Arc<Stats>> = (0..count).map(|_| Arc::default()).collect();
        let workers = (0..count).map(|id| {
            let io = SimIo { world: world.clone(), worker: id };
            Worker::new(io, id, config.clone(), stats[id].clone(), permits.clone(), Now(0))
        });
        let workers = workers.collect();
        let clients = script.clients.iter().map(|c| ClientPeer::new(c.clone(), rng.fork())).collect();
        Self {
            world,
            clients,
            stats,
            drained: false,
            workers,
            origins: Vec::new(),
            permits,
            mail,
            backlog: (0..count).map(|_| VecDeque::new()).collect(),
            wake: vec![Some(0); count],
            rng,
            now: 0,
            script,
        }
    }

    /// Runs until everybody has left, then until nothing is left.
    pub fn run(&mut self) {
        let mut round = 0;
        let mut idle_rounds = 0;
        loop {
            round += 1;
            assert!(round < ROUNDS_MAX, "somebody waits for ever: {}", self.describe());
            self.connect_clients(round);
            if self.script.reload_at == Some(round) {
                let config = config(&self.script, &self.world.net().contexts, true);
                self.world.net().reloaded = true;
                self.workers.iter_mut().for_each(|worker| worker.reload(config.clone()));
            }
            let drain = self.script.drain_at == Some(round);
            let moved = self.round(idle_rounds > 0, drain);
            if moved || self.is_waiting_to_connect() || self.script.drain_at.is_some_and(|at| at >= round) {
                // Only while something moves: an alarm must not pass between two looks at it.
                self.now += self.rng.range(0, 20) as u64;
                idle_rounds = 0;
                continue;
            }
            idle_rounds += 1;
            if idle_rounds < 2 {
                continue;
            }
            if self.is_over() {
                return;
            }
            idle_rounds = 0;
            self.sleep();
        }
    }

    fn is_waiting_to_connect(&self) -> bool {
        self.clients.iter().any(|client| client.sock.is_none() && client.ended.is_none())
    }

    fn connect_clients(&mut self, round: usize) {
        for (at, client) in self.clients.iter_mut().enumerate() {
            if client.sock.is_some() || client.ended.is_some() || client.script.starts >= round {
                continue;
            }
            if self.drained {
                (client.ended, client.rejected) = (Some(Ended::Left), true);
                continue;
            }
            let sock = Sock::connect(&self.world, client.script.room);
            client.sock = Some(sock.id);
            if let Some(tls) = client.script.tls {
                let mut net = self.world.net();
                net.secure_client(sock.id, at, &tls);
                // Nobody has a right to an answer.
                client.slipped |= !tls.is_passable();
                if net.hangs_up(sock.id) {
                    net.peer_cut(sock.id);
                    client.ended = Some(Ended::Left);
                }
            }
            let worker = self.rng.below(self.workers.len());
            self.backlog[worker].push_back((at, sock));
        }
    }

    /// Everybody gets a chance to move; with `all`, everybody moves.
    fn round(&mut self, all: bool, drain: bool) -> bool {
        let workers = self.workers.len();
        let clients = self.clients.len();
        let mut order: Vec<usize> = (0..=workers + clients + self.origins.len()).collect();
        self.rng.shuffle(&mut order);
        let mut moved = drain;
        self.world.net().now = self.now;
        for actor in order {
            if !all && self.rng.one_in(3) {
                continue;
            }
            moved |= if actor < workers {
                self.turn(actor, all, drain)
            } else if actor < workers + clients {
                self.clients[actor - workers].step(&mut self.world.net(), &self.script.plans)
            } else if actor < workers + clients + self.origins.len() {
                self.origins[actor - workers - clients].step(&mut self.world.net(), &self.script.plans)
            } else {
                self.move_bytes(all)
            };
        }
        if drain {
            (0..workers).for_each(|worker| self.drain(worker));
            self.drained = true;
        }
        self.meet_origins();
        moved
    }

    fn move_bytes(&mut self, all: bool) -> bool {
        let mut net = self.world.net();
        let mut moved = net.open_doors();
        net.tidy();
        for id in net.live.clone() {
            if net.sockets[id].has_wire() {
                if all || self.rng.one_in(2) {
                    let n = if self.rng.one_in(2) { usize::MAX } else { self.rng.range(1, 2000) };
                    net.deliver(id, n);
                }
                moved = true;
            }
        }
        moved
    }

    fn meet_origins(&mut self) {
        self.origins.retain(|origin| !origin.gone);
        let mut net = self.world.net();
        for sock in std::mem::take(&mut net.fresh) {
            let (read, write) = (self.script.origin_read, self.script.origin_write);
            self.origins.push(OriginPeer::new(sock, read, write, self.rng.fork()));
        }
    }

    /// One turn of a worker, as the shell takes it.
    fn turn(&mut self, id: usize, all: bool, drain: bool) -> bool {
        let mut events = self.events(id, all);
        let due = self.wake[id].is_some_and(|at| at <= self.now);
        let (mail, accepts) = (!self.mail.is_empty(id), !self.backlog[id].is_empty());
        let answers = self.answers(id);
        if events.is_empty() && !due && !mail && !accepts && answers.is_empty() && !drain {
            return false;
        }
        self.add_noise(id, &mut events);
        let worker = &mut self.workers[id];
        worker.begin_turn(Now(self.now));
        for Event { sock, token, ready } in events {
            self.world.net().tell(sock, ready);
            self.world.net().note(|| format!("s{sock} event {}", told(ready)));
            worker.event(token, ready);
            worker.check();
        }
        if accepts && (all || self.rng.one_in(2)) {
            self.accept(id);
        }
        let worker = &mut self.workers[id];
        if mail && (all || self.rng.one_in(2)) {
            while let Some(mail) = self.mail.take(id) {
                match mail {
                    Mail::Granted((key, permit)) => worker.granted(key, permit),
                    Mail::YieldIdle => worker.yield_idle(),
                }
                worker.check();
            }
        }
        for question in answers {
            worker.resolved(question.key, &question.host, question.answer);
            worker.check();
        }
        self.end_turn(id);
        true
    }

    fn end_turn(&mut self, id: usize) {
        let sleep = self.workers[id].end_turn();
        self.workers[id].check();
        self.wake[id] = sleep.map(|span| self.now + span.0 * 1000);
        self.world.net().note(|| format!("worker {id} sleeps {sleep:?}"));
    }

    /// What the kernel has to tell a worker, or a part of it.
    fn events(&mut self, id: usize, all: bool) -> Vec<Event> {
        let mut net = self.world.net();
        let mut events = Vec::new();
        for sock in net.live.clone() {
            let socket = &net.sockets[sock];
            let Some((worker, token)) = socket.owner.filter(|_| socket.pending && !socket.dropped) else {
                continue;
            };
            if worker != id || (!all && net.noise && self.rng.one_in(4)) {
                continue;
            }
            let ready = net.ready(sock);
            net.sockets[sock].pending = false;
            events.push(Event { sock, token, ready });
        }
        drop(net);
        self.rng.shuffle(&mut events);
        events
    }

    /// Spurious events, split ones, and events for sockets that are gone.
    fn add_noise(&mut self, id: usize, events: &mut Vec<Event>) {
        let net = self.world.net();
        if !net.noise || net.sockets.is_empty() {
            return;
        }
        if let Some(event) = events.pop_if(|_| self.rng.one_in(4)) {
            let read = Ready { writable: false, ..event.ready };
            let write = Ready { writable: event.ready.writable, ..Ready::default() };
            events.extend([write, read].map(|ready| Event { ready, ..event }));
        }
        let sock = self.rng.below(net.sockets.len());
        let Some((worker, token)) = net.sockets[sock].owner else { return };
        if worker == id && self.rng.one_in(2) {
            let gone = net.sockets[sock].dropped;
            let all = Ready { readable: true, writable: true, read_closed: true, dead: true };
            let ready = if gone { all } else { net.ready(sock) };
            events.push(Event { sock, token, ready });
        }
    }

    fn answers(&mut self, id: usize) -> Vec<super::world::Question> {
        let mut net = self.world.net();
        let now = net.now;
        let due = |q: &super::world::Question| q.worker == id && q.due <= now;
        let (due, later) = std::mem::take(&mut net.questions).into_iter().partition(due);
        net.questions = later;
        due
    }

    /// Serves a waiting client here, or where there is room, or tells it that there is none.
    fn accept(&mut self, id: usize) {
        while let Some((client, sock)) = self.backlog[id].pop_front() {
            // By its port the lines name it.
            let peer = SocketAddr::from(([192, 0, 2, 1], client as u16));
            let Err(sock) = self.workers[id].accept(0, sock, peer) else { continue };
            let others = (0..self.workers.len()).filter(|other| *other != id);
            let room = others.min_by_key(|other| self.workers[*other].clients());
            if let Some(other) = room.filter(|other| self.workers[*other].clients() < self.script.clients_max)
            {
                self.backlog[other].push_back((client, sock));
            } else {
                self.clients[client].rejected = true;
                self.workers[id].reject(0, sock, peer);
            }
        }
        self.workers[id].check();
    }

    fn drain(&mut self, id: usize) {
        self.workers[id].begin_turn(Now(self.now));
        self.accept(id);
        self.workers[id].drain();
        self.workers[id].check();
        self.end_turn(id);
    }

    /// Nobody can move: time passes until somebody can.
    fn sleep(&mut self) {
        let net = self.world.net().alarm();
        let peers = self.clients.iter().filter_map(ClientPeer::alarm);
        let origins = self.origins.iter().filter_map(OriginPeer::alarm);
        let wakes = self.wake.iter().copied().flatten();
        let next = wakes.chain(peers).chain(origins).chain(net).filter(|at| *at > self.now);
        self.check_idle();
        let Some(next) = next.min() else { panic!("nothing will ever happen: {}", self.describe()) };
        self.world.net().note(|| format!("time passes to {next}"));
        self.now = next;
    }

    /// When all clients have gone, so have connections whose origin spoke unasked or closed: none waits for its time.
    fn check_idle(&self) {
        let net = self.world.net();
        let all_idle = self.workers.iter().all(|worker| worker.clients() == 0);
        let kept = net.live.iter().find(|id| net.sockets[**id].is_spoilt());
        assert!(!all_idle || kept.is_none(), "s{kept:?} is kept although it is known to be spoilt");
    }

    fn is_over(&self) -> bool {
        let left = self.clients.iter().all(|client| client.ended.is_some());
        left && self.permits.open() == 0 && self.workers.iter().all(Worker::is_empty)
    }

    fn describe(&self) -> String {
        let waiting: Vec<usize> =
            (0..self.clients.len()).filter(|at| self.clients[*at].ended.is_none()).collect();
        let empty: Vec<bool> = self.workers.iter().map(Worker::is_empty).collect();
        let socks: Vec<_> = waiting.iter().map(|at| self.clients[*at].sock).collect();
        format!(
            "clients {waiting:?} at {socks:?} not done, workers empty {empty:?}, {} permits out",
            self.permits.open()
        )
    }
}

/// Runs one seed and judges it.
pub fn run(seed: u64, script: Script, verbose: bool) -> Sim {
    let mut sim = Sim::new(seed, script, verbose);
    let world = sim.world.clone();
    if verbose {
        describe(&sim.script);
    }
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sim.run();
        // Lines that still wait leave with their worker.
        sim.workers.clear();
        oracle::judge(&sim);
        sim
    }));
    ran.unwrap_or_else(|panic| {
        if let Some(trace) = &world.net().trace {
            for line in trace {
                eprintln!("{line}");
            }
        }
        std::panic::resume_unwind(panic)
    })
}
