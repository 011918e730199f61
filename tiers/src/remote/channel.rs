//! One channel of a connection: two lanes, whose far sides are played by whoever reads the connection.
//!
//! | | the near side | the far side |
//! |---|---|---|
//! | `incoming` | the receiver | puts what a message frame brings; leaves when the far sender has left |
//! | `outgoing` | the sender: its turn is the credit for one message | takes when the far side says `taken`; leaves when the far receiver has left |
//!
//! So a turn, a wait, a task and a `Select` are those of threads. An end is over on the wire when both sides have said
//! of both halves that they left; who is told that both far halves are gone says so of both near ones at once.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use super::bells::{Bell, Bells};
use super::connection::Connection;
use super::frame::{self, Garbage, Halves, Passport};
use super::promise::Promise;
use super::reader::Data;
use super::writer::Writer;
use crate::capability::Capability;
use crate::error::{Reason, SendError, Unfit};
use crate::message::{self, Bounded, LIMIT, Message};
use crate::slot::{Attempt, End, Role, Stop, Turn};
use crate::thread::{self, Lane};

/// From this length on a message is *long*: a `Vec<u8>` or a `Bytes` is not copied, and that it was taken is said at once.
const LONG: usize = 16 << 10;

pub(crate) struct Channel {
    connection: Arc<Connection>,
    number: u32,
    incoming: Lane<Arrival>,
    outgoing: Lane<()>,
    /// Held by who acts for the far side.
    far: Mutex<Far>,
    /// Of which near halves the far side was told that they left; changed by who has the writer.
    told: AtomicU8,
    /// Why the far receiver and the far sender left. The first reason stands.
    reasons: [OnceLock<Reason>; 2],
    /// So many of our frames the far side has when it has the last message.
    sent: AtomicU64,
    /// So many it must have before it can say that it takes that one: the message before.
    awaited: AtomicU64,
    /// Nothing was sent since the last message was taken.
    is_fresh: AtomicBool,
    /// After the last message that was taken came an answer.
    is_answering: AtomicBool,
}

/// What is known of the far end.
#[derive(Default)]
struct Far {
    /// The halves with which we have nothing to do any more.
    gone: Halves,
    /// Those of which it has said so.
    heard: Halves,
    promise: Promise<Incoming>,
    /// The far sender has left, by a panic or not: to be shown when what it sent last is in the slot.
    parting: Option<bool>,
}

/// A message, and what lies beside it.
type Incoming = (Data, Vec<Capability>);

/// A message in the slot.
pub(super) struct Arrival {
    data: Data,
    /// The far side was told that it was taken.
    is_promised: bool,
}

/// A message that was taken out of the slot, which still looks full.
pub(super) struct Held<'a> {
    slot: thread::Held<'a, Arrival>,
    is_promised: bool,
}

impl Channel {
    pub(super) fn new(connection: Arc<Connection>, number: u32) -> Arc<Channel> {
        Arc::new(Channel {
            connection,
            number,
            incoming: Lane::new(),
            outgoing: Lane::new(),
            far: Mutex::default(),
            told: AtomicU8::new(0),
            reasons: Default::default(),
            sent: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            is_fresh: AtomicBool::new(false),
            is_answering: AtomicBool::new(false),
        })
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The near side of the direction in which it has that role.
    #[inline]
    pub fn end(&self, role: Role) -> End<'_> {
        match role {
            Role::Sender => self.outgoing.end(role),
            Role::Receiver => self.incoming.end(role),
        }
    }

    /// Why there is no turn any more for the near half that is `role`.
    pub fn reason(&self, role: Role, stop: Stop) -> Reason {
        match (self.reasons[role as usize].get(), stop) {
            (Some(reason), _) => *reason,
            (None, Stop::Closed(reason)) => reason,
            (None, Stop::Gone | Stop::Broken) => Reason::Protocol,
        }
    }

