//! SERIALNUMBER, resumed sessions, verification switched off, and what Java's rules do not let through.

use std::sync::{Mutex, OnceLock, PoisonError};

use apim_proxy::tls::certificate::Certificate;
use apim_proxy::tls::host::Host;
use apim_proxy::tls::notes::Note;
use apim_proxy::tls::refusal::certificate_fault;
use apim_proxy::tls::verify::{SerialCheck, Verification};

use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;

use crate::handshake::{self, VERSIONS};
use crate::pki::{Issued, KeyKind, Order, Pki};
use crate::stand::{Stand, any_name, java, name, strict, trust};

const HOST: &str = "api.bank.test";

/// Every line logged by this test program.
fn log() -> &'static Mutex<Vec<String>> {
    struct Lines(Mutex<Vec<String>>);
    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        fn flush(&self) {}
    }
    static LINES: OnceLock<&'static Lines> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines: &'static Lines = Box::leak(Box::new(Lines(Mutex::default())));
        log::set_logger(lines).expect("no other logger");
        log::set_max_level(log::LevelFilter::Warn);
        lines
    });
    &lines.0
}

fn lines_about(host: &str) -> Vec<String> {
    let lines = log().lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(host)).cloned().collect()
}

#[test]
fn a_serial_number_is_compared_without_blanks_and_hyphens() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let leaf = |order: &Order| pki.issue(&root, order);
    let with = leaf(&Order::server(HOST).serial_number("123-45-67890"));
    let (plain, without) =
        (leaf(&Order::server(HOST).serial_number("1234567890")), leaf(&Order::server(HOST)));
    let rows: [(&Issued, Option<&str>, &str); 9] = [
        (&with, Some("123-45-67890"), "ok"),
        (&with, Some("1234567890"), "ok"),
        (&with, Some(" 1234567890 "), "ok"),
        (&plain, Some("123-45-67890"), "ok"),
        (&with, Some("123-45-67891"), "tls_serial_number"),
        (&with, Some("123456789"), "tls_serial_number"),
        (&without, Some("1234567890"), "tls_serial_number"),
        (&with, None, "ok"),
        (&without, None, "ok"),
    ];
    for (leaf, expected, enforced) in rows {
        for (serial_check, verdict) in
            [(SerialCheck::Off, "ok"), (SerialCheck::Report, "ok"), (SerialCheck::Enforce, enforced)]
        {
            for validate in [true, false] {
                let serial_number = expected.map(str::to_owned);
                let rules = Verification { serial_number, serial_check, validate, ..strict() };
                let stand = Stand::new(trust(&[("root", &root)]), rules);
                assert_eq!(stand.judge(&[leaf], HOST), verdict, "{expected:?} {serial_check:?}");
                assert_eq!(stand.recheck(&[leaf], HOST), verdict, "{expected:?} {serial_check:?}");
                let noted = serial_check != SerialCheck::Off && enforced != "ok";
                assert_eq!(stand.notes.count(Note::SerialNumber), if noted { 2 } else { 0 });
            }
        }
    }
}

#[test]
fn a_pin_has_its_serial_number_checked_too() {
    let pki = Pki::new();
    let leaf = pki.self_signed(&Order::server(HOST));
    let rules =
        Verification { serial_number: Some("1".to_owned()), serial_check: SerialCheck::Enforce, ..strict() };
    let stand = Stand::new(trust(&[(HOST, &leaf)]), rules);
    assert_eq!(stand.judge(&[&leaf], HOST), "tls_serial_number");
    assert_eq!(stand.judge(&[&leaf], "other.test"), "tls_hostname", "the name comes first");
}

#[test]
fn a_host_is_warned_about_once() {
    log();
    let pki = Pki::new();
    let root = pki.root("Root");
    let leaf = |host: &str| {
        pki.issue(&root, &Order::server(host).with("extendedKeyUsage=anyExtendedKeyUsage").serial_number("1"))
    };
    let rules =
        Verification { serial_number: Some("2".to_owned()), serial_check: SerialCheck::Report, ..java() };
    let stand = Stand::new(trust(&[("root", &root)]), rules);
    for host in ["once.test", "twice.test"] {
        let leaf = leaf(host);
        for _ in 0..3 {
            assert_eq!(stand.judge(&[&leaf], host), "ok");
        }
        let mut lines = lines_about(host);
        lines.sort();
        let expected = [
            format!(
                "WARN {host}: its certificate passes only because of proxy.ssl.client.compat=java: the certificate or one above it is meant for another purpose"
            ),
            format!("WARN {host}: the SERIALNUMBER is \"1\", not \"2\""),
        ];
        assert_eq!(lines, expected);
    }
    assert_eq!((stand.notes.count(Note::JavaOnly), stand.notes.count(Note::SerialNumber)), (6, 6));
}

