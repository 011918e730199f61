//! What is to be drawn: processes and channels, and between them who has which end open.

use std::collections::{BTreeMap, BTreeSet};

use super::super::shell::shown;
use crate::status::{COPIES, ChannelStatus, HolderStatus, LaneStatus, Status};

/// Boxes, and arrows between them.
#[derive(Debug, Default)]
pub struct Picture {
    pub nodes: Vec<Node>,
    pub arrows: Vec<Arrow>,
    /// Channels that nobody has open and that are therefore not drawn.
    pub idle: usize,
}

/// A process or a channel.
#[derive(Debug)]
pub struct Node {
    pub shape: Shape,
    /// What no other box is called.
    pub id: String,
    /// What it says: its name, then what is worth knowing of it.
    pub name: String,
    pub facts: String,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Process,
    Channel,
}

/// Descriptors of one process that are alike, from box to box the way messages go.
#[derive(Debug)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    /// Whether messages go both ways.
    pub both: bool,
    pub label: String,
    /// Whether they wait.
    pub waits: bool,
}

/// A process as its descriptors know it: its number, its user, its node if that is another one. Those whose process
/// cannot be seen are told apart by the rest alone.
type Holder<'a> = (u32, u32, Option<&'a str>);

/// What descriptors of one process have in common that are drawn as one arrow: the end, whether it is connected, what
/// they may do, what they wait for.
type Alike<'a> = (Option<&'a str>, bool, &'a str, Option<Wait<'a>>);

/// A wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wait<'a> {
    /// To read, write or accept.
    To(&'a str),
    /// Of the writers of a topic, for a reader to take what it has.
    OfWriters,
}

impl Picture {
    /// Draws what `status` says; `all` of it, or only channels that somebody has open. `command` knows what a process
    /// runs.
    pub fn new(status: &Status, all: bool, command: fn(u32) -> Option<String>) -> Picture {
        let mut picture = Picture::default();
        let mut processes = BTreeMap::new();
        for channel in &status.channels {
            if channel.holders.is_empty() && !all {
                picture.idle += 1;
                continue;
            }
            let node = picture.add(of_channel(channel));
            for ((holder, alike), holders) in groups(channel) {
                let process = *processes.entry(holder).or_insert_with(|| picture.add(of_process(holder, command)));
                picture.arrows.push(arrow(process, node, alike, &holders));
            }
        }
        picture
    }

