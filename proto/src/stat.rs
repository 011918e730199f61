//! Attributes as 9P2000 has them (stat(5)): in Rstat, in Twstat, and one after the other in what a directory's read
//! returns.

use std::fmt;

use crate::message::Dialect;
use crate::qid::Qid;
use crate::wire::{Fault, Field, Reader, Writer};

/// The mode bit of a directory (`DMDIR`); the low nine bits are the permissions.
pub const DMDIR: u32 = 0x8000_0000;

/// `size[2] type[2] dev[4] qid[13] mode[4] atime[4] mtime[4] length[8] name[s] uid[s] gid[s] muid[s]`, where `size`
/// counts what follows it. Rstat and Twstat have its length before it once more, in two bytes.
///
/// In Twstat, all ones or an empty string leave a field as it is: [`Stat::KEEP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat<'a> {
    /// For the kernel's use; 0.
    pub kind: u16,
    /// For the kernel's use; 0.
    pub dev: u32,
    /// The file.
    pub qid: Qid,
    /// [`DMDIR`] and the permission bits.
    pub mode: u32,
    /// Seconds of the last access since 1970.
    pub atime: u32,
    /// Seconds of the last modification since 1970.
    pub mtime: u32,
    /// Bytes; 0 of a directory.
    pub length: u64,
    /// The last element of the path; `/` of the root.
    pub name: &'a str,
    /// The owner's name.
    pub uid: &'a str,
    /// The group's name.
    pub gid: &'a str,
    /// Who modified it last.
    pub muid: &'a str,
}

/// The bytes before the strings, without `size[2]`.
const FIXED: usize = 2 + 4 + Qid::SIZE + 4 + 4 + 4 + 8;

impl<'a> Stat<'a> {
    /// A wstat that changes nothing, which the manual makes a sync of the file.
    pub const KEEP: Self = Self {
        kind: u16::MAX,
        dev: u32::MAX,
        qid: Qid { kind: u8::MAX, version: u32::MAX, path: u64::MAX },
        mode: u32::MAX,
        atime: u32::MAX,
        mtime: u32::MAX,
        length: u64::MAX,
        name: "",
        uid: "",
        gid: "",
        muid: "",
    };

    /// Bytes on the wire, `size[2]` included.
    pub const fn size(&self) -> usize {
        2 + FIXED + 4 * 2 + self.name.len() + self.uid.len() + self.gid.len() + self.muid.len()
    }

    /// Appends it as a directory's read has it. False, and nothing appended, when `out` would be longer than `room`
    /// bytes: a read returns whole entries only.
    pub fn list(&self, room: usize, out: &mut Vec<u8>) -> bool {
        let fits = out.len() + self.size() <= room && self.size() - 2 <= u16::MAX.into();
        if fits {
            self.put(&mut Writer::bare(Dialect::Old, out));
        }
        fits
    }

    /// The entries that a directory's read has returned.
    pub fn listed(data: &'a [u8]) -> impl Iterator<Item = Result<Self, Fault>> {
        Reader { dialect: Dialect::Old, bytes: data }.list()
    }
}

impl<'a> Field<'a> for Stat<'a> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault> {
        let size: u16 = from.take()?;
        let mut body = Reader { dialect: from.dialect, bytes: from.bytes(size.into())? };
        let stat = Self {
            kind: body.take()?,
            dev: body.take()?,
            qid: body.take()?,
            mode: body.take()?,
            atime: body.take()?,
            mtime: body.take()?,
            length: body.take()?,
            name: body.take()?,
            uid: body.take()?,
            gid: body.take()?,
            muid: body.take()?,
        };
        body.end()?;
        Ok(stat)
    }

    fn put(self, to: &mut Writer<'a, '_>) {
        to.put((self.size() - 2).min(u16::MAX.into()) as u16);
        to.put(self.kind);
        to.put(self.dev);
        to.put(self.qid);
        for field in [self.mode, self.atime, self.mtime] {
            to.put(field);
        }
        to.put(self.length);
        for field in [self.name, self.uid, self.gid, self.muid] {
            to.put(field);
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { qid, mode, length, name, uid, gid, .. } = self;
        write!(f, "'{}' {qid} mode {mode:o} uid '{}'", name.escape_debug(), uid.escape_debug())?;
        write!(f, " gid '{}' length {length}", gid.escape_debug())
    }
}

/// The length once more before it, as Rstat and Twstat have it.
impl<'a> Reader<'a> {
    pub(crate) fn counted(&mut self) -> Result<Stat<'a>, Fault> {
        let size: u16 = self.take()?;
        let mut body = Reader { dialect: self.dialect, bytes: self.bytes(size.into())? };
        let stat = body.take()?;
        body.end()?;
        Ok(stat)
    }
}

impl<'a> Writer<'a, '_> {
    pub(crate) fn counted(&mut self, stat: Stat<'a>) {
        self.put(stat.size().min(u16::MAX.into()) as u16);
        self.put(stat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_whole_entries_as_far_as_there_is_room() {
        let stat = |name| Stat { kind: 0, dev: 0, length: 0, name, uid: "u", gid: "g", muid: "m", ..Stat::KEEP };
        let mut out = Vec::new();
        assert!(stat("jobs").list(111, &mut out) && stat("log").list(111, &mut out));
        assert_eq!((out.len(), stat("x").list(111, &mut out)), (56 + 55, false));
        let names = Stat::listed(&out).map(|stat| stat.map(|stat| stat.name));
        assert_eq!(names.collect::<Vec<_>>(), [Ok("jobs"), Ok("log")]);
        out[0] -= 1;
        assert_eq!(Stat::listed(&out).map(|stat| stat.is_ok()).collect::<Vec<_>>(), [false]);
        let long = "n".repeat(70_000);
        assert!(!stat(&long).list(100_000, &mut out), "it cannot say its size");
    }
}
