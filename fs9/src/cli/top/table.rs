//! The table: a row a channel, from what the mount says now and what it said before. Asks nobody anything.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use clap::ValueEnum;

use super::super::columns::{self, Heading};
use super::super::shell::shown;
use crate::status::{COPIES, ChannelStatus, CountsStatus, HolderStatus, LaneStatus, ServerStatus, Status};

/// What there is, as rows in the order of the server.
#[derive(Debug, Default)]
pub struct Table {
    pub server: ServerStatus,
    pub counts: CountsStatus,
    pub rows: Vec<Row>,
}

/// A channel, and what is worth knowing of it at a glance.
#[derive(Debug)]
pub struct Row {
    pub channel: ChannelStatus,
    /// Where the other end lives.
    tier: &'static str,
    /// Messages a second, once two ledgers are known.
    rate: Option<f64>,
    sent: u64,
    /// Who waits for a message, a client or a tick.
    readers: usize,
    writers: usize,
    /// Since when somebody waits, in seconds since 1970.
    oldest: Option<f64>,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Column {
    Kind,
    Tier,
    Rate,
    Sent,
    WaitR,
    WaitW,
    Holders,
    Oldest,
    Name,
}

/// In which order the rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub by: Column,
    pub reversed: bool,
}

impl Table {
    /// What `status` says, with what each channel did since `before`, as long ago as is said with it.
    pub fn new(status: Status, before: Option<(&Table, Duration)>) -> Table {
        let Status { server, counts, channels, .. } = status;
        // Another server has other ledgers.
        let same = |other: &ServerStatus| (other.pid, other.since.to_bits()) == (server.pid, server.since.to_bits());
        let before = before.filter(|(table, _)| same(&table.server));
        let sent: HashMap<&str, u64> = before.iter().flat_map(|(table, _)| table.sent()).collect();
        let seconds = before.map_or(0.0, |(_, time)| time.as_secs_f64());
        let row = |channel: ChannelStatus| {
            let before = sent.get(channel.name.as_str()).copied();
            Row::new(channel, server.pid, before.map(|sent| (sent, seconds)))
        };
        let rows = channels.into_iter().map(row).collect();
        Table { server, counts, rows }
    }

    fn sent(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rows.iter().map(|row| (row.channel.name.as_str(), row.sent))
    }

    /// Which rows to show and in which order, as their places in `rows`: those whose name holds `filter`, in whatever
    /// case.
    pub fn sorted(&self, filter: &str, order: Order) -> Vec<usize> {
        let filter = filter.to_lowercase();
        let is_shown = |row: &Row| filter.is_empty() || row.channel.name.to_lowercase().contains(&filter);
        let mut sorted: Vec<usize> = (0..self.rows.len()).filter(|place| is_shown(&self.rows[*place])).collect();
        sorted.sort_by(|a, b| order.compare(&self.rows[*a], &self.rows[*b]));
        sorted
    }

    /// Messages a second, of all channels.
    pub fn rate(&self) -> f64 {
        self.rows.iter().filter_map(|row| row.rate).sum()
    }
}

impl Row {
    fn new(channel: ChannelStatus, server: u32, before: Option<(u64, f64)>) -> Row {
        // What a topic published was sent, not every copy of it.
        let sent = channel.lanes.iter().filter(|lane| lane.from.as_deref() != Some(COPIES)).map(|lane| lane.sent);
        let sent = sent.fold(0, u64::saturating_add);
        // Lanes know of several waits on one descriptor, holders of waits for a client, a copy or a tick.
        let line = |figure: fn(&LaneStatus) -> usize| channel.lanes.iter().map(figure).fold(0, usize::saturating_add);
        let waiting = |to_write: bool| {
            let waits = channel.holders.iter().filter_map(|holder| holder.waiting.as_deref());
            waits.filter(|wait| (*wait == "write") == to_write).count()
        };
        // One that was made anew has sent less than the one before it.
        let rate = before.filter(|(_, seconds)| *seconds > 0.0);
        let rate = rate.map(|(before, seconds)| sent.checked_sub(before).unwrap_or(sent) as f64 / seconds);
        Row {
            tier: tier(&channel, server),
            rate,
            sent,
            readers: line(|lane| lane.readers).max(waiting(false)),
            writers: line(|lane| lane.writers).max(waiting(true)),
            oldest: channel.holders.iter().filter_map(|holder| holder.waiting_since).min_by(f64::total_cmp),
            channel,
        }
    }

    /// Whether somebody waits.
    pub fn waits(&self) -> bool {
        self.oldest.is_some()
    }

    /// The cells, at a time in seconds since 1970, with ages as `age` says them.
    pub fn cells(&self, now: f64, age: fn(Duration) -> String) -> [String; COLUMNS.len()] {
        [
            self.channel.kind.to_string(),
            self.tier.to_owned(),
            self.rate.map_or(UNKNOWN.into(), |rate| format!("{rate:.1}")),
            self.sent.to_string(),
            self.readers.to_string(),
            self.writers.to_string(),
            self.channel.holders.len().to_string(),
            self.oldest.map_or(UNKNOWN.into(), |since| age(since_then(since, now))),
            shown(self.channel.name.as_ref()),
        ]
    }
}

