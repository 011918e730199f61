//! The other process of a channel, as the tests need it.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::env;
use std::fs::File;
use std::io::{ErrorKind, stdin, stdout};
use std::process::Command;

use fs9_tests::hostile;
use fs9_tests::tiers::{Duplex, HEAD, admitted, echo, length, me, note, number_of, obey, wait_blocked};
use fs9_tiers::Peer;
use fs9_tiers::file;
use fs9_tiers::process::{self, connect, inherited, listen};
use fs9_tiers::remote::{self, Descriptors};

fn main() {
    let args: Vec<String> = env::args().collect();
    let args: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    match args[..] {
        ["obey", "inherited"] => obey(inherited().unwrap(), stdin(), stdout()),
        ["obey", "connect", name] => obey(connect(name, &[me()]).unwrap(), stdin(), stdout()),
        ["obey", "listen", address] => {
            let listener = remote::listen(address).unwrap();
            println!("{}", listener.address());
            obey(listener.accept().unwrap(), stdin(), stdout());
        }
        ["obey", "dial", address] => obey(remote::dial(address).unwrap(), stdin(), stdout()),
        ["obey", "pipes", from, to] => {
            let input = File::open(from).unwrap();
            let mut once = Some(Descriptors::new(input, File::options().write(true).open(to).unwrap()).unwrap());
            let connect = move || once.take().ok_or(ErrorKind::NotConnected.into());
            obey(remote::over(connect).unwrap(), stdin(), stdout());
        }
        ["obey", "file", path] => obey(file::open(path).unwrap(), stdin(), stdout()),
        ["connect", name, allowed] => tell(connect(name, &[allowed.parse().unwrap()])),
        ["listen", name, allowed] => {
            let listener = listen(name, &[allowed.parse().unwrap()]).unwrap();
            println!("listening");
            tell(listener.accept());
        }
        ["send", ref watch @ ..] => send(watch),
        ["receive", ref watch @ ..] => receive(watch),
        ["echo", ref watch @ ..] => answer(watch),
        ["standard"] => answer_on_standard(),
        ["upper"] => upper(),
        ["hand"] => hand_back(),
        ["pass"] => pass_on(),
        ["parent"] => parent(),
        ["orphan"] => orphan(),
        ["hostile", "connect", name, seed] => hostile::connect_to(name, seed.parse().unwrap()),
        ["hostile", "listen", name, seed] => hostile::listen_at(name, seed.parse().unwrap()),
        ["hostile", "flip", name, _] => hostile::flip(name),
        ref other => panic!("{other:?} is no party"),
    }
}

/// Says how opening an end went, and keeps it until there is no more input.
fn tell(opened: std::io::Result<Duplex>) {
    match &opened {
        Ok(end) => println!("open to user {}", end.credentials().unwrap().uid),
        Err(error) => println!("{:?}", error.kind()),
    }
    std::io::copy(&mut stdin(), &mut std::io::sink()).unwrap();
}

/// Waits until the thread `watch` sleeps, where one is named: it is to be woken.
fn watch_over(watch: &[&str]) {
    if let [pid, tid] = watch {
        wait_blocked(pid.parse().unwrap(), tid.parse().unwrap());
    }
}

/// Sends for ever.
fn send(watch: &[&str]) {
    let end: Duplex = inherited().unwrap();
    for number in 0.. {
        watch_over(watch);
        end.send(note(number, length(number))).unwrap();
    }
}

/// Receives for ever.
fn receive(watch: &[&str]) {
    let end: Duplex = inherited().unwrap();
    for number in 0.. {
        watch_over(watch);
        assert_eq!(number_of(&end.recv().unwrap()), number);
    }
}

/// Sends bytes back in capital letters, and has something to say about it.
fn upper() {
    let end: Peer<Vec<u8>, Vec<u8>> = inherited().unwrap();
    println!("here I am");
    for message in end.iter() {
        if end.send(message.to_ascii_uppercase()).is_err() {
            break;
        }
    }
    eprintln!("that was all");
}

/// Sends everything back.
fn answer(watch: &[&str]) {
    let end: Duplex = inherited().unwrap();
    if watch.is_empty() {
        echo(end.sender(), end.receiver());
        return;
    }
    loop {
        let message = end.recv().unwrap();
        watch_over(watch);
        end.send(message).unwrap();
    }
}

/// Sends back what comes over its standard input, and ends without a goodbye when that is nothing.
fn answer_on_standard() {
    let end = admitted(Descriptors::standard().unwrap());
    for message in end.iter() {
        if message.is_empty() {
            std::process::exit(0);
        }
        end.send(message).unwrap();
    }
}

/// Takes the end of another channel, answers on it, and hands it back, again and again.
fn hand_back() {
    let carrier: Duplex = inherited().unwrap();
    loop {
        let (message, mut capabilities) = carrier.recv_with().unwrap();
        let end: Duplex = capabilities.remove(0).claim().unwrap();
        end.send(end.recv().unwrap()).unwrap();
        carrier.send_with(message, vec![end.into()]).unwrap();
    }
}

/// Gets two ends, hands the second over through the first, and ends.
fn pass_on() {
    let carrier: Duplex = inherited().unwrap();
    let (_, capabilities) = carrier.recv_with().unwrap();
    let [next, end] = capabilities.try_into().unwrap();
    let (next, end): (Duplex, Duplex) = (next.claim().unwrap(), end.claim().unwrap());
    next.send_with(note(0, HEAD), vec![end.into()]).unwrap();
}

/// Starts an orphan to be, and waits.
fn parent() {
    let (end, _child): (Duplex, _) = process::spawn(peer_beside(&["orphan"])).unwrap();
    let _ = end.recv();
}

/// This program with other arguments.
fn peer_beside(args: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(args);
    command
}

/// Tells why its parent went.
fn orphan() {
    let end: Duplex = inherited().unwrap();
    println!("ready {}", std::process::id());
    println!("{}", end.recv().unwrap_err().reason().unwrap());
}
