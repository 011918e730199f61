//! The memory orders of the slot's protocol (`tiers/src/slot.rs`): its very source, in all executions that the memory
//! model allows (loom), up to a number of preemptions. Two threads and a message or two, for there are very many.
//!
//! This is for what `tiers_interleavings.rs` cannot see: a side that sleeps and one that passes it by must not both
//! miss the other, and a message must be whole before it is announced. Not modelled: deadlines, staying awake, deaths.
#![allow(clippy::unwrap_used, reason = "a failed test")]

#[path = "tiers_memory_order/cell.rs"]
mod cell;
#[path = "../../tiers/src/thread/lane.rs"]
#[allow(dead_code)]
mod lane;
#[path = "../../tiers/src/slot.rs"]
#[allow(dead_code, clippy::reversed_empty_ranges, reason = "a model may look no times at all")]
mod slot;
#[path = "tiers_memory_order/sync.rs"]
mod sync;

/// What the files ask of their crate.
mod error {
    pub use fs9_tiers::error::Reason;
}
mod capability {
    pub use fs9_tiers::Capability;
}
mod sys {
    pub(crate) use crate::cell;
}

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::sync::Notify;
use loom::thread::{self, JoinHandle};

use cell::Cell;
use fs9_tiers::error::Reason;
use lane::Lane;
use slot::{Attempt, Deadline, Desk, End, Mark, Ring, Role, Scope, Stop};

/// Runs all executions of `scenario` with no more than this many preemptions.
fn check(preemptions: usize, scenario: fn()) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(scenario);
}

type Shared = loom::sync::Arc<Lane<u32>>;

fn lane() -> Shared {
    Shared::new(Lane::new())
}

fn also<T: 'static>(lane: &Shared, work: impl FnOnce(&Lane<u32>) -> T + 'static) -> JoinHandle<T> {
    let lane = Shared::clone(lane);
    thread::spawn(move || work(&lane))
}

fn send(lane: &Lane<u32>, message: u32) {
    let turn = lane.end(Role::Sender).wait(Deadline::Never).unwrap().unwrap();
    lane.put(turn, message);
}

fn recv(lane: &Lane<u32>) -> Result<u32, Stop> {
    Ok(lane.take(lane.end(Role::Receiver).wait(Deadline::Never)?.unwrap()))
}

#[test]
fn a_thread_that_waits_is_told_of_a_message() {
    check(10, || {
        let lane = lane();
        let sender = also(&lane, |lane| send(lane, 7));
        assert_eq!(recv(&lane), Ok(7));
        sender.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_is_told_of_room() {
    check(6, || {
        let lane = lane();
        send(&lane, 1);
        let receiver = also(&lane, |lane| [recv(lane), recv(lane)]);
        send(&lane, 2);
        assert_eq!(receiver.join().unwrap(), [Ok(1), Ok(2)]);
    });
}

#[test]
fn a_thread_that_waits_is_told_of_the_end() {
    check(10, || {
        let lane = lane();
        let sender = also(&lane, |lane| lane.close(Role::Sender, false));
        assert_eq!(recv(&lane), Err(Stop::Closed(Reason::Closed)));
        sender.join().unwrap();
    });
}

#[test]
fn two_threads_of_one_side_hand_the_slot_over() {
    check(5, || {
        let lane = lane();
        let passes = |lane: &Lane<u32>| {
            send(lane, 7);
            recv(lane)
        };
        let other = also(&lane, passes);
        assert_eq!(passes(&lane), Ok(7));
        assert_eq!(other.join().unwrap(), Ok(7));
    });
}

struct Executor(Notify);

impl Wake for Executor {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

#[test]
fn a_task_that_waits_is_told_of_a_message() {
    check(10, || {
        let lane = lane();
        let sender = also(&lane, |lane| send(lane, 7));
        let executor = Arc::new(Executor(Notify::new()));
        let (end, mut ticket) = (lane.end(Role::Receiver), None);
        let turn = loop {
            end.register(&mut ticket, &Waker::from(Arc::clone(&executor)));
            if let Attempt::Turn(turn) = end.attempt() {
                break turn;
            }
            executor.0.wait();
        };
        assert_eq!(lane.take(turn), 7);
        sender.join().unwrap();
    });
}

/// A direction between processes, as far as it can be lost.
struct Link {
    sent: Mark,
    taken: Mark,
    message: Cell<u32>,
    sender: Desk,
    receiver: Desk,
}

/// No tasks here.
impl Ring for Link {
    fn ring(&self, _role: Role) {}
}

#[test]
fn what_the_dead_have_sent_is_received_before_the_end() {
    check(7, || {
        let link = loom::sync::Arc::new(Link {
            sent: Mark::default(),
            taken: Mark::default(),
            message: Cell::default(),
            sender: Desk::new(Role::Sender, Scope::Machine, 0),
            receiver: Desk::new(Role::Receiver, Scope::Machine, 0),
        });
        let far = loom::sync::Arc::clone(&link);
        let near = End { desk: &link.receiver, mine: &link.taken, theirs: &link.sent };
        let sender = thread::spawn(move || {
            let turn = End { desk: &far.sender, mine: &far.sent, theirs: &far.taken }.wait(Deadline::Never);
            let turn = turn.unwrap().unwrap();
            far.message.put(&turn, 7);
            turn.pass(&*far);
            // Dead now; and so says the watcher.
            End { desk: &far.receiver, mine: &far.taken, theirs: &far.sent }.lose();
        });
        let turn = near.wait(Deadline::Never).unwrap().unwrap();
        assert_eq!(link.message.take(&turn), 7);
        turn.pass(&*link);
        assert!(matches!(near.wait(Deadline::Never), Err(Stop::Gone)));
        sender.join().unwrap();
    });
}
