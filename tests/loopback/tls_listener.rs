//! The TLS listener as `openssl s_client` sees it: what it shows, asks for, speaks and refuses.

use crate::pki::{KeyKind, Order};
use crate::process::Proxy;
use crate::raw::Client;
use crate::tls::{ASK, PASSWORD, Said, VERSIONS, World, here, pem, s_client, start, text};

fn ask(proxy: &Proxy, arguments: &[&str]) -> Said {
    s_client(proxy.address, arguments, ASK)
}

#[test]
fn the_chain_is_shown_and_the_authorities_for_clients_are_named() {
    let world = World::new();
    let other = world.pki.self_signed(&Order::authority("Other").subject("/C=KR/O=Bank/CN=Other"));
    let keys = world.pkcs12("server", &[&world.server, &world.middle, &world.root]);
    let keys = world.join("keys.jks", "JKS", &[&keys]);
    let trust = world.trust_jks("trust.jks", &[("root", &world.root), ("other", &other)]);
    let trust_password = format!("server.ssl.trust-store-password={PASSWORD}");
    for demand in ["need", "want", "none"] {
        let client_auth = format!("server.ssl.client-auth={demand}");
        let proxy = start(&keys, &trust, &[&trust_password, &client_auth]);
        for (version, name) in VERSIONS {
            let root = text(&world.root.certificate);
            let certificate = ["-cert", text(&world.client.certificate), "-key", text(&world.client.key)];
            let middle = ["-cert_chain", text(&world.middle.certificate)];
            let verified = ["-CAfile", root, "-verify_return_error", "-verify_hostname", "localhost"];
            let said = ask(
                &proxy,
                &[&[version, "-showcerts", "-alpn", "h2,http/1.1"], &certificate[..], &middle, &verified]
                    .concat(),
            );
            assert_eq!(said.session(), format!("New, {name}"), "{}", said.0);
            assert_eq!(said.shown(), [pem(&world.server), pem(&world.middle), pem(&world.root)]);
            assert_eq!(said.line("Verification: "), Some("OK"));
            assert_eq!(said.line("No ALPN negotiated"), Some(""));
            assert!(said.was_told(), "{}", said.0);
            let mut named =
                said.between("Acceptable client certificate CA names", "Client Certificate Types");
            named.truncate(2);
            named.sort_unstable();
            let expected: &[&str] =
                if demand == "none" { &[] } else { &["C = KR, O = Bank, CN = Other", "CN = Root"] };
            assert_eq!(named, expected, "{demand} {name}");
        }
    }
}

#[test]
fn who_needs_a_certificate_and_who_may_go_without() {
    let world = World::new();
    let stranger = world.pki.self_signed(&Order::client("stranger"));
    let server_only = world.pki.issue(&world.middle, &Order::server("customer.test"));
    let expired = world.pki.issue(&world.middle, &Order::client("late").expired());
    let middle = text(&world.middle.certificate);
    for demand in ["need", "want"] {
        let proxy = world.listener(&[&format!("server.ssl.client-auth={demand}")]);
        for (version, name) in VERSIONS {
            let none = ask(&proxy, &[version]);
            if demand == "need" {
                // certificate_required
                assert_eq!((none.alert(), none.was_told()), (Some(116), false), "{}", none.0);
            } else {
                assert!(none.was_told(), "{}", none.0);
            }
            // unknown_ca, unsupported_certificate, certificate_expired
            for (issued, alert) in [(&stranger, 48), (&server_only, 43), (&expired, 45)] {
                let certificate = ["-cert", text(&issued.certificate), "-key", text(&issued.key)];
                let bad = ask(&proxy, &[&[version, "-cert_chain", middle], &certificate[..]].concat());
                assert_eq!((bad.alert(), bad.was_told()), (Some(alert), false), "{demand} {name}: {}", bad.0);
            }
            let certificate = ["-cert", text(&world.client.certificate), "-key", text(&world.client.key)];
            let good = ask(&proxy, &[&[version, "-cert_chain", middle], &certificate[..]].concat());
            assert!(good.was_told(), "{}", good.0);
        }
        proxy.counts("client_tls_failed", if demand == "need" { 8 } else { 6 });
    }
}

