//! The end of a channel, on its way to somebody else.
//!
//! Bytes cross a channel; authority does not. The end of a channel goes to another party only beside a message
//! ([`Sender::send_with`](crate::Sender::send_with)), and it moves: who gave it has it no more. Between threads it
//! moves in memory. Between processes its descriptors do (SCM_RIGHTS in unix(7)), and the far end is told that a new
//! holder will introduce itself, so that neither it nor the kernel mistakes the giver for the holder any more.
#![forbid(unsafe_code)]

use std::any::{Any, type_name};
use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::message::Message;
use crate::peer::Peer;
use crate::process::link::Link;
use crate::process::passport::Luggage;
use crate::receiver::Rx;
use crate::remote::{Arrived, Channel, Relay};
use crate::sender::Tx;

/// An end that was or will be handed over. Dropped, it closes.
///
/// See [`Sender::send_with`](crate::Sender::send_with) and [`Capability::claim`] for examples.
#[must_use = "a capability that is dropped closes its end"]
pub struct Capability(pub(crate) Inner);

pub(crate) enum Inner {
    /// An end of this process.
    Here(Held),
    /// One that came from another process and has not been claimed.
    Arrived(Luggage),
    /// One that came over a connection and has not been claimed.
    Remote(Arrived),
}

/// A peer whose message types are not known here.
pub(crate) struct Held {
    peer: Box<dyn Any + Send + Sync>,
    tier: fn(&dyn Any) -> Option<Tier<'_>>,
    relay: fn(Box<dyn Any + Send + Sync>, Arc<Channel>) -> Option<Relay>,
    kind: Kind,
}

/// How an end can travel.
enum Tier<'a> {
    /// Only in this process. The addresses of its lanes.
    Thread([usize; 2]),
    Process(&'a Arc<Link>),
    /// Only in this process.
    File,
    /// Over a connection of this process.
    Remote,
}

impl Held {
    /// By what it can go to another process: its link.
    ///
    /// # Errors
    /// Where only channels between processes can.
    pub fn link(&self) -> Result<&Arc<Link>, Refusal> {
        match (self.tier)(&*self.peer) {
            Some(Tier::Process(link)) => Ok(link),
            Some(Tier::File) => Err(Refusal::File),
            Some(Tier::Remote) => Err(Refusal::Remote),
            Some(Tier::Thread(_)) | None => Err(Refusal::Thread),
        }
    }

    /// What a claim must name.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it can go over a connection, where this process passes on what goes through it.
    ///
    /// # Errors
    /// A file cannot.
    pub fn can_be_relayed(&self) -> Result<(), Refusal> {
        match (self.tier)(&*self.peer) {
            Some(Tier::File) => Err(Refusal::File),
            _ => Ok(()),
        }
    }

    /// What passes on between this end and the channel that stands for it.
    pub fn relay(self, channel: Arc<Channel>) -> Option<Relay> {
        (self.relay)(self.peer, channel)
    }
}

fn tier<Out: Message, In: Message>(peer: &dyn Any) -> Option<Tier<'_>> {
    let peer = peer.downcast_ref::<Peer<Out, In>>()?;
    match (&peer.sender().tx, &peer.receiver().rx) {
        (Tx::Process(link), _) => Some(Tier::Process(link)),
        (Tx::Thread(there), Rx::Thread(back)) => Some(Tier::Thread([there.address(), back.address()])),
        (Tx::File(_), _) => Some(Tier::File),
        (Tx::Remote(_), _) => Some(Tier::Remote),
        (Tx::Thread(_), _) => None,
    }
}

fn relay<Out: Message, In: Message>(peer: Box<dyn Any + Send + Sync>, channel: Arc<Channel>) -> Option<Relay> {
    peer.downcast::<Peer<Out, In>>().ok().map(|peer| Relay::between(*peer, channel))
}

/// The message types of a peer, as another program that was built from the same types knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Kind(u64);

impl Kind {
    pub const fn from_hash(hash: u64) -> Kind {
        Kind(hash)
    }

    pub const fn hash(self) -> u64 {
        self.0
    }

