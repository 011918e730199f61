//! What carries messages here, and the two sides' work on it: the few lines of `sender.rs`, `receiver.rs` and
//! `future.rs` over the protocol.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::mpsc;
use shuttle::thread::{self, JoinHandle, yield_now};

use crate::cell::Cell;
use crate::executor::Executor;
use crate::lane::Lane;
use crate::slot::{Attempt, Deadline, Desk, End, Mark, Ring, Role, Scope, Stop, Turn};

/// One direction of a channel.
pub trait Way: Send + Sync + 'static {
    fn end(&self, role: Role) -> End<'_>;
    fn put(&self, turn: Turn<'_>, message: u32);
    fn take(&self, turn: Turn<'_>) -> u32;
    fn close(&self, role: Role, panicked: bool);
}

/// The tier of threads, whole.
impl Way for Lane<u32> {
    fn end(&self, role: Role) -> End<'_> {
        Lane::end(self, role)
    }

    fn put(&self, turn: Turn<'_>, message: u32) {
        // With something beside it or not.
        match message % 2 {
            0 => Lane::put(self, turn, message),
            _ => self.put_beside(turn, message, vec![]),
        }
    }

    fn take(&self, turn: Turn<'_>) -> u32 {
        Lane::take(self, turn)
    }

    fn close(&self, role: Role, panicked: bool) {
        Lane::close(self, role, panicked);
    }
}

/// The tier of processes: the protocol as `process/link.rs` sets it up, with all that is not protocol left out.
pub struct Link {
    sent: Mark,
    taken: Mark,
    message: Cell<u32>,
    sender: Process,
    receiver: Process,
}

/// What one process has for itself.
struct Process {
    desk: Desk,
    /// Where its watcher hears of the socket.
    watcher: std::sync::Mutex<Option<mpsc::Sender<News>>>,
}

impl Process {
    fn new(role: Role) -> Process {
        Process { desk: Desk::new(role, Scope::Machine, 0), watcher: std::sync::Mutex::default() }
    }
}

/// What comes through the socket.
enum News {
    Bell,
    HungUp,
}

impl Link {
    pub fn new() -> Arc<Link> {
        let (sender, receiver) = (Process::new(Role::Sender), Process::new(Role::Receiver));
        let (sent, taken) = (Mark::default(), Mark::default());
        Arc::new(Link { sent, taken, message: Cell::default(), sender, receiver })
    }

    fn process(&self, role: Role) -> &Process {
        match role {
            Role::Sender => &self.sender,
            Role::Receiver => &self.receiver,
        }
    }

    /// The other end hangs up, or the kernel for it.
    pub fn hang_up(&self, survivor: Role) {
        self.tell(survivor, News::HungUp);
    }

    fn tell(&self, role: Role, news: News) {
        let watcher = self.process(role).watcher.try_lock().expect("no change of threads in here").clone();
        if let Some(watcher) = watcher {
            let _ = watcher.send(news);
        }
    }

    /// Starts the watcher of the side that is `role`: `watch.rs` and `Link::lose`.
    pub fn watch(self: &Arc<Self>, role: Role) -> JoinHandle<()> {
        let (teller, news) = mpsc::channel();
        *self.process(role).watcher.try_lock().expect("nobody else yet") = Some(teller);
        let link = Arc::clone(self);
        thread::spawn(move || {
            while let Ok(News::Bell) = news.recv() {
                link.end(role).wake_tasks();
            }
            link.end(role).lose();
        })
    }
}

impl Way for Link {
    fn end(&self, role: Role) -> End<'_> {
        let desk = &self.process(role).desk;
        match role {
            Role::Sender => End { desk, mine: &self.sent, theirs: &self.taken },
            Role::Receiver => End { desk, mine: &self.taken, theirs: &self.sent },
        }
    }

    fn put(&self, turn: Turn<'_>, message: u32) {
        self.message.put(&turn, message);
        turn.pass(self);
    }

    fn take(&self, turn: Turn<'_>) -> u32 {
        let message = self.message.take(&turn);
        turn.pass(self);
        message
    }

    fn close(&self, role: Role, panicked: bool) {
        self.end(role).close(panicked, self);
    }
}

impl Ring for Link {
    fn ring(&self, role: Role) {
        self.tell(role, News::Bell);
    }
}

/// When a wait gives up: never, at once, or at some moment.
pub const NEVER: Deadline = Deadline::Never;
pub const NOW: Deadline = Deadline::Now;

pub fn sometime() -> Deadline {
    Deadline::At(Instant::now())
}

/// None: it did not come to that.
pub fn send(way: &impl Way, message: u32, deadline: Deadline) -> Result<Option<()>, Stop> {
    let turn = way.end(Role::Sender).wait(deadline)?;
    Ok(turn.map(|turn| way.put(turn, message)))
}

pub fn recv(way: &impl Way, deadline: Deadline) -> Result<Option<u32>, Stop> {
    let turn = way.end(Role::Receiver).wait(deadline)?;
    Ok(turn.map(|turn| way.take(turn)))
}

/// Receives until there is nothing more to come, and why.
pub fn recv_all(way: &impl Way) -> (Vec<u32>, Stop) {
    let mut got = Vec::new();
    loop {
        match recv(way, NEVER) {
            Ok(message) => got.extend(message),
            Err(stop) => {
                assert!(!matches!(recv(way, NOW), Ok(Some(_))), "the end was told before the last message");
                return (got, stop);
            }
        }
    }
}

/// Awaits a turn as the futures of `future.rs` do. With a deadline the future may be dropped at any moment; None then.
fn turn<'a>(end: End<'a>, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
    let executor = Executor::here();
    let waker = executor.waker();
    let mut ticket = None;
    let result = loop {
        if let Some(ready) = poll(end, &mut ticket, &waker) {
            break ready;
        }
        if deadline == NEVER {
            executor.wait();
        } else {
            yield_now();
            if thread_rng().gen_ratio(1, 4) {
                break Ok(None);
            }
        }
        executor.calm();
    };
    if let Some(ticket) = ticket {
        end.unregister(ticket);
    }
    result
}

type Ready<'a> = Result<Option<Turn<'a>>, Stop>;

fn poll<'a>(end: End<'a>, ticket: &mut Option<u64>, waker: &Waker) -> Option<Ready<'a>> {
    let ready = |attempt| match attempt {
        Attempt::Turn(turn) => Some(Ok(Some(turn))),
        Attempt::Stopped(stop) => Some(Err(stop)),
        Attempt::Wait(_) => None,
    };
    ready(end.attempt()).or_else(|| {
        end.register(ticket, waker);
        ready(end.attempt())
    })
}

pub fn send_async(way: &impl Way, message: u32, deadline: Deadline) -> Result<Option<()>, Stop> {
    Ok(turn(way.end(Role::Sender), deadline)?.map(|turn| way.put(turn, message)))
}

pub fn recv_async(way: &impl Way, deadline: Deadline) -> Result<Option<u32>, Stop> {
    Ok(turn(way.end(Role::Receiver), deadline)?.map(|turn| way.take(turn)))
}
