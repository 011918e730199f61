//! diod's clients, which speak 9P2000.L over TCP.

use fs9_tests::waiter::{Waiter, wait_all_released, wait_waiting};
use fs9_tests::{stdout, wait_for};

use crate::Served;

/// `PROGRAM -s 127.0.0.1:PORT -a / ARGS...`, one of diod's clients, not yet started.
fn diod(served: &Served, program: &str, args: &[&str]) -> std::process::Command {
    let mut command = served.mount.command(program, &["-s", &format!("127.0.0.1:{}", served.port()), "-a", "/"]);
    command.args(args);
    command
}

/// What it printed in the end.
fn said(served: &Served, program: &str, args: &[&str]) -> String {
    stdout(diod(served, program, args).output().unwrap())
}

#[test]
fn diodls_lists_the_tree() {
    let served = Served::new();
    let names = said(&served, "diodls", &["/"]);
    let mut names: Vec<&str> = names.lines().filter(|name| !name.starts_with('.')).collect();
    names.sort();
    assert_eq!(names, served.names());
    assert_eq!(said(&served, "diodls", &["below"]).lines().filter(|name| !name.starts_with('.')).count(), 1);
}

#[test]
fn diodls_shows_modes_owners_and_sizes() {
    let served = Served::new();
    served.mount.run("chmod 640 p/jobs; chown fs9-tester p/jobs");
    let long = said(&served, "diodls", &["-l", "/"]);
    let line = |name: &str| {
        let found = long.lines().find(|line| line.ends_with(&format!(" {name}")));
        found.unwrap_or_else(|| panic!("no {name} in {long}")).split_whitespace().take(5).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("jobs"), "-rw-r-----. 1 fs9-tester root 0");
    assert!(line("talk").starts_with("drwx"), "{long}");
}

#[test]
fn diodcat_prints_what_a_channel_holds_and_ends() {
    let served = Served::new();
    let text =
        served.mount.run("seq 40000 | tee numbers | dd bs=1M iflag=fullblock of=p/jobs status=none; cat numbers");
    assert_eq!(said(&served, "diodcat", &["jobs:whole"]), text);
    wait_all_released(&served.mount);
    served.mount.assert_ledgers_balance();
}

#[test]
fn diodcat_prints_messages_as_they_come_until_the_channel_is_removed() {
    let served = Served::new();
    let mut cat = Waiter::of(&mut diod(&served, "diodcat", &["jobs"]));
    for word in ["one", "two", "three"] {
        wait_waiting(&served.mount, 1);
        served.mount.run(&format!("echo {word} > p/jobs"));
        served.mount.wait_figure("jobs", "slot", 0);
    }
    wait_waiting(&served.mount, 1);
    served.mount.run("rm p/jobs");
    assert_eq!(cat.said(), "one\ntwo\nthree");
    assert!(cat.status().success());
    wait_all_released(&served.mount);
}

#[test]
fn one_diodcat_receives_hundreds_of_messages_in_order_and_hundreds_of_them_one_each() {
    const MESSAGES: usize = 500;
    const CLIENTS: usize = 200;
    let served = Served::new();
    let cat = Waiter::of(&mut diod(&served, "diodcat", &["jobs"]));
    served.mount.run(&format!("for i in $(seq {MESSAGES}); do echo message $i; done > p/jobs:line"));
    wait_waiting(&served.mount, 1); // the last is read, and it waits for another
    served.mount.run("rm p/jobs; touch p/jobs");
    let all: Vec<String> = (1..=MESSAGES).map(|number| format!("message {number}")).collect();
    assert_eq!({ cat }.said(), all.join("\n"));
    for number in 0..CLIENTS {
        let text = format!("for client {number}\n").repeat(1 + number);
        std::fs::write(served.mount.path("jobs"), &text).unwrap();
        assert_eq!(said(&served, "diodcat", &["jobs:whole"]), text);
    }
    wait_all_released(&served.mount);
    wait_for("every session to be over", || {
        served.mount.status()["sessions"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(served.mount.figure("jobs", "sent"), CLIENTS as u64);
    served.mount.assert_ledgers_balance();
}

#[test]
fn diodcat_of_a_pair_ends_when_the_other_end_hangs_up() {
    let served = Served::new();
    let cat = Waiter::of(&mut diod(&served, "diodcat", &["talk/a"]));
    served.mount.run("exec 3>p/talk/b; echo one >&3; echo two >&3");
    assert_eq!({ cat }.said(), "one\ntwo");
    wait_all_released(&served.mount);
}

#[test]
fn diodcat_killed_while_it_waits_takes_nothing_along() {
    let served = Served::new();
    let cat = Waiter::of(&mut diod(&served, "diodcat", &["jobs"]));
    wait_waiting(&served.mount, 1);
    cat.killed();
    wait_all_released(&served.mount);
    assert_eq!(served.mount.run("echo next > p/jobs; cat p/jobs:whole"), "next\n");
    served.mount.assert_ledgers_balance();
}

#[test]
fn diodcat_names_the_error() {
    let served = Served::new();
    let output = diod(&served, "diodcat", &["nosuch"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "diodcat: open nosuch: No such file or directory\n");
}
