//! What goes out: frames are numbered, kept until the far side has them, and written as far as the stream takes them.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use fs9_proto::session::{Limits, Session, Transmit, Unresumable};
use rustix::io::Errno;

use super::carrier::Carrier;
use super::frame::{self, Garbage};

/// As much goes to the kernel at once.
const PIECES: usize = 16;

/// Frames that the far side may have and not have acknowledged: for each channel two messages of two frames, a `taken`
/// and what ends it. Who says `taken` has acknowledged the message before, see `Channel::was_taken`.
const LIMITS: Limits = Limits { frames: 8 * super::CHANNELS, bytes: usize::MAX };

/// How writing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    /// The stream takes no more now.
    Some,
    /// The stream is broken, and hung up on: who reads it finds that out.
    Broken,
}

pub(super) struct Writer {
    session: Session,
    carrier: Option<Arc<dyn Carrier>>,
    /// What the stream is to take next, of frames that the session has given out.
    queue: VecDeque<Bytes>,
    /// The numbers of the frames that are nothing but data.
    bare: VecDeque<u64>,
    /// The number of the next frame that the session gives out.
    next: u64,
    /// Frames that were ever kept, and those that the far side has.
    pub numbered: u64,
    pub acknowledged: u64,
    /// Bytes that streams have taken, ever.
    pub gone: u64,
}

impl Writer {
    pub fn new(carrier: Arc<dyn Carrier>) -> Writer {
        Writer {
            session: Session::new(LIMITS),
            carrier: Some(carrier),
            queue: VecDeque::new(),
            bare: VecDeque::new(),
            next: 0,
            numbered: 0,
            acknowledged: 0,
            gone: 0,
        }
    }

    /// A frame to be sent with the next [`Writer::flush`].
    pub fn keep(&mut self, frame: Bytes) {
        self.numbered += 1;
        self.session.keep(frame);
    }

    /// Data that the frame before announces.
    pub fn keep_data(&mut self, data: Bytes) {
        self.bare.push_back(self.numbered);
        self.keep(data);
    }

    /// Something that only this connection is to be told, if there is one: it goes first.
    pub fn tell(&mut self, frame: Bytes) {
        if self.carrier.is_some() {
            self.queue.push_back(frame);
        }
    }

    /// Whether something waits for the stream.
    pub fn is_behind(&self) -> bool {
        !self.queue.is_empty()
    }

    /// A frame of so many bytes has come whole.
    ///
    /// # Errors
    /// The far side has acknowledged too little of ours.
    pub fn received(&mut self, bytes: usize) -> Result<(), Garbage> {
        self.session.received(bytes).map_err(|_| Garbage)
    }

    /// The far side has so many frames of ours.
    ///
    /// # Errors
    /// It cannot.
    pub fn was_acknowledged(&mut self, count: u64) -> Result<(), Garbage> {
        self.session.acknowledged(count).map_err(|_| Garbage)?;
        self.forget(count);
        Ok(())
    }

    /// Writes what the stream takes.
    pub fn flush(&mut self) -> Flushed {
        let Some(carrier) = &self.carrier else { return Flushed::All };
        loop {
            while self.queue.len() < PIECES
                && let Some(next) = self.session.poll_transmit()
            {
                match next {
                    Transmit::Acknowledge(count) => self.queue.push_back(frame::acknowledge(count)),
                    Transmit::Frame(frame) => {
                        if self.bare.binary_search(&self.next).is_ok() {
                            self.queue.push_back(frame::data(frame.len()));
                        }
                        self.next += 1;
                        self.queue.push_back(frame);
                    }
                }
            }
            if self.queue.is_empty() {
                break;
            }
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let count = self.queue.len().min(PIECES);
            for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
                *piece = IoSlice::new(bytes);
            }
            match carrier.send(&pieces[..count]) {
                Ok(sent) => {
                    advance(&mut self.queue, sent);
                    self.gone += sent as u64;
                }
                Err(error) => return self.stop(error),
            }
        }
        match carrier.flush() {
            Ok(()) => Flushed::All,
            Err(error) => self.stop(error),
        }
    }

    /// It took no more for this reason.
    fn stop(&mut self, error: Errno) -> Flushed {
        if error == Errno::AGAIN {
            return Flushed::Some;
        }
        if let Some(carrier) = &self.carrier {
            carrier.hang_up();
        }
        self.disconnect();
        Flushed::Broken
    }

    /// The stream is gone.
    pub fn disconnect(&mut self) {
        self.session.disconnect();
        self.carrier = None;
        self.queue.clear();
    }

    fn forget(&mut self, count: u64) {
        self.acknowledged = count;
        while self.bare.front().is_some_and(|number| *number < count) {
            self.bare.pop_front();
        }
    }

    /// How many frames of the far side have come.
    pub fn received_frames(&self) -> u64 {
        self.session.received_frames()
    }

    /// A new stream, at which the far side has said that it has so many frames.
    ///
    /// # Errors
    /// It cannot have so many.
    pub fn resume(&mut self, carrier: Arc<dyn Carrier>, far_has: u64) -> Result<(), Unresumable> {
        self.session.resume(far_has)?;
        self.forget(far_has);
        self.next = far_has;
        self.carrier = Some(carrier);
        Ok(())
    }
}

/// So many bytes have gone.
fn advance(queue: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(first) = queue.front_mut() {
        if sent < first.len() {
            first.advance(sent);
            return;
        }
        sent -= first.len();
        queue.pop_front();
    }
}
