//! One end of a channel that goes both ways.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capability::Capability;
use crate::error::{
    Reason, RecvError, RecvTimeoutError, SendError, SendTimeoutError, SendWithError, TryRecvError, TrySendError,
};
use crate::future::{RecvFuture, ReserveFuture, SendFuture};
use crate::message::Message;
use crate::process::link::Credentials;
use crate::receiver::{Iter, Receiver, Rx, TryIter};
use crate::sender::{Permit, Sender, Tx};
use crate::thread::Lane;

/// Makes a channel between threads of this process: what one end sends, the other receives.
///
/// ```
/// let (client, server) = fs9_tiers::pair();
/// std::thread::spawn(move || {
///     let name: String = server.recv()?;
///     server.send(format!("hello, {name}"))?;
///     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// });
/// client.send("world".to_string())?;
/// assert_eq!(client.recv(), Ok("hello, world".to_string()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair<A: Message, B: Message>() -> (Peer<A, B>, Peer<B, A>) {
    let (there, back) = (Arc::new(Lane::new()), Arc::new(Lane::new()));
    (
        Peer::new(Tx::Thread(Arc::clone(&there)), Rx::Thread(Arc::clone(&back))),
        Peer::new(Tx::Thread(back), Rx::Thread(there)),
    )
}

/// One end of a channel: sends messages of type `Out` to the other end, and receives those of type `In`.
///
/// The other end is a thread, a process, or whoever has opened a file; nothing here tells which. Each direction holds
/// one message: the second send waits until the first was received. All methods take `&self`, so threads may share a
/// peer; one that only sends and one that only receives are better off with the halves, see [`Peer::split`].
///
/// A peer that is dropped hangs up: the other end receives what was sent, and then learns the [`Reason`].
#[must_use = "a peer that is dropped hangs up"]
pub struct Peer<Out, In> {
    // The first to be dropped: who has learnt from a receive that this end is gone cannot send to it any more.
    receiver: Receiver<In>,
    sender: Sender<Out>,
}

impl<Out, In> Peer<Out, In> {
    pub(crate) fn new(tx: Tx<Out>, rx: Rx<In>) -> Self {
        Peer { sender: Sender::new(tx), receiver: Receiver::new(rx) }
    }

    /// The two halves, each with an owner of its own. Each hangs up its direction when it is dropped.
    ///
    /// ```
    /// let (client, server) = fs9_tiers::pair::<u8, u8>();
    /// let (requests, answers) = client.split();
    /// let sending = std::thread::spawn(move || requests.send(1));
    /// assert_eq!(server.recv(), Ok(1));
    /// server.send(2)?;
    /// assert_eq!(answers.recv(), Ok(2));
    /// # sending.join().expect("no panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (Sender<Out>, Receiver<In>) {
        (self.sender, self.receiver)
    }

    /// The half that sends.
    ///
    /// ```
    /// # use fs9_tiers::Sender;
    /// fn report(sender: &Sender<String>) {
    ///     let _ = sender.try_send("done".to_string());
    /// }
    ///
    /// let (a, b) = fs9_tiers::pair::<String, ()>();
    /// report(a.sender());
    /// assert_eq!(b.recv()?, "done");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sender(&self) -> &Sender<Out> {
        &self.sender
    }

    /// The half that receives.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// a.send(1)?;
    /// drop(a);
    /// for number in b.receiver() {
    ///     assert_eq!(number, 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receiver(&self) -> &Receiver<In> {
        &self.receiver
    }
}

impl<Out: Message, In: Message> Peer<Out, In> {
    /// Sends one message, and waits while the one before has not been received; see [`Sender::send`].
    pub fn send(&self, message: Out) -> Result<(), SendError<Out>> {
        self.sender.send(message)
    }

    /// Sends if that needs no waiting; see [`Sender::try_send`].
    pub fn try_send(&self, message: Out) -> Result<(), TrySendError<Out>> {
        self.sender.try_send(message)
    }

    /// Sends, waiting no longer than `timeout`; see [`Sender::send_timeout`].
    pub fn send_timeout(&self, message: Out, timeout: Duration) -> Result<(), SendTimeoutError<Out>> {
        self.sender.send_timeout(message, timeout)
    }

    /// Sends, waiting no longer than until `deadline`; see [`Sender::send_deadline`].
    pub fn send_deadline(&self, message: Out, deadline: Instant) -> Result<(), SendTimeoutError<Out>> {
        self.sender.send_deadline(message, deadline)
    }

