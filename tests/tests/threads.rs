//! A mount with four loop threads does what one with one does.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeMap;
use std::thread;

use fs9_tests::Mount;
use fs9_tests::file::Fd;
use fs9_tests::process::resources;
use fs9_tests::waiter::{Waiter, report, wait_all_released, wait_opens};
use rustix::process::Signal;

/// Writers and readers of the stream, and messages of each writer.
const PARTIES: usize = 4;
const EACH: usize = 5_000;
/// Room for any of them. A reader who offers more pays for it: the kernel takes hold of every page.
const ROOM: usize = 4_096;

fn with_threads() -> Mount {
    let mount = Mount::with(&["--threads", "4"]);
    mount.run("fs9 new p/q; printf first > p/full; fs9 new --pair p/pair");
    mount
}

#[test]
fn there_are_four_loop_threads() {
    let (one, four) = (Mount::new(), with_threads());
    assert_eq!(resources(four.server()).threads, resources(one.server()).threads + 3);
}

#[test]
fn messages_pass_and_round_trips_return() {
    let mount = with_threads();
    assert_eq!(mount.run("echo hi > p/jobs; head -n1 p/jobs 2>/dev/null; cat p/full:whole"), "hi\nfirst");
    let (a, b) = (Fd::both(mount.path("pair/a")), Fd::both(mount.path("pair/b")));
    let echo = thread::spawn(move || {
        for _ in 0..1_000 {
            b.write(b.text()).unwrap();
        }
    });
    for round in 0..1_000 {
        let text = format!("round {round}");
        a.write(text.as_str()).unwrap();
        assert_eq!(a.text(), text);
    }
    echo.join().unwrap();
    mount.assert_ledgers_balance();
}

#[test]
fn every_message_of_four_writers_reaches_one_of_four_readers_once_and_whole() {
    let mount = with_threads();
    let writers = (0..PARTIES).map(|writer| {
        let path = mount.path("q");
        thread::spawn(move || {
            let fd = Fd::writer(path);
            for number in 0..EACH {
                fd.write(message(writer, number)).unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..PARTIES).map(|_| {
        let path = mount.path("q");
        thread::spawn(move || {
            let fd = Fd::reader(path);
            (0..EACH).map(|_| String::from_utf8(fd.read(ROOM).unwrap()).unwrap()).collect::<Vec<_>>()
        })
    });
    let readers: Vec<_> = readers.collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut times = BTreeMap::new();
    for reader in readers {
        let mut last = [None; PARTIES];
        for text in reader.join().unwrap() {
            let (writer, number) = numbers(&text);
            assert!(text == message(writer, number), "a message is not whole: {text:?}");
            assert!(
                last[writer] < Some(number),
                "writer {writer}'s {number} came to a reader after {:?}",
                last[writer]
            );
            last[writer] = Some(number);
            *times.entry((writer, number)).or_insert(0) += 1;
        }
    }
    assert_eq!(times.len(), PARTIES * EACH);
    assert!(times.values().all(|times| *times == 1), "a message was received twice");
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
    assert_eq!(mount.figure("q", "received"), (PARTIES * EACH) as u64);
}

/// A message that says whose it is, and is longer the later it is.
fn message(writer: usize, number: usize) -> String {
    format!("{writer} {number} {}", "x".repeat(number % 3_000))
}

fn numbers(text: &str) -> (usize, usize) {
    let mut words = text.split(' ').map(|word| word.parse().unwrap());
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn whoever_is_killed_or_interrupted_is_gone_at_once_and_nothing_is_lost() {
    let mount = with_threads();
    let mut latencies = Vec::new();
    for round in 0..20 {
        for (does, path) in [("read", "q"), ("write", "full"), ("append", "full"), ("sync", "full"), ("read", "pair/a")]
        {
            let mut waiter = Waiter::new(does, mount.path(path), &[]).blocked(&mount);
            if round % 2 == 0 {
                latencies.push(waiter.killed());
            } else {
                waiter.signal(Signal::INT);
                assert_eq!(waiter.said(), "EINTR");
            }
            wait_all_released(&mount);
        }
    }
    report("with four loop threads", latencies);
    assert_eq!((mount.figure("q", "sent"), mount.figure("full", "sent"), mount.figure("full", "slot")), (0, 1, 1));

    let mut holder = Waiter::new("hold", mount.path("full"), &[]);
    assert_eq!(holder.line(), "read 5 first");
    holder.killed();
    wait_all_released(&mount);
    assert_eq!(mount.run("cat p/full:whole"), "first");
    mount.assert_ledgers_balance();
}

/// An interrupt may overtake its request on the way through two loop threads.
#[test]
fn interrupts_that_come_with_the_request_are_not_lost() {
    let mount = with_threads();
    let mut readers: Vec<Waiter> = (0..64).map(|_| Waiter::new("read", mount.path("q"), &[])).collect();
    let before = resources(mount.server()).threads;
    for reader in &readers {
        reader.signal(Signal::KILL);
    }
    readers.drain(..).for_each(|mut reader| assert!(!reader.status().success()));
    wait_opens(&mount, 0);
    assert_eq!((mount.figure("q", "readers"), resources(mount.server()).threads), (0, before));
    mount.run("printf message > p/q");
    assert_eq!(mount.run("cat p/q:whole"), "message");
}
