//! What the screen shows.

use std::path::Path;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Text};

use super::super::columns::{self, Heading, fit, wrapped};
use super::super::shell::shown;
use super::browser::{Browser, Mode};
use super::table::{self, Column, Order, Row, UNKNOWN, since_then};
use crate::status::{HolderStatus, span};

/// What is shown beside the table.
pub struct Scene<'a> {
    /// The mount point.
    pub mount: &'a Path,
    /// Seconds since 1970.
    pub now: f64,
    /// For how long the server has not answered, when that is long.
    pub silent: Option<Duration>,
    /// What a process runs.
    pub command: fn(u32) -> Option<String>,
}

const KEYS: &str = "q quit  s sort  r reverse  / filter  h holders  ? help";
const HOLDERS_KEYS: &str = "q quit  Esc back  j k move  ? help";

const HELP: [&str; 19] = [
    "j k, arrows, PgUp PgDn, g G  move",
    "s S, arrows, 1 to 9          choose the column to sort by",
    "r                            sort the other way round",
    "/                            only names that hold what is typed; Esc clears it",
    "h, Enter                     the holders of the marked channel; Esc goes back",
    "q, Esc, Ctrl-C               quit",
    "",
    "TIER     where the other end lives: local, with whoever opens it;",
    "         program, with a child of the server; server, in the server itself",
    "MSG/S    messages that entered the channel, a second",
    "SENT     all of them, since it was made",
    "WAIT-R   how many wait to read, or for a client; WAIT-W to write",
    "HOLDERS  how many have it open",
    "OLDEST   the longest of the waits of now",
    "",
    "CONN     the same for both ends of one connection",
    "NOTE     holds a message; awaited by writers; missed so many messages",
    "",
    "any key goes back",
];

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, browser: &mut Browser, scene: &Scene<'_>) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(heading(browser, scene), head);
    match browser.mode {
        Mode::Help => frame.render_widget(Text::from_iter(HELP), body),
        Mode::Holders => holders(frame, body, browser, scene),
        Mode::Table | Mode::Filter => channels(frame, body, browser, scene),
    }
    frame.render_widget(footing(browser), foot);
}

fn heading(browser: &Browser, scene: &Scene<'_>) -> Line<'static> {
    let (server, counts) = (&browser.table.server, &browser.table.counts);
    let silent = scene.silent.map(|time| format!("NO ANSWER FOR {}  ", span(time)).red().bold());
    let facts = format!(
        "{}  pid {}  up {}  channels {}  open {}  waiting {}  msg/s {:.1}",
        shown(scene.mount),
        server.pid,
        span(since_then(server.since, scene.now)),
        counts.channels,
        counts.opens,
        counts.waiting,
        browser.table.rate(),
    );
    Line::from_iter(silent.into_iter().chain([facts.bold()]))
}

fn footing(browser: &Browser) -> Line<'static> {
    let shown = format!("/{}", browser.filter);
    match browser.mode {
        Mode::Filter => Line::from_iter([shown.into(), "█".into(), "  Enter keep  Esc clear".dim()]),
        Mode::Table if !browser.filter.is_empty() => {
            Line::from_iter([format!("{shown}  {} shown  ", browser.len()).yellow(), KEYS.dim()])
        }
        Mode::Table | Mode::Help => KEYS.dim().into(),
        Mode::Holders => HOLDERS_KEYS.dim().into(),
    }
}

fn channels(frame: &mut Frame<'_>, area: Rect, browser: &mut Browser, scene: &Scene<'_>) {
    let Order { by, reversed } = browser.order;
    let mark = |column: Column| match (column == by, reversed) {
        (false, _) => "",
        (true, false) => "▼",
        (true, true) => "▲",
    };
    let (rows, marked) = browser.in_sight(usize::from(area.height).saturating_sub(1));
    let rows: Vec<&Row> = rows.collect();
    let cells: Vec<_> = rows.iter().map(|row| row.cells(scene.now, span)).collect();
    let mut lines = table::lines(&cells, mark).into_iter().map(|line| fit(&line, area.width.into()));
    let titles = lines.next().map(|line| Line::from(line).style(Modifier::BOLD | Modifier::UNDERLINED));
    let body = lines.zip(rows).enumerate().map(|(place, (line, row))| {
        let style = if row.waits() { Style::new().yellow() } else { Style::new() };
        Line::styled(line, if place == marked { style.reversed() } else { style })
    });
    frame.render_widget(Text::from_iter(titles.into_iter().chain(body)), area);
}

