//! What another node is to answer: for whom, and what the answer is to what is asked later.
//!
//! What an answer changes is marked while the link is locked ([`Asked::settle`]); it is given when it is not.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use fs9_proto::client::{Call, Failure, Loss, Release};
use fs9_proto::message::{Fid, Reply};
use rustix::io::Errno;

use super::file::File;
use super::link::{Link, State};
use crate::server::ready;
use crate::ticket::Watcher;
use crate::view::View;

/// What became of a request.
pub type Outcome<'a> = Result<&'a Reply<'a>, Errno>;

/// How somebody at a door is given what became of a request. Called when the link is not locked; dropped uncalled, it
/// has its own way to say that there will be no answer.
pub struct Then(Box<dyn FnOnce(Outcome<'_>) + Send>);

impl Then {
    /// This way.
    pub fn new(give: impl FnOnce(Outcome<'_>) + Send + 'static) -> Then {
        Then(Box::new(give))
    }

    /// Gives it.
    pub fn give(self, outcome: Outcome<'_>) {
        (self.0)(outcome);
    }
}

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Then")
    }
}

/// The request of somebody at a door: its number there, by which it is interrupted, and one that no other request has
/// had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// At the door, which gives it to another once this one is answered.
    pub id: u64,
    serial: u64,
}

/// Somebody at a door.
#[derive(Debug)]
pub struct Asker {
    /// The request.
    pub name: Name,
    /// How it is answered.
    pub then: Then,
}

impl Asker {
    /// Who has asked as `id`, and is answered so.
    pub fn new(id: u64, then: Then) -> Asker {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Asker { name: Name { id, serial: SERIAL.fetch_add(1, Ordering::Relaxed) }, then }
    }
}

/// What is known without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// These bytes were read.
    Data(Vec<u8>),
    /// It is ready for this.
    Ready(u32),
    /// It fails.
    Failed(Errno),
}

