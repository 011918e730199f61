//! Views: `:line` and `:whole`, for programs that cannot choose their writes.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;

use fs9_tests::Mount;
use fs9_tests::file::Fd;
use fs9_tests::process::Running;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;

/// The longest message.
const LIMIT: usize = 1_044_480;

/// A mount with the queue `q`.
fn with_queue() -> Mount {
    let mount = Mount::new();
    mount.run("touch p/q");
    mount
}

/// Waits until only `count` descriptors are open on the queue: the others have sent what they had.
fn wait_holders(mount: &Mount, count: usize) {
    let what = format!("{count} holders");
    mount.wait_channel("q", &what, |q| q["holders"].as_array().unwrap().len() == count);
}

#[test]
fn each_line_is_a_message() {
    let mount = with_queue();
    let reader = Fd::reader(mount.path("q"));
    let writer = Fd::writer(mount.path("q:line"));
    let writing = writer.writing("one\n\ntwo and\nthe be");
    for line in ["one\n", "\n", "two and\n"] {
        assert_eq!(reader.text(), line);
    }
    assert_eq!(writing.get(), Ok(19));
    assert_eq!(writer.write("ginning"), Ok(7));
    assert_eq!(mount.figure("q", "sent"), 3, "no line is finished");
    assert_eq!(writer.write(" of three\n"), Ok(10));
    assert_eq!(reader.text(), "the beginning of three\n");
    assert_eq!(writer.write("unfinished"), Ok(10));
    drop(writer);
    assert_eq!(reader.text(), "unfinished", "sent at close");
    drop(Fd::writer(mount.path("q:line")));
    wait_holders(&mount, 1);
    assert_eq!(mount.figure("q", "sent"), 5);
    mount.assert_ledgers_balance();
}

#[test]
fn a_line_reader_gets_every_message_with_a_newline() {
    let mount = with_queue();
    let (writer, reader) = (Fd::writer(mount.path("q")), Fd::reader(mount.path("q:line")));
    for (message, line) in [("bare", "bare\n"), ("ended\n", "ended\n"), ("two\nlines", "two\nlines\n")] {
        writer.write(message).unwrap();
        assert_eq!(reader.text(), line);
    }
    writer.write("short").unwrap();
    assert_eq!((reader.read(3).unwrap(), reader.read(3).unwrap()), (b"sho".to_vec(), b"rt\n".to_vec()));
    mount.assert_ledgers_balance();
}

#[test]
fn all_between_open_and_close_is_one_message() {
    let mount = with_queue();
    let reader = Fd::reader(mount.path("q"));
    let writer = Fd::writer(mount.path("q:whole"));
    for part in ["one ", "and\n", "", "two"] {
        assert_eq!(writer.write(part), Ok(part.len()));
    }
    assert_eq!(mount.figure("q", "sent"), 0);
    drop(writer);
    assert_eq!(reader.text(), "one and\ntwo");
    drop(Fd::writer(mount.path("q:whole")));
    wait_holders(&mount, 1);
    assert_eq!(mount.figure("q", "sent"), 1, "nothing written is no message");
}

#[test]
fn a_reader_of_whole_gets_one_message_and_then_the_end() {
    let mount = with_queue();
    let writer = Fd::writer(mount.path("q"));
    writer.write("one message").unwrap();
    let waiting = writer.writing("another");
    mount.wait_figure("q", "writers", 1);
    let reader = Fd::reader(mount.path("q:whole"));
    assert_eq!(reader.read(4).unwrap(), b"one ");
    assert_eq!(reader.text(), "message");
    assert_eq!((reader.text(), reader.text()), (String::new(), String::new()));
    assert_eq!(waiting.get(), Ok(7));
    assert_eq!(Fd::reader(mount.path("q:whole")).text(), "another");
    assert_eq!(mount.figure("q", "received") + mount.figure("q", "held"), 2);
}

#[test]
fn the_ends_of_a_pair_have_views_too() {
    let mount = Mount::new();
    mount.run("fs9 new --pair p/t");
    let (a, b) = (Fd::both(mount.path("t/a:line")), Fd::both(mount.path("t/b:whole")));
    b.write("all ").unwrap();
    b.write("of it").unwrap();
    let writing = a.writing("x\ny\n");
    assert_eq!((b.text(), b.text()), ("x\n".into(), "".into()));
    assert_eq!(writing.get(), Ok(4));
    drop(b);
    assert_eq!((a.text(), a.text()), ("all of it\n".into(), "".into()));
}

