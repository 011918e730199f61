//! A process that can be killed between any two of its steps, asleep or awake. A dead one does nothing more; what its
//! stack would do while it unwinds is kept from memory by `sync`.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use shuttle::thread::{self, JoinHandle, Thread, ThreadId};

/// What unwinds the threads of a killed process.
struct Killed;

#[derive(Default)]
struct Life {
    killed: bool,
    threads: Vec<Thread>,
}

std::thread_local! {
    /// Of the one process of this schedule that is not immortal.
    static LIFE: RefCell<Life> = RefCell::default();
}

/// The process that the scenario kills.
#[derive(Clone, Copy)]
pub struct Process(());

impl Process {
    pub fn new() -> Process {
        LIFE.take();
        Process(())
    }

    /// Starts a thread of it.
    pub fn spawn(self, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        thread::spawn(move || {
            LIFE.with_borrow_mut(|life| life.threads.push(thread::current()));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work))
                && !panic.is::<Killed>()
            {
                resume_unwind(panic);
            }
        })
    }

    /// SIGKILL.
    pub fn kill(self) {
        let threads = LIFE.with_borrow_mut(|life| {
            life.killed = true;
            life.threads.clone()
        });
        threads.iter().for_each(Thread::unpark);
    }
}

/// Goes on only if this thread's process lives.
pub fn live() {
    let is_mine = |me: ThreadId| LIFE.with_borrow(|life| life.threads.iter().any(|thread| thread.id() == me));
    if !is_unwinding() && LIFE.with_borrow(|life| life.killed) && is_mine(thread::current().id()) {
        resume_unwind(Box::new(Killed));
    }
}

/// Whether it is dead already, and only its stack does not know yet.
pub fn is_unwinding() -> bool {
    std::thread::panicking()
}
