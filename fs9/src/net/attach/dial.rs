//! Reaching an address, without waiting for it.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::said;
use super::ssh::Program;
use crate::attachment::Attach;
use crate::net::address::Address;

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Begins a connection to each address of a node. They are there, or fail, once they are writable (connect(2)). Some
/// connections need a program for as long as they last.
pub fn begin(how: &Attach) -> Result<(Vec<OwnedFd>, Option<Program>), String> {
    match &how.address {
        Address::Unix(path) => {
            let socket = open(AddressFamily::UNIX).map_err(said)?;
            let address = SocketAddrUnix::new(path.as_path()).map_err(said)?;
            begun(connect(&socket, &address)).map_err(said)?;
            Ok((vec![socket], None))
        }
        Address::Ssh(to) => {
            let (program, socket) = Program::start(how.ssh.as_deref(), to)?;
            Ok((vec![socket], Some(program)))
        }
        tcp => {
            let found = tcp.resolve(how.insecure).map_err(|error| error.to_string())?;
            let sockets: Result<_, _> = found.into_iter().map(|address| tcp_socket(address).map_err(said)).collect();
            Ok((sockets?, None))
        }
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
    fn pauses_grow_within_bounds() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= PAUSES.0 / 2 && pauses[0] <= PAUSES.0, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= PAUSES.1) && pauses[19] >= PAUSES.1 / 2, "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= PAUSES.0);
    }
}
