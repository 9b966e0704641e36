//! The names of rolled files: `logging.pattern.rolling-file-name`, rendered for a new one and recognised in a folder.
//!
//! ```text
//! /log/apim.log.%d{yyyy-MM-dd}.%i.gz    %d  the day, or the day and the hour, that the lines were written in
//!                                       %i  0, 1, 2 … within it
//!                                       .gz compressed; absent: left as they are
//! ```

use super::date::DateFormat;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// What a compressed file is called until it is whole.
pub const DRAFT: &str = ".gz.tmp";

/// How rolled files are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledName {
    folder: PathBuf,
    before: String,
    date: DateFormat,
    between: String,
    after: String,
    /// Whether the index comes before the date.
    index_first: bool,
    /// Whether they are compressed.
    pub gzip: bool,
    /// Whether a period is an hour; else it is a day.
    hourly: bool,
}

/// A rolled file that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rolled {
    /// The days or hours since an arbitrary one.
    pub period: i64,
    /// Which one of its period.
    pub index: u64,
    /// Where, without `.gz`.
    pub path: PathBuf,
    /// Whether it waits to be compressed, whether it is, and whether that was left half done.
    pub plain: bool,
    /// It is there with `.gz`.
    pub zipped: bool,
    /// It is there with [`DRAFT`].
    pub draft: bool,
}

impl RolledName {
    /// `<file>.yyyy-MM-dd.N.gz`.
    pub fn beside(file: &Path) -> Self {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Self {
            folder: folder_of(file),
            before: format!("{name}."),
            date: DateFormat::parse("yyyy-MM-dd").expect("the format is a date"),
            between: ".".to_owned(),
            after: String::new(),
            index_first: false,
            gzip: true,
            hourly: false,
        }
    }

    /// Takes a pattern apart.
    ///
    /// # Errors
    /// What is missing or not understood.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        let pattern = pattern.trim();
        if pattern.strip_suffix(".zip").is_some() {
            return Err("ends in .zip; write .gz, or no suffix for files that are not compressed".to_owned());
        }
        let (stem, gzip) = pattern.strip_suffix(".gz").map_or((pattern, false), |stem| (stem, true));
        let (at, len, format) = date(stem)?;
        let rest = format!("{}\0{}", &stem[..at], &stem[at + len..]);
        let (first, second) = rest
            .split_once("%i")
            .ok_or("has no %i; write the pattern of the default, <file>.%d{yyyy-MM-dd}.%i.gz")?;
        if first.contains('%') || second.contains('%') {
            return Err("has another % than one %d{…} and one %i".to_owned());
        }
        let index_first = second.contains('\0');
        let (head, middle, tail) = if index_first {
            let (middle, tail) = second.split_once('\0').expect("just seen");
            (first, middle, tail)
        } else {
            let (head, middle) = first.split_once('\0').expect("the date is in one of the two");
            (head, middle, second)
        };
        let (folder, before) = head.rsplit_once('/').map_or((".", head), |(folder, before)| (folder, before));
        if middle.contains('/') || tail.contains('/') {
            return Err("has %d or %i in the name of a folder; rolled files lie in one folder".to_owned());
        }
        if middle.is_empty() {
            return Err("has nothing between %d and %i".to_owned());
        }
        let hourly = format.fields().any(|(letter, _)| letter == 'H');
        Ok(Self {
            folder: PathBuf::from(if folder.is_empty() { "/" } else { folder }),
            before: before.to_owned(),
            date: format,
            between: middle.to_owned(),
            after: tail.to_owned(),
            index_first,
            gzip,
            hourly,
        })
    }

    /// The period of `when`: a file never holds lines of two.
    pub fn period(&self, when: OffsetDateTime) -> i64 {
        self.period_of((when.date(), when.hour()))
    }

    fn period_of(&self, (day, hour): (time::Date, u8)) -> i64 {
        let day = i64::from(day.to_julian_day());
        if self.hourly { day * 24 + i64::from(hour) } else { day }
    }

    /// A name that no file has, without `.gz`, for lines written at `when`.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn next(&self, when: OffsetDateTime) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let period = self.period(when);
        let taken =
            self.list()?.into_iter().filter(|file| file.period == period).map(|file| file.index).max();
        let index = taken.map_or(0, |last| last + 1);
        let mut name = self.before.clone();
        if self.index_first {
            name.extend([index.to_string().as_str(), self.between.as_str()]);
            self.date.write(when, &mut name);
        } else {
            self.date.write(when, &mut name);
            name.extend([self.between.as_str(), index.to_string().as_str()]);
        }
        name += &self.after;
        Ok(self.folder.join(name))
    }

    /// The rolled files of the folder, oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(&self) -> io::Result<Vec<Rolled>> {
        let mut found: Vec<Rolled> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let Some(file) = self.recognise(&name) else { continue };
            match found.iter_mut().find(|known| known.path == file.path) {
                Some(known) => {
                    known.plain |= file.plain;
                    known.zipped |= file.zipped;
                    known.draft |= file.draft;
                }
                None => found.push(file),
            }
        }
        found.sort();
        Ok(found)
    }

    fn recognise(&self, name: &OsStr) -> Option<Rolled> {
        let name = name.to_str()?;
        let (stem, zipped, draft) = match (name.strip_suffix(DRAFT), name.strip_suffix(".gz")) {
            (Some(stem), _) if self.gzip => (stem, false, true),
            (None, Some(stem)) if self.gzip => (stem, true, false),
            _ => (name, false, false),
        };
        let rest = stem.strip_prefix(self.before.as_str())?;
        let (date, index, rest) = if self.index_first {
            let (index, rest) = digits(rest)?;
            let (date, rest) = self.date.read(rest.strip_prefix(self.between.as_str())?)?;
            (date, index, rest)
        } else {
            let (date, rest) = self.date.read(rest)?;
            let (index, rest) = digits(rest.strip_prefix(self.between.as_str())?)?;
            (date, index, rest)
        };
        (rest == self.after).then(|| Rolled {
            period: self.period_of(date),
            index,
            path: self.folder.join(stem),
            plain: !zipped && !draft,
            zipped,
            draft,
        })
    }
}

