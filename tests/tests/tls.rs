//! Nodes that meet through TLS: who knows whom, who is let in, and those who come with something else than a node does.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Request, Tag};
use fs9_tests::file::Fd;
use fs9_tests::ninep::{Client, ROOT, Said, data};
use fs9_tests::process::{Running, resources, signal};
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::{Mount, fs9, stdout, tls, wait_for};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::Signal;
use serde_json::Value;

const ALL: [Dialect; 3] = [Dialect::Old, Dialect::Linux, Dialect::Own];
const EBADF: Said = Said::Failed(9);
const EIO: Said = Said::Failed(5);
const EACCES: Said = Said::Failed(13);
const ESTALE: Said = Said::Failed(116);

/// A node with a key of its own.
struct Node {
    mount: Mount,
    /// Where it listens, once it does.
    address: String,
}

impl Node {
    /// One that listens at `port` for others' keys, and at a Unix socket for the tests.
    fn listening(port: u16) -> Node {
        let listen = format!("tls://127.0.0.1:{port}");
        let mount = Mount::with(&["--state", "BESIDE/state", "--listen", &listen, "--listen", "unix:BESIDE/socket"]);
        let address = mount.address();
        Node { mount, address }
    }

    /// One that only attaches others.
    fn new() -> Node {
        Node { mount: Mount::with(&["--state", "BESIDE/state"]), address: String::new() }
    }

    fn state(&self, name: &str) -> PathBuf {
        self.mount.beside().join("state").join(name)
    }

    fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// What it is known by.
    fn id(&self) -> String {
        fs::read_to_string(self.mount.path("id")).unwrap().trim_end().to_owned()
    }

    /// Lets `key` do everything here.
    fn grant_all(&self, key: &str) {
        let (path, state) = (self.mount.path(""), self.state(""));
        let mut grant = fs9(&["grant", path.to_str().unwrap(), "--to", key, "--for", "1h", "--state"]);
        grant.arg(state).args(["--read", "--write", "--list", "--create"]);
        stdout(grant.output().unwrap());
    }

    /// Attaches `address` as `n/far`, which fails; returns what is said.
    fn refused(&self, address: &str, options: &[&str]) -> String {
        let attached = attach(&self.mount.path("n/far"), address, options);
        assert_eq!(attached.status.code(), Some(1), "{attached:?}");
        assert_eq!(self.mount.status()["nodes"], Value::Array(Vec::new()), "nothing is attached");
        String::from_utf8(attached.stderr).unwrap()
    }

    /// A client of its Unix socket.
    fn local(&self) -> Client {
        Client::unix(&self.mount.beside().join("socket"), Dialect::Linux)
    }

    /// A client of TLS with the key of `seed`, which has greeted and attached nothing.
    fn stranger(&self, seed: u8, dialect: Dialect) -> Client {
        Client::new(Box::new(tls::connect(self.port(), seed)), dialect).greeted()
    }

    fn events(&self) -> Events {
        let events = BufReader::new(fs::File::open(self.mount.path("events")).unwrap());
        Events(events)
    }
}

/// What happens at a node from now on.
struct Events(BufReader<fs::File>);

impl Events {
    /// The next event of that kind.
    fn next(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["event"] == event {
                return said;
            }
        }
    }

    /// The reason of the next refusal.
    fn refusal(&mut self) -> String {
        self.next("refused")["reason"].as_str().unwrap().to_owned()
    }
}

fn attach(path: &Path, address: &str, options: &[&str]) -> Output {
    fs9(&["attach", path.to_str().unwrap(), address]).args(options).output().unwrap()
}

fn tattach(fid: u32, dialect: Dialect) -> Request<'static> {
    let uid = (dialect != Dialect::Old).then_some(0);
    Request::Attach { fid: Fid(fid), afid: NO_FID, uname: "root", aname: "", uid }
}

/// A message of another client, there and back.
fn round_trip(client: &mut Client, queue: Fid) {
    assert_eq!(client.write(queue, "undisturbed"), Said::Wrote(11));
    assert_eq!(client.read(queue), data("undisturbed"));
}

