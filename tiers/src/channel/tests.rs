//! Transcripts: what goes in, what comes out, in order.

use super::Completion::{Broken, End, Lost, Received, Sent, Turn};
use super::*;

type Out = Vec<Completion<&'static str, &'static str>>;

/// A lane whose completions read as lines.
#[derive(Default)]
struct Script {
    lane: Lane<&'static str, &'static str>,
    held: Vec<Delivery<&'static str>>,
}

impl Script {
    fn lines(&mut self, out: Out) -> Vec<String> {
        assert!(self.lane.ledger().balances(), "{:?}", self.lane.ledger());
        let line = |completion| match completion {
            Received(reader, delivery) => {
                let line = format!("{reader} has {}", delivery.message);
                self.held.push(delivery);
                line
            }
            End(reader) => format!("{reader} at end"),
            Lost(reader) => format!("{reader} told of loss"),
            Sent(writer) => format!("{writer} sent"),
            Broken(writer, message) => format!("{writer} keeps {message}"),
            Turn(writer) => format!("{writer}'s turn"),
        };
        out.into_iter().map(line).collect()
    }

    fn read(&mut self, reader: &'static str) -> (Place, Vec<String>) {
        let mut out = Out::new();
        let place = self.lane.read(reader, &mut out);
        (place, self.lines(out))
    }

    fn write(&mut self, writer: &'static str, message: &'static str, until: Until) -> (Place, Vec<String>) {
        let mut out = Out::new();
        let place = self.lane.write(writer, message, until, &mut out);
        (place, self.lines(out))
    }

    fn with(&mut self, act: impl FnOnce(&mut Lane<&'static str, &'static str>, &mut Out)) -> Vec<String> {
        let mut out = Out::new();
        act(&mut self.lane, &mut out);
        self.lines(out)
    }

    fn turn(&mut self, writer: &'static str) -> Vec<String> {
        self.with(|lane, out| _ = lane.wait_turn(writer, out))
    }

    fn give_back(&mut self, index: usize) -> Vec<String> {
        let delivery = self.held.remove(index);
        self.with(|lane, out| lane.give_back(delivery, Reason::Killed(9), out))
    }
}

#[test]
fn one_message_waits_in_the_slot_and_the_next_writer_waits_for_it() {
    let mut s = Script::default();
    assert_eq!(s.write("w1", "a", Until::Placed).1, ["w1 sent"]);
    assert!(!s.lane.is_writable());
    assert!(s.write("w2", "b", Until::Placed).1.is_empty());
    assert_eq!(s.read("r1").1, ["r1 has a", "w2 sent"]);
    assert_eq!(s.read("r2").1, ["r2 has b"]);
    assert!(s.lane.is_writable());
    assert!(s.read("r3").1.is_empty());
    assert_eq!(s.write("w3", "c", Until::Placed).1, ["r3 has c", "w3 sent"]);
}

#[test]
fn a_write_until_taken_waits_for_its_reader_and_holds_the_line() {
    let mut s = Script::default();
    let (place, lines) = s.write("sync", "a", Until::Taken);
    assert!(lines.is_empty());
    assert!(s.lane.is_readable());
    assert!(s.write("w", "b", Until::Placed).1.is_empty(), "order is kept");
    let lines = s.with(|lane, out| assert_eq!(lane.cancel(place, out), Some("sync")));
    assert_eq!(lines, ["w sent"], "and the line moves on without it");
    assert_eq!(s.lane.ledger().sent, 1, "an interrupted write has sent nothing");
    s.write("sync2", "c", Until::Taken);
    assert_eq!(s.read("r").1, ["r has b"]);
    assert_eq!(s.read("r").1, ["r has c", "sync2 sent"]);
}

#[test]
fn who_leaves_the_line_consumes_nothing() {
    let mut s = Script::default();
    let (first, _) = s.read("r1");
    s.read("r2");
    assert!(s.with(|lane, out| assert_eq!(lane.cancel(first, out), Some("r1"))).is_empty());
    assert!(s.with(|lane, out| assert_eq!(lane.cancel(first, out), None)).is_empty(), "only once");
    assert_eq!(s.write("w", "a", Until::Placed).1, ["r2 has a", "w sent"]);
}