/// The folder a file lies in.
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The one `%d` of a pattern: where it stands, how long it is, what it means.
fn date(pattern: &str) -> Result<(usize, usize, DateFormat), String> {
    let at = pattern
        .find("%d")
        .ok_or("has no %d; write the pattern of the default, <file>.%d{yyyy-MM-dd}.%i.gz")?;
    let after = &pattern[at + 2..];
    let (format, len) = match after.strip_prefix('{') {
        Some(inside) => {
            let end = inside.find('}').ok_or("has a %d{ without its }")?;
            (&inside[..end], end + 4)
        }
        None => ("yyyy-MM-dd", 2),
    };
    let format = DateFormat::parse(format)?;
    let count = |wanted| format.fields().filter(|field| *field == wanted).count();
    let days = count(('y', 4)) == 1 && count(('M', 2)) == 1 && count(('d', 2)) == 1;
    let fields = 3 + count(('H', 2));
    if !days || fields > 4 || format.fields().count() != fields || format.holds('/') {
        return Err(
            "has a %d that is not made of yyyy, MM, dd and perhaps HH; write %d{yyyy-MM-dd}".to_owned()
        );
    }
    Ok((at, len, format))
}

/// The number at the front of `text`, and what follows it.
fn digits(text: &str) -> Option<(u64, &str)> {
    let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn index_of(name: &RolledName, file: &str) -> Option<u64> {
        name.recognise(OsStr::new(file)).map(|rolled| rolled.index)
    }

    #[test]
    fn the_default_is_what_spring_writes() {
        let name = RolledName::beside(Path::new("/log/apim%d.log"));
        for (file, index) in [
            ("apim%d.log.2026-01-31.0.gz", Some(0)),
            ("apim%d.log.2026-01-31.12", Some(12)),
            ("apim%d.log.2026-01-31.12.gz.tmp", Some(12)),
            ("apim%d.log", None),
            ("apim%d.log.2026-01-31.gz", None),
            ("apim%d.log.2026-02-31.1.gz", None),
            ("apim%d.log.2026-01-31.1.gz.old", None),
            ("apim%d.log.2026-01-31.99999999999999999999", None),
            ("xapim%d.log.2026-01-31.0.gz", None),
        ] {
            assert_eq!(index_of(&name, file), index, "{file}");
        }
    }

    #[test]
    fn other_names_are_understood() {
        let hourly = RolledName::parse("old/apim-%i_%d{yyyyMMdd-HH}.log").unwrap();
        assert_eq!((hourly.gzip, index_of(&hourly, "apim-3_20260131-23.log")), (false, Some(3)));
        let when = datetime!(2026-01-31 23:59:59 UTC);
        assert_eq!(hourly.period(when + time::Duration::SECOND), hourly.period(when) + 1);
        let daily = RolledName::parse("/log/a.%d.%i.gz").unwrap();
        assert_eq!(daily.period(when), daily.period(datetime!(2026-01-31 0:00 UTC)));
        assert_eq!(daily.period(when) + 1, daily.period(datetime!(2026-02-01 0:00 UTC)));
    }

    #[test]
    fn mistakes_are_named() {
        for (pattern, part) in [
            ("a.log.%i.gz", "has no %d"),
            ("a.log.%d.gz", "has no %i"),
            ("a.%d{yyyy-MM}.%i", "not made of yyyy, MM, dd"),
            ("a.%d{yyyy/MM/dd}.%i", "not made of yyyy, MM, dd"),
            ("a.%d{yyyy-MM-dd}.%i.zip", ".gz"),
            ("%d/a.%i.gz", "folder"),
            ("a.%d%i", "nothing between"),
            ("a.%d.%i.%i", "another %"),
            ("a.%d{yyyy-MM-dd.%i", "without its }"),
        ] {
            let error = RolledName::parse(pattern).unwrap_err();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }
}
