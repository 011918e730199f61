//! Streams end, sinks keep nothing, and neither leaves a waker behind.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pollster::block_on;

use super::*;
use crate::error::Unfit;
use crate::message::LIMIT;
use crate::peer::{Peer, pair};
use crate::process;
use crate::timer::{after, every};

/// A task whose wakers are counted.
struct Task;

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

impl Task {
    fn poll<R>(self: &Arc<Self>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let waker = Waker::from(Arc::clone(self));
        poll(&mut Context::from_waker(&waker))
    }

    fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

/// One direction of each tier; the other ends hang up at once.
fn both<T: Message>() -> [(Sender<T>, Receiver<T>); 2] {
    let half = |(a, b): (Peer<T, ()>, Peer<(), T>)| (a.split().0, b.split().1);
    [half(pair()), half(process::pair().expect("a pair"))]
}

fn ready<T: Message>(sink: &mut SendSink<T>, task: &Arc<Task>) -> Poll<Result<(), TrySendError<Option<T>>>> {
    task.poll(|context| Pin::new(sink).poll_ready(context))
}

/// Whether that is what a sink answers whose other end is gone, with the message if it had one.
fn is_closed(error: &TrySendError<Option<u32>>, message: Option<u32>) -> bool {
    matches!(error, TrySendError::Disconnected(back, Reason::Closed) if *back == message)
}

#[test]
fn a_stream_ends_with_the_other_end_and_stays_ended() {
    for (sender, receiver) in both::<u32>() {
        let sends = thread::spawn(move || (0..100).for_each(|number| sender.send(number).expect("room")));
        let mut stream = receiver.into_stream();
        let mut all = Vec::new();
        block_on(async {
            while let Some(number) = stream.next().await {
                assert!(!stream.is_terminated());
                all.push(number);
            }
        });
        assert_eq!(all, Vec::from_iter(0..100));
        assert!(stream.is_terminated());
        assert_eq!(stream.receiver().reason(), Some(Reason::Closed));
        assert_eq!(block_on(stream.next()), None);
        sends.join().expect("it ends");
    }
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing() {
    for (sender, receiver) in both::<u32>() {
        let task = Arc::new(Task);
        let mut stream = receiver.stream();
        assert!(task.poll(|context| stream.poll_next_unpin(context)).is_pending());
        assert_eq!(task.wakers(), 1);
        drop(stream);
        assert_eq!(task.wakers(), 0);
        sender.send(1).expect("the receiver is there");
        assert_eq!(block_on(receiver.stream().next()), Some(1));
        drop(receiver.into_stream());
        assert!(sender.is_closed());
    }
}

#[test]
fn a_timer_is_a_stream() {
    let delay = Duration::from_millis(1);
    let mut once = after(delay).into_stream();
    assert_eq!(block_on(once.next()), Some(delay));
    assert_eq!(block_on(once.next()), None);
    assert!(once.is_terminated());
    let due: Duration = block_on(every(delay).into_stream().take(3).fold(delay, async |_, due| due));
    assert!(due >= 3 * delay);

    let (task, mut ticks) = (Arc::new(Task), every(Duration::from_secs(3600)).into_stream());
    assert!(task.poll(|context| ticks.poll_next_unpin(context)).is_pending());
    assert_eq!(task.wakers(), 1);
    drop(ticks);
    assert_eq!(task.wakers(), 0);
}

#[test]
fn a_message_is_sent_when_start_send_returns() {
    for (sender, receiver) in both::<u32>() {
        let (task, mut sink) = (Arc::new(Task), sender.into_sink());
        assert!(matches!(ready(&mut sink, &task), Poll::Ready(Ok(()))));
        assert!(matches!(ready(&mut sink, &task), Poll::Ready(Ok(()))), "it holds nothing");
        sink.start_send_unpin(1).expect("room");
        assert!(matches!(task.poll(|context| sink.poll_flush_unpin(context)), Poll::Ready(Ok(()))));
        assert!(ready(&mut sink, &task).is_pending());
        assert!(matches!(sink.start_send_unpin(2), Err(TrySendError::Full(Some(2)))));
        assert_eq!(task.wakers(), 1);
        assert_eq!(receiver.recv(), Ok(1));
        assert!(matches!(ready(&mut sink, &task), Poll::Ready(Ok(()))));
        assert_eq!(task.wakers(), 0, "who was served waits no more");
        sink.start_send_unpin(3).expect("room");
        assert!(ready(&mut sink, &task).is_pending());
        drop(sink);
        assert_eq!(task.wakers(), 0);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [3]);
    }
}

#[test]
fn a_sink_that_is_closed_has_hung_up() {
    for (sender, receiver) in both::<u32>() {
        let (task, mut sink) = (Arc::new(Task), sender.into_sink());
        block_on(sink.send(1)).expect("room");
        assert!(ready(&mut sink, &task).is_pending());
        block_on(sink.close()).expect("it is there");
        assert_eq!(task.wakers(), 0);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [1], "what was sent, and then the end");
        block_on(sink.close()).expect("once more");
        assert!(matches!(ready(&mut sink, &task), Poll::Ready(Err(error)) if is_closed(&error, None)));
        assert!(is_closed(&sink.start_send_unpin(2).expect_err("closed"), Some(2)));
    }
}

#[test]
fn a_sink_gives_back_what_it_cannot_send() {
    for (sender, receiver) in both::<u32>() {
        let (task, mut sink) = (Arc::new(Task), sender.into_sink());
        assert!(ready(&mut sink, &task).is_ready());
        drop(receiver);
        assert!(is_closed(&sink.start_send_unpin(1).expect_err("gone"), Some(1)));
        assert!(is_closed(&block_on(sink.send(1)).expect_err("gone"), None));
    }
    let [_, (sender, receiver)] = both::<Vec<u8>>();
    let mut sink = sender.into_sink();
    let error = block_on(sink.send(vec![0; LIMIT + 1])).expect_err("too long");
    assert!(matches!(error, TrySendError::Unfit(Some(_), Unfit::TooLong { .. })), "{error:?}");
    block_on(sink.send(vec![1])).expect("another can be sent");
    assert_eq!(receiver.recv(), Ok(vec![1]));
}

#[test]
fn a_stream_flows_through_sinks() {
    let [(first, receiver), (sender, last)] = both::<u32>();
    let relay = thread::spawn(|| block_on(pin!(receiver.into_stream().map(Ok).forward(sender.into_sink()))));
    let sends = thread::spawn(|| {
        block_on(async {
            let mut sink = first.into_sink();
            for number in 0..1000 {
                sink.feed(number).await.expect("room");
            }
        });
    });
    let all: Vec<u32> = last.iter().collect();
    assert_eq!(all, Vec::from_iter(0..1000));
    relay.join().expect("it ends").expect("all was sent");
    sends.join().expect("it ends");
}
