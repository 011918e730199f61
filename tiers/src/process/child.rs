//! A program that is started with the other end of a channel.
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::socket_cookie;
use rustix::process::{Signal, pidfd_send_signal};

use super::link::{Link, Side};
use super::{end, greet, greeted, wait_readable};
use crate::error::Reason;
use crate::holder::Holder;
use crate::message::Message;
use crate::parcel::socket_pair;
use crate::peer::Peer;
use crate::slot::Deadline;
use crate::sys::socket::peer_pidfd;
use crate::sys::spawn;

/// Where a program finds its end: the number of a descriptor, and the cookie of the socket that it must be (SO_COOKIE),
/// so that a program further down, which inherited the variable and not the descriptor, does not take another for it.
const VARIABLE: &str = "FS9_PEER";

/// Starts a program that has the other end of a new channel.
///
/// The program takes it with [`inherited`]. Of this process's descriptors above standard error it gets only that one,
/// whatever flags they have. It may be started through others (`nice`, a shell): they pass the descriptor on.
///
/// # Errors
/// Those of [`Command::spawn`], and of [`pair`](super::pair).
///
/// ```no_run
/// # use std::process::Command;
/// # use fs9_tiers::{Peer, process};
/// let (peer, child): (Peer<String, u64>, _) = process::spawn(Command::new("./word-counter"))?;
/// peer.send("three short words".to_string())?;
/// println!("{} words", peer.recv()?);
/// drop(child); // hangs up, waits, and kills it if it does not end
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn<Out: Message, In: Message>(mut command: Command) -> io::Result<(Peer<Out, In>, Child)> {
    let (here, there) = socket_pair()?;
    let (memory, map) = greet(&here)?;
    let cookie = socket_cookie(&there)?;
    let number = spawn::inherit(&mut command, there)?;
    command.env(VARIABLE, format!("{number}:{cookie}"));
    let process = command.spawn().map_err(|error| {
        let (program, place) = (command.get_program(), command.get_current_dir());
        let place = place.map(|place| format!(" in {}", place.display())).unwrap_or_default();
        io::Error::new(error.kind(), format!("cannot start {}{place}: {error}", program.display()))
    })?;
    // Closes our duplicate of the child's end: it is the child's alone.
    drop(command);
    let mut child = Child { process, holder: None, link: Weak::new(), grace: Child::GRACE };
    let holder = Arc::new(Holder::of(child.id())?);
    child.holder = Some(Arc::clone(&holder));
    let link = end(Side::First, map, memory, here, Some(holder), None)?;
    child.link = Arc::downgrade(&link);
    Ok((Link::peer(link), child))
}

/// Takes the end that this program was started with by [`spawn`]. Can be done once.
///
/// # Errors
/// [`io::ErrorKind::NotFound`]: the program was not started that way, or the end was taken before. Those of mapping the
/// memory, and [`io::ErrorKind::InvalidData`] where the parent was built from another version.
///
/// ```no_run
/// # use fs9_tiers::{Peer, process};
/// let peer: Peer<u64, String> = process::inherited()?;
/// for text in peer.receiver() {
///     peer.send(text.split_whitespace().count() as u64)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn inherited<Out: Message, In: Message>() -> io::Result<Peer<Out, In>> {
    let socket = inherited_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no peer was inherited ({VARIABLE} names none, or it was taken before); start this program with `process::spawn`"),
        )
    })?;
    let (memory, map) = greeted(&socket, Deadline::Now)?;
    let parent = Arc::new(Holder::from_pidfd(peer_pidfd(&socket)?)?);
    Ok(Link::peer(end(Side::Second, map, memory, socket, Some(parent), None)?))
}

fn inherited_socket() -> Option<OwnedFd> {
    let place = env::var(VARIABLE).ok()?;
    let (number, cookie) = place.split_once(':')?;
    spawn::adopt(number.parse().ok()?, cookie.parse().ok()?)
}

/// A program that was started by [`spawn`]. If this process is killed, nothing is dropped: the child's peer is then
/// told `Killed`, and a child that waits for messages ends; one that computes for long should look at
/// [`Peer::is_closed`](crate::Peer::is_closed) now and then.
///
/// Dropped, it hangs up on the program, waits for [`Child::set_grace`], kills it if it is
/// still there, and reaps it: there is neither orphan nor zombie.
#[derive(Debug)]
#[must_use = "a child that is dropped is hung up on, and killed if it does not end"]
pub struct Child {
    process: std::process::Child,
    /// None only while it is being started.
    holder: Option<Arc<Holder>>,
    link: Weak<Link>,
    grace: Duration,
}

impl Child {
    const GRACE: Duration = Duration::from_secs(1);

