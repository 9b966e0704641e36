//! The operators' scripts against the real binary: install, start, show, stop, and every way a start fails.
//!
//! Each test has an installation of its own below a folder with a blank in its name; ports are 0 or held by the test.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output};

/// An installation that ends with its test.
struct Installed {
    home: PathBuf,
}

/// What a script said and its status.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().expect("no signal ends a script"),
            out: String::from_utf8(output.stdout).expect("scripts write UTF-8"),
            err: String::from_utf8(output.stderr).expect("scripts write UTF-8"),
        }
    }
}

fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Said {
    run_in("/", program, arguments)
}

fn run_in(folder: impl AsRef<Path>, program: impl AsRef<OsStr>, arguments: &[&str]) -> Said {
    Command::new(program).args(arguments).current_dir(folder).output().expect("the program starts").into()
}

/// Words that run the rest as the user without rights; only root can.
const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

fn install(home: &Path) -> Said {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh");
    run(script, &["--binary", env!("CARGO_BIN_EXE_apim-proxy"), &home.to_string_lossy()])
}

impl Installed {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().canonicalize().expect("there is a temporary folder");
        let home = folder.join(format!("apim scripts {} {test}", process::id()));
        let said = install(&home);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{}", said.out);
        Self { home }
    }

    fn path(&self, below: &str) -> String {
        self.home.join(below).to_string_lossy().into_owned()
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Said {
        run(self.path(&format!("bin/{name}")), arguments)
    }

    fn start(&self, port: u16) -> Said {
        self.script("start.sh", &["--server.address=127.0.0.1", &format!("--server.port={port}")])
    }

    /// Starts, and gives the pid and the address start.sh names.
    fn started(&self) -> (String, String) {
        let said = self.start(0);
        assert_eq!((said.status, said.err.as_str()), (0, ""));
        let rest = said.out.strip_prefix("apim-proxy started, pid ").expect(&said.out);
        let (pid, address) = rest.split_once(", listening on ").expect(rest);
        (pid.to_owned(), address.trim_end().to_owned())
    }

    fn not_running(&self) -> Said {
        Said {
            status: 1,
            out: format!("apim-proxy is not running ({})\n", self.home.display()),
            err: String::new(),
        }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.script("kill.sh", &["-9"]);
        // Left for the reader when the test fails.
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.home).expect("the test made this folder");
        }
    }
}

fn same(said: &Said, expected: &Said) {
    assert_eq!((said.status, &said.out, &said.err), (expected.status, &expected.out, &expected.err));
}

#[test]
fn an_upgrade_keeps_the_configuration() {
    let here = Installed::new("upgrade");
    let conf = here.path("conf/application.properties");
    let shipped = fs::read_to_string(&conf).unwrap();
    for folder in ["bin", "conf", "lib", "log"] {
        assert!(here.home.join(folder).is_dir(), "{folder}");
    }
    assert_eq!(fs::metadata(&conf).unwrap().mode() & 0o777, 0o640, "it will hold passwords");

    let again = install(&here.home);
    assert_eq!(again.status, 0);
    assert!(!Path::new(&format!("{conf}.new")).exists(), "nothing new");

    fs::write(&conf, "server.port=0\n").unwrap();
    let again = install(&here.home);
    assert_eq!(
        (again.status, again.out),
        (
            0,
            format!(
                "installed in {home}; {conf} was kept, the new one is {conf}.new\nstart it with: {home}/bin/start.sh\n",
                home = here.home.display()
            )
        )
    );
    assert_eq!(fs::read_to_string(&conf).unwrap(), "server.port=0\n");
    assert_eq!(fs::read_to_string(format!("{conf}.new")).unwrap(), shipped);
}

