//! Who the node at the other end has to be: the one whose key was written down when it was attached first.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fs9_grants::Key;

use crate::attachment::Attach;
use crate::identity::{Identity, IdentityError, Known};
use crate::net::tls::{self, TlsStream, Trust};

/// This node, as it meets another.
#[derive(Debug)]
pub struct Meeting {
    /// Who we are, if we are anybody.
    pub identity: Arc<Result<Identity, IdentityError>>,
    /// The name that the other has here.
    pub name: String,
}

impl Meeting {
    fn identity(&self) -> Result<&Identity, String> {
        Result::as_ref(&self.identity).map_err(|error| format!("this node has no key: {error}"))
    }

    /// Begins to prove who we are over a connection to the node, and to have it prove who it is.
    ///
    /// # Errors
    /// This node has no key, or cannot tell which one the other has.
    pub fn begin(&self, socket: OwnedFd, how: &Attach) -> Result<TlsStream, String> {
        let identity = self.identity()?;
        let known = identity.known_nodes();
        let trust = match known.find(&self.name, &how.address).map_err(|error| error.to_string())? {
            Known::Pinned(key, line) => Trust::Pinned(key, format!("line {line} of {}", known.place())),
            Known::Unknown if how.accept_new => Trust::New,
            Known::Unknown => Trust::Nobody,
        };
        let config = tls::client(identity, trust).map_err(|error| error.to_string())?;
        TlsStream::client(socket, config).map_err(|error| error.to_string())
    }

    /// The node has proved its key, which was one that we trust. A new one is written down.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn end(&self, key: &Key, how: &Attach) -> Result<(), String> {
        let known = self.identity()?.known_nodes();
        match known.find(&self.name, &how.address) {
            Ok(Known::Pinned(..)) => Ok(()),
            Ok(Known::Unknown) => known.pin(&self.name, &how.address, key).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
