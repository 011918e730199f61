//! Descriptors of `events`: who listens, and telling them.

use rustix::io::Errno;

use super::waiting::Wait;
use super::{Open, Server, ready};
use crate::channel::Handle;
use crate::events::Event;
use crate::message::Message;
use crate::ticket::{Answer, Effects, Ticket, Watcher};
use crate::tree::File;

/// A descriptor of `events`.
#[derive(Debug)]
pub(super) struct EventReader {
    pub cursor: u64,
    /// A line that a short read left the rest of.
    pub rest: Option<(Message, usize)>,
    pub watch: Option<Watcher>,
}

/// Somebody who waits for an event.
#[derive(Debug)]
pub(super) struct EventWaiter {
    pub handle: Handle,
    pub ticket: Ticket,
    pub size: usize,
}

impl Server {
    pub(super) fn read_event(
        &mut self,
        handle: Handle,
        size: usize,
        nonblocking: bool,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        let Some(Open::Events(reader)) = self.open.get_mut(handle) else { return };
        let next =
            reader.rest.take().or_else(|| self.events.next(&mut reader.cursor, &self.store).map(|line| (line, 0)));
        match next {
            Some((line, from)) => {
                let to = from.saturating_add(size).min(line.len());
                reader.rest = (to < line.len()).then(|| (line.clone(), to));
                fx.answer(ticket, Answer::Data(line, from..to));
            }
            None if nonblocking => fx.fail(ticket, Errno::AGAIN),
            None => {
                let id = ticket.id();
                self.event_waiters.push_back(EventWaiter { handle, ticket, size });
                self.park(id, handle, Wait::Event, fx);
            }
        }
    }

    /// Tells whoever reads `events`. `file` gives the event its name, and its end.
    pub(super) fn report(&mut self, event: Event<'_>, file: File, fx: &mut Effects) {
        if self.event_readers.is_empty() {
            return;
        }
        let path = self.tree.path_of(file);
        let end = self.tree.end_name(file);
        self.announce(Event { name: &path, end, ..event }, fx);
    }

    /// Tells whoever reads `events` of what has its name with it.
    pub(super) fn announce(&mut self, event: Event<'_>, fx: &mut Effects) {
        if self.event_readers.is_empty() {
            return;
        }
        self.events.push(event, &self.store);
        for waiter in std::mem::take(&mut self.event_waiters) {
            self.unpark(waiter.ticket.id());
            self.read_event(waiter.handle, waiter.size, false, waiter.ticket, fx);
        }
        for handle in &self.event_readers {
            if let Some(Open::Events(reader)) = self.open.get_mut(*handle)
                && let Some(watch) = reader.watch.take()
            {
                fx.wake(watch, ready::IN);
            }
        }
    }
}
