//! The structures of `linux/fuse.h`, field for field and in its order, and the constants that go with them.
//!
//! What the kernel sends is `FromBytes`; what it receives is `IntoBytes`. Padding is written out, as in C, because the
//! kernel must not be sent uninitialised bytes; leave it zero.

use zerocopy::native_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes, Unaligned};

/// The node id of the mount's root (`FUSE_ROOT_ID`).
pub const FUSE_ROOT_ID: u64 = 1;

/// `fuse_setattr_in.valid`: the mode is set.
pub const FATTR_MODE: u32 = 1 << 0;
/// `fuse_setattr_in.valid`: the owner is set.
pub const FATTR_UID: u32 = 1 << 1;
/// `fuse_setattr_in.valid`: the group is set.
pub const FATTR_GID: u32 = 1 << 2;
/// `fuse_setattr_in.valid`: the size is set, as truncate(2) does.
pub const FATTR_SIZE: u32 = 1 << 3;
/// `fuse_setattr_in.valid`: the access time is set.
pub const FATTR_ATIME: u32 = 1 << 4;
/// `fuse_setattr_in.valid`: the modification time is set.
pub const FATTR_MTIME: u32 = 1 << 5;
/// `fuse_setattr_in.valid`: the request came through an open file.
pub const FATTR_FH: u32 = 1 << 6;
/// `fuse_setattr_in.valid`: the access time is the present, whatever `atime` says.
pub const FATTR_ATIME_NOW: u32 = 1 << 7;
/// `fuse_setattr_in.valid`: the modification time is the present, whatever `mtime` says.
pub const FATTR_MTIME_NOW: u32 = 1 << 8;

/// `fuse_open_out.open_flags`: bypass the page cache, so that each read(2) and write(2) reaches the server.
pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// `fuse_open_out.open_flags`: do not invalidate the page cache on open.
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// `fuse_open_out.open_flags`: lseek(2) fails with ESPIPE.
pub const FOPEN_NONSEEKABLE: u32 = 1 << 2;
/// `fuse_open_out.open_flags`: the kernel may cache this directory.
pub const FOPEN_CACHE_DIR: u32 = 1 << 3;
/// `fuse_open_out.open_flags`: there is no file position; each system call starts at offset 0.
pub const FOPEN_STREAM: u32 = 1 << 4;
/// `fuse_open_out.open_flags`: no FLUSH on close.
pub const FOPEN_NOFLUSH: u32 = 1 << 5;
/// `fuse_open_out.open_flags`: writers of one inode need not wait for each other (but O_APPEND always does).
pub const FOPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;

/// `fuse_getattr_in.getattr_flags`: `fh` is valid.
pub const FUSE_GETATTR_FH: u32 = 1 << 0;

/// `fuse_poll_in.flags`: the poller sleeps, and waits for a [`NotifyPoll`].
pub const FUSE_POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

/// The notification that wakes a poller (`enum fuse_notify_code`).
pub const FUSE_NOTIFY_POLL: i32 = 1;

/// `enum fuse_opcode`: what a request asks. `Debug` gives its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, TryFromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(u32)]
#[expect(missing_docs, reason = "each is named as in linux/fuse.h, and means the system call of that name")]
pub enum Opcode {
    Lookup = 1,
    Forget = 2,
    Getattr = 3,
    Setattr = 4,
    Readlink = 5,
    Symlink = 6,
    Mknod = 8,
    Mkdir = 9,
    Unlink = 10,
    Rmdir = 11,
    Rename = 12,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    Statfs = 17,
    Release = 18,
    Fsync = 20,
    Setxattr = 21,
    Getxattr = 22,
    Listxattr = 23,
    Removexattr = 24,
    Flush = 25,
    Init = 26,
    Opendir = 27,
    Readdir = 28,
    Releasedir = 29,
    Fsyncdir = 30,
    Getlk = 31,
    Setlk = 32,
    Setlkw = 33,
    Access = 34,
    Create = 35,
    Interrupt = 36,
    Bmap = 37,
    Destroy = 38,
    Ioctl = 39,
    Poll = 40,
    NotifyReply = 41,
    BatchForget = 42,
    Fallocate = 43,
    Readdirplus = 44,
    Rename2 = 45,
    Lseek = 46,
    CopyFileRange = 47,
    Setupmapping = 48,
    Removemapping = 49,
    Syncfs = 50,
    Tmpfile = 51,
    Statx = 52,
    CopyFileRange64 = 53,
}

