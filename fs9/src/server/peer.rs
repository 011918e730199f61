//! Descriptors of peers: read, write, poll and close of a queue or of an end of a pair.

use std::sync::Arc;
use std::time::SystemTime;

use fs9_tiers::channel::{Completion, Delivery, Place, Until};
use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustix::io::Errno;

use super::{Answered, Caller, Data, Flags, Open, Opened, Parked, Server, ready};
use crate::channel::{Deferred, Done, Handle, Kind, MountLane, Remaining, Waiter, Wish};
use crate::events::Event;
use crate::message::Message;
use crate::ticket::{Answer, Effects, Ticket};
use crate::tree::shrink;
use crate::tree::{Attr, File, NodeId, Part};
use crate::view::{Lines, Unsent, View, as_line};

/// A descriptor of a peer, and so the holder of an end.
#[derive(Debug)]
pub(super) struct Peer {
    node: NodeId,
    /// Which end of a pair.
    pub end: Option<usize>,
    pub flags: Flags,
    pub view: View,
    pub holder: Arc<Holder>,
    pub uid: u32,
    pub since: SystemTime,
    /// Requests that wait in line for it.
    pub parked: usize,
    held: Option<Held>,
    unsent: Unsent,
    /// The whole view has had its one message.
    had_whole: bool,
    watch: Option<Watch>,
    /// The holder closed it while alive, and nothing was asked of it since.
    closed: bool,
}

/// A message that belongs to a reader until its next operation.
#[derive(Debug)]
struct Held {
    /// The message, until it is settled. (fsync(2) settles it; what was not seen of it can still be read.)
    delivery: Option<Delivery<Message>>,
    /// What the reader gets to see of it.
    text: Message,
    /// How much it has seen.
    seen: usize,
}

/// A poller to be woken.
#[derive(Debug, Clone, Copy)]
struct Watch {
    id: u64,
    interest: u32,
}

/// What a parked request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A message.
    Read(Place),
    /// The slot.
    Write(Place),
    /// The slot, to begin a view.
    Begin,
    /// An event.
    Event,
}

impl Wait {
    /// The word for it in `status`.
    pub fn word(self) -> &'static str {
        match self {
            Wait::Read(_) | Wait::Event => "read",
            Wait::Write(_) | Wait::Begin => "write",
        }
    }
}

impl Peer {
    /// The file that is open.
    pub fn file(&self) -> File {
        let part = match self.end {
            None => Part::Own,
            Some(0) => Part::A,
            Some(_) => Part::B,
        };
        File { node: self.node, part }
    }

    /// Whether it holds a message.
    pub fn holds(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.delivery.is_some())
    }

    /// Whether it has not seen all of the message it holds.
    fn has_rest(&self) -> bool {
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

    /// Thread `tid` has closed one of perhaps several descriptors. It counts as the holder's close when it is the
    /// holder's and the holder is not on its way out; that is why it is asked now, while the closer waits for us.
    pub fn note_close(&mut self, tid: u32) {
        if self.holder.owns(tid) {
            self.closed = self.holder.ending() == Reason::Closed;
        }
    }

    /// Why the descriptor was released.
    fn ending(&self) -> Reason {
        if self.closed { Reason::Closed } else { self.holder.ending() }
    }

    /// Lets go of everything: the server is stopped and the channel's account closed.
    pub fn abandon(&mut self, fx: &mut Effects) {
        self.watch.take().into_iter().for_each(|watch| fx.wake(watch.id));
        self.held = None;
        self.unsent.clear();
        self.parked = 0;
    }

    /// Reads on from the message in hand.
    fn read_on(&mut self, size: usize) -> Option<Answer> {
        let held = self.held.as_mut().filter(|held| held.seen < held.text.len())?;
        let from = held.seen;
        held.seen = from.saturating_add(size).min(held.text.len());
        Some(Answer::Data(held.text.clone(), from..held.seen))
    }
}

