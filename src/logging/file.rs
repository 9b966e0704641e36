//! One log file on a disk: appended to, rolled, and found again when somebody has moved it away.
//!
//! Before each write the file is looked for where it should be. If another one is there or none, the folder and the
//! file are made anew, so that `logrotate`, a removed folder and SIGUSR2 all end in a file that can be found. A line
//! that a full disk cut is finished where it began, before anything else.

use super::archive::{Archive, History};
use super::hold::Hold;
use super::lines::Lines;
use super::rolled::{RolledName, folder_of};
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use time::OffsetDateTime;

/// How many seconds pass before a roll that failed is tried again.
const ROLL_AGAIN_SECS: i64 = 60;

/// How often the process was asked to open its log files anew.
static REOPENED: AtomicU64 = AtomicU64::new(0);

/// Opens every log file anew, each before its next line.
pub fn reopen() {
    REOPENED.fetch_add(1, Relaxed);
}

/// Where lines go and how the file is rolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The file.
    pub path: PathBuf,
    /// How rolled ones are named.
    pub name: RolledName,
    /// A file is rolled before it is larger than this, unless one line is; 0 is no limit.
    pub bytes_max: u64,
    /// How long rolled files are kept.
    pub history: History,
    /// Whether old ones are removed at start as well, not only after the next roll.
    pub clean_at_start: bool,
}

/// What time it is where the log is read.
pub type Clock = Box<dyn Fn() -> OffsetDateTime + Send>;

/// An open log file.
pub struct LogFile {
    plan: Plan,
    clock: Clock,
    file: File,
    /// Device and number of the file.
    identity: (u64, u64),
    size: u64,
    /// When it was last written to.
    written: OffsetDateTime,
    /// Its last byte is not the end of a line.
    torn: bool,
    reopened: u64,
    rolling: Option<Rolling>,
    /// Nothing could be written the last time.
    failing: bool,
    /// No roll before this second.
    roll_not_before: i64,
}

/// What rolling takes; absent for what is no ordinary file.
struct Rolling {
    archive: Archive,
    hold: Option<Hold>,
}

impl Rolling {
    fn begin(plan: &Plan, about: &Metadata, warn: &mut dyn FnMut(String)) -> io::Result<Option<Self>> {
        if !about.is_file() {
            return Ok(None);
        }
        let archive = Archive::start(plan.name.clone(), plan.history)?;
        let hold = Hold::take(&plan.path).map_err(|why| {
            warn(format!(
                "{}: {why}; this process appends to it but does not roll it. Give each process a file of its own: \
                 ${{hostname}} in its name stands for the name of the machine",
                plan.path.display()
            ));
        });
        Ok(Some(Self { archive, hold: hold.ok() }))
    }
}

