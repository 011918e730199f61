//! A heap that counts, for tests of how much is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The system's heap; a test program makes it its own with `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Forgets what was allocated so far; returns how many bytes are allocated now.
pub fn start() -> usize {
    let live = LIVE.load(Relaxed);
    MOST.store(live, Relaxed);
    LARGEST.store(0, Relaxed);
    live
}

/// The most bytes that were allocated at a time, since [`start`].
pub fn most() -> usize {
    MOST.load(Relaxed)
}

/// The largest single piece, since [`start`].
pub fn largest() -> usize {
    LARGEST.load(Relaxed)
}

fn count(size: usize) {
    let live = LIVE.fetch_add(size, Relaxed) + size;
    MOST.fetch_max(live, Relaxed);
    LARGEST.fetch_max(size, Relaxed);
}

// SAFETY: every call goes to the system's heap, with what it was called with; counting touches no memory of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the same contract, and the place came from there.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the same contract, and the place came from there.
        unsafe { System.dealloc(place, layout) }
    }
}