fn holders(frame: &mut Frame<'_>, area: Rect, browser: &mut Browser, scene: &Scene<'_>) {
    let room = usize::from(area.width).max(1);
    let head = match browser.marked() {
        Some(row) => row.channel.headline(),
        None => format!("{}  is gone", browser.chosen()),
    };
    let head = headed(wrapped(&shown(head.as_ref()), room), usize::from(area.height) / 2, room);
    // The titles, and the holders.
    let page = usize::from(area.height).saturating_sub(head.len() + 1);
    let first = browser.first_holder(page);
    let holders = browser.marked().map_or(&[][..], |row| &row.channel.holders);
    let cells: Vec<_> =
        holders.iter().skip(first).take(page).map(|holder| cells(holder, scene.now, scene.command)).collect();
    let lines = columns::table(&holder_headings(), &cells).into_iter().map(|line| fit(&line, room));
    let table = lines.enumerate().map(|(place, line)| match place {
        0 => Line::from(line).style(Modifier::BOLD | Modifier::UNDERLINED),
        _ => Line::from(line),
    });
    frame.render_widget(Text::from_iter(head.into_iter().map(Line::from).chain(table)), area);
}

/// The lines of a headline, as many as leave room for the rest; what is left out is seen to be.
fn headed(mut lines: Vec<String>, most: usize, room: usize) -> Vec<String> {
    if lines.len() > most.max(1) {
        lines.truncate(most.max(1));
        lines.iter_mut().last().into_iter().for_each(|line| *line = fit(&format!("{line}…"), room));
    }
    lines
}

fn holder_headings() -> [Heading; 9] {
    let heading = |title: &str, room, right| Heading { title: title.into(), room, right };
    [
        heading("PID", 7, true),
        heading("UID", 5, true),
        heading("END", 4, false),
        heading("CONN", 0, true),
        heading("ACCESS", 0, false),
        heading("OPEN", 6, true),
        heading("WAITS", 10, false),
        heading("NOTE", 8, false),
        heading("COMMAND", 0, false),
    ]
}

fn cells(holder: &HolderStatus, now: f64, command: fn(u32) -> Option<String>) -> [String; 9] {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let age = |since| span(since_then(since, now));
    let waits =
        holder.waiting.as_deref().zip(holder.waiting_since).map(|(wait, since)| format!("{wait} {}", age(since)));
    [
        // Who cannot be seen has no number.
        or_unknown(Some(holder.pid).filter(|pid| *pid > 0).map(|pid| pid.to_string())),
        holder.uid.to_string(),
        or_unknown(holder.end.as_deref().map(str::to_owned)),
        or_unknown(holder.connection.map(|number| format!("#{number}"))),
        holder.access.to_string(),
        age(holder.since),
        or_unknown(waits),
        or_unknown(note(holder)),
        or_unknown(match &holder.node {
            Some(node) => Some(format!("(of {node})")),
            None => command(holder.pid),
        }),
    ]
}

