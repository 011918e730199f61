//! What one key may have at once, whatever it was granted: connections, channels, descriptors, bytes. The others notice
//! nothing of one that takes all it can.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::File;
use std::io::{BufRead, BufReader};

use fs9_proto::{Dialect, Fid, NO_FID, Request};
use fs9_tests::ninep::{BOTH, Client, NONBLOCK, READ, ROOT, Said, WRITE, data};
use fs9_tests::{Mount, audit, fs9, stdout, tls, wait_for};
use serde_json::Value;

const EMFILE: Said = Said::Failed(24);
const ENOSPC: Said = Said::Failed(28);
const EUSERS: Said = Said::Failed(87);

/// The keys of a greedy and of a modest client.
const GREEDY: u8 = 1;
const MODEST: u8 = 2;

/// A node that grants both keys everything.
struct Node(Mount);

impl Node {
    fn new(limits: &[&str]) -> Node {
        let mount = Mount::with(&[&["--state", "BESIDE/state", "--listen", "tls://127.0.0.1:0"], limits].concat());
        for seed in [GREEDY, MODEST] {
            let (path, key) = (mount.path(""), tls::key_of(seed).to_string());
            let mut grant = fs9(&["grant", path.to_str().unwrap(), "--to", &key, "--for", "1h", "--read", "--write"]);
            stdout(grant.args(["--list", "--create", "--state"]).arg(mount.beside().join("state")).output().unwrap());
        }
        Node(mount)
    }

    /// A client that has not attached anything.
    fn client(&self, seed: u8) -> Client {
        let port = self.0.address().rsplit_once(':').unwrap().1.parse().unwrap();
        Client::new(Box::new(tls::connect(port, seed)), Dialect::Linux).greeted()
    }

    /// One that has.
    fn attached(&self, seed: u8) -> Client {
        let mut client = self.client(seed);
        assert_eq!(attach(&mut client, ROOT), Said::Done);
        client
    }

    fn events(&self) -> Events {
        Events(BufReader::new(File::open(self.0.path("events")).unwrap()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            audit::check(&self.0.beside().join("state/audit.log"));
        }
    }
}

fn attach(client: &mut Client, fid: Fid) -> Said {
    client.ask(&Request::Attach { fid, afid: NO_FID, uname: "", aname: "", uid: Some(u32::MAX) })
}

fn create(client: &mut Client, fid: u32, name: &str) -> Said {
    assert_eq!(client.walk(fid, ""), Said::Done);
    client.ask(&Request::Lcreate { fid: Fid(fid), name, flags: BOTH, mode: 0o600, gid: 0 })
}

/// What happens at a node from now on.
struct Events(BufReader<File>);

impl Events {
    /// The reason of the next refusal, which is of the greedy one's.
    fn refusal(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["event"] == "refused" {
                assert_eq!(said["key"], tls::key_of(GREEDY).to_string(), "{said}");
                return said["reason"].as_str().unwrap().to_owned();
            }
        }
    }
}

#[test]
fn a_key_has_so_many_connections_and_others_theirs() {
    let node = Node::new(&[]);
    let mut events = node.events();
    let mut clients: Vec<Client> = (0..512).map(|_| node.attached(GREEDY)).collect();
    assert_eq!(attach(&mut clients[0], Fid(7)), Said::Done, "it has its connection already");
    let mut more = node.client(GREEDY);
    assert_eq!(attach(&mut more, ROOT), EUSERS);
    assert_eq!(events.refusal(), "this key has 512 connections, as many as a key may have");
    node.attached(MODEST);
    drop(clients.pop());
    wait_for("a connection to be free", || (attach(&mut node.client(GREEDY), ROOT) == Said::Done).then_some(()));
}

#[test]
fn a_key_makes_so_many_channels_and_others_theirs() {
    let node = Node::new(&["--max-channels", "8"]);
    let mut events = node.events();
    let (mut one, mut other) = (node.attached(GREEDY), node.attached(GREEDY));
    for (client, fid, name) in [(&mut one, 10, "a"), (&mut other, 10, "b")] {
        assert_eq!(create(client, fid, name), Said::Done);
    }
    assert_eq!(create(&mut one, 11, "c"), Said::Done);
    let mkdir = |name| Request::Mkdir { dfid: ROOT, name, mode: 0o700, gid: 0 };
    assert_eq!(one.ask(&mkdir("dir")), Said::Done);
    assert_eq!(create(&mut other, 20, "more"), ENOSPC);
    assert_eq!(events.refusal(), "this key has 4 channels and directories, as many as a key may have");
    assert_eq!(one.ask(&mkdir("more")), ENOSPC);
    assert_eq!(create(&mut node.attached(MODEST), 10, "modest"), Said::Done);
    node.0.run("touch p/owners");
    // Whoever removes it gives it back to who made it, once nobody has it open.
    node.0.run("rmdir p/dir");
    assert_eq!(create(&mut other, 21, "again"), Said::Done);
}

#[test]
fn a_key_has_so_much_open_and_others_theirs() {
    let node = Node::new(&["--max-opens", "8"]);
    node.0.run("touch p/jobs");
    let mut events = node.events();
    let mut greedy = node.attached(GREEDY);
    let opened: Vec<Fid> = (10..14).map(|fid| greedy.opened(fid, ["jobs", "."][fid as usize % 2], READ)).collect();
    assert_eq!((greedy.walk(20, "jobs"), greedy.open(20, READ)), (Said::Done, EMFILE));
    assert_eq!(events.refusal(), "this key has 4 descriptors, as many as a key may have");
    let mut modest = node.attached(MODEST);
    let queue = modest.opened(10, "jobs", WRITE);
    assert_eq!(modest.write(queue, "hello"), Said::Wrote(5));
    assert_eq!(greedy.clunk(opened[1]), Said::Done);
    assert_eq!(greedy.open(20, READ | NONBLOCK), Said::Done);
    assert_eq!(greedy.read(Fid(20)), data("hello"));
}

#[test]
fn a_key_has_so_many_bytes_on_their_way_and_others_theirs() {
    let node = Node::new(&["--max-bytes", "100000"]);
    node.0.run("touch p/a p/b p/c p/modest");
    let mut events = node.events();
    let (mut one, mut other) = (node.attached(GREEDY), node.attached(GREEDY));
    let message = "x".repeat(20_000);
    for (client, name) in [(&mut one, "a"), (&mut other, "b")] {
        let queue = client.opened(10, name, WRITE);
        assert_eq!(client.write(queue, &message), Said::Wrote(20_000));
    }
    let queue = one.opened(11, "c", WRITE);
    assert_eq!(one.write(queue, &message), ENOSPC);
    let refusal = events.refusal();
    assert!(refusal.starts_with("there is no room for more of this key's messages: 40000 bytes"), "{refusal}");
    let mut modest = node.attached(MODEST);
    let fid = modest.opened(10, "modest", WRITE);
    assert_eq!(modest.write(fid, &message), Said::Wrote(20_000));
    node.0.run("fs9 recv p/a >/dev/null");
    assert_eq!(one.write(queue, &message), Said::Wrote(20_000));
}
