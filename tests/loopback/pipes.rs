//! Long bodies that go through pipes of the kernel: whole, in order, and whatever happens to either side with bytes in
//! the pipe.

use crate::life::{end, server};
use crate::process::{PATIENCE, Proxy, until};
use apim_proxy::stats::Counter;
use rustix::process::Signal;
use socket2::SockRef;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const LONG: usize = 50 << 20;

/// The bytes of every body here from position `from` on: no two stretches are alike.
fn fill(into: &mut [u8], from: usize) {
    for (byte, at) in into.iter_mut().zip(from..) {
        *byte = (at.wrapping_mul(0x9e37_79b9) >> 16) as u8;
    }
}

/// Writes `len` bytes of body; how many of them before the peer was gone.
fn write_body(mut stream: &TcpStream, len: usize) -> usize {
    let mut part = vec![0; 256 * 1024];
    for from in (0..len).step_by(part.len()) {
        let part = part.get_mut(..(len - from).min(256 * 1024)).expect("it is long enough");
        fill(part, from);
        if stream.write_all(part).is_err() {
            return from;
        }
    }
    len
}

/// Reads the body to its end, or to the end of the stream; how much came, every byte of it in its place, and whether
/// the stream failed.
fn read_body(mut stream: &TcpStream, len: usize, piece: usize) -> (usize, bool) {
    let (mut part, mut wanted, mut at) = (vec![0; piece], vec![0; piece], 0);
    while at < len {
        let most = piece.min(len - at);
        match stream.read(&mut part[..most]) {
            Ok(0) => return (at, false),
            Ok(n) => {
                fill(&mut wanted[..n], at);
                assert!(part[..n] == wanted[..n], "a wrong byte behind {at}");
                at += n;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "behind {at}");
                return (at, true);
            }
        }
    }
    (at, false)
}

fn read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a head comes"), 1, "{}", head.escape_ascii());
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("heads are ASCII here")
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

fn connect(address: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(address).expect("it listens"))
}

/// A listener, and the connection that comes next.
struct Door(TcpListener);

impl Door {
    fn open() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    fn accept(&self) -> TcpStream {
        patient(self.0.accept().expect("the proxy connects").0)
    }
}

fn send_head(mut stream: &TcpStream, head: &str) {
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).expect("the proxy reads");
}

fn ask(stream: &TcpStream, method: &str, door: &Door, framing: &str) {
    let target = door.address();
    send_head(stream, &format!("{method} / HTTP/1.1\r\nHost: p\r\nx-target-host: http://{target}{framing}"));
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(stream);
}

/// Writes until nothing on the way takes more: the sockets' buffers are full, and so is the pipe between them.
fn write_until_stuck(mut stream: &TcpStream) -> usize {
    let (mut part, mut at) = (vec![0; 64 * 1024], 0);
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket option");
    loop {
        fill(&mut part, at);
        match stream.write(&part) {
            Ok(n) => at += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "behind {at}");
                return at;
            }
        }
    }
}

#[test]
fn fifty_megabytes_go_each_way_through_pipes() {
    let (server, door) = (server(&[("server.workers", "1")]), Door::open());
    let client = connect(server.addresses()[0]);
    thread::scope(|scope| {
        scope.spawn(|| {
            let origin = door.accept();
            assert!(read_head(&origin).contains(&format!("Content-Length: {LONG}\r\n")));
            assert_eq!(read_body(&origin, LONG, 64 * 1024), (LONG, false));
            send_head(&origin, &format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}"));
            assert_eq!(write_body(&origin, LONG), LONG);
            // The connection is kept: nothing of the body was left in between.
            read_head(&origin);
            send_head(&origin, "HTTP/1.1 200 OK\r\nContent-Length: 0");
        });
        ask(&client, "POST", &door, &format!("\r\nContent-Length: {LONG}"));
        assert_eq!(write_body(&client, LONG), LONG);
        read_head(&client);
        assert_eq!(read_body(&client, LONG, 64 * 1024), (LONG, false));
        ask(&client, "GET", &door, "");
        assert!(read_head(&client).starts_with("HTTP/1.1 200 OK\r\n"));
    });
    let spliced = server.count(Counter::BytesSpliced);
    assert!(spliced > LONG as u64, "{spliced} of {} bytes went through pipes", 2 * LONG);
    drop(client);
    end(&server);
}

