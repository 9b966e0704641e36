//! Locations as Spring writes them, and where they are looked for.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The folders a location is looked for in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// For relative paths, in order: the working directory first.
    pub folders: Vec<PathBuf>,
    /// For `classpath:` locations, in order.
    pub class_path: Vec<PathBuf>,
}

/// A location that leads to no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is of a kind that is not understood.
    Unsupported,
    /// None of these paths exists.
    Tried(Vec<PathBuf>),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Tried(paths) = self else {
            return f.write_str("is no location; write file:/path, a path, or classpath:name");
        };
        f.write_str("is not there; tried ")?;
        for (index, path) in paths.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", " }, path.display())?;
        }
        Ok(())
    }
}

impl Search {
    /// The first existing path for `location`: `file:/abs`, `file:///abs`, `file:rel`, a bare path, or `classpath:x`.
    ///
    /// # Errors
    /// What was tried.
    pub fn find(&self, location: &str) -> Result<PathBuf, Missing> {
        let mut tried = self.candidates(location).ok_or(Missing::Unsupported)?;
        match tried.iter().position(|path| path.exists()) {
            Some(found) => Ok(tried.swap_remove(found)),
            None => Err(Missing::Tried(tried)),
        }
    }

    /// Every path `location` may mean, in order; `None` for another kind of URL.
    fn candidates(&self, location: &str) -> Option<Vec<PathBuf>> {
        let location = location.trim();
        if let Some(name) = location.strip_prefix("classpath:") {
            let name = name.trim_start_matches('/');
            return Some(self.class_path.iter().map(|folder| tidy(&folder.join(name))).collect());
        }
        let path = location.strip_prefix("file:").unwrap_or(location);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.split('/').next().is_some_and(|head| head.contains(':')) {
            return None;
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in &self.folders {
            let path = tidy(&folder.join(path));
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Some(paths)
    }
}

/// `path` without `.` parts; `..` stays, because what it means depends on links.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

/// Reads a whole configuration file.
///
/// # Errors
/// What keeps it from being read.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {} MB", FILE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

/// Whether `path` is a file that can be opened.
///
/// # Errors
/// What keeps it from being read.
pub fn readable(path: &Path) -> Result<(), String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let is_file = file.metadata().is_ok_and(|about| about.is_file());
    if is_file { Ok(()) } else { Err("is not a file".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> Search {
        Search { folders: vec!["/w".into(), "/app/conf/..".into()], class_path: vec!["/app/conf".into()] }
    }

    #[test]
    fn every_way_to_write_a_location() {
        for (location, paths) in [
            ("file:./conf/a.jks", "/w/conf/a.jks /app/conf/../conf/a.jks"),
            (" conf/a.jks ", "/w/conf/a.jks /app/conf/../conf/a.jks"),
            ("file:/etc/pki/cacerts", "/etc/pki/cacerts"),
            ("file:///etc/pki/cacerts", "/etc/pki/cacerts"),
            ("/etc/pki/cacerts", "/etc/pki/cacerts"),
            ("classpath:a.jks", "/app/conf/a.jks"),
            ("classpath:/a.jks", "/app/conf/a.jks"),
        ] {
            let paths: Vec<PathBuf> = paths.split(' ').map(PathBuf::from).collect();
            assert_eq!(search().candidates(location), Some(paths), "{location}");
        }
        for location in ["", "file:", "http://h/a.jks", "jar:file:/a.jar!/b"] {
            assert_eq!(search().candidates(location), None, "{location}");
        }
    }

    #[test]
    fn a_missing_file_lists_what_was_tried() {
        let missing = search().find("file:no/such").unwrap_err();
        assert_eq!(missing.to_string(), "is not there; tried /w/no/such, /app/conf/../no/such");
    }
}
