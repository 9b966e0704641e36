//! Stores as operators have them: made by the real keytool and openssl, read here, changed here, and read again by
//! those two.

#[path = "stores/workshop.rs"]
mod workshop;

use apim_proxy::keystore::{self, Kind, Passwords, Store};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use workshop::{NOW_MS, PASSWORD, bytes, certificate, folder, pki, run};

/// Each entry in a line: certificates by the name of the file that holds them, keys by whether rustls can sign with them.
fn entries(store: &Store) -> Vec<String> {
    let known: BTreeMap<Vec<u8>, &str> =
        ["root", "ca", "rsa", "ec"].map(|name| (certificate(&format!("{name}.pem")).to_vec(), name)).into();
    let name = |certificate: &CertificateDer<'_>| *known.get(certificate.as_ref()).unwrap_or(&"?");
    let keys = store.keys.iter().map(|entry| {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&entry.key);
        let kind = key.map_or("useless".to_owned(), |key| format!("{:?}", key.algorithm()));
        let chain: Vec<_> = entry.chain.iter().map(name).collect();
        format!("{}: {kind} key, {}", entry.alias, chain.join(" < "))
    });
    let trusted = store.trusted.iter().map(|entry| format!("{}: {}", entry.alias, name(&entry.certificate)));
    keys.chain(trusted).collect()
}

fn read(bytes: &[u8], store: &str, key: Option<&str>) -> Result<Vec<String>, String> {
    keystore::read(bytes, &Passwords { store: Some(store), key }).map(|store| entries(&store))
}

fn trusted(bytes: &[u8], password: Option<&str>) -> Result<Vec<String>, String> {
    keystore::read_trust(bytes, password).map(|store| entries(&store))
}

/// What keytool lists: alias and type of each entry, sorted.
fn keytool_list(folder: &Path, file: &str, password: &str) -> Vec<String> {
    let text = run(folder, &format!("keytool -list -keystore {file} -storepass {password}"));
    let entry = |line: &str| {
        let kind = ["PrivateKeyEntry", "trustedCertEntry", "SecretKeyEntry"];
        let kind = kind.into_iter().find(|kind| line.trim_end().ends_with(&format!(", {kind},")))?;
        Some(format!("{} {kind}", line.split(',').next().unwrap_or_default()))
    };
    let mut entries: Vec<String> = text.lines().filter_map(entry).collect();
    entries.sort();
    entries
}

/// The store with `root.pem` under `alias`, written beside it.
fn plant(folder: &Path, file: &str, password: Option<&str>, alias: &str) -> Vec<u8> {
    let changed =
        keystore::with_trusted(&bytes(folder, file), password, alias, &certificate("root.pem"), NOW_MS);
    let changed = changed.expect("the store can be changed");
    fs::write(folder.join(format!("new-{file}")), &changed).expect("written");
    changed
}

const WRONG: &str = "the password is wrong or the store is damaged";

