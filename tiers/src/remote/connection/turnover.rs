//! How channels and streams of a connection come and go, and how all of it ends.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::event::epoll::EventFlags;

use super::clocks::Clocks;
use super::input::Input;
use super::{Armed, Connection};
use crate::error::Reason;
use crate::futex;
use crate::remote::bells::Bells;
use crate::remote::carrier::Carrier;
use crate::remote::channel::Channel;
use crate::remote::frame::{self, Halves};
use crate::remote::{Origin, dial};
use crate::slot::{Scope, Watched as Word};

impl Connection {
    /// After near or far halves have left: whether that was the last of the channel, or of all.
    pub(super) fn retire(&self, channel: &Arc<Channel>) {
        let mut table = self.table();
        let Some(entry) = table.channels.get_mut(&channel.number()) else { return };
        if channel.has_told() != Halves::BOTH {
            return;
        }
        let is_over = channel.has_left() == Halves::BOTH;
        let was_closing = std::mem::replace(&mut entry.is_closing, true);
        if is_over {
            table.channels.remove(&channel.number());
        }
        let is_last = table.channels.is_empty();
        let is_parting = table.channels.values().all(|entry| entry.is_closing);
        drop(table);
        match (was_closing, is_over) {
            (true, true) => self.lead.release(),
            (false, false) => drop(self.depend()),
            _ => {}
        }
        if is_last {
            self.finish();
        } else if is_parting {
            self.set_farewell();
        }
    }

    /// Nobody needs it any more. The far side has said goodbye to everything, so it does not matter whether it hears
    /// ours.
    pub(super) fn finish(&self) {
        if self.is_behind() {
            // The watcher comes back to this.
            return self.set_farewell();
        }
        self.is_over.store(true, Ordering::SeqCst);
        self.writer().disconnect();
        if let Some(carrier) = self.carrier() {
            carrier.hang_up();
        }
    }

    /// It ends for all of its channels. The far side is told where it can be.
    pub(in crate::remote) fn end(&self, reason: Reason) {
        let bells = Bells::default();
        self.end_for(reason, None, &bells);
        bells.ring();
    }

    pub(super) fn end_for(&self, reason: Reason, tell: Option<Reason>, bells: &Bells) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut writer = self.writer();
        if let Some(tell) = tell {
            writer.tell(frame::end(tell));
            writer.flush();
        }
        writer.disconnect();
        drop(writer);
        let entries = std::mem::take(&mut self.table().channels);
        for entry in entries.into_values() {
            if entry.is_closing {
                self.lead.release();
            }
            entry.channel.end_for(reason, bells);
        }
        if let Some(carrier) = self.carrier() {
            carrier.hang_up();
        }
        *self.clocks() = Clocks::default();
        self.turn_over();
    }

    /// The stream is of no use any more.
    pub(super) fn lose_carrier(&self, input: &mut Input) {
        let Some(carrier) = input.carrier.take() else { return };
        carrier.hang_up();
        input.reader.reset();
        let mut armed = self.armed();
        armed.carrier = None;
        armed.events = EventFlags::empty();
        carrier.unwatch(self.watcher);
        drop(armed);
        self.writer().disconnect();
        self.is_behind.store(false, Ordering::SeqCst);
        if self.is_over() {
            return;
        }
        self.clocks().down = Some(Instant::now());
        match (&self.origin, self.me.upgrade()) {
            (Origin::Dialled(_), Some(me)) => dial::again(me),
            _ => self.set_pulse(),
        }
    }

    /// Takes the stream away, where there is one, to put another in its place. How many frames of the far side have
    /// come.
    pub(in crate::remote) fn suspend(&self) -> u64 {
        if let Some(carrier) = self.carrier() {
            carrier.hang_up();
        }
        self.lose_carrier(&mut self.input());
        self.writer().received_frames()
    }

    /// There is a stream again, at which the far side has said that it has so many frames.
    pub(in crate::remote) fn resume(&self, carrier: Arc<dyn Carrier>, far_has: u64) {
        let mut input = self.input();
        if self.is_over() || input.carrier.is_some() {
            return;
        }
        let mut writer = self.writer();
        if writer.resume(Arc::clone(&carrier), far_has).is_err() {
            drop((writer, input));
            return self.end(Reason::Protocol);
        }
        input.carrier = Some(Arc::clone(&carrier));
        *self.armed() = Armed { carrier: Some(carrier), events: EventFlags::empty() };
        self.clocks().down = None;
        drop(input);
        self.flush(writer);
        self.turn_over();
        self.rearm();
        self.set_pulse();
    }

    /// Wakes who waits for a stream.
    pub(super) fn turn_over(&self) {
        self.turnover.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.turnover, Scope::Process);
    }

    /// What a leader sleeps on while there is no stream.
    pub(in crate::remote) fn turnover(&self) -> Word<'_> {
        Word { word: &self.turnover, seen: self.turnover.load(Ordering::SeqCst), scope: Scope::Process }
    }
}
