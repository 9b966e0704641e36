//! Certificates as peers really show them, each with its verdict, and each in a real handshake.
//!
//! The cases are those by which strict webpki and Java 17 were compared; what the product answers is written here.

#[allow(dead_code)] // other tests use the rest
#[path = "../pki/mod.rs"]
mod pki;

mod cases;
mod handshake;
mod hostile;
mod inbound;
mod pins;
mod rules;
mod stand;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use apim_proxy::tls::client_verify::{ClientVerifier, Demand};
use apim_proxy::tls::notes::Notes;
use apim_proxy::tls::refusal::{certificate_fault, refusal};
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::{ServerVerifier, Verification};
use cases::{Scene, Shower, scene};
use handshake::{VERSIONS, provider};
use pki::{Order, Pki};
use rustls::Error;

/// `case | strict | compat=java`: `ok`, or the code of the fault; `-` when the handshake fails for want of an
/// algorithm in common, which is not the certificate's fault. Clients are judged strictly always.
const TABLE: &str = "
    01-control                              | ok              | ok
    02-leaf-of-unknown-CA-in-trust          | ok              | ok
    02b-leaf-of-unknown-CA-not-in-trust     | tls_untrusted   | tls_untrusted
    03-selfsigned-leaf-CAfalse-in-trust     | ok              | ok
    04-selfsigned-CAtrue-as-server          | ok              | ok
    04b-selfsigned-CAtrue-noKU-as-server    | ok              | ok
    05-selfsigned-noBC-in-trust             | ok              | ok
    05b-selfsigned-v1-CN-only-in-trust      | ok              | ok
    06-v1-root                              | ok              | ok
    07-v1-leaf-CN-only                      | tls_certificate | ok
    08-expired-root                         | ok              | ok
    09-expired-leaf                         | tls_expired     | tls_expired
    10-expired-leaf-pinned                  | ok              | ok
    11-sha1-leaf                            | tls_certificate | ok
    11b-sha1-leaf-pinned                    | ok              | ok
    12-sha1-selfsigned-root                 | ok              | ok
    12b-sha1-intermediate                   | tls_certificate | ok
    13-rsa1024-leaf                         | tls_weak_key    | tls_weak_key
    13b-rsa1024-root                        | tls_certificate | ok
    14-CN-only-no-SAN                       | ok              | ok
    15-IP-SAN                               | ok              | ok
    16-IP-in-DNS-SAN                        | tls_hostname    | tls_hostname
    16b-IP-in-CN                            | tls_hostname    | tls_hostname
    17-wildcard                             | ok              | ok
    17b-wildcard-2-levels                   | tls_hostname    | tls_hostname
    17c-underscore-host                     | ok              | ok
    17d-trailing-dot-host                   | ok              | ok
    18-nameconstraint-ok                    | ok              | ok
    18b-nameconstraint-violated             | tls_certificate | tls_certificate
    18c-nameconstraint-in-root-violated     | tls_certificate | ok
    18d-nameconstraint-dirName-ok           | tls_certificate | ok
    19-noEKU-server                         | ok              | ok
    20-clientAuth-only-as-server            | tls_certificate | tls_certificate
    20b-clientAuth-only-as-server-pinned    | ok              | ok
    21-serverAuth-only-as-CLIENT            | tls_certificate | tls_certificate
    22-noEKU-as-CLIENT                      | ok              | ok
    22b-both-EKU-CLIENT-control             | ok              | ok
    22c-CLIENT-leaf-pinned                  | ok              | ok
    22d-CLIENT-selfsigned-pinned            | ok              | ok
    22e-CLIENT-v1-leaf                      | tls_certificate | tls_certificate
    22f-CLIENT-selfsigned-v1-pinned         | ok              | ok
    23-anyEKU-server                        | tls_certificate | ok
    23b-anyEKU-as-CLIENT                    | tls_certificate | tls_certificate
    24-intermediate-missing                 | tls_untrusted   | tls_untrusted
    24b-intermediate-as-anchor              | ok              | ok
    24c-chain-out-of-order                  | ok              | ok
    24d-extra-unrelated-certs               | ok              | ok
    24e-missing-intermediate-but-in-trust   | ok              | ok
    25-intermediate-noBC                    | tls_untrusted   | tls_untrusted
    25b-intermediate-v1                     | tls_untrusted   | tls_untrusted
    26-root-pathlen0-violated               | ok              | ok
    27-leaf-KU-keyEncipherment-only         | tls_certificate | tls_certificate
    27b-leaf-KU-nonRepudiation-only         | tls_certificate | tls_certificate
    28-unknown-critical-ext                 | tls_certificate | tls_certificate
    29-root-without-keyCertSign             | tls_untrusted   | tls_untrusted
    29b-root-CAfalse                        | tls_untrusted   | tls_untrusted
    30-leaf-CAtrue-issued-by-CA             | tls_certificate | ok
    31-leafkey-ed                           | ok              | ok
    31-leafkey-k1                           | -               | -
    31-leafkey-p384                         | ok              | ok
    31-leafkey-p521                         | ok              | ok
    31-leafkey-pss                          | -               | -
    31-leafkey-rsa4096                      | ok              | ok
    33-serial-24-bytes                      | ok              | ok
    33b-negative-serial                     | ok              | ok
    33c-zero-serial                         | ok              | ok
    37-SAN-otherName-only-CN-host           | ok              | ok
    38-SAN-upper-case                       | ok              | ok
    39-critical-certificatePolicies         | tls_certificate | ok
    40-two-roots-same-DN                    | ok              | ok
    41-not-yet-valid                        | tls_expired     | tls_expired
    42-with-CRLDP-and-OCSP                  | ok              | ok
