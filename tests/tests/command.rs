//! The `fs9` command: what each one does, its exit code, and the sentence when it cannot.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use fs9_tests::file::Fd;
use fs9_tests::process::Running;
use fs9_tests::{Mount, stdout, wait_for};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde_json::Value;

/// Runs a script; its exit code and what it said on stderr. Its standard output must be empty.
fn fails(mount: &Mount, script: &str) -> (i32, String) {
    let output = mount.command("timeout", &["-k", "1", "30", "bash", "-c", script]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{script}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A script must fail with 1 and one line that holds each of `words`.
fn refused(mount: &Mount, script: &str, words: &[&str]) {
    let (code, said) = fails(mount, script);
    assert_eq!(code, 1, "{script}: {said}");
    assert!(said.starts_with("fs9: ") && said.ends_with('\n') && said.matches('\n').count() == 1, "{script}: {said}");
    for word in words {
        assert!(said.contains(word), "{script}: no {word} in {said}");
    }
}

#[test]
fn new_makes_each_kind_and_rm_removes_it() {
    let mount = Mount::new();
    mount.run("mkdir p/d; fs9 new p/q; fs9 new --ack p/d/strict; fs9 new --pair 'p/my talk'; cd p/d; fs9 new inside");
    let kinds = |name: &str| (mount.channel(name)["kind"].clone(), mount.channel(name)["ack"].clone());
    assert_eq!(kinds("q"), ("queue".into(), false.into()));
    assert_eq!(kinds("d/strict"), ("queue".into(), true.into()));
    assert_eq!(kinds("my talk"), ("pair".into(), false.into()));
    assert_eq!(kinds("d/inside"), ("queue".into(), false.into()));
    assert_eq!(mount.run("fs9 rm p/q; fs9 rm p/d/strict; fs9 rm 'p/my talk'; fs9 rm p/d/inside; fs9 rm p/d; ls p"), {
        "README\nctl\nevents\nid\nn\nstatus\nstatus.json\ntimer\n"
    });
}

/// All channels, but for who left each last.
fn channels(mount: &Mount) -> Vec<Value> {
    let mut channels = mount.status()["channels"].as_array().unwrap().clone();
    channels.iter_mut().for_each(|channel| channel["left"] = Value::Null);
    channels
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence_and_nothing_changes() {
    let mount = Mount::new();
    mount.run("mkdir p/d; touch p/q p/d/x plain; fs9 new --pair p/t");
    let long = "n".repeat(256);
    let before = channels(&mount);
    for (script, words) in [
        ("fs9 new p/q", &["cannot make p/q", "EEXIST"][..]),
        ("fs9 new p/status", &["EEXIST"]),
        ("fs9 new p/absent/x", &["ENOENT", "mkdir"]),
        ("fs9 new p", &["mount itself"]),
        ("fs9 new p/x:line", &["EINVAL", ":line"]),
        ("fs9 new $'p/a\\nb'", &["control character", "p/a\\nb"]),
        ("fs9 new $'p/\\e[2J'", &["control character"]),
        ("fs9 new $'p/\\xff'", &["UTF-8"]),
        ("fs9 new p/--pair", &["begins with --"]),
        (&format!("fs9 new p/{long}"), &["256"]),
        ("fs9 new p/t/c", &["EPERM"]),
        ("fs9 new p/q/x", &["ENOTDIR"]),
        ("fs9 new plain", &["not in an fs9 mount"]),
        ("fs9 new p/d/../../other", &["not in an fs9 mount"]),
        ("fs9 attach p/x unix:/x", &["p/n/NAME"]),
        ("fs9 attach p/n/x unix:/x", &["cannot reach unix:/x", "nothing is attached"]),
        ("fs9 attach p/n/x tcp://192.0.2.1", &["--insecure"]),
        ("fs9 detach p/n/x", &["cannot detach p/n/x", "ENOENT"]),
        ("fs9 detach p/q", &["p/n/NAME"]),
        ("fs9 rm p/absent", &["cannot remove p/absent", "ENOENT"]),
        ("fs9 rm p/d", &["ENOTEMPTY"]),
        ("fs9 rm p", &["mount itself"]),
        ("fs9 rm p/status", &["EPERM"]),
        ("fs9 rm p/t/a", &["EPERM"]),
        ("fs9 rm plain", &["not in an fs9 mount"]),
        ("fs9 send p/absent x", &["cannot send to p/absent", "ENOENT", "fs9 new p/absent"]),
        ("fs9 send plain x", &["plain is not in an fs9 mount"]),
        ("fs9 send /dev/null x", &["not in an fs9 mount"]),
        ("fs9 send p/d x", &["EISDIR"]),
        ("fs9 send p/t x", &["EISDIR", "p/t/a"]),
        ("fs9 send p x", &["EISDIR"]),
        ("fs9 send p/status x", &["EACCES"]),
        ("fs9 send p/q ''", &["1 byte at least"]),
        ("fs9 send p/q < /dev/null", &["1 byte at least"]),
        ("head -c 1044481 /dev/zero | fs9 send p/q", &["EMSGSIZE", "nothing was sent"]),
        ("fs9 recv p/absent", &["cannot receive from p/absent", "ENOENT"]),
        ("fs9 recv --nonblock p/q", &["EAGAIN"]),
        ("fs9 recv plain", &["not in an fs9 mount"]),
        ("fs9 call p/absent x", &["ENOENT"]),
        ("fs9 ls plain", &["not in an fs9 mount"]),
        ("fs9 ls p/absent", &["ENOENT"]),
        ("fs9 status p/absent", &["neither a channel nor a directory"]),
        ("fs9 status plain", &["not in an fs9 mount"]),
        ("fs9 events plain", &["not in an fs9 mount"]),
        ("fs9 down plain", &["not up"]),
        ("fs9 down p/d", &["not up"]),
        ("fs9 down absent", &["absent"]),
        ("fs9 up p", &["p"]),
        ("fs9 up plain", &["plain"]),
        ("fs9 up absent", &["absent"]),
        ("fs9 up .", &["empty"]),
    ] {
        refused(&mount, script, words);
    }
    assert_eq!(channels(&mount), before);
    assert_eq!(mount.run("cat plain; ls"), "bin\np\nplain\n");
}

#[test]
fn wrong_usage_is_2_with_a_hint() {
    let mount = Mount::new();
    mount.run("touch p/q");
    for script in [
        "fs9",
        "fs9 nonsense",
        "fs9 send",
        "fs9 send p/q one two",
        "fs9 send --nonsense p/q x",
        "fs9 recv -n 0 p/q",
        "fs9 recv -n x p/q",
        "fs9 recv -t -1 p/q",
        "fs9 recv -t 0 p/q",
        "fs9 recv -n 2 --follow p/q",
        "fs9 new --pair --ack p/x",
        "fs9 new",
        "fs9 up --threads 0 x",
        "fs9 up --limit 1044481 x",
        "fs9 events -n 0 p",
        "fs9 completions nosuchshell",
        "fs9 attach p/n/x nonsense",
        "fs9 man nosuchcommand",
        "fs9 ls p p",
        // As many arguments as the system lets through.
        "fs9 send p/q $(seq 100000)",
    ] {
        let (code, said) = fails(&mount, script);
        assert_eq!(code, 2, "{script}: {said}");
        assert!(said.contains("Usage") || said.contains("--help"), "{script}: {said}");
    }
    assert_eq!(mount.figure("q", "sent"), 0);
    assert!(!mount.path("x").exists());
}

#[test]
fn a_huge_argument_is_a_message_or_a_sentence() {
    let mount = Mount::new();
    mount.run("touch p/q; fs9 send p/q \"$(printf 'x%.0s' {1..131000})\"; fs9 recv p/q > out");
    assert_eq!(fs::read_to_string(mount.beside().join("out")).unwrap(), "x".repeat(131_000));
    refused(&mount, "fs9 recv p/$(printf 'x%.0s' {1..100000})", &["ENAMETOOLONG"]);
}

#[test]
fn send_sends_its_argument_as_it_is_or_all_of_its_input() {
    let mount = Mount::new();
    mount.run("touch p/q; fs9 send p/q -- --dashes");
    let reader = Fd::reader(mount.path("q"));
    assert_eq!(reader.text(), "--dashes");
    mount.run("printf 'a\\0b' | fs9 send p/q");
    assert_eq!(reader.text(), "a\0b");
    mount.run("head -c 1044480 /dev/zero | fs9 send p/q");
    assert_eq!(reader.text().len(), 1_044_480);
    mount.run("(echo one; echo two) | fs9 send p/q");
    assert_eq!(reader.text(), "one\ntwo\n");
    mount.run("cd p; fs9 send q relative");
    assert_eq!(reader.text(), "relative");
    mount.run("ln -s p/q link; fs9 send link 'through a link'");
    assert_eq!(reader.text(), "through a link");
    let waiting = Running::piped(&mut mount.shell("fs9 send p/q 1; fs9 send p/q 2; fs9 send p/q 3"));
    assert_eq!((reader.text(), reader.text(), reader.text()), ("1".into(), "2".into(), "3".into()));
    assert_eq!(waiting.said(), "");
}

#[test]
fn send_gives_up_in_time_and_has_sent_nothing() {
    let mount = Mount::new();
    mount.run("touch p/q; fs9 send p/q first");
    let (code, said) = fails(&mount, "fs9 send -t 0.2 p/q second");
    assert_eq!((code, said.as_str()), (124, "fs9: gave up after 0.2 s of waiting for room in p/q\n"));
    refused(&mount, "fs9 send --nonblock p/q third", &["EAGAIN"]);
    assert_eq!((mount.figure("q", "sent"), mount.figure("q", "writers")), (1, 0));
    assert_eq!(mount.run("fs9 recv p/q; fs9 send -t 5 p/q fourth; fs9 recv -t 5 p/q"), "firstfourth");
}

#[test]
fn recv_gives_up_in_time_and_has_taken_nothing() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let (code, said) = fails(&mount, "fs9 recv -t 0.2 p/q");
    assert_eq!((code, said.as_str()), (124, "fs9: gave up after 0.2 s of waiting for a message on p/q\n"));
    mount.run("echo kept > p/q");
    assert_eq!(mount.run("fs9 recv p/q"), "kept\n");
    let output = mount.shell("echo one > p/q; fs9 recv -n 2 -t 0.3 p/q").output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(124), b"one\n".to_vec()));
    mount.run("fs9 new --pair p/t");
    let (code, _) = fails(&mount, "fs9 call -t 0.2 p/t/a question");
    assert_eq!(code, 124);
}

