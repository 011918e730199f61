//! Sending and receiving from tasks, on any executor. Each future makes an attempt, has its waker called when another
//! may be worth while, and takes nothing before it is ready.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{RecvError, SendError};
use crate::gate::Gate;
use crate::message::Message;
use crate::receiver::{Near, Receiver};
use crate::sender::{Permit, Sender};
use crate::slot::Stop;
use crate::watch::Alarm;

/// A task in the line of those that are woken at one gate.
#[derive(Debug, Default)]
struct Waiting(Option<u64>);

impl Waiting {
    /// Makes an attempt, and another from within the line: what comes between them is not missed. Who is served leaves.
    /// The attempt is told where it would be in vain.
    fn poll<R, E>(
        &mut self,
        gate: Gate<'_>,
        context: &Context<'_>,
        mut attempt: impl FnMut(Result<(), Stop>) -> Result<Option<R>, E>,
    ) -> Poll<Result<R, E>> {
        let served = match attempt(Ok(())) {
            Ok(None) => attempt(gate.register(&mut self.0, context.waker())),
            served => served,
        };
        let Some(result) = served.transpose() else { return Poll::Pending };
        self.leave(gate);
        Poll::Ready(result)
    }

    fn leave(&mut self, gate: Gate<'_>) {
        if let Some(ticket) = self.0.take() {
            gate.unregister(ticket);
        }
    }
}

/// What a task that sends keeps between two polls.
#[derive(Debug, Default)]
pub(crate) struct Reserving(Waiting);

impl Reserving {
    /// Holds the slot once it is free.
    pub fn poll<'a, T>(
        &mut self,
        sender: &'a Sender<T>,
        context: &Context<'_>,
    ) -> Poll<Result<Permit<'a, T>, SendError<()>>> {
        let gate = sender.tx.gate();
        self.0.poll(gate, context, |hope| sender.permit(hope.and_then(|()| gate.attempt())))
    }

    /// The task does not wait any more; to be called before this is dropped.
    pub fn cancel<T>(&mut self, sender: &Sender<T>) {
        self.0.leave(sender.tx.gate());
    }
}

/// What a task that receives keeps between two polls.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    waiting: Waiting,
    /// For a timer.
    alarm: Option<Alarm>,
}

impl Receiving {
    /// Receives once there is a message.
    pub fn poll<T: Message>(&mut self, receiver: &Receiver<T>, context: &Context<'_>) -> Poll<Result<T, RecvError>> {
        match receiver.rx.near() {
            Near::Gate(gate) => {
                self.waiting.poll(gate, context, |hope| receiver.delivery(hope.and_then(|()| gate.attempt())))
            }
            Near::Timer(timer) => timer.poll(context, &mut self.alarm),
        }
    }

    /// The task does not wait any more; to be called before this is dropped.
    pub fn cancel<T>(&mut self, receiver: &Receiver<T>) {
        if let Near::Gate(gate) = receiver.rx.near() {
            self.waiting.leave(gate);
        }
        self.alarm = None;
    }
}

/// Waits for the right to send one message; see [`Sender::reserve_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct ReserveFuture<'a, T> {
    sender: &'a Sender<T>,
    reserving: Reserving,
}

impl<'a, T> ReserveFuture<'a, T> {
    pub(crate) fn new(sender: &'a Sender<T>) -> Self {
        ReserveFuture { sender, reserving: Reserving::default() }
    }
}

impl<'a, T: Message> Future for ReserveFuture<'a, T> {
    type Output = Result<Permit<'a, T>, SendError<()>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let sender = self.sender;
        self.reserving.poll(sender, context)
    }
}

impl<T> Drop for ReserveFuture<'_, T> {
    fn drop(&mut self) {
        self.reserving.cancel(self.sender);
    }
}

/// Sends one message; see [`Sender::send_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct SendFuture<'a, T> {
    reserve: ReserveFuture<'a, T>,
    message: Option<T>,
}

impl<'a, T> SendFuture<'a, T> {
    pub(crate) fn new(sender: &'a Sender<T>, message: T) -> Self {
        SendFuture { reserve: ReserveFuture::new(sender), message: Some(message) }
    }
}

// The message is moved out and never pinned.
impl<T> Unpin for SendFuture<'_, T> {}

impl<T: Message> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// Once it was ready it is pending for ever.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while self.message.is_some() {
            let reserved = match Pin::new(&mut self.reserve).poll(context) {
                Poll::Ready(reserved) => reserved,
                Poll::Pending => return Poll::Pending,
            };
            let Some(message) = self.message.take() else { break };
            match reserved {
                Ok(permit) => match permit.put(message) {
                    Ok(None) => return Poll::Ready(Ok(())),
                    Ok(back) => self.message = back,
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Err(error) => return Poll::Ready(Err(error.map(|()| message))),
            }
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for ReserveFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReserveFuture").field(self.sender).finish()
    }
}

impl<T> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendFuture").field(self.reserve.sender).finish()
    }
}

/// Receives one message; see [`Receiver::recv_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvFuture<'a, T> {
    receiver: &'a Receiver<T>,
    receiving: Receiving,
}

impl<'a, T> RecvFuture<'a, T> {
    pub(crate) fn new(receiver: &'a Receiver<T>) -> Self {
        RecvFuture { receiver, receiving: Receiving::default() }
    }
}

impl<T: Message> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    /// Receives another message, should it be polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let receiver = self.receiver;
        self.receiving.poll(receiver, context)
    }
}

impl<T> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        self.receiving.cancel(self.receiver);
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvFuture").field(self.receiver).finish()
    }
}

#[cfg(test)]
mod tests;
