//! Ours: every measurement of fs9-tiers.
#![forbid(unsafe_code)]

use std::thread;

use fs9_tiers::process::{self, Child};
use fs9_tiers::{Peer, Pod};

use super::idle::{Holdings, PEERS, print_idle};
use super::large::{ANSWER, Bytes, LARGE as SIZE, MORE};
use super::measure::{Figures, Message, STOP, repeat, round_trips, stop};
use super::subject::{Subject, itself};
use super::threads::echoed;

/// Round trips between threads.
pub const THREADS: Subject = Subject::threads("fs9, threads", threads);
/// Round trips between processes.
pub const PROCESSES: Subject = Subject::processes("fs9, processes", processes, |_| return_all());
/// Processes that wait.
pub const IDLE: Subject = Subject::processes("fs9, idle", || panic!("it is no round trip"), |_| wait());

/// 1 MiB one way by copy, each message a vector of its own.
pub const VECTORS: Subject = Subject::processes("fs9, 1 MiB, vectors", vectors, |_| take_vectors());

type Small = Peer<Pod<Message>, Pod<Message>>;

fn threads() -> Figures {
    let (here, there) = fs9_tiers::pair::<Pod<Message>, Pod<Message>>();
    let ((a, b), (answer, take)) = (here.split(), there.split());
    echoed(
        (move |message| a.send(Pod(message)).unwrap(), move || b.recv().unwrap().0),
        (move |message| answer.send(Pod(message)).unwrap(), move || take.recv().unwrap().0),
    )
}

/// The other end of `subject`; killed, should it still be there, when the child is dropped.
pub fn start<Out, In>(subject: &Subject) -> (Peer<Out, In>, Child)
where
    Out: fs9_tiers::Message,
    In: fs9_tiers::Message,
{
    process::spawn(itself(&["echo", subject.name, ""])).unwrap()
}

fn processes() -> Figures {
    let (peer, mut child): (Small, Child) = start(&PROCESSES);
    let figures = round_trips(|message| {
        peer.send(Pod(message)).unwrap();
        peer.recv().unwrap().0
    });
    peer.send(Pod(stop())).unwrap();
    child.wait().unwrap();
    figures
}

fn return_all() {
    let peer: Small = process::inherited().unwrap();
    loop {
        let Pod(message) = peer.recv().unwrap();
        if message[0] == STOP {
            return;
        }
        peer.send(Pod(message)).unwrap();
    }
}

fn vectors() -> Figures {
    let (peer, mut child): (Bytes, Child) = start(&VECTORS);
    let mut message = vec![MORE; SIZE];
    let figures = repeat(
        |number| {
            message[SIZE - 1] = number as u8;
            peer.send(message.clone()).unwrap();
        },
        || {
            peer.send(vec![ANSWER; SIZE]).unwrap();
            peer.recv().unwrap();
        },
    );
    drop(peer);
    child.wait().unwrap();
    figures
}

fn take_vectors() {
    let peer: Bytes = process::inherited().unwrap();
    while let Ok(message) = peer.recv() {
        if message[0] == ANSWER {
            peer.send(vec![ANSWER]).unwrap();
        }
    }
}

/// What idle peers cost whose other end is here.
pub fn idle_threads() {
    let before = Holdings::now();
    let (near, far): (Vec<Small>, Vec<Small>) = (0..PEERS).map(|_| fs9_tiers::pair()).unzip();
    before.print_each("fs9, threads (both ends)");
    let waiting = block(near);
    print_idle("fs9, threads");
    drop(far);
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What idle peers cost whose other end is a process.
pub fn idle_processes() {
    let before = Holdings::now();
    let (near, children): (Vec<Small>, Vec<Child>) = (0..PEERS).map(|_| start(&IDLE)).unzip();
    before.print_each("fs9, processes (this end, with its child)");
    let waiting = block(near);
    print_idle("fs9, processes");
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    waiting.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A thread for each that waits until its other end is gone.
fn block(peers: Vec<Small>) -> Vec<thread::JoinHandle<()>> {
    peers.into_iter().map(|peer| thread::spawn(move || assert!(peer.recv().is_err()))).collect()
}

fn wait() {
    let peer: Small = process::inherited().unwrap();
    let _ = peer.recv();
}
