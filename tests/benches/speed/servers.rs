//! The two servers: the floor and ours, each on a directory of its own, ended on drop.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fs9_tests::process::free_port;
use fs9_tests::{Mount, fs9, tls, wait_for};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use super::tls::SEED;

/// Where server and clients run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On one processor.
    Pinned,
    /// Wherever the kernel puts them.
    Unpinned,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Place::Pinned { "pinned" } else { "unpinned" })
    }
}

impl Place {
    /// `program` there.
    pub fn command(self, program: &Path) -> Command {
        match self {
            Place::Unpinned => Command::new(program),
            Place::Pinned => {
                let mut command = Command::new("taskset");
                command.args(["-c", "0"]).arg(program);
                command
            }
        }
    }

    /// This thread goes there.
    pub fn take(self) {
        if self == Place::Pinned {
            let mut first = CpuSet::new();
            first.set(0);
            sched_setaffinity(None, &first).unwrap();
        }
    }
}

/// Two files: what is written to the first is read from the second, and the reverse.
pub type Ends = [PathBuf; 2];

/// fusefloor.
pub struct Floor {
    dir: TempDir,
    server: Child,
}

impl Floor {
    /// Mounts it.
    pub fn up(tools: &Path, place: Place) -> Floor {
        let floor = Floor::started(tools, place, &[]);
        floor.wait();
        floor
    }

    /// Mounts two, of which the second is the first, over TCP.
    pub fn attached(tools: &Path, place: Place) -> [Floor; 2] {
        let port = free_port().to_string();
        let both = ["serve", "attach"].map(|role| Floor::started(tools, place, &[role, &port]));
        both.iter().for_each(Floor::wait);
        both
    }

    fn started(tools: &Path, place: Place, args: &[&str]) -> Floor {
        let dir = tempfile::tempdir().unwrap();
        let mut command = place.command(&tools.join("fusefloor"));
        let server = command.arg(dir.path()).args(args).stderr(Stdio::null()).spawn().unwrap();
        Floor { dir, server }
    }

    fn wait(&self) {
        wait_for("fusefloor", || fs::metadata(&self.ends()[0]).ok());
    }

