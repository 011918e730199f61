//! What the watcher's thread is to look for at a connection, and what it does then.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustix::event::epoll::EventFlags;

use super::Connection;
use crate::remote::carrier::Carrier;
use crate::watch::Watched;

/// What the watcher looks for.
#[derive(Default)]
pub(super) struct Armed {
    pub carrier: Option<Arc<dyn Carrier>>,
    pub events: EventFlags,
}

impl Connection {
    /// Somebody cannot read himself, until [`Lead::release`]. False where the watcher cannot either.
    pub(in crate::remote) fn depend(&self) -> bool {
        !self.lead.depend() || self.arm(EventFlags::IN)
    }

    /// As the leader leaves, or a follower: the watcher reads on where nobody else does.
    pub(in crate::remote) fn hand_to_watcher(&self, is_due: bool) {
        if is_due {
            self.arm(EventFlags::IN);
        }
    }

    /// Has the watcher look for these too. False where it cannot.
    pub(super) fn arm(&self, events: EventFlags) -> bool {
        let mut armed = self.armed();
        let Some(carrier) = &armed.carrier else { return true };
        if events.contains(EventFlags::IN) && carrier.holds_input() {
            self.set_recall();
        }
        let wanted = armed.events | events | EventFlags::RDHUP;
        if armed.events == wanted {
            return true;
        }
        let done = carrier.watch(self.watcher, self.number, wanted).is_ok();
        if done {
            armed.events = wanted;
        }
        done
    }

    /// The leader sees itself when the stream takes more.
    pub(in crate::remote) fn disarm(&self) {
        let mut armed = self.armed();
        if let Some(carrier) = &armed.carrier
            && armed.events.contains(EventFlags::OUT)
            && carrier.watch(self.watcher, self.number, EventFlags::RDHUP).is_ok()
        {
            armed.events = EventFlags::RDHUP;
        }
    }

    /// Has the watcher look for what it is to look for now.
    pub(in crate::remote) fn rearm(&self) {
        let mut events = EventFlags::RDHUP;
        if self.lead.is_for_watcher() {
            events |= EventFlags::IN;
        }
        if self.is_behind() {
            events |= EventFlags::OUT;
        }
        self.arm(events);
    }
}

impl Watched for Connection {
    fn attend(&self) {
        self.armed().events = EventFlags::empty();
        self.settle();
        self.pump();
        if self.table().channels.is_empty() {
            self.finish();
        }
        self.rearm();
    }
}
