//! Peers over connections: what the suite of all tiers does not see. Links that break, ends that go elsewhere,
//! addresses.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::tiers::{Duplex, HEAD, PATIENCE, Random, note, number_of, unix_address, within};
use fs9_tests::wait_for;
use fs9_tiers::error::{Reason, RecvError, RecvTimeoutError, SendError, TrySendError, Unfit};
use fs9_tiers::message::LIMIT;
use fs9_tiers::remote::{CHANNELS, Listener, Options, dial, listen};
use fs9_tiers::{Capability, Message, Peer, Refusal, Select, pair, process};
use futures_util::future::join;

const LOCAL: &str = "tcp://127.0.0.1:0";
/// The number of the note that ends a stream.
const LAST: u64 = u64::MAX - 1;
/// How long the links of a test are broken at random.
const STORM: Duration = Duration::from_secs(8);

/// The two ends of a connection in this process.
fn ends<A: Message, B: Message>() -> (Peer<A, B>, Peer<B, A>, Listener) {
    let listener = listen(LOCAL).unwrap();
    let near = dial(listener.address()).unwrap();
    (near, listener.accept_timeout(PATIENCE).unwrap(), listener)
}

/// The two ends of a connection through a proxy, which transports everything until it is told otherwise.
fn proxied<A: Message, B: Message>(options: &Options) -> (Peer<A, B>, Peer<B, A>, Proxy, Listener) {
    let listener = options.listen(LOCAL).unwrap();
    let proxy = Proxy::before(listener.address(), Fault::None, 1);
    let near = options.dial(proxy.address()).unwrap();
    (near, listener.accept_timeout(PATIENCE).unwrap(), proxy, listener)
}

/// Sends notes of all lengths until told to stop, then one that is the last.
fn stream(end: &Duplex, until: Instant, seed: u64) -> u64 {
    let mut random = Random(seed);
    let mut number = 0;
    while Instant::now() < until {
        let len = [HEAD, 100, 3_000, 20_000, 200_000][random.below(5)];
        end.send(note(number, len)).unwrap();
        number += 1;
    }
    end.send(note(LAST, HEAD)).unwrap();
    number
}

/// Receives what [`stream`] sends: each once, and in order.
fn follow(end: &Duplex) -> u64 {
    for expected in 0.. {
        // Who waits for nothing else lets the next long one come meanwhile.
        let note = if expected % 2 == 0 { end.recv().unwrap() } else { end.recv_timeout(PATIENCE * 3).unwrap() };
        match number_of(&note) {
            LAST => return expected,
            number => assert_eq!(number, expected),
        }
    }
    0
}

#[test]
fn links_that_break_at_random_lose_nothing_and_bring_nothing_twice() {
    within(PATIENCE * 6, || {
        let listener = listen(LOCAL).unwrap();
        let proxy = Proxy::before(listener.address(), Fault::Random, 0x5eed);
        let near: Duplex = dial_until_it_works(&proxy);
        let far: Duplex = listener.accept_timeout(PATIENCE).unwrap();
        let until = Instant::now() + STORM;
        thread::scope(|scope| {
            let (near, far) = (&near, &far);
            let sent = [scope.spawn(move || stream(near, until, 1)), scope.spawn(move || stream(far, until, 2))];
            let received = [scope.spawn(|| follow(far)), scope.spawn(|| follow(near))];
            let [there, back] = sent.map(|thread| thread.join().unwrap());
            assert_eq!(received.map(|thread| thread.join().unwrap()), [there, back]);
            assert!(there > 10 && back > 10, "{there} and {back} messages");
        });
        assert!(proxy.connections() > 10, "{} links, seed {}", proxy.connections(), proxy.seed());
    });
}

#[test]
fn shared_bytes_and_vectors_are_the_same_message() {
    within(PATIENCE, || {
        let listener = listen(LOCAL).unwrap();
        let near: Peer<Bytes, Bytes> = dial(listener.address()).unwrap();
        let far: Peer<Vec<u8>, Vec<u8>> = listener.accept_timeout(PATIENCE).unwrap();
        let (one, other): (Peer<Bytes, Bytes>, _) = process::pair().unwrap();
        for len in [0, 100, 20_000, 1 << 20] {
            let message = Bytes::from(note(7, HEAD.max(len))).slice(..len);
            // It is sent again from where it is.
            for _ in 0..3 {
                near.send(message.clone()).unwrap();
                let received = far.recv().unwrap();
                assert_eq!(received, message);
                far.send(received).unwrap();
                assert_eq!(near.recv().unwrap(), message);
                one.send(message.clone()).unwrap();
                assert_eq!(other.recv().unwrap(), message);
            }
        }
        let long = near.send(vec![0; LIMIT + 1].into()).unwrap_err();
        assert!(matches!(&long, SendError::Unfit(bytes, Unfit::TooLong { limit: LIMIT }) if bytes.len() == LIMIT + 1));
    });
}

