//! The serving node: sessions of the real machine, and channels of depth one behind them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fs9_proto::attr::Attr;
use fs9_proto::client::ROOT;
use fs9_proto::frame::{FIRST_LIMIT, Frames};
use fs9_proto::message::{NONBLOCK, Qids};
use fs9_proto::server::{Greeting, Hello, Identity, Limits, Server, Step, refuse};
use fs9_proto::violation::Violation;
use fs9_proto::{Fid, Qid, Reply, Request, Tag};

use super::audit::{Audit, Mark};

/// The kind of a Tleave whose reader may not have seen what was delivered last.
pub const GIVE_BACK: u8 = 1;

const EINTR: u32 = 4;
const EBADF: u32 = 9;
const EAGAIN: u32 = 11;
const ESTALE: u32 = 116;
const SILENCE: Duration = Duration::from_secs(45);
const MSIZE: u32 = 1 << 18;

#[derive(Debug, Clone)]
struct File {
    channel: Option<u8>,
    /// What was delivered last, until the next operation on this fid.
    held: Option<Vec<u8>>,
}

/// Somebody who waits at a channel.
#[derive(Debug)]
struct Parked {
    seat: u64,
    tag: Tag,
    fid: Fid,
    message: Vec<u8>,
}

#[derive(Debug, Default)]
struct Channel {
    slot: VecDeque<Vec<u8>>,
    readers: VecDeque<Parked>,
    writers: VecDeque<Parked>,
}

#[derive(Debug)]
struct Seat {
    server: Server<File>,
    connection: Option<u32>,
    alone_since: Instant,
}

/// A connection, before and after it is known whose it is.
#[derive(Debug)]
struct Door {
    frames: Frames,
    greeting: Greeting,
    seat: Option<u64>,
    heard: Instant,
}

#[derive(Debug)]
pub struct Far {
    epoch: u64,
    linger: Duration,
    seats: BTreeMap<u64, Seat>,
    seated: u64,
    doors: BTreeMap<u32, Door>,
    channels: Vec<Channel>,
    out: Vec<(u32, Bytes)>,
    closed: Vec<u32>,
}

impl Far {
    pub fn new(channels: usize, linger: Duration) -> Far {
        Far {
            epoch: 1,
            linger,
            seats: BTreeMap::new(),
            seated: 0,
            doors: BTreeMap::new(),
            channels: (0..channels).map(|_| Channel::default()).collect(),
            out: Vec::new(),
            closed: Vec::new(),
        }
    }

    pub fn accept(&mut self, now: Instant, at: u32) {
        let door = Door { frames: Frames::new(FIRST_LIMIT), greeting: Greeting::new(MSIZE), seat: None, heard: now };
        self.doors.insert(at, door);
    }

    /// Everything is forgotten, as by kill -9 and a new start.
    pub fn restart(&mut self, audit: &mut Audit) {
        self.epoch += 1;
        self.closed.extend(self.doors.keys());
        self.doors.clear();
        for (_, mut seat) in std::mem::take(&mut self.seats) {
            let held = seat.server.drain().filter_map(|(_, file)| file.held);
            held.for_each(|message| audit.burnt(Mark::of(&message)));
        }
        for channel in &mut self.channels {
            channel.slot.iter().for_each(|message| audit.burnt(Mark::of(message)));
            *channel = Channel::default();
        }
        audit.count("restart");
    }

    pub fn bytes(&mut self, now: Instant, at: u32, bytes: &[u8], audit: &mut Audit) {
        let Some(door) = self.doors.get_mut(&at) else { return };
        door.heard = now;
        door.frames.push(bytes);
        loop {
            let Some(door) = self.doors.get_mut(&at) else { return };
            let Some(frame) = door.frames.pull().expect("frames have their lengths") else { break };
            let frame = frame.to_vec();
            match door.seat {
                Some(seat) => self.frame(seat, &frame, audit),
                None => self.greet(now, at, &frame),
            }
        }
        self.flush();
    }

    fn greet(&mut self, now: Instant, at: u32, frame: &[u8]) {
        let Some(door) = self.doors.get_mut(&at) else { return };
        match door.greeting.handle_frame(frame).expect("our own client greets") {
            Hello::Wait(answer) => self.out.push((at, answer)),
            Hello::Plain { .. } => panic!("a session was asked for"),
            Hello::Begin { tag, msize } => {
                self.seated += 1;
                let mut id = [0; 16];
                id[..8].copy_from_slice(&self.seated.to_le_bytes());
                let linger_ms = self.linger.as_millis() as u32;
                let identity =
                    Identity { id, epoch: self.epoch, linger_ms, keep_alive_ms: 45_000, limit: MSIZE - 4096 };
                let server = Server::begin(tag, msize, identity, Limits::default());
                door.frames.set_limit(msize);
                door.seat = Some(self.seated);
                self.seats.insert(self.seated, Seat { server, connection: Some(at), alone_since: now });
            }
            Hello::Resume { tag, id, epoch, received } => {
                let seat = u64::from_le_bytes(id[..8].try_into().unwrap());
                let known = self.seats.get_mut(&seat).filter(|_| epoch == self.epoch);
                let Some(known) = known else { return self.out.push((at, refuse(tag, ESTALE, ""))) };
                known.server.resume(tag, received).expect("a client of ours has what it was sent");
                let before = known.connection.replace(at);
                door.frames.set_limit(MSIZE);
                door.seat = Some(seat);
                before.into_iter().for_each(|before| self.forget(before));
            }
        }
    }

