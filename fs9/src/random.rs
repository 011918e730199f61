//! Bytes that nobody can guess.

use rustix::rand::{GetRandomFlags, getrandom};

/// As many of them as are asked for (getrandom(2)).
pub fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        // It waits once in the life of a machine, and a signal may end that.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}
