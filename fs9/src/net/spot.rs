//! What a fid is of: a file as one client has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fs9_proto::{Dialect, Fid, NO_FID, Qid};

use super::attach::{Link, Path};
use crate::channel::Handle;
use crate::server::Flags;
use crate::server::access::Who;
use crate::tree::{File, Stat};
use crate::view::View;

/// Whose the file is.
#[derive(Debug, Clone)]
pub enum Place {
    /// This node's.
    Here(Spot),
    /// Another's, whose tree is shown here.
    There(Arc<There>),
}

impl Place {
    /// The same, not open.
    pub fn closed(self) -> Place {
        match self {
            Place::Here(spot) => Place::Here(Spot { open: None, ..spot }),
            Place::There(there) => Place::There(Arc::new(there.at(there.path.clone()))),
        }
    }
}

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

/// A file of another node that a client has walked to. It is a path and nothing else until it is opened.
#[derive(Debug, Clone)]
pub struct There {
    /// What is attached.
    pub root: File,
    /// The way to its node.
    pub link: Arc<Link>,
    /// Where it is there.
    pub path: Path,
    /// Who walked.
    pub who: Arc<Who>,
    /// Its descriptor there, once it is open.
    pub open: Option<OpenThere>,
    fresh: u64,
}

/// An open file of another node.
#[derive(Debug, Clone, Copy)]
pub struct OpenThere {
    /// What it is there.
    pub fid: Fid,
    /// How it was opened.
    pub flags: Flags,
    /// It is a directory.
    pub directory: bool,
    /// It is removed when it is closed (ORCLOSE).
    pub removes: bool,
    /// Where the next read of a directory of 9P2000 begins, and what that is there.
    pub next: (u64, u64),
}

impl OpenThere {
    /// One to be.
    pub fn new(flags: Flags, removes: bool) -> OpenThere {
        OpenThere { fid: NO_FID, flags, directory: false, removes, next: (0, 0) }
    }
}

impl There {
    /// The root of what is attached as `root`.
    pub fn new(root: File, link: Arc<Link>, who: Arc<Who>) -> There {
        There { root, link, path: Path::root(), who, open: None, fresh: fresh() }
    }

    /// Another file of that node.
    pub fn at(&self, path: Path) -> There {
        There { path, open: None, fresh: fresh(), ..self.clone() }
    }

    /// The same, which has another place there now.
    pub fn moved(&self, path: Path) -> There {
        There { path, ..self.clone() }
    }

    /// Whether nothing has become of it since it was `other`, but that it may have moved.
    pub fn is_still(&self, other: &There) -> bool {
        let fid = |there: &There| there.open.map(|open| open.fid);
        self.fresh == other.fresh && fid(self) == fid(other)
    }

    /// The same, open.
    pub fn opened(&self, open: OpenThere) -> There {
        There { open: Some(open), ..self.clone() }
    }

    /// Whether it is the root and nothing else, which is known here.
    pub fn is_known_here(&self) -> bool {
        self.path.is_root() && self.open.is_none()
    }

    /// What a client knows it by, where its node says `theirs`. Our own client sees to its inodes itself.
    pub fn qid(&self, theirs: Qid, dialect: Dialect) -> Qid {
        let is_known = theirs.is_dir() || dialect == Dialect::Own;
        let path = if is_known { self.link.ino(theirs.path) } else { FRESH | self.fresh };
        Qid { version: 0, path, ..theirs }
    }
}

/// In the numbers of peers in qids, so that they are no others'.
const FRESH: u64 = 1 << 62;

/// A number for a qid.
pub fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The qid of a file. Version 0 and ever another path for a peer, as the FUSE door has ever other inodes: a kernel that
/// knew two openers by one number would let one wait for the other's lock. `fresh` is a number that was not given
/// before.
pub fn qid(file: File, stat: &Stat, fresh: u64) -> Qid {
    let path = if file.part.is_peer(stat.directory) { FRESH | fresh } else { stat.ino };
    Qid { kind: if stat.directory { Qid::DIR } else { Qid::FILE }, version: 0, path }
}
