//! Requests of the kernel as verbs of the server. Only translates: what a verb means is the server's.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::abi::{
    self, AttrOut, CreateOut, DirBuffer, EntryOut, FOPEN_DIRECT_IO, FOPEN_NOFLUSH, FOPEN_NONSEEKABLE,
    FOPEN_PARALLEL_DIRECT_WRITES, FOPEN_STREAM, Header, OpenOut, Operation, ParseError, PollOut, Request, SetTime,
    StatfsOut,
};
use super::device::Device;
use super::far::{Far, is_asked_elsewhere};
use super::inode::Inodes;
use super::node::{file_of, is_far, node_id};
use crate::message::{LARGE, Store};
use crate::net::attach::Links;
use crate::server::{Caller, Data, Flags, Opened, Server};
use crate::ticket::{Effects, Ticket, Watcher};
use crate::tree::{Attr, File, Stat};
use crate::view::View;

/// Seconds for which the kernel may remember what stat(2) shows. Names it may not remember at all: see `inode`.
pub const ATTR_VALID: u64 = 1;

/// The unit in which stdio and others read and write: larger than a page, so that fewer of them cut their messages.
pub const BLOCK: u32 = 65_536;

/// As in asm-generic/fcntl.h.
pub const O_EXCL: u32 = 0o200;

/// As in asm-generic/fcntl.h.
const O_APPEND: u32 = 0o2000;

/// Where the data of a WRITE begin in its buffer.
const WRITE_DATA: usize = 80;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// On to the next.
    Next,
    /// The server is to stop.
    Stop,
    /// This loop is to end.
    End,
}

/// The FUSE door of a server.
#[derive(Debug)]
pub struct FuseDoor {
    server: Arc<Mutex<Server>>,
    device: Arc<Device>,
    store: Arc<Store>,
    inodes: Mutex<Inodes>,
    far: Arc<Far>,
    /// The thread whose request ends a loop; 0 while the mount is to go on.
    ender: AtomicU32,
}

/// A reply that could not be given yet or is not of one structure was given by the verb itself.
type Replied = Result<(), Errno>;

impl FuseDoor {
    /// The door of `device` to `server`.
    pub fn new(server: Arc<Mutex<Server>>, device: Arc<Device>, store: Arc<Store>, links: Arc<Links>) -> FuseDoor {
        let far = Arc::new(Far::new(device.clone(), links));
        FuseDoor { server, device, store, inodes: Mutex::default(), far, ender: AtomicU32::new(0) }
    }

    /// From now on each request of thread `tid` ends the loop that gets it.
    pub fn end_by(&self, tid: u32) {
        self.ender.store(tid, Ordering::SeqCst);
    }

    /// The server, for one verb.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        // A verb that panicked was a bug; the state it left is whole, since completions are answered on drop.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        self.inodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the request in the first `len` bytes of `buffer`, which is another one afterwards if a message kept it.
    pub fn serve(&self, buffer: &mut Vec<u8>, len: usize, fx: &mut Effects) -> Turn {
        let request = match Request::parse(&buffer[..len]) {
            Ok(request) => request,
            Err(error) => return self.refuse(error),
        };
        tracing::trace!(%request, "request");
        let Header { unique, pid, .. } = request.header;
        if let Operation::Write { fh, offset, flags, data } = request.operation {
            let (header, size) = (request.header, data.len());
            // A peer has no position, so only a later piece of one call is anywhere but at 0. With O_APPEND the kernel
            // counts on from the write before, and the two cannot be told apart.
            let flags = Flags { continued: offset > 0 && flags & O_APPEND == 0, ..Flags::of_open(flags) };
            if is_asked_elsewhere(header.nodeid) {
                let written = self.far.write(&header, fh, offset, flags, data);
                written.unwrap_or_else(|errno| self.device.error(unique, errno));
                return Turn::Next;
            }
            self.write(buffer, size, &header, fh, flags, fx);
        } else if let Err(errno) = self.dispatch(&request, fx) {
            self.device.error(unique, errno);
        }
        if fx.carry_out() {
            return Turn::Stop;
        }
        match self.ender.load(Ordering::Relaxed) {
            ender if ender != 0 && ender == pid => Turn::End,
            _ => Turn::Next,
        }
    }

    fn refuse(&self, error: ParseError) -> Turn {
        tracing::warn!(%error, "request refused");
        if let Some(unique) = error.unique {
            self.device.error(unique, Errno::INVAL);
        }
        Turn::Next
    }

