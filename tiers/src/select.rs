//! Waiting for the first of several: peers of all tiers, timers, children, and descriptors of all kinds.
//!
//! A select first looks at each operation, beginning behind the one it returned last, so that none that is always ready
//! hides another. Slots are looked at without taking their turn, timers by the clock, and descriptors with one poll(2),
//! those of peers over files among them. If nothing is ready it says in every slot that it is asleep, as
//! [`crate::slot`] has it for one, and then sleeps in one io_uring on all the words, descriptors and the clock.
//! Whatever ends the sleep, it looks again.
//!
//! Invariants:
//!
//! - Looking changes nothing, and taking is left to the caller: a select that is dropped, at whatever point, loses nothing.
//! - Nothing remains in the kernel between two calls, see [`crate::sys::ring`].
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use crate::file::{FileEnd, Look as FileLook};
use crate::gate::Gate;
use crate::message::Message;
use crate::process::Child;
use crate::receiver::{Near, Receiver};
use crate::remote::RemoteEnd;
use crate::sender::Sender;
use crate::slot::{Asleep, Deadline, End, Watch, Watched, stay_awake};
use crate::sys::ring::{Polled, Ring};

/// Waits for the first of several operations that can be done without waiting.
///
/// The operations are added one by one, and each gets a number; [`Select::ready`] returns the number of one that is
/// ready, and the caller then does it. Ready means that the operation would not wait: that there is a message, or room
/// for one; or that the other end is gone, which the operation then tells. A receiver that has ended is therefore
/// always ready, as is a file at its end: take it out with [`Select::remove`].
///
/// Nothing is received or sent by waiting, and nothing is lost with a select that is dropped. Other threads may use the
/// same peers and descriptors meanwhile, and one may be faster: that something is ready is a hint, after which
/// [`Receiver::try_recv`] can say [`Empty`](crate::error::TryRecvError::Empty).
///
/// Among operations that are ready none is preferred: each that stays ready is returned before any other is again.
///
/// A select borrows what it waits for. It holds one descriptor, and is of use for as many calls as one likes.
///
/// ```
/// use std::time::Duration;
/// use fs9_tiers::{Select, after, pair, process};
///
/// let (boss, worker) = pair::<String, ()>();                  // a thread
/// let (clerk, office) = process::pair::<u64, ()>()?;          // or another process
/// let (input, output) = std::io::pipe()?;                     // or anything with a descriptor
/// let late = after(Duration::from_secs(10));
///
/// let mut select = Select::new()?;
/// let orders = select.recv(worker.receiver());
/// let numbers = select.recv(office.receiver());
/// let bytes = select.readable(&input);
/// let timeout = select.recv(&late);
/// assert_eq!(select.try_ready(), None);
///
/// clerk.send(7)?;
/// match select.ready()? {
///     ready if ready == orders => println!("{}", worker.try_recv()?),
///     ready if ready == numbers => assert_eq!(office.try_recv()?, 7),
///     ready if ready == bytes => println!("{}", std::io::read_to_string(&input)?),
///     ready if ready == timeout => println!("nobody came"),
///     _ => unreachable!("there are four"),
/// }
/// # drop((boss, output));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a select waits for nothing by itself"]
pub struct Select<'a> {
    /// By number. None where it was removed.
    operations: Vec<Option<Operation<'a>>>,
    descriptors: Vec<Polled<'a>>,
    /// The number at which the next look around begins.
    start: usize,
    ring: Ring,
}

#[derive(Clone, Copy)]
enum Operation<'a> {
    Half(&'a (dyn Half + 'a)),
    /// Half of a peer over a file, and the place of that among the descriptors.
    File(FileEnd<'a>, usize),
    /// The place among the descriptors.
    Descriptor(usize),
    /// Of a child that has no descriptor.
    Ended,
}

/// Half of a peer, whatever its messages are.
trait Half: Sync {
    fn place(&self) -> Place<'_>;
}

/// Where it is seen whether half of a peer is ready.
enum Place<'a> {
    Gate(Gate<'a>),
    /// When the time has come.
    Clock(Deadline),
}

impl<T: Message> Half for Receiver<T> {
    fn place(&self) -> Place<'_> {
        match self.rx.near() {
            Near::Gate(gate) => Place::Gate(gate),
            Near::Timer(timer) => Place::Clock(match timer.due() {
                // In this order: a thread may take the last message between the two.
                Deadline::Never if timer.is_spent() => Deadline::Now,
                due => due,
            }),
        }
    }
}

impl<T: Message> Half for Sender<T> {
    fn place(&self) -> Place<'_> {
        Place::Gate(self.tx.gate())
    }
}

/// What a look around came to.
enum Look<'a> {
    Ready(usize),
    Nothing(Pending<'a>),
}

