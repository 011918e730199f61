//! The files of text: README, ctl, status, status.json and events.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::os::unix::fs::FileExt;

use fs9_tests::Mount;
use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::Running;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};

/// The events of a mount from now on.
struct Events(Fd);

impl Events {
    fn of(mount: &Mount) -> Events {
        Events(Fd::reader(mount.path("events")))
    }

    /// The next event: one read, one line.
    fn next(&self) -> Value {
        let line = self.0.text();
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert!(event["time"].as_f64().unwrap() > 1.7e9, "{line}");
        event
    }

    /// The next events without their times must be these.
    fn expect(&self, expected: &[Value]) {
        for expected in expected {
            let mut event = self.next();
            event.as_object_mut().unwrap().remove("time");
            assert_eq!(&event, expected);
        }
    }
}

/// One write to `ctl`.
fn ctl(mount: &Mount, text: impl Into<Vec<u8>>) -> rustix::io::Result<usize> {
    Fd::writer(mount.path("ctl")).write(text)
}

#[test]
fn readme_tells_how_to_use_the_directory_and_is_right() {
    let mount = Mount::new();
    let readme = fs::read_to_string(mount.path("README")).unwrap();
    for word in ["echo hello > NAME", "cat NAME:whole", "cat status", "cat events", "cat ctl", "fs9 down DIR"] {
        assert!(readme.contains(word), "{word}: {readme}");
    }
    assert_eq!(mount.run("cd p; echo hello > NAME; cat NAME:whole; rm NAME; cat README | wc -c"), {
        format!("hello\n{}\n", readme.len())
    });
    assert!(mount.run("cd p; echo new --pair talk > ctl; ls talk").starts_with("a\nb\n"));
}

#[test]
fn ctl_lists_its_verbs() {
    let mount = Mount::new();
    let help = fs::read_to_string(mount.path("ctl")).unwrap();
    let verbs: Vec<_> =
        help.lines().filter_map(|line| line.split(' ').next().filter(|verb| !verb.is_empty())).collect();
    let nodes = ["attach", "detach", "grant", "revoke"];
    assert_eq!(verbs, [&["new", "new", "new", "new", "spawn", "rm", "hangup"][..], &nodes, &["stop"]].concat());
    assert!(help.lines().all(|line| line.len() > 30), "each has a line of help: {help}");
}

#[test]
fn every_verb_of_ctl_does_what_it_says() {
    let mount = Mount::new();
    mount.run("mkdir p/d");
    for (verb, name, kind, ack) in [
        ("new q", "q", "queue", false),
        ("new --ack d/strict\n", "d/strict", "queue", true),
        ("new --pair my talk\n", "my talk", "pair", false),
        ("new --service --hello --backlog=7 d/s", "d/s", "service", false),
        ("new --topic --latest news", "news", "topic", false),
        ("new -- --odd", "--odd", "queue", false),
    ] {
        assert_eq!(ctl(&mount, verb), Ok(verb.len()), "{verb}");
        let channel = mount.channel(name);
        assert_eq!((&channel["kind"], &channel["ack"]), (&json!(kind), &json!(ack)), "{verb}");
    }
    let (a, b) = (Fd::both(mount.path("my talk/a")), Fd::both(mount.path("my talk/b")));
    let reading = a.reading(ROOM);
    mount.wait_channel("my talk", "a waits", |talk| talk["lanes"][1]["readers"] == 1);
    ctl(&mount, "hangup my talk").unwrap();
    assert_eq!(reading.get().unwrap(), b"");
    assert_eq!(b.write("x"), Err(Errno::PIPE));
    for name in ["my talk", "d/strict", "d/s", "d", "news", "q", "--odd"] {
        assert_eq!(ctl(&mount, format!("rm {name}\n")).map(drop), Ok(()), "{name}");
        assert!(!mount.path(name).exists());
    }
    assert_eq!(mount.status()["channels"], json!([]));
}

