//! Dates and times as Java's `SimpleDateFormat` writes them, as far as logs use it, in English.
//!
//! ```text
//! y M d D   year, month (MMM: Jan, MMMM: January), day of the month, of the year       H k K h a   hours, AM/PM
//! m s S     minutes, seconds, milliseconds                                             E u         day of the week
//! z Z X     GMT+09:00, +0900, +09 (XX: +0900, XXX: +09:00)                             'text' ''   text, one quote
//! ```
//! A region has no table here: zones are offsets, but for the few names of [`ZONES`].

use time::{Date, Month, OffsetDateTime, UtcOffset, Weekday};

/// What `%d` is without a format.
pub const ISO8601: &str = "yyyy-MM-dd HH:mm:ss,SSS";
/// Formats that have a name.
const NAMED: [(&str, &str); 3] =
    [("ISO8601", ISO8601), ("ABSOLUTE", "HH:mm:ss,SSS"), ("DATE", "dd MMM yyyy HH:mm:ss,SSS")];
/// Zones that have a name here, and their hours.
const ZONES: [(&str, i8); 7] =
    [("UTC", 0), ("GMT", 0), ("Z", 0), ("Asia/Seoul", 9), ("KST", 9), ("Asia/Tokyo", 9), ("JST", 9)];
/// More letters in a row than these are a mistake.
const WIDTH_MAX: usize = 20;

/// A format, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateFormat {
    parts: Vec<Part>,
    zone: Option<UtcOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter and how often it stands in a row.
    Field(char, usize),
}

impl DateFormat {
    /// The format `text`, or the one it names.
    ///
    /// # Errors
    /// Which letter is not understood.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = NAMED.iter().find(|(name, _)| *name == text).map_or(text, |(_, format)| *format);
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (part, len) = match first {
                '\'' => quoted(rest)?,
                'y' | 'M' | 'd' | 'D' | 'H' | 'k' | 'K' | 'h' | 'a' | 'm' | 's' | 'S' | 'E' | 'u' | 'z'
                | 'Z' | 'X' => {
                    let width = rest.chars().take_while(|next| *next == first).count();
                    if width > WIDTH_MAX || (first == 'X' && width > 3) {
                        return Err(format!("has a date with {width} times {first} in a row"));
                    }
                    (Part::Field(first, width), width)
                }
                letter if letter.is_ascii_alphabetic() => {
                    return Err(format!(
                        "has a date with {letter}, which is not understood; quote it ('{letter}') if it is text"
                    ));
                }
                other => (Part::Text(other.to_string()), other.len_utf8()),
            };
            match (&part, parts.last_mut()) {
                (Part::Text(more), Some(Part::Text(text))) => text.push_str(more),
                _ => parts.push(part),
            }
            rest = &rest[len..];
        }
        Ok(Self { parts, zone: None })
    }

    /// The same in the zone `name`.
    ///
    /// # Errors
    /// That it has no name here.
    pub fn in_zone(mut self, name: &str) -> Result<Self, String> {
        let zone = zone(name)
            .ok_or_else(|| format!("has the zone {name}, which is not known here; write GMT+09:00, say"))?;
        self.zone = Some(zone);
        Ok(self)
    }

    /// The letters it uses, each as often as it stands in a row.
    pub fn fields(&self) -> impl Iterator<Item = (char, usize)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(letter, width) => Some((*letter, *width)),
            Part::Text(_) => None,
        })
    }

    /// Whether its text holds `character`.
    pub fn holds(&self, character: char) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains(character)))
    }

    /// Writes `when` behind `out`.
    pub fn write(&self, when: OffsetDateTime, out: &mut String) {
        let when = self.zone.map_or(when, |zone| when.to_offset(zone));
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(letter, width) => field(*letter, *width, when, out),
            }
        }
    }

    /// Reads a day and an hour from the front of `text`, as far as the format has them; returns what follows. Only for
    /// formats of `y M d H` and text.
    pub fn read<'a>(&self, text: &'a str) -> Option<((Date, u8), &'a str)> {
        let (mut year, mut month, mut day, mut hour) = (None, None, None, 0);
        let mut rest = text;
        for part in &self.parts {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Field(letter, width) => {
                    let digits =
                        rest.get(..*width).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
                    rest = &rest[*width..];
                    match letter {
                        'y' => year = digits.parse().ok(),
                        'M' => month = digits.parse().ok().and_then(|month: u8| Month::try_from(month).ok()),
                        'd' => day = digits.parse().ok(),
                        _ => hour = digits.parse().ok().filter(|hour| *hour < 24)?,
                    }
                }
            }
        }
        Some(((Date::from_calendar_date(year?, month?, day?).ok()?, hour), rest))
    }
}

