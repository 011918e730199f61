//! By hand with wakers that count, and on threads that each run a task: nothing is lost and nothing is left behind.

use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;

use super::*;
use crate::error::Reason;
use crate::peer::{Peer, pair};
use crate::process;
use crate::timer::{after, every};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// What a task's waker went through.
#[derive(Default)]
struct Task {
    wakes: AtomicU32,
    thread: Mutex<Option<String>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.thread.lock().expect("nobody panicked") = thread::current().name().map(str::to_owned);
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Task {
    fn new() -> Arc<Task> {
        Arc::default()
    }

    fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> u32 {
        self.wakes.load(Ordering::SeqCst)
    }

    /// How many wakers of this task are kept anywhere.
    fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }

    /// Waits until the task was woken; how often it is between processes says nothing.
    fn until_woken(&self) {
        let deadline = Instant::now() + LONG;
        while self.wakes() == 0 {
            assert!(Instant::now() < deadline, "it is not woken");
            thread::yield_now();
        }
    }
}

type Ends = (Peer<u32, u32>, Peer<u32, u32>);

fn shared() -> Ends {
    process::pair().expect("a pair")
}

/// One of each tier.
fn both() -> [Ends; 2] {
    [pair(), shared()]
}

/// What `run` returns, unless it hangs.
fn finishes<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(run()));
    result.recv_timeout(LONG).expect("a wake-up was lost, or it panicked")
}

#[test]
fn a_receive_that_is_dropped_leaves_nothing() {
    for (a, b) in both() {
        let task = Task::new();
        let mut receive = b.recv_async();
        assert!(task.poll(&mut receive).is_pending());
        assert!(task.poll(&mut receive).is_pending());
        assert_eq!(task.wakers(), 1, "however often it was polled");
        drop(receive);
        assert_eq!(task.wakers(), 0);
        a.send(1).expect("b is there");
        assert_eq!((b.recv(), task.wakes()), (Ok(1), 0));
    }
}

#[test]
fn a_reserve_or_send_that_is_dropped_holds_nothing() {
    for (a, b) in both() {
        a.send(1).expect("room");
        let task = Task::new();
        let (mut reserve, mut send) = (a.reserve_async(), a.send_async(2));
        assert!(task.poll(&mut reserve).is_pending() && task.poll(&mut send).is_pending());
        drop((reserve, send));
        assert_eq!(task.wakers(), 0);
        assert_eq!(b.recv(), Ok(1));
        drop(a.reserve_async());
        assert!(task.poll(&mut a.reserve_async()).is_ready(), "and its permit is dropped");
        a.try_send(3).expect("room");
        assert_eq!((b.recv(), task.wakes()), (Ok(3), 0));
    }
}

#[test]
fn a_send_is_ready_when_the_message_before_was_taken() {
    for (a, b) in both() {
        let task = Task::new();
        assert!(matches!(task.poll(&mut a.send_async(1)), Poll::Ready(Ok(()))));
        let mut send = a.send_async(2);
        assert!(task.poll(&mut send).is_pending());
        assert_eq!((task.wakes(), b.recv()), (0, Ok(1)));
        task.until_woken();
        assert!(matches!(task.poll(&mut send), Poll::Ready(Ok(()))));
        assert_eq!((b.recv(), task.wakers()), (Ok(2), 0));
    }
}

#[test]
fn a_message_that_comes_during_the_poll_is_not_missed() {
    for place in 0..4 {
        for (a, b) in both() {
            let (task, mut waiting, mut step) = (Task::new(), Waiting::default(), 0);
            let Near::Gate(gate) = b.receiver().rx.near() else { panic!("no timer") };
            // Before and behind the first attempt, and the second.
            let mut come = || {
                if step == place {
                    a.send(1).expect("room");
                }
                step += 1;
            };
            let attempt = |hope: Result<(), Stop>| {
                come();
                let delivery = b.receiver().delivery(hope.and_then(|()| gate.attempt()));
                come();
                delivery
            };
            let waker = Waker::from(Arc::clone(&task));
            let polled = waiting.poll(gate, &Context::from_waker(&waker), attempt);
            drop(waker);
            if place == 3 {
                assert_eq!(polled, Poll::Pending);
                task.until_woken();
                assert_eq!(b.recv(), Ok(1));
            } else {
                assert_eq!(polled, Poll::Ready(Ok(1)));
                assert_eq!(task.wakers(), 0, "who was served waits no more");
            }
            waiting.leave(gate);
        }
    }
}

