//! Records that no library would send, before there are keys: the listener says what is wrong, closes, and serves
//! the next. The handshake is rustls's business; that its verdict reaches the peer, and nothing else breaks, is ours.

use crate::process::{PATIENCE, Proxy};
use crate::tls::{ASK, TOLD, World, s_client};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

pub const UNEXPECTED_MESSAGE: Option<u8> = Some(10);
pub const BAD_RECORD_MAC: Option<u8> = Some(20);
pub const RECORD_OVERFLOW: Option<u8> = Some(22);
pub const ILLEGAL_PARAMETER: Option<u8> = Some(47);
pub const DECODE_ERROR: Option<u8> = Some(50);

/// rustls closes and says nothing.
pub const SILENCE: Option<u8> = None;

/// A request whose answer leaves the connection open.
pub const STAY: &[u8] = b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n";

pub fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a record").to_be_bytes();
    [&[kind, 3, 3], &len[..], payload].concat()
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address).expect("it listens");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// A client of rustls's with one suite of TLS 1.3, whose keys can be taken out.
pub fn client(world: &World, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut suites = default_provider().cipher_suites;
    suites.retain(|suite| {
        [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
            .contains(&suite.suite())
    });
    let provider = Arc::new(CryptoProvider { cipher_suites: suites, ..default_provider() });
    let mut roots = RootCertStore::empty();
    roots.add(world.root.der()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a suite of the version is there")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// The first flight of a client: one record with its ClientHello.
pub fn hello(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    client(world, &version::TLS13).write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

/// A handshake whose every write goes through `reframe`; then a request and its answer.
pub fn served(
    world: &World,
    proxy: &Proxy,
    reframe: impl Fn(&[u8]) -> Vec<u8>,
) -> (ClientConnection, TcpStream) {
    let (mut tls, mut stream) = (client(world, &version::TLS13), connect(proxy));
    tls.writer().write_all(STAY).expect("it is kept until the handshake is over");
    let mut answer = Vec::new();
    while !answer.ends_with(TOLD.as_bytes()) {
        while tls.wants_write() {
            let mut bytes = Vec::new();
            tls.write_tls(&mut bytes).expect("a vector takes all");
            stream.write_all(&reframe(&bytes)).expect("the listener reads");
        }
        tls.read_tls(&mut stream).expect("the listener answers");
        let state = tls.process_new_packets().expect("the listener speaks TLS");
        let mut part = vec![0; state.plaintext_bytes_to_read()];
        tls.reader().read_exact(&mut part).expect("so much is there");
        answer.extend(part);
    }
    (tls, stream)
}

/// The next client is served, and no worker has failed.
#[track_caller]
pub fn serves_on(proxy: &Proxy) {
    assert!(s_client(proxy.address, &[], ASK).was_told());
    proxy.counts("panics", 0);
    proxy.counts("clients_now", 0);
}

#[test]
fn what_is_no_client_hello_is_refused_by_name() {
    let world = World::new();
    let proxy = world.listener(&[]);
    let hello = hello(&world);
    let (first, rest) = hello[5..].split_at(40);
    let ping: &[u8] = &[1, 0, 1, 0, 0];
    for (case, bytes, alert) in [
        ("nothing in a handshake record", record(HANDSHAKE, b""), DECODE_ERROR),
        (
            "an empty fragment in the middle",
            [record(HANDSHAKE, first), record(HANDSHAKE, b"")].concat(),
            DECODE_ERROR,
        ),
        (
            "a record that is too long",
            [&[HANDSHAKE, 3, 1, 0x41, 0x01][..], &vec![1; 0x4101]].concat(),
            SILENCE,
        ),
        (
            "the longest length there is",
            [&[HANDSHAKE, 3, 1, 0xff, 0xff][..], &[1; 100]].concat(),
            DECODE_ERROR,
        ),
        ("application data first", record(DATA, STAY), UNEXPECTED_MESSAGE),
        ("a heartbeat first", record(24, ping), DECODE_ERROR),
        ("no content type", record(99, first), DECODE_ERROR),
        ("no version of TLS", [&[HANDSHAKE, 9, 9, 0, 40][..], first].concat(), DECODE_ERROR),
        ("the hello of SSL 2", vec![0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1, 0, 0x80], DECODE_ERROR),
        ("data between two fragments", [record(HANDSHAKE, first), record(DATA, rest)].concat(), SILENCE),
        (
            "an alert between two fragments",
            [record(HANDSHAKE, first), record(ALERT, &[1, 90])].concat(),
            SILENCE,
        ),
        ("another message first", record(HANDSHAKE, &[20, 0, 0, 1, 0]), UNEXPECTED_MESSAGE),
        ("a message of 16 MB", record(HANDSHAKE, &[1, 0xff, 0xff, 0xff]), SILENCE),
        ("a hello cut short", record(HANDSHAKE, &[1, 0, 0, 10, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0]), DECODE_ERROR),
        (
            "a hello with something behind it",
            record(HANDSHAKE, &[&hello[5..], &[1, 0, 0, 1, 0]].concat()),
            UNEXPECTED_MESSAGE,
        ),
    ] {
        let mut stream = connect(&proxy);
        stream.write_all(&bytes).expect("the listener reads");
        let mut answer = Vec::new();
        // What was not read when the listener closed is a reset behind the alert.
        let _ = stream.read_to_end(&mut answer);
        let expected = alert.map_or(vec![], |alert| record(ALERT, &[2, alert]));
        assert_eq!(answer, expected, "{case}");
    }
    serves_on(&proxy);
}

#[test]
fn a_handshake_in_pieces_is_a_handshake() {
    let world = World::new();
    let proxy = world.listener(&[]);
    let one_by_one = |bytes: &[u8]| match bytes.first() {
        // Only what is not sealed can be cut anew.
        Some(&HANDSHAKE) => bytes[5..].iter().flat_map(|byte| record(HANDSHAKE, &[*byte])).collect(),
        _ => bytes.to_vec(),
    };
    served(&world, &proxy, one_by_one);
    served(&world, &proxy, |bytes| match bytes.first() {
        Some(&HANDSHAKE) => bytes[5..].chunks(100).flat_map(|part| record(HANDSHAKE, part)).collect(),
        _ => bytes.to_vec(),
    });
    serves_on(&proxy);
}
