//! Why a message was not sent. The message comes back in the error.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use thiserror::Error;

use super::Reason;
use crate::capability::{Capability, Refusal};

/// What a message cannot be for that it crosses to the other end.
///
/// ```
/// # use fs9_tiers::{error::{SendError, Unfit}, message::LIMIT, process};
/// let (a, _b) = process::pair::<Vec<u8>, ()>()?;
/// let error = a.send(vec![0; LIMIT]).expect_err("its length is encoded, too");
/// assert!(matches!(error, SendError::Unfit(_, Unfit::TooLong { limit: LIMIT })));
/// assert_eq!(error.into_message().len(), LIMIT, "it comes back");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It has more than `limit` bytes once it is encoded, see [`LIMIT`](crate::message::LIMIT).
    #[error("the message has more than {limit} bytes when it is encoded; send it in parts")]
    TooLong {
        /// The longest message, in encoded bytes. Of a mount that allows less than others it is not told: one less than
        /// this message has.
        limit: usize,
    },
    /// It has no bytes, and over a file: a write of nothing is none.
    #[error("the message is empty, and a file has no empty messages; send something")]
    Empty,
    /// Its `Serialize` failed, or wrote a sequence without saying its length first.
    #[error(
        "the message cannot be encoded; its `Serialize` failed, or part of it has no known length, \
         as with `#[serde(flatten)]`"
    )]
    Unencodable,
    /// What was to be handed over beside it cannot go there.
    #[error("an end cannot be handed over: {0}")]
    Capability(Refusal),
    /// The file refused it, for another reason than that the other end is gone.
    #[error("the file refused it: {0}")]
    Refused(io::ErrorKind),
}

/// Why a send with capabilities sent nothing and handed nothing over.
///
/// See [`Refusal`] for an example.
#[derive(Debug, Error)]
#[error("{error}")]
#[non_exhaustive]
pub struct SendWithError<T> {
    /// What happened, with the message.
    pub error: SendError<T>,
    /// What was to be handed over.
    pub capabilities: Vec<Capability>,
}

/// An error of a send: what every send can answer, and what is peculiar to this one, with what to say of it.
macro_rules! send_error {
    ($(#[$about:meta])* $name:ident $({ $(#[$when:meta])* $own:ident: $advice:literal })?) => {
        $(#[$about])*
        #[non_exhaustive]
        pub enum $name<T> {
            $($(#[$when])* $own(T),)?
            /// The other end is gone, and nothing can be sent to it any more.
            Disconnected(T, Reason),
            /// This message cannot cross; another one can.
            Unfit(T, Unfit),
        }

        impl<T> $name<T> {
            /// The message, which was not sent.
            pub fn into_message(self) -> T {
                match self {
                    $(Self::$own(message) => message,)?
                    Self::Disconnected(message, _) | Self::Unfit(message, _) => message,
                }
            }

            /// Why the other end is gone, or None when that is not the trouble.
            pub fn reason(&self) -> Option<Reason> {
                match self {
                    Self::Disconnected(_, reason) => Some(*reason),
                    _ => None,
                }
            }

            /// The same error of another message.
            pub(crate) fn map<U>(self, other: impl FnOnce(T) -> U) -> $name<U> {
                match self {
                    $(Self::$own(message) => $name::$own(other(message)),)?
                    Self::Disconnected(message, reason) => $name::Disconnected(other(message), reason),
                    Self::Unfit(message, unfit) => $name::Unfit(other(message), unfit),
                }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$own(_) => f.write_str(concat!(stringify!($own), "(..)")),)?
                    Self::Disconnected(_, reason) => write!(f, "Disconnected(.., {reason:?})"),
                    Self::Unfit(_, unfit) => write!(f, "Unfit(.., {unfit:?})"),
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nothing was sent: ")?;
                match self {
                    $(Self::$own(_) => f.write_str($advice),)?
                    Self::Disconnected(_, reason) => {
                        write!(f, "the other end is gone ({reason}); send it to another peer")
                    }
                    Self::Unfit(_, unfit) => unfit.fmt(f),
                }
            }
        }

        impl<T> std::error::Error for $name<T> {}

        $(
            impl<T> From<SendError<T>> for $name<T> {
                #[doc = concat!("Never [`", stringify!($own), "`](Self::", stringify!($own), ").")]
                fn from(error: SendError<T>) -> Self {
                    match error {
                        SendError::Disconnected(message, reason) => Self::Disconnected(message, reason),
                        SendError::Unfit(message, unfit) => Self::Unfit(message, unfit),
                    }
                }
            }
        )?
    };
}

send_error! {
    /// Why a send that waits as long as it takes sent nothing.
    SendError
}

send_error! {
    /// Why a send that does not wait sent nothing.
    TrySendError {
        /// The last message was not taken yet.
        Full: "the last message was not taken yet; try again later, or wait with `send`"
    }
}

send_error! {
    /// Why a send that waits for some time sent nothing.
    SendTimeoutError {
        /// The last message was not taken in time.
        Timeout: "the last message was not taken in time; send again, or wait longer"
    }
}
