//! How a process lives and ends: starts that fail, signals, a worker that fails, descriptors that run out.

use crate::origin::Origin;
use crate::process::{PATIENCE, Proxy, Rude, until};
use crate::raw::{Client, Lack};
use apim_proxy::credentials::load::Credentials;
use apim_proxy::server::Server;
use apim_proxy::server::maxima::{Machine, Maxima};
use apim_proxy::setting::Source;
use apim_proxy::stats::Counter;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Settings of a server inside the test.
struct Settings(&'static [(&'static str, &'static str)]);

impl Source for Settings {
    fn text(&self, key: &'static str) -> Option<&str> {
        let common =
            [("server.address", "127.0.0.1"), ("server.port", "0"), ("proxy.target.allow", "127.0.0.1")];
        self.0.iter().chain(&common).find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

pub fn server(settings: &'static [(&'static str, &'static str)]) -> Server {
    let settings = Settings(settings);
    let maxima = Maxima::compute(&settings, &Machine::look()).expect("the machine is large enough");
    Server::start(&settings, &Credentials::default(), &maxima).expect("a port is free")
}

/// The end of a server inside the test.
pub fn end(server: &Server) {
    server.drain();
    until("every worker has ended", || server.is_over().then_some(()));
}

#[test]
fn a_port_in_use_ends_the_start_with_its_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
        .args(["--server.address=127.0.0.1".to_owned(), format!("--server.port={}", address.port())])
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    // It is ours: whoever runs a test may look at its own process.
    let pid = std::process::id();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let begins = format!("{address} is in use by {} (pid {pid}: ", name.trim());
    assert!(said.starts_with(&begins) && said.ends_with("); stop it or change server.port\n"), "{said}");
}

#[test]
fn a_second_proxy_on_the_same_port_is_refused() {
    let proxy = Proxy::start(&[]);
    let done = Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
        .args(["--server.address=127.0.0.1".to_owned(), format!("--server.port={}", proxy.address.port())])
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8(done.stderr).unwrap().starts_with(&format!("{} is in use", proxy.address)));
}

#[test]
fn the_demo_shows_its_three_sides() {
    let done = Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
        .arg("demo")
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap().as_str()), (Some(0), ""));
    let titles: Vec<&str> =
        shown.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(titles.len(), 3, "{shown}");
    let (client, rest) = shown.split_once(titles[1]).unwrap();
    let (origin, answer) = rest.split_once(titles[2]).unwrap();
    assert!(client.contains("x-target-host: ") && !origin.contains("x-target-host: "), "{shown}");
    assert!(
        answer.contains("HTTP/1.1 200 OK") && answer.contains(r#"{"rsp_code":"00000","rsp_msg":"success"}"#),
        "{shown}"
    );
}

#[test]
fn statistics_are_printed_on_a_signal() {
    let (proxy, origin) = (Proxy::start(&[]), Origin::start());
    let mut client = Client::connect(proxy.address);
    for _ in 0..3 {
        assert_eq!(client.get(origin.address, "/a").text(), "/a");
    }
    for (counter, value) in
        [("requests", 3), ("answers", 3), ("upstreams_reused", 2), ("clients_now", 1), ("panics", 0)]
    {
        proxy.counts(counter, value);
    }
}

