//! How many days certificates have left: as numbers for statistics, and as sentences when a threshold is passed.

use std::collections::BTreeMap;
use std::fmt;

/// Days left at which a certificate is spoken of, each once; when it has expired, every day.
pub const THRESHOLDS: [i64; 5] = [60, 30, 14, 7, 1];

const DAY_SECONDS: i64 = 86_400;

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// In a store of the configuration: ours, or one we trust.
    Stored {
        /// The key that leads to the store.
        key: String,
        /// Its alias there.
        alias: String,
    },
    /// Shown by a target.
    Peer {
        /// The target's host.
        host: String,
    },
}

impl fmt::Display for Whose {
    /// As the labels of a metric.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { key, alias } => write!(f, "{{key={},alias={}}}", Quoted(key), Quoted(alias)),
            Self::Peer { host } => write!(f, "{{peer={}}}", Quoted(host)),
        }
    }
}

/// A label's value.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "\"{escaped}\"")
    }
}

/// Certificates by whose they are, with the last second of each since 1970.
pub type Expiries = BTreeMap<Whose, i64>;

/// Whole days until `not_after`; negative when it is over.
pub const fn days_left(not_after: i64, now: i64) -> i64 {
    not_after.saturating_sub(now).div_euclid(DAY_SECONDS)
}

/// What was said of a certificate last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// That so few days are left.
    Left(i64),
    /// That it has expired, on this day since 1970.
    Expired(i64),
}

/// What was said of which certificate, so that nothing is said twice.
#[derive(Debug, Default)]
pub struct Calendar {
    said: BTreeMap<Whose, (i64, Said)>,
}

impl Calendar {
    /// What there is to say at `now`, a sentence each.
    pub fn sentences(&mut self, expiries: &Expiries, now: i64) -> Vec<String> {
        self.said.retain(|whose, (not_after, _)| expiries.get(whose) == Some(not_after));
        let mut sentences = Vec::new();
        for (whose, not_after) in expiries {
            let days = days_left(*not_after, now);
            let said = if days < 0 {
                Said::Expired(now.div_euclid(DAY_SECONDS))
            } else if let Some(threshold) = THRESHOLDS.iter().rev().find(|threshold| days <= **threshold) {
                Said::Left(*threshold)
            } else {
                continue;
            };
            if self.said.insert(whose.clone(), (*not_after, said)) == Some((*not_after, said)) {
                continue;
            }
            let date = time::OffsetDateTime::from_unix_timestamp(*not_after).map(time::OffsetDateTime::date);
            let date = date.map_or_else(|_| "an unknown day".to_owned(), |date| date.to_string());
            sentences.push(match (said, days) {
                (Said::Expired(_), _) => format!("the certificate {whose} has expired on {date}"),
                (Said::Left(_), 0) => format!("the certificate {whose} expires within a day, on {date}"),
                (Said::Left(_), 1) => format!("the certificate {whose} expires in 1 day, on {date}"),
                (Said::Left(_), _) => format!("the certificate {whose} expires in {days} days, on {date}"),
            });
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01.
    const START: i64 = 1_767_225_600;

    fn peer() -> Whose {
        Whose::Peer { host: "api.bank.test".to_owned() }
    }

    #[test]
    fn each_threshold_is_spoken_of_once_and_an_expired_certificate_daily() {
        let mut calendar = Calendar::default();
        let expiries = Expiries::from([(peer(), START + 65 * DAY_SECONDS)]);
        let mut said = Vec::new();
        // Every six hours, as a process that lives.
        for quarter in 0..4 * 68 {
            let now = START + quarter * DAY_SECONDS / 4;
            let sentences = calendar.sentences(&expiries, now);
            said.extend(sentences.iter().map(|_| days_left(START + 65 * DAY_SECONDS, now)));
        }
        assert_eq!(said, [60, 30, 14, 7, 1, -1, -1, -2], "three days of expiry: the 65th, 66th and 67th");
    }

    #[test]
    fn a_start_speaks_of_what_has_few_days_left() {
        let expiries = |days: i64| Expiries::from([(peer(), START + days * DAY_SECONDS + 5)]);
        let say = |days| Calendar::default().sentences(&expiries(days), START);
        assert_eq!(say(61), Vec::<String>::new());
        let certificate = "the certificate {peer=\"api.bank.test\"}";
        assert_eq!(say(20), [format!("{certificate} expires in 20 days, on 2026-01-21")]);
        assert_eq!(say(1), [format!("{certificate} expires in 1 day, on 2026-01-02")]);
        assert_eq!(say(0), [format!("{certificate} expires within a day, on 2026-01-01")]);
        assert_eq!(say(-1), [format!("{certificate} has expired on 2025-12-31")]);
    }

    #[test]
    fn a_new_certificate_begins_anew() {
        let mut calendar = Calendar::default();
        let mut say = |days: i64| {
            let expiries = Expiries::from([(peer(), START + days * DAY_SECONDS)]);
            calendar.sentences(&expiries, START).len()
        };
        assert_eq!([say(20), say(20), say(400), say(400), say(20), say(21)], [1, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn labels_are_quoted() {
        let whose = Whose::Stored { key: "server.ssl.key-store".to_owned(), alias: "a\"\\b\n".to_owned() };
        assert_eq!(whose.to_string(), r#"{key="server.ssl.key-store",alias="a\"\\b\n"}"#);
    }
}
