//! Origins that want our certificate, by nginx and openssl: which one they get, how connections and sessions are used
//! again, and bodies of every framing.

use crate::pki::{Issued, KeyKind, Order};
use crate::process::{Nginx, Proxy, Rude};
use crate::raw::Client;
use crate::tls::{VERSIONS, World, here, text};
use std::fs;
use std::io::{ErrorKind, Read};

/// A server block that shows `issued` and lets in clients of `authority`; it answers with who they are.
fn block(port: u16, version: &str, issued: &Issued, authority: &Issued) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl; root www; ssl_protocols {version}; client_max_body_size 0;
            ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {};
            ssl_verify_client on; ssl_verify_depth 3; ssl_session_cache shared:c{port}:1m;
            location /up {{ dav_methods PUT; }}
            location = /who {{ return 200 \"$ssl_client_s_dn $ssl_protocol $connection\"; }}
            location = /idle {{ keepalive_timeout 1ms; return 200 \"$ssl_session_reused\"; }} }}\n",
        issued.certificate.display(),
        issued.key.display(),
        authority.certificate.display(),
    )
}

fn https(port: u16) -> String {
    format!("https://localhost:{port}")
}

/// Two authorities for clients, a client of each, and both clients' keys in one store.
struct Customers {
    world: World,
    a: Issued,
    b: Issued,
    /// Settings: the store with both keys, `key-a` and `key-b`.
    store: String,
}

impl Customers {
    fn new() -> Self {
        let world = World::new();
        let (a, b) = (world.pki.root("A"), world.pki.root("B"));
        // The key of B is RSA, for one of each kind.
        let first = world.pki.issue(&a, &Order::client("customer of A"));
        let second = world.pki.issue(&b, &Order::client("customer of B").key(KeyKind::Rsa(2048)));
        let stores = [world.pkcs12("key-a", &[&first, &a]), world.pkcs12("key-b", &[&second])];
        let store = world.join("keys.p12", "PKCS12", &stores.each_ref().map(std::path::PathBuf::as_path));
        Self { world, a, b, store: format!("server.ssl.key-store={}", store.display()) }
    }

    fn proxy(&self, more: &[&str]) -> Proxy {
        self.world.towards_targets(&[&[self.store.as_str()], more].concat())
    }
}

#[test]
fn the_origin_gets_the_key_of_an_authority_it_names() {
    let customers = Customers::new();
    let world = &customers.world;
    let rsa = world.pki.issue(&world.root, &here().key(KeyKind::Rsa(2048)));
    let ec = world.server_of_root();
    let (_nginx, ports) = Nginx::with(4, |_, ports| {
        [
            block(ports[0], "TLSv1.2", &rsa, &customers.a),
            block(ports[1], "TLSv1.3", &ec, &customers.a),
            block(ports[2], "TLSv1.2", &ec, &customers.b),
            block(ports[3], "TLSv1.3", &rsa, &customers.b),
        ]
        .concat()
    });
    let proxy = customers.proxy(&[]);
    let mut client = Client::connect(proxy.address);
    for (port, who) in ports.iter().zip([
        "CN=customer of A TLSv1.2",
        "CN=customer of A TLSv1.3",
        "CN=customer of B TLSv1.2",
        "CN=customer of B TLSv1.3",
    ]) {
        let answer = client.get_from(&https(*port), "/who");
        let (found, _connection) = answer.text().rsplit_once(' ').expect("three parts");
        assert_eq!(found, who);
    }
}

#[test]
fn an_origin_that_names_nobody_we_have_gets_no_certificate() {
    let customers = Customers::new();
    let world = &customers.world;
    let server = world.server_of_root();
    let stranger = world.pki.root("Stranger");
    let proxy = customers.proxy(&[]);
    for (version, name) in VERSIONS {
        let words = [version, "-Verify", "1", "-verify_return_error", "-CAfile", text(&stranger.certificate)];
        let (_origin, url) = world.s_server(&[&server], &words);
        let answer = Client::connect(proxy.address).get_from(&url, "/");
        assert_eq!(answer.refusal(), (502, Some("tls_client_cert_required")), "{name}");
        // It would like one but goes on without: then so do we.
        let words = [version, "-verify", "1", "-CAfile", text(&stranger.certificate)];
        let (_origin, url) = world.s_server(&[&server], &words);
        assert_eq!(Client::connect(proxy.address).get_from(&url, "/").refusal(), (200, None), "{name}");
    }
    // nginx says so in HTTP, which passes.
    let (_nginx, ports) = Nginx::with(1, |_, ports| block(ports[0], "TLSv1.2 TLSv1.3", &server, &stranger));
    let answer = Client::connect(proxy.address).get_from(&https(ports[0]), "/who");
    assert_eq!(answer.refusal(), (400, None));
    assert!(answer.text().contains("No required SSL certificate was sent"), "{}", answer.text());
}

#[test]
fn a_certificate_that_the_origin_refuses() {
    let world = World::new();
    let server = world.server_of_root();
    let issue = |order: Order| world.pki.issue(&world.root, &order);
    let wrong = [
        issue(Order::server("customer.test")),
        issue(Order::client("late").expired()),
        // Of an authority that the origin does not know; it names none, so ours is shown.
        world.pki.self_signed(&Order::client("stranger")),
    ];
    for (number, issued) in wrong.iter().enumerate() {
        let store = world.pkcs12("wrong", &[issued]);
        let proxy = world.towards_targets(&[&format!("server.ssl.key-store={}", store.display())]);
        for (version, name) in VERSIONS {
            let file = if number == 2 { "-verifyCAfile" } else { "-CAfile" };
            let authority = text(&world.root.certificate);
            let words = [version, "-Verify", "1", "-verify_return_error", file, authority];
            let (_origin, url) = world.s_server(&[&server], &words);
            let answer = Client::connect(proxy.address).get_from(&url, "/");
            assert_eq!(answer.refusal(), (502, Some("tls_client_cert_rejected")), "{name} {number}");
        }
    }
}

#[test]
fn a_proxy_without_a_key_is_asked_for_one() {
    let world = World::new();
    let server = world.server_of_root();
    let proxy = Proxy::start(&[
        "proxy.target.allow=127.0.0.1,localhost",
        "server.ssl.enabled=false",
        &format!("server.ssl.trust-store={}", world.root.certificate.display()),
    ]);
    for (version, name) in VERSIONS {
        let words =
            [version, "-Verify", "1", "-verify_return_error", "-CAfile", text(&world.root.certificate)];
        let (_origin, url) = world.s_server(&[&server], &words);
        let answer = Client::connect(proxy.address).get_from(&url, "/");
        assert_eq!(answer.refusal(), (502, Some("tls_client_cert_required")), "{name}");
    }
}

#[test]
fn connections_and_sessions_are_used_again() {
    let world = World::new();
    let server = world.server_of_root();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let (_nginx, ports) = Nginx::with(1, |_, ports| block(ports[0], version, &server, &world.root));
        let proxy = world.towards_targets(&["server.workers=1"]);
        let mut client = Client::connect(proxy.address);
        let first = client.get_from(&https(ports[0]), "/who").body;
        for _ in 0..9 {
            assert_eq!(client.get_from(&https(ports[0]), "/who").body, first);
        }
        proxy.counts("upstreams_reused", 9);
        proxy.counts("tls_full", 1);
        assert_eq!(client.get_from(&https(ports[0]), "/idle").text(), ".");
        // The origin closes what is idle; the next connection needs no certificates any more.
        proxy.counts("upstreams_now", 0);
        assert_eq!(client.get_from(&https(ports[0]), "/idle").text(), "r", "{version}");
        proxy.counts("upstreams_now", 0);
        let again = client.get_from(&https(ports[0]), "/who");
        assert_eq!(again.text().split(' ').next(), Some("CN=customer"), "who we are is remembered too");
        assert_ne!(again.body, first);
        proxy.counts("upstreams_dialled", 3);
        proxy.counts("tls_full", 1);
        proxy.counts("tls_resumed", 2);
    }
}

#[test]
fn bodies_of_every_framing_pass_unchanged() {
    let world = World::new();
    let server = world.server_of_root();
    let (nginx, ports) = Nginx::with(1, |_, ports| block(ports[0], "TLSv1.2 TLSv1.3", &server, &world.root));
    let rude = Rude::with(&[&server.certificate, &server.key, &world.root.certificate]);
    let body: Vec<u8> = (0_u32..262_144).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let chunks: Vec<u8> = body
        .chunks(40_000)
        .flat_map(|part| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let version = format!("proxy.ssl.client.tls-version={version}");
        let store = world.pkcs12("direct", &[&world.pki.issue(&world.root, &Order::client("direct"))]);
        let store = format!("server.ssl.key-store={}", store.display());
        // nginx knows the authority in the middle, the rude origin the root.
        let (proxy, direct) =
            (world.towards_targets(&[&version]), world.towards_targets(&[&version, &store]));
        let mut client = Client::connect(proxy.address);
        let mut put = |path: &str, framing: &str, bytes: &[u8]| {
            let url = https(ports[0]);
            client.send(format!(
                "PUT {path} HTTP/1.1\r\nHost: proxy\r\nx-target-host: {url}\r\n{framing}\r\n\r\n"
            ));
            client.send(bytes);
            let answer = client.answer();
            assert!([201, 204].contains(&answer.status), "{}", answer.head);
            assert!(fs::read(nginx.folder.path("www").join(&path[1..])).is_ok_and(|kept| kept == body));
            assert!(client.get_from(&url, path).body == body);
        };
        put("/up/length", &format!("Content-Length: {}", body.len()), &body);
        put("/up/chunked", "Transfer-Encoding: chunked", &chunks);
        // Both at once, in chunks both ways.
        let url = https(rude.secure.port());
        let mut client = Client::connect(direct.address);
        client.send(format!(
            "POST /echo HTTP/1.1\r\nHost: proxy\r\nx-target-host: {url}\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        client.send(&chunks);
        assert!(client.answer().body == body);
    }
}

#[test]
fn an_answer_without_a_length_is_whole_only_after_close_notify() {
    let world = World::new();
    let server = world.server_of_root();
    let rude = Rude::with(&[&server.certificate, &server.key]);
    let url = https(rude.secure.port());
    for version in ["TLSv1.2", "TLSv1.3"] {
        let proxy = world.towards_targets(&[&format!("proxy.ssl.client.tls-version={version}")]);
        let mut client = Client::connect(proxy.address);
        let whole = client.get_from(&url, "/until-close-notify");
        assert_eq!((whole.text(), whole.header("connection")), ("hello", Some("close")), "{}", whole.head);
        assert!(client.is_closed());
        // What may have been cut off ends with a reset: in plain HTTP nothing else tells the client.
        let mut client = Client::connect(proxy.address);
        client.send(format!("GET /until-close HTTP/1.1\r\nHost: proxy\r\nx-target-host: {url}\r\n\r\n"));
        let mut received = Vec::new();
        let end = client.stream.read_to_end(&mut received);
        assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset), "{version}");
        assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&received));
        proxy.counts("exchanges_aborted", 1);
        // With a length nobody needs the word.
        let mut client = Client::connect(proxy.address);
        assert_eq!(client.get_from(&url, "/idle-close").text(), "hello");
    }
}
