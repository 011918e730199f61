//! A mapping of an anonymous file (memfd_create(2)) that two processes share.
//!
//! The other process is not trusted: it may write anything at any time. Three things follow. The size of the file is
//! sealed before anybody maps it: a file that is cut under a mapping takes the process that touches it down by SIGBUS
//! (mmap(2)). Nothing is ever referred to as anything but atomics: bytes are copied in and out through raw pointers, so
//! that what another process writes meanwhile is a wrong byte and never a broken reference. And every place is checked
//! against the length, so that a place which the other process named is safe to pass on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

use crate::slot::Mark;

/// The seals without which a mapping is not safe to touch.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A file system of ordinary pages (statfs(2)): the only one beside hugetlbfs whose files can be sealed.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Types that may lie in memory which another process changes.
///
/// # Safety
/// The type consists of atomics only, without padding and without anything that must be dropped, and every bit pattern
/// is a valid value of it.
pub unsafe trait Shared {}

// SAFETY: an atomic, for which every bit pattern is a number.
unsafe impl Shared for AtomicU32 {}

// SAFETY: a `repr(C)` struct of nothing but `AtomicU32`s.
unsafe impl Shared for Mark {}

/// A shared mapping of a whole sealed file of `LEN` bytes.
#[derive(Debug)]
pub struct Map<const LEN: usize> {
    start: NonNull<u8>,
}

// SAFETY: the mapping belongs to no thread: it stays where it is until the drop, which has the only reference left.
unsafe impl<const LEN: usize> Send for Map<LEN> {}

// SAFETY: references are given out to atomics only. The copies are not ordered among themselves, which the callers see
// to (see `write`).
unsafe impl<const LEN: usize> Sync for Map<LEN> {}

impl<const LEN: usize> Map<LEN> {
    /// The length in bytes.
    pub const LEN: usize = LEN;

