//! Origins with bad manners: what the client gets is exact, and the proxy serves on.

use crate::process::{Proxy, Rude, until};
use crate::raw::{Answer, Client, Lack};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// A proxy with short waits for targets, and the rude origin.
fn pair() -> (Proxy, Rude) {
    (Proxy::start(&["proxy.ssl.client.socketTimeout=1", "proxy.ssl.client.connectTimeout=1"]), Rude::start())
}

/// After whatever happened, a new client is served.
#[track_caller]
fn serves_on(proxy: &Proxy, rude: &Rude) {
    assert_eq!(Client::connect(proxy.address).get(rude.address, "/hello").text(), "hello");
}

/// Asks for `path` and expects our own answer; the client's connection survives it.
#[track_caller]
fn refused(proxy: &Proxy, rude: &Rude, path: &str, status: u16, code: &str) {
    let mut client = Client::connect(proxy.address);
    let answer = client.get(rude.address, path);
    assert_eq!(answer.refusal(), (status, Some(code)), "{path}");
    assert_eq!(client.get(rude.address, "/hello").text(), "hello", "after {path}");
}

#[test]
fn answers_that_do_not_come() {
    let (proxy, rude) = pair();
    refused(&proxy, &rude, "/reset-before", 502, "upstream_reset");
    refused(&proxy, &rude, "/close-before", 502, "no_response");
    refused(&proxy, &rude, "/silent", 504, "read_timeout");
    rude.go_on();
}

#[test]
fn answers_that_make_no_sense() {
    let (proxy, rude) = pair();
    for path in [
        "/huge-head",
        "/many-headers",
        "/two-lengths",
        "/length-and-chunks",
        "/negative-length",
        "/other-protocol",
    ] {
        refused(&proxy, &rude, path, 502, "bad_response");
    }
}

#[test]
fn connections_that_do_not_open() {
    let (proxy, rude) = pair();
    // Bound, so that nobody else gets the port, but not listening.
    let gone = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    gone.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let gone = (gone.local_addr().unwrap().as_socket().unwrap(), gone);
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.get(gone.0, "/").refusal(), (502, Some("connect_refused")));

    // A listener whose queue is full drops whoever knocks.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let queued: Vec<Socket> = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            // In progress, or for ever.
            let _ = socket.connect(&address);
            socket
        })
        .collect();
    until("the queue is full", || queued.iter().any(|socket| socket.peer_addr().is_ok()).then_some(()));
    assert_eq!(client.get(address.as_socket().unwrap(), "/").refusal(), (504, Some("connect_timeout")));
    assert_eq!(client.get(rude.address, "/hello").text(), "hello");
}

/// What comes of an answer that breaks off: its beginning, then the end of the connection.
#[track_caller]
fn breaks_off(proxy: &Proxy, rude: &Rude, path: &str, body: &[u8]) {
    let mut client = Client::connect(proxy.address);
    client.request("GET", rude.address, path, "");
    client.until_received(body);
    rude.go_on();
    match client.try_answer() {
        Err(Lack::Truncated(bytes)) => {
            assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{path}");
            assert!(bytes.ends_with(body), "{path}: {:?}", String::from_utf8_lossy(&bytes));
        }
        other => panic!("{path}: {other:?}"),
    }
    serves_on(proxy, rude);
}

#[test]
fn answers_that_break_off() {
    let proxy = Proxy::start(&["proxy.ssl.client.socketTimeout=1"]);
    breaks_off(&proxy, &Rude::start(), "/reset-mid", &[b'x'; 1000]);
    breaks_off(&proxy, &Rude::start(), "/close-mid", &[b'x'; 1000]);
    breaks_off(&proxy, &Rude::start(), "/close-in-chunk", b"5\r\nhello\r\n5\r\nhe");
    // Here nobody lets the origin go on before the time is over.
    let rude = Rude::start();
    let mut client = Client::connect(proxy.address);
    client.request("GET", rude.address, "/silent-mid", "");
    assert!(matches!(client.try_answer(), Err(Lack::Truncated(bytes)) if bytes.ends_with(b"\r\n\r\nhello")));
    proxy.counts("exchanges_aborted", 4);
}