    /// What the picture shows, and what it does not.
    pub fn caption(&self) -> String {
        let count = |shape| self.nodes.iter().filter(|node| node.shape == shape).count();
        let drawn = format!("processes: {}, channels: {}", count(Shape::Process), count(Shape::Channel));
        match self.idle {
            0 => drawn,
            idle => format!("{drawn}; not drawn: {idle} that nobody has open (--all)"),
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

fn groups(channel: &ChannelStatus) -> BTreeMap<(Holder<'_>, Alike<'_>), Vec<&HolderStatus>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for holder in &channel.holders {
        let waits = holder.waiting.as_deref().map(Wait::To).or(holder.awaited.then_some(Wait::OfWriters));
        let alike = (holder.end.as_deref(), holder.connection.is_some(), &*holder.access, waits);
        groups.entry(((holder.pid, holder.uid, holder.node.as_deref()), alike)).or_default().push(holder);
    }
    groups
}

fn of_channel(channel: &ChannelStatus) -> Node {
    let name = shown(channel.name.as_ref());
    let lanes = channel.lanes.iter().map(|LaneStatus { from, sent, .. }| match from.as_deref() {
        Some(COPIES) => format!(", {sent} {COPIES}"),
        Some(end) => format!(", {sent} sent by {end}"),
        None => format!(", {sent} sent"),
    });
    let runs =
        if channel.command.is_empty() { String::new() } else { format!(", runs {:?}", channel.command.join(" ")) };
    let facts = channel.full_kind() + &runs + &lanes.collect::<String>();
    Node { shape: Shape::Channel, id: format!("channel {name}"), name, facts }
}

fn of_process((pid, uid, node): Holder<'_>, command: fn(u32) -> Option<String>) -> Node {
    let of = node.map(|node| format!(" of {}", shown(node.as_ref()))).unwrap_or_default();
    let (id, pid, name) = match pid {
        0 => (format!("unseen{of} uid {uid}"), format!("pid unknown{of}"), None),
        _ if node.is_some() => (format!("process {pid}{of} uid {uid}"), format!("pid {pid}{of}"), None),
        _ => (format!("process {pid} uid {uid}"), format!("pid {pid}"), command(pid)),
    };
    Node { shape: Shape::Process, id, name: name.unwrap_or_else(|| "?".into()), facts: format!("{pid} uid {uid}") }
}

fn arrow(process: usize, channel: usize, (end, _, access, waits): Alike<'_>, holders: &[&HolderStatus]) -> Arrow {
    // A conversation is drawn from the end that begins it to the end that answers.
    let answers = matches!(end, Some("b" | "accept"));
    let (from, to) = match access {
        "r" => (channel, process),
        "rw" if answers => (channel, process),
        _ => (process, channel),
    };
    let connections: BTreeSet<u64> = holders.iter().filter_map(|holder| holder.connection).collect();
    let mut words: Vec<String> = end.map(str::to_owned).into_iter().collect();
    match connections.is_empty() {
        true if holders.len() == 1 => {}
        true => words.push(format!("×{}", holders.len())),
        false => words.push(ranges(&connections)),
    }
    words.extend(waits.map(|wait| match wait {
        Wait::To(what) => format!("waits to {what}"),
        Wait::OfWriters => "writers wait for it".to_owned(),
    }));
    Arrow { from, to, both: access == "rw", label: words.join(" "), waits: waits.is_some() }
}

/// Numbers as a person would list them: #1-3 #7.
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last)| if first == last { format!("#{first}") } else { format!("#{first}-{last}") };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn command(pid: u32) -> Option<String> {
        (pid < 100).then(|| format!("program{pid}"))
    }

    /// The picture of channels as in `status.json`.
    pub fn picture(channels: &str, all: bool) -> Picture {
        let status = serde_json::from_str(&format!(r#"{{"channels":[{channels}]}}"#)).expect("the schema");
        Picture::new(&status, all, command)
    }

    fn arrows(picture: &Picture) -> Vec<String> {
        let line = |arrow: &Arrow| {
            let (from, to) = (&picture.nodes[arrow.from].id, &picture.nodes[arrow.to].id);
            let head = if arrow.both { "<->" } else { "->" };
            let waits = if arrow.waits { " (red)" } else { "" };
            format!("{from} {head} {to} {}{waits}", arrow.label)
        };
        picture.arrows.iter().map(line).collect()
    }

    #[test]
    fn an_arrow_goes_the_way_of_the_messages() {
        let queue = r#"{"name":"dir/q","kind":"queue","ack":true,"lanes":[{"sent":7}],"holders":[
            {"pid":12,"uid":3,"access":"w"},{"pid":12,"uid":3,"access":"w"},{"pid":12,"uid":3,"access":"w","waiting":"write"},
            {"pid":13,"access":"r","waiting":"read"},{"pid":14,"access":"rw"},{"access":"r","uid":5}]}"#;
        let picture = picture(queue, false);
        assert_eq!(
            arrows(&picture),
            [
                "channel dir/q -> unseen uid 5 ",
                "process 12 uid 3 -> channel dir/q ×2",
                "process 12 uid 3 -> channel dir/q waits to write (red)",
                "channel dir/q -> process 13 uid 0 waits to read (red)",
                "process 14 uid 0 <-> channel dir/q ",
            ]
        );
        let said = |node: &Node| (node.name.clone(), node.facts.clone());
        assert_eq!(said(&picture.nodes[0]), ("dir/q".into(), "queue --ack, 7 sent".into()));
        assert_eq!(said(&picture.nodes[1]), ("?".into(), "pid unknown uid 5".into()));
        assert_eq!(said(&picture.nodes[2]), ("program12".into(), "pid 12 uid 3".into()));
    }

