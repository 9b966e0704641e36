//! The TLS session on bytes alone, against rustls's buffered connections: both roles, both versions, any segmentation,
//! and what hostile peers do to records.

mod crafted;
mod keys;
#[path = "../pki/mod.rs"]
#[allow(dead_code)] // each user of the maker needs its own part of it
mod pki;

use apim_proxy::buf::BufPool;
use apim_proxy::fault::What;
use apim_proxy::tls::session::{Opened, PLAIN_MAX, Progress, Sealed, Session};
use apim_proxy::tls::suites;
use pki::{KeyKind, Order, Pki};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

/// What a peer is configured with; `fragment` is the longest record it makes.
fn configs(versions: &[&'static SupportedProtocolVersion], fragment: Option<usize>) -> Configs {
    configs_of(&[], versions, fragment)
}

/// The same with a choice of suites; none: all of them.
fn configs_of(
    suites: &[SupportedCipherSuite],
    versions: &[&'static SupportedProtocolVersion],
    fragment: Option<usize>,
) -> Configs {
    type Made = (CertificateDer<'static>, CertificateDer<'static>, PrivateKeyDer<'static>);
    static MADE: OnceLock<Made> = OnceLock::new();
    let (root, leaf, key) = MADE.get_or_init(|| {
        let pki = Pki::new();
        let root = pki.root("Root");
        let leaf = pki.issue(&root, &Order::server("a.test").key(KeyKind::P256));
        (root.der(), leaf.der(), leaf.private_key())
    });
    let provider = suites::provider(suites, false);
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("the root is sound");
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let mut client = client
        .with_protocol_versions(versions)
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.max_fragment_size = fragment;
    client.enable_secret_extraction = true;
    let server = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let mut server = server
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.clone()], key.clone_key())
        .expect("certificate and key belong together");
    server.max_fragment_size = fragment;
    server.enable_secret_extraction = true;
    (Arc::new(client), Arc::new(server))
}

/// Our session, its sealed bytes, and the peer.
struct Pair {
    ours: Session,
    sealed: Sealed,
    bufs: BufPool,
    peer: Connection,
    /// Bytes that reach us at once.
    step: usize,
    /// What we have opened.
    opened: Vec<u8>,
    ended: bool,
}

impl Pair {
    fn new(we_are_client: bool, configs: &Configs, step: usize) -> Self {
        let name = ServerName::try_from("a.test").expect("a name");
        let (ours, peer) = if we_are_client {
            let peer = ServerConnection::new(Arc::clone(&configs.1)).expect("a server");
            (Session::connect(&configs.0, name), peer.into())
        } else {
            let peer = ClientConnection::new(Arc::clone(&configs.0), name).expect("a client");
            (Session::accept(&configs.1), peer.into())
        };
        let bufs = BufPool::new(2, 8);
        let ours = ours.expect("a session");
        Self { ours, sealed: Sealed::default(), bufs, peer, step, opened: Vec::new(), ended: false }
    }

    /// Takes what the peer has to send.
    fn peer_says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.peer.wants_write() {
            self.peer.write_tls(&mut bytes).expect("a vector grows");
        }
        bytes
    }

    /// Gives the peer what we have to send; what it read of that.
    fn peer_hears(&mut self) -> Result<Vec<u8>, rustls::Error> {
        let mut plain = Vec::new();
        if let Some(mut out) = self.sealed.out.take() {
            let bytes = out.passed().to_vec();
            out.sent(bytes.len());
            self.bufs.give_back(out);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                self.peer.read_tls(&mut rest).expect("a slice reads");
                self.peer.process_new_packets()?;
                // The end and "nothing now" are the same here.
                let _ = self.peer.reader().read_to_end(&mut plain);
            }
        }
        Ok(plain)
    }

    fn receive(&mut self, bytes: &[u8]) {
        let buf = self.sealed.inbound.get_or_insert_with(|| self.bufs.lease());
        if buf.free_mut().len() < bytes.len() {
            assert!(self.bufs.enlarge(buf), "a larger buffer is left");
        }
        let room = buf.free_mut();
        room[..bytes.len()].copy_from_slice(bytes);
        buf.received(bytes.len());
    }

    /// Hands us `bytes` in steps; in the handshake, or opening records.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), What> {
        for part in bytes.chunks(self.step) {
            self.receive(part);
            if !self.ours.is_secure() {
                self.ours.shake(&mut self.sealed, &mut self.bufs)?;
            }
            if self.ours.is_secure() {
                self.open()?;
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), What> {
        loop {
            let mut plain = self.bufs.lease();
            let opened = self.ours.open(&mut self.sealed, &mut plain, &mut self.bufs);
            self.opened.extend_from_slice(plain.pending());
            self.bufs.give_back(plain);
            match opened? {
                Opened::Bytes(_) => {}
                Opened::Ended => {
                    self.ended = true;
                    return Ok(());
                }
                Opened::Short => return Ok(()),
                Opened::Cramped(len) => panic!("an empty buffer has room for {len} bytes"),
            }
        }
    }

    fn shake_hands(&mut self) {
        self.ours.shake(&mut self.sealed, &mut self.bufs).expect("a beginning");
        for _ in 0..10 {
            self.peer_hears().expect("the peer agrees");
            let bytes = self.peer_says();
            self.hear(&bytes).expect("we agree");
            if self.ours.is_secure() && !self.peer.is_handshaking() && self.sealed.out.is_none() {
                let bytes = self.peer_says();
                self.hear(&bytes).expect("we agree");
                return;
            }
        }
        panic!("the handshake does not end");
    }

    /// Seals all of `plain`, sending in between; what the peer has read.
    fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        let (mut at, mut read) = (0, Vec::new());
        while at < plain.len() {
            at += self.ours.seal([&plain[at..], &[]], &mut self.sealed, &mut self.bufs).expect("it is open");
            read.extend(self.peer_hears().expect("the peer agrees"));
        }
        read
    }

    fn hear_from_peer(&mut self, plain: &[u8]) -> Vec<u8> {
        for part in plain.chunks(30_000) {
            self.peer.writer().write_all(part).expect("the peer seals");
            let bytes = self.peer_says();
            self.hear(&bytes).expect("we agree");
        }
        std::mem::take(&mut self.opened)
    }
}

