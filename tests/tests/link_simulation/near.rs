//! The attaching node: a client machine, and programs that send, receive, look, interrupt and close through it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fs9_proto::client::{Answer, Call, Client, Event, Failure, ROOT, Release, Settings};
use fs9_proto::frame::Frames;
use fs9_proto::message::{NONBLOCK, Names};
use fs9_proto::{Fid, Reply, Request};

use super::audit::{Audit, Mark, Told};
use super::far::GIVE_BACK;
use super::random::Random;

const ENOENT: u32 = 2;
const EBADF: u32 = 9;
const EAGAIN: u32 = 11;
const PATIENCE: Duration = Duration::from_secs(1);

/// Who asked, and which of all that was asked here.
type Token = (usize, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Opening(Fid),
    Looking,
    Sending(Mark),
    Receiving,
}

/// Something that was asked.
#[derive(Debug, Clone, Copy)]
struct Operation {
    number: u64,
    call: Call,
    /// The descriptor that is used.
    fid: Fid,
    doing: Doing,
    /// Whether it may take as long as it likes.
    waits: bool,
    asked: Instant,
    cancelled: Option<Instant>,
}

/// A program that sends, or receives. The one after a sender receives through the same descriptor.
#[derive(Debug)]
struct Program {
    channel: u8,
    writer: Option<u32>,
    sequence: u32,
    descriptor: usize,
    operation: Option<Operation>,
}

#[derive(Debug)]
pub struct Near {
    client: Client<Token>,
    frames: Frames,
    pub connection: Option<u32>,
    heard: Option<Instant>,
    programs: Vec<Program>,
    descriptors: Vec<Option<Fid>>,
    operations: u64,
    /// What was asked and has no outcome.
    open: BTreeMap<u64, usize>,
    closed: Option<u32>,
    pub is_down: bool,
}

impl Near {
    pub fn new(now: Instant, number: u32, programs: usize, channels: u8, linger: Duration) -> Near {
        let settings = Settings { msize: 1 << 18, linger, ..Settings::default() };
        let program = |at: usize| Program {
            channel: at as u8 / 2 % channels,
            writer: at.is_multiple_of(2).then_some(number * 100 + at as u32),
            sequence: 0,
            descriptor: at / 2,
            operation: None,
        };
        Near {
            client: Client::new(settings, now),
            frames: Frames::new(1 << 18),
            connection: None,
            heard: None,
            programs: (0..programs).map(program).collect(),
            descriptors: vec![None; programs.div_ceil(2)],
            operations: 0,
            open: BTreeMap::new(),
            closed: None,
            is_down: true,
        }
    }

    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    pub fn connected(&mut self, now: Instant, at: u32, audit: &mut Audit) {
        self.frames = Frames::new(1 << 18);
        self.connection = Some(at);
        self.is_down = false;
        self.client.handle_connected(now);
        self.events(now, audit);
    }

    pub fn disconnected(&mut self, now: Instant, audit: &mut Audit) {
        self.client.handle_broken(now);
        self.events(now, audit);
    }

    pub fn bytes(&mut self, now: Instant, bytes: &[u8], audit: &mut Audit) {
        self.heard = Some(now);
        self.client.handle_progress(now);
        self.frames.push(bytes);
        while let Some(frame) = self.frames.pull().expect("frames have their lengths") {
            let frame = frame.to_vec();
            let answer = self.client.handle_frame(now, &frame).expect("our own server keeps the protocol");
            match answer {
                Some(Answer::Replied { token, reply }) => self.replied(now, token, &reply, audit),
                Some(Answer::Late { fid, reply }) => self.late(fid, &reply, audit),
                None => {}
            }
            self.events(now, audit);
        }
    }

    pub fn timeout(&mut self, now: Instant, audit: &mut Audit) {
        self.client.handle_timeout(now);
        self.events(now, audit);
    }

