//! One set of scenarios over every tier: what holds of a channel holds whoever is at the other end.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use fs9_tests::tiers::{Duplex, HEAD, PATIENCE, Tier, is_waiting, length, note, number_of, tid, wait_blocked, within};
use fs9_tests::wait_for;
use fs9_tiers::error::{
    Reason, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unfit,
};
use fs9_tiers::{Capability, Peer, Refusal, Select, Why, pair, process};

/// A wait that is to end without anything having come.
const SHORT: Duration = Duration::from_millis(20);

macro_rules! suite {
    ([$($module:ident = $tier:ident,)*] $names:tt) => {
        $( suite!(@ $module $tier $names); )*
    };
    (@ $module:ident $tier:ident [$($name:ident,)*]) => {
        mod $module {
            $(
                #[test]
                fn $name() {
                    super::within(super::PATIENCE * 6, || super::$name(super::Tier::$tier));
                }
            )*
        }
    };
}

/// The tiers that have all that a channel has, and more of them.
macro_rules! channels {
    ([$($more:tt)*] $names:tt) => {
        suite! {
            [
                between_threads = Thread,
                process_pair = Pair,
                spawned = Spawned,
                connected = Connected,
                handed_over_and_back = Returned,
                handed_to_a_process = Given,
                over_tcp = Tcp,
                over_a_unix_socket = Unix,
                over_pipes = Pipes,
                over_records = Records,
                $($more)*
            ]
            $names
        }
    };
}

channels! {
    [at_a_file = File,]
    [
        ten_thousand_messages_come_in_order_in_both_directions,
        the_second_send_waits_until_the_first_was_received,
        a_blocked_send_goes_on_when_there_is_room,
        what_was_sent_before_a_drop_is_received_first,
        a_drop_wakes_who_waits_in_a_receive,
        a_drop_wakes_who_waits_in_a_send_and_gives_the_message_back,
        a_drop_here_wakes_who_waits_there,
        a_timeout_ends_a_wait_and_loses_nothing,
        a_deadline_that_has_passed_is_a_try,
        a_permit_holds_the_slot_until_it_is_used_or_dropped,
        a_permit_whose_other_end_has_gone_gives_the_message_back,
        a_cancelled_receive_has_taken_nothing,
        a_cancelled_send_has_sent_nothing,
        a_cancelled_reservation_holds_nothing,
        a_task_is_woken_when_there_is_room,
        a_task_is_woken_when_the_other_end_goes,
        iterators_end_with_the_channel_or_where_they_would_wait,
        the_reason_stays,
        every_message_of_four_senders_reaches_one_of_four_receivers_once,
        a_message_that_is_too_long_is_given_back,
        the_longest_message_crosses,
        a_panic_is_the_reason,
        a_select_sees_a_message_and_takes_nothing,
        a_select_sees_room_and_the_end,
        a_message_is_written_and_read_in_place,
    ]
}

/// What a file has not: halves that hang up alone, and anything beside a message.
mod ends {
    use super::*;

    channels! {
        []
        [
            the_halves_are_dropped_separately,
            the_far_halves_are_dropped_separately,
            an_end_is_handed_over_beside_a_message,
            an_end_is_received_beside_a_message,
            an_end_that_nobody_claims_closes,
            an_end_beside_a_message_that_is_received_without_it_closes,
            a_claim_of_another_type_gives_the_capability_back,
            what_cannot_be_handed_over_is_all_given_back,
            a_failed_hand_over_leaks_nothing_into_the_next_message,
            a_channel_does_not_carry_its_own_end,
        ]
    }
}

/// All that does not depend on hearing at once what has happened at the far end: whoever passes it on takes a while.
mod passed_on {
    use super::*;

