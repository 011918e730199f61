//! Requests about the files of nodes that are attached here, passed on through their links: for clients what the FUSE
//! door is for the kernel.
//!
//! A fid is a path there, and is bound before anybody has looked whether the path leads anywhere, so that what a client
//! asks of it at once goes after it. Where it leads nowhere the fid is forgotten again. What is done there is done in
//! the name of who mounted here, so no other user is let in; or in the name of a guest, with what that has shown and
//! nothing else.

mod attributes;
mod guests;
mod names;

use std::sync::Arc;

use fs9_proto::entry::Entry;
use fs9_proto::message::{CONTINUED, NONBLOCK, SYNC, mode};
use fs9_proto::stat::Stat;
use fs9_proto::{Dialect, Fid, Qid, Reply, Request, Tag};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::super::attach::{Asker, Bytes, Opening, Outcome, Path, Then};
use super::super::client::{As, Client};
use super::super::spot::{OpenThere, Place, There};
use super::guests::closed;
use super::{Door, Replied, reason_of};
use crate::net::porter::House;
use crate::server::Flags;
use crate::server::access::Sight;
use crate::ticket::Effects;

/// The right and the duty to answer a request. Dropped unanswered, it answers ESHUTDOWN.
struct Owed {
    house: Arc<House>,
    client: Arc<Client>,
    tag: Tag,
    is_answered: bool,
}

impl Owed {
    /// The client's `fid`, which was `walked` to, is now `file`, open, and that is answered by `reply`. Where the fid
    /// is that no more, or a guest may not have that open, the file is closed.
    fn opened(self, fid: Fid, walked: &Arc<There>, file: &There, open: OpenThere, reply: &Reply<'_>) {
        let there = Arc::new(file.opened(open));
        let is_bound = self.client.state().exchange(fid, walked, Some(Place::There(there.clone())));
        if !is_bound {
            walked.link.close(open.fid, Reason::Closed);
        }
        match self.recheck(fid, &there) {
            Ok(()) => self.reply(reply),
            Err(errno) => self.fail(errno),
        }
    }

    fn reply(mut self, reply: &Reply<'_>) {
        self.is_answered = true;
        self.client.reply(self.tag, reply);
    }

    fn deliver(mut self, data: &[u8]) {
        self.is_answered = true;
        self.client.deliver(self.tag, data);
    }

    fn fail(mut self, errno: Errno) {
        self.is_answered = true;
        // Who was interrupted, and did not ask for that, has lost what it had open.
        let has_less = errno == Errno::INTR && self.client.state().guests().iter().any(|guest| guest.has_less());
        let errno = if has_less { Errno::KEYREVOKED } else { errno };
        self.client.fail(self.tag, errno);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.is_answered {
            self.client.fail(self.tag, Errno::SHUTDOWN);
        }
    }
}

/// How the reply of an open is made of the qid, and of whether the file has no position.
type Opened = fn(Qid, bool) -> Reply<'static>;

