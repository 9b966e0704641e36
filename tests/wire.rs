//! Wire transcripts: what goes over the wire on both sides of the proxy, byte for byte, as files people can read.
//!
//! `tests/wire/README.md` describes the format and maps each row of the contract to its transcripts. Each file of
//! `tests/wire/*.wire` is one test here; its transcripts are played beside each other, each on a proxy of its own.
//! `WIRE=name cargo test --test wire` plays only the transcripts whose name holds `name`.

#[path = "wire/line.rs"]
mod line;
#[path = "wire/stage.rs"]
mod stage;
#[path = "wire/transcript.rs"]
mod transcript;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

/// Transcripts of one file that are played at once.
const PLAYERS: usize = 8;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire")
}

/// Plays every transcript of a file and reports all failures together.
fn play(file: &str) {
    let path = folder().join(file).with_extension("wire");
    let text = fs::read_to_string(&path).expect("the file is there");
    let only = env::var("WIRE").unwrap_or_default();
    let transcripts = transcript::parse(&text).unwrap_or_else(|what| panic!("{file}.wire: {what}"));
    let transcripts: Vec<_> = transcripts.iter().filter(|one| one.name.contains(&only)).collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some(one) = transcripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = stage::play(one) {
                        let failure = format!("{file}.wire: {}: {what}", one.name);
                        failures.lock().expect("nobody panics with it").push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panicked with it");
    assert!(
        failures.is_empty(),
        "{} of {} failed\n\n{}",
        failures.len(),
        transcripts.len(),
        failures.join("\n")
    );
}

macro_rules! files {
    ($($file:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($file)),*];
        $(
            #[test]
            fn $file() {
                play(stringify!($file));
            }
        )*
    };
}

files! {
    absolute
    auth
    connect
    forwarding
    bad_answers
    failures
    framing
    own_answers
    policy
    pool
    refused_bodies
    refused_heads
    reverse
    target
    upgrade
}

#[test]
fn every_file_is_played() {
    let files = fs::read_dir(folder()).expect("the folder is there").filter_map(|entry| {
        let path = entry.expect("it can be read").path();
        let is_wire = path.extension().is_some_and(|extension| extension == "wire");
        is_wire.then(|| path.file_stem().expect("it has a name").to_string_lossy().into_owned())
    });
    assert_eq!(files.collect::<BTreeSet<_>>(), FILES.iter().map(|&file| file.to_owned()).collect());
}

/// `pending` holds what should happen and does not yet; it is read, so that it stays readable, and not played.
#[test]
fn pending_transcripts_can_be_read() {
    for entry in fs::read_dir(folder().join("pending")).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let text = fs::read_to_string(&path).expect("it can be read");
        let read = transcript::parse(&text).unwrap_or_else(|what| panic!("{}: {what}", path.display()));
        assert!(!read.is_empty(), "{} holds nothing", path.display());
    }
}

/// Every transcript as `file/name`.
fn names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in FILES {
        let text = fs::read_to_string(folder().join(file).with_extension("wire")).expect("the file is there");
        let titles = text.lines().filter_map(|line| line.strip_prefix("=== "));
        names.extend(titles.map(|title| format!("{file}/{}", title.split(':').next().unwrap_or_default())));
    }
    names
}

#[test]
fn the_coverage_table_names_every_transcript_and_no_other() {
    let readme = fs::read_to_string(folder().join("README.md")).expect("the file is there");
    let (_, tables) = readme.split_once("## What covers what").expect("the chapter is there");
    let rows: Vec<&str> = tables.lines().filter(|line| line.starts_with("| ")).collect();
    let quoted = rows.iter().flat_map(|row| row.split('`').skip(1).step_by(2)).filter(|name| {
        FILES.iter().any(|file| name.strip_prefix(file).is_some_and(|rest| rest.starts_with('/')))
    });
    let named: BTreeSet<String> = quoted.map(str::to_owned).collect();
    let names = names();
    let there: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(there.len(), names.len(), "a name is used twice in one file");
    assert_eq!(named.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "named, but not there");
    assert_eq!(there.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "there, but not named");
}
