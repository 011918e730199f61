//! What a guest asks of a node behind this one, frame by frame and in both dialects: this node lets through what it has
//! granted below `n/far`, whatever else the guest has passed on to it. After each test a checker agrees with both logs.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use fs9_proto::attr::{BASIC, SetAttr, SetTime, Time};
use fs9_proto::message::Names;
use fs9_proto::stat::{DMDIR, Stat};
use fs9_proto::{Dialect, Fid, Request};
use fs9_tests::keyed::Node;
use fs9_tests::ninep::{BOTH, Client, READ, Said, WRITE};
use fs9_tests::{stdout, tls};

const DONE: Said = Said::Done;
const EPERM: Said = Said::Failed(1);
const EACCES: Said = Said::Failed(13);
const EXDEV: Said = Said::Failed(18);
const EUSERS: Said = Said::Failed(87);
const EKEYREVOKED: Said = Said::Failed(128);

/// The key of all clients.
const KEY: u8 = 7;
/// Where they attach, by a chain that is shown in a file of Tauth.
const AFID: Fid = Fid(100);
const HERE: Fid = Fid(0);

/// A client's key may do everything at `far`, and has passed that on; `middle` lets through what it grants.
struct Two {
    middle: Node,
    far: Node,
    passed: String,
}

impl Two {
    fn new(granted: &[(&[&str], &str)]) -> Two {
        let (middle, far) = (Node::with(&["--export-nodes"]), Node::new());
        far.sh("mkdir dir own; touch jobs logs both dir/jobs own/jobs");
        far.grant(&["own"], &middle, "--read --for 1h");
        middle.attached(&far, &[]);
        for (names, rights) in granted {
            let names: Vec<_> = names.iter().map(|name| format!("n/far/{name}")).collect();
            grant(&middle, &names.iter().map(String::as_str).collect::<Vec<_>>(), rights);
        }
        let all = grant(&far, &["", "status"], "--read --write --list --create --delegate 1");
        let passed = tls::passed_on(&all, KEY, &middle.id());
        Two { middle, far, passed }
    }

    /// A client that has attached as [`HERE`].
    fn client(&self, dialect: Dialect) -> Client {
        let mut client = Client::new(Box::new(tls::connect(self.middle.port(), KEY)), dialect).greeted();
        self.attach(&mut client, HERE);
        client
    }

    fn attach(&self, client: &mut Client, fid: Fid) {
        let (afid, uname, aname, uid) = (AFID, "", "", Some(0));
        assert_eq!(client.ask(&Request::Auth { afid, uname, aname, uid }), DONE);
        let shown = Request::Write { fid: afid, offset: 0, data: self.passed.as_bytes() };
        assert_eq!(client.ask(&shown), Said::Wrote(self.passed.len() as u32));
        assert_eq!(client.ask(&Request::Attach { fid, afid, uname, aname, uid }), DONE);
    }

    /// The directory at `path` from where it has attached, as a fid of its own.
    fn dir(&self, client: &mut Client, fid: Fid, number: u32, path: &[&str]) -> Fid {
        let (newfid, names) = (Fid(number), Names::new(path.iter().copied()).unwrap());
        assert_eq!(client.ask(&Request::Walk { fid, newfid, names }), Said::Wrote(path.len() as u32));
        newfid
    }

    fn check(&self) {
        assert!(self.middle.check()["relayed"] > 0);
        self.far.check();
    }
}

/// What a node grants the key of clients.
fn grant(node: &Node, names: &[&str], rights: &str) -> String {
    let paths: Vec<_> = names.iter().map(|name| node.path(name).display().to_string()).collect();
    let key = tls::key_of(KEY).to_string();
    let mut words = vec!["grant"];
    words
        .extend(paths.iter().map(String::as_str).chain(["--to", &key, "--for", "1h"]).chain(rights.split_whitespace()));
    stdout(node.run(&words)).trim_end().to_owned()
}

/// What `request` of the file at `path` comes to; it is asked with a fid of its own.
fn ask<'a>(client: &mut Client, path: &str, request: impl FnOnce(Fid) -> Request<'a>) -> Said {
    let fid = Fid(1);
    assert_eq!(client.walk(fid.0, &format!("n/far/{path}")), DONE, "{path}");
    let said = client.ask(&request(fid));
    // Of some it is no more, or has never been.
    client.clunk(fid);
    said
}

