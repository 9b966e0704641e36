//! Names for sockets: a slot, the generation of its occupant, and a side, packed into one poll token.
//!
//! ```text
//! token = side:1 | generation:31 | index:32
//! ```
//! A late event carries the generation of an occupant that has left, so it finds nothing.

use slab::Slab;

/// Which of the two slabs a socket lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who connects to us.
    Client,
    /// Whom we connect to.
    Upstream,
}

/// A slot and the generation of its occupant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

const GENERATION_MASK: u32 = 0x7fff_ffff;
const SIDE_BIT: u64 = 1 << 63;

impl Key {
    /// The slot number, dense from 0: for per-slot tables.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// The poll token of this key on `side`.
    pub const fn token(self, side: Side) -> usize {
        let bits = ((self.generation as u64) << 32) | self.index as u64;
        match side {
            Side::Client => bits as usize,
            Side::Upstream => (bits | SIDE_BIT) as usize,
        }
    }

    /// What a token names. Every value names something: whether it lives is for [`Slots`] to say.
    pub const fn from_token(token: usize) -> (Side, Self) {
        let bits = token as u64;
        let side = if bits & SIDE_BIT == 0 { Side::Client } else { Side::Upstream };
        let generation = (bits >> 32) as u32 & GENERATION_MASK;
        (side, Self { index: bits as u32, generation })
    }
}

/// A slab whose keys go stale when their occupant leaves.
#[derive(Debug)]
pub struct Slots<T> {
    slab: Slab<(u32, T)>,
    /// Generation the next occupant of each slot gets.
    generations: Vec<u32>,
    /// Generation of a slot's first occupant.
    first: u32,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::of_incarnation(0)
    }
}

impl<T> Slots<T> {
    /// Slots of a worker that took the place of `incarnation` failed ones: keys of theirs that are still on their way
    /// name nobody.
    pub fn of_incarnation(incarnation: u8) -> Self {
        let first = (u32::from(incarnation) << 24) & GENERATION_MASK;
        Self { slab: Slab::new(), generations: Vec::new(), first }
    }

    /// The key the next [`Slots::insert`] will return.
    pub fn next_key(&self) -> Key {
        let index = self.slab.vacant_key();
        let generation = self.generations.get(index).copied().unwrap_or(self.first);
        Key { index: u32::try_from(index).expect("fewer than 2^32 sockets"), generation }
    }

    /// Puts `occupant` into a free slot.
    pub fn insert(&mut self, occupant: T) -> Key {
        let key = self.next_key();
        if key.index() == self.generations.len() {
            self.generations.push(self.first);
        }
        self.slab.insert((key.generation, occupant));
        key
    }

    /// The occupant `key` names, if it is still there.
    pub fn at(&self, key: Key) -> Option<&T> {
        self.slab.get(key.index()).filter(|slot| slot.0 == key.generation).map(|slot| &slot.1)
    }

    /// Like [`Slots::at`], for changing.
    pub fn at_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slab.get_mut(key.index()).filter(|slot| slot.0 == key.generation).map(|slot| &mut slot.1)
    }

    /// Takes the occupant out; its key is stale from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.at(key)?;
        self.generations[key.index()] = key.generation.wrapping_add(1) & GENERATION_MASK;
        Some(self.slab.remove(key.index()).1)
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Every occupant with its key, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slab.iter().map(|(index, slot)| (Key { index: index as u32, generation: slot.0 }, &slot.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for side in [Side::Client, Side::Upstream] {
            for (index, generation) in [(0, 0), (7, 3), (u32::MAX, GENERATION_MASK)] {
                let key = Key { index, generation };
                assert_eq!(Key::from_token(key.token(side)), (side, key));
            }
        }
    }

    #[test]
    fn keys_of_a_failed_worker_name_nobody() {
        let old = Slots::default().insert(());
        let mut slots = Slots::of_incarnation(1);
        let new = slots.insert(());
        assert_eq!((slots.at(old), slots.at(new)), (None, Some(&())));
    }

    #[test]
    fn a_key_goes_stale_with_its_occupant() {
        let mut slots = Slots::default();
        let first = slots.insert("a");
        assert_eq!(slots.remove(first), Some("a"));
        let second = slots.insert("b");
        assert_eq!(second.index(), first.index());
        assert_eq!(slots.at(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.at(second), Some(&"b"));
    }
}
