//! Certificates, keys and trust that change while the proxy runs: their files are watched and read again on SIGHUP.

use crate::life::{end, server};
use crate::pki::{Issued, Order, Pki};
use crate::process::{Folder, Proxy, output, until};
use crate::raw::{Answer, Client};
use crate::secure::SecureOrigin;
use crate::tls::{ASK, World, s_client};
use apim_proxy::engine::Config;
use apim_proxy::stats::Counter;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Puts `text` into the file whole at once.
fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).expect("the folder is writable");
    fs::rename(&draft, path).expect("the folder is writable");
}

fn pem(certificates: &[&Issued]) -> Vec<u8> {
    certificates.iter().flat_map(|issued| fs::read(&issued.certificate).expect("a PEM file")).collect()
}

/// Asks for `/p` of the origin on a new connection of the client.
#[track_caller]
fn get(proxy: &Proxy, origin: &SecureOrigin) -> Answer {
    let mut client = Client::connect(proxy.address);
    client.send(format!("GET /p HTTP/1.1\r\nHost: proxy\r\nx-target-host: {}\r\n\r\n", origin.target()));
    client.answer()
}

/// Waits until the answer is this.
#[track_caller]
fn until_answered(proxy: &Proxy, origin: &SecureOrigin, status: u16, code: Option<&str>) {
    until("the answer changes", || {
        let answer = get(proxy, origin);
        (answer.refusal() == (status, code)).then_some(())
    });
}

fn watched(folder: &Folder, more: &[&str]) -> Proxy {
    let trust = format!("server.ssl.trust-store={}", folder.path("trust.pem").display());
    let mut settings = vec!["server.ssl.enabled=false", "proxy.ssl.reload-interval=100ms", &trust];
    settings.extend(more);
    Proxy::start(&settings)
}

#[test]
fn trust_that_changes_counts_for_new_connections() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (old, new) = (pki.root("Old"), pki.root("New"));
    let leaf = pki.issue(&new, &Order::server("127.0.0.1"));
    let origin = SecureOrigin::start(&leaf, &[]);
    replace(&folder.path("trust.pem"), pem(&[&old]));
    let proxy = watched(&folder, &[]);
    assert_eq!(get(&proxy, &origin).refusal(), (502, Some("tls_untrusted")));
    replace(&folder.path("trust.pem"), pem(&[&new]));
    until_answered(&proxy, &origin, 200, None);
    proxy.counts("credentials_reloaded", 1);
    // And back: the idle connection that was made under the other trust is not used again.
    replace(&folder.path("trust.pem"), pem(&[&old]));
    until_answered(&proxy, &origin, 502, Some("tls_untrusted"));
    proxy.counts("credentials_reloaded", 2);
    proxy.counts("credentials_refused", 0);
    proxy.counts("panics", 0);
}

#[test]
fn a_broken_store_is_refused_once_and_taken_when_repaired() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (root, other) = (pki.root("Root"), pki.root("Other"));
    let origin = SecureOrigin::start(&pki.issue(&root, &Order::server("127.0.0.1")), &[]);
    let trust = folder.path("trust.pem");
    replace(&trust, pem(&[&root]));
    let proxy = watched(&folder, &[]);
    assert_eq!(get(&proxy, &origin).status, 200);
    replace(&trust, "-----BEGIN CERTIFICATE-----\nAAAA");
    until("it is refused", || proxy.log().contains("refused: ").then_some(()));
    let said = format!("refused: server.ssl.trust-store leads to {}: ", trust.display());
    assert!(proxy.log().contains(&said), "{}", proxy.log());
    assert_eq!(get(&proxy, &origin).status, 200);
    proxy.counts("credentials_refused", 1);
    proxy.counts("credentials_reloaded", 0);
    // Gone is another way to be broken, with a sentence of its own.
    fs::remove_file(&trust).unwrap();
    proxy.counts("credentials_refused", 2);
    assert_eq!(get(&proxy, &origin).status, 200);
    assert_eq!(proxy.log().matches("refused: ").count(), 2, "{}", proxy.log());
    replace(&trust, pem(&[&other]));
    until_answered(&proxy, &origin, 502, Some("tls_untrusted"));
    proxy.counts("credentials_reloaded", 1);
    // What was in use before it broke is not news.
    replace(&trust, "nothing");
    proxy.counts("credentials_refused", 3);
    replace(&trust, pem(&[&other]));
    until("it is as it was", || proxy.log().contains("are again those in use").then_some(()));
    proxy.counts("credentials_reloaded", 1);
}