/// The greeting itself may be cut.
fn dial_until_it_works<Out: Message, In: Message>(proxy: &Proxy) -> Peer<Out, In> {
    wait_for("a greeting that gets through", || dial(proxy.address()).ok())
}

#[test]
fn questions_and_answers_survive_breaks() {
    within(PATIENCE * 6, || {
        let (near, far, proxy, _listener) = proxied::<u64, u64>(&Options::new());
        let server = thread::spawn(move || {
            for number in far.iter() {
                far.send(number + 1).unwrap();
            }
            far.reason()
        });
        for number in 0..2_000 {
            if number % 100 == 50 {
                proxy.cut();
            }
            near.send(number).unwrap();
            assert_eq!(near.recv_timeout(PATIENCE), Ok(number + 1));
        }
        assert!(proxy.connections() > 15);
        drop(near);
        assert_eq!(server.join().unwrap(), Some(Reason::Closed));
    });
}

#[test]
fn after_linger_both_sides_are_told() {
    let options = Options::new().linger(Duration::from_millis(200));
    let (near, far, proxy, _listener) = proxied::<Vec<u8>, Vec<u8>>(&options);
    near.send(note(1, HEAD)).unwrap();
    assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), 1);
    let begin = Instant::now();
    drop(proxy);
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
    assert_eq!(far.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
    assert!(begin.elapsed() >= Duration::from_millis(200));
    let error = near.send(note(2, HEAD)).unwrap_err();
    assert_eq!(error.reason(), Some(Reason::Unreachable));
    assert_eq!(number_of(&error.into_message()), 2);
}

#[test]
fn a_link_that_is_silent_is_replaced() {
    within(PATIENCE * 3, || {
        let options = Options::new().keep_alive(Duration::from_millis(300));
        let (near, far, proxy, _listener) = proxied::<Vec<u8>, Vec<u8>>(&options);
        near.send(note(1, HEAD)).unwrap();
        assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), 1);
        proxy.silence();
        near.send(note(2, HEAD)).unwrap();
        assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), 2);
        assert!(proxy.connections() >= 2);
    });
}

#[test]
fn a_link_over_which_nobody_speaks_stays() {
    let options = Options::new().keep_alive(Duration::from_millis(150));
    let (near, far, proxy, _listener) = proxied::<Vec<u8>, Vec<u8>>(&options);
    assert_eq!(near.recv_timeout(Duration::from_millis(600)), Err(RecvTimeoutError::Timeout));
    far.send(note(1, HEAD)).unwrap();
    assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 1);
    assert_eq!(proxy.connections(), 1, "it was never taken for broken");
}

#[test]
fn what_was_sent_before_an_end_arrives_after_a_break() {
    within(PATIENCE * 3, || {
        let (near, far, proxy, _listener) = proxied::<Vec<u8>, Vec<u8>>(&Options::new());
        proxy.cut();
        near.send(note(1, 100_000)).unwrap();
        drop(near);
        assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), 1);
        assert_eq!(far.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
    });
}

#[test]
fn other_types_end_the_channel_on_both_sides() {
    let listener = listen(LOCAL).unwrap();
    let near: Peer<u64, ()> = dial(listener.address()).unwrap();
    let far: Peer<(), String> = listener.accept_timeout(PATIENCE).unwrap();
    near.send(7_000).unwrap();
    assert_eq!(far.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Protocol)));
    assert_eq!(far.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Protocol)), "and it stays so");
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Protocol)));
}

#[test]
fn long_messages_are_the_same_in_every_type() {
    let (near, far, _listener) = ends::<Vec<u8>, String>();
    let listener = listen(LOCAL).unwrap();
    let text: Peer<String, ()> = dial(listener.address()).unwrap();
    let bytes: Peer<(), Vec<u8>> = listener.accept_timeout(PATIENCE).unwrap();
    let long = "a".repeat(50_000);
    text.send(long.clone()).unwrap();
    assert_eq!(bytes.recv_timeout(PATIENCE).unwrap(), long.as_bytes());
    near.send(vec![7; 50_000]).unwrap();
    assert_eq!(far.recv_timeout(PATIENCE).unwrap(), vec![7; 50_000]);
    far.send(long.clone()).unwrap();
    assert_eq!(near.recv_timeout(PATIENCE).unwrap(), long);
}

