//! What becomes of a message whose reader goes: received, given back or dropped.

use super::*;

#[test]
fn a_reader_that_dies_on_a_message_gives_it_back() {
    let mut s = Script::usual();
    let (w, other) = (s.open("q", "w"), s.open("q", "r"));
    for (script, back) in [("kill -9 $$", true), ("kill -15 $$", true), ("exit 1", true), ("exit 0", false)] {
        let ended = Ended::by(script);
        let r = s.try_open("q", "r", ended.tid()).unwrap();
        assert_eq!(s.write(w, 1, "a"), ["1 wrote 1"]);
        assert_eq!(s.read_some(r, 2, 1, false), ["2 has \"a\""]);
        assert_eq!(s.write(w, 3, "b"), ["3 wrote 1"]);
        assert_eq!(s.clunk(r), NOTHING);
        let next: Vec<String> = (0..2).flat_map(|_| s.read_some(other, 4, 1, true)).collect();
        let expected = if back { ["4 has \"a\"", "4 has \"b\""] } else { ["4 has \"b\"", "4 EAGAIN"] };
        assert_eq!(next, expected, "{script}");
        s.read_some(other, 5, 1, true);
    }
    assert_eq!(s.ledger("q", 0), [8, 8, 3, 0, 0]);
    s.done();
}

#[test]
fn who_closes_while_alive_has_received_even_if_killed_before_the_release() {
    let mut s = Script::usual();
    let (w, me) = (s.open("q", "w"), std::process::id());
    let r = s.try_open("q", "r", me).unwrap();
    s.write(w, 1, "a");
    s.read(r, 2);
    s.server.flush(r, me);
    s.clunk(r);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn with_ack_only_a_read_or_fsync_acknowledges() {
    let mut s = Script::new();
    s.ctl("new --ack q");
    let w = s.open("q", "w");
    // Closed without: it comes back, also from a reader that also wrote.
    let r = s.open("q", "rw");
    s.write(w, 1, "a");
    assert_eq!(s.read(r, 2), ["2 has \"a\""]);
    assert_eq!(s.write(r, 3, "answer"), ["3 wrote 6"]);
    assert_eq!(s.clunk(r), NOTHING);
    let r = s.open("q", "r");
    assert_eq!(s.read(r, 4), ["4 has \"a\""], "before what was sent after it");
    assert_eq!(s.server.fsync(r), Ok(()));
    assert_eq!(s.ledger("q", 0), [2, 1, 1, 1, 0]);
    assert_eq!(s.read(r, 5), ["5 has \"answer\""]);
    assert_eq!(s.read_some(r, 6, 100, true), ["6 EAGAIN"]);
    assert_eq!(s.ledger("q", 0), [2, 2, 1, 0, 0], "acknowledged by the read though it found nothing");
    s.done();
}

#[test]
fn a_message_given_back_goes_to_the_reader_that_waits() {
    let mut s = Script::new();
    s.ctl("new --ack q");
    let (w, r1, r2) = (s.open("q", "w"), s.open("q", "r"), s.open("q", "r"));
    s.write(w, 1, "a");
    s.read(r1, 2);
    assert_eq!(s.read(r2, 3), NOTHING);
    assert_eq!(s.clunk(r1), ["3 has \"a\""]);
    s.done();
}

#[test]
fn on_a_pair_the_message_of_a_killed_reader_is_dropped() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (a, b) = (s.open("p/a", "rw"), s.try_open("p/b", "rw", killed.tid()).unwrap());
    s.write(a, 1, "x");
    assert_eq!(s.read(b, 2), ["2 has \"x\""]);
    s.clunk(b);
    assert_eq!(s.ledger("p", 0), [1, 0, 0, 0, 0]);
    let ledger = account(&s.server, "p", 0);
    assert_eq!(ledger.dropped().collect::<Vec<_>>(), [("killed", 1)]);
    s.done();
}