impl LogFile {
    /// Opens the file, making its folder. One of an earlier day is rolled. `warn` is told when it will not be rolled.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(mut plan: Plan, clock: Clock, warn: &mut dyn FnMut(String)) -> io::Result<Self> {
        let (file, about) = open(&plan.path)?;
        if fs::symlink_metadata(&plan.path)?.is_symlink() && about.is_file() {
            // The file is what is rolled, not what points to it.
            let beside = plan.name == RolledName::beside(&plan.path);
            plan.path = fs::canonicalize(&plan.path)?;
            if beside {
                plan.name = RolledName::beside(&plan.path);
            }
        }
        let mut this = Self {
            identity: (about.dev(), about.ino()),
            size: about.len(),
            written: clock(),
            torn: false,
            reopened: REOPENED.load(Relaxed),
            rolling: None,
            failing: false,
            roll_not_before: 0,
            plan,
            clock,
            file,
        };
        this.rolling = Rolling::begin(&this.plan, &about, warn)?;
        if this.rolling.is_none() {
            return Ok(this);
        }
        if this.size > 0 {
            let offset = this.written.offset();
            this.written =
                about.modified().map_or(this.written, |at| OffsetDateTime::from(at).to_offset(offset));
            this.torn = !ends_a_line(&this.plan.path).unwrap_or(true);
        }
        if this.torn {
            // The process before us was killed, or the machine was.
            this.torn = this.file.write_all(b"\n").is_err();
            this.size += 1;
        }
        this.roll_if_due(0)?;
        let period = this.plan.name.period((this.clock)());
        if let Some(Rolling { archive, hold: Some(_) }) = &this.rolling {
            archive.tidy(period, this.plan.clean_at_start);
        }
        Ok(this)
    }

    /// Looks whether the file is still the one at its path, and opens that one if not.
    fn follow(&mut self) -> io::Result<()> {
        let asked = REOPENED.load(Relaxed);
        let same = self.is_there();
        if same && asked == self.reopened {
            return Ok(());
        }
        match self.reopen() {
            Err(_) if same => {}
            outcome => outcome?,
        }
        self.reopened = asked;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let (file, about) = open(&self.plan.path)?;
        self.identity = (about.dev(), about.ino());
        self.size = about.len();
        self.file = file;
        match &mut self.rolling {
            Some(rolling) if about.is_file() => {
                if rolling.hold.as_ref().is_some_and(|hold| !hold.counts()) {
                    // The lock went with its folder.
                    rolling.hold = Hold::take(&self.plan.path).ok();
                }
            }
            _ => self.rolling = Rolling::begin(&self.plan, &about, &mut |warning| log::warn!("{warning}"))?,
        }
        Ok(())
    }

    /// Rolls the file when its period is over, or when the next line of `len` bytes has no room.
    fn roll_if_due(&mut self, len: usize) -> io::Result<()> {
        let name = &self.plan.name;
        let room = self.plan.bytes_max.saturating_sub(self.size);
        let full = self.plan.bytes_max > 0 && len as u64 > room;
        let over = self.size > 0 && name.period((self.clock)()) != name.period(self.written);
        if self.size > 0 && (full || over) { self.roll().map(|_| ()) } else { Ok(()) }
    }

    /// Gives the file another name and begins a new one, if that is for us to do; says whether it is done. One that
    /// cannot be renamed grows on.
    fn roll(&mut self) -> io::Result<bool> {
        let now = (self.clock)();
        if now.unix_timestamp() < self.roll_not_before || !self.may_roll() {
            return Ok(false);
        }
        let rolled = self.plan.name.next(self.written).and_then(|path| fs::rename(&self.plan.path, path));
        if let Err(error) = rolled {
            self.roll_not_before = now.unix_timestamp() + ROLL_AGAIN_SECS;
            log::warn!("{} cannot be rolled and grows on: {error}", self.plan.path.display());
            return Ok(false);
        }
        // A file that cannot be opened now is looked for before the next write; nothing goes to the old one meanwhile.
        self.reopen()?;
        if let Some(rolling) = &self.rolling {
            rolling.archive.tidy(self.plan.name.period(now), true);
        }
        Ok(true)
    }

    /// Whether we hold the lock, or get it now because whoever held it has ended.
    fn may_roll(&mut self) -> bool {
        let Some(rolling) = &mut self.rolling else { return false };
        if rolling.hold.is_none() {
            rolling.hold = Hold::take(&self.plan.path).ok();
        }
        if rolling.hold.is_none() {
            self.roll_not_before = (self.clock)().unix_timestamp() + ROLL_AGAIN_SECS;
        }
        rolling.hold.is_some()
    }

    /// How many bytes of these lines go into the file before it is to be rolled: the `first` line at least.
    fn share(&self, lines: &[u8], first: usize) -> usize {
        if self.plan.bytes_max == 0 || self.rolling.as_ref().is_none_or(|rolling| rolling.hold.is_none()) {
            return lines.len();
        }
        let room = usize::try_from(self.plan.bytes_max.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let fits =
            lines.get(..room).map_or(Some(lines.len()), |fits| memchr::memrchr(b'\n', fits).map(|at| at + 1));
        fits.unwrap_or(first)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        if n > 0 {
            self.size += n as u64;
            self.torn = bytes[n - 1] != b'\n';
            self.written = (self.clock)();
        }
        Ok(n)
    }

    fn write_lines(&mut self, lines: &[u8]) -> io::Result<usize> {
        let first = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        if self.torn {
            let error = match self.append(&lines[..first]) {
                Ok(n) => return Ok(n),
                Err(error) => error,
            };
            if self.is_there() && !(is_too_large(&error) && self.roll()?) {
                return Err(error);
            }
            // The beginning is lost with its file: the end alone would be a line that nobody wrote.
            self.torn = false;
            Lines::count_dropped(1);
            return Ok(first);
        }
        self.follow()?;
        self.roll_if_due(first)?;
        let share = self.share(lines, first);
        match self.append(&lines[..share]) {
            // The limit of the system or the user: another file has room again.
            Err(error) if is_too_large(&error) && self.roll()? => self.append(&lines[..share]),
            outcome => outcome,
        }
    }

    /// Whether the file is still the one at its path.
    fn is_there(&self) -> bool {
        fs::metadata(&self.plan.path).is_ok_and(|about| (about.dev(), about.ino()) == self.identity)
    }
}

