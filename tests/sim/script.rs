//! What a seed means: limits, names, clients, and which request gets which answer. Everything is decided before the
//! first step, so that a trace can be read beside it.

use super::answer::{Answer, Flaw};
use super::plan::{self, Own, Plan};
use super::rng::Rng;
use super::tls::{self, ClientTls, Listener, PlaceTls};
use std::net::IpAddr;

/// Which faults a seed deals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Everybody behaves: every answer is due whole.
    Calm,
    /// Clients misbehave.
    Clients,
    /// Origins, names and addresses misbehave.
    Origins,
    /// Everything at once, stalls, drain and reload included.
    Wild,
}

/// How a name is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    Known,
    /// After so many microseconds; found or not.
    Later(u64, bool),
    Unknown,
    Never,
}

/// What an address does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Open after so many microseconds.
    Open(u64),
    /// Refused at once, within `connect`.
    Shut,
    /// Refused after so many microseconds.
    ShutLater(u64),
    /// Never answers.
    Silent,
}

/// A place requests go to.
#[derive(Clone, Debug)]
pub struct Place {
    pub host: String,
    pub port: u16,
    /// Path prefix of the target.
    pub base: &'static str,
    pub dns: Dns,
    pub doors: Vec<(IpAddr, Door)>,
    /// `https`.
    pub tls: Option<PlaceTls>,
    /// What a request to it may be told instead of an answer.
    pub own: Vec<Own>,
    /// Whether an exchange can get through at all.
    pub reachable: bool,
}

/// Sizes of reads and writes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    One,
    UpTo(usize),
    Whole,
}

impl Grain {
    /// The most bytes at once.
    fn width(self) -> usize {
        match self {
            Self::One => 1,
            Self::UpTo(max) => max,
            Self::Whole => usize::MAX,
        }
    }

    /// The same for long bodies: so many bytes that a run does not take for ever.
    fn coarse(self) -> Self {
        match self {
            Self::One | Self::UpTo(_) => Self::UpTo(self.width().max(3000)),
            Self::Whole => self,
        }
    }

    pub fn size(self, rng: &mut Rng) -> usize {
        match self {
            Self::One => 1,
            Self::UpTo(max) => rng.range(1, max),
            Self::Whole => usize::MAX,
        }
    }
}

/// What a client does when it has all its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Close,
    /// Shuts its sending side as soon as everything is sent, and reads on.
    HalfClose,
    /// Waits until the proxy closes.
    Wait,
    Reset,
}

/// Closing is what most clients do.
const LEAVES: [Leave; 5] = [Leave::Close, Leave::Close, Leave::HalfClose, Leave::Wait, Leave::Reset];

/// What a client does wrong at some byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// Ends its stream after so many bytes of this request.
    End(usize, usize),
    Reset(usize, usize),
    /// Sends no more and waits.
    Stall(usize, usize),
    /// Resets after so many bytes of answers.
    ResetReading(usize),
    /// Reads no more after so many bytes of answers, until the proxy gives up.
    Deaf(usize),
}

#[derive(Clone, Debug)]
pub struct ClientScript {
    /// Indices of its requests.
    pub plans: Vec<usize>,
    pub pipelines: bool,
    pub write: Grain,
    pub read: Grain,
    pub leave: Leave,
    pub slip: Option<Slip>,
    /// When it connects, in steps.
    pub starts: usize,
    pub room: usize,
    pub tls: Option<ClientTls>,
}

/// The pipes of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipes {
    pub max: usize,
    pub body_bytes_min: u64,
    /// The longest body there is.
    pub body_bytes_max: usize,
    /// Fragments a pipe has room for.
    pub slots: usize,
    /// The kernel has none in one of so many cases; 0: it always has one.
    pub denied: usize,
}

