//! What `status` and `status.json` say: one table of what there is, shown in two forms. The server fills it in; the
//! command reads it back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::confine::Confinement;

/// A word that the server has as a constant and a reader gets as text.
type Word = Cow<'static, str>;

/// In the place of an end: the lane of what a topic's readers got.
pub const COPIES: &str = "copies";

/// A mount. Fields that are missing are empty when it is read: a newer or older server is still understood.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The server.
    pub server: ServerStatus,
    /// What the mount allows at most.
    pub limits: LimitsStatus,
    /// What there is of it now.
    pub counts: CountsStatus,
    /// Where it listens for clients from elsewhere.
    pub listen: Vec<String>,
    /// Those that are there.
    pub sessions: Vec<SessionStatus>,
    /// The nodes whose trees are attached, in the order of the names.
    pub nodes: Vec<NodeStatus>,
    /// Every channel, in the order of the names.
    pub channels: Vec<ChannelStatus>,
}

/// A client from elsewhere.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    /// The node it asks from.
    pub node: String,
    /// Its process; 0 where it cannot be seen from here.
    pub pid: u32,
    /// As which user it came.
    pub uid: u32,
    /// The key that it has proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Seconds since 1970.
    pub since: f64,
    /// Descriptors of channels that it has.
    pub opens: usize,
}

/// Another node whose tree is attached.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its path from the mount point.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// up; dialling, without a session; broken, while the session can be resumed.
    pub state: Word,
    /// Seconds since 1970: since when it is so.
    pub since: f64,
    /// Why it is not up.
    pub reason: Option<String>,
    /// Messages that were sent there.
    pub sent: u64,
    /// Messages of which nobody knows whether they arrived.
    pub unknown: u64,
}

/// The server's process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerStatus {
    /// Its number.
    pub pid: u32,
    /// Of fs9.
    pub version: Word,
    /// Seconds since 1970.
    pub since: f64,
    /// How its threads are confined that listen to others.
    pub confined: Confinement,
    /// The time by which it lets keys in, if it does: seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// What a mount allows at most, see [`Limits`](crate::Limits).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsStatus {
    /// Bytes of one message.
    pub message: usize,
    /// Channels and directories.
    pub channels: usize,
    /// Descriptors.
    pub opens: usize,
    /// Bytes of all messages.
    pub bytes: usize,
}

/// How much of it is used.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CountsStatus {
    /// Channels.
    pub channels: usize,
    /// Descriptors.
    pub opens: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Bytes of messages.
    pub bytes: usize,
    /// Clients from elsewhere that were not let in, and requests of theirs to be let in.
    pub refused: u64,
}

/// A channel.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelStatus {
    /// Its path from the mount point.
    pub name: String,
    /// queue, pair, service, program, topic or timer.
    pub kind: Word,
    /// Made with `--ack`.
    pub ack: bool,
    /// Made with `--latest`.
    pub latest: bool,
    /// Permission bits, in octal.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its directions. Those of a service are of all its connections, also of those that are over; a topic has what was
    /// published, and the copies of that.
    pub lanes: Vec<LaneStatus>,
    /// The ends of a pair that somebody left.
    pub ends: Vec<EndStatus>,
    /// Connections of a service that are open.
    pub connections: usize,
    /// Those of them that wait for a server.
    pub backlog: usize,
    /// How many may.
    pub backlog_limit: usize,
    /// The program that serves, and its arguments.
    pub command: Vec<String>,
    /// The holder that left last. Of one that could only write to a queue, and left nothing behind, nobody asks why.
    pub left: Option<LeftStatus>,
    /// Who has it open.
    pub holders: Vec<HolderStatus>,
}

/// A holder that left.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftStatus {
    /// The process; 0 where it could not be seen.
    pub pid: u32,
    /// Why: closed, exited N, killed N, ended.
    pub reason: String,
}

/// One direction of a channel: its ledger, and how many wait.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneStatus {
    /// The end of a pair or a service that writes it; [`COPIES`] of a topic's copies.
    pub from: Option<Word>,
    /// Messages that entered it.
    pub sent: u64,
    /// Messages that a reader took and kept.
    pub received: u64,
    /// How often one was given back.
    pub redelivered: u64,
    /// Messages that nobody will receive, by reason.
    pub dropped: BTreeMap<Word, u64>,
    /// Messages in the slot.
    pub slot: u64,
    /// Messages in a reader's hands.
    pub held: u64,
    /// Readers in line.
    pub readers: usize,
    /// Writers in line.
    pub writers: usize,
}

