//! Waiting for one descriptor with poll(2).
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::slot::Deadline;

/// Waits until `descriptor` is ready for one of `events`, or has an end or a failure to tell. Empty when the deadline comes
/// first.
///
/// # Errors
/// ENOMEM, EINVAL (poll(2)). A signal does not end the wait.
pub(crate) fn wait_for(descriptor: impl AsFd, events: PollFlags, deadline: Deadline) -> Result<PollFlags, Errno> {
    loop {
        let left = match deadline {
            Deadline::Never => None,
            Deadline::Now => Some(Timespec::default()),
            // What no clock can tell is never.
            Deadline::At(end) => Timespec::try_from(end.saturating_duration_since(Instant::now())).ok(),
        };
        let mut polled = [PollFd::new(&descriptor, events)];
        match poll(&mut polled, left.as_ref()) {
            Ok(0) if left.is_some() => return Ok(PollFlags::empty()),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(polled[0].revents()),
            Err(error) => return Err(error),
        }
    }
}