#[test]
fn it_starts_shows_itself_and_stops() {
    let here = Installed::new("life");
    same(&here.script("sp.sh", &[]), &here.not_running());
    same(&here.script("kill.sh", &[]), &here.not_running());

    let (pid, address) = here.started();
    TcpStream::connect(&address).expect("what start.sh names answers");

    let shown = here.script("sp.sh", &[]);
    assert_eq!((shown.status, shown.out.lines().count()), (0, 1), "{}", shown.out);
    assert!(
        shown.out.contains(&format!("file:{}", here.path("conf/application.properties"))),
        "{}",
        shown.out
    );
    assert!(shown.out.contains(&format!(" {pid} ")) && shown.out.contains("bin/apim-proxy"), "{}", shown.out);
    assert_eq!(fs::read_to_string(here.path("log/apim-proxy.pid")).unwrap(), format!("{pid}\n"));

    let second = here.start(0);
    let kill = here.path("bin/kill.sh");
    let refusal = format!("apim-proxy not started: it runs already, pid {pid}; stop it first with {kill}\n");
    same(&second, &Said { status: 1, out: String::new(), err: refusal });

    // An upgrade does not disturb a running process.
    assert_eq!(install(&here.home).status, 0);
    TcpStream::connect(&address).expect("it still runs");

    let stopped = here.script("kill.sh", &[]);
    same(&stopped, &Said { status: 0, out: format!("apim-proxy stopped, pid {pid}\n"), err: String::new() });
    same(&here.script("sp.sh", &[]), &here.not_running());
}

