//! How the other side broke the protocol, so that there is nothing left to say to it: its connection is to be closed.

use crate::{ParseError, Tag};

/// Why a connection is to be closed. Mistakes that have an answer of their own (an unknown fid) are answered instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// More frames are acknowledged than were sent, or fewer than before.
    #[error("it acknowledges {told} frames, and has {least} to {most}")]
    Count {
        /// What it says it has.
        told: u64,
        /// What it has said before.
        least: u64,
        /// What it was sent.
        most: u64,
    },
    /// It takes frames and goes on sending, and acknowledges none; see [`session::Limits`](crate::session::Limits).
    #[error("it has not acknowledged {frames} frames of {bytes} bytes in all")]
    Unacknowledged {
        /// Frames that are kept for it.
        frames: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// Its first frames say neither which dialect nor which session; or it says so again where that has no place.
    #[error("it does not begin as 9P begins, with Tversion, and in our own dialect Tsession")]
    Greeting,
    /// It asks under a tag that is in use, or under the one that is none.
    #[error("it asks under tag {0}, which is in use")]
    Tag(Tag),
    /// It answers what was not asked, or was answered.
    #[error("it answers tag {0}, which waits for no answer")]
    Unasked(Tag),
    /// It answers something else than was asked.
    #[error("it answers tag {0} with the reply to something else, or with more than was asked for")]
    Reply(Tag),
    /// What it says is no message, and there is no tag to answer.
    #[error(transparent)]
    Malformed(#[from] ParseError),
}
