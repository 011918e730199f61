//! Timers: `timer/250ms` is a file that is always there. Its node number says its period, so looking one up keeps
//! nothing; each descriptor that is open on one has ticks of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::tree::{NodeId, shrink};

/// Node numbers with this bit are timers, and the bits below it are the period in milliseconds.
const TIMER: NodeId = 1 << 33;

/// The period of `timer/NAME`: a duration as people write it, of whole milliseconds. None for what is none, or is no
/// time, or too long (99 days).
pub fn parse(name: &str) -> Option<NodeId> {
    let period = humantime::parse_duration(name).ok()?;
    let millis = u64::try_from(period.as_millis()).ok().filter(|millis| (1..TIMER).contains(millis))?;
    (Duration::from_millis(millis) == period).then_some(TIMER | millis)
}

/// The period of a timer's node; None for a node that is no timer.
pub fn period(node: NodeId) -> Option<Duration> {
    (TIMER..TIMER << 1).contains(&node).then(|| Duration::from_millis(node & (TIMER - 1)))
}

/// The ticks of every descriptor that is open on a timer. A tick is made when somebody reads or polls for it, so a
/// timer that nobody waits for costs nothing.
#[derive(Debug, Default)]
pub struct Timers {
    running: FxHashMap<NodeId, Running>,
    due: BTreeSet<(Instant, NodeId)>,
}

/// The ticks of one descriptor.
#[derive(Debug)]
struct Running {
    period: Duration,
    began: Instant,
    /// The number of the last tick that was made.
    made: u64,
    /// When somebody is to be told of the next one.
    due: Option<Instant>,
}

impl Timers {
    /// The ticks that go to the channel `node` begin.
    pub fn begin(&mut self, node: NodeId, period: Duration, now: Instant) {
        self.running.insert(node, Running { period, began: now, made: 0, due: None });
    }

    /// They end.
    pub fn end(&mut self, node: NodeId) {
        if let Some(Running { due: Some(due), .. }) = self.running.remove(&node) {
            self.due.remove(&(due, node));
        }
        shrink(&mut self.running);
    }

    /// How many periods have passed, if one has since this was last asked.
    pub fn make(&mut self, node: NodeId, now: Instant) -> Option<u64> {
        let running = self.running.get_mut(&node)?;
        let passed = now.duration_since(running.began).as_nanos() / running.period.as_nanos();
        let passed = u64::try_from(passed).ok().filter(|passed| *passed > running.made)?;
        running.made = passed;
        Some(passed)
    }

    /// Somebody waits for the next tick. Returns when it is due.
    pub fn expect(&mut self, node: NodeId) -> Option<Instant> {
        let running = self.running.get_mut(&node)?;
        if running.due.is_none() {
            let since = running.period.as_nanos() * (u128::from(running.made) + 1);
            let since = Duration::from_nanos(u64::try_from(since).ok()?);
            running.due = Some(running.began.checked_add(since)?);
            self.due.extend(running.due.map(|due| (due, node)));
        }
        running.due
    }

    /// When the next tick is due that somebody waits for.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The channel of a tick that is due and was waited for.
    pub fn pop(&mut self, now: Instant) -> Option<NodeId> {
        let (due, node) = *self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, node));
        self.running.get_mut(&node)?.due = None;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_name_is_a_period() {
        let known = [("250ms", 250), ("1s", 1000), ("1.5s", 1500), ("1m 30s", 90_000), ("1d", 86_400_000)];
        for (name, millis) in known {
            assert_eq!(parse(name).and_then(period), Some(ms(millis)), "{name}");
        }
        for name in ["0s", "10us", "", "s", "-1s", "1 fortnight", "100d", "18446744073709551615s"] {
            assert_eq!(parse(name), None, "{name}");
        }
        assert_eq!((period(1), period(TIMER - 1), period(TIMER << 1)), (None, None, None));
    }

    #[test]
    fn a_tick_is_made_when_it_is_asked_for_and_counts_what_has_passed() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        timers.begin(7, ms(10), start);
        assert_eq!((timers.make(7, start + ms(9)), timers.next()), (None, None));
        assert_eq!(timers.make(7, start + ms(47)), Some(4));
        assert_eq!(timers.make(7, start + ms(49)), None);
    }

    #[test]
    fn who_waits_is_told_in_the_order_of_time() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        timers.begin(7, ms(10), start);
        timers.begin(8, ms(25), start);
        assert_eq!(timers.expect(8), Some(start + ms(25)));
        assert_eq!((timers.expect(7), timers.expect(7)), (Some(start + ms(10)), Some(start + ms(10))));
        assert_eq!((timers.next(), timers.pop(start + ms(9))), (Some(start + ms(10)), None));
        assert_eq!((timers.pop(start + ms(30)), timers.pop(start + ms(30))), (Some(7), Some(8)));
        assert_eq!((timers.pop(start + ms(30)), timers.make(7, start + ms(30))), (None, Some(3)));
        assert_eq!(timers.expect(7), Some(start + ms(40)));
        timers.end(7);
        timers.end(8);
        assert_eq!(timers.next(), None);
        assert!(timers.running.is_empty());
    }
}
