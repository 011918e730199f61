//! What the tests share: real mounts served by the real command, and waiting for events with a deadline.
//!
//! Everything here panics with a sentence when something is wrong: that is a failed test.
#![allow(clippy::unwrap_used, reason = "a failed test")]
#![deny(unsafe_code)]

pub mod audit;
pub mod file;
pub mod hostile;
pub mod keyed;
pub mod ninep;
pub mod process;
pub mod proxy;
pub mod records;
pub mod setup;
#[allow(unsafe_code)]
pub mod sys;
pub mod terminal;
pub mod tiers;
pub mod tls;
pub mod user;
pub mod waiter;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// After this long a wait has failed. Generous: two processors, debug builds, other tests.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A mount of its own, served by a background `fs9 up`, ended with `fs9 down` on drop.
#[derive(Debug)]
pub struct Mount {
    dir: TempDir,
    server: u32,
    prefix: Vec<String>,
}

/// The command under test, built beside the tests.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("fs9-tested");
    assert!(binary.exists(), "{} is not built: run `cargo test --workspace`", binary.display());
    binary
}

/// `fs9 ARGS...`, not yet started.
pub fn fs9(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// Looks every millisecond until `found` gives something; panics with `what` at the deadline.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Standard output as text, of a command that must have succeeded.
pub fn stdout(output: Output) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {err}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

impl Mount {
    /// `fs9 up` on a fresh directory.
    pub fn new() -> Mount {
        Mount::with(&[])
    }

    /// `fs9 up ARGS...` on a fresh directory. BESIDE in an argument is the directory [beside](Mount::beside) the mount.
    pub fn with(args: &[&str]) -> Mount {
        let mut mount = Mount::not_yet_up();
        mount.up(args);
        mount
    }

    /// `PREFIX... fs9 up ARGS...` on a fresh directory: a server that runs under taskset, say.
    pub fn through(prefix: &[&str], args: &[&str]) -> Mount {
        let mut mount = Mount::not_yet_up();
        mount.prefix = prefix.iter().map(|&word| word.to_owned()).collect();
        mount.up(args);
        mount
    }

    fn not_yet_up() -> Mount {
        setup::set_up();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("p")).unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(binary(), dir.path().join("bin/fs9")).unwrap();
        Mount { dir, server: 0, prefix: Vec::new() }
    }

    /// `fs9 up ARGS...` again, on the same directory; returns what it said.
    pub fn up(&mut self, args: &[&str]) -> String {
        let beside = self.beside().to_str().unwrap();
        let args = args.iter().map(|arg| arg.replace("BESIDE", beside));
        let mut command = Command::new("env");
        command.args(&self.prefix).arg(binary()).arg("up").arg(self.path("")).args(args);
        let said = stdout(command.output().unwrap());
        self.server = self.status()["server"]["pid"].as_u64().unwrap() as u32;
        said
    }

    /// A path in the mount; of the mount point itself for "".
    pub fn path(&self, name: &str) -> PathBuf {
        let point = self.dir.path().join("p");
        if name.is_empty() { point } else { point.join(name) }
    }

    /// A directory beside the mount, for files.
    pub fn beside(&self) -> &Path {
        self.dir.path()
    }

    /// The server's process.
    pub fn server(&self) -> u32 {
        self.server
    }

    /// The first address that it listens at, with the port that it was given.
    pub fn address(&self) -> String {
        self.status()["listen"][0].as_str().unwrap().to_owned()
    }

    /// bash with `script`, in the directory that holds the mount `p`, with `fs9` in its PATH; not yet started.
    pub fn shell(&self, script: &str) -> Command {
        self.command("bash", &["-c", script])
    }

    /// Any command, in the directory that holds the mount `p`, with `fs9` in its PATH; not yet started.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env("PATH", path);
        command
    }

    /// Runs bash with `script` to its end, which must be a success, and returns what it printed. A script that hangs
    /// is ended and fails.
    pub fn run(&self, script: &str) -> String {
        let seconds = DEADLINE.as_secs().to_string();
        stdout(self.command("timeout", &["-k", "1", &seconds, "bash", "-c", script]).output().unwrap())
    }

    /// `status.json`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("status.json")).unwrap()).unwrap()
    }

    /// What `status.json` says of one channel.
    pub fn channel(&self, name: &str) -> Value {
        let status = self.status();
        let channels = status["channels"].as_array().unwrap();
        channels.iter().find(|channel| channel["name"] == name).cloned().unwrap_or(Value::Null)
    }

    /// A figure of the only lane of a queue: sent, received, slot, held, readers (waiting), ...
    pub fn figure(&self, queue: &str, figure: &str) -> u64 {
        self.channel(queue)["lanes"][0][figure].as_u64().unwrap_or_else(|| panic!("{queue} has no {figure}"))
    }

    /// Waits until that figure is `value`.
    pub fn wait_figure(&self, queue: &str, figure: &str, value: u64) {
        self.wait_channel(queue, &format!("{figure} is {value}"), |channel| channel["lanes"][0][figure] == value);
    }

    /// Waits until `status.json` says of a channel what `holds` looks for.
    pub fn wait_channel(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        loop {
            let channel = self.channel(name);
            if holds(&channel) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} until {name}: {what}; it is {channel:#}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Checks every ledger: sent = received + dropped + slot + held.
    pub fn assert_ledgers_balance(&self) {
        for channel in self.status()["channels"].as_array().unwrap() {
            for lane in channel["lanes"].as_array().unwrap() {
                let figure = |name: &str| lane[name].as_u64().unwrap();
                let dropped: u64 = lane["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
                let rest = figure("received") + dropped + figure("slot") + figure("held");
                assert_eq!(figure("sent"), rest, "{channel:#}");
            }
        }
    }

    /// `fs9 down`.
    pub fn down(&self) -> Output {
        fs9(&["down", self.path("").to_str().unwrap()]).output().unwrap()
    }
}

impl Default for Mount {
    fn default() -> Self {
        Mount::new()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let ended = self.down();
        if !ended.status.success() {
            // Do not leave a mount behind that the temporary directory cannot be removed around.
            let _ = Command::new("umount").arg("-l").arg(self.path("")).output();
            if !thread::panicking() {
                panic!("fs9 down: {}", String::from_utf8_lossy(&ended.stderr));
            }
        }
    }
}
