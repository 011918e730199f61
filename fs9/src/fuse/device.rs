//! /dev/fuse: requests are read from it one a read(2), replies written to it one a write(2).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use zerocopy::{Immutable, IntoBytes};

use super::abi::{FUSE_NOTIFY_POLL, NotifyPoll, OutHeader, WriteOut};
use crate::ticket::{Answer, Door};

/// One open descriptor of /dev/fuse, of a mount whose INIT is done.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl Device {
    /// The device behind a descriptor.
    pub fn new(fd: OwnedFd) -> Device {
        Device { fd }
    }

    /// Waits for a request and reads it. None once the filesystem is unmounted.
    ///
    /// # Errors
    /// What read(2) says, but for requests that were aborted before they were read.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(Errno::NODEV) => return Ok(None),
                Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether a request is there to be read; also when the mount is gone, which reading then tells.
    pub fn is_ready(&self) -> bool {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
        !matches!(poll(&mut fds, Some(&NOW)), Ok(0))
    }

    /// Replies with a structure of the protocol.
    pub fn reply(&self, unique: u64, body: &(impl IntoBytes + Immutable)) {
        self.reply_bytes(unique, body.as_bytes());
    }

    /// Replies with bytes.
    pub fn reply_bytes(&self, unique: u64, body: &[u8]) {
        self.send(&OutHeader::ok(unique, body.len()), body);
    }

    /// Replies that it is done.
    pub fn done(&self, unique: u64) {
        self.send(&OutHeader::ok(unique, 0), &[]);
    }

    /// Replies with an error.
    pub fn error(&self, unique: u64, errno: Errno) {
        self.send(&OutHeader::error(unique, errno.raw_os_error()), &[]);
    }

    fn send(&self, header: &OutHeader, body: &[u8]) {
        let parts = [IoSlice::new(header.as_bytes()), IoSlice::new(body)];
        let sent = if body.is_empty() {
            rustix::io::write(&self.fd, header.as_bytes())
        } else {
            rustix::io::writev(&self.fd, &parts)
        };
        // ENOENT: the caller is gone or the mount is being aborted; there is nobody to tell.
        if let Err(error) = sent {
            tracing::debug!(unique = header.unique, %error, "reply not taken");
        }
    }
}

/// A request that is to be answered once. Dropped unanswered, it answers ESHUTDOWN.
#[derive(Debug)]
pub struct Due {
    device: Arc<Device>,
    unique: u64,
}

impl Due {
    /// The request `unique` of `device`.
    pub fn new(device: Arc<Device>, unique: u64) -> Due {
        Due { device, unique }
    }

    /// Replies with a structure of the protocol.
    pub fn reply(self, body: &(impl IntoBytes + Immutable)) {
        self.reply_bytes(body.as_bytes());
    }

    /// Replies with bytes; without any, that it is done.
    pub fn reply_bytes(mut self, body: &[u8]) {
        self.device.reply_bytes(std::mem::take(&mut self.unique), body);
    }

    /// Replies with an error.
    pub fn error(mut self, errno: Errno) {
        self.device.error(std::mem::take(&mut self.unique), errno);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        // No request has the number 0, which therefore means answered.
        if self.unique != 0 {
            self.device.error(self.unique, Errno::SHUTDOWN);
        }
    }
}

impl Door for Device {
    fn answer(&self, id: u64, answer: Answer) {
        match answer {
            Answer::Data(message, range) => self.reply_bytes(id, &message[range]),
            Answer::End => self.done(id),
            // The kernel never asks to write more than fits a u32, and no more is written than asked.
            Answer::Written(len) => self.reply(id, &WriteOut { size: len as u32, padding: 0 }),
            Answer::Error(errno) => self.error(id, errno),
        }
    }

    fn wake(&self, watch: u64, _now: u32) {
        let body = NotifyPoll { kh: watch };
        self.send(&OutHeader::notify(FUSE_NOTIFY_POLL, body.as_bytes().len()), body.as_bytes());
    }
}
