//! A connection: a session of frames, the stream that it has at present, and the channels in it.
//!
//! It outlives its streams. When one breaks, who dialled dials again (a thread for as long as that takes), and who was
//! dialled waits at its listener; after `linger` both give up. Channels notice nothing of a break but that it takes
//! time.
//!
//! Who does what: whoever sends writes to the stream himself, as far as it takes something; whoever waits reads it
//! ([`Lead`]). The watcher's thread does what nobody else is there for: it reads for tasks, writes what was left over,
//! hears hang-ups, and looks after the clock.
//!
//! **`taken` goes with the answer.** That a message was taken could be told at once; but then the far side is woken
//! twice, once for this and once for the answer that so often follows. So where the last message was answered, it is
//! only kept, and goes out with whatever is sent or written next: an answer, or what this side does before it waits
//! (every wait begins with [`Connection::settle`]). A thread that does neither is the case that is left: for that the
//! watcher looks every [`GUARD`] while such things are kept. Where it is then found to be kept still, or where the next
//! message is taken without an answer, it is told at once from then on.
//!
//! Locks, in this order: `input`, `table`, `far` of a channel, `writer`, `armed`. Wakers are called with none of them
//! held.
#![forbid(unsafe_code)]

mod armed;
mod clocks;
mod input;
mod table;
mod turnover;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::event::epoll::EventFlags;

pub(super) use input::Read;

use super::carrier::Carrier;
use super::channel::Channel;
use super::frame::{self, Halves};
use super::hello::Identity;
use super::lead::Lead;
use super::reader::Reader;
use super::writer::{Flushed, Writer};
use super::{Options, Origin};
use crate::error::Reason;
use crate::process::link::Credentials;
use crate::slot::Role;
use crate::watch::{Watched, Watcher, watcher};
use armed::Armed;
use clocks::Clocks;
use input::Input;
use table::{Entry, Table};

pub(crate) struct Connection {
    me: Weak<Connection>,
    options: Options,
    origin: Origin,
    identity: Identity,
    credentials: Option<Credentials>,
    input: Mutex<Input>,
    table: Mutex<Table>,
    writer: Mutex<Writer>,
    pub(super) lead: Lead,
    /// Counts the streams; who waits for another one sleeps on it.
    turnover: AtomicU32,
    /// It has ended, or nobody needs it any more.
    is_over: AtomicBool,
    /// The stream takes no more now.
    is_behind: AtomicBool,
    /// How often something was read.
    heard: AtomicU32,
    /// What that was at the last send.
    heard_at_send: AtomicU32,
    watcher: &'static Watcher,
    number: u64,
    armed: Mutex<Armed>,
    /// Whether the watcher looks for a `taken` that is kept.
    is_guarded: AtomicBool,
    clocks: Mutex<Clocks>,
    /// Held by who opens channels, until the far side is told of them.
    pub(super) handing_over: Mutex<()>,
}

impl Connection {
    /// A connection that has just begun, with its first channel.
    ///
    /// # Errors
    /// Those of starting the watcher, and of epoll_ctl(2).
    pub(super) fn begin(
        carrier: Arc<dyn Carrier>,
        options: Options,
        origin: Origin,
        identity: Identity,
        credentials: Option<Credentials>,
    ) -> io::Result<Arc<Channel>> {
        let watcher = watcher()?;
        let number = watcher.enrol();
        carrier.watch(watcher, number, EventFlags::RDHUP)?;
        let connection = Arc::new_cyclic(|me: &Weak<Connection>| Connection {
            me: me.clone(),
            options,
            origin,
            identity,
            credentials,
            input: Mutex::new(Input { carrier: Some(Arc::clone(&carrier)), reader: Reader::default() }),
            table: Mutex::default(),
            writer: Mutex::new(Writer::new(Arc::clone(&carrier))),
            lead: Lead::default(),
            turnover: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            heard: AtomicU32::new(0),
            heard_at_send: AtomicU32::new(0),
            watcher,
            number,
            armed: Mutex::new(Armed { carrier: Some(carrier), events: EventFlags::RDHUP }),
            is_guarded: AtomicBool::new(false),
            clocks: Mutex::default(),
            handing_over: Mutex::default(),
        });
        let first = Channel::new(Arc::clone(&connection), 0);
        connection.table().channels.insert(0, Entry { channel: Arc::clone(&first), is_closing: false });
        let watched: Weak<Connection> = Arc::downgrade(&connection);
        watcher.appoint(number, watched);
        connection.set_pulse();
        // What happened before there was somebody to tell.
        connection.attend();
        Ok(first)
    }

    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.credentials
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn linger(&self) -> Duration {
        self.options.linger
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn input(&self) -> MutexGuard<'_, Input> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clocks(&self) -> MutexGuard<'_, Clocks> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writing.
impl Connection {
    /// Writes what is kept, as far as the stream takes it; the watcher writes the rest.
    pub(super) fn flush(&self, mut writer: MutexGuard<'_, Writer>) {
        let flushed = writer.flush();
        self.is_behind.store(flushed == Flushed::Some, Ordering::SeqCst);
        drop(writer);
        if flushed == Flushed::Some {
            self.arm(EventFlags::OUT);
        }
    }

    /// Whatever is kept goes now: this side is about to wait.
    pub(super) fn settle(&self) {
        self.flush(self.writer());
    }

    /// A message was taken. The far side is told, at once or with what goes next.
    pub(super) fn taken(&self, channel: &Channel, may_wait: bool) {
        let mut writer = self.writer();
        if channel.has_told().has(Role::Receiver) {
            return;
        }
        writer.keep(frame::taken(channel.number()));
        if !may_wait {
            return self.flush(writer);
        }
        drop(writer);
        if !self.is_guarded.swap(true, Ordering::SeqCst) {
            self.set_guard();
        }
    }

    /// Near halves leave.
    pub(super) fn leave(&self, channel: &Arc<Channel>, halves: Halves, reason: Reason) {
        let mut writer = self.writer();
        let news = channel.tell(halves);
        if !news.is_empty() && !self.is_over() {
            writer.keep(frame::left(channel.number(), news, reason));
        }
        self.flush(writer);
        self.retire(channel);
    }

    /// Whether somebody waits for the stream to take more.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// The present stream, for a leader that waits for more than one thing of it.
    pub(super) fn carrier(&self) -> Option<Arc<dyn Carrier>> {
        self.armed().carrier.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watcher.dismiss(self.number);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("origin", &self.origin).finish_non_exhaustive()
    }
}
