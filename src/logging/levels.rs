//! Which parts of the log are how loud: `logging.level.<name>=<level>`.
//!
//! A name is a target of ours (`root`, `http`, `apim_proxy::pool`) or a logger of the legacy. A legacy name stands
//! for the rows of [`LEGACY`] that are equal to it, above it or below it in its dotted tree, as with Logback, so
//! `org.springframework` reaches both of Spring's rows. The longest name wins; ours win over the legacy's.

use log::LevelFilter;

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

/// The level of every target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    root: LevelFilter,
    /// Targets and everything below them; the longest comes first.
    parts: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// Reads what follows `logging.level.` in each key, with its value. Of equal names the last one counts.
    ///
    /// # Errors
    /// A sentence for each value that is not a level, separated by `; `.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut root = LevelFilter::Info;
        let mut parts: Vec<Part> = Vec::new();
        let mut wrong = Vec::new();
        for (name, text) in pairs {
            match parse_level(text) {
                Err(sentence) => wrong.push(format!("logging.level.{name}: {sentence}")),
                Ok(level) if name.eq_ignore_ascii_case("root") => root = level,
                Ok(level) => targets(name).for_each(|part| part.settle(level, &mut parts)),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.target.len()));
        Ok(Self { root, parts: parts.into_iter().map(|part| (part.target, part.level)).collect() })
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

impl Part {
    /// Takes its place among the others unless a more exact name gave the target its level.
    fn settle(mut self, level: LevelFilter, parts: &mut Vec<Self>) {
        self.level = level;
        match parts.iter_mut().find(|part| part.target == self.target) {
            Some(known) if known.exactness > self.exactness => {}
            Some(known) => *known = self,
            None => parts.push(self),
        }
    }
}

/// The targets a name stands for.
fn targets(name: &str) -> impl Iterator<Item = Part> {
    // Spring's group of this name.
    let legacy = if name == "web" { "org.springframework.web" } else { name };
    let rows =
        LEGACY.iter().filter(move |(logger, _)| is_within(logger, legacy) || is_within(legacy, logger));
    let ours = LEGACY.iter().all(|(logger, _)| !is_within(logger, legacy) && !is_within(legacy, logger));
    let part =
        |target: &str, exactness| Part { target: target.to_owned(), level: LevelFilter::Off, exactness };
    rows.map(move |(_, target)| part(target, legacy.len())).chain(ours.then(|| part(name, usize::MAX)))
}

/// Whether `name` is `above` or below it, in any case: names from the environment arrive in lower case.
fn is_within(name: &str, above: &str) -> bool {
    name.get(..above.len()).is_some_and(|start| start.eq_ignore_ascii_case(above))
        && matches!(name.as_bytes().get(above.len()), None | Some(b'.' | b':'))
}

/// A level in any case. `fatal` is `error`, as in Logback; `false` is `off`; `true` is `debug`, what one switches on.
///
/// # Errors
/// When the text is none of the levels.
pub fn parse_level(text: &str) -> Result<LevelFilter, String> {
    let lower = text.trim().to_ascii_lowercase();
    Ok(match lower.as_str() {
        "trace" => LevelFilter::Trace,
        "debug" | "true" => LevelFilter::Debug,
        "info" => LevelFilter::Info,
        "warn" => LevelFilter::Warn,
        "error" | "fatal" => LevelFilter::Error,
        "off" | "false" => LevelFilter::Off,
        _ => return Err(format!("\"{text}\" is not a level; write trace, debug, info, warn, error or off")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};

    fn levels(pairs: &[(&str, &str)]) -> Levels {
        Levels::parse(pairs.iter().copied()).unwrap()
    }

    const TARGETS: [&str; 6] =
        ["call", "request", "http.connection", "http.headers", "http.wire", "apim_proxy::pool"];

    fn of(pairs: &[(&str, &str)]) -> [LevelFilter; 6] {
        TARGETS.map(|target| levels(pairs).of(target))
    }

    #[test]
    fn every_word_is_a_level_in_any_case() {
        let rows = [
            ("TRACE", Trace),
            ("Debug", Debug),
            ("info", Info),
            ("WARN", Warn),
            ("error", Error),
            ("FATAL", Error),
            (" off ", Off),
            ("true", Debug),
            ("FALSE", Off),
        ];
        for (text, level) in rows {
            assert_eq!(parse_level(text), Ok(level), "{text}");
        }
        assert!(parse_level("").is_err());
    }

    #[test]
    fn the_root_counts_where_nothing_else_does() {
        assert_eq!(of(&[]), [Info; 6]);
        assert_eq!(of(&[("root", "warn")]), [Warn; 6]);
        assert_eq!(of(&[("ROOT", "warn"), ("org.hibernate", "trace")]), [Warn; 6]);
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
            assert_eq!(of(&[(name, "debug")]), expected, "{name}");
        }
    }

    #[test]
    fn the_longest_name_wins_in_any_order_and_ours_over_the_legacys() {
        let mut pairs =
            [("org.apache.http", "debug"), ("org.apache.http.wire", "off"), ("http.headers", "trace")];
        for _ in 0..2 {
            assert_eq!(of(&pairs), [Info, Info, Debug, Trace, Off, Info]);
            pairs.reverse();
        }
        assert_eq!(of(&[("http", "warn"), ("http.wire", "trace")]), [Info, Info, Warn, Warn, Trace, Info]);
        assert_eq!(of(&[("apim_proxy", "warn"), ("apim_proxy::pool", "off")])[5], Off);
        assert_eq!(levels(&[("apim_proxy::po", "off")]).of("apim_proxy::pool"), Info);
    }

    #[test]
    fn the_facade_lets_the_loudest_through() {
        assert_eq!(levels(&[("root", "off")]).max(), Off);
        assert_eq!(levels(&[("root", "off"), ("call", "debug"), ("http", "warn")]).max(), Debug);
    }

    #[test]
    fn all_bad_levels_are_reported() {
        assert_eq!(
            Levels::parse([("a", "loud"), ("b", "info"), ("root", "1")]),
            Err("logging.level.a: \"loud\" is not a level; write trace, debug, info, warn, error or off; \
                 logging.level.root: \"1\" is not a level; write trace, debug, info, warn, error or off"
                .to_owned())
        );
    }
}
