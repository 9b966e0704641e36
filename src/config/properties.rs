//! The reader of `.properties` text: what `java.util.Properties` reads, with the line of every key.
//!
//! Separators are `=`, `:` or blanks; `#` and `!` start comments; a line that ends in an odd number of backslashes
//! goes on in the next; `\t \n \r \f` and `\uXXXX` (surrogate pairs too) are escapes, and a backslash before any other
//! character vanishes. The bytes are UTF-8 when they are valid UTF-8 and ISO-8859-1 otherwise; a byte order mark is
//! skipped. It keeps every line, duplicates included: which one counts is decided where names are understood.

use std::iter::Peekable;
use std::str::Chars;

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The key with its escapes resolved.
    pub key: String,
    /// The value with its escapes resolved; blanks at its end are kept, as Java does.
    pub value: String,
    /// The line the key begins on, from 1.
    pub line: usize,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line it begins on, from 1.
    pub line: usize,
    /// What is wrong; never quotes the value, which may be a password.
    pub what: &'static str,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Every key in file order.
    pub entries: Vec<Property>,
    /// Every line that was left out.
    pub malformed: Vec<Malformed>,
}

/// Reads a whole file's bytes.
pub fn read(bytes: &[u8]) -> Properties {
    let mut properties = Properties::default();
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        let what = "the file is UTF-16; save it as UTF-8";
        properties.malformed.push(Malformed { line: 1, what });
        return properties;
    }
    for (line, text) in logical_lines(&decode(bytes)) {
        match split(&text) {
            Ok((key, value)) => properties.entries.push(Property { key, value, line }),
            Err(what) => properties.malformed.push(Malformed { line, what }),
        }
    }
    properties
}

fn decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0C')
}

/// Lines with their numbers, comments and empty ones dropped, continuations joined.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut natural = natural_lines(text).map(|(number, line)| (number, line.trim_start_matches(is_blank)));
    let mut lines = Vec::new();
    while let Some((number, first)) = natural.next() {
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut line = first.to_owned();
        while line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
            line.pop();
            if line.is_empty() {
                // A lone backslash continues nothing: what follows may still be a comment.
                break;
            }
            let Some((_, more)) = natural.next() else { break };
            line.push_str(more);
        }
        if !line.is_empty() {
            lines.push((number, line));
        }
    }
    lines
}

/// The lines as the file shows them: ended by LF, CR or CRLF, numbered from 1.
fn natural_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(text);
    let lines = std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    });
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// Key and value of a logical line.
fn split(line: &str) -> Result<(String, String), &'static str> {
    let mut escaped = false;
    let key_end = line.find(|c| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(key_end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0C'),
            Some('u') => out.push(unicode(&mut chars)?),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

/// The character after `\u`: four digits, or eight with a second `\u` where the first is half of a surrogate pair.
fn unicode(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    let lone =
        "a \\uXXXX escape is half of a surrogate pair; write both halves, or the character itself in UTF-8";
    let first = four_digits(chars)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).ok_or(lone);
    }
    if chars.next_if_eq(&'\\').is_none() || chars.next_if_eq(&'u').is_none() {
        return Err(lone);
    }
    let second = four_digits(chars)?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(lone);
    }
    char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(lone)
}

fn four_digits(chars: &mut Peekable<Chars<'_>>) -> Result<u32, &'static str> {
    let what = "malformed \\uXXXX escape; write four hexadecimal digits after \\u, and \\\\ for a backslash";
    (0..4).try_fold(0, |number, _| {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or(what)?;
        Ok(number * 16 + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        let read = read(text.as_bytes());
        assert_eq!(read.malformed, []);
        read.entries.into_iter().map(|p| (p.key, p.value, p.line)).collect()
    }

    fn entry(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn separators_are_equals_colon_and_blanks() {
        let text = "a=1\nb:2\nc 3\n d \t=\t4\ne = = 5\nf\ng=\nh\\ i\\=j=6\n=7\nk  : l m ";
        let expected = [
            entry("a", "1", 1),
            entry("b", "2", 2),
            entry("c", "3", 3),
            entry("d", "4", 4),
            entry("e", "= 5", 5),
            entry("f", "", 6),
            entry("g", "", 7),
            entry("h i=j", "6", 8),
            entry("", "7", 9),
            entry("k", "l m ", 10),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn comments_and_continuations() {
        let text = "# a\\\n! b\n \t# c\nd=1\\\n   # not a comment\\\n\ne=2\\\\\nf=C:\\path\\new\n\\\n\ng=3";
        let expected = [
            entry("d", "1# not a comment", 4),
            entry("e", "2\\", 7),
            entry("f", "C:path\new", 8),
            entry("g", "3", 11),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_final_backslash_keeps_its_entry() {
        assert_eq!(pairs("a=1\nb=2\\"), [entry("a", "1", 1), entry("b", "2", 2)]);
        assert_eq!(pairs("\\"), []);
        assert_eq!(pairs("\\\n# comment\n\\\n\\\n  a=1"), [entry("a", "1", 5)]);
    }

    #[test]
    fn every_line_ending_counts_once() {
        let expected = [entry("a", "1", 1), entry("b", "2", 3), entry("c", "34", 4), entry("d", "5", 6)];
        for end in ["\n", "\r", "\r\n"] {
            assert_eq!(pairs(&["a=1", "", "b=2", "c=3\\", "  4", "d=5", ""].join(end)), expected, "{end:?}");
        }
    }

    #[test]
    fn escapes() {
        let text = "a=\\u0041\\ud83d\\uDE00\\q\\t\\\\u\nk\\u003D=v\\ x";
        assert_eq!(pairs(text), [entry("a", "A😀q\t\\u", 1), entry("k=", "v x", 2)]);
    }

    #[test]
    fn encodings() {
        let expected = [entry("이름", "값", 1)];
        assert_eq!(pairs("이름=값"), expected);
        assert_eq!(pairs("\u{FEFF}이름=값"), expected);
        let latin = read(b"caf\xE9=na\xEFve");
        assert_eq!(latin.entries, [Property { key: "café".to_owned(), value: "naïve".to_owned(), line: 1 }]);
        assert_eq!(read(b"\xFF\xFEa\0").malformed.len(), 1);
    }

    #[test]
    fn a_malformed_escape_names_its_line_and_leaves_the_rest() {
        let read = read(b"a=1\nb=\\u12G4\nc=\\ud83d\nd=\\uDE00\ne=\\ud83d\\u0041\nf=\\u12\ng=2");
        assert_eq!(read.malformed.iter().map(|m| m.line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert_eq!(read.entries.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["a", "g"]);
    }
}
