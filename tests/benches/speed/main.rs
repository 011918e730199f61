//! How fast a mount is, as ratios against the smallest possible FUSE server (`floor/fusefloor.c`) in the same run.
//!
//! `cargo bench -p fs9-tests [-- NAME...]`. Everything is measured in turn, floor and fs9, several times; the figures
//! are medians. Pinned means server and clients on one processor (stable); unpinned is what users see. Needs root, gcc
//! and taskset, and an otherwise idle machine.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by panicking")]

mod clients;
mod nine;
mod servers;
mod tls;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clients::{Kind, Sample};
use servers::{Floor, Nodes, Ours, Place};

/// How often each is measured; odd, so that the median is one of them.
const TURNS: usize = 7;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some("client") = args.first().map(String::as_str) {
        return clients::run(&args[1..]);
    }
    let tools = tempfile::tempdir().unwrap();
    for program in ["forkcat", "fusefloor", "pingpong"] {
        let source = format!("{}/benches/speed/floor/{program}.c", env!("CARGO_MANIFEST_DIR"));
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-o"]).arg(tools.path().join(program)).arg(source).arg("-lrt");
        assert!(gcc.status().unwrap().success(), "gcc cannot build {program}");
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(arg.as_str()));
    println!("{:<42} {:>12} {:>12} {:>8} {:>8}", "", "floor", "fs9", "ratio", "at most");
    for place in [Place::Pinned, Place::Unpinned] {
        let round_trip = if place == Place::Pinned { 1.10 } else { 0.70 };
        let large = if place == Place::Pinned { 1.10 } else { 1.0 };
        for (name, kind, at_most) in [
            ("round trip 64 B", Kind::RoundTrip { bytes: 64, rounds: 4000 }, round_trip),
            ("round trip 1,000,000 B", Kind::RoundTrip { bytes: 1_000_000, rounds: 200 }, large),
            ("open write close, same process", Kind::OpenWriteClose { rounds: 4000 }, 1.3),
            ("open write close, fresh process", Kind::FreshProcess { rounds: 200 }, 1.3),
        ] {
            let title = format!("{name}, {place}");
            if wanted(&title) {
                let floor = Floor::up(tools.path(), place);
                let ours = Ours::up(place);
                let ours_ends = if matches!(kind, Kind::RoundTrip { .. }) { ours.ends() } else { ours.queue() };
                compare(
                    &title,
                    at_most,
                    || kind.measure(floor.ends(), place),
                    || kind.measure(ours_ends.clone(), place),
                );
            }
        }
    }
    for place in [Place::Pinned, Place::Unpinned] {
        let title = format!("connection 64 B, {place}, pair=floor");
        if wanted(&title) {
            let ours = Ours::up(place);
            let kind = Kind::RoundTrip { bytes: 64, rounds: 4000 };
            compare(&title, 1.05, || kind.measure(ours.ends(), place), || kind.measure(ours.connection(), place));
        }
    }
    for place in [Place::Pinned, Place::Unpinned] {
        // 65,512 bytes are what one frame of diod's holds, ours hold a whole message.
        for (bytes, rounds) in [(64, 4000), (4096, 4000), (65_512, 1000), (1_000_000, 200)] {
            let title = format!("Twrite and Tread of {bytes} B, {place}, diod=floor");
            if wanted(&title) {
                let (diod, ours) = (nine::Diod::up(place), Ours::up(place));
                let measure = |port, tree: &str| nine::write_and_read(port, tree, bytes, rounds, place);
                compare(&title, 1.0, || measure(diod.port(), diod.tree()), || measure(ours.port(), "/"));
            }
        }
    }
    if wanted("64 pairs at once") {
        let floors: Vec<Floor> = (0..64).map(|_| Floor::up(tools.path(), Place::Unpinned)).collect();
        let ours = Ours::with_pairs(64);
        let kind = Kind::Crowd { rounds: 300 };
        let floor_ends: Vec<_> = floors.iter().map(Floor::ends).collect();
        compare("64 pairs at once, time", 1.0, || kind.crowd(&floor_ends), || kind.crowd(&ours.all_ends()));
    }
    if wanted("fifo") {
        let fifo = || clients::pingpong(tools.path(), &["fifo", "200", "1000000"], Place::Unpinned);
        let ours = Ours::up(Place::Unpinned);
        let kind = Kind::RoundTrip { bytes: 1_000_000, rounds: 200 };
        compare("1,000,000 B, unpinned, FIFO=floor", 1.0, fifo, || kind.measure(ours.ends(), Place::Unpinned));
    }
    for place in [Place::Pinned, Place::Unpinned] {
        let title = format!("a program's first reply, {place}");
        if wanted(&title) {
            let ours = Ours::up(place);
            let cat = ours.program();
            let path = cat.to_str().unwrap();
            let measure = |args: &[&str]| clients::measured(tools.path(), "forkcat", args, place);
            compare(&title, 1.5, || measure(&["200"]), || measure(&["200", path]));
        }
    }
    for place in [Place::Pinned, Place::Unpinned] {
        let title = format!("attached pair 64 B, {place}, floor + 2 TCP");
        if wanted(&title) {
            let (floor, nodes) = (Floor::up(tools.path(), place), Nodes::up(place));
            let kind = Kind::RoundTrip { bytes: 64, rounds: 4000 };
            let tcp = || clients::pingpong(tools.path(), &["tcp", "4000", "64"], place);
            let both = || kind.measure(floor.ends(), place) + 2.0 * tcp();
            compare(&title, 1.0, both, || kind.measure(nodes.ends(), place));
        }
        let title = format!("attached pair 64 B, {place}, two floors");
        if wanted(&title) {
            let ([far, near], nodes) = (Floor::attached(tools.path(), place), Nodes::up(place));
            let kind = Kind::RoundTrip { bytes: 64, rounds: 4000 };
            let ends = [&near.ends()[0], &far.ends()[1]].map(PathBuf::clone);
            compare(&title, 1.25, || kind.measure(ends.clone(), place), || kind.measure(nodes.ends(), place));
        }
    }
    for place in [Place::Pinned, Place::Unpinned] {
        let title = format!("first message through TLS, {place}");
        if wanted(&title) {
            let (bare, nodes) = (tls::Bare::up(place), Nodes::through_tls(place));
            compare(&title, 2.0, || bare.measure(place), || tls::attach(&nodes, place));
        }
        let title = format!("attached pair 64 B, {place}, TLS to TCP");
        if wanted(&title) {
            let (tcp, tls) = (Nodes::up(place), Nodes::through_tls(place));
            let kind = Kind::RoundTrip { bytes: 64, rounds: 4000 };
            compare(&title, 1.25, || kind.measure(tcp.ends(), place), || kind.measure(tls.ends(), place));
        }
    }
    if wanted("cost") {
        cost();
        idle();
    }
}

