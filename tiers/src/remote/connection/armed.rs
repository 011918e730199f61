//! What the watcher's thread is to look for at a connection, and what it does then.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustix::event::epoll::EventFlags;

use super::Connection;
use crate::remote::socket::Socket;
use crate::watch::Watched;

/// What the watcher looks for.
#[derive(Default)]
pub(super) struct Armed {
    pub socket: Option<Arc<Socket>>,
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
        let wanted = armed.events | events | EventFlags::RDHUP;
        if armed.events == wanted {
            return true;
        }
        let Some(socket) = &armed.socket else { return true };
        let done = self.watcher.watch_once(self.number, &**socket, wanted).is_ok();
        if done {
            armed.events = wanted;
        }
        done
    }

    /// The leader sees itself when the socket takes more.
    pub(in crate::remote) fn disarm(&self) {
        let mut armed = self.armed();
        if let Some(socket) = &armed.socket
            && armed.events.contains(EventFlags::OUT)
            && self.watcher.watch_once(self.number, &**socket, EventFlags::RDHUP).is_ok()
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
