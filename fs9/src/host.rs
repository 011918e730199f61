//! What a server asks of the process it lives in.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::attachment::{Account, Attach};
use crate::grants::Decision;
use crate::ticket::Ticket;
use crate::tree::NodeId;

/// A write to `ctl` that waits for a decision.
#[derive(Debug)]
pub struct Undecided {
    /// What is to be done.
    pub decision: Decision,
    /// Bytes that were written.
    pub len: usize,
    /// Who waits.
    pub ticket: Ticket,
}

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

    /// This is to be decided, and answered: it takes files.
    fn decide(&self, undecided: Undecided);

    /// This attachment is there no more.
    fn detach(&self, node: NodeId);
}