/// Both roles, both versions, and two segmentations.
fn everywhere(fragment: Option<usize>, act: impl Fn(&mut Pair)) {
    for version in VERSIONS {
        let configs = configs(&[version], fragment);
        for we_are_client in [true, false] {
            for step in [1, 60_000] {
                let mut pair = Pair::new(we_are_client, &configs, step);
                pair.shake_hands();
                act(&mut pair);
            }
        }
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn bytes_of_any_length_pass_both_ways() {
    everywhere(None, |pair| {
        for len in [1, 1000, PLAIN_MAX - 1, PLAIN_MAX, PLAIN_MAX + 1, 70_000] {
            assert!(pair.say(&text(len)) == text(len), "{len} bytes to the peer");
            assert!(pair.hear_from_peer(&text(len)) == text(len), "{len} bytes from the peer");
        }
    });
}

#[test]
fn a_peer_of_tiny_records_is_understood() {
    everywhere(Some(32), |pair| {
        assert!(pair.hear_from_peer(&text(3000)) == text(3000));
        assert!(pair.say(&text(3000)) == text(3000));
    });
}

#[test]
fn keys_change_in_between() {
    let configs = configs(&[&version::TLS13], None);
    for we_are_client in [true, false] {
        let mut pair = Pair::new(we_are_client, &configs, 3);
        pair.shake_hands();
        for len in [1, 5000] {
            pair.peer.refresh_traffic_keys().expect("1.3 can");
            assert!(pair.hear_from_peer(&text(len)) == text(len));
            assert!(pair.say(&text(len)) == text(len));
        }
    }
}

#[test]
fn the_end_is_told_both_ways_and_nothing_counts_behind_it() {
    everywhere(None, |pair| {
        pair.peer.writer().write_all(b"last").expect("the peer seals");
        pair.peer.send_close_notify();
        let mut bytes = pair.peer_says();
        bytes.extend_from_slice(b"\x17\x03\x03\x00\x05junk!");
        pair.hear(&bytes).expect("what follows the end is not looked at");
        assert_eq!((pair.opened.as_slice(), pair.ended), (&b"last"[..], true));
        assert!(pair.ours.has_ended());
        assert_eq!(pair.say(b"answer"), b"answer", "the other direction stays open");
        pair.ours.close(&mut pair.sealed, &mut pair.bufs).expect("there is room");
        pair.peer_hears().expect("the peer agrees");
        let mut nothing = [0];
        assert_eq!(pair.peer.reader().read(&mut nothing).expect("a clean end"), 0);
    });
}

#[test]
fn damaged_and_overlong_records_end_the_connection_with_an_alert() {
    let overlong = [&[0x17, 3, 3, 0x50, 0][..], &vec![0; 0x5000]].concat();
    everywhere(None, |pair| {
        if pair.step == 1 {
            return;
        }
        pair.peer.writer().write_all(b"hello").expect("the peer seals");
        let mut damaged = pair.peer_says();
        *damaged.last_mut().expect("a record") ^= 1;
        let what = pair.hear(&damaged).expect_err("the tag is wrong");
        assert!(matches!(what, What::TlsFailed | What::ClientTlsFailed), "{what:?}");
        assert!(matches!(pair.peer_hears(), Err(rustls::Error::AlertReceived(_))));
        assert!(pair.ours.reason().expect("it says why").contains("decrypt"));
    });
    everywhere(None, |pair| {
        if pair.step == 1 {
            return;
        }
        assert!(pair.hear(&overlong).is_err());
        let said = pair.sealed.out.as_ref().map(|out| out.len());
        assert!(
            pair.ours.seal([b"x", &[]], &mut pair.sealed, &mut pair.bufs).is_err(),
            "nothing follows an alert"
        );
        assert_eq!(pair.sealed.out.as_ref().map(|out| out.len()), said);
        assert!(matches!(pair.peer_hears(), Err(rustls::Error::AlertReceived(_))));
    });
}

/// A part of a handshake message stays with us while we have something to say: neither may hurt the other.
#[test]
fn half_a_ticket_is_no_obstacle() {
    let configs = configs(&[&version::TLS13], Some(64));
    let mut pair = Pair::new(true, &configs, 1);
    pair.ours.shake(&mut pair.sealed, &mut pair.bufs).expect("a beginning");
    while !pair.ours.is_secure() {
        pair.peer_hears().expect("the peer agrees");
        let bytes = pair.peer_says();
        pair.hear(&bytes).expect("we agree");
    }
    pair.peer_hears().expect("the peer agrees");
    let tickets = pair.peer_says();
    assert!(tickets.len() > 200, "the tickets come in several records");
    for part in tickets.chunks(50) {
        pair.hear(part).expect("we agree");
        assert_eq!(pair.say(b"x"), b"x");
    }
    assert!(pair.hear_from_peer(b"answer") == b"answer");
    // The same, where half of it is all that comes, and we close.
    let bytes = {
        pair.peer.refresh_traffic_keys().expect("1.3 can");
        pair.peer_says()
    };
    pair.hear(&bytes[..bytes.len() - 1]).expect("half a record is no fault");
    pair.ours.close(&mut pair.sealed, &mut pair.bufs).expect("there is room");
}

#[test]
fn sessions_are_resumed() {
    for version in VERSIONS {
        let configs = configs(&[version], None);
        for (round, we_are_client) in [true, true, false].into_iter().enumerate() {
            let mut pair = Pair::new(we_are_client, &configs, 60_000);
            pair.shake_hands();
            assert_eq!(pair.ours.is_resumed(), round > 0, "{version:?}, round {round}");
            assert_eq!(pair.ours.version(), Some(version.version));
            assert!(pair.say(b"x") == b"x" && pair.hear_from_peer(b"y") == b"y");
        }
    }
}

/// Whatever a peer sends, before or after the handshake, is refused or ignored and never fatal to us.
#[test]
fn no_bytes_of_a_peer_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for version in VERSIONS {
        let configs = configs(&[version], Some(200));
        for round in 0..400 {
            let mut pair = Pair::new(round % 2 == 0, &configs, [1, 7, 60_000][round % 3]);
            let mut fine = pair.ours.shake(&mut pair.sealed, &mut pair.bufs) == Ok(Progress::Waiting);
            let spoil_at = next(8);
            for turn in 0..8 {
                if pair.peer_hears().is_err() {
                    break;
                }
                if !pair.peer.is_handshaking() && turn < 6 {
                    pair.peer.writer().write_all(&[7; 300]).expect("the peer seals");
                }
                let mut bytes = pair.peer_says();
                if turn >= spoil_at && !bytes.is_empty() {
                    match next(4) {
                        0 => {
                            let at = next(bytes.len());
                            bytes[at] ^= 1 << next(8);
                        }
                        1 => bytes.truncate(next(bytes.len())),
                        2 => {
                            let at = next(bytes.len());
                            bytes.insert(at, next(256) as u8);
                        }
                        _ => bytes.extend_from_within(..),
                    }
                }
                fine = fine && pair.hear(&bytes).is_ok();
                if fine && pair.ours.is_secure() {
                    // It may be closed by the peer's own word.
                    let _ = pair.ours.seal([b"words", &[]], &mut pair.sealed, &mut pair.bufs);
                }
                if !fine {
                    break;
                }
            }
        }
    }
}
