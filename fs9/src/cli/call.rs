//! `fs9 call`: send, then receive, on one descriptor.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use rustix::fs::OFlags;

use super::errno::Verb;
use super::message::message;
use super::peer::{Peer, room};
use super::place::Place;
use super::shell::shown;
use super::wait::{Wait, seconds};

/// Send one message and receive the answer
///
/// Opens PATH once, for reading and writing: sends MESSAGE, or else all of standard
/// input, as one message, then receives one and writes it to standard output. Meant
/// for a service or an end of a pair; on a queue, anyone may receive either message.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Call {
    /// The channel: a service (PATH/connect is opened), or an end of a pair
    path: PathBuf,
    /// The message; standard input without it
    message: Option<OsString>,
    /// Give up after SECONDS in all, with exit code 124
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Call {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?.channel();
        let message = message(self.message)?;
        let shown = shown(&self.path);
        let wait = Wait::new(self.timeout)?;
        let peer = Peer::open(&place, OFlags::RDWR, Verb::Send, &wait)?;
        peer.send(&format!("room in {shown}"), &message)?;
        let peer = peer.receiving();
        match peer.receive(&format!("the answer on {shown}"), &mut room())? {
            Some(answer) => peer.pass_on(answer)?.acknowledge(),
            None => bail!("no answer from {shown}: the other end has hung up"),
        }
    }
}
