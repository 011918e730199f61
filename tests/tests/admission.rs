//! How somebody comes with a key, frame by frame: what may be shown in files of Tauth, and what is said at once.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Request, Tag};
use fs9_tests::keyed::Node;
use fs9_tests::ninep::{Client, READ, ROOT, Said, data};
use fs9_tests::{stdout, tls};

const EBADF: Said = Said::Failed(9);
const EACCES: Said = Said::Failed(13);
const EMSGSIZE: Said = Said::Failed(90);

/// A node that has granted something to the key of clients.
fn node() -> Node {
    let node = Node::new();
    node.sh("touch jobs");
    let (path, key) = (node.path("jobs").display().to_string(), tls::key_of(7).to_string());
    stdout(node.run(&["grant", &path, "--to", &key, "--read", "--for", "1h"]));
    node
}

/// A client that has said nothing.
fn client(node: &Node) -> Client {
    Client::new(Box::new(tls::connect(node.port(), 7)), Dialect::Linux)
}

fn attach(afid: Fid) -> Request<'static> {
    Request::Attach { fid: ROOT, afid, uname: "", aname: "", uid: Some(0) }
}

fn auth(client: &mut Client, afid: Fid) -> Said {
    client.ask(&Request::Auth { afid, uname: "", aname: "", uid: Some(0) })
}

fn show(client: &mut Client, fid: u32, len: usize) -> Said {
    client.ask(&Request::Write { fid: Fid(fid), offset: 0, data: &vec![b'x'; len] })
}

#[test]
fn a_client_has_four_files_to_show_something_in() {
    let node = node();
    let mut client = client(&node).greeted();
    assert!((1..=4).all(|fid| auth(&mut client, Fid(fid)) == Said::Done));
    assert_eq!(auth(&mut client, Fid(5)), EBADF);
    assert_eq!((client.clunk(Fid(4)), client.clunk(Fid(4))), (Said::Done, EBADF));
    assert_eq!(auth(&mut client, Fid(1)), EBADF, "it is in use");
    assert_eq!(client.ask(&attach(NO_FID)), Said::Done);
    assert_eq!(auth(&mut client, ROOT), EBADF, "so is this");
    assert_eq!(auth(&mut client, Fid(5)), Said::Done);
    node.check();
}

#[test]
fn what_is_shown_has_16_kib_in_all_and_serves_once() {
    let node = node();
    let mut client = client(&node).greeted();
    assert!([1, 2].iter().all(|fid| auth(&mut client, Fid(*fid)) == Said::Done));
    assert!([1, 2, 1, 2].iter().all(|fid| show(&mut client, *fid, 4096) == Said::Wrote(4096)));
    assert_eq!(show(&mut client, 1, 1), EMSGSIZE);
    assert_eq!(show(&mut client, 1, 8000), EMSGSIZE);
    assert_eq!((client.ask(&attach(Fid(1))), client.ask(&attach(Fid(1)))), (EACCES, EBADF));
    assert_eq!(show(&mut client, 2, 8192), Said::Wrote(8192), "there is room again");
    node.check();
}

#[test]
fn what_is_said_at_once_is_answered() {
    let node = node();
    let mut client = client(&node);
    let version = Request::Version { msize: 1 << 16, version: Dialect::Linux.version() };
    let mut said = Vec::new();
    version.emit(Dialect::Linux, NO_TAG, &mut said);
    attach(NO_FID).emit(Dialect::Linux, Tag(1), &mut said);
    client.raw(&said).unwrap();
    assert_eq!((client.hear(NO_TAG), client.hear(Tag(1))), (Said::Done, Said::Done));
    node.check();
}

#[test]
fn what_is_open_stays_open_where_its_owner_moves_it() {
    let node = node();
    let mut client = client(&node).attached();
    let jobs = client.opened(1, "jobs", READ);
    node.sh("mv jobs elsewhere; printf hello > elsewhere");
    assert_eq!(client.read(jobs), data("hello"));
    assert_eq!(client.walk(2, "elsewhere"), EACCES);
    node.check();
}