#[test]
fn stop_ends_the_server_and_fails_what_waits_with_eshutdown() {
    let mut mount = Mount::new();
    mount.run("touch p/q");
    let fd = Fd::reader(mount.path("q"));
    let reading = fd.reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    assert_eq!(ctl(&mount, "stop"), Ok(4));
    assert_eq!(reading.get(), Err(Errno::SHUTDOWN));
    drop(fd);
    let server = mount.server();
    fs9_tests::wait_for("the server to end", || {
        fs9_tests::process::state(server).is_none_or(|state| state == 'Z').then_some(())
    });
    assert_eq!(fs::read_dir(mount.path("")).unwrap().count(), 0, "the mount point is free");
    mount.up(&[]);
}

#[test]
fn what_ctl_does_not_know_is_refused_reported_and_changes_nothing() {
    let mount = Mount::new();
    mount.run("touch p/q; mkdir p/d; touch p/d/x; fs9 new --pair p/t");
    let before = mount.status()["channels"].clone();
    let events = Events::of(&mount);
    let long = format!("new {}", "n".repeat(100_000));
    for (verb, errno) in [
        ("\n", Errno::INVAL),
        ("nonsense", Errno::INVAL),
        ("NEW x", Errno::INVAL),
        (" new x", Errno::INVAL),
        ("new", Errno::INVAL),
        ("new --pair", Errno::INVAL),
        ("new --pair --ack x", Errno::INVAL),
        ("new --what x", Errno::INVAL),
        ("new --hello x", Errno::INVAL),
        ("new --service --latest x", Errno::INVAL),
        ("new --service --backlog=many x", Errno::INVAL),
        ("new n", Errno::EXIST),
        ("new n/x", Errno::PERM),
        ("rm n", Errno::PERM),
        ("attach x", Errno::INVAL),
        ("attach x host:99", Errno::INVAL),
        ("detach x", Errno::NOENT),
        ("new timer", Errno::EXIST),
        ("new timer/1s", Errno::EXIST),
        ("new timer/x", Errno::PERM),
        ("rm timer", Errno::PERM),
        ("rm timer/1s", Errno::PERM),
        ("hangup timer/1s", Errno::INVAL),
        ("new x\nnew y\n", Errno::INVAL),
        ("new x\n\n", Errno::INVAL),
        ("new a\tb", Errno::INVAL),
        ("new a\u{1b}b", Errno::INVAL),
        ("new a\0b", Errno::INVAL),
        ("new ..", Errno::INVAL),
        ("new x:line", Errno::INVAL),
        ("new q", Errno::EXIST),
        ("new status", Errno::EXIST),
        ("new absent/x", Errno::NOENT),
        ("new q/x", Errno::NOTDIR),
        ("new t/c", Errno::PERM),
        (&long, Errno::NAMETOOLONG),
        ("rm", Errno::INVAL),
        ("rm ", Errno::INVAL),
        ("rm absent", Errno::NOENT),
        ("rm d", Errno::NOTEMPTY),
        ("rm status", Errno::PERM),
        ("rm t/a", Errno::PERM),
        ("hangup", Errno::INVAL),
        ("hangup q", Errno::INVAL),
        ("hangup absent", Errno::NOENT),
        ("stop now", Errno::INVAL),
    ] {
        let shown: String = verb.chars().take(60).collect();
        assert_eq!(ctl(&mount, verb), Err(errno), "{shown:?}");
        let event = events.next();
        assert_eq!((&event["event"], &event["uid"]), (&json!("refused"), &json!(0)), "{shown:?}: {event}");
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.starts_with("ctl: ") && reason.len() < 400, "{shown:?}: {reason}");
    }
    for verb in [&b"\xff\xfe"[..], b"new \xff", b"rm \xc3"] {
        assert_eq!(ctl(&mount, verb), Err(Errno::INVAL));
        assert_eq!(events.next()["event"], "refused");
    }
    assert_eq!(mount.status()["channels"], before);
    assert_eq!(mount.run("ls p"), "README\nctl\nd\nevents\nid\nn\nq\nstatus\nstatus.json\nt\ntimer\n");
    assert_eq!(mount.run("ls p/d"), "x\n");
}

