//! What runs a task: a thread that polls it when it was woken.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use shuttle::thread::{self, Thread, park};

pub struct Executor {
    is_woken: AtomicBool,
    thread: Thread,
}

impl Executor {
    /// For a task of this thread.
    pub fn here() -> Arc<Executor> {
        Arc::new(Executor { is_woken: AtomicBool::new(false), thread: thread::current() })
    }

    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Sleeps until the task was woken.
    pub fn wait(&self) {
        while !self.is_woken.load(Ordering::Relaxed) {
            park();
        }
    }

    /// The task is polled now.
    pub fn calm(&self) {
        self.is_woken.store(false, Ordering::Relaxed);
    }
}

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}
