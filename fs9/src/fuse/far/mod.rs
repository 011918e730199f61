//! Requests of the kernel about another node's files, as errands there ([`Link`]). Only translates, and never waits: the answer
//! is given by the thread of the link.

mod attr;
mod inodes;
mod opened;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs9_proto::attr::{Attr, BASIC};
use fs9_proto::client::ROOT;
use fs9_proto::message::{Fid, Reply, Request};
use rustix::fs::FileType;
use rustix::io::Errno;
use slab::Slab;

use super::abi::{AttrOut, CreateOut, EntryOut, Header, OpenOut, Operation, PollOut, WriteOut};
use super::device::{Device, Due};
use super::door::{ATTR_VALID, O_EXCL, open_flags};
use super::node::{file_of, is_far};
use crate::attachment;
use crate::holders::Holders;
use crate::net::attach::{Asker, Bytes, Link, Links, Opening, Outcome, Path, Then};
use crate::server::Flags;
use crate::ticket::Watcher;
use inodes::Inodes;
use opened::Opened;

/// AT_REMOVEDIR of Tunlinkat.
const REMOVE_DIRECTORY: u32 = 0x200;

/// How many interrupts are remembered that came before their requests.
const EARLY: usize = 256;

/// The door to all attached nodes.
#[derive(Debug)]
pub struct Far {
    device: Arc<Device>,
    links: Arc<Links>,
    inodes: Mutex<Inodes>,
    open: Mutex<Slab<Arc<Opened>>>,
    holders: Mutex<Holders>,
    early: Mutex<VecDeque<u64>>,
    has_early: AtomicBool,
}

/// A reply is given later, or was.
type Replied = Result<(), Errno>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a node id is to be asked of another node: the root of an attachment is, but for its attributes.
pub fn is_asked_elsewhere(id: u64) -> bool {
    is_far(id) || file_of(id).is_some_and(|(file, _)| attachment::is_one(file.node))
}

impl Far {
    /// The door of `device`.
    pub fn new(device: Arc<Device>, links: Arc<Links>) -> Far {
        Far {
            device,
            links,
            inodes: Mutex::default(),
            open: Mutex::default(),
            holders: Mutex::default(),
            early: Mutex::default(),
            has_early: AtomicBool::new(false),
        }
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        lock(&self.inodes)
    }

    /// The kernel's request `unique` was interrupted.
    pub fn interrupt(&self, unique: u64) {
        if self.links.is_empty() {
            return;
        }
        // First of all it is remembered: whoever has not asked yet looks for it when he has.
        let mut early = lock(&self.early);
        if early.len() >= EARLY {
            early.pop_front();
        }
        early.push_back(unique);
        self.has_early.store(true, Ordering::SeqCst);
        drop(early);
        if self.links.interrupt(unique) {
            self.take_early(unique);
        }
    }

    /// The request `unique` was asked: if it has been interrupted before it is so now.
    fn heed_early(&self, unique: u64) {
        if self.has_early.load(Ordering::SeqCst) && self.take_early(unique) {
            self.links.interrupt(unique);
        }
    }

    fn take_early(&self, unique: u64) -> bool {
        let mut early = lock(&self.early);
        let found = early.iter().position(|known| *known == unique).and_then(|place| early.remove(place)).is_some();
        self.has_early.store(!early.is_empty(), Ordering::SeqCst);
        found
    }

    /// The kernel has forgotten so many answers that named `id`.
    pub fn forget(&self, id: u64, lookups: u64) {
        self.inodes().forget(id, lookups);
    }

    /// Serves a request about another node's file; a write has a [way of its own](Far::write).
    ///
    /// # Errors
    /// What is to be replied, if nothing was and nothing will be.
    pub fn serve(self: &Arc<Self>, header: &Header, operation: &Operation<'_>) -> Replied {
        self.dispatch(header, operation)?;
        self.heed_early(header.unique);
        Ok(())
    }