#[test]
fn all_tasks_of_a_receiver_are_woken_but_those_that_went() {
    for (a, b) in both() {
        let tasks: Vec<_> = (0..8).map(|_| Task::new()).collect();
        let mut receives: Vec<_> = tasks.iter().map(|_| b.recv_async()).collect();
        for (task, receive) in tasks.iter().zip(&mut receives) {
            assert!(task.poll(receive).is_pending());
        }
        drop(receives.remove(3));
        a.send(1).expect("b is there");
        let rest = || tasks.iter().enumerate().filter(|(place, _)| *place != 3).map(|(_, task)| task);
        rest().for_each(|task| task.until_woken());
        assert_eq!(tasks[3].wakes(), 0);
        let polled: Vec<_> = rest().zip(&mut receives).map(|(task, receive)| task.poll(receive)).collect();
        assert_eq!(polled[0], Poll::Ready(Ok(1)));
        assert!(polled[1..].iter().all(Poll::is_pending));
    }
}

#[test]
fn a_task_that_goes_when_woken_takes_nobodys_wake_up() {
    for (a, b) in both() {
        let (first, second) = (Task::new(), Task::new());
        let (mut gone, mut stays) = (b.recv_async(), b.recv_async());
        assert!(first.poll(&mut gone).is_pending() && second.poll(&mut stays).is_pending());
        a.send(1).expect("b is there");
        first.until_woken();
        drop(gone);
        second.until_woken();
        assert_eq!(second.poll(&mut stays), Poll::Ready(Ok(1)));
    }
}

#[test]
fn a_permit_that_is_dropped_wakes_who_wants_it() {
    for (a, _b) in both() {
        let (first, second) = (Task::new(), Task::new());
        let Poll::Ready(Ok(permit)) = first.poll(&mut a.reserve_async()) else { panic!("the slot is free") };
        let mut send = a.send_async(2);
        assert!(second.poll(&mut send).is_pending());
        let mut gone = a.send_async(3);
        assert!(first.poll(&mut gone).is_pending());
        drop(gone);
        drop(permit);
        assert_eq!((first.wakes(), second.wakes()), (0, 1));
        assert!(second.poll(&mut send).is_ready());
    }
}

#[test]
fn only_the_last_waker_is_called() {
    for (a, b) in both() {
        let (before, now) = (Task::new(), Task::new());
        let mut receive = b.recv_async();
        assert!(before.poll(&mut receive).is_pending() && now.poll(&mut receive).is_pending());
        assert_eq!(before.wakers(), 0);
        a.send(1).expect("b is there");
        now.until_woken();
        assert_eq!((before.wakes(), now.poll(&mut receive)), (0, Poll::Ready(Ok(1))));
    }
}

#[test]
fn the_end_of_the_other_wakes() {
    for (a, b) in both() {
        b.send(1).expect("room");
        let (receiving, sending) = (Task::new(), Task::new());
        let (mut receive, mut send) = (b.recv_async(), b.send_async(2));
        assert!(receiving.poll(&mut receive).is_pending() && sending.poll(&mut send).is_pending());
        drop(a);
        receiving.until_woken();
        sending.until_woken();
        assert_eq!(receiving.poll(&mut receive), Poll::Ready(Err(RecvError::Disconnected(Reason::Closed))));
        let sent = sending.poll(&mut send);
        assert!(matches!(sent, Poll::Ready(Err(SendError::Disconnected(2, Reason::Closed)))), "{sent:?}");
    }
}

#[test]
fn the_death_of_a_child_wakes() {
    let mut command = Command::new("sleep");
    command.arg("1000");
    let (peer, child) = process::spawn::<u32, u32>(command).expect("a child");
    peer.send(1).expect("room");
    let (receiving, sending) = (Task::new(), Task::new());
    let (mut receive, mut reserve) = (peer.recv_async(), peer.reserve_async());
    assert!(receiving.poll(&mut receive).is_pending() && sending.poll(&mut reserve).is_pending());
    child.kill().expect("a child of ours");
    receiving.until_woken();
    sending.until_woken();
    assert_eq!(receiving.poll(&mut receive), Poll::Ready(Err(RecvError::Disconnected(Reason::Killed(9)))));
    let reserved = sending.poll(&mut reserve);
    assert!(matches!(reserved, Poll::Ready(Err(SendError::Disconnected((), Reason::Killed(9))))), "{reserved:?}");
}

