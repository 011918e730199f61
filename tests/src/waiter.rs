//! Processes that wait at a file in one system call, and how they end.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Running, state};
use crate::setup::set_up;
use crate::{DEADLINE, Mount, binary, stdout, wait_for};

/// What a killed process may take to be gone on a machine that does ten other things. What it does take is printed.
const GONE: Duration = Duration::from_secs(2);

/// The program built from the C source `source`, beside the tests.
pub fn compiled(name: &str, source: &str) -> PathBuf {
    set_up();
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let program = binary().with_file_name(format!("{name}-{:016x}", hasher.finish()));
    if !program.exists() {
        // Several tests may come here at once; each builds its own, and any one of them will do.
        let own = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let (text, built) = (own.path().join("source.c"), own.path().join("program"));
        fs::write(&text, source).unwrap();
        let warnings = ["-O1", "-Wall", "-Wextra", "-Werror"];
        let gcc = Command::new("gcc").args(warnings).arg("-o").arg(&built).arg(&text).output();
        stdout(gcc.unwrap_or_else(|error| panic!("gcc: {error}: run .ci/setup as root")));
        fs::rename(built, &program).unwrap();
    }
    program
}

/// The program of `waiter.c`.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled("waiter", include_str!("waiter.c")))
}

/// A process of `waiter.c`.
#[derive(Debug)]
pub struct Waiter {
    running: Running,
    output: BufReader<ChildStdout>,
}

impl Waiter {
    /// `waiter DOES PATH ARGS...`, which may not have come to its wait yet.
    pub fn new(does: &str, path: impl AsRef<Path>, args: &[&str]) -> Waiter {
        let mut command = Command::new(program());
        command.arg(does).arg(path.as_ref()).args(args);
        Waiter::of(&mut command)
    }

    /// Any other program that says on its standard output how it fares.
    pub fn of(command: &mut Command) -> Waiter {
        Waiter::with_input(command, Stdio::null())
    }

    /// Any other program that says how it fares, with this standard input.
    pub fn with_input(command: &mut Command, input: impl Into<Stdio>) -> Waiter {
        let mut running = Running::new(command.stdin(input).stdout(Stdio::piped()));
        let output = BufReader::new(running.stdout.take().unwrap());
        Waiter { running, output }
    }

    /// Any other program that says how it fares and waits for what [`Waiter::tell`] tells it.
    pub fn talking(command: &mut Command) -> Waiter {
        Waiter::with_input(command, Stdio::piped())
    }

    /// Writes to the standard input of one that [talks](Waiter::talking).
    pub fn tell(&mut self, text: &str) {
        self.running.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }

    /// Waits until the server has it in a line, by `status.json`.
    pub fn blocked(self, mount: &Mount) -> Waiter {
        let pid = self.pid();
        wait_for(&format!("process {pid} to wait at a channel"), || {
            holders(mount, pid).iter().any(|holder| holder["waiting"].is_string()).then_some(())
        });
        self
    }

    /// Waits until it has opened its file and sleeps in the kernel's function `function`.
    pub fn asleep(self, function: &str) -> Waiter {
        let wchan = format!("/proc/{}/wchan", self.pid());
        wait_for(&format!("process {} to sleep in {function}", self.pid()), || {
            fs::read_to_string(&wchan).unwrap_or_default().contains(function).then_some(())
        });
        self
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end, with a deadline, and returns what else it said.
    pub fn said(&mut self) -> String {
        self.running.ended();
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        text.trim_end().to_owned()
    }

    /// Waits for its end, with a deadline.
    pub fn status(&mut self) -> ExitStatus {
        self.running.ended()
    }

    /// kill -9, and how long it took until the process was gone.
    pub fn killed(mut self) -> Duration {
        killed(&mut self.running)
    }
}

/// A party that `does` something with a file, which makes it wait, is interrupted, and another one killed. Returns how
/// long it took until that was gone.
pub fn interrupted_and_killed(mount: &Mount, does: &str, path: PathBuf) -> Duration {
    let wait = || {
        let waiter = Waiter::new(does, &path, &[]);
        if does.starts_with("poll") { waiter.asleep("poll_schedule_timeout") } else { waiter.blocked(mount) }
    };
    let mut interrupted = wait();
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.said(), "EINTR", "{does}");
    let latency = wait().killed();
    wait_all_released(mount);
    latency
}

/// kill -9, and how long it took until the process was gone. Fails when that is long, in whatever state it was.
pub fn killed(running: &mut Running) -> Duration {
    let pid = running.id();
    let start = Instant::now();
    running.signal(Signal::KILL);
    let mut states = Vec::new();
    let status = loop {
        states.extend(state(pid));
        states.dedup();
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < GONE, "process {pid} is there {GONE:?} after kill -9, it was in states {states:?}");
        thread::sleep(Duration::from_micros(100));
    };
    assert_eq!(status.signal(), Some(9), "process {pid} ended by itself: {status}");
    start.elapsed()
}

/// Prints the median and the longest of some latencies of [`killed`].
pub fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort();
    let (median, longest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    println!("{what}: gone {median:?} after kill -9 (median of {}), at most {longest:?}", latencies.len());
}

/// What `status.json` says of the descriptors of process `pid`.
pub fn holders(mount: &Mount, pid: u32) -> Vec<serde_json::Value> {
    let status = mount.status();
    let channels = status["channels"].as_array().unwrap().iter();
    let holders = channels.flat_map(|channel| channel["holders"].as_array().unwrap());
    holders.filter(|holder| holder["pid"] == pid).cloned().collect()
}

/// Waits until the server has seen the RELEASE of every descriptor: nobody holds or waits for anything.
pub fn wait_all_released(mount: &Mount) {
    wait_opens(mount, 0);
}

/// Waits until `opens` descriptors are open in the mount.
pub fn wait_opens(mount: &Mount, opens: usize) {
    wait_count(mount, "opens", opens);
}

/// Waits until so many requests wait in the mount: reads and writes of channels, and reads of `events`.
pub fn wait_waiting(mount: &Mount, waiting: usize) {
    wait_count(mount, "waiting", waiting);
}

/// Waits until nobody waits in the mount and no byte is kept: the text of `status` that was read before is, until the
/// server has seen its RELEASE.
pub fn wait_nothing_kept(mount: &Mount) {
    wait_waiting(mount, 0);
    wait_count(mount, "bytes", 0);
}

fn wait_count(mount: &Mount, what: &str, count: usize) {
    let start = Instant::now();
    loop {
        let status = mount.status();
        if status["counts"][what] == count {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what} to be {count}: {status:#}");
        thread::sleep(Duration::from_millis(1));
    }
}
