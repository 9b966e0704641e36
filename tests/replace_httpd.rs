//! `install.sh --replace-httpd` and `--restore-httpd` below a root of their own, with a systemctl that plays systemd and
//! writes down what it is asked; and the unit itself: what `systemd-analyze` says of it, and its command line at work
//! beside the process of start.sh.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::Duration;

/// An installation and a machine, which end with their test.
struct Machine {
    folder: PathBuf,
}

/// Status, standard output and standard error.
type Said = (i32, String, String);

/// Plays systemd: a unit runs if `state/NAME` exists; `state/refuse` lets nothing start.
const SYSTEMCTL: &str = r#"#!/bin/bash
here=$(dirname -- "$0")
printf '%s\n' "$*" >>"$here/calls"
name=${*: -1}
name=${name%.service}
case $1 in
    is-active) [ -e "$here/state/$name" ] ;;
    start | restart) [ ! -e "$here/state/refuse" ] && touch "$here/state/$name" ;;
    stop) rm -f "$here/state/$name" ;;
    daemon-reload) ;;
    *) exit 64 ;;
esac
"#;

fn run(command: &mut Command) -> Said {
    let output = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("scripts write UTF-8");
    (output.status.code().expect("no signal ends a script"), text(output.stdout), text(output.stderr))
}

impl Machine {
    /// One whose distribution calls its unit `name`.
    fn new(test: &str, name: &str) -> Self {
        let temporary = std::env::temp_dir().canonicalize().expect("there is a temporary folder");
        let machine = Self { folder: temporary.join(format!("apim httpd {} {test}", process::id())) };
        for folder in ["root/usr/lib/systemd/system", "root/etc/systemd/system", "state"] {
            fs::create_dir_all(machine.path(folder)).expect("folders can be made");
        }
        machine.write(
            &format!("root/usr/lib/systemd/system/{name}.service"),
            "[Service]\nExecStart=/usr/sbin/httpd\n",
        );
        machine.write("systemctl", SYSTEMCTL);
        fs::set_permissions(machine.path("systemctl"), PermissionsExt::from_mode(0o755)).expect("it is ours");
        let (status, _, err) =
            machine.install(&["--binary", env!("CARGO_BIN_EXE_apim-proxy"), &machine.home("")]);
        assert_eq!((status, err.as_str()), (0, ""));
        machine.configure("proxy.reverse.port=0\n");
        machine
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// A path of the installation.
    fn home(&self, below: &str) -> String {
        self.path("home").join(below).to_string_lossy().trim_end_matches('/').to_owned()
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.path("root/etc/systemd/system").join(name)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
    }

    fn configure(&self, text: &str) {
        let common = "server.port=0\nserver.address=127.0.0.1\nproxy.log.file=../log/access.log\n\
                      proxy.reverse.log.dir=../log\n";
        self.write("home/conf/application.properties", &format!("{common}{text}"));
    }

    fn install(&self, words: &[&str]) -> Said {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh");
        run(Command::new(script).args(words).env("SYSTEMCTL", self.path("systemctl")).current_dir("/"))
    }

    fn act(&self, action: &str) -> Said {
        self.install(&[action, "--root", &self.path("root").to_string_lossy(), &self.home("")])
    }

    /// What systemctl was asked since the last time, without the questions.
    fn orders(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.lines().filter(|line| !line.starts_with("is-active")).map(str::to_owned).collect()
    }

    fn runs(&self, name: &str) -> bool {
        self.path("state").join(name).exists()
    }

    fn starts(&self, name: &str) {
        self.write(&format!("state/{name}"), "");
    }

    /// Every file below `root/etc`, with where links lead.
    fn etc(&self) -> Vec<(PathBuf, String)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
            {
                if let Ok(target) = fs::read_link(&entry) {
                    found.push((entry, format!("-> {}", target.display())));
                } else if entry.is_dir() {
                    walk(&entry, found);
                } else {
                    found.push((entry.clone(), fs::read_to_string(&entry).expect("text")));
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path("root/etc"), &mut found);
        found.sort();
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        run(Command::new(self.home("bin/kill.sh")).arg("-9"));
        // Left for the reader when the test fails.
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.folder).expect("the test made this folder");
        }
    }
}

