//! The ports of a configuration and the servers behind each.

use super::notes::Notes;
use super::servers::{Server, Servers, View};
use super::tree::Directive;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A port and who answers there.
#[derive(Clone, Debug)]
pub struct Listener<'a> {
    /// The `Listen` line.
    pub origin: &'a Directive,
    /// One address, where it is not every address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The first answers to names that no other has.
    pub views: Vec<View<'a>>,
}

/// Every port once, in the order of the `Listen` lines.
pub fn listeners<'a>(servers: &'a Servers, notes: &mut Notes) -> Vec<Listener<'a>> {
    let mut ports: BTreeMap<u16, (usize, Listener<'a>)> = BTreeMap::new();
    let main = View { main: &servers.main, host: None };
    for (index, origin) in main.all("Listen").enumerate() {
        let Some((address, port)) = endpoint(origin.word(0)) else {
            notes.lost(origin, "is no [address:]port");
            continue;
        };
        if let Some((_, other)) = ports.get_mut(&port) {
            if other.address != address && other.address.is_some() {
                let what = "a listener has one address or all; all of them are opened";
                notes.differs(origin, what);
                other.address = None;
            }
            continue;
        }
        let mut views = views(servers, port, notes);
        if views.is_empty() {
            views.push(main);
        }
        let https = port == 443 || origin.word(1).eq_ignore_ascii_case("https");
        let speaks = |view: &View<'_>| match view.last("SSLEngine") {
            Some(engine) => !engine.word(0).eq_ignore_ascii_case("off"),
            None => https,
        };
        let tls = views.first().is_some_and(speaks);
        views.retain(|view| {
            let same = speaks(view) == tls;
            if let (false, Some(opened)) = (same, view.host.and_then(|host| host.opened.as_ref())) {
                notes.lost(
                    opened,
                    format!("port {port} speaks either TLS or plain text, and the first host there decides"),
                );
            }
            same
        });
        ports.insert(port, (index, Listener { origin, address, port, tls, views }));
    }
    let mut listeners: Vec<_> = ports.into_values().collect();
    listeners.sort_by_key(|(index, _)| *index);
    listeners.into_iter().map(|(_, listener)| listener).collect()
}

/// The virtual hosts of a port, those of the first address named.
fn views<'a>(servers: &'a Servers, port: u16, notes: &mut Notes) -> Vec<View<'a>> {
    let mut chosen: Option<&str> = None;
    let mut views = Vec::new();
    for host in &servers.hosts {
        let Some(opened) = &host.opened else { continue };
        let Some(address) = opened.words.iter().find_map(|word| address_at(word, port)) else { continue };
        if *chosen.get_or_insert(address) == address {
            views.push(View { main: &servers.main, host: Some(host) });
        } else {
            notes.lost(opened, "hosts are told apart by name, not by the address that was connected to");
        }
    }
    views
}

/// The address part of `<VirtualHost address[:port]>` if it is for that port.
fn address_at(word: &str, port: u16) -> Option<&str> {
    let (address, own) = match word.rsplit_once(':') {
        Some((address, own)) if !own.contains(']') => (address, own),
        _ => (word, "*"),
    };
    let everywhere = matches!(address, "*" | "_default_");
    (own == "*" || own.parse() == Ok(port)).then_some(if everywhere { "*" } else { address })
}

/// `[address:]port`.
fn endpoint(text: &str) -> Option<(Option<IpAddr>, u16)> {
    let (address, port) = text.rsplit_once(':').unwrap_or(("*", text));
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match address.trim_matches(['[', ']']) {
        "*" => Some((None, port)),
        address => {
            address.parse::<IpAddr>().ok().map(|ip| (Some(ip).filter(|ip| !ip.is_unspecified()), port))
        }
    }
}

/// The names of a virtual host, without port, in lower case.
pub fn names(host: &Server) -> Vec<String> {
    let view = View { main: host, host: None };
    let own = view.last("ServerName").map(|directive| directive.word(0));
    let others = view.all("ServerAlias").flat_map(|directive| directive.words.iter().map(String::as_str));
    let mut names: Vec<String> = Vec::new();
    for name in own.into_iter().chain(others) {
        let name = host_name(name);
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A `ServerName` without scheme and port, in lower case.
pub fn host_name(name: &str) -> String {
    let name = name.split_once("://").map_or(name, |(_, name)| name);
    let name = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    };
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        for (text, expected) in [
            ("80", Some((None, 80))),
            ("*:80", Some((None, 80))),
            ("0.0.0.0:80", Some((None, 80))),
            ("[::]:80", Some((None, 80))),
            ("10.0.0.1:8443", Some((Some(v4), 8443))),
            ("name:80", None),
            ("0", None),
            ("65536", None),
            ("", None),
        ] {
            assert_eq!(endpoint(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_of_hosts() {
        for (word, address) in [
            ("*:80", Some("*")),
            ("*", Some("*")),
            ("_default_:80", Some("*")),
            ("10.0.0.1:80", Some("10.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("*:443", None),
        ] {
            assert_eq!(address_at(word, 80), address, "{word}");
        }
    }
}
