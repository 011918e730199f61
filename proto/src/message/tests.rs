use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::wire::ParseError;

mod golden;
mod layout;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_ascii_whitespace().collect();
    (0..digits.len()).step_by(2).map(|place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap()).collect()
}

/// A message of either direction: requests have even numbers.
#[derive(Debug, PartialEq)]
enum Message<'a> {
    Request(Request<'a>),
    Reply(Reply<'a>),
}

impl<'a> Message<'a> {
    fn parse(dialect: Dialect, frame: &'a [u8]) -> Result<(Tag, Self), ParseError> {
        if frame.get(4).is_some_and(|number| number % 2 == 0) {
            Request::parse(dialect, frame).map(|(tag, request)| (tag, Self::Request(request)))
        } else {
            Reply::parse(dialect, frame).map(|(tag, reply)| (tag, Self::Reply(reply)))
        }
    }

    fn emit(&self, dialect: Dialect, tag: Tag) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Request(request) => request.emit(dialect, tag, &mut out),
            Self::Reply(reply) => reply.emit(dialect, tag, &mut out),
        }
        out
    }

    fn line(&self) -> String {
        match self {
            Self::Request(request) => request.to_string(),
            Self::Reply(reply) => reply.to_string(),
        }
    }
}

fn golden() -> Vec<golden::Golden<Message<'static>>> {
    let requests = golden::requests().into_iter().map(|(who, hex, tag, it)| (who, hex, tag, Message::Request(it)));
    let replies = golden::replies().into_iter().map(|(who, hex, tag, it)| (who, hex, tag, Message::Reply(it)));
    requests.chain(replies).collect()
}

fn numbers(dialect: Dialect) -> BTreeSet<u8> {
    let is_spoken = |number: &u8| {
        let bare = [7, 0, 0, 0, *number, 0, 0];
        let parsed = Message::parse(dialect, &bare);
        !parsed.is_err_and(|error| error.fault == Fault::Number(*number))
    };
    (0..=u8::MAX).filter(is_spoken).collect()
}

#[test]
fn every_message_is_its_golden_bytes() {
    for (dialect, hex, tag, message) in golden() {
        let bytes = bytes(hex);
        assert_eq!(Message::parse(dialect, &bytes).as_ref(), Ok(&(tag, message)), "{hex}");
        let (_, message) = Message::parse(dialect, &bytes).unwrap();
        assert_eq!(message.emit(dialect, tag), bytes, "{hex}");
    }
}

#[test]
fn no_number_of_a_dialect_is_without_golden_bytes_and_a_layout() {
    for dialect in [Dialect::Old, Dialect::Linux, Dialect::Own] {
        let golden = golden().into_iter().map(|(_, hex, ..)| bytes(hex)).filter(|bytes| {
            Message::parse(dialect, bytes).map_err(|error| error.fault) != Err(Fault::Number(bytes[4]))
        });
        assert_eq!(golden.map(|bytes| bytes[4]).collect::<BTreeSet<_>>(), numbers(dialect));
        let layouts = layout::LAYOUTS.iter().map(|(_, number, _)| *number);
        assert_eq!(
            layouts.filter(|number| numbers(dialect).contains(number)).collect::<BTreeSet<_>>(),
            numbers(dialect)
        );
    }
    let [old, linux, own] = [Dialect::Old, Dialect::Linux, Dialect::Own].map(numbers);
    assert!(linux.is_subset(&own) && own.difference(&linux).all(|number| *number >= 200));
    assert!(old.iter().all(|number| (100..128).contains(number)), "as in fcall.h: {old:?}");
}

#[test]
fn a_message_is_shown_on_one_line_without_its_data() {
    let lines: Vec<_> = golden().iter().map(|(.., message)| message.line()).collect();
    assert!(lines.contains(&"Twalk fid 0 newfid 1 names ['jobs' 'a']".into()), "{lines:#?}");
    assert!(lines.contains(&"Tsend fid 1 flags 1 data 5 bytes".into()), "{lines:#?}");
    assert!(lines.contains(&"Rattach qid (0000000000000001 0 d)".into()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("Rsession id (secret) ")), "{lines:#?}");
    let newline = Request::Attach { fid: Fid(0), afid: NO_FID, uname: "a\nb", aname: "", uid: None };
    assert!(!newline.to_string().contains('\n'));
}

#[test]
fn an_error_without_a_reason_gets_the_words_of_its_number() {
    let mut out = Vec::new();
    Reply::Error { errno: 2, reason: "" }.emit(Dialect::Old, Tag(1), &mut out);
    let error = Reply::Error { errno: 2, reason: "file does not exist" };
    assert_eq!(Reply::parse(Dialect::Old, &out), Ok((Tag(1), error)));
}

#[test]
fn the_head_of_a_long_message_and_its_data_are_its_frame() {
    for (dialect, hex, tag, message) in golden() {
        let mut head = vec![1, 2, 3];
        let data = match message {
            Message::Request(request) => request.emit_head(dialect, tag, &mut head),
            Message::Reply(reply) => reply.emit_head(dialect, tag, &mut head),
        };
        head.extend(data);
        assert_eq!(head[3..], bytes(hex), "{hex}");
    }
}

