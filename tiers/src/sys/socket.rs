//! Unix sockets, where the typed library falls short: who is at the other end, as a pidfd (`SO_PEERPIDFD` in
//! include/net/sock.h, Linux 6.5), and receiving without losing track of a descriptor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `SCM_PIDFD`: a control message with a pidfd of the sender (include/linux/socket.h).
const SCM_PIDFD: i32 = 4;

/// Room for the control messages of as many descriptors as one datagram can have (`SCM_MAX_FD`, 253), and for those
/// about the sender. What does not fit is cut off by the kernel and closed.
const CONTROL: usize = 2048;

/// The process that made the other end of a connected Unix socket, as a pidfd that is closed on exec: of a pair the one
/// that made the pair, otherwise the one that connected or listened.
///
/// # Errors
/// ENODATA where the socket has no other end; ENOPROTOOPT on a kernel before 6.5; ESRCH or EINVAL where the process is
/// gone (before 6.16); EMFILE and ENFILE.
pub fn peer_pidfd(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut pidfd: libc::c_int = -1;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: SO_PEERPIDFD writes at most `len` bytes, which is one int, to `pidfd`, and the length to `len`.
    let done = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_PEERPIDFD, (&raw mut pidfd).cast(), &raw mut len)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// The process, user and group of who made the other end of a connected Unix socket (SO_PEERCRED in unix(7)). The
/// process is 0 when it cannot be seen from this pid namespace, which the typed library has no value for.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer_credentials(socket: impl AsFd) -> io::Result<(u32, u32, u32)> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: SO_PEERCRED writes at most `len` bytes, which is one `struct ucred`, to `who`, and the length to `len`;
    // all of its fields are integers.
    let done =
        unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut who).cast(), &raw mut len) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((u32::try_from(who.pid).unwrap_or(0), who.uid, who.gid))
}

/// One datagram as it came.
#[derive(Debug)]
pub struct Datagram {
    /// How many bytes have been filled.
    pub len: usize,
    /// Whether bytes or descriptors were lost: they did not fit, or this process has no descriptor free.
    pub cut: bool,
    /// The descriptors that came with it, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Receives one datagram into `bytes`, without waiting. Who else holds our end of the socket can have the kernel attach
/// more than the sender did (`SO_PASSCRED`, `SO_PASSPIDFD` in unix(7)): that is closed or ignored. The typed library
/// would leak such a pidfd at every datagram, which is why this is here.
///
/// # Errors
/// EAGAIN when there is none; ECONNRESET, once, when the other end was closed before it had received everything; and
/// others of recvmsg(2).
pub fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<Datagram> {
    /// Aligned as the control messages in it.
    #[repr(C, align(8))]
    struct Control([u8; CONTROL]);
    let mut control = Control([0; CONTROL]);
    let mut place = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a `struct msghdr` is integers and pointers, for which zero is valid, and null is "none".
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut place;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = CONTROL as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the header names one place of `bytes.len()` bytes and CONTROL bytes for the control messages, all of
    // which are ours to be written and outlive the call.
    let done = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags) };
    let len = usize::try_from(done).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    for (kind, number) in numbers(control.0.get(..header.msg_controllen as usize).unwrap_or(&[])) {
        // SAFETY: the kernel has written these control messages just now, and each number in them is of a descriptor
        // that it has opened for us and nobody else knows of.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        if kind == libc::SCM_RIGHTS {
            descriptors.push(descriptor);
        }
    }
    Ok(Datagram { len, cut: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0, descriptors })
}