#[test]
fn a_resumed_session_is_checked_again() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let good = pki.issue(&root, &Order::server(HOST));
    let old = pki.issue(&root, &Order::server(HOST).expired());
    let weak = pki.issue(&root, &Order::server(HOST).key(KeyKind::Rsa(1024)));
    let store = trust(&[("root", &root)]);
    let rows: [(&[&Issued], &str, &str, &str); 5] = [
        (&[&good], HOST, "ok", "ok"),
        (&[&good], "other.test", "tls_hostname", "ok"),
        (&[&old, &good], HOST, "tls_expired", "tls_expired"),
        (&[&weak], HOST, "tls_weak_key", "tls_weak_key"),
        (&[], HOST, "tls_certificate", "tls_certificate"),
    ];
    for (chain, host, checked, unchecked) in rows {
        assert_eq!(Stand::new(store.clone(), strict()).recheck(chain, host), checked);
        assert_eq!(Stand::new(store.clone(), any_name()).recheck(chain, host), unchecked);
    }
    let off = Stand::new(store, Verification { validate: false, ..strict() });
    assert_eq!(off.recheck(&[&old], "other.test"), "ok");
    let planted = Stand::new(trust(&[("planted.test", &old)]), any_name());
    assert_eq!(planted.recheck(&[&old], "planted.test"), "ok");
}

#[test]
fn without_validation_the_key_still_has_to_sign() {
    let pki = Pki::new();
    let stranger = pki.self_signed(&Order::server("else.test").expired());
    let thief = Issued { key: pki.root("Thief").key, ..stranger.clone() };
    let rules = Verification { validate: false, ..strict() };
    let stand = Stand::new(trust(&[]), rules);
    for version in VERSIONS {
        let shake = |shown: &Issued| {
            handshake::of_server(
                handshake::client(stand.verifier.clone(), version),
                std::slice::from_ref(shown),
                HOST,
            )
        };
        assert_eq!(shake(&stranger), Ok(()));
        let error = shake(&thief).expect_err("a key that is not the certificate's");
        assert_eq!(certificate_fault(&error), None, "{error}");
    }
    let weak = pki.self_signed(&Order::server(HOST).key(KeyKind::Rsa(1024)));
    assert_eq!(stand.judge(&[&weak], HOST), "tls_weak_key");
}

#[test]
fn a_pinned_certificate_that_webpki_cannot_read_is_still_proven_by_its_key() {
    let pki = Pki::new();
    let (p256, rsa) = (KeyKind::P256, KeyKind::Rsa(2048));
    let odd = [
        (Order::leaf(&format!("/CN={HOST}")).version1().key(p256), p256),
        (Order::server(HOST).with("1.2.3.4.5=critical,ASN1:UTF8String:what").key(rsa), KeyKind::Rsa(3072)),
    ];
    for (order, other) in odd {
        let leaf = pki.self_signed(&order);
        let thief = Issued { key: pki.self_signed(&Order::bare("/CN=x").key(other)).key, ..leaf.clone() };
        let stand = Stand::new(trust(&[("mykey", &leaf)]), strict());
        for version in VERSIONS {
            let shake = |shown: &Issued| {
                handshake::of_server(
                    handshake::client(stand.verifier.clone(), version),
                    std::slice::from_ref(shown),
                    HOST,
                )
            };
            assert_eq!(shake(&leaf), Ok(()));
            shake(&thief).expect_err("a key that is not the certificate's");
        }
    }
}

#[test]
fn names_match_as_in_webpki() {
    let patterns = [
        "api.bank.test",
        "API.bank.test",
        "*.bank.test",
        "*.test",
        "*",
        "a*.bank.test",
        "my_api.bank.test",
        "api.bank.test.",
        "x--y.bank.test",
        "1.2.3.4",
        "-a.bank.test",
    ];
    let hosts = [
        "api.bank.test",
        "api.bank.test.",
        "API.BANK.TEST",
        "bank.test",
        "a.api.bank.test",
        "my_api.bank.test",
        "x--y.bank.test",
        "1.2.3.4",
        "test",
    ];
    let pki = Pki::new();
    let mut matched = 0;
    for pattern in patterns {
        let der = pki.self_signed(&Order::server(HOST).with(&format!("subjectAltName=DNS:{pattern}"))).der();
        let ours = Certificate::read(&der).expect("a certificate");
        let theirs = ParsedCertificate::try_from(&der).expect("a certificate");
        for host in hosts {
            let host = name(host);
            let same = Host::of(&host).expect("a host").is_named_by(&ours);
            assert_eq!(same, verify_server_name(&theirs, &host).is_ok(), "{pattern} {host:?}");
            matched += usize::from(same);
        }
    }
    assert_eq!(matched, 13);
}

