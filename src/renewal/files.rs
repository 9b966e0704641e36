//! The files of keys and certificates, looked at again and again: network file systems send no events.
//!
//! ```text
//!          as in use                     as in use
//!       +-----------+   other content   +-----------+   the same again
//!       |   Same    | ----------------> | Unsettled | -----------------> Changed
//!       +-----------+ <---------------- +-----------+ <-----------------
//!                         as in use        another content yet
//! ```
//! What is being written looks different from one look to the next, so that only what two looks in a row found alike is
//! worth reading. Content counts, not dates: a file that was only touched has not changed.

use crate::credentials::store;
use crate::keystore::{Fingerprint, fingerprint};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What is asked of a file before it is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outside {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Outside {
    fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            bytes: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// What was found of a file.
#[derive(Clone, Copy, Debug)]
struct Known {
    outside: Outside,
    content: Option<Fingerprint>,
    /// Two looks in a row found the outside like this: clocks of file systems are coarse.
    calm: bool,
}

/// What differs from what is in use: the content of each such file, `None` where it cannot be read.
pub type Differing = BTreeMap<PathBuf, Option<Fingerprint>>;

/// The outcome of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Everything is as in use.
    Same,
    /// Something is different, and was not at the last look: somebody may still be writing.
    Unsettled,
    /// The last two looks found this.
    Changed(Differing),
}

/// What the looks so far have found.
#[derive(Debug, Default)]
pub struct Files {
    known: BTreeMap<PathBuf, Known>,
    last: Differing,
}

impl Files {
    /// Looks at the files that `used` names, with the contents that are in use.
    pub fn look(&mut self, used: &BTreeMap<PathBuf, Fingerprint>) -> Seen {
        self.known.retain(|path, _| used.contains_key(path));
        let mut differing = Differing::new();
        for (path, in_use) in used {
            let content = self.content(path);
            if content != Some(*in_use) {
                differing.insert(path.clone(), content);
            }
        }
        let before = std::mem::replace(&mut self.last, differing);
        if self.last.is_empty() {
            Seen::Same
        } else if before == self.last {
            Seen::Changed(before)
        } else {
            Seen::Unsettled
        }
    }

    fn content(&mut self, path: &Path) -> Option<Fingerprint> {
        // Opened, because that is when NFS asks its server how the file is now.
        let outside = File::open(path).and_then(|file| file.metadata()).ok().map(|about| Outside::of(&about));
        let Some(outside) = outside else {
            self.known.remove(path);
            return None;
        };
        let before = self.known.get(path).filter(|known| known.outside == outside);
        if let Some(known) = before.filter(|known| known.calm && known.content.is_some()) {
            return known.content;
        }
        let calm = before.is_some();
        let content = store::read(path).ok().map(|bytes| fingerprint(&bytes));
        self.known.insert(path.to_path_buf(), Known { outside, content, calm });
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder of this test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("apim-files-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn only_what_two_looks_find_alike_has_changed() {
        let folder = folder("settle");
        let (a, b) = (folder.join("a"), folder.join("b"));
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        let used = BTreeMap::from([(a.clone(), fingerprint(b"one")), (b.clone(), fingerprint(b"two"))]);
        let mut files = Files::default();
        for _ in 0..3 {
            assert_eq!(files.look(&used), Seen::Same);
        }
        fs::write(&a, "on").unwrap();
        assert_eq!(files.look(&used), Seen::Unsettled);
        fs::write(&a, "once").unwrap();
        assert_eq!(files.look(&used), Seen::Unsettled);
        let changed = Seen::Changed(Differing::from([(a.clone(), Some(fingerprint(b"once")))]));
        assert_eq!(files.look(&used), changed);
        assert_eq!(files.look(&used), changed, "as long as it is not in use");
        fs::remove_file(&b).unwrap();
        assert_eq!(files.look(&used), Seen::Unsettled);
        let gone =
            Seen::Changed(Differing::from([(a.clone(), Some(fingerprint(b"once"))), (b.clone(), None)]));
        assert_eq!(files.look(&used), gone);
        fs::write(&a, "one").unwrap();
        fs::write(&b, "two").unwrap();
        assert_eq!(files.look(&used), Seen::Same);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn neither_dates_nor_a_new_file_are_a_change() {
        let folder = folder("touch");
        let a = folder.join("a");
        fs::write(&a, "one").unwrap();
        let used = BTreeMap::from([(a.clone(), fingerprint(b"one"))]);
        let mut files = Files::default();
        assert_eq!(files.look(&used), Seen::Same);
        fs::write(folder.join("b"), "one").unwrap();
        fs::rename(folder.join("b"), &a).unwrap();
        assert_eq!([files.look(&used), files.look(&used)], [Seen::Same, Seen::Same]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_written_within_a_tick_of_the_clock_is_seen() {
        let folder = folder("tick");
        let a = folder.join("a");
        fs::write(&a, "one").unwrap();
        let date = fs::metadata(&a).unwrap().modified().unwrap();
        let used = BTreeMap::from([(a.clone(), fingerprint(b"one"))]);
        let mut files = Files::default();
        assert_eq!(files.look(&used), Seen::Same);
        // The same inode, length and date.
        fs::write(&a, "two").unwrap();
        File::options().write(true).open(&a).unwrap().set_modified(date).unwrap();
        assert_eq!(files.look(&used), Seen::Unsettled);
        fs::remove_dir_all(folder).unwrap();
    }
}
