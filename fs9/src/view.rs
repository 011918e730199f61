//! Views: how a descriptor's bytes become messages, chosen by a suffix of the name at open.

use std::sync::Arc;

use rustix::io::Errno;

use crate::message::{Claim, Message, Store};

/// How bytes become messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// `NAME`: one write(2) is one message.
    #[default]
    Plain,
    /// `NAME:line`: each line is a message, its newline included.
    Line,
    /// `NAME:whole`: all between open and close is one message.
    Whole,
}

impl View {
    const SUFFIXES: [(&'static str, View); 2] = [(":line", View::Line), (":whole", View::Whole)];

    /// Splits a name into the channel's name and the view.
    pub fn split(name: &str) -> (&str, View) {
        for (suffix, view) in View::SUFFIXES {
            if let Some(channel) = name.strip_suffix(suffix).filter(|channel| !channel.is_empty()) {
                return (channel, view);
            }
        }
        (name, View::Plain)
    }

    /// The word for it in `status`; None for the plain view.
    pub fn word(self) -> Option<&'static str> {
        match self {
            View::Plain => None,
            View::Line => Some("line"),
            View::Whole => Some("whole"),
        }
    }
}

/// What a descriptor was given and has not sent: an unfinished line, or the whole so far.
#[derive(Debug, Default)]
pub struct Unsent {
    bytes: Vec<u8>,
    claim: Option<Claim>,
    /// The limit was passed: nothing of it will be sent, and every later write is refused.
    overflowed: bool,
}

/// One write of lines, to be taken one by one. They share the bytes of the write.
#[derive(Debug)]
pub struct Lines {
    /// What waited before, with the end of its line.
    first: Option<Message>,
    data: Message,
    at: usize,
}

impl Lines {
    /// The next whole line, and how many bytes of the write are done once it is sent.
    pub fn next(&mut self) -> Option<(Message, usize)> {
        let end = self.at + self.data[self.at..].iter().position(|byte| *byte == b'\n')? + 1;
        let line = self.first.take().unwrap_or_else(|| self.data.part(self.at..end));
        self.at = end;
        Some((line, end))
    }

    /// What comes after the last newline, once all lines are taken.
    pub fn tail(&self) -> &[u8] {
        &self.data[self.at..]
    }

