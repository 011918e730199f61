//! The tier of the same machine: channels through memory that two processes share.
//!
//! A channel to another process begins in one of three ways: [`spawn`] starts a program that has the other end and
//! finds it with [`inherited`]; [`listen`] and [`connect`] bring together programs that know a name; and of a [`pair`]
//! made here, one end is handed over through a channel that is there already (see [`crate::Capability`]).
//!
//! However it began, the kernel tells each end when the other goes: by a signal, by an exit, by closing. What was sent
//! before is received first, then comes the [`Reason`](crate::error::Reason). A process that is stopped (SIGSTOP) is
//! not gone. A process must not go on with its peers after fork(2) without exec: both would hold the same end.
#![forbid(unsafe_code)]

mod child;
mod departure;
pub(crate) mod link;
mod listen;
pub(crate) mod memory;
pub(crate) mod passport;
mod tied;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::PollFlags;

pub use crate::sys::spawn::confine;
pub use child::{Child, inherited, spawn};
pub use link::Credentials;
pub use listen::{Listener, connect, connect_timeout, listen};
pub use tied::Tied;

use crate::holder::Holder;
use crate::message::Message;
use crate::parcel::{self, Received, socket_pair};
use crate::peer::Peer;
use crate::readiness::wait_for;
use crate::slot::Deadline;
use link::{Link, Parts, Side};
use memory::Memory;
use passport::Note;

/// The number of what two processes have to agree on: the memory's layout and the notes.
const PROTOCOL: u32 = 1;

/// Makes a channel through shared memory, both of whose ends are here: one to keep, and one to hand over to another
/// process.
///
/// # Errors
/// Those of memfd_create(2), mmap(2) and socketpair(2): too many descriptors, no memory. Where the first channel of a
/// process is made, those of starting the thread that watches.
///
/// ```
/// let (a, b) = fs9_tiers::process::pair::<u8, u8>()?;
/// a.send(1)?;
/// assert_eq!(b.recv(), Ok(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pair<A: Message, B: Message>() -> io::Result<(Peer<A, B>, Peer<B, A>)> {
    let (first, second) = socket_pair()?;
    let (memory, map) = Memory::create("fs9")?;
    let another = memory.try_clone()?;
    let second = end(Side::Second, Memory::open(&another)?, another, second, None, None)?;
    let first = end(Side::First, map, memory, first, None, None)?;
    Ok((Link::peer(first), Link::peer(second)))
}

/// The user that this process is (geteuid(2)): whom [`listen`] and [`connect`] most often allow.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// An end on which nothing has passed yet.
fn end(
    side: Side,
    map: Memory,
    memory: OwnedFd,
    socket: OwnedFd,
    holder: Option<Arc<Holder>>,
    credentials: Option<Credentials>,
) -> io::Result<Arc<Link>> {
    let parts = Parts { side, sent: 0, received: 0, map, memory, socket, holder, credentials };
    Link::new(parts).map_err(|(_, error)| error)
}

/// Makes the memory, and sends it ahead of everything else.
fn greet(socket: &OwnedFd) -> io::Result<(OwnedFd, Memory)> {
    let (memory, map) = Memory::create("fs9")?;
    Note::Hello(PROTOCOL, Memory::LEN as u64).send(socket, &[memory.as_fd()])?;
    Ok((memory, map))
}

/// Waits for the memory that the maker of the channel sends.
fn greeted(socket: &OwnedFd, deadline: Deadline) -> io::Result<(OwnedFd, Memory)> {
    loop {
        match parcel::receive(socket)? {
            Received::Parcel(bytes, descriptors) => return welcome(&bytes, descriptors),
            Received::Nothing => wait_readable(socket, deadline)?,
            Received::HungUp => {
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionRefused,
                    "the other side hung up at once: it has ended, or does not admit this user, or another program has taken this end",
                ));
            }
            Received::Malformed => return Err(stranger()),
        }
    }
}

fn welcome(bytes: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<(OwnedFd, Memory)> {
    match (postcard::from_bytes(bytes), <[OwnedFd; 1]>::try_from(descriptors)) {
        (Ok(Note::Hello(PROTOCOL, len)), Ok([memory])) if len == Memory::LEN as u64 => {
            let map = Memory::open(&memory)?;
            Ok((memory, map))
        }
        _ => Err(stranger()),
    }
}

fn stranger() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the other side speaks another protocol; build both from the same version of fs9-tiers",
    )
}

/// Waits until there is something to read, or a hang-up.
fn wait_readable(descriptor: impl AsFd, deadline: Deadline) -> io::Result<()> {
    if wait_for(descriptor, PollFlags::IN, deadline)?.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}
