//! Other machines: the addresses where they are found, and the loop that serves those that come.

pub mod address;