    /// Sends, from a task; see [`Sender::send_async`].
    pub fn send_async(&self, message: Out) -> SendFuture<'_, Out> {
        self.sender.send_async(message)
    }

    /// Sends a message with the ends of other channels beside it; see [`Sender::send_with`].
    pub fn send_with(&self, message: Out, capabilities: Vec<Capability>) -> Result<(), SendWithError<Out>> {
        self.sender.send_with(message, capabilities)
    }

    /// Waits for the right to send one message; see [`Sender::reserve`].
    pub fn reserve(&self) -> Result<Permit<'_, Out>, SendError<()>> {
        self.sender.reserve()
    }

    /// The right to send one message, if that needs no waiting; see [`Sender::try_reserve`].
    pub fn try_reserve(&self) -> Result<Permit<'_, Out>, TrySendError<()>> {
        self.sender.try_reserve()
    }

    /// As [`Peer::reserve`], waiting no longer than `timeout`; see [`Sender::reserve_timeout`].
    pub fn reserve_timeout(&self, timeout: Duration) -> Result<Permit<'_, Out>, SendTimeoutError<()>> {
        self.sender.reserve_timeout(timeout)
    }

    /// As [`Peer::reserve`], waiting no longer than until `deadline`; see [`Sender::reserve_deadline`].
    pub fn reserve_deadline(&self, deadline: Instant) -> Result<Permit<'_, Out>, SendTimeoutError<()>> {
        self.sender.reserve_deadline(deadline)
    }

    /// Waits for the right to send one message, from a task; see [`Sender::reserve_async`].
    pub fn reserve_async(&self) -> ReserveFuture<'_, Out> {
        self.sender.reserve_async()
    }

    /// Receives one message, and waits for it; see [`Receiver::recv`].
    pub fn recv(&self) -> Result<In, RecvError> {
        self.receiver.recv()
    }

    /// Receives if there is a message; see [`Receiver::try_recv`].
    pub fn try_recv(&self) -> Result<In, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives, waiting no longer than `timeout`; see [`Receiver::recv_timeout`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<In, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Receives, waiting no longer than until `deadline`; see [`Receiver::recv_deadline`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<In, RecvTimeoutError> {
        self.receiver.recv_deadline(deadline)
    }

    /// Receives, in a task; see [`Receiver::recv_async`].
    pub fn recv_async(&self) -> RecvFuture<'_, In> {
        self.receiver.recv_async()
    }

    /// Receives a message with what was handed over beside it, if there is one; see [`Receiver::try_recv_with`].
    pub fn try_recv_with(&self) -> Result<(In, Vec<Capability>), TryRecvError> {
        self.receiver.try_recv_with()
    }

    /// As [`Peer::recv_with`], waiting no longer than `timeout`; see [`Receiver::recv_with_timeout`].
    pub fn recv_with_timeout(&self, timeout: Duration) -> Result<(In, Vec<Capability>), RecvTimeoutError> {
        self.receiver.recv_with_timeout(timeout)
    }

    /// Receives a message with what was handed over beside it; see [`Receiver::recv_with`].
    pub fn recv_with(&self) -> Result<(In, Vec<Capability>), RecvError> {
        self.receiver.recv_with()
    }

    /// The messages, as they come, until the other end is gone; see [`Receiver::iter`].
    pub fn iter(&self) -> Iter<'_, In> {
        self.receiver.iter()
    }

    /// The messages that are there; see [`Receiver::try_iter`].
    pub fn try_iter(&self) -> TryIter<'_, In> {
        self.receiver.try_iter()
    }

    /// Who is at the other end, as the kernel noted when this end was made by [`connect`](crate::process::connect) or
    /// [`accept`](crate::process::Listener::accept), or over a Unix socket by those of [`remote`](crate::remote). None
    /// for all others.
    ///
    /// ```
    /// let (a, _b) = fs9_tiers::pair::<(), ()>();
    /// assert_eq!(a.credentials(), None); // see `listen` for one that has them
    /// ```
    pub fn credentials(&self) -> Option<Credentials> {
        match &self.sender.tx {
            Tx::Process(link) => link.credentials(),
            Tx::Remote(channel) => channel.connection().credentials(),
            Tx::Thread(_) | Tx::File(_) => None,
        }
    }

    /// Whether the other end is gone and everything it sent was received.
    ///
    /// See [`Receiver::is_closed`]; for the other direction, [`Sender::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the other end is gone, once everything it sent was received; None before.
    ///
    /// See [`Receiver::reason`]; for the other direction, [`Sender::reason`].
    pub fn reason(&self) -> Option<Reason> {
        self.receiver.reason()
    }
}

impl<Out, In> fmt::Debug for Peer<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("sender", &self.sender).field("receiver", &self.receiver).finish()
    }
}
