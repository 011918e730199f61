//! How it ends: with a connection, or with a client.

use std::sync::Arc;
use std::time::Instant;

use fs9_proto::violation::Violation;
use fs9_proto::{NO_TAG, Tag};
use fs9_tiers::error::Reason;
use rustix::event::epoll;
use slab::Slab;

use super::{Alarm, End, Porter, Stage, give_up};
use crate::local::verb;
use crate::net::client::Client;
use crate::net::door::Door;
use crate::server::Origin;

impl Porter {
    /// A connection is over.
    pub(super) fn close(&mut self, key: usize, end: &End) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        let _ = epoll::delete(&*self.epoll, &*connection.stream);
        if connection.is_stranger {
            self.strangers.leave(connection.place);
        }
        let why = end.to_string();
        match connection.stage {
            _ if matches!((&connection.stage, end), (Stage::Handshake(_) | Stage::Greeting(..), End::Gone)) => {}
            Stage::Handshake(node) => self.turn_off(&node, why),
            Stage::Greeting(_, origin, _) => {
                self.turn_off(&origin.map(|origin| origin.node).unwrap_or_default(), why);
            }
            Stage::Client(client) => self.lose(key, &client, end, &why),
        }
        if self.connections.is_empty() {
            self.connections = Slab::new(); // memory that many took is given back
        }
    }

    /// A client has lost this connection.
    pub(super) fn lose(&mut self, key: usize, client: &Arc<Client>, end: &End, why: &str) {
        let mut state = client.state();
        if !state.disconnect(key) {
            return; // it has another
        }
        let identity = state.talk.identity();
        let is_over = state.is_given_up() || !state.is_admitted || !end.is_of_the_link();
        drop(state);
        match identity {
            None => {
                let origin = client.origin.clone();
                let ending = self.house.keeper.ask_for(move || origin.ending());
                self.end_client(client, ending.unwrap_or_else(|| client.origin.ending()), why);
            }
            Some(identity) if matches!(end, End::Violation(Violation::Greeting)) => {
                self.end_session(&identity.id, Reason::Closed, "it said goodbye");
            }
            Some(identity) if is_over => self.end_session(&identity.id, Reason::Protocol, why),
            Some(identity) => {
                let now = Instant::now();
                if let Some(kept) = self.sessions.get_mut(&identity.id) {
                    kept.alone_since = Some(now);
                }
                self.alarms.insert((now + self.house.linger, Alarm::Session(identity.id)));
            }
        }
    }

    pub(super) fn end_session(&mut self, id: &[u8; 16], reason: Reason, why: &str) {
        if let Some(kept) = self.sessions.remove(id) {
            self.end_client(&kept.client, reason, why);
        }
    }

    /// Everything that a client has asked is given up, and everything that it has open is left. Returns where it came
    /// from.
    pub(super) fn end_client(&mut self, client: &Arc<Client>, reason: Reason, why: &str) -> Origin {
        let mut state = client.state();
        let asked: Vec<Tag> = state.talk.asked().collect();
        state.talk.abandon();
        let places: Vec<_> = state.talk.drain().map(|(_, place)| place).collect();
        drop(state);
        for tag in asked {
            give_up(&self.house, client, tag, &mut self.fx);
        }
        let door = Door { house: &self.house, client, tag: NO_TAG };
        places.iter().for_each(|place| door.release(place, reason, &mut self.fx));
        // Their ends are told to the client, which must not be locked then.
        let branches = std::mem::take(&mut client.state().branches);
        drop(branches);
        verb(&self.house.server, |server, fx| server.dismiss_session(client.session, why.to_owned(), fx));
        if self.fx.carry_out() {
            self.house.stopper.stop();
        }
        client.origin.again()
    }

    /// Tells everybody what is left to tell, and leaves everything.
    pub(super) fn end(mut self) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, &End::Patience("the server has ended"));
        }
        let ids: Vec<[u8; 16]> = self.sessions.keys().copied().collect();
        ids.iter().for_each(|id| self.end_session(id, Reason::Unreachable, "the server has ended"));
    }
}
