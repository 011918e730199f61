//! A peer of ill will: it writes what it likes into the memory and sends what it likes over the socket. The honest end
//! gets messages of the right type or errors, in time, and spends no more on it than on an honest one.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use fs9_tests::process::Running;
use fs9_tests::sys::alloc::{self, Counting};
use fs9_tests::tiers::{Alone, Duplex, Far, PATIENCE, Random, fresh_name, length, me, note, peer, within};
use fs9_tiers::error::{Reason, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use fs9_tiers::message::LIMIT;
use fs9_tiers::process::{Listener, connect_timeout, listen};
use fs9_tiers::{Capability, Message, Peer, process, remote};

#[global_allocator]
static HEAP: Counting = Counting;

/// How many hostile peers there are of each kind, unless time is up before.
const ROUNDS: u64 = 1_000;
const TIME: Duration = Duration::from_secs(8);
/// How many there are at least.
const LEAST: u64 = 100;
/// How long an honest end waits for anything.
const SHORT: Duration = Duration::from_millis(1);

/// What an honest end has met with.
#[derive(Debug, Default)]
struct Met {
    rounds: u64,
    messages: u64,
    capabilities: u64,
    claimed: u64,
    protocol: u64,
    ends: u64,
    refused: u64,
}

impl Met {
    fn reason(&mut self, reason: Reason) {
        self.ends += 1;
        self.protocol += u64::from(reason == Reason::Protocol);
    }
}

/// Does what honest ends do, until the other is gone or for some time.
fn converse<Out: Message, In: Message>(end: &Peer<Out, In>, make: fn(u64) -> Out, random: &mut Random, met: &mut Met) {
    let mut kept = Vec::new();
    for number in 0..60 {
        let begin = Instant::now();
        let gone = match random.below(8) {
            0 => send_a_capability(end, make(number), &mut kept),
            1 => match end.try_send(make(number)) {
                Ok(()) | Err(TrySendError::Full(_)) => None,
                Err(error) => error.reason(),
            },
            2 => match end.send_timeout(make(number), SHORT) {
                Ok(()) | Err(SendTimeoutError::Timeout(_)) => None,
                Err(error) => error.reason(),
            },
            3 => match end.try_recv() {
                Ok(_) => {
                    met.messages += 1;
                    None
                }
                Err(TryRecvError::Empty) => None,
                Err(error) => error.reason(),
            },
            4 => match end.recv_with() {
                Ok((_, capabilities)) => {
                    met.messages += 1;
                    capabilities.into_iter().for_each(|capability| claim(capability, met));
                    None
                }
                Err(error) => error.reason(),
            },
            _ => match end.recv_timeout(SHORT) {
                Ok(_) => {
                    met.messages += 1;
                    None
                }
                Err(RecvTimeoutError::Timeout) => None,
                Err(error) => error.reason(),
            },
        };
        assert!(begin.elapsed() < PATIENCE, "a wait of {SHORT:?} took {:?}", begin.elapsed());
        if let Some(reason) = gone {
            return met.reason(reason);
        }
    }
}

fn send_a_capability<Out: Message, In: Message>(
    end: &Peer<Out, In>,
    message: Out,
    kept: &mut Vec<Duplex>,
) -> Option<Reason> {
    let permit = match end.sender().reserve_timeout(SHORT) {
        Ok(permit) => permit,
        Err(error) => return error.reason(),
    };
    let (here, there): (Duplex, Duplex) = process::pair().unwrap();
    kept.push(here);
    match permit.send_with(message, vec![Capability::from(there)]) {
        Ok(()) => None,
        Err(error) => match error.error {
            SendError::Disconnected(_, reason) => Some(reason),
            _ => None,
        },
    }
}

fn claim(capability: Capability, met: &mut Met) {
    met.capabilities += 1;
    let Ok(end) = capability.claim::<Vec<u8>, Vec<u8>>() else { return };
    met.claimed += 1;
    let _ = end.send_timeout(note(1, 100), SHORT);
    let _ = end.recv_timeout(SHORT);
    let _ = end.try_send(note(2, 5_000));
}

/// A way to get a hostile peer.
trait Open {
    fn open<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>>;
}

impl Open for Listener {
    fn open<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        self.accept_timeout(PATIENCE)
    }
}

/// A name to connect to.
struct Name(String);

impl Open for Name {
    fn open<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        connect_timeout(&self.0, &[me()], PATIENCE)
    }
}

