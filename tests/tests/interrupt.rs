//! SIGINT ends a wait with EINTR, nothing consumed and nothing sent; SIGSTOP stalls one channel and no other.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use fs9_tests::file::Fd;
use fs9_tests::process::state;
use fs9_tests::waiter::{Waiter, wait_all_released, wait_opens, wait_waiting};
use fs9_tests::{Mount, wait_for};
use rustix::process::Signal;

/// A mount with a queue `q`, and a full one, `full`.
fn with_queues() -> Mount {
    let mount = Mount::new();
    mount.run("fs9 new p/q; printf first > p/full");
    mount
}

/// A Python process with `script`; it says a line before it waits.
fn python(mount: &Mount, script: &str) -> Waiter {
    let mut waiter = Waiter::of(&mut mount.command("python3", &["-u", "-c", script]));
    assert_eq!(waiter.line(), "ready");
    waiter
}

#[test]
fn an_interrupted_read_fails_with_eintr_and_consumes_nothing() {
    let mount = with_queues();
    let mut interrupted = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
    let mut other = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.said(), "EINTR");
    mount.wait_figure("q", "readers", 1);
    mount.run("printf message > p/q");
    assert_eq!(other.said(), "read 7 message");
    wait_all_released(&mount);
    assert_eq!((mount.figure("q", "sent"), mount.figure("q", "received")), (1, 1));
}

#[test]
fn an_interrupted_write_fails_with_eintr_and_sends_nothing() {
    let mount = with_queues();
    for (does, path) in
        [("write", "full"), ("append", "full"), ("sync", "full"), ("sync", "q"), ("write", "full:whole")]
    {
        let mut writer = Waiter::new(does, mount.path(path), &["not sent"]).blocked(&mount);
        writer.signal(Signal::INT);
        assert_eq!(writer.said(), "EINTR", "{does} {path}");
        wait_all_released(&mount);
    }
    assert_eq!((mount.figure("full", "sent"), mount.figure("full", "slot"), mount.figure("q", "sent")), (1, 1, 0));
    assert_eq!(mount.run("cat p/full:whole"), "first");
}

#[test]
fn an_interrupted_write_of_lines_says_how_many_bytes_of_them_were_sent() {
    let mount = with_queues();
    let mut writer = Waiter::new("write", mount.path("q:line"), &["one\ntwo\nthree\n"]).blocked(&mount);
    writer.signal(Signal::INT);
    assert_eq!(writer.said(), "wrote 4", "the first line is in the slot");
    wait_all_released(&mount);
    assert_eq!(mount.run("head -n1 p/q:line 2>/dev/null"), "one\n");
    assert_eq!((mount.figure("q", "sent"), mount.figure("q", "slot")), (1, 0));
}

#[test]
fn an_interrupted_poll_and_an_interrupted_read_of_events_fail_with_eintr() {
    let mount = with_queues();
    for (does, path) in [("poll", "q"), ("pollout", "full"), ("poll", "events"), ("read", "events")] {
        let mut waiter = Waiter::new(does, mount.path(path), &[]);
        if does == "read" {
            wait_waiting(&mount, 1);
        } else {
            waiter = waiter.asleep("poll_schedule_timeout");
        }
        waiter.signal(Signal::INT);
        assert_eq!(waiter.said(), "EINTR", "{does} {path}");
        wait_all_released(&mount);
    }
}

#[test]
fn control_c_ends_a_python_program_that_reads_or_writes() {
    let mount = with_queues();
    for (open, wait) in [("'p/q', 'rb'", "f.read(100)"), ("'p/full', 'wb'", "f.write(b'not sent')")] {
        let script = format!(
            "f = open({open}, buffering=0)\nprint('ready')\ntry: {wait}\nexcept KeyboardInterrupt: print('interrupted')"
        );
        let mut program = python(&mount, &script).blocked(&mount);
        program.signal(Signal::INT);
        assert_eq!(program.said(), "interrupted");
        wait_all_released(&mount);
    }
    assert_eq!((mount.figure("q", "sent"), mount.figure("full", "sent"), mount.figure("full", "slot")), (0, 1, 1));
}

#[test]
fn a_python_program_that_handles_the_signal_reads_on() {
    let mount = with_queues();
    let script = "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('handled'))\n\
                  f = open('p/q', 'rb', buffering=0)\nprint('ready')\nprint(f.read(100))";
    let mut program = python(&mount, script).blocked(&mount);
    program.signal(Signal::INT);
    assert_eq!(program.line(), "handled");
    let mut program = program.blocked(&mount);
    mount.run("printf message > p/q");
    assert_eq!(program.said(), "b'message'");
}

#[test]
fn a_stopped_party_stalls_only_its_channel_and_goes_on_when_it_is_continued() {
    let mount = with_queues();
    mount.run("fs9 new --pair p/pair; fs9 new --pair p/other");
    let echo = |name: &str| {
        let script = format!(
            "f = open('p/{name}/b', 'r+b', buffering=0)\nprint('ready')\nwhile m := f.read(100): f.write(m.upper())"
        );
        python(&mount, &script).blocked(&mount)
    };
    let (stopped, _running) = (echo("pair"), echo("other"));
    let (client, other) = (Fd::both(mount.path("pair/a")), Fd::both(mount.path("other/a")));
    let asks = |fd: &Fd, text: &str| {
        fd.write(text).unwrap();
        fd.text()
    };
    assert_eq!(asks(&client, "before"), "BEFORE");

    // Stopped while it waits, and while it holds a message.
    let mut holder = Waiter::new("hold", mount.path("full"), &[]);
    assert_eq!(holder.line(), "read 5 first");
    for party in [&stopped, &holder] {
        party.signal(Signal::STOP);
        wait_for("it to stop", || (state(party.pid()) == Some('T')).then_some(()));
    }
    client.write("first").unwrap();
    let waits = client.reading(100);
    let queued = client.writing("second");
    for round in 0..100 {
        let text = format!("round {round}");
        assert_eq!(asks(&other, &text), text.to_uppercase());
    }
    mount.run("printf meanwhile > p/q");
    assert_eq!(mount.run("cat p/q:whole"), "meanwhile");
    assert!(!waits.is_done() && !queued.is_done(), "the stopped party cannot have answered");
    assert_eq!(mount.figure("full", "held"), 1);

    stopped.signal(Signal::CONT);
    assert_eq!(waits.get().unwrap(), b"FIRST");
    assert_eq!(queued.get().unwrap(), 6);
    assert_eq!(client.text(), "SECOND");
    holder.signal(Signal::CONT);
    holder.killed();
    mount.wait_figure("full", "slot", 1);
    mount.assert_ledgers_balance();
}

#[test]
fn a_reader_that_is_stopped_and_continued_while_it_waits_has_consumed_nothing() {
    let mount = with_queues();
    let mut reader = Waiter::new("read", mount.path("q"), &[]).blocked(&mount);
    reader.signal(Signal::STOP);
    wait_for("it to stop", || (state(reader.pid()) == Some('T')).then_some(()));
    // Its wait is over: what comes now is another's.
    mount.wait_figure("q", "readers", 0);
    mount.run("printf message > p/q");
    wait_opens(&mount, 1);
    assert_eq!(mount.run("cat p/q:whole"), "message");
    reader.signal(Signal::CONT);
    assert_eq!(reader.said(), "EINTR");
}
