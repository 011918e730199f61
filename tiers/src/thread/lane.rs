//! A lane: one direction between two threads, the protocol of [`crate::slot`] around a message in memory.
#![forbid(unsafe_code)]

use crate::capability::Capability;
use crate::slot::{Attempt, Desk, End, Mark, Ring, Role, Scope, Turn};
use crate::sync::Ordering;
use crate::sys::cell::Cell;

/// One direction between two threads.
///
/// What each side writes has lines of the cache of its own, and the message lies in those of the mark that announces
/// it: a message costs as few transfers between processors as there can be.
#[repr(C)]
pub(crate) struct Lane<T> {
    sent: Aligned<Full<T>>,
    taken: Aligned<Mark>,
    sender: Aligned<Desk>,
    receiver: Aligned<Desk>,
}

/// Two lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Aligned<W>(W);

#[repr(C)]
struct Full<T> {
    mark: Mark,
    message: Cell<T>,
    /// There only where the mark says so.
    capabilities: Cell<Vec<Capability>>,
}

impl<T> Lane<T> {
    pub fn new() -> Self {
        Lane {
            sent: Aligned(Full { mark: Mark::default(), message: Cell::default(), capabilities: Cell::default() }),
            taken: Aligned::default(),
            sender: Aligned(Desk::new(Role::Sender, Scope::Process, 0)),
            receiver: Aligned(Desk::new(Role::Receiver, Scope::Process, 0)),
        }
    }

    /// This lane as one side sees it.
    #[inline(always)]
    pub fn end(&self, role: Role) -> End<'_> {
        let (sent, taken) = (&self.sent.0.mark, &self.taken.0);
        match role {
            Role::Sender => End { desk: &self.sender.0, mine: sent, theirs: taken },
            Role::Receiver => End { desk: &self.receiver.0, mine: taken, theirs: sent },
        }
    }

    /// Sends at a sender's turn.
    #[inline(always)]
    pub fn put(&self, turn: Turn<'_>, message: T) {
        self.sent.0.message.put(&turn, message);
        self.announce(0);
        turn.pass(self);
    }

    /// Sends at a sender's turn, with capabilities beside the message.
    pub fn put_beside(&self, turn: Turn<'_>, message: T, capabilities: Vec<Capability>) {
        self.deliver(turn, message, capabilities, self);
    }

    /// As [`Lane::put_beside`]; the receiver's tasks are woken by `bell`.
    pub fn deliver(&self, turn: Turn<'_>, message: T, capabilities: Vec<Capability>, bell: &impl Ring) {
        self.sent.0.message.put(&turn, message);
        if capabilities.is_empty() {
            self.announce(0);
        } else {
            self.sent.0.capabilities.put(&turn, capabilities);
            self.announce(1);
        }
        turn.pass(bell);
    }

    /// Whether capabilities lie beside the message.
    fn announce(&self, capabilities: u32) {
        self.sent.0.mark.capabilities.store(capabilities, Ordering::Relaxed);
    }

    /// Tells this lane from all others that are there.
    pub fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Receives at a receiver's turn; what lies beside the message closes.
    #[inline(always)]
    pub fn take(&self, turn: Turn<'_>) -> T {
        if self.sent.0.mark.capabilities.load(Ordering::Relaxed) != 0 {
            return self.take_with(turn).0;
        }
        let message = self.sent.0.message.take(&turn);
        turn.pass(self);
        message
    }

    /// Receives at a receiver's turn.
    #[inline(never)] // the way of a message without them is to stay short
    pub fn take_with(&self, turn: Turn<'_>) -> (T, Vec<Capability>) {
        self.fetch(turn, self)
    }

    /// As [`Lane::take_with`]; the sender's tasks are woken by `bell`.
    pub fn fetch(&self, turn: Turn<'_>, bell: &impl Ring) -> (T, Vec<Capability>) {
        let taken = self.take_out(&turn);
        turn.pass(bell);
        taken
    }

    /// Receives at a receiver's turn, and leaves it to [`Held::release`] to let the sender know.
    pub fn hold<'a>(&'a self, turn: Turn<'a>) -> (T, Vec<Capability>, Held<'a, T>) {
        let (message, capabilities) = self.take_out(&turn);
        (message, capabilities, Held { lane: self, turn: Some(turn) })
    }

    fn take_out(&self, turn: &Turn<'_>) -> (T, Vec<Capability>) {
        let Full { mark, message, capabilities } = &self.sent.0;
        let capabilities = match mark.capabilities.load(Ordering::Relaxed) {
            0 => Vec::new(),
            _ => capabilities.take(turn),
        };
        (message.take(turn), capabilities)
    }

    /// One side goes.
    pub fn close(&self, role: Role, panicked: bool) {
        self.leave(role, panicked, self);
    }

    /// As [`Lane::close`]; the tasks of the other side are woken by `bell`.
    pub fn leave(&self, role: Role, panicked: bool, bell: &impl Ring) {
        self.end(role).close(panicked, bell);
        if role == Role::Receiver {
            self.clear();
        }
    }

    /// Drops what nobody will take any more. A sender is not shown that there is room: it would put a message there.
    fn clear(&self) {
        if let Attempt::Turn(turn) = self.end(Role::Receiver).attempt() {
            let left = self.take_out(&turn);
            turn.pass_unseen();
            drop(left);
        }
    }
}

/// A message that was taken out, while its sender still sees it lying there. Dropped, it stays that way: whoever holds
/// it is about to go.
#[must_use = "the sender waits for its release"]
pub(crate) struct Held<'a, T> {
    lane: &'a Lane<T>,
    turn: Option<Turn<'a>>,
}

impl<T> Held<'_, T> {
    /// Shows that the message was taken.
    pub fn release(mut self) {
        if let Some(turn) = self.turn.take() {
            turn.pass(self.lane);
        }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // What was taken out must not be taken out again.
        if let Some(turn) = self.turn.take() {
            turn.pass_unseen();
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T> Ring for Lane<T> {
    fn ring(&self, role: Role) {
        self.end(role).wake_tasks();
    }
}
