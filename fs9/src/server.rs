//! The verbs: walk, stat, open, create, remove, rename, read, write, poll, flush, clunk. Every door translates to
//! these, and every rule about files is here or in the tree.
//!
//! A verb never waits. One that must wait leaves its ticket in line at a lane, to be answered when somebody comes, is
//! interrupted, or leaves. What is to be said goes into [`Effects`] and is said after the caller's lock is released.

pub mod access;
mod attach;
mod listen;
mod names;
mod obey;
mod peer;
mod poll;
mod publish;
mod read;
mod report;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod tick;
mod waiting;
mod write;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use fs9_grants::Key;
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use slab::Slab;

use crate::allotment::{Allotment, Good, Share};
use crate::channel::{Done, Handle};
use crate::confine::Confinement;
use crate::ctl;
use crate::events::Log;
use crate::grants::Clock;
use crate::holders::Holders;
use crate::host::{Host, Undecided};
use crate::message::{Claim, Message, Store};
use crate::mount::Limits;
use crate::ticket::{Answer, Effects, Ticket, Watcher};
use crate::timer::{self, Timers};
use crate::tree::{Attr, Entry, File, Part, ROOT, Stat, Tree};
use crate::view::View;
use listen::{EventReader, EventWaiter};
use peer::Peer;
pub use session::{Origin, Session};
use waiting::Parked;

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Thread; 0 where it cannot be seen. Of another machine, the process as it is numbered there.
    pub tid: u32,
    /// The session that asks for it, see [`Server::admit`]; 0 for this machine.
    pub session: u32,
}

/// How a file is opened, or a descriptor read and written: the O_* flags that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// O_RDONLY or O_RDWR.
    pub read: bool,
    /// O_WRONLY or O_RDWR.
    pub write: bool,
    /// O_NONBLOCK.
    pub nonblocking: bool,
    /// O_SYNC or O_DSYNC: a write waits for its reader.
    pub sync: bool,
    /// A later piece of a write(2) that the kernel had to cut.
    pub continued: bool,
}

impl Flags {
    /// The O_* flags of open(2) on Linux (asm-generic/fcntl.h).
    pub fn of_open(flags: u32) -> Flags {
        const O_ACCMODE: u32 = 0o3;
        const O_NONBLOCK: u32 = 0o4000;
        const O_DSYNC: u32 = 0o10000; // O_SYNC includes it
        let access = flags & O_ACCMODE;
        Flags {
            read: access != 1,
            write: access == 1 || access == 2,
            nonblocking: flags & O_NONBLOCK != 0,
            sync: flags & O_DSYNC != 0,
            continued: false,
        }
    }
}

/// What a door must know of a file that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The descriptor.
    pub handle: Handle,
    /// It has no position: each read is of a message.
    pub stream: bool,
    /// It must be told of every close, see [`Server::flush`].
    pub flush: bool,
}

/// Readiness, as poll(2) has it.
pub mod ready {
    /// A read would not wait.
    pub const IN: u32 = 0x1 | 0x40;
    /// A write would not wait.
    pub const OUT: u32 = 0x4 | 0x100;
    /// The other end was lost.
    pub const ERR: u32 = 0x8;
    /// The other end is gone.
    pub const HUP: u32 = 0x10;
    /// All of it: nothing waits, for the other end was lost.
    pub const LOST: u32 = IN | OUT | ERR | HUP;
}

/// How many early interrupts are remembered: as many as loop threads can have overtaken, and then some.
const EARLY: usize = 256;

/// Descriptors of directories and texts that may be open beyond the limit of all.
const RESERVE: usize = 64;

/// What is open.
#[derive(Debug)]
enum Open {
    /// A queue, a topic, a timer, or an end of a pair or a service.
    Peer(Box<Peer>),
    /// A directory, listed when it is read from its beginning.
    Directory(File, Listing),
    /// Text as it was at open: README, status.
    Text(Message),
    /// `ctl`: the list of verbs, and where a verb is written to.
    Ctl(File, Message),
    /// `events`.
    Events(EventReader),
}

/// A directory as it was when it was last read from its beginning.
#[derive(Debug, Default)]
struct Listing {
    entries: Vec<Entry>,
    /// For their bytes.
    claim: Option<Claim>,
    /// The mount's owner reads it, whose bytes are counted apart.
    owner: bool,
}

