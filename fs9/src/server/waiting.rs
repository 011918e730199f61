//! Requests that wait: parked until a lane completes them or somebody ends the wait.

use std::time::SystemTime;

use fs9_tiers::channel::{Completion, Place};
use rustix::io::Errno;

use super::peer::Peer;
use super::write::refuse;
use super::{EARLY, Open, Server};
use crate::channel::{Done, Handle, Wish};
use crate::ticket::{Answer, Effects};
use crate::tree::{Attr, NodeId, shrink};

/// A request that waits.
#[derive(Debug)]
pub(super) struct Parked {
    pub handle: Handle,
    pub wait: Wait,
    pub since: SystemTime,
}

/// What a parked request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A message.
    Read(Place),
    /// The slot.
    Write(Place),
    /// An event.
    Event,
    /// A client.
    Client,
}

impl Wait {
    /// The word for it in `status`.
    pub fn word(self) -> &'static str {
        match self {
            Wait::Read(_) | Wait::Event => "read",
            Wait::Write(_) => "write",
            Wait::Client => "accept",
        }
    }
}

impl Server {
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

    pub(super) fn park(&mut self, id: u64, handle: Handle, wait: Wait, fx: &mut Effects) {
        self.parked.insert(id, Parked { handle, wait, since: SystemTime::now() });
        if let Some(Open::Peer(peer)) = self.open.get_mut(handle) {
            peer.parked += 1;
        }
        if self.take_early(id) {
            self.cancel(id, Errno::INTR, fx);
        }
    }

    pub(super) fn unpark(&mut self, id: u64) -> Option<Parked> {
        let parked = self.parked.remove(&id)?;
        shrink(&mut self.parked);
        if let Some(Open::Peer(peer)) = self.open.get_mut(parked.handle) {
            peer.parked -= 1;
        }
        Some(parked)
    }

    /// Answers what a lane has decided, and what that makes possible elsewhere; then whoever polls is woken.
    pub(super) fn finish(&mut self, node: NodeId, done: Vec<Done>, fx: &mut Effects) {
        self.complete_all(node, done, fx);
        self.pass_on(node, fx);
        self.wake_watchers(node, fx);
    }

    /// Answers what a lane has decided. What that makes possible (the next line of a write) is done too, until nothing
    /// more comes of it.
    pub(super) fn complete_all(&mut self, node: NodeId, mut done: Vec<Done>, fx: &mut Effects) {
        let mut more = Vec::new();
        loop {
            for completion in done.drain(..) {
                self.complete(node, completion, &mut more, fx);
            }
            if more.is_empty() {
                break;
            }
            std::mem::swap(&mut done, &mut more);
        }
        if done.capacity() <= 64 {
            self.spare = done;
        }
    }

    fn complete(&mut self, node: NodeId, completion: Done, done: &mut Vec<Done>, fx: &mut Effects) {
        let (Completion::Received(waiter, _)
        | Completion::End(waiter)
        | Completion::Lost(waiter)
        | Completion::Sent(waiter)
        | Completion::Broken(waiter, _)
        | Completion::Turn(waiter)) = &completion;
        self.unpark(waiter.ticket.id());
        match completion {
            Completion::Received(waiter, delivery) => {
                self.touch(node, |attr, now| attr.atime = now);
                self.hand_over(node, waiter, delivery, done, fx);
            }
            Completion::End(waiter) => fx.answer(waiter.ticket, Answer::End),
            Completion::Lost(waiter) => fx.fail(waiter.ticket, Errno::CONNRESET),
            Completion::Sent(waiter) => {
                self.touch(node, |attr, now| attr.mtime = now);
                match waiter.wish {
                    Wish::Write(len) => fx.answer(waiter.ticket, Answer::Written(len)),
                    Wish::Lines(mut rest) => {
                        rest.done = rest.next;
                        if let Ok(peer) = self.peer(waiter.handle) {
                            peer.unsent.clear();
                        }
                        self.write_next_line(waiter.handle, waiter.ticket, rest, done, fx);
                    }
                    // Neither brings a message that could be sent.
                    Wish::Read(_) | Wish::Begin(_) => {}
                }
            }
            Completion::Turn(waiter) => self.begin_view(node, waiter, fx),
            Completion::Broken(waiter, _message) => refuse(waiter, Errno::PIPE, fx),
        }
    }

    fn touch(&mut self, node: NodeId, set: impl FnOnce(&mut Attr, SystemTime)) {
        // A connection is not seen, but the service is.
        let seen = self.tree.node(node).map_or(node, |own| if own.name.is_empty() { own.parent } else { node });
        if let Ok(node) = self.tree.node_mut(seen) {
            set(&mut node.attr, SystemTime::now());
        }
    }

    /// Request `id` leaves the line, if it is in one, and fails with `errno`; lines of it that were sent are written.
    pub fn cancel(&mut self, id: u64, errno: Errno, fx: &mut Effects) {
        let Some(Parked { handle, wait, .. }) = self.unpark(id) else { return };
        if wait == Wait::Event {
            if let Some(index) = self.event_waiters.iter().position(|waiter| waiter.ticket.id() == id) {
                self.event_waiters.remove(index).into_iter().for_each(|waiter| fx.fail(waiter.ticket, errno));
            }
            return;
        }
        if wait == Wait::Client {
            return self.leave_line(handle, id).into_iter().for_each(|ticket| fx.fail(ticket, errno));
        }
        let Ok(Peer { node, end, interrupted, .. }) = self.peer(handle) else { return };
        *interrupted = true;
        let (node, end) = (*node, *end);
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let mut done = Vec::new();
        let waiter = match wait {
            Wait::Read(place) => channel.incoming(end).cancel(place, &mut done),
            Wait::Write(place) => channel.outgoing(end).cancel(place, &mut done),
            Wait::Event | Wait::Client => None,
        };
        waiter.into_iter().for_each(|waiter| refuse(waiter, errno, fx));
        self.finish(node, done, fx);
    }
}
