//! The memory of a channel between processes: where things lie in it, and messages as they lie there.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;

use crate::message::{LIMIT, SMALL, STAGE, Sink, Source};
use crate::sys::map::Map;

/// Where things lie in the memory of a slot. The marks are in different pairs of cache lines; a short message shares
/// its sender's, and the page. Long ones go to two areas in turn, so that the next can be written while one is copied
/// out.
pub(super) mod layout {
    use crate::message::LIMIT;
    use crate::slot::Mark;

    pub const TAKEN: usize = 0;
    pub const SENT: usize = 128;
    /// Where a short message begins.
    pub const MESSAGE: usize = SENT + size_of::<Mark>();
    /// Where the areas begin.
    pub const LONG: usize = 4096;
    /// In an area, where the bytes of a message begin that is written in place: its header is before them.
    pub const IN_PLACE: usize = 64;
    pub const AREA: usize = (IN_PLACE + LIMIT).next_multiple_of(4096);
    /// Whole pages, also where they have 64 KiB.
    pub const SLOT: usize = (LONG + 2 * AREA).next_multiple_of(65536);
    pub const MEMORY: usize = 2 * SLOT;

    /// Where long message `number` goes. The one before it may still be copied out of the other area; that of the one
    /// before that is free, as a side takes one message after the other.
    pub const fn area(number: u32) -> usize {
        LONG + (number % 2) as usize * AREA
    }
}

/// The shared memory of a channel.
pub(crate) type Memory = Map<{ layout::MEMORY }>;

/// The part of a slot that a message is written to: the short place, or an area when it turns out to be long.
pub(super) struct Room<'a> {
    map: &'a Memory,
    slot: usize,
    area: usize,
    /// Where the message begins, in the slot.
    pub start: usize,
    pub len: usize,
}

impl<'a> Room<'a> {
    pub fn new(map: &'a Memory, slot: usize, number: u32) -> Self {
        Room { map, slot, area: layout::area(number), start: layout::MESSAGE, len: 0 }
    }

    fn move_to_area(&mut self) -> bool {
        let written = self.map.read_vec(self.slot + self.start, self.len);
        self.start = self.area;
        written.is_some_and(|written| self.map.write(self.slot + self.start, &written))
    }
}

impl Sink for Room<'_> {
    fn extend(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        let is_short = layout::MESSAGE + end <= layout::LONG;
        let has_place = is_short || self.start == self.area || self.move_to_area();
        let fits = has_place && end <= LIMIT && self.map.write(self.slot + self.start + self.len, bytes);
        self.len += if fits { bytes.len() } else { 0 };
        fits
    }

    fn extend_staged(&mut self, bytes: &[u8; STAGE], len: usize) -> bool {
        let at = self.start + self.len;
        let is_short = at + STAGE <= layout::LONG;
        if !is_short || !self.map.write(self.slot + at, bytes) {
            return self.extend(&bytes[..len]);
        }
        self.len += len;
        true
    }
}

/// Bytes of a message in the memory, which are written or read in place. The other process may change them meanwhile.
pub(crate) struct Span<'a> {
    pub(super) map: &'a Memory,
    /// In the memory.
    pub(super) begin: usize,
    pub(super) len: usize,
}

impl Span<'_> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to byte `at`; false, and nothing is written, where they do not fit.
    pub fn write(&self, at: usize, bytes: &[u8]) -> bool {
        self.has(at, bytes.len()) && self.map.write(self.begin + at, bytes)
    }

    /// Copies from byte `at`; false where there are not so many.
    pub fn read(&self, at: usize, into: &mut [u8]) -> bool {
        self.has(at, into.len()) && self.map.read(self.begin + at, into)
    }

    /// Fills from byte `at` on with one read(2).
    pub fn fill(&self, at: usize, source: impl AsFd) -> io::Result<usize> {
        self.map.fill(self.begin + at, self.len.saturating_sub(at), source)
    }

    /// Writes from byte `at` on with one write(2).
    pub fn drain(&self, at: usize, target: impl AsFd) -> io::Result<usize> {
        self.map.drain(self.begin + at, self.len.saturating_sub(at), target)
    }

    fn has(&self, at: usize, len: usize) -> bool {
        at.checked_add(len).is_some_and(|end| end <= self.len)
    }
}

/// A message in the memory.
pub(super) struct Lying<'a> {
    pub map: &'a Memory,
    pub slot: usize,
    pub start: usize,
    pub len: usize,
}

impl Lying<'_> {
    pub fn begin(&self) -> usize {
        self.slot + self.start
    }

    /// Whether it lies in one of the areas that are used in turn.
    pub fn is_long(&self) -> bool {
        self.start >= layout::LONG
    }
}

impl Source for Lying<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        // Within the bounds that were checked when the message was found.
        let _ = self.map.read(self.begin() + at, into);
    }

    fn read_small(&self, into: &mut [u8; SMALL]) {
        // An honest end puts no message so near to the end of the memory that there are not so many bytes.
        let _ = self.map.read(self.begin(), into);
    }

    fn read_vec(&self, at: usize, len: usize) -> Vec<u8> {
        self.map.read_vec(self.begin() + at, len).unwrap_or_default()
    }
}

/// A length in the memory, all of which are shorter than 4 GiB.
pub(super) fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
