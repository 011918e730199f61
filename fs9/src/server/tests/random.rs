//! Random operations on the whole server: whatever is asked in whatever order, everybody is answered once, the ledgers
//! balance, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::tree::NodeId;

/// Steps of one run, and the seeds of the runs.
const STEPS: usize = 10_000;
const SEEDS: std::ops::Range<u64> = 1..33;

/// Numbers that look random and are the same in every run (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// A descriptor, as far as it matters to what is asked of it and expected of it.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// The plain view of a channel that delivers each message once.
    Plain,
    /// Another view, a queue with --ack, a topic or a timer.
    Other,
    /// `ctl`.
    Ctl,
    /// `events`.
    Text,
}

struct Run {
    s: Script,
    dice: Dice,
    open: Vec<(Handle, Use)>,
    asked: u64,
    /// Requests without an answer: of which descriptor, and what each wants to write as a plain message.
    waiting: BTreeMap<u64, (Handle, Option<String>)>,
    /// Plain messages that are written, and those that were read.
    written: BTreeSet<String>,
    delivered: BTreeSet<String>,
    /// Requests that read in the plain view.
    plain_reads: BTreeSet<u64>,
    /// The channel (of a service: the connection) that a plain message was written to, or read from.
    places: BTreeMap<String, NodeId>,
}

const NAMES: [&str; 7] = ["q", "r", "k", "p", "d", "s", "t"];
#[rustfmt::skip]
const FILES: [&str; 25] = [
    "q", "q", "q", "r", "r", "p/a", "p/a", "p/b", "p/b", "p/b:whole", "q:line", "q:whole", "k", "events", "s/connect",
    "s/connect", "s/connect", "s/accept", "s/accept", "s/accept", "s/connect:whole", "t", "t", "t:line", "timer/1h",
];

impl Run {
    fn new(seed: u64) -> Run {
        let limits = Limits { message: 40, channels: 64, opens: 40, bytes: 1 << 20 };
        let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (waiting, written, delivered) = Default::default();
        Run {
            s: Script::with(limits),
            dice,
            open: Vec::new(),
            asked: 0,
            waiting,
            written,
            delivered,
            plain_reads: BTreeSet::new(),
            places: BTreeMap::new(),
        }
    }

    fn ask(&mut self, handle: Handle, message: Option<String>) -> u64 {
        self.asked += 1;
        self.waiting.insert(self.asked, (handle, message));
        self.asked
    }

    /// A plain message is read where it was written: no connection sees another's.
    fn place(&mut self, handle: Handle, text: &str) {
        let Ok(node) = self.s.server.peer(handle).map(|peer| peer.node) else { return };
        let known = *self.places.entry(text.to_owned()).or_insert(node);
        assert!(known == node || !text.starts_with("plain"), "{text} is in the wrong channel");
    }