#[test]
fn status_json_has_its_schema() {
    let mount = Mount::with(&["--limit", "5000", "--max-channels", "7", "--max-opens", "50"]);
    mount.run("mkdir p/d; touch p/d/q; chmod 640 p/d/q; fs9 new --pair p/t");
    let status = mount.status();
    assert_eq!(status["server"]["pid"], mount.server());
    assert!(status["server"]["version"].is_string() && status["server"]["since"].as_f64().unwrap() > 1.7e9);
    assert_eq!(status["limits"]["message"], 5000);
    assert_eq!((&status["limits"]["channels"], &status["limits"]["opens"]), (&json!(7), &json!(50)));
    let reader = Fd::reader(mount.path("d/q:line"));
    let reading = reader.reading(ROOM);
    mount.wait_figure("d/q", "readers", 1);
    let mut queue = mount.channel("d/q");
    let holder = &mut queue["holders"][0];
    for time in ["since", "waiting_since"] {
        assert!(holder[time].take().as_f64().unwrap() > 1.7e9);
    }
    let pid = std::process::id();
    let expected = json!({
        "name": "d/q", "kind": "queue", "ack": false, "latest": false, "mode": "0640", "uid": 0, "gid": 0,
        "ends": [], "connections": 0, "backlog": 0, "backlog_limit": 0, "command": [], "left": null,
        "lanes": [{"from": null, "sent": 0, "received": 0, "redelivered": 0, "dropped": {}, "slot": 0, "held": 0,
                   "readers": 1, "writers": 0}],
        "holders": [{"end": null, "connection": null, "pid": pid, "node": null, "uid": 0, "access": "r", "view": "line", "since": null,
                     "waiting": "read", "waiting_since": null, "holds": false, "awaited": false, "missed": 0}],
    });
    assert_eq!(queue, expected);
    let counts = &mount.status()["counts"];
    assert_eq!((&counts["channels"], &counts["waiting"]), (&json!(2), &json!(1)));
    Fd::writer(mount.path("d/q")).write("x").unwrap();
    assert_eq!(reading.get().unwrap(), b"x\n");
    let queue = mount.channel("d/q");
    assert_eq!((&queue["lanes"][0]["held"], &queue["holders"][0]["holds"]), (&json!(1), &json!(true)));
    let pair = mount.channel("t");
    assert_eq!((&pair["lanes"][0]["from"], &pair["lanes"][1]["from"]), (&json!("a"), &json!("b")));
    assert_eq!(pair["lanes"].as_array().unwrap().len(), 2);
}

#[test]
fn status_says_who_left_last_and_why() {
    let mount = Mount::new();
    mount.run("touch p/q");
    for (end, reason) in
        [("os._exit(3)", "exited 3"), ("os.kill(os.getpid(), 9)", "killed 9"), ("os.close(q)", "closed")]
    {
        let script = format!("import os; q = os.open('p/q', os.O_RDONLY); {end}");
        let mut child = Running::new(&mut mount.command("python3", &["-c", &script]));
        let pid = child.id();
        child.ended();
        mount.wait_channel("q", reason, |q| q["left"] == json!({"pid": pid, "reason": reason}));
        let status = mount.run("fs9 status p/q");
        assert!(status.ends_with(&format!("last left: pid {pid} {reason}\n")), "{status}");
    }
}

