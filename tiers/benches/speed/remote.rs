//! Two processes and a TCP connection of this machine: ours, and the bare stream with the same messages.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use bytes::Bytes;
use fs9_tiers::{Peer, Pod, remote};

use super::large::{ANSWER, LARGE, MORE};
use super::measure::{Figures, Message, STOP, bytes_of, message_of, repeat, round_trips, stop};
use super::subject::{Helper, Subject};

/// Round trips of ours.
pub const PEERS: Subject = Subject::processes("fs9, remote", peers, answer);
/// Round trips over the bare stream: a write and a read of 64 bytes.
pub const TCP: Subject = Subject::processes("TCP", tcp, tcp_answer);
/// 1 MiB one way, from one buffer, each received as a vector of its own.
pub const LONG: Subject = Subject::processes("fs9, remote, 1 MiB", long, take_long);
/// 1 MiB one way over the bare stream, from one buffer and into one.
pub const STREAM: Subject = Subject::processes("TCP, 1 MiB", stream, drain);

type Small = Peer<Pod<Message>, Pod<Message>>;

fn peers() -> Figures {
    let listener = remote::listen("tcp://127.0.0.1:0").unwrap();
    let echo = Helper::start(&PEERS, listener.address(), Stdio::null());
    let peer: Small = listener.accept().unwrap();
    let figures = round_trips(|message| {
        peer.send(Pod(message)).unwrap();
        peer.recv().unwrap().0
    });
    peer.send(Pod(stop())).unwrap();
    echo.end();
    figures
}

fn answer(address: &str) {
    let peer: Small = remote::dial(address).unwrap();
    loop {
        let Pod(message) = peer.recv().unwrap();
        if message[0] == STOP {
            return;
        }
        peer.send(Pod(message)).unwrap();
    }
}

/// A listener, and the process at the other end of what it accepts.
fn accepted(subject: &Subject) -> (TcpStream, Helper) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let echo = Helper::start(subject, &listener.local_addr().unwrap().to_string(), Stdio::null());
    let (stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    (stream, echo)
}

fn connected(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tcp() -> Figures {
    let (mut stream, echo) = accepted(&TCP);
    let mut bytes = [0; 64];
    let figures = round_trips(|message| {
        stream.write_all(&bytes_of(message)).unwrap();
        stream.read_exact(&mut bytes).unwrap();
        message_of(&bytes)
    });
    drop(stream);
    echo.end();
    figures
}

fn tcp_answer(address: &str) {
    let (mut stream, mut bytes) = (connected(address), [0; 64]);
    while stream.read_exact(&mut bytes).is_ok() {
        stream.write_all(&bytes).unwrap();
    }
}

fn long() -> Figures {
    let listener = remote::listen("tcp://127.0.0.1:0").unwrap();
    let echo = Helper::start(&LONG, listener.address(), Stdio::null());
    let peer: Peer<Bytes, Vec<u8>> = listener.accept().unwrap();
    let (message, asking) = [MORE, ANSWER].map(|first| Bytes::from(vec![first; LARGE])).into();
    let figures = repeat(
        |_| peer.send(message.clone()).unwrap(),
        || {
            peer.send(asking.clone()).unwrap();
            peer.recv().unwrap();
        },
    );
    drop(peer);
    echo.end();
    figures
}

fn take_long(address: &str) {
    let peer: Peer<Vec<u8>, Vec<u8>> = remote::dial(address).unwrap();
    while let Ok(message) = peer.recv() {
        if message[0] == ANSWER {
            peer.send(vec![ANSWER]).unwrap();
        }
    }
}

fn stream() -> Figures {
    let (mut stream, echo) = accepted(&STREAM);
    let (mut message, mut last) = (vec![MORE; LARGE], stream.try_clone().unwrap());
    let mut asking = vec![ANSWER; LARGE];
    let figures = repeat(
        |number| {
            message[LARGE - 1] = number as u8;
            stream.write_all(&message).unwrap();
        },
        || {
            asking[0] = ANSWER;
            last.write_all(&asking).unwrap();
            last.read_exact(&mut [0]).unwrap();
        },
    );
    drop((stream, last));
    echo.end();
    figures
}

fn drain(address: &str) {
    let (mut stream, mut message) = (connected(address), vec![0; LARGE]);
    while stream.read_exact(&mut message).is_ok() {
        if message[0] == ANSWER {
            stream.write_all(&[0]).unwrap();
        }
    }
}
