//! `qid[13]`: what a server knows a file by.

use std::fmt;

use crate::wire::{Fault, Field, Reader, Writer};

/// `type[1] version[4] path[8]`: what a server knows a file by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Qid {
    /// [`Qid::DIR`] or [`Qid::FILE`], and other bits of the 9P manual that fs9 never sets.
    pub kind: u8,
    /// Changes with the contents; 0 is never cached.
    pub version: u32,
    /// The file: as an inode number, and never used again.
    pub path: u64,
}

impl Qid {
    /// A directory (`QTDIR`).
    pub const DIR: u8 = 0x80;
    /// [`Qid::kind`] of the file of Tauth (QTAUTH).
    pub const AUTH: u8 = 0x08;
    /// Whatever else (`QTFILE`).
    pub const FILE: u8 = 0;
    /// Bytes on the wire.
    pub const SIZE: usize = 13;

    /// Whether it is a directory's.
    pub const fn is_dir(self) -> bool {
        self.kind & Self::DIR != 0
    }
}

impl Field<'_> for Qid {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self { kind: from.take()?, version: from.take()?, path: from.take()? })
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(self.kind);
        to.put(self.version);
        to.put(self.path);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As `fcall(3)` of Plan 9 shows it: path, version, and `d` for a directory.
impl fmt::Display for Qid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, path, .. } = self;
        write!(f, "({path:016x} {version}{})", if self.is_dir() { " d" } else { "" })
    }
}
