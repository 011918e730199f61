//! Waiting in tasks instead of threads.

use super::*;

pub fn a_cancelled_receive_has_taken_nothing(tier: Tier) {
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

pub fn a_cancelled_send_has_sent_nothing(tier: Tier) {
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

pub fn a_cancelled_reservation_holds_nothing(tier: Tier) {
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

pub fn a_task_is_woken_when_there_is_room(tier: Tier) {
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

pub fn a_task_is_woken_when_the_other_end_goes(tier: Tier) {
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
