//! Events, and the verbs of `ctl` that are refused and become one.

use super::*;

#[test]
fn events_are_told_to_everybody_who_reads_them() {
    let mut s = Script::usual();
    let (e1, e2) = (s.open("events", "r"), s.open("events", "r"));
    assert_eq!(s.read_some(e1, 1, 9, true), ["1 EAGAIN"]);
    assert_eq!(s.read_some(e1, 2, 4096, false), NOTHING);
    assert_eq!(s.poll(e2, IN, Some(70)), 0);
    let q = s.open("q", "r");
    let said = s.said();
    assert!(said[0].starts_with("2 has \"{\\\"event\\\":\\\"opened\\\"") && said[1] == "70 wake", "{said:?}");
    assert_eq!(s.poll(e2, IN, None), IN);
    assert_eq!(s.read_some(e2, 3, 8, false), ["3 has \"{\\\"event\\\"\""]);
    assert!(s.read_some(e2, 4, 4096, false)[0].starts_with("4 has \":\\\"opened\\\""), "the rest of the line");
    assert_eq!(s.read_some(e2, 5, 4096, false), NOTHING);
    assert_eq!(s.interrupt(5), ["5 EINTR"]);
    s.read_some(e1, 6, 4096, false);
    let said = s.clunk(q);
    assert!(said[0].contains("closed"), "{said:?}");
    s.read_some(e1, 7, 4096, false);
    assert_eq!(s.clunk(e1), ["7 ESHUTDOWN"]);
    assert!(s.server.parked.is_empty());
    s.done();
}

#[test]
fn a_verb_that_ctl_does_not_list_changes_nothing_and_is_an_event() {
    let mut s = Script::usual();
    let events = s.open("events", "r");
    let nodes = s.server.tree.len();
    for bad in ["", "new", "new a/b", "new q", "new ..", "new --what x", "rm nobody", "rm p/a", "rm ctl", "hangup"] {
        let said = s.ctl(bad);
        assert!(said[0].starts_with('E') || said[0].starts_with("Os"), "{bad}: {said:?}");
        let event = s.read_some(events, 1, 4096, true);
        assert!(event[0].contains("refused") && event[0].contains(bad), "{event:?}");
    }
    assert_eq!(s.server.tree.len(), nodes);
    s.done();
}
