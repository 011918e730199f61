//! Polling a peer: what is ready now, and who is to be woken when something becomes so.

use super::{Answered, Server, ready};
use crate::channel::Handle;
use crate::ticket::{Effects, Watcher};
use crate::tree::NodeId;
use crate::view::View;

impl Server {
    pub(super) fn poll_peer(
        &mut self,
        handle: Handle,
        interest: u32,
        watch: Option<Watcher>,
        fx: &mut Effects,
    ) -> Answered<u32> {
        if !self.peer(handle)?.bound && !self.bind_next(handle, fx) {
            return self.poll_unbound(handle, interest, watch);
        }
        let node = self.peer(handle)?.node;
        self.make_tick(node, fx);
        let now = self.readiness(handle)?;
        let Some(watcher) = watch else { return Ok(now) };
        if self.peer(handle)?.watch_for(watcher, interest) {
            self.tree.channel_mut(node)?.watchers.push(handle);
        }
        self.expect_tick(node);
        Ok(now)
    }

    fn readiness(&mut self, handle: Handle) -> Answered<u32> {
        let peer = self.peer(handle)?;
        let (node, end, flags) = (peer.node, peer.end, peer.flags);
        let in_hand = peer.had_whole || peer.has_rest();
        let begun = peer.view == View::Whole && !peer.unsent.is_empty();
        let waits = self.would_wait(node, end, flags.sync);
        let (incoming, _) = self.tree.channel(node)?.view_of(end);
        let mut now = 0;
        if flags.read && (in_hand || incoming.is_readable()) {
            now |= ready::IN;
        }
        // With O_SYNC a write waits for a reader; one that adds to a whole that has begun waits for nothing.
        if flags.write && (begun || !waits) {
            now |= ready::OUT;
        }
        if let Some(reason) = incoming.ended() {
            now |= if reason.is_loss() { ready::HUP | ready::ERR } else { ready::HUP };
        }
        Ok(now)
    }

    pub(super) fn wake_watchers(&mut self, node: NodeId, fx: &mut Effects) {
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        if channel.watchers.is_empty() {
            return;
        }
        let watchers = std::mem::take(&mut channel.watchers);
        let mut asleep = Vec::new();
        for handle in watchers {
            let now = self.readiness(handle).unwrap_or(0);
            let Ok(peer) = self.peer(handle) else { continue };
            let Some(watch) = peer.watch.take_if(|watch| now & (watch.interest | ready::ERR | ready::HUP) != 0) else {
                asleep.extend(peer.watch.is_some().then_some(handle));
                continue;
            };
            fx.wake(watch.watcher, now);
        }
        if let Ok(channel) = self.tree.channel_mut(node) {
            channel.watchers = asleep;
        }
    }
}
