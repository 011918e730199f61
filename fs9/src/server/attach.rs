//! Trees of other nodes: their names come and go, and their links fare.

use std::time::SystemTime;

use super::{Answered, Caller, Server};
use crate::attachment::{Attach, Attachment, LinkState};
use crate::events::{Event, seconds};
use crate::status::NodeStatus;
use crate::ticket::Effects;
use crate::tree::{Attr, Body, File, NODES, NodeId, ROOT};

impl Server {
    /// Shows another node's tree under `n/NAME`. Whoever uses it does so in the name of who mounted, so nobody else is
    /// let in unless the mode is changed.
    ///
    /// # Errors
    /// As [`Tree::attach`](crate::tree::Tree::attach).
    pub fn attach(&mut self, name: &str, how: Attach, caller: Caller, fx: &mut Effects) -> Answered<()> {
        let root = self.tree.node(ROOT)?.attr;
        let node = self.tree.attach(name, Attr::new(0o700, root.uid, root.gid), Attachment::new(how))?;
        if let Err(errno) = self.reach(node) {
            let _ = self.tree.detach(name);
            return Err(errno);
        }
        let event = Event { event: "attached", uid: Some(caller.uid), ..Event::default() };
        self.report(event, File::of(node), fx);
        Ok(())
    }

    /// Has the node be reached whose tree this is; nothing where it is no attachment.
    pub(super) fn reach(&self, node: NodeId) -> Answered<()> {
        match &self.tree.node(node)?.body {
            Body::Attached(own) => self.host.attach(node, own.how.clone(), own.account.clone()),
            _ => Ok(()),
        }
    }

    /// Takes a node's tree away. What is open in it fails, and what waits.
    ///
    /// # Errors
    /// ENOENT.
    pub fn detach(&mut self, name: &str, fx: &mut Effects) -> Answered<()> {
        let node = self.tree.detach(name)?;
        self.host.detach(node);
        let path = format!("{}/{name}", self.tree.path(NODES));
        self.announce(Event { event: "detached", name: &path, ..Event::default() }, fx);
        Ok(())
    }

    /// The link of an attachment fares in another way: `event` says how.
    pub fn link(
        &mut self,
        node: NodeId,
        state: LinkState,
        event: &'static str,
        reason: Option<String>,
        fx: &mut Effects,
    ) {
        // It may have been detached since.
        let Ok(own) = self.tree.node_mut(node) else { return };
        let Body::Attached(attachment) = &mut own.body else { return };
        if attachment.state != state {
            attachment.since = SystemTime::now();
        }
        attachment.state = state;
        attachment.reason.clone_from(&reason);
        self.report(Event { event, reason, ..Event::default() }, File::of(node), fx);
    }

    /// The name of an attachment; empty when it is gone.
    pub fn node_name(&self, node: NodeId) -> String {
        self.tree.node(node).map(|node| node.name.to_string()).unwrap_or_default()
    }

    /// What is attached.
    pub(super) fn node_statuses(&self) -> Vec<NodeStatus> {
        let status = |(name, attachment): (&str, &Attachment)| {
            let (sent, unknown) = attachment.account.figures();
            NodeStatus {
                name: format!("{}/{name}", self.tree.path(NODES)),
                address: attachment.how.address.to_string(),
                state: attachment.state.word().into(),
                since: seconds(attachment.since),
                reason: attachment.reason.clone(),
                sent,
                unknown,
            }
        };
        self.tree.attachments().map(status).collect()
    }
}
