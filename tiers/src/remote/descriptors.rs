//! Streams that are nothing but descriptors, and programs at the other end of them.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::io::ioctl_fionbio;

use super::stream::Stream;

/// A byte stream of descriptors: a pair of pipes, a socket, a terminal.
///
/// They are put into non-blocking mode, which whoever else has the same open file sees, too. Where the far end of a
/// pipe is gone, a write to it raises SIGPIPE (pipe(7)), which Rust programs ignore from the start.
///
/// ```
/// use std::io::pipe;
/// use std::thread;
/// use fs9_tiers::{Peer, remote};
/// use remote::Descriptors;
///
/// let ((from_far, to_near), (from_near, to_far)) = (pipe()?, pipe()?);
/// let near = thread::spawn(move || -> std::io::Result<Peer<u64, String>> {
///     let mut once = Some(Descriptors::new(from_far, to_far)?); // there is no way to make another one
///     remote::over(move || once.take().ok_or(std::io::ErrorKind::NotConnected.into()))
/// });
/// let listener = remote::unbound()?;
/// listener.admit(Descriptors::new(from_near, to_near)?)?;
/// let far: Peer<String, u64> = listener.accept()?;
/// let near = near.join().expect("it does not panic")?;
/// near.send(7)?;
/// assert_eq!(far.recv(), Ok(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Descriptors {
    input: OwnedFd,
    /// None where it is the same.
    output: Option<OwnedFd>,
}

impl Descriptors {
    /// What is read from one and written to the other.
    ///
    /// # Errors
    /// Those of ioctl(2).
    pub fn new(input: impl Into<OwnedFd>, output: impl Into<OwnedFd>) -> io::Result<Descriptors> {
        let (input, output) = (input.into(), output.into());
        ioctl_fionbio(&input, true)?;
        ioctl_fionbio(&output, true)?;
        Ok(Descriptors { input, output: Some(output) })
    }

    /// What is read from and written to the same one: a stream socket.
    ///
    /// # Errors
    /// Those of ioctl(2).
    pub fn both(socket: impl Into<OwnedFd>) -> io::Result<Descriptors> {
        let input = socket.into();
        ioctl_fionbio(&input, true)?;
        Ok(Descriptors { input, output: None })
    }

    /// Duplicates of this program's standard input and output. The program must print nothing then: whoever started it
    /// takes it for bytes of the connection.
    ///
    /// # Errors
    /// Those of dup(2) and ioctl(2).
    pub fn standard() -> io::Result<Descriptors> {
        let (input, output) = (io::stdin(), io::stdout());
        Descriptors::new(input.as_fd().try_clone_to_owned()?, output.as_fd().try_clone_to_owned()?)
    }
}

impl Stream for Descriptors {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.input, buffer)?)
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(self.output(), pieces)?)
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.output.as_ref().unwrap_or(&self.input).as_fd()
    }
}

/// A program as a byte stream: its standard input and output. Dropped, it is killed and reaped.
///
/// ```no_run
/// use std::process::Command;
/// use fs9_tiers::{Peer, remote};
///
/// // There: `listener.admit(Descriptors::standard()?)`, as of `remote::unbound()`.
/// let ssh = || remote::Program::start(Command::new("ssh").args(["host", "word-counter"]));
/// let peer: Peer<String, u64> = remote::over(ssh)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Program {
    stream: Descriptors,
    _child: Started,
}

/// A program that does not outlive this.
#[derive(Debug)]
struct Started(Child);

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub fn start(command: &mut Command) -> io::Result<Program> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let mut child = Started(started);
        let (Some(stdin), Some(stdout)) = (child.0.stdin.take(), child.0.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Program { stream: Descriptors::new(stdout, stdin)?, _child: child })
    }
}

impl Stream for Program {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write(pieces)
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.stream.input()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.stream.output()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only where it has been reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