/// The kind and number of every descriptor in control messages (cmsg(3)): each is a header of its length with the
/// header, its level and its kind, then the data, up to the next multiple of the length's size.
fn numbers(mut control: &[u8]) -> Vec<(i32, RawFd)> {
    const LENGTH: usize = size_of::<usize>();
    const HEADER: usize = LENGTH + 2 * size_of::<i32>();
    let mut found = Vec::new();
    while let Some((length, rest)) = control.split_first_chunk::<LENGTH>()
        && let Some((level, rest)) = rest.split_first_chunk::<4>()
        && let Some((kind, _)) = rest.split_first_chunk::<4>()
        && let length = usize::from_ne_bytes(*length)
        && let Some(data) = control.get(HEADER..length)
    {
        let (level, kind) = (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind));
        if level == libc::SOL_SOCKET && [libc::SCM_RIGHTS, SCM_PIDFD].contains(&kind) {
            let (chunks, _) = data.as_chunks::<4>();
            // In place of a pidfd that could not be opened stands an error, below zero (`scm_pidfd_recv` in
            // net/core/scm.c).
            found.extend(chunks.iter().map(|chunk| (kind, RawFd::from_ne_bytes(*chunk))).filter(|(_, fd)| *fd >= 0));
        }
        control = control.get(length.next_multiple_of(LENGTH)..).unwrap_or(&[]);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;
    use crate::holder::Holder;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair")
    }

    fn set(socket: &OwnedFd, option: i32) {
        let (on, len) = (1_i32, size_of::<i32>() as libc::socklen_t);
        // SAFETY: setsockopt reads `len` bytes, which is one int, from `on`.
        let done =
            unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const on).cast(), len) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn a_pair_was_made_by_this_process() {
        let (here, there) = pair();
        for socket in [here, there] {
            let holder = Holder::from_pidfd(peer_pidfd(&socket).expect("a pidfd")).expect("a process");
            assert_eq!(holder.pid(), std::process::id());
        }
    }

    #[test]
    fn only_a_connected_socket_has_a_peer() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        assert_eq!(peer_pidfd(reader).expect_err("no socket").raw_os_error(), Some(libc::ENOTSOCK));
        let alone = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        assert_eq!(peer_pidfd(alone).expect_err("not connected").raw_os_error(), Some(libc::ENODATA));
    }

    #[test]
    fn what_the_sender_did_not_attach_is_closed() {
        // Descriptors can be counted only where no other test opens any: in a process of its own.
        const ALONE: &str = "FS9_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = "sys::socket::tests::what_the_sender_did_not_attach_is_closed";
            let mut this = Command::new(std::env::current_exe().expect("a test program"));
            let done = this.args(["--exact", name]).env(ALONE, "1").output().expect("it runs");
            let told = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let (here, there) = pair();
        set(&here, libc::SO_PASSCRED);
        set(&here, libc::SO_PASSPIDFD);
        let open = || fs::read_dir("/proc/self/fd").expect("descriptors").count();
        let before = open();
        for _ in 0..3 {
            send(&there, b"hello", SendFlags::empty()).expect("sent");
            let datagram = receive(&here, &mut [0; 16]).expect("received");
            assert_eq!((datagram.len, datagram.cut, datagram.descriptors.len()), (5, false, 0));
        }
        assert_eq!(open(), before);
    }

    #[test]
    fn control_messages_are_taken_apart_within_their_bounds() {
        let message = |length: usize, kind: i32, data: &[i32]| -> Vec<u8> {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([libc::SOL_SOCKET, kind].iter().chain(data).flat_map(|word| word.to_ne_bytes()));
            bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
            bytes
        };
        let header = size_of::<usize>() + 8;
        let rights = message(header + 12, libc::SCM_RIGHTS, &[5, 6, 7]);
        let three = vec![(libc::SCM_RIGHTS, 5), (libc::SCM_RIGHTS, 6), (libc::SCM_RIGHTS, 7)];
        assert_eq!(numbers(&rights), three);
        let credentials = message(header + 12, libc::SCM_CREDENTIALS, &[1, 2, 3]);
        assert_eq!(numbers(&[credentials, rights.clone()].concat()), three);
        let pidfds = [message(header + 4, SCM_PIDFD, &[9]), message(header + 4, SCM_PIDFD, &[-libc::EMFILE])];
        assert_eq!(numbers(&[rights, pidfds.concat()].concat()), [three, vec![(SCM_PIDFD, 9)]].concat());
        assert_eq!(numbers(&message(header + 12, libc::SCM_RIGHTS, &[5])), vec![], "longer than what is there");
        assert_eq!(numbers(&message(3, libc::SCM_RIGHTS, &[5])), vec![], "shorter than its header");
        assert_eq!(numbers(&message(usize::MAX, libc::SCM_RIGHTS, &[5])), vec![]);
        assert_eq!(numbers(&[0; 7]), vec![]);
    }
}
