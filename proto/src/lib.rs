//! The wire protocol: 9P2000, 9P2000.L, and verbs for whole messages. No I/O, no clock and no randomness: bytes and
//! times go in, bytes and what they mean come out. docs/protocol.md has the layouts.
#![forbid(unsafe_code)]

pub mod attr;
pub mod client;
pub mod entry;
mod errno;
pub mod frame;
pub mod message;
pub mod phrase;
pub mod qid;
pub mod server;
pub mod session;
pub mod stat;
pub mod violation;
mod wire;

pub use message::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request, Tag};
pub use qid::Qid;
pub use wire::{Fault, ParseError};
