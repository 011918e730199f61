//! The cell of `tiers/src/sys/cell.rs`, which here notices an access that is not ordered after the one before it.
#![forbid(unsafe_code)]

use std::sync::Mutex;

use loom::cell::UnsafeCell;

use crate::slot::Turn;

pub struct Cell<M> {
    // The locks are of the machine's and unknown to loom: they order nothing here.
    access: Mutex<UnsafeCell<()>>,
    message: Mutex<Option<M>>,
}

impl<M> Default for Cell<M> {
    fn default() -> Self {
        Cell { access: Mutex::new(UnsafeCell::new(())), message: Mutex::default() }
    }
}

impl<M> Cell<M> {
    fn access(&self) {
        self.access.lock().unwrap().with_mut(|_| ());
    }

    pub fn put(&self, _turn: &Turn<'_>, message: M) {
        self.access();
        *self.message.lock().unwrap() = Some(message);
    }

    pub fn take(&self, _turn: &Turn<'_>) -> M {
        self.access();
        self.message.lock().unwrap().take().unwrap()
    }
}
