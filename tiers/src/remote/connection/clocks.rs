//! What a connection does by the clock: it finds links that are silent, gives up those that do not come back, and keeps no
//! `taken` for long.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::Connection;
use crate::error::Reason;
use crate::remote::frame;
use crate::watch::{Alarm, Watched};

/// So long a `taken` waits at most for something to go with.
const GUARD: Duration = Duration::from_millis(2);

/// The keep-alive is so many looks long.
const LOOKS: u32 = 3;

/// The alarms that are set, and what they look at.
#[derive(Default)]
pub(super) struct Clocks {
    pulse: Option<Alarm>,
    guard: Option<Alarm>,
    recall: Option<Alarm>,
    /// Since when there is no stream.
    pub down: Option<Instant>,
    /// What had been heard at the last look, and how many found nothing new.
    heard: u32,
    silent: u32,
}

impl Connection {
    /// Sets the time at which no `taken` is to be kept any more.
    pub(super) fn set_guard(&self) {
        let waker = Waker::from(Arc::new(Guard(self.me.clone())));
        let alarm = self.watcher.alarm(Instant::now() + GUARD, waker);
        self.clocks().guard = Some(alarm);
    }

    /// Has the watcher attend again, once it has attended to others: there is something to read that no descriptor tells of.
    pub(super) fn set_recall(&self) {
        let waker = Waker::from(Arc::new(Recall(self.me.clone())));
        let alarm = self.watcher.alarm(Instant::now(), waker);
        self.clocks().recall = Some(alarm);
    }

    /// Sets the time of the next look.
    pub(super) fn set_pulse(&self) {
        let waker = Waker::from(Arc::new(Pulse(self.me.clone())));
        let mut clocks = self.clocks();
        let at = match clocks.down {
            Some(since) => since.checked_add(self.options.linger),
            None => Instant::now().checked_add(self.options.keep_alive / LOOKS),
        };
        clocks.pulse = at.map(|at| self.watcher.alarm(at, waker));
    }

    /// Looks whether the far side is there, or has been away for too long.
    fn pulse(&self) {
        if self.is_over() {
            return;
        }
        let down = self.clocks().down;
        if let Some(since) = down {
            if since.elapsed() < self.options.linger {
                return self.set_pulse();
            }
            return self.end(Reason::Unreachable);
        }
        self.pump();
        let heard = self.heard.load(Ordering::Relaxed);
        let mut clocks = self.clocks();
        clocks.silent = if clocks.heard == heard { clocks.silent + 1 } else { 0 };
        clocks.heard = heard;
        let silent = clocks.silent;
        drop(clocks);
        if silent >= LOOKS {
            self.clocks().silent = 0;
            // Who reads it, or the watcher, finds the end of it.
            if let Some(carrier) = self.carrier() {
                carrier.hang_up();
            }
        } else if silent > 0 {
            let mut writer = self.writer();
            if !writer.is_behind() {
                writer.tell(frame::ping());
            }
            self.flush(writer);
        }
        self.set_pulse();
    }

    /// Sees to it that no `taken` is kept for long.
    fn guard(&self) {
        self.is_guarded.store(false, Ordering::SeqCst);
        self.settle();
    }
}

struct Guard(Weak<Connection>);

impl Wake for Guard {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.guard();
        }
    }
}

struct Recall(Weak<Connection>);

impl Wake for Recall {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.attend();
        }
    }
}

struct Pulse(Weak<Connection>);

impl Wake for Pulse {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.0.upgrade() {
            connection.pulse();
        }
    }
}
