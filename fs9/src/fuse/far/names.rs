//! Names in the directories of other nodes: looked up, made, removed, renamed.

use std::sync::Arc;

use fs9_proto::attr::{Attr, BASIC};
use fs9_proto::message::{Fid, Reply, Request};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::opened::Opened;
use super::{Far, Replied, attr, is_asked_elsewhere, lock};
use crate::fuse::abi::{CreateOut, EntryOut, Header, Operation};
use crate::fuse::door::{ATTR_VALID, O_EXCL};
use crate::net::attach::{Asker, Link, Opening, Path};
use crate::server::Flags;

/// AT_REMOVEDIR of Tunlinkat.
const REMOVE_DIRECTORY: u32 = 0x200;

impl Far {
    /// What is done to names in a directory.
    pub(super) fn serve_name(self: &Arc<Self>, header: &Header, operation: &Operation<'_>) -> Replied {
        let (link, dir) = self.place(header.nodeid)?;
        let gid = header.gid;
        match *operation {
            Operation::Lookup { name } => {
                let path = dir.below(text(name)?)?;
                link.walk(self.entry_of(header, &link, &path), &[&path], |fids| {
                    vec![Request::Getattr { fid: fids[0], mask: BASIC }]
                });
            }
            Operation::Mkdir { mode, name, .. } => {
                let path = dir.below(text(name)?)?;
                self.make(header, &link, &dir, &path, |dfid| Request::Mkdir { dfid, name: path.name(), mode, gid });
            }
            Operation::Mknod { mode, name, .. } => {
                if FileType::from_raw_mode(mode) != FileType::RegularFile {
                    return Err(Errno::PERM);
                }
                let path = dir.below(text(name)?)?;
                self.make(header, &link, &dir, &path, |dfid| queue(dfid, &path, gid));
            }
            Operation::Create { flags, name, .. } => self.create(header, &link, &dir, text(name)?, flags)?,
            Operation::Unlink { name } => self.remove(header, &link, &dir, text(name)?, 0),
            Operation::Rmdir { name } => self.remove(header, &link, &dir, text(name)?, REMOVE_DIRECTORY),
            Operation::Rename { newdir, flags, name, newname } => {
                self.rename(header, (&link, &dir), (newdir, flags), text(name)?, text(newname)?)?;
            }
            _ => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// Who has looked up a name.
    fn entry_of(self: &Arc<Self>, header: &Header, link: &Arc<Link>, path: &Path) -> Asker {
        let (far, link, path, tid) = (self.clone(), link.clone(), path.clone(), header.pid);
        self.asker(header, move |due, reply| {
            if let Reply::Getattr { attr } = reply {
                due.reply(&far.entry(&link, path, attr, tid));
            }
        })
    }

    /// Makes a name, and looks it up.
    fn make<'a>(
        self: &Arc<Self>,
        header: &Header,
        link: &Arc<Link>,
        dir: &'a Path,
        path: &'a Path,
        request: impl FnOnce(Fid) -> Request<'a>,
    ) {
        link.walk(self.entry_of(header, link, path), &[dir], |fids| {
            let mut requests = vec![request(fids[0])];
            requests.extend(path.way(fids[1]));
            requests.push(Request::Getattr { fid: fids[1], mask: BASIC });
            requests
        });
    }

    fn remove(&self, header: &Header, link: &Link, dir: &Path, name: &str, flags: u32) {
        link.walk(self.is_done(header), &[dir], |fids| vec![Request::Unlinkat { dfid: fids[0], name, flags }]);
    }

    /// Renames, and has what the kernel knows by the old name be known by the new one: it may be somebody's directory.
    fn rename(
        self: &Arc<Self>,
        header: &Header,
        (link, dir): (&Arc<Link>, &Path),
        (newdir, flags): (u64, u32),
        oldname: &str,
        newname: &str,
    ) -> Replied {
        const RENAME_NOREPLACE: u32 = 1;
        if flags & !RENAME_NOREPLACE != 0 {
            return Err(Errno::INVAL);
        }
        if !is_asked_elsewhere(newdir) {
            return Err(Errno::XDEV);
        }
        let (other, newdir) = self.place(newdir)?;
        if !Arc::ptr_eq(&other, link) {
            return Err(Errno::XDEV);
        }
        let (from, to) = (dir.below(oldname)?, newdir.below(newname)?);
        let (far, node) = (self.clone(), link.node);
        let asker = self.asker(header, move |due, _| {
            far.inodes().rename(node, &from, &to);
            due.reply_bytes(&[]);
        });
        link.walk(asker, &[dir, &newdir], |fids| {
            vec![Request::Renameat { olddfid: fids[0], oldname, newdfid: fids[1], newname }]
        });
        Ok(())
    }

    fn create(self: &Arc<Self>, header: &Header, link: &Arc<Link>, dir: &Path, name: &str, flags: u32) -> Replied {
        let path = dir.below(name)?;
        let holder = lock(&self.holders).of(header.pid)?;
        let how = Opening { flags, pid: holder.pid() };
        let (far, way, tid, due) = (self.clone(), link.clone(), header.pid, self.due(header));
        let (made, gid) = (path.clone(), header.gid);
        link.create(
            header.unique,
            (dir, &path),
            how,
            |dfid| queue(dfid, &path, gid),
            move |outcome| match outcome {
                Ok((fid, Reply::Getattr { attr })) => {
                    let view = made.view();
                    let entry = far.entry(&way, made, attr, tid);
                    far.inodes().open(entry.nodeid, fid);
                    let open = far.keep(Opened::new(way, fid, true, view, Flags::of_open(flags), holder));
                    due.reply(&CreateOut { entry, open });
                }
                // Somebody made it after the kernel looked. It looks again, and then asks whether this caller may open
                // it.
                Err(Errno::EXIST) if flags & O_EXCL == 0 => due.error(Errno::STALE),
                other => due.error(other.err().unwrap_or(Errno::IO)),
            },
        );
        Ok(())
    }

    /// What LOOKUP answers for the file of a path, of which the node has told the attributes.
    fn entry(&self, link: &Arc<Link>, path: Path, attr: &Attr, tid: u32) -> EntryOut {
        let shown = attr::attr_of(attr, link);
        let nodeid = self.inodes().look_up(link, path, attr.qid, tid);
        EntryOut { nodeid, attr_valid: ATTR_VALID, attr: shown, ..EntryOut::default() }
    }
}

/// The request that makes a queue, with the mode of all new ones.
fn queue(dfid: Fid, path: &Path, gid: u32) -> Request<'_> {
    let mode = FileType::RegularFile.as_raw_mode() | 0o600;
    Request::Mknod { dfid, name: path.name(), mode, major: 0, minor: 0, gid }
}

/// A name as text, as the tree has it.
fn text(name: &[u8]) -> Result<&str, Errno> {
    std::str::from_utf8(name).map_err(|_| Errno::INVAL)
}
