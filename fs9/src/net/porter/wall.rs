//! The machine's clock, in so far as somebody sets it: what was granted ends by that clock, while alarms go by one that
//! nobody sets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Readable once the clock was set, or the machine has slept: an alarm for the end of days, which that would cancel
/// (TFD_TIMER_CANCEL_ON_SET in timerfd_create(2)).
#[derive(Debug)]
pub struct Wall(OwnedFd);

impl Wall {
    /// One that tells of what happens from now on.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Wall> {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let end = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
        let alarm = Itimerspec { it_interval: Timespec::default(), it_value: end };
        timerfd_settime(&fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &alarm)?;
        Ok(Wall(fd))
    }

    /// What it has told was seen to.
    pub fn answer(&self) {
        // It says ECANCELED, which is what it is for.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wall {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::{ClockId, clock_gettime, clock_settime};

    use super::*;

    fn waits(wall: &Wall, seconds: i64) -> bool {
        let most = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(wall, PollFlags::IN)], Some(&most)).expect("it can be waited for") == 0
    }

    /// It is set to what it shows, so that nobody else notices: the kernel tells of this as of a day.
    #[test]
    fn it_tells_each_time_that_the_clock_is_set() {
        let wall = Wall::new().expect("a descriptor");
        for _ in 0..2 {
            assert!(waits(&wall, 0));
            let set = clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime));
            set.expect("only root sets the clock: run this test as root");
            assert!(!waits(&wall, 30));
            wall.answer();
        }
    }
}
