//! Requests: bytes in, a [`Request`] out. Every length is checked here, so that nobody after has to.

use super::layout::*;
use std::fmt;
use zerocopy::FromBytes;

/// One request, which borrows its name or data from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asks, about which node, and which reply it awaits.
    pub header: Header,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// What a request asks (`enum fuse_opcode` and the structure that belongs to each).
///
/// `name` is as the kernel sends it, without the NUL; `fh` is a handle from [`OpenOut`]; `flags` are the O_* of the open
/// file as they are now, so O_NONBLOCK is seen as soon as it is set, unless said otherwise. Variants without fields are
/// recognised but their bodies are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named as in linux/fuse.h")]
pub enum Operation<'a> {
    /// Find `name` in the directory.
    Lookup { name: &'a [u8] },
    /// The kernel dropped this many answers that named the node. No reply.
    Forget { nlookup: u64 },
    /// Many FORGETs. No reply.
    BatchForget { forgets: &'a [ForgetOne] },
    /// stat(2), or fstat(2) of `fh`.
    Getattr { fh: Option<u64> },
    /// chmod(2), chown(2), truncate(2), utimensat(2).
    Setattr(Setattr),
    /// readlink(2).
    Readlink,
    /// symlink(2).
    Symlink,
    /// mknod(2), or open(2) with O_CREAT where CREATE is refused.
    Mknod { mode: u32, rdev: u32, umask: u32, name: &'a [u8] },
    /// mkdir(2).
    Mkdir { mode: u32, umask: u32, name: &'a [u8] },
    /// unlink(2).
    Unlink { name: &'a [u8] },
    /// rmdir(2).
    Rmdir { name: &'a [u8] },
    /// rename(2), or renameat2(2) with its RENAME_* `flags`.
    Rename { newdir: u64, flags: u32, name: &'a [u8], newname: &'a [u8] },
    /// link(2).
    Link,
    /// open(2).
    Open { flags: u32 },
    /// read(2), or a piece of one: then `offset` is not 0.
    Read { fh: u64, offset: u64, size: u32, flags: u32 },
    /// write(2), or a piece of one: then `offset` is not 0.
    Write { fh: u64, offset: u64, flags: u32, data: &'a [u8] },
    /// statfs(2).
    Statfs,
    /// The last close(2) of `fh`; it is not used again.
    Release { fh: u64 },
    /// fsync(2).
    Fsync { fh: u64 },
    /// setxattr(2).
    Setxattr,
    /// getxattr(2).
    Getxattr,
    /// listxattr(2).
    Listxattr,
    /// removexattr(2).
    Removexattr,
    /// One close(2) of possibly several.
    Flush { fh: u64 },
    /// The mount begins. The mount itself has answered it.
    Init,
    /// opendir(3).
    Opendir { flags: u32 },
    /// readdir(3), into a [`DirBuffer`](super::DirBuffer).
    Readdir { fh: u64, offset: u64, size: u32 },
    /// closedir(3).
    Releasedir { fh: u64 },
    /// fsync(2) of a directory.
    Fsyncdir,
    /// access(2) and chdir(2): R_OK, W_OK, X_OK.
    Access { mask: u32 },
    /// open(2) with O_CREAT of a name that LOOKUP did not find.
    Create { flags: u32, mode: u32, umask: u32, name: &'a [u8] },
    /// The caller of the request `unique` has a signal. No reply; the other is answered EINTR.
    Interrupt { unique: u64 },
    /// The mount ends.
    Destroy,
    /// poll(2) for `events`; `flags` are FUSE_POLL_*, see [`Operation::schedule_notify`].
    Poll { fh: u64, kh: u64, flags: u32, events: u32 },
    /// READDIR with the answer of LOOKUP for each entry.
    Readdirplus { fh: u64, offset: u64, size: u32 },
    /// Everything else, which ENOSYS answers.
    Other { opcode: u32 },
}

/// What SETATTR changes (`struct fuse_setattr_in`): whatever is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setattr {
    /// The permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// The size; 0 is also what open(2) with O_TRUNC sends.
    pub size: Option<u64>,
    /// The time of the last access.
    pub atime: Option<SetTime>,
    /// The time of the last modification.
    pub mtime: Option<SetTime>,
    /// The open file it came through.
    pub fh: Option<u64>,
}

/// The time that SETATTR sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// Seconds since 1970 and nanoseconds beyond them.
    At {
        /// Negative before 1970.
        secs: i64,
        /// Below 1,000,000,000 from utimensat(2); not checked here.
        nsecs: u32,
    },
}

/// A request that is not what `linux/fuse.h` says it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed FUSE request: {fault}")]
pub struct ParseError {
    /// The request to answer with an error, when there was a header to read it from. (The kernel ignores an answer to a
    /// request that awaits none, with ENOENT.)
    pub unique: Option<u64>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There are fewer bytes than its structure has.
    #[error("shorter than its structure")]
    Short,
    /// There are bytes after the end of its structure.
    #[error("longer than its structure")]
    Long,
    /// The header's length is not that of the bytes read.
    #[error("its length is not the one it states")]
    Length,
    /// The header states more extensions than there are bytes.
    #[error("its extensions do not fit")]
    Extensions,
    /// A name lacks its NUL.
    #[error("a name without end")]
    Name,
    /// The size that WRITE states is not that of its data.
    #[error("the data are not of the size it states")]
    Data,
}

impl<'a> Request<'a> {
    /// Parses what one read(2) of /dev/fuse yielded.
    ///
    /// # Errors
    /// When any length in it is wrong. Nothing else is judged: an unknown opcode is [`Operation::Other`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, body) =
            Header::read_from_prefix(bytes).map_err(|_| ParseError { unique: None, fault: Fault::Short })?;
        match Body::new(&header, body, bytes.len()).and_then(|body| Operation::parse(header.opcode, body)) {
            Ok(operation) => Ok(Self { header, operation }),
            Err(fault) => Err(ParseError { unique: Some(header.unique), fault }),
        }
    }
}

impl<'a> Operation<'a> {
    /// Whether the poller sleeps until it is sent a [`NotifyPoll`].
    pub fn schedule_notify(&self) -> bool {
        matches!(self, Self::Poll { flags, .. } if flags & FUSE_POLL_SCHEDULE_NOTIFY != 0)
    }

    fn parse(opcode: u32, mut body: Body<'a>) -> Result<Self, Fault> {
        let Some(known) = Opcode::new(opcode) else { return Ok(Self::Other { opcode }) };
        let operation = match known {
            Opcode::Lookup => Self::Lookup { name: body.name()? },
            Opcode::Forget => Self::Forget { nlookup: body.take::<ForgetIn>()?.nlookup },
            Opcode::BatchForget => {
                let BatchForgetIn { count, .. } = body.take()?;
                Self::BatchForget { forgets: body.forgets(count)? }
            }
            Opcode::Getattr => {
                let GetattrIn { getattr_flags, fh, .. } = body.take()?;
                Self::Getattr { fh: (getattr_flags & FUSE_GETATTR_FH != 0).then_some(fh) }
            }
            Opcode::Setattr => Self::Setattr(body.take::<SetattrIn>()?.into()),
            Opcode::Mknod => {
                let MknodIn { mode, rdev, umask, .. } = body.take()?;
                Self::Mknod { mode, rdev, umask, name: body.name()? }
            }
            Opcode::Mkdir => {
                let MkdirIn { mode, umask } = body.take()?;
                Self::Mkdir { mode, umask, name: body.name()? }
            }
            Opcode::Unlink => Self::Unlink { name: body.name()? },
            Opcode::Rmdir => Self::Rmdir { name: body.name()? },
            Opcode::Rename => {
                let RenameIn { newdir } = body.take()?;
                Self::Rename { newdir, flags: 0, name: body.name()?, newname: body.name()? }
            }
            Opcode::Rename2 => {
                let Rename2In { newdir, flags, .. } = body.take()?;
                Self::Rename { newdir, flags, name: body.name()?, newname: body.name()? }
            }
            Opcode::Open => Self::Open { flags: body.take::<OpenIn>()?.flags },
            Opcode::Opendir => Self::Opendir { flags: body.take::<OpenIn>()?.flags },
            Opcode::Create => {
                let CreateIn { flags, mode, umask, .. } = body.take()?;
                Self::Create { flags, mode, umask, name: body.name()? }
            }
            Opcode::Read => {
                let ReadIn { fh, offset, size, flags, .. } = body.take()?;
                Self::Read { fh, offset, size, flags }
            }
            Opcode::Readdir => {
                let ReadIn { fh, offset, size, .. } = body.take()?;
                Self::Readdir { fh, offset, size }
            }
            Opcode::Readdirplus => {
                let ReadIn { fh, offset, size, .. } = body.take()?;
                Self::Readdirplus { fh, offset, size }
            }
            Opcode::Write => {
                let WriteIn { fh, offset, size, flags, .. } = body.take()?;
                Self::Write { fh, offset, flags, data: body.data(size)? }
            }
            Opcode::Flush => Self::Flush { fh: body.take::<FlushIn>()?.fh },
            Opcode::Release => Self::Release { fh: body.take::<ReleaseIn>()?.fh },
            Opcode::Releasedir => Self::Releasedir { fh: body.take::<ReleaseIn>()?.fh },
            Opcode::Fsync => Self::Fsync { fh: body.take::<FsyncIn>()?.fh },
            Opcode::Access => Self::Access { mask: body.take::<AccessIn>()?.mask },
            Opcode::Interrupt => Self::Interrupt { unique: body.take::<InterruptIn>()?.unique },
            Opcode::Poll => {
                let PollIn { fh, kh, flags, events } = body.take()?;
                Self::Poll { fh, kh, flags, events }
            }
            // The bodies of these are nobody's business.
            Opcode::Readlink => return Ok(Self::Readlink),
            Opcode::Symlink => return Ok(Self::Symlink),
            Opcode::Link => return Ok(Self::Link),
            Opcode::Statfs => return Ok(Self::Statfs),
            Opcode::Setxattr => return Ok(Self::Setxattr),
            Opcode::Getxattr => return Ok(Self::Getxattr),
            Opcode::Listxattr => return Ok(Self::Listxattr),
            Opcode::Removexattr => return Ok(Self::Removexattr),
            Opcode::Init => return Ok(Self::Init),
            Opcode::Fsyncdir => return Ok(Self::Fsyncdir),
            Opcode::Destroy => return Ok(Self::Destroy),
            _ => return Ok(Self::Other { opcode }),
        };
        body.end()?;
        Ok(operation)
    }
}

impl From<SetattrIn> for Setattr {
    fn from(raw: SetattrIn) -> Self {
        let has = |flag| raw.valid & flag != 0;
        let time = |set, now, secs: u64, nsecs| match (has(set), has(now)) {
            (false, _) => None,
            (true, true) => Some(SetTime::Now),
            (true, false) => Some(SetTime::At { secs: secs.cast_signed(), nsecs }),
        };
        Self {
            mode: has(FATTR_MODE).then_some(raw.mode),
            uid: has(FATTR_UID).then_some(raw.uid),
            gid: has(FATTR_GID).then_some(raw.gid),
            size: has(FATTR_SIZE).then_some(raw.size),
            atime: time(FATTR_ATIME, FATTR_ATIME_NOW, raw.atime, raw.atimensec),
            mtime: time(FATTR_MTIME, FATTR_MTIME_NOW, raw.mtime, raw.mtimensec),
            fh: has(FATTR_FH).then_some(raw.fh),
        }
    }
}

/// What is still to be read of a request, after its header and before its extensions.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn new(header: &Header, body: &'a [u8], len: usize) -> Result<Self, Fault> {
        if header.len as usize != len {
            return Err(Fault::Length);
        }
        let len = body.len().checked_sub(usize::from(header.total_extlen) * 8).ok_or(Fault::Extensions)?;
        Ok(Self(&body[..len]))
    }

    fn take<T: FromBytes>(&mut self) -> Result<T, Fault> {
        let (value, rest) = T::read_from_prefix(self.0).map_err(|_| Fault::Short)?;
        self.0 = rest;
        Ok(value)
    }

    fn name(&mut self) -> Result<&'a [u8], Fault> {
        let nul = self.0.iter().position(|byte| *byte == 0).ok_or(Fault::Name)?;
        let (name, rest) = self.0.split_at(nul);
        self.0 = &rest[1..];
        Ok(name)
    }

    fn data(&mut self, size: u32) -> Result<&'a [u8], Fault> {
        let data = std::mem::take(&mut self.0);
        if data.len() == size as usize { Ok(data) } else { Err(Fault::Data) }
    }

    fn forgets(&mut self, count: u32) -> Result<&'a [ForgetOne], Fault> {
        let (forgets, rest) =
            <[ForgetOne]>::ref_from_prefix_with_elems(self.0, count as usize).map_err(|_| Fault::Short)?;
        self.0 = rest;
        Ok(forgets)
    }

    fn end(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Long) }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { unique, nodeid, uid, pid, .. } = self.header;
        write!(f, "#{unique} node {nodeid} uid {uid} pid {pid}: {}", self.operation)
    }
}

