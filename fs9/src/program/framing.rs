//! Bytes of a program as messages, and messages as its bytes. No I/O: what is read is pushed, what is a message is
//! taken.

use crate::spec::Framing;

/// The bytes for standard input that say `message`.
pub fn input(framing: Framing, mut message: Vec<u8>) -> Vec<u8> {
    match framing {
        Framing::Line if message.last() != Some(&b'\n') => message.push(b'\n'),
        Framing::Frames => {
            // A message has 1 MiB at most.
            let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
            message.splice(0..0, length);
        }
        Framing::Line | Framing::Whole | Framing::Peer => {}
    }
    message
}

/// Why what a program says is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More than a message may have.
    #[error("what it says is longer than a message, {0} bytes")]
    TooLong(usize),
    /// A frame of no bytes.
    #[error("it sends a message of no bytes")]
    Empty,
    /// It ended within a frame.
    #[error("it ended in the middle of a frame")]
    CutShort,
}

/// What a program has said and nobody has taken. Holds at most one message and what was pushed last.
#[derive(Debug)]
pub struct Output {
    framing: Framing,
    limit: usize,
    bytes: Vec<u8>,
    /// Where what was not taken begins.
    from: usize,
    /// Behind that, so many bytes are known to have no end of a line.
    seen: usize,
    ended: bool,
}

impl Output {
    /// Messages of at most `limit` bytes.
    pub fn new(framing: Framing, limit: usize) -> Output {
        Output { framing, limit, bytes: Vec::new(), from: 0, seen: 0, ended: false }
    }

    /// The program says this. To be called only when [`Output::next`] has nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.from));
        self.bytes.extend_from_slice(bytes);
    }

    /// It says no more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether all was said and taken.
    pub fn is_spent(&self) -> bool {
        self.ended && self.rest().is_empty()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    /// Takes the next message; None when it is not complete.
    ///
    /// # Errors
    /// See [`Fault`]. Nothing more is to be had then.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let found = match self.framing {
            Framing::Line => self.line(),
            Framing::Frames => self.frame(),
            Framing::Whole | Framing::Peer => self.whole(),
        };
        if found.is_err() {
            (self.bytes, self.from, self.seen, self.ended) = (Vec::new(), 0, 0, true);
        }
        found
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let rest = self.rest();
        match rest[self.seen..].iter().position(|byte| *byte == b'\n') {
            Some(place) => self.take(0, self.seen + place + 1).map(Some),
            None if self.ended => self.whole(),
            None => {
                self.seen = rest.len();
                self.whole()
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let rest = self.rest();
        match rest.split_first_chunk() {
            Some((length, body)) => match u32::from_le_bytes(*length) as usize {
                0 => Err(Fault::Empty),
                length if length > self.limit => Err(Fault::TooLong(self.limit)),
                length if length <= body.len() => self.take(size_of::<u32>(), length).map(Some),
                _ if self.ended => Err(Fault::CutShort),
                _ => Ok(None),
            },
            None if self.ended && !rest.is_empty() => Err(Fault::CutShort),
            None => Ok(None),
        }
    }

    /// All there is, once there will be no more.
    fn whole(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.rest().len() {
            length if length > self.limit => Err(Fault::TooLong(self.limit)),
            length if self.ended && length > 0 => self.take(0, length).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes `length` bytes that begin after `skipped` others.
    fn take(&mut self, skipped: usize, length: usize) -> Result<Vec<u8>, Fault> {
        if length > self.limit {
            return Err(Fault::TooLong(self.limit));
        }
        let begin = self.from + skipped;
        let message = self.bytes[begin..begin + length].to_vec();
        (self.from, self.seen) = (begin + length, 0);
        if self.from == self.bytes.len() {
            // What a long message took is given back.
            (self.bytes, self.from) = (Vec::new(), 0);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these pieces, one after the other, and then of the end.
    fn said(framing: Framing, pieces: &[&[u8]]) -> Vec<String> {
        let mut output = Output::new(framing, 8);
        let mut said = Vec::new();
        let mut take_all = |output: &mut Output| {
            loop {
                match output.next() {
                    Ok(Some(message)) => said.push(String::from_utf8_lossy(&message).into_owned()),
                    Ok(None) => return true,
                    Err(fault) => {
                        said.push(format!("{fault:?}"));
                        return false;
                    }
                }
            }
        };
        for piece in pieces {
            output.push(piece);
            if !take_all(&mut output) {
                assert_eq!(output.next(), Ok(None));
                assert!(output.is_spent());
                return said;
            }
        }
        output.end();
        take_all(&mut output);
        assert!(output.is_spent());
        said
    }

    #[test]
    fn each_line_is_a_message_with_its_newline_and_the_last_need_not_have_one() {
        assert_eq!(said(Framing::Line, &[b"a\nb", b"c\n\n", b"d"]), ["a\n", "bc\n", "\n", "d"]);
        assert_eq!(said(Framing::Line, &[b"1234567\n12345678\n"]), ["1234567\n", "TooLong(8)"]);
        assert_eq!(said(Framing::Line, &[b"1234", b"56789"]), ["TooLong(8)"], "it need not come to its end for that");
        assert_eq!(said(Framing::Line, &[]), [""; 0]);
    }

    #[test]
    fn a_whole_is_all_there_is() {
        assert_eq!(said(Framing::Whole, &[b"a\nb", b"c"]), ["a\nbc"]);
        assert_eq!(said(Framing::Whole, &[b"1234", b"5678", b"9"]), ["TooLong(8)"]);
        assert_eq!(said(Framing::Whole, &[]), [""; 0]);
    }

    #[test]
    fn a_frame_has_the_length_that_it_says() {
        let frames = said(Framing::Frames, &[b"\x03\0\0\0abc\x01", b"\0\0", b"\0x"]);
        assert_eq!(frames, ["abc", "x"]);
        assert_eq!(said(Framing::Frames, &[b"\x09\0\0\0"]), ["TooLong(8)"], "before there is a byte of it");
        assert_eq!(said(Framing::Frames, &[b"\xff\xff\xff\xff"]), ["TooLong(8)"]);
        assert_eq!(said(Framing::Frames, &[b"\0\0\0\0"]), ["Empty"]);
        assert_eq!(said(Framing::Frames, &[b"\x03\0\0\0ab"]), ["CutShort"]);
        assert_eq!(said(Framing::Frames, &[b"\x03"]), ["CutShort"]);
    }

    #[test]
    fn a_message_as_bytes() {
        assert_eq!(input(Framing::Line, b"2^64".into()), b"2^64\n");
        assert_eq!(input(Framing::Line, b"a\nb\n".into()), b"a\nb\n");
        assert_eq!(input(Framing::Whole, b"a b".into()), b"a b");
        assert_eq!(input(Framing::Frames, b"abc".into()), b"\x03\0\0\0abc");
    }
}
