//! Groups of clients, `proxy.groups[N]`: by address, by the subject of their certificate, or by both. The first that names
//! a client is its group; for most clients there is none.

use super::address_rule::AddressRules;
use super::subject_rule::{Subject, SubjectRules};
use crate::setting::{Setting, Source};
use crate::value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a group is called in the log.
pub static NAME: Setting<String> = Setting::new(
    "proxy.groups[N].name",
    "",
    name,
    "Name of this group of clients in the log, of letters, digits, `-`, `_` and `.`; unset: its number.",
);
/// Which clients belong to it, by address.
pub static ADDRESSES: Setting<Option<AddressRules>> = Setting::new(
    "proxy.groups[N].addresses",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { AddressRules::parse(text).map(Some) },
    "Addresses of the clients in this group, written as in proxy.ip.allow. The first group that names a client is its group.",
);
/// Which clients belong to it, by certificate.
pub static SUBJECTS: Setting<Option<SubjectRules>> = Setting::new(
    "proxy.groups[N].subjects",
    "",
    SubjectRules::parse,
    "Subjects of the certificates of the clients in this group, written as in proxy.client.allow-subjects; with addresses as \
     well, a client needs both.",
);

/// The most groups there can be.
const GROUPS_MAX: usize = 255;
/// The longest name.
const NAME_BYTES_MAX: usize = 64;

fn name(text: &str) -> Result<String, String> {
    let text = value::text(text)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.len() <= NAME_BYTES_MAX && text.bytes().all(plain) {
        Ok(text)
    } else {
        Err(format!("is not a name of at most {NAME_BYTES_MAX} letters, digits, -, _ and ."))
    }
}

/// The group of a client: 0 is none, others count from 1 in the order of the configuration.
pub type GroupNumber = u8;

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    /// Its index in the configuration.
    index: usize,
    name: String,
    addresses: Option<AddressRules>,
    subjects: Option<SubjectRules>,
}

/// Every group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Reads the groups.
    ///
    /// # Errors
    /// A key and what is wrong with it.
    pub fn from(source: &impl Source) -> Result<Self, (String, String)> {
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        let blank = |index| Group { index, name: index.to_string(), addresses: None, subjects: None };
        let wrong = |setting: &str, index: usize| {
            let key = setting.replace("[N]", &format!("[{index}]"));
            move |what| (key, what)
        };
        for (index, text) in source.indexed(NAME.key) {
            let name = (NAME.parse)(text).map_err(wrong(NAME.key, index))?;
            if !name.is_empty() {
                groups.entry(index).or_insert_with(|| blank(index)).name = name;
            }
        }
        for (index, text) in source.indexed(ADDRESSES.key) {
            let addresses = (ADDRESSES.parse)(text).map_err(wrong(ADDRESSES.key, index))?;
            groups.entry(index).or_insert_with(|| blank(index)).addresses = addresses;
        }
        for (index, text) in source.indexed(SUBJECTS.key) {
            let subjects = (SUBJECTS.parse)(text).map_err(wrong(SUBJECTS.key, index))?;
            groups.entry(index).or_insert_with(|| blank(index)).subjects = subjects;
        }
        let groups: Vec<Group> = groups.into_values().collect();
        Self::judge(&groups)?;
        Ok(Self(groups))
    }

    fn judge(groups: &[Group]) -> Result<(), (String, String)> {
        for (at, group) in groups.iter().enumerate() {
            let Group { index, name, .. } = group;
            let key = || format!("proxy.groups[{index}].name");
            if group.addresses.as_ref().is_none_or(AddressRules::is_empty) && group.subjects.is_none() {
                let what = format!("names no client; set proxy.groups[{index}].addresses or .subjects");
                return Err((key(), what));
            }
            if groups[..at].iter().any(|other| other.name == *name) {
                return Err((
                    key(),
                    format!("\"{name}\" is the name of another group as well; choose another"),
                ));
            }
        }
        if groups.len() > GROUPS_MAX {
            return Err(("proxy.groups".to_owned(), format!("has more than {GROUPS_MAX} groups; join some")));
        }
        Ok(())
    }

    /// The group of a client with this address and this certificate.
    pub fn of(&self, address: IpAddr, subject: Option<&Subject>) -> GroupNumber {
        let names = |group: &Group| {
            group.addresses.as_ref().is_none_or(|rules| rules.name(address))
                && group
                    .subjects
                    .as_ref()
                    .is_none_or(|rules| subject.is_some_and(|subject| rules.name(subject)))
        };
        self.0.iter().position(names).map_or(0, |at| (at + 1) as GroupNumber)
    }

    /// Whether the subject of a certificate decides about a group.
    pub fn look_at_subjects(&self) -> bool {
        self.0.iter().any(|group| group.subjects.is_some())
    }

    /// What `group` is called; `-` for none.
    pub fn name(&self, group: GroupNumber) -> &str {
        usize::from(group).checked_sub(1).and_then(|at| self.0.get(at)).map_or("-", |group| &group.name)
    }

    /// The index of each group in the configuration, in order.
    pub fn indexes(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|group| group.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `index key value` lines.
    struct Rows<'a>(&'a [(usize, &'static str, &'a str)]);

    impl Source for Rows<'_> {
        fn text(&self, _key: &'static str) -> Option<&str> {
            None
        }

        fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
            self.0.iter().filter(|row| row.1 == key).map(|row| (row.0, row.2)).collect()
        }
    }

    #[test]
    fn the_first_group_that_names_a_client_is_its_group() {
        let rows = Rows(&[
            (7, ADDRESSES.key, "10.0.0.0/8"),
            (2, NAME.key, "batch"),
            (2, ADDRESSES.key, "10.1.0.0/16; ::1"),
            (9, ADDRESSES.key, "10.1.2.3"),
            (9, NAME.key, "late"),
        ]);
        let groups = Groups::from(&rows).expect("groups");
        for (address, group, name) in [
            ("10.1.2.3", 1, "batch"),
            ("::ffff:10.1.2.3", 1, "batch"),
            ("::1", 1, "batch"),
            ("10.2.0.1", 2, "7"),
            ("192.168.0.1", 0, "-"),
        ] {
            let found = groups.of(address.parse().expect("an address"), None);
            assert_eq!((found, groups.name(found)), (group, name), "{address}");
        }
        assert!(!groups.look_at_subjects());
    }

    #[test]
    fn a_group_of_subjects_needs_a_certificate() {
        let rows = Rows(&[(0, ADDRESSES.key, "10.0.0.0/8"), (0, SUBJECTS.key, "CN=*")]);
        let groups = Groups::from(&rows).expect("groups");
        assert!(groups.look_at_subjects());
        assert_eq!(groups.of(IpAddr::from([10, 0, 0, 1]), None), 0);
    }

    #[test]
    fn groups_that_make_no_sense_are_named() {
        for (rows, key) in [
            (&[(0, NAME.key, "a")][..], "proxy.groups[0].name"),
            (&[(1, ADDRESSES.key, " ; ")], "proxy.groups[1].name"),
            (&[(1, ADDRESSES.key, "x")], "proxy.groups[1].addresses"),
            (&[(1, SUBJECTS.key, "x")], "proxy.groups[1].subjects"),
            (&[(1, NAME.key, "a b")], "proxy.groups[1].name"),
            (
                &[(1, ADDRESSES.key, "::1"), (2, NAME.key, "1"), (2, ADDRESSES.key, "::1")],
                "proxy.groups[2].name",
            ),
        ] {
            assert_eq!(Groups::from(&Rows(rows)).map_err(|(key, _)| key), Err(key.to_owned()));
        }
    }
}
