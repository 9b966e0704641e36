//! Damaged stores: thousands of mutations of each format, the same in every run. Nothing panics.

#[path = "stores/workshop.rs"]
mod workshop;

use apim_proxy::keystore::{self, Passwords};
use workshop::{NOW_MS, PASSWORD, bytes, certificate, folder, pki, run};

/// A small generator that gives the same numbers in every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// `bytes` with a few flipped, overwritten, removed, repeated or cut off.
    fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0..3 => bytes[at] ^= 1 << self.below(8),
                3..5 => bytes[at] = [0, 1, 0x7f, 0x80, 0x84, 0xff, 0x30, 4][self.below(8)],
                5 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                6 => bytes.insert(at, self.below(256) as u8),
                _ => bytes.truncate(at.max(8)),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        bytes
    }
}

/// No mutation panics, whatever is asked of it.
fn mutate(name: &str, bytes: &[u8], rounds: usize) {
    let (mut random, root) = (Xorshift(0x9e37_79b9_7f4a_7c15), certificate("root.pem"));
    for _ in 0..rounds {
        let mutated = random.mutated(bytes);
        let _ = keystore::read(&mutated, &Passwords { store: Some(PASSWORD), key: None });
        // Without the store's password a JKS store is not verified, so that its keys are reached.
        let _ = keystore::read(&mutated, &Passwords { store: None, key: Some(PASSWORD) });
        let _ = keystore::read_trust(&mutated, None);
        let _ = keystore::list::list(&mutated, Some(PASSWORD), 0);
        let _ = keystore::with_trusted(&mutated, Some(PASSWORD), "client", &root, NOW_MS);
    }
    assert!(
        keystore::read(bytes, &Passwords { store: Some(PASSWORD), key: None }).is_ok(),
        "{name} itself is read"
    );
}

#[test]
fn no_mutation_panics() {
    let (folder, pki) = (folder("mutations"), pki());
    // Without a MAC and with one iteration, mutations get to the innermost parsers.
    let export = format!("openssl pkcs12 -export -name client -iter 1 -nomac -passout pass:{PASSWORD}");
    for (name, options) in [("pbes2", ""), ("pbes1", "-legacy"), ("plain", "-keypbe NONE -certpbe NONE")] {
        let path = folder.join(name);
        run(
            pki,
            &format!(
                "{export} -inkey ec.key -in ec.pem -certfile chain.pem {options} -out {}",
                path.display()
            ),
        );
        mutate(name, &bytes(&folder, name), 3000);
    }
    run(
        &folder,
        &format!(
            "keytool -genkeypair -keyalg EC -alias a -dname CN=a -keystore jks -storetype JKS -storepass {PASSWORD}"
        ),
    );
    mutate("JKS", &bytes(&folder, "jks"), 5000);
    mutate("with a MAC", &bytes(pki, "rsa.p12"), 300);
    run(
        &folder,
        &format!(
            "openssl pkcs8 -topk8 -iter 1 -passout pass:{PASSWORD} -in {}/ec.key -out sealed.pem",
            pki.display()
        ),
    );
    let pem =
        [bytes(&folder, "sealed.pem"), bytes(pki, "chain.pem"), bytes(pki, "ec.pem"), bytes(pki, "ec.key")]
            .concat();
    mutate("PEM", &pem, 3000);
}
