//! Programs: of a service that was made by `spawn` each connection is served by a process of its own, whose standard
//! input and output are messages.
//!
//! A thread looks after each process. It starts it, and so outlives it: should the thread end first, however it does,
//! the kernel kills the process (see [`fs9_tiers::process::Tied`]). Then it takes the server's end of the connection
//! that has waited longest, moves messages ([`session`]) as their framing says ([`framing`]), and ends the process when
//! the conversation is over ([`course`]).

mod complaints;
mod course;
mod far;
mod framing;
mod pipes;
mod process;
mod session;
mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::local::{Local, verb};
use crate::server::Server;
use crate::tree::NodeId;
use process::Process;
use session::Session;

/// A thread that looks after a process needs little.
const STACK: usize = 256 * 1024;

/// How long the threads may take to end, which take half of that where the kernel ends the processes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The processes of all programs of a server. Dropped, they are ended.
#[derive(Debug)]
pub struct Programs {
    server: Arc<Mutex<Server>>,
    /// Readable once they are to end.
    stop: Arc<OwnedFd>,
    threads: Mutex<Threads>,
}

/// Each thread holds a sender, by whose end one knows its own.
#[derive(Debug)]
struct Threads {
    running: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Programs {
    /// None yet.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(server: Arc<Mutex<Server>>) -> io::Result<Programs> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (running, ended) = channel();
        Ok(Programs { server, stop, threads: Mutex::new(Threads { running: Some(running), ended }) })
    }

    /// Starts the process that [`Host::engage`](crate::host::Host::engage) asked for.
    pub fn start(&self, service: NodeId) {
        let (server, stop) = (self.server.clone(), self.stop.clone());
        // Once they are to end nobody waits for another.
        let Some(running) = self.threads.lock().unwrap_or_else(PoisonError::into_inner).running.clone() else { return };
        let thread = thread::Builder::new().name("fs9-program".into()).stack_size(STACK);
        let spawned = thread.spawn(move || {
            serve(&server, service, &stop);
            drop(running);
        });
        if let Err(error) = spawned {
            refuse(Place { server: &self.server, service }, &error);
        }
    }

    /// Ends them all: none is left when this returns, but what the kernel does not end, or does not even start (a
    /// program in a directory whose server does not answer).
    pub fn end(&self) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.running = None;
        if let Err(RecvTimeoutError::Timeout) = threads.ended.recv_timeout(PATIENCE) {
            tracing::error!("a process of a program cannot be ended");
        }
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.end();
    }
}

/// One of the processes that may run at once. Dropped, there is room for another.
#[derive(Debug)]
struct Place<'a> {
    server: &'a Mutex<Server>,
    service: NodeId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        verb(self.server, |server, _| server.dismiss(self.service));
    }
}

fn refuse(place: Place<'_>, error: &io::Error) {
    tracing::warn!(%error, "a program does not serve");
    verb(place.server, |server, fx| server.refuse(place.service, error.to_string(), fx));
}

/// Looks after one process, from its start to its end.
fn serve(server: &Arc<Mutex<Server>>, service: NodeId, stop: &OwnedFd) {
    // A service that was removed needs no process, and counts none.
    let Some((program, limit)) = verb(server, |server, _| server.program(service)) else { return };
    let place = Place { server, service };
    let started = match Process::start(&program, limit) {
        Ok(started) => started,
        Err(error) => return refuse(place, &error),
    };
    let holder = started.0.holder().clone();
    let accepted = Local::with(server, |server, fx| server.accept(service, holder, fx).ok_or(Errno::CONNABORTED));
    match accepted {
        Ok(local) => Session::new(local, started, &program, stop, place).run(),
        // Whoever came has left again.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => drop(started),
        Err(error) => refuse(place, &error),
    }
}
