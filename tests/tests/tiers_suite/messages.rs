//! Messages: their order, the slot, waiting for it.

use super::*;

pub fn ten_thousand_messages_come_in_order_in_both_directions(tier: Tier) {
    const COUNT: u64 = 10_000;
    let (near, mut far) = tier.open();
    far.start(&format!("receive {COUNT}"));
    (0..COUNT).for_each(|number| near.send(note(number, length(number * 3 / 4 % 4))).unwrap());
    assert_eq!(far.answer(), format!("received {COUNT}"));
    far.start(&format!("stream {COUNT}"));
    (0..COUNT).for_each(|number| assert_eq!(received(&near), number));
    assert_eq!(far.answer(), format!("sent {COUNT}"));
}

pub fn the_second_send_waits_until_the_first_was_received(tier: Tier) {
    let (near, mut far) = tier.open();
    near.try_send(short(1)).unwrap();
    let Err(TrySendError::Full(back)) = near.try_send(short(2)) else { panic!("there is room for one only") };
    assert_eq!(number_of(&back), 2);
    assert_eq!(far.ask("recv"), "got 1");
    near.try_send(back).unwrap();
    assert_eq!(far.ask("recv"), "got 2");
}

pub fn a_blocked_send_goes_on_when_there_is_room(tier: Tier) {
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

pub fn a_timeout_ends_a_wait_and_loses_nothing(tier: Tier) {
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

pub fn a_deadline_that_has_passed_is_a_try(tier: Tier) {
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

pub fn a_permit_holds_the_slot_until_it_is_used_or_dropped(tier: Tier) {
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

pub fn a_permit_whose_other_end_has_gone_gives_the_message_back(tier: Tier) {
    let (near, mut far) = tier.open();
    let permit = near.reserve().unwrap();
    assert_eq!(far.ask("drop"), "dropped");
    let Err(SendError::Disconnected(back, Reason::Closed)) = permit.send(short(1)) else { panic!("nobody is there") };
    assert_eq!(number_of(&back), 1);
    assert!(matches!(near.send(short(2)), Err(SendError::Disconnected(_, Reason::Closed))));
}

pub fn iterators_end_with_the_channel_or_where_they_would_wait(tier: Tier) {
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

pub fn every_message_of_four_senders_reaches_one_of_four_receivers_once(tier: Tier) {
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

pub fn a_message_that_is_too_long_is_given_back(tier: Tier) {
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

pub fn the_longest_message_crosses(tier: Tier) {
    let (near, mut far) = tier.open();
    far.start("echo");
    let longest = tier.longest();
    for len in [longest, HEAD, longest - 1, longest / 2, 4_096, 4_095, 65_536, longest] {
        near.send(note(len as u64, len)).unwrap();
        assert_eq!(received(&near), len as u64);
    }
}

pub fn a_message_is_written_and_read_in_place(tier: Tier) {
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
