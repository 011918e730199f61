//! Transcripts: what is ready, in order, and what ends a sleep.

use std::collections::BTreeSet;
use std::fs;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread::{self, scope};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::gettid;

use super::*;
use crate::error::{Reason, RecvError, TryRecvError};
use crate::peer::{Peer, pair};
use crate::process;
use crate::timer::{after, every};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn select<'a>() -> Select<'a> {
    Select::new().expect("io_uring")
}

fn shared() -> (Peer<u32, u32>, Peer<u32, u32>) {
    process::pair().expect("a pair")
}

fn pipe_pair() -> (PipeReader, PipeWriter) {
    pipe().expect("a pipe")
}

/// What is ready first, of the next operation that is when `act` is done while this thread sleeps.
fn woken(select: &mut Select<'_>, act: impl FnOnce() + Send) -> Option<usize> {
    let sleeper = gettid();
    scope(|threads| {
        threads.spawn(move || {
            until_asleep(sleeper);
            act();
        });
        select.ready_timeout(LONG).expect("a wait")
    })
}

/// Waits until the kernel says that the thread sleeps (state in proc_pid_stat(5)).
fn until_asleep(thread: Pid) {
    let deadline = Instant::now() + LONG;
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    while Instant::now() < deadline {
        let stat = fs::read_to_string(&path).expect("a thread of ours");
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            return;
        }
        thread::yield_now();
    }
    panic!("it does not fall asleep");
}

#[test]
fn nothing_is_ready() {
    let ((a, b), (c, d)) = (pair::<u32, u32>(), shared());
    let (reader, writer) = pipe_pair();
    let (never, child) = (after(Duration::MAX), process::spawn::<(), ()>(sleeper()).expect("a child"));
    a.send(1).expect("room");
    c.send(1).expect("room");
    let mut select = select();
    select.recv(a.receiver());
    select.recv(c.receiver());
    select.send(a.sender());
    select.send(c.sender());
    select.recv(&never);
    select.child(&child.1);
    select.readable(&reader);
    assert_eq!(select.try_ready(), None);
    assert_eq!(select.ready_deadline(Instant::now()).expect("a look"), None);
    assert_eq!(select.ready_timeout(Duration::from_millis(20)).expect("a wait"), None);
    assert_eq!((b.recv(), d.recv()), (Ok(1), Ok(1)), "still there");
    drop(writer);
    kill(&child.1);
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000");
    command
}

fn kill(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(pid, Signal::KILL).expect("a child of ours");
}

#[test]
fn each_kind_is_ready_by_itself() {
    fn ready<'a>(add: impl FnOnce(&mut Select<'a>) -> usize) {
        let mut select = select();
        let operation = add(&mut select);
        assert_eq!(select.try_ready(), Some(operation));
        assert_eq!(select.ready().expect("at once"), operation);
        assert_eq!(select.ready_deadline(Instant::now()).expect("at once"), Some(operation));
    }
    for (a, b) in [pair::<u32, u32>(), shared()] {
        ready(|select| select.send(a.sender()));
        a.send(1).expect("room");
        ready(|select| select.recv(b.receiver()));
        assert_eq!(b.try_recv(), Ok(1), "it was only looked at");
        drop(b);
        ready(|select| select.recv(a.receiver()));
        ready(|select| select.send(a.sender()));
        assert_eq!(a.try_recv(), Err(TryRecvError::Disconnected(Reason::Closed)));
    }
    let (reader, mut writer) = pipe_pair();
    ready(|select| select.writable(&writer));
    writer.write_all(b"x").expect("written");
    ready(|select| select.readable(&reader));
    let spent = after(Duration::ZERO);
    ready(|select| select.recv(&spent));
    assert_eq!(spent.try_recv(), Ok(Duration::ZERO));
    ready(|select| select.recv(&spent));
    let (_peer, mut child) = process::spawn::<(), ()>(Command::new("true")).expect("a child");
    child.wait().expect("its end");
    ready(|select| select.child(&child));
}

