//! The crate ninep, which speaks 9P2000 over a Unix socket, or TCP.

use std::thread;

use fs9_tests::waiter::{wait_all_released, wait_waiting};
use ninep::sync::client::Client;

use crate::Served;

fn over_unix(served: &Served) -> Client {
    Client::new_unix_with_explicit_path("root", served.socket(), "").unwrap()
}

fn over_tcp(served: &Served) -> Client {
    Client::new_tcp("root", format!("127.0.0.1:{}", served.port()), "").unwrap()
}

#[test]
fn lists_the_tree() {
    let served = Served::new();
    for client in [over_unix(&served), over_tcp(&served)] {
        let mut names: Vec<String> = client.read_dir("/").unwrap().into_iter().map(|stat| stat.name).collect();
        names.sort();
        assert_eq!(names, served.names());
    }
}

#[test]
fn receives_and_sends_messages_in_one_connection() {
    let served = Served::new();
    let client = over_tcp(&served);
    for word in ["one", "two"] {
        served.mount.run(&format!("printf {word} > p/jobs"));
        assert_eq!(client.read_from("jobs", 0, 4096).unwrap(), word.as_bytes());
        client.clunk_path("jobs").unwrap();
        assert_eq!(client.write_str("below/deep", 0, word).unwrap(), word.len());
        client.clunk_path("below/deep").unwrap();
        assert_eq!(served.mount.run("cat p/below/deep:whole"), word);
    }
    wait_all_released(&served.mount);
    served.mount.assert_ledgers_balance();
}

#[test]
fn reads_a_whole_long_message() {
    let served = Served::new();
    let text =
        served.mount.run("seq 40000 | tee numbers | dd bs=1M iflag=fullblock of=p/jobs status=none; cat numbers");
    assert_eq!(over_unix(&served).read_str("jobs:whole").unwrap(), text);
}

#[test]
fn a_read_that_waits_holds_up_no_other_connection() {
    let served = Served::new();
    let waiting = over_unix(&served);
    let reader = thread::spawn(move || waiting.read_from("jobs", 0, 4096).unwrap());
    wait_waiting(&served.mount, 1);
    let client = over_unix(&served);
    assert_eq!(client.stat("jobs").unwrap().name, "jobs");
    assert_eq!(client.write_str("jobs", 0, "for the other").unwrap(), 13);
    assert_eq!(reader.join().unwrap(), b"for the other");
}

#[test]
fn a_connection_that_is_dropped_leaves_nothing_open() {
    let served = Served::new();
    let client = over_unix(&served);
    served.mount.run("printf one > p/jobs");
    assert_eq!(client.read_from("jobs", 0, 4096).unwrap(), b"one");
    drop(client);
    wait_all_released(&served.mount);
    assert_eq!(served.mount.figure("jobs", "sent"), 1);
    served.mount.assert_ledgers_balance();
}

#[test]
fn a_name_that_is_not_there_is_an_error_and_the_connection_goes_on() {
    let served = Served::new();
    let client = over_unix(&served);
    assert!(client.stat("nosuch").is_err());
    assert_eq!(client.stat("talk/a").unwrap().name, "a");
}
