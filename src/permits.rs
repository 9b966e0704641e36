//! The limits of the upstream pool across all workers: a permit belongs to a connection, taken when it opens and
//! returned when it closes, so that a warm exchange touches nothing here.
//!
//! Only at a limit does a worker enter a queue, one a route: first come, first served among those whose route has room.
//! Every step costs the same however many wait, so that one slow target with a thousand waiters slows no other.

use crate::key::Key;
use crate::setting::Setting;
use crate::value;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections to one target.
pub const PER_ROUTE_MAX: Setting<usize> = Setting::new(
    "proxy.httpclient.maxConnPerRoute",
    "200",
    connections,
    "Most connections to one target, all workers together; further requests wait for connectionRequestTimeout.",
);

/// Connections to all targets.
pub const TOTAL_MAX: Setting<Option<usize>> = Setting::new(
    "proxy.httpclient.maxConnTotal",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { connections(text).map(Some) },
    "Most connections to all targets together; unset: as many as the limit of open files leaves.",
);

fn connections(text: &str) -> Result<usize, String> {
    value::whole(text, 1..=1_000_000).map(|n| n as usize)
}

/// Which worker, counted from 0.
pub type WorkerId = usize;

/// A granted wait: the client that waited and its permit.
pub type Grant = (Key, Permit);

/// Tells a worker what happened in the queue; called with no lock held.
pub trait Herald: Send + Sync {
    /// The wait of `key` on `worker` is over. A grant nobody takes returns its permit by being dropped.
    fn granted(&self, worker: WorkerId, grant: Grant);

    /// Somebody waits: idle connections of every worker but `asking` that stand in the way are to close.
    fn wanted(&self, asking: WorkerId);
}

/// The right to hold one upstream connection of a route; returned when dropped.
pub struct Permit {
    permits: Arc<Permits>,
    route: Arc<Route>,
}

/// What the permits of one route share.
struct Route {
    name: Arc<str>,
    /// Length of the route's queue, readable without the lock.
    waiting: AtomicUsize,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.route.name).finish()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release(&self.route.name);
    }
}

impl Permit {
    /// Whether anybody waits whom this connection could help: two relaxed loads, for the warm path.
    pub fn is_wanted(&self) -> bool {
        self.route.waiting.load(Relaxed) > 0 || self.permits.starving.load(Relaxed) > 0
    }

    /// What is to become of the connection, which has just become idle on `worker`.
    pub fn next_use(&self, worker: WorkerId) -> NextUse {
        self.permits.next_use(&self.route.name, worker)
    }
}

/// What asking for a permit gives.
#[derive(Debug)]
pub enum Asked {
    /// The connection may open.
    Granted(Permit),
    /// At a limit: a grant will come, unless the wait is given up.
    Queued,
}

/// What [`Permit::next_use`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextUse {
    /// Nobody waits for it: it may stay pooled.
    Keep,
    /// The first who waits is a client of this worker and wants this very route.
    Serve(Key),
    /// The first who waits needs its permit.
    Close,
}

/// When somebody began to wait: a number that only grows.
type Arrival = u64;

struct Waiter {
    arrival: Arrival,
    worker: WorkerId,
    key: Key,
}

/// A route with connections or waiters.
struct Entry {
    shared: Arc<Route>,
    /// The limit of its connections.
    max: usize,
    open: usize,
    waiters: VecDeque<Waiter>,
    /// In which list, and under which arrival, it stands in [`Table::firsts`].
    listed: Option<(Obstacle, Arrival)>,
}

/// Which limit a route's waiters stand before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Route,
    Total,
}

#[derive(Default)]
struct Table {
    routes: HashMap<Arc<str>, Entry>,
    total: usize,
    arrivals: Arrival,
    /// The routes that are waited for, by the arrival of their first waiter, for each [`Obstacle`].
    firsts: [BTreeMap<Arrival, Arc<str>>; 2],
}

/// The shared counters and the queues.
pub struct Permits {
    per_route_max: usize,
    total_max: usize,
    table: Mutex<Table>,
    /// Routes that stand before the total limit, readable without the lock.
    starving: AtomicUsize,
    herald: Box<dyn Herald>,
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("starving", &self.starving).finish_non_exhaustive()
    }
}

