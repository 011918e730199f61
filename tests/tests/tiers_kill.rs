//! Whoever is killed, wherever it stands: the other end receives what was sent, learns why there is no more, and
//! nothing of it is left.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs9_tests::process::{Running, signal, state};
use fs9_tests::tiers::{
    Alone, Duplex, Far, HEAD, PATIENCE, Random, Tier, fresh_name, length, me, note, number_of, peer, peer_program, tid,
    wait_idle, within,
};
use fs9_tests::user::{Home, NAME};
use fs9_tests::wait_for;
use fs9_tiers::error::{Reason, RecvTimeoutError, SendTimeoutError};
use fs9_tiers::process::{self, Child};
use fs9_tiers::{Capability, Peer};
use rustix::process::Signal;

const KILLED: Reason = Reason::Killed(9);

/// How often somebody is killed at each place, at least.
const TIMES: u32 = 200;

/// What the victim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Sends,
    Receives,
    Echoes,
}

use Role::{Echoes, Receives, Sends};

/// Who has to wait until the other sleeps so that the place is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nobody,
    Survivor,
    Victim,
}

/// Where a victim that sends and receives can be killed.
const PLACES: [(&str, &[Role], Waits); 6] = [
    ("slot: said to be asleep", &[Sends, Receives, Echoes], Waits::Survivor),
    ("slot: shown", &[Sends, Receives, Echoes], Waits::Nobody),
    ("slot: woken", &[Sends, Receives, Echoes], Waits::Victim),
    ("slot: about to show", &[Sends, Receives, Echoes], Waits::Nobody),
    ("link: message written", &[Sends, Echoes], Waits::Nobody),
    ("link: message read", &[Receives, Echoes], Waits::Nobody),
];

/// Where one that hands an end over can be killed besides.
const HAND_OVER_PLACES: [&str; 2] = ["link: ends detached", "link: ends sent"];

#[test]
fn every_failure_point_of_the_source_is_one_where_somebody_is_killed() {
    let _alone = Alone::new();
    let mut found = BTreeSet::new();
    find_steps(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tiers/src"), &mut found);
    let known = PLACES.iter().map(|(place, ..)| *place).chain(HAND_OVER_PLACES).map(str::to_owned).collect();
    assert_eq!(found, known);
}

fn find_steps(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find_steps(&path, found);
        } else {
            let source = fs::read_to_string(&path).unwrap();
            let calls = source.split("step(\"").skip(1);
            found.extend(calls.map(|rest| rest.split_once('"').unwrap().0.to_owned()));
        }
    }
}

/// A victim that dies at `place` when it comes there for the `time`-th time.
fn victim(args: &[&str], place: &str, time: u32) -> (Duplex, Child) {
    let mut command = peer(args);
    command.env("FS9_DIE_AT", format!("{place}:{time}")).stdin(Stdio::null());
    process::spawn(command).unwrap()
}

/// Has victims killed at a place in every role that passes it.
fn kill_at(place: &'static str) {
    let alone = Alone::new();
    let (_, roles, waits) = *PLACES.iter().find(|(known, ..)| *known == place).unwrap();
    for trial in 0..TIMES.next_multiple_of(roles.len() as u32) {
        let (role, time) = (roles[trial as usize % roles.len()], 1 + trial / roles.len() as u32 % 13);
        within(PATIENCE * 3, move || kill_once(role, place, time, waits));
    }
    alone.assert_nothing_left();
}

