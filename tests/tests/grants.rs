//! Keys that are let in: what they may do, until when, and what is written down of it. After each test a checker that
//! was written apart from the server replays the log and agrees with every decision.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::thread;

use fs9_tests::keyed::{Node, errno, names, open, waiting_reader, waits};
use fs9_tests::{Mount, fs9, stdout, wait_for};
use serde_json::Value;

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const EKEYREVOKED: i32 = 128;

#[test]
fn a_key_may_do_what_it_was_granted_and_nothing_else() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs logs; mkdir dir; touch dir/deep dir/other");
    let refused = beta.attach(&alpha, &[]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("nothing is granted to") && said.contains(&beta.id()), "{said}");

    alpha.grant(&["jobs", "dir/deep"], &beta, "--read --for 1h");
    beta.attached(&alpha, &[]);
    assert_eq!(names(&beta.far("")), ["dir", "jobs"]);
    assert_eq!(names(&beta.far("dir")), ["deep"]);
    fs::write(alpha.path("jobs"), "one").unwrap();
    let mut message = [0; 10];
    let mut jobs = open(&beta.far("jobs"), true, false).unwrap();
    assert_eq!(jobs.read(&mut message).unwrap(), 3);
    for (path, read, write) in
        [("jobs", false, true), ("jobs", true, true), ("logs", true, false), ("ctl", false, true)]
    {
        assert_eq!(errno(open(&beta.far(path), read, write)), EACCES, "{path}");
    }
    for path in ["status", "events", "status.json", "n", "nothing"] {
        assert_eq!(errno(open(&beta.far(path), true, false)), EACCES, "{path}");
    }
    let sent = fs9(&["send", beta.far("jobs").to_str().unwrap(), "message"]).output().unwrap();
    let said = String::from_utf8(sent.stderr).unwrap();
    assert!(said.contains("what was granted to this node, does not let you (EACCES)"), "{said}");
    // Of a walk that comes part of the way, 9P does not say why it ends there.
    assert_eq!(errno(open(&beta.far("dir/other"), true, false)), ENOENT);
    assert_eq!(errno(File::create(beta.far("new"))), EACCES);
    assert_eq!(errno(fs::create_dir(beta.far("dir/new"))), EACCES);
    assert_eq!(errno(fs::remove_file(beta.far("jobs"))), EACCES);
    assert_eq!(errno(fs::rename(beta.far("jobs"), beta.far("dir/jobs"))), EACCES);
    let counts = alpha.check();
    assert!(counts["refused"] >= 10 && counts["allowed"] >= 3, "{counts:?}");
}

#[test]
fn what_a_key_may_see_is_listed_without_what_is_told_of_all() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("fs9 new jobs; fs9 new other; mkdir -m 700 d; fs9 new d/logs; chmod 640 d/logs");
    alpha.grant(&["jobs", "d"], &beta, "--read --list --for 1h");
    beta.attached(&alpha, &[]);
    let listed = "dir          0700  -           d\nfile         0600  -           jobs\n";
    assert_eq!(beta.mount.run("fs9 ls p/n/far"), listed);
    assert_eq!(beta.mount.run("fs9 ls p/n/far/d"), "file         0640  -           logs\n");
    assert_eq!(beta.mount.run("cd p/n/far; fs9 ls jobs"), "file         0600  -           jobs\n");
    assert_eq!(beta.mount.run("fs9 ls p/n/far/other 2>&1 || true").matches("EACCES").count(), 1);
}

#[test]
fn the_whole_tree_is_granted_without_what_controls_it() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("mkdir work");
    alpha.grant(&["", "events"], &beta, "--read --write --list --create --for 1h");
    beta.attached(&alpha, &[]);
    beta.sh("mkdir n/far/work/new; touch n/far/work/new/jobs; echo hello > n/far/work/new/jobs:line");
    assert_eq!(fs::read(alpha.path("work/new/jobs:whole")).unwrap(), b"hello\n");
    beta.sh("mv n/far/work/new/jobs n/far/work/new/done; chmod 640 n/far/work/new/done; rm n/far/work/new/done");
    assert!(names(&beta.far("")).contains(&"work".to_owned()) && !names(&beta.far("")).contains(&"n".to_owned()));
    for (path, read) in [("ctl", false), ("ctl", true), ("status", true), ("status.json", true)] {
        assert_eq!(errno(open(&beta.far(path), read, !read)), EACCES, "{path}");
    }
    open(&beta.far("events"), true, false).unwrap();
    alpha.check();
}