impl Server {
    /// Opens a queue, or takes an end of a pair.
    pub(super) fn open_peer(
        &mut self,
        file: File,
        view: View,
        flags: Flags,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<Opened> {
        let holder = self.holder(caller.tid)?;
        let end = file.part.end();
        if let Err(errno) = self.take_end(file) {
            self.release_holder(holder);
            return Err(errno);
        }
        let event = Event { event: "opened", pid: Some(holder.pid()), uid: Some(caller.uid), ..Event::default() };
        let peer = Peer {
            node: file.node,
            end,
            flags,
            view,
            holder,
            uid: caller.uid,
            since: SystemTime::now(),
            parked: 0,
            held: None,
            unsent: Unsent::default(),
            had_whole: false,
            watch: None,
            closed: false,
        };
        let access = peer.access();
        // The kernel tells of a close only where asked to. It takes the inode's lock for it, which a blocked write of
        // the same descriptor holds; so only those who cannot write are asked. They are the ones who can die on a
        // message without having anything else to lose.
        let flush = flags.read && !flags.write;
        let handle = self.open.insert(Open::Peer(Box::new(peer)));
        self.report(Event { access: Some(access), ..event }, file.node, end, fx);
        Ok(Opened { handle, stream: true, flush })
    }

    /// The next descriptor is of `file`.
    fn take_end(&mut self, file: File) -> Answered<()> {
        let handle = self.open.vacant_key();
        let channel = self.tree.channel_mut(file.node)?;
        if let Some(end) = file.part.end() {
            channel.take(end, handle)?;
        }
        channel.opens += 1;
        Ok(())
    }

    /// The process of a thread; one pidfd serves all descriptors of a process.
    fn holder(&mut self, tid: u32) -> Answered<Arc<Holder>> {
        if let Some(holder) = self.holders.get(&tid)
            && holder.is_current()
        {
            return Ok(holder.clone());
        }
        let holder = Holder::of(tid).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let pid = holder.pid();
        if pid == 0 {
            return Ok(Arc::new(holder));
        }
        // Asked for by the number of a thread it may be known by that of its process.
        if pid != tid
            && let Some(known) = self.holders.get(&pid)
            && known.is_current()
        {
            return Ok(known.clone());
        }
        let holder = Arc::new(holder);
        self.holders.insert(pid, holder.clone());
        Ok(holder)
    }

    fn release_holder(&mut self, holder: Arc<Holder>) {
        // Two are left: this one and the one in the table.
        if Arc::strong_count(&holder) <= 2
            && self.holders.get(&holder.pid()).is_some_and(|kept| Arc::ptr_eq(kept, &holder))
        {
            self.holders.remove(&holder.pid());
            shrink(&mut self.holders);
        }
    }

    fn peer(&mut self, handle: Handle) -> Answered<&mut Peer> {
        match self.open.get_mut(handle) {
            Some(Open::Peer(peer)) => Ok(peer),
            _ => Err(Errno::BADF),
        }
    }

    pub(super) fn read_peer(
        &mut self,
        handle: Handle,
        size: usize,
        nonblocking: bool,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        match self.begin_read(handle, size, nonblocking) {
            Ok(Some(answer)) => fx.answer(ticket, answer),
            Err(errno) => fx.fail(ticket, errno),
            Ok(None) => self.stand_in_line(handle, size, ticket, fx),
        }
    }

    /// What can be answered without the channel: the rest of a message, the end of the whole view, EAGAIN.
    fn begin_read(&mut self, handle: Handle, size: usize, nonblocking: bool) -> Answered<Option<Answer>> {
        let peer = self.peer(handle)?;
        if !peer.flags.read {
            return Err(Errno::BADF);
        }
        peer.closed = false;
        if let Some(answer) = peer.read_on(size) {
            return Ok(Some(answer));
        }
        let (node, end, had_whole) = (peer.node, peer.end, peer.had_whole);
        self.settle_held(handle);
        if had_whole {
            return Ok(Some(Answer::End));
        }
        let lane = &self.tree.channel_mut(node)?.incoming(end).lane;
        if nonblocking && !lane.is_readable() {
            return Err(Errno::AGAIN);
        }
        Ok(None)
    }

    fn stand_in_line(&mut self, handle: Handle, size: usize, ticket: Ticket, fx: &mut Effects) {
        let Ok(Peer { node, end, .. }) = self.peer(handle) else { return };
        let (node, end, id) = (*node, *end, ticket.id());
        let mut done = std::mem::take(&mut self.spare);
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let waiter = Waiter { handle, ticket, wish: Wish::Read(size) };
        let place = channel.incoming(end).lane.read(waiter, &mut done);
        if done.is_empty() {
            self.park(id, handle, Wait::Read(place), fx);
        }
        self.finish(node, done, fx);
    }

    /// The reader's next operation: it has done with the message it holds.
    pub(super) fn settle_held(&mut self, handle: Handle) {
        let Ok(peer) = self.peer(handle) else { return };
        peer.closed = false;
        let delivery = peer.held.as_mut().and_then(|held| held.delivery.take());
        if !peer.has_rest() {
            peer.held = None;
        }
        let (node, end) = (peer.node, peer.end);
        if let (Some(delivery), Ok(channel)) = (delivery, self.tree.channel_mut(node)) {
            channel.incoming(end).lane.acknowledge(delivery);
        }
    }

    pub(super) fn write_peer(
        &mut self,
        handle: Handle,
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if let Err((ticket, errno)) = self.begin_write(handle, data, flags, ticket, fx) {
            fx.fail(ticket, errno);
        }
    }

    fn begin_write(
        &mut self,
        handle: Handle,
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) -> Result<(), (Ticket, Errno)> {
        let limit = self.limits.message;
        let peer = match self.peer(handle) {
            Ok(peer) if peer.flags.write => peer,
            _ => return Err((ticket, Errno::BADF)),
        };
        let (node, end, view) = (peer.node, peer.end, peer.view);
        // What was cut must not become two messages: the writer learns from the short count what was sent.
        if view == View::Plain && (flags.continued || data.bytes().len() > limit) {
            return Err((ticket, Errno::MSGSIZE));
        }
        let Ok(channel) = self.tree.channel_mut(node) else { return Err((ticket, Errno::STALE)) };
        // A queue made with --ack is acknowledged by a read or fsync(2) only, and nobody has done with what he has not seen.
        let acknowledges = channel.kind() != (Kind::Queue { ack: true });
        if acknowledges && self.peer(handle).is_ok_and(|peer| !peer.has_rest()) {
            self.settle_held(handle);
        }
        match view {
            View::Plain => self.write_message(handle, (node, end), data, flags, ticket, fx),
            View::Whole => self.write_view(handle, (node, end), data, flags, ticket, fx),
            View::Line if data.bytes().contains(&b'\n') => {
                self.write_lines(handle, (node, end), data, flags, ticket, fx)
            }
            View::Line => self.write_view(handle, (node, end), data, flags, ticket, fx),
        }
    }

    fn write_message(
        &mut self,
        handle: Handle,
        (node, end): (NodeId, Option<usize>),
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) -> Result<(), (Ticket, Errno)> {
        let mut done = std::mem::take(&mut self.spare);
        let Ok(channel) = self.tree.channel_mut(node) else { return Err((ticket, Errno::STALE)) };
        let lane = &mut channel.outgoing(end).lane;
        let until = if flags.sync { Until::Taken } else { Until::Placed };
        if flags.nonblocking && would_wait(lane, flags.sync) {
            return Err((ticket, Errno::AGAIN));
        }
        let len = data.bytes().len();
        let message = match data.message(&self.store) {
            Ok(message) => message,
            Err(errno) => return Err((ticket, errno)),
        };
        let id = ticket.id();
        let place = lane.write(Waiter { handle, ticket, wish: Wish::Write(len) }, message, until, &mut done);
        if done.is_empty() {
            self.park(id, handle, Wait::Write(place), fx);
        }
        self.finish(node, done, fx);
        Ok(())
    }

    /// Bytes for a view that do not complete a message. The first of them wait until the slot is free, so that writers
    /// who send at close, when nobody can wait, do not flood the channel.
    fn write_view(
        &mut self,
        handle: Handle,
        (node, end): (NodeId, Option<usize>),
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) -> Result<(), (Ticket, Errno)> {
        let begins = self.peer(handle).is_ok_and(|peer| peer.unsent.is_empty());
        let Ok(channel) = self.tree.channel_mut(node) else { return Err((ticket, Errno::STALE)) };
        let line = channel.outgoing(end);
        if line.lane.is_broken() {
            return Err((ticket, Errno::PIPE));
        }
        if !begins || line.lane.is_writable() {
            self.take_bytes(handle, data.bytes(), ticket, fx);
            return Ok(());
        }
        if flags.nonblocking {
            return Err((ticket, Errno::AGAIN));
        }
        let id = ticket.id();
        match data.message(&self.store) {
            Ok(data) => line.deferred.push_back(Deferred { handle, ticket, data }),
            Err(errno) => return Err((ticket, errno)),
        }
        self.park(id, handle, Wait::Begin, fx);
        Ok(())
    }

    fn take_bytes(&mut self, handle: Handle, bytes: &[u8], ticket: Ticket, fx: &mut Effects) {
        let (limit, store) = (self.limits.message, self.store.clone());
        match self.peer(handle).and_then(|peer| peer.unsent.push(bytes, limit, &store)) {
            Ok(()) => fx.answer(ticket, Answer::Written(bytes.len())),
            Err(errno) => fx.fail(ticket, errno),
        }
    }

    fn write_lines(
        &mut self,
        handle: Handle,
        (node, end): (NodeId, Option<usize>),
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) -> Result<(), (Ticket, Errno)> {
        let (limit, store, total) = (self.limits.message, self.store.clone(), data.bytes().len());
        let Ok(channel) = self.tree.channel_mut(node) else { return Err((ticket, Errno::STALE)) };
        if flags.nonblocking && would_wait(&channel.outgoing(end).lane, flags.sync) {
            return Err((ticket, Errno::AGAIN));
        }
        let Lines { messages, tail } =
            match self.peer(handle).and_then(|peer| peer.unsent.lines(data.bytes(), limit, &store)) {
                Ok(lines) => lines,
                Err(errno) => return Err((ticket, errno)),
            };
        let until = if flags.sync { Until::Taken } else { Until::Placed };
        let nonblocking = flags.nonblocking;
        let remaining = Remaining { messages, tail, next: 0, done: 0, total, nonblocking, until };
        let mut done = Vec::new();
        self.write_next_line(Waiter { handle, ticket, wish: Wish::Read(0) }, Box::new(remaining), &mut done, fx);
        self.finish(node, done, fx);
        Ok(())
    }

    /// Puts the next line of a write in line, or answers the write when there is none.
    fn write_next_line(&mut self, waiter: Waiter, mut rest: Box<Remaining>, done: &mut Vec<Done>, fx: &mut Effects) {
        let Waiter { handle, ticket, .. } = waiter;
        let Some((message, next)) = rest.messages.pop_front() else {
            return self.end_lines(handle, ticket, *rest, fx);
        };
        let Ok(Peer { node, end, .. }) = self.peer(handle) else { return };
        let (node, end) = (*node, *end);
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let lane = &mut channel.outgoing(end).lane;
        if rest.done > 0 && rest.nonblocking && would_wait(lane, rest.until == Until::Taken) {
            return fx.answer(ticket, Answer::Written(rest.done));
        }
        let (id, until) = (ticket.id(), rest.until);
        rest.next = next;
        let before = done.len();
        let place = lane.write(Waiter { handle, ticket, wish: Wish::Lines(rest) }, message, until, done);
        if done.len() == before {
            self.park(id, handle, Wait::Write(place), fx);
        }
    }

    /// All lines of a write are sent; what comes after the last newline waits for more.
    fn end_lines(&mut self, handle: Handle, ticket: Ticket, rest: Remaining, fx: &mut Effects) {
        let (limit, store) = (self.limits.message, self.store.clone());
        let kept = match (rest.tail, self.peer(handle)) {
            (Some(tail), Ok(peer)) => peer.unsent.push(&tail, limit, &store).is_ok(),
            _ => true,
        };
        fx.answer(ticket, Answer::Written(if kept { rest.total } else { rest.done }));
    }

    /// Answers what a lane has decided. What that makes possible (the next line of a write, a write that waited for the
    /// slot) is done too, until nothing more comes of it; then whoever polls is woken.
    pub(super) fn finish(&mut self, node: NodeId, mut done: Vec<Done>, fx: &mut Effects) {
        let mut more = Vec::new();
        loop {
            for completion in done.drain(..) {
                self.complete(node, completion, &mut more, fx);
            }
            if more.is_empty() && !self.admit_deferred(node, fx) {
                break;
            }
            std::mem::swap(&mut done, &mut more);
        }
        self.wake_watchers(node, fx);
        if done.capacity() <= 64 {
            self.spare = done;
        }
    }

    fn complete(&mut self, node: NodeId, completion: Done, done: &mut Vec<Done>, fx: &mut Effects) {
        match completion {
            Completion::Received(waiter, delivery) => {
                self.unpark(waiter.ticket.id());
                self.touch(node, |attr, now| attr.atime = now);
                self.hand_over(node, waiter, delivery, done, fx);
            }
            Completion::End(waiter) => {
                self.unpark(waiter.ticket.id());
                fx.answer(waiter.ticket, Answer::End);
            }
            Completion::Lost(waiter) => {
                self.unpark(waiter.ticket.id());
                fx.fail(waiter.ticket, Errno::CONNRESET);
            }
            Completion::Sent(waiter) => {
                self.unpark(waiter.ticket.id());
                self.touch(node, |attr, now| attr.mtime = now);
                match waiter.wish {
                    Wish::Write(len) => fx.answer(waiter.ticket, Answer::Written(len)),
                    Wish::Lines(mut rest) => {
                        rest.done = rest.next;
                        if let Ok(peer) = self.peer(waiter.handle) {
                            peer.unsent.clear();
                        }
                        let waiter = Waiter { wish: Wish::Read(0), ..waiter };
                        self.write_next_line(waiter, rest, done, fx);
                    }
                    Wish::Read(_) => {}
                }
            }
            Completion::Broken(waiter, _message) => {
                self.unpark(waiter.ticket.id());
                refuse(waiter, Errno::PIPE, fx);
            }
        }
    }

    fn touch(&mut self, node: NodeId, set: impl FnOnce(&mut Attr, SystemTime)) {
        if let Ok(node) = self.tree.node_mut(node) {
            set(&mut node.attr, SystemTime::now());
        }
    }

    fn hand_over(
        &mut self,
        node: NodeId,
        waiter: Waiter,
        delivery: Delivery<Message>,
        done: &mut Vec<Done>,
        fx: &mut Effects,
    ) {
        let store = self.store.clone();
        let Wish::Read(size) = waiter.wish else { return };
        let Ok(peer) = self.peer(waiter.handle) else {
            if let Ok(channel) = self.tree.channel_mut(node) {
                channel.incoming(None).lane.give_back(delivery, Reason::Closed, done);
            }
            return;
        };
        let text = match peer.view {
            View::Line => as_line(&delivery.message, &store).unwrap_or_else(|| delivery.message.clone()),
            View::Plain | View::Whole => delivery.message.clone(),
        };
        peer.had_whole = peer.view == View::Whole;
        let before = peer.held.replace(Held { delivery: Some(delivery), text, seen: 0 });
        let answer = peer.read_on(size).unwrap_or(Answer::End);
        let (end, shared) = (peer.end, peer.parked > 0);
        fx.answer(waiter.ticket, answer);
        let before = before.and_then(|held| held.delivery);
        if let (Some(delivery), Ok(channel)) = (before, self.tree.channel_mut(node)) {
            channel.incoming(end).lane.acknowledge(delivery);
        }
        if shared {
            self.feed_others(waiter.handle, done, fx);
        }
    }

    /// Others (threads, forks) wait to read from the same descriptor: what one of them left of a message is for the next,
    /// and after the one message of the whole view comes its end.
    fn feed_others(&mut self, handle: Handle, done: &mut Vec<Done>, fx: &mut Effects) {
        while let Ok(peer) = self.peer(handle)
            && (peer.had_whole || peer.has_rest())
        {
            let (node, end) = (peer.node, peer.end);
            let mut reads: Vec<_> = self
                .parked
                .iter()
                .filter_map(|(id, parked)| match parked.wait {
                    Wait::Read(place) if parked.handle == handle => Some((place, *id)),
                    _ => None,
                })
                .collect();
            reads.sort_unstable();
            let Some((place, id)) = reads.first().copied() else { return };
            self.unpark(id);
            let Ok(channel) = self.tree.channel_mut(node) else { return };
            let Some(Waiter { ticket, wish: Wish::Read(size), .. }) = channel.incoming(end).lane.cancel(place, done)
            else {
                return;
            };
            let rest = self.peer(handle).ok().and_then(|peer| peer.read_on(size));
            fx.answer(ticket, rest.unwrap_or(Answer::End));
        }
    }

    /// Lets the writes go on that waited for a free slot to begin a view. Whether any did.
    fn admit_deferred(&mut self, node: NodeId, fx: &mut Effects) -> bool {
        let Ok(channel) = self.tree.channel_mut(node) else { return false };
        let mut admitted = Vec::new();
        for line in channel.lines() {
            if line.lane.is_writable() && !line.deferred.is_empty() {
                let broken = line.lane.is_broken();
                admitted.extend(std::mem::take(&mut line.deferred).into_iter().map(|deferred| (deferred, broken)));
            }
        }
        let any = !admitted.is_empty();
        for (deferred, broken) in admitted {
            self.unpark(deferred.ticket.id());
            if broken {
                fx.fail(deferred.ticket, Errno::PIPE);
            } else {
                self.take_bytes(deferred.handle, &deferred.data, deferred.ticket, fx);
            }
        }
        any
    }

    /// The parked request `id` leaves the line and fails with `errno`; lines of it that were sent are written.
    pub(super) fn cancel(&mut self, id: u64, errno: Errno, fx: &mut Effects) {
        let Some(Parked { handle, wait, .. }) = self.unpark(id) else { return };
        if wait == Wait::Event {
            if let Some(index) = self.event_waiters.iter().position(|waiter| waiter.ticket.id() == id) {
                self.event_waiters.remove(index).into_iter().for_each(|waiter| fx.fail(waiter.ticket, errno));
            }
            return;
        }
        let Ok(Peer { node, end, .. }) = self.peer(handle) else { return };
        let (node, end) = (*node, *end);
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let mut done = Vec::new();
        match wait {
            Wait::Read(place) => {
                let reader = channel.incoming(end).lane.cancel(place, &mut done);
                reader.into_iter().for_each(|waiter| fx.fail(waiter.ticket, errno));
            }
            Wait::Write(place) => {
                let writer = channel.outgoing(end).lane.cancel(place, &mut done);
                writer.into_iter().for_each(|waiter| refuse(waiter, errno, fx));
            }
            Wait::Begin | Wait::Event => {
                let deferred = &mut channel.outgoing(end).deferred;
                if let Some(index) = deferred.iter().position(|deferred| deferred.ticket.id() == id) {
                    deferred.remove(index).into_iter().for_each(|deferred| fx.fail(deferred.ticket, errno));
                }
            }
        }
        self.finish(node, done, fx);
    }

    pub(super) fn poll_peer(&mut self, handle: Handle, interest: u32, watch: Option<u64>) -> Answered<u32> {
        let now = self.readiness(handle)?;
        let peer = self.peer(handle)?;
        let Some(id) = watch else { return Ok(now) };
        // Several may poll one descriptor, each for something else; they are all woken under one id.
        let before =
            peer.watch.replace(Watch { id, interest: interest | peer.watch.map_or(0, |watch| watch.interest) });
        let node = peer.node;
        if before.is_none() {
            self.tree.channel_mut(node)?.watchers.push(handle);
        }
        Ok(now)
    }

    fn readiness(&mut self, handle: Handle) -> Answered<u32> {
        let peer = self.peer(handle)?;
        let (node, end, flags) = (peer.node, peer.end, peer.flags);
        let in_hand = peer.had_whole || peer.has_rest();
        let (incoming, outgoing) = self.tree.channel_mut(node)?.view_of(end);
        let mut now = 0;
        if flags.read && (in_hand || incoming.is_readable()) {
            now |= ready::IN;
        }
        if flags.write && outgoing.is_writable() {
            now |= ready::OUT;
        }
        if let Some(reason) = incoming.ended() {
            now |= if reason.is_loss() { ready::HUP | ready::ERR } else { ready::HUP };
        }
        Ok(now)
    }

    fn wake_watchers(&mut self, node: NodeId, fx: &mut Effects) {
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        if channel.watchers.is_empty() {
            return;
        }
        let watchers = std::mem::take(&mut channel.watchers);
        let mut asleep = Vec::new();
        for handle in watchers {
            let now = self.readiness(handle).unwrap_or(0);
            let Ok(peer) = self.peer(handle) else { continue };
            let Some(watch) = peer.watch else { continue };
            if now & (watch.interest | ready::ERR | ready::HUP) != 0 {
                peer.watch = None;
                fx.wake(watch.id);
            } else {
                asleep.push(handle);
            }
        }
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.watchers = asleep;
        }
    }

