//! fs9-tiers: send and receive one message, at any distance.
//!
//! The heart is [`channel::Lane`], the state machine of depth one through which every message of every tier and every
//! mount goes. [`holder::Holder`] names the process at the other end and says how it ended.
#![deny(unsafe_code)]

pub mod channel;
pub mod error;
pub mod holder;
#[allow(unsafe_code)]
mod sys;

/// What a started program inherits.
pub mod descriptors {
    pub use crate::sys::descriptors::close_on_exec_from;
}

/// The heap of the process, which by itself keeps what it once needed.
pub mod heap {
    pub use crate::sys::heap::{map_from, trim};
}