#[test]
fn status_is_a_line_a_channel_and_one_a_holder() {
    let mount = Mount::new();
    mount.run("touch p/q; fs9 new --ack p/strict; fs9 new --pair p/t");
    let (reader, _end) = (Fd::reader(mount.path("q")), Fd::both(mount.path("t/b")));
    let reading = reader.reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    fs::write(mount.path("strict"), "x").unwrap();
    mount.wait_channel("strict", "closed", |strict| strict["holders"] == json!([]));
    let status = fs::read_to_string(mount.path("status")).unwrap();
    let mut lines: Vec<_> = status.lines().collect();
    assert!(lines.remove(1).starts_with("confined by "), "{status}");
    let pid = std::process::id();
    assert!(lines[0].starts_with("fs9 0.1.0  pid ") && lines[0].contains("channels 3 of "), "{status}");
    assert!(lines[0].ends_with("limit 1044480"), "{status}");
    assert!(lines[1].starts_with("q  queue 0600 uid 0  sent 0 = received 0 + "), "{status}");
    assert!(lines[1].ends_with("waiting 1 to read, 0 to write"), "{status}");
    assert!(lines[2].starts_with(&format!("  q  pid {pid} uid 0  r  open for 0")), "{status}");
    assert!(lines[2].contains("  waits to read for "), "{status}");
    assert!(lines[3].starts_with("strict  queue --ack 0600 uid 0  sent 1 = received 0 + dropped 0 + slot 1 + held 0"));
    assert!(lines[4].starts_with("t  pair 0"), "{status}");
    assert!(lines[5].starts_with(&format!("  t/b  pid {pid} uid 0  rw")), "{status}");
    assert_eq!(lines.len(), 6, "{status}");
    fs::remove_file(mount.path("q")).unwrap();
    assert_eq!(reading.get().unwrap(), b"");
}

#[test]
fn a_text_is_the_same_for_as_long_as_it_is_open() {
    let mount = Mount::new();
    mount.run("cd p; for i in $(seq 300); do : > queue-with-a-long-name-$i; done");
    for name in ["status.json", "status", "README", "ctl"] {
        let file = fs::File::open(mount.path(name)).unwrap();
        let mut text = Vec::new();
        let mut part = [0; 4999];
        loop {
            let len = file.read_at(&mut part, text.len() as u64).unwrap();
            if len == 0 {
                break;
            }
            text.extend_from_slice(&part[..len]);
            // The state changes between two reads.
            fs::write(mount.path("queue-with-a-long-name-1"), "x").unwrap();
            fs::read_to_string(mount.path("queue-with-a-long-name-1:whole")).unwrap();
        }
        assert_eq!(file.read_at(&mut part, 1 << 40).unwrap(), 0);
        let mut first = [0; 3];
        file.read_exact_at(&mut first, 0).unwrap();
        assert_eq!(first, text[..3]);
        if name == "status.json" {
            let status: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(status["channels"].as_array().unwrap().len(), 300);
            assert!(text.len() > 10 * part.len());
        }
    }
}

