//! A worker's origins and its idle connections to them, and the cache of targets its clients have named.

use crate::fault::What;
use crate::http::target::{Scheme, Target};
use crate::key::{Key, Slots};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Targets remembered by the text of their header; more than this and the cache starts anew.
const TARGETS_MAX: usize = 4096;
/// A longer text is parsed each time: what is remembered for strangers has a bound in bytes as well.
const TEXT_BYTES_MAX: usize = 512;
/// Origins known before those without users are forgotten; grows with those in use.
const ORIGINS_MAX: usize = 4096;

/// An origin: scheme, host and port that connections are pooled for.
#[derive(Debug)]
struct Origin {
    name: Arc<str>,
    /// Idle connections, the most recently used last.
    idle: VecDeque<Key>,
    /// Exchanges and connections that refer to it.
    users: usize,
    /// How many connections were dialled: rotates the addresses.
    dials: usize,
}

/// Where a request goes: its target and the origin it is pooled under.
#[derive(Debug)]
pub struct Destination {
    /// What the client asked for.
    pub target: Target,
    /// Route name of the pool limits, for people as well: `http://host:port`.
    pub route: Arc<str>,
    /// The pool's entry.
    pub origin: Key,
}

/// The worker's pool.
#[derive(Debug)]
pub struct Pool {
    origins: Slots<Origin>,
    by_name: HashMap<Arc<str>, Key>,
    targets: HashMap<Box<[u8]>, Rc<Destination>>,
    idle: usize,
    origins_max: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            origins: Slots::default(),
            by_name: HashMap::new(),
            targets: HashMap::new(),
            idle: 0,
            origins_max: ORIGINS_MAX,
        }
    }
}

impl Pool {
    /// Where the target that the client wrote as `text` leads. The same text is parsed once.
    ///
    /// # Errors
    /// [`What::BadTarget`].
    pub fn destination(&mut self, text: &[u8], default_scheme: Scheme) -> Result<Rc<Destination>, What> {
        if let Some(known) = self.targets.get(text) {
            return Ok(Rc::clone(known));
        }
        let target = Target::parse(text, default_scheme)?;
        if self.targets.len() >= TARGETS_MAX || self.origins.len() >= self.origins_max {
            self.forget();
        }
        let route: Arc<str> = target.origin().into();
        let origin = self.intern(&route);
        let destination = Rc::new(Destination { target, route, origin });
        if text.len() <= TEXT_BYTES_MAX {
            self.targets.insert(text.into(), Rc::clone(&destination));
        }
        Ok(destination)
    }

    fn intern(&mut self, name: &Arc<str>) -> Key {
        let Self { origins, by_name, .. } = self;
        *by_name.entry(Arc::clone(name)).or_insert_with(|| {
            origins.insert(Origin { name: Arc::clone(name), idle: VecDeque::new(), users: 0, dials: 0 })
        })
    }

    /// Drops the target cache and every origin nobody uses.
    fn forget(&mut self) {
        self.targets.clear();
        let unused: Vec<Key> =
            self.origins.iter().filter(|(_, o)| o.users == 0).map(|(key, _)| key).collect();
        for key in unused {
            let origin = self.origins.remove(key).expect("just seen");
            self.by_name.remove(&origin.name);
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
        let origin = self.origin(origin);
        origin.users = origin.users.checked_sub(1).expect("who leaves has entered");
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

    /// The longest idle connection to the origin called `name`.
    pub fn oldest_idle_of(&self, name: &Arc<str>) -> Option<Key> {
        self.origins.at(*self.by_name.get(name)?)?.idle.front().copied()
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
