//! A channel of the mount: one lane or two, and who is at its ends.

use fs9_tiers::channel::{Completion, Lane, Until};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use crate::message::Message;
use crate::ticket::Ticket;
use crate::view::Lines;

/// The number of an open descriptor.
pub type Handle = usize;

/// What stands in line at a lane.
#[derive(Debug)]
pub struct Waiter {
    /// The descriptor that reads or writes.
    pub handle: Handle,
    /// Which end it is, where the channel has two.
    pub end: Option<usize>,
    /// Who is to be answered.
    pub ticket: Ticket,
    /// What is asked.
    pub wish: Wish,
}

/// What a waiter asks for.
#[derive(Debug)]
pub enum Wish {
    /// At most so many bytes of the next message.
    Read(usize),
    /// To be told that so many bytes are written.
    Write(usize),
    /// To write lines, one after the other.
    Lines(Box<Remaining>),
    /// To begin a view with these bytes, which are not yet a message.
    Begin(Message),
}

/// A write of lines in progress.
#[derive(Debug)]
pub struct Remaining {
    /// The lines that are not yet in line.
    pub lines: Lines,
    /// Bytes done when the line that now waits is sent.
    pub next: usize,
    /// Bytes done.
    pub done: usize,
    /// Stop rather than wait.
    pub nonblocking: bool,
    /// When each line is sent.
    pub until: Until,
}

/// The lane of a channel of the mount.
pub type MountLane = Lane<Message, Waiter>;
/// What becomes of a waiter.
pub type Done = Completion<Message, Waiter>;

/// What a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Each message to exactly one reader. With `ack` a reader keeps a message only by its next read or fsync(2).
    Queue {
        /// Made with `--ack`.
        ack: bool,
    },
    /// Two ends, duplex, one holder each.
    Pair,
    /// The same between a client and a server of a service.
    Connection,
    /// What the writers of a topic have sent and not every reader has room for.
    Topic,
    /// The copies of one reader of a topic.
    Copies,
    /// The ticks of one descriptor of a timer.
    Ticks,
}

impl Kind {
    /// The names of its two ends; None where it has one lane and no ends.
    pub fn ends(self) -> Option<[&'static str; 2]> {
        match self {
            Kind::Pair => Some(["a", "b"]),
            Kind::Connection => Some(["connect", "accept"]),
            Kind::Queue { .. } | Kind::Topic | Kind::Copies | Kind::Ticks => None,
        }
    }

    /// Whether a reader has its messages for itself alone, so that what it leaves behind is for nobody else.
    pub fn is_private(self) -> bool {
        !matches!(self, Kind::Queue { .. })
    }
}

/// Who is at an end of a pair, in the conversation that is going on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Nobody has been yet.
    #[default]
    Free,
    /// Somebody is.
    Held,
    /// Somebody was.
    Gone(Reason),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Channel {
    kind: Kind,
    /// The one lane; of a channel with two ends the lane that each end writes.
    lanes: Box<[MountLane]>,
    ends: [Holding; 2],
    /// Descriptors open on it. A connection that waits in a backlog counts as open there.
    pub opens: usize,
    /// The process that left it last, and why, as far as that was asked.
    pub last_left: Option<(u32, Reason)>,
    /// Descriptors that poll it and want to be woken.
    pub watchers: Vec<Handle>,
    /// It is to be taken away once whoever comes next has left.
    pub retired: bool,
}

impl Channel {
    /// A channel with nobody at it.
    pub fn new(kind: Kind) -> Channel {
        let lanes = (0..if kind.ends().is_some() { 2 } else { 1 }).map(|_| MountLane::new()).collect();
        Channel {
            kind,
            lanes,
            ends: Default::default(),
            opens: 0,
            last_left: None,
            watchers: Vec::new(),
            retired: false,
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The lanes, with the end that writes each (None where there are no ends).
    pub fn lanes(&self) -> impl Iterator<Item = (Option<&'static str>, &MountLane)> {
        let ends = self.kind.ends();
        self.lanes.iter().enumerate().map(move |(index, lane)| (ends.map(|ends| ends[index & 1]), lane))
    }

    /// The lane that `end` reads.
    pub fn incoming(&mut self, end: Option<usize>) -> &mut MountLane {
        &mut self.lanes[Channel::lane_read_by(end)]
    }

    /// The lane that `end` writes.
    pub fn outgoing(&mut self, end: Option<usize>) -> &mut MountLane {
        &mut self.lanes[end.unwrap_or(0)]
    }

    /// Both lanes as `end` sees them: what it reads, what it writes.
    pub fn view_of(&self, end: Option<usize>) -> (&MountLane, &MountLane) {
        (&self.lanes[Channel::lane_read_by(end)], &self.lanes[end.unwrap_or(0)])
    }

    fn lane_read_by(end: Option<usize>) -> usize {
        end.map_or(0, |end| 1 - end)
    }

    /// The ends that somebody left in this conversation, and why.
    pub fn left(&self) -> impl Iterator<Item = (&'static str, Reason)> {
        let names = self.kind.ends().into_iter().flatten();
        names.zip(self.ends).filter_map(|(name, end)| match end {
            Holding::Gone(reason) => Some((name, reason)),
            _ => None,
        })
    }

    /// Somebody takes an end. Where there are none, anybody may come.
    ///
    /// An end that was left is free again only once the other is not held either: then a new conversation begins. If
    /// the other never came, what was sent to it is still there: two `echo` into one end before anybody opens the other
    /// lose nothing. (If it came, what it did not read was dropped when it left.)
    ///
    /// # Errors
    /// EBUSY when the end is held, or was left and the other end is still held.
    pub fn take(&mut self, end: usize) -> Result<(), Errno> {
        if self.kind.ends().is_none() {
            return Ok(());
        }
        let ends = &mut self.ends;
        match (ends[end], ends[1 - end]) {
            (Holding::Free, _) => {}
            (Holding::Held, _) | (Holding::Gone(_), Holding::Held) => return Err(Errno::BUSY),
            (Holding::Gone(_), _) => {
                ends[1 - end] = Holding::Free;
                self.lanes.iter_mut().for_each(MountLane::reopen);
            }
        }
        ends[end] = Holding::Held;
        Ok(())
    }

    /// The holder of an end is gone: the other end reads what was sent and then the end, and writes to nobody. A reader
    /// that had its messages for itself leaves nobody to read them. Nothing to do for a queue.
    pub fn leave(&mut self, end: Option<usize>, reason: Reason, out: &mut Vec<Done>) {
        match (end, self.kind) {
            (Some(end), _) => {
                self.ends[end] = Holding::Gone(reason);
                self.outgoing(Some(end)).hang_up(reason, out);
                self.incoming(Some(end)).close(reason, out);
            }
            (None, Kind::Copies | Kind::Ticks) => self.incoming(None).close(reason, out),
            (None, _) => {}
        }
    }

    /// Whether somebody holds an end.
    pub fn is_held(&self) -> bool {
        self.ends.contains(&Holding::Held)
    }

    /// Everybody is hung up for `reason`: readers take what is in the slot and come to the end.
    pub fn hang_up(&mut self, reason: Reason, out: &mut Vec<Done>) {
        for lane in &mut self.lanes {
            lane.hang_up(reason, out);
        }
    }

    /// Takes everything out that waits, to be dropped and so answered.
    pub fn abandon(&mut self) -> Box<[MountLane]> {
        let fresh = self.lanes.iter().map(|_| MountLane::new()).collect();
        std::mem::replace(&mut self.lanes, fresh)
    }
}
