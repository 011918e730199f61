//! What the kernel asked and another node is to answer: where the answer goes, and what it is to the kernel.
//!
//! What an answer changes is marked while the link is locked ([`Asked::settle`]); it is given when it is not.

use std::sync::Arc;

use fs9_proto::client::{Failure, Loss, Release};
use fs9_proto::message::{Fid, Reply};
use rustix::io::Errno;

use super::Far;
use super::attr::{attr_of, list, statfs_of};
use super::file::File;
use super::inodes::Path;
use super::opened::Opened;
use crate::fuse::abi::{AttrOut, CreateOut, EntryOut, PollOut, WriteOut};
use crate::fuse::device::Due;
use crate::fuse::door::ATTR_VALID;
use crate::net::attach::{Link, State};
use crate::server::ready;

const EEXIST: u32 = Errno::EXIST.raw_os_error() as u32;

/// A request under way. Dropped, it answers ESHUTDOWN.
#[derive(Debug)]
pub struct Asked {
    /// None where the kernel does not wait for it.
    due: Option<Due>,
    what: What,
}

/// What was asked.
#[derive(Debug)]
pub enum What {
    /// Whether it can be done.
    Done,
    /// The attributes.
    Attr,
    /// The file of a path, for a thread that looks it up.
    Entry { path: Path, tid: u32 },
    /// A descriptor.
    Open { id: u64, opened: Box<Opened> },
    /// A new file, and a descriptor of it.
    Create { path: Path, tid: u32, exclusive: bool, opened: Box<Opened> },
    /// Entries of a directory, for a buffer of so many bytes.
    List { plus: bool, size: u32 },
    /// Bytes.
    Read(Fid),
    /// Whether so many bytes can be written.
    Write { fid: Fid, message: bool },
    /// The figures of the file system.
    Statfs,
    /// What is ready, and whom to wake when that changes.
    Poll { fid: Fid, interest: u32, kh: Option<u64> },
    /// To be told when something is ready.
    Watch { fid: Fid, bits: u32, wake: Option<u64> },
    /// Who owns the mount there.
    Owner,
}

impl Asked {
    /// Something that the kernel waits for.
    pub fn new(due: Due, what: What) -> Asked {
        Asked { due: Some(due), what }
    }

    /// To be told when one of `bits` is ready at a descriptor.
    pub fn watch(fid: Fid, bits: u32) -> Asked {
        Asked { due: None, what: What::Watch { fid, bits, wake: None } }
    }

    /// To be told who owns the mount there.
    pub fn owner() -> Asked {
        Asked { due: None, what: What::Owner }
    }

    /// The number of the kernel's request.
    pub fn unique(&self) -> Option<u64> {
        self.due.as_ref().map(Due::unique)
    }

    /// It cannot be asked: who wanted to says so.
    pub fn refuse<T>(self, errno: Errno) -> Result<T, Errno> {
        self.due.into_iter().for_each(Due::forget);
        Err(errno)
    }

    /// The answer has come: what it changes for those that come later.
    pub fn settle(&mut self, state: &mut State, reply: &Reply<'_>) {
        self.unique().and_then(|unique| state.calls.remove(&unique));
        match (&mut self.what, reply) {
            (What::Open { opened, .. } | What::Create { opened, .. }, Reply::Error { .. }) => {
                state.client.release(opened.fid, Release::Clunk);
            }
            (What::Open { opened, .. }, Reply::Enter { stream, .. }) => {
                opened.stream = *stream;
                state.files.insert(opened.fid, File::default());
            }
            (What::Create { opened, .. }, _) => drop(state.files.insert(opened.fid, File::default())),
            (What::Read(fid), reply) => {
                let fid = *fid;
                self.end_read(state, fid, Some(reply));
                File::used(state, fid, ready::IN);
            }
            (What::Write { fid, .. }, _) => File::used(state, *fid, ready::OUT),
            (What::Poll { fid, interest, kh: Some(kh) }, Reply::Poll { ready }) => {
                File::watch_for(state, *fid, *kh, *interest, *ready);
            }
            (What::Watch { fid, bits, wake }, _) => {
                *wake = state.files.get_mut(fid).and_then(|file| file.seen(*bits));
            }
            (What::Owner, Reply::Getattr { attr }) => state.owner = Some((attr.uid, attr.gid)),
            _ => {}
        }
    }