#[test]
fn recv_receives_as_many_as_asked_for() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let sender = Running::piped(&mut mount.shell("for i in 1 2 3 4; do echo $i > p/q; done"));
    assert_eq!(mount.run("fs9 recv -n 3 p/q; fs9 recv p/q"), "1\n2\n3\n4\n");
    assert_eq!(sender.said(), "");
    let follower = Running::piped(&mut mount.shell("fs9 recv --follow p/q"));
    mount.run("for i in 1 2 3; do echo $i > p/q; done");
    mount.wait_figure("q", "received", 7);
    mount.run("fs9 rm p/q");
    assert_eq!(follower.said(), "1\n2\n3\n");
}

#[test]
fn recv_of_a_channel_that_ends_says_so() {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    let end = Fd::both(mount.path("t/b"));
    let receiver = mount.shell("fs9 recv p/t/a").stderr(Stdio::piped()).spawn().unwrap();
    mount.wait_channel("t", "it waits", |t| t["lanes"][1]["readers"] == 1);
    drop(end);
    let output = receiver.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("hung up"), "{said}");
}

#[test]
fn a_held_end_is_explained() {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    let _holder = Fd::both(mount.path("t/a"));
    refused(&mount, "fs9 send p/t/a x", &["EBUSY", "fs9 status p/t/a"]);
    let status = mount.run("fs9 status p/t/a");
    assert!(status.contains(&format!("t/a  pid {} uid 0  rw", std::process::id())), "{status}");
}

