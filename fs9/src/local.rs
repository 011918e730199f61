//! A descriptor that the server's own process has: the same verbs, without the kernel between. A door with one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs9_tiers::error::Reason;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::channel::Handle;
use crate::events::Event;
use crate::server::{Caller, Data, Flags, Server, ready};
use crate::ticket::{Answer, Door, Effects, Ticket, Watcher};

/// The numbers of requests that come from no kernel. Those of FUSE are even (`FUSE_REQ_ID_STEP`), and all doors of a
/// server share its table of those that wait.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number for the next of them.
pub fn next_id() -> u64 {
    NEXT.fetch_add(2, Ordering::Relaxed)
}

/// What is woken when the other end goes: no request has this number.
const HANG_UP: u64 = 0;

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

    fn wake(&self, watch: u64, _now: u32) {
        self.answer(watch, Answer::End);
    }
}

/// A request whose answer is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending(u64);

impl Local {
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

    /// Closes it, for a reason that the other end is told.
    pub fn leave(mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    /// Whether the other end is gone, or the server stopped. While it is not, the bell rings when it goes.
    pub fn is_hung_up(&self) -> bool {
        let _ = self.door.take(HANG_UP);
        let watcher = Watcher::new(self.door.clone(), HANG_UP);
        let now = verb(&self.server, |server, fx| server.poll(self.handle, 0, Some(watcher), fx));
        now.map_or(true, |now| now & ready::HUP != 0)
    }

    /// Receives nothing more, for a reason that who writes to it is counted under.
    pub fn deafen(&self, reason: Reason) {
        verb(&self.server, |server, fx| server.deafen(self.handle, reason, fx));
    }

    /// What was received last was for nobody.
    pub fn discard(&self, reason: Reason) {
        verb(&self.server, |server, fx| server.discard(self.handle, reason, fx));
    }

    /// Sends nothing more: the other end reads what was sent, and then comes to the end.
    pub fn shut(&self) {
        verb(&self.server, |server, fx| server.shut(self.handle, fx));
    }

    /// Tells whoever reads `events` of this descriptor.
    pub fn tell(&self, event: Event<'_>) {
        verb(&self.server, |server, fx| server.tell(self.handle, event, fx));
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
