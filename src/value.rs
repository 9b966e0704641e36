//! Text to value: the parse functions that settings name, each built on one typed bridge.
//!
//! [`typed`] feeds one text to `serde_ini`'s deserializer, so any `Deserialize` type can be a setting's value. The
//! functions below it are what settings usually want. Their errors say what is wrong with the text and what is
//! expected; the key and the place are added by the configuration layer, which also masks secrets.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use log::LevelFilter;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_ini::de::{Deserializer, Error};
use serde_ini::parse::Item;

use crate::time::Millis;

/// Deserializes `text`, as it stands, into any serde type that a single text can be.
///
/// # Errors
/// What the type's `Deserialize` says about the text.
pub fn typed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct One<T> {
        value: T,
    }
    let item = Item::Value { key: "value".to_owned(), value: text.to_owned() };
    match One::deserialize(&mut Deserializer::new([Ok::<_, Error>(item)].into_iter())) {
        Ok(One { value }) => Ok(value),
        Err(Error::Custom(what)) => Err(what),
        Err(other) => Err(other.to_string()),
    }
}

/// One of the variants of a `#[serde(rename_all = "kebab-case")]` enum, blanks around it and letter case ignored.
///
/// # Errors
/// Names the variants there are.
pub fn choice<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    typed(&text.trim().to_ascii_lowercase())
}

/// `true yes on 1` or `false no off 0`, any case.
///
/// # Errors
/// Anything else, the empty text included.
pub fn boolean(text: &str) -> Result<bool, String> {
    #[derive(Deserialize)]
    enum Word {
        #[serde(rename = "true", alias = "yes", alias = "on", alias = "1")]
        True,
        #[serde(rename = "false", alias = "no", alias = "off", alias = "0")]
        False,
    }
    match choice(text) {
        Ok(Word::True) => Ok(true),
        Ok(Word::False) => Ok(false),
        Err(_) => Err("is not a yes or no; write true or false (or yes/no, on/off, 1/0)".to_owned()),
    }
}

/// A whole number within `range`.
///
/// # Errors
/// Not a number, or outside the range.
pub fn whole(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    typed(text.trim())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("is not a whole number from {} to {}", range.start(), range.end()))
}

/// A whole number from 1 to 2,147,483,647, Java's largest `int`: connections, threads, entries.
///
/// # Errors
/// As [`whole`].
pub fn count(text: &str) -> Result<usize, String> {
    whole(text, 1..=i32::MAX as u64).map(|number| number as usize)
}

/// A TCP port; 0 lets the system choose one.
///
/// # Errors
/// As [`whole`].
pub fn port(text: &str) -> Result<u16, String> {
    whole(text, 0..=65_535).map(|number| number as u16)
}

/// Spring's `Duration`: a plain number is milliseconds, or with a unit `ns us ms s m h d`, or ISO 8601 such as
/// `PT1M30S`; -1 is [`Millis::NEVER`].
///
/// # Errors
/// Not a duration, or negative.
pub fn duration(text: &str) -> Result<Millis, String> {
    span(text, 1, "milliseconds")
}

/// As [`duration`], but 0 also is [`Millis::NEVER`], as Tomcat reads its timeouts.
///
/// # Errors
/// As [`duration`].
pub fn timeout(text: &str) -> Result<Millis, String> {
    duration(text).map(zero_is_never)
}

/// The legacy's timeouts: a plain number is seconds, 0 and -1 are [`Millis::NEVER`]; units as in [`duration`].
///
/// # Errors
/// As [`duration`].
pub fn seconds(text: &str) -> Result<Millis, String> {
    span(text, 1000, "seconds").map(zero_is_never)
}

fn zero_is_never(span: Millis) -> Millis {
    if span == Millis(0) { Millis::NEVER } else { span }
}