#[test]
fn jks_of_keytool() {
    let (folder, pki) = (folder("jks"), pki().display());
    let jks = format!("-keystore a.jks -storetype JKS -storepass {PASSWORD}");
    for line in [
        format!(
            "-importkeystore -srckeystore {pki}/rsa.p12 -srcstorepass {PASSWORD} -destkeystore a.jks -deststoretype JKS \
                 -deststorepass {PASSWORD} -destkeypass of-the-key -srcalias client"
        ),
        format!("-genkeypair -keyalg EC -alias own -dname CN=own -keypass of-the-key {jks}"),
        format!("-importcert -noprompt -alias 한국은행 -file {pki}/ca.pem {jks}"),
    ] {
        run(&folder, &format!("keytool {line}"));
    }
    let store = bytes(&folder, "a.jks");
    // keytool keeps entries in a hash table.
    let sorted = |entries: Result<Vec<String>, String>| {
        entries.map(|mut entries| {
            entries.sort();
            entries
        })
    };
    let keys = ["client: RSA key, rsa < ca < root", "own: ECDSA key, ?", "한국은행: ca"].map(str::to_owned);
    assert_eq!(sorted(read(&store, PASSWORD, Some("of-the-key"))), Ok(keys.to_vec()));
    assert_eq!(read(&store, "wrong", Some("of-the-key")), Err(WRONG.to_owned()));
    let wrong_key = read(&store, PASSWORD, None).expect_err("the keys have another password");
    assert!(
        wrong_key.starts_with("the key ")
            && wrong_key.ends_with(" cannot be decrypted: its password is wrong")
    );

    let anchors = ["client: rsa", "own: ?", "한국은행: ca"].map(str::to_owned).to_vec();
    assert_eq!(sorted(trusted(&store, None)), Ok(anchors.clone()));
    assert_eq!(sorted(trusted(&store, Some(PASSWORD))), Ok(anchors));
    assert_eq!(trusted(&store, Some("wrong")), Err(WRONG.to_owned()));

    let changed = plant(&folder, "a.jks", Some(PASSWORD), "A.Bank.example");
    assert!(changed.windows(500).any(|window| window == &store[12..512]), "entries are copied");
    let kept =
        ["a.bank.example: root", "client: RSA key, rsa < ca < root", "own: ECDSA key, ?", "한국은행: ca"];
    assert_eq!(sorted(read(&changed, PASSWORD, Some("of-the-key"))), Ok(kept.map(str::to_owned).to_vec()));
    let listed = [
        "a.bank.example trustedCertEntry",
        "client PrivateKeyEntry",
        "own PrivateKeyEntry",
        "한국은행 trustedCertEntry",
    ];
    assert_eq!(keytool_list(&folder, "new-a.jks", PASSWORD), listed);
    // The key still works for Java.
    run(
        &folder,
        &format!(
            "keytool -importkeystore -srckeystore new-a.jks -srcstorepass {PASSWORD} -srckeypass of-the-key -srcalias client \
         -destkeystore copy.p12 -deststorepass {PASSWORD} -destkeypass {PASSWORD}"
        ),
    );
    assert_eq!(read(&bytes(&folder, "copy.p12"), PASSWORD, None), Ok(vec![keys[0].clone()]));
    let taken = keystore::with_trusted(&store, Some(PASSWORD), "OWN", &certificate("root.pem"), NOW_MS);
    assert_eq!(taken, Err("the alias own names a private key".to_owned()));
}

#[test]
fn a_password_in_korean() {
    let folder = folder("korean");
    run(
        &folder,
        "keytool -genkeypair -keyalg EC -alias 은행 -dname CN=은행 -keystore a.jks -storetype JKS -storepass 비밀번호입니다",
    );
    let store = bytes(&folder, "a.jks");
    assert_eq!(read(&store, "비밀번호입니다", None), Ok(vec!["은행: ECDSA key, ?".to_owned()]));
    plant(&folder, "a.jks", Some("비밀번호입니다"), "은행2");
    let listed = ["은행 PrivateKeyEntry", "은행2 trustedCertEntry"];
    assert_eq!(keytool_list(&folder, "new-a.jks", "비밀번호입니다"), listed);
}

#[test]
fn what_is_no_store_is_refused_with_the_way_out() {
    let folder = folder("refused");
    run(
        &folder,
        &format!(
            "keytool -genkeypair -keyalg EC -alias a -dname CN=a -keystore a.jceks -storetype JCEKS -storepass {PASSWORD}"
        ),
    );
    run(&folder, &format!("openssl x509 -in {}/rsa.pem -outform der -out a.der", pki().display()));
    let said = |bytes: &[u8]| keystore::read_trust(bytes, Some(PASSWORD)).map(|_| ()).expect_err("refused");
    assert_eq!(
        said(&bytes(&folder, "a.jceks")),
        "it is a JCEKS store, which is not supported; keytool -importkeystore -srckeystore OLD -srcstoretype JCEKS \
         -destkeystore NEW -deststoretype PKCS12 converts it"
    );
    assert_eq!(
        said(&bytes(&folder, "a.der")),
        "it is a single certificate or key in DER; openssl x509 -inform der -in OLD -out NEW makes a certificate PEM, \
         openssl pkey -inform der -in OLD -out NEW a key"
    );
    assert_eq!(said(b""), "the file is empty");
    assert_eq!(said(b"PK\x03\x04"), "it is neither JKS nor PKCS12 nor PEM");
}

