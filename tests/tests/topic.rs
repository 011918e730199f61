//! Topics: every reader gets a copy, the slowest sets the pace, and of a topic made with `--latest` nobody does.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::thread;

use fs9_tests::Mount;
use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::Running;
use fs9_tests::waiter::{Waiter, holders, report, wait_all_released};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;
const NONE: PollFlags = PollFlags::empty();
const BOTH: PollFlags = IN.union(OUT);

/// A mount with the topic `t`, made with `options`.
fn with_topic(options: &str) -> Mount {
    let mount = Mount::new();
    mount.run(&format!("fs9 new --topic {options} p/t"));
    mount
}

fn reader(mount: &Mount) -> Fd {
    Fd::reader(mount.path("t"))
}

fn writer(mount: &Mount) -> Fd {
    Fd::writer(mount.path("t"))
}

fn nonblocking(mount: &Mount, access: OFlags) -> Fd {
    Fd::open(mount.path("t"), access | OFlags::NONBLOCK).unwrap()
}

/// A figure of what was published (0) or of the copies (1).
fn figure(mount: &Mount, lane: usize, name: &str) -> Value {
    mount.channel("t")["lanes"][lane][name].clone()
}

fn wait_holders(mount: &Mount, count: usize) {
    mount.wait_channel("t", &format!("{count} holders"), |t| t["holders"].as_array().unwrap().len() == count);
}

#[test]
fn every_reader_that_is_there_gets_a_copy_and_a_late_one_nothing_old() {
    let mount = with_topic("");
    let writer = writer(&mount);
    assert_eq!(writer.write("to nobody"), Ok(9));
    let readers = [reader(&mount), reader(&mount), Fd::reader(mount.path("t:line"))];
    assert_eq!(writer.write("one"), Ok(3));
    let late = nonblocking(&mount, OFlags::RDONLY);
    assert_eq!(late.read(ROOM), Err(Errno::AGAIN));
    assert_eq!(readers.each_ref().map(Fd::text), ["one", "one", "one\n"]);
    assert_eq!(writer.write("two"), Ok(3));
    assert_eq!(
        (late.text(), readers.each_ref().map(Fd::text)),
        ("two".into(), ["two".into(), "two".into(), "two\n".into()])
    );
    assert_eq!(readers[0].write("x"), Err(Errno::BADF));
    drop((late, readers));
    wait_holders(&mount, 1);
    assert_eq!(
        (figure(&mount, 0, "sent"), figure(&mount, 1, "sent"), figure(&mount, 1, "received")),
        (json!(3), json!(7), json!(7))
    );
    mount.assert_ledgers_balance();
}

#[test]
fn a_topic_is_a_file_that_is_read_or_written_but_not_both() {
    let mount = with_topic("");
    for name in ["t", "t:line", "t:whole"] {
        let open = |flags| Fd::open(mount.path(name), flags).map(drop);
        assert_eq!(open(OFlags::RDWR), Err(Errno::INVAL), "{name}");
        assert_eq!((open(OFlags::RDONLY), open(OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)), (Ok(()), Ok(())));
    }
    assert_eq!(mount.run("stat -c '%F %a %s' p/t"), "regular empty file 600 0\n");
    assert_eq!(mount.run("chmod 640 p/t; touch p/t; stat -c %a p/t"), "640\n");
    wait_all_released(&mount);
    assert_eq!(
        (mount.channel("t")["kind"].clone(), mount.channel("t")["latest"].clone()),
        (json!("topic"), json!(false))
    );
}

