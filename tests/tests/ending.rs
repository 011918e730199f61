//! The end of a mount, whoever ends it: what waits fails at once, and nothing is left.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use fs9_tests::process::{signal, state};
use fs9_tests::waiter::{Waiter, wait_all_released, wait_waiting};
use fs9_tests::{DEADLINE, Mount, fs9, wait_for};
use rustix::process::Signal;

/// One of everything that can wait in a mount, and what it will say.
fn waiters(mount: &Mount, said: &str) -> Vec<(String, Waiter, String)> {
    mount.run("fs9 new p/q; printf first > p/full; fs9 new --ack p/ack; fs9 new --pair p/pair; fs9 new p/idle");
    let in_line = [
        ("read", "q"),
        ("read", "q:whole"),
        ("read", "ack"),
        ("read", "pair/a"),
        ("write", "full"),
        ("append", "full"),
        ("sync", "full"),
        ("write", "full:whole"),
    ];
    let mut waiters = Vec::new();
    for (does, path) in in_line {
        let waiter = Waiter::new(does, mount.path(path), &[]).blocked(mount);
        waiters.push((format!("{does} {path}"), waiter, said.to_owned()));
    }
    for (does, path) in [("poll", "idle"), ("pollout", "full")] {
        let poller = Waiter::new(does, mount.path(path), &[]).asleep("poll_schedule_timeout");
        waiters.push((format!("{does} {path}"), poller, "err".into()));
    }
    // The last, since every other one that is opened is an event.
    let events = Waiter::new("read", mount.path("events"), &[]);
    wait_waiting(mount, in_line.len() + 1);
    waiters.push(("read events".into(), events, said.to_owned()));
    waiters
}

/// Waits until they have all said it.
fn assert_said(waiters: Vec<(String, Waiter, String)>) {
    for (what, mut waiter, said) in waiters {
        let heard = waiter.said();
        let polled = heard.strip_prefix("polled ").is_some_and(|events| events.split(' ').any(|event| event == said));
        assert!(heard == said || polled, "{what}: {heard}");
    }
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn is_mounted(dir: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == dir.to_str())
}

/// Checks that no process and no mount is left, and that the mount point is as it was.
fn assert_ended(mount: &Mount, server: u32, beside: &[OsString]) {
    wait_for("the mount to be gone", || (!is_mounted(&mount.path(""))).then_some(()));
    // A zombie that process 1 does not reap is not ours any more.
    wait_for("the server to be gone", || matches!(state(server), None | Some('Z' | 'X')).then_some(()));
    assert_eq!(names(&mount.path("")), [] as [OsString; 0]);
    assert_eq!(names(mount.beside()), beside);
}

/// Uses a mount.
fn assert_works(mount: &Mount) {
    mount.run("fs9 new p/new; printf hello > p/new");
    assert_eq!(mount.run("cat p/new:whole"), "hello");
    mount.run("rm p/new");
}

/// Ends mounts with and without anybody in them by `script`, in which `$server` is the server.
fn assert_ends(args: &[&str], script: &str) {
    let mut mount = Mount::with(args);
    let beside = names(mount.beside());
    for busy in [true, false] {
        let waiting = if busy { waiters(&mount, "ESHUTDOWN") } else { Vec::new() };
        let server = mount.server();
        mount.run(&format!("server={server}; {script}"));
        assert_said(waiting);
        assert_ended(&mount, server, &beside);
        mount.up(args);
        assert_works(&mount);
    }
}

#[test]
fn down_ends_it() {
    assert_ends(&[], "fs9 down p");
}

#[test]
fn down_ends_four_loop_threads() {
    assert_ends(&["--threads", "4"], "fs9 down p");
}

#[test]
fn stop_written_to_ctl_ends_it() {
    assert_ends(&[], "echo stop > p/ctl");
}

#[test]
fn a_lazy_umount_ends_it() {
    assert_ends(&[], "umount -l p");
}

#[test]
fn a_lazy_fusermount_ends_it() {
    assert_ends(&[], "fusermount3 -uz p");
}

#[test]
fn a_lazy_umount_ends_four_loop_threads() {
    assert_ends(&["--threads", "4"], "umount -l p");
}

#[test]
fn sigterm_ends_it() {
    assert_ends(&[], "kill -TERM $server");
}

#[test]
fn sigint_ends_it() {
    assert_ends(&[], "kill -INT $server");
}

