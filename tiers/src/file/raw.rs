//! Files whose bytes are the messages, for an other side that knows nothing of this crate.
//!
//! A message is a [`Block`]: a `Vec<u8>`, a `String`, or plain old data ([`Pod`](crate::Pod)). What comes and is none
//! (not UTF-8, another length) is an error of that one message, see [the tier of files](super). No message is empty: a
//! write of nothing is none, and [`Unfit::Empty`](crate::error::Unfit::Empty) gives it back.
//!
//! This works with the other files of a mount, too:
//!
//! ```no_run
//! use fs9_tiers::{Receiver, file};
//!
//! let events: Receiver<String> = file::raw::receiver("/tmp/p/events")?;
//! for event in &events {
//!     print!("{event}"); // {"event":"opened","time":...}
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{Incoming, Outgoing, opened};
use crate::loan::Block;
use crate::peer::Peer;
use crate::receiver::{Receiver, Rx};
use crate::sender::{Sender, Tx};

/// As [`file::open`](super::open), for bytes as they are.
///
/// # Errors
/// As [`file::open`](super::open).
///
/// ```no_run
/// use fs9_tiers::{Peer, file};
///
/// // $ fs9 spawn /tmp/p/calc -- bc -l
/// let calculator: Peer<String, String> = file::raw::open("/tmp/p/calc/connect")?;
/// calculator.send("2 ^ 64\n".to_owned())?;
/// assert_eq!(calculator.recv()?, "18446744073709551616\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open<Out: Block, In: Block>(path: impl AsRef<Path>) -> io::Result<Peer<Out, In>> {
    let file = opened(path.as_ref(), OFlags::RDWR)?;
    Ok(Peer::new(Tx::File(Outgoing::raw(Arc::clone(&file))), Rx::File(Incoming::raw(file))))
}

/// As [`file::sender`](super::sender), for bytes as they are.
///
/// # Errors
/// As [`file::open`](super::open).
///
/// ```no_run
/// let jobs = fs9_tiers::file::raw::sender("/tmp/p/jobs")?;
/// jobs.send(std::fs::read("cat.png")?)?; // $ cat /tmp/p/jobs > cat.png
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sender<T: Block>(path: impl AsRef<Path>) -> io::Result<Sender<T>> {
    Ok(Sender::new(Tx::File(Outgoing::raw(opened(path.as_ref(), OFlags::WRONLY)?))))
}

/// As [`file::receiver`](super::receiver), for bytes as they are.
///
/// # Errors
/// As [`file::open`](super::open).
///
/// ```no_run
/// let jobs = fs9_tiers::file::raw::receiver::<Vec<u8>>("/tmp/p/jobs")?; // $ printf hello > /tmp/p/jobs
/// assert_eq!(jobs.recv()?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn receiver<T: Block>(path: impl AsRef<Path>) -> io::Result<Receiver<T>> {
    Ok(Receiver::new(Rx::File(Incoming::raw(opened(path.as_ref(), OFlags::RDONLY)?))))
}
