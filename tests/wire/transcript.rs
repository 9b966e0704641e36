//! The format of transcripts: text in, steps out. `README.md` beside this file describes it for people.
//!
//! It refuses whatever it does not know, so that a slip of the pen in a transcript is a failed test and not a skipped
//! step.

use std::collections::BTreeMap;
use std::fmt;

/// One run of one transcript: a transcript with `each` is one for every row.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Its name, and which row of it.
    pub name: String,
    /// `--key=value` in order.
    pub settings: Vec<(String, String)>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens, and where it is written.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line of the file, from 1.
    pub line: usize,
    /// Who.
    pub party: Party,
    /// Does or sees what.
    pub act: Act,
}

/// One end of a connection: `client`, `client 2`, `origin`, `other 2` …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// `client`, or the name of an origin.
    pub role: String,
    /// Which of its connections, from 1.
    pub number: usize,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.number)
    }
}

/// What a party does or sees. Texts still hold escapes and names in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A client connects from this address.
    ConnectsFrom(String),
    /// These bytes, at once or one at a time.
    Sends { text: String, bytewise: bool },
    /// Exactly these bytes.
    Receives(String),
    /// One of our own answers: status, code, sentence.
    IsRefused { status: u16, code: String, close: bool, sentence: String },
    /// The peer ended the stream.
    IsClosed,
    /// The peer reset the connection.
    IsReset,
    /// The proxy still answers on it.
    IsKept,
    /// Nobody has connected beyond the connections named so far.
    IsUntouched,
    /// Ends its stream and goes on reading.
    HalfCloses,
    /// Closes.
    Closes,
    /// Closes with a reset.
    Resets,
    /// The proxy begins its shutdown.
    Drains,
}

/// Reads a file of transcripts; every row of every transcript is one.
///
/// # Errors
/// The line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Transcript>, String> {
    let mut found = Vec::new();
    let lines: Vec<(usize, &str)> = text.lines().enumerate().map(|(at, line)| (at + 1, line)).collect();
    let is_title = |line: &str| line.starts_with("=== ");
    let first = lines.iter().position(|(_, line)| is_title(line)).unwrap_or(lines.len());
    if let Some((at, line)) = lines[..first].iter().find(|(_, line)| !is_silent(line)) {
        return Err(format!("line {at}: `{line}` stands before the first title"));
    }
    let mut rest = &lines[first..];
    while let Some(((at, title), tail)) = rest.split_first() {
        let end = tail.iter().position(|(_, line)| is_title(line)).unwrap_or(tail.len());
        let name = title["=== ".len()..].split(':').next().unwrap_or_default().trim();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("line {at}: a title is `=== name_of_it: a sentence`"));
        }
        found.extend(one(name, &tail[..end])?);
        rest = &tail[end..];
    }
    Ok(found)
}

fn is_silent(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// The lines `  | …` that follow, without their margin.
fn block<'t>(lines: &mut &[(usize, &'t str)]) -> Vec<&'t str> {
    let mut found = Vec::new();
    while let Some(((_, line), tail)) = lines.split_first() {
        let Some(row) = line.strip_prefix("  |") else { break };
        found.push(row.strip_prefix(' ').unwrap_or(row));
        *lines = tail;
    }
    found
}

fn one(name: &str, mut lines: &[(usize, &str)]) -> Result<Vec<Transcript>, String> {
    let mut columns: Vec<String> = Vec::new();
    let mut rows: Vec<Vec<&str>> = vec![Vec::new()];
    let mut settings = Vec::new();
    let mut steps: Vec<(usize, &str, Option<String>)> = Vec::new();
    while let Some(((at, line), tail)) = lines.split_first() {
        lines = tail;
        if is_silent(line) {
            continue;
        }
        if let Some(setting) = line.strip_prefix("--") {
            let (key, value) = setting.split_once('=').ok_or(format!("line {at}: --key=value"))?;
            settings.push((key, value));
        } else if let Some(names) = line.strip_prefix("each ") {
            columns = names.split(" => ").map(|name| name.trim().to_owned()).collect();
            rows = block(&mut lines).iter().map(|row| row.split(" => ").collect()).collect();
            if rows.is_empty() || rows.iter().any(|row| row.len() != columns.len()) {
                return Err(format!("line {at}: each row has {} columns", columns.len()));
            }
        } else {
            let bytes: String = block(&mut lines).iter().map(|line| terminated(line)).collect();
            steps.push((*at, line.trim_end(), Some(bytes).filter(|bytes| !bytes.is_empty())));
        }
    }
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let fill = |text: &str| {
            columns.iter().zip(row).fold(text.to_owned(), |text, (column, value)| text.replace(column, value))
        };
        let steps =
            steps.iter().map(|(line, words, bytes)| step(*line, &fill(words), bytes.as_deref().map(fill)));
        found.push(Transcript {
            name: if columns.is_empty() {
                name.to_owned()
            } else {
                format!("{name} row {}: {}", at + 1, row[0])
            },
            settings: settings.iter().map(|(key, value)| (fill(key), fill(value))).collect(),
            steps: steps.collect::<Result<_, _>>()?,
        });
    }
    Ok(found)
}

