//! A link to a node that is attached here, for one guest of this node alone: it shows there the chain of grants that
//! the guest has passed on to this node, so that the other node decides, and writes down, by what the guest has.
//! Nothing is tried again that it was refused.

use std::sync::Arc;

use fs9_grants::Chain;
use rustix::io::Errno;

use super::{Link, Links};
use crate::allotment::Share;

/// A link of its own. Dropped, it has ended, and all that is open through it is closed.
#[derive(Debug)]
pub struct Branch {
    link: Arc<Link>,
    links: Arc<Links>,
    /// Of the links that its guest's key may have.
    _share: Option<Share>,
}

impl Branch {
    /// One beside `trunk`, by which this node itself goes there. It does nothing before it is reached
    /// ([`Keeper::reach`](crate::keeper::Keeper::reach)).
    ///
    /// # Errors
    /// EMFILE; ENFILE where there are too many; ESTALE where the node was detached.
    pub fn new(links: Arc<Links>, trunk: &Link, chain: Chain, share: Option<Share>) -> Result<Branch, Errno> {
        let link = Arc::new(Link::branch(trunk, chain)?);
        links.graft(&link)?;
        Ok(Branch { link, links, _share: share })
    }

    /// The link.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.links.cut_off(&self.link);
        self.link.end();
    }
}
