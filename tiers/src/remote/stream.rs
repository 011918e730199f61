//! Byte streams that are not sockets of ours, and what a connection needs around them.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::epoll::EventFlags;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::Errno;

use super::carrier::{Carrier, Patience};
use crate::readiness::wait_for_any;
use crate::slot::Deadline;
use crate::watch::Watcher;

/// So much at most is made ready for one read into memory that must not be undefined.
const PORTION: usize = 64 << 10;

/// A byte stream that a connection can go over, in both directions: what [`over`](super::over) is given, and
/// [`Listener::admit`](super::Listener::admit). For descriptors there is [`Descriptors`](super::Descriptors), for the
/// standard input and output of a program [`Program`](super::Program).
///
/// What it must be:
///
/// - **Reliable and in order**, like TCP: bytes come as they were sent, or it ends. Where it ends does not matter.
/// - **Never waiting.** [`read`](Stream::read), [`write`](Stream::write) and [`flush`](Stream::flush) return
///   [`io::ErrorKind::WouldBlock`] in place of that. Threads call them at the same time; what they share, the stream locks, for a
///   short time.
/// - **Ready when a descriptor is.** After `WouldBlock` the connection waits for [`input`](Stream::input) to be readable, or
///   [`output`](Stream::output) to be writable, and tries again. They are such as poll(2) and epoll(7) can wait for (no files),
///   and always the same ones; one for both, where it is a socket. What was read from `input` and not yet given out,
///   [`holds_input`](Stream::holds_input) tells; what was taken and could not be written to `output` yet, `flush` writes.
/// - **Closed when it is dropped.** That, at the latest, is when the far side is to learn of it.
///
/// A stream that encrypts is one, too: its handshake belongs before (where it is made, which may wait), and what it has
/// to say of its own accord later can go with the next `write` or `flush`.
///
/// ```
/// use std::io::{self, IoSlice, Read, Write};
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use fs9_tiers::remote::Stream;
///
/// /// Upside down, so that nobody can read it.
/// struct Masked(UnixStream);
///
/// impl Stream for Masked {
///     fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
///         let len = (&self.0).read(buffer)?;
///         buffer[..len].iter_mut().for_each(|byte| *byte = !*byte);
///         Ok(len)
///     }
///
///     fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
///         let some = pieces.iter().flat_map(|piece| piece.iter()).take(4096).map(|byte| !byte);
///         (&self.0).write(&some.collect::<Vec<_>>())
///     }
///
///     fn input(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
///
///     fn output(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
/// ```
pub trait Stream: Send + Sync + 'static {
    /// Reads what has come, as far as there is room for it in `buffer`, which is not empty. 0 is the end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: nothing has come. [`io::ErrorKind::Interrupted`]: it is tried again. After any
    /// other the stream is given up.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes as many bytes as there is room for, at least one.
    ///
    /// # Errors
    /// As [`Stream::read`].
    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Writes what it has taken and not yet written. One that keeps nothing has nothing to do.
    ///
    /// # Errors
    /// As [`Stream::read`].
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether [`Stream::read`] would find something although [`Stream::input`] does not say so: what was read from
    /// there already, and is in memory.
    fn holds_input(&self) -> bool {
        false
    }

    /// Readable when [`Stream::read`] is worth while again.
    fn input(&self) -> BorrowedFd<'_>;

    /// Writable when [`Stream::write`] and [`Stream::flush`] are.
    fn output(&self) -> BorrowedFd<'_>;
}

/// A stream of somebody, and what wakes who waits for it: not every stream can be shut down.
pub(super) struct Streamed<S> {
    stream: S,
    is_hung_up: AtomicBool,
    /// Readable once it is hung up.
    bell: OwnedFd,
}

impl<S: Stream> Streamed<S> {
    /// # Errors
    /// Those of eventfd(2).
    pub fn new(stream: S) -> io::Result<Streamed<S>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Streamed { stream, is_hung_up: AtomicBool::new(false), bell })
    }

    fn is_hung_up(&self) -> bool {
        self.is_hung_up.load(Ordering::SeqCst)
    }

    /// Whether one descriptor tells of both directions.
    fn is_one(&self) -> bool {
        self.stream.input().as_raw_fd() == self.stream.output().as_raw_fd()
    }
}