    fn dispatch(self: &Arc<Self>, header: &Header, operation: &Operation<'_>) -> Replied {
        match *operation {
            Operation::Read { fh, offset, size, flags } => self.read(header, fh, offset, size, flags),
            Operation::Poll { fh, kh, events, .. } => {
                self.poll(header, fh, events, operation.schedule_notify().then_some(kh))
            }
            Operation::Flush { fh } => {
                self.opened(fh)?.note_close(header.pid);
                self.done(header)
            }
            Operation::Release { fh } | Operation::Releasedir { fh } => self.release(header, fh),
            Operation::Fsync { fh } => {
                let opened = self.opened(fh)?;
                opened.note_use();
                opened.link.ask(self.is_done(header), &[Request::Fsync { fid: opened.fid, datasync: 0 }]);
                Ok(())
            }
            Operation::Readdir { fh, offset, size } => self.list(header, fh, offset, size, false),
            Operation::Readdirplus { fh, offset, size } => self.list(header, fh, offset, size, true),
            Operation::Fsyncdir | Operation::Access { .. } => self.done(header),
            Operation::Statfs => {
                let (link, _) = self.place(header.nodeid)?;
                let asker = self.asker(header, |due, reply| {
                    if let Reply::Statfs { statfs } = reply {
                        due.reply(&attr::statfs_of(statfs));
                    }
                });
                link.ask(asker, &[Request::Statfs { fid: ROOT }]);
                Ok(())
            }
            Operation::Open { flags } | Operation::Opendir { flags } => self.open(header, flags),
            Operation::Symlink | Operation::Link => Err(Errno::PERM),
            Operation::Readlink => Err(Errno::INVAL),
            Operation::Getattr { .. } => self.attr(header, None),
            Operation::Setattr(change) => self.attr(header, attr::change_of(&change)),
            _ => self.serve_name(header, operation),
        }
    }

