//! Processes of a test: ended when the test is, and looked at through /proc.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// A child that is killed and reaped on drop.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts `command`.
    pub fn new(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Starts `command` with pipes on its standard input and output, see [`Running::said`].
    pub fn piped(command: &mut Command) -> Running {
        Running::new(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Closes its standard input, waits for its end, which must be a success, and returns what it printed. Of one that
    /// prints more than a pipe holds, it does not see the end.
    pub fn said(mut self) -> String {
        drop(self.0.stdin.take());
        let status = self.ended();
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(status.success(), "{status}: {text}");
        text
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self::signal(self.0.id(), signal);
    }

    /// Waits for its end, with a deadline.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        let child = &mut self.0;
        wait_for(&format!("process {} to end", child.id()), || child.try_wait().unwrap())
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends process `pid` a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// A port of this machine that nobody listens at, for a program that cannot choose one itself and say which.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Open descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory in KiB.
    pub memory: usize,
}

/// What process `pid` uses now.
pub fn resources(pid: u32) -> Resources {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let figure = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Resources { descriptors, threads: figure("Threads"), memory: figure("VmRSS") }
}

/// Stops a process, and waits until every thread of it is: one that is still on its way could take one more request,
/// and whoever asks then cannot even be killed.
pub fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    wait_for("every thread to be stopped", || {
        let mut threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        threads.all(|thread| is_stopped(thread.unwrap())).then_some(())
    });
}

/// The state letter of a process, as in ps(1): R, S, D, Z, ...; None when there is none.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
