//! The nodes that are attached: links to them, with a thread each from `attach` to `detach`, and what doors ask of
//! them. A door says by an [`Asker`] how it is answered, and knows nothing of links that break; a link knows nothing of
//! doors.
//!
//! A file there is a path. Each operation walks to it from the root of the node's tree, all in one round trip, so of
//! what is not open nothing is held at the other node.

mod asked;
mod branch;
mod dial;
mod driver;
mod errand;
mod file;
mod link;
mod meeting;
mod path;
mod reach;
mod rehearsal;
mod ssh;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::attachment::{Account, Attach};
use crate::identity::{Identity, IdentityError};
use crate::local::verb;
use crate::net::Clerk;
use crate::server::Server;
use crate::tree::NodeId;
pub use asked::{Asker, Outcome, Then};
pub use branch::Branch;
use driver::Driver;
pub use errand::{Bytes, Opening};
pub use link::Link;
pub use meeting::Meeting;
pub use path::Path;
pub use reach::{Reached, reach};
pub use ssh::{Program, VARIABLE as SSH};

/// A link needs little.
const STACK: usize = 256 * 1024;

/// So many guests may go on to nodes that are attached here, at once and all together: each has a thread there.
const BRANCHES: usize = 256;

/// All links of a mount, by the numbers of their attachments.
#[derive(Debug, Default)]
pub struct Links {
    links: Mutex<FxHashMap<NodeId, Arc<Link>>>,
    /// Those of guests.
    branches: Mutex<Vec<Arc<Link>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Links {
    fn links(&self) -> MutexGuard<'_, FxHashMap<NodeId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn branches(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.branches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link that does nothing before [`Links::start`].
    ///
    /// # Errors
    /// EMFILE.
    pub fn add(&self, node: NodeId, how: Attach, account: Arc<Account>) -> Result<Arc<Link>, Errno> {
        let link = Arc::new(Link::new(node, how, account)?);
        self.links().insert(node, link.clone());
        Ok(link)
    }

    /// The link of a guest, which ends with that of the attachment.
    fn graft(&self, branch: &Arc<Link>) -> Result<(), Errno> {
        let links = self.links();
        let mut branches = self.branches();
        if !links.contains_key(&branch.node) {
            return Err(Errno::STALE);
        }
        if branches.len() >= BRANCHES {
            return Err(Errno::NFILE);
        }
        branches.push(branch.clone());
        Ok(())
    }

    /// A guest does not need its link any more.
    fn cut_off(&self, branch: &Arc<Link>) {
        self.branches().retain(|other| !Arc::ptr_eq(other, branch));
    }

    /// The link of an attachment; None when it was detached.
    pub fn get(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links().get(&node).cloned()
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.links().is_empty()
    }

    /// Request `id` of a door is interrupted. False if no node was asked for it.
    pub fn interrupt(&self, id: u64) -> bool {
        let mut links: Vec<_> = self.links().values().cloned().collect();
        links.extend(self.branches().iter().cloned());
        links.iter().any(|link| link.run(|state| state.interrupt(id)))
    }

    /// Has a thread reach the node as `identity`, again and again until it is detached.
    pub fn start(&self, link: Arc<Link>, server: Arc<Mutex<Server>>, identity: Arc<Result<Identity, IdentityError>>) {
        let node = link.node;
        let name = verb(&server, |server, _| server.node_name(node));
        let spawned = Clerk::for_host(&link.how.address).and_then(|clerk| {
            let driver = Driver::new(link, server, Meeting { identity, name }, clerk);
            thread::Builder::new().name("fs9-link".into()).stack_size(STACK).spawn(move || {
                driver.confine();
                driver.run();
            })
        });
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        match spawned {
            Ok(thread) => threads.push(thread),
            Err(error) => tracing::error!(%error, "cannot reach a node"),
        }
    }

    /// The node is detached: what waits for it fails, what is open there is closed.
    pub fn remove(&self, node: NodeId) {
        let link = self.links().remove(&node);
        let branches: Vec<_> = self.branches().iter().filter(|branch| branch.node == node).cloned().collect();
        link.into_iter().chain(branches).for_each(|link| link.end());
    }

    /// Ends all of them; none has a thread when this returns.
    pub fn end(&self) {
        let links = std::mem::take(&mut *self.links());
        let branches = self.branches().clone();
        links.into_values().chain(branches).for_each(|link| link.end());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a link has panicked");
            }
        }
    }
}

/// What the system says, as it is told in `events`.
fn said(error: impl Into<io::Error>) -> String {
    error.into().to_string()
}
