//! fs9: channels as files. Mount a directory; every peer in it is a file; write(2) sends it one message, read(2)
//! receives one.
//!
//! One message, all the way through: `fuse::device` reads a request, `fuse::door` translates it to a verb, `server`
//! decides, [`fs9_tiers::channel`] pairs writers with readers, and a ticket is answered after the lock is released.
#![forbid(unsafe_code)]

mod channel;
pub mod cli;
mod config;
mod crew;
mod ctl;
mod events;
pub mod fuse;
mod host;
mod keeper;
mod local;
mod message;
mod mount;
pub mod mountpoint;
mod server;
mod service;
mod spec;
mod status;
mod ticket;
mod timer;
mod topic;
mod tree;
mod view;

pub use mount::{LARGEST_MESSAGE, Limits, Mount, MountError, Options, Stopper};