fn kill_once(role: Role, place: &str, time: u32, waits: Waits) {
    let verb = match role {
        Sends => "send",
        Receives => "receive",
        Echoes => "echo",
    };
    let (pid, tid) = (std::process::id().to_string(), tid().to_string());
    let args = if waits == Waits::Victim { vec![verb, &pid, &tid] } else { vec![verb] };
    let (end, mut child) = victim(&args, place, time);
    let pause = || {
        if waits == Waits::Survivor {
            wait_idle(child.id());
        }
    };
    let (sent, received) = survive(&end, role, pause);
    let time = u64::from(time);
    let case = format!("{role:?} {place} {time}: sent {sent}, received {received}");
    match (role, place) {
        // The one store commits: all before it are there, and the one after it is not.
        (Sends, "link: message written" | "slot: about to show") => assert_eq!(received, time - 1, "{case}"),
        (Sends, "slot: shown") => assert_eq!(received, time, "{case}"),
        (Sends, "slot: woken") => assert!(received >= time, "{case}"),
        (Sends, _) => assert!(received >= 1, "{case}"),
        // The survivor's last send went into the slot that the victim held, or had just freed.
        (Receives, "slot: about to show") => assert_eq!(sent, time, "{case}"),
        // A long message is taken, as far as its sender sees, before it is read.
        (Receives, "link: message read" | "slot: shown") => assert!((time..=time + 1).contains(&sent), "{case}"),
        (Receives, _) => assert!(sent >= 1 || place == "slot: said to be asleep", "{case}"),
        (Echoes, _) => assert!(sent == received || sent == received + 1, "{case}"),
    }
    assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)), "{case}");
    let next = end.send_timeout(note(0, HEAD), PATIENCE);
    assert!(matches!(next, Err(SendTimeoutError::Disconnected(_, KILLED))), "{case}: {next:?}");
    assert_eq!(child.wait().unwrap(), KILLED, "{case}");
}

/// Goes on until the other end is gone; returns how many messages were sent and received.
fn survive(end: &Duplex, role: Role, pause: impl Fn()) -> (u64, u64) {
    let (mut sent, mut received) = (0, 0);
    loop {
        if role != Sends {
            pause();
            match end.send_timeout(note(sent, length(sent)), PATIENCE) {
                Ok(()) => sent += 1,
                Err(SendTimeoutError::Disconnected(back, reason)) => {
                    assert_eq!((number_of(&back), reason), (sent, KILLED));
                    return (sent, received);
                }
                Err(error) => panic!("{error}"),
            }
        }
        if role != Receives {
            pause();
            match end.recv_timeout(PATIENCE) {
                Ok(note) => {
                    assert_eq!((number_of(&note), note.len()), (received, length(received)));
                    received += 1;
                }
                Err(error) => {
                    assert_eq!(error, RecvTimeoutError::Disconnected(KILLED));
                    return (sent, received);
                }
            }
        }
    }
}

#[test]
fn killed_when_it_has_just_said_that_it_sleeps() {
    kill_at("slot: said to be asleep");
}

#[test]
fn killed_when_the_count_was_just_shown() {
    kill_at("slot: shown");
}

#[test]
fn killed_when_the_other_was_just_woken() {
    kill_at("slot: woken");
}

#[test]
fn killed_just_before_the_count_is_shown() {
    kill_at("slot: about to show");
}

#[test]
fn killed_when_a_message_was_just_written() {
    kill_at("link: message written");
}

#[test]
fn killed_when_a_message_was_just_read() {
    kill_at("link: message read");
}

#[test]
fn killed_from_outside_at_any_moment() {
    let _alone = Alone::new();
    let mut random = Random(7);
    for _ in 0..TIMES {
        let (rounds, delay) = (random.below(60) as u64, random.below(30_000));
        within(PATIENCE * 3, move || {
            let (end, mut child) = process::spawn(peer(&["echo"])).unwrap();
            let end: Duplex = end;
            for number in 0..rounds {
                end.send(note(number, length(number))).unwrap();
                assert_eq!(number_of(&end.recv_timeout(PATIENCE).unwrap()), number);
            }
            let pid = child.id();
            let killer = thread::spawn(move || {
                (0..delay).for_each(|_| std::hint::spin_loop());
                signal(pid, Signal::KILL);
            });
            let (sent, received) = survive_from(&end, rounds);
            assert!(sent == received || sent == received + 1, "sent {sent}, received {received}");
            killer.join().unwrap();
            assert_eq!(child.wait().unwrap(), KILLED);
        });
    }
}

#[test]
fn who_was_told_of_a_death_by_one_half_is_told_by_the_other() {
    let _alone = Alone::new();
    for trial in 0..TIMES {
        within(PATIENCE * 3, move || {
            let (end, child) = victim(&["receive"], "link: message read", 1 + trial % 13);
            survive(&end, Receives, || {});
            assert_eq!((end.reason(), end.sender().reason()), (Some(KILLED), Some(KILLED)));
            drop(child);
        });
    }
}

