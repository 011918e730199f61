//! The error numbers of Linux that the machines themselves speak of, see errno(3).

pub const ENOENT: u32 = 2;
pub const EINTR: u32 = 4;
pub const EIO: u32 = 5;
pub const EBADF: u32 = 9;
pub const EAGAIN: u32 = 11;
pub const EMFILE: u32 = 24;
pub const EPROTO: u32 = 71;
pub const ESTALE: u32 = 116;
