//! A store cannot make its reader allocate more than a small factor of its own size, whatever its lengths say: 20,000
//! mutations of a JKS store, with every allocation of the thread counted.

// Only an allocator can count allocations, and implementing one is unsafe by its contract; this one adds to
// thread-local cells and leaves the work to the system's.
#![allow(unsafe_code)]

use apim_proxy::keystore::{self, Passwords};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn taken(size: usize) {
    LARGEST.set(LARGEST.get().max(size));
    LIVE.set(LIVE.get() + size);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn given_back(size: usize) {
    LIVE.set(LIVE.get().saturating_sub(size));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        taken(size);
        given_back(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The largest allocation of `work`, and the most that lived at once.
fn allocated(work: impl FnOnce()) -> (usize, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    LARGEST.set(0);
    work();
    (LARGEST.get(), PEAK.get() - before)
}

/// Entries of which each is as short as it can be are what a reader spends most on, byte for byte.
fn store(entries: usize) -> Vec<u8> {
    let certificate: &[u8] = b"\0\x05X.509\0\0\0\x02\x30\0";
    let mut store = [b"\xfe\xed\xfe\xed\0\0\0\x02", &(2 * entries as u32).to_be_bytes()[..]].concat();
    for _ in 0..entries {
        store.extend([b"\0\0\0\x02\0\x01a\0\0\0\0\0\0\0\0", certificate].concat());
        let key: &[u8] = b"\0\0\0\x01\0\x01b\0\0\0\0\0\0\0\0\0\0\0\x04\x30\x02\x05\0\0\0\0\x02";
        store.extend([key, certificate, certificate].concat());
    }
    store.extend([0; 20]);
    store
}

fn ask(bytes: &[u8]) -> bool {
    let _ = keystore::read(bytes, &Passwords { store: None, key: Some("changeit") });
    keystore::read_trust(bytes, None).is_ok()
}

#[test]
fn the_count_counts() {
    let (largest, most) = allocated(|| drop(std::hint::black_box((vec![1_u8; 1000], vec![1_u8; 500]))));
    assert_eq!((largest, most), (1000, 1500));
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let sound = store(50);
    let bound = |bytes: &[u8]| 16 * bytes.len() + 4096;
    let (_, most) = allocated(|| assert!(ask(&sound)));
    assert!(most <= bound(&sound), "{most} of {}", sound.len());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    for round in 0..20_000 {
        let mut bytes = sound.clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][below(6)];
        }
        bytes.truncate(if round % 4 == 0 { below(bytes.len()) } else { bytes.len() });
        let (_, most) = allocated(|| _ = ask(&bytes));
        assert!(most <= bound(&bytes), "round {round}: {most} of {}", bytes.len());
    }
}

#[test]
fn the_largest_count_and_the_largest_lengths() {
    for at in [8, 31, 58, 72] {
        let mut bytes = store(1);
        bytes[at..at + 4].fill(0xff);
        let (largest, _) = allocated(|| _ = ask(&bytes));
        assert!(largest <= 1024, "{largest} for the length at {at}");
    }
}
