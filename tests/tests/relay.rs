//! A node behind another, used with a key: three real mounts, of which the middle one lets a guest through. Two decide,
//! both write it down, and after each test a checker that was written apart from the server agrees with both.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use fs9_proto::{Dialect, Fid, NO_FID, Request};
use fs9_tests::keyed::{Node, errno, names, open, waiting_reader, waits};
use fs9_tests::ninep::{BOTH, Client, ROOT, Said, data};
use fs9_tests::process::resources;
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::{fs9, stdout, tls, wait_for};

const EIO: i32 = 5;
const EACCES: i32 = 13;
const ESHUTDOWN: i32 = 108;
const EKEYREVOKED: i32 = 128;

/// `near` comes to `middle`, which has attached `far` and may do something there itself.
struct Three {
    near: Node,
    middle: Node,
    far: Node,
}

impl Three {
    fn new() -> Three {
        let three = Three { near: Node::new(), middle: Node::with(&["--export-nodes"]), far: Node::new() };
        three.far.sh("touch jobs logs own; mkdir dir; touch dir/deep");
        three.far.grant(&["own"], &three.middle, "--read --write --for 1h --delegate 1");
        three.middle.attached(&three.far, &[]);
        three
    }

    /// The far node grants this to the near one, which passes it on to `to`.
    fn passed_on(&self, names: &[&str], options: &str, to: &Node) -> (String, String) {
        let grant = self.far.grant(names, &self.near, &format!("{options} --for 1h --delegate 1"));
        let passed = stdout(self.near.run(&["delegate", &grant, "--to", &to.id()]));
        (grant, passed.trim_end().to_owned())
    }

    /// A path of the far node, from the near one.
    fn path(&self, name: &str) -> PathBuf {
        self.near.far("n/far").join(name)
    }

    /// What opening `jobs` by the near node comes to.
    fn refused(&self) -> i32 {
        errno(open(&self.path("jobs"), true, false))
    }

    /// The near node comes to the middle one and shows this.
    fn comes_with(&self, grants: &[&str]) {
        let options: Vec<_> = grants.iter().flat_map(|grant| ["--grant", grant]).collect();
        self.near.attached(&self.middle, &options);
    }

    fn check(&self) {
        let middle = self.middle.check();
        self.far.check();
        assert!(middle["admitted"] > 0, "{middle:?}");
    }

    /// The reasons for which the middle node has refused something.
    fn reasons(&self) -> String {
        fs::read_to_string(self.middle.state().join("audit.log")).unwrap()
    }
}

#[test]
fn a_guest_goes_on_with_what_it_has_passed_on_and_both_nodes_decide() {
    let three = Three::new();
    let (_, passed) = three.passed_on(&["jobs", "logs", "dir", "new"], "--read --write --list --create", &three.middle);
    three.middle.grant(&["n/far/jobs", "n/far/own", "n/far/dir"], &three.near, "--read --list --for 1h");
    three.middle.grant(&["n/far/new"], &three.near, "--write --create --for 1h");
    three.comes_with(&[&passed]);
    assert_eq!(names(&three.near.far("")), ["n"]);
    assert_eq!(names(&three.near.far("n")), ["far"]);
    assert_eq!(names(&three.path("")), ["dir", "jobs"]);
    assert_eq!(names(&three.path("dir")), ["deep"]);
    let mut jobs = open(&three.path("jobs"), true, false).unwrap();
    fs::write(three.far.path("jobs"), "one").unwrap();
    let mut message = [0; 10];
    assert_eq!(jobs.read(&mut message).unwrap(), 3);
    three.near.sh("touch n/far/n/far/new; echo made > n/far/n/far/new");
    assert_eq!(fs::read(three.far.path("new:whole")).unwrap(), b"made\n");
    // What the middle node has not granted; what the far one has not; what it has granted to the middle one alone.
    for (name, read, write) in
        [("logs", true, false), ("jobs", false, true), ("dir/deep", false, true), ("own", true, false)]
    {
        assert_eq!(errno(open(&three.path(name), read, write)), EACCES, "{name}");
    }
    assert_eq!(errno(fs::create_dir(three.path("dir/more"))), EACCES);
    assert_eq!(errno(fs::rename(three.path("jobs"), three.path("new"))), EACCES);
    assert_eq!(errno(fs::remove_file(three.path("jobs"))), EACCES);
    assert!(three.far.path("jobs").exists());
    three.check();
    assert_eq!(three.middle.check()["relayed"], 1, "one link for all of it");
}