    pub fn of<Out, In>() -> Kind {
        // FNV-1a (Fowler, Noll, Vo), which is the same in every build.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let names = type_name::<Out>().bytes().chain([0]).chain(type_name::<In>().bytes());
        Kind(names.fold(0xcbf2_9ce4_8422_2325, hash))
    }
}

impl<Out: Message, In: Message> From<Peer<Out, In>> for Capability {
    fn from(peer: Peer<Out, In>) -> Self {
        Capability(Inner::Here(Held {
            peer: Box::new(peer),
            tier: tier::<Out, In>,
            relay: relay::<Out, In>,
            kind: Kind::of::<Out, In>(),
        }))
    }
}

impl Capability {
    /// Whether this is an end of the lane at that address. Sent over it, it would own itself.
    pub(crate) fn is_of(&self, lane: usize) -> bool {
        let Inner::Here(held) = &self.0 else { return false };
        matches!((held.tier)(&*held.peer), Some(Tier::Thread(lanes)) if lanes.contains(&lane))
    }

    /// Takes the end, which sends `Out` and receives `In`.
    ///
    /// # Errors
    /// See [`Why`]; the error has the capability, so that another claim can be made.
    ///
    /// ```
    /// # use fs9_tiers::{Capability, pair};
    /// let (near, far) = pair::<u8, String>();
    /// let capability = Capability::from(far);
    /// let error = capability.claim::<u8, String>().expect_err("it is the other way round");
    /// let far = error.capability.claim::<String, u8>()?;
    /// near.send(1)?;
    /// assert_eq!(far.recv(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim<Out: Message, In: Message>(self) -> Result<Peer<Out, In>, ClaimError> {
        let (inner, why) = match self.0 {
            Inner::Here(held) => match held.peer.downcast() {
                Ok(peer) => return Ok(*peer),
                Err(peer) => (Inner::Here(Held { peer, ..held }), Why::kind::<Out, In>()),
            },
            Inner::Arrived(luggage) if luggage.kind() == Kind::of::<Out, In>() => match luggage.unpack() {
                Ok(link) => return Ok(Link::peer(link)),
                Err((luggage, error)) => (Inner::Arrived(luggage), Why::System(error)),
            },
            Inner::Remote(arrived) if arrived.kind() == Kind::of::<Out, In>() => return Ok(arrived.claim()),
            inner => (inner, Why::kind::<Out, In>()),
        };
        Err(ClaimError { capability: Capability(inner), why })
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Inner::Here(_) => "Capability(here)",
            Inner::Arrived(_) | Inner::Remote(_) => "Capability(arrived)",
        })
    }
}

/// A capability that could not be claimed.
///
/// ```
/// # use fs9_tiers::{Capability, Why, pair};
/// let (_near, far) = pair::<u8, String>();
/// let error = Capability::from(far).claim::<u8, u8>().expect_err("another type");
/// assert!(matches!(error.why, Why::Kind { .. }));
/// let _far = error.capability.claim::<String, u8>()?;
/// # Ok::<(), fs9_tiers::ClaimError>(())
/// ```
#[derive(Debug, Error)]
#[error("the capability was not claimed: {why}")]
#[non_exhaustive]
pub struct ClaimError {
    /// What was to be claimed.
    pub capability: Capability,
    /// Why not.
    pub why: Why,
}

/// Why a capability could not be claimed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Why {
    /// It is the end of a channel for other messages.
    #[error("it is not a {expected}; claim it as the type that its giver had")]
    Kind {
        /// What was asked for.
        expected: String,
    },
    /// The system refused a mapping or a descriptor.
    #[error("the system refused: {0}")]
    System(io::Error),
}

impl Why {
    fn kind<Out, In>() -> Why {
        Why::Kind { expected: format!("Peer<{}, {}>", type_name::<Out>(), type_name::<In>()) }
    }
}