#[test]
fn a_running_httpd_makes_place_and_comes_back() {
    let here = Machine::new("round", "httpd");
    let before = here.etc();
    here.starts("httpd");

    let unit = here.unit("httpd.service");
    let said = here.act("--replace-httpd");
    assert_eq!(said, (0, format!("{} drives the reverse listeners now\n", unit.display()), String::new()));
    assert_eq!(here.orders(), ["stop httpd", "daemon-reload", "restart httpd"]);
    let text = fs::read_to_string(&unit).expect("the unit");
    assert_eq!(fs::metadata(&unit).expect("the unit").mode() & 0o777, 0o644);
    let start = format!(
        "\nExecStart=\"{home}/bin/apim-proxy\" \"--spring.config.location=file:{home}/conf/application.properties\" \
         --proxy.listeners=reverse \"--server.pid-file={home}/log/httpd.pid\" --logging.file.name= \
         --proxy.log.format=off\n",
        home = here.home("")
    );
    assert!(text.contains(&start), "{text}");

    // Again is an upgrade of the unit.
    assert_eq!(here.act("--replace-httpd").0, 0);
    assert_eq!(here.orders(), ["daemon-reload", "restart httpd"]);
    assert_eq!(fs::read_to_string(&unit).expect("the unit"), text);

    let marker = here.home("conf/forward-only");
    let said = here.act("--restore-httpd");
    let told = format!(
        "httpd is in its place again; start.sh leaves the reverse listeners alone until {marker} is removed\n"
    );
    assert_eq!(said, (0, told, String::new()));
    assert_eq!(here.orders(), ["stop httpd", "daemon-reload", "start httpd"]);
    assert_eq!(here.etc(), before);
    assert!(here.runs("httpd") && Path::new(&marker).exists());

    let said = here.act("--restore-httpd");
    assert_eq!(
        said,
        (1, String::new(), format!("{} is not one of ours; httpd is not replaced\n", unit.display()))
    );
}

#[test]
fn what_an_operator_had_is_kept() {
    let here = Machine::new("kept", "apache2");
    here.write("root/etc/systemd/system/apache2.service", "[Service]\nExecStart=/opt/httpd\n");
    here.write("root/etc/systemd/system/apache2.service.d/limits.conf", "[Service]\nLimitNOFILE=1\n");
    here.write("root/etc/systemd/system/httpd.service.d/a.conf", "[Service]\nNice=1\n");
    here.write("root/etc/systemd/system/other.service", "[Service]\n");
    let before = here.etc();
    here.starts("apache2");

    let (status, out, err) = here.act("--replace-httpd");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert_eq!(here.orders(), ["stop apache2", "daemon-reload", "restart httpd"]);
    assert_eq!(fs::read_link(here.unit("apache2.service")).expect("an alias"), Path::new("httpd.service"));
    let names: Vec<_> =
        here.etc().into_iter().map(|(path, _)| path.file_name().expect("a name").to_owned()).collect();
    assert_eq!(names, ["apache2.service", "httpd.service", "other.service"]);

    assert_eq!(here.act("--restore-httpd").0, 0);
    assert_eq!(here.orders(), ["stop httpd", "daemon-reload", "start apache2"]);
    assert_eq!(here.etc(), before);
    assert!(!here.path("home/lib/httpd-units").exists());
}

#[test]
fn one_that_does_not_run_is_not_started() {
    let here = Machine::new("idle", "httpd");
    let (status, out, err) = here.act("--replace-httpd");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.ends_with("\nstart them with: systemctl start httpd\n"), "{out}");
    assert_eq!(here.orders(), ["daemon-reload"]);
}

#[test]
fn what_would_not_start_changes_nothing() {
    let here = Machine::new("refused", "httpd");
    here.starts("httpd");
    let before = here.etc();

    here.configure("");
    let (status, out, err) = here.act("--replace-httpd");
    assert_eq!((status, out.as_str()), (1, ""));
    let lines: Vec<&str> = err.lines().collect();
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains("proxy.listeners=reverse leaves no listener"),
        "{err}"
    );
    assert!(
        lines[1].starts_with("nothing was changed: the reverse listeners would not start with "),
        "{err}"
    );
    here.configure("proxy.reverse.port=0\n");

    here.starts("httpd.socket");
    let said = here.act("--replace-httpd");
    let told = "httpd.socket opens the port in systemd; first: systemctl disable --now httpd.socket\n";
    assert_eq!(said, (1, String::new(), told.to_owned()));
    fs::remove_file(here.path("state/httpd.socket")).expect("it was there");

    symlink("/dev/null", here.unit("httpd.service")).expect("a mask");
    let said = here.act("--replace-httpd");
    let told = format!(
        "{} masks the unit, so that nobody starts it; if this is to change: systemctl unmask httpd.service\n",
        here.unit("httpd.service").display()
    );
    assert_eq!(said, (1, String::new(), told));
    fs::remove_file(here.unit("httpd.service")).expect("the mask");

    assert_eq!((here.orders(), here.etc()), (vec![], before));
    assert!(here.runs("httpd") && !Path::new(&here.home("conf/forward-only")).exists());
}

