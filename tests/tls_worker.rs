//! A worker that speaks TLS, on wires in memory that take only so much at once: what a client or a target does in odd
//! moments, each once and on purpose. For chance there is the simulator.

#[path = "pki/mod.rs"]
#[allow(dead_code)] // each user of the maker needs its own part of it
mod pki;

use apim_proxy::access::Stream;
use apim_proxy::access::stamp::Wall;
use apim_proxy::engine::{Config, Limits};
use apim_proxy::fault::What;
use apim_proxy::io::{Addresses, Io, Lookup, Moved, Ready, ReloadAsk};
use apim_proxy::key::{Key, Side};
use apim_proxy::permits::{Grant, Herald, Permits, WorkerId};
use apim_proxy::policy::proxy_auth::Login;
use apim_proxy::policy::targets::{Profile, Targets};
use apim_proxy::setting::Source;
use apim_proxy::stats::Stats;
use apim_proxy::time::Now;
use apim_proxy::tls::context::{Inbound, Outbound};
use apim_proxy::tls::identity::Identity;
use apim_proxy::tls::notes::Notes;
use apim_proxy::tls::suites::{self, TlsVersion};
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::{ServerVerifier, Verification};
use apim_proxy::worker::{STRANGERS_MAX, Worker};
use pki::{Issued, KeyKind, Order, Pki};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use rustls::{ServerConfig, ServerConnection, version};
use std::collections::VecDeque;
use std::io::{IoSlice, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

const VERSIONS: [TlsVersion; 2] = [TlsVersion::V12, TlsVersion::V13];
const NOTHING: Ready = Ready { readable: false, writable: false, read_closed: false, dead: false };

/// One socket of the worker's.
#[derive(Default)]
struct Wire {
    token: usize,
    /// On its way to the worker.
    inbound: VecDeque<u8>,
    /// Sent by the worker.
    sent: Vec<u8>,
    /// How much more the worker can send.
    room: usize,
    /// The connection to a target is open.
    open: bool,
    /// The worker has said that nothing follows.
    finished: bool,
}

/// Every wire, by number.
#[derive(Default)]
struct World {
    wires: Vec<Wire>,
}

struct Socket(usize);

impl Io for World {
    type Socket = Socket;
    type Pipe = ();

    fn recv(&mut self, socket: &mut Socket, into: &mut [u8]) -> Moved {
        let wire = &mut self.wires[socket.0];
        let n = wire.inbound.len().min(into.len());
        if n == 0 {
            return Moved::Blocked;
        }
        for (to, from) in into.iter_mut().zip(wire.inbound.drain(..n)) {
            *to = from;
        }
        Moved::Bytes(n)
    }

    fn send(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> Moved {
        let wire = &mut self.wires[socket.0];
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let n = bytes.len().min(wire.room);
        wire.room -= n;
        wire.sent.extend_from_slice(&bytes[..n]);
        if n == 0 { Moved::Blocked } else { Moved::Bytes(n) }
    }

    fn pipe(&mut self) -> Option<()> {
        None
    }

    fn splice_in(&mut self, _socket: &mut Socket, _pipe: &mut (), _max: usize) -> Moved {
        unreachable!("there are no pipes")
    }

    fn splice_out(&mut self, _pipe: &mut (), _socket: &mut Socket, _max: usize) -> Moved {
        unreachable!("there are no pipes")
    }

    fn register(&mut self, socket: &mut Socket, key: Key, side: Side) -> Result<(), What> {
        self.wires[socket.0].token = key.token(side);
        Ok(())
    }

    fn connect(&mut self, _address: SocketAddr, key: Key) -> Result<Socket, What> {
        self.wires.push(Wire { token: key.token(Side::Upstream), room: usize::MAX, ..Wire::default() });
        Ok(Socket(self.wires.len() - 1))
    }

    fn connected(&mut self, socket: &mut Socket) -> Result<bool, What> {
        Ok(self.wires[socket.0].open)
    }

    fn finish(&mut self, socket: &mut Socket) {
        self.wires[socket.0].finished = true;
    }

    fn reset(&mut self, _socket: Socket) {}

    fn resolve(&mut self, _host: &str, _key: Key) -> Lookup {
        Lookup::Found(Addresses::from([IpAddr::from([10, 0, 0, 2])]))
    }

    fn reload(&mut self, _: ReloadAsk, _: Key) -> Result<(), What> {
        Err(What::Overloaded)
    }

    fn verify(&mut self, _login: Arc<Login>, _key: Key) -> Result<(), What> {
        Err(What::AuthBusy)
    }

    fn is_own_listener(&mut self, _address: SocketAddr) -> bool {
        false
    }

    fn wall(&mut self) -> Wall {
        Wall::default()
    }

    fn log(&mut self, _stream: Stream, _lines: &[u8]) {}

    fn local_address(&mut self, _socket: &Socket) -> Option<SocketAddr> {
        None
    }
}

/// Nobody waits for a permit here.
struct Silent;

impl Herald for Silent {
    fn granted(&self, _worker: WorkerId, _grant: Grant) {}
    fn wanted(&self, _asking: WorkerId) {}
}

/// Settings that differ from the defaults.
struct Settings<'a>(&'a [(&'static str, &'a str)]);

impl Source for Settings<'_> {
    fn text(&self, key: &'static str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, text)| *text)
    }
}

