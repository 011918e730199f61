//! ZeroMQ: a request socket and a reply socket; and two dealers, one way.

use std::process::Stdio;

use zmq::{Context, Socket, SocketType};

use crate::large::{ANSWER, LARGE, MORE};
use crate::measure::{Figures, bytes_of, message_of, repeat, round_trips};
use crate::subject::{Helper, Subject};

/// Round trips.
pub const REQUESTS: Subject = Subject::processes("ZeroMQ", requests, answer);
/// 1 MiB one way.
pub const ONE_WAY: Subject = Subject::processes("ZeroMQ, 1 MiB", one_way, take);

/// Messages of 1 MiB that are under way at once: by default 1,000, which takes a gigabyte and is slower.
const UNDER_WAY: i32 = 8;

fn socket(of: SocketType) -> Socket {
    let socket = Context::new().socket(of).unwrap();
    socket.set_sndhwm(UNDER_WAY).unwrap();
    socket.set_rcvhwm(UNDER_WAY).unwrap();
    socket
}

/// A socket that listens, and the process at its other end.
fn accepting(of: SocketType, subject: &Subject) -> (Socket, Helper) {
    let socket = socket(of);
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let address = socket.get_last_endpoint().unwrap().unwrap();
    (socket, Helper::start(subject, &address, Stdio::null()))
}

fn connected(of: SocketType, address: &str) -> Socket {
    let socket = socket(of);
    socket.connect(address).unwrap();
    socket
}

fn requests() -> Figures {
    let (socket, _echo) = accepting(SocketType::REQ, &REQUESTS);
    let mut bytes = [0; 64];
    round_trips(|message| {
        socket.send(&bytes_of(message)[..], 0).unwrap();
        assert_eq!(socket.recv_into(&mut bytes, 0), Ok(64));
        message_of(&bytes)
    })
}

fn answer(address: &str) {
    let (socket, mut bytes) = (connected(SocketType::REP, address), [0; 64]);
    while let Ok(len) = socket.recv_into(&mut bytes, 0) {
        socket.send(&bytes[..len], 0).unwrap();
    }
}

fn one_way() -> Figures {
    let (socket, _taker) = accepting(SocketType::DEALER, &ONE_WAY);
    let mut message = vec![MORE; LARGE];
    let asking = vec![ANSWER; LARGE];
    repeat(
        |number| {
            message[LARGE - 1] = number as u8;
            socket.send(&message, 0).unwrap();
        },
        || {
            socket.send(&asking, 0).unwrap();
            socket.recv_bytes(0).unwrap();
        },
    )
}

fn take(address: &str) {
    let socket = connected(SocketType::DEALER, address);
    let mut message = zmq::Message::new();
    while socket.recv(&mut message, 0).is_ok() {
        if message[0] == ANSWER {
            socket.send(&[ANSWER][..], 0).unwrap();
        }
    }
}
