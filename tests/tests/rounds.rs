//! A thousand rounds of processes killed at random moments: every message is accounted for, and the server is back
//! where it was.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use fs9_tests::Mount;
use fs9_tests::process::resources;
use fs9_tests::waiter::{Waiter, compiled, wait_all_released, wait_nothing_kept};

/// How much more memory the server may have afterwards, in KiB: what an allocator keeps.
const KEPT: usize = 8 * 1024;

/// What was counted at one channel, see `storm.c`.
#[derive(Debug)]
struct Counted {
    name: String,
    sent: u64,
    maybe: u64,
    got: u64,
    again: u64,
    lost: u64,
}

/// A seed for this run, or the one in FS9_SEED.
fn seed() -> u64 {
    let seed = std::env::var("FS9_SEED").map(|text| text.parse().unwrap());
    seed.unwrap_or_else(|_| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// Runs the rounds on a mount with the four channels, and says what was counted.
fn storm(mount: &Mount, seed: u64, rounds: u32) -> Vec<Counted> {
    println!("FS9_SEED={seed}");
    let mut command = Command::new(compiled("storm", include_str!("rounds/storm.c")));
    command.arg(mount.path("")).args([seed.to_string(), rounds.to_string()]);
    let mut storm = Waiter::talking(&mut command);
    assert_eq!(storm.line(), "over");
    // A process is gone before the kernel has told the server so; only then is what it held back in the channel.
    wait_all_released(mount);
    storm.tell("go on\n");
    let said = storm.said();
    wait_all_released(mount);
    let (counts, rest) = said.rsplit_once('\n').unwrap();
    let (longest, broken) = rest.split_once(' ').unwrap();
    println!("{rounds} rounds: at most {longest} us from kill -9 to the end of a process");
    assert_eq!(broken, "0", "messages that were not whole, or that nobody wrote there");
    assert!(longest.parse::<u64>().unwrap() < 2_000_000, "a killed process was there for {longest} us");
    counts.lines().map(counted).collect()
}

fn counted(line: &str) -> Counted {
    let mut words = line.split(' ');
    let name = words.next().unwrap().to_owned();
    let mut figure = || words.next().unwrap().parse().unwrap();
    Counted { name, sent: figure(), maybe: figure(), got: figure(), again: figure(), lost: figure() }
}

/// A figure of all lanes of a channel.
fn total(mount: &Mount, channel: &str, figure: &str) -> u64 {
    let channel = mount.channel(channel);
    channel["lanes"].as_array().unwrap().iter().map(|lane| lane[figure].as_u64().unwrap()).sum()
}

fn dropped(mount: &Mount, channel: &str) -> u64 {
    let channel = mount.channel(channel);
    let lanes = channel["lanes"].as_array().unwrap().iter();
    lanes.flat_map(|lane| lane["dropped"].as_object().unwrap().values()).map(|count| count.as_u64().unwrap()).sum()
}

/// Rounds until everything has been used once, then `rounds` that are counted, on channels of their own.
fn rounds(args: &[&str], rounds: u32) {
    let seed = seed();
    let mount = Mount::with(args);
    let make = "fs9 new p/q; fs9 new p/s; fs9 new --ack p/ack; fs9 new --pair p/pair";
    mount.run(make);
    storm(&mount, seed ^ 1, rounds / 10);
    mount.run("rm p/q p/s p/ack; fs9 rm p/pair");
    mount.run(make);
    wait_all_released(&mount);
    let before = resources(mount.server());

    for count in storm(&mount, seed, rounds) {
        let name = &count.name;
        let (sent, received) = (total(&mount, name, "sent"), total(&mount, name, "received"));
        println!("{count:?}: sent {sent}, received {received}");
        assert!(count.sent > 0 && count.got > 0, "{count:?}: nothing happened");
        assert!((count.sent..=count.sent + count.maybe).contains(&sent), "sent {sent}: {count:?}");
        assert_eq!((total(&mount, name, "slot"), total(&mount, name, "held")), (0, 0), "{name}");
        if name == "pair" {
            assert!(count.lost <= dropped(&mount, name), "{:#}", mount.channel(name));
            assert!((received..=sent).contains(&count.got), "received {received}, sent {sent}: {count:?}");
        } else {
            assert_eq!((count.lost, dropped(&mount, name)), (0, 0), "{count:?}: {:#}", mount.channel(name));
            assert_eq!((count.got, received), (sent, sent), "{count:?}: {:#}", mount.channel(name));
            assert!(count.again <= total(&mount, name, "redelivered"), "{count:?}: {:#}", mount.channel(name));
        }
        assert!(mount.channel(name)["holders"].as_array().unwrap().is_empty());
    }
    mount.assert_ledgers_balance();
    wait_nothing_kept(&mount);
    let after = resources(mount.server());
    assert_eq!((after.descriptors, after.threads), (before.descriptors, before.threads));
    assert!(after.memory <= before.memory + KEPT, "the server has grown from {before:?} to {after:?}");
    println!("the server before: {before:?}, after: {after:?}");
}

#[test]
fn a_thousand_rounds_of_processes_killed_at_random_moments() {
    rounds(&[], 1000);
}

#[test]
fn as_many_rounds_with_four_loop_threads() {
    rounds(&["--threads", "4"], 1000);
}
