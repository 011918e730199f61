//! Attributes as 9P2000.L has them: what getattr shows, what setattr changes, what statfs shows.

use std::fmt;

use crate::qid::Qid;
use crate::wire::{Fault, Field, Reader, Writer};

/// Bits of `request_mask` and `valid`: all that stat(2) shows (`P9_GETATTR_BASIC`).
pub const BASIC: u64 = 0x7ff;

/// `sec[8] nsec[8]`: a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970; negative before.
    pub secs: i64,
    /// Nanoseconds beyond them, below 1,000,000,000.
    pub nsecs: u32,
}

impl Field<'_> for Time {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Self::new(from.take()?, from.take()?)
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(self.secs);
        to.put(u64::from(self.nsecs));
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.secs, self.nsecs)
    }
}

impl Time {
    fn new(secs: i64, nsecs: u64) -> Result<Self, Fault> {
        let nsecs = u32::try_from(nsecs).ok().filter(|nsecs| *nsecs < 1_000_000_000).ok_or(Fault::Value)?;
        Ok(Self { secs, nsecs })
    }
}

/// What Rgetattr tells: the fields of stat(2).
///
/// `valid[8] qid[13] mode[4] uid[4] gid[4] nlink[8] rdev[8] size[8] blksize[8] blocks[8] atime[16] mtime[16] ctime[16]
/// btime[16] gen[8] data_version[8]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attr {
    /// Which fields mean something: [`BASIC`] is all but the last three.
    pub valid: u64,
    /// The file.
    pub qid: Qid,
    /// S_IF* and the permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u64,
    /// The device, of a device node.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// The preferred size of I/O.
    pub blksize: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Of the last access.
    pub atime: Time,
    /// Of the last modification.
    pub mtime: Time,
    /// Of the last change of status.
    pub ctime: Time,
    /// Of creation.
    pub btime: Time,
    /// Generation of the inode.
    pub generation: u64,
    /// Version of the contents.
    pub data_version: u64,
}

impl Field<'_> for Attr {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self {
            valid: from.take()?,
            qid: from.take()?,
            mode: from.take()?,
            uid: from.take()?,
            gid: from.take()?,
            nlink: from.take()?,
            rdev: from.take()?,
            size: from.take()?,
            blksize: from.take()?,
            blocks: from.take()?,
            atime: from.take()?,
            mtime: from.take()?,
            ctime: from.take()?,
            btime: from.take()?,
            generation: from.take()?,
            data_version: from.take()?,
        })
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(self.valid);
        to.put(self.qid);
        for field in [self.mode, self.uid, self.gid] {
            to.put(field);
        }
        for field in [self.nlink, self.rdev, self.size, self.blksize, self.blocks] {
            to.put(field);
        }
        for field in [self.atime, self.mtime, self.ctime, self.btime] {
            to.put(field);
        }
        to.put(self.generation);
        to.put(self.data_version);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { qid, mode, uid, gid, size, .. } = self;
        write!(f, "{qid} mode {mode:o} uid {uid} gid {gid} size {size}")
    }
}

/// What Tsetattr changes: whatever is given.
///
/// `valid[4] mode[4] uid[4] gid[4] size[8] atime[16] mtime[16]`. A time whose bit is set without its SET bit is the
/// server's present. Bits that Linux has not defined are ignored, and so are the fields without a bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
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
    /// The time of the last change of status becomes the present.
    pub ctime: bool,
}

/// The time that setattr sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The server's present.
    Now,
    /// This one.
    At(Time),
}

const MODE: u32 = 1 << 0;
const UID: u32 = 1 << 1;
const GID: u32 = 1 << 2;
const SIZE: u32 = 1 << 3;
const ATIME: u32 = 1 << 4;
const MTIME: u32 = 1 << 5;
const CTIME: u32 = 1 << 6;
const ATIME_SET: u32 = 1 << 7;
const MTIME_SET: u32 = 1 << 8;