/// Measures both in turn and prints the medians and their ratio.
fn compare(title: &str, at_most: f64, floor: impl Fn() -> Sample, ours: impl Fn() -> Sample) {
    let (mut floors, mut fs9s) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        floors.push(floor());
        fs9s.push(ours());
    }
    let (floor, ours) = (median(floors), median(fs9s));
    println!("{title:<42} {floor:>9.1} us {ours:>9.1} us {:>8.2} {at_most:>8.2}", ours / floor);
}

fn median(mut samples: Vec<Sample>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Processor time that a mount uses while nobody uses it, having just been used.
fn idle() {
    let ours = Ours::up(Place::Unpinned);
    Kind::RoundTrip { bytes: 64, rounds: 4000 }.measure(ours.ends(), Place::Unpinned);
    std::thread::sleep(Duration::from_millis(500));
    let before = ours.processor_time();
    std::thread::sleep(Duration::from_secs(3));
    println!("idle for 3 s: {} us of processor time", (ours.processor_time() - before) / 1000);
}

/// What the server does for one message, counted while a pair plays 4000 round trips of 64 bytes (8000 messages).
fn cost() {
    for place in [Place::Pinned, Place::Unpinned] {
        let ours = Ours::up(place);
        let before = ours.counters();
        Kind::RoundTrip { bytes: 64, rounds: 4000 }.measure(ours.ends(), place);
        let after = ours.counters();
        let per = |index: usize| (after[index] - before[index]) as f64 / 8000.0;
        println!(
            "cost per message, {place}: {:.2} reads, {:.2} writes, {:.2} switches (waits {:.2}, preempted {:.2})",
            per(0),
            per(1),
            per(2) + per(3),
            per(2),
            per(3)
        );
    }
}
