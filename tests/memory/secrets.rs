//! The client and the origin in memory, with TLS on both sides: their ends are rustls's buffered connections, whose
//! allocations are their own and are not counted.

use crate::pki::{Issued, Order, Pki};
use crate::world::{ORIGIN, Pair, Peer, READABLE, Script, WRITABLE, World};
use apim_proxy::policy::targets::{Profile, Targets};
use apim_proxy::tls::context::{Inbound, Outbound};
use apim_proxy::tls::notes::Notes;
use apim_proxy::tls::suites::TlsVersion;
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::{ServerVerifier, Verification};
use apim_proxy::worker::Worker;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::sync::Arc;

/// Runs some work and says what it allocated.
type Meter = fn(&mut dyn FnMut()) -> u64;

/// A worker between two peers that speak TLS.
pub struct SecretPair {
    pair: Pair,
    client: Connection,
    origin: Connection,
}

fn server(pki: &Pki, root: &Issued, host: &str, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let leaf = pki.issue(root, &Order::server(host));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der()], leaf.private_key())
        .expect("a certificate");
    config.enable_secret_extraction = true;
    config
}

/// Hands what the worker sent to a peer's TLS, and takes what that has to say; returns the plain bytes.
fn relay(connection: &mut Connection, peer: &mut Peer) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = &peer.received[..];
    while !rest.is_empty() {
        connection.read_tls(&mut rest).expect("a slice is read");
        connection.process_new_packets().expect("the worker speaks TLS");
        let mut buf = [0; 4096];
        while let Ok(n @ 1..) = connection.reader().read(&mut buf) {
            plain.extend_from_slice(&buf[..n]);
        }
    }
    peer.received.clear();
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut out).expect("a vector is written");
    }
    if !out.is_empty() {
        peer.say(&out);
    }
    plain
}

impl SecretPair {
    /// A worker, a client with its TLS, and some exchanges behind them.
    ///
    /// # Panics
    /// When a peer does not hear what it should.
    pub fn warm(mut script: Script, version: &'static SupportedProtocolVersion) -> Self {
        let pki = Pki::new();
        let root = pki.root("Root");
        let mut roots = RootCertStore::empty();
        roots.add(root.der()).expect("a root");
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Arc::new(client);
        let at = script.request.windows(7).position(|text| text == b"http://").expect("a target");
        script.request.splice(at..at + 7, *b"https://");
        let inbound = Inbound { config: Arc::new(server(&pki, &root, "proxy.test", version)), clients: None };
        let trust = Arc::new(Trust::new([("root".to_owned(), root.der())]));
        let notes = Arc::new(Notes::default());
        let provider = Arc::new(default_provider());
        let verifier = ServerVerifier::new(trust, Verification::default(), &provider, &notes);
        let spoken = [TlsVersion::V12, TlsVersion::V13];
        let outbound = Outbound::new(None, verifier, &spoken, &provider, 1).expect("terms");
        let pair = Pair::new(script, |config| {
            let profile = Profile { tls: Some(outbound), ..Profile::default() };
            config.listeners[0].inbound = Some(inbound);
            config.targets = Arc::new(Targets { entries: Vec::new(), others: Arc::new(profile) });
        });
        let name = "proxy.test".try_into().expect("a name");
        let origin = Arc::new(server(&pki, &root, ORIGIN, version));
        let mut pair = Self {
            pair,
            client: ClientConnection::new(client, name).expect("a client").into(),
            origin: ServerConnection::new(origin).expect("a server").into(),
        };
        while pair.client.is_handshaking() {
            relay(&mut pair.client, &mut pair.pair.worker.io.client);
            pair.pair.turn(|worker| worker.event(worker.io.client.token, READABLE));
        }
        // The first carries the handshake with the origin and what TLS says behind both.
        for _ in 0..3 {
            pair.exchange(|work| {
                work();
                0
            });
        }
        pair
    }

    /// One request and its answer; how much the worker allocated.
    ///
    /// # Panics
    /// When a peer hears something else than it should.
    pub fn exchange(&mut self, meter: Meter) -> u64 {
        let Self { pair, client, origin } = self;
        let turn = |pair: &mut Pair, happens: fn(&mut Worker<World>)| meter(&mut || pair.turn(happens));
        let dialled = pair.worker.io.dialled;
        client.writer().write_all(&pair.script.request).expect("room");
        relay(client, &mut pair.worker.io.client);
        let mut cost = turn(pair, |worker| worker.event(worker.io.client.token, READABLE));
        if pair.worker.io.dialled != dialled {
            cost += turn(pair, |worker| worker.event(worker.io.origin.token, WRITABLE));
        }
        let mut forwarded = relay(origin, &mut pair.worker.io.origin);
        while forwarded.is_empty() {
            cost += turn(pair, |worker| worker.event(worker.io.origin.token, READABLE));
            forwarded = relay(origin, &mut pair.worker.io.origin);
        }
        assert_eq!(forwarded, pair.script.forwarded, "what the origin got");
        if pair.worker.io.origin.taken < pair.worker.io.origin.sent.len() {
            cost += turn(pair, |worker| worker.event(worker.io.origin.token, READABLE));
        }
        origin.writer().write_all(&pair.script.answer).expect("room");
        relay(origin, &mut pair.worker.io.origin);
        cost += turn(pair, |worker| worker.event(worker.io.origin.token, READABLE));
        assert_eq!(relay(client, &mut pair.worker.io.client), pair.script.answer, "what the client got");
        cost
    }
}
