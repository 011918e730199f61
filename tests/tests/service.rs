//! Services: clients and servers find each other, each connection is its own, and whatever becomes of one end is told
//! at the other.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use fs9_tests::Mount;
use fs9_tests::file::{Fd, ROOM};
use fs9_tests::process::{Running, resources};
use fs9_tests::user::Home;
use fs9_tests::waiter::{
    Waiter, compiled, holders, interrupted_and_killed, report, wait_all_released, wait_nothing_kept, wait_opens,
};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;
const HUP: PollFlags = PollFlags::HUP;
const ERR: PollFlags = PollFlags::ERR;
const BOTH: PollFlags = IN.union(OUT);

/// A mount with the service `s`, made with `options`.
fn with_service(options: &str) -> Mount {
    let mount = Mount::new();
    mount.run(&format!("fs9 new --service {options} p/s"));
    mount
}

fn connect(mount: &Mount) -> Fd {
    Fd::both(mount.path("s/connect"))
}

fn accept(mount: &Mount) -> Fd {
    Fd::both(mount.path("s/accept"))
}

/// A client and the server that has it.
fn conversation(mount: &Mount) -> (Fd, Fd) {
    let (client, server) = (connect(mount), accept(mount));
    assert_eq!(server.poll(BOTH), OUT);
    (client, server)
}

/// Waits until so many descriptors are open on it, see `tests/pair.rs`.
fn wait_holders(mount: &Mount, count: usize) {
    mount.wait_channel("s", &format!("{count} holders"), |s| s["holders"].as_array().unwrap().len() == count);
}

/// Waits until so many descriptors wait to do this.
fn wait_waiting(mount: &Mount, what: &str, count: usize) {
    let waiting = |s: &Value| s["holders"].as_array().unwrap().iter().filter(|h| h["waiting"] == what).count();
    mount.wait_channel("s", &format!("{count} wait to {what}"), |s| waiting(s) == count);
}

