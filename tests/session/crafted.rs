//! Records that no library would send, sealed by hand with the keys of a peer whose handshake is over: what is in order
//! is understood, and what is not ends with the alert that the RFC names and without a byte of plain text.

use super::{Configs, Pair, configs_of, text};
use apim_proxy::tls::session::{PLAIN_MAX, RECORD_MAX};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, cipher_suite};
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite, version};

pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const NO_RENEGOTIATION: u8 = 100;

const TAG: usize = 16;

/// One direction of a connection, written down from the RFCs a second time.
pub struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
    is_13: bool,
    is_gcm: bool,
}

impl Keys {
    pub fn new(is_13: bool, (number, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("another suite"),
        };
        let is_gcm = *algorithm != CHACHA20_POLY1305;
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).expect("a key"));
        Self { key, iv: iv.as_ref().try_into().expect("12 bytes"), number, is_13, is_gcm }
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.number.to_be_bytes()).for_each(|(byte, more)| *byte ^= more);
        nonce
    }

    fn authenticated(&self, header: [u8; 5], content_len: [u8; 2]) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        if self.is_13 { header.to_vec() } else { [&number[..], &header[..3], &content_len].concat() }
    }

    /// A record of a content, with padding where there is any.
    pub fn seal(&mut self, kind: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let inner = [content, &[kind], &vec![0; padding]].concat();
        if self.is_13 { self.seal_inner(DATA, &inner) } else { self.seal_inner(kind, content) }
    }

    /// A record with just this inside, and this type outside.
    fn seal_inner(&mut self, outer: u8, inner: &[u8]) -> Vec<u8> {
        let nonce = self.nonce();
        let explicit = if self.is_gcm && !self.is_13 { &nonce[4..] } else { &[] };
        let len = u16::try_from(explicit.len() + inner.len() + TAG).expect("a length").to_be_bytes();
        let header = [outer, 3, 3, len[0], len[1]];
        let content_len = u16::try_from(inner.len()).expect("a length").to_be_bytes();
        let aad = self.authenticated(header, content_len);
        let mut bytes = inner.to_vec();
        let (unique, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(aad));
        self.key.seal_in_place_append_tag(unique, aad, &mut bytes).expect("a record");
        self.number += 1;
        [&header[..], explicit, &bytes].concat()
    }

    /// Types and contents of whole records.
    fn open_all(&mut self, mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let (header, rest) = bytes.split_first_chunk::<5>().expect("a header");
            let (record, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
            bytes = rest;
            let mut nonce = self.nonce();
            let explicit = if self.is_gcm && !self.is_13 { 8 } else { 0 };
            nonce[12 - explicit..].copy_from_slice(&record[..explicit]);
            let mut inner = record[explicit..].to_vec();
            let content_len = u16::try_from(inner.len() - TAG).expect("a length").to_be_bytes();
            let aad = self.authenticated(*header, content_len);
            let unique = Nonce::assume_unique_for_key(nonce);
            let len = self.key.open_in_place(unique, Aad::from(aad), &mut inner).expect("our key fits").len();
            inner.truncate(len);
            let kind = if self.is_13 { inner.pop().expect("a type, and no padding") } else { header[0] };
            self.number += 1;
            records.push((kind, inner));
        }
        records
    }
}

/// Our session, and the keys of its peer.
pub struct Rude {
    pub pair: Pair,
    pub tx: Keys,
    pub rx: Keys,
}

impl Rude {
    pub fn new(we_are_client: bool, configs: &Configs, is_13: bool, step: usize) -> Self {
        let mut pair = Pair::new(we_are_client, configs, step);
        pair.shake_hands();
        // A peer that will never be used takes the place of the one whose keys we take.
        let spare = Pair::new(we_are_client, configs, step).peer;
        let secrets = std::mem::replace(&mut pair.peer, spare).dangerous_extract_secrets();
        let secrets = secrets.expect("the handshake is over");
        Self { pair, tx: Keys::new(is_13, secrets.tx), rx: Keys::new(is_13, secrets.rx) }
    }