impl Told {
    /// Says so.
    pub fn to(&self, then: Then) {
        match self {
            Told::Data(data) => then.give(Ok(&Reply::Recv { data })),
            Told::Ready(ready) => then.give(Ok(&Reply::Poll { ready: *ready })),
            Told::Failed(errno) => then.give(Err(*errno)),
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Asked {
    what: What,
    /// None where nobody waits for it.
    name: Option<Name>,
    then: Option<Then>,
}

/// What was asked, as far as it matters to what is asked later.
#[derive(Debug)]
pub enum What {
    /// It does not.
    Other,
    /// A descriptor.
    Open {
        /// What it will be.
        fid: Fid,
        /// How its bytes are messages.
        view: View,
    },
    /// Bytes. Who reads is known by the file.
    Read(Fid),
    /// Whether bytes can be written.
    Write {
        /// Where.
        fid: Fid,
        /// They are a message.
        message: bool,
    },
    /// What is ready, and whom to wake when that changes.
    Poll {
        /// Where.
        fid: Fid,
        /// What is of interest.
        interest: u32,
        /// Whom to wake.
        watcher: Option<Watcher>,
    },
    /// To be told when something is ready, for whoever polls.
    Watch {
        /// Where.
        fid: Fid,
        /// What is of interest.
        bits: u32,
    },
    /// The same for somebody who waits for it alone, and is known by the file.
    Await(Fid),
    /// Who owns the mount there.
    Owner,
}

impl Asked {
    /// Something that somebody waits for.
    pub fn by(asker: Asker, what: What) -> Asked {
        Asked { what, name: Some(asker.name), then: Some(asker.then) }
    }

    /// The same, where the file knows who.
    pub fn named(name: Name, what: What) -> Asked {
        Asked { what, name: Some(name), then: None }
    }

    /// Something that nobody waits for.
    pub fn unasked(what: What) -> Asked {
        Asked { what, name: None, then: None }
    }

    /// The request that it is for.
    pub fn name(&self) -> Option<Name> {
        self.name
    }

    /// It cannot be asked.
    pub fn refuse(mut self, state: &mut State, errno: Errno) {
        self.find_asker(state);
        self.undo(state);
        state.answers.extend(self.then.map(|then| (then, Told::Failed(errno))));
    }

    /// Who waits, where the file knows; nobody when it has been answered from there.
    fn find_asker(&mut self, state: &mut State) {
        let (What::Read(fid) | What::Await(fid), Some(name)) = (&self.what, self.name) else { return };
        self.then = state.files.get_mut(fid).and_then(|file| file.take_asker(name));
    }

    /// Nothing was opened.
    fn undo(&self, state: &mut State) {
        if let What::Open { fid, .. } = self.what {
            state.client.release(fid, Release::Clunk);
        }
    }

    /// The answer has come: what it changes for those that come later.
    pub fn settle(&mut self, state: &mut State, reply: &Reply<'_>) {
        let _: Option<Call> = self.name.and_then(|name| state.end_call(name));
        self.find_asker(state);
        match (&self.what, reply) {
            (What::Open { .. }, Reply::Error { .. }) => self.undo(state),
            (What::Open { fid, view }, reply) => {
                let stream = !matches!(reply, Reply::Enter { stream: false, .. });
                state.files.insert(*fid, File::new(stream, *view));
            }
            (What::Read(fid), reply) => {
                if self.then.is_none() {
                    // Its asker got what came late, so this is for the next.
                    state.files.get_mut(fid).into_iter().for_each(|file| file.keep(reply));
                }
                File::used(state, *fid, ready::IN);
            }
            (What::Write { fid, .. }, _) => File::used(state, *fid, ready::OUT),
            (What::Poll { fid, interest, watcher: Some(watcher) }, Reply::Poll { ready }) => {
                File::watch_for(state, *fid, watcher, *interest, *ready);
            }
            (What::Watch { fid, bits }, _) => File::seen(state, *fid, *bits),
            (What::Owner, Reply::Getattr { attr }) => state.owner = Some((attr.uid, attr.gid)),
            _ => {}
        }
    }

    /// There will be no answer: the same.
    pub fn settle_failed(&mut self, state: &mut State, failure: Failure) {
        let _: Option<Call> = self.name.and_then(|name| state.end_call(name));
        self.find_asker(state);
        self.undo(state);
        match &self.what {
            What::Read(fid) => {
                if let (Failure::Lost(Loss::Restarted), Some(file)) = (failure, state.files.get_mut(fid)) {
                    file.lose(Loss::Restarted);
                    let _ = file.read(0); // this reader is told
                }
            }
            What::Poll { fid, interest, watcher: Some(watcher) } if failure == Failure::Unreachable => {
                File::watch_for(state, *fid, watcher, *interest, 0);
            }
            What::Watch { fid, bits } if failure != Failure::Cancelled => File::seen(state, *fid, *bits),
            What::Await(_) if matches!(failure, Failure::Lost(_)) => {
                state.answers.extend(self.then.take().map(|then| (then, Told::Ready(ready::LOST))));
            }
            _ => {}
        }
    }

    /// Gives the answer.
    pub fn replied(self, reply: &Reply<'_>, link: &Link) {
        if let (What::Write { message: true, .. }, Reply::Send { .. }) = (&self.what, reply) {
            link.account.count_sent();
        }
        let outcome = match reply {
            Reply::Error { errno, .. } => Err(Errno::from_raw_os_error(*errno as i32)),
            reply => Ok(reply),
        };
        self.then.into_iter().for_each(|then| then.give(outcome));
    }

    /// Says that there will be no answer.
    pub fn failed(self, failure: Failure, link: &Link) {
        if failure == Failure::Unknown && matches!(self.what, What::Write { .. }) {
            link.account.count_unknown();
        }
        self.then.into_iter().for_each(|then| then.give(Err(errno_of(failure, link))));
    }
}

/// What a failure is to a system call.
fn errno_of(failure: Failure, link: &Link) -> Errno {
    match failure {
        Failure::Cancelled => Errno::INTR,
        // Unless it has said that it will not have us.
        Failure::Unreachable => link.ended().unwrap_or(Errno::HOSTUNREACH),
        Failure::Unknown => Errno::IO,
        Failure::Unsent(Loss::Restarted) => Errno::PIPE,
        Failure::Lost(Loss::Restarted) => Errno::CONNRESET,
        Failure::Unsent(Loss::Lingered) | Failure::Lost(Loss::Lingered) => Errno::NOLINK,
        Failure::Unsent(Loss::Ended) | Failure::Lost(Loss::Ended) => link.ended().unwrap_or(Errno::SHUTDOWN),
    }
}
