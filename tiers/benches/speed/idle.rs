//! What peers cost that nobody uses: descriptors, memory, and processor time while they wait.
#![forbid(unsafe_code)]

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::measure::Message;
use super::ours;
use super::subject::{end_with_parent, itself};

/// How many peers.
pub const PEERS: usize = 100;
/// How long they wait.
const IDLE: Duration = Duration::from_secs(2);

/// What this process has.
#[derive(Debug, Clone, Copy)]
pub struct Holdings {
    descriptors: usize,
    /// Memory of its own, in KiB.
    private: usize,
    /// Shared memory that has been touched, in KiB: the slots.
    shared: usize,
}

impl Holdings {
    /// What it has now.
    pub fn now() -> Holdings {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let figure = |name| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            rest.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Holdings {
            // The one that it is counted with is open each time.
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            private: figure("RssAnon:"),
            shared: figure("RssShmem:"),
        }
    }

    /// Prints what each of the peers has added since.
    pub fn print_each(&self, name: &str) {
        let now = Holdings::now();
        let each = |now: usize, before: usize| (now as f64 - before as f64) / PEERS as f64;
        println!(
            "{name}: {:.2} descriptors a peer, {:.2} KiB of memory beside {:.2} KiB of slots in use",
            each(now.descriptors, self.descriptors),
            each(now.private, self.private),
            each(now.shared, self.shared)
        );
    }
}

/// Those whose peers wait: each in a process of its own, so that none has the memory that another gave back.
const ALL: [(&str, fn()); 3] =
    [("crossbeam", crossbeam), ("fs9, threads", ours::idle_threads), ("fs9, processes", ours::idle_processes)];

/// Measures all, and prints it.
pub fn run() {
    println!("\n{PEERS} idle peers, each with a thread in recv");
    ALL.iter().for_each(|(name, _)| assert!(itself(&["wait", name]).status().unwrap().success()));
}

/// One of them.
pub fn run_one(name: &str) {
    end_with_parent();
    ALL.iter().filter(|(one, _)| *one == name).for_each(|(_, idle)| idle());
}

/// The channels of others: of crossbeam, between threads.
fn crossbeam() {
    let before = Holdings::now();
    let channel = || (crossbeam_channel::bounded::<Message>(1), crossbeam_channel::bounded::<Message>(1));
    let ends = (0..PEERS).map(|_| channel()).map(|((there, here), other)| ((here, other.0), (there, other.1)));
    let (near, far): (Vec<_>, Vec<_>) = ends.unzip();
    before.print_each("crossbeam (both ends)");
    let threads = near.into_iter().map(|(receiver, _)| thread::spawn(move || assert!(receiver.recv().is_err())));
    let waiting: Vec<_> = threads.collect();
    print_idle("crossbeam");
    drop(far);
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Waits, and prints how much processor time all threads of this process took meanwhile.
pub fn print_idle(name: &str) {
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    // Those who are to wait first have to get there.
    thread::sleep(Duration::from_millis(500));
    let before = used();
    thread::sleep(IDLE);
    println!("{name}: {} us of processor time in {IDLE:?}", (used() - before).as_micros());
}