#[test]
fn a_broken_pipe_is_explained() {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    let script = "use strict; open(my $f, '+<', 'p/t/b') or die; <STDIN>";
    let mut other = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_channel("t", "perl has its end", |t| t["holders"][0]["end"] == "b");
    let caller = mount.shell("fs9 call p/t/a question").stderr(Stdio::piped()).spawn().unwrap();
    mount.wait_channel("t", "it waits", |t| t["lanes"][1]["readers"] == 1);
    other.signal(rustix::process::Signal::KILL);
    other.ended();
    let output = caller.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("ECONNRESET") && said.contains("killed"), "{said}");
}

#[test]
fn ls_shows_kind_mode_and_who_waits() {
    let mount = Mount::new();
    mount.run("mkdir p/d; touch p/q p/d/x; fs9 new --ack p/strict; fs9 new --pair p/t; chmod 640 p/q");
    let reading = Fd::reader(mount.path("q")).reading(100);
    mount.wait_figure("q", "readers", 1);
    let listed = mount.run("fs9 ls p");
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["file", "0444", "-", "README"], "{listed}");
    assert!(rows.contains(&vec!["queue", "0640", "1", "waiting", "q"]), "{listed}");
    assert!(rows.contains(&vec!["queue", "--ack", "0600", "-", "strict"]), "{listed}");
    assert!(rows.contains(&vec!["dir", "0755", "-", "d"]), "{listed}");
    assert!(rows.iter().any(|row| row[0] == "pair" && row[3] == "t"), "{listed}");
    assert!(rows.contains(&vec!["dir", "0755", "-", "timer"]), "{listed}");
    assert!(rows.contains(&vec!["dir", "0755", "-", "n"]), "{listed}");
    assert_eq!(rows.len(), 12, "{listed}");
    assert_eq!(mount.run("cd p/d; fs9 ls"), "queue        0600  -           x\n");
    assert_eq!(mount.run("fs9 ls p/q").split_whitespace().last(), Some("p/q"));
    fs::remove_file(mount.path("q")).unwrap();
    reading.get().unwrap();
}

