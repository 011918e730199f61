//! Who may do what at a node: the keys of nodes and what they sign. No I/O, no clock and no randomness: bytes, times and
//! seeds go in, decisions come out.
#![forbid(unsafe_code)]

mod key;
mod secret;
mod text;

pub use key::{Key, KeyError};
pub use secret::Secret;
