//! The FUSE door: bytes of /dev/fuse in, verbs of the server out, replies back.

pub mod abi;
pub(crate) mod device;
pub(crate) mod door;
pub(crate) mod far;
mod inode;
mod node;
pub(crate) mod patience;
pub(crate) mod session;
