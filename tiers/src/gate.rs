//! Where half of a peer gets its turn: at a slot in memory, at a file, or at a connection. Above this the tiers are not
//! told apart to wait.
#![forbid(unsafe_code)]

use std::task::Waker;

use crate::file::FileEnd;
use crate::remote::RemoteEnd;
use crate::slot::{Attempt, Deadline, End, Stop, Turn};

/// One direction as this side looks at it for one operation.
#[derive(Clone, Copy)]
pub(crate) enum Gate<'a> {
    Slot(End<'a>),
    File(FileEnd<'a>),
    Remote(RemoteEnd<'a>),
}

impl<'a> Gate<'a> {
    /// A turn, if there is one now.
    #[inline]
    pub fn attempt(self) -> Result<Option<Turn<'a>>, Stop> {
        match self {
            Gate::Slot(end) => match end.attempt() {
                Attempt::Turn(turn) => Ok(Some(turn)),
                Attempt::Stopped(stop) => Err(stop),
                Attempt::Wait(_) => Ok(None),
            },
            Gate::File(end) => end.attempt(),
            Gate::Remote(end) => end.attempt(),
        }
    }

    /// Waits for a turn until the deadline. None when it has passed.
    #[inline(always)]
    pub fn wait(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        match self {
            Gate::Slot(end) => end.wait(deadline),
            Gate::File(end) => end.wait(deadline),
            Gate::Remote(end) => end.wait(deadline),
        }
    }

    /// Why there will be no turn any more.
    pub fn stopped(self) -> Option<Stop> {
        match self {
            Gate::Slot(end) => end.stopped(),
            Gate::File(end) => end.stopped(),
            Gate::Remote(end) => end.stopped(),
        }
    }

    /// Has `waker` called when an attempt is worth while again. The caller makes another attempt after this.
    ///
    /// # Errors
    /// Where nobody could ever call it.
    pub fn register(self, ticket: &mut Option<u64>, waker: &Waker) -> Result<(), Stop> {
        match self {
            Gate::Slot(end) => {
                end.register(ticket, waker);
                Ok(())
            }
            Gate::File(end) => end.register(ticket, waker),
            Gate::Remote(end) => end.register(ticket, waker),
        }
    }

    /// The task does not wait any more.
    pub fn unregister(self, ticket: u64) {
        match self {
            Gate::Slot(end) => end.unregister(ticket),
            Gate::File(end) => end.unregister(ticket),
            Gate::Remote(end) => end.unregister(ticket),
        }
    }
}
