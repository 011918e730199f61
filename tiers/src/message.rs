//! What may cross a channel, and how it lies there as bytes.
//!
//! A message is a value that serde can write and read. Between two threads it is moved; between processes it is
//! encoded, always as postcard does it (<https://postcard.jamesmunns.com/wire-format>), so every reader with the same
//! types understands it. Byte messages and [`Pod`]s have short cuts to the same bytes.
//!
//! The encoding knows nothing of where bytes live: it appends to a `Sink` and copies out of a `Source`, which the
//! process tier has over shared memory.
//!
//! Invariants:
//!
//! - The bytes of a source are another's and may change at any time: each is copied out once, and what is decoded is the
//!   copy.
//! - Lengths in the bytes are believed only as far as there are bytes behind them, and a message is all of its source:
//!   what is cut short or has something after it is malformed. Nothing here panics over bytes.
//!
//! What it cannot refuse, because the type asks for it: bytes from the other end decide how deep a recursive type is
//! nested, as deep as [`LIMIT`] allows, which may be deeper than the stack; and how long a sequence is whose elements
//! take no bytes (`Vec<()>`). Neither belongs into a message from a party that is not trusted. And the length of a map
//! is shown to the type before there are bytes for it: the standard maps set aside at most 1 MiB for it, as serde does.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use postcard::ser_flavors::Flavor;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::Unfit;

/// The longest message, in encoded bytes.
pub const LIMIT: usize = 4 << 20;

/// What can be sent: any value of its own that serde can write and read. There is nothing to implement.
///
/// The `Deserialize` and the `Drop` of the type run in the receiver, on bytes of the other end's choice. Where that is
/// not trusted they must bear any bytes, and the type should be neither recursive nor have sequences of elements that
/// take no bytes: their depth and their length are then the other end's choice.
///
/// A `Vec<u8>` and a [`bytes::Bytes`] are the same message, so that either side may choose. Where a message goes by a
/// connection and is long, it is sent from where it is: what is to be sent again, or to many, is a `Bytes`.
///
/// Between processes a message is encoded by postcard, which does not write names. Types that need them cannot be read
/// back: `#[serde(untagged)]`, `#[serde(tag = "..")]`, `#[serde(skip_serializing_if = "..")]`, `serde_json::Value`. Of
/// a type with a `&'static str` the compiler says that its `Deserialize` is "not general enough": send a `String`.
///
/// ```
/// #[derive(serde::Serialize, serde::Deserialize)]
/// enum Order {
///     Resize { path: String, width: u32 },
///     Stop,
/// }
///
/// let (boss, worker) = fs9_tiers::pair::<Order, ()>();
/// boss.send(Order::Resize { path: "cat.png".to_string(), width: 640 })?;
/// assert!(matches!(worker.recv()?, Order::Resize { width: 640, .. }));
/// # boss.send(Order::Stop)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent in a message",
    label = "not a message",
    note = "what crosses a channel are values that serde can write and read: for a type of your own derive `Serialize` \
            and `Deserialize`, and send owned data instead of references",
    note = "handles (a file, a descriptor, a socket, a peer) never cross inside a message: hand a peer over beside one, \
            with `send_with`"
)]
pub trait Message: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Message for T {}

/// Plain old data: what is its bytes and nothing else, and is valid whatever they are. There is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain old data",
    label = "not plain old data",
    note = "for a type of your own derive zerocopy's `FromBytes`, `IntoBytes`, `Immutable` and `KnownLayout`; it then \
            has no padding, no references and no `bool`, `char` or enum",
    note = "anything else that serde can write and read is sent as it is, without `Pod`"
)]
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Send + 'static> Plain for T {}

/// A message of plain old data, which goes as its bytes and not element by element.
///
/// The bytes are this machine's: their order and the size of `usize` are not translated.
///
/// ```
/// use fs9_tiers::Pod;
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// struct Sample {
///     time: u64,
///     values: [f32; 2],
/// }
///
/// let (probe, log) = fs9_tiers::pair::<Pod<Sample>, ()>();
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pod<P: Plain>(pub P);

impl<P: Plain> Serialize for Pod<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0.as_bytes())
    }
}

impl<'de, P: Plain> Deserialize<'de> for Pod<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(PodVisitor(PhantomData))
    }
}

