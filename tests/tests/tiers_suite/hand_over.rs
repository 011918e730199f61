//! Ends that go to somebody else, beside a message.

use super::*;

pub fn an_end_is_handed_over_beside_a_message(tier: Tier) {
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

pub fn an_end_is_received_beside_a_message(tier: Tier) {
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

pub fn an_end_that_nobody_claims_closes(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    let (_, capabilities) = near.recv_with().unwrap();
    assert_eq!(far.ask("swap"), "swapped");
    far.start_and_block("recv");
    drop(capabilities);
    assert_eq!(far.answer(), "gone: closed");
}

pub fn an_end_beside_a_message_that_is_received_without_it_closes(tier: Tier) {
    let (near, mut far) = tier.open();
    assert_eq!(far.ask("give 1"), "gave");
    assert_eq!(far.ask("swap"), "swapped");
    far.start_and_block("recv");
    assert_eq!(received(&near), 1);
    assert_eq!(far.answer(), "gone: closed");
}

pub fn a_claim_of_another_type_gives_the_capability_back(tier: Tier) {
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

pub fn what_cannot_be_handed_over_is_all_given_back(tier: Tier) {
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

pub fn a_failed_hand_over_leaks_nothing_into_the_next_message(tier: Tier) {
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

pub fn a_channel_does_not_carry_its_own_end(tier: Tier) {
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
