//! Replies and notifications: the header that begins them, and the packing of directories.

use super::layout::{Dirent, Direntplus, EntryOut, OutHeader};
use zerocopy::{Immutable, IntoBytes};

impl OutHeader {
    /// Begins the reply to `unique`, which `len` bytes follow.
    ///
    /// The kernel compares the length with that of the write(2), so one beyond `u32` is refused, not cut.
    pub fn ok(unique: u64, len: usize) -> Self {
        Self { len: total(len), error: 0, unique }
    }

    /// The whole reply to `unique`: it failed with `errno`, a positive number below 512 as in errno(3).
    pub fn error(unique: u64, errno: i32) -> Self {
        debug_assert!((1..512).contains(&errno), "no errno: {errno}");
        Self { len: total(0), error: -errno, unique }
    }

    /// Begins the notification `code`, which `len` bytes follow.
    pub fn notify(code: i32, len: usize) -> Self {
        Self { len: total(len), error: code, unique: 0 }
    }
}

fn total(len: usize) -> u32 {
    u32::try_from(size_of::<OutHeader>().saturating_add(len)).unwrap_or(u32::MAX)
}

/// The answer to READDIR (`struct fuse_dirent`) or READDIRPLUS (`struct fuse_direntplus`): records of 8-byte multiples.
///
/// It holds no more than the request's size, and allocates as it fills: the size is the caller's wish, not a need.
#[derive(Debug)]
pub struct DirBuffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl DirBuffer {
    const FIRST: usize = 4 << 10;
    const LARGEST: usize = 1 << 20;

    /// An empty buffer for a READDIR of `size` bytes, of which at most 1 MiB are used.
    pub fn new(size: u32) -> Self {
        Self { bytes: Vec::new(), limit: Self::LARGEST.min(size as usize) }
    }

    /// Appends a READDIR entry, or returns false and changes nothing when it does not fit.
    ///
    /// `mode` gives the kind of file (S_IF*); `next` is the offset at which a later READDIR goes on after this entry.
    pub fn push(&mut self, ino: u64, mode: u32, next: u64, name: &[u8]) -> bool {
        self.append(&dirent(ino, mode, next, name), name)
    }

    /// Appends a READDIRPLUS entry, or returns false and changes nothing when it does not fit.
    ///
    /// It counts as a LOOKUP of `entry.nodeid`, unless that is 0.
    pub fn push_plus(&mut self, entry: &EntryOut, next: u64, name: &[u8]) -> bool {
        let dirent = dirent(entry.attr.ino, entry.attr.mode, next, name);
        self.append(&Direntplus { entry: *entry, dirent }, name)
    }

    /// What follows the header of the reply; nothing means the end of the directory.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn append(&mut self, record: &(impl IntoBytes + Immutable), name: &[u8]) -> bool {
        let record = record.as_bytes();
        let Some(end) = (record.len() + name.len())
            .checked_next_multiple_of(8)
            .and_then(|size| self.bytes.len().checked_add(size))
            .filter(|end| *end <= self.limit)
        else {
            return false;
        };
        self.grow(end);
        self.bytes.extend_from_slice(record);
        self.bytes.extend_from_slice(name);
        self.bytes.resize(end, 0);
        true
    }

    /// Doubles, as a Vec does, but never beyond the limit.
    fn grow(&mut self, end: usize) {
        if end > self.bytes.capacity() {
            let capacity = Self::FIRST.max(self.bytes.capacity() * 2).max(end).min(self.limit);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }
}

/// A length beyond `u32` never reaches the kernel, for it does not fit a [`DirBuffer`].
fn dirent(ino: u64, mode: u32, off: u64, name: &[u8]) -> Dirent {
    Dirent { ino, off, namelen: name.len() as u32, kind: (mode >> 12) & 0o17 }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;
    use crate::fuse::abi::{Attr, FUSE_NOTIFY_POLL, NotifyPoll};

    #[test]
    fn headers() {
        let ok = OutHeader::ok(0x1122, 8);
        assert_eq!(ok.as_bytes(), [24, 0, 0, 0, 0, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        let interrupted = OutHeader::error(0x1122, 4);
        assert_eq!(interrupted.as_bytes(), [16, 0, 0, 0, 252, 255, 255, 255, 0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        let wake = OutHeader::notify(FUSE_NOTIFY_POLL, size_of::<NotifyPoll>());
        assert_eq!(wake.as_bytes(), [24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(OutHeader::ok(1, usize::MAX).len, u32::MAX);
    }

    #[test]
    fn entries_are_padded_to_8_bytes() {
        let mut buffer = DirBuffer::new(4096);
        assert!(buffer.push(1, 0o040755, 1, b"."));
        assert!(buffer.push(7, 0o100644, 2, b"12345678"));
        let expected = [
            1, 0, 0, 0, 0, 0, 0, 0, // ino
            1, 0, 0, 0, 0, 0, 0, 0, // off
            1, 0, 0, 0, 4, 0, 0, 0, // namelen, DT_DIR
            b'.', 0, 0, 0, 0, 0, 0, 0, // name
            7, 0, 0, 0, 0, 0, 0, 0, // ino
            2, 0, 0, 0, 0, 0, 0, 0, // off
            8, 0, 0, 0, 8, 0, 0, 0, // namelen, DT_REG
            b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', // name
        ];
        assert_eq!(buffer.as_bytes(), expected);
    }

    #[test]
    fn a_plus_entry_is_its_lookup_and_its_name() {
        let attr = Attr { ino: 7, mode: 0o100644, ..Attr::default() };
        let entry = EntryOut { nodeid: 70, attr, ..EntryOut::default() };
        let (mut plain, mut plus) = (DirBuffer::new(4096), DirBuffer::new(4096));
        assert!(plain.push(7, 0o100644, 2, b"jobs"));
        assert!(plus.push_plus(&entry, 2, b"jobs"));
        assert_eq!(plus.as_bytes(), [entry.as_bytes(), plain.as_bytes()].concat());
        assert_eq!(plus.as_bytes().len(), 160);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut buffer = DirBuffer::new(63);
        assert!(buffer.push(1, 0o040755, 1, b"."));
        assert!(!buffer.push(1, 0o040755, 2, b".."));
        assert_eq!(buffer.as_bytes().len(), 32);
        assert!(!DirBuffer::new(0).push(1, 0o040755, 1, b"."));
        assert!(!DirBuffer::new(159).push_plus(&EntryOut::default(), 1, b"."));
    }

    #[test]
    fn a_large_size_is_neither_allocated_nor_filled() {
        let mut buffer = DirBuffer::new(u32::MAX);
        assert_eq!(buffer.bytes.capacity(), 0);
        assert!(buffer.push(1, 0o040755, 1, b"."));
        assert_eq!(buffer.bytes.capacity(), 4096);
        while buffer.push(1, 0o040755, 1, &[b'x'; 255]) {}
        assert!(buffer.as_bytes().len() > (1 << 20) - 280);
        assert_eq!(buffer.bytes.capacity(), 1 << 20);
    }
}
