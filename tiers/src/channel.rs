//! One direction of a channel: a slot for one message, and the two lines of parties that wait at it.
//!
//! A channel is one lane (a queue) or two (a pair, a connection). A [`Lane`] never waits, does no I/O and knows no
//! clock and no transport. Parties are tickets: a reader joins the line of readers, a writer the line of writers with
//! its message, and `settle` alone, the one place where messages meet, pairs the two lines. What it decides is handed
//! out as [`Completion`]s, to be answered after the caller's lock is released. Everything that waits ends through
//! `settle`, [`Lane::cancel`], [`Lane::hang_up`] or [`Lane::close`]; a lane that is dropped drops its tickets, which is
//! why a ticket should answer when it is dropped.
//!
//! Invariants, after every call:
//!
//! - Nobody waits for what is there: readers wait only while there is no message, and a writer that waits for the slot
//!   waits only while the slot is full or others are ahead.
//! - The ledger: sent = received + dropped + in the slot + held.
//! - The slot holds at most one message that came by `write`. It holds more only when readers died and gave theirs
//!   back, or when a writer that was already gone left one by `commit`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::error::Reason;

/// Where a waiting party stands in line; names it for [`Lane::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u64);

/// When a write is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The message is in the slot.
    Placed,
    /// A reader has taken it (O_SYNC): until then it stays with its writer, so an interrupted write has sent nothing.
    Taken,
}

/// A message in a reader's hands, to be settled with [`Lane::acknowledge`], [`Lane::give_back`] or [`Lane::discard`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a delivery that is not settled stays in the ledger as held"]
pub struct Delivery<M> {
    /// What was sent.
    pub message: M,
    order: u64,
}

/// What became of a party in line.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "somebody waits for this answer"]
pub enum Completion<M, T> {
    /// The reader has a message.
    Received(T, Delivery<M>),
    /// The reader has come to the end: there are no more messages, and no writers.
    End(T),
    /// The writers were lost. Told once; every later read comes to the end.
    Lost(T),
    /// The writer's message is where it should be, see [`Until`].
    Sent(T),
    /// The other end is gone and the writer has its message back: nothing was sent.
    Broken(T, M),
    /// The slot is free and it is this one's turn; or the other end is gone, see [`Lane::is_broken`].
    Turn(T),
}

/// What a lane has done with the messages it was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Messages that entered the lane.
    pub sent: u64,
    /// Messages that a reader took and kept.
    pub received: u64,
    /// How often a message was given back by a reader that died; each counts once more when it is delivered again.
    pub redelivered: u64,
    /// Messages in the slot.
    pub slot: u64,
    /// Messages in a reader's hands.
    pub held: u64,
    /// Messages that nobody received because a newer one took their place, see [`Lane::overtake`].
    pub missed: u64,
    dropped: [u64; Reason::KINDS],
}

impl Ledger {
    /// Messages that nobody will receive, by the kind of the reason ("killed", 2), those of zero left out.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let reasons = Reason::all().into_iter().map(|r| (r.kind(), self.dropped[r.index()]));
        reasons.chain([("missed", self.missed)]).filter(|(_, count)| *count > 0)
    }

    /// Whether every message that was sent is accounted for.
    pub fn balances(&self) -> bool {
        self.sent == self.received + self.missed + self.dropped.iter().sum::<u64>() + self.slot + self.held
    }

    /// Adds the account of another lane to this one.
    pub fn add(&mut self, other: &Ledger) {
        self.sent += other.sent;
        self.received += other.received;
        self.redelivered += other.redelivered;
        self.slot += other.slot;
        self.held += other.held;
        self.missed += other.missed;
        self.dropped.iter_mut().zip(other.dropped).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// The lane is no more: what was in its slot, or in somebody's hands, is dropped for `reason`.
    pub fn close(&mut self, reason: Reason) {
        self.dropped[reason.index()] += std::mem::take(&mut self.slot) + std::mem::take(&mut self.held);
    }
}

#[derive(Debug)]
struct Reader<T> {
    place: Place,
    ticket: T,
}

