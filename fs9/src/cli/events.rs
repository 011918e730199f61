//! `fs9 events`: what happens in a mount, as it happens.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::fs::OFlags;

use super::errno::Verb;
use super::output::print;
use super::peer::{Peer, room};
use super::place::Place;
use super::shell::shown;
use super::wait::{Wait, seconds};

/// Show what happens in a mount, one JSON line an event
#[derive(Debug, Args)]
pub struct Events {
    /// The mount, or anything in it
    #[arg(default_value = ".")]
    path: PathBuf,
    /// End after N events
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after SECONDS, with exit code 124
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Events {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        let wait = Wait::new(self.timeout)?;
        let events = Peer::open(&place.root_file("events"), OFlags::RDONLY, Verb::Receive, &wait)?;
        let what = format!("an event on {}", shown(&place.root));
        let mut room = room();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0
            && let Some(event) = events.receive(&what, &mut room)?
        {
            print(event)?;
            left -= 1;
        }
        Ok(())
    }
}