";

/// The rows of the table.
fn rows() -> Vec<[&'static str; 3]> {
    let row = |line: &'static str| {
        let mut parts = line.split('|').map(str::trim);
        [(); 3].map(|()| parts.next().expect("three columns"))
    };
    TABLE.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

#[test]
fn every_case_has_its_verdict_in_a_real_handshake() {
    let rows = rows();
    assert_eq!(rows.len(), 72);
    let (pki, next, wrong) = (Pki::new(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some([case, strict, java]) = rows.get(next.fetch_add(1, Relaxed)) {
            let scene = scene(&pki, case);
            for (compat_java, expected) in [(false, strict), (true, java)] {
                for seen in verdicts(&pki, &scene, compat_java) {
                    if seen.split(' ').next() != Some(expected) {
                        let rules = if compat_java { "java" } else { "strict" };
                        let line = format!("{case} ({rules}): {seen}, not {expected}");
                        wrong.lock().expect("no test panics with it").push(line);
                    }
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let mut wrong = wrong.into_inner().expect("no test panics with it");
    wrong.sort();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The code of each handshake of a scene, and the refusal itself.
fn verdicts(pki: &Pki, scene: &Scene, compat_java: bool) -> Vec<String> {
    let entries = scene.trust.iter().map(|(alias, issued)| ((*alias).to_owned(), issued.der()));
    let trust = Arc::new(Trust::new(entries));
    let notes = Arc::new(Notes::default());
    let verification = Verification { compat_java, ..Verification::default() };
    let targets = ServerVerifier::new(Arc::clone(&trust), verification, &provider(), &notes);
    let verdict = |version| match scene.by {
        Shower::Server => {
            handshake::of_server(handshake::client(Arc::clone(&targets), version), &scene.chain, scene.host)
        }
        Shower::OpenSsl => {
            handshake::of_openssl(handshake::client(Arc::clone(&targets), version), &scene.chain, scene.host)
        }
        Shower::Client => {
            let clients = ClientVerifier::new(Arc::clone(&trust), Demand::Need, &provider(), &notes);
            let own = pki.self_signed(&Order::server("localhost"));
            let own_trust = Trust::new([("own".to_owned(), own.der())]);
            let trusting =
                ServerVerifier::new(Arc::new(own_trust), Verification::default(), &provider(), &notes);
            handshake::of_client(clients, trusting, &[own], Some(&scene.chain), version)
        }
    };
    VERSIONS.map(verdict).into_iter().map(|verdict| code(&verdict)).collect()
}

fn code(verdict: &Result<(), Error>) -> String {
    match verdict {
        Ok(()) => "ok".to_owned(),
        Err(error) => match certificate_fault(error) {
            Some(what) => format!("{} ({:?})", what.code(), refusal(error)),
            None => format!("- ({error})"),
        },
    }
}