    /// A connection is of no more use.
    fn forget(&mut self, at: u32) {
        self.doors.remove(&at);
        self.closed.push(at);
    }

    pub fn disconnected(&mut self, now: Instant, at: u32) {
        let Some(door) = self.doors.remove(&at) else { return };
        let seat = door.seat.and_then(|seat| self.seats.get_mut(&seat));
        if let Some(seat) = seat.filter(|seat| seat.connection == Some(at)) {
            seat.connection = None;
            seat.alone_since = now;
            seat.server.disconnect();
        }
    }

    pub fn timeout(&mut self, now: Instant, audit: &mut Audit) {
        let silent: Vec<_> =
            self.doors.iter().filter(|(_, door)| door.heard + SILENCE <= now).map(|(at, _)| *at).collect();
        for at in silent {
            self.disconnected(now, at);
            self.closed.push(at);
        }
        let linger = self.linger;
        let over = self.seats.iter().filter(|(_, seat)| seat.connection.is_none() && seat.alone_since + linger <= now);
        for seat in over.map(|(seat, _)| *seat).collect::<Vec<_>>() {
            self.end(seat, audit);
        }
        self.flush();
    }

    pub fn next(&self) -> Option<Instant> {
        let silent = self.doors.values().map(|door| door.heard + SILENCE);
        let alone = self.seats.values().filter(|seat| seat.connection.is_none());
        silent.chain(alone.map(|seat| seat.alone_since + self.linger)).min()
    }

    /// A session is over: what its readers held goes to others.
    fn end(&mut self, seat: u64, audit: &mut Audit) {
        let Some(mut ended) = self.seats.remove(&seat) else { return };
        audit.count("session ended");
        let mut files: Vec<_> = ended.server.drain().collect();
        files.sort_by_key(|(fid, _)| *fid);
        for channel in &mut self.channels {
            channel.readers.retain(|parked| parked.seat != seat);
            channel.writers.retain(|parked| parked.seat != seat);
        }
        for (_, file) in files {
            self.give_back(file, audit);
        }
        self.settle_all(audit);
    }

    fn give_back(&mut self, file: File, audit: &mut Audit) {
        let (Some(channel), Some(message)) = (file.channel, file.held) else { return };
        audit.given_back(Mark::of(&message));
        self.channels[usize::from(channel)].slot.push_front(message);
        self.settle(channel, audit);
    }

    fn frame(&mut self, seat: u64, frame: &[u8], audit: &mut Audit) {
        let Some(Seat { server, connection, .. }) = self.seats.get_mut(&seat) else { return };
        let step = match server.handle_frame(frame) {
            // A client that says goodbye begins again, which has no place in a session.
            Err(Violation::Greeting) => {
                connection.take().into_iter().for_each(|at| self.forget(at));
                return self.end(seat, audit);
            }
            step => step.expect("our own client keeps the protocol"),
        };
        match step {
            Step::Done => {}
            Step::Again => panic!("a session does not begin again"),
            Step::Cancel(tag) => {
                for channel in &mut self.channels {
                    channel.readers.retain(|parked| (parked.seat, parked.tag) != (seat, tag));
                    channel.writers.retain(|parked| (parked.seat, parked.tag) != (seat, tag));
                }
                self.reply(seat, tag, &Reply::Error { errno: EINTR, reason: "" });
            }
            Step::Ask { tag, request } => {
                if let Err(errno) = self.ask(seat, tag, request, audit) {
                    self.reply(seat, tag, &Reply::Error { errno, reason: "" });
                }
            }
        }
    }

