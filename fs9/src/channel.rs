//! A channel of the mount: a queue of one lane, or a pair of two, and who is at its ends.

use fs9_tiers::channel::{Completion, Lane, Until};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use crate::message::Message;
use crate::ticket::Ticket;
use crate::tree::Attr;
use crate::view::Lines;

/// The number of an open descriptor.
pub type Handle = usize;

/// What stands in line at a lane.
#[derive(Debug)]
pub struct Waiter {
    /// The descriptor that reads or writes.
    pub handle: Handle,
    /// Which end of a pair it is.
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
}

impl Kind {
    /// The word for it in `status`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Queue { .. } => "queue",
            Kind::Pair => "pair",
        }
    }
}

/// An end of a pair.
#[derive(Debug, Default)]
struct End {
    /// Where it is not the pair's own. Rare, so a channel that has none is small.
    attr: Option<Box<Attr>>,
    state: Holding,
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
    /// A queue's one lane; of a pair the lane that each end writes.
    lanes: Box<[MountLane]>,
    ends: Option<Box<[End; 2]>>,
    /// Descriptors open on it.
    pub opens: usize,
    /// The process that left it last, and why, as far as that was asked.
    pub last_left: Option<(u32, Reason)>,
    /// Descriptors that poll it and want to be woken.
    pub watchers: Vec<Handle>,
}

/// The names of a pair's ends.
pub const ENDS: [&str; 2] = ["a", "b"];

impl Channel {
    /// A queue.
    pub fn queue(ack: bool) -> Channel {
        let lanes = Box::new([MountLane::new()]);
        Channel { kind: Kind::Queue { ack }, lanes, ends: None, opens: 0, last_left: None, watchers: Vec::new() }
    }

    /// A pair.
    pub fn pair() -> Channel {
        let lanes = Box::new([MountLane::new(), MountLane::new()]);
        Channel { kind: Kind::Pair, lanes, ends: Some(Box::default()), opens: 0, last_left: None, watchers: Vec::new() }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The lanes, with the end that writes each (None for a queue's).
    pub fn lanes(&self) -> impl Iterator<Item = (Option<&'static str>, &MountLane)> {
        let pair = self.ends.is_some();
        self.lanes.iter().enumerate().map(move |(index, lane)| (pair.then(|| ENDS[index & 1]), lane))
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

    /// Mode, owner and times of an end, where it has its own.
    pub fn end_attr(&self, end: usize) -> Option<Attr> {
        self.ends.as_ref().and_then(|ends| ends[end].attr.as_deref().copied())
    }

    /// Mode, owner and times of an end, to change: its own from now on, beginning with `attr`.
    pub fn end_attr_mut(&mut self, end: usize, attr: Attr) -> Option<&mut Attr> {
        self.ends.as_mut().map(|ends| &mut **ends[end].attr.get_or_insert_with(|| Box::new(attr)))
    }

    /// The ends that somebody left in this conversation, and why.
    pub fn left(&self) -> impl Iterator<Item = (&'static str, Reason)> {
        let ends = self.ends.iter().flat_map(|ends| ends.iter());
        ENDS.into_iter().zip(ends).filter_map(|(name, end)| match end.state {
            Holding::Gone(reason) => Some((name, reason)),
            _ => None,
        })
    }

    /// Somebody takes an end of a pair.
    ///
    /// An end that was left is free again only once the other is not held either: then a new conversation begins. If the
    /// other never came, what was sent to it is still there: two `echo` into one end before anybody opens the other
    /// lose nothing. (If it came, what it did not read was dropped when it left.)
    ///
    /// # Errors
    /// EBUSY when the end is held, or was left and the other end is still held.
    pub fn take(&mut self, end: usize) -> Result<(), Errno> {
        let Some(ends) = &mut self.ends else { return Ok(()) };
        match (ends[end].state, ends[1 - end].state) {
            (Holding::Free, _) => {}
            (Holding::Held, _) | (Holding::Gone(_), Holding::Held) => return Err(Errno::BUSY),
            (Holding::Gone(_), _) => {
                ends[1 - end].state = Holding::Free;
                self.lanes.iter_mut().for_each(MountLane::reopen);
            }
        }
        ends[end].state = Holding::Held;
        Ok(())
    }

    /// The holder of an end of a pair is gone: the other end reads what was sent and then the end, and writes to
    /// nobody. Nothing to do for a queue.
    pub fn leave(&mut self, end: Option<usize>, reason: Reason, out: &mut Vec<Done>) {
        if let (Some(end), Some(ends)) = (end, &mut self.ends) {
            ends[end].state = Holding::Gone(reason);
            self.outgoing(Some(end)).hang_up(reason, out);
            self.incoming(Some(end)).close(reason, out);
        }
    }

    /// Whether somebody holds an end of this pair.
    pub fn is_held(&self) -> bool {
        self.ends.iter().flat_map(|ends| ends.iter()).any(|end| end.state == Holding::Held)
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
