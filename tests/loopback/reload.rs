//! `x-reload-httpclient: true`: the certificate of a target goes into the trust store, whatever its format, and new
//! connections trust it; or nothing changes at all.

use crate::pki::{Issued, Order, Pki};
use crate::process::{Folder, Proxy, output, until};
use crate::raw::{Answer, Client};
use crate::secure::SecureOrigin;
use crate::tls::{PASSWORD, VERSIONS, World, pem, s_client, text};
use socket2::SockRef;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const DONE: &str = "reload httpclient";

/// A pinned server: nobody's authority, known as this machine.
fn leaf() -> Order {
    Order::server("127.0.0.1").with("subjectAltName=IP:127.0.0.1,DNS:localhost")
}

/// A proxy that trusts what `store` holds.
fn proxy(store: &Path, more: &[&str]) -> Proxy {
    let settings = [
        "server.ssl.enabled=false".to_owned(),
        format!("server.ssl.trust-store={}", store.display()),
        format!("server.ssl.trust-store-password={PASSWORD}"),
    ];
    Proxy::start(&[&settings.each_ref().map(String::as_str)[..], more].concat())
}

#[track_caller]
fn reload_with(proxy: &Proxy, target: &str, headers: &str) -> Answer {
    let mut client = Client::connect(proxy.address);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: proxy\r\nx-target-host: {target}\r\nx-reload-httpclient: true\r\n{headers}\
         Content-Length: 4\r\n\r\nbody"
    ));
    client.answer()
}

#[track_caller]
fn reload(proxy: &Proxy, target: &str) -> Answer {
    reload_with(proxy, target, "")
}

#[track_caller]
fn get(proxy: &Proxy, target: &str) -> (u16, Option<String>) {
    let answer = Client::connect(proxy.address).get_from(target, "/p");
    let (status, code) = answer.refusal();
    (status, code.map(str::to_owned))
}

fn untrusted() -> (u16, Option<String>) {
    (502, Some("tls_untrusted".to_owned()))
}

fn keytool(words: &[&str]) -> String {
    output(Command::new("keytool").args(["-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en"]).args(words))
}

/// What keytool lists: alias and type of each entry, sorted.
fn listed(store: &Path) -> Vec<String> {
    let text = keytool(&["-list", "-keystore", text(store), "-storepass", PASSWORD]);
    let kinds = ["PrivateKeyEntry", "trustedCertEntry"];
    let entry = |line: &str| {
        let kind = kinds.into_iter().find(|kind| line.trim_end().ends_with(&format!(", {kind},")))?;
        Some(format!("{} {kind}", line.split(',').next().unwrap_or_default()))
    };
    let mut entries: Vec<String> = text.lines().filter_map(entry).collect();
    entries.sort();
    entries
}

/// A store of keytool's with a key and a trusted authority.
fn store(world: &World, name: &str, kind: &str) -> PathBuf {
    let keys = world.pkcs12("own", &[&world.client, &world.middle]);
    let path = world.join(name, kind, &[&keys]);
    keytool(&[
        "-importcert",
        "-noprompt",
        "-alias",
        "root",
        "-file",
        text(&world.root.certificate),
        "-keystore",
        text(&path),
        "-storepass",
        PASSWORD,
    ]);
    path
}

/// What a file is, to tell whether anybody wrote it.
fn state(path: &Path) -> (Vec<u8>, u64, i64) {
    let about = fs::metadata(path).expect("it is there");
    (fs::read(path).expect("it can be read"), about.ino(), about.mtime_nsec())
}

/// Plants the certificate of a new origin twice, and shows that the second time nothing is written.
fn plants(proxy: &Proxy, store: &Path, origin: &SecureOrigin) {
    fs::set_permissions(store, fs::Permissions::from_mode(0o640)).expect("it is ours");
    assert_eq!(get(proxy, &origin.target()), untrusted());
    let answer = reload(proxy, &origin.target());
    assert_eq!((answer.status, answer.text()), (201, DONE), "{}", proxy.log());
    assert_eq!(answer.header("x-proxy-error"), None);
    assert_eq!(get(proxy, &origin.target()), (200, None));
    assert_eq!(fs::metadata(store).expect("it is there").mode() & 0o7777, 0o640);
    let planted = state(store);
    // However the target is written.
    for target in [origin.target(), format!("HTTP://{}/base/", origin.address), origin.address.to_string()] {
        let answer = reload(proxy, &target);
        assert_eq!((answer.status, answer.text()), (201, DONE));
    }
    assert_eq!(state(store), planted);
    proxy.counts("credentials_reloaded", 1);
    proxy.counts("panics", 0);
}