#[test]
fn a_key_is_made_once_and_shown_by_the_command_and_the_mount() {
    let node = Node::new();
    let state = node.state("");
    let id = || Running::piped(fs9(&["id", "--state"]).arg(&state)).said();
    assert_eq!(id(), format!("{}\n", node.id()));
    assert!(node.id().starts_with("fs9:") && node.id().len() == 56, "{}", node.id());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&state), mode(&node.state("key"))), (0o700, 0o600));
    assert_eq!(mode(&node.mount.path("id")), 0o444);

    let other = node.mount.beside().join("other");
    let all: Vec<Running> =
        (0..8).map(|_| Running::piped(fs9(&["id"]).env("XDG_CONFIG_HOME", &other).env_remove("HOME"))).collect();
    let keys: Vec<String> = all.into_iter().map(Running::said).collect();
    assert!(keys.iter().all(|key| *key == keys[0]) && keys[0] != id(), "{keys:?}");
    assert_eq!(fs::read_dir(other.join("fs9")).unwrap().count(), 1, "nothing but the key was left");
}

#[test]
fn without_a_key_nothing_listens() {
    let mount = Mount::new();
    assert!(mount.down().status.success());
    let state = mount.beside().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("key"), "0123456789").unwrap();
    for (mode, said) in [("640", "chmod 600"), ("600", "32 bytes")] {
        assert!(Command::new("chmod").arg(mode).arg(state.join("key")).status().unwrap().success());
        let up = fs9(&["up", mount.path("").to_str().unwrap(), "--listen", "tls://127.0.0.1:0", "--state"])
            .arg(&state)
            .output()
            .unwrap();
        let error = String::from_utf8(up.stderr).unwrap();
        assert!(up.status.code() == Some(1) && error.contains(said), "{error}");
    }
    let mut mount = mount;
    mount.up(&[]);
}

#[test]
fn an_unknown_node_is_shown_and_refused_until_it_is_accepted() {
    let (near, far) = (Node::new(), Node::listening(0));
    let mut events = far.events();
    let said = near.refused(&far.address, &[]);
    for part in ["cannot reach tls://127.0.0.1:", "its key is not known", &far.id(), "--accept-new"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!near.state("known_nodes").exists());
    let refusal = events.refusal();
    assert!(refusal.contains("TLS alert"), "{refusal}: it was not even told who came");

    // Its key is taken; and since nothing was granted to ours, that is all.
    let said = near.refused(&far.address, &["--accept-new"]);
    assert!(said.contains("nothing is granted to") && said.contains(&near.id()), "{said}");
    let line = format!("far {} {}\n", far.address, far.id());
    assert_eq!(fs::read_to_string(near.state("known_nodes")).unwrap(), line);
    let refused = events.next("refused");
    assert_eq!(refused["key"], near.id().as_str(), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("fs9 grant"), "{refused}");

    let said = near.refused(&far.address, &[]);
    assert!(said.contains("nothing is granted to"), "it is known now: {said}");
    assert_eq!(fs::read_to_string(near.state("known_nodes")).unwrap(), line, "once");
    fs::write(near.state("known_nodes"), "far away\n").unwrap();
    let said = near.refused(&far.address, &["--accept-new"]);
    assert!(said.contains("known_nodes:1: a line is NAME ADDRESS KEY"), "{said}");
}

#[test]
fn a_changed_key_is_refused_whatever_was_said() {
    let (near, far) = (Node::new(), Node::listening(0));
    near.refused(&far.address, &["--accept-new"]);
    let (port, before) = (far.port(), far.id());
    drop(far);
    let far = Node::listening(port);
    assert_ne!(far.id(), before);
    for options in [&[][..], &["--accept-new"]] {
        let said = near.refused(&far.address, options);
        let place = format!("line 1 of {}", near.state("known_nodes").display());
        for part in ["ITS KEY HAS CHANGED", &before, &far.id(), &place] {
            assert!(said.contains(part), "{said}");
        }
    }
    assert!(!fs::read_to_string(near.state("known_nodes")).unwrap().contains(&far.id()));

    // What goes on trying says so too.
    fs::write(near.mount.path("ctl"), format!("attach far {}\n", far.address)).unwrap();
    let node = || near.mount.status()["nodes"][0].clone();
    let reason = wait_for("a reason", || node()["reason"].as_str().map(str::to_owned));
    assert!(reason.contains("ITS KEY HAS CHANGED"), "{reason}");
    assert_eq!(node()["state"], "dialling");
    stdout(fs9(&["detach", near.mount.path("n/far").to_str().unwrap()]).output().unwrap());
}

