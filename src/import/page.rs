//! The page of properties while it is written.

use super::notes::{Notes, plain};
use super::tree::Directive;
use crate::config::registry;
use std::fmt::Write as _;

/// Properties under their headings.
pub struct Page<'a> {
    /// The lines so far.
    pub text: String,
    /// What is told below them.
    pub notes: &'a mut Notes,
}

impl Page<'_> {
    /// An empty line and a comment.
    pub fn heading(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n# {}", plain(title));
    }

    /// One property, unless our own reader would not take it.
    pub fn row(&mut self, key: &str, value: &str, origin: &Directive) {
        if value.contains("${") {
            self.notes.lost(origin, "holds ${…}, a variable that nobody defines; write its value");
        } else if value.chars().any(char::is_control) {
            self.notes.lost(origin, "holds control characters");
        } else if let Err(what) = accepted(key, value) {
            self.notes.lost(origin, format!("{key}={value} {what}"));
        } else {
            let _ = writeln!(self.text, "{key}={}", value.replace('\\', "\\\\"));
        }
    }
}

/// What our own reader says of a property.
///
/// # Errors
/// Why it would not take it.
pub fn accepted(key: &str, value: &str) -> Result<(), String> {
    match registry::names().find(key) {
        Some(known) => known.setting.check(value),
        None => Err("is no key of this build".to_owned()),
    }
}