#[test]
fn a_start_that_fails_brings_httpd_back() {
    let here = Machine::new("back", "httpd");
    here.starts("httpd");
    here.starts("refuse");
    let before = here.etc();
    let (status, _, err) = here.act("--replace-httpd");
    assert_eq!(status, 1);
    let told =
        "the reverse listeners did not start (journalctl -u httpd says why); httpd is back in its place\n";
    assert_eq!(err, told);
    assert_eq!(
        here.orders(),
        ["stop httpd", "daemon-reload", "restart httpd", "daemon-reload", "start httpd"]
    );
    assert_eq!(here.etc(), before);
}

#[test]
fn wrong_words_and_places_are_named() {
    let here = Machine::new("words", "httpd");
    let usage = "usage: install.sh --replace-httpd|--restore-httpd [--root DIR] [PREFIX]\n";
    assert_eq!(here.install(&["--replace-httpd", "--force"]), (1, String::new(), usage.to_owned()));
    assert_eq!(here.install(&["--replace-httpd", "--root", "/none"]).2, "--root needs a folder\n");
    let root = here.path("root").to_string_lossy().into_owned();
    let (status, _, err) = here.install(&["--replace-httpd", "--root", &root, "/none"]);
    let told = "/none/bin/apim-proxy is not there; run install.sh first, with the same PREFIX\n";
    assert_eq!((status, err.as_str()), (1, told));
}

#[test]
fn systemd_understands_the_unit() {
    let here = Machine::new("verify", "httpd");
    assert_eq!(here.act("--replace-httpd").0, 0);
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(here.unit("httpd.service"))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = verify else {
        eprintln!("not looked at: systemd-analyze is not installed (scripts/test installs it)");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("httpd.service")).collect();
    assert!(ours.is_empty() && output.status.success(), "{text}");
}

#[test]
fn both_processes_share_the_listeners() {
    let here = Machine::new("share", "httpd");
    assert_eq!(here.act("--replace-httpd").0, 0);
    let started = run(&mut Command::new(here.home("bin/start.sh")));
    assert_eq!((started.0, started.2.as_str()), (0, ""));
    let listens = |file: &str| -> Vec<String> {
        let text = fs::read_to_string(file).expect("a ready file");
        text.lines().filter_map(|line| line.strip_prefix("listen ")).map(str::to_owned).collect()
    };
    assert_eq!(listens(&here.home("log/apim-proxy.ready")).len(), 1, "the forward listener alone");

    // The unit's command line, as systemd runs it; the shell reads its quotes alike.
    let unit = fs::read_to_string(here.unit("httpd.service")).expect("the unit");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command line");
    let socket = UnixDatagram::bind(here.path("notify")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let ready = here.home("log/httpd.ready");
    let mut child = Command::new("bash")
        .args(["-c", &format!("exec {line} \"--server.ready-file={ready}\"")])
        .current_dir(here.home("bin"))
        .env("NOTIFY_SOCKET", here.path("notify"))
        .stdout(Stdio::null())
        .spawn()
        .expect("the command line starts");
    let told = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).expect("a message within the limit");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    let addresses = listens(&ready);
    assert_eq!(addresses.len(), 1, "the reverse listener alone");
    TcpStream::connect(&addresses[0]).expect("it listens");
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it runs");
    let open: Vec<PathBuf> =
        open.filter_map(|entry| fs::read_link(entry.expect("an entry").path()).ok()).collect();
    let log = PathBuf::from(here.home("log/access.log"));
    assert!(log.exists() && !open.contains(&log), "the transaction log is the other's: {open:?}");
    let shown = run(&mut Command::new(here.home("bin/sp.sh")));
    assert!(shown.0 == 0 && !shown.1.contains("--proxy.listeners=reverse"), "{}", shown.1);

    assert_eq!(run(Command::new("kill").arg(child.id().to_string())).0, 0);
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(run(&mut Command::new(here.home("bin/sp.sh"))).0, 0, "port 9000 goes on");
}