/// What to wait for, beside descriptors.
#[derive(Default)]
struct Pending<'a> {
    slots: Vec<(End<'a>, Watch<'a>)>,
    /// Of channels to other machines: somebody must read their connections meanwhile.
    remote: Vec<RemoteEnd<'a>>,
    due: Option<Instant>,
}

impl<'a> Select<'a> {
    /// A select with nothing to wait for yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] and [`io::ErrorKind::Unsupported`] where io_uring is forbidden or missing,
    /// with what can be done about it; [`io::ErrorKind::InvalidInput`] on a kernel before Linux 6.7. Those of
    /// io_uring_setup(2): too many descriptors, no memory.
    ///
    /// ```
    /// let mut select = fs9_tiers::Select::new()?;
    /// assert_eq!(select.try_ready(), None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Select { operations: Vec::new(), descriptors: Vec::new(), start: 0, ring: Ring::new()? })
    }

    /// Adds receiving: ready when there is a message, or the other end is gone. A timer is a receiver, too.
    ///
    /// ```
    /// # use fs9_tiers::{Select, every, pair};
    /// # use std::time::Duration;
    /// let ticks = every(Duration::from_millis(1));
    /// let (_a, b) = pair::<u8, u8>();
    /// let mut select = Select::new()?;
    /// let tick = select.recv(&ticks);
    /// select.recv(b.receiver());
    /// for _ in 0..3 {
    ///     assert_eq!(select.ready()?, tick);
    ///     ticks.try_recv()?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv<T: Message>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.add_half(receiver)
    }

    /// Adds sending: ready when there is room for a message, or the other end is gone.
    ///
    /// ```
    /// # use fs9_tiers::{Select, pair};
    /// # let (a, _b) = pair::<u8, u8>();
    /// # let (c, d) = pair::<u8, u8>();
    /// a.send(1)?;
    /// c.send(1)?;
    /// let mut select = Select::new()?;
    /// select.send(a.sender());
    /// let room = select.send(c.sender());
    /// assert_eq!(d.recv(), Ok(1));
    /// assert_eq!(select.ready()?, room);
    /// c.try_send(2)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send<T: Message>(&mut self, sender: &'a Sender<T>) -> usize {
        self.add_half(sender)
    }

    /// Adds the end of a child: ready when it has ended. [`Child::try_wait`] tells how, once the select, which borrows
    /// the child, is not used any more.
    ///
    /// ```
    /// # use std::process::Command;
    /// # use fs9_tiers::{Peer, Select, error::Reason, process};
    /// let (_peer, mut child): (Peer<(), ()>, _) = process::spawn(Command::new("false"))?;
    /// let mut select = Select::new()?;
    /// let ended = select.child(&child);
    /// assert_eq!(select.ready()?, ended);
    /// assert_eq!(child.try_wait()?, Some(Reason::Exited(1)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn child(&mut self, child: &'a Child) -> usize {
        match child.pidfd() {
            // A pidfd is readable once the process has ended (pidfd_open(2)).
            Some(pidfd) => self.poll_for(pidfd, PollFlags::IN),
            None => self.add(Operation::Ended),
        }
    }

    /// Adds reading from a file, pipe, socket, [`Listener`](crate::process::Listener), ...: ready when poll(2) says so,
    /// at the end and on failure too. What is always ready, such as a file on a disk, is so here.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use fs9_tiers::Select;
    /// let (input, mut output) = std::io::pipe()?;
    /// let mut select = Select::new()?;
    /// let bytes = select.readable(&input);
    /// assert_eq!(select.try_ready(), None);
    /// output.write_all(b"there")?;
    /// assert_eq!(select.ready()?, bytes);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn readable<D: AsFd + ?Sized>(&mut self, descriptor: &'a D) -> usize {
        self.poll_for(descriptor.as_fd(), PollFlags::IN)
    }

    /// Adds writing to a file, pipe, socket, ...: ready when poll(2) says so, on failure too.
    ///
    /// ```
    /// # use fs9_tiers::Select;
    /// let (_input, output) = std::io::pipe()?;
    /// let mut select = Select::new()?;
    /// let room = select.writable(&output);
    /// assert_eq!(select.ready()?, room);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn writable<D: AsFd + ?Sized>(&mut self, descriptor: &'a D) -> usize {
        self.poll_for(descriptor.as_fd(), PollFlags::OUT)
    }

    fn poll_for(&mut self, descriptor: BorrowedFd<'a>, events: PollFlags) -> usize {
        let place = self.watch(descriptor, events);
        self.add(Operation::Descriptor(place))
    }

    fn watch(&mut self, descriptor: BorrowedFd<'a>, events: PollFlags) -> usize {
        self.descriptors.push(Polled { descriptor, events, is_awaited: true, is_ready: false });
        self.descriptors.len() - 1
    }

    fn add_half(&mut self, half: &'a dyn Half) -> usize {
        let operation = match half.place() {
            Place::Gate(Gate::File(file)) => Operation::File(file, self.watch(file.descriptor(), file.events())),
            Place::Gate(Gate::Slot(_) | Gate::Remote(_)) | Place::Clock(_) => Operation::Half(half),
        };
        self.add(operation)
    }

    fn add(&mut self, operation: Operation<'a>) -> usize {
        self.operations.push(Some(operation));
        self.operations.len() - 1
    }

    /// Takes an operation out: what has ended and would be ready for ever. The others keep their numbers. One that is
    /// not there is none.
    ///
    /// ```
    /// # use fs9_tiers::{Select, pair};
    /// let (a, b) = pair::<u8, ()>();
    /// let (c, d) = pair::<u8, ()>();
    /// let mut select = Select::new()?;
    /// let first = select.recv(b.receiver());
    /// let second = select.recv(d.receiver());
    /// drop(a);
    /// c.send(1)?;
    /// assert_eq!(select.ready()?, first); // it has ended, and would be ready for ever
    /// select.remove(first);
    /// assert_eq!(select.ready()?, second);
    /// assert_eq!(select.ready()?, second);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, operation: usize) {
        let removed = self.operations.get_mut(operation).and_then(Option::take);
        if let Some(Operation::Descriptor(place) | Operation::File(_, place)) = removed {
            self.descriptors.remove(place);
            for operation in self.operations.iter_mut().flatten() {
                match operation {
                    Operation::Descriptor(behind) | Operation::File(_, behind) if *behind > place => *behind -= 1,
                    _ => {}
                }
            }
        }
    }

    /// Waits until an operation is ready, and returns its number. A signal does not end the wait.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: there is no operation to wait for, so that it would be for ever. Those of
    /// poll(2) and io_uring_enter(2), mostly for want of memory; the select can be used on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Select, after};
    /// let (soon, late) = (after(Duration::from_millis(1)), after(Duration::from_secs(60)));
    /// let mut select = Select::new()?;
    /// select.recv(&late);
    /// let first = select.recv(&soon);
    /// assert_eq!(select.ready()?, first);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready(&mut self) -> io::Result<usize> {
        if self.operations.iter().flatten().next().is_none() {
            let error = "this select has no operation to wait for; add one, or wait with a deadline";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        loop {
            if let Some(operation) = self.ready_by(Deadline::Never)? {
                return Ok(operation);
            }
        }
    }

    /// The number of an operation that is ready now. A descriptor of which poll(2) cannot tell is not.
    ///
    /// ```
    /// # use fs9_tiers::{Select, pair};
    /// let (a, b) = pair::<u8, ()>();
    /// let mut select = Select::new()?;
    /// let message = select.recv(b.receiver());
    /// assert_eq!(select.try_ready(), None);
    /// a.send(1)?;
    /// assert_eq!(select.try_ready(), Some(message));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_ready(&mut self) -> Option<usize> {
        self.ready_by(Deadline::Now).ok().flatten()
    }

    /// As [`Select::ready`], waiting no longer than `timeout`; None when nothing is ready then.
    ///
    /// # Errors
    /// Those of poll(2) and io_uring_enter(2).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Select, pair};
    /// let (_a, b) = pair::<u8, ()>();
    /// let mut select = Select::new()?;
    /// select.recv(b.receiver());
    /// assert_eq!(select.ready_timeout(Duration::from_millis(1))?, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready_timeout(&mut self, timeout: Duration) -> io::Result<Option<usize>> {
        self.ready_by(Deadline::after(timeout))
    }

    /// As [`Select::ready`], waiting no longer than until `deadline`; None when nothing is ready then. A deadline that
    /// has passed is one look.
    ///
    /// # Errors
    /// Those of poll(2) and io_uring_enter(2).
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use fs9_tiers::{Select, pair};
    /// # let (_a, b) = pair::<u8, ()>();
    /// # let mut select = Select::new()?;
    /// # select.recv(b.receiver());
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// while let Some(_ready) = select.ready_deadline(deadline)? {
    ///     // do it
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ready_deadline(&mut self, deadline: Instant) -> io::Result<Option<usize>> {
        self.ready_by(Deadline::At(deadline))
    }

    fn ready_by(&mut self, deadline: Deadline) -> io::Result<Option<usize>> {
        // Whether it is known already which descriptors are ready.
        let mut polled = false;
        loop {
            let pending = match self.look(polled)? {
                Look::Ready(operation) => return Ok(Some(operation)),
                Look::Nothing(pending) => pending,
            };
            let end = match deadline {
                Deadline::Now => return Ok(None),
                Deadline::At(end) if end <= Instant::now() => return Ok(None),
                Deadline::At(end) => Some(end),
                Deadline::Never => None,
            };
            // Descriptors do not change while nobody asks the kernel.
            if !self.descriptors.is_empty() || !pending.stay_awake() {
                self.sleep(&pending, end)?;
                polled = true;
            }
        }
    }

    /// Looks at each operation once.
    fn look(&mut self, mut polled: bool) -> io::Result<Look<'a>> {
        let mut pending = Pending::default();
        let count = self.operations.len();
        for number in (self.start..count).chain(0..self.start.min(count)) {
            let is_ready = match self.operations[number] {
                None => false,
                Some(Operation::Half(half)) => pending.look(half.place()),
                Some(Operation::Descriptor(place)) => self.look_at(place, &mut polled)?,
                Some(Operation::File(file, place)) => {
                    let look = file.look();
                    self.descriptors[place].is_awaited = matches!(look, FileLook::Descriptor);
                    match look {
                        FileLook::Ready => true,
                        FileLook::Turn(end, watch) => {
                            pending.slots.push((end, watch));
                            false
                        }
                        FileLook::Descriptor => self.look_at(place, &mut polled)?,
                    }
                }
                Some(Operation::Ended) => true,
            };
            if is_ready {
                self.start = number + 1;
                return Ok(Look::Ready(number));
            }
        }
        Ok(Look::Nothing(pending))
    }

    /// Whether a descriptor is ready. All are asked if it is not known yet.
    fn look_at(&mut self, place: usize, polled: &mut bool) -> io::Result<bool> {
        if !*polled {
            self.poll()?;
            *polled = true;
        }
        Ok(self.descriptors[place].is_ready)
    }

    /// Asks of all descriptors whether they are ready.
    fn poll(&mut self) -> io::Result<()> {
        let descriptors = &mut self.descriptors;
        let entry = |polled: &Polled<'a>| PollFd::from_borrowed_fd(polled.descriptor, polled.events);
        let mut entries: Vec<PollFd<'_>> = descriptors.iter().map(entry).collect();
        retry_on_intr(|| poll(&mut entries, Some(&Timespec::default())))?;
        for (polled, entry) in descriptors.iter_mut().zip(&entries) {
            polled.is_ready = !entry.revents().is_empty();
        }
        Ok(())
    }

    fn sleep(&mut self, pending: &Pending<'a>, end: Option<Instant>) -> io::Result<()> {
        let wake = end.into_iter().chain(pending.due).min();
        // First this, then the words are compared with what was seen: nobody is missed.
        let _asleep: Vec<Asleep<'_>> = pending.slots.iter().map(|(end, _)| Asleep::new(*end)).collect();
        // What came between the last look and this is not lost: the watcher finds it there.
        let _depending: Vec<_> = pending.remote.iter().map(|end| end.depend()).collect();
        let words: Vec<Watched<'_>> = pending.slots.iter().flat_map(|(_, watch)| watch.words()).copied().collect();
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        self.ring.sleep(&words, &mut self.descriptors, left)
    }
}