#[derive(Debug)]
struct Writer<M, T> {
    place: Place,
    ticket: T,
    offer: Offer<M>,
}

/// What a writer in line has to offer.
#[derive(Debug)]
enum Offer<M> {
    Message(M, Until),
    /// Nothing yet: it wants to know when it could.
    Turn,
}

/// One direction of a channel, see the [module](self).
#[derive(Debug)]
pub struct Lane<M, T> {
    slot: VecDeque<Delivery<M>>,
    readers: VecDeque<Reader<T>>,
    writers: VecDeque<Writer<M, T>>,
    /// The writing side is gone: readers take what is there and then come to the end.
    hung_up: Option<Reason>,
    /// The reading side is gone: writes are broken.
    closed: bool,
    /// A loss that no reader was told of yet.
    loss_untold: bool,
    next_place: u64,
    next_order: u64,
    received: u64,
    redelivered: u64,
    held: u64,
    missed: u64,
    dropped: [u64; Reason::KINDS],
}

impl<M, T> Default for Lane<M, T> {
    fn default() -> Self {
        Lane {
            slot: VecDeque::new(),
            readers: VecDeque::new(),
            writers: VecDeque::new(),
            hung_up: None,
            closed: false,
            loss_untold: false,
            next_place: 0,
            next_order: 0,
            received: 0,
            redelivered: 0,
            held: 0,
            missed: 0,
            dropped: [0; Reason::KINDS],
        }
    }
}

impl<M, T> Lane<M, T> {
    /// An empty lane with both sides there.
    pub fn new() -> Self {
        Self::default()
    }

    /// `reader` asks for one message and stands in line for it; when it need not wait its completion is in `out`.
    pub fn read(&mut self, reader: T, out: &mut Vec<Completion<M, T>>) -> Place {
        let place = self.place();
        self.readers.push_back(Reader { place, ticket: reader });
        self.settle(out);
        place
    }

    /// `writer` offers `message` and stands in line for the slot; when it need not wait its completion is in `out`.
    pub fn write(&mut self, writer: T, message: M, until: Until, out: &mut Vec<Completion<M, T>>) -> Place {
        let place = self.place();
        if self.is_broken() {
            out.push(Completion::Broken(writer, message));
        } else {
            self.writers.push_back(Writer { place, ticket: writer, offer: Offer::Message(message, until) });
            self.settle(out);
        }
        place
    }

    /// `writer` stands in line for the slot with nothing to put into it: it will gather a message and leave it by
    /// [`Lane::commit`]. When it need not wait its completion is in `out`.
    pub fn wait_turn(&mut self, writer: T, out: &mut Vec<Completion<M, T>>) -> Place {
        let place = self.place();
        if self.is_broken() {
            out.push(Completion::Turn(writer));
        } else {
            self.writers.push_back(Writer { place, ticket: writer, offer: Offer::Turn });
            self.settle(out);
        }
        place
    }

    /// Takes the last message of a writer that is gone and cannot wait: it goes behind what is in the slot. Returns
    /// it when nobody will ever read it.
    pub fn commit(&mut self, message: M, out: &mut Vec<Completion<M, T>>) -> Option<M> {
        if self.is_broken() {
            return Some(message);
        }
        let delivery = self.enter(message);
        self.slot.push_back(delivery);
        self.settle(out);
        None
    }

    /// The newest message takes the place of one that nobody has taken yet, which is missed. Returns it when nobody
    /// will ever read it.
    pub fn overtake(&mut self, message: M, out: &mut Vec<Completion<M, T>>) -> Option<M> {
        if !self.is_broken() {
            self.missed += self.slot.len() as u64;
            self.slot.clear();
        }
        self.commit(message, out)
    }

    /// Takes the next message at once, for somebody who passes it on and need not wait: it counts as received. None
    /// when there is none.
    pub fn pop(&mut self, out: &mut Vec<Completion<M, T>>) -> Option<M> {
        let (delivery, writer) = self.next_message()?;
        self.received += 1;
        out.extend(writer.map(Completion::Sent));
        self.settle(out);
        Some(delivery.message)
    }