impl Opcode {
    /// The opcode of this number, if it is one we know the name of.
    pub fn new(number: u32) -> Option<Self> {
        Self::try_read_from_bytes(number.as_bytes()).ok()
    }
}

/// `struct fuse_attr`: what stat(2) shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct Attr {
    /// The inode number, which need not be the node id.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Seconds of the last access.
    pub atime: u64,
    /// Seconds of the last modification.
    pub mtime: u64,
    /// Seconds of the last change of status.
    pub ctime: u64,
    /// Nanoseconds beyond `atime`.
    pub atimensec: u32,
    /// Nanoseconds beyond `mtime`.
    pub mtimensec: u32,
    /// Nanoseconds beyond `ctime`.
    pub ctimensec: u32,
    /// S_IF* and the permission bits.
    pub mode: u32,
    /// Links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device, of a device node.
    pub rdev: u32,
    /// The preferred size of I/O.
    pub blksize: u32,
    /// FUSE_ATTR_*; zero.
    pub flags: u32,
}

/// `struct fuse_kstatfs`, the whole of `struct fuse_statfs_out`: what statfs(2) shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct StatfsOut {
    /// Blocks of `frsize` bytes in all.
    pub blocks: u64,
    /// Blocks free.
    pub bfree: u64,
    /// Blocks free to users other than root.
    pub bavail: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub ffree: u64,
    /// The preferred size of I/O.
    pub bsize: u32,
    /// The longest name, in bytes.
    pub namelen: u32,
    /// The size of a block.
    pub frsize: u32,
    /// Zero.
    pub padding: u32,
    /// Zero.
    pub spare: [u32; 6],
}

/// `struct fuse_entry_out`: the answer to LOOKUP, MKNOD and MKDIR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct EntryOut {
    /// By what id the kernel names the file from now on; 0 caches that there is none.
    pub nodeid: u64,
    /// With `nodeid`, unique for the life of the mount.
    pub generation: u64,
    /// Seconds for which the kernel may remember the name.
    pub entry_valid: u64,
    /// Seconds for which it may remember the attributes.
    pub attr_valid: u64,
    /// Nanoseconds beyond `entry_valid`.
    pub entry_valid_nsec: u32,
    /// Nanoseconds beyond `attr_valid`.
    pub attr_valid_nsec: u32,
    /// The file's attributes.
    pub attr: Attr,
}

/// `struct fuse_forget_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct ForgetIn {
    pub nlookup: u64,
}

/// `struct fuse_forget_one`: how many of the LOOKUP answers for a node the kernel has dropped.
///
/// Its fields are unaligned, so that a slice of them can be lent straight from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ForgetOne {
    /// The node.
    pub nodeid: U64,
    /// How many answers.
    pub nlookup: U64,
}

/// `struct fuse_batch_forget_in`; `count` times [`ForgetOne`] follow.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct BatchForgetIn {
    pub count: u32,
    _dummy: u32,
}

/// `struct fuse_getattr_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct GetattrIn {
    pub getattr_flags: u32,
    _dummy: u32,
    pub fh: u64,
}

/// `struct fuse_attr_out`: the answer to GETATTR and SETATTR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct AttrOut {
    /// Seconds for which the kernel may remember the attributes.
    pub attr_valid: u64,
    /// Nanoseconds beyond `attr_valid`.
    pub attr_valid_nsec: u32,
    /// Zero.
    pub dummy: u32,
    /// The file's attributes.
    pub attr: Attr,
}

/// `struct fuse_mknod_in`; the name follows.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct MknodIn {
    pub mode: u32,
    pub rdev: u32,
    pub umask: u32,
    _padding: u32,
}

