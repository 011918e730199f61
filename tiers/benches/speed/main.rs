//! How fast a peer is, against the channels of others in the same run.
//!
//! `cargo bench -p fs9-tiers --bench speed [-- NAME...]`, where NAME is thread, process, large, remote or idle.
//! Everything is measured in turn, several times; the figures are medians, in microseconds. Pinned means both parties
//! on processor 0. Unpinned is what users see, which is now one processor and now two: the kernel often keeps the
//! parties together, above all when somebody else uses the machine. Apart is each on a processor of its own, and has
//! the goals of unpinned. A ratio is ours by the subject of its row, the median of those of each turn. Needs two
//! processors, and an otherwise idle machine: waits for one, within limits, and says when it was not.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by panicking")]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod floor;
mod idle;
mod in_place;
mod large;
mod measure;
mod ours;
mod processes;
mod quiet;
mod remote;
mod subject;
mod table;
mod threads;

use measure::Figure::{Mean, P50, P99};
use subject::Place::{Pinned, Unpinned};
use subject::Subject;
use table::{Goal, Section};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let sections = [thread(), process(), large(), remote(), remote_large()];
    if let Some("play" | "echo") = args.first().map(String::as_str) {
        let subjects: Vec<Subject> = sections.into_iter().flat_map(|section| section.subjects).collect();
        return Subject::run(&[subjects, vec![ours::IDLE]].concat(), &args);
    }
    if let Some("wait") = args.first().map(String::as_str) {
        return idle::run_one(&args[1]);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(arg.as_str()));
    sections.iter().filter(|section| wanted(section.name)).for_each(Section::run);
    if wanted("idle") {
        idle::run();
    }
}

fn thread() -> Section {
    let goal = |at, figure, against, at_most| Goal { at, figure, of: ours::THREADS.name, against, at_most };
    Section {
        name: "thread",
        title: "two threads, a round trip of 64 B",
        subjects: [vec![ours::THREADS], threads::OTHERS.to_vec()].concat(),
        goals: vec![
            goal(Unpinned, P50, "crossbeam", 1.0),
            goal(Unpinned, Mean, "kanal", 1.0),
            goal(Unpinned, P99, "kanal", 1.0),
            goal(Pinned, P50, "kanal", 1.0),
        ],
    }
}

fn process() -> Section {
    let goal = |at, against: Subject, at_most| Goal {
        at,
        figure: P50,
        of: ours::PROCESSES.name,
        against: against.name,
        at_most,
    };
    let both = |against, at_most| [Unpinned, Pinned].map(|at| goal(at, against, at_most));
    Section {
        name: "process",
        title: "two processes, a round trip of 64 B",
        subjects: [vec![ours::PROCESSES], processes::OTHERS.to_vec()].concat(),
        goals: [
            vec![goal(Unpinned, floor::SPINNING, 1.3), goal(Pinned, floor::SLEEPING, 1.1)],
            both(processes::IPC_CHANNEL, 1.0 / 3.0).to_vec(),
            both(processes::ICEORYX2, 1.0).to_vec(),
        ]
        .concat(),
    }
}

fn remote() -> Section {
    let of = remote::PEERS.name;
    let goal = |at| Goal { at, figure: P50, of, against: remote::TCP.name, at_most: 1.3 };
    Section {
        name: "remote",
        title: "two processes and a TCP connection, a round trip of 64 B",
        subjects: vec![remote::PEERS, remote::TCP],
        goals: [Unpinned, Pinned].map(goal).to_vec(),
    }
}

fn remote_large() -> Section {
    let of = remote::LONG.name;
    let goal = |at| Goal { at, figure: Mean, of, against: remote::STREAM.name, at_most: 1.25 };
    Section {
        name: "remote, large",
        title: "two processes and a TCP connection, 1 MiB one way after the other",
        subjects: vec![remote::LONG, remote::STREAM],
        goals: [Unpinned, Pinned].map(goal).to_vec(),
    }
}

fn large() -> Section {
    let both =
        |figure, of, against, at_most| [Unpinned, Pinned].map(|at| Goal { at, figure, of, against, at_most }).to_vec();
    Section {
        name: "large",
        title: "two processes, 1 MiB one way after the other; and round trips in place",
        subjects: [&[ours::VECTORS][..], &in_place::SUBJECTS, &[large::STREAM]].concat(),
        goals: [both(P50, in_place::COPIES, large::STREAM.name, 0.5), both(P50, in_place::LARGE, in_place::SMALL, 1.2)]
            .concat(),
    }
}
