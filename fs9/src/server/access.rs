//! May they? The rules of mode bits, for doors behind which no kernel has asked: those of Linux (path_resolution(7),
//! inode(7), unlink(2), rename(2), chmod(2), chown(2), utime(2)).

use std::sync::Arc;

use rustix::io::Errno;

use super::{Answered, Flags, Server};
use crate::tree::{Attr, File};

/// Permission to read.
pub const READ: u32 = 4;
/// Permission to write.
pub const WRITE: u32 = 2;
/// Permission to walk through a directory.
pub const SEARCH: u32 = 1;

const STICKY: u32 = 0o1000;
const SET_GROUP: u32 = 0o2000;

/// A user and the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Arc<[u32]>,
}

/// What is to be changed of a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Times that are set to something else than now.
    pub times: bool,
    /// Times that are set to now.
    pub touch: bool,
}

impl Who {
    /// Whether this is root, for whom no mode counts.
    fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether it is in a group.
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    fn owns(&self, attr: &Attr) -> bool {
        self.is_root() || self.uid == attr.uid
    }

    /// Whether it has all of `wanted`: the bits of its class count, and no others. (All directories can be walked
    /// through by root; nothing here can be executed.)
    fn may(&self, attr: &Attr, wanted: u32) -> bool {
        let shift = match attr {
            _ if self.uid == attr.uid => 6,
            _ if self.is_in(attr.gid) => 3,
            _ => 0,
        };
        self.is_root() || (attr.mode >> shift) & wanted == wanted
    }
}

fn allowed(may: bool, errno: Errno) -> Answered<()> {
    if may { Ok(()) } else { Err(errno) }
}

impl Server {
    /// Whether `who` has all of `wanted` at a file.
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn check(&self, file: File, who: &Who, wanted: u32) -> Answered<()> {
        allowed(who.may(&self.stat(file)?.attr, wanted), Errno::ACCESS)
    }

    /// Whether `who` may open a file so.
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn check_open(&self, file: File, who: &Who, flags: Flags) -> Answered<()> {
        let (read, write) = (if flags.read { READ } else { 0 }, if flags.write { WRITE } else { 0 });
        self.check(file, who, read | write)
    }

    /// Whether `who` may make names in a directory.
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn check_make(&self, dir: File, who: &Who) -> Answered<()> {
        self.check(dir, who, WRITE | SEARCH)
    }

    /// Whether `who` may remove a name from a directory. In one with the sticky bit only the owners of the file and of
    /// the directory may.
    ///
    /// # Errors
    /// EACCES, EPERM, ENOENT, ESTALE.
    pub fn check_remove(&self, dir: File, name: &[u8], who: &Who) -> Answered<()> {
        self.check(dir, who, SEARCH)?;
        let (_, _, stat) = self.walk(dir, name)?;
        self.check(dir, who, WRITE)?;
        let around = self.stat(dir)?.attr;
        let sticky = around.mode & STICKY != 0;
        allowed(!sticky || who.owns(&stat.attr) || who.owns(&around), Errno::PERM)
    }

    /// Whether `who` may rename. A directory that goes elsewhere must be its to write, for its `..` changes.
    ///
    /// # Errors
    /// As [`Server::check_remove`].
    pub fn check_rename(&self, dir: File, name: &[u8], new_dir: File, who: &Who) -> Answered<()> {
        self.check_remove(dir, name, who)?;
        self.check_make(new_dir, who)?;
        let (file, _, stat) = self.walk(dir, name)?;
        let moves = stat.directory && dir != new_dir;
        if moves { self.check(file, who, WRITE) } else { Ok(()) }
    }

    /// Whether `who` may change a file so; the mode as it is then to be.
    ///
    /// # Errors
    /// EPERM; EACCES for times that are set to now; ESTALE.
    pub fn check_change(&self, file: File, who: &Who, change: Change) -> Answered<Option<u32>> {
        let attr = self.stat(file)?.attr;
        let owns = who.owns(&attr);
        let is_owner = change.uid.is_none_or(|uid| who.is_root() || (owns && uid == attr.uid));
        let in_group = change.gid.is_none_or(|gid| who.is_root() || (owns && (gid == attr.gid || who.is_in(gid))));
        let own = change.mode.is_some() || change.times;
        allowed(is_owner && in_group && (owns || !own), Errno::PERM)?;
        allowed(!change.touch || owns || who.may(&attr, WRITE), Errno::ACCESS)?;
        // A group that one is not in cannot be lent.
        let keep = who.is_root() || who.is_in(attr.gid);
        Ok(change.mode.map(|mode| if keep { mode & 0o7777 } else { mode & 0o7777 & !SET_GROUP }))
    }
}
