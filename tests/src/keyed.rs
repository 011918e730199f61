//! Nodes that let others' keys in, and what the tests of that ask of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use serde_json::Value;

use crate::audit::{self, Counts};
use crate::{Mount, fs9, stdout};

/// A node with a key of its own.
#[derive(Debug)]
pub struct Node {
    /// Where it is mounted.
    pub mount: Mount,
    /// Where it listens.
    pub address: String,
}

impl Node {
    /// One that listens for others' keys.
    pub fn new() -> Node {
        Node::with(&[])
    }

    /// The same, brought up with more options.
    pub fn with(options: &[&str]) -> Node {
        let usual = ["--state", "BESIDE/state", "--listen", "tls://127.0.0.1:0"];
        let mount = Mount::with(&[&usual, options].concat());
        let address = mount.address();
        Node { mount, address }
    }

    /// A path in its mount.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mount.path(name)
    }

    /// Runs a script in the mount.
    pub fn sh(&self, script: &str) {
        self.mount.run(&format!("cd p; {script}"));
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.mount.beside().join("state")
    }

    /// Its key.
    pub fn id(&self) -> String {
        fs::read_to_string(self.path("id")).unwrap().trim_end().to_owned()
    }

    /// The port at which it listens.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// A command about grants, as this node. What it says.
    pub fn run(&self, words: &[&str]) -> Output {
        fs9(words).arg("--state").arg(self.state()).output().unwrap()
    }

    /// Grants names to another node; the grant.
    pub fn grant(&self, names: &[&str], to: &Node, options: &str) -> String {
        let paths: Vec<_> = names.iter().map(|name| self.path(name).display().to_string()).collect();
        let (id, mut words) = (to.id(), vec!["grant"]);
        words.extend(paths.iter().map(String::as_str).chain(["--to", &id]).chain(options.split_whitespace()));
        stdout(self.run(&words)).trim_end().to_owned()
    }

    /// Takes a grant back.
    pub fn revoke(&self, grant: &str) {
        let dir = self.path("");
        stdout(fs9(&["revoke", dir.to_str().unwrap(), grant]).output().unwrap());
    }

    /// Attaches another node as n/far.
    pub fn attach(&self, far: &Node, options: &[&str]) -> Output {
        let path = self.path("n/far");
        fs9(&["attach", path.to_str().unwrap(), &far.address, "--accept-new"]).args(options).output().unwrap()
    }

    /// The same, which must do.
    pub fn attached(&self, far: &Node, options: &[&str]) {
        stdout(self.attach(far, options));
    }

    /// Detaches n/far.
    pub fn detach(&self) {
        let path = self.path("n/far");
        stdout(fs9(&["detach", path.to_str().unwrap()]).output().unwrap());
    }

    /// A path below n/far.
    pub fn far(&self, name: &str) -> PathBuf {
        self.path("n/far").join(name)
    }

    /// Replays the log of this node. How many decisions of each kind there are.
    pub fn check(&self) -> Counts {
        audit::check(&self.state().join("audit.log"))
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::new()
    }
}

/// Opens a file for this.
pub fn open(path: &Path, read: bool, write: bool) -> io::Result<File> {
    OpenOptions::new().read(read).write(write).open(path)
}

/// The number of the error.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().expect("it is refused").raw_os_error().unwrap()
}

/// What is in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether somebody who has a channel open waits to do that.
pub fn waits(channel: &Value, what: &str) -> bool {
    channel["holders"].as_array().is_some_and(|holders| holders.iter().any(|holder| holder["waiting"] == what))
}

/// Reads a message in a thread, once somebody waits for one at `channel`.
pub fn waiting_reader(at: &Node, file: PathBuf, channel: &str) -> thread::JoinHandle<io::Result<Vec<u8>>> {
    let reader = thread::spawn(move || {
        let mut message = vec![0; 100];
        let len = File::open(file)?.read(&mut message)?;
        message.truncate(len);
        Ok(message)
    });
    at.mount.wait_channel(channel, "a reader", |channel| waits(channel, "read"));
    reader
}
