//! Timers: ticks come for whoever waits, and cost nothing where nobody does.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::time::{Duration, Instant};

use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::resources;
use fs9_tests::waiter::{interrupted_and_killed, report, wait_all_released};
use fs9_tests::{Mount, wait_for};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

const IN: PollFlags = PollFlags::IN;

fn open(mount: &Mount, name: &str, flags: OFlags) -> Result<Fd, Errno> {
    Fd::open(mount.path("timer").join(name), flags)
}

fn timer(mount: &Mount, name: &str) -> Fd {
    open(mount, name, OFlags::RDONLY).unwrap()
}

/// The number that a tick says.
fn tick(fd: &Fd) -> u32 {
    fd.text().strip_suffix('\n').unwrap().parse().unwrap()
}

#[test]
fn ticks_come_one_a_period_and_not_before_their_time() {
    let mount = Mount::new();
    let began = Instant::now();
    let timer = timer(&mount, "20ms");
    let mut last = 0;
    for _ in 0..10 {
        let number = tick(&timer);
        assert!(number > last, "{number} after {last}");
        assert!(began.elapsed() >= Duration::from_millis(20) * number, "tick {number} after {:?}", began.elapsed());
        last = number;
    }
}

#[test]
fn a_slow_reader_gets_the_newest_count_and_each_descriptor_its_own() {
    let mount = Mount::new();
    let (slow, steady) = (timer(&mount, "5ms"), timer(&mount, "5ms"));
    wait_for("the first tick", || (slow.poll(IN) == IN).then_some(()));
    while tick(&steady) < 10 {}
    assert!(tick(&slow) >= 10, "the first is of the past");
    let began = Instant::now();
    let first = tick(&timer(&mount, "5ms"));
    assert!(Duration::from_millis(5) * first <= began.elapsed(), "{first} counts from its own open");
    assert_eq!(mount.run("head -n1 p/timer/1ms | wc -l; read -r x < p/timer/1ms; [ \"$x\" -gt 0 ]"), "1\n");
}

#[test]
fn a_timer_is_waited_for_with_epoll_poll_and_select() {
    let mount = Mount::new();
    mount.run("fs9 new p/q");
    let script = "
import os, select
q, t = (os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in ('p/q', 'p/timer/2ms'))
e = select.epoll()
[e.register(fd, select.EPOLLIN) for fd in (q, t)]
p = select.poll()
[p.register(fd, select.POLLIN) for fd in (q, t)]
last = 0
for _ in range(20):
    for ready in (lambda: [fd for fd, _ in e.poll()], lambda: [fd for fd, _ in p.poll()], lambda: select.select([q, t], [], [])[0]):
        assert ready() == [t]
        number = int(os.read(t, 100))
        assert number > last
        last = number
print('done')";
    assert_eq!(mount.run(&format!("python3 -c \"{script}\"")), "done\n");
}

#[test]
fn a_wait_for_a_tick_is_interrupted_or_killed_at_once() {
    let mount = Mount::new();
    let latencies = ["read", "poll"].map(|does| interrupted_and_killed(&mount, does, mount.path("timer/1h")));
    report("who waits for a tick", latencies.into());
    let timer = open(&mount, "1h", OFlags::RDONLY | OFlags::NONBLOCK).unwrap();
    assert_eq!((timer.read(ROOM), timer.poll(IN)), (Err(Errno::AGAIN), PollFlags::empty()));
}

#[test]
fn every_duration_is_a_name_that_is_not_listed_and_nothing_else_is() {
    let mount = Mount::new();
    assert_eq!(mount.run("ls -A p/timer; ls p | grep timer; stat -c '%F %a' p/timer/250ms p/timer/1m"), {
        "timer\nregular empty file 444\nregular empty file 444\n"
    });
    for name in ["0s", "100us", "1ns", "soon", "-1s", "1s:line", "1.5ms", "200d", "250"] {
        assert_eq!(open(&mount, name, OFlags::RDONLY).map(drop), Err(Errno::NOENT), "{name}");
    }
    assert_eq!(open(&mount, "1s", OFlags::WRONLY).map(drop), Err(Errno::ACCESS));
    assert_eq!(open(&mount, "1s", OFlags::RDWR).map(drop), Err(Errno::ACCESS));
    let path = |name: &str| mount.path("timer").join(name);
    assert_eq!(rustix::fs::unlink(path("1s")), Err(Errno::PERM));
    assert_eq!(rustix::fs::rmdir(mount.path("timer")), Err(Errno::PERM));
    assert_eq!(rustix::fs::rename(path("1s"), mount.path("x")), Err(Errno::PERM));
    for refused in ["mkdir p/timer/x", "> p/timer/x", "chmod 666 p/timer/1s", "fs9 new p/timer/x", "fs9 rm p/timer/1s"]
    {
        assert!(!mount.shell(refused).output().unwrap().status.success(), "{refused}");
    }
}

#[test]
fn status_shows_the_timers_that_are_open() {
    let mount = Mount::new();
    let (one, _other, minute) = (timer(&mount, "1ms"), timer(&mount, "1ms"), timer(&mount, "60s"));
    tick(&one);
    let (millisecond, minutely) = (mount.channel("timer/1ms"), mount.channel("timer/1m"));
    assert_eq!((&millisecond["kind"], &millisecond["mode"]), (&json!("timer"), &json!("0444")));
    assert_eq!(millisecond["holders"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&minutely["holders"][0]["pid"], &minutely["lanes"][0]["sent"]),
        (&json!(std::process::id()), &json!(0))
    );
    assert!(fs::read_to_string(mount.path("status")).unwrap().contains("timer/1m  timer 0444"));
    mount.assert_ledgers_balance();
    drop((one, _other, minute));
    wait_all_released(&mount);
    assert_eq!(mount.status()["channels"], json!([]));
}

/// Clock ticks that a process has used.
fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum()
}

#[test]
fn thousands_of_timers_cost_no_processor_time_while_nobody_waits() {
    const TIMERS: usize = 2000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mount = Mount::new();
    let fresh = resources(mount.server());
    let timers: Vec<Fd> = (0..TIMERS).map(|_| timer(&mount, "1ms")).collect();
    // Each has been read once, so each has been waited for.
    timers.iter().for_each(|timer| assert!(tick(timer) > 0));
    let clock = timer(&mount, "500ms");
    let before = processor_time(mount.server());
    tick(&clock);
    let used = processor_time(mount.server()) - before;
    assert!(used <= 2, "{used} hundredths of a second in half a second");
    // All of them at once are waited for, and all get theirs.
    let waiting: Vec<_> = timers.iter().take(500).map(|timer| timer.reading(ROOM)).collect();
    waiting.into_iter().for_each(|tick| assert!(tick.get().unwrap().ends_with(b"\n")));
    drop((timers, clock));
    wait_all_released(&mount);
    let after = resources(mount.server());
    assert_eq!((after.descriptors, after.threads), (fresh.descriptors, fresh.threads));
}
