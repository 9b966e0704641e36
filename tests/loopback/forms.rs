//! The proxy as browsers, tools and programs know one: absolute-form, CONNECT, WebSocket and passwords, each client as its
//! people configure it.

use crate::process::{Folder, Nginx, Proxy, Running, output, source, until};
use crate::tls::{World, here};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What every client here is given.
struct Stage {
    proxy: Proxy,
    nginx: Nginx,
    /// The port where nginx speaks TLS.
    secure: u16,
    world: World,
}

impl Stage {
    /// Every form is on, with the settings `more`.
    fn set(more: &[&str]) -> Self {
        let world = World::new();
        let issued = world.pki.issue(&world.root, &here());
        let (nginx, ports) = Nginx::with(1, |folder, ports| {
            format!(
                "server {{ listen 127.0.0.1:{} ssl; root {}; ssl_certificate {}; ssl_certificate_key {}; }}\n",
                ports[0],
                folder.path("www").display(),
                issued.certificate.display(),
                issued.key.display(),
            )
        });
        fs::write(nginx.folder.path("www/page"), "a page\n").expect("the folder is writable");
        let forms = [
            "proxy.forward.forms=header,absolute,connect",
            "proxy.connect.ports=1024-65535",
            "proxy.target.allow=127.0.0.1,localhost",
        ];
        Self { proxy: Proxy::start(&[&forms, more].concat()), nginx, secure: ports[0], world }
    }

    fn plain_url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.nginx.address.port())
    }

    fn secure_url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.secure)
    }

    fn root(&self) -> &Path {
        &self.world.root.certificate
    }

    /// A program that finds the proxy in its environment.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"] {
            command.env(name, self.proxy.url(""));
        }
        command.env("no_proxy", "").env("NO_PROXY", "");
        command
    }
}

#[test]
fn curl_uses_every_form() {
    let stage = Stage::set(&[]);
    let (plain, secure) = (stage.plain_url("/page"), stage.secure_url("/page"));
    let curl = |more: &[&str]| {
        let root = stage.root().to_string_lossy();
        output(
            Command::new("curl")
                .args([
                    "-sS",
                    "--max-time",
                    "60",
                    "--noproxy",
                    "",
                    "--cacert",
                    &root,
                    "-x",
                    &stage.proxy.url(""),
                ])
                .args(more),
        )
    };
    let twice = ["-w", "%{http_code} %{http_connect} %{num_connects}\n", &plain, &plain];
    assert_eq!(curl(&twice), "a page\n200 000 1\na page\n200 000 0\n");
    assert_eq!(curl(&["-w", "%{http_code} %{http_connect}\n", &secure]), "a page\n200 200\n");
    assert_eq!(curl(&["--proxytunnel", "-w", "%{http_connect}\n", &plain]), "a page\n200\n");
    stage.proxy.counts("tunnels", 2);
}

#[test]
fn wget_follows_its_environment() {
    let stage = Stage::set(&[]);
    let wget = |url: &str| {
        let root = format!("--ca-certificate={}", stage.root().display());
        output(stage.program("wget").args(["-q", "-O", "-", "-t", "1", "-T", "60", &root, url]))
    };
    assert_eq!(wget(&stage.plain_url("/page")), "a page\n");
    assert_eq!(wget(&stage.secure_url("/page")), "a page\n");
    stage.proxy.counts("tunnels", 1);
}

#[test]
fn git_clones_through_a_tunnel() {
    let (stage, folder) = (Stage::set(&[]), Folder::new());
    let (work, bare) = (folder.path("work"), stage.nginx.folder.path("www/one.git"));
    let git = |arguments: &[&str]| {
        output(
            stage
                .program("git")
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .env("GIT_SSL_CAINFO", stage.root())
                .env("GIT_TERMINAL_PROMPT", "0")
                .args(["-c", "user.name=a", "-c", "user.email=a@b.test"])
                .args(arguments),
        )
    };
    let (work, bare) = (work.to_string_lossy().into_owned(), bare.to_string_lossy().into_owned());
    git(&["init", "-q", &work]);
    fs::write(folder.path("work/file"), "kept\n").expect("the folder is writable");
    git(&["-C", &work, "add", "file"]);
    git(&["-C", &work, "commit", "-q", "-m", "one"]);
    git(&["clone", "-q", "--bare", &work, &bare]);
    git(&["-C", &bare, "update-server-info"]);
    let copy = folder.path("copy");
    git(&["clone", "-q", &stage.secure_url("/one.git"), &copy.to_string_lossy()]);
    assert_eq!(fs::read_to_string(copy.join("file")).expect("it was cloned"), "kept\n");
}

#[test]
fn python_programs_use_every_form() {
    let stage = Stage::set(&[]);
    let websocket = source("websocket_origin.py");
    // Debian's, which has the packages.
    let (_origin, line) = Running::announced(Command::new("/usr/bin/python3").arg("-u").arg(websocket), "\n");
    let said = output(
        Command::new("/usr/bin/python3")
            .arg(source("forms_client.py"))
            .arg(stage.proxy.url(""))
            .args([stage.plain_url("/page"), stage.secure_url("/page")])
            .arg(stage.root())
            .arg(line.trim()),
    );
    let parts = [
        "urllib absolute",
        "urllib CONNECT",
        "requests absolute",
        "requests CONNECT",
        "websockets x-target-host",
        "websockets CONNECT",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), parts);
}

