//! A warm exchange allocates nothing, in plain text and in TLS on both legs: 1,000 of each kind through a real worker,
//! with every allocation of the thread counted.

// Only an allocator can count allocations, and implementing one is unsafe by its contract; this one adds to a
// thread-local cell and leaves the work to the system's.
#![allow(unsafe_code)]

#[allow(dead_code)] // other tests use the rest
mod pki;
#[path = "memory/secrets.rs"]
mod secrets;
#[path = "memory/world.rs"]
mod world;

use secrets::SecretPair;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use world::{Pair, Script};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn allocates_nothing(script: Script) {
    let mut pair = Pair::warm(script, |_| ());
    let counted = allocations(|| (0..1000).for_each(|_| pair.exchange()));
    assert_eq!((counted, pair.dialled()), (0, 1));
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1_u8)))), 1);
}

#[test]
fn a_get() {
    allocates_nothing(Script::get());
}

#[test]
fn a_post_with_a_length() {
    allocates_nothing(Script::post());
}

#[test]
fn a_long_post_through_pipes() {
    allocates_nothing(Script::long());
}

#[test]
fn a_post_in_chunks() {
    allocates_nothing(Script::chunked());
}

fn allocates_nothing_in_tls(script: fn() -> Script) {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut pair = SecretPair::warm(script(), version);
        let counted: u64 = (0..1000).map(|_| pair.exchange(|work| allocations(work))).sum();
        assert_eq!(counted, 0, "{:?}", version.version);
    }
}

#[test]
fn a_get_in_tls() {
    allocates_nothing_in_tls(Script::get);
}

#[test]
fn a_post_in_tls() {
    allocates_nothing_in_tls(Script::post);
}

#[test]
fn a_post_in_chunks_in_tls() {
    allocates_nothing_in_tls(Script::chunked);
}
