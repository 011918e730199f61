//! The sessions of those who were dialled: new ones begin here, and go on here after a break.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::carrier::Carrier;
use super::channel::Channel;
use super::connection::Connection;
use super::hello::{Hello, Identity, random};
use super::{Options, Origin};
use crate::process::link::Credentials;
use crate::slot::Deadline;

pub(super) struct Sessions {
    options: Options,
    epoch: u64,
    known: Mutex<HashMap<[u8; 16], Weak<Connection>>>,
}

/// Somebody who dials, and how.
pub(super) struct Caller {
    pub carrier: Arc<dyn Carrier>,
    pub credentials: Option<Credentials>,
}

impl Sessions {
    /// # Errors
    /// Those of getrandom(2).
    pub fn new(options: Options) -> io::Result<Sessions> {
        Ok(Sessions { options, epoch: u64::from_le_bytes(random()?), known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 16], Weak<Connection>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one; returns its first channel.
    ///
    /// # Errors
    /// Those of the greeting, and of watching the stream.
    pub fn begin(&self, caller: Caller, deadline: Deadline) -> io::Result<Arc<Channel>> {
        let identity = Identity::fresh(self.epoch)?;
        Hello { identity, received: 0 }.say(&*caller.carrier, deadline)?;
        let options = self.options.clone();
        let first = Connection::begin(caller.carrier, options, Origin::Accepted, identity, caller.credentials)?;
        let mut known = self.known();
        known.retain(|_, connection| connection.upgrade().is_some_and(|connection| !connection.is_over()));
        known.insert(identity.session, Arc::downgrade(first.connection()));
        Ok(first)
    }

    /// Goes on with the one that `hello` names, or says that there is none.
    ///
    /// # Errors
    /// Those of the greeting.
    pub fn go_on(&self, hello: &Hello, caller: Caller, deadline: Deadline) -> io::Result<()> {
        let known = self.known().get(&hello.identity.session).and_then(Weak::upgrade);
        let connection = known.filter(|connection| {
            let is_the_same = connection.credentials().map(|who| who.uid) == caller.credentials.map(|who| who.uid);
            hello.identity == connection.identity() && !connection.is_over() && is_the_same
        });
        let Some(connection) = connection else {
            return Hello { identity: Identity::NONE, received: 0 }.say(&*caller.carrier, deadline);
        };
        let received = connection.suspend();
        Hello { identity: hello.identity, received }.say(&*caller.carrier, deadline)?;
        connection.resume(caller.carrier, hello.received);
        Ok(())
    }
}
