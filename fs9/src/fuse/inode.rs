//! Which inode of the kernel a name leads to.
//!
//! A write(2) that waits holds its inode's lock, and whoever else came to that lock (a second writer, chmod, rm) would
//! wait where no signal reaches it. So nobody may get an inode that somebody else has open or is about to use: LOOKUP
//! then answers with a fresh node id, which is a new inode. Otherwise it answers with the id it gave last, and the
//! kernel goes on with the inode it has, which saves a second LOOKUP and the making of an inode.
//!
//! Names are never remembered by the kernel (their timeout is 0), so each use of one begins with a LOOKUP. Between that
//! and the OPEN (or UNLINK, SETATTR, ...) that follows, the inode is claimed by the thread that asked: a thread does one
//! thing at a time, so when it asks again it has done with its claim.

use rustc_hash::FxHashMap;

use super::node::{SERIALS, node_id, serial_of};
use crate::tree::File;
use crate::view::View;

/// The inode that was given last for a name.
#[derive(Debug, Clone, Copy)]
struct Inode {
    serial: u64,
    /// The thread that looked it up and has not opened it; 0 when there is none.
    claim: u32,
    /// Descriptors open on it.
    opens: u32,
}

/// The inodes that the kernel knows, by the id of their file and view without a serial.
#[derive(Debug, Default)]
pub struct Inodes {
    last: FxHashMap<u64, Inode>,
    serial: u64,
}

impl Inodes {
    /// The node id for `tid`, which looks up a name. A `tid` of 0 is a thread that cannot be told from others.
    pub fn look_up(&mut self, file: File, view: View, tid: u32) -> u64 {
        let base = node_id(file, view, 0);
        let serial = match self.last.get_mut(&base) {
            Some(inode) if inode.opens == 0 && tid != 0 && (inode.claim == 0 || inode.claim == tid) => {
                inode.claim = tid;
                inode.serial
            }
            _ => {
                self.serial = (self.serial + 1) % SERIALS;
                self.last.insert(base, Inode { serial: self.serial, claim: tid, opens: 0 });
                self.serial
            }
        };
        node_id(file, view, serial)
    }

    /// `id` was opened: the claim is used up.
    pub fn open(&mut self, id: u64) {
        if let Some(inode) = self.inode(id) {
            inode.claim = 0;
            inode.opens += 1;
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
            if self.last.is_empty() {
                self.last = FxHashMap::default(); // memory that many names took is given back
            }
        }
    }

    fn inode(&mut self, id: u64) -> Option<&mut Inode> {
        let (base, serial) = serial_of(id);
        self.last.get_mut(&base).filter(|inode| inode.serial == serial)
    }
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
