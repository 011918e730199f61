//! Requests of the kernel about another node's files, as requests of 9P. Only translates, and never waits: the answer is given
//! by the thread of the link, see [`asked`].
//!
//! A file is a path here. Each operation walks there from the root of the node's tree, all in one round trip, so of what is not
//! open nothing is held at the other node.

mod asked;
mod attr;
mod file;
mod inodes;
mod opened;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fs9_proto::attr::{Attr, BASIC, SetAttr};
use fs9_proto::client::{ROOT, Release};
use fs9_proto::message::{CONTINUED, Fid, MAX_WALK, NONBLOCK, Names, Request, SYNC};
use rustix::fs::FileType;
use rustix::io::Errno;
use slab::Slab;

use super::abi::{EntryOut, Header, OpenOut, Operation, PollOut};
use super::device::{Device, Due};
use super::door::{ATTR_VALID, O_EXCL, open_flags};
use super::node::{file_of, is_far};
use crate::attachment;
use crate::holders::Holders;
use crate::net::attach::{Link, Links, State};
use crate::server::Flags;
use crate::ticket::Door;
use crate::view::View;
pub use asked::Asked;
use asked::What;
pub use file::{File, leave};
use inodes::{Inodes, Path};
use opened::Opened;

/// AT_REMOVEDIR of Tunlinkat.
const REMOVE_DIRECTORY: u32 = 0x200;

/// Bytes of a frame around the data of a read.
const AROUND: u32 = 11;

/// Bytes of a frame around the data of a write, at most.
const AROUND_DATA: u64 = 23;