/// A leaf that only Java's rules can accept.
fn odd_leaf() -> Order {
    Order::server(HOST).with("extendedKeyUsage=anyExtendedKeyUsage")
}

#[test]
fn java_rules_are_rules() {
    let mid = || Order::authority("Mid");
    let limit = |line: &str| mid().with(&format!("nameConstraints=critical,{line}"));
    let korean = || odd_leaf().subject("/C=KR/O=Bank/CN=a server");
    let named = || odd_leaf().without("subjectAltName").subject(&format!("/C=KR/O=Bank/CN={HOST}"));
    let two = "permitted;DNS:bank.test,permitted;DNS:other.test";
    let rows: [(&str, Order, Order, &str); 34] = [
        ("a straight chain", mid(), odd_leaf(), "ok"),
        ("SHA-1 by P-256", mid(), odd_leaf().digest("sha1"), "ok"),
        ("SHA-1 by P-521", mid().key(KeyKind::P521), odd_leaf().digest("sha1"), "ok"),
        ("SHA-1 by RSA 1024", mid().key(KeyKind::Rsa(1024)), odd_leaf().digest("sha1"), "ok"),
        ("SHA-256 by RSA 1024", mid().key(KeyKind::Rsa(1024)), odd_leaf(), "ok"),
        ("SHA-512 by RSA 1024", mid().key(KeyKind::Rsa(1024)), odd_leaf().digest("sha512"), "ok"),
        ("SHA-256 by RSA 768", mid().key(KeyKind::Rsa(768)), odd_leaf(), "tls_untrusted"),
        ("MD5", mid().key(KeyKind::Rsa(2048)), odd_leaf().digest("md5"), "tls_certificate"),
        ("expired above", mid().expired(), odd_leaf(), "tls_expired"),
        ("expired itself", mid(), odd_leaf().expired(), "tls_expired"),
        ("wrong host", mid(), odd_leaf().with("subjectAltName=DNS:x.test"), "tls_hostname"),
        ("no authority", mid().with("basicConstraints=CA:FALSE"), odd_leaf(), "tls_untrusted"),
        ("no keyCertSign", mid().with("keyUsage=cRLSign"), odd_leaf(), "tls_untrusted"),
        ("for clients above", mid().with("extendedKeyUsage=clientAuth"), odd_leaf(), "tls_certificate"),
        ("for any above", mid().with("extendedKeyUsage=anyExtendedKeyUsage"), odd_leaf(), "ok"),
        ("unknown above", mid().with("1.2.3.4=critical,ASN1:NULL"), odd_leaf(), "tls_certificate"),
        ("policies above", mid().with("certificatePolicies=critical,1.2.3"), odd_leaf(), "ok"),
        (
            "policy wanted",
            mid().with("policyConstraints=critical,requireExplicitPolicy:0"),
            odd_leaf(),
            "tls_certificate",
        ),
        ("no signing", mid(), odd_leaf().with("keyUsage=keyEncipherment"), "tls_certificate"),
        ("DNS inside", limit(two), odd_leaf(), "ok"),
        ("DNS outside", limit("permitted;DNS:ank.test"), odd_leaf(), "tls_certificate"),
        ("DNS excluded", limit("excluded;DNS:bank.test"), odd_leaf(), "tls_certificate"),
        ("DNS below only", limit("permitted;DNS:.api.bank.test"), odd_leaf(), "tls_certificate"),
        (
            "wildcard wider",
            limit("permitted;DNS:api.bank.test"),
            odd_leaf().with("subjectAltName=DNS:*.bank.test"),
            "tls_certificate",
        ),
        (
            "wildcard reaching",
            limit("excluded;DNS:evil.bank.test"),
            odd_leaf().with("subjectAltName=DNS:*.bank.test"),
            "tls_certificate",
        ),
        ("CN inside", limit("permitted;DNS:bank.test"), named(), "ok"),
        ("CN outside", limit("permitted;DNS:other.test"), named(), "tls_certificate"),
        (
            "IP outside",
            limit("permitted;IP:10.0.0.0/255.0.0.0"),
            odd_leaf().with(&format!("subjectAltName=DNS:{HOST},IP:11.0.0.1")),
            "tls_certificate",
        ),
        (
            "IP inside",
            limit("permitted;IP:10.0.0.0/255.0.0.0"),
            odd_leaf().with(&format!("subjectAltName=DNS:{HOST},IP:10.9.9.9")),
            "ok",
        ),
        ("directory inside", limit("permitted;dirName:directory_kr"), korean(), "ok"),
        (
            "directory in capitals",
            limit("permitted;dirName:directory_kr"),
            korean().subject("/C=KR/O=BANK/CN=x"),
            "ok",
        ),
        ("directory outside", limit("permitted;dirName:directory_us"), korean(), "tls_certificate"),
        (
            "directory excluded",
            limit("excluded;dirName:directory_kr"),
            korean().subject("/C=kr/O=bank/CN=x"),
            "tls_certificate",
        ),
        (
            "mail, not looked at",
            limit("permitted;email:bank.test"),
            odd_leaf().with(&format!("subjectAltName=DNS:{HOST},email:a@bank.test")),
            "tls_certificate",
        ),
    ];
    let pki = Pki::new();
    let root = pki.root("Root");
    let stand = Stand::new(trust(&[("root", &root)]), java());
    for (what, mid, leaf, expected) in rows {
        let mid = pki.issue(&root, &mid);
        let leaf = pki.issue(&mid, &leaf);
        assert_eq!(
            stand.judge(&[&leaf, &mid], HOST),
            expected,
            "{what}: {:?}",
            stand.verdict(&[&leaf, &mid], HOST)
        );
    }
}

