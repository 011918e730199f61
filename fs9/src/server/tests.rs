//! Transcripts: what is asked of a server without a door, and what it says, in order. No request ever waits here: one
//! that says nothing is in line.
#![allow(clippy::unwrap_used, reason = "a failed test")]

mod interleavings;
mod random;

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::*;
use crate::ticket::Door;

/// A door that writes down what it is told.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<(u64, String)>>);

impl Recorder {
    fn said(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
        // A test that fails must not fail again where its tickets are dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door for Recorder {
    fn answer(&self, id: u64, answer: Answer) {
        let what = match answer {
            Answer::Data(message, range) => format!("has {:?}", String::from_utf8_lossy(&message[range])),
            Answer::End => "at end".into(),
            Answer::Written(len) => format!("wrote {len}"),
            Answer::Error(errno) => name(errno),
        };
        self.said().push((id, what));
    }

    fn wake(&self, watch: u64) {
        self.said().push((watch, "wake".into()));
    }
}

fn name(errno: Errno) -> String {
    let known = [
        (Errno::AGAIN, "EAGAIN"),
        (Errno::BADF, "EBADF"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::INTR, "EINTR"),
        (Errno::MSGSIZE, "EMSGSIZE"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::PIPE, "EPIPE"),
        (Errno::SHUTDOWN, "ESHUTDOWN"),
        (Errno::INVAL, "EINVAL"),
        (Errno::ACCESS, "EACCES"),
        (Errno::EXIST, "EEXIST"),
    ];
    known.iter().find(|(e, _)| *e == errno).map_or_else(|| format!("{errno:?}"), |(_, name)| (*name).into())
}

/// A process that has ended and is not reaped, so that its number is still its own: a holder of which only the close
/// is outstanding.
struct Ended(Child);

impl Ended {
    fn by(script: &str) -> Ended {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        Ended(child)
    }

    fn killed() -> Ended {
        Ended::by("kill -9 $$")
    }

    fn tid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

const PLAIN: Flags = Flags { read: true, write: true, nonblocking: false, sync: false, continued: false };
const NONBLOCKING: Flags = Flags { nonblocking: true, ..PLAIN };
const SYNC: Flags = Flags { sync: true, ..PLAIN };

fn small() -> Limits {
    Limits { message: 16, channels: 64, opens: 64, bytes: 1 << 20 }
}

/// A server whose answers read as lines.
struct Script {
    server: Server,
    store: Arc<Store>,
    door: Arc<Recorder>,
    fx: Effects,
    open: Vec<Handle>,
    asked_to_stop: bool,
}

impl Script {
    fn new() -> Script {
        Script::with(small())
    }

    fn with(limits: Limits) -> Script {
        let store = Store::new(limits.bytes, 64);
        let server = Server::new(limits, store.clone(), 0, 0);
        let (door, fx) = (Arc::default(), Effects::default());
        Script { server, store, door, fx, open: Vec::new(), asked_to_stop: false }
    }

    /// With a queue `q` and a pair `p`.
    fn usual() -> Script {
        let mut s = Script::new();
        assert_eq!(s.ctl("new q"), ["wrote 5"]);
        assert_eq!(s.ctl("new --pair p"), ["wrote 12"]);
        s
    }

    fn ticket(&self, id: u64) -> Ticket {
        Ticket::new(self.door.clone(), id)
    }

    /// What was said since it was last asked. The ledgers balance at every such moment.
    fn said(&mut self) -> Vec<String> {
        self.asked_to_stop |= self.fx.carry_out(&*self.door);
        balanced(&self.server);
        self.door.said().drain(..).map(|(id, what)| format!("{id} {what}")).collect()
    }

    fn find(&self, path: &str) -> (File, View) {
        path.split('/').fold((File::of(ROOT), View::Plain), |(dir, _), name| {
            let (file, view, _) = self.server.walk(dir, name.as_bytes()).unwrap();
            (file, view)
        })
    }

    fn try_open(&mut self, path: &str, access: &str, tid: u32) -> Answered<Handle> {
        let (file, view) = self.find(path);
        let flags = Flags { read: access.contains('r'), write: access.contains('w'), ..Flags::default() };
        let opened = self.server.open(file, view, flags, Caller { tid, ..Caller::default() }, &mut self.fx);
        self.open.extend(opened.map(|opened| opened.handle));
        opened.map(|opened| opened.handle)
    }

    fn open(&mut self, path: &str, access: &str) -> Handle {
        self.try_open(path, access, 0).unwrap()
    }

    fn read(&mut self, handle: Handle, id: u64) -> Vec<String> {
        self.read_some(handle, id, 100, false)
    }

    fn read_some(&mut self, handle: Handle, id: u64, size: usize, nonblocking: bool) -> Vec<String> {
        let ticket = self.ticket(id);
        self.server.read(handle, 0, size, nonblocking, ticket, &mut self.fx);
        self.said()
    }

    fn write(&mut self, handle: Handle, id: u64, text: &str) -> Vec<String> {
        self.write_with(handle, id, text, PLAIN)
    }

    fn write_with(&mut self, handle: Handle, id: u64, text: &str, flags: Flags) -> Vec<String> {
        let ticket = self.ticket(id);
        self.server.write(handle, Data::Lent(text.as_bytes()), flags, Caller::default(), ticket, &mut self.fx);
        self.said()
    }

    /// One verb to `ctl`; what is said to ticket 0 is told without a number.
    fn ctl(&mut self, verb: &str) -> Vec<String> {
        let ctl = self.open("ctl", "w");
        let mut said = self.write(ctl, 999, verb);
        said.extend(self.clunk(ctl));
        said.into_iter().map(|line| line.strip_prefix("999 ").map_or(line.clone(), str::to_owned)).collect()
    }

