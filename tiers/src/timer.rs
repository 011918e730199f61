//! Receivers whose messages are made by the clock.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Reason, RecvError};
use crate::receiver::{Receiver, Rx};
use crate::slot::Deadline;
use crate::watch::{Alarm, watcher};

/// A receiver that gets one message after `delay`, and is closed then. The message is the delay.
///
/// ```
/// # use std::time::Duration;
/// let timer = fs9_tiers::after(Duration::from_millis(2));
/// assert_eq!(timer.recv(), Ok(Duration::from_millis(2)));
/// assert!(timer.is_closed());
/// ```
pub fn after(delay: Duration) -> Receiver<Duration> {
    Receiver::new(Rx::Timer(Timer::new(delay, None)))
}

/// A receiver that gets a message every `period`. The message is the time for which the receiver was due to wait since
/// it was made. As every channel it holds one message: of those that were due while nobody received, only the last is
/// there.
///
/// ```
/// # use std::time::Duration;
/// let ticks = fs9_tiers::every(Duration::from_millis(1));
/// assert_eq!(ticks.recv(), Ok(Duration::from_millis(1)));
/// std::thread::sleep(Duration::from_millis(5));
/// assert!(ticks.recv()? >= Duration::from_millis(5));
/// # Ok::<(), fs9_tiers::error::RecvError>(())
/// ```
pub fn every(period: Duration) -> Receiver<Duration> {
    Receiver::new(Rx::Timer(Timer::new(period, Some(period.max(Duration::from_nanos(1))))))
}

/// When a receiver of type `T` gets its messages.
pub(crate) struct Timer<T> {
    begin: Instant,
    period: Option<Duration>,
    /// How long after `begin` the next message is due. None: never again.
    next: Mutex<Option<Duration>>,
    /// How a time becomes a message.
    message: fn(Duration) -> T,
}

impl Timer<Duration> {
    fn new(first: Duration, period: Option<Duration>) -> Self {
        Timer { begin: Instant::now(), period, next: Mutex::new(Some(first)), message: |due| due }
    }
}

impl<T> Timer<T> {
    fn next(&self) -> MutexGuard<'_, Option<Duration>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next message is due: a time that no clock can tell is never.
    pub fn due(&self) -> Deadline {
        self.next().and_then(|next| self.begin.checked_add(next)).map_or(Deadline::Never, Deadline::At)
    }

    /// Whether there will be no more messages.
    pub fn is_spent(&self) -> bool {
        self.next().is_none()
    }

    /// The message that is due. None: not yet.
    fn take(&self) -> Result<Option<T>, RecvError> {
        let mut next = self.next();
        let due = next.ok_or(RecvError::Disconnected(Reason::Closed))?;
        let Some(late) = self.begin.elapsed().checked_sub(due) else { return Ok(None) };
        let last = match self.period {
            Some(period) => due.saturating_add(whole(late, period)),
            None => due,
        };
        *next = self.period.map(|period| last.saturating_add(period));
        Ok(Some((self.message)(last)))
    }

    /// Sleeps until a message is due.
    #[cold]
    pub fn recv(&self) -> Result<T, RecvError> {
        loop {
            if let Some(message) = self.wait(Deadline::Never)? {
                return Ok(message);
            }
        }
    }

    /// Sleeps until a message is due. None when the deadline comes first.
    #[cold]
    pub fn wait(&self, deadline: Deadline) -> Result<Option<T>, RecvError> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let now = Instant::now();
            let wake = match (deadline, self.due()) {
                (Deadline::Now, _) => return Ok(None),
                (Deadline::At(end), _) if end <= now => return Ok(None),
                (Deadline::At(end), Deadline::At(due)) => Some(end.min(due)),
                (Deadline::At(end), _) => Some(end),
                (Deadline::Never, Deadline::At(due)) => Some(due),
                (Deadline::Never, _) => None,
            };
            match wake {
                Some(wake) => thread::sleep(wake.saturating_duration_since(now)),
                None => thread::park(),
            }
        }
    }

    /// The message if it is due; otherwise `alarm` is set to wake the task then.
    pub fn poll(&self, context: &Context<'_>, alarm: &mut Option<Alarm>) -> Poll<Result<T, RecvError>> {
        *alarm = None;
        if let Some(message) = self.take().transpose() {
            return Poll::Ready(message);
        }
        if let Deadline::At(due) = self.due() {
            // Without a thread to watch the clock the task would wait for ever.
            let Ok(watcher) = watcher() else { return Poll::Ready(Err(RecvError::Disconnected(Reason::Unreachable))) };
            *alarm = Some(watcher.alarm(due, context.waker().clone()));
        }
        Poll::Pending
    }
}

/// The largest multiple of `period` that is not above `time`.
fn whole(time: Duration, period: Duration) -> Duration {
    let rest = time.as_nanos() % period.as_nanos().max(1);
    time.saturating_sub(Duration::from_nanos_u128(rest))
}

impl<T> fmt::Debug for Timer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("period", &self.period).field("next", &*self.next()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{RecvTimeoutError, TryRecvError};

    const CLOSED: Reason = Reason::Closed;

    #[test]
    fn a_message_is_due_once_and_then_no_more() {
        let timer = after(Duration::ZERO);
        assert!(!timer.is_closed());
        assert_eq!(timer.try_recv(), Ok(Duration::ZERO));
        assert_eq!(timer.try_recv(), Err(TryRecvError::Disconnected(CLOSED)));
        assert_eq!(timer.recv(), Err(RecvError::Disconnected(CLOSED)));
        assert_eq!(timer.reason(), Some(CLOSED));
    }

    #[test]
    fn a_deadline_comes_first_or_the_message_does() {
        let timer = after(Duration::from_secs(3600));
        assert_eq!(timer.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(timer.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
        let timer = after(Duration::from_millis(1));
        assert_eq!(timer.recv_timeout(Duration::from_secs(3600)), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn a_time_that_no_clock_can_tell_is_never() {
        for timer in [after(Duration::MAX), every(Duration::MAX)] {
            assert_eq!(timer.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
        }
    }

    #[test]
    fn of_what_was_missed_only_the_last_is_there() {
        let Rx::Timer(timer) = &every(Duration::from_millis(10)).rx else { panic!("it is a timer") };
        assert_eq!(whole(Duration::from_millis(34), Duration::from_millis(10)), Duration::from_millis(30));
        // As if it had been made 34 ms ago.
        let late = Timer { begin: timer.begin - Duration::from_millis(34), next: Mutex::new(*timer.next()), ..*timer };
        let due = late.take().expect("not spent").expect("due");
        assert!(due >= Duration::from_millis(30) && due.as_millis() % 10 == 0, "{due:?}");
        assert_eq!(*late.next(), Some(due + Duration::from_millis(10)));
        // No period at all is as short as there is.
        assert!(every(Duration::ZERO).try_recv().is_ok());
    }
}
