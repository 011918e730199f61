//! The place of a message that stays in this address space.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use crate::slot::{Role, Turn};

/// Holds a message for whoever has the turn at the lane that this cell is part of. Does not know whether it is full: a
/// message in it that nobody takes is not dropped.
pub struct Cell<M>(UnsafeCell<MaybeUninit<M>>);

// SAFETY: the cell gives no reference away, it only moves messages in and out, one party at a time (see `put`). So it
// may be used from many threads as soon as its messages may move between threads.
unsafe impl<M: Send> Sync for Cell<M> {}

impl<M> Default for Cell<M> {
    fn default() -> Self {
        Cell(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

impl<M> Cell<M> {
    /// Puts the message in before the sender passes its turn.
    pub fn put(&self, turn: &Turn<'_>, message: M) {
        debug_assert_eq!(turn.role(), Role::Sender);
        // SAFETY: there is at most one turn at a lane at a time: `End::attempt` gives a sender's only while sent =
        // taken and a receiver's only while sent = taken + 1, within a side only to who has set the desk's `turn`, and
        // either count changes only when a turn is passed, which ends it (`pass_early`, which keeps it, is not used
        // here). `turn` is free again from just before a count is shown, but to this side the slot is lost then: its
        // own count says so. Passing is a release store (and more) and attempting an acquire load, so what the last
        // party did here has happened before. The caller has the turn of this lane; callers are only in
        // `thread/lane.rs`, where a lane's ends and its cell are made together.
        unsafe { (*self.0.get()).write(message) };
    }

    /// Takes the message out. The receiver passes its turn afterwards, whatever happens (or `pass_unseen`, once it has
    /// closed).
    pub fn take(&self, turn: &Turn<'_>) -> M {
        debug_assert_eq!(turn.role(), Role::Receiver);
        // SAFETY: as in `put`; and at a receiver's turn there is a message, since the sender has put one in before it
        // passed. It is moved out once, because the turn is passed after this.
        unsafe { (*self.0.get()).assume_init_read() }
    }
}
