//! Certificates that are in the trust store themselves: for which hosts, and for whom else not.

use apim_proxy::tls::certificate::Certificate;
use apim_proxy::tls::notes::Note;
use apim_proxy::tls::trust::{Standing, Trust, standing, vouches_for_clients};

use crate::pki::{Issued, Order, Pki};
use crate::stand::{Stand, any_name, java, strict, trust};

fn authority(order: Order) -> Order {
    order.with("basicConstraints=critical,CA:TRUE").with("keyUsage=keyCertSign,digitalSignature")
}

#[test]
fn a_pin_is_for_the_host_of_its_alias_and_for_those_it_names() {
    let pki = Pki::new();
    let leaf = pki.self_signed(&Order::server("named.test"));
    // alias | host | names checked | not checked
    let rows = [
        ("planted.test", "planted.test", "ok", "ok"),
        ("planted.test", "named.test", "ok", "ok"),
        ("planted.test", "other.test", "tls_hostname", "tls_untrusted"),
        ("Planted.Test", "planted.test", "ok", "ok"),
        ("planted.test", "planted.test.", "ok", "ok"),
        ("10.1.2.3", "10.1.2.3", "ok", "ok"),
        ("10.1.2.3", "10.1.2.4", "tls_hostname", "tls_untrusted"),
        ("2001:db8::1", "2001:db8::1", "ok", "ok"),
        ("[2001:db8::1]", "2001:db8:0::1", "ok", "ok"),
        ("mykey", "named.test", "ok", "ok"),
        ("mykey", "mykey", "ok", "ok"),
        ("mykey", "other.test", "tls_hostname", "ok"),
        ("bank.crt", "other.test", "tls_hostname", "ok"),
        ("은행 인증서", "named.test", "ok", "ok"),
        ("은행 인증서", "other.test", "tls_hostname", "ok"),
    ];
    for (alias, host, checked, unchecked) in rows {
        for (verification, expected) in [(strict(), checked), (java(), checked), (any_name(), unchecked)] {
            let stand = Stand::new(trust(&[(alias, &leaf)]), verification);
            assert_eq!(stand.judge(&[&leaf], host), expected, "{alias} at {host}");
        }
    }
}

#[test]
fn a_pin_for_another_host_is_no_hindrance_to_a_chain() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let leaf = pki.issue(&root, &Order::server("named.test"));
    let both = trust(&[("root", &root), ("planted.test", &leaf)]);
    assert_eq!(Stand::new(both.clone(), any_name()).judge(&[&leaf], "other.test"), "ok");
    assert_eq!(Stand::new(both, strict()).judge(&[&leaf], "other.test"), "tls_hostname");
}

#[test]
fn what_was_planted_speaks_for_nobody_else() {
    let pki = Pki::new();
    let evil = pki.self_signed(&authority(Order::server("evil.test")));
    let named = pki.self_signed(&authority(Order::leaf("/CN=evil.test")));
    let old = pki.self_signed(&Order::leaf("/CN=evil.test").version1());
    let plain = pki.self_signed(&Order::server("evil.test"));
    for issuer in [&evil, &named, &old, &plain] {
        let victim = pki.issue(issuer, &Order::server("api.bank.test"));
        for verification in [strict(), java(), any_name()] {
            let stand = Stand::new(trust(&[("evil.test", issuer)]), verification);
            assert_eq!(stand.judge(&[issuer], "evil.test"), "ok");
            assert_eq!(stand.judge(&[&victim, issuer], "api.bank.test"), "tls_untrusted");
        }
    }
}

#[test]
fn an_authority_by_any_ordinary_alias_is_an_anchor_and_a_pin() {
    let pki = Pki::new();
    let root = pki.root("A Root");
    let leaf = pki.issue(&root, &Order::server("api.bank.test"));
    for alias in ["root", "globalsign.root.r3", "root.crt", "debian:root_ca.pem", "a root"] {
        let stand = Stand::new(trust(&[(alias, &root)]), strict());
        assert_eq!(stand.judge(&[&leaf], "api.bank.test"), "ok", "{alias}");
        assert_eq!(stand.judge(&[&root], "api.bank.test"), "tls_hostname", "{alias}");
    }
}