/// Text between quotes, and how long it is with them; two quotes are one.
fn quoted(text: &str) -> Result<(Part, usize), String> {
    if text.starts_with("''") {
        return Ok((Part::Text("'".to_owned()), 2));
    }
    let mut plain = String::new();
    let mut rest = &text[1..];
    loop {
        let end = rest.find('\'').ok_or("has a date with a quote that does not end")?;
        plain.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(more) = rest.strip_prefix('\'') else { break };
        plain.push('\'');
        rest = more;
    }
    Ok((Part::Text(plain), text.len() - rest.len()))
}

/// `UTC`, `GMT+9`, `GMT+09:00`, `+09:00`, or one of [`ZONES`].
fn zone(name: &str) -> Option<UtcOffset> {
    if let Some((_, hours)) = ZONES.iter().find(|(known, _)| *known == name) {
        return UtcOffset::from_hms(*hours, 0, 0).ok();
    }
    let text = name.strip_prefix("GMT").or_else(|| name.strip_prefix("UTC")).unwrap_or(name);
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(both) => both,
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let number = |text: &str, most: i8| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i8>().ok().filter(|number| digits && *number <= most)
    };
    UtcOffset::from_hms(sign * number(hours, 18)?, sign * number(minutes, 59)?, 0).ok()
}

/// Writes one field.
fn field(letter: char, width: usize, when: OffsetDateTime, out: &mut String) {
    let hour = u32::from(when.hour());
    match letter {
        'y' if width == 2 => number(when.year().rem_euclid(100) as u32, 2, out),
        'y' => number(when.year().unsigned_abs(), width, out),
        'M' if width > 3 => out.push_str(month(when.month())),
        'M' if width == 3 => out.push_str(&month(when.month())[..3]),
        'M' => number(u8::from(when.month()).into(), width, out),
        'd' => number(when.day().into(), width, out),
        'D' => number(when.ordinal().into(), width, out),
        'H' => number(hour, width, out),
        'k' => number(if hour == 0 { 24 } else { hour }, width, out),
        'K' => number(hour % 12, width, out),
        'h' => number(if hour % 12 == 0 { 12 } else { hour % 12 }, width, out),
        'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
        'm' => number(when.minute().into(), width, out),
        's' => number(when.second().into(), width, out),
        'S' => number(when.millisecond().into(), width, out),
        'E' if width > 3 => out.push_str(weekday(when.weekday())),
        'E' => out.push_str(&weekday(when.weekday())[..3]),
        'u' => number(when.weekday().number_from_monday().into(), width, out),
        'z' => offset(when.offset(), "GMT", ":", out),
        'Z' => offset(when.offset(), "", "", out),
        // 'X'
        _ if when.offset().is_utc() => out.push('Z'),
        _ if width == 1 => {
            let at = out.len();
            offset(when.offset(), "", "", out);
            out.truncate(at + 3);
        }
        _ => offset(when.offset(), "", if width == 2 { "" } else { ":" }, out),
    }
}