fn is_too_large(error: &io::Error) -> bool {
    error.kind() == ErrorKind::FileTooLarge
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let outcome = self.write_lines(lines);
        let path = self.plan.path.display();
        match &outcome {
            Err(error) if error.kind() != ErrorKind::Interrupted && !self.failing => {
                self.failing = true;
                log::error!(
                    "{path} cannot be written; its lines wait, as far as there is room for them: {error}"
                );
            }
            Ok(_) if self.failing => {
                self.failing = false;
                log::info!("{path} is written again");
            }
            Ok(_) | Err(_) => {}
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file for appending, and makes its folder.
fn open(path: &Path) -> io::Result<(File, Metadata)> {
    fs::create_dir_all(folder_of(path))?;
    // Opening a FIFO waits for its reader, unless it is opened as one as well.
    let fifo = fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo());
    let file = File::options().create(true).append(true).read(fifo).open(path)?;
    let about = file.metadata()?;
    Ok((file, about))
}

/// Whether the last byte of a file that is not empty ends a line.
fn ends_a_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::Folder;
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;
    use std::time::{Duration, Instant, SystemTime};
    use time::macros::datetime;

    /// Noon of a day, as a clock that can be set.
    struct Noon(Arc<AtomicI64>);

    const START: OffsetDateTime = datetime!(2026-01-31 12:00 +09:00);

    impl Noon {
        fn new() -> Self {
            Self(Arc::new(AtomicI64::new(START.unix_timestamp())))
        }
        fn days_pass(&self, days: i64) {
            self.0.fetch_add(days * 86_400, Relaxed);
        }
        fn clock(&self) -> Clock {
            let seconds = Arc::clone(&self.0);
            Box::new(move || {
                OffsetDateTime::from_unix_timestamp(seconds.load(Relaxed)).unwrap().to_offset(START.offset())
            })
        }
    }

    fn plan(folder: &Folder, bytes_max: u64) -> Plan {
        let path = folder.0.join("a.log");
        let name = RolledName::parse(&format!("{}.%d.%i", path.display())).unwrap();
        Plan { path, name, bytes_max, history: History::default(), clean_at_start: false }
    }

    fn opened(plan: Plan, noon: &Noon) -> LogFile {
        LogFile::open(plan, noon.clock(), &mut |warning| panic!("{warning}")).unwrap()
    }

    fn names_and_texts(folder: &Folder) -> String {
        let files =
            folder.contents().into_iter().map(|(name, text)| format!("{name}: {}", text.replace('\n', "|")));
        files.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn no_file_is_larger_than_it_may_be_unless_one_line_is() {
        let folder = Folder::new();
        let mut log = opened(plan(&folder, 10), &Noon::new());
        log.write_all(b"1234\n6789\nabc\nd\ne\nf\nlonger than it may be\nlast\n").unwrap();
        let expected = "a.log: last|\na.log.2026-01-31.0: 1234|6789|\na.log.2026-01-31.1: abc|d|e|f|\n\
                        a.log.2026-01-31.2: longer than it may be|";
        assert_eq!(names_and_texts(&folder), expected);
    }

    #[test]
    fn a_day_has_files_of_its_own() {
        let (folder, noon) = (Folder::new(), Noon::new());
        let mut log = opened(plan(&folder, 0), &noon);
        log.write_all(b"one\n").unwrap();
        noon.days_pass(1);
        log.write_all(b"two\n").unwrap();
        drop(log);
        // The file's own time is that of the test, so the clock of the next process goes by that.
        let now = SystemTime::now() - Duration::from_secs(3 * 86_400);
        File::options().append(true).open(folder.0.join("a.log")).unwrap().set_modified(now).unwrap();
        let date = OffsetDateTime::from(now).to_offset(START.offset()).date();
        noon.0.store(OffsetDateTime::now_utc().unix_timestamp(), Relaxed);
        let mut log = opened(plan(&folder, 0), &noon);
        log.write_all(b"three\n").unwrap();
        let expected = format!("a.log: three|\na.log.2026-01-31.0: one|\na.log.{date}.0: two|");
        assert_eq!(names_and_texts(&folder), expected);
    }

    #[test]
    fn a_restart_appends_and_ends_a_line_that_a_crash_cut() {
        let (folder, noon) = (Folder::new(), Noon::new());
        noon.0.store(OffsetDateTime::now_utc().unix_timestamp(), Relaxed);
        fs::write(folder.0.join("a.log"), "whole\ncu").unwrap();
        opened(plan(&folder, 0), &noon).write_all(b"new\n").unwrap();
        opened(plan(&folder, 0), &noon).write_all(b"newer\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: whole|cu|new|newer|");
    }

    #[test]
    fn what_was_moved_away_is_made_anew() {
        let folder = Folder::new();
        let mut plan = plan(&folder, 0);
        plan.path = folder.0.join("sub/a.log");
        let mut log = opened(plan.clone(), &Noon::new());
        log.write_all(b"one\n").unwrap();
        fs::rename(&plan.path, folder.0.join("moved")).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&plan.path).unwrap(), "two\n");
        fs::remove_dir_all(folder.0.join("sub")).unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&plan.path).unwrap(), "three\n");
        assert_eq!(names_and_texts(&folder), "moved: one|");
    }

    #[test]
    fn a_torn_line_is_finished_where_it_began() {
        let (folder, noon) = (Folder::new(), Noon::new());
        let mut log = opened(plan(&folder, 0), &noon);
        log.append(b"hal").unwrap();
        fs::rename(folder.0.join("a.log"), folder.0.join("moved")).unwrap();
        noon.days_pass(1);
        log.write_all(b"f\nnext\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: next|\nmoved: half|");
    }

    #[test]
    fn only_who_holds_the_lock_rolls() {
        let (folder, noon) = (Folder::new(), Noon::new());
        let mut first = opened(plan(&folder, 8), &noon);
        let mut warnings = Vec::new();
        let mut second =
            LogFile::open(plan(&folder, 8), noon.clock(), &mut |warning| warnings.push(warning)).unwrap();
        let holder = format!("{}, pid {} holds ", super::super::hold::host_name(), std::process::id());
        assert!(warnings.len() == 1 && warnings[0].contains(&holder), "{warnings:?}");
        second.write_all(b"second 1\nsecond 2\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: second 1|second 2|");
        first.size = 18;
        first.write_all(b"first\n").unwrap();
        second.write_all(b"third\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: first|third|\na.log.2026-01-31.0: second 1|second 2|");
        drop(first);
        second.size = 12;
        noon.0.fetch_add(ROLL_AGAIN_SECS, Relaxed);
        second.write_all(b"alone\n").unwrap();
        assert!(names_and_texts(&folder).starts_with("a.log: alone|\n"));
    }

    #[test]
    fn what_points_to_the_file_stays_when_it_is_rolled() {
        let (folder, noon) = (Folder::new(), Noon::new());
        fs::create_dir(folder.0.join("real")).unwrap();
        fs::write(folder.0.join("real/a.log"), "").unwrap();
        std::os::unix::fs::symlink("real/a.log", folder.0.join("a.log")).unwrap();
        let mut plan = plan(&folder, 8);
        plan.name = RolledName::beside(&plan.path);
        let mut log = opened(plan, &noon);
        log.write_all(b"1234567\n1234567\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: 1234567|", "through the link");
        let rolled = folder.0.join("real/a.log.2026-01-31.0");
        let zipped = folder.0.join("real/a.log.2026-01-31.0.gz");
        let end = Instant::now() + Duration::from_secs(30);
        while rolled.exists() || !zipped.exists() {
            assert!(Instant::now() < end, "it lies beside the file");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_no_file_any_more_is_not_rolled() {
        let (folder, noon) = (Folder::new(), Noon::new());
        let mut log = opened(plan(&folder, 8), &noon);
        log.write_all(b"1234567\n").unwrap();
        fs::remove_file(folder.0.join("a.log")).unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.0.join("a.log")).unwrap();
        log.write_all(b"1234567\n1234567\n").unwrap();
        assert!(fs::symlink_metadata(folder.0.join("a.log")).unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_rolled_grows_on() {
        let (folder, noon) = (Folder::new(), Noon::new());
        let mut plan = plan(&folder, 8);
        fs::write(folder.0.join("file"), "").unwrap();
        plan.name = RolledName::parse(&format!("{}/file/a.%d.%i", folder.0.display())).unwrap();
        let mut log = opened(plan, &noon);
        log.write_all(b"1234567\n1234567\n").unwrap();
        assert_eq!(names_and_texts(&folder), "a.log: 1234567|1234567|\nfile: ");
    }
}