    suite! {
        [over_tcp = Relayed,]
        [
            ten_thousand_messages_come_in_order_in_both_directions,
            a_blocked_send_goes_on_when_there_is_room,
            what_was_sent_before_a_drop_is_received_first,
            a_drop_wakes_who_waits_in_a_receive,
            a_drop_wakes_who_waits_in_a_send_and_gives_the_message_back,
            a_drop_here_wakes_who_waits_there,
            a_timeout_ends_a_wait_and_loses_nothing,
            a_cancelled_receive_has_taken_nothing,
            a_task_is_woken_when_there_is_room,
            a_task_is_woken_when_the_other_end_goes,
            every_message_of_four_senders_reaches_one_of_four_receivers_once,
            the_longest_message_crosses,
            a_panic_is_the_reason,
            an_end_is_handed_over_beside_a_message,
            an_end_is_received_beside_a_message,
            an_end_that_nobody_claims_closes,
            an_end_beside_a_message_that_is_received_without_it_closes,
            a_claim_of_another_type_gives_the_capability_back,
        ]
    }
}

/// Something that blocks, in a thread of its own; returns when it does.
fn blocked<'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    wait: impl FnOnce() -> R + Send + 'scope,
) -> ScopedJoinHandle<'scope, R> {
    let (tell, told) = channel();
    let thread = scope.spawn(move || {
        tell.send(tid()).unwrap();
        wait()
    });
    let tid = told.recv().unwrap();
    wait_for("it to block or to end", || (is_waiting(std::process::id(), tid) || thread.is_finished()).then_some(()));
    assert!(!thread.is_finished(), "it does not block");
    thread
}

/// A waker that counts its calls.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Calls {
    fn wait_until_called(&self) {
        wait_for("the waker to be called", || (self.0.load(Ordering::SeqCst) > 0).then_some(()));
    }
}

/// Polls once, with a waker of its own.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls until it is ready, each time once the waker was called.
fn complete<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let calls = Arc::new(Calls::default());
        match future.as_mut().poll(&mut Context::from_waker(&calls.clone().into())) {
            Poll::Ready(output) => return output,
            Poll::Pending => calls.wait_until_called(),
        }
    }
}

fn short(number: u64) -> Vec<u8> {
    note(number, HEAD)
}

fn received(end: &Duplex) -> u64 {
    number_of(&end.recv_timeout(PATIENCE).unwrap())
}

fn ten_thousand_messages_come_in_order_in_both_directions(tier: Tier) {
    const COUNT: u64 = 10_000;
    let (near, mut far) = tier.open();
    far.start(&format!("receive {COUNT}"));
    (0..COUNT).for_each(|number| near.send(note(number, length(number * 3 / 4 % 4))).unwrap());
    assert_eq!(far.answer(), format!("received {COUNT}"));
    far.start(&format!("stream {COUNT}"));
    (0..COUNT).for_each(|number| assert_eq!(received(&near), number));
    assert_eq!(far.answer(), format!("sent {COUNT}"));
}

fn the_second_send_waits_until_the_first_was_received(tier: Tier) {
    let (near, mut far) = tier.open();
    near.try_send(short(1)).unwrap();
    let Err(TrySendError::Full(back)) = near.try_send(short(2)) else { panic!("there is room for one only") };
    assert_eq!(number_of(&back), 2);
    assert_eq!(far.ask("recv"), "got 1");
    near.try_send(back).unwrap();
    assert_eq!(far.ask("recv"), "got 2");
}

fn a_blocked_send_goes_on_when_there_is_room(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    thread::scope(|scope| {
        let second = blocked(scope, || near.send(short(2)));
        assert_eq!(far.ask("recv"), "got 1");
        second.join().unwrap().unwrap();
    });
    assert_eq!(far.ask("recv"), "got 2");

    assert_eq!(far.ask(&format!("send 3 {HEAD}")), "sent");
    far.start_and_block(&format!("send 4 {HEAD}"));
    assert_eq!(received(&near), 3);
    assert_eq!(far.answer(), "sent");
    assert_eq!(received(&near), 4);
}

