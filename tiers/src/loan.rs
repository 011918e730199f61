//! Messages that are written and read where they lie.
//!
//! Between processes that is the memory which both share. The other process may change it at any moment, so there is no
//! reference into it: bytes are copied in and out piece by piece, or by the kernel from and to a descriptor, and each
//! look may see something else. What matters is to be copied before it is checked. Between threads it is memory of our
//! own.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::error::{RecvError, RecvTimeoutError, SendError, TryRecvError, Unfit};
use crate::file;
use crate::message::{HEADER, LIMIT, Message, Plain, Pod};
use crate::process::link::Link;
use crate::process::memory::Span;
use crate::receiver::{Near, Receiver, Rx};
use crate::sender::{Permit, Sender, Tx};
use crate::slot::{Deadline, Turn};

/// A message that is its bytes: `Vec<u8>`, `String` and [`Pod`].
pub trait Block: Message + sealed::Sealed {
    #[doc(hidden)]
    fn bytes(&self) -> &[u8];

    #[doc(hidden)]
    fn from_bytes(bytes: Vec<u8>) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for Vec<u8> {}
    impl Sealed for String {}
    impl<P: super::Plain> Sealed for super::Pod<P> {}
}

impl Block for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        Some(bytes)
    }
}

impl Block for String {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        String::from_utf8(bytes).ok()
    }
}

impl<P: Plain> Block for Pod<P> {
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        P::read_from_bytes(&bytes).ok().map(Pod)
    }
}

impl Sender<Vec<u8>> {
    /// Waits until the slot is free, for a message of `len` bytes that is written in place.
    ///
    /// # Errors
    /// As [`Sender::reserve`], and [`Unfit::TooLong`](crate::error::Unfit::TooLong). For a loan that does not wait, or
    /// not for long, take a [`Permit`] first.
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
    /// let mut loan = a.sender().loan(11)?;
    /// write!(loan, "hello, {}", 2026)?;
    /// loan.send()?;
    ///
    /// let mut greeting = String::new();
    /// b.receiver().recv_in_place()?.read_to_string(&mut greeting)?;
    /// assert_eq!(greeting, "hello, 2026");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(&self, len: usize) -> Result<Loan<'_, Vec<u8>>, SendError<()>> {
        self.reserve()?.loan(len)
    }
}

impl<P: Plain> Sender<Pod<P>> {
    /// Waits until the slot is free, for a message that is written in place.
    ///
    /// # Errors
    /// As [`Sender::reserve`], and [`Unfit::TooLong`](crate::error::Unfit::TooLong) where the type is.
    ///
    /// ```
    /// use fs9_tiers::Pod;
    ///
    /// let (a, b) = fs9_tiers::process::pair::<Pod<[u32; 3]>, ()>()?;
    /// let mut loan = a.sender().loan()?;
    /// loan.write_at(4, &7u32.to_ne_bytes())?;
    /// loan.send()?;
    /// assert_eq!(b.recv()?.0[1], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(&self) -> Result<Loan<'_, Pod<P>>, SendError<()>> {
        self.reserve()?.loan()
    }
}

impl<'a> Permit<'a, Vec<u8>> {
    /// Lends the slot for a message of `len` bytes, without waiting.
    ///
    /// # Errors
    /// [`Unfit::TooLong`](crate::error::Unfit::TooLong).
    ///
    /// ```
    /// # use std::io::Write;
    /// # use std::time::Duration;
    /// # let (a, b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// let mut loan = a.sender().reserve_timeout(Duration::from_millis(1))?.loan(5)?;
    /// loan.write_all(b"hello")?;
    /// loan.send()?;
    /// assert_eq!(b.recv()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(self, len: usize) -> Result<Loan<'a, Vec<u8>>, SendError<()>> {
        Loan::new(self, len)
    }
}

impl<'a, P: Plain> Permit<'a, Pod<P>> {
    /// Lends the slot for a message, without waiting.
    ///
    /// # Errors
    /// [`Unfit::TooLong`](crate::error::Unfit::TooLong) where the type is.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use fs9_tiers::Pod;
    /// # let (a, b) = fs9_tiers::pair::<Pod<[u8; 5]>, ()>();
    /// let mut loan = a.sender().try_reserve()?.loan()?;
    /// loan.write_all(b"hello")?;
    /// loan.send()?;
    /// assert_eq!(&b.recv()?.0, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(self) -> Result<Loan<'a, Pod<P>>, SendError<()>> {
        Loan::new(self, size_of::<P>())
    }
}

/// The slot, lent to write a message in place: as [`io::Write`] from the beginning on, or anywhere with
/// [`Loan::write_at`]. What is not written is zero, or what a message before left there. Dropped, the slot is given
/// back and nothing was sent.
///
/// See [`Loan::fill_from`] and [`Loan::write_at`] for examples.
#[must_use = "a loan that is dropped has sent nothing"]
pub struct Loan<'a, T> {
    permit: Permit<'a, T>,
    place: Place<'a, Vec<u8>>,
    written: usize,
}

