//! Requests of the kernel about another node's files, as errands there ([`Link`]). Only translates, and never waits:
//! the answer is given by the thread of the link.

mod attr;
mod inodes;
mod names;
mod opened;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs9_proto::attr::SetAttr;
use fs9_proto::client::ROOT;
use fs9_proto::message::{Reply, Request};
use rustix::io::Errno;
use slab::Slab;

use super::abi::{AttrOut, Header, OpenOut, Operation, PollOut, WriteOut};
use super::device::{Device, Due};
use super::door::{ATTR_VALID, open_flags};
use super::node::{file_of, is_far};
use crate::attachment;
use crate::holders::Holders;
use crate::net::attach::{Asker, Bytes, Link, Links, Opening, Outcome, Path, Then};
use crate::server::Flags;
use crate::ticket::Watcher;
use inodes::Inodes;
use opened::Opened;

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

    /// The attributes, after they were changed if that is wanted. What is open is asked for by its descriptor.
    fn attr(&self, header: &Header, change: Option<SetAttr>) -> Replied {
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
}