#[test]
fn a_write_of_lines_that_is_interrupted_says_how_much_was_sent() {
    let mount = with_queue();
    let script = r#"$SIG{USR1} = sub {}; open(F, '>', 'p/q:line'); print syswrite(F, "first\nsecond\nthird\n")"#;
    let process = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_figure("q", "writers", 1);
    let reader = Fd::reader(mount.path("q"));
    process.signal(Signal::USR1);
    assert_eq!(process.said(), "6");
    assert_eq!(reader.text(), "first\n");
    wait_holders(&mount, 1);
    assert_eq!(mount.figure("q", "sent"), 1, "what was not written is not sent");
    let script = r#"$SIG{USR1} = sub {}; open(F, '>', 'p/q:line'); defined(syswrite(F, "lost\n")) or print $! + 0"#;
    Fd::writer(mount.path("q")).write("full").unwrap();
    let process = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_figure("q", "writers", 1);
    process.signal(Signal::USR1);
    assert_eq!(process.said(), Errno::INTR.raw_os_error().to_string(), "nothing of it was sent");
    assert_eq!(mount.figure("q", "sent"), 2);
}

#[test]
fn a_write_of_lines_without_waiting_sends_as_many_as_there_is_room_for() {
    let mount = with_queue();
    let writer = Fd::open(mount.path("q:line"), OFlags::WRONLY | OFlags::NONBLOCK).unwrap();
    assert_eq!(writer.write("one\ntwo\nthree"), Ok(4));
    assert_eq!(writer.write("two\nthree"), Err(Errno::AGAIN));
    assert_eq!(writer.write("unfinished"), Err(Errno::AGAIN));
    let reader = Fd::reader(mount.path("q"));
    assert_eq!(reader.text(), "one\n");
    assert_eq!(writer.write("two\nthree"), Ok(9));
    drop(writer);
    assert_eq!((reader.text(), reader.text()), ("two\n".into(), "three".into()));
}

#[test]
fn a_write_of_lines_is_broken_by_a_hang_up_and_says_how_much_was_sent() {
    let mount = with_queue();
    let writer = Fd::writer(mount.path("q:line"));
    let writing = writer.writing("one\ntwo\n");
    mount.wait_figure("q", "writers", 1);
    fs::remove_file(mount.path("q")).unwrap();
    assert_eq!(writing.get(), Ok(4));
    assert_eq!(writer.write("three\n"), Err(Errno::PIPE));
    assert_eq!(writer.write("four"), Err(Errno::PIPE));
}

#[test]
fn over_the_limit_nothing_is_sent_neither_then_nor_at_close() {
    let mount = with_queue();
    for view in ["q:whole", "q:line"] {
        let writer = Fd::writer(mount.path(view));
        assert_eq!(writer.write(vec![b'x'; LIMIT - 1]), Ok(LIMIT - 1));
        assert_eq!(writer.write("12"), Err(Errno::MSGSIZE), "{view}");
        assert_eq!(writer.write("1"), Err(Errno::MSGSIZE), "{view}");
        drop(writer);
        wait_holders(&mount, 0);
        assert_eq!(mount.figure("q", "sent"), 0, "{view}");
    }
    let writer = Fd::writer(mount.path("q:line"));
    let long_last = [b"ok\n".to_vec(), vec![b'x'; LIMIT], b"\n".to_vec()].concat();
    assert_eq!(writer.write(long_last), Err(Errno::MSGSIZE));
    drop(writer);
    wait_holders(&mount, 0);
    assert_eq!(mount.figure("q", "sent"), 0);
    let refused = mount.shell("head -c 1044481 /dev/zero | cat > p/q:whole").output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Message too long"), "{refused:?}");
    wait_holders(&mount, 0);
    assert_eq!(mount.figure("q", "sent"), 0);
    assert_eq!(mount.status()["counts"]["bytes"].as_u64().unwrap() / 1_000_000, 0, "the bytes are given back");
}

