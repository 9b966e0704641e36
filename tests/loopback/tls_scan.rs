//! The listener before the eyes of testssl.sh: nothing of medium severity or worse.

use crate::pki::{KeyKind, Order};
use crate::process::Proxy;
use crate::tls::{World, here, start, text};
use std::fs;
use std::process::{Command, Stdio};

/// What has to do with our authority, whom nobody knows and who keeps no lists; not with the listener.
const EXCEPTED: &[&str] = &["cert_chain_of_trust", "cert_revocation"];

/// One line of the report.
struct Finding {
    id: String,
    severity: String,
    text: String,
}

/// A listener that shows an RSA and an EC certificate, each with its chain.
fn listener(world: &World) -> Proxy {
    let rsa = world.pki.issue(&world.middle, &Order::key(here(), KeyKind::Rsa(2048)));
    let stores =
        [world.pkcs12("rsa", &[&rsa, &world.middle]), world.pkcs12("ec", &[&world.server, &world.middle])];
    let keys = world.join("keys.p12", "PKCS12", &stores.each_ref().map(std::path::PathBuf::as_path));
    start(&keys, &world.root.certificate, &["server.ssl.client-auth=want"])
}

/// Runs the checks that `options` name.
fn scan(options: &[&str]) -> Vec<Finding> {
    let world = World::new();
    let proxy = listener(&world);
    let report = world.folder.path("report.json");
    let done = Command::new("timeout")
        .args(["240", "testssl", "--quiet", "--color", "0", "--warnings", "off", "--fast"])
        .args(["--ip", "127.0.0.1", "-n", "none", "--add-ca", text(&world.root.certificate)])
        .arg("--jsonfile")
        .arg(&report)
        .args(options)
        .arg(format!("localhost:{}", proxy.address.port()))
        .stdin(Stdio::null())
        .output()
        .expect("timeout runs");
    // Its status counts what it could not do, such as to look for ciphers that openssl has forgotten.
    assert_ne!(done.status.code(), Some(124), "{}", String::from_utf8_lossy(&done.stdout));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let report = fs::read_to_string(&report).unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    let value = |part: &str, name: &str| {
        let line = part.lines().find(|line| line.trim_start().starts_with(&format!("\"{name}\"")))?;
        let (_, value) = line.split_once(": \"")?;
        Some(value[..value.rfind('"')?].to_owned())
    };
    let finding = |part| {
        let (id, severity) = (value(part, "id")?, value(part, "severity")?);
        Some(Finding { id, severity, text: value(part, "finding")? })
    };
    let findings: Vec<Finding> = report.split('}').filter_map(finding).collect();
    let bad = |found: &&Finding| {
        let name = found.id.split(' ').next().unwrap_or_default();
        !matches!(found.severity.as_str(), "OK" | "INFO" | "LOW" | "WARN" | "DEBUG")
            && !EXCEPTED.contains(&name)
    };
    let bad: Vec<String> = findings
        .iter()
        .filter(bad)
        .map(|found| format!("{} {}: {}", found.severity, found.id, found.text))
        .collect();
    assert_eq!(bad, Vec::<String>::new(), "{said}");
    assert_eq!(findings.last().map(|found| found.id.as_str()), Some("scanTime"), "{said}");
    findings
}

/// That it was looked at and how it came out.
#[track_caller]
fn found(findings: &[Finding], id: &str, expected: &str) {
    let found = findings.iter().find(|found| found.id == id).map(|found| found.text.as_str());
    assert!(found.is_some_and(|found| found.starts_with(expected)), "{id}: {found:?}");
}

#[test]
fn protocols_suites_and_certificates_are_sound() {
    let findings = scan(&["-p", "-s", "-P", "-S"]);
    for old in
        ["SSLv2", "SSLv3", "TLS1", "TLS1_1", "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT"]
    {
        found(&findings, old, "not offered");
    }
    for old in ["cipherlist_LOW", "cipherlist_3DES_IDEA", "cipherlist_AVERAGE"] {
        found(&findings, old, "not offered");
    }
    found(&findings, "TLS1_2", "offered");
    found(&findings, "TLS1_3", "offered");
    found(&findings, "cipher_order", "server");
    found(&findings, "cert_numbers", "2");
}

#[test]
fn known_attacks_fail() {
    let findings = scan(&["-U"]);
    for attack in ["heartbleed", "CCS", "ticketbleed", "secure_client_renego", "CRIME_TLS", "POODLE_SSL"] {
        found(&findings, attack, "not vulnerable");
    }
    for attack in ["SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13"] {
        found(&findings, attack, "not vulnerable");
    }
    found(&findings, "secure_renego", "supported");
}

#[test]
fn odd_hellos_are_borne_and_secrecy_is_forward() {
    let findings = scan(&["-g", "-f"]);
    found(&findings, "GREASE", "No bugs found");
    found(&findings, "PFS", "offered");
}
