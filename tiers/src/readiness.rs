//! Waiting for descriptors with poll(2).
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::slot::Deadline;

/// Waits until `descriptor` is ready for one of `events`, or has an end or a failure to tell. Empty when the deadline
/// comes first.
///
/// # Errors
/// ENOMEM, EINVAL (poll(2)). A signal does not end the wait.
pub(crate) fn wait_for(descriptor: impl AsFd, events: PollFlags, deadline: Deadline) -> Result<PollFlags, Errno> {
    let mut polled = [PollFd::new(&descriptor, events)];
    wait_for_any(&mut polled, deadline)?;
    Ok(polled[0].revents())
}

/// Waits until one of `polled` has something to tell. None has when the deadline comes first.
///
/// # Errors
/// As [`wait_for`].
pub(crate) fn wait_for_any(polled: &mut [PollFd<'_>], deadline: Deadline) -> Result<(), Errno> {
    loop {
        let left = match deadline {
            Deadline::Never => None,
            Deadline::Now => Some(Timespec::default()),
            // What no clock can tell is never.
            Deadline::At(end) => Timespec::try_from(end.saturating_duration_since(Instant::now())).ok(),
        };
        match poll(polled, left.as_ref()) {
            Ok(0) if left.is_none() => {}
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
