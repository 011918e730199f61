//! Writing to a peer: one message, or bytes of a view.

use std::sync::Arc;

use fs9_tiers::channel::Until;
use rustix::io::Errno;

use super::peer::Peer;
use super::waiting::Wait;
use super::{Data, Flags, Open, Server};
use crate::channel::{Done, Handle, Kind, Remaining, Waiter, Wish};
use crate::message::Store;
use crate::ticket::{Answer, Effects, Ticket};
use crate::tree::{Body, NodeId};
use crate::view::View;

/// A write on its way to a lane.
struct Write<'a> {
    handle: Handle,
    node: NodeId,
    end: Option<usize>,
    data: Data<'a>,
    flags: Flags,
    ticket: Ticket,
}

impl Write<'_> {
    fn until(&self) -> Until {
        if self.flags.sync { Until::Taken } else { Until::Placed }
    }
}

impl Server {
    pub(super) fn write_peer(
        &mut self,
        handle: Handle,
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        let limit = self.limits.message;
        let (node, end, view, bound) = match self.peer(handle) {
            Ok(peer) if peer.flags.write => (peer.node, peer.end, peer.view, peer.bound),
            _ => return fx.fail(ticket, Errno::BADF),
        };
        // What was cut must not become two messages: the writer learns from the short count what was sent.
        if view == View::Plain && (flags.continued || data.bytes().len() > limit) {
            return fx.fail(ticket, Errno::MSGSIZE);
        }
        if !bound {
            return self.write_unbound(handle, data, flags, ticket, fx);
        }
        self.settle_by_write(handle, node);
        // What a writer of a topic sends stays with it until all readers have room.
        let flags = Flags { sync: flags.sync || self.is_topic(node), ..flags };
        let write = Write { handle, node, end, data, flags, ticket };
        match view {
            View::Plain => self.write_message(write, fx),
            View::Line if write.data.bytes().contains(&b'\n') => self.write_lines(write, fx),
            View::Line | View::Whole => self.write_part(write, fx),
        }
    }

    /// A write is an operation too, with which the reader has done with the message it holds. But a queue made with
    /// `--ack` is acknowledged by a read or fsync(2) only, and nobody has done with what he has not seen.
    fn settle_by_write(&mut self, handle: Handle, node: NodeId) {
        let counts = self.tree.channel_mut(node).is_ok_and(|channel| channel.kind() != (Kind::Queue { ack: true }));
        if counts && self.peer(handle).is_ok_and(|peer| !peer.has_rest()) {
            self.settle_held(handle);
        }
    }

    fn write_message(&mut self, write: Write<'_>, fx: &mut Effects) {
        let until = write.until();
        let Write { handle, node, end, data, flags, ticket } = write;
        if flags.nonblocking && self.would_wait(node, end, flags.sync) {
            return fx.fail(ticket, Errno::AGAIN);
        }
        let len = data.bytes().len();
        let message = match data.message(&self.store_of(handle)) {
            Ok(message) => message,
            Err(errno) => return self.fail_write(handle, errno, ticket, fx),
        };
        let Ok(channel) = self.tree.channel_mut(node) else { return fx.fail(ticket, Errno::STALE) };
        let lane = channel.outgoing(end);
        let id = ticket.id();
        let mut done = std::mem::take(&mut self.spare);
        let place = lane.write(Waiter { handle, end, ticket, wish: Wish::Write(len) }, message, until, &mut done);
        if done.is_empty() {
            self.park(id, handle, Wait::Write(place), fx);
        }
        self.finish(node, done, fx);
    }

    /// Bytes for a view that do not complete a message. The first of them wait for their turn at the slot, so that
    /// writers who send at close, when nobody can wait, do not flood the channel.
    fn write_part(&mut self, write: Write<'_>, fx: &mut Effects) {
        let Write { handle, node, end, data, flags, ticket } = write;
        let store = self.store_of(handle);
        let begins = self.peer(handle).is_ok_and(|peer| peer.unsent.is_empty());
        let Ok(channel) = self.tree.channel_mut(node) else { return fx.fail(ticket, Errno::STALE) };
        let lane = channel.outgoing(end);
        if lane.is_broken() {
            return fx.fail(ticket, Errno::PIPE);
        }
        if !begins || lane.is_writable() {
            return self.take_bytes(handle, data.bytes(), ticket, fx);
        }
        if flags.nonblocking {
            return fx.fail(ticket, Errno::AGAIN);
        }
        let data = match data.message(&store) {
            Ok(data) => data,
            Err(errno) => return self.fail_write(handle, errno, ticket, fx),
        };
        let id = ticket.id();
        let mut done = Vec::new();
        let place = lane.wait_turn(Waiter { handle, end, ticket, wish: Wish::Begin(data) }, &mut done);
        if done.is_empty() {
            self.park(id, handle, Wait::Write(place), fx);
        }
        self.finish(node, done, fx);
    }

    /// It is this writer's turn to begin a view, or there is nobody to write to.
    pub(super) fn begin_view(&mut self, node: NodeId, waiter: Waiter, fx: &mut Effects) {
        let Waiter { handle, end, ticket, wish } = waiter;
        let broken = self.tree.channel_mut(node).is_ok_and(|channel| channel.outgoing(end).is_broken());
        match wish {
            Wish::Begin(data) if !broken => self.take_bytes(handle, &data, ticket, fx),
            _ => fx.fail(ticket, Errno::PIPE),
        }
    }