/// An end of a pair that somebody left.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EndStatus {
    /// Which.
    pub end: Word,
    /// Why.
    pub reason: String,
}

/// A descriptor of a channel.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct HolderStatus {
    /// The end of a pair or a service.
    pub end: Option<Word>,
    /// The number of its connection: the other end of it has the same.
    pub connection: Option<u64>,
    /// The process; 0 where it cannot be seen.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The node it is on, if that is another one.
    pub node: Option<String>,
    /// r, w or rw.
    pub access: Word,
    /// line or whole.
    pub view: Option<Word>,
    /// Seconds since 1970.
    pub since: f64,
    /// read, write or accept, while it waits to.
    pub waiting: Option<Word>,
    /// Since when it waits.
    pub waiting_since: Option<f64>,
    /// Whether it holds a message.
    pub holds: bool,
    /// Whether writers of a topic wait for it.
    pub awaited: bool,
    /// Messages that it has not seen, because a newer one took their place.
    pub missed: u64,
}

impl Status {
    /// All of it for people: a line for the mount, then one a channel and one a holder.
    pub fn text(&self) -> String {
        let Status { server, limits, counts, listen, sessions, nodes, channels } = self;
        let mut text = format!(
            "fs9 {}  pid {}  up {}  channels {} of {}  open {} of {}  waiting {}  bytes {} of {}  limit {}\n",
            server.version,
            server.pid,
            age(server.since),
            counts.channels,
            limits.channels,
            counts.opens,
            limits.opens,
            counts.waiting,
            counts.bytes,
            limits.bytes,
            limits.message,
        );
        // Writing to a String cannot fail.
        if let Some(confined) = server.confined.text() {
            let _ = writeln!(text, "confined by {confined}");
        }
        for address in listen {
            let _ = writeln!(text, "listens on {address}");
        }
        if counts.refused > 0 {
            let _ = writeln!(text, "clients refused {}", counts.refused);
        }
        sessions.iter().for_each(|session| session.describe(&mut text));
        nodes.iter().for_each(|node| node.describe(&mut text));
        channels.iter().for_each(|channel| channel.describe(&mut text));
        text
    }
}

impl SessionStatus {
    fn describe(&self, text: &mut String) {
        let SessionStatus { node, uid, opens, .. } = self;
        let who = self.key.clone().unwrap_or_else(|| format!("uid {uid}"));
        let _ = writeln!(text, "session of {node} {who}  there for {}  open {opens}", age(self.since));
    }
}

impl NodeStatus {
    /// One line.
    fn describe(&self, text: &mut String) {
        let NodeStatus { name, address, state, sent, unknown, .. } = self;
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{name}  node {address}  {state} for {}{reason}  sent {sent}, unknown {unknown}",
            age(self.since),
        );
    }
}

impl ChannelStatus {
    /// The kind as one would ask `fs9 new` for it.
    pub fn full_kind(&self) -> String {
        let options = [(self.ack, " --ack"), (self.latest, " --latest")];
        options.iter().filter(|(made, _)| *made).fold(self.kind.to_string(), |kind, (_, option)| kind + option)
    }

    /// One line for the channel and one for each holder.
    pub fn describe(&self, text: &mut String) {
        text.push_str(&self.headline());
        text.push('\n');
        self.holders.iter().for_each(|holder| holder.describe(&self.name, text));
    }

    /// All but its holders, in one line.
    pub fn headline(&self) -> String {
        let mut text = format!("{}  {} {} uid {}", self.name, self.full_kind(), self.mode, self.uid);
        // Writing to a String cannot fail.
        if !self.command.is_empty() {
            let _ = write!(text, "  runs {:?}", self.command.join(" "));
        }
        if matches!(&*self.kind, "service" | "program") {
            let _ = write!(text, "  connections {}, waiting for a server {}", self.connections, self.backlog);
            let _ = write!(text, " of {}", self.backlog_limit);
        }
        self.lanes.iter().for_each(|lane| lane.describe(&mut text));
        for end in &self.ends {
            let _ = write!(text, "  {} left: {}", end.end, end.reason);
        }
        if let Some(left) = &self.left {
            let _ = write!(text, "  last left: pid {} {}", left.pid, left.reason);
        }
        text
    }
}

