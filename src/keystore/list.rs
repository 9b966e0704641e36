//! `apim-proxy keystore list`: what a store holds, for people. A block an entry, in the order of the file.

use super::contents::{Body, Kind, Sealed};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;
use x509_parser::prelude::{ASN1Time, GeneralName, X509Certificate, X509Name, parse_x509_certificate};

const DAY_SECONDS: i64 = 86_400;
/// Width of the column of names.
const COLUMN: usize = 14;

/// The list. `now` is in seconds since 1970.
///
/// # Errors
/// What keeps the store from being read; private keys need not be decrypted.
pub fn list(bytes: &[u8], password: Option<&str>, now: i64) -> Result<String, String> {
    let contents = super::open(bytes, password)?;
    let count = contents.entries.len();
    let entries = if count == 1 { "entry" } else { "entries" };
    let mut text = match contents.kind {
        Kind::Jks if contents.verified => format!("JKS, {count} {entries}\n"),
        Kind::Jks => format!("JKS, {count} {entries}, unverified: no password was given\n"),
        Kind::Pkcs12 if contents.verified => format!("PKCS12, {count} {entries}\n"),
        Kind::Pkcs12 => format!("PKCS12, {count} {entries}, unverified\n"),
        Kind::Pem => format!("PEM, {count} {entries}\n"),
    };
    for note in &contents.notes {
        let _ = writeln!(text, "note: {}", clean(note));
    }
    for entry in &contents.entries {
        text.push('\n');
        row(&mut text, "alias", &entry.alias);
        match &entry.body {
            Body::Trusted(certificate) => {
                row(&mut text, "type", "certificate");
                describe(&mut text, certificate, now);
            }
            Body::Key { sealed, chain } => {
                let open = matches!(sealed, Sealed::Plain(_));
                row(&mut text, "type", if open { "private key, not encrypted" } else { "private key" });
                for (index, certificate) in chain.iter().enumerate() {
                    row(&mut text, "certificate", &format!("{} of {}", index + 1, chain.len()));
                    describe(&mut text, certificate, now);
                }
            }
        }
    }
    Ok(text)
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:COLUMN$}{}", clean(value));
}

/// What a terminal could take for a command becomes U+FFFD.
fn clean(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn describe(text: &mut String, certificate: &CertificateDer<'_>, now: i64) {
    match parse_x509_certificate(certificate) {
        Ok((_, parsed)) => describe_parsed(text, &parsed, now),
        Err(_) => row(text, "subject", "cannot be read"),
    }
    let digest = digest(&SHA256, certificate);
    row(text, "SHA-256", &colons(digest.as_ref()));
}

fn describe_parsed(text: &mut String, certificate: &X509Certificate<'_>, now: i64) {
    row(text, "subject", &certificate.subject.to_string());
    for number in serial_numbers(&certificate.subject) {
        row(text, "SERIALNUMBER", &number);
    }
    row(text, "issuer", &certificate.issuer.to_string());
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => {
            let names: Vec<_> = names.value.general_names.iter().map(name).collect();
            row(text, "names", &names.join(", "));
        }
        Ok(None) => {}
        Err(_) => row(text, "names", "cannot be read"),
    }
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let left = if now < from {
        format!("valid in {}", days(from - now))
    } else if now > to {
        format!("expired {} ago", days(now - to))
    } else {
        format!("{} left", days(to - now))
    };
    row(text, "valid", &format!("{} to {}, {left}", date(validity.not_before), date(validity.not_after)));
}

fn serial_numbers(subject: &X509Name<'_>) -> Vec<String> {
    subject
        .iter_by_oid(&OID_X509_SERIALNUMBER)
        .map(|attribute| attribute.as_str().map_or_else(|_| "cannot be read".to_owned(), str::to_owned))
        .collect()
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => format!("DNS {name}"),
        GeneralName::IPAddress(octets) => match (<[u8; 4]>::try_from(*octets), <[u8; 16]>::try_from(*octets))
        {
            (Ok(octets), _) => format!("IP {}", Ipv4Addr::from(octets)),
            (_, Ok(octets)) => format!("IP {}", Ipv6Addr::from(octets)),
            _ => "IP of a wrong length".to_owned(),
        },
        GeneralName::RFC822Name(name) => format!("mail {name}"),
        GeneralName::URI(name) => format!("URI {name}"),
        GeneralName::DirectoryName(name) => format!("directory {name}"),
        GeneralName::OtherName(kind, _) => format!("other {kind}"),
        GeneralName::RegisteredID(id) => format!("OID {id}"),
        GeneralName::X400Address(_) | GeneralName::EDIPartyName(_) | GeneralName::Invalid(..) => {
            "one that cannot be shown".to_owned()
        }
    }
}

/// Whole days.
fn days(seconds: i64) -> String {
    match seconds / DAY_SECONDS {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn date(time: ASN1Time) -> String {
    let date = time.to_datetime();
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// As keytool writes a fingerprint.
fn colons(octets: &[u8]) -> String {
    let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_is_listed() {
        let file = "# alias: x\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let expected = "PEM, 1 entry\n\nalias         x\ntype          certificate\nsubject       cannot be read\n\
                        SHA-256       E4:F6:0D:0A:A6:D7:F3:D3:B6:A6:49:4B:1C:86:1B:99:F6:49:C6:F9:EC:51:AB:AF:\
                        20:1B:20:F2:97:32:7C:95\n";
        assert_eq!(list(file.as_bytes(), None, 0), Ok(expected.to_owned()));
    }

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