fn what_was_sent_before_a_drop_is_received_first(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("send 1 5000"), "sent");
    assert_eq!(far.ask("drop"), "dropped");
    assert_eq!(near.receiver().reason(), None, "there is a message still");
    assert_eq!(received(&near), 1);
    assert_eq!(near.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert_eq!(near.try_recv(), Err(TryRecvError::Disconnected(Reason::Closed)));
    assert_eq!(near.recv_timeout(SHORT), Err(RecvTimeoutError::Disconnected(Reason::Closed)));

    let (near, mut far) = tier.open();
    near.send(short(2)).unwrap();
    drop(near);
    assert_eq!(far.ask("recv"), "got 2");
    assert_eq!(far.ask("recv"), "gone: closed");
}

fn a_drop_wakes_who_waits_in_a_receive(tier: Tier) {
    let (near, mut far) = tier.open();
    thread::scope(|scope| {
        let waits = blocked(scope, || near.recv());
        assert_eq!(far.ask("drop"), "dropped");
        assert_eq!(waits.join().unwrap(), Err(RecvError::Disconnected(Reason::Closed)));
    });
}

fn a_drop_wakes_who_waits_in_a_send_and_gives_the_message_back(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    thread::scope(|scope| {
        let waits = blocked(scope, || near.send(short(2)));
        assert_eq!(far.ask("drop"), "dropped");
        let Err(SendError::Disconnected(back, Reason::Closed)) = waits.join().unwrap() else { panic!("it was sent") };
        assert_eq!(number_of(&back), 2);
    });
}

fn a_drop_here_wakes_who_waits_there(tier: Tier) {
    let (near, mut far) = tier.open();
    far.start_and_block("recv");
    drop(near);
    assert_eq!(far.answer(), "gone: closed");

    let (near, mut far) = tier.open();
    assert_eq!(far.ask("send 1 24"), "sent");
    far.start_and_block("send 2 24");
    drop(near);
    assert_eq!(far.answer(), "2 back, gone: closed");
}

