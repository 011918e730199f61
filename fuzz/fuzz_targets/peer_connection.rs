//! Peers whose far side is hostile: greetings, frames in any order and cut anywhere, links that are replaced, while
//! this side sends, receives and drops ends. No panic, no memory beyond the longest message, and whatever was said,
//! nonsense ends it in the end: then nobody has its links any more.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fs9_fuzz::{allocated, sized};
use fs9_tiers::message::LIMIT;
use fs9_tiers::remote::{Listener, Stream, unbound};
use fs9_tiers::{Capability, Receiver, Sender};
use libfuzzer_sys::fuzz_target;

/// A message that is announced has its place at once; everything else is small.
const MEMORY: usize = LIMIT + (2 << 20);
/// The bytes of a greeting, and of what it begins with.
const HELLO: usize = 44;
const VERSION: &[u8] = b"fs9.peers.1\n";
/// So long the threads of this side may take to give back what they have, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

fuzz_target!(|bytes: &[u8]| {
    let before = allocated();
    let listener = unbound().unwrap();
    let mut talk = Talk { input: bytes, listener, link: None, peers: vec![], beside: vec![], links: vec![] };
    while !talk.input.is_empty() {
        talk.step();
        assert!(allocated() < before + MEMORY, "{} bytes", allocated() - before);
    }
    talk.end();
});

/// What the far side has sent and has heard.
#[derive(Default)]
struct Wire {
    coming: VecDeque<u8>,
    said: Vec<u8>,
    /// There is no end of nonsense.
    is_flooding: bool,
    /// There is a byte in the bell.
    has_rung: bool,
}

/// A link as the far side has it, and a pipe that is readable while something comes over it.
struct Ends {
    wire: Mutex<Wire>,
    bell: (PipeReader, PipeWriter),
}

#[derive(Clone)]
struct Link(Arc<Ends>);

/// Always writable: whatever is sent is taken.
static SINK: LazyLock<(PipeReader, PipeWriter)> = LazyLock::new(|| pipe().unwrap());

impl Link {
    fn new() -> Link {
        Link(Arc::new(Ends { wire: Mutex::default(), bell: pipe().unwrap() }))
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.wire.lock().unwrap()
    }

    /// The far side does something about what comes.
    fn come(&self, change: impl FnOnce(&mut Wire)) {
        let mut wire = self.wire();
        change(&mut wire);
        if !wire.has_rung {
            wire.has_rung = true;
            (&self.0.bell.1).write_all(&[0]).unwrap();
        }
    }

    /// Nothing has come.
    fn be_silent(&self, wire: &mut Wire) {
        if wire.has_rung {
            wire.has_rung = false;
            (&self.0.bell.0).read_exact(&mut [0]).unwrap();
        }
    }
}

impl Stream for Link {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire();
        if wire.is_flooding && wire.coming.is_empty() {
            buffer.fill(0xff);
            return Ok(buffer.len());
        }
        match wire.coming.read(buffer)? {
            0 => {
                self.be_silent(&mut wire);
                Err(ErrorKind::WouldBlock.into())
            }
            len => Ok(len),
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.wire();
        // No more than the answer to the greeting is of interest.
        let more = HELLO - wire.said.len();
        wire.said.extend(pieces.iter().flat_map(|piece| piece.iter()).take(more));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.0.bell.0.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        SINK.1.as_fd()
    }
}

struct Talk<'a> {
    input: &'a [u8],
    listener: Listener,
    /// The present one of the session that was begun last.
    link: Option<Link>,
    /// Those that receive stay, for by them the connections are read.
    peers: Vec<(Option<Sender<Vec<u8>>>, Receiver<Vec<u8>>)>,
    beside: Vec<Capability>,
    /// All that there ever were.
    links: Vec<Weak<Ends>>,
}

