//! The cell of `tiers/src/sys/cell.rs`, which here notices two parties in it at once, a message put over another, one
//! taken twice, and one that a dead process had in its hands.
#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard};

use crate::bare_cell as bare;
use crate::slot::Turn;
use crate::sync::{AtomicU32, Ordering};

pub struct Cell<M> {
    message: bare::Cell<M>,
    is_full: Mutex<bool>,
    middle: AtomicU32,
}

impl<M> Default for Cell<M> {
    fn default() -> Self {
        Cell { message: bare::Cell::default(), is_full: Mutex::default(), middle: AtomicU32::default() }
    }
}

impl<M> Cell<M> {
    /// Comes in. Others may run while we are in here.
    fn enter(&self) -> MutexGuard<'_, bool> {
        let is_full = self.is_full.try_lock().expect("nobody else is at the message, and nobody died at it");
        self.middle.load(Ordering::Relaxed);
        is_full
    }

    pub fn put(&self, turn: &Turn<'_>, message: M) {
        let mut is_full = self.enter();
        assert!(!*is_full, "a message was put over another");
        self.message.put(turn, message);
        *is_full = true;
    }

    pub fn take(&self, turn: &Turn<'_>) -> M {
        let mut is_full = self.enter();
        assert!(*is_full, "a message was taken that is not there");
        *is_full = false;
        self.message.take(turn)
    }
}
