//! Programs as services: each connection has a process of its own, and no process outlives its connection.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::{Running, resources, signal, state};
use fs9_tests::tiers::peer_program;
use fs9_tests::waiter::{killed, wait_all_released, wait_opens};
use fs9_tests::{Mount, wait_for};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A mount with the service `x`, made by `fs9 spawn p/x ARGS`.
fn spawned(args: &str) -> Mount {
    let mount = Mount::new();
    spawn(&mount, "x", args);
    mount
}

fn spawn(mount: &Mount, name: &str, args: &str) {
    mount.run(&format!("fs9 spawn p/{name} {args}"));
}

fn connect(mount: &Mount) -> Fd {
    Fd::both(mount.path("x/connect"))
}

/// The children of a process, dead ones that nobody has reaped among them.
fn children(pid: u32) -> Vec<u32> {
    let parent = |process: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).filter(|process| parent(*process) == Some(pid)).collect()
}

/// Waits until the server has no process of a program, not even a dead one.
fn wait_no_children(mount: &Mount) {
    wait_for("all processes to end", || children(mount.server()).is_empty().then_some(()));
}

/// Why the last process of `x` ended.
fn wait_left(mount: &Mount, reason: &str) {
    mount.wait_channel("x", reason, |x| x["left"]["reason"] == reason && x["connections"] == 0);
    wait_no_children(mount);
    mount.assert_ledgers_balance();
}

/// Whether there is such a process.
fn is_there(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}

/// Reads `events` from now on.
struct Events(BufReader<fs::File>);

impl Events {
    fn of(mount: &Mount) -> Events {
        Events(BufReader::new(fs::File::open(mount.path("events")).unwrap()))
    }

    /// The next of that kind.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn bc_calculates() {
    let mount = Mount::new();
    mount.run("fs9 spawn p/bc -- bc -lq");
    assert_eq!(mount.run("fs9 call p/bc '2^64'"), "18446744073709551616\n");
    let talk = "exec 3<>p/bc/connect; echo 'x = 6' >&3; echo 'x * 7' >&3; read -r y <&3; echo \"$y\"";
    assert_eq!(mount.run(talk), "42\n");
    wait_all_released(&mount);
    wait_no_children(&mount);
    mount.assert_ledgers_balance();
}

#[test]
fn lines_are_messages_and_the_last_may_be_unfinished() {
    let mount = spawned("-- sh -c 'read -r a; read -r b; printf \"$a\\n$b\\n\\nend\"'");
    let client = connect(&mount);
    assert_eq!(client.write("one"), Ok(3));
    assert_eq!(client.write("two\n"), Ok(4));
    let said: Vec<String> = (0..5).map(|_| client.text()).collect();
    assert_eq!(said, ["one\n", "two\n", "\n", "end", ""]);
    assert_eq!(client.write("x"), Err(Errno::PIPE));
    drop(client);
    wait_all_released(&mount);
    wait_no_children(&mount);
}

#[test]
fn a_whole_is_all_of_standard_input_and_all_of_the_output() {
    let mount = spawned("--whole -- wc -w");
    assert_eq!(mount.run("fs9 call p/x 'a b c'; seq 100000 | fs9 call p/x"), "3\n100000\n");
    spawn(&mount, "date", "--whole -- sh -c 'echo a; echo b'");
    assert_eq!(mount.run("cat p/date/connect"), "a\nb\n", "who has nothing to say need not");
    wait_no_children(&mount);
}

#[test]
fn frames_hold_any_bytes() {
    let mount = spawned("--frames -- cat");
    let client = connect(&mount);
    for len in [1, 3, 70_000, 1_000_000] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        assert_eq!(client.write(message.clone()), Ok(len));
        assert!(client.read(ROOM).unwrap() == message, "{len} bytes");
    }
    drop(client);
    wait_left(&mount, "exited 0");
}

