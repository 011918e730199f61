//! A party that speaks the protocol of the process tier in order to break it: with the bare memory and the bare socket.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, pipe};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect, listen, recvmsg, sendmsg, socket,
    socketpair,
};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

use crate::tiers::{PATIENCE, Random};

/// The size of the memory of a channel, and of the half for one direction.
const MEMORY: usize = 2 * SLOT;
const SLOT: usize = (4096_usize + 2 * ((4 << 20) + 4096)).next_multiple_of(65536);
/// Where in its half the receiver's words are, the sender's, and the message.
const TAKEN: usize = 0;
const SENT: usize = 128;
const MESSAGE: usize = SENT + 24;
/// The words of a mark.
const COUNT: usize = 0;
const SLEEPERS: usize = 4;
const START: usize = 12;
const LENGTH: usize = 16;
const CAPABILITIES: usize = 20;

/// The bare end of a channel.
struct Bare {
    socket: OwnedFd,
    memory: File,
    random: Random,
    /// Which type of messages is expected of us.
    kind: u64,
    /// Where our sender's half begins, and the other's.
    ours: usize,
    theirs: usize,
    /// A note about capabilities as the other end wrote one.
    note: Option<Vec<u8>>,
    /// What came with it.
    descriptors: Vec<OwnedFd>,
}

/// Connects to the name again and again, until nobody listens there, and does harm.
pub fn connect_to(name: &str, seed: u64) {
    let mut random = Random(seed);
    let address = address(name);
    for number in 1.. {
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        if connect(&socket, &address).is_err() {
            return;
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).unwrap();
        let Some((_, descriptors)) = receive(&socket, RecvFlags::empty()) else { continue };
        let Some(memory) = descriptors.into_iter().next() else { continue };
        let mut bare = Bare::new(socket, memory.into(), (number, random.next()), SLOT, 0);
        bare.harm();
    }
}

/// Listens under the name and does harm to those who come.
pub fn listen_at(name: &str, seed: u64) {
    let mut random = Random(seed);
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    bind(&listener, &address(name)).unwrap();
    listen(&listener, 16).unwrap();
    println!("listening");
    for number in 1.. {
        let socket = accept(&listener).unwrap();
        let size = if random.below(8) == 0 { random.below(2 * MEMORY) } else { MEMORY };
        let memory = memfd_create("hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memory, size as u64).unwrap();
        if random.below(8) > 0 {
            fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        }
        let mut hello = vec![0, 1];
        let mut rest = size;
        while rest >= 0x80 {
            hello.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        hello.push(rest as u8);
        if random.below(8) == 0 {
            let at = random.below(hello.len());
            hello[at] = random.next() as u8;
        }
        let shown = if random.below(8) == 0 { pipe().unwrap().0.into() } else { memory.try_clone().unwrap() };
        send(&socket, &hello, &[shown.as_fd()]);
        let mut bare = Bare::new(socket, memory.into(), (number, random.next()), 0, SLOT);
        bare.harm();
    }
}

/// Connects, and changes both words that the other end waits for, as fast as it can, so that they never mean anything
/// new.
pub fn flip(name: &str) {
    let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&socket, &address(name)).unwrap();
    let (_, descriptors) = receive(&socket, RecvFlags::empty()).unwrap();
    let memory: File = descriptors.into_iter().next().unwrap().into();
    println!("flipping");
    loop {
        // 2 is the flag of a panic, which means nothing without that of a close.
        for value in [2, 0_u32] {
            for place in [SLOT + SENT, TAKEN] {
                memory.write_all_at(&value.to_ne_bytes(), place as u64).unwrap();
            }
        }
    }
}

fn address(name: &str) -> SocketAddrUnix {
    SocketAddrUnix::new_abstract_name(format!("fs9/{name}").as_bytes()).unwrap()
}

fn receive(socket: &OwnedFd, flags: RecvFlags) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).ok()?;
    bytes.truncate(got.bytes);
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    (got.bytes > 0).then_some((bytes, descriptors))
}

/// Fails where the socket is full or hung up: so be it.
fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(descriptors));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
}

impl Bare {
    fn new(socket: OwnedFd, memory: File, (number, seed): (u64, u64), ours: usize, theirs: usize) -> Bare {
        Bare {
            socket,
            memory,
            random: Random(seed),
            kind: number % 3,
            ours,
            theirs,
            note: None,
            descriptors: Vec::new(),
        }
    }

