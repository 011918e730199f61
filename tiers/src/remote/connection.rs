//! A connection: a session of frames, the socket that it has at present, and the channels in it.
//!
//! It outlives its sockets. When one breaks, who dialled dials again (a thread for as long as that takes), and who was dialled
//! waits at its listener; after `linger` both give up. Channels notice nothing of a break but that it takes time.
//!
//! Who does what: whoever sends writes to the socket himself, as far as it takes something; whoever waits reads it ([`Lead`]).
//! The watcher's thread does what nobody else is there for: it reads for tasks, writes what was left over, hears hang-ups, and
//! looks after the clock.
//!
//! **`taken` goes with the answer.** That a message was taken could be told at once; but then the far side is woken twice, once for
//! this and once for the answer that so often follows. So where the last message was answered, it is only kept, and goes out
//! with whatever is sent or written next: an answer, or what this side does before it waits (every wait begins with
//! [`Connection::settle`]). A thread that does neither is the case that is left: for that the watcher looks every [`GUARD`]
//! while such things are kept. Where it is then found to be kept still, or where the next message is taken without an answer,
//! it is told at once from then on.
//!
//! Locks, in this order: `input`, `table`, `far` of a channel, `writer`, `armed`. Wakers are called with none of them held.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::channel::{Bells, Channel};
use super::frame::{self, Garbage, Halves, Passport};
use super::hello::Identity;
use super::lead::Lead;
use super::reader::{Reader, Said, Step};
use super::socket::{Patience, Socket};
use super::writer::{Flushed, Writer};
use super::{Arrived, CHANNELS, Options, Origin, dial};
use crate::capability::{Capability, Inner};
use crate::error::Reason;
use crate::futex;
use crate::process::link::Credentials;
use crate::slot::{Role, Scope, Watched as Word};
use crate::watch::{Alarm, Watched, Watcher, watcher};

/// So long a `taken` waits at most for something to go with.
const GUARD: Duration = Duration::from_millis(2);

/// So often the watcher reads before it looks after others.
const AT_ONCE: usize = 64;

/// The keep-alive is so many looks long.
const LOOKS: u32 = 3;

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
    /// Counts the sockets; who waits for another one sleeps on it.
    turnover: AtomicU32,
    /// It has ended, or nobody needs it any more.
    is_over: AtomicBool,
    /// The socket takes no more now.
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

#[derive(Default)]
struct Input {
    socket: Option<Arc<Socket>>,
    reader: Reader,
}

/// The channels, by number. Even ones were opened by who was dialled, and 0 is there from the beginning.
#[derive(Default)]
struct Table {
    channels: BTreeMap<u32, Entry>,
    /// How many channels this side and the far one have opened, ever.
    opened: [u32; 2],
}

struct Entry {
    channel: Arc<Channel>,
    /// Both near halves have left, and the far side has not said so: somebody must be there to hear it.
    is_closing: bool,
}

/// What the watcher looks for.
#[derive(Default)]
struct Armed {
    socket: Option<Arc<Socket>>,
    events: EventFlags,
}

#[derive(Default)]
struct Clocks {
    pulse: Option<Alarm>,
    guard: Option<Alarm>,
    /// Since when there is no socket.
    down: Option<Instant>,
    /// What had been heard at the last look, and how many found nothing new.
    heard: u32,
    silent: u32,
}

/// How reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Something,
    Nothing,
    /// There is no socket.
    Down,
}

