//! Clients and a server, the real machines, over simulated links in virtual time: cuts at every byte, silence, long
//! absence, restarts. Afterwards every message is accounted for, every request has had one outcome, and nothing is
//! left.
//!
//! A seed determines a run. `FS9_SEED=7` runs that one alone, `FS9_SEEDS=100000` so many, from `FS9_SEED` on if both
//! are given.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[path = "link_simulation/audit.rs"]
mod audit;
#[path = "link_simulation/far.rs"]
mod far;
#[path = "link_simulation/near.rs"]
mod near;
#[path = "link_simulation/random.rs"]
mod random;
#[path = "link_simulation/wire.rs"]
mod wire;

use audit::Audit;
use far::Far;
use near::Near;
use random::Random;
use wire::{To, Wire};

/// Something that is to happen.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    ServerHears(u32, Vec<u8>),
    ClientHears(usize, u32, Vec<u8>),
    ServerSeesEnd(u32),
    ClientSeesEnd(usize, u32),
    Dial(usize),
    Act(usize, usize),
    Fault,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// This and that, again and again.
    Random,
    /// After so many bytes that way the first connection carries no more, and then ends.
    Cut(To, usize),
}

struct World {
    trouble: Trouble,
    now: Instant,
    end: Instant,
    random: Random,
    audit: Audit,
    wire: Wire,
    far: Far,
    near: Vec<Near>,
    /// Nobody can connect before.
    dark_until: Instant,
    agenda: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    planned: u64,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> World {
        let mut random = Random::new(seed);
        let now = Instant::now();
        let channels = 1 + random.below(3) as u8;
        let linger = Duration::from_secs(5 + random.below(25));
        let clients = 1 + random.below(3) as u32;
        let near = (0..clients).map(|number| Near::new(now, number, 2 + random.below(5) as usize, channels, linger));
        let near: Vec<Near> = near.collect();
        let seconds = if let Trouble::Random = trouble { 5 + random.below(40) } else { 1 };
        let mut world = World {
            trouble,
            now,
            end: now + Duration::from_secs(seconds),
            far: Far::new(usize::from(channels), linger),
            audit: Audit::default(),
            wire: Wire::default(),
            dark_until: now,
            agenda: BinaryHeap::new(),
            planned: 0,
            near,
            random,
        };
        for client in 0..world.near.len() {
            world.plan(Duration::from_millis(10), Happening::Dial(client));
            (0..world.near[client].programs()).for_each(|program| world.plan_act(client, program));
        }
        if let Trouble::Random = trouble {
            world.plan(Duration::from_secs(4), Happening::Fault);
        }
        world
    }

    /// `what` happens within `most`.
    fn plan(&mut self, most: Duration, what: Happening) {
        let wait = self.random.wait(most);
        self.plan_at(self.now + wait, what);
    }

    fn plan_at(&mut self, at: Instant, what: Happening) {
        self.planned += 1;
        self.agenda.push(Reverse((at, self.planned, what)));
    }

    fn plan_act(&mut self, client: usize, program: usize) {
        let most = [5, 50, 300, 1500][self.random.below(4) as usize];
        self.plan(Duration::from_millis(most), Happening::Act(client, program));
    }

    fn is_ending(&self) -> bool {
        self.now >= self.end
    }

    fn run(mut self) -> Audit {
        let limit = self.end + Duration::from_secs(200);
        while !(self.is_ending() && self.near.iter().all(Near::is_at_rest) && self.far.is_at_rest()) {
            self.step();
            assert!(self.now < limit, "not at rest: {:#?} {:#?}", self.near, self.far);
        }
        self.near.iter().for_each(Near::check_rest);
        self.far.check_rest();
        self.far.empty(&mut self.audit);
        self.audit.check();
        self.audit
    }

