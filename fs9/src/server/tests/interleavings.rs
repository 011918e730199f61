//! Loop threads that meet: requests taken from one device by several threads reach the server in any order, an
//! interrupt before its request too. In every order each request is answered once, no interrupted one is left waiting,
//! and no message is lost or duplicated.
//!
//! shuttle runs each scenario under thousands of schedules: random ones, and such as have few switches at unlikely
//! moments (PCT). A failure prints the schedule that repeats it.

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex as Lock;
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};

use super::*;

const RANDOM: usize = 10_000;
const PCT: usize = 5000;

/// Runs `scenario` under many schedules.
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 18; // asking after a process reads /proc
        config
    };
    let again = scenario.clone();
    assert_eq!(Runner::new(RandomScheduler::new(RANDOM), config()).run(move || again()), RANDOM);
    assert_eq!(Runner::new(PctScheduler::new(3, PCT), config()).run(move || scenario()), PCT);
}

/// The server as loop threads share it, and its door.
#[derive(Clone)]
struct Shared {
    server: Arc<Lock<Server>>,
    door: Arc<Recorder>,
    store: Arc<Store>,
}

impl Shared {
    /// A server with a queue `q` and a pair `p`.
    fn new() -> Shared {
        Script::usual().into()
    }

    /// One turn of a loop: the verb under the lock, the answers after it.
    fn turn<T>(&self, verb: impl FnOnce(&mut Server, &mut Effects) -> T) -> T {
        let mut fx = Effects::default();
        let result = verb(&mut self.server.lock().unwrap(), &mut fx);
        fx.carry_out();
        result
    }

    /// A server with what `ctl` makes of `verb`.
    fn made(verb: &str) -> Shared {
        let mut script = Script::new();
        assert_eq!(script.ctl(verb), [format!("wrote {}", verb.len())]);
        script.into()
    }

    fn open_events(&self) -> Handle {
        let events = File { node: ROOT, part: Part::Events };
        let flags = Flags { read: true, ..Flags::default() };
        self.turn(|server, fx| server.open(events, View::Plain, flags, Caller::default(), fx).unwrap().handle)
    }

    fn open(&self, path: &str, tid: u32) -> Handle {
        self.open_with(path, tid, PLAIN)
    }

    fn reader(&self, path: &str) -> Handle {
        self.open_with(path, 0, Flags { write: false, ..PLAIN })
    }

    fn writer(&self, path: &str) -> Handle {
        self.open_with(path, 0, Flags { read: false, ..PLAIN })
    }

    fn open_with(&self, path: &str, tid: u32, flags: Flags) -> Handle {
        let root = File::of(ROOT);
        self.turn(|server, fx| {
            let (file, view) = path.split('/').fold((root, View::Plain), |(dir, _), name| {
                let (file, view, _) = server.walk(dir, name.as_bytes()).unwrap();
                (file, view)
            });
            server.open(file, view, flags, Caller { tid, ..Caller::default() }, fx).unwrap().handle
        })
    }

    fn read(&self, handle: Handle, id: u64) {
        let ticket = Ticket::new(self.door.clone(), id);
        self.turn(|server, fx| server.read(handle, 0, 100, false, ticket, fx));
    }

    fn write(&self, handle: Handle, id: u64, text: &str) {
        let ticket = Ticket::new(self.door.clone(), id);
        self.turn(|server, fx| {
            server.write(handle, Data::Lent(text.as_bytes()), PLAIN, Caller::default(), ticket, fx);
        });
    }

    fn interrupt(&self, id: u64) {
        self.turn(|server, fx| server.interrupt(id, fx));
    }

    fn clunk(&self, handle: Handle) {
        self.turn(|server, fx| server.clunk(handle, fx));
    }

    /// Another loop thread does this.
    fn also(&self, work: impl FnOnce(&Shared) + Send + 'static) -> JoinHandle<()> {
        let shared = self.clone();
        thread::spawn(move || work(&shared))
    }

