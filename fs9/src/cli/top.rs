//! `fs9 top`: what the channels of a mount do, as they do it.

mod browser;
mod draw;
mod screen;
mod table;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;

use self::browser::Browser;
use self::table::{Column, Order, Table};
use super::output::print;
use super::place::Place;
use super::report::status_at;
use super::wait::{Wait, seconds};
use crate::status::Status;

/// Show what the channels do: messages a second, who waits and for how long
///
/// A table that is kept up to date; `?` in it shows the keys. With --once it is
/// printed once, for scripts: a line of titles, then a line a channel, `-` where
/// there is nothing to say, OLDEST in seconds, and the name at the end.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Top {
    /// The mount or a directory in it, for every channel; a channel, for that one
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Print the table once, as it is after one interval, and end
    #[arg(long)]
    once: bool,
    /// Look again after SECONDS
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// The column to sort by
    #[arg(short, long, value_name = "COLUMN", default_value = "rate")]
    sort: Column,
    /// Show only channels whose name holds TEXT, in whatever case
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    filter: String,
}

/// A server that is this late is said to be silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// The part of the time in which a server is kept busy with answers is one in so many at most.
const PEACE: u32 = 5;

/// What the mount said, when it was asked, and how long that took.
#[derive(Debug)]
struct Sample {
    status: Status,
    asked: Instant,
    took: Duration,
}

impl Sample {
    fn take(place: &Place, wait: &Wait) -> anyhow::Result<Sample> {
        let asked = Instant::now();
        let status = status_at(place, wait)?;
        Ok(Sample { status, asked, took: asked.elapsed() })
    }
}

/// How often the mount is asked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    interval: Duration,
    /// When it was asked last, and how long that took.
    asked: Instant,
    took: Duration,
}

impl Pace {
    /// How long after it was asked it is asked again. One whose answers take long is left in peace for longer.
    fn pause(self) -> Duration {
        self.interval.max(self.took.saturating_mul(PEACE))
    }

    /// For how long it has not answered, where that is longer than one would expect.
    fn silence(self) -> Option<Duration> {
        let expected = self.pause().saturating_add(self.took).saturating_add(PATIENCE);
        Some(self.asked.elapsed()).filter(|silence| *silence > expected)
    }
}

impl Top {
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(
            self.once || std::io::stdout().is_terminal(),
            "standard output is no terminal to draw on: use `fs9 top --once`"
        );
        let place = Place::of(&self.path)?;
        let wait = Wait::new(None)?;
        let first = Sample::take(&place, &wait)?;
        if self.once {
            return self.print(first, &place, &wait);
        }
        // What draws from here on is the table.
        drop(wait);
        let pace = Pace { interval: self.interval, asked: first.asked, took: first.took };
        let browser = Browser::new(Table::new(first.status, None), self.sort, self.filter);
        screen::show(browser, pace, place)
    }

    /// The table as text.
    fn print(&self, first: Sample, place: &Place, wait: &Wait) -> anyhow::Result<()> {
        std::thread::sleep(self.interval);
        let now = Sample::take(place, wait)?;
        let before = Table::new(first.status, None);
        let table = Table::new(now.status, Some((&before, now.asked - first.asked)));
        let order = Order { by: self.sort, reversed: false };
        let sorted = table.sorted(&self.filter, order).into_iter().map(|place| &table.rows[place]);
        let cells: Vec<_> = sorted.map(|row| row.cells(screen::now(), in_seconds)).collect();
        let lines = table::lines(&cells, |_| "");
        print(lines.join("\n") + "\n")
    }
}

fn in_seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}
