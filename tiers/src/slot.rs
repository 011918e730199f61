//! One direction of a channel whose two sides look at the same memory: a slot for one message, and who may touch it
//! when.
//!
//! The protocol is the same between threads and between processes; only where the words and the message lie differs.
//! Each side has a [`Mark`] which it alone writes and both read. The sender's counts the messages it has sent, the
//! receiver's those it has taken:
//!
//! | sent - taken | the slot is | who may touch the message |
//! |---|---|---|
//! | 0 | free | the sender |
//! | 1 | full | the receiver |
//! | else | | nobody: the other side broke the protocol |
//!
//! A message is there from the one store of `sent`, and gone from the one of `taken`. A side that dies between two
//! stores leaves the slot as free or as full as it was, never between.
//!
//! Within one side [`Desk`] holds what the other must not see: whose turn it is among this side's threads, the true
//! count (marks may lie in memory that an ill-willed process can write), and the tasks that wait.
//!
//! Nobody who is awake is woken. A side that is about to sleep says so in its mark and then looks at the other's count;
//! the other changes its count and then looks who sleeps. All four are sequentially consistent, so at least one sees
//! what the other did (Dekker's argument).
#![forbid(unsafe_code)]

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::error::Reason;
use crate::sync::{self, AtomicU32, Mutex, MutexGuard, Ordering, PoisonError};

/// What one side shows the other. The memory is all zeros when the channel is new.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Mark {
    /// Messages sent or taken, times [`ONE`], with [`CLOSED`] and [`PANICKED`]; the other side sleeps on this word.
    pub count: AtomicU32,
    /// How many threads of this side sleep, with [`TASKS`].
    pub sleepers: AtomicU32,
    /// Where this side last did something, see [`sync::processor`].
    processor: AtomicU32,
    /// Where the message begins and how long it is, where that is not known otherwise.
    pub start: AtomicU32,
    pub length: AtomicU32,
    /// How many capabilities go beside the message.
    pub capabilities: AtomicU32,
}

const CLOSED: u32 = 1;
const PANICKED: u32 = 2;
/// One message, in a count.
pub(crate) const ONE: u32 = 4;
/// In `sleepers`: tasks wait too, and want to be told by [`Ring::ring`].
const TASKS: u32 = 1 << 31;

/// The two sides of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

/// Who can be found on the memory of a word (FUTEX_PRIVATE_FLAG in futex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Process,
    Machine,
}

/// What one side keeps for itself.
#[derive(Debug)]
pub(crate) struct Desk {
    role: Role,
    /// Of the marks.
    scope: Scope,
    /// [`FREE`] or [`TAKEN`].
    turn: AtomicU32,
    /// Not 0 when somebody waits for the turn. They sleep on this word.
    wanted: AtomicU32,
    /// Times [`ONE`]; written only by whose turn it is.
    count: AtomicU32,
    /// Not 0 once the other side is known to be gone without having said so.
    gone: AtomicU32,
    tasks: Mutex<Tasks>,
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
/// In `wanted`.
const WANTED: u32 = 1;

#[derive(Debug, Default)]
struct Tasks {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Desk {
    /// The desk of a side on which so many messages have passed before, modulo 2^30.
    pub fn new(role: Role, scope: Scope, passed: u32) -> Desk {
        Desk {
            role,
            scope,
            turn: AtomicU32::new(FREE),
            wanted: AtomicU32::new(0),
            count: AtomicU32::new(passed.wrapping_mul(ONE)),
            gone: AtomicU32::new(0),
            tasks: Mutex::default(),
        }
    }

    /// How many messages have passed, modulo 2^30.
    pub fn passed(&self) -> u32 {
        self.count.load(Ordering::Relaxed) / ONE
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the tasks of the other side are told that this one has done something.
pub(crate) trait Ring {
    /// Wakes the tasks of the side that is `role`.
    fn ring(&self, role: Role);
}

/// One side of a direction, as it is looked at for one operation. It is small and what is quick is inlined: copied
/// through memory it would cost several times what the protocol does.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub desk: &'a Desk,
    pub mine: &'a Mark,
    pub theirs: &'a Mark,
}

/// What an attempt came to.
pub(crate) enum Attempt<'a> {
    /// The slot is ours until the turn ends.
    Turn(Turn<'a>),
    /// Not before one of these words changes.
    Wait(Watch<'a>),
    Stopped(Stop),
}

/// Why there will be no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The other side said that it goes, and why.
    Closed(Reason),
    /// The other side is gone and could not say so.
    Gone,
    /// The other side's mark makes no sense.
    Broken,
}

/// A word, and the value it was seen with.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub word: &'a AtomicU32,
    pub seen: u32,
    pub scope: Scope,
}

/// The words of which one must change before another attempt is worth while.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    words: [Watched<'a>; Watch::MOST],
    len: usize,
}

impl<'a> Watch<'a> {
    /// This, and one word more where there is room for it.
    pub fn and(mut self, word: Watched<'a>) -> Self {
        if let Some(place) = self.words.get_mut(self.len) {
            *place = word;
            self.len += 1;
        }
        self
    }

