//! Where requests may go: addresses that no target has a reason to name are denied unless `proxy.target.allow` says
//! otherwise.
//!
//! Judged is the address about to be dialled, never the name alone, so a name that resolves to loopback gains
//! nothing. Denied from the start:
//!
//! ```text
//! IPv4  0/8  127/8  169.254/16  192.0.0/24  192.0.2/24  192.88.99/24  198.18/15  198.51.100/24  203.0.113/24
//!       224/4  240/4 (with 255.255.255.255), and the metadata services below
//! IPv6  all but global unicast (2000::/3) and unique local (fc00::/7): so ::, ::1, IPv4-compatible, local NAT64
//!       64:ff9b:1::/48, fe80::/10, fec0::/10, ff00::/8; and of global unicast 2001::/23 (Teredo and other
//!       protocols), 2001:db8::/32, 3fff::/20
//! ```
//! IPv4 addresses inside IPv6 ones (mapped, NAT64 64:ff9b::/96, 6to4 2002::/16) are judged as the IPv4 address.
//! Private ranges (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) pass: the operator's own services live there.
//! Our own listeners are denied elsewhere, where they are known. Sources: the IANA special-purpose address
//! registries (RFC 6890), RFC 6052, RFC 8215, RFC 3056.

use super::address_rule::{AddressRule, all};
use crate::fault::What;
use crate::setting::Setting;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which denied targets are allowed after all.
pub static TARGET_ALLOW: Setting<Egress> = Setting::new(
    "proxy.target.allow",
    "",
    Egress::parse,
    "Targets allowed although they are loopback, link-local, multicast or reserved addresses: a comma list of host \
     names, *.suffix, addresses and networks, each with an optional :port (IPv6 then as [::1]:8080). Cloud metadata \
     addresses only if named literally.",
);

/// Services that hand out credentials of the machine: lifted only by a rule naming the very address.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What the egress policy knows of an address before any rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Passes,
    Denied,
    /// Denied, and only a literal rule lifts it.
    Metadata,
}

/// The egress policy: the built-in denials and the rules that lift them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    lifts: Vec<Lift>,
}

/// One item of `proxy.target.allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lift {
    target: Named,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// This name, whatever it resolves to. Lower case, without the trailing dot.
    Host(String),
    /// Every name below this one, not itself. Lower case, without `*.`.
    Below(String),
    Address(AddressRule),
}

impl Egress {
    /// Reads the value of `proxy.target.allow`.
    ///
    /// # Errors
    /// What is wrong with each bad item, separated by `; `.
    pub fn parse(text: &str) -> Result<Self, String> {
        all(text, Lift::parse).map(|lifts| Self { lifts })
    }

    /// Judges the dialling of `address` for a target written as `host` (a name or a literal) and `port`. To be
    /// called for every address of a name, right before the connection. Allocates nothing.
    ///
    /// # Errors
    /// [`What::TargetDenied`].
    pub fn judge(&self, host: &str, port: u16, address: IpAddr) -> Result<(), What> {
        let address = address.to_canonical();
        let standing = standing(address);
        let host = host.strip_suffix('.').unwrap_or(host);
        let allowed = match standing {
            Standing::Passes => true,
            Standing::Denied => self.lifts.iter().any(|lift| lift.names(host, port, address)),
            Standing::Metadata => {
                self.lifts.iter().any(|lift| lift.is_literal() && lift.names(host, port, address))
            }
        };
        if allowed { Ok(()) } else { Err(What::TargetDenied) }
    }
}

