//! A worker's origins and its idle connections to them, and the cache of targets its clients have named.
//!
//! Connections are pooled under scheme, host and port, the profile that holds for the target and who asked for it, so that
//! none is used with another identity, trust or verification, nor by a client of a group that might not have been let
//! through to its address. When those change, every origin is retired: its idle connections close, busy ones do not come
//! back, and the next request finds a new origin.

use crate::engine::Config;
use crate::fault::What;
use crate::http::target::{Scheme, Target};
use crate::key::{Key, Slots};
use crate::policy::egress::Ground;
use crate::policy::groups::GroupNumber;
use crate::policy::targets::Profile;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Targets remembered by the text of their header; more than this and the cache starts anew.
const TARGETS_MAX: usize = 4096;
/// A longer text is parsed each time: what is remembered for strangers has a bound in bytes as well.
const TEXT_BYTES_MAX: usize = 512;
/// Origins known before those without users are forgotten; grows with those in use.
const ORIGINS_MAX: usize = 4096;

/// An origin: scheme, host, port, profile and asker that connections are pooled for.
#[derive(Debug)]
struct Origin {
    /// What it is known by: the route, the number of the profile and of who may use it.
    name: Arc<str>,
    /// Name of its pool limits.
    route: Arc<str>,
    /// Its certificates, ours or the settings have changed since: no connection comes back to it.
    retired: bool,
    /// TLS handshakes with it under way.
    handshakes: usize,
    /// Clients that wait for one of them to end.
    waiting: VecDeque<Key>,
    /// Idle connections, the most recently used last.
    idle: VecDeque<Key>,
    /// Exchanges and connections that refer to it.
    users: usize,
    /// How many connections were dialled: rotates the addresses.
    dials: usize,
}

/// Who asks for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client of this group, which may go where the egress policy lets it.
    Client(GroupNumber),
    /// A route of ours, which may go wherever it was configured to go.
    Route,
}

impl Asker {
    /// Connections are pooled apart by it; 0 is a client of no group.
    const fn number(self) -> usize {
        match self {
            Self::Client(0) => 0,
            Self::Route => 1,
            Self::Client(group) => group as usize + 1,
        }
    }
}

/// Where a request goes: its target and the origin it is pooled under.
#[derive(Debug)]
pub struct Destination {
    /// What the client asked for.
    pub target: Target,
    /// Route name of the pool limits, for people as well: `http://host:port`.
    pub route: Arc<str>,
    /// How it is dealt with.
    pub profile: Arc<Profile>,
    /// Who may use it.
    pub asker: Asker,
    /// Why the egress policy denies it by its name.
    pub barred: Option<Ground>,
    /// The pool's entry.
    pub origin: Key,
}

/// The worker's pool.
#[derive(Debug)]
pub struct Pool {
    origins: Slots<Origin>,
    by_name: HashMap<Arc<str>, Key>,
    /// By asker and text.
    targets: Vec<HashMap<Box<[u8]>, Rc<Destination>>>,
    remembered: usize,
    idle: usize,
    origins_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            origins: Slots::default(),
            by_name: HashMap::new(),
            targets: Vec::new(),
            remembered: 0,
            idle: 0,
            origins_max: ORIGINS_MAX,
        }
    }
}

impl Pool {
    /// Where the target that `asker` wrote as `text` leads. The same text is parsed and judged once.
    ///
    /// # Errors
    /// [`What::BadTarget`].
    pub fn destination(
        &mut self,
        text: &[u8],
        default_scheme: Scheme,
        asker: Asker,
        config: &Config,
    ) -> Result<Rc<Destination>, What> {
        if let Some(known) = self.targets.get(asker.number()).and_then(|known| known.get(text)) {
            return Ok(Rc::clone(known));
        }
        let target = Target::parse(text, default_scheme)?;
        let destination = self.lead_to(target, asker, config);
        if text.len() <= TEXT_BYTES_MAX {
            let at = asker.number();
            self.targets.resize_with(self.targets.len().max(at + 1), HashMap::new);
            self.targets[at].insert(text.into(), Rc::clone(&destination));
            self.remembered += 1;
        }
        Ok(destination)
    }

    /// Where a CONNECT to `authority` leads: connections to it are nobody else's, so it has a route of its own.
    ///
    /// # Errors
    /// [`What::BadRequestLine`].
    pub fn tunnel(
        &mut self,
        authority: &[u8],
        asker: Asker,
        config: &Config,
    ) -> Result<Rc<Destination>, What> {
        Target::of_tunnel(authority).map(|target| self.lead_to(target, asker, config))
    }

    fn lead_to(&mut self, target: Target, asker: Asker, config: &Config) -> Rc<Destination> {
        if self.remembered >= TARGETS_MAX || self.origins.len() >= self.origins_max {
            self.forget();
        }
        let route: Arc<str> = target.origin().into();
        let profile = Arc::clone(config.targets.of(&target.host, target.port));
        let origin = self.intern(&route, profile.number, asker);
        let barred = match asker {
            Asker::Client(group) => config.egress.judge_name(group, &target.host, target.port).err(),
            Asker::Route => None,
        };
        Rc::new(Destination { target, route, profile, asker, barred, origin })
    }

    fn intern(&mut self, route: &Arc<str>, profile: usize, asker: Asker) -> Key {
        let name: Arc<str> = match (profile, asker.number()) {
            (0, 0) => Arc::clone(route),
            (profile, asker) => format!("{route}#{profile}@{asker}").into(),
        };
        let Self { origins, by_name, .. } = self;
        *by_name.entry(Arc::clone(&name)).or_insert_with(|| {
            origins.insert(Origin {
                name,
                route: Arc::clone(route),
                retired: false,
                handshakes: 0,
                waiting: VecDeque::new(),
                idle: VecDeque::new(),
                users: 0,
                dials: 0,
            })
        })
    }