#[test]
fn a_program_with_our_crate_has_a_real_peer() {
    let mount = Mount::new();
    let mut events = Events::of(&mount);
    spawn(&mount, "x", &format!("--peer -- {} upper", peer_program().display()));
    let client = connect(&mount);
    for text in ["hello", "two\nlines"] {
        assert_eq!(client.write(text), Ok(text.len()));
        assert_eq!(client.text(), text.to_uppercase());
    }
    assert_eq!(events.next("stderr")["text"], "here I am", "what it prints is no message");
    drop(client);
    assert_eq!(events.next("stderr")["text"], "that was all");
    assert_eq!(events.next("ended")["reason"], "exited 0");
    wait_left(&mount, "exited 0");
}

#[test]
fn an_exit_is_a_hang_up_and_a_signal_a_loss() {
    let mount = spawned("-- sh -c 'read -r x; echo got $x; $x'");
    let client = connect(&mount);
    client.write("exit 3").unwrap();
    assert_eq!((client.text(), client.read(ROOM)), ("got exit 3\n".into(), Ok(Vec::new())));
    drop(client);
    mount.wait_channel("x", "its end", |x| x["connections"] == 0);
    spawn(&mount, "k", "-- sh -c 'read -r x; echo got $x; kill -9 $$'");
    let client = Fd::both(mount.path("k/connect"));
    client.write("x").unwrap();
    assert_eq!(client.text(), "got x\n");
    assert_eq!(client.read(ROOM), Err(Errno::CONNRESET));
    assert_eq!(client.read(ROOM), Ok(Vec::new()));
    drop(client);
    wait_no_children(&mount);
    mount.assert_ledgers_balance();
}

#[test]
fn it_inherits_its_standard_streams_and_nothing_else() {
    let mount = Mount::new();
    mount.run(
        "mkdir here; cd here; fs9 spawn ../p/x --env A=b --env 'C=d e' -- sh -c 'ls /proc/$$/fd; pwd; echo $A,$C'",
    );
    let client = connect(&mount);
    let said: Vec<String> = (0..5).map(|_| client.text()).collect();
    let here = mount.beside().canonicalize().unwrap().join("here");
    assert_eq!(said, ["0\n", "1\n", "2\n", &format!("{}\n", here.display()), "b,d e\n"]);
}

#[test]
fn what_it_complains_of_is_an_event() {
    let mount = Mount::new();
    let mut events = Events::of(&mount);
    spawn(&mount, "x", "-- sh -c 'read -r x; echo \"what is $x?\" >&2; printf unfinished >&2; exit 1'");
    let client = connect(&mount);
    client.write("that").unwrap();
    let started = events.next("started");
    let line = events.next("stderr");
    assert_eq!((&line["text"], &line["name"]), (&Value::from("what is that?"), &Value::from("x")));
    assert_eq!((&line["pid"], &line["connection"]), (&started["pid"], &started["connection"]));
    assert_eq!(events.next("stderr")["text"], "unfinished");
    assert_eq!(events.next("ended")["reason"], "exited 1");
}

#[test]
fn a_killed_client_ends_its_process_and_only_that() {
    let mount = spawned("-- cat");
    let other = connect(&mount);
    other.write("mine").unwrap();
    assert_eq!(other.text(), "mine\n");
    let mut client = mount.shell("exec 3<>p/x/connect; echo a >&3; read -r y <&3; read -r z <&3");
    let mut client = Running::new(&mut client);
    wait_opens(&mount, 4);
    killed(&mut client);
    wait_opens(&mount, 2);
    assert_eq!(children(mount.server()).len(), 1);
    other.write("still").unwrap();
    assert_eq!(other.text(), "still\n");
    drop(other);
    wait_left(&mount, "exited 0");
}

#[test]
fn no_process_outlives_a_killed_server() {
    let mut mount = spawned("-- sh -c 'trap \"\" TERM HUP; echo $$; while :; do sleep 1000; done'");
    let clients = [connect(&mount), connect(&mount), connect(&mount)];
    let pids: Vec<String> = clients.iter().map(Fd::text).collect();
    signal(mount.server(), Signal::KILL);
    wait_for("the processes to be gone", || (!pids.iter().any(|pid| is_there(pid))).then_some(()));
    drop(clients);
    mount.up(&[]);
}

