//! One set of scenarios over every tier: what holds of a channel holds whoever is at the other end.
#![allow(clippy::unwrap_used, reason = "a failed test")]

mod ending;
mod hand_over;
mod messages;
mod select;
mod tasks;

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

use ending::*;
use hand_over::*;
use messages::*;
use select::*;
use tasks::*;

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
