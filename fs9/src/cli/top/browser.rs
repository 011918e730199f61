//! What a person looks at, and what the keys do to it. Knows no terminal.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::table::{COLUMNS, Column, Order, Row, Table};

/// The longest filter; no name is longer.
const FILTER_MAX: usize = 255;

/// What there is, and which part of it is looked at.
#[derive(Debug)]
pub struct Browser {
    pub table: Table,
    pub order: Order,
    pub filter: String,
    pub mode: Mode,
    /// The rows of the table that the filter lets through, in order.
    sorted: Vec<usize>,
    /// The marked channel, which stays marked wherever it moves. Without one the first row is marked, whichever it is.
    chosen: Option<String>,
    /// Where the mark is.
    cursor: usize,
    /// The first row in sight, and how many fit.
    top: usize,
    page: usize,
    /// The first holder in sight.
    holder: usize,
}

/// What the keys mean at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The table.
    Table,
    /// The table, with the filter being typed.
    Filter,
    /// The holders of the marked channel.
    Holders,
    /// What the keys are.
    Help,
}

/// What a key asks of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing but to be drawn.
    Stay,
    /// To end.
    Quit,
    /// To stop until the shell lets it go on.
    Suspend,
}

impl Browser {
    pub fn new(table: Table, by: Column, filter: String) -> Browser {
        let order = Order { by, reversed: false };
        let mut browser = Browser {
            table,
            order,
            filter,
            mode: Mode::Table,
            sorted: Vec::new(),
            chosen: None,
            cursor: 0,
            top: 0,
            page: 1,
            holder: 0,
        };
        browser.sort();
        browser
    }

    /// Shows what the mount says now.
    pub fn update(&mut self, table: Table) {
        self.table = table;
        self.sort();
    }

    /// How many rows the filter lets through.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The rows in sight when `page` of them fit, and which of these is marked.
    pub fn in_sight(&mut self, page: usize) -> (impl Iterator<Item = &Row>, usize) {
        self.page = page.max(1);
        self.top = self.top.min(self.cursor).max((self.cursor + 1).saturating_sub(self.page));
        let rows = self.sorted.iter().skip(self.top).take(page);
        (rows.filter_map(|place| self.table.rows.get(*place)), self.cursor - self.top)
    }

    /// The channel whose holders are looked at, unless it is gone.
    pub fn marked(&self) -> Option<&Row> {
        self.table.rows.iter().find(|row| row.channel.name == self.chosen())
    }

    /// The first of its holders in sight when `page` of them fit.
    pub fn first_holder(&mut self, page: usize) -> usize {
        self.page = page.max(1);
        let holders = self.marked().map_or(0, |row| row.channel.holders.len());
        self.holder = self.holder.min(holders.saturating_sub(self.page));
        self.holder
    }

    /// The name of the marked channel.
    pub fn chosen(&self) -> &str {
        self.chosen.as_deref().unwrap_or_default()
    }

