//! What the far side says ahead, in an order that threads seldom bring about.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::io::{Read as _, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::Channel;
use crate::error::Reason;
use crate::remote::carrier::Patience;
use crate::remote::connection::{Connection, Read};
use crate::remote::hello::Identity;
use crate::remote::socket::Socket;
use crate::remote::{Options, Origin};
use crate::slot::{Attempt, Role, Stop};

/// 20,000 bytes, which make the message long.
static LONG: [u8; 20_000] = [1; 20_000];
/// What announces them, and the head of the frame in which they are.
const ANNOUNCED: [u8; 19] = [14, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0x20, 0x4e, 0, 0, 0x25, 0x4e, 0, 0, 9];
/// A vector of one byte.
const SHORT: [u8; 12] = [12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2];
/// The far sender leaves.
const LEFT: [u8; 15] = [15, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
const TAKEN: [u8; 9] = [9, 0, 0, 0, 3, 0, 0, 0, 0];

/// A channel, and a stream on which the test plays the far side.
fn scripted() -> (Arc<Channel>, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    let carrier = Arc::new(Socket::new(near.into()).unwrap());
    let identity = Identity { session: [7; 16], epoch: 7 };
    let channel = Connection::begin(carrier, Options::new(), Origin::Accepted, identity, None).unwrap();
    (channel, far)
}

/// Reads until nothing is left, as a thread does that waits for a message of this channel.
fn read(channel: &Channel) {
    while channel.connection().read(Patience::None, Some(channel), || false) == Read::Something {}
}

/// Whether the far side has heard that a message was taken since it looked last.
fn hears_taken(far: &mut UnixStream) -> bool {
    far.set_nonblocking(true).unwrap();
    let mut said = Vec::new();
    let _ = far.read_to_end(&mut said);
    far.set_nonblocking(false).unwrap();
    said.windows(TAKEN.len()).any(|frame| frame == TAKEN)
}

fn take(channel: &Arc<Channel>) -> Result<Vec<u8>, Stop> {
    match channel.end(Role::Receiver).attempt() {
        Attempt::Turn(turn) => Ok(channel.take::<Vec<u8>>(turn).unwrap().0),
        Attempt::Stopped(stop) => Err(stop),
        Attempt::Wait(_) => panic!("there is nothing"),
    }
}

#[test]
fn what_comes_before_the_promised_message_was_taken_waits_and_so_does_the_end() {
    let (channel, mut far) = scripted();
    far.write_all(&[&ANNOUNCED[..], &LONG[..10_000]].concat()).unwrap();
    read(&channel);
    assert!(hears_taken(&mut far), "ahead");
    far.write_all(&[&LONG[10_000..], &SHORT, &LEFT].concat()).unwrap();
    while !channel.has_left().has(Role::Sender) {
        assert_eq!(channel.connection().read(Patience::Endless, None, || false), Read::Something);
    }
    assert!(channel.is_owed());
    assert!(take(&channel) == Ok(LONG.to_vec()));
    assert!(!channel.is_owed() && !hears_taken(&mut far), "once is enough");
    assert_eq!(take(&channel), Ok(vec![2]));
    assert!(hears_taken(&mut far), "this one was not promised");
    assert_eq!(take(&channel), Err(Stop::Closed(Reason::Closed)));
}

#[test]
fn what_waits_for_a_receiver_that_goes_is_dropped_with_it() {
    let (channel, mut far) = scripted();
    far.write_all(&[&ANNOUNCED[..], &LONG[..10_000]].concat()).unwrap();
    read(&channel);
    assert!(hears_taken(&mut far));
    far.write_all(&[&LONG[10_000..], &SHORT].concat()).unwrap();
    while !channel.far().promise.is_waiting() {
        assert_eq!(channel.connection().read(Patience::Endless, None, || false), Read::Something);
    }
    channel.close(Role::Receiver, Reason::Closed);
    assert!(!channel.far().promise.is_waiting());
}

#[test]
fn nothing_is_promised_to_another_channel() {
    let (channel, mut far) = scripted();
    let other = Channel::new(Arc::clone(channel.connection()), 2);
    far.write_all(&[&ANNOUNCED[..], &LONG[..10_000]].concat()).unwrap();
    read(&other);
    assert!(!hears_taken(&mut far));
    read(&channel);
    assert!(hears_taken(&mut far));
}

#[test]
fn nothing_is_promised_while_much_is_missing() {
    let (channel, mut far) = scripted();
    let len = 1_000_000_u32;
    let bytes = [&ANNOUNCED[..10], &len.to_le_bytes(), &(len + 5).to_le_bytes(), &[9]].concat();
    far.write_all(&bytes).unwrap();
    let mut sent = 0;
    while sent < len {
        read(&channel);
        assert_eq!(hears_taken(&mut far), sent == 480_000, "after {sent} bytes");
        far.write_all(&LONG).unwrap();
        sent += LONG.len() as u32;
    }
}