    fn interrupt(&mut self, id: u64) -> Vec<String> {
        self.server.interrupt(id, &mut self.fx);
        self.said()
    }

    fn clunk(&mut self, handle: Handle) -> Vec<String> {
        self.open.retain(|open| *open != handle);
        self.server.clunk(handle, &mut self.fx);
        self.said()
    }

    fn stop(&mut self) -> Vec<String> {
        self.server.stop(&mut self.fx);
        self.said()
    }

    fn poll(&mut self, handle: Handle, interest: u32, watch: Option<u64>) -> u32 {
        self.server.poll(handle, interest, watch).unwrap() & (PRI | ready::ERR | ready::HUP)
    }

    /// Figures of the lane that `end` writes (0 for a queue): sent, received, redelivered, slot, held.
    fn ledger(&self, path: &str, lane: usize) -> [u64; 5] {
        let channels = self.server.tree.channels();
        let (.., channel) = channels.into_iter().find(|(name, ..)| name == path).unwrap();
        let ledger = channel.lanes().nth(lane).unwrap().1.ledger();
        [ledger.sent, ledger.received, ledger.redelivered, ledger.slot, ledger.held]
    }

    /// Everything is closed and removed: nothing waits, and no byte is held.
    fn done(mut self) {
        for handle in std::mem::take(&mut self.open) {
            self.clunk(handle);
        }
        let names: Vec<String> = self.server.tree.channels().into_iter().map(|(name, ..)| name).collect();
        for name in names {
            self.ctl(&format!("rm {name}"));
        }
        nothing_is_left(&self.server);
        assert_eq!(self.store.used(), 0);
    }
}

/// POLLIN and POLLOUT without their synonyms.
const PRI: u32 = IN | OUT;
const IN: u32 = 0x1;
const OUT: u32 = 0x4;
const NOTHING: [&str; 0] = [];

fn balanced(server: &Server) {
    for (name, _, _, channel) in server.tree.channels() {
        for (_, lane) in channel.lanes() {
            assert!(lane.ledger().balances(), "{name}: {:?}", lane.ledger());
        }
    }
}

/// Nothing is open and nobody waits.
fn nothing_is_left(server: &Server) {
    assert!(server.open.is_empty() && server.parked.is_empty() && server.holders.is_empty());
    assert!(server.event_waiters.is_empty() && server.event_readers.is_empty());
    for (_, _, _, channel) in server.tree.channels() {
        assert_eq!((channel.opens, channel.watchers.len()), (0, 0));
        assert!(channel.lanes().all(|(_, lane)| lane.waiting() == (0, 0)));
    }
}

#[test]
fn a_message_goes_from_a_writer_to_the_reader_that_came_first() {
    let mut s = Script::usual();
    let (w, r1, r2) = (s.open("q", "w"), s.open("q", "r"), s.open("q", "r"));
    assert_eq!(s.read(r1, 1), NOTHING);
    assert_eq!(s.read(r2, 2), NOTHING);
    assert_eq!(s.server.parked.len(), 2);
    assert_eq!(s.write(w, 3, "one"), ["1 has \"one\"", "3 wrote 3"]);
    assert_eq!(s.write(w, 4, "two"), ["2 has \"two\"", "4 wrote 3"]);
    assert_eq!(s.write(w, 5, "three"), ["5 wrote 5"], "the slot is free");
    assert_eq!(s.write(w, 6, "four"), NOTHING, "the slot is full");
    assert_eq!(s.ledger("q", 0), [3, 0, 0, 1, 2]);
    assert_eq!(s.read(r1, 7), ["7 has \"three\"", "6 wrote 4"]);
    assert_eq!(s.ledger("q", 0), [4, 1, 0, 1, 2]);
    s.done();
}

#[test]
fn a_short_buffer_leaves_the_rest_for_the_next_read() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "hello");
    assert_eq!(s.read_some(r, 2, 2, false), ["2 has \"he\""]);
    assert_eq!(s.read_some(r, 3, 100, true), ["3 has \"llo\""]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 EAGAIN"]);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn a_continuation_of_a_large_read_is_its_end_and_consumes_nothing() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "a");
    let ticket = s.ticket(2);
    s.server.read(r, 4096, 100, false, ticket, &mut s.fx);
    assert_eq!(s.said(), ["2 at end"]);
    assert_eq!(s.read(r, 3), ["3 has \"a\""]);
    s.done();
}

#[test]
fn a_later_piece_of_a_write_is_not_a_message() {
    let mut s = Script::usual();
    let w = s.open("q", "w");
    assert_eq!(s.write_with(w, 1, "a", Flags { continued: true, ..PLAIN }), ["1 EMSGSIZE"]);
    assert_eq!(s.ledger("q", 0)[0], 0);
    let w = s.open("q:whole", "w");
    assert_eq!(s.write_with(w, 2, "a", Flags { continued: true, ..PLAIN }), ["2 wrote 1"], "a view takes them all");
    s.done();
}

#[test]
fn an_interrupted_wait_has_sent_and_consumed_nothing() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read(r, 1);
    assert_eq!(s.interrupt(1), ["1 EINTR"]);
    assert_eq!(s.interrupt(1), NOTHING, "only once");
    s.write(w, 2, "a");
    assert_eq!(s.write(w, 3, "b"), NOTHING);
    assert_eq!(s.write(w, 4, "c"), NOTHING);
    assert_eq!(s.interrupt(3), ["3 EINTR"]);
    assert_eq!(s.read(r, 5), ["5 has \"a\"", "4 wrote 1"]);
    assert_eq!(s.read(r, 6), ["6 has \"c\""]);
    assert_eq!(s.ledger("q", 0)[0], 2);
    s.done();
}

