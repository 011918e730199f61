//! Descriptors of peers: what each has in hand, and its open and close. Reading, writing and polling are beside it.

use std::sync::Arc;
use std::time::SystemTime;

use fs9_tiers::channel::Delivery;
use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustix::io::Errno;

use super::{Answered, Caller, Flags, Open, Opened, Server, Session, ready};
use crate::channel::{Done, Handle, Kind};
use crate::events::Event;
use crate::holders::has_closed;
use crate::message::Message;
use crate::ticket::{Answer, Effects, Watcher};
use crate::timer;
use crate::tree::{Body, File, NodeId, Part};
use crate::view::{Unsent, View};

/// A descriptor of a peer, and so the holder of an end.
#[derive(Debug)]
pub(super) struct Peer {
    /// What was opened.
    pub file: File,
    /// The channel: of a service the connection, of a topic the reader's copies, of a timer its ticks.
    pub node: NodeId,
    /// Which end of it.
    pub end: Option<usize>,
    /// An end of `accept` has no client, and therefore no channel, before its first use.
    pub bound: bool,
    pub flags: Flags,
    pub view: View,
    pub holder: Arc<Holder>,
    pub uid: u32,
    /// Whence the holder asks, if not from this machine.
    pub session: Option<Arc<Session>>,
    pub since: SystemTime,
    /// Requests that wait in line for it.
    pub parked: usize,
    pub held: Option<Held>,
    pub unsent: Unsent,
    /// The whole view has had its one message.
    pub had_whole: bool,
    pub watch: Option<Watch>,
    /// A wait of it was ended by a signal, which may have been its end.
    pub interrupted: bool,
    /// The holder closed it while alive, and nothing was asked of it since.
    pub closed: bool,
}

/// A message that belongs to a reader until its next operation.
#[derive(Debug)]
pub(super) struct Held {
    /// The message, until it is settled. (fsync(2) settles it; what was not seen of it can still be read.)
    pub delivery: Option<Delivery<Message>>,
    /// What the reader gets to see of it.
    pub text: Message,
    /// How much it has seen.
    pub seen: usize,
}

/// A poller to be woken.
#[derive(Debug)]
pub(super) struct Watch {
    pub watcher: Watcher,
    pub interest: u32,
}

impl Peer {
    /// A descriptor of `file` that `holder` has, at `end` of the channel `node`.
    pub fn new(file: File, node: NodeId, view: View, flags: Flags, holder: Arc<Holder>, uid: u32) -> Peer {
        Peer {
            file,
            node,
            end: file.part.end(),
            bound: true,
            flags,
            view,
            holder,
            uid,
            session: None,
            since: SystemTime::now(),
            parked: 0,
            held: None,
            unsent: Unsent::default(),
            had_whole: false,
            watch: None,
            interrupted: false,
            closed: false,
        }
    }

    /// The node of its holder, if that is another one.
    pub fn node_name(&self) -> Option<&str> {
        self.session.as_ref().and_then(|session| session.node_of(&self.holder))
    }

    /// Whether it holds a message.
    pub fn holds(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.delivery.is_some())
    }

    /// Whether it has not seen all of the message it holds.
    pub fn has_rest(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.seen < held.text.len())
    }

    /// How it was opened: r, w or rw.
    pub fn access(&self) -> &'static str {
        match (self.flags.read, self.flags.write) {
            (true, true) => "rw",
            (false, true) => "w",
            _ => "r",
        }
    }

    /// Thread `tid` has closed one of perhaps several descriptors.
    pub fn note_close(&mut self, tid: u32) {
        self.closed = has_closed(&self.holder, tid).unwrap_or(self.closed);
    }

    /// Why the descriptor was released.
    fn ending(&self) -> Reason {
        if self.closed { Reason::Closed } else { self.holder.ending() }
    }

    /// Lets go of everything: the server is stopped and the channel's account closed.
    pub fn abandon(&mut self, fx: &mut Effects) {
        self.watch.take().into_iter().for_each(|watch| fx.wake(watch.watcher, ready::ERR));
        self.held = None;
        self.unsent.clear();
        self.parked = 0;
    }

    /// `watcher` is to be woken for `interest`. Several may poll one descriptor, each for something else; they are all
    /// woken under one id. Returns whether nobody did before.
    pub fn watch_for(&mut self, watcher: Watcher, interest: u32) -> bool {
        let before = self.watch.take();
        let interest = interest | before.as_ref().map_or(0, |watch| watch.interest);
        self.watch = Some(Watch { watcher, interest });
        before.is_none()
    }

    /// Reads on from the message in hand.
    pub fn read_on(&mut self, size: usize) -> Option<Answer> {
        let held = self.held.as_mut().filter(|held| held.seen < held.text.len())?;
        let from = held.seen;
        held.seen = from.saturating_add(size).min(held.text.len());
        Some(Answer::Data(held.text.clone(), from..held.seen))
    }
}

