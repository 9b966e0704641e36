//! A rule that names targets, in the one grammar of `proxy.target.*` and `proxy.groups[N].*`.
//!
//! ```text
//! api.bank.example   *.bank.example   10.1.2.3   10.1.0.0/16   2001:db8::/32   *      each with or without a port:
//! api.bank.example:443   *.bank.example:8443   10.1.0.0/16:80   [2001:db8::1]:443   *:443
//! ```
//! A name is what the client wrote, whatever it resolves to; an address is what would be dialled, whatever it was called.

use super::address_rule::{AddressRule, all};
use std::fmt;
use std::net::IpAddr;

/// One rule: which targets it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRule {
    target: Named,
    /// `None`: every port.
    port: Option<u16>,
    /// As the operator wrote it.
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// This name, whatever it resolves to. Lower case, without the trailing dot.
    Host(String),
    /// Every name below this one, not itself. Lower case, without `*.`.
    Below(String),
    Address(AddressRule),
}

/// Reads a list of rules separated by `,` or `;`.
///
/// # Errors
/// What is wrong with each bad item, separated by `; `.
pub fn rules(text: &str) -> Result<Vec<TargetRule>, String> {
    all(text, TargetRule::parse)
}

impl TargetRule {
    /// Reads one rule.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead: the rest of a sentence that begins with the key.
    pub fn parse(item: &str) -> Result<Self, String> {
        let text = item.to_owned();
        let (target, port) = split_port(item)?;
        let last_label = target.strip_suffix('.').unwrap_or(target).rsplit('.').next().unwrap_or_default();
        let numeric = last_label.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*');
        if numeric || target.contains([':', '/']) {
            let target = Named::Address(AddressRule::parse(target)?);
            return Ok(Self { target, port, text });
        }
        let name = target.strip_suffix('.').unwrap_or(target).to_ascii_lowercase();
        let (name, below) = match name.strip_prefix("*.") {
            Some(suffix) => (suffix.to_owned(), true),
            None => (name, false),
        };
        if !is_host_name(&name) {
            return Err(format!(
                "has the item \"{item}\", which is not a target; write a host name, *.suffix, an address or a network, and :port if only \
                 that port is meant"
            ));
        }
        Ok(Self { target: if below { Named::Below(name) } else { Named::Host(name) }, port, text })
    }

    /// Whether it names the target by the name `host`, which has no trailing dot, or names every target.
    pub fn names_host(&self, host: &str, port: u16) -> bool {
        self.names_port(port)
            && match &self.target {
                Named::Host(name) => host.eq_ignore_ascii_case(name),
                Named::Below(suffix) => is_below(host.as_bytes(), suffix.as_bytes()),
                Named::Address(rule) => *rule == AddressRule::Any,
            }
    }

    /// Whether it names the target by its address.
    pub fn names_address(&self, port: u16, address: IpAddr) -> bool {
        self.names_port(port) && matches!(self.target, Named::Address(rule) if rule.names(address))
    }

    /// Whether it names some addresses at this port.
    pub fn names_addresses(&self, port: u16) -> bool {
        self.names_port(port) && matches!(self.target, Named::Address(_))
    }

    /// Whether it names one single address, literally.
    pub fn is_literal(&self) -> bool {
        matches!(self.target, Named::Address(rule) if rule.is_literal())
    }

    fn names_port(&self, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
    }
}

impl fmt::Display for TargetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits `target[:port]`; a bare IPv6 address or network has no port, in brackets it can have one.
fn split_port(item: &str) -> Result<(&str, Option<u16>), String> {
    let (target, port) = if let Some(rest) = item.strip_prefix('[') {
        let (inside, after) = rest
            .split_once(']')
            .ok_or_else(|| format!("has the item \"{item}\", which lacks its closing bracket ]"))?;
        match after.strip_prefix(':') {
            Some(port) => (inside, port),
            None if after.is_empty() => return Ok((inside, None)),
            None => {
                return Err(format!(
                    "has the item \"{item}\", where something other than :port follows the bracket"
                ));
            }
        }
    } else {
        match item.split_once(':') {
            Some((target, port)) if !port.contains(':') => (target, port),
            _ => return Ok((item, None)),
        }
    };
    let number = if port.bytes().all(|byte| byte.is_ascii_digit()) { port.parse().ok() } else { None };
    match number {
        Some(number) if number != 0 => Ok((target, Some(number))),
        _ => Err(format!("has the item \"{item}\", whose port is not 1 to 65535")),
    }
}

fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

fn is_below(host: &[u8], suffix: &[u8]) -> bool {
    host.len()
        .checked_sub(suffix.len() + 1)
        .is_some_and(|dot| dot > 0 && host[dot] == b'.' && host[dot + 1..].eq_ignore_ascii_case(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rule: &str, host: &str, port: u16, address: &str) -> bool {
        let rule = TargetRule::parse(rule).unwrap();
        rule.names_host(host, port) || rule.names_address(port, address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_are_named_with_their_port() {
        assert!(names("127.0.0.1", "127.0.0.1", 8080, "127.0.0.1"));
        assert!(names("127.0.0.1", "a.example", 8080, "::ffff:127.0.0.1"));
        assert!(!names("127.0.0.1", "127.0.0.2", 8080, "127.0.0.2"));
        assert!(names("127.0.0.0/8:8080", "x", 8080, "127.9.9.9"));
        assert!(!names("127.0.0.0/8:8080", "x", 8081, "127.9.9.9"));
        assert!(names("::1", "::1", 1, "::1") && names("[::1]:443", "::1", 443, "::1"));
        assert!(!names("[::1]:443", "::1", 80, "::1"));
        assert!(names("[fe80::/10]:80", "x", 80, "fe80::1") && names("fe80::/10", "x", 80, "fe80::1"));
        assert!(names("127.0.0.*", "x", 80, "127.0.0.9"));
        assert!(names("*:443", "x", 443, "1.1.1.1") && !names("*:443", "x", 80, "1.1.1.1"));
    }

    #[test]
    fn names_are_named_in_any_case() {
        assert!(names("Local.Example.", "local.example", 1, "1.1.1.1"));
        assert!(names("local.example", "LOCAL.example", 1, "::1"));
        assert!(!names("local.example", "a.local.example", 1, "1.1.1.1"));
        assert!(names("*.test:8080", "a.TEST", 8080, "1.1.1.1") && names("*.test", "a.b.test", 1, "1.1.1.1"));
        for host in ["test", ".test", "atest", "a.test.evil", ""] {
            assert!(!names("*.test", host, 8080, "127.0.0.1"), "{host}");
        }
        assert!(!names("*.test:8080", "a.test", 80, "1.1.1.1"));
    }

    #[test]
    fn only_a_rule_for_everything_names_a_host_by_its_address() {
        let rule = |text| TargetRule::parse(text).unwrap();
        assert!(
            rule("*").names_host("x", 1) && rule("*:1").names_host("x", 1) && !rule("*:1").names_host("x", 2)
        );
        assert!(!rule("0.0.0.0/0").names_host("x", 1) && rule("0.0.0.0/0").names_addresses(1));
        assert!(!rule("x").names_addresses(1) && !rule("10.0.0.0/8:2").names_addresses(1));
    }

    #[test]
    fn bad_items_are_refused() {
        for item in [
            "300.1.1.1",
            "2130706433",
            "0x7f.1",
            "127.1",
            "a b",
            "a..b",
            "http://a",
            "a/8",
            "*.*.a",
            "a*.b",
            "호스트",
            "a:0",
            "a:65536",
            "a:",
            "a:+1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "10.0.0.1/8",
            "a:b:c",
        ] {
            assert!(rules(item).is_err(), "{item}");
        }
        assert_eq!(
            rules("a:0,b,c:x"),
            Err("has the item \"a:0\", whose port is not 1 to 65535; has the item \"c:x\", whose port is not 1 to 65535"
                .to_owned())
        );
        assert_eq!(rules(" , "), Ok(Vec::new()));
    }
}