/// A line of bytes ends in CR LF unless its last character is a backslash.
fn terminated(line: &str) -> String {
    match line.strip_suffix('\\') {
        Some(open) if !open.ends_with('\\') => open.to_owned(),
        _ => format!("{line}\\r\\n"),
    }
}

fn step(line: usize, words: &str, bytes: Option<String>) -> Result<Step, String> {
    let wrong = |what: &str| format!("line {line}: `{words}`: {what}");
    let (role, rest) = words.split_once(' ').ok_or(wrong("who does what?"))?;
    if !["client", "origin", "other", "origin6", "proxy"].contains(&role) {
        return Err(wrong("nobody has this name"));
    }
    let (number, verb) = match rest.split_once(' ') {
        Some((number, verb)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            (number.parse().map_err(|_| wrong("a connection's number"))?, verb)
        }
        _ => (1, rest),
    };
    let is_client = role == "client";
    let act = match (verb, bytes) {
        ("drains", None) if role == "proxy" => Act::Drains,
        _ if role == "proxy" => return Err(wrong("the proxy only drains")),
        ("sends", Some(text)) => Act::Sends { text, bytewise: false },
        ("sends byte by byte", Some(text)) => Act::Sends { text, bytewise: true },
        ("receives", Some(text)) => Act::Receives(text),
        ("is closed", None) => Act::IsClosed,
        ("is reset", None) => Act::IsReset,
        ("is kept", None) if is_client => Act::IsKept,
        ("is untouched", None) if !is_client => Act::IsUntouched,
        ("half-closes", None) => Act::HalfCloses,
        ("closes", None) => Act::Closes,
        ("resets", None) => Act::Resets,
        (verb, None) if is_client && verb.starts_with("connects from ") => {
            Act::ConnectsFrom(verb["connects from ".len()..].to_owned())
        }
        (verb, None) if is_client && verb.starts_with("is refused ") => refusal(&verb["is refused ".len()..])
            .ok_or(wrong("`is refused STATUS CODE[, close]: SENTENCE`"))?,
        _ => return Err(wrong("no such step, or bytes where there are none, or none where there are")),
    };
    Ok(Step { line, party: Party { role: role.to_owned(), number }, act })
}

fn refusal(words: &str) -> Option<Act> {
    let (head, sentence) = words.split_once(": ")?;
    let (head, close) = match head.strip_suffix(", close") {
        Some(head) => (head, true),
        None => (head, false),
    };
    let (status, code) = head.split_once(' ')?;
    let is_code = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let refused = Act::IsRefused {
        status: status.parse().ok()?,
        code: code.to_owned(),
        close,
        sentence: sentence.to_owned(),
    };
    is_code.then_some(refused)
}

/// The bytes of a text: names in braces are replaced, `{x*3}` is repeated, then escapes are read.
///
/// # Errors
/// An escape that is none.
pub fn bytes(text: &str, names: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    unescape(&expand(text, names))
}

/// `text` with names in braces replaced and repetitions written out. Any other brace stands for itself.
pub fn expand(text: &str, names: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(inside, behind)| {
            let value = names.get(inside).cloned().or_else(|| {
                let (what, times) = inside.rsplit_once('*')?;
                Some(what.repeat(times.parse().ok()?))
            });
            Some((value?, behind))
        });
        if let Some((value, behind)) = known {
            out.push_str(&value);
            rest = behind;
        } else {
            out.push('{');
            rest = after;
        }
    }
    out + rest
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b's') => b' ',
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let value = digit().zip(digit()).map(|(high, low)| (high * 16 + low) as u8);
                value.ok_or("\\x wants two hexadecimal digits")?
            }
            _ => return Err(format!("an unknown escape in `{text}`")),
        });
    }
    Ok(out)
}

#[test]
fn bytes_are_read_as_the_readme_says() {
    let names = BTreeMap::from([("origin".to_owned(), "h:1".to_owned())]);
    let read = |line: &str| bytes(&terminated(line), &names);
    assert_eq!(read("a {origin}"), Ok(b"a h:1\r\n".to_vec()));
    assert_eq!(read("a\\x00\\s\\"), Ok(b"a\0 ".to_vec()));
    assert_eq!(read("{ab\\r\\n*2}\\"), Ok(b"ab\r\nab\r\n".to_vec()));
    assert_eq!(read("{\"a\":1}\\"), Ok(b"{\"a\":1}".to_vec()));
    assert_eq!(read("a\\\\"), Ok(b"a\\\r\n".to_vec()));
    assert!(read("\\q").is_err() && read("\\x0").is_err());
}

#[test]
fn what_is_not_known_is_refused() {
    for text in [
        "client sends",
        "=== a b: c",
        "=== a: b\nserver sends\n  | x",
        "=== a: b\nclient sends",
        "=== a: b\nclient is closed\n  | x",
        "=== a: b\nclient is refused 403",
        "=== a: b\norigin is kept",
        "=== a: b\neach {x} => {y}\n  | 1\nclient closes",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
