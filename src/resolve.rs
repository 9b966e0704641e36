//! The resolver: names become addresses on threads of its own, never on a worker's loop.
//!
//! `getaddrinfo` is asked (so `/etc/hosts`, nsswitch and search lists count, as they did for the legacy's Java), and
//! since it tells no lifetime, answers are kept for the times Java's properties name. Requests for one name are
//! merged; an answer past its lifetime is still served while it is being refreshed, up to [`STALE_MAX`], so that a
//! name server's bad minute is not ours. Everything is bounded: names, questions, waiting requests. What exceeds a
//! bound is answered "failed" and counted.
//!
//! ```text
//!            lookup: new name                answer: wake all who wait
//!  unknown -------------------> being asked -------------------------> kept -- lifetime over --> stale
//!                                    ^                                                             |
//!                                    +------- lookup: served at once if positive, and refreshed ---+
//! ```

use crate::io::{Addresses, Lookup};
use crate::key::Key;
use crate::setting::{AnySetting, Setting};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The settings of this file.
pub static ALL: &[&dyn AnySetting] = &[&CACHE_TTL, &CACHE_NEGATIVE_TTL];

/// How long a name's addresses are kept.
pub static CACHE_TTL: Setting<Lifetime> = Setting::new(
    "networkaddress.cache.ttl",
    "30",
    Lifetime::parse,
    "Seconds that the addresses of a name are kept; 0: not at all, -1: for ever.",
);

/// How long a name's absence is kept.
pub static CACHE_NEGATIVE_TTL: Setting<Lifetime> = Setting::new(
    "networkaddress.cache.negative.ttl",
    "10",
    Lifetime::parse,
    "Seconds that the failure to resolve a name is kept; 0: not at all, -1: for ever.",
);

/// Threads that ask: one stuck name server answer holds up one of them for seconds.
const THREADS: usize = 4;
/// Names waiting for a thread.
const QUESTIONS_MAX: usize = 256;
/// Names kept; the one unused for longest makes room.
const NAMES_MAX: usize = 4096;
/// Requests waiting for one name.
const WAITING_MAX: usize = 16 * 1024;
/// Addresses kept of one name.
const ADDRESSES_MAX: usize = 16;
/// How long past its lifetime an answer is still served while it is refreshed.
pub const STALE_MAX: Duration = Duration::from_secs(300);
/// The longest name of the DNS in text form, with the trailing dot (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 254;

/// A name that is being asked is never evicted, so there must always be one that is not.
const _: () = assert!(NAMES_MAX > QUESTIONS_MAX + THREADS);

/// How long an answer is kept, as Java counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the process ends or room is needed.
    Forever,
    /// This long; zero means not at all.
    For(Duration),
}

impl Lifetime {
    /// Reads whole seconds; negative means for ever.
    ///
    /// # Errors
    /// When the text is not a whole number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let seconds: i32 = text.trim().parse().map_err(|_| {
            format!("\"{text}\" is not a whole number of seconds; write 30, 0 (off) or -1 (for ever)")
        })?;
        Ok(u64::try_from(seconds).map_or(Self::Forever, |seconds| Self::For(Duration::from_secs(seconds))))
    }

    /// When something learnt at `now` expires; `None`: never.
    fn end(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Forever => None,
            Self::For(span) => Some(now + span),
        }
    }
}

/// How long answers are kept.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of addresses.
    pub positive: Lifetime,
    /// Of failures.
    pub negative: Lifetime,
}

/// Takes an answer to the worker that waits for it: puts it into its mailbox and wakes it. `None`: the name could
/// not be resolved. Called on a thread of the resolver; it must not block and must not call the resolver.
pub type Notify = Arc<dyn Fn(Key, Option<Addresses>) + Send + Sync>;

/// What the resolver did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions put to the system.
    pub asked: u64,
    /// Questions the system answered with a failure.
    pub failed: u64,
    /// Lookups refused because a bound was reached.
    pub refused: u64,
    /// Lookups served from an answer past its lifetime.
    pub stale: u64,
}

/// The resolver, shared by all workers. Its threads end when it is dropped; one that is inside `getaddrinfo` ends
/// when that returns, and nobody waits for it.
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when a question enters the queue and at the end.
    work: Condvar,
    lifetimes: Lifetimes,
    asked: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    stale: AtomicU64,
}

#[derive(Default)]
struct State {
    names: HashMap<Box<str>, Name>,
    questions: VecDeque<Box<str>>,
    ended: bool,
}