/// A number with zeros in front, `width` digits at least.
fn number(number: u32, width: usize, out: &mut String) {
    let mut digits = [b'0'; WIDTH_MAX];
    let (mut rest, mut at) = (number, WIDTH_MAX);
    while rest > 0 || at > WIDTH_MAX - width.clamp(1, WIDTH_MAX) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

fn offset(offset: UtcOffset, before: &str, between: &str, out: &mut String) {
    let (hours, minutes, _) = offset.as_hms();
    out.push_str(before);
    out.push(if offset.is_negative() { '-' } else { '+' });
    number(hours.unsigned_abs().into(), 2, out);
    out.push_str(between);
    number(minutes.unsigned_abs().into(), 2, out);
}

const fn month(month: Month) -> &'static str {
    match month {
        Month::January => "January",
        Month::February => "February",
        Month::March => "March",
        Month::April => "April",
        Month::May => "May",
        Month::June => "June",
        Month::July => "July",
        Month::August => "August",
        Month::September => "September",
        Month::October => "October",
        Month::November => "November",
        Month::December => "December",
    }
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const WHEN: OffsetDateTime = datetime!(2026-01-05 15:04:09.078 +09:00);

    fn text(format: &str) -> String {
        let mut out = String::new();
        DateFormat::parse(format).unwrap().write(WHEN, &mut out);
        out
    }

    /// As `new SimpleDateFormat(format, Locale.US)` writes them in Asia/Seoul, but for `z` (there KST).
    #[test]
    fn dates_as_java_writes_them() {
        for (format, expected) in [
            ("ISO8601", "2026-01-05 15:04:09,078"),
            ("ABSOLUTE", "15:04:09,078"),
            ("DATE", "05 Jan 2026 15:04:09,078"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2026-01-05T15:04:09.078+09:00"),
            ("yy/M/d H:m:s.S", "26/1/5 15:4:9.78"),
            ("y MMMM EEEE E u D DDD", "2026 January Monday Mon 1 5 005"),
            ("hh K k a", "03 3 15 PM"),
            ("z Z X XX", "GMT+09:00 +0900 +09 +0900"),
            ("''yy 'o''clock' SSSSSS", "'26 o'clock 000078"),
            ("", ""),
            ("가 HH", "가 15"),
        ] {
            assert_eq!(text(format), expected, "{format}");
        }
    }

    #[test]
    fn zones_are_offsets_or_a_few_names() {
        let in_zone = |zone: &str| {
            let mut out = String::new();
            DateFormat::parse("dd HH:mm XXX")
                .unwrap()
                .in_zone(zone)
                .map(|format| format.write(WHEN, &mut out))?;
            Ok::<_, String>(out)
        };
        for (zone, expected) in [
            ("UTC", "05 06:04 Z"),
            ("Asia/Seoul", "05 15:04 +09:00"),
            ("GMT-9", "04 21:04 -09:00"),
            ("UTC+0530", "05 11:34 +05:30"),
            ("+05:45", "05 11:49 +05:45"),
        ] {
            assert_eq!(in_zone(zone), Ok(expected.to_owned()), "{zone}");
        }
        for zone in ["", "Europe/Berlin", "GMT+", "GMT+19", "+9:60", "+-9", "+가"] {
            let error = in_zone(zone).unwrap_err();
            assert_eq!(error, format!("has the zone {zone}, which is not known here; write GMT+09:00, say"));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (format, part) in
            [("yyyy-MM-ddTHH", "with T,"), ("'T", "quote"), ("XXXX", "4 times X"), ("ww", "with w,")]
        {
            let error = DateFormat::parse(format).unwrap_err();
            assert!(error.contains(part), "{format}: {error}");
        }
        assert!(DateFormat::parse(&"y".repeat(21)).is_err());
    }

    #[test]
    fn what_was_written_can_be_read() {
        let format = DateFormat::parse("yyyy-MM-dd'_'HH").unwrap();
        let day = Date::from_calendar_date(2026, Month::February, 28).unwrap();
        assert_eq!(format.read("2026-02-28_23.gz"), Some(((day, 23), ".gz")));
        for wrong in ["", "2026-02-30_00", "2026-02-28_24", "2026-02-28", "+026-02-28_00", "2026-2-28_00가"]
        {
            assert_eq!(format.read(wrong), None, "{wrong}");
        }
    }
}