/// `struct fuse_mkdir_in`; the name follows.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct MkdirIn {
    pub mode: u32,
    pub umask: u32,
}

/// `struct fuse_rename_in`; the old and the new name follow.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct RenameIn {
    pub newdir: u64,
}

/// `struct fuse_rename2_in`; the old and the new name follow.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct Rename2In {
    pub newdir: u64,
    pub flags: u32,
    _padding: u32,
}

/// `struct fuse_setattr_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct SetattrIn {
    pub valid: u32,
    _padding: u32,
    pub fh: u64,
    pub size: u64,
    _lock_owner: u64,
    pub atime: u64,
    pub mtime: u64,
    _ctime: u64,
    pub atimensec: u32,
    pub mtimensec: u32,
    _ctimensec: u32,
    pub mode: u32,
    _unused4: u32,
    pub uid: u32,
    pub gid: u32,
    _unused5: u32,
}

/// `struct fuse_open_in`, of OPEN and OPENDIR.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct OpenIn {
    pub flags: u32,
    _open_flags: u32,
}

/// `struct fuse_create_in`; the name follows.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct CreateIn {
    pub flags: u32,
    pub mode: u32,
    pub umask: u32,
    _open_flags: u32,
}

/// `struct fuse_open_out`: the answer to OPEN and OPENDIR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct OpenOut {
    /// The handle by which the kernel names the open file from now on.
    pub fh: u64,
    /// FOPEN_*.
    pub open_flags: u32,
    /// Zero. Later versions have the id of a backing file here.
    pub padding: u32,
}

/// `struct fuse_entry_out` and `struct fuse_open_out`: the answer to CREATE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct CreateOut {
    /// The new file.
    pub entry: EntryOut,
    /// It, opened.
    pub open: OpenOut,
}

/// `struct fuse_release_in`, of RELEASE and RELEASEDIR.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct ReleaseIn {
    pub fh: u64,
    _flags: u32,
    _release_flags: u32,
    _lock_owner: u64,
}

/// `struct fuse_flush_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct FlushIn {
    pub fh: u64,
    _unused: u32,
    _padding: u32,
    _lock_owner: u64,
}

/// `struct fuse_read_in`, of READ, READDIR and READDIRPLUS.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct ReadIn {
    pub fh: u64,
    pub offset: u64,
    pub size: u32,
    _read_flags: u32,
    _lock_owner: u64,
    pub flags: u32,
    _padding: u32,
}

/// `struct fuse_write_in`; the data follow.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct WriteIn {
    pub fh: u64,
    pub offset: u64,
    pub size: u32,
    _write_flags: u32,
    _lock_owner: u64,
    pub flags: u32,
    _padding: u32,
}

/// `struct fuse_write_out`: the answer to WRITE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct WriteOut {
    /// How many bytes were taken.
    pub size: u32,
    /// Zero.
    pub padding: u32,
}

/// `struct fuse_fsync_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct FsyncIn {
    pub fh: u64,
    _fsync_flags: u32,
    _padding: u32,
}

/// `struct fuse_access_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct AccessIn {
    pub mask: u32,
    _padding: u32,
}

/// `struct fuse_interrupt_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct InterruptIn {
    pub unique: u64,
}

/// `struct fuse_poll_in`.
#[derive(FromBytes)]
#[repr(C)]
pub(super) struct PollIn {
    pub fh: u64,
    pub kh: u64,
    pub flags: u32,
    pub events: u32,
}

/// `struct fuse_poll_out`: the answer to POLL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct PollOut {
    /// POLLIN, POLLOUT, ..., as poll(2) has them.
    pub revents: u32,
    /// Zero.
    pub padding: u32,
}

/// `struct fuse_notify_poll_wakeup_out`: wakes the poller that gave `kh`. Its header is
/// `OutHeader::notify(FUSE_NOTIFY_POLL, size_of::<NotifyPoll>())`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct NotifyPoll {
    /// The poller's handle, from its POLL.
    pub kh: u64,
}