#[test]
fn a_slow_reader_gets_every_byte_up_to_the_end_of_the_connection() {
    let (server, door) = (server(&[]), Door::open());
    let client = connect(server.addresses()[0]);
    ask(&client, "GET", &door, "\r\nConnection: close");
    let origin = door.accept();
    read_head(&origin);
    send_head(&origin, "HTTP/1.1 200 OK\r\nConnection: close");
    let stuck = write_until_stuck(&origin);
    // The end of the stream waits behind what is stuck.
    origin.shutdown(Shutdown::Write).expect("it is connected");
    read_head(&client);
    assert_eq!(read_body(&client, usize::MAX, 700), (stuck, false));
    let spliced = server.count(Counter::BytesSpliced);
    assert!(spliced > stuck as u64 / 2, "{spliced} of {stuck} bytes went through pipes");
    end(&server);
}

#[test]
fn resets_with_bytes_in_the_pipe_lose_nobody_elses() {
    let (proxy, door) = (Proxy::start(&["server.workers=1"]), Door::open());
    let long = format!("\r\nContent-Length: {LONG}");

    // The origin breaks off its answer.
    let client = connect(proxy.address);
    ask(&client, "GET", &door, "");
    let origin = door.accept();
    read_head(&origin);
    send_head(&origin, &format!("HTTP/1.1 200 OK{long}"));
    let stuck = write_until_stuck(&origin);
    reset(origin);
    read_head(&client);
    let (got, _) = read_body(&client, LONG, 64 * 1024);
    assert!(got <= stuck, "{got} bytes came of {stuck}");
    proxy.counts("exchanges_aborted", 1);

    // The client leaves in the middle of its answer.
    let client = connect(proxy.address);
    ask(&client, "GET", &door, "");
    let origin = door.accept();
    read_head(&origin);
    send_head(&origin, &format!("HTTP/1.1 200 OK{long}"));
    write_until_stuck(&origin);
    reset(client);
    proxy.counts("clients_gone", 1);
    origin.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    assert!(write_body(&origin, LONG) < LONG, "the proxy has closed the connection");

    // The origin leaves in the middle of the request.
    let client = connect(proxy.address);
    ask(&client, "POST", &door, &long);
    let origin = door.accept();
    read_head(&origin);
    write_until_stuck(&client);
    reset(origin);
    assert!(read_head(&client).contains("\r\nX-Proxy-Error: upstream_reset\r\n"));
    drop(client);

    // The client leaves in the middle of its request.
    let client = connect(proxy.address);
    ask(&client, "POST", &door, &long);
    let origin = door.accept();
    read_head(&origin);
    let stuck = write_until_stuck(&client);
    reset(client);
    let (got, _) = read_body(&origin, LONG, 64 * 1024);
    assert!(got <= stuck, "{got} bytes came of {stuck}");
    proxy.counts("clients_now", 0);
    proxy.counts("upstreams_now", 0);

    // Nothing of all that is found in the pipes.
    let client = connect(proxy.address);
    thread::scope(|scope| {
        scope.spawn(|| {
            let origin = door.accept();
            read_head(&origin);
            send_head(&origin, &format!("HTTP/1.1 200 OK{long}"));
            assert_eq!(write_body(&origin, LONG), LONG);
        });
        ask(&client, "GET", &door, "");
        read_head(&client);
        assert_eq!(read_body(&client, LONG, 64 * 1024), (LONG, false));
    });
}

/// A long answer, and how much of it goes through pipes; before its body `prepare` does what it likes.
fn spliced(proxy: &Proxy, prepare: impl FnOnce()) -> u64 {
    let door = Door::open();
    let client = connect(proxy.address);
    ask(&client, "GET", &door, "");
    let origin = door.accept();
    read_head(&origin);
    send_head(&origin, &format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}"));
    read_head(&client);
    prepare();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(write_body(&origin, LONG), LONG));
        assert_eq!(read_body(&client, LONG, 64 * 1024), (LONG, false));
    });
    proxy.count("bytes_spliced")
}

