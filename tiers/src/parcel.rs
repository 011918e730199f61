//! Parcels: one datagram with descriptors beside it, over a connected SEQPACKET Unix socket that never waits.
//!
//! A parcel goes all or nothing and keeps its bounds; descriptors that nobody receives are closed by the kernel with
//! the socket. What comes is not trusted: one that is longer, or has more descriptors, than any of ours is
//! [`Received::Malformed`], and its descriptors are closed.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

use crate::sys::socket;

/// The most bytes of a parcel.
pub const LONGEST: usize = 4096;

/// The most descriptors beside a parcel. The kernel takes 253 (`SCM_MAX_FD` in unix(7)).
pub const MOST_DESCRIPTORS: usize = 128;

/// What there was to receive.
#[derive(Debug)]
pub enum Received {
    /// The bytes, and the descriptors beside them in the order in which they were sent.
    Parcel(Vec<u8>, Vec<OwnedFd>),
    /// Nothing for now.
    Nothing,
    /// The other end is closed, and all that it sent has been received.
    HungUp,
    /// Something that is no parcel: too long, or with too many descriptors. Those that did arrive have been closed.
    /// Also a parcel for whose descriptors this process has no room (RLIMIT_NOFILE): they are lost, as the kernel takes
    /// what it can from the queue and cuts off the rest.
    Malformed,
}

/// Two ends of one connection, closed on exec.
///
/// # Errors
/// EMFILE, ENFILE and ENOBUFS (socketpair(2)).
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Sends all of `bytes` and `descriptors` in one parcel, or nothing.
///
/// # Errors
/// `InvalidInput`, before anything is sent: for a parcel without bytes, which the receiver could not tell from the end
/// of the connection (recv(2)), and for one above [`LONGEST`] or [`MOST_DESCRIPTORS`]. `WouldBlock` when the socket is
/// full; EPIPE or ECONNRESET when the other end is closed; ETOOMANYREFS when this user has too many descriptors on
/// their way (unix(7)); and others of sendmsg(2).
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if bytes.is_empty() {
        return refused("a parcel without bytes");
    }
    if bytes.len() > LONGEST {
        return refused("a parcel that is too long");
    }
    if descriptors.len() > MOST_DESCRIPTORS {
        return refused("a parcel with too many descriptors");
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return refused("a parcel with too many descriptors");
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags))?;
    Ok(())
}

