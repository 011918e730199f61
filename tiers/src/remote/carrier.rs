//! What a connection asks of the byte stream that it has at present: a [`Socket`](super::socket::Socket), or what a
//! program gave us.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};

use rustix::event::PollFlags;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::slot::Deadline;
use crate::watch::Watcher;

/// Whether a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// EAGAIN where there is nothing.
    None,
    /// Until there is something, or somebody calls [`Carrier::hang_up`].
    Endless,
}

/// A byte stream that is there.
pub(super) trait Carrier: Send + Sync {
    /// Appends what there is, as far as `into` has room for it. 0 is the end.
    fn append(&self, into: &mut Vec<u8>, patience: Patience) -> Result<usize, Errno>;

    /// Reads no more than there is room for in `buffer`, and does not wait. 0 is the end.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes as much as there is room for, and does not wait.
    fn send(&self, pieces: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// Writes what is kept of what was sent before, and does not wait.
    fn flush(&self) -> Result<(), Errno>;

    /// Whether there is something to read that no descriptor tells of.
    fn holds_input(&self) -> bool;

    /// Nothing goes or comes any more; whoever waits is woken.
    fn hang_up(&self);

    /// Waits until it can be read or written, as `events` say, or has ended. Empty when the deadline comes first.
    fn wait(&self, events: PollFlags, deadline: Deadline) -> Result<PollFlags, Errno>;

    /// Has the watcher tell once, under this number, when one of `events` is there, and in any case when it ends.
    fn watch(&self, watcher: &Watcher, number: u64, events: EventFlags) -> io::Result<()>;

    /// The watcher looks at it no more.
    fn unwatch(&self, watcher: &Watcher);
}
