//! Peers over the files of a mount: what the suite of all tiers does not see, or what is different there.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver as Told, channel};
use std::thread;
use std::time::Duration;

use fs9_tests::file::Fd;
use fs9_tests::process::{Running, signal};
use fs9_tests::tiers::{Duplex, HEAD, PATIENCE, Tier, at_file, is_waiting, note, number_of, tid};
use fs9_tests::{Mount, wait_for};
use fs9_tiers::error::{
    Reason, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unfit,
};
use fs9_tiers::{Peer, Receiver, Select, Sender, after, file, pair};
use futures_util::{SinkExt, StreamExt};
use rustix::process::Signal;
use serde_json::Value;

const SHORT: Duration = Duration::from_millis(20);

fn with_pair() -> Mount {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    mount
}

fn with_queue() -> Mount {
    let mount = Mount::new();
    mount.run("fs9 new p/q");
    mount
}

/// Both ends of the pair.
fn ends<A: fs9_tiers::Message, B: fs9_tiers::Message>(mount: &Mount) -> (Peer<A, B>, Peer<B, A>) {
    (file::open(mount.path("t/a")).unwrap(), file::open(mount.path("t/b")).unwrap())
}

/// Runs `wait` in a thread, which sleeps in poll(2) when this returns.
fn waiting<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> Told<R> {
    let ((began, begin), (tell, told)) = (channel(), channel());
    thread::spawn(move || {
        began.send(tid()).unwrap();
        let _ = tell.send(wait());
    });
    let tid = begin.recv().unwrap();
    wait_for("the thread to wait", || is_waiting(std::process::id(), tid).then_some(()));
    told
}

