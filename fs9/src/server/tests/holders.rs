//! The processes that hold descriptors.

use super::*;

#[test]
fn an_open_that_is_refused_leaves_no_holder() {
    let mut s = Script::usual();
    s.open("p/a", "rw");
    let other = Ended::by("exit 0");
    assert_eq!(s.try_open("p/a", "rw", other.tid()), Err(Errno::BUSY));
    assert_eq!(s.server.holders.len(), 0, "and no pidfd");
    s.done();
}

#[test]
fn one_holder_serves_all_descriptors_of_a_process() {
    let mut s = Script::usual();
    let me = std::process::id();
    let (x, y) = (s.try_open("q", "r", me).unwrap(), s.try_open("q", "w", me).unwrap());
    assert_eq!(s.server.holders.len(), 1);
    s.clunk(x);
    assert_eq!(s.server.holders.len(), 1);
    s.clunk(y);
    assert_eq!(s.server.holders.len(), 0);
    s.done();
}
