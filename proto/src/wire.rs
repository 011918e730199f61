//! Integers, strings and lists as 9P writes them: little-endian; a string is `length[2]` and UTF-8; a list is
//! `count[2]` and its elements. Nothing is allocated here, whatever a length says.

use std::fmt::{self, Write as _};

use crate::message::{Dialect, Tag};

/// A frame that is not a message of its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {fault}")]
pub struct ParseError {
    /// The tag to answer with an error, when the frame is long enough to have one.
    pub tag: Option<Tag>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends before its last field does.
    #[error("it ends too early")]
    Short,
    /// Bytes follow its last field.
    #[error("it goes on after its end")]
    Long,
    /// `size[4]` is not the number of its bytes.
    #[error("its size is not what it says")]
    Size,
    /// The dialect has no message of this number in this direction.
    #[error("no message has the number {0}")]
    Number(u8),
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A walk of more than [`MAX_WALK`](crate::message::MAX_WALK) elements.
    #[error("a walk has more than 16 elements")]
    Walk,
    /// A field has a value that means nothing.
    #[error("a field has a value that means nothing")]
    Value,
}

/// What is still to be read of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub dialect: Dialect,
    pub bytes: &'a [u8],
}

/// What a field of a message can be.
pub(crate) trait Field<'a>: Sized {
    /// Reads one from the front.
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault>;
    /// Appends one.
    fn put(self, to: &mut Writer<'a, '_>);
    /// On one line, for the log; of data only the length.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl<'a> Reader<'a> {
    pub fn take<T: Field<'a>>(&mut self) -> Result<T, Fault> {
        T::take(self)
    }

    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Fault::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// All that is left: data whose length is the frame's.
    pub fn rest(&mut self) -> Result<&'a [u8], Fault> {
        Ok(std::mem::take(&mut self.bytes))
    }

    /// `reason[s]`, which only the last dialect has.
    pub fn reason(&mut self) -> Result<&'a str, Fault> {
        if self.dialect == Dialect::Own { self.take() } else { Ok("") }
    }

    /// One after the other to the end; nothing follows an error.
    pub fn list<T: Field<'a>>(mut self) -> impl Iterator<Item = Result<T, Fault>> {
        std::iter::from_fn(move || {
            let next = (!self.bytes.is_empty()).then(|| self.take())?;
            if next.is_err() {
                self.bytes = &[];
            }
            Some(next)
        })
    }

    pub fn end(self) -> Result<(), Fault> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Fault::Long) }
    }
}

/// One frame that is being appended to a buffer.
#[derive(Debug)]
pub(crate) struct Writer<'a, 'o> {
    pub dialect: Dialect,
    pub out: &'o mut Vec<u8>,
    start: usize,
    /// The data at the end of the message, which the caller writes.
    data: &'a [u8],
}

impl<'a, 'o> Writer<'a, 'o> {
    /// Begins a frame with `size[4] number[1] tag[2]`.
    pub fn new(dialect: Dialect, number: u8, tag: Tag, out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend([0; 4]);
        out.push(number);
        out.extend(tag.0.to_le_bytes());
        Self { dialect, out, start, data: &[] }
    }

    /// Fields without a frame around them.
    pub fn bare(dialect: Dialect, out: &'o mut Vec<u8>) -> Self {
        Self { dialect, start: out.len(), out, data: &[] }
    }

    pub fn put(&mut self, field: impl Field<'a>) {
        field.put(self);
    }

    pub fn rest(&mut self, data: &'a [u8]) {
        self.data = data;
    }

    pub fn reason(&mut self, reason: &'a str) {
        if self.dialect == Dialect::Own {
            self.put(reason);
        }
    }

    /// Writes the size. The data returned belongs to the frame and is not yet in the buffer.
    pub fn end(self) -> &'a [u8] {
        let size = self.out.len() - self.start + self.data.len();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        if let Some(place) = self.out[self.start..].first_chunk_mut() {
            *place = size.to_le_bytes();
        }
        self.data
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Field<'_> for $type {
            fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
                let (taken, rest) = from.bytes.split_first_chunk().ok_or(Fault::Short)?;
                from.bytes = rest;
                Ok(Self::from_le_bytes(*taken))
            }

            fn put(self, to: &mut Writer<'_, '_>) {
                to.out.extend(self.to_le_bytes());
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 i32 i64 }

/// `length[2]` and UTF-8.
impl<'a> Field<'a> for &'a str {
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault> {
        let len: u16 = from.take()?;
        std::str::from_utf8(from.bytes(len.into())?).map_err(|_| Fault::Utf8)
    }

    /// What is longer than a string can be is cut at a character.
    fn put(self, to: &mut Writer<'a, '_>) {
        let cut = &self[..self.floor_char_boundary(u16::MAX.into())];
        to.put(cut.len() as u16);
        to.out.extend(cut.as_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.escape_debug())
    }
}

/// `count[4] data[count]`, at the end of a message.
impl<'a> Field<'a> for &'a [u8] {
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault> {
        let count: u32 = from.take()?;
        from.bytes(usize::try_from(count).map_err(|_| Fault::Short)?)
    }

    fn put(self, to: &mut Writer<'a, '_>) {
        to.put(u32::try_from(self.len()).unwrap_or(u32::MAX));
        to.data = self;
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// `n_uname[4]`, which 9P2000 has not; all ones is nobody.
impl Field<'_> for Option<u32> {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(match from.dialect {
            Dialect::Old => None,
            Dialect::Linux | Dialect::Own => Some(from.take()?).filter(|uid| *uid != u32::MAX),
        })
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        if to.dialect != Dialect::Old {
            to.put(self.unwrap_or(u32::MAX));
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(uid) => fmt::Display::fmt(uid, f),
            None => f.write_str("none"),
        }
    }
}

/// One byte, 0 or 1.
impl Field<'_> for bool {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        match from.take::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Fault::Value),
        }
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.put(u8::from(self));
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 16 bytes that mean nothing here.
impl Field<'_> for [u8; 16] {
    fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
        let (taken, rest) = from.bytes.split_first_chunk().ok_or(Fault::Short)?;
        from.bytes = rest;
        Ok(*taken)
    }

    fn put(self, to: &mut Writer<'_, '_>) {
        to.out.extend(self);
    }

    /// Whoever knows it can resume the session, so the log is not told.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == [0; 16] { "none" } else { "(secret)" })
    }
}

/// The number and tag of a whole frame, and what follows them.
pub(crate) fn head(dialect: Dialect, frame: &[u8]) -> Result<(u8, Tag, Reader<'_>), ParseError> {
    let mut body = Reader { dialect, bytes: frame };
    let mut fields = || Ok((body.take::<u32>()?, body.take()?, body.take()?));
    let (size, number, tag) = fields().map_err(|fault| ParseError { tag: None, fault })?;
    if u32::try_from(frame.len()) == Ok(size) {
        Ok((number, tag, body))
    } else {
        Err(ParseError { tag: Some(tag), fault: Fault::Size })
    }
}

/// The name of a message as the manuals write it behind its T or R.
pub(crate) fn lower(name: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| name.chars().try_for_each(|letter| f.write_char(letter.to_ascii_lowercase())))
}
