//! A queue: messages in order, waiting, interrupts, removal.

use super::*;

#[test]
fn a_message_goes_from_a_writer_to_the_reader_that_came_first() {
    let mut s = Script::usual();
    let (w, r1, r2) = (s.open("q", "w"), s.open("q", "r"), s.open("q", "r"));
    assert_eq!(s.read(r1, 1), NOTHING);
    assert_eq!(s.read(r2, 2), NOTHING);
    assert_eq!(s.server.parked.len(), 2);
    assert_eq!(s.write(w, 3, "one"), ["1 has \"one\"", "3 wrote 3"]);
    assert_eq!(s.write(w, 4, "two"), ["2 has \"two\"", "4 wrote 3"]);
    assert_eq!(s.write(w, 5, "three"), ["5 wrote 5"], "the slot is free");
    assert_eq!(s.write(w, 6, "four"), NOTHING, "the slot is full");
    assert_eq!(s.ledger("q", 0), [3, 0, 0, 1, 2]);
    assert_eq!(s.read(r1, 7), ["7 has \"three\"", "6 wrote 4"]);
    assert_eq!(s.ledger("q", 0), [4, 1, 0, 1, 2]);
    s.done();
}

#[test]
fn a_short_buffer_leaves_the_rest_for_the_next_read() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "hello");
    assert_eq!(s.read_some(r, 2, 2, false), ["2 has \"he\""]);
    assert_eq!(s.read_some(r, 3, 100, true), ["3 has \"llo\""]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 EAGAIN"]);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn a_continuation_of_a_large_read_is_its_end_and_consumes_nothing() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "a");
    let ticket = s.ticket(2);
    s.server.read(r, 4096, 100, false, ticket, &mut s.fx);
    assert_eq!(s.said(), ["2 at end"]);
    assert_eq!(s.read(r, 3), ["3 has \"a\""]);
    s.done();
}

#[test]
fn a_later_piece_of_a_write_is_not_a_message() {
    let mut s = Script::usual();
    let w = s.open("q", "w");
    assert_eq!(s.write_with(w, 1, "a", Flags { continued: true, ..PLAIN }), ["1 EMSGSIZE"]);
    assert_eq!(s.ledger("q", 0)[0], 0);
    let w = s.open("q:whole", "w");
    assert_eq!(s.write_with(w, 2, "a", Flags { continued: true, ..PLAIN }), ["2 wrote 1"], "a view takes them all");
    s.done();
}

#[test]
fn an_interrupted_wait_has_sent_and_consumed_nothing() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read(r, 1);
    assert_eq!(s.interrupt(1), ["1 EINTR"]);
    assert_eq!(s.interrupt(1), NOTHING, "only once");
    s.write(w, 2, "a");
    assert_eq!(s.write(w, 3, "b"), NOTHING);
    assert_eq!(s.write(w, 4, "c"), NOTHING);
    assert_eq!(s.interrupt(3), ["3 EINTR"]);
    assert_eq!(s.read(r, 5), ["5 has \"a\"", "4 wrote 1"]);
    assert_eq!(s.read(r, 6), ["6 has \"c\""]);
    assert_eq!(s.ledger("q", 0)[0], 2);
    s.done();
}

#[test]
fn an_interrupt_that_comes_before_its_request_keeps_it_from_waiting() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.interrupt(1), NOTHING);
    assert_eq!(s.read(r, 1), ["1 EINTR"]);
    assert_eq!(s.read(r, 2), NOTHING, "it was for that request only");
    s.interrupt(3);
    assert_eq!(s.write(w, 3, "a"), ["2 has \"a\"", "3 wrote 1"], "what need not wait is done");
    s.write(w, 4, "b");
    s.interrupt(5);
    assert_eq!(s.write(w, 5, "c"), ["5 EINTR"]);
    let events = s.open("events", "r");
    s.interrupt(6);
    assert_eq!(s.read(events, 6), ["6 EINTR"]);
    assert!(s.server.event_waiters.is_empty());
    s.done();
}

#[test]
fn early_interrupts_are_remembered_up_to_a_bound() {
    let mut s = Script::usual();
    let r = s.open("q", "r");
    for id in 1..=EARLY as u64 + 1 {
        s.interrupt(id);
    }
    assert_eq!(s.server.early.len(), EARLY);
    assert_eq!(s.read(r, 2), ["2 EINTR"]);
    assert_eq!(s.read(r, 1), NOTHING, "the oldest was forgotten");
    s.done();
}

