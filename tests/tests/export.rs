//! Trees nest: what a node has attached, seen by those who come to it (`--export-nodes`). Three real mounts in a row,
//! and the contract through both links.

#![allow(clippy::unwrap_used, reason = "a failed test")]
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fs9_proto::stat::Stat;
use fs9_proto::{Dialect, Fid, NO_FID, Request};
use fs9_tests::file::Fd;
use fs9_tests::ninep::{BOTH, Client, READ, ROOT, Said, connect, data};
use fs9_tests::process::{resources, signal};
use fs9_tests::waiter::{Waiter, wait_all_released, wait_waiting};
use fs9_tests::{Mount, fs9, stdout, wait_for};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;

/// An answer within the second that is promised, on a machine that does ten other things.
const SECOND: Duration = Duration::from_secs(3);

/// `near` has attached `middle` as `b`, which has attached `far` as `c`, and says so.
struct Three {
    near: Mount,
    middle: Mount,
    far: Mount,
    address: String,
}

/// A mount that listens at `p.sock` beside it.
fn listening(options: &[&str]) -> (Mount, String) {
    let mount = Mount::with(&[&["--listen", "unix:BESIDE/p.sock"], options].concat());
    let address = mount.address();
    (mount, address)
}

fn attach(mount: &Mount, name: &str, address: &str) {
    let path = mount.path("n").join(name);
    stdout(fs9(&["attach", path.to_str().unwrap(), address]).output().unwrap());
}

impl Three {
    fn new() -> Three {
        let near = Mount::new();
        let (middle, middle_address) = listening(&["--export-nodes"]);
        let (far, address) = listening(&[]);
        attach(&near, "b", &middle_address);
        attach(&middle, "c", &address);
        Three { near, middle, far, address }
    }

    /// A path of the far tree, through both links.
    fn path(&self, name: &str) -> PathBuf {
        self.near.path("n/b/n/c").join(name)
    }

    /// A client of the middle node.
    fn client(&self, dialect: Dialect) -> Client {
        Client::unix(&self.middle.beside().join("p.sock"), dialect)
    }

    fn kill_far(&self) {
        signal(self.far.server(), Signal::KILL);
        wait_for("the link to be gone", || (self.middle.status()["nodes"][0]["state"] != "up").then_some(()));
    }
}

#[test]
fn what_one_writes_the_third_reads_whole() {
    let three = Three::new();
    three.near.run("fs9 new p/n/b/n/c/jobs; echo hello > p/n/b/n/c/jobs");
    assert_eq!(three.far.run("cat p/jobs:whole"), "hello\n");
    let (near, far) = (Fd::both(three.path("jobs")), Fd::both(three.far.path("jobs")));
    for size in [1, 4096, 65_536, 300_000, 1_044_480] {
        let message: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        assert_eq!(near.write(message.clone()), Ok(size));
        assert!(far.read(1 << 20).unwrap() == message, "{size} bytes");
        assert_eq!(far.write(message.clone()), Ok(size));
        assert!(near.read(1 << 20).unwrap() == message, "{size} bytes back");
    }
    assert_eq!(near.write(vec![0; 1_044_481]), Err(Errno::MSGSIZE));
    far.write("long").unwrap();
    assert_eq!((near.read(2).unwrap(), near.read(9).unwrap()), (b"lo".to_vec(), b"ng".to_vec()));
    drop((near, far));
    wait_all_released(&three.far);
    three.far.assert_ledgers_balance();
}

#[test]
fn names_views_and_commands_work_through_both() {
    let three = Three::new();
    let said = three.near.run(
        "ls p/n/b/n; cd p/n/b/n/c; mkdir d; touch d/q; fs9 new --pair d/t; fs9 new --service s; mv d/q d/r
         chmod 640 d/r; stat -c '%a %F %s' d/r; ls d; rmdir d 2>/dev/null; echo $?; mkfifo f 2>&1; : > made; ls
         printf 'x\\ny\\n' > made:line & fs9 recv made; fs9 recv made; wait; fs9 spawn up -- tr a-z A-Z; rm made
         echo there > d/r; cat d/r:whole; ls -lR . > /dev/null; stat -f -c %l .",
    );
    assert_eq!(
        said,
        "c\n640 regular empty file 0\nr\nt\n1\nmkfifo: cannot create fifo 'f': Operation not permitted\n\
         README\nctl\nd\nevents\nid\nmade\ns\nstatus\nstatus.json\ntimer\nx\ny\nthere\n255\n"
    );
    let rename = |from: &str, to: &str| rustix::fs::rename(three.near.path(from), three.near.path(to));
    three.near.run("touch p/n/b/q; mkdir p/n/b/e");
    assert_eq!(rename("n/b/q", "n/b/n/c/q"), Err(Errno::XDEV));
    assert_eq!(rename("n/b/n/c/d/r", "n/b/e/r"), Err(Errno::XDEV));
    let ino = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(three.near.path(path)).unwrap());
    let all = ["n", "n/b", "n/b/n", "n/b/n/c", "n/b/n/c/d", "n/b/n/c/d/r", "n/b/q"].map(ino);
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    assert_eq!(ino("n/b/n/c/d/r"), ino("n/b/n/c/d/r"));
}

