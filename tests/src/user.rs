//! An ordinary user, as whom a test can run the command under test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use rustix::fs::{Gid, Uid, chown};
use serde_json::Value;
use tempfile::TempDir;

use crate::setup::set_up;
use crate::{DEADLINE, binary, stdout, waiter};

/// The user that `.ci/setup` makes.
pub const NAME: &str = "fs9-tester";

/// A directory of that user with an empty directory `p` in it, and the programs `fs9` and `waiter` where everybody may
/// run them. What is mounted on `p` in the end is unmounted.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    uid: u32,
}

impl Home {
    /// A fresh one.
    pub fn new() -> Home {
        set_up();
        assert!(rustix::process::geteuid().is_root(), "only root can be another user: run this test as root");
        let id = |option| stdout(Command::new("id").args([option, NAME]).output().unwrap()).trim().parse().unwrap();
        let (uid, gid): (u32, u32) = (id("-u"), id("-g"));
        let dir = tempfile::tempdir().unwrap();
        for (program, name) in [(binary(), "fs9"), (waiter::program().to_owned(), "waiter")] {
            // By a process of its own: as long as we had it open for writing, so would whatever another test starts in
            // that moment, and a program that somebody writes cannot be run.
            let mut install = Command::new("install");
            stdout(install.args(["-m", "755"]).arg(program).arg(dir.path().join(name)).output().unwrap());
        }
        fs::create_dir(dir.path().join("p")).unwrap();
        for path in [dir.path().to_owned(), dir.path().join("p")] {
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            chown(&path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
        }
        Home { dir, uid }
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// A path in the mount; the mount point itself for "".
    pub fn path(&self, name: &str) -> PathBuf {
        let point = self.dir.path().join("p");
        if name.is_empty() { point } else { point.join(name) }
    }

    /// bash with `script` as `user`, in the directory that holds `p`, with both programs in its PATH; not yet started.
    pub fn shell_as(&self, user: &str, script: &str) -> Command {
        self.command_as(user, &["bash", "-c", script])
    }

    /// [`Home::shell_as`] the ordinary user.
    pub fn shell(&self, script: &str) -> Command {
        self.shell_as(NAME, script)
    }

    /// Runs bash with `script` as `user` to its end; one that hangs is ended and has failed.
    pub fn output_as(&self, user: &str, script: &str) -> Output {
        let seconds = DEADLINE.as_secs().to_string();
        self.command_as(user, &["timeout", "-k", "1", &seconds, "bash", "-c", script]).output().unwrap()
    }

    /// Runs bash with `script` as the ordinary user to its end, which must be a success, and returns what it printed.
    pub fn run(&self, script: &str) -> String {
        stdout(self.output_as(NAME, script))
    }

    fn command_as(&self, user: &str, args: &[&str]) -> Command {
        let group = stdout(Command::new("id").args(["-g", user]).output().unwrap());
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.dir.path().display());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", group.trim(), "--clear-groups"]).args(args);
        command.current_dir(self.dir.path()).env("PATH", path).env("HOME", self.dir.path());
        command
    }

    /// `status.json`, as the ordinary user sees it.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run("cat p/status.json")).unwrap()
    }

    /// Whether something is mounted on `p`.
    pub fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(4) == self.path("").to_str())
    }
}

impl Default for Home {
    fn default() -> Self {
        Home::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        while self.is_mounted() {
            stdout(Command::new("umount").arg("-l").arg(self.path("")).output().unwrap());
        }
    }
}