#[test]
fn without_a_chain_that_was_passed_on_for_that_nothing_is_used() {
    let three = Three::new();
    three.middle.grant(&["n/far"], &three.near, "--read --write --list --for 1h");
    let (grant, passed) = three.passed_on(&["jobs"], "--read", &three.middle);
    let elsewhere = stdout(three.near.run(&["delegate", &grant, "--to", &three.far.id()])).trim_end().to_owned();
    // Of another node; and one that the middle node has for itself.
    three.near.sh("touch jobs");
    let other = three.near.grant(&["jobs"], &three.middle, "--read --for 1h");
    let own = three.far.grant(&["jobs"], &three.middle, "--read --for 1h");
    for (shown, why) in [
        (&[][..], "was shown"),
        (&[&*other], "was shown"),
        (&[&*elsewhere], "made for another key"),
        (&[&*grant], "not passed on by the key"),
        (&[&*own], "not passed on by the key"),
    ] {
        three.comes_with(shown);
        let before = three.reasons().matches(why).count();
        assert_eq!(three.refused(), EACCES, "{why}");
        assert!(three.reasons().matches(why).count() > before, "{why}: {}", three.reasons());
        three.near.detach();
    }
    // Somebody has copied it, and may use the relay as well.
    let thief = Node::new();
    three.middle.grant(&["n/far"], &thief, "--read --for 1h");
    thief.attached(&three.middle, &["--grant", &passed]);
    assert_eq!(errno(open(&thief.far("n/far/jobs"), true, false)), EACCES);
    three.comes_with(&[&passed, &other]);
    open(&three.path("jobs"), true, false).unwrap();
    three.check();
    assert_eq!(three.middle.check()["relayed"], 1);
}

#[test]
fn who_was_not_granted_the_relay_does_not_use_it() {
    let three = Three::new();
    let (_, passed) = three.passed_on(&["jobs"], "--read", &three.middle);
    three.middle.sh("touch here");
    three.middle.grant(&["", "here"], &three.near, "--read --write --list --create --for 1h");
    three.comes_with(&[&passed]);
    open(&three.near.far("here"), true, false).unwrap();
    assert!(!names(&three.near.far("")).contains(&"n".to_owned()));
    assert!(open(&three.path("jobs"), true, false).is_err());
    // Nor where the node does not show what it has attached.
    let plain = Node::new();
    three.far.grant(&["own"], &plain, "--read --for 1h");
    plain.attached(&three.far, &[]);
    plain.grant(&["n/far"], &three.near, "--read --list --for 1h");
    three.near.detach();
    let (_, passed) = three.passed_on(&["jobs"], "--read", &plain);
    three.near.attached(&plain, &["--grant", &passed]);
    assert!(open(&three.path("jobs"), true, false).is_err());
    three.check();
    plain.check();
    assert_eq!(plain.check().get("relayed"), None);
}

