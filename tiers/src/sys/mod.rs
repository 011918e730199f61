//! System calls that no library offers in safe form, and memory that several parties touch: the only unsafe code of
//! this crate.

pub mod cell;
pub mod descriptors;
pub mod heap;
pub mod map;
pub mod pidfd;
pub mod ring;
pub mod socket;
pub mod spawn;
pub mod vfork;
