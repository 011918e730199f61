//! Filling in `status`: what there is, as of now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fs9_tiers::channel::Ledger;

use super::peer::Peer;
use super::waiting::Parked;
use super::{Answered, Caller, Open, Server, Session};
use crate::channel::{Channel, Handle, Kind, MountLane};
use crate::events::seconds;
use crate::service::Service;
use crate::status::{
    COPIES, ChannelStatus, CountsStatus, EndStatus, HolderStatus, LaneStatus, LeftStatus, LimitsStatus, ServerStatus,
    SessionStatus, Status,
};
use crate::timer;
use crate::tree::{Attr, Body, File, Node, NodeId, Tree};

/// The holders of every file.
type Holders = HashMap<NodeId, Vec<HolderStatus>>;

impl Server {
    /// What there is, as far as `caller` may know: of channels that are others', only the mount's owner may.
    pub(super) fn status(&self, caller: Caller) -> Status {
        let holders = self.holders_by_node();
        let mut channels = self.tree.channels();
        channels.retain(|(_, _, node)| self.is_owner(caller) || node.attr.uid == caller.uid);
        let server = ServerStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            since: seconds(self.since),
            confined: self.confined,
            time: self.clock.as_ref().map(|clock| clock.now()),
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
            refused: self.refused,
        };
        let mut channels: Vec<_> =
            channels.into_iter().map(|(name, id, node)| self.channel_status(name, id, node, &holders)).collect();
        if self.is_owner(caller) {
            channels.extend(self.timer_statuses(&holders));
        }
        let sessions = if self.is_owner(caller) { self.session_statuses() } else { Vec::new() };
        let nodes = if self.is_owner(caller) { self.node_statuses() } else { Vec::new() };
        Status { server, limits, counts, listen: self.listening.clone(), sessions, nodes, channels }
    }

    /// `status` of one channel. Somebody else than its owner is told of nobody else who has it open, nor what serves
    /// it.
    pub(super) fn status_of(&self, id: NodeId, caller: Caller) -> Answered<String> {
        let node = self.tree.node(id)?;
        let mut status = self.channel_status(self.tree.path(id), id, node, &self.holders_by_node());
        if !self.is_owner(caller) && node.attr.uid != caller.uid {
            status.holders.retain(|holder| holder.uid == caller.uid);
            (status.command, status.left) = (Vec::new(), None);
        }
        let mut text = String::new();
        status.describe(&mut text);
        Ok(text)
    }

    /// `status.json`.
    pub(super) fn status_json(&self, caller: Caller) -> String {
        // Structs of strings and numbers always have a JSON form.
        serde_json::to_string(&self.status(caller)).unwrap_or_default() + "\n"
    }

    fn session_statuses(&self) -> Vec<SessionStatus> {
        let peers = self.open.iter().filter_map(|(_, open)| match open {
            Open::Peer(peer) => peer.session.as_ref(),
            _ => None,
        });
        let mut opens: HashMap<*const Session, usize> = HashMap::new();
        peers.for_each(|session| *opens.entry(Arc::as_ptr(session)).or_default() += 1);
        let status = |session: &Arc<Session>| SessionStatus {
            node: session.node.clone(),
            pid: session.pid(),
            uid: session.uid,
            key: session.key.map(|key| key.to_string()),
            since: seconds(session.since),
            opens: opens.get(&Arc::as_ptr(session)).copied().unwrap_or_default(),
        };
        self.sessions.iter().map(|(_, session)| status(session)).collect()
    }

    fn holders_by_node(&self) -> Holders {
        let waits: HashMap<Handle, &Parked> = self.parked.values().map(|parked| (parked.handle, parked)).collect();
        let mut holders = Holders::new();
        for (handle, open) in &self.open {
            let Open::Peer(peer) = open else { continue };
            holders.entry(peer.file.node).or_default().push(self.holder_status(peer, waits.get(&handle).copied()));
        }
        holders
    }

    fn holder_status(&self, peer: &Peer, wait: Option<&Parked>) -> HolderStatus {
        let own = self.tree.channel(peer.node).ok().filter(|_| peer.node != peer.file.node);
        let awaited = match self.tree.node(peer.file.node).map(|node| &node.body) {
            Ok(Body::Topic(topic)) => topic.full.contains(&peer.node) && topic.channel.view_of(None).0.waiting().1 > 0,
            _ => false,
        };
        HolderStatus {
            end: self.tree.end_name(peer.file).map(Into::into),
            connection: own.filter(|own| own.kind() == Kind::Connection).map(|_| Tree::number(peer.node)),
            pid: peer.holder.pid(),
            uid: peer.uid,
            node: peer.node_name().map(str::to_owned),
            access: peer.access().into(),
            view: peer.view.word().map(Into::into),
            since: seconds(peer.since),
            waiting: wait.map(|parked| parked.wait.word().into()),
            waiting_since: wait.map(|parked| seconds(parked.since)),
            holds: peer.holds(),
            awaited,
            missed: own.map_or(0, |own| own.lanes().map(|(_, lane)| lane.ledger().missed).sum()),
        }
    }

    fn channel_status(&self, name: String, id: NodeId, node: &Node, holders: &Holders) -> ChannelStatus {
        let own = ChannelStatus {
            name,
            mode: format!("{:04o}", node.attr.mode),
            uid: node.attr.uid,
            gid: node.attr.gid,
            holders: holders.get(&id).cloned().unwrap_or_default(),
            ..ChannelStatus::default()
        };
        match &node.body {
            Body::Service(service) => {
                ChannelStatus { lanes: self.service_lanes(service), ..service_status(service, own) }
            }
            Body::Topic(topic) => {
                let copies = topic.readers.iter().fold(topic.past, |sum, reader| self.account(*reader, 0, sum));
                let published = lane_status(None, topic.channel.view_of(None).0);
                let lanes = vec![published, account_status(Some(COPIES), &copies, (0, 0))];
                ChannelStatus { kind: "topic".into(), latest: topic.latest, lanes, ..own }
            }
            Body::Channel(channel) => channel_status(channel, own),
            Body::Directory(_) | Body::Timers | Body::Attached(_) => own,
        }
    }

    /// Both directions of all connections of a service.
    fn service_lanes(&self, service: &Service) -> Vec<LaneStatus> {
        let account = |lane: usize| {
            service.connections.keys().fold(service.past[lane], |sum, connection| self.account(*connection, lane, sum))
        };
        let waiting = |lane: usize| {
            let lanes = service.connections.keys().filter_map(|id| self.tree.channel(*id).ok()?.lanes().nth(lane));
            lanes.map(|(_, lane)| lane.waiting()).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
        };
        let ends = Kind::Connection.ends().into_iter().flatten().enumerate();
        ends.map(|(lane, end)| account_status(Some(end), &account(lane), waiting(lane))).collect()
    }

    /// `sum` and the account of a lane of the channel `id`.
    fn account(&self, id: NodeId, lane: usize, mut sum: Ledger) -> Ledger {
        if let Some((_, lane)) = self.tree.channel(id).ok().and_then(|channel| channel.lanes().nth(lane)) {
            sum.add(&lane.ledger());
        }
        sum
    }

    /// The timers that somebody has open, each with all its ticks.
    fn timer_statuses(&self, holders: &Holders) -> Vec<ChannelStatus> {
        let mut timers: BTreeMap<NodeId, Ledger> = BTreeMap::new();
        for (_, open) in &self.open {
            if let Open::Peer(peer) = open
                && timer::period(peer.file.node).is_some()
            {
                let sum = timers.entry(peer.file.node).or_default();
                *sum = self.account(peer.node, 0, *sum);
            }
        }
        let status = |(node, ticks): (NodeId, Ledger)| {
            let attr = self.tree.stat(File::of(node)).map(|stat| stat.attr).unwrap_or(Attr::new(0, 0, 0));
            ChannelStatus {
                name: self.tree.path_of(File::of(node)),
                kind: "timer".into(),
                mode: format!("{:04o}", attr.mode),
                uid: attr.uid,
                gid: attr.gid,
                lanes: vec![account_status(None, &ticks, (0, 0))],
                holders: holders.get(&node).cloned().unwrap_or_default(),
                ..ChannelStatus::default()
            }
        };
        timers.into_iter().map(status).collect()
    }
}

