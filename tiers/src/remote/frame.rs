//! What two connections say to each other: the frames of `fs9.peers.1`, as bytes and back.
//!
//! Numbers are little endian, `size` counts itself.
//!
//! | frame | bytes | counted |
//! |---|---|---|
//! | message | size[4] 1 channel[4] ends[1] ends*(channel[4] kind[8]) data[rest] | yes |
//! | bytes | size[4] 2 channel[4] ends[1] ends*(channel[4] kind[8]) length[4] | yes |
//! | data | size[4] 9 data[length] | yes |
//! | taken | size[4] 3 channel[4] | yes |
//! | left | size[4] 4 channel[4] halves[1] reason[1] figure[4] | yes |
//! | acknowledge | size[4] 5 received[8] | no |
//! | ping, pong | size[4] 6 and size[4] 7 | no |
//! | end | size[4] 8 reason[1] figure[4] | no |
//!
//! The data of a message is postcard's. A long `Vec<u8>` goes as it is, in a frame of its own that nobody has to copy:
//! it is the next counted frame after the one that announces it.
#![forbid(unsafe_code)]

use bytes::Bytes;

use crate::capability::Kind;
use crate::error::Reason;
use crate::message::{LIMIT, fits};
use crate::process::passport::MOST;
use crate::slot::Role;

/// The longest frame.
pub(super) const LONGEST: usize = 10 + MOST * PASSPORT + LIMIT;
/// An end beside a message.
const PASSPORT: usize = 12;
/// What every frame has: its size and its kind.
pub(super) const PREFIX: usize = 5;

const MESSAGE: u8 = 1;
const BYTES: u8 = 2;
const TAKEN: u8 = 3;
const LEFT: u8 = 4;
const ACKNOWLEDGE: u8 = 5;
const PING: u8 = 6;
const PONG: u8 = 7;
const END: u8 = 8;
const DATA: u8 = 9;

/// What came. Of a message the head only: its data is what is left of the frame, or the next one.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Message(Head),
    Bytes(Head, usize),
    /// The data that was announced is what is left of the frame.
    Data,
    Taken(u32),
    Left(u32, Halves, Reason),
    Acknowledge(u64),
    Ping,
    Pong,
    End(Reason),
}

/// For whom a message is, and what goes beside it.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub channel: u32,
    pub passports: Vec<Passport>,
}

/// An end that becomes a channel of the session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Passport {
    pub channel: u32,
    pub kind: Kind,
}

/// The halves of an end that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Halves(u8);

impl Halves {
    pub const BOTH: Halves = Halves(3);

    pub const fn of(role: Role) -> Halves {
        match role {
            Role::Sender => Halves(1),
            Role::Receiver => Halves(2),
        }
    }

    pub fn has(self, role: Role) -> bool {
        self.0 & Halves::of(role).0 != 0
    }

    pub fn with(self, more: Halves) -> Halves {
        Halves(self.0 | more.0)
    }

    pub fn without(self, less: Halves) -> Halves {
        Halves(self.0 & !less.0)
    }

    pub const fn bits(self) -> u8 {
        self.0
    }

