//! The clients: processes that play round trips over two files, or open, write and close one.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::servers::{Ends, Place};

/// A figure in microseconds.
pub type Sample = f64;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// The median time of a message there and one back, between two processes.
    RoundTrip {
        /// Bytes of a message.
        bytes: usize,
        /// Round trips.
        rounds: usize,
    },
    /// The median time of open(2), write(2) and close(2). The message is read in between, untimed.
    OpenWriteClose {
        /// How often.
        rounds: usize,
    },
    /// The median time of a process that is started, opens, writes, closes and exits, as `echo` in a script is.
    FreshProcess {
        /// How often.
        rounds: usize,
    },
    /// The time per message when many pairs of processes play round trips at once.
    Crowd {
        /// Round trips of each pair.
        rounds: usize,
    },
}

impl Kind {
    /// Runs it over two files.
    pub fn measure(self, [a, b]: Ends, place: Place) -> Sample {
        match self {
            Kind::RoundTrip { bytes, rounds } => {
                let mut echo = client(place, &["echo", b.to_str().unwrap(), &bytes.to_string(), &rounds.to_string()]);
                let ping = client(place, &["ping", a.to_str().unwrap(), &bytes.to_string(), &rounds.to_string()]);
                let sample = answer(ping);
                echo.wait().unwrap();
                sample
            }
            Kind::OpenWriteClose { rounds } | Kind::FreshProcess { rounds } => {
                let role = if matches!(self, Kind::FreshProcess { .. }) { "spawn" } else { "open" };
                answer(client(place, &[role, a.to_str().unwrap(), b.to_str().unwrap(), &rounds.to_string()]))
            }
            Kind::Crowd { .. } => self.crowd(&[[a, b]]),
        }
    }

    /// Runs it over many pairs of files at once.
    pub fn crowd(self, all: &[Ends]) -> Sample {
        let Kind::Crowd { rounds } = self else { panic!("one pair is no crowd") };
        let start = Instant::now();
        let rounds_arg = rounds.to_string();
        let clients: Vec<Child> = all
            .iter()
            .flat_map(|[a, b]| [("echo", b), ("ping", a)])
            .map(|(role, end)| client(Place::Unpinned, &[role, end.to_str().unwrap(), "64", &rounds_arg]))
            .collect();
        clients.into_iter().for_each(|client| drop(client.wait_with_output()));
        start.elapsed().as_secs_f64() * 1e6 / (all.len() * rounds * 2) as f64
    }
}

/// The median that `pingpong` prints for one of its own ways.
pub fn pingpong(tools: &Path, args: &[&str], place: Place) -> Sample {
    measured(tools, "pingpong", args, place)
}

/// The median that a program of the floor prints.
pub fn measured(tools: &Path, program: &str, args: &[&str], place: Place) -> Sample {
    let output = place.command(&tools.join(program)).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().skip_while(|word| *word != "p50").nth(1).unwrap().parse().unwrap()
}

fn client(place: Place, args: &[&str]) -> Child {
    let mut command: Command = place.command(&std::env::current_exe().unwrap());
    command.arg("client").args(args).stdout(Stdio::piped()).spawn().unwrap()
}

fn answer(client: Child) -> Sample {
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// A client process.
pub fn run(args: &[String]) {
    let number = |index: usize| args[index].parse::<usize>().unwrap();
    match args[0].as_str() {
        "echo" => echo(&args[1], number(2), number(3)),
        "ping" => ping(&args[1], number(2), number(3)),
        "open" => open_write_close(&args[1], &args[2], number(3), write_once),
        "spawn" => open_write_close(&args[1], &args[2], number(3), |path| {
            let itself = std::env::current_exe().unwrap();
            assert!(Command::new(itself).args(["client", "once", path]).status().unwrap().success());
        }),
        "once" => write_once(&args[1]),
        other => panic!("no client {other}"),
    }
}

fn open(path: &str) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

fn echo(path: &str, bytes: usize, rounds: usize) {
    let (mut end, mut buffer) = (open(path), vec![0; bytes + 8192]);
    for _ in 0..rounds {
        let len = end.read(&mut buffer).unwrap();
        end.write_all(&buffer[..len]).unwrap();
    }
}

fn ping(path: &str, bytes: usize, rounds: usize) {
    let (mut end, mut buffer, message) = (open(path), vec![0; bytes + 8192], vec![b'x'; bytes]);
    median_of(rounds, || {
        let start = Instant::now();
        end.write_all(&message).unwrap();
        assert_eq!(end.read(&mut buffer).unwrap(), bytes);
        start.elapsed().as_secs_f64() * 1e6
    });
}

fn write_once(path: &str) {
    let mut writer = OpenOptions::new().write(true).open(path).unwrap();
    writer.write_all(&[b'x'; 64]).unwrap();
}

fn open_write_close(to: &str, from: &str, rounds: usize, once: impl Fn(&str)) {
    let (mut reader, mut buffer) = (open(from), [0; 8192]);
    median_of(rounds, || {
        let start = Instant::now();
        once(to);
        let took = start.elapsed().as_secs_f64() * 1e6;
        assert_eq!(reader.read(&mut buffer).unwrap(), 64);
        took
    });
}

fn median_of(rounds: usize, mut once: impl FnMut() -> f64) {
    let mut times: Vec<f64> = (0..rounds).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    println!("{}", times[rounds / 2]);
}
