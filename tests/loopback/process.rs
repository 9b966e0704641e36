//! Processes and folders that end with their test: the proxy, nginx, the rude origin, and clients that run to their
//! end.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The longest any condition is waited for: far more than a busy machine needs, so that a test fails and not hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to return.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A folder of a test; left for the reader when the test fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("apim-loopback-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            fs::remove_dir_all(&self.0).expect("the test made this folder");
        }
    }
}

/// A process that ends with its test.
pub struct Running(Child);

impl Running {
    pub fn new(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Starts a server, and waits for the first line it prints that contains `wanted`; what it prints later is dropped.
    pub fn announced(command: &mut Command, wanted: &str) -> (Self, String) {
        let mut process = Self::new(command.stdout(Stdio::piped()));
        let mut out = BufReader::new(process.0.stdout.take().expect("standard output is a pipe"));
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(out.read_line(&mut line).expect("it prints text") > 0, "{command:?} ended");
        }
        thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        (process, line)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        until("the process ends", || self.0.try_wait().expect("it is our child"))
    }

    /// Leaves it no descriptor beside those it has; the limit it had.
    pub fn take_descriptors(&self) -> Rlimit {
        let folder = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        let used: BTreeSet<u64> = fs::read_dir(folder)
            .expect("the process is there")
            .map(|entry| entry.expect("it is ours").file_name().to_str().and_then(|name| name.parse().ok()))
            .collect::<Option<_>>()
            .expect("names are numbers");
        // No number below the limit is free.
        let free = (0..1 << 20).find(|number| !used.contains(number)).expect("it has fewer");
        // The soft limit only: it can be raised again by anyone.
        self.limit_descriptors(Rlimit { current: Some(free), maximum: getrlimit(Resource::Nofile).maximum })
    }

    /// Sets its limit of descriptors; the limit it had.
    pub fn limit_descriptors(&self, limit: Rlimit) -> Rlimit {
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a limit can be changed")
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is our child").is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, as the test wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end; what it printed, if it ended well.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}\n{err}", done.status);
    out.into_owned()
}

/// A program beside the tests' sources.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loopback").join(name)
}

/// The binary, serving on a port of its own.
pub struct Proxy {
    pub process: Running,
    /// The forward listener.
    pub address: SocketAddr,
    /// Every listener, the forward one first.
    pub listeners: Vec<SocketAddr>,
    folder: Folder,
}

impl Proxy {
    /// Starts it with `settings`, each `key=value`; loopback targets are allowed.
    pub fn start(settings: &[&str]) -> Self {
        let folder = Folder::new();
        let ready = folder.path("ready");
        let log = File::create(folder.path("log")).expect("the folder is writable");
        let mut command = Command::new(env!("CARGO_BIN_EXE_apim-proxy"));
        command
            .args(["--server.address=127.0.0.1", "--server.port=0", "--proxy.target.allow=127.0.0.1"])
            .arg(format!("--server.ready-file={}", ready.display()))
            .arg(format!("--proxy.reverse.log.dir={}", folder.path("").display()))
            .args(settings.iter().map(|setting| format!("--{setting}")))
            .env_clear()
            .current_dir(folder.path(""))
            .stderr(log.try_clone().expect("a descriptor is free"))
            .stdout(log);
        let mut process = Running::new(&mut command);
        let text = until("the proxy is ready", || {
            assert!(!process.has_ended(), "the proxy ended: {}", folder.text("log"));
            fs::read_to_string(&ready).ok()
        });
        let listeners = text.lines().filter_map(|line| line.strip_prefix("listen "));
        let listeners: Vec<SocketAddr> =
            listeners.map(|address| address.parse().expect("an address is named")).collect();
        let address = *listeners.first().expect("a listener is named");
        Self { process, address, listeners, folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn log(&self) -> String {
        self.folder.text("log")
    }

    /// Asks for the statistics, and waits until `counter` has the value.
    #[track_caller]
    pub fn counts(&self, counter: &str, value: u64) {
        let wanted = format!("{counter} {value}");
        self.until_statistics(&format!("the log says {wanted}"), |line| (line == wanted).then_some(()));
    }

    /// What `counter` is now.
    #[track_caller]
    pub fn count(&self, counter: &str) -> u64 {
        self.until_statistics(counter, |line| line.strip_prefix(counter)?.trim().parse().ok())
    }

    /// Asks for the statistics until one of their lines says what is wanted.
    #[track_caller]
    fn until_statistics<T>(&self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let printed = |log: &str| log.matches("statistics\n").count();
        // One may have been on its way; the second from now on is about now.
        let fresh = printed(&self.log()) + 2;
        until(what, || {
            self.process.signal(Signal::USR1);
            let log = self.log();
            let last = log.rsplit("statistics\n").next().filter(|_| printed(&log) >= fresh)?;
            last.lines().find_map(|line| wanted(line.trim()))
        })
    }

    /// Sends SIGTERM and waits until the shutdown has begun.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
        until("the shutdown has begun", || self.log().contains("shutting down: ").then_some(()));
    }
}

/// nginx as an origin: files of its folder, PUT into `/up`, and a page of one kilobyte at `/1k`.
pub struct Nginx {
    _process: Running,
    pub address: SocketAddr,
    pub folder: Folder,
}

impl Nginx {
    pub fn start() -> Self {
        Self::with(0, |_, _| String::new()).0
    }

