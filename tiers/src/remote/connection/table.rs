//! The channels of a connection, by number.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Connection;
use crate::capability::{Capability, Inner};
use crate::remote::channel::Channel;
use crate::remote::frame::{Garbage, Passport};
use crate::remote::{Arrived, CHANNELS};

/// The channels, by number. Even ones were opened by who was dialled, and 0 is there from the beginning.
#[derive(Default)]
pub(in crate::remote) struct Table {
    pub channels: BTreeMap<u32, Entry>,
    /// How many channels this side and the far one have opened, ever.
    opened: [u32; 2],
}

pub(in crate::remote) struct Entry {
    pub channel: Arc<Channel>,
    /// Both near halves have left, and the far side has not said so: somebody must be there to hear it.
    pub is_closing: bool,
}

impl Connection {
    /// The ends beside a message become channels.
    pub(super) fn arrive(&self, passports: &[Passport]) -> Result<Vec<Capability>, Garbage> {
        if passports.is_empty() {
            return Ok(Vec::new());
        }
        let me = self.me.upgrade().ok_or(Garbage)?;
        let mut table = self.table();
        let mut arrived = Vec::new();
        for passport in passports {
            if table.next(self.origin.other()) != Some(passport.channel) {
                break;
            }
            let channel = table.open(&me, passport.channel, self.origin.other());
            arrived.push(Capability(Inner::Remote(Arrived::new(channel, passport.kind))));
        }
        // Before any of them is dropped.
        drop(table);
        if arrived.len() == passports.len() { Ok(arrived) } else { Err(Garbage) }
    }

    /// Channels for so many ends that are to be handed over. None where there are too many.
    pub(in crate::remote) fn open(&self, count: usize) -> Option<Vec<Arc<Channel>>> {
        let me = self.me.upgrade()?;
        let mut table = self.table();
        if self.is_over() || table.count(self.origin.parity()) + count > CHANNELS {
            return None;
        }
        let parity = self.origin.parity();
        (0..count).map(|_| table.next(parity).map(|number| table.open(&me, number, parity))).collect()
    }

    /// Channels that were opened and that the far side has never heard of.
    pub(in crate::remote) fn forget(&self, channels: &[Arc<Channel>]) {
        let mut table = self.table();
        let parity = self.origin.parity();
        for channel in channels.iter().rev() {
            table.channels.remove(&channel.number());
            // The next one takes the number: they are without a gap.
            table.opened[parity as usize] -= 1;
        }
    }
}

impl Table {
    /// How many channels there are that were opened by the side of that parity.
    fn count(&self, parity: u32) -> usize {
        self.channels.keys().filter(|number| **number % 2 == parity).count()
    }

    /// The number of the next channel of that side. None where it has too many.
    fn next(&self, parity: u32) -> Option<u32> {
        // One more than it may open: the first one is even, whoever opened it.
        let has_room = self.count(parity) <= CHANNELS;
        let number = self.opened[parity as usize].checked_add(1)?.checked_mul(2)?.checked_add(parity)?;
        has_room.then_some(number)
    }

    fn open(&mut self, connection: &Arc<Connection>, number: u32, parity: u32) -> Arc<Channel> {
        self.opened[parity as usize] += 1;
        let channel = Channel::new(Arc::clone(connection), number);
        self.channels.insert(number, Entry { channel: Arc::clone(&channel), is_closing: false });
        channel
    }
}
