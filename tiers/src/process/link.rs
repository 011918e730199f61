//! One end of a channel to another process: shared memory for messages, a socket for what is not bytes.
//!
//! The memory has one slot each way (see [`crate::slot`]); a message lies behind the sender's mark. The socket is the
//! life line: the kernel hangs it up when the last descriptor of the other end is closed, whoever held it. The pidfd
//! says who that was and how it ended. The watcher attends to both and sets a word of our own (`End::lose`) on which
//! every wait also sleeps: the other end cannot keep us waiting once it is gone, whatever it wrote into the memory.
//!
//! Nothing that the other end can write is trusted. Counts, lengths and places are read once and checked; bytes are
//! copied before they are decoded; what makes no sense ends the channel with [`Reason::Protocol`].
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::fs::fstat;
use rustix::net::{Shutdown, shutdown};
use serde::{Deserialize, Serialize};

use crate::capability::{Capability, Inner, Kind, Refusal};
use crate::error::{Reason, Unfit};
use crate::holder::Holder;
use crate::message::{self, LIMIT, Message};
use crate::parcel::{self, Received};
use crate::peer::Peer;
use crate::process::departure::Departure;
use crate::process::memory::{Lying, Memory, Room, Span, layout, number};
use crate::process::passport::{self, Luggage, Note, Passport};
use crate::receiver::Rx;
use crate::sender::Tx;
use crate::slot::{Desk, End, Mark, Ring, Role, Scope, Stop, Turn};
use crate::sync;
use crate::sys::socket::peer_credentials;
use crate::watch::{Watched, Watcher, watcher};

/// Which of the two ends. The first sends through the first slot and receives from the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    First,
    Second,
}

/// What an end is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub side: Side,
    /// How many messages this end has sent and received before, modulo 2^30.
    pub sent: u32,
    pub received: u32,
    pub map: Memory,
    pub memory: OwnedFd,
    pub socket: OwnedFd,
    pub holder: Option<Arc<Holder>>,
    pub credentials: Option<Credentials>,
}

/// Who is at the other end of a connection, as the kernel noted when it was made (SO_PEERCRED in unix(7)).
///
/// See [`listen`](crate::process::listen) for an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// The process; 0 when it cannot be seen from this pid namespace.
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl Credentials {
    /// Who made the other end of this connected Unix socket.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn of(socket: impl AsFd) -> io::Result<Credentials> {
        let (pid, uid, gid) = peer_credentials(socket)?;
        Ok(Credentials { pid, uid, gid })
    }
}

pub(crate) struct Link {
    side: Side,
    map: Memory,
    memory: OwnedFd,
    socket: OwnedFd,
    credentials: Option<Credentials>,
    sender: Desk,
    receiver: Desk,
    /// Why the other end is gone, once the desks know that it is.
    reason: OnceLock<Reason>,
    inbox: Mutex<Inbox>,
    watcher: &'static Watcher,
    number: u64,
}

/// What the other end's socket told.
#[derive(Default)]
struct Inbox {
    /// Who holds the other end, as far as known.
    holder: Option<Arc<Holder>>,
    /// The other end is on its way to a new holder.
    moving: bool,
    /// What goes beside the message of this number.
    beside: Option<(u32, Vec<Luggage>)>,
    /// This end was handed over: it is not ours any more.
    moved: bool,
    /// Nobody here receives any more.
    deaf: bool,
}

/// What the socket has told so far.
enum News {
    Here,
    HungUp,
    Nonsense,
}

impl Link {
    /// # Errors
    /// Those of starting the watcher and of epoll_ctl(2); the parts come back.
    pub fn new(parts: Parts) -> Result<Arc<Link>, (Parts, io::Error)> {
        let watcher = match watcher() {
            Ok(watcher) => watcher,
            Err(error) => return Err((parts, error)),
        };
        let number = watcher.enrol();
        if let Err(error) =
            watcher.add(number, &parts.socket).and_then(|()| watch_holder(watcher, number, parts.holder.as_deref()))
        {
            watcher.remove(&parts.socket);
            watcher.dismiss(number);
            return Err((parts, error));
        }
        let link = Arc::new(Link {
            side: parts.side,
            map: parts.map,
            memory: parts.memory,
            socket: parts.socket,
            credentials: parts.credentials,
            sender: Desk::new(Role::Sender, Scope::Machine, parts.sent),
            receiver: Desk::new(Role::Receiver, Scope::Machine, parts.received),
            reason: OnceLock::new(),
            inbox: Mutex::new(Inbox { holder: parts.holder, ..Inbox::default() }),
            watcher,
            number,
        });
        let watched: Weak<Link> = Arc::downgrade(&link);
        watcher.appoint(number, watched);
        // What happened before there was somebody to tell.
        link.attend();
        Ok(link)
    }