fn wait_holders(mount: &Mount, name: &str, count: usize) {
    let what = format!("{count} holders");
    mount.wait_channel(name, &what, |channel| channel["holders"].as_array().unwrap().len() == count);
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Ask {
    Square(u64),
    Name { of: Vec<u8> },
}

#[test]
fn two_ends_with_types() {
    let mount = with_pair();
    let (boss, worker) = ends::<Ask, Result<u64, String>>(&mount);
    let work = thread::spawn(move || {
        for ask in worker.iter() {
            let answer = match ask {
                Ask::Square(number) => Ok(number * number),
                Ask::Name { of } => Err(String::from_utf8(of).unwrap()),
            };
            worker.send(answer).unwrap();
        }
        worker.reason()
    });
    for number in 0..100 {
        boss.send(Ask::Square(number)).unwrap();
        assert_eq!(boss.recv(), Ok(Ok(number * number)));
    }
    boss.send(Ask::Name { of: b"Ada".to_vec() }).unwrap();
    assert_eq!(boss.recv_timeout(PATIENCE), Ok(Err("Ada".to_owned())));
    drop(boss);
    assert_eq!(work.join().unwrap(), Some(Reason::Closed));
    mount.assert_ledgers_balance();
}

#[test]
fn nothing_at_all_is_a_message_too() {
    let mount = with_pair();
    let (a, b) = ends::<(), ()>(&mount);
    a.send(()).unwrap();
    assert_eq!(b.recv(), Ok(()));
    assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_raw_end_talks_to_cat_and_to_python() {
    let mount = with_pair();
    let talk: Peer<String, String> = file::raw::open(mount.path("t/a")).unwrap();
    let cat = Running::piped(&mut mount.command("cat", &["p/t/b"]));
    talk.send("one\n".to_owned()).unwrap();
    talk.send("two\n".to_owned()).unwrap();
    mount.wait_channel("t", "both are read", |t| t["lanes"][0]["received"] == 2);
    drop(talk);
    assert_eq!(cat.said(), "one\ntwo\n");

    wait_holders(&mount, "t", 0);
    let talk: Peer<String, String> = file::raw::open(mount.path("t/a")).unwrap();
    let script = "f = open('p/t/b', 'r+b', buffering=0)
while m := f.read(1 << 20): f.write(m.upper())
print('the end')";
    let python = Running::piped(&mut mount.command("python3", &["-c", script]));
    for word in ["hello", "world"] {
        talk.send(word.to_owned()).unwrap();
        assert_eq!(talk.recv_timeout(PATIENCE).as_deref(), Ok(word.to_uppercase().as_str()));
    }
    drop(talk);
    assert_eq!(python.said(), "the end\n");
}

#[test]
fn a_shell_gives_and_takes_jobs() {
    let mount = with_queue();
    let jobs: Receiver<Vec<u8>> = file::raw::receiver(mount.path("q")).unwrap();
    mount.run("printf 'a job' > p/q");
    assert_eq!(jobs.recv_timeout(PATIENCE).as_deref(), Ok(&b"a job"[..]));
    drop(jobs);
    let jobs: Sender<String> = file::raw::sender(mount.path("q")).unwrap();
    jobs.send("another\n".to_owned()).unwrap();
    assert_eq!(mount.run("head -n1 p/q 2> /dev/null"), "another\n");
}

#[test]
fn bytes_of_a_stranger_are_one_error_and_no_end() {
    let mount = with_queue();
    let jobs: Receiver<(u32, String)> = file::receiver(mount.path("q")).unwrap();
    mount.run("echo what is this > p/q");
    assert_eq!(jobs.recv(), Err(RecvError::Disconnected(Reason::Protocol)));
    assert_eq!(jobs.reason(), None);
    let sender: Sender<(u32, String)> = file::sender(mount.path("q")).unwrap();
    sender.send((1, "a job".to_owned())).unwrap();
    assert_eq!(jobs.recv(), Ok((1, "a job".to_owned())));
}

#[test]
fn a_killed_end_is_lost_after_what_it_sent() {
    let (near, mut far) = Tier::File.open();
    assert_eq!(far.ask("send 1 5000"), "sent");
    far.kill();
    wait_holders(far.mount.as_ref().unwrap(), "t", 1);
    assert_eq!((near.reason(), near.sender().reason()), (None, Some(Reason::Lost)));
    assert_eq!(number_of(&near.recv().unwrap()), 1);
    for _ in 0..3 {
        assert_eq!(near.recv(), Err(RecvError::Disconnected(Reason::Lost)));
        let Err(SendError::Disconnected(back, Reason::Lost)) = near.send(note(2, HEAD)) else { panic!("it was sent") };
        assert_eq!((number_of(&back), near.reason()), (2, Some(Reason::Lost)));
    }
}

#[test]
fn a_kill_wakes_who_waits() {
    let (near, mut far) = Tier::File.open();
    near.send(note(1, HEAD)).unwrap();
    let (sender, receiver) = near.split();
    let receiving = waiting(move || receiver.recv());
    let sending = waiting(move || sender.send(note(2, HEAD)));
    far.kill();
    assert_eq!(receiving.recv_timeout(PATIENCE), Ok(Err(RecvError::Disconnected(Reason::Lost))));
    let sent = sending.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(sent, Err(SendError::Disconnected(back, Reason::Lost)) if number_of(&back) == 2));
}

#[test]
fn an_exit_and_a_hang_up_are_a_close() {
    let (near, mut far) = Tier::File.open();
    far.start("exit 3");
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));

    let mount = with_pair();
    let (a, b) = ends::<u8, u8>(&mount);
    a.send(1).unwrap();
    mount.run("echo hangup > p/t/ctl");
    assert_eq!(b.recv(), Ok(1));
    assert_eq!(b.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert_eq!(a.sender().reason(), Some(Reason::Closed));
}

#[test]
fn the_end_of_a_mount_ends_every_wait() {
    let unreachable = Reason::Unreachable;
    for killed in [false, true] {
        let mut mount = with_pair();
        let (a, b) = ends::<u8, u8>(&mount);
        let receiving = waiting(move || (b.recv(), b));
        a.send(1).unwrap();
        let (received, b) = receiving.recv_timeout(PATIENCE).unwrap();
        assert_eq!(received, Ok(1));
        a.send(2).unwrap();
        let (sender, receiver) = a.split();
        let receiving = waiting(move || receiver.recv());
        let sending = waiting(move || sender.send(3));
        if killed {
            signal(mount.server(), Signal::KILL);
        } else {
            mount.down();
        }
        assert_eq!(receiving.recv_timeout(PATIENCE), Ok(Err(RecvError::Disconnected(unreachable))));
        let sent = sending.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(sent, Err(SendError::Disconnected(3, reason)) if reason == unreachable));
        assert_eq!(b.recv(), Err(RecvError::Disconnected(unreachable)), "what was sent is gone with the server");
        assert_eq!((b.reason(), b.sender().reason()), (Some(unreachable), Some(unreachable)));
        drop(b);
        mount.up(&[]);
    }
}

