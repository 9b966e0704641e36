//! Edits of header lines that an operator asks for: the basics of httpd's `Header` and `RequestHeader`.
//!
//! `set Name value`, `add Name value`, `append Name value` and `unset Name` are applied in order. What they come to is
//! worked out when they are read, for a message that has lines of that name and for one that has none.

use super::head::Header;
use super::header::{self, Kind};
use super::rewrite::Pen;

/// What becomes of the lines of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    name: Box<[u8]>,
    /// The lines of a message that has none of this name, or whose own are dropped.
    without: Vec<Vec<u8>>,
    /// What a message's own lines, joined into one, end in, and the lines that follow; `None`: its own are dropped.
    with: Option<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// A list of edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    edits: Vec<Edit>,
}

/// One edit as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    verb: Verb,
    name: Box<[u8]>,
    value: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Set,
    Add,
    Append,
    Unset,
}

impl Rule {
    /// Reads `set Name value`, `add Name value`, `append Name value` or `unset Name`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.trim().splitn(3, char::is_whitespace);
        let verb = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "set" => Verb::Set,
            "add" => Verb::Add,
            "append" => Verb::Append,
            "unset" => Verb::Unset,
            _ => return Err("is not `set|add|append Name value` or `unset Name`".to_owned()),
        };
        let name = words.next().unwrap_or_default();
        // httpd's own configuration writes the colon sometimes.
        let name = name.strip_suffix(':').unwrap_or(name).as_bytes();
        if !header::is_token(name) {
            return Err("names no header: expected `set|add|append Name value` or `unset Name`".to_owned());
        }
        let kind = Kind::of(name);
        if kind.is_hop_by_hop() || kind.is_protected() || kind == Kind::Trailer {
            return Err(
                "names a header that frames or addresses the message, which is not ours to edit".to_owned()
            );
        }
        let value = words.next().unwrap_or_default().trim();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        if value.is_empty() != (verb == Verb::Unset) {
            return Err("has to end in a value, or in none after unset".to_owned());
        }
        if !value.bytes().all(header::is_value_byte) {
            return Err("holds a control character".to_owned());
        }
        if value.replace("%%", "").contains('%') {
            return Err(
                "holds a format such as %{NAME}e, which is not known here; write %% for a percent sign"
                    .to_owned(),
            );
        }
        Ok(Self { verb, name: name.into(), value: value.replace("%%", "%").into_bytes().into() })
    }
}

impl Edit {
    fn apply(&mut self, rule: &Rule) {
        let value = rule.value.to_vec();
        match rule.verb {
            Verb::Set => {
                self.with = None;
                self.without = vec![value];
            }
            Verb::Unset => {
                self.with = None;
                self.without.clear();
            }
            Verb::Add => {
                if let Some((_, added)) = &mut self.with {
                    added.push(value.clone());
                }
                self.without.push(value);
            }
            Verb::Append => {
                if let Some((end, _)) = &mut self.with {
                    join(end, &value);
                }
                match self.without.first_mut() {
                    Some(line) => join(line, &value),
                    None => self.without.push(value),
                }
            }
        }
    }

    /// Whether a message's own lines of the name do not stay as they are.
    fn touches(&self) -> bool {
        self.with.as_ref().is_none_or(|(end, _)| !end.is_empty())
    }
}

fn join(line: &mut Vec<u8>, value: &[u8]) {
    if !line.is_empty() {
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(value);
}

impl HeaderEdits {
    /// What `rules` come to, applied in order.
    pub fn of<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut edits: Vec<Edit> = Vec::new();
        for rule in rules {
            let known = edits.iter().position(|edit| edit.name.eq_ignore_ascii_case(&rule.name));
            let at = known.unwrap_or_else(|| {
                let (name, with) = (rule.name.clone(), Some((Vec::new(), Vec::new())));
                edits.push(Edit { name, without: Vec::new(), with });
                edits.len() - 1
            });
            edits[at].apply(rule);
        }
        Self { edits }
    }

    fn of_name(&self, name: &[u8]) -> Option<&Edit> {
        self.edits.iter().find(|edit| edit.name.eq_ignore_ascii_case(name))
    }

    /// Whether a message's own lines called `name` do not stay as they are.
    pub(super) fn touch(&self, name: &[u8]) -> bool {
        self.of_name(name).is_some_and(Edit::touches)
    }

    /// Writes the lines that the edits come to for a message with the lines `own`, but for the names in `done`.
    pub(super) fn write(
        &self,
        pen: &mut Pen<'_>,
        own: &Own<'_, '_>,
        done: impl Fn(&[u8]) -> bool,
    ) -> Option<()> {
        for edit in self.edits.iter().filter(|edit| !done(&edit.name)) {
            let lines = match &edit.with {
                Some((end, added)) if own.has(&edit.name) => {
                    if !end.is_empty() {
                        own.write_joined(pen, &edit.name, &[end])?;
                    }
                    added
                }
                _ => &edit.without,
            };
            for line in lines {
                write_line(pen, &edit.name, line)?;
            }
        }
        Some(())
    }

    /// Writes one line called `name`: what the message and the edits say, and behind it `value`.
    pub(super) fn write_appended(
        &self,
        pen: &mut Pen<'_>,
        own: &Own<'_, '_>,
        name: &[u8],
        value: &[&[u8]],
    ) -> Option<()> {
        match self.of_name(name) {
            None => own.write_joined(pen, name, value),
            Some(edit) => {
                let (own_too, rest) = match &edit.with {
                    Some((end, added)) if own.has(name) => (Some(end), added),
                    _ => (None, &edit.without),
                };
                pen.put(name)?;
                let mut before: &[u8] = b": ";
                if let Some(end) = own_too {
                    before = own.write_values(pen, name, before)?;
                    before = put_value(pen, before, end)?;
                }
                for line in rest {
                    before = put_value(pen, before, line)?;
                }
                write_end(pen, before, value)
            }
        }
    }
}

