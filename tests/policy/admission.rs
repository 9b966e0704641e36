//! Who may enter: trusted proxies and `X-Forwarded-For`, the PROXY protocol, connections of one client.

use super::stage::{Stage, code};
use apim_proxy::stats::Counter;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request with this line; what the client is told at once.
fn relayed(stage: &mut Stage, client: usize, line: &str) -> String {
    stage.say(client, &format!("GET /p HTTP/1.1\r\nHost: p\r\n{line}\r\nx-target-host: 1.1.1.1\r\n\r\n"));
    stage.heard(client)
}

/// The target that was dialled last answers.
fn answer(stage: &mut Stage) {
    let target = stage.worker.io.wires.len() - 1;
    assert!(stage.heard(target).starts_with("GET /p "));
    stage.say(target, OK);
}

#[test]
fn a_trusted_proxy_tells_for_whom_each_request_is() {
    let mut stage = Stage::new(&["proxy.ip.allow=2.2.2.0/24", "proxy.ip.trusted-proxies=10.0.0.0/8"]);
    let proxy = stage.connect("10.0.0.1");
    for line in ["X-Forwarded-For: 2.2.2.1", "X-Forwarded-For: 2.2.2.2, 10.0.0.7", "X-Forwarded-For: 2.2.2.1"]
    {
        assert_eq!(relayed(&mut stage, proxy, line), "", "{line}");
        let target = stage.worker.io.wires.iter().position(|wire| wire.address.is_some()).expect("a target");
        assert!(stage.heard(target).contains(line), "the header passes");
        stage.say(target, OK);
        assert_eq!(stage.heard(proxy), OK);
    }
    // On the same connection, a request for somebody else.
    assert_eq!(code(&relayed(&mut stage, proxy, "X-Forwarded-For: 2.2.2.1, 3.3.3.3")), "client_denied");
    for line in [
        "X-Forwarded-For: 3.3.3.3",
        "X-Forwarded-For: 2.2.2.1, junk",
        "X-Forwarded-For: 2.2.2.1, unknown",
        "X-None: 1",
        "Forwarded: for=2.2.2.1",
    ] {
        let proxy = stage.connect("10.0.0.1");
        assert_eq!(code(&relayed(&mut stage, proxy, line)), "client_denied", "{line}");
    }
    assert_eq!(stage.count(Counter::Denied), 6);
    // Who is not trusted is judged by its own address, whatever it says.
    let liar = stage.connect("3.3.3.3");
    assert_eq!(code(&relayed(&mut stage, liar, "X-Forwarded-For: 2.2.2.1")), "client_denied");
    let client = stage.connect("2.2.2.9");
    assert_eq!(relayed(&mut stage, client, "X-Forwarded-For: 3.3.3.3"), "");
}

#[test]
fn the_group_is_that_of_the_client_behind_the_proxy() {
    let mut stage = Stage::new(&[
        "proxy.ip.trusted-proxies=10.0.0.1",
        "proxy.target.default=deny",
        "proxy.groups[0].addresses=2.2.2.0/24",
        "proxy.groups[0].allow=1.1.1.1",
    ]);
    let proxy = stage.connect("10.0.0.1");
    assert_eq!(relayed(&mut stage, proxy, "X-Forwarded-For: 2.2.2.1"), "");
    answer(&mut stage);
    assert_eq!(stage.heard(proxy), OK);
    assert_eq!(code(&relayed(&mut stage, proxy, "X-Forwarded-For: 2.2.3.1")), "target_denied");
    assert_eq!(code(&relayed(&mut stage, proxy, "X-None: 1")), "target_denied");
}

#[test]
fn the_proxy_protocol_tells_who_the_client_is() {
    let mut stage = Stage::new(&["proxy.protocol=on", "proxy.ip.allow=2.2.2.0/24"]);
    let request = "GET /p HTTP/1.1\r\nHost: p\r\nx-target-host: 1.1.1.1\r\n\r\n";
    let good = stage.connect("10.0.0.1");
    stage.say(good, &format!("PROXY TCP4 2.2.2.1 10.0.0.2 1 2\r\n{request}"));
    answer(&mut stage);
    assert_eq!(stage.heard(good), OK);
    let slow = stage.connect("10.0.0.1");
    for byte in "PROXY TCP4 2.2.2.1 10.0.0.2 1 2\r\n".chars() {
        stage.say(slow, &byte.to_string());
    }
    stage.say(slow, request);
    let target = stage.worker.io.wires.iter().rposition(|wire| wire.address.is_some()).expect("a target");
    stage.say(target, OK);
    assert_eq!(stage.heard(slow), OK);
    // Nobody is told of: the socket's address counts.
    for header in ["PROXY TCP4 3.3.3.3 10.0.0.2 1 2\r\n", "PROXY UNKNOWN\r\n"] {
        let other = stage.connect("10.0.0.1");
        stage.say(other, &format!("{header}{request}"));
        assert_eq!(code(&stage.heard(other)), "client_denied", "{header}");
    }
    let own = stage.connect("2.2.2.7");
    stage.say(own, &format!("PROXY UNKNOWN\r\n{request}"));
    assert_eq!(stage.heard(own), "");
    assert_eq!(stage.count(Counter::PrefacesRefused), 0);
}

