//! What the mount's `status.json` says, as far as the commands use it. Fields that are missing are empty: a newer or older
//! server is still understood.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::place::Place;
use super::shell::shown;
use super::wait::Wait;

/// The state of a mount.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    pub server: Server,
    pub channels: Vec<Channel>,
}

/// The process behind it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    pub pid: i32,
}

/// One channel.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Channel {
    pub name: String,
    pub kind: String,
    pub ack: bool,
    pub mode: String,
    pub uid: u32,
    pub lanes: Vec<Lane>,
    pub ends: Vec<End>,
    pub holders: Vec<Holder>,
}

/// One direction of a channel, with its ledger.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lane {
    pub from: Option<String>,
    pub sent: u64,
    pub received: u64,
    pub redelivered: u64,
    pub dropped: BTreeMap<String, u64>,
    pub slot: u64,
    pub held: u64,
}

/// An end that is gone, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct End {
    pub end: String,
    pub reason: String,
}

/// One open descriptor.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Holder {
    pub end: Option<String>,
    pub pid: u32,
    pub uid: u32,
    pub access: String,
    pub view: Option<String>,
    pub since: f64,
    pub waiting: Option<String>,
    pub holds: bool,
}

impl Report {
    /// Asks the server of the mount that `place` lies in.
    pub fn read(place: &Place, wait: &Wait) -> anyhow::Result<Report> {
        parse(&place.read_root_file("status.json", wait)?, place)
    }
}

/// The JSON object of the channel that `place` lies in, as the server wrote it.
pub fn channel_object(place: &Place, wait: &Wait) -> anyhow::Result<Option<serde_json::Value>> {
    let mut report: serde_json::Value = parse(&place.read_root_file("status.json", wait)?, place)?;
    let channels = report.get_mut("channels").and_then(serde_json::Value::as_array_mut);
    let found =
        channels.and_then(|all| all.iter_mut().find(|one| one["name"].as_str().is_some_and(|name| place.is_of(name))));
    Ok(found.map(serde_json::Value::take))
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8], place: &Place) -> anyhow::Result<T> {
    let root = shown(&place.root);
    serde_json::from_slice(json).with_context(|| format!("{root}/status.json is not what this fs9 understands"))
}

/// The same object with its fields named.
pub fn channel(object: serde_json::Value) -> anyhow::Result<Channel> {
    serde_json::from_value(object).map_err(|error| anyhow!("status.json is not what this fs9 understands: {error}"))
}

impl Channel {
    /// The kind as one would ask `fs9 new` for it.
    pub fn full_kind(&self) -> String {
        if self.ack { format!("{} --ack", self.kind) } else { self.kind.clone() }
    }

    /// How many readers and writers wait.
    pub fn waiting(&self) -> usize {
        self.holders.iter().filter(|holder| holder.waiting.is_some()).count()
    }
}

/// One line for the channel, one for each lane, each end that is gone and each holder.
pub fn lines(channel: &Channel) -> String {
    let mut text = format!("{}  {}  {}  uid {}\n", channel.name, channel.full_kind(), channel.mode, channel.uid);
    for lane in &channel.lanes {
        text += &format!("  {}\n", lane_line(lane));
    }
    for end in &channel.ends {
        text += &format!("  end {}: {}\n", end.end, end.reason);
    }
    for holder in &channel.holders {
        text += &format!("  {}\n", holder_line(holder, SystemTime::now()));
    }
    text
}

fn lane_line(lane: &Lane) -> String {
    let from = lane.from.as_ref().map(|end| format!("from {end}: ")).unwrap_or_default();
    let Lane { sent, received, redelivered, slot, held, .. } = lane;
    let mut line = format!("{from}sent {sent}, received {received}, in the slot {slot}, held {held}");
    for (reason, count) in &lane.dropped {
        line += &format!(", dropped {count} ({reason})");
    }
    if *redelivered > 0 {
        line += &format!(", redelivered {redelivered}");
    }
    line
}

fn holder_line(holder: &Holder, now: SystemTime) -> String {
    let end = holder.end.as_ref().map(|end| format!("end {end}: ")).unwrap_or_default();
    let view = holder.view.as_ref().map(|view| format!(":{view}")).unwrap_or_default();
    let mut line = format!("{end}pid {} uid {} {}{view}", holder.pid, holder.uid, holder.access);
    if let Some(age) = age(holder.since, now) {
        line += &format!(", open for {} s", age.as_secs());
    }
    if let Some(waiting) = &holder.waiting {
        line += &format!(", waits to {waiting}");
    }
    if holder.holds {
        line += ", holds a message";
    }
    line
}

fn age(since: f64, now: SystemTime) -> Option<Duration> {
    let since = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(since).ok()?)?;
    now.duration_since(since).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"server":{"pid":7,"version":"0.1.0","since":1.5},"limits":{"message":1044480},"channels":[
        {"name":"dir/chat","kind":"pair","ack":false,"mode":"0600","uid":3,"gid":3,
         "lanes":[{"from":"a","sent":2,"received":1,"redelivered":0,"dropped":{"killed":1},"slot":0,"held":0,
                   "readers":1,"writers":1}],
         "ends":[{"end":"b","reason":"killed 9"}],
         "holders":[{"end":"a","pid":12,"uid":3,"access":"rw","view":null,"since":0,"waiting":"read","holds":true}]},
        {"name":"jobs","kind":"queue","ack":true,"mode":"0600"}]}"#;

    #[test]
    fn the_schema_is_understood() {
        let report: Report = serde_json::from_str(JSON).expect("the schema");
        assert_eq!(report.server.pid, 7);
        let [chat, jobs] = report.channels.as_slice() else { panic!("two channels") };
        assert_eq!((chat.full_kind().as_str(), chat.waiting()), ("pair", 1));
        assert_eq!((jobs.full_kind().as_str(), jobs.waiting()), ("queue --ack", 0));
    }

    #[test]
    fn the_lines_of_one_channel() {
        let report: Report = serde_json::from_str(JSON).expect("the schema");
        let text = lines(&report.channels[0]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("dir/chat  pair  0600  uid 3"));
        assert_eq!(lines.next(), Some("  from a: sent 2, received 1, in the slot 0, held 0, dropped 1 (killed)"));
        assert_eq!(lines.next(), Some("  end b: killed 9"));
        let holder = lines.next().expect("one holder");
        assert!(holder.starts_with("  end a: pid 12 uid 3 rw, open for "), "{holder}");
        assert!(holder.ends_with(", waits to read, holds a message"), "{holder}");
    }

    #[test]
    fn a_time_that_makes_no_sense_is_left_out() {
        for since in [-1.0, f64::NAN, 1e300] {
            assert_eq!(age(since, SystemTime::now()), None);
        }
    }
}
