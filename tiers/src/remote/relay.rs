//! Ends that are handed over to the far side of a connection.
//!
//! Nothing of an end can go there but what passes through it. So its place there is taken by a channel of the connection, and a
//! thread here passes on, in both directions, what comes: a message is taken from one side only once there is room for it at
//! the other. When one side ends, the other is told why, as far as it can be: a channel of threads or of processes knows
//! [`Closed`](Reason::Closed) only.
#![forbid(unsafe_code)]

use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::channel::Channel;
use super::frame::Passport;
use super::peer;
use crate::capability::{Capability, Inner, Refusal};
use crate::error::{Reason, SendError, SendWithError, Unfit};
use crate::message::{Encoded, Message};
use crate::peer::Peer;
use crate::process::passport::MOST;
use crate::receiver::{Receiver, Rx};
use crate::sender::{Sender, Tx};
use crate::slot::{Role, Turn};

/// What is to be done between an end and the channel that stands for it.
pub(crate) struct Relay(Box<dyn FnOnce() + Send>);

impl Relay {
    /// Passes on between `end` and whoever has the far end of `channel`.
    pub fn between<Out: Message, In: Message>(end: Peer<Out, In>, channel: Arc<Channel>) -> Relay {
        let far: Peer<In, Out> = peer(channel);
        Relay(Box::new(move || run(end, far)))
    }
}

/// Sends a message, at a sender's turn, with capabilities beside it: all or nothing.
pub(crate) fn hand_over<T: Message>(
    over: &Arc<Channel>,
    turn: Turn<'_>,
    message: T,
    capabilities: Vec<Capability>,
) -> Result<(), SendWithError<T>> {
    let refused = |message, capabilities, refusal| {
        let error = SendError::Unfit(message, Unfit::Capability(refusal));
        Err(SendWithError { error, capabilities })
    };
    if capabilities.is_empty() {
        return over.put(turn, message).map_err(|error| SendWithError { error, capabilities });
    }
    if capabilities.len() > MOST {
        return refused(message, capabilities, Refusal::TooMany);
    }
    let connection = over.connection();
    // The far side counts the channels in the order in which they come.
    let _handing_over = connection.handing_over.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = match ready(&capabilities) {
        Ok(threads) => threads,
        Err(refusal) => return refused(message, capabilities, refusal),
    };
    let Some(channels) = connection.open(capabilities.len()) else {
        return refused(message, capabilities, Refusal::TooMany);
    };
    let kinds = capabilities.iter().filter_map(|capability| match &capability.0 {
        Inner::Here(held) => Some(held.kind()),
        Inner::Remote(arrived) => Some(arrived.kind()),
        Inner::Arrived(_) => None,
    });
    let passport = |(channel, kind): (&Arc<Channel>, _)| Passport { channel: channel.number(), kind };
    let passports: Vec<Passport> = channels.iter().zip(kinds).map(passport).collect();
    if let Err(error) = over.put_beside(turn, message, &passports) {
        connection.forget(&channels);
        return Err(SendWithError { error, capabilities });
    }
    for ((capability, channel), thread) in capabilities.into_iter().zip(channels).zip(threads) {
        let relay = match capability.0 {
            Inner::Here(held) => held.relay(channel),
            Inner::Remote(arrived) => Some(Relay::between(arrived.claim::<Encoded, Encoded>(), channel)),
            Inner::Arrived(_) => None,
        };
        if let Some(relay) = relay {
            // It waits for this.
            let _ = thread.send(relay);
        }
    }
    Ok(())
}

/// Threads for all of them, which wait for what they have to do, and end where it does not come.
fn ready(capabilities: &[Capability]) -> Result<Vec<mpsc::Sender<Relay>>, Refusal> {
    let start = |capability: &Capability| {
        match &capability.0 {
            Inner::Here(held) => held.can_be_relayed()?,
            Inner::Remote(_) => {}
            Inner::Arrived(_) => return Err(Refusal::Unclaimed),
        }
        let (begin, wait) = mpsc::channel::<Relay>();
        let relay = move || {
            if let Ok(Relay(run)) = wait.recv() {
                run();
            }
        };
        // The messages' own code runs on its stack.
        thread::Builder::new().name("fs9-relay".to_owned()).spawn(relay).map_err(Refusal::of)?;
        Ok(begin)
    };
    capabilities.iter().map(start).collect()
}