/// A file of users, and its setting.
fn users(folder: &Folder) -> String {
    let file = folder.path("users");
    output(Command::new("htpasswd").args(["-cbB", &file.to_string_lossy(), "ada", "right"]));
    format!("proxy.auth.file={}", file.display())
}

#[test]
fn java_programs_use_every_form_with_a_password() {
    let folder = Folder::new();
    let stage = Stage::set(&[&users(&folder)]);
    let store = stage.world.trust_jks("trust.jks", &[("root", &stage.world.root)]);
    let said = output(
        Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.http.auth.tunneling.disabledSchemes="])
            .arg(format!("-Djavax.net.ssl.trustStore={}", store.display()))
            .arg("-Djavax.net.ssl.trustStorePassword=changeit")
            .arg(source("ProxyClient.java"))
            .args([
                stage.proxy.address.port().to_string(),
                stage.plain_url("/page"),
                stage.secure_url("/page"),
            ]),
    );
    assert_eq!(said, "absolute\nCONNECT\nwrong password\n");
}

#[test]
fn node_programs_use_every_form() {
    let stage = Stage::set(&[]);
    let said = output(
        Command::new("node").env("NODE_EXTRA_CA_CERTS", stage.root()).arg(source("forms_client.mjs")).args([
            stage.proxy.url(""),
            stage.plain_url("/page"),
            stage.secure_url("/page"),
        ]),
    );
    assert_eq!(said, "absolute\nCONNECT\n");
}

#[test]
fn apt_fetches_in_absolute_form() {
    let (stage, folder) = (Stage::set(&[]), Folder::new());
    let archive = stage.nginx.folder.path("www/debian");
    fs::create_dir_all(&archive).expect("the folder is writable");
    fs::write(archive.join("Packages"), "").expect("the folder is writable");
    fs::write(archive.join("Release"), "Suite: test\n").expect("the folder is writable");
    for name in ["lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "dpkg"] {
        fs::create_dir_all(folder.path(name)).expect("the folder is writable");
    }
    fs::write(folder.path("dpkg/status"), "").expect("the folder is writable");
    let line = format!("deb [trusted=yes allow-insecure=yes] {} ./\n", stage.plain_url("/debian"));
    fs::write(folder.path("etc/sources.list"), line).expect("the folder is writable");
    let option = |name: &str, value: String| ["-o".to_owned(), format!("{name}={value}")];
    let at = |name: &str| folder.path(name).to_string_lossy().into_owned();
    let options = [
        option("Dir::Etc", at("etc")),
        option("Dir::Etc::Parts", at("etc/apt.conf.d")),
        option("Dir::State::Lists", at("lists")),
        option("Dir::State::status", at("dpkg/status")),
        option("Dir::Cache", at("cache")),
        option("Acquire::http::Proxy", stage.proxy.url("")),
        option("Acquire::Languages", "none".to_owned()),
        option("APT::Sandbox::User", String::new()),
        option("APT::Update::Post-Invoke", String::new()),
    ]
    .concat();
    let said = output(Command::new("apt-get").args(&options).arg("update"));
    assert!(said.contains("/debian ./"), "{said}");
    let lists = fs::read_dir(folder.path("lists")).expect("the folder is there").flatten();
    let fetched = lists.filter(|entry| entry.file_name().to_string_lossy().contains("_debian_._")).count();
    assert!(fetched > 0, "{said}");
}

#[test]
fn passwords_are_asked_for_known_again_and_read_anew() {
    let folder = Folder::new();
    let stage = Stage::set(&[&users(&folder), "proxy.ssl.reload-interval=0"]);
    let status = |user: &str, url: &str| {
        let root = stage.root().to_string_lossy();
        let done = Command::new("curl")
            .args(["-sS", "--max-time", "60", "--noproxy", "", "--cacert", &root, "-x", &stage.proxy.url("")])
            .args(["-o", "/dev/null", "-w", "%{http_code} %{http_connect}", "-U", user, url])
            .output()
            .expect("curl is installed");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let (plain, secure) = (stage.plain_url("/page"), stage.secure_url("/page"));
    assert_eq!(status("ada:right", &plain), "200 000");
    assert_eq!(status("ada:right", &secure), "200 200");
    assert_eq!(status("ada:wrong", &plain), "407 000");
    assert_eq!(status("ada:wrong", &secure), "000 407");
    assert_eq!(status("eve:right", &plain), "407 000");
    // The file is read again when it is told to; from then on the old password passes no more.
    output(Command::new("htpasswd").args(["-bB", &folder.path("users").to_string_lossy(), "ada", "new"]));
    stage.proxy.process.signal(rustix::process::Signal::HUP);
    until("the file was read", || stage.proxy.log().contains("new connections use").then_some(()));
    assert_eq!(status("ada:right", &plain), "407 000");
    assert_eq!(status("ada:new", &plain), "200 000");
}
