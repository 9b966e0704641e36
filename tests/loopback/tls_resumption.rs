//! Sessions of clients: resumed by every worker of their listener, and by nobody else.

use crate::pki::{Issued, Order};
use crate::process::Proxy;
use crate::tls::{ASK, Said, VERSIONS, World, s_client, text};
use std::path::{Path, PathBuf};

/// Connects with the session in `session`, or without one writes it there; shows `certificate`.
fn connect(proxy: &Proxy, version: &str, more: &[&str], certificate: Option<(&Issued, &Issued)>) -> Said {
    let mut arguments = [&[version], more].concat();
    if let Some((issued, above)) = certificate {
        arguments.extend(["-cert", text(&issued.certificate), "-key", text(&issued.key)]);
        arguments.extend(["-cert_chain", text(&above.certificate)]);
    }
    s_client(proxy.address, &arguments, ASK)
}

#[test]
fn a_session_is_resumed_by_every_worker() {
    let world = World::new();
    let session = world.folder.path("session");
    let session = text(&session);
    for demand in ["none", "need"] {
        let proxy = world.listener(&[&format!("server.ssl.client-auth={demand}"), "server.workers=2"]);
        let certificate = (demand == "need").then_some((&world.client, &world.middle));
        for (version, name) in VERSIONS {
            let first = connect(&proxy, version, &["-sess_out", session], certificate);
            assert_eq!((first.session(), first.was_told()), (format!("New, {name}").as_str(), true));
            // The kernel spreads them: that all sit with one worker happens once in 2^15 runs.
            for _ in 0..16 {
                let again = connect(&proxy, version, &["-sess_in", session], None);
                assert_eq!((again.session(), again.was_told()), (format!("Reused, {name}").as_str(), true));
            }
        }
        // By number instead of by ticket: the listener remembers, whichever worker is asked.
        let ticketless = ["-no_ticket", "-sess_out", session];
        assert_eq!(connect(&proxy, "-tls1_2", &ticketless, certificate).session(), "New, TLSv1.2");
        for _ in 0..16 {
            let again = connect(&proxy, "-tls1_2", &["-no_ticket", "-sess_in", session], None);
            assert_eq!((again.session(), again.was_told()), ("Reused, TLSv1.2", true));
        }
        proxy.counts("client_tls_full", 3);
        proxy.counts("client_tls_resumed", 48);
    }
}

#[test]
fn a_session_is_worth_nothing_at_another_listener() {
    let world = World::new();
    // Somebody else's authority with the same name, and its client.
    let other = world.pki.root("Root");
    let theirs = world.pki.issue(&other, &Order::client("customer"));
    let trust = format!("server.ssl.trust-store={}", other.certificate.display());
    let proxies = [
        ("none", world.listener(&[]), None),
        ("want", world.listener(&["server.ssl.client-auth=want"]), Some((&world.client, &world.middle))),
        ("need", world.listener(&["server.ssl.client-auth=need"]), Some((&world.client, &world.middle))),
        ("need others", world.listener(&["server.ssl.client-auth=need", &trust]), Some((&theirs, &other))),
    ];
    for (version, name) in VERSIONS {
        for ticket in [&[][..], &["-no_ticket"]] {
            let sessions: Vec<PathBuf> = proxies
                .iter()
                .map(|(demand, proxy, certificate)| {
                    let path = world.folder.path(&format!("session-{demand}"));
                    let arguments = [ticket, &["-sess_out", text(&path)]].concat();
                    assert!(connect(proxy, version, &arguments, *certificate).was_told(), "{demand}");
                    path
                })
                .collect();
            for (at, (demand, proxy, _)) in proxies.iter().enumerate() {
                let elsewhere = sessions.iter().enumerate().filter(|(from, _)| *from != at);
                for (from, session) in elsewhere {
                    let crossing = format!("{} -> {demand}, {name} {ticket:?}", proxies[from].0);
                    let arguments = [ticket, &["-sess_in", text(session)]].concat();
                    let said = connect(proxy, version, &arguments, None);
                    is_new(&said, demand, name, &crossing);
                }
            }
        }
    }
}

/// A full handshake, in which a certificate was asked for where one is.
#[track_caller]
fn is_new(said: &Said, demand: &str, name: &str, crossing: &str) {
    assert!(said.0.contains("\nServer certificate\n"), "{crossing}: {}", said.0);
    let asked = said.0.contains("Acceptable client certificate CA names\n");
    assert_eq!(asked, demand != "none", "{crossing}: {}", said.0);
    if demand.starts_with("need") {
        // certificate_required
        assert_eq!((said.alert(), said.was_told()), (Some(116), false), "{crossing}: {}", said.0);
    } else {
        assert_eq!((said.session(), said.was_told()), (format!("New, {name}").as_str(), true), "{crossing}");
    }
}

#[test]
fn a_session_ends_with_its_process() {
    let world = World::new();
    let session: &Path = &world.folder.path("session");
    for (version, name) in VERSIONS {
        let resumed = |arguments: &[&str], proxy: &Proxy| connect(proxy, version, arguments, None);
        let before = world.listener(&[]);
        assert!(resumed(&["-sess_out", text(session)], &before).was_told());
        drop(before);
        let said = resumed(&["-sess_in", text(session)], &world.listener(&[]));
        assert_eq!((said.session(), said.was_told()), (format!("New, {name}").as_str(), true));
    }
}
