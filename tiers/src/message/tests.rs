//! Transcripts of messages as bytes, and bytes that are nobody's message.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// A place of `room` bytes that counts how often it is written.
struct Place {
    bytes: Vec<u8>,
    room: usize,
    writes: usize,
}

impl Place {
    fn of(room: usize) -> Place {
        Place { bytes: Vec::new(), room, writes: 0 }
    }
}

impl Sink for Place {
    fn extend(&mut self, bytes: &[u8]) -> bool {
        self.writes += 1;
        let fits = bytes.len() <= self.room - self.bytes.len();
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }
}

impl Source for &[u8] {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[at..][..into.len()]);
    }

    fn read_small(&self, into: &mut [u8; SMALL]) {
        let len = self.len().min(SMALL);
        into[..len].copy_from_slice(&self[..len]);
        into[len..].fill(0xAA);
    }

    fn read_vec(&self, at: usize, len: usize) -> Vec<u8> {
        self[at..][..len].to_vec()
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    name: String,
    lines: Vec<(u32, f64)>,
    raw: Vec<u8>,
    by_name: BTreeMap<String, Option<Box<Order>>>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Some(char, i128),
    Named { bytes: Pod<[u16; 3]>, flag: bool },
}

fn order() -> Order {
    let inner = Order {
        id: u64::MAX,
        name: String::new(),
        lines: vec![],
        raw: vec![255; 300],
        by_name: BTreeMap::new(),
        kind: Kind::Some('ß', i128::MIN),
    };
    let by_name = BTreeMap::from([("a".into(), None), ("b".into(), Some(Box::new(inner)))]);
    let kind = Kind::Named { bytes: Pod([1, 2, 0xffff]), flag: true };
    Order { id: 7, name: "n".repeat(200), lines: vec![(1, 0.5); 40], raw: vec![1, 2], by_name, kind }
}

/// Sends `message` through bytes and compares what they are and what comes out; returns how often the sink was written.
fn round<T: Message + PartialEq + fmt::Debug>(message: T) -> usize {
    let mut place = Place::of(LIMIT);
    assert_eq!(encode(&message, &mut place), Ok(()));
    assert!(place.bytes == postcard::to_allocvec(&message).expect("postcard encodes it"), "postcard's bytes");
    let bytes = place.bytes.as_slice();
    assert!(decode::<T>(&bytes).as_ref() == Some(&message));
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
        assert!(decode::<T>(&&bytes[..cut]).is_none(), "cut at {cut}");
        assert_eq!(encode(&message, &mut Place::of(cut)), Err(EncodeError::Full), "room for {cut}");
    }
    assert!(decode::<T>(&[bytes, &[0]].concat().as_slice()).is_none(), "something after it");
    place.writes
}

#[test]
fn what_goes_in_comes_out() {
    assert_eq!(round(()), 0);
    assert_eq!(round(7_u8), 1);
    assert_eq!(round(-1_i64), 1);
    assert_eq!(round("text".to_owned()), 1);
    assert_eq!(round("t".repeat(1000)), 2, "its length, itself");
    assert_eq!(round([7_u64; 8]), 1);
    assert_eq!(round(vec![300_u64; 300]), 5, "600 bytes and their number, 128 at a time");
    assert_eq!(round(Kind::Plain), 1);
    assert_eq!(round(HashMap::from([(1_u8, "one".to_owned()), (2, "two".to_owned())])), 1);
    round(order());
}

#[test]
fn bytes_go_in_one_piece() {
    for len in [0, 1, 127, 128, 255, 256, 257, 16383, 16384, 1 << 20] {
        assert_eq!(round(vec![0x80_u8; len]), 2, "{len}: the header, the bytes");
    }
}