    /// The answer to `id`, of which there is at most one.
    fn answer(&self, id: u64) -> Option<String> {
        let said = self.door.said();
        let mut answers = said.iter().filter(|(to, _)| *to == id).map(|(_, what)| what.clone());
        let answer = answers.next();
        assert_eq!(answers.next(), None, "{id} was answered twice");
        answer
    }

    /// The answer to `id`, of which there is exactly one.
    fn answered(&self, id: u64) -> String {
        let said = self.door.said().clone();
        self.answer(id).unwrap_or_else(|| panic!("{id} was never answered: {said:?}"))
    }

    /// All messages that are in the slot of `path`, in order.
    fn rest(&self, path: &str) -> Vec<String> {
        let handle = self.open(path, 0);
        let rest = (1000..).map(|id| {
            let ticket = Ticket::new(self.door.clone(), id);
            self.turn(|server, fx| server.read(handle, 0, 100, true, ticket, fx));
            self.answered(id)
        });
        let rest = rest.take_while(|answer| answer != "EAGAIN").collect();
        self.clunk(handle);
        rest
    }

    /// Nobody waits, and the ledgers balance.
    fn settled(&self) {
        let server = self.server.lock().unwrap();
        let said = self.door.said().clone();
        assert!(server.parked.is_empty(), "{:?} are left waiting: {said:?}", server.parked);
        balanced(&server);
    }
}

