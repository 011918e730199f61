//! Writing to a peer: one message, or bytes of a view.

use fs9_tiers::channel::Until;
use rustix::io::Errno;

use super::peer::Peer;
use super::waiting::Wait;
use super::{Data, Flags, Server};
use crate::channel::{Deferred, Done, Handle, Kind, MountLane, Remaining, Waiter, Wish};
use crate::ticket::{Answer, Effects, Ticket};
use crate::tree::NodeId;
use crate::view::{Lines, View};

impl Server {
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

    pub(super) fn begin_write(
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

    pub(super) fn write_message(
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
    pub(super) fn write_view(
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

    pub(super) fn take_bytes(&mut self, handle: Handle, bytes: &[u8], ticket: Ticket, fx: &mut Effects) {
        let (limit, store) = (self.limits.message, self.store.clone());
        match self.peer(handle).and_then(|peer| peer.unsent.push(bytes, limit, &store)) {
            Ok(()) => fx.answer(ticket, Answer::Written(bytes.len())),
            Err(errno) => fx.fail(ticket, errno),
        }
    }

    pub(super) fn write_lines(
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
    pub(super) fn write_next_line(
        &mut self,
        waiter: Waiter,
        mut rest: Box<Remaining>,
        done: &mut Vec<Done>,
        fx: &mut Effects,
    ) {
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
    pub(super) fn end_lines(&mut self, handle: Handle, ticket: Ticket, rest: Remaining, fx: &mut Effects) {
        let (limit, store) = (self.limits.message, self.store.clone());
        let kept = match (rest.tail, self.peer(handle)) {
            (Some(tail), Ok(peer)) => peer.unsent.push(&tail, limit, &store).is_ok(),
            _ => true,
        };
        fx.answer(ticket, Answer::Written(if kept { rest.total } else { rest.done }));
    }

    /// Lets the writes go on that waited for a free slot to begin a view. Whether any did.
    pub(super) fn admit_deferred(&mut self, node: NodeId, fx: &mut Effects) -> bool {
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
}

/// Whether a write would wait: for the slot, or with O_SYNC for a reader.
fn would_wait(lane: &MountLane, sync: bool) -> bool {
    !lane.is_writable() || (sync && !lane.is_broken() && !lane.has_reader())
}

/// A writer's answer when it has to leave the line: `errno`, or the bytes of those lines that were sent.
pub(super) fn refuse(waiter: Waiter, errno: Errno, fx: &mut Effects) {
    match waiter.wish {
        Wish::Lines(rest) if rest.done > 0 => fx.answer(waiter.ticket, Answer::Written(rest.done)),
        _ => fx.fail(waiter.ticket, errno),
    }
}
