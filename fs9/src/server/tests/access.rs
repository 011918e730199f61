//! Who may what, where no kernel has asked before.

use super::*;
use crate::server::access::{Change, READ, SEARCH, WRITE, Who};

fn who(uid: u32, gid: u32, groups: &[u32]) -> Who {
    Who { uid, gid, groups: groups.into(), guest: None }
}

impl Script {
    /// `path` of this mode, owner and group.
    fn with_mode(&mut self, path: &str, mode: u32, uid: u32, gid: u32) -> File {
        let (file, _) = self.find(path);
        self.server.set_attr(file, |attr| (attr.mode, attr.uid, attr.gid) = (mode, uid, gid)).unwrap();
        file
    }

    fn directory(&mut self, name: &str, mode: u32, uid: u32, gid: u32) -> File {
        let root = File::of(ROOT);
        self.server
            .make_directory(root, name.as_bytes(), mode, Caller { uid, gid, ..Caller::default() }, &mut self.fx)
            .unwrap()
    }
}

const DENIED: Answered<()> = Err(Errno::ACCESS);

#[test]
fn the_bits_of_ones_class_count_and_no_others() {
    let mut s = Script::usual();
    let q = s.with_mode("q", 0o064, 5, 50);
    let ask = |s: &Script, who: &Who, wanted| s.server.check(q, who, wanted);
    assert_eq!(ask(&s, &who(5, 50, &[]), READ), DENIED, "the owner, though the group might");
    assert_eq!(ask(&s, &who(6, 50, &[]), READ | WRITE), Ok(()));
    assert_eq!(ask(&s, &who(6, 60, &[7, 50]), WRITE), Ok(()), "a further group");
    assert_eq!(ask(&s, &who(6, 60, &[]), READ), Ok(()));
    assert_eq!(ask(&s, &who(6, 60, &[]), WRITE), DENIED);
    assert_eq!(ask(&s, &who(0, 0, &[]), READ | WRITE | SEARCH), Ok(()), "root");
    let both = Flags { read: true, write: true, ..Flags::default() };
    assert_eq!(s.server.check_open(q, &who(6, 60, &[]), both), DENIED);
    assert_eq!(s.server.check_open(q, &who(6, 60, &[]), Flags { write: false, ..both }), Ok(()));
    s.done();
}

#[test]
fn names_are_made_where_one_may_write_and_walk() {
    let mut s = Script::usual();
    let d = s.directory("d", 0o755, 5, 50);
    assert_eq!(s.server.check_make(d, b"new", &who(5, 1, &[]), None), Ok(()));
    assert_eq!(s.server.check_make(d, b"new", &who(6, 50, &[]), None), DENIED);
    s.with_mode("d", 0o722, 5, 50);
    assert_eq!(s.server.check_make(d, b"new", &who(6, 60, &[]), None), DENIED, "it may write but not walk");
    assert_eq!(s.server.check_remove(d, b"none", &who(5, 1, &[])), Err(Errno::NOENT));
    s.done();
}

#[test]
fn in_a_sticky_directory_one_removes_and_renames_what_is_ones_own() {
    let mut s = Script::usual();
    let d = s.directory("d", 0o1777, 5, 50);
    s.ctl("new d/q");
    s.with_mode("d/q", 0o666, 6, 60);
    let other = s.directory("other", 0o777, 9, 9);
    for (uid, right) in [(6, Ok(())), (5, Ok(())), (0, Ok(())), (7, Err(Errno::PERM))] {
        assert_eq!(s.server.check_remove(d, b"q", &who(uid, 60, &[])), right, "{uid}");
        assert_eq!(s.server.check_rename((d, b"q"), (other, b"q"), &who(uid, 60, &[])), right, "{uid}");
    }
    s.with_mode("other", 0o755, 9, 9);
    assert_eq!(s.server.check_rename((d, b"q"), (other, b"q"), &who(6, 60, &[])), DENIED);
    s.ctl("rm d/q");
    s.done();
}

#[test]
fn a_directory_moves_only_for_who_may_write_it() {
    let mut s = Script::usual();
    let (from, to) = (s.directory("from", 0o777, 1, 1), s.directory("to", 0o777, 1, 1));
    let caller = Caller { uid: 5, ..Caller::default() };
    s.server.make_directory(from, b"x", 0o755, caller, &mut s.fx).unwrap();
    assert_eq!(s.server.check_rename((from, b"x"), (to, b"x"), &who(6, 6, &[])), DENIED);
    assert_eq!(s.server.check_rename((from, b"x"), (from, b"y"), &who(6, 6, &[])), Ok(()), "it stays where it is");
    assert_eq!(s.server.check_rename((from, b"x"), (to, b"x"), &who(5, 6, &[])), Ok(()));
    s.done();
}

#[test]
fn attributes_are_the_owners_to_change() {
    let mut s = Script::usual();
    let q = s.with_mode("q", 0o622, 5, 50);
    let ask = |who: &Who, change| s.server.check_change(q, who, change);
    let (owner, other, root) = (who(5, 50, &[51]), who(6, 60, &[]), who(0, 0, &[]));
    let mode = Change { mode: Some(0o102_644), ..Change::default() };
    assert_eq!(ask(&owner, mode), Ok(Some(0o2644)));
    assert_eq!(ask(&who(5, 60, &[]), mode), Ok(Some(0o644)), "not its group's");
    assert_eq!(ask(&other, mode), Err(Errno::PERM));
    let uid = |uid| Change { uid: Some(uid), ..Change::default() };
    assert_eq!((ask(&owner, uid(6)), ask(&owner, uid(5)), ask(&root, uid(6))), (Err(Errno::PERM), Ok(None), Ok(None)));
    let gid = |gid| Change { gid: Some(gid), ..Change::default() };
    assert_eq!((ask(&owner, gid(51)), ask(&owner, gid(52))), (Ok(None), Err(Errno::PERM)));
    let (times, touch) = (Change { times: true, ..Change::default() }, Change { touch: true, ..Change::default() });
    assert_eq!((ask(&other, times), ask(&other, touch)), (Err(Errno::PERM), Ok(None)));
    s.with_mode("q", 0o600, 5, 50);
    assert_eq!(s.server.check_change(q, &other, touch), Err(Errno::ACCESS));
    s.done();
}