struct PodVisitor<P>(PhantomData<P>);

impl<P: Plain> Visitor<'_> for PodVisitor<P> {
    type Value = Pod<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", size_of::<P>())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Pod<P>, E> {
        P::read_from_bytes(bytes).map(Pod).map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

/// Where an encoded message is put.
pub(crate) trait Sink {
    /// Appends `bytes`; false when there is no room for them, and then the message is given up.
    fn extend(&mut self, bytes: &[u8]) -> bool;
    /// Appends the first `len` of `bytes`, and may spoil what is behind them: a copy of a known length is quicker.
    fn extend_staged(&mut self, bytes: &[u8; STAGE], len: usize) -> bool {
        self.extend(&bytes[..len])
    }
}

/// Where an encoded message lies. All of it is one message.
///
/// Callers keep `at + len <= self.len()`. The bytes may change under us, so each is read once.
pub(crate) trait Source {
    /// How many bytes there are: the same at every call.
    fn len(&self) -> usize;
    /// Copies `into.len()` bytes out.
    fn read(&self, at: usize, into: &mut [u8]);
    /// Copies the first [`SMALL`] bytes out, of which those past the end may be anything: a copy of a known length is
    /// quicker.
    fn read_small(&self, into: &mut [u8; SMALL]);
    /// Copies `len` bytes out.
    fn read_vec(&self, at: usize, len: usize) -> Vec<u8>;
}

/// A message of any type, as it is encoded: for who passes on what he does not know.
pub(crate) struct Encoded(Vec<u8>);

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is encoded already"))
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("it stays encoded"))
    }
}

/// Bytes of our own.
pub(crate) struct Bytes<'a>(pub &'a [u8]);

impl Source for Bytes<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0[at..][..into.len()]);
    }

    fn read_small(&self, into: &mut [u8; SMALL]) {
        let small = &self.0[..self.0.len().min(SMALL)];
        into[..small.len()].copy_from_slice(small);
    }

    fn read_vec(&self, at: usize, len: usize) -> Vec<u8> {
        self.0[at..][..len].to_vec()
    }
}

/// Bytes of our own, up to so many.
pub(crate) struct Bounded {
    pub bytes: Vec<u8>,
    pub limit: usize,
}

impl Sink for Bounded {
    fn extend(&mut self, bytes: &[u8]) -> bool {
        let fits = self.limit.checked_sub(self.bytes.len()).is_some_and(|room| bytes.len() <= room);
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }
}

/// Why a message was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncodeError {
    /// The sink has no room for it.
    Full,
    /// Its `Serialize` failed, or wrote a sequence without saying its length first.
    Unencodable,
}

impl From<EncodeError> for Unfit {
    /// For a sink with room for [`LIMIT`] bytes.
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Full => Unfit::TooLong { limit: LIMIT },
            EncodeError::Unencodable => Unfit::Unencodable,
        }
    }
}