/// Ping-pong until the other end is gone.
fn survive_from(end: &Duplex, first: u64) -> (u64, u64) {
    let mut number = first;
    loop {
        match end.send_timeout(note(number, length(number)), PATIENCE) {
            Ok(()) => {}
            Err(SendTimeoutError::Disconnected(_, KILLED)) => return (number, number),
            Err(error) => panic!("{error}"),
        }
        match end.recv_timeout(PATIENCE) {
            Ok(note) => assert_eq!(number_of(&note), number),
            Err(RecvTimeoutError::Disconnected(KILLED)) => return (number + 1, number),
            Err(error) => panic!("{error}"),
        }
        number += 1;
    }
}

#[test]
fn a_child_learns_that_its_parent_was_killed_and_ends() {
    let _alone = Alone::new();
    for _ in 0..20 {
        let mut parent = Running::piped(&mut peer(&["parent"]));
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let ready = lines.next().unwrap().unwrap();
        let pid: u32 = ready.strip_prefix("ready ").unwrap().parse().unwrap();
        parent.signal(Signal::KILL);
        // Both have the pipe: it ends when both have ended.
        assert_eq!(within(PATIENCE, move || lines.map(Result::unwrap).collect::<Vec<_>>()), ["killed 9"]);
        wait_for("the orphan to be gone", || matches!(state(pid), None | Some('Z')).then_some(()));
    }
}

#[test]
fn who_is_stopped_is_not_gone() {
    let _alone = Alone::new();
    let (end, child) = process::spawn(peer(&["echo"])).unwrap();
    let end: Duplex = end;
    for number in [0, 1, 2] {
        signal(child.id(), Signal::STOP);
        wait_for("it to stop", || (state(child.id()) == Some('T')).then_some(()));
        end.send(note(number, HEAD)).unwrap();
        assert_eq!(end.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout));
        assert_eq!((end.reason(), end.sender().reason()), (None, None));
        signal(child.id(), Signal::CONT);
        assert_eq!(number_of(&end.recv_timeout(PATIENCE).unwrap()), number);
    }
}

#[test]
fn an_exit_without_a_goodbye_tells_the_code() {
    let _alone = Alone::new();
    for code in [0, 3, 255] {
        let (end, mut far) = Tier::Spawned.open();
        assert_eq!(far.ask("send 1 5000"), "sent");
        far.start(&format!("exit {code}"));
        assert_eq!(number_of(&end.recv_timeout(PATIENCE).unwrap()), 1);
        let gone = Reason::Exited(code);
        assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(gone)));
        assert_eq!(end.sender().reason(), Some(gone));
        assert_eq!(far.child().wait().unwrap(), gone);
    }
    for tier in [Tier::Connected, Tier::Given] {
        let (end, mut far) = tier.open();
        far.start("exit 3");
        let gone = RecvTimeoutError::Disconnected(Reason::Exited(3));
        assert_eq!(end.recv_timeout(PATIENCE), Err(gone), "{tier:?}");
    }
}

#[test]
fn a_killed_end_of_every_kind_is_seen_to_be_killed() {
    let _alone = Alone::new();
    for tier in [Tier::Spawned, Tier::Connected, Tier::Given] {
        let (end, mut far) = tier.open();
        assert_eq!(far.ask("send 1 24"), "sent");
        far.start("recv");
        signal(far.pid(), Signal::KILL);
        assert_eq!(number_of(&end.recv_timeout(PATIENCE).unwrap()), 1);
        assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)), "{tier:?}");
    }
}