    /// What is done to names in a directory.
    fn serve_name(self: &Arc<Self>, header: &Header, operation: &Operation<'_>) -> Replied {
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

    /// The descriptor of a handle.
    fn opened(&self, fh: u64) -> Result<Arc<Opened>, Errno> {
        lock(&self.open).get(fh as usize).cloned().ok_or(Errno::BADF)
    }

    /// What a node id means.
    fn place(&self, id: u64) -> Result<(Arc<Link>, Path), Errno> {
        match file_of(id) {
            Some((root, _)) => Ok((self.links.get(root.node).ok_or(Errno::STALE)?, Path::root())),
            None => self.inodes().get(id).map(|inode| (inode.link, inode.path)),
        }
    }

    fn due(&self, header: &Header) -> Due {
        Due::new(self.device.clone(), header.unique)
    }

    fn done(&self, header: &Header) -> Replied {
        self.due(header).reply_bytes(&[]);
        Ok(())
    }

    /// Who waits for a reply, which `give` makes of the node's where that is none of an error.
    fn asker(&self, header: &Header, give: impl FnOnce(Due, &Reply<'_>) + Send + 'static) -> Asker {
        let due = self.due(header);
        let then = Then::new(move |outcome: Outcome<'_>| match outcome {
            Ok(reply) => give(due, reply),
            Err(errno) => due.error(errno),
        });
        Asker::new(header.unique, then)
    }

    /// Who waits for it to be done.
    fn is_done(&self, header: &Header) -> Asker {
        self.asker(header, |due, _| due.reply_bytes(&[]))
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

    /// The attributes, after they were changed if that is wanted. What is open is asked for by its descriptor.
    fn attr(&self, header: &Header, change: Option<fs9_proto::attr::SetAttr>) -> Replied {
        let inode = self.inodes().get(header.nodeid)?;
        let link = inode.link.clone();
        let asker = self.asker(header, move |due, reply| {
            if let Reply::Getattr { attr } = reply {
                due.reply(&AttrOut { attr_valid: ATTR_VALID, attr: attr::attr_of(attr, &link), ..AttrOut::default() });
            }
        });
        inode.link.attr(asker, (&inode.path, inode.fid), change);
        Ok(())
    }

    fn open(self: &Arc<Self>, header: &Header, flags: u32) -> Replied {
        let (link, path) = self.place(header.nodeid)?;
        let holder = lock(&self.holders).of(header.pid)?;
        let how = Opening { flags, pid: holder.pid() };
        let (far, way, id, due) = (self.clone(), link.clone(), header.nodeid, self.due(header));
        let view = path.view();
        link.open(header.unique, &path, how, move |outcome| match outcome {
            Ok((fid, reply)) => {
                let stream = matches!(reply, Reply::Enter { stream: true, .. });
                far.inodes().open(id, fid);
                due.reply(&far.keep(Opened::new(way, fid, stream, view, Flags::of_open(flags), holder)));
            }
            Err(errno) => due.error(errno),
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
                // Somebody made it after the kernel looked. It looks again, and then asks whether this caller may open it.
                Err(Errno::EXIST) if flags & O_EXCL == 0 => due.error(Errno::STALE),
                other => due.error(other.err().unwrap_or(Errno::IO)),
            },
        );
        Ok(())
    }

    /// A handle for what was opened.
    fn keep(&self, opened: Opened) -> OpenOut {
        let open_flags = open_flags(opened.stream, opened.wants_flush(), opened.view);
        let fh = lock(&self.open).insert(Arc::new(opened)) as u64;
        OpenOut { fh, open_flags, padding: 0 }
    }

    fn release(&self, header: &Header, fh: u64) -> Replied {
        let opened = {
            let mut open = lock(&self.open);
            let opened = open.try_remove(fh as usize).ok_or(Errno::BADF)?;
            if open.is_empty() {
                *open = Slab::new(); // memory that many descriptors took is given back
            }
            opened
        };
        opened.link.close(opened.fid, opened.reason());
        self.inodes().release(header.nodeid, opened.fid);
        let holder = Arc::into_inner(opened).map(Opened::into_holder);
        holder.into_iter().for_each(|holder| lock(&self.holders).release(holder));
        self.done(header)
    }

    fn list(&self, header: &Header, fh: u64, offset: u64, size: u32, plus: bool) -> Replied {
        let opened = self.opened(fh)?;
        let link = opened.link.clone();
        let asker = self.asker(header, move |due, reply| {
            if let Reply::Readdir { data } = reply {
                due.reply_bytes(attr::list(data, &link, plus, size).as_bytes());
            }
        });
        let request = Request::Readdir { fid: opened.fid, offset, count: attr::listing(plus, size) };
        opened.link.ask(asker, &[request]);
        Ok(())
    }

    fn read(&self, header: &Header, fh: u64, offset: u64, size: u32, flags: u32) -> Replied {
        let opened = self.opened(fh)?;
        // Only a later piece of one call is anywhere but at 0, and the message is over.
        if opened.stream && offset > 0 {
            return self.done(header);
        }
        opened.note_use();
        let asker = self.asker(header, |due, reply| {
            if let Reply::Recv { data } | Reply::Read { data } = reply {
                due.reply_bytes(data);
            }
        });
        opened.link.read(asker, opened.fid, Bytes { offset, flags: Flags::of_open(flags) }, size);
        Ok(())
    }

    /// A write(2), or a piece of one.
    ///
    /// # Errors
    /// As [`Far::serve`].
    pub fn write(&self, header: &Header, fh: u64, offset: u64, flags: Flags, data: &[u8]) -> Replied {
        let opened = self.opened(fh)?;
        opened.note_use();
        let asker = self.asker(header, |due, reply| {
            if let Reply::Send { count } | Reply::Write { count } = reply {
                due.reply(&WriteOut { size: *count, padding: 0 });
            }
        });
        opened.link.write(asker, opened.fid, Bytes { offset, flags }, data);
        self.heed_early(header.unique);
        Ok(())
    }

    fn poll(&self, header: &Header, fh: u64, interest: u32, kh: Option<u64>) -> Replied {
        let opened = self.opened(fh)?;
        let due = self.due(header);
        let then = Then::new(move |outcome: Outcome<'_>| match outcome {
            Ok(Reply::Poll { ready }) => due.reply(&PollOut { revents: *ready, padding: 0 }),
            // Nothing is ready as far as anybody knows; who polls is woken when the node is there again.
            Err(Errno::HOSTUNREACH) => due.reply(&PollOut::default()),
            other => due.error(other.err().unwrap_or(Errno::IO)),
        });
        let watcher = kh.map(|kh| Watcher::new(self.device.clone(), kh));
        opened.link.poll(Asker::new(header.unique, then), opened.fid, interest, watcher);
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
