//! What the tests of TLS share: authorities, certificates and stores of one test, and the two ends of the `openssl`
//! command.

use crate::pki::{Issued, Order, Pki};
use crate::process::{Folder, Proxy, Running, output};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The password of every store.
pub const PASSWORD: &str = "changeit";

/// Both versions, by the option of the openssl command and by name.
pub const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

/// A request that needs no target: the answer says that one is missing, and the connection closes.
pub const ASK: &str = "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n";

/// The body of the answer to [`ASK`].
pub const TOLD: &str = "you have to include x-target-host header";

/// An authority with one below it, a server and a client of theirs, and a folder for stores.
pub struct World {
    pub pki: Pki,
    pub folder: Folder,
    pub root: Issued,
    pub middle: Issued,
    /// `localhost` and `127.0.0.1`, issued by `middle`.
    pub server: Issued,
    /// `CN=customer`, issued by `middle`.
    pub client: Issued,
    stores: Cell<usize>,
}

/// The order of a server that is reached as `localhost` or `127.0.0.1`.
pub fn here() -> Order {
    Order::server("localhost").with("subjectAltName=DNS:localhost,IP:127.0.0.1")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

impl World {
    pub fn new() -> Self {
        let pki = Pki::new();
        let root = pki.root("Root");
        let middle = pki.issue(&root, &Order::authority("Middle"));
        let server = pki.issue(&middle, &here());
        let client = pki.issue(&middle, &Order::client("customer"));
        Self { pki, folder: Folder::new(), root, middle, server, client, stores: Cell::new(0) }
    }

    /// The same server, issued by `root`: for origins that show one certificate only.
    pub fn server_of_root(&self) -> Issued {
        self.pki.issue(&self.root, &here())
    }

    /// A PKCS #12 file of one key with its chain, a new one each time.
    pub fn pkcs12(&self, alias: &str, chain: &[&Issued]) -> PathBuf {
        let number = self.stores.replace(self.stores.get() + 1);
        let path = self.folder.path(&format!("{alias}-{number}.p12"));
        let above = self.pki.pem(&format!("above-{alias}"), &chain[1..]);
        let mut command = Command::new("openssl");
        command.args(["pkcs12", "-export", "-name", alias, "-passout", &format!("pass:{PASSWORD}")]);
        command.arg("-inkey").arg(&chain[0].key).arg("-in").arg(&chain[0].certificate);
        if chain.len() > 1 {
            command.arg("-certfile").arg(above);
        }
        output(command.arg("-out").arg(&path));
        path
    }

    /// Every key of `stores` in one file of keytool's, `JKS` or `PKCS12`.
    pub fn join(&self, name: &str, kind: &str, stores: &[&Path]) -> PathBuf {
        let path = self.folder.path(name);
        for store in stores {
            keytool(&[
                "-importkeystore",
                "-noprompt",
                "-srckeystore",
                text(store),
                "-srcstorepass",
                PASSWORD,
                "-destkeystore",
                text(&path),
                "-deststorepass",
                PASSWORD,
                "-deststoretype",
                kind,
            ]);
        }
        path
    }

    /// A JKS of trusted certificates.
    pub fn trust_jks(&self, name: &str, entries: &[(&str, &Issued)]) -> PathBuf {
        let path = self.folder.path(name);
        for (alias, issued) in entries {
            keytool(&[
                "-importcert",
                "-noprompt",
                "-alias",
                alias,
                "-file",
                text(&issued.certificate),
                "-keystore",
                text(&path),
                "-storepass",
                PASSWORD,
                "-storetype",
                "JKS",
            ]);
        }
        path
    }

    /// A proxy that shows `server` with its chain and trusts `root`; listens through TLS.
    pub fn listener(&self, more: &[&str]) -> Proxy {
        let store = self.pkcs12("server", &[&self.server, &self.middle]);
        start(&store, &self.root.certificate, more)
    }

    /// A proxy that listens in plain text, shows `client` with its chain to targets and trusts `root`.
    pub fn towards_targets(&self, more: &[&str]) -> Proxy {
        let store = self.pkcs12("client", &[&self.client, &self.middle]);
        start(&store, &self.root.certificate, &[&["server.ssl.enabled=false"], more].concat())
    }

    /// An origin by `openssl s_server` that shows `chain`: it answers with a page about the connection.
    pub fn s_server(&self, chain: &[&Issued], words: &[&str]) -> (Running, String) {
        let above = self.pki.pem("above-s_server", &[&chain[1..], &[&self.root]].concat());
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www"]);
        command.arg("-key").arg(&chain[0].key).arg("-cert").arg(&chain[0].certificate);
        if chain.len() > 1 {
            command.arg("-cert_chain").arg(above);
        }
        let (process, line) = Running::announced(command.args(words).stderr(Stdio::null()), "ACCEPT ");
        let port = line.trim().rsplit(':').next().expect("it names its port");
        (process, format!("https://localhost:{port}"))
    }
}

/// A proxy with these stores; `more` may name others instead.
pub fn start(keys: &Path, trust: &Path, more: &[&str]) -> Proxy {
    let stores = [
        format!("server.ssl.key-store={}", keys.display()),
        format!("server.ssl.key-store-password={PASSWORD}"),
        format!("server.ssl.trust-store={}", trust.display()),
        "proxy.target.allow=127.0.0.1,localhost".to_owned(),
    ];
    Proxy::start(&[&stores.each_ref().map(String::as_str)[..], more].concat())
}

fn keytool(words: &[&str]) {
    output(Command::new("keytool").args(["-J-XX:TieredStopAtLevel=1", "-J-Duser.language=en"]).args(words));
}

/// What `openssl s_client` printed, both ways in one.
pub struct Said(pub String);

impl Said {
    /// The line that begins like this, without that.
    pub fn line(&self, start: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(start))
    }

    /// Lines between the one that is `from` and the one that begins with `to`.
    pub fn between(&self, from: &str, to: &str) -> Vec<&str> {
        let after = self.0.lines().skip_while(|line| *line != from).skip(1);
        after.take_while(|line| !line.starts_with(to)).collect()
    }

    /// `New, TLSv1.3`, `Reused, TLSv1.2` or `New, (NONE)`.
    pub fn session(&self) -> &str {
        let line = self.0.lines().find(|line| line.starts_with("New, ") || line.starts_with("Reused, "));
        line.and_then(|line| line.rsplit_once(", ")).expect("it says how the handshake ended").0
    }

    pub fn cipher(&self) -> &str {
        let line = self.0.lines().find(|line| line.contains(", Cipher is ")).expect("it names the cipher");
        line.rsplit(' ').next().expect("a word")
    }

    /// Number of the alert the peer sent.
    pub fn alert(&self) -> Option<u8> {
        let number = self.0.split("SSL alert number ").nth(1)?;
        number.split_whitespace().next()?.parse().ok()
    }

    /// Whether the answer to [`ASK`] came.
    pub fn was_told(&self) -> bool {
        self.0.contains(TOLD)
    }

    /// The certificates shown, as PEM with `-showcerts`.
    pub fn shown(&self) -> Vec<String> {
        let parts = self.0.split("-----BEGIN CERTIFICATE-----\n").skip(1);
        parts
            .filter_map(|part| part.split_once("-----END CERTIFICATE-----"))
            .map(|(body, _)| format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"))
            .collect()
    }
}

/// A client by `openssl s_client`: says `words` once connected, then reads until the server closes.
pub fn s_client(address: SocketAddr, arguments: &[&str], words: &str) -> Said {
    let mut command = Command::new("timeout");
    command.args(["30", "openssl", "s_client", "-connect", &address.to_string()]).args(arguments);
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // Open until it ends: the end of its input would end it.
    let mut input = process.stdin.take().expect("a pipe");
    // It may have ended already.
    let _ = input.write_all(words.as_bytes());
    let mut errors = process.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).map(|_| text)
    });
    let mut text = Vec::new();
    process.stdout.take().expect("a pipe").read_to_end(&mut text).expect("a pipe can be read");
    text.extend(reader.join().expect("it does not panic").expect("a pipe can be read"));
    let status = process.wait().expect("it is our child");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_ne!(status.code(), Some(124), "s_client was left waiting: {text}");
    Said(text)
}

/// The PEM of a certificate, as openssl prints it.
pub fn pem(issued: &Issued) -> String {
    fs::read_to_string(&issued.certificate).expect("a PEM file")
}
