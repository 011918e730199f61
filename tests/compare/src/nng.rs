//! NNG: a request socket and a reply socket; and a pair, one way.

use std::net::TcpListener;
use std::process::Stdio;

use nng::{Protocol, Socket};

use crate::large::{ANSWER, LARGE, MORE};
use crate::measure::{Figures, bytes_of, message_of, repeat, round_trips};
use crate::subject::{Helper, Subject};

/// Round trips.
pub const REQUESTS: Subject = Subject::processes("NNG", requests, answer);
/// 1 MiB one way.
pub const ONE_WAY: Subject = Subject::processes("NNG, 1 MiB", one_way, take);

/// A socket that listens, and the process at its other end.
fn accepting(protocol: Protocol, subject: &Subject) -> (Socket, Helper) {
    let socket = Socket::new(protocol).unwrap();
    let address = format!("tcp://127.0.0.1:{}", free_port());
    socket.listen(&address).unwrap();
    (socket, Helper::start(subject, &address, Stdio::null()))
}

/// A port that nobody uses.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connected(protocol: Protocol, address: &str) -> Socket {
    let socket = Socket::new(protocol).unwrap();
    socket.dial(address).unwrap();
    socket
}

fn requests() -> Figures {
    let (socket, _echo) = accepting(Protocol::Req0, &REQUESTS);
    round_trips(|message| {
        socket.send(&bytes_of(message)[..]).unwrap();
        message_of(&socket.recv().unwrap())
    })
}

fn answer(address: &str) {
    let socket = connected(Protocol::Rep0, address);
    while let Ok(message) = socket.recv() {
        socket.send(message).unwrap();
    }
}

fn one_way() -> Figures {
    let (socket, _taker) = accepting(Protocol::Pair0, &ONE_WAY);
    let mut message = vec![MORE; LARGE];
    let asking = vec![ANSWER; LARGE];
    repeat(
        |number| {
            message[LARGE - 1] = number as u8;
            socket.send(&message[..]).unwrap();
        },
        || {
            socket.send(&asking[..]).unwrap();
            socket.recv().unwrap();
        },
    )
}

fn take(address: &str) {
    let socket = connected(Protocol::Pair0, address);
    while let Ok(message) = socket.recv() {
        if message[0] == ANSWER {
            socket.send(&[ANSWER][..]).unwrap();
        }
    }
}