#[test]
fn of_two_starts_at_once_one_wins() {
    let here = Installed::new("race");
    let both = std::thread::scope(|scope| {
        let starts = [scope.spawn(|| here.start(0)), scope.spawn(|| here.start(0))];
        starts.map(|start| start.join().expect("a start ends"))
    });
    let mut statuses = both.each_ref().map(|said| said.status);
    statuses.sort_unstable();
    assert_eq!(statuses, [0, 1], "{both:?}");
    assert_eq!(here.script("sp.sh", &[]).status, 0);
    let mut left: Vec<_> = fs::read_dir(here.path("log"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort_unstable();
    let files = ["access.log", "access.log.lock", "apim-proxy.pid", "apim-proxy.ready", "output.log"];
    assert_eq!(left, files);
}

#[test]
fn sp_can_be_sourced_and_leaves_nothing_behind() {
    let here = Installed::new("sourced");
    let shell = r#"set -u; before=$(set +o; compgen -v; compgen -A function; pwd)
        source "$0"; status=$?
        after=$(unset status; set +o; compgen -v; compgen -A function; pwd)
        diff <(echo "$before" | grep -v -e before) <(echo "$after" | grep -v -e before) >&2; echo "status $status""#;
    let source = || run("bash", &["-c", shell, &here.path("bin/sp.sh")]);
    let none = here.not_running();
    same(&source(), &Said { status: 0, out: format!("{}status 1\n", none.out), err: String::new() });
    let (pid, _) = here.started();
    let shown = source();
    assert!(
        shown.out.contains(&pid) && shown.out.ends_with("\nstatus 0\n") && shown.err.is_empty(),
        "{shown:?}"
    );
}

#[test]
fn a_stale_pid_file_does_not_fool_it() {
    let here = Installed::new("stale");
    // The number now belongs to a living process that is not ours: this test.
    fs::write(here.path("log/apim-proxy.pid"), format!("{}\n", process::id())).unwrap();
    fs::write(here.path("log/apim-proxy.ready"), format!("pid {}\nlisten 192.0.2.1:1\n", process::id()))
        .unwrap();
    same(&here.script("sp.sh", &[]), &here.not_running());
    same(&here.script("kill.sh", &["-9"]), &here.not_running());
    let (pid, address) = here.started();
    assert_ne!(pid, process::id().to_string());
    TcpStream::connect(address).expect("it serves");
    // And after an end without farewell.
    assert_eq!(here.script("kill.sh", &["-9"]).status, 0);
    here.started();
}

#[test]
fn a_broken_configuration_is_explained() {
    let here = Installed::new("broken");
    let conf = here.path("conf/application.properties");
    fs::write(here.path("log/output.log"), "an older start\n").unwrap();
    fs::write(&conf, "server.port=abc\n").unwrap();
    let said = here.script("start.sh", &[]);
    assert_eq!((said.status, said.out.as_str()), (1, ""));
    assert!(said.err.contains("server.port") && said.err.contains("abc"), "{}", said.err);
    assert!(!said.err.contains("an older start"), "{}", said.err);
    let output = here.path("log/output.log");
    let last =
        format!("apim-proxy not started: it ended with status 1; what it printed is above and in {output}");
    assert_eq!(said.err.lines().last(), Some(last.as_str()));

    fs::remove_file(&conf).unwrap();
    let said = here.script("start.sh", &[]);
    assert_eq!(said.status, 1);
    assert!(said.err.starts_with(&format!("apim-proxy not started: {conf} is missing or ")), "{}", said.err);
}

#[test]
fn a_port_in_use_is_named() {
    let here = Installed::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = here.start(taken.local_addr().unwrap().port());
    assert_eq!(said.status, 1);
    assert!(said.err.contains(&taken.local_addr().unwrap().to_string()), "{}", said.err);
    same(&here.script("sp.sh", &[]), &here.not_running());
}

#[test]
fn another_users_files_are_explained() {
    let here = Installed::new("owner");
    // Only root can play two users.
    if fs::metadata(&here.home).unwrap().uid() != 0 {
        return;
    }
    let nobody = |script: &str| run(AS_NOBODY[0], &[&AS_NOBODY[1..], &[&here.path(script)]].concat());
    fs::set_permissions(
        here.path("conf/application.properties"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let said = nobody("bin/start.sh");
    assert_eq!(said.status, 1);
    let log = here.path("log");
    assert!(
        said.err.starts_with(&format!("apim-proxy not started: {log} belongs to root and ")),
        "{}",
        said.err
    );

    let (pid, _) = here.started();
    assert_eq!(nobody("bin/sp.sh").status, 0);
    let said = nobody("bin/kill.sh");
    assert_eq!(said.status, 2);
    assert!(said.err.starts_with(&format!("apim-proxy, pid {pid}, belongs to root and ")), "{}", said.err);
    assert_eq!(here.script("sp.sh", &[]).status, 0, "it still runs");
}

/// Starts, shows and stops it from `bin`, each script behind the words of `before`.
fn lives_from_bin(here: &Installed, before: &[&str]) {
    let script = |words: &[&str]| run_in(here.path("bin"), before[0], &[&before[1..], words].concat());
    let started = script(&["./start.sh", "--server.address=127.0.0.1", "--server.port=0"]);
    assert_eq!((started.status, started.err.as_str()), (0, ""));
    let (_, address) = started.out.trim_end().split_once(", listening on ").expect(&started.out);
    TcpStream::connect(address).expect("what start.sh names answers");
    assert_eq!(script(&["./sp.sh"]).status, 0);
    let stopped = script(&["./kill.sh"]);
    assert_eq!((stopped.status, stopped.err.as_str()), (0, ""));
    same(&script(&["./sp.sh"]), &here.not_running());
}

#[test]
fn it_runs_from_its_folder_under_sudo() {
    // Who has to type a password cannot take part.
    if run("sudo", &["-n", "true"]).status == 0 {
        lives_from_bin(&Installed::new("sudo"), &["sudo", "-n"]);
    }
}

#[test]
fn it_runs_from_its_folder_as_an_ordinary_user() {
    let here = Installed::new("ordinary");
    // Root plays one; anyone else is one.
    if fs::metadata(&here.home).unwrap().uid() == 0 {
        assert_eq!(run("chown", &["-R", "65534:65534", &here.path("")]).status, 0);
        lives_from_bin(&here, &AS_NOBODY);
    } else {
        lives_from_bin(&here, &["env"]);
    }
}
