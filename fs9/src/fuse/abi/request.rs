//! Requests: bytes in, a [`Request`] out. Every length is checked here, so that nobody after has to.

mod display;
#[cfg(all(test, target_endian = "little"))]
mod tests;

use super::layout::*;
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
/// `name` is as the kernel sends it, without the NUL; `fh` is a handle from [`OpenOut`]; `flags` are the O_* of the
/// open file as they are now, so O_NONBLOCK is seen as soon as it is set, unless said otherwise. Variants without
/// fields are recognised but their bodies are not read.
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
