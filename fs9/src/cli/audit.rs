//! `fs9 audit`: who had what when, and whether the log of it is whole.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use fs9_grants::Key;
use fs9_grants::audit::{Held, Holdings, Trail};

use super::columns::{Heading, table};
use super::output::print;
use super::shell::shown;
use super::terms::{Signer, time, written};
use crate::grants;

/// The longest line of a log.
const LONGEST: u64 = 1 << 20;

/// Verify the log of decisions, and show who had what when
///
/// Each line has the hash of the one before, so nothing can be changed, left out or
/// put in without this telling where. What is cut off at its end does not show in the log
/// itself: compare the last hash with one that was noted elsewhere.
///
///   fs9 audit
///   fs9 audit --at '2026-11-23 14:00' --key fs9:5jfg...
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Audit {
    /// Only what was held at this time (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    /// Only what this key held
    #[arg(long)]
    key: Option<Key>,
    /// The log [default: audit.log in the state directory]
    #[arg(long, value_name = "FILE", conflicts_with = "state")]
    log: Option<PathBuf>,
    #[command(flatten)]
    signer: Signer,
}

impl Audit {
    pub fn run(self) -> anyhow::Result<()> {
        let path = match self.log {
            Some(path) => path,
            None => self.signer.state()?.path(grants::LOG),
        };
        let (holdings, trail) = read(&path)?;
        let held = holdings.iter().filter(|held| self.at.is_none_or(|time| held.from <= time && time < held.until));
        let mut held: Vec<_> = held.filter(|held| self.key.is_none_or(|key| key == held.key)).collect();
        held.sort_by_key(|held| held.from);
        let titles = ["FROM", "UNTIL", "", "RIGHTS", "NAMES", "KEY", "GRANT"];
        let headings = titles.map(|title| Heading { title: title.into(), room: 0, right: false });
        let rows: Vec<_> = held.into_iter().map(row).collect();
        print(table(&headings, &rows).join("\n") + "\n")?;
        print(format!("{} lines, unbroken; the last one's hash is {}\n", trail.lines(), trail.hash()))
    }
}

fn row(held: &Held) -> [String; 7] {
    let id: String = held.id.to_string().chars().take(12).collect();
    let end = if held.revoked { "revoked" } else { "" };
    let (from, until) = (written(held.from), written(held.until));
    [from, until, end.into(), held.rights.to_string(), held.names.to_string(), held.key.to_string(), id]
}

/// What a log says, all of which was verified.
fn read(path: &Path) -> anyhow::Result<(Holdings, Trail)> {
    let file = File::open(path).with_context(|| format!("there is no log to be read at {}", shown(path)))?;
    let (mut lines, mut line) = (BufReader::new(file), String::new());
    let (mut trail, mut holdings) = (Trail::default(), Holdings::default());
    loop {
        line.clear();
        let read = std::io::Read::take(&mut lines, LONGEST).read_line(&mut line);
        if read.with_context(|| format!("cannot read {}", shown(path)))? == 0 {
            return Ok((holdings, trail));
        }
        let whole = line.strip_suffix('\n');
        ensure!(whole.is_some(), "{}: line {} has no end: it was cut off", shown(path), trail.lines() + 1);
        holdings.add(&trail.read(whole.unwrap_or_default()).with_context(|| format!("{} is not whole", shown(path)))?);
    }
}
