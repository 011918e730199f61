//! Queues: messages and their boundaries, who gets which, what waits and how it ends, and the file that it all is.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use fs9_tests::Mount;
use fs9_tests::file::{Fd, ROOM, later};
use fs9_tests::process::Running;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, IoSlice, write};
use rustix::process::Signal;

/// The longest message.
const LIMIT: usize = 1_044_480;

/// A mount with the queue `q`.
fn with_queue() -> Mount {
    let mount = Mount::new();
    touch(&mount.path("q"));
    mount
}

fn touch(path: &Path) {
    drop(Fd::open(path, OFlags::WRONLY | OFlags::CREATE).unwrap());
}

fn sent(mount: &Mount) -> (u64, u64) {
    (mount.figure("q", "sent"), mount.figure("q", "received"))
}

#[test]
fn a_read_gets_one_message_however_large_its_buffer() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")));
    for message in [&b"one"[..], b"two\n", b"\0", &[7; 5000]] {
        assert_eq!(writer.write(message), Ok(message.len()));
        let next = writer.writing(b"next");
        mount.wait_figure("q", "writers", 1);
        assert_eq!(reader.read(4 << 20).unwrap(), message);
        assert_eq!(next.get(), Ok(4));
        assert_eq!(reader.read(4 << 20).unwrap(), b"next");
    }
    mount.assert_ledgers_balance();
}

#[test]
fn a_short_buffer_leaves_the_rest_to_this_descriptor_alone() {
    let mount = with_queue();
    let (writer, one, two) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")), Fd::reader(mount.path("q")));
    writer.write("abcdef").unwrap();
    assert_eq!(one.read(2).unwrap(), b"ab");
    writer.write("second").unwrap();
    assert_eq!(two.read(ROOM).unwrap(), b"second", "the rest of the first message is not for others");
    assert_eq!(one.read(3).unwrap(), b"cde");
    assert_eq!(one.read(ROOM).unwrap(), b"f");
    let next = one.reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    writer.write("third").unwrap();
    assert_eq!(next.get().unwrap(), b"third");
}

#[test]
fn readers_in_line_are_served_in_the_order_they_came() {
    let mount = with_queue();
    let readers: Vec<_> = (1..=4)
        .map(|place| {
            let reading = Fd::reader(mount.path("q")).reading(ROOM);
            mount.wait_figure("q", "readers", place);
            reading
        })
        .collect();
    let writer = Fd::writer(mount.path("q"));
    for number in 0..4u8 {
        writer.write([number]).unwrap();
    }
    for (number, reader) in readers.into_iter().enumerate() {
        assert_eq!(reader.get().unwrap(), [number as u8]);
    }
    assert_eq!(sent(&mount).0, 4);
}

#[test]
fn writers_in_line_are_served_in_the_order_they_came() {
    let mount = with_queue();
    Fd::writer(mount.path("q")).write([0]).unwrap();
    let writers: Vec<_> = (1..=4u8)
        .map(|number| {
            let flags = if number == 2 { OFlags::APPEND } else { OFlags::empty() };
            let writing = Fd::open(mount.path("q"), OFlags::WRONLY | flags).unwrap().writing([number]);
            mount.wait_figure("q", "writers", u64::from(number));
            writing
        })
        .collect();
    let reader = Fd::reader(mount.path("q"));
    for number in 0..=4u8 {
        assert_eq!(reader.read(ROOM).unwrap(), [number]);
    }
    writers.into_iter().for_each(|writer| assert_eq!(writer.get(), Ok(1)));
}