#[test]
fn a_certificate_in_the_trust_store_lets_its_holder_in_unless_it_was_planted() {
    let world = World::new();
    // Of an unknown authority, and named as operators name entries.
    let partner = world.pki.self_signed(&Order::client("partner"));
    // What x-reload-httpclient would have written for a target: the alias is its host.
    let target = world.pki.self_signed(&Order::server("bank.test").without("extendedKeyUsage"));
    let trust = world.trust_jks("trust.jks", &[("partner", &partner), ("bank.test", &target)]);
    let keys = world.pkcs12("server", &[&world.server, &world.middle]);
    let password = format!("server.ssl.trust-store-password={PASSWORD}");
    let proxy = start(&keys, &trust, &[&password, "server.ssl.client-auth=need"]);
    for (version, _) in VERSIONS {
        let show = |issued: &crate::pki::Issued| {
            ask(&proxy, &[version, "-cert", text(&issued.certificate), "-key", text(&issued.key)])
        };
        let pinned = show(&partner);
        assert!(pinned.was_told(), "{}", pinned.0);
        let named = pinned.between("Acceptable client certificate CA names", "Client Certificate Types");
        assert_eq!(named.first(), Some(&"CN = partner"));
        assert!(!pinned.0.contains("Acceptable client certificate CA names\nCN = a server"));
        let planted = show(&target);
        assert_eq!((planted.alert(), planted.was_told()), (Some(48), false), "{}", planted.0);
        let unknown = show(&world.client);
        assert_eq!((unknown.alert(), unknown.was_told()), (Some(48), false), "{}", unknown.0);
    }
}

#[test]
fn versions_and_suites_are_those_of_the_configuration() {
    let world = World::new();
    let weak = "DEFAULT@SECLEVEL=0";
    let open = world.listener(&[]);
    for version in ["-tls1", "-tls1_1"] {
        let said = ask(&open, &[version, "-cipher", weak]);
        // handshake_failure: rustls misses signature_algorithms before it looks at the version.
        assert_eq!((said.alert(), said.session()), (Some(40), "New, (NONE)"), "{}", said.0);
    }
    for (only, version) in [("TLSv1.2", "-tls1_2"), ("TLSv1.3", "-tls1_3")] {
        let proxy = world.listener(&[&format!("server.ssl.enabled-protocols={only}")]);
        for (asked, name) in VERSIONS {
            let said = ask(&proxy, &[asked]);
            if asked == version {
                assert_eq!((said.session(), said.was_told()), (format!("New, {name}").as_str(), true));
            } else {
                // protocol_version
                assert_eq!((said.alert(), said.session()), (Some(70), "New, (NONE)"), "{}", said.0);
            }
        }
    }
    // Java's names; one that nobody speaks any more is left out.
    let suites = "server.ssl.ciphers=TLS_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384";
    let proxy = world.listener(&[suites]);
    let offers = [
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", true),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", false),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", false),
        ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", true),
        ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", false),
    ];
    for (version, option, suite, spoken) in offers {
        let said = ask(&proxy, &[version, option, suite]);
        let expected = if spoken { (None, suite, true) } else { (Some(40), "(NONE)", false) };
        assert_eq!((said.alert(), said.cipher(), said.was_told()), expected, "{}", said.0);
    }
    // Suites that were never modern are not there without any setting either.
    for suite in ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"]
    {
        let said = ask(&open, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]);
        assert_eq!((said.alert(), said.cipher()), (Some(40), "(NONE)"), "{suite}: {}", said.0);
    }
}

#[test]
fn nobody_renegotiates() {
    let world = World::new();
    let proxy = world.listener(&[]);
    let said = s_client(proxy.address, &["-tls1_2"], "R\n");
    assert!(said.0.contains("RENEGOTIATING\n") && said.0.contains(":no renegotiation:"), "{}", said.0);
    assert!(said.line("Secure Renegotiation IS supported").is_some(), "{}", said.0);
    assert!(ask(&proxy, &["-tls1_2"]).was_told());
}