/// Wakes the thread that passes on.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn run<Out: Message, In: Message>(end: Peer<Out, In>, far: Peer<In, Out>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let context = Context::from_waker(&waker);
    let ((to_end, from_end), (to_far, from_far)) = (end.split(), far.split());
    let (mut out, mut back) = (Some(Pump::new(from_end, to_far)), Some(Pump::new(from_far, to_end)));
    while out.is_some() || back.is_some() {
        if out.as_mut().is_some_and(|pump| pump.poll(&context).is_ready()) {
            out = None;
        }
        if back.as_mut().is_some_and(|pump| pump.poll(&context).is_ready()) {
            back = None;
        }
        if out.is_some() || back.is_some() {
            thread::park();
        }
    }
}

/// One direction.
struct Pump<T> {
    from: Receiver<T>,
    to: Sender<T>,
    /// Where this waits in line.
    tickets: [Option<u64>; 2],
}

impl<T: Message> Pump<T> {
    fn new(from: Receiver<T>, to: Sender<T>) -> Self {
        Pump { from, to, tickets: [None; 2] }
    }

    /// Passes on what there is, until one side ends.
    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        loop {
            let Some(turns) = self.register(context) else { return self.end(Reason::Closed) };
            match turns {
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
                Err(reason) => return self.end(reason),
            }
        }
    }

    /// Passes on one message, from within both lines: whether there was one, and room for it. None: there is nothing to wait at.
    fn register(&mut self, context: &Context<'_>) -> Option<Result<bool, Reason>> {
        let [from_ticket, to_ticket] = &mut self.tickets;
        let (crate::receiver::Near::Gate(from), to) = (self.from.rx.near(), self.to.tx.gate()) else { return None };
        from.register(from_ticket, context.waker()).ok()?;
        to.register(to_ticket, context.waker()).ok()?;
        let permit = match self.to.permit(to.attempt()) {
            Ok(Some(permit)) => permit,
            Ok(None) => return Some(Ok(false)),
            Err(error) => return Some(Err(error.reason().unwrap_or(Reason::Closed))),
        };
        let delivery = match self.from.delivery_with(from.attempt()) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Some(Ok(false)),
            Err(error) => return Some(Err(error.reason().unwrap_or(Reason::Closed))),
        };
        let (message, capabilities) = delivery;
        match permit.send_with(message, capabilities) {
            Ok(()) => Some(Ok(true)),
            Err(SendWithError { error: SendError::Unfit(message, Unfit::Capability(_)), .. }) => {
                // What cannot go on from here closes, and the message goes without it.
                let sent = self.to.try_send(message);
                Some(sent.map(|()| true).map_err(|error| error.reason().unwrap_or(Reason::Protocol)))
            }
            Err(SendWithError { error, .. }) => Some(Err(error.reason().unwrap_or(Reason::Protocol))),
        }
    }

    /// Tells both sides, as far as they can be told.
    fn end(&mut self, reason: Reason) -> Poll<()> {
        if let Tx::Remote(channel) = &self.to.tx {
            channel.close(Role::Sender, reason);
        }
        if let Rx::Remote(channel) = &self.from.rx {
            channel.close(Role::Receiver, reason);
        }
        Poll::Ready(())
    }
}

impl<T> Drop for Pump<T> {
    fn drop(&mut self) {
        let [from_ticket, to_ticket] = self.tickets;
        if let (crate::receiver::Near::Gate(gate), Some(ticket)) = (self.from.rx.near(), from_ticket) {
            gate.unregister(ticket);
        }
        if let Some(ticket) = to_ticket {
            self.to.tx.gate().unregister(ticket);
        }
    }
}