#[test]
fn a_walk_has_sixteen_elements_and_no_more() {
    let walk = |count: u16| {
        let mut frame = vec![0, 0, 0, 0, 110, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        frame.extend(count.to_le_bytes());
        frame.extend([1, 0, b'a'].repeat(count.into()));
        layout::sized(frame)
    };
    assert!(Request::parse(Dialect::Old, &walk(16)).is_ok());
    let error = ParseError { tag: Some(Tag(1)), fault: Fault::Walk };
    assert_eq!(Request::parse(Dialect::Old, &walk(17)), Err(error));
    assert_eq!(Names::new(["a"; 17]), None);
}

#[test]
fn what_is_wrong_is_said_with_the_tag_it_is_about() {
    let fault = |bytes: &[u8]| Request::parse(Dialect::Own, bytes).unwrap_err();
    let of = |fault| ParseError { tag: Some(Tag(9)), fault };
    assert_eq!(fault(&[]), ParseError { tag: None, fault: Fault::Short });
    assert_eq!(fault(&[6, 0, 0, 0, 108, 9]), ParseError { tag: None, fault: Fault::Short });
    assert_eq!(fault(&[8, 0, 0, 0, 108, 9, 0]), of(Fault::Size));
    assert_eq!(fault(&[7, 0, 0, 0, 108, 9, 0]), of(Fault::Short));
    assert_eq!(fault(&[10, 0, 0, 0, 108, 9, 0, 1, 0, 0]), of(Fault::Long));
    assert_eq!(fault(&[7, 0, 0, 0, 109, 9, 0]), of(Fault::Number(109)));
    assert_eq!(fault(&[14, 0, 0, 0, 100, 9, 0, 0, 0, 0, 0, 1, 0, 255]), of(Fault::Utf8));
    // A length that the frame does not have: 4 GiB of data.
    let write = layout::sized([&[0, 0, 0, 0, 118, 9, 0], &[0; 12][..], &[255; 4]].concat());
    assert_eq!(fault(&write), of(Fault::Short));
    let enter = layout::sized([&[0, 0, 0, 0, 203, 9, 0], &[2; 14][..]].concat());
    let enter = Reply::parse(Dialect::Own, &enter);
    assert_eq!(enter, Err(of(Fault::Value)));
}

#[test]
fn a_client_gets_the_best_dialect_that_both_know() {
    let dialects = [
        ("9P2000", Some(Dialect::Old)),
        ("9P2000.u", Some(Dialect::Old)),
        ("9P2000.L", Some(Dialect::Linux)),
        ("9P2000.L.fs9", Some(Dialect::Own)),
        ("9P2000.L.fs10", Some(Dialect::Linux)),
        ("9P2000.Lustre", Some(Dialect::Old)),
        ("9P20001", None),
        ("9P1999", None),
        ("", None),
    ];
    for (version, dialect) in dialects {
        assert_eq!(Dialect::negotiate(version), dialect, "{version}");
    }
}

/// One message of each number, with whatever values.
fn frames() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    (0..layout::LAYOUTS.len(), prop::collection::vec(any::<u8>(), 1..300)).prop_map(|(row, entropy)| {
        let (dialect, number, fields) = layout::LAYOUTS[row];
        (dialect, layout::frame(number, fields, &entropy))
    })
}

/// Whether data to the end of the frame is part of the message, so that more or less of it is a message too.
fn is_open(frame: &[u8]) -> bool {
    [204, 207].contains(&frame[4])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_parsed_is_emitted_byte_for_byte((dialect, frame) in frames()) {
        let (tag, message) = Message::parse(dialect, &frame).unwrap();
        prop_assert_eq!(tag, Tag(0x1234));
        prop_assert_eq!(message.emit(dialect, tag), &frame[..]);
        prop_assert!(!message.line().contains('\n'));
    }

    #[test]
    fn a_frame_that_is_cut_or_continued_is_an_error((dialect, frame) in frames(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(frame.len());
        prop_assert!(Message::parse(dialect, &frame[..cut]).is_err());
        if !is_open(&frame) {
            let shorter = layout::sized(frame[..cut.max(7)].to_vec());
            prop_assert!(cut.max(7) == frame.len() || Message::parse(dialect, &shorter).is_err());
            let longer = layout::sized([&frame[..], &[0]].concat());
            prop_assert!(Message::parse(dialect, &longer).is_err());
        }
    }

    #[test]
    fn garbage_is_an_error_or_means_what_it_emits(
        (dialect, mut frame) in frames(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (place, byte) in places {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        let frame = layout::sized(frame);
        if let Ok((tag, message)) = Message::parse(dialect, &frame) {
            let emitted = message.emit(dialect, tag);
            prop_assert_eq!(Message::parse(dialect, &emitted), Ok((tag, message)));
        }
    }
}

#[test]
fn the_example_of_the_documentation_is_what_it_says() {
    let page = include_str!("../../../docs/protocol.md");
    let is_frame = |line: &&str| line.starts_with("C ") || line.starts_with("S ");
    let lines: Vec<_> = page.lines().filter(is_frame).collect();
    assert!(lines.len() > 20);
    for line in lines {
        let (hex, words) = line[2..].split_once("  ").expect("two spaces between the bytes and what they say");
        let bytes = bytes(hex);
        let (_, message) = Message::parse(Dialect::Own, &bytes).expect(line);
        assert_eq!(message.line(), words);
    }
}
