//! The stop: what waits is answered, and nothing is left.

use super::*;

#[test]
fn the_stop_answers_everything_that_waits() {
    let mut s = Script::usual();
    let (w, r, whole, line) = (s.open("q", "w"), s.open("p/a", "rw"), s.open("q:whole", "w"), s.open("q:line", "w"));
    let (idle, events) = (s.open("q", "r"), s.open("events", "r"));
    s.read(r, 1);
    s.write(w, 2, "a");
    s.write(w, 3, "b");
    s.write(whole, 4, "c");
    s.write(line, 5, "d\ne\n");
    assert_eq!(s.read(events, 6), NOTHING);
    let mut said = s.stop();
    said.sort();
    assert_eq!(said, ["1 ESHUTDOWN", "3 ESHUTDOWN", "4 ESHUTDOWN", "5 ESHUTDOWN", "6 ESHUTDOWN"]);
    assert_eq!(s.read(idle, 7), ["7 ESHUTDOWN"]);
    assert_eq!(s.write(w, 8, "x"), ["8 ESHUTDOWN"]);
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::SHUTDOWN));
    for handle in std::mem::take(&mut s.open) {
        s.clunk(handle);
    }
    nothing_is_left(&s.server);
    assert_eq!(s.store.used(), 0);
}

#[test]
fn a_removed_queue_is_stopped_too() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (w, r) = (s.open("q", "w"), s.try_open("q", "r", killed.tid()).unwrap());
    s.write(w, 1, "a");
    s.ctl("rm q");
    s.stop();
    assert_eq!(s.store.used(), 0, "what was in the slot of a removed queue is gone");
    s.clunk(w);
    s.clunk(r);
}

#[test]
fn a_descriptor_that_holds_a_message_can_be_closed_after_the_stop() {
    for (script, verb) in [("exit 0", "new q"), ("kill -9 $$", "new q"), ("exit 0", "new --ack q")] {
        let mut s = Script::new();
        s.ctl(verb);
        let holder = Ended::by(script);
        let (w, r) = (s.open("q", "w"), s.try_open("q", "r", holder.tid()).unwrap());
        s.write(w, 1, "a");
        s.read(r, 2);
        s.stop();
        assert_eq!(s.server.fsync(r), Ok(()));
        s.clunk(r);
        s.clunk(w);
        nothing_is_left(&s.server);
        assert_eq!(s.store.used(), 0);
    }
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (a, b) = (s.open("p/a", "rw"), s.try_open("p/b", "rw", killed.tid()).unwrap());
    s.write(a, 1, "x");
    s.read(b, 2);
    s.stop();
    s.clunk(b);
    s.clunk(a);
    assert_eq!(s.store.used(), 0);
}

#[test]
fn the_stop_verb_is_answered_and_says_so() {
    let mut s = Script::usual();
    assert!(!s.asked_to_stop);
    assert_eq!(s.ctl("stop\n"), ["wrote 5"]);
    assert!(s.asked_to_stop);
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::SHUTDOWN));
}

#[test]
fn a_ticket_that_is_dropped_answers_that_the_server_is_going() {
    let mut s = Script::usual();
    drop(s.ticket(1));
    assert_eq!(s.said(), ["1 ESHUTDOWN"]);
    let r = s.open("q", "r");
    s.read(r, 2);
    let Script { server, door, store, .. } = s;
    drop(server);
    assert_eq!(*door.said(), [(2, "ESHUTDOWN".to_owned())]);
    assert_eq!(store.used(), 0);
}
