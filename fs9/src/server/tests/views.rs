//! The views `:line` and `:whole`, and the limit of a message in each.

use super::*;

#[test]
fn a_line_view_sends_a_message_a_line_and_the_unfinished_one_at_close() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "he"), ["1 wrote 2"], "unfinished");
    assert_eq!(s.ledger("q", 0)[0], 0);
    assert_eq!(s.write(w, 2, "llo\nyou\nth"), NOTHING, "the second line waits for the slot");
    assert_eq!(s.read(r, 3), ["3 has \"hello\\n\"", "2 wrote 10"]);
    assert_eq!(s.read(r, 4), ["4 has \"you\\n\""]);
    assert_eq!(s.write(w, 5, "ere"), ["5 wrote 3"]);
    assert_eq!(s.read(r, 6), NOTHING);
    assert_eq!(s.clunk(w), ["6 has \"there\""]);
    s.done();
}

#[test]
fn lines_that_are_interrupted_midway_are_written_as_far_as_they_were_sent() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "one\ntwo\nthree\nrest"), NOTHING);
    assert_eq!(s.read(r, 2), ["2 has \"one\\n\""]);
    assert_eq!(s.ledger("q", 0)[0], 2, "the next line has gone in");
    assert_eq!(s.interrupt(1), ["1 wrote 8"]);
    assert_eq!(s.read(r, 3), ["3 has \"two\\n\""]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 EAGAIN"]);
    assert_eq!(s.clunk(w), NOTHING, "what was not written is not sent at close");
    assert_eq!(s.ledger("q", 0)[0], 2);
    s.done();
}

#[test]
fn the_first_of_several_lines_interrupted_sends_nothing_and_keeps_what_was_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    s.write(w, 1, "he");
    let other = s.open("q", "w");
    s.write(other, 2, "slot");
    assert_eq!(s.write(w, 3, "llo\nyou\n"), NOTHING);
    assert_eq!(s.interrupt(3), ["3 EINTR"]);
    assert_eq!(s.read(r, 4), ["4 has \"slot\""]);
    assert_eq!(s.write(w, 5, "y\n"), ["5 wrote 2"]);
    assert_eq!(s.read(r, 6), ["6 has \"hey\\n\""]);
    s.interrupt(7);
    assert_eq!(s.write(w, 7, "a\nb\nc\n"), ["7 wrote 2"], "interrupted early: it stops where it would wait");
    s.done();
}

#[test]
fn lines_that_are_broken_midway_are_written_as_far_as_they_were_sent() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a:line", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.write(a, 1, "one\ntwo\nthree\n"), NOTHING);
    assert_eq!(s.clunk(b), ["1 wrote 4"]);
    assert_eq!(s.write(a, 2, "more\n"), ["2 EPIPE"]);
    assert_eq!(s.write(a, 3, "more"), ["3 EPIPE"]);
    s.done();
}

#[test]
fn nonblocking_lines_stop_where_they_would_wait() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "one\ntwo\nrest", NONBLOCKING), ["1 wrote 4"]);
    assert_eq!(s.write_with(w, 2, "two\nrest", NONBLOCKING), ["2 EAGAIN"]);
    assert_eq!(s.read(r, 3), ["3 has \"one\\n\""]);
    assert_eq!(s.write_with(w, 4, "two\nrest", NONBLOCKING), ["4 wrote 8"]);
    s.done();
}

#[test]
fn a_reader_of_the_line_view_gets_a_newline_with_every_message() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q:line", "r"));
    s.write(w, 1, "a");
    assert_eq!(s.read(r, 2), ["2 has \"a\\n\""]);
    s.write(w, 3, "b\n");
    assert_eq!(s.read_some(r, 4, 1, false), ["4 has \"b\""]);
    assert_eq!(s.read_some(r, 5, 1, false), ["5 has \"\\n\""]);
    s.done();
}

#[test]
fn a_synchronous_line_waits_for_its_reader() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "a\n", SYNC), NOTHING);
    assert_eq!(s.read(r, 2), ["2 has \"a\\n\"", "1 wrote 2"]);
    s.done();
}

