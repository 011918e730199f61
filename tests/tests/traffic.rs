//! A million messages: each received exactly once, whole, and in the order of its writer.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::io::read_to_string;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use fs9_tests::process::Running;
use fs9_tests::{DEADLINE, Mount};

const READERS: usize = 8;
/// Half of the readers take every message at once, half take long ones in pieces.
const BUFFERS: [usize; 2] = [1_044_480, 4096];

fn party(role: &str, path: &Path, numbers: &[usize]) -> Running {
    let numbers = numbers.iter().map(usize::to_string);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fs9-party"));
    Running::new(command.arg(role).arg(path).args(numbers).stdout(Stdio::piped()))
}

/// Waits for every party to end well, however long that takes as long as messages pass.
fn wait_for_all(mount: &Mount, parties: &mut [Running]) {
    let (mut last, mut since) = (0, Instant::now());
    while !parties.iter_mut().all(|party| party.try_wait().unwrap().is_some()) {
        let sent = |lane: &serde_json::Value| lane["sent"].as_u64().unwrap();
        let status = mount.status();
        let lanes =
            status["channels"].as_array().unwrap().iter().flat_map(|channel| channel["lanes"].as_array().unwrap());
        let passed = lanes.map(sent).sum();
        if passed > last {
            (last, since) = (passed, Instant::now());
        }
        assert!(since.elapsed() < DEADLINE, "nothing has passed for {DEADLINE:?}: {status:#}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for party in parties {
        assert!(party.wait().unwrap().success(), "a party has failed, see above");
    }
}

/// What a reader says of its writers, a line each.
fn seen(mut reader: Running) -> Vec<String> {
    let said = read_to_string(reader.stdout.take().unwrap()).unwrap();
    assert!(reader.wait().unwrap().success(), "a reader has failed, see above");
    said.lines().map(str::to_owned).collect()
}

/// Passes `count` messages from each of `writers` processes to eight readers over one queue.
fn pass(mount: &Mount, writers: usize, count: usize) {
    let jobs = mount.path("jobs");
    mount.run("fs9 new p/jobs");
    let start = Instant::now();
    let readers: Vec<Running> = (0..READERS).map(|n| party("read", &jobs, &[writers, count, BUFFERS[n % 2]])).collect();
    mount.wait_figure("jobs", "readers", READERS as u64);
    let mut sending: Vec<Running> = (0..writers).map(|n| party("write", &jobs, &[n, count])).collect();
    wait_for_all(mount, &mut sending);
    let total = (writers * count) as u64;
    mount.wait_figure("jobs", "received", total);
    let took = start.elapsed();
    eprintln!("{total} messages in {took:.1?}: {:.1?} each", took / total as u32);
    assert_eq!(mount.figure("jobs", "sent"), total);
    assert_eq!(mount.figure("jobs", "redelivered"), 0);
    mount.assert_ledgers_balance();

    mount.run("rm p/jobs"); // and with it every reader comes to the end
    let seen: Vec<Vec<String>> = readers.into_iter().map(seen).collect();
    for writer in 0..writers {
        for number in 0..count {
            let times = seen.iter().filter(|reader| reader[writer].as_bytes()[number] == b'x').count();
            assert_eq!(times, 1, "message {number} of writer {writer}");
        }
    }
    for (number, reader) in seen.iter().enumerate() {
        let got = reader.iter().flat_map(|line| line.bytes()).filter(|byte| *byte == b'x').count();
        assert!(got > 0, "reader {number} had no turn");
    }
}

#[test]
fn a_million_messages_from_8_writers_reach_8_readers_once_each_and_in_order() {
    pass(&Mount::new(), 8, 125_000);
}

#[test]
fn several_loop_threads_keep_the_order_too() {
    pass(&Mount::with(&["--threads", "4"]), 8, 12_500);
}

#[test]
fn pairs_carry_messages_both_ways_at_once() {
    const COUNT: usize = 12_500;
    let mount = Mount::new();
    let names = ["alpha", "beta", "gamma", "delta"];
    let mut ends = Vec::new();
    for name in names {
        mount.run(&format!("fs9 new --pair p/{name}"));
    }
    let start = Instant::now();
    for (name, end) in names.iter().flat_map(|name| [(name, "a"), (name, "b")]) {
        let size = BUFFERS[usize::from(end == "b")];
        ends.push(party("duplex", &mount.path(&format!("{name}/{end}")), &[size, COUNT]));
    }
    wait_for_all(&mount, &mut ends);
    let (took, total) = (start.elapsed(), ends.len() * COUNT);
    eprintln!("{total} messages on {} pairs in {took:.1?}: {:.1?} each", names.len(), took / total as u32);
    for end in ends {
        assert_eq!(seen(end), ["x".repeat(COUNT)]);
    }
    for name in names {
        for lane in mount.channel(name)["lanes"].as_array().unwrap() {
            assert_eq!((&lane["sent"], &lane["received"]), (&COUNT.into(), &COUNT.into()), "{name}: {lane}");
        }
    }
    mount.assert_ledgers_balance();
}