impl Pipes {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x919e);
        Self {
            max: rng.range(1, 3),
            body_bytes_min: rng.pick(&[1, 1, 10, 300, 4000]),
            body_bytes_max: rng.pick(&[3000, 30_000, 30_000, 100_000]),
            slots: rng.pick(&[1, 2, 3, 16]),
            denied: rng.pick(&[0, 0, 2, 4]),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Script {
    pub mood: Mood,
    pub workers: usize,
    pub clients_max: usize,
    pub exchanges_max: usize,
    pub large_max: usize,
    pub per_route: usize,
    pub total: usize,
    pub requests_max: Option<u32>,
    pub handshakes_max: usize,
    /// The proxy's own TLS.
    pub listener: Option<Listener>,
    pub places: Vec<Place>,
    pub clients: Vec<ClientScript>,
    pub plans: Vec<Plan>,
    pub origin_write: Grain,
    pub origin_read: Grain,
    /// Room of every socket that a worker sends through.
    pub tx_room: usize,
    pub drain_at: Option<usize>,
    pub reload_at: Option<usize>,
    /// Somebody waits without end: limits and clocks may hit bystanders.
    pub stalls: bool,
    /// What is known of pipes; `None`: bytes are copied.
    pub pipes: Option<Pipes>,
    /// Kernel events are split, merged, late and sometimes about nothing.
    pub noise: bool,
}

fn grain(rng: &mut Rng) -> Grain {
    match rng.below(6) {
        0 => Grain::One,
        1 => Grain::UpTo(7),
        2 => Grain::UpTo(100),
        3 => Grain::UpTo(5000),
        _ => Grain::Whole,
    }
}

fn doors(rng: &mut Rng, mood: Mood, index: usize) -> Vec<(IpAddr, Door)> {
    let faulty = matches!(mood, Mood::Origins | Mood::Wild);
    let count = if rng.one_in(3) { rng.range(2, 3) } else { 1 };
    (0..count)
        .map(|n| {
            let address: IpAddr = match rng.below(3) {
                0 => format!("fd00:1::{index}:{n}").parse().expect("an address"),
                _ => format!("10.{index}.0.{n}").parse().expect("an address"),
            };
            let door = match rng.below(if faulty { 12 } else { 6 }) {
                6 | 7 => Door::Shut,
                8 | 9 => Door::ShutLater(rng.range(1, 50_000) as u64),
                10 if mood == Mood::Wild => Door::Silent,
                0 => Door::Open(rng.range(1, 50_000) as u64),
                _ => Door::Open(0),
            };
            (address, door)
        })
        .collect()
}

fn place(rng: &mut Rng, mood: Mood, index: usize) -> Place {
    let doors = doors(rng, mood, index);
    let dns = match rng.below(if mood == Mood::Wild { 14 } else { 8 }) {
        0 | 1 => Dns::Later(rng.range(1, 50_000) as u64, true),
        8 => Dns::Unknown,
        9 => Dns::Later(rng.range(1, 50_000) as u64, false),
        10 => Dns::Never,
        _ => Dns::Known,
    };
    let mut own: Vec<Own> = doors
        .iter()
        .filter_map(|(_, door)| match door {
            Door::Open(_) => None,
            Door::Shut | Door::ShutLater(_) => Some((502, "connect_refused")),
            Door::Silent => Some((504, "connect_timeout")),
        })
        .collect();
    let mut reachable = doors.iter().any(|(_, door)| matches!(door, Door::Open(_)));
    match dns {
        Dns::Known | Dns::Later(_, true) => {}
        Dns::Unknown | Dns::Later(_, false) => (own, reachable) = (vec![(502, "dns_failed")], false),
        Dns::Never => (own, reachable) = (vec![(504, "dns_timeout")], false),
    }
    let port = rng.pick(&[80, 81, 8080]);
    let base = rng.pick(&["", "", "/base", "/v1/api/"]);
    let host = format!("{}.test", ["a", "b", "c", "d"][index]);
    Place { host, port, base, dns, doors, tls: None, own, reachable }
}

/// Makes some of the places https, and the proxy's listener mostly.
fn encrypt(secret: &mut Rng, places: &mut [Place], mood: Mood, stalls: bool) -> Option<Listener> {
    let listener = (!secret.one_in(4)).then(|| Listener::new(secret));
    for (at, place) in places.iter_mut().enumerate() {
        if secret.one_in(3) && (listener.is_some() || at > 0) {
            continue;
        }
        let tls = PlaceTls::new(secret, mood, stalls);
        place.own.extend(tls.own());
        place.reachable &= tls.is_passable();
        place.tls = Some(tls);
        place.port = if place.port == 80 { 443 } else { place.port };
    }
    listener
}

/// Places nobody may reach.
fn forbidden() -> Vec<Place> {
    let denied = vec![(403, "target_denied")];
    [("meta.test", "169.254.169.254"), ("self.test", "10.99.0.1"), ("loop.test", "127.0.0.1")]
        .map(|(host, address)| Place {
            host: host.into(),
            port: 9000,
            base: "",
            dns: Dns::Known,
            doors: vec![(address.parse().expect("an address"), Door::Open(0))],
            tls: None,
            own: denied.clone(),
            reachable: false,
        })
        .into()
}

fn slip(rng: &mut Rng, plans: &[usize], all: &[Plan], stalls: bool) -> Slip {
    let at = rng.below(plans.len());
    let len = all[plans[at]].wire.len();
    let byte = rng.below(len);
    match rng.below(if stalls { 6 } else { 3 }) {
        0 => Slip::End(at, byte),
        1 => Slip::Reset(at, byte),
        2 => Slip::ResetReading(rng.below(400)),
        3 | 4 => Slip::Stall(at, byte),
        _ => Slip::Deaf(rng.below(400)),
    }
}

impl Script {
    /// A world without TLS.
    pub fn plain(seed: u64, mood: Mood) -> Self {
        Self::new(seed, mood, None, false)
    }

    /// The same world, in which some speak TLS.
    pub fn secure(seed: u64, mood: Mood) -> Self {
        Self::new(seed, mood, Some(Rng::new(seed ^ 0x71_5000)), false)
    }

    fn new(seed: u64, mood: Mood, mut secret: Option<Rng>, piped: bool) -> Self {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let wild = mood == Mood::Wild;
        let mut places: Vec<Place> = (0..rng.range(1, 3)).map(|index| place(rng, mood, index)).collect();
        let own_places = places.len();
        let stalls = wild && rng.one_in(2);
        let listener = secret.as_mut().and_then(|secret| encrypt(secret, &mut places, mood, stalls));
        places.extend(forbidden());
        let reload_at = (wild && rng.one_in(4)).then(|| rng.range(5, 400));
        let large_max = rng.below(4);
        let mut script = Self {
            mood,
            workers: rng.range(1, 3),
            clients_max: if wild && rng.one_in(4) { rng.range(1, 3) } else { 100 },
            exchanges_max: rng.range(1, 4),
            large_max,
            per_route: rng.range(1, 3),
            total: rng.range(1, 6),
            requests_max: (wild && rng.one_in(6)).then(|| rng.range(1, 3) as u32),
            handshakes_max: secret.as_mut().map_or(8, |secret| secret.pick(&[1, 1, 2, 8])),
            listener,
            places,
            clients: Vec::new(),
            plans: Vec::new(),
            origin_write: grain(rng),
            origin_read: grain(rng),
            tx_room: rng.pick(&[1, 13, 200, 4000, 65_536, 1_000_000]),
            drain_at: (wild && rng.one_in(4)).then(|| rng.range(1, 600)),
            reload_at,
            stalls: false,
            pipes: piped.then(|| Pipes::new(seed)),
            noise: rng.one_in(2),
        };
        if piped {
            let (write, read) = (script.origin_write.coarse(), script.origin_read.coarse());
            (script.origin_write, script.origin_read) = (write, read);
            script.tx_room = script.tx_room.max(700);
        }
        let coarse = script.tx_room.min(script.origin_write.width()).min(script.origin_read.width());
        for client in 0..rng.range(1, 6) {
            let (mut write, mut read) = (grain(rng), grain(rng));
            let mut room = rng.pick(&[1, 50, 3000, 65_536]);
            // A run takes a bounded number of steps: small steps, small bodies.
            let step = coarse.min(room).min(write.width()).min(read.width());
            let mut size_max = if step > 60_000 { 120_000 } else { (100 * step).clamp(600, 30_000) };
            if let Some(pipes) = script.pipes {
                (write, read) = (write.coarse(), read.coarse());
                (room, size_max) = (room.max(700), pipes.body_bytes_max);
            }
            let plans: Vec<usize> = (0..rng.range(1, 5))
                .map(|_| {
                    let context = plan::Context {
                        mood,
                        stalls,
                        size_max,
                        long: piped,
                        reloads: reload_at.is_some(),
                        own_places,
                    };
                    let id = script.plans.len();
                    script.plans.push(plan::plan(rng, id, client, &script.places, &context));
                    id
                })
                .collect();
            let pipelines = rng.one_in(3);
            let leave = if pipelines && rng.one_in(2) { Leave::HalfClose } else { rng.pick(&LEAVES) };
            let slips = matches!(mood, Mood::Clients | Mood::Wild) && rng.one_in(3);
            let slip = slips.then(|| slip(rng, &plans, &script.plans, stalls));
            script.clients.push(ClientScript {
                pipelines,
                write,
                read,
                leave,
                slip,
                starts: if rng.one_in(2) { 0 } else { rng.below(60) },
                room,
                plans,
                tls: None,
            });
        }
        if let Some(mut secret) = secret {
            script.encrypt_clients(&mut secret, stalls);
            script.stray_lines(&mut secret);
            script.flaw_records(&mut secret);
        }
        script.stalls = script.has_stalls(own_places);
        script
    }

    /// A world with pipes and long bodies; in a `secure` one, some speak TLS.
    pub fn piped(seed: u64, mood: Mood, secure: bool) -> Self {
        let secret = secure.then(|| Rng::new(seed ^ 0x71_5000));
        Self::new(seed, mood, secret, true)
    }

    fn encrypt_clients(&mut self, secret: &mut Rng, stalls: bool) {
        let Some(listener) = self.listener else { return };
        for client in &mut self.clients {
            let tls = ClientTls::new(secret, listener, self.mood, stalls);
            client.tls = Some(tls);
            for id in client.plans.iter().filter(|_| !tls.is_passable()) {
                let plan = &mut self.plans[*id];
                plan.own = vec![(400, "tls_required")];
                (plan.reaches, plan.last) = (false, true);
            }
        }
    }

    /// Some clients send an empty line in front of a later request, which begins none (RFC 9112 §2.2).
    fn stray_lines(&mut self, secret: &mut Rng) {
        for client in &self.clients {
            for id in &client.plans[1..] {
                if secret.one_in(4) {
                    let plan = &mut self.plans[*id];
                    plan.wire.splice(0..0, *b"\r\n");
                    plan.head_len += 2;
                }
            }
        }
    }

    /// What origins do wrong in TLS only: an end of the body that is none, and bytes that are no record.
    fn flaw_records(&mut self, secret: &mut Rng) {
        if !matches!(self.mood, Mood::Origins | Mood::Wild) {
            return;
        }
        for plan in &mut self.plans {
            if plan.place.is_none_or(|place| self.places[place].tls.is_none()) {
                continue;
            }
            let Answer { flaw, until_close, .. } = &mut plan.answer;
            match flaw {
                Flaw::None if *until_close && secret.one_in(3) => *flaw = Flaw::Cut,
                Flaw::Reset(n) if secret.one_in(2) => {
                    *flaw = Flaw::Garble(*n);
                    plan.own.push((502, "tls_failed"));
                }
                _ => {}
            }
        }
    }

    fn has_stalls(&self, own_places: usize) -> bool {
        let deaf = |c: &ClientScript| matches!(c.slip, Some(Slip::Stall(..) | Slip::Deaf(_)));
        let silent = |p: &Place| p.dns == Dns::Never || p.doors.iter().any(|(_, d)| *d == Door::Silent);
        self.clients.iter().any(deaf)
            || self.places[..own_places].iter().any(silent)
            || self.plans.iter().any(Plan::stalls)
            || tls::stalls(&self.clients, &self.places)
    }
}
