//! Why the other end is gone.
#![forbid(unsafe_code)]

use std::fmt;

/// Why the party at the other end of a channel is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It closed its descriptor.
    Closed,
    /// Its process exited with this code and had not closed.
    Exited(i32),
    /// Its process was killed by this signal.
    Killed(i32),
    /// Its process ended without having closed, and we may not see how: it is another user's.
    Ended,
    /// The channel was removed.
    Removed,
    /// The conversation was ended through `ctl`.
    HungUp,
}

impl Reason {
    /// How many kinds of reasons there are: the length of a table that counts by reason.
    pub const KINDS: usize = 6;

    /// The reason without its figure, as the ledger counts it.
    pub const fn kind(self) -> &'static str {
        ["closed", "exited", "killed", "ended", "removed", "hung up"][self.index()]
    }

    /// The place of this kind in a table of [`Reason::KINDS`] entries.
    pub const fn index(self) -> usize {
        match self {
            Reason::Closed => 0,
            Reason::Exited(_) => 1,
            Reason::Killed(_) => 2,
            Reason::Ended => 3,
            Reason::Removed => 4,
            Reason::HungUp => 5,
        }
    }

    /// One reason of every kind, in the order of [`Reason::index`].
    pub const fn all() -> [Reason; Reason::KINDS] {
        [Reason::Closed, Reason::Exited(0), Reason::Killed(0), Reason::Ended, Reason::Removed, Reason::HungUp]
    }

    /// Whether the other end was lost rather than ended: its reader is told so once, with ECONNRESET.
    pub const fn is_loss(self) -> bool {
        matches!(self, Reason::Killed(_))
    }

    /// Whether a reader that went for this reason died on the message it held, which another reader must then have.
    pub const fn is_death(self) -> bool {
        match self {
            // Of an end that cannot be seen the worse is believed: a message twice is better than none.
            Reason::Killed(_) | Reason::Ended => true,
            Reason::Exited(code) => code != 0,
            Reason::Closed | Reason::Removed | Reason::HungUp => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Exited(code) => write!(f, "exited {code}"),
            Reason::Killed(signal) => write!(f, "killed {signal}"),
            other => f.write_str(other.kind()),
        }
    }
}
