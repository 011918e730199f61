//! Names at other nodes: attach, walk, make, remove, rename.

use std::sync::Arc;

use fs9_proto::Qid;
use fs9_proto::attr::BASIC;
use fs9_proto::message::{Fid, Names, Qids, Reply, Request, mode};
use fs9_proto::stat::DMDIR;
use fs9_tiers::error::Reason;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::super::attach::{Asker, Opening, Outcome, Path, Then};
use super::super::super::spot::{OpenThere, Place, There};
use super::super::{Door, O_EXCL, Replied};
use super::Owed;
use crate::server::Flags;
use crate::ticket::Effects;

/// A file that is to be made and opened.
struct Make {
    fid: Fid,
    how: Opening,
    removes: bool,
    /// Permission bits, of a directory.
    directory: Option<u32>,
    reply: fn(Qid) -> Reply<'static>,
}

impl Door<'_> {
    /// Who is answered by what `give` makes of the reply. Until then `fid` is bound to what it is to be; if there is an
    /// error it is what it was before.
    fn bound_ahead(
        &self,
        fid: Fid,
        to: &Arc<There>,
        before: Option<Place>,
        give: impl FnOnce(Owed, &Reply<'_>) + Send + 'static,
    ) -> Asker {
        self.bind(fid, Place::There(to.clone()));
        let (owed, to) = (self.owed(), to.clone());
        let then = Then::new(move |outcome: Outcome<'_>| match outcome {
            Ok(reply) => give(owed, reply),
            Err(errno) => {
                owed.client.state().exchange(fid, &to, before);
                owed.fail(errno);
            }
        });
        Asker::new(self.id(), then)
    }

    /// Attaches what `names` lead to from the root of another node.
    pub(in super::super) fn attach_there<'n>(
        &self,
        fid: Fid,
        root: &Arc<There>,
        mut names: impl Iterator<Item = &'n str>,
    ) -> Replied {
        let path = names.try_fold(root.path.clone(), |path, name| path.below(name))?;
        if path.is_root() {
            let qid = self.spot_of_root(root)?.qid;
            self.bind(fid, Place::There(root.clone()));
            self.reply(&Reply::Attach { qid });
            return Ok(());
        }
        self.let_in(root)?;
        self.check_seen_there(root, &path)?;
        let (there, dialect) = (Arc::new(root.at(path)), self.dialect());
        let walked = there.clone();
        let asker = self.bound_ahead(fid, &there, None, move |owed, reply| {
            if let Reply::Getattr { attr } = reply {
                owed.reply(&Reply::Attach { qid: walked.qid(attr.qid, dialect) });
            }
        });
        there.link.walk(asker, &[&there.path], |fids| vec![Request::Getattr { fid: fids[0], mask: BASIC }]);
        Ok(())
    }

    /// The rest of a walk of `fid` to `newfid`, which has come to `from` with so many names, and has told `qids`.
    pub(in super::super) fn walk_there(
        &self,
        (fid, newfid): (Fid, Fid),
        from: &Arc<There>,
        names: &Names<'_>,
        (mut qids, count): (Qids, usize),
    ) -> Replied {
        self.let_in(from)?;
        let names = Names::new(names[count..].iter().copied()).unwrap_or_default();
        let path = names.iter().try_fold(from.path.clone(), |path, name| {
            let path = path.below(name)?;
            self.check_seen_there(from, &path)?;
            Ok::<_, Errno>(path)
        })?;
        let (to, dialect) = (Arc::new(from.at(path)), self.dialect());
        let before = if fid == newfid { Some(self.place(fid)?) } else { None };
        let walked = to.clone();
        let asker = self.bound_ahead(newfid, &to, before, move |owed, reply| {
            let Reply::Walk { qids: theirs } = reply else { return };
            for qid in theirs.iter() {
                qids.push(walked.qid(*qid, dialect));
            }
            owed.reply(&Reply::Walk { qids });
        });
        to.link.walk(asker, &[&from.path], |fids| vec![Request::Walk { fid: fids[0], newfid: fids[1], names }]);
        Ok(())
    }

    /// Serves what is done to names in a directory of another node.
    pub(super) fn relay_name(&self, there: &Arc<There>, request: &Request<'_>, fx: &mut Effects) -> Replied {
        let link = &there.link;
        match *request {
            Request::Lcreate { fid, name, flags, .. } => {
                let how = Opening { flags, pid: self.client.origin.pid() };
                let reply = |qid| Reply::Lcreate { qid, iounit: 0 };
                self.create_there(there, name, Make { fid, how, removes: false, directory: None, reply })
            }
            Request::Create { fid, name, perm, mode } => self.old_create_there(fid, there, name, perm, mode),
            Request::Mkdir { name, mode, gid, .. } => {
                let (_, walked, dialect) = (child(there, name)?, there.clone(), self.dialect());
                let asker = self.asker(move |owed, reply| {
                    if let Reply::Mkdir { qid } = reply {
                        owed.reply(&Reply::Mkdir { qid: walked.qid(*qid, dialect) });
                    }
                });
                link.walk(asker, &[&there.path], |fids| vec![Request::Mkdir { dfid: fids[0], name, mode, gid }]);
                Ok(())
            }
            Request::Mknod { name, mode, major, minor, gid, .. } => {
                let (made, dialect) = (there.at(child(there, name)?), self.dialect());
                let asker = self.asker(move |owed, reply| {
                    if let Reply::Mknod { qid } = reply {
                        owed.reply(&Reply::Mknod { qid: made.qid(*qid, dialect) });
                    }
                });
                link.walk(asker, &[&there.path], |fids| {
                    vec![Request::Mknod { dfid: fids[0], name, mode, major, minor, gid }]
                });
                Ok(())
            }
            Request::Unlinkat { name, flags, .. } => {
                let asker = self.is_done(Reply::Unlinkat);
                link.walk(asker, &[&there.path], |fids| vec![Request::Unlinkat { dfid: fids[0], name, flags }]);
                Ok(())
            }
            Request::Remove { fid } => {
                self.close(fid, Reason::Closed, fx)?;
                if there.path.is_root() {
                    return Err(Errno::PERM);
                }
                let asker = self.is_done(Reply::Remove);
                link.walk(asker, &[&there.path], |fids| vec![Request::Remove { fid: fids[0] }]);
                Ok(())
            }
            Request::Rename { dfid, name, .. } => {
                self.rename_there(there, (&there.path.parent(), there.path.name()), dfid, name, Reply::Rename)
            }
            Request::Renameat { oldname, newdfid, newname, .. } => {
                self.rename_there(there, (&there.path, oldname), newdfid, newname, Reply::Renameat)
            }
            _ => self.relay_attributes(there, request, fx),
        }
    }

    fn old_create_there(&self, fid: Fid, there: &Arc<There>, name: &str, perm: u32, mode: u8) -> Replied {
        let flags = super::super::names::flags_of_create(perm, mode)?;
        let directory = (perm & DMDIR != 0).then_some(perm & 0o777);
        if directory.is_some() && Flags::of_open(flags).write {
            return Err(Errno::ISDIR);
        }
        let how = Opening { flags, pid: self.client.origin.pid() };
        let reply = |qid| Reply::Create { qid, iounit: 0 };
        self.create_there(there, name, Make { fid, how, removes: mode::removes(mode), directory, reply })
    }

    /// Makes a file in the directory of a fid, opens it, and has the fid be of it.
    fn create_there(&self, dir: &Arc<There>, name: &str, make: Make) -> Replied {
        if dir.open.is_some() {
            return Err(Errno::BADF);
        }
        let path = child(dir, name)?;
        let (owed, id, dialect) = (self.owed(), self.id(), self.dialect());
        let (walked, made) = (dir.clone(), dir.at(path.clone()));
        let Make { fid, how, removes, directory, reply } = make;
        let open = OpenThere::new(Flags::of_open(how.flags), removes);
        let request = |dfid| match directory {
            Some(mode) => Request::Mkdir { dfid, name, mode, gid: dir.who.gid },
            None => queue(dfid, name, dir.who.gid),
        };
        dir.link.create(id, (&dir.path, &path), how, request, move |outcome| match outcome {
            Ok((opened, Reply::Getattr { attr })) => {
                let qid = made.qid(attr.qid, dialect);
                let open = OpenThere { fid: opened, directory: qid.is_dir(), ..open };
                owed.opened(fid, &walked, &made, open, &reply(qid));
            }
            // Somebody made it after the client looked.
            Err(Errno::EXIST) if how.flags & O_EXCL == 0 && directory.is_none() => {
                let (link, path) = (made.link.clone(), made.path.clone());
                link.open(id, &path, how, move |outcome| match outcome {
                    Ok((opened, Reply::Enter { qid, .. })) => {
                        let qid = made.qid(*qid, dialect);
                        let open = OpenThere { fid: opened, directory: qid.is_dir(), ..open };
                        owed.opened(fid, &walked, &made, open, &reply(qid));
                    }
                    other => owed.fail(other.err().unwrap_or(Errno::PROTO)),
                });
            }
            other => owed.fail(other.err().unwrap_or(Errno::PROTO)),
        });
        Ok(())
    }

    /// Moves a file from its directory into that of another fid, which must be of the same node.
    fn rename_there(
        &self,
        there: &There,
        (olddir, oldname): (&Path, &str),
        newdir: Fid,
        newname: &str,
        reply: Reply<'static>,
    ) -> Replied {
        let newdir = match self.place(newdir)? {
            Place::There(newdir) if Arc::ptr_eq(&newdir.link, &there.link) => newdir,
            _ => return Err(Errno::XDEV),
        };
        let asker = self.has_moved(there, (olddir.below(oldname)?, newdir.path.below(newname)?), reply);
        there.link.walk(asker, &[olddir, &newdir.path], |fids| {
            vec![Request::Renameat { olddfid: fids[0], oldname, newdfid: fids[1], newname }]
        });
        Ok(())
    }
}

/// A new file in the directory of a fid.
fn child(dir: &There, name: &str) -> Result<Path, Errno> {
    if matches!(name, "." | "..") { Err(Errno::EXIST) } else { dir.path.below(name) }
}

/// The request that makes a queue, with the mode of all new ones.
fn queue(dfid: Fid, name: &str, gid: u32) -> Request<'_> {
    let mode = FileType::RegularFile.as_raw_mode() | 0o600;
    Request::Mknod { dfid, name, mode, major: 0, minor: 0, gid }
}
