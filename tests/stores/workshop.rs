//! Where the tests make their stores: folders, commands, and the certificates and keys all stores are made of.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The password of every store that has no reason for another.
pub const PASSWORD: &str = "changeit";
/// 2026-01-01, for the dates of entries.
pub const NOW_MS: u64 = 1_767_225_600_000;

/// A folder of this test; what an earlier run left is gone.
pub fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder can be made");
    folder
}

/// Runs a command in `folder`; words are parted by blanks.
pub fn run(folder: &Path, line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    // A small JVM starts in half the time.
    let java: &[&str] =
        if program == "keytool" { &["-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en"] } else { &[] };
    let output = Command::new(program)
        .args(java)
        .args(words)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Certificates and keys, made once for a test binary: a root, an authority below it, an RSA client and an EC client.
pub fn pki() -> &'static Path {
    static PKI: OnceLock<PathBuf> = OnceLock::new();
    PKI.get_or_init(|| {
        let folder = folder("pki");
        let ca = "-addext basicConstraints=critical,CA:TRUE";
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let names = "-addext subjectAltName=DNS:a.bank.example,IP:192.0.2.1,email:a@bank.example";
        for line in [
            format!("req -x509 {ec} -keyout root.key -out root.pem -subj /CN=Root -days 3650 {ca}"),
            format!("req -x509 {ec} -keyout ca.key -out ca.pem -subj /C=KR/O=은행/CN=CA -days 3650 {ca} -CA root.pem -CAkey root.key"),
            format!("req -x509 -newkey rsa:2048 -nodes -keyout rsa.key -out rsa.pem -days 400 {names} -CA ca.pem \
                     -CAkey ca.key -subj /C=KR/O=은행/serialNumber=110111-1234567/CN=a.bank.example"),
            format!("req -x509 {ec} -keyout ec.key -out ec.pem -subj /CN=ec -days 400 -CA root.pem -CAkey root.key"),
        ] {
            run(&folder, &format!("openssl {line} -utf8"));
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("made above");
        fs::write(folder.join("chain.pem"), [read("root.pem"), read("ca.pem")].concat()).expect("written");
        let export = "openssl pkcs12 -export -name Client -inkey rsa.key -in rsa.pem -certfile chain.pem";
        run(&folder, &format!("{export} -passout pass:{PASSWORD} -out rsa.p12"));
        folder
    })
}

/// The certificate in a PEM file of [`pki`].
pub fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(pki().join(name)).expect("openssl writes PEM")
}

/// The bytes of a file.
pub fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
