//! Logback's patterns, as far as `logging.pattern.*` uses them: `%d{…} %-5level [%15.15t] %-40.40logger{39} : %m%n`.
//!
//! | word | writes |
//! | --- | --- |
//! | `d date` | the time: `%d`, `%d{HH:mm:ss.SSS}`, `%d{…, UTC}` (see [`DateFormat`]) |
//! | `p le level`, `t thread`, `m msg message`, `n` | level, thread, message, end of line |
//! | `c lo logger` | the logger, `{n}` shortened to n characters; where the legacy had one, its name |
//! | `C class`, `F file`, `L line`, `M method`, `caller` | `?`: no line here comes from a Java class |
//! | `X mdc`, `marker`, `ex exception throwable xEx wEx …` | nothing (or the default of `%X{key:-default}`) |
//! | `clr highlight red bold …` | what stands in their brackets, without colours |
//!
//! A width such as `%-20.30` pads and cuts. A line always ends, whether its pattern says `%n` or not.

use super::date::{DateFormat, ISO8601};
use super::levels;
use log::Level;
use std::fmt::Write as _;
use time::OffsetDateTime;

/// Groups in groups in groups: deeper is a mistake.
const DEPTH_MAX: usize = 16;
/// The widest field.
const WIDTH_MAX: usize = 1024;

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    word: Word,
    width: Width,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    Date(DateFormat),
    Level,
    Thread,
    Logger(Option<usize>),
    Message,
    Newline,
    Group(Vec<Part>),
}

/// How wide a field is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Width {
    min: usize,
    /// Filled up on the right and not on the left.
    left: bool,
    max: Option<usize>,
    /// Cut at its end and not at its beginning.
    cut_end: bool,
}

/// What a line is made of.
#[derive(Clone, Copy, Debug)]
pub struct Saying<'a> {
    /// When it was said.
    pub when: OffsetDateTime,
    /// How grave it is.
    pub level: Level,
    /// Who says it.
    pub target: &'a str,
    /// On which thread.
    pub thread: &'a str,
    /// What.
    pub message: &'a str,
}

impl Pattern {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// Which part of it is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, rest) = parts(text, 0)?;
        if !rest.is_empty() {
            return Err("has a ) without its (; write \\) for the character".to_owned());
        }
        if parts.last().is_some_and(|part| part.word == Word::Newline) {
            parts.pop();
        }
        Ok(Self(parts))
    }

    /// Writes a line, without its end, behind `out`.
    pub fn write(&self, saying: &Saying<'_>, out: &mut String) {
        write_parts(&self.0, saying, out);
    }
}

/// Parts up to the end or to the bracket that closes the group; returns what follows, the bracket included.
fn parts(text: &str, depth: usize) -> Result<(Vec<Part>, &str), String> {
    if depth > DEPTH_MAX {
        return Err(format!("nests brackets more than {DEPTH_MAX} deep"));
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == ')' && depth > 0 {
            break;
        }
        let (part, after) = match first {
            '%' => word(&rest[1..], depth)?,
            '\\' => escaped(&rest[1..]),
            ')' => break,
            other => (Some(plain(other)), &rest[other.len_utf8()..]),
        };
        rest = after;
        match (part, parts.last_mut()) {
            (None, _) => {}
            (Some(Part { word: Word::Text(more), width }), Some(Part { word: Word::Text(text), .. }))
                if width == Width::default() =>
            {
                text.push_str(&more);
            }
            (Some(part), _) => parts.push(part),
        }
    }
    Ok((parts, rest))
}

fn plain(character: char) -> Part {
    Part { word: Word::Text(character.to_string()), width: Width::default() }
}

/// What follows a backslash.
fn escaped(text: &str) -> (Option<Part>, &str) {
    let Some(character) = text.chars().next() else { return (Some(plain('\\')), text) };
    let after = &text[character.len_utf8()..];
    match character {
        't' => (Some(plain('\t')), after),
        'n' => (Some(Part { word: Word::Newline, width: Width::default() }), after),
        'r' | '_' => (None, after),
        '(' | ')' | '%' | '\\' => (Some(plain(character)), after),
        _ => (Some(plain('\\')), text),
    }
}

