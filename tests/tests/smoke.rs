//! The first thing anybody tries.

use fs9_tests::Mount;

#[test]
fn two_shells_pass_a_message() {
    let mount = Mount::new();
    assert_eq!(mount.run("echo hi > p/jobs; head -n1 p/jobs 2>/dev/null"), "hi\n");
    assert_eq!((mount.figure("jobs", "sent"), mount.figure("jobs", "received")), (1, 1));
    mount.assert_ledgers_balance();
}