#[test]
fn java_rules_want_a_true_chain() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let (mid, forged) =
        (pki.issue(&root, &Order::authority("Mid")), pki.issue(&pki.root("Root"), &Order::authority("Mid")));
    let leaf = pki.issue(&mid, &odd_leaf());
    let of_forged = pki.issue(&forged, &odd_leaf());
    let stand = Stand::new(trust(&[("root", &root)]), java());
    assert_eq!(stand.judge(&[&leaf, &forged, &mid], HOST), "ok", "the right one of two is found");
    assert_eq!(stand.judge(&[&leaf, &forged], HOST), "tls_untrusted");
    assert_eq!(stand.judge(&[&of_forged, &forged], HOST), "tls_untrusted");
    assert_eq!(stand.judge(&[&of_forged, &mid], HOST), "tls_untrusted");
    assert_eq!(stand.judge(&[&leaf], HOST), "tls_untrusted");
    let narrow =
        pki.issue(&root, &Order::authority("Narrow").with("basicConstraints=critical,CA:TRUE,pathlen:0"));
    let below = pki.issue(&narrow, &Order::authority("Below"));
    let deep = pki.issue(&below, &odd_leaf());
    assert_eq!(stand.judge(&[&deep, &below, &narrow], HOST), "tls_untrusted", "the path is too long");
    assert_eq!(stand.judge(&[&pki.issue(&narrow, &odd_leaf()), &narrow], HOST), "ok");
    let strict = Stand::new(trust(&[("root", &root)]), strict());
    assert_eq!(strict.judge(&[&leaf, &mid], HOST), "tls_certificate");
}

#[test]
fn a_common_name_obeys_name_constraints_strictly_too() {
    let pki = Pki::new();
    let named = Order::leaf(&format!("/CN={HOST}"));
    for (line, strictly) in
        [("permitted;DNS:bank.test", "ok"), ("permitted;DNS:other.test", "tls_certificate")]
    {
        let line = format!("nameConstraints=critical,{line}");
        let root = pki.root("Root");
        let mid = pki.issue(&root, &Order::authority("Mid").with(&line));
        let leaf = pki.issue(&mid, &named);
        for rules in [strict(), java()] {
            assert_eq!(Stand::new(trust(&[("root", &root)]), rules).judge(&[&leaf, &mid], HOST), strictly);
        }
        let root = pki.self_signed(&Order::authority("Root").with(&line));
        let leaf = pki.issue(&root, &named);
        for (rules, expected) in [(strict(), strictly), (java(), "ok")] {
            assert_eq!(Stand::new(trust(&[("root", &root)]), rules).judge(&[&leaf], HOST), expected);
        }
    }
}
