//! Records that no library would send, before and behind the keys: the listener says what is wrong, closes, and serves
//! the next. TLS itself is rustls's business; that its verdict reaches the peer, and nothing else breaks, is ours.

use crate::process::{PATIENCE, Proxy, until};
use crate::tls::{ASK, TOLD, World, s_client};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::ServerName;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore,
    SupportedProtocolVersion, version,
};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const UNEXPECTED_MESSAGE: Option<u8> = Some(10);
const BAD_RECORD_MAC: Option<u8> = Some(20);
const RECORD_OVERFLOW: Option<u8> = Some(22);
const ILLEGAL_PARAMETER: Option<u8> = Some(47);
const DECODE_ERROR: Option<u8> = Some(50);

/// rustls closes and says nothing.
const SILENCE: Option<u8> = None;

/// A request whose answer leaves the connection open.
const STAY: &[u8] = b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n";

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
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
fn client(world: &World, version: &'static SupportedProtocolVersion) -> ClientConnection {
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
fn hello(world: &World) -> Vec<u8> {
    let mut bytes = Vec::new();
    client(world, &version::TLS13).write_tls(&mut bytes).expect("a vector takes all");
    bytes
}

/// A handshake whose every write goes through `reframe`; then a request and its answer.
fn served(world: &World, proxy: &Proxy, reframe: impl Fn(&[u8]) -> Vec<u8>) -> (ClientConnection, TcpStream) {
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

/// One direction of a connection: its key and the number of its next record.
struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Keys {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else { panic!("another suite") };
        let iv = iv.as_ref().try_into().expect("12 bytes");
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).expect("16 bytes");
        Self { key: LessSafeKey::new(key), iv, number }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.number.to_be_bytes()).for_each(|(byte, more)| *byte ^= more);
        self.number += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// A record of what is to be inside: content, its type, padding.
    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let len = u16::try_from(inner.len() + 16).expect("a record").to_be_bytes();
        let header = [DATA, 3, 3, len[0], len[1]];
        let mut bytes = inner.to_vec();
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, Aad::from(header), &mut bytes).expect("a record");
        [&header[..], &bytes].concat()
    }

    /// What is inside the next record; `None` at the end.
    fn open(&mut self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut header = [0; 5];
        stream.read_exact(&mut header).ok()?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut bytes).ok()?;
        let nonce = self.nonce();
        Some(self.key.open_in_place(nonce, Aad::from(header), &mut bytes).expect("our key fits").to_vec())
    }
}

/// Keys of a connection that has been served.
fn keys(world: &World, proxy: &Proxy) -> (Keys, Keys, TcpStream) {
    let (tls, stream) = served(world, proxy, <[u8]>::to_vec);
    let secrets = tls.dangerous_extract_secrets().expect("the handshake is over");
    (Keys::new(secrets.tx), Keys::new(secrets.rx), stream)
}

