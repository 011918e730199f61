//! A connection as bytes go through it: as they are, or inside TLS. It never blocks.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, sendmsg, shutdown};

use super::tls::{TlsError, TlsStream};

/// See the [module](self).
#[derive(Debug)]
pub enum Stream {
    /// A socket that others can hear, or one of this machine.
    Plain(OwnedFd),
    /// One between two keys.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Reads what has come. 0 at the end.
    ///
    /// # Errors
    /// EAGAIN when nothing has; what the system or TLS says.
    pub fn read(&self, space: &mut [u8]) -> Result<usize, TlsError> {
        match self {
            Stream::Plain(socket) => Ok(rustix::io::read(socket, space)?),
            Stream::Tls(tls) => tls.read(space),
        }
    }

    /// Whether more can be read of what the socket has given already, so that nobody need wait for it.
    pub fn holds_input(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.holds_input())
    }

    /// Sends bytes of `parts`, and returns how many. Some may be left to [`Stream::flush`].
    ///
    /// # Errors
    /// EAGAIN when there is no room; those of the socket.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        match self {
            Stream::Plain(socket) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)
            }
            Stream::Tls(tls) => tls.send(parts),
        }
    }

    /// Sends what was left, as far as there is room.
    ///
    /// # Errors
    /// Those of the socket, but for EAGAIN.
    pub fn flush(&self) -> Result<(), Errno> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.flush(),
        }
    }

    /// Whether something is left that the socket has not taken.
    pub fn is_stuck(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.is_stuck())
    }

    /// Nothing goes through it any more. Who reads finds the end.
    pub fn hang_up(&self) {
        if let Stream::Tls(tls) = self {
            tls.close();
        }
        let _ = shutdown(self, Shutdown::Both);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Plain(socket) => socket.as_fd(),
            Stream::Tls(tls) => tls.as_fd(),
        }
    }
}