    fn take_bytes(&mut self, handle: Handle, bytes: &[u8], ticket: Ticket, fx: &mut Effects) {
        let (limit, store) = (self.limits.message, self.store_of(handle));
        match self.peer(handle).and_then(|peer| peer.unsent.push(bytes, limit, &store)) {
            Ok(()) => fx.answer(ticket, Answer::Written(bytes.len())),
            Err(errno) => self.fail_write(handle, errno, ticket, fx),
        }
    }

    /// Where the messages live that are written at a descriptor: those of a key in its own part of the mount's store.
    fn store_of(&self, handle: Handle) -> Arc<Store> {
        let session = match self.open.get(handle) {
            Some(Open::Peer(peer)) => peer.session.as_ref(),
            _ => None,
        };
        session.and_then(|session| session.allotment.as_ref()).map_or(&self.store, |allotment| &allotment.store).clone()
    }

    /// A write could not be taken in. That there is no room for more of one key is told.
    fn fail_write(&mut self, handle: Handle, errno: Errno, ticket: Ticket, fx: &mut Effects) {
        fx.fail(ticket, errno);
        let Ok(Peer { file, session: Some(session), .. }) = self.peer(handle) else { return };
        let (file, session) = (*file, session.clone());
        if let Some(allotment) = session.allotment.as_ref().filter(|_| errno == Errno::NOSPC) {
            self.tell_exhausted(&session, allotment.full(), file, fx);
        }
    }

    fn write_lines(&mut self, write: Write<'_>, fx: &mut Effects) {
        let until = write.until();
        let Write { handle, node, end, data, flags, ticket } = write;
        let (limit, store) = (self.limits.message, self.store_of(handle));
        if flags.nonblocking && self.would_wait(node, end, flags.sync) {
            return fx.fail(ticket, Errno::AGAIN);
        }
        let lines = data.message(&store).and_then(|data| self.peer(handle)?.unsent.lines(data, limit, &store));
        let lines = match lines {
            Ok(lines) => lines,
            Err(errno) => return self.fail_write(handle, errno, ticket, fx),
        };
        let rest = Remaining { lines, next: 0, done: 0, nonblocking: flags.nonblocking, until };
        let mut done = Vec::new();
        self.write_next_line(handle, ticket, Box::new(rest), &mut done, fx);
        self.finish(node, done, fx);
    }

    /// Puts the next line of a write in line, or answers the write when there is none.
    pub(super) fn write_next_line(
        &mut self,
        handle: Handle,
        ticket: Ticket,
        mut rest: Box<Remaining>,
        done: &mut Vec<Done>,
        fx: &mut Effects,
    ) {
        let Some((line, next)) = rest.lines.next() else {
            return self.end_lines(handle, ticket, &rest, fx);
        };
        let Ok(Peer { node, end, .. }) = self.peer(handle) else { return };
        let (node, end) = (*node, *end);
        if rest.done > 0 && rest.nonblocking && self.would_wait(node, end, rest.until == Until::Taken) {
            return fx.answer(ticket, Answer::Written(rest.done));
        }
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let lane = channel.outgoing(end);
        let (id, until) = (ticket.id(), rest.until);
        rest.next = next;
        let before = done.len();
        let place = lane.write(Waiter { handle, end, ticket, wish: Wish::Lines(rest) }, line, until, done);
        if done.len() == before {
            self.park(id, handle, Wait::Write(place), fx);
        }
    }

    /// All lines of a write are sent; what comes after the last newline waits for more.
    fn end_lines(&mut self, handle: Handle, ticket: Ticket, rest: &Remaining, fx: &mut Effects) {
        let (limit, store, tail) = (self.limits.message, self.store_of(handle), rest.lines.tail());
        let kept = tail.is_empty() || self.peer(handle).is_ok_and(|peer| peer.unsent.push(tail, limit, &store).is_ok());
        fx.answer(ticket, Answer::Written(if kept { rest.lines.total() } else { rest.done }));
    }

    fn is_topic(&self, node: NodeId) -> bool {
        self.tree.channel(node).is_ok_and(|channel| channel.kind() == Kind::Topic)
    }

    /// Whether a write would wait: for the slot, with O_SYNC for a reader, at a topic for the room of every reader.
    pub(super) fn would_wait(&self, node: NodeId, end: Option<usize>, sync: bool) -> bool {
        let Ok(node) = self.tree.node(node) else { return false };
        let Some((_, lane)) = node.body.channel().map(|channel| channel.view_of(end)) else { return false };
        let has_taker = match &node.body {
            Body::Topic(topic) => topic.full.is_empty(),
            _ => !sync || lane.has_reader(),
        };
        !lane.is_writable() || (!has_taker && !lane.is_broken())
    }
}

/// A writer's answer when it has to leave the line: `errno`, or the bytes of those lines that were sent.
pub(super) fn refuse(waiter: Waiter, errno: Errno, fx: &mut Effects) {
    match waiter.wish {
        Wish::Lines(rest) if rest.done > 0 => fx.answer(waiter.ticket, Answer::Written(rest.done)),
        _ => fx.fail(waiter.ticket, errno),
    }
}
