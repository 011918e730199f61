//! What connections begin with: a client that is new, a session that goes on, or one that begins anew.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use fs9_proto::Tag;
use fs9_proto::server::{self, Greeting, Hello, Identity, Limits, Server as Talk};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Alarm, Connection, End, Kept, MSIZE, OTHERS, Porter, Stage};
use crate::local::verb;
use crate::net::client::{Client, Link};
use crate::net::origin::Party;
use crate::net::spot::Place;
use crate::net::stream::Stream;
use crate::random::random;
use crate::server::Origin;

/// The longest frame of a key that has attached nothing: with what TLS has in hand no more than 64 KiB are kept for it.
const UNADMITTED: u32 = 32 << 10;

impl Porter {
    /// Whether it is known whose key a connection is of, if it has to prove one. Goes on with that.
    pub(super) fn is_proved(&mut self, key: usize) -> Result<bool, End> {
        let Some(Connection { stage, stream, frames, .. }) = self.connections.get_mut(key) else { return Ok(false) };
        let (Stage::Handshake(node), Stream::Tls(tls)) = (&mut *stage, &**stream) else { return Ok(true) };
        let Some(proved) = tls.handshake()? else {
            // The first words fit into any socket; who has no room even for them is gone.
            return if tls.is_stuck() { Err(End::Gone) } else { Ok(false) };
        };
        let origin = Origin { node: std::mem::take(node), uid: self.house.owner.uid, process: None, key: Some(proved) };
        *stage = Stage::Greeting(Greeting::new(MSIZE), Some(origin), Arc::new(Party::Key(proved)));
        frames.set_limit(UNADMITTED);
        Ok(true)
    }

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
                // Of a key nothing is known but that it is proved: it stays a stranger until it has attached something.
                let is_user = matches!(*client.party, Party::User(_));
                client.state().is_admitted = is_user;
                self.sessions.insert(id, Kept { client, alone_since: None });
                if is_user {
                    self.settle(key);
                }
                Ok(())
            }
            Hello::Resume { tag, id, epoch, received } => self.resume(key, tag, id, epoch, received),
        }
    }

    /// What a client may have at once: others less than the owner.
    pub(super) fn limits(&self, key: usize) -> Limits {
        match self.connections.get(key) {
            Some(Connection { stage: Stage::Greeting(_, _, party), .. }) if !self.house.is_owners(party) => {
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
        match connection.stream.send(&[IoSlice::new(answer)]) {
            Ok(len) if len == answer.len() && !connection.stream.is_stuck() => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// The greeting is over: the connection is a client's.
    pub(super) fn admit(&mut self, key: usize, talk: Talk<Place>) -> Result<Arc<Client>, End> {
        let link = self.link(key)?;
        let Some(Connection { stage, .. }) = self.connections.get_mut(key) else { return Err(End::Gone) };
        let Stage::Greeting(_, origin, party) = stage else { return Err(End::Gone) };
        let (origin, party) = (origin.take().ok_or(End::Gone)?, party.clone());
        let admitted = verb(&self.house.server, |server, fx| server.admit(origin, fx));
        let (number, session) = admitted.map_err(|_| End::Patience("the server is stopping"))?;
        let client = Client::new(talk, number, session, party, link);
        *stage = Stage::Client(client.clone());
        client.state().flush();
        Ok(client)
    }

    pub(super) fn link(&self, key: usize) -> Result<Link, End> {
        let connection = self.connections.get(key).ok_or(End::Gone)?;
        Ok(Link::new(connection.stream.clone(), self.epoll.clone(), self.bell.clone(), key))
    }

    /// A connection is known to be of a session.
    pub(super) fn settle(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.frames.set_limit(MSIZE);
        if std::mem::take(&mut connection.is_stranger) {
            self.strangers.leave(connection.place);
        }
        let alarm = (Instant::now() + self.house.keep_alive, Alarm::Connection(key, connection.serial));
        self.alarms.insert(alarm);
    }

    /// A session goes on over this connection, if there is such a session, and it is this one's.
    pub(super) fn resume(&mut self, key: usize, tag: Tag, id: [u8; 16], epoch: u64, received: u64) -> Result<(), End> {
        let link = self.link(key)?;
        let Some(Connection { stage: Stage::Greeting(_, _, party), .. }) = self.connections.get(key) else {
            return Err(End::Gone);
        };
        let kept = self.sessions.get_mut(&id).filter(|kept| {
            let state = kept.client.state();
            epoch == self.epoch && kept.client.party.is_same(party) && state.is_admitted && !state.is_given_up()
        });
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
    pub(super) fn begin_again(&mut self, key: usize, party: Arc<Party>, frame: &[u8]) -> Result<(), End> {
        let Some(client) = self.client_of(key) else { return Ok(()) };
        let origin = self.end_client(&client, Reason::Closed, "it begins anew");
        let mut greeting = Greeting::new(MSIZE);
        let hello = greeting.handle_frame(frame)?;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        connection.stage = Stage::Greeting(greeting, Some(origin), party);
        self.greet(key, hello)
    }
}