/// A key, its chain, a trusted certificate and a secret key, as keytool writes them with `options`; then changed.
fn pkcs12_of_keytool(test: &str, options: &str, secret: bool) {
    let (folder, pki) = (folder(test), pki().display());
    let store = format!("-keystore a.p12 -storetype PKCS12 -storepass {PASSWORD} {options}");
    run(
        &folder,
        &format!(
            "keytool -importkeystore -srckeystore {pki}/rsa.p12 -srcstorepass {PASSWORD} -destkeystore a.p12 \
         -deststoretype PKCS12 -deststorepass {PASSWORD} -srcalias client {options}"
        ),
    );
    run(&folder, &format!("keytool -importcert -noprompt -alias b.bank.example -file {pki}/ec.pem {store}"));
    let mut kinds = vec!["b.bank.example trustedCertEntry", "client PrivateKeyEntry"];
    if secret {
        run(&folder, &format!("keytool -genseckey -keyalg AES -keysize 256 -alias secret {store}"));
        kinds.push("secret SecretKeyEntry");
    }
    kinds.push("한국은행 trustedCertEntry");
    let store = bytes(&folder, "a.p12");
    let found = keystore::read(&store, &Passwords { store: Some(PASSWORD), key: None }).expect("read");
    assert_eq!(found.kind, Kind::Pkcs12);
    assert_eq!(entries(&found), ["client: RSA key, rsa < ca < root", "b.bank.example: ec"]);
    let notes: &[&str] = if secret { &["the secret key secret is passed over"] } else { &[] };
    assert_eq!(found.notes, notes);
    assert_eq!(read(&store, "wrong", None), Err(WRONG.to_owned()));
    assert_eq!(trusted(&store, None), Err("the store is encrypted: its password is needed".to_owned()));
    let mut anchors = trusted(&store, Some(PASSWORD)).expect("read");
    anchors.sort();
    assert_eq!(anchors, ["b.bank.example: ec", "client: rsa"]);

    // A new entry, then one that keytool wrote, replaced; then one of our own.
    fs::rename(folder.join("a.p12"), folder.join("old.p12")).expect("renamed");
    plant(&folder, "old.p12", Some(PASSWORD), "한국은행");
    plant(&folder, "new-old.p12", Some(PASSWORD), "B.bank.example");
    let changed = plant(&folder, "new-new-old.p12", Some(PASSWORD), "한국은행");
    let kept = ["client: RSA key, rsa < ca < root", "b.bank.example: root", "한국은행: root"];
    assert_eq!(read(&changed, PASSWORD, None), Ok(kept.map(str::to_owned).to_vec()));
    assert_eq!(keytool_list(&folder, "new-new-new-old.p12", PASSWORD), kinds);
    let legacy = if options.contains("legacy") { "-legacy" } else { "" };
    let key = run(
        &folder,
        &format!("openssl pkcs12 -in new-new-new-old.p12 -passin pass:{PASSWORD} -nodes -nocerts {legacy}"),
    );
    assert!(key.contains("BEGIN PRIVATE KEY"), "{key}");
    let taken = keystore::with_trusted(&store, Some(PASSWORD), "CLIENT", &certificate("root.pem"), NOW_MS);
    assert_eq!(taken, Err("the alias client names a private key".to_owned()));
}

#[test]
fn pkcs12_of_java_17() {
    pkcs12_of_keytool("java17", "", true);
}

#[test]
fn pkcs12_of_java_8() {
    pkcs12_of_keytool("java8", "-J-Dkeystore.pkcs12.legacy", false);
}

#[test]
fn pkcs12_without_a_password() {
    let (folder, pki) = (folder("passwordless"), pki().display());
    run(
        &folder,
        &format!(
            "keytool -importcert -noprompt -alias a -file {pki}/ca.pem -keystore a.p12 -storetype PKCS12 -storepass {PASSWORD} \
         -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -J-Dkeystore.pkcs12.macAlgorithm=NONE"
        ),
    );
    let store = bytes(&folder, "a.p12");
    for password in [None, Some(""), Some("anything")] {
        assert_eq!(trusted(&store, password), Ok(vec!["a: ca".to_owned()]));
    }
    plant(&folder, "a.p12", None, "a");
    let changed = plant(&folder, "new-a.p12", None, "b");
    assert_eq!(trusted(&changed, None), Ok(vec!["a: root".to_owned(), "b: root".to_owned()]));
    assert_eq!(
        keytool_list(&folder, "new-new-a.p12", PASSWORD),
        ["a trustedCertEntry", "b trustedCertEntry"]
    );
}

