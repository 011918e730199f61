//! The floor between processes: a page of shared memory, and in each direction one futex word and 64 bytes.
//!
//! Nothing smaller carries a message: a sender copies it in, counts the word up and wakes; a receiver sees the count,
//! and copies it out. There is no end, no error, no check of anything, and one party on each side.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::thread::futex;

use super::measure::{Figures, Message, STOP, round_trips, stop};
use super::subject::{Helper, Subject, standard_input};

/// It looks at the word this often before it sleeps. The word is all that there is: the sender always wakes.
pub const SPINNING: Subject = Subject::processes("futex, 2,000 spins", || ping(BARE), |_| echo(BARE));
/// The same with a second word, in which one says that it sleeps: the sender wakes only then.
pub const WARY: Subject = Subject::processes("futex, 2,000 spins, two words", || ping(TWO_WORDS), |_| echo(TWO_WORDS));
/// It sleeps at once; the sender always wakes.
pub const SLEEPING: Subject = Subject::processes("futex, no spin", || ping(ASLEEP), |_| echo(ASLEEP));

const BARE: Manner = Manner { spins: 2000, wakes_always: true };
const TWO_WORDS: Manner = Manner { spins: 2000, wakes_always: false };
const ASLEEP: Manner = Manner { spins: 0, wakes_always: true };

/// How one waits, and wakes.
#[derive(Clone, Copy, PartialEq)]
struct Manner {
    spins: u32,
    wakes_always: bool,
}

/// One direction. What both sides look at while they wait is on a line of its own, and so is the message.
#[repr(C, align(64))]
struct Direction {
    count: AtomicU32,
    sleeps: AtomicU32,
    message: Place,
}

#[repr(C, align(64))]
struct Place([AtomicU64; 8]);

/// One end: a direction to send in and one to receive from.
struct End {
    out: &'static Direction,
    from: &'static Direction,
    manner: Manner,
    sent: u32,
    taken: u32,
}

fn ping(manner: Manner) -> Figures {
    let memory = memfd_create("floor", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&memory, size_of::<[Direction; 2]>() as u64).unwrap();
    let [out, from] = map(&memory);
    let subject = match manner {
        BARE => SPINNING,
        TWO_WORDS => WARY,
        _ => SLEEPING,
    };
    let echo = Helper::start(&subject, "", Stdio::from(memory));
    let mut end = End { out, from, manner, sent: 0, taken: 0 };
    let figures = round_trips(|message| {
        end.send(message);
        end.receive()
    });
    end.send(stop());
    echo.end();
    figures
}

fn echo(manner: Manner) {
    let [from, out] = map(&standard_input());
    let mut end = End { out, from, manner, sent: 0, taken: 0 };
    loop {
        let message = end.receive();
        if message[0] == STOP {
            return;
        }
        end.send(message);
    }
}

impl End {
    fn send(&mut self, message: Message) {
        for (place, word) in self.out.message.0.iter().zip(message) {
            place.store(word, Relaxed);
        }
        self.sent = self.sent.wrapping_add(1);
        // A swap, not a store: `sleeps` must not be read before the count can be seen.
        self.out.count.swap(self.sent, SeqCst);
        if self.manner.wakes_always || self.out.sleeps.load(SeqCst) != 0 {
            futex::wake(&self.out.count, futex::Flags::empty(), 1).unwrap();
        }
    }

    fn receive(&mut self) -> Message {
        let last = self.taken;
        if !(0..self.manner.spins).any(|_| self.has_come(last)) {
            self.sleep(last);
        }
        self.taken = last.wrapping_add(1);
        self.from.message.0.each_ref().map(|word| word.load(Relaxed))
    }

    fn has_come(&self, last: u32) -> bool {
        let come = self.from.count.load(Acquire) != last;
        if !come {
            std::hint::spin_loop();
        }
        come
    }

    fn sleep(&self, last: u32) {
        if !self.manner.wakes_always {
            self.from.sleeps.store(1, SeqCst);
        }
        while self.from.count.load(SeqCst) == last {
            match futex::wait(&self.from.count, futex::Flags::empty(), last, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => (),
                Err(error) => panic!("futex: {error}"),
            }
        }
        if !self.manner.wakes_always {
            self.from.sleeps.store(0, Relaxed);
        }
    }
}

/// The two directions in `memory`, for as long as this process lives.
fn map(memory: &OwnedFd) -> &'static [Direction; 2] {
    const SIZE: usize = size_of::<[Direction; 2]>();
    assert!(File::from(memory.try_clone().unwrap()).metadata().unwrap().len() >= SIZE as u64);
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: no address is asked for, so the kernel chooses one where nothing is mapped.
    let start = unsafe { mmap(null_mut(), SIZE, access, MapFlags::SHARED, memory, 0) }.unwrap();
    // SAFETY: the mapping is aligned to a page, SIZE bytes long (the file is at least that long and nobody shortens it)
    // and never unmapped. All of a `Direction` is atomic, for which every bit pattern is valid, so that the other
    // process may change it at any time.
    unsafe { &*start.cast::<[Direction; 2]>() }
}