impl<'a> Pending<'a> {
    /// Whether it is ready there; otherwise that is waited for.
    fn look(&mut self, place: Place<'a>) -> bool {
        match place {
            Place::Gate(Gate::Slot(end)) => match end.look() {
                Some(watch) => self.slots.push((end, watch)),
                None => return true,
            },
            Place::Gate(Gate::Remote(end)) => match end.look() {
                Some(watch) => {
                    self.slots.push((end.slot(), watch));
                    self.remote.push(end);
                }
                None => return true,
            },
            // An operation of its own.
            Place::Gate(Gate::File(_)) => {}
            Place::Clock(Deadline::Now) => return true,
            Place::Clock(Deadline::At(due)) if due <= Instant::now() => return true,
            Place::Clock(Deadline::At(due)) => self.due = self.due.into_iter().chain([due]).min(),
            Place::Clock(Deadline::Never) => {}
        }
        false
    }

    /// Watches the slots for a change without sleeping, one at each look, for as long as a single one would be.
    fn stay_awake(&self) -> bool {
        // What a connection brings nobody sees in a word before it is read.
        if self.slots.is_empty() || !self.remote.is_empty() {
            return false;
        }
        let spins = self.slots.iter().any(|(end, _)| end.is_elsewhere());
        let mut slots = self.slots.iter().cycle();
        stay_awake(spins, || slots.next().is_some_and(|(_, watch)| watch.has_changed()))
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations = self.operations.iter().flatten().count();
        f.debug_struct("Select").field("operations", &operations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