    fn write(&self, buffer: &mut Vec<u8>, size: usize, header: &Header, fh: u64, flags: Flags, fx: &mut Effects) {
        let ticket = self.ticket(header);
        let caller = caller_of(header);
        let range = WRITE_DATA..WRITE_DATA + size;
        if size < LARGE {
            let data = Data::Lent(&buffer[range]);
            return self.server().write(fh as usize, data, flags, caller, ticket, fx);
        }
        let full = std::mem::replace(buffer, self.store.buffer());
        match self.store.adopt(full, range) {
            Some(message) => self.server().write(fh as usize, Data::Owned(message), flags, caller, ticket, fx),
            None => fx.fail(ticket, Errno::NOSPC),
        }
    }

    fn ticket(&self, header: &Header) -> Ticket {
        Ticket::new(self.device.clone(), header.unique)
    }

    fn dispatch(&self, request: &Request<'_>, fx: &mut Effects) -> Replied {
        let header = &request.header;
        let (unique, caller) = (header.unique, caller_of(header));
        let file = || file_of(header.nodeid).map(|(file, _)| file).ok_or(Errno::STALE);
        let device = &self.device;
        if is_asked_elsewhere(header.nodeid) && !self.is_answered_here(header.nodeid, &request.operation) {
            return self.far.serve(header, &request.operation);
        }
        match request.operation {
            Operation::Read { fh, offset, size, flags } => {
                let (nonblocking, ticket) = (Flags::of_open(flags).nonblocking, self.ticket(header));
                self.server().read(fh as usize, offset, size as usize, nonblocking, ticket, fx);
            }
            Operation::Lookup { name } => {
                let (file, view, stat) = self.server().walk(file()?, name)?;
                device.reply(unique, &self.entry(file, view, &stat, caller));
            }
            Operation::Open { flags } | Operation::Opendir { flags } => {
                let (file, view) = file_of(header.nodeid).ok_or(Errno::STALE)?;
                let flags = Flags::of_open(flags);
                self.inodes().admit(header.nodeid, caller.tid, flags.write)?;
                let opened = self.server().open(file, view, flags, caller, fx)?;
                self.inodes().open(header.nodeid);
                device.reply(unique, &open_out(opened, view));
            }
            Operation::Create { flags, name, .. } => {
                let created = self.create(file()?, name, flags, caller, fx)?;
                device.reply(unique, &created);
            }
            Operation::Mknod { mode, name, .. } => {
                if FileType::from_raw_mode(mode) != FileType::RegularFile {
                    return Err(Errno::PERM);
                }
                let entry = self.make_queue(file()?, name, caller, fx)?;
                device.reply(unique, &entry);
            }
            Operation::Mkdir { mode, name, .. } => {
                let mut server = self.server();
                let made = server.make_directory(file()?, name, mode, caller, fx)?;
                let stat = server.stat(made)?;
                device.reply(unique, &self.entry(made, View::Plain, &stat, caller));
            }
            Operation::Unlink { name } => {
                self.server().remove(file()?, name, false, fx)?;
                device.done(unique);
            }
            Operation::Rmdir { name } => {
                self.server().remove(file()?, name, true, fx)?;
                device.done(unique);
            }
            Operation::Rename { newdir, flags, name, newname } => {
                const RENAME_NOREPLACE: u32 = 1;
                if flags & !RENAME_NOREPLACE != 0 {
                    return Err(Errno::INVAL);
                }
                if is_asked_elsewhere(newdir) {
                    return Err(Errno::XDEV);
                }
                let (new_dir, _) = file_of(newdir).ok_or(Errno::STALE)?;
                self.server().rename(file()?, name, new_dir, newname)?;
                device.done(unique);
            }
            Operation::Getattr { .. } => {
                let stat = self.server().stat(file()?)?;
                device.reply(unique, &attr_out(&stat));
            }
            Operation::Setattr(change) => {
                let stat = self.set_attr(file()?, &change)?;
                device.reply(unique, &attr_out(&stat));
            }
            Operation::Release { fh } | Operation::Releasedir { fh } => {
                self.server().clunk(fh as usize, fx);
                self.inodes().release(header.nodeid);
                device.done(unique);
            }
            Operation::Flush { fh } => {
                self.server().flush(fh as usize, header.pid);
                device.done(unique);
            }
            Operation::Fsync { fh } => {
                self.server().fsync(fh as usize)?;
                device.done(unique);
            }
            Operation::Poll { fh, kh, events, .. } => {
                let watch = request.operation.schedule_notify().then(|| Watcher::new(self.device.clone(), kh));
                let revents = self.server().poll(fh as usize, events, watch, fx)?;
                device.reply(unique, &PollOut { revents, padding: 0 });
            }
            Operation::Readdir { fh, offset, size } => {
                let listing = self.list(fh as usize, offset, size, false)?;
                device.reply_bytes(unique, listing.as_bytes());
            }
            Operation::Readdirplus { fh, offset, size } => {
                let listing = self.list(fh as usize, offset, size, true)?;
                device.reply_bytes(unique, listing.as_bytes());
            }
            Operation::Interrupt { unique } => {
                self.far.interrupt(unique);
                self.server().interrupt(unique, fx);
            }
            Operation::Statfs => device.reply(unique, &self.statfs()),
            Operation::Fsyncdir | Operation::Access { .. } | Operation::Destroy => device.done(unique),
            Operation::Forget { nlookup } => self.forget(header.nodeid, nlookup),
            Operation::BatchForget { forgets } => {
                forgets.iter().for_each(|forget| self.forget(forget.nodeid.get(), forget.nlookup.get()));
            }
            Operation::Symlink | Operation::Link => return Err(Errno::PERM),
            Operation::Readlink => return Err(Errno::INVAL),
            // Told once, the kernel answers these itself (with EOPNOTSUPP for attributes) and asks no more.
            Operation::Setxattr
            | Operation::Getxattr
            | Operation::Listxattr
            | Operation::Removexattr
            | Operation::Init
            | Operation::Write { .. }
            | Operation::Other { .. } => return Err(Errno::NOSYS),
        }
        Ok(())
    }

