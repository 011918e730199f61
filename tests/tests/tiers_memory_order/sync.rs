//! What `tiers/src/sync.rs` is on a machine, here in all orders that the memory model allows.
//!
//! loom takes a sequentially consistent access for an acquire or a release, but knows fences. So such a load has a
//! fence before it if its thread has made such a store since the last fence: that much is promised between the two, and
//! not more.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

pub use std::sync::PoisonError;
pub use std::sync::atomic::Ordering;

use loom::sync::{Condvar, atomic};
pub use loom::sync::{Mutex, MutexGuard};

use crate::slot::{Scope, Watch};

/// A thread that stays awake is one that sleeps later.
pub const LOOKS: u32 = 0;
pub const WAYS_GIVEN: u32 = 0;

loom::thread_local! {
    static HAS_STORED: Cell<bool> = Cell::new(false);
}

fn before_load(order: Ordering) -> Ordering {
    if order != Ordering::SeqCst {
        return order;
    }
    if HAS_STORED.with(|stored| stored.replace(false)) {
        atomic::fence(Ordering::SeqCst);
    }
    Ordering::Acquire
}

fn before_store(order: Ordering) -> Ordering {
    if order != Ordering::SeqCst {
        return order;
    }
    HAS_STORED.with(|stored| stored.set(true));
    Ordering::Release
}

/// A change is a load and a store.
fn before_change(order: Ordering) -> Ordering {
    if order != Ordering::SeqCst {
        return order;
    }
    before_load(order);
    before_store(order);
    Ordering::AcqRel
}

#[derive(Debug, Default)]
pub struct AtomicU32(atomic::AtomicU32);

impl AtomicU32 {
    pub fn new(value: u32) -> Self {
        AtomicU32(atomic::AtomicU32::new(value))
    }

    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(before_load(order))
    }

    pub fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, before_store(order));
    }

    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, before_change(order))
    }

    pub fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_sub(value, before_change(order))
    }

    pub fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_or(value, before_change(order))
    }

    pub fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_and(value, before_change(order))
    }

    pub fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        self.0.compare_exchange(current, new, before_change(success), failure)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// The kernel's list of who sleeps where. Its lock orders a wake and a sleep that meet in it, as the kernel's does; who
/// wakes nobody does not touch it.
#[derive(Default)]
struct Kernel {
    beds: Mutex<Vec<Arc<[usize]>>>,
    change: Condvar,
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel::default();
}

/// As futex_waitv(2), which has a full barrier between lying down and the look at the words.
pub fn wait(watch: &Watch<'_>, _deadline: Option<Instant>) -> bool {
    let mut beds = KERNEL.beds.lock().unwrap();
    atomic::fence(Ordering::SeqCst);
    if watch.words().iter().any(|watched| watched.word.0.load(Ordering::Relaxed) != watched.seen) {
        return true;
    }
    let bed: Arc<[usize]> = watch.words().iter().map(|watched| watched.word.address()).collect();
    beds.push(Arc::clone(&bed));
    while beds.iter().any(|other| Arc::ptr_eq(other, &bed)) {
        beds = KERNEL.change.wait(beds).unwrap();
    }
    true
}

/// As futex(2).
pub fn wake(word: &AtomicU32, _scope: Scope) {
    let mut beds = KERNEL.beds.lock().unwrap();
    beds.retain(|bed| !bed.contains(&word.address()));
    KERNEL.change.notify_all();
}

pub fn spin() {}

pub fn give_way() {}

pub fn locate() -> u32 {
    0
}

pub fn processor() -> u32 {
    0
}

pub fn step(_place: &'static str) {}
