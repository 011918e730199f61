//! The tier of files: channels that are files of an fs9 mount.
//!
//! On a mount every channel is a file: one write(2) sends a message, one read(2) receives one. [`open`] makes a
//! [`Peer`] of the end of a pair or of a connection to a service, [`sender`] and [`receiver`] make halves of queues and
//! topics. At the other end is whoever opens it: this program again, another Rust program, a shell, a program on
//! another machine. What works on any peer works on these: timeouts, tasks, [`Select`](crate::Select), iterators.
//!
//! ```no_run
//! use fs9_tiers::{Peer, file};
//!
//! // $ fs9 up /tmp/p && fs9 new --pair /tmp/p/sum
//! let boss: Peer<(u32, u32), u32> = file::open("/tmp/p/sum/a")?;
//! let worker: Peer<u32, (u32, u32)> = file::open("/tmp/p/sum/b")?; // in another program, as a rule
//! boss.send((30, 12))?;
//! let (left, right) = worker.recv()?;
//! worker.send(left + right)?;
//! assert_eq!(boss.recv()?, 42);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Typed or raw
//!
//! The functions here encode messages with postcard, as between processes; both sides must be built from the same
//! types. A value without any bytes, such as `()`, goes as one zero, as a write of nothing is none. Those of [`raw`]
//! send and receive bytes as they are, for an other side that is written in another language.
//!
//! ```no_run
//! use fs9_tiers::{Peer, file};
//!
//! let shell: Peer<String, String> = file::raw::open("/tmp/p/talk/a")?;
//! shell.send("what is your name?\n".to_owned())?; // $ cat /tmp/p/talk/b & echo Ada > /tmp/p/talk/b
//! println!("hello, {}", shell.recv()?.trim());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What differs
//!
//! - **The end closes as a whole.** A file has no halves to hang up: it is closed, and the other end learns it, once both
//!   halves are dropped. It learns [`Closed`](Reason::Closed) after a panic, too.
//! - **Reasons.** A file tells less than shared memory does: [`Closed`](Reason::Closed) when the other end closed, exited,
//!   or was hung up, and when the queue was removed; [`Lost`](Reason::Lost) when it was killed, or its node was lost: the
//!   mount's `status` says how. [`Unreachable`](Reason::Unreachable) when the mount itself has ended or cannot be reached.
//!   A queue does not end because those at its other side close it.
//! - **Bytes that are no message** of the type are the error [`Disconnected`](crate::error::RecvError::Disconnected) with
//!   [`Protocol`](Reason::Protocol). That message is gone, and the next receive goes on: on a queue it may be from somebody
//!   else. An iterator or a stream ends there.
//! - **A permit** promises room on a pair and on a connection, where nobody else writes to this end. On a queue another
//!   writer may be faster: then [`Permit::send`](crate::Permit::send) waits, and a `Sink` (feature `stream`) can be
//!   [`Full`](crate::error::TrySendError::Full) after it was ready.
//! - **Messages** have at most [`LIMIT`] bytes, or what the mount allows, where that is less. Longer ones come back as
//!   [`TooLong`](crate::error::Unfit::TooLong), [empty ones](crate::error::Unfit::Empty) where they are raw.
//! - **Capabilities** do not go over a file, nor does the end of a file go to another process: bytes cross a channel,
//!   authority never does. Send the path; who may open it may have it. Between threads such a peer can be handed over.
//! - **A message that was received** is done with when the next receive begins, or when the receiver is dropped. A process
//!   that is killed before gives it back to its queue, and another one receives it. (Of a queue made with `--ack`, one that
//!   is dropped does, too.) To wait in a [`Select`](crate::Select) is no receive. A receiver that was asked for its
//!   [`reason`](crate::Receiver::reason) may have read what was left.
//! - **Every operation asks the server.** One that stands still (SIGSTOP) keeps also those waiting that do not wait, and the
//!   thread `fs9-watch`, once a task has waited for a file.
#![forbid(unsafe_code)]

