//! `fs9 mount9p`: the kernel's client, given a connection that fs9 has made; everything that `mount9p.sh` does.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use fs9_tests::waiter::{wait_all_released, wait_waiting};
use fs9_tests::{Mount, binary, fs9, stdout, wait_for};
use rustix::net::{Shutdown, shutdown};

use crate::uml::Kernel;

/// A port whose only client is connected with a node as soon as it says something: a node waits for no kernel to boot.
fn patient(to: impl FnOnce() -> OwnedFd + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut line = listener.accept().unwrap().0;
        if line.peek(&mut [0]).unwrap_or(0) == 0 {
            return;
        }
        let mut node = File::from(to());
        let (mut back, mut from) = (line.try_clone().unwrap(), node.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from, &mut back));
        // Where the node has gone first there is nothing left to do.
        let _ = io::copy(&mut line, &mut node);
        let _ = shutdown(&node, Shutdown::Both);
    });
    port
}

/// A node that listens at a socket and, for keys, at a port.
struct Node(Mount);

impl Node {
    fn new() -> Node {
        let listen = ["--listen", "unix:BESIDE/socket", "--listen", "tls://127.0.0.1:0"];
        Node(Mount::with(&[&["--state", "BESIDE/state"], &listen[..]].concat()))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.0.beside().join(name)
    }

    /// A way to its socket.
    fn local(&self) -> u16 {
        let path = self.beside("socket");
        patient(move || UnixStream::connect(path).unwrap().into())
    }

    /// A way to its port.
    fn remote(&self) -> u16 {
        let status = self.0.status();
        let address = status["listen"][1].as_str().unwrap().strip_prefix("tls://").unwrap().to_owned();
        patient(move || TcpStream::connect(address).unwrap().into())
    }

    /// Grants the key of the state directory `name`, which is made, some rights. Returns the key.
    fn grant(&self, name: &str, rights: &[&str]) -> String {
        let key = stdout(fs9(&["id", "--state"]).arg(self.beside(name)).output().unwrap());
        let mut grant = fs9(&["grant", self.0.path("").to_str().unwrap(), "--to", key.trim(), "--for", "1h"]);
        stdout(grant.args(rights).arg("--state").arg(self.beside("state")).output().unwrap());
        key.trim().to_owned()
    }

    /// Whether somebody is there who has come with that key.
    fn has(&self, key: &str) -> bool {
        self.0.status()["sessions"].as_array().unwrap().iter().any(|session| session["key"] == key)
    }
}

#[test]
fn a_kernel_mounts_a_node_plainly_through_tls_and_by_ssh() {
    let node = Node::new();
    let mount = &node.0;
    mount.run("fs9 new p/jobs; fs9 new p/steps");
    let guest = node.grant("guest", &["--read", "--write", "--list", "--create"]);
    let ports = [node.local(), node.remote(), node.remote(), node.remote(), node.remote(), node.local()];
    let opening = (3..).zip(ports).map(|(fd, port)| format!("{fd}<>/dev/tcp/127.0.0.1/{port} ")).collect::<String>();
    let lines = (1..=6).map(|line| format!("ssl{line}=fd:{}", line + 2)).collect::<Vec<_>>();
    let (program, dir) = (format!("FS9={}", binary().display()), format!("BESIDE={}", mount.beside().display()));
    let words: Vec<&str> = lines.iter().map(String::as_str).chain([&*program, &*dir]).collect();
    let mut kernel = Kernel::boot("mount9p.sh", mount.beside(), Stdio::null(), &opening, &words);
    let without = kernel.says("without");
    assert!(without.contains("no client of 9P") && without.contains("modprobe"), "{without}");

    assert_eq!(kernel.says("plain"), "done");
    assert_eq!(kernel.says("type"), "unix:/mnt/socket 9p");
    mount.run("printf hello > p/jobs");
    assert_eq!(kernel.says("read"), "hello");
    assert_eq!(mount.run("cat p/jobs:whole"), "from the kernel\n");
    assert_eq!(kernel.says("cut"), "fails");

    let unknown = kernel.says("unknown");
    assert!(unknown.contains("its key is not known") && unknown.contains("--accept-new"), "{unknown}");
    let refused = kernel.says("refused");
    assert!(refused.contains("nothing is granted"), "{refused}");

    assert_eq!(kernel.says("tls"), "done");
    assert!(kernel.says("names").contains(" jobs ") && node.has(&guest));
    mount.run("printf hello > p/jobs");
    assert_eq!(kernel.says("through"), "hello");
    assert_eq!(mount.run("cat p/jobs:whole"), mount.run("seq 4000"));
    assert_eq!(kernel.says("other"), "1");
    // The reader, and the script.
    wait_waiting(mount, 2);
    mount.run("echo next > p/steps");
    assert_eq!(kernel.says("killed"), "137");
    wait_waiting(mount, 0);
    assert_eq!(kernel.says("unmount"), "done");
    wait_for("the node to see that it was unmounted", || (!node.has(&guest)).then_some(()));
    assert_eq!(kernel.says("ssh"), "done");
    mount.run("printf hello > p/jobs");
    assert_eq!(kernel.says("login"), "hello");
    assert_eq!(kernel.says("carriers"), "0");
    kernel.ended();
    wait_all_released(mount);
    mount.assert_ledgers_balance();
}

#[test]
fn what_this_machine_cannot_do_is_said_before_anybody_is_dialled() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let refused = |dir: &Path| {
        let output = fs9(&["mount9p", &address, dir.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&dir.path().join("absent"));
    assert!(said.contains("absent") && said.contains("give a directory"), "{said}");
    let knows_9p = fs::read_to_string("/proc/filesystems").unwrap().contains("\t9p\n");
    if !knows_9p {
        let said = refused(dir.path());
        assert!(said.contains("no client of 9P") && said.contains("modprobe"), "{said}");
    }
    let mut user = Command::new("setpriv");
    user.args(["--bounding-set", "-all", "--inh-caps", "-all", "--"]).arg(binary()).args(["mount9p", &address]);
    let output = user.arg(dir.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("for root alone") && said.contains("run this as root"), "{said}");
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody was dialled");
}