#[test]
fn the_end_is_closed_with_both_halves() {
    let (near, mut far) = Tier::File.open();
    let (sender, receiver) = near.split();
    drop(sender);
    far.start("send 1 24");
    assert_eq!(far.answer(), "sent");
    assert_eq!(number_of(&receiver.recv().unwrap()), 1);
    far.start_and_block("recv");
    drop(receiver);
    assert_eq!(far.answer(), "gone: closed");
}

#[test]
fn a_message_goes_back_to_its_queue_when_its_receiver_is_killed() {
    let mount = with_queue();
    let jobs: Sender<Vec<u8>> = file::sender(mount.path("q")).unwrap();
    let mut worker = at_file(&mount, "q");
    jobs.send(note(1, 5_000)).unwrap();
    assert_eq!(worker.ask("recv"), "got 1");
    jobs.send(note(2, HEAD)).unwrap();
    worker.kill();
    let other: Receiver<Vec<u8>> = file::receiver(mount.path("q")).unwrap();
    mount.wait_figure("q", "redelivered", 1);
    let two = [other.recv_timeout(PATIENCE).unwrap(), other.recv_timeout(PATIENCE).unwrap()];
    assert_eq!(two.map(|note| number_of(&note)), [1, 2]);
    assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
    mount.assert_ledgers_balance();
}

#[test]
fn a_receiver_that_waits_for_the_next_message_has_done_with_the_last() {
    let mount = with_queue();
    let jobs: Sender<Vec<u8>> = file::sender(mount.path("q")).unwrap();
    let mut worker = at_file(&mount, "q");
    jobs.send(note(1, HEAD)).unwrap();
    assert_eq!(worker.ask("recv"), "got 1");
    worker.start_and_block("recv");
    mount.wait_figure("q", "received", 1);
    worker.kill();
    wait_holders(&mount, "q", 1);
    assert_eq!((mount.figure("q", "redelivered"), mount.figure("q", "slot")), (0, 0));
}

#[test]
fn a_queue_with_ack_takes_back_what_was_dropped() {
    let mount = Mount::new();
    mount.run("fs9 new --ack p/q");
    let jobs: Sender<u8> = file::sender(mount.path("q")).unwrap();
    let worker: Receiver<u8> = file::receiver(mount.path("q")).unwrap();
    jobs.send(1).unwrap();
    assert_eq!(worker.recv(), Ok(1));
    drop(worker);
    let worker: Receiver<u8> = file::receiver(mount.path("q")).unwrap();
    assert_eq!(worker.recv_timeout(PATIENCE), Ok(1), "again");
    assert_eq!(worker.try_recv(), Err(TryRecvError::Empty), "and with that it is done");
    drop(worker);
    wait_holders(&mount, "q", 1);
    assert_eq!((mount.figure("q", "received"), mount.figure("q", "slot")), (1, 0));
}

#[test]
fn a_queue_ends_when_it_is_removed() {
    let mount = with_queue();
    let jobs: Sender<u8> = file::sender(mount.path("q")).unwrap();
    let worker: Receiver<u8> = file::receiver(mount.path("q")).unwrap();
    drop(file::sender::<u8>(mount.path("q")).unwrap());
    assert_eq!(worker.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout), "a writer that goes is no end");
    let receiving = waiting(move || worker.recv());
    mount.run("rm p/q");
    assert_eq!(receiving.recv_timeout(PATIENCE), Ok(Err(RecvError::Disconnected(Reason::Closed))));
    assert!(matches!(jobs.send(1), Err(SendError::Disconnected(1, Reason::Closed))));
}

#[test]
fn a_permit_waits_where_another_writer_of_the_queue_was_faster() {
    let mount = with_queue();
    let (ours, theirs): (Sender<u8>, Sender<u8>) =
        (file::sender(mount.path("q")).unwrap(), file::sender(mount.path("q")).unwrap());
    let worker: Receiver<u8> = file::receiver(mount.path("q")).unwrap();
    let permit = ours.reserve().unwrap();
    theirs.send(1).unwrap();
    thread::scope(|scope| {
        let sending = scope.spawn(|| permit.send(2));
        assert_eq!(worker.recv(), Ok(1));
        sending.join().unwrap().unwrap();
    });
    assert_eq!(worker.recv(), Ok(2));

    theirs.send(3).unwrap();
    assert!(matches!(ours.try_send(4), Err(TrySendError::Full(4))));
    assert!(matches!(ours.send_timeout(4, SHORT), Err(SendTimeoutError::Timeout(4))));
    let mut sink = ours.into_sink();
    pollster::block_on(async {
        assert_eq!(worker.recv_async().await, Ok(3));
        sink.feed(4).await.unwrap();
        assert_eq!(worker.recv_async().await, Ok(4));
    });
}