/// Why the end of a channel cannot be handed over.
///
/// ```
/// # use fs9_tiers::{Capability, Refusal, error::{SendError, Unfit}, pair, process};
/// let (boss, _worker) = process::pair::<(), ()>()?;
/// let (_near, far) = pair::<u8, u8>(); // between threads
/// let refused = boss.send_with((), vec![Capability::from(far)]).expect_err("it cannot leave this process");
/// assert!(matches!(refused.error, SendError::Unfit((), Unfit::Capability(Refusal::Thread))));
/// assert_eq!(refused.capabilities.len(), 1, "it is still ours");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its other end is a thread of this process.
    #[error("its other end is a thread of this process; make the channel with `process::pair`")]
    Thread,
    /// It is the end of a file.
    #[error("it is the end of a file; close it and send the path")]
    File,
    /// What it was to go over is a file.
    #[error("bytes cross a file, authority never does; use a channel between threads or processes")]
    Bytes,
    /// It is an end of the very channel that it was to go over.
    #[error("a channel cannot carry its own end")]
    Itself,
    /// It is reached over a connection of this process, and goes only over connections, or to a thread.
    #[error(
        "it is reached over a connection of this process; hand over an end of a process::pair and pass messages on"
    )]
    Remote,
    /// It came from another process and was not claimed.
    #[error("it was not claimed; claim it, and hand that over")]
    Unclaimed,
    /// There are more beside one message than can go.
    #[error("at most {} can go beside one message", crate::process::passport::MOST)]
    TooMany,
    /// Beside a message that waits in it lies a capability.
    #[error("a message with capabilities waits in it; receive that first")]
    Undelivered,
    /// The system refused.
    #[error("the system refused: {0}")]
    System(io::ErrorKind),
}

impl Refusal {
    pub(crate) fn of(error: io::Error) -> Refusal {
        Refusal::System(error.kind())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{Reason, RecvError, RecvTimeoutError, SendError, SendWithError, Unfit};
    use crate::process::pair;

    const LONG: Duration = Duration::from_secs(10);
    const CLOSED: Reason = Reason::Closed;

    #[test]
    fn what_waits_in_an_end_can_be_received_after_its_other_end_is_gone() {
        let (a, b) = pair::<u8, ()>().expect("a pair");
        let (x, y) = pair::<u8, ()>().expect("a pair");
        x.send(7).expect("y is there");
        drop(x);
        a.send_with(1, vec![y.into()]).expect("b is there");
        let (_, capabilities) = b.recv_with().expect("a message");
        let [y] = <[Capability; 1]>::try_from(capabilities).expect("one end");
        let y: Peer<(), u8> = y.claim().expect("its own types");
        assert_eq!(y.recv(), Ok(7));
        assert_eq!(y.recv(), Err(RecvError::Disconnected(CLOSED)));
    }

    #[test]
    fn an_end_that_nobody_will_receive_closes_with_the_receiving_half() {
        let (a, b) = pair::<u8, u8>().expect("a pair");
        let (x, y) = pair::<u8, u8>().expect("a pair");
        a.send_with(1, vec![y.into()]).expect("b is there");
        let (_sender, receiver) = b.split();
        assert_eq!(x.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
        drop(receiver);
        assert_eq!(x.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected(CLOSED)));
    }

    #[test]
    fn a_channel_does_not_carry_either_of_its_ends() {
        let (a, b) = pair::<u8, u8>().expect("a pair");
        let Err(SendWithError { error, mut capabilities }) = a.send_with(1, vec![b.into()]) else {
            panic!("it was sent")
        };
        assert!(matches!(error, SendError::Unfit(1, Unfit::Capability(Refusal::Itself))), "{error}");
        let b: Peer<u8, u8> = capabilities.remove(0).claim().expect("it came back");
        b.send(2).expect("a is there");
        assert_eq!(a.recv(), Ok(2));
    }

    #[test]
    fn an_end_is_handed_on_unclaimed() {
        let carriers = [pair::<u8, ()>().expect("a pair"), pair::<u8, ()>().expect("a pair")];
        let (x, y) = pair::<u8, u8>().expect("a pair");
        let mut on_its_way = vec![Capability::from(y)];
        for (a, b) in &carriers {
            a.send_with(1, on_its_way).expect("b is there");
            on_its_way = b.recv_with().expect("a message").1;
        }
        let y: Peer<u8, u8> = on_its_way.remove(0).claim().expect("its own types");
        x.send(3).expect("y is there");
        assert_eq!(y.recv(), Ok(3));
    }
}
