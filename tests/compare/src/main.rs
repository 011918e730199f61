//! Peers over TCP against what others send messages between machines with, in one run.
//!
//! ```text
//! tests/compare/setup                      # installs libnng and nats-server; as root
//! cd tests/compare && cargo run --release  # or with: -- request, large
//! ```
//!
//! Everything is measured in turn, in fresh processes, by the same means as in `tiers/benches/speed`, which says how to
//! read the tables. NNG and ZeroMQ have threads of their own that do the input and output; NATS goes through a server;
//! gRPC and NATS run on Tokio, on one thread in each process, which is their fastest here. Nobody encrypts. A package
//! outside of the workspace, because nobody needs its dependencies to build or to test fs9.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by panicking")]

mod grpc;
#[allow(dead_code, reason = "the rest is for what is not remote")]
#[path = "../../../tiers/benches/speed/large.rs"]
mod large;
#[path = "../../../tiers/benches/speed/measure.rs"]
mod measure;
mod nats;
mod nng;
#[path = "../../../tiers/benches/speed/quiet.rs"]
mod quiet;
#[path = "../../../tiers/benches/speed/remote.rs"]
mod remote;
#[allow(dead_code, reason = "the rest is for what is not remote")]
#[path = "../../../tiers/benches/speed/subject.rs"]
mod subject;
#[path = "../../../tiers/benches/speed/table.rs"]
mod table;
mod zeromq;

use measure::Figure::{self, Mean, P50};
use subject::Place::{Pinned, Unpinned};
use subject::Subject;
use table::{Goal, Section};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let sections = [requests(), one_way()];
    if let Some("play" | "echo") = args.first().map(String::as_str) {
        let subjects: Vec<Subject> = sections.into_iter().flat_map(|section| section.subjects).collect();
        return Subject::run(&subjects, &args);
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(arg.as_str()));
    sections.iter().filter(|section| wanted(section.name)).for_each(Section::run);
}

fn requests() -> Section {
    let title = "two processes over TCP, a request and a reply of 64 B";
    section(
        "request",
        title,
        P50,
        remote::PEERS,
        &[remote::TCP],
        &[nng::REQUESTS, zeromq::REQUESTS, nats::REQUESTS, grpc::REQUESTS],
    )
}

/// Without NATS, where a publisher is not held back by who reads: the server drops what is too much.
fn one_way() -> Section {
    let title = "two processes over TCP, 1 MiB one way after the other";
    section("large", title, Mean, remote::LONG, &[remote::STREAM], &[nng::ONE_WAY, zeromq::ONE_WAY, grpc::ONE_WAY])
}

/// Ours is to be at least as fast as each of the `others`; `beside` only stand there.
fn section(
    name: &'static str,
    title: &'static str,
    figure: Figure,
    ours: Subject,
    beside: &[Subject],
    others: &[Subject],
) -> Section {
    let goal = |other: &Subject| {
        [Unpinned, Pinned].map(|at| Goal { at, figure, of: ours.name, against: other.name, at_most: 1.0 })
    };
    Section { name, title, subjects: [&[ours], beside, others].concat(), goals: others.iter().flat_map(goal).collect() }
}
