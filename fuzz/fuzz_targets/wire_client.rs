//! A client's side of a conversation with a hostile server, over connections that come and go while requests are asked
//! and given up. No panic, no memory beyond a limit, one end for every request, and no clock that asks to be called at
//! once for ever.
#![no_main]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fs9_fuzz::{allocated, sized};
use fs9_proto::client::{Answer, Call, Client, Event, ROOT, Release, Settings};
use fs9_proto::message::{NONBLOCK, Names};
use fs9_proto::{Dialect, Fid, NO_TAG, Reply, Request};
use libfuzzer_sys::fuzz_target;

/// All that one client may have: each byte of the fuzzer asks for one request at most.
const MEMORY: usize = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let before = allocated();
    let mut talk = Talk::new(bytes);
    while !talk.input.is_empty() {
        talk.step();
        talk.drain();
        assert!(allocated() < before + MEMORY, "{} bytes", allocated() - before);
    }
    talk.client.end();
    talk.drain();
    assert!(talk.waiting.is_empty(), "requests that were forgotten");
    assert_eq!(talk.client.kept_bytes(), 0);
});

struct Talk<'a> {
    /// What the fuzzer has thought of.
    input: &'a [u8],
    client: Client<usize>,
    now: Instant,
    calls: Vec<Call>,
    fids: Vec<Fid>,
    /// Requests that have not ended.
    waiting: HashSet<usize>,
}

impl<'a> Talk<'a> {
    fn new(input: &'a [u8]) -> Self {
        let now = Instant::now();
        let client = Client::new(Settings::default(), now);
        Self { input, client, now, calls: Vec::new(), fids: vec![ROOT], waiting: HashSet::new() }
    }

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
        match self.byte() % 12 {
            0 => {
                let frame = sized(self.bytes());
                self.handle(&frame);
            }
            1..4 => {
                let (number, tag) = (self.byte(), self.byte() % 16);
                let frame = sized(&[&[number, tag, 0], self.bytes()].concat());
                self.handle(&frame);
            }
            4 | 5 => self.ask(),
            6 => {
                let call = usize::from(self.byte()) % self.calls.len().max(1);
                if let Some(call) = self.calls.get(call) {
                    self.client.cancel(self.now, *call);
                }
            }
            7 => self.release(),
            8 => {
                for _ in 0..self.byte() {
                    let Some(frame) = self.client.poll_transmit() else { break };
                    Request::parse(Dialect::Own, &frame).expect("a request of the dialect");
                }
            }
            9 => self.client.handle_broken(self.now),
            10 => self.connect(),
            _ => {
                let passed = u64::from(self.byte()) * 200;
                self.now += Duration::from_millis(passed);
                self.client.handle_timeout(self.now);
                let next = self.client.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "what is due was not done");
            }
        }
    }

    fn handle(&mut self, frame: &[u8]) {
        match self.client.handle_frame(self.now, frame) {
            Ok(Some(Answer::Replied { token, .. })) => assert!(self.waiting.remove(&token), "{token} has ended before"),
            Ok(_) => {}
            Err(_) => self.client.handle_broken(self.now),
        }
    }

    /// A server that speaks our language; whether it has what it says it has is another matter.
    fn connect(&mut self) {
        let (id, received) = ([self.byte() % 2 + 1; 16], u64::from(self.byte() % 16));
        self.client.handle_connected(self.now);
        let session = Reply::Session { id, epoch: 1, received, linger_ms: 5000, keep_alive_ms: 5000, limit: 4096 };
        for reply in [Reply::Version { msize: 8192, version: Dialect::Own.version() }, session] {
            let mut frame = Vec::new();
            reply.emit(Dialect::Own, NO_TAG, &mut frame);
            self.handle(&frame);
        }
    }

    fn ask(&mut self) {
        let (what, fid) = (self.byte(), usize::from(self.byte()) % self.fids.len());
        let fid = self.fids[fid];
        let names = Names::new(["jobs"]).expect("one name");
        let walk = |newfid| Request::Walk { fid, newfid, names };
        let token = self.calls.len();
        self.waiting.insert(token);
        let asked = match what % 8 {
            0 => self.client.ask(self.now, &[Request::Send { fid, flags: what >> 7, data: b"hello" }], token),
            1 => self.client.ask(self.now, &[Request::Recv { fid, flags: 0, count: 100 }], token),
            2 => self.client.ask(self.now, &[Request::Recv { fid, flags: NONBLOCK, count: 100 }], token),
            3 => self.client.ask(self.now, &[Request::Watch { fid, interest: 1 }], token),
            4 => self.client.ask(self.now, &[Request::Getattr { fid, mask: 0 }], token),
            5 | 6 if self.client.fids() < 64 => {
                let newfid = self.client.fid().expect("there is room");
                self.fids.push(newfid);
                let enter = Request::Enter { fid: newfid, flags: 2, pid: 1 };
                self.client.ask(self.now, &[walk(newfid), enter], token)
            }
            _ => self.client.ask(self.now, &[], token),
        };
        match asked {
            Ok(call) => self.calls.push(call),
            Err(token) => assert!(self.waiting.remove(&token)),
        }
    }

    fn release(&mut self) {
        let fid = usize::from(self.byte()) % self.fids.len();
        if fid > 0 {
            let how = if self.byte() % 2 == 0 { Release::Clunk } else { Release::Leave { kind: 2, code: 9 } };
            self.client.release(self.fids.swap_remove(fid), how);
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            if let Event::Failed { token, .. } = event {
                assert!(self.waiting.remove(&token), "{token} has ended before");
            }
        }
    }
}