    /// The longest list.
    pub const MOST: usize = 2;

    /// Whether it is only for another thread of this side to give back the turn.
    pub fn is_for_turn(&self, end: End<'_>) -> bool {
        std::ptr::eq(self.words[0].word, &raw const end.desk.wanted)
    }

    /// The list; never empty.
    pub fn words(&self) -> &[Watched<'a>] {
        &self.words[..self.len]
    }

    /// Whether one of them has another value now.
    pub fn has_changed(&self) -> bool {
        self.words().iter().any(|watched| watched.word.load(Ordering::Relaxed) != watched.seen)
    }
}

impl<'a> End<'a> {
    /// Takes the slot if it is this side's to take; None says nothing about why not.
    #[inline(always)]
    fn take_turn(self) -> Option<Turn<'a>> {
        // A look first, which disturbs nobody. What it finds may be old, which only makes it miss a turn that came just
        // now.
        if !self.is_ours()
            || self.desk.turn.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return None;
        }
        let turn = Turn { end: self };
        if self.is_ours() { Some(turn) } else { None }
    }

    /// Whether the slot is this side's, as far as the counts say.
    #[inline(always)]
    pub fn is_ours(self) -> bool {
        let seen = self.theirs.count.load(Ordering::Acquire);
        self.judge(seen) == Ok(true)
    }

    /// Takes the slot if it is this side's to take.
    #[inline]
    pub fn attempt(self) -> Attempt<'a> {
        match self.take_turn() {
            Some(turn) => Attempt::Turn(turn),
            None => self.explain(),
        }
    }

    /// Why there is no turn; or a turn, if it came meanwhile.
    #[cold]
    fn explain(self) -> Attempt<'a> {
        let seen = self.theirs.count.load(Ordering::SeqCst);
        if self.judge(seen) == Ok(false) && !self.is_gone() {
            // True for whoever asks: both counts only grow, so what has passed here meanwhile makes the slot no more
            // ours.
            return Attempt::Wait(self.watch(seen));
        }
        while self.desk.turn.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            if let Some(watch) = self.want_turn() {
                return Attempt::Wait(watch);
            }
        }
        let turn = Turn { end: self };
        let seen = self.theirs.count.load(Ordering::SeqCst);
        match self.judge(seen) {
            Ok(true) => return Attempt::Turn(turn),
            Ok(false) if !self.is_gone() => return Attempt::Wait(self.watch(seen)),
            Ok(false) => {}
            Err(stop) => return Attempt::Stopped(stop),
        }
        // What it did before it went counts, and may have been done since we looked.
        match (self.desk.role, self.judge(self.theirs.count.load(Ordering::SeqCst))) {
            (Role::Receiver, Ok(true)) => Attempt::Turn(turn),
            (_, Ok(_)) => Attempt::Stopped(Stop::Gone),
            (_, Err(stop)) => Attempt::Stopped(stop),
        }
    }

    /// What to wait for before an attempt is worth while; None when it is now. Takes no turn, so that no attempt of
    /// another thread fails for it; one that passes meanwhile can make the answer None too early, and no wait too long.
    pub fn look(self) -> Option<Watch<'a>> {
        let seen = self.theirs.count.load(Ordering::SeqCst);
        match self.judge(seen) {
            Ok(false) if !self.is_gone() => Some(self.watch(seen)),
            _ => self.want_turn(),
        }
    }

    /// Why there will be no turn any more. While there may be one, no turn is taken, so that no attempt of another
    /// thread fails for it.
    pub fn stopped(self) -> Option<Stop> {
        let judged = self.judge(self.theirs.count.load(Ordering::SeqCst));
        if judged == Ok(true) || (judged == Ok(false) && !self.is_gone()) {
            return None;
        }
        match self.attempt() {
            Attempt::Stopped(stop) => Some(stop),
            Attempt::Turn(_) | Attempt::Wait(_) => None,
        }
    }

    /// Says that the turn is wanted, if somebody of this side has it, and returns what to wait for.
    fn want_turn(self) -> Option<Watch<'a>> {
        let Desk { turn, wanted, .. } = self.desk;
        if turn.load(Ordering::Relaxed) == FREE {
            return None;
        }
        wanted.store(WANTED, Ordering::SeqCst);
        // Whoever passed its turn and then did not see this has shown a count before: whoever sees that sees the turn
        // free.
        self.mine.count.load(Ordering::SeqCst);
        if turn.load(Ordering::SeqCst) == FREE {
            // Nobody may be left who looks at what was said.
            self.wake_wanting();
            return None;
        }
        let watched = Watched { word: wanted, seen: WANTED, scope: Scope::Process };
        Some(Watch { words: [watched; Watch::MOST], len: 1 })
    }

    /// Whether the slot is ours, when the other side's count is `seen`.
    #[inline(always)]
    fn judge(self, seen: u32) -> Result<bool, Stop> {
        let ahead = (seen & !(CLOSED | PANICKED)).wrapping_sub(self.desk.count.load(Ordering::Relaxed));
        let closed = seen & CLOSED != 0;
        match (self.desk.role, ahead) {
            (Role::Receiver, ONE) => Ok(true),
            (Role::Sender, _) if closed => Err(Stop::Closed(parting(seen))),
            (Role::Receiver, 0) if closed => Err(Stop::Closed(parting(seen))),
            (Role::Receiver, 0) => Ok(false),
            (Role::Sender, 0) => Ok(!self.is_gone()),
            (Role::Sender, LATE) => Ok(false),
            _ => Err(Stop::Broken),
        }
    }

    #[inline(always)]
    fn is_gone(self) -> bool {
        self.desk.gone.load(Ordering::Acquire) != 0
    }

    /// What to wait for while the other side's count is `seen`.
    fn watch(self, seen: u32) -> Watch<'a> {
        let count = Watched { word: &self.theirs.count, seen, scope: self.desk.scope };
        let gone = Watched { word: &self.desk.gone, seen: 0, scope: Scope::Process };
        // A thread does not go without saying so.
        let len = if self.desk.scope == Scope::Machine { 2 } else { 1 };
        Watch { words: [count, gone], len }
    }

    /// Waits for a turn until the deadline. None when it has passed.
    #[inline(always)]
    pub fn wait(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        if let Some(turn) = self.take_turn() {
            return Ok(Some(turn));
        }
        if let Some(turn) = self.give_way(deadline) {
            return Ok(Some(turn));
        }
        self.wait_long(deadline)
    }

    /// Gives way before anything else where the other side was last seen on this processor: it acts only after that.
    /// Not always, so that a thread that was moved finds out where it is: asking that is not for every message.
    #[inline(always)]
    fn give_way(self, deadline: Deadline) -> Option<Turn<'a>> {
        const NOT_AT: u32 = 16;
        let is_elsewhere = self.theirs.processor.load(Ordering::Relaxed) != sync::processor();
        if is_elsewhere || deadline == Deadline::Now || self.desk.passed().is_multiple_of(NOT_AT) {
            return None;
        }
        sync::give_way();
        self.take_turn()
    }

    #[cold]
    fn wait_long(self, deadline: Deadline) -> Result<Option<Turn<'a>>, Stop> {
        loop {
            if deadline != Deadline::Now
                && stay_awake(self.is_elsewhere(), || self.has_news())
                && let Some(turn) = self.take_turn()
            {
                return Ok(Some(turn));
            }
            let watch = match self.attempt() {
                Attempt::Turn(turn) => return Ok(Some(turn)),
                Attempt::Stopped(stop) => return Err(stop),
                Attempt::Wait(watch) => watch,
            };
            if !self.sleep(&watch, deadline) {
                return Ok(None);
            }
        }
    }

    /// Whether the other side was last seen on another processor than this thread is on.
    pub fn is_elsewhere(self) -> bool {
        self.theirs.processor.load(Ordering::Relaxed) != sync::locate()
    }

    /// Whether an attempt is worth while.
    fn has_news(self) -> bool {
        let waits = self.judge(self.theirs.count.load(Ordering::Acquire)) == Ok(false);
        (!waits && self.desk.turn.load(Ordering::Relaxed) == FREE) || self.is_gone()
    }

    /// Sleeps until there may be news. False when the deadline has passed.
    fn sleep(self, watch: &Watch<'_>, deadline: Deadline) -> bool {
        let until = match deadline {
            Deadline::Now => return false,
            // Looked at here as well: a word that changes all the time, to no purpose, lets nobody sleep.
            Deadline::At(instant) if instant <= Instant::now() => return false,
            Deadline::At(instant) => Some(instant),
            Deadline::Never => None,
        };
        let _asleep = Asleep::new(self);
        sync::step("slot: said to be asleep");
        sync::wait(watch, until)
    }

    /// Whether the other side said that it goes.
    pub fn is_parted(self) -> bool {
        self.theirs.count.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Says that this side goes, and wakes whoever waits for it. What it said first stands.
    pub fn close(self, panicked: bool, bell: &impl Ring) {
        if self.mine.count.load(Ordering::Relaxed) & CLOSED != 0 {
            return;
        }
        let flags = CLOSED | if panicked { PANICKED } else { 0 };
        self.show(self.desk.count.load(Ordering::Relaxed) | flags, bell);
    }

    /// Takes note that the other side is gone without having said so; who waits is woken by [`End::lose`].
    pub fn note_loss(self) {
        self.desk.gone.store(1, Ordering::Release);
    }

    /// The other side is gone without having said so.
    pub fn lose(self) {
        self.note_loss();
        sync::wake(&self.desk.gone, Scope::Process);
        self.wake_tasks();
    }

    /// Shows the other side our count. This one store is what makes a message be there, or be taken.
    #[inline(always)]
    fn show(self, count: u32, bell: &impl Ring) {
        self.mine.processor.store(sync::processor(), Ordering::Relaxed);
        self.mine.count.store(count, Ordering::SeqCst);
        sync::step("slot: shown");
        let sleepers = self.theirs.sleepers.load(Ordering::SeqCst);
        if sleepers != 0 {
            self.rouse(sleepers, bell);
        }
    }

    #[cold]
    fn rouse(self, sleepers: u32, bell: &impl Ring) {
        if sleepers & !TASKS != 0 {
            sync::wake(&self.mine.count, self.desk.scope);
            sync::step("slot: woken");
        }
        if sleepers & TASKS != 0 {
            bell.ring(match self.desk.role {
                Role::Sender => Role::Receiver,
                Role::Receiver => Role::Sender,
            });
        }
    }

    /// Has `waker` called when an attempt is worth while again. The caller makes another attempt after this: what
    /// happened before may not be told.
    pub fn register(self, ticket: &mut Option<u64>, waker: &Waker) {
        // Wakers are somebody's code: they are cloned and dropped while the desk is not locked.
        let (waker, mut left) = (waker.clone(), None);
        let mut tasks = self.desk.tasks();
        let ticket = *ticket.get_or_insert_with(|| {
            tasks.next += 1;
            tasks.next
        });
        match tasks.waiting.iter_mut().find(|(known, _)| *known == ticket) {
            Some((_, known)) => left = Some(mem::replace(known, waker)),
            None => tasks.waiting.push((ticket, waker)),
        }
        self.mine.sleepers.fetch_or(TASKS, Ordering::SeqCst);
        drop(tasks);
        drop(left);
    }

    /// The task does not wait any more.
    pub fn unregister(self, ticket: u64) {
        let mut tasks = self.desk.tasks();
        let place = tasks.waiting.iter().position(|(known, _)| *known == ticket);
        let left = place.map(|place| tasks.waiting.swap_remove(place));
        if left.is_some() && tasks.waiting.is_empty() {
            self.mine.sleepers.fetch_and(!TASKS, Ordering::Relaxed);
        }
        drop(tasks);
        drop(left);
    }

    /// Wakes the tasks of this side.
    pub fn wake_tasks(self) {
        let mut tasks = self.desk.tasks();
        let waiting = mem::take(&mut tasks.waiting);
        // Not if there are none: the mark may be another process's by now, to which this end was handed over.
        if !waiting.is_empty() {
            self.mine.sleepers.fetch_and(!TASKS, Ordering::Relaxed);
        }
        drop(tasks);
        waiting.into_iter().for_each(|(_, waker)| wake(waker));
    }

    /// After the turn became free: wakes who waits for it.
    #[inline(always)]
    fn heed_wanting(self) {
        if self.desk.wanted.load(Ordering::SeqCst) != 0 {
            self.wake_wanting();
        }
    }

    /// They say it again if they still want it.
    #[cold]
    fn wake_wanting(self) {
        self.desk.wanted.store(0, Ordering::SeqCst);
        sync::wake(&self.desk.wanted, Scope::Process);
        self.wake_tasks();
    }
}