    /// What we have said.
    fn heard(&mut self) -> Vec<(u8, Vec<u8>)> {
        let Some(mut out) = self.pair.sealed.out.take() else { return vec![] };
        let bytes = out.passed().to_vec();
        out.sent(bytes.len());
        self.pair.bufs.give_back(out);
        self.rx.open_all(&bytes)
    }

    fn heard_alert(&mut self) -> Option<[u8; 2]> {
        let heard = self.heard();
        let (kind, alert) = heard.first()?;
        assert_eq!((heard.len(), *kind), (1, ALERT), "{heard:?}");
        Some(alert[..].try_into().expect("two bytes"))
    }

    /// It still works both ways.
    #[track_caller]
    fn is_well(&mut self) {
        self.pair.opened.clear();
        let words = self.tx.seal(DATA, b"words", 0);
        self.pair.hear(&words).expect("it is open");
        assert_eq!(self.pair.opened, b"words");
        self.pair
            .ours
            .seal([b"ans", b"wer"], &mut self.pair.sealed, &mut self.pair.bufs)
            .expect("it is open");
        assert_eq!(self.heard(), [(DATA, b"answer".to_vec())]);
    }
}

/// One suite of each kind of record.
fn kinds() -> [SupportedCipherSuite; 5] {
    [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

fn is_13(suite: SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

fn configs_with(suite: SupportedCipherSuite) -> Configs {
    configs_of(&[suite], &[if is_13(suite) { &version::TLS13 } else { &version::TLS12 }], None)
}

/// Every kind of record in both roles.
fn everywhere(act: impl Fn(&mut Rude)) {
    for suite in kinds() {
        let configs = configs_with(suite);
        for we_are_client in [true, false] {
            act(&mut Rude::new(we_are_client, &configs, is_13(suite), 60_000));
        }
    }
}

#[test]
fn every_suite_is_understood_by_rustls() {
    let ours = ALL_CIPHER_SUITES.iter().filter(|suite| {
        // The certificate of these tests has a key of the other kind.
        !format!("{:?}", suite.suite()).contains("_RSA_")
    });
    let mut seen = 0;
    for suite in ours {
        let configs = configs_with(*suite);
        for we_are_client in [true, false] {
            let mut pair = Pair::new(we_are_client, &configs, 60_000);
            pair.shake_hands();
            for len in [1, 700, PLAIN_MAX + 1, 50_000] {
                assert!(pair.say(&text(len)) == text(len), "{len} bytes to the peer: {suite:?}");
                assert!(pair.hear_from_peer(&text(len)) == text(len), "{len} bytes from the peer: {suite:?}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn two_parts_are_one_content() {
    everywhere(|rude| {
        let whole = text(PLAIN_MAX + 500);
        for (cut, len) in
            [(0, 1), (1, 1), (1, 2), (300, 1300), (PLAIN_MAX - 1, PLAIN_MAX + 500), (PLAIN_MAX, 16_800)]
        {
            let Pair { ours, sealed, bufs, .. } = &mut rude.pair;
            let mut sent = 0;
            let mut got = Vec::new();
            while sent < len {
                let from = sent.min(cut);
                sent += ours
                    .seal([&whole[from..cut], &whole[sent.max(cut)..len]], sealed, bufs)
                    .expect("it is open");
                let out = sealed.out.take().expect("records");
                for (kind, content) in rude.rx.open_all(out.passed()) {
                    assert_eq!(kind, DATA);
                    got.extend(content);
                }
                bufs.give_back(out);
            }
            assert!(got == whole[..len], "{len} bytes cut at {cut}");
        }
    });
}

#[test]
fn the_largest_the_smallest_and_the_padded_are_in_order() {
    everywhere(|rude| {
        let largest = text(PLAIN_MAX);
        let mut words =
            vec![rude.tx.seal(DATA, &largest, 0), rude.tx.seal(DATA, b"", 0), rude.tx.seal(DATA, b"x", 0)];
        let mut expected = [&largest[..], b"x"].concat();
        if rude.tx.is_13 {
            for (content, padding) in
                [(&b""[..], 1), (b"a", 1), (b"\0\0", 300), (b"b", PLAIN_MAX - 1), (b"", PLAIN_MAX)]
            {
                words.push(rude.tx.seal(DATA, content, padding));
                expected.extend(content);
            }
        }
        for record in words {
            rude.pair.hear(&record).expect("it is in order");
        }
        assert!(rude.pair.opened == expected);
        rude.is_well();
    });
}

/// A flipped bit anywhere in a record: no plain text, and an alert once the record is whole.
#[test]
fn every_flipped_bit_ends_the_connection() {
    for suite in kinds() {
        let configs = configs_with(suite);
        let record_len = Rude::new(true, &configs, is_13(suite), 60_000).tx.seal(DATA, b"secret", 2).len();
        for bit in 0..record_len * 8 {
            let mut rude = Rude::new(bit % 2 == 0, &configs, is_13(suite), 60_000);
            let mut record = rude.tx.seal(DATA, b"secret", 2);
            record[bit / 8] ^= 1 << (bit % 8);
            // A record that is longer now becomes whole.
            record.resize(RECORD_MAX + 1, 0);
            rude.pair.hear(&record).expect_err("it is spoilt");
            assert!(rude.pair.opened.is_empty(), "bit {bit}: {suite:?}");
            let alert = rude.heard_alert().expect("an alert");
            let sealed = bit / 8 > 4 || bit / 8 == 2;
            let expected: &[u8] = match bit / 8 {
                0 => &[UNEXPECTED_MESSAGE, DECODE_ERROR, BAD_RECORD_MAC],
                1 => &[DECODE_ERROR],
                3 => &[RECORD_OVERFLOW, BAD_RECORD_MAC],
                _ => &[BAD_RECORD_MAC],
            };
            assert!(alert[0] == 2 && expected.contains(&alert[1]), "bit {bit}: {alert:?}, {suite:?}");
            assert!(!sealed || alert[1] == BAD_RECORD_MAC);
        }
    }
}

#[test]
fn records_come_in_order_and_once() {
    everywhere(|rude| {
        let first = rude.tx.seal(DATA, b"first", 0);
        let second = rude.tx.seal(DATA, b"second", 0);
        rude.pair.hear(&second).expect_err("one is missing");
        assert_eq!((rude.pair.opened.len(), rude.heard_alert()), (0, Some([2, BAD_RECORD_MAC])));
        rude.pair.hear(&first).expect_err("it has failed");
        assert_eq!((rude.pair.opened.len(), rude.heard_alert()), (0, None));
    });
    everywhere(|rude| {
        let first = rude.tx.seal(DATA, b"first", 0);
        rude.pair.hear(&first).expect("it is the first");
        rude.pair.hear(&first).expect_err("it came before");
        assert_eq!(
            (rude.pair.opened.clone(), rude.heard_alert()),
            (b"first".to_vec(), Some([2, BAD_RECORD_MAC]))
        );
    });
}

/// Type, content and padding of records, and the alert that answers the last.
type Case<'a> = (&'a str, Vec<(u8, Vec<u8>, usize)>, Option<u8>);

fn judge(rude: &mut Rude, (name, records, alert): &Case<'_>) {
    let Some(((kind, content, padding), before)) = records.split_last() else { panic!("{name}: no records") };
    for (kind, content, padding) in before {
        let record = rude.tx.seal(*kind, content, *padding);
        rude.pair.hear(&record).unwrap_or_else(|what| panic!("{name}: {what:?}"));
    }
    assert_eq!(rude.heard(), [], "{name}");
    rude.pair.opened.clear();
    let record = rude.tx.seal(*kind, content, *padding);
    rude.pair.hear(&record).expect_err(name);
    assert!(rude.pair.opened.is_empty(), "{name}");
    assert!(rude.pair.ours.reason().is_some(), "{name}");
    assert_eq!(rude.heard_alert(), alert.map(|alert| [2, alert]), "{name}");
    let what = rude.pair.ours.seal([b"x", b""], &mut rude.pair.sealed, &mut rude.pair.bufs);
    assert!(what.is_err() && rude.heard().is_empty(), "{name}: nothing follows an alert");
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a length").to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

fn ticket(len: usize) -> Vec<u8> {
    let len_bytes = u16::try_from(len).expect("a length").to_be_bytes();
    [&[0, 0, 1, 0, 1, 2, 3, 4, 2, 7, 7][..], &len_bytes, &vec![5; len], &[0, 0]].concat()
}

/// In either role of either version.
fn against_everyone() -> Vec<Case<'static>> {
    let many = |kind, content: &[u8], times| vec![(kind, content.to_vec(), 0); times];
    vec![
        ("too much in a record", vec![(DATA, vec![0; PLAIN_MAX + 1], 0)], Some(RECORD_OVERFLOW)),
        ("too many empty records", many(DATA, b"", 33), Some(UNEXPECTED_MESSAGE)),
        ("a heartbeat", many(24, b"\x01\0\x01\0\0", 1), Some(UNEXPECTED_MESSAGE)),
        ("an empty alert", many(ALERT, b"", 1), Some(UNEXPECTED_MESSAGE)),
        ("half an alert", many(ALERT, b"\x02", 1), Some(DECODE_ERROR)),
        ("an alert and a half", many(ALERT, b"\x02\x28\x02", 1), Some(DECODE_ERROR)),
        ("an alert of no level", many(ALERT, b"\x03\x28", 1), Some(ILLEGAL_PARAMETER)),
        ("an alert", many(ALERT, b"\x02\x28", 1), None),
        ("an alert of no name", many(ALERT, b"\x02\xfe", 1), None),
        ("an empty handshake record", many(HANDSHAKE, b"", 1), Some(UNEXPECTED_MESSAGE)),
        ("a Finished", many(HANDSHAKE, &message(20, &[0; 12]), 1), Some(UNEXPECTED_MESSAGE)),
        ("a CertificateRequest", many(HANDSHAKE, &message(13, b"\0\0\0"), 1), Some(UNEXPECTED_MESSAGE)),
    ]
}

#[test]
fn what_is_out_of_order_is_told_by_its_alert() {
    for suite in kinds() {
        let configs = configs_with(suite);
        for we_are_client in [true, false] {
            let mut cases = against_everyone();
            cases.extend(if is_13(suite) { against_13(we_are_client) } else { against_12(we_are_client) });
            for case in &cases {
                judge(&mut Rude::new(we_are_client, &configs, is_13(suite), 60_000), case);
            }
        }
    }
}

fn against_13(we_are_client: bool) -> Vec<Case<'static>> {
    let one = |kind, content: Vec<u8>| vec![(kind, content, 0)];
    let update = |body: &[u8]| message(24, body);
    let mut cases = vec![
        ("padding beyond the limit", vec![(DATA, b"x".to_vec(), PLAIN_MAX)], Some(RECORD_OVERFLOW)),
        ("nothing but padding", vec![(0, vec![], 40)], Some(UNEXPECTED_MESSAGE)),
        ("nothing at all", vec![(0, vec![], 0)], Some(UNEXPECTED_MESSAGE)),
        ("no content type", one(99, b"x".to_vec()), Some(UNEXPECTED_MESSAGE)),
        ("a sealed change_cipher_spec", one(CHANGE_CIPHER_SPEC, vec![1]), Some(UNEXPECTED_MESSAGE)),
        ("an old warning", one(ALERT, b"\x01\x64".to_vec()), Some(DECODE_ERROR)),
        ("many warnings", vec![(ALERT, b"\x01\x5a".to_vec(), 0); 5], Some(UNEXPECTED_MESSAGE)),
        ("a key update of no kind", one(HANDSHAKE, update(&[2])), Some(ILLEGAL_PARAMETER)),
        ("a long key update", one(HANDSHAKE, update(&[0, 0])), Some(DECODE_ERROR)),
        ("an empty key update", one(HANDSHAKE, update(&[])), Some(DECODE_ERROR)),
        (
            "a key update with something behind it",
            one(HANDSHAKE, [update(&[0]), update(&[0])].concat()),
            Some(UNEXPECTED_MESSAGE),
        ),
        (
            "data between two parts of a message",
            vec![(HANDSHAKE, vec![24, 0, 0], 0), (DATA, b"x".to_vec(), 0)],
            Some(UNEXPECTED_MESSAGE),
        ),
        (
            "an alert between two parts of a message",
            vec![(HANDSHAKE, vec![24], 0), (ALERT, vec![1, 0], 0)],
            Some(UNEXPECTED_MESSAGE),
        ),
        ("a hello", one(HANDSHAKE, message(1, &[3; 100])), Some(UNEXPECTED_MESSAGE)),
    ];
    cases.extend(if we_are_client {
        vec![
            ("a ticket of 70 KB", one(HANDSHAKE, vec![4, 1, 0x12, 0]), Some(DECODE_ERROR)),
            ("no ticket", one(HANDSHAKE, message(4, b"nothing like it")), Some(DECODE_ERROR)),
            ("a ticket without a ticket", one(HANDSHAKE, message(4, &ticket(0))), Some(DECODE_ERROR)),
        ]
    } else {
        vec![("a client's ticket", one(HANDSHAKE, message(4, &ticket(100))), Some(UNEXPECTED_MESSAGE))]
    });
    cases
}

fn against_12(we_are_client: bool) -> Vec<Case<'static>> {
    let one = |kind, content: Vec<u8>| vec![(kind, content, 0)];
    let mut cases = vec![
        ("many warnings", vec![(ALERT, b"\x01\x5a".to_vec(), 0); 5], Some(UNEXPECTED_MESSAGE)),
        ("a key update", one(HANDSHAKE, message(24, &[0])), Some(UNEXPECTED_MESSAGE)),
        ("a late ticket", one(HANDSHAKE, message(4, &ticket(100))), Some(UNEXPECTED_MESSAGE)),
    ];
    cases.extend(if we_are_client {
        vec![
            ("a long HelloRequest", one(HANDSHAKE, message(0, &[0])), Some(DECODE_ERROR)),
            ("a hello", one(HANDSHAKE, message(1, &[3; 100])), Some(UNEXPECTED_MESSAGE)),
        ]
    } else {
        vec![
            ("a HelloRequest", one(HANDSHAKE, message(0, &[])), Some(UNEXPECTED_MESSAGE)),
            ("a hello of 1 MB", one(HANDSHAKE, vec![1, 16, 0, 0]), Some(DECODE_ERROR)),
        ]
    });
    cases
}

#[test]
fn nothing_is_negotiated_anew() {
    for suite in kinds().into_iter().filter(|suite| !is_13(*suite)) {
        let configs = configs_with(suite);
        for we_are_client in [true, false] {
            let mut rude = Rude::new(we_are_client, &configs, false, 1);
            let wish = if we_are_client { message(0, &[]) } else { message(1, &text(300)) };
            // In pieces, because it may come so.
            for part in wish.chunks(3) {
                assert_eq!(rude.heard(), []);
                let record = rude.tx.seal(HANDSHAKE, part, 0);
                rude.pair.hear(&record).expect("it may be declined");
            }
            assert_eq!(rude.heard_alert(), Some([1, NO_RENEGOTIATION]));
            rude.is_well();
            let record = rude.tx.seal(HANDSHAKE, &wish, 0);
            rude.pair.hear(&record).expect_err("once is enough");
            assert_eq!(rude.heard_alert(), Some([2, UNEXPECTED_MESSAGE]));
        }
    }
}

/// What is outside of the sealing: types and versions of the header, and records that are not sealed.
#[test]
fn what_is_not_sealed_is_refused() {
    for suite in kinds() {
        let configs = configs_with(suite);
        for (name, bytes, alert) in [
            ("change_cipher_spec", &b"\x14\x03\x03\0\x01\x01"[..], UNEXPECTED_MESSAGE),
            (
                "a plain alert",
                b"\x15\x03\x03\0\x02\x02\x28",
                if is_13(suite) { UNEXPECTED_MESSAGE } else { BAD_RECORD_MAC },
            ),
            (
                "a plain close_notify",
                b"\x15\x03\x03\0\x02\x01\0",
                if is_13(suite) { UNEXPECTED_MESSAGE } else { BAD_RECORD_MAC },
            ),
            ("plain data", b"\x17\x03\x03\0\x05hello", BAD_RECORD_MAC),
            ("an empty record", b"\x17\x03\x03\0\0", BAD_RECORD_MAC),
            ("no content type", b"\x63\x03\x03\0\x01x", DECODE_ERROR),
            ("no version of TLS", b"\x17\x02\x03\0\x01x", DECODE_ERROR),
            ("plain text", b"GET / HTTP/1.1\r\n\r\n", DECODE_ERROR),
            ("the longest length there is", b"\x17\x03\x03\xff\xff", RECORD_OVERFLOW),
            ("a length too much", b"\x17\x03\x03\x41\x01", RECORD_OVERFLOW),
        ] {
            for we_are_client in [true, false] {
                let mut rude = Rude::new(we_are_client, &configs, is_13(suite), 60_000);
                rude.pair.hear(bytes).expect_err(name);
                assert_eq!(
                    (rude.pair.opened.len(), rude.heard_alert()),
                    (0, Some([2, alert])),
                    "{name}: {suite:?}"
                );
            }
        }
    }
}

#[test]
fn tickets_come_in_any_pieces() {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let configs = configs_with(suite);
    let small = message(4, &ticket(200));
    let large = message(4, &ticket(0xffff - 15));
    for piece in [1, 3, 1000, PLAIN_MAX] {
        let mut rude = Rude::new(true, &configs, true, 60_000);
        // Many in one record, and the largest over many.
        let words = [&small[..], &small, &small, if piece > 3 { &large } else { &small }, &small].concat();
        for part in words.chunks(piece) {
            let record = rude.tx.seal(HANDSHAKE, part, 0);
            rude.pair.hear(&record).unwrap_or_else(|what| panic!("{piece}: {what:?}"));
        }
        rude.is_well();
    }
}

#[test]
fn close_notify_is_heard_at_any_level_and_answered_once() {
    everywhere(|rude| {
        let level = if rude.tx.number % 2 == 0 { 1 } else { 2 };
        let record = rude.tx.seal(ALERT, &[level, 0], 0);
        rude.pair.hear(&record).expect("the end");
        assert!(rude.pair.ended && rude.pair.ours.has_ended());
        let Pair { ours, sealed, bufs, .. } = &mut rude.pair;
        ours.close(sealed, bufs).expect("room");
        assert!(ours.close(sealed, bufs).is_err(), "once");
        assert!(ours.seal([b"x", b""], sealed, bufs).is_err(), "nothing follows");
        assert_eq!(rude.heard(), [(ALERT, vec![1, 0])]);
    });
}

#[test]
fn a_full_buffer_leaves_room_for_the_last_word() {
    everywhere(|rude| {
        let words = text(1000);
        let Pair { ours, sealed, bufs, .. } = &mut rude.pair;
        for len in [1000, 1] {
            while ours.seal([&words[..len], b""], sealed, bufs).expect("it is open") > 0 {}
        }
        ours.close(sealed, bufs).expect("room is left");
        assert_eq!(rude.heard().last(), Some(&(ALERT, vec![1, 0])));
    });
    everywhere(|rude| {
        let words = text(1000);
        let Pair { ours, sealed, bufs, .. } = &mut rude.pair;
        for len in [1000, 1] {
            while ours.seal([&words[..len], b""], sealed, bufs).expect("it is open") > 0 {}
        }
        rude.pair.hear(b"no record at all").expect_err("it is none");
        assert_eq!(rude.heard().last(), Some(&(ALERT, vec![2, DECODE_ERROR])));
    });
}
