//! A topic: what its writers send goes to each reader's own copies.
//!
//! Writers stand in line at the topic's channel until every reader has room; see `server::publish`. With `latest` a
//! reader always has room: the newest message takes the place of one that it has not taken.

use fs9_tiers::channel::Ledger;
use rustc_hash::FxHashSet;

use crate::channel::{Channel, Kind};
use crate::tree::NodeId;

/// See the [module](self).
#[derive(Debug)]
pub struct Topic {
    /// Where the writers stand in line.
    pub channel: Channel,
    /// Made with `--latest`.
    pub latest: bool,
    /// The channel of each reader's copies.
    pub readers: FxHashSet<NodeId>,
    /// Those of them that have no room.
    pub full: FxHashSet<NodeId>,
    /// The account of copies of readers that have left.
    pub past: Ledger,
}

impl Topic {
    /// A topic without readers.
    pub fn new(latest: bool) -> Topic {
        Topic {
            channel: Channel::new(Kind::Topic),
            latest,
            readers: FxHashSet::default(),
            full: FxHashSet::default(),
            past: Ledger::default(),
        }
    }
}
