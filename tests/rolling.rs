//! Log files on disks that misbehave: a reader who does not read, a disk that is full, a folder that disappears, an
//! impatient end. Whoever hands lines over never waits, no line is torn, and what was lost is counted in the log itself.

use apim_proxy::logging::{Lines, flush, open, reopen};
use apim_proxy::setting::{Defaults, Source};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any condition takes to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("apim-rolling-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

fn lost(lines: u64) -> String {
    format!("{lines} lost\n")
}

fn opened(path: &Path) -> Lines {
    open(&Defaults, "proxy.log.file", path, lost).unwrap()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Numbered lines of a kilobyte each.
fn line(number: u64) -> String {
    format!("{number:06} {}\n", "x".repeat(1016))
}

/// What a log says of `handed_over` numbered lines: each is whole, in order, and there or counted as lost.
fn is_complete(lines: impl Iterator<Item = String>, handed_over: u64) {
    let (mut seen, mut missing, mut last) = (0, 0, None);
    for text in lines {
        if let Some(count) = text.strip_suffix(" lost") {
            missing += count.parse::<u64>().unwrap();
        } else {
            let number: u64 = text[..6].parse().unwrap();
            assert_eq!(text.len() + 1, 1024, "{text}");
            assert!(last < Some(number), "in order");
            (seen, last) = (seen + 1, Some(number));
        }
        if seen + missing == handed_over {
            return;
        }
    }
    panic!("{seen} lines are there, {missing} are said to be lost, {handed_over} were handed over");
}

#[test]
fn a_fifo_that_nobody_reads_costs_lines_but_no_time() {
    let folder = Folder::new();
    let (path, other) = (folder.0.join("fifo"), folder.0.join("other.log"));
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let (stalled, healthy) = (opened(&path), opened(&other));
    // More than two buffers and the pipe hold.
    let handed_over = 12 * 1024;
    for number in 0..handed_over {
        stalled.hand_over(line(number).as_bytes());
    }
    healthy.hand_over(b"goes on\n");
    healthy.flush(PATIENCE);
    assert_eq!(fs::read_to_string(&other).unwrap(), "goes on\n");
    assert!(Lines::dropped_in_all() > 0);
    is_complete(BufReader::new(File::open(&path).unwrap()).lines().map(Result::unwrap), handed_over);
}

#[test]
fn a_full_disk_costs_nothing_that_has_room_in_memory() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    symlink("/dev/full", &path).unwrap();
    let log = opened(&path);
    for number in 0..3000 {
        log.hand_over(line(number).as_bytes());
    }
    log.flush(Duration::from_millis(50));
    // Space again: here, because the file is another one.
    fs::remove_file(&path).unwrap();
    log.hand_over(line(3000).as_bytes());
    log.flush(PATIENCE);
    is_complete(fs::read_to_string(&path).unwrap().lines().map(str::to_owned), 3001);
}

#[test]
fn a_folder_that_goes_and_a_path_that_is_taken_come_back() {
    let folder = Folder::new();
    let path = folder.0.join("log/a.log");
    let log = opened(&path);
    log.hand_over(b"one\n");
    log.flush(PATIENCE);
    fs::remove_dir_all(folder.0.join("log")).unwrap();
    log.hand_over(b"two\n");
    log.flush(PATIENCE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    // A folder in its place cannot be opened, for root neither.
    fs::rename(&path, folder.0.join("log/old")).unwrap();
    fs::create_dir(&path).unwrap();
    log.hand_over(b"three\n");
    log.flush(Duration::from_millis(50));
    assert_eq!(fs::read_to_string(folder.0.join("log/old")).unwrap(), "two\n");
    fs::remove_dir(&path).unwrap();
    log.flush(PATIENCE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
}

#[test]
fn files_are_opened_anew_when_asked() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let log = opened(&path);
    log.hand_over(b"one\n");
    log.flush(PATIENCE);
    fs::rename(&path, folder.0.join("moved")).unwrap();
    reopen();
    log.hand_over(b"two\n");
    log.flush(PATIENCE);
    assert_eq!(fs::read_to_string(folder.0.join("moved")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

/// Says that files are small.
struct Small;

impl Source for Small {
    fn text(&self, key: &'static str) -> Option<&str> {
        match key {
            "proxy.log.max-size" => Some("64KB"),
            "proxy.log.total-size-cap" => Some("1KB"),
            _ => None,
        }
    }
}

#[test]
fn rolled_files_are_compressed_and_capped_beside_the_lines() {
    let folder = Folder::new();
    let path = folder.0.join("a.log");
    let log = open(&Small, "proxy.log.file", &path, lost).unwrap();
    for number in 0..1000 {
        log.hand_over(line(number).as_bytes());
    }
    drop(log);
    flush();
    assert_eq!(fs::metadata(&path).unwrap().len(), 1000 % 64 * 1024, "the rest of whole files");
    let rolled = || {
        let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        names
            .filter_map(|name| name.into_string().ok()?.strip_prefix("a.log.2").map(str::to_owned))
            .collect::<Vec<_>>()
    };
    // Each takes some 200 bytes: a kilobyte holds a few of fifteen.
    until("the last one is compressed, and the oldest are gone", || {
        let names = rolled();
        let all = names.iter().all(|name| name.strip_suffix(".gz").is_some());
        all && names.len() <= 8 && names.iter().any(|name| name.strip_suffix(".14.gz").is_some())
    });
}

#[test]
fn a_start_takes_up_what_is_there_and_removes_old_files_if_asked() {
    struct Clean;
    impl Source for Clean {
        fn text(&self, key: &'static str) -> Option<&str> {
            (key == "logging.file.clean-history-on-start").then_some("true")
        }
    }
    let (keeps, cleans) = (Folder::new(), Folder::new());
    let file = |folder: &Folder, name: &str| folder.0.join(name);
    for folder in [&keeps, &cleans] {
        fs::write(file(folder, "a.log.2000-01-01.0.gz"), "").unwrap();
        fs::write(file(folder, "a.log.2000-01-02.0"), "left behind\n").unwrap();
    }
    let _kept = opened(&file(&keeps, "a.log"));
    let _cleaned = open(&Clean, "proxy.log.file", &file(&cleans, "a.log"), lost).unwrap();
    let names = |folder: &Folder| {
        let names = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    };
    let all = "a.log a.log.2000-01-01.0.gz a.log.2000-01-02.0.gz a.log.lock";
    until("what was left behind is compressed", || names(&keeps) == all);
    until("what is old is gone", || names(&cleans) == "a.log a.log.lock");
}
