//! How a message becomes the bytes of one write(2), and back.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::sync::Arc;

use super::LIMIT;
use super::opened::{FileEnd, Opened};
use crate::error::{Reason, RecvError, SendError, Unfit};
use crate::loan::Block;
use crate::message::{self, Bounded, Bytes, EncodeError, Message};
use crate::slot::{Deadline, Role, Turn};

/// The half that sends values of type `T`.
pub(crate) struct Outgoing<T> {
    file: Arc<Opened>,
    encode: fn(&T) -> Result<Cow<'_, [u8]>, Unfit>,
}

/// The half that receives values of type `T`.
pub(crate) struct Incoming<T> {
    file: Arc<Opened>,
    decode: fn(Vec<u8>) -> Option<T>,
}

impl<T> Outgoing<T> {
    /// Encoded as between processes.
    pub fn typed(file: Arc<Opened>) -> Self
    where
        T: Message,
    {
        Outgoing { file, encode: encode_typed }
    }

    /// The bytes as they are.
    pub fn raw(file: Arc<Opened>) -> Self
    where
        T: Block,
    {
        Outgoing { file, encode: |message| Ok(Cow::Borrowed(message.bytes())) }
    }

    pub fn opened(&self) -> &Opened {
        &self.file
    }

    pub fn end(&self) -> FileEnd<'_> {
        self.file.end(Role::Sender)
    }

    /// Sends, and waits for room.
    pub fn send(&self, mut message: T) -> Result<(), SendError<T>> {
        while let Some(back) = self.send_by(message, Deadline::Never)? {
            message = back;
        }
        Ok(())
    }

    /// Sends. The message comes back at the deadline.
    pub fn send_by(&self, message: T, deadline: Deadline) -> Result<Option<T>, SendError<T>> {
        self.encoded(message, |bytes| self.file.send(bytes, deadline))
    }

    /// Sends at a sender's turn. The message comes back where another writer of the file was faster.
    pub fn put(&self, turn: Turn<'_>, message: T) -> Result<Option<T>, SendError<T>> {
        self.encoded(message, |bytes| self.file.write(&turn, bytes))
    }

    /// Has the bytes of a message sent. It comes back where they were not.
    fn encoded(
        &self,
        message: T,
        send: impl FnOnce(&[u8]) -> Result<bool, SendError<()>>,
    ) -> Result<Option<T>, SendError<T>> {
        let bytes = (self.encode)(&message).map_err(|unfit| SendError::Unfit((), unfit));
        match bytes.and_then(|bytes| send(&bytes)) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(message)),
            Err(error) => Err(error.map(|()| message)),
        }
    }
}

impl<T> Incoming<T> {
    /// Encoded as between processes.
    pub fn typed(file: Arc<Opened>) -> Self
    where
        T: Message,
    {
        Incoming { file, decode: decode_typed }
    }

    /// The bytes as they are.
    pub fn raw(file: Arc<Opened>) -> Self
    where
        T: Block,
    {
        Incoming { file, decode: T::from_bytes }
    }

    pub fn opened(&self) -> &Opened {
        &self.file
    }

    pub fn end(&self) -> FileEnd<'_> {
        self.file.end(Role::Receiver)
    }

    /// Receives at a receiver's turn. What cannot be decoded is gone, and the next message is another matter.
    pub fn take(&self, turn: Turn<'_>) -> Result<T, RecvError> {
        (self.decode)(self.file.take(turn)).ok_or(RecvError::Disconnected(Reason::Protocol))
    }
}

/// In place of no bytes: a write of nothing is none.
const NOTHING: [u8; 1] = [0];

fn encode_typed<T: Message>(message: &T) -> Result<Cow<'_, [u8]>, Unfit> {
    let mut encoded = Bounded { bytes: Vec::new(), limit: LIMIT };
    match message::encode(message, &mut encoded) {
        Ok(()) if encoded.bytes.is_empty() => Ok(Cow::Borrowed(&NOTHING)),
        Ok(()) => Ok(Cow::Owned(encoded.bytes)),
        Err(EncodeError::Full) => Err(Unfit::TooLong { limit: LIMIT }),
        Err(EncodeError::Unencodable) => Err(Unfit::Unencodable),
    }
}

fn decode_typed<T: Message>(bytes: Vec<u8>) -> Option<T> {
    // A type whose values take no bytes does not take that one either.
    message::decode(&Bytes(&bytes)).or_else(|| if bytes == NOTHING { message::decode(&Bytes(&[])) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through<T: Message>(message: &T) -> Option<T> {
        decode_typed(encode_typed(message).expect("encoded").into_owned())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(through(&(7_u8, "seven".to_owned())), Some((7, "seven".to_owned())));
        assert_eq!(through(&vec![1_u8, 2, 3]), Some(vec![1, 2, 3]));
        assert_eq!(encode_typed(&vec![1_u8, 2, 3]).expect("encoded").as_ref(), [3, 1, 2, 3]);
    }

    #[test]
    fn a_message_of_no_bytes_is_one_zero() {
        assert_eq!(encode_typed(&()).expect("encoded").as_ref(), [0]);
        assert_eq!(through(&()), Some(()));
        assert_eq!(through(&0_u8), Some(0), "a zero that is a message");
        assert_eq!(through(&Vec::<u8>::new()), Some(Vec::new()));
        assert_eq!(decode_typed::<()>(vec![1]), None);
        assert_eq!(decode_typed::<(u8, u8)>(vec![0]), None, "cut short");
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        assert_eq!(decode_typed::<String>(b"hello".to_vec()), None);
        assert_eq!(decode_typed::<u8>(vec![1, 2]), None, "something behind it");
    }

    #[test]
    fn what_is_too_long_is_not_even_encoded() {
        let too_long = Err(Unfit::TooLong { limit: LIMIT });
        let fits = |len: usize| encode_typed(&vec![0_u8; len]).map(|bytes| bytes.len());
        assert_eq!((fits(LIMIT - 3), fits(LIMIT - 2)), (Ok(LIMIT), too_long));
        assert_eq!(encode_typed(&"a".repeat(10 * LIMIT)).map(|bytes| bytes.len()), too_long);
    }
}