impl LaneStatus {
    fn describe(&self, text: &mut String) {
        let from = match self.from.as_deref() {
            None => String::new(),
            Some(COPIES) => format!("  {COPIES}:"),
            Some(end) => format!("  from {end}:"),
        };
        let dropped: Vec<String> = self.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let dropped = if dropped.is_empty() { "0".to_owned() } else { dropped.join(", ") };
        let _ = write!(
            text,
            "{from}  sent {} = received {} + dropped {dropped} + slot {} + held {}  redelivered {}  waiting {} to read, {} to write",
            self.sent, self.received, self.slot, self.held, self.redelivered, self.readers, self.writers,
        );
    }
}

impl HolderStatus {
    fn describe(&self, channel: &str, text: &mut String) {
        let end = self.end.as_ref().map(|end| format!("/{end}")).unwrap_or_default();
        let view = self.view.as_ref().map(|view| format!(":{view}")).unwrap_or_default();
        let HolderStatus { pid, uid, access, .. } = self;
        let connection = self.connection.map(|number| format!("  connection {number}")).unwrap_or_default();
        let age_of = age(self.since);
        let node = self.node.as_ref().map(|node| format!(" of {node}")).unwrap_or_default();
        let _ =
            write!(text, "  {channel}{end}{view}  pid {pid}{node} uid {uid}  {access}{connection}  open for {age_of}");
        if let (Some(wait), Some(since)) = (&self.waiting, self.waiting_since) {
            let _ = write!(text, "  waits to {wait} for {}", age(since));
        }
        if self.missed > 0 {
            let _ = write!(text, "  missed {}", self.missed);
        }
        text.push_str(if self.awaited { "  writers wait for it" } else { "" });
        text.push_str(if self.holds { "  holds a message\n" } else { "\n" });
    }
}

/// How long ago, for people. A time that makes no sense is 0.
fn age(since: f64) -> String {
    let since = Duration::try_from_secs_f64(since).ok().and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    span(age.unwrap_or_default())
}

/// A length of time, for people.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"server":{"pid":7,"version":"0.1.0","since":1.5},"limits":{"message":1044480},"channels":[
        {"name":"dir/chat","kind":"pair","ack":false,"mode":"0600","uid":3,"gid":3,
         "lanes":[{"from":"a","sent":2,"received":1,"redelivered":0,"dropped":{"killed":1},"slot":0,"held":0,
                   "readers":1,"writers":0}],
         "ends":[{"end":"b","reason":"killed 9"}],"left":{"pid":9,"reason":"killed 9"},
         "holders":[{"end":"a","pid":12,"uid":3,"access":"rw","view":null,"since":-1,"waiting":"read",
                     "waiting_since":1e300,"holds":true}]},
        {"name":"jobs","kind":"queue","ack":true,"mode":"0600"},{"name":"s","kind":"service","mode":"0700"}]}"#;

    #[test]
    fn a_channel_for_people() {
        let status: Status = serde_json::from_str(JSON).expect("the schema");
        let mut text = String::new();
        status.channels.iter().for_each(|channel| channel.describe(&mut text));
        assert_eq!(
            text,
            "dir/chat  pair 0600 uid 3  from a:  sent 2 = received 1 + dropped 1 killed + slot 0 + held 0  redelivered 0  \
             waiting 1 to read, 0 to write  b left: killed 9  last left: pid 9 killed 9\n\
             \x20 dir/chat/a  pid 12 uid 3  rw  open for 0s  waits to read for 0s  holds a message\n\
             jobs  queue --ack 0600 uid 0\n\
             s  service 0700 uid 0  connections 0, waiting for a server 0 of 0\n"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let status: Status = serde_json::from_str(JSON).expect("the schema");
        let again: Status = serde_json::from_str(&serde_json::to_string(&status).expect("JSON")).expect("the same");
        assert_eq!(status.channels[0].lanes[0].dropped, again.channels[0].lanes[0].dropped);
        assert_eq!((again.server.pid, again.channels.len()), (7, 3));
    }
}
