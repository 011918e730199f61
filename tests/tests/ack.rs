//! A worker that ends with a job in its hands: whether the job comes back, in every language and on both kinds of
//! queue.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fs9_tests::process::Running;
use fs9_tests::{Mount, stdout, wait_for};
use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::json;

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// It is done: received.
    Kept,
    /// It is the next one delivered.
    Back,
}
use Job::{Back, Kept};

/// How the worker ends, and what becomes of its job on a plain queue and on one made with `--ack`.
#[rustfmt::skip]
const TABLE: [(&str, Job, Job); 10] = [
    // how it ends            plain  --ack
    ("closes", Kept, Back),
    ("closes, then exits 1", Kept, Back),
    ("exits 0", Kept, Back),
    ("exits 1", Back, Back),
    ("is killed", Back, Back),
    ("is terminated", Back, Back),
    ("reads again", Kept, Kept),
    ("fsyncs, then closes", Kept, Kept),
    ("fsyncs, then is killed", Kept, Kept),
    ("writes, then is killed", Kept, Back),
];

/// A file beside this one.
fn source(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/ack", name].iter().collect()
}

/// The C worker, built.
fn compiled(mount: &Mount) -> PathBuf {
    let program = mount.beside().join("worker");
    let built =
        mount.command("gcc", &["-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(source("worker.c")).output();
    stdout(built.unwrap());
    program
}

/// Sends a job, has a worker end with it, and says what became of the job.
fn outcome(mount: &Mount, mut worker: Command, ack: bool, access: &str, end: &str) -> Job {
    mount.run(if ack { "fs9 new --ack p/jobs" } else { "fs9 new p/jobs" });
    mount.run("echo job > p/jobs");
    worker.arg(mount.path("jobs")).args([access, end]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut worker = Running::new(&mut worker);
    let mut ready = String::new();
    if end == "reads again" {
        mount.wait_figure("jobs", "received", 1);
        mount.wait_figure("jobs", "readers", 1);
    } else if end.ends_with(['0', '1']) || end == "fails" {
        assert_eq!(worker.ended().code(), Some(i32::from(end != "exits 0")), "{end}");
    } else {
        BufReader::new(worker.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the worker has failed, see above");
    }
    if end == "is terminated" {
        worker.signal(Signal::TERM);
    } else if !end.contains("closes") && worker.try_wait().unwrap().is_none() {
        worker.signal(Signal::KILL);
    }
    wait_for("the worker's end to be free", || (mount.channel("jobs")["holders"] == json!([])).then_some(()));

    let figure = |name| mount.figure("jobs", name);
    let others = u64::from(end.starts_with("writes"));
    let job = match (figure("received"), figure("redelivered"), figure("slot"), figure("held")) {
        (1, 0, slot, 0) if slot == others => Kept,
        (0, 1, slot, 0) if slot == 1 + others => Back,
        figures => panic!("{end}: received, redelivered, slot, held: {figures:?}"),
    };
    mount.assert_ledgers_balance();
    let first = match (job, others) {
        (Back, _) => Some("job\n"),
        (Kept, 1) => Some("other\n"),
        (Kept, _) => None,
    };
    assert_eq!(next(mount).as_deref(), first, "{end}");
    mount.run("rm p/jobs");
    job
}

/// The next job, if there is one now.
fn next(mount: &Mount) -> Option<String> {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let mut queue: File = File::options().read(true).custom_flags(nonblocking).open(mount.path("jobs")).unwrap();
    let mut job = [0; 100];
    match queue.read(&mut job) {
        Ok(len) => Some(String::from_utf8(job[..len].to_vec()).unwrap()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

/// Goes through the table with a worker in one language, opened for reading and for both.
fn check(mount: &Mount, worker: impl Fn() -> Command) {
    for (end, plain, ack) in TABLE {
        for access in ["r", "rw"] {
            let writes = end.starts_with("writes");
            // With "rw" the kernel does not wait for the server at close(2), so an exit right behind it may be seen
            // first.
            let races = end == "closes, then exits 1";
            if access == "r" && writes || access == "rw" && races {
                continue;
            }
            let got = [false, true].map(|ack| outcome(mount, worker(), ack, access, end));
            assert_eq!(got, [plain, ack], "{end} ({access}), on a plain queue and with --ack");
        }
    }
}

#[test]
fn a_job_of_a_c_worker_comes_back_as_the_table_says() {
    let mount = Mount::new();
    let worker = compiled(&mount);
    check(&mount, || Command::new(&worker));
}

#[test]
fn a_job_of_a_shell_worker_comes_back_as_the_table_says() {
    let script = source("worker.sh");
    for shell in ["bash", "dash"] {
        check(&Mount::new(), || {
            let mut command = Command::new(shell);
            command.arg(&script);
            command
        });
    }
}

#[test]
fn a_job_of_a_python_worker_comes_back_as_the_table_says() {
    let worker = || {
        let mut command = Command::new("python3");
        command.arg(source("worker.py"));
        command
    };
    let mount = Mount::new();
    check(&mount, worker);
    // Python closes its files on the way out, also after an error. That is why --ack exists.
    let got = [false, true].map(|ack| outcome(&mount, worker(), ack, "r", "fails"));
    assert_eq!(got, [Kept, Back], "an exception that nobody catches");
}

#[test]
fn a_close_counts_before_the_exit_right_behind_it() {
    let mount = Mount::new();
    let worker = compiled(&mount);
    for round in 0..200 {
        let job = outcome(&mount, Command::new(&worker), false, "r", "closes, then exits 1");
        assert_eq!(job, Kept, "round {round}");
    }
}
