//! A descriptor that a task of the server's own process has: what waits is a future. (A [`Local`](crate::local::Local)
//! is for a thread that has other things to wait for as well.)

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use fs9_tiers::error::Reason;
use rustix::io::Errno;

use crate::channel::Handle;
use crate::events::Event;
use crate::local::{next_id, verb};
use crate::message::Message;
use crate::name::Client;
use crate::server::{Caller, Data, Flags, Server, ready};
use crate::ticket::{Answer, Door, Effects, Ticket, Watcher};
use crate::tree::File;
use crate::view::View;

/// See the [module](self). Dropped, it is closed.
#[derive(Debug)]
pub struct Descriptor {
    server: Arc<Mutex<Server>>,
    /// None where opening it anew has failed.
    handle: Option<Handle>,
    /// Why it is closed, where that is not known from the process.
    reason: Option<Reason>,
}

/// This process.
pub fn caller() -> Caller {
    Caller {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        tid: std::process::id(),
        session: 0,
    }
}

/// Opens `file` to read and to write it.
///
/// # Errors
/// As [`Server::open`].
pub fn open(server: &mut Server, file: File, fx: &mut Effects) -> Result<Handle, Errno> {
    let flags = Flags { read: true, write: true, ..Flags::default() };
    Ok(server.open(file, View::Plain, flags, caller(), fx)?.handle)
}

impl Descriptor {
    /// The descriptor that `make` makes for this process.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn with(
        server: &Arc<Mutex<Server>>,
        make: impl FnOnce(&mut Server, &mut Effects) -> Result<Handle, Errno>,
    ) -> Result<Descriptor, Errno> {
        let handle = verb(server, make)?;
        Ok(Descriptor { server: server.clone(), handle: Some(handle), reason: None })
    }

    /// Its number; one that nobody has, where there is none.
    fn handle(&self) -> Handle {
        self.handle.unwrap_or(Handle::MAX)
    }

    /// Receives one message; None is the end.
    ///
    /// # Errors
    /// ECONNRESET once, when the other end was lost; ESHUTDOWN.
    pub async fn recv(&self) -> Result<Option<Message>, Errno> {
        match self.ask(|server, ticket, fx| server.read(self.handle(), 0, usize::MAX, false, ticket, fx)).await {
            Answer::Data(message, range) => Ok(Some(message.part(range))),
            Answer::End | Answer::Written(_) => Ok(None),
            Answer::Error(errno) => Err(errno),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// EPIPE when the other end is gone; EMSGSIZE, ENOSPC, ESHUTDOWN.
    pub async fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        let write = |server: &mut Server, ticket, fx: &mut Effects| {
            server.write(self.handle(), Data::Lent(bytes), Flags::default(), caller(), ticket, fx);
        };
        match self.ask(write).await {
            Answer::Error(errno) => Err(errno),
            _ => Ok(()),
        }
    }

    fn ask(&self, ask: impl FnOnce(&mut Server, Ticket, &mut Effects)) -> Request<'_> {
        let (id, reply) = (next_id(), Arc::new(Reply::default()));
        let ticket = Ticket::new(reply.clone(), id);
        verb(&self.server, |server, fx| ask(server, ticket, fx));
        Request { server: &self.server, id, reply }
    }

    /// Waits until it is ready for something of `interest`, or the other end is gone; returns all that it is ready for.
    ///
    /// # Errors
    /// ESHUTDOWN.
    pub async fn ready(&self, interest: u32) -> Result<u32, Errno> {
        poll_fn(|context| {
            let watcher = Watcher::new(Arc::new(Wakes(context.waker().clone())), 0);
            let now = verb(&self.server, |server, fx| server.poll(self.handle(), interest, Some(watcher), fx))?;
            let is_ready = now & (interest | ready::ERR | ready::HUP) != 0;
            if is_ready { Poll::Ready(Ok(now)) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for a client, at an end of `accept`. None when there will be none any more.
    pub async fn client(&self) -> Option<Client> {
        // A new connection has room for a message.
        self.ready(ready::OUT).await.ok()?;
        let client = verb(&self.server, |server, _| server.client(self.handle()))?;
        Some(Client { pid: client.pid, uid: client.uid, gid: client.gid })
    }

    /// Closes it and opens `file` with it anew: whoever waits for a descriptor does not come between.
    ///
    /// # Errors
    /// As [`Server::open`]; then it is only closed.
    pub fn exchange(&mut self, file: File) -> Result<(), Errno> {
        verb(&self.server, |server, fx| {
            self.handle.take().into_iter().for_each(|handle| server.leave(handle, None, fx));
            self.handle = Some(open(server, file, fx)?);
            Ok(())
        })
    }

    /// Nothing will be received any more: whoever writes to it gets EPIPE.
    pub fn deafen(&self, reason: Reason) {
        verb(&self.server, |server, fx| server.deafen(self.handle(), reason, fx));
    }

    /// Closes it, for a reason that the other end is told.
    pub fn leave(mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Tells whoever reads `events` of this descriptor.
    pub fn tell(&self, event: &'static str, reason: String) {
        let event = Event { event, reason: Some(reason), ..Event::default() };
        verb(&self.server, |server, fx| server.tell(self.handle(), event, fx));
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(handle) = self.handle {
            verb(&self.server, |server, fx| server.leave(handle, self.reason, fx));
        }
    }
}

/// Wakes a task that polls a descriptor.
struct Wakes(Waker);

impl Door for Wakes {
    fn answer(&self, _id: u64, _answer: Answer) {}

    fn wake(&self, _watch: u64, _now: u32) {
        self.0.wake_by_ref();
    }
}

/// A request whose answer is to come. Dropped before, it is withdrawn.
struct Request<'a> {
    server: &'a Arc<Mutex<Server>>,
    id: u64,
    reply: Arc<Reply>,
}

/// Where the answer of one request comes in.
#[derive(Default)]
struct Reply(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Asked,
    Awaited(Waker),
    Answered(Answer),
    Over,
}

impl Reply {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door for Reply {
    fn answer(&self, _id: u64, answer: Answer) {
        let before = mem::replace(&mut *self.state(), State::Answered(answer));
        if let State::Awaited(waker) = before {
            waker.wake();
        }
    }

    fn wake(&self, _watch: u64, _now: u32) {}
}

impl Future for Request<'_> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.reply.state();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Poll::Ready(answer),
            State::Asked | State::Awaited(_) | State::Over => {
                *state = State::Awaited(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        let waits = matches!(*self.reply.state(), State::Asked | State::Awaited(_));
        if waits {
            verb(self.server, |server, fx| server.cancel(self.id, Errno::CANCELED, fx));
        }
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.id)
    }
}