impl Connection {
    /// A connection that has just begun, with its first channel.
    ///
    /// # Errors
    /// Those of starting the watcher, and of epoll_ctl(2).
    pub(super) fn begin(
        socket: Socket,
        options: Options,
        origin: Origin,
        identity: Identity,
        credentials: Option<Credentials>,
    ) -> io::Result<Arc<Channel>> {
        let (watcher, socket) = (watcher()?, Arc::new(socket));
        let number = watcher.enrol();
        watcher.watch_once(number, &*socket, EventFlags::RDHUP)?;
        let connection = Arc::new_cyclic(|me: &Weak<Connection>| Connection {
            me: me.clone(),
            options,
            origin,
            identity,
            credentials,
            input: Mutex::new(Input { socket: Some(Arc::clone(&socket)), reader: Reader::default() }),
            table: Mutex::default(),
            writer: Mutex::new(Writer::new(Arc::clone(&socket))),
            lead: Lead::default(),
            turnover: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            heard: AtomicU32::new(0),
            heard_at_send: AtomicU32::new(0),
            watcher,
            number,
            armed: Mutex::new(Armed { socket: Some(socket), events: EventFlags::RDHUP }),
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
    /// Writes what is kept, as far as the socket takes it; the watcher writes the rest.
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

    /// Whether somebody waits for the socket to take more.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::SeqCst)
    }

    /// The present socket, for a leader that waits for more than one thing of it.
    pub(super) fn socket(&self) -> Option<Arc<Socket>> {
        self.armed().socket.clone()
    }
}

/// Reading.
impl Connection {
    /// Reads once, as the leader; unless `has_news` says meanwhile that it is not necessary any more.
    pub(super) fn read(&self, patience: Patience, has_news: impl Fn() -> bool) -> Read {
        let mut input = self.input();
        // Whoever read before there was a leader is done with it now.
        if has_news() {
            return Read::Something;
        }
        let bells = Bells::default();
        let read = self.read_on(&mut input, patience, &bells);
        drop(input);
        bells.ring();
        read
    }

    /// Reads what there is, unless there is a leader: then that will.
    pub(super) fn pump(&self) {
        let mut input = loop {
            if self.lead.is_taken() {
                return;
            }
            match self.input.try_lock() {
                Ok(input) => break input,
                Err(TryLockError::Poisoned(input)) => break input.into_inner(),
                // Somebody else who does not wait either.
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        };
        if self.lead.is_taken() {
            return;
        }
        let bells = Bells::default();
        for _ in 0..AT_ONCE {
            if self.read_on(&mut input, Patience::None, &bells) != Read::Something {
                break;
            }
        }
        drop(input);
        bells.ring();
    }

    /// Who sends twice and has heard nothing in between looks first whether there is still somebody to send to. Who has heard
    /// something (an answer, `taken`) has read all there was.
    pub(crate) fn hear_between_sends(&self) {
        let heard = self.heard.load(Ordering::Relaxed);
        if self.heard_at_send.swap(heard, Ordering::Relaxed) == heard {
            self.pump();
        }
    }

    fn read_on(&self, input: &mut Input, patience: Patience, bells: &Bells) -> Read {
        let Input { socket: Some(socket), reader } = &mut *input else { return Read::Down };
        match reader.read(socket, patience) {
            Ok(0) => {}
            Ok(_) => {
                self.heard.fetch_add(1, Ordering::Relaxed);
                if self.understand(reader, bells).is_err() {
                    self.end_for(Reason::Protocol, Some(Reason::Protocol), bells);
                }
                return Read::Something;
            }
            Err(Errno::AGAIN) => return Read::Nothing,
            Err(Errno::INTR) => return Read::Something,
            Err(_) => {}
        }
        self.lose_socket(input);
        Read::Down
    }

    /// Does what the far side has said.
    fn understand(&self, reader: &mut Reader, bells: &Bells) -> Result<(), Garbage> {
        while let Some(Step { said, counts }) = reader.next()? {
            if let Some(bytes) = counts {
                // That it came is told with what comes of it: every message is answered by a `taken` at least.
                self.writer().received(bytes)?;
            }
            match said {
                Some(Said::Message(head, data)) => {
                    let channel = self.channel(head.channel)?;
                    let capabilities = self.arrive(&head.passports)?;
                    channel.deliver(data, capabilities, bells)?;
                }
                Some(Said::Taken(number)) => {
                    let acknowledged = self.writer().acknowledged;
                    self.channel(number)?.was_taken(acknowledged, bells)?;
                }
                Some(Said::Left(number, halves, reason)) => {
                    let channel = self.channel(number)?;
                    channel.far_left(halves, reason, bells)?;
                    // There is nothing that this end could still be for.
                    let both = channel.has_left() == Halves::BOTH;
                    self.leave(&channel, if both { Halves::BOTH } else { Halves::default() }, Reason::Closed);
                }
                Some(Said::Acknowledge(count)) => self.writer().was_acknowledged(count)?,
                Some(Said::Ping) => {
                    let mut writer = self.writer();
                    if !writer.is_behind() {
                        writer.tell(frame::pong());
                    }
                    self.flush(writer);
                }
                Some(Said::End(reason)) => self.end_for(reason, None, bells),
                None => {}
            }
        }
        Ok(())
    }

    fn channel(&self, number: u32) -> Result<Arc<Channel>, Garbage> {
        self.table().channels.get(&number).map(|entry| Arc::clone(&entry.channel)).ok_or(Garbage)
    }

    /// The ends beside a message become channels.
    fn arrive(&self, passports: &[Passport]) -> Result<Vec<Capability>, Garbage> {
        if passports.is_empty() {
            return Ok(Vec::new());
        }
        let me = self.me.upgrade().ok_or(Garbage)?;
        let mut table = self.table();
        let mut arrived = Vec::new();
        for passport in passports {
            if table.next(self.origin.other()) != Some(passport.channel) {
                break;
            }
            let channel = table.open(&me, passport.channel, self.origin.other());
            arrived.push(Capability(Inner::Remote(Arrived::new(channel, passport.kind))));
        }
        // Before any of them is dropped.
        drop(table);
        if arrived.len() == passports.len() { Ok(arrived) } else { Err(Garbage) }
    }

    /// Channels for so many ends that are to be handed over. None where there are too many.
    pub(super) fn open(&self, count: usize) -> Option<Vec<Arc<Channel>>> {
        let me = self.me.upgrade()?;
        let mut table = self.table();
        if self.is_over() || table.count(self.origin.parity()) + count > CHANNELS {
            return None;
        }
        let parity = self.origin.parity();
        (0..count).map(|_| table.next(parity).map(|number| table.open(&me, number, parity))).collect()
    }

    /// Channels that were opened and that the far side has never heard of.
    pub(super) fn forget(&self, channels: &[Arc<Channel>]) {
        let mut table = self.table();
        let parity = self.origin.parity();
        for channel in channels.iter().rev() {
            table.channels.remove(&channel.number());
            // The next one takes the number: they are without a gap.
            table.opened[parity as usize] -= 1;
        }
    }
}

impl Table {
    /// How many channels there are that were opened by the side of that parity.
    fn count(&self, parity: u32) -> usize {
        self.channels.keys().filter(|number| **number % 2 == parity).count()
    }

    /// The number of the next channel of that side. None where it has too many.
    fn next(&self, parity: u32) -> Option<u32> {
        // One more than it may open: the first one is even, whoever opened it.
        let has_room = self.count(parity) <= CHANNELS;
        let number = self.opened[parity as usize].checked_add(1)?.checked_mul(2)?.checked_add(parity)?;
        has_room.then_some(number)
    }

    fn open(&mut self, connection: &Arc<Connection>, number: u32, parity: u32) -> Arc<Channel> {
        self.opened[parity as usize] += 1;
        let channel = Channel::new(Arc::clone(connection), number);
        self.channels.insert(number, Entry { channel: Arc::clone(&channel), is_closing: false });
        channel
    }
}

/// Coming and going.
impl Connection {
    /// After near or far halves have left: whether that was the last of the channel, or of all.
    fn retire(&self, channel: &Arc<Channel>) {
        let mut table = self.table();
        let Some(entry) = table.channels.get_mut(&channel.number()) else { return };
        if channel.has_told() != Halves::BOTH {
            return;
        }
        if channel.has_left() == Halves::BOTH {
            let was_closing = entry.is_closing;
            table.channels.remove(&channel.number());
            if was_closing {
                self.lead.release();
            }
            let was_last = table.channels.is_empty();
            drop(table);
            if was_last {
                self.finish();
            }
        } else if !entry.is_closing {
            entry.is_closing = true;
            drop(table);
            self.depend();
        }
    }

    /// Nobody needs it any more. The far side has said goodbye to everything, so it does not matter whether it hears ours.
    fn finish(&self) {
        if self.is_behind() {
            // The watcher comes back to this.
            return;
        }
        self.is_over.store(true, Ordering::SeqCst);
        self.writer().disconnect();
        if let Some(socket) = self.socket() {
            socket.hang_up();
        }
    }

    /// It ends for all of its channels. The far side is told where it can be.
    pub(super) fn end(&self, reason: Reason) {
        let bells = Bells::default();
        self.end_for(reason, None, &bells);
        bells.ring();
    }

    fn end_for(&self, reason: Reason, tell: Option<Reason>, bells: &Bells) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut writer = self.writer();
        if let Some(tell) = tell {
            writer.tell(frame::end(tell));
            writer.flush();
        }
        writer.disconnect();
        drop(writer);
        let entries = std::mem::take(&mut self.table().channels);
        for entry in entries.into_values() {
            if entry.is_closing {
                self.lead.release();
            }
            entry.channel.end_for(reason, bells);
        }
        if let Some(socket) = self.socket() {
            socket.hang_up();
        }
        *self.clocks() = Clocks::default();
        self.turn_over();
    }

    /// The socket is of no use any more.
    fn lose_socket(&self, input: &mut Input) {
        let Some(socket) = input.socket.take() else { return };
        socket.hang_up();
        input.reader.reset();
        let mut armed = self.armed();
        armed.socket = None;
        armed.events = EventFlags::empty();
        self.watcher.remove(&*socket);
        drop(armed);
        self.writer().disconnect();
        self.is_behind.store(false, Ordering::SeqCst);
        if self.is_over() {
            return;
        }
        self.clocks().down = Some(Instant::now());
        match (&self.origin, self.me.upgrade()) {
            (Origin::Dialled(_), Some(me)) => dial::again(me),
            _ => self.set_pulse(),
        }
    }

    /// Takes the socket away, where there is one, to put another in its place. How many frames of the far side have come.
    pub(super) fn suspend(&self) -> u64 {
        if let Some(socket) = self.socket() {
            socket.hang_up();
        }
        self.lose_socket(&mut self.input());
        self.writer().received_frames()
    }

    /// There is a socket again, at which the far side has said that it has so many frames.
    pub(super) fn resume(&self, socket: Socket, far_has: u64) {
        let (mut input, socket) = (self.input(), Arc::new(socket));
        if self.is_over() || input.socket.is_some() {
            return;
        }
        let mut writer = self.writer();
        if writer.resume(Arc::clone(&socket), far_has).is_err() {
            drop((writer, input));
            return self.end(Reason::Protocol);
        }
        input.socket = Some(Arc::clone(&socket));
        *self.armed() = Armed { socket: Some(socket), events: EventFlags::empty() };
        self.clocks().down = None;
        drop(input);
        self.flush(writer);
        self.turn_over();
        self.rearm();
        self.set_pulse();
    }

    /// Wakes who waits for a socket.
    fn turn_over(&self) {
        self.turnover.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.turnover, Scope::Process);
    }

    /// What a leader sleeps on while there is no socket.
    pub(super) fn turnover(&self) -> Word<'_> {
        Word { word: &self.turnover, seen: self.turnover.load(Ordering::SeqCst), scope: Scope::Process }
    }
}