/// A client that asks again and again, on a new connection when the old one is closed. Returns the paths that were
/// answered, whole. Nothing but a whole answer, no answer, or a closed door is allowed.
fn customer(name: usize, proxy: SocketAddr, origin: SocketAddr, answers: &AtomicUsize) -> BTreeSet<String> {
    let mut answered = BTreeSet::new();
    let mut client = None;
    for request in 0.. {
        let Some(open) = client.as_mut() else {
            client = Client::try_connect(proxy);
            if client.is_none() {
                break;
            }
            continue;
        };
        let path = format!("/{name}/{request}");
        let asked = open.try_request(origin, &path);
        match if asked { open.try_answer() } else { Err(Lack::Nothing) } {
            Ok(answer) => {
                assert_eq!((answer.status, answer.text()), (200, path.as_str()));
                let last = answer.header("connection") == Some("close");
                answered.insert(path);
                answers.fetch_add(1, Ordering::Relaxed);
                if last {
                    client = None;
                }
            }
            // The door closed between two answers.
            Err(Lack::Nothing) => client = None,
            Err(Lack::Truncated(bytes)) => panic!("cut off: {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    answered
}

#[test]
fn a_shutdown_under_load_fails_no_request() {
    let (mut proxy, origin) = (Proxy::start(&[]), Origin::start());
    let answers = AtomicUsize::new(0);
    let mut held = Client::connect(proxy.address);
    held.request("GET", origin.address, "/held", "");
    let mut answered = thread::scope(|scope| {
        let answers = &answers;
        let customers: Vec<_> = (0..16)
            .map(|name| scope.spawn(move || customer(name, proxy.address, origin.address, answers)))
            .collect();
        until("the load is on", || (answers.load(Ordering::Relaxed) > 2000).then_some(()));
        proxy.terminate();
        let answered: BTreeSet<String> =
            customers.into_iter().flat_map(|customer| customer.join().unwrap()).collect();
        answered
    });
    // One exchange is still in progress; new clients find no listener.
    assert!(TcpStream::connect(proxy.address).is_err());
    assert!(!proxy.process.has_ended());
    origin.release();
    let answer = held.answer();
    assert_eq!((answer.text(), answer.header("connection")), ("/held", Some("close")));
    assert_eq!(proxy.process.ended().code(), Some(0));
    assert!(proxy.log().ends_with("stopped\n"), "{}", proxy.log());
    // Whatever an origin was asked, a client was told.
    answered.insert("/held".to_owned());
    let seen = origin.seen();
    let lost: Vec<&String> = seen.iter().filter(|path| !answered.contains(*path)).collect();
    assert_eq!(lost, Vec::<&String>::new());
    assert_eq!(seen.len(), answered.len(), "each was asked once");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut proxy, origin) = (Proxy::start(&[]), Origin::start());
    let mut client = Client::connect(proxy.address);
    client.request("GET", origin.address, "/held", "");
    until("the origin is asked", || (origin.seen().len() == 1).then_some(()));
    proxy.terminate();
    proxy.process.signal(Signal::TERM);
    assert_eq!(proxy.process.ended().code(), Some(0));
    assert_eq!(client.try_answer(), Err(Lack::Nothing));
    assert!(proxy.log().ends_with("second signal: exchanges in progress are cut off\n"), "{}", proxy.log());
}

#[test]
fn a_shutdown_waits_no_longer_than_its_phase() {
    let (mut proxy, origin) =
        (Proxy::start(&["spring.lifecycle.timeout-per-shutdown-phase=300ms"]), Origin::start());
    let mut client = Client::connect(proxy.address);
    client.request("GET", origin.address, "/held", "");
    until("the origin is asked", || (origin.seen().len() == 1).then_some(()));
    let began = Instant::now();
    proxy.terminate();
    assert_eq!(proxy.process.ended().code(), Some(0));
    assert!(began.elapsed() >= Duration::from_millis(300) && began.elapsed() < PATIENCE / 2);
    assert_eq!(client.try_answer(), Err(Lack::Nothing));
}

#[test]
fn who_is_connected_when_the_shutdown_begins_is_served() {
    let (mut proxy, origin) = (Proxy::start(&[]), Origin::start());
    let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(proxy.address)).collect();
    proxy.process.signal(Signal::TERM);
    until("the listener is closed", || TcpStream::connect(proxy.address).is_err().then_some(()));
    for client in &mut clients {
        let answer = client.get(origin.address, "/late");
        assert_eq!((answer.text(), answer.header("connection")), ("/late", Some("close")));
    }
    drop(clients);
    assert_eq!(proxy.process.ended().code(), Some(0));
}

#[test]
fn the_accept_queue_is_served_before_the_listener_closes() {
    let (mut proxy, origin) = (Proxy::start(&[]), Origin::start());
    // More than a worker accepts in one turn wait when it learns of the shutdown.
    proxy.process.signal(Signal::STOP);
    let mut clients: Vec<Client> = (0..600).map(|_| Client::connect(proxy.address)).collect();
    for client in &mut clients {
        client.request("GET", origin.address, "/queued", "");
    }
    proxy.process.signal(Signal::TERM);
    proxy.process.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "/queued");
    }
    drop(clients);
    assert_eq!(proxy.process.ended().code(), Some(0));
}