/// Noon of the first day of 2026, in seconds since 1970.
const LUNCH: u64 = 1_767_268_800;

#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Relaxed))))
    }
}

/// The worker, and what the clients' side of TLS is made of.
struct Stage {
    worker: Worker<World>,
    now: Now,
    client: Arc<ClientConfig>,
    /// The time by which targets are judged.
    clock: Arc<Clock>,
}

impl Stage {
    /// A listener and targets of one authority, and a few settings.
    fn new(settings: &[(&'static str, &str)]) -> Self {
        Self::with_clients(8, settings)
    }

    fn with_clients(clients_max: usize, settings: &[(&'static str, &str)]) -> Self {
        let (_, root, leaf) = made();
        let provider = suites::provider(&[], false);
        let entry = ("leaf".to_owned(), vec![leaf.der()], leaf.private_key());
        let identity = Arc::new(Identity::new(vec![entry], None, &provider).expect("an identity"));
        let trust = Arc::new(Trust::new([("root".to_owned(), root.der())]));
        let verifier =
            ServerVerifier::new(trust, Verification::default(), &provider, &Arc::new(Notes::default()));
        let mut tls = Outbound::new(None, verifier, &VERSIONS, &provider, 8).expect("versions");
        let clock = Arc::new(Clock(AtomicU64::new(LUNCH - 3600)));
        let mut config = ClientConfig::clone(&tls.config);
        config.time_provider = Arc::clone(&clock) as _;
        tls.config = Arc::new(config);
        let others = Arc::new(Profile { tls: Some(tls), ..Profile::default() });
        let limits = Limits { clients_max, exchanges_max: 8, large_max: 8, pipes_max: 0 };
        let mut config = Config::from(&Settings(settings), limits).expect("settings");
        config.listeners[0].inbound =
            Some(Inbound::new(identity, None, &VERSIONS, &provider).expect("versions"));
        config.targets = Arc::new(Targets { entries: Vec::new(), others });
        let mut roots = RootCertStore::empty();
        roots.add(root.der()).expect("the root is sound");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (stats, permits) = (Arc::new(Stats::default()), Permits::new(8, 8, Box::new(Silent)));
        let worker = Worker::new(World::default(), 0, Arc::new(config), stats, permits, Now(0));
        Self { worker, now: Now(0), client: Arc::new(client), clock }
    }

    /// A client connects; the worker can send it so many bytes for now.
    fn connect(&mut self, room: usize) -> Client {
        let wire = self.worker.io.wires.len();
        self.worker.io.wires.push(Wire { room, ..Wire::default() });
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        assert!(self.worker.accept(0, Socket(wire), peer).is_ok(), "there is room");
        let name = ServerName::try_from("a.test").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.client), name).expect("a client");
        Client { wire, tls, heard: Vec::new() }
    }

    fn wire(&mut self, wire: usize) -> &mut Wire {
        &mut self.worker.io.wires[wire]
    }

    /// A turn in which `wire` is as `ready` says.
    fn turn(&mut self, wire: usize, ready: Ready) {
        self.worker.begin_turn(self.now);
        let token = self.wire(wire).token;
        self.worker.event(token, ready);
        while self.worker.end_turn().is_some_and(|wait| wait.0 == 0) {
            self.worker.begin_turn(self.now);
        }
        self.worker.check();
    }

    fn wait(&mut self, secs: u64) {
        self.now = Now(self.now.0 + secs * 1_000_000);
        self.worker.begin_turn(self.now);
        while self.worker.end_turn().is_some_and(|wait| wait.0 == 0) {
            self.worker.begin_turn(self.now);
        }
        self.worker.check();
    }

    /// `bytes` arrive.
    fn deliver(&mut self, wire: usize, bytes: &[u8]) {
        self.wire(wire).inbound.extend(bytes);
        self.turn(wire, Ready { readable: true, ..NOTHING });
    }

    /// The kernel takes so many bytes more.
    fn make_room(&mut self, wire: usize, room: usize) {
        self.wire(wire).room += room;
        self.turn(wire, Ready { writable: true, ..NOTHING });
    }

    /// The client says what it has to say, once.
    fn say(&mut self, client: &mut Client) {
        let bytes = client.says();
        self.deliver(client.wire, &bytes);
    }

    /// The client hears what was sent to it.
    fn hear(&mut self, client: &mut Client) {
        let bytes = std::mem::take(&mut self.wire(client.wire).sent);
        client.hears(&bytes);
    }

    /// A target at the end of the newest wire answers one request and closes; whether its session was resumed.
    fn serve(&mut self, config: &Arc<ServerConfig>) -> bool {
        let wire = self.worker.io.wires.len() - 1;
        let mut tls = ServerConnection::new(Arc::clone(config)).expect("a server");
        self.wire(wire).open = true;
        self.turn(wire, Ready { writable: true, ..NOTHING });
        let mut request = Vec::new();
        for _ in 0..4 {
            let bytes = std::mem::take(&mut self.wire(wire).sent);
            let mut rest = &bytes[..];
            while !rest.is_empty() && tls.read_tls(&mut rest).is_ok() {
                tls.process_new_packets().expect("sound records");
                // The end and "nothing now" are the same here.
                let _ = tls.reader().read_to_end(&mut request);
            }
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                tls.writer().write_all(answer).expect("the session takes it");
            }
            let mut bytes = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut bytes).expect("a vector grows");
            }
            self.deliver(wire, &bytes);
        }
        tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The client comes to terms with the worker.
    fn shake(&mut self, client: &mut Client) {
        while client.tls.is_handshaking() {
            self.say(client);
            self.hear(client);
        }
        self.say(client);
        self.hear(client);
    }
}

