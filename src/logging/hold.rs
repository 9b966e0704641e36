//! Who may roll a log file: the one process, of all hosts that share its folder, that holds the lock beside it.
//!
//! Two processes that both roll the same file would rename and compress each other's. The lock is `flock` on
//! `<file>.lock`, which NFS version 4 (and so EFS) carries to the server: it counts between hosts, and ends with its
//! holder. The file says who that is.

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The right to roll a file, kept as long as this lives.
#[derive(Debug)]
pub struct Hold {
    lock: File,
    path: PathBuf,
}

impl Hold {
    /// Takes the right to roll `file`.
    ///
    /// # Errors
    /// Who has it, or why it cannot be had.
    pub fn take(file: &Path) -> Result<Self, String> {
        let mut path = file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let cannot = |error: &dyn std::fmt::Display| format!("{} cannot be locked: {error}", path.display());
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(|error| cannot(&error))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder =
                    holder.lines().next().filter(|line| !line.is_empty()).unwrap_or("another process");
                let holder: String = holder.chars().filter(|c| !c.is_control()).take(256).collect();
                return Err(format!("{holder} holds {}", path.display()));
            }
            Err(error) => return Err(cannot(&error)),
        }
        // Only for people who look; the lock is what counts.
        let _ = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}, pid {}", host_name(), std::process::id()));
        Ok(Self { lock, path })
    }

    /// Whether the lock is still the one that others would find.
    pub fn counts(&self) -> bool {
        let same = |ours: fs::Metadata, theirs: fs::Metadata| {
            (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())
        };
        self.lock.metadata().is_ok_and(|ours| fs::metadata(&self.path).is_ok_and(|theirs| same(ours, theirs)))
    }
}

/// The machine's name, which `${hostname}` stands for in every value.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
