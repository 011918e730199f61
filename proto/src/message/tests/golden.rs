//! Every message byte for byte, as the manuals lay it out: `size number tag`, and the fields.

use super::*;
use crate::attr::{Attr, BASIC, SetAttr, SetTime, Statfs, Time};
use crate::message::Dialect::{Linux, Old, Own};
use crate::stat::Stat;

/// Who says it, its bytes, its tag, and what it means.
pub type Golden<M> = (Dialect, &'static str, Tag, M);

const DIR: Qid = Qid { kind: Qid::DIR, version: 0, path: 1 };
const FILE: Qid = Qid { kind: Qid::FILE, version: 0, path: 42 };
const ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const EPOCH: u64 = 0x1122_3344_5566_7788;
/// What the kernel sends for `>`.
const TRUNCATE: SetAttr =
    SetAttr { mode: None, uid: None, gid: None, size: Some(0), atime: None, mtime: Some(SetTime::Now), ctime: true };
const CHANGE: SetAttr = SetAttr {
    mode: Some(0o600),
    uid: Some(1000),
    gid: Some(0),
    size: None,
    atime: Some(SetTime::At(Time { secs: -1, nsecs: 5 })),
    mtime: None,
    ctime: false,
};
const ATTR: Attr = Attr {
    valid: BASIC,
    qid: FILE,
    mode: 0o100600,
    uid: 1000,
    gid: 1001,
    nlink: 1,
    rdev: 0,
    size: 0,
    blksize: 4096,
    blocks: 0,
    atime: Time { secs: 1, nsecs: 2 },
    mtime: Time { secs: 3, nsecs: 4 },
    ctime: Time { secs: 5, nsecs: 6 },
    btime: Time { secs: 0, nsecs: 0 },
    generation: 0,
    data_version: 0,
};
const STATFS: Statfs = Statfs {
    kind: 0x0102_1997,
    bsize: 4096,
    blocks: 0,
    bfree: 0,
    bavail: 0,
    files: 10,
    ffree: 9,
    fsid: 0,
    namelen: 255,
};
pub const STAT: Stat<'_> = Stat {
    kind: 0,
    dev: 0,
    qid: FILE,
    mode: 0o600,
    atime: 1,
    mtime: 3,
    length: 0,
    name: "jobs",
    uid: "user",
    gid: "user",
    muid: "user",
};
/// One entry, `.`
const LISTING: &[u8] = b"\x80\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x04\x01\0.";

