//! What is different for some targets: `proxy.targets[N]`, the first that names a target counts for it, the last
//! resort is what holds for all.

use crate::time::Millis;
use crate::tls::context::Outbound;
use std::sync::Arc;

/// How one kind of target is dealt with.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Number of the entry, from 1; 0 is what holds for all. Connections are pooled apart by it.
    pub number: usize,
    /// The TLS spoken with it; `None` where there is none (tests).
    pub tls: Option<Outbound>,
    /// `connect-timeout`, if it has its own.
    pub connect: Option<Millis>,
    /// `socket-timeout`, if it has its own.
    pub response: Option<Millis>,
    /// `max-connections`, if it has its own.
    pub connections_max: Option<usize>,
}

/// Which targets an entry is for: a host or `*.suffix`, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    host: String,
    below: bool,
    port: Option<u16>,
}

impl Match {
    /// Reads `host`, `*.suffix`, `host:port` or `[v6]:port`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || "is not a host, *.suffix or host:port".to_owned();
        let text = text.trim();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(bad)?;
                (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(bad)?)
            }
            None if text.matches(':').count() > 1 => (text, ""),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = match port {
            "" if text.ends_with(':') && !text.ends_with("::") => return Err(bad()),
            "" => None,
            port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        };
        let (host, below) = match host.strip_prefix("*.") {
            Some(suffix) => (suffix, true),
            None => (host, false),
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if host.is_empty() || !host.bytes().all(plain) || host.split('.').any(str::is_empty) {
            return Err(bad());
        }
        // Literals are compared in one spelling.
        let host = host.parse::<std::net::IpAddr>().map_or(host, |address| address.to_string());
        Ok(Self { host, below, port })
    }

    fn names(&self, host: &str, port: u16) -> bool {
        let literal = host.parse::<std::net::Ipv6Addr>().map(|address| address.to_string());
        let host = literal.as_deref().unwrap_or(host.strip_suffix('.').unwrap_or(host));
        let named = if self.below {
            host.len()
                .checked_sub(self.host.len() + 1)
                .and_then(|dot| host.get(dot..))
                .and_then(|tail| tail.strip_prefix('.'))
                .is_some_and(|tail| tail.eq_ignore_ascii_case(&self.host))
                && host.len() > self.host.len() + 1
        } else {
            host.eq_ignore_ascii_case(&self.host)
        };
        named && self.port.is_none_or(|own| own == port)
    }
}

/// Every entry, and what holds for all other targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// In order; the first that names a target counts.
    pub entries: Vec<(Match, Arc<Profile>)>,
    /// For all others.
    pub others: Arc<Profile>,
}

impl Targets {
    /// How the target `host` (a name or a literal without brackets) at `port` is dealt with.
    pub fn of(&self, host: &str, port: u16) -> &Arc<Profile> {
        let found = self.entries.iter().find(|(which, _)| which.names(host, port));
        found.map_or(&self.others, |(_, profile)| profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_names_a_target_counts() {
        let entry = |text: &str, number| {
            (Match::parse(text).expect(text), Arc::new(Profile { number, ..Profile::default() }))
        };
        let targets = Targets {
            entries: vec![
                entry("api.bank.example:8443", 1),
                entry("*.bank.example", 2),
                entry("api.bank.example", 3),
                entry("[2001:DB8:0::1]:443", 4),
                entry("10.0.0.1", 5),
            ],
            others: Arc::default(),
        };
        for (host, port, number) in [
            ("API.bank.example", 8443, 1),
            ("api.bank.example.", 8443, 1),
            ("api.bank.example", 443, 2),
            ("a.b.bank.example", 443, 2),
            ("bank.example", 443, 0),
            (".bank.example", 443, 0),
            ("evilbank.example", 443, 0),
            ("2001:db8::1", 443, 4),
            ("2001:0DB8:0:0:0:0:0:1", 443, 4),
            ("2001:db8::1", 444, 0),
            ("10.0.0.1", 1, 5),
        ] {
            assert_eq!(targets.of(host, port).number, number, "{host}:{port}");
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in
            ["", "*", "*.", "a:", "a:0", "a:70000", "a:x", "a..b", "http://a", "a b", "[::1", "[::1]x", "a/b"]
        {
            assert!(Match::parse(text).is_err(), "{text}");
        }
    }
}
