//! Requests of 9P as verbs of the server, in all dialects. Only translates: what a verb means is the server's.
//!
//! No kernel has checked any mode here, so that is done before each verb; see `server::access`.

mod attributes;
mod guests;
mod listing;
mod names;
mod relay;

use std::sync::{Arc, MutexGuard, PoisonError};

use fs9_proto::message::{CONTINUED, NONBLOCK, SYNC, mode};
use fs9_proto::{Fid, Qid, Reply, Request, Tag};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::client::{As, Client};
use super::origin::Party;
use super::porter::House;
use super::spot::{self, Open, Place, Spot, qid};
use crate::server::access::Who;
use crate::server::{Caller, Data, Flags, Server};
use crate::ticket::{Effects, Watcher};
use crate::tree::File;

/// What a request that is answered at once comes to; the answer was given by the verb itself.
type Replied = Result<(), Errno>;

/// O_CREAT and O_EXCL are of no concern to an open of what is there; O_DIRECTORY is (asm-generic/fcntl.h).
const O_DIRECTORY: u32 = 0o200_000;
const O_EXCL: u32 = 0o200;

/// The door for one request.
pub struct Door<'a> {
    /// What is served.
    pub house: &'a Arc<House>,
    /// Who asks.
    pub client: &'a Arc<Client>,
    /// Under which tag.
    pub tag: Tag,
}