#[test]
fn status_shows_the_mount_or_one_channel() {
    let mount = Mount::new();
    mount.run("touch p/q p/r; mkdir p/d");
    assert!(mount.run("fs9 status p").starts_with("fs9 "));
    assert!(mount.run("cd p/d; fs9 status").starts_with("fs9 "));
    let all: Value = serde_json::from_str(&mount.run("fs9 status --json p")).unwrap();
    assert_eq!(all["channels"].as_array().unwrap().len(), 2);
    mount.run("fs9 send p/q x");
    let one: Value = serde_json::from_str(&mount.run("fs9 status --json p/q")).unwrap();
    assert_eq!((&one["name"], &one["lanes"][0]["slot"]), (&"q".into(), &1.into()));
    let text = mount.run("fs9 status p/q:whole");
    assert!(text.starts_with("q  queue 0600 uid 0  sent 1 = received 0 + dropped 0 + slot 1 + held 0"), "{text}");
}

#[test]
fn events_shows_as_many_as_asked_for() {
    let mount = Mount::new();
    let watcher = Running::piped(&mut mount.shell("fs9 events -n 2 p"));
    wait_for("it to wait", || (mount.status()["counts"]["waiting"] == 1).then_some(()));
    mount.run("fs9 new p/q; fs9 rm p/q; fs9 new p/r");
    let said = watcher.said();
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.iter().map(|event| event["event"].as_str().unwrap()).collect::<Vec<_>>(), ["created", "removed"]);
    assert_eq!(fails(&mount, "fs9 events -t 0.2 p").0, 124);
}