enum Place<'a, Own> {
    Own(Own),
    Shared(&'a Link, Span<'a>),
}

impl<'a, T: Block> Loan<'a, T> {
    fn new(permit: Permit<'a, T>, len: usize) -> Result<Self, SendError<()>> {
        let place = match &permit.sender.tx {
            Tx::Thread(_) => Place::Own(vec![0; len]),
            Tx::File(_) if len > file::LIMIT => {
                return Err(SendError::Unfit((), Unfit::TooLong { limit: file::LIMIT }));
            }
            Tx::Remote(_) if len > LIMIT - HEADER => {
                return Err(SendError::Unfit((), Unfit::TooLong { limit: LIMIT - HEADER }));
            }
            Tx::File(_) | Tx::Remote(_) => Place::Own(vec![0; len]),
            Tx::Process(link) => {
                Place::Shared(link, link.lend(&permit.turn, len).map_err(|unfit| SendError::Unfit((), unfit))?)
            }
        };
        Ok(Loan { permit, place, written: 0 })
    }

    /// How long the message is, in bytes.
    ///
    /// ```
    /// let (a, _b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// assert_eq!(a.sender().loan(5)?.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        match &self.place {
            Place::Own(bytes) => bytes.len(),
            Place::Shared(_, span) => span.len(),
        }
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes `bytes` from byte `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: they would not all be within the message. Nothing is written.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// let mut loan = a.sender().loan(4)?;
    /// loan.write_at(2, b"cd")?;
    /// loan.write_at(0, b"ab")?;
    /// assert!(loan.write_at(3, b"de").is_err());
    /// loan.send()?;
    /// assert_eq!(b.recv()?, b"abcd");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_at(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        let fits = match &mut self.place {
            Place::Own(own) => at
                .checked_add(bytes.len())
                .and_then(|end| own.get_mut(at..end))
                .map(|own| own.copy_from_slice(bytes))
                .is_some(),
            Place::Shared(_, span) => span.write(at, bytes),
        };
        if fits { Ok(()) } else { Err(outside(self.len())) }
    }

    /// Lets the kernel fill in what is not written yet with one read(2) from `source`. Returns how many bytes there
    /// were; 0 at its end, or when all is written.
    ///
    /// # Errors
    /// Those of read(2).
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
    /// let (source, mut filler) = std::io::pipe()?;
    /// filler.write_all(b"hello")?;
    /// let mut loan = a.sender().loan(5)?;
    /// while loan.fill_from(&source)? > 0 {}
    /// loan.send()?;
    /// assert_eq!(b.recv()?, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fill_from(&mut self, source: impl AsFd) -> io::Result<usize> {
        let count = match &mut self.place {
            Place::Own(own) => rustix::io::read(source, own.get_mut(self.written..).unwrap_or_default())?,
            Place::Shared(_, span) => span.fill(self.written, source)?,
        };
        self.written += count;
        Ok(count)
    }

    /// Sends the message, without waiting.
    ///
    /// # Errors
    /// [`SendError::Disconnected`]: the other end is gone.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// drop(a.sender().loan(2)?); // nothing was sent
    /// a.sender().loan(3)?.send()?;
    /// assert_eq!(b.recv()?, [0; 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(self) -> Result<(), SendError<()>> {
        if let Some(reason) = self.permit.in_vain() {
            return Err(SendError::Disconnected((), reason));
        }
        match self.place {
            Place::Shared(link, span) => link.put_in_place(self.permit.turn, &span),
            Place::Own(bytes) => {
                // It has the length that `T` asked for.
                if let Some(message) = T::from_bytes(bytes) {
                    return self.permit.send(message).map_err(|error| error.map(|_| ()));
                }
            }
        }
        Ok(())
    }
}

impl<T: Block> Write for Loan<'_, T> {
    /// Writes as much as there is room for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.len().saturating_sub(self.written));
        self.write_at(self.written, &bytes[..count])?;
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> fmt::Debug for Loan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("written", &self.written).finish_non_exhaustive()
    }
}

impl<T: Block> Receiver<T> {
    /// Receives one message, and leaves it where it is. Waits for it.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
    /// a.send(b"hello".to_vec())?;
    /// let mut message = b.receiver().recv_in_place()?;
    /// let mut first = [0; 2];
    /// message.read_exact(&mut first)?;
    /// assert_eq!((message.len(), &first), (5, b"he"));
    /// assert!(a.try_send(vec![]).is_err(), "the slot is still in use");
    /// drop(message);
    /// a.try_send(vec![])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_in_place(&self) -> Result<InPlace<'_, T>, RecvError> {
        loop {
            if let Some(message) = self.in_place(Deadline::Never)? {
                return Ok(message);
            }
        }
    }

    /// As [`Receiver::recv_in_place`], if there is a message.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`].
    ///
    /// ```
    /// # use fs9_tiers::error::TryRecvError;
    /// let (a, b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// assert!(matches!(b.receiver().try_recv_in_place(), Err(TryRecvError::Empty)));
    /// # drop(a);
    /// ```
    pub fn try_recv_in_place(&self) -> Result<InPlace<'_, T>, TryRecvError> {
        self.in_place(Deadline::Now)?.ok_or(TryRecvError::Empty)
    }

    /// As [`Receiver::recv_in_place`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let (a, b) = fs9_tiers::pair::<Vec<u8>, ()>();
    /// # a.send(b"hello".to_vec())?;
    /// let message = b.receiver().recv_in_place_timeout(Duration::from_secs(1))?;
    /// assert_eq!(message.len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_in_place_timeout(&self, timeout: Duration) -> Result<InPlace<'_, T>, RecvTimeoutError> {
        self.in_place(Deadline::after(timeout))?.ok_or(RecvTimeoutError::Timeout)
    }

    fn in_place(&self, deadline: Deadline) -> Result<Option<InPlace<'_, T>>, RecvError> {
        let (Rx::Process(link), Near::Gate(gate)) = (&self.rx, self.rx.near()) else {
            return Ok(self.recv_by(deadline)?.map(|message| InPlace {
                place: Place::Own(message),
                turn: None,
                read: 0,
            }));
        };
        let Some(turn) = self.turn_by(gate, deadline)? else { return Ok(None) };
        let span = link.lying_block(&turn).ok_or_else(|| self.malformed(link))?;
        Ok(Some(InPlace { place: Place::Shared(link, span), turn: Some(turn), read: 0 }))
    }
}

