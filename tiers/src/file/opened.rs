//! An open file, and whose turn it is to read or to write it.
//!
//! The other side of a file is a server, which keeps the slot, and tells by poll(2) and EAGAIN whether it is free or
//! full. What is left to do here is to keep the threads and tasks of this process in line: one reads at a time, and one
//! holds the right to write. For that each direction has a [`Line`].
//!
//! Invariants:
//!
//! - A message is read only by who is about to receive it, or to learn whether anything is left after the other end went. It
//!   lies in `ahead` until it is received: nobody who gives up a wait takes one along.
//! - Nobody waits with a turn in hand, but who holds a permit.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFlags, epoll};
use rustix::io::{Errno, read, retry_on_intr, write};

use super::LIMIT;
use crate::error::{Reason, SendError, Unfit};
use crate::readiness::wait_for;
use crate::slot::{Attempt, Deadline, Desk, End, Mark, ONE, Role, Scope, Stop, Turn, Watch};
use crate::watch::{Watched, Watcher, watcher};

/// An open file, which the two halves of a peer share. Closed with the last of them.
pub(crate) struct Opened {
    descriptor: OwnedFd,
    sender: Line,
    receiver: Line,
    ahead: Mutex<Ahead>,
    /// Why the other end is gone: the first reason stands.
    gone: OnceLock<Reason>,
    watching: Mutex<Watching>,
}

/// A slot that is always this side's, and with nobody at its other side: those who want it come one after the other.
struct Line {
    desk: Desk,
    mine: Mark,
    theirs: Mark,
}

/// What was read and has not been received.
enum Ahead {
    /// The message before may still be held for us: the next read says that we have done with it.
    Nothing,
    /// As a read said, and nothing is held for us.
    Quiet,
    Message(Vec<u8>),
    /// There is nothing more to read.
    End,
}

/// What the watcher is asked to tell.
#[derive(Default)]
struct Watching {
    by: Option<(&'static Watcher, u64)>,
    /// Of what a task waits for.
    interest: Option<epoll::EventFlags>,
}

/// One direction of a file, as it is looked at for one operation.
#[derive(Clone, Copy)]
pub(crate) struct FileEnd<'a> {
    file: &'a Arc<Opened>,
    role: Role,
}

/// Where it is seen whether an operation would wait.
pub(crate) enum Look<'a> {
    /// It would not.
    Ready,
    /// Somebody else of this process has the turn.
    Turn(End<'a>, Watch<'a>),
    /// poll(2) tells.
    Descriptor,
}

impl Line {
    fn new(role: Role) -> Line {
        let line = Line { desk: Desk::new(role, Scope::Process, 0), mine: Mark::default(), theirs: Mark::default() };
        if role == Role::Receiver {
            line.theirs.count.store(ONE, Ordering::Relaxed);
        }
        line
    }
}

impl Opened {
    /// `descriptor` must be open with O_NONBLOCK.
    pub fn new(descriptor: OwnedFd) -> Arc<Opened> {
        Arc::new(Opened {
            descriptor,
            sender: Line::new(Role::Sender),
            receiver: Line::new(Role::Receiver),
            ahead: Mutex::new(Ahead::Quiet),
            gone: OnceLock::new(),
            watching: Mutex::default(),
        })
    }

