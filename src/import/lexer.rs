//! Lines, variables and words of an httpd configuration, as `ap_cfg_getline` and `ap_getword_conf` take them apart.
//!
//! A backslash directly before the line's end goes on in the next line, in comments too, and a second backslash before
//! it does not change that. Blanks around a line do not count. `${NAME}` is replaced in the whole line before it is
//! split; a name nobody defined stays as it stands. A word is what blanks separate, or what stands in `"` or `'`; a
//! backslash makes a quote or a backslash plain there, and stands for itself before anything else.

use std::collections::BTreeMap;

/// The longest line after its variables are replaced; httpd's own limit is 16 MB.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it begins, from 1.
    pub number: usize,
    /// Its text, continuations joined, without the blanks around it.
    pub text: String,
}

/// Variables that `Define` and `envvars` made.
pub type Variables = BTreeMap<String, String>;

/// The file's text: UTF-8, or ISO-8859-1 where it is not that.
pub fn decode(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// The lines of a file; comments and empty ones are left out.
pub fn lines(text: &str) -> Vec<Line> {
    let mut natural = text.split('\n').enumerate();
    let mut lines = Vec::new();
    while let Some((index, first)) = natural.next() {
        let mut joined = String::new();
        let mut part = first;
        while let Some(kept) = part.strip_suffix('\r').unwrap_or(part).strip_suffix('\\') {
            joined.push_str(kept);
            part = natural.next().map_or("", |(_, next)| next);
        }
        joined.push_str(part);
        let text = joined.trim();
        if !text.is_empty() && !text.starts_with('#') {
            lines.push(Line { number: index + 1, text: text.to_owned() });
        }
    }
    lines
}

/// Replaces `${NAME}`.
///
/// # Errors
/// The line has grown beyond all measure.
pub fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(name, tail)| Some((variables.get(name)?, tail)));
        let (value, tail) = known.map_or(("${", after), |(value, tail)| (value.as_str(), tail));
        out.push_str(value);
        rest = tail;
        if out.len() > LINE_BYTES_MAX {
            break;
        }
    }
    out.push_str(rest);
    if out.len() > LINE_BYTES_MAX {
        return Err(format!("the line is longer than {} KB", LINE_BYTES_MAX >> 10));
    }
    Ok(out)
}

/// The first word and what follows it.
pub fn word(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        return (word.replace("\\\\", "\\"), rest.trim_start());
    };
    let mut word = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return (word, text[at + c.len_utf8()..].trim_start());
        }
        let escaped =
            if c == '\\' { chars.next_if(|(_, next)| *next == quote || *next == '\\') } else { None };
        word.push(escaped.map_or(c, |(_, plain)| plain));
    }
    (word, "")
}

/// All words.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest);
        words.push(word);
        rest = after;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_after_a_backslash() {
        let text = "A 1\n\n  B \\\n  2\\\r\n3\n# c \\\nD 4\nE 5\\\\\nF 6\n\\\n\nG\\";
        let expected = [(1, "A 1"), (3, "B   23"), (8, "E 5\\F 6"), (12, "G")];
        let found: Vec<_> = lines(text).into_iter().map(|line| (line.number, line.text)).collect();
        assert_eq!(found, expected.map(|(number, text)| (number, text.to_owned())));
    }

    #[test]
    fn words_are_taken_apart_as_httpd_does() {
        for (text, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            (r#""a b" 'c "d"' e"f"#, vec!["a b", "c \"d\"", "e\"f"]),
            (r#""a\"b\\c\d" x\\y\z"#, vec![r#"a"b\c\d"#, r"x\y\z"]),
            (r#""x"two"#, vec!["x", "two"]),
            (r#""" ''"#, vec!["", ""]),
            (r#""never closed"#, vec!["never closed"]),
            (r#""ends with \"#, vec![r"ends with \"]),
            ("\"한글\"끝", vec!["한글", "끝"]),
            ("", vec![]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_replaced_before_words_are_split() {
        let variables: Variables =
            [("V", "a b"), ("Q", "q"), ("E", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, expected) in [
            ("x ${V}", "x a b"),
            ("$${Q}${E}!", "$q!"),
            ("${NONE} ${Q${V}} ${Q", "${NONE} ${Qa b} ${Q"),
            ("%{Referer}i $1 $", "%{Referer}i $1 $"),
        ] {
            assert_eq!(expand(text, &variables), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn variables_cannot_grow_without_end() {
        let mut variables = Variables::new();
        variables.insert("A".to_owned(), "x".repeat(LINE_BYTES_MAX / 2));
        assert!(expand("${A}", &variables).is_ok());
        assert!(expand("${A}${A}${A}", &variables).is_err());
    }

    #[test]
    fn other_encodings_are_read_byte_for_byte() {
        assert_eq!((decode("값".as_bytes()), decode(b"caf\xE9")), ("값".to_owned(), "café".to_owned()));
    }
}
