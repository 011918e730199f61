//! A client: what it has open and what it has asked, and the connection that it is told the answers by. Of a session
//! the connection may break and another take its place.
//!
//! Whoever completes a request writes the answer to the socket itself, whichever thread that is. Only while frames of
//! the client are being read are answers kept back, so that those which arrived together are answered together.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::Instant;

use bytes::{Buf, Bytes};
use fs9_proto::server::Server as Talk;
use fs9_proto::{Fid, Reply, Tag};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::attach::{self, Branch, Path};
use super::origin::Party;
use super::spot::{Place, There};
use super::stream::Stream;
use crate::allotment::Share;
use crate::channel::Handle;
use crate::grants::Guest;
use crate::server::{Server, Session};
use crate::ticket::{Answer, Door, Effects, Ticket};
use crate::tree::NodeId;

/// From so many bytes on that a client does not take nothing more is read from it.
const SLOW: usize = 4 << 20;

/// A client that is to be told so much and does not listen is given up.
const DEAF: usize = 256 << 20;

/// Frames that are written at once.
const BATCH: usize = 64;

/// See the [module](self).
pub struct Client {
    /// Which one of all there have ever been.
    number: u64,
    /// By which the server knows it.
    pub session: u32,
    /// What the server knows of it.
    pub origin: Arc<Session>,
    /// As whom its connection came.
    pub party: Arc<Party>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    /// The conversation.
    pub talk: Talk<Place>,
    /// Those that have attached something with a key.
    guests: Vec<Arc<Guest>>,
    /// The links by which they go on to nodes that are attached here: whose, and where.
    pub branches: BTreeMap<(u64, NodeId), Branch>,
    /// Among the connections that their key may have.
    share: Option<Share>,
    /// What was written to files of Tauth.
    pub shown: BTreeMap<Fid, Vec<u8>>,
    /// It was let in: of a session, what it has open outlives its connection.
    pub is_admitted: bool,
    link: Option<Link>,
    /// Frames of it are being read: answers are kept back.
    corked: bool,
    watches: Vec<Watch>,
    /// It has not listened, and will not be told any more.
    given_up: bool,
    is_held: bool,
}

/// Somebody who waits for readiness.
#[derive(Debug, Clone, Copy)]
struct Watch {
    handle: Handle,
    tag: Tag,
}

/// What the loop is woken by.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    ending: AtomicBool,
}

impl Bell {
    /// One that has not been rung.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Bell> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell { fd, ending: AtomicBool::new(false) })
    }

    /// Has the loop look at all its connections.
    pub fn ring(&self) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Has the loop end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.ring();
    }

    /// The loop has heard it. Whether it is to end.
    pub fn answer(&self) -> bool {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.ending.load(Ordering::Acquire)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A connection, as it is written to.
#[derive(Debug)]
pub struct Link {
    stream: Arc<Stream>,
    epoll: Arc<OwnedFd>,
    bell: Arc<Bell>,
    /// By which the loop knows it.
    key: usize,
    /// What the socket has not taken, and how much of the first it has.
    queue: VecDeque<Bytes>,
    /// What is waited for.
    interest: EventFlags,
    /// Since when it takes too little.
    slow_since: Option<Instant>,
    /// Nothing is to be read from it.
    is_held: bool,
}

impl Link {
    /// The connection that the loop knows by `key`, and waits for input of.
    pub fn new(stream: Arc<Stream>, epoll: Arc<OwnedFd>, bell: Arc<Bell>, key: usize) -> Link {
        let (queue, interest) = (VecDeque::new(), EventFlags::IN);
        Link { stream, epoll, bell, key, queue, interest, slow_since: None, is_held: false }
    }

    /// Ends it; the loop is told by the socket.
    fn hang_up(&self) {
        self.stream.hang_up();
    }

    /// Sends what `talk` has to say, until there is nothing or the socket takes no more.
    fn send(&mut self, talk: &mut Talk<Place>) {
        loop {
            while self.queue.len() < BATCH
                && let Some(frame) = talk.poll_transmit()
            {
                self.queue.push_back(frame);
            }
            if self.queue.is_empty() {
                break;
            }
            let parts: Vec<IoSlice<'_>> = self.queue.iter().take(BATCH).map(|frame| IoSlice::new(frame)).collect();
            match self.stream.send(&parts) {
                Ok(sent) => self.sent(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The loop is told by the socket too, and sees to it.
                Err(_) => return self.queue.clear(),
            }
        }
        // The loop is told by the socket of what is wrong with it.
        let _ = self.stream.flush();
        self.queue.shrink_to(BATCH);
        self.wait_for(talk.queued_bytes());
    }

    fn sent(&mut self, mut bytes: usize) {
        while let Some(first) = self.queue.front_mut() {
            let part = first.len().min(bytes);
            bytes -= part;
            if part < first.len() {
                return first.advance(part);
            }
            self.queue.pop_front();
        }
    }

    /// Bytes that the socket has not taken.
    fn unsent(&self) -> usize {
        self.queue.iter().map(Bytes::len).sum()
    }

    /// Has the loop wait for what is due: room for what could not be written; input, unless there is too much of that.
    fn wait_for(&mut self, queued: usize) {
        let unsent = if self.queue.is_empty() { 0 } else { self.unsent() + queued };
        let is_slow = unsent >= if self.slow_since.is_some() { SLOW / 2 } else { SLOW };
        if is_slow && self.slow_since.is_none() {
            self.bell.ring(); // how long it stays so is the loop's to watch
        }
        self.slow_since = is_slow.then(|| self.slow_since.unwrap_or_else(Instant::now));
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, !is_slow && !self.is_held);
        interest.set(EventFlags::OUT, unsent > 0 || self.stream.is_stuck());
        if interest != self.interest {
            self.interest = interest;
            // Only the loop takes sockets out, and then nobody waits for this one any more.
            let _ = epoll::modify(&*self.epoll, &*self.stream, EventData::new_u64(self.key as u64), interest);
        }
    }
}

/// What an answer is to be given as, which the number of a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// Rread, Rwrite.
    Standard = 0,
    /// Rsend.
    Sent = 1,
}

