//! Pairs: two ends with one holder each, how a conversation ends, and what poll says of it all.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use fs9_tests::Mount;
use fs9_tests::file::{Fd, ROOM, later};
use fs9_tests::process::Running;
use rustix::event::{PollFlags, Timespec, epoll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;
const HUP: PollFlags = PollFlags::HUP;
const ERR: PollFlags = PollFlags::ERR;
const BOTH: PollFlags = IN.union(OUT);

/// A mount with the pair `t`.
fn with_pair() -> Mount {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    mount
}

fn a(mount: &Mount) -> Fd {
    Fd::both(mount.path("t/a"))
}

fn b(mount: &Mount) -> Fd {
    Fd::both(mount.path("t/b"))
}

/// Waits until so many descriptors are open on it. A close is not done when close(2) returns: while another thread
/// starts a process, that process has the descriptor for a moment too.
fn wait_holders(mount: &Mount, count: usize) {
    let what = format!("{count} holders");
    mount.wait_channel("t", &what, |t| t["holders"].as_array().unwrap().len() == count);
}

fn wait_waiting(mount: &Mount, count: usize) {
    let waiting = |t: &Value| t["holders"].as_array().unwrap().iter().filter(|h| !h["waiting"].is_null()).count();
    mount.wait_channel("t", &format!("{count} waiting"), |t| waiting(t) == count);
}

/// A process that holds end a, has written `last words`, and goes on once its input is closed.
fn holder(mount: &Mount, then: &str) -> Running {
    let script = format!("open(F, '+<', 'p/t/a') or die; syswrite(F, 'last words'); <STDIN>; {then}");
    let process = Running::piped(&mut mount.command("perl", &["-e", &script]));
    mount.wait_channel("t", "last words", |t| t["lanes"][0]["sent"] == 1);
    process
}

#[test]
fn what_one_end_writes_the_other_reads() {
    let mount = with_pair();
    let (a, b) = (a(&mount), b(&mount));
    a.write("from a").unwrap();
    b.write("from b").unwrap();
    assert_eq!((a.text(), b.text()), ("from b".into(), "from a".into()));
    let (reading, waiting) = (a.reading(ROOM), b.reading(ROOM));
    wait_waiting(&mount, 2);
    a.write("to a waiting b").unwrap();
    b.write("to a waiting a").unwrap();
    assert_eq!(
        (reading.get().unwrap(), waiting.get().unwrap()),
        (b"to a waiting a".to_vec(), b"to a waiting b".to_vec())
    );
    mount.assert_ledgers_balance();
}

#[test]
fn a_pair_is_a_directory_of_four_files() {
    let mount = with_pair();
    assert_eq!(mount.run("ls p/t"), "a\nb\nctl\nstatus\n");
    let directory = fs::metadata(mount.path("t")).unwrap();
    assert!(directory.is_dir());
    for end in ["a", "b", "a:line", "b:whole"] {
        let stat = fs::metadata(mount.path("t").join(end)).unwrap();
        assert_eq!((stat.is_file(), stat.len(), stat.mode() & 0o7777), (true, 0, 0o600), "{end}");
    }
    fs::set_permissions(mount.path("t/a"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(fs::metadata(mount.path("t/a")).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(mount.path("t/b")).unwrap().mode() & 0o7777, 0o600);
    let create = |name: &str| Fd::open(mount.path("t").join(name), OFlags::CREATE | OFlags::WRONLY).map(drop);
    assert_eq!(create("c"), Err(Errno::PERM));
    assert_eq!(create("status:line"), Err(Errno::NOENT));
    assert_eq!(rustix::fs::unlink(mount.path("t/a")), Err(Errno::PERM));
    assert_eq!(rustix::fs::rename(mount.path("t/a"), mount.path("t/c")), Err(Errno::PERM));
    assert_eq!(mount.run("ls p/t"), "a\nb\nctl\nstatus\n");
}

#[test]
fn a_held_end_is_busy_for_a_second_opener() {
    let mount = with_pair();
    let holder = a(&mount);
    for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR | OFlags::NONBLOCK] {
        assert_eq!(Fd::open(mount.path("t/a"), flags).map(drop), Err(Errno::BUSY));
        assert_eq!(Fd::open(mount.path("t/a:line"), flags).map(drop), Err(Errno::BUSY));
    }
    let other = b(&mount);
    holder.write("undisturbed").unwrap();
    assert_eq!(other.text(), "undisturbed");
    drop(holder);
    wait_holders(&mount, 1);
    assert_eq!(Fd::open(mount.path("t/a"), OFlags::RDWR).map(drop), Err(Errno::BUSY), "b has not closed yet");
}

#[test]
fn a_closed_end_is_a_hang_up_for_the_other() {
    let mount = with_pair();
    let (a, b) = (a(&mount), b(&mount));
    a.write("sent before").unwrap();
    drop(a);
    wait_holders(&mount, 1);
    assert_eq!(b.write("nobody"), Err(Errno::PIPE));
    assert_eq!(b.text(), "sent before");
    for _ in 0..3 {
        assert_eq!(b.read(ROOM).unwrap(), b"", "it stays the end");
    }
    assert_eq!(b.write("nobody"), Err(Errno::PIPE));
    mount.wait_channel("t", "a closed", |t| t["ends"] == json!([{"end": "a", "reason": "closed"}]));
    mount.assert_ledgers_balance();
}

#[test]
fn a_hang_up_ends_a_waiting_read_and_breaks_a_waiting_write() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    let reading = other.reading(ROOM);
    wait_waiting(&mount, 1);
    drop(one);
    assert_eq!(reading.get().unwrap(), b"");
    drop(other);
    wait_holders(&mount, 0);
    let (one, other) = (a(&mount), b(&mount));
    one.write("fills the slot").unwrap();
    let writing = one.writing("waits");
    wait_waiting(&mount, 1);
    drop(other);
    assert_eq!(writing.get(), Err(Errno::PIPE));
}

#[test]
fn an_exit_is_a_hang_up_whatever_its_code() {
    let mount = with_pair();
    // _exit(2) itself: perl's own exit closes its files first, and that is a close.
    let mut process = holder(&mount, "use POSIX; POSIX::_exit(3)");
    let other = b(&mount);
    drop(process.stdin.take());
    assert_eq!(process.ended().code(), Some(3));
    assert_eq!(other.text(), "last words");
    assert_eq!((other.read(ROOM).unwrap(), other.read(ROOM).unwrap()), (vec![], vec![]));
    assert_eq!(other.write("nobody"), Err(Errno::PIPE));
    assert_eq!(other.poll(BOTH), BOTH | HUP);
    mount.wait_channel("t", "exited 3", |t| t["ends"] == json!([{"end": "a", "reason": "exited 3"}]));
}

#[test]
fn a_killed_end_is_econnreset_once_after_what_it_sent() {
    let mount = with_pair();
    let mut process = holder(&mount, "");
    let other = b(&mount);
    process.signal(Signal::KILL);
    process.ended();
    wait_holders(&mount, 1);
    assert_eq!(other.text(), "last words");
    assert_eq!(other.read(ROOM), Err(Errno::CONNRESET));
    assert_eq!((other.read(ROOM).unwrap(), other.read(ROOM).unwrap()), (vec![], vec![]));
    assert_eq!(other.write("nobody"), Err(Errno::PIPE));
    assert_eq!(mount.channel("t")["ends"], json!([{"end": "a", "reason": "killed 9"}]));
    let status = fs::read_to_string(mount.path("t/status")).unwrap();
    assert!(status.contains("a left: killed 9"), "{status}");
    drop(other);
    wait_holders(&mount, 0);
    let (a, b) = (a(&mount), b(&mount));
    a.write("anew").unwrap();
    assert_eq!(b.text(), "anew", "the loss is not told to those who come after");
}

#[test]
fn a_killed_end_wakes_a_waiting_reader_with_econnreset() {
    let mount = with_pair();
    let mut process = holder(&mount, "");
    let other = b(&mount);
    assert_eq!(other.text(), "last words");
    let reading = other.reading(ROOM);
    wait_waiting(&mount, 1);
    process.signal(Signal::KILL);
    process.ended();
    assert_eq!(reading.get(), Err(Errno::CONNRESET));
    assert_eq!(other.read(ROOM).unwrap(), b"");
}

#[test]
fn a_message_that_a_killed_reader_held_is_dropped_and_counted() {
    let mount = with_pair();
    let writer = b(&mount);
    let script = "open(F, '<', 'p/t/a') or die; sysread(F, $m, 2); <STDIN>";
    let mut process = Running::piped(&mut mount.command("perl", &["-e", script]));
    writer.write("half read").unwrap();
    mount.wait_channel("t", "held", |t| t["lanes"][1]["held"] == 1);
    process.signal(Signal::KILL);
    process.ended();
    mount.wait_channel("t", "dropped", |t| t["lanes"][1]["dropped"] == json!({"killed": 1}));
    mount.assert_ledgers_balance();
}

#[test]
fn a_pair_can_be_opened_anew_when_both_ends_are_closed_and_what_was_not_read_is_dropped() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    one.write("never read").unwrap();
    other.write("nor this").unwrap();
    drop((one, other));
    wait_holders(&mount, 0);
    let lanes = &mount.channel("t")["lanes"];
    for lane in [&lanes[0], &lanes[1]] {
        assert_eq!((&lane["sent"], &lane["slot"]), (&json!(1), &json!(0)), "{lanes:#}");
        assert_eq!(lane["dropped"].as_object().unwrap().values().next(), Some(&json!(1)), "{lanes:#}");
    }
    mount.assert_ledgers_balance();
    for turn in 0..3 {
        let (one, other) = if turn % 2 == 0 { (a(&mount), b(&mount)) } else { (b(&mount), a(&mount)) };
        assert_eq!((one.poll(BOTH), other.poll(BOTH)), (OUT, OUT));
        one.write("anew").unwrap();
        assert_eq!(other.text(), "anew");
        drop((one, other));
        wait_holders(&mount, 0);
    }
}

