//! The host a certificate has to name, and the rules by which names match (RFC 9110 §4.3.4, RFC 6125 §6.4).
//!
//! The rules are webpki's: a wildcard is a whole first label with two labels or more behind it, underscores are let
//! through, a final dot of the host does not count, and an address is only ever named by an address. Beyond webpki,
//! the most specific commonName counts for certificates without a DNS name in subjectAltName, as in Java.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{DnsName, ServerName};

use super::certificate::Certificate;

/// Whom we talk to: a DNS name in lower case and without a final dot, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Ends of file names, which operators use as aliases and which are no top-level domains.
const FILE_ENDS: [&str; 6] = [".crt", ".cer", ".pem", ".der", ".p7b", ".p12"];

impl Host {
    /// The host of a TLS connection; `None` for a kind of name that rustls may learn one day.
    pub fn of(name: &ServerName<'_>) -> Option<Self> {
        match name {
            ServerName::DnsName(name) => Some(Self::dns(name.as_ref())),
            ServerName::IpAddress(address) => Some(Self::Ip((*address).into())),
            _ => None,
        }
    }

    /// The host an alias of a trust store spells, if it has the form of one: an address, bare or in brackets, or a
    /// DNS name of any number of labels.
    pub fn of_alias(alias: &str) -> Option<Self> {
        let alias = alias.trim();
        let bare = alias.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(alias);
        if let Ok(address) = bare.parse() {
            return Some(Self::Ip(address));
        }
        DnsName::try_from(alias).ok().map(|name| Self::dns(name.as_ref()))
    }

    fn dns(name: &str) -> Self {
        Self::Dns(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
    }

    /// Whether it cannot be mistaken for an ordinary word or the name of a file.
    pub fn is_unmistakable(&self) -> bool {
        match self {
            Self::Ip(_) => true,
            Self::Dns(name) => {
                name == "localhost"
                    || (name.contains('.') && !FILE_ENDS.iter().any(|end| name.ends_with(end)))
            }
        }
    }

    /// Whether subjectAltName names this host.
    pub fn is_alternative_name_of(&self, certificate: &Certificate<'_>) -> bool {
        match self {
            Self::Ip(address) => certificate.ip_names().any(|name| name == *address),
            Self::Dns(host) => certificate.dns_names().any(|name| matches(name, host)),
        }
    }

    /// Whether commonName names this host, which counts only where subjectAltName has no DNS name at all.
    pub fn is_common_name_of(&self, certificate: &Certificate<'_>) -> bool {
        match self {
            Self::Ip(_) => false,
            Self::Dns(host) => {
                !certificate.has_dns_names()
                    && certificate.common_name().is_some_and(|name| matches(name.trim(), host))
            }
        }
    }

    /// Whether the certificate names this host one way or the other.
    pub fn is_named_by(&self, certificate: &Certificate<'_>) -> bool {
        self.is_alternative_name_of(certificate) || self.is_common_name_of(certificate)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Whether a name in a certificate is the host's; the host is in lower case and without a final dot.
fn matches(name: &str, host: &str) -> bool {
    let (pattern, wild) = match name.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    // A name in a certificate is never absolute.
    if pattern.ends_with('.') || DnsName::try_from(pattern).is_err() {
        return false;
    }
    if !wild {
        return pattern.eq_ignore_ascii_case(host);
    }
    let parent = host.split_once('.').map(|(_, parent)| parent);
    pattern.contains('.') && parent.is_some_and(|parent| pattern.eq_ignore_ascii_case(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_label_by_label() {
        let rows = [
            ("api.bank.test", "api.bank.test", true),
            ("API.Bank.Test", "api.bank.test", true),
            ("my_api.bank.test", "my_api.bank.test", true),
            ("bank.test", "api.bank.test", false),
            ("*.bank.test", "api.bank.test", true),
            ("*.Bank.test", "api.bank.test", true),
            ("*.bank.test", "bank.test", false),
            ("*.bank.test", "a.api.bank.test", false),
            ("*.test", "bank.test", false),
            ("*", "bank", false),
            ("a*.bank.test", "api.bank.test", false),
            ("api.*.test", "api.bank.test", false),
            ("*.*.test", "api.bank.test", false),
            ("api.bank.test.", "api.bank.test", false),
            ("", "api.bank.test", false),
            ("api bank.test", "api bank.test", false),
            ("api.bank.test\0.evil.test", "api.bank.test", false),
        ];
        for (name, host, expected) in rows {
            assert_eq!(matches(name, host), expected, "{name} {host}");
        }
    }

    #[test]
    fn an_alias_is_a_host_or_it_is_not() {
        let host = |alias| Host::of_alias(alias).map(|host| (host.to_string(), host.is_unmistakable()));
        let rows = [
            ("api.bank.test", Some(("api.bank.test", true))),
            (" API.bank.test. ", Some(("api.bank.test", true))),
            ("localhost", Some(("localhost", true))),
            ("mykey", Some(("mykey", false))),
            ("root.crt", Some(("root.crt", false))),
            ("10.0.0.1", Some(("10.0.0.1", true))),
            ("[::1]", Some(("::1", true))),
            ("::1", Some(("::1", true))),
            ("a key", None),
            ("debian:root", None),
            ("*.bank.test", None),
            ("", None),
        ];
        for (alias, expected) in rows {
            assert_eq!(host(alias), expected.map(|(name, sure)| (name.to_owned(), sure)), "{alias}");
        }
    }
}