    /// A new file of `LEN` bytes, all zero, whose size can never change, and its mapping. `name` is only seen in /proc.
    /// Memory is taken as pages are touched.
    ///
    /// # Errors
    /// `InvalidInput` when `LEN` is not a number of whole pages; EMFILE, ENFILE and ENOMEM (memfd_create(2), mmap(2)).
    pub fn create(name: &str) -> io::Result<(OwnedFd, Self)> {
        if LEN == 0 || !LEN.is_multiple_of(page_size()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a mapping is of whole pages"));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let memfd = memfd_create(name, flags)?;
        ftruncate(&memfd, LEN as u64)?;
        // Of the size, because of SIGBUS; and of the seals themselves, so that nobody can forbid writing later on.
        fcntl_add_seals(&memfd, FIXED_SIZE | SealFlags::SEAL)?;
        let map = Self::of(&memfd)?;
        Ok((memfd, map))
    }

    /// Maps a file of `LEN` bytes that another process has made.
    ///
    /// # Errors
    /// `InvalidData`, which says why, for what is no memfd, could be cut while it is mapped, is of another size or of
    /// huge pages; ENOMEM; EPERM and EACCES for one which is not to be written.
    pub fn open(memfd: impl AsFd) -> io::Result<Self> {
        let refused = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        // The seals first: only an anonymous file has them, and of any other the calls below might wait for a server
        // that never answers (FUSE).
        match fcntl_get_seals(&memfd) {
            Ok(seals) if seals.contains(FIXED_SIZE) => {}
            Ok(_) => return refused("the shared memory could change its size: it is not sealed"),
            Err(Errno::INVAL | Errno::BADF) => return refused("the shared memory is not an anonymous file"),
            Err(error) => return Err(error.into()),
        }
        if u64::try_from(fstat(&memfd)?.st_size) != Ok(LEN as u64) {
            return refused("the shared memory is of another size");
        }
        // A hole punched into huge pages is filled from a pool that may be empty, and that is SIGBUS again.
        if u64::try_from(fstatfs(&memfd)?.f_type) != Ok(TMPFS_MAGIC) {
            return refused("the shared memory is not of ordinary pages");
        }
        Self::of(memfd)
    }

    fn of(memfd: impl AsFd) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without MAP_FIXED the kernel chooses a place that nothing else occupies.
        let start = unsafe { mmap(ptr::null_mut(), LEN, access, MapFlags::SHARED, memfd, 0)? };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Map { start })
    }

    /// The words at byte `AT`, which both processes may change at any time. A place outside does not compile.
    pub fn at<T: Shared, const AT: usize>(&self) -> &T {
        const { assert!(AT.is_multiple_of(align_of::<T>()) && align_of::<T>() <= 4096 && AT + size_of::<T>() <= LEN) };
        // SAFETY: as asserted when this was compiled, the place lies within the mapping, which outlives the reference,
        // and is aligned, as the mapping itself is to its pages. T is atomics only, valid for every bit pattern: what
        // the other process writes is a change of an atomic.
        unsafe { self.start.add(AT).cast().as_ref() }
    }

    /// Copies `bytes` to byte `at`. False, and nothing is written, when they would not lie within the mapping.
    ///
    /// Copies are not ordered by themselves. Threads of this process that copy at the same place of one mapping take
    /// turns, by words with acquire and release; against the other process nothing is needed but that what is read is
    /// checked.
    #[must_use]
    pub fn write(&self, at: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.place(at, bytes.len()) else { return false };
        // SAFETY: the place has room for the bytes within the mapping. They do not overlap: no reference to plain bytes
        // of the mapping is ever made, so `bytes` is elsewhere. The other process may read or write meanwhile: then
        // what it reads or what remains is torn, which harms whoever breaks the protocol and no memory of ours.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place.as_ptr(), bytes.len()) };
        true
    }

    /// Fills `into` from byte `at`. False, and nothing is read, when that is out of bounds. See [`Map::write`].
    #[must_use]
    pub fn read(&self, at: usize, into: &mut [u8]) -> bool {
        let Some(place) = self.place(at, into.len()) else { return false };
        // SAFETY: as many bytes lie within the mapping from the place on, and `into` is elsewhere, being our own. The
        // other process may write meanwhile: the copy may then be torn or wrong, but every byte of it is a valid u8,
        // and it does not change any more once it is ours.
        unsafe { ptr::copy_nonoverlapping(place.as_ptr(), into.as_mut_ptr(), into.len()) };
        true
    }

    /// A copy of the `len` bytes at byte `at`. None when out of bounds. See [`Map::write`].
    pub fn read_vec(&self, at: usize, len: usize) -> Option<Vec<u8>> {
        let place = self.place(at, len)?;
        let mut copy = Vec::<u8>::with_capacity(len);
        // SAFETY: `len` bytes lie within the mapping from the place on, and the vector has room for as many elsewhere.
        // The other process may write meanwhile: the copy may then be torn or wrong, but every byte of it is a valid
        // u8. All `len` of them have been written before they become the vector's.
        unsafe {
            ptr::copy_nonoverlapping(place.as_ptr(), copy.as_mut_ptr(), len);
            copy.set_len(len);
        }
        Some(copy)
    }

    /// Has the kernel put up to `len` bytes at byte `at`, by one read(2) from `source`.
    ///
    /// # Errors
    /// EFAULT when out of bounds; those of read(2).
    pub fn fill(&self, at: usize, len: usize, source: impl AsFd) -> io::Result<usize> {
        let place = self.place(at, len).ok_or(Errno::FAULT)?;
        // SAFETY: `len` bytes from the place on lie within the mapping; the kernel writes no more, and no reference to
        // them exists.
        let done = unsafe { libc::read(source.as_fd().as_raw_fd(), place.as_ptr().cast(), len) };
        usize::try_from(done).map_err(|_| io::Error::last_os_error())
    }

    /// Has the kernel take up to `len` bytes from byte `at`, by one write(2) to `target`.
    ///
    /// # Errors
    /// EFAULT when out of bounds; those of write(2).
    pub fn drain(&self, at: usize, len: usize, target: impl AsFd) -> io::Result<usize> {
        let place = self.place(at, len).ok_or(Errno::FAULT)?;
        // SAFETY: `len` bytes from the place on lie within the mapping, and the kernel only reads them.
        let done = unsafe { libc::write(target.as_fd().as_raw_fd(), place.as_ptr().cast(), len) };
        usize::try_from(done).map_err(|_| io::Error::last_os_error())
    }

    /// The place of `len` bytes at byte `at`, if all of them lie within the mapping.
    fn place(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at.checked_add(len)? > LEN {
            return None;
        }
        // SAFETY: `at` is not past the end of the mapping, so that the sum stays within it.
        Some(unsafe { self.start.add(at) })
    }
}