/// A client and what it has heard.
struct Client {
    wire: usize,
    tls: ClientConnection,
    heard: Vec<u8>,
}

impl Client {
    fn says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("a vector grows");
        }
        bytes
    }

    fn seals(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(plain).expect("the session takes it");
        self.says()
    }

    fn hears(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("a slice reads");
            self.tls.process_new_packets().expect("sound records");
            // The end and "nothing now" are the same here.
            let _ = self.tls.reader().read_to_end(&mut self.heard);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }
}

/// A certificate of `a.test` until then.
fn server(end: &'static str) -> Order {
    Order::server("a.test").key(KeyKind::P256).dates("20250101000000Z", end)
}

/// A target: what it shows now, and its connection.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl Shown {
    fn key(issued: &Issued) -> Arc<CertifiedKey> {
        let provider = suites::provider(&[], false);
        let key = provider.key_provider.load_private_key(issued.private_key()).expect("a key");
        Arc::new(CertifiedKey::new(vec![issued.der()], key))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().expect("no panic under the lock")))
    }
}

/// An authority and the certificate of `a.test`, made once.
fn made() -> &'static (Pki, Issued, Issued) {
    static MADE: OnceLock<(Pki, Issued, Issued)> = OnceLock::new();
    MADE.get_or_init(|| {
        let pki = Pki::new();
        let root = pki.self_signed(&Order::authority("Root").dates("20250101000000Z", "20490101000000Z"));
        let leaf = pki.issue(&root, &server("20490101000000Z"));
        (pki, root, leaf)
    })
}

