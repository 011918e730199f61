//! The first words of a connection, 44 bytes each way: `fs9.peers.1\n session[16] epoch[8] received[8]`.
//!
//! Who dials names the session that it wants to go on with, or none (all zeros) for a new one; who was dialled answers
//! with the session there is now, or none where it does not know it. The number of a session is secret: who knows it
//! can go on with it. `epoch` is of one run of the listener. `received` says how many frames of the other have come.
#![forbid(unsafe_code)]

use std::io;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::carrier::Carrier;
use crate::slot::Deadline;

const VERSION: &[u8; 12] = b"fs9.peers.1\n";
pub(super) const LEN: usize = 44;

/// Which session it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub session: [u8; 16],
    pub epoch: u64,
}

impl Identity {
    /// No session.
    pub const NONE: Identity = Identity { session: [0; 16], epoch: 0 };

    /// A new one.
    ///
    /// # Errors
    /// Those of getrandom(2).
    pub fn fresh(epoch: u64) -> io::Result<Identity> {
        Ok(Identity { session: random()?, epoch })
    }
}

pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole (getrandom(2)).
    match getrandom(&mut bytes, GetRandomFlags::empty())? {
        all if all == N => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What each side says first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub identity: Identity,
    pub received: u64,
}

impl Hello {
    pub fn bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..12].copy_from_slice(VERSION);
        bytes[12..28].copy_from_slice(&self.identity.session);
        bytes[28..36].copy_from_slice(&self.identity.epoch.to_le_bytes());
        bytes[36..].copy_from_slice(&self.received.to_le_bytes());
        bytes
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidData`]: it is another protocol.
    pub fn parse(bytes: &[u8; LEN]) -> io::Result<Hello> {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let mut session = [0; 16];
        session.copy_from_slice(&bytes[12..28]);
        if bytes[..12] != *VERSION {
            return Err(stranger());
        }
        Ok(Hello { identity: Identity { session, epoch: word(28) }, received: word(36) })
    }

    /// Says it. To a socket it takes no time: nothing was written before, so there is room for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]; those of send(2).
    pub fn say(&self, carrier: &dyn Carrier, deadline: Deadline) -> io::Result<()> {
        let bytes = self.bytes();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match carrier.send(&[io::IoSlice::new(rest)]) {
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(Errno::AGAIN) => wait(carrier, PollFlags::OUT, deadline)?,
                Err(error) => return Err(error.into()),
            }
        }
        while let Err(error) = carrier.flush() {
            if error != Errno::AGAIN {
                return Err(error.into());
            }
            wait(carrier, PollFlags::OUT, deadline)?;
        }
        Ok(())
    }

    /// Hears it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`]; [`io::ErrorKind::ConnectionRefused`] where the far side hangs up; those of recv(2).
    pub fn hear(carrier: &dyn Carrier, deadline: Deadline) -> io::Result<Hello> {
        let (mut bytes, mut len) = ([0; LEN], 0);
        while len < LEN {
            match carrier.read(&mut bytes[len..]) {
                Ok(0) => {
                    let error = "the other side hung up at once: it takes nobody, or has ended";
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, error));
                }
                Ok(more) => len += more.min(LEN - len),
                Err(Errno::AGAIN) => wait(carrier, PollFlags::IN, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Hello::parse(&bytes)
    }
}

fn wait(carrier: &dyn Carrier, events: PollFlags, deadline: Deadline) -> io::Result<()> {
    if carrier.wait(events, deadline)?.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}

fn stranger() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other side speaks another protocol than fs9.peers.1")
}