    /// The holder is gone. What it had not sent is sent, if it was not killed; what it held is settled; its end of a
    /// pair is left.
    pub(super) fn clunk_peer(&mut self, handle: Handle, fx: &mut Effects) {
        self.cancel_all_of(handle, fx);
        let Some(Open::Peer(mut peer)) = self.open.try_remove(handle) else { return };
        let (node, end) = (peer.node, peer.end);
        // Asking costs more than the rest of a close; of a descriptor that leaves nothing behind nobody wants to know.
        let matters = end.is_some() || peer.holds() || !peer.unsent.is_empty() || !self.event_readers.is_empty();
        let reason = if matters { peer.ending() } else { Reason::Closed };
        let mut done = Vec::new();
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.opens -= 1;
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
        self.report(Event { event, pid, uid, reason: Some(reason.to_string()), ..Event::default() }, node, end, fx);
        self.release_holder(peer.holder);
        self.forget_if_unused(node);
    }

    /// Sends what a view has gathered, now that it is closed. A killed writer has not closed it: nothing is sent.
    fn send_rest(&mut self, peer: &mut Peer, reason: Reason, done: &mut Vec<Done>, fx: &mut Effects) {
        let Some(message) = peer.unsent.take() else { return };
        let unsendable = match self.tree.channel_mut(peer.node) {
            Ok(channel) if !reason.is_loss() => channel.outgoing(peer.end).lane.commit(message, done).is_some(),
            _ => true,
        };
        if unsendable {
            let event = Event { event: "dropped", reason: Some(format!("unsent, {reason}")), ..Event::default() };
            self.report(Event { pid: Some(peer.holder.pid()), ..event }, peer.node, peer.end, fx);
        }
    }