#[test]
fn a_java_store_gets_the_certificate_and_keeps_the_rest() {
    let world = World::new();
    let origin = SecureOrigin::start(&world.pki.self_signed(&leaf()), &[]);
    for kind in ["JKS", "PKCS12"] {
        let store = store(&world, &format!("trust.{kind}"), kind);
        let proxy = proxy(&store, &[]);
        plants(&proxy, &store, &origin);
        let expected = ["127.0.0.1 trustedCertEntry", "own PrivateKeyEntry", "root trustedCertEntry"];
        assert_eq!(listed(&store), expected, "{kind}");
        // The key can still be decrypted.
        let copy = world.folder.path(&format!("copy-of-{kind}.p12"));
        let passwords = ["-srcstorepass", PASSWORD, "-deststorepass", PASSWORD];
        let files = ["-srckeystore", text(&store), "-destkeystore", text(&copy), "-srcalias", "own"];
        keytool(&[&["-importkeystore", "-noprompt"][..], &files, &passwords].concat());
    }
}

#[test]
fn a_pem_file_gets_the_certificate_and_keeps_the_rest() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let origin = SecureOrigin::start(&pki.self_signed(&leaf()), &[]);
    let store = folder.path("trust.pem");
    let before = format!("# ours\n{}", pem(&pki.root("Root")));
    fs::write(&store, &before).unwrap();
    let proxy = proxy(&store, &[]);
    plants(&proxy, &store, &origin);
    let after = fs::read_to_string(&store).unwrap();
    let added = after.strip_prefix(&before).expect("the rest is as it was");
    assert!(added.starts_with("# alias: 127.0.0.1\n-----BEGIN CERTIFICATE-----\n"), "{added}");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let old = pki.self_signed(&leaf());
    let origin = SecureOrigin::start(&old, &[]);
    let store = folder.path("trust.pem");
    let root = pem(&pki.root("Root"));
    fs::write(&store, &root).unwrap();
    let proxy = proxy(&store, &[]);
    assert_eq!(reload(&proxy, &origin.target()).status, 201);
    let new = pki.self_signed(&leaf());
    origin.show(&new, &[]);
    // Pooled connections go on; a new one is needed to see the new certificate.
    assert_eq!(reload(&proxy, &origin.target()).status, 201);
    assert_eq!(get(&proxy, &origin.target()), (200, None));
    assert_eq!(fs::read_to_string(&store).unwrap(), format!("{root}# alias: 127.0.0.1\n{}", pem(&new)));
    // Another name of the same machine is another alias.
    let named = format!("https://LocalHost:{}", origin.address.port());
    let answer = reload(&proxy, &named);
    assert_eq!((answer.status, answer.text()), (201, DONE), "a name it carries is trusted already");
    proxy.counts("credentials_reloaded", 2);
}

#[test]
fn a_chain_that_is_trusted_needs_nothing() {
    let world = World::new();
    let store = world.folder.path("trust.pem");
    fs::write(&store, pem(&world.root)).unwrap();
    let origin = SecureOrigin::start(&world.server, &[&world.middle]);
    let proxy = proxy(&store, &[]);
    let before = state(&store);
    assert_eq!(reload(&proxy, &origin.target()).status, 201);
    assert_eq!(state(&store), before);
    proxy.counts("credentials_reloaded", 0);
    // The lock file was not even made.
    assert!(!world.folder.path("trust.pem.lock").exists());
}

#[test]
fn an_origin_that_wants_our_certificate_shows_its_own_all_the_same() {
    let world = World::new();
    let server = world.pki.self_signed(&leaf());
    for (version, name) in VERSIONS {
        let store = world.folder.path(&format!("{name}.pem"));
        fs::write(&store, pem(&world.root)).unwrap();
        let proxy = proxy(&store, &["proxy.target.allow=127.0.0.1,localhost"]);
        let words = [version, "-Verify", "1", "-verify_return_error"];
        let (_origin, url) = world.s_server(&[&server], &words);
        let answer = reload(&proxy, &url);
        assert_eq!((answer.status, answer.text()), (201, DONE), "{name}: {}", proxy.log());
    }
}