    /// The party at `place` leaves the line: nothing was sent, nothing was consumed. None when it is not in line (any
    /// more): it has its completion.
    pub fn cancel(&mut self, place: Place, out: &mut Vec<Completion<M, T>>) -> Option<T> {
        if let Ok(index) = self.readers.binary_search_by_key(&place, |r| r.place) {
            return self.readers.remove(index).map(|r| r.ticket);
        }
        let index = self.writers.binary_search_by_key(&place, |w| w.place).ok()?;
        let ticket = self.writers.remove(index).map(|w| w.ticket);
        // The one who left may have held up the line: it waited for a reader, the next only waits for the slot.
        self.settle(out);
        ticket
    }

    /// The writing side is gone. Writers in line are broken; readers take what is in the slot and then come to the end.
    /// Of several hang-ups the first stands: a reader that has come to the end stays there.
    pub fn hang_up(&mut self, reason: Reason, out: &mut Vec<Completion<M, T>>) {
        self.break_writers(out);
        if self.hung_up.is_none() {
            self.loss_untold = reason.is_loss();
            self.hung_up = Some(reason);
        }
        self.settle(out);
    }

    /// The reading side is gone for `reason`. Writers in line are broken, what is in the slot is dropped.
    pub fn close(&mut self, reason: Reason, out: &mut Vec<Completion<M, T>>) {
        self.closed = true;
        self.break_writers(out);
        self.dropped[reason.index()] += self.slot.len() as u64;
        self.slot = VecDeque::new();
    }

    /// Both sides may be there again. What is in the slot stays.
    pub fn reopen(&mut self) {
        self.hung_up = None;
        self.closed = false;
        self.loss_untold = false;
    }

    /// The reader has done with its message.
    pub fn acknowledge(&mut self, delivery: Delivery<M>) -> M {
        self.held -= 1;
        self.received += 1;
        delivery.message
    }

    /// The reader died on its message: it is the next one delivered, or after those that were sent before it. Where
    /// the reading side is gone it is dropped for `reason`.
    pub fn give_back(&mut self, delivery: Delivery<M>, reason: Reason, out: &mut Vec<Completion<M, T>>) {
        if self.closed {
            self.discard(delivery, reason);
            return;
        }
        self.held -= 1;
        self.redelivered += 1;
        let index = self.slot.partition_point(|d| d.order < delivery.order);
        self.slot.insert(index, delivery);
        self.settle(out);
    }

    /// The reader died on its message, and nobody else may have it.
    pub fn discard(&mut self, delivery: Delivery<M>, reason: Reason) -> M {
        self.held -= 1;
        self.dropped[reason.index()] += 1;
        delivery.message
    }

    /// Whether a read would not wait: there is a message, or the end.
    pub fn is_readable(&self) -> bool {
        self.has_message() || self.hung_up.is_some()
    }

    /// Whether a write would not wait: the slot is free and nobody is in line for it, or the other end is gone. Such a
    /// write may still be `Until::Taken` and wait for a reader.
    pub fn is_writable(&self) -> bool {
        (self.slot.is_empty() && self.writers.is_empty()) || self.is_broken()
    }

