//! Clients: who has to show a certificate, whose counts, and what the request lists.

use std::sync::Arc;

use apim_proxy::tls::client_verify::{ClientVerifier, Demand};
use apim_proxy::tls::notes::{Note, Notes};
use apim_proxy::tls::refusal::{Refusal, refusal};
use apim_proxy::tls::trust::Trust;
use rustls::Error;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier as _;

use crate::handshake::{self, VERSIONS, provider};
use crate::pki::{Issued, Order, Pki};
use crate::stand::{Stand, strict, trust, word};

fn verifier(trust: Arc<Trust>, demand: Demand) -> (Arc<ClientVerifier>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    (ClientVerifier::new(trust, demand, &provider(), &notes), notes)
}

#[test]
fn a_planted_certificate_lets_no_client_in() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let both = "extendedKeyUsage=serverAuth,clientAuth";
    let leaf = pki.self_signed(&Order::server("api.bank.test").with(both));
    let issued = pki.issue(&root, &Order::server("api.bank.test").with(both));
    type Row<'a> = (&'a [(&'a str, &'a Issued)], &'a Issued, &'a str);
    let rows: [Row<'_>; 8] = [
        (&[("partner", &leaf)], &leaf, "ok"),
        (&[("partner.crt", &leaf)], &leaf, "ok"),
        (&[("api.bank.test", &leaf)], &leaf, "tls_untrusted"),
        (&[("other.test", &leaf)], &leaf, "tls_untrusted"),
        (&[("10.0.0.1", &leaf)], &leaf, "tls_untrusted"),
        (&[("api.bank.test", &leaf), ("partner", &leaf)], &leaf, "ok"),
        (&[("api.bank.test", &issued)], &issued, "tls_untrusted"),
        (&[("api.bank.test", &issued), ("root", &root)], &issued, "ok"),
    ];
    for (entries, shown, expected) in rows {
        let (verifier, _) = verifier(trust(entries), Demand::Need);
        let aliases: Vec<_> = entries.iter().map(|(alias, _)| alias).collect();
        let verdict = verifier.judge(&shown.der(), &[], UnixTime::now());
        assert_eq!(word(&verdict), expected, "{aliases:?}");
    }
}

#[test]
fn an_authority_planted_for_a_host_issues_no_clients() {
    let pki = Pki::new();
    let evil = pki.self_signed(&Order::authority("x").with("subjectAltName=DNS:evil.test"));
    let client = pki.issue(&evil, &Order::client("a client"));
    let judge = |alias| {
        let (verifier, _) = verifier(trust(&[(alias, &evil)]), Demand::Need);
        verifier.judge(&client.der(), &[evil.der()], UnixTime::now())
    };
    assert_eq!(judge("evil.test"), Err(Refusal::UnknownIssuer));
    assert_eq!(judge("partners"), Ok(()));
}

#[test]
fn needed_and_wanted_certificates() {
    let pki = Pki::new();
    let root = pki.root("Clients");
    let good = pki.issue(&root, &Order::client("a client"));
    let bad = pki.issue(&pki.root("Others"), &Order::client("a client"));
    let own = pki.self_signed(&Order::server("localhost"));
    let trusting = Stand::new(trust(&[("own", &own)]), strict()).verifier;
    for version in VERSIONS {
        let shake = |demand, chain: Option<&Issued>| {
            let (verifier, _) = verifier(trust(&[("root", &root)]), demand);
            let chain = chain.map(std::slice::from_ref);
            handshake::of_client(verifier, trusting.clone(), std::slice::from_ref(&own), chain, version)
        };
        for demand in [Demand::Need, Demand::Want] {
            assert_eq!(shake(demand, Some(&good)), Ok(()));
            let error = shake(demand, Some(&bad)).expect_err("a stranger");
            assert_eq!(refusal(&error), Some(Refusal::UnknownIssuer));
        }
        assert_eq!(shake(Demand::Want, None), Ok(()));
        assert_eq!(shake(Demand::Need, None), Err(Error::NoCertificatesPresented));
    }
}

#[test]
fn the_request_lists_whoever_vouches_for_clients() {
    let pki = Pki::new();
    let (root, twin, leaf) = (pki.root("Root"), pki.root("Root"), pki.self_signed(&Order::client("partner")));
    let planted = pki.self_signed(&Order::server("api.bank.test"));
    let store = trust(&[("root", &root), ("twin", &twin), ("partner", &leaf), ("api.bank.test", &planted)]);
    let (verifier, _) = verifier(store, Demand::Want);
    let listed: Vec<String> = verifier
        .root_hint_subjects()
        .iter()
        .map(|subject| String::from_utf8_lossy(subject.as_ref()).into_owned())
        .collect();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].ends_with("Root") && listed[1].ends_with("partner"), "{listed:?}");
}

#[test]
fn an_exact_client_outside_of_its_dates_is_noted() {
    let pki = Pki::new();
    let leaf = pki.self_signed(&Order::client("partner").expired());
    let (verifier, notes) = verifier(trust(&[("partner", &leaf)]), Demand::Need);
    assert_eq!(verifier.judge(&leaf.der(), &[], UnixTime::now()), Ok(()));
    assert_eq!(notes.count(Note::PinOutOfDate), 1);
}

#[test]
fn a_resumed_client_is_refused_once_its_certificate_has_expired() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let good = pki.issue(&root, &Order::client("partner"));
    let old = pki.issue(&root, &Order::client("partner").expired());
    let trust = Arc::new(Trust::new([("root".to_owned(), root.der())]));
    let (clients, _) = verifier(trust, Demand::Need);
    assert_eq!(clients.recheck(&good.der(), UnixTime::now()), Ok(()));
    assert_eq!(clients.recheck(&old.der(), UnixTime::now()), Err(Refusal::Expired));
    // One that stands in the trust store itself is trusted as it is.
    let pinned = Arc::new(Trust::new([("partner".to_owned(), old.der())]));
    let (clients, _) = verifier(pinned, Demand::Need);
    assert_eq!(clients.recheck(&old.der(), UnixTime::now()), Ok(()));
}
