//! The half of a peer that receives.
#![forbid(unsafe_code)]

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::capability::Capability;
use crate::error::{Reason, RecvError, RecvTimeoutError, TryRecvError};
use crate::file::Incoming;
use crate::future::RecvFuture;
use crate::gate::Gate;
use crate::message::Message;
use crate::process::link::Link;
use crate::remote::{Channel, RemoteEnd};
use crate::slot::{Deadline, Role, Stop, Turn};
use crate::thread::Lane;
use crate::timer::Timer;

/// Receives messages of type `T` from the other end, one at a time. Timers are receivers too, see
/// [`after`](crate::after).
#[must_use = "a receiver that is dropped hangs up"]
pub struct Receiver<T> {
    pub(crate) rx: Rx<T>,
}

/// The near side of a direction, by tier.
pub(crate) enum Rx<T> {
    Thread(Arc<Lane<T>>),
    Process(Arc<Link>),
    File(Incoming<T>),
    Remote(Arc<Channel>),
    /// The clock.
    Timer(Timer<T>),
}

/// What a receiver's operation works with.
pub(crate) enum Near<'a, T> {
    Gate(Gate<'a>),
    Timer(&'a Timer<T>),
}

impl<T> Rx<T> {
    #[inline(always)]
    pub fn near(&self) -> Near<'_, T> {
        match self {
            Rx::Thread(lane) => Near::Gate(Gate::Slot(lane.end(Role::Receiver))),
            Rx::Process(link) => Near::Gate(Gate::Slot(link.end(Role::Receiver))),
            Rx::File(file) => Near::Gate(Gate::File(file.end())),
            Rx::Remote(channel) => Near::Gate(Gate::Remote(RemoteEnd::new(channel, Role::Receiver))),
            Rx::Timer(timer) => Near::Timer(timer),
        }
    }

    /// This half goes. The other end is told why, as far as the tier has words for it; what it is told first stands.
    pub fn leave(&self, reason: Reason) {
        let panicked = reason == Reason::Panicked;
        match self {
            Rx::Thread(lane) => lane.close(Role::Receiver, panicked),
            Rx::Process(link) => link.close(Role::Receiver, panicked),
            // A file is closed by being dropped, once the other half is.
            Rx::File(_) | Rx::Timer(_) => {}
            Rx::Remote(channel) => channel.close(Role::Receiver, reason),
        }
    }

    #[cold]
    pub fn reason(&self, stop: Stop) -> Reason {
        match (self, stop) {
            (Rx::Remote(channel), stop) => channel.reason(Role::Receiver, stop),
            (_, Stop::Closed(reason)) => reason,
            (Rx::Process(link), stop) => link.reason(stop),
            (Rx::Thread(_) | Rx::File(_) | Rx::Timer(_), Stop::Gone | Stop::Broken) => Reason::Protocol,
        }
    }
}

/// What came is no message.
const PROTOCOL: RecvError = RecvError::Disconnected(Reason::Protocol);

impl<T> Receiver<T> {
    pub(crate) fn new(rx: Rx<T>) -> Self {
        Receiver { rx }
    }

    /// Whether the other end is gone and everything it sent was received.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, u8>();
    /// a.send(1)?;
    /// drop(a);
    /// assert!(!b.receiver().is_closed(), "a message is still there");
    /// b.recv()?;
    /// assert!(b.receiver().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.reason().is_some()
    }

    /// Why the other end is gone, once everything it sent was received; None before.
    ///
    /// ```
    /// # use fs9_tiers::{error::Reason, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// assert_eq!(b.receiver().reason(), None);
    /// drop(a);
    /// assert_eq!(b.receiver().reason(), Some(Reason::Closed));
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        if let Rx::Process(link) = &self.rx
            && link.is_broken()
        {
            return Some(Reason::Protocol);
        }
        match self.rx.near() {
            Near::Gate(gate) => gate.stopped().map(|stop| self.rx.reason(stop)),
            Near::Timer(timer) => timer.is_spent().then_some(Reason::Closed),
        }
    }
}

impl<T: Message> Receiver<T> {
    /// Receives one message, and waits for it. A signal does not end the wait; use a timeout, or a
    /// [`Select`](crate::Select).
    ///
    /// # Errors
    /// [`RecvError::Disconnected`]: the other end is gone, and everything it sent was received. Of a file also, with
    /// [`Reason::Protocol`], that this one message is none, see [`file`](mod@crate::file).
    ///
    /// ```
    /// # use fs9_tiers::{error::{Reason, RecvError}, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// a.send(1).expect("b is there");
    /// drop(a);
    /// assert_eq!(b.recv(), Ok(1));
    /// assert_eq!(b.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    /// ```
    pub fn recv(&self) -> Result<T, RecvError> {
        match self.rx.near() {
            Near::Gate(gate) => self.take(self.turn(gate)?),
            Near::Timer(timer) => timer.recv(),
        }
    }