    /// Of another node's root, what is known here; and what is asked of no node.
    fn is_answered_here(&self, id: u64, operation: &Operation<'_>) -> bool {
        match operation {
            Operation::Getattr { .. } | Operation::Setattr(_) => !is_far(id),
            Operation::Forget { .. } | Operation::BatchForget { .. } | Operation::Interrupt { .. } => true,
            _ => false,
        }
    }

    fn forget(&self, id: u64, lookups: u64) {
        if is_far(id) { self.far.forget(id, lookups) } else { self.inodes().forget(id) }
    }

    fn create(&self, dir: File, name: &[u8], flags: u32, caller: Caller, fx: &mut Effects) -> Result<CreateOut, Errno> {
        let mut server = self.server();
        let (file, view) = match server.make_queue(dir, name, 0o600, caller, fx) {
            // Somebody made it after the kernel looked. It looks again, and then asks whether this caller may open it.
            Err(Errno::EXIST) if flags & O_EXCL == 0 => {
                return Err(server.walk(dir, name).err().unwrap_or(Errno::STALE));
            }
            made => made?,
        };
        let opened = server.open(file, view, Flags::of_open(flags), caller, fx);
        let opened = opened.inspect_err(|_| server.unmake(file, fx))?;
        let entry = self.entry(file, view, &server.stat(file)?, caller);
        self.inodes().open(entry.nodeid);
        Ok(CreateOut { entry, open: open_out(opened, view) })
    }

    fn make_queue(&self, dir: File, name: &[u8], caller: Caller, fx: &mut Effects) -> Result<EntryOut, Errno> {
        let mut server = self.server();
        let (file, view) = server.make_queue(dir, name, 0o600, caller, fx)?;
        Ok(self.entry(file, view, &server.stat(file)?, caller))
    }

    fn set_attr(&self, file: File, change: &abi::Setattr) -> Result<Stat, Errno> {
        let abi::Setattr { mode, uid, gid, atime, mtime, .. } = *change;
        let mut server = self.server();
        // Truncation changes nothing: a peer has no length. Shells ask for it with every `>`.
        if mode.is_none() && uid.is_none() && gid.is_none() && atime.is_none() && mtime.is_none() {
            return server.stat(file);
        }
        server.set_attr(file, |attr| {
            attr.mode = mode.map_or(attr.mode, |mode| mode & 0o7777);
            attr.uid = uid.unwrap_or(attr.uid);
            attr.gid = gid.unwrap_or(attr.gid);
            attr.atime = atime.map_or(attr.atime, time_of);
            attr.mtime = mtime.map_or(attr.mtime, time_of);
        })
    }