    /// Identity, trust, the profiles or the egress policy have changed: the next request to any target finds a new origin. The idle
    /// connections of the old ones are the caller's to close.
    pub fn retire(&mut self) {
        self.targets.clear();
        self.remembered = 0;
        self.by_name.clear();
        let known: Vec<Key> = self.origins.iter().map(|(key, _)| key).collect();
        for key in known {
            let origin = self.origin(key);
            origin.retired = true;
            if origin.users == 0 {
                self.origins.remove(key);
            }
        }
    }

    /// Whether connections of `origin` are not to be used again.
    pub fn is_retired(&mut self, origin: Key) -> bool {
        self.origin(origin).retired
    }

    /// A handshake with `origin` begins.
    pub fn begin_handshake(&mut self, origin: Key) {
        self.origin(origin).handshakes += 1;
    }

    /// Whether `max` handshakes with `origin` are under way.
    pub fn is_shaking(&mut self, origin: Key, max: usize) -> bool {
        self.origin(origin).handshakes >= max
    }

    /// One handshake with `origin` has ended, well or not.
    pub fn end_handshake(&mut self, origin: Key) {
        let origin = self.origin(origin);
        origin.handshakes = origin.handshakes.checked_sub(1).expect("a handshake ends once");
    }

    /// `client` waits for a handshake with `origin` to end.
    pub fn await_handshake(&mut self, origin: Key, client: Key) {
        self.origin(origin).waiting.push_back(client);
    }

    /// `client` goes on waiting, before all others.
    pub fn await_handshake_first(&mut self, origin: Key, client: Key) {
        self.origin(origin).waiting.push_front(client);
    }

    /// Whether a connection to `origin` is idle.
    pub fn has_idle(&self, origin: Key) -> bool {
        self.origins.at(origin).is_some_and(|origin| !origin.idle.is_empty())
    }

    /// Whether anybody waits for a handshake with `origin` to end.
    pub fn has_waiting(&self, origin: Key) -> bool {
        self.origins.at(origin).is_some_and(|origin| !origin.waiting.is_empty())
    }

    /// Who waits longest for a handshake with `origin` to end. It may have given up since.
    pub fn next_waiting(&mut self, origin: Key) -> Option<Key> {
        self.origins.at_mut(origin)?.waiting.pop_front()
    }

    /// `client` waits no longer.
    pub fn stop_waiting(&mut self, origin: Key, client: Key) {
        self.origin(origin).waiting.retain(|key| *key != client);
    }

    /// Drops the target cache and every origin nobody uses.
    fn forget(&mut self) {
        self.targets.clear();
        self.remembered = 0;
        let unused: Vec<Key> =
            self.origins.iter().filter(|(_, o)| o.users == 0).map(|(key, _)| key).collect();
        for key in unused {
            let origin = self.origins.remove(key).expect("just seen");
            if !origin.retired {
                self.by_name.remove(&origin.name);
            }
        }
        self.origins_max = ORIGINS_MAX.max(2 * self.origins.len());
    }

    fn origin(&mut self, key: Key) -> &mut Origin {
        self.origins.at_mut(key).expect("an origin lives while it has users")
    }

    /// Another exchange or connection refers to `origin`.
    pub fn enter(&mut self, origin: Key) {
        self.origin(origin).users += 1;
    }

    /// One less.
    pub fn leave(&mut self, origin: Key) {
        let key = origin;
        let origin = self.origin(key);
        origin.users = origin.users.checked_sub(1).expect("who leaves has entered");
        if origin.retired && origin.users == 0 {
            self.origins.remove(key);
        }
    }

    /// The most recently used idle connection to `origin`.
    pub fn take(&mut self, origin: Key) -> Option<Key> {
        let taken = self.origin(origin).idle.pop_back();
        self.idle -= usize::from(taken.is_some());
        taken
    }

    /// Keeps a connection that has become idle.
    pub fn put(&mut self, origin: Key, upstream: Key) {
        self.origin(origin).idle.push_back(upstream);
        self.idle += 1;
    }

    /// Takes an idle connection out because it is to close.
    pub fn remove(&mut self, origin: Key, upstream: Key) {
        let idle = &mut self.origin(origin).idle;
        let at = idle.iter().position(|key| *key == upstream).expect("an idle connection is pooled");
        idle.remove(at);
        self.idle -= 1;
    }

    /// Every idle connection, the longest idle of each origin first.
    pub fn idle(&self) -> impl Iterator<Item = Key> {
        self.origins.iter().flat_map(|(_, origin)| origin.idle.iter().copied())
    }

    /// The longest idle connection of an origin of `route`.
    pub fn oldest_idle_of(&self, route: &Arc<str>) -> Option<Key> {
        let known = self.by_name.get(route).and_then(|key| self.origins.at(*key));
        known.and_then(|origin| origin.idle.front().copied()).or_else(|| {
            // Off the warm path: somebody waits at a limit, and the route's connections have a profile of their own.
            self.origins.iter().filter(|(_, o)| o.route == *route).find_map(|(_, o)| o.idle.front().copied())
        })
    }

    /// How many idle connections it holds.
    pub fn idle_len(&self) -> usize {
        self.idle
    }

    /// Counts a dial and returns how many went before it: where to start among the addresses.
    pub fn next_dial(&mut self, origin: Key) -> usize {
        let origin = self.origin(origin);
        origin.dials = origin.dials.wrapping_add(1);
        origin.dials.wrapping_sub(1)
    }

    /// Exchanges and connections that refer to any origin: 0 when nobody is served and nothing is pooled.
    pub fn users(&self) -> usize {
        self.origins.iter().map(|(_, origin)| origin.users).sum()
    }
}
