//! A rule that names addresses, in the one grammar every address list of the product uses.
//!
//! ```text
//! 1.2.3.4   1.2.3.*   1.2.*.*   10.0.0.0/8   2001:db8::1   2001:db8::/32   *
//! ```
//! IPv4-mapped IPv6 addresses count as the IPv4 address they carry, in rules and in the addresses judged, so
//! `::/0` names no IPv4 address. A rule that can never match, or that can be read in two ways, is refused: a typing
//! error must not silently shut clients out or let strangers in.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

const GRAMMAR: &str =
    "write an address (10.1.2.3, 2001:db8::1), a wildcard (10.1.2.*) or a network (10.1.0.0/16)";

/// One rule: which addresses it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRule {
    /// `*`: every address of both families.
    Any,
    /// Every address of a network; a single address is a network of one.
    Network(IpNet),
}

impl AddressRule {
    /// Reads one rule; surrounding blanks do not count.
    ///
    /// # Errors
    /// What the rule is, what is wrong with it and what to write instead: the rest of a sentence that begins with the
    /// key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains('*') {
            return wildcard(text).map(Self::Network);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| never(text, "it is not an IP address"))?;
        network(text, address, prefix).map(Self::Network)
    }

    /// Whether the rule names `address`.
    pub fn names(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Network(network) => network.contains(&address.to_canonical()),
        }
    }

    /// Whether the rule names one single address, literally.
    pub fn is_literal(self) -> bool {
        matches!(self, Self::Network(network) if network.prefix_len() == network.max_prefix_len())
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Network(network) if self.is_literal() => network.addr().fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

/// Rules of which one must name the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules(Vec<AddressRule>);

impl AddressRules {
    /// Reads a list separated by `;` or `,`; blanks and empty items do not count.
    ///
    /// # Errors
    /// What is wrong with each bad rule, separated by `; `.
    pub fn parse(text: &str) -> Result<Self, String> {
        all(text, AddressRule::parse).map(Self)
    }

    /// Whether one of the rules names `address`. Linear: ask once a connection, not once a request.
    pub fn name(&self, address: IpAddr) -> bool {
        self.0.iter().any(|rule| rule.names(address))
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The items of a list separated by `;` or `,`, without blanks and empty ones.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', ',']).map(str::trim).filter(|item| !item.is_empty())
}

/// Every item read by `parse`, or everything that is wrong with any of them.
pub(super) fn all<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for item in items(text) {
        match parse(item) {
            Ok(rule) => read.push(rule),
            Err(sentence) => wrong.push(sentence),
        }
    }
    if wrong.is_empty() { Ok(read) } else { Err(wrong.join("; ")) }
}

fn never(text: &str, why: &str) -> String {
    format!("has the rule \"{text}\", which can never match: {why}; {GRAMMAR}")
}

/// `1.2.3.*` and its shorter relatives: four parts, wildcards only at the end.
fn wildcard(text: &str) -> Result<IpNet, String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() != 4 {
        return Err(never(text, "a wildcard rule has four parts"));
    }
    let named = parts.iter().take_while(|part| **part != "*").count();
    if parts[named..].iter().any(|part| *part != "*") {
        return Err(never(text, "only the last parts can be *"));
    }
    let address: Ipv4Addr = [&parts[..named], &["0"; 4][named..]]
        .concat()
        .join(".")
        .parse()
        .map_err(|_| never(text, "each part is a number from 0 to 255 or *"))?;
    Ok(IpNet::new_assert(address.into(), 8 * named as u8))
}

