//! `fs9 send`: one message into a channel.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::fs::OFlags;

use super::errno::Verb;
use super::message::message;
use super::peer::Peer;
use super::place::Place;
use super::shell::shown;
use super::wait::{Wait, seconds};

/// Send one message to a channel
///
/// Opens PATH, writes the message with one write(2) and closes. The message is
/// MESSAGE exactly, with no newline added, or else all of standard input. Waits
/// while the channel holds an earlier message that nobody has taken.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Send {
    /// The channel: a queue, a topic, an end of a pair, or a service (PATH/connect is opened)
    path: PathBuf,
    /// The message; standard input without it
    message: Option<OsString>,
    /// Give up after SECONDS with exit code 124 and nothing sent
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Fail rather than wait
    #[arg(long)]
    nonblock: bool,
}

impl Send {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?.channel();
        let message = message(self.message)?;
        let wait = Wait::new(self.timeout)?;
        let mode = if self.nonblock { OFlags::NONBLOCK } else { OFlags::empty() };
        let peer = Peer::open(&place, OFlags::WRONLY | mode, Verb::Send, &wait)?;
        peer.send(&format!("room in {}", shown(&self.path)), &message)
    }
}