/// What stands where there is nothing to say.
pub const UNKNOWN: &str = "-";

/// How long ago a time was, both in seconds since 1970. What makes no sense is no time at all.
pub fn since_then(since: f64, now: f64) -> Duration {
    Duration::try_from_secs_f64(now - since).unwrap_or_default()
}

/// Where the other end of a channel lives, as far as one can tell: with a child of the server, in the server itself, or
/// with whoever opens it on this machine.
fn tier(channel: &ChannelStatus, server: u32) -> &'static str {
    let by_server = |holder: &HolderStatus| holder.pid == server && server != 0 && holder.node.is_none();
    match &*channel.kind {
        "program" => "program",
        "timer" => "server",
        _ if channel.holders.iter().any(by_server) => "server",
        _ => "local",
    }
}

/// Every column, from left to right. The name is the last: it may be long, and may hold blanks.
pub const COLUMNS: [Column; 9] = [
    Column::Kind,
    Column::Tier,
    Column::Rate,
    Column::Sent,
    Column::WaitR,
    Column::WaitW,
    Column::Holders,
    Column::Oldest,
    Column::Name,
];

impl Column {
    /// Its title, and the room that its cells mostly need.
    fn title(self) -> (&'static str, usize) {
        match self {
            Column::Kind => ("KIND", 7),
            Column::Tier => ("TIER", 7),
            Column::Rate => ("MSG/S", 7),
            Column::Sent => ("SENT", 8),
            Column::WaitR => ("WAIT-R", 0),
            Column::WaitW => ("WAIT-W", 0),
            Column::Holders => ("HOLDERS", 0),
            Column::Oldest => ("OLDEST", 0),
            Column::Name => ("NAME", 0),
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Column::Kind | Column::Tier | Column::Name)
    }

    /// Text from A to Z, numbers from the greatest, waits from the oldest.
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Column::Kind => a.channel.kind.cmp(&b.channel.kind),
            Column::Tier => a.tier.cmp(b.tier),
            Column::Rate => b.rate.unwrap_or(-1.0).total_cmp(&a.rate.unwrap_or(-1.0)),
            Column::Sent => b.sent.cmp(&a.sent),
            Column::WaitR => b.readers.cmp(&a.readers),
            Column::WaitW => b.writers.cmp(&a.writers),
            Column::Holders => b.channel.holders.len().cmp(&a.channel.holders.len()),
            Column::Oldest => a.oldest.unwrap_or(f64::INFINITY).total_cmp(&b.oldest.unwrap_or(f64::INFINITY)),
            Column::Name => a.channel.name.cmp(&b.channel.name),
        }
    }
}

impl Order {
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let ordering = self.by.compare(a, b);
        let ordering = if self.reversed { ordering.reverse() } else { ordering };
        ordering.then_with(|| a.channel.name.cmp(&b.channel.name))
    }
}

