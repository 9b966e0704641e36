//! What a hostile peer may send: too much, a maze, or anything at all.

use apim_proxy::tls::client_verify::{ClientVerifier, Demand};
use apim_proxy::tls::refusal::Refusal;
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::Verification;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::handshake::provider;
use crate::pki::{Issued, KeyKind, Order, Pki};
use crate::stand::{Stand, java, strict, trust};

const HOST: &str = "api.bank.test";

#[test]
fn ten_certificates_are_looked_at_and_no_more() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let leaf = pki.issue(&root, &Order::server(HOST));
    let extra = pki.root("Extra");
    let mut chain = vec![&leaf];
    chain.extend([&extra; 9]);
    for rules in [strict(), java()] {
        let stand = Stand::new(trust(&[("root", &root)]), rules);
        assert_eq!(stand.verdict(&chain, HOST), Ok(()));
        let longer = [&chain[..], &[&extra]].concat();
        assert_eq!(stand.verdict(&longer, HOST), Err(Refusal::TooMany));
    }
}

/// webpki alone walks 200,000 steps here, a third of a second for one handshake.
#[test]
fn a_maze_of_one_name_ends_soon() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let maze: Vec<Issued> = (0..9).map(|_| pki.issue(&pki.root("Maze"), &Order::authority("Maze"))).collect();
    let entrance = pki.root("Maze");
    for (order, rules, expected) in [
        (Order::server(HOST), strict(), Refusal::UnknownIssuer),
        (Order::server(HOST).with("extendedKeyUsage=anyExtendedKeyUsage"), java(), Refusal::BadSignature),
    ] {
        let leaf = pki.issue(&entrance, &order);
        let chain: Vec<&Issued> = std::iter::once(&leaf).chain(&maze).collect();
        let stand = Stand::new(trust(&[("root", &root)]), rules);
        assert_eq!(stand.verdict(&chain, HOST), Err(expected));
    }
}

#[test]
fn rubbish_above_does_not_hide_the_reason() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let leaf = pki.issue(&pki.root("Unknown"), &Order::server(HOST));
    let old = pki.self_signed(&Order::bare("/CN=old").version1());
    let stand = Stand::new(trust(&[("root", &root)]), strict());
    let chain = [leaf.der(), vec![1, 2, 3].into(), old.der(), CertificateDer::from(Vec::new())];
    assert_eq!(stand.judge_der(&chain, HOST), Err(Refusal::UnknownIssuer));
    assert_eq!(stand.judge_der(&[vec![0x30; 70_000].into()], HOST), Err(Refusal::Unreadable));
    let mut longer = leaf.der().to_vec();
    longer.push(0);
    assert_eq!(stand.judge_der(&[longer.into()], HOST), Err(Refusal::Unreadable));
}

/// Each byte of `der` with one bit turned, a different one each time.
fn mutations(der: &CertificateDer<'_>) -> impl Iterator<Item = CertificateDer<'static>> {
    let der = der.to_vec();
    (0..der.len() * 2).map(move |step| {
        let mut mutated = der.clone();
        mutated[step / 2] ^= 1 << ((step * 5 + 3) % 8);
        CertificateDer::from(mutated)
    })
}

#[test]
fn no_turned_bit_is_accepted_or_panics() {
    let pki = Pki::new();
    let root = pki.root("Root");
    let mid = pki.issue(
        &root,
        &Order::authority("Mid")
            .with("nameConstraints=permitted;DNS:bank.test,permitted;dirName:directory_kr"),
    );
    let rich = Order::server(HOST)
        .subject("/C=KR/O=Bank/CN=x")
        .serial_number("123-45-67890")
        .subject("/C=KR/O=Bank/serialNumber=123-45-67890/CN=x")
        .with(&format!("subjectAltName=DNS:{HOST},IP:10.0.0.1,otherName:1.2.3;UTF8:x,dirName:directory_kr"))
        .with("certificatePolicies=critical,1.2.3")
        .with("extendedKeyUsage=serverAuth,clientAuth,anyExtendedKeyUsage");
    let leaves = [
        pki.issue(&mid, &rich),
        pki.issue(&mid, &rich.clone().key(KeyKind::Rsa(2048))),
        pki.issue(&mid, &Order::bare(&format!("/C=KR/O=Bank/CN={HOST}")).version1()),
    ];
    let store = trust(&[("root", &root)]);
    let stands = [strict(), java()].map(|rules| Stand::new(store.clone(), rules));
    let lax = Stand::new(store.clone(), Verification { validate: false, ..strict() });
    let clients = ClientVerifier::new(store, Demand::Need, &provider(), &lax.notes);
    let mut judged = 0;
    for leaf in &leaves {
        let (leaf, mid) = (leaf.der(), mid.der());
        assert_eq!(stands[1].judge_der(&[leaf.clone(), mid.clone()], HOST), Ok(()));
        for mutated in mutations(&leaf) {
            for stand in &stands {
                assert!(stand.judge_der(&[mutated.clone(), mid.clone()], HOST).is_err());
            }
            assert!(clients.judge(&mutated, std::slice::from_ref(&mid), UnixTime::now()).is_err());
            let _ = lax.judge_der(std::slice::from_ref(&mutated), HOST);
            // In a trust store it is whatever it then says, without a panic.
            let odd = Trust::new([(HOST.to_owned(), mutated.clone()), ("mykey".to_owned(), mutated)]);
            assert!(odd.len() <= 1);
            judged += 1;
        }
        for mutated in mutations(&mid) {
            for stand in &stands {
                assert!(stand.judge_der(&[leaf.clone(), mutated.clone()], HOST).is_err());
            }
            judged += 1;
        }
    }
    assert!(judged > 5_000, "{judged}");
}