#[test]
fn every_wait_ends_through_both() {
    let three = Three::new();
    three.near.run("fs9 new p/n/b/n/c/q; fs9 new --pair p/n/b/n/c/t");
    let fd = Fd::both(three.path("q"));
    let nonblocking = Fd::open(three.path("q"), OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    assert_eq!(nonblocking.read(9), Err(Errno::AGAIN));
    assert_eq!((nonblocking.write("one"), nonblocking.write("two")), (Ok(3), Err(Errno::AGAIN)));
    assert_eq!(nonblocking.read(9), Ok(b"one".to_vec()));
    let reading = fd.reading(9);
    wait_waiting(&three.far, 1);
    Fd::writer(three.far.path("q")).write("here").unwrap();
    assert_eq!(reading.get(), Ok(b"here".to_vec()));
    for (does, full) in [("read", false), ("write", true)] {
        if full {
            fd.write("full").unwrap();
        }
        let mut waiter = Waiter::new(does, three.path("q"), if full { &["never"] } else { &[] });
        wait_waiting(&three.far, 1);
        waiter.signal(Signal::INT);
        assert_eq!(waiter.said(), "EINTR");
        wait_waiting(&three.far, 0);
        let waiter = Waiter::new(does, three.path("q"), if full { &["never"] } else { &[] });
        wait_waiting(&three.far, 1);
        waiter.killed();
        wait_waiting(&three.far, 0);
    }
    assert_eq!(fd.read(9), Ok(b"full".to_vec()), "and nothing else was sent");

    let (near, far) = (Fd::both(three.path("t/a")), Fd::both(three.far.path("t/b")));
    assert_eq!(near.poll(IN | OUT), OUT);
    for text in ["one", "two"] {
        let polling = near.polling(IN);
        far.write(text).unwrap();
        assert_eq!((polling.get(), near.read(9)), (IN, Ok(text.as_bytes().to_vec())));
    }
    near.write("full").unwrap();
    let polling = near.polling(OUT);
    assert_eq!((far.read(9), polling.get()), (Ok(b"full".to_vec()), OUT));
    drop((near, far, fd, nonblocking));
    wait_all_released(&three.far);
    three.far.assert_ledgers_balance();
}

#[test]
fn who_goes_and_how_is_told_through_both() {
    let three = Three::new();
    three.near.run("fs9 new --pair p/n/b/n/c/t; fs9 new p/n/b/n/c/q");
    let script = "import os, sys, time
f = os.open(sys.argv[1], os.O_RDWR); os.write(f, b'last'); print('there', flush=True)
if sys.argv[2] == 'wait': time.sleep(1000)
sys.exit(3)";
    let hold = |last: &str| {
        let mut holder = Waiter::of(&mut three.near.command("python3", &["-c", script, "p/n/b/n/c/t/a", last]));
        assert_eq!(holder.line(), "there");
        holder
    };
    let holder = hold("wait");
    let far = Fd::both(three.far.path("t/b"));
    holder.killed();
    assert_eq!((far.read(9), far.read(9)), (Ok(b"last".to_vec()), Err(Errno::CONNRESET)));
    assert_eq!((far.read(9), far.write("x")), (Ok(Vec::new()), Err(Errno::PIPE)));
    three.far.wait_channel("t", "why it went", |t| t["left"]["reason"] == "killed 9");
    drop(far);
    wait_all_released(&three.far);
    assert_eq!(hold("exit").status().code(), Some(3));
    three.far.wait_channel("t", "why it went", |t| t["ends"][0]["reason"] == "exited 3");
    let far = Fd::both(three.far.path("t/b"));
    assert_eq!((far.read(9), far.read(9)), (Ok(b"last".to_vec()), Ok(Vec::new())));
    drop(far);
    wait_all_released(&three.far);

    // A message belongs to its reader until that is killed, or the node that it came through.
    let script = "import os, time
f = os.open('p/n/b/n/c/q', os.O_RDONLY); print(os.read(f, 9), flush=True); time.sleep(1000)";
    Fd::writer(three.far.path("q")).write("job").unwrap();
    let mut reader = Waiter::of(&mut three.near.command("python3", &["-c", script]));
    assert_eq!(reader.line(), "b'job'");
    reader.killed();
    assert_eq!(Fd::reader(three.far.path("q")).read(9), Ok(b"job".to_vec()));
    three.far.assert_ledgers_balance();
}

#[test]
fn a_node_behind_another_that_is_killed_is_told_of_and_comes_back() {
    let mut three = Three::new();
    three.near.run("fs9 new p/n/b/n/c/q");
    let fd = Fd::both(three.path("q"));
    let reading = fd.reading(9);
    wait_waiting(&three.far, 1);
    three.kill_far();
    let began = Instant::now();
    let said = fs::read_dir(three.path("")).err().and_then(|error| error.raw_os_error());
    assert_eq!(said, Some(Errno::HOSTUNREACH.raw_os_error()));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(three.near.run("ls p/n p/n/b/n"), "p/n:\nb\n\np/n/b/n:\nc\n");
    three.far.up(&["--listen", &three.address]);
    assert_eq!(reading.get(), Err(Errno::CONNRESET));
    assert_eq!((fd.read(9), fd.write("x")), (Ok(Vec::new()), Err(Errno::PIPE)));
    wait_for("the node to answer", || fs::metadata(three.path("ctl")).ok());
    assert_eq!(three.near.run("echo hi > p/n/b/n/c/new; cat p/n/b/n/c/new:whole"), "hi\n");

    let reading = Fd::both(three.path("new")).reading(9);
    wait_waiting(&three.far, 1);
    three.middle.run("fs9 detach p/n/c");
    assert_eq!(reading.get(), Err(Errno::SHUTDOWN));
    assert_eq!(three.near.run("ls p/n/b/n"), "");
    wait_all_released(&three.far);
}

#[test]
fn standard_clients_use_what_is_attached() {
    for dialect in [Dialect::Old, Dialect::Linux, Dialect::Own] {
        let three = Three::new();
        three.far.run("fs9 new p/q; mkdir p/d; fs9 new p/d/r");
        let mut c = three.client(dialect);
        let root = c.opened(1, "", READ);
        assert!(c.list(root).contains(&"n".to_owned()));
        let nodes = c.opened(2, "n", READ);
        assert_eq!(c.list(nodes).iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>(), ["c"]);
        let there = c.opened(3, "n/c", READ);
        let mut names = c.list(there);
        names.retain(|name| !name.starts_with('.'));
        names.sort_unstable();
        assert_eq!(names, ["README", "ctl", "d", "events", "id", "q", "status", "status.json", "timer"]);
        assert_eq!(c.walk(4, "n/c/none"), Said::Failed(2));
        assert_eq!(c.walk(4, "n/c/d/../q"), Said::Done, "the fid is free after a walk that led nowhere");
        assert_eq!(c.open(4, BOTH), Said::Done);
        let q = Fid(4);
        assert_eq!(c.write(q, "one"), Said::Wrote(3));
        assert_eq!(fs::read_to_string(three.far.path("q:whole")).unwrap(), "one");
        let tag = c.begin_read(7, q);
        wait_waiting(&three.far, 1);
        assert_eq!(c.flush(tag), Said::Done);
        wait_waiting(&three.far, 0);
        let tag = c.begin_read(8, q);
        wait_waiting(&three.far, 1);
        fs::write(three.far.path("q"), "two").unwrap();
        assert_eq!(c.hear(tag), data("two"));
        let readme = c.opened(5, "n/c/README", READ);
        if dialect != Dialect::Own {
            assert_eq!(c.read(readme).text(), fs::read_to_string(three.far.path("README")).unwrap());
        }
        assert_eq!(c.walk(6, "n/c/.."), Said::Done);
        assert_eq!(c.walk(9, "n/c/d"), Said::Done);
        let made = Fid(9);
        let create = match dialect {
            Dialect::Old => Request::Create { fid: made, name: "made", perm: 0o600, mode: 2 },
            _ => Request::Lcreate { fid: made, name: "made", flags: BOTH, mode: 0o600, gid: 0 },
        };
        assert_eq!(c.ask(&create), Said::Done);
        assert_eq!((c.write(made, "x"), c.read(made)), (Said::Wrote(1), data("x")));
        if dialect == Dialect::Old {
            assert_eq!(c.ask(&Request::Stat { fid: made }), Said::Done);
            let renamed = Request::Wstat { fid: made, stat: Stat { name: "moved", mode: 0o640, ..Stat::KEEP } };
            assert_eq!(c.ask(&renamed), Said::Done);
            assert_eq!(three.far.run("stat -c %a p/d/moved"), "640\n");
            assert_eq!(c.walk(10, "n/c/d/moved"), Said::Done);
            assert_eq!(c.ask(&Request::Remove { fid: Fid(10) }), Said::Done);
            assert!(!three.far.path("d/moved").exists());
        }
        for (fid, path) in [(11, "n/c"), (12, "n/c/d"), (13, "n/c/d/r")] {
            assert_eq!(c.walk(fid, path), Said::Done);
        }
        let renamed = match dialect {
            Dialect::Old => Request::Wstat { fid: Fid(12), stat: Stat { name: "e", ..Stat::KEEP } },
            Dialect::Linux => Request::Rename { fid: Fid(12), dfid: Fid(11), name: "e" },
            Dialect::Own => Request::Renameat { olddfid: Fid(11), oldname: "d", newdfid: Fid(11), newname: "e" },
        };
        assert_eq!(c.ask(&renamed), Said::Done);
        assert_eq!(c.open(13, BOTH), Said::Done, "a fid goes with its file");
        assert_eq!((c.write(Fid(13), "x"), c.read(Fid(13))), (Said::Wrote(1), data("x")));
        assert_eq!(three.far.run("ls p/e | head -n 1"), if dialect == Dialect::Old { "r\n" } else { "made\n" });
        for fid in [there, q, readme, made, Fid(11), Fid(12), Fid(13)] {
            assert_eq!(c.clunk(fid), Said::Done);
        }
        wait_all_released(&three.far);
        drop(c);
        three.far.assert_ledgers_balance();
    }
}

#[test]
fn nodes_are_shown_to_those_who_mounted_and_only_where_that_was_asked_for() {
    let three = Three::new();
    assert_eq!(three.client(Dialect::Linux).walk(1, "n/c/q"), Said::Failed(2));
    // A node that does not export shows none.
    let (plain, address) = listening(&[]);
    attach(&plain, "c", &three.address);
    attach(&three.near, "plain", &address);
    assert_eq!(three.near.run("ls p/n/plain"), "README\nctl\nevents\nid\nstatus\nstatus.json\ntimer\n");
    assert!(fs::metadata(three.near.path("n/plain/n/c")).is_err());
    // Another user sees the name and no more.
    let mut c = Client::new(connect(&three.middle.beside().join("p.sock")), Dialect::Linux).greeted();
    let nobody = Request::Attach { fid: ROOT, afid: NO_FID, uname: "", aname: "", uid: Some(65_534) };
    assert_eq!((c.ask(&nobody), c.walk(1, "n/c")), (Said::Done, Said::Done));
    assert_eq!((c.walk(2, "n/c/ctl"), c.open(1, READ)), (Said::Failed(13), Said::Failed(13)));
}

#[test]
fn nodes_that_attach_each_other_nest_and_come_to_an_end() {
    let (a, address) = listening(&["--export-nodes"]);
    let (mut b, other) = listening(&["--export-nodes"]);
    attach(&a, "b", &other);
    attach(&b, "a", &address);
    attach(&a, "self", &address);
    a.run("touch p/q");
    assert_eq!(a.run("echo around > p/n/b/n/a/n/self/n/b/n/a/q; cat p/q:whole"), "around\n");
    let deep = "n/self/".repeat(12);
    assert_eq!(rustix::fs::stat(a.path(&deep)).err(), Some(Errno::LOOP));
    let listed = a.command("timeout", &["60", "find", "p", "-maxdepth", "9", "-name", "q"]).output().unwrap();
    assert!(listed.status.code() != Some(124) && !listed.stdout.is_empty());
    // And both end while they hold each other.
    let reading = Fd::both(a.path("n/b/n/a/q")).reading(9);
    wait_waiting(&a, 1);
    assert!(b.down().status.success());
    assert!(reading.get().is_err());
    b.up(&[]);
}

#[test]
fn nothing_is_left_of_what_was_passed_on() {
    let three = Three::new();
    three.near.run("fs9 new p/n/b/n/c/q; ls -R p/n > /dev/null");
    wait_all_released(&three.far);
    let servers = [&three.near, &three.middle, &three.far].map(Mount::server);
    let before = servers.map(|server| resources(server).descriptors);
    for _ in 0..3 {
        let mut readers: Vec<_> = (0..20)
            .map(|_| Command::new("cat").arg(three.path("q")).stdout(std::process::Stdio::null()).spawn().unwrap())
            .collect();
        wait_waiting(&three.far, 20);
        for reader in &mut readers {
            reader.kill().unwrap();
            reader.wait().unwrap();
        }
        wait_all_released(&three.far);
    }
    wait_for("what all had at rest", || (servers.map(|server| resources(server).descriptors) == before).then_some(()));
    let fids = three.middle.status()["sessions"].as_array().unwrap().len();
    assert_eq!(fids, 1, "the near node, and nobody else");
}
