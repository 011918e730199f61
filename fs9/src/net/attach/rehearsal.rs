//! Attaching a node only to hear what it says, where somebody was told a mere number: the kernel's client.

use std::io::IoSlice;
use std::os::fd::AsFd;

use fs9_proto::frame::{FIRST_LIMIT, Frames};
use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request, Tag};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

use super::reach::{Reached, wait};
use super::said;
use crate::net::tls::TlsError;

impl Reached {
    /// Whether the node lets us in. The connection is then of no other use.
    ///
    /// # Errors
    /// What it says when it does not; why it says nothing.
    pub fn rehearse(self) -> Result<(), String> {
        let complaint = || self.program.as_ref().and_then(|program| program.complaint());
        Rehearsal { with: &self, frames: Frames::default() }.play().map_err(|reason| complaint().unwrap_or(reason))
    }
}

struct Rehearsal<'a> {
    with: &'a Reached,
    frames: Frames,
}

impl Rehearsal<'_> {
    fn play(&mut self) -> Result<(), String> {
        let version = Dialect::Own.version();
        match self.ask(NO_TAG, &Request::Version { msize: FIRST_LIMIT, version })? {
            Said::Version(its) if its == version => {}
            // It is no fs9, and says no more than a number anyway.
            Said::Version(_) => return Ok(()),
            _ => return Err("it speaks no 9P2000".into()),
        }
        self.ask(Tag(0), &Request::Session { id: [0; 16], epoch: 0, received: 0 })?;
        let uid = Some(geteuid().as_raw());
        match self.ask(Tag(1), &Request::Attach { fid: Fid(0), afid: NO_FID, uname: "", aname: "", uid })? {
            Said::Refused(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Says something, and hears the answer.
    fn ask(&mut self, tag: Tag, request: &Request<'_>) -> Result<Said, String> {
        let mut bytes = Vec::new();
        request.emit(Dialect::Own, tag, &mut bytes);
        self.say(&bytes)?;
        loop {
            if let Some(said) = self.heard(tag)? {
                return Ok(said);
            }
            match self.with.stream.read(self.frames.space()) {
                Ok(0) => return Err(TlsError::Gone.to_string()),
                Ok(read) => self.frames.filled(read),
                Err(TlsError::System(Errno::AGAIN)) => self.wait(PollFlags::IN)?,
                Err(TlsError::System(Errno::INTR)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn say(&self, mut bytes: &[u8]) -> Result<(), String> {
        let stream = &self.with.stream;
        while !bytes.is_empty() || stream.is_stuck() {
            match stream.send(&[IoSlice::new(bytes)]) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(said(errno)),
            }
            stream.flush().map_err(said)?;
        }
        Ok(())
    }

    fn wait(&self, wanted: PollFlags) -> Result<(), String> {
        wait(self.with.stream.as_fd(), wanted, self.with.until)
    }

    /// The answer to `tag`, if it has come. What comes without having been asked for (Tack) is of no concern.
    fn heard(&mut self, tag: Tag) -> Result<Option<Said>, String> {
        while let Some(frame) = self.frames.pull().map_err(|error| error.to_string())? {
            if let Ok((answered, reply)) = Reply::parse(Dialect::Own, frame)
                && answered == tag
            {
                return Ok(Some(Said::of(&reply)));
            }
        }
        Ok(None)
    }
}

/// What an answer comes to.
enum Said {
    Version(String),
    Refused(String),
    Done,
}

impl Said {
    fn of(reply: &Reply<'_>) -> Said {
        match *reply {
            Reply::Version { version, .. } => Said::Version(version.into()),
            Reply::Error { errno, reason: "" } => Said::Refused(said(Errno::from_raw_os_error(errno as i32))),
            Reply::Error { reason, .. } => Said::Refused(reason.into()),
            _ => Said::Done,
        }
    }
}