#[test]
fn what_either_node_takes_back_is_closed_and_whoever_waits_is_told() {
    for by_the_relay in [false, true] {
        let three = Three::new();
        three.far.sh("echo first > logs");
        let (grant, passed) = three.passed_on(&["jobs", "logs", "dir"], "--read --write", &three.middle);
        let relay = three.middle.grant(&["n/far/jobs", "n/far/logs"], &three.near, "--read --write --for 1h");
        three.middle.grant(&["n/far/dir"], &three.near, "--read --for 1h");
        three.comes_with(&[&passed]);
        let reader = waiting_reader(&three.far, three.path("jobs"), "jobs");
        let logs = three.path("logs");
        let writer = std::thread::spawn(move || open(&logs, false, true)?.write(b"second"));
        three.far.mount.wait_channel("logs", "a writer", |channel| waits(channel, "write"));
        let mut still_open = open(&three.path("jobs"), false, true).unwrap();
        let other = waiting_reader(&three.far, three.path("dir/deep"), "dir/deep");
        if by_the_relay {
            three.middle.revoke(&relay);
        } else {
            three.far.revoke(&grant);
        }
        assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
        assert_eq!(errno(writer.join().unwrap()), EKEYREVOKED);
        assert_eq!(errno(still_open.write(b"late")), EKEYREVOKED);
        assert_eq!(three.refused(), EKEYREVOKED);
        if by_the_relay {
            // What was granted apart from it stays.
            fs::write(three.far.path("dir/deep"), "line").unwrap();
            assert_eq!(other.join().unwrap().unwrap(), b"line");
        } else {
            assert_eq!(errno(other.join().unwrap()), EKEYREVOKED);
        }
        assert_eq!(fs::read(three.far.path("logs:whole")).unwrap(), b"first\n");
        let is_left = |channel: &serde_json::Value| channel["holders"].as_array().is_none_or(Vec::is_empty);
        three.far.mount.wait_channel("jobs", "nobody", is_left);
        // A guest that comes anew comes no further.
        three.near.detach();
        if !by_the_relay {
            three.comes_with(&[&passed]);
            assert_eq!(three.refused(), EKEYREVOKED);
        }
        three.check();
    }
}

#[test]
fn a_guest_that_goes_leaves_nothing_behind_and_a_node_that_goes_takes_it_along() {
    let three = Three::new();
    let (_, passed) = three.passed_on(&["jobs"], "--read --write", &three.middle);
    three.middle.grant(&["n/far"], &three.near, "--read --write --list --for 1h");
    let sessions = || three.far.mount.status()["sessions"].as_array().unwrap().len();
    let rest = resources(three.middle.mount.server());
    assert_eq!(sessions(), 1, "the middle node itself");
    for _ in 0..3 {
        three.comes_with(&[&passed]);
        let reader = waiting_reader(&three.far, three.path("jobs"), "jobs");
        assert_eq!(sessions(), 2);
        three.near.detach();
        assert_eq!(errno(reader.join().unwrap()), ESHUTDOWN);
        wait_for("the guest's session to end", || (sessions() == 1).then_some(()));
    }
    wait_for("what there was at rest", || {
        let now = resources(three.middle.mount.server());
        ((now.descriptors, now.threads) == (rest.descriptors, rest.threads)).then_some(())
    });
    three.comes_with(&[&passed]);
    let reader = waiting_reader(&three.far, three.path("jobs"), "jobs");
    three.middle.detach();
    assert_eq!(errno(reader.join().unwrap()), ESHUTDOWN);
    wait_for("all of them to end", || (sessions() == 0).then_some(()));
    three.check();
}

#[test]
fn what_the_relay_takes_back_ends_also_while_the_node_behind_is_away() {
    let (near, middle, far) = (Node::new(), Node::with(&["--export-nodes"]), Node::new());
    far.sh("touch jobs; echo first > logs");
    far.grant(&["own"], &middle, "--read --for 1h");
    let proxy = Proxy::before(&far.address.replace("tls:", "tcp:"), Fault::None, 1);
    let (path, address) = (middle.path("n/far"), proxy.address().replace("tcp:", "tls:"));
    stdout(fs9(&["attach", path.to_str().unwrap(), &address, "--accept-new"]).output().unwrap());
    let three = Three { near, middle, far };
    let (_, passed) = three.passed_on(&["jobs", "logs"], "--read --write", &three.middle);
    let relay = three.middle.grant(&["n/far"], &three.near, "--read --write --list --for 1h");
    three.comes_with(&[&passed]);
    let reader = waiting_reader(&three.far, three.path("jobs"), "jobs");
    let logs = three.path("logs");
    let writer = std::thread::spawn(move || open(&logs, false, true)?.write(b"second"));
    three.far.mount.wait_channel("logs", "a writer", |channel| waits(channel, "write"));
    proxy.shut();
    wait_for("the link to be gone", || (three.middle.mount.status()["nodes"][0]["state"] != "up").then_some(()));
    three.middle.revoke(&relay);
    assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
    // Whether the message arrived nobody here can know.
    assert!([EKEYREVOKED, EIO].contains(&errno(writer.join().unwrap())));
    assert_eq!(three.refused(), EKEYREVOKED);
    three.check();
}

