//! What is told besides the properties.

use super::tree::{Directive, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Lines a directive is listed with, before only their number is.
const LINES_SHOWN: usize = 4;

/// A directive and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    place: Place,
    shown: String,
    what: String,
}

/// Everything to be told.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    lost: Vec<Note>,
    /// By what is to be said.
    differs: BTreeMap<String, Vec<Note>>,
    /// What was told already: a directive can count for several hosts.
    told: BTreeSet<(String, String)>,
    /// Group, name and file, with the lines.
    idle: BTreeMap<&'static str, BTreeMap<(String, String), Vec<usize>>>,
}

impl Notes {
    /// It is missed: why, and what to do.
    pub fn lost(&mut self, directive: &Directive, what: impl Into<String>) {
        if let Some(note) = self.note(directive, what.into()) {
            self.lost.push(note);
        }
    }

    /// It is carried over, or not needed, with a difference nobody should mind.
    pub fn differs(&mut self, directive: &Directive, what: impl Into<String>) {
        if let Some(note) = self.note(directive, what.into()) {
            self.differs.entry(note.what.clone()).or_default().push(note);
        }
    }

    /// A note, unless it was told already.
    fn note(&mut self, directive: &Directive, what: String) -> Option<Note> {
        let place = directive.place.clone();
        let new = self.told.insert((place.to_string(), what.clone()));
        let shown = plain(format!("{} {}", directive.name, directive.text).trim());
        new.then_some(Note { place, shown, what })
    }

    /// It has no meaning here, as the others of its group.
    pub fn idle(&mut self, directive: &Directive, group: &'static str) {
        let key = (directive.name.clone(), directive.place.file.to_string());
        self.idle.entry(group).or_default().entry(key).or_default().push(directive.place.line);
    }

    /// How much is missed.
    pub fn count_lost(&self) -> usize {
        self.lost.len()
    }

    /// The notes as comments.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if !self.lost.is_empty() {
            out.push_str("\n# Not carried over, and missed\n");
        }
        for note in &self.lost {
            let _ = writeln!(out, "# not carried over: {} {}: {}", note.place, note.shown, plain(&note.what));
        }
        if !self.differs.is_empty() {
            out.push_str("\n# Different here\n");
        }
        for (what, notes) in &self.differs {
            let _ = writeln!(out, "# {}:", plain(what));
            for note in notes {
                let _ = writeln!(out, "#   {} {}", note.place, note.shown);
            }
        }
        if !self.idle.is_empty() {
            out.push_str("\n# Without meaning here\n");
        }
        for (group, names) in &self.idle {
            let _ = writeln!(out, "# {group}:");
            for ((name, file), lines) in names {
                let _ = match lines.as_slice() {
                    [first, .., last] if lines.len() > LINES_SHOWN => {
                        writeln!(out, "#   {} {file}:{first}-{last}, {} lines", plain(name), lines.len())
                    }
                    lines => {
                        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
                        writeln!(out, "#   {} {file}:{}", plain(name), lines.join(","))
                    }
                };
            }
        }
        out
    }
}

/// Text for a comment: one line, no control characters, not endless.
pub fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    let mut out: String =
        text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