    /// Takes note of the answers; nobody is answered twice or without having asked.
    fn listen(&mut self) {
        self.s.fx.carry_out();
        balanced(&self.s.server);
        let said: Vec<_> = self.s.door.said().drain(..).collect();
        for (id, what) in said {
            if what == "wake" {
                continue;
            }
            let (handle, message) =
                self.waiting.remove(&id).unwrap_or_else(|| panic!("{id} is answered again: {what}"));
            if let Some(message) = message
                && what.starts_with("wrote")
            {
                self.place(handle, &message);
                self.written.insert(message);
            }
            if let Some(text) = what.strip_prefix("has ")
                && self.plain_reads.remove(&id)
            {
                let text = text.trim_matches('"').to_owned();
                self.place(handle, &text);
                let again = !self.delivered.insert(text.clone()) && text.starts_with("plain");
                assert!(!again, "{text} is delivered again");
            }
        }
        assert_eq!(
            self.s.server.parked.keys().copied().collect::<BTreeSet<_>>(),
            self.waiting.keys().copied().collect::<BTreeSet<_>>(),
            "who is not answered waits, and nobody else"
        );
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..14 => self.open_something(),
            14..46 => self.read(),
            46..78 => self.write(),
            78..82 => {
                let id = self.dice.roll(self.asked as usize + 3) as u64;
                let id = self.waiting.keys().copied().nth(self.dice.roll(self.waiting.len() + 1)).unwrap_or(id);
                self.s.server.interrupt(id, &mut self.s.fx);
            }
            82..90 => {
                if let Some((handle, _)) = self.any() {
                    self.open.retain(|(open, _)| *open != handle);
                    self.s.server.clunk(handle, &mut self.s.fx);
                }
            }
            90..94 => {
                if let Some((handle, _)) = self.any() {
                    let watch = self.dice.chance(60).then(|| Watcher::new(self.s.door.clone(), handle as u64));
                    let interest = self.dice.one(&[IN, OUT, PRI]);
                    self.s.server.poll(handle, interest, watch, &mut self.s.fx).unwrap();
                }
            }
            94..96 => {
                if let Some((handle, _)) = self.any() {
                    self.s.server.fsync(handle).unwrap();
                    self.s.server.flush(handle, 0);
                }
            }
            _ => self.obey(),
        }
        self.listen();
    }

    fn any(&mut self) -> Option<(Handle, Use)> {
        (!self.open.is_empty()).then(|| self.dice.one(&self.open))
    }

    fn open_something(&mut self) {
        let path = if self.dice.chance(2) { "ctl" } else { self.dice.one(&FILES) };
        let mut at = Ok((File::of(ROOT), View::Plain));
        for name in path.split('/') {
            at = at.and_then(|(dir, _)| self.s.server.walk(dir, name.as_bytes()).map(|(f, v, _)| (f, v)));
        }
        let Ok((file, view)) = at else { return self.make(&path[..1]) };
        let text = path == "events";
        let mode = if text { 0 } else { self.dice.roll(3) };
        let flags = Flags { read: mode != 1, write: mode > 0, ..Flags::default() };
        if let Ok(opened) = self.s.server.open(file, view, flags, Caller::default(), &mut self.s.fx) {
            let what = match path {
                "ctl" => Use::Ctl,
                _ if text => Use::Text,
                "q" | "r" | "p/a" | "p/b" | "s/connect" | "s/accept" => Use::Plain,
                _ => Use::Other,
            };
            self.open.push((opened.handle, what));
        }
    }

    fn read(&mut self) {
        let Some((handle, what)) = self.any() else { return };
        let id = self.ask(handle, None);
        // Short reads get parts, which are not whole messages to recognise.
        let size = if what == Use::Plain { 4096 } else { self.dice.one(&[1, 5, 4096]) };
        if what == Use::Plain {
            self.plain_reads.insert(id);
        }
        let (nonblocking, ticket) = (self.dice.chance(20), self.s.ticket(id));
        self.s.server.read(handle, 0, size, nonblocking, ticket, &mut self.s.fx);
    }

    fn write(&mut self) {
        let Some((handle, what)) = self.any() else { return };
        if what == Use::Ctl {
            return;
        }
        let text = match self.dice.roll(6) {
            0 if what != Use::Plain => format!("a{}\nb\nccc\nd", self.asked),
            1 if what != Use::Plain => format!("{}\n", self.asked),
            2 => format!("{:045}", self.asked), // too long
            _ if what == Use::Plain => format!("plain {}", self.asked),
            _ => format!("view {}", self.asked),
        };
        let id = self.ask(handle, (what == Use::Plain).then(|| text.clone()));
        let flags = Flags { nonblocking: self.dice.chance(20), sync: self.dice.chance(20), ..PLAIN };
        let (caller, ticket) = (Caller::default(), self.s.ticket(id));
        let data = match self.dice.chance(20) {
            true => Data::Owned(self.s.store.copy(text.as_bytes()).unwrap()),
            false => Data::Lent(text.as_bytes()),
        };
        self.s.server.write(handle, data, flags, caller, ticket, &mut self.s.fx);
    }

    fn obey(&mut self) {
        let name = self.dice.one(&NAMES);
        let root = File::of(ROOT);
        match self.dice.roll(9) {
            0 => drop(self.s.server.make_directory(root, b"d", 0o700, Caller::default(), &mut self.s.fx)),
            1 => drop(self.s.server.remove(root, name.as_bytes(), ["d", "p", "s"].contains(&name), &mut self.s.fx)),
            2 => drop(self.s.server.rename(root, b"r", root, b"x").and_then(|()| {
                self.s.server.rename(root, b"x", root, b"r") // and back
            })),
            3 => {
                let ctl = self.s.find("ctl").0;
                let verb = self.dice.one(&["hangup p", "hangup s"]);
                let _ = self.s.server.obey(ctl, verb.as_bytes(), Caller::default(), &mut self.s.fx);
            }
            4 => self.s.server.tick(&mut self.s.fx),
            _ => self.make(name),
        }
    }

    /// Makes the channel of that name, if it is not there.
    fn make(&mut self, name: &str) {
        let verb = match name {
            "k" => "new --ack k".to_owned(),
            "p" => "new --pair p".to_owned(),
            "s" => "new --service --backlog=3 s".to_owned(),
            "t" => format!("new --topic {} t", self.dice.one(&["", "--latest"])).replace("  ", " "),
            name => format!("new {name}"),
        };
        let ctl = self.s.find("ctl").0;
        let _ = self.s.server.obey(ctl, verb.as_bytes(), Caller::default(), &mut self.s.fx);
    }

    /// What was read was written: a write that failed has sent nothing.
    fn judge(&self) {
        let plain = |message: &&String| message.starts_with("plain");
        let unwritten: Vec<_> = self.delivered.iter().filter(plain).filter(|m| !self.written.contains(*m)).collect();
        assert!(unwritten.is_empty(), "read but not written: {unwritten:?}");
        let plain: Vec<_> = self.delivered.iter().filter(plain).collect();
        let on_connections = plain.iter().filter(|message| Tree::number(self.places[**message]) > 1).count();
        let read = (plain.len(), on_connections);
        assert!(read.0 > 150 && read.1 > 15, "{read:?} messages were read: too little has happened to say anything");
    }
}

#[test]
fn whatever_is_asked_everybody_is_answered_once_and_nothing_is_left() {
    for seed in SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        run.s.server.stop(&mut run.s.fx);
        run.listen();
        assert!(run.waiting.is_empty(), "seed {seed}: not answered by the stop: {:?}", run.waiting);
        run.judge();
        for (handle, _) in std::mem::take(&mut run.open) {
            run.s.server.clunk(handle, &mut run.s.fx);
        }
        run.listen();
        nothing_is_left(&run.s.server);
        assert_eq!(run.s.store.used(), 0, "seed {seed}");
    }
}

/// As the last, but ended by closing everything instead of the stop.
#[test]
fn whatever_was_asked_closing_and_removing_everything_leaves_nothing() {
    for seed in SEEDS {
        let mut run = Run::new(seed << 8);
        for _ in 0..STEPS {
            run.step();
        }
        for (handle, _) in std::mem::take(&mut run.open) {
            run.s.server.clunk(handle, &mut run.s.fx);
            run.listen();
        }
        assert!(run.waiting.is_empty(), "seed {seed}: not answered by the close: {:?}", run.waiting);
        run.judge();
        run.s.done();
    }
}