    /// One direction.
    pub fn end(self: &Arc<Self>, role: Role) -> FileEnd<'_> {
        FileEnd { file: self, role }
    }

    /// Writes one message, and waits for room. False when the deadline comes first.
    pub fn send(self: &Arc<Self>, bytes: &[u8], deadline: Deadline) -> Result<bool, SendError<()>> {
        let sent = self.end(Role::Sender).wait_until(deadline, |turn| match self.write(&turn, bytes) {
            Ok(false) => Ok(None),
            done => Ok(Some(done)),
        });
        match sent {
            Ok(sent) => sent.unwrap_or(Ok(false)),
            Err(Stop::Closed(reason)) => Err(SendError::Disconnected((), reason)),
            // At the other side of a line is nobody who could.
            Err(Stop::Gone | Stop::Broken) => Err(SendError::Disconnected((), Reason::Protocol)),
        }
    }

    /// Writes one message at a sender's turn. False when there is no room for it now.
    pub fn write(&self, _: &Turn<'_>, bytes: &[u8]) -> Result<bool, SendError<()>> {
        if let Some(reason) = self.gone.get() {
            return Err(SendError::Disconnected((), *reason));
        }
        if bytes.is_empty() {
            return Err(SendError::Unfit((), Unfit::Empty));
        }
        let too_long = |limit| SendError::Unfit((), Unfit::TooLong { limit });
        if bytes.len() > LIMIT {
            return Err(too_long(LIMIT));
        }
        let errno = match retry_on_intr(|| write(&self.descriptor, bytes)) {
            Ok(count) if count == bytes.len() => return Ok(true),
            // No file of a mount does that.
            Ok(_) => return Err(SendError::Disconnected((), self.lose(Reason::Protocol))),
            Err(errno) => errno,
        };
        let reason = match errno {
            Errno::AGAIN => return Ok(false),
            Errno::MSGSIZE => return Err(too_long(bytes.len() - 1)),
            Errno::PIPE => self.hang_up().unwrap_or(Reason::Closed),
            errno => match loss(errno) {
                Some(reason) => reason,
                None => return Err(SendError::Unfit((), Unfit::Refused(io::Error::from(errno).kind()))),
            },
        };
        Err(SendError::Disconnected((), self.lose(reason)))
    }

    /// The message that was read for this turn.
    pub fn take(&self, turn: Turn<'_>) -> Vec<u8> {
        let mut ahead = self.ahead();
        let taken = match std::mem::replace(&mut *ahead, Ahead::Nothing) {
            Ahead::Message(bytes) => bytes,
            other => {
                *ahead = other;
                Vec::new()
            }
        };
        drop(ahead);
        drop(turn);
        taken
    }

    /// Reads a message, unless there is one already. False when there is none now.
    fn read_ahead(&self) -> Result<bool, Stop> {
        let mut ahead = self.ahead();
        match *ahead {
            Ahead::Message(_) => return Ok(true),
            Ahead::End => return Err(Stop::Closed(self.lose(Reason::Closed))),
            Ahead::Nothing | Ahead::Quiet => {}
        }
        let reason = match read_message(&self.descriptor) {
            Ok(message) if !message.is_empty() => {
                *ahead = Ahead::Message(message);
                return Ok(true);
            }
            Err(Errno::AGAIN) => {
                *ahead = Ahead::Quiet;
                return Ok(false);
            }
            Ok(_) => Reason::Closed,
            Err(errno) => loss(errno).unwrap_or(Reason::Unreachable),
        };
        *ahead = Ahead::End;
        Err(Stop::Closed(self.lose(reason)))
    }

    /// Why the other end is gone, if poll(2) says that it is.
    fn hang_up(&self) -> Option<Reason> {
        let flags = wait_for(&self.descriptor, PollFlags::empty(), Deadline::Now).unwrap_or(PollFlags::ERR);
        parting(flags)
    }

    /// The other end is gone. Returns why: that of which was heard first.
    fn lose(&self, reason: Reason) -> Reason {
        *self.gone.get_or_init(|| reason)
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watching(&self) -> MutexGuard<'_, Watching> {
        self.watching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the tasks told when there is one of `events`.
    fn watch_for(self: &Arc<Self>, events: epoll::EventFlags) -> io::Result<()> {
        let mut watching = self.watching();
        let (watcher, number) = match watching.by {
            Some(by) => by,
            None => {
                let watcher = watcher()?;
                let number = watcher.enrol();
                let watched: Weak<Opened> = Arc::downgrade(self);
                watcher.appoint(number, watched);
                *watching.by.insert((watcher, number))
            }
        };
        let interest = watching.interest.unwrap_or(events) | events;
        watcher.watch_once(number, &self.descriptor, interest)?;
        watching.interest = Some(interest);
        Ok(())
    }
}

impl Watched for Opened {
    /// All tasks look again, and say anew what they wait for.
    fn attend(&self) {
        self.watching().interest = None;
        self.sender.end().wake_tasks();
        self.receiver.end().wake_tasks();
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some((watcher, number)) = self.watching().by {
            watcher.dismiss(number);
            watcher.remove(&self.descriptor);
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("descriptor", &self.descriptor.as_raw_fd())
            .field("gone", &self.gone.get())
            .finish_non_exhaustive()
    }
}

impl Line {
    fn end(&self) -> End<'_> {
        End { desk: &self.desk, mine: &self.mine, theirs: &self.theirs }
    }
}

