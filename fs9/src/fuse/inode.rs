//! Which inode of the kernel a name leads to.
//!
//! A write(2) that waits holds its inode's lock, and whoever else came to that lock (a second writer, chmod, rm) would
//! wait where no signal reaches it. So nobody may get an inode that somebody else has open or is about to use: LOOKUP
//! then answers with a fresh node id, which is a new inode. Otherwise it answers with the id it gave last, and the
//! kernel goes on with the inode it has, which saves a second LOOKUP and the making of an inode.
//!
//! Names are never remembered by the kernel (their timeout is 0), so each use of one begins with a LOOKUP. Between that
//! and the OPEN (or UNLINK, SETATTR, ...) that follows, the inode is claimed by the thread that asked: a thread does
//! one thing at a time, so when it asks again it has done with its claim.
//!
//! When very many threads look up one name at once, ever fresh ids keep them from arriving anywhere: each makes the
//! kernel drop what the others have just found, and all ask again. A crowd therefore gets one id for all, which is good
//! for everything but a write; who wants to open it for writing is sent back (ESTALE, upon which the kernel looks the
//! name up anew) and gets an inode of its own.

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;

use super::node::{SERIALS, node_id, serial_of};
use crate::tree::{File, shrink};
use crate::view::View;

/// So many fresh ids for one name without an open in between are a crowd.
const CROWD: u32 = 16;

/// How many threads that were sent back are remembered. One that is forgotten is sent back again, or gets a fresh id.
const SENT_BACK: usize = 4096;

/// The inode that was given last for a name.
#[derive(Debug, Clone, Copy)]
struct Inode {
    serial: u64,
    /// The thread that looked it up and has not opened it; 0 when there is none.
    claim: u32,
    /// Descriptors open on it.
    opens: u32,
    /// Fresh ids given for the name since one was opened.
    fresh: u32,
}

/// The inodes that the kernel knows, by the id of their file and view without a serial.
#[derive(Debug, Default)]
pub struct Inodes {
    last: FxHashMap<u64, Inode>,
    serial: u64,
    sent_back: FxHashSet<u32>,
}

impl Inodes {
    /// The node id for `tid`, which looks up a name. A `tid` of 0 is a thread that cannot be told from others.
    pub fn look_up(&mut self, file: File, view: View, tid: u32) -> u64 {
        let base = node_id(file, view, 0);
        let last = self.last.get(&base).copied();
        if self.sent_back.contains(&tid) {
            return node_id(file, view, self.next_serial(false));
        }
        if let Some(inode) = last {
            let free = inode.opens == 0 && tid != 0 && (inode.claim == 0 || inode.claim == tid);
            if free || is_shared(inode.serial) {
                self.last.insert(base, Inode { claim: tid, ..inode });
                return node_id(file, view, inode.serial);
            }
        }
        let fresh = last.map_or(0, |inode| inode.fresh + 1);
        let serial = self.next_serial(fresh >= CROWD);
        self.last.insert(base, Inode { serial, claim: tid, opens: 0, fresh });
        node_id(file, view, serial)
    }

    /// Half of the serial numbers are for inodes that may be shared, so that an id says by itself which it is.
    fn next_serial(&mut self, shared: bool) -> u64 {
        self.serial = (self.serial + 2) % SERIALS;
        self.serial | u64::from(shared)
    }

    /// Whether `tid` may open `id`, for writing or not.
    ///
    /// # Errors
    /// ESTALE when it must look the name up again.
    pub fn admit(&mut self, id: u64, tid: u32, writes: bool) -> Result<(), Errno> {
        let (base, serial) = serial_of(id);
        if !writes || !is_shared(serial) {
            self.sent_back.remove(&tid);
            return Ok(());
        }
        if self.sent_back.len() >= SENT_BACK {
            self.sent_back.clear();
        }
        self.sent_back.insert(tid);
        self.last.remove(&base); // the crowd may be over: who comes next gets a fresh one
        Err(Errno::STALE)
    }

    /// `id` was opened: the claim is used up.
    pub fn open(&mut self, id: u64) {
        if let Some(inode) = self.inode(id) {
            inode.claim = 0;
            inode.opens += 1;
            inode.fresh = 0;
        }
    }

    /// A descriptor of `id` was released.
    pub fn release(&mut self, id: u64) {
        if let Some(inode) = self.inode(id) {
            inode.opens = inode.opens.saturating_sub(1);
        }
    }

    /// The kernel has forgotten `id`.
    pub fn forget(&mut self, id: u64) {
        let (base, serial) = serial_of(id);
        if self.last.get(&base).is_some_and(|inode| inode.serial == serial) {
            self.last.remove(&base);
            shrink(&mut self.last);
        }
    }

    fn inode(&mut self, id: u64) -> Option<&mut Inode> {
        let (base, serial) = serial_of(id);
        self.last.get_mut(&base).filter(|inode| inode.serial == serial)
    }
}

/// Whether an inode of this serial number is for a crowd.
fn is_shared(serial: u64) -> bool {
    serial & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: File = File::of(7);

    #[test]
    fn one_after_the_other_they_share_an_inode() {
        let mut inodes = Inodes::default();
        let first = inodes.look_up(FILE, View::Plain, 1);
        inodes.open(first);
        inodes.release(first);
        assert_eq!(inodes.look_up(FILE, View::Plain, 2), first);
    }

    #[test]
    fn nobody_gets_an_inode_that_is_open_or_claimed() {
        let mut inodes = Inodes::default();
        let first = inodes.look_up(FILE, View::Plain, 1);
        let second = inodes.look_up(FILE, View::Plain, 2);
        assert_ne!(first, second, "1 is about to use the first");
        assert_eq!(inodes.look_up(FILE, View::Plain, 2), second, "2 has done with what it asked for");
        inodes.open(second);
        assert_ne!(inodes.look_up(FILE, View::Plain, 3), second);
        assert_ne!(inodes.look_up(FILE, View::Line, 2), second);
    }

    #[test]
    fn a_thread_that_cannot_be_told_from_others_shares_with_nobody() {
        let mut inodes = Inodes::default();
        assert_ne!(inodes.look_up(FILE, View::Plain, 0), inodes.look_up(FILE, View::Plain, 0));
    }

    #[test]
    fn a_crowd_shares_an_inode_for_reading_and_writers_are_sent_back_once() {
        let mut inodes = Inodes::default();
        for tid in 1..100 {
            inodes.look_up(FILE, View::Plain, tid);
        }
        let shared = inodes.look_up(FILE, View::Plain, 100);
        inodes.admit(shared, 100, false).expect("readers may share");
        inodes.open(shared);
        assert_eq!(inodes.look_up(FILE, View::Plain, 101), shared, "also when it is open");
        assert_eq!(inodes.admit(shared, 101, true), Err(Errno::STALE));
        let own = inodes.look_up(FILE, View::Plain, 101);
        assert_ne!(own, shared);
        inodes.admit(own, 101, true).expect("it has one of its own");
        assert!(inodes.sent_back.is_empty());
    }

    #[test]
    fn what_the_kernel_forgets_is_forgotten() {
        let mut inodes = Inodes::default();
        let first = inodes.look_up(FILE, View::Plain, 1);
        let second = inodes.look_up(FILE, View::Plain, 2);
        inodes.forget(first);
        assert_eq!(inodes.look_up(FILE, View::Plain, 2), second, "the first was not the last given");
        inodes.forget(second);
        assert!(inodes.last.is_empty());
        assert_ne!(inodes.look_up(FILE, View::Plain, 2), second, "an id is not given again");
    }
}
