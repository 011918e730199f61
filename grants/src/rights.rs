//! What may be done with a name.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::text;

/// One thing that may be done with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Receive messages, read texts.
    Read,
    /// Send messages.
    Write,
    /// See what is in a directory.
    List,
    /// Make, remove, rename, and change modes and times.
    Create,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 4] = [Right::Read, Right::Write, Right::List, Right::Create];

    /// Its name in options, texts and the audit.
    pub fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::List => "list",
            Right::Create => "create",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A set of rights.
///
/// ```
/// use fs9_grants::{Right, Rights};
///
/// let rights = Rights::from(Right::Read) | Right::List;
/// assert_eq!(rights.to_string(), "read list");
/// assert!(rights.includes(Right::Read.into()) && !rights.includes(Right::Write.into()));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None at all.
    pub const NONE: Rights = Rights(0);

    /// Whether all of `others` are among them.
    pub fn includes(self, others: Rights) -> bool {
        self.0 & others.0 == others.0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |&right| self.includes(right.into()))
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Rights {
        Rights(1 << right as u8)
    }
}

impl BitOr<Right> for Rights {
    type Output = Rights;

    fn bitor(self, right: Right) -> Rights {
        Rights(self.0 | Rights::from(right).0)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Rights {
        rights.into_iter().fold(Rights::NONE, BitOr::bitor)
    }
}

impl TryFrom<u8> for Rights {
    type Error = &'static str;

    /// Bits that mean nothing are refused: they might mean something to who signed them.
    fn try_from(bits: u8) -> Result<Rights, &'static str> {
        let rights = Rights(bits);
        let all = Right::ALL.into_iter().collect::<Rights>();
        if all.includes(rights) { Ok(rights) } else { Err("there are rights that nobody knows") }
    }
}

/// There is a word that is none of a right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a right: there are read, write, list and create", .0.escape_debug())]
pub struct RightsError(String);

impl FromStr for Rights {
    type Err = RightsError;

    fn from_str(text: &str) -> Result<Rights, RightsError> {
        let right = |word: &str| Right::ALL.into_iter().find(|right| right.word() == word);
        text.split_whitespace().map(|word| right(word).ok_or_else(|| RightsError(word.to_owned()))).collect()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rights, D::Error> {
        if from.is_human_readable() {
            return text::deserialize(from);
        }
        Rights::try_from(u8::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Right::word).collect();
        f.pad(&words.join(" "))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_bits_and_words() {
        let rights = Rights::from(Right::Write) | Right::Create | Right::Write;
        assert_eq!(rights.0, 0b1010);
        assert_eq!(Rights::try_from(0b1010), Ok(rights));
        assert_eq!(rights.to_string(), "write create");
        assert_eq!("create  write".parse(), Ok(rights));
        assert_eq!("".parse(), Ok(Rights::NONE));
        assert_eq!("write all".parse::<Rights>(), Err(RightsError("all".into())));
        assert_eq!(format!("{rights:?} {:>5}", Right::Read), "Rights(write create)  read");
        assert_eq!(Right::ALL.into_iter().collect::<Rights>().to_string(), "read write list create");
    }

    #[test]
    fn a_set_includes_what_is_in_it() {
        let (read, both) = (Rights::from(Right::Read), Rights::from(Right::Read) | Right::Write);
        assert!(both.includes(read) && both.includes(both) && both.includes(Rights::NONE));
        assert!(!read.includes(both) && !read.includes(Right::Write.into()) && !Rights::NONE.includes(read));
    }

    #[test]
    fn unknown_bits_are_refused() {
        for bits in 0..=u8::MAX {
            assert_eq!(Rights::try_from(bits).is_ok(), bits < 16, "{bits}");
        }
    }
}
