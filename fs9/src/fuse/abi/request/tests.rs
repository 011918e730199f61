//! Requests in bytes, and what is read of them.

use super::*;

const UNIQUE: u64 = 0x1122;

/// A request with a header of fixed numbers before these pieces of a body.
fn request(opcode: u8, body: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![
        0, 0, 0, 0, opcode, 0, 0, 0, // len, opcode
        0x22, 0x11, 0, 0, 0, 0, 0, 0, // unique
        3, 0, 0, 0, 0, 0, 0, 0, // nodeid
        0xe8, 3, 0, 0, 0xe9, 3, 0, 0, // uid 1000, gid 1001
        77, 0, 0, 0, 0, 0, 0, 0, // pid, total_extlen, padding
    ];
    bytes.extend(body.concat());
    cut(&bytes, bytes.len())
}

/// The first `len` bytes, with a header (if it is whole) that agrees.
fn cut(bytes: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = bytes[..len].to_vec();
    if let Some(stated) = bytes.get_mut(..4) {
        stated.copy_from_slice(&(len as u32).to_le_bytes());
    }
    bytes
}

fn with_extensions(mut bytes: Vec<u8>, units: u8) -> Vec<u8> {
    bytes[36] = units;
    bytes
}

#[track_caller]
fn parsed(bytes: &[u8]) -> Operation<'_> {
    match Request::parse(bytes) {
        Ok(request) => request.operation,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refused(bytes: &[u8], fault: Fault) {
    assert_eq!(Request::parse(bytes), Err(ParseError { unique: Some(UNIQUE), fault }));
}

const OPEN_FLAGS: [u8; 8] = [2, 8, 0, 0, 0, 0, 0, 0]; // O_RDWR | O_NONBLOCK, open_flags
const READ: [u8; 40] = [
    9, 0, 0, 0, 0, 0, 0, 0, // fh
    0, 16, 0, 0, 0, 0, 0, 0, // offset
    0, 0, 2, 0, 0, 0, 0, 0, // size, read_flags
    8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
    2, 8, 0, 0, 0, 0, 0, 0, // flags, padding
];
const WRITE: [u8; 40] = [
    9, 0, 0, 0, 0, 0, 0, 0, // fh
    0, 16, 0, 0, 0, 0, 0, 0, // offset
    5, 0, 0, 0, 0, 0, 0, 0, // size, write_flags
    8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
    1, 4, 0, 0, 0, 0, 0, 0, // flags: O_WRONLY | O_APPEND, padding
];
const RELEASE: [u8; 24] = [9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
const POLL: [u8; 24] = [9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x41, 0, 0, 0];
const FORGETS: [u8; 40] = [
    2, 0, 0, 0, 0, 0, 0, 0, // count, dummy
    5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nodeid, nlookup
    6, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
];

fn setattr(valid: u32) -> [u8; 88] {
    let mut body = [
        0, 0, 0, 0, 0, 0, 0, 0, // valid, padding
        9, 0, 0, 0, 0, 0, 0, 0, // fh
        0, 1, 0, 0, 0, 0, 0, 0, // size
        8, 7, 6, 5, 4, 3, 2, 1, // lock_owner
        255, 255, 255, 255, 255, 255, 255, 255, // atime -1
        10, 0, 0, 0, 0, 0, 0, 0, // mtime
        99, 0, 0, 0, 0, 0, 0, 0, // ctime
        20, 0, 0, 0, 30, 0, 0, 0, // atimensec, mtimensec
        99, 0, 0, 0, 0xa4, 0x81, 0, 0, // ctimensec, mode 0o100644
        99, 0, 0, 0, 40, 0, 0, 0, // unused4, uid
        50, 0, 0, 0, 99, 0, 0, 0, // gid, unused5
    ];
    body[..4].copy_from_slice(&valid.to_le_bytes());
    body
}

/// One request of each kind whose body is read.
fn each() -> Vec<Vec<u8>> {
    vec![
        request(1, &[b"jobs\0"]),
        request(2, &[&[2, 0, 0, 0, 0, 0, 0, 0]]),
        request(3, &[&[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]),
        request(4, &[&setattr(FATTR_MODE)]),
        request(8, &[&[0xa4, 0x81, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], b"jobs\0"]),
        request(9, &[&[0xed, 1, 0, 0, 18, 0, 0, 0], b"jobs\0"]),
        request(10, &[b"jobs\0"]),
        request(11, &[b"jobs\0"]),
        request(12, &[&[4, 0, 0, 0, 0, 0, 0, 0], b"old\0new\0"]),
        request(14, &[&OPEN_FLAGS]),
        request(15, &[&READ]),
        request(16, &[&WRITE, b"hello"]),
        request(18, &[&RELEASE]),
        request(20, &[&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]),
        request(25, &[&RELEASE]),
        request(27, &[&OPEN_FLAGS]),
        request(28, &[&READ]),
        request(29, &[&RELEASE]),
        request(34, &[&[4, 0, 0, 0, 0, 0, 0, 0]]),
        request(35, &[&[0x41, 0, 0, 0, 0xa4, 0x81, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0], b"jobs\0"]),
        request(36, &[&[0x22, 0x11, 0, 0, 0, 0, 0, 0]]),
        request(40, &[&POLL]),
        request(42, &[&FORGETS]),
        request(44, &[&READ]),
        request(45, &[&[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], b"old\0new\0"]),
    ]
}

#[test]
fn each_kind_is_shown_on_one_line() {
    let shown: Vec<String> = each().iter().map(|bytes| parsed(bytes).to_string()).collect();
    let expected = [
        "Lookup 'jobs'",
        "Forget { nlookup: 2 }",
        "Getattr { fh: Some(9) }",
        "Setattr(Setattr { mode: Some(33188), uid: None, gid: None, size: None, atime: None, mtime: None, fh: None })",
        "Mknod 'jobs' mode 100644 rdev 0 umask 22",
        "Mkdir 'jobs' mode 755 umask 22",
        "Unlink 'jobs'",
        "Rmdir 'jobs'",
        "Rename 'old' to 'new' in node 4 flags 0x0",
        "Open { flags: 2050 }",
        "Read { fh: 9, offset: 4096, size: 131072, flags: 2050 }",
        "Write fh 9 offset 4096 size 5 flags 0o2001",
        "Release { fh: 9 }",
        "Fsync { fh: 9 }",
        "Flush { fh: 9 }",
        "Opendir { flags: 2050 }",
        "Readdir { fh: 9, offset: 4096, size: 131072 }",
        "Releasedir { fh: 9 }",
        "Access { mask: 4 }",
        "Create 'jobs' flags 0o101 mode 100644 umask 22",
        "Interrupt { unique: 4386 }",
        "Poll { fh: 9, kh: 4, flags: 1, events: 65 }",
        "BatchForget 2",
        "Readdirplus { fh: 9, offset: 4096, size: 131072 }",
        "Rename 'old' to 'new' in node 4 flags 0x1",
    ];
    assert_eq!(shown, expected);
    let lookup = request(1, &[b"a\n\xff\0"]);
    let shown = Request::parse(&lookup).map(|request| request.to_string());
    assert_eq!(shown.as_deref(), Ok(r"#4386 node 3 uid 1000 pid 77: Lookup 'a\n\xff'"));
}

#[test]
fn each_kind_is_refused_at_every_shorter_length() {
    for whole in each() {
        for len in 0..whole.len() {
            let unique = (len >= 40).then_some(UNIQUE);
            let error = Request::parse(&cut(&whole, len)).expect_err("shorter, and says so");
            assert_eq!(error.unique, unique, "{error}");
            let error = Request::parse(&whole[..len]).expect_err("shorter than it says");
            let fault = if len < 40 { Fault::Short } else { Fault::Length };
            assert_eq!(error, ParseError { unique, fault });
        }
    }
}

#[test]
fn each_kind_is_refused_when_longer() {
    for mut whole in each() {
        whole.push(0);
        refused(&whole, Fault::Length);
        let fault = if whole[4] == 16 { Fault::Data } else { Fault::Long };
        refused(&cut(&whole, whole.len()), fault);
    }
}

#[test]
fn header() {
    let bytes = request(1, &[b"jobs\0"]);
    let header = Request::parse(&bytes).map(|request| request.header);
    let expected = Header {
        len: 45,
        opcode: 1,
        unique: UNIQUE,
        nodeid: 3,
        uid: 1000,
        gid: 1001,
        pid: 77,
        total_extlen: 0,
        padding: 0,
    };
    assert_eq!(header, Ok(expected));
}

#[test]
fn names_end_with_their_nul() {
    assert_eq!(parsed(&request(1, &[b"jobs\0"])), Operation::Lookup { name: b"jobs" });
    assert_eq!(parsed(&request(1, &[b"\0"])), Operation::Lookup { name: b"" });
    refused(&request(1, &[]), Fault::Name);
    refused(&request(1, &[b"jobs"]), Fault::Name);
    refused(&request(1, &[b"jobs\0more\0"]), Fault::Long);
    refused(&request(12, &[&[4, 0, 0, 0, 0, 0, 0, 0], b"old\0"]), Fault::Name);
}

#[test]
fn extensions_are_left_out() {
    let bytes = request(9, &[&[0xed, 1, 0, 0, 18, 0, 0, 0], b"jobs\0", &[1; 16]]);
    refused(&bytes, Fault::Long);
    let mkdir = Operation::Mkdir { mode: 0o755, umask: 0o22, name: b"jobs" };
    assert_eq!(parsed(&with_extensions(bytes.clone(), 2)), mkdir);
    refused(&with_extensions(bytes.clone(), 3), Fault::Short); // they cover the name and more
    refused(&with_extensions(bytes, 4), Fault::Extensions);
}

#[test]
fn write_is_of_the_size_it_states() {
    let bytes = request(16, &[&WRITE, b"hello"]);
    assert_eq!(parsed(&bytes), Operation::Write { fh: 9, offset: 4096, flags: 0o2001, data: b"hello" });
    refused(&request(16, &[&WRITE, b"hell"]), Fault::Data);
    refused(&request(16, &[&WRITE, b"hello!"]), Fault::Data);
    let mut lying = bytes;
    lying[56..60].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&lying, Fault::Data);
}

#[test]
fn setattr_gives_what_is_valid() {
    let nothing = Setattr::default();
    let at = |secs, nsecs| Some(SetTime::At { secs, nsecs });
    let transcript = [
        (0, nothing),
        (FATTR_MODE, Setattr { mode: Some(0o100644), ..nothing }),
        (FATTR_UID | FATTR_GID, Setattr { uid: Some(40), gid: Some(50), ..nothing }),
        (FATTR_SIZE | FATTR_FH, Setattr { size: Some(256), fh: Some(9), ..nothing }),
        (FATTR_ATIME | FATTR_MTIME, Setattr { atime: at(-1, 20), mtime: at(10, 30), ..nothing }),
        (FATTR_ATIME | FATTR_ATIME_NOW, Setattr { atime: Some(SetTime::Now), ..nothing }),
        (FATTR_MTIME | FATTR_MTIME_NOW, Setattr { mtime: Some(SetTime::Now), ..nothing }),
    ];
    for (valid, expected) in transcript {
        assert_eq!(parsed(&request(4, &[&setattr(valid)])), Operation::Setattr(expected));
    }
}

#[test]
fn batch_forget_lends_its_entries() {
    let bytes = request(42, &[&FORGETS]);
    let Operation::BatchForget { forgets } = parsed(&bytes) else { panic!("no BATCH_FORGET") };
    let forgets: Vec<_> = forgets.iter().map(|one| (one.nodeid.get(), one.nlookup.get())).collect();
    assert_eq!(forgets, [(5, 1), (6, 2)]);
    let mut lying = bytes;
    lying[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    refused(&lying, Fault::Short);
}

#[test]
fn getattr_has_a_handle_only_when_it_says_so() {
    let bytes = request(3, &[&[0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(parsed(&bytes), Operation::Getattr { fh: None });
}

#[test]
fn poll_says_whether_to_notify() {
    let bytes = request(40, &[&POLL]);
    assert!(parsed(&bytes).schedule_notify());
    let mut awake = bytes;
    awake[56] = 0;
    assert!(!parsed(&awake).schedule_notify());
}

#[test]
fn what_is_not_read_is_recognised() {
    assert_eq!(parsed(&request(22, &[&[0; 8], b"user.x\0"])), Operation::Getxattr);
    assert_eq!(parsed(&request(6, &[b"name\0target\0"])), Operation::Symlink);
    assert_eq!(parsed(&request(26, &[&[0; 64]])), Operation::Init);
    let bytes = request(39, &[&[0; 32]]);
    assert_eq!(parsed(&bytes), Operation::Other { opcode: 39 });
    assert_eq!(parsed(&bytes).to_string(), "Ioctl");
    assert_eq!(parsed(&request(200, &[])).to_string(), "opcode 200");
}