#[test]
fn what_is_revoked_is_closed_and_whoever_waits_is_told() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs full logs; echo first > full");
    let grant = alpha.grant(&["jobs", "full"], &beta, "--read --write --for 1h");
    alpha.grant(&["logs"], &beta, "--read --for 1h");
    beta.attached(&alpha, &[]);
    let reader = waiting_reader(&alpha, beta.far("jobs"), "jobs");
    let full = beta.far("full");
    let writer = thread::spawn(move || open(&full, false, true)?.write(b"second"));
    alpha.mount.wait_channel("full", "a writer", |channel| waits(channel, "write"));
    let kept = waiting_reader(&alpha, beta.far("logs"), "logs");
    let mut open_still = open(&beta.far("jobs"), false, true).unwrap();

    alpha.revoke(&grant);
    assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
    assert_eq!(errno(writer.join().unwrap()), EKEYREVOKED);
    assert_eq!(errno(open_still.write(b"late")), EKEYREVOKED);
    assert_eq!(errno(open(&beta.far("jobs"), true, false)), EKEYREVOKED);
    // What was granted apart from it stays.
    fs::write(alpha.path("logs"), "line").unwrap();
    assert_eq!(kept.join().unwrap().unwrap(), b"line");
    assert_eq!(fs::read(alpha.path("full:whole")).unwrap(), b"first\n");
    alpha.mount.wait_channel("jobs", "nobody", |channel| channel["holders"].as_array().is_none_or(Vec::is_empty));
    assert!(stdout(alpha.run(&["grants"])).contains("revoked"));
    alpha.check();
}

#[test]
fn what_was_granted_is_passed_on_in_part_and_ends_with_it() {
    let (alpha, beta, gamma) = (Node::new(), Node::new(), Node::new());
    alpha.sh("touch jobs logs");
    let whole = alpha.grant(&["jobs", "logs"], &beta, "--read --write --for 1h --delegate 1");
    let pass_on = |words: &[&str]| beta.run(&[&["delegate", &whole], words, &["--to", &gamma.id()]].concat());
    let part = stdout(pass_on(&["jobs", "--read"])).trim_end().to_owned();
    for (words, why) in [
        (&["."][..], "more names"),
        (&["--create"], "more rights"),
        (&["--for", "2h"], "more time"),
        (&["--delegate", "1"], "more often"),
    ] {
        let refused = String::from_utf8(pass_on(words).stderr).unwrap();
        assert!(refused.contains(why), "{refused}");
    }
    // It counts for that key, and for it alone; and what that key was not given it does not come in by.
    let refused = |node: &Node, options: &[&str]| String::from_utf8(node.attach(&alpha, options).stderr).unwrap();
    assert!(refused(&gamma, &[]).contains("nothing is granted to"));
    assert!(refused(&gamma, &["--grant", &whole]).contains("made for another key"));
    assert!(refused(&beta, &["--grant", &part]).contains("made for another key"));

    let file = gamma.state().join("part");
    fs::write(&file, format!("{part}\n")).unwrap();
    gamma.attached(&alpha, &["--grant", file.to_str().unwrap()]);
    assert_eq!(names(&gamma.far("")), ["jobs"]);
    for (path, read, write) in [("jobs", false, true), ("logs", true, false)] {
        assert_eq!(errno(open(&gamma.far(path), read, write)), EACCES, "{path}");
    }
    let reader = waiting_reader(&alpha, gamma.far("jobs"), "jobs");
    alpha.revoke(&whole);
    assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
    gamma.detach();
    assert!(refused(&gamma, &["--grant", &part]).contains("was revoked"));
    alpha.check();
}

#[test]
fn what_has_expired_is_closed() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs");
    alpha.grant(&["jobs"], &beta, "--read --for 5s");
    beta.attached(&alpha, &[]);
    let reader = waiting_reader(&alpha, beta.far("jobs"), "jobs");
    assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
    assert_eq!(errno(open(&beta.far("jobs"), true, false)), EKEYREVOKED);
    beta.detach();
    let refused = String::from_utf8(beta.attach(&alpha, &[]).stderr).unwrap();
    assert!(refused.contains("it has expired"), "{refused}");
    alpha.check();
}

