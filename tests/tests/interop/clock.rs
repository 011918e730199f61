//! A clock that is set a day back and forward under a node: that of a kernel which runs as a process, for nobody else goes
//! by it. What `clock.sh` does there.

use std::process::Stdio;

use fs9_tests::{audit, binary, setup};

use crate::uml::Kernel;

#[test]
fn what_was_granted_ends_when_the_clock_says_so_and_does_not_begin_again() {
    setup::set_up();
    let dir = tempfile::tempdir().unwrap();
    let words = [format!("FS9={}", binary().display()), format!("BESIDE={}", dir.path().display())];
    let mut kernel = Kernel::boot("clock.sh", dir.path(), Stdio::null(), "", &words.each_ref().map(String::as_str));
    let refused = |said: &str, why: &str| assert!(said.contains(why) && said.contains("nothing is attached"), "{said}");

    assert_eq!((kernel.says("granted").as_str(), kernel.says("attached").as_str()), ("done", "done"));
    assert_eq!(kernel.says("back"), "done", "it has not begun by that clock, but it had before");
    assert_eq!(kernel.says("forward"), "cat: beta/n/first/jobs: Key has been revoked");
    assert_eq!(kernel.says("heard"), "the same day again", "set back, the clock has ended nothing");
    for name in ["expired", "still", "restarted"] {
        refused(&kernel.says(name), "it has expired");
    }
    for name in ["anew", "again", "short", "fifth"] {
        assert_eq!(kernel.says(name), "done", "{name}");
    }
    refused(&kernel.says("early"), "not valid yet by this node's clock");
    assert_eq!(kernel.says("due"), "done");
    assert_eq!(kernel.says("over"), "cat: beta/n/sixth/jobs: Key has been revoked");
    kernel.ended();

    // Who came as the second had nothing open, and has nothing any more either.
    assert_eq!(audit::check(&dir.path().join("audit.log"))["ended"], 2);
}