#[test]
fn an_idle_process_is_ended() {
    let mount = Mount::new();
    let mut events = Events::of(&mount);
    spawn(&mount, "x", "--idle 50ms -- cat");
    let client = connect(&mount);
    client.write("x").unwrap();
    assert_eq!((client.text(), client.read(ROOM)), ("x\n".into(), Ok(Vec::new())));
    assert_eq!(events.next("ended")["reason"], "exited 0: it was idle for 50ms");
    drop(client);
    wait_left(&mount, "closed");
}

#[test]
fn as_many_processes_as_may_be_and_as_many_who_wait() {
    let mount = spawned("--max 1 --backlog 1 -- cat");
    let first = connect(&mount);
    first.write("1").unwrap();
    assert_eq!(first.text(), "1\n");
    let second = connect(&mount);
    second.write("2").unwrap();
    assert_eq!(Fd::open(mount.path("x/connect"), OFlags::RDWR).map(drop), Err(Errno::AGAIN));
    assert_eq!(children(mount.server()).len(), 1);
    drop(first);
    assert_eq!(second.text(), "2\n");
    let third = connect(&mount);
    drop(second);
    third.write("3").unwrap();
    assert_eq!(third.text(), "3\n");
    drop(third);
    wait_left(&mount, "exited 0");
}

#[test]
fn who_floods_waits_for_its_reader_and_is_cut_off_with_it() {
    let mount = spawned("--grace 60s -- yes");
    let client = connect(&mount);
    assert_eq!(client.text(), "y\n");
    let pid = children(mount.server())[0];
    wait_for("yes to wait", || (state(pid) == Some('S')).then_some(()));
    assert_eq!(client.text(), "y\n");
    drop(client);
    wait_left(&mount, "killed 13");
}

#[test]
fn what_is_no_message_ends_its_process_and_costs_no_memory() {
    let mount = Mount::with(&["--limit", "100000"]);
    let mut events = Events::of(&mount);
    let before = resources(mount.server()).memory;
    for (args, why) in [
        ("--line -- sh -c 'cat /dev/zero'", "longer than a message"),
        ("--whole -- yes", "longer than a message"),
        ("--frames -- yes", "longer than a message"),
        ("--frames -- cat /dev/zero", "a message of no bytes"),
    ] {
        spawn(&mount, "x", args);
        let client = connect(&mount);
        assert_eq!(client.read(ROOM).map(|said| said.len()), Err(Errno::CONNRESET), "{args}");
        assert_eq!(client.read(ROOM), Ok(Vec::new()));
        let ended = events.next("ended")["reason"].to_string();
        assert!(ended.contains(why), "{ended}");
        drop(client);
        wait_no_children(&mount);
        mount.run("fs9 rm p/x");
    }
    let grown = resources(mount.server()).memory.saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
    spawn(&mount, "x", "--frames -- sh -c 'printf \"\\3\\0\\0\\0ab\"'");
    assert_eq!(connect(&mount).read(ROOM), Ok(Vec::new()));
    assert_eq!(events.next("ended")["reason"], "exited 0: it ended in the middle of a frame");
}

#[test]
fn a_flood_of_complaints_holds_up_nobody() {
    let mount = Mount::new();
    let mut events = Events::of(&mount);
    spawn(&mount, "x", "--grace 60s -- sh -c 'yes >&2 & exec cat'");
    let client = connect(&mount);
    let before = resources(mount.server()).memory;
    for number in 0..200 {
        client.write(number.to_string()).unwrap();
        assert_eq!(client.text(), format!("{number}\n"));
    }
    assert_eq!(events.next("stderr")["text"], "y");
    let grown = resources(mount.server()).memory.saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more");
    drop(client);
    wait_left(&mount, "exited 0");
}

#[test]
fn who_never_reads_holds_up_its_client_and_ends_with_it() {
    let mount = spawned("--grace 50ms -- sleep 1000");
    let client = connect(&mount);
    let message = vec![b'x'; 100_000];
    // The pipe has room for a part of one, which the server has in hand; another is in the slot. Then the client waits.
    client.write(message.clone()).unwrap();
    mount.wait_figure("x", "held", 1);
    client.write(message.clone()).unwrap();
    mount.wait_figure("x", "slot", 1);
    let waiting = client.writing(message);
    drop(client);
    mount.wait_figure("x", "writers", 1);
    mount.run("fs9 rm p/x");
    assert_eq!(waiting.get(), Err(Errno::PIPE));
    wait_no_children(&mount);
}

