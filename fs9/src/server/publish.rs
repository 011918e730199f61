//! Topics: what writers send is copied to every reader.

use rustix::io::Errno;

use super::{Answered, Flags, Server};
use crate::channel::Kind;
use crate::message::Message;
use crate::ticket::Effects;
use crate::tree::{Attr, Node, NodeId};

impl Server {
    /// A new reader of a topic. Returns the channel of its copies.
    ///
    /// # Errors
    /// EINVAL for one that writes as well: it would wait for itself to read.
    pub(super) fn subscribe(&mut self, topic: NodeId, flags: Flags) -> Answered<NodeId> {
        let node = self.tree.node(topic)?;
        if node.removed {
            return Err(Errno::STALE);
        }
        if flags.write {
            return Err(Errno::INVAL);
        }
        let attr = Attr::new(0, node.attr.uid, node.attr.gid);
        let id = self.tree.make_unlisted(topic, attr, Kind::Copies);
        if let Some(topic) = self.tree.topic_mut(topic) {
            topic.readers.insert(id);
        }
        Ok(id)
    }

    /// Passes on what may have become possible at this channel: a topic has a message, or a reader of one has room.
    pub(super) fn pass_on(&mut self, node: NodeId, fx: &mut Effects) {
        let Ok(Node { body, parent, .. }) = self.tree.node(node) else { return };
        let (Some(channel), parent) = (body.channel(), *parent) else { return };
        match channel.kind() {
            Kind::Topic => self.publish(node, fx),
            Kind::Copies if channel.view_of(None).0.is_writable() => self.has_room(parent, node, fx),
            _ => {}
        }
    }

    /// This reader of a topic has room, or is no more.
    fn has_room(&mut self, topic: NodeId, reader: NodeId, fx: &mut Effects) {
        let Some(state) = self.tree.topic_mut(topic) else { return };
        if state.full.remove(&reader) && state.full.is_empty() {
            self.publish(topic, fx);
            self.wake_watchers(topic, fx);
        }
    }

    /// A reader has left for good.
    pub(super) fn unsubscribe(&mut self, topic: NodeId, reader: NodeId, fx: &mut Effects) {
        let Some(state) = self.tree.topic_mut(topic) else { return };
        state.readers.remove(&reader);
        self.has_room(topic, reader, fx);
        self.forget_if_unused(topic, fx);
    }

    /// Copies message after message to every reader, as long as all have room. What was left in a topic that is removed
    /// is for nobody.
    fn publish(&mut self, topic: NodeId, fx: &mut Effects) {
        while let Some(state) = self.tree.topic_mut(topic)
            && state.full.is_empty()
            && !state.channel.view_of(None).0.is_broken()
        {
            let mut done = Vec::new();
            let Some(message) = state.channel.outgoing(None).pop(&mut done) else { break };
            // Nobody comes or goes while we copy.
            let (latest, readers) = (state.latest, std::mem::take(&mut state.readers));
            let full = readers.iter().copied().filter(|reader| !self.copy(*reader, &message, latest, fx)).collect();
            if let Some(state) = self.tree.topic_mut(topic) {
                state.readers = readers;
                state.full = full;
            }
            self.complete_all(topic, done, fx);
        }
    }

    /// Gives a reader its copy. Whether there is room for the next.
    fn copy(&mut self, reader: NodeId, message: &Message, latest: bool, fx: &mut Effects) -> bool {
        let Ok(channel) = self.tree.channel_mut(reader) else { return true };
        let lane = channel.outgoing(None);
        let mut done = Vec::new();
        // Of a topic that was removed nobody reads on, and the copy is nobody's.
        let _unread =
            if latest { lane.overtake(message.clone(), &mut done) } else { lane.commit(message.clone(), &mut done) };
        let room = latest || lane.is_writable();
        self.complete_all(reader, done, fx);
        self.wake_watchers(reader, fx);
        room
    }
}
