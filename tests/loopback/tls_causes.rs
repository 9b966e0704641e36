//! One clear code for each cause for which TLS with a target fails, each shown by a real peer, and what makes it pass.

use crate::origin::Origin;
use crate::pki::{Issued, KeyKind, Order};
use crate::process::Rude;
use crate::raw::Client;
use crate::tls::{VERSIONS, World, here};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::thread;

const WEAK: [&str; 2] = ["-cipher", "ALL:@SECLEVEL=0"];

/// A target that does this with each connection.
fn target(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    format!("https://{address}")
}

/// The URL of an origin's TLS port, by name.
fn url(origin: &Rude) -> String {
    format!("https://localhost:{}", origin.secure.port())
}

fn rude(issued: &Issued) -> Rude {
    Rude::with(&[&issued.certificate, &issued.key])
}

#[test]
fn certificates_that_are_refused() {
    let world = World::new();
    let proxy = world.towards_targets(&[]);
    let mut client = Client::connect(proxy.address);
    let stranger = world.pki.root("Stranger");
    let cases = [
        ("tls_untrusted", world.pki.issue(&stranger, &here())),
        ("tls_untrusted", world.pki.self_signed(&here())),
        ("tls_hostname", world.pki.issue(&world.root, &Order::server("other.test"))),
        ("tls_expired", world.pki.issue(&world.root, &here().expired())),
        ("tls_certificate", world.pki.issue(&world.root, &here().with("extendedKeyUsage=clientAuth"))),
        ("tls_certificate", world.pki.issue(&world.root, &here().version1())),
        ("tls_weak_key", world.pki.issue(&world.root, &here().key(KeyKind::Rsa(1024)))),
    ];
    for (code, issued) in &cases {
        for (version, name) in VERSIONS {
            let (_server, url) = world.s_server(&[issued], &[&[version], &WEAK[..]].concat());
            let answer = client.get_from(&url, "/");
            assert_eq!(answer.refusal(), (502, Some(*code)), "{name}");
        }
    }
    proxy.counts("tls_failed", 2 * cases.len() as u64);
    // An intermediate that is not sent is not found elsewhere; sent, it makes the same certificate good.
    let (_without, url) = world.s_server(&[&world.server], &[]);
    assert_eq!(client.get_from(&url, "/").refusal(), (502, Some("tls_untrusted")));
    let (_with, url) = world.s_server(&[&world.server, &world.middle], &[]);
    assert_eq!(client.get_from(&url, "/").refusal(), (200, None));
}

#[test]
fn names_that_are_not_looked_at() {
    let world = World::new();
    let origin = rude(&world.pki.issue(&world.root, &Order::server("other.test")));
    let proxy = world.towards_targets(&["proxy.ssl.client.verifyHostname=false"]);
    assert_eq!(Client::connect(proxy.address).get_from(&url(&origin), "/hello").text(), "hello");
    assert!(proxy.log().contains("proxy.ssl.client.verifyHostname"), "{}", proxy.log());
    // Whom nobody trusts stays refused.
    let stranger = rude(&world.pki.self_signed(&here()));
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.get_from(&url(&stranger), "/hello").refusal(), (502, Some("tls_untrusted")));
    let blind = world.towards_targets(&["proxy.ssl.client.validateCertificate=false"]);
    assert_eq!(Client::connect(blind.address).get_from(&url(&stranger), "/hello").text(), "hello");
}

#[test]
fn a_certificate_of_the_trust_store_is_good_for_its_host_whatever_its_dates() {
    let world = World::new();
    let pinned = world.pki.self_signed(&here().expired());
    let origin = rude(&pinned);
    let trust = format!("server.ssl.trust-store={}", pinned.certificate.display());
    let proxy = world.towards_targets(&[&trust]);
    assert_eq!(Client::connect(proxy.address).get_from(&url(&origin), "/hello").text(), "hello");
    // What is logged before the statistics is there when they are.
    proxy.counts("requests", 1);
    assert!(proxy.log().contains("has expired; it is accepted because it is in the trust store"));
}

