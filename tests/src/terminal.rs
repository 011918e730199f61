//! A terminal: a program that draws on it, somebody who types, and the screen as that person sees it.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use vt100::Parser;

use crate::process::Running;
use crate::{DEADLINE, Mount};

/// Lines and columns.
pub const SIZE: (NonZeroU16, NonZeroU16) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(100).unwrap());

/// A terminal of [`SIZE`].
pub struct Terminal {
    process: Running,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    screen: Box<Parser>,
}

impl Terminal {
    /// Runs bash with `script` in a terminal, in the directory that holds the mount `p`.
    pub fn new(mount: &Mount, script: &str) -> Terminal {
        let (rows, columns) = SIZE;
        let script = format!("stty rows {rows} cols {columns}; {script}");
        let mut command = mount.command("script", &["-qefc", &script, "/dev/null"]);
        let mut process = Running::piped(command.env("TERM", "xterm").env("SHELL", "/bin/bash").env_remove("NO_COLOR"));
        let keys = process.stdin.take().unwrap();
        let mut drawn = process.stdout.take().unwrap();
        let (say, output) = channel();
        thread::spawn(move || {
            let mut room = [0; 65536];
            // The test may have ended.
            while let Ok(len @ 1..) = drawn.read(&mut room) {
                let _ = say.send(room[..len].to_vec());
            }
        });
        Terminal { process, keys, output, screen: Box::new(Parser::new(rows, columns, 0)) }
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until the screen shows what `shows` looks for; returns its lines.
    pub fn wait(&mut self, what: &str, shows: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if shows(&lines) {
                return lines;
            }
            let left = DEADLINE.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(drawn) => self.screen.process(&drawn),
                Err(error) => panic!("{error}: waited for {what}; the screen is\n{}", lines.join("\n")),
            }
        }
    }

    /// Waits until a line of the screen holds `text`.
    pub fn wait_for(&mut self, text: &str) -> Vec<String> {
        self.wait(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// Waits for the end of the script; how it ended, and the lines that are on the screen then. What was drawn over
    /// must be back.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.process.ended();
        // script(1) has closed its output.
        while let Ok(drawn) = self.output.recv_timeout(DEADLINE) {
            self.screen.process(&drawn);
        }
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the screen is not as it was");
        (status, self.lines())
    }

    /// The lines of the screen, without the blanks at their ends.
    fn lines(&self) -> Vec<String> {
        let (_, columns) = SIZE;
        self.screen.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect()
    }
}