/// The numbers of clients.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Client {
    /// A client that the server knows by `session`.
    pub fn new(talk: Talk<Place>, session: u32, origin: Arc<Session>, party: Arc<Party>, link: Link) -> Arc<Client> {
        let (link, watches) = (Some(link), Vec::new());
        let state = State {
            talk,
            guests: Vec::new(),
            branches: BTreeMap::new(),
            share: None,
            shown: BTreeMap::new(),
            is_admitted: false,
            link,
            corked: false,
            watches,
            given_up: false,
            is_held: false,
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Client { number, session, origin, party, state: Mutex::new(state) })
    }

    /// What changes, for a moment. The server must not be asked while it is held.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number that the server knows a request by. Those of FUSE are even, those of this process small: see
    /// [`next_id`](crate::local::next_id).
    pub fn id(&self, tag: Tag, kind: As) -> u64 {
        1 << 63 | self.number << 18 | (kind as u64) << 17 | u64::from(tag.0) << 1 | 1
    }

    /// The right to answer a request.
    pub fn ticket(self: &Arc<Self>, tag: Tag, kind: As) -> Ticket {
        Ticket::new(self.clone(), self.id(tag, kind))
    }

    /// Gives up a request: whoever has it answers EINTR.
    pub fn cancel(&self, server: &mut Server, tag: Tag, errno: Errno, fx: &mut Effects) {
        server.cancel(self.id(tag, As::Standard), errno, fx);
        server.cancel(self.id(tag, As::Sent), errno, fx);
    }

    /// Answers a request.
    pub fn reply(&self, tag: Tag, reply: &Reply<'_>) {
        let mut state = self.state();
        state.talk.reply(tag, reply);
        state.flush();
    }

    /// Answers a read.
    pub fn deliver(&self, tag: Tag, data: &[u8]) {
        let mut state = self.state();
        state.talk.deliver(tag, data);
        state.flush();
    }

    /// A request has failed.
    pub fn fail(&self, tag: Tag, errno: Errno) {
        self.reply(tag, &failure(errno));
    }

    /// The request of `tag` waits for readiness of `handle`. To be said before the server is asked, which may tell at
    /// once.
    pub fn watch(&self, handle: Handle, tag: Tag) {
        self.state().watches.push(Watch { handle, tag });
    }

    /// Nothing will become ready any more at `handle`, which is closed: whoever waits answers as a read would.
    pub fn end_watches(&self, handle: Handle, errno: Errno) {
        let mut state = self.state();
        for tag in state.take_watches(handle) {
            state.talk.reply(tag, &failure(errno));
        }
        state.flush();
    }

    /// It does not wait any more. False if it has been told.
    pub fn unwatch(&self, tag: Tag) -> bool {
        let mut state = self.state();
        let before = state.watches.len();
        state.watches.retain(|watch| watch.tag != tag);
        state.watches.len() < before
    }
}

/// A request has failed.
fn failure(errno: Errno) -> Reply<'static> {
    Reply::Error { errno: errno.raw_os_error() as u32, reason: "" }
}

impl State {
    /// `fid` is `place` from now on, if it is still `there`; None forgets it. Returns whether it was.
    pub fn exchange(&mut self, fid: Fid, there: &There, place: Option<Place>) -> bool {
        let is_it = matches!(self.talk.fid(fid), Ok(Place::There(now)) if now.is_still(there));
        if is_it {
            match place {
                Some(place) => self.talk.bind(fid, place),
                None => drop(self.talk.unbind(fid)),
            }
        }
        is_it
    }