#[test]
fn an_interrupt_that_comes_before_its_request_keeps_it_from_waiting() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.interrupt(1), NOTHING);
    assert_eq!(s.read(r, 1), ["1 EINTR"]);
    assert_eq!(s.read(r, 2), NOTHING, "it was for that request only");
    s.interrupt(3);
    assert_eq!(s.write(w, 3, "a"), ["2 has \"a\"", "3 wrote 1"], "what need not wait is done");
    s.write(w, 4, "b");
    s.interrupt(5);
    assert_eq!(s.write(w, 5, "c"), ["5 EINTR"]);
    let events = s.open("events", "r");
    s.interrupt(6);
    assert_eq!(s.read(events, 6), ["6 EINTR"]);
    assert!(s.server.event_waiters.is_empty());
    s.done();
}

#[test]
fn early_interrupts_are_remembered_up_to_a_bound() {
    let mut s = Script::usual();
    let r = s.open("q", "r");
    for id in 1..=EARLY as u64 + 1 {
        s.interrupt(id);
    }
    assert_eq!(s.server.early.len(), EARLY);
    assert_eq!(s.read(r, 2), ["2 EINTR"]);
    assert_eq!(s.read(r, 1), NOTHING, "the oldest was forgotten");
    s.done();
}

#[test]
fn nonblocking_fails_where_it_would_wait_and_only_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.read_some(r, 1, 100, true), ["1 EAGAIN"]);
    assert_eq!(s.write_with(w, 2, "a", NONBLOCKING), ["2 wrote 1"]);
    assert_eq!(s.write_with(w, 3, "b", NONBLOCKING), ["3 EAGAIN"]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 has \"a\""]);
    let sync = Flags { sync: true, ..NONBLOCKING };
    assert_eq!(s.write_with(w, 5, "c", sync), ["5 EAGAIN"], "no reader waits");
    assert_eq!(s.read(r, 6), NOTHING);
    assert_eq!(s.write_with(w, 7, "d", sync), ["6 has \"d\"", "7 wrote 1"]);
    s.done();
}

#[test]
fn a_synchronous_write_waits_for_its_reader() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "a", SYNC), NOTHING);
    assert_eq!(s.write(w, 2, "b"), NOTHING, "order is kept");
    assert_eq!(s.interrupt(1), ["1 EINTR", "2 wrote 1"]);
    assert_eq!(s.write_with(w, 3, "c", SYNC), NOTHING);
    assert_eq!(s.read(r, 4), ["4 has \"b\""]);
    assert_eq!(s.read(r, 5), ["5 has \"c\"", "3 wrote 1"]);
    s.done();
}

#[test]
fn a_descriptor_does_only_what_it_was_opened_for() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.read(w, 1), ["1 EBADF"]);
    assert_eq!(s.write(r, 2, "a"), ["2 EBADF"]);
    assert_eq!(s.read(777, 3), ["3 EBADF"]);
    assert_eq!(s.try_open("status", "w", 0), Err(Errno::ACCESS));
    assert_eq!(s.try_open("events", "rw", 0), Err(Errno::ACCESS));
    let status = s.open("p/status", "r");
    assert_eq!(s.write(status, 4, "a"), ["4 EACCES"]);
    assert!(s.read(status, 5)[0].starts_with("5 has \"p  pair "));
    s.done();
}

#[test]
fn a_line_view_sends_a_message_a_line_and_the_unfinished_one_at_close() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "he"), ["1 wrote 2"], "unfinished");
    assert_eq!(s.ledger("q", 0)[0], 0);
    assert_eq!(s.write(w, 2, "llo\nyou\nth"), NOTHING, "the second line waits for the slot");
    assert_eq!(s.read(r, 3), ["3 has \"hello\\n\"", "2 wrote 10"]);
    assert_eq!(s.read(r, 4), ["4 has \"you\\n\""]);
    assert_eq!(s.write(w, 5, "ere"), ["5 wrote 3"]);
    assert_eq!(s.read(r, 6), NOTHING);
    assert_eq!(s.clunk(w), ["6 has \"there\""]);
    s.done();
}

#[test]
fn lines_that_are_interrupted_midway_are_written_as_far_as_they_were_sent() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "one\ntwo\nthree\nrest"), NOTHING);
    assert_eq!(s.read(r, 2), ["2 has \"one\\n\""]);
    assert_eq!(s.ledger("q", 0)[0], 2, "the next line has gone in");
    assert_eq!(s.interrupt(1), ["1 wrote 8"]);
    assert_eq!(s.read(r, 3), ["3 has \"two\\n\""]);
    assert_eq!(s.read_some(r, 4, 100, true), ["4 EAGAIN"]);
    assert_eq!(s.clunk(w), NOTHING, "what was not written is not sent at close");
    assert_eq!(s.ledger("q", 0)[0], 2);
    s.done();
}

#[test]
fn the_first_of_several_lines_interrupted_sends_nothing_and_keeps_what_was_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    s.write(w, 1, "he");
    let other = s.open("q", "w");
    s.write(other, 2, "slot");
    assert_eq!(s.write(w, 3, "llo\nyou\n"), NOTHING);
    assert_eq!(s.interrupt(3), ["3 EINTR"]);
    assert_eq!(s.read(r, 4), ["4 has \"slot\""]);
    assert_eq!(s.write(w, 5, "y\n"), ["5 wrote 2"]);
    assert_eq!(s.read(r, 6), ["6 has \"hey\\n\""]);
    s.interrupt(7);
    assert_eq!(s.write(w, 7, "a\nb\nc\n"), ["7 wrote 2"], "interrupted early: it stops where it would wait");
    s.done();
}

