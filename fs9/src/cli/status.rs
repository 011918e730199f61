//! `fs9 status`: the state of a mount, or of one channel.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use super::output::print;
use super::place::Place;
use super::report::channel_object;
use super::shell::shown;
use super::wait::Wait;
use crate::status::ChannelStatus;

/// Show the state of a mount, or of one channel: who holds it, who waits, what was sent and received
#[derive(Debug, Args)]
pub struct Status {
    /// The mount or a directory in it, for everything; a channel, for that one
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        let wait = Wait::new(None)?;
        if place.relative.as_os_str().is_empty() {
            return self.all(&place, &wait);
        }
        match channel_object(&place, &wait)? {
            Some(object) if self.json => print(format!("{object}\n")),
            Some(object) => {
                let channel: ChannelStatus =
                    serde_json::from_value(object).context("status.json is not what this fs9 understands")?;
                let mut text = String::new();
                channel.describe(&mut text);
                print(text)
            }
            None if place.path().is_dir() => self.all(&place, &wait),
            None => bail!("{} is neither a channel nor a directory: `fs9 ls` shows what there is", shown(&self.path)),
        }
    }

    fn all(&self, place: &Place, wait: &Wait) -> anyhow::Result<()> {
        print(place.read_root_file(if self.json { "status.json" } else { "status" }, wait)?)
    }
}