#[test]
fn a_connection_without_the_header_is_closed_without_a_word() {
    let mut stage = Stage::new(&["proxy.protocol=on"]);
    for (junk, refused) in [("GET /p HTTP/1.1\r\nHost: p\r\n\r\n", 1), ("PROXY TCP4 2.2.2.1 x 1 2\r\n", 2)] {
        let client = stage.connect("10.0.0.1");
        stage.say(client, junk);
        assert!(stage.is_dropped(client), "{junk}");
        assert_eq!(stage.heard(client), "");
        assert_eq!(stage.count(Counter::PrefacesRefused), refused);
    }
    // A health check of the load balancer is no fault.
    let check = stage.connect("10.0.0.1");
    stage.close(check);
    assert!(stage.is_dropped(check));
    assert_eq!(stage.count(Counter::PrefacesRefused), 2);
    // Who says nothing has its time.
    let silent = stage.connect("10.0.0.1");
    stage.say(silent, "PROXY TCP4 ");
    stage.wait(4);
    assert!(!stage.is_dropped(silent));
    stage.wait(2);
    assert!(stage.is_dropped(silent) && stage.heard(silent).is_empty());
    assert_eq!(stage.count(Counter::PrefaceTimeouts), 1);
    assert!(stage.worker.is_empty());
}

#[test]
fn only_trusted_proxies_speak_the_proxy_protocol_where_there_are_some() {
    let mut stage = Stage::new(&["proxy.protocol=on", "proxy.ip.trusted-proxies=10.0.0.0/8"]);
    let stranger = stage.connect("3.3.3.3");
    assert!(stage.is_dropped(stranger));
    assert_eq!(stage.count(Counter::PrefacesRefused), 1);
    let proxy = stage.connect("10.0.0.1");
    let request = "GET /p HTTP/1.1\r\nHost: p\r\nX-Forwarded-For: 9.9.9.9\r\nx-target-host: 1.1.1.1\r\n\r\n";
    stage.say(proxy, &format!("PROXY TCP4 2.2.2.1 10.0.0.2 1 2\r\n{request}"));
    answer(&mut stage);
    assert_eq!(stage.heard(proxy), OK);
}

#[test]
fn one_client_has_so_many_connections() {
    let mut stage = Stage::new(&["proxy.client.max-connections=2", "proxy.ip.trusted-proxies=10.0.0.1"]);
    let clients =
        ["2.2.2.1", "2.2.2.1", "2.2.2.2", "2001:db8::1", "2001:db8::2"].map(|from| stage.connect(from));
    for from in ["2.2.2.1", "2001:db8::3"] {
        let told = stage.connect(from);
        assert_eq!(code(&stage.heard(told)), "too_many_connections", "{from}");
    }
    assert_eq!(stage.count(Counter::Capped), 2);
    stage.close(clients[0]);
    let next = stage.connect("2.2.2.1");
    assert_eq!(stage.heard(next), "");
    // A trusted proxy is not a client.
    for _ in 0..3 {
        let proxy = stage.connect("10.0.0.1");
        assert_eq!(stage.heard(proxy), "");
    }
    assert_eq!(stage.count(Counter::Capped), 2);
}

#[test]
fn the_client_of_the_proxy_protocol_is_the_one_that_counts() {
    let mut stage = Stage::new(&["proxy.client.max-connections=1", "proxy.protocol=on"]);
    let mut connect = |source: &str| {
        let client = stage.connect("10.0.0.1");
        stage.say(client, &format!("PROXY TCP4 {source} 10.0.0.2 1 2\r\n"));
        stage.heard(client)
    };
    assert_eq!((connect("2.2.2.1"), connect("2.2.2.2")), (String::new(), String::new()));
    assert_eq!(code(&connect("2.2.2.1")), "too_many_connections");
}

#[test]
fn subjects_are_asked_for_where_nobody_shows_a_certificate() {
    let mut stage = Stage::new(&["proxy.client.allow-subjects=CN=*"]);
    let client = stage.connect("10.0.0.1");
    assert_eq!(code(&stage.ask(client, "1.1.1.1")), "client_denied");
}
