//! Timers tick for whoever waits.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_tick_comes_when_its_time_has_come() {
    let mut s = Script::new();
    let r = s.open("timer/1ms", "r");
    assert_eq!(s.try_open("timer/1ms", "rw", 0), Err(Errno::ACCESS));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2) {}
    let first = s.read(r, 1);
    assert!(first[0].starts_with("1 has \""), "more than one period has passed: {first:?}");
    s.done();
}

#[test]
fn who_waits_is_woken_by_the_alarm() {
    let mut s = Script::new();
    let r = s.open("timer/2s", "r");
    assert_eq!(s.read_some(r, 1, 100, true), ["1 EAGAIN"]);
    assert!(s.host.alarms.lock().unwrap().is_empty(), "nobody waits");
    assert_eq!(s.read(r, 2), NOTHING);
    let alarms = s.host.alarms.lock().unwrap().clone();
    assert!(alarms.len() == 1 && alarms[0] > Instant::now());
    s.server.tick(&mut s.fx);
    assert_eq!(s.said(), NOTHING, "it is not time");
    assert_eq!(s.interrupt(2), ["2 EINTR"]);
    s.done();
}

#[test]
fn what_is_no_duration_is_no_timer() {
    let s = Script::new();
    let (dir, ..) = s.find("timer");
    for name in ["0ms", "soon", "1us", "1s:line"] {
        assert_eq!(s.server.walk(dir, name.as_bytes()).err(), Some(Errno::NOENT), "{name}");
    }
}

#[test]
fn a_timer_is_always_there_and_nobody_takes_it_away_or_changes_it() {
    let mut s = Script::new();
    let ((dir, ..), (timer, ..)) = (s.find("timer"), s.find("timer/1s"));
    assert_eq!(s.server.remove(dir, b"1s", false, &mut s.fx), Err(Errno::PERM));
    assert_eq!(s.server.remove(dir, b"1s", true, &mut s.fx), Err(Errno::NOTDIR));
    assert_eq!(s.server.remove(File::of(ROOT), b"timer", true, &mut s.fx), Err(Errno::PERM));
    assert_eq!(s.server.rename(dir, b"1s", dir, b"2m"), Err(Errno::PERM));
    assert_eq!(s.server.set_attr(timer, |attr| attr.mode = 0o777).err(), Some(Errno::PERM));
    assert_eq!(s.server.make_queue(dir, b"q", 0o600, Caller::default(), &mut s.fx).err(), Some(Errno::PERM));
    assert_eq!(s.server.make_queue(dir, b"1s", 0o600, Caller::default(), &mut s.fx).err(), Some(Errno::EXIST));
    assert_eq!((s.ctl("rm timer/1s"), s.ctl("hangup timer/1s")), (vec!["EPERM".into()], vec!["EINVAL".into()]));
    s.done();
}

#[test]
fn who_polls_a_timer_for_something_else_keeps_no_clock_going() {
    let mut s = Script::new();
    let r = s.open("timer/1ms", "r");
    assert_eq!(s.poll(r, OUT, Some(70)), 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2) {}
    s.server.tick(&mut s.fx);
    assert_eq!((s.said(), s.server.timers.next()), (vec![], None));
    assert_eq!(s.poll(r, IN, Some(70)), IN, "there is a tick");
    s.done();
}
