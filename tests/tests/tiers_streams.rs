//! Peers over byte streams that somebody else makes: streams that break, programs as streams, what is no stream. None
//! leaves anything.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::File;
use std::io::{self, ErrorKind, Write, pipe};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use fs9_tests::records::Records;
use fs9_tests::tiers::{Alone, Duplex, HEAD, PATIENCE, admitted, note, number_of, peer, within};
use fs9_tiers::Peer;
use fs9_tiers::error::{Reason, RecvTimeoutError};
use fs9_tiers::remote::{Descriptors, Listener, Options, Program, over, unbound};

/// Streams that lead to whoever takes them from the other end, and can be cut.
#[derive(Clone, Default)]
struct Exchange(Arc<Mutex<Vec<UnixStream>>>);

impl Exchange {
    /// What makes a stream, and the other ends of those that it has made.
    fn connect(&self) -> (impl FnMut() -> io::Result<Records> + Send + 'static, Receiver<Records>) {
        let (give, take) = channel();
        let made = Arc::clone(&self.0);
        let connect = move || {
            let (here, there) = UnixStream::pair()?;
            made.lock().unwrap().push(here.try_clone()?);
            give.send(Records::over(there)?).map_err(|_| io::Error::from(ErrorKind::ConnectionRefused))?;
            Records::over(here)
        };
        (connect, take)
    }

    fn cut(&self) {
        self.0.lock().unwrap().iter().for_each(|stream| {
            let _ = stream.shutdown(Shutdown::Both);
        });
    }

    fn made(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Admits whoever comes, for as long as somebody makes streams.
fn admit_all(streams: Receiver<Records>) -> Arc<Listener> {
    let listener = Arc::new(unbound().unwrap());
    let admits = Arc::clone(&listener);
    // What is cut in its greeting comes again.
    thread::spawn(move || streams.iter().for_each(|stream| drop(admits.admit(stream))));
    listener
}

#[test]
fn questions_and_answers_survive_streams_that_break() {
    let _alone = Alone::new();
    within(PATIENCE * 6, || {
        let exchange = Exchange::default();
        let (connect, streams) = exchange.connect();
        let listener = admit_all(streams);
        let near: Duplex = over(connect).unwrap();
        let far: Duplex = listener.accept_timeout(PATIENCE).unwrap();
        let server = thread::spawn(move || {
            for message in far.iter() {
                far.send(message).unwrap();
            }
            far.reason()
        });
        for number in 0..1_000 {
            if number % 50 == 25 {
                exchange.cut();
            }
            near.send(note(number, [HEAD, 30_000][number as usize % 2])).unwrap();
            assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), number);
        }
        assert!(exchange.made() > 10, "{} streams", exchange.made());
        drop(near);
        assert_eq!(server.join().unwrap(), Some(Reason::Closed));
    });
}

#[test]
fn a_stream_that_cannot_be_made_again_is_given_up_after_linger() {
    let _alone = Alone::new();
    let exchange = Exchange::default();
    let (mut connect, streams) = exchange.connect();
    let options = Options::new().linger(Duration::from_millis(200));
    let listener = options.unbound().unwrap();
    let near = thread::spawn(move || -> io::Result<Duplex> {
        let mut is_first = true;
        options.over(move || if std::mem::take(&mut is_first) { connect() } else { Err(ErrorKind::NotFound.into()) })
    });
    listener.admit(streams.recv().unwrap()).unwrap();
    let far: Duplex = listener.accept_timeout(PATIENCE).unwrap();
    let near = near.join().unwrap().unwrap();
    far.send(note(1, HEAD)).unwrap();
    assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 1);
    exchange.cut();
    assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
    assert_eq!(far.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Unreachable)));
}

#[test]
fn a_program_is_a_stream_and_ends_with_its_peer() {
    let _alone = Alone::new();
    within(PATIENCE * 3, || {
        let near: Duplex = over(|| Program::start(&mut peer(&["standard"]))).unwrap();
        for number in 0..100 {
            near.send(note(number, [HEAD, 100_000][number as usize % 2])).unwrap();
            assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), number);
        }
        drop(near);
    });
}

#[test]
fn a_program_that_is_started_again_knows_nothing_of_the_session() {
    let _alone = Alone::new();
    within(PATIENCE * 3, || {
        let near: Duplex = over(|| Program::start(&mut peer(&["standard"]))).unwrap();
        near.send(note(1, HEAD)).unwrap();
        assert_eq!(number_of(&near.recv_timeout(PATIENCE).unwrap()), 1);
        near.send(Vec::new()).unwrap(); // it ends then, without a goodbye
        assert_eq!(near.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected(Reason::Lost)));
    });
}

#[test]
fn what_cannot_be_a_stream_is_refused() {
    let _alone = Alone::new();
    let (from, mut to) = pipe().unwrap();
    to.write_all(&[b'?'; 44]).unwrap();
    let listener = unbound().unwrap();
    assert_eq!(listener.admit(Descriptors::new(from, to).unwrap()).unwrap_err().kind(), ErrorKind::InvalidData);

    let (from, to) = pipe().unwrap();
    drop(to);
    let end = File::options().write(true).open("/dev/null").unwrap();
    assert_eq!(listener.admit(Descriptors::new(from, end).unwrap()).unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let nobody: io::Result<Duplex> = over(|| Err::<Records, _>(ErrorKind::AddrNotAvailable.into()));
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::AddrNotAvailable, "what the closure says");
    let absent: io::Result<Duplex> = over(|| Program::start(&mut std::process::Command::new("/no/such/program")));
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
    let stranger: io::Result<Peer<u8, u8>> = over(|| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "echo something else than a greeting, and of more bytes than that; cat >/dev/null"]);
        Program::start(&mut shell)
    });
    assert_eq!(stranger.unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn there_is_a_limit_to_those_who_wait_to_be_accepted() {
    let _alone = Alone::new();
    let listener = unbound().unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let (here, there) = UnixStream::pair().unwrap();
        let dials = thread::spawn(move || {
            let mut once = Some(Descriptors::both(there)?);
            over::<u8, u8, _>(move || once.take().ok_or(ErrorKind::NotConnected.into()))
        });
        let admitted = listener.admit(Descriptors::both(here).unwrap());
        let dialled = dials.join().unwrap();
        match admitted {
            Ok(()) => waiting.push(dialled.unwrap()),
            Err(error) => break (error.kind(), dialled.unwrap_err().kind()),
        }
    };
    assert_eq!((waiting.len(), refused), (64, (ErrorKind::ResourceBusy, ErrorKind::ConnectionRefused)));
}

#[test]
fn many_pairs_of_pipes_leave_nothing() {
    let _alone = Alone::new();
    within(PATIENCE * 6, || {
        for number in 0..200 {
            let ((from_far, to_near), (from_near, to_far)) = (pipe().unwrap(), pipe().unwrap());
            let near = thread::spawn(move || -> io::Result<Duplex> {
                let mut once = Some(Descriptors::new(from_far, to_far)?);
                over(move || once.take().ok_or(ErrorKind::NotConnected.into()))
            });
            let far = admitted(Descriptors::new(from_near, to_near).unwrap());
            let near = near.join().unwrap().unwrap();
            near.send(note(number, 20_000)).unwrap();
            assert_eq!(number_of(&far.recv_timeout(PATIENCE).unwrap()), number);
            // Sometimes one says goodbye first, sometimes the other.
            drop(if number % 2 == 0 { (near, far) } else { (far, near) });
        }
    });
}