#[test]
fn a_file_is_opened_for_what_was_granted() {
    let two = Two::new(&[
        (&["jobs"], "--read --write"),
        (&["logs"], "--read"),
        (&["dir"], "--list"),
        (&["both"], "--read --list"),
        (&["own"], "--read"),
    ]);
    let directory = 0o200_000;
    let may = [("jobs", BOTH), ("logs", READ), ("dir", READ | directory), ("dir", READ), ("both", READ)];
    let may_not = [("logs", WRITE), ("logs", BOTH), ("own", READ | directory), ("both", WRITE)];
    for dialect in [Dialect::Old, Dialect::Linux, Dialect::Own] {
        let mut client = two.client(dialect);
        let mut open = |(path, flags): (&str, u32)| {
            ask(&mut client, path, |fid| match dialect {
                Dialect::Old => Request::Open { fid, mode: (flags & 3) as u8 },
                Dialect::Linux => Request::Lopen { fid, flags },
                Dialect::Own => Request::Enter { fid, flags, pid: 4711 },
            })
        };
        assert!(may.into_iter().all(|one| open(one) == DONE), "{dialect:?}");
        let asked = two.far.check();
        let is_sure = |one: &(&str, u32)| dialect != Dialect::Old || one.1 & directory == 0;
        assert!(may_not.into_iter().filter(is_sure).all(|one| open(one) == EACCES), "{dialect:?}");
        assert_eq!(two.far.check(), asked, "what is refused here is not asked there");
        // Whether it is a directory only its node knows.
        assert_eq!((open(("dir/jobs", READ)), open(("own", READ))), (EACCES, EACCES));
    }
    let mut old = two.client(Dialect::Old);
    let removing = ask(&mut old, "jobs", |fid| Request::Open { fid, mode: 0x40 });
    assert_eq!(removing, EACCES, "it would be removed when it is closed");
    let log = std::fs::read_to_string(two.middle.state().join("audit.log")).unwrap();
    assert!(log.contains(r#""name":"n/far/both","rights":"read""#), "{log}");
    two.check();
}

#[test]
fn what_controls_the_node_behind_must_be_named() {
    let two = Two::new(&[(&[""], "--read --write --list --create")]);
    let mut client = two.client(Dialect::Linux);
    let open = |path| ask(&mut client, path, |fid| Request::Lopen { fid, flags: READ });
    assert_eq!(["jobs", "dir/jobs", "status"].map(open), [DONE, DONE, EACCES]);
    two.check();
}

#[test]
fn names_are_made_removed_and_moved_as_was_granted() {
    let two = Two::new(&[
        (&["jobs"], "--read --write"),
        (&["dir"], "--list --create"),
        (&["own"], "--read --write --create"),
        (&["logs", "new"], "--read"),
    ]);
    let there = |name| two.far.path(name).exists();
    let mut old = two.client(Dialect::Old);
    let mut create = |dir, name, perm, mode| ask(&mut old, dir, |fid| Request::Create { fid, name, perm, mode });
    let mut client = two.client(Dialect::Linux);
    let (mode, gid) = (0o600, 0);
    assert_eq!((create("own", "a", 0o600, 2), create("dir", "b", DMDIR | 0o700, 0)), (DONE, DONE));
    assert_eq!((create("dir", "c", 0o600, 1), create("", "new", DMDIR | 0o700, 0)), (EACCES, EACCES));
    let mut create = |dir, name| ask(&mut client, dir, |fid| Request::Lcreate { fid, name, flags: BOTH, mode, gid });
    assert_eq!((create("own", "d"), create("dir", "c")), (DONE, EACCES));
    let mut mkdir = |dir, name| ask(&mut client, dir, |dfid| Request::Mkdir { dfid, name, mode, gid });
    assert_eq!((mkdir("dir", "e"), mkdir("", "new")), (DONE, EACCES));
    let mknod = |dfid, name| Request::Mknod { dfid, name, mode: 0o100_600, major: 0, minor: 0, gid };
    let mut mknod = |dir, name| ask(&mut client, dir, |dfid| mknod(dfid, name));
    assert_eq!((mknod("dir", "f"), mknod("", "new")), (DONE, EACCES));
    assert!(["own/a", "dir/b", "own/d", "dir/e", "dir/f"].into_iter().all(there));
    assert!(!there("dir/c") && !there("new"));

    let mut unlink = |dir, name| ask(&mut client, dir, |dfid| Request::Unlinkat { dfid, name, flags: 0 });
    assert_eq!((unlink("dir", "f"), unlink("", "jobs")), (DONE, EACCES));
    let mut remove = |path| ask(&mut client, path, |fid| Request::Remove { fid });
    assert_eq!((remove("own/d"), remove("jobs")), (DONE, EACCES));
    assert!(!there("dir/f") && !there("own/d") && there("jobs"));

    let (into, other) =
        (two.dir(&mut client, HERE, 2, &["n", "far", "dir"]), two.dir(&mut client, HERE, 3, &["n", "far"]));
    let mut rename = |path, dfid, name| ask(&mut client, path, |fid| Request::Rename { fid, dfid, name });
    assert_eq!((rename("own/a", into, "a"), rename("jobs", into, "g")), (DONE, EACCES));
    assert_eq!(rename("dir/a", other, "new"), EACCES);
    let renameat = |olddfid, oldname, newdfid, newname| Request::Renameat { olddfid, oldname, newdfid, newname };
    let mut rename = |dir, name, to, new| ask(&mut client, dir, |dfid| renameat(dfid, name, to, new));
    assert_eq!((rename("dir", "a", into, "h"), rename("", "jobs", into, "g")), (DONE, EACCES));
    assert_eq!(rename("dir", "h", other, "new"), EACCES);
    assert!(there("dir/h") && there("jobs") && !there("new"));
    // Another attachment is another guest, which has a link of its own.
    two.attach(&mut client, Fid(50));
    let elsewhere = two.dir(&mut client, Fid(50), 51, &["n", "far"]);
    let across = ask(&mut client, "dir/h", |fid| Request::Rename { fid, dfid: elsewhere, name: "logs" });
    assert_eq!(across, EXDEV);
    two.check();
}

#[test]
fn attributes_are_changed_as_was_granted() {
    let two = Two::new(&[(&["jobs"], "--read --write"), (&["logs"], "--read"), (&["own"], "--create")]);
    let mut client = two.client(Dialect::Linux);
    let mut set = |path, attr| ask(&mut client, path, |fid| Request::Setattr { fid, attr });
    let nothing = SetAttr::default();
    let mode = SetAttr { mode: Some(0o640), ..nothing };
    assert_eq!((set("own/jobs", mode), set("jobs", mode)), (DONE, EACCES));
    let at = SetAttr { mtime: Some(SetTime::At(Time { secs: 1, nsecs: 0 })), ..nothing };
    assert_eq!((set("own/jobs", at), set("jobs", at)), (DONE, EACCES));
    for touched in [SetAttr { mtime: Some(SetTime::Now), ..nothing }, SetAttr { size: Some(0), ..nothing }] {
        assert_eq!((set("jobs", touched), set("logs", touched)), (DONE, EACCES));
    }
    let owners = [SetAttr { uid: Some(1), ..nothing }, SetAttr { gid: Some(1), ..nothing }];
    assert!(owners.into_iter().all(|attr| set("logs", attr) == EPERM));

    let mut old = two.client(Dialect::Old);
    let mut change = |path, stat| ask(&mut old, path, |fid| Request::Wstat { fid, stat });
    let mode = Stat { mode: 0o600, ..Stat::KEEP };
    assert_eq!((change("own/jobs", mode), change("jobs", mode)), (DONE, EACCES));
    let name = |name| Stat { name, ..Stat::KEEP };
    assert_eq!((change("own/jobs", name("done")), change("jobs", name("done"))), (DONE, EACCES));
    assert_eq!(change("jobs", name("jobs")), DONE, "nothing is changed");
    assert!(two.far.path("own/done").exists() && two.far.path("jobs").exists());
    two.check();
}

#[test]
fn what_was_walked_to_is_not_looked_at_any_more_once_it_is_taken_back() {
    for dialect in [Dialect::Old, Dialect::Linux] {
        let two = Two::new(&[]);
        let granted = grant(&two.middle, &["n/far/jobs"], "--read");
        let mut client = two.client(dialect);
        let fid = Fid(1);
        let look = match dialect {
            Dialect::Old => Request::Stat { fid },
            _ => Request::Getattr { fid, mask: BASIC },
        };
        assert_eq!((client.walk(1, "n/far/jobs"), client.ask(&look)), (DONE, DONE));
        two.middle.revoke(&granted);
        assert_eq!(client.ask(&look), EKEYREVOKED);
        two.check();
    }
}

#[test]
fn a_key_has_32_links_to_nodes_behind_and_those_of_who_has_gone_are_free() {
    let two = Two::new(&[(&["jobs"], "--read")]);
    let mut client = two.client(Dialect::Linux);
    (1..=34).for_each(|number| two.attach(&mut client, Fid(number)));
    let go_on = |client: &mut Client, number: u32| {
        let (fid, newfid, names) = (Fid(number), Fid(1000 + number), Names::new(["n", "far"]).unwrap());
        client.ask(&Request::Walk { fid, newfid, names })
    };
    assert!((1..=32).all(|number| go_on(&mut client, number) == Said::Wrote(2)));
    assert_eq!(go_on(&mut client, 33), EUSERS);
    assert_eq!((client.clunk(Fid(1007)), client.clunk(Fid(7))), (DONE, DONE));
    assert_eq!((go_on(&mut client, 33), go_on(&mut client, 34)), (Said::Wrote(2), EUSERS));
    two.check();
}