/// Receives the next parcel, if there is one. Its descriptors are closed on exec.
///
/// # Errors
/// ENOTCONN for a socket that was never connected, and others of recvmsg(2).
pub fn receive(socket: impl AsFd) -> io::Result<Received> {
    let mut bytes = [0; LONGEST];
    let mut was_reset = false;
    loop {
        match socket::receive(&socket, &mut bytes) {
            Ok(datagram) if datagram.cut || datagram.descriptors.len() > MOST_DESCRIPTORS => {
                return Ok(Received::Malformed);
            }
            Ok(datagram) => {
                return Ok(match bytes.get(..datagram.len) {
                    None | Some([]) => Received::HungUp,
                    Some(bytes) => Received::Parcel(bytes.to_vec(), datagram.descriptors),
                });
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                // Told once, before what the other end sent until it closed: that is still to be received
                // (`unix_release_sock` in net/unix/af_unix.c).
                io::ErrorKind::ConnectionReset if !was_reset => was_reset = true,
                io::ErrorKind::ConnectionReset => return Ok(Received::HungUp),
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, Write, pipe};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Waits until there is something to read, or the end. The end of what this test closes does not come at once: a
    /// program that another test starts has a copy of everything until it execs.
    fn is_ready(descriptor: impl AsFd) -> bool {
        let timeout = Timespec { tv_sec: 5, tv_nsec: 0 };
        poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)).expect("poll") == 1
    }

    /// Whether every writer of the pipe is gone.
    fn is_at_end(mut reader: &PipeReader) -> bool {
        is_ready(reader) && reader.read(&mut [0]).expect("a read") == 0
    }

    /// Waits until the other end is closed, whatever is still to be received.
    fn wait_for_hang_up(socket: &OwnedFd) {
        poll(&mut [PollFd::new(socket, PollFlags::RDHUP)], None).expect("poll");
    }

    fn is_hung_up(socket: &OwnedFd) -> bool {
        is_ready(socket) && matches!(receive(socket), Ok(Received::HungUp))
    }

    fn taken(socket: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
        match receive(socket).expect("no error") {
            Received::Parcel(bytes, descriptors) => (bytes, descriptors),
            other => panic!("a parcel, not {other:?}"),
        }
    }

    /// Sends what `send` refuses.
    fn send_anything(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).expect("sent");
    }

    #[test]
    fn parcels_keep_their_bounds_and_their_order() {
        let (here, there) = socket_pair().expect("a pair");
        assert!(matches!(receive(&there), Ok(Received::Nothing)));
        send(&here, b"one", &[]).expect("sent");
        send(&here, &[7; LONGEST], &[]).expect("sent");
        send(&there, b"and back", &[]).expect("sent");
        assert_eq!(taken(&there).0, b"one");
        assert_eq!(taken(&there).0, [7; LONGEST]);
        assert_eq!(taken(&here).0, b"and back");
        assert!(matches!(receive(&there), Ok(Received::Nothing)));
        drop(here);
        assert!(is_hung_up(&there));
        assert!(is_hung_up(&there), "and remains so");
        assert_eq!(send(&there, b"late", &[]).expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_descriptor_goes_beside() {
        let (here, there) = socket_pair().expect("a pair");
        let (mut reader, writer) = pipe().expect("a pipe");
        send(&here, b"a writer", &[writer.as_fd()]).expect("sent");
        drop(writer);
        let (bytes, mut descriptors) = taken(&there);
        assert_eq!((bytes.as_slice(), descriptors.len()), (&b"a writer"[..], 1));
        let received = descriptors.remove(0);
        assert!(rustix::io::fcntl_getfd(&received).expect("flags").contains(rustix::io::FdFlags::CLOEXEC));
        io::PipeWriter::from(received).write_all(b"through").expect("written");
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("read");
        assert_eq!(told, "through");
    }

    #[test]
    fn as_many_descriptors_as_promised_go_and_no_more() {
        let (here, there) = socket_pair().expect("a pair");
        let (reader, writer) = pipe().expect("a pipe");
        send(&here, b"many", &[writer.as_fd(); MOST_DESCRIPTORS]).expect("sent");
        assert_eq!(taken(&there).1.len(), MOST_DESCRIPTORS);

        for refused in [
            send(&here, b"more", &[writer.as_fd(); MOST_DESCRIPTORS + 1]),
            send(&here, b"", &[writer.as_fd()]),
            send(&here, &[0; LONGEST + 1], &[]),
        ] {
            assert_eq!(refused.expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        }
        assert!(matches!(receive(&there), Ok(Received::Nothing)), "nothing of it was sent");
        drop(writer);
        assert!(is_at_end(&reader));
    }

    #[test]
    fn a_full_socket_takes_nothing() {
        let (here, there) = socket_pair().expect("a pair");
        let (reader, writer) = pipe().expect("a pipe");
        let mut sent = 0;
        let full = loop {
            match send(&here, &[1; LONGEST], &[]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let full = send(&here, &[2; LONGEST], &[writer.as_fd()]).expect_err("still full");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert!(is_at_end(&reader), "no copy of the descriptor is left");
        for _ in 0..sent {
            assert_eq!(taken(&there).0, [1; LONGEST]);
        }
        assert!(matches!(receive(&there), Ok(Received::Nothing)));
        send(&here, b"room again", &[]).expect("sent");
    }

    #[test]
    fn what_is_no_parcel_is_malformed_and_its_descriptors_are_closed() {
        let (here, there) = socket_pair().expect("a pair");
        let (reader, writer) = pipe().expect("a pipe");
        send_anything(&here, &[0; LONGEST + 1], &[writer.as_fd(); 2]);
        send_anything(&here, b"many", &[writer.as_fd(); MOST_DESCRIPTORS + 1]);
        send_anything(&here, b"many more", &[writer.as_fd(); 253]);
        send(&here, b"fine", &[]).expect("sent");
        drop(writer);
        for _ in 0..3 {
            assert!(matches!(receive(&there), Ok(Received::Malformed)));
        }
        assert!(is_at_end(&reader));
        assert_eq!(taken(&there).0, b"fine");

        let (reader, writer) = pipe().expect("a pipe");
        send_anything(&here, b"", &[writer.as_fd()]);
        drop(writer);
        assert!(matches!(receive(&there), Ok(Received::HungUp)), "no bytes are the end");
        assert!(is_at_end(&reader));
    }

    #[test]
    fn what_was_sent_before_the_end_arrives() {
        let (here, there) = socket_pair().expect("a pair");
        let (reader, writer) = pipe().expect("a pipe");
        send(&here, b"last words", &[writer.as_fd()]).expect("sent");
        drop(writer);
        // With something that it did not receive: to us that is a connection reset before anything else.
        send(&there, b"never received", &[]).expect("sent");
        drop(here);
        wait_for_hang_up(&there);
        let (bytes, descriptors) = taken(&there);
        assert_eq!((bytes.as_slice(), descriptors.len()), (&b"last words"[..], 1));
        assert!(is_hung_up(&there));
        drop(descriptors);
        assert!(is_at_end(&reader));
    }

    #[test]
    fn descriptors_that_nobody_receives_are_closed_with_the_socket() {
        let (here, there) = socket_pair().expect("a pair");
        let (reader, writer) = pipe().expect("a pipe");
        send(&here, b"unread", &[writer.as_fd()]).expect("sent");
        drop((here, there, writer));
        assert!(is_at_end(&reader));
    }
}