#[test]
fn plain_http_on_the_tls_port_is_told_so() {
    let world = World::new();
    let proxy = world.listener(&["server.ssl.client-auth=need"]);
    for request in [
        "GET / HTTP/1.1\r\nHost: proxy\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nHost: proxy\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)),
    ] {
        let mut client = Client::connect(proxy.address);
        client.send(request);
        let answer = client.answer();
        assert_eq!(
            answer.head,
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 62\r\n\
             X-Proxy-Error: tls_required\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(answer.text(), "Bad Request\r\nThis combination of host and port requires TLS.\r\n");
        assert!(client.is_closed());
    }
    let certificate = ["-cert", text(&world.client.certificate), "-key", text(&world.client.key)];
    let said = ask(&proxy, &[&certificate[..], &["-cert_chain", text(&world.middle.certificate)]].concat());
    assert!(said.was_told(), "{}", said.0);
}

#[test]
fn the_certificate_fits_the_asked_host_and_the_kind_of_key_a_client_knows() {
    let world = World::new();
    let issue = |order: Order| world.pki.issue(&world.root, &order);
    let first = issue(here().key(KeyKind::Rsa(2048)));
    let second = issue(here());
    let third = issue(Order::server("other.test"));
    let fourth = issue(Order::server("*.wild.test").key(KeyKind::Rsa(2048)));
    let stores = [("first", &first), ("second", &second), ("third", &third), ("fourth", &fourth)]
        .map(|(alias, issued)| world.pkcs12(alias, &[issued]));
    let rsa_only = ["-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"];
    let ec_only = ["-sigalgs", "ECDSA+SHA256"];
    for kind in ["PKCS12", "JKS"] {
        let keys = world.join(kind, kind, &stores.each_ref().map(std::path::PathBuf::as_path));
        let proxy = start(&keys, &world.root.certificate, &[]);
        let chosen = start(&keys, &world.root.certificate, &["server.ssl.key-alias=Third"]);
        for (version, _) in VERSIONS {
            let shown = |proxy: &Proxy, host: &str, more: &[&str]| {
                let name = if host.is_empty() { vec!["-noservername"] } else { vec!["-servername", host] };
                let said = ask(proxy, &[&[version, "-showcerts"], &name[..], more].concat());
                assert!(said.was_told(), "{}", said.0);
                said.shown().first().cloned().expect("a certificate")
            };
            // Order of a store is the alias's for keytool's PKCS #12, so only what is asked for decides here.
            assert_eq!(shown(&proxy, "localhost", &rsa_only), pem(&first));
            assert_eq!(shown(&proxy, "localhost", &ec_only), pem(&second));
            assert_eq!(shown(&proxy, "OTHER.test", &[]), pem(&third));
            assert_eq!(shown(&proxy, "a.wild.test", &[]), pem(&fourth));
            // Nobody has the name with such a key: what the client can verify at all is better than nothing.
            assert!([pem(&first), pem(&fourth)].contains(&shown(&proxy, "other.test", &rsa_only)));
            assert!([pem(&second), pem(&third)].contains(&shown(&proxy, "", &ec_only)));
            // An alias is an order.
            for host in ["localhost", "a.wild.test", ""] {
                assert_eq!(shown(&chosen, host, &[]), pem(&third));
            }
        }
        // The suites of TLS 1.2 name the kind of key too.
        for (suite, issued) in
            [("ECDHE-RSA-AES128-GCM-SHA256", &first), ("ECDHE-ECDSA-AES128-GCM-SHA256", &second)]
        {
            let said = ask(&proxy, &["-tls1_2", "-cipher", suite, "-showcerts", "-servername", "localhost"]);
            assert_eq!((said.cipher(), said.shown().first()), (suite, Some(&pem(issued))), "{}", said.0);
        }
    }
}
