//! Where those wait who have dialled, until they are accepted: what a [`Listener`](super::Listener) and its thread
//! share.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

use super::hello::{Hello, Identity};
use super::sessions::{Caller, Sessions};
use super::{Loose, Options};
use crate::slot::Deadline;

/// So many wait to be accepted; more wait in connect(2).
const WAITING: usize = 64;

pub(super) struct Hall {
    sessions: Sessions,
    waiting: Mutex<VecDeque<Loose>>,
    /// Counts those who wait.
    bell: OwnedFd,
    /// Readable when there is something new for the thread.
    nudge: OwnedFd,
    is_closed: AtomicBool,
}

impl Hall {
    /// # Errors
    /// Those of eventfd(2) and getrandom(2).
    pub fn new(options: Options) -> io::Result<Hall> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Hall {
            sessions: Sessions::new(options)?,
            waiting: Mutex::default(),
            bell: eventfd(0, flags | EventfdFlags::SEMAPHORE)?,
            nudge: eventfd(0, flags)?,
            is_closed: AtomicBool::new(false),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Loose>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has_room(&self) -> bool {
        self.waiting().len() < WAITING
    }

    /// Readable while somebody waits.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub fn nudged(&self) -> BorrowedFd<'_> {
        self.nudge.as_fd()
    }

    /// The thread has woken.
    pub fn calm(&self) {
        let _ = read(&self.nudge, &mut [0; 8]);
    }

    fn nudge(&self) {
        // Fails only where it is full, and has been heard.
        let _ = write(&self.nudge, &1u64.to_ne_bytes());
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.nudge();
    }

    /// Somebody has said what he wants. Whoever is sent away dials again, or not.
    ///
    /// # Errors
    /// Those of the greeting. [`io::ErrorKind::ResourceBusy`]: there are enough who wait.
    pub fn greet(&self, hello: &Hello, caller: Caller, deadline: Deadline) -> io::Result<()> {
        if hello.identity != Identity::NONE {
            return self.sessions.go_on(hello, caller, deadline);
        }
        if !self.has_room() {
            let error = format!("{WAITING} peers wait to be accepted already; accept them first");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, error));
        }
        let first = Loose::new(self.sessions.begin(caller, deadline)?);
        self.waiting().push_back(first);
        write(&self.bell, &1u64.to_ne_bytes())?;
        Ok(())
    }

    /// Who has waited longest, if anybody waits.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn next(&self) -> io::Result<Option<Loose>> {
        match read(&self.bell, &mut [0; 8]) {
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let next = self.waiting().pop_front();
        // There is room for one more.
        self.nudge();
        Ok(next)
    }
}
