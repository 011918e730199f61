//! Programs that have nothing in common but a name.
//!
//! The name is of the abstract namespace of Unix sockets (unix(7)): it is there while its owner listens and gone with
//! it, kill -9 included; it leaves no file; and the kernel gives it to nobody else meanwhile. It is known within one
//! network namespace. Anybody may ask for it, so both sides say whom they take: the kernel tells each who the other is.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionbio, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, socket_with};

use super::link::{Credentials, Link, Side};
use super::{end, greet, greeted, wait_readable};
use crate::holder::Holder;
use crate::message::Message;
use crate::peer::Peer;
use crate::slot::Deadline;
use crate::sys::socket::peer_pidfd;

/// Connections that wait to be accepted; more wait in connect(2).
const BACKLOG: i32 = 128;

/// Takes `name`, under which other programs find this one while the listener is there. Admits the users `allow`.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`]: somebody else listens under the name. [`io::ErrorKind::InvalidInput`]: the name is
/// empty or longer than 100 bytes. Those of socket(2).
///
/// ```
/// # use fs9_tiers::{Peer, process};
/// # let name = format!("doc-{}", std::process::id());
/// let me = process::user();
/// let listener = process::listen(&name, &[me])?;
/// # let name = name.clone();
/// std::thread::spawn(move || {
///     let client: Peer<u8, u8> = process::connect(&name, &[me])?; // mostly from another program
///     client.send(1).map_err(std::io::Error::other)
/// });
/// let client: Peer<u8, u8> = listener.accept()?;
/// assert_eq!(client.recv(), Ok(1));
/// assert_eq!(client.credentials().map(|who| who.uid), Some(me));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn listen(name: &str, allow: &[u32]) -> io::Result<Listener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &address(name)?).map_err(|error| match error {
        Errno::ADDRINUSE => io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("somebody listens under {name:?} already; end that program or take another name"),
        ),
        error => error.into(),
    })?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Listener { socket, allow: allow.to_vec() })
}

/// A name under which other programs can connect. Dropped, the name is free; connections that were accepted stay.
///
/// ```
/// # use std::io::ErrorKind;
/// # use fs9_tiers::process::listen;
/// # let name = format!("doc-listener-{}", std::process::id());
/// let listener = listen(&name, &[0])?;
/// assert_eq!(listen(&name, &[0]).expect_err("taken").kind(), ErrorKind::AddrInUse);
/// drop(listener);
/// listen(&name, &[0])?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a listener that is dropped gives its name back"]
pub struct Listener {
    socket: OwnedFd,
    allow: Vec<u32>,
}

impl Listener {
    /// Waits for a program that connects and whose user is admitted; others are hung up on.
    ///
    /// The types are what both sides agreed on: another type is found out only by the bytes.
    ///
    /// # Errors
    /// Those of accept(2), such as too many descriptors; the listener can be used on.
    ///
    /// See [`listen`] for an example.
    pub fn accept<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::Never)
    }

    /// As [`Listener::accept`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Listener::accept`], and [`io::ErrorKind::TimedOut`].
    ///
    /// ```
    /// # use std::io::ErrorKind;
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, process};
    /// # let name = format!("doc-accept-{}", std::process::id());
    /// let listener = process::listen(&name, &[0])?;
    /// let nobody: std::io::Result<Peer<u8, u8>> = listener.accept_timeout(Duration::from_millis(1));
    /// assert_eq!(nobody.expect_err("nobody came").kind(), ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept_timeout<Out: Message, In: Message>(&self, timeout: Duration) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::after(timeout))
    }

    fn accept_by<Out: Message, In: Message>(&self, deadline: Deadline) -> io::Result<Peer<Out, In>> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.socket, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => {
                    wait_readable(&self.socket, deadline)?;
                    continue;
                }
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            let who = Credentials::of(&socket)?;
            if !self.allow.contains(&who.uid) {
                drop(socket);
                // Those who may not come in, however many, keep us no longer than the deadline.
                wait_readable(&self.socket, deadline)?;
                continue;
            }
            let holder = Arc::new(Holder::from_pidfd(peer_pidfd(&socket)?)?);
            let (memory, map) = match greet(&socket) {
                // Gone again meanwhile.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
                greeted => greeted?,
            };
            let link = end(Side::First, map, memory, socket, Some(holder), Some(who))?;
            return Ok(Link::peer(link));
        }
    }
}

