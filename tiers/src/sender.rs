//! The half of a peer that sends.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capability::{Capability, Refusal};
use crate::error::{Reason, SendError, SendTimeoutError, SendWithError, TrySendError, Unfit};
use crate::file::Outgoing;
use crate::future::{ReserveFuture, SendFuture};
use crate::gate::Gate;
use crate::message::Message;
use crate::process::link::Link;
use crate::remote::{self, Channel, RemoteEnd};
use crate::slot::{Deadline, Role, Stop, Turn};
use crate::thread::Lane;

/// Sends messages of type `T` to the other end, one at a time.
#[must_use = "a sender that is dropped hangs up"]
pub struct Sender<T> {
    pub(crate) tx: Tx<T>,
}

/// The near side of a direction, by tier.
pub(crate) enum Tx<T> {
    Thread(Arc<Lane<T>>),
    Process(Arc<Link>),
    File(Outgoing<T>),
    Remote(Arc<Channel>),
}

impl<T> Tx<T> {
    #[inline(always)]
    pub fn gate(&self) -> Gate<'_> {
        match self {
            Tx::Thread(lane) => Gate::Slot(lane.end(Role::Sender)),
            Tx::Process(link) => Gate::Slot(link.end(Role::Sender)),
            Tx::File(file) => Gate::File(file.end()),
            Tx::Remote(channel) => Gate::Remote(RemoteEnd::new(channel, Role::Sender)),
        }
    }

    /// This half goes. The other end is told why, as far as the tier has words for it; what it is told first stands.
    pub fn leave(&self, reason: Reason) {
        let panicked = reason == Reason::Panicked;
        match self {
            Tx::Thread(lane) => lane.close(Role::Sender, panicked),
            Tx::Process(link) => link.close(Role::Sender, panicked),
            // Closed by being dropped, once the other half is.
            Tx::File(_) => {}
            Tx::Remote(channel) => channel.close(Role::Sender, reason),
        }
    }

    #[cold]
    pub fn reason(&self, stop: Stop) -> Reason {
        match (self, stop) {
            (Tx::Remote(channel), stop) => channel.reason(Role::Sender, stop),
            (_, Stop::Closed(reason)) => reason,
            (Tx::Process(link), stop) => link.reason(stop),
            (Tx::Thread(_) | Tx::File(_), Stop::Gone | Stop::Broken) => Reason::Protocol,
        }
    }
}

impl<T> Sender<T> {
    pub(crate) fn new(tx: Tx<T>) -> Self {
        Sender { tx }
    }

    /// Whether the other end is gone, so that nothing can be sent any more.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, u8>();
    /// assert!(!a.sender().is_closed());
    /// drop(b);
    /// assert!(a.sender().is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the other end is gone; None while it is there.
    ///
    /// ```
    /// # use fs9_tiers::error::Reason;
    /// let (a, worker) = fs9_tiers::thread::spawn(|_: fs9_tiers::Peer<u8, u8>| panic!("on purpose"));
    /// assert_eq!(worker.join(), Err::<(), _>(Reason::Panicked));
    /// assert_eq!(a.sender().reason(), Some(Reason::Panicked));
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        self.tx.gate().stopped().map(|stop| self.tx.reason(stop))
    }

    /// What an attempt to send came to. None: not now.
    #[inline]
    pub(crate) fn permit<'a>(
        &'a self,
        attempt: Result<Option<Turn<'a>>, Stop>,
    ) -> Result<Option<Permit<'a, T>>, SendError<()>> {
        match attempt {
            Ok(turn) => Ok(turn.map(|turn| Permit { sender: self, turn })),
            Err(stop) => Err(SendError::Disconnected((), self.tx.reason(stop))),
        }
    }
}

