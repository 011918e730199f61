//! What the processes of `party.c` wrote down.

use std::fs;
use std::path::Path;

/// The how-manieth time that a process came to have its file open.
pub type Opening = u32;

/// What became of one message that a process wanted to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// write(2) said so, at that time.
    Sent(f64),
    /// The name of the error.
    Failed(String),
    /// It was killed before it heard.
    Killed,
}

/// One message that a process wanted to send.
#[derive(Debug, Clone)]
pub struct Send {
    pub opening: Opening,
    pub sequence: u64,
    pub outcome: Outcome,
}

/// One message that a process received.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub opening: Opening,
    pub writer: String,
    pub writer_opening: Opening,
    pub sequence: u64,
    pub at: f64,
}

/// The log of one process, from its start to its end.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub sends: Vec<Send>,
    pub receipts: Vec<Receipt>,
    /// How reading ended in an opening: an error, or 0.
    pub ends: Vec<(Opening, String)>,
    /// Messages that are none, or not of this channel.
    pub wrong: Vec<String>,
}

impl Log {
    /// Of this file; nothing when it is not there.
    pub fn read(path: &Path) -> Log {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut log = Log::default();
        text.lines().for_each(|line| log.line(line));
        log
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (at, opening) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        let number = |at: usize| words[at].parse().unwrap();
        match words[2] {
            "open" | "close" => {}
            "try" => self.sends.push(Send { opening, sequence: number(3), outcome: Outcome::Killed }),
            "sent" => self.sends.last_mut().unwrap().outcome = Outcome::Sent(at),
            "failed" => self.sends.last_mut().unwrap().outcome = Outcome::Failed(words[4].to_owned()),
            "got" => {
                let (writer, writer_opening) = (words[3].to_owned(), words[4].parse().unwrap());
                self.receipts.push(Receipt { opening, writer, writer_opening, sequence: number(5), at });
            }
            "end" => self.ends.push((opening, words[3].to_owned())),
            "wrong" => self.wrong.push(line.to_owned()),
            other => panic!("what is {other}?"),
        }
    }

    /// How reading ended in that opening; None when the process was killed in it.
    pub fn end(&self, opening: Opening) -> Option<&str> {
        self.ends.iter().find(|end| end.0 == opening).map(|end| end.1.as_str())
    }

    /// Whether a receipt is the last of its opening.
    pub fn is_last(&self, receipt: &Receipt) -> bool {
        let last = self.receipts.iter().rfind(|other| other.opening == receipt.opening);
        last.is_some_and(|last| (last.sequence, &last.writer) == (receipt.sequence, &receipt.writer))
    }
}
