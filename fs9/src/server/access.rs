//! May they? The rules of mode bits, for doors behind which no kernel has asked: those of Linux (path_resolution(7),
//! inode(7), unlink(2), rename(2), chmod(2), chown(2), utime(2)).

use std::sync::Arc;

use fs9_grants::{Right, Rights};
use rustix::io::Errno;

use super::{Answered, Flags, Server};
use crate::grants::{Guest, Manner, Wish};
use crate::tree::{Attr, File, Part};
use crate::view::View;

/// Permission to read.
pub const READ: u32 = 4;
/// Permission to write.
pub const WRITE: u32 = 2;
/// Permission to walk through a directory.
pub const SEARCH: u32 = 1;

const STICKY: u32 = 0o1000;
const SET_GROUP: u32 = 0o2000;

/// What somebody sees of a directory: of a guest, who it is and where.
#[derive(Debug)]
pub struct Sight(Option<(Arc<Guest>, String)>);

impl Sight {
    /// What `who` sees of the directory with this path.
    pub fn of(who: &Who, path: impl FnOnce() -> Answered<String>) -> Answered<Sight> {
        who.guest.clone().map(|guest| Ok((guest, path()?))).transpose().map(Sight)
    }

    /// Whether the entry `name` is seen.
    pub fn has(&self, name: &str) -> bool {
        match &self.0 {
            None => true,
            Some(_) if matches!(name, "." | "..") => true,
            Some((guest, above)) if above == "." => guest.lists(name),
            Some((guest, above)) => guest.lists(&format!("{above}/{name}")),
        }
    }
}

/// A user and the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Arc<[u32]>,
    /// Of somebody who has come with a key: what was granted. All else is refused, whatever the modes say.
    pub guest: Option<Arc<Guest>>,
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

/// What must have been granted to open a file so.
pub fn rights(flags: Flags) -> Rights {
    let wanted = [(flags.read, Right::Read), (flags.write, Right::Write)];
    wanted.into_iter().filter_map(|(wanted, right)| wanted.then_some(right)).collect()
}

/// The path as grants have it.
fn rooted(path: String) -> String {
    if path.is_empty() { ".".into() } else { path }
}

fn allowed(may: bool, errno: Errno) -> Answered<()> {
    if may { Ok(()) } else { Err(errno) }
}

impl Server {
    /// The file `name` in `dir`, and its view, for `who`. Who may not see a name is not told whether it is there.
    ///
    /// # Errors
    /// EACCES, ESTALE; as [`Tree::walk`](crate::tree::Tree::walk).
    pub fn walk_as(&self, dir: File, name: &[u8], who: &Who) -> Answered<(File, View)> {
        let found = self.tree.walk(dir, name);
        match (&who.guest, &found) {
            (None, _) => {}
            (Some(_), Ok((file, _))) => self.check_seen(*file, who)?,
            (Some(guest), Err(_)) => guest.decide(&Wish::to_see(self.path_in(dir, name)?))?,
        }
        found
    }

    /// Whether `who` may know of a file. (The modes of the directories on the way are asked as it walks.)
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn check_seen(&self, file: File, who: &Who) -> Answered<()> {
        who.guest.as_ref().map_or(Ok(()), |guest| guest.decide(&Wish::to_see(self.path_of(file)?)))
    }

    /// What `who` sees of a directory.
    ///
    /// # Errors
    /// ESTALE.
    pub fn view_of(&self, dir: File, who: &Who) -> Answered<Sight> {
        Sight::of(who, || self.path_of(dir))
    }

    /// What `who` must have been granted to go on with a file that was opened so.
    ///
    /// # Errors
    /// ESTALE.
    pub fn wish(&self, file: File, flags: Flags) -> Answered<Wish> {
        let (rights, manner) = match file.part {
            // What shows or controls more than itself.
            Part::Ctl | Part::Status | Part::StatusJson | Part::Events => (rights(flags), Manner::Named),
            _ if self.stat(file)?.directory => (Right::List.into(), Manner::Browsed),
            _ => (rights(flags), Manner::Covered),
        };
        Ok(Wish { path: self.path_of(file)?, rights, manner })
    }

    /// Whether a guest was granted this at the name `name` in a directory. Others' rights are modes.
    fn check_granted(&self, dir: File, name: &[u8], rights: Rights, who: &Who) -> Answered<()> {
        let Some(guest) = &who.guest else { return Ok(()) };
        guest.decide(&Wish { path: self.path_in(dir, name)?, rights, manner: Manner::Covered })
    }

    /// The path of a file from the root of the mount; `.` is the root.
    ///
    /// # Errors
    /// ESTALE.
    pub fn path_of(&self, file: File) -> Answered<String> {
        self.stat(file)?; // of what is gone there is no path
        let (dir, name) = match file.part {
            Part::Own => return Ok(rooted(self.tree.path_of(file))),
            _ => self.place(file)?,
        };
        self.path_in(dir, name.as_bytes())
    }

    fn path_in(&self, dir: File, name: &[u8]) -> Answered<String> {
        self.stat(dir)?;
        let name = String::from_utf8_lossy(name);
        // Its views belong to a name.
        let (above, (name, _)) = (self.tree.path_of(dir), View::split(&name));
        Ok(if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") })
    }

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
        if let Some(guest) = &who.guest {
            guest.decide(&self.wish(file, flags)?)?;
        }
        let (read, write) = (if flags.read { READ } else { 0 }, if flags.write { WRITE } else { 0 });
        self.check(file, who, read | write)
    }

    /// Whether `who` may make a name in a directory, and open so what is made.
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn check_make(&self, dir: File, name: &[u8], who: &Who, flags: Option<Flags>) -> Answered<()> {
        self.check_granted(dir, name, flags.map_or(Rights::NONE, rights) | Right::Create, who)?;
        self.check(dir, who, WRITE | SEARCH)
    }

    /// Whether `who` may remove a name from a directory. In one with the sticky bit only the owners of the file and of
    /// the directory may.
    ///
    /// # Errors
    /// EACCES, EPERM, ENOENT, ESTALE.
    pub fn check_remove(&self, dir: File, name: &[u8], who: &Who) -> Answered<()> {
        self.check_granted(dir, name, Right::Create.into(), who)?;
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
    pub fn check_rename(&self, from: (File, &[u8]), to: (File, &[u8]), who: &Who) -> Answered<()> {
        let ((dir, name), (new_dir, new_name)) = (from, to);
        self.check_remove(dir, name, who)?;
        self.check_make(new_dir, new_name, who, None)?;
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
        if let Some(guest) = &who.guest {
            // Whose a file is, is not for those who were let in to say.
            allowed(change.uid.is_none() && change.gid.is_none(), Errno::PERM)?;
            // As with modes, who may write may say that it is new.
            let right = if change.mode.is_some() || change.times { Right::Create } else { Right::Write };
            guest.decide(&Wish { path: self.path_of(file)?, rights: right.into(), manner: Manner::Covered })?;
        }
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