mod codec;
mod opened;
pub mod raw;

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstatfs};

pub(crate) use codec::{Incoming, Outgoing};
pub(crate) use opened::{FileEnd, Look, Opened};

use crate::message::Message;
use crate::peer::Peer;
use crate::receiver::{Receiver, Rx};
use crate::sender::{Sender, Tx};

#[cfg(doc)]
use crate::error::Reason;

/// The longest message of any mount, in bytes. One may allow less (`fs9 up --limit`).
pub const LIMIT: usize = (1 << 20) - 4096;

/// Opens a file for both directions: the end of a pair, or `connect` or `accept` of a service.
///
/// # Errors
/// Those of open(2): [`io::ErrorKind::NotFound`]; [`io::ErrorKind::ResourceBusy`] where somebody else has this end;
/// [`io::ErrorKind::PermissionDenied`]. [`io::ErrorKind::InvalidInput`] for what is not a file of a mount, or a view of
/// one (`NAME:line`), in which a message would not remain one.
///
/// ```no_run
/// use fs9_tiers::{Peer, file};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// enum Ask {
///     Square(u64),
///     Stop,
/// }
///
/// let server: Peer<Ask, u64> = file::open("/tmp/p/maths/connect")?;
/// server.send(Ask::Square(12))?;
/// assert_eq!(server.recv()?, 144);
/// # server.send(Ask::Stop)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open<Out: Message, In: Message>(path: impl AsRef<Path>) -> io::Result<Peer<Out, In>> {
    let file = opened(path.as_ref(), OFlags::RDWR)?;
    Ok(Peer::new(Tx::File(Outgoing::typed(Arc::clone(&file))), Rx::File(Incoming::typed(file))))
}

/// Opens a file to send: a queue or a topic, whoever else sends there.
///
/// # Errors
/// As [`open`].
///
/// ```no_run
/// use fs9_tiers::{Sender, file};
///
/// let jobs: Sender<(u32, String)> = file::sender("/tmp/p/jobs")?;
/// jobs.send((1, "make coffee".to_owned()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sender<T: Message>(path: impl AsRef<Path>) -> io::Result<Sender<T>> {
    Ok(Sender::new(Tx::File(Outgoing::typed(opened(path.as_ref(), OFlags::WRONLY)?))))
}

/// Opens a file to receive: a queue, of which each message goes to one of those who receive, or a topic, of which
/// everybody gets all.
///
/// # Errors
/// As [`open`].
///
/// ```no_run
/// use fs9_tiers::{Receiver, file};
///
/// let jobs: Receiver<(u32, String)> = file::receiver("/tmp/p/jobs")?;
/// for (number, job) in &jobs {
///     println!("{number}: {job}"); // whoever is killed here gives the job back
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn receiver<T: Message>(path: impl AsRef<Path>) -> io::Result<Receiver<T>> {
    Ok(Receiver::new(Rx::File(Incoming::typed(opened(path.as_ref(), OFlags::RDONLY)?))))
}

fn opened(path: &Path, access: OFlags) -> io::Result<Arc<Opened>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{} {what}", path.display()));
    let name = path.as_os_str().as_encoded_bytes();
    if name.ends_with(b":line") || name.ends_with(b":whole") {
        return Err(invalid("is a view, in which a message does not remain one; open the file itself"));
    }
    let file = rustix::fs::open(path, access | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
    // The kernel's 9P client (v9fs) knows no poll(2): nothing would be ready or time out there.
    if fstatfs(&file)?.f_type as u64 & u64::from(u32::MAX) != FUSE_SUPER_MAGIC {
        return Err(invalid("is not a file of an fs9 mount; see `fs9 up`"));
    }
    Ok(Opened::new(file))
}

/// What statfs(2) says of FUSE mounts (linux/magic.h).
const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;

#[cfg(test)]
mod tests;