/// One line, whatever the bytes; of data only their length, for they are not ours to tell.
impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lookup { name } => write!(f, "Lookup {}", quoted(name)),
            Self::Mknod { mode, rdev, umask, name } => {
                write!(f, "Mknod {} mode {mode:o} rdev {rdev} umask {umask:o}", quoted(name))
            }
            Self::Mkdir { mode, umask, name } => write!(f, "Mkdir {} mode {mode:o} umask {umask:o}", quoted(name)),
            Self::Unlink { name } => write!(f, "Unlink {}", quoted(name)),
            Self::Rmdir { name } => write!(f, "Rmdir {}", quoted(name)),
            Self::Rename { newdir, flags, name, newname } => {
                write!(f, "Rename {} to {} in node {newdir} flags {flags:#x}", quoted(name), quoted(newname))
            }
            Self::Create { flags, mode, umask, name } => {
                write!(f, "Create {} flags {flags:#o} mode {mode:o} umask {umask:o}", quoted(name))
            }
            Self::Write { fh, offset, flags, data } => {
                write!(f, "Write fh {fh} offset {offset} size {} flags {flags:#o}", data.len())
            }
            Self::BatchForget { forgets } => write!(f, "BatchForget {}", forgets.len()),
            Self::Other { opcode } => match Opcode::new(opcode) {
                Some(name) => write!(f, "{name:?}"),
                None => write!(f, "opcode {opcode}"),
            },
            ref numbers => write!(f, "{numbers:?}"),
        }
    }
}