impl Lift {
    fn parse(item: &str) -> Result<Self, String> {
        let (target, port) = split_port(item)?;
        let last_label = target.strip_suffix('.').unwrap_or(target).rsplit('.').next().unwrap_or_default();
        let numeric = last_label.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*');
        if numeric || target.contains([':', '/']) {
            let target = Named::Address(AddressRule::parse(target)?);
            return Ok(Self { target, port });
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
        Ok(Self { target: if below { Named::Below(name) } else { Named::Host(name) }, port })
    }

    fn names(&self, host: &str, port: u16, address: IpAddr) -> bool {
        self.port.is_none_or(|only| only == port)
            && match &self.target {
                Named::Host(name) => host.eq_ignore_ascii_case(name),
                Named::Below(suffix) => is_below(host.as_bytes(), suffix.as_bytes()),
                Named::Address(rule) => rule.names(address),
            }
    }

    fn is_literal(&self) -> bool {
        matches!(self.target, Named::Address(rule) if rule.is_literal())
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

fn standing(address: IpAddr) -> Standing {
    if METADATA.contains(&address) {
        return Standing::Metadata;
    }
    match address {
        IpAddr::V4(address) if is_denied(address) => Standing::Denied,
        IpAddr::V4(_) => Standing::Passes,
        IpAddr::V6(address) => standing_of_v6(address),
    }
}

fn standing_of_v6(address: Ipv6Addr) -> Standing {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            standing(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Standing::Denied,
        [0x2000..=0x3fff | 0xfc00..=0xfdff, ..] => Standing::Passes,
        _ => Standing::Denied,
    }
}

fn is_denied(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [0 | 127 | 224..=255, ..]
            | [169, 254, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rules: &str, host: &str, port: u16, address: &str) -> bool {
        Egress::parse(rules).unwrap().judge(host, port, address.parse().unwrap()).is_ok()
    }

    const DENIED: [&str; 42] = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::10.1.2.3",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:1ff::1",
        "2001:db8::1",
        "3fff:fff::1",
        "100::1",
        "fd00:ec2::254",
        "4000::1",
    ];

    #[test]
    fn what_no_target_has_a_reason_to_name_is_denied() {
        for address in DENIED {
            assert!(!judge("", address, 80, address), "{address}");
        }
    }

    #[test]
    fn public_and_private_addresses_pass() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:10.1.2.3",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:200::1",
            "2600::1",
            "3fff:1000::1",
            "fc00::1",
            "fd12:3456::1",
        ] {
            assert!(judge("", address, 80, address), "{address}");
        }
    }

    #[test]
    fn addresses_and_networks_lift_for_their_port() {
        assert!(judge("127.0.0.1", "127.0.0.1", 8080, "127.0.0.1"));
        assert!(judge("127.0.0.1", "a.example", 8080, "::ffff:127.0.0.1"));
        assert!(!judge("127.0.0.1", "127.0.0.2", 8080, "127.0.0.2"));
        assert!(judge("127.0.0.0/8:8080", "x", 8080, "127.9.9.9"));
        assert!(!judge("127.0.0.0/8:8080", "x", 8081, "127.9.9.9"));
        assert!(judge("::1", "::1", 1, "::1") && judge("[::1]:443", "::1", 443, "::1"));
        assert!(!judge("[::1]:443", "::1", 80, "::1"));
        assert!(judge("[fe80::/10]:80", "x", 80, "fe80::1") && judge("fe80::/10", "x", 80, "fe80::1"));
        assert!(judge("1.1.1.1 , 127.0.0.*", "x", 80, "127.0.0.9"));
        assert!(!judge("127.0.0.1", "x", 80, "64:ff9b::127.0.0.1"));
    }

    #[test]
    fn names_lift_whatever_they_resolve_to() {
        let rules = "Local.Example., *.test:8080";
        assert!(judge(rules, "local.example", 1, "127.0.0.1") && judge(rules, "LOCAL.example.", 1, "::1"));
        assert!(!judge(rules, "a.local.example", 1, "127.0.0.1"));
        assert!(judge(rules, "a.TEST", 8080, "127.0.0.1") && judge(rules, "a.b.test.", 8080, "127.0.0.1"));
        for host in ["test", ".test", "atest", "a.test.evil", ""] {
            assert!(!judge(rules, host, 8080, "127.0.0.1"), "{host}");
        }
        assert!(!judge(rules, "a.test", 80, "127.0.0.1"));
    }

    #[test]
    fn metadata_needs_its_literal_address() {
        for address in METADATA {
            let text = address.to_string();
            for rule in ["*", "metadata.example", "169.254.0.0/16", "fd00::/8", "100.64.0.0/10"] {
                assert!(!judge(rule, "metadata.example", 80, &text), "{rule} {text}");
            }
            let rule = if address.is_ipv6() { format!("[{text}]:80") } else { format!("{text}:80") };
            assert!(judge(&rule, "metadata.example", 80, &text), "{rule}");
            assert!(!judge(&rule, "metadata.example", 81, &text), "{rule}");
        }
        assert!(judge("*", "x", 80, "127.0.0.1"));
        assert!(!judge("*", "x", 80, "64:ff9b::169.254.169.254"));
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
            assert!(Egress::parse(item).is_err(), "{item}");
        }
        assert_eq!(
            Egress::parse("a:0,b,c:x"),
            Err("has the item \"a:0\", whose port is not 1 to 65535; has the item \"c:x\", whose port is not 1 to 65535"
                .to_owned())
        );
        assert_eq!(Egress::parse(" , "), Ok(Egress::default()));
    }
}
