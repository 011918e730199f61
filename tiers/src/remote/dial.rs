//! Dialling: the first time, and again when the link has broken.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::address::Address;
use super::channel::Channel;
use super::connection::Connection;
use super::hello::{Hello, Identity};
use super::socket::Socket;
use super::{Options, Origin, PATIENCE};
use crate::error::Reason;
use crate::process::link::Credentials;
use crate::slot::Deadline;
use crate::sys::socket::peer_credentials;

/// The pause before the second attempt. Each is twice as long as the one before, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// Begins a session; returns its first channel.
///
/// # Errors
/// Those of connecting and of the greeting.
pub(super) fn first(address: Address, options: Options, deadline: Deadline) -> io::Result<Arc<Channel>> {
    let (socket, credentials) = reach(&address, deadline)?;
    Hello { identity: Identity::NONE, received: 0 }.say(&socket)?;
    let identity = Hello::hear(&socket, deadline)?.identity;
    if identity == Identity::NONE {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Connection::begin(socket, options, Origin::Dialled(address), identity, credentials)
}

fn reach(address: &Address, deadline: Deadline) -> io::Result<(Socket, Option<Credentials>)> {
    let socket = address.connect(deadline)?;
    let credentials = match address {
        Address::Unix(_) => Some(peer_credentials(&socket).map(|(pid, uid, gid)| Credentials { pid, uid, gid })?),
        Address::Tcp(_) => None,
    };
    Ok((Socket::new(socket)?, credentials))
}

/// Dials until the session goes on, or `linger` is over: in a thread of its own.
pub(super) fn again(connection: Arc<Connection>) {
    let until = Instant::now().checked_add(connection.linger());
    let dialling = Arc::clone(&connection);
    let started = thread::Builder::new().name("fs9-dial".to_owned()).stack_size(256 * 1024).spawn(move || {
        dial_until(&dialling, until);
    });
    if started.is_err() {
        connection.end(Reason::Unreachable);
    }
}

fn dial_until(connection: &Connection, until: Option<Instant>) {
    let mut pause = FIRST;
    while !connection.is_over() {
        let now = Instant::now();
        if until.is_some_and(|until| until <= now) {
            return connection.end(Reason::Unreachable);
        }
        let soon = now + PATIENCE;
        match resume(connection, Deadline::At(until.map_or(soon, |until| until.min(soon)))) {
            Ok(true) => return,
            Ok(false) => return connection.end(Reason::Lost),
            Err(_) => {
                let left = until.map_or(pause, |until| until.saturating_duration_since(Instant::now()));
                thread::sleep(pause.min(left));
                pause = (pause * 2).min(LONGEST);
            }
        }
    }
}

/// One attempt. False where the far side does not know the session any more.
fn resume(connection: &Connection, deadline: Deadline) -> io::Result<bool> {
    let Origin::Dialled(address) = connection.origin() else { return Ok(false) };
    let (socket, credentials) = reach(address, deadline)?;
    if credentials.map(|who| who.uid) != connection.credentials().map(|who| who.uid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let identity = connection.identity();
    Hello { identity, received: connection.suspend() }.say(&socket)?;
    let answer = Hello::hear(&socket, deadline)?;
    if answer.identity != identity {
        return Ok(false);
    }
    connection.resume(socket, answer.received);
    Ok(true)
}
