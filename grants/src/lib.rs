//! Who may do what at a node: the keys of nodes and what they sign. No I/O, no clock and no randomness: bytes, times
//! and seeds go in, decisions come out.
#![forbid(unsafe_code)]

pub mod audit;
mod chain;
mod grant;
mod granted;
mod key;
mod names;
mod rights;
mod secret;
mod text;

pub use chain::{Chain, ChainError, Link, Refusal};
pub use grant::{DEEPEST, Depth, DepthError, Grant, GrantId, IdError, Terms};
pub use granted::Granted;
pub use key::{Key, KeyError};
pub use names::{Names, NamesError};
pub use rights::{Right, Rights, RightsError};
pub use secret::Secret;
