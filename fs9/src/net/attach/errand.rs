//! What a door asks of a node, as requests that go there together. Nothing here waits, and nothing fails: whoever asks
//! is told.

use fs9_proto::attr::{BASIC, SetAttr};
use fs9_proto::client::{Call, ROOT, Release};
use fs9_proto::message::{CONTINUED, Fid, NONBLOCK, Reply, Request, SYNC};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::asked::{Asked, Asker, Outcome, Then, Told, What};
use super::file::File;
use super::link::{Link, State};
use super::path::Path;
use crate::server::Flags;
use crate::ticket::Watcher;
use crate::tree::NodeId;
use crate::view::View;

/// Bytes of a frame around the data of a read.
const AROUND: u32 = 11;

/// Bytes of a frame around the data of a write, at most.
const AROUND_DATA: u64 = 23;

/// How something is opened, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// O_* of open(2).
    pub flags: u32,
    /// The process, as it is numbered on its machine.
    pub pid: u32,
}

/// Which bytes are to be read or written.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// Where they begin, of what has a position.
    pub offset: u64,
    /// How the descriptor was opened.
    pub flags: Flags,
}

impl Link {
    /// Asks all of `requests` at once.
    pub fn ask(&self, asker: Asker, requests: &[Request<'_>]) {
        self.run(|state| state.ask(requests, Asked::by(asker, What::Other)));
    }

    /// Has the node say who owns its mount, which is who we are there.
    pub(super) fn ask_who_we_are(&self) {
        // Unless it cannot be asked, and then it is asked anew with the next session.
        let getattr = [Request::Getattr { fid: ROOT, mask: BASIC }];
        let _: Option<Call> = self.run(|state| state.ask(&getattr, Asked::unasked(What::Owner)));
    }

    /// Walks to each of `paths`, asks what `then` says of the fids there, and gives them back: one round trip. There
    /// are three fids; of those beyond `paths` nothing was made.
    pub fn walk<'a>(&self, asker: Asker, paths: &[&'a Path], then: impl FnOnce(&[Fid]) -> Vec<Request<'a>>) {
        self.run(|state| {
            let fids = match state.fids::<3>() {
                Ok(fids) => fids,
                Err(errno) => return state.tell(asker, Told::Failed(errno)),
            };
            let mut requests: Vec<_> = paths.iter().zip(&fids).flat_map(|(path, fid)| path.way(*fid)).collect();
            requests.extend(then(&fids));
            state.ask(&requests, Asked::by(asker, What::Other));
            fids.into_iter().for_each(|fid| state.client.release(fid, Release::Clunk));
        });
    }

    /// The attributes, after they were changed if that is wanted; by a descriptor where there is one.
    pub fn attr(&self, asker: Asker, (path, fid): (&Path, Option<Fid>), change: Option<SetAttr>) {
        let requests = |fid| {
            let change = change.map(|attr| Request::Setattr { fid, attr });
            change.into_iter().chain([Request::Getattr { fid, mask: BASIC }]).collect::<Vec<_>>()
        };
        match fid {
            Some(fid) => self.ask(asker, &requests(fid)),
            None => self.walk(asker, &[path], |fids| requests(fids[0])),
        }
    }

    /// Opens a file. `then` is told the descriptor, which is to be [closed](Link::close), and Renter.
    pub fn open(
        &self,
        id: u64,
        path: &Path,
        how: Opening,
        then: impl FnOnce(Result<(Fid, &Reply<'_>), Errno>) + Send + 'static,
    ) {
        self.run(|state| {
            let then = |fid| Then::new(move |outcome: Outcome<'_>| then(outcome.map(|reply| (fid, reply))));
            match state.fids() {
                Ok([fid]) => {
                    let mut requests = path.way(fid);
                    requests.push(enter(fid, how));
                    state.ask(&requests, Asked::by(Asker::new(id, then(fid)), What::Open { fid, view: path.view() }));
                }
                Err(errno) => state.tell(Asker::new(id, then(ROOT)), Told::Failed(errno)),
            }
        });
    }

    /// Has `make` make the file `path` in its directory, and opens it. As [`Link::open`], but `then` is told Rgetattr.
    pub fn create<'a>(
        &self,
        id: u64,
        (dir, path): (&'a Path, &'a Path),
        how: Opening,
        make: impl FnOnce(Fid) -> Request<'a>,
        then: impl FnOnce(Result<(Fid, &Reply<'_>), Errno>) + Send + 'static,
    ) {
        self.run(|state| {
            let then = |fid| Then::new(move |outcome: Outcome<'_>| then(outcome.map(|reply| (fid, reply))));
            match state.fids() {
                Ok([dfid, fid]) => {
                    let mut requests = dir.way(dfid);
                    requests.push(make(dfid));
                    requests.extend(path.way(fid));
                    requests.extend([enter(fid, how), Request::Getattr { fid, mask: BASIC }]);
                    state.ask(&requests, Asked::by(Asker::new(id, then(fid)), What::Open { fid, view: path.view() }));
                    state.client.release(dfid, Release::Clunk);
                }
                Err(errno) => state.tell(Asker::new(id, then(ROOT)), Told::Failed(errno)),
            }
        });
    }

    /// Closes a descriptor: its holder went for `reason`.
    pub fn close(&self, fid: Fid, reason: Reason) {
        self.run(|state| File::close(state, fid, reason));
    }

    /// Reads at most `size` bytes: of a channel one message.
    pub fn read(&self, asker: Asker, fid: Fid, from: Bytes, size: u32) {
        self.run(|state| {
            let count = size.min(state.client.msize().saturating_sub(AROUND));
            let Some(file) = state.files.get_mut(&fid) else { return state.tell(asker, Told::Failed(Errno::BADF)) };
            if let Some(told) = file.read(size as usize) {
                return state.tell(asker, told);
            }
            let flags = if from.flags.nonblocking { NONBLOCK } else { 0 };
            let request = match file.stream {
                true => Request::Recv { fid, flags, count },
                false => Request::Read { fid, offset: from.offset, count },
            };
            let name = asker.name;
            file.begin_read(asker, size as usize);
            state.ask(&[request], Asked::named(name, What::Read(fid)));
        });
    }

    /// Writes `data`: to a channel one message.
    pub fn write(&self, asker: Asker, fid: Fid, to: Bytes, data: &[u8]) {
        let bits = [(to.flags.nonblocking, NONBLOCK), (to.flags.sync, SYNC), (to.flags.continued, CONTINUED)];
        let flags = bits.into_iter().filter(|(set, _)| *set).fold(0, |all, (_, bit)| all | bit);
        self.run(|state| match state.may_write(fid, data.len()) {
            Ok(message) => {
                let request = match message {
                    true => Request::Send { fid, flags, data },
                    false => Request::Write { fid, offset: to.offset, data },
                };
                state.ask(&[request], Asked::by(asker, What::Write { fid, message }));
            }
            Err(errno) => state.tell(asker, Told::Failed(errno)),
        });
    }

    /// What is ready now. `watcher` is woken once when more of `interest` is.
    pub fn poll(&self, asker: Asker, fid: Fid, interest: u32, watcher: Option<Watcher>) {
        self.run(|state| match state.files.get(&fid).map(File::ready) {
            Some(None) => {
                let what = What::Poll { fid, interest, watcher };
                state.ask(&[Request::Poll { fid, interest }], Asked::by(asker, what));
            }
            Some(Some(ready)) => state.tell(asker, Told::Ready(ready)),
            None => state.tell(asker, Told::Failed(Errno::BADF)),
        });
    }

    /// Waits until something of `interest` is ready.
    pub fn wait(&self, asker: Asker, fid: Fid, interest: u32) {
        self.run(|state| {
            let Some(file) = state.files.get_mut(&fid) else { return state.tell(asker, Told::Failed(Errno::BADF)) };
            if let Some(ready) = file.ready() {
                return state.tell(asker, Told::Ready(ready));
            }
            let name = asker.name;
            file.begin_wait(asker);
            state.ask(&[Request::Watch { fid, interest }], Asked::named(name, What::Await(fid)));
        });
    }

    /// User and group of a file there as they are shown here: who we are there is who mounted here, so that the modes
    /// mean here what they mean there.
    pub fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        match self.run(|state| state.owner) {
            Some((theirs, group)) => {
                let (own, own_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
                (if uid == theirs { own } else { uid }, if gid == group { own_group } else { gid })
            }
            None => (uid, gid),
        }
    }

    /// The number here of a file whose number there is `path`.
    pub fn ino(&self, path: u64) -> u64 {
        ino(self.node, path)
    }
}

impl State {
    /// Whether `len` bytes may be written to a descriptor, and whether they are a message.
    fn may_write(&self, fid: Fid, len: usize) -> Result<bool, Errno> {
        let file = self.files.get(&fid).ok_or(Errno::BADF)?;
        if let Some(errno) = file.broken() {
            return Err(errno);
        }
        let too_long = file.stream && file.view == View::Plain && len > self.limit;
        let unfit = len as u64 + AROUND_DATA > u64::from(self.client.msize());
        if too_long || unfit { Err(Errno::MSGSIZE) } else { Ok(file.stream) }
    }
}

fn enter(fid: Fid, Opening { flags, pid }: Opening) -> Request<'static> {
    Request::Enter { fid, flags, pid }
}

/// The number of a file there, mixed with the attachment's: those of a node's own files have room for that in their
/// highest bits. Those that are from elsewhere in turn are spread over all bits first.
fn ino(node: NodeId, path: u64) -> u64 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let path = if path >> 40 == 0 { path } else { path.wrapping_mul(SPREAD) };
    path ^ (node - crate::attachment::FIRST + 1).rotate_right(24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::FIRST;

    #[test]
    fn every_file_has_a_number_of_its_own_also_through_several_nodes() {
        let mut seen = std::collections::BTreeSet::new();
        for path in [1, 8, 9, 1 << 33, FIRST << 3] {
            assert!(seen.insert(path));
            for near in 0..5 {
                assert!(seen.insert(ino(FIRST + near, path)), "{path} through {near}");
                for far in 0..5 {
                    assert!(seen.insert(ino(FIRST + near, ino(FIRST + far, path))), "{path} through {near}, {far}");
                }
            }
        }
    }
}