#[test]
fn who_ignores_the_hang_up_is_terminated_and_who_ignores_that_is_killed() {
    let mount = spawned("--grace 50ms -- sh -c 'echo ready; exec sleep 1000'");
    assert_eq!(connect(&mount).text(), "ready\n");
    wait_left(&mount, "killed 15");
    mount.run("fs9 rm p/x");
    spawn(&mount, "x", "--grace 50ms -- sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1000; done'");
    assert_eq!(connect(&mount).text(), "ready\n");
    wait_left(&mount, "killed 9");
}

#[test]
fn what_it_has_started_ends_with_it() {
    let mount = spawned("-- sh -c 'sleep 1000 & echo $!; read -r x; exit 0'");
    let client = connect(&mount);
    let grandchild = client.text();
    client.write("go").unwrap();
    assert_eq!(client.read(ROOM), Ok(Vec::new()), "though somebody still has its output");
    wait_for("the sleep to be gone", || (!is_there(&grandchild)).then_some(()));
    drop(client);
    wait_left(&mount, "closed");
}

#[test]
fn one_out_of_reach_does_not_keep_a_connection_from_its_end() {
    let mount = spawned("-- sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 1000\" & read -r x'");
    let client = connect(&mount);
    let escaped = client.text();
    client.write("go").unwrap();
    assert_eq!(client.read(ROOM), Ok(Vec::new()));
    drop(client);
    wait_left(&mount, "closed");
    mount.run(&format!("kill -9 {escaped}"));
}

#[test]
fn one_that_closes_its_output_can_still_listen() {
    let mount = spawned("--grace 50ms -- sh -c 'echo hello; exec >heard; exec cat'");
    let client = connect(&mount);
    assert_eq!((client.text(), client.read(ROOM)), ("hello\n".into(), Ok(Vec::new())));
    client.write("to a file").unwrap();
    client.write("and more").unwrap();
    drop(client);
    wait_left(&mount, "exited 0");
    assert_eq!(fs::read_to_string(mount.beside().join("heard")).unwrap(), "to a file\nand more\n");
    spawn(&mount, "deaf", "--grace 50ms -- sh -c 'exec <&- >&-; exec sleep 1000'");
    assert!(!mount.shell("fs9 call p/deaf x").output().unwrap().status.success());
    wait_no_children(&mount);
}

#[test]
fn a_program_that_cannot_be_started_is_told_where_it_is_typed_or_else_when_it_is_needed() {
    let mount = Mount::new();
    let refused = mount.shell("fs9 spawn p/x -- no-such-program").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("no-such-program") && said.contains("PATH"), "{said}");
    assert!(!mount.path("x").exists());
    let mut events = Events::of(&mount);
    fs::write(mount.path("ctl"), "spawn x -- no-such-program").unwrap();
    let client = connect(&mount);
    assert_eq!(client.read(ROOM), Ok(Vec::new()));
    assert_eq!(client.write("x"), Err(Errno::PIPE));
    let why = "cannot start no-such-program: No such file or directory (os error 2)";
    assert_eq!(events.next("refused")["reason"], why);
    drop(client);
    wait_all_released_but_events(&mount);
    mount.run("fs9 rm p/x");
    let said = mount.shell("fs9 spawn p/x --dir /nowhere -- cat").output().unwrap();
    assert!(String::from_utf8(said.stderr).unwrap().contains("/nowhere"));
}

fn wait_all_released_but_events(mount: &Mount) {
    wait_opens(mount, 1);
}

#[test]
fn the_end_of_the_mount_ends_them_all() {
    let mut mount = spawned("--grace 60s -- sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1000; done'");
    spawn(&mount, "cat", "--grace 60s -- cat");
    let clients = [connect(&mount), connect(&mount), Fd::both(mount.path("cat/connect"))];
    let pids: Vec<String> = clients[..2].iter().map(Fd::text).collect();
    assert!(mount.down().status.success());
    assert!(!pids.iter().any(|pid| is_there(pid)), "they were gone before");
    drop(clients);
    mount.up(&[]);
}