/// The server of one mount.
#[derive(Debug)]
pub struct Server {
    tree: Tree,
    open: Slab<Open>,
    parked: FxHashMap<u64, Parked>,
    early: VecDeque<u64>,
    holders: Holders,
    events: Log,
    event_readers: Vec<Handle>,
    event_waiters: VecDeque<EventWaiter>,
    timers: Timers,
    sessions: Slab<Arc<Session>>,
    /// What may have at once who comes with a key.
    allotments: HashMap<Key, Weak<Allotment>>,
    /// Of descriptors that such a one has open.
    shares: FxHashMap<Handle, Share>,
    /// Where clients from elsewhere find it, for people.
    listening: Vec<String>,
    /// How the threads are confined that serve.
    confined: Confinement,
    /// Who this node is to others.
    key: Option<Key>,
    /// The time by which others may come with a key, if they may.
    clock: Option<Arc<Clock>>,
    /// How often somebody from elsewhere was not let in.
    refused: u64,
    host: Arc<dyn Host>,
    store: Arc<Store>,
    limits: Limits,
    /// The user who mounted.
    owner: u32,
    since: SystemTime,
    stopping: bool,
    /// An empty list with room, for the completions of the next verb.
    spare: Vec<Done>,
}

type Answered<T> = Result<T, Errno>;

impl Server {
    /// A server with an empty tree of user `uid` and group `gid`; message bytes live in `store`.
    pub fn new(limits: Limits, store: Arc<Store>, host: Arc<dyn Host>, uid: u32, gid: u32) -> Server {
        Server {
            tree: Tree::new(Attr::new(0o755, uid, gid), limits.channels),
            open: Slab::new(),
            parked: FxHashMap::default(),
            early: VecDeque::new(),
            holders: Holders::default(),
            events: Log::default(),
            event_readers: Vec::new(),
            event_waiters: VecDeque::new(),
            timers: Timers::default(),
            sessions: Slab::new(),
            allotments: HashMap::new(),
            shares: FxHashMap::default(),
            listening: Vec::new(),
            confined: Confinement::default(),
            key: None,
            clock: None,
            refused: 0,
            host,
            store,
            limits,
            owner: uid,
            since: SystemTime::now(),
            stopping: false,
            spare: Vec::new(),
        }
    }

    /// Fails everything that waits with ESHUTDOWN, and from now on everything that is asked. Whoever polls looks again
    /// and is told of an error.
    pub fn stop(&mut self, fx: &mut Effects) {
        self.stopping = true;
        self.event_waiters.clear();
        for node in self.tree.every_node() {
            node.body.abandon();
        }
        self.parked.clear();
        for (_, open) in &mut self.open {
            match open {
                Open::Peer(peer) => peer.abandon(fx),
                Open::Events(reader) => {
                    reader.watch.take().into_iter().for_each(|watch| fx.wake(watch, ready::ERR));
                }
                _ => {}
            }
        }
    }

    /// The file `name` in `dir`, its view and what stat(2) shows of it.
    ///
    /// # Errors
    /// As [`Tree::walk`].
    pub fn walk(&self, dir: File, name: &[u8]) -> Answered<(File, View, Stat)> {
        let (file, view) = self.tree.walk(dir, name)?;
        Ok((file, view, self.tree.stat(file)?))
    }

    /// The directory that a file is in, and its name there.
    ///
    /// # Errors
    /// ESTALE when the file is gone.
    pub fn place(&self, file: File) -> Answered<(File, String)> {
        self.tree.place(file)
    }

    /// What stat(2) shows.
    ///
    /// # Errors
    /// ESTALE when the file is gone.
    pub fn stat(&self, file: File) -> Answered<Stat> {
        self.tree.stat(file)
    }

    /// Changes mode, owner or times. Whether the caller may was checked by the kernel (default_permissions).
    ///
    /// # Errors
    /// EPERM for the fixed files, ESTALE.
    pub fn set_attr(&mut self, file: File, change: impl FnOnce(&mut Attr)) -> Answered<Stat> {
        if timer::period(file.node).is_some() {
            return Err(Errno::PERM);
        }
        let attr = self.tree.node_mut(file.node)?.attr_mut(file).ok_or(Errno::PERM)?;
        change(attr);
        attr.ctime = SystemTime::now();
        self.tree.stat(file)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// EBUSY for an end that is held, EAGAIN for a service for which enough clients wait, ECONNREFUSED for one that
    /// nobody serves, EMFILE at the limit of descriptors, of the mount or of one key, ENOSPC when there is no room for
    /// a text, EACCES for writing what cannot be written, EINVAL for a topic that is to be both read and written,
    /// ENOKEY for the `id` of a node without a key, ESTALE, ESHUTDOWN.
    pub fn open(&mut self, file: File, view: View, flags: Flags, caller: Caller, fx: &mut Effects) -> Answered<Opened> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        let is_directory = timer::period(file.node).is_none() && self.tree.node(file.node)?.is_directory();
        // Nobody else must be able to keep the owner from looking and from ending it.
        let reserved = !file.part.is_peer(is_directory) && self.is_owner(caller);
        let most = if reserved { self.limits.opens.saturating_add(RESERVE) } else { self.limits.opens };
        if self.open.len() >= most {
            return Err(Errno::MFILE);
        }
        let share = self.share(Good::Opens, caller, file, fx)?;
        let opened = self.open_part(file, view, flags, caller, fx)?;
        share.into_iter().for_each(|share| drop(self.shares.insert(opened.handle, share)));
        Ok(opened)
    }