#[test]
fn it_is_told_in_events_and_who_had_what_when_in_the_log() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs");
    let mut events = File::open(alpha.path("events")).unwrap();
    let grant = alpha.grant(&["jobs"], &beta, "--read --for 1h");
    beta.attached(&alpha, &[]);
    open(&beta.far("jobs"), true, false).unwrap();
    assert_eq!(errno(open(&beta.far("jobs"), false, true)), EACCES);
    alpha.revoke(&grant);
    let mut told: Vec<Value> = Vec::new();
    let wanted = ["granted", "admitted", "allowed", "refused", "revoked", "ended"];
    while !wanted.iter().all(|event| told.iter().any(|line| line["event"] == **event)) {
        let mut line = vec![0; 65536];
        let len = events.read(&mut line).unwrap();
        told.push(serde_json::from_slice(&line[..len]).unwrap());
    }
    for event in ["admitted", "allowed", "refused", "ended"] {
        let line = told.iter().find(|line| line["event"] == event && !line["key"].is_null()).unwrap();
        assert_eq!(line["key"], beta.id(), "{line}");
    }
    let audit = |options: &[&str]| {
        let words: Vec<&str> = ["audit"].iter().chain(options).copied().collect();
        stdout(alpha.run(&words))
    };
    assert!(audit(&[]).contains("revoked read   jobs") && audit(&[]).contains("unbroken"), "{}", audit(&[]));
    assert_eq!(audit(&["--at", "2000-01-01"]).matches("jobs").count(), 0);
    assert_eq!(audit(&["--key", &alpha.id()]).matches("jobs").count(), 0);

    // Somebody changes a line of it.
    alpha.check();
    let log = alpha.state().join("audit.log");
    let changed = fs::read_to_string(&log).unwrap().replacen("\"name\":\"jobs\"", "\"name\":\"logs\"", 1);
    let copy = alpha.state().join("copy");
    fs::write(&copy, changed).unwrap();
    let refused = fs9(&["audit", "--log"]).arg(&copy).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("the log was changed there or before"), "{said}");
}

#[test]
fn only_the_node_itself_says_who_comes_in() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs");
    alpha.grant(&["ctl", "jobs"], &beta, "--read --write --for 1h");
    beta.attached(&alpha, &[]);
    let say = |words: &str| open(&beta.far("ctl"), false, true)?.write(words.as_bytes());
    say("new more").unwrap();
    assert_eq!(errno(say("revoke a")), 1);
    // Another node's grant, one of nobody, and one that was changed.
    let (other, name) = (beta.run(&["id"]), beta.path("jobs"));
    drop(other);
    File::create(&name).unwrap();
    let foreign = beta.grant(&["jobs"], &alpha, "--read --for 1h");
    let ctl = |line: &str| open(&alpha.path("ctl"), false, true)?.write(line.as_bytes());
    assert_eq!(errno(ctl(&format!("grant {foreign}"))), 129);
    assert_eq!(errno(ctl("grant fs9grant:AAAA")), 22);
    assert_eq!(errno(ctl("revoke zzzz")), 2);
    let no_tls = Mount::new();
    let refused = open(&no_tls.path("ctl"), false, true).unwrap().write(format!("grant {foreign}").as_bytes());
    assert_eq!(errno(refused), 95);
    alpha.check();
}

#[test]
fn grants_outlive_the_server_and_what_was_revoked_stays_so() {
    let (mut alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs logs");
    let jobs = alpha.grant(&["jobs"], &beta, "--read --for 1h");
    alpha.grant(&["logs"], &beta, "--read --for 1h");
    alpha.revoke(&jobs);
    assert!(alpha.mount.down().status.success());
    let state = alpha.state();
    alpha.mount.up(&["--state", state.to_str().unwrap(), "--listen", "tls://127.0.0.1:0"]);
    alpha.address = alpha.mount.address();
    alpha.sh("touch jobs logs");
    beta.attached(&alpha, &[]);
    open(&beta.far("logs"), true, false).unwrap();
    assert_eq!(errno(open(&beta.far("jobs"), true, false)), EACCES, "it did not come by that");
    wait_for("the log", || (alpha.check().get("started") == Some(&2)).then_some(()));
}