#[test]
fn every_job_of_many_senders_goes_to_one_worker() {
    const EACH: u64 = 200;
    let mount = with_queue();
    let path = mount.path("q");
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let path = &path;
        for sender in 0..3 {
            scope.spawn(move || {
                let jobs: Sender<u64> = file::sender(path).unwrap();
                (0..EACH).for_each(|i| pollster::block_on(jobs.send_async(sender * EACH + i)).unwrap());
            });
        }
        let worker = move || {
            let jobs: Receiver<u64> = file::receiver(path).unwrap();
            (0..EACH).map(|_| jobs.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3 * EACH).collect::<Vec<_>>());
    mount.assert_ledgers_balance();
}

#[test]
fn each_client_of_a_service_has_a_connection_of_its_own() {
    let mount = Mount::new();
    mount.run("fs9 new --service p/s");
    let connect = || file::open::<u64, u64>(mount.path("s/connect")).unwrap();
    let accept = || file::open::<u64, u64>(mount.path("s/accept")).unwrap();
    let (one, other, servers) = (connect(), connect(), [accept(), accept()]);
    one.send(1).unwrap();
    other.send(2).unwrap();
    for server in &servers {
        let number = server.recv_timeout(PATIENCE).unwrap();
        server.send(10 * number).unwrap();
    }
    assert_eq!((one.recv_timeout(PATIENCE), other.recv_timeout(PATIENCE)), (Ok(10), Ok(20)));
    drop(one);
    let [first, second] = &servers;
    assert_eq!(first.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
    assert_eq!(second.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    // One that has no client yet is a peer as well.
    let idle = accept();
    assert_eq!(idle.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    let mut select = Select::new().unwrap();
    let ready = select.recv(idle.receiver());
    connect().send(3).unwrap();
    assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(ready));
    assert_eq!(idle.try_recv(), Ok(3));
}

#[test]
fn every_receiver_of_a_topic_gets_all() {
    let mount = Mount::new();
    mount.run("fs9 new --topic p/news");
    let subscribe = || file::receiver::<String>(mount.path("news")).unwrap();
    let (one, other) = (subscribe(), subscribe());
    let news: Sender<String> = file::sender(mount.path("news")).unwrap();
    news.send("first".to_owned()).unwrap();
    assert_eq!(one.recv_timeout(PATIENCE).as_deref(), Ok("first"));
    assert!(matches!(news.send_timeout("second".to_owned(), SHORT), Err(SendTimeoutError::Timeout(_))));
    assert_eq!(other.recv_timeout(PATIENCE).as_deref(), Ok("first"));
    news.send_timeout("second".to_owned(), PATIENCE).unwrap();
    for receiver in [one, other] {
        assert_eq!(receiver.recv_timeout(PATIENCE).as_deref(), Ok("second"));
    }
}

#[test]
fn a_select_over_a_file_a_thread_and_the_clock() {
    let mount = with_pair();
    let (a, b) = ends::<u8, u8>(&mount);
    let (c, d) = pair::<u8, u8>();
    let late = after(PATIENCE);
    let mut select = Select::new().unwrap();
    let (file, memory, _clock) = (select.recv(b.receiver()), select.recv(d.receiver()), select.recv(&late));
    assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
    thread::scope(|scope| {
        let (a, c) = (&a, &c);
        for number in 0..50 {
            scope.spawn(move || if number % 2 == 0 { a.send(number) } else { c.send(number) });
            let (ready, end) = if number % 2 == 0 { (file, &b) } else { (memory, &d) };
            assert_eq!(select.ready().unwrap(), ready);
            assert_eq!(end.try_recv(), Ok(number));
        }
    });
    drop(a);
    assert_eq!(select.ready().unwrap(), file, "the end is news, too");
    assert_eq!(b.try_recv(), Err(TryRecvError::Disconnected(Reason::Closed)));
}

#[test]
fn tasks_talk_over_files() {
    let mount = with_pair();
    let (a, b) = ends::<u64, u64>(&mount);
    let echo = thread::spawn(move || {
        pollster::block_on(async {
            while let Ok(number) = b.recv_async().await {
                b.send_async(number + 1).await.unwrap();
            }
            b.reason()
        })
    });
    let (sender, receiver) = a.split();
    let (mut sink, mut stream) = (sender.into_sink(), receiver.into_stream());
    pollster::block_on(async {
        for number in 0..200 {
            sink.send(number).await.unwrap();
            assert_eq!(stream.next().await, Some(number + 1));
        }
    });
    drop((sink, stream));
    assert_eq!(echo.join().unwrap(), Some(Reason::Closed));
    wait_holders(&mount, "t", 0);
}

#[test]
fn a_message_is_as_long_as_the_mount_allows() {
    let mount = with_pair();
    let bytes = || file::raw::open::<Vec<u8>, Vec<u8>>(mount.path("t/a"));
    let (a, b) = (bytes().unwrap(), file::raw::open::<Vec<u8>, Vec<u8>>(mount.path("t/b")).unwrap());
    for len in [1, file::LIMIT, 4096, file::LIMIT - 1] {
        a.send(vec![7; len]).unwrap();
        assert_eq!(b.recv().unwrap(), vec![7; len]);
    }
    let long = a.send(vec![7; file::LIMIT + 1]).unwrap_err();
    assert!(matches!(long, SendError::Unfit(_, Unfit::TooLong { limit: file::LIMIT })), "{long}");
    assert_eq!(bytes().unwrap_err().kind(), ErrorKind::ResourceBusy, "one holder an end");

    let mount = Mount::with(&["--limit", "1000"]);
    mount.run("fs9 new p/q");
    let jobs: Sender<Vec<u8>> = file::sender(mount.path("q")).unwrap();
    let long = jobs.try_send(vec![7; 1000]).unwrap_err();
    assert!(matches!(&long, TrySendError::Unfit(back, Unfit::TooLong { limit: 1001 }) if back.len() == 1000), "{long}");
    jobs.send(vec![7; 998]).unwrap();
    assert!(matches!(jobs.try_send(vec![]), Err(TrySendError::Full(_))));
}

#[test]
fn what_is_no_channel_is_refused_or_of_use() {
    let mount = with_queue();
    let kind = |name: &str| file::sender::<u8>(mount.path(name)).unwrap_err().kind();
    assert_eq!(kind("q:line"), ErrorKind::InvalidInput);
    assert_eq!(kind("nowhere"), ErrorKind::NotFound);
    fs::write(mount.beside().join("plain"), "text").unwrap();
    let refused = file::receiver::<u8>(mount.beside().join("plain")).unwrap_err();
    assert!(refused.to_string().contains("fs9 mount"), "{refused}");

    let events: Receiver<String> = file::raw::receiver(mount.path("events")).unwrap();
    mount.run("fs9 new p/r");
    let created: Value = serde_json::from_str(&events.recv_timeout(PATIENCE).unwrap()).unwrap();
    assert_eq!((created["event"].as_str(), created["name"].as_str()), (Some("created"), Some("r")));
    let ctl: Sender<String> = file::raw::sender(mount.path("ctl")).unwrap();
    ctl.send("new s".to_owned()).unwrap();
    assert!(mount.path("s").exists());
    let refused = ctl.send("new s".to_owned()).unwrap_err();
    assert!(matches!(refused, SendError::Unfit(_, Unfit::Refused(ErrorKind::AlreadyExists))), "{refused}");
}

#[test]
fn what_is_dropped_is_closed_whoever_waited() {
    let mount = with_pair();
    let (a, b): (Duplex, Duplex) = ends(&mount);
    a.send(note(1, HEAD)).unwrap();
    assert_eq!(number_of(&pollster::block_on(b.recv_async()).unwrap()), 1);
    let mut select = Select::new().unwrap();
    select.recv(b.receiver());
    assert_eq!(select.try_ready(), None);
    drop(select);
    drop((a, b));
    wait_holders(&mount, "t", 0);
    let (a, b): (Duplex, Duplex) = ends(&mount);
    a.send(note(2, HEAD)).unwrap();
    let mut message = Vec::new();
    b.receiver().recv_in_place().unwrap().read_to_end(&mut message).unwrap();
    assert_eq!(number_of(&message), 2);
}

#[test]
fn a_reader_with_a_smaller_buffer_reads_what_was_sent() {
    let mount = with_pair();
    let a: Peer<Vec<u8>, Vec<u8>> = file::raw::open(mount.path("t/a")).unwrap();
    let b = Fd::both(mount.path("t/b"));
    a.send(b"hello, world".to_vec()).unwrap();
    assert_eq!((b.read(5).unwrap(), b.read(100).unwrap()), (b"hello".to_vec(), b", world".to_vec()));
}