#[test]
fn who_stops_answering_holds_nobody_up() {
    within(PATIENCE * 3, || {
        let (near, far, _listener) = ends::<u64, u64>();
        for number in 0..10 {
            near.send(number).unwrap();
            assert_eq!(far.recv(), Ok(number));
            far.send(number).unwrap();
            assert_eq!(near.recv(), Ok(number));
        }
        // From now on what is taken has nothing to go with.
        for number in 0..5 {
            near.send(number).unwrap();
            assert_eq!(far.recv(), Ok(number));
            drop(near.reserve().unwrap());
        }
    });
}

#[test]
fn many_threads_and_tasks_share_a_connection() {
    const EACH: u64 = 300;
    within(PATIENCE * 6, || {
        let (boss, worker, _listener) = ends::<u8, u8>();
        let mut servers = Vec::new();
        let mut clients: Vec<Peer<u64, u64>> = Vec::new();
        for _ in 0..6 {
            let (client, server) = pair::<u64, u64>();
            boss.send_with(0, vec![Capability::from(server)]).unwrap();
            let (_, mut capabilities) = worker.recv_with().unwrap();
            let server: Peer<u64, u64> = capabilities.remove(0).claim().unwrap();
            servers.push(server);
            clients.push(client);
        }
        thread::scope(|scope| {
            for (place, server) in servers.into_iter().enumerate() {
                scope.spawn(move || match place % 2 {
                    0 => server.iter().for_each(|number| server.send(number).unwrap()),
                    _ => pollster::block_on(async {
                        while let Ok(number) = server.recv_async().await {
                            server.send_async(number).await.unwrap();
                        }
                    }),
                });
            }
            for client in clients {
                scope.spawn(move || {
                    for number in 0..EACH {
                        client.send(number).unwrap();
                        assert_eq!(client.recv_timeout(PATIENCE), Ok(number));
                    }
                });
            }
            let echo = scope.spawn(move || worker.iter().for_each(|number| worker.send(number).unwrap()));
            for number in 0..200 {
                boss.send(number).unwrap();
                assert_eq!(boss.recv_timeout(PATIENCE), Ok(number));
            }
            drop(boss);
            echo.join().unwrap();
        });
    });
}

#[test]
fn a_task_and_a_thread_wait_at_one_connection() {
    within(PATIENCE * 3, || {
        let (near, far, _listener) = ends::<u64, u64>();
        let ((to_far, from_far), (to_near, from_near)) = (near.split(), far.split());
        thread::scope(|scope| {
            scope.spawn(move || {
                pollster::block_on(join(
                    async {
                        for number in 0..500 {
                            to_far.send_async(number).await.unwrap();
                        }
                    },
                    async {
                        for number in 0..500 {
                            assert_eq!(from_far.recv_async().await, Ok(number));
                        }
                    },
                ))
            });
            scope.spawn(move || (0..500).for_each(|number| assert_eq!(from_near.recv(), Ok(number))));
            scope.spawn(move || (0..500).for_each(|number| to_near.send(number).unwrap()));
        });
    });
}