#[test]
fn a_message_wakes() {
    for (a, b) in [pair::<u32, u32>(), shared()] {
        let mut select = select();
        let operation = select.recv(b.receiver());
        for number in 0..20 {
            assert_eq!(woken(&mut select, || a.send(number).expect("room")), Some(operation));
            assert_eq!(b.try_recv(), Ok(number));
        }
    }
}

#[test]
fn room_wakes() {
    for (a, b) in [pair::<u32, u32>(), shared()] {
        let mut select = select();
        let operation = select.send(a.sender());
        for number in 0..20 {
            a.try_send(number).expect("room");
            assert_eq!(woken(&mut select, || assert_eq!(b.recv(), Ok(number))), Some(operation));
        }
    }
}

#[test]
fn each_of_a_mix_wakes() {
    let ((a, b), (c, d)) = (pair::<u32, u32>(), shared());
    let (reader, writer) = pipe_pair();
    c.send(0).expect("room");
    let mut select = select();
    let message = select.recv(b.receiver());
    let room = select.send(c.sender());
    let bytes = select.readable(&reader);
    for number in 0..20 {
        assert_eq!(woken(&mut select, || a.send(number).expect("room")), Some(message));
        assert_eq!(b.try_recv(), Ok(number));
        assert_eq!(woken(&mut select, || assert_eq!(d.recv(), Ok(number))), Some(room));
        c.try_send(number + 1).expect("room");
        assert_eq!(woken(&mut select, || (&writer).write_all(b"x").expect("written")), Some(bytes));
        (&reader).read_exact(&mut [0]).expect("read");
        assert_eq!(select.try_ready(), None);
    }
}

#[test]
fn an_end_that_is_dropped_wakes() {
    for (a, b) in [pair::<u32, u32>(), shared(), pair(), shared()] {
        a.send(1).expect("room");
        let mut select = select();
        select.send(a.sender());
        select.recv(a.receiver());
        assert!(woken(&mut select, move || drop(b)).is_some());
        assert_eq!(a.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    }
}

#[test]
fn descriptors_wake() {
    let (mut reader, writer) = pipe_pair();
    rustix::io::ioctl_fionbio(&writer, true).expect("a flag");
    while (&writer).write(&[0; 4096]).is_ok() {}
    let mut select = select();
    let room = select.writable(&writer);
    let mut read = || reader.read_exact(&mut [0; 8192]).expect("bytes");
    assert_eq!(woken(&mut select, &mut read), Some(room));
    drop(select);
    let mut select = self::select();
    let end = select.readable(&reader);
    while (&reader).read(&mut [0; 4096]).expect("bytes") == 4096 && select.try_ready().is_some() {}
    assert_eq!(woken(&mut select, || drop(writer)), Some(end));
}

#[test]
fn a_listener_is_readable() {
    let name = format!("select-{}", std::process::id());
    let me = rustix::process::geteuid().as_raw();
    let listener = process::listen(&name, &[me]).expect("a name");
    let mut select = select();
    let somebody = select.readable(&listener);
    scope(|threads| {
        let client = threads.spawn(|| process::connect::<u32, u32>(&name, &[me]).expect("a connection"));
        assert_eq!(select.ready_timeout(LONG).expect("a wait"), Some(somebody));
        let here: Peer<u32, u32> = listener.accept().expect("a client");
        client.join().expect("a peer").send(5).expect("room");
        assert_eq!(here.recv(), Ok(5));
    });
}

#[test]
fn the_end_of_a_child_wakes() {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped());
    let (_peer, mut child) = process::spawn::<(), ()>(command).expect("a child");
    let input = child.take_stdin();
    let mut select = select();
    let ended = select.child(&child);
    assert_eq!(woken(&mut select, || drop(input)), Some(ended));
    assert_eq!(child.try_wait().expect("its end"), Some(Reason::Exited(0)));
}

#[test]
fn a_killed_process_wakes() {
    let (peer, child) = process::spawn::<u32, u32>(sleeper()).expect("a child");
    let mut select = select();
    let operation = select.recv(peer.receiver());
    assert_eq!(woken(&mut select, || kill(&child)), Some(operation));
    assert_eq!(peer.recv(), Err(RecvError::Disconnected(Reason::Killed(9))));
}

