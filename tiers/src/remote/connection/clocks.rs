//! What a connection does by the clock: it finds links that are silent, gives up those that do not come back, does not
//! wait for ever for a far side that does not say goodbye, and keeps no `taken` for long.
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
    /// When the far side is to have said goodbye at the latest, and how many bytes had gone when that was set.
    farewell: Option<(Alarm, u64)>,
}

impl Connection {
    /// Sets the time at which no `taken` is to be kept any more.
    pub(super) fn set_guard(&self) {
        let alarm = self.watcher.alarm(Instant::now() + GUARD, self.call(Connection::guard));
        self.clocks().guard = Some(alarm);
    }

    /// Has the watcher attend again, once it has attended to others: there is something to read that no descriptor
    /// tells of.
    pub(super) fn set_recall(&self) {
        let alarm = self.watcher.alarm(Instant::now(), self.call(Connection::attend));
        self.clocks().recall = Some(alarm);
    }

    /// Sets the time of the next look.
    pub(super) fn set_pulse(&self) {
        let waker = self.call(Connection::pulse);
        let mut clocks = self.clocks();
        let at = match clocks.down {
            Some(since) => since.checked_add(self.options.linger),
            None => Instant::now().checked_add(self.options.keep_alive / LOOKS),
        };
        clocks.pulse = at.map(|at| self.watcher.alarm(at, waker));
    }

    /// Nobody here has any use for the connection any more: sets the time until which the far side is to say so, too.
    /// An honest one does at its next look, once there is a stream.
    pub(super) fn set_farewell(&self) {
        let waker = self.call(Connection::farewell);
        let gone = self.writer().gone;
        let mut clocks = self.clocks();
        let patience = self.options.keep_alive.checked_add(self.options.linger);
        if let (None, Some(at)) = (&clocks.farewell, patience.and_then(|patience| Instant::now().checked_add(patience)))
        {
            clocks.farewell = Some((self.watcher.alarm(at, waker), gone));
        }
    }

    /// What does `act` when its time has come, if the connection is still there.
    fn call(&self, act: fn(&Connection)) -> Waker {
        Waker::from(Arc::new(Call { connection: self.me.clone(), act }))
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
        self.look_for_silence();
        self.set_pulse();
    }

    /// Asks a far side that says nothing whether it is there; hangs up on one that does not answer.
    fn look_for_silence(&self) {
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
    }

    /// Waits no longer for a far side that does not say goodbye; unless what we sent still goes, however slowly.
    fn farewell(&self) {
        let gone = self.writer().gone;
        let before = self.clocks().farewell.take();
        if self.is_behind() && before.is_some_and(|(_, before)| before != gone) {
            return self.set_farewell();
        }
        self.end(Reason::Unreachable);
    }

    /// Sees to it that no `taken` is kept for long.
    fn guard(&self) {
        self.is_guarded.store(false, Ordering::SeqCst);
        self.settle();
    }
}

/// Something to be done at a time.
struct Call {
    connection: Weak<Connection>,
    act: fn(&Connection),
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if let Some(connection) = self.connection.upgrade() {
            (self.act)(&connection);
        }
    }
}
