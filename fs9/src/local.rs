//! A descriptor that the server's own process has: the same verbs, without the kernel between. A door with one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fs9_tiers::error::Reason;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::channel::Handle;
use crate::server::{Caller, Data, Flags, Server};
use crate::ticket::{Answer, Door, Effects, Ticket};
use crate::tree::File;
use crate::view::View;

/// The numbers of requests that come from no kernel. Those of FUSE are even (`FUSE_REQ_ID_STEP`), and all doors of a server
/// share its table of those that wait.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number for the next of them.
pub fn next_id() -> u64 {
    NEXT.fetch_add(2, Ordering::Relaxed)
}

/// A descriptor of a channel. Dropped, it is closed.
#[derive(Debug)]
pub struct Local {
    server: Arc<Mutex<Server>>,
    door: Arc<Inbox>,
    handle: Handle,
    /// Why it is closed, where that is not known from the process.
    reason: Option<Reason>,
}

/// Where answers come in.
#[derive(Debug)]
struct Inbox {
    answers: Mutex<Vec<(u64, Answer)>>,
    /// Readable while an answer is there.
    bell: OwnedFd,
}

impl Inbox {
    fn new() -> io::Result<Inbox> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Inbox { answers: Mutex::default(), bell })
    }

    fn answers(&self) -> MutexGuard<'_, Vec<(u64, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, id: u64) -> Option<Answer> {
        let mut answers = self.answers();
        let place = answers.iter().position(|(known, _)| *known == id)?;
        let (_, answer) = answers.swap_remove(place);
        if answers.is_empty() {
            // Read or not, it is as it should be: only the count is taken, and of an empty one there is none.
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
        Some(answer)
    }
}

impl Door for Inbox {
    fn answer(&self, id: u64, answer: Answer) {
        let mut answers = self.answers();
        answers.push((id, answer));
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn wake(&self, _watch: u64) {}
}

/// A request whose answer is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending(u64);

impl Local {
    /// Opens a file of `server`, as the process itself.
    ///
    /// # Errors
    /// As [`Server::open`]; EMFILE.
    pub fn open(server: &Arc<Mutex<Server>>, file: File, flags: Flags) -> io::Result<Local> {
        let caller = Caller {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            tid: std::process::id(),
        };
        Local::with(server, |server, fx| server.open(file, View::Plain, flags, caller, fx).map(|opened| opened.handle))
    }

    /// The descriptor that `make` makes for this process.
    ///
    /// # Errors
    /// Those of `make`; EMFILE.
    pub fn with(
        server: &Arc<Mutex<Server>>,
        make: impl FnOnce(&mut Server, &mut Effects) -> Result<Handle, Errno>,
    ) -> io::Result<Local> {
        let door = Arc::new(Inbox::new()?);
        let handle = verb(server, make)?;
        Ok(Local { server: server.clone(), door, handle, reason: None })
    }

    /// Asks for the next message.
    pub fn begin_recv(&self) -> Pending {
        self.begin(|server, ticket, fx| server.read(self.handle, 0, usize::MAX, false, ticket, fx))
    }

    /// Sends `bytes` as one message, once there is room.
    pub fn begin_send(&self, bytes: &[u8]) -> Pending {
        self.begin(|server, ticket, fx| {
            server.write(self.handle, Data::Lent(bytes), Flags::default(), Caller::default(), ticket, fx);
        })
    }

    fn begin(&self, ask: impl FnOnce(&mut Server, Ticket, &mut Effects)) -> Pending {
        let id = next_id();
        let ticket = Ticket::new(self.door.clone(), id);
        verb(&self.server, |server, fx| ask(server, ticket, fx));
        Pending(id)
    }

    /// Readable (poll(2)) while the answer of a request is there.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.door.bell.as_fd()
    }

    /// What came of [`Local::begin_recv`], if it is there: a message, or None for the end.
    pub fn received(&self, pending: Pending) -> Option<io::Result<Option<Vec<u8>>>> {
        Some(match self.door.take(pending.0)? {
            Answer::Data(message, range) => Ok(Some(message[range].to_vec())),
            Answer::End | Answer::Written(_) => Ok(None),
            Answer::Error(errno) => Err(errno.into()),
        })
    }

    /// What came of [`Local::begin_send`], if it is there.
    pub fn sent(&self, pending: Pending) -> Option<io::Result<()>> {
        Some(match self.door.take(pending.0)? {
            Answer::Error(errno) => Err(errno.into()),
            _ => Ok(()),
        })
    }

    /// Receives one message; None is the end.
    ///
    /// # Errors
    /// ETIMEDOUT at the deadline, with nothing received; ECONNRESET once, when the other end was lost; ESHUTDOWN.
    pub fn recv(&self, deadline: Option<Instant>) -> io::Result<Option<Vec<u8>>> {
        let pending = self.begin_recv();
        self.wait(pending, deadline, Local::received)
    }

    /// Sends one message.
    ///
    /// # Errors
    /// ETIMEDOUT at the deadline, with nothing sent; EPIPE when the other end is gone; EMSGSIZE, ENOSPC, ESHUTDOWN.
    pub fn send(&self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<()> {
        let pending = self.begin_send(bytes);
        self.wait(pending, deadline, Local::sent)
    }

    /// Waits for an answer. At the deadline the request is withdrawn, which is an answer too.
    fn wait<T>(
        &self,
        pending: Pending,
        mut deadline: Option<Instant>,
        answer: impl Fn(&Local, Pending) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        loop {
            if let Some(answer) = answer(self, pending) {
                return answer;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let time = left.map(|left| Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
            match poll(&mut [PollFd::from_borrowed_fd(self.bell(), PollFlags::IN)], time.as_ref()) {
                Ok(0) => {
                    deadline = None;
                    verb(&self.server, |server, fx| server.cancel(pending.0, Errno::TIMEDOUT, fx));
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Closes it, for a reason that the other end is told.
    pub fn leave(mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Tells whoever reads `events` of this descriptor.
    pub fn tell(&self, event: &'static str, reason: Option<String>) {
        verb(&self.server, |server, fx| server.tell(self.handle, event, reason, fx));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        verb(&self.server, |server, fx| server.leave(self.handle, self.reason, fx));
    }
}

/// One verb under the lock, and what is to be said after it.
pub fn verb<T>(server: &Mutex<Server>, ask: impl FnOnce(&mut Server, &mut Effects) -> T) -> T {
    let mut fx = Effects::default();
    let result = ask(&mut server.lock().unwrap_or_else(PoisonError::into_inner), &mut fx);
    fx.carry_out();
    result
}