/// `struct fuse_in_header`: what every request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub struct Header {
    /// The length of the request, this header included.
    pub len: u32,
    /// What is asked; see [`Opcode::new`].
    pub opcode: u32,
    /// The request's id, which its reply repeats.
    pub unique: u64,
    /// The file or directory it is about.
    pub nodeid: u64,
    /// The caller's user (fsuid).
    pub uid: u32,
    /// The caller's group (fsgid).
    pub gid: u32,
    /// The caller's thread id, in our pid namespace; 0 when the kernel itself asks, as in RELEASE.
    pub pid: u32,
    /// The length of the extensions at the end, in units of 8 bytes.
    pub total_extlen: u16,
    /// Unused.
    pub padding: u16,
}

/// `struct fuse_out_header`: what every reply and notification begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoBytes, Immutable)]
#[repr(C)]
pub struct OutHeader {
    /// The length of the reply, this header included.
    pub len: u32,
    /// 0, or a negated errno; in a notification its code.
    pub error: i32,
    /// The request that is answered; 0 in a notification.
    pub unique: u64,
}

/// `struct fuse_dirent`; the name follows, and zeros up to a multiple of 8 bytes.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Dirent {
    pub ino: u64,
    pub off: u64,
    pub namelen: u32,
    pub kind: u32,
}

/// `struct fuse_direntplus`; the name follows, as with [`Dirent`].
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Direntplus {
    pub entry: EntryOut,
    pub dirent: Dirent,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes a C compiler gives for `linux/fuse.h` 7.38.
    #[test]
    fn sizes_are_those_of_the_header() {
        assert_eq!(size_of::<Attr>(), 88);
        assert_eq!(size_of::<StatfsOut>(), 80);
        assert_eq!(size_of::<EntryOut>(), 128);
        assert_eq!(size_of::<ForgetIn>(), 8);
        assert_eq!(size_of::<ForgetOne>(), 16);
        assert_eq!(size_of::<BatchForgetIn>(), 8);
        assert_eq!(size_of::<GetattrIn>(), 16);
        assert_eq!(size_of::<AttrOut>(), 104);
        assert_eq!(size_of::<MknodIn>(), 16);
        assert_eq!(size_of::<MkdirIn>(), 8);
        assert_eq!(size_of::<RenameIn>(), 8);
        assert_eq!(size_of::<Rename2In>(), 16);
        assert_eq!(size_of::<SetattrIn>(), 88);
        assert_eq!(size_of::<OpenIn>(), 8);
        assert_eq!(size_of::<CreateIn>(), 16);
        assert_eq!(size_of::<OpenOut>(), 16);
        assert_eq!(size_of::<CreateOut>(), 144);
        assert_eq!(size_of::<ReleaseIn>(), 24);
        assert_eq!(size_of::<FlushIn>(), 24);
        assert_eq!(size_of::<ReadIn>(), 40);
        assert_eq!(size_of::<WriteIn>(), 40);
        assert_eq!(size_of::<WriteOut>(), 8);
        assert_eq!(size_of::<FsyncIn>(), 16);
        assert_eq!(size_of::<AccessIn>(), 8);
        assert_eq!(size_of::<InterruptIn>(), 8);
        assert_eq!(size_of::<PollIn>(), 24);
        assert_eq!(size_of::<PollOut>(), 8);
        assert_eq!(size_of::<NotifyPoll>(), 8);
        assert_eq!(size_of::<Header>(), 40);
        assert_eq!(size_of::<OutHeader>(), 16);
        assert_eq!(size_of::<Dirent>(), 24);
        assert_eq!(size_of::<Direntplus>(), 152);
    }

    #[test]
    fn opcodes_have_names_and_gaps_have_none() {
        assert_eq!(Opcode::new(1), Some(Opcode::Lookup));
        assert_eq!(Opcode::new(45), Some(Opcode::Rename2));
        for unknown in [0, 7, 19, 54, 4096, u32::MAX] {
            assert_eq!(Opcode::new(unknown), None);
        }
    }
}
