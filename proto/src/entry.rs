//! An entry of a directory as Rreaddir has it.

use std::fmt;

use crate::message::Dialect;
use crate::qid::Qid;
use crate::wire::{Fault, Field, Reader, Writer};

/// `qid[13] offset[8] type[1] name[s]`: an entry of a directory as Rreaddir has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The file.
    pub qid: Qid,
    /// Where to go on after this entry.
    pub offset: u64,
    /// DT_* of readdir(3).
    pub kind: u8,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Entry<'a> {
    /// [`Entry::kind`] of a directory (`DT_DIR`).
    pub const DIR: u8 = 4;
    /// [`Entry::kind`] of a file (`DT_REG`).
    pub const FILE: u8 = 8;

    /// Bytes on the wire.
    pub const fn size(&self) -> usize {
        Qid::SIZE + 8 + 1 + 2 + self.name.len()
    }

    /// Appends it. False, and nothing appended, when `out` would be longer than `room` bytes: a reply has whole entries
    /// only.
    pub fn list(&self, room: usize, out: &mut Vec<u8>) -> bool {
        let fits = out.len() + self.size() <= room;
        if fits {
            self.put(&mut Writer::bare(Dialect::Linux, out));
        }
        fits
    }

    /// The entries of a reply.
    pub fn listed(data: &'a [u8]) -> impl Iterator<Item = Result<Self, Fault>> {
        Reader { dialect: Dialect::Linux, bytes: data }.list()
    }
}

impl<'a> Field<'a> for Entry<'a> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Self { qid: from.take()?, offset: from.take()?, kind: from.take()?, name: from.take()? })
    }

    fn put(self, to: &mut Writer<'a, '_>) {
        to.put(self.qid);
        to.put(self.offset);
        to.put(self.kind);
        to.put(self.name);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { qid, offset, name, .. } = self;
        write!(f, "'{}' {qid} offset {offset}", name.escape_debug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_has_whole_entries_as_far_as_there_is_room() {
        let entry =
            |name| Entry { qid: Qid { kind: Qid::FILE, version: 0, path: 7 }, offset: 1, kind: Entry::FILE, name };
        let mut out = Vec::new();
        assert!(entry("jobs").list(60, &mut out) && entry("log").list(60, &mut out));
        assert!(!entry("x").list(60, &mut out), "27 and 28 bytes are there, and 25 more would be too many");
        let names = Entry::listed(&out).map(|entry| entry.map(|entry| entry.name));
        assert_eq!(names.collect::<Vec<_>>(), [Ok("jobs"), Ok("log")]);
        let cut = Entry::listed(&out[..50]).map(|entry| entry.map(|entry| entry.name));
        assert_eq!(cut.collect::<Vec<_>>(), [Ok("jobs"), Err(Fault::Short)]);
    }
}