    /// At the node of `link` `from` has become `to`: fids that were walked there, or below it, go with it (walk(5)).
    pub fn follow(&mut self, link: &Arc<attach::Link>, from: &Path, to: &Path) {
        let moved = |(fid, place): (Fid, &Place)| match place {
            Place::There(there) if Arc::ptr_eq(&there.link, link) => {
                there.path.moved(from, to).map(|path| (fid, there.moved(path)))
            }
            Place::There(_) | Place::Here(_) => None,
        };
        let all: Vec<_> = self.talk.fids().filter_map(moved).collect();
        for (fid, there) in all {
            self.talk.bind(fid, Place::There(Arc::new(there)));
        }
    }

    /// Those who wait for readiness of `handle`, and do no longer.
    fn take_watches(&mut self, handle: Handle) -> Vec<Tag> {
        self.watches.extract_if(.., |watch| watch.handle == handle).map(|watch| watch.tag).collect()
    }

    /// Nothing more is read from it, for what it says next depends on something that is not known yet.
    pub fn hold(&mut self) {
        self.is_held = true;
        self.link.iter_mut().for_each(|link| link.is_held = true);
    }

    /// It is read from again.
    pub fn let_go(&mut self) {
        self.is_held = false;
        self.link.iter_mut().for_each(|link| link.is_held = false);
        self.flush();
        // What has been read already is the loop's to serve.
        self.link.iter().for_each(|link| link.bell.ring());
    }

    /// Whether nothing is to be read.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Frames are about to be read. Returns whether answers were kept back already.
    pub fn cork(&mut self) -> bool {
        std::mem::replace(&mut self.corked, true)
    }

    /// All that arrived together has been read: it is answered.
    pub fn uncork(&mut self) {
        self.corked = false;
        self.flush();
    }

    /// Writes what there is to be said, if there is a connection.
    pub fn flush(&mut self) {
        if self.given_up {
            return;
        }
        let queued = self.talk.queued_bytes() + self.link.as_ref().map_or(0, Link::unsent);
        if queued > DEAF {
            self.give_up();
        } else if let Some(link) = self.link.as_mut().filter(|_| !self.corked) {
            link.send(&mut self.talk);
        }
    }

    /// Somebody has attached something with a key, and may have taken a share of what that may have. Of those who have
    /// nothing any more nothing is kept.
    pub fn receive(&mut self, guest: Arc<Guest>, share: Option<Share>) {
        self.share = share.or(self.share.take());
        self.guests.retain(|guest| Arc::strong_count(guest) > 1);
        self.guests.push(guest);
    }

    /// Those that have attached something with a key.
    pub fn guests(&self) -> &[Arc<Guest>] {
        &self.guests
    }

    /// It is told nothing more.
    pub fn give_up(&mut self) {
        self.given_up = true;
        self.talk.abandon();
        self.talk.disconnect();
        if let Some(link) = &mut self.link {
            link.queue.clear();
            link.hang_up();
        }
    }

    /// Whether it was not told everything.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Since when it takes too little of what it is told.
    pub fn slow_since(&self) -> Option<Instant> {
        self.link.as_ref()?.slow_since
    }

    /// It is connected by `link` from now on. One that it had is hung up.
    pub fn connect(&mut self, mut link: Link) {
        link.is_held = self.is_held;
        if let Some(before) = self.link.replace(link) {
            before.hang_up();
        }
    }

    /// The connection that the loop knows by `key` is gone. False where another has taken its place.
    pub fn disconnect(&mut self, key: usize) -> bool {
        let is_it = self.is_connected_by(key);
        if is_it {
            self.link = None;
            self.talk.disconnect();
        }
        is_it
    }

    /// Whether it is connected by what the loop knows by `key`.
    pub fn is_connected_by(&self, key: usize) -> bool {
        self.link.as_ref().is_some_and(|link| link.key == key)
    }
}

impl Door for Client {
    fn answer(&self, id: u64, answer: Answer) {
        let tag = Tag((id >> 1) as u16);
        let is_sent = id >> 17 & 1 == As::Sent as u64;
        let mut state = self.state();
        match answer {
            Answer::Data(message, range) => state.talk.deliver(tag, &message[range]),
            Answer::End => state.talk.deliver(tag, &[]),
            // No more is written than came in one frame.
            Answer::Written(len) if is_sent => state.talk.reply(tag, &Reply::Send { count: len as u32 }),
            Answer::Written(len) => state.talk.reply(tag, &Reply::Write { count: len as u32 }),
            Answer::Error(errno) => state.talk.reply(tag, &failure(errno)),
        }
        state.flush();
    }

    /// All who wait for readiness of a descriptor are told what it is ready for. For some of them that may be nothing
    /// they wait for: then they ask again.
    fn wake(&self, handle: u64, now: u32) {
        let mut state = self.state();
        for tag in state.take_watches(handle as Handle) {
            state.talk.reply(tag, &Reply::Watch { ready: now });
        }
        state.flush();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} of {})", self.number, self.origin.node)
    }
}
