//! What was opened and dropped is gone, and what is open and idle costs next to nothing.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use fs9_tests::process::resources;
use fs9_tests::tiers::{Alone, Duplex, HEAD, PATIENCE, fresh_name, me, note, number_of, tid, wait_blocked};
use fs9_tests::wait_for;
use fs9_tiers::error::{Reason, RecvTimeoutError};
use fs9_tiers::{pair, process, remote};
use rustix::time::{ClockId, clock_gettime};

/// What a heap may grow by in the course of any number of rounds, in KiB: what the system's keeps for itself.
const SLACK: usize = 512;

fn memory() -> usize {
    resources(std::process::id()).memory
}

fn descriptors() -> usize {
    resources(std::process::id()).descriptors
}

/// Does it a few times, then `times` times more: afterwards there are no more descriptors and no more memory than
/// before. Fewer there may be: what is given back a little later may have been there when the others were counted.
fn assert_flat(times: usize, mut once: impl FnMut()) {
    (0..times / 10).for_each(|_| once());
    let (descriptors_before, before) = (descriptors(), memory());
    (0..times).for_each(|_| once());
    wait_for("the descriptors to be closed", || (descriptors() <= descriptors_before).then_some(()));
    let after = memory();
    assert!(after <= before + SLACK, "{times} times: from {before} to {after} KiB");
}

#[test]
fn a_million_pairs_of_threads_leave_nothing() {
    let _alone = Alone::new();
    assert_flat(1_000_000, || {
        let (a, b) = pair::<u64, Vec<u8>>();
        a.try_send(1).unwrap();
        b.try_send(vec![0; 100]).unwrap();
    });
}

#[test]
fn a_hundred_thousand_pairs_of_the_process_tier_leave_nothing() {
    let _alone = Alone::new();
    assert_flat(100_000, || {
        let (a, b) = process::pair::<u64, Vec<u8>>().unwrap();
        a.try_send(1).unwrap();
        b.try_send(vec![0; 100]).unwrap();
    });
}

#[test]
fn ends_that_are_handed_over_leave_nothing() {
    let _alone = Alone::new();
    let (a, b): (Duplex, Duplex) = process::pair().unwrap();
    let mut number = 0;
    assert_flat(10_000, || {
        let (here, there): (Duplex, Duplex) = process::pair().unwrap();
        a.send_with(note(number, HEAD), vec![there.into()]).unwrap();
        // One in three is claimed, one is not, and one is not even received with its message.
        match number % 3 {
            0 => {
                let there: Duplex = b.recv_with().unwrap().1.remove(0).claim().unwrap();
                here.send(note(number, HEAD)).unwrap();
                assert_eq!(number_of(&there.recv().unwrap()), number);
            }
            1 => drop(b.recv_with().unwrap()),
            _ => drop(b.recv().unwrap()),
        }
        number += 1;
    });
}

#[test]
fn connections_leave_nothing() {
    let _alone = Alone::new();
    let name = fresh_name();
    let listener = process::listen(&name, &[me()]).unwrap();
    // A connection waits until it is accepted, by another thread.
    let (accepted, accepts) = channel::<Duplex>();
    let server = thread::spawn(move || {
        while let Ok(end) = listener.accept_timeout(PATIENCE) {
            if accepted.send(end).is_err() {
                break;
            }
        }
    });
    assert_flat(2_000, || {
        let here: Duplex = process::connect(&name, &[me()]).unwrap();
        let there = accepts.recv().unwrap();
        here.send(note(1, HEAD)).unwrap();
        assert_eq!(number_of(&there.recv().unwrap()), 1);
    });
    drop(accepts);
    drop(process::connect::<u8, u8>(&name, &[me()]).unwrap());
    server.join().unwrap();
}

#[test]
fn a_thousand_children_leave_nothing() {
    let _alone = Alone::new();
    let mut last = 0;
    assert_flat(1_000, || {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let (end, child) = process::spawn::<u8, u8>(command).unwrap();
        last = child.id();
        drop(child); // closes its standard input, at which it ends
        assert!(end.recv_timeout(PATIENCE).is_err());
    });
    // `Alone` sees to it that there is no zombie among them.
    assert!(!fs::exists(format!("/proc/{last}")).unwrap());
}

/// A figure of /proc/self/status, in KiB.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn an_idle_end_costs_three_descriptors_and_little_memory() {
    const PAIRS: usize = 500;
    let _alone = Alone::new();
    let open = || {
        let (a, b): (Duplex, Duplex) = process::pair().unwrap();
        a.send(note(1, HEAD)).unwrap();
        assert_eq!(number_of(&b.recv().unwrap()), 1);
        (a, b)
    };
    drop((0..PAIRS).map(|_| open()).collect::<Vec<_>>());
    // The slots are shared memory; all else is anonymous, also page tables.
    let used = || (descriptors(), status("RssAnon"));
    let (descriptors_before, before) = used();
    let pairs: Vec<(Duplex, Duplex)> = (0..PAIRS).map(|_| open()).collect();
    let (descriptors_after, after) = used();
    assert!(descriptors_after - descriptors_before <= 3 * 2 * PAIRS, "{descriptors_before} to {descriptors_after}");
    assert!(after - before <= 8 * 2 * PAIRS, "{PAIRS} pairs: from {before} to {after} KiB");
    drop(pairs);
}