#[test]
fn a_plain_unmount_is_refused_by_the_kernel_while_files_are_open_and_changes_nothing() {
    let mut mount = Mount::new();
    let beside = names(mount.beside());
    for script in ["umount p", "fusermount3 -u p"] {
        mount.run("fs9 new p/q; printf first > p/full");
        let mut reader = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
        let mut writer = Waiter::new("write", mount.path("full"), &["second"]).blocked(&mount);
        let refused = mount.shell(script).output().unwrap();
        assert!(!refused.status.success(), "{script} of a busy mount");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(error.contains("busy"), "{error}");
        mount.run("printf message > p/q");
        assert_eq!(reader.said(), "read 7 message");
        assert_eq!(mount.run("cat p/full:whole p/full:whole"), "firstsecond");
        assert_eq!(writer.said(), "wrote 6");
        wait_all_released(&mount);

        let server = mount.server();
        // The kernel may still be busy with the last close.
        wait_for("the mount to be idle", || mount.shell(script).output().unwrap().status.success().then_some(()));
        assert_ended(&mount, server, &beside);
        mount.up(&[]);
        assert_works(&mount);
    }
}

#[test]
fn in_the_foreground_it_says_how_to_use_it_and_ends_with_0_on_sigint_and_sigterm() {
    let mut mount = Mount::new();
    let beside = names(mount.beside());
    for signal in [Signal::INT, Signal::TERM] {
        assert!(mount.down().status.success());
        let mut server = Waiter::of(&mut mount.command("fs9", &["up", "-f", "p"]));
        let mut said = Vec::new();
        while said.last().is_none_or(|line: &String| !line.starts_with("  end:")) {
            said.push(server.line());
            assert!(said.len() < 10 && said.last().is_some_and(|line| !line.is_empty()), "{said:?}");
        }
        assert_eq!(said[0], format!("fs9 is up on {}", mount.path("").display()));
        assert!(said[1].ends_with("/p/jobs") && said[1].contains("echo hello > "), "{said:?}");
        assert_works(&mount);
        let waiting = waiters(&mount, "ESHUTDOWN");
        assert_eq!(mount.status()["server"]["pid"], server.pid(), "it is this process that serves");
        server.signal(signal);
        assert_said(waiting);
        assert_eq!(server.status().code(), Some(0));
        assert_ended(&mount, server.pid(), &beside);
        mount.up(&[]);
    }
}

/// kill -9 of the server; returns when it is gone.
fn kill_server(mount: &Mount) {
    let server = mount.server();
    signal(server, Signal::KILL);
    wait_for("the server to be gone", || matches!(state(server), None | Some('Z' | 'X')).then_some(()));
}

#[test]
fn a_killed_server_fails_what_waits_and_up_cleans_up_after_it() {
    for args in [&[] as &[&str], &["--threads", "4"]] {
        let mut mount = Mount::with(args);
        let waiting = waiters(&mount, "ECONNABORTED");
        kill_server(&mount);
        assert_said(waiting);
        let dead = Waiter::new("read", mount.path("q"), &[]).said();
        assert_eq!(dead, "ENOTCONN");
        let said = mount.up(args);
        assert!(said.starts_with("cleaned up the mount of an earlier server that had died\nfs9 is up on "), "{said}");
        assert_works(&mount);
        assert!(!mount.run("fs9 doctor; grep -c ' fuse fs9 ' /proc/self/mountinfo").is_empty());
    }
}

#[test]
fn down_cleans_up_after_a_killed_server_also_while_files_are_open() {
    let mut mount = Mount::new();
    let beside = names(mount.beside());
    mount.run("fs9 new p/q");
    let idle = Waiter::new("idle", mount.path("q"), &[]).asleep("sys_pause");
    kill_server(&mount);
    let down = mount.down();
    assert!(down.status.success(), "{down:?}");
    let said = String::from_utf8(down.stdout).unwrap();
    assert_eq!(said, format!("the server of {} had died: its mount is cleaned up\n", mount.path("").display()));
    assert_ended(&mount, mount.server(), &beside);
    idle.killed();

    let again = mount.down();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("fs9 is not up on"), "{again:?}");
    mount.up(&[]);
}

#[test]
fn a_server_that_is_killed_and_started_again_at_once_many_times_leaves_one_mount() {
    let mut mount = Mount::new();
    for _ in 0..10 {
        signal(mount.server(), Signal::KILL);
        wait_for("up to see that the server is dead", || {
            let up = fs9(&["up", mount.path("").to_str().unwrap()]).output().unwrap();
            let early = String::from_utf8_lossy(&up.stderr).contains("already up");
            assert!(up.status.success() || early, "{up:?}");
            up.status.success().then_some(())
        });
        mount.run(&format!("timeout {} fs9 down p", DEADLINE.as_secs()));
        mount.up(&[]);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = mount.path("");
    assert_eq!(mounts.lines().filter(|line| line.split(' ').nth(4) == point.to_str()).count(), 1);
}
