//! The limits of the upstream pool across all workers: a permit belongs to a connection, taken when it opens and
//! returned when it closes, so that a warm exchange touches nothing here.
//!
//! Only at a limit does a worker enter the queue: first come, first served among those whose route has room.

use crate::key::Key;
use crate::setting::Setting;
use crate::value;
use std::collections::{HashMap, VecDeque};
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
    route: Arc<str>,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.route).finish()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release(&self.route);
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

struct Waiter {
    route: Arc<str>,
    worker: WorkerId,
    key: Key,
}

#[derive(Default)]
struct Table {
    open: HashMap<Arc<str>, usize>,
    total: usize,
    queue: VecDeque<Waiter>,
}

/// The shared counters and the queue.
pub struct Permits {
    per_route_max: usize,
    total_max: usize,
    table: Mutex<Table>,
    /// Length of the queue, readable without the lock.
    waiting: AtomicUsize,
    herald: Box<dyn Herald>,
}

impl fmt::Debug for Permits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Permits {
    /// Limits per route and in all.
    pub fn new(per_route_max: usize, total_max: usize, herald: Box<dyn Herald>) -> Arc<Self> {
        assert!(per_route_max > 0 && total_max > 0, "a pool without room serves nobody");
        Arc::new(Self {
            per_route_max,
            total_max,
            table: Mutex::default(),
            waiting: AtomicUsize::new(0),
            herald,
        })
    }

    /// A panic elsewhere leaves the table consistent: every change is made whole under the lock.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, route: &Arc<str>) -> Permit {
        Permit { permits: Arc::clone(self), route: Arc::clone(route) }
    }

    /// Asks for a connection of `route` on behalf of the client `key` of `worker`.
    pub fn ask(self: &Arc<Self>, route: &Arc<str>, worker: WorkerId, key: Key) -> Asked {
        let mut table = self.table();
        if self.has_room(&table, route) {
            take(&mut table, route);
            return Asked::Granted(self.permit(route));
        }
        table.queue.push_back(Waiter { route: Arc::clone(route), worker, key });
        self.waiting.store(table.queue.len(), Relaxed);
        drop(table);
        self.herald.wanted(worker);
        Asked::Queued
    }

    /// Gives up a wait. A grant that is already under way returns by itself.
    pub fn give_up(&self, worker: WorkerId, key: Key) {
        let mut table = self.table();
        table.queue.retain(|waiter| (waiter.worker, waiter.key) != (worker, key));
        self.waiting.store(table.queue.len(), Relaxed);
    }

    /// Gives up every wait of a worker that has failed: the keys of the one in its place name other clients.
    pub fn forget(&self, worker: WorkerId) {
        let mut table = self.table();
        table.queue.retain(|waiter| waiter.worker != worker);
        self.waiting.store(table.queue.len(), Relaxed);
    }

    /// Whether anybody waits: one relaxed load, for the warm path.
    pub fn anyone_waits(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// What is to become of a connection of `route` on `worker` that has just become idle.
    pub fn next_use(&self, route: &Arc<str>, worker: WorkerId) -> NextUse {
        let mut table = self.table();
        let Some(first) = self.first_helped(&table, route) else { return NextUse::Keep };
        let waiter = &table.queue[first];
        if waiter.worker != worker || waiter.route != *route {
            return NextUse::Close;
        }
        let key = waiter.key;
        table.queue.remove(first);
        self.waiting.store(table.queue.len(), Relaxed);
        NextUse::Serve(key)
    }

    /// Whether closing an idle connection of `route` would let a waiter go on.
    pub fn would_help(&self, route: &Arc<str>) -> bool {
        self.first_helped(&self.table(), route).is_some()
    }

    /// The first waiter that could go on if a connection of `route` closed.
    fn first_helped(&self, table: &Table, route: &Arc<str>) -> Option<usize> {
        table.queue.iter().position(|waiter| {
            waiter.route == *route || table.open.get(&waiter.route).is_none_or(|n| *n < self.per_route_max)
        })
    }

    fn has_room(&self, table: &Table, route: &Arc<str>) -> bool {
        table.total < self.total_max && table.open.get(route).is_none_or(|n| *n < self.per_route_max)
    }

    /// Returns a permit and grants what has become possible. Dropping the grants of a vanished worker comes back
    /// here, so the herald is called with the lock released.
    fn release(self: &Arc<Self>, route: &Arc<str>) {
        let mut table = self.table();
        table.total -= 1;
        let open = table.open.get_mut(route).expect("a permit's route is counted");
        *open -= 1;
        if *open == 0 {
            table.open.remove(route);
        }
        let granted = table.queue.iter().position(|waiter| self.has_room(&table, &waiter.route));
        let waiter = granted.and_then(|at| table.queue.remove(at));
        if let Some(waiter) = &waiter {
            take(&mut table, &waiter.route);
            self.waiting.store(table.queue.len(), Relaxed);
        }
        drop(table);
        if let Some(waiter) = waiter {
            self.herald.granted(waiter.worker, (waiter.key, self.permit(&waiter.route)));
        }
    }

    /// Connections open or opening: 0 when all have closed.
    pub fn open(&self) -> usize {
        self.table().total
    }
}

/// What [`Permits::next_use`] decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextUse {
    /// Nobody waits for it: it may stay pooled.
    Keep,
    /// The first who waits is a client of this worker and wants this very route.
    Serve(Key),
    /// The first who waits needs its permit.
    Close,
}

fn take(table: &mut Table, route: &Arc<str>) {
    table.total += 1;
    *table.open.entry(Arc::clone(route)).or_insert(0) += 1;
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
        match permits.ask(route, 0, key) {
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
        assert!(!permits.anyone_waits());
    }

    #[test]
    fn an_idle_connection_serves_the_first_who_waits() {
        let (_, permits) = permits(1, 9);
        let route: Arc<str> = "a".into();
        let keys = keys();
        let permit = granted(&permits, &route, keys[0]).expect("room");
        assert_eq!(permits.next_use(&route, 0), NextUse::Keep);
        assert!(matches!(permits.ask(&route, 1, keys[1]), Asked::Queued));
        assert!(granted(&permits, &route, keys[2]).is_none());
        assert_eq!(permits.next_use(&route, 0), NextUse::Close);
        permits.give_up(1, keys[1]);
        assert_eq!(permits.next_use(&route, 0), NextUse::Serve(keys[2]));
        assert_eq!(permits.next_use(&route, 0), NextUse::Keep);
        drop(permit);
        assert_eq!(permits.open(), 0);
    }
    #[test]
    fn the_waits_of_a_failed_worker_are_forgotten() {
        let (heard, permits) = permits(1, 9);
        let route: Arc<str> = "a".into();
        let keys = keys();
        let permit = granted(&permits, &route, keys[0]).expect("room");
        assert!(granted(&permits, &route, keys[1]).is_none());
        assert!(matches!(permits.ask(&route, 1, keys[1]), Asked::Queued));
        permits.forget(0);
        drop(permit);
        let grants = std::mem::take(&mut *heard.grants.lock().expect("test"));
        assert_eq!(grants.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(), [1]);
        assert!(!permits.anyone_waits());
    }
}