const ASK_NOBODY: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn who_has_its_answer_waits_for_no_handshake() {
    let mut stage = Stage::new(&[
        ("proxy.ssl.client.handshakes-per-target", "1"),
        ("proxy.ssl.client.connectionRequestTimeout", "1"),
    ]);
    let (mut first, mut second) = (stage.connect(usize::MAX), stage.connect(usize::MAX));
    for client in [&mut first, &mut second] {
        stage.shake(client);
        let request = client.seals(b"GET / HTTP/1.1\r\nHost: a\r\nx-target-host: https://a.test\r\n\r\n");
        // The second does not read its answer.
        stage.wire(client.wire).room = 0;
        stage.deliver(client.wire, &request);
    }
    stage.wait(2);
    stage.turn(first.wire, Ready { dead: true, ..NOTHING });
    assert_eq!(stage.worker.clients(), 1);
    stage.make_room(second.wire, 100_000);
    stage.hear(&mut second);
    assert!(second.text().contains("X-Proxy-Error: pool_timeout"), "{}", second.text());
}

#[test]
fn a_handshake_goes_on_when_the_kernel_takes_more() {
    let mut stage = Stage::new(&[]);
    let mut client = stage.connect(100);
    stage.say(&mut client);
    assert_eq!(stage.wire(client.wire).sent.len(), 100);
    // The client has to hear the rest before it says anything.
    stage.make_room(client.wire, 100_000);
    assert!(stage.wire(client.wire).sent.len() > 500, "the rest of the flight follows");
    stage.shake(&mut client);
    let request = client.seals(ASK_NOBODY);
    stage.deliver(client.wire, &request);
    stage.hear(&mut client);
    assert!(client.text().starts_with("HTTP/1.1 403 "), "{}", client.text());
}

#[test]
fn an_empty_line_behind_a_request_takes_nothing_else_with_it() {
    let mut stage = Stage::new(&[]);
    let mut client = stage.connect(usize::MAX);
    stage.shake(&mut client);
    let first = client.seals(ASK_NOBODY);
    stage.deliver(client.wire, &first);
    let mut bytes = client.seals(b"\r\n");
    bytes.extend(client.seals(ASK_NOBODY));
    let (now, later) = bytes.split_at(bytes.len() - 20);
    stage.deliver(client.wire, now);
    stage.deliver(client.wire, later);
    stage.hear(&mut client);
    assert_eq!(client.text().matches("HTTP/1.1 403 ").count(), 2, "{}", client.text());
}

#[test]
fn who_may_not_enter_is_told_nothing_else_in_plain_text() {
    let mut stage = Stage::new(&[("proxy.ip.allow", "10.1.1.1")]);
    let client = stage.connect(usize::MAX);
    stage.deliver(client.wire, ASK_NOBODY);
    let text = String::from_utf8_lossy(&stage.wire(client.wire).sent).into_owned();
    assert!(text.starts_with("HTTP/1.1 403 ") && text.ends_with("Not allow ip"), "{text}");
}

