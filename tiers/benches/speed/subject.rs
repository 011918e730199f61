//! Who is measured, where, and the processes that are started for it.
//!
//! Every repetition runs in a process of its own that sets its affinity first: what a library finds out about the
//! machine once and keeps (kanal: the number of processors) is then right, and nothing is left over from the one
//! before.
#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::measure::Figures;

/// A repetition that takes longer has hung.
const TOO_LONG: Duration = Duration::from_secs(20);

/// The variable that tells a player and its other end where to run.
const PLACE: &str = "FS9_SPEED_PLACE";

/// One thing that is measured.
#[derive(Clone, Copy)]
pub struct Subject {
    /// Its name in the table.
    pub name: &'static str,
    /// One repetition.
    play: fn() -> Figures,
    /// The process at the other end, with one argument.
    echo: fn(&str),
}

impl Subject {
    /// Between threads.
    pub const fn threads(name: &'static str, play: fn() -> Figures) -> Subject {
        Subject { name, play, echo: |_| panic!("threads have no other process") }
    }

    /// Between processes.
    pub const fn processes(name: &'static str, play: fn() -> Figures, echo: fn(&str)) -> Subject {
        Subject { name, play, echo }
    }

    /// Measures it once, in a process of its own.
    pub fn repetition(&self, place: Place) -> Figures {
        let mut player = itself(&["play", self.name]);
        let output = player.env(PLACE, place.to_string()).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{}, {place}: {}", self.name, output.status);
        Figures::parse(&String::from_utf8(output.stdout).unwrap())
    }

    /// A process that the benchmark has started of itself: a player, or the other end of one.
    pub fn run(all: &[Subject], args: &[String]) {
        end_with_parent();
        let subject = all.iter().find(|subject| subject.name == args[1]).unwrap();
        if args[0] == "echo" {
            other_party();
            return (subject.echo)(&args[2]);
        }
        if Place::here() != Place::Unpinned {
            stay_on(0);
        }
        thread::spawn(|| {
            thread::sleep(TOO_LONG);
            // The other end goes with this process.
            eprintln!("a repetition has hung");
            std::process::exit(1);
        });
        println!("{}", (subject.play)().line());
    }
}

/// Where both parties run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Wherever the kernel puts them.
    Unpinned,
    /// On one processor.
    Pinned,
    /// Each on a processor of its own, which the kernel does not always find out by itself.
    Apart,
}

impl Place {
    /// All of them, in the order of the tables.
    pub const ALL: [Place; 3] = [Place::Unpinned, Place::Apart, Place::Pinned];

    /// Where this process was told to run; unpinned when it was not told.
    fn here() -> Place {
        let name = std::env::var(PLACE).unwrap_or_default();
        Place::ALL.into_iter().find(|place| place.to_string() == name).unwrap_or(Place::Unpinned)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Unpinned => "unpinned",
            Place::Pinned => "pinned",
            Place::Apart => "apart",
        })
    }
}

/// This process is killed when the one that started it ends, however that ends.
pub fn end_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
}

/// To be called by the thread at the other end, and by nobody else: it goes where the second party runs.
pub fn other_party() {
    if Place::here() == Place::Apart {
        stay_on(1);
    }
}

/// This thread, and those that it starts.
fn stay_on(processor: usize) {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).unwrap();
}

/// This program.
pub fn itself(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args);
    command
}

/// The process at the other end; killed when it is dropped.
pub struct Helper(Child);

impl Helper {
    /// Starts it, with one argument for it and its standard input.
    pub fn start(subject: &Subject, arg: &str, input: Stdio) -> Helper {
        Helper(itself(&["echo", subject.name, arg]).stdin(input).stdout(Stdio::null()).spawn().unwrap())
    }

    /// It was told to end, and does.
    pub fn end(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What this process was given as its standard input.
pub fn standard_input() -> OwnedFd {
    std::io::stdin().as_fd().try_clone_to_owned().unwrap()
}
