//! What the protocol of the slot asks of the machine: atomic words, and a place to stand still. The simulation in
//! `tests/` compiles the same protocol over a file with these names that runs every schedule instead.
#![forbid(unsafe_code)]

use std::cell::Cell;

pub use std::sync::atomic::{AtomicU32, Ordering};
pub use std::sync::{Mutex, MutexGuard, PoisonError};

pub use crate::futex::{wait, wake, wake_one};

/// How often a side that spins looks for a change before it gives way.
pub const LOOKS: u32 = 2000;

/// How often it gives way before it sleeps.
pub const WAYS_GIVEN: u32 = 32;

/// Tells the processor that this is a loop that waits.
pub fn spin() {
    std::hint::spin_loop();
}

/// Lets somebody else have the processor (sched_yield(2)).
pub fn give_way() {
    rustix::thread::sched_yield();
}

thread_local! {
    static PROCESSOR: Cell<u32> = const { Cell::new(0) };
}

/// The processor on which this thread was when it last had to wait, plus 1; 0 before.
pub fn processor() -> u32 {
    PROCESSOR.get()
}

/// The processor that this thread is on (getcpu(2)), plus 1.
pub fn locate() -> u32 {
    let here = u32::try_from(rustix::thread::sched_getcpu()).unwrap_or(0).wrapping_add(1);
    PROCESSOR.set(here);
    here
}

/// A place between two steps of the protocol: where tests kill a process, see [`crate::failure`].
pub fn step(place: &'static str) {
    crate::failure::step(place);
}