#[test]
fn between_processes_the_watcher_wakes() {
    let (a, b) = shared();
    let task = Task::new();
    let mut receive = b.recv_async();
    assert!(task.poll(&mut receive).is_pending());
    a.send(1).expect("b is there");
    task.until_woken();
    assert_eq!(task.thread.lock().expect("nobody panicked").as_deref(), Some("fs9-watch"));
    assert_eq!(task.poll(&mut receive), Poll::Ready(Ok(1)));
}

#[test]
fn two_tasks_answer_each_other() {
    for (a, b) in both() {
        let sum = finishes(move || {
            let answers = thread::spawn(move || {
                block_on(async {
                    while let Ok(number) = b.recv_async().await {
                        b.send_async(number + 1).await.expect("a is there");
                    }
                });
            });
            let sum = block_on(async {
                let mut sum = 0;
                for number in 0..1000 {
                    a.send_async(number).await.expect("b is there");
                    sum += a.recv_async().await.expect("an answer");
                }
                sum
            });
            drop(a);
            answers.join().expect("it ends");
            sum
        });
        assert_eq!(sum, (1..=1000).sum());
    }
}

/// Tasks that wait, tasks that come and go, and threads that sleep, on both sides of one direction.
#[test]
fn every_message_comes_to_one_of_many() {
    const EACH: u32 = 500;
    for (a, b) in both() {
        let sum = finishes(move || {
            let ((sender, _back), (_there, receiver)) = (a.split(), b.split());
            thread::scope(|threads| {
                let receivers = [
                    threads.spawn(|| block_on(async { receive_all(&receiver).await })),
                    threads.spawn(|| block_on(async { receive_all(&receiver).await })),
                    threads.spawn(|| receiver.iter().sum::<u32>()),
                    threads.spawn(|| receive_impatiently(&receiver)),
                ];
                thread::scope(|threads| {
                    for _ in 0..2 {
                        threads.spawn(|| block_on(send_all(&sender, EACH)));
                    }
                    threads.spawn(|| (1..=EACH).for_each(|number| sender.send(number).expect("room")));
                    threads.spawn(|| (1..=EACH).for_each(|number| send_impatiently(&sender, number)));
                });
                drop(sender);
                receivers.map(|receiver| receiver.join().expect("it ends")).iter().sum::<u32>()
            })
        });
        assert_eq!(sum, 4 * (1..=EACH).sum::<u32>());
    }
}

async fn send_all(sender: &Sender<u32>, each: u32) {
    for number in 1..=each {
        sender.send_async(number).await.expect("room");
    }
}

async fn receive_all(receiver: &Receiver<u32>) -> u32 {
    let mut sum = 0;
    while let Ok(number) = receiver.recv_async().await {
        sum += number;
    }
    sum
}

/// Polls each future once or twice.
fn receive_impatiently(receiver: &Receiver<u32>) -> u32 {
    let (task, mut sum) = (Task::new(), 0);
    for turn in 0.. {
        let mut receive = receiver.recv_async();
        for _ in 0..=turn % 2 {
            match task.poll(&mut receive) {
                Poll::Ready(Ok(number)) => sum += number,
                Poll::Ready(Err(_)) => return sum,
                Poll::Pending => thread::yield_now(),
            }
        }
    }
    sum
}

/// Polls each future once, and drops the permit of every other that is ready.
fn send_impatiently(sender: &Sender<u32>, number: u32) {
    let task = Task::new();
    for turn in 0.. {
        match task.poll(&mut sender.reserve_async()) {
            Poll::Ready(Ok(permit)) if turn % 2 == 1 => return permit.send(number).expect("it fits"),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Ready(Ok(_)) | Poll::Pending => thread::yield_now(),
        }
    }
}