#[test]
fn each_message_goes_to_exactly_one_reader() {
    const MESSAGES: u32 = 600;
    let mount = with_queue();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let fd = Fd::reader(mount.path("q"));
            later(move || {
                let mut got = Vec::new();
                loop {
                    let message = fd.read(ROOM).unwrap();
                    if message.is_empty() {
                        return got;
                    }
                    got.push(u32::from_le_bytes(message.try_into().unwrap()));
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..3)
        .map(|part| {
            let fd = Fd::writer(mount.path("q"));
            later(move || {
                (0..MESSAGES).filter(|n| n % 3 == part).for_each(|n| assert_eq!(fd.write(n.to_le_bytes()), Ok(4)));
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.get());
    mount.wait_figure("q", "slot", 0);
    fs::remove_file(mount.path("q")).unwrap();
    let parts: Vec<Vec<u32>> = readers.into_iter().map(|reader| reader.get()).collect();
    for part in &parts {
        for writer in 0..3 {
            assert!(part.iter().filter(|n| *n % 3 == writer).is_sorted(), "the messages of one writer stay in order");
        }
    }
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), MESSAGES as usize);
    assert_eq!(parts.concat().into_iter().collect::<BTreeSet<_>>(), (0..MESSAGES).collect());
}

#[test]
fn a_queue_does_not_end_because_a_writer_closed() {
    let mount = with_queue();
    let reader = Fd::reader(mount.path("q"));
    let reading = reader.reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    drop(Fd::writer(mount.path("q")));
    mount.wait_channel("q", "the reader alone", |q| q["holders"].as_array().unwrap().len() == 1);
    assert_eq!(mount.figure("q", "readers"), 1);
    Fd::writer(mount.path("q")).write("still here").unwrap();
    assert_eq!(reading.get().unwrap(), b"still here");
}

#[test]
fn a_write_of_nothing_sends_nothing() {
    let mount = with_queue();
    for flags in [OFlags::empty(), OFlags::SYNC, OFlags::APPEND, OFlags::NONBLOCK] {
        assert_eq!(Fd::open(mount.path("q"), OFlags::WRONLY | flags).unwrap().write(""), Ok(0));
    }
    assert_eq!(sent(&mount), (0, 0));
}

#[test]
fn with_o_nonblock_what_would_wait_is_eagain() {
    let mount = with_queue();
    let at_open = Fd::open(mount.path("q"), OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    let afterwards = Fd::both(mount.path("q"));
    rustix::fs::fcntl_setfl(&afterwards, OFlags::NONBLOCK).unwrap();
    for fd in [&at_open, &afterwards] {
        assert_eq!(fd.read(ROOM), Err(Errno::AGAIN));
        assert_eq!(fd.write("first"), Ok(5));
        assert_eq!(fd.write("second"), Err(Errno::AGAIN));
        assert_eq!(fd.read(ROOM).unwrap(), b"first");
        assert_eq!(fd.read(ROOM), Err(Errno::AGAIN));
    }
    rustix::fs::fcntl_setfl(&afterwards, OFlags::empty()).unwrap();
    let reading = afterwards.reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    at_open.write("waited for").unwrap();
    assert_eq!(reading.get().unwrap(), b"waited for");
    assert_eq!(sent(&mount).0, 3);
}

#[test]
fn with_o_sync_a_write_returns_when_a_reader_has_taken_it() {
    let mount = with_queue();
    for flag in [OFlags::SYNC, OFlags::DSYNC] {
        let writing = Fd::open(mount.path("q"), OFlags::WRONLY | flag).unwrap().writing("taken");
        mount.wait_figure("q", "writers", 1);
        let eager = Fd::open(mount.path("q"), OFlags::WRONLY | flag | OFlags::NONBLOCK).unwrap();
        assert_eq!(eager.write("nobody reads"), Err(Errno::AGAIN));
        assert!(!writing.is_done());
        assert_eq!(Fd::reader(mount.path("q")).read(ROOM).unwrap(), b"taken");
        assert_eq!(writing.get(), Ok(5));
        let reading = Fd::reader(mount.path("q")).reading(ROOM);
        mount.wait_figure("q", "readers", 1);
        assert_eq!(eager.write("somebody waits"), Ok(14));
        assert_eq!(reading.get().unwrap(), b"somebody waits");
    }
    assert_eq!(sent(&mount).0, 4);
}

/// perl does not try again after a signal, and says what the system call said.
fn interrupted(mount: &Mount, script: &str, wait: &str) -> String {
    let script = format!("use Fcntl; $SIG{{USR1}} = sub {{}}; {script}; print $! + 0");
    let process = Running::piped(&mut mount.command("perl", &["-e", &script]));
    mount.wait_figure("q", wait, 1);
    process.signal(Signal::USR1);
    process.said()
}

#[test]
fn a_signal_ends_a_wait_with_eintr_and_nothing_sent_or_consumed() {
    let mount = with_queue();
    let eintr = Errno::INTR.raw_os_error().to_string();
    let read = "open(F, '<', 'p/q'); defined(sysread(F, $m, 100)) and die 'it read'";
    assert_eq!(interrupted(&mount, read, "readers"), eintr);
    assert_eq!(mount.figure("q", "readers"), 0);
    let sync = "sysopen(F, 'p/q', O_WRONLY | O_SYNC); defined(syswrite(F, 'lost')) and die 'it wrote'";
    assert_eq!(interrupted(&mount, sync, "writers"), eintr);
    assert_eq!(sent(&mount), (0, 0));
    Fd::writer(mount.path("q")).write("kept").unwrap();
    for open in ["'>', 'p/q'", "'>>', 'p/q'"] {
        let write = format!("open(F, {open}); defined(syswrite(F, 'lost')) and die 'it wrote'");
        assert_eq!(interrupted(&mount, &write, "writers"), eintr);
    }
    assert_eq!((sent(&mount), mount.figure("q", "writers")), ((1, 0), 0));
    assert_eq!(Fd::reader(mount.path("q")).read(ROOM).unwrap(), b"kept");
    mount.assert_ledgers_balance();
}

#[test]
fn a_reader_in_line_that_is_interrupted_leaves_its_place_to_the_next() {
    let mount = with_queue();
    let script =
        "$SIG{USR1} = sub {}; open(F, '<', 'p/q'); sysread(F, $m, 100); print length($m // '') ? $m : 'nothing'";
    let first = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_figure("q", "readers", 1);
    let second = Fd::reader(mount.path("q")).reading(ROOM);
    mount.wait_figure("q", "readers", 2);
    first.signal(Signal::USR1);
    assert_eq!(first.said(), "nothing");
    Fd::writer(mount.path("q")).write("for the second").unwrap();
    assert_eq!(second.get().unwrap(), b"for the second");
}

/// Bytes of which no two stretches look the same, different for every `seed`.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The part of a buffer with room for it that begins `offset` bytes into a page.
fn at_offset(buffer: &mut [u8], offset: usize, len: usize) -> &mut [u8] {
    let before = (4096 + offset - buffer.as_ptr().addr() % 4096) % 4096;
    &mut buffer[before..before + len]
}

#[test]
fn the_longest_message_passes_whole_at_every_alignment_and_one_byte_more_not_at_all() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")));
    let mut offsets: BTreeSet<usize> =
        [0, 1, 2, 7, 8, 63, 64, 511, 512, 2047, 2048, 2049, 4088, 4094, 4095].into_iter().collect();
    offsets.extend((0..4096).step_by(127));
    let (mut from, mut to) = (vec![0; LIMIT + 2 * 4096], vec![0; (4 << 20) + 2 * 4096]);
    for (turn, offset) in offsets.iter().copied().enumerate() {
        let message = pattern(LIMIT, offset);
        let bytes = at_offset(&mut from, offset, LIMIT + 1);
        bytes[..LIMIT].copy_from_slice(&message);
        assert_eq!(write(&writer, &*bytes), Err(Errno::MSGSIZE), "at {offset}");
        assert_eq!(mount.figure("q", "slot"), 0, "nothing was sent");
        assert_eq!(write(&writer, &bytes[..LIMIT]), Ok(LIMIT), "at {offset}");
        let next = writer.writing("next");
        mount.wait_figure("q", "writers", 1);
        let bytes = at_offset(&mut to, offset * 31 % 4096, if turn % 2 == 0 { 4 << 20 } else { LIMIT });
        assert_eq!(rustix::io::read(&reader, &mut *bytes), Ok(LIMIT), "at {offset}");
        assert!(bytes[..LIMIT] == message, "the message written at {offset} came back changed");
        assert_eq!(next.get(), Ok(4));
        assert_eq!(reader.read(ROOM).unwrap(), b"next");
    }
    assert_eq!(sent(&mount).0, 2 * offsets.len() as u64);
    mount.assert_ledgers_balance();
}

#[test]
fn a_write_of_more_than_the_kernel_can_pass_on_is_emsgsize_too() {
    let mount = with_queue();
    let writer = Fd::writer(mount.path("q"));
    let mut buffer = vec![1; (4 << 20) + 2 * 4096];
    for (offset, len) in [(0, 1 << 20), (1, 1 << 20), (4095, 1 << 20), (0, 4 << 20), (77, 4 << 20), (4095, 4 << 20)] {
        assert_eq!(write(&writer, at_offset(&mut buffer, offset, len)), Err(Errno::MSGSIZE), "{len} at {offset}");
    }
    assert_eq!(sent(&mount), (0, 0));
    assert_eq!(writer.write("after"), Ok(5));
    assert_eq!(Fd::reader(mount.path("q")).read(ROOM).unwrap(), b"after");
}

#[test]
fn a_smaller_limit_of_the_mount_holds_to_the_byte() {
    let mount = Mount::with(&["--limit", "1000"]);
    touch(&mount.path("q"));
    let writer = Fd::writer(mount.path("q"));
    assert_eq!(writer.write([1; 1001]), Err(Errno::MSGSIZE));
    assert_eq!(writer.write([1; 1000]), Ok(1000));
    assert_eq!(sent(&mount).0, 1);
}

#[test]
fn writev_is_one_message() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")));
    let parts = [&b"head "[..], b"body ", &[b'x'; 10_000], b" tail"];
    let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    assert_eq!(rustix::io::writev(&writer, &slices), Ok(10_015));
    assert_eq!(reader.read(ROOM).unwrap(), parts.concat());
}

#[test]
fn writev_of_more_pieces_than_the_kernel_passes_on_is_never_two_messages() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")));
    let pieces: Vec<[u8; 10]> = (0..1024u16).map(|n| [(n % 251) as u8; 10]).collect();
    let all = pieces.concat();
    // The kernel gives a request no more than 256 of them. What is left over must not become a message of its own.
    let written = later(move || {
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        rustix::io::writev(&writer, &slices)
    });
    let received = reader.read(ROOM).unwrap();
    assert_eq!(received, all[..received.len()]);
    assert_eq!(written.get(), Ok(received.len()), "what was written is the message");
    assert_eq!(sent(&mount).0, 1);
}

#[test]
fn removing_a_queue_hangs_up_its_waiting_readers() {
    let mount = with_queue();
    let reader = Fd::reader(mount.path("q"));
    let readers = [reader.reading(ROOM), Fd::reader(mount.path("q")).reading(ROOM)];
    mount.wait_figure("q", "readers", 2);
    fs::remove_file(mount.path("q")).unwrap();
    for reading in readers {
        assert_eq!(reading.get().unwrap(), b"");
    }
    assert_eq!(reader.read(ROOM).unwrap(), b"", "it stays the end");
    assert!(!mount.path("q").exists() && mount.channel("q").is_null());
}

#[test]
fn removing_a_queue_breaks_its_waiting_writers_and_its_readers_get_what_was_sent() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q")));
    writer.write("sent before").unwrap();
    let writers =
        [writer.writing("one"), Fd::open(mount.path("q"), OFlags::WRONLY | OFlags::SYNC).unwrap().writing("two")];
    mount.wait_figure("q", "writers", 2);
    mount.run("rm p/q");
    for writing in writers {
        assert_eq!(writing.get(), Err(Errno::PIPE));
    }
    assert_eq!(writer.write("later"), Err(Errno::PIPE));
    assert_eq!(reader.read(ROOM).unwrap(), b"sent before");
    assert_eq!((reader.read(ROOM).unwrap(), reader.read(ROOM).unwrap()), (vec![], vec![]));
    touch(&mount.path("q"));
    assert_eq!(sent(&mount), (0, 0), "a new queue of the name has nothing of the old one");
}