#[test]
fn sighup_looks_at_once_and_says_what_it_found() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (root, other) = (pki.root("Root"), pki.root("Other"));
    let origin = SecureOrigin::start(&pki.issue(&other, &Order::server("127.0.0.1")), &[]);
    let trust = folder.path("trust.pem");
    replace(&trust, pem(&[&root]));
    let proxy = watched(&folder, &["proxy.ssl.reload-interval=0"]);
    let said = |what: &str| {
        proxy.process.signal(Signal::HUP);
        let line = format!("SIGHUP: {what}; the configuration file is read at start only");
        until(&line, || proxy.log().contains(&line).then_some(()));
    };
    said("no key or trust store has changed");
    replace(&trust, pem(&[&other]));
    said("the changed key and trust stores are in use");
    assert_eq!(get(&proxy, &origin).status, 200);
    replace(&trust, "");
    said("the changed key and trust stores are refused, the old ones stay in use");
    assert!(proxy.log().contains("SIGHUP: server.ssl.trust-store leads to "), "{}", proxy.log());
    assert_eq!(get(&proxy, &origin).status, 200);
    proxy.counts("credentials_reloaded", 1);
}

/// What the listener shows, as its PEM block.
fn shown(proxy: &Proxy) -> String {
    let line =
        format!("openssl s_client -connect {} -servername proxy </dev/null 2>/dev/null", proxy.address);
    let text = output(Command::new("sh").args(["-c", &format!("{line} | openssl x509")]));
    text.trim().to_owned()
}

#[test]
fn the_listener_shows_its_new_certificate() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let root = pki.root("Root");
    let (old, new) = (pki.issue(&root, &Order::server("proxy")), pki.issue(&root, &Order::server("proxy")));
    let own = folder.path("own.pem");
    let both = |issued: &Issued| [pem(&[issued]), fs::read(&issued.key).expect("a key")].concat();
    replace(&own, both(&old));
    let trust = folder.path("trust.pem");
    replace(&trust, pem(&[&root]));
    let proxy = Proxy::start(&[
        "proxy.ssl.reload-interval=100ms",
        &format!("server.ssl.key-store={}", own.display()),
        &format!("server.ssl.trust-store={}", trust.display()),
    ]);
    let text = |issued: &Issued| fs::read_to_string(&issued.certificate).expect("PEM").trim().to_owned();
    assert_eq!(shown(&proxy), text(&old));
    // A key that is not the certificate's changes nothing.
    replace(&own, [pem(&[&new]), fs::read(&old.key).expect("a key")].concat());
    until("it is refused", || proxy.log().contains("refused: ").then_some(()));
    assert_eq!(shown(&proxy), text(&old));
    replace(&own, both(&new));
    until("the new certificate is shown", || (shown(&proxy) == text(&new)).then_some(()));
    assert!(proxy.log().contains("new connections use what has changed in "), "{}", proxy.log());
}

