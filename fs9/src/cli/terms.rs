//! What the commands about grants share: what is granted, by which node's key, and times.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use fs9_grants::{Chain, Depth, Key, Right, Rights};

use super::shell::shown;
use crate::grants;
use crate::identity::{Identity, State};

/// To whom, and what.
#[derive(Debug, Args)]
pub struct Offer {
    /// The key that it is for, as `fs9 id` prints it there
    #[arg(long, value_name = "KEY")]
    pub to: Key,
    /// Receive messages, and read texts
    #[arg(long)]
    read: bool,
    /// Send messages
    #[arg(long)]
    write: bool,
    /// See what is in directories
    #[arg(long)]
    list: bool,
    /// Make, remove and rename, and change modes and times
    #[arg(long)]
    create: bool,
    /// How often it may be passed on, to others, in part: 0 to 3
    #[arg(long, value_name = "N", value_parser = depth, default_value = "0")]
    pub delegate: Depth,
}

/// Whose key signs.
#[derive(Debug, Args)]
pub struct Signer {
    /// The state directory of this node [default: $XDG_CONFIG_HOME/fs9, or ~/.config/fs9]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

fn depth(text: &str) -> Result<Depth, String> {
    let times: u8 = text.parse().map_err(|_| "a number from 0 to 3".to_owned())?;
    Depth::try_from(times).map_err(|error| error.to_string())
}

impl Offer {
    /// What was asked for.
    pub fn rights(&self) -> Rights {
        let wanted = [self.read, self.write, self.list, self.create];
        Right::ALL.into_iter().zip(wanted).filter_map(|(right, wanted)| wanted.then_some(right)).collect()
    }
}

impl Signer {
    /// Where the key is.
    pub fn state(&self) -> anyhow::Result<State> {
        Ok(State::find(self.state.as_deref())?)
    }

    /// The key.
    pub fn identity(&self) -> anyhow::Result<Identity> {
        Ok(Identity::load(self.state()?)?)
    }
}

/// The time by which this node's grants begin and end, in seconds since 1970.
pub fn now(state: &State) -> u64 {
    grants::last(state).max(grants::wall())
}

/// A time as people and programs read it.
pub fn written(time: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(time)).filter(|_| time < 253_370_764_800);
    time.map_or_else(|| "never".into(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

/// A time as people write it: 2026-11-23 14:00, 2026-11-23T14:00:00Z, in UTC.
pub fn time(text: &str) -> Result<u64, String> {
    // A day alone is its beginning, and seconds need not be said.
    let whole = match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let time: SystemTime = humantime::parse_rfc3339_weak(&whole).map_err(|error| error.to_string())?;
    time.duration_since(UNIX_EPOCH).map(|since| since.as_secs()).map_err(|_| "a time since 1970".into())
}

/// A chain of grants: its text, the file that it is in, or `-` for standard input.
pub fn chain(given: &str) -> anyhow::Result<Chain> {
    let text = match given {
        text if text.starts_with("fs9grant:") => text.to_owned(),
        "-" => std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?,
        path => {
            let read = fs::read_to_string(path);
            read.with_context(|| {
                format!("cannot read {}: give a grant, fs9grant:..., or a file with one", quoted(path))
            })?
        }
    };
    match text.trim().parse() {
        Ok(chain) => Ok(chain),
        Err(error) => bail!("this is no grant: {error}"),
    }
}

fn quoted(path: &str) -> String {
    shown(Path::new(path)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(written(1_900_000_000), "2030-03-17T17:46:40Z");
        assert_eq!(written(u64::MAX), "never");
        assert_eq!(time("2030-03-17T17:46:40Z"), Ok(1_900_000_000));
        assert_eq!(time("2030-03-17 17:46"), Ok(1_899_999_960));
        assert_eq!(time("2030-03-17"), Ok(1_899_936_000));
        for wrong in ["", "now", "2030", "1969-12-31"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_grant_is_said_to_be_none() {
        for wrong in ["fs9grant:", "/nowhere/at/all", "/dev/null"] {
            assert!(chain(wrong).is_err(), "{wrong}");
        }
    }
}