    /// Some are wild from the beginning, others behave for a while: who is found out at once gets nowhere.
    fn harm(&mut self) {
        let wild = self.random.below(4) == 0;
        self.listen_for(50);
        for _ in 0..self.random.below(120) {
            match self.random.below(if wild { 14 } else { 8 }) {
                0 => self.listen_for(1),
                1..=2 => self.take(),
                3..=5 => self.send_message(),
                6 => self.send_message_with_capabilities(),
                7 if self.random.below(20) == 0 => self.send_note(),
                7 => {}
                8 => self.scribble(),
                9 => self.change_a_word(),
                10 => self.send_noise(),
                11 => self.send_note(),
                _ => self.send_garbage(),
            }
        }
    }

    fn word(&self, place: usize, value: u32) {
        // Fails where the memory is shorter than it should be.
        let _ = self.memory.write_all_at(&value.to_ne_bytes(), place as u64);
    }

    /// Random bytes anywhere, mostly in the words.
    fn scribble(&mut self) {
        let bytes: Vec<u8> = (0..1 + self.random.below(64)).map(|_| self.random.next() as u8).collect();
        let place = match self.random.below(3) {
            0 => self.random.below(MEMORY - 64),
            1 => self.random.below(256),
            _ => SLOT + self.random.below(256),
        };
        let _ = self.memory.write_all_at(&bytes, place as u64);
    }

    /// Something that may make sense in a word where it may make sense.
    fn change_a_word(&mut self) {
        let half = if self.random.below(2) == 0 { self.ours } else { self.theirs };
        let mark = if self.random.below(2) == 0 { TAKEN } else { SENT };
        let word = 4 * self.random.below(6);
        let value = self.value();
        self.word(half + mark + word, value);
    }

    fn value(&mut self) -> u32 {
        let near = [0, 1, 4, MESSAGE, 256, 4 << 20, SLOT, MEMORY, 1 << 31, u32::MAX as usize];
        let near = near[self.random.below(near.len())] as u32;
        near.wrapping_add(self.random.below(9) as u32).wrapping_sub(4)
    }

    /// Tells that the other's message was taken, so that it sends another.
    fn take(&mut self) {
        let mut count = [0; 4];
        if self.memory.read_exact_at(&mut count, (self.theirs + SENT + COUNT) as u64).is_ok() {
            self.word(self.theirs + TAKEN + COUNT, u32::from_ne_bytes(count) & !3);
        }
    }

    /// A message by the rules, of which nobody knows what it is.
    fn send_garbage(&mut self) {
        let len = match self.random.below(4) {
            0 => self.random.below(12),
            1 => self.random.below(100),
            2 => self.random.below(9_000),
            _ => (4 << 20) - self.random.below(3),
        };
        let mut bytes: Vec<u8> = (0..len.min(300)).map(|_| self.random.next() as u8).collect();
        if self.random.below(2) == 0 && len > 4 {
            // A byte message, if nothing else: how long it is in front.
            let head: &[u8] = match len {
                0..=128 => &[(len - 1) as u8],
                129..=16_000 => &[(len - 2) as u8 | 0x80, ((len - 2) >> 7) as u8],
                _ => &[(len - 4) as u8 | 0x80, ((len - 4) >> 7) as u8 | 0x80, ((len - 4) >> 14) as u8 | 0x80, 1],
            };
            bytes[..head.len()].copy_from_slice(head);
        }
        self.put(&bytes, len);
    }

    /// A message of the type that the tests expect of this peer: bytes, a number with a text, no character.
    fn send_message(&mut self) {
        let text = self.random.below(100) as u8;
        let mut bytes = match self.kind {
            0 => vec![text],
            1 => vec![7, text],
            _ => vec![0],
        };
        if self.kind < 2 {
            bytes.resize(bytes.len() + usize::from(text), b'a');
        }
        let len = bytes.len();
        self.put(&bytes, len);
        self.wait_taken();
    }

    fn put(&mut self, bytes: &[u8], len: usize) {
        let _ = self.memory.write_all_at(bytes, (self.ours + MESSAGE) as u64);
        self.word(self.ours + SENT + START, MESSAGE as u32);
        self.word(self.ours + SENT + LENGTH, len as u32);
        let sleepers = self.random.below(2) as u32;
        self.word(self.ours + SENT + SLEEPERS, sleepers);
        self.show();
    }

