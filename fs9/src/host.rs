//! What a server asks of the process it lives in.

use std::fmt::Debug;
use std::time::Instant;

use crate::tree::NodeId;

/// Called while the server is locked: must not wait, and must not call the server.
pub trait Host: Debug + Send + Sync {
    /// [`Server::tick`](crate::server::Server::tick) is to be called at this time.
    fn alarm(&self, at: Instant);

    /// A connection of this service waits for a process of its program.
    fn engage(&self, service: NodeId);
}