#[test]
fn a_message_given_back_is_the_next_delivered_in_the_order_of_sending() {
    let mut s = Script::default();
    for message in ["a", "b"] {
        s.write("w", message, Until::Placed);
        s.read("r");
    }
    s.write("w", "c", Until::Placed);
    assert!(s.give_back(1).is_empty());
    assert!(s.give_back(0).is_empty());
    assert!(!s.lane.is_writable(), "nobody overtakes what was given back");
    assert_eq!(s.read("r").1, ["r has a"]);
    assert_eq!(s.read("r").1, ["r has b"]);
    assert_eq!(s.read("r").1, ["r has c"]);
    assert_eq!(s.lane.ledger().redelivered, 2);
}

#[test]
fn a_message_given_back_goes_to_a_reader_in_line() {
    let mut s = Script::default();
    s.write("w", "a", Until::Placed);
    s.read("r1");
    s.read("r2");
    assert_eq!(s.give_back(0), ["r2 has a"]);
}

#[test]
fn after_a_hang_up_readers_take_what_is_there_and_come_to_the_end() {
    let mut s = Script::default();
    s.write("w1", "a", Until::Placed);
    s.write("w2", "b", Until::Placed);
    assert_eq!(s.with(|lane, out| lane.hang_up(Reason::Closed, out)), ["w2 keeps b"]);
    assert_eq!(s.read("r").1, ["r has a"]);
    assert_eq!(s.read("r").1, ["r at end"]);
    assert_eq!(s.read("r").1, ["r at end"], "and it stays so");
    assert_eq!(s.write("w3", "c", Until::Placed).1, ["w3 keeps c"]);
}

#[test]
fn a_loss_is_told_once_after_what_was_sent() {
    let mut s = Script::default();
    s.write("w", "a", Until::Placed);
    s.with(|lane, out| lane.hang_up(Reason::Killed(9), out));
    assert_eq!(s.read("r").1, ["r has a"]);
    assert_eq!(s.read("r").1, ["r told of loss"]);
    assert_eq!(s.read("r").1, ["r at end"]);
}

#[test]
fn readers_in_line_are_ended_by_a_hang_up() {
    let mut s = Script::default();
    s.read("r1");
    s.read("r2");
    assert_eq!(s.with(|lane, out| lane.hang_up(Reason::Killed(15), out)), ["r1 told of loss", "r2 at end"]);
}

#[test]
fn when_the_reading_side_is_gone_the_slot_is_dropped_and_writers_are_broken() {
    let mut s = Script::default();
    s.write("w1", "a", Until::Placed);
    s.write("w2", "b", Until::Placed);
    assert_eq!(s.with(|lane, out| lane.close(Reason::Closed, out)), ["w2 keeps b"]);
    assert_eq!(s.write("w3", "c", Until::Placed).1, ["w3 keeps c"]);
    assert_eq!(s.lane.ledger().dropped().collect::<Vec<_>>(), [("closed", 1)]);
    s.lane.reopen();
    assert_eq!(s.write("w4", "d", Until::Placed).1, ["w4 sent"]);
}

#[test]
fn a_message_that_is_held_when_the_reading_side_goes_is_dropped_not_given_back() {
    let mut s = Script::default();
    s.write("w", "a", Until::Placed);
    s.read("r");
    s.with(|lane, out| lane.close(Reason::Killed(9), out));
    assert!(s.give_back(0).is_empty());
    assert_eq!(s.lane.ledger().dropped().collect::<Vec<_>>(), [("killed", 1)]);
}