fn names<const N: usize>(names: [&'static str; N]) -> Names<'static> {
    Names::new(names).unwrap()
}

fn qids<const N: usize>(qids: [Qid; N]) -> Qids {
    Qids::new(qids).unwrap()
}

#[rustfmt::skip] // a message a line, to be read beside the manual
pub fn requests() -> Vec<Golden<Request<'static>>> {
    vec![
        (Linux, "0b000000 08 0100 01000000", Tag(1), Request::Statfs { fid: Fid(1) }),
        (Linux, "0f000000 0c 0100 01000000 02000000", Tag(1), Request::Lopen { fid: Fid(1), flags: 2 }),
        (Linux, "1d000000 0e 0100 01000000 0400 6a6f6273 41000000 a4810000 e8030000", Tag(1), Request::Lcreate { fid: Fid(1), name: "jobs", flags: 0o101, mode: 0o100644, gid: 1000 }),
        (Linux, "15000000 10 0100 01000000 0100 61 0100 62 00000000", Tag(1), Request::Symlink { dfid: Fid(1), name: "a", target: "b", gid: 0 }),
        (Linux, "1e000000 12 0100 01000000 0100 61 a4110000 02000000 03000000 00000000", Tag(1), Request::Mknod { dfid: Fid(1), name: "a", mode: 0o10644, major: 2, minor: 3, gid: 0 }),
        (Linux, "12000000 14 0100 02000000 01000000 0100 62", Tag(1), Request::Rename { fid: Fid(2), dfid: Fid(1), name: "b" }),
        (Linux, "0b000000 16 0100 02000000", Tag(1), Request::Readlink { fid: Fid(2) }),
        (Linux, "13000000 18 0100 02000000 ff07000000000000", Tag(1), Request::Getattr { fid: Fid(2), mask: BASIC }),
        (Linux, "43000000 1a 0100 02000000 68000000 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000", Tag(1), Request::Setattr { fid: Fid(2), attr: TRUNCATE }),
        (Linux, "43000000 1a 0100 02000000 97000000 80010000 e8030000 00000000 0000000000000000 ffffffffffffffff 0500000000000000 0000000000000000 0000000000000000", Tag(1), Request::Setattr { fid: Fid(2), attr: CHANGE }),
        (Linux, "24000000 1e 0100 02000000 03000000 1300 73656375726974792e6361706162696c697479", Tag(1), Request::Xattrwalk { fid: Fid(2), newfid: Fid(3), name: "security.capability" }),
        (Linux, "1f000000 20 0100 02000000 0600 757365722e61 0400000000000000 01000000", Tag(1), Request::Xattrcreate { fid: Fid(2), name: "user.a", size: 4, flags: 1 }),
        (Linux, "17000000 28 0100 01000000 0200000000000000 00200000", Tag(1), Request::Readdir { fid: Fid(1), offset: 2, count: 8192 }),
        (Linux, "0f000000 32 0100 02000000 01000000", Tag(1), Request::Fsync { fid: Fid(2), datasync: 1 }),
        (Linux, "2a000000 34 0100 02000000 01 01000000 0000000000000000 0a00000000000000 39050000 0400 686f7374", Tag(1), Request::Lock { fid: Fid(2), kind: 1, flags: 1, start: 0, length: 10, pid: 1337, client: "host" }),
        (Linux, "26000000 36 0100 02000000 00 0000000000000000 0a00000000000000 39050000 0400 686f7374", Tag(1), Request::Getlock { fid: Fid(2), kind: 0, start: 0, length: 10, pid: 1337, client: "host" }),
        (Linux, "12000000 46 0100 01000000 02000000 0100 62", Tag(1), Request::Link { dfid: Fid(1), fid: Fid(2), name: "b" }),
        (Linux, "18000000 48 0100 01000000 0300 646972 ed010000 00000000", Tag(1), Request::Mkdir { dfid: Fid(1), name: "dir", mode: 0o755, gid: 0 }),
        (Linux, "15000000 4a 0100 01000000 0100 61 03000000 0100 62", Tag(1), Request::Renameat { olddfid: Fid(1), oldname: "a", newdfid: Fid(3), newname: "b" }),
        (Linux, "14000000 4c 0100 01000000 0300 646972 00020000", Tag(1), Request::Unlinkat { dfid: Fid(1), name: "dir", flags: 0x200 }),
        (Old, "13000000 64 ffff 00200000 0600 395032303030", NO_TAG, Request::Version { msize: 8192, version: "9P2000" }),
        (Old, "19000000 64 ffff 00101000 0c00 3950323030302e4c2e667339", NO_TAG, Request::Version { msize: (1 << 20) + 4096, version: "9P2000.L.fs9" }),
        (Old, "13000000 66 0100 05000000 0400 75736572 0000", Tag(1), Request::Auth { afid: Fid(5), uname: "user", aname: "", uid: None }),
        (Linux, "17000000 66 0100 05000000 0400 75736572 0000 e8030000", Tag(1), Request::Auth { afid: Fid(5), uname: "user", aname: "", uid: Some(1000) }),
        (Old, "17000000 68 0100 00000000 ffffffff 0400 75736572 0000", Tag(1), Request::Attach { fid: Fid(0), afid: NO_FID, uname: "user", aname: "", uid: None }),
        (Linux, "1b000000 68 0100 00000000 ffffffff 0400 75736572 0000 ffffffff", Tag(1), Request::Attach { fid: Fid(0), afid: NO_FID, uname: "user", aname: "", uid: None }),
        (Own, "17000000 68 0100 00000000 ffffffff 0000 0000 e8030000", Tag(1), Request::Attach { fid: Fid(0), afid: NO_FID, uname: "", aname: "", uid: Some(1000) }),
        (Old, "09000000 6c 0200 0100", Tag(2), Request::Flush { oldtag: Tag(1) }),
        (Old, "1a000000 6e 0100 00000000 01000000 0200 0400 6a6f6273 0100 61", Tag(1), Request::Walk { fid: Fid(0), newfid: Fid(1), names: names(["jobs", "a"]) }),
        (Old, "11000000 6e 0100 00000000 01000000 0000", Tag(1), Request::Walk { fid: Fid(0), newfid: Fid(1), names: names([]) }),
        (Old, "0c000000 70 0100 01000000 11", Tag(1), Request::Open { fid: Fid(1), mode: 0x11 }),
        (Old, "16000000 72 0100 01000000 0400 6a6f6273 80010000 02", Tag(1), Request::Create { fid: Fid(1), name: "jobs", perm: 0o600, mode: 2 }),
        (Old, "17000000 74 0100 01000000 0500000000000000 00100000", Tag(1), Request::Read { fid: Fid(1), offset: 5, count: 4096 }),
        (Old, "1c000000 76 0100 01000000 0000000000000000 05000000 68656c6c6f", Tag(1), Request::Write { fid: Fid(1), offset: 0, data: b"hello" }),
        (Old, "0b000000 78 0100 01000000", Tag(1), Request::Clunk { fid: Fid(1) }),
        (Old, "0b000000 7a 0100 01000000", Tag(1), Request::Remove { fid: Fid(1) }),
        (Old, "0b000000 7c 0100 01000000", Tag(1), Request::Stat { fid: Fid(1) }),
        (Old, "3f000000 7e 0100 02000000 3200 3000 ffff ffffffff ff ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffffffffffff 0100 62 0000 0000 0000", Tag(1), Request::Wstat { fid: Fid(2), stat: Stat { name: "b", ..Stat::KEEP } }),
        (Own, "27000000 c8 ffff 00000000000000000000000000000000 0000000000000000 0000000000000000", NO_TAG, Request::Session { id: [0; 16], epoch: 0, received: 0 }),
        (Own, "27000000 c8 ffff 000102030405060708090a0b0c0d0e0f 8877665544332211 0300000000000000", NO_TAG, Request::Session { id: ID, epoch: EPOCH, received: 3 }),
        (Own, "13000000 ca 0100 01000000 02000000 39050000", Tag(1), Request::Enter { fid: Fid(1), flags: 2, pid: 1337 }),
        (Own, "11000000 cc 0100 01000000 01 68656c6c6f", Tag(1), Request::Send { fid: Fid(1), flags: NONBLOCK, data: b"hello" }),
        (Own, "10000000 ce 0100 01000000 00 00001000", Tag(1), Request::Recv { fid: Fid(1), flags: 0, count: 1 << 20 }),
        (Own, "0f000000 d0 0100 01000000 05000000", Tag(1), Request::Poll { fid: Fid(1), interest: 5 }),
        (Own, "0f000000 d2 0100 01000000 01000000", Tag(1), Request::Watch { fid: Fid(1), interest: 1 }),
        (Own, "10000000 d4 0100 01000000 02 09000000", Tag(1), Request::Leave { fid: Fid(1), kind: 2, code: 9 }),
        (Own, "0f000000 d6 ffff 0300000000000000", NO_TAG, Request::Ack { received: 3 }),
        (Own, "07000000 d8 0100", Tag(1), Request::Ping),
    ]
}

#[rustfmt::skip] // the same
pub fn replies() -> Vec<Golden<Reply<'static>>> {
    vec![
        (Old, "1c000000 6b 0100 1300 66696c6520646f6573206e6f74206578697374", Tag(1), Reply::Error { errno: 2, reason: "file does not exist" }),
        (Old, "0d000000 6b 0100 0400 65656c73", Tag(1), Reply::Error { errno: 5, reason: "eels" }),
        (Linux, "0b000000 07 0100 02000000", Tag(1), Reply::Error { errno: 2, reason: "" }),
        (Own, "11000000 07 0100 43000000 0400 676f6e65", Tag(1), Reply::Error { errno: 67, reason: "gone" }),
        (Linux, "43000000 09 0100 97190201 00100000 0000000000000000 0000000000000000 0000000000000000 0a00000000000000 0900000000000000 0000000000000000 ff000000", Tag(1), Reply::Statfs { statfs: STATFS }),
        (Linux, "18000000 0d 0100 00 00000000 2a00000000000000 00000000", Tag(1), Reply::Lopen { qid: FILE, iounit: 0 }),
        (Linux, "18000000 0f 0100 00 00000000 2a00000000000000 00100000", Tag(1), Reply::Lcreate { qid: FILE, iounit: 4096 }),
        (Linux, "14000000 11 0100 00 00000000 2a00000000000000", Tag(1), Reply::Symlink { qid: FILE }),
        (Linux, "14000000 13 0100 00 00000000 2a00000000000000", Tag(1), Reply::Mknod { qid: FILE }),
        (Linux, "07000000 15 0100", Tag(1), Reply::Rename),
        (Linux, "0a000000 17 0100 0100 62", Tag(1), Reply::Readlink { target: "b" }),
        (Linux, "a0000000 19 0100 ff07000000000000 00 00000000 2a00000000000000 80810000 e8030000 e9030000 0100000000000000 0000000000000000 0000000000000000 0010000000000000 0000000000000000 0100000000000000 0200000000000000 0300000000000000 0400000000000000 0500000000000000 0600000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000", Tag(1), Reply::Getattr { attr: ATTR }),
        (Linux, "07000000 1b 0100", Tag(1), Reply::Setattr),
        (Linux, "0f000000 1f 0100 0400000000000000", Tag(1), Reply::Xattrwalk { size: 4 }),
        (Linux, "07000000 21 0100", Tag(1), Reply::Xattrcreate),
        (Linux, "24000000 29 0100 19000000 80 00000000 0100000000000000 0100000000000000 04 0100 2e", Tag(1), Reply::Readdir { data: LISTING }),
        (Linux, "07000000 33 0100", Tag(1), Reply::Fsync),
        (Linux, "08000000 35 0100 01", Tag(1), Reply::Lock { status: 1 }),
        (Linux, "22000000 37 0100 02 0000000000000000 0a00000000000000 39050000 0400 686f7374", Tag(1), Reply::Getlock { kind: 2, start: 0, length: 10, pid: 1337, client: "host" }),
        (Linux, "07000000 47 0100", Tag(1), Reply::Link),
        (Linux, "14000000 49 0100 80 00000000 0100000000000000", Tag(1), Reply::Mkdir { qid: DIR }),
        (Linux, "07000000 4b 0100", Tag(1), Reply::Renameat),
        (Linux, "07000000 4d 0100", Tag(1), Reply::Unlinkat),
        (Old, "15000000 65 ffff 00200000 0800 3950323030302e4c", NO_TAG, Reply::Version { msize: 8192, version: "9P2000.L" }),
        (Old, "14000000 67 0100 08 00000000 0700000000000000", Tag(1), Reply::Auth { aqid: Qid { kind: 8, version: 0, path: 7 } }),
        (Old, "14000000 69 0100 80 00000000 0100000000000000", Tag(1), Reply::Attach { qid: DIR }),
        (Old, "07000000 6d 0200", Tag(2), Reply::Flush),
        (Old, "23000000 6f 0100 0200 80 00000000 0100000000000000 00 00000000 2a00000000000000", Tag(1), Reply::Walk { qids: qids([DIR, FILE]) }),
        (Old, "09000000 6f 0100 0000", Tag(1), Reply::Walk { qids: qids([]) }),
        (Old, "18000000 71 0100 00 00000000 2a00000000000000 00200000", Tag(1), Reply::Open { qid: FILE, iounit: 8192 }),
        (Old, "18000000 73 0100 00 00000000 2a00000000000000 00000000", Tag(1), Reply::Create { qid: FILE, iounit: 0 }),
        (Old, "10000000 75 0100 05000000 68656c6c6f", Tag(1), Reply::Read { data: b"hello" }),
        (Old, "0b000000 77 0100 05000000", Tag(1), Reply::Write { count: 5 }),
        (Old, "07000000 79 0100", Tag(1), Reply::Clunk),
        (Old, "07000000 7b 0100", Tag(1), Reply::Remove),
        (Old, "4a000000 7d 0100 4100 3f00 0000 00000000 00 00000000 2a00000000000000 80010000 01000000 03000000 0000000000000000 0400 6a6f6273 0400 75736572 0400 75736572 0400 75736572", Tag(1), Reply::Stat { stat: STAT }),
        (Old, "07000000 7f 0100", Tag(1), Reply::Wstat),
        (Own, "33000000 c9 ffff 000102030405060708090a0b0c0d0e0f 8877665544332211 0300000000000000 30750000 c8af0000 00f00f00", NO_TAG, Reply::Session { id: ID, epoch: EPOCH, received: 3, linger_ms: 30_000, keep_alive_ms: 45_000, limit: 1_044_480 }),
        (Own, "15000000 cb 0100 00 00000000 2a00000000000000 01", Tag(1), Reply::Enter { qid: FILE, stream: true }),
        (Own, "0b000000 cd 0100 05000000", Tag(1), Reply::Send { count: 5 }),
        (Own, "0c000000 cf 0100 68656c6c6f", Tag(1), Reply::Recv { data: b"hello" }),
        (Own, "0b000000 d1 0100 04000000", Tag(1), Reply::Poll { ready: 4 }),
        (Own, "0b000000 d3 0100 11000000", Tag(1), Reply::Watch { ready: 0x11 }),
        (Own, "07000000 d5 0100", Tag(1), Reply::Leave),
        (Own, "07000000 d9 0100", Tag(1), Reply::Ping),
    ]
}
