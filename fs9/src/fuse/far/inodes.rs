//! The inodes of other nodes' files that the kernel knows: what each id means, until the kernel forgets it.
//!
//! A directory keeps its id for as long as it is known. Of anything else nobody gets an inode that somebody else has
//! open or is about to use, for the reasons that are told in `fuse/inode.rs`.

use std::sync::Arc;

use fs9_proto::message::Fid;
use fs9_proto::qid::Qid;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::fuse::node::far_id;
use crate::net::attach::{Link, Path};
use crate::tree::{NodeId, shrink};

/// What an id means.
#[derive(Debug, Clone)]
pub struct Inode {
    /// The way to its node.
    pub link: Arc<Link>,
    /// Its place there.
    pub path: Path,
    /// One of the descriptors that are open on it.
    pub fid: Option<Fid>,
    qid: Qid,
    /// Answers that named it and that the kernel has not forgotten.
    lookups: u64,
    /// The thread that looked it up and has not opened it; 0 when there is none.
    claim: u32,
    opens: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Inodes {
    known: FxHashMap<u64, Inode>,
    directories: FxHashMap<(NodeId, u64), u64>,
    /// The last id of what is no directory.
    files: FxHashMap<(NodeId, Path), u64>,
    next: u64,
}

impl Inodes {
    /// The id for thread `tid`, which looks up a name and finds `qid`.
    pub fn look_up(&mut self, link: &Arc<Link>, path: Path, qid: Qid, tid: u32) -> u64 {
        let known = match qid.is_dir() {
            true => self.directories.get(&(link.node, qid.path)),
            false => self.files.get(&(link.node, path.clone())),
        };
        if let Some((id, inode)) = known.and_then(|id| Some((*id, self.known.get_mut(id)?))) {
            let free = inode.opens == 0 && tid != 0 && (inode.claim == 0 || inode.claim == tid);
            if qid.is_dir() || (free && inode.qid == qid) {
                inode.lookups += 1;
                inode.claim = tid;
                inode.path = path;
                return id;
            }
        }
        self.next += 1;
        let id = far_id(self.next);
        match qid.is_dir() {
            true => self.directories.insert((link.node, qid.path), id),
            false => self.files.insert((link.node, path.clone()), id),
        };
        let inode = Inode { link: link.clone(), path, fid: None, qid, lookups: 1, claim: tid, opens: 0 };
        self.known.insert(id, inode);
        id
    }

    /// What an id means.
    ///
    /// # Errors
    /// ESTALE for one that was forgotten.
    pub fn get(&self, id: u64) -> Result<Inode, Errno> {
        self.known.get(&id).cloned().ok_or(Errno::STALE)
    }

    /// At the node of that number `from` has become `to`, with all that is below it.
    pub fn rename(&mut self, node: NodeId, from: &Path, to: &Path) {
        for (id, inode) in self.known.iter_mut().filter(|(_, inode)| inode.link.node == node) {
            let Some(path) = inode.path.moved(from, to) else { continue };
            let old = (node, std::mem::replace(&mut inode.path, path.clone()));
            if self.files.get(&old) == Some(id) {
                self.files.remove(&old);
                self.files.insert((node, path), *id);
            }
        }
    }

    /// It was opened as `fid`: the claim is used up.
    pub fn open(&mut self, id: u64, fid: Fid) {
        if let Some(inode) = self.known.get_mut(&id) {
            (inode.claim, inode.fid) = (0, Some(fid));
            inode.opens += 1;
        }
    }

    /// What was opened as `fid` is closed.
    pub fn release(&mut self, id: u64, fid: Fid) {
        if let Some(inode) = self.known.get_mut(&id) {
            inode.opens = inode.opens.saturating_sub(1);
            inode.fid = inode.fid.filter(|open| *open != fid);
        }
    }

    /// The kernel has forgotten so many answers that named it.
    pub fn forget(&mut self, id: u64, lookups: u64) {
        let Some(inode) = self.known.get_mut(&id) else { return };
        inode.lookups = inode.lookups.saturating_sub(lookups);
        if inode.lookups > 0 {
            return;
        }
        let Some(Inode { link, path, qid, .. }) = self.known.remove(&id) else { return };
        shrink(&mut self.known);
        if self.directories.get(&(link.node, qid.path)) == Some(&id) {
            self.directories.remove(&(link.node, qid.path));
        }
        let place = (link.node, path);
        if self.files.get(&place) == Some(&id) {
            self.files.remove(&place);
        }
    }
}