fn quoted(name: &[u8]) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "'{}'", name.escape_ascii()))
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const UNIQUE: u64 = 0x1122;

    /// A request with a header of fixed numbers before these pieces of a body.
    fn request(opcode: u8, body: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![
            0, 0, 0, 0, opcode, 0, 0, 0, // len, opcode
            0x22, 0x11, 0, 0, 0, 0, 0, 0, // unique
            3, 0, 0, 0, 0, 0, 0, 0, // nodeid
            0xe8, 3, 0, 0, 0xe9, 3, 0, 0, // uid 1000, gid 1001
            77, 0, 0, 0, 0, 0, 0, 0, // pid, total_extlen, padding
        ];
        bytes.extend(body.concat());
        cut(&bytes, bytes.len())
    }

    /// The first `len` bytes, with a header (if it is whole) that agrees.
    fn cut(bytes: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = bytes[..len].to_vec();
        if let Some(stated) = bytes.get_mut(..4) {
            stated.copy_from_slice(&(len as u32).to_le_bytes());
        }
        bytes
    }

    fn with_extensions(mut bytes: Vec<u8>, units: u8) -> Vec<u8> {
        bytes[36] = units;
        bytes
    }

    #[track_caller]
    fn parsed(bytes: &[u8]) -> Operation<'_> {
        match Request::parse(bytes) {
            Ok(request) => request.operation,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], fault: Fault) {
        assert_eq!(Request::parse(bytes), Err(ParseError { unique: Some(UNIQUE), fault }));
    }

    const OPEN_FLAGS: [u8; 8] = [2, 8, 0, 0, 0, 0, 0, 0]; // O_RDWR | O_NONBLOCK, open_flags
    const READ: [u8; 40] = [
        9, 0, 0, 0, 0, 0, 0, 0, // fh
        0, 16, 0, 0, 0, 0, 0, 0, // offset
        0, 0, 2, 0, 0, 0, 0, 0, // size, read_flags
        8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
        2, 8, 0, 0, 0, 0, 0, 0, // flags, padding
    ];
    const WRITE: [u8; 40] = [
        9, 0, 0, 0, 0, 0, 0, 0, // fh
        0, 16, 0, 0, 0, 0, 0, 0, // offset
        5, 0, 0, 0, 0, 0, 0, 0, // size, write_flags
        8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
        1, 4, 0, 0, 0, 0, 0, 0, // flags: O_WRONLY | O_APPEND, padding
    ];
    const RELEASE: [u8; 24] = [9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
    const POLL: [u8; 24] = [9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x41, 0, 0, 0];
    const FORGETS: [u8; 40] = [
        2, 0, 0, 0, 0, 0, 0, 0, // count, dummy
        5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nodeid, nlookup
        6, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    ];

    fn setattr(valid: u32) -> [u8; 88] {
        let mut body = [
            0, 0, 0, 0, 0, 0, 0, 0, // valid, padding
            9, 0, 0, 0, 0, 0, 0, 0, // fh
            0, 1, 0, 0, 0, 0, 0, 0, // size
            8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
            255, 255, 255, 255, 255, 255, 255, 255, // atime -1
            10, 0, 0, 0, 0, 0, 0, 0, // mtime
            99, 0, 0, 0, 0, 0, 0, 0, // ctime
            20, 0, 0, 0, 30, 0, 0, 0, // atimensec, mtimensec
            99, 0, 0, 0, 0xa4, 0x81, 0, 0, // ctimensec, mode 0o100644
            99, 0, 0, 0, 40, 0, 0, 0, // unused4, uid
            50, 0, 0, 0, 99, 0, 0, 0, // gid, unused5
        ];
        body[..4].copy_from_slice(&valid.to_le_bytes());
        body
    }

    /// One request of each kind whose body is read.
    fn each() -> Vec<Vec<u8>> {
        vec![
            request(1, &[b"jobs\0"]),
            request(2, &[&[2, 0, 0, 0, 0, 0, 0, 0]]),
            request(3, &[&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]),
            request(4, &[&setattr(FATTR_MODE)]),
            request(8, &[&[0xa4, 0x81, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], b"jobs\0"]),
            request(9, &[&[0xed, 1, 0, 0, 18, 0, 0, 0], b"jobs\0"]),
            request(10, &[b"jobs\0"]),
            request(11, &[b"jobs\0"]),
            request(12, &[&[4, 0, 0, 0, 0, 0, 0, 0], b"old\0new\0"]),
            request(14, &[&OPEN_FLAGS]),
            request(15, &[&READ]),
            request(16, &[&WRITE, b"hello"]),
            request(18, &[&RELEASE]),
            request(20, &[&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]),
            request(25, &[&RELEASE]),
            request(27, &[&OPEN_FLAGS]),
            request(28, &[&READ]),
            request(29, &[&RELEASE]),
            request(34, &[&[4, 0, 0, 0, 0, 0, 0, 0]]),
            request(35, &[&[0x41, 0, 0, 0, 0xa4, 0x81, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], b"jobs\0"]),
            request(36, &[&[0x22, 0x11, 0, 0, 0, 0, 0, 0]]),
            request(40, &[&POLL]),
            request(42, &[&FORGETS]),
            request(44, &[&READ]),
            request(45, &[&[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], b"old\0new\0"]),
        ]
    }

    #[test]
    fn each_kind_is_shown_on_one_line() {
        let shown: Vec<String> = each().iter().map(|bytes| parsed(bytes).to_string()).collect();
        let expected = [
            "Lookup 'jobs'",
            "Forget { nlookup: 2 }",
            "Getattr { fh: Some(9) }",
            "Setattr(Setattr { mode: Some(33188), uid: None, gid: None, size: None, atime: None, mtime: None, fh: None })",
            "Mknod 'jobs' mode 100644 rdev 0 umask 22",
            "Mkdir 'jobs' mode 755 umask 22",
            "Unlink 'jobs'",
            "Rmdir 'jobs'",
            "Rename 'old' to 'new' in node 4 flags 0x0",
            "Open { flags: 2050 }",
            "Read { fh: 9, offset: 4096, size: 131072, flags: 2050 }",
            "Write fh 9 offset 4096 size 5 flags 0o2001",
            "Release { fh: 9 }",
            "Fsync { fh: 9 }",
            "Flush { fh: 9 }",
            "Opendir { flags: 2050 }",
            "Readdir { fh: 9, offset: 4096, size: 131072 }",
            "Releasedir { fh: 9 }",
            "Access { mask: 4 }",
            "Create 'jobs' flags 0o101 mode 100644 umask 22",
            "Interrupt { unique: 4386 }",
            "Poll { fh: 9, kh: 4, flags: 1, events: 65 }",
            "BatchForget 2",
            "Readdirplus { fh: 9, offset: 4096, size: 131072 }",
            "Rename 'old' to 'new' in node 4 flags 0x1",
        ];
        assert_eq!(shown, expected);
        let lookup = request(1, &[b"a\n\xff\0"]);
        let shown = Request::parse(&lookup).map(|request| request.to_string());
        assert_eq!(shown.as_deref(), Ok(r"#4386 node 3 uid 1000 pid 77: Lookup 'a\n\xff'"));
    }

    #[test]
    fn each_kind_is_refused_at_every_shorter_length() {
        for whole in each() {
            for len in 0..whole.len() {
                let unique = (len >= 40).then_some(UNIQUE);
                let error = Request::parse(&cut(&whole, len)).expect_err("shorter, and says so");
                assert_eq!(error.unique, unique, "{error}");
                let error = Request::parse(&whole[..len]).expect_err("shorter than it says");
                let fault = if len < 40 { Fault::Short } else { Fault::Length };
                assert_eq!(error, ParseError { unique, fault });
            }
        }
    }

    #[test]
    fn each_kind_is_refused_when_longer() {
        for mut whole in each() {
            whole.push(0);
            refused(&whole, Fault::Length);
            let fault = if whole[4] == 16 { Fault::Data } else { Fault::Long };
            refused(&cut(&whole, whole.len()), fault);
        }
    }

    #[test]
    fn header() {
        let bytes = request(1, &[b"jobs\0"]);
        let header = Request::parse(&bytes).map(|request| request.header);
        let expected = Header {
            len: 45,
            opcode: 1,
            unique: UNIQUE,
            nodeid: 3,
            uid: 1000,
            gid: 1001,
            pid: 77,
            total_extlen: 0,
            padding: 0,
        };
        assert_eq!(header, Ok(expected));
    }

    #[test]
    fn names_end_with_their_nul() {
        assert_eq!(parsed(&request(1, &[b"jobs\0"])), Operation::Lookup { name: b"jobs" });
        assert_eq!(parsed(&request(1, &[b"\0"])), Operation::Lookup { name: b"" });
        refused(&request(1, &[]), Fault::Name);
        refused(&request(1, &[b"jobs"]), Fault::Name);
        refused(&request(1, &[b"jobs\0more\0"]), Fault::Long);
        refused(&request(12, &[&[4, 0, 0, 0, 0, 0, 0, 0], b"old\0"]), Fault::Name);
    }

    #[test]
    fn extensions_are_left_out() {
        let bytes = request(9, &[&[0xed, 1, 0, 0, 18, 0, 0, 0], b"jobs\0", &[1; 16]]);
        refused(&bytes, Fault::Long);
        let mkdir = Operation::Mkdir { mode: 0o755, umask: 0o22, name: b"jobs" };
        assert_eq!(parsed(&with_extensions(bytes.clone(), 2)), mkdir);
        refused(&with_extensions(bytes.clone(), 3), Fault::Short); // they cover the name and more
        refused(&with_extensions(bytes, 4), Fault::Extensions);
    }

    #[test]
    fn write_is_of_the_size_it_states() {
        let bytes = request(16, &[&WRITE, b"hello"]);
        assert_eq!(parsed(&bytes), Operation::Write { fh: 9, offset: 4096, flags: 0o2001, data: b"hello" });
        refused(&request(16, &[&WRITE, b"hell"]), Fault::Data);
        refused(&request(16, &[&WRITE, b"hello!"]), Fault::Data);
        let mut lying = bytes;
        lying[56..60].copy_from_slice(&u32::MAX.to_le_bytes());
        refused(&lying, Fault::Data);
    }

    #[test]
    fn setattr_gives_what_is_valid() {
        let nothing = Setattr::default();
        let at = |secs, nsecs| Some(SetTime::At { secs, nsecs });
        let transcript = [
            (0, nothing),
            (FATTR_MODE, Setattr { mode: Some(0o100644), ..nothing }),
            (FATTR_UID | FATTR_GID, Setattr { uid: Some(40), gid: Some(50), ..nothing }),
            (FATTR_SIZE | FATTR_FH, Setattr { size: Some(256), fh: Some(9), ..nothing }),
            (FATTR_ATIME | FATTR_MTIME, Setattr { atime: at(-1, 20), mtime: at(10, 30), ..nothing }),
            (FATTR_ATIME | FATTR_ATIME_NOW, Setattr { atime: Some(SetTime::Now), ..nothing }),
            (FATTR_MTIME | FATTR_MTIME_NOW, Setattr { mtime: Some(SetTime::Now), ..nothing }),
        ];
        for (valid, expected) in transcript {
            assert_eq!(parsed(&request(4, &[&setattr(valid)])), Operation::Setattr(expected));
        }
    }

    #[test]
    fn batch_forget_lends_its_entries() {
        let bytes = request(42, &[&FORGETS]);
        let Operation::BatchForget { forgets } = parsed(&bytes) else { panic!("no BATCH_FORGET") };
        let forgets: Vec<_> = forgets.iter().map(|one| (one.nodeid.get(), one.nlookup.get())).collect();
        assert_eq!(forgets, [(5, 1), (6, 2)]);
        let mut lying = bytes;
        lying[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        refused(&lying, Fault::Short);
    }

    #[test]
    fn getattr_has_a_handle_only_when_it_says_so() {
        let bytes = request(3, &[&[0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(parsed(&bytes), Operation::Getattr { fh: None });
    }

    #[test]
    fn poll_says_whether_to_notify() {
        let bytes = request(40, &[&POLL]);
        assert!(parsed(&bytes).schedule_notify());
        let mut awake = bytes;
        awake[56] = 0;
        assert!(!parsed(&awake).schedule_notify());
    }

    #[test]
    fn what_is_not_read_is_recognised() {
        assert_eq!(parsed(&request(22, &[&[0; 8], b"user.x\0"])), Operation::Getxattr);
        assert_eq!(parsed(&request(6, &[b"name\0target\0"])), Operation::Symlink);
        assert_eq!(parsed(&request(26, &[&[0; 64]])), Operation::Init);
        let bytes = request(39, &[&[0; 32]]);
        assert_eq!(parsed(&bytes), Operation::Other { opcode: 39 });
        assert_eq!(parsed(&bytes).to_string(), "Ioctl");
        assert_eq!(parsed(&request(200, &[])).to_string(), "opcode 200");
    }
}
