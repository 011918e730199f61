//! `ssh://`: a node's tree by way of a real sshd on this machine, whose only key may serve one mount and nothing else.

#![allow(clippy::unwrap_used, reason = "a failed test")]
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::{Running, free_port, signal, state};
use fs9_tests::waiter::wait_opens;
use fs9_tests::{Mount, binary, fs9, setup, stdout, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

/// An sshd that lets one key in, for one command.
struct Sshd {
    dir: TempDir,
    port: u16,
    _daemon: Running,
}

impl Sshd {
    fn serving(mount: &Path) -> Sshd {
        setup::set_up();
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join(name));
            assert!(keygen.status().unwrap().success());
        }
        let key = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let serve = format!("{} serve --stdio {}", binary().display(), mount.display());
        fs::write(dir.path().join("authorized"), format!("restrict,command=\"{serve}\" {}", key("user.pub"))).unwrap();
        fs::create_dir_all("/run/sshd").unwrap(); // where it locks up those who have not logged in
        let port = free_port();
        fs::write(dir.path().join("known"), format!("[127.0.0.1]:{port} {}", key("host.pub"))).unwrap();
        let options = format!(
            "-oListenAddress=127.0.0.1:{port} -oHostKey={0}/host -oAuthorizedKeysFile={0}/authorized -oStrictModes=no \
             -oPasswordAuthentication=no -oUsePAM=no -oPidFile=none -oPermitRootLogin=yes",
            dir.path().display()
        );
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", "/dev/null"]).args(options.split(' ')).stderr(Stdio::null());
        let sshd = Sshd { _daemon: Running::new(&mut sshd), dir, port };
        wait_for("sshd", || TcpStream::connect(("127.0.0.1", port)).ok());
        sshd
    }

    /// What is to be used for `ssh`: nothing of this machine's user counts.
    fn client(&self, key: &str) -> String {
        let dir = self.dir.path().display();
        format!("ssh -F none -i {dir}/{key} -oIdentitiesOnly=yes -oUserKnownHostsFile={dir}/known")
    }

    fn address(&self) -> String {
        format!("ssh://127.0.0.1:{}", self.port)
    }
}

/// A node that is reached through sshd, and another that reaches it.
struct Two {
    far: Mount,
    near: Mount,
    sshd: Sshd,
}

impl Two {
    fn new() -> Two {
        let far = Mount::with(&["--listen", "unix:BESIDE/socket"]);
        let sshd = Sshd::serving(&far.path(""));
        Two { far, near: Mount::new(), sshd }
    }

    fn attach(&self, key: &str) -> Output {
        let path = self.near.path("n/far");
        let mut attach = fs9(&["attach", path.to_str().unwrap(), &self.sshd.address()]);
        attach.env("FS9_SSH", self.sshd.client(key)).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.near.path("n/far").join(name)
    }

    /// The programs that the near server runs.
    fn ssh(&self) -> Vec<u32> {
        // Each is the child of one thread.
        let threads = fs::read_dir(format!("/proc/{}/task", self.near.server())).unwrap();
        let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")));
        let children: String = children.map(Result::unwrap_or_default).collect();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    fn far_sessions(&self) -> usize {
        self.far.status()["sessions"].as_array().unwrap().len()
    }

    fn wait_nothing_left(&self) {
        wait_for("ssh to be gone", || self.ssh().is_empty().then_some(()));
        wait_for("the session to be gone", || (self.far_sessions() == 0).then_some(()));
    }
}

#[test]
fn messages_go_both_ways_and_nothing_is_left() {
    let two = Two::new();
    stdout(two.attach("user"));
    two.far.run("fs9 new p/q");
    let reading = Fd::reader(two.path("q")).reading(ROOM);
    two.far.run("printf there > p/q");
    assert_eq!(reading.get().unwrap(), b"there");
    Fd::writer(two.path("q")).write("back").unwrap();
    assert_eq!(Fd::reader(two.far.path("q")).text(), "back");
    stdout(fs9(&["detach", two.path("").to_str().unwrap()]).output().unwrap());
    two.wait_nothing_left();
}

#[test]
fn a_key_that_is_not_known_is_refused_with_what_ssh_says() {
    let two = Two::new();
    let refused = two.attach("host");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("Permission denied") && said.contains("nothing is attached"), "{said}");
    two.wait_nothing_left();
}

#[test]
fn a_session_outlives_its_ssh() {
    let two = Two::new();
    stdout(two.attach("user"));
    two.far.run("fs9 new p/q");
    let reading = Fd::reader(two.path("q")).reading(ROOM);
    wait_opens(&two.far, 1);
    let ssh = two.ssh()[0];
    signal(ssh, Signal::KILL);
    wait_for("another ssh", || two.ssh().first().is_some_and(|pid| *pid != ssh).then_some(()));
    two.far.run("printf again > p/q");
    assert_eq!(reading.get().unwrap(), b"again");
}

#[test]
fn ssh_goes_with_the_server_that_was_killed() {
    let two = Two::new();
    stdout(two.attach("user"));
    let ssh = two.ssh()[0];
    signal(two.near.server(), Signal::KILL);
    wait_for("ssh to end", || state(ssh).is_none_or(|state| state == 'Z').then_some(()));
    wait_for("the far session to wait for its link", || (two.far_sessions() == 1).then_some(()));
}

#[test]
fn serving_says_what_it_needs() {
    let mount = Mount::new();
    let refused = fs9(&["serve", "--stdio", mount.path("").to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("listens on no Unix socket") && said.contains("--listen unix:"), "{said}");
}