/// The next client is served, and no worker has failed.
#[track_caller]
fn serves_on(proxy: &Proxy) {
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
        ("a record that is too long", [&[HANDSHAKE, 3, 1, 0x41, 0x01][..], &[1; 0x4101]].concat(), SILENCE),
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

#[test]
fn what_comes_sealed_is_judged_as_well() {
    let world = World::new();
    let proxy = world.listener(&[]);
    let hello = hello(&world);
    let largest = [vec![b'x'; 16 * 1024], vec![DATA]].concat();
    let too_large = [vec![b'x'; 16 * 1024 + 1], vec![DATA]].concat();
    type Words<'a> = Box<dyn Fn(&mut Keys) -> Vec<u8> + 'a>;
    let sealed = |inner: &'static [u8]| -> Words<'_> { Box::new(move |keys| keys.seal(inner)) };
    let cases: [(&str, Words<'_>, Option<u8>); 8] = [
        ("too much in a record", Box::new(|keys| keys.seal(&too_large)), RECORD_OVERFLOW),
        ("nothing but padding", sealed(&[0; 50]), SILENCE),
        ("no content type", sealed(b"x\x63"), DECODE_ERROR),
        ("an empty alert", sealed(&[ALERT]), DECODE_ERROR),
        (
            "a second hello",
            Box::new(|keys| keys.seal(&[&hello[5..], &[HANDSHAKE]].concat())),
            UNEXPECTED_MESSAGE,
        ),
        ("a key update of no kind", sealed(&[24, 0, 0, 1, 2, HANDSHAKE]), ILLEGAL_PARAMETER),
        (
            "data between two parts of a message",
            Box::new(|keys| [keys.seal(&[24, 0, 0, HANDSHAKE]), keys.seal(b"x\x17")].concat()),
            SILENCE,
        ),
        (
            "a changed byte",
            Box::new(|keys| {
                let mut bytes = keys.seal(b"GET\x17");
                bytes[7] ^= 1;
                bytes
            }),
            BAD_RECORD_MAC,
        ),
    ];
    for (case, words, alert) in &cases {
        let (mut tx, mut rx, mut stream) = keys(&world, &proxy);
        stream.write_all(&words(&mut tx)).expect("the listener reads");
        assert_eq!(rx.open(&mut stream), alert.map(|alert| vec![2, alert, ALERT]), "{case}");
        assert_eq!(rx.open(&mut stream), None, "{case}");
    }
    until("every failure is in the log", || {
        (proxy.log().matches("client_tls_failed: ").count() == cases.len()).then_some(())
    });
    // Largest and smallest records, and padding, are in order.
    let (mut tx, mut rx, mut stream) = keys(&world, &proxy);
    let head = format!("POST / HTTP/1.1\r\nHost: proxy\r\nContent-Length: {}\r\n\r\n", 16 * 1024);
    let padded = [head.as_bytes(), &[DATA], &[0; 300]].concat();
    let words = [tx.seal(&[DATA]), tx.seal(&padded), tx.seal(&[DATA, 0, 0, 0]), tx.seal(&largest)].concat();
    stream.write_all(&words).expect("the listener reads");
    let answer = rx.open(&mut stream).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 403 Forbidden\r\n"), "{:?}", String::from_utf8_lossy(&answer));
    drop(stream);
    serves_on(&proxy);
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let world = World::new();
    let proxy = world.listener(&[]);
    // A few are in order, and each is answered.
    let (mut tls, mut stream) = served(&world, &proxy, <[u8]>::to_vec);
    for _ in 0..3 {
        tls.refresh_traffic_keys().expect("the handshake is over");
        tls.writer().write_all(STAY).expect("it is sealed");
        while tls.wants_write() {
            tls.write_tls(&mut stream).expect("the listener reads");
        }
        let mut answer = Vec::new();
        while !answer.ends_with(TOLD.as_bytes()) {
            tls.read_tls(&mut stream).expect("the listener answers");
            let state = tls.process_new_packets().expect("the listener speaks TLS");
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            tls.reader().read_exact(&mut part).expect("so much is there");
            answer.extend(part);
        }
    }
    // A thousand at once are not.
    for _ in 0..1000 {
        tls.refresh_traffic_keys().expect("the handshake is over");
    }
    while tls.wants_write() && tls.write_tls(&mut stream).is_ok() {}
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    until("it was enough", || proxy.log().contains("client_tls_failed: ").then_some(()));
    serves_on(&proxy);
}

#[test]
fn records_without_content_keep_no_connection_open() {
    let world = World::new();
    let proxy = world.listener(&["server.tomcat.keep-alive-timeout=1s"]);
    // Many at once are too many.
    let (mut tx, mut rx, mut stream) = keys(&world, &proxy);
    let many: Vec<u8> = (0..33).flat_map(|_| tx.seal(&[DATA])).collect();
    stream.write_all(&many).expect("the listener reads");
    assert_eq!(rx.open(&mut stream), None);
    until("it is in the log", || proxy.log().contains("client_tls_failed: ").then_some(()));
    // One now and then is no reason to wait longer for a request.
    let (mut tx, mut rx, mut stream) = keys(&world, &proxy);
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket option");
    let began = Instant::now();
    let quiet = |error: &std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    while stream.peek(&mut [0]).is_err_and(|error| quiet(&error)) {
        assert!(began.elapsed() < PATIENCE, "the connection lives on nothing");
        // It may have closed just now.
        let _ = stream.write_all(&tx.seal(&[DATA]));
    }
    assert_eq!(rx.open(&mut stream), Some(vec![1, 0, ALERT]), "close_notify");
    proxy.counts("timeouts_idle", 1);
    serves_on(&proxy);
}