impl<T: Message> Sender<T> {
    /// Sends one message. Returns when it is in the slot, which has room for one: waits until the other end has
    /// received the message before. A signal does not end the wait; use a timeout, or a [`Select`](crate::Select).
    ///
    /// # Errors
    /// All give the message back; nothing was sent. [`SendError::Disconnected`]: the other end is gone.
    /// [`SendError::Unfit`]: it cannot be encoded, or not within [`LIMIT`](crate::message::LIMIT), over a file within
    /// [`file::LIMIT`](crate::file::LIMIT) (never between threads).
    ///
    /// ```
    /// # use fs9_tiers::{error::{Reason, SendError}, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// a.send(1)?;
    /// assert_eq!(b.recv(), Ok(1));
    /// drop(b);
    /// match a.send(2) {
    ///     Err(SendError::Disconnected(message, reason)) => assert_eq!((message, reason), (2, Reason::Closed)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), SendError<u8>>(())
    /// ```
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        if let Tx::File(file) = &self.tx {
            return file.send(message);
        }
        match self.reserve() {
            Ok(permit) => permit.send_at_once(message),
            Err(error) => Err(error.map(|()| message)),
        }
    }

    /// Sends if that needs no waiting.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`TrySendError::Full`]: the message before has not been received yet, or another thread
    /// is sending.
    ///
    /// ```
    /// # use fs9_tiers::{error::TrySendError, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// a.try_send(1)?;
    /// assert!(matches!(a.try_send(2), Err(TrySendError::Full(2))));
    /// # drop(b);
    /// # Ok::<(), TrySendError<u8>>(())
    /// ```
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        if let Tx::File(file) = &self.tx {
            return file.send_by(message, Deadline::Now)?.map_or(Ok(()), |back| Err(TrySendError::Full(back)));
        }
        match self.try_reserve() {
            Ok(permit) => Ok(permit.send_at_once(message)?),
            Err(error) => Err(error.map(|()| message)),
        }
    }

    /// Sends, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Sender::send`], and [`SendTimeoutError::Timeout`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{error::SendTimeoutError, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// a.send_timeout(1, Duration::from_millis(1))?;
    /// assert!(matches!(a.send_timeout(2, Duration::from_millis(1)), Err(SendTimeoutError::Timeout(2))));
    /// # drop(b);
    /// # Ok::<(), SendTimeoutError<u8>>(())
    /// ```
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_by(message, Deadline::after(timeout))
    }

    /// Sends, waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # let (a, b) = fs9_tiers::pair::<u8, u8>();
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// for number in 0.. {
    ///     if a.send_deadline(number, deadline).is_err() {
    ///         break;
    ///     }
    /// }
    /// # drop(b);
    /// ```
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_by(message, Deadline::At(deadline))
    }

    fn send_by(&self, message: T, deadline: Deadline) -> Result<(), SendTimeoutError<T>> {
        if let Tx::File(file) = &self.tx {
            return file.send_by(message, deadline)?.map_or(Ok(()), |back| Err(SendTimeoutError::Timeout(back)));
        }
        match self.reserve_by(deadline) {
            Ok(Some(permit)) => Ok(permit.send_at_once(message)?),
            Ok(None) => Err(SendTimeoutError::Timeout(message)),
            Err(error) => Err(SendTimeoutError::from(error).map(|()| message)),
        }
    }

    /// Sends, from a task. A future that is dropped before it is ready has sent nothing, and drops the message; to keep
    /// it, use [`Sender::reserve_async`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    ///
    /// ```
    /// # pollster::block_on(async {
    /// let (a, b) = fs9_tiers::pair::<u8, u8>();
    /// a.send_async(1).await?;
    /// assert_eq!(b.recv_async().await?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture::new(self, message)
    }

    /// Sends a message, and hands over the ends of other channels beside it: all or nothing.
    ///
    /// # Errors
    /// As [`Sender::send`], and where a capability cannot go there; gives back the message and the capabilities.
    ///
    /// ```
    /// # use fs9_tiers::{Capability, Peer, pair};
    /// let (boss, worker) = pair::<String, ()>();
    /// let (input, output) = pair::<u64, ()>();
    /// boss.send_with("read numbers from this".to_string(), vec![Capability::from(output)])?;
    ///
    /// let (order, mut capabilities) = worker.recv_with()?;
    /// let numbers: Peer<(), u64> = capabilities.remove(0).claim()?;
    /// input.send(7)?;
    /// assert_eq!(numbers.recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with(&self, message: T, capabilities: Vec<Capability>) -> Result<(), SendWithError<T>> {
        match self.reserve() {
            Ok(permit) => permit.send_with(message, capabilities),
            Err(error) => Err(SendWithError { error: error.map(|()| message), capabilities }),
        }
    }

    /// Waits until the slot is free, and holds it for one message. While the permit lives, every other send through
    /// this sender waits, one of the same thread too.
    ///
    /// # Errors
    /// [`SendError::Disconnected`]: the other end is gone.
    ///
    /// ```
    /// # let (a, b) = fs9_tiers::pair::<u64, ()>();
    /// let permit = a.reserve()?;
    /// let expensive = 6 * 7; // made only once there is room for it
    /// permit.send(expensive)?;
    /// # assert_eq!(b.recv(), Ok(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self) -> Result<Permit<'_, T>, SendError<()>> {
        loop {
            if let Some(permit) = self.reserve_by(Deadline::Never)? {
                return Ok(permit);
            }
        }
    }

    /// Holds the slot for one message if it is free.
    ///
    /// # Errors
    /// As [`Sender::try_send`].
    ///
    /// ```
    /// # use fs9_tiers::error::TrySendError;
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// a.sender().try_reserve()?.send(1)?;
    /// assert!(matches!(a.sender().try_reserve(), Err(TrySendError::Full(()))));
    /// # drop(b);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        self.reserve_by(Deadline::Now)?.ok_or(TrySendError::Full(()))
    }

    /// As [`Sender::reserve`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::error::SendTimeoutError;
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// a.send(1)?;
    /// let permit = a.sender().reserve_timeout(Duration::from_millis(1));
    /// assert!(matches!(permit, Err(SendTimeoutError::Timeout(()))));
    /// # drop(b);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_timeout(&self, timeout: Duration) -> Result<Permit<'_, T>, SendTimeoutError<()>> {
        self.reserve_by(Deadline::after(timeout))?.ok_or(SendTimeoutError::Timeout(()))
    }

    /// As [`Sender::reserve`], waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`Sender::send_timeout`].
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// let deadline = Instant::now() + Duration::from_millis(10); // for both steps together
    /// let permit = a.sender().reserve_deadline(deadline)?;
    /// permit.send(1)?;
    /// assert_eq!(b.recv_deadline(deadline)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_deadline(&self, deadline: Instant) -> Result<Permit<'_, T>, SendTimeoutError<()>> {
        self.reserve_by(Deadline::At(deadline))?.ok_or(SendTimeoutError::Timeout(()))
    }

    fn reserve_by(&self, deadline: Deadline) -> Result<Option<Permit<'_, T>>, SendError<()>> {
        self.permit(self.tx.gate().wait(deadline))
    }

    /// As [`Sender::reserve`], from a task. A future that is dropped before it is ready holds nothing: the cancel-safe
    /// send.
    ///
    /// # Errors
    /// As [`Sender::reserve`].
    ///
    /// ```
    /// # pollster::block_on(async {
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// let mut jobs = vec![1];
    /// let permit = a.reserve_async().await?; // dropped while it waits, this leaves `jobs` alone
    /// if let Some(job) = jobs.pop() {
    ///     permit.send(job)?;
    /// }
    /// assert_eq!(b.recv(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_async(&self) -> ReserveFuture<'_, T> {
        ReserveFuture::new(self)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.tx.leave(if std::thread::panicking() { Reason::Panicked } else { Reason::Closed });
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Sender");
        match &self.tx {
            Tx::Thread(lane) => debug.field("tier", &"thread").field("sent", &lane.end(Role::Sender).desk.passed()),
            Tx::Process(link) => debug.field("tier", &"process").field("sent", &link.end(Role::Sender).desk.passed()),
            Tx::File(file) => debug.field("tier", &"file").field("file", file.opened()),
            Tx::Remote(channel) => debug.field("tier", &"remote").field("channel", channel),
        };
        debug.finish_non_exhaustive()
    }
}

