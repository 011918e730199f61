//! Ends that are handed over to the far side of a connection.
//!
//! Nothing of an end can go there but what passes through it. So its place there is taken by a channel of the
//! connection, and a thread here passes on, in both directions, what comes: a message is taken from one side only once
//! there is room for it at the other, and its sender has room for the next one only once it was received there. So
//! there is one message in a direction, as in any channel. When one side ends, the other is told why, as far as it can
//! be: a channel of threads or of processes knows [`Closed`](Reason::Closed) and [`Panicked`](Reason::Panicked) only.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::channel::Channel;
use super::frame::Passport;
use super::held::Taken;
use super::peer;
use crate::capability::{Capability, Inner, Refusal};
use crate::error::{Reason, SendError, SendWithError, Unfit};
use crate::message::{Encoded, Message};
use crate::peer::Peer;
use crate::process::passport::MOST;
use crate::receiver::{Near, Receiver};
use crate::sender::{Permit, Sender};
use crate::slot::Turn;

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
    let mut context = Context::from_waker(&waker);
    let ((to_end, from_end), (to_far, from_far)) = (end.split(), far.split());
    let (mut out, mut back) = (pin!(pump(from_end, to_far)), pin!(pump(from_far, to_end)));
    let (mut is_out, mut is_back) = (true, true);
    loop {
        is_out = is_out && out.as_mut().poll(&mut context).is_pending();
        is_back = is_back && back.as_mut().poll(&mut context).is_pending();
        if !is_out && !is_back {
            return;
        }
        thread::park();
    }
}

/// One direction, until one side ends; the other is told why, as far as it can be.
async fn pump<T: Message>(from: Receiver<T>, to: Sender<T>) {
    let Err(reason) = pass_on(&from, &to).await;
    to.tx.leave(reason);
    from.rx.leave(reason);
}

/// Passes on one message after the other. Each is still in the sender's slot, as far as he can see, until it was
/// received at the other side: that there is room goes through from end to end, as messages do.
async fn pass_on<T: Message>(from: &Receiver<T>, to: &Sender<T>) -> Result<Infallible, Reason> {
    loop {
        let Met { permit, taken: Taken { message, capabilities, held } } = Meeting::new(from, to).await?;
        send(permit, to, message, capabilities)?;
        drop(to.reserve_async().await.map_err(|error| reason(&error))?);
        held.release();
    }
}

fn send<T: Message>(
    permit: Permit<'_, T>,
    to: &Sender<T>,
    message: T,
    capabilities: Vec<Capability>,
) -> Result<(), Reason> {
    match permit.send_with(message, capabilities) {
        Ok(()) => Ok(()),
        Err(SendWithError { error: SendError::Unfit(message, Unfit::Capability(_)), .. }) => {
            // What cannot go on from here closes, and the message goes without it.
            to.try_send(message).map_err(|error| error.reason().unwrap_or(Reason::Protocol))
        }
        Err(SendWithError { error, .. }) => Err(reason(&error)),
    }
}

fn reason<T>(error: &SendError<T>) -> Reason {
    error.reason().unwrap_or(Reason::Protocol)
}

/// A message at one side, and room for it at the other.
struct Met<'a, T> {
    permit: Permit<'a, T>,
    taken: Taken<'a, T>,
}

/// Waits for both.
struct Meeting<'a, T> {
    from: &'a Receiver<T>,
    to: &'a Sender<T>,
    /// Where this waits in line.
    tickets: [Option<u64>; 2],
}

impl<'a, T: Message> Meeting<'a, T> {
    fn new(from: &'a Receiver<T>, to: &'a Sender<T>) -> Self {
        Meeting { from, to, tickets: [None; 2] }
    }

    /// From within both lines: an end of either side is noticed, too.
    fn attempt(&mut self, waker: &Waker) -> Result<Option<Met<'a, T>>, Reason> {
        let [from_ticket, to_ticket] = &mut self.tickets;
        let (Near::Gate(from), to) = (self.from.rx.near(), self.to.tx.gate()) else { return Err(Reason::Closed) };
        from.register(from_ticket, waker).map_err(|stop| self.from.rx.reason(stop))?;
        to.register(to_ticket, waker).map_err(|stop| self.to.tx.reason(stop))?;
        let Some(permit) = self.to.permit(to.attempt()).map_err(|error| reason(&error))? else { return Ok(None) };
        let Some(turn) = from.attempt().map_err(|stop| self.from.rx.reason(stop))? else { return Ok(None) };
        Ok(Some(Met { permit, taken: Taken::out_of(self.from, turn)? }))
    }
}

impl<'a, T: Message> Future for Meeting<'a, T> {
    type Output = Result<Met<'a, T>, Reason>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.attempt(context.waker()) {
            Ok(None) => Poll::Pending,
            Ok(Some(met)) => Poll::Ready(Ok(met)),
            Err(reason) => Poll::Ready(Err(reason)),
        }
    }
}

impl<T> Drop for Meeting<'_, T> {
    fn drop(&mut self) {
        let [from_ticket, to_ticket] = self.tickets;
        if let (Near::Gate(gate), Some(ticket)) = (self.from.rx.near(), from_ticket) {
            gate.unregister(ticket);
        }
        if let Some(ticket) = to_ticket {
            self.to.tx.gate().unregister(ticket);
        }
    }
}
