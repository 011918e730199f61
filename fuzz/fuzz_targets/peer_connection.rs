//! Peers whose far side is hostile: greetings, frames in any order and cut anywhere, links that are replaced, while this side sends,
//! receives and drops ends. No panic, no memory beyond the longest message, and whatever was said, nonsense ends it in the end.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

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

fuzz_target!(|bytes: &[u8]| {
    let before = allocated();
    let mut talk = Talk { input: bytes, listener: unbound().unwrap(), link: None, peers: vec![], beside: vec![] };
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
}

#[derive(Clone, Default)]
struct Link(Arc<Mutex<Wire>>);

/// Never readable: all that comes is there when somebody looks.
static SILENCE: LazyLock<(PipeReader, PipeWriter)> = LazyLock::new(|| pipe().unwrap());

impl Stream for Link {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.lock().unwrap();
        if wire.is_flooding && wire.coming.is_empty() {
            buffer.fill(0xff);
            return Ok(buffer.len());
        }
        match io::Read::read(&mut wire.coming, buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.0.lock().unwrap();
        // No more than the answer to the greeting is of interest.
        let more = HELLO - wire.said.len();
        wire.said.extend(pieces.iter().flat_map(|piece| piece.iter()).take(more));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn input(&self) -> BorrowedFd<'_> {
        SILENCE.0.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        SILENCE.1.as_fd()
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
                let said = self.link.as_ref().map(|link| link.0.lock().unwrap().said.clone()).unwrap_or_default();
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
        let link = Link::default();
        link.0.lock().unwrap().coming.extend(&hello);
        if self.listener.admit(link.clone()).is_err() {
            return;
        }
        if let Ok(peer) = self.listener.accept_timeout::<Vec<u8>, Vec<u8>>(Duration::ZERO) {
            self.flood();
            let (sender, receiver) = peer.split();
            self.peers.push((Some(sender), receiver));
        } else if link.0.lock().unwrap().said[12..36] != hello[12..36] {
            // There is no such session.
            return;
        }
        self.link = Some(link);
    }

    fn say(&mut self, bytes: &[u8]) {
        if let Some(link) = &self.link {
            link.0.lock().unwrap().coming.extend(bytes);
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
            link.0.lock().unwrap().is_flooding = true;
            for (_, receiver) in &self.peers {
                while receiver.recv().is_ok() {}
            }
        }
    }

    fn end(mut self) {
        self.beside.clear();
        self.flood();
    }
}
