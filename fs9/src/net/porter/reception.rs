//! Who comes: listening, and letting in as many as there is room for.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use fs9_proto::frame::Frames;
use fs9_proto::server::Greeting;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{Alarm, Connection, GREETING, LISTENERS, MOST, MOST_OTHERS, MOST_STRANGERS, MSIZE, PAUSE, Porter, Stage};
use crate::local::verb;
use crate::net::origin;
use crate::server::Origin;
use crate::server::access::Who;

/// Descriptors that are left to others.
const HEADROOM: u64 = 64;

impl Porter {
    /// Lets in who waits.
    pub(super) fn listen(&mut self, number: usize, serial: &mut u64) {
        loop {
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok(socket) => {
                    let origin = origin::of(&socket, listener.address(), &self.house.owner);
                    *serial += 1;
                    self.receive(socket, origin, *serial);
                }
                Err(Errno::AGAIN) => return,
                // Those who left before they were let in.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::NOTCONN | Errno::INVAL) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot let clients in for a moment");
                    self.hear(EventFlags::empty());
                    self.alarms.insert((Instant::now() + PAUSE, Alarm::Listen));
                    return;
                }
            }
        }
    }

    /// Listens or does not.
    pub(super) fn hear(&self, interest: EventFlags) {
        for (listener, key) in self.listeners.iter().zip(LISTENERS..) {
            let _ = epoll::modify(&*self.epoll, listener, EventData::new_u64(key), interest);
        }
    }

    /// Somebody has come.
    pub(super) fn receive(&mut self, socket: OwnedFd, origin: io::Result<(Origin, Who)>, serial: u64) {
        let (origin, who) = match origin {
            Ok(known) => known,
            Err(error) => return self.turn_off("unknown", format!("who it is cannot be found out: {error}")),
        };
        let most = if self.house.is_owner(&who) { MOST } else { MOST_OTHERS };
        let is_full = self.connections.len() >= most || self.strangers >= MOST_STRANGERS || !has_headroom(&socket);
        if is_full {
            return self.turn_off(&origin.node, "there are too many connections".into());
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        if let Err(error) = epoll::add(&*self.epoll, &socket, EventData::new_u64(key as u64), EventFlags::IN) {
            return self.turn_off(&origin.node, error.to_string());
        }
        let now = Instant::now();
        entry.insert(Connection {
            serial,
            socket: Arc::new(socket),
            frames: Frames::default(),
            stage: Stage::Greeting(Greeting::new(MSIZE), Some(origin), Arc::new(who)),
            is_stranger: true,
            is_swollen: false,
            since: now,
            heard: now,
        });
        self.strangers += 1;
        self.alarms.insert((now + GREETING, Alarm::Connection(key, serial)));
    }

    pub(super) fn turn_off(&mut self, node: &str, why: String) {
        tracing::info!(%node, %why, "a client was refused");
        verb(&self.house.server, |server, fx| server.turn_off(node, why, fx));
    }
}

/// Whether there are descriptors left beside this one.
fn has_headroom(socket: &OwnedFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number + HEADROOM < limit)
}