    /// With more servers: their part of the configuration is made of the folder and so many free ports.
    pub fn with(more: usize, servers: impl Fn(&Folder, &[u16]) -> String) -> (Self, Vec<u16>) {
        let folder = Folder::new();
        fs::create_dir_all(folder.path("www/up")).expect("the folder is writable");
        // Ports below the ephemeral range, others for each nginx; whether they are free is for nginx to find out.
        static TRIED: AtomicU32 = AtomicU32::new(0);
        let first = 10_000 + std::process::id() % 10_000;
        let next = || (first + TRIED.fetch_add(1, Ordering::Relaxed)) as u16;
        for _ in 0..100 {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, next()));
            let ports: Vec<u16> = (0..more).map(|_| next()).collect();
            if let Some(process) = Self::try_start(&folder, address, &servers(&folder, &ports)) {
                return (Self { _process: process, address, folder }, ports);
            }
        }
        panic!("nginx finds no port: {}", folder.text("error.log"));
    }

    fn try_start(folder: &Folder, address: SocketAddr, servers: &str) -> Option<Running> {
        let token = format!("{}-{address}", folder.0.display());
        let root = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let body = "x".repeat(1024);
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};", folder.path(name).display()))
            .concat();
        let configuration = format!(
            "daemon off; master_process off; worker_rlimit_nofile 4096; pid {pid}; {root}
            events {{ worker_connections 2048; }}
            http {{ access_log off; {temporary} keepalive_requests 1000000; default_type text/plain;
                server {{ listen {address} backlog=4096; root {www}; client_max_body_size 0;
                    location = /1k {{ return 200 \"{body}\"; }}
                    location = /token {{ return 200 \"{token}\"; }}
                    location /up {{ dav_methods PUT; }} }}
                {servers} }}",
            pid = folder.path("nginx.pid").display(),
            www = folder.path("www").display(),
        );
        fs::write(folder.path("nginx.conf"), configuration).expect("the folder is writable");
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut process = Running::new(
            Command::new("nginx")
                .env("PATH", path)
                .arg("-e")
                .arg(folder.path("error.log"))
                .arg("-p")
                .arg(folder.path(""))
                .arg("-c")
                .arg(folder.path("nginx.conf"))
                .stderr(Stdio::null()),
        );
        until("nginx answers or ends", || {
            if process.has_ended() {
                return Some(false);
            }
            crate::raw::Client::try_connect(address)?
                .ask_for_body("/token")
                .map(|body| body == token.as_bytes())
        })
        .then_some(process)
    }
}

/// The rude origin, whose manners are chosen by the path; see `rude_origin.py`.
pub struct Rude {
    process: Running,
    pub address: SocketAddr,
    /// The same through TLS, if it was started with a certificate.
    pub secure: SocketAddr,
}

impl Rude {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With the words of its command line: certificate, key, whom it trusts.
    pub fn with(words: &[&Path]) -> Self {
        let mut command = Command::new("python3");
        let (process, line) =
            Running::announced(command.arg("-u").arg(source("rude_origin.py")).args(words), "\n");
        let mut ports = line.split_whitespace().map(|port| port.parse().expect("the origin names its ports"));
        let mut next = || (Ipv4Addr::LOCALHOST, ports.next().expect("the origin has two ports")).into();
        Self { process, address: next(), secure: next() }
    }

    /// Lets those go on that wait for it.
    pub fn go_on(&self) {
        let mut stream = TcpStream::connect(self.address).expect("the origin listens");
        std::io::Write::write_all(&mut stream, b"GET /go HTTP/1.1\r\n\r\n").expect("the origin reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the origin answers");
        assert!(
            self.process.pid().as_raw_nonzero().get() > 0 && answer.starts_with("HTTP/1.1 200"),
            "{answer}"
        );
    }
}