#[test]
fn a_connected_end_costs_three_descriptors() {
    const PAIRS: usize = 100;
    let _alone = Alone::new();
    let name = fresh_name();
    let listener = process::listen(&name, &[me()]).unwrap();
    let before = descriptors();
    let ends: Vec<(Duplex, Duplex)> = (0..PAIRS)
        .map(|_| {
            thread::scope(|scope| {
                let client = scope.spawn(|| process::connect(&name, &[me()]).unwrap());
                (listener.accept().unwrap(), client.join().unwrap())
            })
        })
        .collect();
    assert!(descriptors() - before <= 3 * 2 * PAIRS, "{before} to {}", descriptors());
    assert!(ends.iter().all(|(a, b)| a.reason().is_none() && b.reason().is_none()));
}

#[test]
fn who_waits_for_a_message_uses_no_processor() {
    const ENDS: usize = 100;
    let _alone = Alone::new();
    let (pairs, waiting): (Vec<Duplex>, Vec<Duplex>) = (0..ENDS).map(|_| process::pair().unwrap()).unzip();
    let (tell, told) = channel();
    let threads: Vec<_> = waiting
        .into_iter()
        .map(|end| {
            let tell = tell.clone();
            thread::spawn(move || {
                tell.send(tid()).unwrap();
                end.recv_timeout(PATIENCE * 3)
            })
        })
        .collect();
    told.iter().take(ENDS).for_each(|tid| wait_blocked(std::process::id(), tid));
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let before = used();
    thread::sleep(Duration::from_secs(1)); // that is what is measured
    let cost = used() - before;
    drop(pairs);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
    }
    assert!(cost < Duration::from_millis(5), "{ENDS} ends that wait for a second take {cost:?}");
}

#[test]
fn a_program_inherits_no_end_of_another_channel() {
    let _alone = Alone::new();
    let (here, there): (Duplex, Duplex) = process::pair().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo started; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (_end, mut child) = process::spawn::<u8, u8>(command).unwrap();
    let mut said = [0; 8];
    child.take_stdout().unwrap().read_exact(&mut said).unwrap();
    drop(there);
    assert_eq!(here.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
}

/// The threads of peers, which have such names. Those that run tests come and go.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let is_ours = |task: &fs::DirEntry| fs::read(task.path().join("comm")).is_ok_and(|name| name.starts_with(b"fs9-"));
    tasks.filter(|task| task.as_ref().is_ok_and(is_ours)).count()
}

#[test]
fn a_connection_that_carries_an_end_of_its_own_leaves_nothing() {
    let _alone = Alone::new();
    let listener = remote::listen("tcp://127.0.0.1:0").unwrap();
    wait_for("the watcher and the listener", || (threads() == 2).then_some(()));
    let before = descriptors();
    for number in 0..20 {
        let here: Duplex = remote::dial(listener.address()).unwrap();
        let there: Duplex = listener.accept().unwrap();
        let (home, away): (Duplex, Duplex) = pair();
        here.send_with(note(number, HEAD), vec![away.into()]).unwrap();
        // What came over it goes back over it: both ends of that relay are at the other side.
        there.send_with(note(number, HEAD), there.recv_with().unwrap().1).unwrap();
        let back: Duplex = here.recv_with().unwrap().1.remove(0).claim().unwrap();
        drop((here, there));
        home.send(note(number, HEAD)).unwrap();
        assert_eq!(number_of(&back.recv_timeout(PATIENCE).unwrap()), number);
        drop((home, back));
        let has_all = || descriptors() <= before && threads() == 2;
        wait_for("all to be given back", || has_all().then_some(()));
    }
}

#[test]
fn a_thousand_connections_to_an_address_leave_nothing() {
    let _alone = Alone::new();
    let listener = remote::listen("tcp://127.0.0.1:0").unwrap();
    wait_for("the watcher and the listener", || (threads() == 2).then_some(()));
    let resting = || (descriptors(), threads());
    let before = resting();
    let once = || {
        let here: Duplex = remote::dial(listener.address()).unwrap();
        let there: Duplex = listener.accept_timeout(PATIENCE).unwrap();
        here.send(note(1, HEAD)).unwrap();
        assert_eq!(number_of(&there.recv().unwrap()), 1);
        let (x, y) = pair::<u8, u8>();
        there.send_with(note(2, 20_000), vec![y.into()]).unwrap();
        assert_eq!(number_of(&here.recv().unwrap()), 2);
        drop(x);
    };
    // Both sides say goodbye after the drop.
    let wait_for_rest = || wait_for("all to be closed", || (resting() == before).then_some(()));
    (0..100).for_each(|_| once());
    wait_for_rest();
    let memory_before = memory();
    (0..1_000).for_each(|_| once());
    wait_for_rest();
    let after = memory();
    assert!(after <= memory_before + 2 * SLACK, "from {memory_before} to {after} KiB");
}

#[test]
fn a_connection_costs_one_descriptor() {
    const EACH: usize = 50;
    let _alone = Alone::new();
    let listener = remote::listen("tcp://127.0.0.1:0").unwrap();
    let before = descriptors();
    let open = || {
        let here: Duplex = remote::dial(listener.address()).unwrap();
        (here, listener.accept_timeout(PATIENCE).unwrap())
    };
    let ends: Vec<(Duplex, Duplex)> = (0..EACH).map(|_| open()).collect();
    assert_eq!(descriptors() - before, 2 * EACH);
    drop(ends);
    wait_for("the sockets to be closed", || (descriptors() == before).then_some(()));
}
