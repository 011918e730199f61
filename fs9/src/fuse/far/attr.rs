//! What another node says of its files, as the kernel is told it.

use fs9_proto::attr::{Attr, SetAttr, SetTime, Statfs, Time};
use fs9_proto::entry::Entry;

use crate::fuse::abi::{self, DirBuffer, EntryOut, StatfsOut};
use crate::fuse::door::BLOCK;
use crate::net::attach::Link;

/// Attributes.
pub fn attr_of(attr: &Attr, link: &Link) -> abi::Attr {
    let (uid, gid) = link.owner(attr.uid, attr.gid);
    let since = |time: Time| (u64::try_from(time.secs).unwrap_or(0), time.nsecs);
    let [(atime, atimensec), (mtime, mtimensec), (ctime, ctimensec)] = [attr.atime, attr.mtime, attr.ctime].map(since);
    abi::Attr {
        ino: link.ino(attr.qid.path),
        mode: attr.mode,
        nlink: attr.nlink as u32,
        uid,
        gid,
        atime,
        atimensec,
        mtime,
        mtimensec,
        ctime,
        ctimensec,
        blksize: BLOCK,
        ..abi::Attr::default()
    }
}

/// A change of attributes; None where nothing is changed (a peer has no length).
pub fn change_of(change: &abi::Setattr) -> Option<SetAttr> {
    let abi::Setattr { mode, uid, gid, atime, mtime, .. } = *change;
    let time = |time| match time {
        abi::SetTime::Now => SetTime::Now,
        abi::SetTime::At { secs, nsecs } => SetTime::At(Time { secs, nsecs: nsecs.min(999_999_999) }),
    };
    let is_one = mode.is_some() || uid.is_some() || gid.is_some() || atime.is_some() || mtime.is_some();
    is_one.then(|| SetAttr { mode, uid, gid, atime: atime.map(time), mtime: mtime.map(time), ..SetAttr::default() })
}

/// How many bytes of entries are asked for, so that they fit into a buffer of `size` bytes: the kernel rounds each up
/// to 8, or has the answer of a LOOKUP with it.
pub fn listing(plus: bool, size: u32) -> u32 {
    if plus { size / 7 } else { size / 4 * 3 }
}

/// Entries, of which the kernel looks each up that it wants to know more of.
pub fn list(data: &[u8], link: &Link, plus: bool, size: u32) -> DirBuffer {
    let mut listing = DirBuffer::new(size);
    for entry in Entry::listed(data).map_while(Result::ok) {
        let (ino, mode) = (link.ino(entry.qid.path), u32::from(entry.kind) << 12);
        let fits = if plus {
            let attr = abi::Attr { ino, mode, ..abi::Attr::default() };
            listing.push_plus(&EntryOut { attr, ..EntryOut::default() }, entry.offset, entry.name.as_bytes())
        } else {
            listing.push(ino, mode, entry.offset, entry.name.as_bytes())
        };
        if !fits {
            break;
        }
    }
    listing
}

/// The figures of a file system.
pub fn statfs_of(statfs: &Statfs) -> StatfsOut {
    StatfsOut {
        blocks: statfs.blocks,
        bfree: statfs.bfree,
        bavail: statfs.bavail,
        files: statfs.files,
        ffree: statfs.ffree,
        bsize: statfs.bsize,
        namelen: statfs.namelen,
        frsize: 4096,
        ..StatfsOut::default()
    }
}