/// The account of both directions: sent, received, dropped, in the slot and held.
fn account(mount: &Mount) -> [[u64; 5]; 2] {
    let service = mount.channel("s");
    [0, 1].map(|lane| {
        let lane = &service["lanes"][lane];
        let dropped = lane["dropped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        let figure = |name: &str| lane[name].as_u64().unwrap();
        [figure("sent"), figure("received"), dropped, figure("slot"), figure("held")]
    })
}

/// A process that has opened `s/END`, has read one message if it is the server, has written `last words`, and goes on
/// once its input is closed.
fn party(mount: &Mount, end: &str, then: &str) -> Running {
    let first = if end == "accept" { "sysread(F, $m, 99);" } else { "" };
    let script = format!("open(F, '+<', 'p/s/{end}') or die; {first} syswrite(F, 'last words'); <STDIN>; {then}");
    Running::piped(&mut mount.command("perl", &["-e", &script]))
}

/// A server in Python that says when it is ready.
fn python(mount: &Mount, script: &str, args: &[&str]) -> Waiter {
    let mut server = Waiter::of(mount.command("python3", &["-u", "-c", script]).args(args));
    assert_eq!(server.line(), "ready");
    server
}

#[test]
fn a_shell_and_a_python_program_are_clients_and_servers() {
    let mount = with_service("");
    let script = "print('ready')\nwhile True:\n with open('p/s/accept', 'r+b', buffering=0) as f:\n  \
                  while m := f.read(100): f.write(m.upper())";
    let server = python(&mount, script, &[]);
    assert_eq!(mount.run("fs9 call p/s/connect hello"), "HELLO");
    assert_eq!(mount.run("exec 3<> p/s/connect; for i in a b; do echo $i >&3; read -r x <&3; echo $x; done"), "A\nB\n");
    drop(server);
    wait_all_released(&mount);
    let shell = "while exec 3<> p/s/accept; do while read -r x <&3; do echo \"got $x\" >&3; done; done";
    let server = Running::new(&mut mount.shell(shell));
    let script = "f = open('p/s/connect', 'r+b', buffering=0)\nf.write(b'hello\\n')\nprint(f.read(100).decode())";
    assert_eq!(mount.run(&format!("python3 -c \"{script}\"")), "got hello\n\n");
    drop(server);
    wait_all_released(&mount);
    mount.assert_ledgers_balance();
}

#[test]
fn a_service_is_a_directory_of_four_files() {
    let mount = with_service("");
    assert_eq!(mount.run("ls p/s"), "accept\nconnect\nctl\nstatus\n");
    for end in ["accept", "connect", "accept:line", "connect:whole"] {
        let stat = fs::metadata(mount.path("s").join(end)).unwrap();
        assert_eq!((stat.is_file(), stat.len(), stat.mode() & 0o7777), (true, 0, 0o600), "{end}");
    }
    fs::set_permissions(mount.path("s/connect"), fs::Permissions::from_mode(0o666)).unwrap();
    mount.run("chown 7:8 p/s/accept");
    let stat =
        |end: &str| fs::metadata(mount.path("s").join(end)).map(|s| (s.mode() & 0o7777, s.uid(), s.gid())).unwrap();
    assert_eq!((stat("connect"), stat("accept")), ((0o666, 0, 0), (0o600, 7, 8)));
    let create = |name: &str| Fd::open(mount.path("s").join(name), OFlags::CREATE | OFlags::WRONLY).map(drop);
    assert_eq!((create("c"), create("status:line")), (Err(Errno::PERM), Err(Errno::NOENT)));
    assert_eq!(rustix::fs::unlink(mount.path("s/connect")), Err(Errno::PERM));
    assert_eq!(rustix::fs::rename(mount.path("s/connect"), mount.path("s/c")), Err(Errno::PERM));
    assert!(mount.run("cat p/s/ctl").starts_with("hangup"));
    mount.run("rmdir p/s; [ ! -e p/s ]");
}

#[test]
fn ends_without_a_client_are_bound_in_the_order_of_their_first_read_write_or_poll() {
    let mount = with_service("");
    let [a1, a2, a3, a4] = [(); 4].map(|()| accept(&mount));
    assert_eq!(a4.poll(BOTH), PollFlags::empty());
    let clients = ["one", "two", "three"].map(|name| {
        let client = connect(&mount);
        client.write(name).unwrap();
        client
    });
    assert_eq!(
        (mount.channel("s")["connections"].clone(), mount.channel("s")["backlog"].clone()),
        (json!(3), json!(3))
    );
    assert_eq!(a3.poll(BOTH), BOTH, "the first");
    assert_eq!(a2.write("to two"), Ok(6), "the second");
    assert_eq!(a1.text(), "three");
    assert_eq!((a3.text(), a2.text(), clients[1].text()), ("one".into(), "two".into(), "to two".into()));
    assert_eq!(mount.channel("s")["backlog"], 0);

    // Who asks before a client comes stands in line, in the order of asking.
    let (a5, a6) = (accept(&mount), accept(&mount));
    let polling = a5.polling(IN);
    let writing = a6.writing("greeting");
    wait_waiting(&mount, "accept", 1);
    let reading = a4.reading(ROOM);
    wait_waiting(&mount, "accept", 2);
    let [c1, c2, c3] = [(); 3].map(|()| connect(&mount));
    assert_eq!(writing.get(), Ok(8), "a write needs no message to end");
    c1.write("for the poller").unwrap();
    c3.write("for the reader").unwrap();
    assert_eq!((polling.get(), reading.get().unwrap()), (IN, b"for the reader".to_vec()));
    assert_eq!((a5.text(), c2.text()), ("for the poller".into(), "greeting".into()));
    mount.assert_ledgers_balance();
}

/// Answers forty clients with five ends at a time, by the way of waiting that it is told.
const EVENT_LOOP: &str = "
import os, select, sys
how, ends = sys.argv[1], set()
poller = select.epoll() if how == 'epoll' else select.poll()
def ready():
    if how == 'select': return select.select(list(ends), [], [])[0]
    return [fd for fd, _ in poller.poll()]
def more():
    fd = os.open('p/s/accept', os.O_RDWR | os.O_NONBLOCK)
    ends.add(fd)
    poller.register(fd, select.POLLIN)
for _ in range(5): more()
print('ready')
served = 0
while served < 40:
    for fd in ready():
        try: message = os.read(fd, 4096)
        except BlockingIOError: continue
        if message: os.write(fd, message.upper())
        else:
            poller.unregister(fd)
            ends.remove(fd)
            os.close(fd)
            more()
            served += 1
";

#[test]
fn several_ends_are_served_by_one_epoll_poll_or_select() {
    for how in ["epoll", "poll", "select"] {
        let mount = with_service("");
        let mut server = python(&mount, EVENT_LOOP, &[how]);
        thread::scope(|threads| {
            for thread in 0..8 {
                let mount = &mount;
                threads.spawn(move || {
                    for turn in 0..5 {
                        let client = connect(mount);
                        for round in 0..3 {
                            let text = format!("client {thread} {turn} {round}");
                            client.write(text.as_str()).unwrap();
                            assert_eq!(client.text(), text.to_uppercase(), "by {how}");
                        }
                    }
                });
            }
        });
        assert!(server.status().success(), "{how}");
        wait_all_released(&mount);
        assert_eq!(account(&mount), [[120, 120, 0, 0, 0]; 2], "by {how}");
    }
}

#[test]
fn over_the_backlog_limit_a_client_gets_eagain_and_waits_for_nothing() {
    let mount = with_service("--backlog=2");
    let open = || Fd::open(mount.path("s/connect"), OFlags::RDWR);
    let waiting = [open().unwrap(), open().unwrap()];
    assert_eq!(open().map(drop), Err(Errno::AGAIN));
    let service = mount.channel("s");
    assert_eq!((&service["backlog"], &service["backlog_limit"]), (&json!(2), &json!(2)));
    let server = accept(&mount);
    assert_eq!(server.poll(OUT), OUT);
    let _third = open().unwrap();
    assert_eq!(open().map(drop), Err(Errno::AGAIN));
    drop(waiting);
    wait_holders(&mount, 2);
    open().unwrap();
}

#[test]
fn a_service_made_so_refuses_while_nobody_accepts() {
    let mount = with_service("--refuse");
    let open = || Fd::open(mount.path("s/connect"), OFlags::RDWR);
    assert_eq!(open().map(drop), Err(Errno::CONNREFUSED));
    let server = accept(&mount);
    open().unwrap();
    drop(server);
    wait_holders(&mount, 0);
    assert_eq!(open().map(drop), Err(Errno::CONNREFUSED));
    let refused = mount.shell("fs9 call p/s/connect x").output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nobody serves it now (ECONNREFUSED)"), "{refused:?}");
}

#[test]
fn hello_says_truly_who_the_client_is() {
    let mount = with_service("--hello");
    let mut client = Waiter::new("write", mount.path("s/connect"), &["hi"]);
    let server = accept(&mount);
    let hello: Value = serde_json::from_str(&server.text()).unwrap();
    assert_eq!(hello, json!({"pid": client.pid(), "uid": 0, "gid": 0, "node": null, "key": null}));
    assert_eq!((server.text(), client.said()), ("hi".into(), "wrote 2".into()));
    assert_eq!(server.read(ROOM).unwrap(), b"");
    wait_holders(&mount, 1);
    assert_eq!(account(&mount), [[1, 1, 0, 0, 0], [0; 5]], "the greeting is no message of the client's");
}

#[test]
fn status_says_who_is_at_the_other_end() {
    let mount = with_service("");
    let mut server = Waiter::new("read", mount.path("s/accept"), &[]).blocked(&mount);
    let end = |pid: u32| holders(&mount, pid).pop().unwrap();
    let unbound = end(server.pid());
    assert_eq!((&unbound["end"], &unbound["waiting"]), (&json!("accept"), &json!("accept")));
    assert_eq!(unbound["connection"], Value::Null);
    let (client, other) = (connect(&mount), Waiter::new("idle", mount.path("s/connect"), &[]));
    wait_holders(&mount, 3);
    let (mine, its) = (end(std::process::id()), end(server.pid()));
    assert_eq!((&mine["end"], &its["waiting"]), (&json!("connect"), &json!("read")));
    assert!(mine["connection"].is_u64() && mine["connection"] == its["connection"], "{mine} {its}");
    assert_ne!(end(other.pid())["connection"], mine["connection"]);
    let text = fs::read_to_string(mount.path("s/status")).unwrap();
    assert_eq!(text.matches(&format!("  connection {}  ", mine["connection"])).count(), 2, "{text}");
    assert!(text.contains("connections 2, waiting for a server 1 of 128"), "{text}");
    client.write("done").unwrap();
    assert_eq!(server.said(), "read 4 done");
}

#[test]
fn a_client_that_is_killed_is_econnreset_once_after_what_it_sent_and_one_that_exits_has_hung_up() {
    for (then, code) in [("", None), ("use POSIX; POSIX::_exit(3)", Some(3))] {
        let mount = with_service("");
        let mut client = party(&mount, "connect", then);
        let server = accept(&mount);
        mount.wait_channel("s", "last words", |s| s["lanes"][0]["sent"] == 1);
        assert_eq!(server.poll(OUT), OUT);
        if code.is_some() {
            drop(client.stdin.take());
        } else {
            client.signal(Signal::KILL);
        }
        assert_eq!(client.ended().code(), code);
        wait_holders(&mount, 1);
        let lost = if code.is_none() { ERR } else { PollFlags::empty() };
        assert_eq!(server.poll(BOTH), BOTH | HUP | lost);
        assert_eq!(server.text(), "last words");
        if code.is_none() {
            assert_eq!(server.read(ROOM), Err(Errno::CONNRESET));
        }
        assert_eq!((server.text(), server.text(), server.write("x")), ("".into(), "".into(), Err(Errno::PIPE)));
        let reason = if code.is_some() { "exited 3" } else { "killed 9" };
        assert_eq!(mount.channel("s")["left"]["reason"], reason);
        mount.assert_ledgers_balance();
    }
}

#[test]
fn a_server_that_is_killed_is_econnreset_once_after_what_it_sent_and_one_that_exits_has_hung_up() {
    for (then, code) in [("", None), ("use POSIX; POSIX::_exit(3)", Some(3))] {
        let mount = with_service("");
        let (client, waiting) = (connect(&mount), connect(&mount));
        client.write("first words").unwrap();
        let mut server = party(&mount, "accept", then);
        mount.wait_channel("s", "last words", |s| s["lanes"][1]["sent"] == 1);
        if code.is_some() {
            drop(server.stdin.take());
        } else {
            server.signal(Signal::KILL);
        }
        assert_eq!(server.ended().code(), code);
        wait_holders(&mount, 2);
        assert_eq!(client.text(), "last words");
        if code.is_none() {
            assert_eq!(client.read(ROOM), Err(Errno::CONNRESET));
        }
        assert_eq!((client.text(), client.text(), client.write("x")), ("".into(), "".into(), Err(Errno::PIPE)));
        // Who waits for a server is none the worse.
        let server = accept(&mount);
        waiting.write("still here").unwrap();
        assert_eq!(server.text(), "still here");
        mount.assert_ledgers_balance();
    }
}

#[test]
fn a_client_that_leaves_before_it_was_accepted_leaves_what_it_has_sent() {
    let mount = with_service("");
    mount.run("exec 3<> p/s/connect");
    wait_holders(&mount, 0);
    assert_eq!(mount.channel("s")["backlog"], 0, "it has sent nothing");
    mount.run("echo one > p/s/connect");
    let mut killed = party(&mount, "connect", "");
    mount.wait_channel("s", "both", |s| s["lanes"][0]["sent"] == 2);
    killed.signal(Signal::KILL);
    killed.ended();
    wait_holders(&mount, 0);
    assert_eq!(mount.channel("s")["backlog"], 2);
    let (a, b) = (accept(&mount), accept(&mount));
    assert_eq!((a.text(), b.text()), ("one\n".into(), "last words".into()));
    assert_eq!((a.text(), b.read(ROOM), b.text()), ("".into(), Err(Errno::CONNRESET), "".into()));
    drop((a, b));
    wait_holders(&mount, 0);
    assert_eq!(account(&mount)[0], [2, 2, 0, 0, 0]);
    assert_eq!(mount.channel("s")["connections"], 0);
}

#[test]
fn whoever_waits_for_a_client_is_interrupted_or_killed_at_once_and_gets_none() {
    let mount = with_service("");
    let latencies = ["read", "write", "sync", "poll", "pollout"]
        .map(|does| interrupted_and_killed(&mount, does, mount.path("s/accept")));
    report("a server that waits for a client", latencies.into());
    let server = Fd::open(mount.path("s/accept"), OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    assert_eq!((server.read(ROOM), server.write("x")), (Err(Errno::AGAIN), Err(Errno::AGAIN)));
    let client = connect(&mount);
    assert_eq!(mount.channel("s")["backlog"], 1, "nobody is in line");
    client.write("x").unwrap();
    assert_eq!(server.text(), "x");
    assert_eq!(server.read(ROOM), Err(Errno::AGAIN));
}

#[test]
fn whoever_waits_at_a_connection_is_interrupted_or_killed_at_once() {
    let mount = with_service("");
    let latencies = ["read", "poll", "sync"].map(|does| interrupted_and_killed(&mount, does, mount.path("s/connect")));
    report("a client that waits", latencies.into());
    assert_eq!((mount.channel("s")["connections"].clone(), account(&mount)), (json!(0), [[0; 5]; 2]));
}

#[test]
fn views_work_at_both_ends() {
    let mount = with_service("");
    let mut lines = Running::new(&mut mount.shell("printf 'one\\ntwo\\nthree' > p/s/connect:line"));
    let server = accept(&mount);
    assert_eq!([(); 4].map(|()| server.text()), ["one\n", "two\n", "three", ""]);
    assert!(lines.ended().success());
    mount.run("{ printf 'all '; printf 'of it'; } > p/s/connect:whole");
    assert_eq!(mount.run("cat p/s/accept:whole"), "all of it");
    let client = connect(&mount);
    let mut answer = Running::new(&mut mount.shell("cat /etc/passwd > p/s/accept:whole"));
    assert_eq!(client.text(), fs::read_to_string("/etc/passwd").unwrap());
    assert_eq!((client.text(), answer.ended().success()), ("".into(), true));
    let client = connect(&mount);
    let mut reader = Running::piped(&mut mount.shell("read -r x < p/s/accept:line; echo \"<$x>\""));
    client.write("no newline").unwrap();
    drop(reader.stdin.take());
    assert_eq!(reader.said(), "<no newline>\n");
}

#[test]
fn a_service_that_is_removed_or_hung_up_in_use_ends_for_all() {
    for end in ["fs9 rm p/s", "rmdir p/s", "echo hangup > p/s/ctl", "echo hangup s > p/ctl"] {
        let mount = with_service("");
        let (client, server) = conversation(&mount);
        client.write("sent before").unwrap();
        let reading = client.reading(ROOM);
        wait_waiting(&mount, "read", 1);
        let unheard = connect(&mount);
        unheard.write("never heard").unwrap();
        mount.run(end);
        assert_eq!(reading.get().unwrap(), b"", "{end}");
        assert_eq!((server.text(), server.text()), ("sent before".into(), "".into()), "{end}");
        for end in [&client, &server, &unheard] {
            assert_eq!((end.write("x"), end.poll(BOTH)), (Err(Errno::PIPE), BOTH | HUP));
        }
        assert_eq!(unheard.text(), "");
        let removed = !end.contains("hangup");
        assert_eq!(mount.path("s").exists(), !removed, "{end}");
        if !removed {
            let (client, server) = conversation(&mount);
            client.write("anew").unwrap();
            assert_eq!(server.text(), "anew");
            mount.assert_ledgers_balance();
        }
    }
}

#[test]
fn a_service_that_is_removed_ends_for_those_who_wait_for_a_client() {
    let mount = with_service("");
    let [reader, writer, poller, idle] = [(); 4].map(|()| accept(&mount));
    let (reading, writing) = (reader.reading(ROOM), writer.writing("greeting"));
    wait_waiting(&mount, "accept", 2);
    let polling = poller.polling(IN);
    mount.run("echo hangup > p/s/ctl");
    assert_eq!(mount.channel("s")["holders"].as_array().unwrap().len(), 4, "nobody talks: nothing ends");
    mount.run("rmdir p/s");
    assert_eq!((reading.get().unwrap(), writing.get(), polling.get()), (vec![], Err(Errno::PIPE), IN | HUP));
    assert_eq!((idle.text(), idle.write("x"), idle.poll(BOTH)), ("".into(), Err(Errno::PIPE), BOTH | HUP));
    drop((reader, writer, poller, idle));
    wait_all_released(&mount);
}

#[test]
fn a_service_is_renamed_in_use() {
    let mount = with_service("");
    let (client, server) = conversation(&mount);
    let waiting = accept(&mount);
    let reading = waiting.reading(ROOM);
    wait_waiting(&mount, "accept", 1);
    mount.run("mkdir p/d; mv p/s p/d/t");
    client.write("goes on").unwrap();
    assert_eq!(server.text(), "goes on");
    mount.run("echo new > p/d/t/connect");
    assert_eq!(reading.get().unwrap(), b"new\n");
    assert_eq!(mount.channel("d/t")["lanes"][0]["sent"], 2);
}

#[test]
fn another_user_may_connect_where_the_mode_allows_it_but_not_accept() {
    let home = Home::new();
    home.run("fs9 up --allow-other p; fs9 new --service --hello p/s; chmod 711 p/s; chmod 666 p/s/connect");
    for script in ["cat p/s/accept", "ls p/s", "echo hangup > p/s/ctl", "chmod 666 p/s/accept"] {
        let output = home.output_as("nobody", script);
        assert!(!matches!(output.status.code(), Some(0 | 124)), "nobody may: {script}");
    }
    let mut client = Waiter::of(&mut home.shell_as("nobody", "exec waiter write p/s/connect 'from nobody'"));
    assert_eq!(client.said(), "wrote 11");
    let hello: Value = serde_json::from_str(&home.run("head -n1 p/s/accept:line 2>/dev/null")).unwrap();
    let nobody: u32 = fs9_tests::stdout(home.output_as("nobody", "id -u")).trim().parse().unwrap();
    assert_eq!((&hello["pid"], &hello["uid"]), (&json!(client.pid()), &json!(nobody)));
}

/// Answers each message with its own number and the message, at very many ends at once.
const CROWD: &str = "
import os, resource, select
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
me, bound, poller = str(os.getpid()).encode(), set(), select.epoll()
def more(): poller.register(os.open('p/s/accept', os.O_RDWR | os.O_NONBLOCK), select.EPOLLIN)
for _ in range(8): more()
print('ready')
while True:
    for fd, _ in poller.poll():
        try: message = os.read(fd, 100)
        except BlockingIOError: continue
        if fd not in bound:
            bound.add(fd)
            more()
        if message: os.write(fd, me + b' ' + message)
        else:
            bound.remove(fd)
            poller.unregister(fd)
            os.close(fd)
";

/// A thousand clients at once send three messages each to so many servers. Returns how many each server had.
fn thousand(servers: usize) -> BTreeMap<String, usize> {
    const THREADS: usize = 8;
    const EACH: usize = 125;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mount = with_service("--backlog=1000");
    let servers: Vec<_> = (0..servers).map(|_| python(&mount, CROWD, &[])).collect();
    let clients = |thread: usize| {
        let clients: Vec<_> = (0..EACH).map(|number| (connect(&mount), format!("{thread} {number}"))).collect();
        let mut served: Vec<String> = vec![String::new(); EACH];
        for round in 0..3 {
            for (client, name) in &clients {
                client.write(format!("{name} {round}")).unwrap();
            }
            for ((client, name), server) in clients.iter().zip(&mut served) {
                let answer = client.text();
                let (by, text) = answer.split_once(' ').unwrap();
                assert_eq!(text, format!("{name} {round}"), "another's message");
                assert!(round == 0 || by == server, "{name} was served by {server} and by {by}");
                by.clone_into(server);
            }
        }
        served
    };
    let served: Vec<String> = thread::scope(|threads| {
        let threads: Vec<_> = (0..THREADS).map(|thread| threads.spawn(move || clients(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    mount.wait_channel("s", "the servers alone", |s| s["connections"] == 0);
    assert_eq!(account(&mount), [[3000, 3000, 0, 0, 0]; 2]);
    let mut counts = BTreeMap::new();
    served.into_iter().for_each(|server| *counts.entry(server).or_insert(0) += 1);
    drop(servers);
    counts
}

#[test]
fn a_thousand_clients_at_once_are_served_by_one_and_none_sees_anothers_message() {
    assert_eq!(thousand(1).into_values().collect::<Vec<_>>(), [1000]);
}

#[test]
fn of_two_servers_each_of_a_thousand_clients_is_served_by_exactly_one() {
    let served = thousand(2);
    println!("served: {served:?}");
    assert_eq!((served.len(), served.values().sum::<usize>()), (2, 1000));
}

/// How much more memory the server may have after the storm, in KiB: what an allocator keeps.
const KEPT: usize = 4 * 1024;

/// So many connections, see `connections.c`; checks what was counted against the service's account. Returns how many
/// were opened.
fn connections(mount: &Mount, seed: u64, count: u32) -> u64 {
    println!("FS9_SEED={seed}");
    let before = account(mount);
    let mut command = Command::new(compiled("connections", include_str!("service/connections.c")));
    command.arg(mount.path("")).args([seed.to_string(), count.to_string()]);
    let mut storm = Waiter::talking(&mut command);
    assert_eq!(storm.line(), "over");
    // What was left is accepted once the server knows who has gone.
    wait_opens(mount, 0);
    storm.tell("go on\n");
    let said = storm.said();
    wait_all_released(mount);
    let figures: Vec<u64> = said.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let [opened, cs, cm, cr, ss, sm, sr, wrong, longest] = figures[..] else { panic!("{said}") };
    println!("{opened} connections, clients sent {cs} to {}, servers {ss} to {}", cs + cm, ss + sm);
    println!("at most {longest} us from kill -9 to the end of a process");
    assert_eq!(wrong, 0, "messages that came twice, or not whole, or to the wrong one");
    assert!(longest < 2_000_000, "a killed process was there for {longest} us");
    for (lane, (counted, maybe, got)) in [(cs, cm, cr), (ss, sm, sr)].into_iter().enumerate() {
        let now = account(mount)[lane];
        let [sent, received, dropped] = [0, 1, 2].map(|figure| now[figure] - before[lane][figure]);
        assert!((counted..=counted + maybe).contains(&sent), "sent {sent}, counted {counted} to {}", counted + maybe);
        assert_eq!((sent, &now[3..]), (received + dropped, &[0, 0][..]), "the account is exact");
        assert!(received <= got && got <= sent, "received {received}, counted {got}, sent {sent}");
    }
    let service = mount.channel("s");
    assert_eq!((&service["connections"], &service["backlog"]), (&json!(0), &json!(0)));
    opened
}

fn storm(args: &[&str], count: u32) {
    let seed = std::env::var("FS9_SEED").map(|text| text.parse().unwrap());
    let seed = seed.unwrap_or_else(|_| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    let mount = Mount::with(args);
    mount.run("fs9 new --service p/s");
    connections(&mount, seed ^ 1, 500);
    let before = resources(mount.server());
    assert!(connections(&mount, seed, count) >= u64::from(count));
    let after = resources(mount.server());
    println!("the server before: {before:?}, after: {after:?}");
    assert_eq!((after.descriptors, after.threads), (before.descriptors, before.threads));
    assert!(after.memory <= before.memory + KEPT, "the server has grown from {before:?} to {after:?}");
    wait_nothing_kept(&mount);
}

#[test]
fn ten_thousand_connections_killed_at_random_points_on_either_side_leave_nothing() {
    storm(&[], 10_000);
}

#[test]
fn a_quarter_as_many_with_four_loop_threads() {
    storm(&["--threads", "4"], 2_500);
}
