//! A server without a door whose answers read as lines, a door that writes down what it is told, and processes that
//! have ended.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs9_tiers::channel::Ledger;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use std::time::Instant;

use super::*;
use crate::attachment::{Account, Attach};
use crate::ticket::Door;
use crate::tree::{Body, NodeId};

/// A door that writes down what it is told.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Vec<(u64, String)>>);

impl Recorder {
    pub(super) fn said(&self) -> MutexGuard<'_, Vec<(u64, String)>> {
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

    fn wake(&self, watch: u64, _now: u32) {
        self.said().push((watch, "wake".into()));
    }
}

pub(super) fn name(errno: Errno) -> String {
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
        (Errno::PERM, "EPERM"),
    ];
    known.iter().find(|(e, _)| *e == errno).map_or_else(|| format!("{errno:?}"), |(_, name)| (*name).into())
}

/// A process that has ended and is not reaped, so that its number is still its own: a holder of which only the close
/// is outstanding.
pub(super) struct Ended(Child);

impl Ended {
    pub(super) fn by(script: &str) -> Ended {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
        waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        Ended(child)
    }

    pub(super) fn killed() -> Ended {
        Ended::by("kill -9 $$")
    }

    pub(super) fn tid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

pub(super) const PLAIN: Flags = Flags { read: true, write: true, nonblocking: false, sync: false, continued: false };
pub(super) const NONBLOCKING: Flags = Flags { nonblocking: true, ..PLAIN };
pub(super) const SYNC: Flags = Flags { sync: true, ..PLAIN };

fn small() -> Limits {
    Limits { message: 16, channels: 64, opens: 64, bytes: 1 << 20 }
}

/// A server whose answers read as lines.
pub(super) struct Script {
    pub(super) server: Server,
    pub(super) store: Arc<Store>,
    pub(super) door: Arc<Recorder>,
    pub(super) host: Arc<Calls>,
    pub(super) fx: Effects,
    pub(super) open: Vec<Handle>,
    pub(super) asked_to_stop: bool,
}

impl Script {
    pub(super) fn new() -> Script {
        Script::with(small())
    }

    pub(super) fn with(limits: Limits) -> Script {
        let store = Store::new(limits.bytes, 64);
        let host = Arc::<Calls>::default();
        let server = Server::new(limits, store.clone(), host.clone(), 0, 0);
        let (door, fx) = (Arc::default(), Effects::default());
        Script { server, store, door, host, fx, open: Vec::new(), asked_to_stop: false }
    }

    /// With a queue `q` and a pair `p`.
    pub(super) fn usual() -> Script {
        let mut s = Script::new();
        assert_eq!(s.ctl("new q"), ["wrote 5"]);
        assert_eq!(s.ctl("new --pair p"), ["wrote 12"]);
        s
    }

    pub(super) fn ticket(&self, id: u64) -> Ticket {
        Ticket::new(self.door.clone(), id)
    }

    /// What was said since it was last asked. The ledgers balance at every such moment.
    pub(super) fn said(&mut self) -> Vec<String> {
        self.asked_to_stop |= self.fx.carry_out();
        balanced(&self.server);
        self.door.said().drain(..).map(|(id, what)| format!("{id} {what}")).collect()
    }

    pub(super) fn find(&self, path: &str) -> (File, View) {
        path.split('/').fold((File::of(ROOT), View::Plain), |(dir, _), name| {
            let (file, view, _) = self.server.walk(dir, name.as_bytes()).unwrap();
            (file, view)
        })
    }

    pub(super) fn try_open(&mut self, path: &str, access: &str, tid: u32) -> Answered<Handle> {
        let (file, view) = self.find(path);
        let flags = Flags { read: access.contains('r'), write: access.contains('w'), ..Flags::default() };
        let opened = self.server.open(file, view, flags, Caller { tid, ..Caller::default() }, &mut self.fx);
        self.open.extend(opened.map(|opened| opened.handle));
        opened.map(|opened| opened.handle)
    }

    pub(super) fn open(&mut self, path: &str, access: &str) -> Handle {
        self.try_open(path, access, 0).unwrap()
    }

    pub(super) fn read(&mut self, handle: Handle, id: u64) -> Vec<String> {
        self.read_some(handle, id, 100, false)
    }

    pub(super) fn read_some(&mut self, handle: Handle, id: u64, size: usize, nonblocking: bool) -> Vec<String> {
        let ticket = self.ticket(id);
        self.server.read(handle, 0, size, nonblocking, ticket, &mut self.fx);
        self.said()
    }

    pub(super) fn write(&mut self, handle: Handle, id: u64, text: &str) -> Vec<String> {
        self.write_with(handle, id, text, PLAIN)
    }

    pub(super) fn write_with(&mut self, handle: Handle, id: u64, text: &str, flags: Flags) -> Vec<String> {
        let ticket = self.ticket(id);
        self.server.write(handle, Data::Lent(text.as_bytes()), flags, Caller::default(), ticket, &mut self.fx);
        self.said()
    }