    /// Its process number.
    ///
    /// ```
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, error::Reason, process};
    /// let (_peer, child): (Peer<(), ()>, _) = process::spawn(Command::new("true"))?;
    /// assert_ne!(child.id(), std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long a dropped child may take to end by itself: one second unless set. Children that are dropped one after
    /// the other are waited for one after the other; hang up on all first by dropping their peers.
    ///
    /// ```
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, error::Reason, process};
    /// let (_peer, mut child): (Peer<(), ()>, _) = process::spawn({
    ///     let mut command = Command::new("sleep");
    ///     command.arg("60"); // never looks whether it was hung up on
    ///     command
    /// })?;
    /// child.set_grace(Duration::from_millis(1));
    /// drop(child); // so it is killed after that
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_grace(&mut self, grace: Duration) {
        self.grace = grace;
    }

    /// Waits until it ends, and tells how. Hangs up on nobody: a child that waits for a message waits on.
    ///
    /// # Errors
    /// Those of waitpid(2).
    ///
    /// ```
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, error::Reason, process};
    /// let (peer, mut child): (Peer<(), ()>, _) = process::spawn(Command::new("false"))?;
    /// drop(peer); // a worker that receives until the end would not end otherwise
    /// assert_eq!(child.wait()?, Reason::Exited(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self) -> io::Result<Reason> {
        self.process.wait().map(reason)
    }

    /// How it ended; None while it has not.
    ///
    /// # Errors
    /// Those of waitpid(2).
    ///
    /// See [`Child::kill`] for an example.
    pub fn try_wait(&mut self) -> io::Result<Option<Reason>> {
        Ok(self.process.try_wait()?.map(reason))
    }

    /// As [`Child::wait`], no longer than `timeout`; None when it has not ended then.
    ///
    /// # Errors
    /// Those of waitpid(2) and poll(2).
    ///
    /// See [`Child::kill`] for an example.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<Reason>> {
        if let Some(pidfd) = self.pidfd() {
            match wait_readable(pidfd, Deadline::after(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(error),
                _ => {}
            }
        }
        self.try_wait()
    }

    /// Kills it (SIGKILL). It is reaped by [`Child::wait`], or when dropped.
    ///
    /// # Errors
    /// Those of kill(2).
    ///
    /// ```
    /// # use std::process::Command;
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, error::Reason, process};
    /// let mut sleep = Command::new("sleep");
    /// sleep.arg("60");
    /// let (peer, mut child): (Peer<(), ()>, _) = process::spawn(sleep)?;
    /// assert_eq!(child.try_wait()?, None);
    /// assert_eq!(child.wait_timeout(Duration::from_millis(1))?, None);
    /// child.kill()?;
    /// assert_eq!(peer.recv().expect_err("it is gone").reason(), Some(Reason::Killed(9)));
    /// assert_eq!(child.wait()?, Reason::Killed(9));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&self) -> io::Result<()> {
        let pidfd = self.pidfd().ok_or(io::ErrorKind::NotFound)?;
        match pidfd_send_signal(pidfd, Signal::KILL) {
            // It has ended already.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Its standard input, if the command asked for a pipe; once.
    ///
    /// ```
    /// # use std::process::{Command, Stdio};
    /// # use fs9_tiers::{Peer, error::Reason, process};
    /// use std::io::{Read, Write};
    ///
    /// let mut cat = Command::new("cat");
    /// cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    /// let (_peer, mut child): (Peer<(), ()>, _) = process::spawn(cat)?;
    /// if let Some(mut input) = child.take_stdin() {
    ///     input.write_all(b"hello")?;
    /// }
    /// let mut text = String::new();
    /// if let Some(mut output) = child.take_stdout() {
    ///     output.read_to_string(&mut text)?;
    /// }
    /// assert_eq!(text, "hello");
    /// assert_eq!(child.wait()?, Reason::Exited(0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.process.stdin.take()
    }

    /// Its standard output, if the command asked for a pipe; once.
    ///
    /// See [`Child::take_stdin`] for an example.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// Its standard error, if the command asked for a pipe; once.
    ///
    /// As [`Child::take_stdout`].
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.process.stderr.take()
    }

    /// Its pidfd, readable once it has ended.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.holder.as_ref().and_then(|holder| holder.pidfd())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.hang_up();
        }
        drop(self.process.stdin.take());
        if !matches!(self.wait_timeout(self.grace), Ok(Some(_))) {
            // By its number, which is its own until it is reaped: it may have no pidfd yet. Fails only where it has
            // ended.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

fn reason(status: ExitStatus) -> Reason {
    match (status.code(), status.signal()) {
        (Some(code), _) => Reason::Exited(code),
        (None, Some(signal)) => Reason::Killed(signal),
        (None, None) => Reason::Ended,
    }
}