    /// Receives if there is a message, and no other thread is just receiving from here.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`TryRecvError::Empty`].
    ///
    /// ```
    /// # use fs9_tiers::{error::TryRecvError, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
    /// a.send(1).expect("b is there");
    /// assert_eq!(b.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.recv_by(Deadline::Now)?.ok_or(TryRecvError::Empty)
    }

    /// Receives, waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Receiver::recv`], and [`RecvTimeoutError::Timeout`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{error::RecvTimeoutError, pair};
    /// let (a, b) = pair::<u8, u8>();
    /// assert_eq!(b.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    /// # drop(a);
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_by(Deadline::after(timeout))?.ok_or(RecvTimeoutError::Timeout)
    }

    /// Receives, waiting no longer than until `deadline`.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// a.send(1)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// let mut received = Vec::new();
    /// while let Ok(number) = b.recv_deadline(deadline) {
    ///     received.push(number);
    /// }
    /// assert_eq!(received, [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_by(Deadline::At(deadline))?.ok_or(RecvTimeoutError::Timeout)
    }

    /// Receives, in a task. A future that is dropped before it is ready has received nothing.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # pollster::block_on(async {
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// std::thread::spawn(move || a.send(1)); // the other side need not be a task
    /// assert_eq!(b.recv_async().await, Ok(1));
    /// fs9_tiers::after(Duration::from_millis(1)).recv_async().await?; // sleeps
    /// # Ok::<(), fs9_tiers::error::RecvError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture::new(self)
    }

    /// Receives one message with what was handed over beside it, and waits for it. Capabilities that are not claimed
    /// close; those beside a message that is received by any other function too.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// ```
    /// # use fs9_tiers::{Capability, Peer, pair};
    /// let (boss, worker) = pair::<String, ()>();
    /// let (input, output) = pair::<u64, ()>();
    /// boss.send_with("one for you".to_string(), vec![Capability::from(output)])?;
    ///
    /// let (_, capabilities) = worker.recv_with()?;
    /// let numbers = capabilities.into_iter().map(|end| end.claim::<(), u64>()).collect::<Result<Vec<_>, _>>()?;
    /// input.send(7)?;
    /// assert_eq!(numbers[0].recv(), Ok(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_with(&self) -> Result<(T, Vec<Capability>), RecvError> {
        loop {
            if let Some(delivery) = self.recv_with_by(Deadline::Never)? {
                return Ok(delivery);
            }
        }
    }

    /// As [`Receiver::recv_with`], if there is a message.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`].
    pub fn try_recv_with(&self) -> Result<(T, Vec<Capability>), TryRecvError> {
        self.recv_with_by(Deadline::Now)?.ok_or(TryRecvError::Empty)
    }

    /// As [`Receiver::recv_with`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_with_timeout(&self, timeout: Duration) -> Result<(T, Vec<Capability>), RecvTimeoutError> {
        self.recv_with_by(Deadline::after(timeout))?.ok_or(RecvTimeoutError::Timeout)
    }

    fn recv_with_by(&self, deadline: Deadline) -> Result<Option<(T, Vec<Capability>)>, RecvError> {
        match self.rx.near() {
            Near::Gate(gate) => self.turn_by(gate, deadline)?.map(|turn| self.take_with(turn)).transpose(),
            Near::Timer(timer) => Ok(timer.wait(deadline)?.map(|message| (message, Vec::new()))),
        }
    }

    /// The messages, as they come, until the other end is gone.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// let sum = std::thread::spawn(move || b.iter().map(u32::from).sum::<u32>());
    /// for number in 1..=10 {
    ///     a.send(number)?;
    /// }
    /// drop(a);
    /// assert_eq!(sum.join().ok(), Some(55));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self, ended: false }
    }

    /// The messages that are there: ends where [`Receiver::recv`] would wait.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<u8, ()>();
    /// assert_eq!(b.try_iter().count(), 0);
    /// a.send(1)?;
    /// assert_eq!(b.try_iter().collect::<Vec<_>>(), [1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter(self)
    }

    /// The next message of an iterator, which stays at its end: of a file, more can come after what was no message.
    fn next_until(&self, ended: &mut bool) -> Option<T> {
        let next = if *ended { None } else { self.recv().ok() };
        *ended = next.is_none();
        next
    }

    pub(crate) fn recv_by(&self, deadline: Deadline) -> Result<Option<T>, RecvError> {
        match self.rx.near() {
            Near::Gate(gate) => self.turn_by(gate, deadline)?.map(|turn| self.take(turn)).transpose(),
            Near::Timer(timer) => timer.wait(deadline),
        }
    }

    #[inline]
    fn turn<'a>(&self, gate: Gate<'a>) -> Result<Turn<'a>, RecvError> {
        loop {
            if let Some(turn) = self.turn_by(gate, Deadline::Never)? {
                return Ok(turn);
            }
        }
    }

    #[inline]
    pub(crate) fn turn_by<'a>(&self, gate: Gate<'a>, deadline: Deadline) -> Result<Option<Turn<'a>>, RecvError> {
        gate.wait(deadline).map_err(|stop| RecvError::Disconnected(self.rx.reason(stop)))
    }

    /// What an attempt to receive came to. None: not now.
    pub(crate) fn delivery(&self, attempt: Result<Option<Turn<'_>>, Stop>) -> Result<Option<T>, RecvError> {
        match attempt {
            Ok(turn) => turn.map(|turn| self.take(turn)).transpose(),
            Err(stop) => Err(RecvError::Disconnected(self.rx.reason(stop))),
        }
    }

    /// What came is no message: the channel ends.
    #[cold]
    pub(crate) fn malformed(&self, link: &Link) -> RecvError {
        RecvError::Disconnected(link.reason(Stop::Broken))
    }

    #[inline]
    fn take(&self, turn: Turn<'_>) -> Result<T, RecvError> {
        match &self.rx {
            Rx::Thread(lane) => Ok(lane.take(turn)),
            Rx::Process(link) => link.take(turn).ok_or_else(|| self.malformed(link)),
            Rx::File(file) => file.take(turn),
            Rx::Remote(channel) => channel.take(turn).map(|(message, _)| message).ok_or(PROTOCOL),
            Rx::Timer(_) => Err(RecvError::Disconnected(Reason::Closed)),
        }
    }

    fn take_with(&self, turn: Turn<'_>) -> Result<(T, Vec<Capability>), RecvError> {
        match &self.rx {
            Rx::Thread(lane) => Ok(lane.take_with(turn)),
            Rx::Process(link) => link.take_with(turn).ok_or_else(|| self.malformed(link)),
            Rx::File(file) => Ok((file.take(turn)?, Vec::new())),
            Rx::Remote(channel) => channel.take(turn).ok_or(PROTOCOL),
            Rx::Timer(_) => Err(RecvError::Disconnected(Reason::Closed)),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.rx.leave(if std::thread::panicking() { Reason::Panicked } else { Reason::Closed });
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Receiver");
        match &self.rx {
            Rx::Thread(lane) => {
                debug.field("tier", &"thread").field("received", &lane.end(Role::Receiver).desk.passed())
            }
            Rx::Process(link) => {
                debug.field("tier", &"process").field("received", &link.end(Role::Receiver).desk.passed())
            }
            Rx::File(file) => debug.field("tier", &"file").field("file", file.opened()),
            Rx::Remote(channel) => debug.field("tier", &"remote").field("channel", channel),
            Rx::Timer(timer) => debug.field("timer", timer),
        };
        debug.finish_non_exhaustive()
    }
}

/// Receives with [`Receiver::recv`] until the other end is gone.
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is used"]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    ended: bool,
}

/// Receives with [`Receiver::try_recv`] while there is something.
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is used"]
pub struct TryIter<'a, T>(&'a Receiver<T>);

/// Owns the receiver that it receives from.
///
/// ```
/// let (a, b) = fs9_tiers::pair::<u8, ()>();
/// a.send(1)?;
/// drop(a);
/// let (_, receiver) = b.split();
/// assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator does nothing unless it is used"]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
    ended: bool,
}

impl<T: Message> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.next_until(&mut self.ended)
    }
}

impl<T: Message> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

impl<T: Message> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.next_until(&mut self.ended)
    }
}

impl<T: Message> FusedIterator for Iter<'_, T> {}
impl<T: Message> FusedIterator for IntoIter<T> {}

impl<'a, T: Message> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Message> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self, ended: false }
    }
}
