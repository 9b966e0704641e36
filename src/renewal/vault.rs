//! The file of a trust store while it is being changed: locked against other proxies that share it, and replaced whole, so
//! that nobody ever reads half of it and its owner and mode stay.

use crate::credentials::store;
use crate::renewal::limit::Limit;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// How often a lock that somebody else holds is tried.
const TRY: Duration = Duration::from_millis(50);

/// A locked trust store.
pub struct Vault {
    path: PathBuf,
    /// The lock goes with it. Its file stays: who removed it could remove it from under another's lock.
    _lock: File,
}

impl Vault {
    /// Locks the store at `path`, or at what `path` links to.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn lock(path: &Path, limit: Limit) -> Result<Self, String> {
        let path = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let beside = beside(&path, "", ".lock");
        let cannot = |error: io::Error| format!("{} cannot be locked: {error}", beside.display());
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&beside);
        let lock = lock.map_err(cannot)?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !limit.is_over() => {
                    thread::sleep(TRY);
                }
                Err(error) => return Err(cannot(error)),
            }
        }
    }

    /// Where the store lies, links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        store::read(&self.path).map_err(|what| format!("{} {what}", self.path.display()))
    }

    /// Gives it another content.
    ///
    /// # Errors
    /// What stands in the way; it is as before then.
    pub fn replace(&self, bytes: &[u8]) -> Result<(), String> {
        self.put(&self.path, bytes)
    }

    /// Puts a file beside `path`, of the store's owner and with the store's mode.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        let draft = beside(path, ".", ".draft");
        let written = self.write(&draft, path, bytes);
        if written.is_err() {
            // It may not even be there.
            let _ = fs::remove_file(&draft);
        }
        written.map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }

    fn write(&self, draft: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let like = fs::metadata(&self.path)?;
        // One of a proxy that was cut off; the lock says that nobody is at it.
        let _ = fs::remove_file(draft);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(bytes)?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o7777))?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // The file is whole either way; without this it could be the old one after a power cut.
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
    }
}

fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let mut name = OsString::from(before);
    name.push(path.file_name().unwrap_or_default());
    name.push(after);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;
    use std::time::Instant;

    #[test]
    fn a_store_keeps_its_mode_and_is_replaced_where_its_link_leads() {
        let folder = std::env::temp_dir().join(format!("apim-vault-{}", std::process::id()));
        fs::create_dir_all(folder.join("real")).unwrap();
        let (real, link) = (folder.join("real/a.jks"), folder.join("a.jks"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real/a.jks", &link).unwrap();
        let limit = Limit::new(Instant::now(), Millis(0));
        let vault = Vault::lock(&link, limit).unwrap();
        assert!(Vault::lock(&link, limit).is_err(), "it is locked");
        assert_eq!(vault.read().unwrap().as_slice(), b"old");
        vault.replace(b"new").unwrap();
        assert_eq!(fs::read(&link).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        drop(vault);
        assert!(Vault::lock(&link, limit).is_ok());
        let names = |folder: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&folder.join("real")), ["a.jks", "a.jks.lock"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