/// Readable when somebody wants to connect; for a [`Select`](crate::Select).
///
/// ```
/// # use fs9_tiers::{Select, process};
/// # let name = format!("doc-select-{}", std::process::id());
/// let listener = process::listen(&name, &[0])?;
/// let mut select = Select::new()?;
/// let _somebody = select.readable(&listener);
/// assert_eq!(select.try_ready(), None);
/// # Ok::<(), std::io::Error>(())
/// ```
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Connects to the program that listens under `name`, if it is one of the users `allow`. Waits until it accepts.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`]: nobody listens under the name, or who does has not admitted this user.
/// [`io::ErrorKind::PermissionDenied`]: the listener is somebody else. [`io::ErrorKind::InvalidData`]: it speaks
/// another protocol. Those of socket(2) and of mapping the memory.
///
/// ```no_run
/// # use fs9_tiers::{Peer, process};
/// let me = process::user();
/// let server: Peer<String, u64> = process::connect("word-counter", &[me])?;
/// server.send("three short words".to_string())?;
/// assert_eq!(server.recv()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn connect<Out: Message, In: Message>(name: &str, allow: &[u32]) -> io::Result<Peer<Out, In>> {
    connect_by(name, allow, Deadline::Never)
}

/// As [`connect`], waiting no longer than `timeout` for the listener to accept.
///
/// # Errors
/// As [`connect`], and [`io::ErrorKind::TimedOut`].
///
/// ```
/// # use std::io::ErrorKind;
/// # use std::time::Duration;
/// # use fs9_tiers::{Peer, process};
/// # let name = format!("doc-connect-{}", std::process::id());
/// # let me = process::user();
/// let _busy = process::listen(&name, &[me])?; // and never accepts
/// let error = process::connect_timeout::<u8, u8>(&name, &[me], Duration::from_millis(1)).expect_err("too late");
/// assert_eq!(error.kind(), ErrorKind::TimedOut);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn connect_timeout<Out: Message, In: Message>(
    name: &str,
    allow: &[u32],
    timeout: Duration,
) -> io::Result<Peer<Out, In>> {
    connect_by(name, allow, Deadline::after(timeout))
}

fn connect_by<Out: Message, In: Message>(name: &str, allow: &[u32], deadline: Deadline) -> io::Result<Peer<Out, In>> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // A listener whose line is full makes us wait: in connect(2), which has no deadline of its own.
    if let Deadline::At(end) = deadline {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        set_socket_timeout(&socket, Timeout::Send, Some(left))?;
    }
    let address = address(name)?;
    retry_on_intr(|| rustix::net::connect(&socket, &address)).map_err(|error| match error {
        Errno::CONNREFUSED => io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("nobody listens under {name:?} in this network namespace; start that program first"),
        ),
        Errno::AGAIN => io::ErrorKind::TimedOut.into(),
        error => error.into(),
    })?;
    ioctl_fionbio(&socket, true)?;
    let who = Credentials::of(&socket)?;
    if !allow.contains(&who.uid) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{name:?} belongs to user {}, who is not among those allowed", who.uid),
        ));
    }
    let holder = Arc::new(Holder::from_pidfd(peer_pidfd(&socket)?)?);
    let (memory, map) = greeted(&socket, deadline)?;
    Ok(Link::peer(end(Side::Second, map, memory, socket, Some(holder), Some(who))?))
}

fn address(name: &str) -> io::Result<SocketAddrUnix> {
    const LONGEST: usize = 100;
    if name.is_empty() || name.len() > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a name has 1 to {LONGEST} bytes")));
    }
    Ok(SocketAddrUnix::new_abstract_name(format!("fs9/{name}").as_bytes())?)
}
