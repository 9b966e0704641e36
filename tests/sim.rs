//! The real worker on simulated sockets: one seed decides everything, and a naive oracle judges the bytes.
//!
//! `cargo test --test sim` sweeps; `SIM_SEEDS=n` sweeps more; `SIM_SEED=n` runs one seed and tells its story when it
//! fails. What a seed means stands in `sim/script.rs`, what must hold in `sim/oracle.rs`; `scripts/plant-bugs` shows
//! that the sweep notices when it does not.

#[allow(dead_code)] // other tests use the rest
mod pki;
mod sim {
    pub mod answer;
    pub mod body;
    pub mod channel;
    pub mod flood;
    pub mod keys;
    pub mod ledger;
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
    pub mod tls;
    pub mod tunnels;
    pub mod world;
}

use apim_proxy::stats::Counter;
use sim::flood::Flood;
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

/// In a quarter of the seeds some speak TLS, in half there are pipes.
fn script(seed: u64) -> Script {
    let secure = seed / 4 % 4 == 3;
    if seed / 4 % 4 == 1 || seed / 4 % 8 >= 6 {
        Script::piped(seed, mood(seed), secure)
    } else if secure {
        Script::secure(seed, mood(seed))
    } else {
        Script::plain(seed, mood(seed))
    }
}

fn play(seed: u64, verbose: bool) {
    run(seed, script(seed), verbose);
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
fn segmented(mut script: Script, seed: u64, grain: Grain, room: usize) -> Sim {
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
        let run = |grain, room| bytes(&segmented(Script::plain(seed, Mood::Calm), seed, grain, room));
        assert!(
            run(Grain::One, 1) == run(Grain::Whole, 1_000_000),
            "seed {seed}: segmentation changed what was said"
        );
    }
}

#[test]
fn one_byte_and_all_bytes_at_once_give_the_same_in_tls() {
    for seed in 0..20 {
        let run = |grain, room| bytes(&segmented(Script::secure(seed, Mood::Calm), seed, grain, room));
        assert!(
            run(Grain::One, 1) == run(Grain::Whole, 1_000_000),
            "seed {seed}: segmentation changed what was said"
        );
    }
}

/// A head of an answer that grows in its buffer, record by record, while the next record already waits.
#[test]
fn a_long_head_in_many_records_is_taken() {
    for seed in 0..40 {
        let mut script = Script::secure(seed, Mood::Calm);
        (script.large_max, script.origin_write) = (64, Grain::UpTo(13_000));
        for client in &mut script.clients {
            (client.read, client.room) = (Grain::Whole, 65_536);
        }
        let line = format!("X-Large: {}\r\n", "l".repeat(40_000));
        for plan in &mut script.plans {
            let answer = &mut plan.answer;
            for text in [&mut answer.wire, &mut answer.head] {
                let first = text.windows(2).position(|end| end == b"\r\n").expect("a status line") + 2;
                text.splice(first..first, line.bytes());
            }
        }
        for tls in script.places.iter_mut().filter_map(|place| place.tls.as_mut()) {
            tls.habits.fragment = Some(4096);
        }
        run(seed, script, false);
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
        let mut script = Script::plain(seed, Mood::Calm);
        (script.workers, script.per_route, script.total, script.noise) = (1, 3, 9, false);
        script.clients.truncate(1);
        script.clients[0].pipelines = false;
        let sim = run(seed, script, false);
        let net = sim.world.net();
        let dials = net.sockets.iter().filter(|socket| socket.place.is_some()).count();
        assert_eq!(dials, connections_needed(&sim), "seed {seed}");
    }
}

#[test]
fn a_warm_connection_is_used_again_in_tls() {
    for seed in 0..100 {
        let mut script = Script::secure(seed, Mood::Calm);
        (script.workers, script.per_route, script.total, script.noise) = (1, 3, 9, false);
        script.clients.truncate(1);
        script.clients[0].pipelines = false;
        let sim = run(seed, script, false);
        let dials = sim.world.net().sockets.iter().filter(|socket| socket.place.is_some()).count();
        assert_eq!(dials, connections_needed(&sim), "seed {seed}");
    }
}