#[test]
fn pkcs12_of_openssl() {
    let (folder, pki) = (folder("openssl"), pki().display());
    let export =
        format!("openssl pkcs12 -export -inkey {pki}/rsa.key -in {pki}/rsa.pem -certfile {pki}/chain.pem");
    for (name, options) in [
        ("default", "-name Client"),
        ("legacy", "-name Client -legacy"),
        ("plain", "-name Client -keypbe NONE -certpbe NONE -nomac"),
        ("aes", "-name Client -keypbe aes-128-cbc -certpbe aes-256-cbc -macalg sha512 -iter 5000"),
        ("sha1", "-name Client -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1"),
    ] {
        run(&folder, &format!("{export} {options} -passout pass:{PASSWORD} -out {name}.p12"));
        let store = bytes(&folder, &format!("{name}.p12"));
        let expected = vec!["client: RSA key, rsa < ca < root".to_owned()];
        assert_eq!(read(&store, PASSWORD, None), Ok(expected.clone()), "{name}");
        assert_eq!(read(&store, PASSWORD, Some("another")), Ok(expected), "{name}");
        plant(&folder, &format!("{name}.p12"), Some(PASSWORD), "a");
        // openssl checks the MAC and finds the new certificate.
        let legacy = if name == "legacy" { "-legacy" } else { "" };
        let said = run(
            &folder,
            &format!("openssl pkcs12 -in new-{name}.p12 -passin pass:{PASSWORD} -nodes {legacy}"),
        );
        assert_eq!(said.matches("-----BEGIN").count(), 5, "{name}: {said}");
    }
    run(&folder, &format!("{export} -passout pass:{PASSWORD} -out nameless.p12"));
    let nameless = vec!["1: RSA key, rsa < ca < root".to_owned()];
    assert_eq!(read(&bytes(&folder, "nameless.p12"), PASSWORD, None), Ok(nameless));
    assert_eq!(keytool_list(&folder, "nameless.p12", PASSWORD), ["1 PrivateKeyEntry"]);

    run(
        &folder,
        &format!(
            "openssl pkcs12 -export -nokeys -in {pki}/chain.pem -passout pass:{PASSWORD} -out trust.p12"
        ),
    );
    let unmarked = keystore::read_trust(&bytes(&folder, "trust.p12"), Some(PASSWORD)).expect("read");
    assert!(unmarked.trusted.is_empty());
    let note = |name: &str| {
        format!("the certificate {name} is not trusted: it lacks Java's mark; keytool -importcert sets it")
    };
    assert_eq!(unmarked.notes, [note("CN=Root"), note("C=KR, O=은행, CN=CA")]);
}

#[test]
fn pem_files() {
    let (folder, pki) = (folder("pem"), pki());
    let text = |name: &str| fs::read_to_string(pki.join(name)).expect("made above");
    let path = pki.display();
    for (key, name, options, kind) in [
        ("rsa", "pkcs8", "pkcs8 -topk8 -nocrypt", "PRIVATE KEY"),
        ("rsa", "pkcs1", "rsa -traditional", "RSA PRIVATE KEY"),
        ("ec", "sec1", "ec", "EC PRIVATE KEY"),
        ("rsa", "aes", "pkcs8 -topk8 -passout pass:changeit", "ENCRYPTED PRIVATE KEY"),
        (
            "rsa",
            "3des",
            "pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1 -passout pass:changeit",
            "ENCRYPTED PRIVATE KEY",
        ),
        ("ec", "scrypt", "pkcs8 -topk8 -scrypt -passout pass:changeit", "ENCRYPTED PRIVATE KEY"),
        ("ec", "v1", "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:changeit", "ENCRYPTED PRIVATE KEY"),
    ] {
        run(&folder, &format!("openssl {options} -in {path}/{key}.key -out {name}.pem"));
        let block = String::from_utf8(bytes(&folder, &format!("{name}.pem"))).expect("PEM is text");
        assert!(block.contains(&format!("-----BEGIN {kind}-----")), "{block}");
        // Key and chain together, in an order of no help.
        let file =
            [text("root.pem"), text("ec.pem"), block.clone(), text("ca.pem"), text("rsa.pem")].concat();
        let expected = match key {
            "rsa" => ["3: RSA key, rsa < ca < root", "2: ec"].map(str::to_owned).to_vec(),
            _ => ["3: ECDSA key, ec < root", "4: ca", "5: rsa"].map(str::to_owned).to_vec(),
        };
        assert_eq!(read(file.as_bytes(), PASSWORD, None), Ok(expected), "{name}");
        let alone = if key == "rsa" { "1: RSA key, " } else { "1: ECDSA key, " };
        assert_eq!(read(block.as_bytes(), "x", Some(PASSWORD)), Ok(vec![alone.to_owned()]), "{name}");
        let all = ["1: root", "2: ec", "4: ca", "5: rsa"].map(str::to_owned).to_vec();
        assert_eq!(trusted(file.as_bytes(), None), Ok(all), "{name}");
        if kind == "ENCRYPTED PRIVATE KEY" {
            let sentence = format!("the key 1 cannot be decrypted: {WRONG}");
            assert_eq!(read(block.as_bytes(), "wrong", None), Err(sentence), "{name}");
        }
    }
    run(
        &folder,
        &format!("openssl rsa -traditional -des3 -passout pass:changeit -in {path}/rsa.key -out old.pem"),
    );
    let sentence = "its key is encrypted as openssl did long ago (Proc-Type: 4,ENCRYPTED); \
                    openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW converts it";
    assert_eq!(read(&bytes(&folder, "old.pem"), PASSWORD, None), Err(sentence.to_owned()));
    // The sentence is right.
    run(
        &folder,
        "openssl pkcs8 -topk8 -v2 aes-256-cbc -in old.pem -out new.pem -passin pass:changeit -passout pass:changeit",
    );
    assert_eq!(read(&bytes(&folder, "new.pem"), PASSWORD, None), Ok(vec!["1: RSA key, ".to_owned()]));

    fs::write(folder.join("trust.pem"), text("chain.pem")).expect("written");
    let changed = plant(&folder, "trust.pem", None, "A.bank.example");
    let expected = ["1: root", "2: ca", "a.bank.example: root"].map(str::to_owned).to_vec();
    assert_eq!(trusted(&changed, None), Ok(expected));
    assert_eq!(
        String::from_utf8_lossy(&changed),
        format!("{}# alias: a.bank.example\n{}", text("chain.pem"), text("root.pem"))
    );
}

