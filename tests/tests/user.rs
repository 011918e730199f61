//! All of it as an ordinary user, who mounts through fusermount3.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::os::unix::fs::MetadataExt;

use fs9_tests::process::{signal, state};
use fs9_tests::user::{Home, NAME};
use fs9_tests::waiter::{Waiter, report};
use fs9_tests::{stdout, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A mount of the ordinary user.
fn up(args: &str) -> Home {
    let home = Home::new();
    let said = home.run(&format!("fs9 up {args} p"));
    assert!(said.starts_with("fs9 is up on "), "{said}");
    home
}

/// Waits until `holds` is true of `status.json`.
fn wait_status(home: &Home, what: &str, holds: impl Fn(&Value) -> bool) {
    wait_for(&format!("{what} in {:#}", home.status()), || holds(&home.status()).then_some(()));
}

fn wait_readers(home: &Home, readers: u64) {
    wait_status(home, "readers", |status| status["channels"][0]["lanes"][0]["readers"] == readers);
}

fn server(home: &Home) -> u32 {
    home.status()["server"]["pid"].as_u64().unwrap() as u32
}

fn wait_gone(pid: u32) {
    wait_for("the server to be gone", || matches!(state(pid), None | Some('Z' | 'X')).then_some(()));
}

fn kill_server(home: &Home) {
    let pid = server(home);
    signal(pid, Signal::KILL);
    wait_gone(pid);
}

/// What a command says on stderr when it fails, as it must.
fn refused(home: &Home, user: &str, script: &str) -> String {
    let output = home.output_as(user, script);
    assert!(!matches!(output.status.code(), Some(0 | 124)), "{user} may: {script}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Checks that `user` may not do it, and is told so.
fn assert_not_allowed(home: &Home, user: &str, script: &str) {
    let error = refused(home, user, script);
    let told = ["Permission denied", "Operation not permitted", "(EACCES)"].iter().any(|no| error.contains(no));
    assert!(told, "{script}: {error}");
}

#[test]
fn a_user_mounts_passes_messages_and_ends_it() {
    for args in ["", "--threads 4"] {
        let home = up(args);
        assert_eq!(home.run("stat -c %U p; findmnt -no FSTYPE,SOURCE p"), "fs9-tester\nfuse.fs9 fs9\n");
        assert_eq!(
            home.run("echo hi > p/jobs; head -n1 p/jobs 2>/dev/null; stat -c '%U %a' p/jobs"),
            "hi\nfs9-tester 600\n"
        );
        assert_eq!(home.run("fs9 send p/jobs message; fs9 recv p/jobs"), "message\n".trim_end());
        let status = home.status();
        assert_eq!(status["channels"][0]["uid"], home.uid());
        let pid = server(&home);
        assert_eq!(home.run("fs9 down p"), format!("fs9 is down on {}\n", home.path("").display()));
        assert!(!home.is_mounted());
        wait_gone(pid);
        assert_eq!(home.run("ls -A p"), "");
    }
}

#[test]
fn a_users_reader_that_is_killed_is_gone_at_once_and_gives_its_message_back() {
    let home = up("");
    home.run("fs9 new p/jobs");
    let mut latencies = Vec::new();
    for _ in 0..5 {
        let reader = Waiter::of(&mut home.shell("exec waiter read p/jobs"));
        wait_readers(&home, 1);
        let holder = &home.status()["channels"][0]["holders"][0];
        assert_eq!((&holder["pid"], &holder["uid"]), (&reader.pid().into(), &home.uid().into()));
        latencies.push(reader.killed());
        wait_status(&home, "no holder", |status| status["counts"]["opens"] == 0);
    }
    report("a user's blocked reader", latencies);
    home.run("printf message > p/jobs");
    let mut holder = Waiter::of(&mut home.shell("exec waiter hold p/jobs"));
    assert_eq!(holder.line(), "read 7 message");
    holder.killed();
    assert_eq!(home.run("cat p/jobs:whole"), "message");
    assert_eq!(home.status()["channels"][0]["lanes"][0]["redelivered"], 1);

    let mut interrupted = Waiter::of(&mut home.shell("exec waiter read p/jobs"));
    wait_readers(&home, 1);
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.said(), "EINTR");
}

#[test]
fn fusermount_and_signals_end_it() {
    for (script, busy) in [
        ("fusermount3 -u p", false),
        ("fusermount3 -uz p", true),
        ("kill -TERM $server", true),
        ("kill -INT $server", true),
        ("fs9 down p", true),
    ] {
        let home = up("");
        home.run("fs9 new p/jobs");
        let pid = server(&home);
        let mut reader = busy.then(|| Waiter::of(&mut home.shell("exec waiter read p/jobs")));
        if busy {
            wait_readers(&home, 1);
            let error = refused(&home, NAME, "fusermount3 -u p");
            assert!(error.contains("busy"), "{error}");
        } else {
            wait_status(&home, "no holder", |status| status["counts"]["opens"] == 0);
        }
        // The kernel may still be busy with the last close.
        let script = format!("server={pid}; {script}");
        wait_for(&script, || home.output_as(NAME, &script).status.success().then_some(()));
        if let Some(reader) = &mut reader {
            assert_eq!(reader.said(), "ESHUTDOWN", "{script}");
        }
        wait_for("the mount to be gone", || (!home.is_mounted()).then_some(()));
        wait_gone(pid);
        home.run("fs9 up p; fs9 down p");
    }
}

#[test]
fn a_user_cleans_up_after_a_killed_server() {
    let home = up("");
    home.run("fs9 new p/jobs");
    let mut reader = Waiter::of(&mut home.shell("exec waiter read p/jobs"));
    wait_readers(&home, 1);
    kill_server(&home);
    assert_eq!(reader.said(), "ECONNABORTED");
    for command in ["up", "down"] {
        refused(&home, "nobody", &format!("fs9 {command} p"));
        assert!(home.is_mounted(), "another user has taken the dead mount away");
    }
    let said = home.run("fs9 up p");
    assert!(said.starts_with("cleaned up the mount of an earlier server that had died\n"), "{said}");
    assert_eq!(home.run("echo hi > p/jobs; head -n1 p/jobs 2>/dev/null"), "hi\n");
    kill_server(&home);
    assert!(home.run("fs9 down p").contains("had died"));
    assert!(!home.is_mounted());
}

#[test]
fn nobody_but_root_looks_into_a_server_that_has_a_key() {
    let home = up("");
    let server = server(&home);
    assert_not_allowed(&home, NAME, &format!("cat /proc/{server}/environ"));
    assert_not_allowed(&home, NAME, &format!("head -c 1 /proc/{server}/mem"));
    // Such files are of the user whose process it is, unless that is kept out of core files (proc_pid(5)).
    let owner = std::fs::metadata(format!("/proc/{server}/environ")).unwrap().uid();
    assert_eq!(owner, 0);
}

#[test]
fn other_users_are_kept_out() {
    let home = up("");
    home.run("fs9 new p/jobs; chmod 666 p/jobs; chmod 755 p");
    for script in ["ls p", "cat p/status", "echo hi > p/jobs", "cat p/jobs", "stat p/README", "fs9 down p", "fs9 ls p"]
    {
        assert_not_allowed(&home, "nobody", script);
    }
    refused(&home, "nobody", "fusermount3 -u p");
    assert_eq!(home.status()["channels"][0]["lanes"][0]["sent"], 0);
}

#[test]
fn with_allow_other_the_mode_bits_decide_who_may() {
    let home = up("--allow-other");
    home.run("fs9 new p/mine; fs9 new p/ours; chmod 666 p/ours; fs9 new --pair p/pair");
    for script in [
        "echo hi > p/mine",
        "cat p/mine",
        "echo hi > p/new",
        "mkdir p/dir",
        "rm -f p/ours",
        "mv p/ours p/theirs",
        "chmod 666 p/mine",
        "chown nobody p/ours",
        "echo stop > p/ctl",
        "echo 'new there' > p/ctl",
        "cat p/events",
        "echo hi > p/pair/a",
        "fs9 down p",
    ] {
        assert_not_allowed(&home, "nobody", script);
    }
    let as_nobody = |script: &str| stdout(home.output_as("nobody", script));
    assert_eq!(as_nobody("ls p"), "README\nctl\nevents\nid\nmine\nn\nours\npair\nstatus\nstatus.json\ntimer\n");
    as_nobody("printf hello > p/ours");
    assert_eq!(home.run("cat p/ours:whole"), "hello");

    let mut reader = Waiter::of(&mut home.shell_as("nobody", "exec waiter read p/ours"));
    let ours =
        |status: &Value| status["channels"].as_array().unwrap().iter().find(|c| c["name"] == "ours").cloned().unwrap();
    wait_status(&home, "a reader", |status| ours(status)["lanes"][0]["readers"] == 1);
    let holder = ours(&home.status())["holders"][0].clone();
    let nobody: u32 = as_nobody("id -u").trim().parse().unwrap();
    assert_eq!((&holder["pid"], &holder["uid"]), (&reader.pid().into(), &nobody.into()));
    home.run("printf 'for you' > p/ours");
    assert_eq!(reader.said(), "read 7 for you");

    // What a mode bit gives it takes back; a directory of one's own is one's own.
    home.run("chmod 600 p/ours");
    assert_not_allowed(&home, "nobody", "cat p/ours");
    home.run("mkdir p/shared; chmod 777 p/shared");
    as_nobody("printf theirs > p/shared/queue");
    assert_eq!(home.run("stat -c '%u %a' p/shared/queue"), format!("{nobody} 600\n"));
    assert_not_allowed(&home, NAME, "cat p/shared/queue");
    assert_eq!(as_nobody("cat p/shared/queue:whole"), "theirs");

    // kill -9 is seen of another user's process, too.
    as_nobody("printf again > p/shared/queue");
    let mut holder = Waiter::of(&mut home.shell_as("nobody", "exec waiter hold p/shared/queue"));
    assert_eq!(holder.line(), "read 5 again");
    holder.killed();
    assert_eq!(as_nobody("cat p/shared/queue:whole"), "again");
}