#[test]
fn a_timer_that_is_not_waited_for_leaves_no_alarm() {
    let (ticks, task) = (every(Duration::from_secs(3600)), Task::new());
    for _ in 0..10_000 {
        assert!(task.poll(&mut ticks.recv_async()).is_pending());
    }
    assert_eq!(task.wakers(), 0);
    let (soon, mut later) = (after(Duration::from_millis(50)), ticks.recv_async());
    assert!(task.poll(&mut later).is_pending() && task.poll(&mut later).is_pending());
    assert_eq!(task.wakers(), 1, "however often it was polled");
    drop(soon.recv_async());
    assert!(task.poll(&mut soon.recv_async()).is_pending());
    thread::sleep(Duration::from_millis(80));
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_timer_wakes_all_its_tasks() {
    const DELAY: Duration = Duration::from_millis(50);
    let (timer, tasks) = (after(DELAY), [Task::new(), Task::new()]);
    let mut receives = [timer.recv_async(), timer.recv_async()];
    for (task, receive) in tasks.iter().zip(&mut receives) {
        assert!(task.poll(receive).is_pending());
    }
    tasks.iter().for_each(|task| task.until_woken());
    assert_eq!(tasks[0].poll(&mut receives[0]), Poll::Ready(Ok(DELAY)));
    assert_eq!(tasks[1].poll(&mut receives[1]), Poll::Ready(Err(RecvError::Disconnected(Reason::Closed))));
    assert_eq!(tasks.each_ref().map(Task::wakers), [0, 0]);
}

#[test]
fn ticks_come_to_a_task() {
    let due = finishes(|| {
        let ticks = every(Duration::from_millis(1));
        block_on(async {
            let mut receive = pin!(ticks.recv_async());
            let first = receive.as_mut().await;
            // A future that was ready receives again.
            (first, receive.await, ticks.recv_async().await)
        })
    });
    let (Ok(first), Ok(second), Ok(third)) = due else { panic!("{due:?}") };
    assert!(first < second && second < third);
}

/// Stops whoever wakes it until the gate opens.
struct Gate(Mutex<mpsc::Sender<()>>, Mutex<mpsc::Receiver<()>>);

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        let _ = self.0.lock().expect("nobody panicked").send(());
        let _ = self.1.lock().expect("nobody panicked").recv_timeout(LONG);
    }
}

#[test]
fn a_bell_that_is_read_by_a_receive_wakes_all_the_same() {
    let ((a, b), (_kept, given)) = (shared(), shared());
    a.send(1).expect("room");
    let task = Task::new();
    let mut send = a.send_async(2);
    assert!(task.poll(&mut send).is_pending());
    // The watcher is busy with somebody's waker.
    let ((stopped, until_stopped), (open, opened)) = (mpsc::channel(), mpsc::channel());
    let (timer, gate) = (after(Duration::from_millis(1)), Arc::new(Gate(Mutex::new(stopped), Mutex::new(opened))));
    let mut busy = timer.recv_async();
    assert!(Pin::new(&mut busy).poll(&mut Context::from_waker(&Waker::from(gate))).is_pending());
    until_stopped.recv_timeout(LONG).expect("the watcher calls it");
    // Here the bell rings, and is read with what goes beside the message.
    b.send_with(3, vec![given.into()]).expect("a is there");
    assert_eq!(b.recv(), Ok(1));
    assert_eq!(a.recv_with().map(|(message, _)| message), Ok(3));
    open.send(()).expect("it waits");
    task.until_woken();
    assert!(task.poll(&mut send).is_ready());
}

/// Drops an alarm of its own when it is dropped.
#[expect(dead_code, reason = "it is only held")]
struct Nested(Mutex<Option<RecvFuture<'static, Duration>>>);

impl Wake for Nested {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_may_drop_timers() {
    finishes(|| {
        let timer: &'static Receiver<Duration> = Box::leak(Box::new(after(Duration::from_secs(3600))));
        let task = Task::new();
        let mut inner = timer.recv_async();
        assert!(task.poll(&mut inner).is_pending());
        let mut outer = timer.recv_async();
        let nested = Waker::from(Arc::new(Nested(Mutex::new(Some(inner)))));
        assert!(Pin::new(&mut outer).poll(&mut Context::from_waker(&nested)).is_pending());
        drop(nested);
        drop(outer);
    });
}
