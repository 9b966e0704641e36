//! Tunnels by CONNECT and by an upgrade, through TLS on either leg or none: both ends say what they have to say in pieces
//! of any size, some of it dressed up as HTTP, and end, break off or fall silent at any byte. The oracle compares what each
//! heard with what the other said, to the last byte and the kind of end.

use super::rng::Rng;
use super::script::{ClientScript, Dns, Door, Grain, Mood, Pipes, Place, Script};
use super::seam::{SimIo, Sock};
use super::shell::{Mailboxes, config};
use super::tls::{ClientTls, Demand, Habits, Listener, PlaceTls, Shown, Versions};
use super::world::{Got, Net, World};
use apim_proxy::permits::Permits;
use apim_proxy::stats::{Counter, Stats};
use apim_proxy::time::Now;
use apim_proxy::worker::Worker;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// More rounds than any tunnel needs.
const ROUNDS_MAX: usize = 400_000;
const OPENED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
const BAIT: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nGET http://b.test/ HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n0\r\n\r\n";

/// What an end does at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Says everything, ends, and waits for the other's end.
    Ends,
    /// Resets after so many bytes.
    Resets(usize),
    /// Leaves after so many bytes without the word that TLS has for it.
    Cuts(usize),
    /// Neither says nor hears anything after so many bytes.
    Freezes(usize),
}

/// How the connection ended for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Orderly,
    Cut,
    Reset,
    /// It left first.
    Left,
}

/// What all of a seed share.
#[derive(Clone, Copy)]
struct Life {
    /// Somebody breaks off or freezes.
    fates: bool,
    /// The proxy has little room to send: nobody says much.
    narrow: bool,
}

/// One end of a tunnel.
struct Peer {
    sock: Option<usize>,
    /// What it says: the head that opens the tunnel, then its part in it.
    says: Vec<u8>,
    /// So much of it goes out before the other side's head has come.
    at_once: usize,
    said: usize,
    heard: Vec<u8>,
    fate: Fate,
    /// It has ended its side.
    silent: bool,
    /// It has heard the other's end.
    satisfied: bool,
    ended: Option<Ended>,
    read: Grain,
    write: Grain,
    rng: Rng,
}

impl Peer {
    fn new(rng: &mut Rng, head: &str, life: Life, waits: bool, tls: bool) -> Self {
        let mut rng = rng.fork();
        let payload = payload(&mut rng, life.narrow);
        let at = head.len() + rng.below(payload.len() + 1);
        let fate = match rng.below(if life.fates { 8 } else { 1 }) {
            5 => Fate::Resets(at),
            6 if tls => Fate::Cuts(at),
            7 => Fate::Freezes(at),
            _ => Fate::Ends,
        };
        let grains =
            [Grain::One, Grain::UpTo(7), Grain::UpTo(100), Grain::UpTo(5000), Grain::Whole, Grain::Whole];
        // A byte at a time is for those who say little.
        let from = if payload.len() > 3000 { 2 } else { 0 };
        let says: Vec<u8> = head.bytes().chain(payload).collect();
        let at_once = if waits { head.len() } else { says.len() };
        let (read, write) = (rng.pick(&grains[from..]), rng.pick(&grains[from..]));
        Self {
            sock: None,
            says,
            at_once,
            said: 0,
            heard: Vec::new(),
            fate,
            silent: false,
            satisfied: false,
            ended: None,
            read,
            write,
            rng,
        }
    }

    /// The other side's head has come.
    fn is_open(&self) -> bool {
        self.heard.windows(4).any(|four| four == b"\r\n\r\n")
    }

    fn is_frozen(&self) -> bool {
        matches!(self.fate, Fate::Freezes(at) if self.said >= at)
    }

    fn step(&mut self, net: &mut Net) -> bool {
        let Some(sock) = self.sock.filter(|_| self.ended.is_none()) else { return false };
        let first = self.rng.one_in(2);
        (first && self.write(net, sock)) || self.read(net, sock) || (!first && self.write(net, sock))
    }

    fn write(&mut self, net: &mut Net, sock: usize) -> bool {
        if self.silent || self.is_frozen() || self.ended.is_some() {
            return false;
        }
        let mut end = self.says.len();
        match self.fate {
            Fate::Resets(at) if self.said >= at => {
                net.peer_reset(sock);
                self.ended = Some(Ended::Left);
                return true;
            }
            Fate::Cuts(at) if self.said >= at => {
                net.peer_cut(sock);
                self.ended = Some(Ended::Left);
                return true;
            }
            Fate::Resets(at) | Fate::Cuts(at) | Fate::Freezes(at) => end = end.min(at),
            Fate::Ends => {}
        }
        if !self.is_open() {
            end = end.min(self.at_once.max(self.said));
        }
        if self.said == self.says.len() {
            net.peer_end(sock);
            self.silent = true;
            self.leave(net, sock);
            return true;
        }
        let n = self.write.size(&mut self.rng).min(end - self.said);
        let n = if n > 0 { net.peer_write(sock, &self.says[self.said..self.said + n]) } else { 0 };
        self.said += n;
        n > 0
    }