    fn step(&mut self) {
        let timers = self.near.iter().filter_map(Near::next).chain(self.far.next()).min();
        let planned = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let next = timers.into_iter().chain(planned).min().expect("something happens");
        self.now = self.now.max(next);
        if planned.is_some_and(|at| timers.is_none_or(|timer| at <= timer)) {
            let Reverse((_, _, what)) = self.agenda.pop().expect("it was there");
            self.happen(what);
        } else {
            self.near.iter_mut().for_each(|near| near.timeout(self.now, &mut self.audit));
            self.far.timeout(self.now, &mut self.audit);
        }
        self.transmit();
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::ServerHears(at, bytes) => {
                let bytes = self.wire.arrives(at, To::Server, &bytes);
                if !bytes.is_empty() {
                    self.far.bytes(now, at, bytes, &mut self.audit);
                }
            }
            Happening::ClientHears(client, at, bytes) => {
                let bytes = self.wire.arrives(at, To::Client, &bytes);
                if !bytes.is_empty() && self.near[client].connection == Some(at) {
                    self.near[client].bytes(now, bytes, &mut self.audit);
                }
            }
            Happening::ServerSeesEnd(at) => self.far.disconnected(now, at),
            Happening::ClientSeesEnd(client, at) => {
                if self.near[client].connection == Some(at) {
                    self.near[client].disconnected(now, &mut self.audit);
                }
            }
            Happening::Dial(client) => self.dial(client),
            Happening::Act(client, program) => {
                if self.is_ending() {
                    self.near[client].finish(now, program, &mut self.audit);
                } else {
                    self.near[client].act(now, program, &mut self.random, &mut self.audit);
                }
                self.plan_act(client, program);
            }
            Happening::Fault => self.fault(),
        }
    }

    fn dial(&mut self, client: usize) {
        if !self.near[client].is_down {
            return;
        }
        if self.now < self.dark_until && !self.is_ending() {
            return self.plan(Duration::from_secs(1), Happening::Dial(client));
        }
        let at = self.wire.open();
        self.far.accept(self.now, at);
        self.near[client].connected(self.now, at, &mut self.audit);
        if let (Trouble::Cut(to, after), 1) = (self.trouble, at) {
            self.wire.break_off(at, to, after);
            self.plan_at(self.now + Duration::from_millis(500), Happening::ServerSeesEnd(at));
            self.plan_at(self.now + Duration::from_millis(500), Happening::ClientSeesEnd(client, at));
        }
    }

    /// Something breaks, unless the run is to end.
    fn fault(&mut self) {
        if self.is_ending() {
            return;
        }
        self.plan(Duration::from_secs(6), Happening::Fault);
        let client = self.random.below(self.near.len() as u64) as usize;
        let Some(at) = self.near[client].connection else { return };
        let (mut server, mut near) = (self.random.below(400) as usize, self.random.below(400) as usize);
        match self.random.below(20) {
            0 => {
                self.far.restart(&mut self.audit);
                return;
            }
            1 => {
                self.near[client].detach(self.now, &mut self.audit);
                return self.ends(client, at);
            }
            // For longer than anybody waits.
            2 => self.dark_until = self.now + Duration::from_secs(8 + self.random.below(40)),
            3..6 => self.dark_until = self.now + Duration::from_secs(self.random.below(6)),
            // Half open: nobody sees it.
            6..9 => {
                if self.random.percent(50) {
                    self.wire.break_off(at, To::Server, server);
                }
                return self.wire.break_off(at, To::Client, near);
            }
            9..12 => (server, near) = (0, 0),
            _ => {}
        }
        self.wire.break_off(at, To::Server, server);
        self.wire.break_off(at, To::Client, near);
        self.ends(client, at);
    }

    /// A connection ends; both sides see it some time.
    fn ends(&mut self, client: usize, at: u32) {
        let most = [Duration::from_millis(5), Duration::from_secs(2)][self.random.below(2) as usize];
        self.plan(most, Happening::ServerSeesEnd(at));
        self.plan(most, Happening::ClientSeesEnd(client, at));
    }

    fn transmit(&mut self) {
        for client in 0..self.near.len() {
            if let Some(at) = self.near[client].closed() {
                self.wire.close(at);
                self.plan(Duration::from_millis(100), Happening::ServerSeesEnd(at));
                self.plan(Duration::from_millis(800), Happening::Dial(client));
            }
            let Some(at) = self.near[client].connection else { continue };
            while let Some(frame) = self.near[client].output() {
                for (when, piece) in self.wire.send(self.now, at, To::Server, &frame, &mut self.random) {
                    self.plan_at(when, Happening::ServerHears(at, piece));
                }
            }
        }
        let (out, closed) = self.far.output();
        for (at, frame) in out {
            let Some(client) = self.near.iter().position(|near| near.connection == Some(at)) else { continue };
            for (when, piece) in self.wire.send(self.now, at, To::Client, &frame, &mut self.random) {
                self.plan_at(when, Happening::ClientHears(client, at, piece));
            }
        }
        for at in closed {
            if let Some(client) = self.near.iter().position(|near| near.connection == Some(at)) {
                self.plan(Duration::from_millis(100), Happening::ClientSeesEnd(client, at));
            }
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_or_doubled_whatever_the_link_does() {
    let first = number("FS9_SEED");
    let count = number("FS9_SEEDS").unwrap_or(if first.is_some() { 1 } else { 1000 });
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + count;
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    for seed in seeds.clone() {
        let run = catch_unwind(AssertUnwindSafe(|| World::new(seed, Trouble::Random).run()));
        let audit = run.unwrap_or_else(|_| panic!("replay with FS9_SEED={seed}"));
        audit.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{seeds:?}: {counts:?}");
    if seeds.end - seeds.start >= 100 {
        let seen = ["resumed", "session lost", "unknown", "not sent", "late", "given back", "unreachable", "restart"];
        assert!(seen.iter().all(|what| counts.contains_key(what)), "a simulation without some of {seen:?}: {counts:?}");
    }
}

#[test]
fn a_connection_may_end_after_any_byte() {
    for (to, after) in (0..2000).flat_map(|after| [(To::Server, after), (To::Client, after)]) {
        let run = catch_unwind(AssertUnwindSafe(|| World::new(7, Trouble::Cut(to, after)).run()));
        assert!(run.is_ok(), "after {after} bytes to the {to:?}");
    }
}