impl From<Script> for Shared {
    fn from(script: Script) -> Shared {
        let Script { server, store, door, .. } = script;
        Shared { server: Arc::new(Lock::new(server)), door, store }
    }
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_read_and_its_interrupt_in_any_order() {
    check(|| {
        let s = Shared::new();
        let r = s.open("q", 0);
        join([s.also(move |s| s.read(r, 1)), s.also(|s| s.interrupt(1))]);
        assert_eq!(s.answered(1), "EINTR");
        s.settled();
    });
}

#[test]
fn a_read_its_interrupt_and_the_message_in_any_order() {
    check(|| {
        let s = Shared::new();
        let (r, w) = (s.open("q", 0), s.open("q", 0));
        join([s.also(move |s| s.read(r, 1)), s.also(|s| s.interrupt(1)), s.also(move |s| s.write(w, 2, "x"))]);
        assert_eq!(s.answered(2), "wrote 1");
        match s.answered(1).as_str() {
            "EINTR" => assert_eq!(s.rest("q"), ["has \"x\""], "nothing was consumed"),
            answer => {
                assert_eq!(answer, "has \"x\"");
                assert!(s.rest("q").is_empty(), "nothing was duplicated");
            }
        }
        s.settled();
    });
}

#[test]
fn a_write_its_interrupt_and_a_reader_in_any_order() {
    check(|| {
        let s = Shared::new();
        let (r, w) = (s.open("q", 0), s.open("q", 0));
        s.write(w, 1, "first");
        join([s.also(move |s| s.write(w, 2, "x")), s.also(|s| s.interrupt(2)), s.also(move |s| s.read(r, 3))]);
        assert_eq!(s.answered(3), "has \"first\"");
        let sent = s.answered(2) == "wrote 1";
        assert!(sent || s.answered(2) == "EINTR");
        assert_eq!(s.rest("q").len(), usize::from(sent), "sent if and only if it says so");
        s.settled();
    });
}

#[test]
fn readers_and_writers_in_any_order_lose_and_duplicate_nothing() {
    check(|| {
        let s = Shared::new();
        let handles: Vec<Handle> = (0..4).map(|_| s.open("q", 0)).collect();
        let [r1, r2, w1, w2] = handles[..] else { unreachable!("four were opened") };
        join([
            s.also(move |s| s.read(r1, 1)),
            s.also(move |s| s.read(r2, 2)),
            s.also(move |s| (s.write(w1, 3, "a"), s.write(w1, 4, "b")).1),
            s.also(move |s| s.write(w2, 5, "c")),
        ]);
        assert_eq!([3, 4, 5].map(|id| s.answered(id)), ["wrote 1"; 3]);
        let mut got = vec![s.answered(1), s.answered(2)];
        got.extend(s.rest("q"));
        got.sort();
        assert_eq!(got, ["has \"a\"", "has \"b\"", "has \"c\""]);
        s.settled();
    });
}

#[test]
fn a_killed_reader_another_reader_and_a_writer_in_any_order() {
    let killed = Ended::killed();
    let tid = killed.tid();
    check(move || {
        let s = Shared::new();
        let (dead, r, w) = (s.open("q", tid), s.open("q", 0), s.open("q", 0));
        // What the kernel does when it kills a reader: the interrupt may come before the read, the release comes when
        // the read is answered.
        let kill = s.also(move |s| {
            join([s.also(move |s| s.read(dead, 1)), s.also(|s| s.interrupt(1))]);
            s.clunk(dead);
        });
        join([kill, s.also(move |s| s.read(r, 2)), s.also(move |s| (s.write(w, 3, "a"), s.write(w, 4, "b")).1)]);
        assert_eq!([3, 4].map(|id| s.answered(id)), ["wrote 1"; 2]);
        // Not EINTR means that it had a message when it was killed, and gave it back.
        let gave_back = s.answered(1) != "EINTR";
        let mut got = vec![s.answered(2)];
        s.clunk(r);
        got.extend(s.rest("q"));
        got.sort();
        assert_eq!(got, ["has \"a\"", "has \"b\""]);
        s.settled();
        let server = s.server.lock().unwrap();
        let ledger = account(&server, "q", 0);
        assert_eq!((ledger.received, ledger.redelivered), (2, u64::from(gave_back)));
    });
    drop(killed);
}

#[test]
fn lines_their_interrupt_and_readers_in_any_order() {
    check(|| {
        let s = Shared::new();
        let (w, r) = (s.open("q:line", 0), s.open("q", 0));
        join([
            s.also(move |s| s.write(w, 1, "a\nb\nc\n")),
            s.also(|s| s.interrupt(1)),
            s.also(move |s| (s.read(r, 2), s.read(r, 3)).1),
        ]);
        // The readers may still wait for lines that were interrupted.
        s.interrupt(2);
        s.interrupt(3);
        let mut got: Vec<String> = [2, 3].map(|id| s.answered(id)).into_iter().filter(|a| a != "EINTR").collect();
        got.extend(s.rest("q"));
        assert_eq!(s.answered(1), format!("wrote {}", 2 * got.len()), "as many as were sent: {got:?}");
        assert_eq!(got, ["has \"a\\n\"", "has \"b\\n\"", "has \"c\\n\""][..got.len()]);
        s.settled();
    });
}

#[test]
fn a_whole_that_waits_to_begin_its_interrupt_and_a_reader_in_any_order() {
    check(|| {
        let s = Shared::new();
        let (whole, w, r) = (s.open("q:whole", 0), s.open("q", 0), s.open("q", 0));
        s.write(w, 1, "first");
        join([s.also(move |s| s.write(whole, 2, "xy")), s.also(|s| s.interrupt(2)), s.also(move |s| s.read(r, 3))]);
        assert_eq!(s.answered(3), "has \"first\"");
        let written = s.answered(2) == "wrote 2";
        assert!(written || s.answered(2) == "EINTR");
        s.clunk(whole);
        assert_eq!(s.rest("q").len(), usize::from(written));
        s.settled();
    });
}

#[test]
fn a_poller_misses_no_message() {
    check(|| {
        let s = Shared::new();
        let (r, w) = (s.open("q", 0), s.open("q", 0));
        let poll = s.also(move |s| {
            let watcher = Watcher::new(s.door.clone(), 70);
            let now = s.turn(|server, fx| server.poll(r, IN, Some(watcher), fx).unwrap());
            if now & IN != 0 {
                s.door.said().push((71, "was ready".into()));
            }
        });
        join([poll, s.also(move |s| s.write(w, 1, "x"))]);
        assert!(s.answer(70).is_some() != s.answer(71).is_some(), "ready, or woken: {:?}", s.door.said());
    });
}

#[test]
fn an_end_is_left_while_the_other_reads_and_writes() {
    let killed = Ended::killed();
    let tid = killed.tid();
    check(move || {
        let s = Shared::new();
        let (a, b) = (s.open("p/a", tid), s.open("p/b", 0));
        join([
            s.also(move |s| (s.write(a, 1, "x"), s.clunk(a)).1),
            s.also(move |s| (s.read(b, 2), s.read(b, 3), s.read(b, 4)).2),
            s.also(move |s| s.write(b, 5, "y")),
        ]);
        assert_eq!(s.answered(1), "wrote 1");
        assert_eq!([2, 3, 4].map(|id| s.answered(id)), ["has \"x\"", "ECONNRESET", "at end"]);
        assert!(["wrote 1", "EPIPE"].contains(&s.answered(5).as_str()));
        s.settled();
    });
    drop(killed);
}

/// A client comes and says `text` by request `id`.
fn client(s: &Shared, id: u64, text: &'static str) -> JoinHandle<()> {
    s.also(move |s| {
        let client = s.open("s/connect", 0);
        s.write(client, id, text);
    })
}

#[test]
fn clients_and_servers_in_any_order_each_client_has_exactly_one() {
    check(|| {
        let s = Shared::made("new --service s");
        let (a1, a2) = (s.open("s/accept", 0), s.open("s/accept", 0));
        join([s.also(move |s| s.read(a1, 1)), s.also(move |s| s.read(a2, 2)), client(&s, 3, "x"), client(&s, 4, "y")]);
        assert_eq!([3, 4].map(|id| s.answered(id)), ["wrote 1"; 2]);
        let mut got = [1, 2].map(|id| s.answered(id));
        got.sort();
        assert_eq!(got, ["has \"x\"", "has \"y\""]);
        s.settled();
    });
}

#[test]
fn a_client_an_interrupted_server_and_another_in_any_order() {
    check(|| {
        let s = Shared::made("new --service s");
        let (a, other) = (s.open("s/accept", 0), s.open("s/accept", 0));
        join([s.also(move |s| s.read(a, 1)), s.also(|s| s.interrupt(1)), client(&s, 2, "x")]);
        assert_eq!(s.answered(2), "wrote 1");
        if s.answered(1) == "EINTR" {
            // It may have the client, whom it has not heard, or left the line before that came.
            let bound = s.turn(|server, _| server.peer(a).unwrap().bound);
            s.read(if bound { a } else { other }, 3);
            assert_eq!(s.answered(3), "has \"x\"");
        } else {
            assert_eq!(s.answered(1), "has \"x\"");
        }
        s.settled();
    });
}

#[test]
fn a_poller_misses_no_client() {
    check(|| {
        let s = Shared::made("new --service s");
        let a = s.open("s/accept", 0);
        let poll = s.also(move |s| {
            let watcher = Watcher::new(s.door.clone(), 70);
            let now = s.turn(|server, fx| server.poll(a, IN, Some(watcher), fx).unwrap());
            if now & IN != 0 {
                s.door.said().push((71, "was ready".into()));
            }
        });
        join([poll, client(&s, 1, "x")]);
        assert!(s.answer(70).is_some() != s.answer(71).is_some(), "ready, or woken: {:?}", s.door.said());
    });
}

#[test]
fn a_client_leaves_while_a_server_comes_and_nothing_stays_behind() {
    check(|| {
        let s = Shared::made("new --service s");
        let a = s.open("s/accept", 0);
        let silent = s.also(|s| {
            let client = s.open("s/connect", 0);
            s.clunk(client);
        });
        join([silent, s.also(move |s| s.read(a, 1)), s.also(move |s| s.read(a, 2))]);
        s.clunk(a);
        // It met the client, and that hung up, or was closed by us while it waited for one.
        [1, 2].map(|id| s.answered(id)).into_iter().for_each(|said| assert!(said == "at end" || said == "EINTR"));
        s.settled();
        nothing_is_left(&s.server.lock().unwrap());
    });
}

#[test]
fn a_service_is_removed_while_client_and_server_meet() {
    check(|| {
        let s = Shared::made("new --service s");
        let (a, c) = (s.open("s/accept", 0), s.open("s/connect", 0));
        let remove = |s: &Shared| s.turn(|server, fx| server.remove(File::of(ROOT), b"s", true, fx).unwrap());
        join([s.also(move |s| s.read(a, 1)), s.also(move |s| s.write(c, 2, "x")), s.also(remove)]);
        let (read, written) = (s.answered(1), s.answered(2));
        assert!(read == "at end" || (read.as_str(), written.as_str()) == ("has \"x\"", "wrote 1"), "{read}, {written}");
        assert!(written == "wrote 1" || written == "EPIPE");
        s.settled();
        [a, c].into_iter().for_each(|handle| s.clunk(handle));
        nothing_is_left(&s.server.lock().unwrap());
        assert_eq!(s.store.used(), 0);
    });
}

#[test]
fn a_topics_writers_and_readers_in_any_order() {
    check(|| {
        let s = Shared::made("new --topic t");
        let (w1, w2, r, leaver) = (s.writer("t"), s.writer("t"), s.reader("t"), s.reader("t"));
        join([
            s.also(move |s| (s.write(w1, 1, "a"), s.write(w1, 2, "b")).1),
            s.also(move |s| s.write(w2, 3, "c")),
            s.also(move |s| (4..7).for_each(|id| s.read(r, id))),
            s.also(move |s| (s.read(leaver, 7), s.clunk(leaver)).1),
        ]);
        assert_eq!([1, 2, 3].map(|id| s.answered(id)), ["wrote 1"; 3], "nobody waits for one that has gone");
        let order = [4, 5, 6].map(|id| s.answered(id));
        let ours: Vec<&String> = order.iter().filter(|copy| *copy != "has \"c\"").collect();
        assert_eq!(ours, ["has \"a\"", "has \"b\""], "in order");
        let copy = s.answered(7);
        assert!(copy == order[0] || copy == "EINTR", "{copy}, but {order:?}");
        s.settled();
    });
}

#[test]
fn a_topics_reader_is_interrupted_while_somebody_writes() {
    check(|| {
        let s = Shared::made("new --topic t");
        let (w, steady, other) = (s.writer("t"), s.reader("t"), s.reader("t"));
        join([
            s.also(move |s| s.read(other, 1)),
            s.also(|s| s.interrupt(1)),
            s.also(move |s| (s.write(w, 2, "a"), s.write(w, 3, "b")).1),
            s.also(move |s| (s.read(steady, 4), s.read(steady, 5)).1),
        ]);
        assert_eq!([2, 4].map(|id| s.answered(id)), ["wrote 1", "has \"a\""]);
        if s.answered(1) == "EINTR" {
            assert_eq!([3, 5].map(|id| s.answer(id)), [None, None], "it has not taken the first, so the second waits");
            s.read(other, 6);
            assert_eq!(s.answered(6), "has \"a\"", "nothing was consumed");
        }
        assert_eq!([3, 5].map(|id| s.answered(id)), ["wrote 1", "has \"b\""]);
        s.settled();
    });
}

#[test]
fn the_stop_comes_in_between() {
    check(|| {
        let s = Shared::new();
        let (r, w, e) = (s.open("q", 0), s.open("q:line", 0), s.open_events());
        join([
            s.also(move |s| s.read(r, 1)),
            s.also(move |s| s.write(w, 2, "a\nb\nc\n")),
            s.also(move |s| s.read(e, 3)),
            s.also(|s| s.interrupt(1)),
            s.also(|s| s.turn(|server, fx| server.stop(fx))),
        ]);
        assert!(["has \"a\\n\"", "EINTR", "ESHUTDOWN"].contains(&s.answered(1).as_str()));
        assert_eq!([2, 3].map(|id| s.answered(id)), ["ESHUTDOWN"; 2]);
        s.settled();
        [r, w, e].into_iter().for_each(|handle| s.clunk(handle));
        nothing_is_left(&s.server.lock().unwrap());
        assert_eq!(s.store.used(), 0);
    });
}