impl<'a> Talk<'a> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        *byte
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.input.len());
        let (bytes, rest) = self.input.split_at(len);
        self.input = rest;
        bytes
    }

    fn step(&mut self) {
        match self.byte() % 16 {
            0 => self.dial([0; 24]),
            1 => {
                let said = self.link.as_ref().map(|link| link.wire().said.clone()).unwrap_or_default();
                let session = said.get(12..36).and_then(|session| session.try_into().ok());
                self.dial(session.unwrap_or([1; 24]));
            }
            2 => {
                let bytes = self.bytes();
                self.say(bytes);
            }
            // What is about a channel, with a number that there may be.
            kind @ 3..=8 => {
                let kind = [1, 2, 3, 4, 5, 1][usize::from(kind) - 3];
                let number = u32::from(self.byte() % 8);
                let body = [&[kind], &number.to_le_bytes()[..], self.bytes()].concat();
                self.say(&sized(&body));
            }
            9 => {
                let body = self.bytes();
                self.say(&sized(body));
            }
            // A long message, as it is announced, and some of it.
            10 => {
                let length = u32::from(self.byte()) << 14;
                let announced = [&[2, 0, 0, 0, 0, 0], &length.to_le_bytes()[..]].concat();
                let data = [&(length + 5).to_le_bytes()[..], &[9], self.bytes()].concat();
                self.say(&sized(&announced));
                self.say(&data);
            }
            11 => self.send(),
            12 => {
                let place = usize::from(self.byte());
                if let Some((sender, _)) = self.peers.get_mut(place) {
                    *sender = None;
                }
            }
            13 => self.beside.clear(),
            _ => self.receive(),
        }
    }

    /// Somebody dials, for this session or a new one.
    fn dial(&mut self, session: [u8; 24]) {
        let received = u64::from(self.byte());
        let mut hello = [VERSION, &session, &received.to_le_bytes()].concat();
        let place = usize::from(self.byte());
        if place < HELLO {
            hello[place] ^= self.byte();
        }
        let link = Link::new();
        self.links.push(Arc::downgrade(&link.0));
        link.come(|wire| wire.coming.extend(&hello));
        if self.listener.admit(link.clone()).is_err() {
            return;
        }
        if let Ok(peer) = self.listener.accept_timeout::<Vec<u8>, Vec<u8>>(Duration::ZERO) {
            self.flood();
            let (sender, receiver) = peer.split();
            self.peers.push((Some(sender), receiver));
        } else if link.wire().said[12..36] != hello[12..36] {
            // There is no such session.
            return;
        }
        self.link = Some(link);
    }

    fn say(&mut self, bytes: &[u8]) {
        if let Some(link) = &self.link {
            link.come(|wire| wire.coming.extend(bytes));
        }
    }

    /// Each looks what has come first.
    fn send(&mut self) {
        let message = self.bytes().to_vec();
        for sender in self.peers.iter().filter_map(|(sender, _)| sender.as_ref()) {
            let Ok(permit) = sender.try_reserve() else { continue };
            // What the other side does not want is of no interest.
            let _ = permit.send_with(message.clone(), self.beside.pop().into_iter().collect());
        }
    }

    fn receive(&mut self) {
        for (_, receiver) in &self.peers {
            if let Ok((_, beside)) = receiver.try_recv_with() {
                self.beside.extend(beside);
            }
        }
    }

    /// Nothing but nonsense comes from now on, so that the session ends.
    fn flood(&mut self) {
        if let Some(link) = self.link.take() {
            link.come(|wire| wire.is_flooding = true);
            for (_, receiver) in &self.peers {
                while receiver.recv().is_ok() {}
            }
        }
    }

    fn end(mut self) {
        self.beside.clear();
        self.flood();
        let links = std::mem::take(&mut self.links);
        drop(self);
        let deadline = Instant::now() + PATIENCE;
        while links.iter().any(|link| link.strong_count() > 0) {
            assert!(Instant::now() < deadline, "somebody has a link that brought nothing but nonsense in the end");
            thread::yield_now();
        }
    }
}
