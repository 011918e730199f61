//! Which file of the tree is meant: a node, or one of the fixed files that a node of its kind shows.

use super::{NodeId, ROOT};

/// The file a request speaks of: a node, or one of the fixed files in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct File {
    /// The node.
    pub node: NodeId,
    /// Which file of it.
    pub part: Part,
}

/// The files that a node consists of. Only directories and queues stand for themselves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The node itself.
    Own,
    /// The first end: `a` of a pair, `connect` of a service.
    A,
    /// The second end: `b` of a pair, `accept` of a service.
    B,
    /// `ctl`, of the mount, a pair or a service.
    Ctl,
    /// `status`, of the mount, a pair or a service.
    Status,
    /// `status.json` of the mount.
    StatusJson,
    /// `events` of the mount.
    Events,
    /// `README` of the mount.
    Readme,
    /// `id` of the mount.
    Id,
}

impl Part {
    /// Every part, at the place that is its number.
    pub const ALL: [Part; 9] =
        [Part::Own, Part::A, Part::B, Part::Ctl, Part::Status, Part::StatusJson, Part::Events, Part::Readme, Part::Id];

    /// The fixed files of the mount point: names and permissions.
    pub(super) const OF_ROOT: [(&'static str, Part, u32); 6] = [
        ("README", Part::Readme, 0o444),
        ("ctl", Part::Ctl, 0o600),
        ("events", Part::Events, 0o400),
        ("id", Part::Id, 0o444),
        ("status", Part::Status, 0o444),
        ("status.json", Part::StatusJson, 0o444),
    ];

    /// The fixed files of a pair. The ends have modes of their own.
    pub(super) const OF_PAIR: [(&'static str, Part, u32); 4] =
        [("a", Part::A, 0), ("b", Part::B, 0), ("ctl", Part::Ctl, 0o600), ("status", Part::Status, 0o444)];

    /// The fixed files of a service. Of one that a program serves nobody else accepts.
    pub(super) const OF_SERVICE: [(&'static str, Part, u32); 4] =
        [("accept", Part::B, 0), ("connect", Part::A, 0), ("ctl", Part::Ctl, 0o600), ("status", Part::Status, 0o444)];

    /// The number of this part.
    pub fn index(self) -> u64 {
        Part::ALL.iter().position(|part| *part == self).unwrap_or(0) as u64
    }

    /// Whether this is a file to send to and receive from: a node that is no directory, or an end.
    pub fn is_peer(self, directory: bool) -> bool {
        self.end().is_some() || (self == Part::Own && !directory)
    }

    /// Which end this is: 0 or 1.
    pub fn end(self) -> Option<usize> {
        match self {
            Part::A => Some(0),
            Part::B => Some(1),
            _ => None,
        }
    }
}

impl File {
    /// The node itself.
    pub const fn of(node: NodeId) -> File {
        File { node, part: Part::Own }
    }

    /// The inode number that stat(2) shows: the same for every view and every opener of a file.
    pub fn ino(self) -> u64 {
        if self == File::of(ROOT) { 1 } else { self.node << 4 | self.part.index() }
    }
}
