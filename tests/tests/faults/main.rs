//! Two nodes on two machines, as far as the network is concerned, and everything that happens to links and processes:
//! `FS9_FAULTS` of them (300), drawn from `FS9_SEED` (any; it is printed), while processes on both sides send and
//! receive. Nothing is lost without an error, nothing comes twice but what a lost reader had in hand, nothing comes to
//! the wrong place, and afterwards both nodes have what they had before.
#![allow(clippy::unwrap_used, reason = "a failed test")]

mod audit;
mod boundaries;
mod bridge;
mod crew;
mod dice;
mod log;
mod network;
mod node;
mod wire;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fs9_tests::process::Resources;
use fs9_tests::setup::set_up;
use fs9_tests::{DEADLINE, wait_for, waiter};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use audit::{Known, audit};
use bridge::Weather;
use crew::Crew;
use dice::Dice;
use network::{FAR, Network};
use node::{Nodes, QUEUES, Side, TALKS};
use wire::{Break, Wire};

/// How much more memory a node may use afterwards, in KiB: what its heap keeps for the next time.
const MORE: usize = 8192;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// For so long, packets are late, lost, overtake each other, or do not come through in one or both directions.
    Weather(Weather, Duration),
    /// One of the connections is reset at a frame's end or within a frame, or one of its sides hears nothing of it.
    Break(Break),
    /// The kernel resets all connections, at that side.
    Reset(Side),
    /// A node stands still for so long.
    Stop(Side, Duration),
    /// kill -9 of a node.
    Kill(Side),
    /// kill -9 of a process that sends or receives.
    Client(u64),
}

