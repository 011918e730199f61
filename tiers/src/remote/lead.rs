//! Who reads a connection.
//!
//! A message that another thread has to pass on costs a change of threads, which is more than all the rest of its way
//! in this process. So whoever waits reads the stream himself. One of several does, the *leader*; the others follow:
//! they sleep until the leader has put something into their slot, or has left. What cannot read (tasks, a `Select`, a
//! channel that is only waiting to be told goodbye) *depends*: while there is no leader the watcher's thread reads for
//! it.
//!
//! Invariants:
//!
//! - Whenever somebody follows or depends, there is a leader, or the stream is armed in the watcher, or somebody has been woken to
//!   lead. Each who comes says that he is there, and then looks whether there is a leader; each leader that leaves says so, and
//!   then looks who is there. All four are sequentially consistent.
//! - While there is a leader nobody else reads. So what the leader waits for cannot come but by his own hands, and he may sleep
//!   in recv(2).
#![forbid(unsafe_code)]

use crate::slot::{Scope, Watched};
use crate::sync::{self, AtomicU32, Ordering};

const VACANT: u32 = 0;
const LED: u32 = 1;

/// The place of the leader, and those who need one.
#[derive(Debug, Default)]
pub(super) struct Lead {
    word: AtomicU32,
    followers: AtomicU32,
    dependents: AtomicU32,
}

impl Lead {
    /// True for who leads from now on, until [`Lead::leave`].
    pub fn take(&self) -> bool {
        self.word.compare_exchange(VACANT, LED, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    pub fn is_taken(&self) -> bool {
        self.word.load(Ordering::SeqCst) == LED
    }

    /// The leader goes. True where the watcher is to read now.
    #[must_use]
    pub fn leave(&self) -> bool {
        self.word.store(VACANT, Ordering::SeqCst);
        self.hand_on()
    }

    /// Has a follower lead where nobody does. True where the watcher is to read.
    fn hand_on(&self) -> bool {
        if self.is_taken() {
            return false;
        }
        if self.followers.load(Ordering::SeqCst) != 0 {
            sync::wake_one(&self.word);
            return false;
        }
        self.dependents.load(Ordering::SeqCst) != 0
    }

    /// Somebody sleeps until there is something for him, or nobody leads, as [`Lead::word`] says.
    pub fn follow(&self) {
        self.followers.fetch_add(1, Ordering::SeqCst);
    }

    /// He does not any more, and may have been the one who was woken to lead. True where the watcher is to read.
    #[must_use]
    pub fn unfollow(&self) -> bool {
        self.followers.fetch_sub(1, Ordering::SeqCst);
        self.hand_on()
    }

    /// What a follower sleeps on.
    pub fn word(&self) -> Watched<'_> {
        Watched { word: &self.word, seen: LED, scope: Scope::Process }
    }

    /// Somebody cannot read himself. True where the watcher is to read.
    #[must_use]
    pub fn depend(&self) -> bool {
        self.dependents.fetch_add(1, Ordering::SeqCst);
        !self.is_taken()
    }

    /// He needs it no more.
    pub fn release(&self) {
        self.dependents.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether the watcher is to read.
    pub fn is_for_watcher(&self) -> bool {
        self.dependents.load(Ordering::SeqCst) != 0 && !self.is_taken()
    }
}
