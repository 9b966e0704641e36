//! A rule that names client certificates by their subject, in the grammar of `proxy.client.allow-subjects` and
//! `proxy.groups[N].subjects`.
//!
//! ```text
//! CN=batch.bank.example            the subject has this attribute with this value, whatever else it has
//! CN=*.bank.example                * stands for any characters
//! CN=batch,O=Bank\, Inc.,C=KR      several: the whole subject, as RFC 2253 writes it (most specific first)
//! ```
//! Rules are separated by `;`. Types are names (CN, O, SERIALNUMBER ...) or numbers (2.5.4.5). Values are compared
//! exactly, case included; `\` takes the meaning from a character (`\,` `\;` `\+` `\=` `\\`) or stands before two hexadecimal
//! digits (`\2a` is a star). A subject with a value that is no text matches nothing.

use crate::setting::Setting;
use crate::tls::certificate::Certificate;

/// Which client certificates may enter.
pub static ALLOW_SUBJECTS: Setting<Option<SubjectRules>> = Setting::new(
    "proxy.client.allow-subjects",
    "",
    SubjectRules::parse,
    "Subjects of client certificates that may enter, separated by ;: CN=name (any one attribute, * for any characters) or a whole \
     subject as RFC 2253 writes it. Empty: any that server.ssl.client-auth accepts. Others get 403 Not allow ip.",
);