fn a_timeout_ends_a_wait_and_loses_nothing(tier: Tier) {
    let (near, mut far) = tier.open();
    let begin = Instant::now();
    assert_eq!(near.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    near.send_timeout(short(1), SHORT).unwrap();
    let Err(SendTimeoutError::Timeout(back)) = near.send_timeout(short(2), SHORT) else { panic!("there is no room") };
    assert!(matches!(near.sender().reserve_timeout(SHORT), Err(SendTimeoutError::Timeout(()))));
    let Err(SendTimeoutError::Timeout(back)) = near.send_deadline(back, Instant::now() + SHORT) else {
        panic!("there is no room")
    };
    assert_eq!(near.recv_deadline(Instant::now() + SHORT), Err(RecvTimeoutError::Timeout));
    assert!(begin.elapsed() >= SHORT * 5, "each waits as long as it was told to");
    assert_eq!(far.ask("recv"), "got 1");
    near.send_timeout(back, PATIENCE).unwrap();
    assert_eq!(far.ask("recv"), "got 2");
    assert_eq!(far.ask("send 3 24"), "sent");
    assert_eq!(number_of(&near.recv_timeout(Duration::MAX).unwrap()), 3, "longer than any clock runs");
}

fn a_deadline_that_has_passed_is_a_try(tier: Tier) {
    let (near, mut far) = tier.open();
    let past = Instant::now();
    assert_eq!(near.recv_deadline(past), Err(RecvTimeoutError::Timeout));
    assert_eq!(near.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    near.send_deadline(short(1), past).unwrap();
    assert!(matches!(near.send_deadline(short(2), past), Err(SendTimeoutError::Timeout(_))));
    assert_eq!(far.ask("recv"), "got 1");
    drop(near.sender().reserve_deadline(past).unwrap());
    assert_eq!(far.ask("send 3 24"), "sent");
    assert_eq!(number_of(&near.recv_deadline(past).unwrap()), 3);
    assert_eq!(far.ask("drop"), "dropped");
    assert_eq!(near.recv_deadline(past), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
}

fn a_permit_holds_the_slot_until_it_is_used_or_dropped(tier: Tier) {
    let (near, mut far) = tier.open();
    let permit = near.reserve().unwrap();
    assert!(matches!(near.try_send(short(1)), Err(TrySendError::Full(_))));
    assert!(matches!(near.sender().try_reserve(), Err(TrySendError::Full(()))));
    drop(permit);

    let permit = near.sender().try_reserve().unwrap();
    thread::scope(|scope| {
        let other = blocked(scope, || near.send(short(2)));
        permit.send(short(1)).unwrap();
        assert_eq!(far.ask("recv"), "got 1");
        other.join().unwrap().unwrap();
        assert_eq!(far.ask("recv"), "got 2");

        let permit = near.reserve().unwrap();
        let other = blocked(scope, || near.send(short(3)));
        drop(permit);
        other.join().unwrap().unwrap();
    });
    assert_eq!(far.ask("recv"), "got 3");
}

fn a_permit_whose_other_end_has_gone_gives_the_message_back(tier: Tier) {
    let (near, mut far) = tier.open();
    let permit = near.reserve().unwrap();
    assert_eq!(far.ask("drop"), "dropped");
    let Err(SendError::Disconnected(back, Reason::Closed)) = permit.send(short(1)) else { panic!("nobody is there") };
    assert_eq!(number_of(&back), 1);
    assert!(matches!(near.send(short(2)), Err(SendError::Disconnected(_, Reason::Closed))));
}

fn a_cancelled_receive_has_taken_nothing(tier: Tier) {
    let (near, mut far) = tier.open();
    assert!(poll_once(near.recv_async()).is_pending());
    let calls = Arc::new(Calls::default());
    let mut cancelled = Box::pin(near.recv_async());
    assert!(cancelled.as_mut().poll(&mut Context::from_waker(&calls.clone().into())).is_pending());
    assert_eq!(far.ask("send 1 24"), "sent");
    calls.wait_until_called();
    drop(cancelled);
    assert_eq!(received(&near), 1, "the message is there after the task was woken and dropped");
    assert_eq!(far.ask("send 2 24"), "sent");
    assert_eq!(number_of(&complete(near.recv_async()).unwrap()), 2);
}

fn a_cancelled_send_has_sent_nothing(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    assert!(poll_once(near.send_async(short(2))).is_pending());
    assert_eq!(far.ask("recv"), "got 1");
    complete(near.send_async(short(3))).unwrap();
    assert_eq!(far.ask("recv"), "got 3");
    drop(near.send_async(short(4)));
    drop(near);
    assert_eq!(far.ask("recv"), "gone: closed");
}

fn a_cancelled_reservation_holds_nothing(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    assert!(poll_once(near.reserve_async()).is_pending());
    assert_eq!(far.ask("recv"), "got 1");
    match poll_once(near.reserve_async()) {
        Poll::Ready(permit) => drop(permit.unwrap()),
        Poll::Pending => panic!("there is room"),
    }
    complete(near.reserve_async()).unwrap().send(short(2)).unwrap();
    assert_eq!(far.ask("recv"), "got 2");
}

fn a_task_is_woken_when_there_is_room(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    let calls = Arc::new(Calls::default());
    let mut send = pin!(near.send_async(short(2)));
    let waker = calls.clone().into();
    assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(far.ask("recv"), "got 1");
    calls.wait_until_called();
    complete(send).unwrap();
    assert_eq!(far.ask("recv"), "got 2");
}

fn a_task_is_woken_when_the_other_end_goes(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    let (receives, sends) = (Arc::new(Calls::default()), Arc::new(Calls::default()));
    let (mut receive, mut send) = (pin!(near.recv_async()), pin!(near.send_async(short(2))));
    assert!(receive.as_mut().poll(&mut Context::from_waker(&receives.clone().into())).is_pending());
    assert!(send.as_mut().poll(&mut Context::from_waker(&sends.clone().into())).is_pending());
    assert_eq!(far.ask("drop"), "dropped");
    receives.wait_until_called();
    sends.wait_until_called();
    assert_eq!(complete(receive), Err(RecvError::Disconnected(Reason::Closed)));
    let Err(SendError::Disconnected(back, Reason::Closed)) = complete(send) else { panic!("it was sent") };
    assert_eq!(number_of(&back), 2);
}

fn iterators_end_with_the_channel_or_where_they_would_wait(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(near.try_iter().count(), 0);
    assert_eq!(far.ask("send 7 24"), "sent");
    assert_eq!(near.try_iter().map(|note| number_of(&note)).collect::<Vec<_>>(), [7]);
    far.start("stream 50");
    let mut numbers: Vec<u64> = near.iter().take(40).map(|note| number_of(&note)).collect();
    far.start("drop");
    let (sender, receiver) = near.split();
    numbers.extend((&receiver).into_iter().take(5).map(|note| number_of(&note)));
    numbers.extend(receiver.into_iter().map(|note| number_of(&note)));
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert_eq!(sender.reason(), Some(Reason::Closed));
}

fn the_halves_are_dropped_separately(tier: Tier) {
    let (near, mut far) = tier.open();
    let (sender, receiver) = near.split();
    drop(sender);
    assert_eq!(far.ask("recv"), "gone: closed");
    assert_eq!(far.ask("send 1 24"), "sent");
    assert_eq!(number_of(&receiver.recv().unwrap()), 1);
    drop(receiver);
    assert_eq!(far.ask("send 2 24"), "2 back, gone: closed");

    let (near, mut far) = tier.open();
    let (sender, receiver) = near.split();
    drop(receiver);
    assert_eq!(far.ask("send 3 24"), "3 back, gone: closed");
    sender.send(short(4)).unwrap();
    assert_eq!(far.ask("recv"), "got 4");
}

fn the_far_halves_are_dropped_separately(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("drop-sender"), "dropped");
    assert_eq!(near.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert_eq!((near.receiver().is_closed(), near.sender().is_closed()), (true, false));
    near.send(short(1)).unwrap();
    assert_eq!(far.ask("recv"), "got 1");
    assert_eq!(far.ask("drop"), "dropped");
    assert!(matches!(near.send(short(2)), Err(SendError::Disconnected(_, Reason::Closed))));

    let (near, mut far) = tier.open();
    assert_eq!(far.ask("drop-receiver"), "dropped");
    assert!(matches!(near.send(short(3)), Err(SendError::Disconnected(_, Reason::Closed))));
    assert_eq!((near.receiver().is_closed(), near.sender().is_closed()), (false, true));
    assert_eq!(far.ask("send 4 24"), "sent");
    assert_eq!(received(&near), 4);
}

fn the_reason_stays(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!((near.reason(), near.sender().reason(), near.is_closed()), (None, None, false));
    near.send(short(1)).unwrap();
    assert_eq!((near.sender().reason(), near.sender().is_closed()), (None, false), "full is not closed");
    assert_eq!(far.ask("drop"), "dropped");
    for _ in 0..3 {
        assert_eq!((near.reason(), near.is_closed()), (Some(Reason::Closed), true));
        assert_eq!((near.sender().reason(), near.sender().is_closed()), (Some(Reason::Closed), true));
        assert!(matches!(near.try_send(short(2)), Err(TrySendError::Disconnected(_, Reason::Closed))));
        assert_eq!(near.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    }
}

fn every_message_of_four_senders_reaches_one_of_four_receivers_once(tier: Tier) {
    const EACH: u64 = 500;
    let (near, mut far) = tier.open();
    far.start("echo");
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let near = &near;
        for sender in 0..4 {
            let send = move || (0..EACH).for_each(|i| near.send(note(sender * EACH + i, length(i % 4))).unwrap());
            scope.spawn(send);
        }
        let receive = move || (0..EACH).map(|_| received(near)).collect::<Vec<_>>();
        let receivers: Vec<_> = (0..4).map(|_| scope.spawn(receive)).collect();
        receivers.into_iter().flat_map(|receiver| receiver.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (0..4 * EACH).collect::<Vec<_>>());
    drop(near);
    assert_eq!(far.answer(), "gone: closed");
}

fn an_end_is_handed_over_beside_a_message(tier: Tier) {
    let (near, mut far) = tier.open();
    let (here, there) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
    here.send(short(10)).unwrap();
    far.start("take");
    near.send_with(note(1, 5_000), vec![Capability::from(there)]).unwrap();
    assert_eq!(far.answer(), "took 1");
    assert_eq!(far.ask("swap"), "swapped");
    assert_eq!(far.ask("recv"), "got 10", "sent before it was handed over");
    assert_eq!(far.ask("send 11 24"), "sent");
    assert_eq!(received(&here), 11);
    assert_eq!(far.ask("drop"), "dropped");
    assert_eq!(here.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert_eq!(far.ask("swap"), "swapped");
    near.send(short(2)).unwrap();
    assert_eq!(far.ask("recv"), "got 2", "the channel that carried it goes on");
}

fn an_end_is_received_beside_a_message(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    let (message, mut capabilities) = near.recv_with().unwrap();
    assert_eq!((number_of(&message), capabilities.len()), (1, 1));
    let end: Duplex = capabilities.remove(0).claim().unwrap();
    end.send(short(2)).unwrap();
    assert_eq!(far.ask("swap"), "swapped");
    assert_eq!(far.ask("recv"), "got 2");
    assert_eq!(far.ask("send 3 24"), "sent");
    assert_eq!(received(&end), 3);
    drop(end);
    assert_eq!(far.ask("recv"), "gone: closed");
}

fn an_end_that_nobody_claims_closes(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    let (_, capabilities) = near.recv_with().unwrap();
    assert_eq!(far.ask("swap"), "swapped");
    far.start_and_block("recv");
    drop(capabilities);
    assert_eq!(far.answer(), "gone: closed");
}

fn an_end_beside_a_message_that_is_received_without_it_closes(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    assert_eq!(far.ask("swap"), "swapped");
    far.start_and_block("recv");
    assert_eq!(received(&near), 1);
    assert_eq!(far.answer(), "gone: closed");
}

fn a_claim_of_another_type_gives_the_capability_back(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    let capability = near.recv_with().unwrap().1.remove(0);
    let error = capability.claim::<u8, Vec<u8>>().expect_err("it sends notes");
    assert!(matches!(error.why, Why::Kind { .. }), "{error}");
    let error = error.capability.claim::<Vec<u8>, u8>().expect_err("it receives notes");
    let end: Duplex = error.capability.claim().unwrap();
    end.send(short(2)).unwrap();
    assert_eq!(far.ask("swap"), "swapped");
    assert_eq!(far.ask("recv"), "got 2");
}

fn what_cannot_be_handed_over_is_all_given_back(tier: Tier) {
    let (near, mut far) = tier.open();
    let (good, good_far) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
    let (bad, bad_far) = pair::<Vec<u8>, Vec<u8>>();
    let sent = near.send_with(short(1), vec![Capability::from(good_far), Capability::from(bad_far)]);
    if tier.takes_threads() {
        sent.unwrap();
        assert_eq!(far.ask("take"), "took 1");
        return;
    }
    let error = sent.expect_err("a thread's end cannot leave the process");
    let SendError::Unfit(message, Unfit::Capability(Refusal::Thread)) = error.error else { panic!("{error}") };
    assert_eq!((number_of(&message), error.capabilities.len()), (1, 2));
    let ends = error.capabilities.into_iter().map(|capability| capability.claim::<Vec<u8>, Vec<u8>>().unwrap());
    for (end, other) in ends.zip([good, bad]) {
        other.send(short(2)).unwrap();
        assert_eq!(received(&end), 2);
        end.send(short(3)).unwrap();
        assert_eq!(received(&other), 3);
        drop(end);
        assert_eq!(other.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    }
}

fn a_failed_hand_over_leaks_nothing_into_the_next_message(tier: Tier) {
    let (near, mut far) = tier.open();
    let (other, end) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
    near.send(short(1)).unwrap();
    // A far end that is closed, where a thread takes anything.
    let mut given = vec![Capability::from(end)];
    if !tier.takes_threads() {
        given.push(Capability::from(pair::<u8, u8>().0));
        assert_eq!(far.ask("recv"), "got 1");
        given = near.send_with(short(2), given).expect_err("not a thread's end").capabilities;
        near.send(short(3)).unwrap();
        assert_eq!(far.ask("recv-with"), "got 3 with 0");
        given.truncate(1);
        near.send_with(short(4), given).unwrap();
        assert_eq!(far.ask("take"), "took 4");
        assert_eq!(far.ask("swap"), "swapped");
        other.send(short(5)).unwrap();
        assert_eq!(far.ask("recv"), "got 5");
    } else {
        assert_eq!(far.ask("drop"), "dropped");
        let back = near.send_with(short(2), given).expect_err("closed").capabilities;
        assert_eq!(back.len(), 1);
    }
}

fn a_channel_does_not_carry_its_own_end(tier: Tier) {
    // Both ends must be here for that.
    let (near, far): (Duplex, Duplex) = if tier.is_bytes() { process::pair().unwrap() } else { pair() };
    let sent = near.send_with(short(1), vec![Capability::from(far)]);
    match sent {
        // The two ends of a process tier are two links: the message waits in a channel that has become its own cargo,
        // and goes with it.
        Ok(()) => drop(near),
        Err(error) => {
            let SendError::Unfit(_, Unfit::Capability(Refusal::Itself)) = error.error else { panic!("{error}") };
            let far: Duplex = error.capabilities.into_iter().next().unwrap().claim().unwrap();
            near.send(short(2)).unwrap();
            assert_eq!(received(&far), 2);
        }
    }
}

fn a_message_that_is_too_long_is_given_back(tier: Tier) {
    let (near, mut far) = tier.open();
    let long = note(1, tier.longest() + 1);
    if !tier.is_bytes() {
        far.start("recv");
        near.send(long).unwrap();
        assert_eq!(far.answer(), "got 1");
        return;
    }
    let Err(SendError::Unfit(back, Unfit::TooLong { limit })) = near.send(long) else { panic!("too long") };
    assert_eq!((number_of(&back), limit), (1, tier.limit()));
    assert!(matches!(near.try_send(back), Err(TrySendError::Unfit(..))), "also where nobody waits");
    near.try_send(short(2)).unwrap();
    assert_eq!(far.ask("recv"), "got 2", "the slot was given back");
}

fn the_longest_message_crosses(tier: Tier) {
    let (near, mut far) = tier.open();
    far.start("echo");
    let longest = tier.longest();
    for len in [longest, HEAD, longest - 1, longest / 2, 4_096, 4_095, 65_536, longest] {
        near.send(note(len as u64, len)).unwrap();
        assert_eq!(received(&near), len as u64);
    }
}

fn a_panic_is_the_reason(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("send 1 24"), "sent");
    assert_eq!(far.ask("panic"), "panicked");
    assert_eq!(received(&near), 1);
    assert_eq!(near.recv(), Err(RecvError::Disconnected(tier.panic())));
    assert_eq!(near.send(short(2)).unwrap_err().reason(), Some(tier.panic()));

    let (near, mut far) = tier.open();
    far.start_and_block("recv");
    thread::spawn(move || {
        let _near: Peer<_, _> = near;
        std::panic::resume_unwind(Box::new("on purpose"));
    })
    .join()
    .expect_err("it panics");
    assert_eq!(far.answer(), format!("gone: {}", tier.panic()));
}

fn a_select_sees_a_message_and_takes_nothing(tier: Tier) {
    let ((near, mut far), (quiet, _other)) = (tier.open(), pair::<u8, u8>());
    let mut select = Select::new().unwrap();
    let (_never, message) = (select.recv(quiet.receiver()), select.recv(near.receiver()));
    assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
    for number in 1..=20 {
        far.start(&format!("send {number} {HEAD}"));
        for _ in 0..2 {
            assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(message), "it is still there");
        }
        assert_eq!(received(&near), number);
        assert_eq!(select.try_ready(), None);
        assert_eq!(far.answer(), "sent");
    }
    assert_eq!(far.ask(&format!("send 21 {HEAD}")), "sent");
    assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(message));
    drop(select);
    assert_eq!(received(&near), 21, "a select that is dropped loses nothing");
}

fn a_select_sees_room_and_the_end(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    let mut select = Select::new().unwrap();
    let (room, message) = (select.send(near.sender()), select.recv(near.receiver()));
    assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
    far.start("recv");
    assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(room));
    assert_eq!(far.answer(), "got 1");
    near.try_send(short(2)).unwrap();
    assert_eq!(select.try_ready(), None);
    far.start("drop");
    assert!(select.ready_timeout(PATIENCE).unwrap().is_some());
    assert_eq!(far.answer(), "dropped");
    let first = select.ready_timeout(PATIENCE).unwrap().unwrap();
    let second = select.ready_timeout(PATIENCE).unwrap().unwrap();
    assert!([(room, message), (message, room)].contains(&(first, second)), "each in turn: {first}, {second}");
    assert_eq!(near.try_recv(), Err(TryRecvError::Disconnected(Reason::Closed)));
    assert!(matches!(near.try_send(short(3)), Err(TrySendError::Disconnected(_, Reason::Closed))));
}

fn a_message_is_written_and_read_in_place(tier: Tier) {
    let (near, mut far) = tier.open();
    for (number, len) in [(1, HEAD), (2, 100_000)] {
        let mut loan = near.sender().loan(len).unwrap();
        loan.write_all(&note(number, len)).unwrap();
        loan.send().unwrap();
        assert_eq!(far.ask("recv"), format!("got {number}"));
        assert_eq!(far.ask(&format!("send {number} {len}")), "sent");
        let mut message = Vec::new();
        near.receiver().recv_in_place_timeout(PATIENCE).unwrap().read_to_end(&mut message).unwrap();
        assert_eq!((number_of(&message), message.len()), (number, len));
    }
}

#[test]
fn a_thread_that_was_spawned_with_an_end_panics_and_both_ways_tell() {
    let (end, join) = fs9_tiers::thread::spawn(|end: Peer<u8, u8>| {
        let _end = end;
        std::panic::resume_unwind(Box::new("on purpose"))
    });
    let end: Peer<u8, u8> = end;
    assert_eq!(end.recv(), Err(RecvError::Disconnected(Reason::Panicked)));
    assert_eq!(join.join(), Err::<(), _>(Reason::Panicked));
}

#[test]
fn a_thread_that_waits_is_seen_to_wait() {
    let (near, far) = pair::<u8, u8>();
    let (tell, told) = channel();
    let waits = thread::spawn(move || {
        tell.send(tid()).unwrap();
        far.recv()
    });
    wait_blocked(std::process::id(), told.recv().unwrap());
    near.send(7).unwrap();
    assert_eq!(waits.join().unwrap(), Ok(7));
}