#[test]
fn what_is_sent_before_the_other_end_comes_is_not_lost() {
    let mount = with_pair();
    mount.run("echo one > p/t/a");
    wait_holders(&mount, 0);
    let second = Running::new(&mut mount.shell("echo two > p/t/a"));
    mount.wait_channel("t", "two waits", |t| t["lanes"][0]["writers"] == 1);
    let reader = b(&mount);
    assert_eq!((reader.text(), reader.text()), ("one\n".into(), "two\n".into()));
    drop(second);
    mount.assert_ledgers_balance();
}

#[test]
fn ctl_hangup_ends_the_conversation_at_both_ends() {
    for hang_up in ["echo hangup > p/t/ctl", "echo hangup t > p/ctl"] {
        let mount = with_pair();
        let (one, other) = (a(&mount), b(&mount));
        one.write("sent before").unwrap();
        let (reading, writing) = (one.reading(ROOM), later_write(&one));
        wait_waiting(&mount, 1);
        mount.run(hang_up);
        assert_eq!(reading.get().unwrap(), b"");
        assert_eq!(writing.get(), Err(Errno::PIPE));
        assert_eq!((other.text(), other.text()), ("sent before".into(), "".into()));
        assert_eq!(other.write("nobody"), Err(Errno::PIPE));
        assert_eq!((one.poll(BOTH), other.poll(BOTH)), (BOTH | HUP, BOTH | HUP));
        drop((one, other));
        wait_holders(&mount, 0);
        let (one, other) = (a(&mount), b(&mount));
        one.write("anew").unwrap();
        assert_eq!(other.text(), "anew");
    }
}