/// Bytes of a name with its view.
const NAME_MAX: usize = 255 + ":whole".len();

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
    owner: (u32, u32),
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
        let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Far {
            device,
            links,
            inodes: Mutex::default(),
            open: Mutex::default(),
            holders: Mutex::default(),
            early: Mutex::default(),
            has_early: AtomicBool::new(false),
            owner,
        }
    }

    /// Who mounted.
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }

    fn inodes(&self) -> MutexGuard<'_, Inodes> {
        lock(&self.inodes)
    }

    /// Wakes whoever polls under `kh`.
    fn wake(&self, kh: u64) {
        // The kernel asks what there is.
        self.device.wake(kh, 0);
    }

    /// The node is lost: who polls looks again.
    pub fn wake_all(&self, link: &Link) {
        let woken: Vec<u64> = link.run(|state| state.files.values_mut().filter_map(File::give_up).collect());
        woken.into_iter().for_each(|kh| self.wake(kh));
    }

    /// Answers reads that got what came late.
    pub fn feed(&self, link: &Link) {
        for (unique, answer) in link.run(|state| std::mem::take(&mut state.answers)) {
            match answer {
                Ok(data) => self.device.reply_bytes(unique, &data),
                Err(errno) => self.device.error(unique, errno),
            }
        }
    }

    /// Has the node say who owns its mount, which is who we are there.
    pub fn ask_who_we_are(&self, link: &Link) {
        // Unless it cannot be asked, and then it is asked anew with the next session.
        let _ = link.run(|state| state.ask(&[Request::Getattr { fid: ROOT, mask: BASIC }], Asked::owner()));
    }

    /// The kernel's request `unique` was interrupted. Returns whether it was one for a node.
    pub fn interrupt(&self, unique: u64) {
        let links = self.links.all();
        let found = links.iter().any(|link| {
            link.run(|state| {
                let call = state.calls.get(&unique).copied();
                call.into_iter().for_each(|call| state.client.cancel(Instant::now(), call));
                call.is_some()
            })
        });
        if !found && !links.is_empty() {
            let mut early = lock(&self.early);
            if early.len() >= EARLY {
                early.pop_front();
            }
            early.push_back(unique);
            self.has_early.store(true, Ordering::Relaxed);
        }
    }

    fn take_early(&self, unique: u64) -> bool {
        if !self.has_early.load(Ordering::Relaxed) {
            return false;
        }
        let mut early = lock(&self.early);
        let found = early.iter().position(|known| *known == unique).and_then(|place| early.remove(place)).is_some();
        self.has_early.store(!early.is_empty(), Ordering::Relaxed);
        found
    }

    /// The kernel has forgotten so many answers that named `id`.
    pub fn forget(&self, id: u64, lookups: u64) {
        self.inodes().forget(id, lookups);
    }

    /// Serves a request about another node's file. The write of `data` is here too.
    ///
    /// # Errors
    /// What is to be replied, if nothing was and nothing will be.
    pub fn serve(self: &Arc<Self>, header: &Header, operation: &Operation<'_>) -> Replied {
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
                let request = Request::Fsync { fid: opened.fid, datasync: 0 };
                self.ask(header, &opened.link, What::Done, &[request])
            }
            Operation::Readdir { fh, offset, size } => self.list(header, fh, offset, size, false),
            Operation::Readdirplus { fh, offset, size } => self.list(header, fh, offset, size, true),
            Operation::Fsyncdir | Operation::Access { .. } => self.done(header),
            Operation::Statfs => {
                let (link, _) = self.place(header.nodeid)?;
                self.ask(header, &link, What::Statfs, &[Request::Statfs { fid: ROOT }])
            }
            Operation::Open { flags } | Operation::Opendir { flags } => self.begin_open(header, flags),
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
                let path = below(&dir, name)?;
                self.walk(header, &link, entry(&path, header), &[&path], |fids| {
                    vec![Request::Getattr { fid: fids[0], mask: BASIC }]
                })
            }
            Operation::Mkdir { mode, name, .. } => {
                let path = below(&dir, name)?;
                self.make(header, &link, &dir, &path, |dfid| Request::Mkdir { dfid, name: last(&path), mode, gid })
            }
            Operation::Mknod { mode, name, .. } => {
                if FileType::from_raw_mode(mode) != FileType::RegularFile {
                    return Err(Errno::PERM);
                }
                let path = below(&dir, name)?;
                self.make(header, &link, &dir, &path, |dfid| node(dfid, &path, gid))
            }
            Operation::Create { flags, name, .. } => self.create(header, &link, &dir, name, flags),
            Operation::Unlink { name } => self.remove(header, &link, &dir, name, 0),
            Operation::Rmdir { name } => self.remove(header, &link, &dir, name, REMOVE_DIRECTORY),
            Operation::Rename { newdir, flags, name, newname } => {
                self.rename(header, (&link, &dir), (newdir, flags), text(name)?, text(newname)?)
            }
            _ => Err(Errno::NOSYS),
        }
    }

    /// The descriptor of a handle.
    fn opened(&self, fh: u64) -> Result<Arc<Opened>, Errno> {
        lock(&self.open).get(fh as usize).cloned().ok_or(Errno::BADF)
    }

    /// What a node id means.
    fn place(&self, id: u64) -> Result<(Arc<Link>, Path), Errno> {
        match file_of(id) {
            Some((root, _)) => Ok((self.links.get(root.node).ok_or(Errno::STALE)?, Path::from([]))),
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

    /// Asks all of `requests` at once.
    fn ask(&self, header: &Header, link: &Link, what: What, requests: &[Request<'_>]) -> Replied {
        link.run(|state| self.ask_with(state, requests, Asked::new(self.due(header), what)))
    }

    fn ask_with(&self, state: &mut State, requests: &[Request<'_>], asked: Asked) -> Replied {
        let unique = asked.unique();
        let call = state.ask(requests, asked)?;
        if unique.is_some_and(|unique| self.take_early(unique)) {
            state.client.cancel(Instant::now(), call);
        }
        Ok(())
    }

    /// Walks to each of `paths`, asks what `then` says of the fids there, and gives them back: one round trip. There are
    /// three fids; of those beyond `paths` nothing was made.
    fn walk<'a>(
        &self,
        header: &Header,
        link: &Link,
        what: What,
        paths: &[&'a Path],
        then: impl FnOnce(&[Fid]) -> Vec<Request<'a>>,
    ) -> Replied {
        link.run(|state| {
            let fids = state.fids::<3>()?;
            let mut requests: Vec<_> = paths.iter().zip(&fids).flat_map(|(path, fid)| way(*fid, path)).collect();
            requests.extend(then(&fids));
            let asked = self.ask_with(state, &requests, Asked::new(self.due(header), what));
            fids.into_iter().for_each(|fid| state.client.release(fid, Release::Clunk));
            asked
        })
    }

    /// Makes a name, and looks it up.
    fn make<'a>(
        &self,
        header: &Header,
        link: &Link,
        dir: &'a Path,
        path: &'a Path,
        request: impl FnOnce(Fid) -> Request<'a>,
    ) -> Replied {
        self.walk(header, link, entry(path, header), &[dir], |fids| {
            let mut requests = vec![request(fids[0])];
            requests.extend(way(fids[1], path));
            requests.push(Request::Getattr { fid: fids[1], mask: BASIC });
            requests
        })
    }

    fn remove(&self, header: &Header, link: &Link, dir: &Path, name: &[u8], flags: u32) -> Replied {
        let name = text(name)?;
        self.walk(header, link, What::Done, &[dir], |fids| vec![Request::Unlinkat { dfid: fids[0], name, flags }])
    }

    fn rename(
        &self,
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
        self.walk(header, link, What::Done, &[dir, &newdir], |fids| {
            vec![Request::Renameat { olddfid: fids[0], oldname, newdfid: fids[1], newname }]
        })
    }

    /// The attributes, after they were changed if that is wanted. What is open is asked for by its descriptor.
    fn attr(&self, header: &Header, change: Option<SetAttr>) -> Replied {
        let inode = self.inodes().get(header.nodeid)?;
        let requests = |fid| {
            let change = change.map(|attr| Request::Setattr { fid, attr });
            change.into_iter().chain([Request::Getattr { fid, mask: BASIC }]).collect::<Vec<_>>()
        };
        match inode.fid {
            Some(fid) => self.ask(header, &inode.link, What::Attr, &requests(fid)),
            None => self.walk(header, &inode.link, What::Attr, &[&inode.path], |fids| requests(fids[0])),
        }
    }

    fn begin_open(&self, header: &Header, flags: u32) -> Replied {
        let (link, path) = self.place(header.nodeid)?;
        let holder = lock(&self.holders).of(header.pid)?;
        link.clone().run(|state| {
            let [fid] = state.fids()?;
            let opened = Opened::new(link, fid, view_of(&path), Flags::of_open(flags), holder);
            let mut requests = way(fid, &path);
            requests.push(Request::Enter { fid, flags, pid: opened.holder().pid() });
            let asked = Asked::new(self.due(header), What::Open { id: header.nodeid, opened: Box::new(opened) });
            self.ask_with(state, &requests, asked).inspect_err(|_| state.client.release(fid, Release::Clunk))
        })
    }

    fn create(&self, header: &Header, link: &Arc<Link>, dir: &Path, name: &[u8], flags: u32) -> Replied {
        let path = below(dir, name)?;
        let holder = lock(&self.holders).of(header.pid)?;
        link.run(|state| {
            let [dfid, fid] = state.fids()?;
            let opened = Opened::new(link.clone(), fid, view_of(&path), Flags::of_open(flags), holder).of_a_queue();
            let mut requests = way(dfid, dir);
            requests.push(node(dfid, &path, header.gid));
            requests.extend(way(fid, &path));
            requests.push(Request::Enter { fid, flags, pid: opened.holder().pid() });
            requests.push(Request::Getattr { fid, mask: BASIC });
            let exclusive = flags & O_EXCL != 0;
            let what = What::Create { path: path.clone(), tid: header.pid, exclusive, opened: Box::new(opened) };
            let asked = self.ask_with(state, &requests, Asked::new(self.due(header), what));
            state.client.release(dfid, Release::Clunk);
            asked.inspect_err(|_| state.client.release(fid, Release::Clunk))
        })
    }

    /// A handle for what was opened.
    fn open(&self, opened: Opened) -> OpenOut {
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
        let reason = opened.reason();
        opened.link.run(|state| File::close(state, opened.fid, opened.stream, reason));
        self.inodes().release(header.nodeid, opened.fid);
        let holder = Arc::into_inner(opened).map(Opened::into_holder);
        holder.into_iter().for_each(|holder| lock(&self.holders).release(holder));
        self.done(header)
    }

    fn list(&self, header: &Header, fh: u64, offset: u64, size: u32, plus: bool) -> Replied {
        let opened = self.opened(fh)?;
        let request = Request::Readdir { fid: opened.fid, offset, count: attr::listing(plus, size) };
        self.ask(header, &opened.link, What::List { plus, size }, &[request])
    }

    fn read(&self, header: &Header, fh: u64, offset: u64, size: u32, flags: u32) -> Replied {
        let opened = self.opened(fh)?;
        // Only a later piece of one call is anywhere but at 0, and the message is over.
        if opened.stream && offset > 0 {
            return self.done(header);
        }
        opened.note_use();
        let fid = opened.fid;
        opened.link.run(|state| {
            let count = size.min(state.client.msize().saturating_sub(AROUND));
            let file = state.files.get_mut(&fid).ok_or(Errno::BADF)?;
            match file.read(size as usize) {
                Some(read) => {
                    let data = read?;
                    self.due(header).reply_bytes(&data);
                    return Ok(());
                }
                None => file.begin_read(header.unique, size as usize),
            }
            let flags = if Flags::of_open(flags).nonblocking { NONBLOCK } else { 0 };
            let request = match opened.stream {
                true => Request::Recv { fid, flags, count },
                false => Request::Read { fid, offset, count },
            };
            self.ask_with(state, &[request], Asked::new(self.due(header), What::Read(fid)))
        })
    }

    /// A write(2), or a piece of one.
    ///
    /// # Errors
    /// As [`Far::serve`].
    pub fn write(&self, header: &Header, fh: u64, offset: u64, flags: Flags, data: &[u8]) -> Replied {
        let opened = self.opened(fh)?;
        opened.note_use();
        let (fid, message) = (opened.fid, opened.stream);
        let bits = [(flags.nonblocking, NONBLOCK), (flags.sync, SYNC), (flags.continued, CONTINUED)];
        let bits = bits.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
        opened.link.run(|state| {
            let too_long = message && opened.view == View::Plain && data.len() > state.limit;
            if let Some(errno) = state.files.get(&fid).ok_or(Errno::BADF)?.broken() {
                return Err(errno);
            }
            if too_long || data.len() as u64 + AROUND_DATA > u64::from(state.client.msize()) {
                return Err(Errno::MSGSIZE);
            }
            let request = match message {
                true => Request::Send { fid, flags: bits, data },
                false => Request::Write { fid, offset, data },
            };
            self.ask_with(state, &[request], Asked::new(self.due(header), What::Write { fid, message }))
        })
    }

    fn poll(&self, header: &Header, fh: u64, interest: u32, kh: Option<u64>) -> Replied {
        let opened = self.opened(fh)?;
        let fid = opened.fid;
        opened.link.run(|state| {
            if let Some(revents) = state.files.get(&fid).and_then(File::ready) {
                self.due(header).reply(&PollOut { revents, padding: 0 });
                return Ok(());
            }
            let what = What::Poll { fid, interest, kh };
            self.ask_with(state, &[Request::Poll { fid, interest }], Asked::new(self.due(header), what))
        })
    }

    /// What LOOKUP answers for the file of a path, of which the node has told the attributes.
    fn entry(&self, link: &Arc<Link>, path: Path, attr: &Attr, tid: u32) -> EntryOut {
        let shown = attr::attr_of(attr, link, self);
        let nodeid = self.inodes().look_up(link, path, attr.qid, tid);
        EntryOut { nodeid, attr_valid: ATTR_VALID, attr: shown, ..EntryOut::default() }
    }
}

/// What is asked with a name that is looked up.
fn entry(path: &Path, header: &Header) -> What {
    What::Entry { path: path.clone(), tid: header.pid }
}

/// The walk from the root to a path, which `fid` is then.
fn way(fid: Fid, path: &Path) -> Vec<Request<'_>> {
    let mut requests = Vec::new();
    let mut from = ROOT;
    let mut rest = &path[..];
    loop {
        let (some, more) = rest.split_at(rest.len().min(MAX_WALK));
        let names = Names::new(some.iter().map(|name| &**name)).unwrap_or_default();
        requests.push(Request::Walk { fid: from, newfid: fid, names });
        (from, rest) = (fid, more);
        if rest.is_empty() {
            return requests;
        }
    }
}

/// The request that makes a queue, with the mode of all new ones.
fn node(dfid: Fid, path: &Path, gid: u32) -> Request<'_> {
    let mode = FileType::RegularFile.as_raw_mode() | 0o600;
    Request::Mknod { dfid, name: last(path), mode, major: 0, minor: 0, gid }
}

/// A name as text, as the tree has it.
fn text(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    std::str::from_utf8(name).map_err(|_| Errno::INVAL)
}

fn below(dir: &Path, name: &[u8]) -> Result<Path, Errno> {
    let name = text(name)?;
    Ok(dir.iter().cloned().chain([name.into()]).collect())
}

fn last(path: &Path) -> &str {
    path.last().map_or("", |name| name)
}

fn view_of(path: &Path) -> View {
    View::split(last(path)).1
}
