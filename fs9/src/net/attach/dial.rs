//! Reaching an address, without waiting for it.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::said;
use super::ssh::Program;
use crate::attachment::Attach;
use crate::net::Clerk;
use crate::net::address::Address;

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How a connection begins.
#[derive(Debug)]
pub enum Begun {
    /// Sockets that are there, or fail, once they are writable (connect(2)). Some connections need a program for as
    /// long as they last.
    Sockets(Vec<OwnedFd>, Option<Program>),
    /// The name of a host is to be looked up first.
    Search(Search),
}

/// Begins a connection to each address of a node. `found` is called once `clerk` has looked up a name.
pub fn begin(how: &Attach, clerk: Option<&Clerk>, found: impl FnOnce() + Send + 'static) -> Result<Begun, String> {
    match &how.address {
        Address::Unix(path) => {
            let socket = open(AddressFamily::UNIX).map_err(said)?;
            let address = SocketAddrUnix::new(path.as_path()).map_err(said)?;
            begun(connect(&socket, &address)).map_err(said)?;
            Ok(Begun::Sockets(vec![socket], None))
        }
        Address::Ssh(to) => {
            let (program, socket) = Program::start(how.ssh.as_deref(), to)?;
            Ok(Begun::Sockets(vec![socket], Some(program)))
        }
        Address::Tcp { .. } | Address::Tls { .. } => {
            let (tcp, insecure) = (how.address.clone(), how.insecure);
            let look_up = move || tcp.resolve(insecure).map_err(|error| error.to_string());
            match clerk {
                None => sockets(look_up()?).map(|sockets| Begun::Sockets(sockets, None)),
                Some(clerk) => Search::begin(clerk, look_up, found).map(Begun::Search),
            }
        }
    }
}

/// Begins a connection to each of these.
pub fn sockets(numbers: Vec<SocketAddr>) -> Result<Vec<OwnedFd>, String> {
    numbers.into_iter().map(|number| tcp_socket(number).map_err(said)).collect()
}

/// A name that is being looked up, by the link's clerk: a name service takes its time, and nothing ends that wait.
#[derive(Debug)]
pub struct Search(Receiver<Result<Vec<SocketAddr>, String>>);

impl Search {
    /// Has `look_up` called, and then `found`.
    ///
    /// # Errors
    /// The clerk is gone.
    fn begin(
        clerk: &Clerk,
        look_up: impl FnOnce() -> Result<Vec<SocketAddr>, String> + Send + 'static,
        found: impl FnOnce() + Send + 'static,
    ) -> Result<Search, String> {
        let (tell, told) = channel();
        let search = move || {
            // Whoever wanted to know may be gone.
            let _ = tell.send(look_up());
            found();
        };
        clerk.ask(search).map_err(said)?;
        Ok(Search(told))
    }

    /// What was found, once it is known.
    pub fn result(&self) -> Option<Result<Vec<SocketAddr>, String>> {
        match self.0.try_recv() {
            Ok(found) => Some(found),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("its name could not be looked up".into())),
        }
    }

    /// The same for somebody who waits for it.
    ///
    /// # Errors
    /// What [`Search::result`] says; nothing is known by then.
    pub fn wait(&self, until: Instant) -> Result<Vec<SocketAddr>, String> {
        let left = until.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left).unwrap_or_else(|_| Err("its name could not be looked up in time".into()))
    }
}

fn tcp_socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 })?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    begun(connect(&socket, &address))?;
    Ok(socket)
}

fn open(family: AddressFamily) -> Result<OwnedFd, Errno> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn begun(connected: Result<(), Errno>) -> Result<(), Errno> {
    match connected {
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        other => other,
    }
}

/// How a connection that was begun has turned out.
pub fn outcome(socket: &OwnedFd) -> Result<(), String> {
    match sockopt::socket_error(socket) {
        Ok(outcome) => outcome.map_err(said),
        Err(errno) => Err(said(errno)),
    }
}

/// Pauses that grow, each with some chance in it, so that many who have lost one node do not come back all at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    chance: RandomState,
    count: u64,
}

impl Backoff {
    /// Pauses that begin short.
    pub fn new() -> Backoff {
        Backoff { next: PAUSES.0, chance: RandomState::new(), count: 0 }
    }

    /// A node was reached: the next pause is short again.
    pub fn reset(&mut self) {
        self.next = PAUSES.0;
    }

    /// The next pause: a half to the whole of a time that doubles.
    pub fn pause(&mut self) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(PAUSES.1);
        self.count += 1;
        most / 2 + most.mul_f64((self.chance.hash_one(self.count) % 1024) as f64 / 2048.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_while_others_go_on() {
        let ((answer, asked), (ring, bell)) = (channel(), channel());
        let clerk = Clerk::start().expect("a thread");
        let search =
            Search::begin(&clerk, move || asked.recv().expect("an answer"), move || ring.send(()).expect("a bell"));
        let search = search.expect("a thread");
        assert_eq!(search.result(), None);
        let found = vec!["127.0.0.1:7".parse().expect("numbers")];
        answer.send(Ok(found.clone())).expect("it waits");
        bell.recv().expect("it rings");
        assert_eq!(search.result(), Some(Ok(found)));
    }

    #[test]
    fn only_names_are_looked_up() {
        let begin = |address: &str| {
            let how = Attach::to(address.parse().expect("an address"));
            begin(&how, Clerk::for_host(&how.address).expect("a thread").as_ref(), || {})
        };
        assert!(matches!(begin("tcp://127.0.0.1:1"), Ok(Begun::Sockets(sockets, None)) if sockets.len() == 1));
        assert!(matches!(begin("tcp://localhost:1"), Ok(Begun::Search(_))));
        assert!(begin("tcp://192.0.2.1:1").expect_err("another machine").contains("--insecure"));
    }

    #[test]
    fn pauses_grow_within_bounds() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= PAUSES.0 / 2 && pauses[0] <= PAUSES.0, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= PAUSES.1) && pauses[19] >= PAUSES.1 / 2, "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= PAUSES.0);
    }
}
