//! System calls that no library offers in safe form: the only unsafe code of this crate.

pub mod heap;
pub mod pidfd;