    /// Closes once both sides have ended, or nothing has begun.
    fn leave(&mut self, net: &mut Net, sock: usize) {
        if self.satisfied && (self.silent || (self.said == self.at_once && !self.is_open())) {
            net.peer_cut(sock);
            self.ended = Some(Ended::Orderly);
        }
    }

    fn read(&mut self, net: &mut Net, sock: usize) -> bool {
        if self.is_frozen() {
            if net.is_over(sock) {
                self.ended = Some(Ended::Left);
            }
            return self.ended.is_some();
        }
        if self.satisfied {
            let reset = net.sockets[sock].tx_reset;
            if reset {
                self.ended = Some(Ended::Reset);
            }
            return reset;
        }
        let max = self.read.size(&mut self.rng);
        match net.peer_read(sock, max, &mut self.heard) {
            Got::Bytes(_) | Got::Silent => true,
            Got::Nothing => false,
            Got::End => {
                self.satisfied = true;
                self.leave(net, sock);
                true
            }
            Got::Cut => {
                net.peer_cut(sock);
                self.ended = Some(Ended::Cut);
                true
            }
            Got::Reset => {
                self.ended = Some(Ended::Reset);
                true
            }
        }
    }
}

/// What one says: nothing, a little or a lot, some of it bait.
fn payload(rng: &mut Rng, narrow: bool) -> Vec<u8> {
    let len = match rng.below(if narrow { 4 } else { 6 }) {
        0 => 0,
        1 => rng.below(30),
        2 | 3 => rng.below(3000),
        4 => rng.below(60_000),
        _ => rng.below(250_000),
    };
    let mut bytes = Vec::with_capacity(len + BAIT.len());
    while bytes.len() < len {
        if rng.one_in(8) {
            bytes.extend_from_slice(BAIT);
        } else {
            bytes.extend(rng.next().to_be_bytes());
        }
    }
    bytes.truncate(len);
    bytes
}

/// A tunnel: its ends, and what each says before it begins, as the other may hear it.
struct Pair {
    client: Peer,
    origin: Peer,
    /// Where it leads: nobody else goes there.
    place: Place,
    upgrade: bool,
    client_head: usize,
    tls: ClientTls,
}

impl Pair {
    fn new(rng: &mut Rng, place: Place, secure: bool, life: Life) -> Self {
        let upgrade = place.tls.is_some() || rng.one_in(2);
        let (authority, waits) = (format!("{}:{}", place.host, place.port), rng.one_in(2));
        let scheme = if place.tls.is_some() { "https" } else { "http" };
        let head = if upgrade {
            format!(
                "GET /c HTTP/1.1\r\nHost: p\r\nx-target-host: {scheme}://{authority}\r\nConnection: x-a, upgrade\r\n\
                 Upgrade: x\r\nX-A: 1\r\n\r\n"
            )
        } else {
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
        };
        let tls = ClientTls {
            versions: rng.pick(&[Versions::Old, Versions::New, Versions::Both]),
            certificate: false,
            habits: habits(rng),
            trouble: None,
            plain: false,
        };
        let mut origin =
            Peer::new(rng, if upgrade { SWITCH } else { "" }, life, upgrade, place.tls.is_some());
        if upgrade {
            // It does not speak before it is asked.
            origin.at_once = 0;
        }
        let client_head = head.len();
        Self { client: Peer::new(rng, &head, life, waits, secure), origin, place, upgrade, client_head, tls }
    }

    /// What the origin may hear, and what the client may, when everything arrives.
    fn dues(&self) -> (Vec<u8>, Vec<u8>) {
        let said = &self.client.says[self.client_head..];
        if self.upgrade {
            let head = format!(
                "GET /c HTTP/1.1\r\nHost: {}:{}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                self.place.host, self.place.port
            );
            ([head.as_bytes(), said].concat(), self.origin.says.clone())
        } else {
            (said.to_vec(), [OPENED.as_bytes(), &self.origin.says].concat())
        }
    }

