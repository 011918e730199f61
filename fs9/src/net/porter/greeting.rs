//! What connections begin with: a client that is new, a session that goes on, or one that begins anew.

use std::sync::Arc;
use std::time::Instant;

use fs9_proto::Tag;
use fs9_proto::server::{self, Greeting, Hello, Identity, Limits, Server as Talk};
use fs9_tiers::error::Reason;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::{Alarm, Connection, End, Kept, MSIZE, OTHERS, Porter, Stage, random};
use crate::local::verb;
use crate::net::client::{Client, Link};
use crate::net::spot::Place;
use crate::server::access::Who;

impl Porter {
    /// The greeting of a connection has come to this.
    pub(super) fn greet(&mut self, key: usize, hello: Hello) -> Result<(), End> {
        let limits = self.limits(key);
        match hello {
            Hello::Wait(answer) => self.say(key, &answer),
            Hello::Plain { dialect, msize, answer } => {
                self.admit(key, Talk::plain(dialect, msize, answer, limits)).map(drop)
            }
            Hello::Begin { tag, msize } => {
                let id = random();
                let [linger_ms, keep_alive_ms] = [self.house.linger, self.house.keep_alive]
                    .map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
                let limit = self.house.limit as u32;
                let identity = Identity { id, epoch: self.epoch, linger_ms, keep_alive_ms, limit };
                let client = self.admit(key, Talk::begin(tag, msize, identity, limits))?;
                self.sessions.insert(id, Kept { client, alone_since: None });
                self.settle(key);
                Ok(())
            }
            Hello::Resume { tag, id, epoch, received } => self.resume(key, tag, id, epoch, received),
        }
    }

    /// What a client may have at once: others less than the owner.
    pub(super) fn limits(&self, key: usize) -> Limits {
        match self.connections.get(key) {
            Some(Connection { stage: Stage::Greeting(_, _, who), .. }) if !self.house.is_owner(who) => {
                let (fids, requests) = OTHERS;
                Limits { fids, requests, ..Limits::default() }
            }
            _ => Limits::default(),
        }
    }

    /// Answers somebody who is no client yet. The first words fit into any socket; who has no room even for them is
    /// gone.
    pub(super) fn say(&self, key: usize, answer: &[u8]) -> Result<(), End> {
        let Some(connection) = self.connections.get(key) else { return Err(End::Gone) };
        match send(&*connection.socket, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(len) if len == answer.len() => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// The greeting is over: the connection is a client's.
    pub(super) fn admit(&mut self, key: usize, talk: Talk<Place>) -> Result<Arc<Client>, End> {
        let link = self.link(key)?;
        let Some(Connection { stage, .. }) = self.connections.get_mut(key) else { return Err(End::Gone) };
        let Stage::Greeting(_, origin, who) = stage else { return Err(End::Gone) };
        let (origin, who) = (origin.take().ok_or(End::Gone)?, who.clone());
        let admitted = verb(&self.house.server, |server, fx| server.admit(origin, fx));
        let (number, session) = admitted.map_err(|_| End::Patience("the server is stopping"))?;
        let client = Client::new(talk, number, session, who, link);
        *stage = Stage::Client(client.clone());
        client.state().flush();
        Ok(client)
    }

    pub(super) fn link(&self, key: usize) -> Result<Link, End> {
        let connection = self.connections.get(key).ok_or(End::Gone)?;
        Ok(Link::new(connection.socket.clone(), self.epoll.clone(), self.bell.clone(), key))
    }

    /// A connection is known to be of a session.
    pub(super) fn settle(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.frames.set_limit(MSIZE);
        self.strangers -= usize::from(std::mem::take(&mut connection.is_stranger));
        let alarm = (Instant::now() + self.house.keep_alive, Alarm::Connection(key, connection.serial));
        self.alarms.insert(alarm);
    }

    /// A session goes on over this connection, if there is such a session, and it is this user's.
    pub(super) fn resume(&mut self, key: usize, tag: Tag, id: [u8; 16], epoch: u64, received: u64) -> Result<(), End> {
        let link = self.link(key)?;
        let Some(Connection { stage: Stage::Greeting(_, _, who), .. }) = self.connections.get(key) else {
            return Err(End::Gone);
        };
        let kept = self
            .sessions
            .get_mut(&id)
            .filter(|kept| epoch == self.epoch && kept.client.who.uid == who.uid && !kept.client.state().is_given_up());
        let Some(kept) = kept else {
            return self.say(key, &server::refuse(tag, Errno::STALE.raw_os_error() as u32, "no such session"));
        };
        let client = kept.client.clone();
        let mut state = client.state();
        if state.talk.resume(tag, received).is_err() {
            drop(state);
            self.end_session(&id, Reason::Protocol, "it cannot be resumed");
            return self.say(key, &server::refuse(tag, Errno::STALE.raw_os_error() as u32, "it cannot be resumed"));
        }
        kept.alone_since = None;
        state.connect(link);
        state.flush();
        drop(state);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.stage = Stage::Client(client);
        }
        self.settle(key);
        Ok(())
    }

    /// A standard client begins anew on the same connection.
    pub(super) fn begin_again(&mut self, key: usize, who: Arc<Who>, frame: &[u8]) -> Result<(), End> {
        let Some(client) = self.client_of(key) else { return Ok(()) };
        let origin = self.end_client(&client, Reason::Closed, "it begins anew");
        let mut greeting = Greeting::new(MSIZE);
        let hello = greeting.handle_frame(frame)?;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        connection.stage = Stage::Greeting(greeting, Some(origin), who);
        self.greet(key, hello)
    }
}
