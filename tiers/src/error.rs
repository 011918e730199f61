//! Why the other end is gone, and what a send or a receive answers then.
//!
//! Every error of a send carries the message back: an error means that nothing was sent. No error asks anything of the
//! message's type, not even `Debug`, so `?` and `unwrap` work for every message.
//!
//! ```
//! use fs9_tiers::error::{Reason, TrySendError};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Bare(u8);
//!
//! let (a, b) = fs9_tiers::pair::<Bare, ()>();
//! a.try_send(Bare(1)).unwrap();
//! match a.try_send(Bare(2)) {
//!     Err(TrySendError::Full(message)) => assert_eq!(message.0, 2),
//!     other => panic!("{other:?}"),
//! }
//! drop(b);
//! let error = a.try_send(Bare(3)).unwrap_err();
//! assert_eq!(error.reason(), Some(Reason::Closed));
//! assert_eq!(error.into_message().0, 3);
//! ```
#![forbid(unsafe_code)]

use std::fmt;

mod receive;
mod send;

pub use receive::{RecvError, RecvTimeoutError, TryRecvError};
pub use send::{SendError, SendTimeoutError, SendWithError, TrySendError, Unfit};

/// Why the party at the other end of a channel is gone.
///
/// ```
/// use fs9_tiers::error::Reason;
///
/// assert_eq!(Reason::Killed(9).to_string(), "killed 9");
/// assert!(Reason::Exited(1).is_death() && !Reason::Exited(0).is_death());
/// ```
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
    /// Its thread panicked.
    Panicked,
    /// Its grant was taken back.
    Revoked,
    /// Its node cannot be reached.
    Unreachable,
    /// The two ends do not understand each other and have hung up: they have other types, or one broke the protocol.
    Protocol,
    /// It was lost, and cannot be seen from here how: killed, or with its node. The `status` of the mount tells.
    Lost,
}

impl Reason {
    /// How many kinds of reasons there are: the length of a table that counts by reason.
    pub const KINDS: usize = 11;

    /// The reason without its figure, as the ledger counts it.
    pub const fn kind(self) -> &'static str {
        match self {
            Reason::Closed => "closed",
            Reason::Exited(_) => "exited",
            Reason::Killed(_) => "killed",
            Reason::Ended => "ended",
            Reason::Removed => "removed",
            Reason::HungUp => "hung up",
            Reason::Panicked => "panicked",
            Reason::Revoked => "revoked",
            Reason::Unreachable => "unreachable",
            Reason::Protocol => "broke the protocol",
            Reason::Lost => "lost",
        }
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
            Reason::Panicked => 6,
            Reason::Revoked => 7,
            Reason::Unreachable => 8,
            Reason::Protocol => 9,
            Reason::Lost => 10,
        }
    }

    /// One reason of every kind, in the order of [`Reason::index`].
    pub const fn all() -> [Reason; Reason::KINDS] {
        [
            Reason::Closed,
            Reason::Exited(0),
            Reason::Killed(0),
            Reason::Ended,
            Reason::Removed,
            Reason::HungUp,
            Reason::Panicked,
            Reason::Revoked,
            Reason::Unreachable,
            Reason::Protocol,
            Reason::Lost,
        ]
    }

    /// Whether the other end was lost rather than ended: its reader is told so once, with ECONNRESET.
    pub const fn is_loss(self) -> bool {
        use Reason::{Killed, Lost, Panicked, Protocol, Unreachable};
        matches!(self, Killed(_) | Panicked | Unreachable | Protocol | Lost)
    }

    /// Whether a reader that went for this reason died on the message it held, which another reader must then have.
    pub const fn is_death(self) -> bool {
        match self {
            // Of an end that cannot be seen the worse is believed: a message twice is better than none.
            Reason::Killed(_) | Reason::Panicked | Reason::Ended => true,
            Reason::Unreachable | Reason::Protocol | Reason::Lost => true,
            Reason::Exited(code) => code != 0,
            Reason::Closed | Reason::Removed | Reason::HungUp | Reason::Revoked => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_place_and_one_name() {
        let all = Reason::all();
        assert!(all.iter().enumerate().all(|(place, reason)| reason.index() == place), "{all:?}");
        let names = all.map(|reason| reason.to_string()).join(", ");
        assert_eq!(
            names,
            "closed, exited 0, killed 0, ended, removed, hung up, panicked, revoked, unreachable, broke the protocol, lost"
        );
        assert!(all.iter().all(|reason| reason.is_death() || !reason.is_loss()), "who is lost died on its message");
    }

    /// A message type that has no trait at all.
    struct Bare(u8);

    #[test]
    fn an_error_says_what_happened_and_what_to_do() {
        let gone = || SendError::Disconnected(Bare(7), Reason::Killed(9));
        let long = || SendError::Unfit(Bare(7), Unfit::TooLong { limit: 4 << 20 });
        let lines = [
            gone().to_string(),
            long().to_string(),
            SendError::Unfit(Bare(7), Unfit::Unencodable).to_string(),
            TrySendError::Full(Bare(7)).to_string(),
            SendTimeoutError::Timeout(Bare(7)).to_string(),
            RecvError::Disconnected(Reason::Exited(1)).to_string(),
            TryRecvError::Empty.to_string(),
            RecvTimeoutError::Timeout.to_string(),
        ];
        let expected = [
            "nothing was sent: the other end is gone (killed 9); send it to another peer",
            "nothing was sent: the message has more than 4194304 bytes when it is encoded; send it in parts",
            "nothing was sent: the message cannot be encoded; its `Serialize` failed, or part of it has no known length, \
             as with `#[serde(flatten)]`",
            "nothing was sent: the last message was not taken yet; try again later, or wait with `send`",
            "nothing was sent: the last message was not taken in time; send again, or wait longer",
            "nothing was received: the other end is gone (exited 1), and all that it sent was received",
            "nothing was received: no message is there yet; try again later, or wait with `recv`",
            "nothing was received: no message came in time; receive again, or wait longer",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_error_of_a_send_gives_the_message_back() {
        let gone = |message| SendError::Disconnected(message, Reason::Panicked);
        assert_eq!(format!("{:?}", gone(Bare(7))), "Disconnected(.., Panicked)");
        assert_eq!(format!("{:?}", TrySendError::Full(Bare(7))), "Full(..)");
        assert_eq!(TrySendError::from(gone(Bare(7))).into_message().0, 7);
        assert_eq!(SendTimeoutError::from(gone(Bare(7))).reason(), Some(Reason::Panicked));
        assert_eq!(TrySendError::Full(()).map(|()| 7).into_message(), 7);
        assert_eq!(SendTimeoutError::Timeout(()).reason(), None);
        let gone = RecvError::Disconnected(Reason::Revoked);
        assert_eq!(TryRecvError::from(gone), TryRecvError::Disconnected(Reason::Revoked));
        assert_eq!(RecvTimeoutError::from(gone).reason(), Some(Reason::Revoked));
    }
}