    fn ask(&mut self, seat: u64, tag: Tag, request: Request<'_>, audit: &mut Audit) -> Result<(), u32> {
        let server = &mut self.seats.get_mut(&seat).unwrap().server;
        let channel = |server: &Server<File>, fid| server.fid(fid)?.channel.ok_or(EBADF);
        match request {
            Request::Attach { fid, .. } => {
                server.admit(fid)?;
                server.bind(fid, File { channel: None, held: None });
                server.reply(tag, &Reply::Attach { qid: Qid::default() });
            }
            Request::Walk { fid, newfid, names } => {
                assert_eq!(channel(server, fid), Err(EBADF), "walks begin at the root");
                server.admit(newfid)?;
                let path: u8 = names[0].parse().unwrap();
                server.bind(newfid, File { channel: Some(path), held: None });
                let qid = Qid { path: path.into(), ..Qid::default() };
                server.reply(tag, &Reply::Walk { qids: Qids::new([qid]).unwrap() });
            }
            Request::Getattr { fid, .. } => {
                let path = channel(server, fid)?.into();
                let attr = Attr { qid: Qid { path, ..Qid::default() }, ..Attr::default() };
                server.reply(tag, &Reply::Getattr { attr });
            }
            Request::Enter { fid, .. } => {
                let path = channel(server, fid)?.into();
                server.reply(tag, &Reply::Enter { qid: Qid { path, ..Qid::default() }, stream: true });
            }
            Request::Clunk { fid } => {
                self.leave(seat, fid, false, audit)?;
                self.reply(seat, tag, &Reply::Clunk);
            }
            Request::Leave { fid, kind, .. } => {
                self.leave(seat, fid, kind == GIVE_BACK, audit)?;
                self.reply(seat, tag, &Reply::Leave);
            }
            Request::Send { fid, flags, data } => {
                let at = channel(server, fid)?;
                assert_eq!(Mark::of(data).channel, at, "a message came to another channel");
                let into = &mut self.channels[usize::from(at)];
                if flags & NONBLOCK != 0 && !(into.slot.is_empty() && into.writers.is_empty()) {
                    return Err(EAGAIN);
                }
                into.writers.push_back(Parked { seat, tag, fid, message: data.to_vec() });
                self.settle(at, audit);
            }
            Request::Recv { fid, flags, .. } => {
                let at = channel(server, fid)?;
                server.fid_mut(fid)?.held = None;
                let from = &mut self.channels[usize::from(at)];
                if flags & NONBLOCK != 0 && from.slot.is_empty() {
                    return Err(EAGAIN);
                }
                from.readers.push_back(Parked { seat, tag, fid, message: Vec::new() });
                self.settle(at, audit);
            }
            other => panic!("nobody asks for {other}"),
        }
        Ok(())
    }

    fn leave(&mut self, seat: u64, fid: Fid, give_back: bool, audit: &mut Audit) -> Result<(), u32> {
        let file = self.seats.get_mut(&seat).unwrap().server.unbind(fid)?;
        let mut left = Vec::new();
        for line in self.channels.iter_mut().flat_map(|channel| [&mut channel.readers, &mut channel.writers]) {
            let (gone, stays) = line.drain(..).partition(|parked| (parked.seat, parked.fid) == (seat, fid));
            *line = stays;
            left.extend::<VecDeque<Parked>>(gone);
        }
        for parked in left {
            self.reply(seat, parked.tag, &Reply::Error { errno: EBADF, reason: "" });
        }
        if give_back {
            self.give_back(file, audit);
        }
        Ok(())
    }

    fn settle_all(&mut self, audit: &mut Audit) {
        (0..self.channels.len()).for_each(|at| self.settle(at as u8, audit));
    }

    /// Pairs who waits at a channel.
    fn settle(&mut self, at: u8, audit: &mut Audit) {
        loop {
            let channel = &mut self.channels[usize::from(at)];
            if channel.slot.is_empty()
                && let Some(writer) = channel.writers.pop_front()
            {
                audit.arrived(Mark::of(&writer.message));
                let count = writer.message.len() as u32;
                channel.slot.push_back(writer.message);
                self.reply(writer.seat, writer.tag, &Reply::Send { count });
                continue;
            }
            if channel.slot.is_empty() {
                return;
            }
            let Some(reader) = channel.readers.pop_front() else { return };
            let Some(message) = channel.slot.pop_front() else { return };
            if let Some(seat) = self.seats.get_mut(&reader.seat) {
                seat.server.deliver(reader.tag, &message);
                seat.server.fid_mut(reader.fid).expect("who waits has a fid").held = Some(message);
            }
        }
    }

    fn reply(&mut self, seat: u64, tag: Tag, reply: &Reply<'_>) {
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.server.reply(tag, reply);
        }
    }

    fn flush(&mut self) {
        for seat in self.seats.values_mut() {
            while let Some((at, frame)) = seat.connection.and_then(|at| Some((at, seat.server.poll_transmit()?))) {
                self.out.push((at, frame));
            }
        }
    }

    pub fn output(&mut self) -> (Vec<(u32, Bytes)>, Vec<u32>) {
        (std::mem::take(&mut self.out), std::mem::take(&mut self.closed))
    }

    /// A reader of this node takes what is left.
    pub fn empty(&mut self, audit: &mut Audit) {
        for (at, channel) in self.channels.iter_mut().enumerate() {
            assert!(channel.readers.is_empty() && channel.writers.is_empty(), "somebody waits still");
            channel.slot.drain(..).for_each(|message| audit.received(at as u8, &message));
        }
    }

    /// Whether those who left are forgotten, and those who are there have heard everything.
    pub fn is_at_rest(&self) -> bool {
        let mut seats = self.seats.values();
        seats.all(|seat| seat.connection.is_some() && seat.server.is_idle() && seat.server.kept_bytes() == 0)
    }

    /// Nothing is left of anybody but their roots.
    pub fn check_rest(&mut self) {
        for seat in self.seats.values_mut() {
            assert_eq!(seat.server.drain().map(|(fid, _)| fid).collect::<Vec<_>>(), [ROOT]);
        }
    }
}
