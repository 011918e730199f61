use std::io::{Read, Seek, SeekFrom, Write};

use super::*;
use crate::error::{TrySendError, Unfit};
use crate::message::LIMIT;
use crate::{Peer, pair, process};

type Bytes = Peer<Vec<u8>, Vec<u8>>;

/// The same on every tier.
fn tiers() -> [(Bytes, Bytes); 2] {
    [pair(), process::pair().expect("a pair")]
}

fn text(message: &mut InPlace<'_, Vec<u8>>) -> String {
    let mut text = String::new();
    message.read_to_string(&mut text).expect("text");
    text
}

#[test]
fn what_is_written_in_place_is_read_in_place_or_received() {
    for (a, b) in tiers() {
        for place in [true, false] {
            let mut loan = a.sender().loan(11).expect("room");
            assert_eq!(loan.len(), 11);
            loan.write_all(b"hello,").expect("room");
            loan.write_at(6, b" ____").expect("room");
            loan.write_at(7, b"loan").expect("room");
            loan.send().expect("b is there");
            match place {
                true => assert_eq!(text(&mut b.receiver().recv_in_place().expect("a message")), "hello, loan"),
                false => assert_eq!(b.recv().expect("a message"), b"hello, loan"),
            }
        }
        b.send(b"and back".to_vec()).expect("room");
        let mut message = a.receiver().recv_in_place().expect("a message");
        let mut middle = [0; 3];
        message.read_at(4, &mut middle).expect("within");
        assert_eq!(&middle, b"bac");
        assert_eq!(text(&mut message), "and back");
    }
}

#[test]
fn a_message_takes_the_slot_until_it_is_dropped() {
    for (a, b) in tiers() {
        a.send(vec![1; 300]).expect("room");
        let message = b.receiver().try_recv_in_place().expect("a message");
        if matches!(message.place, Place::Shared(..)) {
            assert!(matches!(a.try_send(vec![2]), Err(TrySendError::Full(_))));
        }
        drop(message);
        a.try_send(vec![2]).expect("room");
        assert_eq!(b.recv().as_deref(), Ok(&[2][..]));
        assert!(matches!(b.receiver().try_recv_in_place(), Err(TryRecvError::Empty)));
    }
}

#[test]
fn a_loan_that_is_dropped_has_sent_nothing() {
    for (a, b) in tiers() {
        let mut loan = a.sender().loan(3).expect("room");
        loan.write_all(b"no!").expect("room");
        drop(loan);
        assert!(b.try_recv().is_err());
        a.try_send(b"yes".to_vec()).expect("room");
        assert_eq!(b.recv().as_deref(), Ok(&b"yes"[..]));
    }
}

#[test]
fn nothing_is_written_or_read_outside() {
    for (a, b) in tiers() {
        let mut loan = a.sender().loan(4).expect("room");
        for (at, bytes) in [(0, &b"12345"[..]), (4, b"1"), (5, b""), (usize::MAX, b"1")] {
            assert_eq!(loan.write_at(at, bytes).expect_err("outside").kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(loan.write(b"123456").expect("as much as there is room for"), 4);
        assert_eq!(loan.write(b"5").expect("no more"), 0);
        loan.send().expect("b is there");
        let message = b.receiver().recv_in_place().expect("a message");
        for (at, len) in [(0, 5), (4, 1), (usize::MAX, 1)] {
            assert_eq!(
                message.read_at(at, &mut vec![0; len]).expect_err("outside").kind(),
                io::ErrorKind::InvalidInput
            );
        }
        message.read_at(4, &mut []).expect("nothing is anywhere");
    }
}

#[test]
fn the_kernel_fills_and_drains() {
    for (a, b) in tiers() {
        let mut file = tempfile();
        file.write_all(b"from a file").expect("written");
        file.seek(SeekFrom::Start(5)).expect("back");
        let mut loan = a.sender().loan(8).expect("room");
        assert_eq!(loan.fill_from(&file).expect("read"), 6);
        assert_eq!(loan.fill_from(&file).expect("its end"), 0);
        loan.write_all(b"!?").expect("room");
        assert_eq!(loan.fill_from(&file).expect("full"), 0);
        loan.send().expect("b is there");

        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut message = b.receiver().recv_in_place().expect("a message");
        assert_eq!(message.drain_to(&writer).expect("written"), 8);
        assert_eq!(message.drain_to(&writer).expect("nothing left"), 0);
        drop(writer);
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("text");
        assert_eq!(told, "a file!?");
    }
}

fn tempfile() -> std::fs::File {
    let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
    file.into()
}

#[test]
fn plain_old_data_is_written_in_place_too() {
    let (a, b) = process::pair::<Pod<[u32; 3]>, ()>().expect("a pair");
    for place in [true, false] {
        let mut loan = a.sender().loan().expect("room");
        loan.write_at(4, &7u32.to_ne_bytes()).expect("within");
        loan.write_at(0, &1u32.to_ne_bytes()).expect("within");
        loan.write_at(8, &9u32.to_ne_bytes()).expect("within");
        loan.send().expect("b is there");
        match place {
            true => assert_eq!(b.receiver().recv_in_place().expect("a message").len(), 12),
            false => assert_eq!(b.recv(), Ok(Pod([1, 7, 9]))),
        }
    }
}

#[test]
fn the_longest_message_fits_and_a_longer_one_does_not() {
    let (a, b): (Bytes, Bytes) = process::pair().expect("a pair");
    let Err(SendError::Unfit((), Unfit::TooLong { limit })) = a.sender().loan(LIMIT) else {
        panic!("longer than what fits with its header")
    };
    let mut loan = a.sender().loan(limit).expect("the longest");
    loan.write_at(limit - 1, b"!").expect("within");
    loan.send().expect("b is there");
    let message = b.recv().expect("a message");
    assert_eq!((message.len(), message.last()), (limit, Some(&b'!')));
}
