//! The verbs: walk, stat, open, create, remove, rename, read, write, poll, flush, clunk. Every door translates to these,
//! and every rule about files is here or in the tree.
//!
//! A verb never waits. One that must wait leaves its ticket in line at a lane, to be answered when somebody comes, is
//! interrupted, or leaves. What is to be said goes into [`Effects`] and is said after the caller's lock is released.

mod peer;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use slab::Slab;

use crate::channel::{Channel, Done, Handle, Kind};
use crate::ctl::{self, Verb};
use crate::events::{Event, Log};
use crate::message::{Message, Store};
use crate::mount::Limits;
use crate::ticket::{Answer, Effects, Ticket};
use crate::tree::{Attr, Body, Entry, File, NodeId, Part, ROOT, Stat, Tree, shrink};
use crate::view::View;
use peer::{Peer, Wait};

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Thread; 0 where it cannot be seen.
    pub tid: u32,
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
}

/// How many early interrupts are remembered: as many as loop threads can have overtaken, and then some.
const EARLY: usize = 256;

/// Descriptors of directories and texts that may be open beyond the limit of all.
const RESERVE: usize = 64;

/// What is open.
#[derive(Debug)]
enum Open {
    /// A queue, or an end of a pair.
    Peer(Box<Peer>),
    /// A directory, listed when it is read from its beginning.
    Directory(File, Vec<Entry>),
    /// Text as it was at open: README, status.
    Text(Message),
    /// `ctl`: the list of verbs, and where a verb is written to.
    Ctl(File, Message),
    /// `events`.
    Events(EventReader),
}

/// A descriptor of `events`.
#[derive(Debug)]
struct EventReader {
    cursor: u64,
    /// A line that a short read left the rest of.
    rest: Option<(Message, usize)>,
    watch: Option<u64>,
}

/// A request that waits.
#[derive(Debug)]
struct Parked {
    handle: Handle,
    wait: Wait,
    since: SystemTime,
}

/// Somebody who waits for an event.
#[derive(Debug)]
struct EventWaiter {
    handle: Handle,
    ticket: Ticket,
    size: usize,
}

/// The server of one mount.
#[derive(Debug)]
pub struct Server {
    tree: Tree,
    open: Slab<Open>,
    parked: FxHashMap<u64, Parked>,
    early: VecDeque<u64>,
    holders: FxHashMap<u32, Arc<Holder>>,
    events: Log,
    event_readers: Vec<Handle>,
    event_waiters: VecDeque<EventWaiter>,
    store: Arc<Store>,
    limits: Limits,
    since: SystemTime,
    stopping: bool,
    /// An empty list with room, for the completions of the next verb.
    spare: Vec<Done>,
}

type Answered<T> = Result<T, Errno>;

