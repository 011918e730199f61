//! kill -9 of whoever has to do with a channel: gone at once, its end free, nothing lost that was not its own.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::process::Command;

use fs9_tests::process::{Running, signal, state};
use fs9_tests::waiter::{Waiter, holders, killed, report, wait_all_released, wait_opens, wait_waiting};
use fs9_tests::{Mount, wait_for};
use rustix::process::{Pid, Signal};

/// How often each single kill is measured.
const TIMES: usize = 5;

/// A mount with an empty queue `q`.
fn with_queue() -> Mount {
    let mount = Mount::new();
    mount.run("fs9 new p/q");
    mount
}

/// A process of dash with `script`, which a shell would run just so.
fn dash(mount: &Mount, script: &str) -> Waiter {
    Waiter::of(&mut mount.command("dash", &["-c", script]))
}

#[test]
fn a_killed_reader_is_gone_at_once_and_takes_nothing_along() {
    let mount = with_queue();
    let latencies = (0..TIMES).map(|_| {
        let first = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
        let mut second = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
        mount.wait_figure("q", "readers", 2);
        let latency = first.killed();
        wait_opens(&mount, 1);
        mount.run("printf next > p/q");
        assert_eq!(second.said(), "read 4 next");
        wait_all_released(&mount);
        latency
    });
    report("a blocked reader", latencies.collect());
    assert_eq!((mount.figure("q", "received"), mount.figure("q", "redelivered")), (TIMES as u64, 0));
    mount.assert_ledgers_balance();
}

#[test]
fn killed_writers_are_gone_at_once_wherever_they_stand_in_line_and_have_sent_nothing() {
    for redirection in [">", ">>"] {
        let mount = with_queue();
        let mut latencies = Vec::new();
        for place in [0, 1, 2] {
            mount.run("printf 'in the slot' > p/q");
            let mut line: Vec<Waiter> = (1..=3)
                .map(|number| {
                    let writer = dash(&mount, &format!("echo writer {number} {redirection} p/q"));
                    mount.wait_figure("q", "writers", number);
                    writer.blocked(&mount)
                })
                .collect();
            latencies.push(line.remove(place).killed());
            wait_opens(&mount, 2);
            mount.wait_figure("q", "writers", 2);
            let rest: String = (1..=3).filter(|number| number - 1 != place).map(|n| format!("writer {n}\n")).collect();
            assert_eq!(mount.run("for i in 1 2 3; do cat p/q:whole; done"), format!("in the slot{rest}"));
            for mut writer in line {
                assert_eq!(writer.said(), "");
            }
            wait_all_released(&mount);
        }
        report(&format!("a blocked writer of `{redirection}`, in line first, second or third"), latencies);
        assert_eq!((mount.figure("q", "sent"), mount.figure("q", "received")), (9, 9));
        mount.assert_ledgers_balance();
    }
}

#[test]
fn a_whole_line_of_writers_killed_at_once_leaves_nothing_behind() {
    for does in ["write", "append", "sync"] {
        let mount = with_queue();
        mount.run("printf one > p/q");
        let line: Vec<Waiter> = (0..3).map(|_| Waiter::new(does, mount.path("q"), &[]).blocked(&mount)).collect();
        line.iter().for_each(|writer| writer.signal(Signal::KILL));
        for writer in line {
            writer.killed();
        }
        wait_all_released(&mount);
        assert_eq!((mount.figure("q", "sent"), mount.figure("q", "writers")), (1, 0));
        mount.assert_ledgers_balance();
    }
}

/// The kernel lets one write after the other into a file that is opened once (`fs/fuse/file.c`, `fuse_dio_lock`), and
/// who waits for that lock hears no signal. So of two processes that share a descriptor the second can be killed, but
/// goes when the first does: a server cannot do better, and opening the file once more is all a program has to do.
#[test]
fn writers_that_share_one_descriptor_are_gone_when_they_are_killed_together() {
    let mount = with_queue();
    mount.run("printf one > p/q");
    let mut parent = Waiter::new("share", mount.path("q"), &["3"]);
    let pids: Vec<u32> = (0..3).map(|_| parent.line().parse().unwrap()).collect();
    mount.wait_figure("q", "writers", 1);
    for pid in &pids {
        signal(*pid, Signal::KILL);
    }
    assert_eq!(parent.said(), "", "they were killed, and their parent has seen them all go");
    assert_eq!(pids.into_iter().filter_map(state).collect::<Vec<_>>(), []);
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
}

#[test]
fn a_killed_reader_of_a_queue_gives_its_message_back_and_it_is_the_next_one_delivered() {
    let mount = with_queue();
    let latencies = (0..TIMES).map(|_| {
        mount.run("printf first > p/q");
        let mut holder = Waiter::new("hold", mount.path("q"), &[]);
        assert_eq!(holder.line(), "read 5 first");
        mount.wait_figure("q", "held", 1);
        mount.run("printf second > p/q");
        let mut third = Waiter::new("write", mount.path("q"), &["third"]).blocked(&mount);
        let pid = holder.pid();
        let latency = holder.killed();
        mount.wait_figure("q", "held", 0);
        assert_eq!(holders(&mount, pid), [] as [serde_json::Value; 0]);
        assert_eq!(mount.run("for i in 1 2 3; do cat p/q:whole; echo; done"), "first\nsecond\nthird\n");
        assert_eq!(third.said(), "wrote 5");
        wait_all_released(&mount);
        latency
    });
    report("a reader that holds a message", latencies.collect());
    let times = TIMES as u64;
    assert_eq!((mount.figure("q", "sent"), mount.figure("q", "received")), (3 * times, 3 * times));
    assert_eq!(mount.figure("q", "redelivered"), times);
    mount.assert_ledgers_balance();
}

