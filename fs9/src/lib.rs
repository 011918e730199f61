//! fs9: channels as files. Mount a directory; every peer in it is a file; write(2) sends it one message, read(2)
//! receives one.
#![forbid(unsafe_code)]

pub mod cli;
pub mod fuse;
mod mount;
pub mod mountpoint;

pub use mount::{Limits, Mount, MountError, Options, Stopper};