#[test]
fn lines_that_are_broken_midway_are_written_as_far_as_they_were_sent() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a:line", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.write(a, 1, "one\ntwo\nthree\n"), NOTHING);
    assert_eq!(s.clunk(b), ["1 wrote 4"]);
    assert_eq!(s.write(a, 2, "more\n"), ["2 EPIPE"]);
    assert_eq!(s.write(a, 3, "more"), ["3 EPIPE"]);
    s.done();
}

#[test]
fn nonblocking_lines_stop_where_they_would_wait() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "one\ntwo\nrest", NONBLOCKING), ["1 wrote 4"]);
    assert_eq!(s.write_with(w, 2, "two\nrest", NONBLOCKING), ["2 EAGAIN"]);
    assert_eq!(s.read(r, 3), ["3 has \"one\\n\""]);
    assert_eq!(s.write_with(w, 4, "two\nrest", NONBLOCKING), ["4 wrote 8"]);
    s.done();
}

#[test]
fn a_reader_of_the_line_view_gets_a_newline_with_every_message() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q:line", "r"));
    s.write(w, 1, "a");
    assert_eq!(s.read(r, 2), ["2 has \"a\\n\""]);
    s.write(w, 3, "b\n");
    assert_eq!(s.read_some(r, 4, 1, false), ["4 has \"b\""]);
    assert_eq!(s.read_some(r, 5, 1, false), ["5 has \"\\n\""]);
    s.done();
}

#[test]
fn a_synchronous_line_waits_for_its_reader() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write_with(w, 1, "a\n", SYNC), NOTHING);
    assert_eq!(s.read(r, 2), ["2 has \"a\\n\"", "1 wrote 2"]);
    s.done();
}

#[test]
fn the_whole_view_is_one_message_and_then_the_end() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q:whole", "w"), s.open("q:whole", "r"));
    assert_eq!(s.read(r, 1), NOTHING);
    assert_eq!(s.write(w, 2, "ab"), ["2 wrote 2"]);
    assert_eq!(s.write(w, 3, "\ncd"), ["3 wrote 3"]);
    assert_eq!(s.clunk(w), ["1 has \"ab\\ncd\""]);
    assert_eq!(s.poll(r, IN, None), IN);
    assert_eq!(s.read(r, 4), ["4 at end"]);
    assert_eq!(s.read(r, 5), ["5 at end"]);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn the_first_bytes_of_a_whole_wait_for_the_slot_and_the_rest_do_not() {
    let mut s = Script::usual();
    let (other, r) = (s.open("q", "w"), s.open("q", "r"));
    let (w1, w2) = (s.open("q:whole", "w"), s.open("q:whole", "w"));
    s.write(other, 1, "slot");
    assert_eq!(s.write(w1, 2, "ab"), NOTHING);
    assert_eq!(s.write(w2, 3, "xy"), NOTHING);
    assert_eq!(s.write_with(w2, 4, "xy", NONBLOCKING), ["4 EAGAIN"]);
    assert_eq!(s.interrupt(2), ["2 EINTR"]);
    assert_eq!(s.clunk(w1), NOTHING, "it has written nothing");
    assert_eq!(s.read(r, 5), ["5 has \"slot\"", "3 wrote 2"]);
    s.write(other, 6, "slot");
    assert_eq!(s.write(w2, 7, "z"), ["7 wrote 1"], "once begun it goes on");
    s.clunk(w2);
    assert_eq!(s.read(r, 8), ["8 has \"slot\""]);
    assert_eq!(s.read(r, 9), ["9 has \"xyz\""]);
    s.done();
}

#[test]
fn a_whole_that_waits_to_begin_ends_with_the_channel() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(a, 1, "slot");
    s.clunk(a);
    s.clunk(b);
    let (other, w) = (s.open("q", "w"), s.open("q:whole", "w"));
    s.write(other, 2, "slot");
    assert_eq!(s.write(w, 3, "ab"), NOTHING);
    assert_eq!(s.ctl("rm q"), ["3 EPIPE", "wrote 4"]);
    s.done();
}

#[test]
fn what_a_killed_writer_gathered_is_not_sent() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let w = s.try_open("q:whole", "w", killed.tid()).unwrap();
    s.write(w, 1, "half");
    s.clunk(w);
    assert_eq!(s.ledger("q", 0)[0], 0);
    let exited = Ended::by("exit 3");
    let w = s.try_open("q:whole", "w", exited.tid()).unwrap();
    s.write(w, 2, "all");
    s.clunk(w);
    assert_eq!(s.ledger("q", 0)[0], 1);
    s.done();
}

#[test]
fn over_the_limit_nothing_is_sent() {
    let mut s = Script::usual();
    let (w, whole, line, r) = (s.open("q", "w"), s.open("q:whole", "w"), s.open("q:line", "w"), s.open("q", "r"));
    assert_eq!(s.write(w, 1, "12345678901234567"), ["1 EMSGSIZE"]);
    assert_eq!(s.write(whole, 2, "1234567890"), ["2 wrote 10"]);
    assert_eq!(s.write(whole, 3, "1234567"), ["3 EMSGSIZE"]);
    assert_eq!(s.write(whole, 4, "1"), ["4 EMSGSIZE"], "and from now on");
    assert_eq!(s.write(line, 5, "ok\n12345678901234567\n"), ["5 EMSGSIZE"]);
    s.clunk(whole);
    s.clunk(line);
    assert_eq!(s.ledger("q", 0)[0], 0);
    assert_eq!(s.write(w, 6, "1234567890123456"), ["6 wrote 16"]);
    assert_eq!(s.read(r, 7), ["7 has \"1234567890123456\""]);
    s.done();
}

