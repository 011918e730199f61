//! Filling in `status`: what there is, as of now.

use std::collections::HashMap;

use rustix::io::Errno;

use super::waiting::Parked;
use super::{Answered, Caller, Open, Server};
use crate::channel::{Channel, ENDS, Handle, Kind, MountLane};
use crate::events::seconds;
use crate::status::{
    ChannelStatus, CountsStatus, EndStatus, HolderStatus, LaneStatus, LeftStatus, LimitsStatus, ServerStatus, Status,
};
use crate::tree::{Body, Node, NodeId};

/// The holders of every channel.
type Holders = HashMap<NodeId, Vec<HolderStatus>>;

impl Server {
    /// What there is, as far as `caller` may know: of channels that are others', only the mount's owner may.
    pub(super) fn status(&self, caller: Caller) -> Status {
        let holders = self.holders_by_node();
        let mut channels = self.tree.channels();
        channels.retain(|(_, _, node, _)| self.is_owner(caller) || node.attr.uid == caller.uid);
        let server = ServerStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            since: seconds(self.since),
        };
        let limits = LimitsStatus {
            message: self.limits.message,
            channels: self.limits.channels,
            opens: self.limits.opens,
            bytes: self.limits.bytes,
        };
        let counts = CountsStatus {
            channels: channels.len(),
            opens: self.open.len(),
            waiting: self.parked.len(),
            bytes: self.store.used(),
        };
        let channel = |(name, id, node, channel)| channel_status(name, id, node, channel, &holders);
        Status { server, limits, counts, channels: channels.into_iter().map(channel).collect() }
    }

    /// `status` of one channel.
    pub(super) fn status_of(&self, id: NodeId) -> Answered<String> {
        let node = self.tree.node(id)?;
        let Body::Channel(channel) = &node.body else { return Err(Errno::ISDIR) };
        let mut text = String::new();
        channel_status(self.tree.path(id), id, node, channel, &self.holders_by_node()).describe(&mut text);
        Ok(text)
    }

    /// `status.json`.
    pub(super) fn status_json(&self, caller: Caller) -> String {
        // Structs of strings and numbers always have a JSON form.
        serde_json::to_string(&self.status(caller)).unwrap_or_default() + "\n"
    }

    fn holders_by_node(&self) -> Holders {
        let waits: HashMap<Handle, &Parked> = self.parked.values().map(|parked| (parked.handle, parked)).collect();
        let mut holders = Holders::new();
        for (handle, open) in &self.open {
            let Open::Peer(peer) = open else { continue };
            let wait = waits.get(&handle);
            holders.entry(peer.file().node).or_default().push(HolderStatus {
                end: peer.end.map(|end| ENDS[end & 1].into()),
                pid: peer.holder.pid(),
                uid: peer.uid,
                access: peer.access().into(),
                view: peer.view.word().map(Into::into),
                since: seconds(peer.since),
                waiting: wait.map(|parked| parked.wait.word().into()),
                waiting_since: wait.map(|parked| seconds(parked.since)),
                holds: peer.holds(),
            });
        }
        holders
    }
}

fn channel_status(name: String, id: NodeId, node: &Node, channel: &Channel, holders: &Holders) -> ChannelStatus {
    ChannelStatus {
        name,
        kind: channel.kind().word().into(),
        ack: channel.kind() == Kind::Queue { ack: true },
        mode: format!("{:04o}", node.attr.mode),
        uid: node.attr.uid,
        gid: node.attr.gid,
        lanes: channel.lanes().map(|(from, lane)| lane_status(from, lane)).collect(),
        ends: channel.left().map(|(end, reason)| EndStatus { end: end.into(), reason: reason.to_string() }).collect(),
        left: channel.last_left.map(|(pid, reason)| LeftStatus { pid, reason: reason.to_string() }),
        holders: holders.get(&id).cloned().unwrap_or_default(),
    }
}

fn lane_status(from: Option<&'static str>, lane: &MountLane) -> LaneStatus {
    let ledger = lane.ledger();
    let (readers, writers) = lane.waiting();
    LaneStatus {
        from: from.map(Into::into),
        sent: ledger.sent,
        received: ledger.received,
        redelivered: ledger.redelivered,
        dropped: ledger.dropped().map(|(reason, count)| (reason.into(), count)).collect(),
        slot: ledger.slot,
        held: ledger.held,
        readers,
        writers,
    }
}