#[test]
fn who_may_not_reload_is_told_so() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let origin = SecureOrigin::start(&pki.self_signed(&leaf()), &[]);
    let store = folder.path("trust.pem");
    fs::write(&store, pem(&pki.root("Root"))).unwrap();
    let proxy = proxy(&store, &[]);
    for header in ["X-Forwarded-For: 10.0.0.1", "forwarded: for=10.0.0.1", "Via: 1.1 alb"] {
        let answer = reload_with(&proxy, &origin.target(), &format!("{header}\r\n"));
        assert_eq!(answer.refusal(), (403, Some("reload_denied")), "{header}");
    }
    assert_eq!(origin.handshakes(), 0);
    let named = Proxy::start(&[
        "server.ssl.enabled=false",
        &format!("server.ssl.trust-store={}", store.display()),
        "proxy.reload.allow=127.0.0.0/8",
    ]);
    let answer = reload_with(&named, &origin.target(), "Via: 1.1 alb\r\n");
    assert_eq!(answer.status, 201);
}

/// What is refused leaves the store as it was and the client with this status and sentence.
#[track_caller]
fn refused(proxy: &Proxy, store: &Path, target: &str, status: u16, sentence: &str) {
    let before = state(store);
    let answer = reload(proxy, target);
    assert_eq!((answer.status, answer.text()), (status, sentence), "{}", proxy.log());
    assert_eq!(state(store), before);
    proxy.counts("credentials_reloaded", 0);
}

#[test]
fn a_certificate_that_would_vouch_for_more_is_not_planted() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let root = pki.root("Root");
    let store = folder.path("trust.pem");
    fs::write(&store, pem(&root)).unwrap();
    let proxy = proxy(&store, &["proxy.target.allow=127.0.0.1,localhost"]);
    let sentence = "the certificate of the target may issue others or does not name its host, so it was not added to the \
                    trust store";
    // An authority that serves under a name it does not carry, and a certificate of another host.
    let authority = SecureOrigin::start(&pki.root("Another"), &[]);
    refused(&proxy, &store, &authority.target(), 500, sentence);
    until("the log says why", || proxy.log().contains("CN=Another may issue certificates").then_some(()));
    // It is refused for the machine's other name too, whatever the alias would be.
    let named = format!("https://localhost:{}", authority.address.port());
    refused(&proxy, &store, &named, 500, sentence);
    assert_eq!(get(&proxy, &authority.target()), (502, Some("tls_certificate".to_owned())));
}

#[test]
fn what_cannot_be_reached_is_not_planted() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let store = folder.path("trust.pem");
    fs::write(&store, pem(&pki.root("Root"))).unwrap();
    let proxy = proxy(&store, &["proxy.target.allow=127.0.0.1"]);
    let sentence =
        "the target did not complete a TLS handshake, so its certificate was not added to the trust store";
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refused(&proxy, &store, &format!("https://{closed}"), 500, sentence);
    let plain = crate::origin::Origin::start();
    refused(&proxy, &store, &format!("https://{}", plain.address), 500, sentence);
    refused(&proxy, &store, "https://no-such-host.invalid", 500, sentence);
    let denied = "the egress policy does not allow this target (proxy.target.allow)";
    refused(&proxy, &store, "https://127.0.0.2:1", 403, denied);
    refused(&proxy, &store, &proxy.address.to_string(), 403, denied);
}

#[test]
fn without_a_store_there_is_nothing_to_add_to() {
    let proxy = Proxy::start(&[]);
    let answer = reload(&proxy, "https://127.0.0.1:1");
    assert_eq!(answer.refusal(), (500, Some("reload_failed")));
    assert_eq!(answer.text(), "there is no trust store to add the certificate to (server.ssl.trust-store)");
}

/// A trust store with a command beside it.
struct Hooked {
    folder: Folder,
    store: PathBuf,
    leaf: Issued,
    origin: SecureOrigin,
    _pki: Pki,
}

impl Hooked {
    fn new(script: &str) -> Self {
        let (pki, folder) = (Pki::new(), Folder::new());
        let store = folder.path("trust.pem");
        fs::write(&store, pem(&pki.root("Root"))).unwrap();
        fs::write(folder.path("hook.sh"), script).unwrap();
        let leaf = pki.self_signed(&leaf());
        let origin = SecureOrigin::start(&leaf, &[]);
        Self { folder, store, leaf, origin, _pki: pki }
    }