    /// Sends at a sender's turn.
    pub fn put<T: Message>(&self, turn: Turn<'_>, message: T) -> Result<(), SendError<T>> {
        self.put_beside(turn, message, &[])
    }

    /// Sends at a sender's turn, with ends that are channels of this session already.
    pub(super) fn put_beside<T: Message>(
        &self,
        turn: Turn<'_>,
        message: T,
        passports: &[Passport],
    ) -> Result<(), SendError<T>> {
        let encoded = match long_bytes(&message) {
            Some(len) if !message::fits(len) => {
                return Err(SendError::Unfit(message, Unfit::TooLong { limit: LIMIT }));
            }
            Some(_) => None,
            None => match self.encode(&message, passports) {
                Ok(encoded) => Some(encoded),
                Err(unfit) => return Err(SendError::Unfit(message, unfit)),
            },
        };
        let mut writer = self.connection.writer();
        if self.has_told().has(Role::Sender) {
            drop(writer);
            return Err(SendError::Disconnected(message, self.reason(Role::Sender, Stop::Closed(Reason::Closed))));
        }
        match encoded {
            Some(encoded) => writer.keep(frame::seal(encoded)),
            None => self.keep_long(&mut writer, message, passports),
        }
        self.awaited.store(self.sent.swap(writer.numbered, Ordering::Relaxed), Ordering::Relaxed);
        // Before anybody can hear that it was taken.
        self.outgoing.put(turn, ());
        if self.is_fresh.swap(false, Ordering::Relaxed) {
            self.is_answering.store(true, Ordering::Relaxed);
        }
        self.connection.flush(writer);
        Ok(())
    }

    fn encode<T: Message>(&self, message: &T, passports: &[Passport]) -> Result<Vec<u8>, Unfit> {
        let bytes = frame::message(self.number, passports);
        let mut sink = Bounded { limit: bytes.len() + LIMIT, bytes };
        message::encode(message, &mut sink)?;
        Ok(sink.bytes)
    }

    /// Keeps long bytes as they are.
    fn keep_long<T: Message>(&self, writer: &mut Writer, message: T, passports: &[Passport]) {
        let mut message = Some(message);
        let message = &mut message as &mut dyn Any;
        let bytes = match message.downcast_mut::<Option<Vec<u8>>>() {
            Some(vector) => vector.take().map(Bytes::from),
            None => message.downcast_mut::<Option<Bytes>>().and_then(Option::take),
        };
        if let Some(bytes) = bytes {
            writer.keep(frame::bytes_follow(self.number, passports, bytes.len()));
            writer.keep_data(bytes);
        }
    }

    /// Receives at a receiver's turn. None: what came was no message of this type, and the channel has ended.
    pub fn take<T: Message>(self: &Arc<Self>, turn: Turn<'_>) -> Option<(T, Vec<Capability>)> {
        let (Arrival { data, is_promised }, capabilities) = self.incoming.take_with(turn);
        // Who streams is told at once; who waits for an answer is told with it.
        let was_answered = !self.is_fresh.swap(true, Ordering::Relaxed);
        let is_answering = self.is_answering.load(Ordering::Relaxed) && was_answered;
        self.is_answering.store(is_answering, Ordering::Relaxed);
        self.taken(is_promised, is_answering && data.len() < LONG);
        self.read(data).map(|message| (message, capabilities))
    }