#[test]
fn open_flags_mean_what_they_mean() {
    let mount = with_queue();
    let path = mount.path("q");
    let writer = Fd::writer(&path);
    writer.write("kept").unwrap();
    let truncating = Fd::open(&path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC).unwrap();
    let appending = Fd::open(&path, OFlags::RDWR | OFlags::APPEND).unwrap();
    rustix::fs::ftruncate(&truncating, 0).unwrap();
    assert_eq!(appending.read(ROOM).unwrap(), b"kept", "O_TRUNC takes no message away");
    truncating.write("1").unwrap();
    assert_eq!(appending.read(ROOM).unwrap(), b"1");
    for message in ["2", "a longer one", "3"] {
        appending.write(message).unwrap();
        assert_eq!(Fd::reader(&path).text(), message);
    }
    let open = |name: &str, flags| Fd::open(mount.path(name), flags).map(drop);
    assert_eq!(open("q", OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL), Err(Errno::EXIST));
    assert_eq!(open("absent", OFlags::WRONLY), Err(Errno::NOENT));
    assert_eq!(open("absent", OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL), Ok(()));
    assert_eq!(open("q/below", OFlags::RDONLY), Err(Errno::NOTDIR));
    assert_eq!(open("", OFlags::WRONLY), Err(Errno::ISDIR));
    assert_eq!(writer.read(ROOM), Err(Errno::BADF));
    assert_eq!(Fd::reader(&path).write("no"), Err(Errno::BADF));
    assert_eq!(rustix::fs::seek(&writer, rustix::fs::SeekFrom::Start(5)), Err(Errno::SPIPE));
    assert_eq!(mount.channel("absent")["kind"], "queue");
}

