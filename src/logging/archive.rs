//! What becomes of rolled files: compressed, kept for a time, removed; by a thread of its own, so that no line waits
//! for it.
//!
//! The folder itself is the list of what is to be done, so that nothing is forgotten when the process ends in between:
//!
//! ```text
//! X  --compress--> X and X.gz.tmp  --rename--> X and X.gz  --remove X--> X.gz
//! ```
//! Whatever stands there at the next start is taken on from the beginning: a draft is thrown away, and a file that is
//! there both plain and compressed is compressed again.

use super::rolled::{DRAFT, Rolled, RolledName};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// How long rolled files are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// So many days (hours, where files are rolled each hour) back; 0 is for ever.
    pub periods_max: u64,
    /// So many bytes of rolled files in all, the newest first; 0 is no limit.
    pub bytes_max: u64,
}

/// Whoever holds this can ask for rounds.
pub struct Archive {
    asked: Arc<Asked>,
    wake: SyncSender<()>,
}

/// What is to be done in the next round.
#[derive(Default)]
struct Asked {
    period: AtomicI64,
    removes: AtomicBool,
}

impl Archive {
    /// Starts the thread; it ends with this, when it has done what was asked.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: RolledName, history: History) -> io::Result<Self> {
        let asked = Arc::<Asked>::default();
        let (wake, woken) = sync_channel(1);
        let theirs = Arc::clone(&asked);
        let work = move || {
            for () in woken {
                let removes = theirs.removes.swap(false, AcqRel);
                let period = removes.then(|| theirs.period.load(Acquire));
                if let Err(error) = tidy(&name, history, period) {
                    log::warn!("rolled log files are left as they are until the next one: {error}");
                }
            }
        };
        thread::Builder::new().name("log-archive".to_owned()).spawn(work)?;
        Ok(Self { asked, wake })
    }

    /// Asks for a round in `period`: everything is compressed and, if `removes`, what is too old or too much is removed.
    pub fn tidy(&self, period: i64, removes: bool) {
        self.asked.period.store(period, Release);
        self.asked.removes.fetch_or(removes, AcqRel);
        // A round that is to begin already will see all of it.
        let _ = self.wake.try_send(());
    }
}

/// One round; with a period, what is too old then or too much goes. A file that fails does not keep the others from
/// their turn.
fn tidy(name: &RolledName, history: History, period: Option<i64>) -> io::Result<()> {
    let mut outcome = Ok(());
    if name.gzip {
        for file in name.list()? {
            let done = compress(&file);
            outcome = outcome.and(done);
        }
    }
    if let Some(period) = period {
        for path in surplus(&name.list()?, history, period, name.gzip) {
            let done = fs::remove_file(&path).map_err(|error| about(&path, &error));
            outcome = outcome.and(done);
        }
    }
    outcome
}

/// Compresses a file, as far as that is not done.
fn compress(file: &Rolled) -> io::Result<()> {
    let draft = suffixed(&file.path, DRAFT);
    let work = || {
        if file.plain {
            let zipped = suffixed(&file.path, ".gz");
            // Who still writes to it has not noticed yet that it was rolled.
            while encode(&file.path, &draft)? != fs::metadata(&file.path)?.len() {}
            fs::rename(&draft, zipped)?;
            fs::remove_file(&file.path)
        } else if file.draft {
            fs::remove_file(&draft)
        } else {
            Ok(())
        }
    };
    work().map_err(|error| {
        // Half a file is of no use to anybody; the plain one is still there.
        let _ = fs::remove_file(&draft);
        about(&file.path, &error)
    })
}

/// Writes `from`, compressed, to `to`, down to the disk; says how many bytes it read.
fn encode(from: &Path, to: &Path) -> io::Result<u64> {
    let mut plain = File::open(from)?;
    let mut zipped = GzEncoder::new(File::create(to)?, Compression::default());
    let read = io::copy(&mut plain, &mut zipped)?;
    let file = zipped.finish()?;
    file.set_permissions(plain.metadata()?.permissions())?;
    file.sync_all()?;
    Ok(read)
}