impl Server {
    /// Opens a queue, a topic or a timer, or takes an end of a pair or a service.
    pub(super) fn open_peer(
        &mut self,
        file: File,
        view: View,
        flags: Flags,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<Opened> {
        let session = self.session(caller)?;
        let holder = match &session {
            Some(session) => session.holder_of(caller.tid),
            None => self.holders.of(caller.tid)?,
        };
        let node = match self.take_place(file, flags, &holder, caller) {
            Ok(node) => node,
            Err(errno) => {
                self.holders.release(holder);
                return Err(errno);
            }
        };
        let event = Event { event: "opened", pid: Some(holder.pid()), uid: Some(caller.uid), ..Event::default() };
        let mut peer = Peer::new(file, node, view, flags, holder.clone(), caller.uid);
        peer.session.clone_from(&session);
        peer.bound = self.tree.channel(node).is_ok();
        let access = peer.access();
        // The kernel tells of a close only where asked to. It takes the inode's lock for it, which a blocked write of
        // the same descriptor holds; so only those who cannot write are asked. They are the ones who can die on a
        // message without having anything else to lose.
        let flush = flags.read && !flags.write;
        let handle = self.open.insert(Open::Peer(Box::new(peer)));
        let from = session.as_ref().and_then(|session| session.node_of(&holder));
        self.report(Event { access: Some(access), node: from, ..event }, file, fx);
        if file.part == Part::A && node != file.node {
            self.offer(file.node, node, fx);
        }
        Ok(Opened { handle, stream: true, flush })
    }

    /// One more descriptor is of `file`. Returns where its messages come from and go to.
    fn take_place(&mut self, file: File, flags: Flags, holder: &Holder, caller: Caller) -> Answered<NodeId> {
        if let Some(period) = timer::period(file.node) {
            return self.begin_ticks(period, flags);
        }
        match &self.tree.node(file.node)?.body {
            Body::Service(_) => self.come_to_service(file, holder, caller),
            Body::Topic(_) if flags.read => self.subscribe(file.node, flags),
            _ => {
                let channel = self.tree.channel_mut(file.node)?;
                if let Some(end) = file.part.end() {
                    channel.take(end)?;
                }
                channel.opens += 1;
                Ok(file.node)
            }
        }
    }

    pub(super) fn peer(&mut self, handle: Handle) -> Answered<&mut Peer> {
        match self.open.get_mut(handle) {
            Some(Open::Peer(peer)) => Ok(peer),
            _ => Err(Errno::BADF),
        }
    }

    /// The holder is gone, for `known` if that is known. What it had not sent is sent, if it was not killed; what it
    /// held is settled; its end is left.
    pub(super) fn clunk_peer(&mut self, handle: Handle, known: Option<Reason>, fx: &mut Effects) {
        self.shares.remove(&handle);
        self.cancel_all_of(handle, known, fx);
        let Some(Open::Peer(mut peer)) = self.open.try_remove(handle) else { return };
        let (node, end) = (peer.node, peer.end);
        // Asking costs more than the rest of a close. Of a writer that leaves nothing behind nobody wants to know.
        let idle_writer = !peer.flags.read && peer.unsent.is_empty() && !peer.interrupted;
        let asked = end.is_some() || !idle_writer || !self.event_readers.is_empty();
        let reason = known.unwrap_or_else(|| if asked { peer.ending() } else { Reason::Closed });
        let mut done = Vec::new();
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.opens -= 1;
            channel.last_left = asked.then(|| (peer.holder.pid(), reason)).or(channel.last_left);
            channel.watchers.retain(|watcher| *watcher != handle);
        }
        self.send_rest(&mut peer, reason, &mut done, fx);
        self.settle_last(&mut peer, reason, &mut done, fx);
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.leave(end, reason, &mut done);
        }
        self.finish(node, done, fx);
        let event = if reason.is_loss() { "lost" } else { "closed" };
        let (pid, uid) = (Some(peer.holder.pid()), Some(peer.uid));
        let event = Event { event, pid, uid, reason: Some(reason.to_string()), ..Event::default() };
        self.report(Event { node: peer.node_name(), ..event }, peer.file, fx);
        self.holders.release(peer.holder);
        if node != peer.file.node || !peer.bound {
            self.leave_service(handle, peer.file, node);
        }
        if self.tree.channel(node).is_ok_and(|channel| channel.retired) {
            self.take_away(node, fx);
        }
        self.forget_if_unused(node, fx);
    }

    /// Nobody reads at this end any more: who writes to it is told.
    pub fn deafen(&mut self, handle: Handle, reason: Reason, fx: &mut Effects) {
        let Ok(Peer { node, end, .. }) = self.peer(handle) else { return };
        let (node, end) = (*node, *end);
        let mut done = Vec::new();
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.incoming(end).close(reason, &mut done);
        }
        self.finish(node, done, fx);
    }

    /// What was received last at this end was for nobody: it is dropped.
    pub fn discard(&mut self, handle: Handle, reason: Reason, fx: &mut Effects) {
        let Ok(peer) = self.peer(handle) else { return };
        let Some(delivery) = peer.held.take().and_then(|held| held.delivery) else { return };
        let (node, end, file, pid) = (peer.node, peer.end, peer.file, Some(peer.holder.pid()));
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.incoming(end).discard(delivery, reason);
        }
        let event = Event { event: "dropped", pid, reason: Some(reason.to_string()), ..Event::default() };
        self.report(event, file, fx);
    }

    /// Sends what a view has gathered, now that it is closed. A killed writer has not closed it, nor has one whose
    /// right to it was taken back: nothing is sent.
    fn send_rest(&mut self, peer: &mut Peer, reason: Reason, done: &mut Vec<Done>, fx: &mut Effects) {
        let Some(message) = peer.unsent.take() else { return };
        let is_closed = !reason.is_loss() && reason != Reason::Revoked;
        let unsendable = match self.tree.channel_mut(peer.node) {
            Ok(channel) if is_closed => channel.outgoing(peer.end).commit(message, done).is_some(),
            _ => true,
        };
        if unsendable {
            let event = Event { event: "dropped", reason: Some(format!("unsent, {reason}")), ..Event::default() };
            self.report(Event { pid: Some(peer.holder.pid()), ..event }, peer.file, fx);
        }
    }

    /// The last word on the message that the reader holds.
    fn settle_last(&mut self, peer: &mut Peer, reason: Reason, done: &mut Vec<Done>, fx: &mut Effects) {
        let Some(delivery) = peer.held.take().and_then(|held| held.delivery) else { return };
        let Ok(channel) = self.tree.channel_mut(peer.node) else { return };
        let kind = channel.kind();
        let lane = channel.incoming(peer.end);
        let event = match kind {
            Kind::Queue { ack } if ack || reason.is_death() => {
                lane.give_back(delivery, reason, done);
                "redelivered"
            }
            kind if kind.is_private() && reason.is_death() => {
                lane.discard(delivery, reason);
                "dropped"
            }
            _ => {
                lane.acknowledge(delivery);
                return;
            }
        };
        let pid = Some(peer.holder.pid());
        let reason = Some(reason.to_string());
        self.report(Event { event, pid, reason, ..Event::default() }, peer.file, fx);
    }

    /// A kernel releases a file only when nothing waits on it; other doors may not be so kind.
    fn cancel_all_of(&mut self, handle: Handle, known: Option<Reason>, fx: &mut Effects) {
        let errno = if known == Some(Reason::Revoked) { Errno::KEYREVOKED } else { Errno::INTR };
        if self.peer(handle).is_ok_and(|peer| peer.parked > 0) {
            let ids: Vec<u64> =
                self.parked.iter().filter(|(_, parked)| parked.handle == handle).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.cancel(id, errno, fx));
        }
    }
}
