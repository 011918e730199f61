//! Over a pair of SEQPACKET sockets, which read, write, poll and end as the two files of a pair do; a mount is in the
//! tests of the workspace. They hold a few messages more than one.
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver as Told, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::capability::{Capability, Refusal};
use crate::error::{
    Reason, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unfit,
};
use crate::loan::Block;
use crate::message::Pod;
use crate::peer::pair;
use crate::select::Select;

const SHORT: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_secs(10);
const CLOSED: RecvError = RecvError::Disconnected(Reason::Closed);

fn sockets() -> [Arc<Opened>; 2] {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair");
    [a, b].map(|socket: OwnedFd| {
        set_socket_send_buffer_size(&socket, 1).expect("the least there is");
        Opened::new(socket)
    })
}

fn typed<Out: Message, In: Message>(file: Arc<Opened>) -> Peer<Out, In> {
    Peer::new(Tx::File(Outgoing::typed(Arc::clone(&file))), Rx::File(Incoming::typed(file)))
}

fn raw<Out: Block, In: Block>(file: Arc<Opened>) -> Peer<Out, In> {
    Peer::new(Tx::File(Outgoing::raw(Arc::clone(&file))), Rx::File(Incoming::raw(file)))
}

fn peers<A: Message, B: Message>() -> (Peer<A, B>, Peer<B, A>) {
    let [a, b] = sockets();
    (typed(a), typed(b))
}

/// Sends until there is no room; returns how many there was room for.
fn fill(sender: &Sender<Vec<u8>>) -> usize {
    (0..1000).take_while(|_| sender.try_send(vec![1; 700]).is_ok()).count()
}

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Calls {
    fn until_called(&self) {
        let start = Instant::now();
        while self.0.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < LONG, "the task is not woken");
            std::thread::yield_now();
        }
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, calls: &Arc<Calls>) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(calls))))
}

/// Runs `wait` in a thread.
fn later<R: Send + 'static>(wait: impl FnOnce() -> R + Send + 'static) -> Told<R> {
    let (tell, told) = channel();
    spawn(move || tell.send(wait()));
    told
}

