//! `fs9 recv`: messages out of a channel.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use rustix::fs::OFlags;

use super::errno::Verb;
use super::peer::{Peer, room};
use super::place::Place;
use super::shell::shown;
use super::wait::{Wait, seconds};

/// Receive messages from a channel
///
/// Opens PATH once, and writes each message whole to standard output as it comes.
/// Waits until there is one. If a message cannot be written it is given back to its
/// queue; the last one is acknowledged (fsync) once it is written.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Recv {
    /// The channel: a queue, a topic, an end of a pair, or a service (PATH/connect is opened)
    path: PathBuf,
    /// Receive N messages
    #[arg(short = 'n', long = "count", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Give up after SECONDS in all, with exit code 124
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Receive until the other end hangs up
    #[arg(long, conflicts_with = "count")]
    follow: bool,
    /// Fail rather than wait
    #[arg(long)]
    nonblock: bool,
}

impl Recv {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?.channel();
        let wait = Wait::new(self.timeout)?;
        let mode = if self.nonblock { OFlags::NONBLOCK } else { OFlags::empty() };
        let peer = Peer::open(&place, OFlags::RDONLY | mode, Verb::Receive, &wait)?;
        self.receive(peer)
    }

    fn receive(&self, mut peer: Peer<'_>) -> anyhow::Result<()> {
        let what = format!("a message on {}", shown(&self.path));
        let mut room = room();
        let mut received = 0;
        while self.follow || received < self.count {
            match peer.receive(&what, &mut room)? {
                Some(message) => peer = peer.pass_on(message)?,
                None if self.follow => return Ok(()),
                None => bail!(self.hung_up(received)),
            }
            received += 1;
        }
        peer.acknowledge()
    }

    fn hung_up(&self, received: u64) -> String {
        let path = shown(&self.path);
        match self.count {
            1 => format!("no message from {path}: the other end has hung up, or the channel was removed"),
            count => format!("{received} of {count} messages from {path}: then the other end hung up"),
        }
    }
}
