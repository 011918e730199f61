//! Why no message was received.
#![forbid(unsafe_code)]

use thiserror::Error;

use super::Reason;

/// An error of a receive: that the other end is gone, and what is peculiar to this one, with what to say of it.
macro_rules! recv_error {
    ($(#[$about:meta])* $name:ident $({ $(#[$when:meta])* $own:ident: $advice:literal })?) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
        #[non_exhaustive]
        pub enum $name {
            $(
                $(#[$when])*
                #[error("nothing was received: {}", $advice)]
                $own,
            )?
            /// The other end is gone, and all that it sent was received.
            #[error("nothing was received: the other end is gone ({_0}), and all that it sent was received")]
            Disconnected(Reason),
        }

        impl $name {
            /// Why the other end is gone, or None when that is not the trouble.
            pub fn reason(&self) -> Option<Reason> {
                match self {
                    Self::Disconnected(reason) => Some(*reason),
                    $(Self::$own => None,)?
                }
            }
        }

        $(
            impl From<RecvError> for $name {
                #[doc = concat!("Never [`", stringify!($own), "`](Self::", stringify!($own), ").")]
                fn from(error: RecvError) -> Self {
                    let RecvError::Disconnected(reason) = error;
                    Self::Disconnected(reason)
                }
            }
        )?
    };
}

recv_error! {
    /// Why a receive that waits as long as it takes received nothing.
    RecvError
}

recv_error! {
    /// Why a receive that does not wait received nothing.
    TryRecvError {
        /// No message is there yet.
        Empty: "no message is there yet; try again later, or wait with `recv`"
    }
}

recv_error! {
    /// Why a receive that waits for some time received nothing.
    RecvTimeoutError {
        /// No message came in time.
        Timeout: "no message came in time; receive again, or wait longer"
    }
}