/// An address with an optional prefix length, IPv4-mapped ones turned into IPv4.
fn network(text: &str, address: IpAddr, prefix: Option<&str>) -> Result<IpNet, String> {
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let length = match prefix {
        None => widest,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|length| *length <= widest)
            .ok_or_else(|| never(text, &format!("its prefix length is not 0 to {widest}")))?,
        Some(_) => return Err(never(text, &format!("its prefix length is not 0 to {widest}"))),
    };
    let given = IpNet::new_assert(address, length);
    if given.network() != address {
        let whole = given.trunc();
        return Err(format!(
            "has the rule \"{text}\", which names a host and a network at once; write {address} for the host or {whole} for the network"
        ));
    }
    Ok(match address.to_canonical() {
        IpAddr::V4(mapped) if address.is_ipv6() && length >= 96 => {
            IpNet::new_assert(mapped.into(), length - 96)
        }
        _ => given,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rule: &str, address: &str) -> bool {
        AddressRule::parse(rule).unwrap().names(address.parse().unwrap())
    }

    #[test]
    fn each_form_names_its_addresses_and_no_others() {
        let rows = [
            ("1.2.3.4", "1.2.3.4", "1.2.3.5"),
            (" 1.2.3.* ", "1.2.3.255", "1.2.4.0"),
            ("1.2.*.*", "1.2.0.1", "1.3.0.1"),
            ("1.*.*.*", "1.255.0.1", "2.0.0.1"),
            ("*.*.*.*", "255.0.0.1", "::1"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "8.8.8.8", "2001:db8::1"),
            ("2001:DB8::1", "2001:db8::1", "2001:db8::2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "::1", "127.0.0.1"),
            ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.5"),
            ("::ffff:1.2.3.0/120", "1.2.3.9", "1.2.4.9"),
        ];
        for (rule, inside, outside) in rows {
            assert!(names(rule, inside), "{rule} names {inside}");
            assert!(!names(rule, outside), "{rule} does not name {outside}");
        }
        assert!(names("*", "1.2.3.4") && names("*", "2001:db8::1"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_it_carries() {
        assert!(names("1.2.3.*", "::ffff:1.2.3.4"));
        assert!(!names("::/0", "::ffff:1.2.3.4"));
        assert!(!names("1.2.3.*", "::1.2.3.4"));
    }

    #[test]
    fn what_can_never_match_is_refused_with_its_remedy() {
        let never = |rule: &str, why: &str| {
            assert_eq!(
                AddressRule::parse(rule),
                Err(format!("has the rule \"{rule}\", which can never match: {why}; {GRAMMAR}"))
            );
        };
        for rule in
            ["300.1.1.1", "1.2.3", "01.2.3.4", "localhost", "", "[::1]", "fe80::1%eth0", "10.0.0.0-10.0.0.9"]
        {
            never(rule, "it is not an IP address");
        }
        for rule in ["300.1.*.*", "1.2.03.*", "1.2*.*.*", "-1.*.*.*"] {
            never(rule, "each part is a number from 0 to 255 or *");
        }
        for rule in ["1.*.2.3", "*.2.3.4", "1.*.3.*"] {
            never(rule, "only the last parts can be *");
        }
        for rule in ["1.2.*", "1.2.3.4.*", "2001:*"] {
            never(rule, "a wildcard rule has four parts");
        }
        for rule in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/255.0.0.0", "10.0.0.0/8/8"] {
            never(rule, "its prefix length is not 0 to 32");
        }
        never("2001:db8::/129", "its prefix length is not 0 to 128");
    }

    #[test]
    fn host_bits_beside_a_prefix_are_refused() {
        assert_eq!(
            AddressRule::parse("10.1.2.3/8"),
            Err("has the rule \"10.1.2.3/8\", which names a host and a network at once; \
                 write 10.1.2.3 for the host or 10.0.0.0/8 for the network"
                .to_owned())
        );
    }

    #[test]
    fn lists_ignore_blanks_and_report_every_bad_rule() {
        let rules = AddressRules::parse(" 1.2.3.4 ;; 10.0.0.0/8, ::1 ;").unwrap();
        assert_eq!(
            rules.0.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["1.2.3.4", "10.0.0.0/8", "::1"]
        );
        assert!(rules.name("::1".parse().unwrap()) && !rules.name("::2".parse().unwrap()));
        assert_eq!(AddressRules::parse(" ; "), Ok(AddressRules::default()));
        let sentences = AddressRules::parse("300.1.1.1;1.2.3.4;1.*.2.3").unwrap_err();
        assert!(sentences.contains("\"300.1.1.1\"") && sentences.contains("\"1.*.2.3\""), "{sentences}");
    }

    #[test]
    fn only_a_single_address_is_literal() {
        assert!(AddressRule::parse("1.2.3.4").unwrap().is_literal());
        assert!(AddressRule::parse("::1/128").unwrap().is_literal());
        assert!(!AddressRule::parse("1.2.3.*").unwrap().is_literal());
        assert!(!AddressRule::Any.is_literal());
    }
}