/// The watcher's part.
impl Connection {
    /// Somebody cannot read himself, until [`Lead::release`]. False where the watcher cannot either.
    pub(super) fn depend(&self) -> bool {
        !self.lead.depend() || self.arm(EventFlags::IN)
    }

    /// As the leader leaves, or a follower: the watcher reads on where nobody else does.
    pub(super) fn hand_to_watcher(&self, is_due: bool) {
        if is_due {
            self.arm(EventFlags::IN);
        }
    }

    /// Has the watcher look for these too. False where it cannot.
    fn arm(&self, events: EventFlags) -> bool {
        let mut armed = self.armed();
        let wanted = armed.events | events | EventFlags::RDHUP;
        if armed.events == wanted {
            return true;
        }
        let Some(socket) = &armed.socket else { return true };
        let done = self.watcher.watch_once(self.number, &**socket, wanted).is_ok();
        if done {
            armed.events = wanted;
        }
        done
    }

    /// The leader sees itself when the socket takes more.
    pub(super) fn disarm(&self) {
        let mut armed = self.armed();
        if let Some(socket) = &armed.socket
            && armed.events.contains(EventFlags::OUT)
            && self.watcher.watch_once(self.number, &**socket, EventFlags::RDHUP).is_ok()
        {
            armed.events = EventFlags::RDHUP;
        }
    }

