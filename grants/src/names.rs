//! Which names a grant is about.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The directory below which other nodes' trees are: what is there belongs to others, and goes with no other name.
const FAR: &str = "n";

/// The root of a mount, as a name and as a path.
const ROOT: &str = ".";

/// Names in a mount, relative to its root: 1 to 16, sorted and distinct.
///
/// A name covers itself and all that is below it; with a `*` at its end, all paths that begin so; `.` is the whole
/// tree. Other nodes' trees, `n` and what is below, are covered by names that begin with `n/` or are `n`, and by no
/// others.
///
/// ```
/// use fs9_grants::Names;
///
/// let names = Names::new(["jobs", "worker-*"])?;
/// assert!(names.cover("jobs") && names.cover("jobs/today") && names.cover("worker-1/log"));
/// assert!(!names.cover("jobs2") && !names.cover("worker"));
/// # Ok::<(), fs9_grants::NamesError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names(Vec<Name>);

/// Why something is not the names of a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamesError {
    /// None, or too many.
    #[error("a grant has 1 to {most} names, and not {0}", most = Names::MOST)]
    Count(usize),
    /// One is too long.
    #[error("a name of a grant has at most {most} bytes, and not {0}", most = Names::LONGEST)]
    Long(usize),
    /// One is not the path of anything.
    #[error("'{}' is not a path inside of a mount: write it without / at either end, and without . and ..", .0.escape_debug())]
    Path(String),
    /// They come sorted, and none twice: there is one way to sign the same.
    #[error("the names are not in order")]
    Order,
}

impl Names {
    /// So many names a grant may have.
    pub const MOST: usize = 16;
    /// So many bytes a name may have.
    pub const LONGEST: usize = 255;

    /// The set of these names.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Names, NamesError> {
        let mut names = names.into_iter().map(|name| Name::new(name.into())).collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        Names::sorted(names)
    }

    fn sorted(names: Vec<Name>) -> Result<Names, NamesError> {
        if names.is_empty() || names.len() > Names::MOST {
            return Err(NamesError::Count(names.len()));
        }
        if !names.is_sorted_by(|one, next| one < next) {
            return Err(NamesError::Order);
        }
        Ok(Names(names))
    }

    /// Whether one of them covers `path`: `.` or names with `/` between them.
    pub fn cover(&self, path: &str) -> bool {
        self.0.iter().any(|name| name.covers(path))
    }

    /// Whether one of them is `path`, word for word.
    pub fn name(&self, path: &str) -> bool {
        self.0.iter().any(|name| name.0 == path)
    }

    /// Whether `path` is one of them or on the way to one.
    pub fn lead_through(&self, path: &str) -> bool {
        self.0.iter().any(|name| name.leads_through(path))
    }

    /// Whether all that `others` cover is covered.
    pub fn include(&self, others: &Names) -> bool {
        others.0.iter().all(|other| self.0.iter().any(|name| name.includes(other)))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| name.0.as_str())
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.iter().enumerate() {
            write!(f, "{}{}", if number == 0 { "" } else { ", " }, name.escape_debug())?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_seq(NamesVisitor)
    }
}

/// Takes names one by one, and never believes how many there are to be.
struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the names of a grant")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = from.next_element()? {
            names.push(Name::new(name).map_err(de::Error::custom)?);
            if names.len() > Names::MOST {
                break;
            }
        }
        Names::sorted(names).map_err(de::Error::custom)
    }
}

/// One of the names, see [`Names`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Name(String);

impl Name {
    fn new(name: String) -> Result<Name, NamesError> {
        let part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if name.len() > Names::LONGEST {
            Err(NamesError::Long(name.len()))
        } else if name != ROOT && !name.split('/').all(part) {
            Err(NamesError::Path(name))
        } else {
            Ok(Name(name))
        }
    }

    /// What all paths that it covers begin with, if it ends with `*`.
    fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    fn covers(&self, path: &str) -> bool {
        if within(path, FAR) && !within(&self.0, FAR) {
            return false;
        }
        match self.prefix() {
            _ if self.0 == ROOT => true,
            Some(prefix) => path != ROOT && path.starts_with(prefix),
            None => within(path, &self.0),
        }
    }

    fn leads_through(&self, path: &str) -> bool {
        let last = match self.prefix() {
            Some(prefix) => prefix.rsplit_once('/').map_or(ROOT, |(directory, _)| directory),
            None => &self.0,
        };
        path == ROOT || within(last, path)
    }

    fn includes(&self, other: &Name) -> bool {
        let no_longer = match (self.prefix(), other.prefix()) {
            (Some(prefix), Some(other)) => prefix.len() <= other.len(),
            _ => true,
        };
        // Written with its `*` a prefix is a path like all that it covers, and beyond that only `a**` would cover `a*`.
        no_longer && self.covers(&other.0)
    }
}

/// Whether `path` is `directory` or below it, by whole names.
fn within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