    /// The whole end.
    pub fn peer<Out, In>(link: Arc<Link>) -> Peer<Out, In> {
        Peer::new(Tx::Process(Arc::clone(&link)), Rx::Process(link))
    }

    /// One direction as this side sees it.
    pub fn end(&self, role: Role) -> End<'_> {
        let (sent, taken) = self.marks(role);
        match role {
            Role::Sender => End { desk: &self.sender, mine: sent, theirs: taken },
            Role::Receiver => End { desk: &self.receiver, mine: taken, theirs: sent },
        }
    }

    /// The marks of the direction in which this side has that role: the sender's and the receiver's.
    fn marks(&self, role: Role) -> (&Mark, &Mark) {
        use layout::{SENT, SLOT, TAKEN};
        match self.slot(role) {
            0 => (self.map.at::<Mark, SENT>(), self.map.at::<Mark, TAKEN>()),
            _ => (self.map.at::<Mark, { SLOT + SENT }>(), self.map.at::<Mark, { SLOT + TAKEN }>()),
        }
    }

    fn slot(&self, role: Role) -> usize {
        match (self.side, role) {
            (Side::First, Role::Sender) | (Side::Second, Role::Receiver) => 0,
            (Side::Second, Role::Sender) | (Side::First, Role::Receiver) => layout::SLOT,
        }
    }

    /// Sends at a sender's turn.
    #[inline(never)] // the way of a message between threads is to stay short
    pub fn put<T: Message>(&self, turn: Turn<'_>, message: &T) -> Result<(), Unfit> {
        self.write(&turn, message)?;
        turn.pass(self);
        Ok(())
    }

    fn write<T: Message>(&self, turn: &Turn<'_>, message: &T) -> Result<(), Unfit> {
        let mut room = Room::new(&self.map, self.slot(Role::Sender), turn.number());
        message::encode(message, &mut room)?;
        sync::step("link: message written");
        self.announce(turn, room.start, room.len);
        Ok(())
    }

    /// Writes where the message lies, and that nothing lies beside it.
    fn announce(&self, turn: &Turn<'_>, start: usize, len: usize) {
        let mark = turn.end().mine;
        mark.capabilities.store(0, Ordering::Relaxed);
        mark.start.store(number(start), Ordering::Relaxed);
        mark.length.store(number(len), Ordering::Relaxed);
    }

    /// The place for a message of `len` bytes that is written in place.
    pub fn lend(&self, turn: &Turn<'_>, len: usize) -> Result<Span<'_>, Unfit> {
        if len > LIMIT - message::HEADER {
            return Err(Unfit::TooLong { limit: LIMIT - message::HEADER });
        }
        let area = self.slot(Role::Sender) + layout::area(turn.number());
        Ok(Span { map: &self.map, begin: area + layout::IN_PLACE, len })
    }

    /// Sends what was written there, at the same turn.
    pub fn put_in_place(&self, turn: Turn<'_>, span: &Span<'_>) {
        let header = message::header(span.len);
        let header = header.as_bytes();
        // There is room before the place for the longest header.
        let _ = self.map.write(span.begin - header.len(), header);
        let start = span.begin - self.slot(Role::Sender) - header.len();
        self.announce(&turn, start, header.len() + span.len);
        turn.pass(self);
    }

    /// The bytes of the message that it is our turn to take. None where it is no message of bytes.
    pub fn lying_block(&self, turn: &Turn<'_>) -> Option<Span<'_>> {
        let lying = self.lying(turn)?;
        let bytes = message::payload(&lying)?;
        // Nobody can claim what lies beside it: it closes.
        drop(self.beside(turn)?);
        Some(Span { map: lying.map, begin: lying.begin() + bytes.start, len: bytes.len() })
    }

    /// Receives at a receiver's turn; what lies beside the message closes. None: what came was no message of this type.
    #[inline(never)] // the way of a message between threads is to stay short
    pub fn take<T: Message>(&self, turn: Turn<'_>) -> Option<T> {
        if turn.end().theirs.capabilities.load(Ordering::Relaxed) != 0 {
            return self.take_with(turn).map(|(message, _)| message);
        }
        let lying = self.lying(&turn)?;
        if lying.is_long() {
            // The next one goes elsewhere and may be written while this one is copied.
            let _kept = turn.pass_early(self);
            let message = message::decode(&lying);
            sync::step("link: message read");
            return message;
        }
        let message = message::decode(&lying)?;
        sync::step("link: message read");
        turn.pass(self);
        Some(message)
    }

    /// Receives at a receiver's turn. None: what came was no message of this type, or not what was announced.
    #[inline(never)] // the way of a message without them is to stay short
    pub fn take_with<T: Message>(&self, turn: Turn<'_>) -> Option<(T, Vec<Capability>)> {
        let (message, capabilities, turn) = self.hold(turn)?;
        self.release(turn);
        Some((message, capabilities))
    }

    /// As [`Link::take_with`], and leaves it to [`Link::release`] to let the sender know.
    pub fn hold<'a, T: Message>(&self, turn: Turn<'a>) -> Option<(T, Vec<Capability>, Turn<'a>)> {
        let message = message::decode(&self.lying(&turn)?)?;
        let capabilities = self.beside(&turn)?;
        Some((message, capabilities, turn))
    }

    /// Shows that the message of this turn was taken.
    pub fn release(&self, turn: Turn<'_>) {
        turn.pass(self);
    }

    /// Where the message lies that it is our turn to take. None where there can be none.
    fn lying(&self, turn: &Turn<'_>) -> Option<Lying<'_>> {
        let mark = turn.end().theirs;
        let start = mark.start.load(Ordering::Relaxed) as usize;
        let len = mark.length.load(Ordering::Relaxed) as usize;
        let fits = start >= layout::MESSAGE && len <= LIMIT && start.saturating_add(len) <= layout::SLOT;
        (fits && !self.is_broken()).then(|| Lying { map: &self.map, slot: self.slot(Role::Receiver), start, len })
    }

    /// What came beside the message of this turn. None where it is not what was announced.
    fn beside(&self, turn: &Turn<'_>) -> Option<Vec<Capability>> {
        let count = turn.end().theirs.capabilities.load(Ordering::Relaxed);
        if count == 0 {
            return Some(Vec::new());
        }
        let mut inbox = self.inbox();
        let news = self.read(&mut inbox);
        let beside = inbox.beside.take();
        drop(inbox);
        // A bell that was read here the watcher does not find any more.
        self.wake_tasks();
        if let News::Nonsense = news {
            return None;
        }
        let (number, luggage) = beside?;
        let arrived = |luggage| Capability(Inner::Arrived(luggage));
        (number == turn.number() && luggage.len() == count as usize).then(|| luggage.into_iter().map(arrived).collect())
    }

    /// Why there is no turn.
    pub fn reason(&self, stop: Stop) -> Reason {
        match stop {
            Stop::Closed(reason) => reason,
            Stop::Gone => self.lost(),
            Stop::Broken => {
                self.break_off();
                self.lost()
            }
        }
    }

    /// The other end broke the protocol, or has other types: both learn it.
    fn break_off(&self) {
        self.lose(Reason::Protocol);
        // It may be gone, or read nothing.
        let _ = Note::Nonsense.send(&self.socket, &[]);
        self.hang_up();
    }

    /// Whether the ends did not understand each other: that stays so, whatever lies in the memory now.
    pub fn is_broken(&self) -> bool {
        self.reason.get() == Some(&Reason::Protocol)
    }

    fn lost(&self) -> Reason {
        self.reason.get().copied().unwrap_or(Reason::Closed)
    }

    /// Who was at the other end when the connection was made.
    pub fn credentials(&self) -> Option<Credentials> {
        self.credentials
    }

    /// Hangs up at once, whoever waits. What is in the slots can still be taken.
    pub fn hang_up(&self) {
        if self.inbox().moved {
            return;
        }
        // Fails only where there is nobody to hang up on.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    /// This side closes one direction.
    pub fn close(&self, role: Role, panicked: bool) {
        let mut inbox = self.inbox();
        if inbox.moved {
            return;
        }
        inbox.deaf |= role == Role::Receiver;
        drop(inbox);
        self.end(role).close(panicked, self);
        if role == Role::Receiver {
            // What lies beside a message that nobody will receive closes now, and not with the other half.
            self.attend();
        }
    }

    /// The other end is gone. Of several reasons the first stands.
    fn lose(&self, reason: Reason) {
        if self.reason.set(reason).is_ok() {
            // Both know before either is woken: who was told by one half is told by the other.
            self.end(Role::Sender).note_loss();
            self.end(Role::Receiver).lose();
            self.end(Role::Sender).lose();
        }
    }

    fn wake_tasks(&self) {
        self.end(Role::Sender).wake_tasks();
        self.end(Role::Receiver).wake_tasks();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all that the socket has to tell. A socket that does not come to an end is nonsense: its buffer holds some
    /// hundred notes, and they are read faster than an honest peer has cause to write them.
    fn read(&self, inbox: &mut Inbox) -> News {
        const MOST: u32 = 10_000;
        for _ in 0..MOST {
            match parcel::receive(&self.socket) {
                Ok(Received::Parcel(bytes, descriptors)) => {
                    let note = postcard::from_bytes(&bytes).ok();
                    if note.and_then(|note| self.heed(inbox, note, descriptors)).is_none() {
                        return News::Nonsense;
                    }
                }
                Ok(Received::Nothing) => return News::Here,
                Ok(Received::HungUp) => return News::HungUp,
                Ok(Received::Malformed) | Err(_) => return News::Nonsense,
            }
        }
        News::Nonsense
    }

    /// Does what a note says. None where it says nothing that it may.
    fn heed(&self, inbox: &mut Inbox, note: Note, descriptors: Vec<OwnedFd>) -> Option<()> {
        match note {
            // Reading it has woken the watcher, which is all it is for.
            Note::Bell => {}
            Note::Moving => inbox.moving = true,
            Note::Holder => {
                let [pidfd] = <[OwnedFd; 1]>::try_from(descriptors).ok()?;
                let holder = Some(Arc::new(Holder::from_pidfd(pidfd).ok()?));
                watch_holder(self.watcher, self.number, holder.as_deref()).ok()?;
                if let Some(last) = inbox.holder.as_deref().and_then(Holder::pidfd) {
                    self.watcher.remove(last);
                }
                inbox.holder = holder;
                inbox.moving = false;
            }
            Note::Beside(number, passports) => inbox.beside = Some((number, Luggage::collect(passports, descriptors)?)),
            Note::Hello(..) | Note::Nonsense => return None,
        }
        Some(())
    }

    /// Hands over `capabilities` beside `message`, at a sender's turn: all or nothing.
    pub fn put_with<T: Message>(
        self: &Arc<Self>,
        turn: Turn<'_>,
        message: &T,
        capabilities: &[Capability],
    ) -> Result<(), Unfit> {
        self.write(&turn, message)?;
        if capabilities.len() > passport::MOST {
            return Err(Unfit::Capability(Refusal::TooMany));
        }
        let departures = capabilities.iter().map(|capability| Departure::of(capability, self));
        let departures = departures.collect::<Result<Vec<_>, _>>().map_err(Unfit::Capability)?;
        sync::step("link: ends detached");
        let passports = departures.iter().map(|departure| departure.passport).collect();
        let descriptors: Vec<_> = departures.iter().flat_map(Departure::descriptors).collect();
        let sent = Note::Beside(turn.number(), passports).send(&self.socket, &descriptors);
        sent.map_err(|error| Unfit::Capability(Refusal::System(error.kind())))?;
        sync::step("link: ends sent");
        departures.into_iter().for_each(Departure::complete);
        turn.end().mine.capabilities.store(number(capabilities.len()), Ordering::Relaxed);
        turn.pass(&**self);
        Ok(())
    }

    /// Whether the two are ends of one channel: it is the one memory.
    pub fn is_of_channel(&self, other: &Link) -> bool {
        let inode = |link: &Link| fstat(&link.memory).map(|stat| (stat.st_dev, stat.st_ino));
        matches!((inode(self), inode(other)), (Ok(this), Ok(that)) if this == that)
    }

    /// What goes with this end to another process.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.socket.as_fd()]
    }

    /// What is said of this end to another process.
    pub fn passport(&self, kind: Kind, has_holder: bool) -> Passport {
        Passport { kind, side: self.side, sent: self.sender.passed(), received: self.receiver.passed(), has_holder }
    }

    /// Lets go of this end, which goes to another process: tells the other end, and watches no more.
    pub fn depart(&self) -> Result<Option<OwnedFd>, Refusal> {
        let mut inbox = self.inbox();
        let news = self.read(&mut inbox);
        if inbox.beside.is_some() {
            return Err(Refusal::Undelivered);
        }
        let holder = match &inbox.holder {
            // Of an end that is itself on its way nobody knows the holder.
            _ if inbox.moving => None,
            Some(holder) => holder.pidfd().map(|pidfd| pidfd.try_clone_to_owned()).transpose().map_err(Refusal::of)?,
            // Made here, like this one, and not handed over: it is ours.
            None => Holder::me().map_err(Refusal::of)?.into_pidfd(),
        };
        if let News::Here = news {
            Note::Moving.send(&self.socket, &[]).map_err(Refusal::of)?;
        }
        inbox.moved = true;
        self.watch_no_more(&inbox);
        Ok(holder)
    }

    /// Takes it back.
    pub fn come_back(&self) {
        let mut inbox = self.inbox();
        inbox.moved = false;
        let watched = self.watcher.add(self.number, &self.socket);
        let watched = watched.and_then(|()| watch_holder(self.watcher, self.number, inbox.holder.as_deref()));
        drop(inbox);
        // The other end must be told who holds this one, and this one must be told when the other goes.
        if watched.and_then(|()| introduce(&self.socket)).is_err() {
            self.lose(Reason::Closed);
            self.hang_up();
        }
        self.attend();
    }

    fn watch_no_more(&self, inbox: &Inbox) {
        self.watcher.remove(&self.socket);
        if let Some(pidfd) = inbox.holder.as_deref().and_then(Holder::pidfd) {
            self.watcher.remove(pidfd);
        }
    }

    fn ending(&self, inbox: &Inbox) -> Reason {
        // An end that said goodbye on both ways just closed; that needs no look at its process.
        if self.end(Role::Sender).is_parted() && self.end(Role::Receiver).is_parted() {
            return Reason::Closed;
        }
        inbox.holder.as_deref().map_or(Reason::Closed, Holder::ending)
    }
}

impl Watched for Link {
    fn attend(&self) {
        let mut inbox = self.inbox();
        if inbox.moved {
            return;
        }
        let news = self.read(&mut inbox);
        let has_ended = !inbox.moving && inbox.holder.as_deref().is_some_and(Holder::has_ended);
        let reason = match news {
            News::Nonsense => Some(Reason::Protocol),
            News::HungUp => Some(self.ending(&inbox)),
            News::Here => has_ended.then(|| self.ending(&inbox)),
        };
        // What was to go beside a message that was never sent goes nowhere: its ends close.
        let is_orphaned = inbox.deaf || (reason.is_some() && !self.end(Role::Receiver).is_ours());
        let orphaned = if is_orphaned { inbox.beside.take() } else { None };
        drop(inbox);
        drop(orphaned);
        match reason {
            Some(Reason::Protocol) => self.break_off(),
            Some(reason) => self.lose(reason),
            None => self.wake_tasks(),
        }
    }
}

impl Ring for Link {
    fn ring(&self, _: Role) {
        // A socket that is full, or hung up, has woken the other's watcher already.
        let _ = Note::Bell.send(&self.socket, &[]);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watcher.dismiss(self.number);
        let inbox = self.inbox();
        if !inbox.moved {
            self.watch_no_more(&inbox);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("side", &self.side).field("reason", &self.reason.get()).finish_non_exhaustive()
    }
}

fn watch_holder(watcher: &Watcher, number: u64, holder: Option<&Holder>) -> io::Result<()> {
    holder.and_then(Holder::pidfd).map_or(Ok(()), |pidfd| watcher.add(number, pidfd))
}

/// Tells the other end that this process holds this one.
pub(crate) fn introduce(socket: &OwnedFd) -> io::Result<()> {
    let me = Holder::me()?;
    let pidfd = me.pidfd().ok_or(io::ErrorKind::NotFound)?;
    match Note::Holder.send(socket, &[pidfd]) {
        // Nobody is there to be told. What was sent before can still be received.
        Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
        told => told,
    }
}
