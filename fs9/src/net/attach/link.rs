//! The link to one node, shared by the threads that ask and the one that reads what comes back.
//!
//! Whoever asks writes the request to the socket itself; only what does not fit is left to the link's thread, which
//! also sees to the clock. Nothing is answered while the link is locked.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Buf, Bytes};
use fs9_grants::Chain;
use fs9_proto::client::{Answer, Call, Client, Event, ROOT, Release, Settings};
use fs9_proto::message::{Fid, Request};
use fs9_tiers::error::Reason;
use rustc_hash::FxHashMap;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::asked::{Asked, Asker, Name, Then, Told};
use super::file::{File, leave};
use crate::attachment::{Account, Attach};
use crate::grants::lines;
use crate::net::stream::Stream;
use crate::ticket::Watcher;
use crate::tree::NodeId;

/// Bytes that may be held for a node; more is ENOSPC.
const HELD: usize = 64 << 20;
/// The same by the link of a guest.
const HELD_FOR_A_GUEST: usize = 4 << 20;

/// Frames that are given to one sendmsg(2).
const AT_ONCE: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub struct Link {
    /// The number of the attachment.
    pub node: NodeId,
    /// How it is to be reached.
    pub how: Attach,
    /// What is sent.
    pub account: Arc<Account>,
    /// It is a guest's, see [`Branch`](super::Branch).
    pub is_branch: bool,
    /// Readable when the thread is to look up.
    bell: OwnedFd,
    state: Mutex<State>,
}

/// What is behind the lock.
#[derive(Debug)]
pub struct State {
    /// The machine that knows 9P.
    pub client: Client<Asked>,
    /// What requests at the doors became, and of which file, by their numbers there, for those that are interrupted.
    calls: FxHashMap<u64, (Name, Call, Option<Fid>)>,
    /// What is open there.
    pub files: FxHashMap<Fid, File>,
    /// What is to be said without asking, once the lock is released.
    pub answers: Vec<(Then, Told)>,
    /// Whom to wake then.
    pub wakes: Vec<Watcher>,
    /// The longest message that the node takes.
    pub limit: usize,
    /// Owner and group of its mount, where these are who we are there.
    pub owner: Option<(u32, u32)>,
    stream: Option<Arc<Stream>>,
    /// What the socket did not take.
    unsent: VecDeque<Bytes>,
    /// When the thread looks up next.
    waking: Option<Instant>,
    /// So many bytes may be held.
    room: usize,
    /// Nothing can be asked any more: what is answered instead.
    ended: Option<Errno>,
}

