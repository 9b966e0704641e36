//! Which parts of the log are how loud: `logging.level.<name>=<level>`.
//!
//! A name is a target of ours (`root`, `http`, `apim_proxy::pool`) or a logger of the legacy. A legacy name stands
//! for the rows of [`LEGACY`] that are equal to it, above it or below it in its dotted tree, as with Logback, so
//! `org.springframework` reaches both of Spring's rows. The longest name wins; ours win over the legacy's.

use log::LevelFilter;
use std::cmp::Reverse;

/// The legacy's loggers and what says the same here.
const LEGACY: [(&str, &str); 7] = [
    ("org.springframework.web.client.RestTemplate", "call"),
    ("org.springframework.web.filter.CommonsRequestLoggingFilter", "request"),
    ("org.apache.http.impl", "http.connection"),
    ("org.apache.http.headers", "http.headers"),
    ("org.apache.http.wire", "http.wire"),
    ("httpclient.wire", "http.wire"),
    ("com.inzent", "apim_proxy"),
];

/// The logger of the legacy that `target` stands for, if one does.
pub fn logger_of(target: &str) -> Option<&'static str> {
    LEGACY.iter().find(|(_, ours)| *ours == target && target != "apim_proxy").map(|(logger, _)| *logger)
}

/// The level of every target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    root: LevelFilter,
    /// Targets and everything below them; the longest comes first.
    parts: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// The levels that `names` ask for, with or without `logging.level.` before them. Of equal names the last counts.
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, LevelFilter)>) -> Self {
        let mut root = LevelFilter::Info;
        let mut parts: Vec<Part> = Vec::new();
        for (name, level) in names {
            let name = name.strip_prefix("logging.level.").unwrap_or(name);
            if name.eq_ignore_ascii_case("root") {
                root = level;
                continue;
            }
            for (target, exactness) in targets(name) {
                settle(Part { target: target.to_owned(), level, exactness }, &mut parts);
            }
        }
        if !parts.iter().any(|part| part.target == "rustls") {
            // What rustls warns of is what peers do, as often as they like; the worker tells it once, within bounds.
            let level = root.min(LevelFilter::Error);
            parts.push(Part { target: "rustls".to_owned(), level, exactness: 0 });
        }
        parts.sort_by_key(|part| Reverse(part.target.len()));
        Self { root, parts: parts.into_iter().map(|part| (part.target, part.level)).collect() }
    }

    /// The same, where a name may stand for the loggers of a group (`logging.group.<name>`).
    pub fn grouped<'a>(names: &[(&'a str, LevelFilter)], groups: &'a [(&str, Vec<String>)]) -> Self {
        let bare = |name: &'a str| name.strip_prefix("logging.level.").unwrap_or(name);
        let members = |name: &str| {
            let of = |group: &str| {
                group.strip_prefix("logging.group.").unwrap_or(group).eq_ignore_ascii_case(name)
            };
            groups.iter().find(|(group, _)| of(group)).map(|(_, members)| members)
        };
        // What names a logger itself counts more than what names its group.
        let (grouped, single): (Vec<_>, Vec<_>) =
            names.iter().copied().partition(|(name, _)| members(bare(name)).is_some());
        let grouped = grouped.iter().flat_map(|(name, level)| {
            members(bare(name)).into_iter().flatten().map(|member| (member.as_str(), *level))
        });
        Self::new(grouped.chain(single.iter().copied()))
    }

    /// The level of `target`.
    pub fn of(&self, target: &str) -> LevelFilter {
        let part = self.parts.iter().find(|(name, _)| is_within(target, name));
        part.map_or(self.root, |(_, level)| *level)
    }

    /// The loudest level of all: what the facade may let through.
    pub fn max(&self) -> LevelFilter {
        self.parts.iter().map(|(_, level)| *level).fold(self.root, Ord::max)
    }
}

/// A target with the level it gets, and how exactly its name was given.
struct Part {
    target: String,
    level: LevelFilter,
    exactness: usize,
}

/// Takes its place among the others unless a more exact name gave the target its level.
fn settle(part: Part, parts: &mut Vec<Part>) {
    match parts.iter_mut().find(|known| known.target == part.target) {
        Some(known) if known.exactness > part.exactness => {}
        Some(known) => *known = part,
        None => parts.push(part),
    }
}

