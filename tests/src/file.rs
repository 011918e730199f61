//! Files without a library between: one call here is one system call, and one that waits can be left to a thread.

use std::fs::{read_link, read_to_string};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Result;

use crate::{DEADLINE, wait_for};

/// A buffer that takes any message whole.
pub const ROOM: usize = 1 << 20;

/// An open descriptor. A clone is the same descriptor; it is closed with the last of them.
#[derive(Debug, Clone)]
pub struct Fd(Arc<OwnedFd>);

impl Fd {
    /// Opens `path`; what O_CREAT makes has mode 0600.
    pub fn open(path: impl AsRef<Path>, flags: OFlags) -> Result<Fd> {
        let fd = rustix::fs::open(path.as_ref(), flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        Ok(Fd(Arc::new(fd)))
    }

    /// Opens what must be there, for reading.
    pub fn reader(path: impl AsRef<Path>) -> Fd {
        Fd::open(path, OFlags::RDONLY).unwrap()
    }

    /// Opens what must be there, for writing.
    pub fn writer(path: impl AsRef<Path>) -> Fd {
        Fd::open(path, OFlags::WRONLY).unwrap()
    }

    /// Opens what must be there, for both.
    pub fn both(path: impl AsRef<Path>) -> Fd {
        Fd::open(path, OFlags::RDWR).unwrap()
    }

    /// One read(2) with room for `size` bytes; one that waits too long has failed.
    pub fn read(&self, size: usize) -> Result<Vec<u8>> {
        self.reading(size).get()
    }

    /// One read(2) with room for any message, of text.
    pub fn text(&self) -> String {
        String::from_utf8(self.read(ROOM).unwrap()).unwrap()
    }

    /// One write(2); one that waits too long has failed.
    pub fn write(&self, bytes: impl Into<Vec<u8>>) -> Result<usize> {
        self.writing(bytes).get()
    }

    /// What poll(2) says at once.
    pub fn poll(&self, interest: PollFlags) -> PollFlags {
        self.poll_for(interest, Timespec::default())
    }

    fn poll_for(&self, interest: PollFlags, time: Timespec) -> PollFlags {
        let mut fds = [PollFd::new(&self.0, interest)];
        poll(&mut fds, Some(&time)).unwrap();
        fds[0].revents()
    }

    /// [`Fd::read`] in a thread.
    pub fn reading(&self, size: usize) -> Later<Result<Vec<u8>>> {
        let fd = self.clone();
        later(move || {
            let mut buffer = vec![0; size];
            let len = rustix::io::read(&fd, &mut buffer)?;
            buffer.truncate(len);
            Ok(buffer)
        })
    }

    /// [`Fd::write`] in a thread.
    pub fn writing(&self, bytes: impl Into<Vec<u8>>) -> Later<Result<usize>> {
        let (fd, bytes) = (self.clone(), bytes.into());
        later(move || rustix::io::write(&fd, &bytes))
    }

    /// poll(2) in a thread that sleeps in it when this returns; at the deadline it says nothing.
    pub fn polling(&self, interest: PollFlags) -> Later<PollFlags> {
        let fd = self.clone();
        let polling = later(move || fd.poll_for(interest, DEADLINE.try_into().unwrap()));
        polling.wait_asleep("poll_schedule_timeout");
        polling
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a thread will come to. One that never does is left behind: the end of the mount ends whatever waits in it.
#[derive(Debug)]
pub struct Later<T> {
    thread: JoinHandle<()>,
    result: Receiver<T>,
    task: PathBuf,
}

/// Runs `call` in a thread.
pub fn later<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Later<T> {
    let (began, begin) = channel();
    let (ended, result) = channel();
    let thread = thread::spawn(move || {
        began.send(read_link("/proc/thread-self").unwrap()).unwrap();
        // Whoever waited for the result may have given up.
        let _ = ended.send(call());
    });
    Later { thread, result, task: Path::new("/proc").join(begin.recv().unwrap()) }
}

impl<T> Later<T> {
    /// Waits until the thread sleeps in the kernel's function `function`.
    pub fn wait_asleep(&self, function: &str) {
        let asleep = || read_to_string(self.task.join("wchan")).unwrap_or_default().contains(function);
        wait_for(&format!("a thread to sleep in {function}"), || (self.is_done() || asleep()).then_some(()));
        assert!(!self.is_done(), "it did not wait in {function}");
    }

    /// Whether it has come to its end.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the result, with a deadline.
    pub fn get(self) -> T {
        match self.result.recv_timeout(DEADLINE) {
            Ok(value) => value,
            Err(RecvTimeoutError::Timeout) => panic!("waited {DEADLINE:?} for a thread to end"),
            Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(self.thread.join().unwrap_err()),
        }
    }
}