    /// One verb to `ctl`; what is said to ticket 0 is told without a number.
    pub(super) fn ctl(&mut self, verb: &str) -> Vec<String> {
        let ctl = self.open("ctl", "w");
        let mut said = self.write(ctl, 999, verb);
        said.extend(self.clunk(ctl));
        said.into_iter().map(|line| line.strip_prefix("999 ").map_or(line.clone(), str::to_owned)).collect()
    }

    /// How a peer was opened, to change.
    pub(super) fn peer_flags(&mut self, handle: Handle) -> &mut Flags {
        &mut self.server.peer(handle).unwrap().flags
    }

    pub(super) fn interrupt(&mut self, id: u64) -> Vec<String> {
        self.server.interrupt(id, &mut self.fx);
        self.said()
    }

    pub(super) fn clunk(&mut self, handle: Handle) -> Vec<String> {
        self.open.retain(|open| *open != handle);
        self.server.clunk(handle, &mut self.fx);
        self.said()
    }

    pub(super) fn stop(&mut self) -> Vec<String> {
        self.server.stop(&mut self.fx);
        self.said()
    }

    pub(super) fn poll(&mut self, handle: Handle, interest: u32, watch: Option<u64>) -> u32 {
        let watch = watch.map(|id| Watcher::new(self.door.clone(), id));
        self.server.poll(handle, interest, watch, &mut self.fx).unwrap() & (PRI | ready::ERR | ready::HUP)
    }

    /// Figures of the lane that `end` writes (0 for a queue): sent, received, redelivered, slot, held.
    pub(super) fn ledger(&self, path: &str, lane: usize) -> [u64; 5] {
        let ledger = account(&self.server, path, lane);
        [ledger.sent, ledger.received, ledger.redelivered, ledger.slot, ledger.held]
    }

    /// Everything is closed and removed: nothing waits, and no byte is held.
    pub(super) fn done(mut self) {
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
pub(super) const PRI: u32 = IN | OUT;
pub(super) const IN: u32 = 0x1;
pub(super) const OUT: u32 = 0x4;
pub(super) const NOTHING: [&str; 0] = [];

/// The account of the lane that an end of a channel writes (0 for a queue).
pub(super) fn account(server: &Server, path: &str, lane: usize) -> Ledger {
    let channels = server.tree.channels();
    let (.., node) = channels.into_iter().find(|(name, ..)| name == path).unwrap();
    node.body.channel().unwrap().lanes().nth(lane).unwrap().1.ledger()
}

/// Every account, also of a service and a topic as a whole.
pub(super) fn balanced(server: &Server) {
    for channel in server.status(Caller::default()).channels {
        for lane in channel.lanes {
            let dropped: u64 = lane.dropped.values().sum();
            assert_eq!(lane.sent, lane.received + dropped + lane.slot + lane.held, "{}: {lane:?}", channel.name);
        }
    }
}

/// Nothing is open and nobody waits.
pub(super) fn nothing_is_left(server: &Server) {
    assert!(server.open.is_empty() && server.parked.is_empty() && server.holders.len() == 0);
    assert!(server.event_waiters.is_empty() && server.event_readers.is_empty());
    assert_eq!(server.timers.next(), None);
    let mut waiting = 0;
    for (.., node) in server.tree.channels() {
        if let Body::Service(service) = &node.body {
            assert_eq!((service.accepts, service.line.len()), (0, 0));
            waiting += service.backlog.len(); // of clients that have said something and left
        }
        let Some(channel) = node.body.channel() else { continue };
        assert_eq!((channel.opens, channel.watchers.len()), (0, 0));
        assert!(channel.lanes().all(|(_, lane)| lane.waiting() == (0, 0)));
    }
    assert_eq!(server.tree.unlisted(), waiting);
}

/// A host that writes down what it is asked.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) alarms: Mutex<Vec<Instant>>,
    pub(super) engaged: Mutex<Vec<NodeId>>,
    /// Attached, or detached again.
    pub(super) attached: Mutex<Vec<(NodeId, bool)>>,
    pub(super) undecided: Mutex<Vec<Undecided>>,
}

impl Host for Calls {
    fn alarm(&self, at: Instant) {
        self.alarms.lock().unwrap().push(at);
    }

    fn engage(&self, service: NodeId) {
        self.engaged.lock().unwrap().push(service);
    }

    fn attach(&self, node: NodeId, _how: Attach, _account: Arc<Account>) -> Result<(), Errno> {
        self.attached.lock().unwrap().push((node, true));
        Ok(())
    }

    fn decide(&self, undecided: Undecided) {
        self.undecided.lock().unwrap().push(undecided);
    }

    fn detach(&self, node: NodeId) {
        self.attached.lock().unwrap().push((node, false));
    }
}