/// What is known of a name.
struct Name {
    answer: Option<Answer>,
    /// Whether it is in the queue or with a thread.
    asking: bool,
    waiting: Vec<(Key, Notify)>,
    used: Instant,
}

struct Answer {
    /// `None`: could not be resolved.
    addresses: Option<Addresses>,
    /// When to ask again; `None`: never.
    fresh_until: Option<Instant>,
    /// Until when to serve it while asking again.
    stale_until: Option<Instant>,
}

impl Resolver {
    /// Starts the threads. `ask` resolves one name and may block; [`system`] is the real one.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        lifetimes: Lifetimes,
        ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let resolver = Self { shared: Arc::new(Shared::new(lifetimes)) };
        let ask = Arc::new(ask);
        for number in 0..THREADS {
            let (shared, ask) = (Arc::clone(&resolver.shared), Arc::clone(&ask));
            thread::Builder::new()
                .name(format!("resolve-{number}"))
                .spawn(move || shared.answer_questions(ask.as_ref()))?;
        }
        Ok(resolver)
    }

    /// What is known of `host` now. A literal address (IPv6 with or without brackets) is its own answer. When
    /// [`Lookup::Pending`], `answer` is called once with `key`; a request that has given up ignores it.
    pub fn lookup(&self, host: &str, now: Instant, key: Key, answer: &Notify) -> Lookup {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Lookup::Found(Arc::new([address]));
        }
        if host.is_empty() || host.len() > NAME_BYTES_MAX {
            return Lookup::Failed;
        }
        self.shared.lookup(host.to_ascii_lowercase().into_boxed_str(), now, key, answer)
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.shared;
        Counts {
            asked: read(&shared.asked),
            failed: read(&shared.failed),
            refused: read(&shared.refused),
            stale: read(&shared.stale),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn new(lifetimes: Lifetimes) -> Self {
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
            lifetimes,
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            stale: AtomicU64::new(0),
        }
    }

    /// The state; every critical section leaves it whole, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lookup(&self, name: Box<str>, now: Instant, key: Key, answer: &Notify) -> Lookup {
        let mut state = self.state();
        let State { names, questions, .. } = &mut *state;
        if !names.contains_key(&name) {
            // A name that cannot be asked is not worth remembering, least of all in the place of one that is known.
            if questions.len() >= QUESTIONS_MAX {
                count(&self.refused);
                return Lookup::Failed;
            }
            if names.len() == NAMES_MAX {
                evict(names);
            }
        }
        let known = names.entry(name.clone()).or_insert_with(|| Name::unknown(now));
        known.used = now;
        let answer_now = known.answer_at(now);
        let fresh = matches!(answer_now, Some((_, true)));
        if !fresh && !known.asking && questions.len() < QUESTIONS_MAX {
            known.asking = true;
            questions.push_back(name);
            self.work.notify_one();
        }
        if let Some((addresses, _)) = answer_now {
            if !fresh {
                count(&self.stale);
            }
            return addresses.map_or(Lookup::Failed, Lookup::Found);
        }
        if !known.asking || known.waiting.len() == WAITING_MAX {
            count(&self.refused);
            return Lookup::Failed;
        }
        known.waiting.push((key, Arc::clone(answer)));
        Lookup::Pending
    }

    /// The life of a thread.
    fn answer_questions(&self, ask: &dyn Fn(&str) -> io::Result<Vec<IpAddr>>) {
        while let Some(name) = self.next_question() {
            count(&self.asked);
            let addresses = match ask(&name) {
                Ok(found) if !found.is_empty() => Some(first_distinct(found)),
                Ok(_) | Err(_) => None,
            };
            if addresses.is_none() {
                count(&self.failed);
            }
            let waiting = self.learn(&name, addresses.clone(), Instant::now());
            for (key, notify) in waiting {
                notify(key, addresses.clone());
            }
        }
    }

    /// Waits for a question; `None` at the end.
    fn next_question(&self) -> Option<Box<str>> {
        let mut state = self.state();
        loop {
            if state.ended {
                return None;
            }
            if let Some(name) = state.questions.pop_front() {
                return Some(name);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps what was learnt of `name` at `now` and hands back who waits for it.
    fn learn(&self, name: &str, addresses: Option<Addresses>, now: Instant) -> Vec<(Key, Notify)> {
        let mut state = self.state();
        let known = state.names.get_mut(name).expect("a name being asked is never evicted");
        known.asking = false;
        let waiting = std::mem::take(&mut known.waiting);
        known.learn(addresses, now, self.lifetimes);
        waiting
    }
}

impl Name {
    fn unknown(now: Instant) -> Self {
        Self { answer: None, asking: false, waiting: Vec::new(), used: now }
    }

    /// The answer that may be served at `now`, and whether it is fresh.
    fn answer_at(&self, now: Instant) -> Option<(Option<Addresses>, bool)> {
        let answer = self.answer.as_ref()?;
        let before = |end: Option<Instant>| end.is_none_or(|end| now < end);
        let fresh = before(answer.fresh_until);
        (fresh || before(answer.stale_until)).then(|| (answer.addresses.clone(), fresh))
    }

    /// A failure does not displace addresses that may still be served stale: they stay, and the next question waits
    /// for as long as a failure is kept.
    fn learn(&mut self, addresses: Option<Addresses>, now: Instant, lifetimes: Lifetimes) {
        let none = Lifetime::For(Duration::ZERO);
        let lifetime = if addresses.is_some() { lifetimes.positive } else { lifetimes.negative };
        let fresh_until = lifetime.end(now);
        if addresses.is_none()
            && let Some(old) = self.answer.as_mut()
            && old.addresses.is_some()
            && let Some(stale_until) = old.stale_until.filter(|end| now < *end)
        {
            old.fresh_until = Some(fresh_until.map_or(stale_until, |end| end.min(stale_until)));
            return;
        }
        let stale_until = match fresh_until {
            Some(_) if addresses.is_none() || lifetime == none => Some(now),
            end => end.map(|end| end + STALE_MAX),
        };
        self.answer = Some(Answer { addresses, fresh_until, stale_until });
    }
}

/// Makes room by dropping the name unused for longest, one without addresses first: made-up names must not displace
/// real ones. A scan, but only when the table is full, and shorter than the question that follows it.
fn evict(names: &mut HashMap<Box<str>, Name>) {
    let has_addresses = |name: &Name| name.answer.as_ref().is_some_and(|answer| answer.addresses.is_some());
    let idle = names.iter().filter(|(_, name)| !name.asking);
    let oldest = idle.min_by_key(|(_, name)| (has_addresses(name), name.used));
    let oldest = oldest.map(|(text, _)| text.clone()).expect("fewer names can be asked than kept");
    names.remove(&oldest);
}

/// The first [`ADDRESSES_MAX`] different addresses, in the order given.
fn first_distinct(found: Vec<IpAddr>) -> Addresses {
    let mut distinct: Vec<IpAddr> = Vec::with_capacity(ADDRESSES_MAX);
    for address in found {
        if !distinct.contains(&address) {
            distinct.push(address);
        }
        if distinct.len() == ADDRESSES_MAX {
            break;
        }
    }
    distinct.into()
}

/// Asks the system's resolver.
///
/// # Errors
/// When the name has no address or no name server answers.
pub fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Side;
    use std::sync::mpsc::{Receiver, Sender, channel};

    type Heard = (usize, Option<Vec<IpAddr>>);

    /// A resolver whose questions the test answers, and the answers its one worker gets.
    struct Bench {
        resolver: Resolver,
        questions: Receiver<String>,
        answers: Sender<io::Result<Vec<IpAddr>>>,
        notify: Notify,
        heard: Receiver<Heard>,
        now: Instant,
    }

    fn bench(positive: &str, negative: &str) -> Bench {
        let lifetimes = Lifetimes {
            positive: Lifetime::parse(positive).unwrap(),
            negative: Lifetime::parse(negative).unwrap(),
        };
        let (asked, questions) = channel();
        let (answers, given) = channel();
        let given = Mutex::new(given);
        let resolver = Resolver::start(lifetimes, move |name| {
            asked.send(name.to_owned()).unwrap();
            given.lock().unwrap().recv().unwrap_or_else(|_| Ok(Vec::new()))
        });
        let (hear, heard) = channel();
        let notify: Notify = Arc::new(move |key: Key, addresses: Option<Addresses>| {
            hear.send((key.index(), addresses.map(|list| list.to_vec()))).unwrap();
        });
        Bench { resolver: resolver.unwrap(), questions, answers, notify, heard, now: Instant::now() }
    }

    impl Bench {
        fn lookup(&self, name: &str, index: usize, after_seconds: u64) -> Lookup {
            let key = Key::from_token(index).1;
            assert_eq!(key.token(Side::Client), index);
            self.resolver.lookup(name, self.now + Duration::from_secs(after_seconds), key, &self.notify)
        }

        fn answer(&self, addresses: &[&str]) {
            self.answers.send(Ok(ips(addresses))).unwrap();
        }

        fn fail(&self) {
            self.answers.send(Err(io::Error::other("no such name"))).unwrap();
        }

        /// Looks up a name and answers its question.
        fn teach(&self, name: &str, addresses: &[&str]) {
            assert_eq!(self.lookup(name, 99, 0), Lookup::Pending);
            assert_eq!(self.questions.recv().unwrap(), name);
            self.answer(addresses);
            assert_eq!(self.heard.recv().unwrap(), (99, Some(ips(addresses))));
        }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn found(texts: &[&str]) -> Lookup {
        Lookup::Found(ips(texts).into())
    }

    #[test]
    fn literals_are_their_own_answer_and_absurd_names_fail() {
        let bench = bench("30", "10");
        assert_eq!(bench.lookup("1.2.3.4", 1, 0), found(&["1.2.3.4"]));
        assert_eq!(bench.lookup("[::1]", 1, 0), found(&["::1"]));
        assert_eq!(bench.lookup("::1", 1, 0), found(&["::1"]));
        assert_eq!(bench.lookup("", 1, 0), Lookup::Failed);
        assert_eq!(bench.lookup(&"a".repeat(255), 1, 0), Lookup::Failed);
        assert_eq!(bench.resolver.counts(), Counts::default());
    }

    #[test]
    fn made_up_names_do_not_displace_known_ones() {
        let bench = bench("30", "10");
        bench.teach("bank.example", &["10.0.0.1"]);
        for n in 0..2 * NAMES_MAX {
            bench.lookup(&format!("x{n}.example"), 1, 1);
        }
        assert_eq!(bench.lookup("bank.example", 2, 2), found(&["10.0.0.1"]));
        for _ in 0..2 * NAMES_MAX {
            let _ = bench.answers.send(Err(io::Error::other("no such name")));
        }
    }

    #[test]
    fn requests_for_one_name_are_merged() {
        let bench = bench("30", "10");
        assert_eq!(bench.lookup("Bank.Example", 1, 0), Lookup::Pending);
        assert_eq!(bench.questions.recv().unwrap(), "bank.example");
        assert_eq!(bench.lookup("bank.EXAMPLE", 2, 0), Lookup::Pending);
        bench.answer(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]);
        let answer = Some(ips(&["10.0.0.2", "10.0.0.1"]));
        assert_eq!(
            [bench.heard.recv().unwrap(), bench.heard.recv().unwrap()],
            [(1, answer.clone()), (2, answer)]
        );
        assert_eq!(bench.lookup("bank.example", 3, 0), found(&["10.0.0.2", "10.0.0.1"]));
        assert_eq!(bench.resolver.counts(), Counts { asked: 1, ..Counts::default() });
    }

    #[test]
    fn a_trailing_dot_names_another_question() {
        let bench = bench("30", "10");
        bench.teach("a", &["10.0.0.1"]);
        assert_eq!(bench.lookup("a.", 1, 0), Lookup::Pending);
    }

    #[test]
    fn one_stuck_name_does_not_hold_up_another() {
        let bench = bench("30", "10");
        assert_eq!(bench.lookup("stuck", 1, 0), Lookup::Pending);
        assert_eq!(bench.lookup("quick", 2, 0), Lookup::Pending);
        let mut asked = [bench.questions.recv().unwrap(), bench.questions.recv().unwrap()];
        asked.sort();
        assert_eq!(asked, ["quick", "stuck"]);
    }

    #[test]
    fn failures_are_kept_for_their_own_time() {
        let bench = bench("30", "10");
        assert_eq!(bench.lookup("x", 1, 0), Lookup::Pending);
        bench.questions.recv().unwrap();
        bench.fail();
        assert_eq!(bench.heard.recv().unwrap(), (1, None));
        assert_eq!(bench.lookup("x", 2, 5), Lookup::Failed);
        assert_eq!(bench.lookup("x", 3, 3600), Lookup::Pending);
        bench.questions.recv().unwrap();
        bench.answer(&[]);
        assert_eq!(bench.heard.recv().unwrap(), (3, None));
        assert_eq!(bench.resolver.counts(), Counts { asked: 2, failed: 2, ..Counts::default() });
    }

    #[test]
    fn a_stale_answer_is_served_while_it_is_refreshed() {
        let bench = bench("30", "10");
        bench.teach("x", &["10.0.0.1"]);
        assert_eq!(bench.lookup("x", 1, 20), found(&["10.0.0.1"]));
        assert_eq!(bench.lookup("x", 1, 60), found(&["10.0.0.1"]));
        assert_eq!(bench.questions.recv().unwrap(), "x");
        assert_eq!(bench.lookup("x", 1, 60), found(&["10.0.0.1"]));
        assert_eq!(bench.lookup("x", 7, 3600), Lookup::Pending);
        bench.answer(&["10.0.0.9"]);
        assert_eq!(bench.heard.recv().unwrap(), (7, Some(ips(&["10.0.0.9"]))));
        assert_eq!(bench.lookup("x", 1, 20), found(&["10.0.0.9"]));
        assert_eq!(bench.resolver.counts(), Counts { asked: 2, stale: 2, ..Counts::default() });
    }

    #[test]
    fn a_failed_refresh_keeps_the_old_addresses_for_a_bounded_time() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let lifetimes = Lifetimes {
            positive: Lifetime::For(Duration::from_secs(30)),
            negative: Lifetime::For(Duration::from_secs(10)),
        };
        let addresses: Addresses = ips(&["10.0.0.1"]).into();
        let mut name = Name::unknown(now);
        name.learn(Some(addresses.clone()), now, lifetimes);
        name.learn(None, at(31), lifetimes);
        assert_eq!(name.answer_at(at(40)), Some((Some(addresses.clone()), true)));
        assert_eq!(name.answer_at(at(41)), Some((Some(addresses.clone()), false)));
        name.learn(None, at(329), lifetimes);
        assert_eq!(name.answer_at(at(329)), Some((Some(addresses), true)));
        assert_eq!(name.answer_at(at(330)), None);
        name.learn(None, at(330), lifetimes);
        assert_eq!(name.answer_at(at(339)), Some((None, true)));
        assert_eq!(name.answer_at(at(340)), None);
    }

    #[test]
    fn zero_keeps_nothing_and_minus_one_keeps_for_ever() {
        let kept_not = bench("0", "0");
        kept_not.teach("x", &["10.0.0.1"]);
        assert_eq!(kept_not.lookup("x", 1, 1), Lookup::Pending);
        let kept = bench("-1", "-1");
        kept.teach("x", &["10.0.0.1"]);
        assert_eq!(kept.lookup("x", 1, 10 * 365 * 86_400), found(&["10.0.0.1"]));
        assert_eq!(Lifetime::parse("-7"), Ok(Lifetime::Forever));
        assert!(Lifetime::parse("30s").is_err() && Lifetime::parse("").is_err());
    }

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let bench = bench("30", "10");
        for number in 0..THREADS {
            assert_eq!(bench.lookup(&format!("busy{number}"), number, 0), Lookup::Pending);
        }
        for _ in 0..THREADS {
            bench.questions.recv().unwrap();
        }
        for number in 0..QUESTIONS_MAX {
            assert_eq!(bench.lookup(&format!("queued{number}"), number, 0), Lookup::Pending);
        }
        assert_eq!(bench.lookup("one.more", 1, 0), Lookup::Failed);
        assert_eq!(bench.lookup("queued0", 1, 0), Lookup::Pending);
        assert_eq!(bench.resolver.counts().refused, 1);
    }

    #[test]
    fn the_name_unused_for_longest_makes_room() {
        let now = Instant::now();
        let mut names: HashMap<Box<str>, Name> = HashMap::new();
        for (text, age, asking) in [("asked", 9, true), ("old", 5, false), ("new", 1, false)] {
            let used = now.checked_sub(Duration::from_secs(age)).unwrap();
            names.insert(text.into(), Name { asking, ..Name::unknown(used) });
        }
        evict(&mut names);
        let mut left: Vec<&str> = names.keys().map(|name| &**name).collect();
        left.sort_unstable();
        assert_eq!(left, ["asked", "new"]);
    }

    #[test]
    fn addresses_are_distinct_in_order_and_bounded() {
        let many: Vec<IpAddr> = (0..40).map(|n| IpAddr::from([10, 0, 0, n / 2])).collect();
        let kept: Vec<IpAddr> = (0..16).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        assert_eq!(first_distinct(many).to_vec(), kept);
    }

    #[test]
    fn threads_end_with_the_resolver() {
        let Bench { resolver, questions, .. } = bench("30", "10");
        drop(resolver);
        assert!(questions.recv().is_err(), "the ask function is dropped by the last thread");
    }

    #[test]
    fn the_system_knows_localhost() {
        assert!(system("localhost").unwrap().iter().all(IpAddr::is_loopback));
    }
}