/// Attribute types that have names (RFC 4514 §3, RFC 5280 appendix A, and what keytool and openssl print).
const TYPES: [(&str, &str); 18] = [
    ("CN", "2.5.4.3"),
    ("SURNAME", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("S", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("TITLE", "2.5.4.12"),
    ("GIVENNAME", "2.5.4.42"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("E", "1.2.840.113549.1.9.1"),
    ("EMAIL", "1.2.840.113549.1.9.1"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

/// A subject, most specific part first as RFC 2253 writes it; each part holds one attribute or, joined by `+`, several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Vec<Vec<(String, String)>>);

impl Subject {
    /// The subject of the certificate `der`; `None` when it cannot be read as text.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut parts = Certificate::read(der)?.subject_parts()?;
        parts.reverse();
        for part in &mut parts {
            part.sort_unstable();
        }
        Some(Self(parts))
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SubjectRule {
    /// As in [`Subject`]; values may hold stars.
    parts: Vec<Vec<(String, Pattern)>>,
}

/// Rules of which one must name the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRules(Vec<SubjectRule>);

impl SubjectRules {
    /// Reads a list; `None` when it is blank.
    ///
    /// # Errors
    /// What is wrong with a rule.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let rules: Vec<SubjectRule> = split(text, ';')
            .into_iter()
            .filter(|rule| !rule.trim().is_empty())
            .map(SubjectRule::parse)
            .collect::<Result<_, _>>()?;
        if rules.is_empty() { Err("holds no rule; leave it out".to_owned()) } else { Ok(Some(Self(rules))) }
    }

    /// Whether one of the rules names `subject`.
    pub fn name(&self, subject: &Subject) -> bool {
        self.0.iter().any(|rule| rule.names(subject))
    }
}

impl SubjectRule {
    fn parse(text: &str) -> Result<Self, String> {
        let part = |part| split(part, '+').into_iter().map(|pair| attribute(pair, text)).collect();
        let mut parts: Vec<Vec<_>> = split(text, ',').into_iter().map(part).collect::<Result<_, String>>()?;
        for part in &mut parts {
            part.sort_unstable();
        }
        Ok(Self { parts })
    }

    fn names(&self, subject: &Subject) -> bool {
        let fits = |(own, pattern): &(String, Pattern), (kind, value): &(String, String)| {
            own == kind && pattern.fits(value)
        };
        if let [one] = &self.parts[..]
            && let [one] = &one[..]
        {
            return subject.0.iter().flatten().any(|attribute| fits(one, attribute));
        }
        self.parts.len() == subject.0.len()
            && self.parts.iter().zip(&subject.0).all(|(own, part)| {
                own.len() == part.len() && own.iter().zip(part).all(|(own, attribute)| fits(own, attribute))
            })
    }
}

/// A value in which stars stand for any characters: what stands between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern(Vec<String>);

impl Pattern {
    fn fits(&self, value: &str) -> bool {
        let [first, middle @ .., last] = &self.0[..] else {
            return self.0.first().is_some_and(|only| only == value);
        };
        let Some(rest) = value.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        middle.iter().all(|piece| match rest.split_once(piece.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }
}

/// Splits at every `separator` that no backslash stands before.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut escaped = false;
    text.split(|c: char| {
        let splits = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        splits
    })
    .collect()
}

/// `type=value`, of the rule `rule`.
fn attribute(text: &str, rule: &str) -> Result<(String, Pattern), String> {
    let rule = rule.trim();
    let wrong = |what: &str| format!("has the rule \"{rule}\", {what}");
    let (kind, value) = text.split_once('=').ok_or_else(|| {
        wrong("where an attribute is not written type=value; write CN=name, or a whole subject such as CN=name,O=firm,C=KR")
    })?;
    let kind = kind.trim();
    let kind = kind.strip_prefix("OID.").unwrap_or(kind);
    let is_number = kind.contains('.')
        && kind.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()));
    let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)).map(|(_, number)| *number);
    let kind = known.or(is_number.then_some(kind)).ok_or_else(|| {
        wrong(&format!("whose attribute type \"{kind}\" is unknown; write CN, O, OU, SERIALNUMBER ... or its number such as 2.5.4.5"))
    })?;
    let value = trimmed(value);
    if value.is_empty() || value.starts_with(['#', '"']) {
        return Err(wrong(
            "where a value is missing, quoted or in hexadecimal; write it plainly, with \\ before , + = ; and \\",
        ));
    }
    let pieces = split(value, '*').into_iter().map(unescaped).collect::<Option<Vec<_>>>();
    let pieces =
        pieces.ok_or_else(|| wrong("where a \\ stands before nothing, or its two digits make no text"))?;
    Ok((kind.to_owned(), Pattern(pieces)))
}

/// Without the blanks around it, but for one that a backslash stands before.
fn trimmed(value: &str) -> &str {
    let value = value.trim_start();
    let cut = value.trim_end();
    let slashes = cut.len() - cut.trim_end_matches('\\').len();
    if slashes % 2 == 1 && cut.len() < value.len() { &value[..=cut.len()] } else { cut }
}

/// The meaning of a piece of a value; hexadecimal digits make bytes of UTF-8.
fn unescaped(piece: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = piece.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        match rest {
            [high, low, after @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
                rest = after;
            }
            [escaped, after @ ..] => {
                bytes.push(*escaped);
                rest = after;
            }
            [] => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(parts: &[&[(&str, &str)]]) -> Subject {
        let number = |kind: &str| {
            TYPES.iter().find(|(name, _)| *name == kind).map_or(kind, |(_, number)| *number).to_owned()
        };
        let part = |part: &&[(&str, &str)]| {
            let mut part: Vec<_> =
                part.iter().map(|(kind, value)| (number(kind), (*value).to_owned())).collect();
            part.sort_unstable();
            part
        };
        Subject(parts.iter().map(part).collect())
    }

    fn names(rules: &str, subject: &Subject) -> bool {
        SubjectRules::parse(rules).expect(rules).expect("rules").name(subject)
    }

    #[test]
    fn one_attribute_is_looked_for_and_several_are_the_whole_subject() {
        let bank = subject(&[
            &[("CN", "batch.bank.example")],
            &[("OU", "A+B; x=y")],
            &[("O", "Bank, Inc.")],
            &[("C", "KR")],
        ]);
        for rules in [
            "CN=batch.bank.example",
            " cn = batch.bank.example ",
            "2.5.4.3=batch.bank.example",
            "OID.2.5.4.3=batch.bank.example",
            "CN=other; C=KR",
            "C=KR;",
            "CN=*.bank.example",
            "CN=batch.*",
            "CN=*",
            "CN=b*bank*ex*le",
            "O=Bank\\, Inc.",
            "O=Bank\\2c Inc.",
            "OU=A\\+B\\; x\\=y",
            "OU=A\\+B\\; x=y",
            "CN=batch.bank.example,OU=A\\+B\\; x=y,O=Bank\\, Inc.,C=KR",
            "CN=*,OU=*,O=*,C=KR",
        ] {
            assert!(names(rules, &bank), "{rules}");
        }
        for rules in [
            "CN=batch",
            "CN=Batch.bank.example",
            "CN=*.example.org",
            "CN=bank.example*",
            "CN=batch.bank.example\\*",
            "CN=batch.bank.example\\2a",
            "O=KR",
            "CN=batch.bank.example,C=KR",
            "C=KR,O=Bank\\, Inc.,OU=*,CN=*",
            "CN=*,OU=*,O=*,C=KR,DC=x",
            "SERIALNUMBER=*",
        ] {
            assert!(!names(rules, &bank), "{rules}");
        }
    }

    #[test]
    fn parts_of_several_attributes_have_no_order() {
        let both = subject(&[&[("CN", "a"), ("SERIALNUMBER", "1")], &[("C", "KR")]]);
        assert!(names("SERIALNUMBER=1+CN=a,C=KR", &both) && names("CN=a+SERIALNUMBER=1,C=KR", &both));
        assert!(names("SERIALNUMBER=1", &both));
        assert!(!names("CN=a,SERIALNUMBER=1,C=KR", &both) && !names("CN=a,C=KR", &both));
    }

    #[test]
    fn a_pattern_never_uses_a_character_twice() {
        let of = |value| subject(&[&[("CN", value)]]);
        assert!(names("CN=ab*ba", &of("abba")) && !names("CN=ab*ba", &of("aba")));
        assert!(names("CN=a*b*a", &of("aba")) && !names("CN=a*a*a", &of("aa")));
    }

    #[test]
    fn an_escaped_blank_at_the_end_counts() {
        let of = |value| subject(&[&[("CN", value)]]);
        assert!(names("CN=a\\ ", &of("a ")) && !names("CN=a ", &of("a ")) && names("CN=a\\\\ ", &of("a\\")));
    }

    #[test]
    fn mistakes_are_refused() {
        for rules in [
            "batch", "*", "=x", "CN=", "CN= ;", "XX=a", "1=a", "2..5=a", "CN=\"a\"", "CN=#0403", "CN=a,",
            "CN=a\\", ";", "CN=\\ff", "CN=a+",
        ] {
            assert!(SubjectRules::parse(rules).is_err(), "{rules}");
        }
        assert_eq!(SubjectRules::parse("  "), Ok(None));
    }
}