    #[test]
    fn a_conversation_goes_from_the_end_that_begins_it() {
        let pair = r#"{"name":"t","kind":"pair","lanes":[{"from":"a","sent":1},{"from":"b","sent":2}],"holders":[
            {"end":"b","pid":13,"access":"rw"},{"end":"a","pid":12,"access":"rw"}]}"#;
        let picture = picture(pair, false);
        assert_eq!(arrows(&picture), ["process 12 uid 0 <-> channel t a", "channel t <-> process 13 uid 0 b"]);
        assert_eq!(picture.nodes[0].facts, "pair, 1 sent by a, 2 sent by b");
    }

    #[test]
    fn both_ends_of_a_connection_have_its_number() {
        let end = |end: &str, pid: u32, number: &str| {
            format!(r#"{{"end":"{end}","pid":{pid},"access":"rw","connection":{number}}}"#)
        };
        let holders = [
            end("connect", 12, "1"),
            end("connect", 12, "2"),
            end("connect", 14, "3"),
            end("accept", 13, "1"),
            end("accept", 13, "2"),
            end("accept", 13, "3"),
            end("accept", 13, "5"),
        ];
        let idle =
            r#"{"end":"accept","pid":15,"access":"rw"},{"end":"accept","pid":15,"access":"rw","waiting":"accept"}"#;
        let service = r#""name":"s","kind":"program","command":["cat","-u"]"#;
        let service = format!(r#"{{{service},"holders":[{},{idle}]}}"#, holders.join(","));
        let picture = picture(&service, false);
        assert_eq!(picture.nodes[0].facts, "program, runs \"cat -u\"");
        assert_eq!(
            arrows(&picture),
            [
                "process 12 uid 0 <-> channel s connect #1-2",
                "channel s <-> process 13 uid 0 accept #1-3 #5",
                "process 14 uid 0 <-> channel s connect #3",
                "channel s <-> process 15 uid 0 accept",
                "channel s <-> process 15 uid 0 accept waits to accept (red)",
            ]
        );
    }

    #[test]
    fn who_keeps_the_writers_of_a_topic_waiting_is_seen() {
        let topic = r#"{"name":"t","kind":"topic","lanes":[{"sent":5},{"from":"copies","sent":10}],"holders":[
            {"pid":12,"access":"r"},{"pid":13,"access":"r","awaited":true},{"pid":14,"access":"w","waiting":"write"}]}"#;
        let picture = picture(topic, false);
        assert_eq!(
            arrows(&picture),
            [
                "channel t -> process 12 uid 0 ",
                "channel t -> process 13 uid 0 writers wait for it (red)",
                "process 14 uid 0 -> channel t waits to write (red)",
            ]
        );
        assert_eq!(picture.nodes[0].facts, "topic, 5 sent, 10 copies");
    }

    #[test]
    fn what_nobody_has_open_is_drawn_when_asked_for() {
        let channels = r#"{"name":"a","kind":"queue"},{"name":"b","kind":"queue","holders":[{"pid":12,"access":"r"}]}"#;
        assert_eq!((picture(channels, false).nodes.len(), picture(channels, false).idle), (2, 1));
        assert_eq!((picture(channels, true).nodes.len(), picture(channels, true).idle), (3, 0));
    }

    #[test]
    fn a_process_is_drawn_once() {
        let channel = |name| format!(r#"{{"name":"{name}","kind":"queue","holders":[{{"pid":200,"access":"r"}}]}}"#);
        let picture = picture(&[channel("a"), channel("b")].join(","), false);
        assert_eq!(picture.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "?", "b"]);
    }
}