#[test]
fn a_writer_that_is_gone_leaves_its_last_message_behind_what_is_in_the_slot() {
    let mut s = Script::default();
    s.write("w", "a", Until::Placed);
    assert!(s.with(|lane, out| assert_eq!(lane.commit("b", out), None)).is_empty());
    s.with(|lane, out| lane.hang_up(Reason::Closed, out));
    assert_eq!(s.read("r").1, ["r has a"]);
    assert_eq!(s.read("r").1, ["r has b"]);
    assert_eq!(s.with(|lane, out| assert_eq!(lane.commit("c", out), Some("c"))), Vec::<String>::new());
}

#[test]
fn a_turn_comes_in_the_order_of_arrival_and_leaves_the_slot_free() {
    let mut s = Script::default();
    assert_eq!(s.turn("t0"), ["t0's turn"], "the slot is free");
    s.write("w1", "a", Until::Placed);
    assert!(s.turn("t1").is_empty());
    assert!(s.write("w2", "b", Until::Placed).1.is_empty());
    assert!(s.turn("t2").is_empty());
    assert_eq!(s.read("r").1, ["r has a", "t1's turn", "w2 sent"]);
    assert_eq!(s.read("r").1, ["r has b", "t2's turn"]);
    assert!(s.read("r").1.is_empty(), "a turn brings no message");
}

#[test]
fn nobody_waits_for_a_turn_that_will_not_come() {
    let mut s = Script::default();
    s.write("w1", "a", Until::Placed);
    s.turn("t1");
    assert_eq!(s.with(|lane, out| lane.hang_up(Reason::Removed, out)), ["t1's turn"]);
    assert!(s.lane.is_broken());
    assert_eq!(s.turn("t2"), ["t2's turn"]);
}

#[test]
fn a_long_line_returns_its_memory() {
    let mut lane = Lane::<&str, u32>::new();
    let mut out = Vec::new();
    let places: Vec<_> = (0..1000).map(|n| lane.read(n, &mut out)).collect();
    for place in places {
        assert!(lane.cancel(place, &mut out).is_some());
    }
    lane.write(0, "a", Until::Placed, &mut out);
    assert!(lane.readers.capacity() <= 16);
}

#[test]
fn the_newest_takes_the_place_of_one_that_was_not_taken() {
    let mut s = Script::default();
    let mut out = Out::new();
    assert_eq!(s.lane.overtake("old", &mut out), None);
    assert_eq!(s.lane.overtake("new", &mut out), None);
    assert_eq!(s.lines(out), [""; 0]);
    assert_eq!(s.read("r").1, ["r has new"]);
    let ledger = s.lane.ledger();
    assert_eq!((ledger.sent, ledger.missed, ledger.held), (2, 1, 1));
    assert_eq!(ledger.dropped().collect::<Vec<_>>(), [("missed", 1)]);
    let mut out = Out::new();
    s.lane.close(Reason::Closed, &mut out);
    assert_eq!(s.lane.overtake("late", &mut out), Some("late"));
}

#[test]
fn who_passes_messages_on_takes_them_from_writers_in_line() {
    let mut s = Script::default();
    assert_eq!(s.write("w1", "one", Until::Taken).1, [""; 0]);
    assert_eq!(s.write("w2", "two", Until::Taken).1, [""; 0]);
    let mut out = Out::new();
    assert_eq!(s.lane.pop(&mut out), Some("one"));
    assert_eq!(s.lines(out), ["w1 sent"]);
    let mut out = Out::new();
    assert_eq!((s.lane.pop(&mut out), s.lane.pop(&mut out)), (Some("two"), None));
    assert_eq!(s.lines(out), ["w2 sent"]);
    assert_eq!(s.lane.ledger().received, 2);
}

#[test]
fn accounts_of_several_lanes_are_one_account() {
    let mut s = Script::default();
    s.write("w", "one", Until::Placed);
    let mut total = s.lane.ledger();
    total.add(&s.lane.ledger());
    assert_eq!((total.sent, total.slot, total.balances()), (2, 2, true));
    total.close(Reason::Removed);
    assert_eq!((total.slot, total.balances()), (0, true));
    assert_eq!(total.dropped().collect::<Vec<_>>(), [("removed", 2)]);
}