#[test]
fn the_slowest_reader_sets_the_pace_and_status_names_it() {
    let mount = with_topic("");
    let (fast, writer) = (reader(&mount), writer(&mount));
    let slow = Running::piped(&mut mount.command("perl", &["-e", "open(F, '<', 'p/t') or die; <STDIN>"]));
    wait_holders(&mount, 3);
    writer.write("one").unwrap();
    assert_eq!(fast.text(), "one");
    let awaited = || holders(&mount, slow.id()).pop().unwrap()["awaited"].clone();
    assert_eq!(awaited(), false, "nobody waits yet");
    let writing = writer.writing("two");
    mount.wait_figure("t", "writers", 1);
    assert_eq!(awaited(), true);
    let named: Vec<Value> = mount.channel("t")["holders"].as_array().unwrap().clone();
    let named: Vec<&Value> = named.iter().filter(|holder| holder["awaited"] == true).map(|h| &h["pid"]).collect();
    assert_eq!(named, [&json!(slow.id())], "and nobody else");
    let text = fs::read_to_string(mount.path("status")).unwrap();
    assert_eq!(text.matches("writers wait for it").count(), 1, "{text}");

    // Nobody can wait for it any more.
    slow.signal(Signal::KILL);
    assert_eq!((writing.get(), fast.text()), (Ok(3), "two".into()));
    wait_holders(&mount, 2);
    assert_eq!(figure(&mount, 1, "dropped"), json!({"killed": 1}));
    mount.assert_ledgers_balance();
}

#[test]
fn a_stopped_reader_holds_up_the_writers_until_it_goes_on() {
    let mount = with_topic("");
    let mut stopped = Waiter::new("hold", mount.path("t"), &[]).blocked(&mount);
    let writer = writer(&mount);
    writer.write("one").unwrap();
    assert_eq!(stopped.line(), "read 3 one");
    assert_eq!(writer.write("two"), Ok(3), "what it holds is out of the way");
    let writing = [writer.writing("three"), Fd::writer(mount.path("t")).writing("four")];
    mount.wait_figure("t", "writers", 2);
    assert!(writing.iter().all(|writing| !writing.is_done()));
    stopped.killed();
    writing.into_iter().for_each(|writing| assert!(writing.get().is_ok()));
    mount.assert_ledgers_balance();
}

#[test]
fn of_the_latest_a_slow_reader_sees_the_newest_and_is_told_how_many_it_missed() {
    let mount = with_topic("--latest");
    let (slow, fast, writer) = (reader(&mount), reader(&mount), writer(&mount));
    for number in 0..100 {
        assert_eq!(writer.poll(OUT), OUT, "nobody holds it up");
        assert_eq!(writer.write(number.to_string()), Ok(number.to_string().len()));
        assert_eq!(fast.text(), number.to_string());
    }
    assert_eq!((slow.text(), slow.poll(IN)), ("99".into(), NONE));
    let t = mount.channel("t");
    assert_eq!(
        (&t["kind"], &t["latest"], t["lanes"][1]["dropped"].clone()),
        (&json!("topic"), &json!(true), json!({"missed": 99}))
    );
    let mut missed: Vec<u64> = t["holders"].as_array().unwrap().iter().map(|h| h["missed"].as_u64().unwrap()).collect();
    missed.sort_unstable();
    assert_eq!(missed, [0, 0, 99]);
    assert!(fs::read_to_string(mount.path("status")).unwrap().contains("  missed 99"));
    mount.assert_ledgers_balance();
}

#[test]
fn five_hundred_readers_get_every_message_of_every_writer_in_one_order() {
    const READERS: usize = 500;
    let mount = with_topic("");
    let readers: Vec<Fd> = (0..READERS).map(|_| reader(&mount)).collect();
    thread::scope(|threads| {
        for writer in 0..4 {
            let fd = Fd::writer(mount.path("t"));
            threads.spawn(move || (0..2).for_each(|number| assert_eq!(fd.write(format!("{writer} {number}")), Ok(3))));
        }
        let mut order = Vec::new();
        for _ in 0..8 {
            let mut copies: Vec<String> = readers.iter().map(Fd::text).collect();
            copies.dedup();
            assert_eq!(copies.len(), 1, "they differ");
            order.append(&mut copies);
        }
        for writer in ["0 ", "1 ", "2 ", "3 "] {
            assert!(order.iter().filter(|text| text.starts_with(writer)).is_sorted(), "{order:?}");
        }
        order.sort();
        order.dedup();
        assert_eq!(order.len(), 8);
    });
    assert_eq!((figure(&mount, 0, "received"), figure(&mount, 1, "sent")), (json!(8), json!(8 * READERS)));
    drop(readers);
    wait_all_released(&mount);
    assert_eq!(figure(&mount, 1, "received"), json!(8 * READERS));
    mount.assert_ledgers_balance();
}