    /// The last word on the message that the reader holds.
    fn settle_last(&mut self, peer: &mut Peer, reason: Reason, done: &mut Vec<Done>, fx: &mut Effects) {
        let Some(delivery) = peer.held.take().and_then(|held| held.delivery) else { return };
        let Ok(channel) = self.tree.channel_mut(peer.node) else { return };
        let kind = channel.kind();
        let lane = &mut channel.incoming(peer.end).lane;
        let event = match kind {
            Kind::Queue { ack } if ack || reason.is_death() => {
                lane.give_back(delivery, reason, done);
                "redelivered"
            }
            Kind::Pair if reason.is_death() => {
                lane.discard(delivery, reason);
                "dropped"
            }
            Kind::Queue { .. } | Kind::Pair => {
                lane.acknowledge(delivery);
                return;
            }
        };
        let pid = Some(peer.holder.pid());
        let reason = Some(reason.to_string());
        self.report(Event { event, pid, reason, ..Event::default() }, peer.node, peer.end, fx);
    }

    /// A kernel releases a file only when nothing waits on it; other doors may not be so kind.
    fn cancel_all_of(&mut self, handle: Handle, fx: &mut Effects) {
        if self.peer(handle).is_ok_and(|peer| peer.parked > 0) {
            let ids: Vec<u64> =
                self.parked.iter().filter(|(_, parked)| parked.handle == handle).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.cancel(id, Errno::INTR, fx));
        }
    }
}

/// Whether a write would wait: for the slot, or with O_SYNC for a reader.
fn would_wait(lane: &MountLane, sync: bool) -> bool {
    !lane.is_writable() || (sync && !lane.is_broken() && !lane.has_reader())
}

/// A writer's answer when it has to leave the line: `errno`, or the bytes of those lines that were sent.
fn refuse(waiter: Waiter, errno: Errno, fx: &mut Effects) {
    match waiter.wish {
        Wish::Lines(rest) if rest.done > 0 => fx.answer(waiter.ticket, Answer::Written(rest.done)),
        _ => fx.fail(waiter.ticket, errno),
    }
}