    /// Has the watcher look for what it is to look for now.
    pub(super) fn rearm(&self) {
        let mut events = EventFlags::RDHUP;
        if self.lead.is_for_watcher() {
            events |= EventFlags::IN;
        }
        if self.is_behind() {
            events |= EventFlags::OUT;
        }
        self.arm(events);
    }

    fn set_guard(&self) {
        let waker = Waker::from(Arc::new(Guard(self.me.clone())));
        let alarm = self.watcher.alarm(Instant::now() + GUARD, waker);
        self.clocks().guard = Some(alarm);
    }

    /// Sets the time of the next look.
    fn set_pulse(&self) {
        let waker = Waker::from(Arc::new(Pulse(self.me.clone())));
        let mut clocks = self.clocks();
        let at = match clocks.down {
            Some(since) => since.checked_add(self.options.linger),
            None => Instant::now().checked_add(self.options.keep_alive / LOOKS),
        };
        clocks.pulse = at.map(|at| self.watcher.alarm(at, waker));
    }

    /// Looks whether the far side is there, or has been away for too long.
    fn pulse(&self) {
        if self.is_over() {
            return;
        }
        let down = self.clocks().down;
        if let Some(since) = down {
            if since.elapsed() < self.options.linger {
                return self.set_pulse();
            }
            return self.end(Reason::Unreachable);
        }
        self.pump();
        let heard = self.heard.load(Ordering::Relaxed);
        let mut clocks = self.clocks();
        clocks.silent = if clocks.heard == heard { clocks.silent + 1 } else { 0 };
        clocks.heard = heard;
        let silent = clocks.silent;
        drop(clocks);
        if silent >= LOOKS {
            self.clocks().silent = 0;
            // Who reads it, or the watcher, finds the end of it.
            if let Some(socket) = self.socket() {
                socket.hang_up();
            }
        } else if silent > 0 {
            let mut writer = self.writer();
            if !writer.is_behind() {
                writer.tell(frame::ping());
            }
            self.flush(writer);
        }
        self.set_pulse();
    }

    /// Sees to it that no `taken` is kept for long.
    fn guard(&self) {
        self.is_guarded.store(false, Ordering::SeqCst);
        self.settle();
    }
}

impl Watched for Connection {
    fn attend(&self) {
        self.armed().events = EventFlags::empty();
        self.settle();
        self.pump();
        if self.table().channels.is_empty() {
            self.finish();
        }
        self.rearm();
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

struct Guard(Weak<Connection>);

impl Wake for Guard {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.guard();
        }
    }
}

struct Pulse(Weak<Connection>);

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.pulse();
        }
    }
}