#[test]
fn timers_wake() {
    let (late, ticks, spent) = (after(LONG), every(Duration::from_millis(2)), after(Duration::from_millis(5)));
    let (_a, b) = shared();
    let (mut select, mut seen) = (select(), BTreeSet::new());
    select.recv(b.receiver());
    select.recv(&late);
    let tick = select.recv(&ticks);
    let once = select.recv(&spent);
    while seen.len() < 2 {
        let operation = select.ready().expect("a timer");
        seen.insert(operation);
        let taken = if operation == tick { ticks.try_recv() } else { spent.try_recv() };
        assert!(taken.is_ok());
    }
    assert_eq!(seen, BTreeSet::from([tick, once]));
}

#[test]
fn none_to_wait_for() {
    let (_reader, writer) = pipe_pair();
    let mut select = select();
    assert_eq!(select.ready().expect_err("for ever").kind(), io::ErrorKind::InvalidInput);
    assert_eq!(select.ready_timeout(Duration::from_millis(1)).expect("a wait"), None);
    assert_eq!(select.try_ready(), None);
    let operation = select.writable(&writer);
    assert_eq!(select.ready().expect("at once"), operation);
    select.remove(operation);
    assert_eq!(select.ready().expect_err("for ever").kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn what_was_removed_is_not_ready() {
    let (first, second, third) = (pipe_pair(), pipe_pair(), pipe_pair());
    let mut select = select();
    let all = [select.writable(&first.1), select.writable(&second.1), select.writable(&third.1)];
    let quiet = select.readable(&third.0);
    assert_eq!([(); 4].map(|()| select.try_ready()), [Some(all[0]), Some(all[1]), Some(all[2]), Some(all[0])]);
    select.remove(all[1]);
    select.remove(all[1]);
    select.remove(100);
    assert_eq!([(); 3].map(|()| select.try_ready()), [Some(all[2]), Some(all[0]), Some(all[2])]);
    select.remove(all[0]);
    select.remove(all[2]);
    assert_eq!(select.try_ready(), None);
    assert_eq!(woken(&mut select, || (&third.1).write_all(b"x").expect("written")), Some(quiet));
}

#[test]
fn none_that_is_ready_is_preferred() {
    let ((a, b), (reader, writer)) = (pair::<u32, u32>(), pipe_pair());
    a.send(1).expect("room");
    (&writer).write_all(b"x").expect("written");
    let mut select = select();
    let quiet = select.recv(a.receiver());
    let ready = [select.recv(b.receiver()), select.readable(&reader), select.send(b.sender())];
    let mut counts = [0; 4];
    (0..3000).for_each(|_| counts[select.ready().expect("at once")] += 1);
    assert_eq!(counts[quiet], 0);
    assert!(ready.iter().all(|&operation| (800..=1200).contains(&counts[operation])), "{counts:?}");
}

#[test]
fn a_thousand_operations() {
    let threads: Vec<_> = (0..900).map(|_| pair::<u32, u32>()).collect();
    let processes: Vec<_> = (0..10).map(|_| shared()).collect();
    let (reader, writer) = pipe_pair();
    let mut select = select();
    (0..89).for_each(|_| assert!(select.readable(&reader) < 89));
    let numbers: Vec<_> = threads.iter().chain(&processes).map(|(_, b)| select.recv(b.receiver())).collect();
    let last = select.readable(&reader);
    assert_eq!(last, 999);
    for place in [0, 1, 450, 898, 899, 900, 905, 909] {
        let (a, b) = threads.iter().chain(&processes).nth(place).expect("one of them");
        assert_eq!(woken(&mut select, || a.send(7).expect("room")), Some(numbers[place]));
        assert_eq!(b.try_recv(), Ok(7));
    }
    select.start = last;
    assert_eq!(woken(&mut select, || drop(writer)), Some(last));
}

#[test]
fn a_turn_that_another_thread_has_is_waited_for() {
    for (a, b) in [pair::<u32, u32>(), shared()] {
        let mut select = select();
        let room = select.send(a.sender());
        let (held, asleep) = (Barrier::new(2), gettid());
        scope(|threads| {
            threads.spawn(|| {
                let permit = a.reserve().expect("room");
                held.wait();
                until_asleep(asleep);
                drop(permit);
            });
            held.wait();
            assert_eq!(select.ready_timeout(LONG).expect("a wait"), Some(room));
        });
        drop(b);
    }
}

#[test]
fn a_select_that_goes_loses_nothing() {
    for (a, b) in [pair::<u32, u32>(), shared()] {
        for number in 0..10 {
            let mut select = select();
            let operation = select.recv(b.receiver());
            assert_eq!(woken(&mut select, || a.send(number).expect("room")), Some(operation));
            if number % 2 == 0 {
                drop(select)
            } else {
                std::mem::forget(select)
            }
            assert_eq!(b.try_recv(), Ok(number));
        }
        let Near::Gate(Gate::Slot(end)) = b.receiver().rx.near() else { panic!("a slot") };
        assert!(format!("{:?}", end.mine).contains("sleepers: 0"), "{:?}", end.mine);
    }
}

#[test]
fn two_threads_may_select_the_same() {
    const COUNT: u32 = 5000;
    for (a, b) in [pair::<u32, u32>(), shared()] {
        let (receiver, stop) = (b.receiver(), every(Duration::from_millis(1)));
        let receive = || {
            let (mut select, mut received) = (select(), Vec::new());
            let operation = select.recv(receiver);
            let tick = select.recv(&stop);
            loop {
                let ready = select.ready_timeout(LONG).expect("a wait").expect("in time");
                match receiver.try_recv() {
                    Ok(number) => received.push(number),
                    Err(TryRecvError::Empty) => assert!(ready == operation || ready == tick),
                    Err(TryRecvError::Disconnected(_)) => return received,
                }
                if ready == tick {
                    let _ = stop.try_recv();
                }
            }
        };
        let received = scope(|threads| {
            let both = [threads.spawn(receive), threads.spawn(receive)];
            (0..COUNT).for_each(|number| a.send(number).expect("room"));
            drop(a);
            both.map(|thread| thread.join().expect("its messages")).concat()
        });
        assert_eq!(received.len(), COUNT as usize);
        assert!(received.into_iter().collect::<BTreeSet<_>>().into_iter().eq(0..COUNT));
    }
}

#[test]
fn every_message_of_several_senders_is_received_once() {
    const COUNT: u32 = 10_000;
    let peers = [pair::<u32, u32>(), shared(), pair(), shared()];
    let (senders, receivers): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    scope(|threads| {
        for sender in senders {
            threads.spawn(move || (0..COUNT).for_each(|number| sender.send(number).expect("room")));
        }
        let (mut select, mut next) = (select(), [0; 4]);
        let numbers: Vec<_> = receivers.iter().map(|peer| select.recv(peer.receiver())).collect();
        let mut open = 4;
        while open > 0 {
            let ready = select.ready_timeout(LONG).expect("a wait").expect("in time");
            assert_eq!(numbers[ready], ready);
            match receivers[ready].try_recv() {
                Ok(number) => {
                    assert_eq!(number, next[ready]);
                    next[ready] += 1;
                }
                Err(TryRecvError::Disconnected(Reason::Closed)) => {
                    select.remove(ready);
                    open -= 1;
                }
                Err(error) => panic!("nobody else receives: {error}"),
            }
        }
        assert_eq!(next, [COUNT; 4]);
    });
}

#[test]
fn a_select_goes_to_another_thread() {
    let (a, b) = shared();
    let mut select = select();
    let operation = select.recv(b.receiver());
    scope(|threads| {
        let mut select = threads
            .spawn(move || {
                assert_eq!(select.ready_timeout(Duration::from_millis(1)).expect("a wait"), None);
                select
            })
            .join()
            .expect("the select");
        assert_eq!(woken(&mut select, || a.send(1).expect("room")), Some(operation));
    });
}

#[test]
fn it_says_how_many_it_waits_for() {
    let (_reader, writer) = pipe_pair();
    let mut select = select();
    select.writable(&writer);
    assert_eq!(format!("{select:?}"), "Select { operations: 1, .. }");
}