#[test]
fn poll_says_what_would_not_wait_and_wakes_who_waits() {
    let mount = with_topic("");
    let (one, other, writer) = (reader(&mount), reader(&mount), writer(&mount));
    assert_eq!((one.poll(BOTH), writer.poll(BOTH)), (NONE, OUT));
    let polling = [one.polling(IN), other.polling(IN)];
    writer.write("one").unwrap();
    polling.into_iter().for_each(|polling| assert_eq!(polling.get(), IN));
    assert_eq!((one.poll(BOTH), writer.poll(BOTH)), (IN, NONE));
    assert_eq!(nonblocking(&mount, OFlags::WRONLY).write("x"), Err(Errno::AGAIN));
    let polling = writer.polling(OUT);
    one.text();
    assert!(!polling.is_done(), "the other has not read");
    other.text();
    assert_eq!(polling.get(), OUT);
    writer.write("two").unwrap();
    one.text();
    let polling = writer.polling(OUT);
    drop(other);
    assert_eq!(polling.get(), OUT, "who has gone is not waited for");
}

#[test]
fn a_view_of_lines_and_one_of_the_whole() {
    let mount = with_topic("");
    let (lines, whole) = (reader(&mount), Fd::reader(mount.path("t:whole")));
    let mut writer = Running::new(&mut mount.shell("printf 'a\\nb' > p/t:line"));
    assert_eq!((lines.text(), whole.text(), whole.text()), ("a\n".into(), "a\n".into(), "".into()));
    drop(whole); // it has what it wanted, and would hold up the rest
    assert_eq!((lines.text(), writer.ended().success()), ("b".into(), true));
    mount.run("{ printf 'all '; printf 'of it'; } > p/t:whole");
    assert_eq!(lines.text(), "all of it");
}

#[test]
fn whoever_waits_is_interrupted_or_killed_at_once() {
    let mount = with_topic("");
    let stalled = reader(&mount);
    writer(&mount).write("fills its slot").unwrap();
    let mut latencies = Vec::new();
    for does in ["read", "poll", "write", "sync", "append", "pollout"] {
        let wait = || {
            let waiter = Waiter::new(does, mount.path("t"), &[]);
            if does.starts_with("poll") { waiter.asleep("poll_schedule_timeout") } else { waiter.blocked(&mount) }
        };
        let mut interrupted = wait();
        interrupted.signal(Signal::INT);
        assert_eq!(interrupted.said(), "EINTR", "{does}");
        latencies.push(wait().killed());
        wait_holders(&mount, 1);
    }
    report("a reader or writer of a topic", latencies);
    assert_eq!((figure(&mount, 0, "sent"), stalled.text()), (json!(1), "fills its slot".into()));
    mount.assert_ledgers_balance();
}

#[test]
fn a_topic_that_is_removed_ends_for_its_readers_and_breaks_its_writers() {
    for remove in ["rm p/t", "fs9 rm p/t"] {
        let mount = with_topic("");
        let (one, other, writer) = (reader(&mount), reader(&mount), writer(&mount));
        writer.write("sent before").unwrap();
        assert_eq!(one.text(), "sent before");
        let (reading, writing) = (one.reading(ROOM), writer.writing("not sent"));
        mount.wait_figure("t", "writers", 1);
        mount.run(remove);
        assert_eq!((reading.get().unwrap(), writing.get()), (vec![], Err(Errno::PIPE)));
        assert_eq!(
            (other.text(), other.text(), writer.write("x")),
            ("sent before".into(), "".into(), Err(Errno::PIPE))
        );
        assert_eq!((other.poll(BOTH), writer.poll(BOTH)), (IN | PollFlags::HUP, OUT | PollFlags::HUP));
        drop((one, other, writer));
        wait_all_released(&mount);
    }
}

#[test]
fn a_topic_has_no_conversation_to_hang_up_and_goes_on_under_another_name() {
    let mount = with_topic("");
    assert!(!mount.shell("echo hangup t > p/ctl").output().unwrap().status.success());
    let (reader, writer) = (reader(&mount), writer(&mount));
    mount.run("mv p/t p/u");
    writer.write("goes on").unwrap();
    assert_eq!(reader.text(), "goes on");
    assert_eq!(mount.channel("u")["lanes"][1]["sent"], 1);
}
