//! What a fid is of: a file as one client has it.

use std::sync::Arc;

use fs9_proto::Qid;

use crate::channel::Handle;
use crate::server::Flags;
use crate::server::access::Who;
use crate::tree::{File, Stat};
use crate::view::View;

/// A file that a client has walked to.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The file.
    pub file: File,
    /// How bytes become messages in it.
    pub view: View,
    /// What the client knows it by.
    pub qid: Qid,
    /// Who walked.
    pub who: Arc<Who>,
    /// Its descriptor, once it is open.
    pub open: Option<Open>,
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// Its descriptor.
    pub handle: Handle,
    /// How it was opened.
    pub flags: Flags,
    /// It has no position.
    pub stream: bool,
    /// It is removed when it is closed (ORCLOSE).
    pub removes: bool,
    /// Where the next read of a directory of 9P2000 begins, and with which entry.
    pub next: (u64, usize),
}

/// The qid of a file. Version 0 and ever another path for a peer, as the FUSE door has ever other inodes: a kernel that
/// knew two openers by one number would let one wait for the other's lock. `fresh` is a number that was not given
/// before.
pub fn qid(file: File, stat: &Stat, fresh: u64) -> Qid {
    const FRESH: u64 = 1 << 62;
    let path = if file.part.is_peer(stat.directory) { FRESH | fresh } else { stat.ino };
    Qid { kind: if stat.directory { Qid::DIR } else { Qid::FILE }, version: 0, path }
}
