//! Files of the machine whose configuration is imported: this one, or one whose files were copied below a folder.

use crate::config::files;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How many names a folder may hold, and a pattern may match.
const NAMES_MAX: usize = 4096;
/// How deep folders are followed.
const FOLDERS_DEEP_MAX: usize = 16;

/// Where absolute paths begin.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// `/`, or the folder that holds a copy of it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        files::readable(&self.real(path))?;
        files::read(&self.real(path))
    }

    /// Whether something is there.
    pub fn exists(&self, path: &Path) -> bool {
        self.real(path).exists()
    }

    /// Whether it is a folder.
    pub fn is_folder(&self, path: &Path) -> bool {
        self.real(path).is_dir()
    }

    /// Every file of a folder and the folders in it, each sorted by name.
    ///
    /// # Errors
    /// A folder that cannot be read, or too many names.
    pub fn below(&self, folder: &Path) -> Result<Vec<PathBuf>, String> {
        let (mut files, mut left) = (Vec::new(), NAMES_MAX);
        self.collect(folder, (0, &mut left), &mut files)?;
        Ok(files)
    }

    /// `bounds` are how deep this is and how many names may still be seen.
    fn collect(
        &self,
        folder: &Path,
        bounds: (usize, &mut usize),
        files: &mut Vec<PathBuf>,
    ) -> Result<(), String> {
        let (deep, left) = bounds;
        for name in self.names(folder)? {
            let path = folder.join(name);
            if deep >= FOLDERS_DEEP_MAX || *left == 0 {
                return Err(format!(
                    "{}: more than {FOLDERS_DEEP_MAX} folders in each other or {NAMES_MAX} names",
                    folder.display()
                ));
            }
            *left -= 1;
            if self.is_folder(&path) {
                self.collect(&path, (deep + 1, &mut *left), files)?;
            } else {
                files.push(path);
            }
        }
        Ok(())
    }

    /// Every file a pattern matches; `*`, `?` and `[…]` may stand in any part of the path.
    ///
    /// # Errors
    /// As [`Disk::below`].
    pub fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let name = part.as_os_str().to_string_lossy();
            if !matches!(part, Component::Normal(_)) || !name.contains(['*', '?', '[']) {
                for path in &mut found {
                    path.push(part);
                }
                continue;
            }
            let mut next = Vec::new();
            for folder in found.iter().filter(|path| self.is_folder(path)) {
                let names = self.names(folder)?;
                next.extend(names.iter().filter(|one| matches(&name, one)).map(|one| folder.join(one)));
                if next.len() > NAMES_MAX {
                    return Err(format!("{}: more than {NAMES_MAX} matches", pattern.display()));
                }
            }
            found = next;
        }
        let mut files = Vec::new();
        let mut left = NAMES_MAX;
        for path in found.into_iter().filter(|path| self.exists(path)) {
            if self.is_folder(&path) {
                self.collect(&path, (0, &mut left), &mut files)?;
            } else {
                files.push(path);
            }
        }
        Ok(files)
    }

    fn names(&self, folder: &Path) -> Result<Vec<String>, String> {
        let cannot = |error: io::Error| format!("{} cannot be read: {error}", folder.display());
        let mut names = Vec::new();
        for entry in self.real(folder).read_dir().map_err(cannot)? {
            names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
            if names.len() > NAMES_MAX {
                return Err(format!("{} holds more than {NAMES_MAX} names", folder.display()));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Whether `name` matches one part of a pattern: `*`, `?`, `[a-z]`, `[!a-z]`, a backslash before a plain character. A
/// name that begins with a dot is matched by a dot only.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut p) = (0, 0);
    // Where the last star stood, and how much of the name it takes.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((p + 1, at));
            p += 1;
            continue;
        }
        match (name.get(at), one(&pattern[p..])) {
            (None, None) => return true,
            (Some(c), Some((length, accepts))) if accepts.is(*c) => {
                at += 1;
                p += length;
            }
            _ => match star {
                Some((after, taken)) if taken < name.len() => {
                    star = Some((after, taken + 1));
                    (p, at) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// What one place of a pattern accepts.
enum Accepts<'a> {
    Any,
    One(char),
    Class(&'a [char]),
}

impl Accepts<'_> {
    fn is(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => *one == c,
            Self::Class(class) => {
                let (wanted, class) = match class.split_first() {
                    Some(('!' | '^', rest)) => (false, rest),
                    _ => (true, *class),
                };
                let mut rest = class;
                let mut found = false;
                loop {
                    rest = match rest {
                        [from, '-', to, after @ ..] => {
                            found |= (*from..=*to).contains(&c);
                            after
                        }
                        [one, after @ ..] => {
                            found |= *one == c;
                            after
                        }
                        [] => return found == wanted,
                    };
                }
            }
        }
    }
}

/// The pattern's first place and how many characters it is written with.
fn one(pattern: &[char]) -> Option<(usize, Accepts<'_>)> {
    match pattern {
        [] => None,
        ['?', ..] => Some((1, Accepts::Any)),
        ['\\', c, ..] => Some((2, Accepts::One(*c))),
        ['[', class @ ..] => match class.iter().skip(1).position(|c| *c == ']') {
            Some(end) => Some((end + 3, Accepts::Class(&class[..=end]))),
            None => Some((1, Accepts::One('['))),
        },
        [c, ..] => Some((1, Accepts::One(*c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (pattern, name) in [
            ("*.conf", "a.conf"),
            ("*.conf", "a.b.conf"),
            ("*", "x"),
            ("?-*.load", "0-a.load"),
            ("[0-9][!a]*", "1bc"),
            ("[abc]", "b"),
            ("[]x]", "]"),
            ("a*b*c", "aXbYbZc"),
            ("\\*", "*"),
            ("[", "["),
            (".*", ".x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.conf", "a.conf.rpmsave"),
            ("*.conf", ".a.conf"),
            ("?", ""),
            ("?", "ab"),
            ("[0-9]*", "a"),
            ("[!0-9]", "5"),
            ("a*b", "ac"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