    /// Does what a key means.
    pub fn press(&mut self, key: KeyEvent) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Wish::Quit,
            KeyCode::Char('z') if control => return Wish::Suspend,
            _ if control => {}
            code => match self.mode {
                Mode::Filter => self.type_in(code),
                _ if code == KeyCode::Char('q') => return Wish::Quit,
                Mode::Table if code == KeyCode::Esc => return Wish::Quit,
                Mode::Table => self.browse(code),
                Mode::Holders => self.leaf(code),
                Mode::Help => self.mode = Mode::Table,
            },
        }
        Wish::Stay
    }

    fn browse(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char('s') | KeyCode::Right => self.sort_by_next(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by_next(COLUMNS.len() - 1),
            KeyCode::Char(digit @ '1'..='9') => self.sort_by(COLUMNS[digit as usize - '1' as usize]),
            KeyCode::Char('r') => {
                self.order.reversed = !self.order.reversed;
                self.sort();
            }
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('h') | KeyCode::Enter => self.open(),
            KeyCode::Char('?') => self.mode = Mode::Help,
            _ => self.go(moved(self.cursor, key, self.page)),
        }
    }

    fn type_in(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char(c) if self.filter.len() + c.len_utf8() <= FILTER_MAX => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
                self.go(moved(self.cursor, key, self.page));
            }
            _ => {}
        }
        self.sort();
    }

    /// Turns the pages of the holders.
    fn leaf(&mut self, key: KeyCode) {
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('h') => self.mode = Mode::Table,
            KeyCode::Char('?') => self.mode = Mode::Help,
            _ => self.holder = moved(self.holder, key, self.page),
        }
    }

    fn sort_by_next(&mut self, step: usize) {
        let place = COLUMNS.iter().position(|column| *column == self.order.by).unwrap_or(0);
        self.sort_by(COLUMNS[(place + step) % COLUMNS.len()]);
    }

    fn sort_by(&mut self, by: Column) {
        self.order = Order { by, reversed: false };
        self.sort();
    }

    /// Sorts and filters, and finds the marked channel again.
    fn sort(&mut self) {
        self.sorted = self.table.sorted(&self.filter, self.order);
        let at = |name: &String| self.sorted.iter().position(|place| self.table.rows[*place].channel.name == *name);
        match &self.chosen {
            None => self.cursor = 0,
            // Gone, or filtered away: the mark stays near where it was.
            Some(name) => self.cursor = at(name).unwrap_or(self.cursor),
        }
        self.cursor = self.cursor.min(self.len().saturating_sub(1));
    }

    fn go(&mut self, to: usize) {
        self.cursor = to.min(self.len().saturating_sub(1));
        self.chosen = if self.cursor == 0 { None } else { self.name() };
    }

    fn open(&mut self) {
        if let Some(name) = self.name() {
            self.chosen = Some(name);
            (self.mode, self.holder) = (Mode::Holders, 0);
        }
    }

    fn name(&self) -> Option<String> {
        self.sorted.get(self.cursor).map(|place| self.table.rows[*place].channel.name.clone())
    }
}

