//! Keys that change: because the peer asks for it, or because they are worn.

use super::{Pair, configs, configs_of, text};
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite, version};

/// Records that a key of these tests may seal.
const RECORDS_MAX: u64 = 6;

/// The same suites with keys that wear at once.
fn short_lived(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls13(of) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: rustls::CipherSuiteCommon { confidentiality_limit: RECORDS_MAX, ..common(suite) },
                hkdf_provider: of.hkdf_provider,
                aead_alg: of.aead_alg,
                quic: None,
            })))
        }
        SupportedCipherSuite::Tls12(of) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: rustls::CipherSuiteCommon { confidentiality_limit: RECORDS_MAX, ..common(suite) },
                prf_provider: of.prf_provider,
                kx: of.kx,
                sign: of.sign,
                aead_alg: of.aead_alg,
            })))
        }
    }
}

fn common(suite: SupportedCipherSuite) -> rustls::CipherSuiteCommon {
    let common = match suite {
        SupportedCipherSuite::Tls13(suite) => &suite.common,
        SupportedCipherSuite::Tls12(suite) => &suite.common,
    };
    rustls::CipherSuiteCommon { ..*common }
}

/// Records that wait to be sent.
fn records(pair: &Pair) -> usize {
    let mut rest = pair.sealed.out.as_ref().map_or(&[][..], |out| out.passed());
    let mut count = 0;
    while !rest.is_empty() {
        rest = &rest[5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]))..];
        count += 1;
    }
    count
}

#[test]
fn a_wish_for_new_keys_is_fulfilled_once_and_with_the_next_data() {
    let configs = configs(&[&version::TLS13], None);
    for we_are_client in [true, false] {
        let mut pair = Pair::new(we_are_client, &configs, 60_000);
        pair.shake_hands();
        for wishes in [1, 2, 7] {
            for _ in 0..wishes {
                pair.peer.refresh_traffic_keys().expect("1.3 can");
                let bytes = pair.peer_says();
                pair.hear(&bytes).expect("we agree");
            }
            assert_eq!(records(&pair), 0, "who does not listen cannot make us talk");
            for expected in [2, 1] {
                pair.ours.seal([b"x", b""], &mut pair.sealed, &mut pair.bufs).expect("it is open");
                assert_eq!(records(&pair), expected, "{wishes} wishes");
                assert_eq!(pair.peer_hears().expect("the peer agrees"), b"x");
            }
            assert!(pair.hear_from_peer(b"more") == b"more");
        }
    }
}

#[test]
fn a_flood_of_key_updates_is_refused() {
    let configs = configs(&[&version::TLS13], None);
    for we_are_client in [true, false] {
        let mut pair = Pair::new(we_are_client, &configs, 60_000);
        pair.shake_hands();
        for update in 0..33 {
            pair.peer.refresh_traffic_keys().expect("1.3 can");
            let bytes = pair.peer_says();
            assert_eq!(pair.hear(&bytes).is_ok(), update < 32, "{update}");
        }
        assert!(matches!(pair.peer_hears(), Err(rustls::Error::AlertReceived(_))));
    }
}

#[test]
fn a_worn_key_of_tls_1_3_is_replaced() {
    let suite = short_lived(cipher_suite::TLS13_AES_128_GCM_SHA256);
    for (suites, len) in [(suite, 1), (suite, 40_000)] {
        let configs = configs_of(&[suites], &[&version::TLS13], None);
        for we_are_client in [true, false] {
            let mut pair = Pair::new(we_are_client, &configs, 60_000);
            pair.shake_hands();
            for round in 0..30 {
                assert!(pair.say(&text(len)) == text(len), "round {round}");
                assert!(pair.hear_from_peer(&text(len)) == text(len), "round {round}");
                assert!(!pair.ours.is_aging(), "there is always another key");
            }
        }
    }
}

#[test]
fn a_worn_key_of_tls_1_2_seals_nothing_more() {
    let suite = short_lived(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    let configs = configs_of(&[suite], &[&version::TLS12], None);
    for we_are_client in [true, false] {
        let mut pair = Pair::new(we_are_client, &configs, 60_000);
        pair.shake_hands();
        // The handshake has used up the first number.
        for number in 1..RECORDS_MAX {
            assert_eq!(pair.ours.is_aging(), number >= RECORDS_MAX / 2, "{number}");
            assert_eq!(pair.say(b"x"), b"x");
        }
        assert!(pair.ours.seal([b"x", b""], &mut pair.sealed, &mut pair.bufs).is_err());
        assert_eq!(records(&pair), 0);
        assert!(pair.ours.reason().is_some());
    }
}