/// A duration whose plain numbers count `unit_ms` each.
fn span(text: &str, unit_ms: u64, unit_name: &str) -> Result<Millis, String> {
    let text = text.trim();
    if text == "-1" {
        return Ok(Millis::NEVER);
    }
    let (digits, unit) = number_and_unit(text);
    let ms = match unit {
        "" => times(digits, unit_ms),
        "ns" => typed::<u64>(digits).ok().map(|n| n.div_ceil(1_000_000)),
        "us" => typed::<u64>(digits).ok().map(|n| n.div_ceil(1_000)),
        "ms" => times(digits, 1),
        "s" => times(digits, 1_000),
        "m" => times(digits, 60_000),
        "h" => times(digits, 3_600_000),
        "d" => times(digits, 86_400_000),
        _ => iso_duration(text),
    };
    ms.map(Millis).ok_or_else(|| {
        format!(
            "is not a duration; write a number of {unit_name}, or one with a unit such as 500ms, 30s or 5m"
        )
    })
}

/// `PnDTnHnMnS` with whole numbers, in milliseconds.
fn iso_duration(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let (days, clock) = upper.strip_prefix('P')?.split_once('T').unwrap_or((&upper[1..], ""));
    if days.is_empty() && clock.is_empty() {
        return None;
    }
    let mut total = if days.is_empty() { 0 } else { times(days.strip_suffix('D')?, 86_400_000)? };
    let mut rest = clock;
    for (letter, ms) in [('H', 3_600_000), ('M', 60_000), ('S', 1_000)] {
        if let Some((digits, after)) = rest.split_once(letter) {
            total = times(digits, ms)?.checked_add(total)?;
            rest = after;
        }
    }
    rest.is_empty().then_some(total)
}

/// A data size in bytes: a plain number, or one with `B KB MB GB TB` (powers of 1024, as Spring's `DataSize`).
///
/// # Errors
/// Not a size.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = number_and_unit(text.trim());
    let power = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => Some(0),
        "KB" | "K" => Some(10),
        "MB" | "M" => Some(20),
        "GB" | "G" => Some(30),
        "TB" | "T" => Some(40),
        _ => None,
    };
    power.and_then(|bits| times(digits, 1 << bits)).ok_or_else(|| {
        "is not a size; write a number of bytes, or one with a unit such as 8KB, 20MB or 1GB".to_owned()
    })
}

/// The leading digits and what follows them, blanks between them removed.
fn number_and_unit(text: &str) -> (&str, &str) {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    (digits, unit.trim_start())
}

fn times(digits: &str, factor: u64) -> Option<u64> {
    typed::<u64>(digits).ok()?.checked_mul(factor)
}

/// Any text without the blanks around it; empty means unset.
///
/// # Errors
/// None; the signature is what settings name.
pub fn text(text: &str) -> Result<String, String> {
    typed(text.trim())
}

/// Any text as it stands, trailing blanks included: passwords and patterns.
///
/// # Errors
/// None; the signature is what settings name.
pub fn verbatim(text: &str) -> Result<String, String> {
    typed(text)
}

/// A path; empty means unset.
///
/// # Errors
/// None; the signature is what settings name.
pub fn path(text: &str) -> Result<Option<PathBuf>, String> {
    let text = typed::<String>(text.trim())?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
}

/// A comma list: blanks around the items and empty items are dropped.
///
/// # Errors
/// None; the signature is what settings name.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(typed).collect()
}

/// What a TLS listener asks of its clients (`server.ssl.client-auth`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// A certificate, or no connection.
    Need,
    /// A certificate is asked for; none is fine, a bad one is not.
    Want,
    /// No certificate is asked for.
    #[default]
    None,
}

/// `need`, `want` or `none`, any case; empty is `none`.
///
/// # Errors
/// Any other word.
pub fn client_auth(text: &str) -> Result<ClientAuth, String> {
    if text.trim().is_empty() {
        return Ok(ClientAuth::default());
    }
    choice(text).map_err(|_| "is not one of need, want, none".to_owned())
}

