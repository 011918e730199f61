//! What happens in the mount, one JSON line each, to whoever has `events` open.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::message::{Message, Store};

/// Events that are kept for a reader that is slow; of more it is told how many it missed.
const KEPT: usize = 1024;

/// One event. Fields that do not apply are left out of its line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Event<'a> {
    /// What happened: created, removed, opened, accepted, closed, hungup, lost, redelivered, dropped, refused,
    /// missed; of keys admitted, allowed, ended, granted, revoked; of programs started, stderr, ended.
    pub event: &'static str,
    /// Seconds since 1970.
    pub time: f64,
    /// The path of the channel.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// The end of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<&'a str>,
    /// The process; 0 where it cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The node it is on, if that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<&'a str>,
    /// The key that it has proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The grant by which it may do something, or no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What it does, or may not: read, write, list, create.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights: Option<String>,
    /// The number of its connection, see `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// How it opened: r, w or rw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'a str>,
    /// Why it went, or why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a program says on standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The last events, for the descriptors that read them.
#[derive(Debug, Default)]
pub struct Log {
    lines: VecDeque<Message>,
    /// The number of the first line that is kept.
    first: u64,
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn line(event: &Event<'_>, store: &Arc<Store>) -> Option<Message> {
    // A struct of strings and numbers always has a JSON form; the mount may have no room for it.
    let mut line = serde_json::to_vec(event).ok()?;
    line.push(b'\n');
    store.text(line)
}

impl Log {
    /// The number that the next event will have: where a new reader begins.
    pub fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event<'_>, store: &Arc<Store>) {
        let event = Event { time: seconds(SystemTime::now()), ..event };
        let Some(line) = line(&event, store) else {
            // Whoever reads must see that there is a gap.
            self.first = self.end() + 1;
            self.lines.clear();
            return;
        };
        self.lines.push_back(line);
        if self.lines.len() > KEPT {
            self.lines.pop_front();
            self.first += 1;
        }
    }

    /// The line at `cursor`, which moves on; None when there is none yet. A reader that fell behind is told first how
    /// many it missed.
    pub fn next(&self, cursor: &mut u64, store: &Arc<Store>) -> Option<Message> {
        let missed = self.first.saturating_sub(*cursor);
        if missed > 0 {
            let event =
                Event { time: seconds(SystemTime::now()), event: "missed", count: Some(missed), ..Event::default() };
            let line = line(&event, store)?;
            *cursor = self.first;
            return Some(line);
        }
        let line = self.lines.get((*cursor - self.first) as usize)?;
        *cursor += 1;
        Some(line.clone())
    }

    /// Forgets everything: nobody reads.
    pub fn clear(&mut self) {
        self.first = self.end();
        self.lines = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let store = Store::new(1 << 20, 64);
        let mut log = Log::default();
        let mut cursor = log.end();
        for _ in 0..KEPT + 3 {
            log.push(Event { event: "opened", name: "jobs", pid: Some(7), ..Event::default() }, &store);
        }
        let text = |message: Message| String::from_utf8(message.to_vec()).expect("JSON is UTF-8");
        let missed = text(log.next(&mut cursor, &store).expect("a line"));
        assert!(missed.starts_with(r#"{"event":"missed","time":"#) && missed.ends_with("\"count\":3}\n"), "{missed}");
        for _ in 0..KEPT {
            assert!(text(log.next(&mut cursor, &store).expect("a line")).contains(r#""name":"jobs","pid":7"#));
        }
        assert!(log.next(&mut cursor, &store).is_none());
        log.clear();
        assert_eq!((log.end(), store.used()), (cursor, 0));
    }
}