impl Door<'_> {
    /// Serves a request.
    pub fn serve(&self, request: &Request<'_>, fx: &mut Effects) {
        let served = match &*self.client.party {
            Party::User(_) => self.serve_anybody(request, fx),
            Party::Key(_) => self.serve_guest(request, fx),
        };
        if let Err(errno) = served {
            self.client.fail(self.tag, errno);
        }
    }

    fn serve_anybody(&self, request: &Request<'_>, fx: &mut Effects) -> Replied {
        match request.fid().map(|fid| self.place(fid)) {
            Some(Ok(Place::There(there))) => self.relay(&there, request, fx),
            _ => self.dispatch(request, fx),
        }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.house.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&self, reply: &Reply<'_>) {
        self.client.reply(self.tag, reply);
    }

    fn place(&self, fid: Fid) -> Result<Place, Errno> {
        self.client.state().talk.fid(fid).cloned().map_err(errno_of)
    }

    /// A file of this node. Nothing is done with one of this and one of another.
    fn spot(&self, fid: Fid) -> Result<Spot, Errno> {
        match self.place(fid)? {
            Place::Here(spot) => Ok(spot),
            Place::There(_) => Err(Errno::XDEV),
        }
    }

    /// A fid that is open.
    fn opened(&self, fid: Fid) -> Result<(Spot, Open), Errno> {
        let spot = self.spot(fid)?;
        let open = spot.open.ok_or_else(|| guests::closed(&spot.who))?;
        Ok((spot, open))
    }

    fn bind(&self, fid: Fid, place: Place) {
        self.client.state().talk.bind(fid, place);
    }

    fn caller(&self, who: &Who, pid: u32) -> Caller {
        Caller { uid: who.uid, gid: who.gid, tid: pid, session: self.client.session }
    }

    fn dispatch(&self, request: &Request<'_>, fx: &mut Effects) -> Replied {
        match *request {
            Request::Attach { fid, afid, uname, aname, uid } => self.attach(fid, afid, uname, aname, uid, fx)?,
            Request::Walk { fid, newfid, ref names } => self.walk(fid, newfid, names)?,
            Request::Lopen { fid, flags } => {
                let (qid, _) = self.open(fid, flags, false, 0, fx)?;
                self.reply(&Reply::Lopen { qid, iounit: 0 });
            }
            Request::Enter { fid, flags, pid } => {
                let (qid, stream) = self.open(fid, flags, false, pid, fx)?;
                self.reply(&Reply::Enter { qid, stream });
            }
            Request::Open { fid, mode } => {
                let flags = mode::flags(mode).ok_or(Errno::INVAL)?;
                let (qid, _) = self.open(fid, flags, mode::removes(mode), 0, fx)?;
                self.reply(&Reply::Open { qid, iounit: 0 });
            }
            Request::Lcreate { fid, name, flags, .. } => {
                let qid = self.create(fid, name, flags, false, fx)?;
                self.reply(&Reply::Lcreate { qid, iounit: 0 });
            }
            Request::Create { fid, name, perm, mode } => self.old_create(fid, name, perm, mode, fx)?,
            Request::Read { fid, offset, count } => self.read(fid, offset, count, fx)?,
            Request::Write { fid, data, .. } => {
                let (spot, open) = self.opened(fid)?;
                self.write(&spot, open, data, open.flags, As::Standard, fx);
            }
            Request::Recv { fid, flags, count } => {
                let (_, open) = self.opened(fid)?;
                let (count, ticket) = (self.room(count), self.client.ticket(self.tag, As::Standard));
                self.server().read(open.handle, 0, count, flags & NONBLOCK != 0, ticket, fx);
            }
            Request::Send { fid, flags, data } => {
                let (spot, open) = self.opened(fid)?;
                let (nonblocking, sync) = (flags & NONBLOCK != 0, flags & SYNC != 0);
                let flags = Flags { nonblocking, sync, continued: flags & CONTINUED != 0, ..open.flags };
                self.write(&spot, open, data, flags, As::Sent, fx);
            }
            Request::Poll { fid, interest } => {
                let (_, open) = self.opened(fid)?;
                let ready = self.server().poll(open.handle, interest, None, fx)?;
                self.reply(&Reply::Poll { ready });
            }
            Request::Watch { fid, interest } => self.watch(fid, interest, fx)?,
            Request::Fsync { fid, .. } => {
                let spot = self.spot(fid)?;
                spot.open.map_or(Ok(()), |open| self.server().fsync(open.handle))?;
                self.reply(&Reply::Fsync);
            }
            Request::Clunk { fid } => {
                self.close(fid, Reason::Closed, fx)?;
                self.reply(&Reply::Clunk);
            }
            Request::Leave { fid, kind, code } => {
                self.close(fid, reason_of(kind, code), fx)?;
                self.reply(&Reply::Leave);
            }
            Request::Remove { fid } => {
                let spot = self.spot(fid)?;
                let removed = self.remove_spot(&spot, fx);
                self.close(fid, Reason::Closed, fx)?;
                removed?;
                self.reply(&Reply::Remove);
            }
            Request::Readdir { fid, offset, count } => self.readdir(fid, offset, count)?,
            Request::Getattr { fid, .. } => self.getattr(fid)?,
            Request::Setattr { fid, ref attr } => self.setattr(fid, attr)?,
            Request::Stat { fid } => self.stat(fid)?,
            Request::Wstat { fid, ref stat } => self.wstat(fid, stat)?,
            Request::Statfs { .. } => self.statfs(),
            Request::Mkdir { dfid, name, mode, .. } => {
                let qid = self.mkdir(dfid, name, mode, fx)?;
                self.reply(&Reply::Mkdir { qid });
            }
            Request::Mknod { dfid, name, mode, .. } => self.mknod(dfid, name, mode, fx)?,
            Request::Unlinkat { dfid, name, flags } => {
                const AT_REMOVEDIR: u32 = 0x200;
                self.unlink(dfid, name, flags & AT_REMOVEDIR != 0, fx)?;
                self.reply(&Reply::Unlinkat);
            }
            Request::Renameat { olddfid, oldname, newdfid, newname } => {
                let (from, to) = (self.spot(olddfid)?, self.spot(newdfid)?);
                self.rename(from.file, oldname, to.file, newname, &from.who)?;
                self.reply(&Reply::Renameat);
            }
            Request::Rename { fid, dfid, name } => {
                let (spot, to) = (self.spot(fid)?, self.spot(dfid)?);
                let (dir, old) = self.server().place(spot.file)?;
                self.rename(dir, &old, to.file, name, &spot.who)?;
                self.reply(&Reply::Rename);
            }
            // Nobody outside this server would be kept out by a lock; and nobody is in anyone's way.
            Request::Lock { kind, .. } => {
                const UNLOCK: u8 = 2;
                if kind != UNLOCK {
                    return Err(Errno::NOLCK);
                }
                self.reply(&Reply::Lock { status: 0 });
            }
            Request::Getlock { start, length, pid, client, .. } => {
                self.reply(&Reply::Getlock { kind: 2, start, length, pid, client });
            }
            Request::Symlink { .. } | Request::Link { .. } => return Err(Errno::PERM),
            Request::Readlink { .. } => return Err(Errno::INVAL),
            Request::Xattrwalk { .. } | Request::Xattrcreate { .. } => return Err(Errno::OPNOTSUPP),
            Request::Auth { .. } => self.reply(&Reply::Error {
                // diod's clients go on without only if there is nothing to authenticate with.
                errno: Errno::NOENT.raw_os_error() as u32,
                reason: "no authentication is needed",
            }),
            // Those are the conversation's own.
            Request::Version { .. }
            | Request::Flush { .. }
            | Request::Session { .. }
            | Request::Ack { .. }
            | Request::Ping => return Err(Errno::PROTO),
        }
        Ok(())
    }

    /// So much of what is asked for as fits into a reply.
    fn room(&self, count: u32) -> usize {
        count.min(self.client.state().talk.room()) as usize
    }

    /// Opens what a fid is of, for process `pid` of the client's machine. Returns its qid, and whether it has no
    /// position.
    fn open(&self, fid: Fid, flags: u32, removes: bool, pid: u32, fx: &mut Effects) -> Result<(Qid, bool), Errno> {
        let mut spot = self.spot(fid)?;
        if spot.open.is_some() {
            return Err(Errno::BADF);
        }
        let mut server = self.server();
        let directory = server.stat(spot.file)?.directory;
        let wanted = Flags::of_open(flags);
        if directory && wanted.write {
            return Err(Errno::ISDIR);
        }
        if !directory && flags & O_DIRECTORY != 0 {
            return Err(Errno::NOTDIR);
        }
        server.check_open(spot.file, &spot.who, wanted)?;
        if removes {
            let (dir, name) = server.place(spot.file)?;
            server.check_remove(dir, name.as_bytes(), &spot.who)?;
        }
        let opened = server.open(spot.file, spot.view, wanted, self.caller(&spot.who, pid), fx)?;
        drop(server);
        let (handle, stream) = (opened.handle, opened.stream);
        spot.open = Some(Open { handle, flags: wanted, stream, removes, next: (0, 0) });
        let qid = spot.qid;
        self.bind(fid, Place::Here(spot));
        Ok((qid, stream))
    }

    /// Makes a queue in the directory of a fid, opens it, and has the fid be of it.
    fn create(&self, fid: Fid, name: &str, flags: u32, removes: bool, fx: &mut Effects) -> Result<Qid, Errno> {
        let dir = self.spot(fid)?;
        if dir.open.is_some() {
            return Err(Errno::BADF);
        }
        let caller = self.caller(&dir.who, 0);
        let wanted = Flags::of_open(flags);
        let mut server = self.server();
        server.check_make(dir.file, name.as_bytes(), &dir.who, Some(wanted))?;
        let (file, view, is_new) = match server.make_queue(dir.file, name.as_bytes(), 0o600, caller, fx) {
            Ok((file, view)) => (file, view, true),
            // Somebody made it after the client looked.
            Err(Errno::EXIST) if flags & O_EXCL == 0 => {
                let (file, view, _) = server.walk(dir.file, name.as_bytes())?;
                server.check_open(file, &dir.who, wanted)?;
                (file, view, false)
            }
            Err(errno) => return Err(errno),
        };
        let opened = server.open(file, view, wanted, caller, fx);
        let opened = opened.inspect_err(|_| {
            if is_new {
                server.unmake(file, fx);
            }
        })?;
        let qid = fresh(file, &server)?;
        drop(server);
        let (handle, stream) = (opened.handle, opened.stream);
        let open = Some(Open { handle, flags: wanted, stream, removes, next: (0, 0) });
        self.bind(fid, Place::Here(Spot { file, view, qid, who: dir.who, open }));
        Ok(qid)
    }

    fn read(&self, fid: Fid, offset: u64, count: u32, fx: &mut Effects) -> Replied {
        let (spot, open) = self.opened(fid)?;
        if spot.qid.is_dir() {
            return self.read_directory(fid, &spot, open, offset, count);
        }
        // Where a peer is read does not matter: it has no position.
        let offset = if open.stream { 0 } else { offset };
        let (count, ticket) = (self.room(count), self.client.ticket(self.tag, As::Standard));
        self.server().read(open.handle, offset, count, open.flags.nonblocking, ticket, fx);
        Ok(())
    }

    fn write(&self, spot: &Spot, open: Open, data: &[u8], flags: Flags, kind: As, fx: &mut Effects) {
        let ticket = self.client.ticket(self.tag, kind);
        let caller = self.caller(&spot.who, 0);
        if !open.flags.write {
            return fx.fail(ticket, Errno::BADF);
        }
        self.server().write(open.handle, Data::Lent(data), flags, caller, ticket, fx);
    }

    fn watch(&self, fid: Fid, interest: u32, fx: &mut Effects) -> Replied {
        let (_, open) = self.opened(fid)?;
        self.client.watch(open.handle, self.tag);
        let watcher = Watcher::new(self.client.clone(), open.handle as u64);
        let ready = self.server().poll(open.handle, interest, Some(watcher), fx);
        let always = crate::server::ready::ERR | crate::server::ready::HUP;
        match ready {
            Ok(ready) if ready & (interest | always) == 0 => {}
            // Unless it has been told meanwhile.
            ready => {
                if self.client.unwatch(self.tag) {
                    self.reply(&Reply::Watch { ready: ready? });
                }
            }
        }
        Ok(())
    }

    /// A fid is forgotten and what it has open closed.
    fn close(&self, fid: Fid, reason: Reason, fx: &mut Effects) -> Replied {
        let place = self.client.state().talk.unbind(fid).map_err(errno_of)?;
        self.release(&place, reason, fx);
        Ok(())
    }

    /// What a fid had open is closed.
    pub fn release(&self, place: &Place, reason: Reason, fx: &mut Effects) {
        let spot = match place {
            Place::Here(spot) => spot,
            Place::There(there) => return self.release_there(there, reason),
        };
        let Some(open) = spot.open else { return };
        self.server().leave(open.handle, Some(reason), fx);
        self.client.end_watches(open.handle, if reason == Reason::Revoked { Errno::KEYREVOKED } else { Errno::INTR });
        if open.removes {
            // Where somebody else was faster to remove it, nobody is told.
            let _ = self.remove_spot(spot, fx);
        }
    }
}

/// The qid of a file that a client has not walked to yet.
fn fresh(file: File, server: &Server) -> Result<Qid, Errno> {
    Ok(qid(file, &server.stat(file)?, spot::fresh()))
}

/// The qid of a file by which it is told from all others, whoever has it open.
fn known(file: File, server: &Server) -> Result<Qid, Errno> {
    let stat = server.stat(file)?;
    Ok(Qid { path: stat.ino, ..qid(file, &stat, 0) })
}

/// An error number of the conversation, which has no others than Linux.
fn errno_of(number: u32) -> Errno {
    Errno::from_raw_os_error(number as i32)
}

/// Why a descriptor was left, as the holder's machine says: the place of the reason in [`Reason::all`], and its figure.
fn reason_of(kind: u8, code: i32) -> Reason {
    match Reason::all().get(usize::from(kind)) {
        Some(Reason::Exited(_)) => Reason::Exited(code),
        Some(Reason::Killed(_)) => Reason::Killed(code),
        Some(reason) => *reason,
        None => Reason::Lost,
    }
}
