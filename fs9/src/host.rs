//! What a server asks of the process it lives in.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::attachment::{Account, Attach};
use crate::tree::NodeId;

/// Called while the server is locked: must not wait, and must not call the server.
pub trait Host: Debug + Send + Sync {
    /// [`Server::tick`](crate::server::Server::tick) is to be called at this time.
    fn alarm(&self, at: Instant);

    /// A connection of this service waits for a process of its program.
    fn engage(&self, service: NodeId);

    /// This attachment is to be reached, and what is sent there to be counted in `account`.
    ///
    /// # Errors
    /// EMFILE.
    fn attach(&self, node: NodeId, how: Attach, account: Arc<Account>) -> Result<(), Errno>;

    /// This attachment is there no more.
    fn detach(&self, node: NodeId);
}
