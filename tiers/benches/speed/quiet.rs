//! Whether anybody else uses the machine: with one more at work, the kernel puts two parties on one processor.
#![forbid(unsafe_code)]

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it is looked at before a repetition.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for quiet, not for ever.
pub struct Quiet {
    patience: Duration,
    repetitions: usize,
    disturbed: usize,
}

impl Quiet {
    /// With so much patience in all.
    pub fn new(patience: Duration) -> Quiet {
        Quiet { patience, repetitions: 0, disturbed: 0 }
    }

    /// Before a repetition.
    pub fn wait(&mut self) {
        let start = Instant::now();
        let mut quiet = is_quiet();
        while !quiet && start.elapsed() < self.patience {
            quiet = is_quiet();
        }
        self.patience = self.patience.saturating_sub(start.elapsed().saturating_sub(LOOK));
        self.repetitions += 1;
        self.disturbed += usize::from(!quiet);
    }

    /// Says so if it was not quiet.
    pub fn print(&self) {
        if self.disturbed > 0 {
            println!("{} of {} repetitions began while others used the machine", self.disturbed, self.repetitions);
        }
    }
}

fn is_quiet() -> bool {
    let before = busy();
    sleep(LOOK);
    // One in ten of two processors, in clock ticks of 10 ms.
    busy() - before <= 2
}

/// Clock ticks that the processors have worked (proc_stat(5)): user, nice, system, irq, softirq and steal.
fn busy() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let all: Vec<u64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    [0, 1, 2, 5, 6, 7].map(|field| all[field]).iter().sum()
}
