//! A server's side of a conversation with a hostile client: frames, answers in any order, broken connections. No panic,
//! no memory beyond the limits, no answer that nobody asked for, and after a break the same frames again.
#![no_main]

use std::collections::HashMap;

use fs9_fuzz::{allocated, sized};
use fs9_proto::frame::{FIRST_LIMIT, Frames};
use fs9_proto::message::Names;
use fs9_proto::server::{Greeting, Hello, Identity, Limits, Server, Step};
use fs9_proto::session;
use fs9_proto::{Dialect, Fid, NO_TAG, Reply, Request, Tag};
use libfuzzer_sys::fuzz_target;

const IDENTITY: Identity = Identity { id: [7; 16], epoch: 7, linger_ms: 1000, keep_alive_ms: 1000, limit: 4096 };
const LIMITS: Limits = Limits { fids: 2, requests: 4, kept: session::Limits { frames: 32, bytes: 1 << 16 } };
const MSIZE: u32 = 8192;
/// All that one conversation may have.
const MEMORY: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let before = allocated();
    let mut talk = Talk::new(Input(bytes));
    talk.begin();
    while !talk.input.0.is_empty() && talk.step().is_some() {
        assert!(allocated() < before + MEMORY, "{} bytes", allocated() - before);
    }
    talk.end();
});

/// What the fuzzer has thought of, a byte at a time.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}

struct Talk<'a> {
    input: Input<'a>,
    frames: Frames,
    greeting: Greeting,
    server: Option<Server<u8>>,
    /// Requests that wait for the embedder, and whether they receive.
    waiting: Vec<(Tag, bool)>,
    /// How often a tag was used, and answered.
    tags: HashMap<u16, (usize, usize)>,
    /// What the client has of this session, and how much of it is sent once more.
    log: Vec<Vec<u8>>,
    again: Vec<Vec<u8>>,
}

impl<'a> Talk<'a> {
    fn new(input: Input<'a>) -> Self {
        Self {
            input,
            frames: Frames::default(),
            greeting: Greeting::new(MSIZE),
            server: None,
            waiting: Vec::new(),
            tags: HashMap::new(),
            log: Vec::new(),
            again: Vec::new(),
        }
    }

    /// Begins with a conversation of some dialect, which chance would seldom find the words for, or before one.
    fn begin(&mut self) {
        let answer = bytes::Bytes::new;
        let server = match self.input.byte() % 4 {
            0 => return,
            1 => Server::plain(Dialect::Old, MSIZE, answer(), LIMITS),
            2 => Server::plain(Dialect::Linux, MSIZE, answer(), LIMITS),
            _ => Server::begin(NO_TAG, MSIZE, IDENTITY, LIMITS),
        };
        self.server = Some(server);
        self.frames.set_limit(MSIZE);
    }

    /// None when the conversation is over.
    fn step(&mut self) -> Option<()> {
        match self.input.byte() % 8 {
            0 => {
                let bytes = self.input.bytes();
                self.frames.push(bytes);
            }
            1 => {
                let frame = sized(self.input.bytes());
                self.frames.push(&frame);
            }
            2 => {
                let (number, tag) = (self.input.byte(), self.input.byte() % 8);
                let frame = sized(&[&[number, tag, 0], self.input.bytes()].concat());
                self.frames.push(&frame);
            }
            3 => self.ask(),
            4 => self.answer(),
            5 => self.transmit(1),
            6 => self.transmit(usize::MAX),
            _ => self.reconnect()?,
        }
        while let Some(frame) = self.frames.pull().ok()?.map(<[u8]>::to_vec) {
            self.handle(&frame)?;
        }
        Some(())
    }

    /// A request that is well-formed in every dialect.
    fn ask(&mut self) {
        let (what, tag, number) = (self.input.byte(), self.input.byte() % 8, self.input.byte() % 8);
        let fid = Fid(number.into());
        let request = match what % 4 {
            0 => Request::Walk { fid: Fid(0), newfid: fid, names: Names::none() },
            1 => Request::Clunk { fid },
            2 => Request::Read { fid, offset: u64::from(what), count: 100 },
            _ => Request::Flush { oldtag: Tag(number.into()) },
        };
        let mut frame = Vec::new();
        request.emit(Dialect::Old, Tag(tag.into()), &mut frame);
        self.frames.push(&frame);
    }