/// What follows a `%`: width, word, and its options in `{}`.
fn word(text: &str, depth: usize) -> Result<(Option<Part>, &str), String> {
    if let Some(rest) = text.strip_prefix('%') {
        return Ok((Some(plain('%')), rest));
    }
    let (width, rest) = width(text)?;
    let (name, rest) =
        rest.split_at(rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count());
    if let Some(inside) = rest.strip_prefix('(') {
        let (group, rest) = parts(inside, depth + 1)?;
        let rest = rest.strip_prefix(')').ok_or_else(|| format!("has %{name}( without its )"))?;
        let (_, rest) = options(rest)?;
        if !matches!(
            name,
            "" | "clr"
                | "highlight"
                | "black"
                | "red"
                | "green"
                | "yellow"
                | "blue"
                | "magenta"
                | "cyan"
                | "white"
                | "gray"
                | "boldRed"
                | "boldGreen"
                | "boldYellow"
                | "boldBlue"
                | "boldMagenta"
                | "boldCyan"
                | "boldWhite"
                | "bold"
        ) {
            return Err(format!("has %{name}(…), which is not understood; leave it out"));
        }
        return Ok((Some(Part { word: Word::Group(group), width }), rest));
    }
    let (options, rest) = options(rest)?;
    let word = match name {
        "d" | "date" => Word::Date(date(&options)?),
        "p" | "le" | "level" => Word::Level,
        "t" | "thread" => Word::Thread,
        "c" | "lo" | "logger" => Word::Logger(length(&options)?),
        "m" | "msg" | "message" => Word::Message,
        "n" => Word::Newline,
        "C" | "class" | "F" | "file" | "L" | "line" | "M" | "method" | "caller" => Word::Text("?".to_owned()),
        "X" | "mdc" => {
            let default =
                options.first().and_then(|key| key.split_once(":-")).map_or("", |(_, default)| default);
            Word::Text(default.to_owned())
        }
        "marker" | "ex" | "exception" | "throwable" | "xEx" | "xException" | "xThrowable" | "wEx" | "wex"
        | "rEx" | "rootException" | "nopex" | "nopexception" => {
            return Ok((None, rest));
        }
        other => return Err(format!("has %{other}, which is not understood; leave it out")),
    };
    Ok((Some(Part { word, width }), rest))
}

/// `-20.-30` in front of a word.
fn width(text: &str) -> Result<(Width, &str), String> {
    let number = |text: &str| -> Result<(bool, Option<usize>, usize), String> {
        let minus = text.starts_with('-');
        let digits = text[usize::from(minus)..].bytes().take_while(u8::is_ascii_digit).count();
        let end = usize::from(minus) + digits;
        let value = match &text[usize::from(minus)..end] {
            "" => None,
            digits => Some(
                digits
                    .parse()
                    .ok()
                    .filter(|width| *width <= WIDTH_MAX)
                    .ok_or_else(|| format!("has a field {digits} wide; {WIDTH_MAX} is the most"))?,
            ),
        };
        Ok((minus, value, end))
    };
    let (left, min, end) = number(text)?;
    let Some(rest) = text[end..].strip_prefix('.') else {
        return Ok((Width { min: min.unwrap_or(0), left, ..Width::default() }, &text[end..]));
    };
    let (cut_end, max, end) = number(rest)?;
    Ok((Width { min: min.unwrap_or(0), left, max, cut_end }, &rest[end..]))
}

/// The options in braces behind a word, separated by commas outside quotes.
fn options(text: &str) -> Result<(Vec<String>, &str), String> {
    let Some(inside) = text.strip_prefix('{') else { return Ok((Vec::new(), text)) };
    let end = inside.find('}').ok_or("has a { without its }")?;
    let list = &inside[..end];
    let unquoted = |option: &str| {
        let option = option.trim();
        let quoted = option.strip_prefix('"').and_then(|option| option.strip_suffix('"'));
        quoted.unwrap_or(option).to_owned()
    };
    let options = match list.strip_prefix('"').and_then(|list| list.split_once('"')) {
        Some((first, rest)) => {
            std::iter::once(first.to_owned()).chain(rest.split(',').skip(1).map(unquoted)).collect()
        }
        None => list.split(',').map(unquoted).collect(),
    };
    Ok((options, &inside[end + 1..]))
}

/// `{format}`, `{format, zone}`; a format with a comma in it (`HH:mm:ss,SSS`) has its zone after that.
fn date(options: &[String]) -> Result<DateFormat, String> {
    match options {
        [] => DateFormat::parse(ISO8601),
        [format] if format.is_empty() => DateFormat::parse(ISO8601),
        [format] => DateFormat::parse(format),
        [first, rest @ ..] if rest[0].starts_with("SSS") => {
            let format = DateFormat::parse(&format!("{first},{}", rest[0]))?;
            rest.get(1).map_or(Ok(format.clone()), |zone| format.in_zone(zone))
        }
        [format, zone, ..] => DateFormat::parse(format)?.in_zone(zone),
    }
}

fn length(options: &[String]) -> Result<Option<usize>, String> {
    let Some(text) = options.first() else { return Ok(None) };
    let length = text.parse().map_err(|_| format!("has %logger{{{text}}}; write a number of characters"))?;
    Ok(Some(length))
}

fn write_parts(parts: &[Part], saying: &Saying<'_>, out: &mut String) {
    for Part { word, width } in parts {
        let at = out.len();
        match word {
            Word::Text(text) => out.push_str(text),
            Word::Date(format) => format.write(saying.when, out),
            Word::Level => out.push_str(saying.level.as_str()),
            Word::Thread => out.push_str(saying.thread),
            Word::Logger(length) => write_logger(saying.target, *length, out),
            Word::Message => out.push_str(saying.message),
            Word::Newline => out.push_str("\n    "),
            Word::Group(parts) => write_parts(parts, saying, out),
        }
        if *width != Width::default() {
            fit(at, *width, out);
        }
    }
}