/// A log level as Spring Boot reads it: `trace debug info warn error fatal off`, `true` (debug) and `false` (off).
///
/// # Errors
/// Any other word.
pub fn level(text: &str) -> Result<LevelFilter, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Trace,
        #[serde(alias = "true")]
        Debug,
        Info,
        Warn,
        #[serde(alias = "fatal")]
        Error,
        #[serde(alias = "false")]
        Off,
    }
    match choice(text) {
        Ok(Word::Trace) => Ok(LevelFilter::Trace),
        Ok(Word::Debug) => Ok(LevelFilter::Debug),
        Ok(Word::Info) => Ok(LevelFilter::Info),
        Ok(Word::Warn) => Ok(LevelFilter::Warn),
        Ok(Word::Error) => Ok(LevelFilter::Error),
        Ok(Word::Off) => Ok(LevelFilter::Off),
        Err(_) => Err("is not a level; write one of trace, debug, info, warn, error, fatal, off".to_owned()),
    }
}

impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Need => "need",
            Self::Want => "want",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_serde_type_is_a_value() {
        assert_eq!(typed::<u16>("443"), Ok(443));
        assert_eq!(typed::<Option<f64>>("0.5"), Ok(Some(0.5)));
        assert_eq!(typed::<String>(" [a]=b;c "), Ok(" [a]=b;c ".to_owned()));
        assert_eq!(typed::<u8>("256"), Err("number too large to fit in target type".to_owned()));
    }

    #[test]
    fn booleans_are_eight_words_in_any_case() {
        for (words, value) in [("true TRUE yes Yes on 1", true), ("false no NO off Off 0", false)] {
            for word in words.split(' ') {
                assert_eq!(boolean(&format!(" {word} ")), Ok(value), "{word}");
            }
        }
        for wrong in ["", "ture", "y", "2", "true false", "01"] {
            assert!(boolean(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        assert_eq!(port(" 65535 "), Ok(65_535));
        assert_eq!(port("65536"), Err("is not a whole number from 0 to 65535".to_owned()));
        assert_eq!(count("1"), Ok(1));
        for wrong in ["", "0", "-1", "1.0", "0x10", "1_000", "4294967297", "99999999999999999999"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_as_spring_writes_them() {
        for (text, ms) in [
            ("250", 250),
            ("0", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("30 s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1ns", 1),
            ("2500us", 3),
            ("PT1M30S", 90_000),
            ("pt20s", 20_000),
            ("P1DT1H", 90_000_000),
        ] {
            assert_eq!(duration(text), Ok(Millis(ms)), "{text}");
        }
        for wrong in
            ["", "s", "30x", "-2", "1.5s", "P", "PT", "PT1S1M", "PT5", "30S M", "18446744073709551615d"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn legacy_timeouts_are_seconds_and_zero_is_never() {
        assert_eq!(seconds("60"), Ok(Millis(60_000)));
        assert_eq!(seconds("500ms"), Ok(Millis(500)));
        assert_eq!((seconds("0"), seconds("-1")), (Ok(Millis::NEVER), Ok(Millis::NEVER)));
        assert_eq!((timeout("0"), timeout("20")), (Ok(Millis::NEVER), Ok(Millis(20))));
        assert_eq!((duration("0"), duration("-1")), (Ok(Millis(0)), Ok(Millis::NEVER)));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes) in [("8192", 8192), ("8KB", 8192), ("20 mb", 20 << 20), ("1GB", 1 << 30), ("7B", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "KB", "-1", "1.5MB", "8 KiB", "99999999999TB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn words_lists_and_texts() {
        assert_eq!(list(" a, ,b ,"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((text(" a b "), verbatim(" a b ")), (Ok("a b".to_owned()), Ok(" a b ".to_owned())));
        assert_eq!((client_auth("NEED"), client_auth("")), (Ok(ClientAuth::Need), Ok(ClientAuth::None)));
        assert!(client_auth("must").is_err());
        assert_eq!(
            ["TRACE", "fatal", "OFF", "true", "false"].map(level),
            [
                Ok(LevelFilter::Trace),
                Ok(LevelFilter::Error),
                Ok(LevelFilter::Off),
                Ok(LevelFilter::Debug),
                Ok(LevelFilter::Off)
            ]
        );
        assert!(level("verbose").is_err());
    }
}