/// Appends `message` to `sink`; after an error the sink may hold part of it.
pub(crate) fn encode<T: Message>(message: &T, sink: &mut impl Sink) -> Result<(), EncodeError> {
    if let Some(bytes) = (message as &dyn Any).downcast_ref::<Vec<u8>>() {
        let fits = sink.extend(header(bytes.len()).as_bytes()) && sink.extend(bytes);
        return if fits { Ok(()) } else { Err(EncodeError::Full) };
    }
    if let Some(Encoded(bytes)) = (message as &dyn Any).downcast_ref::<Encoded>() {
        return if sink.extend(bytes) { Ok(()) } else { Err(EncodeError::Full) };
    }
    let mut serializer = postcard::Serializer { output: Stage::before(sink) };
    let written = message.serialize(&mut serializer);
    // Where it is: it is long for something to be moved.
    let stage = &mut serializer.output;
    // A full sink first: what a `Serialize` makes of the error that it was given is its own affair.
    match (stage.flush(), written) {
        (Err(Full), _) => Err(EncodeError::Full),
        (Ok(()), Err(_)) => Err(EncodeError::Unencodable),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// The message that is all of `source`, or None when that is malformed.
pub(crate) fn decode<T: Message>(source: &impl Source) -> Option<T> {
    let mut message = None::<T>;
    let bytes = || payload(source).map(|range| source.read_vec(range.start, range.len()));
    if let Some(message) = (&mut message as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
        *message = bytes();
    } else if let Some(message) = (&mut message as &mut dyn Any).downcast_mut::<Option<bytes::Bytes>>() {
        *message = bytes().map(bytes::Bytes::from);
    } else if let Some(message) = (&mut message as &mut dyn Any).downcast_mut::<Option<Encoded>>() {
        *message = Some(Encoded(source.read_vec(0, source.len())));
    } else if source.len() <= SMALL {
        let mut bytes = [0; SMALL];
        source.read_small(&mut bytes);
        message = parse(&bytes[..source.len()]);
    } else {
        message = parse(&source.read_vec(0, source.len()));
    }
    message
}

/// The longest message that is decoded on the stack.
pub(crate) const SMALL: usize = 128;

fn parse<T: Message>(bytes: &[u8]) -> Option<T> {
    let (message, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(message)
}

/// The longest number of bytes as postcard writes it.
pub(crate) const HEADER: usize = usize::BITS.div_ceil(7) as usize;

/// What is before the bytes of a byte message, see [`header`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    bytes: [u8; HEADER],
    len: usize,
}

impl Header {
    /// The header as it lies before the payload.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What is before the `len` bytes of a `Vec<u8>` or of a [`Pod`]: how many they are, seven bits a byte, the low ones
/// first, with the high bit where more follow.
pub(crate) const fn header(len: usize) -> Header {
    let mut header = Header { bytes: [0; HEADER], len: 0 };
    let mut rest = len;
    while rest >= 0x80 {
        header.bytes[header.len] = rest as u8 | 0x80;
        header.len += 1;
        rest >>= 7;
    }
    header.bytes[header.len] = rest as u8;
    header.len += 1;
    header
}

/// Whether a `Vec<u8>` of `len` bytes has no more than [`LIMIT`] when it is encoded.
pub(crate) fn fits(len: usize) -> bool {
    len <= LIMIT && header(len).len + len <= LIMIT
}

/// Where the bytes of a `Vec<u8>` or of a [`Pod`] lie in `source`, or None when its header does not say exactly what is
/// there.
pub(crate) fn payload(source: &impl Source) -> Option<Range<usize>> {
    let mut head = [0; HEADER];
    let head = &mut head[..HEADER.min(source.len())];
    source.read(0, head);
    let (len, rest) = postcard::take_from_bytes::<usize>(head).ok()?;
    let start = head.len() - rest.len();
    (source.len() - start == len).then_some(start..source.len())
}

/// How many bytes are gathered before they go to a sink.
pub(crate) const STAGE: usize = 128;

/// The sink has no room. Asked again it stays so: a message without its middle must not look complete.
struct Full;

/// Gathers the small pieces that a serializer writes, so that the sink sees few; long ones go through.
struct Stage<'a, S> {
    sink: &'a mut S,
    bytes: [u8; STAGE],
    len: usize,
    full: bool,
}

impl<'a, S: Sink> Stage<'a, S> {
    fn before(sink: &'a mut S) -> Self {
        Stage { sink, bytes: [0; STAGE], len: 0, full: false }
    }

    fn flush(&mut self) -> Result<(), Full> {
        let len = std::mem::take(&mut self.len);
        if !self.full && len > 0 {
            self.full = !self.sink.extend_staged(&self.bytes, len);
        }
        if self.full { Err(Full) } else { Ok(()) }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > STAGE - self.len {
            self.flush()?;
        }
        if bytes.len() > STAGE {
            self.full = !self.sink.extend(bytes);
            return self.flush();
        }
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

impl<S: Sink> Flavor for Stage<'_, S> {
    type Output = ();

    /// Byte by byte is how a `Vec<u8>` inside of something comes, so this is short.
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        match self.bytes.get_mut(self.len) {
            Some(next) => *next = byte,
            None => return self.try_extend(&[byte]),
        }
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.write(bytes).map_err(|Full| postcard::Error::SerializeBufferFull)
    }

    fn finalize(mut self) -> postcard::Result<()> {
        self.flush().map_err(|Full| postcard::Error::SerializeBufferFull)
    }
}

#[cfg(test)]
mod tests;