impl Link {
    /// A link to a node that nobody has reached yet.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(node: NodeId, how: Attach, account: Arc<Account>) -> Result<Link, Errno> {
        let settings = Settings {
            linger: how.linger,
            keep_alive: how.keep_alive,
            uid: Some(rustix::process::geteuid().as_raw()),
            credentials: lines(&how.grants),
            ..Settings::default()
        };
        let state = State {
            client: Client::new(settings, Instant::now()),
            calls: FxHashMap::default(),
            files: FxHashMap::default(),
            answers: Vec::new(),
            wakes: Vec::new(),
            limit: usize::MAX,
            owner: None,
            stream: None,
            unsent: VecDeque::new(),
            waking: None,
            room: HELD,
            ended: None,
        };
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Link { node, how, account, is_branch: false, bell, state: Mutex::new(state) })
    }

    /// One for a guest to the node of `trunk`, whose key is known: the chain is shown to no other.
    ///
    /// # Errors
    /// EMFILE.
    pub(super) fn branch(trunk: &Link, chain: Chain) -> Result<Link, Errno> {
        let how = Attach { grants: vec![chain], accept_new: false, ..trunk.how.clone() };
        let link = Link { is_branch: true, ..Link::new(trunk.node, how, trunk.account.clone())? };
        link.lock().room = HELD_FOR_A_GUEST;
        Ok(link)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is behind the lock, then writes what is to be said to the node, and answers what is
    /// known.
    pub fn run<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, events, wanted) = self.act(act);
        if wanted {
            self.ring();
        }
        for event in events {
            // Only the thread of the link brings about anything else.
            if let Event::Failed { token, failure } = event {
                token.failed(failure, self);
            }
        }
        result
    }

    /// The same for the thread of the link, which sees to what has happened, and looks up by itself.
    pub(super) fn hear<R>(&self, act: impl FnOnce(&mut State) -> R) -> (R, Vec<Event<Asked>>) {
        let (result, events, _) = self.act(act);
        (result, events)
    }

    /// Returns too what has happened, and whether the thread is wanted.
    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> (R, Vec<Event<Asked>>, bool) {
        let mut state = self.lock();
        let result = act(&mut state);
        let stuck = state.transmit();
        let early = match (state.client.poll_timeout(), state.waking) {
            (Some(due), Some(waking)) => due < waking,
            (due, None) => due.is_some(),
            _ => false,
        };
        if early {
            state.waking = state.client.poll_timeout();
        }
        let events = state.events();
        let (answers, wakes) = (std::mem::take(&mut state.answers), std::mem::take(&mut state.wakes));
        drop(state);
        answers.into_iter().for_each(|(then, told)| told.to(then));
        wakes.into_iter().for_each(|watcher| watcher.wake(0)); // whoever it is asks what there is
        (result, events, stuck || early)
    }

    /// Has the thread look up.
    pub(super) fn ring(&self) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// It has looked up.
    pub(super) fn hush(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Readable once it is rung.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Why nothing can be asked any more.
    pub fn ended(&self) -> Option<Errno> {
        self.lock().ended
    }

    /// Everything that is open there is closed, who waits fails, and the thread ends.
    pub fn end(&self) {
        self.end_with(Errno::SHUTDOWN);
    }

    /// The same, where that is why.
    pub(super) fn end_with(&self, errno: Errno) {
        self.run(|state| {
            let fids: Vec<Fid> = state.files.keys().copied().collect();
            fids.into_iter().for_each(|fid| state.client.release(fid, leave(Reason::Closed)));
            state.transmit();
            state.client.end();
            state.ended = state.ended.or(Some(errno));
        });
        self.ring();
    }
}

impl State {
    /// Asks for what somebody at a door has asked. An interrupt may end it from now on. None when it cannot be asked,
    /// which the asker is then told: why after the end, ENOSPC when too much is held for the node.
    pub fn ask(&mut self, requests: &[Request<'_>], asked: Asked) -> Option<Call> {
        let bytes = requests.last().map_or(0, |request| match request {
            Request::Send { data, .. } | Request::Write { data, .. } => data.len(),
            _ => 0,
        });
        let refused = match () {
            () if let Some(errno) = self.ended => Err((asked, errno)),
            () if self.client.kept_bytes() + bytes > self.room => Err((asked, Errno::NOSPC)),
            () => {
                let name = asked.name();
                match self.client.ask(Instant::now(), requests, asked) {
                    Ok(call) => Ok((call, name)),
                    Err(asked) => Err((asked, Errno::NOSPC)),
                }
            }
        };
        match refused {
            Ok((call, name)) => {
                let fid = requests.last().and_then(Request::fid);
                self.calls.extend(name.map(|name| (name.id, (name, call, fid))));
                Some(call)
            }
            Err((asked, errno)) => {
                asked.refuse(self, errno);
                None
            }
        }
    }

    /// A request at a door is answered: what it became, if it can be interrupted still.
    pub(super) fn end_call(&mut self, name: Name) -> Option<Call> {
        let (known, call, _) = *self.calls.get(&name.id)?;
        if known != name {
            return None; // the number is another's by now
        }
        self.calls.remove(&name.id);
        Some(call)
    }

    /// Request `id` of a door is interrupted. False if there is none.
    pub(super) fn interrupt(&mut self, id: u64) -> bool {
        let call = self.calls.get(&id).map(|(_, call, _)| *call);
        call.into_iter().for_each(|call| self.client.cancel(Instant::now(), call));
        call.is_some()
    }

    /// All that is asked of a file is interrupted.
    pub(super) fn interrupt_all(&mut self, file: Fid) {
        let of_it = self.calls.values().filter(|(_, _, fid)| *fid == Some(file));
        let calls: Vec<_> = of_it.map(|(_, call, _)| *call).collect();
        calls.into_iter().for_each(|call| self.client.cancel(Instant::now(), call));
    }

    /// Says what is known without asking.
    pub(super) fn tell(&mut self, asker: Asker, told: Told) {
        self.answers.push((asker.then, told));
    }

    /// Fids for a walk to make something of.
    ///
    /// # Errors
    /// EMFILE.
    pub fn fids<const N: usize>(&mut self) -> Result<[Fid; N], Errno> {
        let fids = [(); N].map(|()| self.client.fid());
        if fids.iter().all(Option::is_some) {
            return Ok(fids.map(|fid| fid.unwrap_or(ROOT)));
        }
        fids.into_iter().flatten().for_each(|fid| self.client.release(fid, Release::Clunk));
        Err(Errno::MFILE)
    }

    /// Whether nothing can be asked any more.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// The connection by which the node is reached from now on.
    pub(super) fn connect(&mut self, stream: Arc<Stream>, now: Instant) {
        self.unsent.clear();
        self.stream = Some(stream);
        self.client.handle_connected(now);
    }

    /// There is none.
    pub(super) fn disconnect(&mut self, now: Instant) {
        self.stream = None;
        self.unsent.clear();
        self.client.handle_broken(now);
    }

    /// There will be none any more.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.unsent.clear();
    }

