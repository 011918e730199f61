//! When a process is to end, and how: asked by a hang-up, told by SIGTERM, made by SIGKILL. No I/O and no clock: it is
//! told what happens and when, and says what is due.

use std::time::{Duration, Instant};

/// How long each step to the end may take where the server stops, which somebody waits for.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Close its standard input.
    HangUp,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// Wait for it no longer: the kernel cannot end it.
    GiveUp,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Course {
    /// How long each step to the end may take.
    grace: Duration,
    idle: Option<Duration>,
    /// When a message passed last.
    active: Instant,
    /// What is next, once the end has begun, and when; no time is never, unless it is hurried.
    next: Option<(Act, Option<Instant>)>,
    ends: bool,
    hurried: bool,
}

impl Course {
    /// A process that was started at `now`.
    pub fn new(grace: Duration, idle: Option<Duration>, now: Instant) -> Course {
        Course { grace, idle, active: now, next: None, ends: false, hurried: false }
    }

    /// A message has passed.
    pub fn pass(&mut self, now: Instant) {
        self.active = now;
    }

    /// Its conversation is over.
    pub fn leave(&mut self, now: Instant) {
        if !self.ends {
            (self.ends, self.next) = (true, Some((Act::HangUp, Some(now))));
        }
    }

    /// The server stops.
    pub fn hurry(&mut self, now: Instant) {
        self.leave(now);
        self.hurried = true;
        self.grace = self.grace.min(PATIENCE);
        // A step that is waited for already need not be waited for any longer than that.
        let soon = now + self.grace;
        self.next = self.next.map(|(act, at)| (act, Some(at.map_or(soon, |at| at.min(soon)))));
    }

    /// Whether the server stops.
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// It cannot be left to end by itself.
    pub fn kill(&mut self, now: Instant) {
        (self.ends, self.next) = (true, Some((Act::Kill, Some(now))));
    }

    /// Whether it is ending because nothing has passed for long enough.
    pub fn is_idle(&self, now: Instant) -> bool {
        !self.ends && self.idle_from().is_some_and(|at| at <= now)
    }

    fn idle_from(&self) -> Option<Instant> {
        self.active.checked_add(self.idle?)
    }

    /// When to look again, if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ends { self.next.and_then(|(_, at)| at) } else { self.idle_from() }
    }

    /// What is due now.
    pub fn due(&mut self, now: Instant) -> Option<Act> {
        let (act, _) = self.next.take_if(|(_, at)| at.is_some_and(|at| at <= now))?;
        let later = now.checked_add(self.grace);
        self.next = match act {
            Act::HangUp => Some((Act::Terminate, later)),
            Act::Terminate => Some((Act::Kill, later)),
            Act::Kill => Some((Act::GiveUp, later.filter(|_| self.hurried))),
            Act::GiveUp => None,
        };
        Some(act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What is due, and after how many milliseconds, if nothing else happens.
    fn rest(course: &mut Course, start: Instant) -> Vec<(Act, u128)> {
        std::iter::from_fn(|| {
            let at = course.deadline()?;
            Some((course.due(at)?, (at - start).as_millis()))
        })
        .collect()
    }

    #[test]
    fn each_step_has_its_grace() {
        let start = Instant::now();
        let mut course = Course::new(ms(2000), None, start);
        assert_eq!((course.deadline(), course.due(start + ms(99_999))), (None, None), "nothing ends it");
        course.leave(start + ms(10));
        course.leave(start + ms(500));
        let end = rest(&mut course, start);
        assert_eq!(end, [(Act::HangUp, 10), (Act::Terminate, 2010), (Act::Kill, 4010)], "and then it is dead");
    }

    #[test]
    fn who_stops_the_server_waits_neither_for_what_cannot_be_killed_nor_for_an_endless_grace() {
        let start = Instant::now();
        let mut killed = Course::new(ms(0), None, start);
        killed.leave(start);
        assert_eq!(rest(&mut killed, start).last(), Some(&(Act::Kill, 0)));
        killed.hurry(start + ms(10));
        assert_eq!(rest(&mut killed, start), [(Act::GiveUp, 10)]);
        let mut endless = Course::new(Duration::MAX, None, start);
        endless.leave(start);
        assert_eq!(rest(&mut endless, start), [(Act::HangUp, 0)]);
        endless.hurry(start);
        assert_eq!(rest(&mut endless, start), [(Act::Terminate, 500), (Act::Kill, 1000), (Act::GiveUp, 1500)]);
    }

    #[test]
    fn a_process_through_which_nothing_passes_is_idle() {
        let start = Instant::now();
        let mut course = Course::new(ms(1), Some(ms(300)), start);
        course.pass(start + ms(200));
        assert_eq!(course.deadline(), Some(start + ms(500)));
        assert!(!course.is_idle(start + ms(499)) && course.is_idle(start + ms(500)));
        course.leave(start + ms(500));
        assert!(!course.is_idle(start + ms(900)), "it is ending already");
    }

    #[test]
    fn a_server_that_stops_waits_for_nobody_s_grace() {
        let start = Instant::now();
        let mut course = Course::new(ms(60_000), None, start);
        course.leave(start);
        assert_eq!(course.due(start), Some(Act::HangUp));
        course.hurry(start + ms(10));
        let end = rest(&mut course, start);
        assert_eq!(end, [(Act::Terminate, 510), (Act::Kill, 1010), (Act::GiveUp, 1510)]);
        let mut short = Course::new(ms(5), None, start);
        short.hurry(start);
        assert_eq!(rest(&mut short, start).last(), Some(&(Act::GiveUp, 15)));
    }

    #[test]
    fn what_breaks_the_protocol_is_killed_at_once() {
        let start = Instant::now();
        let mut course = Course::new(ms(60_000), Some(ms(1)), start);
        course.kill(start);
        assert_eq!(rest(&mut course, start), [(Act::Kill, 0)]);
    }

    #[test]
    fn a_grace_without_end_is_one() {
        let start = Instant::now();
        let mut course = Course::new(Duration::MAX, Some(Duration::MAX), start);
        assert_eq!(course.deadline(), None);
        course.leave(start);
        assert_eq!(rest(&mut course, start), [(Act::HangUp, 0)]);
    }
}