/// The targets a name stands for, and how exactly.
fn targets(name: &str) -> Vec<(&str, usize)> {
    // "web" is Spring Boot's own group of loggers.
    let legacy = if name.eq_ignore_ascii_case("web") { "org.springframework.web" } else { name };
    let rows = LEGACY.iter().filter(|(logger, _)| is_within(logger, legacy) || is_within(legacy, logger));
    let found: Vec<(&str, usize)> = rows.map(|(_, target)| (*target, legacy.len())).collect();
    if found.is_empty() { vec![(name, usize::MAX)] } else { found }
}

/// Whether `name` is `above` or below it, in any case: names from the environment arrive in lower case.
fn is_within(name: &str, above: &str) -> bool {
    name.get(..above.len()).is_some_and(|start| start.eq_ignore_ascii_case(above))
        && matches!(name.as_bytes().get(above.len()), None | Some(b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use LevelFilter::{Debug, Info, Off, Trace, Warn};

    fn levels(pairs: &[(&str, LevelFilter)]) -> Levels {
        Levels::new(pairs.iter().copied())
    }

    const TARGETS: [&str; 6] =
        ["call", "request", "http.connection", "http.headers", "http.wire", "apim_proxy::pool"];

    fn of(pairs: &[(&str, LevelFilter)]) -> [LevelFilter; 6] {
        TARGETS.map(|target| levels(pairs).of(target))
    }

    #[test]
    fn the_root_counts_where_nothing_else_does() {
        assert_eq!(of(&[]), [Info; 6]);
        assert_eq!(of(&[("root", Warn)]), [Warn; 6]);
        assert_eq!(of(&[("logging.level.ROOT", Warn), ("logging.level.org.hibernate", Trace)]), [Warn; 6]);
    }

    #[test]
    fn the_legacys_names_reach_what_says_the_same() {
        let rows: [(&str, [LevelFilter; 6]); 9] = [
            ("org.springframework.web.client.RestTemplate", [Debug, Info, Info, Info, Info, Info]),
            (
                "org.springframework.web.filter.commonsrequestloggingfilter",
                [Info, Debug, Info, Info, Info, Info],
            ),
            ("org.springframework", [Debug, Debug, Info, Info, Info, Info]),
            ("web", [Debug, Debug, Info, Info, Info, Info]),
            ("org.apache.http", [Info, Info, Debug, Debug, Debug, Info]),
            ("org.apache.http.headers", [Info, Info, Info, Debug, Info, Info]),
            (
                "org.apache.http.impl.conn.PoolingHttpClientConnectionManager",
                [Info, Info, Debug, Info, Info, Info],
            ),
            ("httpclient.wire.header", [Info, Info, Info, Info, Debug, Info]),
            ("com.inzent.mydata.proxy", [Info, Info, Info, Info, Info, Debug]),
        ];
        for (name, expected) in rows {
            assert_eq!(of(&[(name, Debug)]), expected, "{name}");
        }
    }

    #[test]
    fn the_longest_name_wins_in_any_order_and_ours_over_the_legacys() {
        let mut pairs = [("org.apache.http", Debug), ("org.apache.http.wire", Off), ("http.headers", Trace)];
        for _ in 0..2 {
            assert_eq!(of(&pairs), [Info, Info, Debug, Trace, Off, Info]);
            pairs.reverse();
        }
        assert_eq!(of(&[("http", Warn), ("http.wire", Trace)]), [Info, Info, Warn, Warn, Trace, Info]);
        assert_eq!(of(&[("apim_proxy", Warn), ("apim_proxy::pool", Off)])[5], Off);
        assert_eq!(levels(&[("apim_proxy::po", Off)]).of("apim_proxy::pool"), Info);
    }

    #[test]
    fn a_group_is_its_members() {
        let groups = [("logging.group.http", vec!["org.apache.http.headers".to_owned(), "call".to_owned()])];
        let names = [("logging.level.HTTP", Debug), ("logging.level.call", Warn)];
        let levels = Levels::grouped(&names, &groups);
        assert_eq!(TARGETS.map(|target| levels.of(target)), [Warn, Info, Info, Debug, Info, Info]);
    }

    #[test]
    fn the_facade_lets_the_loudest_through() {
        assert_eq!(levels(&[("root", Off)]).max(), Off);
        assert_eq!(levels(&[("root", Off), ("call", Debug), ("http", Warn)]).max(), Debug);
    }
}
