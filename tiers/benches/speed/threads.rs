//! Two threads of one process: the channels of others, one slot each way.
#![forbid(unsafe_code)]

use std::thread;

use super::measure::{Figures, Message, STOP, round_trips, stop};
use super::subject::{Subject, other_party};

/// All of them.
pub const OTHERS: [Subject; 4] = [
    Subject::threads("crossbeam", crossbeam),
    Subject::threads("kanal", kanal),
    Subject::threads("flume", flume),
    Subject::threads("std", std),
];

/// A thread that returns all it receives, and round trips to it.
pub fn echoed<S: Fn(Message) + Send + 'static>(
    (send, receive): (impl Fn(Message), impl Fn() -> Message),
    (answer, take): (S, impl Fn() -> Message + Send + 'static),
) -> Figures {
    let echo = thread::spawn(move || {
        other_party();
        loop {
            let message = take();
            if message[0] == STOP {
                break;
            }
            answer(message);
        }
    });
    let figures = round_trips(|message| {
        send(message);
        receive()
    });
    send(stop());
    echo.join().unwrap();
    figures
}

fn crossbeam() -> Figures {
    let ((a, take), (answer, b)) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded(1));
    echoed(
        (move |message| a.send(message).unwrap(), move || b.recv().unwrap()),
        (move |message| answer.send(message).unwrap(), move || take.recv().unwrap()),
    )
}

fn kanal() -> Figures {
    let ((a, take), (answer, b)) = (kanal::bounded(1), kanal::bounded(1));
    echoed(
        (move |message| a.send(message).unwrap(), move || b.recv().unwrap()),
        (move |message| answer.send(message).unwrap(), move || take.recv().unwrap()),
    )
}

fn flume() -> Figures {
    let ((a, take), (answer, b)) = (flume::bounded(1), flume::bounded(1));
    echoed(
        (move |message| a.send(message).unwrap(), move || b.recv().unwrap()),
        (move |message| answer.send(message).unwrap(), move || take.recv().unwrap()),
    )
}

fn std() -> Figures {
    let ((a, take), (answer, b)) = (std::sync::mpsc::sync_channel(1), std::sync::mpsc::sync_channel(1));
    echoed(
        (move |message| a.send(message).unwrap(), move || b.recv().unwrap()),
        (move |message| answer.send(message).unwrap(), move || take.recv().unwrap()),
    )
}
