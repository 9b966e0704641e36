//! One worker, some clients that have their TLS and ask, and a crowd that all shake hands at the same moment.

use super::plan::Plan;
use super::rng::Rng;
use super::script::{Mood, Script};
use super::seam::{SimIo, Sock};
use super::shell::{Mailboxes, config};
use super::tls::{ClientTls, Demand, Habits, Listener, Versions};
use super::world::World;
use apim_proxy::permits::Permits;
use apim_proxy::stats::Stats;
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::sync::Arc;

/// Room for everything at once.
const ROOM: usize = 1_000_000;
const TLS: ClientTls = ClientTls {
    versions: Versions::Both,
    certificate: false,
    habits: Habits { fragment: None, refreshes: 0, drips: false, rude_ends: 0 },
    trouble: None,
    plain: false,
};

/// The worker and its world.
pub struct Flood {
    pub world: World,
    worker: Worker<SimIo>,
    plan: Plan,
    now: u64,
}

impl Flood {
    pub fn new() -> Self {
        let mut script = (0..100)
            .map(|seed| Script::plain(seed, Mood::Calm))
            .find(|script| script.plans[0].completes && !script.plans[0].expects)
            .expect("most seeds");
        script.listener = Some(Listener { versions: Versions::Both, demand: Demand::None, tickets: false });
        script.clients[0].tls = Some(TLS);
        (script.exchanges_max, script.clients_max, script.noise) = (200, 200, false);
        let world = World::new(&script, Rng::new(1), false);
        let config = config(&script, &world.net().contexts, false);
        let permits = Permits::new(200, 200, Box::new(Mailboxes::new(1)));
        let io = SimIo { world: world.clone(), worker: 0 };
        let worker = Worker::new(io, 0, config, Arc::new(Stats::default()), permits, Now(0));
        Self { world, worker, plan: script.plans.swap_remove(0), now: 0 }
    }

    /// Clients that connect and say what TLS says first; nothing of it is looked at before the next turn.
    pub fn connect(&mut self, count: usize) -> Vec<usize> {
        let peer = "192.0.2.1:1000".parse().expect("an address");
        let clients = (0..count).map(|_| {
            let sock = Sock::connect(&self.world, ROOM);
            let id = sock.id;
            self.world.net().secure_client(id, 0, &TLS);
            assert!(self.worker.accept(0, sock, peer).is_ok(), "there is room");
            id
        });
        clients.collect()
    }

    /// Each of them asks.
    pub fn ask(&mut self, clients: &[usize]) {
        let mut net = self.world.net();
        for id in clients {
            assert_eq!(net.peer_write(*id, &self.plan.wire), self.plan.wire.len());
        }
    }

    /// Everything that was said arrives, and is looked at once.
    pub fn turn(&mut self) {
        self.now += 1_000;
        let mut net = self.world.net();
        net.now = self.now;
        net.open_doors();
        for id in net.live.clone() {
            net.deliver(id, ROOM);
        }
        let told: Vec<_> = net.live.iter().filter_map(|id| Some((*id, net.sockets[*id].owner?.1))).collect();
        let events: Vec<_> = told.into_iter().map(|(id, token)| (token, net.ready(id))).collect();
        drop(net);
        self.worker.begin_turn(Now(self.now));
        for (token, ready) in events {
            self.worker.event(token, ready);
        }
        self.worker.end_turn();
        self.worker.check();
    }

    /// The clients read what they got, and their TLS says what it has to say to it.
    pub fn listen(&mut self, clients: &[usize]) {
        let mut net = self.world.net();
        for id in clients {
            net.peer_read(*id, ROOM, &mut Vec::new());
        }
    }

    /// How many of them the proxy has said something to.
    pub fn heard(&self, clients: &[usize]) -> usize {
        let net = self.world.net();
        clients.iter().filter(|id| net.sockets[**id].sent > 0).count()
    }

    /// How many of them have their TLS.
    pub fn secure(&self, clients: &[usize]) -> usize {
        let net = self.world.net();
        let is_open =
            |id: &&usize| net.sockets[**id].channel.as_ref().is_some_and(|channel| channel.is_open());
        clients.iter().filter(is_open).count()
    }

    /// Connections the proxy has opened for requests.
    pub fn dialled(&self) -> usize {
        self.world.net().sockets.iter().filter(|socket| socket.place.is_some()).count()
    }
}
