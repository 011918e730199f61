//! Dialling: the first time, and again when the link has broken.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::address::Address;
use super::carrier::Carrier;
use super::channel::Channel;
use super::connection::Connection;
use super::hello::{Hello, Identity};
use super::socket::Socket;
use super::stream::{Stream, Streamed};
use super::{Options, Origin, PATIENCE};
use crate::error::Reason;
use crate::process::link::Credentials;
use crate::slot::Deadline;
use crate::sys::socket::peer_credentials;

/// The pause before the second attempt. Each is twice as long as the one before, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// What makes a stream.
type Connect = Box<dyn FnMut() -> io::Result<Arc<dyn Carrier>> + Send>;

/// How the far side is reached.
pub(super) enum Route {
    /// It listens there.
    Address(Address),
    /// Somebody makes a stream that leads there.
    Stream(Mutex<Connect>),
}

impl Route {
    /// By streams that `connect` makes.
    pub fn over<S: Stream>(mut connect: impl FnMut() -> io::Result<S> + Send + 'static) -> Route {
        Route::Stream(Mutex::new(Box::new(move || Ok(Arc::new(Streamed::new(connect()?)?)))))
    }

    fn reach(&self, deadline: Deadline) -> io::Result<(Arc<dyn Carrier>, Option<Credentials>)> {
        match self {
            Route::Stream(connect) => Ok((connect.lock().unwrap_or_else(PoisonError::into_inner)()?, None)),
            Route::Address(address) => {
                let socket = address.connect(deadline)?;
                let credentials = match address {
                    Address::Unix(_) => Some(peer_credentials(&socket)?),
                    Address::Tcp(_) => None,
                };
                let credentials = credentials.map(|(pid, uid, gid)| Credentials { pid, uid, gid });
                Ok((Arc::new(Socket::new(socket)?), credentials))
            }
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Address(address) => address.fmt(f),
            Route::Stream(_) => f.write_str("over a stream"),
        }
    }
}

/// Begins a session; returns its first channel.
///
/// # Errors
/// Those of connecting and of the greeting.
pub(super) fn first(route: Route, options: Options, deadline: Deadline) -> io::Result<Arc<Channel>> {
    let (carrier, credentials) = route.reach(deadline)?;
    Hello { identity: Identity::NONE, received: 0 }.say(&*carrier, deadline)?;
    let identity = Hello::hear(&*carrier, deadline)?.identity;
    if identity == Identity::NONE {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Connection::begin(carrier, options, Origin::Dialled(route), identity, credentials)
}

/// Dials until the session goes on, or `linger` is over: in a thread of its own.
pub(super) fn again(connection: Arc<Connection>) {
    let until = Instant::now().checked_add(connection.linger());
    let dialling = Arc::clone(&connection);
    // Whoever makes streams does that on its stack.
    let started = thread::Builder::new().name("fs9-dial".to_owned()).spawn(move || dial_until(&dialling, until));
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
    let Origin::Dialled(route) = connection.origin() else { return Ok(false) };
    let (carrier, credentials) = route.reach(deadline)?;
    if credentials.map(|who| who.uid) != connection.credentials().map(|who| who.uid) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let identity = connection.identity();
    Hello { identity, received: connection.suspend() }.say(&*carrier, deadline)?;
    let answer = Hello::hear(&*carrier, deadline)?;
    if answer.identity != identity {
        return Ok(false);
    }
    connection.resume(carrier, answer.received);
    Ok(true)
}