#[test]
fn stores_change_under_load_and_nothing_is_lost() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let (root, other) = (pki.root("Root"), pki.root("Other"));
    let origin = SecureOrigin::start(&pki.issue(&root, &Order::server("127.0.0.1")), &[]);
    let trust = folder.path("trust.pem");
    replace(&trust, pem(&[&root]));
    let proxy = watched(&folder, &[]);
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for name in 0..8 {
            let (done, answers, proxy, origin) = (&done, &answers, &proxy, &origin);
            scope.spawn(move || {
                let mut client = Client::connect(proxy.address);
                for request in 0.. {
                    let path = format!("/{name}/{request}");
                    let target = origin.target();
                    client.send(format!("GET {path} HTTP/1.1\r\nHost: p\r\nx-target-host: {target}\r\n\r\n"));
                    let answer = client.answer();
                    assert_eq!((answer.status, answer.text()), (200, path.as_str()));
                    answers.fetch_add(1, Ordering::Relaxed);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for swap in 1..=4 {
            let before = answers.load(Ordering::Relaxed);
            until("the load is on", || (answers.load(Ordering::Relaxed) > before + 100).then_some(()));
            let both = if swap % 2 == 0 { pem(&[&root]) } else { pem(&[&other, &root]) };
            replace(&trust, both);
            proxy.counts("credentials_reloaded", swap);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(origin.handshakes() >= 5, "connections of each trust store: {}", origin.handshakes());
    proxy.counts("upstreams_failed", 0);
    proxy.counts("panics", 0);
}

#[test]
fn a_worker_that_fails_starts_again_with_the_new_configuration() {
    let server = server(&[("server.workers", "1")]);
    let plain = crate::origin::Origin::start();
    let status = || Client::connect(server.addresses()[0]).get(plain.address, "/p").status;
    assert_eq!(status(), 200);
    let readers = server.readers();
    // Both at once: whatever a worker has not read is lost with it.
    server.panic_worker(0);
    readers.replace(Config { https_only: true, ..Config::clone(&readers.current.config()) });
    until("the worker is back", || (server.count(Counter::Panics) == 1).then_some(()));
    assert_eq!(status(), 403);
    end(&server);
}

#[test]
fn days_left_are_counted_and_spoken_of() {
    let (pki, folder) = (Pki::new(), Folder::new());
    let root = pki.root("Root");
    let old = pki.self_signed(&Order::authority("Old").expired());
    let origin = SecureOrigin::start(&pki.issue(&root, &Order::server("127.0.0.1")), &[]);
    let named =
        |alias: &str, issued: &Issued| [format!("# alias: {alias}\n").into_bytes(), pem(&[issued])].concat();
    let trust = folder.path("trust.pem");
    replace(&trust, [named("root", &root), named("old", &old)].concat());
    let own = folder.path("own.pem");
    replace(&own, [pem(&[&root]), fs::read(&root.key).expect("a key")].concat());
    let proxy = watched(&folder, &[&format!("server.ssl.key-store={}", own.display())]);
    assert_eq!(get(&proxy, &origin).status, 200);
    proxy.counts("certificate_days_left{peer=\"127.0.0.1\"}", 364);
    proxy.counts("certificate_days_left{key=\"server.ssl.trust-store\",alias=\"root\"}", 364);
    proxy.counts("certificate_days_left{key=\"server.ssl.key-store\",alias=\"2\"}", 364);
    let said = "the certificate {key=\"server.ssl.trust-store\",alias=\"old\"} has expired on 2015-10-28";
    until("the log says so", || proxy.log().contains(said).then_some(()));
    // What has gone from the store is not counted any more, and nothing is said twice in a day.
    replace(&trust, named("root", &root));
    proxy.counts("credentials_reloaded", 1);
    until("the statistics are new", || {
        proxy.process.signal(Signal::USR1);
        let log = proxy.log();
        log.rsplit("statistics\n").next().filter(|last| !last.contains("alias=\"old\"")).map(drop)
    });
    assert_eq!(proxy.log().matches(said).count(), 1);
}

#[test]
fn sessions_of_clients_end_with_what_they_were_made_of() {
    let world = World::new();
    let session = world.folder.path("session");
    let session = session.to_str().expect("a path of ours");
    let (own, trust) = (world.folder.path("own.p12"), world.folder.path("trust.pem"));
    let other = world.pki.root("Other");
    for demand in ["none", "want"] {
        fs::copy(world.pkcs12("server", &[&world.server, &world.middle]), &own)
            .expect("the folder is writable");
        replace(&trust, pem(&[&world.root]));
        let settings = [format!("server.ssl.client-auth={demand}"), "proxy.ssl.reload-interval=100ms".into()];
        let proxy = crate::tls::start(&own, &trust, &settings.each_ref().map(String::as_str));
        let connect = |option| s_client(proxy.address, &["-tls1_2", option, session], ASK);
        assert_eq!(connect("-sess_out").session(), "New, TLSv1.2");
        assert_eq!(connect("-sess_in").session(), "Reused, TLSv1.2");
        // Who is trusted matters to a listener that asks for certificates.
        replace(&trust, pem(&[&world.root, &other]));
        proxy.counts("credentials_reloaded", 1);
        let expected = if demand == "none" { "Reused, TLSv1.2" } else { "New, TLSv1.2" };
        assert_eq!(connect("-sess_in").session(), expected, "{demand}");
        assert_eq!(connect("-sess_out").session(), "New, TLSv1.2");
        replace(&own, fs::read(world.pkcs12("new", &[&world.server_of_root()])).expect("a store"));
        proxy.counts("credentials_reloaded", 2);
        assert_eq!(connect("-sess_in").session(), "New, TLSv1.2", "{demand}");
        proxy.counts("panics", 0);
    }
}
