//! Sleeping until a word changes (futex(2), futex_waitv(2)), with a deadline.
#![forbid(unsafe_code)]

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use rustix::io::Errno;
use rustix::thread::futex::{self, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::slot::{Scope, Watch, Watched};

/// Sleeps while every word of `watch` has the value it was seen with. May return early for no reason. False when the
/// deadline has passed.
pub fn wait(watch: &Watch<'_>, deadline: Option<Instant>) -> bool {
    let time = deadline.map(on_the_clock);
    let done = match watch.words() {
        [only] => wait_for_one(only, time.as_ref()),
        several => {
            let mut list = [Wait::new(); Watch::MOST];
            for (wait, watched) in list.iter_mut().zip(several) {
                wait.val = watched.seen.into();
                wait.uaddr = WaitPtr::new(watched.word.as_ptr().cast());
                wait.flags = wait_flags(watched.scope);
            }
            futex::waitv(&list[..several.len()], WaitvFlags::empty(), time.as_ref(), ClockId::Monotonic).map(drop)
        }
    };
    done != Err(Errno::TIMEDOUT)
}

/// Wakes everybody who sleeps on `word`.
pub fn wake(word: &AtomicU32, scope: Scope) {
    // Fails only for an address that is none.
    let _ = futex::wake(word, flags(scope), i32::MAX.unsigned_abs());
}

/// Wakes one of those who sleep on `word`, of this process.
pub fn wake_one(word: &AtomicU32) {
    // Fails only for an address that is none.
    let _ = futex::wake(word, flags(Scope::Process), 1);
}

fn wait_for_one(watched: &Watched<'_>, time: Option<&Timespec>) -> Result<(), Errno> {
    futex::wait_bitset(watched.word, flags(watched.scope), watched.seen, time, std::num::NonZeroU32::MAX)
}

fn flags(scope: Scope) -> futex::Flags {
    match scope {
        Scope::Process => futex::Flags::PRIVATE,
        Scope::Machine => futex::Flags::empty(),
    }
}

/// How futex_waitv(2), and io_uring in its place, are told what kind of word it is.
pub fn wait_flags(scope: Scope) -> WaitFlags {
    WaitFlags::SIZE_U32
        | match scope {
            Scope::Process => WaitFlags::PRIVATE,
            Scope::Machine => WaitFlags::empty(),
        }
}

/// `instant` on CLOCK_MONOTONIC, where the kernel wants it.
fn on_the_clock(instant: Instant) -> Timespec {
    let left = instant.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 });
    clock_gettime(ClockId::Monotonic).checked_add(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
