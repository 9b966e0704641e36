//! Every suite of both versions with openssl at the other end, and keys that change in the middle of a connection
//! because openssl says so (`k`), or says so and asks for ours (`K`).

use crate::process::{Folder, until};
use crate::raw::Client;
use crate::tls::{ASK, TOLD, World};
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A request whose answer leaves the connection open.
const STAY: &str = "GET / HTTP/1.1\r\nHost: proxy\r\n\r\n";

const SUITES: [(&str, &str, &str); 6] = [
    ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"),
    ("-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"),
    ("-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"),
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"),
];

/// An openssl that is told what to do step by step.
struct Talk {
    process: Child,
    folder: Folder,
}

impl Talk {
    fn new(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        let print = File::create(folder.path("said")).expect("the folder is writable");
        let mut command = Command::new("stdbuf");
        command.args(["-o0", "timeout", "60", "openssl"]).args(arguments).stdin(Stdio::piped());
        let errors = print.try_clone().expect("a file");
        let process = command.stdout(print).stderr(errors).spawn();
        Self { process: process.unwrap_or_else(|error| panic!("{command:?}: {error}")), folder }
    }

    fn say(&mut self, words: &str) {
        let input = self.process.stdin.as_mut().expect("a pipe");
        input.write_all(words.as_bytes()).expect("it listens");
    }

    /// Waits until it has printed `text` so many times.
    #[track_caller]
    fn shows(&self, text: &str, times: usize) {
        until(&format!("openssl prints {text}"), || {
            (self.folder.text("said").matches(text).count() >= times).then_some(())
        });
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn openssl_as_a_client_changes_keys() {
    let world = World::new();
    let proxy = world.listener(&[]);
    for (version, kind, suite) in SUITES {
        let address = proxy.address.to_string();
        let mut client = Talk::new(&["s_client", "-connect", &address, version, kind, suite]);
        client.shows(&format!(", Cipher is {suite}"), 1);
        client.say(STAY);
        client.shows(TOLD, 1);
        let letters = if version == "-tls1_3" { &["K\n", "k\n", "K\n"][..] } else { &[] };
        for (at, letter) in letters.iter().enumerate() {
            client.say(letter);
            client.shows("KEYUPDATE", at + 1);
            client.say(STAY);
            client.shows(TOLD, at + 2);
        }
        client.say(ASK);
        client.shows(TOLD, letters.len() + 2);
        until("s_client ends with the connection", || client.process.try_wait().expect("it is our child"));
    }
    proxy.counts("client_tls_failed", 0);
    proxy.counts("panics", 0);
}

#[test]
fn openssl_as_an_origin_changes_keys() {
    let world = World::new();
    let server = world.server_of_root();
    let proxy = world.towards_targets(&[]);
    for (version, kind, suite) in SUITES {
        let (key, certificate) = (server.key.to_str(), server.certificate.to_str());
        let (key, certificate) = (key.expect("a path"), certificate.expect("a path"));
        let mut origin = Talk::new(&[
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-key",
            key,
            "-cert",
            certificate,
            version,
            kind,
            suite,
        ]);
        origin.shows("ACCEPT ", 1);
        let said = origin.folder.text("said");
        let port = said.split("ACCEPT ").nth(1).and_then(|line| line.lines().next()?.rsplit(':').next());
        let target = format!("https://localhost:{}", port.expect("it names its port"));
        let mut client = Client::connect(proxy.address);
        let letters = if version == "-tls1_3" { &["", "K\n", "k\n", "K\n"][..] } else { &["", ""] };
        for (at, letter) in letters.iter().enumerate() {
            if !letter.is_empty() {
                origin.say(letter);
                origin.shows("SSL_do_handshake -> 1", at);
            }
            client.send(format!("GET /{at} HTTP/1.1\r\nHost: proxy\r\nx-target-host: {target}\r\n\r\n"));
            origin.shows(&format!("GET /{at} HTTP/1.1"), 1);
            origin.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{at}."));
            assert_eq!(client.answer().text(), format!("{at}."), "{suite}");
        }
    }
    proxy.counts("tls_full", SUITES.len() as u64);
    proxy.counts("tls_failed", 0);
}
