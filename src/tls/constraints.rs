//! Name constraints (RFC 5280 §4.2.1.10), for what webpki leaves to us: directory names, and the commonName of a
//! certificate without DNS names, which counts as one and therefore has to obey.
//!
//! What cannot be compared is never inside of a permitted subtree and always inside of an excluded one.

use x509_parser::asn1_rs::Any;
use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints};
use x509_parser::x509::{RelativeDistinguishedName, X509Name};

use rustls::pki_types::DnsName;

use super::certificate::{Certificate, text};

/// Whether every name of the certificate is allowed: subject, subjectAltName, and the commonName where it counts.
pub fn permit(constraints: &NameConstraints<'_>, certificate: &Certificate<'_>) -> bool {
    let mut names: Vec<GeneralName<'_>> = certificate.alternative_names().to_vec();
    if certificate.subject_name().iter_rdn().next().is_some() {
        names.push(GeneralName::DirectoryName(certificate.subject_name().clone()));
    }
    if certificate.has_email_in_subject() {
        names.push(GeneralName::RFC822Name(""));
    }
    names.iter().all(|name| permitted(constraints, name)) && permit_common_name(constraints, certificate)
}

/// Whether the commonName is allowed as a DNS name; a certificate with DNS names, or whose commonName is none, has no
/// such name.
pub fn permit_common_name(constraints: &NameConstraints<'_>, certificate: &Certificate<'_>) -> bool {
    let name = certificate.common_name().filter(|_| !certificate.has_dns_names());
    name.is_none_or(|name| {
        let name = name.trim();
        DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_err()
            || permitted(constraints, &GeneralName::DNSName(name))
    })
}

fn permitted(constraints: &NameConstraints<'_>, name: &GeneralName<'_>) -> bool {
    let subtrees = |list: &Option<Vec<GeneralSubtree<'_>>>, side: Side| -> Vec<bool> {
        list.iter().flatten().filter_map(|subtree| holds(&subtree.base, name, side)).collect()
    };
    let excluded = subtrees(&constraints.excluded_subtrees, Side::Excluded);
    let allowed = subtrees(&constraints.permitted_subtrees, Side::Permitted);
    !excluded.contains(&true) && (allowed.is_empty() || allowed.contains(&true))
}

/// Which list a subtree stands in; doubts count against the name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Permitted,
    Excluded,
}

impl Side {
    const fn doubt(self) -> bool {
        matches!(self, Self::Excluded)
    }
}

/// Whether the subtree holds the name; `None` when it speaks of another kind of name.
fn holds(base: &GeneralName<'_>, name: &GeneralName<'_>, side: Side) -> Option<bool> {
    match (base, name) {
        (GeneralName::DNSName(base), GeneralName::DNSName(name)) => Some(holds_dns(base, name, side)),
        (GeneralName::IPAddress(base), GeneralName::IPAddress(name)) => Some(holds_address(base, name, side)),
        (GeneralName::DirectoryName(base), GeneralName::DirectoryName(name)) => {
            Some(holds_directory(base, name, side))
        }
        (base, name) => (kind(base) == kind(name)).then_some(side.doubt()),
    }
}

/// The tag of a name's kind (RFC 5280 §4.2.1.6).
fn kind(name: &GeneralName<'_>) -> u32 {
    match name {
        GeneralName::OtherName(..) => 0,
        GeneralName::RFC822Name(_) => 1,
        GeneralName::DNSName(_) => 2,
        GeneralName::X400Address(_) => 3,
        GeneralName::DirectoryName(_) => 4,
        GeneralName::EDIPartyName(_) => 5,
        GeneralName::URI(_) => 6,
        GeneralName::IPAddress(_) => 7,
        GeneralName::RegisteredID(_) => 8,
        GeneralName::Invalid(tag, _) => tag.0,
    }
}

fn holds_dns(base: &str, name: &str, side: Side) -> bool {
    let (base, name) = (base.to_ascii_lowercase(), name.to_ascii_lowercase());
    if base.is_empty() {
        return true;
    }
    let wild = name.strip_prefix("*.");
    if DnsName::try_from(wild.unwrap_or(&name)).is_err() || name.ends_with('.') {
        return side.doubt();
    }
    let below = if base.starts_with('.') { base.clone() } else { format!(".{base}") };
    // A wildcard may become any host beside an excluded one.
    let reaches = |parent: &str| {
        side == Side::Excluded && base.split_once('.').is_some_and(|(_, beside)| beside == parent)
    };
    name == base || name.ends_with(&below) || wild.is_some_and(reaches)
}

fn holds_address(base: &[u8], name: &[u8], side: Side) -> bool {
    if !matches!(base.len(), 8 | 32) || !matches!(name.len(), 4 | 16) {
        return side.doubt();
    }
    let (network, mask) = base.split_at(base.len() / 2);
    // An address of the other family is outside.
    name.len() == network.len()
        && name.iter().zip(network).zip(mask).all(|((name, network), mask)| name & mask == network & mask)
}

fn holds_directory(base: &X509Name<'_>, name: &X509Name<'_>, side: Side) -> bool {
    let mut parts = name.iter_rdn();
    base.iter_rdn().all(|base| parts.next().is_some_and(|part| same_part(base, part, side)))
}

fn same_part(base: &RelativeDistinguishedName<'_>, part: &RelativeDistinguishedName<'_>, side: Side) -> bool {
    base.iter().count() == part.iter().count()
        && base.iter().all(|base| {
            part.iter().any(|part| {
                base.attr_type() == part.attr_type() && same_value(base.attr_value(), part.attr_value(), side)
            })
        })
}

/// Equal as text whatever the string type, upper case and runs of blanks, as in Java's canonical form.
fn same_value(base: &Any<'_>, value: &Any<'_>, side: Side) -> bool {
    let canonical = |any: &Any<'_>| {
        text(any).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
    };
    match (canonical(base), canonical(value)) {
        (Some(base), Some(value)) => base == value,
        _ => (base.header.tag() == value.header.tag() && base.data == value.data) || side.doubt(),
    }
}