    /// Bytes of the write in all.
    pub fn total(&self) -> usize {
        self.data.len()
    }
}

impl Unsent {
    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds `data`.
    ///
    /// # Errors
    /// EMSGSIZE when it is over `limit` in total, now and from now on; ENOSPC when the mount has no room.
    pub fn push(&mut self, data: &[u8], limit: usize, store: &Arc<Store>) -> Result<(), Errno> {
        if self.overflowed || self.bytes.len() + data.len() > limit {
            return Err(self.overflow());
        }
        let claim = store.claim(data.len()).ok_or(Errno::NOSPC)?;
        match &mut self.claim {
            Some(mine) => mine.join(claim),
            none => *none = Some(claim),
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// What waits and `data` as lines. Changes nothing: the first line sent takes what waits with it, see
    /// [`Unsent::clear`].
    ///
    /// # Errors
    /// As [`Unsent::push`], a line being what is limited.
    pub fn lines(&mut self, data: Message, limit: usize, store: &Arc<Store>) -> Result<Lines, Errno> {
        let mut lines = data.split_inclusive(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        if self.overflowed || self.bytes.len() + first.len() > limit || lines.any(|line| line.len() > limit) {
            return Err(self.overflow());
        }
        let first = match self.is_empty() {
            true => None,
            false => Some(store.copy(&[&self.bytes[..], first].concat()).ok_or(Errno::NOSPC)?),
        };
        Ok(Lines { first, data, at: 0 })
    }

    /// Forgets what waited: it was sent.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        self.claim = None;
    }

    /// What waits, as a message; None when there is nothing to send.
    pub fn take(&mut self) -> Option<Message> {
        let bytes = std::mem::take(&mut self.bytes);
        let claim = self.claim.take()?;
        let range = 0..bytes.len();
        (!bytes.is_empty()).then(|| Message::new(bytes, range, claim))
    }

    fn overflow(&mut self) -> Errno {
        self.clear();
        self.overflowed = true;
        Errno::MSGSIZE
    }
}

/// What a reader of the line view gets: every message ends in a newline, so that `read` of a shell knows where it ends.
pub fn as_line(message: &Message, store: &Arc<Store>) -> Option<Message> {
    if message.last() == Some(&b'\n') {
        return Some(message.clone());
    }
    store.copy(&[message, &b"\n"[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(unsent: &mut Unsent, data: &[u8], limit: usize, store: &Arc<Store>) -> Result<Lines, Errno> {
        unsent.lines(store.copy(data).expect("there is room"), limit, store)
    }

    fn texts(lines: &mut Lines) -> Vec<(String, usize)> {
        std::iter::from_fn(|| lines.next()).map(|(m, n)| (String::from_utf8_lossy(&m).into_owned(), n)).collect()
    }

    #[test]
    fn a_suffix_is_a_view_and_the_rest_is_the_name() {
        assert_eq!(View::split("jobs"), ("jobs", View::Plain));
        assert_eq!(View::split("jobs:line"), ("jobs", View::Line));
        assert_eq!(View::split("a:b:whole"), ("a:b", View::Whole));
        assert_eq!(View::split(":line"), (":line", View::Plain));
    }

    #[test]
    fn lines_take_the_unfinished_one_with_them() {
        let store = Store::new(1000, 64);
        let mut unsent = Unsent::default();
        unsent.push(b"he", 100, &store).expect("short");
        let mut lines = lines(&mut unsent, b"llo\n\nwor", 100, &store).expect("short");
        assert_eq!(texts(&mut lines), [("hello\n".into(), 4), ("\n".into(), 5)]);
        assert_eq!(lines.tail(), b"wor");
        assert!(!unsent.is_empty(), "nothing was sent yet");
    }

    #[test]
    fn over_the_limit_nothing_is_sent_ever() {
        let store = Store::new(1000, 64);
        let mut unsent = Unsent::default();
        unsent.push(b"12345", 8, &store).expect("short");
        assert_eq!(unsent.push(b"6789", 8, &store), Err(Errno::MSGSIZE));
        assert_eq!(unsent.push(b"1", 8, &store), Err(Errno::MSGSIZE));
        assert!(unsent.take().is_none());
        assert_eq!(store.used(), 0);
        let mut unsent = Unsent::default();
        assert!(matches!(lines(&mut unsent, b"ok\n123456789\n", 8, &store), Err(Errno::MSGSIZE)));
        let mut unsent = Unsent::default();
        unsent.push(b"1234", 8, &store).expect("short");
        assert!(matches!(lines(&mut unsent, b"5678\n", 8, &store), Err(Errno::MSGSIZE)));
    }

    #[test]
    fn what_waits_is_one_message_at_the_end() {
        let store = Store::new(1000, 64);
        let mut unsent = Unsent::default();
        unsent.push(b"ab", 8, &store).expect("short");
        unsent.push(b"cd", 8, &store).expect("short");
        let message = unsent.take().expect("something waits");
        assert_eq!((&*message, store.used()), (&b"abcd"[..], 4));
        drop(message);
        assert_eq!(store.used(), 0);
        assert!(unsent.take().is_none());
    }

    #[test]
    fn a_line_reader_gets_a_newline() {
        let store = Store::new(1000, 64);
        let bare = store.copy(b"hi").expect("room");
        assert_eq!(as_line(&bare, &store).as_deref(), Some(&b"hi\n"[..]));
        let whole = store.copy(b"hi\n").expect("room");
        assert_eq!(as_line(&whole, &store).as_deref(), Some(&b"hi\n"[..]));
    }
}
