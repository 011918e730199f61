//! `status` and `status.json`: one table of what there is, shown in two forms.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use serde::Serialize;

use super::waiting::Parked;
use super::{Answered, Open, Server};
use crate::channel::{Channel, ENDS, Handle, Kind, MountLane};
use crate::events::seconds;
use crate::tree::{Body, Node, NodeId};

/// The mount, as `status.json` has it.
#[derive(Serialize)]
struct Report {
    server: ServerReport,
    limits: LimitsReport,
    counts: CountsReport,
    channels: Vec<ChannelReport>,
}

#[derive(Serialize)]
struct ServerReport {
    pid: u32,
    version: &'static str,
    since: f64,
}

#[derive(Serialize)]
struct LimitsReport {
    message: usize,
    channels: usize,
    opens: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct CountsReport {
    channels: usize,
    opens: usize,
    waiting: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct ChannelReport {
    name: String,
    kind: &'static str,
    ack: bool,
    mode: String,
    uid: u32,
    gid: u32,
    lanes: Vec<LaneReport>,
    ends: Vec<EndReport>,
    holders: Vec<HolderReport>,
}

#[derive(Serialize)]
struct LaneReport {
    from: Option<&'static str>,
    sent: u64,
    received: u64,
    redelivered: u64,
    dropped: BTreeMap<&'static str, u64>,
    slot: u64,
    held: u64,
    readers: usize,
    writers: usize,
}

#[derive(Serialize)]
struct EndReport {
    end: &'static str,
    reason: String,
}

#[derive(Clone, Serialize)]
struct HolderReport {
    end: Option<&'static str>,
    pid: u32,
    uid: u32,
    access: &'static str,
    view: Option<&'static str>,
    since: f64,
    waiting: Option<&'static str>,
    waiting_since: Option<f64>,
    holds: bool,
}

impl LaneReport {
    fn new(from: Option<&'static str>, lane: &MountLane) -> LaneReport {
        let ledger = lane.ledger();
        let (readers, writers) = lane.waiting();
        LaneReport {
            from,
            sent: ledger.sent,
            received: ledger.received,
            redelivered: ledger.redelivered,
            dropped: ledger.dropped().collect(),
            slot: ledger.slot,
            held: ledger.held,
            readers,
            writers,
        }
    }
}

impl Server {
    /// `status` of the mount.
    pub(super) fn status(&self) -> String {
        let report = self.report_all();
        let mut text = format!(
            "fs9 {}  pid {}  up {}  channels {} of {}  open {} of {}  waiting {}  bytes {} of {}  limit {}\n",
            report.server.version,
            report.server.pid,
            age(report.server.since),
            report.counts.channels,
            report.limits.channels,
            report.counts.opens,
            report.limits.opens,
            report.counts.waiting,
            report.counts.bytes,
            report.limits.bytes,
            report.limits.message,
        );
        report.channels.iter().for_each(|channel| describe(channel, &mut text));
        text
    }

    /// `status` of one channel.
    pub(super) fn status_of(&self, id: NodeId) -> Answered<String> {
        let node = self.tree.node(id)?;
        let Body::Channel(channel) = &node.body else { return Err(Errno::ISDIR) };
        let mut text = String::new();
        let holders = self.holders_by_node();
        describe(&self.channel_report(self.tree.path(id), id, node, channel, &holders), &mut text);
        Ok(text)
    }

    /// `status.json`.
    pub(super) fn status_json(&self) -> String {
        // Structs of strings and numbers always have a JSON form.
        serde_json::to_string(&self.report_all()).unwrap_or_default() + "\n"
    }

    fn report_all(&self) -> Report {
        let holders = self.holders_by_node();
        let channels = self.tree.channels();
        Report {
            server: ServerReport {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION"),
                since: seconds(self.since),
            },
            limits: LimitsReport {
                message: self.limits.message,
                channels: self.limits.channels,
                opens: self.limits.opens,
                bytes: self.limits.bytes,
            },
            counts: CountsReport {
                channels: channels.len(),
                opens: self.open.len(),
                waiting: self.parked.len(),
                bytes: self.store.used(),
            },
            channels: channels
                .into_iter()
                .map(|(name, id, node, channel)| self.channel_report(name, id, node, channel, &holders))
                .collect(),
        }
    }

    fn holders_by_node(&self) -> HashMap<NodeId, Vec<HolderReport>> {
        let waits: HashMap<Handle, &Parked> = self.parked.values().map(|parked| (parked.handle, parked)).collect();
        let mut holders: HashMap<NodeId, Vec<HolderReport>> = HashMap::new();
        for (handle, open) in &self.open {
            let Open::Peer(peer) = open else { continue };
            let wait = waits.get(&handle);
            holders.entry(peer.file().node).or_default().push(HolderReport {
                end: peer.end.map(|end| ENDS[end & 1]),
                pid: peer.holder.pid(),
                uid: peer.uid,
                access: peer.access(),
                view: peer.view.word(),
                since: seconds(peer.since),
                waiting: wait.map(|parked| parked.wait.word()),
                waiting_since: wait.map(|parked| seconds(parked.since)),
                holds: peer.holds(),
            });
        }
        holders
    }

    fn channel_report(
        &self,
        name: String,
        id: NodeId,
        node: &Node,
        channel: &Channel,
        holders: &HashMap<NodeId, Vec<HolderReport>>,
    ) -> ChannelReport {
        let holders = holders.get(&id).cloned().unwrap_or_default();
        ChannelReport {
            name,
            kind: channel.kind().word(),
            ack: channel.kind() == Kind::Queue { ack: true },
            mode: format!("{:04o}", node.attr.mode),
            uid: node.attr.uid,
            gid: node.attr.gid,
            lanes: channel.lanes().map(|(from, lane)| LaneReport::new(from, lane)).collect(),
            ends: channel.left().map(|(end, reason)| EndReport { end, reason: reason.to_string() }).collect(),
            holders,
        }
    }
}

/// One line for the channel and one for each holder.
fn describe(channel: &ChannelReport, text: &mut String) {
    let ack = if channel.ack { " --ack" } else { "" };
    let _ = write!(text, "{}  {}{ack} {} uid {}", channel.name, channel.kind, channel.mode, channel.uid);
    for lane in &channel.lanes {
        let from = lane.from.map(|end| format!("  from {end}:")).unwrap_or_default();
        let dropped: Vec<String> = lane.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
        let _ = write!(
            text,
            "{from}  sent {} = received {} + dropped {dropped} + slot {} + held {}  redelivered {}  waiting {} to read, {} to write",
            lane.sent, lane.received, lane.slot, lane.held, lane.redelivered, lane.readers, lane.writers,
        );
    }
    for end in &channel.ends {
        let _ = write!(text, "  {} left: {}", end.end, end.reason);
    }
    text.push('\n');
    for holder in &channel.holders {
        let end = holder.end.map(|end| format!("/{end}")).unwrap_or_default();
        let view = holder.view.map(|view| format!(":{view}")).unwrap_or_default();
        let _ = write!(
            text,
            "  {}{end}{view}  pid {} uid {}  {}  open for {}",
            channel.name,
            holder.pid,
            holder.uid,
            holder.access,
            age(holder.since),
        );
        if let (Some(wait), Some(since)) = (holder.waiting, holder.waiting_since) {
            let _ = write!(text, "  waits to {wait} for {}", age(since));
        }
        if holder.holds {
            text.push_str("  holds a message");
        }
        text.push('\n');
    }
}

/// How long ago, for people.
fn age(since: f64) -> String {
    let since = Duration::try_from_secs_f64(since).unwrap_or_default();
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since).map_or(0, |age| age.as_secs());
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}