#[test]
fn a_reader_that_dies_on_a_message_gives_it_back() {
    let mut s = Script::usual();
    let (w, other) = (s.open("q", "w"), s.open("q", "r"));
    for (script, back) in [("kill -9 $$", true), ("kill -15 $$", true), ("exit 1", true), ("exit 0", false)] {
        let ended = Ended::by(script);
        let r = s.try_open("q", "r", ended.tid()).unwrap();
        assert_eq!(s.write(w, 1, "a"), ["1 wrote 1"]);
        assert_eq!(s.read_some(r, 2, 1, false), ["2 has \"a\""]);
        assert_eq!(s.write(w, 3, "b"), ["3 wrote 1"]);
        assert_eq!(s.clunk(r), NOTHING);
        let next: Vec<String> = (0..2).flat_map(|_| s.read_some(other, 4, 1, true)).collect();
        let expected = if back { ["4 has \"a\"", "4 has \"b\""] } else { ["4 has \"b\"", "4 EAGAIN"] };
        assert_eq!(next, expected, "{script}");
        s.read_some(other, 5, 1, true);
    }
    assert_eq!(s.ledger("q", 0), [8, 8, 3, 0, 0]);
    s.done();
}

#[test]
fn who_closes_while_alive_has_received_even_if_killed_before_the_release() {
    let mut s = Script::usual();
    let (w, me) = (s.open("q", "w"), std::process::id());
    let r = s.try_open("q", "r", me).unwrap();
    s.write(w, 1, "a");
    s.read(r, 2);
    s.server.flush(r, me);
    s.clunk(r);
    assert_eq!(s.ledger("q", 0), [1, 1, 0, 0, 0]);
    s.done();
}

#[test]
fn with_ack_only_a_read_or_fsync_acknowledges() {
    let mut s = Script::new();
    s.ctl("new --ack q");
    let w = s.open("q", "w");
    // Closed without: it comes back, also from a reader that also wrote.
    let r = s.open("q", "rw");
    s.write(w, 1, "a");
    assert_eq!(s.read(r, 2), ["2 has \"a\""]);
    assert_eq!(s.write(r, 3, "answer"), ["3 wrote 6"]);
    assert_eq!(s.clunk(r), NOTHING);
    let r = s.open("q", "r");
    assert_eq!(s.read(r, 4), ["4 has \"a\""], "before what was sent after it");
    assert_eq!(s.server.fsync(r), Ok(()));
    assert_eq!(s.ledger("q", 0), [2, 1, 1, 1, 0]);
    assert_eq!(s.read(r, 5), ["5 has \"answer\""]);
    assert_eq!(s.read_some(r, 6, 100, true), ["6 EAGAIN"]);
    assert_eq!(s.ledger("q", 0), [2, 2, 1, 0, 0], "acknowledged by the read though it found nothing");
    s.done();
}

#[test]
fn a_message_given_back_goes_to_the_reader_that_waits() {
    let mut s = Script::new();
    s.ctl("new --ack q");
    let (w, r1, r2) = (s.open("q", "w"), s.open("q", "r"), s.open("q", "r"));
    s.write(w, 1, "a");
    s.read(r1, 2);
    assert_eq!(s.read(r2, 3), NOTHING);
    assert_eq!(s.clunk(r1), ["3 has \"a\""]);
    s.done();
}

#[test]
fn on_a_pair_the_message_of_a_killed_reader_is_dropped() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (a, b) = (s.open("p/a", "rw"), s.try_open("p/b", "rw", killed.tid()).unwrap());
    s.write(a, 1, "x");
    assert_eq!(s.read(b, 2), ["2 has \"x\""]);
    s.clunk(b);
    assert_eq!(s.ledger("p", 0), [1, 0, 0, 0, 0]);
    let channels = s.server.tree.channels();
    let ledger = channels.iter().find(|(name, ..)| name == "p").unwrap().3.lanes().next().unwrap().1.ledger();
    assert_eq!(ledger.dropped().collect::<Vec<_>>(), [("killed", 1)]);
    drop(channels);
    s.done();
}

#[test]
fn a_pair_has_one_holder_an_end_and_begins_anew_when_both_have_left() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.try_open("p/a", "rw", 0), Err(Errno::BUSY));
    s.write(a, 1, "x");
    assert_eq!(s.write(b, 2, "y"), ["2 wrote 1"]);
    assert_eq!(s.clunk(a), NOTHING);
    assert_eq!(s.try_open("p/a", "rw", 0), Err(Errno::BUSY), "the conversation goes on");
    assert_eq!(s.read(b, 3), ["3 has \"x\""]);
    assert_eq!(s.read(b, 4), ["4 at end"]);
    assert_eq!(s.read(b, 5), ["5 at end"]);
    assert_eq!(s.write(b, 6, "z"), ["6 EPIPE"]);
    s.clunk(b);
    let a = s.open("p/a", "rw");
    assert_eq!(s.read(a, 7), NOTHING, "a new conversation");
    let b = s.open("p/b", "rw");
    assert_eq!(s.write(b, 8, "new"), ["7 has \"new\"", "8 wrote 3"]);
    s.done();
}