/// What aws-lc draws at random shows in bytes, never in lengths or times.
#[test]
fn a_seed_with_tls_is_replayed_step_by_step() {
    for seed in [12, 13, 14, 15, 28, 29, 30, 31, 44, 45, 46, 47] {
        let [first, second] = [(); 2].map(|()| {
            let mut sim = Sim::new(seed, script(seed), true);
            sim.run();
            sim.world.net().trace.take().expect("it was asked for")
        });
        let parts = first.iter().zip(&second).position(|(one, other)| one != other);
        assert_eq!(parts.map(|at| (&first[at], &second[at])), None, "seed {seed}, step {parts:?}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// The seeds of a sweep would prove nothing about what never happens in them.
#[test]
fn tls_happens_in_every_way() {
    let mut sums = [0; 8];
    for seed in (12..400).filter(|seed| seed / 4 % 4 == 3) {
        let sim = run(seed, script(seed), false);
        let counters = [
            Counter::ClientTlsFull,
            Counter::ClientTlsResumed,
            Counter::ClientTlsFailed,
            Counter::TlsFull,
            Counter::TlsResumed,
            Counter::TlsFailed,
            Counter::HandshakesQueued,
            Counter::HandshakeTimeouts,
        ];
        for (sum, counter) in sums.iter_mut().zip(counters) {
            *sum += sim.stats.iter().map(|stats| stats.value(counter)).sum::<u64>();
        }
    }
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
}

/// The seeds of a sweep would prove nothing about what never happens in them.
#[test]
fn pipes_meet_everything() {
    let (mut sums, mut spliced) = ([0; 4], 0);
    for seed in (4..200).filter(|seed| seed / 4 % 4 == 1) {
        let sim = run(seed, script(seed), false);
        let piping = sim.world.net().piping;
        for (sum, n) in sums.iter_mut().zip([piping.made, piping.denied, piping.full, piping.lost]) {
            *sum += n;
        }
        spliced += sim.stats.iter().map(|stats| stats.value(Counter::BytesSpliced)).sum::<u64>();
    }
    assert!(sums.iter().all(|sum| *sum > 0) && spliced > 0, "{sums:?} {spliced}");
}

#[test]
fn bytes_are_the_same_through_pipes_and_through_buffers() {
    for seed in 0..100 {
        let play = |script| bytes(&run(seed, script, false));
        let piped = Script::piped(seed, Mood::Calm, false);
        let copied = Script { pipes: None, ..piped.clone() };
        assert!(play(copied) == play(piped), "seed {seed}: a pipe changed what was said");
    }
}

/// Whoever has his TLS is served in the turn in which he asks, however many shake hands in it.
#[test]
fn a_flood_of_handshakes_slows_handshakes_only() {
    /// As many go a step further in a turn.
    const STEPS: usize = 4;
    let mut flood = Flood::new();
    let first = flood.connect(10);
    while flood.secure(&first) < first.len() {
        flood.turn();
        flood.listen(&first);
    }
    // The proxy hears the last word of each a little later.
    (0..first.len()).for_each(|_| flood.turn());
    let crowd = flood.connect(60);
    flood.ask(&first);
    flood.turn();
    assert_eq!(flood.dialled(), first.len(), "every request goes its way");
    for turn in 1..=crowd.len() / STEPS {
        assert_eq!(flood.heard(&crowd), turn * STEPS, "turn {turn}");
        flood.turn();
    }
    while flood.secure(&crowd) < crowd.len() {
        flood.listen(&crowd);
        flood.turn();
    }
}

/// Seeds that found a bug, by what was wrong.
macro_rules! regressions {
    ($script:expr; $( $name:ident: $( $seed:literal )+; )*) => {
        $(
            #[test]
            fn $name() {
                $( run($seed, $script($seed, mood($seed)), false); )+
            }
        )*
    };
}

regressions! {
    Script::plain;
    requests_before_a_half_close_are_answered: 12 16;
    an_untaken_body_does_not_go_out_before_the_next_request: 26 123;
    an_answer_counts_although_its_request_fails_later: 445 1889;
    a_reset_behind_a_failed_send_is_no_end: 2170 3586;
    a_lingering_connection_is_read_after_both_sides_shut_down: 3313 3525;
    a_waiting_request_gets_no_connection_known_to_be_lost: 1994;
}

regressions! {
    Script::secure;
    a_handshake_waits_for_room_not_for_bytes: 12 13;
    an_idle_client_with_its_tickets_keeps_no_promise: 13 44;
    close_notify_waits_for_room_like_the_answer: 44 63;
    half_a_record_behind_a_stray_line_is_kept: 61 831;
    who_gave_up_waiting_for_a_handshake_is_not_woken: 6799;
    an_alert_to_an_offered_session_is_a_first_word: 462 2414;
}

/// Tunnels of the default sweep.
const TUNNEL_SEEDS: u64 = 400;

/// `SIM_TUNNEL=n` plays one seed; `SIM_TUNNELS=n` sweeps more.
#[test]
fn tunnels_carry_bytes_and_ends() {
    if let Some(seed) = number("SIM_TUNNEL") {
        sim::tunnels::play(seed, true);
        return;
    }
    let seeds = number("SIM_TUNNELS").unwrap_or(TUNNEL_SEEDS);
    let play = |seed: &u64| std::panic::catch_unwind(|| sim::tunnels::play(*seed, false)).is_err();
    let failed: Vec<u64> = (0..seeds).filter(play).take(FAILURES_MAX as usize).collect();
    assert!(failed.is_empty(), "SIM_TUNNEL=n cargo test --test sim tunnels plays each: {failed:?}");
}
