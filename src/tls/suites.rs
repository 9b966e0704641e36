//! TLS versions and cipher suites by the names operators know: Java's, the registry's and OpenSSL's.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// A TLS version we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V12,
    /// RFC 8446.
    V13,
}

/// The same as rustls names them.
pub fn versions(wanted: &[TlsVersion]) -> Vec<&'static SupportedProtocolVersion> {
    let one = |version: &TlsVersion| match version {
        TlsVersion::V12 => &version::TLS12,
        TlsVersion::V13 => &version::TLS13,
    };
    wanted.iter().map(one).collect()
}

/// The cryptography of this process: aws-lc with `suites` (empty: all of them, in their order), and with a
/// post-quantum hybrid key exchange in front if that is asked for.
pub fn provider(suites: &[SupportedCipherSuite], post_quantum: bool) -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if !suites.is_empty() {
        provider.cipher_suites = suites.to_vec();
    }
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    if post_quantum {
        provider.kx_groups.insert(0, kx_group::X25519MLKEM768);
    }
    Arc::new(provider)
}

/// Reads a list of suites, separated by `,` or `:`. Suites that nobody speaks any more and those we do not have are
/// left out, as Java leaves out what it does not have; nothing left is an error.
///
/// # Errors
/// Names what is no suite at all, or says that none is left.
pub fn parse(text: &str) -> Result<Vec<SupportedCipherSuite>, String> {
    let mut found: Vec<SupportedCipherSuite> = Vec::new();
    let mut left_out = Vec::new();
    for name in text.split([',', ':']).map(str::trim).filter(|name| !name.is_empty()) {
        match suite(name) {
            Some(suite) if found.contains(&suite) => {}
            Some(suite) => found.push(suite),
            None if is_suite_name(name) => left_out.push(name),
            None => {
                return Err(format!(
                    "names {name}, which is no cipher suite; write names such as {}",
                    names()
                ));
            }
        }
    }
    if found.is_empty() && !left_out.is_empty() {
        return Err(format!(
            "names no suite that is spoken ({} are not); the choice is {}",
            left_out.join(", "),
            names()
        ));
    }
    Ok(found)
}

fn names() -> String {
    let names: Vec<_> = ROWS.iter().map(|row| row.java).collect();
    names.join(", ")
}

/// OpenSSL's name of a suite we speak.
pub fn openssl_name(suite: CipherSuite) -> Option<&'static str> {
    ROWS.iter().find(|row| row.suite == suite).map(|row| row.openssl)
}

fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let row = ROWS.iter().find(|row| {
        row.java.eq_ignore_ascii_case(name)
            || row.openssl.eq_ignore_ascii_case(name)
            || row.registry.is_some_and(|registry| registry.eq_ignore_ascii_case(name))
    })?;
    aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().find(|suite| suite.suite() == row.suite)
}

/// Whether `name` has the form of a suite's name, so that leaving it out is no mistake of the operator's.
fn is_suite_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let plain = upper.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let java = ["TLS_", "SSL_"].iter().any(|prefix| upper.starts_with(prefix));
    let openssl = ["ECDHE-", "DHE-", "ECDH-", "AES128-", "AES256-", "CAMELLIA", "DES-", "RC4-", "PSK-"]
        .iter()
        .any(|prefix| upper.starts_with(prefix));
    plain && (java || openssl)
}

struct Row {
    /// As Java and the registry write it.
    java: &'static str,
    openssl: &'static str,
    /// Another name in use.
    registry: Option<&'static str>,
    suite: CipherSuite,
}

const fn row(java: &'static str, openssl: &'static str, suite: CipherSuite) -> Row {
    Row { java, openssl, registry: None, suite }
}

const ROWS: [Row; 9] = [
    row("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    row("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    row(
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    row(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    row(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    Row {
        java: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        registry: Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"),
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    row(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    row(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    Row {
        java: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        registry: Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_there_is_has_its_names() {
        assert_eq!(ROWS.len(), aws_lc_rs::ALL_CIPHER_SUITES.len());
        for row in &ROWS {
            for name in [row.java, row.openssl, &row.java.to_lowercase()] {
                assert_eq!(suite(name).map(|suite| suite.suite()), Some(row.suite), "{name}");
            }
        }
    }

    #[test]
    fn what_java_knows_and_we_do_not_speak_is_left_out() {
        let kept = parse(
            "TLS_RSA_WITH_AES_128_CBC_SHA, ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256",
        );
        let kept: Vec<_> = kept.expect("some are left").iter().map(SupportedCipherSuite::suite).collect();
        let wanted =
            [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_128_GCM_SHA256];
        assert_eq!(kept, wanted);
        assert!(parse("").expect("unset").is_empty());
        let none = parse("TLS_RSA_WITH_AES_128_CBC_SHA").expect_err("none is left");
        assert!(
            none.starts_with("names no suite that is spoken (TLS_RSA_WITH_AES_128_CBC_SHA are not); the")
        );
        assert!(parse("HIGH:!aNULL").expect_err("an expression").starts_with("names HIGH, which is no"));
    }

    #[test]
    fn no_post_quantum_unless_asked_for() {
        let names = |post_quantum| -> Vec<_> {
            provider(&[], post_quantum).kx_groups.iter().map(|group| group.name()).collect()
        };
        use rustls::NamedGroup as G;
        assert_eq!(names(false), [G::X25519, G::secp256r1, G::secp384r1]);
        assert_eq!(names(true), [G::X25519MLKEM768, G::X25519, G::secp256r1, G::secp384r1]);
    }
}