/// Where a key leads from place `from`. The end of what there is stands for whatever is beyond it.
fn moved(from: usize, key: KeyCode, page: usize) -> usize {
    match key {
        KeyCode::Char('j') | KeyCode::Down => from.saturating_add(1),
        KeyCode::Char('k') | KeyCode::Up => from.saturating_sub(1),
        KeyCode::Char(' ') | KeyCode::PageDown => from.saturating_add(page),
        KeyCode::PageUp => from.saturating_sub(page),
        KeyCode::Char('g') | KeyCode::Home => 0,
        KeyCode::Char('G') | KeyCode::End => usize::MAX,
        _ => from,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::table::tests::{queue, status};
    use super::*;

    fn table(rows: &[(&str, u64)]) -> Table {
        let channels: Vec<_> = rows.iter().map(|(name, sent)| queue(name, *sent, None)).collect();
        Table::new(status(&channels.join(",")), None)
    }

    fn browser(rows: &[(&str, u64)]) -> Browser {
        Browser::new(table(rows), Column::Sent, String::new())
    }

    fn press(browser: &mut Browser, keys: &str) -> Wish {
        let mut wish = Wish::Stay;
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '<' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            wish = browser.press(code.into());
        }
        wish
    }

    /// The names in sight of three rows, the marked one in brackets.
    fn seen(browser: &mut Browser) -> String {
        let (rows, marked) = browser.in_sight(3);
        let name = |(place, row): (usize, &Row)| {
            let name = &row.channel.name;
            if place == marked { format!("[{name}]") } else { name.clone() }
        };
        rows.enumerate().map(name).collect::<Vec<_>>().join(" ")
    }

    const FOUR: [(&str, u64); 4] = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];

    #[test]
    fn the_mark_moves_and_what_is_in_sight_with_it() {
        let mut browser = browser(&FOUR);
        for (keys, sight) in [
            ("", "[d] c b"),
            ("j", "d [c] b"),
            ("jj", "c b [a]"),
            ("j", "c b [a]"),
            ("k", "c [b] a"),
            ("kkk", "[d] c b"),
            ("G", "c b [a]"),
            ("g", "[d] c b"),
            (" ", "c b [a]"),
        ] {
            press(&mut browser, keys);
            assert_eq!(seen(&mut browser), sight, "{keys}");
        }
    }

    #[test]
    fn a_marked_channel_stays_marked_and_the_first_row_is_the_first_row() {
        let mut browser = browser(&FOUR);
        browser.update(table(&[("a", 9), ("b", 2), ("c", 3)]));
        assert_eq!(seen(&mut browser), "[a] c b");
        press(&mut browser, "j");
        browser.update(table(&[("a", 9), ("b", 2), ("c", 1)]));
        assert_eq!(seen(&mut browser), "a b [c]");
        browser.update(table(&[("a", 9), ("b", 2)]));
        assert_eq!(seen(&mut browser), "a [b]");
        browser.update(table(&[]));
        assert_eq!(seen(&mut browser), "");
        press(&mut browser, "jG\nh");
        assert_eq!(browser.mode, Mode::Table);
    }

    #[test]
    fn a_column_is_chosen_by_number_or_from_the_one_beside_it() {
        let mut browser = browser(&FOUR);
        for (keys, by, reversed, sight) in [
            ("9", Column::Name, false, "[a] b c"),
            ("r", Column::Name, true, "[d] c b"),
            ("s", Column::Kind, false, "[a] b c"),
            ("S", Column::Name, false, "[a] b c"),
            ("4r", Column::Sent, true, "[a] b c"),
        ] {
            press(&mut browser, keys);
            assert_eq!((browser.order, seen(&mut browser)), (Order { by, reversed }, sight.into()), "{keys}");
        }
    }

    #[test]
    fn the_filter_works_while_it_is_typed() {
        let mut browser = browser(&[("jobs", 1), ("job q", 2), ("talk", 3)]);
        assert_eq!(press(&mut browser, "/job"), Wish::Stay);
        assert_eq!((seen(&mut browser), browser.mode), ("[job q] jobs".into(), Mode::Filter));
        press(&mut browser, " q");
        assert_eq!(seen(&mut browser), "[job q]");
        press(&mut browser, "<<s\n");
        assert_eq!((seen(&mut browser), browser.mode), ("[jobs]".into(), Mode::Table));
        assert_eq!(press(&mut browser, "/\u{1b}"), Wish::Stay);
        assert_eq!((seen(&mut browser), browser.mode), ("[talk] job q jobs".into(), Mode::Table));
        press(&mut browser, &format!("/{}", "x".repeat(1000)));
        assert_eq!(browser.filter.len(), FILTER_MAX);
    }

    #[test]
    fn holders_are_those_of_the_marked_channel_while_it_is_there() {
        let mut browser = browser(&FOUR);
        press(&mut browser, "\n");
        assert_eq!((browser.mode, browser.chosen()), (Mode::Holders, "d"));
        browser.update(table(&[("a", 9), ("d", 1)]));
        assert_eq!(browser.marked().map(|row| row.channel.name.as_str()), Some("d"));
        browser.update(table(&[("a", 9)]));
        assert!(browser.marked().is_none());
        assert_eq!(press(&mut browser, "\u{1b}"), Wish::Stay);
        assert_eq!((browser.mode, seen(&mut browser)), (Mode::Table, "[a]".into()));
    }

    #[test]
    fn ways_out() {
        let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        for keys in ["", "/", "h", "?"] {
            let mut browser = browser(&FOUR);
            press(&mut browser, keys);
            assert_eq!(browser.press(control('z')), Wish::Suspend);
            assert_eq!(browser.press(control('c')), Wish::Quit);
        }
        for keys in ["q", "\u{1b}", "hq", "/\nq", "?\u{1b}\u{1b}"] {
            assert_eq!(press(&mut browser(&FOUR), keys), Wish::Quit, "{keys}");
        }
        for keys in ["/q", "h\u{1b}", "?\u{1b}"] {
            assert_eq!(press(&mut browser(&FOUR), keys), Wish::Stay, "{keys}");
        }
    }

    #[test]
    fn a_hundred_thousand_channels_are_no_burden() {
        let rows: Vec<_> = (0..100_000).map(|n| (format!("q{n:06}"), n)).collect();
        let rows: Vec<_> = rows.iter().map(|(name, sent)| (name.as_str(), *sent)).collect();
        let mut browser = browser(&rows);
        press(&mut browser, "G");
        browser.update(Table::new(status(""), Some((&Table::default(), Duration::ZERO))));
        browser.update(table(&rows));
        assert_eq!(seen(&mut browser), "q000002 q000001 [q000000]");
        press(&mut browser, "/999");
        assert_eq!(browser.len(), 280);
    }
}