#[test]
fn an_idle_connection_that_closes_at_once_is_not_used_again() {
    let (proxy, rude) = pair();
    let mut client = Client::connect(proxy.address);
    for _ in 0..200 {
        assert_eq!(client.get(rude.address, "/idle-close").text(), "hello");
    }
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    let (proxy, rude) = pair();
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.get(rude.address, "/until-close").text(), "hello");
    serves_on(&proxy, &rude);
}

#[test]
fn what_an_origin_adds_to_its_answer_reaches_nobody() {
    let (proxy, rude) = pair();
    let mut client = Client::connect(proxy.address);
    let connection = |answer: &Answer| answer.header("x-connection").expect("the origin counts").to_owned();
    let first = client.get(rude.address, "/garbage-after");
    let second = client.get(rude.address, "/garbage-later");
    assert_eq!((first.text(), second.text()), ("hello", "hello"));
    assert_ne!(connection(&first), connection(&second), "a connection with more bytes is not used again");
    rude.go_on();
    proxy.counts("upstreams_idle_lost", 1);
    let third = client.get(rude.address, "/hello");
    assert_eq!(third.text(), "hello");
    assert_ne!(connection(&second), connection(&third));
    // A polite connection is used again.
    assert_eq!(connection(&third), connection(&client.get(rude.address, "/hello")));
}

#[test]
fn interim_answers_pass_but_not_without_end() {
    let (proxy, rude) = pair();
    let mut client = Client::connect(proxy.address);
    client.request("GET", rude.address, "/interims", "");
    for _ in 0..3 {
        assert_eq!(client.answer().head, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    }
    assert_eq!(client.answer().text(), "hello");

    client.request("GET", rude.address, "/interim-flood", "");
    let mut interims = 0;
    let last = loop {
        let answer = client.answer();
        if answer.status >= 200 {
            break answer;
        }
        interims += 1;
    };
    assert_eq!((interims, last.refusal()), (32, (502, Some("bad_response"))));
    serves_on(&proxy, &rude);
}

#[test]
fn an_answer_in_small_pieces_is_whole() {
    let (proxy, rude) = pair();
    assert_eq!(Client::connect(proxy.address).get(rude.address, "/dribble").text(), "hello");
}

#[test]
fn an_early_answer_arrives_while_the_body_is_still_coming() {
    let (proxy, rude) = pair();
    // The origin reads on: so does the proxy, to the end of the body.
    let mut client = Client::connect(proxy.address);
    client.request("POST", rude.address, "/early", "Content-Length: 1000000\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.text(), answer.header("connection")), ("early", Some("close")));
    client.send(vec![b'x'; 1_000_000]);
    assert!(client.is_closed());
    let mut other = Client::connect(proxy.address);
    until("the origin has the whole body", || {
        (other.get(rude.address, "/total").text() == "1000000").then_some(())
    });
    // The origin leaves: the answer is whole all the same, then the connection closes.
    let mut client = Client::connect(proxy.address);
    client.request("POST", rude.address, "/early-close", "Content-Length: 1000000\r\n\r\nx");
    assert_eq!(client.answer().text(), "early");
    assert!(client.is_closed());
    serves_on(&proxy, &rude);
}

#[test]
fn an_origin_that_does_not_read_is_given_up() {
    let (proxy, rude) = pair();
    let mut client = Client::connect(proxy.address);
    client.request("POST", rude.address, "/deaf", "Content-Length: 100000000\r\n\r\n");
    // More than the kernel holds for both connections; the rest is refused when the answer comes.
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let part = vec![0; 1 << 20];
        (0..95).all(|_| std::io::Write::write_all(&mut sender, &part).is_ok())
    });
    assert_eq!(client.answer().refusal(), (504, Some("send_timeout")));
    drop(client);
    sending.join().expect("the sender ends, whether or not its bytes were dropped");
    rude.go_on();
    serves_on(&proxy, &rude);
}
