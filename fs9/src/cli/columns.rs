//! Text on a screen or page where each character takes a place: tables, and long names cut for all to see or broken
//! into lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What stands where something was cut off.
const CUT: char = '…';

/// A column of a table: its title, and how much room it has at least, so that it does not jump about.
#[derive(Debug, Clone)]
pub struct Heading {
    pub title: String,
    pub room: usize,
    /// Whether its cells end where the title ends, as numbers do.
    pub right: bool,
}

/// The lines of a table, the titles first. A column is as wide as its longest cell; the last one takes what it takes.
pub fn table<const N: usize>(headings: &[Heading; N], rows: &[[String; N]]) -> Vec<String> {
    let room = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
        headings[column].room.max(headings[column].title.width()).max(cells)
    };
    let rooms: [usize; N] = std::array::from_fn(room);
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            let blank = " ".repeat(rooms[column].saturating_sub(cell.width()));
            match (headings[column].right, column + 1 == N) {
                (true, _) => line.extend([&blank, cell]),
                (false, true) => line.push_str(cell),
                (false, false) => line.extend([cell, &blank]),
            }
            if column + 1 < N {
                line.push(' ');
            }
        }
        line
    };
    let titles = line(headings.each_ref().map(|heading| heading.title.as_str()));
    std::iter::once(titles).chain(rows.iter().map(|row| line(row.each_ref().map(String::as_str)))).collect()
}

/// The text in `room` columns; what is cut off is seen to be.
pub fn fit(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let Some(mut room) = room.checked_sub(1) else { return String::new() };
    let mut fits = |c: &char| {
        let left = room.checked_sub(c.width().unwrap_or(0));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut fitting: String = text.chars().take_while(|c| fits(c)).collect();
    fitting.push(CUT);
    fitting
}

/// All of the text, in lines of `room` columns at most, broken behind a blank where there is one.
pub fn wrapped(text: &str, room: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        while used + width > room && !line.is_empty() {
            let rest = line.split_off(line.rfind(' ').map_or(line.len(), |blank| blank + 1));
            used = rest.width();
            lines.push(std::mem::replace(&mut line, rest));
        }
        line.push(c);
        used += width;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heading(title: &str, room: usize, right: bool) -> Heading {
        Heading { title: title.into(), room, right }
    }

    #[test]
    fn columns_line_up_whatever_they_hold() {
        let headings = [heading("KIND", 0, false), heading("SENT", 6, true), heading("NAME", 0, false)];
        let row = |kind: &str, sent: &str, name: &str| [kind.to_owned(), sent.to_owned(), name.to_owned()];
        let lines =
            table(&headings, &[row("queue", "7", "jobs"), row("größer", "12345678", "a b"), row("日本", "1", "")]);
        assert_eq!(lines, ["KIND       SENT NAME", "queue         7 jobs", "größer 12345678 a b", "日本          1 "],);
        assert_eq!(table(&headings, &[]), ["KIND   SENT NAME"]);
    }

    #[test]
    fn what_is_cut_off_is_seen() {
        for (room, text) in [(6, "größer"), (5, "größ…"), (2, "g…"), (1, "…"), (0, "")] {
            assert_eq!(fit("größer", room), text);
        }
        // Two columns each: there is no half of one.
        for (room, text) in [(4, "日本"), (3, "日…"), (2, "…"), (1, "…")] {
            assert_eq!(fit("日本", room), text);
        }
    }

    #[test]
    fn lines_lose_nothing() {
        assert_eq!(wrapped("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(wrapped("日本語", 5), ["日本", "語"]);
        assert_eq!(wrapped("ab cd e  日本", 6), ["ab cd ", "e  ", "日本"]);
        assert_eq!(wrapped("a bcdef", 4), ["a ", "bcde", "f"]);
        assert_eq!(wrapped("a bc日", 4), ["a ", "bc日"]);
        assert_eq!(wrapped("日本", 1), ["日", "本"]);
        assert_eq!(wrapped("", 3), [""]);
        assert_eq!(wrapped("ab", 0), ["a", "b"]);
    }
}
