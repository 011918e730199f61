//! A process that is talked to through its standard input and output.

use std::io;
use std::process::{ChildStdin, ChildStdout};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::complaints::set_nonblocking;
use super::far::Far;
use super::framing::{Fault, Output, input};
use crate::spec::Framing;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Pipes {
    framing: Framing,
    /// None once it is closed, from here or from there.
    stdin: Option<ChildStdin>,
    /// What it has not taken, and how much of that it has.
    input: Vec<u8>,
    taken: usize,
    hung_up: bool,
    /// None at its end.
    stdout: Option<ChildStdout>,
    output: Output,
    /// So many bytes are still to be read, once the process has ended.
    left: Option<u64>,
}

impl Pipes {
    /// Over these, with messages of at most `limit` bytes.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(stdin: ChildStdin, stdout: ChildStdout, framing: Framing, limit: usize) -> io::Result<Pipes> {
        set_nonblocking(&stdin)?;
        set_nonblocking(&stdout)?;
        Ok(Pipes {
            framing,
            stdin: Some(stdin),
            input: Vec::new(),
            taken: 0,
            hung_up: false,
            stdout: Some(stdout),
            output: Output::new(framing, limit),
            left: None,
        })
    }

    fn write(&mut self) -> io::Result<()> {
        while let (Some(stdin), true) = (&self.stdin, self.taken < self.input.len()) {
            match rustix::io::write(stdin, &self.input[self.taken..]) {
                Ok(len) => self.taken += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => {
                    self.cut_off();
                    return Err(errno.into());
                }
            }
        }
        (self.input, self.taken) = (Vec::new(), 0);
        if self.hung_up {
            self.stdin = None;
        }
        Ok(())
    }

    fn read(&mut self) {
        let mut room = [0; CHUNK];
        let most = self.left.map_or(CHUNK, |left| CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)));
        let Some(stdout) = &self.stdout else { return };
        match rustix::io::read(stdout, &mut room[..most]) {
            Ok(0) => self.end(),
            Ok(len) => {
                self.output.push(&room[..len]);
                self.left = self.left.map(|left| left.saturating_sub(len as u64));
                if self.left == Some(0) {
                    self.end();
                }
            }
            Err(Errno::AGAIN) if self.left.is_some() => self.end(),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.end(),
        }
    }

    fn end(&mut self) {
        self.stdout = None;
        self.output.end();
    }
}

impl Far for Pipes {
    fn has_room(&self) -> bool {
        self.stdin.is_some() && !self.hung_up && self.input.is_empty()
    }

    fn give(&mut self, message: Vec<u8>) {
        self.input = input(self.framing, message);
        // All of standard input is one message.
        self.hung_up |= self.framing == Framing::Whole;
    }

    fn hang_up(&mut self) {
        self.hung_up = true;
    }

    fn cut_off(&mut self) {
        (self.stdin, self.input, self.taken) = (None, Vec::new(), 0);
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.output.next()
    }

    fn is_spent(&self) -> bool {
        self.output.is_spent()
    }

    fn advance(&mut self, wanted: bool) -> io::Result<()> {
        let written = self.write();
        if wanted {
            self.read();
        }
        written
    }

    fn close_output(&mut self) {
        (self.stdout, self.output) = (None, Output::new(self.framing, 0));
        self.output.end();
    }

    fn finish(&mut self) {
        self.cut_off();
        // If the kernel does not tell, it is read until it would wait.
        let left = self.stdout.as_ref().map(|stdout| rustix::io::ioctl_fionread(stdout).unwrap_or(u64::MAX));
        self.left = left;
        if left == Some(0) {
            self.end();
        }
    }

    fn sources<'a>(&'a self, wanted: bool, sources: &mut Vec<PollFd<'a>>) {
        let stdin = self.stdin.as_ref().filter(|_| self.taken < self.input.len());
        sources.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        let stdout = self.stdout.as_ref().filter(|_| wanted);
        sources.extend(stdout.map(|stdout| PollFd::new(stdout, PollFlags::IN)));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(script: &str, framing: Framing) -> (Child, Pipes) {
        let mut command = Command::new("sh");
        let mut child = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh");
        let (stdin, stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        (child, Pipes::new(stdin, stdout, framing, 100).expect("pipes"))
    }

    /// Everything that it says until its end.
    fn all(pipes: &mut Pipes) -> Vec<String> {
        let mut said = Vec::new();
        while !pipes.is_spent() {
            let mut sources = Vec::new();
            pipes.sources(true, &mut sources);
            if !sources.is_empty() {
                rustix::event::poll(&mut sources, None).expect("it is ready at last");
            }
            let _ = pipes.advance(true);
            while let Some(message) = pipes.next().expect("no fault") {
                said.push(String::from_utf8(message).expect("text"));
            }
        }
        said
    }

    #[test]
    fn what_is_given_is_taken_before_the_hang_up_is_seen() {
        let (mut child, mut pipes) = start("cat; echo end", Framing::Line);
        assert!(pipes.has_room());
        pipes.give(b"one".into());
        pipes.hang_up();
        assert!(!pipes.has_room());
        assert_eq!(all(&mut pipes), ["one\n", "end\n"]);
        assert!(child.wait().expect("it ends").success());
    }

    #[test]
    fn one_message_is_all_of_the_input_of_a_whole() {
        let (mut child, mut pipes) = start("wc -w", Framing::Whole);
        pipes.give(b"a b c".into());
        assert!(!pipes.has_room());
        assert_eq!(all(&mut pipes), ["3\n"]);
        assert!(child.wait().expect("it ends").success());
    }

    #[test]
    fn a_message_that_nobody_takes_is_lost_and_that_is_told_once() {
        let (mut child, mut pipes) = start("exec <&-; echo; read -r x", Framing::Line);
        assert_eq!(all(&mut pipes), ["\n"]);
        pipes.give(b"x".into());
        let error = pipes.advance(true).expect_err("nobody reads");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::PIPE));
        assert!(pipes.advance(true).is_ok() && !pipes.has_room());
        child.wait().expect("it ends");
    }

    #[test]
    fn at_the_end_of_the_process_only_what_is_there_is_read() {
        let (mut child, mut pipes) = start("sleep 60 & echo $!; echo -n rest", Framing::Line);
        child.wait().expect("it ends");
        pipes.finish();
        let said = all(&mut pipes);
        assert_eq!(said[1], "rest");
        assert!(Command::new("kill").arg(said[0].trim()).status().expect("kill").success());
    }
}
