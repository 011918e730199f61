//! How a mount is found from elsewhere, and who it is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::grants::Grants;
use crate::identity::{Identity, IdentityError, State};
use crate::mount::MountError;
use crate::net::address::Address;
use crate::net::listen::{ListenError, Listener};
use crate::net::tls;

/// How long a connection that has broken is waited for, unless said.
pub const LINGER: Duration = Duration::from_secs(30);
/// After how long a silence one has broken, unless said.
pub const KEEP_ALIVE: Duration = Duration::from_secs(45);

/// How a mount is to be found from elsewhere.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Also where others can hear what is said.
    pub insecure: bool,
    /// How long what a client has open is kept for it when its connection breaks.
    pub linger: Duration,
    /// After so long a silence the connection of a session has broken.
    pub keep_alive: Duration,
    /// Clients see the nodes that are attached here, and use their trees.
    pub export_nodes: bool,
    /// Where the node keeps its key, and what it knows of others; None is the usual place.
    pub state: Option<PathBuf>,
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            listen: Vec::new(),
            insecure: false,
            linger: LINGER,
            keep_alive: KEEP_ALIVE,
            export_nodes: false,
            state: None,
        }
    }
}

/// What others find.
#[derive(Debug)]
pub struct Front {
    /// Where they come to.
    pub listeners: Vec<Listener>,
    /// Who is there. A node that only its own machine uses may be nobody.
    pub identity: Arc<Result<Identity, IdentityError>>,
    /// How it speaks TLS, if it does.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who may then come.
    pub grants: Option<Arc<Grants>>,
    /// How long what they have open is kept.
    pub linger: Duration,
}

impl Serving {
    /// Listens, as whoever the node is.
    ///
    /// # Errors
    /// [`MountError::Unheard`].
    pub fn begin(&self) -> Result<Front, MountError> {
        let identity = State::find(self.state.as_deref()).map_err(Into::into).and_then(Identity::load);
        let is_private = self.listen.iter().any(|address| matches!(address, Address::Tls { .. }));
        let private = match &identity {
            Ok(identity) if is_private => {
                let tls = tls::server(identity).map_err(|error| MountError::Unheard(error.into()))?;
                let grants = Grants::open(identity).map_err(|error| MountError::Unheard(error.into()))?;
                Some((tls, Arc::new(grants)))
            }
            Err(error) if is_private || self.state.is_some() => {
                return Err(MountError::Unheard(error.to_string().into()));
            }
            _ => None,
        };
        let listeners = self.listeners()?;
        let (tls, grants) = private.unzip();
        Ok(Front { listeners, identity: Arc::new(identity), tls, grants, linger: self.linger })
    }

    fn listeners(&self) -> Result<Vec<Listener>, ListenError> {
        let mut listeners = Vec::new();
        for address in &self.listen {
            listeners.extend(Listener::on(address, self.insecure)?);
        }
        Ok(listeners)
    }
}

impl Front {
    /// Where it is found, for people.
    pub fn addresses(&self) -> Vec<String> {
        self.listeners.iter().map(|listener| listener.address().to_string()).collect()
    }
}