/// A standard client with a key of its own, which attaches again and again on one connection.
#[test]
fn any_client_shows_what_it_has_passed_on_in_the_file_of_tauth() {
    let three = Three::new();
    let grant = |node: &Node, name: &str, more: &str| {
        let (path, key) = (node.path(name).display().to_string(), tls::key_of(7).to_string());
        let words = ["grant", &path, "--to", &key, "--read", "--write", "--for", "1h"];
        let words: Vec<_> = words.into_iter().chain(more.split_whitespace()).collect();
        stdout(node.run(&words)).trim_end().to_owned()
    };
    grant(&three.middle, "n/far", "");
    let granted = grant(&three.far, "jobs", "--delegate 1");
    let passed = tls::passed_on(&granted, 7, &three.middle.id());
    let port = three.middle.port();
    for dialect in [Dialect::Old, Dialect::Linux] {
        let mut client = Client::new(Box::new(tls::connect(port, 7)), dialect).greeted();
        let uid = (dialect != Dialect::Old).then_some(0);
        let (afid, uname, aname) = (Fid(100), "", "");
        for _ in 0..12 {
            assert_eq!(client.ask(&Request::Auth { afid, uname, aname, uid }), Said::Done);
            let (first, rest) = passed.as_bytes().split_at(50);
            for (offset, data) in [(0, first), (50, rest)] {
                let written = client.ask(&Request::Write { fid: afid, offset, data });
                assert_eq!(written, Said::Wrote(data.len() as u32));
            }
            assert_eq!(client.ask(&Request::Attach { fid: ROOT, afid, uname, aname, uid }), Said::Done);
            assert_eq!((client.walk(1, "n/far/jobs"), client.open(1, BOTH)), (Said::Done, Said::Done));
            assert_eq!((client.write(Fid(1), "hello"), client.read(Fid(1))), (Said::Wrote(5), data("hello")));
            assert_eq!((client.clunk(Fid(1)), client.clunk(ROOT)), (Said::Done, Said::Done));
        }
    }
    wait_for("the last of them to be gone", || {
        (three.far.mount.status()["sessions"].as_array().unwrap().len() == 1).then_some(())
    });
    three.check();
}

#[test]
fn a_client_attaches_so_often_and_no_more() {
    let alpha = Node::new();
    alpha.sh("touch jobs");
    let (path, key) = (alpha.path("jobs").display().to_string(), tls::key_of(7).to_string());
    stdout(alpha.run(&["grant", &path, "--to", &key, "--read", "--for", "1h"]));
    let port = alpha.port();
    let mut client = Client::new(Box::new(tls::connect(port, 7)), Dialect::Linux).greeted();
    let mut attach =
        |fid: u32| client.ask(&Request::Attach { fid: Fid(fid), afid: NO_FID, uname: "", aname: "", uid: Some(0) });
    assert!((0..256).all(|fid| attach(fid) == Said::Done));
    assert_eq!(attach(256), Said::Failed(24));
    assert_eq!(client.clunk(Fid(9)), Said::Done);
    let again = Request::Attach { fid: Fid(9), afid: NO_FID, uname: "", aname: "", uid: Some(0) };
    assert_eq!(client.ask(&again), Said::Done);
    alpha.check();
}
