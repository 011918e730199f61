//! System calls that no library offers in safe form: the only unsafe code of this crate.

pub mod descriptors;
pub mod heap;
pub mod pidfd;
