//! The cost of one exchange without a kernel: `cargo run --release --example exchange -- N [get|post|chunked] [tls12|tls13]`
//! repeats a warm exchange with an answer of 1 KB N times in memory and prints nanoseconds each; with TLS it is on both
//! legs, and the time of the peers is not counted. Under callgrind, the difference of two lengths is the number of
//! instructions; with TLS, those of the peers are among them.

#[path = "../tests/pki/mod.rs"]
#[allow(dead_code)] // each user of the maker needs its own part of it
mod pki;
#[path = "../tests/memory/secrets.rs"]
mod secrets;
#[path = "../tests/memory/world.rs"]
mod world;

use rustls::version;
use secrets::SecretPair;
use std::time::Instant;
use world::{Pair, Script};

fn main() {
    let mut words = std::env::args().skip(1);
    let exchanges = words.next().map_or(Ok(1_000_000), |word| word.parse::<u32>());
    let script = match words.next().as_deref() {
        None | Some("get") => Some(Script::get()),
        Some("post") => Some(Script::post()),
        Some("chunked") => Some(Script::chunked()),
        Some(_) => None,
    };
    let version = match words.next().as_deref() {
        None => Some(None),
        Some("tls12") => Some(Some(&version::TLS12)),
        Some("tls13") => Some(Some(&version::TLS13)),
        Some(_) => None,
    };
    let (Ok(exchanges), Some(script), Some(version)) = (exchanges, script, version) else {
        eprintln!("usage: exchange [N [get|post|chunked [tls12|tls13]]]");
        std::process::exit(2);
    };
    let nanoseconds = if let Some(version) = version {
        let mut pair = SecretPair::warm(script, version);
        (0..exchanges).map(|_| pair.exchange(time)).sum()
    } else {
        let mut pair = Pair::warm(script);
        let spent = time(&mut || (0..exchanges).for_each(|_| pair.exchange()));
        assert_eq!(pair.dialled(), 1, "every exchange was warm");
        spent
    };
    println!("{} ns each", nanoseconds / u64::from(exchanges.max(1)));
}

fn time(work: &mut dyn FnMut()) -> u64 {
    let began = Instant::now();
    work();
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
