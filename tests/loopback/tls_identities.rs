//! Who we are to whom: `proxy.targets[N]` by the certificate that the origin sees, request by request, and never a
//! connection or a session of somebody else.

use crate::pki::{Issued, Order};
use crate::process::{Nginx, Proxy};
use crate::raw::Client;
use crate::tls::{PASSWORD, World, here, start};
use std::path::{Path, PathBuf};
use std::thread;

/// A server block that shows `issued`, lets in clients of the authorities in `clients`, and says who came.
fn block(port: u16, issued: &Issued, clients: &Path) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};
            ssl_client_certificate {}; ssl_verify_client on; ssl_session_cache shared:all:1m;
            location = /who {{ return 200 \"$ssl_client_s_dn $ssl_protocol\"; }}
            location = /bye {{ keepalive_timeout 0; return 200 \"$ssl_client_s_dn $ssl_session_reused\"; }} }}\n",
        issued.certificate.display(),
        issued.key.display(),
        clients.display(),
    )
}

struct Scene {
    world: World,
    _nginx: Nginx,
    ports: Vec<u16>,
    proxy: Proxy,
}

impl Scene {
    /// Two ports of one origin, a third that another authority vouches for, and a proxy with four identities.
    fn new() -> Self {
        let world = World::new();
        let (a, b) = (world.pki.root("A"), world.pki.root("B"));
        let clients = world.pki.pem("clients", &[&a, &b]);
        let client = |authority: &Issued, name: &str| world.pki.issue(authority, &Order::client(name));
        let (first, second) = (client(&a, "first"), client(&a, "second"));
        let stores = [world.pkcs12("first", &[&first]), world.pkcs12("second", &[&second])];
        let common = world.join("common.jks", "JKS", &stores.each_ref().map(PathBuf::as_path));
        let third = world.join("third.jks", "JKS", &[&world.pkcs12("third", &[&client(&b, "third")])]);
        let elsewhere = world.pki.root("Elsewhere");
        let other = world.pki.issue(&elsewhere, &here());
        let other_trust = world.trust_jks("elsewhere.jks", &[("elsewhere", &elsewhere)]);
        let server = world.server_of_root();
        let (nginx, ports) = Nginx::with(3, |_, ports| {
            [
                block(ports[0], &server, &clients),
                block(ports[1], &server, &clients),
                block(ports[2], &other, &clients),
            ]
            .concat()
        });
        let settings = [
            "server.ssl.enabled=false".to_owned(),
            "server.ssl.key-alias=first".to_owned(),
            // The same address by another name: another alias of the common store.
            format!("proxy.targets[0].match=127.0.0.1:{}", ports[0]),
            "proxy.targets[0].key-alias=Second".to_owned(),
            // The same host at another port: a store of its own, whose key has a password, and an older TLS.
            format!("proxy.targets[1].match=LocalHost:{}", ports[1]),
            format!("proxy.targets[1].key-store={}", third.display()),
            format!("proxy.targets[1].key-store-password={PASSWORD}"),
            "proxy.targets[1].tls-version=TLSv1.2".to_owned(),
            // An origin that nobody else trusts; who we are is what it is for all.
            format!("proxy.targets[2].match=localhost:{}", ports[2]),
            format!("proxy.targets[2].trust-store={}", other_trust.display()),
            format!("proxy.targets[2].trust-store-password={PASSWORD}"),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let proxy = start(&common, &world.root.certificate, &settings);
        Self { world, _nginx: nginx, ports, proxy }
    }

    /// Each target and what its origin has to see.
    fn targets(&self) -> [(String, &'static str, &'static str); 5] {
        let [one, two, three] = [self.ports[0], self.ports[1], self.ports[2]];
        [
            (format!("https://localhost:{one}"), "CN=first", "TLSv1.3"),
            (format!("https://127.0.0.1:{one}"), "CN=second", "TLSv1.3"),
            (format!("https://localhost:{two}"), "CN=third", "TLSv1.2"),
            (format!("https://127.0.0.1:{two}"), "CN=first", "TLSv1.3"),
            (format!("https://LOCALHOST:{three}"), "CN=first", "TLSv1.3"),
        ]
    }
}

#[test]
fn every_origin_sees_the_certificate_that_is_meant_for_it() {
    let scene = Scene::new();
    let targets = scene.targets();
    // Several clients at once, each on its own way through the targets, so that pooled connections change hands.
    thread::scope(|scope| {
        for step in [1, 2, 3, 4] {
            let targets = &targets;
            let address = scene.proxy.address;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for turn in 0..50 {
                    let (url, who, version) = &targets[turn * step % targets.len()];
                    let answer = client.get_from(url, "/who");
                    assert_eq!(answer.text(), format!("{who} {version}"), "{url}");
                }
            });
        }
    });
    scene.proxy.counts("requests", 200);
    scene.proxy.counts("tls_failed", 0);
    let mut client = Client::connect(scene.proxy.address);
    // What is trusted there is trusted nowhere else, and the other way round.
    let answer = client.get_from(&format!("https://127.0.0.1:{}", scene.ports[2]), "/who");
    assert_eq!(answer.refusal(), (502, Some("tls_untrusted")));
}

#[test]
fn a_resumed_session_is_that_of_the_same_identity() {
    let scene = Scene::new();
    let mut client = Client::connect(scene.proxy.address);
    let targets = scene.targets();
    // Every answer closes its connection; from the second round on sessions are resumed.
    for round in 0..4 {
        let resumed = if round == 0 { "." } else { "r" };
        for (url, who, _) in &targets {
            assert_eq!(client.get_from(url, "/bye").text(), format!("{who} {resumed}"), "{url} {round}");
        }
    }
    scene.proxy.counts("tls_full", 5);
    scene.proxy.counts("tls_resumed", 15);
}

#[test]
fn a_host_name_is_checked_for_each_target_alone() {
    let scene = Scene::new();
    let wrong = scene.world.pki.issue(&scene.world.root, &Order::server("other.test"));
    let trusted = scene.world.pki.pem("any", &[&scene.world.root]);
    let (_nginx, ports) = Nginx::with(1, |_, ports| {
        block(ports[0], &wrong, &trusted).replace("ssl_verify_client on", "ssl_verify_client optional")
    });
    let proxy = scene
        .world
        .towards_targets(&["proxy.targets[0].match=localhost", "proxy.targets[0].verify-hostname=false"]);
    let mut client = Client::connect(proxy.address);
    // A session with the lenient name helps nobody who asks by the strict one, though it is the same server.
    for _ in 0..3 {
        assert_eq!(client.get_from(&format!("https://localhost:{}", ports[0]), "/bye").status, 200);
        let strict = client.get_from(&format!("https://127.0.0.1:{}", ports[0]), "/bye");
        assert_eq!(strict.refusal(), (502, Some("tls_hostname")));
    }
}