/// A write that waits: two threads of one descriptor are shown as one holder.
fn later_write(fd: &Fd) -> fs9_tests::file::Later<rustix::io::Result<usize>> {
    let writing = fd.writing("waits");
    writing.wait_asleep("request_wait_answer");
    writing
}

#[test]
fn a_hangup_while_nobody_talks_does_not_spoil_the_next_conversation() {
    let mount = with_pair();
    mount.run("echo hangup > p/t/ctl || true");
    let (a, b) = (a(&mount), b(&mount));
    assert_eq!(a.write("hello"), Ok(5));
    assert_eq!(b.text(), "hello");
}

#[test]
fn the_ctl_and_status_of_a_pair_speak_of_it_alone() {
    let mount = with_pair();
    mount.run("touch p/q");
    assert!(mount.run("cat p/t/ctl").starts_with("hangup"));
    for verb in ["new x", "rm t", "stop", "hangup t", "hangup now", ""] {
        let refused = mount.shell(&format!("printf '%s\\n' '{verb}' > p/t/ctl")).output().unwrap();
        assert!(!refused.status.success(), "{verb}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("Invalid argument"), "{verb}");
    }
    let holder = a(&mount);
    holder.write("x").unwrap();
    let status = fs::read_to_string(mount.path("t/status")).unwrap();
    let mut lines = status.lines();
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("t  pair 0700 uid 0  from a:  sent 1 = received 0 + dropped 0 + slot 1 + held 0"),
        "{status}"
    );
    let second = lines.next().unwrap();
    assert!(second.contains(&format!("t/a  pid {} uid 0  rw", std::process::id())), "{status}");
    assert_eq!(lines.next(), None, "{status}");
    assert_eq!(Fd::open(mount.path("t/status"), OFlags::WRONLY).map(drop), Err(Errno::ACCESS));
}