impl<const LEN: usize> Drop for Map<LEN> {
    fn drop(&mut self) {
        // SAFETY: this is the whole of a mapping of ours, and no reference into it outlives `self`.
        // It fails only for a range that is none, so there is nobody to tell.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), LEN) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    const PAGE: usize = 4096;
    const LEN: usize = 2 * PAGE;

    fn refusal<const LEN: usize>(memfd: impl AsFd) -> String {
        let error = Map::<LEN>::open(memfd).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.to_string()
    }

    fn unsealed(len: u64) -> OwnedFd {
        let memfd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("a memfd");
        ftruncate(&memfd, len).expect("a size");
        memfd
    }

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let (memfd, here) = Map::<LEN>::create("test").expect("a mapping");
        let there = Map::<LEN>::open(&memfd).expect("the same again");
        drop(memfd);

        assert_eq!(there.read_vec(0, LEN), Some(vec![0; LEN]));
        assert!(here.write(PAGE - 2, b"over a page"));
        assert_eq!(there.read_vec(PAGE - 2, 11).as_deref(), Some(&b"over a page"[..]));
        let mut into = [0; 4];
        assert!(there.read(PAGE + 5, &mut into));
        assert_eq!(&into, b"page");

        here.at::<AtomicU32, 8>().store(7, Relaxed);
        let word = there.at::<AtomicU32, 8>();
        assert_eq!(word.load(Relaxed), 7);

        drop(here);
        assert_eq!(word.load(Relaxed), 7, "each mapping is on its own");
    }

    #[test]
    fn no_place_outside_is_touched() {
        let (_memfd, map) = Map::<PAGE>::create("test").expect("a mapping");
        assert!(map.write(PAGE, b""));
        assert!(!map.write(PAGE + 1, b""));
        assert!(map.write(PAGE - 1, b"1"));
        assert!(!map.write(PAGE - 1, b"12"));
        assert!(!map.write(usize::MAX, b"1"));
        assert!(!map.read(PAGE, &mut [0]));
        assert_eq!(map.read_vec(1, usize::MAX), None);
        assert_eq!(map.read_vec(PAGE - 1, 1).as_deref(), Some(&b"1"[..]));
        assert_eq!(map.read_vec(PAGE, 0), Some(vec![]));
    }

    #[test]
    fn a_file_that_could_be_cut_is_refused() {
        assert_eq!(refusal::<PAGE>(unsealed(PAGE as u64)), "the shared memory could change its size: it is not sealed");
        let half = unsealed(PAGE as u64);
        fcntl_add_seals(&half, SealFlags::SHRINK).expect("one seal");
        assert_eq!(refusal::<PAGE>(&half), "the shared memory could change its size: it is not sealed");
        fcntl_add_seals(&half, SealFlags::GROW).expect("the other");
        Map::<PAGE>::open(&half).expect("both are enough");

        let (memfd, _map) = Map::<LEN>::create("test").expect("a mapping");
        assert_eq!(refusal::<PAGE>(&memfd), "the shared memory is of another size");
        assert_eq!(refusal::<{ LEN - 1 }>(&memfd), "the shared memory is of another size");
        assert_eq!(refusal::<{ 2 * LEN }>(&memfd), "the shared memory is of another size");
        let (reader, _writer) = io::pipe().expect("a pipe");
        assert_eq!(refusal::<PAGE>(reader), "the shared memory is not an anonymous file");
    }

    #[test]
    fn a_file_of_huge_pages_is_refused() {
        const HUGE: usize = 2 << 20;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        let Ok(memfd) = memfd_create("test", flags) else { return }; // a kernel without
        ftruncate(&memfd, HUGE as u64).expect("a size");
        fcntl_add_seals(&memfd, FIXED_SIZE).expect("seals");
        assert_eq!(refusal::<HUGE>(&memfd), "the shared memory is not of ordinary pages");
    }

    #[test]
    fn the_size_is_for_ever() {
        let (memfd, map) = Map::<PAGE>::create("test").expect("a mapping");
        assert_eq!(ftruncate(&memfd, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&memfd, LEN as u64), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&memfd, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
        assert!(map.write(0, b"still there"));
        assert_eq!(Map::<0>::create("test").expect_err("refused").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Map::<{ PAGE + 1 }>::create("test").expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    }
}