#[test]
fn messages_cross_in_order_and_in_both_directions() {
    let (a, b) = peers::<(u32, String), u64>();
    for number in 0..100 {
        a.send((number, "x".repeat(number as usize))).expect("b is there");
        assert_eq!(b.recv(), Ok((number, "x".repeat(number as usize))));
        b.send(u64::from(number)).expect("a is there");
        assert_eq!(a.recv_timeout(LONG), Ok(u64::from(number)));
    }
    assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_raw_end_sees_the_bytes() {
    let [a, b] = sockets();
    let (typed, bytes) = (typed::<(u8, String), ()>(a), raw::<Vec<u8>, Vec<u8>>(b));
    typed.send((7, "abc".to_owned())).expect("there");
    assert_eq!(bytes.recv().as_deref(), Ok(&b"\x07\x03abc"[..]));
    bytes.send(vec![0]).expect("there");
    assert_eq!(typed.recv(), Ok(()), "nothing is one zero");

    let [a, b] = sockets();
    let (text, bytes) = (raw::<String, String>(a), raw::<Pod<[u8; 2]>, Vec<u8>>(b));
    text.send("hello\n".to_owned()).expect("there");
    assert_eq!(bytes.recv().as_deref(), Ok(&b"hello\n"[..]));
    bytes.send(Pod(*b"ok")).expect("there");
    assert_eq!(text.recv().as_deref(), Ok("ok"));
}

#[test]
fn what_is_no_message_is_told_and_the_next_one_comes() {
    let [a, b] = sockets();
    let (bytes, typed) = (raw::<Vec<u8>, Vec<u8>>(a), typed::<(), u8>(b));
    bytes.send(b"no".to_vec()).expect("there");
    bytes.send(vec![7]).expect("there");
    assert_eq!(typed.recv(), Err(RecvError::Disconnected(Reason::Protocol)));
    assert_eq!((typed.reason(), typed.sender().reason()), (None, None), "nobody is gone");
    assert_eq!(typed.recv(), Ok(7));

    let [a, b] = sockets();
    let (bytes, text) = (raw::<Vec<u8>, Vec<u8>>(a), raw::<String, String>(b));
    bytes.send(vec![0xff]).expect("there");
    bytes.send(b"text".to_vec()).expect("there");
    let mut messages = text.iter();
    assert_eq!((messages.next(), messages.next()), (None, None), "an iterator stays at its end");
    assert_eq!(text.recv().as_deref(), Ok("text"));
}

#[test]
fn an_end_is_told_after_what_was_sent_before() {
    let (a, b) = peers::<u8, u8>();
    a.send(1).expect("b is there");
    a.send(2).expect("b is there");
    drop(a);
    assert_eq!((b.receiver().is_closed(), b.sender().is_closed()), (false, true));
    assert_eq!(b.reason(), None, "there is a message, that was read to find out");
    assert_eq!((b.recv(), b.recv()), (Ok(1), Ok(2)));
    assert_eq!((b.recv(), b.try_recv().is_err(), b.reason()), (Err(CLOSED), true, Some(Reason::Closed)));
    assert!(matches!(b.send(3), Err(SendError::Disconnected(3, Reason::Closed))));
    assert!(matches!(b.try_send(3), Err(TrySendError::Disconnected(3, Reason::Closed))));
    assert_eq!(b.sender().reason(), Some(Reason::Closed));
}

#[test]
fn an_end_that_is_lost_is_told_so() {
    let (a, b) = peers::<u8, u8>();
    a.send(1).expect("b is there");
    // A socket that is closed with a message in it is one way to ECONNRESET.
    drop(b);
    let lost = Reason::Lost;
    assert!(matches!(a.send(2), Err(SendError::Disconnected(2, reason)) if reason == lost));
    assert_eq!((a.recv(), a.reason()), (Err(RecvError::Disconnected(lost)), Some(lost)));
    assert_eq!(a.recv(), Err(RecvError::Disconnected(lost)), "it stays so");
}

#[test]
fn the_end_is_closed_with_the_last_half() {
    let (a, b) = peers::<u8, u8>();
    let (sender, receiver) = a.split();
    drop(sender);
    assert_eq!(b.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    b.send(1).expect("a half is there");
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert_eq!(b.recv(), Err(CLOSED));
}

#[test]
fn a_permit_whose_other_end_has_gone_gives_the_message_back() {
    let (a, b) = peers::<u8, u8>();
    let permit = a.reserve().expect("room");
    drop(b);
    assert!(matches!(permit.send(1), Err(SendError::Disconnected(1, Reason::Closed))));
}

#[test]
fn waits_end_at_their_deadlines_and_lose_nothing() {
    let (a, b) = peers::<Vec<u8>, ()>();
    assert_eq!(b.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(b.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    let count = fill(a.sender());
    assert!(count > 0);
    let Err(SendTimeoutError::Timeout(back)) = a.send_timeout(vec![2; 700], SHORT) else { panic!("no room") };
    assert_eq!(back, [2; 700]);
    assert!(matches!(a.reserve_timeout(SHORT), Err(SendTimeoutError::Timeout(()))));
    assert!(matches!(a.try_send(back), Err(TrySendError::Full(_))));
    assert_eq!(b.try_iter().count(), count);
    a.send_timeout(vec![3], LONG).expect("room");
    assert_eq!(b.recv_timeout(Duration::MAX).as_deref(), Ok(&[3][..]));
}

#[test]
fn whoever_waits_is_served() {
    let (a, b) = peers::<Vec<u8>, ()>();
    scope(|threads| {
        let receiving = threads.spawn(|| b.recv());
        a.send(vec![7]).expect("b is there");
        assert_eq!(receiving.join().expect("no panic").as_deref(), Ok(&[7][..]));
        fill(a.sender());
        let sending = threads.spawn(|| a.send(vec![9; 700]));
        while b.recv_timeout(LONG).expect("a message") != [9; 700] {}
        sending.join().expect("no panic").expect("sent");
    });
    let receiving = later(move || b.recv());
    drop(a);
    assert_eq!(receiving.recv_timeout(LONG), Ok(Err(CLOSED)));
}

#[test]
fn a_permit_keeps_the_others_of_this_process_in_line() {
    let (a, b) = peers::<u8, ()>();
    let permit = a.reserve().expect("room");
    assert!(matches!(a.try_send(2), Err(TrySendError::Full(2))));
    assert!(matches!(a.send_timeout(2, SHORT), Err(SendTimeoutError::Timeout(2))));
    let calls = Arc::new(Calls::default());
    let mut task = a.send_async(3);
    assert!(poll_with(&mut task, &calls).is_pending());
    scope(|threads| {
        let other = threads.spawn(|| a.send(2));
        permit.send(1).expect("b is there");
        assert_eq!(b.recv(), Ok(1));
        other.join().expect("no panic").expect("sent");
    });
    assert_eq!(b.recv(), Ok(2));
    calls.until_called();
    pollster::block_on(task).expect("sent");
    assert_eq!(b.recv(), Ok(3));
}

#[test]
fn a_task_is_woken_by_a_message_by_room_and_by_the_end() {
    let (a, b) = peers::<Vec<u8>, ()>();
    for number in 0..20 {
        let calls = Arc::new(Calls::default());
        let mut receive = b.recv_async();
        assert!(poll_with(&mut receive, &calls).is_pending());
        a.send(vec![number]).expect("b is there");
        calls.until_called();
        assert_eq!(pollster::block_on(receive), Ok(vec![number]));
    }
    let (sends, receives) = (Arc::new(Calls::default()), Arc::new(Calls::default()));
    let count = fill(a.sender());
    let (mut send, mut receive) = (a.send_async(vec![2; 700]), a.recv_async());
    assert!(poll_with(&mut send, &sends).is_pending() && poll_with(&mut receive, &receives).is_pending());
    assert_eq!(b.try_iter().count(), count);
    sends.until_called();
    pollster::block_on(send).expect("there is room");
    assert_eq!(b.recv().as_deref(), Ok(&[2; 700][..]));
    drop(b);
    receives.until_called();
    assert_eq!(pollster::block_on(receive), Err(CLOSED));
}

#[test]
fn a_task_that_goes_has_taken_nothing() {
    let (a, b) = peers::<u8, ()>();
    let calls = Arc::new(Calls::default());
    let mut receive = b.recv_async();
    assert!(poll_with(&mut receive, &calls).is_pending());
    a.send(1).expect("b is there");
    calls.until_called();
    drop(receive);
    assert_eq!(b.try_recv(), Ok(1));
}

#[test]
fn a_select_waits_for_files_among_others() {
    let (a, b) = peers::<u8, u8>();
    let (c, d) = pair::<u8, u8>();
    let mut select = Select::new().expect("a ring");
    let (here, there) = (select.recv(b.receiver()), select.recv(d.receiver()));
    assert_eq!(select.ready_timeout(SHORT).expect("a sleep"), None);
    scope(|threads| {
        let (a, c) = (&a, &c);
        for number in 0..10 {
            threads.spawn(move || a.send(number));
            assert_eq!(select.ready().expect("a message"), here);
            assert_eq!(b.try_recv(), Ok(number));
            threads.spawn(move || c.send(number));
            assert_eq!(select.ready().expect("a message"), there);
            assert_eq!(d.try_recv(), Ok(number));
        }
    });
    a.send(1).expect("b is there");
    drop(a);
    assert_eq!(b.reason(), None);
    assert_eq!(select.try_ready(), Some(here), "also what was read already");
    assert_eq!(b.recv(), Ok(1));
    assert_eq!(select.ready().expect("the end"), here);
    select.remove(here);
    assert_eq!(select.try_ready(), None);
}

#[test]
fn a_select_waits_for_room_and_for_who_holds_it() {
    let (a, b) = peers::<Vec<u8>, ()>();
    let (_quiet, silent) = peers::<u8, ()>();
    fill(a.sender());
    let mut select = Select::new().expect("a ring");
    let _never = select.recv(silent.receiver());
    let room = select.send(a.sender());
    assert_eq!(select.ready_timeout(SHORT).expect("a sleep"), None);
    assert!(b.try_iter().count() > 0);
    assert_eq!(select.ready().expect("room"), room);
    let permit = a.reserve().expect("room");
    assert_eq!(select.ready_timeout(SHORT).expect("a sleep"), None, "there is room, and it is held");
    scope(|threads| {
        threads.spawn(move || drop(permit));
        assert_eq!(select.ready().expect("room"), room);
    });
}

#[test]
fn what_cannot_be_sent_comes_back() {
    let [a, b] = sockets();
    let (bytes, _other) = (raw::<Vec<u8>, Vec<u8>>(a), b);
    assert!(matches!(bytes.send(vec![]), Err(SendError::Unfit(back, Unfit::Empty)) if back.is_empty()));
    let sent = bytes.send(vec![0; LIMIT + 1]);
    assert!(matches!(sent, Err(SendError::Unfit(back, Unfit::TooLong { limit: LIMIT })) if back.len() == LIMIT + 1));
    let Err(SendError::Unfit((), Unfit::TooLong { limit: LIMIT })) = bytes.sender().loan(LIMIT + 1) else {
        panic!("too long")
    };
    // A socket says so of what is more than its buffer holds.
    let sent = bytes.send(vec![0; 100_000]);
    assert!(matches!(sent, Err(SendError::Unfit(back, Unfit::TooLong { limit: 99_999 })) if back.len() == 100_000));
    bytes.send(vec![1]).expect("another one can");
}

#[test]
fn capabilities_stay_here() {
    let (a, b) = peers::<u8, ()>();
    let (_near, far) = pair::<u8, u8>();
    let error = a.send_with(1, vec![Capability::from(far)]).expect_err("bytes only");
    assert!(matches!(error.error, SendError::Unfit(1, Unfit::Capability(Refusal::Bytes))), "{error}");
    let _far: Peer<u8, u8> =
        error.capabilities.into_iter().next().expect("it came back").claim().expect("its own types");
    a.send_with(2, vec![]).expect("nothing goes with it");
    let (message, capabilities) = b.recv_with().expect("a message");
    assert_eq!((message, capabilities.len()), (2, 0));
}

#[test]
fn an_end_is_handed_to_a_thread_and_to_no_process() {
    let (a, b) = peers::<u8, ()>();
    let (boss, _worker) = crate::process::pair::<(), ()>().expect("a pair");
    let refused = boss.send_with((), vec![Capability::from(a)]).expect_err("not to a process");
    assert!(matches!(refused.error, SendError::Unfit((), Unfit::Capability(Refusal::File))), "{refused}");
    let (boss, worker) = pair::<(), ()>();
    boss.send_with((), refused.capabilities).expect("to a thread");
    let (_, mut capabilities) = worker.recv_with().expect("a message");
    let a: Peer<u8, ()> = capabilities.remove(0).claim().expect("its own types");
    a.send(7).expect("b is there");
    assert_eq!(b.recv(), Ok(7));
}

#[test]
fn a_message_is_written_and_read_in_place() {
    let (a, b) = peers::<Vec<u8>, ()>();
    let mut loan = a.sender().loan(5).expect("room");
    loan.write_all(b"hello").expect("room");
    loan.send().expect("b is there");
    let mut text = String::new();
    b.receiver().recv_in_place().expect("a message").read_to_string(&mut text).expect("text");
    assert_eq!(text, "hello");
}

#[test]
fn four_threads_share_each_end() {
    const EACH: u32 = 200;
    let (a, b) = peers::<u32, ()>();
    let (a, b) = (&a, &b);
    let mut numbers: Vec<u32> = scope(|threads| {
        (0..4).for_each(|sender| {
            threads.spawn(move || (0..EACH).for_each(|i| a.send(sender * EACH + i).expect("b is there")));
        });
        let receive = || (0..EACH).map(|_| b.recv_timeout(LONG).expect("a message")).collect::<Vec<_>>();
        let receivers: Vec<_> = (0..4).map(|_| threads.spawn(receive)).collect();
        receivers.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..4 * EACH).collect::<Vec<_>>());
}

#[test]
fn only_files_of_a_mount_are_opened() {
    let refused = |path: &str| receiver::<u8>(path).expect_err("refused").kind();
    assert_eq!(refused("/proc/self/status"), io::ErrorKind::InvalidInput);
    assert_eq!(refused("/nowhere/jobs"), io::ErrorKind::NotFound);
    assert_eq!(refused("/nowhere/jobs:line"), io::ErrorKind::InvalidInput);
    assert!(fs::metadata("/nowhere").is_err());
}