    /// There will be no answer: the same.
    pub fn settle_failed(&mut self, state: &mut State, failure: Failure) {
        self.unique().and_then(|unique| state.calls.remove(&unique));
        match &mut self.what {
            What::Open { opened, .. } | What::Create { opened, .. } => {
                state.client.release(opened.fid, Release::Clunk);
            }
            What::Read(fid) => {
                let fid = *fid;
                self.end_read(state, fid, None);
                if let (Failure::Lost(Loss::Restarted), Some(file)) = (failure, state.files.get_mut(&fid)) {
                    file.lose(Loss::Restarted);
                    let _ = file.read(0); // this reader is told
                }
            }
            What::Poll { fid, interest, kh: Some(kh) } if failure == Failure::Unreachable => {
                File::watch_for(state, *fid, *kh, *interest, 0);
            }
            What::Watch { fid, bits, wake } => {
                *wake = state
                    .files
                    .get_mut(fid)
                    .filter(|_| failure != Failure::Cancelled)
                    .and_then(|file| file.seen(*bits));
            }
            _ => {}
        }
    }

    fn end_read(&mut self, state: &mut State, fid: Fid, reply: Option<&Reply<'_>>) {
        let (Some(file), Some(unique)) = (state.files.get_mut(&fid), self.unique()) else { return };
        if !file.end_read(unique) {
            reply.into_iter().for_each(|reply| file.keep(reply));
            self.due.take().into_iter().for_each(Due::forget);
        }
    }

    /// Gives the answer.
    pub fn replied(self, reply: &Reply<'_>, link: &Arc<Link>, far: &Arc<Far>) {
        if let What::Watch { wake: Some(kh), .. } = self.what {
            return far.wake(kh);
        }
        let Some(due) = self.due else { return };
        match (self.what, reply) {
            // Somebody made it after the kernel looked. It looks again, and then asks whether this caller may open it.
            (What::Create { exclusive: false, .. }, Reply::Error { errno: EEXIST, .. }) => due.error(Errno::STALE),
            (_, Reply::Error { errno, .. }) => due.error(Errno::from_raw_os_error(*errno as i32)),
            (What::Attr, Reply::Getattr { attr }) => {
                due.reply(&AttrOut { attr_valid: ATTR_VALID, attr: attr_of(attr, link, far), ..AttrOut::default() });
            }
            (What::Entry { path, tid }, Reply::Getattr { attr }) => due.reply(&far.entry(link, path, attr, tid)),
            (What::Open { id, opened }, Reply::Enter { .. }) => {
                far.inodes().open(id, opened.fid);
                due.reply(&far.open(*opened));
            }
            (What::Create { path, tid, opened, .. }, Reply::Getattr { attr }) => {
                let entry: EntryOut = far.entry(link, path, attr, tid);
                far.inodes().open(entry.nodeid, opened.fid);
                due.reply(&CreateOut { entry, open: far.open(*opened) });
            }
            (What::List { plus, size }, Reply::Readdir { data }) => {
                due.reply_bytes(list(data, link, plus, size).as_bytes());
            }
            (What::Read(_), Reply::Recv { data } | Reply::Read { data }) => due.reply_bytes(data),
            (What::Write { message, .. }, Reply::Send { count } | Reply::Write { count }) => {
                if message {
                    link.account.count_sent();
                }
                due.reply(&WriteOut { size: *count, padding: 0 });
            }
            (What::Statfs, Reply::Statfs { statfs }) => due.reply(&statfs_of(statfs)),
            (What::Poll { .. }, Reply::Poll { ready }) => due.reply(&PollOut { revents: *ready, padding: 0 }),
            _ => due.reply_bytes(&[]),
        }
    }

    /// Says that there will be no answer.
    pub fn failed(self, failure: Failure, link: &Link) {
        if failure == Failure::Unknown && matches!(self.what, What::Write { .. }) {
            link.account.count_unknown();
        }
        let Some(due) = self.due else { return };
        // Nothing is ready as far as anybody knows; who polls is woken when the node is there again.
        if let (What::Poll { .. }, Failure::Unreachable) = (&self.what, failure) {
            return due.reply(&PollOut::default());
        }
        due.error(errno_of(failure));
    }
}

/// What a failure is to a system call.
fn errno_of(failure: Failure) -> Errno {
    match failure {
        Failure::Cancelled => Errno::INTR,
        Failure::Unreachable => Errno::HOSTUNREACH,
        Failure::Unknown => Errno::IO,
        Failure::Unsent(Loss::Restarted) => Errno::PIPE,
        Failure::Lost(Loss::Restarted) => Errno::CONNRESET,
        Failure::Unsent(Loss::Lingered) | Failure::Lost(Loss::Lingered) => Errno::NOLINK,
        Failure::Unsent(Loss::Ended) | Failure::Lost(Loss::Ended) => Errno::SHUTDOWN,
    }
}