/// Pads or cuts what stands from `at` on.
fn fit(at: usize, width: Width, out: &mut String) {
    let count = out[at..].chars().count();
    if let Some(max) = width.max.filter(|max| *max < count) {
        let cut = if width.cut_end { max } else { count - max };
        let cut = out[at..].char_indices().nth(cut).map_or(out.len(), |(byte, _)| at + byte);
        if width.cut_end {
            out.truncate(cut);
        } else {
            out.replace_range(at..cut, "");
        }
    } else if count < width.min {
        let blanks = width.min - count;
        if width.left {
            let _ = write!(out, "{:blanks$}", "");
        } else {
            out.insert_str(at, &" ".repeat(blanks));
        }
    }
}

/// The logger's name, its packages shortened to their first letters from the front until it has `length` characters; 0
/// is the last part alone.
fn write_logger(target: &str, length: Option<usize>, out: &mut String) {
    let legacy = levels::logger_of(target);
    let at = out.len();
    match legacy {
        Some(logger) => out.push_str(logger),
        None => {
            for (index, part) in target.split("::").enumerate() {
                out.push_str(if index == 0 { "" } else { "." });
                out.push_str(part);
            }
        }
    }
    let Some(length) = length else { return };
    if length == 0 {
        let last = out[at..].rfind('.').map_or(at, |dot| at + dot + 1);
        out.replace_range(at..last, "");
        return;
    }
    let mut begin = at;
    while out.len() - at > length
        && let Some(dot) = out[begin..].find('.')
    {
        let first = out[begin..].chars().next().map_or(0, char::len_utf8).min(dot);
        out.replace_range(begin + first..begin + dot, "");
        begin += first + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn said(pattern: &str) -> Result<String, String> {
        let saying = Saying {
            when: datetime!(2026-01-05 15:04:09.078 +09:00),
            level: Level::Info,
            target: "apim_proxy::server::seat",
            thread: "worker-0",
            message: "a message",
        };
        let mut out = String::new();
        Pattern::parse(pattern)?.write(&saying, &mut out);
        Ok(out)
    }

    #[test]
    fn lines_as_logback_writes_them() {
        for (pattern, line) in [
            (
                "%d %level %logger %thread %msg %n",
                "2026-01-05 15:04:09,078 INFO apim_proxy.server.seat worker-0 a message ",
            ),
            (
                "%d{HH:mm:ss.SSS} [%t] %-5level %c{1} - %m%n",
                "15:04:09.078 [worker-0] INFO  a.s.seat - a message",
            ),
            ("%date{ISO8601, UTC}|%5p|%-5.3p|%.2level|%.-2le", "2026-01-05 06:04:09,078| INFO|NFO|FO|IN"),
            ("%d{HH:mm:ss,SSS}|%d{HH:mm:ss,SSS,UTC}|%d{\"HH,mm\",UTC}", "15:04:09,078|06:04:09,078|06,04"),
            (
                "%logger{0} %logger{20} %logger{21} %logger{22}",
                "seat a.server.seat a.server.seat apim_proxy.server.seat",
            ),
            ("%C.%M\\(%F:%L\\) %X %X{id} %X{id:-none}%ex%nopex%wEx%n%xEx", "?.?(?:?)   none"),
            ("%clr(%5p){faint} %-10(%t) %highlight([%.-3msg]) %5(%(%p))", " INFO worker-0   [a m]  INFO"),
            ("%m%n  more %m%n", "a message\n      more a message"),
            ("100%% \\%m \\\\ \\q\\t|%3.3t", "100% %m \\ \\q\t|r-0"),
            ("", ""),
        ] {
            assert_eq!(said(pattern).as_deref(), Ok(line), "{pattern}");
        }
    }

    #[test]
    fn springs_own_pattern_is_understood() {
        let pattern = "%clr(%d{yyyy-MM-dd HH:mm:ss.SSS}){faint} %clr(%5p) %clr(4711){magenta} %clr(---){faint} \
                       %clr([%15.15t]){faint} %clr(%-40.40logger{39}){cyan} %clr(:){faint} %m%n%wEx";
        let line = "2026-01-05 15:04:09.078  INFO 4711 --- [       worker-0] apim_proxy.server.seat                   : a message";
        assert_eq!(said(pattern).as_deref(), Ok(line));
    }

    #[test]
    fn mistakes_are_named() {
        for (pattern, part) in [
            ("%foo", "has %foo, "),
            ("%", "has %, "),
            ("%msgs", "has %msgs, "),
            ("%replace(%m){a,b}", "has %replace(…), "),
            ("%d{ww}", "a date with w, "),
            ("%d{HH, Mars}", "the zone Mars, "),
            ("%(%m", "has %( without its )"),
            ("%m)", "a ) without its ("),
            ("%d{HH", "a { without its }"),
            ("%9999m", "9999 wide"),
            ("%logger{x}", "%logger{x}; write a number"),
        ] {
            let error = said(pattern).unwrap_err();
            assert!(error.contains(part), "{pattern}: {error}");
        }
        assert!(said(&"%(".repeat(10_000)).unwrap_err().contains("deep"));
    }
}