    fn open_part(
        &mut self,
        file: File,
        view: View,
        flags: Flags,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<Opened> {
        let is_directory = timer::period(file.node).is_none() && self.tree.node(file.node)?.is_directory();
        match file.part {
            Part::Own if is_directory => Ok(self
                .opened(Open::Directory(file, Listing { owner: self.is_owner(caller), ..Listing::default() }), false)),
            Part::Own | Part::A | Part::B => self.open_peer(file, view, flags, caller, fx),
            Part::Ctl => {
                let text = self.store.constant(if file.node == ROOT { ctl::HELP } else { ctl::OWN_HELP });
                Ok(self.opened(Open::Ctl(file, text), false))
            }
            _ if flags.write => Err(Errno::ACCESS),
            Part::Events => {
                let reader = EventReader { cursor: self.events.end(), rest: None, watch: None };
                let opened = self.opened(Open::Events(reader), true);
                self.event_readers.push(opened.handle);
                Ok(opened)
            }
            Part::Readme => Ok(self.opened(Open::Text(self.store.constant(include_str!("mount-readme.txt"))), false)),
            Part::Id => {
                let key = self.key.ok_or(Errno::NOKEY)?;
                self.text(format!("{key}\n"), caller).map(|text| self.opened(Open::Text(text), false))
            }
            Part::Status => {
                let text =
                    if file.node == ROOT { self.status(caller).text() } else { self.status_of(file.node, caller)? };
                self.text(text, caller).map(|text| self.opened(Open::Text(text), false))
            }
            Part::StatusJson => {
                let text = self.status_json(caller);
                self.text(text, caller).map(|text| self.opened(Open::Text(text), false))
            }
        }
    }

    fn text(&self, text: String, caller: Caller) -> Answered<Message> {
        let text = if self.is_owner(caller) { self.store.text(text) } else { self.store.copy(text.as_bytes()) };
        text.ok_or(Errno::NOSPC)
    }

    /// Whether this is who mounted, or root.
    fn is_owner(&self, caller: Caller) -> bool {
        caller.uid == 0 || caller.uid == self.owner
    }

    fn opened(&mut self, open: Open, stream: bool) -> Opened {
        Opened { handle: self.open.insert(open), stream, flush: false }
    }

    /// The entries of an open directory, as they were when it was last read from its beginning.
    ///
    /// # Errors
    /// EBADF when `handle` is no open directory, ENOSPC when there is no room for it.
    pub fn list(&mut self, handle: Handle, from_start: bool) -> Answered<&[Entry]> {
        let Some(Open::Directory(file, listing)) = self.open.get_mut(handle) else { return Err(Errno::BADF) };
        if from_start {
            // A directory that was removed is empty, as on other filesystems.
            let entries = self.tree.list(*file).unwrap_or_default();
            let bytes = entries.iter().map(|entry| size_of::<Entry>() + entry.name.len()).sum();
            let claim = if listing.owner { self.store.claim_text(bytes) } else { self.store.claim(bytes) };
            listing.claim = Some(claim.ok_or(Errno::NOSPC)?);
            listing.entries = entries;
        }
        Ok(&listing.entries)
    }

    /// How many channels there are, and how many there may be.
    pub fn room(&self) -> (usize, usize) {
        (self.tree.len(), self.limits.channels)
    }

    /// Reads at most `size` bytes: of a peer one message, of a text what is at `offset`.
    pub fn read(
        &mut self,
        handle: Handle,
        offset: u64,
        size: usize,
        nonblocking: bool,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if self.stopping {
            return fx.fail(ticket, Errno::SHUTDOWN);
        }
        match self.open.get_mut(handle) {
            // The kernel cuts a large read(2) into pieces, of which only the first has offset 0: the message is over.
            Some(Open::Peer(_) | Open::Events(_)) if offset > 0 => fx.answer(ticket, Answer::End),
            Some(Open::Peer(_)) => self.read_peer(handle, size, nonblocking, ticket, fx),
            Some(Open::Events(_)) => self.read_event(handle, size, nonblocking, ticket, fx),
            Some(Open::Text(text) | Open::Ctl(_, text)) => {
                let from = usize::try_from(offset).map_or(text.len(), |offset| offset.min(text.len()));
                let to = from.saturating_add(size).min(text.len());
                fx.answer(ticket, Answer::Data(text.clone(), from..to));
            }
            Some(Open::Directory(..)) => fx.fail(ticket, Errno::ISDIR),
            None => fx.fail(ticket, Errno::BADF),
        }
    }

    /// Writes `data`: to a peer one message, to `ctl` one verb.
    pub fn write(
        &mut self,
        handle: Handle,
        data: Data<'_>,
        flags: Flags,
        caller: Caller,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if self.stopping {
            return fx.fail(ticket, Errno::SHUTDOWN);
        }
        match self.open.get(handle) {
            Some(Open::Peer(_)) => self.write_peer(handle, data, flags, ticket, fx),
            Some(Open::Ctl(file, _)) => {
                let (file, len) = (*file, data.bytes().len());
                match self.obey(file, data.bytes(), caller, fx) {
                    Ok(None) => fx.answer(ticket, Answer::Written(len)),
                    Ok(Some(decision)) => self.host.decide(Undecided { decision, len, ticket }),
                    Err(errno) => fx.fail(ticket, errno),
                }
            }
            Some(_) => fx.fail(ticket, Errno::ACCESS),
            None => fx.fail(ticket, Errno::BADF),
        }
    }

    /// fsync(2): a reader has done with its message.
    ///
    /// # Errors
    /// EBADF.
    pub fn fsync(&mut self, handle: Handle) -> Answered<()> {
        match self.open.get(handle) {
            Some(Open::Peer(_)) => self.settle_held(handle),
            Some(_) => {}
            None => return Err(Errno::BADF),
        }
        Ok(())
    }

    /// One close(2) by thread `tid`, perhaps of several descriptors of this file.
    pub fn flush(&mut self, handle: Handle, tid: u32) {
        if let Some(Open::Peer(peer)) = self.open.get_mut(handle) {
            peer.note_close(tid);
        }
    }

    /// The last descriptor is closed.
    pub fn clunk(&mut self, handle: Handle, fx: &mut Effects) {
        self.shares.remove(&handle);
        match self.open.get(handle) {
            Some(Open::Peer(_)) => self.clunk_peer(handle, None, fx),
            Some(Open::Events(_)) => {
                self.event_waiters.retain(|waiter| waiter.handle != handle);
                self.parked.retain(|_, parked| parked.handle != handle);
                self.event_readers.retain(|reader| *reader != handle);
                if self.event_readers.is_empty() {
                    self.events.clear();
                }
                self.open.remove(handle);
            }
            Some(_) => drop(self.open.remove(handle)),
            None => {}
        }
        if self.open.is_empty() {
            self.open = Slab::new(); // memory that many descriptors took is given back
        }
    }

    /// What a poller of `handle` should know now; `watch` is woken once when something in `interest` changes.
    ///
    /// # Errors
    /// EBADF, ESHUTDOWN; the poller sees POLLERR.
    pub fn poll(&mut self, handle: Handle, interest: u32, watch: Option<Watcher>, fx: &mut Effects) -> Answered<u32> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        match self.open.get_mut(handle) {
            Some(Open::Peer(_)) => self.poll_peer(handle, interest, watch, fx),
            Some(Open::Events(reader)) => {
                reader.watch = watch;
                let more = reader.rest.is_some() || reader.cursor < self.events.end();
                Ok(if more { ready::IN } else { 0 })
            }
            Some(_) => Ok(ready::IN | ready::OUT),
            None => Err(Errno::BADF),
        }
    }
}

/// The data of a write: lent by the door, or already a message of its own.
#[derive(Debug)]
pub enum Data<'a> {
    /// In the door's buffer.
    Lent(&'a [u8]),
    /// In a buffer that the door gave away.
    Owned(Message),
}

impl Data<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Data::Lent(bytes) => bytes,
            Data::Owned(message) => message,
        }
    }

    /// A message of them; ENOSPC when the mount has no room.
    fn message(self, store: &Arc<Store>) -> Answered<Message> {
        match self {
            Data::Lent(bytes) => store.copy(bytes).ok_or(Errno::NOSPC),
            Data::Owned(message) => Ok(message),
        }
    }
}
