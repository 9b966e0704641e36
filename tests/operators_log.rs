//! The operators' log as a process sees it: the global logger, a file, and a panic. Alone in its process, because
//! the logger and the panic hook are global.

use apim_proxy::logging::{Levels, catch_panics, flush, start};
use apim_proxy::setting::{Defaults, Source};
use std::{fs, process, thread};

/// Says where the log goes.
struct In(String);

impl Source for In {
    fn text(&self, key: &'static str) -> Option<&str> {
        (key == "logging.file.name").then_some(&self.0)
    }
}

#[test]
fn a_panic_is_one_record_with_its_place_and_backtrace() {
    let folder = std::env::temp_dir().join(format!("apim-operators-log-{}", process::id()));
    let file = folder.join("log/apim.log");
    catch_panics();
    let levels = Levels::new([("org.apache.http.wire", log::LevelFilter::Trace)]);
    start(&In(file.display().to_string()), levels).unwrap();
    log::info!(target: "apim_proxy::server", "started");
    log::trace!(target: "http.wire", "bytes");
    log::debug!(target: "http.headers", "unheard");
    let panicked =
        thread::Builder::new().name("worker-7".to_owned()).spawn(|| panic!("broken")).unwrap().join();
    assert!(panicked.is_err());
    assert_eq!(start(&Defaults, Levels::new([])), Err("the log was started before".to_owned()));
    flush();

    let text = fs::read_to_string(&file).unwrap();
    let records: Vec<&str> = text.lines().filter(|line| !line.starts_with("    ")).collect();
    let untimed: Vec<&str> = records.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(untimed.len(), 3, "{text}");
    assert!(untimed[0].ends_with("apim_proxy::server: started"), "{text}");
    assert!(untimed[1].starts_with("[TRACE] ") && untimed[1].ends_with("http.wire: bytes"), "{text}");
    assert!(untimed[2].starts_with("[ERROR] (worker-7) panic: "), "{text}");
    assert!(untimed[2].contains("operators_log.rs"), "{text}");
    assert!(text.contains("\n    broken\n"), "{text}");
    assert!(text.contains("operators_log::a_panic_is_one_record"), "the backtrace: {text}");
    fs::remove_dir_all(folder).unwrap();
}
