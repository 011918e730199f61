//! Clients of a listening mount: what standard clients and our own can do with its files, over real sockets.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fs9_proto::attr::SetAttr;
use fs9_proto::stat::{DMDIR, Stat};
use fs9_proto::{Dialect, Fid, Request, Tag};
use fs9_tests::ninep::{BOTH, Client, NONBLOCK, READ, ROOT, Said, WRITE, connect, data};
use fs9_tests::process::resources;
use fs9_tests::{Mount, fs9, user, wait_for};

const ALL: [Dialect; 3] = [Dialect::Old, Dialect::Linux, Dialect::Own];

const ENOENT: Said = Said::Failed(2);
const EINTR: u32 = 4;
const EBADF: Said = Said::Failed(9);
const EAGAIN: Said = Said::Failed(11);
const EACCES: Said = Said::Failed(13);
const EBUSY: Said = Said::Failed(16);
const EPERM: Said = Said::Failed(1);

/// A mount that listens at a socket beside it.
struct Served {
    mount: Mount,
    socket: PathBuf,
}

impl Served {
    fn with(args: &[&str]) -> Served {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("s");
        let listen = format!("unix:{}", socket.display());
        let args: Vec<&str> = ["--listen", &listen].iter().chain(args).copied().collect();
        let mount = Mount::with(&args);
        // The place of the socket lives as long as the mount.
        std::mem::forget(place);
        Served { mount, socket }
    }

    fn new() -> Served {
        Served::with(&[])
    }

    fn client(&self, dialect: Dialect) -> Client {
        Client::unix(&self.socket, dialect)
    }

