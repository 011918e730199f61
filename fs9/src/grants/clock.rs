//! The time by which grants begin and end: the machine's clock, but that it never goes back. A clock that is set back
//! neither brings back what has ended nor lets anything last longer.

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// See the [module](self).
#[derive(Debug)]
pub struct Clock(Mutex<Reading>);

/// The latest time that the clock has shown, and when that was.
#[derive(Debug)]
struct Reading {
    shown: u64,
    at: Instant,
}

impl Clock {
    /// One that was seen to show `shown` (seconds since 1970), perhaps long ago.
    pub fn since(shown: u64) -> Clock {
        Clock(Mutex::new(Reading { shown, at: Instant::now() }))
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        self.read(wall(), Instant::now())
    }

    fn read(&self, wall: u64, at: Instant) -> u64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = last.shown.saturating_add(at.saturating_duration_since(last.at).as_secs());
        if wall > passed {
            *last = Reading { shown: wall, at };
        }
        wall.max(passed)
    }
}

/// What the machine's clock shows.
pub fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_goes_forward_only() {
        const DAY: u64 = 86_400;
        let start = Instant::now();
        let clock = Clock::since(1000);
        let at = |wall, seconds| clock.read(wall, start + Duration::from_secs(seconds));
        assert_eq!(at(500_000, 0), 500_000, "it has gone on since it was seen");
        assert_eq!(at(500_010, 10), 500_010);
        assert_eq!(at(500_020 - DAY, 20), 500_020, "set back by a day, time passes");
        assert_eq!(at(500_030 - DAY, 30), 500_030);
        assert_eq!(at(500_040 + DAY, 40), 500_040 + DAY, "set forward by a day, it is believed");
        assert_eq!(at(500_050, 50), 500_050 + DAY, "and not when it is set back again");
    }

    #[test]
    fn time_passes_while_the_machines_clock_stands_still_however_often_it_is_asked() {
        let start = Instant::now();
        let clock = Clock::since(1000);
        let at = |tenths: u64| clock.read(1000, start + Duration::from_millis(100 * tenths));
        assert_eq!((0..=25).map(at).last(), Some(1002));
    }

    #[test]
    fn what_was_recorded_is_past() {
        assert!(wall() > 1_000_000_000, "seconds since 1970: it was September 2001 then");
        let clock = Clock::since(wall() + 1_000_000);
        assert!(clock.now() >= wall() + 999_999);
        assert!(Clock::since(0).now() >= wall() - 1);
    }
}