#[test]
fn a_message_given_back_goes_to_the_reader_who_waits() {
    let mount = with_queue();
    mount.run("printf first > p/q");
    let mut holder = Waiter::new("hold", mount.path("q"), &[]);
    assert_eq!(holder.line(), "read 5 first");
    let mut next = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
    holder.killed();
    assert_eq!(next.said(), "read 5 first");
    mount.assert_ledgers_balance();
}

#[test]
fn a_killed_idle_holder_frees_its_end() {
    let mount = with_queue();
    mount.run("fs9 new --pair p/pair");
    let mut latencies = Vec::new();
    for path in ["q", "pair/a"] {
        for _ in 0..TIMES {
            let holder = Waiter::new("idle", mount.path(path), &[]);
            let pid = holder.pid();
            // Not for a count of descriptors: a fork of another test may still have one of status.json.
            let held = wait_for("the holder", || holders(&mount, pid).pop());
            assert_eq!(held["access"], "rw");
            latencies.push(holder.killed());
            wait_all_released(&mount);
        }
    }
    report("an idle holder", latencies);
    assert_eq!(mount.channel("pair")["ends"][0]["reason"], "killed 9");
    mount.run("exec 3<> p/pair/a");
    mount.assert_ledgers_balance();
}

#[test]
fn a_whole_message_that_was_not_finished_when_its_writer_was_killed_is_not_sent() {
    let mount = with_queue();
    let latencies = (0..TIMES).map(|_| {
        let mut writer = Waiter::new("begin", mount.path("q:whole"), &[]);
        assert_eq!(writer.line(), "wrote 4");
        let latency = writer.killed();
        wait_all_released(&mount);
        latency
    });
    report("a writer in the middle of a whole message", latencies.collect());
    // A shell that dies between two commands of a group, and one that does not.
    let shell = dash(&mount, "exec > p/q:whole; printf half; exec sleep 1000");
    mount.wait_channel("q", "the shell writes", |queue| queue["holders"][0]["view"] == "whole");
    shell.killed();
    wait_all_released(&mount);
    assert_eq!(mount.figure("q", "sent"), 0);
    mount.run("{ printf 'all '; printf 'of it'; } > p/q:whole");
    assert_eq!(mount.run("cat p/q:whole"), "all of it");
    mount.assert_ledgers_balance();
}

#[test]
fn a_killed_poller_is_gone_at_once() {
    let mount = with_queue();
    mount.run("printf full > p/full");
    let mut latencies = Vec::new();
    for (does, path) in [("poll", "q"), ("pollout", "full"), ("poll", "events")] {
        for _ in 0..TIMES {
            let poller = Waiter::new(does, mount.path(path), &[]).asleep("poll_schedule_timeout");
            latencies.push(poller.killed());
            wait_all_released(&mount);
        }
    }
    report("a poller", latencies);
    mount.assert_ledgers_balance();
}

#[test]
fn a_killed_reader_of_events_is_gone_at_once() {
    let mount = with_queue();
    let reader = Waiter::new("read", mount.path("events"), &[]);
    wait_waiting(&mount, 1);
    report("a reader of events", vec![reader.killed()]);
    wait_all_released(&mount);
}

#[test]
fn what_a_person_does_to_a_queue_does_not_wait_for_the_writer_who_is_blocked_in_it() {
    let mount = with_queue();
    mount.run("printf one > p/q");
    let mut writers: Vec<Waiter> =
        ["write", "append"].map(|does| Waiter::new(does, mount.path("q"), &["late"]).blocked(&mount)).into();
    let listed = mount.run("ls -l p; stat p/q; touch p/q; chmod 640 p/q; stat -c %a p/q; chown 0:0 p/q; mv p/q p/r");
    assert!(listed.contains("640\n"), "{listed}");
    // `>` opens and truncates; nothing that was sent goes.
    mount.run("> p/r; [ -s p/r ] && exit 1; truncate -s 0 p/r");
    let mut cat = Running::new(mount.shell("exec cat p/r > out").stdin(std::process::Stdio::null()));
    for writer in &mut writers {
        assert_eq!(writer.said(), "wrote 4");
    }
    mount.wait_figure("r", "received", 3); // the third too: cat has read on
    killed(&mut cat);
    wait_all_released(&mount);
    mount.run("printf full > p/r");
    let mut blocked = Waiter::new("append", mount.path("r"), &[]).blocked(&mount);
    mount.run("rm p/r");
    assert_eq!(blocked.said(), "EPIPE");
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
}

#[test]
fn a_shell_pipeline_that_is_killed_as_a_group_leaves_nothing_behind() {
    let mount = with_queue();
    mount.run("printf one > p/q");
    let script = "while :; do echo line; done > p/q:line & cat p/nothing p/q & wait";
    let mut shell = Command::new("setsid");
    shell.args(["bash", "-c", script]).current_dir(mount.beside()).stderr(std::process::Stdio::null());
    let mut shell = Running::new(shell.stdout(std::process::Stdio::null()));
    mount.wait_channel("q", "lines pass", |queue| queue["lanes"][0]["received"].as_u64() > Some(10));
    rustix::process::kill_process_group(Pid::from_child(&shell), Signal::KILL).unwrap();
    assert!(!shell.ended().success());
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
    assert_eq!(mount.status()["counts"]["waiting"], 0);
}
