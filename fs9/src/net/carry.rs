//! Bytes between a connection and a socket of this machine, whose other end somebody has who cannot speak TLS.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, send};

use super::stream::Stream;
use super::tls::TlsError;

/// Bytes that are carried at once, each way.
const BUFFER: usize = 64 << 10;

/// Carries both ways until one of the two has hung up. Neither blocks.
///
/// # Errors
/// Why the connection ended, where it was not hung up.
pub fn carry(stream: &Stream, socket: &OwnedFd) -> Result<(), TlsError> {
    let mut carrier = Carrier { stream, socket, outward: Load::new(), inward: Load::new() };
    loop {
        match (carrier.outward()?, carrier.inward()?) {
            (Moved::End, _) | (_, Moved::End) => return Ok(()),
            (Moved::Nothing, Moved::Nothing) => carrier.sleep()?,
            _ => {}
        }
    }
}

/// What has been read here and is to be written there.
struct Load {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Load {
    fn new() -> Load {
        Load { bytes: vec![0; BUFFER].into(), start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Takes what `read` gives, or has `write` take what is there.
    fn shift(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Result<usize, TlsError>,
        write: impl FnOnce(&[u8]) -> Result<usize, Errno>,
    ) -> Result<Moved, TlsError> {
        let moved = if self.is_empty() {
            let len = match read(&mut self.bytes) {
                Ok(0) => return Ok(Moved::End),
                read => read,
            };
            len.map(|len| (self.start, self.end) = (0, len))
        } else {
            write(self.rest()).map(|len| self.start += len).map_err(TlsError::from)
        };
        match moved {
            Ok(()) => Ok(Moved::Some),
            Err(TlsError::System(Errno::AGAIN | Errno::INTR)) => Ok(Moved::Nothing),
            Err(error) => Err(error),
        }
    }
}

enum Moved {
    Some,
    Nothing,
    End,
}

struct Carrier<'a> {
    stream: &'a Stream,
    socket: &'a OwnedFd,
    outward: Load,
    inward: Load,
}

impl Carrier<'_> {
    /// From the socket to the connection.
    fn outward(&mut self) -> Result<Moved, TlsError> {
        self.stream.flush()?;
        self.outward.shift(|space| Ok(read(self.socket, space)?), |bytes| self.stream.send(&[IoSlice::new(bytes)]))
    }

    /// From the connection to the socket.
    fn inward(&mut self) -> Result<Moved, TlsError> {
        let written = |bytes: &[u8]| send(self.socket, bytes, SendFlags::NOSIGNAL);
        match self.inward.shift(|space| self.stream.read(space), written) {
            Err(TlsError::System(Errno::PIPE)) => Ok(Moved::End),
            moved => moved,
        }
    }

    /// Waits until something can be read or written. Of what nothing is wanted, nothing is heard either: that it has
    /// hung up is found when it is read or written.
    fn sleep(&self) -> Result<(), Errno> {
        let wanted = |input: bool, output: bool| {
            let either = if input { PollFlags::IN } else { PollFlags::empty() };
            if output { either | PollFlags::OUT } else { either }
        };
        let is_stuck = !self.outward.is_empty() || self.stream.is_stuck();
        let here = (self.socket.as_fd(), wanted(self.outward.is_empty(), !self.inward.is_empty()));
        let there = (self.stream.as_fd(), wanted(self.inward.is_empty(), is_stuck));
        let watched = [here, there].into_iter().filter(|(_, wanted)| !wanted.is_empty());
        let mut watched: Vec<_> = watched.map(|(fd, wanted)| PollFd::from_borrowed_fd(fd, wanted)).collect();
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A carrier between two sockets, and what it came to.
    fn carried(there: UnixStream, here: UnixStream) -> thread::JoinHandle<Result<(), TlsError>> {
        there.set_nonblocking(true).expect("a socket");
        here.set_nonblocking(true).expect("a socket");
        thread::spawn(move || carry(&Stream::Plain(there.into()), &here.into()))
    }

    #[test]
    fn all_that_is_said_arrives_both_ways_at_once_until_one_hangs_up() {
        for far_goes in [true, false] {
            let (mut far, there) = UnixStream::pair().expect("sockets");
            let (mut near, here) = UnixStream::pair().expect("sockets");
            let carrier = carried(there, here);
            let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
            let said = bytes.clone();
            let mut mouth = near.try_clone().expect("a socket");
            let speaker = thread::spawn(move || mouth.write_all(&said).expect("room"));
            let mut echoed = vec![0; bytes.len()];
            let echo = thread::spawn(move || {
                let mut buffer = [0; 5000];
                for _ in 0..600 {
                    far.read_exact(&mut buffer).expect("bytes");
                    far.write_all(&buffer).expect("room");
                }
                far
            });
            near.read_exact(&mut echoed).expect("bytes");
            assert!(echoed == bytes, "the same");
            speaker.join().expect("said");
            let mut far = echo.join().expect("echoed");
            if far_goes {
                drop(far);
                assert_eq!(near.read(&mut [0]).expect("the end"), 0);
            } else {
                drop(near);
                assert_eq!(far.read(&mut [0]).expect("the end"), 0);
            }
            carrier.join().expect("no panic").expect("hung up");
        }
    }
}
