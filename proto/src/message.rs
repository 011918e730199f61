//! The messages. [`Request`] is what a client sends (T), [`Reply`] what a server answers (R); each borrows its strings
//! and data from the frame it was parsed from.
//!
//! Where two dialects say the same, they share a variant. `parse` takes only what the dialect has; `emit` writes
//! whatever it is given, and leaves away the fields that the dialect has not.

use std::fmt;
use std::ops::Deref;

use crate::qid::Qid;
use crate::wire::{Fault, Field, Reader, Writer};

pub mod mode;
mod reply;
mod request;
mod subject;
mod table;
#[cfg(test)]
mod tests;

pub use reply::Reply;
pub use request::Request;

/// Which messages are spoken on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `9P2000`: Plan 9, plan9port and most libraries. Before Tversion too, which is the same in all.
    #[default]
    Old,
    /// `9P2000.L`: the Linux kernel, diod.
    Linux,
    /// `9P2000.L.fs9`: all of `9P2000.L`, and verbs for whole messages.
    Own,
}

impl Dialect {
    /// Its name in Tversion.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Old => "9P2000",
            Self::Linux => "9P2000.L",
            Self::Own => "9P2000.L.fs9",
        }
    }

    /// The best dialect for a client that asks for `version`: version(5) has the server drop what follows a dot that it
    /// does not know. None for what is no 9P2000, which Rversion answers with [`UNKNOWN_VERSION`].
    pub fn negotiate(version: &str) -> Option<Self> {
        [Self::Own, Self::Linux, Self::Old].into_iter().find(|dialect| {
            let rest = version.strip_prefix(dialect.version());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// What Rversion says to a client that no dialect is had in common with.
pub const UNKNOWN_VERSION: &str = "unknown";

/// By what a request and its reply know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16);

/// A client's number for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fid(pub u32);

/// The tag of Tversion, and of messages without a reply.
pub const NO_TAG: Tag = Tag(u16::MAX);
/// No fid: the `afid` of an attach without authentication.
pub const NO_FID: Fid = Fid(u32::MAX);
/// Elements of a walk, at most (`MAXWELEM`).
pub const MAX_WALK: usize = 16;

/// Tsend and Trecv: EAGAIN instead of waiting.
pub const NONBLOCK: u8 = 1 << 0;
/// Tsend: Rsend when a reader has taken the message, instead of when it is in the channel's slot.
pub const SYNC: u8 = 1 << 1;
/// Tsend: what follows on this fid belongs to the same write.
pub const CONTINUED: u8 = 1 << 2;

/// `count[2]` and so many elements of a walk: names, or the qids they lead to.
#[derive(Clone, Copy)]
pub struct Elements<T> {
    len: u8,
    items: [T; MAX_WALK],
}

/// The names of Twalk.
pub type Names<'a> = Elements<&'a str>;
/// The qids of Rwalk.
pub type Qids = Elements<Qid>;

impl<T: Copy + Default> Elements<T> {
    /// None of them.
    pub fn none() -> Self {
        Self { len: 0, items: [T::default(); MAX_WALK] }
    }

    /// These; `None` if there are more than [`MAX_WALK`].
    pub fn new(items: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut all = Self::none();
        items.into_iter().all(|item| all.push(item)).then_some(all)
    }

    /// One more, or false.
    pub fn push(&mut self, item: T) -> bool {
        let Some(place) = self.items.get_mut(usize::from(self.len)) else { return false };
        *place = item;
        self.len += 1;
        true
    }
}

impl<T: Copy + Default> Default for Elements<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T> Deref for Elements<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T: PartialEq> PartialEq for Elements<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Elements<T> {}

impl<T: fmt::Debug> fmt::Debug for Elements<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<'a, T: Field<'a> + Copy + Default> Field<'a> for Elements<T> {
    fn take(from: &mut Reader<'a>) -> Result<Self, Fault> {
        let count: u16 = from.take()?;
        let mut all = Self::none();
        for _ in 0..count {
            // More than MAX_WALK are not even looked at.
            if !all.push(from.take()?) {
                return Err(Fault::Walk);
            }
        }
        Ok(all)
    }

    fn put(self, to: &mut Writer<'a, '_>) {
        to.put(u16::from(self.len));
        for item in &self.items[..usize::from(self.len)] {
            to.put(*item);
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (place, item) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            item.show(f)?;
        }
        f.write_str("]")
    }
}

macro_rules! numbers {
    ($($type:ident $none:ident)*) => {$(
        impl Field<'_> for $type {
            fn take(from: &mut Reader<'_>) -> Result<Self, Fault> {
                Ok(Self(from.take()?))
            }

            fn put(self, to: &mut Writer<'_, '_>) {
                to.put(self.0);
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if *self == $none { f.write_str("none") } else { fmt::Display::fmt(self, f) }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

numbers! { Tag NO_TAG Fid NO_FID }
