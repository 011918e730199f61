//! What is told of a file: mode, owner and times.

use std::time::SystemTime;

/// Mode, owner and times of a file.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last read of a message.
    pub atime: SystemTime,
    /// Last message sent.
    pub mtime: SystemTime,
    /// Last change of mode, owner or name.
    pub ctime: SystemTime,
}

impl Attr {
    /// Attributes of something made now.
    pub fn new(mode: u32, uid: u32, gid: u32) -> Attr {
        let now = SystemTime::now();
        Attr { mode: mode & 0o7777, uid, gid, atime: now, mtime: now, ctime: now }
    }

    /// Those of a directory whose files have these: who may use the files may walk to them, and so may the owner.
    pub(super) fn walkable(self) -> Attr {
        let class = |shift: u32| if self.mode >> shift & 0o6 == 0 { 0 } else { 0o5 << shift };
        Attr { mode: 0o700 | class(3) | class(0), ..self }
    }
}

/// What stat(2) shows of a file. Sizes are 0: a peer has no length.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Inode number.
    pub ino: u64,
    /// Whether it is a directory; everything else is a regular file.
    pub directory: bool,
    /// Links.
    pub nlink: u32,
    /// Mode, owner and times.
    pub attr: Attr,
}
