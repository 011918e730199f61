//! Reading from a peer: one message, or the rest of one.

use fs9_tiers::channel::Delivery;
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::peer::{Held, Peer};
use super::waiting::Wait;
use super::{Answered, Server};
use crate::channel::{Done, Handle, Waiter, Wish};
use crate::message::Message;
use crate::ticket::{Answer, Effects, Ticket};
use crate::tree::NodeId;
use crate::view::{View, as_line};

impl Server {
    pub(super) fn read_peer(
        &mut self,
        handle: Handle,
        size: usize,
        nonblocking: bool,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        match self.peer(handle) {
            Ok(Peer { bound: false, .. }) => return self.read_unbound(handle, size, nonblocking, ticket, fx),
            Ok(Peer { node, .. }) => {
                let node = *node;
                self.make_tick(node, fx);
            }
            Err(errno) => return fx.fail(ticket, errno),
        }
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
        let lane = self.tree.channel_mut(node)?.incoming(end);
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
        let waiter = Waiter { handle, end, ticket, wish: Wish::Read(size) };
        let place = channel.incoming(end).read(waiter, &mut done);
        if done.is_empty() {
            self.park(id, handle, Wait::Read(place), fx);
            self.expect_tick(node);
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
            channel.incoming(end).acknowledge(delivery);
        }
    }

    pub(super) fn hand_over(
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
                channel.incoming(waiter.end).give_back(delivery, Reason::Closed, done);
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
            channel.incoming(end).acknowledge(delivery);
        }
        if shared {
            self.feed_others(waiter.handle, done, fx);
        }
    }

    /// Others (threads, forks) wait to read from the same descriptor: what one of them left of a message is for the
    /// next, and after the one message of the whole view comes its end.
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
            let Some(Waiter { ticket, wish: Wish::Read(size), .. }) = channel.incoming(end).cancel(place, done) else {
                return;
            };
            let rest = self.peer(handle).ok().and_then(|peer| peer.read_on(size));
            fx.answer(ticket, rest.unwrap_or(Answer::End));
        }
    }
}