#[test]
fn who_waits_at_a_pair_is_told_when_the_other_leaves() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.read(b, 1), NOTHING);
    assert_eq!(s.clunk(a), ["1 at end"]);
    s.clunk(b);
    let killed = Ended::killed();
    let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
    s.write(a, 2, "x");
    s.write(b, 3, "y");
    assert_eq!(s.write(b, 4, "z"), NOTHING);
    assert_eq!(s.clunk(a), ["4 EPIPE"]);
    assert_eq!(s.read(b, 5), ["5 has \"x\""], "what it sent is still delivered");
    assert_eq!(s.read(b, 6), ["6 ECONNRESET"]);
    assert_eq!(s.read(b, 7), ["7 at end"]);
    assert_eq!(s.read(b, 8), ["8 at end"]);
    s.done();
}

#[test]
fn an_end_that_was_read_stays_the_end_whatever_becomes_of_the_other_holder() {
    for verb in ["hangup p", "rm p"] {
        let mut s = Script::usual();
        let killed = Ended::killed();
        let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
        s.read(b, 1);
        assert_eq!(s.ctl(verb)[0], "1 at end");
        s.clunk(a);
        assert_eq!(s.read(b, 2), ["2 at end"], "after {verb}");
        s.done();
    }
}

#[test]
fn a_loss_is_told_even_when_the_pair_is_hung_up_before_anybody_reads() {
    for verb in ["hangup p", "rm p"] {
        let mut s = Script::usual();
        let killed = Ended::killed();
        let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
        s.clunk(a);
        s.ctl(verb);
        assert_eq!(s.read(b, 1), ["1 ECONNRESET"], "after {verb}");
        assert_eq!(s.read(b, 2), ["2 at end"], "after {verb}");
        s.done();
    }
}

#[test]
fn a_hang_up_ends_the_conversation_for_both() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(a, 1, "x");
    s.write(a, 2, "y");
    s.read(a, 3);
    let ctl = s.open("p/ctl", "w");
    assert_eq!(s.write(ctl, 4, "hangup\n"), ["2 EPIPE", "3 at end", "4 wrote 7"]);
    assert_eq!(s.read(b, 5), ["5 has \"x\""]);
    assert_eq!(s.read(b, 6), ["6 at end"]);
    assert_eq!(s.write(b, 7, "z"), ["7 EPIPE"]);
    assert_eq!(s.write(ctl, 8, "stop"), ["8 EINVAL"], "a pair's ctl speaks of that pair");
    assert_eq!(s.ctl("hangup q"), ["EINVAL"], "a queue has no conversation");
    s.done();
}

#[test]
fn a_hang_up_of_a_pair_that_nobody_holds_does_not_spoil_the_next_conversation() {
    let mut s = Script::usual();
    s.ctl("hangup p");
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    assert_eq!(s.write(a, 1, "x"), ["1 wrote 1"]);
    assert_eq!(s.read(b, 2), ["2 has \"x\""]);
    s.done();
}

#[test]
fn removal_hangs_up_who_waits_and_leaves_what_is_there() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.write(w, 1, "a");
    s.write(w, 2, "b");
    s.server.remove(File::of(ROOT), b"q", false, &mut s.fx).unwrap();
    assert_eq!(s.said(), ["2 EPIPE"]);
    assert!(s.server.walk(File::of(ROOT), b"q").is_err());
    assert_eq!(s.read(r, 3), ["3 has \"a\""]);
    assert_eq!(s.read(r, 4), ["4 at end"]);
    s.ctl("new q");
    let (r1, r2) = (s.open("q", "r"), s.open("q", "r"));
    s.read(r1, 5);
    s.read(r2, 6);
    assert_eq!(s.ctl("rm q"), ["5 at end", "6 at end", "wrote 4"]);
    let nodes = s.server.tree.len();
    for handle in [w, r, r1, r2] {
        s.clunk(handle);
    }
    assert_eq!(s.server.tree.len(), nodes - 2, "forgotten when nobody has it open");
    s.done();
}

#[test]
fn a_clunk_ends_what_waits_on_the_descriptor() {
    let mut s = Script::usual();
    let (w, r, whole) = (s.open("q", "w"), s.open("q", "r"), s.open("q:whole", "w"));
    s.read(r, 1);
    assert_eq!(s.clunk(r), ["1 EINTR"]);
    s.write(w, 2, "a");
    s.write(w, 3, "b");
    s.write(w, 4, "c");
    s.write(whole, 5, "d");
    assert_eq!(s.clunk(whole), ["5 EINTR"]);
    let mut said = s.clunk(w);
    said.sort();
    assert_eq!(said, ["3 EINTR", "4 EINTR"]);
    assert_eq!(s.ledger("q", 0)[0], 1);
    s.done();
}

#[test]
fn two_reads_that_wait_on_one_descriptor_each_get_a_message_and_the_first_is_received() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read(r, 1);
    s.read(r, 2);
    assert_eq!(s.write(w, 3, "a"), ["1 has \"a\"", "3 wrote 1"]);
    assert_eq!(s.write(w, 4, "b"), ["2 has \"b\"", "4 wrote 1"]);
    assert_eq!(s.ledger("q", 0), [2, 1, 0, 0, 1]);
    s.clunk(r);
    assert_eq!(s.ledger("q", 0), [2, 2, 0, 0, 0]);
    s.done();
}

#[test]
fn two_reads_that_wait_on_one_descriptor_share_a_message_that_is_longer_than_the_first_asked_for() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    s.read_some(r, 1, 2, false);
    s.read_some(r, 2, 100, false);
    let mut said = s.write(w, 3, "hello");
    said.sort();
    assert_eq!(said, ["1 has \"he\"", "2 has \"llo\"", "3 wrote 5"]);
    s.done();
}