#[test]
fn a_child_that_does_not_want_to_end_is_killed_and_reaped() {
    let _alone = Alone::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM HUP INT; echo ready; while :; do :; done"]).stdout(Stdio::piped());
    let (end, mut child) = process::spawn::<u8, u8>(command).unwrap();
    let mut lines = BufReader::new(child.take_stdout().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = child.id();
    child.set_grace(Duration::from_millis(30));
    drop(child);
    assert_eq!(state(pid), None, "neither orphan nor zombie");
    assert_eq!(end.recv_timeout(PATIENCE).map_err(|error| error.reason().is_some()), Err(true));
}

#[test]
fn a_child_that_ends_when_it_is_hung_up_on_is_not_killed() {
    let _alone = Alone::new();
    let mut command = peer(&["orphan"]);
    command.stdout(Stdio::piped());
    let (end, mut child) = process::spawn::<Vec<u8>, Vec<u8>>(command).unwrap();
    let mut stdout = child.take_stdout().unwrap();
    child.set_grace(PATIENCE);
    drop(child);
    let mut told = String::new();
    stdout.read_to_string(&mut told).unwrap();
    assert!(told.ends_with("\nclosed\n"), "it learnt that we closed, and ended by itself: {told:?}");
    drop(end);
}

#[test]
fn the_name_of_a_killed_listener_is_free_and_that_of_a_live_one_is_not() {
    let _alone = Alone::new();
    for _ in 0..20 {
        let name = fresh_name();
        let mut far = Far::program(&mut peer(&["listen", &name, &me().to_string()]));
        assert_eq!(far.answer(), "listening");
        for _ in 0..3 {
            let error = process::listen(&name, &[me()]).expect_err("somebody listens");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        }
        let client: Duplex = process::connect_timeout(&name, &[me()], PATIENCE).unwrap();
        assert_eq!(far.answer(), format!("open to user {}", me()), "it was not displaced");
        far.kill();
        let listener = process::listen(&name, &[me()]).expect("the name is free at once");
        assert_eq!(client.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)));
        drop(listener);
        let error = process::connect::<u8, u8>(&name, &[me()]).expect_err("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

/// `fs9-peer` as the ordinary user.
fn as_user(home: &Home, args: &[&str]) -> Far {
    Far::program(&mut home.shell_as(NAME, &format!("exec ./fs9-peer {}", args.join(" "))))
}

#[test]
fn a_user_who_is_not_allowed_is_refused_by_either_side() {
    let _alone = Alone::new();
    let home = Home::new();
    fs::copy(peer_program(), home.path("").with_file_name("fs9-peer")).unwrap();
    let (root, user) = (me().to_string(), home.uid().to_string());

    let name = fresh_name();
    let strict = process::listen(&name, &[me()]).unwrap();
    let mut far = as_user(&home, &["connect", &name, &root]);
    let error = strict.accept_timeout::<u8, u8>(Duration::from_millis(300)).expect_err("not that one");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(far.answer(), "ConnectionRefused", "the listener does not take it");
    drop(strict);

    let open = process::listen(&name, &[me(), home.uid()]).unwrap();
    let mut far = as_user(&home, &["connect", &name, &user]);
    assert_eq!(far.answer(), "PermissionDenied", "it does not take the listener");
    let mut far = as_user(&home, &["connect", &name, &root]);
    // The one before, who has hung up, may be the first in the line.
    let end: Duplex = wait_for("the user to be let in", || {
        let end: Duplex = open.accept_timeout(PATIENCE).unwrap();
        end.reason().is_none().then_some(end)
    });
    assert_eq!((far.answer(), end.credentials().unwrap().uid), (format!("open to user {root}"), home.uid()));
    drop(open);

    let mut far = as_user(&home, &["listen", &name, &user]);
    assert_eq!(far.answer(), "listening");
    let error = process::connect_timeout::<u8, u8>(&name, &[me()], PATIENCE).expect_err("we do not take it");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    let error = process::connect_timeout::<u8, u8>(&name, &[home.uid()], PATIENCE).expect_err("it does not take us");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

/// An end goes to and fro between us and a giver who is killed in the middle.
fn kill_giver_at(place: &'static str) {
    let _alone = Alone::new();
    for trial in 0..TIMES {
        within(PATIENCE * 3, move || kill_giver_once(place, 1 + trial % 7));
    }
}

fn kill_giver_once(place: &str, time: u32) {
    let (carrier, mut child) = victim(&["hand"], place, time);
    let (far, end) = process::pair().unwrap();
    let (far, mut end): (Duplex, Duplex) = (far, end);
    let mut rounds = 0;
    loop {
        carrier.send_with(note(rounds, HEAD), vec![Capability::from(end)]).unwrap();
        far.send(note(rounds, length(rounds))).unwrap();
        assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), rounds, "the answer was sent before the hand-over");
        match carrier.recv_with() {
            Ok((message, mut capabilities)) => {
                assert_eq!((number_of(&message), capabilities.len()), (rounds, 1));
                end = capabilities.remove(0).claim().unwrap();
            }
            Err(error) => {
                assert_eq!(error.reason(), Some(KILLED));
                break;
            }
        }
        rounds += 1;
    }
    assert_eq!(rounds, u64::from(time) - 1);
    // The end died with the giver, or on its way: the carrier, which is still here, must not keep it alive.
    match far.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Disconnected(Reason::Closed | KILLED)) => {}
        other => panic!("{place} {time}: {other:?}"),
    }
    assert!(matches!(far.sender().reason(), Some(Reason::Closed | KILLED)));
    assert_eq!(child.wait().unwrap(), KILLED);
}

