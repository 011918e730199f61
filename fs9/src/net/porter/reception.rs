//! Who comes: listening, and letting in as many as there is room for.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use fs9_proto::frame::Frames;
use fs9_proto::server::Greeting;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{Alarm, Connection, GREETING, LISTENERS, MOST, MOST_OTHERS, MSIZE, PAUSE, Porter, Stage};
use crate::local::verb;
use crate::net::address::Address;
use crate::net::origin::{self, Party};
use crate::net::stream::Stream;
use crate::net::tls::TlsStream;

/// So many are let in before it is the turn of those who are there.
const AT_ONCE: usize = 16;
/// Descriptors that are left to others.
const HEADROOM: u64 = 64;

impl Porter {
    /// Lets in who waits.
    pub(super) fn listen(&mut self, number: usize, serial: &mut u64) {
        for _ in 0..AT_ONCE {
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok(socket) => {
                    *serial += 1;
                    match self.meet(socket, listener.address()) {
                        Ok((stream, stage, place)) => self.receive(stream, stage, place, *serial),
                        Err(why) => self.turn_off("unknown", why),
                    }
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

    /// Who has come to `address`, and what is to be asked of them first. The place of those who have only a key to
    /// prove is counted.
    fn meet(&self, socket: OwnedFd, address: &Address) -> Result<(Stream, Stage, Option<IpAddr>), String> {
        let unknown = |error| format!("who it is cannot be found out: {error}");
        let Address::Tls { .. } = address else {
            let (origin, who) = origin::of(&socket, address, &self.house.owner).map_err(unknown)?;
            let stage = Stage::Greeting(Greeting::new(MSIZE), Some(origin), Arc::new(Party::User(Arc::new(who))));
            return Ok((Stream::Plain(socket), stage, None));
        };
        let from = origin::peer(&socket).map_err(unknown)?;
        let config = self.house.tls.clone().ok_or("this node has no key")?;
        let tls = TlsStream::server(socket, config).map_err(|error| error.to_string())?;
        Ok((Stream::Tls(Box::new(tls)), Stage::Handshake(address.at(from).to_string()), Some(from.ip())))
    }

    /// Somebody has come.
    fn receive(&mut self, stream: Stream, stage: Stage, place: Option<IpAddr>, serial: u64) {
        let (node, is_owner) = match &stage {
            Stage::Greeting(_, Some(origin), party) => (origin.node.clone(), self.house.is_owners(party)),
            Stage::Handshake(node) => (node.clone(), false),
            _ => return,
        };
        let most = if is_owner { MOST } else { MOST_OTHERS };
        if self.connections.len() >= most || !has_headroom(&stream) || !self.strangers.enter(place) {
            return self.turn_off(&node, "there are too many connections".into());
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        if let Err(error) = epoll::add(&*self.epoll, &stream, EventData::new_u64(key as u64), EventFlags::IN) {
            self.strangers.leave(place);
            return self.turn_off(&node, error.to_string());
        }
        let now = Instant::now();
        entry.insert(Connection {
            serial,
            stream: Arc::new(stream),
            frames: Frames::default(),
            stage,
            is_stranger: true,
            place,
            refusals: 0,
            is_swollen: false,
            is_held: false,
            since: now,
            heard: now,
        });
        self.alarms.insert((now + GREETING, Alarm::Connection(key, serial)));
    }

    pub(super) fn turn_off(&mut self, node: &str, why: String) {
        tracing::info!(%node, %why, "a client was refused");
        verb(&self.house.server, |server, fx| server.turn_off(node, None, why, fx));
    }
}

/// Whether there are descriptors left beside this one.
fn has_headroom(stream: &Stream) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(stream.as_fd().as_raw_fd()).is_ok_and(|number| number + HEADROOM < limit)
}