#[test]
fn removing_a_pair_hangs_up_who_waits() {
    for remove in ["rmdir p/t", "fs9 rm p/t"] {
        let mount = with_pair();
        let (a, b) = (a(&mount), b(&mount));
        a.write("sent before").unwrap();
        let (reading, writing) = (a.reading(ROOM), later_write(&a));
        wait_waiting(&mount, 1);
        mount.run(remove);
        assert_eq!(reading.get().unwrap(), b"");
        assert_eq!(writing.get(), Err(Errno::PIPE));
        assert_eq!((b.text(), b.text()), ("sent before".into(), "".into()));
        assert_eq!(b.poll(BOTH), BOTH | HUP);
        assert!(!mount.path("t").exists());
    }
}

#[test]
fn poll_says_what_would_not_wait() {
    let mount = with_pair();
    let one = a(&mount);
    assert_eq!(one.poll(BOTH), OUT, "the other end has not come, and is not gone");
    let other = b(&mount);
    assert_eq!((one.poll(BOTH), other.poll(BOTH)), (OUT, OUT));
    one.write("full").unwrap();
    assert_eq!((one.poll(BOTH), other.poll(BOTH)), (PollFlags::empty(), BOTH));
    assert_eq!(other.read(2).unwrap(), b"fu");
    assert_eq!((one.poll(BOTH), other.poll(BOTH)), (OUT, BOTH), "the rest of a message is there to read");
    assert_eq!(other.read(2).unwrap(), b"ll");
    assert_eq!((one.poll(BOTH), other.poll(BOTH)), (OUT, OUT));
    one.write("last").unwrap();
    drop(one);
    wait_holders(&mount, 1);
    assert_eq!(other.poll(BOTH), BOTH | HUP);
    assert_eq!(other.poll(PollFlags::empty()), HUP, "also when nobody asks");
    other.text();
    other.text();
    assert_eq!(other.poll(BOTH), BOTH | HUP);
    drop(other);
    wait_holders(&mount, 0);
    let read_only = Fd::reader(mount.path("t/a"));
    let write_only = Fd::writer(mount.path("t/b"));
    assert_eq!((read_only.poll(BOTH), write_only.poll(BOTH)), (PollFlags::empty(), OUT));
}

#[test]
fn poll_says_that_the_other_end_was_killed() {
    let mount = with_pair();
    let mut process = holder(&mount, "");
    let other = b(&mount);
    other.text();
    let polling = other.polling(IN);
    process.signal(Signal::KILL);
    process.ended();
    assert_eq!(polling.get(), IN | HUP | ERR);
    assert_eq!(other.poll(BOTH), BOTH | HUP | ERR);
}

#[test]
fn poll_of_a_queue_says_what_would_not_wait() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let (one, other) = (Fd::both(mount.path("q")), Fd::both(mount.path("q")));
    assert_eq!(one.poll(BOTH), OUT);
    one.write("full").unwrap();
    assert_eq!((one.poll(BOTH), other.poll(BOTH)), (IN, IN));
    let writing = one.writing("waits");
    mount.wait_figure("q", "writers", 1);
    other.text();
    assert_eq!(writing.get(), Ok(5));
    assert_eq!(other.poll(BOTH), IN);
    other.text();
    assert_eq!(other.poll(BOTH), OUT);
    fs::remove_file(mount.path("q")).unwrap();
    assert_eq!((one.poll(BOTH), other.poll(IN)), (BOTH | HUP, IN | HUP));
}