impl Door<'_> {
    fn owed(&self) -> Owed {
        Owed { house: self.house.clone(), client: self.client.clone(), tag: self.tag, is_answered: false }
    }

    fn dialect(&self) -> Dialect {
        self.client.state().talk.dialect()
    }

    /// The number of this request for interrupts.
    fn id(&self) -> u64 {
        self.client.id(self.tag, As::Standard)
    }

    /// Who is answered by what `give` makes of the node's reply, where that is none of an error.
    fn asker(&self, give: impl FnOnce(Owed, &Reply<'_>) + Send + 'static) -> Asker {
        let owed = self.owed();
        let then = Then::new(move |outcome: Outcome<'_>| match outcome {
            Ok(reply) => give(owed, reply),
            Err(errno) => owed.fail(errno),
        });
        Asker::new(self.id(), then)
    }

    /// Who is answered by `reply`, once it is done.
    fn is_done(&self, reply: Reply<'static>) -> Asker {
        self.asker(move |owed, _| owed.reply(&reply))
    }

    /// Who is answered by `reply`, once the first path there has become the second.
    fn has_moved(&self, there: &There, (from, to): (Path, Path), reply: Reply<'static>) -> Asker {
        let link = there.link.clone();
        self.asker(move |owed, _| {
            owed.client.state().follow(&link, &from, &to);
            owed.reply(&reply);
        })
    }

    /// Serves a request about the file of another node.
    pub(super) fn relay(&self, there: &Arc<There>, request: &Request<'_>, fx: &mut Effects) -> Replied {
        match *request {
            Request::Walk { fid, newfid, ref names } => return self.walk(fid, newfid, names),
            Request::Clunk { fid } => {
                self.close(fid, Reason::Closed, fx)?;
                self.reply(&Reply::Clunk);
                return Ok(());
            }
            Request::Leave { fid, kind, code } => {
                self.close(fid, reason_of(kind, code), fx)?;
                self.reply(&Reply::Leave);
                return Ok(());
            }
            Request::Getattr { .. } | Request::Setattr { .. } | Request::Stat { .. } | Request::Wstat { .. }
                if there.is_known_here() =>
            {
                return self.dispatch(request, fx);
            }
            _ => {}
        }
        if let Err(errno) = self.let_in(there).and_then(|()| self.allow(there, request)) {
            if let Request::Remove { fid } = *request {
                self.close(fid, Reason::Closed, fx)?;
            }
            return Err(errno);
        }
        match *request {
            Request::Lopen { fid, flags } => {
                let opened = |qid, _| Reply::Lopen { qid, iounit: 0 };
                self.open_there(fid, there, Opening { flags, pid: self.client.origin.pid() }, false, opened)
            }
            Request::Enter { fid, flags, pid } => {
                self.open_there(fid, there, Opening { flags, pid }, false, |qid, stream| Reply::Enter { qid, stream })
            }
            Request::Open { fid, mode } => {
                let how = Opening { flags: mode::flags(mode).ok_or(Errno::INVAL)?, pid: self.client.origin.pid() };
                self.open_there(fid, there, how, mode::removes(mode), |qid, _| Reply::Open { qid, iounit: 0 })
            }
            Request::Read { fid, offset, count } => self.read_there(fid, there, offset, count),
            Request::Recv { flags, count, .. } => {
                let open = opened(there)?;
                let flags = Flags { nonblocking: flags & NONBLOCK != 0, ..open.flags };
                self.take_there(there, open, Bytes { offset: 0, flags }, count);
                Ok(())
            }
            Request::Write { offset, data, .. } => {
                let flags = opened(there)?.flags;
                self.write_there(there, Bytes { offset, flags }, data, As::Standard)
            }
            Request::Send { flags, data, .. } => {
                let (nonblocking, sync) = (flags & NONBLOCK != 0, flags & SYNC != 0);
                let was = opened(there)?.flags;
                let flags = Flags { nonblocking, sync, continued: flags & CONTINUED != 0, ..was };
                self.write_there(there, Bytes { offset: 0, flags }, data, As::Sent)
            }
            Request::Poll { interest, .. } => {
                let asker = self.asker(|owed, reply| {
                    if let Reply::Poll { ready } = *reply {
                        owed.reply(&Reply::Poll { ready });
                    }
                });
                there.link.poll(asker, opened(there)?.fid, interest, None);
                Ok(())
            }
            Request::Watch { interest, .. } => {
                let asker = self.asker(|owed, reply| {
                    if let Reply::Watch { ready } | Reply::Poll { ready } = *reply {
                        owed.reply(&Reply::Watch { ready });
                    }
                });
                there.link.wait(asker, opened(there)?.fid, interest);
                Ok(())
            }
            Request::Fsync { datasync, .. } => {
                match there.open {
                    Some(open) => {
                        let request = Request::Fsync { fid: open.fid, datasync };
                        there.link.ask(self.is_done(Reply::Fsync), &[request]);
                    }
                    None => self.reply(&Reply::Fsync),
                }
                Ok(())
            }
            Request::Readdir { offset, count, .. } => self.list_there(there, offset, count),
            _ => self.relay_name(there, request, fx),
        }
    }

    /// Of users only who mounted, and root, is let into the trees of other nodes, where all that it may is known by who
    /// mounted. A guest is known there by what it has shown.
    fn let_in(&self, there: &There) -> Replied {
        let is_known = there.who.guest.is_some() || self.house.is_owner(&there.who);
        if is_known { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Opens what a fid is of. The fid may be something else by the time that is done, and then it is closed again.
    fn open_there(&self, fid: Fid, there: &Arc<There>, how: Opening, removes: bool, reply: Opened) -> Replied {
        if there.open.is_some() {
            return Err(Errno::BADF);
        }
        let (owed, walked, dialect) = (self.owed(), there.clone(), self.dialect());
        let open = OpenThere::new(Flags::of_open(how.flags), removes);
        there.link.open(self.id(), &there.path, how, move |outcome| match outcome {
            Ok((opened, Reply::Enter { qid, stream })) => {
                let qid = walked.qid(*qid, dialect);
                let open = OpenThere { fid: opened, directory: qid.is_dir(), ..open };
                owed.opened(fid, &walked, &walked, open, &reply(qid, *stream));
            }
            other => owed.fail(other.err().unwrap_or(Errno::PROTO)),
        });
        Ok(())
    }

    fn read_there(&self, fid: Fid, there: &Arc<There>, offset: u64, count: u32) -> Replied {
        let open = opened(there)?;
        if self.dialect() == Dialect::Old && open.directory {
            return self.read_directory_there(fid, there, open, offset, count);
        }
        self.take_there(there, open, Bytes { offset, flags: open.flags }, count);
        Ok(())
    }

    fn take_there(&self, there: &There, open: OpenThere, from: Bytes, count: u32) {
        let asker = self.asker(|owed, reply| {
            if let Reply::Recv { data } | Reply::Read { data } = reply {
                owed.deliver(data);
            }
        });
        there.link.read(asker, open.fid, from, self.room(count) as u32);
    }

    fn write_there(&self, there: &There, to: Bytes, data: &[u8], kind: As) -> Replied {
        let open = opened(there)?;
        if !open.flags.write {
            return Err(Errno::BADF);
        }
        let asker = self.asker(move |owed, reply| {
            if let Reply::Send { count } | Reply::Write { count } = *reply {
                owed.reply(&if kind == As::Sent { Reply::Send { count } } else { Reply::Write { count } });
            }
        });
        there.link.write(asker, open.fid, to, data);
        Ok(())
    }

    fn list_there(&self, there: &There, offset: u64, count: u32) -> Replied {
        let (open, room, link) = (opened(there)?, self.room(count), there.link.clone());
        let sight = self.sight_there(there)?;
        let asker = self.asker(move |owed, reply| {
            let Reply::Readdir { data } = reply else { return };
            let mut listing = Vec::with_capacity(data.len());
            for entry in Entry::listed(data).map_while(Result::ok).filter(|entry| sight.has(entry.name)) {
                let qid = Qid { path: link.ino(entry.qid.path), ..entry.qid };
                if !(Entry { qid, ..entry }).list(room, &mut listing) {
                    break;
                }
            }
            owed.reply(&Reply::Readdir { data: &listing });
        });
        there.link.ask(asker, &[Request::Readdir { fid: open.fid, offset, count: room as u32 }]);
        Ok(())
    }

    /// A read of a directory in 9P2000. Of the entries only names and kinds are known: for the rest there is Tstat.
    fn read_directory_there(&self, fid: Fid, there: &Arc<There>, open: OpenThere, offset: u64, count: u32) -> Replied {
        let (at, from) = if offset == 0 { (0, 0) } else { open.next };
        if offset != at {
            return Err(Errno::INVAL);
        }
        let (room, walked, sight) = (self.room(count), there.clone(), self.sight_there(there)?);
        let asker = self.asker(move |owed, reply| {
            let Reply::Readdir { data } = reply else { return };
            let (listing, next) = records(data, room, (&walked, &sight), from);
            let open = OpenThere { next: (offset + listing.len() as u64, next), ..open };
            let place = Place::There(Arc::new(walked.opened(open)));
            owed.client.state().exchange(fid, &walked, Some(place));
            owed.reply(&Reply::Read { data: &listing });
        });
        // An entry of 9P2000 is longer than the one that it is made of.
        there.link.ask(asker, &[Request::Readdir { fid: open.fid, offset: from, count: (room as u32).max(4096) }]);
        Ok(())
    }

    /// What a fid had open there is closed.
    pub(super) fn release_there(&self, there: &There, reason: Reason) {
        let Some(open) = there.open else { return };
        there.link.close(open.fid, reason);
        if open.removes && self.allow(there, &Request::Remove { fid: open.fid }).is_ok() {
            // Where it cannot be removed, nobody is told.
            let nobody = Asker::new(self.id(), Then::new(|_| {}));
            there.link.walk(nobody, &[&there.path], |fids| vec![Request::Remove { fid: fids[0] }]);
        }
    }
}

/// The descriptor of a file that is open.
fn opened(there: &There) -> Result<OpenThere, Errno> {
    there.open.ok_or_else(|| closed(&there.who))
}

/// Entries of Rreaddir as records of 9P2000, as many as there is room for, and where to go on.
fn records(data: &[u8], room: usize, (there, sight): (&There, &Sight), mut next: u64) -> (Vec<u8>, u64) {
    let mut listing = Vec::new();
    for entry in Entry::listed(data).map_while(Result::ok) {
        let qid = there.qid(entry.qid, Dialect::Own);
        let mode = if qid.is_dir() { fs9_proto::stat::DMDIR | 0o755 } else { 0o600 };
        let (uid, gid) = (there.who.uid.to_string(), there.who.gid.to_string());
        let record = Stat {
            kind: 0,
            dev: 0,
            qid,
            mode,
            atime: 0,
            mtime: 0,
            length: 0,
            name: entry.name,
            uid: &uid,
            gid: &gid,
            muid: &uid,
        };
        // 9P2000 has no dots.
        let is_seen = !matches!(entry.name, "." | "..") && sight.has(entry.name);
        if is_seen && !record.list(room, &mut listing) {
            break;
        }
        next = entry.offset;
    }
    (listing, next)
}
