//! `fs9 new` and `fs9 rm`: channels made and removed, through the mount's `ctl`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::errno::Verb;
use super::place::Place;
use super::wait::Wait;
use crate::spec::{ServiceSpec, Spec};

/// Make a channel
///
/// Without options a queue: each message goes to exactly one reader, in order of
/// arrival. `touch PATH` makes one as well.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct New {
    /// Make a pair instead: PATH/a and PATH/b, where what one end writes the other reads, with one holder each
    #[arg(long, group = "kind")]
    pair: bool,
    /// Make a service: each open of PATH/connect is a private connection to whoever opens PATH/accept
    #[arg(long, group = "kind")]
    service: bool,
    /// Make a topic: every reader gets a copy, and a write waits for the slowest
    #[arg(long, group = "kind")]
    topic: bool,
    /// Make a strict queue: a message that its reader closes without acknowledging (next read, or fsync) comes back
    #[arg(long, group = "kind")]
    ack: bool,
    /// Of a topic: a slow reader sees the newest message, and nobody waits for it
    #[arg(long, requires = "topic", conflicts_with_all = ["pair", "service", "ack"])]
    latest: bool,
    /// Of a service: the first message that a server gets of a client says, in JSON, who that is
    #[arg(long, requires = "service", conflicts_with_all = ["pair", "topic", "ack"])]
    hello: bool,
    /// Of a service: opening `connect` fails (ECONNREFUSED) while nobody has `accept` open
    #[arg(long, requires = "service", conflicts_with_all = ["pair", "topic", "ack"])]
    refuse: bool,
    /// Of a service: how many clients may wait for a server; one more fails (EAGAIN)
    #[arg(long, value_name = "N", default_value_t = ServiceSpec::default().backlog, conflicts_with_all = ["pair", "topic", "ack"])]
    backlog: usize,
    /// The channel to make; its directory must exist
    path: PathBuf,
}

impl New {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        make(&place, &self.spec())
    }

    fn spec(&self) -> Spec {
        let &New { hello, refuse, backlog, latest, ack, .. } = self;
        match self {
            New { pair: true, .. } => Spec::Pair,
            New { service: true, .. } => Spec::Service(ServiceSpec { backlog, refuse, hello, program: None }),
            New { topic: true, .. } => Spec::Topic { latest },
            _ => Spec::Queue { ack },
        }
    }
}

/// Has the mount make what `spec` says.
pub fn make(place: &Place, spec: &Spec) -> anyhow::Result<()> {
    let line = spec
        .line(place.name_for_ctl()?)
        .context("a NUL byte, or a directory whose name is not UTF-8, cannot be said to ctl: leave it out")?;
    place.control(Verb::Make, &line, &Wait::new(None)?)
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