/// The table as lines of text, the titles first; `mark` stands behind a column's title.
pub fn lines(rows: &[[String; COLUMNS.len()]], mark: impl Fn(Column) -> &'static str) -> Vec<String> {
    let heading = |column: Column| {
        let (title, room) = column.title();
        Heading { title: format!("{title}{}", mark(column)), room, right: !column.is_text() }
    };
    columns::table(&COLUMNS.map(heading), rows)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What a server of process 7 says, of channels as in `status.json`.
    pub fn status(channels: &str) -> Status {
        let json = format!(
            r#"{{"server":{{"pid":7,"version":"0.1.0","since":1000}},
                "counts":{{"channels":3,"opens":4,"waiting":1}},"channels":[{channels}]}}"#
        );
        serde_json::from_str(&json).expect("the schema")
    }

    /// A queue that has passed on `sent` messages, with one process waiting to read since `since`.
    pub fn queue(name: &str, sent: u64, since: Option<f64>) -> String {
        let (readers, holders) = match since {
            Some(since) => (1, format!(r#"{{"pid":12,"access":"r","waiting":"read","waiting_since":{since}}}"#)),
            None => (0, String::new()),
        };
        format!(
            r#"{{"name":"{name}","kind":"queue","lanes":[{{"sent":{sent},"readers":{readers}}}],"holders":[{holders}]}}"#
        )
    }

    const NAMES: Order = Order { by: Column::Name, reversed: false };

    fn names(table: &Table, filter: &str, by: Column, reversed: bool) -> String {
        let sorted = table.sorted(filter, Order { by, reversed });
        let names: Vec<_> = sorted.iter().map(|place| table.rows[*place].channel.name.as_str()).collect();
        names.join(" ")
    }

    fn three() -> Table {
        let before = [queue("b", 5, None), queue("a", 0, None), queue("C", 100, None)].join(",");
        let now = [queue("b", 25, Some(1090.0)), queue("a", 2, Some(1080.0)), queue("C", 100, None)].join(",");
        Table::new(status(&now), Some((&Table::new(status(&before), None), Duration::from_secs(2))))
    }

    #[test]
    fn the_rate_is_what_was_sent_since() {
        let table = three();
        assert_eq!(table.rows.iter().map(|row| row.rate).collect::<Vec<_>>(), [Some(10.0), Some(1.0), Some(0.0)]);
        assert_eq!(table.rate(), 11.0);
    }

    #[test]
    fn nobody_knows_the_rate_of_what_was_not_there() {
        let old = Table::new(status(&queue("a", 5, None)), None);
        let rate = |now: Status, seconds| Table::new(now, Some((&old, Duration::from_secs(seconds)))).rows[0].rate;
        assert_eq!(rate(status(&queue("b", 9, None)), 1), None);
        assert_eq!(rate(status(&queue("a", 9, None)), 0), None);
        // Removed and made anew in between.
        assert_eq!(rate(status(&queue("a", 3, None)), 1), Some(3.0));
        // Another server on the same directory.
        let mut other = status(&queue("a", 9, None));
        other.server.since = 2000.0;
        assert_eq!(rate(other, 1), None);
    }

    #[test]
    fn sorted_by_what_matters_most_first() {
        let table = three();
        for (by, forth, back) in [
            (Column::Name, "C a b", "b a C"),
            (Column::Rate, "b a C", "C a b"),
            (Column::Sent, "C b a", "a b C"),
            (Column::Oldest, "a b C", "C b a"),
            (Column::WaitR, "a b C", "C a b"),
            (Column::Kind, "C a b", "C a b"),
        ] {
            assert_eq!(
                (names(&table, "", by, false), names(&table, "", by, true)),
                (forth.into(), back.into()),
                "{by:?}"
            );
        }
    }

    #[test]
    fn the_filter_is_a_part_of_the_name_in_any_case() {
        let table = three();
        assert_eq!(names(&table, "c", Column::Name, false), "C");
        assert_eq!(names(&table, "A", Column::Name, false), "a");
        assert_eq!(names(&table, "x", Column::Name, false), "");
    }

    #[test]
    fn the_tier_is_where_the_other_end_lives() {
        let tier = |kind: &str, pid: u32| {
            let holder = HolderStatus { pid, ..HolderStatus::default() };
            let kind = kind.to_owned().into();
            tier(&ChannelStatus { kind, holders: vec![holder], ..ChannelStatus::default() }, 7)
        };
        assert_eq!(
            [tier("queue", 8), tier("pair", 7), tier("program", 8), tier("timer", 8)],
            ["local", "server", "program", "server"]
        );
    }

    #[test]
    fn a_topic_has_sent_what_was_published() {
        let topic = r#"{"name":"t","kind":"topic","lanes":[{"sent":5},{"from":"copies","sent":15,"readers":2}]}"#;
        let table = Table::new(status(topic), None);
        assert_eq!((table.rows[0].sent, table.rows[0].readers), (5, 2));
    }

    #[test]
    fn who_waits_for_a_client_waits() {
        let service =
            r#"{"name":"s","kind":"service","holders":[{"end":"accept","waiting":"accept","waiting_since":1}]}"#;
        assert_eq!(Table::new(status(service), None).rows[0].readers, 1);
    }

    #[test]
    fn figures_that_make_no_sense_do_no_harm() {
        let lane = format!(r#"{{"sent":{0},"readers":{0}}}"#, u64::MAX);
        let holder = r#"{"waiting":"read","waiting_since":1e300}"#;
        let all = format!(r#"{{"name":"a\u001b[2J","lanes":[{lane},{lane}],"holders":[{holder}]}}"#);
        let table = Table::new(status(&all), None);
        let rows =
            table.sorted("", NAMES).iter().map(|place| table.rows[*place].cells(0.0, seconds)).collect::<Vec<_>>();
        assert_eq!(rows[0][3..], ["18446744073709551615", "18446744073709551615", "0", "1", "0.0", "a\\u{1b}[2J"]);
    }

    fn seconds(time: Duration) -> String {
        format!("{:.1}", time.as_secs_f64())
    }

    #[test]
    fn the_table_as_text() {
        let table = three();
        let by_rate = table.sorted("", Order { by: Column::Rate, reversed: false });
        let rows: Vec<_> = by_rate.iter().map(|place| table.rows[*place].cells(1100.5, seconds)).collect();
        assert_eq!(
            lines(&rows, |_| ""),
            [
                "KIND    TIER      MSG/S     SENT WAIT-R WAIT-W HOLDERS OLDEST NAME",
                "queue   local      10.0       25      1      0       1   10.5 b",
                "queue   local       1.0        2      1      0       1   20.5 a",
                "queue   local       0.0      100      0      0       0      - C",
            ]
        );
    }
}