impl Server {
    /// A server with an empty tree of user `uid` and group `gid`; message bytes live in `store`.
    pub fn new(limits: Limits, store: Arc<Store>, uid: u32, gid: u32) -> Server {
        Server {
            tree: Tree::new(Attr::new(0o755, uid, gid), limits.channels),
            open: Slab::new(),
            parked: FxHashMap::default(),
            early: VecDeque::new(),
            holders: FxHashMap::default(),
            events: Log::default(),
            event_readers: Vec::new(),
            event_waiters: VecDeque::new(),
            store,
            limits,
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
        let ids: Vec<NodeId> = self.tree.channels().into_iter().map(|(_, id, ..)| id).collect();
        let removed = self.open.iter().filter_map(|(_, open)| match open {
            Open::Peer(peer) => Some(peer.file().node),
            _ => None,
        });
        for id in ids.into_iter().chain(removed.collect::<Vec<_>>()) {
            if let Ok(channel) = self.tree.channel_mut(id) {
                drop(channel.abandon()); // and with it every ticket, which answers
            }
        }
        self.parked.clear();
        for (_, open) in &mut self.open {
            match open {
                Open::Peer(peer) => peer.abandon(fx),
                Open::Events(reader) => reader.watch.take().into_iter().for_each(|watch| fx.wake(watch)),
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
        let attr = self.tree.node_mut(file.node)?.attr_mut(file).ok_or(Errno::PERM)?;
        change(attr);
        attr.ctime = SystemTime::now();
        self.tree.stat(file)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// EBUSY for an end that is held, EMFILE at the limit of descriptors, ENOSPC when there is no room for a text,
    /// EACCES for writing what cannot be written, ESTALE, ESHUTDOWN.
    pub fn open(&mut self, file: File, view: View, flags: Flags, caller: Caller, fx: &mut Effects) -> Answered<Opened> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        let is_directory = self.tree.node(file.node)?.is_directory();
        let is_peer = file.part.end().is_some() || (file.part == Part::Own && !is_directory);
        // Whoever may open a channel must not keep the owner from looking and from ending it.
        let most = if is_peer { self.limits.opens } else { self.limits.opens.saturating_add(RESERVE) };
        if self.open.len() >= most {
            return Err(Errno::MFILE);
        }
        match file.part {
            Part::Own if is_directory => Ok(self.opened(Open::Directory(file, Vec::new()), false)),
            Part::Own | Part::A | Part::B => self.open_peer(file, view, flags, caller, fx),
            Part::Ctl => {
                let text = self.text(if file.node == ROOT { ctl::HELP } else { ctl::PAIR_HELP }.to_owned())?;
                Ok(self.opened(Open::Ctl(file, text), false))
            }
            _ if flags.write => Err(Errno::ACCESS),
            Part::Events => {
                let reader = EventReader { cursor: self.events.end(), rest: None, watch: None };
                let opened = self.opened(Open::Events(reader), true);
                self.event_readers.push(opened.handle);
                Ok(opened)
            }
            Part::Readme => {
                self.text(include_str!("mount-readme.txt").to_owned()).map(|text| self.opened(Open::Text(text), false))
            }
            Part::Status => {
                let text = if file.node == ROOT { self.status() } else { self.status_of(file.node)? };
                self.text(text).map(|text| self.opened(Open::Text(text), false))
            }
            Part::StatusJson => {
                let text = self.status_json();
                self.text(text).map(|text| self.opened(Open::Text(text), false))
            }
        }
    }

    fn text(&self, text: String) -> Answered<Message> {
        self.store.text(text).ok_or(Errno::NOSPC)
    }

    fn opened(&mut self, open: Open, stream: bool) -> Opened {
        Opened { handle: self.open.insert(open), stream, flush: false }
    }

    /// Makes a queue called `name` in `dir`. `NAME:line` and `NAME:whole` make `NAME`.
    ///
    /// # Errors
    /// As [`Tree::make`].
    pub fn make_queue(
        &mut self,
        dir: File,
        name: &[u8],
        mode: u32,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<(File, View)> {
        let (base, view) = std::str::from_utf8(name).map_or((name, View::Plain), |name| {
            let (base, view) = View::split(name);
            (base.as_bytes(), view)
        });
        let id = self.make(dir, base, Attr::new(mode, caller.uid, caller.gid), Kind::Queue { ack: false }, fx)?;
        Ok((File::of(id), view))
    }

    /// Removes what [`Server::make_queue`] made for somebody who then could not open it.
    pub fn unmake(&mut self, file: File, fx: &mut Effects) {
        let _ = self.remove_file(file, fx);
    }

    fn make(&mut self, dir: File, name: &[u8], attr: Attr, kind: Kind, fx: &mut Effects) -> Answered<NodeId> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        // A pair is walked into, so its owner may; its ends are plain files.
        let (attr, channel) = match kind {
            Kind::Queue { ack } => (attr, Channel::queue(ack)),
            Kind::Pair => (Attr { mode: attr.mode | 0o100, ..attr }, Channel::pair()),
        };
        let id = self.tree.make(dir, name, attr, Body::Channel(Box::new(channel)))?;
        self.report(Event { event: "created", uid: Some(attr.uid), ..Event::default() }, id, None, fx);
        Ok(id)
    }

    /// Makes a plain directory.
    ///
    /// # Errors
    /// As [`Tree::make`].
    pub fn make_directory(&mut self, dir: File, name: &[u8], mode: u32, caller: Caller) -> Answered<File> {
        let attr = Attr::new(mode, caller.uid, caller.gid);
        Ok(File::of(self.tree.make(dir, name, attr, Body::Directory(Default::default()))?))
    }

    /// Removes `name` from `dir`: rmdir(2) where `directory`, else unlink(2). Who waits at a channel is hung up first.
    ///
    /// # Errors
    /// EISDIR and ENOTDIR for the other call's kind, ENOTEMPTY, EPERM for fixed files, ENOENT.
    pub fn remove(&mut self, dir: File, name: &[u8], directory: bool, fx: &mut Effects) -> Answered<()> {
        let (file, view) = self.tree.walk(dir, name)?;
        if view != View::Plain {
            return Err(Errno::INVAL);
        }
        let is_directory = file.part == Part::Own && self.tree.node(file.node)?.is_directory();
        match (is_directory, directory) {
            (true, false) => Err(Errno::ISDIR),
            (false, true) => Err(Errno::NOTDIR),
            _ => self.remove_file(file, fx),
        }
    }

    fn remove_file(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        self.tree.remove(file)?;
        let mut done = Vec::new();
        if let Ok(channel) = self.tree.channel_mut(file.node) {
            channel.hang_up(Reason::Removed, &mut done);
            self.report(Event { event: "removed", ..Event::default() }, file.node, None, fx);
        }
        self.finish(file.node, done, fx);
        self.forget_if_unused(file.node);
        Ok(())
    }

    /// A removed node goes when nobody has it open.
    fn forget_if_unused(&mut self, id: NodeId) {
        let unused = match self.tree.node(id) {
            Ok(node) if node.removed => match &node.body {
                Body::Channel(channel) => channel.opens == 0,
                Body::Directory(_) => true,
            },
            _ => false,
        };
        if unused {
            self.tree.forget(id);
        }
    }

    /// Renames.
    ///
    /// # Errors
    /// As [`Tree::rename`].
    pub fn rename(&mut self, dir: File, name: &[u8], new_dir: File, new_name: &[u8]) -> Answered<()> {
        self.tree.rename(dir, name, new_dir, new_name)
    }

    /// The entries of an open directory, as they were when it was last read from its beginning.
    ///
    /// # Errors
    /// EBADF when `handle` is no open directory, ESTALE.
    pub fn list(&mut self, handle: Handle, from_start: bool) -> Answered<&[Entry]> {
        let Some(Open::Directory(file, entries)) = self.open.get_mut(handle) else { return Err(Errno::BADF) };
        if from_start {
            *entries = self.tree.list(*file)?;
        }
        Ok(entries)
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
                let answer = match self.obey(file, data.bytes(), caller, fx) {
                    Ok(()) => Answer::Written(len),
                    Err(errno) => Answer::Error(errno),
                };
                fx.answer(ticket, answer);
            }
            Some(_) => fx.fail(ticket, Errno::ACCESS),
            None => fx.fail(ticket, Errno::BADF),
        }
    }

    /// Does what one write to `ctl` says.
    fn obey(&mut self, ctl: File, text: &[u8], caller: Caller, fx: &mut Effects) -> Answered<()> {
        let result = Verb::parse(text).and_then(|verb| self.carry_out(ctl, verb, caller, fx));
        if let Err(errno) = result {
            let said = String::from_utf8_lossy(&text[..text.len().min(200)]).trim_end().to_owned();
            let reason = Some(format!("ctl: {said}: {errno}"));
            self.report(Event { event: "refused", reason, uid: Some(caller.uid), ..Event::default() }, ROOT, None, fx);
        }
        result
    }

    fn carry_out(&mut self, ctl: File, verb: Verb, caller: Caller, fx: &mut Effects) -> Answered<()> {
        match verb {
            Verb::HangUp(None) if ctl.node != ROOT => self.hang_up(ctl, fx),
            // A pair's ctl speaks of that pair only: who may use it need not be allowed the rest.
            _ if ctl.node != ROOT => Err(Errno::INVAL),
            Verb::New { pair, ack, name } => {
                let (dir, name) = name.rsplit_once('/').unwrap_or(("", &name));
                let dir = self.tree.find(dir)?;
                let kind = if pair { Kind::Pair } else { Kind::Queue { ack } };
                self.make(dir, name.as_bytes(), Attr::new(0o600, caller.uid, caller.gid), kind, fx).map(drop)
            }
            Verb::Remove(name) => {
                let file = self.tree.find(&name)?;
                self.remove_file(file, fx)
            }
            Verb::HangUp(Some(name)) => {
                let file = self.tree.find(&name)?;
                self.hang_up(file, fx)
            }
            Verb::HangUp(None) => Err(Errno::INVAL),
            Verb::Stop => {
                self.stopping = true;
                fx.stop();
                Ok(())
            }
        }
    }

    fn hang_up(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        let mut done: Vec<Done> = Vec::new();
        let channel = self.tree.channel_mut(file.node)?;
        if channel.kind() != Kind::Pair {
            // Anybody may come to a queue at any time: there is no conversation to end.
            return Err(Errno::INVAL);
        }
        if !channel.is_held() {
            return Ok(()); // nobody talks, and whoever comes next should be able to
        }
        channel.hang_up(Reason::HungUp, &mut done);
        self.report(Event { event: "hungup", ..Event::default() }, file.node, None, fx);
        self.finish(file.node, done, fx);
        Ok(())
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
        match self.open.get(handle) {
            Some(Open::Peer(_)) => self.clunk_peer(handle, fx),
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
    pub fn poll(&mut self, handle: Handle, interest: u32, watch: Option<u64>) -> Answered<u32> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        match self.open.get_mut(handle) {
            Some(Open::Peer(_)) => self.poll_peer(handle, interest, watch),
            Some(Open::Events(reader)) => {
                reader.watch = watch;
                let more = reader.rest.is_some() || reader.cursor < self.events.end();
                Ok(if more { ready::IN } else { 0 })
            }
            Some(_) => Ok(ready::IN | ready::OUT),
            None => Err(Errno::BADF),
        }
    }

    /// Request `id` was interrupted: if it waits it fails with EINTR; nothing was sent, nothing consumed. If it has not
    /// come yet (another thread has just read it) it will not wait.
    pub fn interrupt(&mut self, id: u64, fx: &mut Effects) {
        if self.parked.contains_key(&id) {
            self.cancel(id, Errno::INTR, fx);
        } else {
            if self.early.len() >= EARLY {
                self.early.pop_front();
            }
            self.early.push_back(id);
        }
    }

    /// Whether the request was interrupted before it came. Asked before it is parked.
    fn take_early(&mut self, id: u64) -> bool {
        match self.early.iter().position(|early| *early == id) {
            Some(index) => self.early.remove(index).is_some(),
            None => false,
        }
    }

    fn park(&mut self, id: u64, handle: Handle, wait: Wait, fx: &mut Effects) {
        self.parked.insert(id, Parked { handle, wait, since: SystemTime::now() });
        if let Some(Open::Peer(peer)) = self.open.get_mut(handle) {
            peer.parked += 1;
        }
        if self.take_early(id) {
            self.cancel(id, Errno::INTR, fx);
        }
    }

    fn unpark(&mut self, id: u64) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        shrink(&mut self.parked);
        if let Some(Open::Peer(peer)) = self.open.get_mut(parked.handle) {
            peer.parked -= 1;
        }
        Some(parked)
    }

    fn read_event(&mut self, handle: Handle, size: usize, nonblocking: bool, ticket: Ticket, fx: &mut Effects) {
        let Some(Open::Events(reader)) = self.open.get_mut(handle) else { return };
        let next =
            reader.rest.take().or_else(|| self.events.next(&mut reader.cursor, &self.store).map(|line| (line, 0)));
        match next {
            Some((line, from)) => {
                let to = from.saturating_add(size).min(line.len());
                reader.rest = (to < line.len()).then(|| (line.clone(), to));
                fx.answer(ticket, Answer::Data(line, from..to));
            }
            None if nonblocking => fx.fail(ticket, Errno::AGAIN),
            None => {
                let id = ticket.id();
                self.event_waiters.push_back(EventWaiter { handle, ticket, size });
                self.park(id, handle, Wait::Event, fx);
            }
        }
    }

    /// Tells whoever reads `events`. `node` gives the event its name.
    fn report(&mut self, event: Event<'_>, node: NodeId, end: Option<usize>, fx: &mut Effects) {
        if self.event_readers.is_empty() {
            return;
        }
        let path = self.tree.path(node);
        let end = end.map(|end| crate::channel::ENDS[end & 1]);
        self.events.push(Event { name: &path, end, ..event }, &self.store);
        for waiter in std::mem::take(&mut self.event_waiters) {
            self.unpark(waiter.ticket.id());
            self.read_event(waiter.handle, waiter.size, false, waiter.ticket, fx);
        }
        for handle in &self.event_readers {
            if let Some(Open::Events(reader)) = self.open.get_mut(*handle)
                && let Some(watch) = reader.watch.take()
            {
                fx.wake(watch);
            }
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