    fn judge(&self, froze: bool) {
        if froze && self.origin.sock.is_none() {
            // Who froze held what it waited for.
            return;
        }
        let (to_origin, to_client) = self.dues();
        let (client, origin) = (&self.client, &self.origin);
        assert!(to_origin.starts_with(&origin.heard), "the origin heard something else");
        if self.upgrade && origin.fate != Fate::Ends && client.heard.starts_with(b"HTTP/1.1 50") {
            // It never became a tunnel.
            return;
        }
        assert!(to_client.starts_with(&client.heard), "the client heard something else");
        if (client.fate, origin.fate) == (Fate::Ends, Fate::Ends) {
            assert_eq!((client.ended, origin.ended), (Some(Ended::Orderly), Some(Ended::Orderly)));
            assert!(origin.heard == to_origin && client.heard == to_client, "something is missing");
        }
        let is_tunnel = !client.heard.is_empty();
        for (one, other, due) in [(client, origin, &to_origin), (origin, client, &to_client)] {
            // When its idle time is over, a tunnel does not wait for the room that a word takes.
            let cut = other.ended == Some(Ended::Cut) && !matches!(one.fate, Fate::Freezes(_));
            assert!(!(is_tunnel && cut), "TLS ends with a word or a reset");
            let broke = matches!(one.fate, Fate::Resets(_) | Fate::Cuts(_)) && one.ended == Some(Ended::Left);
            let orderly = other.ended == Some(Ended::Orderly);
            assert!(!(is_tunnel && broke && orderly), "{:?} was passed on as an end", one.fate);
            if is_tunnel && other.satisfied {
                let unsaid = one.says.len() - one.said;
                assert_eq!(other.heard.len(), due.len() - unsaid, "an end came before the last byte");
            }
        }
    }
}

fn habits(rng: &mut Rng) -> Habits {
    Habits {
        fragment: rng.pick(&[None, Some(64), Some(1000)]),
        refreshes: rng.pick(&[0, 3]),
        drips: false,
        rude_ends: 0,
    }
}

fn place(rng: &mut Rng, at: usize) -> Place {
    let tls = PlaceTls {
        versions: rng.pick(&[Versions::Old, Versions::New, Versions::Both]),
        ours: Versions::Both,
        shown: Shown::Ed25519,
        demand: Demand::None,
        identity: false,
        tickets: rng.one_in(2),
        habits: habits(rng),
        trouble: None,
        flaky: false,
    };
    Place {
        host: ["a.test", "b.test", "c.test", "d.test"][at].into(),
        port: 8000 + at as u16,
        base: "",
        dns: Dns::Known,
        doors: vec![(format!("10.0.0.{at}").parse().expect("an address"), Door::Open(5))],
        tls: rng.one_in(3).then_some(tls),
        own: vec![],
        reachable: true,
    }
}

/// The worker, its world and its tunnels.
struct Tunnels {
    world: World,
    worker: Worker<SimIo>,
    pairs: Vec<Pair>,
    rng: Rng,
    now: u64,
    wake: Option<u64>,
}

impl Tunnels {
    fn new(seed: u64, verbose: bool, stats: &Arc<Stats>, permits: &Arc<Permits>) -> Self {
        let mut rng = Rng::new(seed ^ 0x7a77);
        let mut script = Script::plain(seed, Mood::Calm);
        let secure = rng.one_in(2);
        script.listener =
            secure.then_some(Listener { versions: Versions::Both, demand: Demand::None, tickets: true });
        script.tx_room = rng.pick(&[1, 50, 5000, 100_000]);
        let life = Life { fates: rng.one_in(2), narrow: script.tx_room < 5000 };
        let pairs: Vec<Pair> = (0..rng.range(1, 4))
            .map(|at| {
                let place = place(&mut rng, at);
                Pair::new(&mut rng, place, secure, life)
            })
            .collect();
        script.places = pairs.iter().map(|pair| pair.place.clone()).collect();
        let blank = script.clients[0].clone();
        let client = |pair: &Pair| ClientScript { tls: secure.then_some(pair.tls), ..blank.clone() };
        script.clients = pairs.iter().map(client).collect();
        // Fewer promises than tunnels: they have to give them back.
        script.exchanges_max = rng.pick(&[2, 3, 50]);
        script.clients_max = 50;
        script.large_max = rng.below(3);
        script.pipes = (seed % 2 == 1).then(|| Pipes::new(seed));
        let world = World::new(&script, rng.fork(), verbose);
        let config = config(&script, &world.net().contexts, false);
        let io = SimIo { world: world.clone(), worker: 0 };
        let worker = Worker::new(io, 0, config, Arc::clone(stats), Arc::clone(permits), Now(0));
        let mut all = Self { world, worker, pairs, rng, now: 0, wake: Some(0) };
        for (at, pair) in all.pairs.iter_mut().enumerate() {
            let sock = Sock::connect(&all.world, script.tx_room);
            pair.client.sock = Some(sock.id);
            if secure {
                all.world.net().secure_client(sock.id, at, &pair.tls);
            }
            let peer = format!("192.0.2.{at}:1000").parse().expect("an address");
            assert!(all.worker.accept(0, sock, peer).is_ok(), "there is room");
        }
        all
    }

