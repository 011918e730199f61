use std::time::{Duration, Instant};

use crate::error::Reason;
use crate::slot::*;
use crate::sync::Ordering;

/// A slot with both its sides here.
struct Slot {
    sent: Mark,
    taken: Mark,
    sender: Desk,
    receiver: Desk,
}

/// Nobody has tasks here.
impl Ring for Slot {
    fn ring(&self, _: Role) {}
}

impl Slot {
    fn new(scope: Scope, passed: u32) -> Slot {
        let mark = || {
            let mark = Mark::default();
            mark.count.store(passed.wrapping_mul(ONE), Ordering::Relaxed);
            mark
        };
        let desk = |role| Desk::new(role, scope, passed);
        Slot { sent: mark(), taken: mark(), sender: desk(Role::Sender), receiver: desk(Role::Receiver) }
    }

    fn sender(&self) -> End<'_> {
        End { desk: &self.sender, mine: &self.sent, theirs: &self.taken }
    }

    fn receiver(&self) -> End<'_> {
        End { desk: &self.receiver, mine: &self.taken, theirs: &self.sent }
    }

    fn send(&self) -> String {
        self.pass(self.sender())
    }

    fn receive(&self) -> String {
        self.pass(self.receiver())
    }

    /// What an attempt comes to; a turn is passed.
    fn pass(&self, end: End<'_>) -> String {
        match end.attempt() {
            Attempt::Turn(turn) => {
                let number = turn.number();
                turn.pass(self);
                format!("passed {number}")
            }
            Attempt::Wait(_) => "waits".to_owned(),
            Attempt::Stopped(stop) => format!("{stop:?}"),
        }
    }
}

#[test]
fn the_sides_take_turns() {
    let slot = Slot::new(Scope::Process, 0);
    assert_eq!(slot.receive(), "waits");
    assert_eq!(slot.send(), "passed 0");
    assert_eq!(slot.send(), "waits");
    assert_eq!(slot.receive(), "passed 0");
    assert_eq!(slot.receive(), "waits");
    assert_eq!(slot.send(), "passed 1");
    assert_eq!((slot.sender.passed(), slot.receiver.passed()), (2, 1));
}

#[test]
fn counts_go_round() {
    let slot = Slot::new(Scope::Process, (1 << 30) - 1);
    for number in ["passed 1073741823", "passed 0", "passed 1"] {
        assert_eq!((slot.send().as_str(), slot.receive().as_str()), (number, number));
    }
}

#[test]
fn what_was_sent_is_received_before_the_end() {
    let slot = Slot::new(Scope::Process, 0);
    assert_eq!(slot.send(), "passed 0");
    slot.sender().close(false, &slot);
    assert_eq!(slot.receiver().stopped(), None);
    assert_eq!(slot.receive(), "passed 0");
    assert_eq!(slot.receive(), "Closed(Closed)");
    assert_eq!(slot.receiver().stopped(), Some(Stop::Closed(Reason::Closed)));

    let slot = Slot::new(Scope::Process, 0);
    slot.receiver().close(true, &slot);
    assert_eq!(slot.send(), "Closed(Panicked)");
}

#[test]
fn who_is_gone_without_a_word_has_sent_what_it_has_shown() {
    let slot = Slot::new(Scope::Machine, 0);
    assert_eq!(slot.send(), "passed 0");
    slot.receiver().lose();
    assert_eq!(slot.receive(), "passed 0");
    assert_eq!(slot.receive(), "Gone");
    slot.sender().lose();
    assert_eq!(slot.send(), "Gone");
}

#[test]
fn a_count_that_is_out_of_step_breaks_the_protocol() {
    for forged in [2, 3, 1 << 29, u32::MAX / ONE] {
        let slot = Slot::new(Scope::Machine, 0);
        slot.sent.count.store(forged * ONE, Ordering::Relaxed);
        assert_eq!(slot.receive(), "Broken", "{forged}");
    }
    for forged in [1, 2, 1 << 29, u32::MAX / ONE - 1] {
        let slot = Slot::new(Scope::Machine, 0);
        slot.taken.count.store(forged * ONE, Ordering::Relaxed);
        assert_eq!(slot.send(), "Broken", "{forged}");
    }
    // What is written over our own mark changes nothing for us.
    let slot = Slot::new(Scope::Machine, 0);
    slot.sent.count.store(77 * ONE, Ordering::Relaxed);
    assert_eq!(slot.send(), "passed 0");
    assert_eq!(slot.receive(), "passed 0");
}

#[test]
fn a_turn_is_one_threads_and_comes_back_when_it_is_dropped() {
    let slot = Slot::new(Scope::Process, 0);
    let Attempt::Turn(turn) = slot.sender().attempt() else { panic!("the slot is free") };
    assert_eq!(slot.send(), "waits");
    drop(turn);
    assert_eq!(slot.send(), "passed 0");
    // Passed early, it is shown, and the next is not taken before it ends.
    let Attempt::Turn(turn) = slot.receiver().attempt() else { panic!("the slot is full") };
    let kept = turn.pass_early(&slot);
    assert_eq!(slot.send(), "passed 1");
    assert_eq!(slot.receive(), "waits");
    drop(kept);
    assert_eq!(slot.receive(), "passed 1");
}

#[test]
fn a_deadline_ends_a_wait() {
    for scope in [Scope::Process, Scope::Machine] {
        let slot = Slot::new(scope, 0);
        for deadline in [Deadline::Now, Deadline::At(Instant::now()), Deadline::after(Duration::from_millis(2))] {
            assert!(matches!(slot.receiver().wait(deadline), Ok(None)), "{deadline:?}");
        }
        assert_eq!(slot.taken.sleepers.load(Ordering::Relaxed), 0);
    }
    assert_eq!(Deadline::after(Duration::MAX), Deadline::Never);
}

#[test]
fn a_sleeper_is_woken_by_either_word() {
    for scope in [Scope::Process, Scope::Machine] {
        let slot = Slot::new(scope, 0);
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| slot.receiver().wait(Deadline::Never).map(|turn| turn.map(drop)));
            while slot.taken.sleepers.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            match scope {
                Scope::Process => assert_eq!(slot.send(), "passed 0"),
                Scope::Machine => slot.receiver().lose(),
            }
            let ended = waits.join().expect("it does not panic");
            assert_eq!(ended, if scope == Scope::Process { Ok(Some(())) } else { Err(Stop::Gone) });
        });
    }
}