#[test]
fn polling_says_what_would_not_wait() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!((s.poll(r, IN, None), s.poll(w, OUT, None)), (0, OUT));
    s.write(w, 1, "ab");
    assert_eq!((s.poll(r, IN, None), s.poll(w, OUT, None)), (IN, 0));
    s.read_some(r, 2, 1, false);
    assert_eq!(s.poll(r, IN, None), IN, "the rest of a message");
    s.read_some(r, 3, 1, false);
    assert_eq!(s.poll(r, IN, None), 0);
    let killed = Ended::killed();
    let (a, b) = (s.try_open("p/a", "rw", killed.tid()).unwrap(), s.open("p/b", "rw"));
    assert_eq!(s.poll(b, PRI, None), OUT);
    s.clunk(a);
    assert_eq!(s.poll(b, PRI, None), IN | OUT | ready::HUP | ready::ERR);
    s.done();
}

#[test]
fn polling_wakes_once_for_what_was_asked() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    assert_eq!(s.poll(r, IN, Some(70)), 0);
    assert_eq!(s.write(w, 1, "a"), ["1 wrote 1", "70 wake"]);
    assert_eq!(s.poll(w, OUT, Some(71)), 0);
    assert_eq!(s.read(r, 2), ["2 has \"a\"", "71 wake"]);
    assert_eq!(s.write(w, 3, "b"), ["3 wrote 1"], "nobody watches any more");
    let b = s.open("p/b", "rw");
    s.poll(b, IN, Some(72));
    let a = s.open("p/a", "rw");
    assert_eq!(s.clunk(a), ["72 wake"], "a hang-up wakes whoever polls");
    s.done();
}

#[test]
fn polling_again_and_again_keeps_one_watcher() {
    let mut s = Script::usual();
    let (w, r) = (s.open("q", "w"), s.open("q", "r"));
    for _ in 0..100 {
        s.poll(r, IN, Some(70));
        s.poll(r, IN, None);
    }
    s.poll(r, IN, Some(70));
    let (file, _) = s.find("q");
    assert_eq!(s.server.tree.channel_mut(file.node).unwrap().watchers.len(), 1);
    assert_eq!(s.write(w, 1, "a"), ["1 wrote 1", "70 wake"]);
    s.done();
}

#[test]
fn polling_by_two_parties_of_one_descriptor_wakes_for_what_either_asked() {
    let mut s = Script::usual();
    let (a, b) = (s.open("p/a", "rw"), s.open("p/b", "rw"));
    s.write(b, 1, "full");
    s.poll(b, IN, Some(70));
    s.poll(b, OUT, Some(70));
    assert_eq!(s.write(a, 2, "x"), ["2 wrote 1", "70 wake"]);
    s.done();
}

#[test]
fn limits_are_told_to_the_one_who_asks_and_disturb_nobody() {
    let mut s = Script::with(Limits { message: 16, channels: 2, opens: 3, bytes: 40 });
    let root = File::of(ROOT);
    for name in ["q", "r"] {
        s.server.make_queue(root, name.as_bytes(), 0o600, Caller::default(), &mut s.fx).unwrap();
    }
    assert!(matches!(s.server.make_queue(root, b"s", 0o600, Caller::default(), &mut s.fx), Err(Errno::NOSPC)));
    assert!(matches!(s.server.make_directory(root, b"d", 0o700, Caller::default()), Err(Errno::NOSPC)));
    assert_eq!(s.server.room(), (2, 2));
    let (w, r, other) = (s.open("q", "w"), s.open("q", "r"), s.open("r", "rw"));
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::MFILE));
    assert_eq!(s.write(w, 1, "1234567890123456"), ["1 wrote 16"]);
    assert_eq!(s.write(w, 2, "1234567890123456"), NOTHING);
    assert_eq!(s.write(w, 3, "1234567890123456"), ["3 ENOSPC"]);
    assert_eq!(s.write(other, 4, "1234567890123456"), ["4 ENOSPC"]);
    assert_eq!(s.write(other, 5, "12345678"), ["5 wrote 8"]);
    assert_eq!(s.read(r, 6), ["6 has \"1234567890123456\"", "2 wrote 16"]);
    assert_eq!(s.store.used(), 40);
    // Everything is full, and still somebody may look and act, if not without end.
    let texts: Vec<Handle> = (0..RESERVE).map(|_| s.open("ctl", "rw")).collect();
    assert_eq!(s.try_open("status", "r", 0), Err(Errno::MFILE));
    assert!(s.read_some(texts[0], 7, 3, false)[0].starts_with("7 has"));
    for handle in [&[w, r, other][..], &texts].concat() {
        s.clunk(handle);
    }
    s.server.remove(root, b"q", false, &mut s.fx).unwrap();
    s.server.remove(root, b"r", false, &mut s.fx).unwrap();
    s.open.clear();
    s.done();
}

#[test]
fn events_are_told_to_everybody_who_reads_them() {
    let mut s = Script::usual();
    let (e1, e2) = (s.open("events", "r"), s.open("events", "r"));
    assert_eq!(s.read_some(e1, 1, 9, true), ["1 EAGAIN"]);
    assert_eq!(s.read_some(e1, 2, 4096, false), NOTHING);
    assert_eq!(s.poll(e2, IN, Some(70)), 0);
    let q = s.open("q", "r");
    let said = s.said();
    assert!(said[0].starts_with("2 has \"{\\\"event\\\":\\\"opened\\\"") && said[1] == "70 wake", "{said:?}");
    assert_eq!(s.poll(e2, IN, None), IN);
    assert_eq!(s.read_some(e2, 3, 8, false), ["3 has \"{\\\"event\\\"\""]);
    assert!(s.read_some(e2, 4, 4096, false)[0].starts_with("4 has \":\\\"opened\\\""), "the rest of the line");
    assert_eq!(s.read_some(e2, 5, 4096, false), NOTHING);
    assert_eq!(s.interrupt(5), ["5 EINTR"]);
    s.read_some(e1, 6, 4096, false);
    let said = s.clunk(q);
    assert!(said[0].contains("closed"), "{said:?}");
    s.read_some(e1, 7, 4096, false);
    assert_eq!(s.clunk(e1), ["7 ESHUTDOWN"]);
    assert!(s.server.parked.is_empty());
    s.done();
}