impl Fault {
    fn any(dice: &mut Dice) -> Fault {
        let ms = |dice: &mut Dice, most: u64| Duration::from_millis(dice.below(most) + 1);
        let side = dice.one_of(&[Side::Near, Side::Far]);
        let weather = |weather, dice: &mut Dice| Fault::Weather(weather, ms(dice, 300));
        let fair = Weather::default();
        match dice.below(100) {
            0..10 => weather(Weather { delay: ms(dice, 30), ..fair }, dice),
            10..22 => weather(Weather { jitter: ms(dice, 30), ..fair }, dice),
            22..30 => weather(Weather { loss: 5 + dice.below(40), ..fair }, dice),
            30..40 => weather(Weather { cut: [true, true], ..fair }, dice),
            40..50 => weather(Weather { cut: dice.one_of(&[[true, false], [false, true]]), ..fair }, dice),
            // Longer than a link may be down.
            50 => Fault::Weather(Weather { cut: [true, true], ..fair }, Duration::from_millis(2500)),
            51..73 => Fault::Break(Break {
                after: dice.below(30),
                bytes: dice.one_of(&[0, 0, 3, 9, 40]),
                resets: dice.one_of(&[[true, true], [true, true], [true, false], [false, true]]),
            }),
            73..80 => Fault::Reset(side),
            80..88 => Fault::Stop(side, ms(dice, 200)),
            88..91 => Fault::Kill(side),
            _ => Fault::Client(dice.number()),
        }
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn now() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// What there is of a run.
struct Run {
    crew: Crew,
    nodes: Nodes,
    wire: Wire,
    network: Network,
    known: Known,
    /// What near and far used before.
    fresh: [Resources; 2],
}

impl Run {
    fn new(seed: u64, dir: &Path) -> Run {
        let network = Network::new(seed);
        let far = SocketAddr::new(FAR.parse().unwrap(), 5640);
        let wire = network.at_near(move || Wire::to(far));
        let nodes = Nodes::new(&network, dir, &format!("tcp://{}", wire.address()));
        nodes.wait_links();
        let fresh = nodes.at_rest();
        Run { crew: Crew::new(dir), nodes, wire, network, known: Known::default(), fresh }
    }

    fn happens(&mut self, fault: Fault) {
        match fault {
            Fault::Weather(weather, time) => {
                self.network.bridge.set(weather);
                thread::sleep(time);
                self.network.bridge.set(Weather::default());
            }
            Fault::Break(place) => {
                self.wire.break_at(place);
                // Where there is no traffic just now it comes later, or gives way to the next one.
                let (before, start) = (self.wire.broken(), Instant::now());
                while self.wire.broken() == before && start.elapsed() < Duration::from_millis(200) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Fault::Reset(side) => self.network.reset(side == Side::Far),
            Fault::Stop(side, time) => {
                self.nodes.signal(side, Signal::STOP);
                thread::sleep(time);
                self.nodes.signal(side, Signal::CONT);
            }
            Fault::Kill(side) => {
                self.nodes.kill(side);
                match side {
                    // What was sent before this went with it, and what is sent from now on goes to another one.
                    Side::Far => self.known.far_killed.push(now()),
                    // An attachment whose first connection breaks is none, and says so.
                    Side::Near => {
                        self.wire.take_back();
                    }
                }
                self.nodes.revive(side);
            }
            Fault::Client(which) => self.crew.replace(which as usize % self.crew.len()),
        }
    }

    /// Waits until something has moved in every channel since `before`.
    fn wait_moved(&self) {
        let channels = || QUEUES.iter().chain(&TALKS);
        let before: Vec<u64> = channels().map(|channel| self.crew.moved(channel)).collect();
        for (channel, before) in channels().zip(before) {
            wait_for(&format!("something to move in {channel}"), || (self.crew.moved(channel) > before).then_some(()));
        }
    }

    /// Ends everybody in an order that leaves nothing in the queues.
    fn end(&mut self) {
        self.wire.take_back();
        self.crew.end(|part| part.does == "send" || part.does == "talk");
        self.crew.end(|part| part.does == "receive" && part.side == Side::Near);
        self.crew.end(|part| part.does == "receive");
        // What is still there is for readers on the node itself.
        for channel in QUEUES {
            self.crew.start(crew::Part { does: "receive", side: Side::Far, path: channel, channel });
        }
        for channel in QUEUES {
            self.nodes.far.wait_channel(channel, "everything has been received", |channel| {
                let lane = &channel["lanes"][0];
                lane["slot"] == 0 && (lane["held"] == 0 || channel["holders"].as_array().unwrap().len() == 1)
            });
        }
        self.crew.end(|_| true);
        for mount in [&self.nodes.near, &self.nodes.far] {
            waiter::wait_all_released(mount);
            mount.assert_ledgers_balance();
        }
    }
}

#[test]
fn nothing_is_lost_without_an_error_and_nothing_comes_twice_whatever_happens() {
    set_up();
    let any = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let (seed, faults) = (setting("FS9_SEED").unwrap_or(any), setting("FS9_FAULTS").unwrap_or(300));
    println!("FS9_SEED={seed} FS9_FAULTS={faults}");
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(seed);
    let mut run = Run::new(seed, dir.path());
    run.wait_moved();
    for number in 1..=faults {
        let fault = Fault::any(&mut dice);
        println!("{:.3} {number}: {fault:?}", now());
        run.happens(fault);
        if number % 10 == 0 {
            run.wait_moved();
        }
    }
    run.end();
    let witnesses = run.crew.witnesses();
    for channel in QUEUES.iter().chain(&TALKS) {
        println!("{channel}: {:?}", audit(channel, &witnesses, &run.known));
    }
    println!("{} connections were broken", run.wire.broken());
    comes_to_rest(&run);
}

/// Both nodes use what they used before anybody came: the same descriptors and threads, and hardly more memory.
fn comes_to_rest(run: &Run) {
    run.nodes.wait_links();
    let (mut used, start) = (run.nodes.at_rest(), Instant::now());
    let rests = |(now, fresh): (&Resources, &Resources)| {
        (now.descriptors, now.threads) == (fresh.descriptors, fresh.threads) && now.memory < fresh.memory + MORE
    };
    while !used.iter().zip(&run.fresh).all(rests) {
        // Sessions of nodes that were killed are waited for as long as a link may be down.
        assert!(start.elapsed() < DEADLINE, "near and far use {used:?} and used {:?}", run.fresh);
        thread::sleep(Duration::from_millis(50));
        used = run.nodes.at_rest();
    }
    println!("near and far use {used:?} and used {:?}", run.fresh);
}
