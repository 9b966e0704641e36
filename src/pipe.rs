//! Pipes of the kernel through which bytes go from one plain socket to another without being copied: taken when there
//! is something to move, returned when they are empty, closed when they are not.

use crate::time::{Millis, Now};

/// Most pipes of a worker; two descriptors each.
pub const PIPES_MAX: usize = 64;
/// How long no pipe is asked for after the world had none.
const PAUSE: Millis = Millis(1000);

const _: () = assert!(PIPES_MAX <= u16::MAX as usize, "slots are u16");

/// A pipe on lease. It stands in front of nothing: while it holds bytes, its leg has no other bytes to be sent.
#[derive(Debug)]
pub struct Pipe {
    slot: u16,
    held: u32,
    full: bool,
}

impl Pipe {
    /// Bytes in it.
    pub const fn held(&self) -> usize {
        self.held as usize
    }

    /// Whether another byte may have room: whatever it holds takes slots of unknown size, so that only the kernel
    /// knows.
    pub const fn has_room(&self) -> bool {
        !self.full
    }

    /// `n` bytes went in.
    pub fn received(&mut self, n: usize) {
        self.held += n as u32;
    }

    /// Nothing went in while it held bytes: it is full, or the source is empty.
    pub fn refused(&mut self) {
        self.full = self.held > 0;
    }

    /// `n` bytes went out.
    pub fn sent(&mut self, n: usize) {
        self.held = self.held.checked_sub(n as u32).expect("no more comes out of a pipe than went in");
        self.full &= n == 0;
    }
}

/// The worker's pipes: last in, first out; bounded.
#[derive(Debug)]
pub struct PipePool<P> {
    pipes: Vec<Option<P>>,
    /// Slots of open pipes that nobody has.
    idle: Vec<u16>,
    /// Slots without a pipe.
    vacant: Vec<u16>,
    /// Until then the world is not asked for another.
    pause: Now,
}

impl<P> PipePool<P> {
    /// A pool of at most `pipes_max` pipes, none of which is there yet.
    pub fn new(pipes_max: usize) -> Self {
        Self {
            pipes: (0..pipes_max).map(|_| None).collect(),
            idle: Vec::with_capacity(pipes_max),
            vacant: (0..pipes_max as u16).rev().collect(),
            pause: Now(0),
        }
    }

    /// Whether [`PipePool::take`] would give one, as far as is known.
    pub fn has_one(&self, now: Now) -> bool {
        !self.idle.is_empty() || (!self.vacant.is_empty() && self.pause <= now)
    }

    /// Leases an empty pipe; `make` opens another when none is idle. `None`: there are no more, and bytes are copied.
    pub fn take(&mut self, now: Now, make: impl FnOnce() -> Option<P>) -> Option<Pipe> {
        if !self.has_one(now) {
            return None;
        }
        let slot = self.idle.pop().or_else(|| {
            let Some(pipe) = make() else {
                self.pause = now + PAUSE;
                return None;
            };
            let slot = self.vacant.pop()?;
            self.pipes[usize::from(slot)] = Some(pipe);
            Some(slot)
        })?;
        Some(Pipe { slot, held: 0, full: false })
    }

    /// The pipe behind a lease.
    pub fn of(&mut self, pipe: &Pipe) -> &mut P {
        self.pipes[usize::from(pipe.slot)].as_mut().expect("a leased pipe is open")
    }

    /// Takes the pipe back if it is empty.
    pub fn tidy(&mut self, pipe: &mut Option<Pipe>) {
        if pipe.as_ref().is_some_and(|pipe| pipe.held == 0) {
            self.reclaim(pipe);
        }
    }

    /// Takes the pipe back. One that holds bytes is closed: they are nobody else's.
    pub fn reclaim(&mut self, pipe: &mut Option<Pipe>) {
        let Some(Pipe { slot, held, .. }) = pipe.take() else { return };
        if held == 0 {
            self.idle.push(slot);
        } else {
            self.pipes[usize::from(slot)] = None;
            self.vacant.push(slot);
        }
    }

    /// Pipes out on lease: 0 when nobody is served.
    pub fn leased(&self) -> usize {
        self.pipes.len() - self.idle.len() - self.vacant.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_is_used_again_and_a_full_one_is_closed() {
        let mut pool = PipePool::new(1);
        let mut pipe = pool.take(Now(0), || Some('a'));
        assert!(pipe.is_some() && pool.take(Now(0), || Some('b')).is_none());
        assert_eq!(pool.leased(), 1);
        pool.tidy(&mut pipe);
        let mut pipe = pool.take(Now(0), || Some('b'));
        let held = pipe.as_mut().expect("one is idle");
        assert_eq!(*pool.of(held), 'a');
        held.received(3);
        pool.tidy(&mut pipe);
        assert_eq!(pool.leased(), 1);
        pool.reclaim(&mut pipe);
        assert_eq!(pool.leased(), 0);
        let pipe = pool.take(Now(0), || Some('c')).expect("its place is free");
        assert_eq!(*pool.of(&pipe), 'c');
    }

    #[test]
    fn a_world_without_pipes_is_not_asked_all_the_time() {
        let mut pool = PipePool::<char>::new(1);
        assert!(pool.take(Now(5), || None).is_none());
        assert!(pool.take(Now(6), || panic!("asked again")).is_none());
        assert!(pool.take(Now(5) + PAUSE, || Some('a')).is_some());
    }

    #[test]
    fn a_pipe_has_room_again_when_something_went_out() {
        let mut pool = PipePool::new(1);
        let mut pipe = pool.take(Now(0), || Some('a')).expect("there is room");
        pipe.refused();
        assert!(pipe.has_room(), "an empty pipe is not full");
        pipe.received(2);
        pipe.refused();
        pipe.sent(0);
        assert!(!pipe.has_room());
        pipe.sent(1);
        assert!(pipe.has_room());
        assert_eq!(pipe.held(), 1);
    }
}
