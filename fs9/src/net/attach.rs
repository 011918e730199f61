//! The links to the nodes that are attached: a thread each, from `attach` to `detach`.

mod dial;
mod driver;
mod link;
mod ssh;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::attachment::{Account, Attach};
use crate::fuse::far::Far;
use crate::server::Server;
use crate::tree::NodeId;
use driver::Driver;
pub use link::{Link, State};
pub use ssh::VARIABLE as SSH;

/// A link needs little.
const STACK: usize = 256 * 1024;

/// All links of a mount, by the numbers of their attachments.
#[derive(Debug, Default)]
pub struct Links {
    links: Mutex<FxHashMap<NodeId, Arc<Link>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Links {
    fn links(&self) -> MutexGuard<'_, FxHashMap<NodeId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link that does nothing before [`Links::start`].
    ///
    /// # Errors
    /// EMFILE.
    pub fn add(&self, node: NodeId, how: Attach, account: Arc<Account>) -> Result<(), Errno> {
        self.links().insert(node, Arc::new(Link::new(node, how, account)?));
        Ok(())
    }

    /// The link of an attachment; None when it was detached.
    pub fn get(&self, node: NodeId) -> Option<Arc<Link>> {
        self.links().get(&node).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Link>> {
        self.links().values().cloned().collect()
    }

    /// Has a thread reach the node, again and again until it is detached.
    pub fn start(&self, node: NodeId, far: Arc<Far>, server: Arc<Mutex<Server>>) {
        let Some(link) = self.get(node) else { return };
        let driver = Driver::new(link, far, server);
        let spawned = thread::Builder::new().name("fs9-link".into()).stack_size(STACK).spawn(move || driver.run());
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
        link.into_iter().for_each(|link| link.end());
    }

    /// Ends all of them; none has a thread when this returns.
    pub fn end(&self) {
        let links = std::mem::take(&mut *self.links());
        links.into_values().for_each(|link| link.end());
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