#[test]
fn a_sleeping_poll_is_woken_by_a_message_by_room_and_by_a_hang_up() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    for _ in 0..20 {
        let polling = other.polling(IN);
        one.write("message").unwrap();
        assert_eq!(polling.get(), IN);
        let polling = one.polling(OUT);
        other.text();
        assert_eq!(polling.get(), OUT);
    }
    let polling = other.polling(IN);
    drop(one);
    assert_eq!(polling.get(), IN | HUP);
    mount.run("touch p/q");
    let (one, other) = (Fd::both(mount.path("q")), Fd::both(mount.path("q")));
    let polling = [one.polling(IN), other.polling(IN)];
    one.write("for one of them").unwrap();
    polling.into_iter().for_each(|polling| assert_eq!(polling.get(), IN));
    let polling = [one.polling(OUT), other.polling(OUT)];
    other.text();
    polling.into_iter().for_each(|polling| assert_eq!(polling.get(), OUT));
    let polling = [one.polling(IN), other.polling(IN)];
    fs::remove_file(mount.path("q")).unwrap();
    polling.into_iter().for_each(|polling| assert_eq!(polling.get(), IN | HUP));
}

#[test]
fn two_who_poll_one_descriptor_for_different_things_are_both_woken() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    one.write("fills the slot").unwrap();
    let (for_input, for_room) = (one.polling(IN), one.polling(OUT));
    other.write("input").unwrap();
    assert_eq!(for_input.get(), IN);
    other.text();
    assert_eq!(for_room.get(), OUT);
}

/// What one epoll_wait(2) in a thread comes to; it sleeps when this returns.
fn epolling(epoll: &std::sync::Arc<rustix::fd::OwnedFd>) -> fs9_tests::file::Later<Vec<epoll::EventFlags>> {
    let waiting = events_within(epoll, 30);
    waiting.wait_asleep("epoll_wait");
    waiting
}

fn events_within(
    epoll: &std::sync::Arc<rustix::fd::OwnedFd>,
    seconds: i64,
) -> fs9_tests::file::Later<Vec<epoll::EventFlags>> {
    let epoll = epoll.clone();
    later(move || {
        let mut events = Vec::with_capacity(8);
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&time)).unwrap();
        events.into_iter().map(|event| event.flags).collect()
    })
}

fn epoll_of(fd: &Fd, flags: epoll::EventFlags) -> std::sync::Arc<rustix::fd::OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&epoll, fd, epoll::EventData::new_u64(1), flags).unwrap();
    epoll.into()
}

#[test]
fn epoll_is_level_triggered() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    let epoll = epoll_of(&other, epoll::EventFlags::IN);
    for _ in 0..5 {
        let waiting = epolling(&epoll);
        one.write("message").unwrap();
        assert_eq!(waiting.get(), [epoll::EventFlags::IN]);
        assert_eq!(events_within(&epoll, 0).get(), [epoll::EventFlags::IN], "as long as it is there");
        other.text();
        assert_eq!(events_within(&epoll, 0).get(), []);
    }
    let waiting = epolling(&epoll);
    drop(one);
    assert_eq!(waiting.get(), [epoll::EventFlags::IN | epoll::EventFlags::HUP]);
}

#[test]
fn epoll_is_edge_triggered_when_asked_to_be() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    let epoll = epoll_of(&other, epoll::EventFlags::IN | epoll::EventFlags::ET);
    for _ in 0..5 {
        let waiting = epolling(&epoll);
        one.write("message").unwrap();
        assert_eq!(waiting.get(), [epoll::EventFlags::IN]);
        assert_eq!(events_within(&epoll, 0).get(), [], "told once");
        other.text();
    }
    let epoll = epoll_of(&one, epoll::EventFlags::OUT | epoll::EventFlags::ET);
    assert_eq!(events_within(&epoll, 30).get(), [epoll::EventFlags::OUT]);
    for _ in 0..5 {
        one.write("message").unwrap();
        let waiting = epolling(&epoll);
        other.text();
        assert_eq!(waiting.get(), [epoll::EventFlags::OUT]);
    }
    let waiting = epolling(&epoll);
    drop(other);
    assert_eq!(waiting.get(), [epoll::EventFlags::OUT | epoll::EventFlags::HUP]);
}

#[test]
fn a_poll_with_other_wishes_does_not_make_an_epoll_deaf() {
    let mount = with_pair();
    let (one, other) = (a(&mount), b(&mount));
    let epoll = epoll_of(&other, epoll::EventFlags::IN);
    other.write("fills the slot").unwrap();
    let waiting = epolling(&epoll);
    assert_eq!(other.poll(OUT), PollFlags::empty());
    one.write("message").unwrap();
    assert_eq!(waiting.get(), [epoll::EventFlags::IN]);
}