#[test]
fn the_longest_message_passes_through_the_views_to_the_byte() {
    let mount = with_queue();
    let bytes: Vec<u8> = (0..LIMIT as u32 - 1).map(|n| (n % 251 + 32) as u8 ^ (n >> 16) as u8 | 0x20).collect();
    let line = [&bytes[..], b"\n"].concat();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    for view in ["q:whole", "q:line"] {
        fs::write(mount.path(view), &line).unwrap();
        let received = fs::read(mount.path("q:whole")).unwrap();
        assert!(received == line, "{view}: {} bytes", received.len());
    }
}

#[test]
fn a_killed_writer_sends_nothing_of_what_it_had_not_finished() {
    let mount = with_queue();
    for view in ["q:whole", "q:line"] {
        let script = format!("open(F, '>', 'p/{view}'); syswrite(F, 'half'); print '.'; close(STDOUT); <STDIN>");
        let mut process = Running::piped(&mut mount.command("perl", &["-e", &script]));
        // It has written when it closes its output.
        let mut said = String::new();
        std::io::Read::read_to_string(&mut process.stdout.take().unwrap(), &mut said).unwrap();
        assert_eq!((said.as_str(), mount.figure("q", "sent")), (".", 0));
        process.signal(Signal::KILL);
        process.ended();
        wait_holders(&mount, 0);
        assert_eq!(mount.figure("q", "sent"), 0, "{view}");
    }
    Fd::writer(mount.path("q")).write("after").unwrap();
    assert_eq!(fs::read_to_string(mount.path("q:whole")).unwrap(), "after");
}

#[test]
fn two_whole_writers_at_once_do_not_mix() {
    let mount = with_queue();
    let (one, two) = (Fd::writer(mount.path("q:whole")), Fd::writer(mount.path("q:whole")));
    for _ in 0..50 {
        one.write("1".repeat(100)).unwrap();
        two.write("2".repeat(99)).unwrap();
    }
    drop(two);
    wait_holders(&mount, 1);
    drop(one);
    wait_holders(&mount, 0);
    assert_eq!(fs::read_to_string(mount.path("q:whole")).unwrap(), "2".repeat(4950));
    assert_eq!(fs::read_to_string(mount.path("q:whole")).unwrap(), "1".repeat(5000));
}

#[test]
fn the_first_bytes_of_a_view_wait_for_room() {
    let mount = with_queue();
    Fd::writer(mount.path("q")).write("full").unwrap();
    let writer = Fd::writer(mount.path("q:whole"));
    let writing = writer.writing("waits");
    let waits = |q: &serde_json::Value| q["holders"].as_array().unwrap().iter().any(|h| h["waiting"] == "write");
    mount.wait_channel("q", "the view waits", waits);
    assert_eq!(Fd::reader(mount.path("q")).text(), "full");
    assert_eq!(writing.get(), Ok(5));
    assert_eq!(writer.write(" no more"), Ok(8));
    drop(writer);
    assert_eq!(Fd::reader(mount.path("q")).text(), "waits no more");
}

#[test]
fn views_are_not_listed_and_make_the_queue_they_are_of() {
    let mount = Mount::new();
    mount.run("echo x > p/new:line; echo y > p/other:whole; touch p/third:whole");
    assert_eq!(mount.run("ls p"), "README\nctl\nevents\nid\nn\nnew\nother\nstatus\nstatus.json\nthird\ntimer\n");
    assert_eq!(mount.run("cat p/new:whole p/other:whole"), "x\ny\n");
    for absent in ["absent:line", "new:lines", "new:", "status:line", "README:whole", "new:line:line"] {
        assert_eq!(Fd::open(mount.path(absent), OFlags::RDONLY).map(drop), Err(Errno::NOENT), "{absent}");
    }
    fs::create_dir(mount.path("d")).unwrap();
    assert_eq!(Fd::open(mount.path("d:line"), OFlags::RDONLY).map(drop), Err(Errno::NOENT));
    assert_eq!(rustix::fs::unlink(mount.path("new:line")), Err(Errno::INVAL));
    assert_eq!(rustix::fs::rename(mount.path("new:line"), mount.path("x")), Err(Errno::INVAL));
    mount.run("chmod 640 p/new:line");
    assert_eq!(mount.run("stat -c %a p/new"), "640\n");
}
