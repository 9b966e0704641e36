//! The time formats of `%{…}t`: strftime's, and httpd's counts of seconds.

use crate::access::stamp::{Civil, MONTHS, Stamp, WEEKDAYS, two};
use crate::time::Now;
use std::io::Write as _;

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat {
    /// Of the end of the exchange instead of its beginning.
    pub end: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    /// A conversion of strftime.
    Field(char),
    /// `[31/Jan/2026:09:00:00 +0900]`.
    Clf,
    Seconds,
    Millis,
    Micros,
    MillisOfSecond,
    MicrosOfSecond,
}

/// What strftime calls these is written as their parts.
const COMPOUND: [(char, &str); 9] = [
    ('c', "%a %b %e %H:%M:%S %Y"),
    ('D', "%m/%d/%y"),
    ('F', "%Y-%m-%d"),
    ('h', "%b"),
    ('r', "%I:%M:%S %p"),
    ('R', "%H:%M"),
    ('T', "%H:%M:%S"),
    ('x', "%m/%d/%y"),
    ('X', "%H:%M:%S"),
];
const SIMPLE: &str = "aAbBCdeHIjklmMnpPsStuwyYzZ%";

impl TimeFormat {
    /// `%t`.
    pub fn clf() -> Self {
        Self { end: false, parts: vec![Part::Clf] }
    }

    /// What stands between the braces of `%{…}t`.
    ///
    /// # Errors
    /// The conversion that is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (end, text) = match (text.strip_prefix("end"), text.strip_prefix("begin")) {
            (Some(rest), _) if rest.is_empty() || rest.starts_with(':') => (true, rest),
            (_, Some(rest)) if rest.is_empty() || rest.starts_with(':') => (false, rest),
            _ => (false, text),
        };
        let text = text.strip_prefix(':').unwrap_or(text);
        let mut parts = Vec::new();
        match text {
            "" => parts.push(Part::Clf),
            "sec" => parts.push(Part::Seconds),
            "msec" => parts.push(Part::Millis),
            "usec" => parts.push(Part::Micros),
            "msec_frac" => parts.push(Part::MillisOfSecond),
            "usec_frac" => parts.push(Part::MicrosOfSecond),
            _ => read(text, &mut parts)?,
        }
        Ok(Self { end, parts })
    }

    /// Writes the time `at`.
    pub fn write(&self, stamp: &mut Stamp, at: Now, out: &mut Vec<u8>) {
        let micros = stamp.micros(at);
        for part in &self.parts {
            // A vector takes everything.
            let _ = match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Clf => {
                    out.push(b'[');
                    out.extend_from_slice(stamp.clf(at));
                    out.push(b']');
                    Ok(())
                }
                Part::Seconds => write!(out, "{}", micros.div_euclid(1_000_000)),
                Part::Millis => write!(out, "{}", micros.div_euclid(1000)),
                Part::Micros => write!(out, "{micros}"),
                Part::MillisOfSecond => write!(out, "{:03}", micros.rem_euclid(1_000_000) / 1000),
                Part::MicrosOfSecond => write!(out, "{:06}", micros.rem_euclid(1_000_000)),
                Part::Field(letter) => {
                    let (epoch, civil) = stamp.civil(at);
                    field(*letter, epoch, &civil, stamp.wall.zone, out)
                }
            };
        }
    }
}

fn read(text: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        if at > 0 {
            parts.push(Part::Text(rest[..at].into()));
        }
        let letter = rest[at + 1..].chars().next();
        match letter {
            Some(letter) if SIMPLE.contains(letter) => parts.push(Part::Field(letter)),
            Some(letter) => match COMPOUND.iter().find(|(known, _)| *known == letter) {
                Some((_, expanded)) => read(expanded, parts)?,
                None => return Err(format!("`%{letter}` is no conversion of a time")),
            },
            None => return Err("a time ends in `%`".to_owned()),
        }
        rest = &rest[at + 1 + letter.map_or(0, char::len_utf8)..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(())
}

fn field(letter: char, epoch: i64, civil: &Civil, zone: i32, out: &mut Vec<u8>) -> std::io::Result<()> {
    let month = MONTHS[usize::from(civil.month) - 1];
    let weekday = WEEKDAYS[usize::from(civil.weekday)];
    let twelve = match civil.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if civil.hour < 12 { "AM" } else { "PM" };
    let mut digits = |n: u8| out.write_all(&two(n));
    match letter {
        'C' => digits((civil.year / 100) as u8),
        'd' => digits(civil.day),
        'H' => digits(civil.hour),
        'I' => digits(twelve),
        'm' => digits(civil.month),
        'M' => digits(civil.minute),
        'S' => digits(civil.second),
        'y' => digits((civil.year % 100) as u8),
        'a' => out.write_all(&weekday.as_bytes()[..3]),
        'A' => out.write_all(weekday.as_bytes()),
        'b' => out.write_all(&month.as_bytes()[..3]),
        'B' => out.write_all(month.as_bytes()),
        'e' => write!(out, "{:2}", civil.day),
        'j' => write!(out, "{:03}", civil.day_of_year),
        'k' => write!(out, "{:2}", civil.hour),
        'l' => write!(out, "{twelve:2}"),
        'p' => out.write_all(half.as_bytes()),
        'P' => out.write_all(half.to_ascii_lowercase().as_bytes()),
        's' => write!(out, "{epoch}"),
        'u' => write!(out, "{}", if civil.weekday == 0 { 7 } else { civil.weekday }),
        'w' => write!(out, "{}", civil.weekday),
        'Y' => write!(out, "{}", civil.year),
        'z' | 'Z' => {
            let minutes = zone.unsigned_abs() / 60;
            let sign = if zone < 0 { '-' } else { '+' };
            write!(out, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
        }
        // A line stays one line.
        'n' | 't' => out.write_all(b" "),
        _ => out.write_all(b"%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::stamp::Wall;

    fn text(format: &str) -> String {
        let mut stamp = Stamp::default();
        stamp.sync(Now(0), || Wall { origin: 1_764_046_800_123_456, zone: 9 * 3600 });
        let mut out = Vec::new();
        TimeFormat::parse(format).expect(format).write(&mut stamp, Now(0), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn formats_are_those_of_strftime_and_httpd() {
        for (format, expected) in [
            ("", "[25/Nov/2025:14:00:00 +0900]"),
            ("end", "[25/Nov/2025:14:00:00 +0900]"),
            ("begin:%F %T", "2025-11-25 14:00:00"),
            ("%Y%m%dT%H%M%S%z", "20251125T140000+0900"),
            ("%a %A %b %B %e %j %k %l %p %P %I", "Tue Tuesday Nov November 25 329 14  2 PM pm 02"),
            ("%c|%D|%r|%R|%y|%C|%u|%w|%%", "Tue Nov 25 14:00:00 2025|11/25/25|02:00:00 PM|14:00|25|20|2|2|%"),
            ("sec", "1764046800"),
            ("end:msec", "1764046800123"),
            ("usec", "1764046800123456"),
            ("msec_frac", "123"),
            ("usec_frac", "123456"),
        ] {
            assert_eq!(text(format), expected, "{format}");
        }
        assert_eq!(TimeFormat::parse("%Q"), Err("`%Q` is no conversion of a time".to_owned()));
        assert!(TimeFormat::parse("%Y%").is_err());
        assert!(TimeFormat::parse("end:%Y").is_ok_and(|format| format.end));
    }
}