    /// Until all ends have ended and nothing is left.
    fn run(&mut self) {
        let mut idle = 0;
        for _ in 0..ROUNDS_MAX {
            let moved = self.round(idle > 0);
            idle = if moved { 0 } else { idle + 1 };
            if moved {
                self.now += self.rng.below(20) as u64;
            } else if idle > 1 {
                let ends = self.pairs.iter().flat_map(|pair| [&pair.client, &pair.origin]);
                let over = ends.filter(|end| end.sock.is_some()).all(|end| end.ended.is_some());
                if over && self.worker.is_empty() {
                    return;
                }
                let alarm = self.world.net().alarm();
                let next = self.wake.into_iter().chain(alarm).filter(|at| *at > self.now).min();
                self.now = next.expect("somebody waits for ever");
                idle = 0;
            }
        }
        panic!("somebody waits for ever");
    }

    fn round(&mut self, all: bool) -> bool {
        let mut moved = false;
        for at in 0..self.pairs.len() {
            for client in [true, false] {
                if all || self.rng.one_in(2) {
                    let pair = &mut self.pairs[at];
                    let end = if client { &mut pair.client } else { &mut pair.origin };
                    moved |= end.step(&mut self.world.net());
                }
            }
        }
        moved |= self.deliver(all);
        moved |= self.turn(all);
        self.meet_origins();
        moved
    }

    fn deliver(&mut self, all: bool) -> bool {
        let mut net = self.world.net();
        net.now = self.now;
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

    fn turn(&mut self, all: bool) -> bool {
        let mut net = self.world.net();
        let mut events = Vec::new();
        for id in net.live.clone() {
            let socket = &net.sockets[id];
            let pending = socket.pending && !socket.dropped && (all || !self.rng.one_in(3));
            if let Some((_, token)) = socket.owner.filter(|_| pending) {
                let ready = net.ready(id);
                net.sockets[id].pending = false;
                events.push((id, token, ready));
            }
        }
        drop(net);
        self.rng.shuffle(&mut events);
        if events.is_empty() && self.wake.is_none_or(|at| at > self.now) {
            return false;
        }
        self.worker.begin_turn(Now(self.now));
        for (id, token, ready) in events {
            // It counts from when it is handed in: the worker may have filled a socket since it was collected.
            self.world.net().tell(id, ready);
            self.worker.event(token, ready);
            self.worker.check();
        }
        self.wake = self.worker.end_turn().map(|span| self.now + span.0 * 1000);
        self.worker.check();
        true
    }

    fn meet_origins(&mut self) {
        let mut net = self.world.net();
        for sock in std::mem::take(&mut net.fresh) {
            let origin = &mut self.pairs[net.sockets[sock].place.expect("it was dialled")].origin;
            assert_eq!(origin.sock, None, "nobody is dialled twice");
            origin.sock = Some(sock);
        }
    }
}

/// Plays a seed and judges it; `verbose`ly a failure tells its story.
pub fn play(seed: u64, verbose: bool) {
    let stats = Arc::new(Stats::default());
    let permits = Permits::new(200, 200, Box::new(Mailboxes::new(1)));
    let mut tunnels = Tunnels::new(seed, verbose, &stats, &permits);
    let world = tunnels.world.clone();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        tunnels.run();
        let froze = tunnels.pairs.iter().any(|pair| pair.client.is_frozen() || pair.origin.is_frozen());
        tunnels.pairs.iter().for_each(|pair| pair.judge(froze));
        let told = |pair: &&Pair| {
            pair.client.heard.starts_with(if pair.upgrade { b"HTTP/1.1 1" } else { b"HTTP/1.1 2" })
        };
        let opened = tunnels.pairs.iter().filter(told).count();
        assert!(stats.value(Counter::Tunnels) >= opened as u64, "who was told of a tunnel has one");
        assert_eq!(permits.open(), 0, "every permit was returned");
    }));
    if let Err(panic) = ran {
        for line in world.net().trace.iter().flatten() {
            eprintln!("{line}");
        }
        for pair in &tunnels.pairs {
            eprintln!("upgrade {} to {}:", pair.upgrade, pair.place.host);
            for end in [&pair.client, &pair.origin] {
                let Peer { sock, said, says, heard, fate, silent, satisfied, ended, .. } = end;
                let (says, heard) = (says.len(), heard.len());
                eprintln!(
                    "  s{sock:?} {fate:?} said {said} of {says}, heard {heard}, {silent} {satisfied} {ended:?}"
                );
            }
        }
        resume_unwind(panic);
    }
}