/// Wakes a task. A waker is somebody's code: what it panics with the panic hook has told, and the tasks after it are
/// woken all the same.
pub(crate) fn wake(waker: Waker) {
    let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Watches for a change without sleeping, for a bounded number of looks. On a processor of its own it spins; where the
/// other side was last seen on this very processor, only giving way can help.
pub(crate) fn stay_awake(spins: bool, mut has_changed: impl FnMut() -> bool) -> bool {
    if spins {
        for _ in 0..sync::LOOKS {
            sync::spin();
            if has_changed() {
                return true;
            }
        }
    }
    // Whoever else wants this processor may have it for milliseconds: then it is better to sleep, and be woken.
    const LONG: Duration = Duration::from_micros(100);
    sync::give_way();
    if has_changed() {
        return true;
    }
    let begin = Instant::now();
    for _ in 1..sync::WAYS_GIVEN {
        sync::give_way();
        if has_changed() {
            return true;
        }
        if begin.elapsed() > LONG {
            break;
        }
    }
    false
}

/// The other side's count when it is one behind ours.
const LATE: u32 = 0u32.wrapping_sub(ONE);

/// Why a side went that said so with these flags.
fn parting(count: u32) -> Reason {
    if count & PANICKED != 0 { Reason::Panicked } else { Reason::Closed }
}

/// When to stop waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// So long from now; a time that no clock can tell is never.
    pub fn after(timeout: Duration) -> Deadline {
        Instant::now().checked_add(timeout).map_or(Deadline::Never, Deadline::At)
    }
}