    /// Whether a reader waits, so that a write is taken at once.
    pub fn has_reader(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Whether a message is here to take, so that a read is served at once with one. (Nobody waits for a turn at a free
    /// slot, so a first writer at a free slot has a message.)
    pub fn has_message(&self) -> bool {
        !self.slot.is_empty() || !self.writers.is_empty()
    }

    /// Whether nothing written will ever be read.
    pub fn is_broken(&self) -> bool {
        self.closed || self.hung_up.is_some()
    }

    /// Why the writing side is gone, if it is.
    pub fn ended(&self) -> Option<Reason> {
        self.hung_up
    }

    /// Whether a reader must still be told that the writing side was lost.
    pub fn is_loss_untold(&self) -> bool {
        self.loss_untold
    }

    /// How many readers and writers are in line.
    pub fn waiting(&self) -> (usize, usize) {
        (self.readers.len(), self.writers.len())
    }

    /// What became of all messages so far.
    pub fn ledger(&self) -> Ledger {
        Ledger {
            sent: self.next_order,
            received: self.received,
            redelivered: self.redelivered,
            slot: self.slot.len() as u64,
            held: self.held,
            missed: self.missed,
            dropped: self.dropped,
        }
    }

    fn place(&mut self) -> Place {
        self.next_place += 1;
        Place(self.next_place)
    }

    /// The one point where a message is counted as sent.
    fn enter(&mut self, message: M) -> Delivery<M> {
        self.next_order += 1;
        Delivery { message, order: self.next_order }
    }

    /// Pairs readers with messages and fills the slot, until nobody waits for what is there.
    fn settle(&mut self, out: &mut Vec<Completion<M, T>>) {
        self.give_turns(out);
        while !self.readers.is_empty() && self.has_message() {
            self.deliver(out);
        }
        if self.readers.is_empty() {
            self.fill_slot(out);
        } else if self.hung_up.is_some() {
            self.end_readers(out);
        }
        give_memory_back(&mut self.readers);
        give_memory_back(&mut self.writers);
    }

    /// The message in the slot or, with nothing in the slot, the first writer's, with the writer.
    fn next_message(&mut self) -> Option<(Delivery<M>, Option<T>)> {
        if let Some(delivery) = self.slot.pop_front() {
            return Some((delivery, None));
        }
        match self.writers.pop_front()? {
            Writer { ticket, offer: Offer::Message(message, _), .. } => Some((self.enter(message), Some(ticket))),
            // Nobody waits for a turn at a free slot.
            writer @ Writer { offer: Offer::Turn, .. } => {
                self.writers.push_front(writer);
                None
            }
        }
    }

    /// The first reader gets the next message.
    fn deliver(&mut self, out: &mut Vec<Completion<M, T>>) {
        let Some((delivery, writer)) = self.next_message() else { return };
        let Some(reader) = self.readers.pop_front() else {
            self.slot.push_front(delivery);
            return;
        };
        self.held += 1;
        out.push(Completion::Received(reader.ticket, delivery));
        out.extend(writer.map(Completion::Sent));
        self.fill_slot(out);
    }

    /// The first writer in line puts its message into the free slot, unless it waits for a reader.
    fn fill_slot(&mut self, out: &mut Vec<Completion<M, T>>) {
        self.give_turns(out);
        let placed = |writer: &mut Writer<M, T>| matches!(writer.offer, Offer::Message(_, Until::Placed));
        if self.slot.is_empty()
            && let Some(Writer { ticket, offer: Offer::Message(message, _), .. }) = self.writers.pop_front_if(placed)
        {
            let delivery = self.enter(message);
            self.slot.push_back(delivery);
            out.push(Completion::Sent(ticket));
        }
    }

    /// Tells the first in line, at a free slot, whose turn it is and who brings nothing.
    fn give_turns(&mut self, out: &mut Vec<Completion<M, T>>) {
        while self.slot.is_empty()
            && let Some(writer) = self.writers.pop_front_if(|writer| matches!(writer.offer, Offer::Turn))
        {
            out.push(Completion::Turn(writer.ticket));
        }
    }

    fn end_readers(&mut self, out: &mut Vec<Completion<M, T>>) {
        for reader in std::mem::take(&mut self.readers) {
            let lost = std::mem::take(&mut self.loss_untold);
            out.push(if lost { Completion::Lost(reader.ticket) } else { Completion::End(reader.ticket) });
        }
    }

    fn break_writers(&mut self, out: &mut Vec<Completion<M, T>>) {
        for writer in std::mem::take(&mut self.writers) {
            out.push(match writer.offer {
                Offer::Message(message, _) => Completion::Broken(writer.ticket, message),
                Offer::Turn => Completion::Turn(writer.ticket),
            });
        }
    }
}

/// A line that was long and is empty returns its memory; a short one keeps it for the next message.
fn give_memory_back<W>(line: &mut VecDeque<W>) {
    if line.is_empty() && line.capacity() > 16 {
        *line = VecDeque::new();
    }
}

#[cfg(test)]
mod tests;