impl Permits {
    /// Limits per route and in all.
    pub fn new(per_route_max: usize, total_max: usize, herald: Box<dyn Herald>) -> Arc<Self> {
        assert!(per_route_max > 0 && total_max > 0, "a pool without room serves nobody");
        let (table, starving) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { per_route_max, total_max, table, starving, herald })
    }

    /// A panic elsewhere leaves the table consistent: every change is made whole under the lock.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a connection of `route`, which may have a limit of its own, on behalf of the client `key` of `worker`.
    pub fn ask(
        self: &Arc<Self>,
        route: &Arc<str>,
        own_max: Option<usize>,
        worker: WorkerId,
        key: Key,
    ) -> Asked {
        let mut table = self.table();
        let entry = table.entry(route);
        entry.max = own_max.unwrap_or(self.per_route_max);
        if entry.open < entry.max && table.total < self.total_max {
            return Asked::Granted(self.take(&mut table, route));
        }
        table.arrivals += 1;
        let arrival = table.arrivals;
        table.entry(route).waiters.push_back(Waiter { arrival, worker, key });
        self.settle(&mut table, route);
        drop(table);
        self.herald.wanted(worker);
        Asked::Queued
    }

    /// Gives up the wait of `key` for `route`. A grant that is already under way returns by itself.
    pub fn give_up(&self, route: &Arc<str>, worker: WorkerId, key: Key) {
        let mut table = self.table();
        let Some(entry) = table.routes.get_mut(route) else { return };
        // Who waits longest gives up first.
        if let Some(at) = entry.waiters.iter().position(|waiter| (waiter.worker, waiter.key) == (worker, key))
        {
            entry.waiters.remove(at);
            self.settle(&mut table, route);
        }
    }

    /// Routes at their limit that are waited for, and by how many, the longest wait first.
    pub fn blocked(&self) -> Vec<(Arc<str>, usize)> {
        let table = self.table();
        table.firsts[Obstacle::Route as usize]
            .values()
            .map(|route| (Arc::clone(route), table.routes[route].waiters.len()))
            .collect()
    }

    /// Whether anybody waits before the total limit: any connection that closes helps.
    pub fn starves(&self) -> bool {
        self.starving.load(Relaxed) > 0
    }

    fn next_use(&self, route: &Arc<str>, worker: WorkerId) -> NextUse {
        let mut table = self.table();
        let own = table.routes.get(route).and_then(|entry| entry.waiters.front()).map(|first| first.arrival);
        let starving = table.firsts[Obstacle::Total as usize].keys().next().copied();
        let Some(first) = own.into_iter().chain(starving).min() else { return NextUse::Keep };
        let waiters = &mut table.entry(route).waiters;
        let ours = |waiter: &&Waiter| waiter.arrival == first && waiter.worker == worker;
        let Some(key) = waiters.front().filter(ours).map(|waiter| waiter.key) else { return NextUse::Close };
        waiters.pop_front();
        self.settle(&mut table, route);
        NextUse::Serve(key)
    }

    /// Counts a connection in and makes its permit.
    fn take(self: &Arc<Self>, table: &mut Table, route: &Arc<str>) -> Permit {
        table.total += 1;
        let entry = table.entry(route);
        entry.open += 1;
        let shared = Arc::clone(&entry.shared);
        self.settle(table, route);
        Permit { permits: Arc::clone(self), route: shared }
    }

    /// Brings the lists and the numbers that are read without the lock in line with a route that has changed.
    fn settle(&self, table: &mut Table, route: &Arc<str>) {
        let Table { routes, firsts, .. } = table;
        let Some(entry) = routes.get_mut(route) else { return };
        let obstacle = if entry.open < entry.max { Obstacle::Total } else { Obstacle::Route };
        let wanted = entry.waiters.front().map(|first| (obstacle, first.arrival));
        if entry.listed != wanted {
            if let Some((obstacle, arrival)) = entry.listed {
                firsts[obstacle as usize].remove(&arrival);
            }
            if let Some((obstacle, arrival)) = wanted {
                firsts[obstacle as usize].insert(arrival, Arc::clone(route));
            }
            entry.listed = wanted;
        }
        entry.shared.waiting.store(entry.waiters.len(), Relaxed);
        self.starving.store(firsts[Obstacle::Total as usize].len(), Relaxed);
        if entry.open == 0 && entry.waiters.is_empty() {
            routes.remove(route);
        }
    }

    /// Returns a permit and grants what has become possible. Dropping the grant of a vanished worker comes back
    /// here, so the herald is called with the lock released.
    fn release(self: &Arc<Self>, route: &Arc<str>) {
        let mut table = self.table();
        table.total -= 1;
        table.entry(route).open -= 1;
        self.settle(&mut table, route);
        let Some(first) = table.firsts[Obstacle::Total as usize].values().next().cloned() else { return };
        let waiter = table.entry(&first).waiters.pop_front().expect("a starving route has a waiter");
        let permit = self.take(&mut table, &first);
        drop(table);
        self.herald.granted(waiter.worker, (waiter.key, permit));
    }

    /// Connections open or opening: 0 when all have closed.
    pub fn open(&self) -> usize {
        self.table().total
    }
}

