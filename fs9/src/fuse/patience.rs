//! How long a loop looks for the next request, or a link for the next reply, before it sleeps.
//!
//! Waking a sleeping processor costs more than everything else about a message (30-40 us here), so a loop that has
//! just worked looks again for a short while. It does so only while that pays: each time nothing came, it looks half
//! as often, so an idle mount soon only sleeps. On a single processor looking would keep the very party from running
//! that it waits for.

use std::time::{Duration, Instant};

/// Long enough for the other party of a round trip to answer, not much longer than waking up takes.
const LOOK: Duration = Duration::from_micros(60);

/// How often at most a loop goes straight to sleep between two looks.
const SLEEPS: u32 = 256;

/// The patience of one loop.
#[derive(Debug)]
pub struct Patience {
    alone: bool,
    misses: u32,
    sleeps: u32,
}

impl Patience {
    /// Patience for a loop on as many processors as this process may use.
    pub fn new() -> Patience {
        let alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        Patience { alone, misses: 0, sleeps: 0 }
    }

    /// Returns when what is waited for is there, or when it is time to sleep.
    pub fn look(&mut self, mut is_there: impl FnMut() -> bool) {
        if self.alone {
            return;
        }
        if self.sleeps > 0 {
            self.sleeps -= 1;
            return;
        }
        let start = Instant::now();
        loop {
            if is_there() {
                self.misses = 0;
                return;
            }
            if start.elapsed() >= LOOK {
                break;
            }
            // Whoever we wait for may be waiting for this processor.
            rustix::thread::sched_yield();
        }
        self.misses += 1;
        self.sleeps = 1u32.checked_shl(self.misses).unwrap_or(SLEEPS).min(SLEEPS);
    }
}
