//! The cost of one exchange without a kernel: `cargo run --release --example exchange -- N [get|post|chunked|long] [tls12|tls13|log=FORMAT|FILE]`
//! repeats a warm exchange with an answer of 1 KB N times in memory and prints nanoseconds each. With TLS it is on both legs,
//! and the time of the peers is not counted. Under callgrind, the difference of two lengths is the number of instructions;
//! with TLS, those of the peers are among them. With `log=FORMAT`, that is `proxy.log.format`, which is `json` without it. With a
//! FILE, the log goes there, with a drop-in user's RestTemplate at DEBUG: two lines each.

#[path = "../tests/pki/mod.rs"]
#[allow(dead_code)] // each user of the maker needs its own part of it
mod pki;
#[path = "../tests/memory/secrets.rs"]
mod secrets;
#[path = "../tests/memory/world.rs"]
mod world;

use apim_proxy::access::Recording;
use apim_proxy::logging::{self, Levels};
use apim_proxy::setting::Source;
use rustls::{SupportedProtocolVersion, version};
use secrets::SecretPair;
use std::sync::Arc;
use std::time::Instant;
use world::{Pair, Script};

/// A setting of the log and its text.
struct Log(&'static str, String);

impl Source for Log {
    fn text(&self, key: &'static str) -> Option<&str> {
        (key == self.0).then_some(&self.1)
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
        eprintln!("usage: exchange [N [get|post|chunked|long [tls12|tls13|log=FORMAT|FILE]]]");
        std::process::exit(2);
    };
    let nanoseconds = match words.next().as_deref() {
        Some("tls12") => exchange_in_tls(exchanges, script, &version::TLS12),
        Some("tls13") => exchange_in_tls(exchanges, script, &version::TLS13),
        word => {
            let format = word.map_or(Some("json"), |word| word.strip_prefix("log="));
            if let (Some(file), None) = (word, format) {
                let call = [("org.springframework.web.client.RestTemplate", log::LevelFilter::Debug)];
                let file = Log("logging.file.name", file.to_owned());
                logging::start(&file, Levels::new(call)).expect("the file can be opened");
            }
            let format = Log("proxy.log.format", format.unwrap_or("off").to_owned());
            let recording = Recording::from(&format).expect("a format");
            let mut pair = Pair::warm(script, |config| config.recording = Arc::new(recording));
            let spent = time(&mut || (0..exchanges).for_each(|_| pair.exchange()));
            assert_eq!(pair.dialled(), 1, "every exchange was warm");
            spent
        }
    };
    println!("{} ns each", nanoseconds / u64::from(exchanges.max(1)));
}

fn exchange_in_tls(exchanges: u32, script: Script, version: &'static SupportedProtocolVersion) -> u64 {
    let mut pair = SecretPair::warm(script, version);
    (0..exchanges).map(|_| pair.exchange(time)).sum()
}

fn time(work: &mut dyn FnMut()) -> u64 {
    let began = Instant::now();
    work();
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
