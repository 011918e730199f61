//! A receiver as a [`Stream`] and a sender as a [`Sink`], for programs that are put together from those. With the cargo
//! feature `stream`.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;

use crate::error::{Reason, TrySendError};
use crate::future::{Receiving, Reserving};
use crate::message::Message;
use crate::receiver::Receiver;
use crate::sender::Sender;

impl<T: Message> Receiver<T> {
    /// The messages, as they come, until the other end is gone: [`Receiver::iter`] for tasks. Of a timer, the ticks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use futures_util::StreamExt;
    ///
    /// # pollster::block_on(async {
    /// let ticks = fs9_tiers::every(Duration::from_millis(1));
    /// let three: Duration = ticks.stream().take(3).fold(Duration::ZERO, async |_, due| due).await;
    /// assert!(three >= Duration::from_millis(3));
    /// # });
    /// ```
    pub fn stream(&self) -> RecvStream<T, &Receiver<T>> {
        RecvStream::new(self)
    }

    /// As [`Receiver::stream`], with a stream that owns the receiver and hangs up when it is dropped.
    pub fn into_stream(self) -> RecvStream<T> {
        RecvStream::new(self)
    }
}

impl<T: Message> Sender<T> {
    /// A sink that sends what is put into it.
    ///
    /// ```
    /// use futures_util::{SinkExt, StreamExt};
    ///
    /// # pollster::block_on(async {
    /// let (a, b) = fs9_tiers::pair::<u32, ()>();
    /// let ((sender, _back), (_there, receiver)) = (a.split(), b.split());
    /// let (mut sink, mut stream) = (sender.into_sink(), receiver.into_stream());
    /// sink.send(12).await?;
    /// sink.close().await?;
    /// assert_eq!(stream.next().await, Some(12));
    /// assert_eq!(stream.next().await, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_sink(self) -> SendSink<T> {
        SendSink { sender: Some(self), reserving: Reserving::default() }
    }
}

/// Receives with [`Receiver::recv_async`] until the other end is gone; made by [`Receiver::into_stream`] and
/// [`Receiver::stream`].
///
/// A message is received when `next` is ready with it, and not before: a `next` that is dropped has received nothing.
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecvStream<T, R: Borrow<Receiver<T>> = Receiver<T>> {
    receiver: R,
    receiving: Receiving,
    ended: bool,
    messages: PhantomData<fn() -> T>,
}

impl<T, R: Borrow<Receiver<T>>> RecvStream<T, R> {
    fn new(receiver: R) -> Self {
        RecvStream { receiver, receiving: Receiving::default(), ended: false, messages: PhantomData }
    }

    /// The receiver, which tells why the stream has ended: [`Receiver::reason`].
    pub fn receiver(&self) -> &Receiver<T> {
        self.receiver.borrow()
    }
}

// Nothing in it is pinned.
impl<T, R: Borrow<Receiver<T>>> Unpin for RecvStream<T, R> {}

impl<T: Message, R: Borrow<Receiver<T>>> Stream for RecvStream<T, R> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let RecvStream { receiver, receiving, ended, .. } = self.get_mut();
        if *ended {
            return Poll::Ready(None);
        }
        let received = receiving.poll((*receiver).borrow(), context);
        *ended = matches!(received, Poll::Ready(Err(_)));
        received.map(Result::ok)
    }
}

impl<T: Message, R: Borrow<Receiver<T>>> FusedStream for RecvStream<T, R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T, R: Borrow<Receiver<T>>> Drop for RecvStream<T, R> {
    fn drop(&mut self) {
        self.receiving.cancel(self.receiver.borrow());
    }
}

impl<T, R: Borrow<Receiver<T>>> fmt::Debug for RecvStream<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvStream").field(self.receiver()).finish()
    }
}

/// Sends what is put into it; made by [`Sender::into_sink`].
///
/// A message is sent when `start_send` returns, as with [`Sender::send`]: it is in the slot then, and is received even
/// if the sink is dropped next. The sink keeps no message of its own. What waits is `poll_ready`, until the slot is
/// free; only this sink can fill it, so it stays free. (Not so of a queue of a mount: of several programs that write
/// there, send with [`Sender::send_async`].) `poll_flush` has nothing to do, and `poll_close` hangs up. With `SinkExt`:
/// a `send` that is dropped before it is ready may have sent nothing, and drops its message then; never half.
///
/// # Errors
/// [`TrySendError::Disconnected`]: the other end is gone, or the sink was closed. [`TrySendError::Unfit`]: this message
/// cannot be sent, and another one can. [`TrySendError::Full`]: `start_send` without a `poll_ready` that said yes, or
/// a queue in which somebody else was faster. The message comes back; in an error of `poll_ready` there is none.
///
/// ```
/// use fs9_tiers::error::{Reason, TrySendError};
/// use futures_util::SinkExt;
///
/// # pollster::block_on(async {
/// let (a, b) = fs9_tiers::pair::<u8, ()>();
/// let (sender, _receiver) = a.split();
/// let mut sink = sender.into_sink();
/// sink.send(1).await?;
/// assert_eq!(b.recv(), Ok(1));
/// drop(b);
/// assert!(matches!(sink.send(2).await, Err(TrySendError::Disconnected(None, Reason::Closed))));
/// # Ok::<(), TrySendError<Option<u8>>>(())
/// # })?;
/// # Ok::<(), TrySendError<Option<u8>>>(())
/// ```
#[must_use = "a sink that is dropped hangs up"]
pub struct SendSink<T> {
    /// None once it is closed.
    sender: Option<Sender<T>>,
    reserving: Reserving,
}

impl<T> SendSink<T> {
    fn hang_up(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.reserving.cancel(&sender);
        }
    }
}

// Nothing in it is pinned.
impl<T> Unpin for SendSink<T> {}

impl<T: Message> Sink<T> for SendSink<T> {
    type Error = TrySendError<Option<T>>;

    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let SendSink { sender, reserving } = self.get_mut();
        let Some(sender) = sender else { return Poll::Ready(Err(closed(None))) };
        // The permit is given back at once, and nobody else can take it.
        reserving.poll(sender, context).map(|reserved| match reserved {
            Ok(_) => Ok(()),
            Err(error) => Err(error.map(|()| None).into()),
        })
    }

    fn start_send(self: Pin<&mut Self>, message: T) -> Result<(), Self::Error> {
        match &self.sender {
            Some(sender) => sender.try_send(message).map_err(|error| error.map(Some)),
            None => Err(closed(Some(message))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.hang_up();
        Poll::Ready(Ok(()))
    }
}

fn closed<T>(message: Option<T>) -> TrySendError<Option<T>> {
    TrySendError::Disconnected(message, Reason::Closed)
}

impl<T> Drop for SendSink<T> {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl<T> fmt::Debug for SendSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendSink").field(&self.sender).finish()
    }
}

#[cfg(test)]
mod tests;
