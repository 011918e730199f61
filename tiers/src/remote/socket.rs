//! The usual byte stream: a connected stream socket.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use super::carrier::{Carrier, Patience};
use crate::readiness::wait_for;
use crate::slot::Deadline;
use crate::watch::Watcher;

/// A socket in blocking mode: each call says whether it waits, so that who waits needs no other call for it.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(socket: OwnedFd) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(Socket(socket))
    }
}

impl Carrier for Socket {
    fn append(&self, into: &mut Vec<u8>, patience: Patience) -> Result<usize, Errno> {
        let flags = match patience {
            Patience::None => RecvFlags::DONTWAIT,
            Patience::Endless => RecvFlags::empty(),
        };
        recv(&self.0, spare_capacity(into), flags).map(|(_, len)| len)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(&self.0, buffer, RecvFlags::DONTWAIT).map(|(_, len)| len)
    }

    fn send(&self, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        retry_on_intr(|| sendmsg(&self.0, pieces, &mut SendAncillaryBuffer::default(), flags))
    }

    fn flush(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn holds_input(&self) -> bool {
        false
    }

    fn hang_up(&self) {
        // Fails only where it is done.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    fn wait(&self, events: PollFlags, deadline: Deadline) -> Result<PollFlags, Errno> {
        wait_for(&self.0, events, deadline)
    }

    fn watch(&self, watcher: &Watcher, number: u64, events: EventFlags) -> io::Result<()> {
        watcher.watch_once(number, &self.0, events | EventFlags::RDHUP)
    }

    fn unwatch(&self, watcher: &Watcher) {
        watcher.remove(&self.0);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