/// The files that are to go: older than the history, or beyond what may lie there.
fn surplus(files: &[Rolled], history: History, period: i64, gzip: bool) -> Vec<PathBuf> {
    let mut bytes = 0_u64;
    let mut paths = Vec::new();
    // What was rolled while this round went on has its own round: nothing goes before it is compressed.
    for file in files.iter().rev().filter(|file| !gzip || (file.zipped && !file.plain)) {
        let path = if gzip { suffixed(&file.path, ".gz") } else { file.path.clone() };
        let Ok(about) = fs::metadata(&path) else { continue };
        bytes = bytes.saturating_add(about.len());
        let old = history.periods_max > 0
            && period.saturating_sub(file.period) > i64::try_from(history.periods_max).unwrap_or(i64::MAX);
        if old || (history.bytes_max > 0 && bytes > history.bytes_max) {
            paths.push(path);
        }
    }
    paths
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read as _;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder that goes with its test.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("apim-logs-{}-{count}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// What lies in it: names and texts, unpacked.
        pub fn contents(&self) -> Vec<(String, String)> {
            let read = |path: PathBuf| {
                let mut text = String::new();
                let file = File::open(&path).unwrap();
                if path.extension().is_some_and(|suffix| suffix == "gz") {
                    GzDecoder::new(file).read_to_string(&mut text).unwrap();
                } else {
                    (&file).read_to_string(&mut text).unwrap();
                }
                (path.file_name().unwrap().to_string_lossy().into_owned(), text)
            };
            let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
            let files =
                entries.filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "lock"));
            let mut contents: Vec<_> = files.map(read).collect();
            contents.sort();
            contents
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn names(folder: &Folder) -> Vec<String> {
        folder.contents().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn whatever_an_earlier_process_left_is_taken_on() {
        let folder = Folder::new();
        let file = |name: &str, text: &str| fs::write(folder.0.join(name), text).unwrap();
        file("a.log.2026-01-01.0", "waits\n");
        file("a.log.2026-01-01.1", "was begun\n");
        file("a.log.2026-01-01.1.gz.tmp", "hal");
        file("a.log.2026-01-01.2", "is compressed, but still there\n");
        fs::write(folder.0.join("a.log.2026-01-01.2.gz"), [0x1f, 0x8b]).unwrap();
        file("a.log.2026-01-01.3.gz.tmp", "of nothing");
        file("a.log", "the log\n");
        let name = RolledName::beside(&folder.0.join("a.log"));
        tidy(&name, History::default(), Some(0)).unwrap();
        let expected = [
            ("a.log", "the log\n"),
            ("a.log.2026-01-01.0.gz", "waits\n"),
            ("a.log.2026-01-01.1.gz", "was begun\n"),
            ("a.log.2026-01-01.2.gz", "is compressed, but still there\n"),
        ];
        assert_eq!(folder.contents(), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[test]
    fn old_files_and_too_many_bytes_go_oldest_first() {
        let folder = Folder::new();
        let name = RolledName::parse(&format!("{}/a.%d.%i", folder.0.display())).unwrap();
        let period = name.period(time::macros::datetime!(2026-01-10 12:00 UTC));
        for file in
            ["a.2026-01-02.0", "a.2026-01-03.0", "a.2026-01-09.2", "a.2026-01-09.10", "a.2026-01-10.0"]
        {
            fs::write(folder.0.join(file), "0123456789").unwrap();
        }
        fs::write(folder.0.join("a.2026-01-01.x"), "not ours").unwrap();
        let keep = |periods_max, bytes_max| {
            tidy(&name, History { periods_max, bytes_max }, Some(period)).unwrap();
            names(&folder).join(" ").replace("a.2026-01-", "")
        };
        assert_eq!(keep(0, 0), "01.x 02.0 03.0 09.10 09.2 10.0");
        assert_eq!(keep(7, 0), "01.x 03.0 09.10 09.2 10.0");
        assert_eq!(keep(7, 29), "01.x 09.10 10.0");
    }

    #[test]
    fn what_is_not_compressed_yet_is_not_too_much() {
        let folder = Folder::new();
        let name = RolledName::beside(&folder.0.join("a.log"));
        for (file, size) in
            [("a.log.2026-01-01.0.gz", 10), ("a.log.2026-01-01.1.gz", 10), ("a.log.2026-01-02.0", 900)]
        {
            fs::write(folder.0.join(file), vec![b'x'; size]).unwrap();
        }
        let surplus =
            |bytes_max| surplus(&name.list().unwrap(), History { periods_max: 0, bytes_max }, 0, true);
        assert_eq!(surplus(20), [""; 0].map(PathBuf::from));
        assert_eq!(surplus(19), [folder.0.join("a.log.2026-01-01.0.gz")]);
    }

    #[test]
    fn a_file_that_cannot_be_compressed_stays() {
        let folder = Folder::new();
        let name = RolledName::beside(&folder.0.join("a.log"));
        fs::write(folder.0.join("a.log.2026-01-01.0"), "waits\n").unwrap();
        fs::create_dir(folder.0.join("a.log.2026-01-01.0.gz.tmp")).unwrap();
        fs::write(folder.0.join("a.log.2026-01-01.1"), "has its turn\n").unwrap();
        let error = tidy(&name, History::default(), None).unwrap_err();
        assert!(error.to_string().contains("a.log.2026-01-01.0: "), "{error}");
        assert_eq!(names(&folder), ["a.log.2026-01-01.0", "a.log.2026-01-01.1.gz"]);
    }
}
