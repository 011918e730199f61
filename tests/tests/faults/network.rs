//! Two network namespaces, `near` and `far`, joined by two veth cables whose inner ends are joined by a [`Bridge`]:
//! everything between the two goes through it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use fs9_tests::stdout;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bridge::Bridge;

/// The far node's address.
pub const FAR: &str = "10.99.0.2";

/// The namespaces; gone, with all that is in them, on drop.
pub struct Network {
    /// The names, of near, far and the middle.
    names: [String; 3],
    pub bridge: Bridge,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        let names = ["near", "far", "middle"].map(|name| format!("fs9-{}-{name}", std::process::id()));
        for name in &names {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        let [near, far, middle] = &names;
        for (namespace, cable, address) in [(near, "n", "10.99.0.1/24"), (far, "f", "10.99.0.2/24")] {
            let inner = format!("{cable}0");
            ip(&["-n", middle, "link", "add", &inner, "type", "veth", "peer", "name", "eth0", "netns", namespace]);
            ip(&["-n", middle, "link", "set", &inner, "up"]);
            ip(&["-n", namespace, "addr", "add", address, "dev", "eth0"]);
            ip(&["-n", namespace, "link", "set", "eth0", "up"]);
            // What goes through the bridge are packets as on a cable: none larger, with its checksum in it.
            let offload = ["ethtool", "-K", "eth0", "tx", "off", "gso", "off", "gro", "off"];
            stdout(command(namespace, &offload).output().unwrap());
        }
        let bridge = within(middle.clone(), move || Bridge::between("n0", "f0", seed));
        Network { names, bridge }
    }

    /// The words before a command that runs at the near end.
    pub fn near(&self) -> [String; 2] {
        entering(&self.names[0])
    }

    /// The words before a command that runs at the far end.
    pub fn far(&self) -> [String; 2] {
        entering(&self.names[1])
    }

    /// Does something at the near end, in a thread of its own.
    pub fn at_near<T: Send + 'static>(&self, does: impl FnOnce() -> T + Send + 'static) -> T {
        within(self.names[0].clone(), does)
    }

    /// Resets every connection to the far node that the near end or the far end has.
    pub fn reset(&self, at_far: bool) {
        let (namespace, which) = if at_far { (&self.names[1], "sport") } else { (&self.names[0], "dport") };
        // Whether it found one is not known: the link may be down just then.
        command(namespace, &["ss", "-K", "-tn", which, "=", ":5640"]).output().unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.bridge.stop();
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(args: &[&str]) {
    stdout(Command::new("ip").args(args).output().unwrap_or_else(|error| panic!("ip: {error}: run .ci/setup as root")));
}

fn place(namespace: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace)
}

/// Only the network is another one, so mounts are everybody's.
fn entering(namespace: &str) -> [String; 2] {
    ["nsenter".to_owned(), format!("--net={}", place(namespace).display())]
}

fn command(namespace: &str, words: &[&str]) -> Command {
    let [program, option] = entering(namespace);
    let mut command = Command::new(program);
    command.arg(option).args(words);
    command
}

/// What `does` gives, done by a thread that is in the namespace; sockets that it makes stay there.
fn within<T: Send + 'static>(namespace: String, does: impl FnOnce() -> T + Send + 'static) -> T {
    let inside = move || {
        let namespace = File::open(place(&namespace)).unwrap();
        move_into_link_name_space(rustix::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network)).unwrap();
        does()
    };
    thread::spawn(inside).join().unwrap()
}
