//! Opening the files that the configuration names: a location, its passwords, and what lies there.

use crate::config::files::Search;
use crate::keystore::{self, Fingerprint, Passwords, Store};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest store that is read: Java's own trust store has 150 KB.
const STORE_BYTES_MAX: u64 = 16 << 20;

/// Where a Linux distribution keeps the roots it trusts, as PEM.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a location led to.
pub struct Found {
    /// The file; `None` when the PEM text stands in the value itself.
    pub path: Option<PathBuf>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Found {
    /// Finds and reads what `location` names.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the key: which paths were tried, or what keeps the file from being read.
    pub fn at(location: &str, search: &Search) -> Result<Self, String> {
        let location = location.trim();
        if location.starts_with("-----BEGIN") {
            return Ok(Self { path: None, bytes: Zeroizing::new(location.as_bytes().to_vec()) });
        }
        if location.contains("-----BEGIN") {
            // Not to be repeated in a sentence about missing files: it may be a key.
            return Err("holds PEM text behind something else; it has to begin with -----BEGIN".to_owned());
        }
        let path = search.find(location).map_err(|missing| {
            let hint = other_cacerts(location).unwrap_or_default();
            format!("{missing}{hint}")
        })?;
        let bytes = read(&path).map_err(|what| format!("leads to {}, which {what}", path.display()))?;
        Ok(Self { path: Some(path), bytes })
    }

    /// The roots this machine trusts; `None` when it has none where distributions keep them.
    pub fn system_roots() -> Option<Self> {
        let path = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists())?;
        let bytes = read(&path).ok()?;
        Some(Self { path: Some(path), bytes })
    }

    /// What it holds, keys included.
    ///
    /// # Errors
    /// As [`Found::at`].
    pub fn keys(&self, passwords: &Passwords<'_>) -> Result<Store, String> {
        keystore::read(&self.bytes, passwords).map_err(|what| self.sentence(&what))
    }

    /// Whom it trusts.
    ///
    /// # Errors
    /// As [`Found::at`].
    pub fn trust(&self, password: Option<&str>) -> Result<Store, String> {
        keystore::read_trust(&self.bytes, password).map_err(|what| self.sentence(&what))
    }

    /// Its content, where that is text.
    ///
    /// # Errors
    /// As [`Found::at`].
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes).map_err(|_| self.sentence("it is not text in UTF-8"))
    }

    /// What tells its content from another.
    pub fn fingerprint(&self) -> Fingerprint {
        keystore::fingerprint(&self.bytes)
    }

    /// The rest of a sentence about what is wrong with it.
    pub fn sentence(&self, what: &str) -> String {
        match &self.path {
            Some(path) => format!("leads to {}: {what}", path.display()),
            None => format!("holds PEM text: {what}"),
        }
    }

    /// Where it lies, for people.
    pub fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string())
    }
}

/// Reads the file of a store whole.
///
/// # Errors
/// What keeps it from being read.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if !about.is_file() {
        return Err("is not a file".to_owned());
    }
    // One allocation of the right size: growing would leave copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(about.len().min(STORE_BYTES_MAX) as usize + 1));
    file.take(STORE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > STORE_BYTES_MAX {
        return Err(format!("is larger than {} MB", STORE_BYTES_MAX >> 20));
    }
    Ok(bytes)
}

/// Where this machine keeps the Java trust store that another distribution's path was written for.
fn other_cacerts(location: &str) -> Option<String> {
    const PLACES: [&str; 3] =
        ["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts", "/etc/pki/java/cacerts"];
    let found = PLACES.iter().find(|place| location.ends_with("/cacerts") && Path::new(place).exists())?;
    Some(format!("; this machine has file:{found}"))
}
