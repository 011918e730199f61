//! A connection as the loop has it: how far it has come, and why it ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use fs9_proto::frame::{FrameError, Frames};
use fs9_proto::server::Greeting;
use fs9_proto::violation::Violation;

use crate::net::client::Client;
use crate::net::origin::Party;
use crate::net::stream::Stream;
use crate::net::tls::TlsError;
use crate::server::Origin;

/// A connection.
pub(super) struct Connection {
    /// Each has another.
    pub(super) serial: u64,
    pub(super) stream: Arc<Stream>,
    pub(super) frames: Frames,
    pub(super) stage: Stage,
    /// It has attached nothing yet.
    pub(super) is_stranger: bool,
    /// Where it comes from, if its place there is counted.
    pub(super) place: Option<IpAddr>,
    /// What it was refused.
    pub(super) refusals: u8,
    /// Its buffer is a large one, until nothing has come for a while.
    pub(super) is_swollen: bool,
    /// Nothing is read from it, and what was read waits.
    pub(super) is_held: bool,
    pub(super) since: Instant,
    pub(super) heard: Instant,
}

impl Connection {
    /// Whose it is.
    pub(super) fn client(&self) -> Option<&Arc<Client>> {
        match &self.stage {
            Stage::Client(client) => Some(client),
            Stage::Handshake(_) | Stage::Greeting(..) => None,
        }
    }

    /// Since when it takes too little of what it is told.
    pub(super) fn slow_since(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Client(client) => client.state().slow_since(),
            Stage::Handshake(_) | Stage::Greeting(..) => None,
        }
    }
}

/// How far it has come.
pub(super) enum Stage {
    /// It has to prove its key. It comes from this address.
    Handshake(String),
    /// It has to say what it speaks.
    Greeting(Greeting, Option<Origin>, Arc<Party>),
    /// It is this client's.
    Client(Arc<Client>),
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client is gone.
    #[error("the connection was closed")]
    Gone,
    /// It broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// What it sends are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What it sends is not TLS, or not as we speak it.
    #[error(transparent)]
    Tls(TlsError),
    /// Silent for too long, or deaf.
    #[error("{0}")]
    Patience(&'static str),
}

impl End {
    /// Whether it might come back.
    pub(super) fn is_of_the_link(&self) -> bool {
        // Bytes that somebody has put in between are the link's fault, not the client's.
        matches!(self, End::Gone | End::Patience(_) | End::Tls(_))
    }
}

impl From<TlsError> for End {
    fn from(error: TlsError) -> End {
        match error {
            TlsError::System(_) | TlsError::Gone => End::Gone,
            error => End::Tls(error),
        }
    }
}
