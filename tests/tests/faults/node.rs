//! The two nodes: the far one has the channels and listens, the near one has it attached twice, straight and through a
//! [`Wire`].

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs9_tests::process::{self, Resources, resources};
use fs9_tests::waiter::wait_all_released;
use fs9_tests::{Mount, fs9, stdout, wait_for};
use rustix::process::Signal;

use crate::network::{FAR, Network};

/// How long a link may be down, on both sides: faults are shorter and longer than that.
const LINGER: &str = "--linger=2s";

/// The queues and pairs of the far node.
pub const QUEUES: [&str; 3] = ["q0", "q1", "q2"];
pub const TALKS: [&str; 2] = ["t0", "t1"];

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Near,
    Far,
}

/// Both nodes; `near` and `far` in `dir` lead to their mounts, also after a restart.
pub struct Nodes {
    pub near: Mount,
    pub far: Mount,
    dir: PathBuf,
    wire: String,
}

impl Nodes {
    pub fn new(network: &Network, dir: &Path, wire: &str) -> Nodes {
        let channels: Vec<String> = QUEUES.iter().map(|name| format!("[queue.{name}]\n")).collect();
        let talks: Vec<String> = TALKS.iter().map(|name| format!("[pair.{name}]\n")).collect();
        fs::write(dir.join("far.toml"), (channels.concat() + &talks.concat()).as_bytes()).unwrap();
        let far = Mount::through(
            &network.far().each_ref().map(String::as_str),
            &far_arguments(dir).each_ref().map(String::as_str),
        );
        let near = Mount::through(&network.near().each_ref().map(String::as_str), &[]);
        for (mount, name) in [(&near, "near"), (&far, "far")] {
            symlink(mount.path(""), dir.join(name)).unwrap();
        }
        let nodes = Nodes { near, far, dir: dir.to_owned(), wire: wire.to_owned() };
        nodes.attach();
        nodes
    }

    /// The far node's tree appears in the near one's, twice.
    fn attach(&self) {
        let node = |name: &str| self.near.path("n").join(name).display().to_string();
        let straight = format!("tcp://{FAR}:5640");
        let ways = [("straight", straight.as_str()), ("wire", &self.wire)];
        for (name, address) in ways {
            let said =
                fs9(&["attach", LINGER, "--keep-alive=1s", "--insecure", &node(name), address]).output().unwrap();
            stdout(said);
        }
    }

    pub fn mount(&self, side: Side) -> &Mount {
        match side {
            Side::Near => &self.near,
            Side::Far => &self.far,
        }
    }

    pub fn signal(&self, side: Side, signal: Signal) {
        process::signal(self.mount(side).server(), signal);
    }

    /// kill -9; when this returns nobody can reach it any more.
    pub fn kill(&self, side: Side) {
        self.signal(side, Signal::KILL);
        stdout(Command::new("umount").arg("-l").arg(self.mount(side).path("")).output().unwrap());
    }

    /// Another one at the place of one that was killed.
    pub fn revive(&mut self, side: Side) {
        match side {
            Side::Far => drop(self.far.up(&far_arguments(&self.dir).each_ref().map(String::as_str))),
            Side::Near => {
                self.near.up(&[]);
                self.attach();
            }
        }
    }

    /// What both use when nobody has anything open, as soon as that is so.
    pub fn at_rest(&self) -> [Resources; 2] {
        [&self.near, &self.far].map(|mount| {
            wait_all_released(mount);
            resources(mount.server())
        })
    }

    /// Waits until the far node has no session left but those of the two attachments, both with a link.
    pub fn wait_links(&self) {
        wait_for("both attachments to be up", || {
            let status = self.near.status();
            let up = status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "up").count();
            (up == 2).then_some(())
        });
    }
}

fn far_arguments(dir: &Path) -> [String; 6] {
    let listen = format!("tcp://{FAR}:5640");
    let config = dir.join("far.toml").display().to_string();
    ["--config".to_owned(), config, "--listen".to_owned(), listen, "--insecure".to_owned(), LINGER.to_owned()]
}
