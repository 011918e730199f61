//! One half of an end, as it is looked at for one operation: a slot as between threads, and whoever waits for it reads
//! the connection, see [`Lead`](super::lead::Lead).
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use rustix::event::PollFlags;

use super::carrier::Patience;
use super::channel::Channel;
use super::connection::{Connection, Read};
use crate::error::Reason;
use crate::futex;
use crate::slot::{Asleep, Attempt, Deadline, End, Role, Stop, Turn, Watch};

/// One direction of a channel.
#[derive(Clone, Copy)]
pub(crate) struct RemoteEnd<'a> {
    channel: &'a Arc<Channel>,
    role: Role,
}

/// The place of the leader. Dropped, somebody else leads or the watcher reads.
struct Leading<'a>(&'a Connection);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let is_due = self.0.lead.leave();
        self.0.hand_to_watcher(is_due);
        if self.0.is_behind() {
            self.0.rearm();
        }
    }
}

/// A thread that sleeps while another one leads.
struct Following<'a>(&'a Connection);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let is_due = self.0.lead.unfollow();
        self.0.hand_to_watcher(is_due);
    }
}

/// Something that waits and cannot read: the watcher reads while nobody leads.
pub(crate) struct Depending<'a>(&'a Connection);

impl Drop for Depending<'_> {
    fn drop(&mut self) {
        self.0.lead.release();
    }
}

impl<'a> RemoteEnd<'a> {
    pub fn new(channel: &'a Arc<Channel>, role: Role) -> Self {
        RemoteEnd { channel, role }
    }

    fn connection(self) -> &'a Connection {
        self.channel.connection()
    }

    /// The slot, for one who sleeps on what [`RemoteEnd::look`] said.
    pub fn slot(self) -> End<'a> {
        self.channel.end(self.role)
    }

    /// A turn, if there is one now.
    pub fn attempt(self) -> Result<Option<Turn<'a>>, Stop> {
        if let Attempt::Turn(turn) = self.slot().attempt() {
            return Ok(Some(turn));
        }
        self.refresh();
        match self.slot().attempt() {
            Attempt::Turn(turn) => Ok(Some(turn)),
            Attempt::Stopped(stop) => Err(stop),
            Attempt::Wait(_) => Ok(None),
        }
    }

    /// Tells the far side what it does not know yet, and hears what it has said.
    fn refresh(self) {
        self.connection().settle();
        self.connection().pump();
    }

    /// Hears whether the far half has left, before something is sent to it.
    pub fn hear(self) {
        self.connection().pump();
    }

    /// Why there will be no turn any more.
    pub fn stopped(self) -> Option<Stop> {
        self.refresh();
        self.slot().stopped()
    }

    /// Waits for a turn until the deadline. None when it has passed.
    #[inline]
    pub fn wait(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        match self.slot().attempt() {
            Attempt::Turn(turn) => Ok(Some(turn)),
            Attempt::Stopped(stop) => Err(stop),
            Attempt::Wait(_) if deadline == Deadline::Now => self.attempt(),
            Attempt::Wait(_) => self.wait_long(deadline),
        }
    }

    fn wait_long(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        self.connection().settle();
        // Once it is there it stays, until this thread has what it waits for.
        let mut leading = None;
        let mut has_read = false;
        loop {
            let watch = match self.slot().attempt() {
                Attempt::Turn(turn) => return Ok(Some(turn)),
                Attempt::Stopped(stop) => return Err(stop),
                Attempt::Wait(watch) => watch,
            };
            if let Deadline::At(end) = deadline
                && end <= Instant::now()
            {
                // A deadline that has passed is a look, too.
                return if has_read { Ok(None) } else { self.attempt() };
            }
            if watch.is_for_turn(self.slot()) {
                // What another thread of this side has, no connection brings.
                leading = None;
                self.sleep(&watch, deadline);
                continue;
            }
            if leading.is_none() && self.connection().lead.take() {
                leading = Some(Leading(self.connection()));
            }
            match leading {
                Some(_) => {
                    self.read(&watch, deadline);
                    has_read = true;
                }
                None => self.follow(&watch, deadline),
            }
        }
    }

    /// Reads once, as the leader.
    fn read(self, watch: &Watch<'a>, deadline: Deadline) {
        let connection = self.connection();
        let is_alone = deadline == Deadline::Never && !connection.is_behind();
        let patience = if is_alone { Patience::Endless } else { Patience::None };
        let turnover = connection.turnover();
        let receives = (is_alone && self.role == Role::Receiver).then_some(&**self.channel);
        match connection.read(patience, receives, || watch.has_changed()) {
            Read::Something => {}
            Read::Nothing => self.wait_for_carrier(deadline),
            Read::Down => {
                if !connection.is_over() {
                    self.sleep(&watch.and(turnover), deadline);
                }
            }
        }
    }

    /// Until there is something to read, or room to write what was left over.
    fn wait_for_carrier(self, deadline: Deadline) {
        let connection = self.connection();
        let Some(carrier) = connection.carrier() else { return };
        let mut events = PollFlags::IN;
        if connection.is_behind() {
            connection.disarm();
            events |= PollFlags::OUT;
        }
        match carrier.wait(events, deadline) {
            Ok(ready) if ready.contains(PollFlags::OUT) => connection.settle(),
            Ok(_) | Err(_) => {}
        }
    }

    /// Sleeps until there is something for this half, or nobody leads.
    fn follow(self, watch: &Watch<'a>, deadline: Deadline) {
        self.connection().lead.follow();
        let _following = Following(self.connection());
        self.sleep(&watch.and(self.connection().lead.word()), deadline);
    }

    fn sleep(self, watch: &Watch<'_>, deadline: Deadline) {
        let until = match deadline {
            Deadline::At(end) => Some(end),
            Deadline::Now | Deadline::Never => None,
        };
        let _asleep = Asleep::new(self.slot());
        futex::wait(watch, until);
    }

    /// What a [`Select`](crate::Select) is to watch; None where there is no need to wait.
    pub fn look(self) -> Option<Watch<'a>> {
        self.refresh();
        self.slot().look()
    }

    /// Has the watcher read while nobody else does. None where it cannot.
    pub fn depend(self) -> Option<Depending<'a>> {
        let can = self.connection().depend();
        let depending = Depending(self.connection());
        can.then_some(depending)
    }

    /// Has `waker` called when an attempt is worth while again. The caller makes another attempt after this.
    ///
    /// # Errors
    /// Where nobody could ever call it.
    pub fn register(self, ticket: &mut Option<u64>, waker: &Waker) -> Result<(), Stop> {
        let is_new = ticket.is_none();
        self.slot().register(ticket, waker);
        if is_new && !self.connection().depend() {
            return Err(Stop::Closed(Reason::Unreachable));
        }
        Ok(())
    }

    /// The task does not wait any more.
    pub fn unregister(self, ticket: u64) {
        self.slot().unregister(ticket);
        self.connection().lead.release();
    }
}