/// Meets hostile peers, with messages that are decoded in different ways; everything that was opened is closed again.
fn meet_many(open: &impl Open, seed: u64) -> Met {
    let (mut met, mut random, begin) = (Met::default(), Random(seed), Instant::now());
    let before = alloc::start();
    while met.rounds < ROUNDS && (begin.elapsed() < TIME || met.rounds < LEAST) {
        met.rounds += 1;
        let opened = match met.rounds % 3 {
            0 => open.open().map(|end| converse::<Vec<u8>, Vec<u8>>(&end, bytes, &mut random, &mut met)),
            1 => open.open().map(|end| converse::<u32, (u64, String)>(&end, |n| n as u32, &mut random, &mut met)),
            _ => open.open().map(|end| converse::<Vec<u8>, Option<char>>(&end, bytes, &mut random, &mut met)),
        };
        if let Err(error) = opened {
            assert_ne!(error.kind(), io::ErrorKind::TimedOut, "{error}");
            met.refused += 1;
        }
    }
    // The bytes of a message and what it is decoded to.
    let most = alloc::most() - before;
    assert!(most < 2 * LIMIT + (1 << 20), "{most} bytes at a time, {met:?}");
    assert!(alloc::largest() <= LIMIT + 4096, "{} bytes at once, {met:?}", alloc::largest());
    met
}

fn bytes(number: u64) -> Vec<u8> {
    note(number, length(number))
}

#[test]
fn whoever_connects_can_harm_only_itself() {
    let _alone = Alone::new();
    let met = within(PATIENCE * 12, || {
        let name = fresh_name();
        let listener = listen(&name, &[me()]).unwrap();
        let hostile = Running::new(&mut peer(&["hostile", "connect", &name, "11"]));
        let met = meet_many(&listener, 12);
        drop(hostile);
        met
    });
    // What was tried was not in vain.
    assert!(met.messages > 100 && met.protocol > 50 && met.capabilities > 5 && met.claimed > 0, "{met:?}");
}

#[test]
fn whoever_is_connected_to_can_harm_only_itself() {
    let _alone = Alone::new();
    let met = within(PATIENCE * 12, || {
        let name = fresh_name();
        let mut hostile = Far::program(&mut peer(&["hostile", "listen", &name, "13"]));
        assert_eq!(hostile.answer(), "listening");
        let met = meet_many(&Name(name), 14);
        hostile.kill();
        met
    });
    assert!(met.messages > 100 && met.protocol > 50 && met.refused > 20, "{met:?}");
}

#[test]
fn a_peer_that_changes_its_words_all_the_time_does_not_put_off_a_deadline() {
    let _alone = Alone::new();
    let name = fresh_name();
    let listener = listen(&name, &[me()]).unwrap();
    let mut hostile = Far::program(&mut peer(&["hostile", "flip", &name, "0"]));
    let end: Peer<u8, u8> = listener.accept_timeout(PATIENCE).unwrap();
    assert_eq!(hostile.answer(), "flipping");
    end.send(1).unwrap();
    within(PATIENCE, move || {
        for _ in 0..20 {
            assert_eq!(end.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
            assert!(matches!(end.send_timeout(2, SHORT), Err(SendTimeoutError::Timeout(2))));
        }
    });
    hostile.kill();
}

impl Open for remote::Listener {
    fn open<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        self.accept_timeout(PATIENCE)
    }
}

/// A frame of `fs9.peers.1`, as a rule a good one.
fn frame(random: &mut Random, sent: &mut u32) -> Vec<u8> {
    let channel = [0, 0, 0, 0, 0, 0, 0, random.below(3) as u32][random.below(8)];
    let mut body = match random.below(40) {
        0..=33 => {
            let ends = [0, 0, 0, 1, 2][random.below(5)];
            let mut body = [&[1], &channel.to_le_bytes()[..], &[ends]].concat();
            for _ in 0..ends {
                *sent += 2;
                body.extend((*sent + 1).to_le_bytes());
                body.extend(random.next().to_le_bytes());
            }
            let len = random.below(100);
            body.push(len as u8);
            body.extend((0..len).map(|_| b'a'));
            body
        }
        34 => {
            let len = [100, 20_000, 4_194_300, u32::MAX][random.below(4)];
            [&[2], &channel.to_le_bytes()[..], &[0], &len.to_le_bytes()].concat()
        }
        35 => [&[3], &channel.to_le_bytes()[..]].concat(),
        36 => [&[4], &channel.to_le_bytes()[..], &[random.below(5) as u8, random.below(12) as u8, 0, 0, 0, 0]].concat(),
        37 => [&[5], &(random.below(2) as u64).to_le_bytes()[..]].concat(),
        38 => vec![6],
        _ => [&[9], &vec![7; random.below(30_000)][..]].concat(),
    };
    if random.below(20) == 0 {
        let place = random.below(body.len());
        body[place] ^= 1 << random.below(8);
    }
    let size = body.len() as u32 + 4;
    [&size.to_le_bytes()[..], &body].concat()
}

