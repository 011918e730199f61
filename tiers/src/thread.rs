//! The tier of the same address space: a lane between two threads, and a thread that starts with one end of a pair.
#![forbid(unsafe_code)]

use std::fmt;
use std::thread::JoinHandle;

use crate::capability::{Capability, Refusal};
use crate::error::{Reason, SendError, SendWithError, Unfit};
use crate::message::Message;
use crate::peer::{Peer, pair};
use crate::slot::Turn;

mod lane;

pub(crate) use lane::{Held, Lane};

impl<T> Lane<T> {
    /// Sends at a sender's turn, with ends of other channels.
    pub fn put_with(&self, turn: Turn<'_>, message: T, capabilities: Vec<Capability>) -> Result<(), SendWithError<T>> {
        if capabilities.iter().any(|capability| capability.is_of(self.address())) {
            let error = SendError::Unfit(message, Unfit::Capability(Refusal::Itself));
            return Err(SendWithError { error, capabilities });
        }
        self.put_beside(turn, message, capabilities);
        Ok(())
    }
}

/// Starts a thread that has one end of a new pair; the other is returned.
///
/// When the function returns, the end it was given is dropped unless it was moved elsewhere, and this side sees
/// [`Reason::Closed`]; when it panics, [`Reason::Panicked`]. The thread goes on if the [`Join`] is dropped.
///
/// # Panics
/// Where the system cannot start a thread, as [`std::thread::spawn`] does.
///
/// ```
/// use fs9_tiers::thread;
///
/// let (peer, worker) = thread::spawn(|peer: fs9_tiers::Peer<u64, u64>| {
///     for number in peer.iter() {
///         if peer.send(number * number).is_err() {
///             break;
///         }
///     }
/// });
/// peer.send(12u64)?;
/// assert_eq!(peer.recv(), Ok(144u64));
/// drop(peer); // the worker's `iter` ends
/// assert_eq!(worker.join(), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn<Out, In, F, R>(function: F) -> (Peer<Out, In>, Join<R>)
where
    Out: Message,
    In: Message,
    F: FnOnce(Peer<In, Out>) -> R + Send + 'static,
    R: Send + 'static,
{
    let (here, there) = pair();
    (here, Join(std::thread::spawn(move || function(there))))
}

/// A thread that was started by [`spawn`].
#[must_use = "without it nobody learns whether the thread panicked; drop it to let the thread go on alone"]
pub struct Join<R>(JoinHandle<R>);

impl<R> Join<R> {
    /// Waits until the thread ends, and returns what its function returned.
    ///
    /// # Errors
    /// [`Reason::Panicked`].
    ///
    /// ```
    /// use fs9_tiers::{Peer, thread};
    ///
    /// let (peer, worker) = thread::spawn(|peer: Peer<(), u8>| peer.iter().count());
    /// peer.send(1)?;
    /// peer.send(2)?;
    /// drop(peer);
    /// assert_eq!(worker.join(), Ok(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(self) -> Result<R, Reason> {
        self.0.join().map_err(|_| Reason::Panicked)
    }

    /// Whether the thread has ended, so that [`Join::join`] would not wait.
    ///
    /// ```
    /// # use fs9_tiers::{Peer, thread};
    /// let (peer, worker) = thread::spawn(|peer: Peer<(), u8>| peer.iter().count());
    /// assert!(!worker.is_finished(), "it waits for a message");
    /// # peer.send(1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<R> fmt::Debug for Join<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Join").field(&self.0.thread().id()).finish()
    }
}