    pub const fn from_bits(bits: u8) -> Halves {
        Halves(bits & Halves::BOTH.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Frame {
    /// The frame in `bytes`, which are at least [`PREFIX`] and whole, or of a message at least its head. With it, where
    /// its data begins. `Ok(None)`: its head is not there yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Garbage> {
        let (size, kind, mut rest) = match bytes {
            [a, b, c, d, kind, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, *kind, Rest(rest)),
            _ => return Ok(None),
        };
        if !(PREFIX..=LONGEST).contains(&size) {
            return Err(Garbage);
        }
        let is_message = matches!(kind, MESSAGE | DATA);
        if !is_message && size > LONGEST - LIMIT + 4 {
            return Err(Garbage);
        }
        if !is_message && bytes.len() < size {
            return Ok(None);
        }
        rest.0 = &rest.0[..rest.0.len().min(size - PREFIX)];
        // A head that ends before the frame does is incomplete, one that does not is nonsense.
        let is_whole = bytes.len() >= size;
        let short = if is_whole { Err(Garbage) } else { Ok(None) };
        let Some(frame) = rest.frame(kind)? else { return short };
        let head = bytes.len().min(size) - rest.0.len();
        if !is_message && head != size { Err(Garbage) } else { Ok(Some((frame, head))) }
    }

    /// How long the frame is that begins with these bytes; they are at least [`PREFIX`].
    pub fn size(bytes: &[u8]) -> usize {
        bytes.first_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
    }
}

/// What is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbage;

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]: [u8; 1]| byte)
    }

    /// None where there are too few bytes.
    fn frame(&mut self, kind: u8) -> Result<Option<Frame>, Garbage> {
        Ok(match kind {
            MESSAGE => self.head()?.map(Frame::Message),
            BYTES => {
                let Some(head) = self.head()? else { return Ok(None) };
                let Some(length) = self.word() else { return Ok(None) };
                if !fits(length as usize) {
                    return Err(Garbage);
                }
                Some(Frame::Bytes(head, length as usize))
            }
            TAKEN => self.word().map(Frame::Taken),
            LEFT => {
                let (Some(channel), Some(halves)) = (self.word(), self.byte()) else { return Ok(None) };
                if halves == 0 || halves > Halves::BOTH.0 {
                    return Err(Garbage);
                }
                self.reason()?.map(|reason| Frame::Left(channel, Halves(halves), reason))
            }
            ACKNOWLEDGE => self.long().map(Frame::Acknowledge),
            PING => Some(Frame::Ping),
            PONG => Some(Frame::Pong),
            END => self.reason()?.map(Frame::End),
            DATA => Some(Frame::Data),
            _ => return Err(Garbage),
        })
    }

    fn head(&mut self) -> Result<Option<Head>, Garbage> {
        let (Some(channel), Some(ends)) = (self.word(), self.byte()) else { return Ok(None) };
        if ends as usize > MOST {
            return Err(Garbage);
        }
        let passports =
            (0..ends).map(|_| Some(Passport { channel: self.word()?, kind: Kind::from_hash(self.long()?) }));
        Ok(passports.collect::<Option<Vec<_>>>().map(|passports| Head { channel, passports }))
    }

    fn reason(&mut self) -> Result<Option<Reason>, Garbage> {
        let (Some(index), Some(figure)) = (self.byte(), self.word()) else { return Ok(None) };
        match Reason::all().get(usize::from(index)) {
            Some(Reason::Exited(_)) => Ok(Some(Reason::Exited(figure.cast_signed()))),
            Some(Reason::Killed(_)) => Ok(Some(Reason::Killed(figure.cast_signed()))),
            Some(reason) => Ok(Some(*reason)),
            None => Err(Garbage),
        }
    }
}

fn start(kind: u8, room: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(room);
    bytes.extend([0, 0, 0, 0, kind]);
    bytes
}

fn put_size(bytes: &mut [u8]) {
    // No frame is longer than LONGEST.
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if let Some(place) = bytes.first_chunk_mut() {
        *place = size.to_le_bytes();
    }
}

fn finish(mut bytes: Vec<u8>) -> Bytes {
    put_size(&mut bytes);
    bytes.into()
}

fn put_head(bytes: &mut Vec<u8>, channel: u32, passports: &[Passport]) {
    bytes.extend(channel.to_le_bytes());
    // At most MOST.
    bytes.push(passports.len() as u8);
    for passport in passports {
        bytes.extend(passport.channel.to_le_bytes());
        bytes.extend(passport.kind.hash().to_le_bytes());
    }
}

fn put_reason(bytes: &mut Vec<u8>, reason: Reason) {
    let figure = match reason {
        Reason::Exited(figure) | Reason::Killed(figure) => figure,
        _ => 0,
    };
    bytes.push(reason.index() as u8);
    bytes.extend(figure.to_le_bytes());
}

/// A message, to which its data is still to be appended, and which [`seal`] ends.
pub(super) fn message(channel: u32, passports: &[Passport]) -> Vec<u8> {
    let mut bytes = start(MESSAGE, 128);
    put_head(&mut bytes, channel, passports);
    bytes
}

pub(super) fn seal(message: Vec<u8>) -> Bytes {
    finish(message)
}

/// What goes before so many bytes as they are.
pub(super) fn bytes_follow(channel: u32, passports: &[Passport], length: usize) -> Bytes {
    let mut bytes = start(BYTES, 14 + passports.len() * PASSPORT);
    put_head(&mut bytes, channel, passports);
    // At most LIMIT.
    bytes.extend((length as u32).to_le_bytes());
    finish(bytes)
}