#[test]
fn nonblocking_fails_where_it_would_wait_and_only_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.read_some(r, 1, 100, true), ["1 EAGAIN"]);
    assert_eq!(s.write_with(w, 2, "a", NONBLOCKING), ["2 wrote 1"]);
    assert_eq!(s.write_with(w, 3, "b", NONBLOCKING), ["3 EAGAIN"]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 has \"a\""]);
    let sync = Flags { sync: true, ..NONBLOCKING };
    assert_eq!(s.write_with(w, 5, "c", sync), ["5 EAGAIN"], "no reader waits");
    assert_eq!(s.read(r, 6), NOTHING);
    assert_eq!(s.write_with(w, 7, "d", sync), ["6 has \"d\"", "7 wrote 1"]);
    s.done();
}

#[test]
fn a_synchronous_write_waits_for_its_reader() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "a", SYNC), NOTHING);
    assert_eq!(s.write(w, 2, "b"), NOTHING, "order is kept");
    assert_eq!(s.interrupt(1), ["1 EINTR", "2 wrote 1"]);
    assert_eq!(s.write_with(w, 3, "c", SYNC), NOTHING);
    assert_eq!(s.read(r, 4), ["4 has \"b\""]);
    assert_eq!(s.read(r, 5), ["5 has \"c\"", "3 wrote 1"]);
    s.done();
}

#[test]
fn a_descriptor_does_only_what_it_was_opened_for() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.read(w, 1), ["1 EBADF"]);
    assert_eq!(s.write(r, 2, "a"), ["2 EBADF"]);
    assert_eq!(s.read(777, 3), ["3 EBADF"]);
    assert_eq!(s.try_open("status", "w", 0), Err(Errno::ACCESS));
    assert_eq!(s.try_open("events", "rw", 0), Err(Errno::ACCESS));
    let status = s.open("p/status", "r");
    assert_eq!(s.write(status, 4, "a"), ["4 EACCES"]);
    assert!(s.read(status, 5)[0].starts_with("5 has \"p  pair "));
    s.done();
}

#[test]
fn removal_hangs_up_who_waits_and_leaves_what_is_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "a");
    s.write(w, 2, "b");
    s.server.remove(File::of(ROOT), b"q", false, &mut s.fx).unwrap();
    assert_eq!(s.said(), ["2 EPIPE"]);
    assert!(s.server.walk(File::of(ROOT), b"q").is_err());
    assert_eq!(s.read(r, 3), ["3 has \"a\""]);
    assert_eq!(s.read(r, 4), ["4 at end"]);
    s.ctl("new q");
    let (r1, r2) = (s.open("q", "r"), s.open("q", "r"));
    s.read(r1, 5);
    s.read(r2, 6);
    assert_eq!(s.ctl("rm q"), ["5 at end", "6 at end", "wrote 4"]);
    let nodes = s.server.tree.len();
    for handle in [w, r, r1, r2] {
        s.clunk(handle);
    }
    assert_eq!(s.server.tree.len(), nodes - 2, "forgotten when nobody has it open");
    s.done();
}

#[test]
fn a_clunk_ends_what_waits_on_the_descriptor() {
    let mut s = Script::usual();
    let (w, r, whole) = (s.open("q", "w"), s.open("q", "r"), s.open("q:whole", "w"));
    s.read(r, 1);
    assert_eq!(s.clunk(r), ["1 EINTR"]);
    s.write(w, 2, "a");
    s.write(w, 3, "b");
    s.write(w, 4, "c");
    s.write(whole, 5, "d");
    assert_eq!(s.clunk(whole), ["5 EINTR"]);
    let mut said = s.clunk(w);
    said.sort();
    assert_eq!(said, ["3 EINTR", "4 EINTR"]);
    assert_eq!(s.ledger("q", 0)[0], 1);
    s.done();
}

#[test]
fn two_reads_that_wait_on_one_descriptor_each_get_a_message_and_the_first_is_received() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read(r, 1);
    s.read(r, 2);
    assert_eq!(s.write(w, 3, "a"), ["1 has \"a\"", "3 wrote 1"]);
    assert_eq!(s.write(w, 4, "b"), ["2 has \"b\"", "4 wrote 1"]);
    assert_eq!(s.ledger("q", 0), [2, 1, 0, 0, 1]);
    s.clunk(r);
    assert_eq!(s.ledger("q", 0), [2, 2, 0, 0, 0]);
    s.done();
}

#[test]
fn two_reads_that_wait_on_one_descriptor_share_a_message_that_is_longer_than_the_first_asked_for() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read_some(r, 1, 2, false);
    s.read_some(r, 2, 100, false);
    let mut said = s.write(w, 3, "hello");
    said.sort();
    assert_eq!(said, ["1 has \"he\"", "2 has \"llo\"", "3 wrote 5"]);
    s.done();
}