#[test]
fn without_pipes_bytes_are_copied() {
    let proxy = Proxy::start(&["server.workers=1", "proxy.splice.min=0"]);
    assert_eq!(spliced(&proxy, || ()), 0);
    // The log tells of bodies, so they are read.
    let proxy = Proxy::start(&["server.workers=1", "logging.level.org.apache.http.wire=DEBUG"]);
    assert_eq!(spliced(&proxy, || ()), 0);
    let proxy = Proxy::start(&["server.workers=1"]);
    let take = || {
        proxy.process.take_descriptors();
    };
    assert_eq!(spliced(&proxy, take), 0);
}

/// Writing into a connection whose peer is gone must not end the process: a pipe has no flag against it.
#[test]
fn a_broken_pipe_is_an_error_and_no_signal() {
    let proxy = Proxy::start(&[]);
    let status = format!("/proc/{}/status", proxy.process.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("the process is there");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("signals are listed");
    let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a set of signals");
    assert_ne!(ignored & 1 << (Signal::PIPE.as_raw() - 1), 0, "{ignored:x}");
}

/// A tunnel, opened: what the client holds, and what its target does.
fn tunnel(proxy: &Proxy, door: &Door) -> (TcpStream, TcpStream) {
    let client = connect(proxy.address);
    send_head(&client, &format!("CONNECT {} HTTP/1.1\r\nHost: t", door.address()));
    let target = door.accept();
    assert!(read_head(&client).starts_with("HTTP/1.1 200 "));
    (client, target)
}

/// A proxy that opens tunnels to `door`.
fn tunnelling(door: &Door) -> Proxy {
    let ports = format!("proxy.connect.ports={}", door.address().port());
    Proxy::start(&["server.workers=1", "proxy.forward.forms=connect", "proxy.ip.allow=127.0.0.1", &ports])
}

#[test]
fn a_tunnel_carries_both_ways_at_once_and_each_end_goes_on_behind_the_last_byte() {
    let door = Door::open();
    let proxy = tunnelling(&door);
    let (client, target) = tunnel(&proxy, &door);
    thread::scope(|scope| {
        for (from, to) in [(&client, &target), (&target, &client)] {
            scope.spawn(move || {
                assert_eq!(write_body(from, LONG), LONG);
                from.shutdown(Shutdown::Write).expect("it is connected");
            });
            scope.spawn(move || assert_eq!(read_body(to, usize::MAX, 64 * 1024), (LONG, false)));
        }
    });
    proxy.counts("clients_now", 0);
    let spliced = proxy.count("bytes_spliced");
    assert!(spliced > LONG as u64, "{spliced} of {} bytes went through pipes", 2 * LONG);
}

#[test]
fn a_half_closed_tunnel_keeps_what_is_stuck_in_it() {
    let door = Door::open();
    let proxy = tunnelling(&door);
    let (client, target) = tunnel(&proxy, &door);
    let stuck = write_until_stuck(&target);
    target.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(read_body(&client, usize::MAX, 3000), (stuck, false));
    // The other way lives on.
    let after = write_until_stuck(&client);
    client.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(read_body(&target, usize::MAX, 64 * 1024), (after, false));
    proxy.counts("upstreams_now", 0);
}

#[test]
fn a_reset_goes_through_a_tunnel_with_bytes_in_its_pipe() {
    let door = Door::open();
    let proxy = tunnelling(&door);
    let (client, target) = tunnel(&proxy, &door);
    let stuck = write_until_stuck(&client);
    reset(client);
    let (got, was_reset) = read_body(&target, usize::MAX, 64 * 1024);
    assert!(got <= stuck && was_reset, "{got} bytes of {stuck}, reset: {was_reset}");
    let (client, target) = tunnel(&proxy, &door);
    let stuck = write_until_stuck(&target);
    reset(target);
    let (got, was_reset) = read_body(&client, usize::MAX, 64 * 1024);
    assert!(got <= stuck && was_reset, "{got} bytes of {stuck}, reset: {was_reset}");
    // The next one finds nothing of it.
    let (client, target) = tunnel(&proxy, &door);
    let (stuck, other) = (write_until_stuck(&client), write_until_stuck(&target));
    client.shutdown(Shutdown::Write).expect("it is connected");
    target.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(read_body(&target, usize::MAX, 64 * 1024), (stuck, false));
    assert_eq!(read_body(&client, usize::MAX, 64 * 1024), (other, false));
    until("nobody is left", || (proxy.count("clients_now") == 0).then_some(()));
}