/// What goes before the bytes that were announced.
pub(super) fn data(length: usize) -> Bytes {
    let mut bytes = start(DATA, PREFIX);
    // At most LONGEST.
    if let Some(place) = bytes.first_chunk_mut() {
        *place = ((PREFIX + length) as u32).to_le_bytes();
    }
    bytes.into()
}

pub(super) fn taken(channel: u32) -> Bytes {
    let mut bytes = start(TAKEN, 9);
    bytes.extend(channel.to_le_bytes());
    finish(bytes)
}

pub(super) fn left(channel: u32, halves: Halves, reason: Reason) -> Bytes {
    let mut bytes = start(LEFT, 15);
    bytes.extend(channel.to_le_bytes());
    bytes.push(halves.0);
    put_reason(&mut bytes, reason);
    finish(bytes)
}

pub(super) fn acknowledge(received: u64) -> Bytes {
    let mut bytes = start(ACKNOWLEDGE, 13);
    bytes.extend(received.to_le_bytes());
    finish(bytes)
}

pub(super) fn ping() -> Bytes {
    Bytes::from_static(&[5, 0, 0, 0, PING])
}

pub(super) fn pong() -> Bytes {
    Bytes::from_static(&[5, 0, 0, 0, PONG])
}

pub(super) fn end(reason: Reason) -> Bytes {
    let mut bytes = start(END, 10);
    put_reason(&mut bytes, reason);
    finish(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::from_hash(0x0102_0304_0506_0708);

    #[test]
    fn what_is_written_is_read() {
        let passports = vec![Passport { channel: 7, kind: KIND }; MOST];
        let head = |channel| Head { channel, passports: passports.clone() };
        let mut data = message(3, &passports);
        let begin = data.len();
        data.extend(b"data");
        let frames = [
            (seal(data), Frame::Message(head(3)), begin),
            (bytes_follow(4, &passports, 100_000), Frame::Bytes(head(4), 100_000), 14 + 12 * MOST),
            (taken(5), Frame::Taken(5), 9),
            (left(6, Halves::BOTH, Reason::Killed(9)), Frame::Left(6, Halves::BOTH, Reason::Killed(9)), 15),
            (acknowledge(u64::MAX), Frame::Acknowledge(u64::MAX), 13),
            (ping(), Frame::Ping, 5),
            (pong(), Frame::Pong, 5),
            (end(Reason::Exited(-1)), Frame::End(Reason::Exited(-1)), 10),
        ];
        for (bytes, frame, begin) in frames {
            assert_eq!(Frame::size(&bytes), bytes.len());
            for len in 0..begin {
                assert_eq!(Frame::parse(&bytes[..len]), Ok(None), "{frame:?}, the first {len} bytes");
            }
            assert_eq!(Frame::parse(&bytes), Ok(Some((frame, begin))));
        }
    }

    #[test]
    fn what_is_no_frame_is_garbage() {
        let frame = |bytes: &[u8]| {
            let size = (bytes.len() as u32 + 4).to_le_bytes();
            Frame::parse(&[&size[..], bytes].concat())
        };
        for bytes in [&[0][..], &[99], &[TAKEN, 1, 2, 3], &[TAKEN, 1, 2, 3, 4, 5], &[PING, 0], &[MESSAGE, 0, 0, 0, 0]] {
            assert_eq!(frame(bytes), Err(Garbage), "{bytes:?}");
        }
        assert_eq!(Frame::parse(&[4, 0, 0, 0, PING]), Err(Garbage), "shorter than any");
        assert_eq!(frame(&[MESSAGE, 0, 0, 0, 0, MOST as u8 + 1]), Err(Garbage), "too many ends");
        assert_eq!(frame(&[LEFT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Garbage), "no half");
        assert_eq!(frame(&[LEFT, 0, 0, 0, 0, 1, Reason::KINDS as u8, 0, 0, 0, 0]), Err(Garbage), "no reason");
        assert_eq!(Frame::parse(&[0xff, 0xff, 0xff, 0xff, MESSAGE]), Err(Garbage), "too long, before it is there");
        assert_eq!(Frame::parse(&[0xff, 0xff, 0, 0, PING]), Err(Garbage), "a ping is short");
    }

    #[test]
    fn no_bytes_at_all_make_it_panic() {
        proptest::proptest!(|(bytes: Vec<u8>)| { let _ = Frame::parse(&bytes); });
    }
}
