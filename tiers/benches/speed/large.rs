//! Messages of 1 MiB between two processes, one after the other, one way: a stream socket.
//!
//! Every message is sent from one buffer and received into one. The first byte of the last one asks for an answer of
//! one byte, so that the time ends when all has arrived.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use fs9_tiers::Peer;

use super::measure::{Figures, repeat};
use super::subject::{Helper, Subject, standard_input};

/// 1 MiB.
pub const LARGE: usize = 1 << 20;
/// A first byte: go on.
pub const MORE: u8 = 0;
/// A first byte: answer.
pub const ANSWER: u8 = 1;

/// Ours, of messages of bytes.
pub type Bytes = Peer<Vec<u8>, Vec<u8>>;

/// The stream socket.
pub const STREAM: Subject = Subject::processes("stream socket, 1 MiB", stream, |_| drain());

fn stream() -> Figures {
    let (mut socket, theirs) = UnixStream::pair().unwrap();
    let echo = Helper::start(&STREAM, "", Stdio::from(OwnedFd::from(theirs)));
    let (mut message, mut last) = (vec![MORE; LARGE], socket.try_clone().unwrap());
    let mut asking = vec![ANSWER; LARGE];
    let figures = repeat(
        |number| {
            message[LARGE - 1] = number as u8;
            socket.write_all(&message).unwrap();
        },
        || {
            asking[0] = ANSWER;
            last.write_all(&asking).unwrap();
            last.read_exact(&mut [0]).unwrap();
        },
    );
    drop((socket, last));
    echo.end();
    figures
}

fn drain() {
    let (mut socket, mut message) = (UnixStream::from(standard_input()), vec![0; LARGE]);
    while socket.read_exact(&mut message).is_ok() {
        if message[0] == ANSWER {
            socket.write_all(&[0]).unwrap();
        }
    }
}