#[test]
fn the_systems_own_authorities() {
    let Ok(store) = fs::read("/etc/ssl/certs/java/cacerts") else { return };
    let listed = run(
        Path::new("/"),
        &format!("keytool -list -keystore /etc/ssl/certs/java/cacerts -storepass {PASSWORD}"),
    );
    let read = keystore::read_trust(&store, Some(PASSWORD)).expect("read");
    let expected = format!("Your keystore contains {} entries", read.trusted.len());
    assert!(listed.contains(&expected), "{expected}");
}

/// Runs `apim-proxy keystore list`; standard output and error, and the status.
fn list(folder: &Path, words: &[&str], password: Option<&str>) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apim-proxy"));
    command
        .args(["keystore", "list"])
        .args(words)
        .current_dir(folder)
        .env_remove("APIM_PROXY_STORE_PASSWORD");
    if let Some(password) = password {
        command.env("APIM_PROXY_STORE_PASSWORD", password);
    }
    let output = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn the_list_for_people() {
    let (folder, pki) = (folder("list"), pki());
    let fingerprint = |name: &str| {
        let said = run(pki, &format!("openssl x509 -in {name} -noout -fingerprint -sha256"));
        said.trim().split_once('=').expect("name and value").1.to_owned()
    };
    let shown = list(pki, &["rsa.p12"], Some(PASSWORD));
    // Dates differ from run to run.
    let undated: Vec<String> =
        shown.0.lines().map(|line| line.replace(|c: char| c.is_ascii_digit(), "0")).collect();
    let valid = |days: &str| format!("valid         0000-00-00 to 0000-00-00, {days} days left");
    let zeros = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    let expected = [
        "PKCS00, 0 entry".to_owned(),
        String::new(),
        "alias         client".to_owned(),
        "type          private key".to_owned(),
        "certificate   0 of 0".to_owned(),
        "subject       C=KR, O=은행, serialNumber=000000-0000000, CN=a.bank.example".to_owned(),
        "SERIALNUMBER  000000-0000000".to_owned(),
        "issuer        C=KR, O=은행, CN=CA".to_owned(),
        "names         DNS a.bank.example, IP 000.0.0.0, mail a@bank.example".to_owned(),
        valid("000"),
        format!("SHA-000       {}", zeros(&fingerprint("rsa.pem"))),
        "certificate   0 of 0".to_owned(),
        "subject       C=KR, O=은행, CN=CA".to_owned(),
        "issuer        CN=Root".to_owned(),
        valid("0000"),
        format!("SHA-000       {}", zeros(&fingerprint("ca.pem"))),
        "certificate   0 of 0".to_owned(),
        "subject       CN=Root".to_owned(),
        "issuer        CN=Root".to_owned(),
        valid("0000"),
        format!("SHA-000       {}", zeros(&fingerprint("root.pem"))),
    ];
    assert_eq!(undated, expected);
    assert!(shown.0.contains(&fingerprint("rsa.pem")) && shown.0.contains("SERIALNUMBER  110111-1234567\n"));
    assert_eq!((shown.1.as_str(), shown.2), ("", Some(0)));

    let wrong = ("rsa.p12: the password is wrong or the store is damaged\n".to_owned(), Some(1));
    let said = list(pki, &["--password=wrong", "rsa.p12"], Some(PASSWORD));
    assert_eq!((said.1, said.2), wrong);
    let absent = list(&folder, &["absent.jks"], None);
    assert!(absent.1.starts_with("absent.jks: cannot be read: ") && absent.2 == Some(1), "{absent:?}");
}
