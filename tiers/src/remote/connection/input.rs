//! Reading a connection, and doing what the far side says.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError};

use rustix::io::Errno;

use super::Connection;
use crate::error::Reason;
use crate::remote::bells::Bells;
use crate::remote::carrier::{Carrier, Patience};
use crate::remote::channel::Channel;
use crate::remote::frame::{self, Garbage, Halves};
use crate::remote::reader::{Reader, Said, Step};

/// So often the watcher reads before it looks after others.
const AT_ONCE: usize = 64;

/// When so much is missing of a message, its sender is to make the next one ready: it takes a network about as long to
/// bring that as to tell him.
const NEAR: usize = 512 << 10;

/// What is read, and what has been read of the next frame.
#[derive(Default)]
pub(super) struct Input {
    pub carrier: Option<Arc<dyn Carrier>>,
    pub reader: Reader,
}

/// How reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote) enum Read {
    Something,
    Nothing,
    /// There is no stream.
    Down,
}

impl Connection {
    /// Reads once, as the leader; unless `has_news` says meanwhile that it is not necessary any more. `receives` is the
    /// channel of a leader that waits for a message of it, and for nothing else.
    pub(in crate::remote) fn read(
        &self,
        patience: Patience,
        receives: Option<&Channel>,
        has_news: impl Fn() -> bool,
    ) -> Read {
        let mut input = self.input();
        if receives.is_some_and(Channel::is_owed) {
            // Another thread of this side has something for it in its hands.
            std::thread::yield_now();
            return Read::Something;
        }
        // Whoever read before there was a leader is done with it now.
        if has_news() {
            return Read::Something;
        }
        let bells = Bells::default();
        if let Some(channel) = receives {
            self.promise(&input.reader, channel);
        }
        let read = self.read_on(&mut input, patience, &bells);
        drop(input);
        bells.ring();
        read
    }

    /// Reads what there is, unless there is a leader: then that will.
    pub(in crate::remote) fn pump(&self) {
        let mut input = loop {
            if self.lead.is_taken() {
                return;
            }
            match self.input.try_lock() {
                Ok(input) => break input,
                Err(TryLockError::Poisoned(input)) => break input.into_inner(),
                // Somebody else who does not wait either.
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        };
        if self.lead.is_taken() {
            return;
        }
        let bells = Bells::default();
        for _ in 0..AT_ONCE {
            if self.read_on(&mut input, Patience::None, &bells) != Read::Something {
                break;
            }
        }
        drop(input);
        bells.ring();
    }

    /// Who sends twice and has heard nothing in between looks first whether there is still somebody to send to. Who has
    /// heard something (an answer, `taken`) has read all there was.
    pub(crate) fn hear_between_sends(&self) {
        let heard = self.heard.load(Ordering::Relaxed);
        if self.heard_at_send.swap(heard, Ordering::Relaxed) == heard {
            self.pump();
        }
    }

    /// Says ahead that what is coming for this channel was taken.
    fn promise(&self, reader: &Reader, channel: &Channel) {
        if let Some((number, missing)) = reader.coming()
            && number == channel.number()
            && missing <= NEAR
            && channel.promise()
        {
            self.taken(channel, false);
        }
    }

    fn read_on(&self, input: &mut Input, patience: Patience, bells: &Bells) -> Read {
        let Input { carrier: Some(carrier), reader } = &mut *input else { return Read::Down };
        match reader.read(&**carrier, patience) {
            Ok(0) => {}
            Ok(_) => {
                self.heard.fetch_add(1, Ordering::Relaxed);
                if self.understand(reader, bells).is_err() {
                    self.end_for(Reason::Protocol, Some(Reason::Protocol), bells);
                }
                return Read::Something;
            }
            Err(Errno::AGAIN) => return Read::Nothing,
            Err(Errno::INTR) => return Read::Something,
            Err(_) => {}
        }
        self.lose_carrier(input);
        Read::Down
    }

    /// Does what the far side has said.
    fn understand(&self, reader: &mut Reader, bells: &Bells) -> Result<(), Garbage> {
        while let Some(Step { said, counts }) = reader.next()? {
            if let Some(bytes) = counts {
                // That it came is told with what comes of it: every message is answered by a `taken` at least.
                self.writer().received(bytes)?;
            }
            match said {
                Some(Said::Message(head, data)) => {
                    let channel = self.channel(head.channel)?;
                    let capabilities = self.arrive(&head.passports)?;
                    channel.deliver(data, capabilities, bells)?;
                }
                Some(Said::Taken(number)) => {
                    let acknowledged = self.writer().acknowledged;
                    self.channel(number)?.was_taken(acknowledged, bells)?;
                }
                Some(Said::Left(number, halves, reason)) => {
                    let channel = self.channel(number)?;
                    channel.far_left(halves, reason, bells)?;
                    // There is nothing that this end could still be for.
                    let both = channel.has_left() == Halves::BOTH;
                    self.leave(&channel, if both { Halves::BOTH } else { Halves::default() }, Reason::Closed);
                }
                Some(Said::Acknowledge(count)) => self.writer().was_acknowledged(count)?,
                Some(Said::Ping) => {
                    let mut writer = self.writer();
                    if !writer.is_behind() {
                        writer.tell(frame::pong());
                    }
                    self.flush(writer);
                }
                Some(Said::End(reason)) => self.end_for(reason, None, bells),
                None => {}
            }
        }
        Ok(())
    }

    fn channel(&self, number: u32) -> Result<Arc<Channel>, Garbage> {
        self.table().channels.get(&number).map(|entry| Arc::clone(&entry.channel)).ok_or(Garbage)
    }
}
