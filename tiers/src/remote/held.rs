//! A message that was taken out of one channel, and is told as taken only when it was received from another one.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::channel::{self, Channel};
use crate::capability::Capability;
use crate::error::Reason;
use crate::message::Message;
use crate::process::link::Link;
use crate::receiver::{Receiver, Rx};
use crate::slot::Turn;
use crate::thread;

/// The sender's slot, which is still full as far as he can see. Dropped, it stays so: the receiver goes.
#[must_use = "the sender waits for its release"]
pub(super) enum Held<'a, T> {
    Thread(thread::Held<'a, T>),
    Process(&'a Link, Turn<'a>),
    Remote(&'a Arc<Channel>, channel::Held<'a>),
}

/// A message, with what goes beside it.
pub(super) struct Taken<'a, T> {
    pub message: T,
    pub capabilities: Vec<Capability>,
    pub held: Held<'a, T>,
}

impl<'a, T: Message> Taken<'a, T> {
    /// Takes what there is for this turn.
    ///
    /// # Errors
    /// It is no message of this type, and the channel has ended; or this is no channel whose slot could be held.
    pub fn out_of(from: &'a Receiver<T>, turn: Turn<'a>) -> Result<Taken<'a, T>, Reason> {
        let (message, capabilities, held) = match &from.rx {
            Rx::Thread(lane) => {
                let (message, capabilities, held) = lane.hold(turn);
                (message, capabilities, Held::Thread(held))
            }
            Rx::Process(link) => {
                let held = link.hold(turn).ok_or_else(|| from.malformed(link).reason().unwrap_or(Reason::Protocol))?;
                (held.0, held.1, Held::Process(link, held.2))
            }
            Rx::Remote(channel) => {
                let held = channel.hold(turn).ok_or(Reason::Protocol)?;
                (held.0, held.1, Held::Remote(channel, held.2))
            }
            Rx::File(_) | Rx::Timer(_) => return Err(Reason::Closed),
        };
        Ok(Taken { message, capabilities, held })
    }
}

impl<T> Held<'_, T> {
    /// The sender may send the next one.
    pub fn release(self) {
        match self {
            Held::Thread(held) => held.release(),
            Held::Process(link, turn) => link.release(turn),
            Held::Remote(channel, held) => channel.release(held),
        }
    }
}