    /// Its two files.
    pub fn ends(&self) -> Ends {
        ["a", "b"].map(|end| self.dir.path().join(end))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const LISTENING: [&str; 2] = ["--listen", "tcp://127.0.0.1:0"];

/// fs9, with pairs named 0, 1, ..., a queue named q and a service named s.
pub struct Ours {
    mount: Mount,
    pairs: usize,
}

impl Ours {
    /// With one pair.
    pub fn up(place: Place) -> Ours {
        Ours::new(place, 1)
    }

    /// With many.
    pub fn with_pairs(pairs: usize) -> Ours {
        Ours::new(Place::Unpinned, pairs)
    }

    fn new(place: Place, pairs: usize) -> Ours {
        let mount = match place {
            Place::Unpinned => Mount::with(&LISTENING),
            Place::Pinned => Mount::through(&["taskset", "-c", "0"], &LISTENING),
        };
        for pair in 0..pairs {
            let path = mount.path(&pair.to_string());
            assert!(fs9(&["new", "--pair", path.to_str().unwrap()]).status().unwrap().success());
        }
        fs::write(mount.path("ctl"), "new q").unwrap();
        fs::write(mount.path("ctl"), "new --service s").unwrap();
        Ours { mount, pairs }
    }

    /// The two ends of the first pair.
    pub fn ends(&self) -> Ends {
        ["0/a", "0/b"].map(|end| self.mount.path(end))
    }

    /// The two ends of a service. Whoever opens both has a connection of its own.
    pub fn connection(&self) -> Ends {
        ["s/connect", "s/accept"].map(|end| self.mount.path(end))
    }

    /// A service that `cat` serves, to connect to.
    pub fn program(&self) -> PathBuf {
        fs::write(self.mount.path("ctl"), "spawn cat -- cat").unwrap();
        self.mount.path("cat/connect")
    }

    /// The queue, to write and to read.
    pub fn queue(&self) -> Ends {
        [self.mount.path("q"), self.mount.path("q")]
    }

    /// The port where it speaks 9P.
    pub fn port(&self) -> u16 {
        let status = self.mount.status();
        status["listen"][0].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The ends of all pairs.
    pub fn all_ends(&self) -> Vec<Ends> {
        (0..self.pairs).map(|pair| ["a", "b"].map(|end| self.mount.path(&format!("{pair}/{end}")))).collect()
    }

    /// Nanoseconds that the server's threads have run.
    pub fn processor_time(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.mount.server())).unwrap();
        let time = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap();
        tasks.map(|task| time(task.unwrap()).split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// The server's reads, writes, voluntary and involuntary context switches so far.
    pub fn counters(&self) -> [u64; 4] {
        let pid = self.mount.server();
        let figure = |file: &str, name: &str| -> u64 {
            let text = fs::read_to_string(file).unwrap();
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        let io = format!("/proc/{pid}/io");
        let switches = |name: &str| -> u64 {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
            tasks.map(|task| figure(task.unwrap().path().join("status").to_str().unwrap(), name)).sum()
        };
        [
            figure(&io, "syscr:"),
            figure(&io, "syscw:"),
            switches("voluntary_ctxt_switches:"),
            switches("nonvoluntary_ctxt_switches:"),
        ]
    }
}

/// Two nodes on this machine: one serves a pair over TCP, the other has it attached.
pub struct Nodes {
    far: Mount,
    near: Mount,
    /// What they are known by.
    _states: Option<TempDir>,
}

impl Nodes {
    /// Mounts and joins them.
    pub fn up(place: Place) -> Nodes {
        Nodes::joined(place, "tcp://127.0.0.1:0", None)
    }

    /// The same through TLS. The far node lets the near one do everything, and the key of the benchmark.
    pub fn through_tls(place: Place) -> Nodes {
        Nodes::joined(place, "tls://127.0.0.1:0", Some(tempfile::tempdir().unwrap()))
    }

    fn joined(place: Place, listen: &str, states: Option<TempDir>) -> Nodes {
        let mounted = |args: &[&str]| match place {
            Place::Unpinned => Mount::with(args),
            Place::Pinned => Mount::through(&["taskset", "-c", "0"], args),
        };
        let state = |name| states.as_ref().map_or("/nowhere".into(), |states| states.path().join(name));
        let [here, there] = ["near", "far"].map(|name| state(name).to_str().unwrap().to_owned());
        let stated = |state| if states.is_some() { vec!["--state", state] } else { Vec::new() };
        let (far, near) = (mounted(&[&["--listen", listen], &*stated(&there)].concat()), mounted(&stated(&here)));
        for channel in ["new --pair t", "new q"] {
            fs::write(far.path("ctl"), channel).unwrap();
        }
        if states.is_some() {
            let id = fs::read_to_string(near.path("id")).unwrap();
            for key in [id.trim_end(), &tls::key_of(SEED).to_string()] {
                let (path, all) = (far.path(""), ["--read", "--write", "--list", "--create"]);
                let mut grant = fs9(&["grant", path.to_str().unwrap(), "--to", key, "--for", "1h", "--state", &there]);
                assert!(grant.args(all).stdout(Stdio::null()).status().unwrap().success());
            }
        }
        let address = far.address();
        let name = near.path("n/far");
        assert!(fs9(&["attach", "--accept-new", name.to_str().unwrap(), &address]).status().unwrap().success());
        Nodes { far, near, _states: states }
    }

    /// The port where the far one listens.
    pub fn port(&self) -> u16 {
        self.far.address().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// A queue, where it is.
    pub fn queue(&self) -> PathBuf {
        self.far.path("q")
    }

    /// The pair: one end through the link, the other where it is.
    pub fn ends(&self) -> Ends {
        [self.near.path("n/far/t/a"), self.far.path("t/b")]
    }
}
