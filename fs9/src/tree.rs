//! The tree of names: directories and channels, their modes, owners and times, and the files that each kind shows. What
//! there is, is here; `walk` finds it, `change` changes it.

mod attr;
mod change;
mod file;
mod furnish;
mod name;
mod node;
mod walk;

use std::collections::BTreeMap;

use fs9_tiers::heap;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::attachment;
use crate::channel::Channel;
use crate::service::Service;
use crate::topic::Topic;
pub use attr::{Attr, Stat};
pub use file::{File, Part};
pub use node::{Body, Node};
pub use walk::Entry;

/// The number of a node. Never used again for another, so that a stale one is recognised.
pub type NodeId = u64;

/// The directory at the mount point.
pub const ROOT: NodeId = 1;

/// The directory in which every duration is the name of a timer.
pub const TIMERS: NodeId = 2;

/// The directory of the trees of other nodes, each under a name.
pub const NODES: NodeId = 3;

/// The tree.
#[derive(Debug)]
pub struct Tree {
    nodes: FxHashMap<NodeId, Box<Node>>,
    next: NodeId,
    next_unlisted: NodeId,
    next_attached: NodeId,
    /// How many nodes there are that do not count.
    uncounted: usize,
    limit: usize,
}

impl Tree {
    /// The highest number of a node that has a name and is no attachment: a File and its view must fit into the 64 bits
    /// that a door has for it, attachments need as many, and timers twice as many.
    pub const LAST: NodeId = attachment::FIRST - 1;

    /// An empty tree of `attr` in which at most `limit` nodes can be made.
    pub fn new(attr: Attr, limit: usize) -> Tree {
        let names = BTreeMap::from_iter([("n".into(), NODES), ("timer".into(), TIMERS)]);
        let root = Node::new("", ROOT, attr, Body::Directory(names));
        let timers = Node::new("timer", ROOT, attr, Body::Timers);
        let attached = Node::new("n", ROOT, attr, Body::Directory(BTreeMap::new()));
        Tree {
            nodes: [(ROOT, root), (TIMERS, timers), (NODES, attached)].into_iter().collect(),
            next: NODES + 1,
            next_unlisted: Tree::FIRST_UNLISTED,
            next_attached: attachment::FIRST,
            uncounted: 3,
            limit,
        }
    }

    /// The lowest number of a node that no door ever hears of.
    const FIRST_UNLISTED: NodeId = 1 << 40;

    /// A node without a name as people are told of it.
    pub fn number(id: NodeId) -> u64 {
        id.saturating_sub(Tree::FIRST_UNLISTED) + 1
    }

    /// How many nodes there are without a name.
    #[cfg(test)]
    pub fn unlisted(&self) -> usize {
        self.nodes.keys().filter(|id| **id >= Tree::FIRST_UNLISTED).count()
    }

    /// How many nodes there are that somebody has made and named.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.uncounted
    }

    /// The node of a number.
    ///
    /// # Errors
    /// ESTALE when it is gone.
    pub fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&id).map(|node| &**node).ok_or(Errno::STALE)
    }

    /// The node of a number, to change. Errors as [`Tree::node`].
    pub fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).map(|node| &mut **node).ok_or(Errno::STALE)
    }

    /// The channel of a number. ESTALE when it is gone, EISDIR when it has none.
    pub fn channel_mut(&mut self, id: NodeId) -> Result<&mut Channel, Errno> {
        self.node_mut(id)?.body.channel_mut().ok_or(Errno::ISDIR)
    }

    /// The channel of a number. Errors as [`Tree::channel_mut`].
    pub fn channel(&self, id: NodeId) -> Result<&Channel, Errno> {
        self.node(id)?.body.channel().ok_or(Errno::ISDIR)
    }

    /// The service of a number. ESTALE when it is gone, ENOTCONN when it is none.
    pub fn service_mut(&mut self, id: NodeId) -> Result<&mut Service, Errno> {
        match &mut self.node_mut(id)?.body {
            Body::Service(service) => Ok(service),
            _ => Err(Errno::NOTCONN),
        }
    }

    /// The topic of a number; None when it is none, or gone.
    pub fn topic_mut(&mut self, id: NodeId) -> Option<&mut Topic> {
        match self.node_mut(id) {
            Ok(Node { body: Body::Topic(topic), .. }) => Some(topic),
            _ => None,
        }
    }

    /// Every node that is there, also those that were removed and are still open, in no order.
    pub fn every_node(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut().map(|node| &mut **node)
    }
}

/// Gives memory back that a table took when it held many times more.
pub fn shrink<K: Eq + std::hash::Hash, V>(table: &mut FxHashMap<K, V>) {
    if table.capacity() > 1024 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
        heap::trim();
    }
}

#[cfg(test)]
mod tests;