impl<S: Stream> Carrier for Streamed<S> {
    fn append(&self, into: &mut Vec<u8>, patience: Patience) -> Result<usize, Errno> {
        let len = into.len();
        into.resize(len + PORTION.min(into.capacity() - len), 0);
        let read = loop {
            match self.read(&mut into[len..]) {
                Err(Errno::AGAIN) if patience == Patience::Endless => match self.wait(PollFlags::IN, Deadline::Never) {
                    Ok(_) => {}
                    Err(error) => break Err(error),
                },
                done => break done,
            }
        };
        // Somebody's code: it may say anything.
        let read = read.map(|read| read.min(into.len() - len));
        into.truncate(len + read.unwrap_or(0));
        read
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.is_hung_up() {
            return Ok(0);
        }
        self.stream.read(buffer).map_err(errno)
    }

    fn send(&self, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        loop {
            if self.is_hung_up() {
                return Err(Errno::PIPE);
            }
            match self.stream.write(pieces).map_err(errno) {
                Err(Errno::INTR) => {}
                // It would be asked for ever.
                Ok(0) => return Err(Errno::IO),
                done => return done,
            }
        }
    }

    fn flush(&self) -> Result<(), Errno> {
        match self.stream.flush().map_err(errno) {
            // It is behind, and is asked again when it can write.
            Err(Errno::INTR) => Err(Errno::AGAIN),
            done => done,
        }
    }

    fn holds_input(&self) -> bool {
        !self.is_hung_up() && self.stream.holds_input()
    }

    fn hang_up(&self) {
        self.is_hung_up.store(true, Ordering::SeqCst);
        // Fails only where it is full, and readable.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn wait(&self, events: PollFlags, deadline: Deadline) -> Result<PollFlags, Errno> {
        if events.contains(PollFlags::IN) && self.holds_input() {
            return Ok(PollFlags::IN);
        }
        let (input, output) = (self.stream.input(), self.stream.output());
        let mut polled = vec![PollFd::new(&self.bell, PollFlags::IN)];
        polled.push(PollFd::new(&input, events & PollFlags::IN));
        if events.contains(PollFlags::OUT) {
            polled.push(PollFd::new(&output, PollFlags::OUT));
        }
        wait_for_any(&mut polled, deadline)?;
        let is_told = |place: usize| polled.get(place).is_some_and(|fd| !fd.revents().is_empty());
        let mut ready = PollFlags::empty();
        ready.set(PollFlags::IN, is_told(0) || is_told(1));
        // An output that has failed tells who writes.
        ready.set(PollFlags::OUT, is_told(2));
        Ok(ready)
    }

    fn watch(&self, watcher: &Watcher, number: u64, events: EventFlags) -> io::Result<()> {
        let input = if self.is_one() { events } else { events - EventFlags::OUT };
        watcher.watch_once(number, self.stream.input(), input | EventFlags::RDHUP)?;
        if !self.is_one() {
            // An output without a far end tells of it all the time, so it is asked only by who has something to write.
            match events.contains(EventFlags::OUT) {
                true => watcher.watch_once(number, self.stream.output(), EventFlags::OUT)?,
                false => watcher.remove(self.stream.output()),
            }
        }
        watcher.watch_once(number, &self.bell, EventFlags::IN)
    }

    fn unwatch(&self, watcher: &Watcher) {
        watcher.remove(self.stream.input());
        watcher.remove(self.stream.output());
        watcher.remove(&self.bell);
    }
}

/// What a connection tells apart.
fn errno(error: io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::WouldBlock => Errno::AGAIN,
        io::ErrorKind::Interrupted => Errno::INTR,
        _ => Errno::from_io_error(&error).unwrap_or(Errno::IO),
    }
}