#[test]
fn what_java_accepts_passes_when_asked_for() {
    let world = World::new();
    let proxy = world.towards_targets(&["proxy.ssl.client.compat=java"]);
    let any_purpose = here().with("extendedKeyUsage=anyExtendedKeyUsage");
    let policies =
        any_purpose.clone().with("certificatePolicies=critical,1.2.3.4").without("extendedKeyUsage");
    let old = Order::bare("/CN=localhost").version1();
    for order in [any_purpose, policies, old] {
        let origin = rude(&world.pki.issue(&world.root, &order));
        let mut client = Client::connect(proxy.address);
        assert_eq!(client.get_from(&url(&origin), "/hello").text(), "hello", "{order:?}");
    }
    proxy.counts("requests", 3);
    assert_eq!(proxy.log().matches("only because of proxy.ssl.client.compat=java").count(), 1);
    // Java is strict about these as well.
    let expired = rude(&world.pki.issue(&world.root, &here().expired()));
    let mut client = Client::connect(proxy.address);
    assert_eq!(client.get_from(&url(&expired), "/hello").refusal(), (502, Some("tls_expired")));
}

#[test]
fn serial_numbers_that_are_enforced_or_reported() {
    let world = World::new();
    let origin = rude(&world.pki.issue(&world.root, &here().serial_number("123-45-67890")));
    let other = rude(&world.server_of_root());
    let ask = |check: &str, wanted: &str, origin: &Rude| {
        let proxy = world.towards_targets(&[
            &format!("proxy.ssl.client.serialNumber={check}"),
            "proxy.targets[0].match=localhost",
            &format!("proxy.targets[0].serial-number={wanted}"),
        ]);
        let answer = Client::connect(proxy.address).get_from(&url(origin), "/hello");
        // What is logged before the statistics is there when they are.
        proxy.counts("requests", 1);
        (answer.status, answer.header("x-proxy-error").map(str::to_owned), proxy.log())
    };
    let refused = (502, Some("tls_serial_number".to_owned()));
    for (check, wanted, origin, expected) in [
        ("enforce", "1234567890", &origin, &(200, None)),
        ("enforce", "1234567891", &origin, &refused),
        ("enforce", "1234567890", &other, &refused),
        ("report", "1234567891", &origin, &(200, None)),
        ("off", "1234567891", &origin, &(200, None)),
    ] {
        let (status, code, log) = ask(check, wanted, origin);
        assert_eq!((status, code), *expected, "{check} {wanted}");
        let told = log.contains("localhost: the SERIALNUMBER ");
        assert_eq!(told, check != "off" && (check == "report" || status == 502), "{check}: {log}");
    }
}

#[test]
fn versions_and_suites_without_anything_in_common() {
    let world = World::new();
    let rsa = world.pki.issue(&world.root, &here().key(KeyKind::Rsa(2048)));
    let [both, old, new] = ["TLSv1.2,TLSv1.3", "TLSv1.2", "TLSv1.3"]
        .map(|versions| world.towards_targets(&[&format!("proxy.ssl.client.tls-version={versions}")]));
    for (proxy, words, expected) in [
        (&both, &["-tls1", "-cipher", "ALL:@SECLEVEL=0"][..], (502, Some("tls_protocol"))),
        (&both, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], (502, Some("tls_protocol"))),
        (&both, &["-tls1_2", "-cipher", "AES128-SHA:ECDHE-RSA-AES128-SHA256"], (502, Some("tls_protocol"))),
        (
            &both,
            &["-tls1_2", "-cipher", "AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256"],
            (502, Some("tls_protocol")),
        ),
        (&both, &["-curves", "secp521r1"], (502, Some("tls_protocol"))),
        (&both, &["-tls1_2", "-curves", "secp521r1"], (502, Some("tls_protocol"))),
        (&old, &["-tls1_3"], (502, Some("tls_protocol"))),
        (&new, &["-tls1_2"], (502, Some("tls_protocol"))),
        (&old, &["-tls1_2"], (200, None)),
        (&new, &["-tls1_3"], (200, None)),
    ] {
        let (_server, url) = world.s_server(&[&rsa], words);
        assert_eq!(Client::connect(proxy.address).get_from(&url, "/").refusal(), expected, "{words:?}");
    }
}

