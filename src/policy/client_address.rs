//! `proxy.ip.allow`: which clients may enter, judged by the address of their socket.
//!
//! It refuses to look at any header. An address it cannot judge does not exist: every socket has one, and what no
//! rule names is denied.

use super::address_rule::AddressRules;
use crate::setting::Setting;
use std::net::IpAddr;

/// Who may connect; empty or unset means everyone.
pub static ALLOW: Setting<ClientAddress> = Setting::new(
    "proxy.ip.allow",
    "",
    ClientAddress::parse,
    "Clients that may enter, separated by ; or , as 10.1.2.3, 10.1.2.*, 10.0.0.0/8, 2001:db8::/32; \
     empty: everyone. Others get 403 Not allow ip.",
);

/// Who may connect to the reverse listeners.
pub static REVERSE_ALLOW: Setting<ClientAddress> = Setting::new(
    "proxy.reverse.ip.allow",
    "",
    ClientAddress::parse,
    "Clients that may enter through the reverse listeners, as in proxy.ip.allow, which does not count there; empty: everyone.",
);

/// The clients that may enter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientAddress {
    /// `None`: everyone may.
    allowed: Option<AddressRules>,
}

impl ClientAddress {
    /// Reads the value of `proxy.ip.allow`.
    ///
    /// # Errors
    /// All rules that can never match; or a value that has separators but no rule, which is a mistake and must not
    /// open the door to everyone.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rules = AddressRules::parse(text)?;
        if rules.is_empty() {
            return Err("holds no rule; leave it empty to let everyone in".to_owned());
        }
        Ok(Self { allowed: Some(rules) })
    }

    /// Whether a client whose socket has `address` may enter. Linear in the rules: ask once a connection.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.as_ref().is_none_or(|rules| rules.name(address))
    }

    /// Whether everyone may enter, which the start banner names as a risk.
    pub fn allows_everyone(&self) -> bool {
        self.allowed.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rules: &str, address: &str) -> bool {
        ClientAddress::parse(rules).unwrap().allows(address.parse().unwrap())
    }

    #[test]
    fn empty_lets_everyone_in() {
        for address in ["1.2.3.4", "2001:db8::1", "::ffff:1.2.3.4"] {
            assert!(allows("", address) && allows("  ", address));
        }
        assert!(ClientAddress::parse(ALLOW.default).unwrap().allows_everyone());
    }

    #[test]
    fn what_no_rule_names_is_denied_in_both_families() {
        let rules = "127.0.0.1; 10.1.2.*, 172.16.0.0/12";
        for inside in ["127.0.0.1", "10.1.2.9", "172.31.255.255", "::ffff:10.1.2.9"] {
            assert!(allows(rules, inside), "{inside}");
        }
        for outside in ["127.0.0.2", "10.1.3.9", "172.32.0.0", "::1", "2001:db8::1", "::ffff:10.1.3.9"] {
            assert!(!allows(rules, outside), "{outside}");
        }
        assert!(!ClientAddress::parse(rules).unwrap().allows_everyone());
    }

    #[test]
    fn mistakes_do_not_open_the_door() {
        assert_eq!(
            ClientAddress::parse(" ; "),
            Err("holds no rule; leave it empty to let everyone in".to_owned())
        );
        assert!(ClientAddress::parse("10.0.0.1;300.1.1.1").is_err());
    }
}