#[test]
fn nobody_is_let_in_by_default() {
    let far = Node::listening(0);
    fs::write(far.mount.path("q"), "a secret").unwrap();
    let mut events = far.events();
    for dialect in ALL {
        // Clients of 9P2000 are told in words, of which the reason has more than the number.
        let refused = if dialect == Dialect::Old { EIO } else { EACCES };
        let mut client = far.stranger(7, dialect);
        assert_eq!(client.ask(&tattach(0, dialect)), refused);
        let event = events.next("refused");
        assert_eq!(event["key"], tls::key_of(7).to_string().as_str(), "{event}");
        assert_eq!(client.walk(1, "q"), EBADF);
        assert_eq!(client.ask(&Request::Clunk { fid: ROOT }), EBADF);
        for _ in 0..2 {
            assert_eq!(client.ask(&tattach(5, dialect)), refused);
        }
        // It asks again and again.
        client.say(Tag(1), &tattach(0, dialect));
        assert!(client.is_hung_up());
    }
    wait_for("them to be gone", || (far.mount.status()["sessions"] == Value::Array(Vec::new())).then_some(()));
    assert_eq!(far.mount.status()["counts"]["refused"], 12);
    assert_eq!(far.mount.figure("q", "received"), 0);
}

#[test]
fn a_session_goes_on_only_for_the_key_that_began_it() {
    let far = Node::listening(0);
    [7, 8].iter().for_each(|seed| far.grant_all(&tls::key_of(*seed).to_string()));
    let mut client = Client::new(Box::new(tls::connect(far.port(), 7)), Dialect::Own).attached();
    let queue = client.create(1, "q");
    let reading = client.begin_read(9, queue);
    far.mount.wait_figure("q", "readers", 1);

    let mut thief = Client::new(Box::new(tls::connect(far.port(), 8)), Dialect::Own);
    thief.say(NO_TAG, &Request::Version { msize: 8192, version: Dialect::Own.version() });
    assert_eq!(thief.hear(NO_TAG), Said::Done);
    let (id, epoch, received) = client.session;
    thief.say(Tag(0), &Request::Session { id, epoch, received });
    assert_eq!(thief.hear(Tag(0)), ESTALE, "all that the other knows, but not its key");

    let mut client = client.resumed(Box::new(tls::connect(far.port(), 7)));
    fs::write(far.mount.path("q"), "for its owner").unwrap();
    assert_eq!(client.hear(reading), data("for its owner"));
}

#[test]
fn a_link_that_breaks_is_proved_again_and_nothing_is_lost() {
    let (near, mut far) = (Node::new(), Node::listening(0));
    far.grant_all(&near.id());
    let proxy = Proxy::before(&far.address.replace("tls:", "tcp:"), Fault::None, 1);
    let address = proxy.address().replace("tcp:", "tls:");
    stdout(attach(&near.mount.path("n/far"), &address, &["--accept-new"]));
    near.mount.run("echo there > p/n/far/q; cat p/n/far/q:whole");
    let big = vec![b'x'; 1_000_000];
    for _ in 0..3 {
        let reading = Fd::reader(near.mount.path("n/far/q")).reading(2_000_000);
        far.mount.wait_figure("q", "readers", 1);
        proxy.cut();
        fs::write(far.mount.path("q"), &big).unwrap();
        assert!(reading.get().unwrap() == big, "what was waited for comes over the next connection");
    }
    assert!(proxy.connections() >= 4);

    // kill -9, and the same node again.
    signal(far.mount.server(), Signal::KILL);
    wait_for("the link to be gone", || (near.mount.status()["nodes"][0]["state"] != "up").then_some(()));
    let state = far.state("");
    far.mount.up(&["--state", state.to_str().unwrap(), "--listen", &far.address]);
    wait_for("the link to be up", || (near.mount.status()["nodes"][0]["state"] == "up").then_some(()));
    assert_eq!(near.mount.run("echo again > p/n/far/q; cat p/n/far/q:whole"), "again\n");
    // And another in its place.
    assert!(far.mount.down().status.success());
    fs::remove_dir_all(&state).unwrap();
    far.mount.up(&["--state", state.to_str().unwrap(), "--listen", &far.address]);
    let reason = || near.mount.status()["nodes"][0]["reason"].as_str().unwrap_or_default().contains("KEY HAS CHANGED");
    wait_for("the other to be recognised", || reason().then_some(()));
    stdout(fs9(&["detach", near.mount.path("n/far").to_str().unwrap()]).output().unwrap());
}

