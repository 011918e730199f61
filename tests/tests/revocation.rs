//! What was granted is taken back at the worst moment: in the middle of a message, and while the link is away.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::{Read, Write};
use std::thread;

use fs9_proto::{Dialect, Request};
use fs9_tests::keyed::{Node, errno, open, waiting_reader, waits};
use fs9_tests::ninep::{Client, Said, WRITE};
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::waiter::wait_all_released;
use fs9_tests::{fs9, stdout, tls, wait_for};

const EAGAIN: i32 = 11;
const EKEYREVOKED: i32 = 128;

#[test]
fn a_message_that_is_half_read_is_read_no_further() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs; fs9 new --ack kept");
    let grant = alpha.grant(&["jobs", "kept"], &beta, "--read --for 1h");
    beta.attached(&alpha, &[]);
    let mut halves = ["jobs", "kept"].map(|name| {
        fs::write(alpha.path(name), "whole message").unwrap();
        let mut file = open(&beta.far(name), true, false).unwrap();
        let mut half = [0; 5];
        assert_eq!(file.read(&mut half).unwrap(), 5);
        file
    });
    alpha.revoke(&grant);
    for half in &mut halves {
        assert_eq!(errno(half.read(&mut [0; 20])), EKEYREVOKED);
    }
    wait_all_released(&alpha.mount);
    // As after any close: where it had to be acknowledged it is the next reader's, all of it.
    assert_eq!(fs::read(alpha.path("kept:whole")).unwrap(), b"whole message");
    alpha.mount.assert_ledgers_balance();
    alpha.check();
}

#[test]
fn what_is_written_in_parts_is_not_sent_in_part() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs lines");
    let grant = alpha.grant(&["jobs", "lines"], &beta, "--write --for 1h");
    beta.attached(&alpha, &[]);
    let mut files = ["jobs:whole", "lines:line"].map(|name| {
        let mut file = open(&beta.far(name), false, true).unwrap();
        file.write_all(b"first part, ").unwrap();
        file
    });
    alpha.revoke(&grant);
    for file in &mut files {
        assert_eq!(errno(file.write(b"second part\n")), EKEYREVOKED);
    }
    drop(files);
    wait_all_released(&alpha.mount);
    for name in ["jobs", "lines"] {
        let nothing = fs9_tests::file::Fd::open(alpha.path(name), rustix::fs::OFlags::NONBLOCK).unwrap().read(99);
        assert_eq!(nothing.unwrap_err().raw_os_error(), EAGAIN, "{name}");
    }
    alpha.mount.assert_ledgers_balance();
    alpha.check();
}

/// A client whose frames are short cuts a long write(2) into several messages: those that were sent are whole, and no
/// more come.
#[test]
fn of_a_long_write_in_pieces_whole_ones_arrive_and_no_more() {
    let alpha = Node::new();
    alpha.sh("touch jobs");
    let (dir, key) = (alpha.path("jobs").display().to_string(), tls::key_of(7).to_string());
    let grant = alpha.run(&["grant", &dir, "--to", &key, "--write", "--for", "1h"]);
    let grant = stdout(grant).trim_end().to_owned();
    let port = alpha.port();
    let mut client = Client::new(Box::new(tls::connect(port, 7)), Dialect::Linux).attached();
    let jobs = client.opened(1, "jobs", WRITE);
    let piece = |byte: u8| vec![byte; 100_000];
    assert_eq!(client.ask(&Request::Write { fid: jobs, offset: 0, data: &piece(b'1') }), Said::Wrote(100_000));
    let second = client.begin_write(7, jobs, &piece(b'2'));
    alpha.mount.wait_channel("jobs", "a writer", |channel| waits(channel, "write"));
    alpha.revoke(&grant);
    assert_eq!(client.hear(second), Said::Failed(EKEYREVOKED as u32));
    let third = client.ask(&Request::Write { fid: jobs, offset: 200_000, data: &piece(b'3') });
    assert_eq!(third, Said::Failed(EKEYREVOKED as u32));
    assert!(fs::read(alpha.path("jobs:whole")).unwrap() == piece(b'1'));
    wait_all_released(&alpha.mount);
    alpha.mount.assert_ledgers_balance();
    alpha.check();
}

#[test]
fn what_is_taken_back_while_the_link_is_away_is_told_when_it_is_back() {
    let (alpha, beta) = (Node::new(), Node::new());
    alpha.sh("touch jobs full logs; echo first > full");
    let grant = alpha.grant(&["jobs", "full"], &beta, "--read --write --for 1h");
    alpha.grant(&["logs"], &beta, "--read --for 1h");
    let proxy = Proxy::before(&alpha.address.replace("tls:", "tcp:"), Fault::None, 1);
    let (path, address) = (beta.path("n/far"), proxy.address().replace("tcp:", "tls:"));
    stdout(fs9(&["attach", path.to_str().unwrap(), &address, "--accept-new"]).output().unwrap());
    let reader = waiting_reader(&alpha, beta.far("jobs"), "jobs");
    let kept = waiting_reader(&alpha, beta.far("logs"), "logs");
    let full = beta.far("full");
    let writer = thread::spawn(move || open(&full, false, true)?.write(b"second"));
    alpha.mount.wait_channel("full", "a writer", |channel| waits(channel, "write"));
    let mut idle = open(&beta.far("jobs"), false, true).unwrap();

    proxy.shut();
    wait_for("the link to be gone", || (beta.mount.status()["nodes"][0]["state"] != "up").then_some(()));
    alpha.revoke(&grant);
    // At the node itself it ends at once.
    alpha.mount.wait_channel("jobs", "nobody", |channel| channel["holders"].as_array().is_none_or(Vec::is_empty));
    assert!(!reader.is_finished() && !writer.is_finished());
    proxy.open();
    assert_eq!(errno(reader.join().unwrap()), EKEYREVOKED);
    assert_eq!(errno(writer.join().unwrap()), EKEYREVOKED);
    assert_eq!(errno(idle.write(b"late")), EKEYREVOKED);
    // What was granted apart from it has not noticed anything.
    fs::write(alpha.path("logs"), "line").unwrap();
    assert_eq!(kept.join().unwrap().unwrap(), b"line");
    assert_eq!(fs::read(alpha.path("full:whole")).unwrap(), b"first\n");
    alpha.check();
}