#[test]
fn a_worker_that_fails_starts_again_and_the_other_goes_on() {
    let server = server(&[("server.workers", "2")]);
    let (address, origin) = (server.addresses()[0], Origin::start());
    let open = |n: usize| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..n).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            assert_eq!(client.get(origin.address, "/a").text(), "/a");
        }
        clients
    };
    // The kernel spreads them over both workers: that all 64 sit with one happens once in 2^63 runs.
    let mut clients = open(64);
    server.panic_worker(0);
    until("the failure is counted", || (server.count(Counter::Panics) == 1).then_some(()));
    let served = clients
        .iter_mut()
        .filter_map(|client| {
            (client.try_request(origin.address, "/b")).then(|| client.try_answer().ok()).flatten()
        })
        .inspect(|answer| assert_eq!(answer.text(), "/b"))
        .count();
    assert!((1..64).contains(&served), "{served} of 64 sat with the other worker");
    let fresh = open(64);
    assert_eq!(server.count(Counter::Panics), 1);
    drop((clients, fresh));
    until("every client has left", || (server.count(Counter::ClientsNow) == 0).then_some(()));
    end(&server);
}

#[test]
fn a_worker_that_fails_returns_its_permits_and_waits() {
    let server = server(&[("server.workers", "1"), ("proxy.httpclient.maxConnPerRoute", "1")]);
    let (address, origin) = (server.addresses()[0], Origin::start());
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.request("GET", origin.address, "/held", "");
    }
    until("three wait for the fourth", || (server.count(Counter::Queued) == 3).then_some(()));
    server.panic_worker(0);
    for client in &mut clients {
        assert_eq!(client.try_answer(), Err(Lack::Nothing));
    }
    for _ in 0..4 {
        assert_eq!(Client::connect(address).get(origin.address, "/a").text(), "/a");
    }
    assert_eq!(server.count(Counter::Panics), 1);
    end(&server);
}

#[test]
fn a_full_worker_hands_clients_on_and_full_workers_say_so() {
    let server = server(&[("server.workers", "2"), ("server.tomcat.max-connections", "32")]);
    let (address, origin) = (server.addresses()[0], Origin::start());
    // Until the kernel has spread them unevenly once, which it does four times in five.
    until("a client was handed on", || {
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..32 {
            let mut client = Client::connect(address);
            assert_eq!(client.get(origin.address, "/a").text(), "/a");
            clients.push(client);
        }
        let mut refused = Client::connect(address);
        refused.request("GET", origin.address, "/a", "");
        let answer = refused.answer();
        assert_eq!(answer.refusal(), (503, Some("overloaded")));
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
        assert!(refused.is_closed());
        for client in &mut clients {
            assert_eq!(client.get(origin.address, "/b").text(), "/b");
        }
        drop((clients, refused));
        until("every client has left", || (server.count(Counter::ClientsNow) == 0).then_some(()));
        (server.count(Counter::HandedOff) > 0).then_some(())
    });
    end(&server);
}

#[test]
fn without_descriptors_new_clients_are_turned_away_and_old_ones_served() {
    let (proxy, rude) = (Proxy::start(&["server.workers=1"]), Rude::start());
    let mut old: Vec<Client> = (0..10).map(|_| Client::connect(proxy.address)).collect();
    for client in &mut old {
        assert_eq!(client.get(rude.address, "/hello").text(), "hello");
    }
    let before = proxy.process.take_descriptors();
    for _ in 0..20 {
        let mut turned = Client::connect(proxy.address);
        assert!(turned.is_closed(), "a client without a descriptor is not left waiting");
    }
    for client in &mut old {
        assert_eq!(client.get(rude.address, "/hello").text(), "hello");
    }
    proxy.counts("clients_rejected", 20);
    proxy.process.limit_descriptors(before);
    assert_eq!(Client::connect(proxy.address).get(rude.address, "/hello").text(), "hello");
}
