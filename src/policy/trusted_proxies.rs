//! `proxy.ip.trusted-proxies`: whose word on a client's address is believed, and what `X-Forwarded-For` says then.
//!
//! The lines of the header are one list, written from left to right by one proxy after the other. It is read from the
//! right, and only as far as those who wrote it are trusted: what a client wrote itself stands further left.

use super::address_rule::AddressRules;
use crate::http::head::Header;
use crate::setting::Setting;
use std::net::IpAddr;

/// Whose word is believed.
pub static TRUSTED_PROXIES: Setting<TrustedProxies> = Setting::new(
    "proxy.ip.trusted-proxies",
    "",
    TrustedProxies::parse,
    "Load balancers and proxies in front, written as in proxy.ip.allow, whose `X-Forwarded-For` tells the client's address; it is \
     read from the right up to the first address that is not among them. Empty: nobody's, the socket's address counts. Where \
     proxy.protocol is on, only these may connect.",
);

/// Addresses that are read from the right before the rest counts as junk.
const HOPS_MAX: usize = 32;
/// The longest an address can be, with brackets and a port.
const ADDRESS_BYTES_MAX: usize = 64;

/// The proxies in front that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// `None`: nobody is.
    rules: Option<AddressRules>,
}

impl TrustedProxies {
    /// Reads the list.
    ///
    /// # Errors
    /// All rules that can never match, or a value that holds no rule.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rules = AddressRules::parse(text)?;
        if rules.is_empty() {
            return Err("holds no rule; leave it empty to believe nobody".to_owned());
        }
        Ok(Self { rules: Some(rules) })
    }

    /// Whether anybody is believed.
    pub fn is_set(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether `address` is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.name(address))
    }

    /// The address of the client that `peer`, which is believed, has relayed a request with these headers for. Without
    /// the header it is the peer itself. `None` when what stands there is no address, or too many of them: nobody knows
    /// then whose request it is.
    pub fn client(&self, peer: IpAddr, headers: &[Header<'_>]) -> Option<IpAddr> {
        let lines = headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
        let items = lines.flat_map(|line| line.value.rsplit(|byte| *byte == b','));
        let mut client = peer;
        let mut hops = 0;
        for item in items.map(<[u8]>::trim_ascii).filter(|item| !item.is_empty()) {
            hops += 1;
            if hops > HOPS_MAX {
                return None;
            }
            client = address(item)?;
            if !self.trust(client) {
                break;
            }
        }
        Some(client)
    }
}

/// `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; an IPv4-mapped one is the IPv4 address.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item).ok().filter(|text| text.len() <= ADDRESS_BYTES_MAX)?;
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else if text.matches(':').count() == 1 {
        let (host, port) = text.split_once(':')?;
        (host, Some(port))
    } else {
        (text, None)
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if !port.is_none_or(is_port) {
        return None;
    }
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, lines: &[&str]) -> Option<String> {
        let headers: Vec<Header<'_>> = lines
            .iter()
            .map(|line| {
                let (name, value) = line.split_once(':').expect("a header");
                Header { name, value: value.as_bytes() }
            })
            .collect();
        let trusted = TrustedProxies::parse(trusted).expect(trusted);
        trusted.client(peer.parse().expect("an address"), &headers).map(|address| address.to_string())
    }

    #[test]
    fn the_list_is_read_from_the_right_as_far_as_it_is_trusted() {
        let said = |lines: &[&str]| client("10.0.0.0/8; fd00::/8", "10.0.0.1", lines);
        for (lines, address) in [
            (&[][..], "10.0.0.1"),
            (&["X-Forwarded-For: 1.1.1.1"], "1.1.1.1"),
            (&["x-forwarded-for:9.9.9.9, 1.1.1.1"], "1.1.1.1"),
            (&["X-Forwarded-For: 9.9.9.9,1.1.1.1 ,\t10.0.0.2"], "1.1.1.1"),
            (&["X-Forwarded-For: 9.9.9.9", "Accept: x", "X-FORWARDED-FOR: 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (&["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-For:"], "1.1.1.1"),
            (&["X-Forwarded-For: junk, 1.1.1.1"], "1.1.1.1"),
            (&["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["X-Forwarded-For: ,, 1.1.1.1,,"], "1.1.1.1"),
            (&["X-Forwarded-For: 1.1.1.1:1234"], "1.1.1.1"),
            (&["X-Forwarded-For: [2001:db8::1]:1234"], "2001:db8::1"),
            (&["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
            (&["X-Forwarded-For: 2001:DB8::1, fd00::1"], "2001:db8::1"),
            (&["X-Forwarded-For: ::ffff:1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1"),
            (&["Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1"], "10.0.0.1"),
        ] {
            assert_eq!(said(lines), Some(address.to_owned()), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_leaves_nobody() {
        for item in [
            "unknown",
            "_hidden",
            "-",
            "1.1.1",
            "1.1.1.1.1",
            "01.1.1.1",
            "1.1.1.1:",
            "1.1.1.1:x",
            "1.1.1.1:99999",
            "[1.1.1.1]",
            "[::1",
            "[::1]x",
            "[::1]:",
            "::1]:80",
            "fe80::1%eth0",
            "1.1.1.1 2.2.2.2",
            "\"1.1.1.1\"",
            "127.1",
            "0x7f000001",
            "1.1.1.1;2.2.2.2",
            "for=1.1.1.1",
            "\u{ff11}.1.1.1",
        ] {
            let line = format!("X-Forwarded-For: 1.1.1.1, {item}");
            assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&line]), None, "{item}");
        }
        let long = format!("X-Forwarded-For: {}", "a".repeat(5000));
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&long]), None);
    }

    #[test]
    fn more_hops_than_anybody_has_are_not_followed() {
        let line = |hops: usize| format!("X-Forwarded-For: 1.1.1.1{}", ", 10.0.0.9".repeat(hops));
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&line(31)]), Some("1.1.1.1".to_owned()));
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&line(32)]), None);
    }

    #[test]
    fn nobody_is_believed_unless_named() {
        let trusted = |text: &str, address: &str| {
            TrustedProxies::parse(text).expect(text).trust(address.parse().expect("an address"))
        };
        assert!(!trusted("", "127.0.0.1") && !trusted(" ", "::1") && trusted("::1, 10.0.0.0/8", "10.9.9.9"));
        assert!(TrustedProxies::parse(" ; ").is_err() && TrustedProxies::parse("10.0.0.1/8").is_err());
    }
}