    fn new_channel(&self, args: &[&str], name: &str) {
        let path = self.mount.path(name);
        let made = fs9(&["new"]).args(args).arg(path).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Nobody is there and nothing is open.
    fn at_rest(&self) {
        wait_for("everybody to be gone", || {
            let status = self.mount.status();
            let opens = status["channels"].as_array().unwrap().iter().map(|c| c["holders"].as_array().unwrap().len());
            (status["sessions"].as_array().unwrap().is_empty() && opens.sum::<usize>() == 0).then_some(())
        });
        self.mount.assert_ledgers_balance();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(place) = self.socket.parent() {
            let _ = fs::remove_dir_all(place);
        }
    }
}

#[test]
fn messages_cross_a_queue_in_every_dialect() {
    for dialect in ALL {
        let served = Served::with(&["--linger", "10ms"]);
        let mut c = served.client(dialect);
        let q = c.create(1, "q");
        assert_eq!(c.write(q, "one"), Said::Wrote(3));
        assert_eq!(fs::read_to_string(served.mount.path("q:whole")).unwrap(), "one");
        fs::write(served.mount.path("q"), "two").unwrap();
        assert_eq!(c.read(q), data("two"));
        let big = vec![b'x'; 60_000];
        let tag = c.begin_write(5, q, &big);
        assert_eq!(c.hear(tag), Said::Wrote(60_000));
        assert_eq!(c.read(q), Said::Data(big), "whole");
        assert_eq!((c.clunk(q), c.clunk(q)), (Said::Done, EBADF));
        assert_eq!(c.opened(2, "q:whole", WRITE), Fid(2));
        assert_eq!(
            (c.write(Fid(2), "a"), c.write(Fid(2), "b"), c.clunk(Fid(2))),
            (Said::Wrote(1), Said::Wrote(1), Said::Done)
        );
        let whole = c.opened(3, "q:whole", READ);
        assert_eq!((c.read(whole), c.read(whole)), (data("ab"), data("")));
        assert_eq!(c.walk(4, "none"), ENOENT);
        assert_eq!(c.walk(4, "n"), ENOENT, "other nodes are not passed on");
        drop(c);
        served.at_rest();
    }
}

#[test]
fn a_blocked_read_ends_by_a_write_through_the_mount_and_the_reverse() {
    for dialect in ALL {
        let served = Served::new();
        let mut c = served.client(dialect);
        let q = c.create(1, "q");
        let tag = c.begin_read(7, q);
        served.mount.wait_figure("q", "readers", 1);
        fs::write(served.mount.path("q"), "from a file").unwrap();
        assert_eq!(c.hear(tag), data("from a file"));
        assert_eq!(c.write(q, "fills the slot"), Said::Wrote(14));
        let tag = c.begin_write(8, q, b"waits");
        served.mount.wait_figure("q", "writers", 1);
        assert_eq!(fs::read_to_string(served.mount.path("q:whole")).unwrap(), "fills the slot");
        assert_eq!(c.hear(tag), Said::Wrote(5));
        let path = served.mount.path("q");
        let reader = thread::spawn(move || {
            let mut file = File::open(path).unwrap();
            let mut buffer = [0; 100];
            let mut said = Vec::new();
            for _ in 0..2 {
                let len = file.read(&mut buffer).unwrap();
                said.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
            }
            said
        });
        served.mount.wait_figure("q", "readers", 1);
        assert_eq!(c.write(q, "to a blocked reader"), Said::Wrote(19));
        assert_eq!(reader.join().unwrap(), ["waits", "to a blocked reader"]);
    }
}

#[test]
fn a_flush_ends_what_waits_and_nothing_is_lost() {
    for dialect in ALL {
        let served = Served::new();
        let mut c = served.client(dialect);
        let q = c.create(1, "q");
        c.begin_read(7, q);
        served.mount.wait_figure("q", "readers", 1);
        assert_eq!(c.flush(Tag(7)), Said::Done);
        served.mount.wait_figure("q", "readers", 0);
        assert_eq!(c.write(q, "kept"), Said::Wrote(4));
        c.begin_write(8, q, b"never sent");
        served.mount.wait_figure("q", "writers", 1);
        assert_eq!(c.flush(Tag(8)), Said::Done);
        assert_eq!(c.flush(Tag(9)), Said::Done, "of nothing");
        assert_eq!(c.read(q), data("kept"));
        assert_eq!(served.mount.figure("q", "sent"), 1);
        c.begin_read(7, q); // the tag is free
        served.mount.wait_figure("q", "readers", 1);
        assert_eq!(c.clunk(q), Said::Done, "a clunk ends what waits too");
        assert_eq!(c.hear(Tag(7)), Said::Failed(EINTR));
    }
}

#[test]
fn pairs_services_topics_and_timers() {
    for dialect in ALL {
        let served = Served::new();
        served.new_channel(&["--pair"], "talk");
        served.new_channel(&["--service", "--hello"], "svc");
        served.new_channel(&["--topic"], "news");
        let (mut c, mut d) = (served.client(dialect), served.client(dialect));
        let a = c.opened(1, "talk/a", BOTH);
        assert_eq!(d.walk(1, "talk/a"), Said::Done);
        assert_eq!(d.open(1, BOTH), EBUSY);
        let b = d.opened(2, "talk/b", BOTH);
        assert_eq!((c.write(a, "hi"), d.read(b)), (Said::Wrote(2), data("hi")));
        assert_eq!((d.write(b, "ho"), c.read(a)), (Said::Wrote(2), data("ho")));
        c.clunk(a);
        assert_eq!(d.read(b), data(""), "the end");
        assert_eq!(d.write(b, "?"), Said::Failed(32));

        let accept = d.opened(3, "svc/accept", BOTH);
        let tag = d.begin_read(7, accept);
        let connect = c.opened(3, "svc/connect", BOTH);
        let hello = d.hear(tag).text().to_owned();
        let pid = if dialect == Dialect::Own { 4711 } else { std::process::id() };
        assert!(hello.contains(&format!("\"pid\":{pid}")), "{hello}");
        assert_eq!(hello.contains("\"node\":null"), dialect != Dialect::Own, "{hello}");
        assert_eq!((c.write(connect, "ask"), d.read(accept)), (Said::Wrote(3), data("ask")));
        assert_eq!((d.write(accept, "answer"), c.read(connect)), (Said::Wrote(6), data("answer")));

        let (reader, writer) = (c.opened(5, "news", READ), d.opened(5, "news", WRITE));
        assert_eq!((d.write(writer, "extra"), c.read(reader)), (Said::Wrote(5), data("extra")));
        let timer = c.opened(6, "timer/10ms", READ);
        assert!(c.read(timer).text().trim().parse::<u64>().unwrap() >= 1);
    }
}

#[test]
fn texts_ctl_and_events() {
    for dialect in ALL {
        let served = Served::new();
        let mut c = served.client(dialect);
        let events = c.opened(1, "events", READ);
        let ctl = c.opened(2, "ctl", WRITE);
        assert_eq!(c.write(ctl, "new q\n"), Said::Wrote(6));
        assert!(c.read(events).text().contains(r#""event":"created""#));
        assert_eq!(c.write(ctl, "nonsense"), Said::Failed(22));
        let status = c.opened(3, "status.json", READ);
        let mut text = String::new();
        loop {
            // Read in pieces, as cat does.
            let said = c.ask(&Request::Read { fid: status, offset: text.len() as u64, count: 100 });
            match said.text() {
                "" => break,
                part => text.push_str(part),
            }
        }
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["channels"][0]["name"], "q");
        assert_eq!(status["sessions"][0]["uid"], 0);
        assert_eq!(status["listen"][0], format!("unix:{}", served.socket.display()));
        assert_eq!(c.walk(4, "README"), Said::Done);
        assert_eq!(c.open(4, WRITE), EACCES);
    }
}

#[test]
fn names_are_listed_made_renamed_and_removed() {
    for dialect in ALL {
        let served = Served::new();
        for name in ["a", "b", "c"] {
            fs::write(served.mount.path(name), "x").unwrap();
        }
        let mut c = served.client(dialect);
        let root = c.opened(1, "", READ);
        let mut listed = c.list(root);
        listed.retain(|name| !name.starts_with('.'));
        assert_eq!(listed, ["README", "ctl", "events", "id", "status", "status.json", "a", "b", "c", "timer"]);
        if dialect == Dialect::Old {
            assert_eq!(c.walk(2, ""), Said::Done);
            let create = Request::Create { fid: Fid(2), name: "dir", perm: DMDIR | 0o755, mode: 0 };
            assert_eq!(c.ask(&create), Said::Done);
            assert_eq!(c.walk(3, "a"), Said::Done);
            let stat = Stat { name: "z", mode: 0o640, ..Stat::KEEP };
            assert_eq!(c.ask(&Request::Wstat { fid: Fid(3), stat }), Said::Done);
            assert_eq!(c.walk(4, "b"), Said::Done);
            assert_eq!(c.ask(&Request::Remove { fid: Fid(4) }), Said::Done);
            assert_eq!(c.ask(&Request::Stat { fid: Fid(4) }), EBADF, "remove forgets the fid");
        } else {
            assert_eq!(c.ask(&Request::Mkdir { dfid: ROOT, name: "dir", mode: 0o755, gid: 0 }), Said::Done);
            let rename = Request::Renameat { olddfid: ROOT, oldname: "a", newdfid: ROOT, newname: "z" };
            assert_eq!(c.ask(&rename), Said::Done);
            assert_eq!(c.walk(3, "z"), Said::Done);
            let attr = SetAttr { mode: Some(0o640), ..SetAttr::default() };
            assert_eq!(c.ask(&Request::Setattr { fid: Fid(3), attr }), Said::Done);
            assert_eq!(c.ask(&Request::Unlinkat { dfid: ROOT, name: "b", flags: 0 }), Said::Done);
            assert_eq!(c.ask(&Request::Unlinkat { dfid: ROOT, name: "c", flags: 0x200 }), Said::Failed(20));
            assert_eq!(
                c.ask(&Request::Mknod { dfid: ROOT, name: "pipe", mode: 0o010_600, major: 0, minor: 0, gid: 0 }),
                EPERM
            );
            assert_eq!(c.ask(&Request::Symlink { dfid: ROOT, name: "l", target: "x", gid: 0 }), EPERM);
            assert_eq!(
                c.ask(&Request::Xattrwalk { fid: Fid(3), newfid: Fid(9), name: "security.capability" }),
                Said::Failed(95)
            );
            assert_eq!(c.ask(&Request::Readlink { fid: Fid(3) }), Said::Failed(22));
            assert_eq!(c.ask(&Request::Statfs { fid: ROOT }), Said::Done);
            // What `>` sends: accepted, and nothing is done.
            let attr = SetAttr {
                size: Some(0),
                mtime: Some(fs9_proto::attr::SetTime::Now),
                ctime: true,
                ..SetAttr::default()
            };
            assert_eq!(c.ask(&Request::Setattr { fid: Fid(3), attr }), Said::Done);
        }
        assert!(served.mount.path("dir").is_dir() && !served.mount.path("b").exists());
        assert_eq!(fs::metadata(served.mount.path("z")).unwrap().mode() & 0o777, 0o640);
        assert_eq!((c.walk(5, "dir/.."), c.walk(6, "dir/none")), (Said::Done, ENOENT));
        assert_eq!(c.walk(7, "c:whole"), Said::Done);
    }
}

#[test]
fn a_nonblocking_client_does_not_wait() {
    let served = Served::new();
    let mut c = served.client(Dialect::Linux);
    c.create(1, "q");
    let q = c.opened(2, "q", BOTH | NONBLOCK);
    assert_eq!(c.read(q), EAGAIN);
    assert_eq!((c.write(q, "x"), c.write(q, "y")), (Said::Wrote(1), EAGAIN));
}

#[test]
fn our_own_clients_poll_and_are_told_when_something_is_ready() {
    let served = Served::new();
    let mut c = served.client(Dialect::Own);
    let q = c.create(1, "q");
    let r = c.opened(2, "q", READ);
    let (input, output) = (1, 4);
    assert_eq!(c.ask(&Request::Poll { fid: r, interest: input }), Said::Ready(0));
    assert_eq!(c.ask(&Request::Watch { fid: q, interest: output }), Said::Ready(output), "at once");
    c.say(Tag(5), &Request::Watch { fid: r, interest: input });
    c.say(Tag(6), &Request::Watch { fid: q, interest: input });
    assert_eq!(c.ask(&Request::Poll { fid: r, interest: input }), Said::Ready(0), "it waits");
    fs::write(served.mount.path("q"), "x").unwrap();
    assert!(matches!(c.hear(Tag(5)), Said::Ready(ready) if ready & input != 0));
    assert!(matches!(c.hear(Tag(6)), Said::Ready(ready) if ready & input != 0));
    assert_eq!(c.read(r), data("x"));
    c.say(Tag(7), &Request::Watch { fid: r, interest: input });
    assert_eq!(c.flush(Tag(7)), Said::Done);
    c.say(Tag(8), &Request::Watch { fid: q, interest: input });
    assert_eq!((c.clunk(q), c.hear(Tag(8))), (Said::Done, Said::Failed(EINTR)), "it is closed");
    assert_eq!(c.ask(&Request::Recv { fid: r, flags: 1, count: 10 }), EAGAIN);
    assert_eq!(c.ask(&Request::Ping), Said::Done);
}

#[test]
fn who_dies_gives_back_what_it_held() {
    let served = Served::new();
    let mut c = served.client(Dialect::Own);
    let q = c.create(1, "q");
    assert_eq!(c.write(q, "job"), Said::Wrote(3));
    let r = c.opened(2, "q", READ);
    assert_eq!(c.read(r), data("job"));
    // Its holder was killed, says its machine: tiers::error::Reason::Killed is the third.
    assert_eq!(c.ask(&Request::Leave { fid: r, kind: 2, code: 9 }), Said::Done);
    assert_eq!(served.mount.figure("q", "redelivered"), 1);
    assert_eq!(served.mount.channel("q")["left"]["reason"], "killed 9");
    assert_eq!(c.read(q), data("job"));
}

#[test]
fn a_session_outlives_its_connection() {
    let served = Served::new();
    let mut c = served.client(Dialect::Own);
    let q = c.create(1, "q");
    let tag = c.begin_read(5, q);
    served.mount.wait_figure("q", "readers", 1);
    // The socket is closed, and what is sent meanwhile is told over the next one.
    let mut c = c.resumed(connect(&served.socket));
    assert_eq!(served.mount.figure("q", "readers"), 1, "it still waits");
    fs::write(served.mount.path("q"), "late").unwrap();
    assert_eq!(c.hear(tag), data("late"));
    assert_eq!(c.write(q, "on"), Said::Wrote(2));
    let mut stranger = Client::new(connect(&served.socket), Dialect::Own);
    stranger.say(fs9_proto::NO_TAG, &Request::Version { msize: 8192, version: "9P2000.L.fs9" });
    stranger.say(Tag(0), &Request::Session { id: [9; 16], epoch: 1, received: 0 });
    stranger.hear(fs9_proto::NO_TAG);
    assert_eq!(stranger.hear(Tag(0)), Said::Failed(116), "ESTALE: there is no such session");
}

#[test]
fn a_session_that_does_not_come_back_is_left_as_unreachable() {
    let served = Served::with(&["--linger", "100ms"]);
    let mut c = served.client(Dialect::Own);
    let q = c.create(1, "q");
    assert_eq!(c.write(q, "job"), Said::Wrote(3));
    assert_eq!(c.read(q), data("job"));
    drop(c);
    served.mount.wait_channel("q", "is left", |channel| channel["left"]["reason"] == "unreachable");
    assert_eq!(fs::read_to_string(served.mount.path("q:whole")).unwrap(), "job", "it was given back");
    served.at_rest();
}

#[test]
fn the_end_of_a_standard_client_is_what_became_of_its_process() {
    for (script, reason, given_back) in [("kill -9 $$", "killed 9", 1), ("exit 0", "exited 0", 0)] {
        let served = Served::new();
        fs::write(served.mount.path("q"), "job").unwrap();
        let client = format!(
            "import socket, struct, os\n\
             s = socket.socket(socket.AF_UNIX); s.connect({:?})\n\
             def say(kind, tag, body):\n s.send(struct.pack('<IBH', 7 + len(body), kind, tag) + body); s.recv(4096)\n\
             st = lambda b: struct.pack('<H', len(b)) + b\n\
             say(100, 65535, struct.pack('<I', 65536) + st(b'9P2000.L'))\n\
             say(104, 1, struct.pack('<II', 0, 0xffffffff) + st(b'') + st(b'') + struct.pack('<I', 0xffffffff))\n\
             say(110, 1, struct.pack('<IIH', 0, 1, 1) + st(b'q'))\n\
             say(12, 1, struct.pack('<II', 1, 0))\n\
             say(116, 1, struct.pack('<IQI', 1, 0, 100))\n\
             os.execvp('sh', ['sh', '-c', {script:?}])\n",
            served.socket.to_str().unwrap()
        );
        // The socket is closed on exec in Python, so the shell must inherit it.
        let client = client.replace("os.execvp", "os.set_inheritable(s.fileno(), True); os.execvp");
        let _ = Command::new("python3").args(["-c", &client]).status().unwrap();
        served.mount.wait_channel("q", "is left", |channel| channel["left"]["reason"] == reason);
        assert_eq!(served.mount.figure("q", "redelivered"), given_back);
        served.at_rest();
    }
}

#[test]
fn modes_count_for_those_who_come_by_tcp() {
    let served = Served::with(&["--listen", "tcp://127.0.0.1:0"]);
    let port = port_of(&served.mount);
    for (name, mode) in [("mine", 0o600), ("theirs", 0o622)] {
        fs::write(served.mount.path(name), "x").unwrap();
        fs::set_permissions(served.mount.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let script = format!(
        "import socket, struct\n\
         s = socket.create_connection(('127.0.0.1', {port}))\n\
         def say(kind, tag, body):\n s.send(struct.pack('<IBH', 7 + len(body), kind, tag) + body); return s.recv(4096)\n\
         st = lambda b: struct.pack('<H', len(b)) + b\n\
         say(100, 65535, struct.pack('<I', 65536) + st(b'9P2000.L'))\n\
         # As root, it says: nobody believes it.\n\
         say(104, 1, struct.pack('<II', 0, 0xffffffff) + st(b'root') + st(b'') + struct.pack('<I', 0))\n\
         for fid, name, flags in [(1, b'mine', 0), (2, b'theirs', 0), (3, b'theirs', 1)]:\n\
         \x20say(110, 1, struct.pack('<IIH', 0, fid, 1) + st(name))\n\
         \x20said = say(12, 1, struct.pack('<II', fid, flags))\n\
         \x20print(said[4], struct.unpack('<I', said[7:11])[0] if said[4] == 7 else 'open')\n\
         said = say(14, 1, struct.pack('<I', 0) + st(b'new') + struct.pack('<III', 2, 0o600, 0))\n\
         print(said[4], struct.unpack('<I', said[7:11])[0])\n"
    );
    let home = user::Home::new();
    let said = home.output_as(user::NAME, &format!("python3 - <<'END'\n{script}END"));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "7 13\n7 13\n13 open\n7 13\n", "{said:?}");
    // A Unix socket does not even let others in: only its owner, and root, may connect.
    assert_eq!(fs::metadata(&served.socket).unwrap().mode() & 0o777, 0o600);
    let place = served.socket.parent().unwrap();
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    let connect =
        format!("import socket; socket.socket(socket.AF_UNIX).connect({:?})", served.socket.to_str().unwrap());
    let refused = home.output_as(user::NAME, &format!("python3 -c '{}'", connect.replace('\'', "\"")));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PermissionError"), "{refused:?}");
}

fn port_of(mount: &Mount) -> u16 {
    let listen = mount.status()["listen"].clone();
    let tcp = listen.as_array().unwrap().iter().find_map(|address| address.as_str().unwrap().strip_prefix("tcp://"));
    tcp.unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn those_who_do_not_keep_to_the_protocol_are_hung_up_and_others_are_not_disturbed() {
    let served = Served::new();
    let mut other = served.client(Dialect::Linux);
    let q = other.create(1, "q");
    let tag = other.begin_read(5, q);
    let version = |size: u32| {
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.extend([100, 255, 255, 0, 0, 1, 0, 8, 0]);
        bytes.extend(b"9P2000.L");
        bytes
    };
    let before = resident(served.mount.server());
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![255; 4096],
        version(1 << 30),
        [70_000u32.to_le_bytes().to_vec(), vec![100; 8]].concat(),
        vec![7, 0, 0, 0, 120, 1, 0, 1, 0, 0, 0], // Tclunk before anything
    ] {
        let mut socket = UnixStream::connect(&served.socket).unwrap();
        socket.set_read_timeout(Some(fs9_tests::DEADLINE)).unwrap();
        let _ = socket.write_all(&bytes);
        let mut client = Client::new(Box::new(socket), Dialect::Linux);
        assert!(client.is_hung_up(), "{bytes:?}");
    }
    // One who has attached, and then sends something else.
    let mut c = served.client(Dialect::Linux);
    c.raw(&[255; 4096]).unwrap();
    assert!(c.is_hung_up());
    // Half a frame is waited for, and costs nobody anything.
    let slow: Vec<UnixStream> = (0..50)
        .map(|_| {
            let mut socket = UnixStream::connect(&served.socket).unwrap();
            socket.write_all(&version(21)[..9]).unwrap();
            socket
        })
        .collect();
    fs::write(served.mount.path("q"), "undisturbed").unwrap();
    assert_eq!(other.hear(tag), data("undisturbed"));
    assert!(resident(served.mount.server()) < before + (8 << 20), "nothing was kept for them");
    drop(slow);
    drop((other, c));
    served.at_rest();
}

#[test]
fn who_says_nothing_is_hung_up() {
    let served = Served::new();
    let mut socket = UnixStream::connect(&served.socket).unwrap();
    socket.set_read_timeout(Some(fs9_tests::DEADLINE)).unwrap();
    let mut bytes = [0; 16];
    assert_eq!(socket.read(&mut bytes).unwrap(), 0, "after ten seconds");
    let mut c = Client::new(connect(&served.socket), Dialect::Linux).greeted();
    assert!(c.is_hung_up(), "it has not attached anything");
}

#[test]
fn a_client_that_does_not_listen_is_read_no_more() {
    let served = Served::with(&["--max-bytes", "100000000"]);
    let mut c = served.client(Dialect::Linux);
    let mut other = served.client(Dialect::Linux);
    let status = c.opened(1, "README", READ);
    // It asks for ever and hears nothing: at some point its socket takes no more, and the server keeps no more either.
    let mut asked = 0u32;
    let socket = UnixStream::connect(&served.socket).unwrap();
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut deaf = Client::new(Box::new(socket), Dialect::Linux).attached();
    let fid = deaf.opened(1, "README", READ);
    let mut frame = Vec::new();
    loop {
        frame.clear();
        let tag = Tag((asked % 60_000) as u16);
        Request::Read { fid, offset: 0, count: 65_536 }.emit(Dialect::Linux, tag, &mut frame);
        if deaf.raw(&frame).is_err() {
            break;
        }
        asked += 1;
        assert!(asked < 10_000_000, "it is read from for ever");
    }
    assert!(resident(served.mount.server()) < 200 << 20);
    assert!(other.walk(1, "README") == Said::Done && c.read(status) != data(""), "others are served");
}

#[test]
fn a_thousand_clients_and_ten_thousand_receives_are_one_thread() {
    let served = Served::new();
    fs::write(served.mount.path("q"), "x").unwrap();
    assert_eq!(fs::read_to_string(served.mount.path("q:whole")).unwrap(), "x");
    let mut first = served.client(Dialect::Linux);
    let fid = first.opened(1, "q", READ);
    first.begin_read(1, fid);
    served.mount.wait_figure("q", "readers", 1);
    let server = served.mount.server();
    let (before, with) = (resident(server), resources(server).threads);
    let clients: Vec<Client> = (0..1000)
        .map(|_| {
            let mut c = served.client(Dialect::Linux);
            for number in 1..=10 {
                let fid = c.opened(number, "q", READ);
                c.begin_read(number as u16, fid);
            }
            c
        })
        .collect();
    served.mount.wait_figure("q", "readers", 10_001);
    let each = resident(server).saturating_sub(before) / 10_000;
    assert!(each < 8192, "{each} bytes each");
    assert_eq!(resources(server).threads, with);
    println!("{each} bytes for each blocked receive");
    drop((clients, first));
    served.at_rest();
    assert_eq!(served.mount.figure("q", "readers"), 0);
}

#[test]
fn a_full_server_turns_clients_away_and_lets_them_in_again() {
    let mount = Mount::with(&[]);
    assert!(mount.down().status.success());
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let script = format!("ulimit -n 128; fs9 up p --listen unix:{}", socket.display());
    mount.run(&script);
    let most: Vec<UnixStream> = (0..200).filter_map(|_| UnixStream::connect(&socket).ok()).collect();
    wait_for("some to be turned away", || {
        most.iter()
            .any(|socket| {
                socket.set_nonblocking(true).unwrap();
                let mut socket = socket;
                matches!(socket.read(&mut [0; 1]), Ok(0))
            })
            .then_some(())
    });
    assert_eq!(mount.run("cat p/README | head -c 3").len(), 3, "the mount has descriptors left");
    drop(most);
    wait_for("room", || {
        let mut socket = UnixStream::connect(&socket).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        socket.write_all(&[21, 0, 0, 0, 100, 255, 255, 0, 0, 1, 0, 8, 0]).ok()?;
        socket.write_all(b"9P2000.L").ok()?;
        socket.read(&mut [0; 64]).is_ok_and(|len| len > 0).then_some(())
    });
}

#[test]
fn the_end_of_the_mount_answers_and_closes_everything() {
    let mut served = Served::new();
    let mut clients: Vec<Client> = ALL.map(|dialect| served.client(dialect)).into();
    clients[0].create(9, "q");
    for c in &mut clients {
        let fid = c.opened(1, "q", READ);
        c.begin_read(5, fid);
    }
    served.mount.wait_figure("q", "readers", 3);
    assert!(served.mount.down().status.success());
    for mut c in clients {
        assert_eq!(c.hear(Tag(5)), Said::Failed(108), "ESHUTDOWN");
        assert!(c.is_hung_up());
    }
    assert!(!served.socket.exists());
    served.mount.up(&[]);
}

#[test]
fn everything_is_given_back() {
    let served = Served::with(&["--linger", "10ms"]);
    fs::write(served.mount.path("q"), "x").unwrap();
    served.mount.wait_figure("q", "slot", 1);
    let server = served.mount.server();
    let held = || (resources(server).descriptors, resources(server).threads);
    let rest = held();
    for _ in 0..20 {
        for dialect in ALL {
            let mut c = served.client(dialect);
            let fid = c.opened(1, "q", READ);
            assert_eq!((c.read(fid), c.clunk(fid)), (data("x"), Said::Done));
            let w = c.opened(2, "q", WRITE);
            assert_eq!(c.write(w, "x"), Said::Wrote(1));
            c.opened(3, "timer/1h", READ);
            let fid = c.opened(4, "timer/1h", READ);
            c.begin_read(3, fid);
        }
    }
    served.at_rest();
    wait_for("descriptors and threads as before", || (held() == rest).then_some(()));
}

#[test]
fn a_client_may_begin_anew() {
    let served = Served::new();
    let mut c = served.client(Dialect::Linux);
    let q = c.create(1, "q");
    c.begin_read(5, q);
    served.mount.wait_figure("q", "readers", 1);
    let mut c = c.attached();
    served.mount.wait_figure("q", "readers", 0);
    assert_eq!(c.clunk(q), EBADF, "all fids are forgotten");
    assert_eq!(c.opened(1, "q", READ), q);
}

#[test]
fn up_says_where_it_listens_and_what_it_cannot() {
    let mount = Mount::with(&[]);
    assert!(mount.down().status.success());
    let point = mount.path("");
    let up = |args: &[&str]| fs9(&["up", point.to_str().unwrap()]).args(args).output().unwrap();
    let refused = |args: &[&str], what: &str| {
        let output = up(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(what), "{args:?}: {said}");
    };
    refused(&["--listen", "tls://"], "no host and port");
    refused(&["--listen", "tcp://0.0.0.0:0"], "--insecure");
    refused(&["--listen", "unix:/nowhere/at/all/s"], "cannot listen on");
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let address = format!("unix:{}", socket.display());
    let live = UnixListener::bind(&socket).unwrap();
    refused(&["--listen", &address], "another server listens there");
    drop(live); // and leaves its file
    let config = place.path().join("c.toml");
    fs::write(&config, format!("[mount]\nlisten = [{address:?}, \"tcp://127.0.0.1:0\"]\n")).unwrap();
    let output = up(&["--config", config.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("listens:  {address}")) && !said.contains("127.0.0.1:0\n"), "{said} {output:?}");
    TcpStream::connect(("127.0.0.1", port_of(&mount))).unwrap();
    assert!(mount.down().status.success() && !socket.exists());
    assert!(up(&[]).status.success());
}

/// Bytes that a process has in memory.
fn resident(pid: u32) -> usize {
    resources(pid).memory * 1024
}