#[test]
fn a_verb_that_ctl_does_not_list_changes_nothing_and_is_an_event() {
    let mut s = Script::usual();
    let events = s.open("events", "r");
    let nodes = s.server.tree.len();
    for bad in ["", "new", "new a/b", "new q", "new ..", "new --what x", "rm nobody", "rm p/a", "rm ctl", "hangup"] {
        let said = s.ctl(bad);
        assert!(said[0].starts_with('E') || said[0].starts_with("Os"), "{bad}: {said:?}");
        let event = s.read_some(events, 1, 4096, true);
        assert!(event[0].contains("refused") && event[0].contains(bad), "{event:?}");
    }
    assert_eq!(s.server.tree.len(), nodes);
    s.done();
}

#[test]
fn an_open_that_is_refused_leaves_no_holder() {
    let mut s = Script::usual();
    s.open("p/a", "rw");
    let other = Ended::by("exit 0");
    assert_eq!(s.try_open("p/a", "rw", other.tid()), Err(Errno::BUSY));
    assert!(s.server.holders.is_empty(), "and no pidfd");
    s.done();
}

#[test]
fn one_holder_serves_all_descriptors_of_a_process() {
    let mut s = Script::usual();
    let me = std::process::id();
    let (x, y) = (s.try_open("q", "r", me).unwrap(), s.try_open("q", "w", me).unwrap());
    assert_eq!(s.server.holders.len(), 1);
    s.clunk(x);
    assert_eq!(s.server.holders.len(), 1);
    s.clunk(y);
    assert!(s.server.holders.is_empty());
    s.done();
}

#[test]
fn the_stop_answers_everything_that_waits() {
    let mut s = Script::usual();
    let (w, r, whole, line) = (s.open("q", "w"), s.open("p/a", "rw"), s.open("q:whole", "w"), s.open("q:line", "w"));
    let (idle, events) = (s.open("q", "r"), s.open("events", "r"));
    s.read(r, 1);
    s.write(w, 2, "a");
    s.write(w, 3, "b");
    s.write(whole, 4, "c");
    s.write(line, 5, "d\ne\n");
    assert_eq!(s.read(events, 6), NOTHING);
    let mut said = s.stop();
    said.sort();
    assert_eq!(said, ["1 ESHUTDOWN", "3 ESHUTDOWN", "4 ESHUTDOWN", "5 ESHUTDOWN", "6 ESHUTDOWN"]);
    assert_eq!(s.read(idle, 7), ["7 ESHUTDOWN"]);
    assert_eq!(s.write(w, 8, "x"), ["8 ESHUTDOWN"]);
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::SHUTDOWN));
    for handle in std::mem::take(&mut s.open) {
        s.clunk(handle);
    }
    nothing_is_left(&s.server);
    assert_eq!(s.store.used(), 0);
}

#[test]
fn a_removed_queue_is_stopped_too() {
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (w, r) = (s.open("q", "w"), s.try_open("q", "r", killed.tid()).unwrap());
    s.write(w, 1, "a");
    s.ctl("rm q");
    s.stop();
    assert_eq!(s.store.used(), 0, "what was in the slot of a removed queue is gone");
    s.clunk(w);
    s.clunk(r);
}

#[test]
fn a_descriptor_that_holds_a_message_can_be_closed_after_the_stop() {
    for (script, verb) in [("exit 0", "new q"), ("kill -9 $$", "new q"), ("exit 0", "new --ack q")] {
        let mut s = Script::new();
        s.ctl(verb);
        let holder = Ended::by(script);
        let (w, r) = (s.open("q", "w"), s.try_open("q", "r", holder.tid()).unwrap());
        s.write(w, 1, "a");
        s.read(r, 2);
        s.stop();
        assert_eq!(s.server.fsync(r), Ok(()));
        s.clunk(r);
        s.clunk(w);
        nothing_is_left(&s.server);
        assert_eq!(s.store.used(), 0);
    }
    let mut s = Script::usual();
    let killed = Ended::killed();
    let (a, b) = (s.open("p/a", "rw"), s.try_open("p/b", "rw", killed.tid()).unwrap());
    s.write(a, 1, "x");
    s.read(b, 2);
    s.stop();
    s.clunk(b);
    s.clunk(a);
    assert_eq!(s.store.used(), 0);
}

#[test]
fn the_stop_verb_is_answered_and_says_so() {
    let mut s = Script::usual();
    assert!(!s.asked_to_stop);
    assert_eq!(s.ctl("stop\n"), ["wrote 5"]);
    assert!(s.asked_to_stop);
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::SHUTDOWN));
}

#[test]
fn a_ticket_that_is_dropped_answers_that_the_server_is_going() {
    let mut s = Script::usual();
    drop(s.ticket(1));
    assert_eq!(s.said(), ["1 ESHUTDOWN"]);
    let r = s.open("q", "r");
    s.read(r, 2);
    let Script { server, door, store, .. } = s;
    drop(server);
    assert_eq!(*door.said(), [(2, "ESHUTDOWN".to_owned())]);
    assert_eq!(store.used(), 0);
}