#[test]
fn an_alert_is_not_eaten_by_a_reset() {
    let mut stage = Stage::new(&[]);
    let client = stage.connect(usize::MAX);
    // A ClientHello that is none.
    stage.deliver(client.wire, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
    let wire = stage.wire(client.wire);
    assert!(matches!(wire.sent[..], [21, 3, _, 0, 2, 2, _]), "{:?}", wire.sent);
    assert!(wire.finished, "nothing follows");
    // Bytes that were on their way are read: unread, they would turn the close into a reset.
    stage.deliver(client.wire, &[23, 3, 3, 0, 1, 7]);
    assert!(stage.wire(client.wire).inbound.is_empty());
    assert_eq!(stage.worker.clients(), 1);
    stage.wait(6);
    assert_eq!(stage.worker.clients(), 0);
}

/// Handshakes of clients cost as much as those with targets, and anybody can begin them.
#[test]
fn handshakes_with_targets_go_first() {
    let mut stage = Stage::new(&[]);
    let mut client = stage.connect(usize::MAX);
    stage.shake(&mut client);
    let request = client.seals(b"GET / HTTP/1.1\r\nHost: a\r\nx-target-host: https://a.test\r\n\r\n");
    stage.deliver(client.wire, &request);
    let target = stage.worker.io.wires.len() - 1;
    stage.wire(target).open = true;
    let mut others: Vec<Client> = (0..6).map(|_| stage.connect(usize::MAX)).collect();
    stage.worker.begin_turn(stage.now);
    for other in &mut others {
        let hello = other.says();
        stage.wire(other.wire).inbound.extend(hello);
        let token = stage.wire(other.wire).token;
        stage.worker.event(token, Ready { readable: true, ..NOTHING });
    }
    let token = stage.wire(target).token;
    stage.worker.event(token, Ready { writable: true, ..NOTHING });
    stage.worker.end_turn();
    assert!(!stage.wire(target).sent.is_empty(), "the target is greeted in this turn");
    assert!(others.iter().any(|other| stage.wire(other.wire).sent.is_empty()), "some clients have to wait");
}

#[test]
fn a_session_about_an_old_certificate_is_forgotten() {
    let (pki, root, leaf) = made();
    for version in [&version::TLS13, &version::TLS12] {
        let old = pki.issue(root, &server("20260101120000Z"));
        let shown = Arc::new(Shown(Mutex::new(Shown::key(&old))));
        let provider = suites::provider(&[], false);
        let target = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let target = target.expect("a version").with_no_client_auth();
        let target = Arc::new(target.with_cert_resolver(Arc::clone(&shown) as _));
        let mut stage = Stage::new(&[]);
        let mut client = stage.connect(usize::MAX);
        stage.shake(&mut client);
        let mut resumed = Vec::new();
        for round in 1..=3 {
            let wires = stage.worker.io.wires.len();
            let request = client.seals(b"GET / HTTP/1.1\r\nHost: a\r\nx-target-host: https://a.test\r\n\r\n");
            stage.deliver(client.wire, &request);
            resumed.push(stage.serve(&target));
            if stage.worker.io.wires.len() > wires + 1 {
                resumed.push(stage.serve(&target));
            }
            stage.hear(&mut client);
            assert_eq!(client.text().matches("HTTP/1.1 200 OK").count(), round, "{}", client.text());
            if round == 2 {
                // The target has renewed its certificate in time, and the old one expires.
                *shown.0.lock().expect("no panic under the lock") = Shown::key(leaf);
                stage.clock.0.store(LUNCH + 3600, Relaxed);
            }
        }
        assert_eq!(resumed, [false, true, true, false], "{version:?}");
    }
}

/// Once close_notify is said, rustls has nothing to say to a record that is none.
#[test]
fn nothing_is_opened_behind_the_last_word() {
    let (_, _, leaf) = made();
    let target = ServerConfig::builder_with_provider(suites::provider(&[], false));
    let target = target.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let target = target.with_single_cert(vec![leaf.der()], leaf.private_key()).expect("a key");
    let mut stage = Stage::new(&[]);
    let mut client = stage.connect(usize::MAX);
    stage.shake(&mut client);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nx-target-host: https://a.test\r\nContent-Length: 9\r\n\r\n";
    let request = client.seals(head);
    stage.deliver(client.wire, &request);
    // The target answers early and goes on to read.
    stage.serve(&Arc::new(target));
    stage.hear(&mut client);
    assert!(client.text().contains("Connection: close"), "{}", client.text());
    stage.deliver(client.wire, &[&[23, 3, 3, 0, 32][..], &[7; 32]].concat());
    assert_eq!(stage.worker.clients(), 0);
}

#[test]
fn strangers_take_no_handshakes_from_others() {
    let mut stage = Stage::with_clients(2 * STRANGERS_MAX, &[("proxy.ip.allow", "10.1.1.1")]);
    for _ in 0..STRANGERS_MAX + 8 {
        stage.connect(usize::MAX);
    }
    assert_eq!(stage.worker.clients(), STRANGERS_MAX);
    stage.turn(0, Ready { dead: true, ..NOTHING });
    stage.connect(usize::MAX);
    stage.connect(usize::MAX);
    assert_eq!(stage.worker.clients(), STRANGERS_MAX);
}
