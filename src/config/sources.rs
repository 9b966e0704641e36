//! The configuration that counts: every value with its origin, and every problem at once.
//!
//! The sources in order: `--key=value`, `-Dkey=value`, environment, files, defaults. Nothing here stops at the first
//! problem, and no secret is ever part of a sentence.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::config::files::Search;
use crate::config::reading::{Inputs, Reading};
use crate::config::rules;
use crate::config::spring::uniform;
use crate::credentials::settings as tls;
use crate::setting::{AnySetting, Setting, Source, Standing};
use crate::value;

/// What is shown instead of a secret.
const MASK: &str = "******";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// `-Dkey=value`.
    Property,
    /// `--key=value`.
    CommandLine,
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Property => f.write_str("command line -D"),
            Self::CommandLine => f.write_str("command line"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Origin {
    /// Whether both are one source, in which the later of two values hides the earlier by accident.
    pub(crate) fn same_source(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { path: a, .. }, Self::File { path: b, .. }) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Note,
    /// Probably not what was meant.
    Warning,
    /// Ends the start.
    Error,
}

/// Something about the configuration that a person should know, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub level: Level,
    /// Where: an [`Origin`] or a file.
    pub place: String,
    /// `key=value`, secrets masked, or whatever the sentence is about.
    pub subject: String,
    /// The rest of the sentence: what is wrong and what to write instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{level}: {}: {} {}", self.place, self.subject, self.what)
    }
}

/// The value of one key that some source sets.
#[derive(Clone)]
pub struct Entry {
    /// The setting.
    pub setting: &'static dyn AnySetting,
    /// Its text, placeholders replaced.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
    /// Whether a placeholder in it means nothing; it has had its sentence then.
    pub unresolved: bool,
}

impl Entry {
    /// The text for people: secrets masked, and private keys, which may stand in the value itself.
    pub fn shown(&self) -> &str {
        if self.setting.secret() || self.text.contains("PRIVATE KEY-----") { MASK } else { &self.text }
    }
}

/// A key no setting has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As it was written.
    pub key: String,
    /// Where.
    pub origin: Origin,
    /// The known key that looks like it.
    pub nearest: Option<&'static str>,
}

/// The configuration that counts.
#[derive(Clone, Default)]
pub struct Effective {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Keys no setting has, in the order they were read.
    pub unknown: Vec<Unknown>,
    /// Everything worth a sentence, worst first.
    pub problems: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// Where the locations of stores are looked for.
    pub search: Search,
}

impl Source for Effective {
    fn text(&self, key: &'static str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.text.as_str())
    }

    fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
        let members = self.entries.iter().filter(|(_, entry)| entry.setting.key() == key);
        let index = |full: &str| full.split_once('[')?.1.split_once(']')?.0.parse().ok();
        members.filter_map(|(full, entry)| Some((index(full)?, entry.text.as_str()))).collect()
    }
}

impl Effective {
    /// Reads every source and judges the outcome.
    pub fn load(inputs: &Inputs) -> Self {
        let mut effective = Reading::all(inputs);
        effective.judge();
        rules::judge(&mut effective);
        effective.problems.sort_by_key(|problem| std::cmp::Reverse(problem.level));
        effective
    }

    /// Whether the start must end.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.level == Level::Error)
    }

    /// Every key some source sets, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The entry of `key`, if some source sets it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The members of a family or of an indexed key that some source sets, by full key.
    pub fn members<'a, T>(
        &'a self,
        setting: &'a Setting<T>,
    ) -> impl Iterator<Item = (&'a str, Result<T, String>)> {
        let members = self.entries.iter().filter(|(_, entry)| entry.setting.key() == setting.key);
        members.map(|(key, entry)| (key.as_str(), (setting.parse)(&entry.text)))
    }

    /// The text of `key`, placeholders replaced, if some source sets it to anything.
    pub fn set(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.text.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// The key that switches the TLS listener on although nobody said so: the first of `server.ssl.*`, while
    /// `server.ssl.enabled` is absent.
    pub fn implied_tls(&self) -> Option<String> {
        let enabled = tls::ENABLED.key;
        if self.set(enabled).is_some() {
            return None;
        }
        let known = self.entries.keys().map(String::as_str);
        let mut keys = known.chain(self.unknown.iter().map(|unknown| unknown.key.as_str()));
        keys.find(|key| *key != enabled && uniform(key).starts_with("server.ssl.")).map(str::to_owned)
    }

    /// Keys that are set, differ from their default and have no effect yet.
    pub fn not_active_yet(&self) -> impl Iterator<Item = &str> {
        let set = self.entries.iter().filter(|(_, entry)| entry.setting.standing() == Standing::NotYet);
        set.filter(|(_, entry)| differs_from_default(entry)).map(|(key, _)| key.as_str())
    }

    /// Adds what is wrong with what `key` leads to.
    pub fn add_error(&mut self, key: &str, what: String) {
        self.complain(Level::Error, key, what);
        self.problems.sort_by_key(|problem| std::cmp::Reverse(problem.level));
    }

    /// Adds a problem with the value of `key`.
    pub(crate) fn complain(&mut self, level: Level, key: &str, what: String) {
        let (place, subject) = match self.entries.get(key) {
            Some(entry) => (entry.origin.to_string(), format!("{key}={}", entry.shown())),
            None => (Origin::Default.to_string(), key.to_owned()),
        };
        self.problems.push(Problem { level, place, subject, what });
    }

    /// Each value by itself: does it parse, may it be set in this build.
    fn judge(&mut self) {
        let mut found = Vec::new();
        for (key, entry) in self.entries.iter().filter(|(_, entry)| !entry.unresolved) {
            if let Err(what) = entry.setting.check(&entry.text) {
                found.push((key.clone(), what));
            } else if let Standing::Refused(why) = entry.setting.standing()
                && differs_from_default(entry)
            {
                found.push((key.clone(), format!("is refused: {why}")));
            }
        }
        for (key, what) in found {
            self.complain(Level::Error, &key, what);
        }
    }
}

/// Whether the entry says something else than the default; `no` and `false` are the same, and empty is unset.
fn differs_from_default(entry: &Entry) -> bool {
    let (text, default) = (entry.text.trim(), entry.setting.default());
    let same = match (value::boolean(text), value::boolean(default)) {
        (Ok(value), Ok(default)) => value == default,
        _ => text.eq_ignore_ascii_case(default),
    };
    !same && !text.is_empty()
}