    fn proxy(&self, more: &[&str]) -> Proxy {
        proxy(&self.store, &[&["server.ssl.reloadShell= sh  hook.sh a"][..], more].concat())
    }
}

const SHELL_FAILED: &str = "the command of server.ssl.reloadShell failed, so the trust store is as it was";

#[test]
fn the_command_finds_the_new_certificate() {
    let hooked =
        Hooked::new("set -e; cat newCert.crt > \"$1\"; pwd > where; grep -c BEGIN trust.pem > count\n");
    let proxy = hooked.proxy(&[]);
    let answer = reload(&proxy, &hooked.origin.target());
    assert_eq!((answer.status, answer.text()), (201, DONE), "{}", proxy.log());
    assert_eq!(hooked.folder.text("a"), pem(&hooked.leaf));
    assert!(hooked.folder.text("newCert.crt").lines().all(|line| line.len() <= 64));
    let here = fs::canonicalize(hooked.folder.path("")).unwrap();
    assert_eq!(Path::new(hooked.folder.text("where").trim()), here);
    assert_eq!(hooked.folder.text("count"), "2\n");
    assert_eq!(get(&proxy, &hooked.origin.target()), (200, None));
    // What is trusted already needs no command.
    fs::remove_file(hooked.folder.path("a")).unwrap();
    assert_eq!(reload(&proxy, &hooked.origin.target()).status, 201);
    assert!(!hooked.folder.path("a").exists());
}

#[test]
fn a_command_that_fails_undoes_everything() {
    for script in ["exit 3\n", "echo broken > trust.pem\n", "kill $$\n"] {
        let hooked = Hooked::new(script);
        let proxy = hooked.proxy(&["proxy.ssl.reload-interval=100ms"]);
        let before = fs::read(&hooked.store).unwrap();
        let answer = reload(&proxy, &hooked.origin.target());
        assert_eq!(answer.refusal(), (500, Some("reload_failed")), "{script}");
        assert_eq!(fs::read(&hooked.store).unwrap(), before, "{script}");
        assert_eq!(get(&proxy, &hooked.origin.target()), untrusted());
        until("the log says why", || proxy.log().contains(" failed: ").then_some(()));
        proxy.counts("credentials_reloaded", 0);
    }
}

#[test]
fn a_command_that_hangs_is_killed_and_everything_undone() {
    let hooked = Hooked::new("sleep 1000 & echo $! > child; wait\n");
    let proxy = hooked.proxy(&["proxy.reload.timeout=4s"]);
    let before = fs::read(&hooked.store).unwrap();
    let answer = reload(&proxy, &hooked.origin.target());
    assert_eq!((answer.status, answer.text()), (500, SHELL_FAILED));
    assert_eq!(fs::read(&hooked.store).unwrap(), before);
    let child = hooked.folder.text("child");
    let state = format!("/proc/{}/stat", child.trim());
    until("what it started is dead", || {
        let lives = fs::read_to_string(&state).is_ok_and(|state| !state.contains(") Z "));
        (!lives).then_some(())
    });
    assert_eq!(get(&proxy, &hooked.origin.target()), untrusted());
    let said = "sh did not end within proxy.reload.timeout and was killed";
    until("the log says why", || proxy.log().contains(said).then_some(()));
}