#[test]
fn ends_of_all_tiers_are_handed_over() {
    within(PATIENCE * 3, || {
        let (boss, worker, _listener) = ends::<u8, u8>();
        let (third, fourth, _other) = ends::<u64, String>();
        let (a, b) = pair::<String, u64>();
        let (c, d) = process::pair::<String, u64>().unwrap();
        boss.send_with(3, vec![b.into(), d.into(), third.into()]).unwrap();
        let (count, capabilities) = worker.recv_with().unwrap();
        assert_eq!((count, capabilities.len()), (3, 3));
        let mut capabilities = capabilities.into_iter();
        for other in [a, c, fourth] {
            let end: Peer<u64, String> = capabilities.next().unwrap().claim().unwrap();
            for number in 0..50 {
                other.send(format!("{number}")).unwrap();
                assert_eq!(end.recv_timeout(PATIENCE).unwrap(), number.to_string());
                end.send(number).unwrap();
                assert_eq!(other.recv_timeout(PATIENCE), Ok(number));
            }
            end.send(50).unwrap();
            drop(end);
            assert_eq!(other.recv_timeout(PATIENCE), Ok(50));
            assert_eq!(other.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
        }
    });
}

#[test]
fn an_end_goes_on_over_a_second_connection_with_what_goes_beside_its_messages() {
    within(PATIENCE * 3, || {
        let (boss, worker, _one) = ends::<u8, u8>();
        let (next, last, _two) = ends::<u8, u8>();
        let (x, y) = pair::<u64, u64>();
        boss.send_with(1, vec![y.into()]).unwrap();
        let y: Peer<u64, u64> = worker.recv_with().unwrap().1.remove(0).claim().unwrap();
        next.send_with(2, vec![y.into()]).unwrap();
        let y: Peer<u64, u64> = last.recv_with().unwrap().1.remove(0).claim().unwrap();
        let (p, q) = pair::<u8, u8>();
        x.send_with(7, vec![q.into()]).unwrap();
        let (seven, mut beside) = y.recv_with().unwrap();
        let q: Peer<u8, u8> = beside.remove(0).claim().unwrap();
        p.send(9).unwrap();
        assert_eq!((seven, q.recv_timeout(PATIENCE)), (7, Ok(9)));
        drop(x);
        assert_eq!(y.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Closed)));
    });
}

#[test]
fn the_reason_of_a_handed_over_end_goes_with_it() {
    let (boss, worker, _listener) = ends::<u8, u8>();
    let (end, join) = fs9_tiers::thread::spawn(|end: Peer<u8, u8>| {
        let _ = end.recv();
        std::panic::resume_unwind(Box::new("on purpose"))
    });
    let end: Peer<u8, u8> = end;
    boss.send_with(1, vec![end.into()]).unwrap();
    let end: Peer<u8, u8> = worker.recv_with().unwrap().1.remove(0).claim().unwrap();
    end.send(1).unwrap();
    assert_eq!(join.join(), Err::<(), _>(Reason::Panicked));
    assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Panicked)));
}

#[test]
fn a_connection_that_ends_takes_the_ends_with_it_that_went_over_it() {
    let options = Options::new().linger(Duration::from_millis(100));
    let (near, far, proxy, _listener) = proxied::<u8, u8>(&options);
    let (x, y) = pair::<u8, u8>();
    near.send_with(1, vec![y.into()]).unwrap();
    let y: Peer<u8, u8> = far.recv_with().unwrap().1.remove(0).claim().unwrap();
    drop(proxy);
    assert_eq!(y.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
    assert!(x.recv_timeout(PATIENCE).unwrap_err().reason().is_some(), "what the relay had is closed");
}

#[test]
fn there_is_a_limit_to_the_ends_of_a_connection() {
    within(PATIENCE * 6, || {
        let (boss, worker, _listener) = ends::<u32, u32>();
        let (mut kept, mut given) = (Vec::new(), Vec::new());
        for number in 0.. {
            let (x, y) = pair::<u8, u8>();
            match boss.send_with(number, vec![y.into()]) {
                Ok(()) => {
                    kept.push(x);
                    given.extend(worker.recv_with().unwrap().1);
                }
                Err(error) => {
                    assert!(matches!(error.error, SendError::Unfit(_, Unfit::Capability(Refusal::TooMany))));
                    assert_eq!(error.capabilities.len(), 1);
                    break;
                }
            }
        }
        assert!(kept.len() <= CHANNELS && kept.len() + 1 >= CHANNELS, "{}", kept.len());
        given.truncate(10);
        // They have told the far side that they are gone, and there is room for others.
        wait_for("room", || {
            let (x, y) = pair::<u8, u8>();
            let sent = boss.send_with(0, vec![y.into()]);
            kept.push(x);
            sent.is_ok().then_some(())
        });
        assert_eq!(worker.recv(), Ok(0));
    });
}

#[test]
fn a_select_waits_for_connections_among_others() {
    let (near, far, _listener) = ends::<u64, u64>();
    let (a, b) = pair::<u8, u8>();
    let mut select = Select::new().unwrap();
    let (local, remote) = (select.recv(b.receiver()), select.recv(far.receiver()));
    for number in 0..50 {
        let near = &near;
        thread::scope(|scope| {
            scope.spawn(move || near.send(number).unwrap());
            assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(remote));
        });
        assert_eq!(far.try_recv(), Ok(number));
    }
    a.send(1).unwrap();
    assert_eq!(select.ready_timeout(PATIENCE).unwrap(), Some(local));
}

