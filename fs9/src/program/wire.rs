//! A process that has a peer (fs9_tiers) of bytes.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use fs9_tiers::{Peer, RecvStream, SendSink};
use futures_core::Stream;
use futures_sink::Sink;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::Errno;

use super::far::Far;
use super::framing::Fault;

/// See the [module](self).
#[derive(Debug)]
pub struct Wire {
    /// None once it is hung up.
    sink: Option<SendSink<Vec<u8>>>,
    stream: RecvStream<Vec<u8>>,
    input: Option<Vec<u8>>,
    hung_up: bool,
    spent: bool,
    finishing: bool,
    limit: usize,
    bell: Arc<Bell>,
}

/// Readable once the peer has to be looked at.
#[derive(Debug)]
struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl Wire {
    /// Over this peer, with messages of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of eventfd(2).
    pub fn new(peer: Peer<Vec<u8>, Vec<u8>>, limit: usize) -> io::Result<Wire> {
        let bell = Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?));
        let (sender, receiver) = peer.split();
        let (sink, stream) = (Some(sender.into_sink()), receiver.into_stream());
        Ok(Wire { sink, stream, input: None, hung_up: false, spent: false, finishing: false, limit, bell })
    }

    fn send(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let (Some(sink), Some(_)) = (&mut self.sink, &self.input) {
            let sent = match Pin::new(&mut *sink).poll_ready(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => Pin::new(sink).start_send(self.input.take().unwrap_or_default()).is_ok(),
                Poll::Ready(Err(_)) => false,
            };
            if !sent {
                self.cut_off();
                return Err(Errno::PIPE.into());
            }
        }
        if self.hung_up {
            self.sink = None;
        }
        Ok(())
    }

    /// The next message of the stream; while there is none, the bell rings when there is.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let waker = Waker::from(self.bell.clone());
        match Pin::new(&mut self.stream).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(message)) => return Some(message),
            Poll::Ready(None) => self.spent = true,
            Poll::Pending => self.spent = self.finishing,
        }
        None
    }
}

impl Far for Wire {
    fn has_room(&self) -> bool {
        self.sink.is_some() && !self.hung_up && self.input.is_none()
    }

    fn give(&mut self, message: Vec<u8>) {
        self.input = Some(message);
    }

    fn hang_up(&mut self) {
        self.hung_up = true;
    }

    fn cut_off(&mut self) {
        (self.sink, self.input) = (None, None);
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let next = if self.spent { None } else { self.receive() };
        let fault = match next {
            Some(message) if message.is_empty() => Fault::Empty,
            Some(message) if message.len() > self.limit => Fault::TooLong(self.limit),
            next => return Ok(next),
        };
        self.spent = true;
        Err(fault)
    }

    fn is_spent(&self) -> bool {
        self.spent
    }

    fn advance(&mut self, _wanted: bool) -> io::Result<()> {
        let waker = Waker::from(self.bell.clone());
        let mut context = Context::from_waker(&waker);
        // Before it is looked at, so that what rings from now on is heard. Read or not, it is as it should be.
        let _ = rustix::io::read(&self.bell.0, &mut [0; 8]);
        self.send(&mut context)
    }

    fn close_output(&mut self) {
        self.spent = true;
    }

    fn finish(&mut self) {
        self.cut_off();
        self.finishing = true;
    }

    fn sources<'a>(&'a self, _wanted: bool, sources: &mut Vec<PollFd<'a>>) {
        sources.push(PollFd::new(&self.bell.0, PollFlags::IN));
    }
}
