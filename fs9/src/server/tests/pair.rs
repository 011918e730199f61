//! A pair: its two holders, the end of a conversation, and hanging up.

use super::*;

#[test]
fn a_pair_has_one_holder_an_end_and_begins_anew_when_both_have_left() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.try_open("p/a", "rw", 0), Err(Errno::BUSY));
    s.write(a, 1, "x");
    assert_eq!(s.write(b, 2, "y"), ["2 wrote 1"]);
    assert_eq!(s.clunk(a), NOTHING);
    assert_eq!(s.try_open("p/a", "rw", 0), Err(Errno::BUSY), "the conversation goes on");
    assert_eq!(s.read(b, 3), ["3 has \"x\""]);
    assert_eq!(s.read(b, 4), ["4 at end"]);
    assert_eq!(s.read(b, 5), ["5 at end"]);
    assert_eq!(s.write(b, 6, "z"), ["6 EPIPE"]);
    s.clunk(b);
    let a = s.open("p/a", "rw");
    assert_eq!(s.read(a, 7), NOTHING, "a new conversation");
    let b = s.open("p/b", "rw");
    assert_eq!(s.write(b, 8, "new"), ["7 has \"new\"", "8 wrote 3"]);
    s.done();
}

#[test]
fn who_waits_at_a_pair_is_told_when_the_other_leaves() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.read(b, 1), NOTHING);
    assert_eq!(s.clunk(a), ["1 at end"]);
    s.clunk(b);
    let killed = Ended::killed();
    let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
    s.write(a, 2, "x");
    s.write(b, 3, "y");
    assert_eq!(s.write(b, 4, "z"), NOTHING);
    assert_eq!(s.clunk(a), ["4 EPIPE"]);
    assert_eq!(s.read(b, 5), ["5 has \"x\""], "what it sent is still delivered");
    assert_eq!(s.read(b, 6), ["6 ECONNRESET"]);
    assert_eq!(s.read(b, 7), ["7 at end"]);
    assert_eq!(s.read(b, 8), ["8 at end"]);
    s.done();
}

#[test]
fn an_end_that_was_read_stays_the_end_whatever_becomes_of_the_other_holder() {
    for verb in ["hangup p", "rm p"] {
        let mut s = Script::usual();
        let killed = Ended::killed();
        let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
        s.read(b, 1);
        assert_eq!(s.ctl(verb)[0], "1 at end");
        s.clunk(a);
        assert_eq!(s.read(b, 2), ["2 at end"], "after {verb}");
        s.done();
    }
}

#[test]
fn a_loss_is_told_even_when_the_pair_is_hung_up_before_anybody_reads() {
    for verb in ["hangup p", "rm p"] {
        let mut s = Script::usual();
        let killed = Ended::killed();
        let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
        s.clunk(a);
        s.ctl(verb);
        assert_eq!(s.read(b, 1), ["1 ECONNRESET"], "after {verb}");
        assert_eq!(s.read(b, 2), ["2 at end"], "after {verb}");
        s.done();
    }
}

#[test]
fn a_hang_up_ends_the_conversation_for_both() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(a, 1, "x");
    s.write(a, 2, "y");
    s.read(a, 3);
    let ctl = s.open("p/ctl", "w");
    assert_eq!(s.write(ctl, 4, "hangup\n"), ["2 EPIPE", "3 at end", "4 wrote 7"]);
    assert_eq!(s.read(b, 5), ["5 has \"x\""]);
    assert_eq!(s.read(b, 6), ["6 at end"]);
    assert_eq!(s.write(b, 7, "z"), ["7 EPIPE"]);
    assert_eq!(s.write(ctl, 8, "stop"), ["8 EINVAL"], "a pair's ctl speaks of that pair");
    assert_eq!(s.ctl("hangup q"), ["EINVAL"], "a queue has no conversation");
    s.done();
}

#[test]
fn a_hang_up_of_a_pair_that_nobody_holds_does_not_spoil_the_next_conversation() {
    let mut s = Script::usual();
    s.ctl("hangup p");
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.write(a, 1, "x"), ["1 wrote 1"]);
    assert_eq!(s.read(b, 2), ["2 has \"x\""]);
    s.done();
}