/// The slot, held for one message. Dropped, it is given back and nothing was sent.
#[must_use = "a permit that is dropped has sent nothing"]
pub struct Permit<'a, T> {
    pub(crate) sender: &'a Sender<T>,
    pub(crate) turn: Turn<'a>,
}

impl<T> Permit<'_, T> {
    /// Why sending would be in vain, if the other end has gone since the slot was reserved.
    #[inline]
    pub(crate) fn in_vain(&self) -> Option<Reason> {
        self.turn.in_vain().map(|stop| self.sender.tx.reason(stop))
    }
}

impl<T: Message> Permit<'_, T> {
    /// Sends, without waiting. (In a queue of a mount another process may have taken the room: then it waits, as
    /// [`Sender::send`].)
    ///
    /// # Errors
    /// As [`Sender::send`].
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// let permit = a.reserve()?;
    /// drop(permit); // nothing was sent
    /// a.reserve()?.send(1)?;
    /// assert_eq!(b.recv(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        self.hear();
        self.send_at_once(message)
    }

    /// Reads what a connection has to tell that nobody has read since the slot was reserved.
    fn hear(&self) {
        if let Tx::Remote(channel) = &self.sender.tx {
            RemoteEnd::new(channel, Role::Sender).hear();
        }
    }

    /// Sends, just after the slot was reserved.
    #[inline]
    fn send_at_once(self, message: T) -> Result<(), SendError<T>> {
        if let Tx::Remote(channel) = &self.sender.tx {
            channel.connection().hear_between_sends();
        }
        if let Some(reason) = self.in_vain() {
            return Err(SendError::Disconnected(message, reason));
        }
        match &self.sender.tx {
            Tx::Thread(lane) => {
                lane.put(self.turn, message);
                Ok(())
            }
            Tx::Process(link) => link.put(self.turn, &message).map_err(|unfit| SendError::Unfit(message, unfit)),
            Tx::File(file) => match file.put(self.turn, message)? {
                None => Ok(()),
                Some(back) => file.send(back),
            },
            Tx::Remote(channel) => channel.put(self.turn, message),
        }
    }

    /// Sends. The message comes back where a process that writes to the same file was faster.
    pub(crate) fn put(self, message: T) -> Result<Option<T>, SendError<T>> {
        match &self.sender.tx {
            Tx::File(file) => file.put(self.turn, message),
            Tx::Thread(_) | Tx::Process(_) | Tx::Remote(_) => self.send_at_once(message).map(|()| None),
        }
    }

    /// Sends with the ends of other channels beside it, without waiting.
    ///
    /// # Errors
    /// As [`Sender::send_with`].
    ///
    /// ```
    /// # use fs9_tiers::{Capability, pair};
    /// let (boss, worker) = pair::<String, ()>();
    /// let (input, output) = pair::<u64, ()>();
    /// boss.reserve()?.send_with("numbers".to_string(), vec![Capability::from(output)])?;
    /// assert_eq!(worker.recv_with()?.1.len(), 1);
    /// # drop(input);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with(self, message: T, capabilities: Vec<Capability>) -> Result<(), SendWithError<T>> {
        self.hear();
        if let Some(reason) = self.in_vain() {
            return Err(SendWithError { error: SendError::Disconnected(message, reason), capabilities });
        }
        match &self.sender.tx {
            Tx::Thread(lane) => lane.put_with(self.turn, message, capabilities),
            Tx::Process(link) => match link.put_with(self.turn, &message, &capabilities) {
                Ok(()) => Ok(()),
                Err(unfit) => Err(SendWithError { error: SendError::Unfit(message, unfit), capabilities }),
            },
            Tx::Remote(channel) => remote::hand_over(channel, self.turn, message, capabilities),
            Tx::File(_) if capabilities.is_empty() => {
                self.send(message).map_err(|error| SendWithError { error, capabilities })
            }
            Tx::File(_) => {
                let error = SendError::Unfit(message, Unfit::Capability(Refusal::Bytes));
                Err(SendWithError { error, capabilities })
            }
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(self.sender).finish()
    }
}