    fn handle(&mut self, frame: &[u8]) -> Option<()> {
        let Some(server) = &mut self.server else { return self.greet(frame) };
        let step = server.handle_frame(frame).ok()?;
        let tag = Tag(u16::from_le_bytes([frame[5], frame[6]]));
        let is_asked = !matches!(Request::parse(server.dialect(), frame), Ok((_, Request::Ack { .. } | Request::Ping)));
        self.tags.entry(tag.0).or_default().0 += usize::from(is_asked);
        match step {
            Step::Done => {}
            Step::Ask { tag, request } => {
                match request {
                    Request::Attach { fid, .. } | Request::Walk { newfid: fid, .. } => {
                        server.admit(fid).map(|()| server.bind(fid, 0)).unwrap_or_default();
                    }
                    Request::Clunk { fid } | Request::Remove { fid } => drop(server.unbind(fid)),
                    _ => {}
                }
                self.waiting.push((tag, matches!(request, Request::Read { .. } | Request::Recv { .. })));
            }
            Step::Cancel(tag) => assert!(self.waiting.iter().any(|(waits, _)| *waits == tag)),
            Step::Again => {
                *self = Self::new(Input(self.input.0));
                return self.greet(frame);
            }
        }
        assert!(self.waiting.len() <= LIMITS.requests);
        // Who does not take his answers is not listened to.
        if self.server.as_ref().is_some_and(|server| server.queued_bytes() > 1 << 16) {
            self.transmit(usize::MAX);
        }
        Some(())
    }

    fn greet(&mut self, frame: &[u8]) -> Option<()> {
        match self.greeting.handle_frame(frame).ok()? {
            Hello::Wait(answer) => assert!(Reply::parse(Dialect::Own, &answer).is_ok()),
            Hello::Plain { dialect, msize, answer } => {
                self.tags.insert(u16::MAX, (1, 0));
                self.server = Some(Server::plain(dialect, msize, answer, LIMITS));
                self.frames.set_limit(msize);
            }
            Hello::Begin { tag, msize } => {
                self.server = Some(Server::begin(tag, msize, IDENTITY, LIMITS));
                self.frames.set_limit(msize);
            }
            Hello::Resume { .. } => return None,
        }
        Some(())
    }

    /// One of the requests is answered.
    fn answer(&mut self) {
        let (which, how) = (usize::from(self.input.byte()), self.input.byte());
        let Some(server) = &mut self.server else { return };
        if self.waiting.is_empty() {
            return server.reply(Tag(u16::from(how)), &Reply::Clunk);
        }
        let (tag, receives) = self.waiting.swap_remove(which % self.waiting.len());
        match how % 4 {
            0 => server.reply(tag, &Reply::Error { errno: 4, reason: "" }),
            1 => server.reply(tag, &Reply::Write { count: 1 }),
            2 if receives => server.deliver(tag, &[]),
            3 if receives => server.deliver(tag, &vec![how; usize::from(how)]),
            _ => server.reply(tag, &Reply::Clunk),
        }
    }

    /// The client takes so many frames.
    fn transmit(&mut self, most: usize) {
        let Some(server) = &mut self.server else { return };
        for _ in 0..most {
            let Some(frame) = server.poll_transmit() else { return };
            if frame.is_empty() {
                continue;
            }
            if matches!(Request::parse(server.dialect(), &frame), Ok((_, Request::Ack { .. }))) {
                continue;
            }
            let (tag, reply) = Reply::parse(server.dialect(), &frame).expect("a reply of the dialect");
            assert!(frame.len() <= server.msize() as usize);
            if matches!(reply, Reply::Ping | Reply::Session { .. }) {
                continue;
            }
            match self.again.pop() {
                Some(before) => assert_eq!(frame, before, "a frame is sent again as it was"),
                None => {
                    let (asked, answered) = self.tags.entry(tag.0).or_default();
                    *answered += 1;
                    assert!(answered <= asked, "{reply} to tag {tag}, which nobody has asked");
                }
            }
            self.log.push(frame.to_vec());
        }
    }

    /// The connection breaks with some frames under way.
    fn reconnect(&mut self) -> Option<()> {
        let lost = usize::from(self.input.byte());
        let Some(server) = &mut self.server else { return Some(()) };
        server.disconnect();
        let before = self.log.len();
        let received = before.saturating_sub(lost);
        self.frames = Frames::new(FIRST_LIMIT);
        server.resume(Tag(1), received as u64).ok()?;
        self.frames.set_limit(MSIZE);
        self.again.extend(self.log.drain(received..).rev());
        Some(())
    }

    /// Every request is answered, and nothing is left.
    fn end(mut self) {
        let Some(server) = &mut self.server else { return };
        for (tag, _) in self.waiting.drain(..) {
            server.reply(tag, &Reply::Clunk);
        }
        assert!(server.is_idle(), "a request that the embedder does not know");
        assert!(server.fid(Fid(0)).is_ok() || server.unbind(Fid(0)).is_err());
        assert!(server.drain().count() <= LIMITS.fids);
        self.transmit(usize::MAX);
    }
}
