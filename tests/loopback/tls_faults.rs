//! Wires and peers that fail: clients that stall in the handshake, origins with bad manners behind TLS, and a wire that
//! changes or loses bytes.

use crate::pki::Issued;
use crate::process::{Proxy, Rude, until};
use crate::raw::{Client, Lack};
use crate::tls::{ASK, World, s_client};
use crate::tls_records::{ALERT, hello, record, serves_on};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

fn rude(issued: &Issued) -> Rude {
    Rude::with(&[&issued.certificate, &issued.key])
}

fn url(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

#[test]
fn clients_that_stall_in_the_handshake_are_given_up() {
    let world = World::new();
    let proxy = world.listener(&["proxy.client.handshake-timeout=1s", "server.ssl.client-auth=need"]);
    let hello = hello(&world);
    // Nothing; half a hello; a whole one, and nothing after the server's answer.
    for part in [0, hello.len() / 2, hello.len()] {
        let mut client = Client::connect(proxy.address);
        client.send(&hello[..part]);
        let mut answer = Vec::new();
        client.stream.read_to_end(&mut answer).expect("an end, not a reset");
        assert_eq!(answer.is_empty(), part < hello.len(), "{part}");
    }
    proxy.counts("timeouts_client_handshake", 3);
    serves_on_for_need(&proxy);
}

/// The next client is served as far as one without a certificate is.
fn serves_on_for_need(proxy: &Proxy) {
    assert_eq!(s_client(proxy.address, &[], ASK).alert(), Some(116));
    proxy.counts("panics", 0);
    proxy.counts("clients_now", 0);
}

#[test]
fn clients_that_leave_in_the_handshake_are_counted() {
    let world = World::new();
    let proxy = world.listener(&[]);
    let hello = hello(&world);
    // Who says nothing at all is a health check.
    drop(Client::connect(proxy.address));
    let alert = |number| record(ALERT, &[2, number]);
    // user_canceled with the hello, unknown_ca after the answer, no word, half a hello.
    let cases = [[&hello[..], &alert(90)].concat(), hello.clone(), hello.clone(), hello[..50].to_vec()];
    for (number, bytes) in cases.iter().enumerate() {
        let mut client = Client::connect(proxy.address);
        client.send(bytes);
        if number == 1 {
            client.stream.read_exact(&mut [0; 5]).expect("the listener answers");
            client.send(alert(48));
        }
    }
    proxy.counts("client_tls_failed", 4);
    serves_on(&proxy);
}

/// Asks for `path`; the client's connection survives our answer.
#[track_caller]
fn refused(proxy: &Proxy, rude: &Rude, path: &str, status: u16, code: &str) {
    let mut client = Client::connect(proxy.address);
    let answer = client.get_from(&url(rude.secure), path);
    assert_eq!(answer.refusal(), (status, Some(code)), "{path}");
    assert_eq!(client.get_from(&url(rude.secure), "/hello").text(), "hello", "after {path}");
}

#[test]
fn bad_manners_behind_tls_are_what_they_are_without() {
    let world = World::new();
    let rude = rude(&world.server_of_root());
    for version in ["TLSv1.2", "TLSv1.3"] {
        let proxy = world.towards_targets(&[
            "proxy.ssl.client.socketTimeout=1",
            &format!("proxy.ssl.client.tls-version={version}"),
        ]);
        refused(&proxy, &rude, "/reset-before", 502, "upstream_reset");
        refused(&proxy, &rude, "/close-before", 502, "no_response");
        refused(&proxy, &rude, "/silent", 504, "read_timeout");
        for path in ["/huge-head", "/two-lengths", "/length-and-chunks", "/other-protocol"] {
            refused(&proxy, &rude, path, 502, "bad_response");
        }
        let mut client = Client::connect(proxy.address);
        for _ in 0..50 {
            assert_eq!(client.get_from(&url(rude.secure), "/idle-close").text(), "hello");
        }
        assert_eq!(client.get_from(&url(rude.secure), "/dribble").text(), "hello");
        assert_eq!(client.get_from(&url(rude.secure), "/garbage-after").text(), "hello");
        assert_eq!(client.get_from(&url(rude.secure), "/hello").text(), "hello");
        for (path, body) in [("/close-mid", &[b'x'; 1000][..]), ("/close-in-chunk", b"5\r\nhello\r\n5\r\nhe")]
        {
            let mut client = Client::connect(proxy.address);
            let url = url(rude.secure);
            client.send(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\nx-target-host: {url}\r\n\r\n"));
            match client.try_answer() {
                Err(Lack::Truncated(bytes)) => assert!(bytes.ends_with(body), "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
        proxy.counts("panics", 0);
    }
}

/// What the wire does to the next bytes of the origin.
const PASS: u8 = 0;
const CHANGE: u8 = 1;
const CUT: u8 = 2;

/// A wire to `origin` and what it does next.
fn wire(origin: SocketAddr) -> (SocketAddr, Arc<AtomicU8>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let next = Arc::new(AtomicU8::new(PASS));
    let theirs = Arc::clone(&next);
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect(origin).expect("the origin listens");
            let copies = [&near, &far].map(|stream| stream.try_clone().expect("a descriptor is free"));
            let [near_in, far_out] = copies;
            thread::spawn(move || carry(near_in, &far_out, &AtomicU8::new(PASS)));
            let next = Arc::clone(&theirs);
            thread::spawn(move || carry(far, &near, &next));
        }
    });
    (address, next)
}

/// Carries bytes from one end to the other until one of them is gone.
fn carry(mut from: TcpStream, mut to: &TcpStream, next: &AtomicU8) {
    let mut part = vec![0; 16 * 1024];
    while let Some(n) = from.read(&mut part).ok().filter(|n| *n > 0) {
        let (n, last) = match next.swap(PASS, Ordering::SeqCst) {
            CHANGE => {
                part[n - 1] ^= 1;
                (n, false)
            }
            CUT => (n / 2, true),
            _ => (n, false),
        };
        if to.write_all(&part[..n]).is_err() || last {
            break;
        }
    }
    // The other end may be gone.
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

#[test]
fn a_wire_that_changes_or_loses_bytes() {
    let world = World::new();
    let rude = rude(&world.server_of_root());
    let (address, next) = wire(rude.secure);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let proxy =
            world.towards_targets(&["server.workers=1", &format!("proxy.ssl.client.tls-version={version}")]);
        let mut client = Client::connect(proxy.address);
        let mut ask = |fault: u8, path: &str| {
            next.store(fault, Ordering::SeqCst);
            client.get_from(&url(address), path)
        };
        // In the handshake, then in an answer.
        assert_eq!(ask(CUT, "/hello").refusal(), (502, Some("tls_failed")), "{version}");
        assert_eq!(ask(PASS, "/hello").text(), "hello", "{version}");
        assert_eq!(ask(CHANGE, "/hello").refusal(), (502, Some("tls_failed")), "{version}");
        assert_eq!(ask(PASS, "/hello").text(), "hello", "{version}");
        // A connection that was used before and ends before any byte of the answer is replaced.
        assert_eq!(ask(CUT, "/hello").text(), "hello", "{version}");
        proxy.counts("retries", 1);
        proxy.counts("panics", 0);
        until("the log names the cause", || {
            proxy.log().contains("tls_failed: the TLS connection to the target failed").then_some(())
        });
    }
}