#[test]
fn clients_that_leave_meanwhile_do_no_harm_and_others_are_served() {
    let hooked = Hooked::new("echo > begun; while [ ! -e go ]; do sleep 0.01; done\n");
    let proxy = hooked.proxy(&[]);
    let ask = format!(
        "GET / HTTP/1.1\r\nHost: p\r\nx-target-host: {}\r\nx-reload-httpclient: true\r\n\r\n",
        hooked.origin.target()
    );
    let mut leaving = Client::connect(proxy.address);
    leaving.send(&ask);
    until("the command runs", || hooked.folder.path("begun").exists().then_some(()));
    let mut resetting = Client::connect(proxy.address);
    resetting.send(&ask);
    let mut waiting = Client::connect(proxy.address);
    waiting.send(&ask);
    // The loop is not held up.
    let plain = crate::origin::Origin::start();
    assert_eq!(Client::connect(proxy.address).get(plain.address, "/a").text(), "/a");
    assert_eq!(get(&proxy, &hooked.origin.target()), untrusted());
    // One ends its stream, which may only be half of its connection; one is gone.
    drop(leaving);
    SockRef::from(&resetting.stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(resetting);
    proxy.counts("clients_gone", 1);
    fs::write(hooked.folder.path("go"), "").unwrap();
    // It was trusted for the one that left.
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.text()), (201, DONE));
    waiting.send(format!("GET /b HTTP/1.1\r\nHost: p\r\nx-target-host: {}\r\n\r\n", hooked.origin.target()));
    assert_eq!(waiting.answer().text(), "/b");
    proxy.counts("credentials_reloaded", 1);
    proxy.counts("panics", 0);
}

#[test]
fn more_than_can_wait_are_turned_away() {
    let hooked = Hooked::new("echo > begun; while [ ! -e go ]; do sleep 0.01; done\n");
    let proxy = hooked.proxy(&[]);
    let ask = |proxy: &Proxy| {
        let mut client = Client::connect(proxy.address);
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: p\r\nx-target-host: {}\r\nx-reload-httpclient: true\r\n\r\n",
            hooked.origin.target()
        ));
        client
    };
    let mut clients = vec![ask(&proxy)];
    until("the command runs", || hooked.folder.path("begun").exists().then_some(()));
    clients.extend((0..9).map(|_| ask(&proxy)));
    // Eight wait; whichever was the ninth is told at once.
    proxy.counts("refusals", 1);
    fs::write(hooked.folder.path("go"), "").unwrap();
    let mut answers: Vec<u16> = clients.iter_mut().map(|client| client.answer().status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [[201; 9].as_slice(), &[503]].concat());
}

#[test]
fn what_others_did_to_the_store_is_kept() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (root, other) = (pki.root("Root"), pki.root("Other"));
    let store = folder.path("trust.pem");
    fs::write(&store, pem(&root)).unwrap();
    // Another proxy on the same folder, and neither has looked since.
    let proxies = [(); 2].map(|()| proxy(&store, &["proxy.ssl.reload-interval=0"]));
    let first = SecureOrigin::start(&pki.self_signed(&leaf()), &[]);
    assert_eq!(reload(&proxies[0], &first.target()).status, 201);
    let text = fs::read_to_string(&store).unwrap() + &pem(&other);
    fs::write(&store, &text).unwrap();
    let second = SecureOrigin::start(&pki.self_signed(&leaf().subject("/CN=second")), &[]);
    let named = format!("https://localhost:{}", second.address.port());
    let answer = reload(&proxies[1], &named);
    assert_eq!((answer.status, answer.text()), (201, DONE), "{}", proxies[1].log());
    let after = fs::read_to_string(&store).unwrap();
    assert!(after.starts_with(&text) && after.contains("# alias: localhost\n"), "{after}");
    let of_other = SecureOrigin::start(&pki.issue(&other, &leaf()), &[]);
    for target in [first.target(), named, of_other.target()] {
        assert_eq!(get(&proxies[1], &target), (200, None), "{target}");
    }
    proxies[1].counts("credentials_reloaded", 2);
}

#[test]
fn a_client_of_the_tls_listener_reloads_like_any_other() {
    let world = World::new();
    let store = world.folder.path("trust.pem");
    fs::write(&store, pem(&world.root)).unwrap();
    let keys = world.pkcs12("server", &[&world.server, &world.middle]);
    let proxy = crate::tls::start(&keys, &store, &["server.ssl.client-auth=want"]);
    let origin = SecureOrigin::start(&world.pki.self_signed(&leaf()), &[]);
    let ask = |headers: &str| {
        let target = origin.target();
        let words = format!(
            "GET /p HTTP/1.1\r\nHost: proxy\r\nx-target-host: {target}\r\n{headers}Connection: close\r\n\r\n"
        );
        s_client(proxy.address, &["-quiet"], &words).0
    };
    let said = ask("x-reload-httpclient: true\r\n");
    assert!(said.contains("HTTP/1.1 201 Created\r\n") && said.contains(DONE), "{said}");
    let said = ask("");
    assert!(said.contains("HTTP/1.1 200 OK\r\n"), "{said}");
}
