//! How an end goes, and how the other one learns of it.

use super::*;

pub fn what_was_sent_before_a_drop_is_received_first(tier: Tier) {
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

pub fn a_drop_wakes_who_waits_in_a_receive(tier: Tier) {
    let (near, mut far) = tier.open();
    thread::scope(|scope| {
        let waits = blocked(scope, || near.recv());
        assert_eq!(far.ask("drop"), "dropped");
        assert_eq!(waits.join().unwrap(), Err(RecvError::Disconnected(Reason::Closed)));
    });
}

pub fn a_drop_wakes_who_waits_in_a_send_and_gives_the_message_back(tier: Tier) {
    let (near, mut far) = tier.open();
    near.send(short(1)).unwrap();
    thread::scope(|scope| {
        let waits = blocked(scope, || near.send(short(2)));
        assert_eq!(far.ask("drop"), "dropped");
        let Err(SendError::Disconnected(back, Reason::Closed)) = waits.join().unwrap() else { panic!("it was sent") };
        assert_eq!(number_of(&back), 2);
    });
}

pub fn a_drop_here_wakes_who_waits_there(tier: Tier) {
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

pub fn the_halves_are_dropped_separately(tier: Tier) {
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

pub fn the_far_halves_are_dropped_separately(tier: Tier) {
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

pub fn the_reason_stays(tier: Tier) {
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

pub fn a_panic_is_the_reason(tier: Tier) {
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
