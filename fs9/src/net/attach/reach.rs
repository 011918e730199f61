//! Reaching a node for somebody who waits for it, as a command does that has nothing else to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;

use super::dial::{self, Begun};
use super::meeting::Meeting;
use super::said;
use super::ssh::Program;
use crate::attachment::Attach;
use crate::net::Clerk;
use crate::net::stream::Stream;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a connection of TCP that is silent is tried (tcp(7), TCP_KEEPIDLE): half-open, it is found so within 45 s.
const PROBE: Duration = Duration::from_secs(11);

/// A connection to a node. It does not block.
#[derive(Debug)]
pub struct Reached {
    /// What is said goes through it.
    pub stream: Stream,
    /// What it needs as long as it lasts.
    pub program: Option<Program>,
    /// When whoever waits gives up.
    pub(super) until: Instant,
}

/// Connects to a node, whose socket is then plain.
///
/// # Errors
/// Why it cannot be reached, for people.
pub fn reach(how: &Attach) -> Result<Reached, String> {
    let until = Instant::now() + PATIENCE;
    let clerk = Clerk::for_host(&how.address).map_err(said)?;
    let (sockets, program) = match dial::begin(how, clerk.as_ref(), || {})? {
        Begun::Sockets(sockets, program) => (sockets, program),
        Begun::Search(search) => (dial::sockets(search.wait(until)?)?, None),
    };
    let socket = first(sockets, until)?;
    Ok(Reached { stream: Stream::Plain(socket), program, until })
}

/// The first of them that is connected.
fn first(sockets: Vec<OwnedFd>, until: Instant) -> Result<OwnedFd, String> {
    let mut outcome = Err("it has no address".to_owned());
    for socket in sockets {
        outcome = wait(socket.as_fd(), PollFlags::OUT, until).and_then(|()| dial::outcome(&socket)).map(|()| socket);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

impl Reached {
    /// Proves who we are, and has the node prove that it is the one that is meant.
    ///
    /// # Errors
    /// As of [`Meeting`]; what TLS says.
    pub fn proved(self, meeting: &Meeting, how: &Attach) -> Result<Reached, String> {
        let Stream::Plain(socket) = self.stream else { return Ok(self) };
        let tls = meeting.begin(socket, how)?;
        loop {
            if let Some(key) = tls.handshake().map_err(|error| error.to_string())? {
                meeting.end(&key, how)?;
                return Ok(Reached { stream: Stream::Tls(Box::new(tls)), ..self });
            }
            let wanted = if tls.is_stuck() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            wait(tls.as_fd(), wanted, self.until)?;
        }
    }

    /// Has the system find out when the other machine is gone without a word. Nothing is changed of what is no TCP.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn keep_alive(&self) -> rustix::io::Result<()> {
        match sockopt::set_tcp_keepidle(&self.stream, PROBE) {
            Err(Errno::OPNOTSUPP | Errno::NOPROTOOPT) => return Ok(()),
            set => set?,
        }
        sockopt::set_tcp_keepintvl(&self.stream, PROBE)?;
        sockopt::set_tcp_keepcnt(&self.stream, 3)?;
        sockopt::set_tcp_user_timeout(&self.stream, 4 * PROBE.as_millis() as u32)?;
        sockopt::set_socket_keepalive(&self.stream, true)
    }
}

/// Waits for a socket.
pub(super) fn wait(socket: BorrowedFd<'_>, wanted: PollFlags, until: Instant) -> Result<(), String> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let limit = Timespec::try_from(left).map_err(|_| said(Errno::INVAL))?;
        match poll(&mut [PollFd::from_borrowed_fd(socket, wanted)], Some(&limit)) {
            Ok(0) => return Err(said(Errno::TIMEDOUT)),
            Err(Errno::INTR) => {}
            polled => return polled.map(drop).map_err(said),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_socket_is_reached_and_one_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let how = |name: &str| Attach::to(format!("unix:{}", dir.path().join(name).display()).parse().expect("a path"));
        let _listener = UnixListener::bind(dir.path().join("here")).expect("a socket");
        let reached = reach(&how("here")).expect("it listens");
        assert!(matches!(reached.stream, Stream::Plain(_)) && reached.program.is_none());
        reached.keep_alive().expect("no TCP");
        assert!(reach(&how("nowhere")).expect_err("nobody").contains("No such file"));
    }

    #[test]
    fn the_wait_for_a_node_ends() {
        let dir = tempfile::tempdir().expect("a directory");
        let _listener = UnixListener::bind(dir.path().join("silent")).expect("a socket");
        let how = Attach::to(format!("unix:{}", dir.path().join("silent").display()).parse().expect("a path"));
        let reached = Reached { until: Instant::now(), ..reach(&how).expect("it listens") };
        assert!(reached.rehearse().expect_err("it says nothing").contains("timed out"));
    }
}
