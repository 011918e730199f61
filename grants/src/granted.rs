//! What a verified chain of grants allows.

use crate::{Chain, Grant, GrantId, Key, Link, Names, Right};

/// What somebody may do, who has proved the key and whose chain of grants was verified.
///
/// Paths are relative to the root of the mount, `.` for itself. Something is allowed if every grant of the chain allows
/// it, so that nobody ever has more than any of those through whose hands it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted(Chain);

impl Granted {
    /// Only of a chain that was verified.
    pub(crate) fn by(chain: Chain) -> Granted {
        Granted(chain)
    }

    /// Whether `right` is granted at `path`.
    pub fn allows(&self, path: &str, right: Right) -> bool {
        self.all(right, |names| names.cover(path))
    }

    /// Whether `right` is granted at `path` by that very name. It is asked of what stands for more than itself, such as
    /// the texts that show or control the mount.
    pub fn names(&self, path: &str, right: Right) -> bool {
        self.all(right, |names| names.name(path))
    }

    /// Whether one may walk to `path`: it was granted, or is on the way to something that was.
    pub fn shows(&self, path: &str) -> bool {
        self.grants().all(|grant| grant.names.cover(path) || grant.names.lead_through(path))
    }

    /// Whether the directory `path` may be read: where listing is granted, and on the way to what was granted.
    pub fn opens(&self, path: &str) -> bool {
        self.grants().all(|grant| match grant.names.cover(path) {
            true => grant.rights.includes(Right::List.into()),
            false => grant.names.lead_through(path),
        })
    }

    /// Whether `path` is seen when its directory is read: where listing is granted all is, and elsewhere the way to
    /// what was granted by name.
    pub fn lists(&self, path: &str) -> bool {
        self.grants().all(|grant| {
            let lists = grant.rights.includes(Right::List.into()) && grant.names.cover(path);
            lists || grant.names.lead_through(path)
        })
    }

    /// Who may.
    pub fn holder(&self) -> Key {
        self.0.last().grant().holder
    }

    /// When it ends, in seconds since 1970: at that second it has ended.
    pub fn ends(&self) -> u64 {
        self.0.last().grant().not_after
    }

    /// The last grant, which is what it is called.
    pub fn id(&self) -> GrantId {
        self.0.last().id()
    }

    /// The grants from which it follows: it ends when one of them is revoked.
    pub fn ids(&self) -> impl Iterator<Item = GrantId> {
        self.0.links().map(Link::id)
    }

    /// The chain itself.
    pub fn chain(&self) -> &Chain {
        &self.0
    }

    fn all(&self, right: Right, fits: impl Fn(&Names) -> bool) -> bool {
        self.grants().all(|grant| grant.rights.includes(right.into()) && fits(&grant.names))
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.0.links().map(Link::grant)
    }
}

#[cfg(test)]
mod tests;
