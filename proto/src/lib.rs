//! The wire protocol: 9P2000, 9P2000.L, and verbs for whole messages. No I/O, no clock and no randomness: bytes and times go
//! in, bytes and what they mean come out. docs/protocol.md has the layouts.
#![forbid(unsafe_code)]

pub mod session;
pub mod violation;