#[test]
fn the_standing_of_an_entry_follows_from_alias_and_certificate() {
    use Standing::{Authority, Peer, Planted};
    let pki = Pki::new();
    let own = |order: &Order| pki.self_signed(order);
    let (server, short) = (own(&Order::server("named.test")), own(&Order::server("intranet")));
    let (root, host_root) = (pki.root("Root"), pki.root("ca.bank.test"));
    let both = own(&authority(Order::server("intranet")));
    let (old_root, old_leaf) =
        (own(&Order::bare("/CN=old").version1()), pki.issue(&root, &Order::bare("/CN=old").version1()));
    let no_sign = own(&Order::authority("x").with("keyUsage=cRLSign"));
    let rows: [(&str, &Issued, Standing); 20] = [
        ("mykey", &server, Peer),
        ("bank.pem", &server, Peer),
        ("a b.test", &server, Peer),
        ("named.test", &server, Planted),
        ("other.test", &server, Planted),
        ("10.0.0.1", &server, Planted),
        ("localhost", &server, Planted),
        ("intranet", &server, Peer),
        ("intranet", &short, Planted),
        ("root", &root, Authority),
        ("isrg.root.x1", &root, Authority),
        ("10.0.0.1", &root, Authority),
        ("ca.bank.test", &host_root, Planted),
        ("bankca", &host_root, Authority),
        ("intranet", &both, Planted),
        ("other", &both, Authority),
        ("old", &old_root, Authority),
        ("old", &old_leaf, Peer),
        ("old.test", &old_leaf, Planted),
        ("x", &no_sign, Peer),
    ];
    for (alias, issued, expected) in rows {
        let der = issued.der();
        let certificate = Certificate::read(&der).expect("a certificate");
        assert_eq!(standing(alias, &certificate), expected, "{alias}");
        assert_eq!(vouches_for_clients(alias, &certificate), expected != Planted, "{alias}");
    }
}

#[test]
fn a_store_tells_what_its_entries_do_not_do() {
    let pki = Pki::new();
    let root = pki.root("ca.bank.test");
    let entries = [("CA.Bank.Test", root.der()), ("broken", vec![0x30, 0x03, 0x01, 0x01, 0xff].into())];
    let trust = Trust::new(entries.map(|(alias, der)| (alias.to_owned(), der)));
    assert_eq!(trust.len(), 1);
    assert!(trust.contains(&root.der()) && trust.subjects().is_empty() && trust.anchors().is_empty());
    let [planted, broken] = trust.notes() else { panic!("{:?}", trust.notes()) };
    assert!(planted.starts_with("the entry \"ca.bank.test\" names its alias as a host"), "{planted}");
    assert!(broken.starts_with("the entry \"broken\" is no certificate"), "{broken}");
    assert!(Trust::default().is_empty());
}

#[test]
fn one_certificate_under_two_aliases_has_the_rights_of_both() {
    let pki = Pki::new();
    let leaf = pki.self_signed(&Order::server("named.test"));
    let stand = Stand::new(trust(&[("a.test", &leaf), ("b.test", &leaf)]), strict());
    for (host, expected) in
        [("a.test", "ok"), ("b.test", "ok"), ("named.test", "ok"), ("c.test", "tls_hostname")]
    {
        assert_eq!(stand.judge(&[&leaf], host), expected);
    }
}

#[test]
fn a_pin_outside_of_its_dates_is_noted() {
    let pki = Pki::new();
    let leaf = pki.self_signed(&Order::server("named.test").expired());
    let stand = Stand::new(trust(&[("mykey", &leaf)]), strict());
    assert_eq!(stand.judge(&[&leaf], "named.test"), "ok");
    assert_eq!(stand.recheck(&[&leaf], "named.test"), "ok");
    assert_eq!(stand.judge(&[&leaf], "other.test"), "tls_hostname");
    assert_eq!(stand.notes.count(Note::PinOutOfDate), 2);
    assert_eq!(stand.notes.count(Note::JavaOnly), 0);
}
