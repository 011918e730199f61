//! What goes over the socket of a channel: who holds an end, and the ends of other channels.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::capability::Kind;
use crate::holder::Holder;
use crate::parcel;
use crate::process::link::{Link, Parts, Side, introduce};
use crate::sys::map::Map;

/// What one end's socket tells the other. The descriptors go in the same datagram.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Note {
    /// The first, from who made the channel, with the memory. The number of the protocol, and the size of the memory.
    Hello(u32, u64),
    /// Somebody has done something that your tasks wait for.
    Bell,
    /// This end is about to have another holder. Its holder so far may end without this end being gone.
    Moving,
    /// This end has a new holder, whose pidfd comes with it.
    Holder,
    /// These ends go beside the message of this number. Their descriptors are in the order of the passports.
    Beside(u32, Vec<Passport>),
    /// What came from you makes no sense here. I hang up.
    Nonsense,
}

/// The most ends that go beside one message.
pub(crate) const MOST: usize = 16;

impl Note {
    /// Sends it, or nothing.
    ///
    /// # Errors
    /// EAGAIN where the other end has not read what was sent before, EPIPE where it is gone; those of sendmsg(2).
    pub fn send(&self, socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        parcel::send(socket, &bytes, descriptors)
    }
}

/// The state of an end that moves to another process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Passport {
    pub kind: Kind,
    pub side: Side,
    /// How many messages this end has sent and received, modulo 2^30.
    pub sent: u32,
    pub received: u32,
    /// Whether the pidfd of the other end's holder comes along.
    pub has_holder: bool,
}

/// An end that came from another process and that nobody has claimed yet. Dropped, it closes.
#[derive(Debug)]
pub(crate) struct Luggage {
    pub passport: Passport,
    memory: OwnedFd,
    socket: OwnedFd,
    holder: Option<Arc<Holder>>,
}

impl Luggage {
    /// What a claim must name.
    pub fn kind(&self) -> Kind {
        self.passport.kind
    }

    /// The descriptors, in the order in which they travel.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let both = [self.memory.as_fd(), self.socket.as_fd()];
        both.into_iter().chain(self.holder.as_ref().and_then(|holder| holder.pidfd())).collect()
    }

    /// Gives every passport its descriptors. None where they are not just as many, or not what they should be.
    pub fn collect(passports: Vec<Passport>, descriptors: Vec<OwnedFd>) -> Option<Vec<Luggage>> {
        let mut descriptors = descriptors.into_iter();
        let mut luggage = Vec::new();
        for passport in passports {
            let (memory, socket) = (descriptors.next()?, descriptors.next()?);
            let holder = match passport.has_holder {
                true => Some(Arc::new(Holder::from_pidfd(descriptors.next()?).ok()?)),
                false => None,
            };
            luggage.push(Luggage { passport, memory, socket, holder });
        }
        descriptors.next().is_none().then_some(luggage)
    }

    /// Tells the other end that this one is about to have another holder.
    pub fn tell_moving(&self) {
        // Who is gone needs not be told; who does not read has been told by the one before.
        let _ = Note::Moving.send(&self.socket, &[]);
    }

    /// Makes it an end of this process, and introduces this process to the other end.
    ///
    /// # Errors
    /// Those of mapping and of watching; the luggage comes back.
    pub fn unpack(self) -> Result<Arc<Link>, (Luggage, io::Error)> {
        let map = match Map::open(&self.memory).and_then(|map| introduce(&self.socket).map(|()| map)) {
            Ok(map) => map,
            Err(error) => return Err((self, error)),
        };
        let Luggage { passport, memory, socket, holder } = self;
        let Passport { side, sent, received, .. } = passport;
        let parts = Parts { side, sent, received, map, memory, socket, holder, credentials: None };
        Link::new(parts).map_err(|(parts, error)| {
            let Parts { memory, socket, holder, .. } = parts;
            (Luggage { passport, memory, socket, holder }, error)
        })
    }
}
