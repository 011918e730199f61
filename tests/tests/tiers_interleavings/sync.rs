//! What `tiers/src/sync.rs` is on a machine, here under the scheduler: before every step another thread may run, and a
//! process that was killed takes no further step.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LockResult, TryLockError};
use std::time::{Duration, Instant};

pub use std::sync::atomic::Ordering;
pub use std::sync::{MutexGuard, PoisonError};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, Thread, park, yield_now};

use crate::process;
use crate::slot::{Scope, Watch};

/// How long a side stays awake is no matter of correctness.
pub const LOOKS: u32 = 1;
pub const WAYS_GIVEN: u32 = 0;

/// Somebody else may run now, or this process may be dead.
fn switch() {
    thread::sleep(Duration::ZERO); // shuttle knows no time: this is a change of threads and nothing else
    process::live();
}

/// A word in memory. What a dead process would do while its stack unwinds here does not happen.
#[derive(Debug, Default)]
pub struct AtomicU32(std::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub fn new(value: u32) -> Self {
        AtomicU32(value.into())
    }

    fn step(&self, effect: impl FnOnce(&std::sync::atomic::AtomicU32) -> u32) -> u32 {
        if process::is_unwinding() {
            return 0;
        }
        switch();
        effect(&self.0)
    }

    pub fn load(&self, order: Ordering) -> u32 {
        self.step(|word| word.load(order))
    }

    pub fn store(&self, value: u32, order: Ordering) {
        self.step(|word| {
            word.store(value, order);
            value
        });
    }

    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.step(|word| word.fetch_add(value, order))
    }

    pub fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.step(|word| word.fetch_sub(value, order))
    }

    pub fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        self.step(|word| word.fetch_or(value, order))
    }

    pub fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        self.step(|word| word.fetch_and(value, order))
    }

    pub fn compare_exchange(&self, current: u32, new: u32, success: Ordering, failure: Ordering) -> Result<u32, u32> {
        switch();
        self.0.compare_exchange(current, new, success, failure)
    }

    /// As the kernel sees it, with no change of threads.
    fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// A lock. Who cannot have it lets others run.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        loop {
            switch();
            match self.0.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => yield_now(),
            }
        }
    }
}

/// Where a thread sleeps: at each of these words.
struct Bed {
    words: Vec<(usize, Scope)>,
    woken: Arc<AtomicBool>,
    thread: Thread,
}

std::thread_local! {
    // Each test has a thread of its own, which runs all threads of a schedule.
    static BEDS: RefCell<Vec<Bed>> = const { RefCell::new(Vec::new()) };
}

/// Gets up when it is dropped, however that comes.
struct Sleeper(Arc<AtomicBool>);

impl Sleeper {
    fn lie_down(watch: &Watch<'_>) -> Sleeper {
        let woken = Arc::new(AtomicBool::new(false));
        let words = watch.words().iter().map(|watched| (watched.word.address(), watched.scope)).collect();
        let bed = Bed { words, woken: Arc::clone(&woken), thread: thread::current() };
        BEDS.with_borrow_mut(|beds| beds.push(bed));
        Sleeper(woken)
    }

    fn is_woken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        BEDS.with_borrow_mut(|beds| beds.retain(|bed| !Arc::ptr_eq(&bed.woken, &self.0)));
    }
}

/// As futex_waitv(2): looks at all words and lies down in one step. A signal wakes for no reason; a deadline passes at
/// any moment.
pub fn wait(watch: &Watch<'_>, deadline: Option<Instant>) -> bool {
    switch();
    if watch.words().iter().any(|watched| watched.word.now() != watched.seen) {
        return true;
    }
    let sleeper = Sleeper::lie_down(watch);
    let signal = thread_rng().gen_ratio(1, 16);
    loop {
        if signal || deadline.is_some() {
            yield_now();
        } else {
            park();
        }
        process::live();
        if signal || sleeper.is_woken() {
            return true;
        }
        if deadline.is_some() && thread_rng().gen_ratio(1, 4) {
            return false;
        }
    }
}

/// As futex(2): wakes who sleeps at this very word and said the same of who can be found there.
pub fn wake(word: &AtomicU32, scope: Scope) {
    if process::is_unwinding() {
        return;
    }
    switch();
    let here = (word.address(), scope);
    let woken: Vec<Bed> = BEDS.with_borrow_mut(|beds| beds.extract_if(.., |bed| bed.words.contains(&here)).collect());
    woken.iter().for_each(|bed| bed.woken.store(true, Ordering::Relaxed));
    woken.iter().for_each(|bed| bed.thread.unpark());
}

/// As [`wake`], one of those of this process.
pub fn wake_one(word: &AtomicU32) {
    switch();
    let here = (word.address(), Scope::Process);
    let woken = BEDS.with_borrow_mut(|beds| {
        let there: Vec<usize> = (0..beds.len()).filter(|place| beds[*place].words.contains(&here)).collect();
        (!there.is_empty()).then(|| beds.swap_remove(there[thread_rng().gen_range(0..there.len())]))
    });
    if let Some(bed) = woken {
        bed.woken.store(true, Ordering::Relaxed);
        bed.thread.unpark();
    }
}

pub fn spin() {
    yield_now();
}

pub fn give_way() {
    yield_now();
}

/// Never where the other side is, so that a waiting side spins.
pub fn locate() -> u32 {
    1
}

pub fn processor() -> u32 {
    0
}

/// Every step is a place to die at, not only those with a name.
pub fn step(_place: &'static str) {}
