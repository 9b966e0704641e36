//! Records behind the keys that no library would send: sealed by hand with the keys of a connection that has been served.

use crate::process::{PATIENCE, Proxy, until};
use crate::tls::{TOLD, World};
use crate::tls_records::{
    ALERT, BAD_RECORD_MAC, DATA, HANDSHAKE, ILLEGAL_PARAMETER, RECORD_OVERFLOW, STAY, UNEXPECTED_MESSAGE,
    hello, served, serves_on,
};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

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
        ("nothing but padding", sealed(&[0; 50]), UNEXPECTED_MESSAGE),
        ("no content type", sealed(b"x\x63"), UNEXPECTED_MESSAGE),
        ("an empty alert", sealed(&[ALERT]), UNEXPECTED_MESSAGE),
        (
            "a second hello",
            Box::new(|keys| keys.seal(&[&hello[5..], &[HANDSHAKE]].concat())),
            UNEXPECTED_MESSAGE,
        ),
        ("a key update of no kind", sealed(&[24, 0, 0, 1, 2, HANDSHAKE]), ILLEGAL_PARAMETER),
        (
            "data between two parts of a message",
            Box::new(|keys| [keys.seal(&[24, 0, 0, HANDSHAKE]), keys.seal(b"x\x17")].concat()),
            UNEXPECTED_MESSAGE,
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
    assert_eq!(rx.open(&mut stream), Some(vec![2, 10, ALERT]), "unexpected_message");
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
