//! A stream that is more than its descriptor, as one that encrypts is: bytes go in records, whole ones only can be
//! read, and both what was read and what is to be written lies in memory for a while.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use fs9_tiers::remote::Stream;

/// The most bytes of a record, and as many are given out at once.
const RECORD: usize = 1000;
/// So much is kept of what the socket does not take.
const KEPT: usize = 8 * RECORD;

/// One end of it.
#[derive(Debug)]
pub struct Records {
    socket: UnixStream,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// As it came.
    raw: Vec<u8>,
    /// What can be read.
    plain: VecDeque<u8>,
    is_at_end: bool,
    /// What the socket is to take.
    kept: VecDeque<u8>,
}

impl Records {
    /// Over a socket.
    pub fn over(socket: UnixStream) -> io::Result<Records> {
        socket.set_nonblocking(true)?;
        Ok(Records { socket, state: Mutex::default() })
    }

    /// Reads all there is, and opens what is whole.
    fn fill(&self, state: &mut State) -> io::Result<()> {
        let mut bytes = [0; 64 << 10];
        match (&self.socket).read(&mut bytes) {
            Ok(0) => state.is_at_end = true,
            Ok(len) => state.raw.extend(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        while let Some(len) = state.raw.first_chunk().map(|len| usize::from(u16::from_le_bytes(*len)))
            && state.raw.len() >= 2 + len
        {
            state.plain.extend(state.raw[2..2 + len].iter().map(|byte| !byte));
            state.raw.drain(..2 + len);
        }
        Ok(())
    }

    fn empty(&self, state: &mut State) -> io::Result<()> {
        while !state.kept.is_empty() {
            let len = (&self.socket).write(state.kept.as_slices().0)?;
            state.kept.drain(..len);
        }
        Ok(())
    }
}

impl Stream for Records {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.plain.is_empty() && !state.is_at_end {
            self.fill(&mut state)?;
        }
        let most = buffer.len().min(RECORD);
        match state.plain.read(&mut buffer[..most])? {
            0 if !state.is_at_end => Err(ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.kept.len() >= KEPT {
            self.empty(&mut state)?;
        }
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter()).take(RECORD).map(|byte| !byte).collect();
        state.kept.extend((bytes.len() as u16).to_le_bytes());
        state.kept.extend(&bytes);
        Ok(bytes.len())
    }

    fn flush(&self) -> io::Result<()> {
        self.empty(&mut self.state.lock().unwrap())
    }

    fn holds_input(&self) -> bool {
        !self.state.lock().unwrap().plain.is_empty()
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
