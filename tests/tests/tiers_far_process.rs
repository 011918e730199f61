//! What becomes of a connection whose other program is stopped, killed, or started again.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::tiers::{Duplex, Far, HEAD, PATIENCE, is_waiting, note, number_of, peer, tid, unix_address, within};
use fs9_tests::wait_for;
use fs9_tiers::Select;
use fs9_tiers::error::{Reason, RecvTimeoutError, SendError, SendTimeoutError};
use fs9_tiers::remote::{Listener, Options, dial};
use rustix::process::Signal;

const LOCAL: &str = "tcp://127.0.0.1:0";
/// A wait that is to end without anything having come.
const SHORT: Duration = Duration::from_millis(20);

/// A program that has dialled here, through a proxy.
fn dialled(options: &Options) -> (Duplex, Far, Proxy, Listener) {
    let listener = options.listen(LOCAL).unwrap();
    let proxy = Proxy::before(listener.address(), Fault::None, 1);
    let far = Far::program(&mut peer(&["obey", "dial", proxy.address()]));
    let near = listener.accept_timeout(PATIENCE).unwrap();
    (near, far.greeted(), proxy, listener)
}

#[test]
fn waits_with_a_deadline_end_while_the_other_program_is_stopped() {
    within(PATIENCE * 3, || {
        let (near, mut far, proxy, _listener) = dialled(&Options::new());
        assert_eq!(far.ask("send 7 24"), "sent");
        far.signal(Signal::STOP);
        assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 7, "it was sent before");
        assert_eq!(near.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        near.send_timeout(note(1, 100_000), SHORT).unwrap();
        let Err(SendTimeoutError::Timeout(back)) = near.send_timeout(note(2, HEAD), SHORT) else { panic!("no room") };
        let mut select = Select::new().unwrap();
        select.recv(near.receiver());
        select.send(near.sender());
        assert_eq!(select.ready_timeout(SHORT).unwrap(), None);
        drop(select);

        far.signal(Signal::CONT);
        assert_eq!(far.ask("recv"), "got 1");
        near.send_timeout(back, PATIENCE).unwrap();
        assert_eq!(far.ask("recv"), "got 2");
        assert_eq!(proxy.connections(), 1, "the link was never taken for broken");
    });
}

#[test]
fn keep_alive_finds_who_is_stopped_and_nothing_is_lost_when_it_goes_on() {
    within(PATIENCE * 3, || {
        let (near, mut far, proxy, _listener) = dialled(&Options::new().keep_alive(Duration::from_millis(300)));
        near.send(note(1, HEAD)).unwrap();
        assert_eq!(far.ask("send 7 100000"), "sent");
        far.signal(Signal::STOP);
        wait_for("the link to be hung up on", || proxy.has_broken().then_some(()));
        assert_eq!(far.ask_when_it_goes_on("recv"), "got 1");
        assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 7);
        for number in 2..20 {
            near.send_timeout(note(number, 5_000), PATIENCE).unwrap();
            assert_eq!(far.ask("recv"), format!("got {number}"));
        }
        assert!(proxy.connections() >= 2);
    });
}

#[test]
fn who_stays_stopped_is_given_up_after_linger() {
    within(PATIENCE * 3, || {
        let options = Options::new().keep_alive(Duration::from_millis(150)).linger(Duration::from_millis(150));
        let (near, mut far, _proxy, _listener) = dialled(&options);
        far.signal(Signal::STOP);
        assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
        // It dials again and is told that there is no such session any more.
        assert_eq!(far.ask_when_it_goes_on("recv"), "gone: lost");
    });
}

#[test]
fn who_waits_to_send_to_a_program_that_is_killed_has_the_message_back() {
    within(PATIENCE * 3, || {
        let (near, mut far, _proxy, _listener) = dialled(&Options::new().linger(Duration::from_millis(200)));
        near.send(note(1, 100_000)).unwrap();
        let (tell, told) = channel();
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                tell.send(tid()).unwrap();
                near.send(note(2, HEAD))
            });
            let tid = told.recv().unwrap();
            wait_for("it to wait", || is_waiting(std::process::id(), tid).then_some(()));
            far.kill();
            let Err(SendError::Disconnected(back, Reason::Unreachable)) = waits.join().unwrap() else {
                panic!("it was sent")
            };
            assert_eq!(number_of(&back), 2);
        });
    });
}

fn obeying_listener(address: &str) -> (Far, String) {
    let mut far = Far::program(&mut peer(&["obey", "listen", address]));
    let address = far.answer();
    (far, address)
}

#[test]
fn a_program_that_is_killed_cannot_be_reached() {
    let short = Options::new().linger(Duration::from_millis(200));
    let listener = short.listen(LOCAL).unwrap();
    let far = Far::program(&mut peer(&["obey", "dial", listener.address()]));
    let near: Duplex = listener.accept_timeout(PATIENCE).unwrap();
    let mut far = far.greeted();
    assert_eq!(far.ask("send 1 24"), "sent");
    far.kill();
    assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 1);
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));

    let (far, address) = obeying_listener(LOCAL);
    let near: Duplex = short.dial(&address).unwrap();
    let mut far = far.greeted();
    far.start_and_block("recv");
    far.kill();
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
}

#[test]
fn a_program_that_was_started_again_has_lost_its_sessions() {
    let address = unix_address();
    let (far, _) = obeying_listener(&address);
    let near: Duplex = dial(&address).unwrap();
    let mut far = far.greeted();
    far.kill();
    let (_another, _) = obeying_listener(&address);
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Lost)));
}