    fn list(&self, handle: usize, offset: u64, size: u32, plus: bool) -> Result<DirBuffer, Errno> {
        let mut server = self.server();
        let mut listing = DirBuffer::new(size);
        let from = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let entries = server.list(handle, offset == 0)?;
        let chosen: Vec<_> = entries.iter().skip(from).take(size as usize / 24).cloned().collect();
        for (entry, next) in chosen.into_iter().zip(offset + 1..) {
            let kind = if entry.directory { FileType::Directory } else { FileType::RegularFile };
            let fits = if plus {
                // Only directories may be remembered under their name; for the rest node 0 says: ask again.
                match server.stat(entry.file) {
                    Ok(stat) => {
                        let known = entry.directory && !entry.name.starts_with('.');
                        let nodeid = if known { node_id(entry.file, View::Plain, 0) } else { 0 };
                        listing.push_plus(&entry_out(nodeid, &stat), next, entry.name.as_bytes())
                    }
                    Err(_) => true, // removed since: not listed
                }
            } else {
                listing.push(entry.file.ino(), kind.as_raw_mode(), next, entry.name.as_bytes())
            };
            if !fits {
                break;
            }
        }
        Ok(listing)
    }

    fn statfs(&self) -> StatfsOut {
        let (used, limit) = self.server().room();
        let free = limit.saturating_sub(used) as u64;
        StatfsOut { files: limit as u64, ffree: free, bsize: BLOCK, namelen: 255, frsize: 4096, ..Default::default() }
    }

    fn entry(&self, file: File, view: View, stat: &Stat, caller: Caller) -> EntryOut {
        // Only a write to a peer can wait; directories and texts are each one inode for everybody.
        let nodeid = if file.part.is_peer(stat.directory) {
            self.inodes().look_up(file, view, caller.tid)
        } else {
            node_id(file, view, 0)
        };
        entry_out(nodeid, stat)
    }
}

fn entry_out(nodeid: u64, stat: &Stat) -> EntryOut {
    EntryOut { nodeid, generation: 0, attr_valid: ATTR_VALID, attr: attr_of(stat), ..EntryOut::default() }
}

fn attr_out(stat: &Stat) -> AttrOut {
    AttrOut { attr_valid: ATTR_VALID, attr: attr_of(stat), ..AttrOut::default() }
}

fn open_out(opened: Opened, view: View) -> OpenOut {
    let open_flags = open_flags(opened.stream, opened.flush, view);
    OpenOut { fh: opened.handle as u64, open_flags, padding: 0 }
}

/// The FOPEN_* flags of a descriptor.
pub fn open_flags(stream: bool, flush: bool, view: View) -> u32 {
    let stream = if stream { FOPEN_NONSEEKABLE | FOPEN_STREAM } else { 0 };
    let flush = if flush { 0 } else { FOPEN_NOFLUSH };
    // The bytes of a view are put together in the order of the writes, so those must come one after the other.
    let parallel = if view == View::Plain { FOPEN_PARALLEL_DIRECT_WRITES } else { 0 };
    FOPEN_DIRECT_IO | stream | flush | parallel
}

fn attr_of(stat: &Stat) -> abi::Attr {
    let Attr { mode, uid, gid, atime, mtime, ctime } = stat.attr;
    let kind = if stat.directory { FileType::Directory } else { FileType::RegularFile };
    let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    abi::Attr {
        ino: stat.ino,
        mode: kind.as_raw_mode() | mode,
        nlink: stat.nlink,
        uid,
        gid,
        atime: since(atime).as_secs(),
        atimensec: since(atime).subsec_nanos(),
        mtime: since(mtime).as_secs(),
        mtimensec: since(mtime).subsec_nanos(),
        ctime: since(ctime).as_secs(),
        ctimensec: since(ctime).subsec_nanos(),
        blksize: BLOCK,
        ..abi::Attr::default()
    }
}

fn time_of(time: SetTime) -> SystemTime {
    match time {
        SetTime::Now => SystemTime::now(),
        // Before 1970 and beyond what the clock can hold, the nearest that it can.
        SetTime::At { secs, nsecs } => u64::try_from(secs)
            .ok()
            .and_then(|secs| UNIX_EPOCH.checked_add(Duration::new(secs.min(1 << 40), nsecs.min(999_999_999))))
            .unwrap_or(UNIX_EPOCH),
    }
}

fn caller_of(header: &Header) -> Caller {
    Caller { uid: header.uid, gid: header.gid, tid: header.pid, session: 0 }
}