#[test]
fn doctor_finds_this_machine_able() {
    let mount = Mount::new();
    let said = mount.run("fs9 doctor");
    for line in said.lines() {
        assert!(["ok  ", "note"].contains(&&line[..4]), "{line}");
    }
    assert!(said.contains("kernel ") && said.contains("/dev/fuse") && said.contains("fusermount3"), "{said}");
    let (code, said) = {
        let output = mount.shell("fs9 doctor p/absent").output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(code, Some(1));
    assert!(said.lines().any(|line| line.starts_with("problem") && line.contains("p/absent")), "{said}");
    assert!(mount.run("mkdir empty; fs9 doctor empty").lines().last().unwrap().starts_with("ok"));
}

#[test]
fn completions_and_manuals_are_for_every_shell_and_command() {
    let mount = Mount::new();
    mount.run("fs9 completions bash > c; bash -n c; source ./c; complete -p fs9 > /dev/null");
    for shell in ["bash", "zsh", "fish"] {
        let script = mount.run(&format!("fs9 completions {shell}"));
        for command in ["up", "recv", "--nonblock", "doctor"] {
            let word = if shell == "fish" { command.trim_start_matches('-') } else { command };
            assert!(script.contains(word), "{shell} knows no {command}");
        }
    }
    let help = mount.run("fs9 --help");
    for command in [
        "up",
        "check",
        "down",
        "new",
        "rm",
        "ls",
        "status",
        "events",
        "top",
        "graph",
        "send",
        "recv",
        "call",
        "doctor",
        "completions",
    ] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
        let page = mount.run(&format!("fs9 man {command} > page; man -l --warnings page 2>&1 | cat"));
        assert!(page.contains("NAME") && page.contains("SYNOPSIS") && !page.contains("warning"), "{page}");
        assert!(mount.run(&format!("fs9 {command} --help")).contains("Usage: fs9"));
    }
    assert!(mount.run("fs9 man").contains(".TH fs9"));
    assert!(mount.run("fs9 --version").starts_with("fs9 0."));
}

#[test]
fn a_wait_is_explained_on_a_terminal() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let mut terminal = mount.command("script", &["-qefc", "fs9 recv p/q", "/dev/null"]);
    // indicatif draws nothing on a terminal that cannot move its cursor.
    let mut terminal = Running::piped(terminal.env("TERM", "xterm"));
    let mut output = BufReader::new(terminal.stdout.take().unwrap());
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("waiting for a message on p/q") {
        let part = output.fill_buf().unwrap();
        assert!(!part.is_empty(), "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(part);
        let len = part.len();
        output.consume(len);
    }
    mount.run("echo here > p/q");
    output.read_to_end(&mut said).unwrap();
    assert!(terminal.ended().success());
    let said = String::from_utf8_lossy(&said);
    assert!(said.trim_end().ends_with("here"), "{said:?}");
}

#[test]
fn a_wait_is_not_explained_in_a_pipe() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let (code, said) = fails(&mount, "fs9 recv -t 1.5 p/q");
    assert_eq!((code, said.as_str()), (124, "fs9: gave up after 1.5 s of waiting for a message on p/q\n"));
}

#[test]
fn recv_into_a_full_disk_gives_the_message_back() {
    let mount = Mount::new();
    mount.run("touch p/q; fs9 send p/q precious");
    let output = mount.shell("fs9 recv p/q > /dev/full").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
    mount.wait_channel("q", "given back", |q| q["lanes"][0]["redelivered"] == 1);
    assert_eq!(stdout(mount.shell("fs9 recv p/q").output().unwrap()), "precious");
    mount.assert_ledgers_balance();
}

#[test]
fn the_message_of_recv_is_one_message_in_another_channel() {
    let mount = Mount::new();
    mount.run(
        "touch p/q p/r; head -c 900000 /dev/urandom > in; fs9 send p/q < in; fs9 recv p/q > p/r; fs9 recv p/r > out",
    );
    mount.run("cmp in out");
    assert_eq!(mount.figure("r", "sent"), 1);
    let nonblocking = Fd::open(mount.path("r"), OFlags::RDONLY | OFlags::NONBLOCK).unwrap();
    assert_eq!(nonblocking.read(10), Err(Errno::AGAIN));
}