    /// How many messages of ours the other end has taken, times four.
    fn taken(&self) -> u32 {
        let mut taken = [0; 4];
        let _ = self.memory.read_exact_at(&mut taken, (self.ours + TAKEN + COUNT) as u64);
        u32::from_ne_bytes(taken) & !3
    }

    /// Commits one more than were taken.
    fn show(&mut self) {
        self.word(self.ours + SENT + COUNT, self.taken().wrapping_add(4));
    }

    fn send_message_with_capabilities(&mut self) {
        let Some(note) = self.note.clone() else { return };
        self.word(self.ours + SENT + CAPABILITIES, 1);
        self.replay(note);
        self.send_message();
        self.word(self.ours + SENT + CAPABILITIES, 0);
    }

    /// Waits until the message was taken, or for some time.
    fn wait_taken(&self) {
        let before = self.taken();
        for _ in 0..300 {
            if self.taken() != before {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Any bytes with any descriptors.
    fn send_noise(&mut self) {
        let len = [1, 2, 30, 4096, 4097, 8000][self.random.below(6)];
        let bytes: Vec<u8> = (0..len).map(|_| self.random.next() as u8).collect();
        let count = [0, 1, 2, 3, 48, 129, 200][self.random.below(7)];
        self.send(&bytes, count);
    }

    /// Something like a note, with something like its descriptors.
    fn send_note(&mut self) {
        match (self.random.below(6), self.note.clone()) {
            (0, _) => self.send(&[1], 0),
            (1, _) => self.send(&[2], 0),
            (2, _) => self.send(&[3], 1),
            (_, Some(note)) => self.replay(note),
            (kind, None) => self.send(&[4, (self.taken() / 4) as u8, kind as u8 - 3, 0, 0, 0, 0, 0], 2),
        }
    }

    /// What the other end wrote about capabilities, for the next message, often with a change.
    fn replay(&mut self, mut note: Vec<u8>) {
        // The number of the message that goes next, where it is one of the first.
        note[1] = (self.taken() / 4) as u8 & 0x7f;
        if self.random.below(3) == 0 {
            let at = self.random.below(note.len());
            note[at] ^= 1 << self.random.below(8);
        }
        if self.random.below(4) > 0 {
            let same: Vec<_> = self.descriptors.iter().map(AsFd::as_fd).collect();
            send(&self.socket, &note, &same);
        } else {
            let count = self.descriptors.len();
            self.send(&note, count);
        }
    }

    fn send(&mut self, bytes: &[u8], descriptors: usize) {
        // Our own end that waits in the other's hands would not hang up when we go, which is as if we did not go:
        // nobody who waits without a deadline could tell.
        let kinds = if bytes[0] == 4 { 7 } else { 8 };
        let any: Vec<OwnedFd> = (0..descriptors).map(|_| self.descriptor(kinds)).collect();
        let any: Vec<_> = any.iter().map(AsFd::as_fd).collect();
        send(&self.socket, bytes, &any);
    }

    /// One of so many kinds.
    fn descriptor(&mut self, kinds: usize) -> OwnedFd {
        let pidfd = |pid: Option<Pid>| pidfd_open(pid.unwrap(), PidfdFlags::empty()).unwrap();
        match self.random.below(kinds) {
            0 => pipe().unwrap().0.into(),
            1 => pipe().unwrap().1.into(),
            2 => File::open("/dev/null").unwrap().into(),
            3 => self.memory.try_clone().unwrap().into(),
            4 => pidfd(getppid()),
            5 => pidfd(Some(rustix::process::getpid())),
            6 => socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap().0,
            _ => self.socket.try_clone().unwrap(),
        }
    }

    /// Learns how the other end writes about capabilities, in so many looks.
    fn listen_for(&mut self, looks: u32) {
        for _ in 0..looks {
            self.take();
            self.listen();
            if self.note.is_some() {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn listen(&mut self) {
        while let Some((bytes, descriptors)) = receive(&self.socket, RecvFlags::DONTWAIT) {
            if bytes.len() > 8 && bytes[0] == 4 {
                (self.note, self.descriptors) = (Some(bytes), descriptors);
            }
        }
    }
}
