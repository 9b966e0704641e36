//! Reverse listeners of the real binary: beside the forward one, with a certificate of their own that changes without a
//! restart, and never at a port that somebody else holds.

use crate::origin::Origin;
use crate::pki::Order;
use crate::process::{Folder, Proxy, Running, until};
use crate::raw::Client;
use crate::tls::{World, here, pem, s_client, text};
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};

const ASK: &str = "GET /app/x HTTP/1.1\r\nHost: pub.test\r\nConnection: close\r\n\r\n";

#[test]
fn each_listener_has_its_certificate_and_its_tickets() {
    let (world, origin) = (World::new(), Origin::start());
    let other = world.pki.issue(&world.middle, &here());
    let (certificate, key) = (world.folder.path("reverse.crt"), world.folder.path("reverse.key"));
    fs::copy(&other.certificate, &certificate).expect("the folder is writable");
    fs::copy(&other.key, &key).expect("the folder is writable");
    let proxy = world.listener(&[
        "proxy.reverse.port=0",
        "proxy.reverse.ssl.port=0",
        &format!("proxy.reverse.ssl.certificate={}", certificate.display()),
        &format!("proxy.reverse.ssl.certificate-private-key={}", key.display()),
        "proxy.reverse.routes[0].path=/app",
        &format!("proxy.reverse.routes[0].target=http://{}/in", origin.address),
    ]);
    let [forward, plain, secure] = proxy.listeners[..] else { panic!("{:?}", proxy.listeners) };
    for (kind, address) in [("forward", forward), ("reverse", plain), ("reverse", secure)] {
        until("the banner names the listener", || {
            proxy.log().contains(&format!("listener {kind} {address}")).then_some(())
        });
    }

    let mut client = Client::connect(plain);
    client.send("GET /app/x HTTP/1.1\r\nHost: pub.test\r\n\r\n");
    assert_eq!(client.answer().text(), "/in/x");
    let said = s_client(secure, &["-showcerts"], ASK);
    assert!(said.0.contains("/in/x"), "{}", said.0);
    assert_eq!(said.shown()[0], pem(&other));
    assert_eq!(s_client(forward, &["-showcerts"], crate::tls::ASK).shown()[0], pem(&world.server));

    // A ticket of one listener is nothing to the other.
    let session = world.folder.path("session");
    let resumed = |address, word: &str| {
        s_client(address, &["-tls1_2", word, text(&session)], crate::tls::ASK).session().to_owned()
    };
    assert_eq!(resumed(forward, "-sess_out"), "New, TLSv1.2");
    assert_eq!(resumed(forward, "-sess_in"), "Reused, TLSv1.2");
    assert_eq!(resumed(secure, "-sess_in"), "New, TLSv1.2");

    // What has changed is in use after a signal, and only there.
    let third = world.pki.issue(&world.root, &here());
    fs::copy(&third.key, &key).expect("the folder is writable");
    fs::copy(&third.certificate, &certificate).expect("the folder is writable");
    proxy.process.signal(Signal::HUP);
    until("the new certificate is shown", || {
        (s_client(secure, &["-showcerts"], ASK).shown()[0] == pem(&third)).then_some(())
    });
    assert_eq!(resumed(forward, "-sess_in"), "Reused, TLSv1.2", "its own files are the same");
}

#[test]
fn clients_of_the_reverse_listener_show_certificates_of_their_own_authority() {
    let (world, origin) = (World::new(), Origin::start());
    let stranger = world.pki.issue(&world.pki.root("Other"), &Order::client("stranger"));
    let client = world.pki.issue(&world.root, &Order::client("customer"));
    let server = world.server_of_root();
    let proxy = Proxy::start(&[
        "proxy.reverse.ssl.port=0",
        &format!("proxy.reverse.ssl.certificate={}", server.certificate.display()),
        &format!("proxy.reverse.ssl.certificate-private-key={}", server.key.display()),
        "proxy.reverse.ssl.client-auth=need",
        &format!("proxy.reverse.ssl.trust-certificate={}", world.root.certificate.display()),
        "proxy.reverse.routes[0].path=/app",
        &format!("proxy.reverse.routes[0].target=http://{}/in", origin.address),
    ]);
    let secure = proxy.listeners[1];
    let with = |issued: &crate::pki::Issued| {
        s_client(secure, &["-cert", text(&issued.certificate), "-key", text(&issued.key)], ASK)
            .0
            .contains("/in/x")
    };
    assert!(with(&client));
    assert!(!with(&stranger));
    assert!(!s_client(secure, &[], ASK).0.contains("/in/x"));
    assert_eq!(origin.seen(), ["/in/x"]);
}

#[test]
fn a_port_that_is_taken_names_who_holds_it() {
    let folder = Folder::new();
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = held.local_addr().expect("it is bound");
    let mut proxy = Running::new(
        Command::new(env!("CARGO_BIN_EXE_apim-proxy"))
            .args(["--server.address=127.0.0.1", "--server.port=0", "--proxy.reverse.log.format=off"])
            .arg(format!("--proxy.reverse.port={}", address.port()))
            .current_dir(folder.path(""))
            .env_clear()
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path("errors")).expect("the folder is writable")),
    );
    assert_eq!(proxy.ended().code(), Some(1));
    let said = folder.text("errors");
    let pid = std::process::id();
    let (start, end) = (format!("{address} is in use by "), "; stop it or change proxy.reverse.port");
    assert!(
        said.contains(&start) && said.contains(&format!(" (pid {pid}: ")) && said.contains(end),
        "{said}"
    );
}