fn channel_status(channel: &Channel, own: ChannelStatus) -> ChannelStatus {
    ChannelStatus {
        kind: if channel.kind() == Kind::Pair { "pair" } else { "queue" }.into(),
        ack: channel.kind() == Kind::Queue { ack: true },
        lanes: channel.lanes().map(|(from, lane)| lane_status(from, lane)).collect(),
        ends: channel.left().map(|(end, reason)| EndStatus { end: end.into(), reason: reason.to_string() }).collect(),
        left: channel.last_left.map(|(pid, reason)| LeftStatus { pid, reason: reason.to_string() }),
        ..own
    }
}

fn service_status(service: &Service, own: ChannelStatus) -> ChannelStatus {
    ChannelStatus {
        kind: if service.program.is_some() { "program" } else { "service" }.into(),
        connections: service.connections.len(),
        backlog: service.backlog.len(),
        backlog_limit: service.spec.backlog,
        command: service.program.as_ref().map(|program| program.command.clone()).unwrap_or_default(),
        left: service.last_left.map(|(pid, reason)| LeftStatus { pid, reason: reason.to_string() }),
        ..own
    }
}

fn lane_status(from: Option<&'static str>, lane: &MountLane) -> LaneStatus {
    account_status(from, &lane.ledger(), lane.waiting())
}

fn account_status(from: Option<&'static str>, ledger: &Ledger, (readers, writers): (usize, usize)) -> LaneStatus {
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