/// The right to touch the slot: for the sender while it is free, for the receiver while it is full. Ends with
/// [`Turn::pass`] or [`Turn::pass_early`], or when dropped with nothing done.
pub(crate) struct Turn<'a> {
    end: End<'a>,
}

impl<'a> Turn<'a> {
    /// The end whose turn it is.
    #[inline(always)]
    pub fn end(&self) -> End<'a> {
        self.end
    }

    /// Why passing the slot would be in vain, if the other side has gone meanwhile.
    #[inline]
    pub fn in_vain(&self) -> Option<Stop> {
        match self.end.judge(self.end.theirs.count.load(Ordering::Acquire)) {
            Ok(true) => None,
            Ok(false) => Some(Stop::Gone),
            Err(stop) => Some(stop),
        }
    }

    /// Which of the two sides it is.
    pub fn role(&self) -> Role {
        self.end.desk.role
    }

    /// The number of the message that is about to pass, modulo 2^30.
    pub fn number(&self) -> u32 {
        self.end.desk.passed()
    }

    /// Passes the slot to the other side: what was put in is sent, or what was in it is taken.
    ///
    /// The turn becomes free before the count is shown, so that one exchange orders both before the looks at who waits.
    /// Nobody can do anything with it until then: by our own count the slot is no longer this side's.
    #[inline(always)]
    pub fn pass(self, bell: &impl Ring) {
        let (end, count) = (self.end, self.advance());
        // What its drop would do, in another order.
        mem::forget(self);
        end.desk.turn.store(FREE, Ordering::Release);
        end.show(count, bell);
        end.heed_wanting();
    }

    /// Passes the slot while what was in it is still to be copied out of a place that the next message leaves alone.
    /// Until what is returned is dropped, nobody else of this side takes that one.
    #[inline(always)]
    pub fn pass_early(self, bell: &impl Ring) -> Kept<'a> {
        self.end.show(self.advance(), bell);
        Kept(self)
    }

    /// Counts the message, and returns the count that is to be shown.
    #[inline(always)]
    fn advance(&self) -> u32 {
        let count = self.end.desk.count.load(Ordering::Relaxed).wrapping_add(ONE);
        self.end.desk.count.store(count, Ordering::Relaxed);
        sync::step("slot: about to show");
        count
    }

    /// Ends as if passed, but does not show it: on a side that has closed, or is about to.
    pub fn pass_unseen(self) {
        self.end.desk.count.fetch_add(ONE, Ordering::Relaxed);
    }
}

/// A turn that was passed early: it holds the line of this side, and nothing else.
#[must_use = "dropped, it lets the next one take the slot"]
pub(crate) struct Kept<'a>(#[expect(dead_code, reason = "it is only held")] Turn<'a>);

impl Drop for Turn<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.end.desk.turn.store(FREE, Ordering::SeqCst);
        self.end.heed_wanting();
    }
}

/// A thread that is asleep, as its side's mark says while this lives.
pub(crate) struct Asleep<'a>(&'a Mark);

impl<'a> Asleep<'a> {
    /// From now on the other side wakes us; what it did before, the caller sees in the words that it watches.
    pub fn new(end: End<'a>) -> Self {
        end.mine.sleepers.fetch_add(1, Ordering::SeqCst);
        Asleep(end.mine)
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.sleepers.fetch_sub(1, Ordering::Relaxed);
    }
}