#[test]
fn a_live_address_is_nobody_elses_and_a_stale_one_is_anybodys() {
    let address = unix_address();
    let path = address.strip_prefix("unix:").unwrap();
    let listener = listen(&address).unwrap();
    assert_eq!(listen(&address).unwrap_err().kind(), ErrorKind::AddrInUse);
    let near: Peer<u8, u8> = dial(&address).unwrap();
    let far: Peer<u8, u8> = listener.accept_timeout(PATIENCE).unwrap();
    assert_eq!(far.credentials().unwrap().pid, std::process::id());
    assert_eq!(near.credentials().unwrap().uid, process::user());
    drop(listener);
    assert!(!fs::exists(path).unwrap());
    near.send(1).unwrap();
    assert_eq!(far.recv_timeout(PATIENCE), Ok(1), "who was accepted stays");

    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let listener = listen(&address).expect("nobody listens at that file");
    drop(listener);
    fs::write(path, "precious").unwrap();
    assert_eq!(listen(&address).unwrap_err().kind(), ErrorKind::AddrInUse, "a file that is no socket stays");
    fs::remove_file(path).unwrap();
}

#[test]
fn what_is_no_address_or_can_be_heard_is_refused() {
    for address in ["", "/tmp/x", "http://localhost", "tcp://192.0.2.1:1", "tcp://0.0.0.0:0", "unix:"] {
        let error = listen(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{address}: {error}");
        assert!(dial::<u8, u8>(address).is_err(), "{address}");
    }
    let error = dial::<u8, u8>("unix:/nowhere/at/all").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn long_messages_that_follow_each_other_closely_come_in_order_and_before_the_end() {
    within(PATIENCE * 6, || {
        for round in 0..50 {
            let (near, far, _listener) = ends::<Vec<u8>, Vec<u8>>();
            thread::scope(|scope| {
                let receives = scope.spawn(|| far.iter().map(|message| number_of(&message)).collect::<Vec<_>>());
                for number in 0..4 {
                    near.send(note(number, [1_000_000, 40_000, 2_000_000, HEAD][(number as usize + round) % 4]))
                        .unwrap();
                }
                drop(near);
                assert_eq!(receives.join().unwrap(), [0, 1, 2, 3]);
            });
            assert_eq!(far.recv(), Err(RecvError::Disconnected(Reason::Closed)));
        }
    });
}

#[test]
fn long_messages_for_several_receivers_come_once_each() {
    const MESSAGES: u64 = 2_000;
    within(PATIENCE * 6, || {
        let (near, far, _listener) = ends::<Vec<u8>, Vec<u8>>();
        let receive = |with_deadline: bool| {
            let far = &far;
            move || {
                let next = || match with_deadline {
                    true => far.recv_timeout(PATIENCE * 3).map_err(|_| ()),
                    false => far.recv().map_err(|_| ()),
                };
                std::iter::from_fn(|| next().ok()).map(|message| number_of(&message)).collect::<Vec<_>>()
            }
        };
        thread::scope(|scope| {
            let receivers = [false, false, true].map(|with_deadline| scope.spawn(receive(with_deadline)));
            for number in 0..MESSAGES {
                near.send(note(number, [20_000, 100_000, HEAD][number as usize % 3])).unwrap();
            }
            drop(near);
            let received = receivers.map(|thread| thread.join().unwrap());
            assert!(received.iter().all(|numbers| numbers.is_sorted()), "{received:?}");
            let mut all = received.concat();
            all.sort_unstable();
            assert_eq!(all, (0..MESSAGES).collect::<Vec<_>>());
        });
    });
}

#[test]
fn the_longest_message_that_nobody_reads_keeps_no_sender() {
    let (near, far, _listener) = ends::<Vec<u8>, u8>();
    near.send(vec![1; 4_000_000]).unwrap();
    assert!(matches!(near.try_send(vec![2]), Err(TrySendError::Full(_))));
    assert_eq!(far.recv_timeout(PATIENCE).unwrap().len(), 4_000_000);
    near.send(vec![2]).unwrap();
    assert_eq!(far.recv(), Ok(vec![2]));
    drop(near);
    assert_eq!(far.recv(), Err(RecvError::Disconnected(Reason::Closed)));
}