/// Greets as it should be, and says anything then.
fn babble(address: &str, seed: u64) {
    let mut random = Random(seed);
    while let Ok(mut stream) = TcpStream::connect(address) {
        let mut hello = b"fs9.peers.1\n".to_vec();
        hello.resize(44, 0);
        if random.below(10) == 0 {
            hello[random.below(44)] ^= 1;
        }
        let _ = stream.set_read_timeout(Some(Duration::from_millis(3)));
        if stream.write_all(&hello).is_err() || stream.read_exact(&mut hello).is_err() {
            continue;
        }
        let mut opened = 0;
        for _ in 0..random.below(40) {
            let mut bytes = frame(&mut random, &mut opened);
            if random.below(30) == 0 {
                bytes = (0..random.below(100)).map(|_| random.next() as u8).collect();
            }
            if stream.write_all(&bytes).is_err() {
                break;
            }
            // Mostly it waits until it may send the next.
            if random.below(5) > 0 {
                let _ = stream.read(&mut [0; 100]);
            }
        }
    }
}

#[test]
fn whoever_dials_can_harm_only_itself() {
    let _alone = Alone::new();
    let met = within(PATIENCE * 12, || {
        let listener = brief().listen("tcp://127.0.0.1:0").unwrap();
        let address = plain(&listener).to_owned();
        let hostile = std::thread::spawn(move || babble(&address, 15));
        let met = meet_many(&listener, 16);
        drop(listener);
        hostile.join().unwrap();
        met
    });
    assert!(met.messages > 100 && met.protocol > 50 && met.capabilities > 5, "{met:?}");
}

/// Somebody who dials and keeps to no more of the protocol than he wants to.
struct Rude {
    stream: TcpStream,
    session: [u8; 24],
}

impl Rude {
    /// Dials, for a new session or to go on with one, of which it has received nothing.
    fn dial(address: &str, session: [u8; 24]) -> Rude {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[b"fs9.peers.1\n", &session[..], &[0; 8]].concat()).unwrap();
        let mut hello = [0; 44];
        stream.read_exact(&mut hello).unwrap();
        Rude { stream, session: hello[12..36].try_into().unwrap() }
    }

    fn say(&mut self, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(&[&(body.len() as u32 + 4).to_le_bytes()[..], body].concat())
    }

    /// Says that it is there, again and again, until the other side has hung up.
    fn insist(mut self) {
        self.stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        while self.say(&[6]).is_ok() {
            if let Ok(0) = self.stream.read(&mut [0; 4096]) {
                return;
            }
        }
    }
}

/// A listener with little patience, and its address.
fn impatient() -> (remote::Listener, String) {
    let options = remote::Options::new().linger(Duration::from_millis(200)).keep_alive(Duration::from_millis(200));
    let listener = options.listen("tcp://127.0.0.1:0").unwrap();
    let address = plain(&listener).to_owned();
    (listener, address)
}

/// For those whose link breaks and does not come back.
fn brief() -> remote::Options {
    remote::Options::new().linger(Duration::from_millis(5))
}

/// The host and the port at which it listens.
fn plain(listener: &remote::Listener) -> &str {
    listener.address().strip_prefix("tcp://").unwrap()
}

