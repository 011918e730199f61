//! Polling: what is ready, and who is woken.

use super::*;

#[test]
fn polling_says_what_would_not_wait() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!((s.poll(r, IN, None), s.poll(w, OUT, None)), (0, OUT));
    s.write(w, 1, "ab");
    assert_eq!((s.poll(r, IN, None), s.poll(w, OUT, None)), (IN, 0));
    s.read_some(r, 2, 1, false);
    assert_eq!(s.poll(r, IN, None), IN, "the rest of a message");
    s.read_some(r, 3, 1, false);
    assert_eq!(s.poll(r, IN, None), 0);
    let killed = Ended::killed();
    let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
    assert_eq!(s.poll(b, PRI, None), OUT);
    s.clunk(a);
    assert_eq!(s.poll(b, PRI, None), IN | OUT | ready::HUP | ready::ERR);
    s.done();
}

#[test]
fn polling_knows_who_waits_for_a_reader_and_who_for_nothing() {
    let mut s = Script::usual();
    let (sync, whole, r) = (s.open("q", "w"), s.open("q:whole", "w"), s.open("q", "r"));
    s.peer_flags(sync).sync = true;
    assert_eq!(s.poll(sync, OUT, None), 0, "nobody reads");
    s.write(whole, 1, "ab");
    s.read(r, 2);
    assert_eq!(s.poll(sync, OUT, None), OUT);
    let other = s.open("q", "w");
    s.write(other, 3, "c");
    s.write(other, 4, "d");
    assert_eq!((s.poll(other, OUT, None), s.poll(whole, OUT, None)), (0, OUT), "a whole that has begun goes on");
    s.interrupt(2);
    s.done();
}

#[test]
fn polling_wakes_once_for_what_was_asked() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.poll(r, IN, Some(70)), 0);
    assert_eq!(s.write(w, 1, "a"), ["1 wrote 1", "70 wake"]);
    assert_eq!(s.poll(w, OUT, Some(71)), 0);
    assert_eq!(s.read(r, 2), ["2 has \"a\"", "71 wake"]);
    assert_eq!(s.write(w, 3, "b"), ["3 wrote 1"], "nobody watches any more");
    let b = s.open("p/b", "rw");
    s.poll(b, IN, Some(72));
    let a = s.open("p/a", "rw");
    assert_eq!(s.clunk(a), ["72 wake"], "a hang-up wakes whoever polls");
    s.done();
}

#[test]
fn polling_again_and_again_keeps_one_watcher() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    for _ in 0..100 {
        s.poll(r, IN, Some(70));
        s.poll(r, IN, None);
    }
    s.poll(r, IN, Some(70));
    let (file, _) = s.find("q");
    assert_eq!(s.server.tree.channel_mut(file.node).unwrap().watchers.len(), 1);
    assert_eq!(s.write(w, 1, "a"), ["1 wrote 1", "70 wake"]);
    s.done();
}

#[test]
fn polling_by_two_parties_of_one_descriptor_wakes_for_what_either_asked() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(b, 1, "full");
    s.poll(b, IN, Some(70));
    s.poll(b, OUT, Some(70));
    assert_eq!(s.write(a, 2, "x"), ["2 wrote 1", "70 wake"]);
    s.done();
}
