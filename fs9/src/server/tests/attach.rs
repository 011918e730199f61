//! Names of other nodes come and go by `ctl` only.

use super::*;
use crate::attachment::{self, LinkState};
use crate::ctl::Verb;
use crate::tree::NODES;

fn says(s: &mut Script, line: &str) -> Result<(), Errno> {
    let verb = Verb::parse(line.as_bytes())?;
    s.server.carry_out(File { node: ROOT, part: Part::Ctl }, verb, Caller::default(), &mut s.fx)
}

#[test]
fn a_node_is_a_name_and_how_its_link_fares() {
    let mut s = Script::new();
    says(&mut s, "attach alpha unix:/a").unwrap();
    assert_eq!(says(&mut s, "attach alpha unix:/b"), Err(Errno::EXIST));
    for bad in ["a/b", "'a\tb'", "..", "x:line"] {
        assert_eq!(says(&mut s, &format!("attach {bad} unix:/b")), Err(Errno::INVAL), "{bad}");
    }
    let (alpha, _, stat) = s.server.walk(File::of(NODES), b"alpha").unwrap();
    assert!(attachment::is_one(alpha.node) && stat.directory && stat.attr.mode == 0o700);
    s.server.link(alpha.node, LinkState::Up, "linked", None, &mut s.fx);
    let status = s.server.status(Caller::default());
    assert_eq!((&*status.nodes[0].name, &*status.nodes[0].state), ("n/alpha", "up"));
    assert_eq!((status.counts.channels, s.server.room().0), (0, 0), "it is no channel");
    says(&mut s, "detach alpha").unwrap();
    assert_eq!(says(&mut s, "detach alpha"), Err(Errno::NOENT));
    s.server.link(alpha.node, LinkState::Broken, "unlinked", None, &mut s.fx);
    assert_eq!(*s.host.attached.lock().unwrap(), [(alpha.node, true), (alpha.node, false)]);
    s.done();
}

#[test]
fn nothing_else_can_be_made_or_removed_there() {
    let mut s = Script::new();
    says(&mut s, "attach alpha unix:/a").unwrap();
    says(&mut s, "new jobs").unwrap();
    let (n, root) = (File::of(NODES), File::of(ROOT));
    assert_eq!(s.server.make_directory(n, b"d", 0o755, Caller::default(), &mut s.fx).err(), Some(Errno::PERM));
    assert_eq!(s.server.remove(n, b"alpha", true, &mut s.fx), Err(Errno::PERM));
    assert_eq!(s.server.remove(root, b"n", true, &mut s.fx), Err(Errno::PERM));
    assert_eq!(s.server.rename(n, b"alpha", root, b"x"), Err(Errno::PERM));
    assert_eq!(s.server.rename(root, b"jobs", n, b"jobs"), Err(Errno::PERM));
    for (line, errno) in [
        ("new n/x", Errno::PERM),
        ("new n", Errno::EXIST),
        ("rm n/alpha", Errno::PERM),
        ("rm n/beta", Errno::NOENT),
        ("hangup n/alpha", Errno::INVAL),
        ("new n/alpha/x", Errno::XDEV),
        ("rm n/alpha/x", Errno::XDEV),
    ] {
        assert_eq!(says(&mut s, line), Err(errno), "{line}");
    }
    says(&mut s, "rm jobs").unwrap();
    s.done();
}