impl Table {
    fn entry(&mut self, route: &Arc<str>) -> &mut Entry {
        self.routes.entry(Arc::clone(route)).or_insert_with(|| Entry {
            shared: Arc::new(Route { name: Arc::clone(route), waiting: AtomicUsize::new(0) }),
            max: 0,
            open: 0,
            waiters: VecDeque::new(),
            listed: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Slots;

    #[derive(Default)]
    struct Heard {
        grants: Mutex<Vec<(WorkerId, Grant)>>,
        wanted: AtomicUsize,
    }

    impl Herald for Arc<Heard> {
        fn granted(&self, worker: WorkerId, grant: Grant) {
            self.grants.lock().expect("test").push((worker, grant));
        }
        fn wanted(&self, _asking: WorkerId) {
            self.wanted.fetch_add(1, Relaxed);
        }
    }

    fn keys() -> Vec<Key> {
        let mut slots = Slots::default();
        (0..4).map(|n| slots.insert(n)).collect()
    }

    fn permits(per_route: usize, total: usize) -> (Arc<Heard>, Arc<Permits>) {
        let heard = Arc::new(Heard::default());
        (heard.clone(), Permits::new(per_route, total, Box::new(heard)))
    }

    fn granted(permits: &Arc<Permits>, route: &Arc<str>, key: Key) -> Option<Permit> {
        match permits.ask(route, None, 0, key) {
            Asked::Granted(permit) => Some(permit),
            Asked::Queued => None,
        }
    }

    #[test]
    fn first_come_first_served_among_those_with_room() {
        let (heard, permits) = permits(1, 2);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let keys = keys();
        let first = granted(&permits, &a, keys[0]).expect("room");
        let other = granted(&permits, &b, keys[1]).expect("room");
        assert!(granted(&permits, &a, keys[2]).is_none());
        assert!(granted(&permits, &b, keys[3]).is_none());
        assert_eq!(heard.wanted.load(Relaxed), 2);
        drop(other);
        let grants = std::mem::take(&mut *heard.grants.lock().expect("test"));
        assert_eq!(
            grants.iter().map(|(worker, (key, _))| (*worker, *key)).collect::<Vec<_>>(),
            [(0, keys[3])]
        );
        drop(first);
        assert_eq!(heard.grants.lock().expect("test")[0].1.0, keys[2]);
        drop(grants);
        heard.grants.lock().expect("test").clear();
        assert_eq!(permits.open(), 0);
        assert!(permits.blocked().is_empty() && !permits.starves());
    }

    #[test]
    fn an_idle_connection_serves_the_first_who_waits() {
        let (_, permits) = permits(1, 9);
        let route: Arc<str> = "a".into();
        let keys = keys();
        let permit = granted(&permits, &route, keys[0]).expect("room");
        assert_eq!(permit.next_use(0), NextUse::Keep);
        assert!(matches!(permits.ask(&route, None, 1, keys[1]), Asked::Queued));
        assert!(granted(&permits, &route, keys[2]).is_none());
        assert_eq!(permit.next_use(0), NextUse::Close);
        permits.give_up(&route, 1, keys[1]);
        assert_eq!(permit.next_use(0), NextUse::Serve(keys[2]));
        assert_eq!(permit.next_use(0), NextUse::Keep);
        drop(permit);
        assert_eq!(permits.open(), 0);
    }

    #[test]
    fn a_blocked_route_stands_in_nobodys_way() {
        let (heard, permits) = permits(1, 9);
        let (slow, other): (Arc<str>, Arc<str>) = ("slow".into(), "other".into());
        let keys = keys();
        let held = granted(&permits, &slow, keys[0]).expect("room");
        assert!(granted(&permits, &slow, keys[1]).is_none());
        let free = granted(&permits, &other, keys[2]).expect("room");
        assert!(held.is_wanted() && !free.is_wanted());
        assert_eq!(free.next_use(0), NextUse::Keep);
        assert_eq!(permits.blocked(), [(Arc::clone(&slow), 1)]);
        drop(free);
        assert!(heard.grants.lock().expect("test").is_empty());
        permits.give_up(&slow, 0, keys[1]);
        assert!(!held.is_wanted());
    }

    #[test]
    fn before_the_total_limit_any_connection_that_closes_helps_the_first() {
        let (heard, permits) = permits(2, 2);
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let keys = keys();
        let first = granted(&permits, &a, keys[0]).expect("room");
        let second = granted(&permits, &b, keys[1]).expect("room");
        assert!(granted(&permits, &c, keys[2]).is_none());
        assert!(granted(&permits, &a, keys[3]).is_none());
        assert!(permits.starves() && first.is_wanted() && second.is_wanted());
        assert_eq!(first.next_use(0), NextUse::Close);
        drop(second);
        let grants = std::mem::take(&mut *heard.grants.lock().expect("test"));
        assert_eq!(grants[0].1.0, keys[2]);
        assert_eq!(first.next_use(0), NextUse::Serve(keys[3]));
        drop((first, grants));
        assert_eq!(permits.open(), 0);
    }
}