/// A message's own lines, without those that end at this hop.
pub(super) struct Own<'h, 'b> {
    pub headers: &'h [Header<'b>],
    /// Whether a line is one of the message's.
    pub stays: &'h dyn Fn(usize) -> bool,
}

impl Own<'_, '_> {
    fn values(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let lines = self.headers.iter().enumerate();
        lines
            .filter(move |(at, header)| {
                header.name.as_bytes().eq_ignore_ascii_case(name) && (self.stays)(*at)
            })
            .map(|(_, header)| header.value)
    }

    fn has(&self, name: &[u8]) -> bool {
        self.values(name).next().is_some()
    }

    fn write_values<'s>(&self, pen: &mut Pen<'_>, name: &[u8], mut before: &'s [u8]) -> Option<&'s [u8]> {
        for value in self.values(name) {
            before = put_value(pen, before, value)?;
        }
        Some(before)
    }

    fn write_joined(&self, pen: &mut Pen<'_>, name: &[u8], end: &[&[u8]]) -> Option<()> {
        pen.put(name)?;
        let before = self.write_values(pen, name, b": ")?;
        write_end(pen, before, end)
    }
}

/// Writes `before` and a value; says what comes before the next.
fn put_value<'s>(pen: &mut Pen<'_>, before: &'s [u8], value: &[u8]) -> Option<&'s [u8]> {
    if value.is_empty() {
        return Some(before);
    }
    pen.put(before)?;
    pen.put(value)?;
    Some(b", ")
}

fn write_end(pen: &mut Pen<'_>, before: &[u8], value: &[&[u8]]) -> Option<()> {
    pen.put(before)?;
    for piece in value {
        pen.put(piece)?;
    }
    pen.put(b"\r\n")
}

fn write_line(pen: &mut Pen<'_>, name: &[u8], value: &[u8]) -> Option<()> {
    pen.put(name)?;
    write_end(pen, b": ", &[value])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(rules: &[&str], own: &[(&'static str, &'static str)]) -> String {
        let rules: Vec<Rule> = rules.iter().map(|rule| Rule::parse(rule).expect(rule)).collect();
        let edits = HeaderEdits::of(&rules);
        let headers: Vec<Header<'_>> =
            own.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let mut room = [0; 1024];
        let mut pen = Pen::new(&mut room);
        for header in headers.iter().filter(|header| !edits.touch(header.name.as_bytes())) {
            write_line(&mut pen, header.name.as_bytes(), header.value).expect("room");
        }
        let own = Own { headers: &headers, stays: &|_| true };
        edits.write(&mut pen, &own, |_| false).expect("room");
        let len = pen.len();
        String::from_utf8_lossy(&room[..len]).replace("\r\n", "|")
    }

    #[test]
    fn edits_apply_in_order() {
        let own = &[("X", "1"), ("x", "2"), ("Y", "3")];
        for (rules, expected) in [
            (&[][..], "X: 1|x: 2|Y: 3|"),
            (&["set x a"], "Y: 3|x: a|"),
            (&["add x a"], "X: 1|x: 2|Y: 3|x: a|"),
            (&["append x a"], "Y: 3|x: 1, 2, a|"),
            (&["unset x"], "Y: 3|"),
            (&["append x a", "add x b"], "Y: 3|x: 1, 2, a|x: b|"),
            (&["unset x", "append x a", "append x b", "add x c"], "Y: 3|x: a, b|x: c|"),
            (&["set x a", "unset x"], "Y: 3|"),
            (&["append z a"], "X: 1|x: 2|Y: 3|z: a|"),
            (&["add z a", "append z b", "set y \"two words\""], "X: 1|x: 2|z: a, b|y: two words|"),
            (&["set z 50%%"], "X: 1|x: 2|Y: 3|z: 50%|"),
        ] {
            assert_eq!(edited(rules, own), expected, "{rules:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for text in [
            "",
            "set",
            "set X",
            "add X",
            "unset",
            "unset X y",
            "edit X a b",
            "set X: ",
            "set a(b) c",
            "set Host h",
            "set Content-Length 3",
            "append Connection x",
            "set X %{UNIQUE_ID}e",
            "set X %t",
        ] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
        assert!(Rule::parse("set X: y").is_ok());
    }
}
