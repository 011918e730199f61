//! What a program says on standard error, for whoever reads `events`: line by line, no line too long, not too many at
//! once.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// Bytes of a line that are told.
const LONGEST: usize = 1000;
/// Lines that are told in each [`PERIOD`]; the others are counted.
const MOST: u64 = 100;
const PERIOD: Duration = Duration::from_secs(1);

/// The standard error of a process.
#[derive(Debug)]
pub struct Complaints {
    /// None once all who could say anything are gone.
    pipe: Option<PipeReader>,
    lines: Lines,
}

impl Complaints {
    /// What comes out of `pipe`.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(pipe: PipeReader) -> io::Result<Complaints> {
        set_nonblocking(&pipe)?;
        Ok(Complaints { pipe: Some(pipe), lines: Lines::default() })
    }

    /// What to poll for.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The lines that are there now. Reads a bounded number of bytes: who complains without end holds up nobody.
    pub fn read(&mut self, now: Instant) -> Vec<Complaint> {
        let mut room = [0; 4096];
        let Some(pipe) = &self.pipe else { return Vec::new() };
        match rustix::io::read(pipe, &mut room) {
            Ok(0) => {
                self.pipe = None;
                self.lines.end()
            }
            Ok(len) => self.lines.push(&room[..len], now),
            Err(Errno::AGAIN | Errno::INTR) => Vec::new(),
            Err(_) => {
                self.pipe = None;
                self.lines.end()
            }
        }
    }

    /// What is there now, and then no more: the process has ended, and who else has its standard error does not count.
    pub fn finish(&mut self, now: Instant) -> Vec<Complaint> {
        let mut left = self.pipe.as_ref().and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0);
        let mut complaints = Vec::new();
        while left > 0 && self.pipe.is_some() {
            complaints.extend(self.read(now));
            left = left.saturating_sub(4096);
        }
        self.pipe = None;
        complaints.extend(self.lines.end());
        complaints
    }
}

/// Reads and writes of it fail with EAGAIN where they would wait.
pub fn set_nonblocking(pipe: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&pipe)?;
    Ok(fcntl_setfl(&pipe, flags | OFlags::NONBLOCK)?)
}

/// What is told of standard error.
#[derive(Debug, PartialEq, Eq)]
pub enum Complaint {
    /// A line, or the beginning of one that is long.
    Line(String),
    /// So many lines were left out.
    Missed(u64),
}

/// The lines of a stream of bytes.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    /// When the period began that is counted in.
    since: Option<Instant>,
    told: u64,
    missed: u64,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], now: Instant) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (self.since, self.told) = (Some(now), 0);
            complaints.extend(self.take_missed());
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            let room = (LONGEST + 1).saturating_sub(self.line.len());
            self.line.extend(text.unwrap_or(piece).iter().take(room));
            if text.is_some() {
                complaints.extend(self.take_line());
            }
        }
        complaints
    }

    fn take_line(&mut self) -> Option<Complaint> {
        let mut line = std::mem::take(&mut self.line);
        if self.told >= MOST {
            self.missed += 1;
            return None;
        }
        self.told += 1;
        let is_cut = line.len() > LONGEST;
        line.truncate(LONGEST);
        let text = String::from_utf8_lossy(&line).into_owned();
        Some(Complaint::Line(if is_cut { text + "..." } else { text }))
    }

    fn take_missed(&mut self) -> Option<Complaint> {
        let missed = std::mem::take(&mut self.missed);
        (missed > 0).then_some(Complaint::Missed(missed))
    }

    fn end(&mut self) -> Vec<Complaint> {
        let last = if self.line.is_empty() { None } else { self.take_line() };
        last.into_iter().chain(self.take_missed()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Complaint {
        Complaint::Line(text.into())
    }

    #[test]
    fn a_line_is_told_when_it_ends_and_the_last_at_the_end() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        assert_eq!(lines.push(b"no su", now), []);
        assert_eq!(lines.push(b"ch\nth\xffing\n\nat", now), [line("no such"), line("th\u{fffd}ing"), line("")]);
        assert_eq!(lines.end(), [line("at")]);
        assert_eq!(lines.end(), []);
    }

    #[test]
    fn a_long_line_is_cut_and_costs_no_memory() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(lines.push(&[b'x'; 4096], now), []);
            assert!(lines.line.capacity() < 4096);
        }
        assert_eq!(lines.push(b"\nnext\n", now), [line(&("x".repeat(LONGEST) + "...")), line("next")]);
    }

    #[test]
    fn of_too_many_lines_the_rest_is_counted() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        assert_eq!(lines.push("x\n".repeat(150).as_bytes(), now).len(), 100);
        assert_eq!(lines.push(b"x\n", now + PERIOD / 2), []);
        assert_eq!(lines.push(b"y\n", now + PERIOD), [Complaint::Missed(51), line("y")]);
        lines.push("x\n".repeat(100).as_bytes(), now + PERIOD);
        assert_eq!(lines.end(), [Complaint::Missed(1)]);
    }
}
