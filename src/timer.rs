//! A hashed timer wheel that only remembers when to look. Deadlines are plain fields of their owners; an entry that
//! fires early or whose owner has left costs one look, so moving a deadline later costs nothing.

use crate::time::{Millis, Now};

/// Width of a slot in microseconds.
const TICK: u64 = 50_000;
/// Slots; entries further out than the wheel are looked at once a round.
const SLOTS: usize = 1024;

/// The wheel: tokens to look at, by when.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<u64>>,
    /// The next tick to be looked at.
    tick: u64,
    entries: usize,
    /// No entry stands before this tick.
    next: u64,
}

impl Wheel {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Now) -> Self {
        Self { slots: vec![Vec::new(); SLOTS], tick: now.0 / TICK, entries: 0, next: u64::MAX }
    }

    /// Remembers to look at `token` once `at` has passed, unless `look`, the look its owner has been promised already
    /// ([`Now::NEVER`]: none), comes no later; returns when the look will be (never later than a round of the wheel
    /// from now).
    pub fn insert(&mut self, at: Now, token: u64, look: Now) -> Now {
        // The slot after the deadline's own, so that the look never comes before the deadline.
        let wanted = (at.0 / TICK).saturating_add(1);
        let tick = wanted.clamp(self.tick, self.tick + SLOTS as u64 - 1);
        if look <= Now(tick * TICK) {
            return look;
        }
        self.slots[tick as usize % SLOTS].push(token);
        self.entries += 1;
        self.next = self.next.min(tick);
        Now(tick * TICK)
    }

    /// Moves to `now` and puts every token whose look is due into `due`.
    pub fn advance(&mut self, now: Now, due: &mut Vec<u64>) {
        let end = now.0 / TICK;
        if self.next > end {
            self.tick = self.tick.max(end);
            return;
        }
        let from = self.next.max(self.tick);
        let last = end.min(from + SLOTS as u64 - 1);
        for tick in from..=last {
            let slot = &mut self.slots[tick as usize % SLOTS];
            self.entries -= slot.len();
            due.append(slot);
        }
        self.tick = end + 1;
        self.next = self.first_occupied();
    }

    /// How long from `now` until the next look; `None` when nothing is remembered.
    pub fn wait(&self, now: Now) -> Option<Millis> {
        (self.next != u64::MAX).then(|| Now(self.next * TICK) - now)
    }

    fn first_occupied(&self) -> u64 {
        if self.entries == 0 {
            return u64::MAX;
        }
        (self.tick..self.tick + SLOTS as u64)
            .find(|tick| !self.slots[*tick as usize % SLOTS].is_empty())
            .expect("every entry stands within a round")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: Now) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due
    }

    #[test]
    fn an_entry_is_looked_at_after_its_deadline_and_once() {
        let mut wheel = Wheel::new(Now(0));
        let look = wheel.insert(Now(120_000), 7, Now::NEVER);
        assert_eq!(look, Now(150_000));
        assert_eq!(wheel.wait(Now(0)), Some(Millis(150)));
        assert_eq!(due(&mut wheel, Now(120_000)), []);
        assert_eq!(due(&mut wheel, Now(150_000)), [7]);
        assert_eq!(due(&mut wheel, Now(900_000)), []);
        assert_eq!(wheel.wait(Now(900_000)), None);
    }

    #[test]
    fn a_deadline_that_moves_within_its_slot_is_remembered_once() {
        let mut wheel = Wheel::new(Now(0));
        let mut look = Now::NEVER;
        for at in [120_000, 120_001, 149_999, 400_000] {
            look = wheel.insert(Now(at), 7, look);
        }
        assert_eq!(due(&mut wheel, Now(900_000)), [7]);
    }

    #[test]
    fn far_deadlines_are_looked_at_within_a_round() {
        let mut wheel = Wheel::new(Now(0));
        let look = wheel.insert(Now::NEVER, 1, Now::NEVER);
        assert!(look.0 <= TICK * SLOTS as u64);
        assert_eq!(due(&mut wheel, Now(10 * TICK * SLOTS as u64)), [1]);
    }

    #[test]
    fn a_long_sleep_finds_everything_in_order_of_slots() {
        let mut wheel = Wheel::new(Now(5_000_000));
        for n in 0..100 {
            wheel.insert(Now(5_000_000 + n * 400_000), n, Now::NEVER);
        }
        assert_eq!(due(&mut wheel, Now(50_000_000)), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn an_overdue_entry_is_looked_at_next() {
        let mut wheel = Wheel::new(Now(0));
        assert_eq!(due(&mut wheel, Now(10_000_000)), []);
        wheel.insert(Now(1), 9, Now::NEVER);
        assert_eq!(due(&mut wheel, Now(10_100_000)), [9]);
    }
}
