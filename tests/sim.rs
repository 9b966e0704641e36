//! The real worker on simulated sockets: one seed decides everything, and a naive oracle judges the bytes.
//!
//! `cargo test --test sim` sweeps; `SIM_SEEDS=n` sweeps more; `SIM_SEED=n` runs one seed and tells its story when it
//! fails. What a seed means stands in `sim/script.rs`, what must hold in `sim/oracle.rs`; `scripts/plant-bugs` shows
//! that the sweep notices when it does not.

mod sim {
    pub mod answer;
    pub mod body;
    pub mod oracle;
    pub mod peer_client;
    pub mod peer_origin;
    pub mod plan;
    pub mod reader;
    pub mod rng;
    pub mod run;
    pub mod script;
    pub mod seam;
    pub mod shell;
    pub mod story;
    pub mod world;
}

use sim::run::{Sim, run};
use sim::script::{Grain, Mood, Script};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Failing seeds after which a sweep has said enough, unless `SIM_FAILURES` says another number.
const FAILURES_MAX: u64 = 10;

/// Seeds of the default sweep.
const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A quarter of the seeds is calm, so that the strictest rules are applied as well.
fn mood(seed: u64) -> Mood {
    [Mood::Calm, Mood::Clients, Mood::Origins, Mood::Wild][(seed % 4) as usize]
}

fn play(seed: u64, verbose: bool) {
    run(seed, Script::new(seed, mood(seed)), verbose);
}

#[test]
fn sweep() {
    if let Some(seed) = number("SIM_SEED") {
        play(seed, true);
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let failures_max = number("SIM_FAILURES").unwrap_or(FAILURES_MAX);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::<u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = failed.lock().expect("no panic under the lock").len() as u64 >= failures_max;
                    if seed >= seeds || enough {
                        return;
                    }
                    if std::panic::catch_unwind(|| play(seed, false)).is_err() {
                        failed.lock().expect("no panic under the lock").push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no panic under the lock");
    failed.sort_unstable();
    assert!(failed.is_empty(), "SIM_SEED=n cargo test --test sim tells the story of each: {failed:?}");
}

/// A calm script with every grain and room set, one client at a time.
fn segmented(seed: u64, grain: Grain, room: usize) -> Sim {
    let mut script = Script::new(seed, Mood::Calm);
    (script.origin_read, script.origin_write, script.tx_room) = (grain, grain, room);
    for client in &mut script.clients {
        (client.read, client.write, client.room) = (grain, grain, room);
    }
    run(seed, script, false)
}

/// What the clients got, and what the origins saw: each request once, in any order of connections.
fn bytes(sim: &Sim) -> (Vec<Vec<u8>>, Vec<u8>) {
    let clients = sim.clients.iter().map(|client| client.got.clone()).collect();
    let net = sim.world.net();
    let mut seen: Vec<u8> =
        net.sockets.iter().filter(|s| s.place.is_some()).flat_map(|s| s.log.clone()).collect();
    seen.sort_unstable();
    (clients, seen)
}

#[test]
fn one_byte_and_all_bytes_at_once_give_the_same() {
    for seed in 0..60 {
        let fine = bytes(&segmented(seed, Grain::One, 1));
        let coarse = bytes(&segmented(seed, Grain::Whole, 1_000_000));
        assert!(fine == coarse, "seed {seed}: segmentation changed what was said");
    }
}

/// How many connections one client's requests need, one after the other.
fn connections_needed(sim: &Sim) -> usize {
    let mut open = vec![false; sim.script.places.len()];
    let mut dials = 0;
    for id in &sim.clients[0].script.plans[..sim.clients[0].reader.finals] {
        let plan = &sim.script.plans[*id];
        let open = &mut open[plan.place.expect("a calm request has a place")];
        dials += usize::from(!*open);
        *open = plan.answer.reusable;
    }
    dials
}

#[test]
fn a_warm_connection_is_used_again() {
    for seed in 0..200 {
        let mut script = Script::new(seed, Mood::Calm);
        (script.workers, script.per_route, script.total, script.noise) = (1, 3, 9, false);
        script.clients.truncate(1);
        script.clients[0].pipelines = false;
        let sim = run(seed, script, false);
        let net = sim.world.net();
        let dials = net.sockets.iter().filter(|socket| socket.place.is_some()).count();
        assert_eq!(dials, connections_needed(&sim), "seed {seed}");
    }
}

/// Seeds that found a bug, by what was wrong.
macro_rules! regressions {
    ($( $name:ident: $( $seed:literal )+; )*) => {
        $(
            #[test]
            fn $name() {
                $( play($seed, false); )+
            }
        )*
    };
}

regressions! {
    requests_before_a_half_close_are_answered: 12 16;
    an_untaken_body_does_not_go_out_before_the_next_request: 26 123;
    an_answer_counts_although_its_request_fails_later: 445 1889;
    a_reset_behind_a_failed_send_is_no_end: 2170 3586;
    a_lingering_connection_is_read_after_both_sides_shut_down: 3313 3525;
    a_waiting_request_gets_no_connection_known_to_be_lost: 1994;
}
