//! Nodes come and go through TLS, `FS9_FAULTS` times (60), drawn from `FS9_SEED` (any; it is printed): links are cut at
//! any moment, nodes are killed, refused, and lose what they were granted. Afterwards nothing is left of it on either.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{self, Read as _};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use fs9_tests::file::Fd;
use fs9_tests::keyed::{Node, open};
use fs9_tests::process::{resources, signal};
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::tiers::Random;
use fs9_tests::waiter::wait_all_released;
use fs9_tests::{fs9, wait_for};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;

/// How much more memory a node may use afterwards, in KiB: what its heap keeps for the next time.
const MORE: usize = 8192;

/// How long a link may be away, on both sides.
const LINGER: &str = "--linger=1s";

/// `near` attaches `far`.
struct Two {
    near: Node,
    far: Node,
    /// One that does what it is told, and one that does what it likes.
    ways: [Proxy; 2],
    /// What `near` was granted last.
    grant: String,
    random: Random,
}

/// Somebody who reads until that ends.
type Reader = JoinHandle<io::Result<usize>>;

impl Two {
    fn new(seed: u64) -> Two {
        let (near, far) = (Node::with(&[LINGER]), Node::with(&[LINGER]));
        let target = far.address.replace("tls:", "tcp:");
        let ways = [Fault::None, Fault::Random].map(|fault| Proxy::before(&target, fault, seed));
        let mut two = Two { near, far, ways, grant: String::new(), random: Random(seed | 1) };
        two.furnish();
        two.grant();
        two
    }

    fn furnish(&self) {
        self.far.sh("touch used waited");
    }

    fn grant(&mut self) {
        self.grant = self.far.grant(&["used", "waited"], &self.near, "--read --write --for 1h");
    }

    /// Attaches the far node by some way. Whether that did.
    fn attach(&mut self, more: &[&str]) -> bool {
        let way = &self.ways[usize::from(self.random.below(3) == 0)];
        let (path, address) = (self.near.path("n/far"), way.address().replace("tcp:", "tls:"));
        let options = [&["attach", "--accept-new", LINGER], more].concat();
        fs9(&options).arg(path).arg(address).output().unwrap().status.success()
    }

    /// Sends and receives as far as that goes, and without waiting.
    fn make_use(&self) {
        let Ok(used) = Fd::open(self.near.far("used"), OFlags::RDWR | OFlags::NONBLOCK) else { return };
        for size in [1, 100_000] {
            // Each would wait for a while for a node that is away.
            if used.write(vec![7; size]) == Err(Errno::HOSTUNREACH) || used.read(1 << 20) == Err(Errno::HOSTUNREACH) {
                return;
            }
        }
    }

    /// Somebody reads; nobody will ever write.
    fn reader(&mut self) -> Reader {
        let path = self.near.far("waited");
        let reader = thread::spawn(move || open(&path, true, false)?.read(&mut [0; 9]));
        if self.random.below(2) == 0 {
            let waits = || self.far.mount.figure("waited", "readers") > 0;
            wait_for("a reader, or its end", || (waits() || reader.is_finished()).then_some(()));
        }
        reader
    }

    /// kill -9 of a node, and the same one again.
    fn kill(node: &mut Node) {
        let state = node.state();
        signal(node.mount.server(), Signal::KILL);
        let address = node.address.clone();
        node.mount.up(&["--state", state.to_str().unwrap(), "--listen", &address, LINGER]);
    }

    /// One comes and goes.
    fn happens(&mut self, what: usize) {
        if what < 3 {
            let own = self.near.grant(&["nothing"], &self.near, "--read --for 1h");
            self.far.revoke(&self.grant);
            assert!(!self.attach(&[]) && !self.attach(&["--grant", &own]), "nothing is granted to it");
            return self.grant();
        }
        if !self.attach(&[]) {
            return; // its first connection was cut
        }
        let reader = self.reader();
        self.make_use();
        match what {
            3 => {
                Two::kill(&mut self.near);
                return drop(reader.join().unwrap());
            }
            4 => {
                Two::kill(&mut self.far);
                self.furnish();
            }
            5..8 => {
                self.far.revoke(&self.grant);
                self.grant();
            }
            8..13 => self.ways.iter().for_each(Proxy::cut),
            _ => {}
        }
        self.make_use();
        self.near.detach();
        assert!(reader.join().unwrap().is_err(), "nobody has written");
    }

    /// What both use when nobody is attached.
    fn at_rest(&self) -> [(usize, usize, usize); 2] {
        wait_for("the last session to end", || {
            self.far.mount.status()["sessions"].as_array().unwrap().is_empty().then_some(())
        });
        [&self.near, &self.far].map(|node| {
            wait_all_released(&node.mount);
            let used = resources(node.mount.server());
            (used.descriptors, used.threads, used.memory)
        })
    }
}

/// The children of a process.
fn children(process: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()).collect()
}

#[test]
fn nodes_come_and_go_and_nothing_is_left_of_it() {
    let setting = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().unwrap());
    let any = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let (seed, faults) = (setting("FS9_SEED").unwrap_or(any), setting("FS9_FAULTS").unwrap_or(60));
    println!("FS9_SEED={seed} FS9_FAULTS={faults}");
    let mut two = Two::new(seed);
    assert!((0..10).any(|_| two.attach(&[])), "one of ten gets through");
    two.make_use();
    two.near.detach();
    let fresh = two.at_rest();
    for number in 1..=faults {
        // Killing takes the longest.
        let what = if number % 10 == 0 { two.random.below(5) } else { 5 + two.random.below(11) };
        println!("{number}: {what}");
        two.happens(what);
    }
    wait_for("both to use what they used", || {
        let now = two.at_rest();
        println!("they use {now:?} and used {fresh:?}");
        let rests = |(now, fresh): (&(usize, usize, usize), &(usize, usize, usize))| {
            // An inode that the kernel has not forgotten yet knows the bell of its link.
            now.0 <= fresh.0 && now.1 == fresh.1 && now.2 < fresh.2 + MORE
        };
        now.iter().zip(&fresh).all(rests).then_some(())
    });
    for node in [&two.near, &two.far] {
        assert_eq!(children(node.mount.server()), "");
        node.mount.assert_ledgers_balance();
        node.check();
    }
}