    /// A frame has come. What it answers is to be given once the lock is released.
    pub(super) fn settle<'a>(&mut self, answer: &mut Answer<'a, Asked>) {
        match answer {
            Answer::Replied { token, reply } => token.settle(self, reply),
            Answer::Late { fid, reply } => File::late(self, *fid, reply),
        }
    }

    /// When the thread is to look up at the latest. It does not put off what it had planned, so that who asks often
    /// need not ring each time.
    pub(super) fn plan(&mut self, now: Instant) -> Option<Instant> {
        let planned = self.waking.filter(|waking| *waking > now);
        self.waking = [planned, self.client.poll_timeout()].into_iter().flatten().min();
        self.waking
    }

    /// Whether the socket is to be written to when it has room.
    pub(super) fn is_stuck(&self) -> bool {
        !self.unsent.is_empty() || self.stream.as_ref().is_some_and(|stream| stream.is_stuck())
    }

    /// Writes all that can be written. Returns whether something is left.
    fn transmit(&mut self) -> bool {
        while let Some(frame) = self.client.poll_transmit() {
            self.unsent.push_back(frame);
        }
        let Some(stream) = &self.stream else {
            self.unsent.clear();
            return false;
        };
        while !self.unsent.is_empty() {
            let parts: Vec<_> = self.unsent.iter().take(AT_ONCE).map(|frame| IoSlice::new(frame)).collect();
            match stream.send(&parts) {
                Ok(sent) => drop_front(&mut self.unsent, sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                // Who reads will find the connection gone.
                Err(_) => {
                    self.unsent.clear();
                    return false;
                }
            }
        }
        stream.flush().is_ok() && stream.is_stuck()
    }

    /// What has happened, its marks made here.
    fn events(&mut self) -> Vec<Event<Asked>> {
        let mut events = Vec::new();
        while let Some(mut event) = self.client.poll_event() {
            match &mut event {
                Event::Failed { token, failure } => token.settle_failed(self, *failure),
                Event::Up { limit, .. } => self.limit = *limit as usize,
                Event::Lost(loss) => {
                    // Who polls looks again.
                    self.wakes.extend(self.files.values_mut().filter_map(|file| file.give_up(*loss)));
                }
                Event::Down | Event::Refused(_) => {}
            }
            events.push(event);
        }
        events
    }
}

fn drop_front(frames: &mut VecDeque<Bytes>, mut bytes: usize) {
    while let Some(front) = frames.front_mut() {
        if front.len() > bytes {
            return front.advance(bytes);
        }
        bytes -= front.len();
        frames.pop_front();
    }
}