#[test]
fn plain_data_goes_as_its_bytes() {
    assert_eq!(round(Pod([0x0123_4567_89ab_cdef_u64; 8])), 1);
    assert_eq!(round(Pod([u64::MAX; 512])), 2);
    let mut place = Place::of(100);
    assert_eq!(encode(&Pod([u64::MAX; 8]), &mut place), Ok(()));
    assert_eq!((place.bytes[0], place.bytes.len()), (64, 65));
    assert_eq!(decode::<Pod<[u64; 8]>>(&[&[63], [0; 63].as_slice()].concat().as_slice()), None, "another size");
    assert_eq!(decode::<Pod<[u64; 8]>>(&[&[65], [0; 65].as_slice()].concat().as_slice()), None, "another size");
}

#[test]
fn a_header_is_postcards() {
    for shift in 0..usize::BITS {
        for len in [1 << shift, (1 << shift) - 1, usize::MAX >> shift] {
            assert_eq!(header(len).as_bytes(), postcard::to_allocvec(&len).expect("postcard encodes it"), "{len}");
        }
    }
    assert_eq!(payload(&[3_u8, 1, 2, 3].as_slice()), Some(1..4));
    assert_eq!(payload(&[0_u8].as_slice()), Some(1..1));
    assert_eq!(payload(&[0x83_u8, 0, 1, 2, 3].as_slice()), Some(2..5), "longer than it need be, as postcard reads it");
    assert_eq!(payload(&[].as_slice()), None);
    assert_eq!(payload(&[0xff_u8; 20].as_slice()), None, "a number without end");
}

#[test]
fn a_length_beyond_what_is_there_is_malformed() {
    for len in [4, 1 << 20, 1 << 60, usize::MAX] {
        let bytes = [header(len).as_bytes(), &[1, 1, 1]].concat();
        let bytes = bytes.as_slice();
        assert_eq!(payload(&bytes), None);
        assert_eq!(decode::<Vec<u8>>(&bytes), None);
        assert_eq!(decode::<String>(&bytes), None);
        assert_eq!(decode::<Vec<u64>>(&bytes), None);
        assert_eq!(decode::<Vec<Vec<[u64; 32]>>>(&bytes), None);
        assert_eq!(decode::<HashMap<u64, u64>>(&bytes), None);
        assert_eq!(decode::<Pod<[u8; 3]>>(&bytes), None);
    }
}

#[derive(Deserialize)]
struct Stubborn(String);

impl Serialize for Stubborn {
    /// Says that all is well whatever the serializer says.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_tuple(2)?;
        _ = serde::ser::SerializeTuple::serialize_element(&mut all, &"l".repeat(300));
        _ = serde::ser::SerializeTuple::serialize_element(&mut all, &self.0);
        serde::ser::SerializeTuple::end(all)
    }
}

#[derive(Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    names: BTreeMap<String, u8>,
}

#[test]
fn what_cannot_be_encoded_is_an_error() {
    let flat = Flat { names: BTreeMap::new() };
    assert_eq!(encode(&flat, &mut Place::of(100)), Err(EncodeError::Unencodable));
    assert_eq!(encode(&Stubborn("end".into()), &mut Place::of(400)), Ok(()));
    assert_eq!(encode(&Stubborn("end".into()), &mut Place::of(100)), Err(EncodeError::Full), "a full sink stays full");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..600)) {
        let bytes = bytes.as_slice();
        if let Some(order) = decode::<Order>(&bytes) {
            prop_assert_eq!(encode(&order, &mut Place::of(LIMIT)), Ok(()));
        }
        _ = decode::<Kind>(&bytes);
        _ = decode::<HashMap<String, Vec<Pod<[u8; 2]>>>>(&bytes);
        let slow = postcard::take_from_bytes::<Vec<u8>>(bytes).ok().filter(|(_, rest)| rest.is_empty());
        prop_assert_eq!(decode::<Vec<u8>>(&bytes), slow.map(|(message, _)| message));
    }

    #[test]
    fn a_broken_byte_is_a_message_or_none(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = postcard::to_allocvec(&order()).expect("postcard encodes it");
        let at = at.index(bytes.len());
        bytes[at] = byte;
        _ = decode::<Order>(&bytes.as_slice());
    }
}