impl<'a> FileEnd<'a> {
    fn line(self) -> End<'a> {
        match self.role {
            Role::Sender => self.file.sender.end(),
            Role::Receiver => self.file.receiver.end(),
        }
    }

    /// What is waited for.
    pub fn events(self) -> PollFlags {
        match self.role {
            Role::Sender => PollFlags::OUT,
            Role::Receiver => PollFlags::IN,
        }
    }

    /// Where it is waited for.
    pub fn descriptor(self) -> BorrowedFd<'a> {
        self.file.descriptor.as_fd()
    }

    /// A turn, if there is one now: for the sender with room for a message, for the receiver with a message.
    pub fn attempt(self) -> Result<Option<Turn<'a>>, Stop> {
        if self.is_quiet() && !self.sleep(Deadline::Now)? {
            return Ok(None);
        }
        match self.line().attempt() {
            Attempt::Turn(turn) => Ok(self.is_ready()?.then_some(turn)),
            Attempt::Stopped(stop) => Err(stop),
            Attempt::Wait(_) => Ok(None),
        }
    }

    /// Waits for a turn until the deadline. None when it has passed.
    pub fn wait(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        self.wait_until(deadline, |turn| Ok(self.is_ready()?.then_some(turn)))
    }

    /// Tries it at each turn, as often as there may be news, until it is done or the deadline has passed.
    fn wait_until<R>(
        self,
        deadline: Deadline,
        attempt: impl Fn(Turn<'a>) -> Result<Option<R>, Stop>,
    ) -> Result<Option<R>, Stop> {
        let mut sleeps = self.is_quiet();
        loop {
            if sleeps && !self.sleep(deadline)? {
                return Ok(None);
            }
            let Some(turn) = self.line().wait(deadline)? else { return Ok(None) };
            if let Some(done) = attempt(turn)? {
                return Ok(Some(done));
            }
            if deadline == Deadline::Now {
                return Ok(None);
            }
            sleeps = true;
        }
    }

    /// Whether poll(2) is asked before anything is tried: of a receiver that has nothing to give back. A read that
    /// finds nothing costs more, as it has room for every message.
    fn is_quiet(self) -> bool {
        self.role == Role::Receiver && matches!(*self.file.ahead(), Ahead::Quiet)
    }

    /// Sleeps until there may be news. False when the deadline has passed.
    fn sleep(self, deadline: Deadline) -> Result<bool, Stop> {
        match wait_for(&self.file.descriptor, self.events(), deadline) {
            Ok(flags) => Ok(!flags.is_empty()),
            Err(_) => Err(Stop::Closed(Reason::Unreachable)),
        }
    }

    /// Whether the operation would not wait.
    fn is_ready(self) -> Result<bool, Stop> {
        match self.role {
            Role::Receiver => self.file.read_ahead(),
            Role::Sender => match self.file.gone.get() {
                Some(reason) => Err(Stop::Closed(*reason)),
                None => self.has_room(),
            },
        }
    }

    fn has_room(self) -> Result<bool, Stop> {
        let flags = wait_for(&self.file.descriptor, PollFlags::OUT, Deadline::Now).unwrap_or(PollFlags::ERR);
        match parting(flags) {
            Some(reason) => Err(Stop::Closed(self.file.lose(reason))),
            None => Ok(flags.contains(PollFlags::OUT)),
        }
    }

    /// Why there will be no turn any more.
    pub fn stopped(self) -> Option<Stop> {
        let known = self.file.gone.get().copied();
        let reason = known.or_else(|| self.file.hang_up())?;
        match self.role {
            Role::Sender => Some(Stop::Closed(self.file.lose(reason))),
            // What it sent before may be there still: only a read tells.
            Role::Receiver => self.attempt().err(),
        }
    }

    /// Where it is seen whether an operation would wait. Takes no turn and reads nothing.
    pub fn look(self) -> Look<'a> {
        if let Some(watch) = self.line().look() {
            return Look::Turn(self.line(), watch);
        }
        let is_known = match self.role {
            Role::Sender => self.file.gone.get().is_some(),
            Role::Receiver => matches!(*self.file.ahead(), Ahead::Message(_) | Ahead::End),
        };
        if is_known { Look::Ready } else { Look::Descriptor }
    }

    /// Has `waker` called when an attempt is worth while again. The caller makes another attempt after this.
    ///
    /// # Errors
    /// Where nobody can watch the file, so that the task would wait for ever.
    pub fn register(self, ticket: &mut Option<u64>, waker: &Waker) -> Result<(), Stop> {
        self.line().register(ticket, waker);
        let events = match self.role {
            Role::Sender => epoll::EventFlags::OUT,
            Role::Receiver => epoll::EventFlags::IN,
        };
        self.file.watch_for(events).map_err(|_| Stop::Closed(Reason::Unreachable))
    }

    /// The task does not wait any more.
    pub fn unregister(self, ticket: u64) {
        self.line().unregister(ticket);
    }
}

/// Reads one message; no bytes are the end. One buffer a thread, with room for every message: a read with less would
/// leave the rest for the next, and nobody could tell it from another message.
fn read_message(descriptor: &OwnedFd) -> Result<Vec<u8>, Errno> {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    buffer.reserve_exact(LIMIT);
    let read = retry_on_intr(|| read(descriptor, spare_capacity(&mut buffer)));
    let message = read.map(|_| buffer.as_slice().to_vec());
    // A thread that ends keeps none.
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
    message
}

/// Why the other end is gone, as poll(2) tells it; None while it is there.
fn parting(flags: PollFlags) -> Option<Reason> {
    match (flags.contains(PollFlags::HUP), flags.contains(PollFlags::ERR)) {
        (true, true) => Some(Reason::Lost),
        (true, false) => Some(Reason::Closed),
        (false, true) => Some(Reason::Unreachable),
        (false, false) => None,
    }
}

/// What an error of the file says of the other end; None where it is about the message.
fn loss(errno: Errno) -> Option<Reason> {
    match errno {
        Errno::CONNRESET => Some(Reason::Lost),
        Errno::KEYREVOKED | Errno::ACCESS => Some(Reason::Revoked),
        // The server is stopping, was killed, or is on another node that is away.
        Errno::SHUTDOWN | Errno::NOTCONN | Errno::CONNABORTED | Errno::HOSTUNREACH | Errno::NOLINK | Errno::STALE => {
            Some(Reason::Unreachable)
        }
        _ => None,
    }
}