#[test]
fn a_giver_killed_when_the_ends_were_just_detached() {
    kill_giver_at("link: ends detached");
}

#[test]
fn a_giver_killed_when_the_ends_were_just_sent() {
    kill_giver_at("link: ends sent");
}

#[test]
fn a_claimant_that_is_killed_before_it_has_claimed() {
    let _alone = Alone::new();
    for received in [false, true].repeat(10) {
        within(PATIENCE * 3, move || {
            let (carrier, mut far) = Tier::Spawned.open();
            let (here, there) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
            carrier.send_with(note(1, HEAD), vec![Capability::from(there)]).unwrap();
            if received {
                assert_eq!(far.ask("recv-with"), "got 1 with 1");
            }
            far.child().kill().unwrap();
            match here.recv_timeout(PATIENCE) {
                Err(RecvTimeoutError::Disconnected(Reason::Closed | KILLED)) => {}
                other => panic!("received: {received}, {other:?}"),
            }
            assert_eq!(carrier.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)));
        });
    }
}

#[test]
fn a_claimant_that_is_killed_after_it_has_claimed() {
    let _alone = Alone::new();
    for _ in 0..20 {
        within(PATIENCE * 3, || {
            let (here, mut far) = Tier::Given.open();
            assert_eq!(far.ask("send 1 5000"), "sent");
            far.start_and_block("recv");
            far.child().kill().unwrap();
            assert_eq!(number_of(&here.recv_timeout(PATIENCE).unwrap()), 1);
            assert_eq!(here.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)));
        });
    }
}

#[test]
fn a_giver_that_ends_after_the_hand_over_is_not_the_end_of_the_channel() {
    let _alone = Alone::new();
    for _ in 0..20 {
        within(PATIENCE * 3, || {
            let (carrier, mut giver) = process::spawn::<Vec<u8>, Vec<u8>>(peer(&["pass"])).unwrap();
            let (last, mut far) = Tier::Spawned.open();
            let (giving, taking) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
            let (here, there) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();

            far.start("take");
            last.send_with(note(1, HEAD), vec![taking.into()]).unwrap();
            assert_eq!(far.answer(), "took 1");
            assert_eq!(far.ask("swap"), "swapped");
            carrier.send_with(note(2, HEAD), vec![giving.into(), there.into()]).unwrap();
            assert_eq!(giver.wait().unwrap(), Reason::Exited(0));
            assert_eq!((here.reason(), here.sender().reason()), (None, None), "the end is on its way");
            assert_eq!(here.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));

            assert_eq!(far.ask("take"), "took 0");
            assert_eq!(far.ask("swap"), "swapped");
            far.start("echo");
            for number in 0..50 {
                here.send(note(number, length(number))).unwrap();
                assert_eq!(number_of(&here.recv_timeout(PATIENCE).unwrap()), number);
            }
            far.child().kill().unwrap();
            assert_eq!(here.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)), "the new holder");
        });
    }
}

#[test]
fn who_claimed_an_end_learns_that_the_maker_of_the_channel_was_killed() {
    let _alone = Alone::new();
    let (carrier, mut maker) = Tier::Spawned.open();
    assert_eq!(maker.ask("give 1"), "gave");
    let end: Duplex = carrier.recv_with().unwrap().1.remove(0).claim().unwrap();
    maker.child().kill().unwrap();
    let start = Instant::now();
    assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(KILLED)));
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_peer_whose_process_is_killed_while_its_end_is_on_its_way_is_seen_to_go() {
    let _alone = Alone::new();
    // Both ends leave: one to a program that lives, one to a program that dies with it.
    let (near, mut living) = Tier::Spawned.open();
    let (carrier, mut dying) = Tier::Spawned.open();
    let (first, second): (Duplex, Peer<Vec<u8>, Vec<u8>>) = process::pair().unwrap();
    living.start("take");
    near.send_with(note(1, HEAD), vec![first.into()]).unwrap();
    assert_eq!(living.answer(), "took 1");
    assert_eq!(living.ask("swap"), "swapped");
    dying.start("take");
    carrier.send_with(note(2, HEAD), vec![second.into()]).unwrap();
    assert_eq!(dying.answer(), "took 2");
    living.start_and_block("recv");
    dying.child().kill().unwrap();
    assert_eq!(living.answer(), "gone: killed 9");
}
