//! The cost of one exchange without a kernel: `cargo run --release --example exchange -- N [get|post|chunked|long] [FILE]`
//! repeats a warm exchange with an answer of 1 KB N times in memory and prints nanoseconds each. Under callgrind, the
//! difference of two lengths is the number of instructions. With a FILE, the log goes there, with a drop-in user's
//! RestTemplate at DEBUG: two lines each.

#[path = "../tests/memory/world.rs"]
mod world;

use apim_proxy::logging::{self, Levels};
use apim_proxy::setting::Source;
use std::time::Instant;
use world::{Pair, Script};

/// Says where the log goes.
struct Log(String);

impl Source for Log {
    fn text(&self, key: &'static str) -> Option<&str> {
        (key == "logging.file.name").then_some(&self.0)
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let exchanges = words.next().map_or(Ok(1_000_000), |word| word.parse::<u32>());
    let script = match words.next().as_deref() {
        None | Some("get") => Some(Script::get()),
        Some("post") => Some(Script::post()),
        Some("chunked") => Some(Script::chunked()),
        Some("long") => Some(Script::long()),
        Some(_) => None,
    };
    let (Ok(exchanges), Some(script)) = (exchanges, script) else {
        eprintln!("usage: exchange [N [get|post|chunked|long [FILE]]]");
        std::process::exit(2);
    };
    if let Some(file) = words.next() {
        let call = [("org.springframework.web.client.RestTemplate", log::LevelFilter::Debug)];
        logging::start(&Log(file), Levels::new(call)).expect("the file can be opened");
    }
    let mut pair = Pair::warm(script);
    let began = Instant::now();
    (0..exchanges).for_each(|_| pair.exchange());
    assert_eq!(pair.dialled(), 1, "every exchange was warm");
    println!("{} ns each", began.elapsed().as_nanos() / u128::from(exchanges.max(1)));
}
