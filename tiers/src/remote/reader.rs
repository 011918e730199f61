//! Bytes of a connection, put together to frames. What is long is read to where it stays.
#![forbid(unsafe_code)]

use rustix::io::Errno;

use super::carrier::{Carrier, Patience};
use super::frame::{Frame, Garbage, Halves, Head, PREFIX};
use crate::error::Reason;

/// So much is read at once of what is not known to be long.
const CHUNK: usize = 16 << 10;

/// What the far side says.
#[derive(Debug)]
pub(super) enum Said {
    Message(Head, Data),
    Taken(u32),
    Left(u32, Halves, Reason),
    Acknowledge(u64),
    Ping,
    End(Reason),
}

/// The bytes of a message.
#[derive(Debug)]
pub(super) enum Data {
    /// As postcard encodes them.
    Encoded(Vec<u8>),
    /// Of a `Vec<u8>`, as they are.
    Bytes(Vec<u8>),
}

impl Data {
    pub fn len(&self) -> usize {
        match self {
            Data::Encoded(bytes) | Data::Bytes(bytes) => bytes.len(),
        }
    }
}

/// One step: what was said, if anything, and the size of the frame where it counts.
pub(super) struct Step {
    pub said: Option<Said>,
    pub counts: Option<usize>,
}

/// What has come and is not a whole frame yet.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// Of the buffer, how much was taken out.
    start: usize,
    long: Option<Long>,
    /// A head that has come and is counted, and how many bytes are announced.
    follows: Option<(Head, usize)>,
}

/// Data that is being read to its place.
struct Long {
    head: Option<Head>,
    data: Vec<u8>,
    missing: usize,
    /// Of the frame, beside the data.
    rest: usize,
}

impl Reader {
    /// Reads once. How many bytes there were; 0 is the end.
    pub fn read(&mut self, carrier: &dyn Carrier, patience: Patience) -> Result<usize, Errno> {
        if let Some(long) = &mut self.long
            && long.missing > 0
        {
            let read = carrier.append(&mut long.data, patience)?;
            // An allocator may give more room than was asked for.
            let surplus = read.saturating_sub(long.missing);
            self.buffer.extend(long.data.drain(long.data.len() - surplus..));
            long.missing -= read - surplus;
            return Ok(read);
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(CHUNK);
        carrier.append(&mut self.buffer, patience)
    }

    /// The next frame, if it is there.
    ///
    /// # Errors
    /// What came is none.
    pub fn next(&mut self) -> Result<Option<Step>, Garbage> {
        if let Some(long) = &self.long {
            return Ok(if long.missing == 0 { self.finish_long() } else { None });
        }
        let bytes = &self.buffer[self.start..];
        if bytes.len() < PREFIX {
            return Ok(None);
        }
        let size = Frame::size(bytes);
        let Some((frame, head)) = Frame::parse(bytes)? else { return Ok(None) };
        let (said, counts) = match frame {
            Frame::Message(message) => {
                self.start += head;
                self.begin(Some(message), size - head, head);
                return self.next();
            }
            Frame::Bytes(message, length) => {
                if self.follows.replace((message, length)).is_some() {
                    return Err(Garbage);
                }
                (None, Some(size))
            }
            Frame::Data => {
                if self.follows.as_ref().is_none_or(|(_, length)| *length != size - head) {
                    return Err(Garbage);
                }
                self.start += head;
                self.begin(None, size - head, head);
                return self.next();
            }
            Frame::Taken(channel) => (Some(Said::Taken(channel)), Some(size)),
            Frame::Left(channel, halves, reason) => (Some(Said::Left(channel, halves, reason)), Some(size)),
            Frame::Acknowledge(count) => (Some(Said::Acknowledge(count)), None),
            Frame::Ping => (Some(Said::Ping), None),
            Frame::Pong => (None, None),
            Frame::End(reason) => (Some(Said::End(reason)), None),
        };
        self.start += size;
        Ok(Some(Step { said, counts }))
    }

    /// Begins with data of so many bytes, of which some may be in the buffer.
    fn begin(&mut self, head: Option<Head>, len: usize, rest: usize) {
        let there = &self.buffer[self.start..];
        let there = &there[..there.len().min(len)];
        let mut data = Vec::with_capacity(len);
        data.extend_from_slice(there);
        self.start += there.len();
        self.long = Some(Long { head, missing: len - data.len(), data, rest });
    }

    fn finish_long(&mut self) -> Option<Step> {
        let Long { head, data, rest, .. } = self.long.take()?;
        let counts = Some(data.len() + rest);
        let said = match head {
            Some(head) => Said::Message(head, Data::Encoded(data)),
            None => Said::Message(self.follows.take()?.0, Data::Bytes(data)),
        };
        Some(Step { said: Some(said), counts })
    }

    /// The channel of the long bytes that are coming, and how many of them are missing.
    pub fn coming(&self) -> Option<(u32, usize)> {
        let long = self.long.as_ref().filter(|long| long.head.is_none())?;
        Some((self.follows.as_ref()?.0.channel, long.missing))
    }

    /// The connection broke: of a frame that is not whole nothing has come. A head whose bytes are to follow is whole.
    pub fn reset(&mut self) {
        self.buffer.clear();
        self.start = 0;
        self.long = None;
    }
}
