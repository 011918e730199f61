//! Who asks from elsewhere: clients of a door through which others than processes of this machine come.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use fs9_grants::Key;
use fs9_grants::audit::Record;
use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustix::io::Errno;
use slab::Slab;

use super::{Answered, Caller, Server};
use crate::allotment::{Allotment, Exhausted, Good, Share};
use crate::confine::Confinement;
use crate::events::Event;
use crate::grants::Clock;
use crate::ticket::Effects;
use crate::tree::{File, ROOT};

/// Where a client comes from, and as whom.
#[derive(Debug)]
pub struct Origin {
    /// The node, as people are told of it.
    pub node: String,
    /// Its user.
    pub uid: u32,
    /// The key that it has proved, by which it is known instead of its user.
    pub key: Option<Key>,
    /// The process that has made the connection, where it is of this machine. It counts as the holder of what is opened
    /// without another's number.
    pub process: Option<Arc<Holder>>,
}

/// A client that has been let in.
#[derive(Debug)]
pub struct Session {
    /// The node it asks from, as people are told of it.
    pub node: String,
    /// As which user it came.
    pub uid: u32,
    /// Which key it has proved.
    pub key: Option<Key>,
    /// Since when it is there.
    pub since: SystemTime,
    /// What it may have at once, of one that came with a key: all who come with the same have it together.
    pub allotment: Option<Arc<Allotment>>,
    process: Option<Arc<Holder>>,
}

impl Session {
    /// Its process on this machine; 0 where that cannot be seen.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, |process| process.pid())
    }

    /// Where it came from, to be let in once more.
    pub fn again(&self) -> Origin {
        Origin { node: self.node.clone(), uid: self.uid, key: self.key, process: self.process.clone() }
    }

    /// Why its descriptors were left, where the connection has ended without a word.
    pub fn ending(&self) -> Reason {
        self.process.as_ref().map_or(Reason::Lost, |process| process.ending())
    }

    /// The node that `holder` is on, if that is another one.
    pub(super) fn node_of(&self, holder: &Holder) -> Option<&str> {
        let is_here = self.process.as_ref().is_some_and(|process| std::ptr::eq(&**process, holder));
        (!is_here).then_some(&*self.node)
    }

    /// The holder of what process `pid` of the node opens; 0 is whoever made the connection.
    pub(super) fn holder_of(&self, pid: u32) -> Arc<Holder> {
        match &self.process {
            Some(process) if pid == 0 => process.clone(),
            _ => Arc::new(Holder::elsewhere(pid)),
        }
    }
}

impl Server {
    /// Clients from elsewhere find it here.
    pub fn listen_at(&mut self, addresses: Vec<String>) {
        self.listening = addresses;
    }

    /// This node has this key, by which others know it.
    pub fn introduce(&mut self, key: Option<Key>) {
        self.key = key;
    }

    /// By this clock others may come with a key.
    pub fn go_by(&mut self, clock: Option<Arc<Clock>>) {
        self.clock = clock;
    }

    /// The threads that serve are confined so.
    pub fn confine(&mut self, confined: Confinement) {
        self.confined = confined;
    }

    /// Lets a client in. What it opens is known as its own by the number that this returns ([`Caller::session`]).
    ///
    /// # Errors
    /// ESHUTDOWN.
    pub fn admit(&mut self, origin: Origin, fx: &mut Effects) -> Answered<(u32, Arc<Session>)> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        let Origin { node, uid, key, process } = origin;
        let allotment = key.map(|key| self.allotment(key));
        let session = Arc::new(Session { node, uid, key, since: SystemTime::now(), allotment, process });
        self.tell_of(&session, "connected", None, fx);
        let number = self.sessions.insert(session.clone());
        // As many descriptors as there can be in a process have numbers far below this.
        Ok((u32::try_from(number + 1).map_err(|_| Errno::NFILE)?, session))
    }

    /// The client of that number is gone, and everything it had open was left.
    pub fn dismiss_session(&mut self, number: u32, reason: String, fx: &mut Effects) {
        let Some(session) = self.sessions.try_remove((number as usize).wrapping_sub(1)) else { return };
        self.tell_of(&session, "disconnected", Some(reason), fx);
        if self.sessions.is_empty() {
            self.sessions = Slab::new(); // memory that many took is given back
        }
    }

    /// What all have together who come with this key.
    fn allotment(&mut self, key: Key) -> Arc<Allotment> {
        self.allotments.retain(|_, allotment| allotment.strong_count() > 0);
        let known = self.allotments.get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let allotment = Allotment::new(&self.limits, &self.store);
            self.allotments.insert(key, Arc::downgrade(&allotment));
            allotment
        })
    }

    /// One more of `good` for a caller, at a file; None for one who has come without a key, for whom that is not
    /// counted.
    ///
    /// # Errors
    /// Those of [`Allotment::take`], which is told; ESHUTDOWN.
    pub(super) fn share(&mut self, good: Good, caller: Caller, at: File, fx: &mut Effects) -> Answered<Option<Share>> {
        let Some(session) = self.session(caller)? else { return Ok(None) };
        let taken = session.allotment.as_ref().map(|allotment| allotment.take(good)).transpose();
        taken.map_err(|Exhausted { errno, reason }| {
            self.tell_exhausted(&session, reason, at, fx);
            errno
        })
    }

    /// Tells that a key may not have more.
    pub(super) fn tell_exhausted(&mut self, session: &Session, reason: String, at: File, fx: &mut Effects) {
        let (node, key, reason) = (Some(&*session.node), session.key.map(|key| key.to_string()), Some(reason));
        self.report(Event { event: "refused", node, key, reason, ..Event::default() }, at, fx);
    }

    /// Somebody was not let in, who may have proved a key.
    pub fn turn_off(&mut self, node: &str, key: Option<&Key>, reason: String, fx: &mut Effects) {
        let (key, reason) = (key.map(Key::to_string), Some(reason));
        self.refused += 1;
        let event = Event { event: "refused", node: Some(node), key, reason, ..Event::default() };
        self.report(event, File::of(ROOT), fx);
    }

    /// Tells whoever reads `events` what was decided about who may come and what they may do.
    pub fn tell_decision(&mut self, record: &Record, fx: &mut Effects) {
        let grant = record.grants.first().map(|id| id.to_string());
        let rights = record.rights.map(|rights| rights.to_string()).filter(|rights| !rights.is_empty());
        let event = Event {
            event: record.event.word(),
            name: record.name.as_deref().unwrap_or_default(),
            key: record.key.map(|key| key.to_string()),
            grant,
            rights,
            reason: record.reason.clone(),
            ..Event::default()
        };
        self.announce(event, fx);
    }

    fn tell_of(&mut self, session: &Session, event: &'static str, reason: Option<String>, fx: &mut Effects) {
        let (pid, uid) = (Some(session.pid()), Some(session.uid));
        let key = session.key.map(|key| key.to_string());
        let event = Event { event, node: Some(&session.node), pid, uid, key, reason, ..Event::default() };
        self.report(event, File::of(ROOT), fx);
    }

    /// The session that a caller asks in; None for one of this machine.
    ///
    /// # Errors
    /// ESHUTDOWN when it is over.
    pub(super) fn session(&self, caller: Caller) -> Answered<Option<Arc<Session>>> {
        match caller.session.checked_sub(1) {
            None => Ok(None),
            Some(number) => self.sessions.get(number as usize).cloned().map(Some).ok_or(Errno::SHUTDOWN),
        }
    }
}