#[test]
fn peers_that_do_not_speak_tls_to_the_end() {
    let world = World::new();
    let proxy = world.towards_targets(&["proxy.ssl.client.handshakeTimeout=1"]);
    let plain = Origin::start();
    let after_hello = |bytes: &'static [u8]| {
        target(move |mut stream| {
            // The peer may be gone again.
            let _ = stream.read(&mut [0; 16_384]);
            let _ = stream.write_all(bytes);
        })
    };
    // Those that say something and then wait.
    let and_waits = |bytes: &'static [u8]| {
        let held = Mutex::new(Vec::new());
        target(move |mut stream| {
            let _ = stream.write_all(bytes);
            held.lock().expect("no thread panics").push(stream);
        })
    };
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let https = |address: SocketAddr| format!("https://{address}");
    let cases = [
        (https(plain.address), 502, "tls_failed"),
        (and_waits(b"SSH-2.0-OpenSSH_9.2\r\n"), 502, "tls_failed"),
        (and_waits(b"220 mail.example ESMTP\r\n"), 502, "tls_failed"),
        (and_waits(b"\x16\x02\x00\x00\x7a\x02"), 502, "tls_failed"),
        (after_hello(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), 502, "tls_failed"),
        (after_hello(b""), 502, "tls_failed"),
        (after_hello(b"\x16\x03\x03\x00\x02\x02\x00"), 502, "tls_failed"),
        // A record of a length that cannot be, a handshake message of 16 MB, application data, nothing in a record.
        (after_hello(b"\x16\x03\x03\xff\xff\x02\x00\x00\x76"), 502, "tls_failed"),
        (after_hello(b"\x16\x03\x03\x00\x04\x02\xff\xff\xff"), 502, "tls_failed"),
        (after_hello(b"\x17\x03\x03\x00\x01\x00"), 502, "tls_failed"),
        (after_hello(b"\x16\x03\x03\x00\x00"), 502, "tls_failed"),
        // internal_error, handshake_failure, protocol_version, unrecognized_name
        (after_hello(b"\x15\x03\x03\x00\x02\x02\x50"), 502, "tls_failed"),
        (after_hello(b"\x15\x03\x03\x00\x02\x02\x28"), 502, "tls_protocol"),
        (after_hello(b"\x15\x03\x01\x00\x02\x02\x46"), 502, "tls_protocol"),
        (after_hello(b"\x15\x03\x03\x00\x02\x02\x70"), 502, "tls_failed"),
        (https(silent.local_addr().expect("it is bound")), 504, "tls_timeout"),
        // The first bytes of a ServerHello, and no more.
        (and_waits(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"), 504, "tls_timeout"),
    ];
    let mut client = Client::connect(proxy.address);
    for (number, (url, status, code)) in cases.iter().enumerate() {
        assert_eq!(client.get_from(url, "/").refusal(), (*status, Some(*code)), "case {number}");
    }
    proxy.counts("timeouts_upstream_handshake", 2);
    proxy.counts("upstreams_now", 0);
}

#[test]
fn only_https_when_that_is_configured() {
    let world = World::new();
    let origin = rude(&world.server_of_root());
    let proxy = world.towards_targets(&["proxy.ssl.client.enabled=true"]);
    let mut client = Client::connect(proxy.address);
    let plain = client.get_from(&format!("http://{}", origin.address), "/hello");
    assert_eq!(plain.refusal(), (403, Some("https_only")));
    assert_eq!(plain.text(), "only https targets are allowed (proxy.ssl.client.enabled)");
    // Without a scheme it is https, with one in any case.
    for target in [origin.secure.to_string(), format!("HTTPS://{}", origin.secure), url(&origin)] {
        assert_eq!(client.get_from(&target, "/hello").text(), "hello", "{target}");
    }
}