#[test]
fn removing_the_service_ends_its_processes() {
    let mount = spawned("-- cat");
    let client = connect(&mount);
    client.write("x").unwrap();
    assert_eq!(client.text(), "x\n");
    mount.run("fs9 rm p/x");
    assert_eq!(client.read(ROOM), Ok(Vec::new()));
    wait_no_children(&mount);
    drop(client);
    wait_all_released(&mount);
}

#[test]
fn a_client_that_does_not_read_holds_no_place_and_learns_that_nobody_listens() {
    let mount = spawned("--max 1 -- sh -c 'read -r line; echo \"$line\"'");
    let client = connect(&mount);
    client.write("first\n").unwrap();
    wait_for("the process to end", || (client.write("more\n") == Err(Errno::PIPE)).then_some(()));
    assert_eq!(mount.run("echo second | fs9 call p/x"), "second\n");
    assert_eq!(client.text(), "first\n");
    assert_eq!(client.read(ROOM), Ok(Vec::new()));
    drop(client);
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
}

/// How many connections are made while clients and processes die.
const CONNECTIONS: u64 = 10_000;

/// Clients that come, talk and go, at random some in the middle of it, or killed; and processes that are killed.
#[test]
fn whatever_dies_when_nothing_is_left_and_no_message_goes_astray() {
    let mount = spawned("--max 16 --backlog 100000 --grace 50ms -- cat");
    assert_eq!(mount.run("fs9 call p/x warm"), "warm\n");
    wait_no_children(&mount);
    let before = resources(mount.server());
    let next = AtomicU64::new(0);
    thread::scope(|threads| {
        for seed in 0..4 {
            let (mount, next) = (&mount, &next);
            threads.spawn(move || {
                let mut random = Random(seed + 1);
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= CONNECTIONS {
                        break;
                    }
                    if random.below(8) == 0 {
                        kill_client(mount, id, &mut random)
                    } else {
                        talk(mount, id, &mut random)
                    }
                }
            });
        }
        threads.spawn(|| {
            let mut random = Random(99);
            while next.load(Ordering::Relaxed) < CONNECTIONS {
                let victims = children(mount.server());
                let victim = victims.get(random.below(victims.len().max(1) as u64) as usize);
                if let Some(pid) = victim.and_then(|pid| Pid::from_raw(*pid as i32)) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                thread::sleep(Duration::from_millis(random.below(20)));
            }
        });
    });
    wait_all_released(&mount);
    wait_no_children(&mount);
    wait_for("the threads to end", || (resources(mount.server()).threads == before.threads).then_some(()));
    assert_eq!(resources(mount.server()).descriptors, before.descriptors);
    mount.wait_channel("x", "no connections", |x| x["connections"] == 0 && x["backlog"] == 0);
    mount.assert_ledgers_balance();
    assert_eq!(mount.run("fs9 call p/x still"), "still\n");
}

/// A client that takes nothing but its own answers.
fn talk(mount: &Mount, id: u64, random: &mut Random) {
    let client = connect(mount);
    for round in 0..random.below(4) {
        let text = format!("{id} {round}\n");
        // The process may be killed at any time.
        if client.write(text.clone()).is_err() || random.below(5) == 0 {
            return;
        }
        match client.read(ROOM) {
            Ok(answer) if answer.is_empty() => return,
            Ok(answer) => assert_eq!(String::from_utf8(answer).unwrap(), text),
            Err(Errno::CONNRESET) => return,
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// One that is killed somewhere.
fn kill_client(mount: &Mount, id: u64, random: &mut Random) {
    let script =
        format!("exec 3<>p/x/connect; echo {id} >&3; read -r y <&3; [ \"$y\" = {id} ] && echo ok; read -r z <&3");
    let mut command: Command = mount.command("dash", &["-c", &script]);
    let mut client = Running::new(command.stdout(Stdio::null()).stderr(Stdio::null()));
    thread::sleep(Duration::from_micros(random.below(8000)));
    client.kill().unwrap();
    client.wait().unwrap();
}

/// xorshift64 (Marsaglia): the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
