//! Certificates, keys and trust change without a restart: one thread looks at their files, on time and when it is told
//! to, and whatever is new is validated whole before it is used.
//!
//! ```text
//! look -> nothing new
//!      -> new -> load all of it -> in order: counts for every connection that begins from now on
//!                               -> broken:   the old stays, the log and a counter say why; looked at again and again
//! plant -> the same with one more certificate in the trust store (`x-reload-httpclient`)
//! ```
//! The configuration file is not among the files: it is read at start only.

pub mod board;
pub mod desk;
pub mod files;
pub mod limit;
pub mod peer;
mod plant;
pub mod shell;
pub mod vault;

use crate::config::banner;
use crate::config::sources::Effective;
use crate::credentials::Credentials;
use crate::credentials::days::Calendar;
use crate::credentials::load::{self, Complaint};
use crate::credentials::settings::RELOAD_INTERVAL;
use crate::engine::{Config, Kind};
use crate::fault::What;
use crate::server::current::Readers;
use crate::setting::Source as _;
use crate::time::Millis;
use crate::wait::Wait;
use desk::{Order, Plant};
use files::{Differing, Files, Seen};
use limit::Limit;
use peer::Failure;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long what has just changed is left alone before it is looked at again.
const SETTLE: Duration = Duration::from_millis(500);
/// Looks that an order waits for before it leaves unsettled files to the next one.
const LOOKS_MAX: u32 = 10;
/// Files are looked at this often at most, whatever is written by mistake: a plain number is milliseconds.
const LOOK_MIN: Duration = Duration::from_millis(100);
/// How often the thread wakes when files are only looked at on demand.
const WAKE: Duration = Duration::from_secs(600);

const DAY_SECONDS: i64 = 86_400;
/// How long a target's certificate is watched after it was last seen.
const PEERS_DAYS: i64 = 14;

fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed())
}

/// Starts the thread. It ends with the process.
///
/// # Errors
/// A sentence that says why it cannot be started.
pub fn start(effective: Effective, credentials: Credentials, readers: Readers) -> Result<(), String> {
    let interval = effective.value(&RELOAD_INTERVAL)?;
    let orders = readers.desk.open();
    let keeper = Keeper {
        effective,
        credentials,
        readers,
        files: Files::default(),
        refused: None,
        calendar: Calendar::default(),
        day: None,
        interval: (interval != Millis::NEVER).then(|| interval.duration().max(LOOK_MIN)),
    };
    let thread = thread::Builder::new().name("renewal".to_owned()).spawn(move || keeper.keep(&orders));
    thread.map(drop).map_err(|error| format!("the renewal of certificates cannot be started: {error}"))
}

/// What a look led to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is new.
    Same,
    /// Something is being written.
    Unsettled,
    /// What is new is used from now on.
    Taken,
    /// What is new is broken.
    Refused(Vec<String>),
}

struct Keeper {
    effective: Effective,
    /// What is in use.
    credentials: Credentials,
    readers: Readers,
    files: Files,
    /// What was refused last, and has had its sentences.
    refused: Option<(Differing, Vec<String>)>,
    /// What was said of days left, and on which day since 1970 it was looked at last.
    calendar: Calendar,
    day: Option<i64>,
    /// `None`: only on demand.
    interval: Option<Duration>,
}

