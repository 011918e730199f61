//! `fs9 new` and `fs9 rm`: channels made and removed, through the mount's `ctl`.

use std::path::PathBuf;

use clap::Args;

use super::errno::Verb;
use super::place::Place;
use super::wait::Wait;

/// Make a channel
///
/// Without options a queue: each message goes to exactly one reader, in order of
/// arrival. `touch PATH` makes one as well.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct New {
    /// Make a pair instead: PATH/a and PATH/b, where what one end writes the other reads, with one holder each
    #[arg(long, conflicts_with = "ack")]
    pair: bool,
    /// Make a strict queue: a message that its reader closes without acknowledging (next read, or fsync) comes back
    #[arg(long)]
    ack: bool,
    /// The channel to make; its directory must exist
    path: PathBuf,
}

impl New {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        place.control(Verb::Make, &self.line(place.name_for_ctl()?), &Wait::new(None)?)
    }

    fn line(&self, name: &str) -> String {
        let pair = if self.pair { "--pair " } else { "" };
        let ack = if self.ack { "--ack " } else { "" };
        format!("new {pair}{ack}{name}")
    }
}

/// Remove a channel or an empty directory
///
/// Whoever waits on the channel is hung up first.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Rm {
    /// What to remove
    path: PathBuf,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        place.control(Verb::Remove, &format!("rm {}", place.name_for_ctl()?), &Wait::new(None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_ctl_reads() {
        let line = |pair, ack| New { pair, ack, path: PathBuf::new() }.line("dir/my jobs");
        assert_eq!(line(false, false), "new dir/my jobs");
        assert_eq!(line(true, false), "new --pair dir/my jobs");
        assert_eq!(line(false, true), "new --ack dir/my jobs");
    }
}
