//! Being dialled, at an address or over streams that somebody else has made.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::ioctl_fionbio;

use super::address::{Address, Place};
use super::hall::Hall;
use super::hello::Hello;
use super::porter::Porter;
use super::sessions::Caller;
use super::stream::{Stream, Streamed};
use super::{Loose, Options, PATIENCE};
use crate::message::Message;
use crate::peer::Peer;
use crate::readiness::wait_for;
use crate::slot::Deadline;

/// An address at which other programs can dial. Dropped, the address is free. Connections that were accepted stay,
/// until their link breaks.
///
/// ```
/// # use std::io::ErrorKind;
/// # use fs9_tiers::remote::listen;
/// # let address = format!("unix:/tmp/fs9-doc-{}.socket", std::process::id());
/// let listener = listen(&address)?;
/// assert_eq!(listen(&address).expect_err("taken").kind(), ErrorKind::AddrInUse);
/// drop(listener);
/// listen(&address)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a listener that is dropped gives its address back"]
pub struct Listener {
    hall: Arc<Hall>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(super) fn new(address: &Address, options: Options) -> io::Result<Listener> {
        let (place, socket) = Place::take(address)?;
        ioctl_fionbio(&socket, true)?;
        let hall = Arc::new(Hall::new(options)?);
        let address = place.address.to_string();
        let mut porter = Porter::new(Arc::clone(&hall), place, socket);
        let name = "fs9-listen".to_owned();
        let thread = thread::Builder::new().name(name).stack_size(256 * 1024).spawn(move || porter.run())?;
        Ok(Listener { hall, address, thread: Some(thread) })
    }

    /// Without an address, and without a thread.
    pub(super) fn unbound(options: Options) -> io::Result<Listener> {
        Ok(Listener { hall: Arc::new(Hall::new(options)?), address: String::new(), thread: None })
    }

    /// What to dial: of `tcp://127.0.0.1:0` with the port that was free. Empty for an [`unbound`](super::unbound) one.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for a program that dials.
    ///
    /// The types are what both sides agreed on: another type is found out only by the bytes.
    ///
    /// # Errors
    /// Those of poll(2).
    ///
    /// See [`remote`](crate::remote) for an example.
    pub fn accept<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::Never)
    }

    /// As [`Listener::accept`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Listener::accept`], and [`io::ErrorKind::TimedOut`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, remote};
    /// let listener = remote::listen("tcp://127.0.0.1:0")?;
    /// let nobody: std::io::Result<Peer<u8, u8>> = listener.accept_timeout(Duration::from_millis(1));
    /// assert_eq!(nobody.expect_err("nobody came").kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept_timeout<Out: Message, In: Message>(&self, timeout: Duration) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::after(timeout))
    }

    fn accept_by<Out: Message, In: Message>(&self, deadline: Deadline) -> io::Result<Peer<Out, In>> {
        loop {
            if let Some(peer) = self.hall.next()?.map(Loose::peer) {
                return Ok(peer);
            }
            if wait_for(self.hall.bell(), PollFlags::IN, deadline)?.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Greets who has dialled by a stream that somebody else has made: who has 10 seconds to say what he wants. If that
    /// is a new session, its peer can be accepted now; if it is one that was begun at this listener, it goes on.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]. [`io::ErrorKind::InvalidData`]: he speaks another protocol.
    /// [`io::ErrorKind::ResourceBusy`]: 64 peers wait to be accepted. [`io::ErrorKind::ConnectionRefused`]: he hung up
    /// at once. Those of reading and writing the stream, and of epoll_ctl(2): EPERM, where it is a file.
    ///
    /// See [`Descriptors`](super::Descriptors) for an example.
    pub fn admit(&self, stream: impl Stream) -> io::Result<()> {
        let deadline = Deadline::after(PATIENCE);
        let carrier = Arc::new(Streamed::new(stream)?);
        let hello = Hello::hear(&*carrier, deadline)?;
        self.hall.greet(&hello, Caller { carrier, credentials: None }, deadline)
    }
}

/// Readable when somebody waits to be accepted; for a [`Select`](crate::Select).
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hall.bell()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hall.close();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but us.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}