impl Keeper {
    fn keep(mut self, orders: &Receiver<Order>) {
        let mut next = self.interval.unwrap_or(WAKE);
        let mut last = Instant::now();
        loop {
            self.watch_days(seconds_now());
            let order = match orders.recv_timeout(next.saturating_sub(last.elapsed()).min(WAKE)) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) if last.elapsed() < next => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // The panic hook has logged why; certificates go on being watched.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.turn(order))).unwrap_or(Outcome::Same);
            next = self.interval.unwrap_or(WAKE);
            if outcome == Outcome::Unsettled {
                next = next.min(SETTLE);
            }
            last = Instant::now();
        }
    }

    /// Once a day, and whenever certificates have changed: says which of them have few days left.
    fn watch_days(&mut self, now: i64) {
        let today = now.div_euclid(DAY_SECONDS);
        if self.day == Some(today) {
            return;
        }
        self.day = Some(today);
        let board = &self.readers.board;
        board.notes.peers.forget(now.saturating_sub(PEERS_DAYS * DAY_SECONDS).cast_unsigned());
        for sentence in self.calendar.sentences(&board.expiries(), now) {
            log::warn!("{sentence}");
        }
    }

    fn turn(&mut self, order: Option<Order>) -> Outcome {
        match order {
            Some(Order::Look) => self.answer_signal(),
            Some(Order::Plant(order)) => {
                self.answer_client(order);
                Outcome::Same
            }
            None if self.interval.is_some() => self.look(),
            None => Outcome::Same,
        }
    }

    /// Looks at once, waits until what is written has settled, and says what came of it.
    fn answer_signal(&mut self) -> Outcome {
        let outcome = self.look_until_settled();
        let said = match &outcome {
            Outcome::Same => "no key or trust store has changed",
            Outcome::Taken => "the changed key and trust stores are in use",
            Outcome::Unsettled => "a key or trust store is being written and will be looked at again",
            Outcome::Refused(_) => "the changed key and trust stores are refused, the old ones stay in use",
        };
        log::info!("SIGHUP: {said}; the configuration file is read at start only");
        if let Outcome::Refused(sentences) = &outcome {
            for sentence in sentences {
                log::error!("SIGHUP: {sentence}");
            }
        }
        outcome
    }

    /// Has a certificate trusted, and tells the client and the log what came of it.
    fn answer_client(&mut self, order: Plant) {
        let Plant { ask, since, answer } = order;
        let limit = Limit::new(since, self.readers.current.config().waits.of(Wait::Reload));
        let about = format!("x-reload-httpclient of {} for {}:{}", ask.client, ask.host, ask.port);
        let outcome = if limit.is_over() {
            Err(Failure::new(What::ReloadFailed, "other reloads before it took all its time"))
        } else {
            self.plant(&ask, limit)
        };
        match outcome {
            Ok(done) => {
                log::info!("{about}: {done}");
                answer.tell(Ok(()));
            }
            Err(Failure { what, why }) => {
                log::warn!("{about} failed: {why}");
                answer.tell(Err(what));
            }
        }
    }

    fn look_until_settled(&mut self) -> Outcome {
        for _ in 1..LOOKS_MAX {
            match self.look() {
                Outcome::Unsettled => thread::sleep(SETTLE),
                outcome => return outcome,
            }
        }
        self.look()
    }

    fn look(&mut self) -> Outcome {
        match self.files.look(&self.credentials.files) {
            Seen::Same => {
                if self.refused.take().is_some() {
                    log::info!("the key and trust stores are again those in use");
                }
                Outcome::Same
            }
            Seen::Unsettled => Outcome::Unsettled,
            Seen::Changed(differing) => self.load(differing),
        }
    }

    /// Reads everything anew.
    fn load(&mut self, differing: Differing) -> Outcome {
        match load::load(&self.effective, &self.readers.board.notes) {
            Ok(loaded) => {
                let as_seen = |(path, content): (&PathBuf, &Option<_>)| {
                    loaded.files.get(path).is_none_or(|read| Some(*read) == *content)
                };
                if !differing.iter().all(as_seen) {
                    return Outcome::Unsettled;
                }
                self.take(loaded);
                Outcome::Taken
            }
            Err(complaints) => Outcome::Refused(self.refuse(differing, &complaints)),
        }
    }

    /// What is broken changes nothing; each broken content has its sentences once.
    fn refuse(&mut self, differing: Differing, complaints: &[Complaint]) -> Vec<String> {
        let sentences: Vec<String> =
            complaints.iter().map(|Complaint { key, what }| format!("{key} {what}")).collect();
        let refused = Some((differing, sentences.clone()));
        if self.refused != refused {
            self.readers.board.refused.fetch_add(1, Relaxed);
            log::error!("the changed key and trust stores are refused, the old ones stay in use");
            for sentence in &sentences {
                log::error!("refused: {sentence}");
            }
            self.refused = refused;
        }
        sentences
    }

    /// What was loaded counts from now on. What none of the changed files has a part in stays as it is, with its
    /// sessions and tickets.
    fn take(&mut self, loaded: Credentials) {
        let old = std::mem::replace(&mut self.credentials, loaded);
        let new = &mut self.credentials;
        let changed = |path: &Path| old.files.get(path) != new.files.get(path);
        let same = |old: &BTreeSet<PathBuf>, new: &BTreeSet<PathBuf>| {
            old == new && !new.iter().any(|path| changed(path))
        };
        let (forward, reverse) =
            (same(&old.inbound_files, &new.inbound_files), same(&old.reverse_files, &new.reverse_files));
        if forward {
            new.inbound.clone_from(&old.inbound);
        }
        if reverse {
            new.reverse.clone_from(&old.reverse);
        }
        if old.users_file == new.users_file && !new.users_file.iter().any(|path| changed(path)) {
            new.users.clone_from(&old.users);
        }
        let mut config = Config::clone(&self.readers.current.config());
        for listener in &mut config.listeners {
            match listener.kind {
                Kind::Forward => listener.inbound.clone_from(&new.inbound),
                Kind::Reverse if listener.inbound.is_some() => listener.inbound.clone_from(&new.reverse),
                Kind::Reverse => {}
            }
        }
        config.targets = Arc::clone(&new.targets);
        config.users.clone_from(&new.users);
        self.readers.replace(config);
        self.refused = None;
        self.day = None;
        *self.readers.board.expiries.lock().unwrap_or_else(PoisonError::into_inner) = new.expiries();
        self.readers.board.reloaded.fetch_add(1, Relaxed);
        let paths: Vec<String> = new
            .files
            .keys()
            .filter(|path| old.files.get(*path) != new.files.get(*path))
            .map(|path| path.display().to_string())
            .collect();
        log::info!("new connections use what has changed in {}", paths.join(", "));
        let known: Vec<String> = banner::identities(&old).chain(old.remarks.iter().cloned()).collect();
        for line in banner::identities(new).chain(new.remarks.iter().cloned()) {
            if !known.contains(&line) {
                log::info!("{line}");
            }
        }
    }
}