impl SetTime {
    fn new(valid: u32, (bit, set): (u32, u32), secs: i64, nsecs: u64) -> Result<Option<Self>, Fault> {
        Ok(match (valid & bit != 0, valid & set != 0) {
            (false, _) => None,
            (true, false) => Some(Self::Now),
            (true, true) => Some(Self::At(Time::new(secs, nsecs)?)),
        })
    }

    const fn bits(time: Option<Self>, (bit, set): (u32, u32)) -> u32 {
        match time {
            None => 0,
            Some(Self::Now) => bit,
            Some(Self::At(_)) => bit | set,
        }
    }

    fn time(time: Option<Self>) -> Time {
        if let Some(Self::At(time)) = time { time } else { Time::default() }
    }
}

impl SetAttr {
    fn valid(&self) -> u32 {
        let bits = [
            (self.mode.is_some(), MODE),
            (self.uid.is_some(), UID),
            (self.gid.is_some(), GID),
            (self.size.is_some(), SIZE),
            (self.ctime, CTIME),
        ];
        let times = SetTime::bits(self.atime, (ATIME, ATIME_SET)) | SetTime::bits(self.mtime, (MTIME, MTIME_SET));
        bits.iter().filter(|(given, _)| *given).fold(times, |valid, (_, bit)| valid | bit)
    }
}

impl Field<'_> for SetAttr {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let valid: u32 = from.take()?;
        let has = |bit| valid & bit != 0;
        Ok(Self {
            mode: Some(from.take()?).filter(|_| has(MODE)),
            uid: Some(from.take()?).filter(|_| has(UID)),
            gid: Some(from.take()?).filter(|_| has(GID)),
            size: Some(from.take()?).filter(|_| has(SIZE)),
            atime: SetTime::new(valid, (ATIME, ATIME_SET), from.take()?, from.take()?)?,
            mtime: SetTime::new(valid, (MTIME, MTIME_SET), from.take()?, from.take()?)?,
            ctime: has(CTIME),
        })
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(self.valid());
        for field in [self.mode, self.uid, self.gid] {
            to.put(field.unwrap_or(0));
        }
        to.put(self.size.unwrap_or(0));
        to.put(SetTime::time(self.atime));
        to.put(SetTime::time(self.mtime));
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.valid())?;
        let given = [("mode", self.mode.map(u64::from)), ("uid", self.uid.map(u64::from))];
        let given = given.into_iter().chain([("gid", self.gid.map(u64::from)), ("size", self.size)]);
        for (name, value) in given.filter_map(|(name, value)| Some((name, value?))) {
            if name == "mode" { write!(f, " mode {value:o}")? } else { write!(f, " {name} {value}")? }
        }
        Ok(())
    }
}

/// What Rstatfs tells: the fields of statfs(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statfs {
    /// The kind of file system, a magic number.
    pub kind: u32,
    /// The preferred size of I/O.
    pub bsize: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub bfree: u64,
    /// Blocks free to users other than root.
    pub bavail: u64,
    /// Files in all.
    pub files: u64,
    /// Files that can still be made.
    pub ffree: u64,
    /// The id of the file system.
    pub fsid: u64,
    /// The longest name, in bytes.
    pub namelen: u32,
}

impl Field<'_> for Statfs {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self {
            kind: from.take()?,
            bsize: from.take()?,
            blocks: from.take()?,
            bfree: from.take()?,
            bavail: from.take()?,
            files: from.take()?,
            ffree: from.take()?,
            fsid: from.take()?,
            namelen: from.take()?,
        })
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(self.kind);
        to.put(self.bsize);
        for field in [self.blocks, self.bfree, self.bavail, self.files, self.ffree, self.fsid] {
            to.put(field);
        }
        to.put(self.namelen);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, files, ffree, .. } = self;
        write!(f, "{kind:#x} files {files} free {ffree}")
    }
}
