//! A setting: one key an operator may write, defined once, beside the code that uses it.
//!
//! The registry in `config` lists every setting; the README's table, `conf/application.properties`, `check` and the
//! start banner are made from it.

use std::fmt;

/// What this build does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Active,
    /// It only adds output or comfort and comes later: accepted, and named at start as not active yet.
    NotYet,
    /// It asks for protection this build lacks: a value other than the default ends the start. The sentence says what
    /// is missing and what to write instead.
    Refused(&'static str),
    /// Known from the legacy, without effect on purpose.
    NoEffect,
}

/// One key: its names, its meaning, its default and how its text becomes a value.
pub struct Setting<T: 'static> {
    /// The canonical name, as the legacy or Spring writes it. `[N]` stands for any index, and a final `.*` opens a
    /// family: any name after the dot.
    pub key: &'static str,
    /// Other names for the same key.
    pub aliases: &'static [&'static str],
    /// The text that counts when no source names the key; empty means unset.
    pub default: &'static str,
    /// One sentence for people: meaning, unit, special values.
    pub doc: &'static str,
    /// Text to value; the error says what is wrong with the text and what is expected, without the key.
    pub parse: fn(&str) -> Result<T, String>,
    /// What this build does with it.
    pub standing: Standing,
    /// Whether the value is masked wherever it is shown.
    pub secret: bool,
}

impl<T> Setting<T> {
    /// An active, public setting without aliases.
    pub const fn new(
        key: &'static str,
        default: &'static str,
        parse: fn(&str) -> Result<T, String>,
        doc: &'static str,
    ) -> Self {
        Self { key, aliases: &[], default, doc, parse, standing: Standing::Active, secret: false }
    }

    /// The same with other names.
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The same with another standing.
    pub const fn standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// The same, masked wherever it is shown.
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl<T> fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("key", &self.key)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

/// A setting without its value type: what the registry, the documentation and the checks need.
pub trait AnySetting: Sync {
    /// The canonical name.
    fn key(&self) -> &'static str;
    /// Other names.
    fn aliases(&self) -> &'static [&'static str];
    /// The default text; empty means unset.
    fn default(&self) -> &'static str;
    /// The sentence for people.
    fn doc(&self) -> &'static str;
    /// What this build does with it.
    fn standing(&self) -> Standing;
    /// Whether to mask it.
    fn secret(&self) -> bool;
    /// Whether `text` is a value.
    ///
    /// # Errors
    /// What is wrong with it and what is expected.
    fn check(&self, text: &str) -> Result<(), String>;
}

impl<T> AnySetting for Setting<T> {
    fn key(&self) -> &'static str {
        self.key
    }
    fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }
    fn default(&self) -> &'static str {
        self.default
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn standing(&self) -> Standing {
        self.standing
    }
    fn secret(&self) -> bool {
        self.secret
    }
    fn check(&self, text: &str) -> Result<(), String> {
        (self.parse)(text).map(|_| ())
    }
}

/// Where typed values come from: the effective configuration (or, in tests, the defaults).
pub trait Source {
    /// The effective text of `key`; `None` when neither a source nor a default gives one.
    fn text(&self, key: &'static str) -> Option<&str>;

    /// The effective texts of the indexed key `key` (`a[N].b`), each with its index; an index nobody sets is not among them.
    fn indexed(&self, _key: &'static str) -> Vec<(usize, &str)> {
        Vec::new()
    }

    /// The typed value of `setting`. Every text was checked when the configuration was read.
    ///
    /// # Errors
    /// What is wrong with the text, as the setting's `parse` says it.
    fn value<T>(&self, setting: &Setting<T>) -> Result<T, String>
    where
        Self: Sized,
    {
        (setting.parse)(self.text(setting.key).unwrap_or(setting.default))
    }
}

/// The source that holds nothing: every setting has its default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults;

impl Source for Defaults {
    fn text(&self, _key: &'static str) -> Option<&str> {
        None
    }
}
