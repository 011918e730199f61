//! A ticket: somebody at a door who waits for one answer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use crate::message::Message;

/// What a request comes to.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Bytes read: this part of a message. An empty one is the end.
    Data(Message, Range<usize>),
    /// The end: 0 bytes.
    End,
    /// So many bytes written.
    Written(usize),
    /// It failed.
    Error(Errno),
}

/// Where answers go: the FUSE device, a 9P connection, a waiting thread.
pub trait Door: Send + Sync {
    /// Answers request `id`. Called once for each; must not wait and must not call the server.
    fn answer(&self, id: u64, answer: Answer);

    /// Whoever polls under `watch` should look again: it is ready for `now`, as far as is known.
    fn wake(&self, watch: u64, now: u32);
}

/// The right and the duty to answer one request. Dropped unanswered, it answers ESHUTDOWN: nobody is forgotten, however
/// the server ends.
pub struct Ticket {
    door: Arc<dyn Door>,
    id: u64,
}

impl Ticket {
    /// The ticket for request `id` of `door`.
    pub fn new(door: Arc<dyn Door>, id: u64) -> Ticket {
        Ticket { door, id }
    }

    /// The number of the request at its door.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Gives the answer.
    pub fn answer(mut self, answer: Answer) {
        self.settle(answer);
    }

    fn settle(&mut self, answer: Answer) {
        // The kernel gives no request the number 0 (fuse_get_unique starts above it), so 0 can mean "answered".
        if self.id != 0 {
            self.door.answer(self.id, answer);
            self.id = 0;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Answer::Error(Errno::SHUTDOWN));
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.id)
    }
}

/// Somebody at a door who polls, to be woken once.
#[derive(Clone)]
pub struct Watcher {
    door: Arc<dyn Door>,
    id: u64,
}

impl Watcher {
    /// Whoever polls under `id` at `door`.
    pub fn new(door: Arc<dyn Door>, id: u64) -> Watcher {
        Watcher { door, id }
    }

    /// Whoever it is should look again: it is ready for `now`, as far as is known.
    pub fn wake(self, now: u32) {
        self.door.wake(self.id, now);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watcher({})", self.id)
    }
}

/// What is to be said once the server's lock is released.
#[derive(Debug, Default)]
pub struct Effects {
    answers: Vec<(Ticket, Answer)>,
    wakes: Vec<(Watcher, u32)>,
    stop: bool,
}

impl Effects {
    /// `ticket` gets `answer`.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push((ticket, answer));
    }

    /// `ticket` fails with `errno`.
    pub fn fail(&mut self, ticket: Ticket, errno: Errno) {
        self.answer(ticket, Answer::Error(errno));
    }

    /// Whoever polls should look again: it is ready for `now`.
    pub fn wake(&mut self, watcher: Watcher, now: u32) {
        self.wakes.push((watcher, now));
    }

    /// The server is to be stopped.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    /// Says everything. Returns whether the server is to be stopped.
    pub fn carry_out(&mut self) -> bool {
        for (ticket, answer) in self.answers.drain(..) {
            ticket.answer(answer);
        }
        for (watcher, now) in self.wakes.drain(..) {
            watcher.wake(now);
        }
        std::mem::take(&mut self.stop)
    }
}