/// What somebody says who is no node, and what is said of it.
fn comes_with(node: &Node, bytes: &[u8]) -> String {
    let mut events = node.events();
    let mut socket = TcpStream::connect(("127.0.0.1", node.port())).unwrap();
    socket.write_all(bytes).unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest); // reset, or closed
    assert!(rest.len() < 100, "an alert at most: {rest:?}");
    events.refusal()
}

#[test]
fn what_is_no_tls_as_we_speak_it_is_refused() {
    let far = Node::listening(0);
    let mut local = far.local();
    let queue = local.create(1, "q");
    let version = b"\x13\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.L";
    for bytes in [&version[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 4096], &[0; 64]] {
        assert_eq!(comes_with(&far, bytes), "what it says is not TLS");
        round_trip(&mut local, queue);
    }
    // A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2): no extension says that it knows a newer one.
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 8, 7]].concat();
    let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    let hello = [&[22, 3, 1, 0, message.len() as u8][..], &message].concat();
    let said = comes_with(&far, &hello);
    assert!(said.contains("it speaks no TLS 1.3"), "{said}");
    for alpn in [&[&b"h2"[..]][..], &[]] {
        let mut events = far.events();
        let socket = TcpStream::connect(("127.0.0.1", far.port())).unwrap();
        let mut client = Client::new(Box::new(tls::over(socket, tls::config(7, alpn))), Dialect::Own);
        let _ = client.raw(b"hello");
        let said = events.refusal();
        assert!(said.contains("it does not speak fs9/1"), "{said}");
    }
    round_trip(&mut local, queue);
}

/// A connection from one of this machine's many addresses.
fn from(place: Ipv4Addr, port: u16) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(IpAddr::V4(place), 0)).unwrap();
    connect(&socket, &SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).unwrap();
    socket.into()
}

/// Whether the server has closed it.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.read(&mut [0; 256]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// `FS9_STRANGERS` connections (600) that never come to an end with their handshake: from one place a quarter of all
/// that may be there is let in, of all places together 1,024, and none of them for longer than 10 s.
#[test]
fn strangers_are_bounded_and_disturb_nobody() {
    let count = std::env::var("FS9_STRANGERS").map_or(600, |count| count.parse().unwrap());
    let far = Node::listening(0);
    let mut local = far.local();
    let queue = local.create(1, "q");
    round_trip(&mut local, queue);
    let before = resources(far.mount.server());
    // Half of them send a byte now and then, as slowly as they can.
    let hello = [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    let mut strangers = Vec::new();
    let mut refused = 0;
    for number in 0..count {
        let place = Ipv4Addr::new(127, 0, 1, (number % 2) as u8);
        let mut socket = from(place, far.port());
        if number % 4 < 2 {
            let _ = socket.write_all(&hello[..number % hello.len()]);
        }
        strangers.push(socket);
        if number % 50 == 49 {
            round_trip(&mut local, queue);
            let held = strangers.len();
            strangers.retain_mut(|socket| !is_closed(socket));
            refused += held - strangers.len();
        }
    }
    // Those that came last may not have been looked at yet.
    wait_for("the bound to hold", || {
        let held = strangers.len();
        strangers.retain_mut(|socket| !is_closed(socket));
        refused += held - strangers.len();
        (strangers.len() <= 512).then_some(())
    });
    assert!(refused > 0 || count <= 512, "{refused} of {count} were refused");
    let during = resources(far.mount.server());
    let each = (during.memory.saturating_sub(before.memory)) * 1024 / 512;
    assert!(each < 64 << 10, "{each} bytes for each of them");
    assert!(during.descriptors <= before.descriptors + 512, "{during:?}");
    // As many as there may be from here are there; from elsewhere one more is.
    let mut elsewhere = far.stranger(7, Dialect::Own);
    assert_eq!(elsewhere.ask(&tattach(0, Dialect::Own)), EACCES);
    for byte in &hello {
        strangers.iter_mut().for_each(|socket| drop(socket.write(&[*byte])));
        round_trip(&mut local, queue);
    }
    drop(elsewhere);
    wait_for("the last of them to be sent away", || {
        round_trip(&mut local, queue);
        std::thread::sleep(Duration::from_millis(20));
        strangers.retain_mut(|socket| !is_closed(socket));
        strangers.is_empty().then_some(())
    });
    wait_for("their descriptors to be gone", || {
        (resources(far.mount.server()).descriptors <= before.descriptors).then_some(())
    });
}
