//! One open descriptor of a mounted file: every system call that moves a message is made here.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use rustix::fs::{Mode, OFlags};

use super::errno::{Verb, failed};
use super::output::print_message;
use super::place::Place;
use super::shell::shown;
use super::wait::{Ended, Wait};

/// A read(2) with this much room takes any message whole.
const ROOM: usize = 1 << 20;

/// An open descriptor, and how to speak about it.
#[derive(Debug)]
pub struct Peer<'a> {
    fd: OwnedFd,
    verb: Verb,
    shown: PathBuf,
    wait: &'a Wait,
}

impl<'a> Peer<'a> {
    /// Opens what is there; makes and truncates nothing.
    pub fn open(place: &Place, flags: OFlags, verb: Verb, wait: &'a Wait) -> anyhow::Result<Peer<'a>> {
        let path = place.path();
        let what = format!("the server of {}", shown(&place.root));
        let fd = wait
            .run(&what, || rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty()))
            .map_err(|ended| sentence(ended, verb, &place.shown))?;
        Ok(Peer { fd, verb, shown: place.shown.clone(), wait })
    }

    /// The same descriptor, used for receiving from now on.
    pub fn receiving(self) -> Peer<'a> {
        Peer { verb: Verb::Receive, ..self }
    }

    /// Sends one message with exactly one write(2), waiting for `what` if it must.
    pub fn send(&self, what: &str, message: &[u8]) -> anyhow::Result<()> {
        let sent = self.attempt(what, || rustix::io::write(&self.fd, message))?;
        // The contract has no such case; a server that breaks it must not go unnoticed.
        ensure!(sent == message.len(), "{} took {sent} of {} bytes", shown(&self.shown), message.len());
        Ok(())
    }

    /// Receives one message with exactly one read(2), waiting for `what` if it must; `None` at the end.
    pub fn receive<'b>(&self, what: &str, room: &'b mut [u8]) -> anyhow::Result<Option<&'b [u8]>> {
        let received = self.attempt(what, || rustix::io::read(&self.fd, &mut *room))?;
        Ok((received > 0).then_some(&room[..received]))
    }

    /// Reads to the end of the file.
    pub fn read_all(&self) -> anyhow::Result<Vec<u8>> {
        let mut room = room();
        let mut bytes = Vec::new();
        while let Some(part) = self.receive("an answer of the server", &mut room)? {
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// Says that the message received last has been dealt with, and closes. An `--ack` queue would otherwise give it to
    /// another reader.
    pub fn acknowledge(self) -> anyhow::Result<()> {
        self.attempt("an answer of the server", || rustix::fs::fsync(&self.fd))
    }

    /// Writes a received message to standard output. If that fails the descriptor is left for the exit to close: a
    /// process that fails without a close gives the message back to its queue.
    pub fn pass_on(self, message: &[u8]) -> anyhow::Result<Peer<'a>> {
        match print_message(message) {
            Ok(()) => Ok(self),
            Err(error) => {
                std::mem::forget(self.fd);
                Err(error)
            }
        }
    }

    fn attempt<T>(&self, what: &str, call: impl FnMut() -> rustix::io::Result<T>) -> anyhow::Result<T> {
        self.wait.run(what, call).map_err(|ended| sentence(ended, self.verb, &self.shown))
    }
}

/// Room for the longest message there can be.
pub fn room() -> Vec<u8> {
    vec![0; ROOM]
}

fn sentence(ended: Ended, verb: Verb, shown: &Path) -> anyhow::Error {
    match ended {
        Ended::Refused(errno) => failed(verb, shown, errno),
        Ended::TimedOut(timed_out) => timed_out.into(),
    }
}