#[test]
fn who_does_not_say_goodbye_is_not_waited_for_for_ever() {
    let _alone = Alone::new();
    const LEFT: [u8; 11] = [4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    const END: [u8; 19] = [1, 0, 0, 0, 0, 1, 3, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 0];
    let ways: [fn(&mut Rude); 3] = [|_| {}, |rude| rude.say(&LEFT).unwrap(), |rude| rude.say(&END).unwrap()];
    within(PATIENCE * 3, move || {
        let (listener, address) = impatient();
        for way in ways {
            let mut rude = Rude::dial(&address, [0; 24]);
            let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
            way(&mut rude);
            drop(end);
            rude.insist();
        }
    });
}

#[test]
fn who_does_not_read_is_not_waited_for_for_ever() {
    let _alone = Alone::new();
    within(PATIENCE * 3, || {
        let (listener, address) = impatient();
        let mut rude = Rude::dial(&address, [0; 24]);
        let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
        end.send(vec![7; 4_000_000]).unwrap();
        drop(end);
        // It says that it is there, and takes nothing.
        while rude.say(&[6]).is_ok() {
            std::thread::sleep(SHORT);
        }
    });
}

#[test]
fn who_dials_again_and_again_does_not_put_off_the_end() {
    let _alone = Alone::new();
    within(PATIENCE * 3, || {
        let (listener, address) = impatient();
        let mut rude = Rude::dial(&address, [0; 24]);
        let session = rude.session;
        let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
        drop(end);
        while rude.session == session {
            rude = Rude::dial(&address, session);
        }
        assert_eq!(rude.session, [0; 24], "there is no such session any more");
    });
}

/// What announces so many bytes on the first channel, and what comes before them.
fn announced(len: u32) -> Vec<u8> {
    let bytes = [&[14, 0, 0, 0, 2][..], &[0; 5], &len.to_le_bytes()].concat();
    [&bytes[..], &(len + 5).to_le_bytes(), &[9]].concat()
}

#[test]
fn who_takes_and_does_not_acknowledge_gets_one_message_more() {
    let _alone = Alone::new();
    const TAKEN: [u8; 5] = [3, 0, 0, 0, 0];
    within(PATIENCE * 3, || {
        let listener = brief().listen("tcp://127.0.0.1:0").unwrap();
        let mut rude = Rude::dial(plain(&listener), [0; 24]);
        let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
        end.send(vec![1; 100]).unwrap();
        rude.say(&TAKEN).unwrap();
        end.send(vec![2; 100]).unwrap();
        rude.say(&TAKEN).unwrap();
        let refused = end.send(vec![3; 100]).unwrap_err();
        assert!(matches!(refused, SendError::Disconnected(_, Reason::Protocol)), "{refused:?}");
    });
}

#[test]
fn who_waits_for_what_is_coming_has_the_next_one_come_and_no_more() {
    let _alone = Alone::new();
    const LEN: u32 = 100_000;
    within(PATIENCE * 3, || {
        let listener = brief().listen("tcp://127.0.0.1:0").unwrap();
        let mut rude = Rude::dial(plain(&listener), [0; 24]);
        let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
        std::thread::scope(|scope| {
            let received = scope.spawn(|| end.recv().unwrap());
            let first = [announced(LEN), vec![1; LEN as usize]].concat();
            rude.stream.write_all(&first[..50_000]).unwrap();
            // Before the rest has come it is taken.
            let mut said = Vec::new();
            while !said.ends_with(&[9, 0, 0, 0, 3, 0, 0, 0, 0]) {
                let mut byte = [0];
                rude.stream.read_exact(&mut byte).unwrap();
                said.extend(byte);
            }
            rude.stream.write_all(&first[50_000..]).unwrap();
            assert!(received.join().unwrap() == vec![1; LEN as usize]);
        });
        // One more, and in the same segment one for which there is no room.
        let short = |byte: u8| [12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, byte];
        rude.stream.write_all(&[short(2), short(3)].concat()).unwrap();
        assert_eq!(end.recv_timeout(PATIENCE), Ok(vec![2]));
        assert_eq!(end.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Protocol)));
    });
}

/// A message on channel `number`, with a new end beside it.
fn nested(number: u32, end: u32) -> Vec<u8> {
    [&[1], &number.to_le_bytes()[..], &[1], &end.to_le_bytes(), &[7; 8], &[0]].concat()
}

#[test]
fn ends_in_messages_of_ends_do_not_exhaust_a_stack() {
    let _alone = Alone::new();
    within(PATIENCE * 3, || {
        let (listener, address) = impatient();
        let mut rude = Rude::dial(&address, [0; 24]);
        let end: Peer<Vec<u8>, Vec<u8>> = listener.open().unwrap();
        let ends = (0..remote::CHANNELS as u32 - 1).map(|depth| 2 * depth + 3);
        for (channel, end) in std::iter::once(0).chain(ends.clone()).zip(ends) {
            rude.say(&nested(channel, end)).unwrap();
        }
        rude.say(&[6]).unwrap();
        rude.stream.set_read_timeout(Some(SHORT)).unwrap();
        let (mut beside, mut heard) = (Vec::new(), Vec::<u8>::new());
        // After the pong all of that has been understood.
        while !heard.windows(5).any(|frame| frame == [5, 0, 0, 0, 7]) {
            beside.extend(end.try_recv_with().into_iter().flat_map(|(_, beside)| beside));
            let mut bytes = [0; 100];
            let len = rude.stream.read(&mut bytes).unwrap_or(0);
            heard.extend(&bytes[..len]);
        }
        assert_eq!(beside.len(), 1);
        let small = std::thread::Builder::new().stack_size(256 << 10);
        small.spawn(move || drop((beside, end))).unwrap().join().unwrap();
        rude.insist();
    });
}