    /// Receives at a receiver's turn, and leaves it to [`Channel::release`] to let the far side know. None as in
    /// [`Channel::take`].
    pub(super) fn hold<'a, T: Message>(self: &'a Arc<Self>, turn: Turn<'a>) -> Option<(T, Vec<Capability>, Held<'a>)> {
        let (Arrival { data, is_promised }, capabilities, slot) = self.incoming.hold(turn);
        self.read(data).map(|message| (message, capabilities, Held { slot, is_promised }))
    }

    /// Says that what was held was taken.
    pub(super) fn release(self: &Arc<Self>, held: Held<'_>) {
        held.slot.release();
        self.taken(held.is_promised, false);
    }

    /// The slot is empty again. The far side is told; where it was told before, what it has sent since goes there.
    fn taken(self: &Arc<Self>, is_promised: bool, may_wait: bool) {
        if !is_promised {
            return self.connection.taken(self, may_wait);
        }
        let bells = Bells::default();
        let mut far = self.far();
        let mut next = far.promise.redeem();
        if let Attempt::Turn(turn) = self.incoming.end(Role::Sender).attempt()
            && let Some(message) = next.take()
        {
            self.fill(turn, &mut far, message, &bells);
        }
        if let Some(is_panic) = far.parting.take() {
            self.incoming.leave(Role::Sender, is_panic, &Bell { bells: &bells, channel: self });
        }
        drop(far);
        bells.ring();
        // Its receiver has gone. Ends beside it close, for which the table is locked.
        drop(next);
    }

    /// Puts a message into the slot.
    fn fill(self: &Arc<Self>, turn: Turn<'_>, far: &mut Far, (data, capabilities): Incoming, bells: &Bells) {
        let arrival = Arrival { data, is_promised: far.promise.arrive() };
        self.incoming.deliver(turn, arrival, capabilities, &Bell { bells, channel: self });
    }

    /// The receiver of what comes waits for nothing else: whether the far side is to hear ahead that it was taken.
    pub(super) fn promise(&self) -> bool {
        self.far().promise.make()
    }

    /// Whether a message is about to go into the slot that no connection brings.
    pub(super) fn is_owed(&self) -> bool {
        self.far().promise.is_kept()
    }

    fn read<T: Message>(self: &Arc<Self>, data: Data) -> Option<T> {
        let message = decode(data);
        if message.is_none() {
            self.break_off();
        }
        message
    }

    /// The far end sends what is no message here, so neither end has any use for the other.
    fn break_off(self: &Arc<Self>) {
        let bells = Bells::default();
        let mut far = self.far();
        let unwanted = far.promise.redeem();
        self.lose(&mut far, Halves::BOTH, Reason::Protocol, &bells);
        drop(far);
        bells.ring();
        drop(unwanted);
        self.connection.leave(self, Halves::BOTH, Reason::Protocol);
    }

    /// The near half goes.
    pub fn close(self: &Arc<Self>, role: Role, reason: Reason) {
        let is_panic = reason == Reason::Panicked;
        match role {
            Role::Sender => self.outgoing.close(role, is_panic),
            Role::Receiver => {
                self.incoming.close(role, is_panic);
                let unwanted = self.far().promise.redeem();
                drop(unwanted);
            }
        }
        self.connection.leave(self, Halves::of(role), reason);
    }

    /// The halves that the far side was told have left.
    pub(super) fn has_told(&self) -> Halves {
        Halves::from_bits(self.told.load(Ordering::Relaxed))
    }

    /// To be called with the writer locked. What was not told before.
    pub(super) fn tell(&self, halves: Halves) -> Halves {
        let before = self.has_told();
        self.told.store(before.with(halves).bits(), Ordering::Relaxed);
        halves.without(before)
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The far halves that have said that they left.
    pub(super) fn has_left(&self) -> Halves {
        self.far().heard
    }

    /// A message has come.
    ///
    /// # Errors
    /// The far side had no right to send it.
    pub(super) fn deliver(
        self: &Arc<Self>,
        data: Data,
        capabilities: Vec<Capability>,
        bells: &Bells,
    ) -> Result<(), Garbage> {
        let mut far = self.far();
        if far.gone.has(Role::Sender) {
            // After this side broke the channel off the far one may not know of it yet.
            let is_late = !far.heard.has(Role::Sender);
            drop(far);
            drop(capabilities);
            return if is_late { Ok(()) } else { Err(Garbage) };
        }
        let message = (data, capabilities);
        let (result, unwanted) = match self.incoming.end(Role::Sender).attempt() {
            Attempt::Turn(turn) => {
                self.fill(turn, &mut far, message, bells);
                (Ok(()), None)
            }
            Attempt::Stopped(_) => (Ok(()), Some(message)),
            Attempt::Wait(_) => match far.promise.wait(message) {
                Ok(()) => (Ok(()), None),
                Err(message) => (Err(Garbage), Some(message)),
            },
        };
        // They close, for which the table is locked.
        drop(far);
        drop(unwanted);
        result
    }

    /// The far side has taken the message, or will have, and acknowledged so many frames.
    ///
    /// # Errors
    /// There was none, or it had not acknowledged the one before: it would have us keep everything for ever.
    pub(super) fn was_taken(self: &Arc<Self>, acknowledged: u64, bells: &Bells) -> Result<(), Garbage> {
        let far = self.far();
        if far.heard.has(Role::Receiver) {
            return Err(Garbage);
        }
        if far.gone.has(Role::Receiver) {
            return Ok(());
        }
        if acknowledged < self.awaited.load(Ordering::Relaxed) {
            return Err(Garbage);
        }
        match self.outgoing.end(Role::Receiver).attempt() {
            Attempt::Turn(turn) => {
                self.outgoing.fetch(turn, &Bell { bells, channel: self });
                Ok(())
            }
            Attempt::Stopped(_) => Ok(()),
            Attempt::Wait(_) => Err(Garbage),
        }
    }

    /// Halves of the far end say that they leave.
    ///
    /// # Errors
    /// They have said so before.
    pub(super) fn far_left(self: &Arc<Self>, halves: Halves, reason: Reason, bells: &Bells) -> Result<(), Garbage> {
        let mut far = self.far();
        if halves.without(far.heard) != halves {
            return Err(Garbage);
        }
        far.heard = far.heard.with(halves);
        self.lose(&mut far, halves, reason, bells);
        Ok(())
    }

    /// The whole connection has ended.
    pub(super) fn end_for(self: &Arc<Self>, reason: Reason, bells: &Bells) {
        self.lose(&mut self.far(), Halves::BOTH, reason, bells);
    }

    fn lose(self: &Arc<Self>, far: &mut Far, halves: Halves, reason: Reason, bells: &Bells) {
        let news = halves.without(far.gone);
        far.gone = far.gone.with(halves);
        let (bell, is_panic) = (Bell { bells, channel: self }, reason == Reason::Panicked);
        if news.has(Role::Receiver) {
            let _ = self.reasons[Role::Sender as usize].set(reason);
            self.outgoing.leave(Role::Receiver, is_panic, &bell);
        }
        if news.has(Role::Sender) {
            let _ = self.reasons[Role::Receiver as usize].set(reason);
            match far.promise.is_waiting() {
                true => far.parting = Some(is_panic),
                false => self.incoming.leave(Role::Sender, is_panic, &bell),
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The length of bytes that are long.
fn long_bytes<T: Message>(message: &T) -> Option<usize> {
    let message = message as &dyn Any;
    let vector = message.downcast_ref::<Vec<u8>>().map(Vec::len);
    vector.or_else(|| message.downcast_ref::<Bytes>().map(Bytes::len)).filter(|len| *len >= LONG)
}

fn decode<T: Message>(data: Data) -> Option<T> {
    match data {
        Data::Encoded(bytes) => message::decode(&message::Bytes(&bytes)),
        Data::Bytes(bytes) => {
            let mut message = None::<T>;
            if let Some(place) = (&mut message as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
                *place = Some(bytes);
                return message;
            }
            if let Some(place) = (&mut message as &mut dyn Any).downcast_mut::<Option<Bytes>>() {
                *place = Some(bytes.into());
                return message;
            }
            let header = message::header(bytes.len());
            message::decode(&message::Bytes(&[header.as_bytes(), &bytes].concat()))
        }
    }
}
