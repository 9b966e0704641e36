//! The real worker on simulated sockets: one seed decides everything, and a naive oracle judges the bytes.
//!
//! `cargo test --test sim` sweeps; `SIM_SEEDS=n` sweeps more; `SIM_SEED=n` runs one seed and tells its story when it
//! fails. What a seed means stands in `sim/script.rs`, what must hold in `sim/oracle.rs`; `scripts/plant-bugs` shows
//! that the sweep notices when it does not.

mod sim {
    pub mod answer;
    pub mod oracle;
    pub mod peer_client;
    pub mod peer_origin;
    pub mod plan;
    pub mod reader;
    pub mod rng;
    pub mod run;
    pub mod script;
    pub mod world;
}

use sim::run::run;
use sim::script::{Mood, Script};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of the default sweep.
const SEEDS: u64 = 2_500;

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
    let next = AtomicU64::new(0);
    let worst = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.min(worst.load(Ordering::Relaxed)) {
                        return;
                    }
                    if std::panic::catch_unwind(|| play(seed, false)).is_err() {
                        eprintln!("seed {seed} fails: SIM_SEED={seed} cargo test --test sim tells its story");
                        worst.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let worst = worst.load(Ordering::Relaxed);
    assert!(worst == u64::MAX, "seed {worst} fails");
}
