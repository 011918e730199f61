//! So many of something, and then one at a time: strangers must not fill the log.

use std::time::{Duration, Instant};

/// So many refusals of strangers are written down at once, and then one for each of these times.
pub const REFUSALS: u32 = 256;
const REFUSAL: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug)]
pub struct Allowance {
    left: u32,
    at: Instant,
    left_out: u64,
}

impl Allowance {
    /// All that may be written down at once.
    pub fn full() -> Allowance {
        Allowance { left: REFUSALS, at: Instant::now(), left_out: 0 }
    }

    /// Takes one; how many were refused before. None where there is none left.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let grown = now.saturating_duration_since(self.at).as_millis() / REFUSAL.as_millis();
        if grown > 0 {
            self.left = self.left.saturating_add(u32::try_from(grown).unwrap_or(REFUSALS)).min(REFUSALS);
            self.at = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_in_between_does_not_put_it_off() {
        let start = Instant::now();
        let mut allowance = Allowance { left: 0, at: start, left_out: 0 };
        assert_eq!(allowance.take(start + REFUSAL / 2), None);
        assert_eq!(allowance.take(start + REFUSAL), Some(1));
    }

    #[test]
    fn what_was_taken_grows_again_and_no_further() {
        let mut allowance = Allowance { left: 0, at: Instant::now(), left_out: 0 };
        let start = allowance.at;
        assert_eq!((allowance.take(start), allowance.take(start)), (None, None));
        assert_eq!(allowance.take(start + REFUSAL), Some(2));
        assert_eq!(allowance.take(start + REFUSAL), None);
        assert_eq!(allowance.take(start + REFUSAL * 1_000_000), Some(1));
        assert_eq!(allowance.left, REFUSALS - 1);
    }
}
