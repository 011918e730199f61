//! Other people's 9P clients at real channels of a mount that listens: what each of them sends and receives, what it is
//! told of the end, and what becomes of it when it is killed.
#![allow(clippy::unwrap_used, reason = "a failed test")]

mod clock;
mod diod;
mod kernel;
mod mount9p;
mod ninep;
mod python;
mod uml;

use std::path::PathBuf;

use fs9_tests::{Mount, setup};
use tempfile::TempDir;

/// A mount with the queue `jobs` and the pair `talk`, which listens on a Unix socket and on a port of this machine.
struct Served {
    mount: Mount,
    dir: TempDir,
}

impl Served {
    fn new() -> Served {
        setup::set_up();
        let dir = tempfile::tempdir().unwrap();
        let unix = format!("unix:{}", dir.path().join("socket").display());
        let mount = Mount::with(&["--listen", &unix, "--listen", "tcp://127.0.0.1:0"]);
        mount.run("fs9 new p/jobs; fs9 new --pair p/talk; mkdir p/below; fs9 new p/below/deep");
        Served { mount, dir }
    }

    /// Where it listens for processes of this machine.
    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// What is at the root, for clients from elsewhere: the trees of other nodes are not.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.mount.run("ls p | grep -vx n").lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The port of 127.0.0.1 where it listens.
    fn port(&self) -> String {
        let status = self.mount.status();
        let addresses = status["listen"].as_array().unwrap().iter();
        let port = addresses.filter_map(|address| address.as_str()?.strip_prefix("tcp://127.0.0.1:")).next();
        port.unwrap_or_else(|| panic!("no port in {:#}", status["listen"])).to_owned()
    }
}
