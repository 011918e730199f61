//! Waiting for several things.

use super::*;

pub fn a_select_sees_a_message_and_takes_nothing(tier: Tier) {
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

pub fn a_select_sees_room_and_the_end(tier: Tier) {
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
