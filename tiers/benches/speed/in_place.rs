//! Ours, where the bytes of a message are written and read in the slot itself.
#![forbid(unsafe_code)]

use fs9_tiers::process::{self, Child};

use super::large::{ANSWER, Bytes, LARGE as SIZE, MORE};
use super::measure::{Figures, repeat};
use super::ours::start;
use super::subject::Subject;

/// 1 MiB one way, from one buffer and into one, as the socket.
pub const COPIES: &str = "fs9, 1 MiB, copied in and out";
/// 64 bytes, there and back.
pub const SMALL: &str = "fs9, 64 B in place, round trip";
/// 1 MiB, there and back.
pub const LARGE: &str = "fs9, 1 MiB in place, round trip";

/// One way from one buffer and into one, as the socket; and round trips in place.
pub const SUBJECTS: [Subject; 3] = [
    Subject::processes(COPIES, copies, |_| take_copies()),
    Subject::processes(SMALL, || in_place(1, 64), |_| return_in_place()),
    Subject::processes(LARGE, || in_place(2, SIZE), |_| return_in_place()),
];

fn copies() -> Figures {
    let (peer, mut child): (Bytes, Child) = start(&SUBJECTS[0]);
    let mut message = vec![MORE; SIZE];
    let send = |message: &[u8]| {
        let mut loan = peer.sender().loan(SIZE).unwrap();
        loan.write_at(0, message).unwrap();
        loan.send().unwrap();
    };
    let figures = repeat(
        |number| {
            message[SIZE - 1] = number as u8;
            send(&message);
        },
        || {
            send(&vec![ANSWER; SIZE]);
            peer.recv().unwrap();
        },
    );
    drop(peer);
    child.wait().unwrap();
    figures
}

fn take_copies() {
    let (peer, mut buffer): (Bytes, _) = (process::inherited().unwrap(), vec![0; SIZE]);
    while let Ok(message) = peer.receiver().recv_in_place() {
        message.read_at(0, &mut buffer).unwrap();
        drop(message);
        if buffer[0] == ANSWER {
            peer.send(vec![ANSWER]).unwrap();
        }
    }
}

/// Round trips of messages of which only the first and the last byte are touched.
fn in_place(subject: usize, len: usize) -> Figures {
    let (peer, mut child): (Bytes, Child) = start(&SUBJECTS[subject]);
    let figures = repeat(
        |number| {
            send_in_place(&peer, len, number as u8);
            assert_eq!(take_in_place(&peer), Some((len, number as u8)));
        },
        || (),
    );
    drop(peer);
    child.wait().unwrap();
    figures
}

fn send_in_place(peer: &Bytes, len: usize, mark: u8) {
    let mut loan = peer.sender().loan(len).unwrap();
    loan.write_at(0, &[mark]).unwrap();
    loan.write_at(len - 1, &[mark]).unwrap();
    loan.send().unwrap();
}

/// How long the next message is, and how it is marked at both ends.
fn take_in_place(peer: &Bytes) -> Option<(usize, u8)> {
    let message = peer.receiver().recv_in_place().ok()?;
    let (mut first, mut last) = ([0], [0]);
    message.read_at(0, &mut first).unwrap();
    message.read_at(message.len() - 1, &mut last).unwrap();
    assert_eq!(first, last);
    Some((message.len(), last[0]))
}

fn return_in_place() {
    let peer: Bytes = process::inherited().unwrap();
    while let Some((len, mark)) = take_in_place(&peer) {
        send_in_place(&peer, len, mark);
    }
}
