//! The descriptors of this process as a whole (close_range(2)).

use std::io;

/// Keeps the descriptors from `first` on out of every program that is started from now on. Here they stay open.
///
/// # Errors
/// ENOSYS or EPERM where a sandbox does not know the call.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // By its number: not every C library has the function.
    // SAFETY: close_range takes three integers. With CLOSE_RANGE_CLOEXEC it closes nothing, so that no descriptor that
    // somebody owns becomes invalid; it only sets a flag on those that are open.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