#[test]
fn a_queue_is_a_regular_file_of_size_0_with_real_mode_owner_and_times() {
    let mount = with_queue();
    let stat = |name: &str| fs::metadata(mount.path(name)).unwrap();
    fs::write(mount.path("q"), "a message has no part in the size").unwrap();
    let new = stat("q");
    assert!(new.is_file());
    assert_eq!((new.len(), new.blocks(), new.nlink(), new.mode() & 0o7777), (0, 0, 1, 0o600));
    assert_eq!((new.uid(), new.gid()), (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    assert!(new.mtime_nsec() < 1_000_000_000 && new.modified().unwrap().elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!((stat("q:line").ino(), stat("q:whole").ino()), (new.ino(), new.ino()));

    fs::set_permissions(mount.path("q"), fs::Permissions::from_mode(0o4752)).unwrap();
    assert_eq!(stat("q").mode() & 0o7777, 0o4752);
    std::os::unix::fs::chown(mount.path("q"), Some(1234), Some(4321)).unwrap();
    assert_eq!((stat("q").uid(), stat("q").gid()), (1234, 4321));
    let time = |secs, nsec| Timespec { tv_sec: secs, tv_nsec: nsec };
    let times = Timestamps { last_access: time(1_000_000_000, 1), last_modification: time(1_500_000_000, 999_999_999) };
    rustix::fs::utimensat(CWD, mount.path("q"), &times, AtFlags::empty()).unwrap();
    let changed = stat("q");
    assert_eq!((changed.atime(), changed.atime_nsec()), (1_000_000_000, 1));
    assert_eq!((changed.mtime(), changed.mtime_nsec()), (1_500_000_000, 999_999_999));
    assert!(changed.ctime() >= new.ctime());
    let listed = mount.channel("q");
    assert_eq!((&listed["uid"], &listed["gid"]), (&1234.into(), &4321.into()));
    mount.run("chmod 644 p/q; chmod u+x p/q; touch p/q; truncate -s 100 p/q");
    assert_eq!((stat("q").mode() & 0o7777, stat("q").len()), (0o744, 0));
}

#[test]
fn a_message_moves_the_times_of_its_queue() {
    let mount = with_queue();
    let stat = || fs::metadata(mount.path("q")).unwrap();
    let long_ago = Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    rustix::fs::utimensat(CWD, mount.path("q"), &times, AtFlags::empty()).unwrap();
    Fd::writer(mount.path("q")).write("now").unwrap();
    // What stat(2) shows may be a second old.
    fs9_tests::wait_for("mtime to follow the write", || (stat().mtime() > 1_500_000_000).then_some(()));
    assert_eq!(stat().atime(), 1_000_000_000);
    Fd::reader(mount.path("q")).text();
    fs9_tests::wait_for("atime to follow the read", || (stat().atime() > 1_500_000_000).then_some(()));
}

#[test]
fn new_files_are_0600_whatever_was_asked() {
    let mount = Mount::new();
    mount.run("umask 0; touch p/a; python3 -c 'import os; os.open(\"p/b\", os.O_CREAT | os.O_WRONLY, 0o777)'");
    rustix::fs::mknodat(CWD, mount.path("c"), FileType::RegularFile, Mode::from_raw_mode(0o666), 0).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(fs::metadata(mount.path(name)).unwrap().mode(), 0o100_600, "{name}");
    }
}

#[test]
fn only_channels_and_directories_can_be_made() {
    let mount = with_queue();
    let mode = Mode::from_raw_mode(0o600);
    for kind in [FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::BlockDevice] {
        assert_eq!(rustix::fs::mknodat(CWD, mount.path("new"), kind, mode, 0), Err(Errno::PERM), "{kind:?}");
    }
    assert_eq!(rustix::fs::symlink("q", mount.path("new")), Err(Errno::PERM));
    assert_eq!(rustix::fs::link(mount.path("q"), mount.path("new")), Err(Errno::PERM));
    assert!(mount.run("mkfifo p/new 2>&1 || true").contains("not permitted"));
    assert!(!mount.path("new").exists());
}

#[test]
fn names_that_cannot_be_are_refused_and_nothing_is_made() {
    let mount = Mount::new();
    let path = |name: &[u8]| mount.path("").join(OsStr::from_bytes(name));
    let create = |name: &[u8]| Fd::open(path(name), OFlags::WRONLY | OFlags::CREATE).map(drop);
    let (longest, too_long) = ([b'n'; 255], [b'n'; 256]);
    for name in
        [&longest[..], b"a b", "größe".as_bytes(), b"-n", b":line", b"a:b", b"...", b"*", "\u{202e}x".as_bytes()]
    {
        assert_eq!(create(name), Ok(()), "{}", String::from_utf8_lossy(name));
        assert!(path(name).is_file());
        fs::remove_file(path(name)).unwrap();
    }
    for (name, errno) in [
        (&too_long[..], Errno::NAMETOOLONG),
        (&[b'n'; 2000], Errno::NAMETOOLONG),
        (b".", Errno::ISDIR),
        (b"..", Errno::ISDIR),
        (b"a\nb", Errno::INVAL),
        (b"\x1b[2J", Errno::INVAL),
        (b"\x7f", Errno::INVAL),
        ("\u{85}".as_bytes(), Errno::INVAL),
        (b"\xff", Errno::INVAL),
        (b"ab\xc3", Errno::INVAL),
    ] {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(create(name), Err(errno), "{shown:?}");
        if errno != Errno::ISDIR {
            assert_eq!(rustix::fs::mkdir(path(name), Mode::RWXU), Err(errno), "{shown:?}");
            touch(&mount.path("q"));
            assert_eq!(rustix::fs::rename(mount.path("q"), path(name)), Err(errno), "{shown:?}");
            fs::remove_file(mount.path("q")).unwrap();
        }
    }
    assert_eq!(rustix::fs::mkdir(mount.path("d:line"), Mode::RWXU), Err(Errno::INVAL), "the name of a view");
    assert_eq!(mount.status()["channels"], serde_json::json!([]));
    assert_eq!(names(&mount.path("")), [&FIXED[..4], &["n"], &FIXED[4..], &["timer"]].concat());
}

const FIXED: [&str; 6] = ["README", "ctl", "events", "id", "status", "status.json"];

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn the_mount_point_lists_its_fixed_files_and_the_names() {
    let mount = with_queue();
    assert_eq!(names(&mount.path("")), [&FIXED[..4], &["n", "q"], &FIXED[4..], &["timer"]].concat());
    for number in 0..500 {
        touch(&mount.path(&format!("many-{number:03}")));
    }
    let listed = mount.run("ls -a1 p; ls -la p | wc -l");
    assert!(listed.starts_with(".\n..\n"), "{listed}");
    let many: Vec<_> = listed.lines().filter(|name| name.starts_with("many-")).collect();
    assert!(many.len() == 500 && many.is_sorted() && many[499] == "many-499", "{listed}");
    assert!(listed.ends_with("\n512\n"), "6 fixed, n, timer, 501 queues, two dots, total: {listed}");
}

#[test]
fn fixed_files_cannot_be_made_removed_renamed_or_changed() {
    let mount = with_queue();
    for name in FIXED {
        let path = mount.path(name);
        assert_eq!(rustix::fs::unlink(&path), Err(Errno::PERM), "{name}");
        assert_eq!(rustix::fs::rename(&path, mount.path("x")), Err(Errno::PERM), "{name}");
        assert_eq!(rustix::fs::rename(mount.path("q"), &path), Err(Errno::EXIST), "{name}");
        assert_eq!(rustix::fs::chmod(&path, Mode::RWXO), Err(Errno::PERM), "{name}");
        assert_eq!(rustix::fs::mkdir(&path, Mode::RWXU), Err(Errno::EXIST), "{name}");
    }
    for name in ["README", "status", "status.json", "events"] {
        assert_eq!(Fd::open(mount.path(name), OFlags::WRONLY).map(drop), Err(Errno::ACCESS), "{name}");
    }
    assert_eq!(names(&mount.path("")), [&FIXED[..4], &["n", "q"], &FIXED[4..], &["timer"]].concat());
}

#[test]
fn directories_group_names() {
    let mount = Mount::new();
    fs::create_dir(mount.path("d")).unwrap();
    fs::create_dir(mount.path("d/e")).unwrap();
    assert!(fs::metadata(mount.path("d/e")).unwrap().is_dir());
    touch(&mount.path("d/e/q"));
    assert_eq!((names(&mount.path("d")), names(&mount.path("d/e"))), (vec!["e".to_owned()], vec!["q".to_owned()]));
    assert_eq!(mount.run("echo deep > p/d/e/q; head -n1 p/d/e/q 2>/dev/null"), "deep\n");
    assert_eq!(mount.channel("d/e/q")["lanes"][0]["received"], 1);
    assert_eq!(rustix::fs::rmdir(mount.path("d/e")), Err(Errno::NOTEMPTY));
    assert_eq!(rustix::fs::rmdir(mount.path("d/e/q")), Err(Errno::NOTDIR));
    assert_eq!(rustix::fs::unlink(mount.path("d/e")), Err(Errno::ISDIR));
    assert_eq!(rustix::fs::rename(mount.path("d"), mount.path("d/e/f")), Err(Errno::INVAL));
    fs::rename(mount.path("d/e"), mount.path("moved")).unwrap();
    assert_eq!((names(&mount.path("d")), names(&mount.path("moved"))), (vec![], vec!["q".to_owned()]));
    fs::remove_file(mount.path("moved/q")).unwrap();
    fs::remove_dir(mount.path("moved")).unwrap();
    fs::remove_dir(mount.path("d")).unwrap();
    assert_eq!(rustix::fs::rmdir(mount.path("d")), Err(Errno::NOENT));
    let deep = "d/".repeat(60);
    fs::create_dir_all(mount.path(&deep)).unwrap();
    touch(&mount.path(&deep).join("q"));
    assert_eq!(mount.channel(&format!("{deep}q"))["kind"], "queue");
}

#[test]
fn a_renamed_queue_keeps_who_waits_and_what_is_in_it() {
    let mount = with_queue();
    let reading = Fd::reader(mount.path("q")).reading(ROOM);
    mount.wait_figure("q", "readers", 1);
    fs::create_dir(mount.path("d")).unwrap();
    fs::rename(mount.path("q"), mount.path("d/r")).unwrap();
    assert!(!mount.path("q").exists());
    assert_eq!(mount.figure("d/r", "readers"), 1);
    let writer = Fd::writer(mount.path("d/r"));
    writer.write("found").unwrap();
    assert_eq!(reading.get().unwrap(), b"found");
    writer.write("moved").unwrap();
    fs::rename(mount.path("d/r"), mount.path("q")).unwrap();
    assert_eq!(Fd::reader(mount.path("q")).text(), "moved");
}

#[test]
fn rename_takes_nobody_s_place() {
    let mount = with_queue();
    touch(&mount.path("other"));
    fs::create_dir(mount.path("d")).unwrap();
    Fd::writer(mount.path("other")).write("kept").unwrap();
    assert_eq!(rustix::fs::rename(mount.path("q"), mount.path("other")), Err(Errno::EXIST));
    assert_eq!(rustix::fs::rename(mount.path("q"), mount.path("d")), Err(Errno::ISDIR));
    assert_eq!(rustix::fs::rename(mount.path("q"), mount.path("q")), Ok(()));
    assert_eq!(rustix::fs::rename(mount.path("absent"), mount.path("x")), Err(Errno::NOENT));
    assert_eq!(rustix::fs::rename(mount.path("q"), mount.path("x:whole")), Err(Errno::INVAL));
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    assert_eq!(rustix::fs::renameat_with(CWD, mount.path("q"), CWD, mount.path("other"), exchange), Err(Errno::INVAL));
    assert_eq!(rustix::fs::rename(mount.path("q"), mount.beside().join("q")), Err(Errno::XDEV));
    assert_eq!(Fd::reader(mount.path("other")).text(), "kept");
    assert!(mount.path("q").exists());
}

#[test]
fn a_mount_can_be_asked_what_room_it_has() {
    let mount = Mount::with(&["--max-channels", "10"]);
    touch(&mount.path("q"));
    let room = rustix::fs::statfs(mount.path("")).unwrap();
    assert_eq!((room.f_files, room.f_ffree, room.f_namelen), (10, 9, 255));
    mount.run("df p > /dev/null; stat -f p > /dev/null");
    (1..10).for_each(|number| touch(&mount.path(&number.to_string())));
    assert_eq!(Fd::open(mount.path("one more"), OFlags::WRONLY | OFlags::CREATE).map(drop), Err(Errno::NOSPC));
    assert_eq!(rustix::fs::mkdir(mount.path("dir"), Mode::RWXU), Err(Errno::NOSPC));
    fs::remove_file(mount.path("1")).unwrap();
    touch(&mount.path("one more"));
}

#[test]
fn extended_attributes_are_not_there_and_disturb_nobody() {
    let mount = with_queue();
    let mut list = [0; 64];
    assert_eq!(rustix::fs::listxattr(mount.path("q"), &mut list), Err(Errno::OPNOTSUPP));
    assert_eq!(rustix::fs::getxattr(mount.path("q"), "user.x", &mut list), Err(Errno::OPNOTSUPP));
    let set = rustix::fs::setxattr(mount.path("q"), "user.x", b"1", rustix::fs::XattrFlags::empty());
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    let listed = mount.run("ls -l p/q; cp -a p/status copy && cat copy | head -n1; ls -lZ p/q > /dev/null");
    assert!(listed.starts_with("-rw------- 1 ") && listed.contains("\nfs9 "), "{listed}");
}