#[test]
fn events_tell_what_happens_with_names_processes_and_reasons() {
    let mount = Mount::new();
    let events = Events::of(&mount);
    let pid = std::process::id();
    mount.run("fs9 new --pair p/t; fs9 new p/q");
    events.expect(&[
        json!({"event": "created", "name": "t", "uid": 0}),
        json!({"event": "created", "name": "q", "uid": 0}),
    ]);
    let a = Fd::both(mount.path("t/a"));
    events.expect(&[json!({"event": "opened", "name": "t", "end": "a", "pid": pid, "uid": 0, "access": "rw"})]);
    mount.run("fs9 send p/t/b bye");
    let opened = events.next();
    let other = opened["pid"].as_u64().unwrap();
    assert_eq!((&opened["event"], &opened["end"], &opened["access"]), (&json!("opened"), &json!("b"), &json!("w")));
    let closed = events.next();
    assert_eq!((&closed["event"], &closed["end"], &closed["pid"]), (&json!("closed"), &json!("b"), &json!(other)));
    assert!(["closed", "exited 0"].contains(&closed["reason"].as_str().unwrap()), "{closed}");
    mount.run("echo hangup > p/t/ctl");
    events.expect(&[json!({"event": "hungup", "name": "t"})]);
    drop(a);
    events.expect(&[json!({"event": "closed", "name": "t", "end": "a", "pid": pid, "uid": 0, "reason": "closed"})]);

    let script = "open(F, '<', 'p/q') or die; sysread(F, $m, 2); <STDIN>";
    let mut reader = Running::piped(&mut mount.command("perl", &["-e", script]));
    let reader_id = reader.id();
    events.expect(&[json!({"event": "opened", "name": "q", "pid": reader_id, "uid": 0, "access": "r"})]);
    let writer = Fd::writer(mount.path("q"));
    events.expect(&[json!({"event": "opened", "name": "q", "pid": pid, "uid": 0, "access": "w"})]);
    writer.write("message").unwrap();
    mount.wait_figure("q", "held", 1);
    reader.signal(Signal::KILL);
    reader.ended();
    events.expect(&[
        json!({"event": "redelivered", "name": "q", "pid": reader_id, "reason": "killed 9"}),
        json!({"event": "lost", "name": "q", "pid": reader_id, "uid": 0, "reason": "killed 9"}),
    ]);
    assert_eq!(mount.figure("q", "redelivered"), 1);
    mount.run("rm p/q; rmdir p/t");
    events.expect(&[json!({"event": "removed", "name": "q"}), json!({"event": "removed", "name": "t"})]);
}

#[test]
fn events_can_be_polled_and_read_in_parts() {
    let mount = Mount::new();
    let events = Fd::open(mount.path("events"), OFlags::RDONLY | OFlags::NONBLOCK).unwrap();
    assert_eq!(events.read(ROOM), Err(Errno::AGAIN));
    let polling = events.polling(PollFlags::IN);
    mount.run("touch p/q");
    assert_eq!(polling.get(), PollFlags::IN);
    let first = [events.read(10).unwrap(), events.read(ROOM).unwrap()].concat();
    let event: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(event["event"], "created");
    assert_eq!(events.poll(PollFlags::IN), PollFlags::IN, "opened and closed are to come");
}

#[test]
fn every_reader_of_events_gets_every_event() {
    let mount = Mount::new();
    let readers = [Events::of(&mount), Events::of(&mount)];
    ctl(&mount, "new q").unwrap();
    let late = Events::of(&mount);
    ctl(&mount, "new r").unwrap();
    for reader in &readers {
        reader.expect(&[json!({"event": "created", "name": "q", "uid": 0})]);
    }
    for reader in readers.iter().chain([&late]) {
        reader.expect(&[json!({"event": "created", "name": "r", "uid": 0})]);
    }
}

#[test]
fn a_slow_reader_of_events_is_told_how_many_it_missed() {
    let mount = Mount::new();
    let events = Events::of(&mount);
    for _ in 0..800 {
        ctl(&mount, "new q").unwrap();
        ctl(&mount, "rm q").unwrap();
    }
    let missed = events.next();
    assert_eq!(missed["event"], "missed", "{missed}");
    let count = missed["count"].as_u64().unwrap();
    for number in count..1600 {
        let expected = if number % 2 == 0 { "created" } else { "removed" };
        assert_eq!(events.next()["event"], expected, "number {number}, {count} missed");
    }
    ctl(&mount, "new last").unwrap();
    events.expect(&[json!({"event": "created", "name": "last", "uid": 0})]);
}

#[test]
fn waiting_for_an_event_can_be_interrupted() {
    let mount = Mount::new();
    let script = "$SIG{USR1} = sub {}; open(F, '<', 'p/events') or die; defined(sysread(F, $m, 100)) or print $! + 0";
    let process = Running::piped(&mut mount.command("perl", &["-e", script]));
    fs9_tests::wait_for("it to wait", || (mount.status()["counts"]["waiting"] == 1).then_some(()));
    process.signal(Signal::USR1);
    assert_eq!(process.said(), Errno::INTR.raw_os_error().to_string());
}