#[test]
fn the_whole_view_is_one_message_and_then_the_end() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:whole", "w"), s.open("q:whole", "r"));
    assert_eq!(s.read(r, 1), NOTHING);
    assert_eq!(s.write(w, 2, "ab"), ["2 wrote 2"]);
    assert_eq!(s.write(w, 3, "\ncd"), ["3 wrote 3"]);
    assert_eq!(s.clunk(w), ["1 has \"ab\\ncd\""]);
    assert_eq!(s.poll(r, IN, None), IN);
    assert_eq!(s.read(r, 4), ["4 at end"]);
    assert_eq!(s.read(r, 5), ["5 at end"]);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn the_first_bytes_of_a_whole_wait_for_the_slot_and_the_rest_do_not() {
    let mut s = Script::usual();
    let (other, r) = (s.open("q", "w"), s.open("q", "r"));
    let (w1, w2) = (s.open("q:whole", "w"), s.open("q:whole", "w"));
    s.write(other, 1, "slot");
    assert_eq!(s.write(w1, 2, "ab"), NOTHING);
    assert_eq!(s.write(w2, 3, "xy"), NOTHING);
    assert_eq!(s.write_with(w2, 4, "xy", NONBLOCKING), ["4 EAGAIN"]);
    assert_eq!(s.interrupt(2), ["2 EINTR"]);
    assert_eq!(s.clunk(w1), NOTHING, "it has written nothing");
    assert_eq!(s.read(r, 5), ["5 has \"slot\"", "3 wrote 2"]);
    s.write(other, 6, "slot");
    assert_eq!(s.write(w2, 7, "z"), ["7 wrote 1"], "once begun it goes on");
    s.clunk(w2);
    assert_eq!(s.read(r, 8), ["8 has \"slot\""]);
    assert_eq!(s.read(r, 9), ["9 has \"xyz\""]);
    s.done();
}

#[test]
fn a_whole_begins_in_its_turn_and_not_behind_every_later_writer() {
    let mut s = Script::usual();
    let (w1, w2, r) = (s.open("q", "w"), s.open("q", "w"), s.open("q", "r"));
    let whole = s.open("q:whole", "w");
    s.write(w1, 1, "slot");
    assert_eq!(s.write(w1, 2, "before"), NOTHING);
    assert_eq!(s.write(whole, 3, "ab"), NOTHING);
    assert_eq!(s.write(w2, 4, "after"), NOTHING);
    assert_eq!(s.read(r, 5), ["5 has \"slot\"", "2 wrote 6"]);
    assert_eq!(s.read(r, 6), ["6 has \"before\"", "3 wrote 2", "4 wrote 5"]);
    assert_eq!(s.clunk(whole), NOTHING);
    assert_eq!(s.read(r, 7), ["7 has \"after\""]);
    assert_eq!(s.read(r, 8), ["8 has \"ab\""]);
    s.done();
}

#[test]
fn many_short_lines_are_counted_once() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    s.write(w, 1, &"\n".repeat(50));
    assert_eq!(s.server.store.used(), 50, "the lines share the bytes of their write");
    for id in 2..51 {
        s.read(r, id);
    }
    assert_eq!(s.read(r, 51)[0], "51 has \"\\n\"");
    s.done();
}

#[test]
fn a_whole_that_waits_to_begin_ends_with_the_channel() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(a, 1, "slot");
    s.clunk(a);
    s.clunk(b);
    let (other, w) = (s.open("q", "w"), s.open("q:whole", "w"));
    s.write(other, 2, "slot");
    assert_eq!(s.write(w, 3, "ab"), NOTHING);
    assert_eq!(s.ctl("rm q"), ["3 EPIPE", "wrote 4"]);
    s.done();
}

#[test]
fn what_a_killed_writer_gathered_is_not_sent() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let w = s.try_open("q:whole", "w", killed.tid()).unwrap();
    s.write(w, 1, "half");
    s.clunk(w);
    assert_eq!(s.ledger("q", 0)[0], 0);
    let exited = Ended::by("exit 3");
    let w = s.try_open("q:whole", "w", exited.tid()).unwrap();
    s.write(w, 2, "all");
    s.clunk(w);
    assert_eq!(s.ledger("q", 0)[0], 1);
    s.done();
}

#[test]
fn over_the_limit_nothing_is_sent() {
    let mut s = Script::usual();
    let (w, whole, line, r) = (s.open("q", "w"), s.open("q:whole", "w"), s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "12345678901234567"), ["1 EMSGSIZE"]);
    assert_eq!(s.write(whole, 2, "1234567890"), ["2 wrote 10"]);
    assert_eq!(s.write(whole, 3, "1234567"), ["3 EMSGSIZE"]);
    assert_eq!(s.write(whole, 4, "1"), ["4 EMSGSIZE"], "and from now on");
    assert_eq!(s.write(line, 5, "ok\n12345678901234567\n"), ["5 EMSGSIZE"]);
    s.clunk(whole);
    s.clunk(line);
    assert_eq!(s.ledger("q", 0)[0], 0);
    assert_eq!(s.write(w, 6, "1234567890123456"), ["6 wrote 16"]);
    assert_eq!(s.read(r, 7), ["7 has \"1234567890123456\""]);
    s.done();
}
