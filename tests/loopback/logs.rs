//! Log files of a running proxy: whatever a disk does, requests are answered; whatever a process does, its lines are
//! there in the end.

use crate::origin::Origin;
use crate::process::{Folder, Proxy, until};
use crate::raw::Client;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

const CALLS: &str = "logging.level.org.springframework.web.client.RestTemplate=DEBUG";

fn logging_to(file: &Path, more: &[&str]) -> Proxy {
    let name = format!("logging.file.name={}", file.display());
    // The transaction log would lie in the same folder.
    Proxy::start(&[&[name.as_str(), CALLS, "proxy.log.format=off"], more].concat())
}

/// Asks for `count` paths of `length` bytes, and has each answered.
fn ask(proxy: &Proxy, origin: &Origin, count: usize, length: usize) {
    let mut client = Client::connect(proxy.address);
    for number in 0..count {
        let path = format!("/{number:06}{}", "x".repeat(length - 7));
        assert_eq!(client.get(origin.address, &path).text(), path);
    }
}

/// The paths whose calls the files of `folder` hold, in order, rolled files first.
fn called(folder: &Folder) -> Vec<usize> {
    let mut paths: Vec<_> =
        fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_none_or(|end| end != "lock"));
    paths.sort_by_key(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let index = name.rsplit('.').next().and_then(|index| index.parse::<usize>().ok());
        index.unwrap_or(usize::MAX)
    });
    let text: String = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let number =
        |line: &str| line.split_once("HTTP GET http://")?.1.split_once('/')?.1.get(..6)?.parse().ok();
    text.lines().filter_map(number).collect()
}

#[test]
fn a_log_that_nobody_reads_costs_no_request() {
    let (folder, origin) = (Folder::new(), Origin::start());
    let fifo = folder.path("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let proxy = logging_to(&fifo, &[]);
    // Twelve megabytes of lines: more than the pipe and two buffers hold.
    ask(&proxy, &origin, 2000, 6000);
    let mut lines = BufReader::new(File::open(&fifo).unwrap()).lines().map(Result::unwrap);
    let told = lines.find(|line| line.contains(" lines dropped: ")).expect("it says so itself");
    assert!(told.contains("[WARN ] (log) apim_proxy::logging: "), "{told}");
}

#[test]
fn a_file_that_may_not_grow_is_rolled() {
    let (folder, origin) = (Folder::new(), Origin::start());
    let pattern = format!("logging.pattern.rolling-file-name={}/a.%d.%i", folder.path("").display());
    let mut proxy = logging_to(&folder.path("apim.log"), &[&pattern]);
    let limit = Rlimit { current: Some(20_000), maximum: Some(20_000) };
    prlimit(Some(proxy.process.pid()), Resource::Fsize, limit).unwrap();
    ask(&proxy, &origin, 100, 1000);
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    // The line that met the limit in its middle is in no file whole; all others are there.
    let files = fs::read_dir(folder.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("a."));
    let (files, called) = (files.count(), called(&folder));
    assert!(files >= 5 && called.len() + files >= 100 && called.is_sorted(), "{files} files: {called:?}");
}

#[test]
fn nothing_is_lost_at_the_end_nor_by_moving_the_file() {
    let (folder, origin) = (Folder::new(), Origin::start());
    let log = folder.path("apim.log");
    let mut proxy = logging_to(&log, &[]);
    ask(&proxy, &origin, 100, 50);
    fs::rename(&log, folder.path("apim.0")).unwrap();
    proxy.process.signal(Signal::USR2);
    until("the file is made anew", || folder.text("apim.log").contains("opened anew").then_some(()));
    ask(&proxy, &origin, 200, 50);
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    assert!(folder.text("apim.log").ends_with("stopped\n"));
    let expected: Vec<usize> = (0..100).chain(0..200).collect();
    assert_eq!(called(&folder), expected);
}

#[test]
fn of_two_processes_with_one_file_only_the_first_rolls_it() {
    let (folder, origin) = (Folder::new(), Origin::start());
    let pattern = format!("logging.pattern.rolling-file-name={}/a.%d.%i", folder.path("").display());
    let small = [pattern.as_str(), "logging.file.max-size=20KB"];
    let mut first = logging_to(&folder.path("apim.log"), &small);
    let second = logging_to(&folder.path("apim.log"), &small);
    let warning = format!("pid {} holds ", first.process.pid().as_raw_nonzero());
    until("the second says who has it", || folder.text("apim.log").contains(&warning).then_some(()));
    let rolled = || {
        fs::read_dir(folder.path(""))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("a."))
            .count()
    };
    ask(&second, &origin, 100, 1000);
    until("the second has written", || folder.text("apim.log").contains("/000099").then_some(()));
    assert_eq!(rolled(), 0);
    ask(&first, &origin, 100, 1000);
    until("the first has rolled", || (rolled() > 4).then_some(()));
    // Both go on in the new file.
    ask(&second, &origin, 1, 1000);
    first.process.signal(Signal::TERM);
    assert_eq!(first.process.ended().code(), Some(0));
    until("all is written", || (called(&folder).len() == 201).then_some(()));
}

#[test]
fn a_line_names_the_user_whose_password_was_right() {
    let (folder, origin) = (Folder::new(), Origin::start());
    // By `openssl passwd -apr1 -salt lZL6V/ci password`.
    fs::write(folder.path("users"), "bob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\n").unwrap();
    let mut proxy = Proxy::start(&[
        &format!("proxy.auth.file={}", folder.path("users").display()),
        &format!("proxy.log.file={}", folder.path("access.log").display()),
        "proxy.log.format=%u %>s",
    ]);
    let mut client = Client::connect(proxy.address);
    // bob:password twice, of which the second is known again, and bob:nopass.
    for (credential, status) in
        [("Ym9iOnBhc3N3b3Jk", 200), ("Ym9iOnBhc3N3b3Jk", 200), ("Ym9iOm5vcGFzcw==", 407)]
    {
        let rest = format!("Proxy-Authorization: Basic {credential}\r\n\r\n");
        client.request("GET", origin.address, "/", &rest);
        assert_eq!(client.answer().status, status);
    }
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    assert_eq!(folder.text("access.log"), "bob 200\nbob 200\n- 407\n");
}