/// What else is to be known of a holder.
fn note(holder: &HolderStatus) -> Option<String> {
    let holds = holder.holds.then(|| "holds".to_owned());
    let awaited = holder.awaited.then(|| "awaited".to_owned());
    let missed = (holder.missed > 0).then(|| format!("missed {}", holder.missed));
    let notes: Vec<String> = [holds, awaited, missed].into_iter().flatten().collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::table::Table;
    use super::super::table::tests::{queue, status};
    use super::*;

    fn browser() -> Browser {
        let pair = r#"{"name":"talk","kind":"pair","mode":"0600","lanes":[{"from":"a","sent":3},{"from":"b","sent":4}],
            "holders":[{"end":"a","pid":40,"uid":1000,"access":"rw","since":1000,"holds":true},
            {"end":"b","connection":3,"access":"r","since":1030,"missed":5,
            "waiting":"read","waiting_since":1097}]}"#;
        let before = [queue("dir/a rather long name", 5, None), queue("jobs", 0, None)].join(",");
        let now =
            [queue("dir/a rather long name", 25, None), queue("jobs", 12, Some(1035.0)), pair.to_owned()].join(",");
        let before = Table::new(status(&before), None);
        let table = Table::new(status(&now), Some((&before, Duration::from_secs(2))));
        Browser::new(table, Column::Rate, String::new())
    }

    fn screen(browser: &mut Browser, silent: Option<Duration>, size: (u16, u16)) -> Vec<String> {
        let command = |pid| (pid == 40).then(|| "python3".to_owned());
        let scene = Scene { mount: Path::new("/p"), now: 1100.0, silent, command };
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).expect("no terminal");
        terminal.draw(|frame| draw(frame, browser, &scene)).expect("no terminal");
        let buffer = terminal.backend().buffer();
        let rows = buffer.content.chunks(usize::from(size.0).max(1));
        rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn the_table() {
        assert_eq!(
            screen(&mut browser(), None, (78, 6)),
            [
                "/p  pid 7  up 1m40s  channels 3  open 4  waiting 1  msg/s 16.0",
                "KIND    TIER     MSG/S▼     SENT WAIT-R WAIT-W HOLDERS OLDEST NAME",
                "queue   local      10.0       25      0      0       0      - dir/a rather lo…",
                "queue   local       6.0       12      1      0       1  1m05s jobs",
                "pair    local         -        7      1      0       2     3s talk",
                "q quit  s sort  r reverse  / filter  h holders  ? help",
            ]
        );
    }

    #[test]
    fn a_filter_and_a_server_that_does_not_answer() {
        let mut browser = browser();
        for c in "/jo".chars() {
            browser.press(KeyCode::Char(c).into());
        }
        assert_eq!(
            screen(&mut browser, Some(Duration::from_secs(9)), (50, 5)),
            [
                "NO ANSWER FOR 9s  /p  pid 7  up 1m40s  channels 3",
                "KIND    TIER     MSG/S▼     SENT WAIT-R WAIT-W HO…",
                "queue   local       6.0       12      1      0   …",
                "",
                "/jo█  Enter keep  Esc clear",
            ]
        );
        browser.press(KeyCode::Enter.into());
        assert_eq!(screen(&mut browser, None, (30, 3))[2], "/jo  1 shown  q quit  s sort");
    }

    #[test]
    fn the_holders_of_a_channel() {
        let mut browser = browser();
        browser.press(KeyCode::Char('G').into());
        browser.press(KeyCode::Enter.into());
        assert_eq!(
            screen(&mut browser, None, (100, 9)),
            [
                "/p  pid 7  up 1m40s  channels 3  open 4  waiting 1  msg/s 16.0",
                "talk  pair 0600 uid 0  from a:  sent 3 = received 0 + dropped 0 + slot 0 + held 0  redelivered 0",
                "waiting 0 to read, 0 to write  from b:  sent 4 = received 0 + dropped 0 + slot 0 + held 0",
                "redelivered 0  waiting 0 to read, 0 to write",
                "    PID   UID END  CONN ACCESS   OPEN WAITS      NOTE     COMMAND",
                "     40  1000 a       - rw      1m40s -          holds    python3",
                "      -     0 b      #3 r       1m10s read 3s    missed 5 -",
                "",
                "q quit  Esc back  j k move  ? help",
            ]
        );
        assert_eq!(
            screen(&mut browser, None, (100, 6))[1..4],
            [
                "talk  pair 0600 uid 0  from a:  sent 3 = received 0 + dropped 0 + slot 0 + held 0  redelivered 0",
                "waiting 0 to read, 0 to write  from b:  sent 4 = received 0 + dropped 0 + slot 0 + held 0  …",
                "    PID   UID END  CONN ACCESS   OPEN WAITS      NOTE     COMMAND",
            ]
        );
        browser.update(Table::default());
        assert_eq!(screen(&mut browser, None, (20, 4))[1], "talk  is gone");
    }

    #[test]
    fn no_screen_is_too_small() {
        let mut browser = browser();
        for key in ['j', '/', '\u{1b}', 'h', '?'] {
            for size in [(0, 0), (1, 1), (1, 5), (5, 1), (2, 2), (3, 3), (9, 4)] {
                screen(&mut browser, Some(Duration::ZERO), size);
            }
            browser.press(if key == '\u{1b}' { KeyCode::Esc } else { KeyCode::Char(key) }.into());
        }
    }
}
