//! Timers tick.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Answered, Flags, Open, Server, ready};
use crate::channel::{Handle, Kind};
use crate::ticket::Effects;
use crate::tree::{Attr, NodeId, TIMERS};

impl Server {
    /// A new reader of a timer. Returns the channel of its ticks.
    ///
    /// # Errors
    /// EACCES for one that writes.
    pub(super) fn begin_ticks(&mut self, period: Duration, flags: Flags) -> Answered<NodeId> {
        if flags.write {
            return Err(Errno::ACCESS);
        }
        let Attr { uid, gid, .. } = self.tree.node(TIMERS)?.attr;
        let node = self.tree.make_unlisted(TIMERS, Attr::new(0, uid, gid), Kind::Ticks);
        self.timers.begin(node, period, Instant::now());
        Ok(node)
    }

    /// Somebody asks for a tick. If the period is over there is one; it takes the place of one that was not read.
    pub(super) fn make_tick(&mut self, node: NodeId, fx: &mut Effects) {
        let Some(passed) = self.timers.make(node, Instant::now()) else { return };
        let message = self.store.copy(format!("{passed}\n").as_bytes());
        let (Some(message), Ok(channel)) = (message, self.tree.channel_mut(node)) else { return };
        let mut done = Vec::new();
        channel.outgoing(None).overtake(message, &mut done);
        self.finish(node, done, fx);
    }

    /// Somebody waits for the next tick.
    pub(super) fn expect_tick(&mut self, node: NodeId) {
        if let Some(at) = self.timers.expect(node)
            && self.timers.next() == Some(at)
        {
            self.host.alarm(at);
        }
    }

    /// Makes the ticks that are due and waited for. To be called when [`Host::alarm`](crate::host::Host::alarm) said.
    pub fn tick(&mut self, fx: &mut Effects) {
        let now = Instant::now(); // what becomes due meanwhile is for the next time: others want the server too
        while let Some(node) = self.timers.pop(now) {
            self.make_tick(node, fx);
            if self.is_awaited(node) {
                self.expect_tick(node);
            }
        }
        self.timers.next().into_iter().for_each(|at| self.host.alarm(at));
    }

    /// Whether somebody still waits for a tick. Who polls for something else would have ticks made for ever.
    fn is_awaited(&self, node: NodeId) -> bool {
        let Ok(channel) = self.tree.channel(node) else { return false };
        let polls = |handle: &Handle| match self.open.get(*handle) {
            Some(Open::Peer(peer)) => peer.watch.as_ref().is_some_and(|watch| watch.interest & ready::IN != 0),
            _ => false,
        };
        channel.view_of(None).0.has_reader() || channel.watchers.iter().any(polls)
    }
}
