//! The byte stream that a connection has at present.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::Buffer;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

/// A connected stream socket, in blocking mode: each call says whether it waits.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// Whether a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// EAGAIN where there is nothing.
    None,
    /// Until there is something, or somebody calls [`Socket::hang_up`].
    Endless,
}

impl Socket {
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(socket: OwnedFd) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&socket, false)?;
        Ok(Socket(socket))
    }

    /// Reads what there is, as far as there is room for it.
    pub fn receive<B: Buffer<u8>>(&self, buffer: B, patience: Patience) -> Result<usize, Errno> {
        let flags = match patience {
            Patience::None => RecvFlags::DONTWAIT,
            Patience::Endless => RecvFlags::empty(),
        };
        recv(&self.0, buffer, flags).map(|(_, len)| len)
    }

    /// Writes as much as there is room for.
    pub fn send(&self, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        retry_on_intr(|| sendmsg(&self.0, pieces, &mut SendAncillaryBuffer::default(), flags))
    }

    /// Nothing goes or comes any more; whoever waits is woken.
    pub fn hang_up(&self) {
        // Fails only where it is done.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