    pub fn next(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    pub fn output(&mut self) -> Option<Bytes> {
        self.client.poll_transmit()
    }

    /// The connection that is of no more use.
    pub fn closed(&mut self) -> Option<u32> {
        self.closed.take()
    }

    /// A program does what comes to its mind.
    pub fn act(&mut self, now: Instant, at: usize, random: &mut Random, audit: &mut Audit) {
        let program = &self.programs[at];
        match (program.operation, self.descriptors[program.descriptor]) {
            (Some(operation), _) => {
                if random.percent(25) {
                    self.cancel(now, at, operation);
                }
            }
            _ if random.percent(8) => self.look(now, at, random),
            (None, None) => self.enter(now, at),
            (None, Some(_)) if random.percent(5) => self.close(at),
            (None, Some(fid)) => self.transfer(now, at, fid, random),
        }
        self.events(now, audit);
    }

    /// A program ends what it does, and closes.
    pub fn finish(&mut self, now: Instant, at: usize, audit: &mut Audit) {
        match self.programs[at].operation {
            Some(operation) => self.cancel(now, at, operation),
            None => self.close(at),
        }
        self.events(now, audit);
    }

    /// Whoever is there is told that it is over.
    pub fn detach(&mut self, now: Instant, audit: &mut Audit) {
        audit.count("detached");
        self.client.end();
        self.events(now, audit);
    }

    fn cancel(&mut self, now: Instant, at: usize, operation: Operation) {
        if let Some(current) = self.programs[at].operation.as_mut() {
            current.cancelled.get_or_insert(now);
        }
        self.client.cancel(now, operation.call);
    }

    fn look(&mut self, now: Instant, at: usize, random: &mut Random) {
        let name = self.programs[at].channel.to_string();
        let Some(fid) = self.client.fid() else { return };
        let names = Names::new([name.as_str()]).unwrap();
        let requests = [Request::Walk { fid: ROOT, newfid: fid, names }, Request::Getattr { fid, mask: 0x7ff }];
        self.ask(now, at, Doing::Looking, false, &requests);
        let leave = Release::Leave { kind: 0, code: 0 };
        self.client.release(fid, if random.percent(50) { Release::Clunk } else { leave });
    }

    fn enter(&mut self, now: Instant, at: usize) {
        let name = self.programs[at].channel.to_string();
        let Some(fid) = self.client.fid() else { return };
        let names = Names::new([name.as_str()]).unwrap();
        let requests = [Request::Walk { fid: ROOT, newfid: fid, names }, Request::Enter { fid, flags: 2, pid: 1 }];
        self.ask(now, at, Doing::Opening(fid), false, &requests);
    }

    fn transfer(&mut self, now: Instant, at: usize, fid: Fid, random: &mut Random) {
        let waits = random.percent(85);
        let flags = if waits { 0 } else { NONBLOCK };
        let program = &mut self.programs[at];
        let Some(writer) = program.writer else {
            return self.ask(now, at, Doing::Receiving, waits, &[Request::Recv { fid, flags, count: 1 << 17 }]);
        };
        program.sequence += 1;
        let mark = Mark { channel: program.channel, writer, sequence: program.sequence };
        let padding = if random.percent(3) { 80_000 } else { random.below(50) };
        let data = mark.message(padding as usize);
        self.ask(now, at, Doing::Sending(mark), waits, &[Request::Send { fid, flags, data: &data }]);
    }

    fn ask(&mut self, now: Instant, at: usize, doing: Doing, waits: bool, requests: &[Request<'_>]) {
        self.operations += 1;
        let number = self.operations;
        self.open.insert(number, at);
        let call = self.client.ask(now, requests, (at, number)).expect("there is room");
        let fid = requests[0].fid().expect("a file is asked for");
        self.programs[at].operation = Some(Operation { number, call, fid, doing, waits, asked: now, cancelled: None });
    }

    /// A descriptor is closed when nobody uses it.
    fn close(&mut self, at: usize) {
        let descriptor = self.programs[at].descriptor;
        let mut users = self.programs.iter().filter(|program| program.descriptor == descriptor);
        if users.any(|program| program.operation.is_some()) {
            return;
        }
        if let Some(fid) = self.descriptors[descriptor].take() {
            let kind = if self.client.may_have_taken(fid) { GIVE_BACK } else { 0 };
            self.client.release(fid, Release::Leave { kind, code: 0 });
        }
    }

    /// The operation that has ended now.
    fn ended(&mut self, now: Instant, (at, number): Token) -> Operation {
        assert_eq!(self.open.remove(&number), Some(at), "an outcome of what has one");
        let operation = self.programs[at].operation.take().expect("a program waits for one thing");
        assert_eq!(operation.number, number);
        let since = operation.cancelled.map(|cancelled| cancelled + PATIENCE);
        assert!(since.is_none_or(|by| now <= by), "{operation:?} was cancelled and ends now");
        operation
    }

    fn replied(&mut self, now: Instant, token: Token, reply: &Reply<'_>, audit: &mut Audit) {
        let operation = self.ended(now, token);
        let program = &mut self.programs[token.0];
        match (operation.doing, reply) {
            (Doing::Opening(fid), Reply::Enter { qid, .. }) => {
                assert_eq!(qid.path, u64::from(program.channel));
                // The other program may have been faster.
                if let Some(before) = self.descriptors[program.descriptor].replace(fid) {
                    self.descriptors[program.descriptor] = Some(before);
                    self.client.release(fid, Release::Clunk);
                }
            }
            (Doing::Looking, Reply::Getattr { attr }) => assert_eq!(attr.qid.path, u64::from(program.channel)),
            (Doing::Sending(mark), Reply::Send { .. }) => audit.told(mark, Told::Sent),
            (Doing::Sending(mark), Reply::Error { errno: EAGAIN | EBADF, .. }) => audit.told(mark, Told::NotSent),
            (Doing::Receiving, Reply::Recv { data }) => {
                audit.received(program.channel, data);
            }
            (Doing::Receiving, Reply::Error { errno: EAGAIN, .. }) => {}
            (doing, Reply::Error { errno, .. }) => {
                panic!("{doing:?} fails with {errno} ({ENOENT}: a walk that stopped)")
            }
            (doing, reply) => panic!("{doing:?} is answered with {reply:?}"),
        }
    }

    /// What was taken for somebody who did not wait for it is taken by whoever has the descriptor.
    fn late(&mut self, fid: Fid, reply: &Reply<'_>, audit: &mut Audit) {
        let descriptor = self.descriptors.iter().position(|open| *open == Some(fid)).expect("the fid is in use");
        let program = &self.programs[descriptor * 2];
        let Reply::Recv { data } = reply else { panic!("{reply:?} comes late") };
        audit.received(program.channel, data);
        audit.count("late");
    }

    fn failed(&mut self, now: Instant, token: Token, failure: Failure, audit: &mut Audit) {
        let operation = self.ended(now, token);
        if let Doing::Opening(fid) = operation.doing {
            self.client.release(fid, Release::Clunk);
        }
        let program = &self.programs[token.0];
        let gone = matches!(failure, Failure::Lost(_) | Failure::Unsent(_));
        match (operation.doing, failure) {
            (Doing::Sending(mark), Failure::Unknown) => audit.told(mark, Told::Unknown),
            (Doing::Sending(mark), _) => audit.told(mark, Told::NotSent),
            (_, Failure::Unsent(_) | Failure::Unknown) => panic!("{operation:?}: {failure}"),
            _ => {}
        }
        let silence = now.saturating_duration_since(self.heard.map_or(operation.asked, |at| at.max(operation.asked)));
        match failure {
            Failure::Unreachable => assert!(!operation.waits, "{operation:?}: {failure} after {silence:?}"),
            Failure::Cancelled => assert!(operation.cancelled.is_some()),
            Failure::Lost(_) | Failure::Unsent(_) | Failure::Unknown => {}
        }
        audit.count(match failure {
            Failure::Cancelled => "cancelled",
            Failure::Unreachable => "unreachable",
            Failure::Lost(_) => "lost",
            Failure::Unsent(_) | Failure::Unknown => "not known to be sent",
        });
        let uses = matches!(operation.doing, Doing::Sending(_) | Doing::Receiving);
        if gone
            && uses
            && let Some(fid) = self.descriptors[program.descriptor].take_if(|fid| *fid == operation.fid)
        {
            self.client.release(fid, Release::Clunk);
        }
    }

    fn events(&mut self, now: Instant, audit: &mut Audit) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Failed { token, failure } => self.failed(now, token, failure, audit),
                Event::Up { resumed, .. } => audit.count(if resumed { "resumed" } else { "begun" }),
                Event::Down => {
                    self.closed = self.connection.take();
                    self.is_down = true;
                }
                Event::Lost(_) => audit.count("session lost"),
                Event::Refused(refusal) => panic!("{refusal}"),
            }
        }
        self.check(now);
    }

    /// Nobody who did not ask to wait has waited through a silence.
    fn check(&self, now: Instant) {
        for operation in self.programs.iter().filter_map(|program| program.operation.as_ref()) {
            let heard = self.heard.map_or(operation.asked, |heard| heard.max(operation.asked));
            assert!(operation.waits || now <= heard + PATIENCE, "{operation:?} waits still");
        }
    }

    pub fn is_at_rest(&self) -> bool {
        let done = self.programs.iter().all(|program| program.operation.is_none());
        let done = done && self.descriptors.iter().all(Option::is_none);
        done && self.client.is_up() && self.client.outstanding() == 0 && self.client.kept_bytes() == 0
    }

    pub fn check_rest(&self) {
        assert!(self.open.is_empty(), "requests without an outcome: {:?}", self.open);
        assert_eq!(self.client.fids(), 0, "fids are left");
    }
}