/// A message that was received and lies where it was written: to be read as [`io::Read`] from the beginning on, or
/// anywhere with [`InPlace::read_at`]. Between processes the other end cannot send another until it is dropped.
///
/// A peer that breaks the protocol can change the bytes meanwhile: copy what matters before checking it.
///
/// See [`Receiver::recv_in_place`] and [`InPlace::drain_to`] for examples.
#[must_use = "the message is taken when this is dropped"]
pub struct InPlace<'a, T: Block> {
    place: Place<'a, T>,
    turn: Option<Turn<'a>>,
    read: usize,
}

impl<T: Block> InPlace<'_, T> {
    /// How long the message is, in bytes.
    pub fn len(&self) -> usize {
        match &self.place {
            Place::Own(message) => message.bytes().len(),
            Place::Shared(_, span) => span.len(),
        }
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from byte `at` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: they are not all within the message.
    ///
    /// ```
    /// let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
    /// a.send(b"hello".to_vec())?;
    /// let message = b.receiver().recv_in_place()?;
    /// let mut two = [0; 2];
    /// message.read_at(1, &mut two)?;
    /// assert_eq!(&two, b"el");
    /// assert!(message.read_at(4, &mut two).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_at(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        let fits = match &self.place {
            Place::Own(message) => {
                let bytes = at.checked_add(into.len()).and_then(|end| message.bytes().get(at..end));
                bytes.map(|bytes| into.copy_from_slice(bytes)).is_some()
            }
            Place::Shared(_, span) => span.read(at, into),
        };
        if fits { Ok(()) } else { Err(outside(self.len())) }
    }

    /// Lets the kernel write what is not read yet to `target` with one write(2). Returns how many bytes it took; 0 when
    /// all is read.
    ///
    /// # Errors
    /// Those of write(2).
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
    /// let (mut reader, target) = std::io::pipe()?;
    /// a.send(b"hello".to_vec())?;
    /// let mut message = b.receiver().recv_in_place()?;
    /// while message.drain_to(&target)? > 0 {}
    /// # drop(target);
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain_to(&mut self, target: impl AsFd) -> io::Result<usize> {
        let count = match &self.place {
            Place::Own(message) => rustix::io::write(target, message.bytes().get(self.read..).unwrap_or_default())?,
            Place::Shared(_, span) => span.drain(self.read, target)?,
        };
        self.read += count;
        Ok(count)
    }
}

impl<T: Block> Read for InPlace<'_, T> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.len().saturating_sub(self.read));
        self.read_at(self.read, &mut into[..count])?;
        self.read += count;
        Ok(count)
    }
}

impl<T: Block> Drop for InPlace<'_, T> {
    fn drop(&mut self) {
        if let (Place::Shared(link, _), Some(turn)) = (&self.place, self.turn.take()) {
            turn.pass(*link);
        }
    }
}

impl<T: Block> fmt::Debug for InPlace<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InPlace").field("len", &self.len()).field("read", &self.read).finish_non_exhaustive()
    }
}

fn outside(len: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not within the message, which has {len} bytes"))
}

#[cfg(test)]
mod tests;
